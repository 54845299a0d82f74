"""One easy handle of libcurl's: turns a request into options, and an outcome into a response or an error.

libcurl's callbacks only store and fetch: a reader is called in ``exchange``, between them; a sink takes bytes as they
arrive, and is quick.
"""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

import pycurl

from ...errors import (
    CertificateError,
    ConnectionFailed,
    InvalidRequest,
    TransferError,
    TransferTimeout,
    TruncatedBody,
)
from ...limit import BLOCK, RateLimit
from ...models import Body, Timeouts
from ...recording.flights import CURRENT
from ...redact import scrub
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
)

if TYPE_CHECKING:
    from .loop import Company

Made = TypeVar("Made")

Outcome = tuple[int, str]
"""libcurl's code for how a transfer ended (0: well), and its message."""

# What has connections, and in a forked child what has the parent's. Their destructors would end the parent's TLS
# sessions: so none of them ever runs in a child, not even when its interpreter exits.
_living: WeakSet[object] = WeakSet()
_inherited: list[object] = []


def keep_for_ever(thing: object) -> None:
    """Have no forked child destroy ``thing``, which holds connections of this process."""
    _living.add(thing)


def _in_child() -> None:
    _inherited.extend(_living)
    atexit.register(_leak)


def _leak() -> None:
    try:
        import ctypes
    except ImportError:
        return  # a Python without it: the parent finds its connections closed, and opens others
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_inherited))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

# A peer slower than this many bytes a second for the whole idle timeout counts as silent.
_SLOWEST = 64


# Bytes that libcurl receives at a time. It hands them on in blocks of 16 KiB whatever this is (CURL_MAX_WRITE_SIZE).
_BUFFER = 512 * 1024


_REDIRECTS = 5


_CERTIFICATE = {
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_SSL_CERTPROBLEM,
    pycurl.E_SSL_CIPHER,
    pycurl.E_SSL_ISSUER_ERROR,
}


_NOT_CONNECTED = {pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY, pycurl.E_COULDNT_CONNECT}
# How libcurl begins what it says of a time that was over before there was a connection.
_CONNECTING = ("Connection tim", "Resolving tim", "Failed to connect")


_MALFORMED = {pycurl.E_URL_MALFORMAT, pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_TOO_MANY_REDIRECTS}


# Bytes of a body that may stay with a handle after it was sent, until the next one takes its place.
_KEPT = 64 * 1024
_NO_HTTP = "HTTP/0.9"  # what libcurl takes an answer for that is no HTTP at all


def translate(code: int, message: str, url: str) -> TransferError:
    """The exception that a libcurl error code stands for; ``url`` is named by its host only."""
    text = f"{scrub(message)} ({host_of(url)})"
    if code == pycurl.E_OPERATION_TIMEDOUT:
        late = TransferTimeout(f"timed out: {text}")
        late.connected = not message.startswith(_CONNECTING)
        return late
    if code == pycurl.E_PARTIAL_FILE:
        return TruncatedBody(f"the connection closed before the body was complete: {text}")
    if code in _CERTIFICATE:
        return CertificateError(f"the TLS certificate is not trusted: {text}")
    if code in _MALFORMED and _NO_HTTP not in message:
        return InvalidRequest(f"not a URL that can be fetched: {text}")
    broken = ConnectionFailed(f"connection failed: {text}")
    broken.connected = code not in _NOT_CONNECTED
    return broken


def made(kind: Callable[[], Made]) -> Made:
    """A new object of libcurl's. It says nothing of why there is none; its only reasons are these."""
    try:
        return kind()
    except pycurl.error as error:
        raise TransferError(f"the process has run out of file descriptors or of memory ({error})") from error


def _upper_case_proxy() -> str | None:
    """``HTTP_PROXY``, where that is what names the proxy for plain HTTP: libcurl looks at ``http_proxy`` only.

    It does so because to a CGI program the upper-case name is a header of the request; hence the last condition.
    """
    if os.environ.get("http_proxy") or "REQUEST_METHOD" in os.environ:
        return None
    return os.environ.get("HTTP_PROXY") or None


_Kind = tuple[str, bool, bool, bool, bool]


def _simple(request: HttpRequest) -> _Kind | None:
    """What tells requests without anything special from each other, but for URL, headers and bytes; else None."""
    body = request.body
    if request.idle is not None or request.once:
        return None
    if body is not None and (isinstance(body, Body) or len(body) > _KEPT):
        return None
    return request.method, request.follow, bool(request.headers), body is not None, request.sink is not None


def _lines(headers: dict[str, str]) -> list[str]:
    """Headers as libcurl wants them; an empty Expect keeps it from waiting for "100 Continue" before larger bodies."""
    return ["Expect:", *(f"{name}: {value}" if value else f"{name};" for name, value in headers.items())]


