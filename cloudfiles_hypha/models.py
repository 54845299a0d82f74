"""The values that travel between the layers: requests, results, settings. No I/O.

Byte ranges are half-open, like slices; times are seconds. ``files`` builds these from what the user wrote,
backends and transports read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Protocol, TypedDict, runtime_checkable


class Result(TypedDict):
    """What became of one item; always these keys.

    ``content`` is None for an item that failed and for verbs that return no bytes. ``byte_range`` is the
    ``(start, end)`` that was asked for. ``size`` is the whole object's size in bytes where it is known,
    ``etag`` as the server gave it (without quotes), ``attempts`` how many times the transfer was tried,
    ``verified`` what was compared besides the length ("md5", or "length" where no checksum was to be had).
    """

    path: str
    content: Any
    byte_range: tuple[int | None, int | None]
    error: Exception | None
    size: int | None
    etag: str | None
    content_type: str | None
    attempts: int
    verified: str | None
    compress: str | None
    raw: bool
    tags: object


class FileResult(TypedDict):
    """What became of one file on disk; always these keys.

    ``size`` in bytes, ``skipped`` if there was nothing to do, ``resumed`` how many bytes an earlier attempt had left,
    ``verified`` what the bytes were compared with besides their length: "md5", "etag-parts" (the MD5s of the parts of
    a multipart upload), or "length" where the server tells nothing to compare with.
    """

    path: str
    local_path: str
    size: int | None
    error: Exception | None
    skipped: bool
    resumed: int
    verified: str | None
    etag: str | None
    content_type: str | None
    attempts: int
    tags: object


class Comparison(TypedDict):
    """How a folder on disk and an artifact differ: lists of names, sorted, below what was compared.

    ``different`` have other bytes, ``missing`` are in the artifact only, ``extra`` on disk only. ``equal`` are the
    same by their digest, ``same_size`` by their size alone, where the server tells no digest to compare.
    """

    equal: list[str]
    same_size: list[str]
    different: list[str]
    missing: list[str]
    extra: list[str]


@dataclass(frozen=True, slots=True)
class GetRequest:
    """One read, as the caller asked for it: bytes ``[start, end)``; ``end=None`` reads to the end.

    ``into`` is where the caller wants the bytes, if not in the result. ``pinned`` is the ETag that the object must
    still have (else ``PreconditionFailed``), ``known`` are ETags of what is here already (then ``NotModified``),
    ``since`` is the time (seconds since 1970) after which it must have changed.
    """

    path: str
    start: int | None = None
    end: int | None = None
    tags: object = None
    into: Any = None
    pinned: str | None = None
    known: tuple[str, ...] = ()
    since: float | None = None

    @property
    def whole(self) -> bool:
        """True when the whole object is wanted, which is also what ``start=0`` says."""
        return not self.start and self.end is None

    @property
    def conditional(self) -> bool:
        """True when the answer depends on what the object is by then."""
        return self.pinned is not None or bool(self.known) or self.since is not None

    @property
    def empty(self) -> bool:
        """True when no byte is wanted (``start == end``)."""
        return self.end is not None and self.end == (self.start or 0)


@runtime_checkable
class Body(Protocol):
    """A body to upload that is too large, or not meant, to be held in memory: bytes by offset."""

    size: int

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte; each attempt opens its own."""


@dataclass(frozen=True, slots=True)
class PutRequest:
    """One write. ``body`` is bytes-like, or a ``Body`` that can be opened again for each attempt."""

    path: str
    body: bytes | memoryview | Body
    content_type: str | None = None
    cache_control: str | None = None
    content_encoding: str | None = None
    tags: object = None

    @property
    def size(self) -> int:
        """Bytes that will be sent."""
        return self.body.size if isinstance(self.body, Body) else len(self.body)


class Sink(Protocol):
    """Where the bytes of one read go, if not into memory."""

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """Bytes ``[start, end)`` of the object that ``info`` describes are about to come. May raise.

        ``end`` is None where the server does not say how many there are.
        """

    def write(self, block: bytes) -> object:
        """The next bytes."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of one object (``head``) without its bytes; None where the backend does not say."""

    path: str
    size: int | None = None
    etag: str | None = None
    content_type: str | None = None
    last_modified: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of one read, and what came with them."""

    content: bytes
    size: int | None = None
    etag: str | None = None
    content_type: str | None = None
    verified: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store said of one write; ``md5`` (hex) is that of the bytes that were sent."""

    size: int
    etag: str | None = None
    verified: str | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``connect`` bounds reaching the server; ``idle`` how long it may send (or take) almost nothing."""

    connect: float = 20.0
    idle: float = 60.0
