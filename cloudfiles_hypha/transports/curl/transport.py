"""libcurl through pycurl: the default transport.

``CurlHandle`` turns a request into options and an outcome into a response or an error. ``CurlTransport`` lends
handles out last-in first-out, so that as many connections exist as there were transfers at once, and waits:
with its thread, or with a greenlet where a thread runs several (``loop.here``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident, main_thread

import pycurl

from ...errors import Cancelled
from ...limit import RateLimit
from ...models import Timeouts
from ..base import HttpRequest, HttpResponse, in_blocks
from .handle import CurlHandle, Outcome, translate
from .loop import Carrier, MultiLoop, here


class HandlePool:
    """Idle handles and loops, most recently used last. Knows when it woke up in a forked child and starts anew."""

    def __init__(self, timeouts: Timeouts, limit: RateLimit | None) -> None:
        self.timeouts = timeouts
        self.limit = limit
        self._idle: list[CurlHandle] = []
        self._loops: list[MultiLoop] = []
        self._pid = os.getpid()
        self._lock = Lock()  # guards the change of process

    def take(self) -> CurlHandle:
        if self._pid != os.getpid():
            self._start_anew()
        try:
            return self._idle.pop()  # one bytecode: needs no lock
        except IndexError:
            return CurlHandle(self.timeouts, self, self.limit)

    def give_back(self, handle: CurlHandle) -> None:
        if handle.refused or handle.company is not None:
            handle.close()
        else:
            handle.unload()
            self._idle.append(handle)

    def take_loop(self) -> MultiLoop:
        if self._pid != os.getpid():
            self._start_anew()
        try:
            return self._loops.pop()
        except IndexError:
            return MultiLoop()

    def give_back_loop(self, loop: MultiLoop) -> None:
        self._loops.append(loop)

    def _start_anew(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._idle, self._loops = [], []
                self._pid = os.getpid()

    def close(self) -> None:
        if self._pid != os.getpid():
            self._start_anew()
        loops, self._loops = self._loops, []
        idle, self._idle = self._idle, []
        for loop in loops:
            loop.close()
        for handle in idle:
            handle.close()


class CurlTransport:
    """Requests through libcurl. A thread waits for its answer, unless it carries greenlets (``here.carrier``): then
    the greenlet does, and the thread goes on with the others."""

    carried = True  # carriers' greenlets may wait for it

    def __init__(self, timeouts: Timeouts, limit: RateLimit | None = None) -> None:
        self._pool = HandlePool(timeouts, limit)
        self._busy: dict[int, CurlHandle] = {}
        self._aborted: set[int] = set()

    @property
    def owner(self) -> object:
        """Whose the connections are, to a ``MultiLoop``."""
        return self._pool

    def _carrier(self) -> Carrier | None:
        return here.carrier

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send ``request`` and wait for the whole answer, or raise a ``TransferError``."""
        carrier = self._carrier()
        if self._pool.limit is not None:
            request = in_blocks(request)
        handle = self._pool.take()
        try:
            handle.load(request)
            code, message = self._perform(handle) if carrier is None else carrier.perform(handle)
            if handle.failure is not None:
                raise handle.failure
            if code:
                raise translate(code, message, request.url)
            return handle.response()
        finally:
            self._pool.give_back(handle)

    def _perform(self, handle: CurlHandle) -> Outcome:
        """Let the calling thread wait."""
        thread = get_ident()
        outer = self._busy.get(thread)  # whose reader or sink has made this request
        self._busy[thread] = handle
        code, message = 0, ""
        try:
            if thread not in self._aborted:
                # libcurl's own would not let Ctrl-C through before it ends, and knows no limit that others share
                if handle.streams or handle.limit is not None or thread == main_thread().ident:
                    code, message = self._wait(handle)
                else:
                    handle.curl.perform()
        except pycurl.error as error:
            code, message = error.args[0], str(error.args[1]) if len(error.args) > 1 else ""
        finally:
            if outer is None:
                del self._busy[thread]
            else:
                self._busy[thread] = outer
        if thread in self._aborted and (code or not handle.header_lines):
            raise Cancelled("the batch was given up")
        return code, message

    def _wait(self, handle: CurlHandle) -> Outcome:
        loop = self._pool.take_loop()
        try:
            outcome = loop.run(handle)
        except Exception:
            self._pool.give_back_loop(loop)
            raise
        except BaseException:  # Ctrl-C, and nobody knows where it came
            handle.refused = True
            loop.close()
            raise
        self._pool.give_back_loop(loop)
        return outcome

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

    def forget(self, thread: int) -> None:
        """The number of a thread that ends means nothing any more."""
        self._aborted.discard(thread)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()
