"""What is read of one object, in steps that do not wait: generators that yield futures, and go on when these are done.

``Remote`` is an object as all cursors of a file share it: pinned to the version that it was opened with, so that what
is read is never a mixture. Whoever drives the steps waits as it does, a thread (``drive``) or a coroutine.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import index
from typing import Any, Literal, Protocol, TypeVar

from ..arguments import Source
from ..content.blocks import Blocks
from ..content.digests import is_strong
from ..engine.pool import AMBIENT, Cancellation
from ..engine.run import GIVEN_UP
from ..engine.waiting import here
from ..errors import Cancelled, IntegrityError, PreconditionFailed, RangesUnsupported, TransferError
from ..plan.ranges import coalesce
from ..results import Result
from .cache import Flight, Held, RangeCache
from .kept import Kept, Stretch, shelf
from .whole import Whole

T = TypeVar("T")
Steps = Generator["Future[Any]", None, T]
"""Yields what has to be done before it can go on; comes back with a value."""

# The largest request: large enough to be fast, small enough to be kept and let go of in pieces.
_PART = 8 * 1024 * 1024
# The largest piece that is read in the thread that wants it.
_AT_ONCE = 256 * 1024
# How far a long read asks ahead of what it has been given.
_WINDOW = 4 * _PART
# As many attempts to read what others gave up while it was waited for. Each of them takes another one's giving up.
_TAKEN_OVER = 100
_OF_THIS_PROCESS = frozenset({"at_once", "entry", "kept", "_unsaved"})


class Reader(Protocol):
    """What bytes come by; an ``ArtifactFiles`` is one. Errors are those of the futures."""

    def submit(self, source: Source) -> Future[Result]:
        """The result of one read; see ``ArtifactFiles.submit``. ``cancel`` breaks it off."""

    def submit_head(self, path: str) -> Future[Result]:
        """A result whose content is an ``ObjectInfo``."""

    def address(self, path: str) -> str | None:
        """The same text for the same object, whoever asks; None where nobody can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How a file is read; see ``RangeFile``."""

    minimum_range_request_bytes: int = 4096
    prefetch_bytes: int = 4096
    prefetch_direction: Literal["START", "END"] = "START"
    read_ahead_bytes: int = 2 * _PART
    raw: bool = False
    without_ranges: Literal["download", "refuse"] = "download"
    cache_dir: str | None = None
    cache_dir_bytes: int = 10 * 1024**3

    def __post_init__(self) -> None:
        for name in ("minimum_range_request_bytes", "prefetch_bytes", "read_ahead_bytes", "cache_dir_bytes"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name}={value!r}: expected a number of bytes")
        if self.prefetch_direction not in ("START", "END"):
            raise ValueError(f"prefetch_direction={self.prefetch_direction!r}: choose 'START' or 'END'")
        if self.without_ranges not in ("download", "refuse"):
            raise ValueError(f"without_ranges={self.without_ranges!r}: choose 'download' or 'refuse'")
        if not isinstance(self.raw, bool):
            raise TypeError(f"raw={self.raw!r}: expected True or False")


class Remote:
    """One version of one object, and what is here of it. Thread-safe once it is ``opened``."""

    def __init__(self, reader: Reader, path: str, options: ReadOptions, cache: RangeCache) -> None:
        self.reader = reader
        self.path = path
        self.options = options
        self.cache = cache
        self.size = 0
        self.etag: str | None = None
        self._opened = False  # the size is known
        self.whole_only = False  # no range of it can be had
        # Reads a small piece in the thread that wants it, where there is one: half of the time that it takes to have
        # it read in the background.
        self.at_once: Callable[[Source], Future[Result] | None] | None = None
        self._compared = True  # the server compares ETags; one that thinks of it as weak refuses every If-Match
        self.entry = cache.entry(None)
        self.kept: Kept | None = None  # on disk, too
        self._unsaved: deque[Flight] = deque()  # came before anybody waited for them; saved by whoever reads next

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.at_once = None
        self._unsaved = deque()
        self._share()

    def _share(self) -> None:
        """From now on, what others have of this version is here, too. One that nothing tells apart is nobody else's."""
        strong = bool(self.etag) and is_strong(self.etag)
        self._compared = self._compared and strong  # with a weak one, no server may compare
        address = self.reader.address(self.path) if strong else None
        self.kept = None
        if address is None:
            self.entry = self.cache.entry(None)
            return
        version = (address, self.etag, self.options.raw)
        self.entry = self.cache.entry(version)
        if self.options.cache_dir is not None:
            self.kept = Kept(shelf(self.options.cache_dir, self.options.cache_dir_bytes), repr(version))

    # -- opening ----------------------------------------------------------------------------------------------

    def opened(self) -> Steps[None]:
        """Find out the size and the version, with the first bytes that are wanted, if any; in one request."""
        options = self.options
        if not options.prefetch_bytes:
            info = (yield from _result(self.reader.submit_head(self.path)))["content"]
            self.etag = info.etag
            if info.compress is not None and not options.raw:
                return (yield from self._opened_whole(RangesUnsupported.because("encoded", self.path)))
            if info.size is not None:
                self.size, self._opened = info.size, True
                return self._share()
        # an answer to HEAD may leave the size out, which one to a range does not
        at_end = options.prefetch_direction == "END" and options.prefetch_bytes > 0
        wanted = options.prefetch_bytes or 1
        source = {"path": self.path, "part": True, "raw": options.raw}
        source |= {"start": -wanted} if at_end else {"start": 0, "end": wanted}
        try:
            result = yield from _result(self._asked(source, wanted <= _AT_ONCE))
        except RangesUnsupported as error:
            self.etag = error.etag
            return (yield from self._opened_whole(error))
        content, self.etag = result["content"], result["etag"]
        if result["size"] is None:
            return (yield from self._opened_whole(RangesUnsupported.because("ignored", self.path)))
        self.size, self._opened = result["size"], True
        self._share()
        at = self.size - len(content) if at_end else 0
        self.entry.put(at, content)
        if self.kept is not None and content:
            self.kept.save(at, content)

    def _opened_whole(self, error: RangesUnsupported) -> Steps[None]:
        self._share()
        whole = yield from self._downloaded(error)
        self.size, self._opened = whole.size, True

    # -- reading ----------------------------------------------------------------------------------------------

    def read(self, start: int, end: int, ahead: int = 0, into: memoryview | None = None, cut: int = 0) -> Steps[bytes]:
        """Bytes ``[start, end)``, which there have to be; with ``into`` they go there, and ``b""`` comes back.

        What has to be asked for is asked for together with up to ``ahead`` bytes behind it, in blocks of ``cut``.
        """
        if self.whole_only:
            return _given((yield from self._downloaded()).read_at(start, end - start), into)
        self._save()
        held = self.entry.held(start)
        if held is not None and end <= held.start + len(held.content):
            return _given(held.content[start - held.start : end - held.start], into)
        return (yield from self._read(start, end, ahead, into, cut))

    def _read(self, start: int, end: int, ahead: int, into: memoryview | None, cut: int = 0) -> Steps[bytes]:
        pieces: deque[Held | Flight] = deque()
        found: list[bytes] = []
        at = claimed = start
        tries = 0
        try:
            while at < end:
                stop = min(end, at + _WINDOW)
                if claimed < stop:
                    pieces += self._claimed(claimed, stop, stop + ahead if stop == end else stop, cut=cut)[0]
                    claimed = stop
                piece = pieces[0]
                blocks: Iterable[bytes]
                stop = piece.end if isinstance(piece, Flight) else piece.start + len(piece.content)
                if stop <= at:  # where the disk has part of a block, it is met twice
                    self._leave(pieces.popleft())
                    continue
                if isinstance(piece, Flight):
                    if not piece.landed.done():
                        yield piece.landed
                    if piece.error is not None:
                        tries += 1
                        again = yield from self._mended(piece, piece.error, tries)
                        while pieces:
                            self._leave(pieces.popleft())
                        if not again:  # there are no ranges to be had
                            rest = (yield from self._downloaded()).read_at(at, end - at)
                            found.append(_given(rest, None if into is None else into[at - start :]))
                            break
                        claimed = at
                        continue
                    blocks = piece.between(at, end)
                else:
                    blocks = (piece.content[at - piece.start : end - piece.start],)
                for block in blocks:
                    found.append(_given(block, None if into is None else into[at - start :]))
                    at += len(block)
                self._leave(pieces.popleft())
        finally:
            for piece in pieces:
                self._leave(piece)
        return found[0] if len(found) == 1 else b"".join(found)

    def _leave(self, piece: Held | Flight) -> None:
        if isinstance(piece, Flight):
            # the collector may come from anywhere, also from where these would wait for the place that it came from
            self.entry.leave(piece, in_time=here.collecting or piece.landed.done())
            if here.collecting:
                return
            self._save_one(piece)

    def _save_one(self, piece: Flight) -> None:
        if self.kept is not None and isinstance(piece.content, bytes) and piece.content and not piece.saved:
            piece.saved = True
            self.kept.save(piece.start, piece.content)

    def _save(self) -> None:
        """Have on disk what came ahead: not in the thread that brings it, which others wait for."""
        while self._unsaved:
            try:
                flight = self._unsaved.popleft()
            except IndexError:
                return  # another thread has them
            self._save_one(flight)

    def _claimed(
        self, start: int, end: int, reach: int, least: int | None = None, *, ahead: bool = False, cut: int = 0
    ) -> tuple[list[Held | Flight], list[Flight]]:
        """The pieces that bytes ``[start, end)`` are in, and which of them have been asked for now."""
        least = self.options.minimum_range_request_bytes if least is None else least
        if self.kept is not None:
            cut = 0  # it takes them whole
        largest = _PART // cut * cut if 0 < cut <= _PART else _PART
        if self.kept is None:
            stretches = [Stretch(start, end, self.size, False)]
        else:
            stretches = self.kept.stretches(start, end, self.size)
        pieces: list[Held | Flight] = []
        asked: list[Flight] = []
        claimed: list[Flight] = []  # claimed here
        try:
            for first, last, limit, there in stretches:
                beyond = reach if last == end and not there else last
                known = len(claimed)
                enough = 0 if there else least
                pieces += self.entry.claim(claimed, first, last, beyond, limit, enough, largest, ahead=ahead)
                for flight in claimed[known:]:
                    content = self.kept.read(flight.start, flight.end) if there and self.kept is not None else None
                    if content is None:
                        asked.append(flight)
                    else:
                        flight.saved = True
                        flight.land(content, None)
            at_once = not ahead and len(asked) == 1
            for flight in asked:
                self._fly(flight, cut, at_once=at_once and flight.end - flight.start <= _AT_ONCE)
        except BaseException:  # Ctrl-C; what nobody brings would be waited for for ever
            for flight in claimed:
                if not flight.landed.done():
                    flight.abandoned = True
                    flight.land(None, Cancelled(GIVEN_UP))
                    if flight.future is not None:
                        flight.future.cancel()
            for piece in pieces if not ahead else ():
                self._leave(piece)
            raise
        return pieces, asked

    def _claimed_into(self, pieces: deque[Held | Flight], start: int, end: int) -> int:
        """Add the pieces of bytes ``[start, end)``, which nobody else holds on to; how many are newly asked for."""
        some, new = self._claimed(start, end, end, 0)
        pieces += some
        return sum(flight.end - flight.start for flight in new)

    def _mended(self, flight: Flight, error: BaseException, tries: int) -> Steps[bool]:
        """What to do about bytes that did not come: True to try again, False where no ranges can be had; or raises."""
        if flight.abandoned and isinstance(error, Cancelled) and tries < _TAKEN_OVER:
            return True  # by somebody else, who had begun it
        if isinstance(error, RangesUnsupported):
            yield from self._downloaded(error)
            return False
        if isinstance(error, PreconditionFailed):
            if flight.compared and (yield from self._refused_in_vain(error)):
                return True
            raise self._changed() from error
        if isinstance(error, TransferError):  # as each of those who wait has its own traceback
            raise copy.copy(error) from error.__cause__
        raise error

    def _refused_in_vain(self, error: PreconditionFailed) -> Steps[bool]:
        """Whether a server refuses a condition that holds: then what comes is compared here."""
        if error.status == 412 and self._compared:
            info = (yield from _result(self.reader.submit_head(self.path)))["content"]
            if info.etag == self.etag:
                self._compared = False
        return error.status == 412 and not self._compared  # which may be known by now; this one was asked for before

    def _fly(self, flight: Flight, cut: int, *, at_once: bool) -> None:
        flight.compared = self._compared
        source = {
            "path": self.path,
            "start": flight.start,
            "end": flight.end,
            "part": True,
            "cut": cut,
            "raw": self.options.raw,
            "if_match": self.etag if flight.compared else None,
        }
        try:
            future = self._asked(source, at_once)
        except Exception as error:  # noqa: BLE001 -- raised where it is waited for
            flight.land(None, error)
            return
        flight.future = future
        future.add_done_callback(partial(self._arrived, flight))
        if flight.abandoned:
            future.cancel()

    def _asked(self, source: Source, at_once: bool) -> Future[Result]:
        # where all may be given up from outside, what is in the background can be broken off
        alone = at_once and AMBIENT.get() is None
        future = self.at_once(source) if alone and self.at_once is not None else None
        return future or self.reader.submit(source)

    def _arrived(self, flight: Flight, future: Future[Result]) -> None:
        """In whichever thread it came."""
        flight.future = None
        error = future.exception()
        content: bytes | Blocks | None = None
        if error is None:
            result = future.result()
            if (result["etag"] or self.etag) != self.etag or result["size"] not in (None, self.size):
                error = self._changed()
            elif len(result["content"]) != flight.end - flight.start:
                error = IntegrityError(
                    f"asked for bytes [{flight.start}, {flight.end}), got {len(result['content'])}", path=self.path
                )
            else:
                content = result["content"]
        flight.land(content, error)
        if flight.ahead and self.kept is not None and content is not None:
            self._unsaved.append(flight)

    def _changed(self) -> PreconditionFailed:
        return PreconditionFailed("the object has changed since it was opened; open it again", path=self.path)

    # -- before it is wanted ----------------------------------------------------------------------------------

    def ahead(self, start: int, end: int, cut: int = 0) -> None:
        """Ask for bytes that will be wanted; nobody waits for them. Not so much that it would push out what is kept."""
        if self.whole_only:
            return
        end = min(end, self.size)
        if self.entry.on_their_way() + (end - start) > self.cache.max_bytes // 2:
            return
        self._save()
        self._claimed(start, end, end, 0, ahead=True, cut=cut)

    def prefetched(self, ranges: Iterable[tuple[int, int]]) -> Steps[int]:
        """Have these bytes, ``(offset, length)`` each, asked for together; how many were newly asked for."""
        wanted = [_checked(offset, length, self.size) for offset, length in ranges]
        wanted = [(start, end) for start, end in wanted if start < end]
        if self.whole_only:
            return 0
        gap = self.options.minimum_range_request_bytes
        numbered = [(start, end, number) for number, (start, end) in enumerate(wanted)]
        asked = 0
        pieces: deque[Held | Flight] = deque()
        failed: list[Flight] = []
        try:
            for fetch in coalesce(numbered, gap=gap, largest=_PART):
                asked += self._claimed_into(pieces, fetch.start, fetch.end)
            while pieces:
                piece = pieces[0]
                if isinstance(piece, Flight):
                    if not piece.landed.done():
                        yield piece.landed
                    if piece.error is not None:
                        failed.append(piece)
                self._leave(pieces.popleft())  # the cache decides how long its bytes stay
        finally:
            for piece in pieces:
                self._leave(piece)
        for flight in failed:
            if flight.error is not None:
                if not (yield from self._mended(flight, flight.error, 1)):
                    break
                yield from self._read(flight.start, flight.end, 0, None)
        return asked

    # -- without ranges ---------------------------------------------------------------------------------------

    def _downloaded(self, error: RangesUnsupported | None = None) -> Steps[Whole]:
        """All bytes, of which somebody has to bring each once; with ``error``, which says why, if that is wanted."""
        if error is not None and self.options.without_ranges == "refuse":
            raise error
        self.whole_only = True
        while True:
            whole, mine = self.entry.all_of_it(Whole)
            if mine:
                yield from self._download(whole)
            elif not whole.there.done():
                yield whole.there
            if whole.error is None:
                if self._opened and whole.size != self.size:  # where no ETag tells
                    raise self._changed()
                return whole
            if not whole.given_up:
                raise whole.error

    def _download(self, whole: Whole) -> Steps[None]:
        try:
            if_match = self.etag if self._compared else None
            source = {"path": self.path, "into": whole, "raw": self.options.raw, "if_match": if_match}
            try:
                result = yield from _result(self.reader.submit(source))
            except PreconditionFailed as error:
                if not (yield from self._refused_in_vain(error)):
                    raise
                result = yield from _result(self.reader.submit({**source, "if_match": None}))
            if not self._opened and self.etag is None:
                self.etag = result["etag"]  # the first answer told none, and a copy may have to bring it again
            elif self.etag is not None and result["etag"] not in (None, self.etag):
                raise self._changed()
        except BaseException as error:
            self.entry.all_failed(whole)
            whole.failed(error, given_up=not isinstance(error, Exception))
            raise
        whole.complete()


