"""What a transport is: one HTTP request out, one response back.

Transports move bytes and decide nothing: no retries, no batches, no knowledge of Hypha. What goes wrong on the
wire is translated here, once, into the exceptions of ``errors``; an HTTP status is not an error at this level.
All implementations pass one contract suite.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol
from urllib.parse import unquote_to_bytes, urljoin

from ..content.sources import InMemory
from ..errors import InvalidRequest, TransferError
from ..limit import BLOCK
from ..models import Body

USER_AGENT = "cloudfiles-hypha"


Take = Callable[[bytes], object]
"""Is given a body block by block; what it raises ends the transfer and is raised by ``send``."""


@dataclass(slots=True)
class HttpRequest:
    """One request.

    ``headers`` are sent as given; ``follow`` allows redirects (never with credentials); ``idle`` overrides the
    transport's idle timeout, for servers that think long before they answer; ``once`` is for what must not be
    repeated unasked, not even on a kept connection that turned out to be closed. ``sink`` is for bodies that are
    not to be held in memory: shown the answer as its first bytes arrive, it says who takes them; None collects
    them as usual. It is not asked about an empty body.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | memoryview | Body | None = None
    follow: bool = False
    idle: float | None = None
    once: bool = False
    sink: Callable[[HttpResponse], Take | None] | None = None


@dataclass(slots=True)
class HttpResponse:
    """The answer to one request: the whole body is in ``body`` unless a sink took it.

    Its length is what was announced, where that was (``measured``).
    """

    status: int
    body: bytes
    header_lines: list[bytes] = field(default_factory=list, repr=False)
    _headers: dict[str, str] | None = field(default=None, repr=False)
    _text: tuple[bytes, bytes, int] | None = field(default=None, repr=False, compare=False)

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; of a repeated header the last value. Parsed on first use."""
        if self._headers is None:
            self._headers = parse_headers(self.header_lines)
        return self._headers

    @property
    def measured(self) -> bool:
        """Whether the server said how long the body is; one that merely ends with the connection may lack its end."""
        if self.header("content-length") is not None:
            return True
        return (self.header("transfer-encoding") or "").lower().endswith("chunked")

    @property
    def encoding(self) -> str | None:
        """The Content-Encoding; unlike other headers it may come in several lines, which are one list."""
        if not self.header_lines or (self._headers is not None and "content-encoding" not in self._headers):
            return self.header("content-encoding")
        if self._headers is None and b"content-encoding:" not in self._searched()[1]:
            return None
        found: list[str] = []
        for line in reversed(self.header_lines):
            if line[:17].lower() == b"content-encoding:":
                found.append(line[17:].decode("latin-1").strip())
            elif line[:5] == b"HTTP/":
                break
        return ", ".join(reversed(found)) or None

    def header(self, name: str) -> str | None:
        """One header by its lower-case name: cheaper than parsing them all where one or two are wanted."""
        if self._headers is not None:
            return self._headers.get(name)
        whole, lower, first = self._searched()
        wanted = b"\n%b:" % name.encode("latin-1")
        start = lower.rfind(wanted, first)
        if start < 0:
            return None
        start += len(wanted)
        end = lower.find(b"\n", start)
        return whole[start : end if end >= 0 else None].decode("latin-1").strip()

    def _searched(self) -> tuple[bytes, bytes, int]:
        """All header lines as one text, the same in lower case, and where the last response begins in it: what came
        before a redirect stands before it."""
        if self._text is None:
            whole = b"\n" + b"".join(self.header_lines)
            lower = whole.lower()
            self._text = whole, lower, max(0, lower.rfind(b"\nhttp/"))
        return self._text


class Sender(Protocol):
    """What a request can be given to: a transport, or what adds something to each request before one has it."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send ``request`` and wait for the whole answer, or raise a ``TransferError``."""


