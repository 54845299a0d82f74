"""One object on its way to a file on disk, in parts that several workers fetch at once.

The first request asks for the first part; its answer tells how large the object is, so no call is spent on asking.
All later parts are pinned to the ETag of that answer and written where they belong in a temporary file
(``disk.partial``), which is compared with the ETag while it fills (``content.digests``) and published when it is
right. Where the server gives no strong ETag, or ignores ranges, the object comes in one piece.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from ..content.codecs import MAX_SIZE_ON_DISK, check_encoding, decompress_blocks
from ..content.digests import EtagCheck, digest_in, is_strong, matches
from ..disk.partial import PartialFile
from ..disk.tree import read_blocks
from ..engine.run import Run
from ..errors import (
    DecompressionError,
    IntegrityError,
    NotModified,
    PreconditionFailed,
    RangeNotSatisfiable,
    TransferError,
)
from ..models import Fetched, GetRequest, ObjectInfo, Sink
from ..plan.parts import MIB
from .parts import InParts

# Bytes of the first part, whose speed decides on the others; small enough for the other workers to start soon.
FIRST_PART = 8 * MIB
_LARGEST_PART = 64 * MIB
_PART_SECONDS = 1.0
# Bytes that are collected before they are written: libcurl gives 16 KiB at a time, and a system call costs as much.
_GATHER = 256 * 1024
_MOST_BLOCKS = 512  # a system call takes 1,024
# Bytes that count as progress: a connection that breaks after so many is not an attempt that failed.
_PROGRESS = 64 * 1024
# How often a file is begun again because the object changed, or because what arrived is not what it should be.
_RESTARTS = 2
# Bytes of a part after which the journal is told.
_JOURNAL = MIB
_NOTE_SECONDS = 0.1

Fetch = Callable[[GetRequest, Sink], Fetched]
"""Fetch what a request asks for into a sink: one attempt."""


@dataclass(slots=True)
class Part:
    """Bytes ``[start, end)``; ``end`` is None for all there is, from a server that cannot be asked for parts."""

    start: int
    end: int | None


class Download(InParts[Part]):
    """The state of one download; ``fetch_part`` is what a worker does in its turn.

    ``source`` names the object for the journal; ``width`` is how many workers may be at it; ``part`` is the size of the
    parts in bytes, None lets it adapt; ``etag_is_md5`` says whether the server's ETags are an S3's, ``checksum``
    whether what arrives is compared with them; ``size`` is what a listing says, if there was one. With ``compare``
    nothing is fetched if the target has the content already, which is ``NotModified``. ``watched`` is told of bytes
    that have arrived. All of this is of stored bytes; unless the request is ``raw`` the target gets them decoded.
    """

    def __init__(
        self,
        request: GetRequest,
        target: Path,
        source: str,
        *,
        width: int,
        part: int | None,
        etag_is_md5: bool,
        checksum: bool = True,
        size: int | None,
        compare: bool = False,
        watched: Callable[[Run, int], None] | None = None,
    ) -> None:
        super().__init__(width)
        self.request = request
        self.size = size  # as the listing says, and then as the server says
        self.etag: str | None = None
        self.content_type: str | None = None
        self.modified: float | None = None  # when the object was, which becomes the time of the file
        self.verified: str | None = None
        self.compress: str | None = None  # what the stored bytes are encoded with
        self.written: int | None = None  # bytes of the file
        self.attempts = 0
        self.error: Exception | None = None  # the first that ended a turn for good
        self._file = PartialFile(target, source)
        self._fixed_part = part
        self._part = part or FIRST_PART
        self._etag_is_md5 = etag_is_md5
        self._checksum = checksum and etag_is_md5
        self._compare = compare
        self._watched = watched
        self._check: EtagCheck | None = None
        self._in_parts = True
        self._pinned: str | None = None
        self._todo: list[tuple[int, int]] = []  # gaps that nobody is at
        self._begun = False  # the first part has been asked for, or an earlier attempt taken up
        self._looked = False
        self._measured = True  # the server says how long what it sends is
        self._restarts = 0
        self._doubtful: set[str] = set()
        self._noted = 0  # bytes that the caller was told of, or is to be told of
        self._unnoted = 0  # those of them that it was not told of yet
        self._noted_at = 0.0

    @property
    def resumed(self) -> int:
        """Bytes that an earlier attempt had left."""
        return self._file.resumed

    # -- what is left to do; called with the lock held ----------------------------------------------------------

    def _next(self) -> Part | None:
        if not self._begun:
            self._begun = True
            if not self._in_parts:
                return Part(0, None)
            whole = self.size is not None and self.size <= self._part
            return Part(0, None if whole else self._part)
        if not self._todo:
            return None
        start, end = self._todo[0]
        stop = min(end, start + self._length())
        if stop == end:
            del self._todo[0]
        else:
            self._todo[0] = (stop, end)
        return Part(start, stop)

    def _length(self) -> int:
        """Bytes of the next part: towards the end they get smaller, so that all workers end at about the same time."""
        if self._fixed_part:
            return self._fixed_part
        left = sum(end - start for start, end in self._todo)
        return max(min(self._part, left // (2 * self._width)), FIRST_PART // 2)

    def _return(self, part: Part) -> None:
        if part.end is None or not self._file.opened:
            self._begun = False
        elif part.start < part.end:
            self._todo.append((part.start, part.end))

    def _left(self) -> int:
        if not self._begun:
            return 1
        return sum(-(-(end - start) // self._part) for start, end in self._todo)

    # -- a turn -------------------------------------------------------------------------------------------------

    def take_up(self) -> None:
        """Look for what an earlier attempt has left; before the first turn."""
        if self._looked:
            return
        self._looked = True
        if self._file.resume():
            self.size, self._pinned = self._file.size, self._file.etag
            self._begun = True
            self._todo = self._file.gaps()
            # the last byte is fetched again in any case: its answer tells whether the object is still the same one
            if not self._todo or self._todo[-1][1] < self._file.size:
                self._todo.append((max(0, self._file.size - 1), self._file.size))

    def fetch_part(self, part: Part, fetch: Fetch, run: Run) -> None:
        """One attempt at a part. Of what arrives before it fails as much as possible is kept: ``part`` then begins
        behind it, and if that was enough to call it progress, ``Progressed`` is raised."""
        if part.start and part.start == part.end:
            return  # an earlier attempt failed after all of it had arrived
        request = self.request._replace(start=part.start or None, end=part.end, pinned=self._pinned)
        if self._pinned is not None:
            request = request._replace(known=(), since=None)
        sink = _Arrival(self, part, run)
        began = monotonic()
        try:
            self._measured = fetch(request, sink).verified is not None
            sink.flush()
        except RangeNotSatisfiable as error:
            if self._pinned is None:
                raise
            raise PreconditionFailed("the object has become shorter", path=error.path, status=error.status) from None
        except TransferError as error:
            got = self._keep(sink, part, run)
            if error.retryable and got >= _PROGRESS:
                raise Progressed(error) from error
            raise
        if self._file.size < sink.at:
            self.size = self._file.size = sink.at  # of a server that does not say how much is to come
        self._file.arrived(part.start, sink.at)
        self._measure(sink.at - part.start, monotonic() - began)
        self._digest()

    def write(self, offset: int, blocks: list[bytes]) -> int:
        """Put what has arrived where it belongs; its size."""
        return self._file.write(offset, blocks)

    def arrived(self, start: int, end: int) -> None:
        """So much of a part is written already: it need not come again if this process is killed now."""
        if self._in_parts:
            self._file.arrived(start, end)

    def _keep(self, sink: _Arrival, part: Part, run: Run) -> int:
        """What an attempt brought before it failed stays, where parts can be told to belong together; its size."""
        if not self._in_parts or not self._file.opened:
            self.note(run, part.start - sink.at, at_once=True)
            return 0
        sink.flush()
        got = sink.at - part.start
        self._file.arrived(part.start, sink.at)
        part.start = sink.at
        return got

    def begin(self, info: ObjectInfo, start: int, end: int | None, part: Part) -> None:
        """An answer has begun. The first one says what is being downloaded; the others must agree with it."""
        self.etag, self.content_type, self.modified = info.etag, info.content_type, info.last_modified
        self.compress = info.compress
        if self.compress is not None and not self.request.raw:
            check_encoding(self.compress, self.request.path)  # before anything else is sent
        if start < part.start:
            raise InOnePiece
        if part.end is None and self._file.opened:
            self._file.discard()  # another attempt, from the beginning
        if not self._file.opened:
            if self._compare and self._is_there(info):
                raise NotModified("not fetched: it is here already", path=self.request.path)
            self._open(info, part, whole=end is None or end == info.size)
        elif (info.size, info.etag) != (self._file.size, self._file.etag):
            raise PreconditionFailed("the object has changed while it was downloaded", path=self.request.path)
        with self._lock:
            if self._check is None and self._checksum and info.size is not None:
                header = info.headers.get if info.headers else {"etag": info.etag or ""}.get
                self._check = EtagCheck(*digest_in(header), info.size)

    def _is_there(self, info: ObjectInfo) -> bool:
        """Whether the target has the digest of a multipart ETag. (That of a plain one the server has compared.)"""
        self._compare = False
        digest, parts = digest_in(info.headers.get) if self._etag_is_md5 else (None, 0)
        if digest is None or not parts or not info.size:
            return False
        with suppress(FileNotFoundError), open(self._file.target, "rb", buffering=0) as file:
            same_size = os.fstat(file.fileno()).st_size == info.size
            return same_size and bool(matches(digest, parts, info.size, partial(read_blocks, file)))
        return False

    def _open(self, info: ObjectInfo, part: Part, *, whole: bool) -> None:
        self.size = info.size
        if not whole and (info.size is None or not is_strong(info.etag)):
            raise InOnePiece  # nothing would say that two answers are of the same object
        self._in_parts = not whole
        folder = self._file.target.parent
        if not whole:
            folder.mkdir(parents=True, exist_ok=True)
        if not whole and info.size is not None and info.size > (free := shutil.disk_usage(folder).free):
            raise OSError(
                errno.ENOSPC, f"{info.size} bytes are to be written, and the disk has {free} left", str(folder)
            )
        self._file.create(info.size, info.etag, resumable=not whole)
        if not whole and info.size is not None and part.end is not None:
            self._pinned = info.etag
            with self._lock:
                self._todo = [(part.end, info.size)]

    def _measure(self, size: int, seconds: float) -> None:
        """Let a part take about a second: long enough for its overhead not to count, short enough to be repeated."""
        if self._fixed_part is None and size >= FIRST_PART // 2 and seconds > 0:
            wanted = int(size / seconds * _PART_SECONDS)
            with self._lock:
                self._part = max(FIRST_PART, min(_LARGEST_PART, wanted, 2 * self._part)) // MIB * MIB

    def _digest(self) -> None:
        while self._check is not None and self._check.advance(self._file.reach, self._file.read):
            continue

    def note(self, run: Run, size: int, *, at_once: bool = False) -> None:
        """Tell the caller of bytes that have arrived, or (negative) were for nothing."""
        if self._watched is None:
            return
        with self._lock:
            self._noted += size
            self._unnoted += size
            now = monotonic()
            if not at_once and now - self._noted_at < _NOTE_SECONDS:
                return
            self._noted_at = now
            size, self._unnoted = self._unnoted, 0
        self._watched(run, size)

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, check: Callable[[], object] = lambda: None) -> bool:
        """All parts are there: check and publish; for whoever was told of the end. False if it has to be done once
        more. Raises ``IntegrityError`` if that would be once too often. ``check`` is called while it is decoded, and
        may raise."""
        self._digest()
        try:
            if gaps := self._file.gaps():
                raise IntegrityError(f"{len(gaps)} parts of the file are missing")
            self.verified = self._check.verdict(self._file.read) if self._check is not None else "length"
            if self.verified == "length" and not self._measured:
                self.verified = None
            doubtful = self._check.doubtful if self._check is not None else None
            if doubtful is not None and doubtful not in self._doubtful:
                # Damaged, or uploaded in parts of an unusual size? Only in the latter case the same bytes come again.
                self._doubtful.add(doubtful)
                raise IntegrityError(f"the bytes do not have the ETag {self.etag}, and come differently each time")
        except IntegrityError as error:
            if not self.start_over(error):
                self._file.discard()
                raise
            return False
        self._publish(check)
        return True

    def _publish(self, check: Callable[[], object]) -> None:
        if self.compress is None or self.request.raw:
            self._file.publish(self.modified)
            self.written = self.size
            return
        most = MAX_SIZE_ON_DISK if self.request.max_size is None else self.request.max_size

        def decoded() -> Iterator[bytes]:
            stored = self._file.read(0, self._file.size)
            for block in decompress_blocks(stored, self.compress, most, self.request.path):
                check()
                yield block

        try:
            self.written = self._file.publish_made(decoded(), self.modified)
        except DecompressionError:
            self._file.discard()  # these are the bytes that are stored: they would not be any better the next time
            raise

    def start_over(self, error: Exception) -> bool:
        """Forget everything because of ``error``, for whoever was told of the end; False if that is of no use."""
        piece = isinstance(error, InOnePiece)
        if not piece and (self._restarts >= _RESTARTS or not isinstance(error, IntegrityError | PreconditionFailed)):
            return False
        self._restarts += not piece
        self._in_parts = not piece
        self._file.discard()
        self._unnoted -= self._noted  # what comes instead is told of again
        self._noted = 0
        self._check = self._pinned = self.size = None
        self._todo, self._begun = [], False
        self.reopen()
        return True

    def leave(self) -> None:
        """Give up, and keep what a later attempt can go on with."""
        self._file.leave()


class InOnePiece(TransferError):
    """The object cannot be had in parts that are sure to belong together."""

    def __init__(self) -> None:
        super().__init__("the server cannot be asked for parts")


class Progressed(TransferError):
    """An attempt has failed (``__cause__``) after it had brought something: it does not count as one."""

    def __init__(self, error: TransferError) -> None:
        super().__init__(str(error.args[0]), path=error.path, status=error.status)


class _Arrival:
    """The sink of one attempt at a part."""

    def __init__(self, download: Download, part: Part, run: Run) -> None:
        self._download = download
        self._part = part
        self._run = run
        self._blocks: list[bytes] = []
        self._waiting = 0
        self.at = part.start  # up to where it is written
        self._journalled = part.start

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        self._download.begin(info, start, end, self._part)
        self.at = self._journalled = start

    def write(self, block: bytes) -> None:
        self._blocks.append(block)
        self._waiting += len(block)
        if self._waiting >= _GATHER or len(self._blocks) >= _MOST_BLOCKS:
            self.flush()

    def flush(self) -> None:
        if self._blocks:
            written = self._download.write(self.at, self._blocks)
            self.at += written
            self._blocks, self._waiting = [], 0
            if self.at - self._journalled >= _JOURNAL:
                self._download.arrived(self._journalled, self.at)
                self._journalled = self.at
            self._download.note(self._run, written)
