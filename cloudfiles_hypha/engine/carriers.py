"""Threads that each carry many transfers: how the default engine runs.

Twenty threads that wait for twenty sockets spend most of their time passing the interpreter lock around: each
chunk that arrives wakes another one. One thread that runs twenty greenlets moves more small files for half the CPU;
workers that meet large bodies spread over more threads, since those are received and digested without that lock
(measured, 2 cores: 4 KiB bodies 7,300 a second on one thread, 6,000 on two; 64 MiB bodies 400-650 and 670-850 MB/s).
The greenlets are bare ones on a loop of libcurl's sockets; no hub of gevent's is involved, nothing is patched, and
the program around them does not notice.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, cast

from greenlet import GreenletExit, getcurrent, greenlet

if TYPE_CHECKING:
    import pycurl

    from ..transports.curl.handle import CurlHandle
    from ..transports.curl.loop import MultiLoop

# Seconds granted to a thread whose greenlets were killed; they wait for nothing but their transfers.
_GRACE = 5.0


class CarryingTransport(Protocol):
    """A transport whose ``send`` can wait with a greenlet."""

    def carried_by(self, carrier: Any) -> AbstractContextManager[MultiLoop]:
        """While this lasts, ``send`` in this thread waits in ``carrier.perform``."""


class _Carrier:
    """One thread, its greenlets, and the loop that they wait on."""

    def __init__(self, transport: CarryingTransport) -> None:
        self._transport = transport
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._greenlets: set[greenlet] = set()
        self._waiting: dict[pycurl.Curl, greenlet] = {}
        self._sleeping: list[tuple[float, int, greenlet]] = []
        self._order = count()
        self._loop: MultiLoop
        self._home: greenlet  # the one that runs the loop; the others switch to it in order to wait
        self._ending = False
        self._asleep = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.thread = threading.Thread(target=self._main, name="cloudfiles-hypha", daemon=True)
        self.thread.start()

    # -- from any thread --------------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have the loop call ``function``."""
        self._calls.append((function, arguments))
        if self._asleep:  # it looks at the calls once more after it has said so
            try:
                os.write(self._wake_write, b"!")
            except BlockingIOError:
                return  # a full pipe wakes it as well

    def spawn(self, target: Callable[[], None]) -> None:
        """Run ``target`` in a greenlet."""
        self.call(self._spawn, target)

    def end(self, *, abort: bool) -> None:
        """Let the thread end once its greenlets have; with ``abort``, kill them."""
        self.call(self._end, abort)

    def join(self, timeout: float | None) -> None:
        """Wait for the thread; call once, after ``end``."""
        self.thread.join(timeout)
        if not self.thread.is_alive():  # not closed by the thread: ``call`` may be about to wake it
            os.close(self._wake_read)
            os.close(self._wake_write)

    # -- from its greenlets -----------------------------------------------------------------------------------

    def perform(self, handle: CurlHandle) -> tuple[int, str]:
        """Run one transfer while the other greenlets run; its libcurl code and message."""
        self._waiting[handle.curl] = getcurrent()
        self._loop.add(handle)
        try:
            return cast("tuple[int, str]", self._home.switch())
        finally:
            self._waiting.pop(handle.curl, None)
            self._loop.remove(handle)

    def sleep(self, seconds: float) -> None:
        """Let the other greenlets run for so long."""
        heappush(self._sleeping, (monotonic() + seconds, next(self._order), getcurrent()))
        self._home.switch()

    def wait(self) -> Any:
        """Wait until somebody has ``call``ed this greenlet's ``switch``; what that was given."""
        return self._home.switch()

    # -- the loop ---------------------------------------------------------------------------------------------

    def _spawn(self, target: Callable[[], None]) -> None:
        if not self._ending:
            worker = greenlet(target, parent=self._home)
            self._greenlets.add(worker)
            worker.switch()

    def _end(self, abort: bool) -> None:
        self._ending = True
        for worker in [*self._greenlets] if abort else ():
            worker.throw(GreenletExit)

    def _main(self) -> None:
        _here.carrier = self
        self._home = getcurrent()
        with self._transport.carried_by(self) as self._loop:
            self._loop.watch_descriptor(self._wake_read, partial(os.read, self._wake_read, 4096))
            try:
                self._run()
            finally:
                self._loop.forget_descriptor(self._wake_read)

    def _run(self) -> None:
        calls, sleeping, waiting = self._calls, self._sleeping, self._waiting
        while True:
            while calls:
                function, arguments = calls.popleft()
                function(*arguments)
            if self._ending:
                self._greenlets = {worker for worker in self._greenlets if not worker.dead}
                if not self._greenlets:
                    return
            self._asleep = True
            timeout = max(0.0, sleeping[0][0] - monotonic()) if sleeping else None
            finished = self._loop.turn(0.0 if calls else timeout)
            self._asleep = False
            for curl, outcome in finished:
                worker = waiting.pop(curl, None)
                if worker is not None:
                    worker.switch(outcome)
            while sleeping and sleeping[0][0] <= monotonic():
                worker = heappop(sleeping)[2]
                if not worker.dead:
                    worker.switch()


