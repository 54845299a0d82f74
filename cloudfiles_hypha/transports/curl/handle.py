"""One easy handle of libcurl's: turns a request into options, and an outcome into a response or an error."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pycurl

from ...errors import (
    CertificateError,
    ConnectionFailed,
    InvalidRequest,
    TransferError,
    TransferTimeout,
    TruncatedBody,
)
from ...models import Body, Timeouts
from ..base import (
    USER_AGENT,
    HttpRequest,
    HttpResponse,
    Take,
    Upload,
    ca_bundle,
    check_headers,
    check_url,
    host_of,
    without_secrets,
)

if TYPE_CHECKING:
    pass


# Handles of a parent process. Closing them in a child would shut the parent's TLS sessions down.
_inherited: list[CurlHandle] = []


# A peer slower than this many bytes a second for the whole idle timeout counts as silent.
_SLOWEST = 64


_BUFFER = 512 * 1024


_REDIRECTS = 5


_CERTIFICATE = {
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_SSL_CERTPROBLEM,
    pycurl.E_SSL_CIPHER,
    pycurl.E_SSL_ISSUER_ERROR,
}


_MALFORMED = {pycurl.E_URL_MALFORMAT, pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_TOO_MANY_REDIRECTS}


_NO_HTTP = "HTTP/0.9"  # what libcurl takes an answer for that is no HTTP at all


def translate(code: int, message: str, url: str) -> TransferError:
    """The exception that a libcurl error code stands for; ``url`` is named by its host only."""
    text = f"{without_secrets(message)} ({host_of(url)})"
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return TransferTimeout(f"timed out: {text}")
    if code == pycurl.E_PARTIAL_FILE:
        return TruncatedBody(f"the connection closed before the body was complete: {text}")
    if code in _CERTIFICATE:
        return CertificateError(f"the TLS certificate is not trusted: {text}")
    if code in _MALFORMED and _NO_HTTP not in message:
        return InvalidRequest(f"not a URL that can be fetched: {text}")
    return ConnectionFailed(f"connection failed: {text}")


def _upper_case_proxy() -> str | None:
    """``HTTP_PROXY``, where that is what names the proxy for plain HTTP: libcurl looks at ``http_proxy`` only.

    It does so because to a CGI program the upper-case name is a header of the request; hence the last condition.
    """
    if os.environ.get("http_proxy") or "REQUEST_METHOD" in os.environ:
        return None
    return os.environ.get("HTTP_PROXY") or None


class CurlHandle:
    """One easy handle with what belongs to the request it carries. Used by one worker at a time."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.curl = pycurl.Curl()
        self.chunks: list[bytes] = []
        self.header_lines: list[bytes] = []
        self.url = ""
        self.refused = False
        self.opened: Callable[[int], None] | None = None  # told of each new socket
        self.failure: BaseException | None = None  # what reading or taking a body has raised
        self._timeouts = timeouts
        self._plain = False  # set up for a plain GET, so that only the URL needs to change
        self._source: Upload | None = None
        self._request: HttpRequest | None = None  # one with a sink
        self._take: Take | None = None
        self._proxy: str | None = None
        self._multi: pycurl.CurlMulti | None = None
        self._sockets: dict[int, int] = {}  # descriptor -> inode, of every socket this handle opened

    def load(self, request: HttpRequest) -> None:
        """Set the handle up for ``request``; whatever was set for the one before is gone."""
        curl = self.curl
        self.chunks.clear()
        self.header_lines.clear()
        self.url = check_url(request.url)
        plain = request.method == "GET" and not request.headers and request.follow and request.sink is None
        if not (plain and self._plain):
            self._reset()
            self._plain = plain
            if request.follow:
                curl.setopt(pycurl.FOLLOWLOCATION, 1)
                curl.setopt(pycurl.MAXREDIRS, _REDIRECTS)
            if not plain:
                self._describe(request)
        if self._proxy is not None:
            if request.url.startswith("http:"):
                curl.setopt(pycurl.PROXY, self._proxy)
            else:
                curl.unsetopt(pycurl.PROXY)
        curl.setopt(pycurl.URL, request.url)

    def _reset(self) -> None:
        curl = self.curl
        curl.reset()  # keeps the live connections
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(self._timeouts.connect * 1000)))
        curl.setopt(pycurl.LOW_SPEED_LIMIT, _SLOWEST)
        curl.setopt(pycurl.LOW_SPEED_TIME, max(1, round(self._timeouts.idle)))
        curl.setopt(pycurl.BUFFERSIZE, _BUFFER)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.USERAGENT, USER_AGENT)
        curl.setopt(pycurl.CAINFO, ca_bundle())
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.SOCKOPTFUNCTION, self._opened)
        curl.setopt(pycurl.WRITEFUNCTION, self.chunks.append)
        curl.setopt(pycurl.HEADERFUNCTION, self.header_lines.append)
        self._proxy = _upper_case_proxy()

    def _describe(self, request: HttpRequest) -> None:
        curl, body = self.curl, request.body
        # An empty Expect keeps libcurl from waiting for "100 Continue" before each larger body.
        given = check_headers(request.headers)
        headers = ["Expect:", *(f"{name}: {value}" if value else f"{name};" for name, value in given.items())]
        if request.idle is not None:
            curl.setopt(pycurl.LOW_SPEED_TIME, max(1, round(request.idle)))
        if request.once:
            # on a kept connection that breaks before the answer libcurl sends everything again, be it a POST or not
            curl.setopt(pycurl.FRESH_CONNECT, 1)
            curl.setopt(pycurl.FORBID_REUSE, 1)
        if request.sink is not None:
            self._request, self._take = request, None
            curl.setopt(pycurl.WRITEFUNCTION, self._write)
        named = {name.lower() for name in given}
        if request.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif body is None:
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        elif isinstance(body, Body):
            self._source = Upload(body)
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
            curl.setopt(pycurl.INFILESIZE_LARGE, body.size)
            curl.setopt(pycurl.UPLOAD_BUFFERSIZE, _BUFFER)
            curl.setopt(pycurl.READFUNCTION, self._read)
            curl.setopt(pycurl.SEEKFUNCTION, self._rewind)
        else:
            # libcurl reads straight from these bytes, and rewinds by itself on a connection that had gone stale
            curl.setopt(pycurl.POSTFIELDS, bytes(body))
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
            if "content-type" not in named:
                headers.append("Content-Type:")
        curl.setopt(pycurl.HTTPHEADER, headers)

    def _write(self, block: bytes) -> int | None:
        try:
            if self._request is not None:
                sink, self._request = self._request.sink, None
                self._take = (sink and sink(self._answer())) or self.chunks.append
            if self._take is not None:
                self._take(block)
        except BaseException as error:  # noqa: BLE001 -- raised once libcurl has returned; it only knows "aborted"
            self.failure = error
            return -1
        return None

    def _answer(self) -> HttpResponse:
        """The answer as far as it is known before its body; libcurl cannot be asked for it then."""
        lines = self.header_lines
        status = next((line for line in reversed(lines) if line[:5] == b"HTTP/"), b"HTTP/1.1 0")
        return HttpResponse(int(status.split(None, 2)[1]), b"", lines.copy())

    def _read(self, count: int) -> bytes | int:
        try:
            return self._source.read(count) if self._source else b""
        except BaseException as error:  # noqa: BLE001 -- raised once libcurl has returned; it only knows "aborted"
            self.failure = error
            return int(pycurl.READFUNC_ABORT)

    def _rewind(self, offset: int, origin: int) -> int:  # libcurl seeks from the beginning only
        try:
            if self._source:
                self._source.rewind(offset)
        except BaseException as error:  # noqa: BLE001 -- as above
            self.failure = error
            return int(pycurl.SEEKFUNC_FAIL)
        return int(pycurl.SEEKFUNC_OK)

    def _opened(self, descriptor: int, purpose: int) -> int:
        """Called by libcurl for each new socket, before it connects."""
        if self.refused:
            return int(pycurl.SOCKOPT_ERROR)
        if self.opened is not None:
            self.opened(descriptor)
        self._sockets[descriptor] = os.fstat(descriptor).st_ino
        return int(pycurl.SOCKOPT_OK)

    def perform_interruptibly(self) -> tuple[int, str]:
        """Run the transfer so that a signal handler, and so Ctrl-C, runs at once: for the main thread.

        ``perform`` would come back to Python only when something arrives.
        """
        if self._multi is None:
            self._multi = pycurl.CurlMulti()
        multi = self._multi
        multi.add_handle(self.curl)
        try:
            running = 1
            while running:
                _, running = multi.perform()
                if running:
                    multi.select(1.0)
            _, _, failed = multi.info_read()
            return (failed[0][1], failed[0][2]) if failed else (0, "")
        finally:
            multi.remove_handle(self.curl)

    def break_off(self) -> None:
        """Make a transfer under way in another thread fail at once, and refuse it a new connection.

        The descriptor is duplicated before it is looked at, so it cannot be closed and reused in between; the
        inode tells whether it is still the socket that libcurl opened.
        """
        self.refused = True
        for descriptor, inode in list(self._sockets.items()):
            try:
                copy = os.dup(descriptor)
            except OSError:
                continue  # closed meanwhile
            if os.fstat(copy).st_ino != inode:
                os.close(copy)
                continue
            with socket.socket(fileno=copy) as mine:
                try:
                    mine.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # not connected any more

    def response(self) -> HttpResponse:
        """The answer, once the transfer is done."""
        chunks = self.chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return HttpResponse(self.curl.getinfo(pycurl.RESPONSE_CODE), body, self.header_lines.copy())

    def unload(self) -> None:
        """Let go of what was sent and of what arrived; the connection stays."""
        self.chunks.clear()
        self.failure = self._request = self._take = None
        if self._source is not None:
            self._source.close()
            self._source = None
        if not self._plain:
            self.curl.reset()

    def close(self) -> None:
        self.unload()
        self.curl.close()
        if self._multi is not None:
            self._multi.close()
