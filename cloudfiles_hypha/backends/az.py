"""``az://container[/prefix]``: Azure's blob storage, and its emulator; see ``docs/azure.md``. All of it is here.

``az://https://host[:port]/[account/]container[/prefix]`` names the endpoint; the account is the first part of a host
like ``ACCOUNT.blob.core.windows.net``, and elsewhere the first part of the path.

Requests, block lists and the signature (Shared Key) are as Microsoft describes them in "Azure Storage REST API
Reference: Blob service" and "Authorize with Shared Key" (learn.microsoft.com/rest/api/storageservices). Redirects are
not followed: keys and tokens are for one endpoint. An ETag of this store says nothing of the content, so where layers
above look for an MD5 in an ETag (``Capabilities.s3_etags``), they are shown the blob's Content-MD5; ``etag`` is the
store's own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, quote, unquote, urlencode
from xml.etree import ElementTree

from ..content.codecs import encoding_name
from ..content.digests import check_md5, content_md5, etag_of, md5_of
from ..errors import (
    AccessDenied,
    BucketNotFound,
    IntegrityError,
    InvalidRequest,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
    TooManyRequests,
    TransferError,
    TransferTimeout,
)
from ..models import Fetched, GetRequest, ObjectInfo, PutRequest, Session, Sink, Stored
from ..paths import Location, as_prefix, host_in, quote_path
from ..plan.batches import BatchSizes
from ..plan.parts import MOST_PARTS
from ..redact import scrub, without_credentials
from ..settings import Secrets
from ..transports import HttpRequest, HttpResponse, Transport
from ..transports.answers import error_of, fetch, fetch_into, info_of, retry_after
from ..transports.dates import date_of, seconds_of
from . import Resources
from .base import Backend, Capabilities, Control, DirectWrites, StaleTicket, Ticket, WriteSession
from .conditions import Conditions, lost, may_have_been_done

_VERSION = "2021-12-02"
_LARGEST_PUT = 5000 * 1024**2
# Seconds for which the store may be silent while it makes one blob of many blocks.
_PATIENCE = 600.0
_CONTAINER = re.compile(r"\$(?:root|web|logs)|[a-z0-9](?:-?[a-z0-9]){2,62}")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_ACCOUNT_HOST = re.compile(r"([a-z0-9]{3,24})\.blob\.[^/]+")
_ACCOUNT_NAME, _KEY, _SAS = "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"
_CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
_LENGTH = "content-length"
# Names in one page of a listing: the most that there are.
_PAGE = 5000
_LARGEST_LISTING = 64 * 1024 * 1024


# -- where, and whose ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureLocation(Location):
    """A container; ``endpoint`` (with the account, if that is in its path) is None where the account's own is meant."""

    container: str
    endpoint: str | None = None


def locate(text: str, rest: str) -> AzureLocation:
    """Take a cloudpath apart."""
    endpoint, shown = None, without_credentials(text)
    if rest.startswith(("http://", "https://")):
        scheme, _, rest = rest.partition("://")
        host, _, rest = rest.partition("/")
        if not host_in(host):
            raise ValueError(f"{shown!r}: a host is missing after {scheme}://")
        if "@" in host:
            raise ValueError(f"{shown!r}: keys do not belong into a cloudpath; pass them as secrets=")
        endpoint = f"{scheme}://{host.lower()}"
        if _ACCOUNT_HOST.fullmatch(host.lower()) is None:
            account, _, rest = rest.partition("/")
            if _ACCOUNT.fullmatch(account) is None:
                raise ValueError(f"{shown!r}: an account is missing, as in az://{endpoint}/account/container")
            endpoint += f"/{account}"
    if "?" in rest:
        raise ValueError(f"{shown!r}: a SAS token does not belong into a cloudpath; pass secrets={{{_SAS!r}: ...}}")
    container, _, prefix = rest.partition("/")
    if not container:
        raise ValueError(f"{shown!r}: a container is missing, as in az://container/prefix")
    if _CONTAINER.fullmatch(container) is None:
        raise ValueError(f"{shown!r}: {container!r} cannot be the name of a container")
    return AzureLocation(
        scheme="az",
        root=f"az://{endpoint}/{container}" if endpoint else f"az://{container}",
        prefix=as_prefix(prefix, text),
        container=container,
        endpoint=endpoint,
    )


