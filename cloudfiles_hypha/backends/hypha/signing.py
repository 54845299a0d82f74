"""Signed URLs for reading: got in batches, all of one version, kept while they live, with missing names told apart in
few calls.

A URL names the version that it leads to: the key of an object is ``.../ARTIFACT/vINDEX/PATH``. So the first answer of a
batch says which version that is, and the other calls ask for the same one. URLs are kept for one version at a time;
before they are used again, one cheap call (``read``) tells which is the latest. Only where the key has another shape
(an artifact that is kept in git, say) is nothing to be seen, and that call is made before and after.

One missing path makes the server refuse a whole batch, naming the first one missing. What is known then: all
before it are there. So either their folders are listed (a call each) or the batch is cut at the missing one,
whichever costs less; see ``ReadBatch._sign``.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import unquote

from ...errors import (
    ArtifactNotFound,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
    TransferError,
    TransferTimeout,
)
from ...plan.batches import CALL, EACH, BatchSizes, Costs, cheaper_to_list, halves
from ..base import Control, Flag, Ticket
from .listing import Listing
from .manager import ArtifactManager

# Seconds that a URL is asked to live, and for how many of them it is used: clocks differ, transfers take time.
_LIFETIME, _USE = 3600, 3000.0
_MOST_KEPT = 10_000
_MISSING = re.compile(r"File '(.*)' does not exist", re.DOTALL)
_ROOT = re.compile(r"/([^/]+)/v(\d+)$")

# What is known of the servers that this process has asked to sign, and how many are remembered.
_costs: dict[str, Costs] = {}
_MOST_SERVERS = 64
_guard = Lock()  # guards the dictionary


def costs_of(server: str) -> Costs:
    """What signing was measured to take on this server; the same one for all who ask."""
    with _guard:
        costs = _costs.pop(server, None) or Costs()
        _costs[server] = costs  # the one asked for last
        while len(_costs) > _MOST_SERVERS:
            del _costs[next(iter(_costs))]
        return costs


def _after_fork() -> None:
    global _guard
    _guard = Lock()  # another thread may have held it, or one of theirs; and the calls under way are not ours
    for server, costs in list(_costs.items()):
        _costs[server] = costs.copy()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def folder_of(path: str) -> str:
    """The folder of a name: "" or ending in a slash."""
    return path[: path.rfind("/") + 1]


class Edition(NamedTuple):
    """Which files are meant: those of one version of one artifact, made anew or not.

    ``artifact`` is its key in the store, ``version`` the index of the folder there; or, where the store is not
    laid out like that, text that changes with every commit.
    """

    artifact: str
    version: int | str


class ReadSigner:
    """Keeps URLs for reading one artifact's files, and what batches have found out. Thread-safe.

    ``version`` is the one that was asked for, None being the latest. What is kept is of one edition: the one that was
    the latest when it was last looked. Of "stage" nothing is kept: what it means can change at any time.
    ``pinned`` is the edition that all batches are of, where other processes read parts of the same one.
    """

    def __init__(
        self,
        manager: ArtifactManager,
        artifact: str,
        version: str | None,
        listing: Listing,
        pinned: Edition | None = None,
    ) -> None:
        self.manager = manager
        self.artifact = artifact
        # "latest" is what no version means, but for an artifact that has none yet, where the server looks for v-1
        self.version = None if version == "latest" else version
        self.listing = listing
        self.pinned = pinned
        self.opaque = False  # URLs were seen that do not name the version
        self._kept: dict[str, tuple[str, float]] = {}
        self._edition: Edition | None = None
        self._expired: set[str] = set()
        self._lock = Lock()  # guards the three above; never held during a call

    def batch(self, *, silent: bool = False, lifetime: int = _LIFETIME) -> ReadBatch:
        """What signs the URLs of one batch. A ``silent`` one is not counted as downloads, and kept out of this, as one
        must be whose URLs have another ``lifetime`` than ours."""
        return ReadBatch(self, silent=silent, lifetime=lifetime)

    def expired(self, path: str, url: str) -> None:
        """This URL is not accepted any more; the next one for ``path`` is not another download to count."""
        with self._lock:
            if self._kept.get(path, ("",))[0] == url:
                del self._kept[path]
            if len(self._expired) < _MOST_KEPT:
                self._expired.add(path)

    def expired_among(self, paths: Collection[str]) -> set[str]:
        """Those whose URL was refused, and not yet replaced."""
        return self._expired.intersection(paths) if self._expired else set()

    def forget(self) -> None:
        """Drop all URLs."""
        with self._lock:
            self._kept.clear()

    def kept(self, paths: Sequence[str], edition: Edition | None = None) -> tuple[dict[str, Ticket], Edition | None]:
        """The URLs for these paths that are kept for an edition (any, for None), and which edition that is."""
        now = time.monotonic()
        with self._lock:
            if not self._kept or (edition is not None and edition != self._edition):
                return {}, self._edition
            found = {path: kept[0] for path in paths if (kept := self._kept.get(path)) is not None and now < kept[1]}
            return dict(found), self._edition

    def keep(self, edition: Edition, urls: Mapping[str, str], asked: float, *, newest: bool) -> None:
        """Keep what was ``asked`` for then; a batch that holds on to an older edition does not displace a newer one."""
        if self.version == "stage":
            return
        with self._lock:
            if edition != self._edition:
                if not newest:
                    return
                self._kept.clear()
                self._edition = edition
            self._kept.update((path, (url, asked + _USE)) for path, url in urls.items())
            while len(self._kept) > _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))  # oldest first

    def signed(self, paths: Collection[str]) -> None:
        """There are new URLs for these."""
        if self._expired:
            with self._lock:
                self._expired.difference_update(paths)

    def latest(self, control: Control) -> Edition | None:
        """The latest edition, by a call that costs the server little; None where it does not say."""
        data = control.retry(lambda: self.manager.call("read", artifact_id=self.artifact, silent=True))
        key, versions = (data.get("_id"), data.get("versions") or []) if isinstance(data, dict) else (None, [])
        if not isinstance(key, str) or not isinstance(versions, list):
            return None
        config = data.get("config")
        if isinstance(config, dict) and config.get("storage") == "git":
            self.opaque = True
        edition = Edition(key, json.dumps(versions) if self.opaque else max(0, len(versions) - 1))
        with self._lock:
            if edition != self._edition:
                self._kept.clear()
                self._edition = edition
        return edition


class ReadBatch:
    """Signs the URLs of one batch: all of one edition, named by the first that is signed. Thread-safe.

    Calls that were begun before that are made once more if they turn out to be of another one. An answer of another
    edition than was asked for is an error of its items: the artifact was replaced, or what was staged is not any more.
    """

    def __init__(self, signer: ReadSigner, *, silent: bool, lifetime: int = _LIFETIME) -> None:
        self._signer = signer
        self._silent = silent
        self._lifetime = lifetime
        self._edition: Edition | None = signer.pinned
        self._asking: Flag | None = None  # set once the first look for the latest edition has ended
        self._calls = 0 if signer.pinned is None else 1  # the look for what is pinned was not made just now
        self._lock = Lock()  # guards the three above

    def sizes(self) -> BatchSizes:
        """Sizes of the calls of one run."""
        return BatchSizes(costs=costs_of(self._signer.manager.server))

    def resolve(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """A URL for each path, in order, or an exception in its place."""
        try:
            found = self._kept(paths, control)
            wanted = [path for path in dict.fromkeys(paths) if path not in found]
            again = self._signer.expired_among(wanted)
            fresh = [path for path in wanted if path not in again]
            stale = [path for path in wanted if path in again]
            # apart: those that are signed again are not to be counted as downloads again
            for part, silent in ((fresh, self._silent), (stale, True)):
                if part:
                    found.update(self._sign(part, control, sizes, silent=silent))
            sizes.took(len(paths), 0.0)  # so that the next is larger; what the calls took they have told themselves
        except TransferError as error:
            return [error] * len(paths)
        return [found[path] for path in paths]

    # -- which edition ----------------------------------------------------------------------------------------

    def _kept(self, paths: Sequence[str], control: Control) -> dict[str, Ticket]:
        """What need not be signed. Asks for the latest edition first, if there is anything kept that hangs on it."""
        signer = self._signer
        latest_wanted = signer.version is None and self._edition is None
        if self._silent:
            if latest_wanted and signer.opaque:
                self._pin_latest(control)
            return {}
        found, edition = signer.kept(paths, self._edition)
        if latest_wanted and (found or signer.opaque):
            pinned = self._pin_latest(control)
            if pinned is None:
                return {}
            found, edition = signer.kept(paths, pinned)  # which it may have cleared, or another batch filled
        if found and edition is not None and self._pin(edition) != edition:
            return {}  # another call of this batch has named another one in between
        return found

    def _pin(self, edition: Edition) -> Edition:
        """The edition of this batch: this one, unless it was decided already."""
        with self._lock:
            if self._edition is None:
                self._edition = edition
            return self._edition

    def _pin_latest(self, control: Control) -> Edition | None:
        """Look for the latest edition; of calls that want to know at the same time one asks for all."""
        with self._lock:
            asking, mine = self._asking, control.flag()
            if asking is None:
                self._asking = mine
        if asking is not None:
            while not asking.wait(1.0):
                control.check()
            if self._edition is not None:
                return self._edition
        try:
            edition = self._signer.latest(control)
            return None if edition is None else self._pin(edition)
        finally:
            mine.set()

    @property
    def _version(self) -> str | int | None:
        """What to ask the server for."""
        if self._signer.version is not None:
            return self._signer.version
        edition = self._edition
        return edition.version if edition is not None and isinstance(edition.version, int) else None

    # -- signing ----------------------------------------------------------------------------------------------

    def _sign(self, paths: list[str], control: Control, sizes: BatchSizes, *, silent: bool) -> dict[str, Ticket]:
        """Sign ``paths``, each of which is given a URL or an exception."""
        found: dict[str, Ticket] = {}
        todo = [paths]
        spent = 0.0
        listed: dict[str, str] | None = None
        while todo:
            batch = todo.pop()
            try:
                found.update(self._call(batch, control, sizes, silent=silent))
            except TransferTimeout as error:
                if error.status != 504 or len(batch) == 1:
                    raise
                sizes.failed(len(batch))
                todo.extend(reversed(halves(batch)))
            except ArtifactNotFound:
                raise
            except ObjectNotFound as error:
                if len(batch) == 1:
                    found[batch[0]] = self._not_there(batch[0], error, listed, control, sizes, silent=silent)
                    continue
                if self._signer.version is None and self._edition is None:
                    self._pin_latest(control)  # no answer has named a version yet, and there will be several
                named = _MISSING.search(str(error))
                at = batch.index(named[1]) if named and named[1] in batch else -1
                rest = [*batch, *(path for other in todo for path in other)]
                folders = len({folder_of(path) for path in rest})
                if listed is None and (
                    at < 0 or cheaper_to_list(len(rest), folders, call=CALL, each=EACH) or spent > folders * CALL
                ):
                    listed = self.look(rest, control)
                    missing = {path for path in rest if path not in listed}
                    if missing:
                        found.update((path, _not_found(path)) for path in missing)
                        todo = [left] if (left := [path for path in rest if path not in missing]) else []
                        continue
                if at < 0:
                    todo.extend(reversed(halves(batch)))
                    continue
                # all before the one named are there: sign them apart from the rest, about which nothing is known
                spent += CALL + EACH * at
                found[batch[at]] = self._not_there(batch[at], error, listed, control, sizes, silent=silent)
                todo.extend(part for part in (batch[at + 1 :], batch[:at]) if part)
        return found

    def _not_there(
        self,
        path: str,
        error: ObjectNotFound,
        listed: dict[str, str] | None,
        control: Control,
        sizes: BatchSizes,
        *,
        silent: bool,
    ) -> Ticket:
        """What the server's "does not exist" means for ``path``, given what its folder lists.

        The server says it also when its S3 fails to answer: of a file that is listed it is not believed.
        """
        if listed is None or listed.get(path) != "file":
            return error.about(path)

        def again() -> Ticket:
            try:
                return self._call_once([path], control, sizes, silent=silent)[path]
            except ObjectNotFound:
                raise ServerError("the server lists this file, but does not find it", path=path) from None

        try:
            return control.retry(again)
        except TransferError as failure:
            return failure.about(path)

    def look(self, paths: Sequence[str], control: Control) -> dict[str, str]:
        """What the folders of ``paths`` hold: names with their types, "file" where there is a folder of that name too.

        Some S3s do not list a file that has a folder of the same name beside it. So a name that is listed as a
        folder is not known to be missing.
        """
        folders = sorted({folder_of(path) for path in paths})
        if len(folders) > 1 and self._signer.version is None and self._edition is None:
            self._pin_latest(control)
        version = self._version
        found: dict[str, str] = {}
        listings = control.map(lambda folder: self._signer.listing.entries(folder, version, control), folders, 4)
        for folder, entries in zip(folders, listings, strict=True):
            for entry in entries:
                name = folder + entry["name"].rstrip("/")
                if found.get(name) != "file":
                    found[name] = entry["type"]
        return found

    def _call(self, batch: list[str], control: Control, sizes: BatchSizes, *, silent: bool) -> dict[str, Ticket]:
        return control.retry(lambda: self._call_once(batch, control, sizes, silent=silent))

    def _call_once(self, batch: list[str], control: Control, sizes: BatchSizes, *, silent: bool) -> dict[str, Ticket]:
        signer, version = self._signer, self._version
        arguments: dict[str, Any] = {"artifact_id": signer.artifact, "file_path": batch, "expires_in": self._lifetime}
        if version is not None:
            arguments["version"] = version
        if silent:
            arguments["silent"] = True
        with sizes.call(len(batch)) as timed:
            asked = time.monotonic()
            answer = call_or_split(signer.manager, "get_file", arguments, len(batch))
            timed.seconds = time.monotonic() - asked
        tickets = answered(batch, answer, "get_file")
        urls = {path: url for path, url in tickets.items() if isinstance(url, str)}
        if not urls:
            return tickets
        edition = edition_of(urls)
        if edition is None:
            edition = self._opaque_edition(control)
            if edition is None:  # asked before it was known that there is something to compare
                return self._call_once(batch, control, sizes, silent=True)
        pinned = self._pin(edition)
        if edition != pinned:
            if signer.version is None and version is None and isinstance(pinned.version, int):
                return self._call_once(batch, control, sizes, silent=True)  # begun before the version was known
            signer.forget()  # it may have been what was kept that is out of date
            return {**tickets, **{path: self._changed(path) for path in urls}}
        signer.signed(urls)
        if not self._silent:
            signer.keep(edition, urls, asked, newest=version is None or signer.version is not None)
        return tickets

    def _opaque_edition(self, control: Control) -> Edition | None:
        """The edition of URLs that do not tell it, so far as it can be known; None if they are to be signed again."""
        signer = self._signer
        signer.opaque = True
        if signer.version is not None:
            return Edition("", signer.version)  # a name is all there is to go by
        if self._edition is None:
            if self._pin_latest(control) is None:
                return Edition("", "")
            return None
        with self._lock:
            self._calls += 1
            first = self._calls == 1
        return self._edition if first else signer.latest(control) or self._edition

    def _changed(self, path: str) -> PreconditionFailed:
        if self._signer.version == "stage":
            said = "the staging was committed or discarded during the batch"
        else:
            said = "the artifact was replaced by another of its name, or committed, during the batch"
        return PreconditionFailed(f"{said}; read it again for what is there now", path=path)


def edition_of(urls: Mapping[str, str]) -> Edition | None:
    """The edition that these URLs, by path, lead to; None where they do not tell, or are not all of one."""
    for path, url in urls.items():
        address = url.partition("?")[0]
        root = address.rsplit("/", path.count("/") + 1)[0]
        found = _ROOT.search(root)
        if found is not None and unquote(address[len(root) + 1 :]) == path:
            root += "/"
            if all(other.startswith(root) for other in urls.values()):
                return Edition(unquote(found[1]), int(found[2]))
            return None
    return None


class _TooSlow(TransferTimeout):
    """The server's own timeout on a batch: repeating it as it is would only time out again."""

    retryable = False


def call_or_split(manager: ArtifactManager, method: str, arguments: dict[str, Any], count: int) -> Any:
    """Call ``method``; a timeout of the server on more than one path is not to be retried but split."""
    try:
        return manager.call(method, **arguments)
    except TransferTimeout as error:
        if error.status == 504 and count > 1:
            raise _TooSlow(str(error), status=504) from None
        raise


def answered(batch: Sequence[str], answer: object, method: str) -> dict[str, Ticket]:
    """The answer to a call for a list of paths: for each its URL, or an error where it was left out."""
    urls = answer if isinstance(answer, dict) else {}
    return {
        path: url
        if isinstance(url := urls.get(path), str) and url.startswith(("http://", "https://"))
        else ServerError(f"{method}: the server's answer has no URL for this path", path=path)
        for path in batch
    }


def _not_found(path: str) -> ObjectNotFound:
    return ObjectNotFound("not found: its folder does not list it", path=path, status=404)
