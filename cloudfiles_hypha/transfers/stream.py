"""Writing what has no size before it has been read: a user's blocks, a pipe, or what is encoded on its way.

It is read while it is sent, in the caller's thread where it is the user's. What turns out to be small is stored at
once; the rest goes in parts that grow (``plan.parts.growing_part_size``), each kept until the store has it, and no more
of them than workers are at. Where a store can do neither, it is gathered first. Nothing of it can be read again, so
what is lost is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from ..backends.base import Control, StaleTicket, WriteSession
from ..content.codecs import compress_blocks
from ..content.flow import Flow
from ..content.sources import Foreign, LocalFile, Stream, blocks_of
from ..content.spool import SPOOLED, Spool
from ..engine.outcomes import UNRESOLVED, Done, More, Unresolved
from ..engine.run import Run
from ..errors import TransferError
from ..models import Body, PutRequest, Session, Stored
from ..results import Result
from .put import Put, PutInParts
from .task import Context
from .upload import GrowingUpload, SentPart


class PutStream(Put):
    """One object whose size is not known; ``inner`` stores it once it is known how.

    More than ``most`` bytes go in parts, the first of ``part_size``; None: all of it is gathered.
    """

    __slots__ = ("_most", "_part_size", "inner", "plain")
    tells_bar = True

    def __init__(
        self,
        context: Context,
        session: WriteSession,
        index: int,
        name: str,
        request: PutRequest,
        *,
        most: int | None,
        part_size: int | None,
    ) -> None:
        super().__init__(context, session, index, name, request)
        self.heavy = not context.backend.can.blocking
        self.unresolved = False  # URLs expire, and reading may take long
        self.inner: _AtOnce | PutGrowing | None = None
        self.plain = 0  # bytes that were read, before they were encoded
        self._most = most
        self._part_size = part_size

    def resolve(self, control: Control) -> bool:
        """Begin an upload in parts, if it is to be one."""
        return self.inner is not None and self.inner.resolve(control)

    def turn(self, run: Run) -> Done[Result] | More | Unresolved:
        """Read, and store it or one part of it."""
        inner = self.inner
        if inner is None:
            self.observe_start(run)
            try:
                inner = self.inner = self._begin(run)
                inner.flight = self.flight
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is this item's, and is reported with it
                self.settle(run, error)
                return self.end(run, self.give_up(error), error)
        if isinstance(inner, _AtOnce):
            if self.ticket is None and inner.unresolved:
                return UNRESOLVED
            inner.ticket = self.ticket
        return inner.turn(run)

    def _begin(self, run: Run) -> _AtOnce | PutGrowing:
        """Read as much as tells how to store it."""
        request, most = self.request, self._most
        blocks = self._blocks(run)
        if request.compress is not None:
            blocks = compress_blocks(blocks, request.compress, request.compression_level)
            request = replace(request, content_encoding=request.compress, compress=None)
        flow = Flow(blocks, run.engine.lock())
        if self.context.backend.can.flows:
            return _AtOnce(self, request, flow)
        head = flow.take(None if most is None else most + 1)
        if most is None or head.size <= most:
            return _AtOnce(self, request, head)
        flow.give_back(head)
        return PutGrowing(self, request, flow, self._part_size)

    def _blocks(self, run: Run) -> Iterator[bytes | memoryview]:
        for block in _read(run, self.request.body):
            run.check()
            self.plain += len(block)
            yield block

    def settle(self, run: Run, error: Exception | None, told: int = 0) -> None:
        """It has ended: the user's code is told, and a bar of the bytes of which it has not been ``told``."""
        body, moved = self.request.body, self.context.moved
        if isinstance(body, Stream) and error is not None:
            run.tell(body.close)
        if moved is not None and error is None and self.plain != told:
            run.tell(partial(moved, self.plain - told))


