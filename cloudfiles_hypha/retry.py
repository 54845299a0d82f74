"""When to try again, and after what pause: the one place that decides it.

Errors say themselves whether they may pass (``retryable``) and how long the server asked to wait
(``retry_after``). The pauses are tenacity's full-jitter exponential; the first attempt costs nothing extra.
This module sleeps only through what it is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .errors import TransferError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long one item is tried.

    No pause is begun that would end more than ``elapsed`` seconds after the start; ``attempts`` limits how often it is
    tried, None does not. The n-th pause is drawn evenly from 0 to ``first * 2**n`` seconds, but at most ``longest``; a
    ``Retry-After`` from the server makes it longer. The defaults outlast a server's restart.
    """

    attempts: int | None = None
    first: float = 0.5
    longest: float = 20.0
    elapsed: float = 300.0

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
        began = time.monotonic()
        try:
            return attempt(), 1
        except TransferError as error:
            error.attempts = 1
            if not error.retryable or self.attempts == 1:
                raise
            return self._again(attempt, error, began, sleep, failed)

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

        stop: tenacity.stop.stop_base = tenacity.stop_before_delay(self.elapsed)
        if self.attempts is not None:
            stop |= tenacity.stop_after_attempt(self.attempts)
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
