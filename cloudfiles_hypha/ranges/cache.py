"""``RangeCache``: bytes of objects in memory, by intervals; within a bound, the least recently used go first.

What is on its way is known here, too (``Flight``), so that whoever needs the same bytes waits for those. Nothing here
asks for anything or waits; whoever claims a gap has to fetch it. Thread-safe.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import count
from typing import NamedTuple, Protocol
from weakref import WeakSet, WeakValueDictionary, ref

from ..content.blocks import Blocks
from ..engine.waiting import watch_collector
from ..results import Result
from .whole import Whole

DEFAULT_BYTES = 128 * 1024 * 1024
# What a block costs besides its bytes, about.
_OVERHEAD = 200
# Blocks that touch are put together up to this size, so that many small reads in a row do not become many blocks;
# in a small cache less, since what goes is a block.
_JOINED = 64 * 1024


class Forked(Protocol):
    """What has locks that another thread may have held when this process was forked."""

    def forked(self) -> None:
        """In the child: make them anew."""


at_fork: WeakSet[Forked] = WeakSet()
_numbers = count()


class Held(NamedTuple):
    """Bytes that are here; those from ``start`` on."""

    start: int
    content: bytes


class Flight:
    """Bytes ``[start, end)`` of an object that somebody has asked for. ``landed`` is done once they are here, or not.

    ``landed`` never has an exception, so that nobody has to look: ``error`` and ``content`` say what came of it.
    """

    __slots__ = (
        "_entry",
        "abandoned",
        "ahead",
        "compared",
        "content",
        "end",
        "error",
        "future",
        "landed",
        "saved",
        "start",
        "waiting",
    )

    def __init__(self, entry: Entry, start: int, end: int, *, ahead: bool) -> None:
        self._entry = entry
        self.start = start
        self.end = end
        self.ahead = ahead  # nobody waits for it yet, and it goes on if nobody does
        self.landed: Future[None] = Future()
        self.future: Future[Result] | None = None  # of whoever brings it
        self.content: bytes | Blocks = b""
        self.error: BaseException | None = None
        self.abandoned = False
        self.compared = False  # asked for with a condition, which the server may be unable to compare
        self.saved = False
        self.waiting = 0

    def __repr__(self) -> str:
        state = "on its way" if not self.landed.done() else "landed" if self.error is None else "failed"
        return f"<{type(self).__name__} [{self.start}, {self.end}) {state}>"

    def between(self, start: int, end: int) -> Iterable[bytes]:
        """Bytes ``[start, end)`` of the object, as far as they are of what has landed."""
        start, end = start - self.start, end - self.start
        content = self.content
        return content.between(start, end) if isinstance(content, Blocks) else (content[start:end],)

    def land(self, content: bytes | Blocks | None, error: BaseException | None) -> None:
        """It is over; from any thread. Of two who say so the first one is right."""
        self._entry.landed(self, content, error)
        with suppress(InvalidStateError):
            self.landed.set_result(None)


class Entry:
    """What is here of one version of one object, shared by all who read it."""

    __slots__ = ("__weakref__", "blocks", "cache", "flights", "number", "starts", "whole")

    def __init__(self, cache: RangeCache) -> None:
        self.cache = cache
        self.number = next(_numbers)
        self.starts: list[int] = []
        self.blocks: dict[int, bytes] = {}
        self.flights: list[Flight] = []  # sorted by start; none overlaps another or a block
        self.whole: Whole | None = None  # all bytes, where no ranges can be had

    def claim(
        self,
        new: list[Flight],
        start: int,
        end: int,
        reach: int,
        limit: int,
        least: int,
        largest: int,
        *,
        ahead: bool = False,
    ) -> list[Held | Flight]:
        """The pieces that bytes ``[start, end)`` are in, in order; ``new`` gets those that the caller is to fetch now.

        Whoever is interrupted in this has to see to what ``new`` has by then. A gap becomes flights of at most
        ``largest`` bytes. What is asked for goes on to ``reach``, and is at least ``least`` bytes, but goes neither
        into what is here or on its way, nor beyond ``limit``. Whoever waits for a flight (without ``ahead``) has to
        ``leave`` it.
        """
        with self.cache.lock:
            pieces: list[Held | Flight] = []
            while start < end:
                piece, stop = self._at(start)
                if piece is None:
                    stop = min(stop, max(reach, start + least), start + largest, limit)
                    piece = Flight(self, start, stop, ahead=ahead)
                    new.append(piece)  # first, for the sake of Ctrl-C
                    self.flights.insert(bisect_left(self.flights, start, key=_start), piece)
                if isinstance(piece, Flight) and not ahead:
                    piece.waiting += 1
                pieces.append(piece)
                start = stop
            return pieces

    def _at(self, offset: int) -> tuple[Held | Flight | None, int]:
        """What has the byte at ``offset``, if anything, and where that (or the gap) ends."""
        at = bisect_right(self.starts, offset) - 1
        if at >= 0:
            start = self.starts[at]
            content = self.blocks[start]
            if offset < start + len(content):
                self.cache.used(self, start)
                return Held(start, content), start + len(content)
        stop = self.starts[at + 1] if at + 1 < len(self.starts) else _NEVER
        at = bisect_right(self.flights, offset, key=_start) - 1
        if at >= 0 and offset < self.flights[at].end:
            return self.flights[at], self.flights[at].end
        return None, min(stop, self.flights[at + 1].start) if at + 1 < len(self.flights) else stop

    def held(self, offset: int) -> Held | None:
        """The block that has the byte at ``offset``, if it is here."""
        with self.cache.lock:
            at = bisect_right(self.starts, offset) - 1
            if at >= 0:
                start = self.starts[at]
                content = self.blocks[start]
                if offset < start + len(content):
                    self.cache.used(self, start)
                    return Held(start, content)
        return None

    def on_their_way(self) -> int:
        """How many bytes were asked for ahead and have not come yet."""
        with self.cache.lock:
            return sum(flight.end - flight.start for flight in self.flights if flight.ahead)

    def all_of_it(self, make: Callable[[], Whole]) -> tuple[Whole, bool]:
        """What holds all bytes, or is to; and whether the caller has to bring them."""
        with self.cache.lock:
            mine = self.whole is None
            if self.whole is None:
                self.whole = make()
            return self.whole, mine

    def all_failed(self, whole: Whole) -> None:
        """All bytes did not come; the next one may try."""
        with self.cache.lock:
            if self.whole is whole:
                self.whole = None

    def put(self, start: int, content: bytes) -> None:
        """Keep bytes that came by another way; what of them is here or on its way already is left out."""
        with self.cache.lock, self.cache.all_or_nothing:
            end = start + len(content)
            at = start
            while at < end:
                piece, stop = self._at(at)
                stop = min(stop, end)
                if piece is None:
                    self._insert(at, content[at - start : stop - start])
                at = stop
            self.cache.trim()

    def landed(self, flight: Flight, content: bytes | Blocks | None, error: BaseException | None) -> None:
        """A flight is over."""
        with self.cache.lock, self.cache.all_or_nothing:
            if flight not in self.flights:  # so after a fork, or when it was given up
                return
            if content is not None:
                flight.content = content
                if isinstance(content, Blocks):
                    for number, block in enumerate(content.blocks):
                        self._insert(flight.start + number * content.step, block)
                else:
                    self._insert(flight.start, content)
            flight.error = error
            self.flights.remove(flight)  # late, for the sake of Ctrl-C
            self.cache.trim()

    def _insert(self, start: int, content: bytes) -> None:
        """Keep what is not here yet."""
        if not content:
            return
        before = bisect_left(self.starts, start) - 1
        if before >= 0:
            first = self.starts[before]
            joined = self.blocks[first]
            if first + len(joined) == start and len(joined) + len(content) <= self.cache.joined:
                self.drop(first)
                start, content = first, joined + content
        self.starts.insert(bisect_left(self.starts, start), start)
        self.blocks[start] = content
        self.cache.keep(self, start, len(content))

    def drop(self, start: int) -> None:
        """Let go of a block."""
        content = self.blocks.pop(start)
        del self.starts[bisect_left(self.starts, start)]
        self.cache.forget(self, start, len(content))

    def leave(self, flight: Flight, *, in_time: bool) -> None:
        """The caller waits for it no longer; if nobody else does, it is broken off, unless it has come ``in_time``."""
        with self.cache.lock:
            flight.waiting -= 1
            if in_time or flight.waiting or flight.ahead or flight.landed.done():
                return
            flight.abandoned = True
            future = flight.future
        if future is not None:
            future.cancel()

    def forked(self) -> None:
        """In a child: nothing is on its way any more."""
        self.starts, self.blocks, self.flights = [], {}, []
        if self.whole is not None and not self.whole.there.done():
            self.whole = None


class _AllOrNothing:
    """Whoever is interrupted in changing a cache (Ctrl-C) leaves an empty one, and not half a change."""

    def __init__(self, cache: RangeCache) -> None:
        self._cache = ref(cache)

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        cache = self._cache()
        if kind is not None and cache is not None:
            cache.empty()


_NEVER = 1 << 62
_start: Callable[[Flight], int] = lambda flight: flight.start  # noqa: E731


class RangeCache:
    """Bytes of objects that were read, at most ``max_bytes`` of them; the least recently used ones go first.

    Given to several files it is shared by them; one of the process serves those that are given none. It holds what has
    arrived; what is on its way, and what a caller is being given, comes on top. Thread-safe; a forked child's is empty.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        if not isinstance(max_bytes, int) or isinstance(max_bytes, bool) or max_bytes < 0:
            raise ValueError(f"max_bytes={max_bytes!r}: expected a number of bytes")
        self.max_bytes = max_bytes
        self.joined = min(_JOINED, max_bytes // 8)
        # Guards all of it, and all entries. The collector may close a reader wherever this is held.
        self.lock = threading.RLock()
        self._size = 0
        self._order: OrderedDict[tuple[int, int], Entry] = OrderedDict()
        self._entries: WeakValueDictionary[Hashable, Entry] = WeakValueDictionary()
        self._all: WeakSet[Entry] = WeakSet()
        self.all_or_nothing = _AllOrNothing(self)
        at_fork.add(self)
        watch_collector()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self._size} of {self.max_bytes} bytes>"

    def __reduce__(self) -> tuple[object, ...]:
        return (default_cache, ()) if self is _default else (type(self), (self.max_bytes,))

    @property
    def size(self) -> int:
        """How many bytes it takes now, with what it needs to find them."""
        return self._size

    def clear(self) -> None:
        """Let go of all bytes."""
        with self.lock:
            for (_, start), entry in [*self._order.items()]:
                entry.drop(start)

    def empty(self) -> None:
        """Forget all that is here, whatever state it is in."""
        self._order = OrderedDict()
        self._size = 0
        for entry in [*self._all]:
            entry.starts, entry.blocks = [], {}

    def entry(self, key: Hashable | None) -> Entry:
        """What is here of the object of this key; of None, which is nobody else's, nothing."""
        with self.lock:
            entry = None if key is None else self._entries.get(key)
            if entry is None:
                entry = Entry(self)
                self._all.add(entry)
                if key is not None:
                    self._entries[key] = entry
            return entry

    def used(self, entry: Entry, start: int) -> None:
        """A block was of use."""
        self._order.move_to_end((entry.number, start))

    def keep(self, entry: Entry, start: int, length: int) -> None:
        """A block was added."""
        self._order[entry.number, start] = entry
        self._size += length + _OVERHEAD

    def forget(self, entry: Entry, start: int, length: int) -> None:
        """A block is gone."""
        del self._order[entry.number, start]
        self._size -= length + _OVERHEAD

    def trim(self) -> None:
        """Keep within the bound."""
        while self._size > self.max_bytes:
            (_, start), entry = next(iter(self._order.items()))
            entry.drop(start)

    def forked(self) -> None:
        """In a child, where another thread may have been at work with it at that moment."""
        self.lock = threading.RLock()
        self.empty()
        for entry in [*self._all]:
            entry.forked()


def _forget() -> None:
    for one in [*at_fork]:
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

_default = RangeCache()


def default_cache() -> RangeCache:
    """The process's own."""
    return _default
