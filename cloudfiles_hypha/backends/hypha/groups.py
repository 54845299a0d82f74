"""Who writes to one artifact together: the workers of one process that share a staging and a commit.

Only counts, waits and hands over; what is staged and committed is decided in ``staging``. Nothing is held while
somebody's call is made or waited for but the place in a group.

Ctrl-C may come between any two steps, also when a place is to be given back. So a place is known by the ``Control`` of
the verb that has it, which is ``over`` whatever became of it, and whoever looks at a group first makes up for those
(``Book._recover``). Who waits looks every second.
"""

from __future__ import annotations

import copy
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, current_thread
from typing import Literal, TypeVar

from ...disk.held import Held
from ...errors import Cancelled, InvalidRequest, TransferError
from ..base import Control, Flag, Ticket
from .commits import Seen
from .journal import Record

T = TypeVar("T")

# Seconds for which a group admits writers, so that steady traffic is published now and then.
_ADMITTING = 2.0
# Seconds after which a writer who waits for others looks whether its own batch is given up, or theirs are over.
_PULSE = 1.0
_INTERRUPTED = "interrupted before the commit; what was uploaded stays staged"
_OPEN = "a large file is open for writing, and part of it is on its way"


class Asked:
    """Names that one writer wants to have registered."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.alone = False  # together with others' it was refused
        self.answer: dict[str, Ticket] | None = None
        self.error: TransferError | None = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.error is not None


class Group:
    """One period of staging, as the writers of this process take part in it. Its book's lock guards the members."""

    def __init__(self, control: Control, kind: Literal["batch", "block", "guest"], version: str | None = None) -> None:
        self.owner = control  # of the verb that has begun a block, or that closes the group
        self.kind = kind
        self.pid = os.getpid()
        self.version = version  # of a block: None edits in place, "new" or a name begins a version
        self.id = secrets.token_hex(8)
        self.began = time.monotonic()
        self.flag = control.flag()  # set, and replaced until it has ended, when those who wait are to look again
        self.state: Literal["open", "closing", "ended"] = "open"
        self.writing: set[Control] = set()
        self.waiting: set[Control] = set()  # for the commit
        self.outcome: Exception | None = None
        self.asked: list[Asked] = []
        self.refused: TransferError | None = None  # it cannot be opened, however often it is tried
        self.held = Held()
        self.record: Record | None = None
        self.shared = False  # copies in other processes write into it
        self.contended = False  # somebody else has staged at the same moment
        self.forget()

    def forget(self) -> None:
        """Nothing is staged (any more)."""
        self.opened = False
        self.ours = False  # to be committed by us
        self.taken_up = False  # a batch that has ended began it
        self.seen: Seen | None = None  # as it was opened
        self.described: tuple[object, ...] | None = None
        self.foreign: frozenset[str] = frozenset()  # registered by others, before we came
        self.leftover: frozenset[str] = frozenset()  # registered by the batch that was taken up
        self.staged: set[str] = set()  # registered here
        self.removed: set[str] = set()  # marked for removal, by whomever
        self.unsure: set[str] = set()  # removals whose answer was lost
        self.failures: set[str] = set()
        self.acknowledged: set[str] = set()  # by the store
        self.lost: set[str] = set()
        self.withdrawn: list[str] = []  # names that nobody was told of yet
        self.changes = 0

    @property
    def names(self) -> set[str]:
        """All that is known to be ours."""
        return self.staged | self.removed | self.leftover

    @property
    def token(self) -> str:
        """What tells a copy elsewhere which block it belongs to, and how to open it."""
        return f"{self.id}:{'' if self.version is None else 'new'}"

    def admits(self) -> bool:
        """Whether another writer may join."""
        steady = self.kind == "batch" and time.monotonic() - self.began >= _ADMITTING
        return self.state == "open" and (not steady or self.lingers)

    @property
    def lingers(self) -> bool:
        """Whether a file that is open for writing is part of it: whoever has it open may be the one that would wait."""
        return any(control.lingers() for control in self.writing)

    @property
    def is_here(self) -> bool:
        """Whether it is this process's, and not that of one that was forked: which leaves it alone."""
        return self.pid == os.getpid()


