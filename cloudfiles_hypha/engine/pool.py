"""The pool: has tasks done by threads, by greenlets, or by the caller itself.

Only this package knows which of the three it is. A batch is iterated over (``Engine.run``): its input is read no
further ahead than a window, and when it ends, however it ends, its workers are gone. Tasks that come one by one, from
any thread, are given to a ``Service``. What is done to an item, and what counts as an error, is the tasks' business.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ..errors import Cancelled
from .kits import Kit, ThreadKit, exiting, sockets_are_patched
from .mailbox import Mailbox
from .outcomes import UNRESOLVED, Done, More, Prepare, Task
from .run import GIVEN_UP, Run
from .waiting import Lock, here, lock_that_outlasts_a_fork, watch_collector
from .workers import Workers

if TYPE_CHECKING:
    from ..transports.base import Transport
    from .carriers import Lease

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)
A = TypeVar("A")
B = TypeVar("B")

# Items read ahead of the workers where nothing is prepared in batches, for each worker.
_AHEAD = 8
# Bytes of input, and bytes of results not yet taken, beyond which no more work is begun.
_MOST_BYTES = 256 * 1024 * 1024


class Cancellation:
    """Gives up whatever calls it was handed to, from any thread: ``cf.get(names, cancel=stop)``, ``stop.cancel()``.

    Such a call raises ``Cancelled``, and no request is made afterwards. It stays cancelled.
    """

    # No locks: a handler of signals may cancel while its own thread is anywhere.

    def __init__(self) -> None:
        self._cancelled = False
        self._stops: set[Callable[[], object]] = set()

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Give up; harmless when repeated."""
        self._cancelled = True
        for stop in [*self._stops]:
            stop()

    def watch(self, stop: Callable[[], object]) -> None:
        """Have ``stop`` called by ``cancel``, perhaps twice; at once if that was called before."""
        self._stops.add(stop)
        if self._cancelled:
            stop()

    def forget(self, stop: Callable[[], object]) -> None:
        """Undo ``watch``."""
        self._stops.discard(stop)


AMBIENT: ContextVar[Cancellation | None] = ContextVar("ambient", default=None)
"""What gives up all that is done in this context, besides what a call was handed."""


