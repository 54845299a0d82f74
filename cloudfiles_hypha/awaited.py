"""A file object, awaited: what may wait for a server is called in a thread, by the bridge; the rest at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .bridge import call

if TYPE_CHECKING:
    from typing_extensions import Self

R = TypeVar("R")


class Position(int):
    """Where a file stands: a number, which can be awaited, too, and is then the same number."""

    def __await__(self) -> Generator[None, None, int]:
        return int(self)
        yield  # a generator, which ends at once


class AsyncFile:
    """A file of which ``read`` and ``write`` are awaited; bytes or text, as its mode says.

    It is opened by ``async with``, or by the first thing that is awaited of it. Its ``close`` publishes what was
    written; a block that raises publishes nothing. Tasks that use one file take turns.
    """

    def __init__(self, name: str, mode: str, opener: Callable[[], Any]) -> None:
        self.name = name
        self.mode = mode
        self._opener = opener
        self._opened: Any = None
        self._closed = False
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self._opened is not None else "not opened yet"
        return f"<{type(self).__name__} {self.name!r} mode={self.mode!r}, {state}>"

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._closed

    @property
    def _file(self) -> Any:
        """The file, where it is open."""
        if self._closed:
            raise ValueError(f"{self.name!r}: this file is closed")
        if self._opened is None:
            raise ValueError(f"{self.name!r}: open it first, with async with")
        return self._opened

    async def _open(self) -> Any:
        if self._opened is None and not self._closed:
            made: list[Any] = []
            try:
                await call(lambda: made.append(self._opener()))
            except BaseException:
                for file in made:  # it was opened, and its task cancelled meanwhile: nobody can close it
                    getattr(file, "abort", file.close)()
                raise
            (self._opened,) = made
        return self._file

    async def do(self, function: Callable[[Any], R]) -> R:
        """What a function of the file gives, called in a thread, when it is this one's turn."""
        async with self._turn:
            file = await self._open()
            return await call(partial(function, file))

    # -- life -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        async with self._turn:
            await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            # not to be cancelled: nothing of it may be published later
            await asyncio.shield(self.abort())

    async def close(self) -> None:
        """Close it; what was written is stored, and on Hypha committed. One that was never opened is left as it is."""
        await self._end("close")

    async def abort(self) -> None:
        """Close it, and store nothing."""
        await self._end("abort")

    async def _end(self, how: str) -> None:
        async with self._turn:
            file, self._closed = None if self._closed else self._opened, True
            if file is not None:
                await call(getattr(file, how, file.close))

    # -- reading ----------------------------------------------------------------------------------------------

    async def read(self, size: int | None = -1, /) -> Any:
        """So much from where it stands; all that is left, for -1 or None."""
        return await self.do(lambda file: file.read(-1 if size is None else size))

    async def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer; how many bytes there were."""
        return await self.do(lambda file: int(file.readinto(buffer)))

    async def readline(self, size: int = -1, /) -> Any:
        """The next line."""
        return await self.do(lambda file: file.readline(size))

    async def readlines(self, hint: int = -1, /) -> list[Any]:
        """All lines that are left."""
        return await self.do(lambda file: [*file.readlines(hint)])

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    # -- writing ----------------------------------------------------------------------------------------------

    async def write(self, data: Any, /) -> int:
        """Write at where it stands; waits for the store only where much is on its way."""
        async with self._turn:
            file = await self._open()
            has_room = getattr(file, "has_room", None)
            if has_room is not None and has_room(len(data)):
                return int(file.write(data))
            return int(await call(partial(file.write, data)))

    async def writelines(self, lines: Iterable[Any], /) -> None:
        """Write each."""
        for line in lines:
            await self.write(line)

    async def flush(self) -> None:
        """Publishes nothing; see the file's own."""
        await self.do(lambda file: file.flush())

    async def truncate(self, size: int | None = None, /) -> int:
        """Cut it, where it can be."""
        return await self.do(lambda file: int(file.truncate(size)))

    # -- where it stands: nothing that waits ------------------------------------------------------------------

    def seek(self, offset: int, whence: int = 0, /) -> Position:
        """Go somewhere (in text: to a byte); it may be awaited. Once it is open, by ``async with``."""
        return Position(self._file.seek(offset, whence))

    def tell(self) -> Position:
        """Where it stands; it may be awaited."""
        return Position(self._file.tell())

    def readable(self) -> bool:
        """Whether it can be read."""
        return bool(self._file.readable())

    def writable(self) -> bool:
        """Whether it can be written."""
        return bool(self._file.writable())

    def seekable(self) -> bool:
        """Whether it can go elsewhere."""
        return bool(self._file.seekable())
