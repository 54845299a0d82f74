"""``http(s)://host/prefix``: plain web servers, read-only. Also how any answer to a GET is read and checked.

``read_body`` is the one place that decides whether the bytes that arrived are the bytes that were asked for;
the Hypha backend uses it for what its S3 answers.
"""

from __future__ import annotations

from ..models import Fetched, GetRequest, ObjectInfo, Sink
from ..paths import quote_path
from ..transports import HttpRequest, Transport
from ..transports.answers import error_of, fetch, fetch_into, first_byte, info_of
from .base import Backend, Capabilities, Ticket


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
