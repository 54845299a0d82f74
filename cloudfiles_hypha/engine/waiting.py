"""Waiting, for whoever there is to wait: a thread waits as threads do, a carrier's greenlet lets the others run.

``Gate`` is waited for once by one, ``Flag`` by any number, ``Lock`` is held by one. All may be opened, set and released
from any thread. Nothing here polls. (gevent's greenlets have a gate of their own, for the same flags and locks; see
``greenlets``.)
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from .carriers import Carrier, Waiting
    from .kits import GateLike

T = TypeVar("T")


_locks: weakref.WeakSet[threading.Lock] = weakref.WeakSet()


def lock_that_outlasts_a_fork() -> threading.Lock:
    """A lock that is free in a forked child, though another thread may have held it at that moment.

    For what is guarded by it any state between two statements must be a good one.
    """
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _free_locks() -> None:
    for lock in [*_locks]:
        lock._at_fork_reinit()  # type: ignore[attr-defined]  # as the standard library does for its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks)


class _Here(threading.local):
    carrier: Carrier | None = None
    collecting = False


here = _Here()
"""``here.carrier`` is the carrier that the current thread is, if it is one; ``here.collecting`` says if the garbage
collector is at work in it, which may be in the midst of anything (see ``watch_collector``)."""


def watch_collector() -> None:
    """Have ``here.collecting`` kept from now on."""
    while gc.callbacks.count(_note) < 2:  # of the one that Ctrl-C comes upon, not even a `finally` runs
        gc.callbacks.append(_note)


def _note(phase: str, info: object, here: _Here = here) -> None:  # a global is gone when the interpreter ends
    here.collecting = phase == "start"


def who() -> object:
    """The thread, or the carrier's greenlet, that asks: the same object whenever it does."""
    carrier = here.carrier
    return threading.get_ident() if carrier is None else carrier.current()


class Gate(Generic[T]):
    """One value, waited for once, by whoever made the gate."""

    def __init__(self) -> None:
        self._carrier = here.carrier
        self._waiting: Waiting | None = None
        self._values: list[T] = []
        if self._carrier is None:
            self._lock = threading.Lock()
            self._lock.acquire()
        else:
            self._waiting = self._carrier.waiting()

    def open(self, value: T) -> None:
        """Let the waiting one go on with ``value``; only the first value counts."""
        if self._values:
            return
        self._values.append(value)
        if self._carrier is None:
            try:
                self._lock.release()
            except RuntimeError:
                return  # two opened it at once
        elif self._waiting is not None:
            self._carrier.call(self._waiting.resume, None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is open, at most for so long; whether it is."""
        if not self._values:
            if self._carrier is None:
                self._lock.acquire(timeout=-1 if seconds is None else max(0.0, seconds))
            elif self._waiting is not None:
                self._carrier.suspend(self._waiting, seconds)
        return bool(self._values)

    def value(self) -> T:
        """Wait for the value."""
        self.wait()
        return self._values[0]


class Flag:
    """Something to wait for, each at a ``gate`` of its own; once set it stays so.

    It has no lock, so that it may be set from anywhere, by the collector too: whoever waits is in the list before
    looking whether it is set, and whoever sets it says so before looking into the list.
    """

    def __init__(self, gate: Callable[[], GateLike[None]] = Gate) -> None:
        self._set = False
        self._gate = gate
        self._gates: list[GateLike[None]] = []

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def set(self) -> None:
        """From now on nobody waits."""
        self._set = True
        with suppress(IndexError):  # perhaps another one is at it, too
            while True:
                self._gates.pop().open(None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait, at most for so long; whether it is set."""
        if self._set:
            return True
        gate = self._gate()
        self._gates.append(gate)
        try:
            return self._set or gate.wait(seconds)
        finally:
            with suppress(ValueError):  # it was opened
                self._gates.remove(gate)


class Lock:
    """Held by one thread or greenlet, whom ``me`` tells and who may take it again; handed on in the order of asking.

    Each waits at a ``gate`` of its own; ``guard`` makes a thread's lock.
    """

    def __init__(
        self,
        gate: Callable[[], GateLike[None]] = Gate,
        guard: Callable[[], AbstractContextManager[object]] = threading.Lock,
        me: Callable[[], object] = who,
    ) -> None:
        self._gate = gate
        self._me = me
        self._owner: object = None
        self._count = 0
        self._queue: deque[tuple[object, GateLike[None]]] = deque()
        self._lock = guard()  # guards the three above; never held while waiting

    def __enter__(self) -> Lock:
        me = self._me()
        with self._lock:
            if self._owner is None or self._owner == me:
                self._owner = me
                self._count += 1
                return self
            gate = self._gate()
            self._queue.append((me, gate))
        try:
            gate.wait()
        except BaseException:
            with self._lock:
                if (me, gate) in self._queue:
                    self._queue.remove((me, gate))
                    raise
            self.__exit__()  # it was handed on just now
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._count -= 1
            if self._count:
                return
            self._owner = None
            if not self._queue:
                return
            self._owner, gate = self._queue.popleft()
            self._count = 1
        gate.open(None)