_here = threading.local()  # .carrier: the one that the current thread is


class HubQueue:
    """A queue that any thread puts to and greenlets of any carrier wait on; last to wait is first served."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._waiting: list[tuple[_Carrier, greenlet]] = []
        self._lock = threading.Lock()  # guards the two above; never held while waiting

    def put(self, item: Any) -> None:
        """Add an item, or hand it to whoever waits for one."""
        with self._lock:
            if not self._waiting:
                self._items.append(item)
                return
            carrier, worker = self._waiting.pop()
        carrier.call(worker.switch, item)

    def get(self) -> Any:
        """The oldest item; waits for one, in a carrier's greenlet."""
        carrier: _Carrier = _here.carrier
        with self._lock:
            if self._items:
                return self._items.popleft()
            self._waiting.append((carrier, getcurrent()))
        return carrier.wait()


class CarrierKit:
    """The engine's workers as greenlets on a few threads. For one run; the threads end with it."""

    name = "threads"

    def __init__(self, transport: CarryingTransport, width: int) -> None:
        self._transport = transport
        self._most = min(width, _cores(), 4)
        self._movers = width - width // self._most  # how many of the workers may leave the first carrier
        self._moved = 0
        self._carriers: list[_Carrier] = []
        self._joining = False
        self._lock = threading.Lock()  # guards the three above

    def queue(self) -> HubQueue:
        """For workers to wait on."""
        return HubQueue()

    def semaphore(self) -> threading.Semaphore:
        """For the caller to wait on."""
        return threading.Semaphore(0)

    def flag(self) -> threading.Event:
        """A flag for all."""
        return threading.Event()

    def wait(self, event: Any, seconds: float) -> bool:
        """Wait for a flag. A carrier's greenlet sleeps instead: it is killed when the flag is set."""
        carrier = getattr(_here, "carrier", None)
        if carrier is None:
            return cast(bool, event.wait(seconds))
        carrier.sleep(seconds)
        return cast(bool, event.is_set())

    def spawn(self, target: Callable[[], None]) -> Any:
        """Start a worker, on the first carrier: what small bodies need is the interpreter, and that is one."""
        with self._lock:
            carrier = self._carrier(0)
        carrier.spawn(target)
        return carrier

    def spread(self, target: Callable[[], None]) -> bool:
        """Go on with ``target`` on another carrier, if there is room: large bodies are copied and digested
        without the interpreter lock. True if the calling worker is to end."""
        with self._lock:
            if self._joining or self._moved >= self._movers or _here.carrier is not self._carriers[0]:
                return False
            carrier = self._carrier(1 + self._moved % (self._most - 1))
            self._moved += 1
        carrier.spawn(target)
        return True

    def _carrier(self, number: int) -> _Carrier:
        while len(self._carriers) <= number:
            self._carriers.append(_Carrier(self._transport))
        return self._carriers[number]

    def join(self, workers: Sequence[Any], transport: object, *, abort: bool) -> None:
        """Wait until the workers and their threads have ended; with ``abort``, break off what they are doing."""
        with self._lock:
            self._joining = True
        for carrier in self._carriers:
            carrier.end(abort=abort)
        for carrier in self._carriers:
            carrier.join(_GRACE if abort else None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
