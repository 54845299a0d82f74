"""Files of stores, which pass for aiofile's: read by ranges through the cache, and stored when they are closed."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from ..async_files import AsyncArtifactFiles, check_not_green
from ..awaited import AsyncFile
from ..backends import split_cloudpath
from ..bridge import call
from ..files import ArtifactFiles
from ..paths import check_name
from ..ranges.awaited import AsyncRangeFile
from ..redact import without_credentials
from ..remote import RANGE_OPTIONS, files_of
from .low import AIOFile, NotOpen, Path, mode_of

# Options of a file that is written; all others are those of ``ArtifactFiles``.
_WRITING = frozenset({"content_type", "cache_control"})
# Cursors that are kept, so that each of so many readers is read ahead for.
_CURSORS = 16


class RemoteFile(AIOFile):
    """The file of a cloudpath, or with ``files`` of a name there."""

    _is_of_a_kind: ClassVar[bool] = True

    def __init__(
        self,
        filename: Path,
        mode: str = "r",
        encoding: str = "utf-8",
        context: object = None,
        executor: object = None,
        *,
        errors: str = "strict",
        files: ArtifactFiles | AsyncArtifactFiles | None = None,
        synced: bool = True,
        **options: Any,
    ) -> None:
        if not isinstance(filename, str):
            raise TypeError(f"a cloudpath, or a name in files=, is a string, not {type(filename).__name__}")
        self.mode = mode_of(mode)
        self.errors = errors or "strict"
        self._encoding = encoding or "utf-8"
        self._name = filename
        own = RANGE_OPTIONS if self.mode.readable and not self.mode.writable else _WRITING
        self._options = {name: value for name, value in options.items() if name in own}
        others = {name: value for name, value in options.items() if name not in own}
        if files is None:
            split_cloudpath(filename.partition("?")[0])  # a wrong one is an error here, not when it is opened
            self._place: _Shared | tuple[ArtifactFiles, str] = _Shared(filename, others)
        else:
            if others:
                raise TypeError(f"these are said when files= is made: {', '.join(sorted(others))}")
            given = files if isinstance(files, ArtifactFiles) else files.files
            check_not_green(given)
            self._place = given, check_name(filename)
        self._kind = "".join(letter for letter in mode if letter not in "bt") + "b"
        self._reading: AsyncRangeFile | None = None
        self._cursors: list[AsyncRangeFile] = []
        self._writing: AsyncFile | None = None
        self._next = self._size = 0
        self._closed = False
        self._turn = asyncio.Lock()

    # -- life -------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its cloudpath, or its name in what it was opened with."""
        return without_credentials(self._name)

    @property
    def encoding(self) -> str:
        """That of text."""
        return self._encoding

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that runs."""
        return asyncio.get_running_loop()

    @property
    def closed(self) -> bool:
        """Whether it is closed, or not open yet."""
        return self._closed or (self._reading is None and self._writing is None)

    def size_now(self) -> int:
        """How many bytes it has, with those that were written."""
        self._check_open()
        return self._size

    def _check_open(self) -> None:
        if self._closed:
            raise NotOpen(f"{self.name!r}: the file is closed")
        if self._reading is None and self._writing is None:
            raise NotOpen(f"{self.name!r}: not open: use 'async with', or await it")

    async def open(self) -> None:
        """Find out what is there. ``ObjectNotFound``, a ``FileNotFoundError``, where there is nothing to be read or
        changed; ``ObjectExists``, a ``FileExistsError``, for "x" where there is something."""
        async with self._turn:
            if self._closed:
                self._check_open()
            if not self.closed:
                return
            files, name = self._place if isinstance(self._place, tuple) else self._place.taken()
            try:
                if self.mode.writable:
                    await self._open_to_write(files, name)
                else:
                    reading = AsyncRangeFile(files, name, **self._options)
                    await reading.open()
                    self._reading, self._size = reading, reading.size
            except BaseException:
                await self._given_back()
                raise

    async def _open_to_write(self, files: ArtifactFiles, name: str) -> None:
        writing = AsyncFile(name, self._kind, partial(files.open, name, self._kind, **self._options))
        await writing.__aenter__()
        if self._kind[0] in "ra":
            self._size = await call(partial(_end_of, writing))
        self._writing = writing

    async def _given_back(self) -> None:
        if isinstance(self._place, _Shared):
            await self._place.given_back()

    async def close(self) -> None:
        """Close it, once all that share it have: what was written is stored, and on Hypha committed."""
        await self._end("close")

    async def abort(self) -> None:
        """Close it, for all that share it, and store nothing."""
        self._clones = 0
        await self._end("abort")

    async def _end(self, how: str) -> None:
        if self.closed:
            return
        if self._clones:
            self._clones -= 1
            return
        self._closed = True
        self._cursors.clear()
        try:
            if self._writing is not None:
                await getattr(self._writing, how)()
        finally:
            await self._given_back()

    def fileno(self) -> int:
        """It has none."""
        raise io.UnsupportedOperation(f"{self.name!r}: the file of a store has no number on this machine")

    # -- reading ----------------------------------------------------------------------------------------------

    async def read_bytes(self, size: int = -1, offset: int = 0) -> bytes:
        """So many bytes from an offset on, fewer at the end; all for -1. To be cancelled cancels the transfer."""
        self.check_readable()
        self._check_open()
        if size < -1 or offset < 0:
            raise ValueError(f"{self.name!r}: size={size}, offset={offset}: expected numbers of bytes, or size -1")
        if self._reading is None:
            return await self._to_write().do(partial(_read_at, size=size, offset=offset))
        cursor = self._cursor_at(self._reading, offset)
        content = await cursor.read(size)
        if len(self._cursors) >= _CURSORS:
            del self._cursors[0]
        self._cursors.append(cursor)
        return content

    def _cursor_at(self, reading: AsyncRangeFile, offset: int) -> AsyncRangeFile:
        """One that goes on there, or a new one: so each reader has its own, and is read ahead for."""
        for index, cursor in enumerate(self._cursors):
            if int(cursor.tell()) == offset:
                return self._cursors.pop(index)
        cursor = reading.clone()
        cursor.seek(offset)
        return cursor

    # -- writing ----------------------------------------------------------------------------------------------

    def _to_write(self) -> AsyncFile:
        """What is written to, where it can be."""
        self.check_writable()
        self._check_open()
        return self._writing  # type: ignore[return-value]  # it is open, to be written

    @property
    def _in_order(self) -> bool:
        """Whether there is no going back: what was written may be on its way."""
        return self._kind in ("wb", "xb")

    async def write_bytes(self, data: bytes, offset: int = 0) -> int:
        """Write all of it at an offset: with "w" and "x" the one where the last one ended, with "a" always the end."""
        writing = self._to_write()
        if not self._in_order:
            written = await writing.do(partial(_write_at, data=data, offset=offset))
            end = written if self.mode.appending else offset + len(data)
            if data:  # to write nothing behind the end fills nothing up
                self._size = max(self._size, end)
            return len(data)
        if offset != self._next:
            raise io.UnsupportedOperation(
                f"{self.name!r}: mode {self._kind[0]!r} writes from the beginning to the end, so the next offset is "
                f"{self._next}, not {offset}; mode '{self._kind[0]}+' writes anywhere"
            )
        self._next = self._size = offset + len(data)  # at once: those who write at the same time do so in this order
        return await writing.write(data)

    async def fsync(self) -> None:
        """Nothing is there before it is closed; what was written is on its way, or kept until then."""
        self._check_open()

    async def fdsync(self) -> None:
        """``fsync``."""
        self._check_open()

    async def truncate(self, length: int = 0) -> None:
        """Cut it, or fill it up with zeros; what is written from the beginning to the end can only stay as it is."""
        writing = self._to_write()
        if not self._in_order:
            await writing.truncate(length)
            self._size = length
        elif length != self._next:
            raise io.UnsupportedOperation(
                f"{self.name!r}: mode {self._kind[0]!r} cannot cut what was written; mode '{self._kind[0]}+' can"
            )


def _end_of(writing: AsyncFile) -> int:
    return int(writing.seek(0, io.SEEK_END))


def _read_at(file: Any, size: int, offset: int) -> bytes:
    file.seek(offset)
    content: bytes = file.read(size)
    return content


def _write_at(file: Any, data: bytes, offset: int) -> int:
    """Where it stands then."""
    file.seek(offset)
    file.write(data)
    return int(file.tell())


class _Shared:
    """The ``ArtifactFiles`` of a cloudpath, which files that are open at the same time have in common, and so also its
    connections, and the calls that sign."""

    _open: ClassVar[dict[object, tuple[ArtifactFiles, int]]] = {}  # and how many files there are
    _changing = threading.Lock()  # guards the one above

    def __init__(self, cloudpath: str, options: Mapping[str, Any]) -> None:
        self._cloudpath = cloudpath
        self._options = options
        self._key: object = self  # where what it is asked with cannot be compared
        if "?" not in cloudpath:
            root = split_cloudpath(cloudpath)[0]
            key = (root, tuple(sorted(options.items())))
            try:
                hash(key)
            except TypeError:
                return
            self._key = key

    def taken(self) -> tuple[ArtifactFiles, str]:
        """It, and the name of the file there; to be given back."""
        with self._changing:
            files, users = self._open.get(self._key, (None, 0))
            if files is None:
                files, name = files_of(self._cloudpath, self._options)
                check_not_green(files)
            else:
                name = split_cloudpath(self._cloudpath)[1]
            self._open[self._key] = files, users + 1
            return files, name

    async def given_back(self) -> None:
        """It is needed no more; the last one closes it."""
        with self._changing:
            files, users = self._open.pop(self._key)
            if users > 1:
                self._open[self._key] = files, users - 1
                return
        await asyncio.shield(call(files.close))
