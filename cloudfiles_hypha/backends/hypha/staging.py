"""Who writes to an artifact, and when it is committed: neither a failed upload nor a lost answer, neither a killed
process nor another client may spoil what is published.

What the server does, and what follows from it (measured against Hypha 0.21; see ``docs/hypha.md``):

- There is one list of staged names for each artifact, and a commit publishes all of it. So the writers of this process
  join one staging and one commit (a group), those of this machine wait for each other (``journal``), and directly
  before a commit the list is read again: a name that is not ours stops it.
- A name is registered when its URL is signed, before any byte is sent, and a commit fails if one registered name has
  no object. So names of ours whose upload failed are withdrawn first, but only where there really is no object:
  ``remove_file`` on a name that was overwritten would delete the committed file.
- Staging an artifact that has a version edits that version in place; a new version holds only what is uploaded
  to it, and a removal staged with it would delete from the version before. So that is refused here.
- A name whose removal is staged stays marked for removal when it is uploaded again. So the mark is lifted first,
  after the server has made its backup of the committed file.
- Two writers on one artifact overwrite each other's list of staged names. So the calls of this process that change it
  are made one at a time, and names that have got lost from it are registered again before the commit.

The calls themselves, and what is done when their answers are lost, are in ``commits``.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TypedDict, TypeVar

from ...disk.held import Held
from ...errors import (
    ArtifactExists,
    ArtifactNotFound,
    Cancelled,
    InvalidRequest,
    NotStaged,
    ObjectNotFound,
    PreconditionFailed,
    StagedWarning,
    TransferError,
    TransferTimeout,
    WithdrawnWarning,
)
from ...plan.batches import BatchSizes, halves
from ..base import Control, Ticket
from .commits import Commits, Once, Seen, check_new_version, check_version_name, foreign_names, shown
from .groups import Asked, Book, Group, book_of, own_copy
from .journal import Journal
from .listing import Listing
from .manager import ArtifactManager
from .opening import WRITABLE, Opening
from .signing import ReadSigner, answered

T = TypeVar("T")

# Names of several writers that are registered in one call.
_MOST_TOGETHER = 1000
# Seconds until it is looked again whether another process has ended its call.
_TURN_PAUSE = 0.01
_log = logging.getLogger("cloudfiles_hypha")


class Status(TypedDict):
    """What ``status`` tells."""

    artifact: str
    versions: list[str]
    staged: bool
    new_version: bool
    files: list[str]
    removed: list[str]
    owner: str | None


class Staging:
    """Opens, fills and closes the staging of one artifact. Thread-safe.

    ``who`` tells apart those who may write under another name, so that they share no commit. ``version`` is the one
    that the user has named, if any. ``joined`` is the ``joined_token`` of a block elsewhere that this belongs to.
    """

    def __init__(
        self,
        manager: ArtifactManager,
        artifact: str,
        listing: Listing,
        reads: ReadSigner,
        *,
        create: bool,
        version: str | None = None,
        who: object = None,
        joined: str | None = None,
    ) -> None:
        self._artifact = artifact
        self._reads = reads
        self._commits = Commits(manager, artifact, listing)
        self._journal = Journal(manager.server, artifact)
        self._opening = Opening(self._commits, self._journal, artifact, create=create, version=version, joined=joined)
        self._place = f"{manager.server} {artifact}"
        self._who = (who, None if version in WRITABLE else version)
        self._block: Group | None = None  # our own ``staged()``
        self.announced = False  # whoever writes has staged it before, and knows that a commit is still to come

    def _book(self, control: Control, joined: str | None = None) -> Book:
        # the lock is another for each kind of worker
        return book_of((control.lock(f"write {self._place}"), self._who, joined))

    # -- around a batch ---------------------------------------------------------------------------------------

    @contextmanager
    def around(self, control: Control) -> Iterator[Session]:
        """Stage with the first write, commit when the last writer of the group has ended; in ``staged()`` leave both.

        When the body raises, what was uploaded stays staged. A write within another of the same thread, as from
        the generator that a batch reads, belongs to that one.
        """
        joined = self._joined()
        book = self._book(control)
        guests = book if joined is None else self._book(control, joined)
        for one in (book, guests):
            outer = one.outer()
            if outer is not None:
                yield Session(self, one, outer, control)
                return
        group = None if joined is None else book.join_block(joined, control)
        if group is None:
            book, group = guests, guests.join("batch" if joined is None else "guest", control)
        session = Session(self, book, group, control)
        finish = partial(self._finish, group, control, version=None, comment=None)
        try:
            with book.within(group, control):
                yield session
        except BaseException:
            book.leave(group, control, finish, finished=False)
            raise
        book.leave(group, control, finish, finished=True)
        self._tell(group, session)

    def _tell(self, group: Group, session: Session) -> None:
        """Say what became of one writer's part."""
        if group.kind != "block":
            self._warn_withdrawn(group)
        if not session.changes:
            if session.refused is not None:
                raise session.refused
        elif group.outcome is not None:
            raise own_copy(group.outcome)
        else:
            self._warn_unpublished(group)

    def _warn_unpublished(self, group: Group) -> None:
        if group.kind == "block":
            if self._block is not group and self._opening.joined is None:
                warnings.warn(
                    f"{self._artifact}: within staged() of another object: not published before that block ends",
                    StagedWarning,
                    stacklevel=2,
                )
        elif group.state != "ended":
            warnings.warn(
                f"{self._artifact}: not published before the large file is closed that is open for writing",
                StagedWarning,
                stacklevel=2,
            )
        elif not group.ours and group.kind != "guest":
            self._warn_staged()

    def _warn_staged(self) -> None:
        if self.announced:
            return
        warnings.warn(
            f"{self._artifact} was already staged: what was written is not published before commit()",
            StagedWarning,
            stacklevel=2,
        )

    # -- around several batches -------------------------------------------------------------------------------

    @contextmanager
    def explicitly(self, control: Control, *, version: str | None, comment: str | None) -> Iterator[None]:
        """``staged()``: commit at the end if staging was opened here and the body did not raise; nothing written
        costs nothing.

        ``version`` None edits the latest version in place, "new" begins the next one, any other name begins the
        next one and gives it that name.
        """
        if version not in (None, "new"):
            check_version_name(version)
        if self._joined() is not None:
            raise InvalidRequest("this copy belongs to a staged() block already", path=self._artifact)
        book = self._book(control)
        group = book.begin_block(version, control, self._artifact)
        try:
            if self._journal.acquire(group.held) and self._journal.read() is None:
                self._opening.note(group, ())  # for copies that write first
            self._block = group
            yield
            if not group.is_here:
                return
            name = None if version == "new" else version
            book.close_block(group, control, partial(self._finish, group, control, version=name, comment=comment))
            self._warn_withdrawn(group)
            if group.outcome is not None:
                raise group.outcome
            if group.opened and not group.ours and group.changes:
                self._warn_staged()
        except BaseException:
            if group.is_here:
                self._leave(group)
            raise
        finally:
            if group.is_here:
                self._block = None
                book.end(group)

    def _leave(self, group: Group) -> None:
        """Note what a block that raised has left staged, if that is its own."""
        record = self._journal.read()
        if record is None or record.id != group.id:
            return
        if not (group.opened or record.names or record.tried):
            self._journal.end()
        elif record.kind != "guest":
            self._journal.leave()

    def _joined(self) -> str | None:
        """The token of the block elsewhere that this belongs to, as it does in a child that was forked within ours."""
        if self._block is not None and not self._block.is_here:
            self._opening.joined, self._block = self._block.token, None
        return self._opening.joined

    def joined_token(self) -> str | None:
        """What a copy elsewhere needs (as ``joined=``) to write into our ``staged()`` block; None outside of one.

        The copy's writes are published by the block, if it runs on this machine and ends before the block does.
        """
        joined = self._joined()
        if self._block is None or self._block.state == "ended":
            return joined
        self._block.shared = True
        return self._block.token

    def token_of(self, group: Group) -> str:
        """What copies elsewhere need to write into a group that is open, be it a block or not."""
        joined = self._joined()
        if group.kind == "guest" and joined is not None:
            return joined
        group.shared = True
        return group.token if group.record is None else f"{group.record.id}:"  # it may be taken up from another

    def calls(self, control: Control) -> AbstractContextManager[object]:
        """The lock within which the list of staged names is changed."""
        return control.lock(f"call {self._place}")

    def turn(self, control: Control, group: Group) -> AbstractContextManager[object]:
        """The lock for the same between processes, where copies elsewhere write into the same group: the server writes
        back the whole list, so of two calls at once one may undo what the other did. Within ``calls`` only: what an
        interrupted call of this process still has, its next one takes back."""
        turn = self._book(control, self._joined()).turn
        while (group.shared or group.kind == "guest") and not self._journal.take_turn(turn):
            control.sleep(_TURN_PAUSE)
        return turn

    # -- within a batch ---------------------------------------------------------------------------------------

    def open(self, group: Group, control: Control) -> None:
        """Stage, if that is not done yet."""
        with self.calls(control), self.turn(control, group):
            self._opening.ensure(group, control)

    def register(self, batch: list[str], book: Book, group: Group, control: Control) -> dict[str, Ticket]:
        """Register names and get their URLs; those that others ask for meanwhile go into the same call."""
        asked = Asked(batch)
        with book.lock:
            group.asked.append(asked)
        try:
            with self.calls(control), self.turn(control, group):
                if not asked.done:
                    self._register_together(asked, book, group, control)
        finally:
            with book.lock:
                if asked in group.asked:
                    group.asked.remove(asked)
        if asked.answer is None:
            raise asked.error or ObjectNotFound("no answer", path=self._artifact)
        return asked.answer

    def _register_together(self, asked: Asked, book: Book, group: Group, control: Control) -> None:
        together = [asked]
        with book.lock:
            count = len(asked.paths)
            for other in () if asked.alone else group.asked:
                if other is not asked and not other.alone and count + len(other.paths) <= _MOST_TOGETHER:
                    together.append(other)
                    count += len(other.paths)
        try:
            self._opening.ensure(group, control)
            self._register(together, group, control)
        except TransferError as error:
            if len(together) == 1:
                raise
            if error.retryable:  # the server is out of reach: it would be for each of them
                for other in together:
                    other.error = own_copy(error)
                return
            if isinstance(error, Cancelled):  # this writer's batch is given up; the others go on
                raise
            for other in together[1:]:
                other.alone = True
            self._opening.ensure(group, control)
            self._register([asked], group, control)

    def _register(self, together: Sequence[Asked], group: Group, control: Control) -> None:
        paths = list(dict.fromkeys(path for asked in together for path in asked.paths))
        answer = self._registering(paths, group, control, lambda: self._commits.register(paths, control))
        marked = [path for path in paths if path in group.removed]
        for path in marked:
            self._commits.unlist(path, control)
            group.removed.discard(path)
        if marked:
            answer = self._commits.register(paths, control)
        urls = answered(paths, answer, "put_file")
        for asked in together:
            asked.answer = {path: urls[path] for path in asked.paths}

    def _registering(self, paths: Sequence[str], group: Group, control: Control, call: Callable[[], T]) -> T:
        """The answer to a call that registers names; within the lock."""
        group.staged.update(paths)  # first: the answer may be lost
        self._journal.add(paths)
        try:
            return call()
        except NotStaged:
            if not group.ours or group.version is not None:
                raise
            # Somebody else has committed what was staged here so far; go on with what is left.
            _log.warning("%s: committed by somebody else during a batch; staging again", self._artifact)
            group.opened, group.record = False, None
            group.removed.clear()
            self._opening.ensure(group, control)
            return call()

    def open_parts(self, path: str, count: int, lifetime: int, group: Group, control: Control) -> object:
        """Register a name for an upload in parts: the server's answer."""
        with self.calls(control), self.turn(control, group):
            self._opening.ensure(group, control)
            if path in group.removed:
                self._register([Asked([path])], group, control)  # which lifts the mark for removal
            return self._registering(
                [path], group, control, lambda: self._commits.open_parts(path, count, lifetime, control)
            )

    def remove(self, path: str, group: Group, control: Control) -> None:
        """Stage the removal of one file (one attempt; safe to repeat)."""
        with self.calls(control), self.turn(control, group):
            self._opening.ensure(group, Once(control))
            if path in group.removed:
                return
            listed = path in group.staged or path in group.leftover
            if path in group.foreign and not listed:
                raise InvalidRequest(
                    "somebody else has staged this file; commit() or discard() that before deleting it", path=path
                )
            if group.seen is not None and group.seen.new_version and not listed:
                raise InvalidRequest(
                    "a new version holds only what is uploaded to it, and this was not; nothing to delete", path=path
                )
            self._journal.add([path])
            # where an earlier attempt may have done it, a second would undo it
            if path not in group.unsure or self._listed_for(path, Once(control)) != ("" if listed else "removal"):
                group.unsure.add(path)
                self._commits.toggle(path)
            group.unsure.discard(path)
            if listed:
                group.staged.discard(path)
                group.acknowledged.discard(path)
                group.leftover -= {path}
            else:
                group.removed.add(path)

    def _listed_for(self, path: str, control: Control) -> str:
        seen = self._commits.look(control)
        return "upload" if path in seen.uploads else "removal" if path in seen.removals else ""

    # -- at the end -------------------------------------------------------------------------------------------

    def _finish(self, group: Group, control: Control, *, version: str | None, comment: str | None) -> None:
        """Commit what the group has written, or take back what it has not."""
        if group.kind == "block":
            self._count_in_copies(group, control)
        if not group.opened:
            if group.record is not None:
                self._journal.end()
            return
        failed = group.staged - group.acknowledged - group.foreign
        if not group.ours:
            if failed:
                with self.calls(control), self.turn(control, group):
                    self._commits.withdraw(failed, control)
            return
        if not group.changes:
            self._take_back(group, failed, control)
            return
        unfinished = failed | (group.leftover - group.acknowledged - group.removed)
        if unfinished:
            gone = self._commits.withdraw(unfinished, control)
            group.staged.difference_update(gone)
            group.withdrawn += [path for path in gone if path not in group.failures]
        for last in (False, True):
            try:
                self._commits.commit(self._checked(group, control), control, version=version, comment=comment)
                break
            except ArtifactNotFound:
                raise
            except ObjectNotFound:  # the store has acknowledged something, and does not have it
                gone = self._commits.withdraw(group.staged | group.leftover, control)
                if last or not gone:
                    raise
                group.staged.difference_update(gone)
                group.acknowledged.difference_update(gone)
                if group.kind == "block":  # the results of its batches are out already
                    group.withdrawn += gone
                else:
                    group.lost.update(gone)
        self._journal.end()
        self._reads.forget()

    def _count_in_copies(self, group: Group, control: Control) -> None:
        """Take the names that copies of the block have registered for ours."""
        record = self._journal.read()
        if record is None or record.id != group.id:
            return
        if record.names - group.names:
            if not group.opened:
                self.open(group, control)
            group.leftover |= record.names
            group.changes += 1

    def _take_back(self, group: Group, failed: set[str], control: Control) -> None:
        """Nothing was written: leave nothing behind, but what others, or an earlier batch, have staged."""
        seen = self._commits.look(control)
        untouched = seen.names <= group.names and group.described in (None, seen.described)
        if seen.staged and untouched and not group.taken_up:
            self._commits.discard(seen, control)
            self._reads.forget()
        elif seen.staged:
            self._commits.withdraw(failed, control)
            return
        self._journal.end()

    def _checked(self, group: Group, control: Control) -> Seen:
        """What is staged, directly before it is committed; raises where that would publish what is not ours."""
        seen = self._commits.look(control)
        if not seen.staged:
            raise NotStaged("somebody else has committed or discarded what was staged here", path=self._artifact)
        foreign = seen.names - group.names
        if foreign:
            raise foreign_names(foreign, self._artifact)
        if group.described not in (None, seen.described) or (
            group.seen is not None and seen.new_version != group.seen.new_version
        ):
            raise PreconditionFailed(
                "not committed, since somebody else has staged a change of the artifact itself: commit() publishes all "
                "of it, discard() drops all of it",
                path=self._artifact,
            )
        # another writer's call at the same moment may have written back a list without these
        dropped = sorted(group.acknowledged - seen.names)
        unmarked = sorted(group.removed - seen.names)
        for start in range(0, len(dropped), _MOST_TOGETHER):
            self._commits.register(dropped[start : start + _MOST_TOGETHER], control)
        for path in unmarked:
            self._commits.toggle(path)
        return self._checked(group, control) if dropped or unmarked else seen

    def _warn_withdrawn(self, group: Group) -> None:
        gone, group.withdrawn = group.withdrawn, []
        self._warn_gone(gone)

    def _warn_gone(self, gone: Sequence[str]) -> None:
        if gone:
            warnings.warn(
                f"{self._artifact}: registered but never uploaded, and so not committed: {shown(gone)}",
                WithdrawnWarning,
                stacklevel=2,
            )

    # -- what users ask for -----------------------------------------------------------------------------------

    def commit(self, control: Control, *, version: str | None = None, comment: str | None = None) -> str:
        """Publish what is staged, whoever staged it; the name of the version that holds it now.

        Names of ours that were registered and never uploaded are withdrawn, with a ``WithdrawnWarning``; such names
        of others are an error.
        """
        self._refuse_copies("commit")
        if version is not None:
            check_version_name(version)
        seen = self._commits.look(control)
        if not seen.staged:
            raise NotStaged("nothing is staged, so there is nothing to commit", path=self._artifact)
        if version is not None and not seen.makes_version:
            raise InvalidRequest(
                f"version={version!r}: what is staged changes the latest version, {seen.versions[-1]!r}, and makes no "
                "new one; leave out the version, or discard() and use staged(version=...)",
                path=self._artifact,
            )
        if version is not None:
            check_new_version(version, seen.versions, self._artifact)
        gone: list[str] = []
        try:
            name = self._commits.commit(seen, control, version=version, comment=comment)
        except ArtifactNotFound:
            raise
        except ObjectNotFound:
            gone = self._withdraw_own(seen, control)
            name = self._commits.commit(self._commits.look(control), control, version=version, comment=comment)
        self._settled(control)
        self._warn_gone(gone)
        return name

    def begin(self, control: Control) -> bool:
        """Stage the artifact and leave it so, for ``commit()``: what is written until then is not published. False if
        it was staged already."""
        self._refuse_copies("stage")
        if self._commits.look(control).staged:
            return False
        control.retry(lambda: self._commits.open(new=False))
        return True

    def create(self, control: Control) -> None:
        """Make the artifact, staged and without files, for ``commit()``; raises ``ArtifactExists``."""
        lost = False

        def attempt() -> None:
            nonlocal lost
            try:
                self._commits.create()
            except ArtifactExists as error:
                seen = self._commits.look(Once(control)) if lost else None
                if seen is None or seen.versions or seen.names or not seen.staged:
                    error.retryable = False
                    raise
                # else made by our own call whose answer was lost; or as empty as if it were
            except TransferError as error:
                lost = lost or error.retryable
                raise

        control.retry(attempt)

    def _withdraw_own(self, seen: Seen, control: Control) -> list[str]:
        """Take back names of ours that have no object; raises if there are such names of others."""
        missing = self._commits.without_object(seen.uploads, control)
        ours: set[str] = set()
        group = self._book(control).now()
        with Held() as held:
            if group is None or not group.held.taken:
                self._journal.acquire(held)
            if group is not None:
                ours |= group.failures
            if held.taken or (group is not None and not group.writing):
                record = self._journal.read()
                if record is not None and record.fits(seen):
                    ours |= record.names
                if group is not None:
                    ours |= group.staged | group.leftover
            theirs = set(missing) - ours
            if theirs:
                raise PreconditionFailed(
                    f"not committed: {shown(theirs)} registered for upload and not uploaded yet, by somebody else or "
                    "by an upload that is under way; commit() once it has ended, or discard() all that is staged",
                    path=self._artifact,
                )
            return self._commits.withdraw(missing, control)

    def discard(self, control: Control) -> bool:
        """Drop what is staged and restore what it had overwritten; False if nothing was staged."""
        self._refuse_copies("discard")
        seen = self._commits.look(control)
        if not seen.staged:
            return False
        try:
            self._commits.discard(seen, control)
        except NotStaged:
            return False
        self._settled(control)
        return True

    def _refuse_copies(self, verb: str) -> None:
        if self._joined() is not None:
            raise InvalidRequest(
                f"{verb}() is for the process of the staged() block that this copy belongs to", path=self._artifact
            )

    def _settled(self, control: Control) -> None:
        """Nothing is staged any more."""
        self.announced = False
        self._reads.forget()
        group = self._book(control).now()
        if group is not None and group.opened:
            with self.calls(control), self.turn(control, group):
                group.forget()
                group.record = None
        if group is not None and group.held.taken:
            self._journal.end()
            return
        with Held() as held:
            if self._journal.acquire(held):  # else the note is another process's, which will find out
                self._journal.end()

    def take_up(self, control: Control) -> bool:
        """Commit what an ended batch of ours has left staged; False if there is nothing like that."""
        seen = self._commits.look(control)
        record = self._journal.read()
        group = self._book(control).now()
        kind = "block" if group is not None and group.kind == "block" else "batch"
        new = group is not None and group.version is not None
        if not seen.staged or record is None or not record.is_left_for(kind, seen, new_version=new):
            return False
        with self.around(control) as session:
            session.take_up()
        return True

    def found(self, control: Control) -> Seen:
        """What the next write finds staged, by whomever. Raises ``ArtifactNotFound``.

        In a block that is to make a version it finds that one, which is begun now if it was not before.
        """
        group = self._book(control).now()
        if group is not None and group.kind == "block" and group.version is not None:
            self.open(group, control)
        return self._commits.look(control)

    def status(self, control: Control) -> Status:
        """What is staged, which versions there are, and who staged it, as far as is known here."""
        seen = self._commits.look(control)
        return {
            "artifact": self._artifact,
            "versions": list(seen.versions),
            "staged": seen.staged,
            "new_version": seen.new_version,
            "files": sorted(seen.uploads),
            "removed": sorted(seen.removals),
            "owner": self._owner(seen, control) if seen.staged else None,
        }

    def _owner(self, seen: Seen, control: Control) -> str | None:
        group = self._book(control).now()
        if group is not None and group.opened:
            return "this process" if group.ours else None
        record = self._journal.read()
        if record is None or record.kind == "guest" or not record.fits(seen) or not seen.names <= record.names:
            return None
        return f"a process of this user that {'is alive' if self._journal.is_held() else 'has ended'}"


