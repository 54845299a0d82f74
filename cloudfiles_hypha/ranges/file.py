"""``RangeFile``: an object as a binary file that is read, also ahead of what was asked for, where that is of use."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from operator import index
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .cache import RangeCache, at_fork, default_cache
from .reading import Reader, ReadOptions, Remote, Steps, drive, wait_for

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

T = TypeVar("T")

# What a cursor keeps at hand, so that many small reads need not look into the cache: as much as Python's own files do.
AT_HAND = 8192
# Reads of at least so many bytes, one after the other, are given blocks as they come, without a copy.
_LEAST_CUT = 64 * 1024


class Cursor:
    """A place in an object, and how it was read so far: what is common to files that block and those that do not."""

    def __init__(self, remote: Remote, offset: int = 0) -> None:
        self.remote = remote
        self.offset = offset
        self._next = -1  # where the last read ended
        self._run = 0  # how many bytes were read one after the other
        self._last = 0  # how many bytes the last read wanted
        self._cut = 0  # the size of the blocks that more than one read in a row has wanted
        self._ahead = 0  # up to where bytes were asked for ahead
        self._hand_at = 0
        self._hand = b""

    def __reduce__(self) -> tuple[object, ...]:
        return Cursor, (self.remote, self.offset)

    @property
    def left(self) -> int:
        """Bytes between here and the end."""
        return max(0, self.remote.size - self.offset)

    def sought(self, offset: int, whence: int) -> int:
        """Go somewhere else, as ``io.IOBase.seek`` says."""
        offset = index(offset)  # numpy's numbers would overflow
        if whence == os.SEEK_CUR:
            offset += self.offset
        elif whence == os.SEEK_END:
            offset += self.remote.size
        elif whence != os.SEEK_SET:
            raise ValueError(f"whence={whence!r}: expected 0, 1 or 2")
        if offset < 0:
            raise ValueError(f"{self.remote.path!r}: there is nothing before the beginning: {offset}")
        self.offset = offset
        return offset

    def at_hand(self, size: int) -> bytes | None:
        """So many bytes from here on, if they are at hand; goes on behind them."""
        at = self.offset - self._hand_at
        if at < 0 or at + size > len(self._hand):
            return None
        self._run = size + (self._run if self.offset == self._next else 0)
        self.offset += size
        self._next = self.offset
        return self._hand[at : at + size]

    @property
    def hand_left(self) -> int:
        """How many bytes from here on are at hand."""
        at = self.offset - self._hand_at
        return len(self._hand) - at if 0 <= at < len(self._hand) else 0

    def unread(self, size: int) -> None:
        """Go back by bytes that were just read, and were not wanted; they count as not read."""
        self.offset -= size
        self._next -= size
        self._run -= size

    def next(self, size: int, into: memoryview | None = None) -> Steps[bytes]:
        """So many bytes, which are there; goes on behind them when they have come."""
        remote, start = self.remote, self.offset
        end = start + size
        ahead = self._wanted_ahead(start, end)
        if into is None and size <= AT_HAND:
            held = remote.entry.held(start)
            if held is not None and end <= held.start + len(held.content):
                self._hand_at, self._hand = start, held.content[start - held.start : start - held.start + AT_HAND]
                self.offset = end
                return self._hand[:size]
        self.offset = end  # at once, so that coroutines which read at the same time read one after the other
        try:
            content = yield from remote.read(start, end, ahead, into, self._cut)
            if into is None and size <= AT_HAND:
                self._hand_at, self._hand = start, content
            return content
        except BaseException:
            if self.offset == end:
                self.offset = start
            raise

    def _wanted_ahead(self, start: int, end: int) -> int:
        """How many bytes behind these are to be asked for with them.

        As many as were read one after the other before, so that never more than twice what is needed is moved; what is
        read here and there is read as it is asked for.
        """
        most = min(self.remote.options.read_ahead_bytes, self.remote.cache.max_bytes // 4)
        one_after_the_other = start == self._next and start > 0
        self._next = end
        last, self._last = self._last, end - start
        same = one_after_the_other and last == self._last
        self._cut = last if same and _LEAST_CUT <= last <= most else 0
        if not one_after_the_other:
            self._run = end - start
            self._ahead = end
            return 0
        ahead = min(self._run, most)
        if self._cut:
            ahead -= ahead % self._cut
        self._run += end - start
        if not ahead:
            return 0
        if self._ahead < end:  # it has to be waited for, and more comes with it
            self._ahead = end + ahead
            return ahead
        if self._ahead - end <= ahead // 2:  # so that one is on its way while the reader waits for another
            beyond, self._ahead = self._ahead, end + ahead
            self.remote.ahead(beyond, self._ahead, self._cut)
        return 0


class RangeFile(io.BufferedIOBase):
    """An object of which what is read is fetched: seekable, buffered, read-only, a binary file for whatever takes one.

    ``reader`` has the bytes of ``path``: an ``ArtifactFiles``, whose ``open`` makes one of these. The file is pinned to
    the version that was there when it was opened; if that is changed or removed, reading what is not here yet is a
    ``PreconditionFailed`` (or the store's error), and never a mixture. Opening it is one request.

    A request is for ``minimum_range_request_bytes`` at least, but for small gaps between what is here, which are filled
    exactly; ``prefetch_bytes`` are fetched in opening it, at the ``prefetch_direction`` "START" or "END"; 0 fetches
    none. What is read one part after the other is fetched ahead, as much as was read so far and at most
    ``read_ahead_bytes``; what is read here and there is not. ``raw`` gives bytes as they are stored. Where no ranges
    can be had (the server ignores them, or the object is stored encoded) all of it is downloaded once, on disk if it is
    large; ``without_ranges="refuse"`` makes that a ``RangesUnsupported``.

    Bytes are kept in ``cache``, that of the process if left out, for all cursors (``clone``) and all files of the same
    version of the same object; with ``cache_dir`` also there, for other processes and later, ``cache_dir_bytes`` of
    them. Of what two threads need at the same time one request is made. One cursor may be used by several threads,
    which take turns. To pickle it takes where it is and which version that is of, and no bytes.
    """

    def __init__(
        self,
        reader: Reader,
        path: str,
        *,
        minimum_range_request_bytes: int = 4096,
        prefetch_bytes: int = 4096,
        prefetch_direction: Literal["START", "END"] = "START",
        read_ahead_bytes: int = 16 * 1024 * 1024,
        raw: bool = False,
        without_ranges: Literal["download", "refuse"] = "download",
        cache: RangeCache | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_dir_bytes: int = 10 * 1024**3,
    ) -> None:
        options = ReadOptions(
            minimum_range_request_bytes=minimum_range_request_bytes,
            prefetch_bytes=prefetch_bytes,
            prefetch_direction=prefetch_direction,
            read_ahead_bytes=read_ahead_bytes,
            raw=raw,
            without_ranges=without_ranges,
            cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            cache_dir_bytes=cache_dir_bytes,
        )
        self._begin(Cursor(Remote(reader, path, options, default_cache() if cache is None else cache)))
        self._open()

    def _open(self) -> None:
        """Find out what is there."""
        self._drive(self._cursor.remote.opened())

    def _begin(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.forked()
        at_fork.add(self)
        wait: Callable[[Future[Any]], None] = getattr(cursor.remote.reader, "wait", wait_for)
        self._wait = wait
        cursor.remote.at_once = getattr(cursor.remote.reader, "_read_in_caller", None)

    def forked(self) -> None:
        """In a child, where no other thread is at it."""
        self._turn = threading.RLock()  # one thread reads at a time

    def _drive(self, steps: Steps[T]) -> T:
        return drive(steps, self._wait)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"at {self._cursor.offset} of {self.size}"
        return f"<{type(self).__name__} {self.name!r} {state}>"

    def __getstate__(self) -> dict[str, Any]:
        self._check()
        return {"remote": self._cursor.remote, "offset": self._cursor.offset}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin(Cursor(state["remote"], state["offset"]))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self),), self.__getstate__()

    def __del__(self) -> None:
        """Nothing to do: what is on its way comes, and is kept. (That of ``io`` would call ``close``.)"""

    def clone(self) -> Self:
        """Another cursor, at the same place, that shares all but the place; close each."""
        self._check()
        other = type(self).__new__(type(self))
        other._begin(Cursor(self._cursor.remote, self._cursor.offset))
        return other

    # -- what it is -------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its path."""
        return self._cursor.remote.path

    @property
    def mode(self) -> str:
        """As that of any binary file that is read."""
        return "rb"

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self._cursor.remote.size

    @property
    def etag(self) -> str | None:
        """Which version it is, if the store tells."""
        return self._cursor.remote.etag

    def readable(self) -> bool:
        """Yes."""
        self._check()
        return True

    def seekable(self) -> bool:
        """Yes."""
        self._check()
        return True

    def writable(self) -> bool:
        """No."""
        self._check()
        return False

    def close(self) -> None:
        """Let go of it; other cursors stay open. What was read stays in the cache."""
        super().close()

    def _check(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name!r}: I/O operation on closed file")

    # -- reading ----------------------------------------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, from the beginning, from here (1) or from the end (2); costs nothing."""
        self._check()
        with self._turn:
            return self._cursor.sought(offset, whence)

    def tell(self) -> int:
        """Where it stands."""
        self._check()
        return self._cursor.offset

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes, fewer only at the end; all that are left without ``size``."""
        self._check()
        with self._turn:
            left = self._cursor.left
            wanted = left if size is None or size < 0 else min(index(size), left)
            if not wanted:
                return b""
            content = self._cursor.at_hand(wanted)
            return self._drive(self._cursor.next(wanted)) if content is None else content

    def read1(self, size: int = -1, /) -> bytes:
        """``read``, of 8 KiB if no ``size`` is given."""
        return self.read(AT_HAND if size < 0 else size)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a buffer; how many bytes went there, fewer than it has only at the end."""
        self._check()
        with memoryview(buffer) as view, view.cast("B") as flat, self._turn:
            wanted = min(len(flat), self._cursor.left)
            if wanted:
                content = self._cursor.at_hand(wanted)
                if content is None:
                    self._drive(self._cursor.next(wanted, flat))
                else:
                    flat[:wanted] = content
            return wanted

    def readinto1(self, buffer: Buffer, /) -> int:
        """``readinto``."""
        return self.readinto(buffer)

    def peek(self, size: int = 0, /) -> bytes:
        """Bytes from here on, without going anywhere: at least one unless it ends here."""
        self._check()
        with self._turn:
            block = self.read(max(1, min(size or AT_HAND, AT_HAND)))
            self._cursor.unread(len(block))
            return block

    def readline(self, size: int | None = -1, /) -> bytes:
        """Up to the end of the line, at most ``size`` bytes."""
        self._check()
        most = -1 if size is None else size
        found: list[bytes] = []
        with self._turn:
            while most and (block := self.read(line_block(self._cursor, most))):
                end = block.find(b"\n") + 1
                if end:
                    self._cursor.unread(len(block) - end)
                    found.append(block[:end])
                    break
                found.append(block)
                most -= len(block) if most > 0 else 0
        return found[0] if len(found) == 1 else b"".join(found)

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> int:
        """Fetch these bytes, ``(offset, length)`` each, in few requests that are made at the same time.

        Gives the bytes that were newly asked for; those that are here, or on their way, are not.
        """
        self._check()
        return self._drive(self._cursor.remote.prefetched(ranges))


def line_block(cursor: Cursor, most: int) -> int:
    """How many bytes to look at next for the end of a line of at most so many (any number, if negative)."""
    some = cursor.hand_left or AT_HAND
    return some if most < 0 else min(most, some)


def _unpickled(kind: type[RangeFile]) -> RangeFile:
    return kind.__new__(kind)
