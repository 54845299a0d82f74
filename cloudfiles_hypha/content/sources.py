"""What may be uploaded, brought into one form: bytes in memory, or a ``Body`` that is read afresh each time.

A file object that is not the system's own, and any iterator, is the user's code; see ``Foreign`` and ``Stream`` for
when it is called.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import weakref
from collections.abc import Generator, Iterator
from copy import copy
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from ..models import Body

if TYPE_CHECKING:
    from .spool import Spool

Content = bytes | bytearray | memoryview | str | IO[bytes] | os.PathLike[str] | Iterator[bytes]
"""Bytes or anything with a buffer, text (sent as UTF-8), an open binary file, the path of a local file, or an iterator
(a generator, say) of blocks of bytes."""

# Bytes that are copied at a time.
BLOCK = 1024 * 1024
_END = object()
_log = logging.getLogger("cloudfiles_hypha")


class Reader(io.RawIOBase):
    """A reader that can be put anywhere, counted from its beginning."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the beginning")
        self._go(offset)
        return offset

    def _go(self, offset: int) -> None:
        raise NotImplementedError


class LocalFile(Body):
    """A file on disk, as a ``Body``; its size is taken now."""

    def __init__(self, path: os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        there = os.stat(self._path)
        self.size = there.st_size
        self._stamp = (there.st_size, there.st_mtime_ns)

    def elsewhere(self) -> LocalFile:
        """The same one for a process whose working directory may be another."""
        other = copy(self)
        other._path = os.path.abspath(self._path)
        return other

    def check(self) -> None:
        """Raise ``OSError`` if the file has been written to since; several reads of it may then not fit together."""
        there = os.stat(self._path)
        if (there.st_size, there.st_mtime_ns) != self._stamp:
            raise OSError(f"{self._path}: the file has changed while it was uploaded")

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte."""
        return open(self._path, "rb", buffering=0)


class PartOf(Body):
    """``size`` bytes of another body, from ``start`` on, as a ``Body``."""

    def __init__(self, body: Body, start: int, size: int) -> None:
        self._body = body
        self._start = start
        self.size = size

    @classmethod
    def cut(cls, body: bytes | memoryview | Body, start: int, size: int) -> PartOf:
        """Part of any body; no copy is made."""
        return cls(body if isinstance(body, Body) else InMemory(body), start, size)

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte; it may read on beyond the last."""
        return cast(IO[bytes], _Behind(self._body.open(), self._start))


class InMemory(Body):
    """Bytes in memory, as a ``Body``."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._view = memoryview(content)
        self.size = len(content)

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte."""
        return cast(IO[bytes], _View(self._view))


class _View(Reader):
    """Reads a memoryview without copying more of it than is asked for."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        block = bytes(self._view[self._at : self._at + size if size >= 0 else None])
        self._at += len(block)
        return block

    def _go(self, offset: int) -> None:
        self._at = offset


class _Behind(Reader):
    """A reader that begins at an offset of another one, and closes it."""

    def __init__(self, reader: IO[bytes], start: int) -> None:
        self._reader = reader
        self._start = start
        reader.seek(start)

    def read(self, size: int = -1) -> bytes:
        return self._reader.read(size)

    def _go(self, offset: int) -> None:
        self._reader.seek(self._start + offset)

    def close(self) -> None:
        self._reader.close()
        super().close()


class OpenFile(Body):
    """An open file of the system's from its present position on, as a ``Body``; the file itself is left as it is.

    It may be closed as soon as this is made: what is read is read through a descriptor of our own.
    """

    def __init__(self, file: io.FileIO | io.BufferedReader | io.BufferedRandom) -> None:
        if isinstance(file, io.BufferedRandom):
            file.flush()
        self._start = file.tell()
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self.size = max(0, os.fstat(self._descriptor).st_size - self._start)

    @classmethod
    def can(cls, file: object) -> bool:
        """Whether that can be done with this file."""
        if not isinstance(file, io.FileIO | io.BufferedReader | io.BufferedRandom) or not hasattr(os, "pread"):
            return False
        try:
            return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        except (OSError, ValueError):  # it has no descriptor, or is closed
            return False

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte."""
        return cast(IO[bytes], _Positioned(self, self._descriptor, self._start))


class _Positioned(Reader):
    """Reads a descriptor from places of its own; keeps the body, and so the descriptor, open."""

    def __init__(self, body: OpenFile, descriptor: int, start: int) -> None:
        self._body = body
        self._descriptor = descriptor
        self._start = start
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        block = os.pread(self._descriptor, self._body.size if size < 0 else size, self._start + self._at)
        self._at += len(block)
        return block

    def _go(self, offset: int) -> None:
        self._at = offset


class Foreign(Body):
    """A user's own file object from its present position on: code that only its owner's thread may call.

    So whoever sends some of it has that thread ``copy`` it first. It is left open, and may be anywhere afterwards.
    """

    def __init__(self, file: IO[bytes], path: str) -> None:
        self._file = file
        self._path = path
        self._start = file.tell()
        self.size = max(0, file.seek(0, io.SEEK_END) - self._start)
        file.seek(self._start)

    def open(self) -> IO[bytes]:
        """A reader of a copy of all of it; for its owner's thread only."""
        return self.copy(0, self.size).open()

    def copy(self, start: int, size: int) -> Spool:
        """Bytes ``[start, start + size)``, read now."""
        from .spool import Spool

        spool = Spool()
        try:
            self._file.seek(self._start + start)
            while spool.size < size:
                block = _bytes(self._file.read(min(BLOCK, size - spool.size)), self._path)
                if not block:
                    raise OSError(
                        f"{self._path}: the file is {size - spool.size} bytes shorter than when it was measured; "
                        "has it changed?"
                    )
                spool.write(block)
        except BaseException:
            spool.close()
            raise
        return spool


class Fed:
    """An iterator of blocks that somebody else feeds, who holds a file open for that; nobody can tell for how long."""

    open = True


class Stream(Body):
    """A user's blocks of bytes, as many as there will be: code that only its owner's thread may call, and only once.

    ``transfers.stream`` reads it while it is sent. As a ``Body`` it can be opened by its owner's thread.
    """

    def __init__(self, blocks: Iterator[object], path: str) -> None:
        self._blocks = blocks
        self._path = path
        self._error: Exception | None = None
        self._copy: Spool | None = None
        self.size = 0  # bytes that it has given so far

    @property
    def fed(self) -> Fed | None:
        """What it comes from, if that is a file that somebody has open for writing."""
        return self._blocks if isinstance(self._blocks, Fed) else None

    def read(self) -> bytes:
        """The next bytes: a block, or many small ones; nothing at the end. Never again after an error."""
        if self._error is not None:
            raise self._error
        blocks: list[bytes] = []
        size = 0
        try:
            while size < BLOCK and (block := next(self._blocks, _END)) is not _END:
                blocks.append(_block(block, self._path))
                size += len(blocks[-1])
        except Exception as error:
            self._error = error
            raise
        except BaseException:  # Ctrl-C may have come anywhere, also where a block is lost
            self._error = OSError(f"{self._path}: reading its content was interrupted")
            raise
        self.size += size
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def close(self) -> None:
        """Nobody reads on: have a generator do what it does at its end."""
        blocks, self._blocks = self._blocks, iter(())
        self._error = self._error or OSError(f"{self._path}: its content was given up before its end")
        if isinstance(blocks, Generator):
            try:
                blocks.close()
            except Exception as error:  # noqa: BLE001 -- the item has failed already, with another error
                _log.warning("%s: the generator of its content failed when it was closed: %r", self._path, error)

    def open(self) -> IO[bytes]:
        """A reader of a copy of all of it; for its owner's thread only."""
        if self._copy is None:
            from .spool import Spool

            spool = Spool()
            while block := self.read():
                spool.write(block)
            self._copy = spool
        return self._copy.open()


def _block(block: object, path: str) -> bytes:
    if isinstance(block, bytes):
        return block
    try:
        return memoryview(block).tobytes()  # type: ignore[arg-type]  # a copy: the next one may lie in the same place
    except TypeError:
        raise TypeError(
            f"{path!r}: its content is an iterator that gives {type(block).__name__}; expected blocks of bytes"
        ) from None


def _bytes(block: object, path: str) -> bytes:
    if block is None:
        raise BlockingIOError(f"{path}: the file has nothing to read yet; give one that waits for its bytes")
    if isinstance(block, bytes | bytearray | memoryview):
        return bytes(block)
    raise TypeError(f"{path!r}: the file gives text; open it in binary mode")


def _of_file(file: IO[bytes], path: str) -> Body:
    """An open file as something to upload; called in its owner's thread."""
    if OpenFile.can(file):
        return OpenFile(cast(io.FileIO, file))
    if type(file) is io.BytesIO:
        return InMemory(memoryview(file.getvalue())[file.tell() :])
    try:
        foreign = Foreign(file, path)
        if foreign.size:  # some devices can seek, and say that they are empty
            return foreign
    except (AttributeError, OSError, io.UnsupportedOperation):
        pass  # it cannot seek: what is read cannot be read again
    return Stream(_read_on(file, path), path)


def _read_on(file: IO[bytes], path: str) -> Iterator[bytes]:
    while block := _bytes(file.read(BLOCK), path):
        yield block


def blocks_of(body: bytes | memoryview | Body) -> Iterator[bytes | memoryview]:
    """A body from its beginning, block by block; ``OSError`` if it has become shorter."""
    if not isinstance(body, Body):
        view = memoryview(body)
        yield from (view[at : at + BLOCK] for at in range(0, len(view), BLOCK))
        return
    with body.open() as reader:
        left = body.size
        while left:
            block = reader.read(min(BLOCK, left))
            if not block:
                raise OSError(f"it is {left} bytes shorter than when it was measured; has it changed?")
            yield block
            left -= len(block)


def as_body(content: Any, path: str) -> bytes | memoryview | Body:
    """``content`` as something to upload to ``path``; ``TypeError`` if it is none of the kinds that can be."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode("utf-8")
    if isinstance(content, Path) or (isinstance(content, os.PathLike) and not hasattr(content, "read")):
        return LocalFile(content)
    if isinstance(content, io.TextIOBase):
        raise TypeError(f"{path!r}: the file gives text; open it in binary mode")
    if hasattr(content, "read"):
        return _of_file(content, path)
    if isinstance(content, Iterator):
        if getattr(content, "gi_frame", content) is None:
            raise ValueError(f"{path!r}: this generator has been read to its end before, and gives nothing any more")
        return Stream(content, path)
    try:
        view = memoryview(content)
        # only what lies in the order of its indices, and is not empty, can be looked at as bytes without a copy
        return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())
    except TypeError:
        raise TypeError(
            f"{path!r}: cannot upload {type(content).__name__}; give bytes, text, an open binary file, a path, or an "
            "iterator of blocks of bytes"
        ) from None
