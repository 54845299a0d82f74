"""libcurl driven by gevent's hub: greenlets wait, nothing is monkey-patched.

Each hub, and so each thread that runs gevent's greenlets, has a ``MultiLoop``; the hub watches its one descriptor
and keeps its time.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

import gevent
import pycurl
from gevent.hub import Waiter

from ...models import Timeouts
from .handle import CurlHandle
from .loop import MultiLoop, inherited
from .transport import CurlTransport


class HubLoop:
    """A ``MultiLoop`` on one hub. Only ever touched from that hub's thread."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self.loop = MultiLoop()
        self._waiting: dict[pycurl.Curl, Waiter[Any]] = {}
        self._timer: Any = None
        self._fires = 0.0  # when the timer does
        self._kicked = False
        self._watcher = hub.loop.io(self.loop.fileno(), 1)

    def perform(self, handle: CurlHandle) -> tuple[int, str]:
        """Run one transfer while other greenlets run; its libcurl code and message."""
        waiter: Waiter[Any] = Waiter(self._hub)
        if not self._waiting:
            self._watcher.start(self._turn)  # only while there is something to wait for: it keeps the hub alive
        self._waiting[handle.curl] = waiter
        self.loop.add(handle)
        self._keep_time()
        try:
            outcome: tuple[int, str] = waiter.get()
            return outcome
        finally:
            # also when this greenlet was killed while it waited: the transfer ends with it
            self._waiting.pop(handle.curl, None)
            self.loop.remove(handle)
            if not self._waiting:
                self._rest()

    def _turn(self) -> None:
        self._kicked = False
        for curl, outcome in self.loop.turn(0):
            waiter = self._waiting.pop(curl, None)
            if waiter is not None:
                waiter.switch(outcome)
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

    def close(self) -> None:
        """Close the connections."""
        self._rest()
        self._watcher.close()
        self.loop.close()


class GreenTransport(CurlTransport):
    """Requests through libcurl that let other greenlets run while they wait."""

    def __init__(self, timeouts: Timeouts) -> None:
        super().__init__(timeouts)
        self._hubs: WeakKeyDictionary[Any, HubLoop] = WeakKeyDictionary()

    def _loop(self) -> HubLoop:
        hub = gevent.get_hub()
        found = self._hubs.get(hub)
        if found is not None and found.loop.pid != os.getpid():
            inherited.append(found.loop)
            found = None
        if found is None:
            found = self._hubs[hub] = HubLoop(hub)
        return found

    def close(self) -> None:
        """Close idle connections of the calling thread's hub."""
        found = self._hubs.pop(gevent.get_hub(), None)
        if found is not None and found.loop.pid == os.getpid():
            found.close()
        super().close()
