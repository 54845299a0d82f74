"""Reading: one object or range, several ranges of one object in one request, or into a place of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from ..backends.base import Backend, Ticket
from ..content.blocks import PartSink
from ..content.codecs import MAX_SIZE, MAX_SIZE_ON_DISK, decompress_blocks, range_of
from ..engine.outcomes import Done, More
from ..engine.run import Run
from ..errors import InvalidContent, InvalidRequest, PreconditionFailed, RangeNotSatisfiable, RangesUnsupported
from ..models import Fetched, GetRequest
from ..plan.ranges import Fetch, coalesce
from ..progress import Item
from ..recording.flights import now
from ..results import Result, failed, got
from .task import Context, Task, attempts_of

if TYPE_CHECKING:
    from ..content.sinks import Piece, Writer
    from ..content.spool import Spool

Decode = Callable[[bytes, str], object]
"""Makes of an object's bytes (and its path, for a message) what the user wants; raises ``InvalidContent``."""
Parts = Sequence[tuple[int, GetRequest]]
"""Items of a batch, each with its number."""

# Ranges of one object are fetched together across so many unwanted bytes: about what a request costs at 1 GB/s, and
# less than a round trip on any slower line. And how many bytes such a request may have: it is held in memory.
_GAP = 128 * 1024
_LARGEST_FETCH = 8 * 1024 * 1024
# Such requests of at least so many bytes are received where the interpreter is not needed as much.
_HEAVY = 512 * 1024
# Encoded content of at least so many bytes is decoded there: that takes as long as some twenty requests.
_LONG_DECODING = 128 * 1024
# Results of fewer bytes are bounded by their number already.
_WEIGHTY = 64 * 1024


class Get(Task[Result]):
    """One object, or a range of it, into memory."""

    __slots__ = ("decode", "heavy", "request", "stored")

    def __init__(self, context: Context, index: int, name: str, request: GetRequest, decode: Decode | None) -> None:
        super().__init__(context.at(request.version), index, name, request.path)
        self.request = request
        self.decode = decode
        self.heavy = request.part and (request.end or 0) - (request.start or 0) >= _HEAVY
        self.stored: Fetched | None = None  # what is still to be decoded
        if request.empty:
            self.unresolved = False

    @property
    def tags(self) -> object:
        return self.request.tags

    @property
    def version(self) -> str | None:
        return self.request.version

    def work(self, run: Run) -> Done[Result] | More:
        request = self.request
        if request.empty:
            return Done(((self.index, got(self.name, request, Fetched(b"", verified="length"), b"", 0)),))
        fetched = self.stored or self._fetch(run)
        if request.pinned is not None and fetched.etag not in (None, request.pinned):  # a server that does not compare
            raise PreconditionFailed("the object has changed", path=self.name)
        plain = fetched.content
        if fetched.compress is not None and not request.raw:
            if self._goes_elsewhere(fetched):
                return More(1)
            plain = self._decoded(fetched)
        content: object = plain
        if self.decode is not None:
            content = self.decode(plain, self.name)
        if self.context.observer is not None:
            self.arrived(run, len(fetched.content))
        size = len(plain)
        result = got(self.name, request, fetched, content, self.attempts)
        return Done(((self.index, result),), size if size > _WEIGHTY else 0)

    def _fetch(self, run: Run) -> Fetched:
        """The stored bytes that are needed: all of them for a range of what is encoded, whose bytes are decoded ones.

        Only an answer tells whether it is, and one that there are no such bytes does not.
        """
        request, get = self.request, self.context.backend.get
        if request.part:
            return self._fetch_part(run, request)
        if request.raw or request.whole:
            return self.attempt(run, partial(get, request, self.ticket))
        try:
            fetched = self.attempt(run, partial(get, request, self.ticket))
            if fetched.compress is None and (fetched.content or fetched.size == 0 or not _is_encoded(self, run)):
                return fetched
        except RangeNotSatisfiable:
            if not _is_encoded(self, run):
                raise
        fetched = self.attempt(run, partial(get, request._replace(start=None, end=None), self.ticket))
        if fetched.compress is None:  # it has changed since
            from ..transports.answers import slice_of

            fetched = fetched._replace(content=slice_of(fetched.content, request.start or 0, request.end))
        return fetched

    def _fetch_part(self, run: Run, request: GetRequest) -> Fetched:
        """The bytes of a range, and no others. Where the end cannot be asked for it is looked up first."""
        if (request.start or 0) >= 0:
            return self.attempt(run, partial(self._part, request))
        backend = self.context.backend
        if backend.can.suffixes:
            try:
                return self.attempt(run, partial(self._part, request))
            except (InvalidRequest, RangeNotSatisfiable):
                pass  # it does not count from the end
            except RangesUnsupported as error:
                if error.reason != "ignored":
                    raise
        info = self.attempt(run, partial(backend.head, request.path, self.ticket))
        if info.size is None:
            raise RangesUnsupported.because("ignored", self.name)
        start = max(0, info.size + (request.start or 0))
        return self.attempt(run, partial(self._part, request._replace(start=start)))

    def _part(self, request: GetRequest) -> Fetched:
        sink = PartSink(request)
        fetched = self.context.backend.get(request, self.ticket, sink)
        return fetched._replace(content=cast(bytes, sink.content()))  # or ``Blocks`` of it, for who has said ``cut``

    def _goes_elsewhere(self, fetched: Fetched) -> bool:
        """Whether this is to be decoded in a turn of its own, where that keeps nobody waiting."""
        if self.stored is not None or len(fetched.content) < _LONG_DECODING:
            return False
        self.stored, self.heavy = fetched, True
        return True

    def _decoded(self, fetched: Fetched) -> bytes:
        """What was asked for, of what all the stored bytes stand for."""
        request = self.request
        most = MAX_SIZE if request.max_size is None else request.max_size
        blocks = decompress_blocks((fetched.content,), fetched.compress, most, self.name)
        return b"".join(range_of(blocks, request.start or 0, request.end))

    def give_up(self, error: Exception) -> Done[Result]:
        # what is found out after the last attempt does not know how many there were
        return Done(((self.index, failed(self.name, self.request, error, attempts_of(error) or self.attempts)),))


