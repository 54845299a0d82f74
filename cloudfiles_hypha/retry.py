"""When to try again, and after what pause: the one place that decides it.

Errors say themselves whether they may pass (``retryable``) and how long the server asked to wait
(``retry_after``). The pauses are tenacity's full-jitter exponential; the first attempt costs nothing extra.
This module sleeps only through what it is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from .errors import ConnectionFailed, TransferError

T = TypeVar("T")


@dataclass(slots=True)
class FirstContact:
    """What is known of one server: whether it has ever answered. Until it has, a policy waits ``patience`` seconds for
    a connection; ``hint`` is said with the error then. For programs that somebody sits in front of."""

    patience: float
    hint: str
    made: bool = False

    def lacks(self, error: BaseException | None) -> bool:
        """Whether this is one more attempt that has not even led to a connection."""
        if isinstance(error, TransferError) and not error.connected:
            return not self.made
        self.made = True
        return False

    def give_up(self, error: TransferError) -> ConnectionFailed:
        """The error that all of them amount to."""
        last = ConnectionFailed(f"{error.args[0]}; it has never answered; {self.hint}", path=error.path)
        last.attempts, last.connected, last.answered = error.attempts, False, False
        return last


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long one item is tried.

    No pause is begun that would end more than ``elapsed`` seconds after the start; ``attempts`` limits how often it is
    tried, None does not. The n-th pause is drawn evenly from 0 to ``first * 2**n`` seconds, but at most ``longest``; a
    ``Retry-After`` from the server makes it longer. The defaults outlast a server's restart. ``contact`` is the command
    line's, which is less patient with a server that has never answered.
    """

    attempts: int | None = None
    first: float = 0.5
    longest: float = 20.0
    elapsed: float = 300.0
    contact: FirstContact | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.attempts is not None and self.attempts < 1) or self.first < 0 or self.longest < 0 or self.elapsed < 0:
            raise ValueError(f"{self}: attempts must be at least 1 (or None), the seconds not negative")

    def run(
        self, attempt: Callable[[], T], sleep: Callable[[float], None], failed: Callable[[TransferError], None]
    ) -> tuple[T, int]:
        """Call ``attempt`` until it succeeds; its value and how many attempts that took.

        ``failed`` is told of each failure that will be tried again, before the pause. The error that ends it
        has an ``attempts`` attribute.
        """
        began, contact = time.monotonic(), self.contact
        try:
            value, attempts = attempt(), 1
        except TransferError as error:
            error.attempts = 1
            if not error.retryable or self.attempts == 1:
                raise
            try:
                value, attempts = self._again(attempt, error, began, sleep, failed)
            except TransferError as last:
                if contact is not None and contact.lacks(last):
                    raise contact.give_up(last) from last
                raise
        if contact is not None:
            contact.made = True
        return value, attempts

    def _again(
        self,
        attempt: Callable[[], T],
        first: TransferError,
        began: float,
        sleep: Callable[[float], None],
        failed: Callable[[TransferError], None],
    ) -> tuple[T, int]:
        import tenacity  # only here: most items succeed at once, and importing it takes tens of milliseconds

        jitter = tenacity.wait_random_exponential(multiplier=self.first, max=self.longest)

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return max(jitter(state), getattr(error, "retry_after", None) or 0.0)

        def tell(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, TransferError):
                failed(error)

        enough: tenacity.stop.stop_base = tenacity.stop_before_delay(self.elapsed)
        if self.attempts is not None:
            enough |= tenacity.stop_after_attempt(self.attempts)
        contact = self.contact
        soon = enough if contact is None else enough | tenacity.stop_before_delay(contact.patience)

        def stop(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            return (soon if contact is not None and contact.lacks(error) else enough)(state)

        retrying = tenacity.Retrying(
            stop=stop,
            wait=pause,
            retry=tenacity.retry_if_exception(lambda error: getattr(error, "retryable", False)),
            before_sleep=tell,
            sleep=sleep,
            reraise=True,
        )
        pending: TransferError | None = first  # the attempt already made counts as the first
        for state in retrying:
            state.retry_state.start_time = began
            with state:
                try:
                    if pending is not None:
                        raise pending
                    value = attempt()
                    return value, state.retry_state.attempt_number
                except TransferError as error:
                    error.attempts = state.retry_state.attempt_number
                    raise
                finally:
                    pending = None
        raise AssertionError("tenacity ends with a value or an error")
