"""Files that are open for writing: what is written goes on its way meanwhile, and counts once the file is closed.

In: bytes, as a program writes them. Out: one ``put``, of the bytes if they are few, else of a stream that a thread of
its own reads. A file that has to be read or changed in places is a temporary one until it is closed. Where the bytes
go is said by a ``Place``; ``files`` makes one.
"""

from __future__ import annotations

import codecs
import io
import logging
import math
import os
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import IO, TYPE_CHECKING, TypeVar

from .arguments import kind_of
from .content.sources import BLOCK, Content, Fed
from .engine.calls import in_thread
from .engine.kits import exiting
from .engine.pool import AMBIENT
from .errors import Cancelled, ObjectExists, ObjectNotFound, PreconditionFailed, TransferError

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

# Bytes that are kept until it is known that they are to be a stream.
_SMALL = 8 * 1024 * 1024
# Bytes that may have been written and not been asked for yet.
_AHEAD = 4 * 1024 * 1024
_DROPPED = "was not closed, so nothing of it is stored; close it, or open it in a with statement"
_log = logging.getLogger("cloudfiles_hypha")


@dataclass(frozen=True, slots=True)
class Place:
    """Where files go. ``conditions`` are those that it can decide in the moment of a write ("new", "pinned"); ``etag``
    asks for what is there as the next write finds it, and ``fetch`` brings it into a file and gives its ETag, too; both
    raise ``ObjectNotFound``. ``turn`` keeps other threads of this process from storing a file of this name meanwhile on
    a condition. ``streams`` says that a thread can send what another one writes."""

    put: Callable[[Content, Mapping[str, str]], object]
    etag: Callable[[], str | None]
    fetch: Callable[[IO[bytes]], str | None]
    turn: Callable[[], AbstractContextManager[object]]
    conditions: frozenset[str]
    streams: bool


def open_to_write(
    place: Place, name: str, mode: str, encoding: str | None, errors: str | None, newline: str | None
) -> Unpublished | TextWriter:
    """A file that is stored as ``name`` when it is closed; ``ValueError`` for a mode that there is not."""
    kind = kind_of(mode)
    if kind == "r":
        raise ValueError(f"mode={mode!r}: this one writes nothing")
    if "b" in mode and (encoding, errors, newline) != (None, None, None):
        raise ValueError(f"mode={mode!r}: bytes have no encoding, errors or newline")
    condition = _Condition(place, name)
    plain = kind in ("w", "x") and place.streams
    if kind[0] == "x":
        condition.must_be_new()
    binary = Writer(place, name, condition) if plain else Draft(place, name, kind, condition)
    if "b" in mode:
        return binary
    try:
        # the same bytes on every system, unless it is said otherwise
        return TextWriter(binary, encoding or "utf-8", errors, "" if newline is None else newline)
    except BaseException:
        binary.abort()
        raise