class GetTogether(Get):
    """Close ranges of one object, fetched with one request and cut apart again."""

    __slots__ = ("parts",)

    def __init__(self, context: Context, name: str, fetch: Fetch, parts: Parts, decode: Decode | None) -> None:
        index, first = parts[0]
        request = first._replace(start=fetch.start, end=fetch.end, tags=None)
        super().__init__(context, index, name, request, decode)
        self.parts = parts
        self.heavy = fetch.end - fetch.start >= _HEAVY

    def work(self, run: Run) -> Done[Result] | More:
        fetched = self.stored or self._fetch(run)
        whole, size, start = fetched.content, fetched.size or 0, self.request.start or 0
        if fetched.compress is not None and not self.request.raw:
            if self._goes_elsewhere(fetched):
                return More(1)
            whole = self._decoded(fetched)
            size = start + len(whole)
        name, attempts, decode = self.name, self.attempts, self.decode
        results: list[tuple[int, Result]] = []
        weight = 0
        for index, request in self.parts:
            first, last = request.start or 0, request.end
            if first > size > 0:
                error = RangeNotSatisfiable(
                    f"no such bytes: the range starts at {first}, the object has {size}", path=name, status=416
                )
                results.append((index, failed(name, request, error, attempts)))
                continue
            content = whole[first - start : None if last is None else last - start]
            weight += len(content)
            results.append(
                (
                    index,
                    self._parsed(request, fetched, content)
                    if decode
                    else got(name, request, fetched, content, attempts),
                )
            )
        return Done(results, weight if weight > _WEIGHTY else 0)

    def _parsed(self, request: GetRequest, fetched: Fetched, content: bytes) -> Result:
        try:
            decoded = self.decode(content, self.name) if self.decode else content
        except InvalidContent as invalid:
            return failed(self.name, request, invalid, self.attempts)
        return got(self.name, request, fetched, decoded, self.attempts)

    def give_up(self, error: Exception) -> Done[Result]:
        attempts = attempts_of(error) or self.attempts
        return Done([(index, failed(self.name, request, error, attempts)) for index, request in self.parts])

    @property
    def _items(self) -> list[Item]:
        return [Item(index, self.name, request.tags) for index, request in self.parts]

    def observe_start(self, run: Run) -> None:
        observer = self.context.observer
        if observer is not None and not self.attempts and not self.stale:
            for item in self._items:
                run.tell(partial(observer.started, item))

    def end(self, run: Run, done: Done[Result], error: Exception | None = None) -> Done[Result]:
        if self.flight is not None:
            self.flight.end = now()
        observer = self.context.observer
        if observer is not None:
            for item, (_, result) in zip(self._items, done.results, strict=True):
                if isinstance(result["content"], bytes):
                    run.tell(partial(observer.moved, item, len(result["content"])))
                run.tell(partial(observer.ended, item, result["error"]))
        return done


