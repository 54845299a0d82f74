"""Objects in one bucket by the JSON API; bytes by our transports, as they are stored.

The ETag of an object is its generation, which pins it; its MD5 and CRC32C are compared with what moves. Tokens are
``auth``'s. Makes one attempt; but a large upload that broke off goes on in the next one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Any, cast
from urllib.parse import quote, urlencode

from ...content.codecs import encoding_name
from ...content.digests import check_checksum, checksum_of, content_md5, md5_of
from ...content.sources import PartOf, blocks_of
from ...errors import (
    AccessDenied,
    BucketNotFound,
    IntegrityError,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
    TransferError,
)
from ...models import Body, Fetched, GetRequest, ObjectInfo, PutRequest, Session, Sink, Stored
from ...plan.batches import BatchSizes
from ...plan.parts import MIB, MOST_PARTS
from ...redact import scrub
from ...transports import HttpRequest, HttpResponse, Transport
from ...transports.answers import error_of, fetch_into, read_body, slice_of
from ..base import Backend, Capabilities, Control, DirectWrites, StaleTicket, Ticket, WriteSession
from ..conditions import Conditions, lost
from .auth import Tokens

_FIELDS = "name,size,md5Hash,crc32c,generation,updated,contentType,contentEncoding,cacheControl,metadata"
# Bytes up to which an object is sent in one request, which holds them in memory; and of each piece of a larger one.
_AT_ONCE = 8 * MIB
_CHUNK = 16 * MIB
# What has another size than a multiple of that is taken as the last piece only.
_GRAIN = 256 * 1024
_ENCODING = "x-goog-stored-content-encoding"
_META = "x-goog-meta-"
_NO_BUCKET = re.compile("specified bucket does not exist", re.IGNORECASE)
_RECEIVED = re.compile(r"bytes=0-(\d+)")
_Resource = dict[str, Any]
_log = logging.getLogger("cloudfiles_hypha")


class GcsBackend(Backend):
    """The objects of one bucket."""

    scheme = "gs"
    can = Capabilities(
        s3_etags=True,
        growing=MOST_PARTS,
        ordered_parts=True,
        conditions=frozenset({"new", "pinned"}),
        lists_encodings=True,
        metadata=8192,
    )

    def __init__(self, host: str, bucket: str, tokens: Tokens, transport: Transport) -> None:
        self._host = host
        self.genuine = host.endswith(".googleapis.com")
        self._bucket = bucket
        self._tokens = tokens
        self._transport = transport
        self._authorized = cast(Transport, _Authorized(transport, tokens))
        # Google's own answers tell how an object is encoded; an emulator's may not, and then each is asked about first
        self._tells = True

    def _objects(self, query: Mapping[str, str], path: str | None = None, *, upload: bool = False) -> str:
        name = "" if path is None else f"/{quote(path, safe='')}"
        asked = f"?{urlencode(query)}" if query else ""
        return f"{self._host}{'/upload' if upload else ''}/storage/v1/b/{self._bucket}/o{name}{asked}"

    def _ask(self, method: str, url: str, path: str) -> _Resource:
        response = self._authorized.send(HttpRequest(method, url))
        if response.status not in (200, 204):
            raise self._error(response, path)
        return _parse(response, path) if response.body and method == "GET" else {}

    def _error(self, response: HttpResponse, path: str) -> TransferError:
        said = _said(response)
        error = error_of(response, path, said)
        if isinstance(error, ObjectNotFound) and _NO_BUCKET.search(said):
            return BucketNotFound(str(error.args[0]), path=path, status=response.status)
        if isinstance(error, AccessDenied) and self._tokens.anonymous:
            return AccessDenied(
                f"{error.args[0]}; no credentials were found, see docs/gcs.md", path=path, status=response.status
            )
        return error

    def _refusal(self, response: HttpResponse, request: PutRequest) -> TransferError:
        if response.status == 412 and request.conditional:
            return lost(request)
        return self._error(response, request.path)

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        path, pinned = request.path, request.pinned
        described: ObjectInfo | None = None
        in_parts = sink is not None and request.end is not None and not request.start and pinned is None
        in_parts = in_parts and not request.part
        # answers to ranges tell no digest, which whoever puts the parts together wants to know from the first one on
        if request.known or request.since is not None or in_parts or not self._tells:
            described = self.head(path, None)
            _check_modified(request, described)
            pinned = pinned or described.etag
        if pinned is not None and not pinned.isdigit():
            raise PreconditionFailed("the object has changed: it is pinned to what is no generation", path=path)
        url = self._objects({"alt": "media"} | ({} if pinned is None else {"ifGenerationMatch": pinned}), path)
        plain = request._replace(pinned=None, known=(), since=None)
        try:
            if sink is None:
                return self._fetch(url, plain, pinned, described)
            known = _Known(sink, pinned, described)
            return fetch_into(self._authorized, url, plain, known)._replace(etag=known.etag, compress=known.compress)
        except _Untold:
            self._tells = False
            return self.get(request, ticket, sink)
        except TransferError as error:
            if error.status in (401, 403) and self._tokens.anonymous:
                said = f"{error.args[0]}; no credentials were found, see docs/gcs.md"
                raise AccessDenied(said, path=path, status=error.status) from None
            raise

    def _fetch(self, url: str, request: GetRequest, pinned: str | None, described: ObjectInfo | None) -> Fetched:
        start = request.start or 0
        if described is not None and described.size is not None and start and start >= described.size:
            content = slice_of(b"", start, request.end, described.size)  # an emulator may not know 416
            found = described
            return Fetched(content, found.size, found.etag, found.content_type, "length", found.compress)
        headers = () if request.whole else (("Range", f"bytes={start}-{_last(request)}"),)
        response = self._authorized.send(HttpRequest("GET", url, headers))
        if response.status not in (200, 206, 416):
            raise self._error(response, request.path)
        if response.status == 416 and response.header("content-range") is None:
            info = self.head(request.path, None)
            content = slice_of(b"", start, request.end, info.size)
            return Fetched(content, info.size, info.etag, info.content_type, "length", info.compress)
        if described is None and _ENCODING not in response.headers:
            raise _Untold
        fetched = read_body(request, response, md5=False)
        verified = fetched.verified
        if request.whole and response.status == 200:
            verified = _compare(fetched.content, _hashes(response.header("x-goog-hash"))) or verified
        compress = fetched.compress if described is None else described.compress
        return fetched._replace(
            etag=response.header("x-goog-generation") or pinned, verified=verified, compress=compress
        )

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object without reading it."""
        return _info(self._ask("GET", self._objects({"fields": _FIELDS}, path), path), path)

    def list(self, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, in order."""
        for name, _ in self._pages(prefix, flat=flat, control=control):
            yield name

    def scan(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``list``, with all that is known."""
        for name, item in self._pages(prefix, flat=False, control=control):
            yield _info(item, name)

    def level(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``scan``, of one level, with its folders."""
        for name, item in self._pages(prefix, flat=True, control=control):
            yield _info(item, name) if item else ObjectInfo(name)

    def scan_after(self, prefix: str, name: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``scan``, from a name on."""
        for found, item in self._pages(prefix, flat=False, control=control, start=name):
            yield _info(item, found)

    def _pages(
        self, prefix: str, *, flat: bool, control: Control, start: str | None = None
    ) -> Iterator[tuple[str, _Resource]]:
        query = {"prefix": prefix, "fields": f"items({_FIELDS}),prefixes,nextPageToken", "maxResults": "1000"}
        if start is not None:
            query["startOffset"] = start
        if flat:
            query["delimiter"] = "/"
        while True:
            url = self._objects(query)
            page = control.retry(lambda url=url: self._ask("GET", url, prefix))  # type: ignore[misc]
            found: list[tuple[str, _Resource]] = [(item["name"], item) for item in page.get("items") or ()]
            found += [(name, {}) for name in page.get("prefixes") or ()]
            yield from sorted(found, key=lambda one: one[0])
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    # -- writing ------------------------------------------------------------------------------------------------

    def writing(self, control: Control) -> AbstractContextManager[WriteSession]:
        """What surrounds a batch of writes: it knows which uploads broke off."""
        return closing(_Writes(self))

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one object."""
        return _Writes(self).put(request, ticket)

    def put_at_once(self, request: PutRequest) -> Stored:
        """Store a small object: what is said of it and its bytes are one request (RFC 2387)."""
        content = _content(request)
        digest = content_md5(md5_of(content))
        boundary = os.urandom(16).hex()
        kind = request.content_type or "application/octet-stream"
        body = b"".join(
            (
                f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n".encode(),
                json.dumps(_resource(request, digest)).encode(),
                f"\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode(),
                content,
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        url = self._objects({"uploadType": "multipart", "fields": _FIELDS, **_condition(request)}, upload=True)
        headers = (("Content-Type", f"multipart/related; boundary={boundary}"),)
        response = self._authorized.send(HttpRequest("POST", url, headers, body, once=request.conditional))
        if response.status != 200:
            raise self._refusal(response, request)
        return _stored(response, request.path, request.size, digest)

    def open_upload(self, request: PutRequest, digest: str | None) -> str:
        """Begin the upload of a large object; its URL, which is as good as a token for it. Without a digest its size is
        not known either."""
        headers: tuple[tuple[str, str], ...] = (
            ("Content-Type", "application/json; charset=UTF-8"),
            ("X-Upload-Content-Type", request.content_type or "application/octet-stream"),
        )
        if digest is not None:
            headers = (*headers, ("X-Upload-Content-Length", str(request.size)))
        query = {"uploadType": "resumable", "name": request.path, "fields": _FIELDS, **_condition(request)}
        url = self._objects(query, upload=True)
        body = json.dumps(_resource(request, digest)).encode()
        response = self._authorized.send(HttpRequest("POST", url, headers, body))
        if response.status not in (200, 201):
            raise self._refusal(response, request)
        location = response.header("location") or ""
        if not location.startswith(f"{self._host}/"):
            raise ServerError("the upload is to go to another host, which gets no token", path=request.path)
        return location

    def send_chunk(self, request: PutRequest, url: str, digest: str, start: int | None) -> Stored | int:
        """Send the next piece, from ``start`` on, or (None) ask how far the upload is: what was stored, if that was
        the end, else how many bytes have arrived. ``ObjectNotFound`` if the upload is forgotten."""
        if start is None:
            sent, body = f"bytes */{request.size}", None
        else:
            size = min(_CHUNK, request.size - start)
            sent, body = f"bytes {start}-{start + size - 1}/{request.size}", PartOf.cut(request.body, start, size)
        return self._send_piece(HttpRequest("PUT", url, (("Content-Range", sent),), body or b""), request, digest)

    def send_unsized(
        self, request: PutRequest, url: str, digest: str, start: int, body: Body | None, total: int | None
    ) -> Stored | int:
        """Likewise with an upload whose size is told only with its ``total``: the piece that begins at ``start``, or
        (None) nothing."""
        last = "" if body is None else f"{start}-{start + body.size - 1}"
        headers: tuple[tuple[str, str], ...] = (
            ("Content-Range", f"bytes {last or '*'}/{'*' if total is None else total}"),
        )
        if total is not None:
            headers = (*headers, ("X-Goog-Hash", f"md5={digest}"))
        sized = replace(request, body=PartOf.cut(b"", 0, total or 0))
        return self._send_piece(HttpRequest("PUT", url, headers, body or b""), sized, digest)

    def _send_piece(self, asked: HttpRequest, request: PutRequest, digest: str) -> Stored | int:
        response = self._authorized.send(asked)
        if response.status in (200, 201):
            return _stored(response, request.path, request.size, digest)
        if response.status != 308:
            raise self._refusal(response, request)
        received = _RECEIVED.fullmatch((response.header("range") or "").strip())
        return int(received[1]) + 1 if received else 0

    def cancel_upload(self, path: str, url: str) -> None:
        """Have the store forget an upload; where that fails it does so after a week."""
        try:
            status = self._authorized.send(HttpRequest("DELETE", url)).status
        except TransferError as error:
            _log.info("%s: the unfinished upload could not be cancelled: %s", path, error)
        else:
            if status not in (204, 404, 410, 499):
                _log.info("%s: the unfinished upload could not be cancelled: HTTP %d", path, status)

    def set_metadata(self, path: str, metadata: tuple[tuple[str, str], ...]) -> None:
        """Replace the metadata of an object, if it still is the one that was looked at."""
        url = self._objects({"fields": "generation,metageneration,metadata"}, path)
        there = self._ask("GET", url, path)
        # what is not named stays, and what is null goes
        wanted = dict.fromkeys(there.get("metadata") or {}) | dict(metadata)
        pins = (("ifGenerationMatch", "generation"), ("ifMetagenerationMatch", "metageneration"))
        query = {name: str(there[key]) for name, key in pins if there.get(key)}
        body = json.dumps({"metadata": wanted}).encode()
        headers = (("Content-Type", "application/json; charset=UTF-8"),)
        response = self._authorized.send(HttpRequest("PATCH", self._objects(query, path), headers, body))
        if response.status != 200:
            raise self._error(response, path)

    def delete(self, path: str) -> None:
        """Remove one object; one that is not there counts as removed."""
        try:
            self._ask("DELETE", self._objects({}, path), path)
        except BucketNotFound:
            raise
        except ObjectNotFound:
            return

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()


class _Unsized:
    """The state of an upload of unknown size, whose pieces come one after the other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.size = 0  # of all pieces that are there
        self.digest = hashlib.md5(usedforsecurity=False)  # of these
        self.unsure = False  # whether some of the next one is there, too
        self.stored: Stored | None = None  # once the store was told that it is complete


@dataclass(frozen=True, slots=True)
class _UnsizedSession(Session):
    upload: _Unsized = field(kw_only=True, repr=False)  # whose URL is as good as a token


class _Writes(DirectWrites):
    """The writes of one batch. An upload in pieces is one session at Google's; a further attempt goes on with it."""

    def __init__(self, backend: GcsBackend) -> None:
        super().__init__(backend)
        self.put = self._put
        self._backend = backend
        self._begun: dict[str, tuple[str, str]] = {}  # by path: the session's URL, and the MD5 it was told of
        self._unsized: dict[str, str] = {}  # by path: the URL of an upload of unknown size
        self._lock = Lock()  # guards the two above
        # emulators may not look at conditions
        self._conditions = Conditions(partial(backend.head, ticket=None), heeds=backend.genuine)

    def _put(self, request: PutRequest, ticket: Ticket) -> Stored:
        return self._conditions.put(request, self._store) if request.conditional else self._store(request)

    def _store(self, request: PutRequest) -> Stored:
        if request.size <= _AT_ONCE:
            return self._backend.put_at_once(request)
        with self._lock:
            begun = self._begun.get(request.path)
        at: Stored | int = 0
        if begun is not None:
            try:
                at = self._backend.send_chunk(request, *begun, None)
            except ObjectNotFound:
                begun = None
        if begun is None:
            digest = content_md5(md5_of(request.body))
            begun = self._backend.open_upload(request, digest), digest
            with self._lock:
                self._begun[request.path] = begun
        while isinstance(at, int):
            before, at = at, self._backend.send_chunk(request, *begun, at)
            if isinstance(at, int) and at <= before:
                raise ServerError("the store takes no more of the upload, and does not say why", path=request.path)
        return at

    def sizes(self) -> BatchSizes:
        """How many uploads in parts are begun before they go on."""
        return BatchSizes(first=4, limit=100)

    def open_stream(self, request: PutRequest, most: int, lifetime: int, control: Control) -> Session:
        """Begin an upload of unknown size."""
        if request.conditional:  # before its bytes are sent for nothing
            control.retry(partial(self._conditions.check, request))
        url = control.retry(lambda: self._backend.open_upload(request, None))
        with self._lock:
            self._unsized[request.path] = url
        return _UnsizedSession("", (), upload=_Unsized(url))

    def put_part(self, request: PutRequest, session: Session, number: int) -> Stored:
        """Send the next piece, or what is missing of it. Its size tells whether it can only be the last one."""
        upload = _ours(session)
        end = upload.size + request.size
        digest = upload.digest.copy()
        for block in blocks_of(request.body):
            digest.update(block)
        total = end if request.size % _GRAIN else None
        send = partial(self._send, request, upload, content_md5(digest), total)
        at: Stored | int = send(None) if upload.unsure else upload.size
        while isinstance(at, int) and at < end:
            if at < upload.size:
                raise StaleTicket("the store has lost a piece of it", path=request.path)
            if total is not None:
                self._look_again(request)
            upload.unsure = True
            before, at = at, send(at)
            if isinstance(at, int) and at <= before:
                raise ServerError("the store takes no more of the upload, and does not say why", path=request.path)
        upload.stored = at if isinstance(at, Stored) else None
        upload.size, upload.digest, upload.unsure = end, digest, False
        return Stored(request.size, None, "md5", digest.hexdigest())

    def _send(
        self, request: PutRequest, upload: _Unsized, digest: str, total: int | None, at: int | None
    ) -> Stored | int:
        """Send the rest of a piece, from ``at`` on, or (None) ask what is there."""
        rest = None
        if at is not None:
            rest = PartOf.cut(request.body, at - upload.size, upload.size + request.size - at)
        try:
            return self._backend.send_unsized(request, upload.url, digest, at or 0, rest, total)
        except ObjectNotFound as error:
            raise StaleTicket(str(error.args[0]), path=request.path, status=error.status) from None

    def close_parts(self, request: PutRequest, session: Session, digests: Sequence[str], control: Control) -> Stored:
        """Say that the upload is complete, if the last piece has not said so."""
        upload = _ours(session)
        if upload.stored is None:
            control.retry(partial(self._look_again, request))

        def attempt() -> Stored:
            found = upload.stored
            if found is None:
                answer = self._send(request, upload, content_md5(upload.digest), upload.size, None)
                if isinstance(answer, int):
                    raise ServerError(f"the store has {answer} of {upload.size} bytes", path=request.path)
                found = answer
            return found

        return control.retry(attempt)

    def _look_again(self, request: PutRequest) -> None:
        """Directly before an upload takes effect, where the store may not look at its condition."""
        if request.conditional and not self._backend.genuine:
            self._conditions.check(request)

    def _forget(self, path: str) -> None:
        with self._lock:
            self._begun.pop(path, None)

    def failed(self, path: str) -> None:
        """The session is left to expire, after a week; what was sent in it is no object."""
        self._forget(path)
        with self._lock:
            url = self._unsized.pop(path, None)
        if url is not None:  # nobody can go on with it
            self._backend.cancel_upload(path, url)

    def succeeded(self, path: str) -> None:
        """There is nothing to go on with."""
        self._forget(path)
        with self._lock:
            self._unsized.pop(path, None)

    def close(self) -> None:
        """The batch is over, or was given up."""
        for path in [*self._unsized]:
            self.failed(path)


def _ours(session: Session) -> _Unsized:
    if not isinstance(session, _UnsizedSession):
        raise TypeError(f"{session!r} is not of this backend")
    return session.upload


class _Authorized:
    """A transport for one host: it shows the token there, follows no redirects, and has nothing decompressed for it.

    Without ``Accept-Encoding: gzip`` the store would decompress what is stored compressed, and ranges and digests would
    be of other bytes.
    """

    def __init__(self, transport: Transport, tokens: Tokens) -> None:
        self._transport = transport
        self._tokens = tokens

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request; once more with a fresh token if the server does not take this one."""
        response = self._send(request)
        if response.status == 401 and self._tokens.renew():
            return self._send(request)
        return response

    def _send(self, request: HttpRequest) -> HttpResponse:
        headers = (*request.headers, ("Accept-Encoding", "gzip"))
        if (token := self._tokens.current()) is not None:
            headers = (*headers, ("Authorization", f"Bearer {token}"))
        return self._transport.send(replace(request, headers=headers, follow=False))

    def aborting(self, threads: Collection[int]) -> AbstractContextManager[None]:
        """As the transport's."""
        return self._transport.aborting(threads)

    def forget(self, thread: int) -> None:
        """As the transport's."""
        self._transport.forget(thread)

    def close(self) -> None:
        """As the transport's."""
        self._transport.close()


class _Untold(Exception):
    """The answer does not say how the object is encoded."""


class _Known:
    """A sink that is told of the generation and the MD5 where HTTP would have an ETag."""

    def __init__(self, sink: Sink, pinned: str | None, described: ObjectInfo | None) -> None:
        self._sink = sink
        self._described = described
        self.etag = pinned
        self.compress: str | None = None
        self.write = sink.write

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """An answer has begun."""
        headers = dict(info.headers)
        self.etag = headers.get("x-goog-generation") or self.etag
        headers["etag"] = f'"{self.etag or ""}"'
        if self._described is not None:
            headers["etag"] = self._described.headers["etag"]
        elif md5 := _hashes(headers.get("x-goog-hash")).get("md5"):
            headers["etag"] = f'"{_hex(md5)}"'
        if self._described is None and _ENCODING not in headers:
            raise _Untold
        self.compress = info.compress if self._described is None else self._described.compress
        if self._described is not None and "content-encoding" in self._described.headers:
            headers["content-encoding"] = self._described.headers["content-encoding"]
        self._sink.begin(replace(info, etag=self.etag, headers=headers, compress=self.compress), start, end)


# -- what Google says of an object --------------------------------------------------------------------------------


def _parse(response: HttpResponse, path: str) -> _Resource:
    body = response.body
    if response.header("content-encoding") == "gzip":
        import gzip

        body = gzip.decompress(body)
    try:
        found = json.loads(body)
    except ValueError:
        raise ServerError("the store's answer is not JSON", path=path, status=response.status) from None
    if not isinstance(found, dict):
        raise ServerError("the store's answer is not what it should be", path=path, status=response.status)
    return found


def _said(response: HttpResponse) -> str:
    """The store's explanation of an error."""
    try:
        found = _parse(response, "")
    except (TransferError, OSError, EOFError):
        return ""
    error = found.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return scrub(message)[:300] if isinstance(message, str) else ""


def _info(item: _Resource, path: str) -> ObjectInfo:
    generation = str(item.get("generation") or "") or None
    # what tells whether content is the same: the MD5, which composite objects do not have
    digest = _hex(item["md5Hash"]) if item.get("md5Hash") else generation or ""
    headers = {"etag": f'"{digest}"'}
    headers |= {
        name: str(item[key])
        for name, key in (("content-encoding", "contentEncoding"), ("cache-control", "cacheControl"))
        if item.get(key)
    }
    headers |= {f"{_META}{str(name).lower()}": str(value) for name, value in (item.get("metadata") or {}).items()}
    if item.get("crc32c"):
        headers["x-goog-hash"] = f"crc32c={item['crc32c']}"
    modified = None
    if item.get("updated"):
        modified = datetime.fromisoformat(str(item["updated"]).replace("Z", "+00:00")).timestamp()
    size = int(item["size"]) if item.get("size") is not None else None
    compress = encoding_name(headers.get("content-encoding"))
    return ObjectInfo(path, size, generation, item.get("contentType"), modified, headers, compress)


def _check_modified(request: GetRequest, info: ObjectInfo) -> None:
    here = {info.etag, info.headers["etag"].strip('"')}
    late = info.last_modified is not None and request.since is not None and info.last_modified <= request.since
    if late or not here.isdisjoint(request.known):
        raise NotModified("not sent: it is here already", path=request.path)


def _resource(request: PutRequest, digest: str | None) -> _Resource:
    """What is to be kept with an object. The store refuses bytes that do not have this MD5."""
    wanted = {
        "name": request.path,
        "md5Hash": digest,
        "contentType": request.content_type,
        "contentEncoding": request.content_encoding,
        "cacheControl": request.cache_control,
        "metadata": dict(request.metadata) or None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _condition(request: PutRequest) -> dict[str, str]:
    """The part of a query that says when a write is to take effect: the ETag of an object is its generation."""
    if request.pinned is not None and not request.pinned.isdigit():
        raise PreconditionFailed("what was to be overwritten has an ETag that is no generation", path=request.path)
    expected = "0" if request.new else request.pinned
    return {} if expected is None else {"ifGenerationMatch": expected}


def _stored(response: HttpResponse, path: str, size: int, digest: str) -> Stored:
    item = _parse(response, path)
    if item.get("md5Hash") != digest or str(item.get("size")) != str(size):
        raise IntegrityError("what was stored is not what was sent, by its size or MD5", path=path)
    return Stored(size, str(item.get("generation") or "") or None, "md5", _hex(digest))


def _content(request: PutRequest) -> bytes | memoryview:
    body = request.body
    if not isinstance(body, Body):
        return body
    with body.open() as reader:
        blocks, left = [], body.size
        while left and (block := reader.read(left)):
            blocks.append(block)
            left -= len(block)
    if left:
        raise TransferError(f"the body is {left} bytes shorter than when it was measured; has it changed?")
    return b"".join(blocks)


# -- digests ------------------------------------------------------------------------------------------------------


def _hashes(header: str | None) -> dict[str, str]:
    """``x-goog-hash: crc32c=..., md5=...``, both in base64."""
    pairs = (part.strip().partition("=") for part in (header or "").split(","))
    return {name: value for name, _, value in pairs if value}


def _hex(digest: str) -> str:
    return base64.b64decode(digest).hex()


def _compare(content: bytes, hashes: dict[str, str]) -> str | None:
    """What of the digests of a whole object was compared; raises ``IntegrityError``."""
    if (expected := hashes.get("crc32c")) and (actual := checksum_of("crc32c", content)) is not None:
        check_checksum("crc32c", actual, expected)
        return "crc32c"
    if expected := hashes.get("md5"):
        if content_md5(md5_of(content)) != expected:
            raise IntegrityError("the bytes that arrived do not have the object's MD5")
        return "md5"
    return None


def _last(request: GetRequest) -> str:
    return "" if request.end is None else str(request.end - 1)
