"""Copying: objects from one backend to another (or the same one), as they are stored; moving is copying and removing.

Each object is one task in the target's batch of writes: a worker reads it from the source and writes it to the
target, or has the store copy it where that can. In memory are at most a few MiB of each; what is larger lies in a
temporary file on its way, or goes in parts, each read from its place and all of one version. Nothing is decoded.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import IO, TypeVar, cast

from ..backends.base import Backend, CannotCopy, StaleTicket, Ticket, WriteSession
from ..backends.metadata import Metadata, check_metadata, metadata_of
from ..content.digests import EtagCheck, check_md5, digest_in, etag_of_parts, is_strong
from ..content.sinks import PieceSink
from ..content.spool import SPOOLED, Spool
from ..engine.outcomes import UNRESOLVED, Done, More, Unresolved
from ..engine.run import Run
from ..errors import (
    AccessDenied,
    IntegrityError,
    InvalidRequest,
    PreconditionFailed,
)
from ..models import GENERIC, Body, GetRequest, ObjectInfo, PutRequest, Stored
from ..plan.parts import MIB
from ..results import Result, failed, written
from ..retry import RetryPolicy
from .control import RunControl
from .put import PutInParts
from .task import FRESH_TICKETS, Context, Task, attempts_of
from .upload import SentPart

T = TypeVar("T")

# What is larger and does not go in parts is read in pieces of so many bytes, so that a broken connection costs one.
_PIECE = 32 * MIB
# Bytes of an object from which on it is read in pieces or parts.
_LARGE = 64 * MIB


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object to copy. ``path`` and ``target`` are names without prefixes; the rest is what is known of it, and what
    it must still be when it is read."""

    path: str
    target: str
    size: int | None = None
    etag: str | None = None
    tags: object = None
    compared: str | None = None


@dataclass(slots=True)
class Origin:
    """What was read of one object."""

    info: ObjectInfo
    read: str | None
    how: str = "through"


@dataclass(slots=True)
class Job:
    """What the tasks of one call share."""

    source: Backend
    target: Backend
    in_parts: Callable[[PutRequest], bool]
    """Whether the target wants an upload in parts."""
    part_size: int | None
    server_side: bool
    patience: RetryPolicy
    """How long the source is tried; the target is within the policy of the call."""
    origins: dict[int, Origin] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)  # what the target does not keep, and some object had


class _Large(Exception):
    """The object is too large to come in one piece."""

    def __init__(self, info: ObjectInfo) -> None:
        self.info = info


class _Arrival:
    """Keeps what one attempt brings, all of an object, after ``check`` has looked at what it is."""

    def __init__(self, check: Callable[[ObjectInfo], None]) -> None:
        self._check = check
        self._blocks: list[bytes] = []
        self._spool: Spool | None = None  # what is too much for memory
        self.size = 0
        self.info = ObjectInfo("")

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """An attempt begins to bring bytes."""
        self._check(info)
        self.info = info

    def write(self, block: bytes) -> None:
        """The next bytes."""
        self.size += len(block)
        if self._spool is not None:
            self._spool.write(block)
            return
        self._blocks.append(block)
        if self.size > SPOOLED:
            self._spool = Spool()
            for one in self._blocks:
                self._spool.write(one)
            self._blocks = []

    def end(self) -> bytes | Spool:
        """What has arrived."""
        if self._spool is not None:
            return self._spool
        return self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)

    def close(self) -> None:
        """Let go of it."""
        if self._spool is not None:
            self._spool.close()


def _header(info: ObjectInfo) -> Callable[[str], str | None]:
    return info.headers.get if info.headers else {"etag": info.etag or ""}.get


def _verify(backend: Backend, info: ObjectInfo, body: bytes | Spool) -> str:
    """What the bytes that were read have been compared with; raises ``IntegrityError``."""
    digest, parts = digest_in(_header(info)) if backend.can.s3_etags else (None, 0)
    if isinstance(body, bytes) and not parts:
        return check_md5(body, digest)
    size = len(body) if isinstance(body, bytes) else body.size
    read = partial(_blocks, body)
    check = EtagCheck(digest, parts, size)
    while check.advance(lambda start: size, read):
        continue
    return check.verdict(read)


