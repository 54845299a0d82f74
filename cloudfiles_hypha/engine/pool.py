"""The pool: runs one function over many items, in threads, in greenlets, or in the caller itself.

Only this module knows which of the three it is. It reads its input no further ahead than a window, resolves
items in batches where the backend wants that (``Prepare``), lets every worker wait when a server asks for it,
and leaves nothing behind: when ``run`` ends, however it ends, its workers are gone. What is done to an item,
and what counts as an error, is the caller's business (``files``).

Threads that wait do so in ``SimpleQueue.get``; nothing polls.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

from ..errors import Cancelled, TransferError
from ..plan.batches import BatchSizes
from ..transports import Transport

J = TypeVar("J")
R = TypeVar("R")

# Items read ahead of the workers where nothing is prepared in batches, for each worker.
_AHEAD = 8
# Bytes of input, and bytes of results not yet taken, beyond which no more work is begun.
_MOST_BYTES = 256 * 1024 * 1024
# Bytes of a result from which on a worker looks for a thread with more room.
_LARGE = 1024 * 1024
# Seconds granted to broken-off workers. Only one that is looking up a host name can need longer.
_GRACE = 5.0


class AgainType:
    """The type of ``AGAIN``."""

    def __repr__(self) -> str:
        return "AGAIN"


AGAIN = AgainType()
"""What ``work`` returns for an item whose preparation has gone stale: it is prepared once more."""


class Turns:
    """What ``work`` returns for an item that goes on in parts: so many more workers are to take a turn at it.

    Each turn is another call of ``work`` with the same item; see ``_Lanes`` for when. Whoever ends the last part
    returns the item's result. Only in a run that was told what is ``heavy``.
    """

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


@dataclass(frozen=True)
class Prepare(Generic[J]):
    """How to resolve items before they are worked on.

    ``resolve`` is given one batch at a time, of the length that ``sizes`` says, and keeps what it finds out
    in the items; it tells the sizes what the call took. It must not raise for an item's sake.
    """

    resolve: Callable[[Sequence[J], Run, BatchSizes], None]
    sizes: Callable[[], BatchSizes]


class Pace:
    """One pool's common pause and its present width, as servers ask for it.

    A ``Retry-After`` makes every worker wait, once; each such answer halves how many workers go on, and every
    full round of successes lets one more in. Costs one attribute look-up while no server has complained.
    """

    def __init__(self, width: int, sleep: Callable[[float], None], gate: Callable[[], Any]) -> None:
        self.width = width
        self.allowed = width
        self.calm = True
        self._sleep = sleep
        self._gate = gate  # makes a queue to park on
        self._parked: dict[int, Any] = {}  # by the worker's number
        self._until = 0.0
        self._halved_at = 0.0
        self._successes = 0
        self._lock = threading.Lock()  # guards all of the above; never held while waiting

    def complaint(self, error: TransferError) -> None:
        """Take note of an answer that asks for a slower pace."""
        if error.status not in (429, 503):
            return
        with self._lock:
            now = time.monotonic()
            self._until = max(self._until, now + (error.retry_after or 0.0))
            if now >= self._halved_at:  # the others' answers to the same congestion are echoes
                self.allowed = max(1, self.allowed // 2)
                self._halved_at = max(self._until, now + 0.1)
            self._successes = 0
            self.calm = False

    def success(self) -> None:
        """Take note that an item went through; call only while not ``calm``."""
        with self._lock:
            self._successes += 1
            if self._successes < self.allowed:
                return
            self._successes = 0
            self.allowed += 1
            gate = self._parked.pop(self.allowed, None)
            self.calm = self.allowed >= self.width and time.monotonic() >= self._until
        if gate is not None:
            gate.put(None)

    def wait(self) -> None:
        """Sit out the common pause."""
        while (left := self._until - time.monotonic()) > 0:
            self._sleep(left)

    def park(self, number: int) -> None:
        """Wait while fewer than ``number`` workers may be at work; the caller is the ``number``-th (from 1)."""
        with self._lock:
            if number <= self.allowed:
                return
            gate = self._parked[number] = self._gate()
        gate.get()

    def release(self) -> None:
        """Let every parked worker go (the run is over)."""
        with self._lock:
            self.allowed = self.width
            parked, self._parked = self._parked, {}
        for gate in parked.values():
            gate.put(None)


class Kit(Protocol):
    """What threads and greenlets have in common, under one set of names."""

    name: str

    def queue(self) -> Any:
        """An unbounded queue with ``put`` and a blocking ``get``, for workers to wait on."""

    def semaphore(self) -> Any:
        """A semaphore of value 0, for the caller to wait on."""

    def flag(self) -> Any:
        """A flag with ``set`` and ``is_set``."""

    def wait(self, event: Any, seconds: float) -> bool:
        """Wait until the flag is set, at most for so long; whether it is."""

    def spawn(self, target: Callable[[], None]) -> Any:
        """Start a worker."""

    def spread(self, target: Callable[[], None]) -> bool:
        """Start a worker where it has more room than the calling one, which is then to end; False: there is none."""

    def join(self, workers: Sequence[Any], transport: Transport | None, *, abort: bool) -> None:
        """Wait until the workers have ended; with ``abort``, break off what they are doing first."""


class ThreadKit:
    """Preemptive threads."""

    name = "threads"

    def queue(self) -> Any:
        return queue.SimpleQueue()

    def semaphore(self) -> Any:
        return threading.Semaphore(0)

    def flag(self) -> Any:
        return threading.Event()

    def wait(self, event: Any, seconds: float) -> bool:
        return bool(event.wait(seconds))

    def spawn(self, target: Callable[[], None]) -> Any:
        # daemons: a name look-up that hangs must not keep the interpreter from exiting
        thread = threading.Thread(target=target, name="cloudfiles-hypha", daemon=True)
        thread.start()
        return thread

    def spread(self, target: Callable[[], None]) -> bool:
        return False

    def join(self, workers: Sequence[Any], transport: Transport | None, *, abort: bool) -> None:
        if not abort or transport is None:
            for thread in workers:
                thread.join(None if not abort else _GRACE)
            return
        with transport.aborting([thread.ident for thread in workers]):
            deadline = time.monotonic() + _GRACE
            for thread in workers:
                thread.join(max(0.0, deadline - time.monotonic()))


class GreenKit:
    """Greenlets on gevent's hub; nothing needs to be patched."""

    name = "green"

    def __init__(self) -> None:
        import gevent
        import gevent.event
        import gevent.lock
        import gevent.queue

        self._gevent = gevent

    def queue(self) -> Any:
        return self._gevent.queue.SimpleQueue()

    def semaphore(self) -> Any:
        return self._gevent.lock.Semaphore(0)

    def flag(self) -> Any:
        return self._gevent.event.Event()

    def wait(self, event: Any, seconds: float) -> bool:
        return bool(event.wait(seconds))

    def spawn(self, target: Callable[[], None]) -> Any:
        return self._gevent.spawn(target)

    def spread(self, target: Callable[[], None]) -> bool:
        return False

    def join(self, workers: Sequence[Any], transport: Transport | None, *, abort: bool) -> None:
        if abort:
            self._gevent.killall(list(workers), block=True)
        else:
            self._gevent.joinall(list(workers))


