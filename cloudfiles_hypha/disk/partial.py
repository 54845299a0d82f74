"""A file on its way to disk: a temporary file beside its target, and a journal of the bytes that are in it.

The target is at all times what it was before, or complete. What a killed process leaves is taken up again: the
journal is written after the bytes it speaks of, so it never promises too much while the machine runs; after a
restart of the machine it is not believed. Transfers nothing, compares nothing: see ``download``.

Format of the journal: a line of JSON (what is being downloaded), then a line ``START END`` for each run of bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from ..plan.ranges import Spans

_FORMAT = 1
_BLOCK = 1024 * 1024


class PartialFile:
    """One file being put together, by any number of threads.

    ``source`` says where from, for the journal. Nothing is on disk before ``resume`` or ``create``.
    """

    def __init__(self, target: Path, source: str) -> None:
        self.target = target
        self.size = 0
        self.etag: str | None = None
        self.resumed = 0  # bytes that were there already
        self._source = source
        self._descriptor = -1
        self._journal = -1
        self._folder, name = os.path.split(target)
        # Short: the target's own name may be as long as a name may be. The same for the same target: to be found.
        self._stem = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        self._spans = Spans()
        self._lock = Lock()  # guards the spans and the journal

    @property
    def opened(self) -> bool:
        """Whether there is a file."""
        return self._descriptor >= 0

    @property
    def resumable(self) -> bool:
        """Whether what is there would be taken up again."""
        return self._journal >= 0

    def resume(self) -> bool:
        """Take up what an earlier attempt has left; True if there is anything. Clears away what is of no use."""
        part, journal = self._paths()
        try:
            descriptor = os.open(part, os.O_RDWR | _BINARY)
        except FileNotFoundError:
            _remove(journal)
            return False
        if not _lock_file(descriptor):  # somebody is at it
            os.close(descriptor)
            self._stem = secrets.token_hex(8)
            return False
        try:
            header, spans = _read_journal(journal)
            usable = header == self._header(header["size"], header["etag"]) and header["etag"] is not None
            usable = usable and os.fstat(descriptor).st_size == header["size"]
        except (OSError, ValueError, KeyError, TypeError):
            usable = False
        if not usable:
            os.close(descriptor)
            _remove(part, journal)
            return False
        self.size, self.etag = header["size"], header["etag"]
        self._spans = spans
        self.resumed = spans.total
        self._descriptor = descriptor
        self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | _BINARY)
        return True

    def create(self, size: int | None, etag: str | None, *, resumable: bool) -> None:
        """Make the temporary file (and the folder it is in); with ``resumable`` the next attempt will find it."""
        if not resumable:
            self._stem = secrets.token_hex(8)
        mode = 0o666
        with suppress(OSError):
            there = os.lstat(self.target).st_mode
            if stat.S_ISREG(there):  # a private file stays private, also while it is being written
                mode = stat.S_IMODE(there)
        try:
            self._descriptor = self._new(mode)
        except FileNotFoundError:
            os.makedirs(self._folder, exist_ok=True)
            self._descriptor = self._new(mode)
        except FileExistsError:  # another process began the same download a moment ago
            resumable = False
            self._stem = secrets.token_hex(8)
            self._descriptor = self._new(mode)
        self.size, self.etag = size or 0, etag
        if resumable:
            _lock_file(self._descriptor)
            os.ftruncate(self._descriptor, self.size)
            self._journal = os.open(
                self._paths()[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | _BINARY, 0o600
            )
            os.write(self._journal, json.dumps(self._header(self.size, etag)).encode() + b"\n")

    def _new(self, mode: int) -> int:
        return os.open(self._paths()[0], os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, mode)

    def _header(self, size: int, etag: str | None) -> dict[str, Any]:
        return {"format": _FORMAT, "source": self._source, "size": size, "etag": etag, "boot": _boot()}

    def _paths(self) -> tuple[str, str]:
        stem = os.path.join(self._folder, f".cloudfiles-{self._stem}")
        return f"{stem}.part", f"{stem}.journal"

    def write(self, offset: int, blocks: Sequence[bytes]) -> int:
        """Put blocks one after the other at an offset; how many bytes that were."""
        if _GATHERS:
            total = sum(map(len, blocks))
            written = os.pwritev(self._descriptor, blocks, offset)
            if written == total:
                return total
            whole = b"".join(blocks)[written:]
        else:
            total, written, whole = sum(map(len, blocks)), 0, b"".join(blocks)
        view = memoryview(whole)
        while view:  # a disk may take less than it is given: when it is full, for one, the next call says so
            if _POSITIONED:
                done = os.pwrite(self._descriptor, view, offset + written)
            else:
                with self._lock:
                    os.lseek(self._descriptor, offset + written, os.SEEK_SET)
                    done = os.write(self._descriptor, view)
            written += done
            view = view[done:]
        return total

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """What is there, block by block."""
        while start < end:
            if _POSITIONED:
                block = os.pread(self._descriptor, min(_BLOCK, end - start), start)
            else:
                with self._lock:
                    os.lseek(self._descriptor, start, os.SEEK_SET)
                    block = os.read(self._descriptor, min(_BLOCK, end - start))
            if not block:
                raise OSError(f"{self.target}: the temporary file has become shorter")
            yield block
            start += len(block)

    def arrived(self, start: int, end: int) -> None:
        """Bytes ``[start, end)`` have been written."""
        if start < end:
            with self._lock:
                self._spans.add(start, end)
                if self._journal >= 0:
                    os.write(self._journal, f"{start} {end}\n".encode())

    def gaps(self) -> list[tuple[int, int]]:
        """What has not arrived yet, in order."""
        with self._lock:
            return list(self._spans.gaps(self.size))

    def reach(self, start: int) -> int:
        """The end of the run of bytes that are there from ``start`` on; ``start`` if that is not there."""
        with self._lock:
            return self._spans.reach(start)

    @property
    def total(self) -> int:
        """How many bytes have arrived."""
        with self._lock:
            return self._spans.total

    def publish(self, modified: float | None = None) -> None:
        """Put the finished file where it belongs, in place of what was there; ``modified`` is the time it gets."""
        part, journal = self._paths()
        again = self.resumable
        self._close()
        try:
            if modified is not None:
                with suppress(OSError, OverflowError):  # a disk that keeps no times, or not this one
                    os.utime(part, (modified, modified))
            os.replace(part, self.target)
        except BaseException:
            if not again:
                _remove(part)
            raise
        if again:
            _remove(journal)

    def leave(self) -> None:
        """Stop here, and keep what can be taken up again."""
        if self.opened and self.resumable and self._spans.total:
            self._close()
        else:
            self.discard()

    def discard(self) -> None:
        """Remove the temporary file and the journal; ``create`` may be called again."""
        if self.opened:
            self._close()
            _remove(*self._paths())
        self._spans = Spans()
        self.resumed = 0

    def _close(self) -> None:
        for descriptor in (self._descriptor, self._journal):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._journal = -1


_BINARY = getattr(os, "O_BINARY", 0)
_POSITIONED = hasattr(os, "pread") and hasattr(os, "pwrite")
_GATHERS = hasattr(os, "pwritev")


def _remove(*paths: str) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _read_journal(path: str) -> tuple[dict[str, Any], Spans]:
    """The header, and which bytes are there. A last line without its end was being written, and does not count."""
    first, *lines = Path(path).read_bytes().split(b"\n")[:-1]
    header = json.loads(first)
    if not isinstance(header, dict):
        raise ValueError("not a journal")
    spans = Spans()
    for line in lines:
        start, end = map(int, line.split())
        spans.add(start, end)
    return header, spans


def _boot() -> str:
    """Changes when the machine restarts, where that can be told."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _lock_file(descriptor: int) -> bool:
    """Whether this process is the one that works on the file; it is until the file is closed."""
    try:
        import fcntl
    except ImportError:  # Windows does not let two processes open it in the first place
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
