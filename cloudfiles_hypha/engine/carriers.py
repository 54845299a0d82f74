"""Threads that each carry many transfers: how the default engine runs.

Twenty threads that wait for twenty sockets spend most of their time passing the interpreter lock around: each
chunk that arrives wakes another one. One thread that runs twenty greenlets moves more small files for half the CPU;
workers that meet large bodies spread over more threads, since those are received and digested without that lock
(measured, 2 cores: 4 KiB bodies 7,300 a second on one thread, 6,000 on two; 64 MiB bodies 400-650 and 670-850 MB/s).
The greenlets are bare ones on a loop of libcurl's sockets; no hub of gevent's is involved, nothing is patched, and
the program around them does not notice.

The carriers of a process are shared by all that runs on them (``Fleet``), so that an object for each task costs neither
threads nor connections of its own. They start when they are needed and end when they have been idle for a moment; the
connections stay until the last ``Lease`` ends. A greenlet never outlives its thread: the memory of one whose thread is
gone cannot be looked at safely, not even by the garbage collector. User code never runs here.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, cast

from greenlet import getcurrent, greenlet

from ..errors import Cancelled, TransferError
from ..transports.curl.loop import MultiLoop
from ..transports.curl.loop import here as curl_here
from .kits import GRACE, FlagLike, exiting
from .waiting import Flag, Gate, here, lock_that_outlasts_a_fork

if TYPE_CHECKING:
    import pycurl

    from ..transports.curl.handle import CurlHandle, Outcome


# Seconds after which a thread without anything to do ends.
_IDLE = 1.0


class Waiting:
    """One wait of one greenlet. Whoever ends it finds out here whether the greenlet still waits for just that."""

    __slots__ = ("carrier", "value", "worker")

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.worker: greenlet | None = None
        self.value: object = None

    def resume(self, value: object) -> None:
        """Let the greenlet go on, if it still waits; called by the loop."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self.value = value
            worker.switch()


class Crew:
    """Greenlets that belong together, wherever they run: those of one run."""

    __slots__ = ("crashed",)

    def __init__(self, crashed: Callable[[BaseException], None]) -> None:
        self.crashed = crashed  # told when a thread that carries some of them dies


