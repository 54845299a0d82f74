"""``Whole``: all bytes of an object of which no ranges can be had, downloaded once; on disk if they are many."""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Future
from typing import IO

# What is larger goes to a temporary file.
_IN_MEMORY = 8 * 1024 * 1024


class Whole:
    """Something to download to, by ``write``, and then to read from: by many threads, and in forked children."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()  # guards the place of the file, where that cannot be given with a read
        self.size = 0
        self.there: Future[None] = Future()  # done when it is complete, or failed; never has an exception
        self.error: BaseException | None = None
        self.given_up = False  # by whoever was at it, so that another one may try

    def write(self, block: bytes | memoryview) -> int:
        """The next bytes."""
        if self._file is None and self.size + len(block) > _IN_MEMORY:
            import tempfile  # only here: it loads every compression there is

            self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as this object
            weakref.finalize(self, self._file.close)
            self._file.write(self._bytes)
            self._bytes = bytearray()
        if self._file is None:
            self._bytes += block
        else:
            self._file.write(block)
        self.size += len(block)
        return len(block)

    def complete(self) -> None:
        """There is no more to come."""
        if self._file is not None:
            self._file.flush()
        self.there.set_result(None)

    def failed(self, error: BaseException, *, given_up: bool) -> None:
        """It does not come."""
        self.error, self.given_up = error, given_up
        self.there.set_result(None)

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes from a place."""
        if self._file is None:
            return bytes(self._bytes[offset : offset + size])
        if hasattr(os, "pread"):  # a child shares the place with its parent
            found = []
            while size and (block := os.pread(self._file.fileno(), size, offset)):
                found.append(block)
                offset += len(block)
                size -= len(block)
            return b"".join(found)
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)
