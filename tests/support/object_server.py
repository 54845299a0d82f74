"""An HTTP/1.1 object store in threads of this process, which fails exactly as it is told to.

It speaks through plain sockets, so that a fault can be made at any byte. Objects and records live in memory.
It keeps to what an S3 answers to a presigned URL where nothing else is scripted; it checks no signatures, lists no
buckets and takes no chunked uploads. ``fake_hypha`` builds on the same machinery.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import re
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

if TYPE_CHECKING:
    from typing_extensions import Self

PIECE = 256 * 1024  # bodies go out in pieces of this size, so that bytes_sent is right when a client hangs up
STORED_HEADERS = ("content-type", "cache-control", "content-encoding", "content-disposition")
REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    302: "Found",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def md5_hex(body: bytes) -> str:
    """The MD5 of ``body``, as S3 writes it into an ETag."""
    return hashlib.md5(body).hexdigest()


# --- Values ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: ``etag`` is without quotes, ``headers`` are given back on GET."""

    body: bytes
    etag: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server understood it; ``path`` is decoded once and has no leading slash."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    def with_header(self, name: str, value: str | None) -> Request:
        """A copy with one header replaced, or left out."""
        headers = {key: old for key, old in self.headers.items() if key != name}
        if value is not None:
            headers[name] = value
        return replace(self, headers=headers)


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a request once its body has been read, or has stopped coming."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    range: str | None
    body_length: int  # bytes received
    body_md5: str  # hexadecimal, of the bytes received; "" for no body
    complete: bool  # False: fewer bytes than Content-Length arrived, or were read
    connection: int  # 1, 2, ... in the order in which connections were accepted
    time: float  # time.monotonic() when it was recorded


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; Content-Length is added when it is sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = field(default=b"", repr=False)

    def with_header(self, name: str, value: str | None) -> Response:
        """A copy with one header replaced, or left out; the case of ``name`` does not matter."""
        headers = {key: old for key, old in self.headers.items() if key.lower() != name.lower()}
        if value is not None:
            headers[name] = value
        return replace(self, headers=headers)


