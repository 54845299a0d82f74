"""What a node does, in steps: written once, as generators that yield what they wait for, and done by a thread or in a
coroutine.

Single reads are futures of the pool, which cost a coroutine no thread and are signed together; anything else is called.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ..arguments import Source
from ..bridge import call, content_of
from ..files import ArtifactFiles

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Get:
    """The bytes of one file."""

    files: ArtifactFiles
    name: str
    version: str | None = None

    @property
    def source(self) -> Source:
        """As ``ArtifactFiles`` takes it."""
        return self.name if self.version is None else {"path": self.name, "version": self.version}


@dataclass(frozen=True, slots=True)
class Head:
    """The ``ObjectInfo`` of one file."""

    files: ArtifactFiles
    name: str
    version: str | None = None


Step = Get | Head | Callable[[], Any]
Steps = Generator[Step, Any, R]


def do(steps: Steps[R]) -> R:
    """Take the steps in this thread."""
    try:
        step = next(steps)
        while True:
            try:
                value = _done(step)
            except Exception as error:  # noqa: BLE001 -- raised where the step was asked for
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as end:
        found: R = end.value
        return found


async def do_awaited(steps: Steps[R]) -> R:
    """Take the steps in the loop that runs."""
    try:
        step = next(steps)
        while True:
            try:
                value = await _awaited(step)
            except Exception as error:  # noqa: BLE001 -- raised where the step was asked for
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as end:
        found: R = end.value
        return found


def _done(step: Step) -> Any:
    if isinstance(step, Get):
        return step.files.get(step.source)
    if isinstance(step, Head):
        return step.files.head(step.name, version=step.version)
    return step()


def _awaited(step: Step) -> Coroutine[Any, Any, Any]:
    if isinstance(step, Get):
        return content_of(partial(step.files._begin, step.source))
    if isinstance(step, Head):
        return content_of(partial(step.files._begin_head, step.name, version=step.version))
    return call(step)
