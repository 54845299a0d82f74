"""What may be uploaded, brought into one form: bytes in memory, or a ``Body`` that is read afresh each time."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import weakref
from pathlib import Path
from typing import IO, Any, cast

from ..models import Body

Content = bytes | bytearray | memoryview | str | IO[bytes] | os.PathLike[str]
"""Bytes or anything with a buffer, text (sent as UTF-8), an open binary file, or the path of a local file."""

# What cannot be read twice is copied, to memory up to this many bytes, to a temporary file beyond.
_SPOOL = 8 * 1024 * 1024


class _Reader(io.RawIOBase):
    """A reader that can be put anywhere, counted from its beginning."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the beginning")
        self._go(offset)
        return offset

    def _go(self, offset: int) -> None:
        raise NotImplementedError


class LocalFile:
    """A file on disk, as a ``Body``; its size is taken now."""

    def __init__(self, path: os.PathLike[str]) -> None:
        self._path = path
        there = os.stat(path)
        self.size = there.st_size
        self._stamp = (there.st_size, there.st_mtime_ns)

    def check(self) -> None:
        """Raise ``OSError`` if the file has been written to since; several reads of it may then not fit together."""
        there = os.stat(self._path)
        if (there.st_size, there.st_mtime_ns) != self._stamp:
            raise OSError(f"{os.fspath(self._path)}: the file has changed while it was uploaded")

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte."""
        return open(self._path, "rb", buffering=0)


class PartOf:
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


class InMemory:
    """Bytes in memory, as a ``Body``."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._view = memoryview(content)
        self.size = len(content)

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte."""
        return cast(IO[bytes], _View(self._view))


class _View(_Reader):
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


class _Behind(_Reader):
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


class OpenFile:
    """An open binary file from its present position on, as a ``Body``.

    It is left open, and may be anywhere afterwards.
    One that cannot seek is copied first, so that a second attempt sends the same bytes.
    """

    def __init__(self, file: IO[bytes], path: str) -> None:
        try:
            self._start = file.tell()
            end = file.seek(0, io.SEEK_END)
            file.seek(self._start)
            self._file = file
        except (AttributeError, OSError, io.UnsupportedOperation):
            spool = tempfile.SpooledTemporaryFile(_SPOOL)  # noqa: SIM115 -- lives as long as this body
            weakref.finalize(self, spool.close)
            while block := file.read(1024 * 1024):
                if not isinstance(block, bytes):
                    raise TypeError(f"{path!r}: the file gives text; open it in binary mode") from None
                spool.write(block)
            self._start, end, self._file = 0, spool.tell(), spool
        self.size = max(0, end - self._start)

    def open(self) -> IO[bytes]:
        """A reader at the first byte; closing it leaves the file open."""
        return cast(IO[bytes], _Borrowed(self._file, self._start))


# Guards seeking and reading, which belong together: one file may be uploaded under many names at once.
_reading = threading.Lock()


class _Borrowed(_Reader):
    """A view of somebody else's file that begins at an offset, has a place of its own, and is not closed with it."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file = file
        self._start = start
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        with _reading:
            self._file.seek(self._start + self._at)
            block = self._file.read(size)
        self._at += len(block)
        return block

    def _go(self, offset: int) -> None:
        self._at = offset


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
        return OpenFile(content, path)
    try:
        view = memoryview(content)
        # only what lies in the order of its indices, and is not empty, can be looked at as bytes without a copy
        return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())
    except TypeError:
        raise TypeError(
            f"{path!r}: cannot upload {type(content).__name__}; give bytes, text, an open binary file or a path"
        ) from None