class CurlHandle:
    """One easy handle with what belongs to the request it carries. Used by one worker at a time."""

    def __init__(self, timeouts: Timeouts, owner: object = None, limit: RateLimit | None = None) -> None:
        self.curl = made(pycurl.Curl)
        self.limit = limit
        self.hold: Callable[[float], None] | None = None  # told for how many seconds no bytes are to move
        self.held = False  # until ``go_on``
        self._until = 0.0  # when bytes may move again, by the clock of the limit
        self.owner = owner  # handles of one owner share connections
        self.company: Company | None = None  # where its loop has it, while it is under way
        self.chunks: list[bytes] = []
        self.header_lines: list[bytes] = []
        self.url = ""
        self.refused = False
        self.opened: Callable[[int], None] | None = None  # told of each new socket
        self.failure: BaseException | None = None  # what a callback has raised
        self.streams = False  # hands over bytes while it is under way (``exchange``)
        self.parked = False  # streams, and somebody waits for the next bytes
        self.outcome: Outcome | None = None  # of one that streams
        self._timeouts = timeouts
        self._simple: _Kind | None = None  # set up for requests like this one, so that little needs to change
        self._source: Upload | None = None
        self._block = b""  # what of the source is to be sent next, from ``_sent`` on
        self._sent = 0
        self._rewind_to: int | None = None  # where libcurl wants to have the source
        self._hungry = False  # libcurl wants more of the source
        self._paused = False
        self._sink: Callable[[HttpResponse], Take | None] | None = None
        self._take: Take | None = None
        self._proxy: str | None = None
        self._pid = os.getpid()
        self._sockets: dict[int, int] = {}  # descriptor -> inode, of every socket this handle opened
        keep_for_ever(self)

    def load(self, request: HttpRequest) -> None:
        """Set the handle up for ``request``; whatever was set for the one before is gone."""
        curl = self.curl
        self.chunks.clear()
        self.header_lines.clear()
        self.url = check_url(request.url)
        if self.limit is not None:
            self._until = self.limit.charge(len(request.body) if isinstance(request.body, bytes | memoryview) else 0)
        simple = _simple(request)
        if simple is None or simple != self._simple:
            self._simple = None  # until it is; who is interrupted in this leaves a handle that is set up for nothing
            self._reset()
            self._describe(request)
            self._simple = simple
        self._vary(request)
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
        curl.setopt(pycurl.LOW_SPEED_TIME, self._patience(self._timeouts.idle))
        curl.setopt(pycurl.BUFFERSIZE, self._buffer)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.USERAGENT, USER_AGENT)
        curl.setopt(pycurl.CAINFO, ca_bundle())
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.SOCKOPTFUNCTION, self._opened)
        curl.setopt(pycurl.WRITEFUNCTION, self.chunks.append if self.limit is None else self._write)
        curl.setopt(pycurl.HEADERFUNCTION, self.header_lines.append)
        self._proxy = _upper_case_proxy()

    @property
    def _buffer(self) -> int:
        return _BUFFER if self.limit is None else BLOCK  # what is in it has moved, whatever the limit says

    def _patience(self, idle: float) -> int:
        """Seconds after which a peer counts as silent; those for which we are ourselves do not count."""
        return max(1, round(idle if self.limit is None else idle + self.limit.patience))

    def _describe(self, request: HttpRequest) -> None:
        """What is the same for all requests of its kind."""
        curl, body = self.curl, request.body
        if request.follow:
            curl.setopt(pycurl.FOLLOWLOCATION, 1)
            curl.setopt(pycurl.MAXREDIRS, _REDIRECTS)
        if request.idle is not None:
            curl.setopt(pycurl.LOW_SPEED_TIME, self._patience(request.idle))
        if request.once:
            # on a kept connection that breaks before the answer libcurl sends everything again, be it a POST or not
            curl.setopt(pycurl.FRESH_CONNECT, 1)
            curl.setopt(pycurl.FORBID_REUSE, 1)
        self.streams = isinstance(body, Body)
        if request.sink is not None:
            curl.setopt(pycurl.WRITEFUNCTION, self._write)
        if request.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif request.method != "GET" or body is not None:
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        if isinstance(body, Body):
            self._source = Upload(body)
            self._hungry = True
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.INFILESIZE_LARGE, body.size)
            if hasattr(pycurl, "UPLOAD_BUFFERSIZE"):  # libcurl 7.62
                curl.setopt(pycurl.UPLOAD_BUFFERSIZE, self._buffer)
            curl.setopt(pycurl.READFUNCTION, self._read)
            curl.setopt(pycurl.SEEKFUNCTION, self._rewind)

    def _vary(self, request: HttpRequest) -> None:
        """What differs between requests of one kind."""
        body = request.body
        self._sink, self._take = request.sink, None
        if self.limit is not None and request.sink is None:
            self._take = self.chunks.append
        if body is None and not request.headers:
            return
        given = check_headers(request.headers)
        headers = _lines(given)
        if body is not None and not isinstance(body, Body):
            # libcurl reads straight from these bytes, and rewinds by itself on a connection that had gone stale
            self.curl.setopt(pycurl.POSTFIELDS, bytes(body))
            if not any(name.lower() == "content-type" for name in given):
                headers.append("Content-Type:")
        self.curl.setopt(pycurl.HTTPHEADER, headers)

    # -- called by libcurl --------------------------------------------------------------------------------------

    def _read(self, count: int) -> bytes | int:
        try:
            if self.limit is not None:
                if self._sent < len(self._block) and self._is_early():
                    return int(pycurl.READFUNC_PAUSE)
                count = min(count, BLOCK)
            block = self._block[self._sent : self._sent + count]
            self._sent += len(block)
            if self.limit is not None and block:
                self._until = self.limit.charge(len(block))
            if block or ((self._source is None or not self._source.left) and self._rewind_to is None):
                return block
            self._hungry = self._paused = True
            return int(pycurl.READFUNC_PAUSE)
        except BaseException as error:  # noqa: BLE001 -- raised once libcurl has returned; it only knows "aborted"
            self.failure = error
            return int(pycurl.READFUNC_ABORT)

    def _write(self, block: bytes) -> int | None:
        try:
            if self.limit is not None:
                if self._is_early():
                    return int(pycurl.WRITEFUNC_PAUSE)
                self._until = self.limit.charge(len(block))
            if self._sink is not None:
                sink, self._sink = self._sink, None
                self._take = sink(self._answer()) or self.chunks.append
            if self._take is not None:
                self._take(block)
        except BaseException as error:  # noqa: BLE001 -- raised once libcurl has returned; it only knows "aborted"
            self.failure = error
            return -1
        return None

    def _is_early(self) -> bool:
        """Whether the limit wants the next bytes to wait; then ``hold`` is told."""
        if self.limit is None or self.hold is None or self.refused:  # which is to fail at once
            return False
        left = self.limit.left(self._until)
        if left and not self.held:
            self.held = True
            self.hold(left)
        return left > 0

    def _rewind(self, offset: int, origin: int) -> int:  # libcurl seeks from the beginning only
        self._rewind_to, self._block, self._sent = offset, b"", 0
        return int(pycurl.SEEKFUNC_OK)

    def _opened(self, descriptor: int, purpose: int) -> int:
        """A new socket, before it connects."""
        try:
            if self.refused:
                return int(pycurl.SOCKOPT_ERROR)
            if self.opened is not None:
                self.opened(descriptor)
            self._sockets[descriptor] = os.fstat(descriptor).st_ino
        except BaseException as error:  # noqa: BLE001 -- as above
            self.failure = error
            return int(pycurl.SOCKOPT_ERROR)
        return int(pycurl.SOCKOPT_OK)

    # -- called by whoever waits for the transfer -----------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether there is something to do for ``exchange``."""
        return self._hungry and self.outcome is None

    def exchange(self) -> None:
        """Read what is to be sent next; readers are called, and may raise."""
        while self.has_news and self._source is not None:
            if self._rewind_to is not None:
                self._source.rewind(self._rewind_to)
                self._rewind_to = None
            self._block, self._sent = self._source.read(_BUFFER), 0
            self._hungry = False
            if self._paused:
                self._paused = False
                self.curl.pause(pycurl.PAUSE_CONT)  # which may bring more

    def go_on(self) -> Outcome | None:
        """Bytes may move again, as far as the limit goes; how the transfer has ended, if that has made it fail."""
        self.held = False
        try:
            self.curl.pause(pycurl.PAUSE_CONT)
        except pycurl.error as error:
            return error.args[0], str(error.args[1]) if len(error.args) > 1 else ""
        return None

    def _answer(self) -> HttpResponse:
        """The answer as far as it is known before its body has ended."""
        lines = self.header_lines  # libcurl cannot be asked while it calls
        status = next((line for line in reversed(lines) if line[:5] == b"HTTP/"), b"HTTP/1.1 0")
        return HttpResponse(int(status.split(None, 2)[1]), b"", lines.copy())

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
        flight = CURRENT.get()
        if flight is not None:
            told = self.curl.getinfo
            flight.served_in(self.url, told(pycurl.STARTTRANSFER_TIME), told(pycurl.TOTAL_TIME))
        chunks = self.chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return HttpResponse(self.curl.getinfo(pycurl.RESPONSE_CODE), body, self.header_lines.copy())

    def unload(self) -> None:
        """Let go of what was sent and of what arrived; the connection stays."""
        self.chunks.clear()
        self.failure = self._sink = self._take = self.outcome = self._rewind_to = None
        self.streams = self.parked = self.held = self._hungry = self._paused = False
        self._block = b""
        source, self._source = self._source, None
        if self._simple is None:
            self.curl.reset()
        if source is not None:
            source.close()

    def close(self) -> None:
        """Close the connection, unless it is the parent's."""
        if self._pid == os.getpid():
            self.curl.close()  # also out of the midst of a transfer
        self._simple = ("", False, False, False, False)  # there is nothing to reset any more
        self.unload()