def sockets_are_patched() -> bool:
    """True when gevent has patched sockets, so that a blocking call would stop every greenlet."""
    import sys

    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


class Engine:
    """Runs work over items with ``width`` workers of one kind; 0 runs it in the caller. Thread-safe."""

    def __init__(self, width: int, *, green: bool) -> None:
        self.width = width
        self.green = green

    @property
    def name(self) -> str:
        """Which kind of worker: "inline", "threads" or "green"."""
        return ("green" if self.green else "threads") if self.width else "inline"

    def __repr__(self) -> str:
        return f"<Engine {self.name} width={self.width}>"

    def lock(self) -> AbstractContextManager[Any]:
        """A lock that any number of workers of this kind may wait for, and its holder may take again."""
        if not self.green:
            return threading.RLock()
        from gevent.lock import RLock

        lock: AbstractContextManager[Any] = RLock()
        return lock

    def kit(self, transport: Transport | None, *, blocking: bool) -> Kit:
        """The workers for one run; ``blocking`` says that what they do waits for other things than transfers."""
        if self.green:
            return GreenKit()
        if self.width > 1 and not blocking and hasattr(transport, "carried_by") and not sockets_are_patched():
            try:
                from .carriers import CarrierKit, CarryingTransport
            except ImportError:  # no greenlet: plain threads do the same, more slowly
                return ThreadKit()
            return CarrierKit(cast(CarryingTransport, transport), self.width)
        return ThreadKit()

    def run(
        self,
        items: Iterable[J],
        work: Callable[[J, Run], R | AgainType | Turns],
        *,
        transport: Transport | None = None,
        blocking: bool = False,
        prepare: Prepare[J] | None = None,
        weigh_item: Callable[[J], int] = lambda item: 0,
        weigh_result: Callable[[R], int] = lambda result: 0,
        eager: bool = True,
        heavy: Callable[[J], bool] | None = None,
        noted: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[J, R]]:
        """Yield each item with ``work(item, run)``, as they are done, in whatever order that is.

        ``work`` must not raise for an item's sake; ``blocking`` says that it waits for other things than
        ``transport``, such as a lock. ``items`` is read in the calling thread, at most a window ahead; what it
        raises is raised here, after the workers have been stopped. Closing the iterator stops them too. Without
        ``eager`` results come a few at a time, for less effort. ``heavy`` tells which items are large enough for
        several workers, or for a core of their own, and is given where there may be any. ``noted`` is called here
        with what workers ``run.note``.
        """
        run = Run(self, transport, blocking=blocking)
        if self.width == 0:
            run.note = noted
            yield from _inline(run, items, work, prepare)
        else:
            yield from _pooled(run, items, work, prepare, weigh_item, weigh_result, eager, heavy, noted)


