"""gevent's greenlets as workers, on the hub of the calling thread; nothing needs to be patched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import gevent
from gevent.event import AsyncResult, Event
from gevent.lock import RLock

from ..errors import Cancelled, TransferError
from .kits import GRACE, FlagLike, GateLike


class _Gate:
    def __init__(self) -> None:
        self._result: AsyncResult[object] = AsyncResult()

    def open(self, value: object) -> None:
        if not self._result.ready():
            self._result.set(value)

    def wait(self, seconds: float | None = None) -> bool:
        self._result.wait(seconds)
        return bool(self._result.ready())

    def value(self) -> object:
        return self._result.get()


class _GivenUp(Cancelled, gevent.GreenletExit):  # type: ignore[misc]  # gevent has no types
    """``Cancelled``, and for a greenlet that has not begun an end that gevent does not complain about."""


class GreenKit:
    """Cooperative greenlets."""

    def __init__(self) -> None:
        self._workers: set[gevent.Greenlet[..., None]] = set()

    def flag(self) -> FlagLike:
        """Something to wait for."""
        event: FlagLike = Event()
        return event

    def gate(self) -> GateLike[object]:
        """A gate for the calling greenlet."""
        return _Gate()

    def spawn(self, target: Callable[[], None], *, heavy: bool = False) -> None:
        """Start a greenlet."""
        worker = gevent.spawn(target)
        self._workers.add(worker)
        worker.rawlink(self._workers.discard)

    def spread(self, target: Callable[[], None]) -> bool:
        """There is one thread only."""
        return False

    def abort(self, error: TransferError) -> None:
        """Raise ``error`` in every greenlet, where it waits."""
        workers = [worker for worker in self._workers if worker is not gevent.getcurrent()]
        gevent.killall(workers, exception=_GivenUp(*error.args), block=False)

    def me(self) -> object:
        """The calling greenlet."""
        return gevent.getcurrent()

    def interrupt(self, worker: object, still: Callable[[], bool], error: TransferError) -> None:
        """Raise ``error`` in one greenlet, where it waits."""
        if isinstance(worker, gevent.Greenlet) and still():
            worker.kill(exception=_GivenUp(*error.args), block=False)

    def retire(self) -> None:
        """They end by themselves."""

    def join(self, ended: FlagLike, *, abort: bool) -> None:
        """Wait for the greenlets."""
        gevent.joinall([*self._workers], timeout=GRACE if abort else None)


def green_lock() -> AbstractContextManager[object]:
    """A lock for gevent's greenlets, whose holder may take it again."""
    lock: AbstractContextManager[object] = RLock()
    return lock
