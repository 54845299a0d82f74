"""``async_open``: files with a position, bytes or text, over those with offsets; of this machine and of stores."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar, cast

from ..awaited import Position
from .low import AIOFile, NotOpen, Path, left, mode_of
from .steps import LineReader, Reader, encoded, separator

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..mounts.faces import Face
    from ..mounts.node import SyncNode

Data = TypeVar("Data", bytes, str)

# What ``readline`` reads at once; the next lines are found in it.
_BLOCK = 16 * 1024


class AsyncFileBase(Generic[Data]):
    """A file with a position, which is one of bytes for text, too. Tasks that use one of these take turns.

    ``async for`` and ``iter_chunked`` begin where it stands, have positions of their own, and leave this one's alone.
    ``file`` is the ``AIOFile`` below, of which any offset can be read and written at any time.
    """

    def __init__(self, afp: AIOFile, *, offset: int = 0, newline: str | bytes | None = None) -> None:
        self.file = afp
        self._offset = offset
        self._newline: Any = separator(afp, newline or "\n")
        self._turn = asyncio.Lock()
        self._ahead = b""  # bytes that were read, and may be asked for next
        self._ahead_at = 0
        if afp.mode.appending and not afp.closed:
            self._offset = afp.size_now()

    def __repr__(self) -> str:
        state = "not open" if self.closed else f"at {self._offset}"
        return f"<{type(self).__name__} {self.name!r} {state}>"

    # -- life -------------------------------------------------------------------------------------------------

    async def _opened(self) -> Self:
        fresh = self.file.closed
        await self.file.open()
        if fresh and self.file.mode.appending:
            self._offset = self.file.size_now()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._opened().__await__()

    async def __aenter__(self) -> Self:
        return await self._opened()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await left(self.file, error)

    async def close(self) -> None:
        """Close it; what was written to a store is stored now, and on Hypha committed."""
        await self.file.close()

    async def abort(self) -> None:
        """Close it; what was written to a store is not stored."""
        await self.file.abort()

    @property
    def closed(self) -> bool:
        """Whether it is closed, or not open yet."""
        return self.file.closed

    @property
    def name(self) -> str:
        """Its path or cloudpath."""
        return self.file.name

    # -- where it stands --------------------------------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> Position:
        """Go somewhere, in bytes: from the beginning, from here (1) or from the end (2). It may be awaited."""
        if whence == os.SEEK_CUR:
            offset += self._offset
        elif whence == os.SEEK_END:
            offset += self.file.size_now()
        elif whence != os.SEEK_SET:
            raise ValueError(f"whence={whence!r}: expected 0, 1 or 2")
        if offset < 0:
            raise ValueError(f"{self.name!r}: there is nothing before the beginning: {offset}")
        self._offset = offset
        return Position(offset)

    def tell(self) -> Position:
        """Where it stands, in bytes. It may be awaited."""
        return Position(self._offset)

    def readable(self) -> bool:
        """Whether its mode reads."""
        return self.file.mode.readable

    def writable(self) -> bool:
        """Whether its mode writes."""
        return self.file.mode.writable

    # -- reading ----------------------------------------------------------------------------------------------

    async def read(self, length: int | None = -1) -> Data:
        """So much from where it stands, bytes or characters, fewer at the end; all that is left for -1 or None."""
        async with self._turn:
            return await self._read(-1 if length is None or length < 0 else length)

    async def _read(self, length: int) -> Data:
        raise NotImplementedError

    async def readline(self, size: int | None = -1, newline: str | bytes | None = None) -> Data:
        """The next line with its end (``newline``), at most ``size`` bytes or characters of it; empty at the end."""
        ends = self._newline if newline is None else separator(self.file, newline)
        async with self._turn:
            return await self._line(-1 if size is None or size < 0 else size, ends)

    async def _line(self, size: int, ends: Data) -> Data:
        raise NotImplementedError

    async def _block(self, size: int, offset: int) -> bytes:
        """So many bytes from somewhere, which may be at hand."""
        at = offset - self._ahead_at
        if 0 <= at <= at + size <= len(self._ahead) and not self.file.closed:
            return self._ahead[at : at + size]
        return await self.file.read_bytes(size, offset)

    async def _line_of_bytes(self, size: int, ends: bytes) -> bytes:
        """The next line; goes on behind it."""
        if self.file.closed:
            await self.file.read_bytes(0, 0)  # which says so
        at = self._offset - self._ahead_at
        held = self._ahead
        end = held.find(ends, at) if 0 <= at < len(held) else -1
        if end < 0:
            held, at = await self._filled(size, ends), 0
            end = held.find(ends)
        count = (len(held) if end < 0 else end + len(ends)) - at
        if 0 <= size < count:
            count = size
        self._offset += count
        return held[at : at + count]

    async def _filled(self, size: int, ends: bytes) -> bytes:
        """Bytes from here on, with the end of a line unless there is none, or ``size`` of them; kept at hand."""
        at = self._offset - self._ahead_at
        held = self._ahead[at:] if 0 <= at < len(self._ahead) else b""
        searched = 0
        while (size < 0 or len(held) < size) and held.find(ends, searched) < 0:
            searched = max(0, len(held) - len(ends) + 1)
            block = await self.file.read_bytes(max(_BLOCK, len(held)), self._offset + len(held))
            if not block:
                break
            held += block
        self._ahead, self._ahead_at = held, self._offset
        return held

    def __aiter__(self) -> AsyncIterator[Data]:
        return LineReader(self.file, offset=self._offset, line_sep=self._newline).__aiter__()

    def iter_chunked(self, chunk_size: int = Reader.CHUNK_SIZE) -> Reader:
        """What is left, in chunks of so many bytes."""
        return Reader(self.file, offset=self._offset, chunk_size=chunk_size)

    # -- writing ----------------------------------------------------------------------------------------------

    async def write(self, data: Data) -> int:
        """Write it where it stands, or with mode "a" at the end; how many bytes that were. Of tasks that write at the
        same time, each has its place."""
        async with self._turn:
            self.file.check_writable()
            if self.file.mode.appending and not self.file.closed:
                self._offset = max(self._offset, self.file.size_now())
            block = self._bytes_of(data)
            operation = self.file.write_bytes(block, self._offset)
            self._offset += len(block)
            self._ahead = b""
        await operation
        return len(block)

    def _bytes_of(self, data: Data) -> bytes:
        raise NotImplementedError

    async def flush(self, sync_metadata: bool = False) -> None:
        """Wait until what was written is on the disk; in a store, nothing is there before it is closed."""
        if self.file.closed:
            raise NotOpen(f"{self.name!r}: the file is not open")
        if sync_metadata:
            await self.file.fsync()
        else:
            await self.file.fdsync()

    async def truncate(self, size: int | None = None) -> int:
        """Cut it, here or at ``size`` bytes, or fill it up with zeros; its size then."""
        async with self._turn:
            self.file.check_writable()
            length = self._offset if size is None else size
            self._ahead = b""
            await self.file.truncate(length)
            return length


class AsyncBinaryFile(AsyncFileBase[bytes]):
    """A file of bytes."""

    def __init__(self, afp: AIOFile, *, offset: int = 0, newline: str | bytes | None = None) -> None:
        if not afp.mode.binary:
            raise ValueError("Expected file in binary mode")
        super().__init__(afp, offset=offset, newline=newline)

    async def _read(self, length: int) -> bytes:
        data = await (self._block if self._ahead else self.file.read_bytes)(length, self._offset)
        self._offset += len(data)
        return data

    async def _line(self, size: int, ends: bytes) -> bytes:
        return await self._line_of_bytes(size, ends)

    def _bytes_of(self, data: bytes) -> bytes:
        if isinstance(data, str):
            raise TypeError(f"{self.name!r}: it takes bytes, not text; open it without the b for text")
        return data if isinstance(data, bytes) else bytes(data)


class AsyncTextFile(AsyncFileBase[str]):
    """A file of text, which is decoded as it is: ends of lines stay as they are, and no character is cut in two.

    ``read(n)`` counts characters; ``seek``, ``tell`` and what ``write`` gives count bytes.
    """

    def __init__(self, afp: AIOFile, *, offset: int = 0, newline: str | bytes | None = None) -> None:
        if afp.mode.binary:
            raise ValueError("Expected file in text mode")
        super().__init__(afp, offset=offset, newline=newline)
        self.encoding = afp.encoding
        name = codecs.lookup(self.encoding).name
        # every byte of these that looks like ASCII is, so lines can be found before they are decoded
        self._plain = name in ("utf-8", "utf-8-sig", "ascii") or name.startswith(("iso8859", "cp125", "koi8"))
        self._decoder = afp.decoder()
        self._decoder_at = offset

    async def _read(self, length: int) -> str:
        """So many characters. Never more bytes are decoded than characters are wanted, so there are never too many."""
        if self._decoder_at != self._offset or not self._offset:  # else it knows what was said before
            self._decoder = await self.file.decoder_at(self._offset)
        decoder, self._decoder_at = self._decoder, -1
        found: list[str] = []
        block, at = b"", self._offset
        while length:
            if not block:
                # more the second time, when it is known that there is more than a byte to a character
                block = await self._block(length if length < 0 or not found else max(2 * length, 4096), at)
            piece = block if length < 0 else block[:length]
            text = decoder.decode(piece, length < 0 or not piece)
            found.append(text)
            at += len(piece)
            if length < 0 or not piece:
                break
            length = max(0, length - len(text))  # utf-7 gives several for one byte, and all is not meant then
            block = block[len(piece) :]
        pending, state = decoder.getstate()
        decoder.setstate((b"", state))
        self._offset = self._decoder_at = at - len(pending)
        return "".join(found)

    async def _line(self, size: int, ends: str) -> str:
        if self._plain and size < 0:
            start = self._offset
            line = await self._line_of_bytes(-1, encoded(self.file, ends, 1))
            try:
                return self.file.decode_bytes(line)
            except UnicodeDecodeError:
                self._offset = start
                raise
        start, count = self._offset, 1024
        while True:
            self._offset = start
            wanted = count if size < 0 else min(count, size)
            text = await self._read(wanted)
            end = text.find(ends)
            if end >= 0 or len(text) < wanted or wanted == size:
                break
            count *= 4
        if end < 0:
            return text
        self._offset = start
        return await self._read(end + len(ends))

    def _bytes_of(self, data: str) -> bytes:
        if not isinstance(data, str):
            raise TypeError(f"{self.name!r}: it takes text, not bytes; open it with a b for bytes")
        return encoded(self.file, data, self._offset)


def async_open(
    file_specifier: Path | SyncNode | Face | IO[Any],
    mode: str = "r",
    encoding: str = "utf-8",
    context: Any = None,
    executor: Any = None,
    *,
    errors: str = "strict",
    newline: str | None = None,
    files: Any = None,
    **options: Any,
) -> AsyncBinaryFile | AsyncTextFile:
    """A file of this machine or of a store, to be read and written by ``await``: ``async with async_open(path) as f``.

    What begins with a scheme (``s3://``, ``hypha://workspace/alias/name``, ``mem://``, ``https://``) is of a store; all
    else is a path of this machine, ``workspace/alias`` too. With ``files``, an ``ArtifactFiles`` or
    ``AsyncArtifactFiles``, it is a name in that; a node of a mount says both. A file that is open already keeps its
    mode, and stays open. ``newline`` is what ends a line, and no more than that: nothing is translated.

    ``context`` and ``executor`` are aiofile's, and say how files of this machine are read; ``options`` are those of
    ``ArtifactFiles`` and its ``open``, for those of stores. Files of the same place that are open at the same time
    share connections. What is stored, and when, ``AIOFile`` says. Nothing is opened here: a missing file is a
    ``FileNotFoundError`` of ``async with`` or ``await``.
    """
    if hasattr(file_specifier, "place"):  # a node; asked so, since few programs have any, and mounts cost an import
        node = cast("SyncNode | Face", file_specifier)
        if files is not None or node.version is not None:
            raise TypeError("a node is opened as it is now, and says where; for a version there is node.open()")
        files, file_specifier = node.place("write" if mode_of(mode).writable else "read")
    if isinstance(file_specifier, str | os.PathLike):
        options.setdefault("synced", False)  # ``flush`` is for that
        file = AIOFile(file_specifier, mode, encoding, context, executor, errors=errors, files=files, **options)
    else:
        if files is not None:
            raise TypeError("files= goes with the name of a file")
        file = AIOFile.from_fp(
            file_specifier, encoding=encoding, context=context, executor=executor, errors=errors, **options
        )
    kind = AsyncBinaryFile if file.mode.binary else AsyncTextFile
    return kind(file, newline=newline)
