"""One item's work: how it is attempted, what a refused ticket means, what becomes of errors.

Each kind of work is a class of its own (``get``, ``put``, ``head``, ``save``) with a ``turn``; the
engine calls that, and knows nothing else of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from ..backends.base import Backend, Control, StaleTicket, Ticket
from ..engine.outcomes import UNRESOLVED, Done, More, Unresolved
from ..engine.run import GIVEN_UP, Run
from ..errors import AccessDenied, Cancelled, TransferError
from ..progress import Item, Observer
from ..recording.flights import Flight, now
from ..retry import RetryPolicy

T = TypeVar("T")
R = TypeVar("R")

# How often an item's URL is signed anew before the store's refusal is believed.
FRESH_TICKETS = 2


@dataclass(frozen=True, slots=True)
class Context:
    """What the tasks of one batch share."""

    backend: Backend
    policy: RetryPolicy
    width: int = 1
    moved: Callable[[int], None] | None = None
    """Told in the caller's thread of bytes that have moved, if anybody watches."""
    observer: Observer | None = None
    resumed: Callable[[int], None] | None = None
    """Likewise of bytes that an earlier run had left (negative: that are of no use after all)."""
    sized: Callable[[str, int], None] | None = None
    """Likewise of how large a file is, once that is known."""

    def at(self, version: str | None) -> Context:
        """The same, for what is read of another version; ``None`` is what is there now."""
        return self if version is None else replace(self, backend=self.backend.at(version))


class Task(Generic[R]):
    """One item on its way through the engine; see ``engine.outcomes.Task``."""

    __slots__ = (
        "attempts",
        "cancelled",
        "context",
        "flight",
        "index",
        "name",
        "path",
        "refused",
        "stale",
        "ticket",
        "unresolved",
    )

    weight = 0
    heavy = False

    def __init__(self, context: Context, index: int, name: str, path: str) -> None:
        self.context = context
        self.flight: Flight | None = None  # where it is recorded
        self.index = index
        self.name = name  # as the user wrote it, without the prefix
        self.path = path
        self.ticket: Ticket = None
        self.refused: tuple[Ticket, ...] = ()  # all that the store refused
        self.stale = 0  # how many it has refused in a row
        self.attempts = 0
        self.cancelled = False
        self.unresolved = context.backend.can.batched

    @property
    def tags(self) -> object:
        """The user's own."""
        return None

    @property
    def version(self) -> str | None:
        """The version that it is about, if not what is there now; its ``context`` is the one at that."""
        return None

    @property
    def item(self) -> Item:
        """What an observer is told."""
        return Item(self.index, self.name, self.tags)

    def resolve(self, control: Control) -> bool:
        """Find out by itself what it needs; False if its name is to be resolved along with others."""
        return False

    def turn(self, run: Run) -> Done[R] | More | Unresolved:
        """Do the work; what goes wrong is part of the results."""
        ticket = self.ticket
        try:
            if isinstance(ticket, Exception):
                return self.end(run, self.give_up(ticket), ticket)
            if self.context.observer is None:
                outcome = self.work(run)
                if self.flight is not None:
                    self.flight.end = now()
                return outcome
            self.observe_start(run)
            outcome = self.work(run)
            return self.end(run, outcome) if isinstance(outcome, Done) else outcome
        except StaleTicket as error:
            denied = self.went_stale(error, ticket)
            return UNRESOLVED if denied is None else self.end(run, self.give_up(denied), denied)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is this item's, and is reported with it
            return self.end(run, self.give_up(error), error)

    def work(self, run: Run) -> Done[R] | More:
        """What a ``turn`` is for; may raise."""
        raise NotImplementedError

    def give_up(self, error: Exception) -> Done[R]:
        """The results of an item that failed."""
        raise NotImplementedError

    def attempt(self, run: Run, call: Callable[[], T]) -> T:
        """The value of ``call``, made within the retry policy; raises what ends that."""
        value, self.attempts = self.attempt_counted(run, call)
        return value

    def attempt_counted(self, run: Run, call: Callable[[], T], policy: RetryPolicy | None = None) -> tuple[T, int]:
        """Likewise, with how many attempts it took, and perhaps within another policy; for items that several workers
        are at."""

        def checked() -> T:
            if flight is not None and not run.pace.calm:
                flight.failed_at = flight.failed_at or now()  # not by it, but it waits as if
            run.check()
            if flight is not None and flight.failed_at:
                flight.goes_on()
            if self.cancelled:
                raise Cancelled(GIVEN_UP)
            return run.pace.attempt(call)

        context = self.context
        policy = policy or context.policy
        flight = self.flight
        failed: Callable[[TransferError], None] = run.pace.complaint
        if flight is not None:
            failed = flight.begin(failed)
        if context.observer is not None:
            failed = partial(self._failed, run, failed)
        try:
            return policy.run(checked, run.sleep, failed)
        except TransferError as error:
            if (error.retry_after or 0.0) > policy.elapsed and error.retryable:
                run.pace.refusal(error)  # nobody else need ask
            raise

    def _failed(self, run: Run, noted: Callable[[TransferError], None], error: TransferError) -> None:
        noted(error)
        observer = self.context.observer
        if observer is not None:
            run.tell(lambda: observer.failed(self.item, error.attempts, error))

    def went_stale(self, error: StaleTicket, ticket: Ticket) -> AccessDenied | None:
        """The store has refused ``ticket``: None if a fresh one is worth asking for, else the error that it is."""
        # else another worker's part has met with the same refusal, perhaps some time ago
        if not any(ticket is refused for refused in self.refused):
            self.refused += (ticket,)
            self.stale += 1
        if self.stale <= FRESH_TICKETS:
            return None
        denied = AccessDenied(str(error.args[0]), status=error.status)
        denied.attempts = self.stale
        return denied

    def moved(self, run: Run, size: int) -> None:
        """Tell whoever watches of bytes that have moved."""
        told, observer = self.context.moved, self.context.observer
        if told is not None:
            run.tell(lambda: told(size))
        if observer is not None:
            run.tell(lambda: observer.moved(self.item, size))

    def arrived(self, run: Run, size: int) -> None:
        """Tell an observer of bytes that have moved all at once; a bar counts them with the result."""
        observer = self.context.observer
        if observer is not None:
            run.tell(lambda: observer.moved(self.item, size))

    def observe_start(self, run: Run) -> None:
        """Tell an observer that the item begins, once."""
        observer = self.context.observer
        if observer is not None and not self.attempts and not self.stale:
            run.tell(lambda: observer.started(self.item))

    def end(self, run: Run, done: Done[R], error: Exception | None = None) -> Done[R]:
        """Tell an observer that the item has ended; ``done`` itself."""
        if self.flight is not None:
            self.flight.end = now()
        observer = self.context.observer
        if observer is not None:
            run.tell(lambda: observer.ended(self.item, error))
        return done


def attempts_of(error: Exception) -> int:
    """How many attempts an item took that ended with this error."""
    return getattr(error, "attempts", 1)
