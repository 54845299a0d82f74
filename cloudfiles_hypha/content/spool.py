"""A copy of bytes that cannot be read again from where they came.

A module of its own because ``tempfile`` loads every compression there is, which few programs need. The calling thread
loads it: to copy a file of its user's, or as soon as it sees an ``into`` (``sinks``).
"""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Iterator
from typing import IO, cast

from ..models import Body
from .sources import BLOCK, Reader

# What is copied is in memory up to this many bytes, in a temporary file beyond.
SPOOLED = 8 * 1024 * 1024


class Spool(Body):
    """A copy of somebody's bytes, as a ``Body``: in memory if they are few, else in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 -- lives as long as this body
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()  # guards seeking and reading, which belong together
        self.size = 0

    def write(self, block: bytes | memoryview) -> None:
        """Add bytes at the end; not while it is being read."""
        self._file.write(block)
        self.size += len(block)

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes from a place."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

    def blocks(self) -> Iterator[bytes]:
        """All of it, block by block."""
        return self.between(0, self.size)

    def between(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes ``[start, end)``, block by block."""
        while start < end and (block := self.read_at(start, min(BLOCK, end - start))):
            yield block
            start += len(block)

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte."""
        return cast(IO[bytes], _Spooled(self))

    def close(self) -> None:
        """Let go of the copy."""
        self._file.close()


class _Spooled(Reader):
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        block = self._spool.read_at(self._at, self._spool.size if size < 0 else size)
        self._at += len(block)
        return block

    def _go(self, offset: int) -> None:
        self._at = offset