class Copy(Task[Result]):
    """One object on its way from the source to the target; a large one goes in parts, which several workers carry."""

    __slots__ = (
        "_body",
        "_failures",
        "_info",
        "_passes",
        "_read",
        "heavy",
        "inner",
        "job",
        "session",
        "source_path",
        "source_stale",
        "source_ticket",
        "wanted",
    )

    def __init__(
        self, context: Context, job: Job, session: WriteSession, index: int, wanted: Wanted, source: str, target: str
    ) -> None:
        super().__init__(context, index, wanted.target, target)
        self.job = job
        self.session = session
        self.wanted = wanted
        self.source_path = source
        self.source_ticket: Ticket = None
        self.source_stale = 0
        self.inner: CopyInParts | None = None
        self.heavy = (wanted.size or 0) >= MIB
        self.unresolved = job.source.can.batched or job.target.can.batched
        self._body: bytes | Spool | None = None
        self._info = ObjectInfo(source)
        self._read: str | None = None
        self._passes = False  # the store cannot copy it by itself
        self._failures = 0  # how many attempts to read it have failed

    @property
    def tags(self) -> object:
        return self.wanted.tags

    def turn(self, run: Run) -> Done[Result] | More | Unresolved:
        """Copy it, or one part of it."""
        if self.inner is not None:
            return self.inner.turn(run)
        ticket = self.ticket
        try:
            for had in (self.source_ticket, ticket):
                if isinstance(had, Exception):
                    raise had
            self.observe_start(run)
            outcome = self._work(run)
            return self._ended(run, outcome) if isinstance(outcome, Done) else outcome
        except StaleTicket as error:
            denied = self.went_stale(error, ticket)
            self.ticket = None
            return UNRESOLVED if denied is None else self._ended(run, self.give_up(denied), denied)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is this item's, and is reported with it
            return self._ended(run, self.give_up(error), error)

    def _ended(self, run: Run, done: Done[Result], error: Exception | None = None) -> Done[Result]:
        if isinstance(self._body, Spool):
            self._body.close()
        self._body = None
        return self.end(run, done, error)

    def give_up(self, error: Exception) -> Done[Result]:
        request = GetRequest(self.source_path, tags=self.tags)
        return Done(((self.index, failed(self.name, request, error, attempts_of(error))),))

    def _work(self, run: Run) -> Done[Result] | More | Unresolved:
        if self.job.server_side and not self._passes:
            try:
                return self._have_copied(run)
            except CannotCopy:
                self._passes = True
        if self._body is None and not self._fetch(run):
            return UNRESOLVED
        if self.inner is not None:
            return self.inner.turn(run)
        body = self._body
        request = self._request(self._info, b"" if body is None else body)
        stored = self.attempt(run, partial(self.session.put, request, self.ticket))
        self.arrived(run, stored.size)
        return self._done(request, stored, self._read)

    def _have_copied(self, run: Run) -> Done[Result]:
        job, wanted = self.job, self.wanted
        request = GetRequest(self.source_path, tags=wanted.tags, pinned=wanted.etag)
        control = RunControl(self.context.policy, run, [self])
        stored = self.attempt(run, partial(job.target.copy, job.source, request, self.path, control))
        self.arrived(run, stored.size)
        # the etag of a copy may be another one; which version it is of, the pinned one says
        info = ObjectInfo(self.source_path, stored.size, wanted.etag)
        job.origins[self.index] = Origin(info, stored.verified, "server")
        put = PutRequest(self.path, b"", tags=wanted.tags)
        return Done(((self.index, written(self.name, put, stored, self.attempts)),))

    def _done(self, request: PutRequest, stored: Stored, read: str | None) -> Done[Result]:
        self.job.origins[self.index] = Origin(self._info, read)
        return Done(((self.index, written(self.name, request, stored, self.attempts + self._failures)),))

    # -- the source -------------------------------------------------------------------------------------------

    def from_source(self, run: Run, fetch: Callable[[Ticket], T]) -> T | Unresolved:
        """The value of ``fetch``; ``UNRESOLVED`` if the source's name has to be resolved anew."""
        ticket = self.source_ticket
        if isinstance(ticket, Exception):
            raise ticket
        if ticket is None and self.job.source.can.batched:
            return UNRESOLVED
        try:
            value, attempts = self.attempt_counted(run, partial(fetch, ticket), self.job.patience)
        except StaleTicket as error:
            if self.source_ticket is ticket:  # else another worker's part has met with the same refusal
                self.source_ticket = None
                self.source_stale += 1
            if self.source_stale <= FRESH_TICKETS:
                return UNRESOLVED
            raise AccessDenied(str(error.args[0]), path=self.wanted.path, status=error.status) from None
        self.source_stale = 0
        self._failures += attempts - 1
        return value

    def _fetch(self, run: Run) -> bool:
        """Read the object, or begin to copy it in parts; False if its name has to be resolved anew."""
        try:
            found = self.from_source(run, self._whole)
        except _Large as large:
            return self._fetch_large(run, large.info)
        if found is UNRESOLVED:
            return False
        self._info, self._read, self._body = found
        return True

    def _whole(self, ticket: Ticket) -> tuple[ObjectInfo, str | None, bytes | Spool]:
        """The object, in one piece: one attempt."""
        arrival = _Arrival(self._check)
        try:
            fetched = self.job.source.get(GetRequest(self.source_path, pinned=self.wanted.etag), ticket, arrival)
            info, body = arrival.info, arrival.end()
            if info.size is not None and info.size != arrival.size:
                raise IntegrityError(f"expected {info.size} bytes, got {arrival.size}", path=self.wanted.path)
            verified = _verify(self.job.source, info, body)
        except BaseException:
            arrival.close()
            raise
        # where the server has not said how many there are, not even that is known
        return info, None if fetched.verified is None and verified == "length" else verified, body

    def _check(self, info: ObjectInfo) -> None:
        """Raise unless this is what was to be copied, and the target can keep what must not be lost."""
        known = self.wanted.size
        if known is not None and info.size is not None and info.size != known:
            raise PreconditionFailed(
                f"the object has changed: it has {info.size} bytes, and had {known} when it was listed",
                path=self.wanted.path,
            )
        request = self._request(info, _Elsewhere(info.size or 0))
        if is_strong(info.etag) and (request.size > _LARGE or self.job.in_parts(request)):
            raise _Large(info)

    def _described(self, info: ObjectInfo) -> dict[str, str]:
        """What the target is to be told of the object."""
        described = {
            "content_type": info.content_type,
            "cache_control": info.headers.get("cache-control"),
            "content_encoding": info.headers.get("content-encoding"),
        }
        given = {name: value for name, value in described.items() if value}
        keeps = self.job.target.can.keeps
        if "content_encoding" in given and "content_encoding" not in keeps:
            raise InvalidRequest(
                f"it is stored with the content encoding {given['content_encoding']!r}, which the target cannot keep: "
                "nothing would say how to read it there",
                path=self.wanted.path,
            )
        for name in given.keys() - keeps:
            if given.pop(name) not in GENERIC:
                self.job.lost.add(name)
        return given

    def _metadata(self, info: ObjectInfo) -> Metadata:
        """What of the user's own metadata the target is to be told: all of it, or nothing."""
        can = self.job.target.can
        try:
            metadata = metadata_of(info.metadata)
            check_metadata(metadata, can)
        except ValueError:
            self.job.lost.add("metadata")
            return ()
        return metadata

    def _request(self, info: ObjectInfo, body: bytes | Spool | _Elsewhere) -> PutRequest:
        """What stores the object with as much of what it had as the target keeps."""
        given = self._described(info)
        metadata = self._metadata(info) if info.headers else ()
        request = PutRequest(
            self.path,
            body,
            given.get("content_type"),
            given.get("cache_control"),
            given.get("content_encoding"),
            tags=self.tags,
            metadata=metadata,
        )
        if not given:
            return request
        bare = PutRequest(self.path, body, tags=self.tags, metadata=metadata)
        if given.get("content_type") in GENERIC and len(given) == 1 and self.job.in_parts(bare):
            return bare  # a type that says nothing is not worth a large object in one piece
        can = self.job.target.can
        largest = None if can.described_parts else can.largest_put
        if largest is not None and request.size > largest:
            if "content_encoding" in given:
                raise InvalidRequest(
                    f"{request.size} bytes go in parts, which cannot carry the content encoding that it is stored with",
                    path=self.wanted.path,
                )
            self.job.lost.update(given)
            return bare
        return request

    def _fetch_large(self, run: Run, info: ObjectInfo) -> bool:
        self._info = info
        size = cast(int, info.size)
        request = self._request(info, _Elsewhere(size))
        if self.job.in_parts(request):
            self.inner = CopyInParts(self, request, self.job.part_size)
            self.inner.flight = self.flight
            self.heavy = True
            return True
        spool = Spool()
        with ExitStack() as undo:
            undo.callback(spool.close)
            while spool.size < size:
                start = spool.size
                piece = self.from_source(run, partial(self.piece, start=start, end=min(start + _PIECE, size)))
                if piece is UNRESOLVED:
                    return False  # and from the beginning: a rare case, in which a URL expires within one object
                with piece:
                    for block in piece.blocks():
                        spool.write(block)
            self._read = _verify(self.job.source, info, spool)
            undo.pop_all()
        self._body = spool
        return True

    def piece(self, ticket: Ticket, start: int, end: int) -> _Piece:
        """Bytes of the version that the first answer was of: one attempt."""
        request = GetRequest(self.source_path, start, end, pinned=self._info.etag, raw=True)
        sink = PieceSink(request, end)
        try:
            piece = sink.end(self.job.source.get(request, ticket, sink))
            if piece.info.etag != self._info.etag:
                raise PreconditionFailed("the object has changed while it was copied", path=self.wanted.path)
            return _Piece(piece.spool)
        except BaseException:
            sink.close()
            raise

    def ended_in_parts(self, request: PutRequest, digests: Sequence[str]) -> None:
        """All parts are stored: note what the object was."""
        digest, parts = digest_in(_header(self._info))
        same = parts == len(digests) and f"{digest}-{parts}" == etag_of_parts(digests)
        read = "etag-parts" if same and self.job.source.can.s3_etags else "length"
        self.job.origins[self.index] = Origin(self._info, read)


