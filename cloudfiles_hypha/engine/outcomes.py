"""What the engine knows of the work it carries: tasks take turns, and each turn has one of three outcomes.

No I/O. What a task does is its own business (``transfers``); the engine asks it for nothing but what stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from ..plan.batches import BatchSizes
    from .run import Run

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Done(Generic[R_co]):
    """The task has ended: its results, each with the number of the item it is of, and their bytes in memory."""

    __slots__ = ("results", "weight")

    def __init__(self, results: Sequence[tuple[int, R_co]], weight: int = 0) -> None:
        self.results = results
        self.weight = weight


@dataclass(frozen=True, slots=True)
class More:
    """The task goes on in parts: so many more workers are to take a turn at it."""

    turns: int


class Unresolved(Enum):
    """The task is to be resolved (once more), and then to have another turn."""

    UNRESOLVED = 0


UNRESOLVED: Final = Unresolved.UNRESOLVED

Outcome = Done[R] | More | Unresolved
"""What a turn gives back."""


class Task(Protocol[R_co]):
    """One item's work, or that of several items which is done as one."""

    unresolved: bool
    """To be resolved before its first turn."""
    weight: int
    """Bytes of input that it keeps in memory."""
    cancelled: bool
    """Nobody waits for it any more: no further attempt."""
    heavy: bool
    """Large enough for several workers, or for a core of its own."""

    def turn(self, run: Run) -> Done[R_co] | More | Unresolved:
        """Do the work, or one part of it. What goes wrong with the item is part of its results: must not raise."""

    def give_up(self, error: Exception) -> Done[R_co]:
        """The results of a task that has no further turn, because of ``error``."""


@dataclass(frozen=True)
class Prepare(Generic[R]):
    """How to resolve tasks before they are worked on.

    ``resolve`` is given one batch at a time, of the length that ``sizes`` says, and keeps what it finds out in the
    tasks; it tells the sizes what the call took. It must not raise for an item's sake.
    """

    resolve: Callable[[Sequence[Task[R]], Run, BatchSizes], None]
    sizes: Callable[[], BatchSizes]