def _checked(offset: int, length: int, size: int) -> tuple[int, int]:
    offset, length = index(offset), index(length)
    if offset < 0 or length < 0:
        raise ValueError(f"prefetch: ({offset}, {length}): expected an offset and a length")
    return min(offset, size), min(offset + length, size)


def _given(content: bytes, into: memoryview | None) -> bytes:
    if into is None:
        return content
    into[: len(content)] = content
    return b""


def _result(future: Future[Result]) -> Steps[Result]:
    """What comes of a future; to be closed breaks it off."""
    try:
        yield future
    except BaseException:
        future.cancel()
        raise
    return future.result()


def wait_for(future: Future[Any]) -> None:
    """Wait as a thread does; what comes of it is not looked at."""
    future.exception()


class _Either(Future[None]):
    """Done once another one is, or all is given up."""

    def end(self, ended: object = None) -> None:
        """One of them has happened."""
        with suppress(InvalidStateError):  # both have
            self.set_result(None)


def _wait_or_give_up(future: Future[Any], stop: Cancellation, wait: Callable[[Future[Any]], None]) -> None:
    """The future may be others', too, and is left alone."""
    either = _Either()
    future.add_done_callback(either.end)
    stop.watch(either.end)
    try:
        wait(either)
    finally:
        stop.forget(either.end)
    if stop.cancelled:
        raise Cancelled(GIVEN_UP)


def drive(steps: Steps[T], wait: Callable[[Future[Any]], None] = wait_for) -> T:
    """Take all steps in this thread. To be interrupted, or given up, breaks off what only this one waits for."""
    stop = AMBIENT.get()
    try:
        future = next(steps)
        while True:
            if stop is None:
                wait(future)
            else:
                _wait_or_give_up(future, stop, wait)
            future = steps.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        steps.close()
