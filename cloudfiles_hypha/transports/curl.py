"""libcurl, one easy handle per thread at a time: the default transport.

``CurlHandle`` turns a request into options and an outcome into a response or an error; ``green`` uses it too.
A handle keeps its connection alive between requests, and handles are lent out last-in first-out, so as many
connections exist as there were workers at once. Measured against the alternatives: see ``docs/benchmarks.md``.
"""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any

import pycurl

from ..errors import (
    Cancelled,
    CertificateError,
    ConnectionFailed,
    InvalidRequest,
    TransferError,
    TransferTimeout,
    TruncatedBody,
)
from ..models import Body, Timeouts
from .base import USER_AGENT, HttpRequest, HttpResponse, ca_bundle, host_of, without_secrets

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


def translate(code: int, message: str, url: str) -> TransferError:
    """The exception that a libcurl error code stands for; ``url`` is named by its host only."""
    text = f"{without_secrets(message)} ({host_of(url)})"
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return TransferTimeout(f"timed out: {text}")
    if code == pycurl.E_PARTIAL_FILE:
        return TruncatedBody(f"the connection closed before the body was complete: {text}")
    if code in _CERTIFICATE:
        return CertificateError(f"the TLS certificate is not trusted: {text}")
    if code in _MALFORMED:
        return InvalidRequest(f"not a URL that can be fetched: {text}")
    return ConnectionFailed(f"connection failed: {text}")


class CurlHandle:
    """One easy handle with what belongs to the request it carries. Used by one worker at a time."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.curl = pycurl.Curl()
        self.chunks: list[bytes] = []
        self.header_lines: list[bytes] = []
        self.url = ""
        self.refused = False
        self._timeouts = timeouts
        self._plain = False  # set up for a plain GET, so that only the URL needs to change
        self._source: io.IOBase | Any = None
        self._sockets: dict[int, int] = {}  # descriptor -> inode, of every socket this handle opened

    def load(self, request: HttpRequest) -> None:
        """Set the handle up for ``request``; whatever was set for the one before is gone."""
        curl = self.curl
        self.chunks.clear()
        self.header_lines.clear()
        self.url = request.url
        plain = request.method == "GET" and not request.headers and request.follow
        if not (plain and self._plain):
            self._reset()
            self._plain = plain
            if request.follow:
                curl.setopt(pycurl.FOLLOWLOCATION, 1)
                curl.setopt(pycurl.MAXREDIRS, _REDIRECTS)
            if not plain:
                self._describe(request)
        try:
            curl.setopt(pycurl.URL, request.url)
        except UnicodeEncodeError:
            raise InvalidRequest("a URL must be percent-encoded ASCII") from None

    def _reset(self) -> None:
        curl = self.curl
        curl.reset()  # keeps the live connections
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(self._timeouts.connect * 1000))
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

    def _describe(self, request: HttpRequest) -> None:
        curl, body = self.curl, request.body
        # An empty Expect keeps libcurl from waiting for "100 Continue" before each larger body.
        headers = ["Expect:", *(f"{name}: {value}" if value else f"{name};" for name, value in request.headers)]
        if request.idle is not None:
            curl.setopt(pycurl.LOW_SPEED_TIME, max(1, round(request.idle)))
        named = {name.lower() for name, _ in request.headers}
        if request.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif body is None:
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        elif isinstance(body, Body):
            self._source = body.open()
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
            curl.setopt(pycurl.INFILESIZE_LARGE, body.size)
            curl.setopt(pycurl.READFUNCTION, self._source.read)
            curl.setopt(pycurl.SEEKFUNCTION, self._rewind)
        else:
            # libcurl reads straight from these bytes, and rewinds by itself on a connection that had gone stale
            curl.setopt(pycurl.POSTFIELDS, bytes(body))
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
            if "content-type" not in named:
                headers.append("Content-Type:")
        curl.setopt(pycurl.HTTPHEADER, headers)

    def _rewind(self, offset: int, origin: int) -> int:
        self._source.seek(offset, origin)
        return int(pycurl.SEEKFUNC_OK)

    def _opened(self, descriptor: int, purpose: int) -> int:
        """Called by libcurl for each new socket, before it connects."""
        if self.refused:
            return int(pycurl.SOCKOPT_ERROR)
        self._sockets[descriptor] = os.fstat(descriptor).st_ino
        return int(pycurl.SOCKOPT_OK)

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
        """Let go of the request's body; the connection stays."""
        if self._source is not None:
            self._source.close()
            self._source = None
        if not self._plain:
            self.curl.unsetopt(pycurl.HTTPHEADER)

    def close(self) -> None:
        self.unload()
        self.curl.close()


# Handles of a parent process. Closing them in a child would shut the parent's TLS sessions down.
_inherited: list[CurlHandle] = []


class HandlePool:
    """Idle handles, most recently used last. Knows when it woke up in a forked child and starts anew."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._idle: list[CurlHandle] = []
        self._pid = os.getpid()
        self._lock = Lock()  # guards the change of process

    def take(self) -> CurlHandle:
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    _inherited.extend(self._idle)
                    self._idle = []
                    self._pid = os.getpid()
        try:
            return self._idle.pop()  # one bytecode: needs no lock
        except IndexError:
            return CurlHandle(self.timeouts)

    def give_back(self, handle: CurlHandle) -> None:
        handle.unload()
        if handle.refused:
            handle.close()
        else:
            self._idle.append(handle)

    def close(self) -> None:
        while self._idle:
            self.take().close()


class CurlTransport:
    """Blocking requests through libcurl, each thread on a handle of its own while it needs one."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._pool = HandlePool(timeouts)
        self._busy: dict[int, CurlHandle] = {}
        self._aborted: set[int] = set()

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send ``request`` and wait for the whole answer, or raise a ``TransferError``."""
        thread = get_ident()
        handle = self._pool.take()
        self._busy[thread] = handle
        try:
            if self._aborted and thread in self._aborted:
                raise Cancelled("the batch was given up")
            handle.load(request)
            handle.curl.perform()
            return handle.response()
        except pycurl.error as error:
            if self._aborted and thread in self._aborted:
                raise Cancelled("the batch was given up") from None
            code, message = error.args[0], str(error.args[1]) if len(error.args) > 1 else ""
            raise translate(code, message, request.url) from None
        finally:
            del self._busy[thread]
            self._pool.give_back(handle)

    @contextmanager
    def aborting(self, threads: Collection[int]) -> Iterator[None]:
        """Break off whatever these threads have under way; while this lasts they start nothing new."""
        self._aborted.update(threads)
        try:
            for thread in threads:
                handle = self._busy.get(thread)
                if handle is not None:
                    handle.break_off()
            yield
        finally:
            self._aborted.difference_update(threads)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()
