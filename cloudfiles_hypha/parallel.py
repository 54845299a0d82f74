"""Several processes at one batch: for work that one interpreter has not the time for.

In: items, and a copy of an ``ArtifactFiles`` as it is pickled. Out: their results, as one process would have them. A
child is a fresh interpreter that is spoken to over pipes: nothing is forked, the user's ``__main__`` is not imported,
nothing secret is on a command line, and a child whose pipe ends knows that nobody waits for it. The parent reads the
input, in the calling thread, and hands it out in chunks; a thread for each child waits for its answers. ``files`` says
what is done with a chunk; nothing here knows of stores.
"""

from __future__ import annotations

import io
import marshal
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any, NoReturn, Protocol, cast

from .content.sources import InMemory, LocalFile
from .engine.pool import Cancellation
from .engine.run import GIVEN_UP
from .errors import Cancelled, TransferError
from .models import GetRequest, PutRequest
from .results import Result, failed

Named = tuple[str, GetRequest | PutRequest]
"""An item: its name as the user wrote it, and what is to be done."""

# Items in a chunk: so many at most, and fewer where all are known, so that each child gets several. The first chunks
# are small, as nobody knows yet how large the results are; then they are to be of about so many bytes.
_MOST_ITEMS = 512
_FIRST_ITEMS = 64
_FEWEST_ITEMS = 16
_CHUNK_BYTES = 16 * 1024 * 1024
# Seconds after which a chunk goes as it is, where the user's generator takes its time.
_GATHERING = 0.2
# Seconds for a child that is told to end: to break off what is under way, and remove what is half written.
_GRACE = 3.0
# What a child is started with. These modules are there already: nothing in the working directory hides them.
_BOOT = (
    "import marshal, os, sys; pipe = os.fdopen(os.dup(0), 'rb'); sys.path[:] = marshal.load(pipe); "
    "from cloudfiles_hypha.parallel import serve; serve(pipe)"
)


class Part(Protocol):
    """What a child has, and does chunks of items with: an ``ArtifactFiles``."""

    def __setstate__(self, state: dict[str, Any]) -> None: ...

    def _do_part(self, work: str, items: Sequence[Named]) -> list[Result]:
        """Do ``work`` to each item; results in order."""


def prepared(items: Iterable[Named]) -> Iterable[tuple[Named, Named]]:
    """Items, each with what a child is given of it; what is known whole is checked now."""
    pairs = ((item, _sendable(*item)) for item in items)
    return [*pairs] if isinstance(items, Sequence) else pairs


def _sendable(name: str, request: GetRequest | PutRequest) -> Named:
    """An item as a child can be given it, without its tags; ``ValueError`` if it cannot be."""
    if isinstance(request, GetRequest):
        if request.into is not None:
            raise ValueError(
                f"{name!r}: into= is of this process, and parallel= has others read; leave out one of them"
            )
        return name, request._replace(tags=None)
    body: Any = request.body
    if isinstance(body, InMemory):
        with body.open() as reader:
            body = reader.read()
    elif isinstance(body, LocalFile):
        body = body.elsewhere()
    elif not isinstance(body, bytes | memoryview):
        raise ValueError(
            f"{name!r}: an open file, or an iterator of blocks, is of this process, and parallel= has others write; "
            "give bytes or a Path, or parallel=1 for this call"
        )
    return name, replace(request, body=body, tags=None)


@dataclass(slots=True)
class _Chunk:
    """Some items on their way: ``start`` is the number of the first."""

    start: int
    items: list[Named]
    tags: list[object]
    again: bool = False  # a child has died of it, or with it