class _Condition:
    """What must be there when a file is stored. A place that cannot decide that in the moment of the write is asked
    directly before it."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._name = name
        self._new = False
        self._etag: str | None = None

    def must_be_new(self) -> None:
        """There must be nothing, now and then."""
        if self._there() is not None:
            raise self._exists()
        self._new = True

    def must_be(self, etag: str | None) -> None:
        """It must be the object of this ETag; one without can be anything."""
        self._etag = etag

    def asked(self) -> dict[str, str]:
        """Look, where the place does not; what to ask of it where it does."""
        if self._new:
            if "new" in self._place.conditions:
                return {"overwrite": "never"}
            if self._there() is not None:
                raise self._exists()
        elif self._etag is not None:
            if "pinned" in self._place.conditions:
                return {"if_match": self._etag}
            there = self._there()
            if there is None or there[0] != self._etag:
                raise PreconditionFailed(
                    "somebody else has changed or removed it since it was opened; open it anew", path=self._name
                )
        return {}

    def turn(self) -> AbstractContextManager[object]:
        """What to look and to store within, where the place decides nothing: else two of this process could both look,
        and then both store."""
        wanted = "new" if self._new else None if self._etag is None else "pinned"
        return nullcontext() if wanted is None or wanted in self._place.conditions else self._place.turn()

    def _there(self) -> tuple[str | None] | None:
        try:
            return (self._place.etag(),)
        except ObjectNotFound:
            return None

    def _exists(self) -> ObjectExists:
        return ObjectExists("there is a file of this name, and mode x makes new ones only", path=self._name)


class _Pipe(Fed, Iterator[bytes]):
    """Blocks that one thread writes and another one sends; the one waits where it is far ahead, the other for more."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._size = 0
        self._error: Exception | None = None
        self._taken = False  # nobody takes any more
        # Guards the four above. The collector may give it up wherever this is held.
        self._changed = threading.Condition(threading.RLock())

    def push(self, block: bytes) -> None:
        """Add a block; waits for room, as long as somebody takes."""
        stop = AMBIENT.get()
        if stop is not None:
            stop.watch(self._wake)
        try:
            with self._changed:
                while self._size >= _AHEAD and not self._taken:
                    if stop is not None and stop.cancelled:
                        raise Cancelled("given up while it was written")
                    self._changed.wait()
                self._blocks.append(block)
                self._size += len(block)
                self._changed.notify_all()
        finally:
            if stop is not None:
                stop.forget(self._wake)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be pushed without waiting."""
        return self._size + size < _AHEAD

    def end(self, error: Exception | None = None) -> None:
        """There is no more; with an error, what was sent is not to count."""
        with self._changed:
            self.open = False
            self._error = error
            if error is not None:
                self._blocks.clear()
            self._changed.notify_all()

    def stop(self, done: object = None) -> None:
        """Nobody takes any more, so nobody need wait."""
        with self._changed:
            self._taken = True
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def __next__(self) -> bytes:
        with self._changed:
            while not self._blocks and self.open:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            if not self._blocks:
                raise StopIteration
            block = self._blocks.popleft()
            self._size -= len(block)
            self._changed.notify_all()
            return block


class Unpublished(io.BufferedIOBase):
    """What both kinds of files have in common: ``close`` publishes, ``abort`` and everything else does not."""

    name: str
    _failed: BaseException | None = None  # of a write, of which part may be lost

    def __init__(self) -> None:
        self._process = os.getpid()

    def _publish(self) -> None:
        raise NotImplementedError

    def _let_go(self, *, wait: bool) -> None:
        """Have nothing published; ``wait`` until nothing is under way any more."""
        raise NotImplementedError

    def close(self) -> None:
        """Store it, and on Hypha commit that, together with what else this process has on its way. If that fails, it
        is closed, and nothing is published."""
        if not self.closed:
            try:
                self._check_open()
                self._publish()
            except BaseException:
                self._let_go_of(wait=True)
                raise
            finally:
                super().close()

    def abort(self) -> None:
        """Close it, and store nothing."""
        if not self.closed:
            try:
                self._let_go_of(wait=True)
            finally:
                super().close()

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be written without waiting for a server."""
        return True

    def flush(self) -> None:
        """Nothing: what is written is there for others when it is closed, not before."""
        if self.closed:
            raise ValueError(f"{self.name!r}: this file is closed")

    def writable(self) -> bool:
        """True."""
        self._check_open()
        return True

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name!r}: this file is closed")
        if not self._is_ours():
            raise RuntimeError(f"{self.name!r}: it is written by the process that opened it, and not by a forked child")

    def _is_ours(self) -> bool:
        """Not in a forked child: who sends it are threads of the parent, and what it has on disk is the parent's."""
        return self._process == os.getpid()

    def _let_go_of(self, *, wait: bool) -> None:
        if self._is_ours():
            self._let_go(wait=wait)
        else:
            self._leave()

    def _leave(self) -> None:
        """In a child: let go of it, and have nothing of that reach the parent."""

    def _check_whole(self) -> None:
        if self._failed is not None:
            raise TransferError(
                f"an earlier write has failed ({self._failed}), so it cannot go on", path=self.name
            ) from self._failed

    def drop(self) -> None:
        """It is collected, and was not closed."""
        if self.closed:
            return
        try:
            if self._is_ours():
                warnings.warn(f"{self.name!r} {_DROPPED}", ResourceWarning, stacklevel=2, source=self)
        finally:
            self._let_go_of(wait=False)
            super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if hasattr(self, "name"):  # else it was never made
            self.drop()


