"""``mem://bucket``: files in this process's memory, gone with it. For tests, and as the simplest backend."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import cast

from ..content.codecs import encoding_name
from ..content.flow import Flow
from ..errors import NotModified, ObjectNotFound, PreconditionFailed
from ..models import Body, Fetched, GetRequest, ObjectInfo, PutRequest, Sink, Stored
from ..paths import Location, as_prefix
from ..redact import without_credentials
from ..transports.answers import slice_of
from . import Resources
from .base import Backend, Capabilities, Control, Ticket, flat_listing
from .conditions import lost


@dataclass(frozen=True, slots=True)
class _Object:
    content: bytes
    etag: str
    content_type: str | None
    modified: float
    headers: Mapping[str, str] = field(default_factory=dict)
    compress: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLocation(Location):
    """``mem://bucket[/prefix]``."""

    bucket: str


def locate(text: str, rest: str) -> MemoryLocation:
    """Take a cloudpath apart."""
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise ValueError(f"{without_credentials(text)!r}: a bucket name is missing, as in mem://bucket/prefix")
    return MemoryLocation(scheme="mem", root=f"mem://{bucket}", prefix=as_prefix(prefix, text), bucket=bucket)


def open_backend(location: MemoryLocation, resources: Resources) -> MemoryBackend:
    """The backend for a bucket."""
    return MemoryBackend(location.bucket)


_buckets: dict[str, dict[str, _Object]] = {}
_lock = Lock()  # guards the dictionaries; objects never change


def clear_memory() -> None:
    """Forget everything that is in ``mem://``."""
    with _lock:
        _buckets.clear()


_META = "x-amz-meta-"


def _meta(metadata: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {f"{_META}{name}": value for name, value in metadata}


class MemoryBackend(Backend):
    """Objects by name in a dictionary that all users of the bucket name share."""

    scheme = "mem"
    can = Capabilities(
        blocking=True,
        in_process=True,
        s3_etags=True,
        ordered=True,
        copies=True,
        flows=True,
        conditions=frozenset({"new", "pinned"}),
        lists_encodings=True,
        metadata=8192,
    )

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def _find(self, path: str) -> _Object:
        found = _buckets.get(self._bucket, {}).get(path)
        if found is None:
            raise ObjectNotFound("no such object", path=path)
        return found

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        found = self._find(request.path)
        content = found.content
        if request.pinned not in (None, found.etag):
            raise PreconditionFailed("the object has changed", path=request.path)
        if found.etag in request.known or (request.since is not None and found.modified <= request.since):
            raise NotModified("not sent: it is here already", path=request.path)
        if not request.whole:
            content = slice_of(content, request.start or 0, request.end)
        if sink is not None:
            start = request.start or 0
            sink.begin(self.head(request.path, ticket), start, start + len(content))
            sink.write(content)
            content = b""
        return Fetched(content, len(found.content), found.etag, found.content_type, "length", found.compress)

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object without reading it."""
        found = self._find(path)
        return ObjectInfo(
            path,
            len(found.content),
            found.etag,
            found.content_type,
            found.modified,
            found.headers,
            compress=found.compress,
        )

    def list(self, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, in order."""
        with _lock:
            names = sorted(_buckets.get(self._bucket, {}))
        return flat_listing(names, prefix, flat=flat)

    def scan(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``list``, with all that is known."""
        return (self.head(path, None) for path in self.list(prefix, flat=False, control=control))

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one object."""
        if isinstance(request.body, Flow):
            content = b"".join(request.body.rest())
        elif isinstance(request.body, Body):
            with request.body.open() as reader:
                content = reader.read()
        else:
            content = bytes(request.body)
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        kept = {"etag": etag, "cache-control": request.cache_control, "content-encoding": request.content_encoding}
        headers = {name: value for name, value in kept.items() if value} | _meta(request.metadata)
        compress = encoding_name(request.content_encoding)
        made = _Object(content, etag, request.content_type, time.time(), headers, compress)
        with _lock:
            bucket = _buckets.setdefault(self._bucket, {})
            there = bucket.get(request.path)
            if (request.new and there is not None) or (
                request.pinned is not None and (there is None or there.etag != request.pinned)
            ):
                raise lost(request)
            bucket[request.path] = made
        return Stored(len(content), etag, "length")

    def set_metadata(self, path: str, metadata: tuple[tuple[str, str], ...]) -> None:
        """Replace the metadata of an object."""
        with _lock:
            found = self._find(path)
            plain = {name: value for name, value in found.headers.items() if not name.startswith(_META)}
            made = replace(found, headers=plain | _meta(metadata), modified=time.time())
            _buckets[self._bucket][path] = made

    def copies_from(self, source: Backend) -> bool:
        """Whether ``copy`` can be asked for objects of that backend."""
        return isinstance(source, MemoryBackend)

    def copy(self, source: Backend, request: GetRequest, path: str, control: Control) -> Stored:
        """Make ``path`` a copy of an object."""
        found = cast(MemoryBackend, source)._find(request.path)
        if request.pinned not in (None, found.etag):
            raise PreconditionFailed("the object has changed", path=request.path)
        with _lock:
            _buckets.setdefault(self._bucket, {})[path] = replace(found, modified=time.time())
        return Stored(len(found.content), found.etag, "md5")

    def delete(self, path: str) -> None:
        """Remove one object; one that is not there counts as removed."""
        with _lock:
            _buckets.get(self._bucket, {}).pop(path, None)