class Session:
    """One writer's part in a period of staging. Its verbs may be called by several workers."""

    def __init__(self, staging: Staging, book: Book, group: Group, control: Control) -> None:
        self._staging = staging
        self._book = book
        self._group = group
        self._control = control
        self._acknowledged: set[str] = set()
        self.changes = 0
        self.refused: TransferError | None = None  # why nothing could be staged

    @property
    def lost(self) -> set[str]:
        """Names that the store acknowledged, and that were not there any more when they were to be committed."""
        return self._group.lost & self._acknowledged

    def sign(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """Register names and get the URLs to upload them to; in order, an exception where there is none."""
        try:
            found: dict[str, Ticket] = {}
            todo = [list(dict.fromkeys(paths))]
            while todo:
                batch = todo.pop()
                began = time.monotonic()
                try:
                    found.update(self._staging.register(batch, self._book, self._group, control))
                except TransferTimeout as error:
                    # the names may be registered all the same; registering them again does no harm
                    if error.status != 504 or len(batch) == 1:
                        raise
                    sizes.failed(len(batch))
                    todo.extend(reversed(halves(batch)))
                else:
                    sizes.took(len(batch), time.monotonic() - began)
        except TransferError as error:
            self._refuse(error)
            return [error] * len(paths)
        return [found[path] for path in paths]

    def open_parts(self, path: str, count: int, lifetime: int, control: Control) -> object:
        """Register a name for an upload in parts: the server's answer."""
        try:
            return self._staging.open_parts(path, count, lifetime, self._group, control)
        except TransferError as error:
            self._refuse(error)
            raise

    def remove(self, path: str) -> None:
        """Stage the removal of one file (one attempt; safe to repeat)."""
        try:
            self._staging.remove(path, self._group, self._control)
        except TransferError as error:
            self._refuse(error)
            raise

    def _refuse(self, error: TransferError) -> None:
        if not self._group.opened or error is self._group.refused:
            self.refused = error

    def at_work(self) -> AbstractContextManager[None]:
        """Around what may run a user's code: what that writes belongs to this session, and does not wait for it."""
        return self._book.within(self._group, self._control)

    def share(self) -> str:
        """Stage, and get what copies elsewhere need (as ``joined=``) to write into that while this session lasts."""
        try:
            self._staging.open(self._group, self._control)
        except TransferError as error:
            self._refuse(error)
            raise
        return self._staging.token_of(self._group)

    def registered(self, paths: Iterable[str]) -> None:
        """Copies elsewhere have registered these names for this session, or tried to."""
        with self._book.lock:
            self._group.staged.update(paths)

    def take_up(self) -> None:
        """Have what is staged committed at the end, although nothing is written."""
        self._staging.open(self._group, self._control)
        self.succeeded("")

    def failed(self, path: str) -> None:
        """The upload of ``path`` has failed for good."""
        with self._book.lock:
            self._group.failures.add(path)

    def succeeded(self, path: str) -> None:
        """A write went through."""
        with self._book.lock:
            self.changes += 1
            self._group.changes += 1
            if path in self._group.staged:
                self._acknowledged.add(path)
                self._group.acknowledged.add(path)
