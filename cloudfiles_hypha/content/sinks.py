"""Where a caller wants the bytes of one read: in a buffer, or in an open file. The sinks for ``get``'s ``into``."""

from __future__ import annotations

import hashlib
import io
from typing import IO, Any

from ..errors import IntegrityError, TransferError
from ..models import GetRequest, ObjectInfo
from .digests import digest_in

Into = Any
"""A writable buffer of bytes (bytearray, memoryview, numpy array, ...), or a binary file open for writing."""


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


class IntoSink:
    """Takes the bytes of one read, and begins again at the same place with each attempt."""

    def __init__(self, request: GetRequest, *, etag_is_md5: bool) -> None:
        self._request = request
        self._etag_is_md5 = etag_is_md5
        self._file: IO[bytes] | None = None
        self._view = memoryview(b"")
        self._place: int | None = None  # where in the file the first byte belongs; None if it cannot seek
        self._begun = False
        self._skip = 0
        self._at = 0
        self._left: int | None = None  # how many bytes are to come, where that is known
        self._digest: Any = None
        self._expected: str | None = None
        if hasattr(request.into, "write"):
            self._file = request.into
            try:
                self._place = request.into.tell()
            except (AttributeError, OSError):
                self._place = None
        else:
            self._view = _view(request.into, request.path)

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """An attempt begins to bring bytes."""
        request = self._request
        wanted = request.start or 0
        stop = end if request.end is None or (end is not None and end < request.end) else request.end
        if self._file is None and stop is not None and stop - wanted > len(self._view):
            raise BufferError(f"{request.path!r}: {stop - wanted} bytes do not fit into a buffer of {len(self._view)}")
        if self._begun and self._at and self._file is not None:
            if self._place is None:
                raise TransferError("the transfer broke off, and the file cannot seek back for another attempt")
            self._file.seek(self._place)
            self._file.truncate()
        self._begun = True
        self._skip, self._at = wanted - start, 0
        self._left = None if stop is None else stop - wanted
        whole = request.whole and self._etag_is_md5
        digest, parts = digest_in(info.headers.get if info.headers else {"etag": info.etag or ""}.get)
        self._expected = digest if whole and not parts else None
        self._digest = hashlib.md5(usedforsecurity=False)

    def write(self, block: bytes) -> None:
        """The next bytes; of a server that ignores ranges also those before and after what was asked for."""
        if self._skip:
            skipped = min(self._skip, len(block))
            self._skip -= skipped
            block = block[skipped:]
        if self._left is not None and len(block) > self._left - self._at:
            block = block[: self._left - self._at]
        if self._expected is not None:
            self._digest.update(block)
        if self._file is not None:
            view = memoryview(block)
            while view:  # a raw file may take less than it is given
                view = view[self._file.write(view) :]
        elif self._at + len(block) > len(self._view):
            raise BufferError(f"{self._request.path!r}: more bytes than fit into a buffer of {len(self._view)}")
        else:
            self._view[self._at : self._at + len(block)] = block
        self._at += len(block)

    def end(self) -> tuple[memoryview | None, str]:
        """The part of the buffer that was filled (None for a file), and what was verified."""
        if self._left is not None and self._at < self._left:
            raise IntegrityError(f"expected {self._left} bytes, got {self._at}")
        if self._expected is not None and self._digest.hexdigest() != self._expected:
            raise IntegrityError(
                f"the bytes that arrived have MD5 {self._digest.hexdigest()}, the object has {self._expected}"
            )
        verified = "length" if self._expected is None else "md5"
        return (self._view[: self._at] if self._file is None else None), verified
