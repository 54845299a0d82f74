"""The run of a batch: tasks through the engine, names resolved where the backend wants that, writes in a session.

``files`` and ``tree`` make tasks of what users want; this runs them and gives their results back in order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from ..backends.base import Backend, Control, Resolver, WriteSession
from ..content.sources import Stream
from ..engine.outcomes import Done, Prepare
from ..engine.outcomes import Task as AnyTask
from ..engine.pool import AMBIENT, Cancellation, Engine, Service, Waiter
from ..engine.run import Run
from ..engine.waiting import lock_that_outlasts_a_fork
from ..errors import CommitError, TransferError
from ..plan.batches import BatchSizes
from ..progress import Observer, Progress
from ..recording.flights import LOGS, Log, now, queued
from ..results import Result, content_size, report_lost
from ..retry import RetryPolicy
from .control import RunControl, broken_off
from .head import Compare, Head
from .put import Put, PutEncoded
from .task import Context, Task

if TYPE_CHECKING:
    from collections.abc import Generator

R = TypeVar("R")
_Resolve = Callable[[Sequence[str], Control, BatchSizes], list[object]]


class Batches:
    """Runs batches at one backend. Thread-safe."""

    def __init__(
        self, backend: Backend, engine: Engine, policy: RetryPolicy, prefix: str, observer: Observer | None
    ) -> None:
        self.backend = backend
        self.engine = engine
        self.inline = Engine(0, green=engine.green, transport=engine.transport)
        self.policy = policy
        self.prefix = prefix
        self.observer = observer
        self.logs: tuple[Log, ...] = ()  # who records all calls
        # by who may share one, which goes when its thread does, and by whether it is silent
        self._services: WeakKeyDictionary[object, dict[bool, Service[Result]]] = WeakKeyDictionary()
        self._lock = lock_that_outlasts_a_fork()  # guards the one above

    def control(self, *, looking: bool = False) -> Control:
        """For calls of the backend's own, made in the caller's thread. Those that change nothing (``looking``) are
        broken off under way where they are given up; the others end first, so that it is known what they did."""
        run = Run(self.engine, self.inline.kit(_raise, blocking=True), 1)
        ambient, transport = AMBIENT.get(), self.engine.transport
        if ambient is None:
            return RunControl(self.policy, run)
        ambient.watch(run.give_up)
        if not looking or transport is None or self.engine.green:
            return RunControl(self.policy, run)
        return RunControl(self.policy, run, around=partial(broken_off, ambient, transport))

    def context(self, bar: Progress | None = None, backend: Backend | None = None) -> Context:
        """What the tasks of one batch share."""
        moved = bar.moved if bar is not None and bar.shown else None
        resumed = bar.resumed if bar is not None and bar.shown else None
        sized = bar.sized if bar is not None and bar.shown else None
        return Context(
            backend or self.backend, self.policy, max(1, self.engine.width), moved, self.observer, resumed, sized
        )

    # -- reads ------------------------------------------------------------------------------------------------

    def stream(
        self,
        tasks: Iterable[Task[R]],
        resolver: Resolver | WriteSession | None,
        *,
        engine: Engine | None = None,
        eager: bool = True,
        blocking: bool = False,
        cancel: Cancellation | None = None,
    ) -> Generator[tuple[int, R], None, None]:
        """The results of tasks, each with its item's number, as they are done. Close it."""
        outcomes = self._outcomes(tasks, resolver, engine, eager=eager, blocking=blocking, cancel=cancel)
        with closing(outcomes):
            for _, done in outcomes:
                yield from done.results

    def _outcomes(
        self,
        tasks: Iterable[Task[R]],
        resolver: Resolver | WriteSession | None,
        engine: Engine | None,
        *,
        eager: bool,
        blocking: bool,
        cancel: Cancellation | None,
        prepare: Prepare[Any] | None = None,
    ) -> Generator[tuple[AnyTask[R], Done[R]], None, None]:
        can = self.backend.can
        if prepare is None and resolver is not None and (can.batched or can.multipart or can.growing):
            prepare = self._prepare(resolver)
        logs = self.recording
        outcomes = (engine or self.engine).run(
            queued(tasks, logs) if logs else tasks,
            blocking=blocking or can.blocking,
            quick=can.blocking,
            prepare=prepare,
            eager=eager,
            cancel=cancel or AMBIENT.get(),
        )
        return _recorded(outcomes, logs) if logs else outcomes

    @property
    def recording(self) -> tuple[Log, ...]:
        """Who records a call that is made now."""
        return self.logs + LOGS.get()

    def collect(
        self,
        tasks: Iterable[Task[R]],
        resolver: Resolver | WriteSession | None,
        bar: Progress | None = None,
        *,
        engine: Engine | None = None,
        blocking: bool = False,
        cancel: Cancellation | None = None,
        noted: Callable[[int, R], None] | None = None,
        prepare: Prepare[Any] | None = None,
    ) -> list[R]:
        """All results, in input order; ``noted`` is told of each as it comes."""
        results: list[R | None] = []
        watched = bar is not None and bar.shown
        try:
            outcomes = self._outcomes(
                tasks, resolver, engine, eager=watched, blocking=blocking, cancel=cancel, prepare=prepare
            )
            # an exception whose traceback somebody keeps must not keep the workers at work
            with closing(outcomes):
                for _, done in outcomes:
                    for index, result in done.results:
                        if index >= len(results):
                            results.extend([None] * (index + 1 - len(results)))
                        results[index] = result
                        if noted is not None:
                            noted(index, result)
        finally:
            if bar is not None:
                bar.close()
        return cast("list[R]", results)

    def one(self, task: Task[Result], *, silent: bool = False) -> Result:
        """The result of a single read. Those of several threads that come at the same time are resolved together."""
        can = self.backend.can
        alone = self.engine.inline or not (can.batched or (self.engine.carried and not can.blocking))
        if alone or self._watched:
            resolver = self.backend.reading(silent=silent) if self.backend.can.batched else None
            return self.collect([task], resolver, engine=self.inline if alone else None)[0]
        return self._service(silent).do(task)

    @property
    def _watched(self) -> bool:
        """Whether a caller's thread has to be there, for an observer, which is the user's code; not so in a service."""
        return self.observer is not None or bool(self.recording)

    def submit(self, task: Task[Result], *, silent: bool = False) -> Future[Result] | None:
        """The future of a single read, whose error is in its result; None where somebody has to wait for it."""
        return None if self._in_caller else self._service(silent).submit(task)

    def begin(self, task: Task[Result], waiter: Waiter[Result], *, silent: bool = False) -> Callable[[], bool] | None:
        """Have a waiter told what ``submit`` is the future of; what breaks it off."""
        if self._in_caller:
            return None
        service = self._service(silent)
        service.begin(task, waiter)
        return partial(service.cancel, task)

    @property
    def _in_caller(self) -> bool:
        """Whether single reads need a thread that waits, and does what is the caller's."""
        return self.engine.inline or self.engine.green or self._watched

    def wait(self, future: Future[Any]) -> None:
        """Wait, as workers of this kind do, until a future is done."""
        if not future.done():
            gate = self.inline.kit(_raise, blocking=True).gate()
            future.add_done_callback(gate.open)
            gate.wait()

    def _service(self, silent: bool) -> Service[Result]:
        home = self.engine.home
        with self._lock:
            services = self._services.setdefault(home, {})
            service = services.get(silent)
            if service is None or service.ended or service.pid != os.getpid():
                prepare = self._prepare_singles(silent) if self.backend.can.batched else None
                service = services[silent] = Service(self.engine, prepare, blocking=self.backend.can.blocking)
            return service

    def close(self) -> None:
        """End what single reads have left; let go of threads and connections."""
        with self._lock:
            services, self._services = self._services, WeakKeyDictionary()
        for service in services.get(self.engine.home, {}).values():
            if service.pid == os.getpid():
                service.close()
        self.engine.close()

    # -- names ------------------------------------------------------------------------------------------------

    def _prepare(self, resolver: Resolver | WriteSession) -> Prepare[Any]:
        return Prepare(_Resolution(resolver.resolve, self.policy), resolver.sizes)

    def _prepare_singles(self, silent: bool) -> Prepare[Any]:
        """Names that come at the same time are one batch; the next ones another."""
        backend = self.backend

        def resolve(paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[object]:
            return backend.reading(silent=silent).resolve(paths, control, sizes)

        return Prepare(_Resolution(resolve, self.policy), backend.reading(silent=silent).sizes)

    # -- writes -----------------------------------------------------------------------------------------------

    def write(
        self,
        verb: str,
        tasks: Callable[[WriteSession], Iterable[Task[Result]]],
        bar: Progress | None,
        *,
        engine: Engine | None = None,
        blocking: bool = False,
        cancel: Cancellation | None = None,
        prepare: Callable[[WriteSession], Prepare[Any] | None] | None = None,
        elsewhere: Callable[[WriteSession], list[Result]] | None = None,
    ) -> list[Result]:
        """Carry out writes within a session of the backend; all results, in input order.

        ``prepare`` says how the tasks of a session are resolved, if not by the session alone. ``elsewhere`` has it all
        done by others on behalf of the session, so that there are no tasks.
        """
        results: list[Result] = []
        ended = False
        control = self.control()

        streams: dict[int, Stream] = {}  # what has not ended, by number
        moved: dict[int, int] = {}  # bytes that a bar is to be told of at the end, where these are not the stored ones

        def noted(index: int, result: Result) -> None:
            streams.pop(index, None)
            if bar is not None:
                bar.add(moved.get(index, content_size(result)))

        def counted(session: WriteSession) -> Iterable[Task[Result]]:
            for task in tasks(session):
                if isinstance(task, Put) and isinstance(task.request.body, Stream):
                    streams[task.index] = task.request.body
                    fed = task.request.body.fed
                    if fed is not None:
                        control.lingers = partial(getattr, fed, "open")
                if isinstance(task, Put) and task.tells_bar:
                    moved[task.index] = 0  # it is told of them as they move
                elif isinstance(task, PutEncoded):
                    moved[task.index] = task.request.size
                yield task

        try:
            try:
                with self.backend.writing(control) as session:
                    if elsewhere is not None:
                        results = elsewhere(session)
                        session.written_elsewhere([self.prefix + result["path"] for result in results])
                    else:
                        results = self.collect(
                            counted(session),
                            session,
                            bar,
                            engine=engine,
                            blocking=blocking,
                            cancel=cancel,
                            noted=noted,
                            prepare=None if prepare is None else prepare(session),
                        )
                    for result in results:
                        path = self.prefix + result["path"]
                        if result["error"] is None:
                            session.succeeded(path)
                        else:
                            session.failed(path)
                    ended = True
            finally:
                control.over = True  # and again below: Ctrl-C may come before one of the two
            if session.lost:
                report_lost(results, {path[len(self.prefix) :] for path in session.lost})
        except TransferError as error:
            if ended and any(result["error"] is None for result in results):
                raise CommitError(
                    f"{verb}: the files are uploaded and staged, but not committed: {error}", results
                ) from error
            raise
        finally:
            control.over = True
            if bar is not None:
                bar.close()
            for stream in [*streams.values()]:  # given up: what was begun lets go of what it has open
                if stream.size:
                    stream.close()
        return results

    def take_up(self) -> bool:
        """See ``Backend.take_up``."""
        control = self.control()
        try:
            return self.backend.take_up(control)
        finally:
            control.over = True


class _Resolution:
    """Resolves the tasks of one run, batch by batch."""

    def __init__(self, resolve: _Resolve, policy: RetryPolicy) -> None:
        self._resolve = resolve
        self._patience = self._policy = policy

    def __call__(self, batch: Sequence[AnyTask[Any]], run: Run, sizes: BatchSizes) -> None:
        flights = [task.flight for task in cast("Sequence[Task[Any]]", batch) if task.flight is not None]
        began = now() if flights else 0.0
        try:
            self._find(batch, run, sizes)
        finally:
            for flight in flights:
                flight.signed = now()
            for log in flights[0].logs if flights else ():
                log.resolved(began, len(flights))

    def _find(self, batch: Sequence[AnyTask[Any]], run: Run, sizes: BatchSizes) -> None:
        control = RunControl(self._policy, run, batch)
        named = [task for task in cast("Sequence[Task[Any]]", batch) if not task.resolve(control)]
        if not named:
            return
        tickets: list[object] = []
        for together, resolve in self._of_one_version(named):
            found = resolve([task.path for task in together], control, sizes)
            tickets += found
            for task, ticket in zip(together, found, strict=True):
                task.ticket = ticket
        # A server that was out of reach for one batch's whole patience gets one try for each further one, until it
        # answers again: a long run must not wait as long for every batch.
        lost = all(isinstance(ticket, TransferError) and ticket.retryable for ticket in tickets)
        self._policy = replace(self._patience, attempts=1) if lost else self._patience

    def _of_one_version(self, tasks: list[Task[Any]]) -> Iterable[tuple[list[Task[Any]], _Resolve]]:
        """Tasks that are resolved together, each with what does that: mostly all, of what is there now."""
        if all(task.version is None for task in tasks):
            return [(tasks, self._resolve)]
        apart: dict[tuple[str | None, bool], list[Task[Any]]] = {}
        for task in tasks:
            apart.setdefault((task.version, isinstance(task, Head | Compare)), []).append(task)
        return [
            (
                some,
                self._resolve if version is None else some[0].context.backend.reading(silent=silent).resolve,
            )
            for (version, silent), some in apart.items()
        ]


def _recorded(
    outcomes: Generator[tuple[AnyTask[R], Done[R]], None, None], logs: tuple[Log, ...]
) -> Generator[tuple[AnyTask[R], Done[R]], None, None]:
    """The outcomes, each of them noted."""
    for log in logs:
        log.call_began()
    try:
        for task, done in outcomes:
            flight = cast("Task[R]", task).flight
            if flight is not None:
                flight.landed(done.results)
            yield task, done
    finally:
        outcomes.close()
        for log in logs:
            log.call_ended()


def _raise(error: BaseException) -> None:
    raise error
