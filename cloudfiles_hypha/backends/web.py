"""``http(s)://host/prefix``: plain web servers, read-only. How answers are checked: ``transports.answers``.

Folders are listed where the server offers a page of what is in them, which ``pages`` reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from ..errors import ObjectNotFound, TransferError
from ..models import Fetched, GetRequest, ObjectInfo, Sink
from ..paths import Location, host_in, quote_path
from ..redact import without_credentials
from ..transports import HttpRequest, Transport
from ..transports.answers import error_of, fetch, fetch_into, first_byte, info_of
from . import Resources
from .base import ByFolder, Capabilities, Control, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLocation(Location):
    """A base URL, which ends in a slash. ``query`` goes with each request, and is for one file only."""

    base: str
    query: str = field(default="", repr=False)


def locate(text: str, rest: str) -> WebLocation:
    """Take a base URL apart."""
    shown = without_credentials(text)
    scheme = text.partition("://")[0]
    if not host_in(rest):
        raise ValueError(f"{shown!r}: a host is missing")
    if "?" in rest or "#" in rest:
        raise ValueError(f"{shown!r}: a base URL has no query and no fragment")
    base = f"{scheme}://{rest.rstrip('/')}/"
    return WebLocation(scheme=scheme, root=without_credentials(base), base=base)


def open_backend(location: WebLocation, resources: Resources) -> HttpBackend:
    """The backend for a base URL."""
    return HttpBackend(location.base, resources.transport(), location.query)


class HttpBackend(ByFolder):
    """Objects below a base URL, read with GET and HEAD; redirects are followed."""

    scheme = "http"
    can = Capabilities(writable=False, suffixes=True)

    def __init__(self, base: str, transport: Transport, query: str = "") -> None:
        self._base = base
        self._query = f"?{query}" if query else ""
        self._transport = transport

    def place(self, location: Location) -> object:
        """The host, and what of a query says which file is meant, and not who may read it until when."""
        named = parse_qsl(self._query[1:], keep_blank_values=True)
        return _parted(location.root)[0], tuple(pair for pair in named if _SIGNING.match(pair[0]) is None)

    def path_at(self, location: Location, prefix: str) -> str:
        """The path on the host."""
        return _parted(location.root)[1] + prefix

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        url = self._base + quote_path(request.path) + self._query
        if sink is not None:
            return fetch_into(self._transport, url, request, sink)
        return fetch(self._transport, url, request, md5=False)

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object without reading it; asks for one byte where HEAD is not allowed."""
        url = self._base + quote_path(path) + self._query
        response = self._transport.send(HttpRequest("HEAD", url, follow=True))
        if response.status in (403, 405, 501):
            return first_byte(url, path, self._transport)
        if response.status != 200:
            raise error_of(response, path)
        length = response.headers.get("content-length")
        return info_of(path, response, int(length) if length is not None and length.isdigit() else None)

    def link(self, path: str, lifetime: int, control: Control) -> str:
        """Where the file is; nothing is asked, and nothing is signed."""
        return self._base + quote_path(path) + self._query

    def _folder(self, folder: str, start: str, control: Control, *, asked: bool) -> Sequence[ObjectInfo]:
        """What a page says, where the server has one; sizes and times as exactly as it does: nginx in JSON, rclone
        (sizes)."""
        try:
            entries = control.retry(lambda: self._index(folder))
        except ObjectNotFound:
            if asked and folder:
                return []  # nothing has a name that begins so
            if asked:
                raise TransferError("the server has no such page, so it cannot be listed", path=folder) from None
            raise
        found = {info.path: info for info in entries if info.path.startswith(folder + start)}
        return [found[name] for name in sorted(found)]

    def _index(self, folder: str) -> Sequence[ObjectInfo]:
        url = self._base + quote_path(folder)
        response = self._transport.send(
            HttpRequest("GET", url, (("Accept", "application/json, text/html"),), follow=True)
        )
        if response.status != 200:
            raise error_of(response, folder)
        from .pages import from_html, from_json  # only here: a parser of HTML, which to read files needs none

        kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
        if kind == "application/json":
            return from_json(response.body, folder)
        if kind == "text/html":
            return from_html(response.body, folder)
        raise TransferError(f"cannot be listed: {kind or 'no content type'} is no page of a folder", path=folder)

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()


def _parted(root: str) -> tuple[str, str]:
    """The host of a base URL, and its path as names are; one that no name can stand for stays with the host."""
    scheme, _, rest = root.partition("://")
    host, _, path = rest.partition("/")
    return (root, "") if "%2f" in path.lower() else (f"{scheme}://{host}", unquote(path))


# Parameters of signed URLs: Amazon's, Google's, Azure's, CloudFront's, and what tokens are called.
_SIGNING = re.compile(
    r"(?i)(x-amz-.*|x-goog-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id|"
    r"sig|se|sp|st|sv|sr|spr|sip|sk\w+|.*token.*)$"
)
