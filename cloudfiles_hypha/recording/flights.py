"""What is noted of each item while it is on its way: times, attempts, hosts; packed into rows when its result is there.

Knows results, and neither tasks nor transports: these call what is here, where somebody records. No names of servers'
making, no queries of URLs and no headers are kept.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from heapq import heappop, heappush
from struct import Struct
from threading import Lock
from time import perf_counter
from typing import Final, NamedTuple, Protocol, TypeVar

from ..errors import TransferError

now = perf_counter
UNKNOWN: Final = -1.0
"""In the place of a time that is not known."""
MOST: Final = 1_000_000
"""Rows that one log keeps; of further items it keeps nothing but their number."""
_ROW = Struct("<d6fqHHHB")
_LAST = 0xFFFF  # of a table's numbers and of counts: what has none of its own
_MOST_CALLS = 10_000
# Items that have ended and are kept as they are, until they are packed together.
_PACKED = 16_384


class Row(NamedTuple):
    """One item's flight. Times are seconds since the recording began, or ``UNKNOWN`` (-1)."""

    path: str
    queued: float
    signed: float
    start: float
    first_byte: float
    end: float
    waited: float
    """Seconds between attempts, and of a pause that a server has asked for."""
    served: float
    """Seconds that its requests took, as the transport tells (libcurl does): of large files those of all parts."""
    bytes: int
    attempts: int
    worker: int
    """Which of the transfers at the same time it was: the lowest number that was free, from 0."""
    error: str
    """The kind of error it ended with, or ""."""
    host: str
    verified: str


class Span(NamedTuple):
    """A time in which names were resolved (URLs signed): from, to, how many names."""

    start: float
    end: float
    names: int


