"""How to divide work: names into calls, and how many calls to make side by side. Pure: no sockets, no clock; what a
call took is told to it.

A call to an artifact manager has a fixed cost and a cost for each path, and is cut off by a timeout, so batches
start small (transfers begin early), grow (the fixed cost is shared) and shrink again when the server slows down.
What a path costs is the server's time, which calls made side by side share, and its waiting for a store, which they
do not: where there is much waiting, several calls at once are several times as fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

# What a call takes of a server's own time, and what each path adds to it (seconds): measured, and good to start with.
CALL, EACH = 0.2, 0.003
# Paths of a call made beside others: enough to share the fixed cost, few enough to keep all calls busy to the end.
_FEWEST, _MOST = 100, 200
# Seconds that such a call should take at most, if it can do so with the fewest.
_SHARE = 3.0
_MOST_AT_ONCE = 8
# How many times as fast as one by one calls must be to be made side by side; and for how many calls after it was found
# that they are not, none are.
_WORTH_IT = 1.6
_CALLS_ALONE = 64
# What a new measurement counts for against all before it.
_WEIGHT = 0.5


class Costs:
    """What the calls to one server were measured to take, whoever made them. Thread-safe.

    From calls made alone it learns ``fixed`` and ``each``: what a call takes, and what a path adds. Where ``each`` is
    well above what it takes a server to sign, the rest of it is waiting. That is a guess until calls were made side by
    side; if these do not get through faster, they are made alone again.
    """

    def __init__(self, fixed: float = CALL, each: float | None = None) -> None:
        self.fixed = fixed
        self.each = each
        self.under_way = 0
        self._peaks: dict[int, int] = {}  # by the call's number: the most that were under way with it
        self._number = 0
        self._gain: float | None = None  # of calls made side by side: how many times as fast as alone
        self._alone = 0  # so many calls more are not to be made side by side
        self._lock = Lock()  # guards all of the above

    def __repr__(self) -> str:
        each = "?" if self.each is None else f"{self.each * 1000:.1f} ms"
        return f"<Costs {self.fixed:.2f} s + {each} for each path, {self.at_once} at once>"

    def copy(self) -> Costs:
        """What was learnt, without the calls that are under way: for a forked child."""
        return Costs(self.fixed, self.each)

    @property
    def at_once(self) -> int:
        """How many calls are worth making side by side."""
        if self.each is None or self._alone:
            return 1
        # a server that is quick (or slow) to take a call is so to sign as well
        own = EACH * min(2.0, max(0.25, self.fixed / CALL))
        ratio = (self.fixed + self.size * self.each) / (self.fixed + self.size * own)
        return 1 if ratio < 2 else min(_MOST_AT_ONCE, int(ratio) + 2)

    @property
    def size(self) -> int:
        """How many paths a call that is made beside others should have."""
        return int(min(_MOST, max(_FEWEST, _SHARE / max(self.each or EACH, 1e-6))))

    def begin(self) -> int:
        """A call begins; its number."""
        with self._lock:
            self._number += 1
            self.under_way += 1
            for number, peak in self._peaks.items():
                self._peaks[number] = max(peak, self.under_way)
            self._peaks[self._number] = self.under_way
            return self._number

    def end(self, number: int, count: int = 0, seconds: float = 0.0) -> None:
        """It has ended; if it did what it was to do, for ``count`` paths in so many ``seconds``."""
        with self._lock:
            self.under_way -= 1
            beside = self._peaks.pop(number)
            if count <= 0 or seconds <= 0:
                return
            self._alone = max(0, self._alone - 1)
            if beside == 1:
                self._learn_alone(count, seconds)
            elif self.each is not None and count >= _FEWEST // 2:
                self._learn_beside(beside * (self.fixed + count * self.each) / seconds)

    def _learn_alone(self, count: int, seconds: float) -> None:
        if count < 16:  # mostly its fixed cost
            fixed = max(0.0, seconds - count * (EACH if self.each is None else self.each))
            self.fixed += _WEIGHT * (min(fixed, 5 * CALL) - self.fixed)
            return
        # a call may be quicker than any before it; what cannot be its fixed cost is not taken for it
        self.fixed = min(self.fixed, seconds)
        each = (seconds - self.fixed) / count
        weight = count / (count + _FEWEST)  # the more paths, the less it matters what the fixed cost was taken for
        self.each = each if self.each is None else self.each + weight * (each - self.each)

    def _learn_beside(self, gain: float) -> None:
        self._gain = gain if self._gain is None else self._gain + _WEIGHT * (gain - self._gain)
        if self._gain < _WORTH_IT:
            self._alone, self._gain = _CALLS_ALONE, None


class BatchSizes:
    """The sizes of the batches of one run, and how many of them may be under way. Thread-safe.

    Begins with ``first``, so that transfers begin early, and goes on with up to ``limit``, so that the fixed cost
    is shared; keeps the predicted duration of a call below ``longest`` seconds, going by what the latest call took
    for each path. Once it is known how many remain, the last batch is a small one: its transfers are the only
    ones that no signing overlaps; without ``tail`` there is none, for calls that cost more the later they are made.
    With ``costs``, what was learnt of the server in earlier runs is made use of, and where it pays there are several
    calls at a time, of equal sizes.
    """

    def __init__(
        self,
        *,
        first: int = 64,
        limit: int = 1000,
        longest: float = 8.0,
        costs: Costs | None = None,
        tail: bool = True,
    ) -> None:
        if not 1 <= first <= limit:
            raise ValueError(f"first={first}, limit={limit}: need 1 <= first <= limit")
        self.limit = limit
        self._costs = costs
        self._tail = tail
        self._first = first
        self._next = first
        self._longest = longest
        self._cap = limit
        self._share = 0  # of what remains, for each of the calls made side by side
        self._mine = 0  # calls under way
        self._lock = Lock()  # guards what changes; never taken by ``costs`` under its own

    @property
    def at_once(self) -> int:
        """How many calls of this run may be under way now; those of others at the same server leave room for fewer."""
        if self._costs is None:
            return 1
        return max(1, self._costs.at_once - max(0, self._costs.under_way - self._mine))

    def next(self, remaining: int | None = None) -> int:
        """How many to take now; ``remaining`` is how many there are, once that is known."""
        with self._lock:
            at_once = self.at_once
            if at_once > 1 and self._costs is not None:
                return self._next_share(remaining, at_once, min(self._costs.size, self._cap))
            self._share = 0
            known = self._costs is not None and self._costs.each is not None
            size = min(self._next, self._cap)
            if remaining is None:
                return size
            if known and remaining <= self._cap:
                size = self._cap  # there is nothing to learn
            if remaining <= min((4 if known or self._costs is None else 2) * self._first, self._cap):
                return remaining  # not worth a second call
            return remaining - remaining // 5 if self._tail and remaining <= size else min(remaining, size)

    def _next_share(self, remaining: int | None, at_once: int, size: int) -> int:
        if remaining is None:
            self._share = 0
            return size
        if not self._share or self._share > self._cap:
            calls = max(min(at_once, -(-remaining // (_FEWEST // 2))), -(-remaining // size))
            self._share = min(self._cap, -(-remaining // calls))
        return min(remaining, self._share)

    @contextmanager
    def call(self, count: int) -> Iterator[Timed]:
        """Around one call for ``count`` paths: tells the others that it is under way, and learns what it took.

        That is for the caller to say, as ``seconds`` of what it is given; left at 0 the call counts for nothing.
        """
        timed = Timed()
        with self._lock:
            self._mine += 1
        number = self._costs.begin() if self._costs is not None else 0
        try:
            yield timed
        finally:
            if self._costs is not None:
                self._costs.end(number, count, timed.seconds)
            with self._lock:
                self._mine -= 1
            if timed.seconds:
                self.took(count, timed.seconds)

    def took(self, count: int, seconds: float) -> None:
        """Learn that ``count`` paths are done, in a call that took ``seconds``; 0 where that would tell nothing."""
        with self._lock:
            if count > 0 and seconds > 0:
                # a short call is mostly its fixed cost, and says nothing about longer ones
                slow = seconds > self._longest / 4
                self._cap = max(1, min(self.limit, int(count * self._longest / seconds))) if slow else self.limit
            if count >= min(self._next, self._cap):
                self._next = min(self.limit, max(1, count) * 16)

    def failed(self, count: int) -> None:
        """Learn that a call for ``count`` paths ran into the server's timeout."""
        with self._lock:
            self._cap = self._next = max(1, count // 2)


class Timed:
    """How long one call took."""

    seconds = 0.0


def halves(items: list[str]) -> tuple[list[str], list[str]]:
    """Split in two, the first at least as long; used to find which of many a server stumbled over."""
    middle = (len(items) + 1) // 2
    return items[:middle], items[middle:]


def cheaper_to_list(paths: int, folders: int, *, call: float, each: float) -> bool:
    """Whether looking through the folders of ``paths`` beats asking for each path, by the cost of the calls.

    ``call`` is what any call costs and ``each`` what a path adds to it, in seconds.
    """
    return folders * call <= call + paths * each
