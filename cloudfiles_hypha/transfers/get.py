"""Reading: one object or range, several ranges of one object in one request, or into a place of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..engine.outcomes import Done
from ..engine.run import Run
from ..errors import InvalidContent, RangeNotSatisfiable
from ..models import Fetched, GetRequest
from ..plan.ranges import coalesce
from ..results import Result, failed, got
from .task import Context, Task, attempts_of

if TYPE_CHECKING:
    from ..content.sinks import Piece, Writer

Decode = Callable[[bytes, str], object]
"""Makes of an object's bytes (and its path, for a message) what the user wants; raises ``InvalidContent``."""

# Ranges of one object are fetched together across so many unwanted bytes: about what a request costs at 1 GB/s, and
# less than a round trip on any slower line. And how many bytes such a request may have: it is held in memory.
_GAP = 128 * 1024
_LARGEST_FETCH = 8 * 1024 * 1024
# Results of fewer bytes are bounded by their number already.
_WEIGHTY = 64 * 1024


class Get(Task[Result]):
    """One object, or a range of it, into memory."""

    __slots__ = ("decode", "request")

    def __init__(self, context: Context, index: int, name: str, request: GetRequest, decode: Decode | None) -> None:
        super().__init__(context, index, name, request.path)
        self.request = request
        self.decode = decode
        if request.empty:
            self.unresolved = False

    @property
    def tags(self) -> object:
        return self.request.tags

    def work(self, run: Run) -> Done[Result]:
        request = self.request
        if request.empty:
            return Done(((self.index, got(self.name, request, Fetched(b"", verified="length"), b"", 0)),))
        fetched = self.attempt(run, partial(self.context.backend.get, request, self.ticket))
        content: object = fetched.content
        if self.decode is not None:
            content = self.decode(fetched.content, self.name)
        size = len(fetched.content)
        if self.context.observer is not None:
            self.arrived(run, size)
        result = got(self.name, request, fetched, content, self.attempts)
        return Done(((self.index, result),), size if size > _WEIGHTY else 0)

    def give_up(self, error: Exception) -> Done[Result]:
        attempts = self.attempts if isinstance(error, InvalidContent) else attempts_of(error)
        return Done(((self.index, failed(self.name, self.request, error, attempts)),))


class GetTogether(Get):
    """Close ranges of one object, fetched with one request and cut apart again."""

    __slots__ = ("members",)

    def __init__(self, members: Sequence[Get], start: int, end: int) -> None:
        first = members[0]
        super().__init__(first.context, first.index, first.name, GetRequest(first.path, start, end), first.decode)
        self.members = members

    def work(self, run: Run) -> Done[Result]:
        fetched = self.attempt(run, partial(self.context.backend.get, self.request, self.ticket))
        results = [(member.index, self._cut(member, fetched)) for member in self.members]
        size = sum(len(content) for _, result in results if isinstance(content := result["content"], bytes))
        return Done(results, size if size > _WEIGHTY else 0)

    def _cut(self, member: Get, fetched: Fetched) -> Result:
        request = member.request
        first, last = request.start or 0, request.end
        start = self.request.start or 0
        if fetched.size is not None and first > fetched.size > 0:
            error = RangeNotSatisfiable(
                f"no such bytes: the range starts at {first}, the object has {fetched.size}",
                path=member.name,
                status=416,
            )
            return failed(member.name, request, error, self.attempts)
        content = fetched.content[first - start : None if last is None else last - start]
        if member.decode is None:
            return got(member.name, request, fetched, content, self.attempts)
        try:
            return got(member.name, request, fetched, member.decode(content, member.name), self.attempts)
        except InvalidContent as invalid:
            return failed(member.name, request, invalid, self.attempts)

    def give_up(self, error: Exception) -> Done[Result]:
        return Done([one for member in self.members for one in member.give_up(error).results])

    def observe_start(self, run: Run) -> None:
        for member in self.members:
            member.observe_start(run)

    def end(self, run: Run, done: Done[Result], error: Exception | None = None) -> Done[Result]:
        for member, (_, result) in zip(self.members, done.results, strict=True):
            if result["content"] is not None and isinstance(result["content"], bytes):
                member.arrived(run, len(result["content"]))
            member.end(run, done, result["error"])
        return done


def together(tasks: Sequence[Get | GetInto]) -> Iterator[Get | GetInto]:
    """The same tasks, with those for close ranges of one object made one."""
    ranges: dict[str, list[tuple[Get, int, int]]] = {}
    for task in tasks:
        request = task.request
        if isinstance(task, Get) and request.end is not None and not request.empty:
            ranges.setdefault(request.path, []).append((task, request.start or 0, request.end))
    instead: dict[int, Get | None] = {}  # by index: the task in this one's place, or None
    for members in ranges.values():
        if len(members) > 1:
            for fetch in coalesce([(start, end) for _, start, end in members], gap=_GAP, largest=_LARGEST_FETCH):
                if len(fetch.members) > 1:
                    parts = [members[number][0] for number in fetch.members]
                    instead.update(dict.fromkeys((part.index for part in parts), None))
                    instead[parts[0].index] = GetTogether(parts, fetch.start, fetch.end)
    for task in tasks:
        found = instead.get(task.index, task)
        if found is not None:
            yield found


class GetInto(Task[Result]):
    """One object, or a range of it, into a buffer or a file of the user's.

    A buffer is filled while the bytes arrive. A file is the user's code: it is written to in the caller's thread, piece
    by piece, each complete and from the same version of the object; so no attempt that failed is ever seen by it.
    """

    __slots__ = ("_writer", "request")

    def __init__(self, context: Context, index: int, name: str, request: GetRequest) -> None:
        super().__init__(context, index, name, request.path)
        self.request = request
        self._writer: Writer | None = None
        if request.empty:
            self.unresolved = False

    @property
    def tags(self) -> object:
        return self.request.tags

    def work(self, run: Run) -> Done[Result]:
        request = self.request
        to_file = hasattr(request.into, "write")
        if request.empty:
            content = None if to_file else memoryview(request.into).cast("B")[:0]
            return self._done(Fetched(b"", verified="length"), content)
        return self._to_file(run) if to_file else self._to_buffer(run)

    def _done(self, fetched: Fetched, content: object) -> Done[Result]:
        return Done(((self.index, got(self.name, self.request, fetched, content, self.attempts)),))

    def _to_buffer(self, run: Run) -> Done[Result]:
        from ..content.sinks import BufferSink  # there already: ``arguments`` loads it when it sees an ``into``

        sink = BufferSink(self.request, s3_etags=self.context.backend.can.s3_etags)

        def attempt() -> tuple[Fetched, memoryview]:
            fetched = self.context.backend.get(self.request, self.ticket, sink)
            view, verified = sink.end(fetched.verified)
            return replace(fetched, verified=verified), view

        fetched, view = self.attempt(run, attempt)
        self.arrived(run, len(view))
        return self._done(fetched, view)

    def _to_file(self, run: Run) -> Done[Result]:
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
        return self._done(writer.fetched(), None)

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
        return Done(((self.index, failed(self.name, self.request, error, attempts_of(error))),))
