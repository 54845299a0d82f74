"""urllib3: the transport for where libcurl cannot be installed. Several times slower, the same behaviour."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from threading import Event, Lock, get_ident
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions as failures

from ..errors import (
    Cancelled,
    CertificateError,
    ConnectionFailed,
    InvalidRequest,
    TransferError,
    TransferTimeout,
    TruncatedBody,
)
from ..limit import BLOCK, RateLimit
from ..models import Body, Timeouts
from ..recording.flights import CURRENT
from ..redact import scrub
from .base import (
    USER_AGENT,
    HttpRequest,
    HttpResponse,
    Take,
    Upload,
    ca_bundle,
    check_headers,
    check_url,
    host_of,
    in_blocks,
    redirected,
    split_user,
)

_REDIRECTS = 5
# In a browser, and in Node, urllib3 has the page's own ``fetch`` carry requests out, which takes whole bodies.
_FETCHES = sys.platform == "emscripten"
_SLOWEST = 64  # bytes a second, as in ``curl``
# The connection each thread is using, so that ``aborting`` can reach it. Thread ids are unique in a process.
_busy: dict[int, urllib3.connection.HTTPConnection] = {}
# The threads that ``aborting`` lets start nothing new.
_given_up: set[int] = set()
# What each thread waits for that a limit has wait.
_alarms: dict[int, Event] = {}
# "?" and the query of the request that each thread is about to make. urllib3 writes every URL that it is given to
# the log, and a query may be a signature; so the query is put on only where the request line is written.
_queries: dict[int, str] = {}


def note(connection: urllib3.connection.HTTPConnection | None) -> None:
    """Let ``aborting`` find the connection, or find that it has been called; either happens before it can wait."""
    thread = get_ident()
    if connection is not None:
        _busy[thread] = connection
    if thread in _given_up:
        raise Cancelled("the batch was given up")


class _Tracked(urllib3.connection.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        note(self)

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        note(self)
        super().putrequest(method, url + _queries.get(get_ident(), ""), *args, **kwargs)

    if _FETCHES:  # nobody writes a request line there

        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
            super().request(method, url + _queries.get(get_ident(), ""), *args, **kwargs)


class _TrackedTls(urllib3.connection.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        note(self)

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        note(self)
        super().putrequest(method, url + _queries.get(get_ident(), ""), *args, **kwargs)

    if _FETCHES:  # nobody writes a request line there

        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
            super().request(method, url + _queries.get(get_ident(), ""), *args, **kwargs)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Tracked


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TrackedTls


POOLS = {"http": _Pool, "https": _TlsPool}
"""Pools whose connections ``aborting`` finds, and whose requests are logged without their query."""


class BodyFailed(Exception):
    """Reading or taking a body has raised ``reason``, which is no failure of the connection."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


class Pace:
    """Keeps one request to a limit; the calling thread waits, until ``aborting`` ends that."""

    def __init__(self, limit: RateLimit | None, begun: int) -> None:
        self.block = BLOCK if limit is not None else 0  # bytes at a time; 0 for as many as are there
        self.waited = 0.0  # seconds
        self._limit = limit
        self._until = 0.0 if limit is None else limit.charge(begun)

    def wait(self) -> None:
        """Wait until bytes may move."""
        left = 0.0 if self._limit is None else self._limit.left(self._until)
        if not left:
            return
        thread, began = get_ident(), monotonic()
        _alarms[thread] = alarm = Event()
        try:
            if thread in _given_up or alarm.wait(left):
                raise Cancelled("the batch was given up")
        finally:
            del _alarms[thread]
            self.waited += monotonic() - began

    def moved(self, size: int) -> None:
        """So many bytes have moved."""
        if self._limit is not None:
            self._until = self._limit.charge(size)


class Source:
    """A ``Body`` as urllib3 takes it: reads in blocks, and keeps the body's failures apart."""

    def __init__(self, body: Body, pace: Pace) -> None:
        self._pace = pace
        try:
            self._upload = Upload(body)
            self.len = body.size  # which requests looks for
        except Exception as error:  # noqa: BLE001 -- raised again as it is, by ``send``
            raise BodyFailed(error) from None

    def __iter__(self) -> Iterator[bytes]:
        try:
            while block := self._upload.read(self._pace.block or 256 * 1024):
                self._pace.wait()
                yield block
                self._pace.moved(len(block))
        except Exception as error:  # noqa: BLE001 -- as above
            raise BodyFailed(error) from None

    def close(self) -> None:
        self._upload.close()


