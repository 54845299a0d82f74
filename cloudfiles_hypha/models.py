"""The values that travel between the layers: requests, and what came of them. No I/O.

Byte ranges are half-open, like slices; times are seconds. ``arguments`` builds these from what the user wrote,
backends and transports read them. Those of which there is one for each item that is read are named tuples: a frozen
dataclass takes four times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, Protocol

# Types that say nothing: what a store gives to an object that came without one.
GENERIC = ("application/octet-stream", "binary/octet-stream")


class GetRequest(NamedTuple):
    """One read, as the caller asked for it: bytes ``[start, end)``; ``end=None`` reads to the end.

    ``into`` is where the caller wants the bytes, if not in the result. ``pinned`` is the ETag that the object must
    still have (else ``PreconditionFailed``), ``known`` are ETags of what is here already (then ``NotModified``),
    ``since`` is the time (seconds since 1970) after which it must have changed. Bytes are those of the decoded object
    for the caller, unless ``raw``, and at most ``max_size``; a backend always gives stored ones. ``part`` says that
    rather nothing is to be read than more than the range (``RangesUnsupported``); ``start`` may be negative then, with
    ``end=None``: so many bytes at the end. Those of a ``cut`` come as a list of blocks of so many bytes. ``version`` is
    one that the store still has, None what is there now; a backend is not told of it, but is the one ``at`` that
    version.
    """

    path: str
    start: int | None = None
    end: int | None = None
    tags: object = None
    into: Any = None
    pinned: str | None = None
    known: tuple[str, ...] = ()
    since: float | None = None
    raw: bool = False
    max_size: int | None = None
    part: bool = False
    version: str | None = None
    cut: int = 0

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


class Body:
    """A body to upload that is too large, or not meant, to be held in memory: bytes by offset.

    A base class and no protocol: asking whether something follows one takes 20 us on Python 3.11, for each request.
    """

    size: int

    def open(self) -> IO[bytes]:
        """A fresh reader at the first byte; each attempt opens its own."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PutRequest:
    """One write. ``body`` is bytes-like, or a ``Body`` that can be opened again for each attempt.

    ``compress`` is the codec that it is still to be encoded with; a backend is given it without, and with the
    ``content_encoding`` of what it stores. ``new`` says that there must be no object of this name yet, ``pinned`` is
    the ETag that the one that is to be overwritten must have (else ``PreconditionFailed``). ``metadata`` are the user's
    own names and values.
    """

    path: str
    body: bytes | memoryview | Body
    content_type: str | None = None
    cache_control: str | None = None
    content_encoding: str | None = None
    tags: object = None
    compress: str | None = None
    compression_level: int | None = None
    new: bool = False
    pinned: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def conditional(self) -> bool:
        """True when it takes effect depending on what is there by then."""
        return self.new or self.pinned is not None

    @property
    def size(self) -> int:
        """Bytes that will be sent."""
        return len(self.body) if isinstance(self.body, bytes | memoryview) else self.body.size


@dataclass(frozen=True, slots=True)
class Session:
    """One multipart upload as the server opened it: its id and the URL of each part, in order."""

    id: str
    urls: tuple[str, ...]


_METADATA = ("x-amz-meta-", "x-goog-meta-", "x-ms-meta-")


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
    compress: str | None = None
    """What the stored bytes are encoded with, by the names of ``content.codecs``."""

    @property
    def digest(self) -> str | None:
        """The ETag that tells content apart, if it is made as S3 makes it; ``etag`` tells versions apart, and may be
        another one."""
        return (self.headers.get("etag") or self.etag or "").strip('"') or None

    @property
    def metadata(self) -> dict[str, str]:
        """What its writer has said of it by names of their own, in lower case. A listing does not tell it, ``head``
        does; a store that keeps none tells none."""
        return {
            name[len(prefix) :]: value
            for name, value in self.headers.items()
            for prefix in _METADATA
            if name.startswith(prefix)
        }


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a file that the store still has: ``id`` is what it is read by, ``last_modified`` the time when it
    was stored (seconds since 1970). ``latest`` is the one that is read where none is named; where no version is, the
    file has been removed since."""

    id: str
    size: int | None = None
    etag: str | None = None
    last_modified: float | None = None
    latest: bool = False


class Fetched(NamedTuple):
    """The bytes of one read, and what came with them."""

    content: bytes
    size: int | None = None
    etag: str | None = None
    content_type: str | None = None
    verified: str | None = None
    compress: str | None = None
    """What the bytes are encoded with, by the names of ``content.codecs``."""


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
