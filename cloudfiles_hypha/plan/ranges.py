"""Byte ranges: which of them are there, and with how few requests several can be had. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


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


def coalesce(ranges: Iterable[tuple[int, int, int]], *, gap: int, largest: int) -> list[Fetch]:
    """Cover half-open ranges of one object, each ``(start, end, number)``, with few requests, in order of offsets.

    Ranges are put together while at most ``gap`` unwanted bytes lie between them and the request stays within
    ``largest`` bytes; one that is larger by itself stays alone with those inside of it. Each range is within the
    request that has its number; duplicates and overlaps cost nothing.
    """
    fetches: list[Fetch] = []
    start = end = 0
    members: list[int] = []
    for first, minus_last, number in sorted([(start, -end, number) for start, end, number in ranges]):
        last = -minus_last
        joins = first - end <= gap and (last <= end or last - start <= largest)
        if members and not joins:
            fetches.append(Fetch(start, end, tuple(members)))
            members = []
        if not members:
            start, end = first, last
        elif last > end:
            end = last
        members.append(number)
    if members:
        fetches.append(Fetch(start, end, tuple(members)))
    return fetches
