"""One run of the engine, as its tasks see it: how to wait, whom to tell, and how to have the caller do something."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..errors import Cancelled
from .kits import GateLike, Kit
from .pace import Pace

if TYPE_CHECKING:
    from .pool import Engine

T = TypeVar("T")

GIVEN_UP = "the batch was given up"


class Run:
    """Workers of one kind at one batch. Thread-safe."""

    def __init__(self, engine: Engine, kit: Kit, width: int) -> None:
        self.engine = engine
        self.kit = kit
        self.cancelled = kit.flag()
        self.pace = Pace(max(1, width), self.sleep)
        self._asking: set[GateLike[object]] = set()  # where workers wait for the caller; added and removed atomically
        self.post: Callable[[Callable[[], object]], None] | None = None
        """Has the caller's thread call something soon; None where the caller is the worker."""
        self.later: deque[Callable[[], object]] | None = None
        """Where the caller is the worker: what it is to call when it is not at work."""

    def give_up(self) -> None:
        """End all waiting; whoever makes another attempt is told ``Cancelled``."""
        self.cancelled.set()
        for gate in [*self._asking]:
            gate.open(None)

    def sleep(self, seconds: float) -> None:
        """Wait, or raise ``Cancelled`` as soon as the run is given up."""
        if self.cancelled.wait(seconds):
            raise Cancelled(GIVEN_UP)

    def check(self) -> None:
        """Call before each attempt: sits out a common pause, raises ``Cancelled`` when the run is given up."""
        if not self.pace.calm:
            self.pace.wait()
        if self.cancelled.is_set():
            raise Cancelled(GIVEN_UP)

    def tell(self, function: Callable[[], object]) -> None:
        """Have the caller's thread call ``function``, in the order of telling, without waiting for that."""
        if self.post is not None:
            self.post(function)
        elif self.later is not None:
            self.later.append(function)
        else:
            function()

    def ask(self, function: Callable[[], T]) -> T:
        """The value of ``function``, called in the caller's thread: where a user's code belongs.

        What it raises is raised here. Only for tasks of a batch that somebody iterates over.
        """
        post = self.post
        if post is None:
            return function()
        answers: list[T] = []
        errors: list[BaseException] = []
        gate = self.kit.gate()

        def answer() -> None:
            try:
                answers.append(function())
            except Exception as error:  # noqa: BLE001 -- raised where it was asked for
                errors.append(error)
            except BaseException as error:  # Ctrl-C is the caller's, too
                errors.append(Cancelled(GIVEN_UP).with_traceback(error.__traceback__))
                raise
            finally:
                gate.open(None)

        self._asking.add(gate)
        try:
            if not self.cancelled.is_set():
                post(answer)
                gate.wait()
        finally:
            self._asking.discard(gate)
        if errors:
            raise errors[0]
        if not answers:
            raise Cancelled(GIVEN_UP)
        return answers[0]
