"""What may be uploaded, brought into one form: bytes in memory, or a ``Body`` that is read afresh each time."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import weakref
from pathlib import Path
from typing import IO, Any, cast

from .models import Body

Content = bytes | bytearray | memoryview | str | IO[bytes] | os.PathLike[str]
"""Bytes or anything with a buffer, text (sent as UTF-8), an open binary file, or the path of a local file."""

# What cannot be read twice is copied, to memory up to this many bytes, to a temporary file beyond.
_SPOOL = 8 * 1024 * 1024


class LocalFile:
    """A file on disk, as a ``Body``; its size is taken now."""

    def __init__(self, path: os.PathLike[str]) -> None:
        self._path = path
        self.size = os.stat(path).st_size

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte."""
        return open(self._path, "rb", buffering=0)


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


class _Borrowed(io.RawIOBase):
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

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the beginning")
        self._at = offset
        return offset


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
