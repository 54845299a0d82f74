"""Tasks for tests of the engine alone: a function of an item and the run it is part of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cloudfiles_hypha.engine.outcomes import UNRESOLVED, Done, More, Prepare, Unresolved
from cloudfiles_hypha.engine.pool import Engine
from cloudfiles_hypha.engine.run import Run
from cloudfiles_hypha.plan.batches import BatchSizes

AGAIN = UNRESOLVED


class Work:
    """One item; ``function`` returns its result, ``AGAIN``, or ``More``."""

    def __init__(self, item: Any, function: Callable[[Any, Run], Any], *, resolved: bool, weight: int, heavy: bool):
        self.item = item
        self.function = function
        self.unresolved = not resolved
        self.weight = weight
        self.heavy = heavy
        self.result_weight = 0
        self.cancelled = False

    def turn(self, run: Run) -> Done[Any] | More | Unresolved:
        outcome = self.function(self.item, run)
        if outcome is UNRESOLVED or isinstance(outcome, More):
            return outcome
        return Done(((0, outcome),), self.result_weight)

    def give_up(self, error: Exception) -> Done[Any]:
        return Done(((0, error),))


def prepare_with(
    resolve: Callable[[Sequence[Any], Run, BatchSizes], None], sizes: Callable[[], BatchSizes]
) -> Prepare[Any]:
    """``Prepare`` that is told of items."""

    def resolve_tasks(tasks: Sequence[Any], run: Run, sizes: BatchSizes) -> None:
        resolve([task.item for task in tasks], run, sizes)

    return Prepare(resolve_tasks, sizes)


def run(
    engine: Engine,
    items: Iterable[Any],
    work: Callable[[Any, Run], Any],
    *,
    prepare: Prepare[Any] | None = None,
    weigh_item: int = 0,
    weigh_result: int = 0,
    heavy: Callable[[Any], bool] = lambda item: False,
    **options: Any,
) -> Iterator[tuple[Any, Any]]:
    """Each item with what ``work`` made of it."""

    def tasks() -> Iterator[Work]:
        for item in items:
            task = Work(item, work, resolved=prepare is None, weight=weigh_item, heavy=heavy(item))
            task.result_weight = weigh_result
            yield task

    outcomes = engine.run(tasks(), prepare=prepare, **options)
    try:
        for task, done in outcomes:
            yield task.item, done.results[0][1]  # type: ignore[attr-defined]
    finally:
        outcomes.close()  # type: ignore[attr-defined]