def open_backend(location: AzureLocation, resources: Resources) -> AzureBackend:
    """The backend for a container; no I/O but the reading of a file of secrets."""
    return AzureBackend(location.container, find_access(location, resources.settings.secrets), resources.transport())


@dataclass(frozen=True, slots=True)
class Access:
    """An endpoint and what is shown there: the account's key, or a SAS token, or nothing."""

    endpoint: str
    account: str
    key: bytes | None = field(default=None, repr=False)
    sas: str | None = field(default=None, repr=False)
    described: str = "unsigned"


def find_access(location: AzureLocation, secrets: Secrets | None) -> Access:
    """Which endpoint, and with what, from ``secrets``, else from the environment; ``secrets={}`` shows nothing.

    What the environment has is for its own account and endpoint, and not shown to another one that a cloudpath names.
    """
    given, source = _given(secrets)
    found = _from_connection_string(given.get(_CONNECTION), source)
    found |= {name: value for name in (_ACCOUNT_NAME, _KEY, _SAS) if (value := given.get(name))}
    account, own = found.get(_ACCOUNT_NAME), found.get("endpoint")
    if own is None and account is not None:
        own = f"https://{account}.blob.{found.get('suffix', 'core.windows.net')}"
    endpoint = location.endpoint or own
    if endpoint is None:
        raise ValueError(
            f"{location.root}: of which account? Set {_ACCOUNT_NAME}, or pass secrets={{{_ACCOUNT_NAME!r}: ...}}, or "
            "write az://https://ACCOUNT.blob.core.windows.net/container"
        )
    named = _account_in(endpoint)
    if secrets is None and own != endpoint:
        there = f" (the environment has some for {own})" if own is not None and (_KEY in found or _SAS in found) else ""
        return Access(endpoint, named, described=f"unsigned, as there are no credentials for {endpoint}{there}")
    if account is not None and account != named:
        raise ValueError(f"{location.root}: {source} has the credentials of account {account!r}, not of {named!r}")
    if key := found.get(_KEY):
        return Access(endpoint, named, _decoded(key, source), None, f"with the account's key of {source}")
    if sas := found.get(_SAS):
        sas = sas.lstrip("?")
        if re.fullmatch(r"[!-~]+", sas) is None or "#" in sas:
            raise ValueError(f"{source}: {_SAS} is no SAS token: it is a query such as sv=...&sig=...")
        return Access(endpoint, named, None, sas, f"with the SAS token of {source}")
    return Access(endpoint, named, described=f"unsigned, as {source} has no credentials")


def _account_in(endpoint: str) -> str:
    _, _, rest = endpoint.partition("://")
    found = _ACCOUNT_HOST.fullmatch(rest)
    return found[1] if found else rest.rpartition("/")[2]