class Carrier:
    """One thread, its greenlets, and the loop that they wait on."""

    def __init__(
        self, loop: MultiLoop, lock: threading.RLock, left: Callable[[Carrier, MultiLoop | None], bool]
    ) -> None:
        self._left = left  # told, with the lock held, when this ends; takes the loop if it can be used again
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._workers: dict[greenlet, Crew] = {}
        self._transfers: dict[pycurl.Curl, Waiting] = {}
        self._sleeping: list[tuple[float, int, Waiting]] = []
        self._order = count()
        self._ending = self._asleep = self._ended = False
        self._lock = lock  # guards the calls, and the end: after it there are none
        self._home: greenlet | None = None  # the one that runs the loop; the others switch to it in order to wait
        # All that may fail for want of descriptors or threads happens here, where the caller is told.
        self._loop = loop
        self._wake_read, self._wake_write = os.pipe()
        self._pipe: tuple[int, ...] = (self._wake_read, self._wake_write)  # to be closed
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.thread = threading.Thread(target=self._main, name="cloudfiles-hypha", daemon=True)
        try:
            self.thread.start()
        except Exception:  # not Ctrl-C, which may come when it has started
            self._close_pipe()
            raise

    # -- from any thread --------------------------------------------------------------------------------------

    def call(self, function: Callable[..., object], *arguments: object) -> bool:
        """Have the loop call ``function``; False if it has ended."""
        with self._lock:
            if self._ended:
                return False
            self._calls.append((function, arguments))
            if self._asleep:  # it looks at the calls once more after it has said so
                try:
                    os.write(self._wake_write, b"!")
                except BlockingIOError:
                    return True  # a full pipe wakes it as well
        return True

    def spawn(self, crew: Crew, target: Callable[[], None]) -> bool:
        """Run ``target`` in a greenlet; False if the thread has ended."""
        return self.call(self._spawn, crew, target)

    def abort(self, crew: Crew, error: BaseException) -> None:
        """Raise ``error`` in every greenlet of a crew, where it waits."""
        self.call(self._throw, crew, error)

    def interrupt(self, worker: object, still: Callable[[], bool], error: BaseException) -> None:
        """Raise ``error`` in one greenlet, where it waits, if ``still`` says so by then."""
        self.call(self._throw_one, worker, still, error)

    def drop(self, owner: object) -> threading.Event:
        """Close the connections of an owner's transfers; what is set when that is done."""
        done = threading.Event()

        def drop() -> None:
            self._loop.drop(owner)
            done.set()

        if not self.call(drop):
            done.set()  # it has ended, and its loop is the fleet's
        return done

    def end(self) -> None:
        """Let the thread end once its greenlets have."""
        self.call(self._end)

    def shut_down(self) -> None:
        """Have all that runs here end, and whoever waits for it, and then the thread."""
        self.call(self._shut_down)

    @property
    def busy(self) -> bool:
        """Whether it has greenlets."""
        return bool(self._workers)

    # -- from its greenlets -----------------------------------------------------------------------------------

    def current(self) -> object:
        """The greenlet that asks."""
        return getcurrent()

    def waiting(self) -> Waiting:
        """A wait of the greenlet that asks, for ``suspend``."""
        return Waiting(self)

    def suspend(self, waiting: Waiting, seconds: float | None = None) -> object:
        """Let the other greenlets run until ``resume``, at most for so long; what that was given."""
        waiting.worker = getcurrent()
        if seconds is not None:
            heappush(self._sleeping, (monotonic() + max(0.0, seconds), next(self._order), waiting))
        try:
            cast(greenlet, self._home).switch()
        finally:
            waiting.worker = None  # whoever comes too late to end this wait must not end another
        return waiting.value

    def perform(self, handle: CurlHandle) -> tuple[int, str]:
        """Run one transfer while the other greenlets run; its libcurl code and message."""
        if getcurrent() is self._home:
            raise RuntimeError("a sink must not make requests: it is called while libcurl is at work")
        waiting = Waiting(self)

        def wait() -> Outcome | None:
            self._transfers[handle.curl] = waiting
            return cast("Outcome | None", self.suspend(waiting))

        try:
            return self._loop.perform(handle, wait)
        finally:
            self._transfers.pop(handle.curl, None)

    # -- the loop ---------------------------------------------------------------------------------------------

    def _spawn(self, crew: Crew, target: Callable[[], None]) -> None:
        worker = greenlet(partial(self._life, crew, target), parent=self._home)
        self._workers[worker] = crew
        worker.switch()

    def _life(self, crew: Crew, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001 -- raised where the crew's caller waits
            crew.crashed(error)
        finally:
            self._workers.pop(getcurrent(), None)

    def _throw(self, crew: Crew, error: BaseException) -> None:
        for worker in [worker for worker, member in self._workers.items() if member is crew]:
            worker.throw(error)

    def _throw_one(self, worker: greenlet, still: Callable[[], bool], error: BaseException) -> None:
        if worker in self._workers and still():
            worker.throw(error)

    def _end(self) -> None:
        self._ending = True

    def _shut_down(self) -> None:
        self._ending = True
        for crew in {*self._workers.values()}:  # first, so that no worker begins anything else
            crew.crashed(SystemExit())
        for worker in [*self._workers]:
            worker.throw(Cancelled("the interpreter is about to end"))

    def _main(self) -> None:
        here.carrier = self
        curl_here.carrier = self
        self._home = getcurrent()
        try:
            self._loop.watch_descriptor(self._wake_read, partial(os.read, self._wake_read, 4096))
            self._run()
        except BaseException as error:  # noqa: BLE001 -- told to all that waited here
            self._abandon(error)
        finally:
            here.carrier = None
            curl_here.carrier = None
            # nothing may keep a greenlet beyond this line
            self._calls.clear()
            self._workers.clear()
            self._transfers.clear()
            self._sleeping.clear()
            self._home = None

    def _run(self) -> None:
        calls, sleeping, transfers = self._calls, self._sleeping, self._transfers
        idle_since: float | None = None
        while True:
            if calls:
                idle_since = None
            while calls:
                self._call_next()  # apart, so that nothing is kept of it here
            if self._workers:
                idle_since = None
                timeout = max(0.0, sleeping[0][0] - monotonic()) if sleeping else None
            else:
                now = monotonic()
                idle_since = now if idle_since is None else idle_since
                timeout = idle_since + _IDLE - now
                if (self._ending or timeout <= 0) and self._leave():
                    return
            self._asleep = True
            finished = self._loop.turn(0.0 if calls else timeout)
            self._asleep = False
            for curl, outcome in finished:
                waiting = transfers.get(curl)
                if waiting is not None:
                    waiting.resume(outcome)
            while sleeping and sleeping[0][0] <= monotonic():
                heappop(sleeping)[2].resume(None)

    def _call_next(self) -> None:
        function, arguments = self._calls.popleft()
        function(*arguments)

    def _leave(self) -> bool:
        """End, if nothing has come meanwhile; False if something has."""
        with self._lock:
            if self._calls:
                return False
            self._ended = True
            self._loop.forget_descriptor(self._wake_read)
            self._close_pipe()
            taken = self._left(self, self._loop)
        if not taken:
            self._loop.close()
        return True

    def _abandon(self, error: BaseException) -> None:
        """The loop has failed, which is a defect or the system's trouble: all that waits here is told."""
        with self._lock:
            self._ended = True
            self._left(self, None)
        crews = {*self._workers.values()}
        while self._calls:  # workers that were to begin here
            _, arguments = self._calls.popleft()
            crews.update(argument for argument in arguments if isinstance(argument, Crew))
        for crew in crews:  # first, so that no worker begins anything else
            crew.crashed(error)
        for worker in [*self._workers]:
            worker.throw(TransferError(f"the thread of this transfer has ended: {error!r:.200}"))
        self._loop.close()
        self._close_pipe()

    def _close_pipe(self) -> None:
        pipe, self._pipe = self._pipe, ()  # once: by a second time the numbers may be those of somebody else's files
        for descriptor in pipe:
            os.close(descriptor)


class Fleet:
    """The carriers of one process, and the connections of those that have ended. Thread-safe."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.most = min(_cores(), 4)
        self._carriers: dict[int, Carrier] = {}
        self._loops: list[MultiLoop] = []
        self._leases = 0
        self._over = False
        # Guards the four above, and is its carriers': one that ends hands over its loop in the same step, so nobody
        # finds the one gone and the other not yet there. The collector may let go of a ``Lease`` wherever this is held.
        self._lock = threading.RLock()

    def spawn(self, number: int, crew: Crew, target: Callable[[], None]) -> None:
        """Run ``target`` on the carrier of that number (from 0), which is started if need be."""
        with self._lock:
            if self._over:
                raise SystemExit
            carrier = self._carriers.get(number)
            if carrier is None:
                loop = self._loops.pop() if self._loops else MultiLoop()
                try:
                    carrier = self._carriers[number] = Carrier(loop, self._lock, self._left)
                except Exception:
                    loop.close()
                    raise
            carrier.spawn(crew, target)

    def first(self) -> Carrier | None:
        """The one for small bodies, if it is there."""
        return self._carriers.get(0)

    def present(self) -> list[Carrier]:
        """Those that are there."""
        with self._lock:
            return [*self._carriers.values()]

    def _left(self, carrier: Carrier, loop: MultiLoop | None) -> bool:
        """A carrier has ended; whether its loop, if it is still of use, is kept."""
        with self._lock:
            for number, other in [*self._carriers.items()]:
                if other is carrier:
                    del self._carriers[number]
            if loop is None or not self._leases:
                return False
            self._loops.append(loop)
            return True

    def drop(self, owner: object, *, wait: bool) -> None:
        """Close the connections of an owner's transfers, with ``wait`` before this returns."""
        if self.pid != os.getpid():
            return  # a parent's: nothing of it is here
        with self._lock:
            waiting = [carrier.drop(owner) for carrier in self.present()]
            for loop in self._loops:
                loop.drop(owner)
        for done in waiting:
            if wait and here.carrier is None:
                done.wait(GRACE)

    def lease(self) -> None:
        """One more needs the carriers."""
        with self._lock:
            self._leases += 1

    def release(self, *, wait: bool) -> None:
        """One fewer does. With the last the connections are closed, with ``wait`` before this returns."""
        if self.pid != os.getpid():
            return  # a parent's: nothing of it is here
        with self._lock:
            self._leases -= 1
            if self._leases > 0:
                return
            loops, self._loops = self._loops, []
        for loop in loops:
            loop.close()
        self.retire(GRACE if wait else 0.0)

    def retire(self, seconds: float, *, busy: bool = False) -> None:
        """Let the carriers end that have nothing to do, and wait for that for so long; with ``busy``, for all."""
        carriers = self.present()
        for carrier in carriers:
            carrier.end()
        for carrier in carriers:
            if seconds and (busy or not carrier.busy) and carrier.thread is not threading.current_thread():
                carrier.thread.join(seconds)

    def shut_down(self) -> None:
        """The interpreter is about to end: so do the carriers, whatever they are at.

        It ends the threads that are left by force, which must not come upon one that runs greenlets. Whoever waits for
        results is such a thread, and ends now: silently, as nobody could say anything any more.
        """
        exiting.set()
        with self._lock:
            self._over = True
            carriers = self.present()
        for carrier in carriers:
            carrier.shut_down()
        for carrier in carriers:
            carrier.thread.join(GRACE)


_fleet: Fleet | None = None
_guard = threading.Lock()
# Fleets of parent processes: kept, so that nothing of theirs is closed here.
_inherited: list[Fleet] = []


def fleet() -> Fleet:
    """The fleet of this process."""
    global _fleet
    with _guard:
        if _fleet is None:
            _fleet = Fleet()
            atexit.register(_fleet.shut_down)
        return _fleet


def _forked() -> None:
    global _fleet, _guard
    _guard = threading.Lock()
    if _fleet is not None:
        _inherited.append(_fleet)
        atexit.unregister(_fleet.shut_down)
        _fleet = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Lease:
    """Somebody's use of the fleet, from the first need of it to ``release``."""

    def __init__(self) -> None:
        self._fleet: Fleet | None = None
        self._lock = lock_that_outlasts_a_fork()  # guards the one above

    def fleet(self) -> Fleet:
        """The fleet of this process, kept from now on."""
        mine = self._fleet
        if mine is not None and mine.pid == os.getpid():
            return mine
        with self._lock:
            if self._fleet is None or self._fleet.pid != os.getpid():
                self._fleet = fleet()
                self._fleet.lease()
            return self._fleet

    def release(self, owner: object, *, wait: bool = True) -> None:
        """The fleet is not needed any more, nor are the owner's connections."""
        mine, self._fleet = self._fleet, None
        if mine is not None and mine.pid == os.getpid():
            mine.drop(owner, wait=wait)
            mine.release(wait=wait)


class CarrierKit:
    """The workers of one run as greenlets on the fleet's carriers."""

    def __init__(self, fleet: Fleet, width: int, crashed: Callable[[BaseException], None]) -> None:
        self._fleet = fleet
        fleet.lease()  # also while the object that began the run is closed
        self._release = weakref.finalize(self, fleet.release, wait=False)
        self._release.atexit = False
        self._crew = Crew(crashed)
        # What small bodies need is the interpreter, and that is one; large ones are copied and digested without.
        self._movers = width - width // fleet.most  # how many of the workers may leave the first carrier
        self._moved = self._next = 0
        self._lock = threading.Lock()  # guards the two above

    def flag(self) -> Flag:
        """Something to wait for."""
        return Flag()

    def gate(self) -> Gate[object]:
        """A gate for the calling thread or greenlet."""
        return Gate()

    def spawn(self, target: Callable[[], None], *, heavy: bool = False) -> None:
        """Start a worker: on the first carrier, or a heavy one on another."""
        if not (heavy and self._move(target)):
            self._fleet.spawn(0, self._crew, target)

    def spread(self, target: Callable[[], None]) -> bool:
        """Go on with ``target`` on another carrier, if there is room and the calling worker is on the first."""
        return here.carrier is self._fleet.first() and self._move(target)

    def let_others(self) -> None:
        """What is done here waits often enough."""

    def _move(self, target: Callable[[], None]) -> bool:
        with self._lock:
            if self._moved >= self._movers or self._fleet.most < 2:
                return False
            self._moved += 1
            number = 1 + self._next % (self._fleet.most - 1)
            self._next += 1

        def life() -> None:
            try:
                target()
            finally:
                with self._lock:
                    self._moved -= 1

        self._fleet.spawn(number, self._crew, life)
        return True

    def abort(self, error: TransferError) -> None:
        """Raise ``error`` in every worker, where it waits."""
        for carrier in self._fleet.present():
            carrier.abort(self._crew, error)

    def me(self) -> object:
        """The calling greenlet, with its carrier."""
        return here.carrier, getcurrent()

    def interrupt(self, worker: object, still: Callable[[], bool], error: TransferError) -> None:
        """Raise ``error`` in one worker, where it waits."""
        carrier, found = cast("tuple[Carrier, greenlet]", worker)
        carrier.interrupt(found, still, error)

    def retire(self) -> None:
        """Let carriers end at once."""
        self._fleet.retire(1.0, busy=True)

    def join(self, ended: FlagLike, *, abort: bool) -> None:
        """Wait until the last worker has ended; one that is broken off gets a moment for that."""
        try:
            while not ended.wait(GRACE) and not abort:
                continue
        finally:
            if abort:
                self._fleet.retire(1.0)
            self._release()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
