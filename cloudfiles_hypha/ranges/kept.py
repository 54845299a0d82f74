"""Bytes of objects on disk, for later and for other processes: small files, each written whole or not at all.

A file has one stretch of one version of one object, and a checksum at its end, so that one that was torn (the machine
stopped) is seen and removed. Nothing is locked: two that write the same bytes give them the same name, and what
another process has removed is asked for again. What goes wrong with writing is warned of, once, and fails no read.
What else is in the folder is not looked at, and not removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import warnings
import zlib
from bisect import bisect_right, insort
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from ..engine.waiting import lock_that_outlasts_a_fork

# The largest file, all of which is read and compared to use any byte of it.
_LARGEST = 1024 * 1024
_CHECKSUM = 4
# A file that was used is noted as such (by its time) at most so often; seconds.
_NOTED = 60.0
# What a process that was killed has left of a file is removed after so many seconds.
_LEFT_OVER = 3600.0

# The folders of an object's version, and the files (and drafts of files) in it: what else is there is the user's.
_OURS = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{62}"), re.compile(r"\d+-\d+|\.\d+-\d+-\d+")

_numbers = count()


class Stretch(NamedTuple):
    """Bytes ``[start, end)``; what is asked for in place of them must not go beyond ``limit``."""

    start: int
    end: int
    limit: int
    there: bool


class Shelf:
    """One folder of files, of at most about ``limit`` bytes: each process looks after a sixteenth of that again."""

    def __init__(self, folder: str, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._unlooked = -1  # bytes written since the last look; -1 before the first one
        self._broken = False
        self._lock = lock_that_outlasts_a_fork()  # guards the two above

    def usable(self) -> bool:
        """Whether anything is written there."""
        return not self._broken and self.limit > 0

    def failed(self, error: OSError) -> None:
        """No more is written by this process."""
        with self._lock:
            before, self._broken = self._broken, True
        if not before:
            warnings.warn(
                f"cache_dir={self.folder!r}: what is read is not kept there any more: {error.strerror or error}",
                RuntimeWarning,
                stacklevel=2,
            )

    def wrote(self, length: int) -> None:
        """So many bytes were added; make room if there may be too many."""
        with self._lock:
            look = self._unlooked < 0 or self._unlooked + length > self.limit // 16
            self._unlooked = 0 if look else self._unlooked + length
        if look:
            self.trim()

    def trim(self) -> None:
        """Remove what was not used for the longest time, until there is room for another sixteenth."""
        found: list[tuple[float, int, str]] = []
        old = time.time() - _LEFT_OVER
        paths = [self.folder]
        for names in _OURS:
            paths = [os.path.join(path, name) for path in paths for name in _listed(path) if names.fullmatch(name)]
        for path in paths:
            with suppress(OSError):
                status = os.stat(path)
                if os.path.basename(path).startswith(".") and status.st_mtime < old:
                    os.unlink(path)
                else:
                    found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit - self.limit // 16:
                break
            with suppress(OSError):
                os.unlink(path)
                os.rmdir(os.path.dirname(path))  # if it is empty now
            total -= size


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # it is none, or gone
        return []


_shelves: dict[tuple[str, int], Shelf] = {}


def shelf(folder: str, limit: int) -> Shelf:
    """The one of this process for a folder."""
    return _shelves.setdefault((os.path.realpath(folder), limit), Shelf(os.path.realpath(folder), limit))


class Kept:
    """What is on disk of one version of one object."""

    def __init__(self, shelf: Shelf, version: str) -> None:
        digest = hashlib.sha256(version.encode()).hexdigest()
        self._shelf = shelf
        self._folder = os.path.join(shelf.folder, digest[:2], digest[2:])
        self._spans: list[tuple[int, int]] = []
        self._seen = 0  # the time of the folder when they were looked for
        self._lock = lock_that_outlasts_a_fork()  # guards the two above

    def _look(self) -> None:
        try:
            seen = os.stat(self._folder).st_mtime_ns
            if seen != self._seen:
                names = os.listdir(self._folder)
                self._spans = sorted(span for name in names if (span := _span(name)) is not None)
                self._seen = seen
        except OSError:
            self._spans, self._seen = [], 0

    def stretches(self, start: int, end: int, size: int) -> list[Stretch]:
        """``[start, end)`` in order, as what is there and what is not."""
        found: list[Stretch] = []
        with self._lock:
            self._look()
            spans = self._spans
            while start < end:
                at = bisect_right(spans, (start, size + 1)) - 1
                stop = max((last for _, last in spans[max(0, at - 3) : at + 1]), default=0)
                following = spans[at + 1][0] if at + 1 < len(spans) else size
                if stop > start:
                    found.append(Stretch(start, min(stop, end), min(stop, end), True))
                    start = min(stop, end)
                else:
                    found.append(Stretch(start, min(following, end), following, False))
                    start = min(following, end)
        return found

    def read(self, start: int, end: int) -> bytes | None:
        """Bytes ``[start, end)``, if they are there, all of them."""
        parts = []
        while start < end:
            with self._lock:
                at = bisect_right(self._spans, (start, end + _LARGEST * 2)) - 1
                near = [span for span in self._spans[max(0, at - 3) : at + 1] if span[0] <= start < span[1]]
            content = self._content(near[-1]) if near else None
            if content is None:
                return None
            first = near[-1][0]
            parts.append(content[start - first : end - first])
            start = min(end, near[-1][1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _content(self, span: tuple[int, int]) -> bytes | None:
        path = self._path(span)
        try:
            with open(path, "rb") as file:
                content = file.read()
                used = os.fstat(file.fileno()).st_mtime
            body = content[:-_CHECKSUM]
            if len(body) == span[1] - span[0] and _checksum(body) == content[-_CHECKSUM:]:
                if time.time() - used > _NOTED:
                    os.utime(path)
                return body
            os.unlink(path)
        except OSError:
            pass  # another process has removed it: then it is not there
        with self._lock:
            self._spans = [other for other in self._spans if other != span]
        return None

    def save(self, start: int, content: bytes) -> None:
        """Keep bytes, if that can be done."""
        if not self._shelf.usable():
            return
        for at in range(0, len(content), _LARGEST):
            block = content[at : at + _LARGEST]
            try:
                self._write((start + at, start + at + len(block)), block)
            except OSError as error:
                self._shelf.failed(error)
                return

    def _write(self, span: tuple[int, int], block: bytes) -> None:
        draft = os.path.join(self._folder, f".{os.getpid()}-{next(_numbers)}-{time.time_ns()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(draft, flags, 0o600)
        except FileNotFoundError:  # another process, which made room, has just removed it
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            descriptor = os.open(draft, flags, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(block)
                file.write(_checksum(block))
            os.replace(draft, self._path(span))
        except BaseException:
            with suppress(OSError):
                os.unlink(draft)
            raise
        with self._lock:
            if span not in self._spans:
                insort(self._spans, span)
        self._shelf.wrote(len(block) + _CHECKSUM)

    def _path(self, span: tuple[int, int]) -> str:
        return os.path.join(self._folder, f"{span[0]}-{span[1]}")


def _span(name: str) -> tuple[int, int] | None:
    first, dash, last = name.partition("-")
    if not dash or not first.isdecimal() or not last.isdecimal():
        return None
    return int(first), int(last)


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM, "big")
