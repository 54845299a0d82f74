"""How fast one pool may go, as servers ask for it: a common pause, fewer workers, and refusals that concern all."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import TransferError

T = TypeVar("T")


class Pace:
    """One pool's common pause and its present width.

    A ``Retry-After`` makes every worker wait, once; each such answer halves how many workers go on, and every full
    round of successes lets one more in. One that is longer than anybody's patience ends every item that is begun
    before it is over. It hears of attempts and not of items: one of those may have ended because it was given up. Costs
    next to nothing while no server has complained. Thread-safe.
    """

    def __init__(self, width: int, sleep: Callable[[float], None]) -> None:
        self.width = width
        self.allowed = width
        self.calm = True
        self.grown = False  # more workers may be at work; for whoever starts them to take back
        self._sleep = sleep
        self._until = 0.0
        self._halved_at = 0.0
        self._successes = 0
        self._refusal: TransferError | None = None
        self._refused_until = 0.0
        self._lock = threading.Lock()  # guards all of the above; never held while waiting

    def attempt(self, call: Callable[[], T]) -> T:
        """The value of ``call``, which is one attempt, or what it raises; takes note if that is a ``success``.

        An answer that a server stands by, such as 404, is one. A failure that may pass is none, nor is one of our own.
        """
        try:
            value = call()
        except TransferError as error:
            if not self.calm and not error.retryable and 300 <= (error.status or 0) < 500:
                self.success()
            raise
        if not self.calm:
            self.success()
        return value

    def complaint(self, error: TransferError) -> None:
        """Take note of an answer that asks for a slower pace, and is followed by another attempt."""
        if error.status not in (429, 503):
            return
        with self._lock:
            now = time.monotonic()
            self._until = max(self._until, now + (error.retry_after or 0.0))
            if now >= self._halved_at:  # the others' answers to the same congestion are echoes
                self.allowed = max(1, self.allowed // 2)
                self._halved_at = max(self._until, now + 0.1)
            self._successes = 0
            self.calm = False

    def refusal(self, error: TransferError) -> None:
        """Take note that a server wants to be left alone for longer than anybody here is going to wait."""
        with self._lock:
            self._refused_until = max(self._refused_until, time.monotonic() + (error.retry_after or 0.0))
            self._refusal = error
            self.calm = False

    def success(self) -> None:
        """Take note, if not ``calm``, that a server that is well has answered."""
        with self._lock:
            self._successes += 1
            if self._successes >= self.allowed:
                self._successes = 0
                if self.allowed < self.width:
                    self.allowed += 1
                    self.grown = True
                now = time.monotonic()
                self.calm = self.allowed >= self.width and now >= self._until and now >= self._refused_until

    def wait(self) -> None:
        """Sit out the common pause; raises what a server has refused everybody with."""
        while (left := self._until - time.monotonic()) > 0:
            self._sleep(left)
        refusal = self._refusal
        if refusal is not None and time.monotonic() < self._refused_until:
            error = copy.copy(refusal)
            error.attempts = 0
            error.retryable = False
            error.path = ""
            raise error
