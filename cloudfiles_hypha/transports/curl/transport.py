"""libcurl through pycurl: the default transport.

``CurlHandle`` turns a request into options and an outcome into a response or an error. ``CurlTransport`` lends
handles out last-in first-out, so that as many connections exist as there were transfers at once, and waits:
with its thread, or with a greenlet where a thread runs several (``green``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident, local, main_thread
from typing import TYPE_CHECKING, Protocol

import pycurl

from ...errors import (
    Cancelled,
)
from ...models import Timeouts
from ..base import (
    HttpRequest,
    HttpResponse,
)
from .handle import CurlHandle, translate

if TYPE_CHECKING:
    from .loop import MultiLoop


# Handles of a parent process. Closing them in a child would shut the parent's TLS sessions down.
_inherited: list[CurlHandle] = []


class HandlePool:
    """Idle handles, most recently used last. Knows when it woke up in a forked child and starts anew."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._idle: list[CurlHandle] = []
        self._pid = os.getpid()
        self._lock = Lock()  # guards the change of process

    def take(self) -> CurlHandle:
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    _inherited.extend(self._idle)
                    self._idle = []
                    self._pid = os.getpid()
        try:
            return self._idle.pop()  # one bytecode: needs no lock
        except IndexError:
            return CurlHandle(self.timeouts)

    def give_back(self, handle: CurlHandle) -> None:
        handle.unload()
        if handle.refused:
            handle.close()
        else:
            self._idle.append(handle)

    def close(self) -> None:
        while self._idle:
            self.take().close()


class Loop(Protocol):
    """Where a greenlet waits for its transfer."""

    def perform(self, handle: CurlHandle) -> tuple[int, str]:
        """Run one transfer while other greenlets run; its libcurl code and message."""


class CurlTransport:
    """Requests through libcurl. A thread waits for its answer, unless it carries greenlets (``carried_by``): then
    the greenlet does, and the thread goes on with the others."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._pool = HandlePool(timeouts)
        self._busy: dict[int, CurlHandle] = {}
        self._aborted: set[int] = set()
        self._here = local()  # .carrier: what this thread's greenlets wait in
        self._idle_loops: list[MultiLoop] = []

    def _loop(self) -> Loop | None:
        return getattr(self._here, "carrier", None)

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send ``request`` and wait for the whole answer, or raise a ``TransferError``."""
        loop = self._loop()
        handle = self._pool.take()
        try:
            handle.load(request)
            code, message = self._perform(handle) if loop is None else loop.perform(handle)
            if handle.failure is not None:
                raise handle.failure
            if code:
                raise translate(code, message, request.url)
            return handle.response()
        finally:
            self._pool.give_back(handle)

    def _perform(self, handle: CurlHandle) -> tuple[int, str]:
        thread = get_ident()
        self._busy[thread] = handle
        try:
            if thread not in self._aborted:
                if thread == main_thread().ident:
                    return handle.perform_interruptibly()
                handle.curl.perform()
                return 0, ""
        except pycurl.error as error:
            if thread not in self._aborted:
                return error.args[0], str(error.args[1]) if len(error.args) > 1 else ""
        finally:
            del self._busy[thread]
        raise Cancelled("the batch was given up")

    @contextmanager
    def carried_by(self, carrier: Loop) -> Iterator[MultiLoop]:
        """While this lasts, ``send`` in this thread waits in ``carrier.perform``; gives the loop to run there.

        Loops are kept for the next carrier, with their connections.
        """
        from .loop import MultiLoop, inherited

        loop = None
        while self._idle_loops and loop is None:
            loop = self._idle_loops.pop()
            if loop.pid != os.getpid():
                inherited.append(loop)
                loop = None
        loop = loop or MultiLoop()
        self._here.carrier = carrier
        try:
            yield loop
        finally:
            self._here.carrier = None
            self._idle_loops.append(loop)

    @contextmanager
    def aborting(self, threads: Collection[int]) -> Iterator[None]:
        """Break off whatever these threads wait for; while this lasts they start nothing new."""
        self._aborted.update(threads)
        try:
            for thread in threads:
                handle = self._busy.get(thread)
                if handle is not None:
                    handle.break_off()
            yield
        finally:
            self._aborted.difference_update(threads)

    def close(self) -> None:
        """Close idle connections."""
        while self._idle_loops:
            loop = self._idle_loops.pop()
            if loop.pid == os.getpid():
                loop.close()
        self._pool.close()
