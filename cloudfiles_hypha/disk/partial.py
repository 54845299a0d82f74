"""A file on its way to disk: a temporary file beside its target, and a journal of the bytes that are in it.

The target is at all times what it was before, or complete. What a killed process leaves is taken up again: the
journal is written after the bytes it speaks of, so it never promises too much while the machine runs; after a
restart of the machine it is not believed. Transfers nothing, compares nothing: see ``download``.

Whoever holds the lock of the journal owns its name and that of the temporary file. The journal has the lock since it
is made first and removed last, while the file moves to the target. Who finds it taken works on a file of a random name
and keeps no journal: nobody would find it.

Format of the journal: a line of JSON (what is being downloaded), then a line ``START END`` for each run of bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from ..plan.ranges import Spans
from .locks import AVAILABLE, lock

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
        stem = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        self._known_part, self._known_journal = self._hidden(stem, "part"), self._hidden(stem, "journal")
        self._part = self._known_part  # or one of a random name
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
        if not (os.path.lexists(self._known_journal) or os.path.lexists(self._known_part)):
            return False
        self._journal = self._own_journal()
        if not self.resumable:  # somebody is at it
            return False
        self._part = self._known_part
        usable = False
        try:
            with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                self._descriptor = os.open(self._part, os.O_RDWR | _BINARY)
                header, spans = _read_journal(self._journal)
                usable = header == self._header(header["size"], header["etag"]) and header["etag"] is not None
                usable = usable and os.fstat(self._descriptor).st_size == header["size"]
        except BaseException:
            self._close()
            raise
        if not usable:
            self.discard()
            return False
        self.size, self.etag = header["size"], header["etag"]
        self._spans = spans
        self.resumed = spans.total
        return True

    def create(self, size: int | None, etag: str | None, *, resumable: bool) -> None:
        """Make the temporary file (and the folder it is in); with ``resumable`` the next attempt will find it."""
        mode = 0o666
        with suppress(OSError):
            there = os.lstat(self.target).st_mode
            if stat.S_ISREG(there):  # a private file stays private, also while it is being written
                mode = stat.S_IMODE(there)
        try:
            self._make(mode, resumable=resumable)
        except FileNotFoundError:
            self.discard()
            os.makedirs(self._folder, exist_ok=True)
            self._make(mode, resumable=resumable)
        self.size, self.etag = size or 0, etag
        if self.resumable:
            os.ftruncate(self._descriptor, self.size)
            os.write(self._journal, json.dumps(self._header(self.size, etag)).encode() + b"\n")

    def _make(self, mode: int, *, resumable: bool) -> None:
        if resumable:
            with suppress(FileExistsError):  # another process began the same download a moment ago
                self._journal = self._own_journal(os.O_EXCL)
        if self.resumable:
            self._part = self._known_part
            _remove(self._part)  # without a journal nobody has it
        else:
            self._part = self._hidden(secrets.token_hex(8), "part")
        self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, mode)

    def _own_journal(self, exclusive: int = 0) -> int:
        """A descriptor of the journal, locked, and made if need be; -1 if somebody else has it."""
        journal = os.open(self._known_journal, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY | exclusive, 0o600)
        try:
            # Windows does not let two processes open it in the first place; elsewhere whoever locked it before this may
            # have removed it since, and a third have made another
            if (not AVAILABLE or lock(journal)) and _is_at(journal, self._known_journal):
                return journal
        except OSError:  # a disk without locks: there nobody owns anything
            if exclusive:
                _remove(self._known_journal)
        os.close(journal)
        return -1

    def _header(self, size: int, etag: str | None) -> dict[str, Any]:
        return {"format": _FORMAT, "source": self._source, "size": size, "etag": etag, "boot": _boot()}

    def _hidden(self, stem: str, kind: str) -> str:
        return os.path.join(self._folder, f".cloudfiles-{stem}.{kind}")

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
        if self.resumable and not _is_at(self._descriptor, self._part):
            self.discard()  # somebody who knows nothing of locks has been at it: who knows what is there now
            raise FileNotFoundError(errno.ENOENT, "the temporary file was removed while it was written", self._part)
        try:
            self._close_part()
            _set_time(self._part, modified)
            os.replace(self._part, self.target)
        except BaseException:
            if not self.resumable:
                _remove(self._part)
            self._close()
            raise
        self._remove_journal()

    def publish_made(self, blocks: Iterable[bytes], modified: float | None = None) -> int:
        """Put a file of these blocks, which are made of this one, where it belongs instead; its size."""
        made = self._hidden(secrets.token_hex(8), "part")
        mode = stat.S_IMODE(os.fstat(self._descriptor).st_mode)
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
        size = 0
        try:
            with open(descriptor, "wb", buffering=0) as file:
                for block in blocks:
                    view = memoryview(block)
                    while view:
                        view = view[file.write(view) :]
                    size += len(block)
            _set_time(made, modified)
            os.replace(made, self.target)
        except BaseException:
            _remove(made)
            raise
        resumed = self.resumed
        self.discard()
        self.resumed = resumed
        return size

    def leave(self) -> None:
        """Stop here, and keep what can be taken up again."""
        if self.opened and self.resumable and self._spans.total:
            self._close()
        else:
            self.discard()

    def discard(self) -> None:
        """Remove the temporary file and the journal; ``create`` may be called again."""
        if self.opened or self.resumable:
            self._close_part()
            try:
                _remove(self._part)
            finally:
                self._remove_journal()
        self._spans = Spans()
        self.resumed = 0

    def _remove_journal(self) -> None:
        """Remove it, if there is one, while it is still locked: a moment later another's may have its name."""
        if self.resumable:
            if _REMOVES_OPEN:
                _remove(self._known_journal)
            self._close()
            if not _REMOVES_OPEN:
                _remove(self._known_journal)

    def _close_part(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _close(self) -> None:
        journal, self._journal = self._journal, -1
        try:
            self._close_part()
        finally:
            if journal >= 0:
                os.close(journal)


_BINARY = getattr(os, "O_BINARY", 0)
_POSITIONED = hasattr(os, "pread") and hasattr(os, "pwrite")
_GATHERS = hasattr(os, "pwritev")
_REMOVES_OPEN = os.name != "nt"


def _set_time(path: str, modified: float | None) -> None:
    if modified is not None:
        with suppress(OSError, OverflowError):  # a disk that keeps no times, or not this one
            os.utime(path, (modified, modified))


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _is_at(descriptor: int, path: str) -> bool:
    """Whether an open file is the one that a path leads to."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def _read_journal(journal: int) -> tuple[dict[str, Any], Spans]:
    """The header, and which bytes are there. A last line without its end was being written, and does not count."""
    with open(journal, "rb", closefd=False) as file:
        first, *lines = file.read().split(b"\n")[:-1]
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
