"""libcurl's multi interface driven by gevent's hub: greenlets wait, nothing is monkey-patched.

libcurl says which sockets to watch and when to wake it (``socket_action`` in its documentation); gevent's loop
does the watching. Each hub, and so each thread that runs greenlets, has a multi handle of its own.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import gevent
import pycurl
from gevent.hub import Waiter

from ..models import Timeouts
from .base import HttpRequest, HttpResponse
from .curl import CurlHandle, HandlePool, translate

_READ, _WRITE = 1, 2  # libev's event bits, which gevent's watchers take


class _Loop:
    """One multi handle on one hub. Only ever touched from that hub's thread."""

    def __init__(self, hub: Any) -> None:
        self.pid = os.getpid()
        self._hub = hub
        self._waiting: dict[pycurl.Curl, Waiter[Any]] = {}
        self._watchers: dict[int, Any] = {}
        self._timer: Any = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._wake_in)
        # The multi handle keeps the connections, not the easy ones; libcurl's own limit (four times the handles
        # in use) would close idle ones as a batch runs out, only to open them for the next.
        self._multi.setopt(pycurl.M_MAXCONNECTS, 1024)

    def perform(self, handle: CurlHandle) -> tuple[int, str]:
        """Run one transfer while other greenlets run; its libcurl code and message."""
        waiter: Waiter[Any] = Waiter(self._hub)
        self._waiting[handle.curl] = waiter
        self._multi.add_handle(handle.curl)
        try:
            outcome: tuple[int, str] = waiter.get()
            return outcome
        finally:
            # also when this greenlet was killed while it waited: the transfer ends with it
            self._waiting.pop(handle.curl, None)
            self._multi.remove_handle(handle.curl)

    def _watch(self, what: int, descriptor: int, multi: object, data: object) -> None:
        watcher = self._watchers.pop(descriptor, None)
        if watcher is not None:
            watcher.stop()
            watcher.close()
        if what == pycurl.POLL_REMOVE:
            return
        events = (_READ if what & pycurl.POLL_IN else 0) | (_WRITE if what & pycurl.POLL_OUT else 0)
        watcher = self._watchers[descriptor] = self._hub.loop.io(descriptor, events)
        watcher.start(self._ready, descriptor, pass_events=True)

    def _wake_in(self, milliseconds: int) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        if milliseconds >= 0:
            self._timer = self._hub.loop.timer(milliseconds / 1000)
            self._timer.start(self._act, pycurl.SOCKET_TIMEOUT, 0)

    def _ready(self, events: int, descriptor: int) -> None:
        mask = (pycurl.CSELECT_IN if events & _READ else 0) | (pycurl.CSELECT_OUT if events & _WRITE else 0)
        self._act(descriptor, mask)

    def _act(self, descriptor: int, mask: int) -> None:
        self._multi.socket_action(descriptor, mask)
        left = 1
        while left:
            left, done, failed = self._multi.info_read()
            for curl in done:
                self._settle(curl, (0, ""))
            for curl, code, message in failed:
                self._settle(curl, (code, message))

    def _settle(self, curl: pycurl.Curl, outcome: tuple[int, str]) -> None:
        waiter = self._waiting.pop(curl, None)
        if waiter is not None:
            # not switched to from here: libcurl's answers are all read before any greenlet runs
            self._hub.loop.run_callback(waiter.switch, outcome)

    def close(self) -> None:
        self._wake_in(-1)
        for watcher in self._watchers.values():
            watcher.stop()
            watcher.close()
        self._watchers.clear()
        self._multi.close()


# Loops of a parent process: kept, so that no destructor closes the parent's connections.
_inherited: list[_Loop] = []


class GreenTransport:
    """Requests through libcurl that let other greenlets run while they wait."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._pool = HandlePool(timeouts)
        self._loops: WeakKeyDictionary[Any, _Loop] = WeakKeyDictionary()

    def _loop(self) -> _Loop:
        hub = gevent.get_hub()
        loop = self._loops.get(hub)
        if loop is not None and loop.pid != os.getpid():
            _inherited.append(loop)
            loop = None
        if loop is None:
            loop = self._loops[hub] = _Loop(hub)
        return loop

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send ``request`` and wait for the whole answer, or raise a ``TransferError``."""
        handle = self._pool.take()
        try:
            handle.load(request)
            code, message = self._loop().perform(handle)
            if code:
                raise translate(code, message, request.url)
            return handle.response()
        finally:
            self._pool.give_back(handle)

    @contextmanager
    def aborting(self, threads: Collection[int]) -> Iterator[None]:
        """Nothing to do: killing a greenlet that waits in ``send`` ends its transfer."""
        yield

    def close(self) -> None:
        """Close idle connections of the calling thread's hub."""
        loop = self._loops.pop(gevent.get_hub(), None)
        if loop is not None and loop.pid == os.getpid():
            loop.close()
        self._pool.close()
