"""Where a caller wants the bytes of one read: in a buffer, or in an open file. For ``get``'s ``into``."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from typing import IO, Any

from ..errors import IntegrityError, PreconditionFailed, TransferError
from ..models import Fetched, GetRequest, ObjectInfo
from .digests import digest_in, is_strong
from .spool import Spool

# Bytes that are fetched before a user's file is given them.
_PIECE = 8 * 1024 * 1024


def check_into(into: object, path: str) -> None:
    """Raise ``TypeError`` unless bytes can be written there."""
    if hasattr(into, "write"):
        if isinstance(into, io.TextIOBase):
            raise TypeError(f"{path!r}: into={into!r:.60}: the file takes text; open it in binary mode")
        return
    _view(into, path)


def _view(into: Any, path: str) -> memoryview:
    try:
        view = memoryview(into)
    except TypeError:
        view = None
    if view is None or view.readonly or not view.c_contiguous:
        raise TypeError(f"{path!r}: into={into!r:.60}: expected a writable buffer or a binary file open for writing")
    return view.cast("B") if view.nbytes else view


def _whole_digest(info: ObjectInfo, request: GetRequest, *, s3_etags: bool) -> str | None:
    """The MD5 that all bytes of a request have together, where the object's ETag says so."""
    digest, parts = digest_in(info.headers.get if info.headers else {"etag": info.etag or ""}.get)
    return digest if request.whole and s3_etags and not parts else None


class _Cut:
    """Takes of an answer only what was asked for, also from a server that ignores ranges."""

    def __init__(self, start: int, end: int | None) -> None:
        self._start = start
        self._end = end
        self._skip = 0
        self._left: int | None = None  # how many bytes are to come, where that is known

    def begin(self, start: int, end: int | None) -> None:
        """Bytes ``[start, end)`` are about to come."""
        stop = end if self._end is None or (end is not None and end < self._end) else self._end
        self._skip = self._start - start
        self._left = None if stop is None else stop - self._start

    def cut(self, block: bytes) -> bytes:
        """What of the next bytes was asked for."""
        if self._skip:
            skipped = min(self._skip, len(block))
            self._skip -= skipped
            block = block[skipped:]
        if self._left is not None:
            block = block[: self._left]
            self._left -= len(block)
        return block

    @property
    def left(self) -> int | None:
        """How many bytes are to come, where that is known."""
        return self._left


class Encoded(TransferError):
    """The bytes that are about to come are not those that were asked for, but what they are encoded as."""

    def __init__(self, message: str = "the object is encoded", **about: Any) -> None:
        super().__init__(message, **about)


def _check_plain(info: ObjectInfo, request: GetRequest) -> None:
    if info.compress is not None and not request.raw:
        raise Encoded


def fill(into: Any, blocks: Iterable[bytes], path: str) -> memoryview:
    """Write blocks to a buffer, from its beginning; the part of it that was filled."""
    view = _view(into, path)
    at = 0
    for block in blocks:
        if at + len(block) > len(view):
            raise BufferError(f"{path!r}: more bytes than fit into a buffer of {len(view)}")
        view[at : at + len(block)] = block
        at += len(block)
    return view[:at]


def write_to(file: IO[bytes], block: bytes, path: str) -> None:
    """Write all of a block to a user's file; in the thread that it belongs to."""
    view = memoryview(block)
    while view:
        taken = file.write(view)
        if not isinstance(taken, int):  # it does not say: then it has taken all, as files in Python do
            return
        if not 0 < taken <= len(view):
            raise OSError(f"{path}: write() took {taken} of {len(view)} bytes")
        view = view[taken:]


class StoredSink:
    """Keeps the stored bytes of a whole object, of one attempt, and compares them with their MD5."""

    def __init__(self, *, s3_etags: bool) -> None:
        self._s3_etags = s3_etags
        self._spool = Spool()
        self._digest = hashlib.md5(usedforsecurity=False)
        self._expected: str | None = None
        self._size: int | None = None

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """An attempt begins to bring bytes."""
        self._size = end
        self._expected = _whole_digest(info, GetRequest(info.path), s3_etags=self._s3_etags)

    def write(self, block: bytes) -> None:
        """The next bytes."""
        self._spool.write(block)
        self._digest.update(block)

    def end(self, fetched: Fetched) -> tuple[Spool, Fetched]:
        """What has arrived, and what was verified."""
        if self._size is not None and self._spool.size != self._size:
            raise IntegrityError(f"expected {self._size} bytes, got {self._spool.size}")
        if self._expected is not None:
            _compare(self._digest.hexdigest(), self._expected)
            fetched = fetched._replace(verified="md5")
        return self._spool, fetched

    def close(self) -> None:
        """Let go of it."""
        self._spool.close()