class Writer(Unpublished):
    """A file that is written from its beginning to its end. Up to 8 MiB are sent when it is closed, of more the rest
    while it is written, in bounded memory. For one thread at a time."""

    mode = "wb"

    def __init__(self, place: Place, name: str, condition: _Condition) -> None:
        super().__init__()
        self.name = name
        self._place = place
        self._condition = condition
        self._pending = bytearray()
        self._position = 0
        self._pipe: _Pipe | None = None
        self._sent: Future[object] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}{', closed' if self.closed else f', {self._position} bytes'}>"

    def write(self, data: Buffer, /) -> int:
        """Add bytes; waits for the store where more than a few MiB are on their way. After an error nothing can."""
        self._check_open()
        self._check_whole()
        if isinstance(data, str):
            raise TypeError(f"{self.name!r}: it takes bytes, not text; open it with mode 'w'")
        view = memoryview(data)
        view = view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())
        try:
            for start in range(0, len(view), BLOCK):
                self._pending += view[start : start + BLOCK]
                if len(self._pending) >= (self._at_once() if self._pipe is None else BLOCK):
                    self._send()
        except BaseException as error:
            self._failed = error
            raise
        self._position += len(view)
        return len(view)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be written without waiting for a server."""
        if self._pipe is None:
            return len(self._pending) + size < self._at_once()
        return self._pipe.has_room(len(self._pending) + size)

    def tell(self) -> int:
        """Bytes that were written."""
        self._check_open()
        return self._position

    @staticmethod
    def _at_once() -> float:
        """Bytes up to which all of it is one request; where no thread can be started (WebAssembly), any number."""
        return math.inf if exiting.is_set() else _SMALL

    def _send(self) -> None:
        if self._pipe is None or self._sent is None:
            asked = self._condition.asked()
            self._pipe = pipe = _Pipe()
            put = self._place.put
            self._sent = in_thread(lambda: put(pipe, asked))
            self._sent.add_done_callback(pipe.stop)
        pending, self._pending = self._pending, bytearray()
        view = memoryview(pending)
        for start in range(0, len(view), BLOCK):
            self._pipe.push(bytes(view[start : start + BLOCK]))
        if self._sent.done():
            self._sent.result()
            raise TransferError("the store has stopped reading it", path=self.name)

    def _publish(self) -> None:
        self._check_whole()
        if self._pipe is None or self._sent is None:
            with self._condition.turn():
                self._place.put(bytes(self._pending), self._condition.asked())
            return
        if self._pending and not self._sent.done():
            self._pipe.push(bytes(self._pending))
        self._pipe.end()
        _result_of(self._sent)

    def _let_go(self, *, wait: bool) -> None:
        self._pending = bytearray()
        if self._pipe is not None and self._sent is not None:
            given_up = Cancelled("not published, since its writer gave up", path=self.name)
            if self._pipe.open:
                self._pipe.end(given_up)
            if wait:
                error = self._sent.exception()
                if error is not None and error is not given_up:
                    _log.info("%s: given up, and %r", self.name, error)


class Draft(Unpublished):
    """A file that is read and changed in a temporary one, and stored as a whole when it is closed, if it was changed.
    For one thread at a time."""

    def __init__(self, place: Place, name: str, kind: str, condition: _Condition) -> None:
        super().__init__()
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as this
        self._place = place
        self._condition = condition
        self._appends = kind[0] == "a"
        self._reads = "+" in kind
        self.mode = f"{kind[0]}b{kind[1:]}"
        self._changed = True
        try:
            if kind[0] in "ra":
                self._fetch(name)
        except BaseException:
            self._file.close()
            raise
        self._file.seek(0, io.SEEK_END if self._appends else io.SEEK_SET)
        self.name = name

    def _fetch(self, name: str) -> None:
        try:
            self._condition.must_be(self._place.fetch(self._file))
        except ObjectNotFound:
            if not self._appends:
                raise
            self._condition.must_be_new()
        else:
            self._changed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}{', closed' if self.closed else ''}>"

    def readable(self) -> bool:
        """Whether the mode has a +."""
        self._check_open()
        return self._reads

    def seekable(self) -> bool:
        """True."""
        self._check_open()
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Bytes from where it stands."""
        self._check_open()
        if not self._reads:
            raise io.UnsupportedOperation(f"{self.name!r}: it is open for writing only; mode {self.mode}+ reads, too")
        return self._file.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        """``read``."""
        return self.read(size)

    def write(self, data: Buffer, /) -> int:
        """Put bytes where it stands, or with mode a at its end. After an error nothing can."""
        self._check_open()
        self._check_whole()
        if isinstance(data, str):
            raise TypeError(f"{self.name!r}: it takes bytes, not text; open it without the b for text")
        try:
            if self._appends:
                self._file.seek(0, io.SEEK_END)
            self._changed = True
            return self._file.write(data)
        except BaseException as error:
            self._failed = error
            raise

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go somewhere; where it is then."""
        self._check_open()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where it stands."""
        self._check_open()
        return self._file.tell()

    def truncate(self, size: int | None = None, /) -> int:
        """Cut it, or fill it up with zeros. After an error nothing can."""
        self._check_open()
        self._check_whole()
        try:
            self._changed = True
            return self._file.truncate(self._file.tell() if size is None else size)
        except BaseException as error:
            self._failed = error
            raise

    def _publish(self) -> None:
        self._check_whole()
        if self._changed:
            self._file.flush()
            size = self._file.seek(0, io.SEEK_END)
            self._file.seek(0)
            content = self._file.read() if size < _SMALL else self._file
            with self._condition.turn():
                self._place.put(content, self._condition.asked())
        self._file.close()

    def _let_go(self, *, wait: bool) -> None:
        self._file.close()

    def _leave(self) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, self._file.fileno(), inheritable=False)  # for what is in its buffer: the parent writes that
        os.close(nowhere)
        self._file.close()


