"""Whose staging it is: opens one for a group of writers, or finds what is staged already, by whomever.

``journal`` tells what this user's processes have staged; the server tells what is staged. Nothing is written or
committed here: ``staging`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...disk.held import Held
from ...errors import (
    ArtifactExists,
    ArtifactNotFound,
    Cancelled,
    InvalidRequest,
    NotStaged,
    TransferError,
    TransferTimeout,
)
from ..base import Control
from .commits import Commits, Once, Seen, check_new_version
from .groups import Group, own_copy
from .journal import Journal, Record

# How often, and how many seconds apart, one attempt looks whether another process has ended its writing.
_LOOKS, _LOOK_PAUSE = 20, 0.25
# The versions that a write may be made through, whichever is the latest.
WRITABLE = (None, "latest", "stage")


class Opening:
    """Opens the staging of one artifact, for each group that needs it."""

    def __init__(
        self,
        commits: Commits,
        journal: Journal,
        artifact: str,
        *,
        create: bool,
        version: str | None = None,
        joined: str | None = None,
    ) -> None:
        self._commits = commits
        self._journal = journal
        self._artifact = artifact
        self._create = create
        self._version = version
        self.joined = joined

    def ensure(self, group: Group, control: Control) -> None:
        """Open the staging if it is not open yet; within the lock of ``calls``."""
        if group.opened:
            return
        if group.refused is not None:
            raise own_copy(group.refused)
        try:
            if not group.held.taken and group.kind != "guest":
                self._take_turn(group.held, control)
            control.retry(lambda: self._open(group, Once(control)))
        except TransferError as error:
            if not error.retryable and not isinstance(error, Cancelled):
                group.refused = error
            raise

    def _take_turn(self, held: Held, control: Control) -> None:
        """Wait for other processes of this machine."""

        def attempt() -> None:
            for _ in range(_LOOKS):
                if self._journal.acquire(held):
                    return
                control.sleep(_LOOK_PAUSE)
            raise TransferTimeout(
                "another process of this machine is writing to it; wait for it, or give it a copy of the object "
                "that was pickled within staged()",
                path=self._artifact,
            )

        control.retry(attempt)

    def _open(self, group: Group, once: Control) -> None:
        """One attempt; where the answer to an earlier one was lost, what it did is found."""
        try:
            seen = self._commits.look(once)
        except ArtifactNotFound as error:
            if not self._create or self._version not in WRITABLE:
                raise ArtifactNotFound(
                    "there is no such artifact; pass create=True to make it", path=self._artifact, status=error.status
                ) from None
            self.note(group, (), tried=True)
            self._opened(group, self._created(group), described=False)
            return
        self._check_version(seen, group)
        if group.kind == "guest":
            self._open_as_guest(group, seen)
        elif seen.staged:
            self._open_staged(group, seen)
        else:
            if group.version not in (None, "new"):
                check_new_version(str(group.version), seen.versions, self._artifact)
            self.note(group, group.staged, tried=True)
            now = self._commits.open(new=group.version is not None)
            if now.names:  # not before: between our look and our call
                group.contended = True
                raise self._contention()
            self._opened(group, now)

    def _created(self, group: Group) -> Seen:
        try:
            return self._commits.create()
        except ArtifactExists:
            if not group.unsure:  # somebody was faster; else the answer to our own was lost
                self._journal.end()
                group.record = None
            raise
        except TransferError as error:
            if error.retryable:
                group.unsure.add("")
            raise

    def _open_staged(self, group: Group, seen: Seen) -> None:
        """It is staged already: by us, by a batch of ours that has ended, or by others."""
        record = self._journal.read()
        if group.record is not None and (record is None or record.id != group.id):
            record = group.record  # where nothing can be noted
        begun = (
            record is not None and record.id == group.id and record.tried
        )  # by a call of ours whose answer was lost, or by a copy
        known = record is not None and (begun or record.fits(seen))
        names = record.names | group.staged if record is not None and known else frozenset()
        ours = (begun and seen.names <= names) or (
            record is not None and record.is_left_for(group.kind, seen, new_version=group.version is not None)
        )
        if group.contended and not ours:
            raise self._contention()
        if group.version is not None:
            if not seen.new_version and (seen.names or not ours):
                raise InvalidRequest(
                    "the artifact is already staged for editing its latest version; commit() or discard() that first",
                    path=self._artifact,
                )
            if group.version != "new" and ours:
                check_new_version(group.version, seen.versions, self._artifact)
            if not seen.new_version:
                seen = self._commits.open(new=True)
        if record is not None and known and not ours:
            group.record = record
        elif not begun:
            self.note(group, names, kind=group.kind if ours else "guest")
        self._opened(group, seen, ours=ours)
        group.taken_up = ours and bool(seen.names)
        group.foreign = seen.names - names
        group.leftover = seen.names if ours else frozenset()
        group.removed = set(seen.removals)

    def _open_as_guest(self, group: Group, seen: Seen) -> None:
        id_, _, intent = str(self.joined).partition(":")
        record = self._journal.read()
        if (record is not None and record.id != id_) or (record is None and not seen.staged):
            raise NotStaged("the staged() block that this copy belongs to has ended", path=self._artifact)
        if not seen.staged:
            self._journal.trying()
            seen = self._commits.open(new=bool(intent))
        group.opened, group.seen = True, seen
        group.foreign = seen.names - (frozenset() if record is None else record.names)
        group.removed = set(seen.removals)

    def note(self, group: Group, names: Iterable[str], *, kind: str = "", tried: bool = False) -> None:
        """Note that the staging is opened for ``group``: by it, or by who has its token."""
        group.record = Record(kind=kind or group.kind, id=group.id, tried=tried, names=frozenset(names))
        self._journal.begin(group.record)

    def _opened(self, group: Group, seen: Seen, *, ours: bool = True, described: bool = True) -> None:
        group.opened, group.ours, group.seen = True, ours, seen
        group.described = seen.described if described else None
        if group.record is not None and group.record.id == group.id:
            group.record = replace(group.record, key=seen.key, versions=seen.versions, stamp=seen.stamp)
            self._journal.opened(seen)

    def _contention(self) -> TransferTimeout:
        return TransferTimeout(
            "somebody else has staged it at the same moment, and has not committed it yet", path=self._artifact
        )

    def _check_version(self, seen: Seen, group: Group) -> None:
        """Refuse to write through a version that is not what a commit will change."""
        if self._version in WRITABLE:
            return
        latest = seen.versions[-1] if seen.versions else None
        if self._version != latest:
            raise InvalidRequest(
                f"only the latest version ({latest!r}) can be written to, not {self._version!r}; leave out the "
                "version, and use get() of the old one to bring files back",
                path=self._artifact,
            )
        if seen.staged and seen.new_version and group.version is None:
            raise InvalidRequest(
                f"a new version is being staged, so nothing can be written to {self._version!r}", path=self._artifact
            )
