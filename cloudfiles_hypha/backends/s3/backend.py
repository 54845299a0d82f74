"""The verbs on one bucket, each one signed request; and large objects in parts.

What is asked and answered is in ``sending`` and ``replies``; whose unfinished uploads are taken up, in ``journal``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial

from ...content.digests import content_md5, etag_of, etag_of_parts, md5_in, md5_of
from ...errors import (
    AccessDenied,
    BucketNotFound,
    Cancelled,
    IntegrityError,
    InvalidRequest,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
    TransferError,
)
from ...models import Fetched, GetRequest, ObjectInfo, PutRequest, Session, Sink, Stored, Version
from ...paths import Location, quote_path
from ...plan.batches import BatchSizes
from ...plan.parts import MIB, MOST_PARTS, part_count, upload_part_size
from ...results import UnfinishedUpload
from ...transports import HttpRequest, Transport
from ...transports.answers import error_of, fetch, fetch_into, info_of
from ...transports.base import Sender
from ..base import Backend, CannotCopy, Capabilities, Control, DirectWrites, StaleTicket, Ticket, WriteSession
from ..conditions import Conditions, lost, may_have_been_done
from . import replies
from .access import Access
from .journal import Journal, Note
from .sending import BucketSender, OfVersion
from .signing import canonical_query

LARGEST_PUT = 5 * 1024**3
# Seconds for which a store may be silent while it makes one object of many parts: Amazon's takes minutes at most.
_PATIENCE = 600.0
# Seconds that count for a removal of many objects, however long it took: the next one may have more names.
_QUICK = 0.01
# Bytes of each part of a copy that the store makes, and how many of them are made side by side.
_COPIED_PART = 512 * MIB
_COPIED_AT_ONCE = 10
_KEPT = frozenset(
    {"content-type", "cache-control", "content-encoding", "content-disposition", "content-language", "expires"}
)
_CLASS = "x-amz-storage-class"
_MD5 = re.compile(r"[0-9a-f]{32}")
_CHECKSUMS = (("x-amz-checksum-mode", "ENABLED"),)
_GONE = re.compile(r"\bNoSuchUpload\b")
_log = logging.getLogger("cloudfiles_hypha")


class S3Backend(Backend):
    """Objects of one bucket. Safe to share between threads."""

    scheme = "s3"
    can = Capabilities(
        multipart=True,
        suffixes=True,
        described_parts=True,
        growing=MOST_PARTS,
        deletes_many=True,
        copies=True,
        s3_etags=True,
        largest_put=LARGEST_PUT,
        conditions=frozenset({"new", "pinned"}),
        tells_uploads=True,
        keeps_versions=True,
        metadata=2048,
    )

    def __init__(self, bucket: str, access: Access, transport: Transport) -> None:
        self.version: str | None = None  # what is there now
        self.bucket = bucket
        self.access = access
        self.sender = BucketSender(bucket, access, transport)

    def __repr__(self) -> str:
        return f"<S3Backend {self.bucket} at {self.access.place.host}>"

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        url = self._address(request.path)
        if sink is not None:
            return fetch_into(self._reader, url, request, sink)
        # checksums of the store's own stand in where an ETag is no MD5; a range's answer has none
        return fetch(self._reader, url, request, md5=True, headers=_CHECKSUMS if request.whole else ())

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object without reading it."""
        response = self._reader.send(HttpRequest("HEAD", self._address(path)))
        length = response.header("content-length") or ""
        return info_of(path, response, int(length) if length.isdigit() else None)

    @property
    def _reader(self) -> Sender:
        """What sends reads."""
        return self.sender if self.version is None else OfVersion(self.sender, self.version)

    def _address(self, path: str) -> str:
        """Where a name is read, at the version that this is of."""
        asked = "" if self.version is None else f"?{canonical_query({'versionId': self.version})}"
        return f"{_url(path)}{asked}"

    def at(self, version: str) -> S3Backend:
        """The same bucket, of which another version of each name is read."""
        other = copy(self)
        other.version = version
        return other

    def versions(self, path: str, control: Control) -> Sequence[Version]:
        """The versions of an object, oldest first, without the markers of its removals. Other names that begin with its
        own are in the same listing: Amazon's has them behind it, so that there the first one ends it."""
        found: list[Version] = []
        # no encoding: SeaweedFS says that it does it, and does not; what is below the name as a folder is one entry
        query = {"versions": "", "prefix": path, "delimiter": "/"}
        while True:

            def attempt(query: dict[str, str] = query) -> replies.VersionsPage:
                return replies.versions(self._asked(query, path), path)

            page = control.retry(attempt)
            found += page.versions
            if page.following is None or (page.beyond and self.access.endpoint is None):
                if not any(version.latest for version in found) and "key-marker" in query:
                    self._check_removed(path, control)
                return found[::-1]
            if page.following == (query.get("key-marker"), query.get("version-id-marker")):
                raise TransferError("the store's list of versions goes on where it has just been", path=path)
            key, version = page.following
            query = {**query, "key-marker": key, "version-id-marker": version}
            if not version:
                del query["version-id-marker"]

    def _check_removed(self, path: str, control: Control) -> None:
        """SeaweedFS leaves names out where its order of names is not that of its pages."""
        try:
            control.retry(partial(self.head, path, None))
        except ObjectNotFound:
            return
        raise TransferError("the store leaves this object out of its list of versions", path=path)

    def set_metadata(self, path: str, metadata: tuple[tuple[str, str], ...]) -> None:
        """Have the store copy an object onto itself, with other metadata and all else that it is kept with, if it still
        is the one that was looked at."""
        there = self.head(path, None)
        if there.size is not None and there.size > LARGEST_PUT:
            raise InvalidRequest(
                f"{there.size} bytes: the metadata of an object of more than 5 GiB is that which it is uploaded with",
                path=path,
            )
        kept = ((name, value) for name, value in there.headers.items() if name in _KEPT or name == _CLASS)
        sent = (
            *_copying(self, path, there.etag or ""),
            ("x-amz-metadata-directive", "REPLACE"),
            *kept,
            *((f"x-amz-meta-{name}", value) for name, value in metadata),
        )
        response = self.sender.checked(self.sender.send(HttpRequest("PUT", _url(path), sent, b"", idle=_PATIENCE)))
        if response.status != 200:
            raise error_of(response, path)
        replies.copied(response.body)

    def link(self, path: str, lifetime: int, control: Control) -> str:
        """A URL by which anybody can read the object for so many seconds; nothing is asked."""
        return self.sender.link(_url(path), lifetime)

    def list(self, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, in order."""
        for entry in self._entries(prefix, flat=flat, control=control, names=True):
            yield entry if isinstance(entry, str) else entry.path

    def scan(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``list``, with size, ETag and time."""
        for entry in self._entries(prefix, flat=False, control=control):
            if isinstance(entry, ObjectInfo):
                yield entry

    def level(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``scan``, of one level, with its folders."""
        for entry in self._entries(prefix, flat=True, control=control):
            yield ObjectInfo(entry) if isinstance(entry, str) else entry

    def scan_after(self, prefix: str, name: str, *, control: Control) -> Iterator[ObjectInfo] | None:
        """Like ``scan``, from behind a name on. Only Amazon's store is sure to go by the order of names: SeaweedFS has
        ``a/x`` before ``a-b``, and leaves it out behind that."""
        if self.access.endpoint is not None:
            return None
        entries = self._entries(prefix, flat=False, control=control, after=name)
        return (entry for entry in entries if isinstance(entry, ObjectInfo))

    def _entries(
        self, prefix: str, *, flat: bool, control: Control, after: str | None = None, names: bool = False
    ) -> Iterator[ObjectInfo | str]:
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        if after is not None:
            query["start-after"] = after
        if flat:
            query["delimiter"] = "/"
        while True:

            def attempt(query: dict[str, str] = query) -> replies.Page:
                return replies.page(self._asked(query, prefix), names=names)

            page = control.retry(attempt)
            yield from page.entries
            if page.following is None:
                return
            if page.following == query.get("continuation-token"):
                raise TransferError("the store's listing goes on where it has just been", path=prefix)
            query = {**query, "continuation-token": page.following}
            query.pop("start-after", None)  # the token knows

    def _asked(self, query: dict[str, str], prefix: str) -> bytes:
        """What the bucket answers; errors say what of it was to be listed."""
        try:
            return self.sender.send(HttpRequest("GET", f"?{canonical_query(query)}")).body
        except TransferError as error:
            error.about(f"{self.bucket}/{prefix}")
            raise

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one object; the store compares its MD5 with what arrives."""
        if request.size > LARGEST_PUT:
            raise InvalidRequest(f"{request.size} bytes: a single upload holds at most 5 GiB", path=request.path)
        headers = self.describing(request) + _conditions(request)
        try:
            return self.send(request, _url(request.path), headers, md5_of(request.body))
        except PreconditionFailed:
            raise lost(request) from None
        except ObjectNotFound as error:
            if request.pinned is None or isinstance(error, BucketNotFound):
                raise
            raise lost(request) from None

    def describing(self, request: PutRequest) -> tuple[tuple[str, str], ...]:
        """The headers that say what an object is."""
        headers = [
            ("Content-Type", request.content_type),
            ("Cache-Control", request.cache_control),
            ("Content-Encoding", request.content_encoding),
            (_CLASS, self.access.storage_class),
            *((f"x-amz-meta-{name}", value) for name, value in request.metadata),
        ]
        return tuple((name, value) for name, value in headers if value)

    def send(
        self, request: PutRequest, url: str, headers: tuple[tuple[str, str], ...], digest: hashlib._Hash
    ) -> Stored:
        """Store a body with this MD5, whole or a part, and make sure that it is there as it was sent."""
        sent = (*headers, ("Content-MD5", content_md5(digest)))
        response = self.sender.send(HttpRequest("PUT", url, sent, request.body, once=request.conditional))
        if response.status not in (200, 201, 204):
            raise error_of(response, request.path)
        stored = md5_in(response)
        if stored is not None and stored != digest.hexdigest():
            raise IntegrityError(f"the store holds MD5 {stored}, sent was {digest.hexdigest()}", path=request.path)
        return Stored(request.size, etag_of(response), "md5", digest.hexdigest())

    def place(self, location: Location) -> object:
        """The store, which may be named in the cloudpath or elsewhere, and the bucket."""
        return (self.access.endpoint or "").lower(), self.bucket

    def copies_from(self, source: Backend) -> bool:
        """Whether that is the same store, shown the same keys."""
        return (
            isinstance(source, S3Backend)
            and source.access.endpoint == self.access.endpoint
            and source.access.keys() == self.access.keys() is not None
        )

    def copy(self, source: Backend, request: GetRequest, path: str, control: Control) -> Stored:
        """Have the store copy an object; one of more than 5 GiB it copies in parts only."""
        assert isinstance(source, S3Backend)  # noqa: S101 -- as ``copies_from`` says
        there = source.head(request.path, None)
        if request.pinned not in (None, there.etag):
            raise PreconditionFailed("the object has changed", path=request.path)
        if there.size is None or there.etag is None:
            raise CannotCopy
        sent = _copying(source, request.path, there.etag)
        if there.size > LARGEST_PUT:
            with self.writing(control) as writes:
                assert isinstance(writes, S3Writes)  # noqa: S101 -- as made above
                return writes.copy_in_parts(source, there, sent, path, control)
        if self.access.storage_class:
            sent = (*sent, ("x-amz-storage-class", self.access.storage_class))
        response = self.sender.checked(self.sender.send(HttpRequest("PUT", _url(path), sent, b"", idle=_PATIENCE)))
        if response.status != 200:
            raise error_of(response, request.path)
        etag = replies.copied(response.body)
        if etag == there.etag:
            return Stored(there.size, etag, "etag-parts" if "-" in there.etag else "md5")
        if self.head(path, None).size != there.size:  # the ETag of what was uploaded in parts is not kept
            raise IntegrityError("the copy does not have the size of the object", path=path)
        return Stored(there.size, etag, "length")

    def delete(self, path: str) -> None:
        """Remove one object; one that is not there counts as removed."""
        try:
            self.sender.send(HttpRequest("DELETE", _url(path)))
        except ObjectNotFound as error:
            if isinstance(error, BucketNotFound):
                raise

    def journal(self, path: str) -> Journal:
        """Where an upload to this name is noted."""
        return Journal(self.access.endpoint or "", self.bucket, path)

    def uploads(self, prefix: str, *, control: Control) -> Iterator[UnfinishedUpload]:
        """The unfinished uploads of names that begin with ``prefix``."""
        query = {"uploads": "", "prefix": prefix}  # and no encoding: SeaweedFS says that it does it, and does not
        while True:

            def attempt(query: dict[str, str] = query) -> tuple[list[replies.Begun], tuple[str, str] | None]:
                return replies.uploads(self._asked(query, prefix))

            found, following = control.retry(attempt)
            for path, upload, initiated in found:
                if path.startswith(prefix):
                    yield UnfinishedUpload(path, upload, initiated, *self.journal(path).knows(upload))
            if following is None:
                return
            if following == (query.get("key-marker"), query.get("upload-id-marker")):
                raise TransferError("the store's list of uploads goes on where it has just been", path=prefix)
            query = {**query, "key-marker": following[0], "upload-id-marker": following[1]}

    def abort_upload(self, path: str, upload: str) -> None:
        """Have the store forget an unfinished upload; raises if a process of this machine is at it."""
        journal = self.journal(path)
        # one that has begun just now, or is the second one of this name, is not noted
        if journal.exists and not journal.acquire():
            raise TransferError(
                "not aborted: a process of this machine is at this upload, or at another of this name", path=path
            )
        try:
            note = journal.read()
            self.abort(path, upload)
            if note is None or note.upload == upload:
                journal.end()
        finally:
            journal.leave()

    def abort(self, path: str, upload: str) -> None:
        """Have the store forget an unfinished upload, whoever is at it."""
        try:
            self.sender.send(HttpRequest("DELETE", f"{_url(path)}?{canonical_query({'uploadId': upload})}"))
        except ObjectNotFound as error:
            if isinstance(error, BucketNotFound):
                raise

    @contextmanager
    def writing(self, control: Control) -> Iterator[WriteSession]:
        """The writes take effect one by one; uploads in parts that are left unfinished are let go of at the end."""
        writes = S3Writes(self)
        try:
            yield writes
        finally:
            writes.leave()

    def close(self) -> None:
        """Let go of connections."""
        self.sender.close()


@dataclass(frozen=True, slots=True, eq=False)  # and hashed as any other session
class PartsSession(Session):
    """A multipart upload: besides its id the MD5s of parts that are there already, and the ETags that parts have."""

    there: dict[int, str] = field(default_factory=dict)
    etags: dict[int, str] = field(default_factory=dict)


class S3Writes(DirectWrites):
    """The verbs within one batch of writes to a bucket.

    An upload in parts that ends without having been completed or refused (the process is killed, interrupted, or has
    lost the network) stays noted, and the next one of the same file to the same name sends what is missing.
    """

    def __init__(self, backend: S3Backend) -> None:
        super().__init__(backend)
        self._backend = backend
        self._send = backend.sender.send
        self._journals: dict[str, Journal] = {}  # by path, of uploads that have not ended
        self._sessions: dict[str, str] = {}
        self._streams: set[str] = set()  # paths of uploads that nobody can go on with
        self._errors: dict[str, TransferError] = {}  # the latest of each
        self._gone: set[str] = set()  # removed along with others
        # not every store but Amazon's looks at conditions
        self._conditions = Conditions(partial(backend.head, ticket=None), heeds=backend.access.endpoint is None)
        self.delete = self._delete
        self.put = self._put

    def sizes(self) -> BatchSizes:
        """How many names are removed in one request, and how many uploads in parts are begun before they go on.

        S3 would take a thousand names; but an upload that was begun has its note open, so few are begun ahead.
        """
        return BatchSizes(first=4, limit=100)

    def resolve(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """Remove many objects in one request. What that could not remove is left to ``delete``, and so are errors."""
        if len(paths) > 1:
            body = replies.deletion(paths)
            headers = (("Content-MD5", content_md5(md5_of(body))), ("Content-Type", "application/xml"))

            def attempt() -> set[str]:
                return replies.deleted(self._send(HttpRequest("POST", "?delete=", headers, body)).body)

            try:
                self._gone |= control.retry(attempt)
                sizes.took(len(paths), _QUICK)
            except TransferError as error:
                if error.retryable or isinstance(error, Cancelled):
                    return [error] * len(paths)
        return [None] * len(paths)

    def _put(self, request: PutRequest, ticket: Ticket) -> Stored:
        if not request.conditional:
            return self._backend.put(request, ticket)
        return self._conditions.put(request, partial(self._backend.put, ticket=ticket))

    def _delete(self, path: str) -> None:
        if path in self._gone:
            self._gone.discard(path)
        else:
            self._backend.delete(path)

    def open_parts(self, request: PutRequest, count: int, lifetime: int, control: Control) -> Session:
        """Begin a multipart upload, or go on with one that was interrupted."""
        headers = self._backend.describing(request)
        if request.conditional:  # before its bytes are sent for nothing
            control.retry(partial(self._conditions.check, request))
        note = Note(upload="", size=request.size, count=count, described=json.dumps(headers))
        return self._begin(request.path, headers, note, control)

    def _begin(self, path: str, headers: tuple[tuple[str, str], ...], wanted: Note, control: Control) -> PartsSession:
        journal = self._journals.get(path)
        if journal is None:
            journal = self._journals[path] = self._backend.journal(path)
        known = journal.read() if journal.acquire() else None
        if known is not None:
            there = self._there(path, known.upload, control) if wanted.count and known.fits(wanted) else None
            if there is not None:
                _log.info("%s: going on with an upload: %d of %d parts are there", path, len(there), wanted.count)
                self._sessions[path] = known.upload
                return PartsSession(known.upload, (), there)
            self._abort(path, known.upload)

        def attempt() -> str:
            return replies.upload_id(self._send(HttpRequest("POST", f"{_url(path)}?uploads=", headers, b"")).body)

        try:
            upload = control.retry(attempt)
        except TransferError:
            journal.end()
            raise
        journal.write(replace(wanted, upload=upload))
        self._sessions[path] = upload
        return PartsSession(upload, ())

    def open_stream(self, request: PutRequest, most: int, lifetime: int, control: Control) -> Session:
        """Begin a multipart upload that is noted only to be aborted."""
        self._streams.add(request.path)
        return self.open_parts(request, 0, lifetime, control)

    def _there(self, path: str, upload: str, control: Control) -> dict[int, str] | None:
        """The MD5s of the parts that the store has; None if it has forgotten the upload, or will not say."""
        found: dict[int, str] = {}
        query = {"uploadId": upload}
        while True:

            def attempt(query: dict[str, str] = query) -> tuple[dict[int, tuple[str, int]], str | None]:
                return replies.parts(self._send(HttpRequest("GET", f"{_url(path)}?{canonical_query(query)}")).body)

            try:
                parts, marker = control.retry(attempt)
            except (ObjectNotFound, AccessDenied, InvalidRequest):
                return None
            found.update((number - 1, etag) for number, (etag, _) in parts.items())
            if marker is None or marker == query.get("part-number-marker"):
                return found
            query = {**query, "part-number-marker": marker}

    def put_part(self, request: PutRequest, session: Session, number: int) -> Stored:
        """Store one part, unless it is there already; the store compares its MD5 with what arrives."""
        ours = _ours(session)
        digest = md5_of(request.body)
        if ours.there.get(number) == digest.hexdigest():
            return Stored(request.size, ours.there[number], "md5", digest.hexdigest())
        query = canonical_query({"partNumber": str(number + 1), "uploadId": session.id})
        with self._noted_errors(request):
            stored = self._backend.send(request, f"{_url(request.path)}?{query}", (), digest)
        if stored.etag is not None:
            ours.etags[number] = stored.etag
        return stored

    def close_parts(self, request: PutRequest, session: Session, digests: Sequence[str], control: Control) -> Stored:
        """Complete a multipart upload. Where the answer is lost, what is there tells whether it was done."""
        ours = _ours(session)
        expected = etag_of_parts(digests)
        body = replies.completion(ours.etags.get(number, digest) for number, digest in enumerate(digests))
        url = f"{_url(request.path)}?{canonical_query({'uploadId': session.id})}"
        headers = (("Content-Type", "application/xml"), *_conditions(request))
        asked = HttpRequest("POST", url, headers, body, idle=_PATIENCE, once=request.conditional)
        unsure = not request.conditional  # whether an earlier attempt may have done it, or that makes no difference

        def attempt() -> str | None:
            nonlocal unsure
            asked_for = False
            try:
                with self._noted_errors(request):
                    if request.conditional and self._backend.access.endpoint is not None:
                        self._conditions.check(request)
                    asked_for = True
                    return self._complete(request, asked)
            except (StaleTicket, PreconditionFailed):
                if unsure and self._etag_there(request.path) == expected:
                    return expected
                raise
            except TransferError as error:
                unsure = unsure or (asked_for and may_have_been_done(error))
                raise

        etag = control.retry(attempt)
        self._end(request.path)
        # an encrypted object's is made in another way; each part was compared by its MD5 all the same
        return Stored(request.size, etag, "etag-parts" if etag == expected else "md5")

    def _complete(self, request: PutRequest, asked: HttpRequest) -> str | None:
        try:
            response = self._send(asked)
        except ObjectNotFound as error:
            if request.pinned is None or "NoSuchKey" not in str(error.args[0]):
                raise
            raise lost(request) from None
        if response.status == 412:
            raise lost(request)
        return replies.completed(self._backend.sender.checked(response).body)

    def copy_in_parts(
        self,
        source: S3Backend,
        there: ObjectInfo,
        copying: tuple[tuple[str, str], ...],
        path: str,
        control: Control,
    ) -> Stored:
        """Have the store copy a large object part by part, all of one version, with all that is stored of it."""
        size = there.size or 0
        part_size = upload_part_size(size, _COPIED_PART)
        headers = _carried(there.headers)
        if self._backend.access.storage_class:
            headers = (*headers, ("x-amz-storage-class", self._backend.access.storage_class))
        count = part_count(size, part_size)
        note = Note(upload="", size=size, count=count, described=json.dumps([copying, headers]))
        request = PutRequest(path, b"")

        def copy(number: int) -> str:
            query = canonical_query({"partNumber": str(number + 1), "uploadId": session.id})
            first, last = number * part_size, min(size, (number + 1) * part_size) - 1
            sent = (*copying, ("x-amz-copy-source-range", f"bytes={first}-{last}"))
            asked = HttpRequest("PUT", f"{_url(path)}?{query}", sent, b"", idle=_PATIENCE)
            return control.retry(partial(self._copy_part, request, asked))

        try:
            session = self._begin(path, headers, note, control)
            missing = [number for number in range(count) if number not in session.there]
            session.etags.update(session.there)
            session.etags.update(zip(missing, control.map(copy, missing, _COPIED_AT_ONCE), strict=True))
            # not every store looks at the ETag that the parts are to be of
            if control.retry(partial(source.head, there.path, None)).etag != there.etag:
                self._errors[path] = PreconditionFailed("the object has changed while it was copied", path=there.path)
                raise self._errors[path]
            digests = [each if _MD5.fullmatch(each) else "" for _, each in sorted(session.etags.items())]
            etag = self.close_parts(request, session, digests, control).etag
        except StaleTicket as error:
            raise ServerError(f"the store has lost the upload: {error.args[0]}", path=path) from None
        except InvalidRequest as error:  # it knows no such copies
            self.failed(path)
            raise CannotCopy from error
        except TransferError:
            self.failed(path)
            raise
        if etag == there.etag:
            return Stored(size, etag, "etag-parts")
        if control.retry(partial(self._backend.head, path, None)).size != size:
            raise IntegrityError("the copy does not have the size of the object", path=path)
        return Stored(size, etag, "length")

    def _copy_part(self, request: PutRequest, asked: HttpRequest) -> str:
        """The ETag of a part that the store has copied: one attempt."""
        with self._noted_errors(request):
            try:
                response = self._backend.sender.checked(self._send(asked))
            except ServerError as error:
                if error.status == 501:
                    raise InvalidRequest(str(error.args[0]), path=request.path, status=501) from None
                raise
            if response.status != 200:
                raise error_of(response, request.path)
            if not response.body:  # it took that for a part without bytes
                raise InvalidRequest("the store knows no copies of parts", path=request.path)
            etag = replies.copied(response.body)
            if etag is None:
                raise ServerError("the store has copied a part and does not say which ETag that has", path=request.path)
            return etag

    def _etag_there(self, path: str) -> str | None:
        try:
            return self._backend.head(path, None).etag
        except ObjectNotFound:
            return None

    @contextmanager
    def _noted_errors(self, request: PutRequest) -> Iterator[None]:
        try:
            yield
        except TransferError as error:
            self._errors[request.path] = error
            if _GONE.search(str(error.args[0])):
                raise StaleTicket(str(error.args[0]), path=request.path, status=error.status) from None
            raise

    def failed(self, path: str) -> None:
        """What the store has refused is aborted; what could not be sent stays there, for the next attempt."""
        error, upload = self._errors.get(path), self._sessions.get(path)
        if upload is not None and error is not None and not (error.retryable or isinstance(error, Cancelled)):
            self._abort(path, upload)
            self._end(path)

    def _abort(self, path: str, upload: str) -> bool:
        try:
            self._backend.abort(path, upload)
        except TransferError as error:
            _log.warning("%s: the unfinished upload %s could not be aborted, and stays: %s", path, upload, error)
            return False
        return True

    def _end(self, path: str) -> None:
        journal = self._journals.pop(path, None)
        self._sessions.pop(path, None)
        if journal is not None:
            journal.end()

    def leave(self) -> None:
        """Let others upload what was not completed here; what nobody can go on with is aborted, if that can be."""
        for path in self._streams & self._sessions.keys():
            if self._abort(path, self._sessions[path]):
                self._end(path)
        for journal in self._journals.values():
            journal.leave()


def _url(path: str) -> str:
    return f"/{quote_path(path)}"


def _conditions(request: PutRequest) -> tuple[tuple[str, str], ...]:
    """The headers that say when a write is to take effect."""
    if request.new:
        return (("If-None-Match", "*"),)
    return () if request.pinned is None else (("If-Match", f'"{request.pinned}"'),)


def _copying(source: S3Backend, path: str, etag: str) -> tuple[tuple[str, str], ...]:
    """The headers that say what is to be copied, and of which version."""
    return ("x-amz-copy-source", f"/{source.bucket}{_url(path)}"), ("x-amz-copy-source-if-match", f'"{etag}"')


def _carried(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What is stored of an object besides its bytes, which a copy in parts has to be told of."""
    return tuple((name, value) for name, value in headers.items() if name in _KEPT or name.startswith("x-amz-meta-"))


def _ours(session: Session) -> PartsSession:
    if not isinstance(session, PartsSession):
        raise TypeError(f"{session!r} is not of this backend")
    return session
