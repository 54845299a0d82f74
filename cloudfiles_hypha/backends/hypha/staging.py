"""Staging and committing an artifact around batches of writes, so that neither a failed upload nor a lost
answer can spoil what is committed.

What the server does, and what follows from it (measured against Hypha 0.21; see ``docs/hypha.md``):

- A name is registered when its URL is signed, before any byte is sent, and a commit fails if one registered
  name has no object. So names whose upload failed are withdrawn first, but only where there really is no
  object: ``remove_file`` on a name that was overwritten would delete the committed file.
- Staging an artifact that has a version edits that version in place; a new version holds only what is uploaded
  to it, and a removal staged with it would delete from the version before. So that is refused here.
- A name whose removal is staged stays marked for removal when it is uploaded again. So the mark is lifted first,
  after the server has made its backup of the committed file.
- ``remove_file`` called twice does the opposite of what it did: it drops a name that is listed, whatever for, and
  lists one that is not for removal. So one whose answer was lost is repeated only if the list shows that it must be.
- A commit has the server look for every staged file. A new version that was uploaded here is published without
  that; see ``_publish``.
- Two writers on one artifact overwrite each other's list of staged names. So the calls of this process that
  change it are made one at a time.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from ...errors import (
    ArtifactExists,
    ArtifactNotFound,
    InvalidRequest,
    NotStaged,
    ObjectNotFound,
    StagedWarning,
    TransferError,
    TransferTimeout,
    WithdrawnWarning,
)
from ...plan.batches import BatchSizes, halves
from ..base import Control, Ticket
from .listing import Listing, is_new_version, staged_entries
from .manager import ArtifactManager
from .signing import ReadSigner, answered, call_or_split, folder_of

_LIFETIME = 3600
# Seconds to let a commit finish that the server has given up waiting for.
_COMMIT_PAUSE = 10.0
# From so many files on, three calls of 0.2 s cost less than a commit.
_MANY = 250
_log = logging.getLogger("cloudfiles_hypha")

Lock = Callable[[str], AbstractContextManager[Any]]


class _Open:
    """One period of staging, as this process takes part in it."""

    def __init__(
        self, control: Control, lock: Lock, *, ours: bool, new_version: bool, entries: Sequence[dict[str, Any]]
    ) -> None:
        self.control = control
        self.lock = lock
        self.ours = ours  # opened here, so committed here
        self.new_version = new_version
        self.staged, self.removed = _names(entries)
        self.unsure: set[str] = set()  # removals whose answer was lost
        self.failures: set[str] = set()
        self.changes = 0


class Staging:
    """Opens, fills and closes the staging of one artifact. Thread-safe."""

    def __init__(
        self, manager: ArtifactManager, artifact: str, listing: Listing, reads: ReadSigner, *, create: bool
    ) -> None:
        self._manager = manager
        self._artifact = artifact
        self._listing = listing
        self._reads = reads
        self._create = create
        self._open: _Open | None = None  # set while a batch or a ``staged()`` block writes
        self._explicit = False
        self._has_parent = False  # as of the latest look
        self._lost: set[str] = set()  # by the latest commit around a batch; see ``lost``

    # -- around a batch ---------------------------------------------------------------------------------------

    @contextmanager
    def around(self, control: Control, lock: Lock) -> Iterator[Staging]:
        """Stage before the first write, commit after the last; inside ``staged()`` do neither.

        When the body raises, what was uploaded stays staged. A write within another of the same thread, as from
        the generator that a batch reads, belongs to that one.
        """
        if not self._explicit:
            with lock(f"write {self._artifact}"):
                if self._open is None:  # else a block was begun while this waited, or this is within another write
                    self._open = self._begin(control, lock, None)
                    try:
                        yield self
                        self._end(self._open, control, version=None, comment=None)
                    finally:
                        self._open = None
                    return
        yield self

    @contextmanager
    def explicitly(self, control: Control, lock: Lock, *, version: str | None, comment: str | None) -> Iterator[None]:
        """``staged()``: stage now, commit at the end if staging was opened here and the body did not raise.

        ``version`` None edits the latest version in place, "new" begins the next one, any other name begins the
        next one and gives it that name.
        """
        with lock(f"write {self._artifact}"):
            if self._open is not None:
                raise InvalidRequest("staged() is already in effect for this object", path=self._artifact)
            self._open = self._begin(control, lock, version)
            self._explicit = True
        try:
            yield
            with lock(f"write {self._artifact}"):
                self._end(self._open, control, version=version, comment=comment)
        finally:
            self._open, self._explicit = None, False

    def _begin(self, control: Control, lock: Lock, version: str | None) -> _Open:
        entries = self._entries(control)
        if entries is None:
            intent = {} if version is None else {"version": "new"}
            self._change(control, "edit", stage=True, **intent)
            return _Open(control, lock, ours=True, new_version=version is not None, entries=())
        is_new = is_new_version(entries)
        if version is not None and not is_new and not any("path" in entry for entry in entries):
            self._change(control, "edit", stage=True, version="new")  # nothing is staged yet: the intent may change
            is_new = True
        elif version is not None and not is_new:
            raise InvalidRequest(
                "the artifact is already staged for editing its latest version; commit() or discard() that first",
                path=self._artifact,
            )
        return _Open(control, lock, ours=self._created(entries), new_version=is_new, entries=entries)

    def _created(self, entries: Sequence[dict[str, Any]]) -> bool:
        return any(entry.get("_created_here") for entry in entries)

    def _entries(self, control: Control) -> list[dict[str, Any]] | None:
        """What is staged now; None if the artifact is not staged. Creates it if that was asked for."""
        try:
            return self._read(control)
        except ArtifactNotFound as error:
            if not self._create:
                raise ArtifactNotFound(
                    "there is no such artifact; pass create=True to make it", path=self._artifact, status=error.status
                ) from None
            return self._make(control)

    def _read(self, control: Control) -> list[dict[str, Any]] | None:
        data = control.retry(
            lambda: self._manager.call("read", artifact_id=self._artifact, version="stage", silent=True)
        )
        self._has_parent = isinstance(data, dict) and bool(data.get("parent_id"))
        return staged_entries(data)

    def _make(self, control: Control) -> list[dict[str, Any]] | None:
        # The server refuses to commit an artifact whose manifest is empty.
        manifest = {"name": self._artifact.partition("/")[2]}
        lost = False

        def attempt() -> None:
            nonlocal lost
            try:
                # The workspace goes with the alias: the server's HTTP route drops the argument of that name, and
                # would silently create the artifact in the token's workspace.
                self._manager.call("create", alias=self._artifact, type="generic", manifest=manifest, stage=True)
            except TransferError as error:
                lost = lost or error.retryable
                raise

        try:
            control.retry(attempt)
        except ArtifactExists:
            entries = self._read(control)  # somebody was faster, or the answer to an earlier attempt was lost
            if not lost or entries is None or any("path" in entry for entry in entries):
                return entries
        return [{"_intent": "new_version", "_created_here": True}]

    def _change(self, control: Control, method: str, **arguments: Any) -> Any:
        """A call that may be made twice, repeated until it succeeds."""
        return control.retry(lambda: self._manager.call(method, artifact_id=self._artifact, **arguments))

    def _unlist(self, path: str, control: Control) -> None:
        """Drop a name from the server's list of what is staged, be it there for upload or for removal."""
        unsure = False

        def attempt() -> None:
            nonlocal unsure
            if unsure and not self._listed(path, control):
                return  # an earlier attempt did it; a second one would stage the removal of the file
            try:
                self._manager.call("remove_file", artifact_id=self._artifact, file_path=path)
            except TransferError:
                unsure = True
                raise

        control.retry(attempt)

    def _listed(self, path: str, control: Control) -> str:
        """What ``path`` is staged for now: "upload", "removal", or "" for nothing."""
        uploads, removals = _names(self._entries(control) or ())
        return "upload" if path in uploads else "removal" if path in removals else ""

    # -- within a batch ---------------------------------------------------------------------------------------

    def sign(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """Register names and get the URLs to upload them to; in order, an exception where there is none."""
        staging = self._require()
        try:
            found: dict[str, Ticket] = {}
            todo = [list(dict.fromkeys(paths))]
            while todo:
                batch = todo.pop()
                began = time.monotonic()
                try:
                    found.update(self._register(batch, staging, control))
                except TransferTimeout as error:
                    # the names may be registered all the same; registering them again does no harm
                    if error.status != 504 or len(batch) == 1:
                        raise
                    sizes.failed(len(batch))
                    todo.extend(reversed(halves(batch)))
                else:
                    sizes.took(len(batch), time.monotonic() - began)
        except TransferError as error:
            return [error] * len(paths)
        return [found[path] for path in paths]

    def _register(self, batch: list[str], staging: _Open, control: Control) -> dict[str, Ticket]:
        arguments = {"artifact_id": self._artifact, "file_path": batch, "expires_in": _LIFETIME}
        with staging.lock(f"call {self._artifact}"):
            answer = self._register_by("put_file", arguments, len(batch), staging, control)
            marked = [path for path in batch if path in staging.removed]
            for path in marked:
                self._unlist(path, control)
                staging.removed.discard(path)
            if marked:
                answer = control.retry(lambda: call_or_split(self._manager, "put_file", arguments, len(batch)))
        staging.staged.update(batch)
        return answered(batch, answer, "put_file")

    def open_parts(self, path: str, count: int, lifetime: int, control: Control) -> Any:
        """Register a name for an upload in parts: the server's answer. Repeating it leaves an upload without parts."""
        staging = self._require()
        if path in staging.removed:
            self._register([path], staging, control)  # which lifts the mark for removal
        arguments = {"artifact_id": self._artifact, "file_path": path, "part_count": count, "expires_in": lifetime}
        with staging.lock(f"call {self._artifact}"):
            answer = self._register_by("put_file_start_multipart", arguments, 1, staging, control)
        staging.staged.add(path)
        return answer

    def _register_by(self, method: str, arguments: dict[str, Any], count: int, staging: _Open, control: Control) -> Any:
        """The answer to a call that registers names, within the lock."""

        def call() -> Any:
            return call_or_split(self._manager, method, arguments, count)

        try:
            return control.retry(call)
        except NotStaged:
            if not staging.ours:
                raise
            # Somebody else has committed what was staged here so far; go on with what is left.
            _log.warning("%s: committed by somebody else during a batch; staging again", self._artifact)
            self._change(control, "edit", stage=True)
            return control.retry(call)

    def remove(self, path: str) -> None:
        """Stage the removal of one file (one attempt; safe to repeat)."""
        staging = self._require()
        if path in staging.removed:
            return
        if staging.new_version and path not in staging.staged:
            raise InvalidRequest(
                "a new version holds only what is uploaded to it, and this was not; nothing to delete", path=path
            )
        with staging.lock(f"call {self._artifact}"):
            done = "" if path in staging.staged else "removal"
            # where an earlier attempt may have done it, a second would undo it
            if path not in staging.unsure or self._listed(path, staging.control) != done:
                staging.unsure.add(path)
                self._manager.call("remove_file", artifact_id=self._artifact, file_path=path)
            staging.unsure.discard(path)
        if path in staging.staged:
            staging.staged.discard(path)
        else:
            staging.removed.add(path)

    def failed(self, path: str) -> None:
        """The upload of ``path`` has failed for good."""
        self._require().failures.add(path)

    def succeeded(self) -> None:
        """A write went through."""
        self._require().changes += 1

    @property
    def lost(self) -> set[str]:
        """Names that the store acknowledged, and that were not there any more when they were to be committed."""
        return self._lost

    def _require(self) -> _Open:
        if self._open is None:
            raise NotStaged("nothing is being written", path=self._artifact)
        return self._open

    # -- after a batch ----------------------------------------------------------------------------------------

    def _end(self, staging: _Open, control: Control, *, version: str | None, comment: str | None) -> None:
        ours = staging.ours
        self._lost = set()
        if ours and not staging.changes:
            uploads, removals = _names(self._entries(control) or ())
            ours = (uploads | removals) <= (staging.staged | staging.failures)
            if ours:
                self.discard(control)
                return
            # somebody else has added to what was staged here, and was told that it is not published yet
        if ours and version in (None, "new") and self._can_publish(staging, control):
            self._publish(control, comment)
            return
        if staging.failures:
            self._withdraw(staging.failures & staging.staged, control)
        if ours:
            self.commit(control, version=None if version == "new" else version, comment=comment)
        elif staging.changes:
            warnings.warn(
                f"{self._artifact} was already staged: what was written is not published before commit()",
                StagedWarning,
                stacklevel=2,
            )

    def _can_publish(self, staging: _Open, control: Control) -> bool:
        """Whether ``_publish`` does what a commit would: a new version, all of it uploaded here, nothing removed,
        and no collection above the artifact that has a say in it. Pays only where there are many files."""
        if len(staging.staged) < _MANY or not staging.new_version or staging.removed or self._has_parent:
            return False
        uploads, removals = _names(self._entries(control) or ())
        return not removals and uploads <= staging.staged and not self._has_parent

    def _publish(self, control: Control, comment: str | None) -> None:
        """Commit in three calls whose cost does not grow with the number of files.

        ``commit`` has the server look for every staged file, 3.5 ms each; but the store has acknowledged each with
        its MD5 a moment ago. ``edit`` without staging makes what is staged the new version and looks for none (and
        so leaves out, without complaint, names whose upload failed); the empty commit that follows counts the files.
        Each is harmless when repeated.
        """
        self._change(control, "edit", stage=False, **({} if comment is None else {"comment": comment}))
        self._reads.forget()
        try:
            self._change(control, "edit", stage=True)
            self._commit_once({"artifact_id": self._artifact}, control)
        except TransferError as error:
            # the files are published; only the number of files that the server shows is out of date
            _log.warning("%s: published, but the server's count of files is not up to date: %s", self._artifact, error)
            with suppress(TransferError):
                if not any("path" in entry for entry in self._entries(control) or ()):  # else it is somebody else's
                    self.discard(control)

    def _withdraw(self, paths: set[str], control: Control) -> list[str]:
        """Take back the names among ``paths`` that have no object; returns them."""
        present: set[str] = set()
        for folder in sorted({folder_of(path) for path in paths}):
            present.update(self._listing.files(folder, "stage", control))
        # Withdrawing a name deletes what it holds, so the listing alone is not believed: some S3s leave out a file
        # that has a folder of the same name beside it.
        gone = [path for path in sorted(paths - present) if not self._is_stored(path, control)]
        for path in gone:
            self._unlist(path, control)
        return gone

    def _is_stored(self, path: str, control: Control) -> bool:
        arguments = {"artifact_id": self._artifact, "file_path": path, "version": "stage", "silent": True}
        try:
            control.retry(lambda: self._manager.call("get_file", **arguments))
        except ObjectNotFound:
            return False
        return True

    def commit(self, control: Control, *, version: str | None = None, comment: str | None = None) -> str:
        """Publish what is staged; the name of the version that holds it now.

        Names that were registered and never uploaded, by whoever it was, would make it fail: they are withdrawn,
        with a ``WithdrawnWarning`` that names them.
        """
        arguments: dict[str, Any] = {"artifact_id": self._artifact}
        if version is not None:
            arguments["version"] = version
        if comment is not None:
            arguments["comment"] = comment
        withdrawn = False
        while True:
            try:
                data = self._commit_once(arguments, control)
                break
            except ArtifactNotFound:
                raise
            except ObjectNotFound:
                if withdrawn:
                    raise
                withdrawn = True
                self._withdraw_leftovers(control)
        self._reads.forget()
        versions = data.get("versions") or [{}]
        return str(versions[-1].get("version", ""))

    def _commit_once(self, arguments: dict[str, Any], control: Control) -> dict[str, Any]:
        """Commit; where the answer was lost, or the server took longer than it lets itself, find out what it did.

        A commit that timed out may still be at work, and a second one would do all of it again beside the first:
        so there is a pause, and then a look whether anything is still staged.
        """
        lost = False

        def attempt() -> dict[str, Any]:
            nonlocal lost
            if lost and self._entries(control) is None:
                return self._data()
            try:
                answer = self._manager.call("commit", **arguments)
                return answer if isinstance(answer, dict) else {}
            except TransferError as error:
                lost = lost or error.retryable
                if isinstance(error, TransferTimeout):
                    error.retry_after = max(error.retry_after or 0.0, _COMMIT_PAUSE)
                raise

        return control.retry(attempt)

    def _withdraw_leftovers(self, control: Control) -> None:
        entries = self._entries(control) or []
        gone = self._withdraw(_names(entries)[0], control)
        if self._open is not None and not self._explicit:  # else the batch's results are out already
            self._lost = set(gone) & (self._open.staged - self._open.failures)
        gone = [path for path in gone if path not in self._lost]
        if gone:
            shown = ", ".join(map(repr, gone[:5])) + (f" and {len(gone) - 5} more" if len(gone) > 5 else "")
            warnings.warn(
                f"{self._artifact}: registered but never uploaded, and so not committed: {shown}",
                WithdrawnWarning,
                stacklevel=2,
            )

    def discard(self, control: Control) -> bool:
        """Drop what is staged and restore what it had overwritten; False if nothing was staged.

        The method is ``discard``; ``discard_changes`` forgets the list of staged names but restores nothing.
        """
        lost = False

        def attempt() -> None:
            nonlocal lost
            try:
                self._manager.call("discard", artifact_id=self._artifact)
            except NotStaged:
                if not lost:
                    raise
            except TransferError as error:
                lost = lost or error.retryable
                raise

        try:
            control.retry(attempt)
        except NotStaged:
            return False
        self._reads.forget()
        return True

    def is_staged(self, control: Control) -> bool:
        """Whether anything is staged now, by whomever. Raises ``ArtifactNotFound``."""
        return self._read(control) is not None

    def status(self, control: Control) -> dict[str, Any]:
        """What is staged, and which versions there are."""
        data = control.retry(self._data)
        entries = self._entries(control)
        files, removed = _names(entries or ())
        return {
            "artifact": self._artifact,
            "versions": [version.get("version") for version in data.get("versions") or ()],
            "staged": entries is not None,
            "new_version": is_new_version(entries or ()),
            "files": sorted(files),
            "removed": sorted(removed),
        }

    def _data(self) -> dict[str, Any]:
        data = self._manager.call("read", artifact_id=self._artifact, silent=True)
        return data if isinstance(data, dict) else {}


def _names(entries: Sequence[dict[str, Any]]) -> tuple[set[str], set[str]]:
    """From the server's list of what is staged: the names to upload, and those to remove."""
    named = [(entry["path"], bool(entry.get("_remove"))) for entry in entries if "path" in entry]
    return {path for path, remove in named if not remove}, {path for path, remove in named if remove}
