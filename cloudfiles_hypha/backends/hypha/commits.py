"""The calls that change what is staged of one artifact, each made so that it may be repeated.

The server takes no expected state, and its answers get lost. So before a call that must not be made twice, or not on
what somebody else has staged since, is repeated, what is staged and which versions there are is read and compared with
what was read before. Who wrote what, and when to commit, is not decided here: see ``staging``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from ...errors import (
    ArtifactExists,
    InvalidRequest,
    NotStaged,
    ObjectNotFound,
    PreconditionFailed,
    TransferError,
    TransferTimeout,
)
from ...redact import without_credentials
from ..base import Control
from .listing import Listing, is_new_version, staged_entries
from .manager import ArtifactManager
from .signing import call_or_split, folder_of

T = TypeVar("T")
_log = logging.getLogger("cloudfiles_hypha")

_LIFETIME = 3600
# Seconds to let a commit finish that the server has given up waiting for.
_COMMIT_PAUSE = 10.0
_WAY_OUT = "status() shows what is staged, commit() publishes all of it, discard() drops all of it"


@dataclass(frozen=True, slots=True)
class Seen:
    """An artifact's staging and versions, as one answer of the server told them."""

    staged: bool
    uploads: frozenset[str]
    removals: frozenset[str]
    new_version: bool
    versions: tuple[str, ...]
    key: str  # the server's own, which an artifact that is deleted and made anew does not keep
    stamp: float | None  # when it was last staged, committed or discarded, in whole seconds
    described: tuple[object, ...]  # what else a commit would publish

    @property
    def names(self) -> frozenset[str]:
        """All names that are staged, for whatever."""
        return self.uploads | self.removals

    @property
    def makes_version(self) -> bool:
        """Whether a commit of this would make a version, and not change the latest."""
        return self.new_version or not self.versions


def seen_in(data: object) -> Seen:
    """From the answer to ``read`` of the staged version, ``edit`` or ``create``."""
    entries = staged_entries(data)
    values = data if isinstance(data, dict) else {}
    named = [(str(entry["path"]), bool(entry.get("_remove"))) for entry in entries or () if "path" in entry]
    stamp = values.get("last_modified")
    return Seen(
        entries is not None,
        frozenset(path for path, remove in named if not remove),
        frozenset(path for path, remove in named if remove),
        is_new_version(entries or ()),
        tuple(str(version.get("version", "")) for version in values.get("versions") or ()),
        str(values.get("_id") or ""),
        stamp if isinstance(stamp, int | float) else None,
        (values.get("manifest"), values.get("type")),
    )


def _refuse_git(data: object, artifact: str) -> None:
    """Refuse an artifact whose files are in git: the server does not say what is staged there, so nobody could know
    what a commit would publish; and what it is given in parts it never finds again."""
    config = data.get("config") if isinstance(data, dict) else None
    if isinstance(config, dict) and config.get("storage") == "git":
        url = data.get("git_url") if isinstance(data, dict) else None
        where = f" with git, at {without_credentials(url)}" if isinstance(url, str) else " with git"
        raise InvalidRequest(
            f"this artifact's files are kept in git, and can only be read here; change them{where}", path=artifact
        )


