"""File objects of ``filesystem.fsspec``: one that reads ranges, one that sends what is written as it comes."""

from __future__ import annotations

import errno
import io
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from fsspec.asyn import AbstractAsyncStreamedFile
from fsspec.spec import AbstractBufferedFile

from ..bridge import call
from ..engine.calls import in_thread
from ..errors import PreconditionFailed, RangeNotSatisfiable
from ..ranges.file import RangeFile

if TYPE_CHECKING:
    from typing_extensions import Self

    from .fsspec import ArtifactFileSystem, Entry, Place

# Bytes that are written before anything is sent, and the size of the blocks that are.
_BLOCK = 8 * 1024 * 1024
# Blocks that a writer may be ahead of what is sent.
_AHEAD = 2


class Reading(RangeFile):
    """A ``RangeFile`` that knows its file system, as files of fsspec do."""

    def __init__(self, fs: ArtifactFileSystem, path: str, place: Place, **options: Any) -> None:
        self.fs, self.path = fs, path
        super().__init__(place.files, place.name, **options)

    @property
    def full_name(self) -> str:
        """Its path with the protocol."""
        return cast(str, self.fs.unstrip_protocol(self.path))

    @property
    def details(self) -> Entry:
        """What ``info`` tells."""
        return self.fs.info(self.path)

    def info(self) -> Entry:
        """What ``info`` of the file system tells."""
        return self.details

    def clone(self) -> Self:
        """Another cursor at the same place."""
        other = super().clone()
        other.fs, other.path = self.fs, self.path
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "fs": self.fs, "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.fs, self.path = state["fs"], state["path"]
        super().__setstate__(state)


