"""Proxies on localhost: one that breaks connections, one that delays answers, one for HTTP clients to be sent through.

They run in an event loop in a thread of their own and pass bytes on as they are. None of them looks inside TLS, caches
anything, or wants to know who is asking.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

BURST = 65536


@dataclass(slots=True, eq=False)
class Link:
    """A client's connection and ours to the server; ``upstream`` is None until it has been made."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    upstream: asyncio.StreamWriter | None = None

    def reset(self) -> None:
        """Break both sides at once, with a reset."""
        for writer in (self.writer, self.upstream):
            if writer is not None:
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):  # it may be closed already
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()


class Proxy:
    """Accepts connections and serves each in a task; subclasses say how."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._links: dict[asyncio.Task[None], Link] = {}
        self._error: BaseException | None = None
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens, for plain HTTP and without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, link: Link) -> None:
        """Serve one connection until it ends."""
        raise NotImplementedError

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        self._call(self._listen()).result()

    def stop(self) -> None:
        """Close everything and wait for the thread."""
        self._call(self._close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        links = dict(self._links)
        for task in links:
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)
        for link in links.values():
            for writer in (link.writer, link.upstream):
                if writer is not None:
                    writer.transport.abort()  # what a slow client has not taken yet is lost
        for _ in range(3):  # transports close their sockets in a later round of the loop
            await asyncio.sleep(0)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = Link(self.connections, reader, writer)
        task = self._loop.create_task(self.serve(link))
        self._links[task] = link
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        link = self._links.pop(task)
        for writer in (link.writer, link.upstream):
            if writer is not None:
                writer.close()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, OSError):  # those are one side breaking off
            self._error = self._error or error

    @staticmethod
    async def connect(link: Link, host: str, port: int) -> asyncio.StreamReader:
        """Connect ``link`` to the server."""
        reader, link.upstream = await asyncio.open_connection(host, port)
        return reader


async def copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, on_data: Callable[[], None] = lambda: None
) -> None:
    """Pass on what comes until it ends, in whatever way, then say so."""
    with contextlib.suppress(OSError):
        while data := await reader.read(BURST):
            on_data()
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


class ResettingProxy(Proxy):
    """Resets a fraction of the connections, or of the requests, after a random number of bytes of the answer.

    A request is a burst of bytes from the client after the server has said something. Connection number ``n`` and its
    ``k``-th request always meet the same fate for one ``seed``, however the connections are scheduled.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        reset_fraction: float = 0.1,
        seed: int = 0,
        cut_after: tuple[int, int] = (0, 4096),
        mode: Literal["per_connection", "per_request"] = "per_request",
    ) -> None:
        super().__init__()
        self.target = (target_host, target_port)
        self.reset_fraction = reset_fraction
        self.seed = seed
        self.cut_after = cut_after
        self.mode = mode
        self.requests = 0
        self.resets = 0

    async def serve(self, link: Link) -> None:
        upstream = await self.connect(link, *self.target)
        assert link.upstream is not None
        fate = _Fate(self, link.number)
        up = asyncio.ensure_future(copy(link.reader, link.upstream, on_data=fate.request_seen))
        try:
            await self._pass_answers(link, upstream, fate)
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)

    async def _pass_answers(self, link: Link, upstream: asyncio.StreamReader, fate: _Fate) -> None:
        while data := await upstream.read(BURST):
            allowed = fate.bytes_allowed(len(data))
            link.writer.write(data[:allowed])
            await link.writer.drain()
            if allowed < len(data):
                self.resets += 1
                await asyncio.sleep(0.005)  # a reset throws away what the kernel has not delivered yet
                link.reset()
                return


class CuttingProxy(Proxy):
    """Resets every connection after a random number of bytes, whichever way they go; ``cut_after`` is the range."""

    def __init__(self, target_host: str, target_port: int, *, cut_after: tuple[int, int], seed: int = 0) -> None:
        super().__init__()
        self.target = (target_host, target_port)
        self.cut_after = cut_after
        self.seed = seed
        self.cuts = 0

    async def serve(self, link: Link) -> None:
        upstream = await self.connect(link, *self.target)
        assert link.upstream is not None
        left = random.Random(f"{self.seed}/{link.number}").randint(*self.cut_after)
        cut = asyncio.Event()

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal left
            while not cut.is_set() and (data := await reader.read(BURST)):
                writer.write(data[:left])
                left -= len(data)
                if left <= 0:
                    cut.set()
                    return
                await writer.drain()

        ways = [asyncio.ensure_future(pass_on(*way)) for way in ((link.reader, link.upstream), (upstream, link.writer))]
        watch = asyncio.ensure_future(cut.wait())
        try:
            await asyncio.wait([*ways, watch], return_when=asyncio.FIRST_COMPLETED)
            if cut.is_set():
                self.cuts += 1
                link.reset()
        finally:
            for task in (*ways, watch):
                task.cancel()
            await asyncio.gather(*ways, watch, return_exceptions=True)