def translate(error: BaseException, url: str) -> TransferError:
    """The exception that a urllib3 failure stands for; ``url`` is named by its host only."""
    where = host_of(url)
    if isinstance(error, failures.MaxRetryError | failures.ProxyError) and isinstance(error.__cause__, BaseException):
        return translate(error.__cause__, url)
    text = f"{scrub(str(error))} ({where})"
    if isinstance(error, failures.SSLError | ssl.SSLError) and "certificate" in str(error).lower():
        return CertificateError(f"the TLS certificate is not trusted: {text}")
    if isinstance(error, failures.NewConnectionError):  # which urllib3 counts among the timeouts
        refused = ConnectionFailed(f"connection failed: {text}")
        refused.connected = False
        return refused
    stalled = isinstance(error, failures.ProtocolError) and any(isinstance(arg, TimeoutError) for arg in error.args)
    if stalled or isinstance(error, failures.TimeoutError | TimeoutError):
        late = TransferTimeout(f"timed out: {text}")
        late.connected = not isinstance(error, failures.ConnectTimeoutError)
        return late
    if isinstance(error, failures.IncompleteRead) or "IncompleteRead" in str(error) or "InvalidChunk" in str(error):
        return TruncatedBody(f"the connection closed before the body was complete: {text}")
    if isinstance(error, failures.LocationValueError):
        return InvalidRequest(f"not a URL that can be fetched: {text}")
    return ConnectionFailed(f"connection failed: {text}")


