"""Signed URLs for reading: got in batches, kept while they live, with missing names told apart in few calls.

One missing path makes the server refuse a whole batch, naming the first one missing. What is known then: all
before it are there. So either their folders are listed (a call each) or the batch is cut at the missing one,
whichever costs less; see ``ReadSigner.resolve``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from threading import Lock
from typing import Any, TypeVar

from ...errors import ArtifactNotFound, ObjectNotFound, ServerError, TransferError, TransferTimeout
from ...plan.batches import BatchSizes, cheaper_to_list, halves
from ..base import Control, Ticket
from .listing import Listing
from .manager import ArtifactManager

T = TypeVar("T")

# What a call costs the server, and what each path adds to signing (seconds): only their ratio matters.
CALL, EACH = 0.2, 0.003
# Seconds that a URL is asked to live, and for how many of them it is used: clocks differ, transfers take time.
_LIFETIME, _USE = 3600, 3000.0
_MOST_KEPT = 10_000
_MISSING = re.compile(r"File '(.*)' does not exist", re.DOTALL)


def folder_of(path: str) -> str:
    """The folder of a name: "" or ending in a slash."""
    return path[: path.rfind("/") + 1]


class ReadSigner:
    """Gets and keeps URLs for reading one artifact's files. Thread-safe.

    A kept URL leads to the files of one version. Where no version is asked for, one cheap call (``read``)
    checks before each run that no newer one has been committed.
    """

    def __init__(self, manager: ArtifactManager, artifact: str, version: str | None, listing: Listing) -> None:
        self._manager = manager
        self._artifact = artifact
        self._version = version
        self._listing = listing
        self._kept: dict[str, tuple[str, float]] = {}
        self._expired: set[str] = set()
        self._latest: object = None
        self._lock = Lock()  # guards the three above; never held during a call

    def expired(self, path: str) -> None:
        """The URL kept for ``path`` is not accepted any more; the next one is not another download to count."""
        with self._lock:
            self._kept.pop(path, None)
            self._expired.add(path)

    def forget(self) -> None:
        """Drop all URLs."""
        with self._lock:
            self._kept.clear()

    def sizes(self) -> BatchSizes:
        """Sizes of the calls of one run."""
        return BatchSizes()

    def resolve(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """A URL for each path, in order, or an exception in its place. Keeps no order of calls to rely on."""
        try:
            if not sizes.calls and self._version is None:
                self._check_latest(control)
            now = time.monotonic()
            with self._lock:
                known = {path: url for path in paths if (url := self._live(path, now)) is not None}
                again = self._expired.intersection(paths)
            wanted = list(dict.fromkeys(path for path in paths if path not in known))
            found: dict[str, Ticket] = dict(known)
            began = time.monotonic()
            # apart: those that are signed again are not to be counted as downloads again
            for part in ([p for p in wanted if p not in again], [p for p in wanted if p in again]):
                if part:
                    found.update(self._sign(part, control, sizes))
            sizes.took(len(wanted) or len(paths), time.monotonic() - began)
        except TransferError as error:
            return [error] * len(paths)
        return [found[path] for path in paths]

    def _live(self, path: str, now: float) -> str | None:
        kept = self._kept.get(path)
        return kept[0] if kept is not None and now < kept[1] else None

    def _check_latest(self, control: Control) -> None:
        data = control.retry(lambda: self._manager.call("read", artifact_id=self._artifact, silent=True))
        versions = (data.get("versions") if isinstance(data, dict) else None) or []
        # an artifact made anew has a key of its own, and may have as many versions
        key = data.get("_id") if isinstance(data, dict) else None
        latest = (key, len(versions), versions[-1].get("version") if versions else None)
        with self._lock:
            if latest != self._latest:
                self._kept.clear()
                self._latest = latest

    def _sign(self, paths: list[str], control: Control, sizes: BatchSizes) -> dict[str, Ticket]:
        """Sign ``paths``, each of which is given a URL or an exception."""
        found: dict[str, Ticket] = {}
        todo = [paths]
        spent = 0.0
        listed: dict[str, str] | None = None
        while todo:
            batch = todo.pop()
            try:
                found.update(self._call(batch, control))
            except TransferTimeout as error:
                if error.status != 504 or len(batch) == 1:
                    raise
                sizes.failed(len(batch))
                todo.extend(reversed(halves(batch)))
            except ArtifactNotFound:
                raise
            except ObjectNotFound as error:
                if len(batch) == 1:
                    found[batch[0]] = self._not_there(batch[0], error, listed, control)
                    continue
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
                found[batch[at]] = self._not_there(batch[at], error, listed, control)
                todo.extend(part for part in (batch[at + 1 :], batch[:at]) if part)
        return found

    def _not_there(self, path: str, error: ObjectNotFound, listed: dict[str, str] | None, control: Control) -> Ticket:
        """What the server's "does not exist" means for ``path``, given what its folder lists.

        The server says it also when its S3 fails to answer: of a file that is listed it is not believed.
        """
        if listed is None or listed.get(path) != "file":
            return error.about(path)

        def again() -> Ticket:
            try:
                return self._call_once([path])[path]
            except ObjectNotFound:
                raise ServerError("the server lists this file, but does not find it", path=path) from None

        try:
            return control.retry(again)
        except TransferError as failure:
            return failure.about(path)

    def look(self, paths: Sequence[str], control: Control) -> dict[str, str]:
        """What the folders of ``paths`` hold: names with their types.

        Some S3s do not list a file that has a folder of the same name beside it. So a name that is listed as a
        folder is not known to be missing.
        """
        return {
            folder + entry["name"].rstrip("/"): entry["type"]
            for folder in sorted({folder_of(path) for path in paths})
            for entry in self._listing.entries(folder, self._version, control)
        }

    def _call(self, batch: list[str], control: Control) -> dict[str, Ticket]:
        return control.retry(lambda: self._call_once(batch))

    def _call_once(self, batch: list[str]) -> dict[str, Ticket]:
        arguments: dict[str, Any] = {"artifact_id": self._artifact, "file_path": batch, "expires_in": _LIFETIME}
        if self._version is not None:
            arguments["version"] = self._version
        if self._expired.issuperset(batch):
            arguments["silent"] = True
        asked = time.monotonic()
        answer = call_or_split(self._manager, "get_file", arguments, len(batch))
        urls = answered(batch, answer, "get_file")
        good = {path: (url, asked + _USE) for path, url in urls.items() if isinstance(url, str)}
        with self._lock:
            self._expired.difference_update(batch)
            self._kept.update(good)
            while len(self._kept) > _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))  # oldest first
        return urls


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