class BufferSink:
    """Fills a buffer with the bytes of one read, from its beginning with each attempt."""

    def __init__(self, request: GetRequest, *, s3_etags: bool) -> None:
        self._request = request
        self._s3_etags = s3_etags
        self._view = _view(request.into, request.path)
        self._cut = _Cut(request.start or 0, request.end)
        self._at = 0
        self._digest = hashlib.md5(usedforsecurity=False)
        self._expected: str | None = None

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """An attempt begins to bring bytes."""
        _check_plain(info, self._request)
        self._cut.begin(start, end)
        left = self._cut.left
        if left is not None and left > len(self._view):
            raise BufferError(f"{self._request.path!r}: {left} bytes do not fit into a buffer of {len(self._view)}")
        self._at = 0
        self._expected = _whole_digest(info, self._request, s3_etags=self._s3_etags)
        self._digest = hashlib.md5(usedforsecurity=False)

    def write(self, block: bytes) -> None:
        """The next bytes; of a server that ignores ranges also those before and after what was asked for."""
        block = self._cut.cut(block)
        if self._at + len(block) > len(self._view):
            raise BufferError(f"{self._request.path!r}: more bytes than fit into a buffer of {len(self._view)}")
        if self._expected is not None:
            self._digest.update(block)
        self._view[self._at : self._at + len(block)] = block
        self._at += len(block)

    def end(self, verified: str | None) -> tuple[memoryview, str | None]:
        """The part of the buffer that was filled, and what was verified, if more than ``verified``."""
        if self._cut.left:
            raise IntegrityError(f"expected {self._at + self._cut.left} bytes, got {self._at}")
        if self._expected is None:
            return self._view[: self._at], verified
        _compare(self._digest.hexdigest(), self._expected)
        return self._view[: self._at], "md5"


def _compare(digest: str, expected: str) -> None:
    if digest != expected:
        raise IntegrityError(f"the bytes that arrived have MD5 {digest}, the object has {expected}")


class Piece:
    """Bytes that have arrived, all of them, and what is known of the object that they are of."""

    def __init__(self, spool: Spool, info: ObjectInfo, fetched: Fetched) -> None:
        self.spool = spool
        self.info = info
        self.known = fetched.verified is not None  # whether the server said how many there are

    def __enter__(self) -> Piece:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.spool.close()


class PieceSink:
    """Keeps what one attempt brings; from a server that ignores ranges all up to ``end``."""

    def __init__(self, wanted: GetRequest, end: int | None) -> None:
        self._wanted = wanted
        self._end = end
        self._cut = _Cut(wanted.start or 0, wanted.end)
        self._spool = Spool()
        self._info = ObjectInfo(wanted.path)

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """An attempt begins to bring bytes."""
        wanted = self._wanted
        _check_plain(info, wanted)
        if wanted.end is not None and (end is None or end > wanted.end):
            self._cut = _Cut(wanted.start or 0, self._end)
        self._cut.begin(start, end)
        self._info = info

    def write(self, block: bytes) -> None:
        """The next bytes."""
        self._spool.write(self._cut.cut(block))

    def end(self, fetched: Fetched) -> Piece:
        """What has arrived."""
        if self._cut.left:
            raise IntegrityError(f"expected {self._spool.size + self._cut.left} bytes, got {self._spool.size}")
        return Piece(self._spool, self._info, fetched)

    def close(self) -> None:
        """Let go of it."""
        self._spool.close()


class Writer:
    """Writes one read to a user's file, piece after piece; all of them are of one version of the object."""

    def __init__(self, request: GetRequest, *, s3_etags: bool) -> None:
        self.at = request.start or 0
        self._request = request
        self._s3_etags = s3_etags
        self._file: IO[bytes] = request.into
        self._begun = self._ended = False
        self._one_piece = False
        self._info = ObjectInfo(request.path)
        self._digest = hashlib.md5(usedforsecurity=False)
        self._expected: str | None = None
        self._known = True

    def next(self) -> GetRequest | None:
        """What to fetch now; None if all is written."""
        request = self._request
        if self._ended:
            return None
        end = request.end
        if not self._one_piece and (end is None or end - self.at > _PIECE):
            end = self.at + _PIECE
        pinned = self._info.etag if self._begun else None
        return request._replace(start=self.at or None, end=end, pinned=pinned)

    def write(self, piece: Piece) -> None:
        """Write a piece; in the thread that the file belongs to."""
        info, size = piece.info, piece.spool.size
        last = self._last(piece)
        if not self._begun:
            weak = not is_strong(info.etag)
            if not last and not self._one_piece and (weak or info.size is None):
                self._one_piece = True  # nothing says that two answers are of the same object, or which is the last
                return
            self._begun, self._info = True, info
            self._expected = _whole_digest(info, self._request, s3_etags=self._s3_etags)
        elif info.etag != self._info.etag:
            raise PreconditionFailed("the object has changed while it was read", path=self._request.path)
        self._known = self._known and piece.known
        for block in piece.spool.blocks():
            write_to(self._file, block, self._request.path)
            if self._expected is not None:
                self._digest.update(block)
        self.at += size
        self._ended = last
        if last and self._expected is not None:
            _compare(self._digest.hexdigest(), self._expected)

    def _last(self, piece: Piece) -> bool:
        if self._one_piece:
            return True
        stop, size = self._request.end, piece.info.size
        if size is None or (stop is not None and stop < size):
            return not piece.known or (stop is not None and self.at + piece.spool.size >= stop)
        return self.at + piece.spool.size >= size

    def fetched(self) -> Fetched:
        """What is known of the object, and what was verified."""
        info = self._info
        verified = "md5" if self._expected is not None else "length" if self._known else None
        return Fetched(b"", info.size, info.etag, info.content_type, verified, info.compress)