def _is_encoded(task: Task[Result], run: Run) -> bool:
    """What an answer that there are no such bytes does not tell."""
    info = task.attempt_counted(run, partial(task.context.backend.head, task.path, task.ticket))[0]
    return info.compress is not None


def stored_copy(backend: Backend, request: GetRequest, ticket: Ticket) -> tuple[Spool, Fetched]:
    """The stored bytes of an object, for one that is to be decoded; one attempt."""
    from ..content.sinks import StoredSink

    sink = StoredSink(s3_etags=backend.can.s3_etags)
    try:
        return sink.end(backend.get(request, ticket, sink))
    except BaseException:
        sink.close()
        raise


def gets(
    context: Context, requests: Iterable[GetRequest], prefix: str, decode: Decode | None
) -> Iterator[Get | GetInto]:
    """A task for each request, or for close ranges of one object together, if all requests are known."""
    known: Sequence[GetRequest] = requests if isinstance(requests, Sequence) else ()
    together = _close_ranges(known)
    start = len(prefix)
    for index, request in enumerate(requests):
        fetch = together.get(index, _ALONE)
        if fetch is _ALONE:
            yield get_task(context, index, request.path[start:], request, decode)
        elif fetch is not None:
            parts = [(number, known[number]) for number in fetch.members]
            yield GetTogether(context, request.path[start:], fetch, parts, decode)


_ALONE = Fetch(0, 0, ())


def _close_ranges(requests: Sequence[GetRequest]) -> dict[int, Fetch | None]:
    """What is to be fetched in the place of the request of that number; None where another's fetch brings it."""
    ranges: dict[tuple[str, bool, int | None, str | None], list[tuple[int, int, int]]] = {}
    for index, request in enumerate(requests):
        start, end = request.start or 0, request.end
        if end is not None and end > start and request.into is None and request.pinned is None and not request.part:
            ranges.setdefault((request.path, request.raw, request.max_size, request.version), []).append(
                (start, end, index)
            )
    instead: dict[int, Fetch | None] = {}
    for of_one in ranges.values():
        if len(of_one) > 1:
            for fetch in coalesce(of_one, gap=_GAP, largest=_LARGEST_FETCH):
                if len(fetch.members) > 1:
                    instead.update(dict.fromkeys(fetch.members))
                    instead[fetch.members[0]] = fetch
    return instead


def get_task(context: Context, index: int, name: str, request: GetRequest, decode: Decode | None) -> Get | GetInto:
    """What reads one item."""
    if request.into is not None:
        return GetInto(context, index, name, request)
    return Get(context, index, name, request, decode)