def _read(run: Run, body: bytes | memoryview | Body) -> Iterator[bytes | memoryview]:
    if isinstance(body, Stream):
        while block := run.ask(body.read):
            yield block
    elif isinstance(body, Foreign):
        for start in range(0, body.size, SPOOLED):
            copied = run.ask(partial(body.copy, start, min(SPOOLED, body.size - start)))
            try:
                yield from copied.blocks()
            finally:
                copied.close()
    else:
        yield from blocks_of(body)
        if isinstance(body, LocalFile):
            body.check()


class _AtOnce(Put):
    """All of it in one request: gathered, or read by a backend that can."""

    __slots__ = ("_outer",)

    def __init__(self, outer: PutStream, request: PutRequest, body: Flow | Spool) -> None:
        super().__init__(outer.context, outer.session, outer.index, outer.name, replace(request, body=body))
        self._outer = outer

    def work(self, run: Run) -> Done[Result]:
        done = super().work(run)
        self._settle(run, None)
        return done

    def _put(self, run: Run, request: PutRequest) -> Stored:
        body = request.body
        if not isinstance(body, Flow):
            return super()._put(run, request)

        def put() -> Stored:
            try:
                return self.session.put(request, self.ticket)
            except TransferError as error:
                # what was read cannot be read again, and what has raised would give that error only
                error.retryable = error.retryable and not (body.size or body.broken)
                raise

        return self.attempt(run, put)

    def observe_start(self, run: Run) -> None:
        """Told already, before it was read."""

    def end(self, run: Run, done: Done[Result], error: Exception | None = None) -> Done[Result]:
        if error is not None:
            self._settle(run, error)
        return super().end(run, done, error)

    def _settle(self, run: Run, error: Exception | None) -> None:
        self._outer.settle(run, error)
        if isinstance(self.request.body, Spool):
            self.request.body.close()


class PutGrowing(PutInParts):
    """One object in parts that are taken from a flow, each when a worker is ready to send it."""

    __slots__ = ("_outer",)
    upload: GrowingUpload

    def __init__(self, outer: PutStream, request: PutRequest, flow: Flow, part_size: int | None) -> None:
        Put.__init__(self, outer.context, outer.session, outer.index, outer.name, replace(request, body=flow))
        can = self.context.backend.can
        width = 1 if can.ordered_parts else self.context.width
        self.upload = GrowingUpload(self.request, flow, width=width, most=can.growing, part_size=part_size)
        self.heavy = True
        self.unresolved = False
        self._outer = outer

    def _open(self, control: Control) -> Session:
        upload = self.upload
        return self.session.open_stream(upload.request, upload.most, upload.lifetime, control)

    def _send(self, run: Run, part: SentPart) -> Done[Result] | More | Unresolved:
        upload = self.upload
        try:
            taken = upload.take(part)
        except Exception as error:  # noqa: BLE001 -- this item's, and reported with it
            upload.error = upload.error or error
            wanted = upload.release(part, give_up=True)
        else:
            if taken is not None:
                return super()._send(run, taken)
            wanted = upload.release(part)
        return self._finish(run) if wanted is None else More(wanted)

    def _send_part(self, run: Run, part: SentPart) -> Stored:
        try:
            return super()._send_part(run, part)
        except StaleTicket as error:
            raise self._lost(error) from error

    def _close(self, session: Session, run: Run) -> Stored:
        try:
            return super()._close(session, run)
        except StaleTicket as error:
            raise self._lost(error) from error

    def _lost(self, error: StaleTicket) -> TransferError:
        return TransferError(
            f"the store has dropped the upload ({error.args[0]}), and what was sent cannot be read again",
            path=self.path,
            status=error.status,
        )

    def observe_start(self, run: Run) -> None:
        """Told already, before it was read."""

    def end(self, run: Run, done: Done[Result], error: Exception | None = None) -> Done[Result]:
        self.upload.close()
        self._outer.settle(run, error, self.upload.request.size)
        return super().end(run, done, error)