class _Fate:
    """What becomes of one connection: how many more bytes of answers may pass."""

    def __init__(self, proxy: ResettingProxy, number: int) -> None:
        self._proxy = proxy
        self._random = random.Random(f"{proxy.seed}/{number}")  # its own, so that scheduling does not matter
        self._bytes_left: int | None = None  # None: any number
        self._answering = True  # the next bytes from the client begin a request
        self._drawn = False

    def request_seen(self) -> None:
        """Take note of bytes from the client."""
        if not self._answering:
            return  # more of the same request
        self._answering = False
        self._proxy.requests += 1
        if not self._drawn or self._proxy.mode == "per_request":
            self._drawn = True
            unlucky = self._random.random() < self._proxy.reset_fraction
            cut = self._random.randint(*self._proxy.cut_after)
            self._bytes_left = cut if unlucky else None

    def bytes_allowed(self, length: int) -> int:
        """How many of ``length`` bytes of an answer may pass; fewer than that means: then reset."""
        self._answering = True
        if self._bytes_left is None:
            return length
        allowed = min(length, self._bytes_left)
        self._bytes_left -= allowed
        return allowed


class DelayingProxy(Proxy):
    """Passes answers on ``delay`` seconds after they came, without slowing their flow; requests at once."""

    def __init__(self, target_host: str, target_port: int, *, delay: float) -> None:
        super().__init__()
        self.target = (target_host, target_port)
        self.delay = delay

    async def serve(self, link: Link) -> None:
        upstream = await self.connect(link, *self.target)
        assert link.upstream is not None
        up = asyncio.ensure_future(copy(link.reader, link.upstream))
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        down = asyncio.ensure_future(self._deliver(waiting, link.writer))
        try:
            while data := await upstream.read(BURST):
                waiting.put_nowait((self._loop.time() + self.delay, data))
            waiting.put_nowait((self._loop.time() + self.delay, b""))
            await down
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _deliver(self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - self._loop.time())
            if not data:
                return
            writer.write(data)
            await writer.drain()


class HttpForwardProxy(Proxy):
    """A forward proxy for HTTP (absolute URLs) and HTTPS (CONNECT), which remembers what it was asked for.

    ``asked`` holds "GET http://host:port/path" and "CONNECT host:port", in order of arrival, one for each request, and
    ``hosts`` the "host:port" of each. With ``refuse``, it answers that status to everything and passes nothing on.
    """

    def __init__(self, *, refuse: int | None = None) -> None:
        super().__init__()
        self.refuse = refuse
        self.asked: list[str] = []
        self.hosts: list[str] = []

    async def serve(self, link: Link) -> None:
        head = await self._read_head(link.reader)
        if head:
            first, *fields = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ", 2)
            self.asked.append(f"{method} {target}")
            address = urlsplit(f"//{target}" if method == "CONNECT" else target)
            self.hosts.append(address.netloc)
            if self.refuse is not None:
                link.writer.write(f"HTTP/1.1 {self.refuse} Refused\r\nContent-Length: 0\r\n\r\n".encode())
                return
            if address.hostname is None:
                link.writer.write(b"HTTP/1.1 400 Not for a proxy\r\nContent-Length: 0\r\n\r\n")
                return
            upstream = await self.connect(link, address.hostname, address.port or 80)
            assert link.upstream is not None
            if method == "CONNECT":
                link.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._tunnel(link, upstream)
                return
            kept = [line for line in fields if not line.lower().startswith(("proxy-", "connection:"))]
            path = (address.path or "/") + (f"?{address.query}" if address.query else "")
            link.upstream.write(self._join([f"{method} {path} HTTP/1.1", *kept]))
            await self._tunnel(link, upstream, close_after_answer=True)

    @staticmethod
    async def _read_head(reader: asyncio.StreamReader) -> bytes:
        try:
            return (await reader.readuntil(b"\r\n\r\n"))[:-4]
        except asyncio.IncompleteReadError:
            return b""

    @staticmethod
    def _join(lines: list[str]) -> bytes:
        """One request or answer to a connection: what comes next on it could be for another host."""
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")

    async def _tunnel(self, link: Link, upstream: asyncio.StreamReader, *, close_after_answer: bool = False) -> None:
        assert link.upstream is not None
        up = asyncio.ensure_future(copy(link.reader, link.upstream))
        try:
            while close_after_answer and (head := await self._read_head(upstream)):
                if head.startswith(b"HTTP/1.1 1"):  # "100 Continue": the answer is still to come
                    link.writer.write(head + b"\r\n\r\n")
                else:
                    link.writer.write(self._join(head.decode("latin-1").split("\r\n")))
                    break
            await copy(upstream, link.writer)
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)
