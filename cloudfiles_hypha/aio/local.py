"""Files of this machine: aiofile's own ``AIOFile``, which says what is wrong, reads to the end, and waits less."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, BinaryIO, ClassVar, NamedTuple, cast

import aiofile
import caio
from aiofile.aio import get_default_context

from .low import AIOFile, NotOpen, Path, local_path, mode_of

if TYPE_CHECKING:
    from caio.asyncio_base import AsyncioContextBase

# How much is asked for where the system does not say how much there is.
_BLOCK = 64 * 1024
# Files of up to so many bytes are read in the thread that opens them, which halves the time that they take.
_SMALL = 64 * 1024
# Nanoseconds after which every change of a file is sure to have another time than the last one.
_SETTLED = 100_000_000
# The most that Linux reads by one call is a little below 2 GiB.
_MOST = 1024**3


class Head(NamedTuple):
    """All of a small file, and by what it can be told that it is not that any more."""

    content: bytes
    changed: int


def _opened(path: str, mode: str) -> tuple[IO[Any], Head | None]:
    """An open file; with its content, if that is little, and a later change of it will be seen."""
    file = open(path, mode)  # noqa: SIM115 -- closed by whoever has it opened
    status = os.fstat(file.fileno())
    if (
        hasattr(os, "pread")
        and stat.S_ISREG(status.st_mode)
        and 0 < status.st_size <= _SMALL
        and time.time_ns() - status.st_mtime_ns > _SETTLED
    ):
        content = os.pread(file.fileno(), status.st_size, 0)
        if len(content) == status.st_size:
            return file, Head(content, status.st_mtime_ns)
    return file, None


def _just_opened(path: str, mode: str) -> tuple[IO[Any], None]:
    return open(path, mode), None


class LocalFile(aiofile.AIOFile, AIOFile):  # type: ignore[misc]  # its mode is a tuple of the same names
    """A file of this machine. ``synced``: ``close`` waits until what was written is on the disk, as aiofile has it."""

    _is_of_a_kind: ClassVar[bool] = True

    def __init__(
        self,
        filename: Path,
        mode: str = "r",
        encoding: str = "utf-8",
        context: AsyncioContextBase | None = None,
        executor: Executor | None = None,
        *,
        errors: str = "strict",
        files: None = None,
        synced: bool = True,
        **options: Any,
    ) -> None:
        if options:
            raise TypeError(f"{os.fspath(filename)!r}: options of stores, not of local files: {', '.join(options)}")
        path = local_path(filename)
        if path is None:
            raise ValueError(f"{filename!r}: this is no path of this machine")
        mode_of(mode)  # refuses those that would be found out about later
        self._context = context or get_default_context()
        super().__init__(path, mode, encoding or "utf-8", self._context, executor)
        self.errors = errors or "strict"
        self._synced = synced
        # who asks for a context wants it to read, and who writes will
        at_once = context is None and not synced and not self.mode.writable
        self._opener: Callable[[str, str], tuple[IO[Any], Head | None]] = _opened if at_once else _just_opened
        self._head: Head | None = None
        self._opening: asyncio.Future[Any] | None = None
        self._waiting = 0
        self._in_threads = _in_threads(self._context)
        self._cancelled = False  # whether the kernel was asked for something that nobody waits for any more
        self._busy = 0  # operations that have its number; until they have ended, no other file may get that
        self._idle: asyncio.Future[None] | None = None
        self._to_close: IO[Any] | None = None

    @classmethod
    def _from_fp(cls, fp: IO[Any], **options: Any) -> LocalFile:
        name, mode = getattr(fp, "name", None), getattr(fp, "mode", None)
        if not isinstance(mode, str) or not isinstance(name, str | int | os.PathLike):
            raise TypeError(f"{fp!r:.60}: expected a path, a cloudpath or an open file of the system's")
        # a Path, so that a name is never taken for a cloudpath
        made = cls(_Literal(str(name)), mode, **options)
        made._file_obj, made._file_obj_owner = cast(BinaryIO, fp), False
        return made

    def fileno(self) -> int:
        """Its number; ``NotOpen``, a ``ValueError``, where it is not open."""
        file = self._file_obj
        if file is None:
            raise NotOpen(f"{self._fname!r}: not open: use 'async with', or await it")
        if file.closed:
            raise NotOpen(f"{self._fname!r}: the file is closed")
        return file.fileno()

    def size_now(self) -> int:
        """How many bytes it has."""
        return os.fstat(self.fileno()).st_size

    async def open(self) -> int | None:
        """Open it, in a thread; its number, or None if that has been done. ``FileNotFoundError`` and its like."""
        if self._file_obj is not None:
            self.fileno()
            return None
        if self._opening is None:
            self._opening = self._run_in_thread(self._opener, self._fname, self._open_mode)
        opening = self._opening
        self._waiting += 1
        try:
            file, self._head = await asyncio.shield(opening)
        except asyncio.CancelledError:
            if self._waiting == 1:  # nobody else wants it
                opening.add_done_callback(_let_go)
            raise
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._opening = None
        self._file_obj = cast(BinaryIO, file)
        return self.fileno()

    async def close(self) -> None:
        """Close it, once all that share it have, and what was begun has ended, though it be cancelled; with what was
        written on the disk, if that is wanted."""
        file = self._file_obj
        if file is None or not self._file_obj_owner or file.closed:
            return
        if self._clones:
            self._clones -= 1
            return
        if self._busy and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe may never have anything to read
            self._to_close, self._file_obj = file, _CLOSED
        elif self._busy:
            await asyncio.shield(asyncio.ensure_future(self._close_when_idle(file)))
        elif not self.mode.writable:
            file.close()  # waits for nothing
        else:
            await self._close_now(file)

    async def _close_now(self, file: IO[Any]) -> None:
        try:
            if self._cancelled:  # the kernel looks at numbers in turn: at all before this one, once this one has ended
                with suppress(OSError, SystemError, ValueError):  # what caio says where it is not readable
                    await self._context.read(1, file.fileno(), 0)
            if self._synced and self.mode.writable:
                await self.fdsync()
        finally:
            await self._run_in_thread(file.close)

    async def _close_when_idle(self, file: IO[Any]) -> None:
        while self._busy:
            if self._idle is None:
                self._idle = self.loop.create_future()
            await self._idle
        await self._close_now(file)

    def _has_ended(self, _: object = None) -> None:
        """One operation less."""
        self._busy -= 1
        if self._busy:
            return
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
        if self._to_close is not None:
            self._to_close.close()

    async def _to_its_end(self, operation: Coroutine[Any, Any, int]) -> int:
        """What an operation gives. Where it goes on though it is cancelled, so does what counts it."""
        self._busy += 1
        if self._in_threads:
            task = asyncio.ensure_future(operation)
            task.add_done_callback(self._has_ended)
            return await asyncio.shield(task)
        try:
            return await operation
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        finally:
            self._has_ended()

    async def abort(self) -> None:
        """Close it; what was written is there."""
        await self.close()

    # those of ``low``, and not aiofile's: leaving a block is a task there, and text has no ``errors``
    clone = AIOFile.clone
    __await__ = AIOFile.__await__
    __aenter__ = AIOFile.__aenter__
    __aexit__ = AIOFile.__aexit__
    encode_bytes = AIOFile.encode_bytes
    decode_bytes = AIOFile.decode_bytes

    async def read_bytes(self, size: int = -1, offset: int = 0) -> bytes:
        """So many bytes from an offset on, fewer at the end; all for -1, also of what has no size (``/proc``)."""
        if size >= 0 and self._head is None and self.mode.readable:  # the common case
            self._busy += 1
            try:
                return await super().read_bytes(size, offset)
            finally:
                self._has_ended()
        self.check_readable()
        if self._head is not None and size >= -1 and offset >= 0:
            status = os.fstat(self.fileno())  # waits for nothing, of a file that is open
            if (status.st_size, status.st_mtime_ns) == (len(self._head.content), self._head.changed):
                return self._head.content[offset : None if size < 0 else offset + size]
            self._head = None
        self._busy += 1
        try:
            return await (self._rest(offset) if size == -1 else super().read_bytes(size, offset))
        finally:
            self._has_ended()

    async def _rest(self, offset: int) -> bytes:
        found: list[bytes] = []
        while True:
            status = os.fstat(self.fileno())
            rest = status.st_size - offset
            if rest <= 0 and status.st_size and stat.S_ISREG(status.st_mode):
                break
            block = await super().read_bytes(min(rest, _MOST) if rest > 0 else _BLOCK, offset)
            if block:
                found.append(block)
            if not block or len(block) == rest:
                break
            offset += len(block)
        return found[0] if len(found) == 1 else b"".join(found)

    async def write_bytes(self, data: bytes, offset: int = 0) -> int:
        """Write all of it at an offset."""
        self.check_writable()
        return await self._to_its_end(super().write_bytes(data if isinstance(data, bytes) else bytes(data), offset))

    async def truncate(self, length: int = 0) -> None:
        """Cut it, or fill it up with zeros."""
        cutting = self._run_in_thread(os.ftruncate, self.fileno(), length)
        self._busy += 1
        cutting.add_done_callback(self._has_ended)
        await asyncio.shield(cutting)


def _in_threads(context: AsyncioContextBase) -> bool:
    """Whether a context has threads, where what is cancelled goes on, and nobody hears of its end."""
    kernels = [kind.AsyncioContext for kind in (caio.linux_uring_asyncio, caio.linux_aio_asyncio) if kind is not None]
    return not isinstance(context, tuple(kernels))


_CLOSED = io.BytesIO()
_CLOSED.close()


class _Literal(os.PathLike[str]):
    """A path that is just that."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return self._path


def _let_go(opening: asyncio.Future[Any]) -> None:
    """It was opened for somebody who does not wait any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()