class Transport(Sender, Protocol):
    """Carries out requests one at a time per worker. Safe to share between threads; not picklable."""

    def aborting(self, threads: Collection[int]) -> AbstractContextManager[None]:
        """Break off whatever these threads (by ``get_ident``) have under way, and let them start nothing new."""

    def forget(self, thread: int) -> None:
        """The thread is about to end, and its number may become another's: nothing said of it counts any more."""

    def close(self) -> None:
        """Close idle connections. The transport may be used again, and opens new ones."""


_HEADER = re.compile(r"^([^:\r\n]+):[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)


def parse_headers(lines: list[bytes]) -> dict[str, str]:
    """Headers of the last response among ``lines`` (redirects and 100 Continue put several into one list)."""
    first = max((n for n, line in enumerate(lines) if line[:5] == b"HTTP/"), default=0)
    text = b"".join(lines[first:]).decode("latin-1")
    return {name.lower(): value for name, value in _HEADER.findall(text)}


_URL = re.compile(r"https?://[!-~]+")


def check_url(url: str) -> str:
    """``url`` itself if it is one that can be fetched: absolute, HTTP or HTTPS, percent-encoded."""
    if _URL.fullmatch(url) is None:
        raise InvalidRequest("not a URL that can be fetched: it must be http(s)://, in percent-encoded ASCII")
    return url


_USER = re.compile(r"(https?://)([^/?#]*)@")
_HEADER_TEXT = re.compile(r"[\t -~]*")


def check_headers(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Headers as a dictionary, if none of them can be read as two; printable ASCII only."""
    for name, value in headers:
        if not name or _HEADER_TEXT.fullmatch(name + value) is None:
            raise InvalidRequest(f"header {name!r}: only printable ASCII can be sent")
    return dict(headers)


def in_blocks(request: HttpRequest) -> HttpRequest:
    """The same request with a body that can be sent bit by bit, as a limit wants it; a small one is left as it is."""
    body = request.body
    if body is None or isinstance(body, Body) or len(body) <= BLOCK:
        return request
    return replace(request, body=InMemory(body))


class Upload:
    """A ``Body`` while it is being sent: gives as many bytes as were announced, neither more nor fewer.

    A file may grow or shrink after it was measured; bytes beyond its announced length would be taken for the
    beginning of the next request.
    """

    def __init__(self, body: Body) -> None:
        self.size = self.left = body.size
        self._reader = body.open()

    def read(self, count: int) -> bytes:
        """The next bytes, at most ``count``; ``b""`` at the end."""
        block = self._reader.read(min(count, self.left))
        if not block and self.left:
            raise TransferError(f"the body is {self.left} bytes shorter than when it was measured; has it changed?")
        self.left -= len(block)
        return block

    def rewind(self, offset: int = 0) -> None:
        """Go on from ``offset``."""
        self._reader.seek(offset)
        self.left = self.size - offset

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()


def ca_bundle() -> str:
    """The certificate authorities to trust: the usual environment variables first, else certifi's."""
    for name in ("CLOUDFILES_HYPHA_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        path = os.environ.get(name)
        if path and os.path.isfile(path):
            return path
    return _certifi()


@lru_cache(maxsize=1)
def _certifi() -> str:
    import certifi

    return certifi.where()


def split_user(url: str) -> tuple[str, str | None]:
    """A URL without its user and password, and the value of ``Authorization`` that stands for them (RFC 7617)."""
    match = _USER.match(url)
    if match is None:
        return url, None
    user, _, password = match[2].partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return match[1] + url[match.end() :], f"Basic {b64encode(pair).decode('ascii')}"


_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")


def redirected(url: str, location: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Where a redirect leads, and with which headers: another host gets no credentials, the same one keeps its user."""
    target = urljoin(url, location)
    if host_of(target) != host_of(url):
        headers = {name: headers[name] for name in headers if name.lower() not in _CREDENTIALS}
    elif (user := _USER.match(url)) is not None and _USER.match(target) is None:
        target = user[0] + target[len(user[1]) :]
    return check_url(target), headers


def host_of(url: str) -> str:
    """``scheme://host:port`` of a URL, for messages: no path, no query, no user."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split(r'[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"