class Engine:
    """Has tasks done by ``width`` workers of one kind; 0 does them in the caller. Thread-safe.

    ``transport`` is what the tasks wait for, if they wait for nothing else (``blocking``).
    """

    def __init__(self, width: int, *, green: bool, transport: Transport | None = None) -> None:
        self.width = width
        self.green = green
        self.transport = transport
        self._lease: Lease | None = None
        self._of: Engine | None = None  # whose connections these are, if they are not ours to close
        self._lock = lock_that_outlasts_a_fork()  # guards the one above

    @property
    def name(self) -> str:
        """Which kind of worker: "inline", "threads" or "green"."""
        return ("green" if self.green else "threads") if self.width else "inline"

    def __repr__(self) -> str:
        return f"<Engine {self.name} width={self.width}>"

    def lock(self) -> AbstractContextManager[object]:
        """A lock that any number of workers of this kind may wait for, and its holder may take again."""
        if not self.green:
            return Lock()
        from .greenlets import green_lock

        return green_lock()

    @property
    def home(self) -> object:
        """What tasks must have in common for one ``Service`` to do them: the engine; the thread, if that is what its
        greenlets belong to. Goes when that does."""
        if not self.green:
            return self
        from ..transports.homes import home

        return home()

    @property
    def inline(self) -> bool:
        """Whether the caller does the work: as it wants to, or as no thread can be started any more."""
        return self.width == 0 or exiting.is_set()

    @property
    def carried(self) -> bool:
        """Whether carriers can do what only waits for the transport."""
        return (
            not self.green
            and self.width > 0
            and getattr(self.transport, "carried", False)
            and not sockets_are_patched()
        )

    def kit(self, crashed: Callable[[BaseException], None], *, blocking: bool) -> Kit:
        """The workers for one run; ``blocking`` says that they wait for other things than the transport."""
        if self.green:
            from .greenlets import GreenKit

            return GreenKit()
        if self.carried and not blocking:
            try:
                from .carriers import CarrierKit, Lease, fleet
            except ImportError:  # no greenlet: plain threads do the same, more slowly
                return ThreadKit(self.transport)
            if self._of is not None:
                return CarrierKit(fleet(), self.width, crashed)
            with self._lock:
                if self._lease is None:
                    self._lease = Lease()
                    weakref.finalize(self, self._lease.release, self._owner, wait=False).atexit = False
                lease = self._lease
            return CarrierKit(lease.fleet(), self.width, crashed)
        return ThreadKit(self.transport)

    @property
    def _owner(self) -> object:
        """Whose connections the transport's are."""
        return getattr(self.transport, "owner", None)

    def close(self) -> None:
        """Let go of connections, and of threads that nobody else in the process uses."""
        if self._lease is not None:
            self._lease.release(self._owner)

    def begin(self, crashed: Callable[[BaseException], None], *, blocking: bool = False) -> Run:
        """A run of this engine."""
        return Run(self, self.kit(crashed, blocking=blocking), self.width)

    def run(
        self,
        tasks: Iterable[Task[R]],
        *,
        blocking: bool = False,
        quick: bool = False,
        prepare: Prepare[R] | None = None,
        eager: bool = True,
        cancel: Cancellation | None = None,
    ) -> Generator[tuple[Task[R], Done[R]], None, None]:
        """Yield each task with its results, as they are done, in whatever order that is.

        ``tasks`` is read in the calling thread, at most a window ahead; what it raises is raised here, after the
        workers have been stopped. Closing the iterator stops them too, and so does ``cancel``, with ``Cancelled``.
        Without ``eager`` results come a few at a time, for less effort. ``quick`` tasks most likely wait for nothing.
        What tasks ``tell`` and ``ask`` is called here.
        """
        if self.inline:
            return _inline(Run(self, self.kit(_no_worker, blocking=True), 1), tasks, prepare, cancel)
        return _pooled(self, tasks, prepare, blocking=blocking, quick=quick, eager=eager, cancel=cancel)

    def side_by_side(self, function: Callable[[A], B], items: Sequence[A], at_once: int) -> Iterator[B]:
        """``function`` of each item, in order, up to ``at_once`` of them at the same time; raises the first error."""
        if self.inline or self.width < 2 or len(items) < 2 or at_once < 2:
            yield from map(function, items)
            return
        narrow = Engine(min(at_once, self.width), green=self.green, transport=self.transport)
        narrow._of = self
        ready: dict[int, B] = {}
        wanted = 0
        outcomes = narrow.run([_Call(number, function, item) for number, item in enumerate(items)])
        try:
            for _, done in outcomes:
                for number, (value, error) in done.results:
                    if error is not None:
                        raise error
                    ready[number] = value[0]
                while wanted in ready:
                    yield ready.pop(wanted)
                    wanted += 1
        finally:
            outcomes.close()


class _Call(Generic[A, B]):
    """A plain call as a task; its result is a list of the value, or an error."""

    unresolved = False
    weight = 0
    heavy = False
    cancelled = False

    def __init__(self, number: int, function: Callable[[A], B], item: A) -> None:
        self._number = number
        self._function = function
        self._item = item

    def turn(self, run: Run) -> Done[tuple[list[B], Exception | None]]:
        try:
            run.check()
            return Done(((self._number, ([self._function(self._item)], None)),))
        except Exception as error:  # noqa: BLE001 -- raised by ``side_by_side``
            return self.give_up(error)

    def give_up(self, error: Exception) -> Done[tuple[list[B], Exception | None]]:
        return Done(((self._number, ([], error)),))


def _no_worker(error: BaseException) -> None:
    raise error


