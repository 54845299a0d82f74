"""Stored files, served: ``wsgi`` and ``asgi`` answer a request for one, as ``answering`` decides, in bounded memory.

All bytes of an answer are of one version of the file. There are two pieces of it in memory at most: one that is being
sent, and the one behind it, which is fetched meanwhile; nothing is fetched while a client does not take them, and what
is on its way is broken off when it goes. What is found out is found out in steps, generators of futures, which a thread
waits for in ``wsgi`` and a coroutine in ``asgi``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from http import HTTPStatus
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from ..arguments import Source
from ..async_files import AsyncArtifactFiles
from ..engine.calls import done
from ..errors import PreconditionFailed
from ..files import ArtifactFiles
from ..models import ObjectInfo
from ..paths import check_name
from ..ranges.awaited import driven
from ..ranges.cache import RangeCache
from ..ranges.opening import at_version, reader_of
from ..ranges.reading import Reader, ReadOptions, Remote, Steps, drive, wait_for
from ..results import Result
from .answering import Answer, Options, answer, condition, failed, missing, refused, unsettled

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("cloudfiles_hypha")

# Bytes of a piece. Large enough that a request for each is no matter, small enough for a hundred clients.
PIECE = 2 * 1024 * 1024
# The status that servers put into their logs for a client that has gone before it was answered.
_LEFT_BEFORE = 499
# How often a file may change between the look at it and its first bytes.
_CHANGES = 3
# Bytes are not kept: whoever serves the same file all the time has a cache in front of it.
_READING = ReadOptions(minimum_range_request_bytes=0, prefetch_bytes=0, read_ahead_bytes=0)


def wsgi(
    files: ArtifactFiles,
    path: str,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    *,
    download: bool = False,
    download_name: str | None = None,
    cache_max_age: int | None = None,
    version: str | None = None,
) -> Iterable[bytes]:
    """Answer a request for the file ``path`` as a WSGI application does: ``return wsgi(cf, path, environ, start)``.

    GET and HEAD, with ETag, Last-Modified, If-None-Match, If-Modified-Since, If-Match, If-Range and a single Range;
    several ranges are answered by the whole. What is stored with a Content-Encoding is decoded first, on disk if it is
    large, and then whole. ``download`` has a browser save it, as ``download_name`` (its own name, if left out).
    ``cache_max_age`` is how many seconds a client need not ask again; left out, what the store keeps as Cache-Control.
    ``version`` is the id of the ``Version`` to send, where the store keeps some.

    What is not there is a 404, what the store refuses a 403, and a store that fails a 502, 503 or 504; the reason goes
    to the log, and to no client. A file that is changed while it is sent, or whose store fails by then, is a
    ``TransferError`` out of the iterable, so that the server breaks the connection and no client takes it for complete.
    """
    options = Options(download=download, download_name=download_name, cache_max_age=cache_max_age)
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
    reader: Reader = at_version(reader_of(files), path, version)
    wait: Callable[[Future[Any]], None] = getattr(reader, "wait", wait_for)
    asked = _Asked(reader, path, environ["REQUEST_METHOD"], headers, options, getattr(reader, "_read_in_caller", None))
    said, pieces = drive(_answered(asked), wait)
    try:
        start_response(f"{said.status} {HTTPStatus(said.status).phrase}", [*said.headers])
    except BaseException:
        pieces.close()
        raise
    return _Sent(pieces, wait)


async def asgi(
    files: ArtifactFiles | AsyncArtifactFiles,
    path: str,
    scope: MutableMapping[str, Any],
    receive: Receive,
    send: Send,
    *,
    download: bool = False,
    download_name: str | None = None,
    cache_max_age: int | None = None,
    version: str | None = None,
) -> None:
    """Answer a request for the file ``path`` as an ASGI application does; otherwise ``wsgi``.

    A client that goes (``http.disconnect``) cancels what is on its way. No thread is needed.
    """
    options = Options(download=download, download_name=download_name, cache_max_age=cache_max_age)
    plain = (files if isinstance(files, AsyncArtifactFiles) else AsyncArtifactFiles(files)).files
    begun = False

    async def noticed(message: Message) -> None:
        nonlocal begun
        begun = True
        await send(message)

    work = asyncio.create_task(_send(at_version(plain, path, version), path, scope, noticed, options))
    gone = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left_early = gone.done()
        work.cancel()
        gone.cancel()
        await asyncio.wait({work, gone})
    if left_early:
        gone.result()  # an error of ``receive`` is no client that goes
    if not work.cancelled():
        work.result()
    if not begun:  # to nobody; middleware takes an application that ends without an answer for a broken one
        await _taken(send, {"type": "http.response.start", "status": _LEFT_BEFORE, "headers": []})
        await _taken(send, {"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request; ``headers`` by their names in lower case, ``at_once`` as ``Remote`` has it."""

    reader: Reader
    path: str
    method: str
    headers: Mapping[str, str]
    options: Options
    at_once: Callable[[Source], Future[Result] | None] | None = None


class _Coming:
    """Bytes that are on their way since this was made."""

    def __init__(self, steps: Steps[bytes]) -> None:
        self.steps = steps
        self.content = b""
        self.future: Future[Any] | None = None  # to be waited for before ``go_on``
        self.go_on()

    def go_on(self) -> None:
        """The next step."""
        try:
            self.future = next(self.steps)
        except StopIteration as end:
            self.future, self.content = None, end.value