class Table:
    """Short texts by number; those beyond its room share the last number. 0 is ""."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = [""]
        self._numbers = {"": 0}
        for text in texts:
            self.number(text)

    def number(self, text: str) -> int:
        """That of ``text``."""
        found = self._numbers.get(text)
        if found is None:
            if len(self.texts) >= 255:
                return self.number("others") if "others" in self._numbers else self._add("others")
            found = self._add(text)
        return found

    def _add(self, text: str) -> int:
        self._numbers[text] = number = len(self.texts)
        self.texts.append(text)
        return number


class Log:
    """Rows of one recording: 47 bytes for each, and its name. Thread-safe.

    ``began`` is a time since 1970, from which its rows count; the clock itself is monotonic. What has ended is packed
    a few thousand at a time, and what workers tell is only kept until then.
    """

    def __init__(self, most: int = MOST) -> None:
        self.began = time.time()
        self.origin = now()
        self.most = most
        self.paths: list[str] = []
        self.rows = bytearray()
        self.left_out = 0
        self.hosts, self.errors, self.checks = Table(), Table(), Table()
        self.signings: list[Span] = []
        self.refused = 0
        self.failures = 0
        self.cpu = 0.0  # of all threads of this process, while calls were under way
        self.busy = 0.0  # how long any call was; of several processes, added up
        self.processes = 1
        self.open = True
        self._calls = 0
        self._since = (0.0, 0.0)
        self._lock = Lock()  # guards all of the above
        self.ended: deque[Flight] = deque()
        """What is still to be packed: appended to by anybody while this is ``open``, taken from with the lock."""

    # -- told by calls ------------------------------------------------------------------------------------------

    def call_began(self) -> None:
        """A call that is recorded begins."""
        with self._lock:
            if not self._calls:
                self._since = (now(), time.process_time())
            self._calls += 1

    def call_ended(self) -> None:
        """It has ended."""
        with self._lock:
            self._calls -= 1
            if not self._calls:
                wall, cpu = self._since
                self.busy += now() - wall
                self.cpu += time.process_time() - cpu

    def measured(self) -> tuple[float, float]:
        """Busy seconds and those of the CPU, with what is under way."""
        with self._lock:
            busy, cpu = self.busy, self.cpu
            if self._calls:
                busy += now() - self._since[0]
                cpu += time.process_time() - self._since[1]
        return busy, cpu

    def resolved(self, start: float, count: int) -> None:
        """So many names have been resolved since ``start``."""
        if self.open and len(self.signings) < _MOST_CALLS:
            self.signings.append(Span(start - self.origin, now() - self.origin, count))

    def failed(self, error: TransferError) -> None:
        """An attempt has failed, and another follows."""
        with self._lock:
            self.failures += 1
            self.refused += error.status in (429, 503)

    def close(self) -> None:
        """Nothing more is taken."""
        self.open = False

    # -- rows ---------------------------------------------------------------------------------------------------

    def pack(self) -> None:
        """Make rows of what has ended."""
        origin, ended = self.origin, self.ended
        place = host = ""  # most items in a row are of one server
        with self._lock:
            while ended:
                flight = ended.popleft()
                queued, url = flight.queued, flight.url
                signed, start, first, end = flight.signed, flight.start, flight.first, flight.end
                if url is not None and not (place and url.startswith(place)):
                    host = host_of(url)
                    place = url[: url.index("/", 8) + 1] if url.count("/") > 2 else ""
                self._add(
                    flight.path,
                    queued - origin,
                    signed - queued if signed else UNKNOWN,
                    start - queued if start else UNKNOWN,
                    first - queued if first else UNKNOWN,
                    end - queued if end else UNKNOWN,
                    flight.waited,
                    flight.served,
                    flight.bytes,
                    flight.attempts,
                    flight.error,
                    "" if url is None else host,
                    flight.verified,
                )

    def add(self, row: Row) -> None:
        """Keep a row of another log."""
        times = (row.signed, row.start, row.first_byte, row.end)
        signed, start, first, end = (UNKNOWN if at < 0 else at - row.queued for at in times)
        with self._lock:
            self._add(
                row.path,
                row.queued,
                signed,
                start,
                first,
                end,
                row.waited,
                row.served,
                row.bytes,
                row.attempts,
                row.error,
                row.host,
                row.verified,
            )

    def _add(
        self,
        path: str,
        queued: float,
        signed: float,
        start: float,
        first: float,
        end: float,
        waited: float,
        served: float,
        size: int,
        attempts: int,
        error: str,
        host: str,
        verified: str | None,
    ) -> None:
        if len(self.paths) >= self.most:
            self.left_out += 1
            return
        self.rows += _ROW.pack(
            queued,
            signed,
            start,
            first,
            end,
            waited,
            served,
            size,
            attempts if attempts < _LAST else _LAST,
            self.errors.number(error) if error else 0,
            self.hosts.number(host) if host else 0,
            self.checks.number(verified) if verified else 0,
        )
        # a query may be a signature
        self.paths.append(path if "?" not in path else path.partition("?")[0] + "?")

    def __len__(self) -> int:
        self.pack()
        return len(self.paths)

    def __iter__(self) -> Iterator[Row]:
        self.pack()
        with self._lock:
            rows, paths = bytes(self.rows), self.paths[:]
        workers = _workers(rows)
        hosts, errors, checks = self.hosts.texts, self.errors.texts, self.checks.texts
        for path, worker, values in zip(paths, workers, _ROW.iter_unpack(rows), strict=True):
            queued, signed, start, first, end, waited, served, size, attempts, error, host, verified = values
            yield Row(
                path,
                queued,
                queued + signed if signed >= 0 else UNKNOWN,
                queued + start if start >= 0 else UNKNOWN,
                queued + first if first >= 0 else UNKNOWN,
                queued + end if end >= 0 else UNKNOWN,
                waited,
                served,
                size,
                attempts,
                worker,
                errors[error],
                hosts[host],
                checks[verified],
            )


def _workers(rows: bytes) -> list[int]:
    """For each row the lowest number that none of those has which were under way as it began."""
    spans = [
        (queued + start, queued + end) if start >= 0 else None
        for queued, _, start, _, end, *_ in _ROW.iter_unpack(rows)
    ]
    found = [0] * len(spans)
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    taken: dict[tuple[float, float], int] = {}  # items that came with one request have one worker
    for span, index in sorted((span, index) for index, span in enumerate(spans) if span is not None):
        known = taken.get(span)
        if known is not None:
            found[index] = known
            continue
        while busy and busy[0][0] <= span[0]:
            heappush(free, heappop(busy)[1])
        found[index] = taken[span] = heappop(free) if free else len(busy)
        heappush(busy, (span[1], found[index]))
    return found


class Flight:
    """One item on its way. Used by the workers that are at it, one after the other or together.

    It is kept as it is when it has landed, until its log packs it. ``queued`` makes it: to set slots there costs less
    than an ``__init__``.
    """

    __slots__ = (
        "asked",
        "attempts",
        "bytes",
        "complaint",
        "end",
        "error",
        "failed_at",
        "first",
        "logs",
        "path",
        "queued",
        "served",
        "signed",
        "start",
        "url",
        "verified",
        "waited",
    )

    logs: tuple[Log, ...]  # none once it has landed
    queued: float
    signed: float  # this and the other times: 0 while they are not known
    start: float
    asked: float
    first: float
    end: float
    failed_at: float
    waited: float
    served: float
    url: str | None  # never kept beyond ``Log.pack``
    complaint: Callable[[TransferError], None] | None  # none once it has landed: it may keep a whole run
    path: str  # from here on: set when it lands
    bytes: int
    attempts: int
    error: str
    verified: str | None

    def begin(self, complaint: Callable[[TransferError], None]) -> Callable[[TransferError], None]:
        """A worker is about to make an attempt; what it asks a server for is this item's.

        Gives what is to be told of attempts that fail and are followed by others, in the place of ``complaint``.
        """
        at = self.asked = now()
        if not self.start:
            self.start = at
        CURRENT.set(self)
        self.complaint = complaint
        return self.failed

    def answered(self, url: str) -> None:
        """The first byte of an answer comes from ``url`` just now."""
        if self.url is None and self.logs:
            self.first = now()
            self.url = url

    def served_in(self, url: str, after: float, total: float) -> None:
        """An answer has come from ``url``, its first byte ``after`` so many seconds of a ``total``."""
        if self.logs:  # else it has landed, and its worker asks for something else
            self.served += total
            if self.url is None:
                self.first = self.asked + after
                self.url = url

    def failed(self, error: TransferError) -> None:
        """An attempt has failed, and another follows."""
        complaint = self.complaint  # which goes as it lands
        if complaint is not None:
            complaint(error)
        self.failed_at = now()
        for log in self.logs:
            log.failed(error)

    def goes_on(self) -> None:
        """The next attempt is made now."""
        if self.failed_at:
            at = self.asked = now()
            self.waited += at - self.failed_at
            self.failed_at = 0.0

    def landed(self, results: Sequence[tuple[int, object]]) -> None:
        """Its results are there: of several items, if they came with one request."""
        if not self.end:
            self.end = now()
        logs, self.logs, self.complaint = self.logs, (), None
        flight: Flight | None = self
        for _, result in results:
            if isinstance(result, dict):
                if flight is None:
                    flight = self._twin()
                flight.path = result["path"]
                flight.attempts = result["attempts"]
                flight.verified = result["verified"]
                error = result["error"]
                if error is None:
                    content = result.get("content")
                    flight.bytes = len(content) if type(content) is bytes else _moved(result)
                    flight.error = ""
                else:
                    flight.bytes = 0
                    flight.error = type(error).__name__
                for log in logs:
                    if log.open:  # and no call of a method: this is done for every item
                        ended = log.ended
                        ended.append(flight)
                        if len(ended) >= _PACKED:
                            log.pack()
                flight = None

    def _twin(self) -> Flight:
        """That of another item that came with the same request."""
        twin = Flight()
        for name in ("queued", "signed", "start", "first", "end", "waited", "served", "url"):
            setattr(twin, name, getattr(self, name))
        return twin


def host_of(url: str) -> str:
    """The host and port of a URL."""
    return url.split("/", 3)[2].rpartition("@")[2]


def _moved(result: Mapping[str, object]) -> int:
    """Bytes that were read or written for a result."""
    content = result.get("content")
    if isinstance(content, bytes):
        return len(content)
    size = result["size"]
    if isinstance(content, memoryview):
        return len(content)
    if result.get("skipped") or not isinstance(size, int) or hasattr(content, "headers"):  # what is known of an object
        return 0
    asked = result.get("byte_range")
    if isinstance(asked, tuple) and asked[1] is not None:
        return min(size, int(asked[1])) - int(asked[0] or 0)
    return size


CURRENT: ContextVar[Flight | None] = ContextVar("cloudfiles_hypha_flight", default=None)
"""The item that this thread or greenlet was at last, if that is recorded; it may have ended since."""
LOGS: ContextVar[tuple[Log, ...]] = ContextVar("cloudfiles_hypha_logs", default=())
"""Who records the calls that are made here."""


class Recorded(Protocol):
    """What can be recorded."""

    flight: Flight | None


T = TypeVar("T", bound=Recorded)


def queued(tasks: Iterable[T], logs: tuple[Log, ...]) -> Iterator[T]:
    """The tasks, each with a flight that begins as it is taken."""
    for task in tasks:
        task.flight = flight = Flight()
        flight.logs = logs
        flight.url = None
        flight.signed = flight.start = flight.first = flight.end = flight.failed_at = 0.0
        flight.waited = flight.served = 0.0
        flight.queued = now()
        yield task