class Run:
    """One run of the engine, as ``work`` sees it: how to wait, and whom to tell that a server complains."""

    def __init__(self, engine: Engine, transport: Transport | None, *, blocking: bool = False) -> None:
        self.engine = engine
        self.kit = engine.kit(transport, blocking=blocking)
        self.transport = transport
        self.cancelled = self.kit.flag()
        self.note: Callable[[int], None] | None = None  # tells the caller of progress, if it listens
        self.pace = Pace(max(1, engine.width), self.sleep, self.kit.queue)

    def sleep(self, seconds: float) -> None:
        """Wait, or raise ``Cancelled`` as soon as the run is given up."""
        if self.kit.wait(self.cancelled, seconds):
            raise Cancelled("the batch was given up")

    def check(self) -> None:
        """Call before each attempt: sits out a common pause, raises ``Cancelled`` when the run is given up."""
        if not self.pace.calm:
            self.pace.wait()
        if self.cancelled.is_set():
            raise Cancelled("the batch was given up")


def _inline(
    run: Run, items: Iterable[J], work: Callable[[J, Run], R | AgainType | Turns], prepare: Prepare[J] | None
) -> Iterator[tuple[J, R]]:
    source = iter(items)
    sizes = prepare.sizes() if prepare else None
    exhausted = False
    while not exhausted:
        batch: list[J] = []
        wanted = sizes.next() if sizes else 1
        for item in source:
            batch.append(item)
            if len(batch) >= wanted:
                break
        else:
            exhausted = True
        while batch:
            if prepare and sizes:
                prepare.resolve(batch, run, sizes)
            stale = []
            for item in batch:
                while isinstance(result := work(item, run), Turns):
                    continue  # one worker takes all the turns
                if isinstance(result, AgainType):
                    stale.append(item)
                else:
                    if not run.pace.calm:
                        run.pace.success()
                    yield item, result
            batch = stale


class _Backlog:
    """Bytes of results that nobody has taken yet; workers wait while there are too many."""

    def __init__(self, gate: Callable[[], Any]) -> None:
        self._gate = gate
        self._bytes = 0
        self._waiting: list[Any] = []
        self._open = False
        self._lock = threading.Lock()  # guards the three above; never held while waiting

    @property
    def full(self) -> bool:
        """True while workers should not begin anything; read without the lock, a moment's error is harmless."""
        return self._bytes >= _MOST_BYTES and not self._open

    def add(self, weight: int) -> None:
        with self._lock:
            self._bytes += weight

    def take(self, weight: int) -> None:
        with self._lock:
            self._bytes -= weight
            gates, self._waiting = ([], self._waiting) if self.full else (self._waiting, [])
        for gate in gates:
            gate.put(None)

    def wait(self) -> None:
        while True:
            with self._lock:
                if not self.full:
                    return
                gate = self._gate()
                self._waiting.append(gate)
            gate.get()

    def release(self) -> None:
        with self._lock:
            self._open = True
            gates, self._waiting = self._waiting, []
        for gate in gates:
            gate.put(None)