class _Pieces:
    """The body of an answer; one piece is on its way all the time."""

    def __init__(self, remote: Remote | None, said: Answer) -> None:
        self._remote = remote
        self._text = said.text
        self._at, self._end = said.start, said.end
        self._coming: _Coming | None = None
        self._begin()

    def _begin(self) -> None:
        self._coming = None
        if self._remote is not None and self._at < self._end:
            start, self._at = self._at, min(self._at + PIECE, self._end)
            self._coming = _Coming(self._remote.read(start, self._at))

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to take."""
        return self._coming is None and not self._text

    def there(self) -> Steps[None]:
        """Have the next piece here."""
        while self._coming is not None and self._coming.future is not None:
            yield self._coming.future
            self._coming.go_on()

    def take(self) -> Steps[bytes]:
        """The next piece, and the one behind it is on its way; ``b""`` at the end."""
        yield from self.there()
        if self._coming is None:
            text, self._text = self._text, b""
            return text
        content = self._coming.content
        self._begin()
        return content

    def close(self) -> None:
        """Break off what is on its way."""
        self._end, self._text = 0, b""
        if self._coming is not None:
            self._coming.steps.close()
            self._coming = None


class _Sent:
    """The body of an answer, for a WSGI server, which closes it when it has sent all or the client is gone."""

    def __init__(self, pieces: _Pieces, wait: Callable[[Future[Any]], None]) -> None:
        self._pieces = pieces
        self._wait = wait

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._pieces.ended:
            raise StopIteration
        return drive(self._pieces.take(), self._wait)

    def close(self) -> None:
        """Break off what is on its way."""
        self._pieces.close()


class _Known:
    """A reader that has been asked for the head of a file already."""

    def __init__(self, reader: Reader, info: ObjectInfo) -> None:
        self._reader = reader
        self._info: ObjectInfo | None = info
        self.submit = reader.submit
        self.address = reader.address

    def submit_head(self, path: str) -> Future[Result]:
        """What is known, at first; whoever asks again wants to know whether it still is so."""
        if self._info is None:
            return self._reader.submit_head(path)
        info, self._info = self._info, None
        return done(lambda: cast(Any, {"content": info, "error": None}), itemgetter("error"))


def _answered(asked: _Asked) -> Steps[tuple[Answer, _Pieces]]:
    """What is to be answered, with its first piece here, so that most of what goes wrong is part of the answer."""
    method, path = asked.method, asked.path
    said = refused(method)
    if said is None:
        try:
            check_name(path)
        except ValueError:
            said = missing(method)
    if said is not None:
        return said, _Pieces(None, said)
    for _ in range(_CHANGES):
        try:
            return (yield from _looked_up(asked))
        except PreconditionFailed:
            continue  # somebody has written to it since it was looked at
        except Exception as error:
            said = failed(method, error)
            if said is None:
                raise
            if said.status >= 500:
                _log.warning("%s %r: %s: %s", method, path, type(error).__name__, error)
            return said, _Pieces(None, said)
    _log.warning("%s %r: changed %d times while it was to be read", method, path, _CHANGES)
    said = unsettled(method)
    return said, _Pieces(None, said)


def _looked_up(asked: _Asked) -> Steps[tuple[Answer, _Pieces]]:
    method, headers, options = asked.method, asked.headers, asked.options
    future = asked.reader.submit_head(asked.path)
    try:
        yield future
    except BaseException:
        future.cancel()
        raise
    info: ObjectInfo = replace(future.result()["content"], path=asked.path)
    said = condition(method, headers, info, options)
    if said is not None:
        return said, _Pieces(None, said)
    if method == "HEAD":
        said = answer(method, headers, info, None if info.compress else info.size, options)
        return said, _Pieces(None, said)
    remote = Remote(_Known(asked.reader, info), asked.path, _READING, RangeCache(0))
    yield from remote.opened()
    said = answer(method, headers, info, remote.size, options)
    if said.end - said.start <= PIECE:  # what is read ahead is not to be waited for
        remote.at_once = asked.at_once
    pieces = _Pieces(remote, said)
    try:
        yield from pieces.there()
    except BaseException:
        pieces.close()
        raise
    return said, pieces


async def _send(reader: Reader, path: str, scope: MutableMapping[str, Any], send: Send, options: Options) -> None:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        known, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[known] = f"{headers[known]}, {text}" if known in headers else text
    said, pieces = await driven(_answered(_Asked(reader, path, scope["method"], headers, options)))
    try:
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in said.headers]
        if not await _taken(send, {"type": "http.response.start", "status": said.status, "headers": fields}):
            return
        while True:
            content = await driven(pieces.take())
            more = not pieces.ended
            if not await _taken(send, {"type": "http.response.body", "body": content, "more_body": more}) or not more:
                return
    finally:
        pieces.close()


async def _taken(send: Send, message: Message) -> bool:
    """Whether a client was there to take it; some servers say by an error that it has gone."""
    try:
        await send(message)
    except OSError:
        return False
    return True


async def _gone(receive: Receive) -> None:
    """Wait until the client goes."""
    while (await receive())["type"] != "http.disconnect":
        pass
