"""File objects of ``filesystem.fsspec``: those of ``ArtifactFiles.open``, as fsspec wants them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from fsspec.spec import AbstractBufferedFile

from ..bridge import call
from ..errors import PreconditionFailed, RangeNotSatisfiable, TransferError
from ..ranges.file import RangeFile
from ..ranges.opening import reader_of
from ..writing import mark_order

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..writing import Unpublished
    from .fsspec import ArtifactFileSystem
    from .places import Entry, Place

# Bytes of a file that waits for its transaction to end which are kept in memory.
_SMALL = 8 * 1024 * 1024


class Reading(RangeFile):
    """A ``RangeFile`` that knows its file system, as files of fsspec do."""

    def __init__(self, fs: ArtifactFileSystem, path: str, place: Place, **options: Any) -> None:
        self.fs, self.path = fs, path
        super().__init__(reader_of(place.files), place.name, **options)

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
        info = place.files.head(place.name)  # a size that was given may be an older one's
        options.pop("size", None)
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


class _Dropped(io.BufferedIOBase):
    """A file that is closed by the end of its ``with`` block, and discarded where that raises."""

    def discard(self) -> None:
        """Store nothing of it."""
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class Writing(_Dropped):
    """A file that is written as ``ArtifactFiles.open`` has it, and that tells its file system when it is stored."""

    def __init__(self, fs: ArtifactFileSystem, path: str, place: Place, mode: str, **options: Any) -> None:
        self._file: Unpublished = place.files.open(place.name, mode, **options)
        self.fs, self.path, self.mode = fs, path, mode

    def writable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """Whether its mode has a +."""
        return self._file.readable()

    def seekable(self) -> bool:
        """Not if it is written from its beginning to its end."""
        return self._file.seekable()

    def write(self, data: Any, /) -> int:
        """Add bytes."""
        return self._file.write(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Bytes from where it stands, if its mode has a +."""
        return self._file.read(size)

    def read1(self, size: int = -1, /) -> bytes:
        """``read``."""
        return self.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go somewhere, if it is not written from its beginning to its end."""
        return self._file.seek(offset, whence)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut it there, or fill it up with zeros; likewise."""
        return self._file.truncate(size)

    def tell(self) -> int:
        """Where it stands."""
        return self._file.tell()

    def close(self) -> None:
        """Store it; what goes wrong is raised here, and then nothing was stored."""
        if not self.closed:
            try:
                self._file.close()
            finally:
                super().close()
                self.fs.invalidate_cache(self.path)

    def discard(self) -> None:
        """Close it, and store nothing; of one that is closed, nothing happens."""
        self._file.abort()
        super().close()

    def __del__(self) -> None:
        """Nothing: the file below says that it was not closed."""


class Deferred(_Dropped):
    """A file that is stored when the transaction ends in which it was written and closed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.content = tempfile.SpooledTemporaryFile(_SMALL)  # noqa: SIM115 -- closed by discard
        self.is_written = False
        self._failed = False

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Add bytes. After an error nothing of it is stored."""
        try:
            self._check_whole()
            self.content.write(data)
        except BaseException:
            self._failed = True
            raise
        return memoryview(data).nbytes

    def tell(self) -> int:
        """Bytes that were written."""
        return self.content.tell()

    def close(self) -> None:
        """No more is written; after an error of writing, it is not stored."""
        if not self.closed:
            try:
                self._check_whole()
                self.is_written = True
            finally:
                super().close()

    def _check_whole(self) -> None:
        if self._failed:
            raise TransferError("an earlier write has failed, so it cannot go on", path=self.path)

    def discard(self) -> None:
        """Let go of what was written."""
        super().close()
        self.is_written = False
        self.content.close()

    def __del__(self) -> None:
        """Nothing: what was not closed is not stored."""


class _Below(io.BufferedIOBase):
    """The file below a codec. When that is dropped, what the codec has left to write at its own end goes nowhere."""

    def __init__(self, file: Writing | Deferred) -> None:
        self.file: Writing | Deferred | None = file

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Pass it on."""
        return memoryview(data).nbytes if self.file is None else self.file.write(data)

    def tell(self) -> int:
        """Bytes that were written."""
        return 0 if self.file is None else self.file.tell()


class CompressedWriting(io.BufferedIOBase):
    """Bytes that are compressed and stored when it is closed; when its ``with`` block raises, nothing is stored."""

    def __init__(self, file: Writing | Deferred, codec: Callable[..., Any]) -> None:
        self._file = file
        self._below = _Below(file)
        self._packed = codec(self._below, mode="wb")

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Compress these bytes, too."""
        self._packed.write(data)
        return memoryview(data).nbytes

    def close(self) -> None:
        """Store it; what goes wrong is raised here, and then nothing was stored."""
        if not self.closed:
            try:
                if not self._file.closed:
                    self._packed.close()
                    self._file.close()
            except BaseException:
                self.discard()
                raise
            finally:
                super().close()

    def discard(self) -> None:
        """Store nothing of it."""
        self._below.file = None
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

    def __init__(self, file: Writing | Deferred | CompressedWriting, **options: Any) -> None:
        super().__init__(cast(Any, file), **{"encoding": "utf-8", **options})
        self._file = file
        mark_order(file, self.encoding)

    def close(self) -> None:
        """Store it; not if what is left to encode and to write cannot be, or that is interrupted."""
        if not self.closed:
            try:
                self.flush()
            except BaseException:
                self._file.discard()  # else the end of ``close`` would store what there is without it
                raise
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.discard()
        else:
            self.close()

    def __del__(self) -> None:
        """Nothing: what was not closed is not stored."""


class AsyncWriting:
    """A file whose ``write`` and ``close`` are awaited; stored as ``Writing`` stores it."""

    def __init__(self, writer: Writing | Deferred) -> None:
        self._writer = writer

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._writer.closed

    def tell(self) -> int:
        """Bytes that were written."""
        return self._writer.tell()

    async def write(self, data: bytes) -> int:
        """Add bytes; waits while too many of them have not been sent."""
        return await call(partial(self._writer.write, data))

    async def flush(self) -> None:
        """Nothing: it is sent as it comes, and is there for others when it is closed."""

    async def close(self) -> None:
        """Store it."""
        await call(self._writer.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await call(self._writer.close if kind is None else self._writer.discard)