class _Mailbox:
    """What workers have done, for the caller to take: several at a time, if it is in no hurry.

    Each time the caller wakes up it takes the interpreter lock from a worker, so it says how many results are
    worth that.
    """

    def __init__(self, semaphore: Any) -> None:
        self._items: list[Any] = []
        self._wanted = 0
        self._lock = threading.Lock()  # guards the two above; never held while waiting
        self._semaphore = semaphore

    def put(self, item: Any, *, urgent: bool = False) -> None:
        with self._lock:
            self._items.append(item)
            wake = 0 < self._wanted <= len(self._items) or (urgent and self._wanted > 0)
            if wake:
                self._wanted = 0
        if wake:
            self._semaphore.release()

    def hurry(self) -> None:
        """Have the caller take what there is, because somebody waits for that."""
        with self._lock:
            wake, self._wanted = bool(self._wanted and self._items), 0 if self._items else min(self._wanted, 1)
        if wake:
            self._semaphore.release()

    def take(self, enough: int) -> list[Any]:
        """All there is; waits until that is ``enough`` (0: does not wait)."""
        with self._lock:
            if len(self._items) < enough:
                self._wanted = enough
            else:
                items, self._items = self._items, []
                return items
        self._semaphore.acquire()
        with self._lock:
            items, self._items = self._items, []
            return items


_STOP: Any = object()
_CALL: Any = object()
# Seconds the resolver lets the reader get ahead before it settles for a smaller batch than it may take.
_LINGER = 0.01


@dataclass(frozen=True)
class _Crash:
    """An exception that escaped from a worker: a defect, or the interpreter's own trouble."""

    error: BaseException


@dataclass(frozen=True)
class _Note:
    """Progress that a worker tells the caller of."""

    value: int


class _Lanes:
    """A queue for items of which some go on in parts: new items and further turns are taken one by one in turn.

    So neither a large item nor many small ones make the other wait; and when as many turns are waiting as there are
    workers, no new item is begun: what is begun, and so half on disk, is bounded.
    """

    def __init__(self, queue: Any, width: int) -> None:
        self._queue = queue  # of ``_CALL`` for each item in the lanes, and ``_STOP``
        self._width = width
        self._new: deque[Any] = deque()
        self._turns: deque[Any] = deque()
        self._turn_next = False
        self._lock = threading.Lock()  # guards the three above

    def put(self, item: Any) -> None:
        if item is not _STOP:
            self._new.append(item)
            item = _CALL
        self._queue.put(item)

    def put_turn(self, item: Any) -> None:
        self._turns.append(item)
        self._queue.put(_CALL)

    def get(self) -> Any:
        if self._queue.get() is _STOP:
            return _STOP
        with self._lock:
            turn = self._turns and (self._turn_next or not self._new or len(self._turns) >= self._width)
            self._turn_next = not turn
            return (self._turns if turn else self._new).popleft()


class _Resolver(Generic[J]):
    """The one worker that prepares batches: takes what is pending, resolves it, hands it to the others."""

    def __init__(self, run: Run, prepare: Prepare[J], todo: Any, done: Any) -> None:
        self._run = run
        self._prepare = prepare
        self._todo = todo
        self._done = done
        self._pending: deque[J] = deque()
        self._calls = run.kit.queue()
        self.sizes = prepare.sizes()
        self.complete = False  # the reader has come to the end of its input

    def add(self, item: J) -> None:
        """Have one more item prepared."""
        self._pending.append(item)
        self._calls.put(_CALL)

    def stop(self) -> None:
        self._calls.put(_STOP)

    def loop(self) -> None:
        pending = self._pending
        while self._calls.get() is not _STOP:
            while pending and not self._run.cancelled.is_set():
                if not self.complete and len(pending) < self.sizes.next():
                    self._run.kit.wait(self._run.cancelled, _LINGER)
                count = self.sizes.next(len(pending) if self.complete else None)
                batch = [pending.popleft() for _ in range(min(count, len(pending)))]
                try:
                    self._prepare.resolve(batch, self._run, self.sizes)
                except BaseException as error:  # noqa: BLE001 -- raised in the calling thread
                    self._done.put(_Crash(error), urgent=True)
                    return
                for item in batch:
                    self._todo.put(item)


