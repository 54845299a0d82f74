"""Files whose reading is awaited: what ``reading`` decides, with a coroutine that waits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Generator, Iterable
from concurrent.futures import Future
from functools import partial
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..awaited import Position
from .cache import RangeCache, default_cache
from .file import Cursor, line_block
from .reading import Reader, ReadOptions, Remote, Steps

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class AsyncRangeFile:
    """A ``RangeFile`` whose reading is awaited; the options, the cache and the promises are its own.

    ``async with AsyncRangeFile(...) as f`` or ``f = await AsyncRangeFile(...)`` opens it. ``seek`` and ``tell`` are
    plain calls, which may be awaited, too. Coroutines that read at the same time have cursors of their own (``clone``);
    of one cursor they read one after the other. To cancel a read breaks off its transfer, unless somebody else waits
    for the same bytes. It can be read from any loop, and from several.
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
        self._cursor = Cursor(Remote(reader, path, options, default_cache() if cache is None else cache))
        self._opened = self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"at {self._cursor.offset}" if self._opened else "not open"
        return f"<{type(self).__name__} {self.name!r} {state}>"

    async def open(self) -> Self:
        """Find out what is there, if that has not been done; gives itself."""
        while not self._opened and not self._closed:
            mine: Future[None] = Future()
            opening: Future[None] = vars(self).setdefault("_opening", mine)  # one step, also for several threads
            if opening is not mine:  # of two versions that two find, reads would be a mixture
                await _done(opening)
                continue
            try:
                await self._drive(self._cursor.remote.opened())
                self._opened = True
            finally:
                del vars(self)["_opening"]
                mine.set_result(None)
        if self._closed:
            raise ValueError(f"{self.name!r}: the file is closed")
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of it; other cursors stay open."""
        self._closed = True

    def clone(self) -> Self:
        """Another cursor, at the same place, that shares all but the place."""
        self._check()
        other = type(self).__new__(type(self))
        other.__dict__.update(vars(self), _cursor=Cursor(self._cursor.remote, self._cursor.offset))
        return other

    @property
    def name(self) -> str:
        """Its path."""
        return self._cursor.remote.path

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def size(self) -> int:
        """How many bytes it has."""
        self._check()
        return self._cursor.remote.size

    @property
    def etag(self) -> str | None:
        """Which version it is, if the store tells."""
        self._check()
        return self._cursor.remote.etag

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """No."""
        return False

    async def _drive(self, steps: Steps[T]) -> T:
        return await driven(steps)

    def _check(self) -> None:
        if self._closed:
            raise ValueError(f"{self.name!r}: I/O operation on closed file")
        if not self._opened:
            raise ValueError(f"{self.name!r}: not open: use 'async with', or await it")

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> Position:
        """Go to a place, from the beginning, from here (1) or from the end (2); costs nothing."""
        self._check()
        return Position(self._cursor.sought(offset, whence))

    def tell(self) -> Position:
        """Where it stands."""
        self._check()
        return Position(self._cursor.offset)

    async def read(self, size: int | None = -1) -> bytes:
        """So many bytes, fewer only at the end; all that are left without ``size``."""
        self._check()
        left = self._cursor.left
        wanted = left if size is None or size < 0 else min(index(size), left)
        if not wanted:
            return b""
        content = self._cursor.at_hand(wanted)
        return await self._drive(self._cursor.next(wanted)) if content is None else content

    async def readinto(self, buffer: Any) -> int:
        """Fill a buffer; how many bytes went there, fewer than it has only at the end."""
        self._check()
        with memoryview(buffer) as view, view.cast("B") as flat:
            wanted = min(len(flat), self._cursor.left)
            if wanted:
                flat[:wanted] = await self.read(wanted)
            return wanted

    async def readline(self, size: int | None = -1) -> bytes:
        """Up to the end of the line, at most ``size`` bytes."""
        most = -1 if size is None else size
        found: list[bytes] = []
        while most and (block := await self.read(line_block(self._cursor, most))):
            end = block.find(b"\n") + 1
            if end:
                self._cursor.unread(len(block) - end)
                found.append(block[:end])
                break
            found.append(block)
            most -= len(block) if most > 0 else 0
        return b"".join(found)

    async def readlines(self) -> list[bytes]:
        """All lines that are left."""
        return [line async for line in self]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def prefetch(self, ranges: Iterable[tuple[int, int]]) -> int:
        """``RangeFile.prefetch``."""
        self._check()
        return await self._drive(self._cursor.remote.prefetched(ranges))


async def driven(steps: Steps[T]) -> T:
    """Take all steps in this task. To be cancelled breaks off what only this one waits for."""
    try:
        future = next(steps)
        while True:
            await _done(future)
            future = steps.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        steps.close()


async def _done(future: Future[Any]) -> None:
    """Wait for a future, what comes of which is not looked at, and which is not cancelled with the task."""
    if future.done():
        return
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    future.add_done_callback(partial(_tell, loop, waiter))
    await waiter


def _tell(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], future: Future[Any]) -> None:
    try:
        loop.call_soon_threadsafe(_set, waiter)
    except RuntimeError:  # it is closed, so nobody waits any more
        return


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
