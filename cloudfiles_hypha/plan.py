"""How to divide work: names into calls, ranges into requests, large objects into parts. Pure: no sockets, clock or
threads; what a call took is told to it.

A call to an artifact manager has a fixed cost and a cost for each path, and is cut off by a timeout, so batches
start small (transfers begin early), grow (the fixed cost is shared) and shrink again when the server slows down.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


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


MIB = 1024 * 1024
# S3's limits ("Amazon S3 multipart upload limits" in its User Guide).
MOST_PARTS = 10_000
SMALLEST_PART = 5 * MIB
LARGEST_PART = 5 * 1024 * MIB
LARGEST_OBJECT = 5 * 1024 * 1024 * MIB


def upload_part_size(size: int, preferred: int = 16 * MIB) -> int:
    """Bytes of each part but the last of a multipart upload of ``size`` bytes.

    ``preferred``, or as much more (in whole MiB) as keeps the number of parts within S3's 10,000. Raises
    ``ValueError`` for what S3 cannot hold: more than 5 TiB, parts under 5 MiB or over 5 GiB.
    """
    if not 0 <= size <= LARGEST_OBJECT:
        raise ValueError(f"{size} bytes: an object holds at most 5 TiB")
    if not SMALLEST_PART <= preferred <= LARGEST_PART:
        raise ValueError(f"part_size={preferred}: expected 5 MiB to 5 GiB")
    least = -(-size // MOST_PARTS)
    return max(preferred, -(-least // MIB) * MIB)


def part_count(size: int, part: int) -> int:
    """How many parts of ``part`` bytes make ``size`` bytes; an empty object is one empty part."""
    return max(1, -(-size // part))


def likely_part_sizes(size: int, count: int) -> list[int]:
    """Part sizes with which an upload of ``size`` bytes has ``count`` parts, most likely first; see ``etag-parts``.

    Ours first, then whole MiB as uploaders use them (powers of two, multiples of 5, the rest), then what Amazon's
    SDKs do with very large files. At most eight; empty if there is none.
    """
    if count < 1 or size < count:
        return []
    if count == 1:
        return [size]
    lowest = -(-size // count)
    highest = (size - 1) // (count - 1)
    whole = range(-(-lowest // MIB), highest // MIB + 1)
    ours = upload_part_size(min(size, LARGEST_OBJECT)) // MIB
    ranked = sorted(whole[:10_000], key=lambda n: (n != ours, n & (n - 1) != 0, n % 5 != 0, n))
    found = [n * MIB for n in ranked[:8]]
    return found or [lowest]


class Spans:
    """Which bytes of ``[0, size)`` are there: a set of half-open intervals, kept sorted and merged."""

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._spans: list[tuple[int, int]] = []
        for start, end in spans:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._spans)

    @property
    def total(self) -> int:
        """How many bytes are there."""
        return sum(end - start for start, end in self._spans)

    def add(self, start: int, end: int) -> None:
        """Bytes ``[start, end)`` are there."""
        if start >= end:
            return
        spans = self._spans
        first = bisect_left(spans, start, key=lambda span: span[1])  # the first that reaches ``start``
        last = bisect_right(spans, end, key=lambda span: span[0])  # after the last that begins by ``end``
        if first < last:
            start, end = min(start, spans[first][0]), max(end, spans[last - 1][1])
        spans[first:last] = [(start, end)]

    def reach(self, start: int) -> int:
        """The end of the run of bytes that are there from ``start`` on; ``start`` itself if that one is missing."""
        at = bisect_right(self._spans, start, key=lambda span: span[0]) - 1
        return max(start, self._spans[at][1]) if at >= 0 else start

    def gaps(self, size: int) -> Iterator[tuple[int, int]]:
        """What is missing of ``[0, size)``, in order."""
        at = 0
        for start, end in self._spans:
            if at < min(start, size):
                yield at, min(start, size)
            at = max(at, end)
        if at < size:
            yield at, size


@dataclass(frozen=True, slots=True)
class Fetch:
    """One request that serves several ranges: ``members`` are their numbers."""

    start: int
    end: int
    members: tuple[int, ...]


def coalesce(ranges: Sequence[tuple[int, int]], *, gap: int, largest: int) -> list[Fetch]:
    """Cover half-open ``ranges`` of one object with few requests, in order of their offsets.

    Ranges are put together while at most ``gap`` unwanted bytes lie between them and the request stays within
    ``largest`` bytes; one that is larger by itself stays alone with those inside of it. Each range is within the
    request that has its number; duplicates and overlaps cost nothing.
    """
    fetches: list[Fetch] = []
    start = end = 0
    members: list[int] = []
    for number in sorted(range(len(ranges)), key=lambda number: (ranges[number][0], -ranges[number][1])):
        first, last = ranges[number]
        joins = first - end <= gap and (last <= end or last - start <= largest)
        if members and not joins:
            fetches.append(Fetch(start, end, tuple(members)))
            members = []
        if not members:
            start, end = first, last
        end = max(end, last)
        members.append(number)
    if members:
        fetches.append(Fetch(start, end, tuple(members)))
    return fetches
