"""Writing: one object in one request, or a large one in parts; and removing one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ..backends.base import Control, StaleTicket, WriteSession
from ..content.codecs import compress_blocks, encoding_name
from ..content.sources import Foreign, LocalFile, blocks_of
from ..engine.outcomes import UNRESOLVED, Done, More, Unresolved
from ..engine.run import Run
from ..errors import ServerError, TransferError
from ..models import Body, Fetched, GetRequest, PutRequest, Session, Stored
from ..results import Result, failed, got, written
from .control import RunControl
from .task import FRESH_TICKETS, Context, Task, attempts_of
from .upload import SentPart, Upload

if TYPE_CHECKING:
    from ..content.spool import Spool

T = TypeVar("T")

# Bytes of an upload from which on it is worth a look for a core with more time; and where it is to be encoded first.
_HEAVY = 1024 * 1024
_LONG_ENCODING = 16 * 1024


class Put(Task[Result]):
    """One object in one request."""

    __slots__ = ("heavy", "request", "session", "weight")
    tells_bar = False  # of its bytes, as they move; else they are counted with its result

    def __init__(self, context: Context, session: WriteSession, index: int, name: str, request: PutRequest) -> None:
        super().__init__(context, index, name, request.path)
        self.session = session
        self.request = request
        self.weight = len(request.body) if isinstance(request.body, bytes | memoryview) else 0
        self.heavy = request.size >= _HEAVY and not context.backend.can.blocking

    @property
    def tags(self) -> object:
        return self.request.tags

    def work(self, run: Run) -> Done[Result]:
        request = self.request
        if isinstance(request.body, Foreign):
            stored = self._copied(run, request, request.body, 0, request.size, self._put)
        else:
            stored = self._put(run, request)
        self.arrived(run, stored.size)
        return self._done(request, stored)

    def _done(self, request: PutRequest, stored: Stored) -> Done[Result]:
        compress = encoding_name(request.content_encoding)
        return Done(((self.index, written(self.name, request, stored, self.attempts, compress)),))

    def _put(self, run: Run, request: PutRequest) -> Stored:
        return self.attempt(run, partial(self.session.put, request, self.ticket))

    def _copied(
        self,
        run: Run,
        request: PutRequest,
        body: Foreign,
        start: int,
        size: int,
        send: Callable[[Run, PutRequest], T],
    ) -> T:
        """Send a copy of some bytes of a user's own file, which is read in the caller's thread."""
        spool = run.ask(partial(body.copy, start, size))
        try:
            return send(run, replace(request, body=spool))
        finally:
            spool.close()

    def give_up(self, error: Exception) -> Done[Result]:
        return Done(((self.index, failed(self.name, self.request, error, attempts_of(error))),))


class PutEncoded(Put):
    """One object that is in memory, encoded there by the worker that sends it."""

    __slots__ = ("encoded",)

    def __init__(self, context: Context, session: WriteSession, index: int, name: str, request: PutRequest) -> None:
        super().__init__(context, session, index, name, request)
        self.encoded: PutRequest | None = None  # also of the turn before, if a URL has expired since
        self.heavy = request.size >= _LONG_ENCODING and not context.backend.can.blocking

    def work(self, run: Run) -> Done[Result]:
        request = self.request
        if self.encoded is None:
            codec, level = request.compress, request.compression_level
            body = b"".join(compress_blocks(blocks_of(request.body), codec, level))
            self.encoded = replace(request, body=body, content_encoding=codec, compress=None)
        stored = self._put(run, self.encoded)
        self.arrived(run, stored.size)
        done = self._done(self.encoded, stored)
        self.encoded = None
        return done

    def give_up(self, error: Exception) -> Done[Result]:
        self.encoded = None
        return super().give_up(error)


def encoded_copy(body: Body, codec: str | None, level: int | None) -> Spool:
    """A copy of what a body has, encoded."""
    from ..content.spool import Spool

    spool = Spool()
    try:
        for block in compress_blocks(blocks_of(body), codec, level):
            spool.write(block)
        if isinstance(body, LocalFile):
            body.check()
    except BaseException:
        spool.close()
        raise
    return spool


class PutInParts(Put):
    """One large object; each turn sends one part of it, and whoever ends the last one has the result."""

    __slots__ = ("upload",)
    tells_bar = True

    def __init__(
        self,
        context: Context,
        session: WriteSession,
        index: int,
        name: str,
        request: PutRequest,
        part_size: int | None,
    ) -> None:
        super().__init__(context, session, index, name, request)
        self.upload = Upload(request, width=context.width, part_size=part_size)
        self.heavy = True
        self.unresolved = False  # it is begun when a worker is ready for it: its URLs expire

    def resolve(self, control: Control) -> bool:
        """Begin the multipart upload, if that has not been done; called by one at a time."""
        upload = self.upload
        if upload.session is not None or isinstance(self.ticket, Exception):
            return True
        try:
            session = self._open(control)
        except TransferError as error:
            self.ticket = error
        else:
            self.ticket = session
            upload.open(session)
        return True

    def _open(self, control: Control) -> Session:
        upload = self.upload
        return self.session.open_parts(upload.request, upload.count, upload.lifetime, control)

    def _close(self, session: Session, run: Run) -> Stored:
        """Make one object of the parts, all of which are there."""
        upload = self.upload
        digests = [upload.digests[number] for number in range(upload.count)]
        return self.session.close_parts(upload.request, session, digests, RunControl(self.context.policy, run))

    def turn(self, run: Run) -> Done[Result] | More | Unresolved:
        """Send one part."""
        upload = self.upload
        if isinstance(self.ticket, Exception):
            upload.error = self.ticket
            return self._finish(run) if upload.drop(give_up=True) else More(0)
        if self.ticket is None:
            if self.context.observer is not None:
                self.observe_start(run)
            return UNRESOLVED
        part = upload.claim()
        if part is None:
            return self._finish(run) if upload.drop() else More(0)
        return self._send(run, part)

    def _send(self, run: Run, part: SentPart) -> Done[Result] | More | Unresolved:
        upload = self.upload
        before = len(upload.digests)
        again = False
        try:
            stored = self._send_part(run, part)
        except StaleTicket as stale:
            denied = self.went_stale(stale, part.session)
            if denied is None:
                self._expired(run, part.session)
                upload.release(part, keep_turn=True)
                return UNRESOLVED
            upload.error = upload.error or denied
        except Exception as error:  # noqa: BLE001 -- this item's, and reported with it
            upload.attempts += attempts_of(error)
            # while other parts get through, the network is worth another round of patience
            again = getattr(error, "retryable", False) and len(upload.digests) > before
            if not again:
                upload.error = upload.error or error
        else:
            self.stale = 0
            if size := upload.sent(part, stored):
                self.moved(run, size)
        wanted = upload.release(part, again=again, give_up=upload.error is not None)
        return self._finish(run) if wanted is None else More(wanted)

    def _send_part(self, run: Run, part: SentPart) -> Stored:
        upload = self.upload
        body = self.request.body

        def send(run: Run, request: PutRequest) -> Stored:
            stored, attempts = self.attempt_counted(
                run, partial(self.session.put_part, request, part.session, part.number)
            )
            upload.attempts += attempts
            return stored

        if isinstance(body, Foreign):
            start, size = upload.place(part)
            return self._copied(run, self.request, body, start, size, send)
        return send(run, self._part_request(part))

    def _part_request(self, part: SentPart) -> PutRequest:
        """What is sent of a part that is not the user's own file's."""
        return self.upload.body(part)

    def _expired(self, run: Run, session: Session) -> None:
        """All parts are to be sent again: whoever watches counts them again, too."""
        if lost := self.upload.expired(session):
            self.moved(run, -lost)

    def _finish(self, run: Run) -> Done[Result] | More | Unresolved:
        """All parts are there, or one cannot be sent."""
        upload = self.upload
        session = upload.session
        if upload.error is None and session is not None:
            try:
                if isinstance(upload.request.body, LocalFile):
                    upload.request.body.check()
                stored = self._close(session, run)
                self.attempts = upload.attempts
                return self.end(run, self._done(self.request, stored))
            except StaleTicket as error:
                self.stale += 1
                self._expired(run, session)
                if self.stale <= FRESH_TICKETS:
                    upload.reopen()
                    return UNRESOLVED
                upload.error = ServerError(f"the upload is lost each time: {error.args[0]}", status=error.status)
            except Exception as error:  # noqa: BLE001 -- this item's, and reported with it
                upload.error = error
        reason = upload.error or ServerError("the upload was given up")
        return self.end(run, Done(((self.index, failed(self.name, self.request, reason, upload.attempts)),)), reason)


class Remove(Task[Result]):
    """The removal of one object."""

    __slots__ = ("request", "session")

    def __init__(self, context: Context, session: WriteSession, index: int, name: str, path: str) -> None:
        super().__init__(context, index, name, path)
        self.session = session
        self.request = GetRequest(path)
        self.unresolved = context.backend.can.deletes_many

    def work(self, run: Run) -> Done[Result]:
        self.attempt(run, partial(self.session.delete, self.path))
        return Done(((self.index, got(self.name, self.request, Fetched(b""), None, self.attempts)),))

    def give_up(self, error: Exception) -> Done[Result]:
        return Done(((self.index, failed(self.name, self.request, error, attempts_of(error))),))