def _given(secrets: Secrets | None) -> tuple[Mapping[str, str], str]:
    if secrets is None:
        return os.environ, "the environment"
    if isinstance(secrets, Mapping):
        found: object = secrets
        source = "secrets="
    else:
        path = Path(secrets).expanduser()
        source = str(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise type(error)(f"secrets: a file that cannot be read ({error.strerror})") from None
        except ValueError:
            found = None
    if not isinstance(found, Mapping) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{source}: expected texts named {_ACCOUNT_NAME}, {_KEY}, {_SAS} or {_CONNECTION}")
    return found, source


def _from_connection_string(text: str | None, source: str) -> dict[str, str]:
    """What a connection string says, by the names that single values have."""
    if not text:
        return {}
    parts = {name.strip().lower(): value.strip() for name, _, value in (one.partition("=") for one in text.split(";"))}
    wanted = {"accountname": _ACCOUNT_NAME, "accountkey": _KEY, "sharedaccesssignature": _SAS}
    wanted |= {"endpointsuffix": "suffix", "blobendpoint": "endpoint"}
    found = {wanted[name]: value for name, value in parts.items() if name in wanted and value}
    if "endpoint" in found:
        found["endpoint"] = found["endpoint"].rstrip("/").lower()
    elif _ACCOUNT_NAME not in found:
        raise ValueError(f"{source}: {_CONNECTION} has neither AccountName nor BlobEndpoint")
    return found


def _decoded(key: str, source: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except binascii.Error:
        raise ValueError(f"{source}: {_KEY} is no account key: it is not base64") from None


# -- the verbs ----------------------------------------------------------------------------------------------------


class AzureBackend(Backend):
    """Blobs of one container. Safe to share between threads."""

    scheme = "az"
    can = Capabilities(
        multipart=True,
        described_parts=True,
        growing=MOST_PARTS,
        s3_etags=True,
        lists_encodings=True,
        largest_put=_LARGEST_PUT,
        conditions=frozenset({"new", "pinned"}),
        metadata=8192,
        metadata_names="[a-z_][a-z0-9_]*",
    )

    def __init__(self, container: str, access: Access, transport: Transport) -> None:
        self.container = container
        self.access = access
        self.sender = BlobSender(container, access, transport)

    def __repr__(self) -> str:
        return f"<AzureBackend {self.container} at {self.access.endpoint}>"

    def settled(self, location: Location) -> Location:
        """The location with its endpoint, which the environment may have named."""
        return replace(cast(AzureLocation, location), endpoint=self.access.endpoint)

    def place(self, location: Location) -> object:
        """The endpoint and the container."""
        return self.access.endpoint, self.container

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        if request.known or request.since is not None:
            there = self.head(request.path, None)
            _check_modified(request, there)
            request = request._replace(known=(), since=None, pinned=request.pinned or there.etag)
        if sink is not None:
            return fetch_into(self.sender, _url(request.path), request, _Described(sink))
        seen = _Last(self.sender)
        fetched = fetch(seen, _url(request.path), request, md5=False)
        if request.whole and seen.response is not None and seen.response.status == 200:
            verified = check_md5(fetched.content, _hex(seen.response.header("content-md5")))
            fetched = fetched._replace(verified=verified if verified == "md5" else fetched.verified)
        return fetched

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of a blob without reading it."""
        response = self.sender.send(HttpRequest("HEAD", _url(path)))
        length = response.header(_LENGTH) or ""
        return _with_digest(info_of(path, response, int(length) if length.isdigit() else None))

    def list(self, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, in order."""
        for info in self._pages(prefix, flat=flat, control=control):
            yield info.path

    def scan(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``list``, with all that a listing tells."""
        return self._pages(prefix, flat=False, control=control)

    def level(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``scan``, of one level, with its folders."""
        return self._pages(prefix, flat=True, control=control)

    def _pages(self, prefix: str, *, flat: bool, control: Control) -> Iterator[ObjectInfo]:
        query = {"restype": "container", "comp": "list", "prefix": prefix, "maxresults": str(_PAGE)}
        if flat:
            query["delimiter"] = "/"
        while True:

            def attempt(query: dict[str, str] = query) -> tuple[list[ObjectInfo], str]:
                return _page(self.sender.send(HttpRequest("GET", f"?{_query(query)}")).body)

            found, marker = control.retry(attempt)
            yield from sorted(found, key=lambda info: info.path)
            if not marker:
                return
            if marker == query.get("marker"):
                raise TransferError("the store's listing goes on where it has just been", path=prefix)
            query = {**query, "marker": marker}

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one blob; the store compares its MD5 with what arrives, and keeps it."""
        if request.size > _LARGEST_PUT:
            raise InvalidRequest(f"{request.size} bytes: a single upload holds at most 5000 MiB", path=request.path)
        headers = (("x-ms-blob-type", "BlockBlob"), *describing(request), *_conditions(request))
        try:
            return self.send(request, _url(request.path), headers)
        except PreconditionFailed:
            if request.conditional:
                raise lost(request) from None
            raise

    def send(self, request: PutRequest, url: str, headers: tuple[tuple[str, str], ...]) -> Stored:
        """Store a body, whole or a block, and make sure that it is there as it was sent."""
        digest = md5_of(request.body)
        sent = (*headers, ("Content-MD5", content_md5(digest)), ("Content-Type", "application/octet-stream"))
        response = self.sender.send(HttpRequest("PUT", url, sent, request.body, once=request.conditional))
        _check_created(response, request)
        stored = _hex(response.header("content-md5"))
        if stored is not None and stored != digest.hexdigest():
            raise IntegrityError(f"the store holds MD5 {stored}, sent was {digest.hexdigest()}", path=request.path)
        return Stored(request.size, etag_of(response), "md5", digest.hexdigest())

    def set_metadata(self, path: str, metadata: tuple[tuple[str, str], ...]) -> None:
        """Replace the metadata of a blob."""
        response = self.sender.send(HttpRequest("PUT", f"{_url(path)}?comp=metadata", _meta(metadata), b""))
        if response.status != 200:
            raise ServerError(f"unexpected answer: HTTP {response.status}", path=path)

    def writing(self, control: Control) -> AbstractContextManager[WriteSession]:
        """Writes take effect one by one."""
        return nullcontext(_Writes(self))

    def delete(self, path: str) -> None:
        """Remove one blob with its snapshots; one that is not there counts as removed."""
        try:
            self.sender.send(HttpRequest("DELETE", _url(path), (("x-ms-delete-snapshots", "include"),)))
        except ObjectNotFound as error:
            if isinstance(error, BucketNotFound):
                raise

    def close(self) -> None:
        """Let go of connections."""
        self.sender.close()


def _meta(metadata: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((f"x-ms-meta-{name}", value) for name, value in metadata)


def describing(request: PutRequest) -> tuple[tuple[str, str], ...]:
    """The headers that say what a blob is."""
    headers = [
        ("x-ms-blob-content-type", request.content_type),
        ("x-ms-blob-cache-control", request.cache_control),
        ("x-ms-blob-content-encoding", request.content_encoding),
        *_meta(request.metadata),
    ]
    return tuple((name, value) for name, value in headers if value)


class _Writes(DirectWrites):
    """The verbs within one batch of writes. Blocks are named after their upload, so those of others never get into it;
    what is left of an upload that ended early is no blob, and the store drops it after a week."""

    def __init__(self, backend: AzureBackend) -> None:
        super().__init__(backend)
        self._backend = backend
        self._conditions = Conditions(partial(backend.head, ticket=None), heeds=True)
        self.put = self._put

    def _put(self, request: PutRequest, ticket: Ticket) -> Stored:
        if not request.conditional:
            return self._backend.put(request, ticket)
        return self._conditions.put(request, partial(self._backend.put, ticket=ticket))

    def sizes(self) -> BatchSizes:
        """How many uploads in parts are begun before they go on: nothing is asked of the store for that."""
        return BatchSizes(first=4, limit=100)

    def resolve(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """Nothing has to be known beforehand."""
        return [None] * len(paths)

    def open_parts(self, request: PutRequest, count: int, lifetime: int, control: Control) -> Session:
        """Begin an upload in blocks."""
        if request.conditional:  # before its bytes are sent for nothing
            control.retry(partial(self._conditions.check, request))
        return Session(os.urandom(16).hex(), ())

    def open_stream(self, request: PutRequest, most: int, lifetime: int, control: Control) -> Session:
        """Begin an upload in as many blocks as will come."""
        return self.open_parts(request, 0, lifetime, control)

    def put_part(self, request: PutRequest, session: Session, number: int) -> Stored:
        """Store one block; the store compares its MD5 with what arrives."""
        query = _query({"comp": "block", "blockid": _block(session, number)})
        return self._backend.send(request, f"{_url(request.path)}?{query}", ())

    def close_parts(self, request: PutRequest, session: Session, digests: Sequence[str], control: Control) -> Stored:
        """Make one blob of the blocks. If an answer was lost, the same list once more makes the same blob."""
        blocks = "".join(f"<Latest>{_block(session, number)}</Latest>" for number in range(len(digests)))
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode()
        sent = (*describing(request), ("Content-MD5", content_md5(md5_of(body))), ("Content-Type", "application/xml"))
        url = f"{_url(request.path)}?comp=blocklist"
        headers = (*sent, *_conditions(request))
        asked = HttpRequest("PUT", url, headers, body, idle=_PATIENCE, once=request.conditional)
        unsure = False  # whether an earlier attempt may have done it, so that its condition holds no more

        def attempt() -> HttpResponse:
            nonlocal unsure
            try:
                response = self._backend.sender.send(asked)
                _check_created(response, request)
                return response
            except PreconditionFailed:
                if unsure and (there := self._made_of(request.path, _block(session, 0))) is not None:
                    return there
                if request.conditional:
                    raise lost(request) from None
                raise
            except InvalidRequest as error:
                if "InvalidBlockList" in str(error.args[0]):  # another upload to this name has ended, and took them
                    raise StaleTicket(str(error.args[0]), path=request.path, status=error.status) from None
                raise
            except TransferError as error:
                unsure = unsure or may_have_been_done(error)
                raise

        return Stored(request.size, etag_of(control.retry(attempt)), "md5")

    def _made_of(self, path: str, block: str) -> HttpResponse | None:
        """What the store says of a blob, if it is made of blocks of which this is one."""
        asked = HttpRequest("GET", f"{_url(path)}?{_query({'comp': 'blocklist', 'blocklisttype': 'committed'})}")
        response = self._backend.sender.send(asked)
        return response if f"<Name>{block}</Name>".encode() in response.body else None


def _check_created(response: HttpResponse, request: PutRequest) -> None:
    if response.status != 201:  # whatever has answered, it was not this store
        raise ServerError(f"unexpected answer to an upload: HTTP {response.status}", path=request.path)


def _conditions(request: PutRequest) -> tuple[tuple[str, str], ...]:
    """The headers that say when a write is to take effect."""
    if request.new:
        return (("If-None-Match", "*"),)
    return () if request.pinned is None else (("If-Match", f'"{request.pinned}"'),)


def _block(session: Session, number: int) -> str:
    """The name of a block: all of a blob have the same length."""
    return base64.b64encode(f"{session.id}-{number:06}".encode()).decode("ascii")


def _url(path: str) -> str:
    return f"/{quote_path(path)}"


def _query(query: Mapping[str, str]) -> str:
    return urlencode(query, quote_via=quote, safe="")


# -- requests -----------------------------------------------------------------------------------------------------


class BlobSender:
    """A ``Sender`` of requests whose URL is only a name (``/a/b.txt``) or a query (``?comp=list``)."""

    def __init__(self, container: str, access: Access, transport: Transport) -> None:
        self._container = container
        self._access = access
        self._transport = transport

    def send(self, request: HttpRequest) -> HttpResponse:
        """The answer, or the error that it stands for."""
        response = self._transport.send(self._authorized(request))
        if response.status == 206 and response.header("content-range") == "bytes 0--1/0":
            response.status = 416  # as the store itself says where a blob is empty; azurite does not
            response.headers["content-range"] = "bytes */0"
        if 200 <= response.status < 300 or (response.status in (304, 412) and request.method == "GET"):
            return response
        if response.status == 416 and request.method == "GET":
            if response.header("content-range") is None:
                size = self.send(HttpRequest("HEAD", request.url)).header(_LENGTH)
                response.headers["content-range"] = f"bytes */{size}"
            return response
        raise _refused(response, self._container, self._access)

    def _authorized(self, request: HttpRequest) -> HttpRequest:
        access = self._access
        url = f"{access.endpoint}/{self._container}{request.url}"
        headers = (*request.headers, ("x-ms-version", _VERSION), ("x-ms-date", date_of(time.time())))
        if access.sas is not None:
            url += f"{'&' if '?' in request.url else '?'}{access.sas}"
        elif access.key is not None:
            size = 0 if request.body is None else _size(request)
            text = string_to_sign(request.method, url, headers, size, access.account)
            signature = base64.b64encode(hmac.digest(access.key, text.encode(), hashlib.sha256)).decode("ascii")
            headers += (("Authorization", f"SharedKey {access.account}:{signature}"),)
        return replace(request, url=url, headers=headers, follow=False)

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()


def _size(request: HttpRequest) -> int:
    body = request.body
    return len(body) if isinstance(body, bytes | memoryview) else 0 if body is None else body.size


_SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def string_to_sign(method: str, url: str, headers: Sequence[tuple[str, str]], size: int, account: str) -> str:
    """What the account's key signs of a request with a body of ``size`` bytes."""
    named = {name.lower(): value.strip() for name, value in headers}
    if size:
        named["content-length"] = str(size)
    address, _, query = url.partition("?")
    path = "/" + address.partition("://")[2].partition("/")[2]
    lines = [method, *(named.get(name, "") for name in _SIGNED)]
    lines += [f"{name}:{named[name]}" for name in sorted(named) if name.startswith("x-ms-")]
    lines.append(f"/{account}{path}")
    lines += [f"{name}:{value}" for name, value in sorted(parse_qsl(query, keep_blank_values=True))]
    return "\n".join(lines)


_KINDS: dict[str, type[TransferError]] = {
    "AuthenticationFailed": AccessDenied,
    "PublicAccessNotPermitted": AccessDenied,
    "NoAuthenticationInformation": AccessDenied,
    "BlobArchived": AccessDenied,
    "LeaseIdMissing": AccessDenied,
    "BlobAlreadyExists": PreconditionFailed,
    "Md5Mismatch": IntegrityError,
    "InvalidMd5": IntegrityError,
    "OperationTimedOut": TransferTimeout,
    "ServerBusy": TooManyRequests,
    "ContainerBeingDeleted": ServerError,
    "BlobBeingRehydrated": AccessDenied,
}


def _refused(response: HttpResponse, container: str, access: Access) -> TransferError:
    """The error that an answer stands for."""
    status, code = response.status, scrub(response.header("x-ms-error-code") or "")[:80]
    if code == "ContainerNotFound":
        return BucketNotFound(f"there is no container {container!r} here: HTTP {status} ({code})", status=status)
    kind = _KINDS.get(code)
    error = error_of(response, "", code)
    if kind is not None:
        text = f"the store refuses: HTTP {status} ({code})"
        error = kind(text, status=status, retry_after=retry_after(response.headers))
    if isinstance(error, AccessDenied) or (status == 404 and not code.startswith("Blob") and access.key is None):
        # a container that is not public is not there for those who may not see it
        error = type(error)(f"{error.args[0]}; asked {access.described}", status=status)
    return error


class _Last:
    """A ``Sender`` that remembers the last answer."""

    def __init__(self, sender: BlobSender) -> None:
        self._sender = sender
        self.response: HttpResponse | None = None

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request."""
        self.response = self._sender.send(request)
        return self.response


class _Described:
    """A sink that is shown the blob's MD5 where an S3's ETag would be."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.write: Callable[[bytes], object] = sink.write

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """An answer has begun."""
        self._sink.begin(_with_digest(info), start, end)


# -- what the store says of a blob --------------------------------------------------------------------------------


def _hex(digest: str | None) -> str | None:
    """A Content-MD5 as the layers above write digests; None if it is none."""
    try:
        found = base64.b64decode(digest or "", validate=True)
    except binascii.Error:
        return None
    return found.hex() if len(found) == 16 else None


def _with_digest(info: ObjectInfo) -> ObjectInfo:
    """With the MD5 of the whole blob as ETag among the headers; what comes with a range may be that of the range."""
    headers = dict(info.headers)
    md5 = headers.get("x-ms-blob-content-md5")
    if md5 is None and "content-range" not in headers:
        md5 = headers.get("content-md5")
    if (digest := _hex(md5)) is not None:
        headers["etag"] = f'"{digest}"'
    return replace(info, headers=headers)


def _check_modified(request: GetRequest, info: ObjectInfo) -> None:
    here = {info.etag, info.headers.get("etag", "").strip('"')}
    late = info.last_modified is not None and request.since is not None and info.last_modified <= request.since
    if late or not here.isdisjoint(request.known):
        raise NotModified("not sent: it is here already", path=request.path)


def _page(body: bytes) -> tuple[list[ObjectInfo], str]:
    """One page of a listing, folders without a size, and where the next one begins ("" if this is the last)."""
    if len(body) > _LARGEST_LISTING or b"<!DOCTYPE" in body[:4096]:
        raise ServerError("the store answers with something that is no listing")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 -- without a DOCTYPE there are no entities
    except ElementTree.ParseError as error:
        raise ServerError(f"the store answers with XML that cannot be read: {scrub(str(error))}") from None
    if root.tag != "EnumerationResults":
        raise ServerError("the store answers with something that is no listing")
    found = [_listed(blob) for blob in root.iterfind("Blobs/Blob")]
    found += [ObjectInfo(_name(folder)) for folder in root.iterfind("Blobs/BlobPrefix")]
    return found, root.findtext("NextMarker") or ""


def _name(entry: ElementTree.Element) -> str:
    name = entry.find("Name")
    if name is None or not name.text:
        raise ServerError("the store lists something without a name")
    return unquote(name.text) if name.get("Encoded") == "true" else name.text


def _listed(blob: ElementTree.Element) -> ObjectInfo:
    told = {each.tag.lower(): each.text or "" for each in blob.iterfind("Properties/*")}
    etag = told.get("etag", "").strip('"')
    headers = {"etag": f'"{etag}"'}
    kept = ("content-md5", "content-encoding", "cache-control", "content-type")
    headers |= {name: told[name] for name in kept if told.get(name)}
    modified = seconds_of(told.get("last-modified"))
    return _with_digest(
        ObjectInfo(
            _name(blob),
            int(told["content-length"]) if told.get("content-length", "").isdigit() else None,
            etag or None,
            told.get("content-type") or None,
            modified,
            headers,
            encoding_name(told.get("content-encoding") or None),
        )
    )
