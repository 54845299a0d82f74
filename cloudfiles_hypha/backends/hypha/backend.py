"""``hypha://workspace/alias``: an artifact's files, through the URLs that a Hypha server signs for its S3.

Every call to the server is expensive and every transfer from the S3 is cheap, so names are signed in batches
(``signing``), URLs are kept while they live, and nothing is asked that an answer will tell anyway. Writes need
the artifact to be staged and committed: ``staging`` does that. Bytes pass through the server only where it is asked
to (``ways``).
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ...content.digests import content_md5, etag_of, etag_of_parts, md5_in, md5_of
from ...credentials import Access, Routes
from ...errors import (
    AccessDenied,
    ArtifactNotFound,
    IntegrityError,
    InvalidRequest,
    ObjectNotFound,
    ServerError,
    TransferError,
    TransferTimeout,
    UntypedWarning,
)
from ...models import Fetched, GetRequest, ObjectInfo, PutRequest, Session, Sink, Stored, Version
from ...paths import Location
from ...plan.batches import CALL, EACH, BatchSizes, cheaper_to_list
from ...transports import HttpRequest, HttpResponse, Transport
from ...transports.answers import error_of, fetch, fetch_into, first_byte
from ..base import Backend, Capabilities, Control, Resolver, StaleTicket, Ticket, WriteSession
from .listing import Listing
from .manager import ArtifactManager
from .signing import ReadSigner, answered, folder_of
from .staging import Session as StagingSession
from .staging import Staging
from .ways import Ways

if TYPE_CHECKING:
    from . import HyphaLocation

_CODE = re.compile(rb"<Code>([^<]{1,80})</Code>")
_NO_SESSION = re.compile(r"session expired|session .*not found|NoSuchUpload|upload does not exist", re.IGNORECASE)
LARGEST_PUT = 5 * 1024**3
# Parts of an upload whose length nobody knows. URLs for all of them are signed when it begins, which takes the server a
# second or so, and five times as long for the 10,000 that the S3 allows.
_STREAMED_PARTS = 2_500
# Versions whose URLs are kept beside those of this one, and how many are looked at side by side.
_MOST_OTHERS, _LOOKED_AT_ONCE = 16, 4


class HyphaBackend(Backend):
    """Files of one artifact. Safe to share between threads."""

    scheme = "hypha"
    can = Capabilities(
        batched=True,
        multipart=True,
        suffixes=True,
        growing=_STREAMED_PARTS,
        versioned=True,
        s3_etags=True,
        largest_put=LARGEST_PUT,
        one_by_one=True,
        keeps_versions=True,
    )

    def __init__(
        self, location: HyphaLocation, access: Access, routes: Routes, transport: Transport, *, create: bool
    ) -> None:
        self.access = access
        self.artifact = f"{access.workspace}/{location.alias}"
        self._transport = transport
        self._manager = ArtifactManager(access.server, access.token, transport, routes)
        self._ways = Ways(access.server, self.artifact, routes, transport)
        self._listing = Listing(self._manager, self.artifact)
        self._reads = ReadSigner(self._manager, self.artifact, location.version, self._listing, location.edition)
        self.version = self._reads.version
        self._others: dict[str, HyphaBackend] = {}  # by version: what reads that, with the URLs that it keeps
        self._gone: frozenset[str] = frozenset()  # whose removal is staged: the server gives them out until the commit
        self.staging = Staging(
            self._manager,
            self.artifact,
            self._listing,
            self._reads,
            create=create,
            version=location.version,
            who=hashlib.sha256((access.token or "").encode()).digest(),
            joined=location.joined,
        )

    def __repr__(self) -> str:
        return f"<HyphaBackend {self.artifact} on {self._manager.server}>"

    def settled(self, location: Location) -> Location:
        """The location with the server, the workspace and the token that were found for it, and the block it is in."""
        return replace(cast("HyphaLocation", location), access=self.access, joined=self.staging.joined_token())

    def location_to_read(self, location: Location, control: Control) -> Location:
        """Where other processes go to that read one batch together: what is the latest version now."""
        settled = cast("HyphaLocation", self.settled(location))
        return replace(settled, edition=self._reads.latest(control)) if self._reads.version is None else settled

    def location_to_write(self, location: Location, session: WriteSession) -> Location:
        """Where other processes go to whose writes belong to this session: into its staging, which is opened."""
        return replace(cast("HyphaLocation", self.settled(location)), joined=cast(HyphaWrites, session).share())

    def place(self, location: Location) -> object:
        """The server and the artifact."""
        return self._manager.server, self.artifact

    def reading(self, *, silent: bool = False) -> Resolver:
        """What signs the URLs of one batch of reads, all of one version; silent ones are never answered from what
        was kept."""
        return self._reads.batch(silent=silent)

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        self._check_there(request.path)
        with self._store_errors(request.path, ticket):
            if sink is not None:
                return fetch_into(self._ways, str(ticket), request, sink)
            return fetch(self._ways, str(ticket), request, md5=True)

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object; a URL signed for GET allows no HEAD, so its first byte is read."""
        self._check_there(path)
        with self._store_errors(path, ticket):
            return first_byte(str(ticket), path, self._ways)

    def _check_there(self, path: str) -> None:
        if path in self._gone:
            raise ObjectNotFound("its removal is staged", path=path)

    @contextmanager
    def _store_errors(self, path: str, ticket: Ticket) -> Iterator[None]:
        """Tell a URL that has expired from a refusal: both are 403, so the URL is signed anew once."""
        try:
            yield
        except AccessDenied as error:
            self._reads.expired(path, str(ticket))
            raise StaleTicket(str(error.args[0]), path=path, status=error.status) from None

    def link(self, path: str, lifetime: int, control: Control) -> str:
        """A URL by which anybody can read the file for so many seconds; not counted as a download."""
        arguments: dict[str, Any] = {"artifact_id": self.artifact, "file_path": [path], "expires_in": lifetime}
        arguments["silent"] = True
        if self.version not in (None, "latest"):
            arguments["version"] = self.version
        found = answered([path], control.retry(lambda: self._manager.call("get_file", **arguments)), "get_file")[path]
        if isinstance(found, Exception):
            raise found
        return str(found)

    def links(self, paths: Sequence[str], lifetime: int, control: Control) -> list[str | Exception]:
        """Like ``link``, many in a call, and all of one version."""
        reads = self._reads.batch(silent=True, lifetime=lifetime)
        sizes = reads.sizes()
        found: list[str | Exception] = []
        while len(found) < len(paths):
            batch = paths[len(found) : len(found) + sizes.next(len(paths) - len(found))]
            tickets = reads.resolve(batch, control, sizes)
            found += [ticket if isinstance(ticket, Exception) else str(ticket) for ticket in tickets]
        return found

    def exists(self, paths: Sequence[str], control: Control) -> dict[str, bool] | None:
        """Whether each path is there: by listing their folders where that takes fewer calls than signing."""
        found: dict[str, bool] = {}
        reads = self._reads.batch(silent=True)
        folders = {folder_of(path) for path in paths}
        if len(paths) > 1 and cheaper_to_list(len(paths), len(folders), call=CALL, each=EACH):
            listed = reads.look(paths, control)
            found = {path: listed.get(path) == "file" for path in paths}
            paths = [path for path in paths if listed.get(path) == "directory"]  # a file may be hidden behind it
        sizes = reads.sizes()
        done = 0
        while done < len(paths):
            batch = paths[done : done + sizes.next(len(paths) - done)]
            done += len(batch)
            for path, ticket in zip(batch, reads.resolve(batch, control, sizes), strict=True):
                if isinstance(ticket, Exception) and not isinstance(ticket, ObjectNotFound):
                    raise ticket
                found[path] = isinstance(ticket, str)
        return found

    def list(self, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, folder by folder."""
        return self._listing.walk(prefix, self.version, flat=flat, control=control)

    def scan(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``list``, with sizes and times; a listing tells no ETags."""
        return self._listing.scan(prefix, self.version, control=control)

    def level(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``scan``, of one level, with its folders."""
        return self._listing.scan(prefix, self.version, flat=True, control=control)

    def as_written(self, control: Control) -> HyphaBackend:
        """This artifact's files as the next write finds them: at "stage", if it is staged."""
        seen = self.staging.found(control)
        if not seen.staged:
            return self
        other = self._at("stage")
        other._gone = frozenset(seen.removals)
        return other

    def _at(self, version: str) -> HyphaBackend:
        other = copy(self)
        other._reads = ReadSigner(self._manager, self.artifact, version, self._listing)
        other.version = other._reads.version
        other._gone = frozenset()
        return other

    def at(self, version: str) -> HyphaBackend:
        """The files of another version of the artifact."""
        other = self._others.get(version)
        if other is None:
            other = self._at(version)
            while len(self._others) >= _MOST_OTHERS:
                with suppress(KeyError, StopIteration):  # another thread may have done it
                    del self._others[next(iter(self._others))]
            self._others[version] = other
        return other

    def versions(self, path: str, control: Control) -> Sequence[Version]:
        """The versions of the artifact that have this file: one call for their names, and for each a call and a request
        of one byte."""
        data = control.retry(lambda: self._manager.call("read", artifact_id=self.artifact, silent=True))
        told = data.get("versions") if isinstance(data, dict) else None
        names = [str(each["version"]) for each in told or () if isinstance(each, dict) and each.get("version")]
        infos = control.map(lambda name: self.at(name)._look(path, control), names, _LOOKED_AT_ONCE)
        return [
            Version(name, info.size, info.etag, info.last_modified, index == len(names) - 1)
            for index, (name, info) in enumerate(zip(names, infos, strict=True))
            if info is not None
        ]

    def _look(self, path: str, control: Control) -> ObjectInfo | None:
        """What is known of a file, or None if it is not there."""
        reads = self._reads.batch(silent=True)
        (ticket,) = reads.resolve([path], control, reads.sizes())
        if isinstance(ticket, Exception):
            if isinstance(ticket, ObjectNotFound) and not isinstance(ticket, ArtifactNotFound):
                return None
            raise ticket
        try:
            return control.retry(partial(self.head, path, ticket))
        except StaleTicket as error:  # it is a fresh one
            raise AccessDenied(str(error.args[0]), path=path, status=error.status) from None

    @contextmanager
    def writing(self, control: Control) -> Iterator[WriteSession]:
        """Stage, let the caller write, commit; inside ``staged()`` leave both to it."""
        with self.staging.around(control) as staging:
            writes = HyphaWrites(self.artifact, self._manager, self._ways, staging)
            yield writes
        if writes.untyped:
            warnings.warn(
                f"{self.artifact}: stored without their content types: the URLs of this server are signed in a way "
                "(SigV2) that allows none to be sent",
                UntypedWarning,
                stacklevel=2,
            )

    def manage(self, method: str, arguments: Mapping[str, Any], control: Control) -> Any:
        """What a method of the artifact manager says that is about the artifact, and not about its files.

        None is called a second time unless that does no harm: where the answer to a ``create`` or a ``delete`` is lost,
        that is an error.
        """
        if method == "create":
            # the workspace goes with the alias: the server's HTTP route drops the argument of that name
            named = {"alias": self.artifact}
        else:
            named = {"parent_id" if method == "list" else "artifact_id": self.artifact}
        call = partial(self._manager.call, method, **named, **arguments)
        answer = call() if method in ("create", "delete") else control.retry(call)
        self._reads.forget()
        return answer

    def take_up(self, control: Control) -> bool:
        """Commit what a batch of this user has left staged when it was killed; whether there was any."""
        return self.staging.take_up(control)

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()


def signs_headers(url: str) -> bool:
    """Whether a URL was signed by version 2 of Amazon's scheme, which takes Content-MD5, Content-Type and every
    ``x-amz-*`` into the signature: a request that sends one of them is refused. Version 4 names what it has signed."""
    return "X-Amz-" not in url.partition("?")[2]


class HyphaWrites:
    """The verbs within one batch of writes to an artifact."""

    def __init__(self, artifact: str, manager: ArtifactManager, ways: Ways, staging: StagingSession) -> None:
        self._artifact = artifact
        self._manager = manager
        self._ways = ways
        self._staging = staging
        self.untyped = False  # a content type could not be sent

    @property
    def lost(self) -> set[str]:
        """See ``staging.Session.lost``."""
        return self._staging.lost

    def sizes(self) -> BatchSizes:
        """Sizes of the calls of one run."""
        return BatchSizes(tail=False)  # the server looks through what is staged for each path

    def resolve(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """Register names and get the URLs to upload them to."""
        return self._staging.sign(paths, control, sizes)

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one object; its MD5 is compared by the S3 with what arrives, or here with what was stored."""
        with self._staging.at_work():
            return self._send(request, str(ticket))

    def _send(self, request: PutRequest, url: str) -> Stored:
        if request.size > LARGEST_PUT:
            raise InvalidRequest(f"{request.size} bytes: a single upload holds at most 5 GiB", path=request.path)
        digest = md5_of(request.body)
        headers = [("Cache-Control", request.cache_control), ("Content-Encoding", request.content_encoding)]
        if signs_headers(url):
            # Content-MD5 and Content-Type are among what was signed, and neither was there to be signed
            self.untyped = self.untyped or request.content_type is not None
        else:
            headers += [("Content-MD5", content_md5(digest)), ("Content-Type", request.content_type)]
        sent = tuple((name, value) for name, value in headers if value)
        response = self._ways.send(HttpRequest("PUT", url, sent, request.body))
        if response.status not in (200, 201, 204):
            raise self._refusal(response, request.path)
        stored = md5_in(response)
        if stored is not None and stored != digest.hexdigest():
            raise IntegrityError(f"the store holds MD5 {stored}, sent was {digest.hexdigest()}", path=request.path)
        verified = "length" if signs_headers(url) and stored is None else "md5"  # else Content-MD5 was accepted
        return Stored(request.size, etag_of(response), verified, digest.hexdigest())

    def open_parts(self, request: PutRequest, count: int, lifetime: int, control: Control) -> Session:
        """Begin a multipart upload."""
        answer: Any = self._staging.open_parts(request.path, count, lifetime, control)
        try:
            urls = {part["part_number"]: str(part["url"]) for part in answer["parts"]}
            return Session(str(answer["upload_id"]), tuple(urls[number] for number in range(1, count + 1)))
        except (KeyError, TypeError):
            raise ServerError(
                f"put_file_start_multipart: the answer has not the URLs of all {count} parts", path=request.path
            ) from None

    def open_stream(self, request: PutRequest, most: int, lifetime: int, control: Control) -> Session:
        """Begin a multipart upload with the URLs of more parts than it may get: completed is it with those it has."""
        return self.open_parts(request, most, lifetime, control)

    def put_part(self, request: PutRequest, session: Session, number: int) -> Stored:
        """Store one part; the S3 compares its MD5 with what arrives."""
        with self._staging.at_work():
            return self._send(request, session.urls[number])

    def close_parts(self, request: PutRequest, session: Session, digests: Sequence[str], control: Control) -> Stored:
        """Complete a multipart upload. Where the answer is lost, what the store has tells whether it was done."""
        etag = etag_of_parts(digests)
        parts = [{"part_number": number, "etag": digest} for number, digest in enumerate(digests, 1)]
        arguments = {"artifact_id": self._artifact, "upload_id": session.id, "parts": parts}

        def attempt() -> None:
            try:
                self._manager.call("put_file_complete_multipart", **arguments)
            except (InvalidRequest, ObjectNotFound, ServerError) as error:
                # an earlier attempt may have done it, or this one although it says otherwise
                if self._staged_etag(request.path) == etag:
                    return
                if _NO_SESSION.search(str(error)):
                    raise StaleTicket(str(error.args[0]), path=request.path, status=error.status) from None
                raise

        control.retry(attempt)
        # that fewer parts than were promised are an upload, too, is the store's habit and not the server's promise
        if len(digests) < len(session.urls) and (stored := self._staged_etag(request.path)) != etag:
            raise IntegrityError(f"the store holds {stored}, and {etag} was sent", path=request.path)
        return Stored(request.size, etag, "etag-parts")

    def _staged_etag(self, path: str) -> str | None:
        """The ETag of what is staged under a name now; None if there is nothing."""
        arguments = {"artifact_id": self._artifact, "file_path": path, "version": "stage", "silent": True}
        try:
            url = self._manager.call("get_file", **arguments)
            return first_byte(str(url), path, self._ways).etag
        except ObjectNotFound:
            return None

    def _refusal(self, response: HttpResponse, path: str) -> TransferError:
        found = _CODE.search(response.body)
        code = found[1].decode("ascii", "replace") if found else ""
        if response.status == 403 or code == "NoSuchUpload":
            return StaleTicket(f"access denied: HTTP {response.status} {code}", path=path, status=response.status)
        if code in ("BadDigest", "InvalidDigest", "IncompleteBody"):
            return IntegrityError(f"the upload was damaged on its way ({code})", path=path, status=response.status)
        if code == "RequestTimeout":
            return TransferTimeout("the store gave up waiting for the upload", path=path, status=response.status)
        if response.status == 409:
            return ServerError(f"the store is busy with this object ({code})", path=path, status=409)
        return error_of(response, path, code)

    def delete(self, path: str) -> None:
        """Stage the removal of one file; one that is not there counts as removed."""
        self._staging.remove(path)

    def share(self) -> str:
        """See ``staging.Session.share``."""
        return self._staging.share()

    def written_elsewhere(self, paths: Iterable[str]) -> None:
        """Copies of this object have registered these names, or tried to."""
        self._staging.registered(paths)

    def failed(self, path: str) -> None:
        """The upload of ``path`` has failed for good."""
        self._staging.failed(path)

    def succeeded(self, path: str) -> None:
        """A write went through."""
        self._staging.succeeded(path)