class Urllib3Transport:
    """Blocking requests through urllib3's connection pools."""

    def __init__(self, timeouts: Timeouts, limit: RateLimit | None = None) -> None:
        self._timeouts = timeouts
        self._limit = limit
        self._aborted = _given_up
        self._lock = Lock()  # guards the managers, and the change of process
        self._pid = os.getpid()
        self._managers: dict[tuple[str, str], urllib3.PoolManager] = {}

    def _manager(self, url: str) -> urllib3.PoolManager:
        """The pools for this URL: direct, or through the proxy that the environment names for it."""
        parts = urlsplit(url)
        proxies = urllib.request.getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
        if proxy and parts.hostname and urllib.request.proxy_bypass(parts.hostname):
            proxy = ""
        authorities = ca_bundle()
        with self._lock:
            if self._pid != os.getpid():
                self._managers, self._pid = {}, os.getpid()
            manager = self._managers.get((proxy, authorities))
            if manager is None:
                options: dict[str, Any] = {"num_pools": 32, "maxsize": 512, "ca_certs": authorities}
                manager = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
                manager.pool_classes_by_scheme = POOLS
                self._managers[proxy, authorities] = manager
            return manager

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send ``request`` and wait for the whole answer, or raise a ``TransferError``."""
        thread = get_ident()
        if self._limit is not None:
            request = in_blocks(request)
        outer = _busy.get(thread), _queries.get(thread)  # of a request whose reader or sink has made this one
        url, headers, redirects = check_url(request.url), check_headers(request.headers), _REDIRECTS
        try:
            while True:
                if thread in self._aborted:
                    raise Cancelled("the batch was given up")
                response = self._once(request, url, headers)
                location = response.headers.get("location")
                if not (request.follow and location and response.status in (301, 302, 303, 307, 308)):
                    return response
                if not redirects:
                    raise InvalidRequest(f"more than {_REDIRECTS} redirects ({host_of(request.url)})")
                redirects -= 1
                url, headers = redirected(url, location, headers)
        except BodyFailed as failed:
            raise failed.reason from None
        except (failures.HTTPError, OSError) as error:
            if thread in self._aborted:
                raise Cancelled("the batch was given up") from None
            if isinstance(error, TransferError):
                raise
            raise self._translate(error, request.url) from None
        finally:
            for held, before in zip((_busy, _queries), outer, strict=True):
                held.pop(thread, None)  # type: ignore[attr-defined]
                if before is not None:
                    held[thread] = before  # type: ignore[index]

    def _translate(self, error: BaseException, url: str) -> TransferError:
        return translate(error, url)

    def _once(self, request: HttpRequest, url: str, headers: dict[str, str]) -> HttpResponse:
        url, user = split_user(url)
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", **headers}
        if user is not None and "authorization" not in map(str.lower, headers):
            headers["Authorization"] = user
        url, question, query = url.partition("?")
        _queries[get_ident()] = question + query
        body: Any = request.body
        source: Source | None = None
        pace = self._pace(request)
        if isinstance(body, Body):
            headers["Content-Length"] = str(body.size)
            body = source = Source(body, pace)
            if _FETCHES:
                body = b"".join(source)
        elif body is not None:
            body = bytes(body)
        try:
            answer = self._manager(url).urlopen(
                request.method,
                url,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=_FETCHES,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self._timeouts.connect, read=request.idle or self._timeouts.idle),
            )
        finally:
            if source is not None:
                source.close()
        flight = CURRENT.get()
        if flight is not None:
            flight.answered(url)
        try:
            content = self._read(answer, request.sink, pace)
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return HttpResponse(answer.status, content, [], _headers_of(answer))

    def _pace(self, request: HttpRequest) -> Pace:
        body = request.body
        return Pace(self._limit, len(body) if isinstance(body, bytes | memoryview) else 0)

    def _read(
        self, answer: urllib3.BaseHTTPResponse, sink: Callable[[HttpResponse], Take | None] | None, pace: Pace
    ) -> bytes:
        """The whole body, or what no sink takes of it; a peer that trickles for all of the idle timeout is silent."""
        chunks: list[bytes] = []
        take: Take | None = None
        window, got, waited = monotonic(), 0, pace.waited
        pace.wait()
        fetched = iter((answer.data,)) if _FETCHES else None
        while chunk := answer.read1(pace.block or 1024 * 1024) if fetched is None else next(fetched, b""):
            pace.moved(len(chunk))
            if take is None:
                headers = _headers_of(answer)
                try:
                    take = (sink and sink(HttpResponse(answer.status, b"", [], headers))) or chunks.append
                except Exception as error:  # noqa: BLE001 -- raised again as it is, by ``send``
                    raise BodyFailed(error) from None
            try:
                take(chunk)
            except Exception as error:  # noqa: BLE001 -- as above
                raise BodyFailed(error) from None
            got += len(chunk)
            elapsed = monotonic() - window - (pace.waited - waited)
            if elapsed > self._timeouts.idle:
                if got < _SLOWEST * elapsed:
                    raise TimeoutError(f"less than {_SLOWEST} bytes a second for {elapsed:.0f} s")
                window, got, waited = monotonic(), 0, pace.waited
            pace.wait()
        return b"".join(chunks)

    @contextmanager
    def aborting(self, threads: Collection[int]) -> Iterator[None]:
        """Break off whatever these threads have under way; while this lasts they start nothing new."""
        self._aborted.update(threads)
        try:
            for thread in threads:
                alarm = _alarms.get(thread)
                if alarm is not None:
                    alarm.set()
                connection = _busy.get(thread)
                sock = getattr(connection, "sock", None)
                if sock is not None:
                    try:
                        sock.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue  # closed meanwhile
            yield
        finally:
            self._aborted.difference_update(threads)

    def forget(self, thread: int) -> None:
        """The number of a thread that ends means nothing any more."""
        self._aborted.discard(thread)

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            if self._pid == os.getpid():
                for manager in self._managers.values():
                    close_pools(manager)


def _headers_of(answer: urllib3.BaseHTTPResponse) -> dict[str, str]:
    """Names in lower case; of a repeated header the last value, but all encodings."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if "content-encoding" in headers:
        headers["content-encoding"] = answer.headers["content-encoding"]
    return headers


def close_pools(manager: urllib3.PoolManager) -> None:
    """Close the idle connections of all pools."""
    for key in manager.pools.keys():  # noqa: SIM118 -- it cannot be iterated over
        pool = manager.pools.get(key)
        if pool is not None:
            pool.close()  # `clear` leaves that to the garbage collector
    manager.clear()