class CachedReading(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read through one of fsspec's own caches, where one was asked for (``cache_type``); all of one
    version, too: if it changes meanwhile, that is an error.

    What is stored with a Content-Encoding is read whole when it is opened, since its ranges are of decoded bytes.
    """

    def __init__(
        self,
        fs: ArtifactFileSystem,
        path: str,
        place: Place,
        block_size: int | None,
        cache_options: Mapping[str, Any] | None,
        **options: Any,
    ) -> None:
        info = place.files.head(place.name)
        self._place = place
        self._etag = info.etag
        self._content: bytes | None = None
        if info.size is None or info.compress is not None:
            self._content = place.files.get(place.name)
        entry = fs._entry(place.root, info)
        entry["size"] = info.size if self._content is None else len(self._content)
        self._details = entry
        super().__init__(fs, path, "rb", block_size, cache_options=cache_options, size=entry["size"], **options)

    def _fetch_range(self, start: int, end: int) -> bytes:
        if self._content is not None:
            return self._content[start:end]
        end = min(end, self.size)
        if end <= start:
            return b""
        (result,) = self._place.files.get([{"path": self._place.name, "start": start, "end": end}], raise_errors=False)
        changed = result["error"] is None and result["etag"] != self._etag
        if changed or isinstance(result["error"], RangeNotSatisfiable):
            raise PreconditionFailed("it has changed since it was opened; open it again", path=self.path)
        if result["error"] is not None:
            raise result["error"]
        return cast(bytes, result["content"])


class _Blocks:
    """What a writer hands over to the call that sends it."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._ended = self._gone = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()  # guards the four above

    def add(self, block: bytes) -> None:
        """One more, as soon as there is room."""
        with self._changed:
            while len(self._blocks) >= _AHEAD and not self._gone:
                self._changed.wait()
            self._blocks.append(block)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No more; with an error nothing is to be stored."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def gone(self, ended: object) -> None:
        """Nobody takes any more."""
        with self._changed:
            self._gone = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not self._blocks and not self._ended:
                    self._changed.wait()
                if self._error is not None:
                    raise self._error
                if not self._blocks:
                    return
                block = self._blocks.popleft()
                self._changed.notify_all()
            yield block


class _Abandoned(Exception):
    """The writer was given up."""


class Writing(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is stored when it is closed. What is longer than a block is sent while it is written.

    When its ``with`` block raises, nothing is stored. ``deferred`` is all of it, where a transaction stores it later.
    """

    DEFAULT_BLOCK_SIZE = _BLOCK

    def __init__(
        self,
        fs: ArtifactFileSystem,
        path: str,
        place: Place,
        mode: str,
        block_size: int | None,
        *,
        defer: bool,
        **options: Any,
    ) -> None:
        super().__init__(fs, path, mode, block_size, autocommit=not defer)
        self._place = place
        self._options = {**options, **(fs._if_new(place) if mode == "xb" else {})}
        self._sending: tuple[_Blocks, Future[None]] | None = None
        self.closed: bool
        self.deferred: Any = None
        if defer:
            self._spool = tempfile.SpooledTemporaryFile(_BLOCK)  # noqa: SIM115 -- closed by discard
        if mode == "ab":
            with suppress(FileNotFoundError):  # it begins with nothing
                self.write(place.files.get(place.name))

    def _upload_chunk(self, final: bool = False) -> None:
        block = self.buffer.getvalue()
        if not self.autocommit:
            self._spool.write(block)
            if final:
                self._spool.seek(0)
                self.deferred = self._spool
            return
        if self._sending is None:
            if final:
                self._put(block)
                return
            begun = _Blocks()
            self._sending = begun, in_thread(partial(self._put, iter(begun)))
            self._sending[1].add_done_callback(begun.gone)
        blocks, sent = self._sending
        if block:
            blocks.add(block)
        if final:
            blocks.end()
        if final or sent.done():
            sent.result()

    def _put(self, content: bytes | Iterator[bytes]) -> None:
        self._place.files.put(self._place.name, content, **self._options)

    def discard(self) -> None:
        """Store nothing of it."""
        if not self.closed:
            self.closed = True
            if self._sending is not None:
                blocks, sent = self._sending
                blocks.end(_Abandoned())
                sent.exception()
        if not self.autocommit:
            self._spool.close()

    def close(self) -> None:
        """Store it; what goes wrong is raised here, and then nothing was stored."""
        if self.closed:
            return
        try:
            if not self.forced:
                self.flush(force=True)
        except BaseException:
            self.discard()
            raise
        self.closed = True
        self.fs.invalidate_cache(self.path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if not self.closed:
            self.discard()
            warnings.warn(f"{self.path} was not closed, and so not stored", ResourceWarning, stacklevel=2)


class CompressedWriting(io.BufferedIOBase):
    """Bytes that are compressed and stored when it is closed; when its ``with`` block raises, nothing is stored."""

    def __init__(self, file: Writing, codec: Callable[..., Any]) -> None:
        self._file = file
        self._packed = codec(file, mode="wb")

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Compress these bytes, too."""
        self._packed.write(data)
        return memoryview(data).nbytes

    def close(self) -> None:
        """Store it."""
        if not self.closed:
            try:
                if not self._file.closed:
                    self._packed.close()
                    self._file.close()
            finally:
                super().close()

    def discard(self) -> None:
        """Store nothing of it."""
        self._file.discard()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        """Nothing: what was not closed is not stored."""


class TextWriting(io.TextIOWrapper):
    """Text that is stored when it is closed; when its ``with`` block raises, nothing is stored."""

    def __init__(self, file: Writing | CompressedWriting, **options: Any) -> None:
        super().__init__(cast(Any, file), **{"encoding": "utf-8", **options})
        self._file = file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.discard()
        else:
            self.close()


class AsyncReading(AbstractAsyncStreamedFile):  # type: ignore[misc]
    """A file whose ``read`` is awaited."""

    def __init__(self, fs: ArtifactFileSystem, path: str, entry: Entry, **options: Any) -> None:
        if entry["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, "a folder, not a file", path)
        self._details = entry
        super().__init__(fs, path, "rb", size=entry["size"], **options)

    async def _fetch_range(self, start: int, end: int) -> bytes:
        return cast(bytes, await self.fs._cat_file(self.path, start, min(end, self.size)))


class AsyncWriting(AbstractAsyncStreamedFile):  # type: ignore[misc]
    """A file whose ``write`` and ``close`` are awaited; stored as ``Writing`` stores it."""

    def __init__(self, fs: ArtifactFileSystem, path: str, mode: str, writer: Writing) -> None:
        super().__init__(fs, path, mode)
        self._writer = writer

    async def write(self, data: bytes) -> int:
        """Add bytes; waits while too many of them have not been sent."""
        written = cast(int, await call(partial(self._writer.write, data)))
        self.loc += written
        return written

    async def flush(self, force: bool = False) -> None:
        """Nothing: it is sent as it comes."""

    async def close(self) -> None:
        """Store it."""
        self.closed = True
        await call(self._writer.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            self.closed = True
            await call(self._writer.discard)