def _inline(
    run: Run, tasks: Iterable[Task[R]], prepare: Prepare[R] | None, cancel: Cancellation | None
) -> Generator[tuple[Task[R], Done[R]], None, None]:
    source = iter(tasks)
    sizes = prepare.sizes() if prepare else None
    exhausted = False
    later = run.later = deque()  # what is told in the middle of a turn is for the time after it
    stop = run.give_up
    if cancel is not None:
        cancel.watch(stop)
    try:
        while not exhausted:
            batch: list[Task[R]] = []
            wanted = sizes.next(None) if sizes else 1
            for task in source:
                batch.append(task)
                if len(batch) >= wanted:
                    break
            else:
                exhausted = True
            unresolved = [task for task in batch if task.unresolved]
            while batch:
                if cancel is not None and cancel.cancelled:
                    raise Cancelled(GIVEN_UP)
                if prepare and sizes and unresolved:
                    prepare.resolve(unresolved, run, sizes)
                unresolved = []
                for task in batch:
                    while isinstance(outcome := task.turn(run), More):
                        _call_all(later)  # one worker takes all the turns
                    _call_all(later)
                    if cancel is not None and cancel.cancelled:
                        raise Cancelled(GIVEN_UP)
                    if outcome is UNRESOLVED:
                        unresolved.append(task)
                    elif isinstance(outcome, Done):
                        yield task, outcome
                batch = unresolved
    finally:
        if cancel is not None:
            cancel.forget(stop)


def _call_all(told: deque[Callable[[], object]]) -> None:
    while told:
        told.popleft()()


@dataclass(frozen=True)
class _Crash:
    """An exception that escaped from a worker, or that ends the batch."""

    error: BaseException


class _Backlog:
    """Bytes of results that nobody has taken yet; nothing is begun while there are too many."""

    def __init__(self) -> None:
        self.bytes = 0
        self._lock = threading.Lock()  # guards the one above, while it is changed

    @property
    def full(self) -> bool:
        """Read without the lock: a moment's error is harmless."""
        return self.bytes >= _MOST_BYTES

    def add(self, weight: int) -> bool:
        """Add bytes, or take some off; True if there were too many, and now are not."""
        with self._lock:
            was_full = self.full
            self.bytes += weight
            return was_full and not self.full