class _Piece:
    """Some bytes of the source, as a body that is closed when it has been sent."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.blocks = spool.blocks

    def __enter__(self) -> _Piece:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.spool.close()


def _blocks(body: bytes | Spool, start: int, end: int) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield body[start:end]
        return
    while start < end and (block := body.read_at(start, min(MIB, end - start))):
        yield block
        start += len(block)


class _Elsewhere(Body):
    """The body of an object at the source, which is read part by part (``CopyInParts``) and never as a whole."""

    def __init__(self, size: int) -> None:
        self.size = size

    def open(self) -> IO[bytes]:
        """Refused."""
        raise io.UnsupportedOperation("an object of another store is read part by part")


class CopyInParts(PutInParts):
    """One large object; each turn reads one part of it from the source and sends it."""

    __slots__ = ("_copy", "_parts")

    def __init__(self, copy: Copy, request: PutRequest, part_size: int | None) -> None:
        super().__init__(copy.context, copy.session, copy.index, copy.name, request, part_size)
        self._copy = copy
        self._parts: dict[SentPart, Spool] = {}  # what has been read and is being sent

    def _send(self, run: Run, part: SentPart) -> Done[Result] | More | Unresolved:
        upload = self.upload
        start, size = upload.place(part)
        try:
            read = self._copy.from_source(run, partial(self._copy.piece, start=start, end=start + size))
        except Exception as error:  # noqa: BLE001 -- this item's, and reported with it
            upload.attempts += attempts_of(error)
            upload.error = upload.error or error
            wanted = upload.release(part, give_up=True)
            return self._finish(run) if wanted is None else More(wanted)
        if read is UNRESOLVED:
            upload.release(part, again=True, keep_turn=True)
            return UNRESOLVED
        with read:
            self._parts[part] = read.spool
            try:
                return super()._send(run, part)
            finally:
                del self._parts[part]

    def observe_start(self, run: Run) -> None:
        """Told already, when the object was looked at."""

    def _part_request(self, part: SentPart) -> PutRequest:
        return replace(self.request, body=self._parts[part])

    def _finish(self, run: Run) -> Done[Result] | More | Unresolved:
        outcome = super()._finish(run)
        if isinstance(outcome, Done) and outcome.results[0][1]["error"] is None:
            digests = [self.upload.digests[number] for number in range(self.upload.count)]
            self._copy.ended_in_parts(self.request, digests)
        return outcome