class TextWriter(io.TextIOWrapper):
    """Text over one of these; what its ``with`` block raises, and its being forgotten, publish nothing either."""

    def __init__(self, binary: Unpublished, encoding: str, errors: str | None, newline: str | None) -> None:
        super().__init__(binary, encoding, errors, newline)
        self._binary = binary
        mark_order(binary, encoding)

    @property
    def mode(self) -> str:
        """As it was opened, without the b."""
        return str(getattr(self._binary, "mode", "wb")).replace("b", "")

    def close(self) -> None:
        """Store it; not if what is left to encode and to write cannot be, or that is interrupted."""
        if not self.closed:
            try:
                self.flush()
            except BaseException:
                self.abort()  # else the end of ``close`` would store what there is without it
                raise
        super().close()

    def abort(self) -> None:
        """Close it, and store nothing."""
        self._binary.abort()

    def has_room(self, size: int) -> bool:
        """Whether so many characters can be written without waiting for a server."""
        return self._binary.has_room(4 * size + BLOCK)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        binary: Unpublished | None = getattr(self, "_binary", None)
        if binary is not None:
            binary.drop()


def mark_order(binary: io.BufferedIOBase, encoding: str) -> None:
    """Write the byte order mark that ``TextIOWrapper`` leaves out where the file below cannot be sought in, and without
    which such text cannot be read again."""
    if not binary.seekable() and codecs.lookup(encoding).name in ("utf-16", "utf-32"):
        binary.write("".encode(encoding))


def _result_of(future: Future[T]) -> T:
    """The result of what ends by itself now; whoever gives up waiting gives that up, too."""

    def give_up() -> None:
        future.cancel()

    stop = AMBIENT.get()
    if stop is not None:
        stop.watch(give_up)
    try:
        return future.result()
    except BaseException:
        give_up()
        raise
    finally:
        if stop is not None:
            stop.forget(give_up)