class GetInto(Task[Result]):
    """One object, or a range of it, into a buffer or a file of the user's.

    A buffer is filled while the bytes arrive. A file is the user's code: it is written to in the caller's thread, piece
    by piece, each complete and from the same version of the object; so no attempt that failed is ever seen by it. What
    is encoded is fetched whole first, and decoded from a spooled copy.
    """

    __slots__ = ("_stored", "_writer", "heavy", "request")

    def __init__(self, context: Context, index: int, name: str, request: GetRequest) -> None:
        super().__init__(context.at(request.version), index, name, request.path)
        self.request = request
        self.heavy = False
        self._writer: Writer | None = None
        self._stored: tuple[Spool, Fetched] | None = None  # what is still to be decoded
        if request.empty:
            self.unresolved = False

    @property
    def tags(self) -> object:
        return self.request.tags

    @property
    def version(self) -> str | None:
        return self.request.version

    def work(self, run: Run) -> Done[Result] | More:
        request = self.request
        to_file = hasattr(request.into, "write")
        if request.empty:
            content = None if to_file else memoryview(request.into).cast("B")[:0]
            return self._done(Fetched(b"", verified="length"), content)
        from ..content.sinks import Encoded

        try:
            if self._stored is None:
                done, size = self._to_file(run) if to_file else self._to_buffer(run)
                if size or request.whole or request.raw or not _is_encoded(self, run):
                    return done
        except Encoded:
            pass
        except RangeNotSatisfiable:
            if request.raw or not _is_encoded(self, run):
                raise
        return self._decoded(run)

    def _decoded(self, run: Run) -> Done[Result] | More:
        from ..content.sinks import fill, write_to

        request = self.request
        if self._stored is None:
            whole = request._replace(start=None, end=None)
            self._stored = self.attempt(run, partial(stored_copy, self.context.backend, whole, self.ticket))
            self.arrived(run, self._stored[0].size)
            if self._stored[0].size >= _LONG_DECODING:
                self.heavy = True
                return More(1)
        spool, fetched = self._stored
        try:
            most = MAX_SIZE_ON_DISK if request.max_size is None else request.max_size
            decoded = decompress_blocks(spool.blocks(), fetched.compress, most, self.name)
            blocks = range_of(decoded, request.start or 0, request.end)
            if not hasattr(request.into, "write"):
                return self._done(fetched, fill(request.into, blocks, self.name))
            for block in blocks:
                run.ask(partial(write_to, request.into, block, self.name))
            return self._done(fetched, None)
        finally:
            spool.close()

    def _done(self, fetched: Fetched, content: object) -> Done[Result]:
        return Done(((self.index, got(self.name, self.request, fetched, content, self.attempts)),))

    def _to_buffer(self, run: Run) -> tuple[Done[Result], int]:
        from ..content.sinks import BufferSink  # there already: ``arguments`` loads it when it sees an ``into``

        sink = BufferSink(self.request, s3_etags=self.context.backend.can.s3_etags)

        def attempt() -> tuple[Fetched, memoryview]:
            fetched = self.context.backend.get(self.request, self.ticket, sink)
            view, verified = sink.end(fetched.verified)
            return fetched._replace(verified=verified), view

        fetched, view = self.attempt(run, attempt)
        self.arrived(run, len(view))
        return self._done(fetched, view), len(view) or fetched.size == 0

    def _to_file(self, run: Run) -> tuple[Done[Result], int]:
        from ..content.sinks import Writer

        writer = self._writer  # also of the turn before, if a URL has expired since
        if writer is None:
            writer = self._writer = Writer(self.request, s3_etags=self.context.backend.can.s3_etags)
        while (wanted := writer.next()) is not None:
            piece, attempts = self.attempt_counted(run, partial(self._fetch, wanted))
            self.attempts += attempts
            with piece:
                self.stale = 0  # of a long read every URL expires in the end
                run.ask(partial(writer.write, piece))
                self.arrived(run, piece.spool.size)
        fetched = writer.fetched()
        return self._done(fetched, None), writer.at - (self.request.start or 0) or fetched.size == 0

    def _fetch(self, wanted: GetRequest) -> Piece:
        from ..content.sinks import PieceSink

        sink = PieceSink(wanted, self.request.end)
        try:
            fetched = self.context.backend.get(wanted, self.ticket, sink)
            return sink.end(fetched)
        except BaseException:
            sink.close()
            raise

    def give_up(self, error: Exception) -> Done[Result]:
        return Done(((self.index, failed(self.name, self.request, error, attempts_of(error) or self.attempts)),))