class _Child:
    """One process, and the thread that speaks with it."""

    def __init__(self, hello: bytes, todo: queue.SimpleQueue[_Chunk | None], told: queue.SimpleQueue[_Told]) -> None:
        self._hello = hello
        self._todo = todo
        self._told = told
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._main, name="cloudfiles-hypha parallel", daemon=True)

    def start(self) -> None:
        """Begin; whoever calls this sees to it that it is joined, too."""
        # a session of its own: Ctrl-C is for the parent, which ends its children
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self._process = subprocess.Popen(  # noqa: S603 -- ourselves
            [sys.executable, "-c", _BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **apart
        )
        self._thread.start()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, once it is started."""
        return cast("subprocess.Popen[bytes]", self._process)

    def _main(self) -> None:
        chunk: _Chunk | None = None
        taken = False  # all of the chunk was sent, so the child may have begun it
        try:
            to, back = cast("IO[bytes]", self.process.stdin), cast("IO[bytes]", self.process.stdout)
            marshal.dump([str(each) or os.getcwd() for each in sys.path], to)
            to.write(self._hello)
            to.flush()
            self._told.put(_Told(self, None, _receive(back)))
            while (chunk := self._todo.get()) is not None:
                taken = False
                _send(to, chunk.items)
                taken = True
                self._told.put(_Told(self, chunk, _receive(back)))
        except (OSError, EOFError, pickle.UnpicklingError):  # it is gone, perhaps in the midst of an answer
            self._end()
            self._told.put(_Told(self, chunk, _Answer(), died=True, begun=taken))
        except Exception as error:  # noqa: BLE001 -- raised in the calling thread
            self._told.put(_Told(self, chunk, _Answer(error=error)))
        finally:
            self._end()

    def _end(self) -> None:
        """Have it end by itself, or else not; take leave of it."""
        with suppress(OSError):
            cast("IO[bytes]", self.process.stdin).close()
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._close()

    def _close(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                cast("IO[bytes]", pipe).close()

    def abort(self) -> None:
        """Have it break off what is under way."""
        if self._process is not None:
            with suppress(OSError):
                self._process.terminate()

    def join(self, timeout: float) -> None:
        """Wait for its end; after so many seconds it is ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._process is not None and (self._thread.ident is None or self._thread.is_alive()):
            with suppress(OSError):
                self._process.kill()
            if self._thread.ident is None:  # it could not be started
                self._close()
            else:
                self._thread.join()


@dataclass(slots=True)
class _Answer:
    """What a child says: results of a chunk, or what ends the batch."""

    results: list[Result] | None = None
    error: BaseException | None = None
    warned: tuple[Warning, ...] = ()


@dataclass(slots=True)
class _Told:
    """What the caller's thread is told by a child's."""

    child: _Child | None
    chunk: _Chunk | None
    answer: _Answer
    died: bool = False
    begun: bool = False


def run(
    count: int,
    files: tuple[type, dict[str, Any]],
    work: str,
    items: Iterable[tuple[Named, Named]],
    *,
    total: int | None,
    again: bool,
    noted: Callable[[Named, Result], Result],
    cancel: Cancellation | None,
) -> list[Result]:
    """Have ``count`` processes do ``work`` to items that are ``prepared``; all results, in input order.

    ``files`` is the class and the state of what does it (``Part``). ``again`` says that what a child was at when it
    died may be done once more. ``noted`` is given each item and its result, here, and gives what is to be kept.
    Whatever ends this, no process is left.
    """
    if not sys.executable:
        raise ValueError(f"parallel={count}: this program is no Python interpreter that could be started once more")
    try:
        hello = pickle.dumps((*files, work), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise ValueError(f"parallel={count}: these options cannot be given to another process: {error}") from error
    batch = _Batch(count, hello, items, total, again, noted)
    stop = batch.stop
    if cancel is not None:
        cancel.watch(stop)
    finished = False
    try:
        batch.run()
        finished = True
    finally:
        if cancel is not None:
            cancel.forget(stop)
        batch.end(abort=not finished)
    return batch.results


class _Batch:
    """One call, as the calling thread sees it."""

    def __init__(
        self,
        count: int,
        hello: bytes,
        items: Iterable[tuple[Named, Named]],
        total: int | None,
        again: bool,
        noted: Callable[[Named, Result], Result],
    ) -> None:
        self.results: list[Result] = []
        self._count = count
        self._hello = hello
        self._source: Iterator[tuple[Named, Named]] = iter(items)
        most = _MOST_ITEMS if total is None else -(-total // (4 * count))
        self._most = min(_MOST_ITEMS, max(_FEWEST_ITEMS, most))
        self._again = again
        self._noted = noted
        self._todo: queue.SimpleQueue[_Chunk | None] = queue.SimpleQueue()
        self._told: queue.SimpleQueue[_Told] = queue.SimpleQueue()
        self._children: set[_Child] = set()
        self._pid = os.getpid()
        self._ready = self._stillborn = 0  # children that could be started, and that could not
        self._read = self._seen = self._bytes = 0  # items that were read; those with results, and bytes of these
        self._warned: set[tuple[type, str]] = set()

    def stop(self) -> None:
        """Give it up; from any thread, and from handlers of signals."""
        self._told.put(_Told(None, None, _Answer(error=Cancelled(GIVEN_UP))))

    def run(self) -> None:
        """Until all is done."""
        outstanding, more = 0, True
        while True:
            while more and outstanding < 2 * self._count:
                chunk = self._next()
                if chunk is None:
                    more = False
                    break
                outstanding += 1
                self._todo.put(chunk)
                self._staff(outstanding)
                outstanding -= self._take(wait=False)
            if not outstanding:
                return
            outstanding -= self._take(wait=True)
            self._staff(outstanding)

    def _staff(self, outstanding: int) -> None:
        while len(self._children) < min(self._count, outstanding):
            child = _Child(self._hello, self._todo, self._told)
            self._children.add(child)
            child.start()

    def _next(self) -> _Chunk | None:
        """The next items, read in the caller's thread."""
        most = min(self._most, _FIRST_ITEMS)
        if self._seen:
            most = max(1, min(self._most, _CHUNK_BYTES * self._seen // max(1, self._bytes)))
        chunk, size, began = _Chunk(self._read, [], []), 0, time.monotonic()
        for (_, given), (name, request) in self._source:
            chunk.items.append((name, request))
            chunk.tags.append(given.tags)
            if isinstance(request, PutRequest) and not isinstance(request.body, LocalFile):
                size += given.size if isinstance(given, PutRequest) else 0
            if len(chunk.items) >= most or size >= _CHUNK_BYTES or time.monotonic() - began > _GATHERING:
                break
        self._check_here()
        self._read += len(chunk.items)
        self.results.extend(cast("list[Result]", [None] * len(chunk.items)))
        return chunk if chunk.items else None

    def _check_here(self) -> None:
        """After any code of the user's: it may have forked."""
        if os.getpid() != self._pid:
            raise RuntimeError("a call is of the process that began it: begin another one after the fork")

    def _take(self, *, wait: bool) -> int:
        """Hear what children say; how many chunks are done."""
        done = 0
        while not done:
            self._check_here()
            try:
                told = self._told.get(wait)
            except queue.Empty:
                break
            if told.answer.error is not None:
                raise told.answer.error
            chunk = told.chunk
            if told.died:
                done += self._died(told)
            elif chunk is not None:
                self._warn(told.answer.warned)
                self._note(chunk, told.answer.results or [])
                done += 1
            else:
                self._ready += 1
        return done

    def _died(self, told: _Told) -> int:
        """A child has ended that nobody told to."""
        child, chunk = cast(_Child, told.child), told.chunk
        self._children.discard(child)
        child.join(_GRACE)
        how = _ended_by(child.process.returncode)
        if chunk is None:
            self._stillborn += 1
            if not self._ready or self._stillborn > self._count:
                raise RuntimeError(
                    f"parallel={self._count}: a process could not be started, it ended {how}; it may have said why"
                )
            self._staff(1)
            return 0
        if not chunk.again and (self._again or not told.begun):
            chunk.again = True
            self._todo.put(chunk)
            self._staff(1)
            return 0
        error = TransferError(f"the process that was at it has ended, {how}; what it had done by then is not known")
        self._note(chunk, [failed(name, request, error, 1) for name, request in chunk.items])
        return 1

    def _note(self, chunk: _Chunk, results: list[Result]) -> None:
        for index, (item, tags, result) in enumerate(zip(chunk.items, chunk.tags, results, strict=True), chunk.start):
            self._seen += 1
            self._bytes += len(result["content"] or b"")
            self.results[index] = self._noted(item, result)
            self.results[index]["tags"] = tags

    def _warn(self, warned: Iterable[Warning]) -> None:
        for warning in warned:
            known = (type(warning), str(warning))
            if known not in self._warned:
                self._warned.add(known)
                warnings.warn(warning, stacklevel=2)

    def end(self, *, abort: bool) -> None:
        """No child is left, nor its thread."""
        if os.getpid() != self._pid:  # they are the parent's
            return
        children = [*self._children]
        try:
            if abort:
                for child in children:
                    child.abort()
            for _ in children:
                self._todo.put(None)
            deadline = time.monotonic() + (_GRACE if abort else 2 * _GRACE)  # its own thread is patient, too
            for child in children:
                child.join(max(0.0, deadline - time.monotonic()))
        except BaseException:  # Ctrl-C again
            for child in children:
                child.join(0)
            raise


def _ended_by(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"by {signal.Signals(-code).name}"
    return f"with exit code {code}"


# -- what is said over a pipe ---------------------------------------------------------------------------------------


class _Pickler(pickle.Pickler):
    """As usual, but for exceptions, which keep their causes, and for views, which arrive as bytes."""

    def reducer_override(self, obj: object) -> Any:
        if isinstance(obj, memoryview):
            return bytes, (pickle.PickleBuffer(obj.toreadonly()),)  # no copy is made on the way
        if not isinstance(obj, BaseException) or obj.__cause__ is None:
            return NotImplemented
        reduced = obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        if not isinstance(reduced, tuple):
            return NotImplemented
        make, arguments, state = (*reduced, None)[:3]
        return _caused, (make, arguments, state, obj.__cause__)


def _caused(
    make: Callable[..., BaseException], arguments: tuple[Any, ...], state: dict[str, Any] | None, cause: BaseException
) -> BaseException:
    error = make(*arguments)
    if state:
        error.__setstate__(state)
    error.__cause__ = cause
    return error


def _send(to: IO[bytes], message: object) -> None:
    """Large bytes go into the pipe as they are."""
    _Pickler(to, pickle.HIGHEST_PROTOCOL).dump(message)
    to.flush()


def _receive(source: IO[bytes]) -> Any:
    return pickle.load(source)  # noqa: S301 -- from a process of ours, over a pipe that nobody else has


def _arrives(message: object) -> bool:
    """Whether another process can read it."""
    with io.BytesIO() as copy:
        try:
            _send(copy, message)
            copy.seek(0)
            _receive(copy)
        except Exception:  # noqa: BLE001 -- an error's own code may raise anything
            return False
    return True


def _portable(error: BaseException) -> BaseException:
    """The error, or one that says the same, if it is of a kind that cannot be sent."""
    if _arrives(error):
        return error
    if error.__cause__ is not None:
        error.__cause__ = _portable(error.__cause__)
        if _arrives(error):
            return error
    said = TransferError(f"{type(error).__name__}: {error}")
    said.attempts = getattr(error, "attempts", 1)
    said.__cause__ = error.__cause__
    return said


# -- in a child -----------------------------------------------------------------------------------------------------


def serve(to_us: IO[bytes]) -> None:
    """What a child does: chunks, until there are no more, or nobody is there to give them."""
    back = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # what anybody prints is no answer
    signal.signal(signal.SIGTERM, _terminated)
    chunks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    busy = deque[bool]()  # while there is something in it, whoever ends the pipe ends our work
    try:
        kind, state, work = _receive(to_us)
        files: Part = kind.__new__(kind)
        files.__setstate__(state)
        _send(back, _Answer())
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001 -- raised in the parent
        said = f"parallel=: another process cannot make a copy of this object: {type(error).__name__}: {error}"
        _send(back, _Answer(error=ValueError(said)))
        return
    threading.Thread(target=_listen, args=(to_us, chunks, busy, threading.get_ident()), daemon=True).start()
    with suppress(BrokenPipeError):
        while (items := chunks.get()) is not None:
            busy.append(True)
            _send(back, _Answer(error=items) if isinstance(items, Exception) else _answer_to(files, work, items))
            busy.clear()


def _listen(to_us: IO[bytes], chunks: queue.SimpleQueue[Any], busy: deque[bool], main: int) -> None:
    """Read what comes; where nothing more does, nobody waits for what is under way."""
    try:
        while True:
            chunks.put(_receive(to_us))
    except (EOFError, OSError, pickle.UnpicklingError):  # be it in the midst of a chunk
        chunks.put(None)
    except Exception as error:  # noqa: BLE001 -- raised in the parent
        chunks.put(ValueError(f"parallel=: an item cannot be given to another process: {error}"))
        return
    if busy:
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main, signal.SIGTERM)
        else:
            os._exit(1)


def _terminated(number: int, frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # what follows is not to be broken off
    raise SystemExit(128 + number)


def _answer_to(files: Part, work: str, items: Sequence[Named]) -> _Answer:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            results = files._do_part(work, items)
    except Exception as error:  # noqa: BLE001 -- raised in the parent
        return _Answer(error=_portable(error))
    for result in results:
        if result["error"] is not None:
            result["error"] = cast(Exception, _portable(result["error"]))
            if isinstance(result["error"], TransferError):
                result["error"].about(result["path"])
    warned = (each.message for each in caught if isinstance(each.message, Warning))
    return _Answer(results, warned=tuple(each for each in warned if _arrives(each)))
