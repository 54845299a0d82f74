"""How fast bytes may move: one account for all transfers that share a limit. Arithmetic only: nothing here waits.

Who moves bytes says how many (``charge``), and is told when it may go on. Those that wait have a time each, one behind
the other, so that all get the same share. Transports keep to it (``transports.base.Transport``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

LEAST = 16 * 1024
"""Bytes a second below which there is no limit to be had: one block of one transfer each second."""
BLOCK = 16 * 1024
"""Bytes that a transfer moves before it asks again."""
# Seconds by which bytes may be early, so that fast transfers need not wait after each block; and how much of a time in
# which nothing moved may be made up for.
_EARLY = 0.1
# Bytes of so many transfers at once that wait for each other; one of them may be silent for as long as those take.
_AT_ONCE = 256 * BLOCK


class RateLimit:
    """At most ``rate`` bytes a second, in both directions together, for all ``ArtifactFiles`` that are given it.

    What counts are the bodies of requests and answers. Over any span of time these are no more than ``rate`` times its
    seconds and 0.2 more, and 16 KiB for each transfer at that time. Thread-safe; of one process: a pickled copy, and
    a forked child, begin with an account of their own.
    """

    def __init__(self, rate: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not isinstance(rate, int) or isinstance(rate, bool) or rate < LEAST:
            raise ValueError(f"limit_rate={rate!r}: expected a number of bytes a second, at least {LEAST}")
        self.rate = rate
        self._clock = clock
        self._paid_at = 0.0  # when all bytes so far will have been paid for
        self._pid = os.getpid()
        self._lock = threading.Lock()  # guards the two above; never held while waiting

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RateLimit) and other.rate == self.rate

    def __hash__(self) -> int:
        return hash(self.rate)

    def __reduce__(self) -> tuple[type[RateLimit], tuple[int]]:
        return RateLimit, (self.rate,)

    def charge(self, size: int) -> float:
        """So many bytes have moved; when (by the clock) whoever moved them may move more, 0 for at once.

        Of no bytes: when somebody who has not moved any yet may begin.
        """
        if self._pid != os.getpid():
            self._pid, self._lock, self._paid_at = os.getpid(), threading.Lock(), 0.0
        with self._lock:
            now = self._clock()
            self._paid_at = max(self._paid_at, now - _EARLY) + size / self.rate
            return self._paid_at if self._paid_at > now + _EARLY else 0.0

    def left(self, until: float) -> float:
        """Seconds until a time that ``charge`` has told."""
        return max(0.0, until - self._clock()) if until else 0.0

    @property
    def patience(self) -> float:
        """Seconds for which a transfer may have to wait for the others: no server is silent that long because of us."""
        return _AT_ONCE / self.rate

    def share(self, count: int) -> RateLimit:
        """What each of so many processes may move; ``ValueError`` if that is next to nothing."""
        if self.rate // count < LEAST:
            raise ValueError(
                f"limit_rate={self.rate}: divided by parallel={count} it is less than {LEAST} bytes a second"
            )
        return RateLimit(self.rate // count)


def rate_limit(value: int | RateLimit | None) -> RateLimit | None:
    """What ``limit_rate=`` means."""
    return value if value is None or isinstance(value, RateLimit) else RateLimit(value)
