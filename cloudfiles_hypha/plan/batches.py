"""How to divide work: names into calls, ranges into requests, large objects into parts. Pure: no sockets, clock or
threads; what a call took is told to it.

A call to an artifact manager has a fixed cost and a cost for each path, and is cut off by a timeout, so batches
start small (transfers begin early), grow (the fixed cost is shared) and shrink again when the server slows down.
"""

from __future__ import annotations


class BatchSizes:
    """The sizes of the batches of one run.

    Begins with ``first``, so that transfers begin early, and goes on with up to ``limit``, so that the fixed cost
    is shared; keeps the predicted duration of a call below ``longest`` seconds, going by what the latest call took
    for each path. Once it is known how many remain, the last batch is a small one: its transfers are the only
    ones that no signing overlaps. Not thread-safe: one resolver owns it.
    """

    def __init__(self, *, first: int = 64, limit: int = 1000, longest: float = 8.0) -> None:
        if not 1 <= first <= limit:
            raise ValueError(f"first={first}, limit={limit}: need 1 <= first <= limit")
        self.limit = limit
        self.calls = 0
        self._first = first
        self._next = first
        self._longest = longest
        self._cap = limit

    def next(self, remaining: int | None = None) -> int:
        """How many to take now; ``remaining`` is how many there are, once that is known."""
        size = min(self._next, self._cap)
        if remaining is not None:
            if remaining <= min(4 * self._first, self._cap):
                return remaining  # not worth a second call
            if remaining <= size:
                return remaining - remaining // 5
        return size

    def took(self, count: int, seconds: float) -> None:
        """Learn from a call for ``count`` paths that took ``seconds``."""
        self.calls += 1
        if count > 0 and seconds > 0:
            # a short call is mostly its fixed cost, and says nothing about longer ones
            slow = seconds > self._longest / 4
            self._cap = max(1, min(self.limit, int(count * self._longest / seconds))) if slow else self.limit
        if count >= min(self._next, self._cap):
            self._next = min(self.limit, max(1, count) * 16)

    def failed(self, count: int) -> None:
        """Learn that a call for ``count`` paths ran into the server's timeout."""
        self._cap = self._next = max(1, count // 2)


def halves(items: list[str]) -> tuple[list[str], list[str]]:
    """Split in two, the first at least as long; used to find which of many a server stumbled over."""
    middle = (len(items) + 1) // 2
    return items[:middle], items[middle:]


def cheaper_to_list(paths: int, folders: int, *, call: float, each: float) -> bool:
    """Whether looking through the folders of ``paths`` beats asking for each path, by the cost of the calls.

    ``call`` is what any call costs and ``each`` what a path adds to it, in seconds.
    """
    return folders * call <= call + paths * each
