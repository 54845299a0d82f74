"""Who writes to one artifact together: the workers of one process that share a staging and a commit.

Only counts, waits and hands over; what is staged and committed is decided in ``staging``. Nothing is held while
somebody's call is made or waited for but the place in a group.
"""

from __future__ import annotations

import copy
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Literal, TypeVar

from ...errors import Cancelled, InvalidRequest, TransferError
from ..base import Control, Flag, Ticket
from .commits import Seen
from .journal import Held, Record

T = TypeVar("T")

# Seconds for which a group admits writers, so that steady traffic is published now and then.
_ADMITTING = 2.0
# Seconds after which a writer who waits for others looks whether its own batch is given up.
_PULSE = 1.0


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

    def __init__(self, flag: Flag, kind: Literal["batch", "block", "guest"], version: str | None = None) -> None:
        self.kind = kind
        self.pid = os.getpid()
        self.version = version  # of a block: None edits in place, "new" or a name begins a version
        self.id = secrets.token_hex(8)
        self.began = time.monotonic()
        self.flag = flag  # set, and replaced until it has ended, when those who wait are to look again
        self.state: Literal["open", "closing", "ended"] = "open"
        self.members = 0  # writing
        self.waiting = 0  # for the commit
        self.outcome: Exception | None = None
        self.asked: list[Asked] = []
        self.refused: TransferError | None = None  # it cannot be opened, however often it is tried
        self.held: Held | None = None
        self.record: Record | None = None
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
        return self.state == "open" and (self.kind != "batch" or time.monotonic() - self.began < _ADMITTING)

    def release(self) -> None:
        """Let other processes write."""
        if self.held is not None:
            self.held.release()
            self.held = None


class Book:
    """Who writes to one artifact now, of the workers of one kind in this process."""

    def __init__(self) -> None:
        self.lock = Lock()  # guards what follows and the groups' members; never held during a call or a wait
        self.current: Group | None = None
        self.inside: dict[object, Group] = {}  # by thread or greenlet

    @contextmanager
    def within(self, group: Group) -> Iterator[None]:
        """What this thread or greenlet writes meanwhile belongs to ``group``, whose end it must not wait for."""
        me = _caller()
        outer = self.inside.get(me)
        self.inside[me] = group
        try:
            yield
        finally:
            if outer is None:
                del self.inside[me]
            else:
                self.inside[me] = outer

    def outer(self) -> Group | None:
        """The group that what this thread or greenlet writes belongs to already."""
        return self.inside.get(_caller())

    def join(self, kind: Literal["batch", "guest"], control: Control) -> Group:
        """A place among those who write, in a new group or in one that still admits; waits until there is one."""
        while True:
            with self.lock:
                if self.current is None:
                    self.current = Group(control.flag(), kind)
                group = self.current
                if group.admits():
                    group.members += 1
                    return group
                flag = group.flag
            _wait(flag, control)

    def join_block(self, token: str) -> Group | None:
        """A place in the block of this token, if it is this process's."""
        with self.lock:
            block = self.current
            if block is None or block.token != token or block.state != "open":
                return None
            block.members += 1
            return block

    def begin_block(self, version: str | None, control: Control, artifact: str) -> Group:
        """A group that lasts until ``end_block``; waits for the one before it."""
        while True:
            with self.lock:
                if self.outer() is not None or (self.current is not None and self.current.kind == "block"):
                    raise InvalidRequest("staged() is already in effect for this object", path=artifact)
                if self.current is None:
                    self.current = Group(control.flag(), "block", version)
                    return self.current
                flag = self.current.flag
            _wait(flag, control)

    def leave(self, group: Group, control: Control, finish: Callable[[], None], *, finished: bool) -> None:
        """Give up a place. Whoever has ``finished`` waits for the group's end, or brings it about by ``finish``."""
        with self.lock:
            group.members -= 1
            if group.kind == "block":
                _wake(group, control)
                return
            if not finished:
                if not group.members:
                    _wake(group, control)  # one of those who wait takes over
                    if not group.waiting:
                        self._end(group)  # there is none: all stays as it is
                return
            group.waiting += 1
        try:
            self._await_end(group, control, finish)
        finally:
            with self.lock:
                group.waiting -= 1
                if group.state == "open" and not group.members and not group.waiting:
                    self._end(group)

    def _await_end(self, group: Group, control: Control, finish: Callable[[], None]) -> None:
        while True:
            with self.lock:
                if group.state == "ended":
                    return
                idle = group.state == "open" and not group.members
                if idle:
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
        except Cancelled as error:
            with self.lock:
                handed_over = group.waiting > 1
                if handed_over:
                    group.state = "open"
                    _wake(group, control)
            if handed_over:
                raise
            group.outcome = error
        except Exception as error:  # noqa: BLE001 -- each member raises it
            group.outcome = error
        except BaseException:
            group.outcome = TransferError("interrupted before the commit; what was uploaded stays staged")
            raise
        finally:
            if not handed_over:
                self.end(group)

    def close_block(self, group: Group, control: Control, finish: Callable[[], None]) -> None:
        """End a block as soon as nobody writes in it any more."""
        with self.lock:
            group.state = "closing"
        while True:
            with self.lock:
                flag, left = group.flag, group.members
            if not left:
                break
            _wait(flag, control)
        self.close(group, control, finish)

    def end(self, group: Group) -> None:
        """The group has ended, whatever became of it; harmless when repeated."""
        with self.lock:
            self._end(group)

    def _end(self, group: Group) -> None:
        group.state = "ended"
        group.release()
        if self.current is group:
            self.current = None
        group.flag.set()


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
    import greenlet  # gevent's

    return greenlet.getcurrent()


def _wake(group: Group, control: Control) -> None:
    """Have those who wait look again."""
    flag, group.flag = group.flag, control.flag()
    flag.set()


def _wait(flag: Flag, control: Control) -> None:
    while not flag.wait(_PULSE):
        control.check()


def own_copy(error: T) -> T:
    """A copy to raise in another thread."""
    return copy.copy(error)