def s3_error(status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """An error as S3 words it."""
    error = f"<Error><Code>{code}</Code><Message>{message or code}</Message></Error>"
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'
    return Response(status, {"Content-Type": "application/xml", **(headers or {})}, xml.encode())


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Half-open offsets of a ``Range`` header; None when it is to be ignored; ValueError when it cannot be met."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None  # RFC 9110: an invalid range is as good as none
    else:
        start, stop = max(0, size - int(last)), size
    if start >= stop:
        raise ValueError(header)
    return start, stop


# --- Faults ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """How to treat one request. This one treats it well; each fault overrides the step that it spoils."""

    def serve(self, exchange: Exchange) -> None:
        """Read the request and answer it."""
        exchange.read_body()
        self.answer(exchange)

    def answer(self, exchange: Exchange) -> None:
        """Answer a request whose body has been read."""
        exchange.send(self.alter(exchange, exchange.respond()))

    def alter(self, exchange: Exchange, response: Response) -> Response:
        """Change the right answer into the one to be sent."""
        return response


@dataclass(frozen=True)
class Always(Fault):
    """``fault`` for this and every later request that comes to it in the queue."""

    fault: Fault


@dataclass(frozen=True)
class Status(Fault):
    """Answer ``code`` and do nothing, ``times`` times. ``early``: without reading the body, then close."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    times: int = 1
    early: bool = False

    def serve(self, exchange: Exchange) -> None:
        exchange.read_body(limit=0 if self.early else None)
        exchange.send(Response(self.code, self.headers, self.body))
        if self.early:
            exchange.close(polite=True)


@dataclass(frozen=True)
class Drop(Fault):
    """Promise the whole body, send ``after_bytes`` of it, close; with ``rst``, reset the connection instead."""

    after_bytes: int = 0
    rst: bool = False

    def answer(self, exchange: Exchange) -> None:
        response = exchange.respond()
        exchange.send_head(response)
        exchange.send_body(response.body[: self.after_bytes])
        exchange.close(rst=self.rst)


@dataclass(frozen=True)
class NoAnswer(Fault):
    """Do nothing, answer not a byte and close, as when a kept-alive connection had gone stale."""

    rst: bool = False

    def answer(self, exchange: Exchange) -> None:
        exchange.close(rst=self.rst)


@dataclass(frozen=True)
class DropRequest(Fault):
    """Reset the connection after reading ``after_bytes`` of the request's body; nothing is stored."""

    after_bytes: int = 0

    def serve(self, exchange: Exchange) -> None:
        exchange.read_body(limit=self.after_bytes)
        exchange.close(rst=True)


@dataclass(frozen=True)
class DropAfterStore(Fault):
    """Do the work, then close without an answer."""

    rst: bool = False

    def answer(self, exchange: Exchange) -> None:
        exchange.respond()
        exchange.close(rst=self.rst)


@dataclass(frozen=True)
class Hang(Fault):
    """Do nothing and never answer, or close after ``seconds``; ends when the client or the server goes."""

    seconds: float | None = None

    def answer(self, exchange: Exchange) -> None:
        exchange.wait_for_hangup(self.seconds)
        exchange.close()


@dataclass(frozen=True)
class Delay(Fault):
    """Answer rightly, ``seconds`` late. The work is done at the end."""

    seconds: float

    def answer(self, exchange: Exchange) -> None:
        exchange.sleep(self.seconds)
        exchange.send(exchange.respond())


@dataclass(frozen=True)
class Trickle(Fault):
    """Send the headers at once and the body at ``bytes_per_second``."""

    bytes_per_second: float

    def answer(self, exchange: Exchange) -> None:
        response = exchange.respond()
        exchange.send_head(response)
        size = max(1, int(self.bytes_per_second / 20))
        for start in range(0, len(response.body), size):
            exchange.sleep(size / self.bytes_per_second)
            exchange.send_body(response.body[start : start + size])


@dataclass(frozen=True)
class IgnoreRange(Fault):
    """Answer 200 with the whole object although a range was asked for."""

    def answer(self, exchange: Exchange) -> None:
        exchange.send(exchange.respond(exchange.request.with_header("range", None)))


@dataclass(frozen=True)
class SliceAs200(Fault):
    """Send the bytes asked for, but as 200 and without Content-Range."""

    def alter(self, exchange: Exchange, response: Response) -> Response:
        return replace(response, status=200).with_header("Content-Range", None) if response.status == 206 else response


def _shifted(exchange: Exchange, shift: int) -> Response:
    """The answer to the request's range moved by ``shift``, clamped to the object."""
    start, stop = parse_range(exchange.request.headers.get("range"), 1 << 62) or (0, 1 << 62)
    moved = f"bytes={max(0, start + shift)}-{max(0, stop - 1 + shift)}"
    return exchange.respond(exchange.request.with_header("range", moved))


@dataclass(frozen=True)
class WrongOffsets(Fault):
    """206 with the bytes ``shift`` further on, and a Content-Range that says so."""

    shift: int

    def answer(self, exchange: Exchange) -> None:
        exchange.send(_shifted(exchange, self.shift))


@dataclass(frozen=True)
class LyingOffsets(Fault):
    """206 with the right bytes, and a Content-Range that says they are ``shift`` further on."""

    shift: int

    def alter(self, exchange: Exchange, response: Response) -> Response:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
        if match is None:
            return response
        first, last, size = (int(number) for number in match.groups())
        return response.with_header("Content-Range", f"bytes {first + self.shift}-{last + self.shift}/{size}")


@dataclass(frozen=True)
class LyingBytes(Fault):
    """206 with the bytes ``shift`` further on, and a Content-Range that says they are those asked for."""

    shift: int

    def alter(self, exchange: Exchange, response: Response) -> Response:
        body = _shifted(exchange, self.shift).body
        return replace(response, body=body) if len(body) == len(response.body) else response


@dataclass(frozen=True)
class NoContentRange(Fault):
    """206 with the bytes asked for, but without Content-Range."""

    def alter(self, exchange: Exchange, response: Response) -> Response:
        return response.with_header("Content-Range", None)


@dataclass(frozen=True)
class ShortBody(Fault):
    """Leave ``by`` bytes off the end of the body and out of Content-Length: valid HTTP, but not the object."""

    by: int

    def alter(self, exchange: Exchange, response: Response) -> Response:
        return replace(response, body=response.body[: max(0, len(response.body) - self.by)])


@dataclass(frozen=True)
class Corrupt(Fault):
    """Flip the bits of the body's byte at ``offset``; length and ETag stay right."""

    offset: int = 0

    def alter(self, exchange: Exchange, response: Response) -> Response:
        body = bytearray(response.body)
        if body:
            body[self.offset % len(body)] ^= 0xFF
        return replace(response, body=bytes(body))


@dataclass(frozen=True)
class Redirect(Fault):
    """Send the client to ``location``."""

    location: str
    code: int = 302

    def answer(self, exchange: Exchange) -> None:
        exchange.send(Response(self.code, {"Location": self.location}))


@dataclass(frozen=True)
class Gzip(Fault):
    """Send the body compressed, with Content-Encoding, whether or not the client asked for it."""

    def alter(self, exchange: Exchange, response: Response) -> Response:
        return replace(response, body=gzip.compress(response.body)).with_header("Content-Encoding", "gzip")


@dataclass(frozen=True)
class CloseAfter(Fault):
    """Answer rightly, then close a connection that the client may expect to stay open."""

    def answer(self, exchange: Exchange) -> None:
        exchange.send(exchange.respond())
        exchange.close(polite=True)


@dataclass(frozen=True)
class Chunked(Fault):
    """Send the body chunked, without Content-Length; with ``cut``, only so many bytes, no last chunk, and close."""

    cut: int | None = None
    chunk_size: int = 1000

    def answer(self, exchange: Exchange) -> None:
        response = exchange.respond()
        exchange.send_head(response, chunked=True)
        body = response.body[: self.cut]  # a cut of None takes all
        for start in range(0, len(body), self.chunk_size):
            exchange.send_chunk(body[start : start + self.chunk_size])
        if self.cut is None:
            exchange.send_raw(b"0\r\n\r\n")
        else:
            exchange.close()


@dataclass(frozen=True)
class Unmeasured(Fault):
    """As in HTTP/1.0: ignore ranges, and let the body end with the connection; with ``cut``, too early."""

    cut: int | None = None

    def answer(self, exchange: Exchange) -> None:
        response = exchange.respond(exchange.request.with_header("range", None))
        exchange.sleep(exchange.server.cost(exchange.request))
        exchange.send_raw(f"HTTP/1.0 {response.status} Fine\r\n".encode())
        for name, value in response.headers.items():
            if name.lower() != "content-length":
                exchange.send_raw(f"{name}: {value}\r\n".encode())
        exchange.send_raw(b"\r\n")
        exchange.send_body(response.body[: self.cut])
        exchange.close(polite=True)


ANSWER = Fault()


# --- Connections ----------------------------------------------------------------------------------------------------


class Connection:
    """One accepted socket and the thread that serves it."""

    def __init__(self, server: HttpServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self.closing = threading.Event()  # set by interrupt(): answer nothing more
        self.reset_at_end = False
        self.polite = True  # over TLS: say goodbye with a close_notify
        self.thread = threading.Thread(target=self._run, name=f"fake-server-{number}", daemon=True)
        self._buffer = bytearray()

    def interrupt(self, *, reset: bool, hard: bool = True) -> None:
        """Make the thread end soon, from another thread. Without ``hard`` a blocked send is left alone."""
        if reset:
            self.reset_at_end = True
        self.closing.set()
        with contextlib.suppress(OSError):  # it may have been closed by its own thread
            # Past SSLSocket's own shutdown(), which would take the TLS state from under the thread using it.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR if hard else socket.SHUT_RD)

    def read_head(self) -> bytes | None:
        """The next request up to its blank line; None when the client has finished."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            data = self.sock.recv(65536)
            if not data:
                return None
            self._buffer += data
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    def read_exactly(self, length: int) -> bytes:
        """The next ``length`` bytes; fewer only when the client has gone."""
        body = bytearray(length)
        have = min(length, len(self._buffer))
        body[:have] = self._buffer[:have]
        del self._buffer[:have]
        view = memoryview(body)
        with contextlib.suppress(OSError):
            while have < length and (count := self.sock.recv_into(view[have:])):
                have += count
        view.release()
        del body[have:]
        return bytes(body)

    def _run(self) -> None:
        try:
            self._serve()
        except (OSError, ssl.SSLError):
            pass  # the client went away, which is its right
        finally:
            self._close()
            self.server.forget(self)

    def _serve(self) -> None:
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.tls is not None:
            self.sock = self.server.tls.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
            if self.closing.is_set():
                return  # interrupt() may have seen the socket that this one replaces
            self.sock.do_handshake()
        while not self.closing.is_set():
            head = self.read_head()
            if head is None or self.closing.is_set():
                return
            exchange = Exchange(self, head)
            self.server.take_fault(exchange.request).serve(exchange)
            if exchange.closed:
                return

    def _close(self) -> None:
        """Close politely, or with a reset when one was asked for."""
        with contextlib.suppress(OSError, ValueError):
            if self.reset_at_end:
                # What was sent is on its way on loopback, but a reset throws away what the kernel still holds.
                time.sleep(0.005)
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif not self.closing.is_set():
                self._say_goodbye()
        self.sock.close()

    def _say_goodbye(self) -> None:
        """Send the end of the stream and take in what is still coming: closing on unread bytes would reset."""
        if self.polite and isinstance(self.sock, ssl.SSLSocket):
            self.sock.settimeout(0)
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()  # sends close_notify; we do not wait for the client's
        socket.socket.shutdown(self.sock, socket.SHUT_WR)
        deadline = time.monotonic() + 2
        self.sock.settimeout(0.5)
        while time.monotonic() < deadline and not self.closing.is_set():
            if not socket.socket.recv(self.sock, 65536):
                break


class Exchange:
    """One request on one connection, and the means to answer it well or badly."""

    def __init__(self, connection: Connection, head: bytes) -> None:
        self.server = connection.server
        self.connection = connection
        first, *lines = head.decode("latin-1").split("\r\n")
        if first.count(" ") != 2:
            raise ConnectionError("this is not HTTP/1.1")
        method, target, version = first.split(" ")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        path, _, query = target.partition("?")
        decoded = unquote_to_bytes(path.encode("latin-1")).decode("utf-8", "surrogateescape")
        self.request = Request(method, decoded.removeprefix("/"), query, headers)
        self.closed = version != "HTTP/1.1" or headers.get("connection", "").lower() == "close"

    def read_body(self, limit: int | None = None) -> None:
        """Read the body, or ``limit`` bytes of it, into ``request``, and record the request."""
        headers = self.request.headers
        length = int(headers.get("content-length", 0))
        wanted = length if limit is None else min(length, limit)
        if wanted and headers.get("expect", "").lower() == "100-continue":
            self.send_raw(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.connection.read_exactly(wanted) if wanted else b""
        self.request = replace(self.request, body=body)
        self.server.record(self, complete=len(body) == length)
        if len(body) < wanted:
            raise ConnectionError("the client stopped sending")
        if "transfer-encoding" in headers:
            self.closed = True  # we did not read it, so what follows is no request

    def respond(self, request: Request | None = None) -> Response:
        """Carry out the request, or another one in its place, and return the right answer without sending it."""
        return self.server.respond(self.request if request is None else request)

    def send(self, response: Response) -> None:
        """Send the whole of an answer."""
        if len(response.body) <= PIECE:  # in one go: two sends would cost the client two wake-ups
            body = b"" if self.request.method == "HEAD" else bytes(response.body)
            self.sleep(self.server.cost(self.request))
            self.server.count_sent(len(body))
            self.send_raw(self._head(response) + body)
        else:
            self.send_head(response)
            self.send_body(response.body)

    def send_head(self, response: Response, *, chunked: bool = False) -> None:
        """Send the status and the headers, after the time that the server is said to need."""
        self.sleep(self.server.cost(self.request))
        self.send_raw(self._head(response, chunked=chunked))

    def send_body(self, body: bytes | memoryview) -> None:
        """Send these bytes of the body; a HEAD gets none."""
        if self.request.method == "HEAD":
            return
        view = memoryview(body)
        for start in range(0, len(view), PIECE):
            piece = view[start : start + PIECE]
            self.server.count_sent(len(piece))
            self.send_raw(piece)

    def send_chunk(self, data: bytes | memoryview) -> None:
        """Send one chunk of a chunked body."""
        if self.request.method != "HEAD":
            self.server.count_sent(len(data))
            self.send_raw(b"%x\r\n%b\r\n" % (len(data), bytes(data)))

    def send_raw(self, data: bytes | memoryview) -> None:
        """Send bytes as they are."""
        self.connection.sock.sendall(data)

    def close(self, *, rst: bool = False, polite: bool = False) -> None:
        """Close the connection once the fault has returned; ``polite`` matters to TLS only."""
        self.closed = True
        self.connection.reset_at_end = rst
        self.connection.polite = polite

    def sleep(self, seconds: float) -> None:
        """Wait; ConnectionError when the server stops meanwhile."""
        if seconds > 0 and self.connection.closing.wait(seconds):
            raise ConnectionError("the server is stopping")

    def wait_for_hangup(self, seconds: float | None) -> None:
        """Wait until the client hangs up, the server stops, or ``seconds`` have passed."""
        deadline = None if seconds is None else time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection.sock, selectors.EVENT_READ)
            if not selector.select(seconds):
                return
        if socket.socket.recv(self.connection.sock, 1, socket.MSG_PEEK):  # a TLS goodbye, or a further request
            self.connection.closing.wait(None if deadline is None else max(0, deadline - time.monotonic()))

    def _head(self, response: Response, *, chunked: bool = False) -> bytes:
        lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Scripted')}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        elif response.status != 204 and "Content-Length" not in response.headers:
            lines.append(f"Content-Length: {len(response.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# --- Servers --------------------------------------------------------------------------------------------------------


class HttpServer:
    """Accepts connections, hands out faults and keeps records; subclasses say what the right answer is."""

    def __init__(self, *, latency: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.latency = latency
        self.tls = tls
        self.connections = 0
        self.open_connections = 0
        self.peak_connections = 0
        self.bytes_sent = 0
        self.port = 0
        self._changed = threading.Condition()  # guards the counters above and the collections below
        self._live: set[Connection] = set()
        self._records: list[Record] = []
        self._path_faults: dict[str, list[tuple[Fault, str | None]]] = {}
        self._any_faults: list[tuple[Fault, str | None]] = []
        self._every: list[tuple[int, Fault, str | None, list[int]]] = []
        self._wake: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    # -- what subclasses decide

    def respond(self, request: Request) -> Response:
        """Carry out ``request`` and return the right answer."""
        raise NotImplementedError

    def cost(self, request: Request) -> float:
        """Seconds to wait before the answer to ``request`` begins."""
        return self.latency

    # -- life

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash; the name in it is one that certificates are made for."""
        return f"http://127.0.0.1:{self.port}" if self.tls is None else f"https://localhost:{self.port}"

    def url_for(self, path: str) -> str:
        """The URL of an object."""
        return f"{self.url}/{quote(path.removeprefix('/'), errors='surrogateescape')}"

    def start(self) -> None:
        """Listen on a free port; after a stop, on the same one as before."""
        self._listen()

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        wake, self._wake = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept, args=(listener, wake), name="fake-server-accept", daemon=True
        )
        self._acceptor.start()

    def stop(self) -> None:
        """Close everything, wake what hangs and wait for every thread. Harmless when it has stopped."""
        self._stop_listening()
        self._end_connections(reset=False)

    def pause(self) -> None:
        """Refuse connections and reset those there are, as a server that has crashed."""
        self._stop_listening()
        self._end_connections(reset=True)

    def resume(self) -> None:
        """Come back on the same port."""
        self._listen()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- faults

    def fault(self, path: str, *faults: Fault, method: str | None = None) -> None:
        """Queue ``faults`` for ``path``: each is used up by one request (with this ``method``, if one is given)."""
        with self._changed:
            queue = self._path_faults.setdefault(path.removeprefix("/"), [])
            queue.extend((fault, method) for fault in _expand(faults))

    def fault_all(self, *faults: Fault, method: str | None = None) -> None:
        """Queue ``faults`` for requests to any path that has none of its own waiting."""
        with self._changed:
            self._any_faults.extend((fault, method) for fault in _expand(faults))

    def every(self, n: int, fault: Fault, *, method: str | None = None) -> None:
        """Treat every ``n``-th request (with this ``method``) so, unless a queued fault is due to it."""
        with self._changed:
            self._every.append((n, fault, method, [0]))

    def clear_faults(self) -> None:
        """From now on, answer rightly."""
        with self._changed:
            self._path_faults.clear()
            self._any_faults.clear()
            self._every.clear()

    def take_fault(self, request: Request) -> Fault:
        """The fault that is due to ``request``, taken from its queue; ``ANSWER`` if there is none."""
        with self._changed:
            due = None
            for n, fault, method, counter in self._every:
                if method in (None, request.method):
                    counter[0] += 1
                    if counter[0] % n == 0:
                        due = fault
            queued = _take(self._path_faults.get(request.path), request) or _take(self._any_faults, request)
            return queued or due or ANSWER

    # -- records

    @property
    def requests(self) -> list[Record]:
        """What was received so far, in order of arrival."""
        with self._changed:
            return list(self._records)

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """How many requests had this method and this path."""
        wanted = None if path is None else path.removeprefix("/")
        return sum(method in (None, seen.method) and wanted in (None, seen.path) for seen in self.requests)

    def ranges_seen(self, path: str) -> list[str | None]:
        """The Range headers of the GETs of ``path``, in order; None for one that had none."""
        wanted = path.removeprefix("/")
        return [seen.range for seen in self.requests if seen.method == "GET" and seen.path == wanted]

    def wait_for_requests(self, count: int, timeout: float = 30.0) -> None:
        """Return once ``count`` requests have been received in all; TimeoutError after ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._records) >= count, timeout):
                raise TimeoutError(f"{len(self._records)} of {count} requests after {timeout} s")

    def wait_for_connections(self, open_at_most: int, timeout: float = 30.0) -> None:
        """Return once no more than ``open_at_most`` connections are open; TimeoutError after ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.open_connections <= open_at_most, timeout):
                raise TimeoutError(f"{self.open_connections} connections are still open after {timeout} s")

    def settled(self, sleep: Callable[[float], object] = time.sleep) -> int:
        """How many requests there were, once no more come; what is sent may be heard of after its client has ended."""
        before = -1
        while before != (seen := len(self.requests)):
            before = seen
            sleep(0.1)
        return seen

    def forget_requests(self) -> None:
        """Empty the records and set the counters back, for a second act in one test."""
        with self._changed:
            self._records.clear()
            self.connections = self.bytes_sent = 0
            self.peak_connections = self.open_connections

    # -- for connections and exchanges

    def record(self, exchange: Exchange, *, complete: bool) -> None:
        """Remember a request."""
        request, body = exchange.request, exchange.request.body
        seen = Record(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            range=request.headers.get("range"),
            body_length=len(body),
            body_md5=md5_hex(body) if body else "",
            complete=complete,
            connection=exchange.connection.number,
            time=time.monotonic(),
        )
        with self._changed:
            self._records.append(seen)
            self._changed.notify_all()

    def count_sent(self, length: int) -> None:
        """Count bytes of bodies, before they go out, so that the count is right once the client has them."""
        with self._changed:
            self.bytes_sent += length

    def forget(self, connection: Connection) -> None:
        """Strike off a connection that has ended."""
        with self._changed:
            self._live.discard(connection)
            self.open_connections -= 1
            self._changed.notify_all()

    # -- inner workings

    def _accept(self, listener: socket.socket, wake: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, listener, wake:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            while not any(key.fileobj is wake for key, _ in selector.select()):
                try:
                    sock, _ = listener.accept()
                except OSError:
                    continue  # the client has gone already
                sock.setblocking(True)
                self._welcome(sock)

    def _welcome(self, sock: socket.socket) -> None:
        with self._changed:
            self.connections += 1
            self.open_connections += 1
            self.peak_connections = max(self.peak_connections, self.open_connections)
            connection = Connection(self, sock, self.connections)
            self._live.add(connection)
        connection.thread.start()

    def _stop_listening(self) -> None:
        if self._wake is not None and self._acceptor is not None:
            self._wake.close()  # the other end becomes readable
            self._acceptor.join()
            self._wake = self._acceptor = None

    def _end_connections(self, *, reset: bool) -> None:
        with self._changed:
            live = list(self._live)
        if reset:
            # Ending only the reading half says nothing to the client, so that the reset is the first it hears.
            for connection in live:
                connection.interrupt(reset=True, hard=False)
            deadline = time.monotonic() + 0.2
            for connection in live:
                connection.thread.join(max(0, deadline - time.monotonic()))
        for connection in live:
            connection.interrupt(reset=reset)
        deadline = time.monotonic() + 5
        for connection in live:
            connection.thread.join(max(0, deadline - time.monotonic()))
        if any(connection.thread.is_alive() for connection in live):
            raise RuntimeError("a connection of the fake server did not end")


def _expand(faults: tuple[Fault, ...]) -> list[Fault]:
    """Write out what is to happen several times."""
    return [fault for fault in faults for _ in range(getattr(fault, "times", 1))]


def _take(queue: list[tuple[Fault, str | None]] | None, request: Request) -> Fault | None:
    """The first fault in ``queue`` that suits the request; it stays there only if it is permanent."""
    for index, (fault, method) in enumerate(queue or ()):
        if method in (None, request.method):
            if isinstance(fault, Always):
                return fault.fault
            assert queue is not None
            del queue[index]
            return fault
    return None


class ObjectServer(HttpServer):
    """GET, HEAD, PUT and DELETE of objects in memory, in the manner of S3."""

    def __init__(
        self, *, latency: float = 0.0, tls: ssl.SSLContext | None = None, reject_authorization: bool = False
    ) -> None:
        super().__init__(latency=latency, tls=tls)
        self.objects: dict[str, StoredObject] = {}
        self.reject_authorization = reject_authorization

    def put(
        self,
        path: str,
        body: bytes,
        *,
        etag: str | None = None,
        headers: Mapping[str, str] | None = None,
        faults: list[Fault] | tuple[Fault, ...] = (),
    ) -> StoredObject:
        """Store an object, without a request; its ETag is the MD5 unless given. ``faults`` are queued for its path."""
        kept = {name.title(): value for name, value in (headers or {}).items()}
        stored = StoredObject(body, md5_hex(body) if etag is None else etag.strip('"'), kept)
        self.objects[path.removeprefix("/")] = stored
        self.fault(path, *faults)
        return stored

    def respond(self, request: Request) -> Response:
        if self.reject_authorization and "authorization" in request.headers:
            return s3_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if request.method in ("GET", "HEAD"):
            return self.get_object(request)
        if request.method == "PUT":
            return self.put_object(request)
        if request.method == "DELETE":
            self.objects.pop(request.path, None)
            return Response(204)
        return s3_error(405, "MethodNotAllowed")

    def get_object(self, request: Request) -> Response:
        """The object, or the part of it asked for."""
        stored = self.objects.get(request.path)
        if stored is None:
            return s3_error(404, "NoSuchKey", "The specified key does not exist.")
        wanted = request.headers.get("if-match")
        if wanted is not None and stored.etag not in [tag.strip().strip('"') for tag in wanted.split(",")]:
            return s3_error(412, "PreconditionFailed")
        known = request.headers.get("if-none-match")
        if known is not None and stored.etag in [tag.strip().strip('"') for tag in known.split(",")]:
            return Response(304, {"ETag": f'"{stored.etag}"'})
        headers = {
            "Content-Type": "application/octet-stream",
            **stored.headers,
            "ETag": f'"{stored.etag}"',
            "Accept-Ranges": "bytes",
        }
        size = len(stored.body)
        try:
            span = parse_range(request.headers.get("range"), size)
        except ValueError:
            return s3_error(416, "InvalidRange", headers={"Content-Range": f"bytes */{size}"})
        if span is None:
            return Response(200, headers, stored.body)
        start, stop = span
        return Response(
            206,
            {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"},
            memoryview(stored.body)[start:stop],
        )

    def put_object(self, request: Request) -> Response:
        """Store the body, once its Content-MD5 has been checked."""
        refusal = refuse_upload(request)
        if refusal is not None:
            return refusal
        kept = {name.title(): request.headers[name] for name in STORED_HEADERS if name in request.headers}
        stored = StoredObject(request.body, md5_hex(request.body), kept)
        self.objects[request.path] = stored
        return Response(200, {"ETag": f'"{stored.etag}"'})


def refuse_upload(request: Request) -> Response | None:
    """The error that S3 answers to an upload that it cannot take; None if it can."""
    if "transfer-encoding" in request.headers:
        return s3_error(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
    if "content-length" not in request.headers:
        return s3_error(411, "MissingContentLength")
    claimed = request.headers.get("content-md5")
    actual = base64.b64encode(hashlib.md5(request.body).digest()).decode()
    if claimed is not None and claimed != actual:
        return s3_error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    return None
