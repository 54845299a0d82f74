"""How a backend's own calls are repeated, spaced and kept apart: ``backends.base.Control`` over one run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from ..backends.base import Flag
from ..engine.locks import named_lock
from ..engine.outcomes import Task
from ..engine.pool import Cancellation
from ..engine.run import GIVEN_UP, Run
from ..errors import Cancelled, TransferError
from ..retry import RetryPolicy

if TYPE_CHECKING:
    from ..transports.base import Transport

T = TypeVar("T")
R = TypeVar("R")


def _never() -> bool:
    return False


class _Breaking:
    """Has one thread's requests broken off, as long as it is at them: later its number may be another's."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._thread = threading.get_ident()
        self._over = False
        self._broken = ExitStack()
        self._lock = threading.RLock()  # guards the two above; a handler of signals may come in between

    def begin(self) -> None:
        """From any thread: break off what is under way, and let nothing new begin."""
        with self._lock:
            if not self._over:
                self._broken.enter_context(self._transport.aborting([self._thread]))

    def end(self) -> None:
        """The thread goes on to something else."""
        with self._lock:
            self._over = True
            self._broken.close()


@contextmanager
def broken_off(stop: Cancellation, transport: Transport) -> Iterator[None]:
    """Have ``stop`` break off what this thread asks for in the block."""
    breaking = _Breaking(transport)
    stop.watch(breaking.begin)
    try:
        yield
    finally:
        stop.forget(breaking.begin)
        breaking.end()


class RunControl:
    """The policy's retries, the run's pauses, the engine's locks; given up with the run, or with all of ``tasks``.
    Each attempt is made within an ``around``."""

    def __init__(
        self,
        policy: RetryPolicy,
        run: Run,
        tasks: Sequence[Task[object]] = (),
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._policy = policy
        self._run = run
        self._tasks = tasks
        self._around = around
        self.over = False
        self.lingers: Callable[[], bool] = _never

    def retry(self, attempt: Callable[[], T]) -> T:
        """Make an attempt until it succeeds, within the policy."""

        def checked() -> T:
            self.check()
            with self._around():
                return self._run.pace.attempt(attempt)

        try:
            return self._policy.run(checked, self._run.sleep, self._run.pace.complaint)[0]
        except TransferError as error:
            if error.retryable and (error.retry_after or 0.0) > self._policy.elapsed:
                self._run.pace.refusal(error)  # nobody else need ask
            raise

    def check(self) -> None:
        """Raise ``Cancelled`` when nobody waits for this any more."""
        self._run.check()
        if self._tasks and all(task.cancelled for task in self._tasks):
            raise Cancelled(GIVEN_UP)

    def sleep(self, seconds: float) -> None:
        """Wait; raises ``Cancelled`` as soon as the run is given up."""
        self._run.sleep(seconds)

    def lock(self, name: str) -> AbstractContextManager[object]:
        """The lock of this name."""
        return named_lock(self._run.engine, name)

    def flag(self) -> Flag:
        """A flag for workers of this kind."""
        return self._run.kit.flag()

    def map(self, function: Callable[[T], R], items: Sequence[T], at_once: int) -> Iterator[R]:
        """``function`` of each item, in order, up to ``at_once`` of them side by side."""
        return self._run.engine.side_by_side(function, items, at_once)
