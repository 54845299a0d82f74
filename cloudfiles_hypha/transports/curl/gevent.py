"""libcurl driven by gevent's hub: greenlets wait, nothing is monkey-patched.

Each hub, and so each thread that runs gevent's greenlets, has a ``MultiLoop``; the hub watches its one descriptor
and keeps its time.
"""

from __future__ import annotations

import os
import threading
import weakref
from time import monotonic
from typing import Any

import gevent
import pycurl
from gevent.hub import Waiter

from ...limit import RateLimit
from ...models import Timeouts
from ..homes import home
from .handle import CurlHandle, Outcome
from .loop import MultiLoop
from .transport import CurlTransport


class HubLoop:
    """A ``MultiLoop`` on one hub. Only ever touched from that hub's thread."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self.loop = MultiLoop()
        self._home = weakref.ref(home())
        self._waiting: dict[pycurl.Curl, Waiter[Any]] = {}
        self._timer: Any = None
        self._fires = 0.0  # when the timer does
        self._kicked = False
        self._under_way = 0
        self._rebuilt = 0
        self._watcher = hub.loop.io(self.loop.fileno(), 1)

    def perform(self, handle: CurlHandle) -> Outcome:
        """Run one transfer while other greenlets run; its libcurl code and message."""

        def wait() -> Outcome | None:
            waiter: Waiter[Any] = Waiter(self._hub)
            self._waiting[handle.curl] = waiter
            self._keep_time()
            outcome: Outcome | None = waiter.get()
            return outcome

        if not self._under_way:
            self._watcher.start(self._turn)  # only while there is something to wait for: it keeps the hub alive
        self._under_way += 1
        try:
            return self.loop.perform(handle, wait)
        finally:
            # also when this greenlet was killed while it waited: the transfer has ended with it
            self._waiting.pop(handle.curl, None)
            self._under_way -= 1
            if not self._under_way:
                self._rest()

    def _turn(self) -> None:
        self._kicked = False
        for curl, outcome in self.loop.turn(0):
            waiter = self._waiting.pop(curl, None)
            if waiter is not None:
                waiter.switch(outcome)
        if self._rebuilt != self.loop.rebuilt:
            self._rebuilt = self.loop.rebuilt
            self._watcher.stop()  # the hub is to look at the new one
            if self._under_way:
                self._watcher.start(self._turn)
        self._keep_time()

    def _keep_time(self) -> None:
        """Be called again when libcurl wants it. It changes its mind several times a transfer, mostly to later:
        a timer that fires too early does no harm, and is cheaper than replacing it each time."""
        due = self.loop.due
        if due is None:
            return
        if due <= monotonic():
            if not self._kicked:  # once for all the transfers begun in this turn of the hub
                self._kicked = True
                self._hub.loop.run_callback(self._turn)
        elif self._timer is None or due < self._fires:
            self._stop_timer()
            self._fires = due
            self._timer = self._hub.loop.timer(due - monotonic())
            self._timer.start(self._timed)

    def _timed(self) -> None:
        self._stop_timer()
        self._turn()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _rest(self) -> None:
        self._watcher.stop()
        self._stop_timer()

    def of(self, hub: Any) -> bool:
        """Whether it is that of a hub, in this process."""
        return self._hub is hub and self.loop.pid == os.getpid()

    @property
    def ended(self) -> bool:
        """Whether the hub's thread has ended."""
        return self._home() is None

    def close(self) -> None:
        """Close the connections; in the hub's thread."""
        self._rest()
        self._watcher.close()
        self.loop.close()


class GreenTransport(CurlTransport):
    """Requests through libcurl that let other greenlets run while they wait."""

    carried = False

    def __init__(self, timeouts: Timeouts, limit: RateLimit | None = None) -> None:
        super().__init__(timeouts, limit)
        self._hubs: dict[int, HubLoop] = {}  # by the number of the hub's thread, which gevent's patching does not hide
        self._lock = threading.Lock()  # guards what is added to it and taken out

    def _carrier(self) -> HubLoop:
        hub = gevent.get_hub()
        found = self._hubs.get(hub.thread_ident)
        if found is None or not found.of(hub):
            self._close_orphans(hub)
            found = HubLoop(hub)
            with self._lock:
                self._hubs[hub.thread_ident] = found
        return found

    def _close_orphans(self, hub: Any) -> None:
        """Close the loops of threads that have ended, also of one whose number the thread of ``hub`` has now."""
        with self._lock:
            orphans = {
                thread: loop
                for thread, loop in self._hubs.items()
                if loop.ended or (thread == hub.thread_ident and not loop.of(hub))
            }
            for thread in orphans:
                del self._hubs[thread]
        for loop in orphans.values():
            if loop.loop.pid == os.getpid():
                loop.loop.close()  # gevent keeps the hub, and nobody may touch what belongs to it

    def close(self) -> None:
        """Close idle connections: of the calling thread's hub, and of threads that have ended."""
        hub = gevent.get_hub()
        self._close_orphans(hub)
        with self._lock:
            found = self._hubs.pop(hub.thread_ident, None)
        if found is not None and found.of(hub):
            found.close()
        super().close()
