"""One after the other over a file of offsets: ``Reader`` in chunks, ``LineReader`` by lines, ``Writer``."""

from __future__ import annotations

import asyncio
import codecs
import io
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from operator import length_hint
from typing import TYPE_CHECKING, Any

from .low import AIOFile, mark_of

if TYPE_CHECKING:
    from typing_extensions import Self


class Reader(AsyncIterator[Any]):
    """The chunks of a file from ``offset`` on, each of ``chunk_size`` bytes but the last; of text, what so many bytes
    say, and never part of a character. Tasks that read by one of these take turns.
    """

    CHUNK_SIZE = 32 * 1024

    def __init__(self, aio_file: AIOFile, offset: int = 0, chunk_size: int = CHUNK_SIZE) -> None:
        self.file = aio_file
        self.encoding = aio_file.encoding
        self._offset = int(offset)
        self._chunk_size = int(chunk_size)
        if not self._chunk_size:
            raise ValueError("chunk_size=0: expected a number of bytes, or -1 for all")
        self._decoder: codecs.IncrementalDecoder | None = None  # made when it is first read
        self._turn = asyncio.Lock()

    async def read_chunk(self) -> Any:
        """The next one; empty at the end."""
        async with self._turn:
            if self._decoder is None and not self.file.mode.binary:
                self._decoder = await self.file.decoder_at(self._offset)
            while True:
                chunk = await self.file.read_bytes(self._chunk_size, self._offset)
                self._offset += len(chunk)
                if self._decoder is None:
                    return chunk
                text = self._decoder.decode(chunk, not chunk)
                if text or not chunk:
                    return text

    async def __anext__(self) -> Any:
        chunk = await self.read_chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def __aiter__(self) -> Self:
        return self


class Writer:
    """``await writer(data)`` writes one behind the other, beginning at ``offset``; tasks that call it take turns."""

    def __init__(self, aio_file: AIOFile, offset: int = 0) -> None:
        self._file = aio_file
        self._offset = int(offset)
        self._turn = asyncio.Lock()

    async def __call__(self, data: str | bytes) -> None:
        """Write it behind what was written before."""
        async with self._turn:
            block = encoded(self._file, data, self._offset) if isinstance(data, str) else data
            await self._file.write_bytes(block, self._offset)
            self._offset += len(block)


def encoded(file: AIOFile, text: str, offset: int) -> bytes:
    """Text as bytes for a place in a file: what begins a file is written there only."""
    block = file.encode_bytes(text)
    return block[len(mark_of(file.encoding)) :] if offset else block


class LineReader(AsyncIterator[Any]):
    """The lines of a file from ``offset`` on, with what ends them, which is ``line_sep``; nothing is translated.

    ``async for`` waits for chunks and not for lines. ``readline`` gives the next one, which is empty at the end.
    """

    CHUNK_SIZE = 128 * 1024

    def __init__(
        self, aio_file: AIOFile, offset: int = 0, chunk_size: int = CHUNK_SIZE, line_sep: str | bytes = "\n"
    ) -> None:
        self._reader = Reader(aio_file, offset=offset, chunk_size=chunk_size)
        self.linesep: Any = separator(aio_file, line_sep)
        self._lines: Iterator[Any] = iter(())  # one for all who take lines, so that each is given once
        self._rest: list[Any] = []  # the beginning of a line, in pieces
        self._empty: Any = self.linesep[:0]
        self._filling = asyncio.Lock()

    async def readline(self) -> Any:
        """The next line, or what is left behind the last one; empty at the end."""
        while True:
            for line in self._lines:
                return line
            if not await self._fill():
                return self._empty

    async def _fill(self) -> bool:
        """Read on until there is a line; False at the end."""
        async with self._filling:
            while not length_hint(self._lines):
                chunk = await self._reader.read_chunk()
                if chunk:
                    self._split(chunk)
                    continue
                if not self._rest:
                    return False
                self._lines, self._rest = iter([self._empty.join(self._rest)]), []
        return True

    def _split(self, chunk: Any) -> None:
        separator, rest = self.linesep, self._rest
        if len(separator) == 1 and separator not in chunk:  # a long line: joined once it has ended
            rest.append(chunk)
            return
        if rest:
            chunk = self._empty.join((*rest, chunk))
        if separator == b"\n":
            lines = io.BytesIO(chunk).readlines()
            last = b"" if lines[-1].endswith(b"\n") else lines.pop()
        else:
            *lines, last = chunk.split(separator)
            lines = [line + separator for line in lines]
        self._rest = [last] if last else []
        self._lines = iter(lines)

    async def _each(self) -> AsyncGenerator[Any, None]:
        while True:
            for line in self._lines:
                yield line
            if not await self._fill():
                return

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._each()

    async def __anext__(self) -> Any:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line


def separator(file: AIOFile, ends: str | bytes) -> Any:
    """What ends a line, as bytes or text, as the mode of the file says."""
    if not ends:
        raise ValueError("what ends a line is empty; expected '\\n' or the like")
    if file.mode.binary:
        return ends if isinstance(ends, bytes) else ends.encode(file.encoding)[len(mark_of(file.encoding)) :]
    return ends.decode(file.encoding) if isinstance(ends, bytes) else ends
