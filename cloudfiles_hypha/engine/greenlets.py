"""gevent's greenlets as workers, on the hub of the calling thread; nothing needs to be patched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import gevent
from gevent.hub import Waiter
from gevent.monkey import get_original

from ..errors import Cancelled, TransferError
from .kits import GRACE, FlagLike, GateLike
from .waiting import Flag, Lock

T = TypeVar("T")

# Those of real threads, also where gevent has patched what a thread is: its own are not for several hubs.
_native_lock: Callable[[], Any] = get_original("_thread", "allocate_lock")
_native_rlock: Callable[[], Any] = get_original("_thread", "RLock")


class _Gate(Generic[T]):
    """Waited for by one greenlet, which the hub of its own thread wakes up, whichever thread opens it."""

    def __init__(self) -> None:
        self._values: list[T] = []
        self._alarm: Any = None  # of that hub, while it is waited for; what one may wait for keeps the hub going
        # Guards the alarm's life; never held while waiting. A handler of signals may open it in the midst of ``wait``.
        self._lock = _native_rlock()

    def open(self, value: T) -> None:
        with self._lock:
            if not self._values:
                self._values.append(value)
                if self._alarm is not None:
                    self._alarm.send()  # the one thing that may be done to another thread's hub

    def wait(self, seconds: float | None = None) -> bool:
        if self._values:
            return True
        hub = gevent.get_hub()
        waiter: Waiter[Any] = Waiter(hub)
        alarm = hub.loop.async_()
        alarm.start(waiter.switch, None)
        try:
            with self._lock:
                self._alarm = alarm
            if not self._values:
                with gevent.Timeout(seconds, False):
                    waiter.get()
        finally:
            with self._lock:
                self._alarm = None
            alarm.stop()
            alarm.close()
        return bool(self._values)

    def value(self) -> T:
        self.wait()
        return self._values[0]


class _GivenUp(Cancelled, gevent.GreenletExit):  # type: ignore[misc]  # gevent has no types
    """``Cancelled``, and for a greenlet that has not begun an end that gevent does not complain about."""


class GreenKit:
    """Cooperative greenlets."""

    def __init__(self) -> None:
        self._workers: set[gevent.Greenlet[..., None]] = set()
        self._hub = gevent.get_hub()

    def flag(self) -> FlagLike:
        """Something to wait for, also in several threads."""
        return Flag(_Gate)

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

    def let_others(self) -> None:
        """Give up the thread for a moment."""
        gevent.sleep(0)

    def abort(self, error: TransferError) -> None:
        """Raise ``error`` in every greenlet, where it waits; from another thread (the collector's) only that can be
        done which flags do."""
        if gevent.get_hub() is not self._hub:
            return
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


def green_lock() -> Lock:
    """A lock for gevent's greenlets, in any number of threads, whose holder may take it again."""
    return Lock(_Gate, _native_lock, gevent.getcurrent)