def _pooled(
    run: Run,
    items: Iterable[J],
    work: Callable[[J, Run], R | AgainType | Turns],
    prepare: Prepare[J] | None,
    weigh_item: Callable[[J], int],
    weigh_result: Callable[[R], int],
    eager: bool,
    heavy: Callable[[J], bool] | None,
    noted: Callable[[int], None] | None,
) -> Iterator[tuple[J, R]]:
    kit, pace, cancelled, width = run.kit, run.pace, run.cancelled, run.engine.width
    todo: Any = kit.queue() if heavy is None else _Lanes(kit.queue(), width)
    done = _Mailbox(kit.semaphore())
    backlog = _Backlog(kit.queue)
    resolver = _Resolver(run, prepare, todo, done) if prepare else None
    workers: list[Any] = []
    if noted is not None:
        run.note = lambda value: done.put(_Note(value), urgent=True)

    def worker(number: int, item: Any = None) -> None:
        try:
            while True:
                if not pace.calm:
                    pace.park(number)
                if backlog.full:
                    done.hurry()
                    backlog.wait()
                if item is None:
                    item = todo.get()
                    if item is _STOP or cancelled.is_set():
                        return
                    if heavy is not None and heavy(item) and kit.spread(partial(worker, number, item)):
                        return
                result = work(item, run)
                if isinstance(result, Turns):
                    for _ in range(result.count):
                        todo.put_turn(item)
                    item = None
                    if not pace.calm:
                        pace.success()
                    continue
                if result is AGAIN and resolver:
                    resolver.add(item)
                    item = None
                    continue
                weight = weigh_result(result)  # type: ignore[arg-type]
                if weight:
                    backlog.add(weight)
                if not pace.calm:
                    pace.success()
                done.put((item, weight, result))
                item = None
                if weight >= _LARGE and kit.spread(partial(worker, number)):
                    return
        except BaseException as error:  # noqa: BLE001 -- raised in the calling thread
            done.put(_Crash(error), urgent=True)

    give = resolver.add if resolver else todo.put
    window = 2 * resolver.sizes.limit if resolver else max(_AHEAD * width, 64)
    source = iter(items)
    in_flight = item_bytes = 0
    more, finished = True, False
    ready: deque[Any] = deque()
    try:
        while True:
            if not ready:
                room = more and in_flight < window and (item_bytes < _MOST_BYTES or not in_flight)
                if not room and not in_flight:
                    break
                ready.extend(done.take(0 if room else 1 if eager else max(1, in_flight // 4)))
            if ready:
                outcome = ready.popleft()
                if isinstance(outcome, _Crash):
                    raise outcome.error
                if isinstance(outcome, _Note):
                    if noted is not None:
                        noted(outcome.value)
                    continue
                item, weight, result = outcome
                in_flight -= 1
                item_bytes -= weigh_item(item)
                if weight:
                    backlog.take(weight)
                yield item, result
            elif room:
                item = next(source, _STOP)
                if item is _STOP:
                    more = False
                    if resolver:
                        resolver.complete = True
                    continue
                if resolver and not workers:
                    workers.append(kit.spawn(resolver.loop))
                in_flight += 1
                item_bytes += weigh_item(item)
                # an item that may go on in parts may want all of them
                while len(workers) - (resolver is not None) < (min(width, in_flight) if heavy is None else width):
                    workers.append(kit.spawn(partial(worker, len(workers) + (resolver is None))))
                give(item)
        finished = True
    finally:
        if not finished:
            cancelled.set()
        pace.release()
        backlog.release()
        if resolver:
            resolver.stop()
        for _ in workers:
            todo.put(_STOP)
        kit.join(workers, run.transport, abort=not finished)
