"""``http(s)://host/prefix``: plain web servers, read-only. How answers are checked: ``transports.answers``."""

from __future__ import annotations

from dataclasses import dataclass

from ..models import Fetched, GetRequest, ObjectInfo, Sink
from ..paths import Location, host_in, quote_path
from ..redact import without_credentials
from ..transports import HttpRequest, Transport
from ..transports.answers import error_of, fetch, fetch_into, first_byte, info_of
from . import Resources
from .base import Backend, Capabilities, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLocation(Location):
    """A base URL, which ends in a slash."""

    base: str


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
    return HttpBackend(location.base, resources.transport())


class HttpBackend(Backend):
    """Objects below a base URL, read with GET and HEAD; redirects are followed."""

    scheme = "http"
    can = Capabilities(listable=False, writable=False)

    def __init__(self, base: str, transport: Transport) -> None:
        self._base = base
        self._transport = transport

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        url = self._base + quote_path(request.path)
        if sink is not None:
            return fetch_into(self._transport, url, request, sink)
        return fetch(self._transport, url, request, md5=False)

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object without reading it; asks for one byte where HEAD is not allowed."""
        url = self._base + quote_path(path)
        response = self._transport.send(HttpRequest("HEAD", url, follow=True))
        if response.status in (403, 405, 501):
            return first_byte(url, path, self._transport)
        if response.status != 200:
            raise error_of(response, path)
        length = response.headers.get("content-length")
        return info_of(path, response, int(length) if length is not None and length.isdigit() else None)

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()
