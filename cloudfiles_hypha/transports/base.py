"""What a transport is: one HTTP request out, one response back.

Transports move bytes and decide nothing: no retries, no batches, no knowledge of Hypha. What goes wrong on the
wire is translated here, once, into the exceptions of ``errors``; an HTTP status is not an error at this level.
The three implementations (``curl``, ``green``, ``urllib3``) pass one contract suite.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from ..models import Body

USER_AGENT = "cloudfiles-hypha"


@dataclass(slots=True)
class HttpRequest:
    """One request.

    ``headers`` are sent as given; ``follow`` allows redirects (never with credentials); ``idle`` overrides the
    transport's idle timeout, for servers that think long before they answer.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | memoryview | Body | None = None
    follow: bool = False
    idle: float | None = None


@dataclass(slots=True)
class HttpResponse:
    """The answer to one request: the whole body is in ``body``, its length checked against the headers."""

    status: int
    body: bytes
    header_lines: list[bytes] = field(default_factory=list, repr=False)
    _headers: dict[str, str] | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; of a repeated header the last value. Parsed on first use."""
        if self._headers is None:
            self._headers = parse_headers(self.header_lines)
        return self._headers


class Transport(Protocol):
    """Carries out requests one at a time per worker. Safe to share between threads; not picklable."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send ``request`` and wait for the whole answer, or raise a ``TransferError``."""

    def aborting(self, threads: Collection[int]) -> AbstractContextManager[None]:
        """Break off whatever these threads (by ``get_ident``) have under way, and let them start nothing new."""

    def close(self) -> None:
        """Close idle connections. The transport may be used again, and opens new ones."""


def parse_headers(lines: list[bytes]) -> dict[str, str]:
    """Headers of the last response among ``lines`` (redirects and 100 Continue put several into one list)."""
    headers: dict[str, str] = {}
    for line in lines:
        if line.startswith(b"HTTP/"):
            headers = {}
            continue
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()
    return headers


@lru_cache(maxsize=1)
def ca_bundle() -> str:
    """The certificate authorities to trust: the usual environment variables first, else certifi's."""
    for name in ("CLOUDFILES_HYPHA_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        path = os.environ.get(name)
        if path and os.path.isfile(path):
            return path
    import certifi

    return certifi.where()


_QUERY = re.compile(r"\?[^\s'\"]*")
_BEARER = re.compile(r"(?i)(bearer\s+)\S+")


def without_secrets(text: str) -> str:
    """``text`` with every query string and bearer token cut out, fit for a message."""
    return _BEARER.sub(r"\1***", _QUERY.sub("?***", text))


def host_of(url: str) -> str:
    """``scheme://host:port`` of a URL, for messages: no path, no query, no user."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split(r'[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"