def _pooled(
    engine: Engine,
    tasks: Iterable[Task[R]],
    prepare: Prepare[R] | None,
    *,
    blocking: bool,
    quick: bool,
    eager: bool,
    cancel: Cancellation | None,
) -> Generator[tuple[Task[R], Done[R]], None, None]:
    def crashed(error: BaseException) -> None:
        workers.crash(error)

    run = engine.begin(crashed, blocking=blocking)
    mailbox: Mailbox[tuple[Task[R], Done[R]] | Callable[[], object] | _Crash] = Mailbox(run.kit)
    backlog = _Backlog()

    def deliver(task: Task[R], done: Done[R]) -> None:
        if done.weight:
            backlog.add(done.weight)
        mailbox.put((task, done))
        if backlog.full:
            mailbox.hurry()

    def told(error: BaseException) -> None:
        mailbox.put(_Crash(error), urgent=True)

    def post(function: Callable[[], object]) -> None:
        mailbox.put(function, urgent=True)

    def stop() -> None:
        told(Cancelled(GIVEN_UP))

    watch_collector()
    pid = os.getpid()
    run.post = post
    workers = Workers(run, engine.width, deliver, told, prepare=prepare, full=lambda: backlog.full, quick=quick)
    sizes = workers.sizes
    window = 2 * sizes.limit if sizes else max(_AHEAD * engine.width, 64)
    source = iter(tasks)
    in_flight = task_bytes = 0
    more, finished = True, False
    ready: deque[tuple[Task[R], Done[R]] | Callable[[], object] | _Crash] = deque()
    if cancel is not None:
        cancel.watch(stop)
    try:
        while True:
            if os.getpid() != pid:
                raise RuntimeError("an iterator is of the process that began it: begin another one after the fork")
            if not ready:
                room = more and in_flight < window and (task_bytes < _MOST_BYTES or not in_flight)
                if not room and not in_flight:
                    break
                ready.extend(mailbox.take(0 if room else 1 if eager or backlog.full else max(1, in_flight // 4)))
            if ready:
                outcome = ready.popleft()
                if isinstance(outcome, _Crash):
                    raise outcome.error
                if not isinstance(outcome, tuple):
                    outcome()
                    continue
                task, done = outcome
                in_flight -= 1
                task_bytes -= task.weight
                if done.weight and backlog.add(-done.weight):
                    workers.wake()
                yield outcome
            elif room:
                for task in source:
                    in_flight += 1
                    task_bytes += task.weight
                    workers.put(task)
                    break
                else:
                    more = False
                    workers.complete = True
                    workers.wake()
        finished = True
    finally:
        if cancel is not None:
            cancel.forget(stop)
        if os.getpid() == pid:  # else the workers are the parent's
            # the collector closes this wherever its thread is: within a lock of ours, or in a callback of libcurl's
            if here.collecting or here.carrier is not None or sys.is_finalizing():
                workers.abandon()
            else:
                workers.end(abort=not finished)


class Waiter(Protocol[R_contra]):
    """Whoever waits for what a ``Service`` does, such as a ``Future``: is told once, by any thread."""

    def set_result(self, result: R_contra, /) -> None:
        """This is it."""

    def set_exception(self, exception: BaseException | None, /) -> None:
        """There is none, for this reason."""


class Submitted(Future[R]):
    """What a ``Service`` was given to do. ``cancel`` also breaks off what is under way."""

    def __init__(self, service: Service[R], task: Task[R]) -> None:
        super().__init__()
        self._service = service
        self._task = task

    def cancel(self) -> bool:
        """Have the task end with ``Cancelled`` if it has not ended yet; whether that is so."""
        return self._service.cancel(self._task)


class Service(Generic[R]):
    """Has single tasks done, whoever they come from; those that come at the same time are resolved together.

    Its workers are there only while there is something to do. Thread-safe; a forked child needs one of its own.
    """

    def __init__(self, engine: Engine, prepare: Prepare[R] | None, *, blocking: bool = False) -> None:
        self.pid = os.getpid()
        self._run = engine.begin(self._crashed, blocking=blocking)
        self._green = engine.green
        self._workers: Workers[R] = Workers(
            self._run, max(1, engine.width), self._deliver, self._crashed, prepare=prepare, standing=True
        )
        self._waiting: dict[Task[R], Waiter[R]] = {}
        self._ended = False
        self._lock = threading.Lock()  # guards the two above; never held while anything is called

    def submit(self, task: Task[R]) -> Submitted[R]:
        """Have a task done; the future of its (first) result."""
        submitted = Submitted(self, task)
        self.begin(task, submitted)
        return submitted

    def begin(self, task: Task[R], waiter: Waiter[R]) -> None:
        """Have a task done, and tell the waiter; ``cancel`` breaks it off."""
        with self._lock:
            if self._ended:
                raise Cancelled(GIVEN_UP)
            self._waiting[task] = waiter
        try:
            self._workers.put(task)
        except BaseException:
            with self._lock:
                self._waiting.pop(task, None)
            raise

    def do(self, task: Task[R]) -> R:
        """Have a task done, and wait for its result; giving up on that (Ctrl-C, a timeout, what gives up all that is
        done here) breaks it off."""
        submitted = self.submit(task)
        stop = AMBIENT.get()
        if stop is not None:
            stop.watch(submitted.cancel)
        try:
            if self._green:
                gate = self._run.kit.gate()
                submitted.add_done_callback(gate.open)
                gate.wait()
            return submitted.result()
        except BaseException as error:
            submitted.cancel()
            if not isinstance(error, Exception):
                self._run.kit.retire()
            raise
        finally:
            if stop is not None:
                stop.forget(submitted.cancel)

    def _deliver(self, task: Task[R], done: Done[R]) -> None:
        with self._lock:
            waiter = self._waiting.pop(task, None)
        if waiter is not None:
            waiter.set_result(done.results[0][1])

    def _crashed(self, error: BaseException) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._ended = True
        for waiter in waiting.values():
            waiter.set_exception(error)

    @property
    def ended(self) -> bool:
        """Whether it takes no more tasks."""
        return self._ended

    def cancel(self, task: Task[R]) -> bool:
        """See ``Submitted.cancel``."""
        with self._lock:
            waiter = self._waiting.pop(task, None)
        if waiter is None:
            return False
        task.cancelled = True
        self._workers.give_up(task)
        waiter.set_exception(Cancelled(GIVEN_UP))
        return True

    def close(self) -> None:
        """End it: what is under way is broken off."""
        self._crashed(Cancelled(GIVEN_UP))
        self._workers.end(abort=True)