def check_version_name(name: object) -> None:
    """Refuse a name for a version that means something else to the server; costs no call."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidRequest(f"version={name!r}: expected a name that is not empty")
    if name in ("stage", "latest", "new"):
        raise InvalidRequest(f"version={name!r}: this name is the server's own; choose another")
    if name.isdigit():
        raise InvalidRequest(f"version={name!r}: the server takes this for a number; choose another name")


def check_new_version(name: str, versions: Collection[str], artifact: str) -> None:
    """Refuse a name that cannot be given to the version after these."""
    if name in versions:
        raise InvalidRequest(f"version={name!r}: there is such a version; choose another name", path=artifact)
    following = f"v{len(versions)}"
    if re.fullmatch(r"v[0-9]+", name) and name != following:
        raise InvalidRequest(
            f"version={name!r}: the server numbers versions like this by itself, and the next is {following!r}; "
            "choose that, or another name",
            path=artifact,
        )


class Once:
    """``Control`` for a call that is itself an attempt: nothing in it is tried again."""

    def __init__(self, control: Control) -> None:
        self.check = control.check
        self.sleep = control.sleep
        self.lock = control.lock
        self.flag = control.flag
        self.map = control.map
        self.over = False
        self.lingers = control.lingers

    def retry(self, attempt: Callable[[], T]) -> T:
        """Make the attempt."""
        return attempt()


class Commits:
    """The calls about one artifact's staging. Thread-safe; calls that change something are to be made one at a time."""

    def __init__(self, manager: ArtifactManager, artifact: str, listing: Listing) -> None:
        self._manager = manager
        self._artifact = artifact
        self._listing = listing

    # -- looking ------------------------------------------------------------------------------------------------

    def look(self, control: Control) -> Seen:
        """What is staged now. Raises ``ArtifactNotFound``."""
        return control.retry(self._look)

    def _look(self) -> Seen:
        data = self._manager.call("read", artifact_id=self._artifact, version="stage", silent=True)
        _refuse_git(data, self._artifact)
        return seen_in(data)

    def without_object(self, paths: Iterable[str], control: Control) -> list[str]:
        """Those of ``paths`` that nothing is stored under where staged files go, in order."""
        wanted = set(paths)
        there: set[str] = set()
        for folder in sorted({folder_of(path) for path in wanted}):
            there.update(self._listing.files(folder, "stage", control))
        # some S3s leave out a file that has a folder of the same name beside it, so the listing alone is not believed
        return [path for path in sorted(wanted - there) if not self._is_stored(path, control)]

    def _is_stored(self, path: str, control: Control) -> bool:
        arguments = {"artifact_id": self._artifact, "file_path": path, "version": "stage", "silent": True}
        try:
            control.retry(lambda: self._manager.call("get_file", **arguments))
        except ObjectNotFound:
            return False
        return True

    # -- opening ------------------------------------------------------------------------------------------------

    def open(self, *, new: bool) -> Seen:
        """Stage, in one attempt: what is staged then. While staged, ``new`` changes what it is for."""
        intent = {"version": "new"} if new else {}
        return seen_in(self._manager.call("edit", artifact_id=self._artifact, stage=True, **intent))

    def create(self) -> Seen:
        """Make the artifact, staged, in one attempt: what is staged then. Raises ``ArtifactExists``."""
        # The server refuses to commit an artifact whose manifest is empty. The workspace goes with the alias: the
        # server's HTTP route drops the argument of that name, and would silently create it in the token's workspace.
        manifest = {"name": self._artifact.partition("/")[2]}
        arguments = {"alias": self._artifact, "type": "generic", "manifest": manifest, "stage": True}
        try:
            seen = seen_in(self._manager.call("create", **arguments))
        except ArtifactExists as error:  # somebody was faster, or an earlier answer was lost: look again
            error.retryable = True
            raise
        if self._manager.anonymous:  # the server does not ask who makes one in a workspace that is named (Hypha 0.21)
            _log.warning("%s: made without a token, so anybody can write to it", without_credentials(self._artifact))
        return seen

    # -- filling ------------------------------------------------------------------------------------------------

    def register(self, paths: list[str], control: Control) -> object:
        """Register names for upload: the server's answer. Harmless when repeated."""
        arguments = {"artifact_id": self._artifact, "file_path": paths, "expires_in": _LIFETIME}
        return control.retry(lambda: call_or_split(self._manager, "put_file", arguments, len(paths)))

    def open_parts(self, path: str, count: int, lifetime: int, control: Control) -> object:
        """Register a name for an upload in parts: the server's answer. Repeating it leaves an upload without parts."""
        arguments = {"artifact_id": self._artifact, "file_path": path, "part_count": count, "expires_in": lifetime}
        return control.retry(lambda: self._manager.call("put_file_start_multipart", **arguments))

    def toggle(self, path: str) -> None:
        """``remove_file``, once: drops a name that is listed, whatever for, and lists one that is not for removal."""
        self._manager.call("remove_file", artifact_id=self._artifact, file_path=path)

    def unlist(self, path: str, control: Control) -> None:
        """Drop a name that is known to be listed."""
        unsure = False

        def attempt() -> None:
            nonlocal unsure
            if unsure:
                now = self._look()
                if path not in now.names:
                    return  # an earlier attempt did it; a second one would stage the removal of the file
                if path in now.uploads and self._is_stored(path, Once(control)):
                    return  # and somebody has uploaded it since
            try:
                self.toggle(path)
            except TransferError:
                unsure = True
                raise

        control.retry(attempt)

    def withdraw(self, paths: Iterable[str], control: Control) -> list[str]:
        """Take back those of these names that are registered and have no object; returns them.

        What has an object is never touched: taking it back would delete it, whoever stored it.
        """
        listed = self.look(control).uploads.intersection(paths)
        gone = self.without_object(listed, control) if listed else []
        for path in gone:
            self.unlist(path, control)
        return gone

    # -- ending -------------------------------------------------------------------------------------------------

    def commit(self, before: Seen, control: Control, *, version: str | None, comment: str | None) -> str:
        """Publish what was staged at ``before``, read a moment ago: the name of the version that holds it.

        A commit that timed out may still be at work, and a second one would do all of it again beside the first: so
        there is a pause, and then a look at what it did.
        """
        arguments: dict[str, object] = {"artifact_id": self._artifact}
        arguments.update({} if version is None else {"version": version})
        arguments.update({} if comment is None else {"comment": comment})
        name = (version or f"v{len(before.versions)}") if before.makes_version else before.versions[-1]
        lost = False

        def attempt() -> str:
            nonlocal lost
            if lost and self._was_committed(before, self._look(), name, Once(control)):
                return name
            try:
                answer = self._manager.call("commit", **arguments)
            except TransferError as error:
                lost = lost or error.retryable
                if isinstance(error, TransferTimeout):
                    error.retry_after = max(error.retry_after or 0.0, _COMMIT_PAUSE)
                raise
            return (seen_in(answer).versions or (name,))[-1]

        return control.retry(attempt)

    def _was_committed(self, before: Seen, now: Seen, name: str, once: Control) -> bool:
        """Whether a commit was made whose answer was lost; raises where it must not be repeated."""
        count = len(before.versions)
        if before.makes_version and len(now.versions) > count:
            if now.versions[:count] == before.versions and now.versions[count] == name:
                return True
            raise self._changed(f"somebody else has committed it as {now.versions[-1]!r}")
        if now.key != before.key or now.versions != before.versions:
            raise self._changed("somebody else has made another version")
        if not now.staged:
            # what a discard restores cannot be told from what was there before; what was new is gone then
            if before.makes_version or self.without_object(before.uploads, once):
                raise NotStaged("somebody else has discarded what was staged", path=self._artifact)
            return True
        if not before.makes_version and before.names and not before.names & now.names:
            return True  # and somebody else has staged since
        if now.names != before.names or now.described != before.described or now.new_version != before.new_version:
            raise self._changed("somebody else has changed what is staged")
        if not before.makes_version and now.stamp != before.stamp:
            raise self._changed("somebody else has staged since, so it cannot be told whether it was committed")
        return False

    def _changed(self, what: str) -> PreconditionFailed:
        return PreconditionFailed(f"the answer to the commit was lost, and {what}; {_WAY_OUT}", path=self._artifact)

    def discard(self, before: Seen, control: Control) -> None:
        """Drop what was staged at ``before`` and restore what it had overwritten.

        The method is ``discard``; ``discard_changes`` forgets the list of staged names but restores nothing.
        """
        lost = False

        def attempt() -> None:
            nonlocal lost
            if lost:
                now = self._look()
                if not now.staged or (now.names, now.stamp, now.versions) != (
                    before.names,
                    before.stamp,
                    before.versions,
                ):
                    return  # it was done, and what is staged now is somebody else's
            try:
                self._manager.call("discard", artifact_id=self._artifact)
            except TransferError as error:
                lost = lost or error.retryable
                raise

        control.retry(attempt)


def foreign_names(names: Iterable[str], artifact: str) -> PreconditionFailed:
    """The error that stops a commit which would publish these."""
    return PreconditionFailed(
        f"not committed, since somebody else has staged {shown(names)}; all of it stays staged: {_WAY_OUT}",
        path=artifact,
    )


def shown(names: Iterable[str]) -> str:
    """The first few of these names, and how many more there are."""
    ordered = sorted(names)
    return ", ".join(map(repr, ordered[:5])) + (f" and {len(ordered) - 5} more" if len(ordered) > 5 else "")