class Book:
    """Who writes to one artifact now, of the workers of one kind in this process."""

    def __init__(self) -> None:
        self.lock = Lock()  # guards what follows and the groups' members; never held during a call or a wait
        self.current: Group | None = None
        self.turn = Held()  # while a call is made that other processes may make, too
        self.inside: dict[object, tuple[tuple[Group, Control], ...]] = {}  # by thread or greenlet, the innermost last

    def now(self) -> Group | None:
        """The group that has not ended yet."""
        with self.lock:
            self._recover(self.current)
            return self.current

    @contextmanager
    def within(self, group: Group, control: Control) -> Iterator[None]:
        """What this thread or greenlet writes meanwhile, and before the verb of ``control`` is over, belongs to
        ``group``, whose end it must not wait for."""
        me = _caller()
        outer = self._inside(me)
        try:
            self.inside[me] = (*outer, (group, control))
            yield
        finally:
            if outer:
                self.inside[me] = outer
            else:
                self.inside.pop(me, None)

    def outer(self) -> Group | None:
        """The group that what this thread or greenlet writes belongs to already."""
        inside = self._inside(_caller())
        return inside[-1][0] if inside else None

    def _inside(self, me: object) -> tuple[tuple[Group, Control], ...]:
        return tuple(entry for entry in self.inside.get(me, ()) if not entry[1].over)

    def join(self, kind: Literal["batch", "guest"], control: Control) -> Group:
        """A place among those who write, in a new group or in one that still admits; waits until there is one."""
        while True:
            with self.lock:
                self._recover(self.current)
                if self.current is None:
                    self.current = Group(control, kind)
                group = self.current
                if group.admits():
                    group.writing.add(control)
                    return group
                flag = group.flag
            _wait(flag, control)

    def join_block(self, token: str, control: Control) -> Group | None:
        """A place in the block of this token, if it is this process's."""
        with self.lock:
            self._recover(self.current)
            block = self.current
            if block is None or block.token != token or block.state != "open":
                return None
            block.writing.add(control)
            return block

    def begin_block(self, version: str | None, control: Control, artifact: str) -> Group:
        """A group that lasts until ``end_block``; waits for the one before it."""
        while True:
            with self.lock:
                self._recover(self.current)
                if self.outer() is not None or (self.current is not None and self.current.kind == "block"):
                    raise InvalidRequest("staged() is already in effect for this object", path=artifact)
                if self.current is None:
                    self.current = Group(control, "block", version)
                    return self.current
                if self.current.lingers:
                    raise InvalidRequest(f"{_OPEN}; close it before staged()", path=artifact)
                flag = self.current.flag
            _wait(flag, control)

    def leave(self, group: Group, control: Control, finish: Callable[[], None], *, finished: bool) -> None:
        """Give up a place. Whoever has ``finished`` waits for the group's end, or brings it about by ``finish``; but
        for a file that somebody has open nobody waits."""
        if not group.is_here:
            return
        with self.lock:
            if finished and group.kind != "block":
                group.waiting.add(control)
            group.writing.discard(control)
            if control not in group.waiting:
                self._recover(group)
                if group.kind == "block" or not group.writing:
                    _wake(group, control)  # one of those who wait takes over
                return
        try:
            self._await_end(group, control, finish)
        finally:
            with self.lock:
                group.waiting.discard(control)
                self._recover(group)

    def _await_end(self, group: Group, control: Control, finish: Callable[[], None]) -> None:
        while True:
            with self.lock:
                self._recover(group)
                # whoever ends last publishes it for all; it may be this very thread that is to close the open file
                if group.state == "ended" or group.lingers:
                    return
                idle = group.state == "open" and not group.writing
                if idle:
                    group.owner, group.outcome = control, TransferError(_INTERRUPTED)  # unless it comes to another
                    group.state = "closing"
                flag = group.flag
            if idle:
                self.close(group, control, finish)
            else:
                _wait(flag, control)

    def close(self, group: Group, control: Control, finish: Callable[[], None]) -> None:
        """End a group in which nobody writes any more; its outcome is what ``finish`` raises."""
        handed_over = False
        try:
            finish()
            group.outcome = None
        except Cancelled as error:
            with self.lock:
                self._recover(group)
                handed_over = len(group.waiting) > 1
                if handed_over:
                    group.state = "open"
                    _wake(group, control)
            if handed_over:
                raise
            group.outcome = error
        except Exception as error:  # noqa: BLE001 -- each member raises it
            group.outcome = error
        finally:
            if not handed_over:
                self.end(group)

    def close_block(self, group: Group, control: Control, finish: Callable[[], None]) -> None:
        """End a block as soon as nobody writes in it any more."""
        with self.lock:
            group.state = "closing"
        while True:
            with self.lock:
                self._recover(group)
                flag, left, lingers = group.flag, group.writing, group.lingers
            if not left:
                break
            if lingers:
                raise InvalidRequest(f"{_OPEN}; close it before the end of staged()")
            _wait(flag, control)
        self.close(group, control, finish)

    def end(self, group: Group) -> None:
        """The group has ended, whatever became of it; harmless when repeated."""
        with self.lock:
            self._end(group)

    def _end(self, group: Group) -> None:
        group.held.release()  # lets other processes write
        group.state = "ended"
        if self.current is group:
            self.current = None
        group.flag.set()

    def _recover(self, group: Group | None) -> None:
        """Make up for verbs that are over and were kept from leaving; end the group if nobody is left to do it."""
        if group is None:
            return
        group.writing = {control for control in group.writing if not control.over}
        group.waiting = {control for control in group.waiting if not control.over}
        if group.kind == "block" or group.state == "closing":
            abandoned = group.owner.over
        else:
            abandoned = not group.writing and not group.waiting  # all stays as it is
        if abandoned or group.state == "ended":
            self._end(group)


_books: dict[tuple[object, ...], Book] = {}
_books_lock = Lock()  # guards it


def book_of(key: tuple[object, ...]) -> Book:
    """The book for this key; always the same one in a process."""
    with _books_lock:
        return _books.setdefault(key, Book())


def _forget_books() -> None:
    """In a forked child: what the parent writes is the parent's."""
    global _books_lock
    _books_lock = Lock()
    _books.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_books)


def _caller() -> object:
    """The thread, or the greenlet in it, that is running."""
    try:
        import greenlet  # gevent's
    except ImportError:  # as in WebAssembly
        return current_thread()
    return greenlet.getcurrent()


def _wake(group: Group, control: Control) -> None:
    """Have those who wait look again."""
    flag, group.flag = group.flag, control.flag()
    flag.set()


def _wait(flag: Flag, control: Control) -> None:
    """Wait until it is time to look again."""
    if not flag.wait(_PULSE):
        control.check()


def own_copy(error: T) -> T:
    """A copy to raise in another thread."""
    return copy.copy(error)
