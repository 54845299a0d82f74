"""``ArtifactStore``: a store of zarr 3 over ``ArtifactFiles``, without a file system in between.

Each value that is read is a task of the pool, so that what zarr awaits together is signed together. What is written
within ``async with store.staged()``, or at the same time, is one commit on Hypha.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

try:
    from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
except ImportError as error:
    raise ImportError("this takes zarr 3 (and Python 3.11): pip install 'cloudfiles_hypha[zarr]'") from error

from .arguments import Source
from .async_files import AsyncArtifactFiles
from .bridge import content_of
from .errors import ObjectNotFound, RangeNotSatisfiable, RangesUnsupported
from .files import ArtifactFiles
from .models import ObjectInfo
from .results import Result, raise_failures


class ArtifactStore(Store):  # type: ignore[misc, unused-ignore]  # zarr may not be installed
    """A zarr store at any place that ``ArtifactFiles`` knows: ``zarr.open(ArtifactStore("hypha://ws/alias/x.zarr"))``.

    It is made of a cloudpath and the options of ``ArtifactFiles``, or of one of these, which it does not close then.
    What is not there is no value; being refused, or out of reach, is an error. On Hypha, values that are written at the
    same time share a commit, and all that is written within ``async with store.staged()`` is one. A store that was
    pickled within that writes into it.
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, place: str | ArtifactFiles, *, read_only: bool = False, **options: Any) -> None:
        super().__init__(read_only=read_only)
        self._owns = not isinstance(place, ArtifactFiles)
        self._options = options
        self._async = AsyncArtifactFiles(place, **options)

    @property
    def files(self) -> ArtifactFiles:
        """Where its values are."""
        return self._async.files

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.files!r}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ArtifactStore)
            and self.read_only == other.read_only
            and self.files.address("zarr.json") == other.files.address("zarr.json")
        )

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_async"}
        return {**state, "files": self.files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("files")
        self.__dict__.update(state)
        self._async = AsyncArtifactFiles(files)

    def with_read_only(self, read_only: bool = False) -> ArtifactStore:
        """The same place, to be read only, or to be written as well."""
        return type(self)(self.files, read_only=read_only)

    def close(self) -> None:
        """Close it, and idle connections, if it was made of a cloudpath."""
        super().close()
        if self._owns:
            self.files.close()

    @asynccontextmanager
    async def staged(
        self, comment: str | None = None, version: str | None = None
    ) -> AsyncGenerator[ArtifactStore, None]:
        """Write into one commit, which is made when the block ends; see ``ArtifactFiles.staged``."""
        async with self._async.staged(comment, version):
            yield self

    # -- reading

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The value of a key, or a range of it; None if there is none."""
        await self._opened()
        return await self._value_of(prototype, self._read(key, byte_range))

    async def _value_of(self, prototype: BufferPrototype | None, read: Awaitable[bytes]) -> Buffer | None:
        try:
            return _buffer(prototype, await read)
        except ObjectNotFound:
            return None

    async def _read(self, key: str, wanted: ByteRequest | None) -> bytes:
        if _is_empty(wanted):
            return await self._read_known(key, wanted)
        try:
            return cast(bytes, await content_of(partial(self.files._begin, _source(key, wanted))))
        except RangeNotSatisfiable:
            return b""
        except RangesUnsupported:
            return await self._read_known(key, wanted)

    async def _read_known(self, key: str, wanted: ByteRequest | None) -> bytes:
        """Likewise, once it is known what is there."""
        source = _known(key, await content_of(partial(self.files._begin_head, key)), wanted)
        return b"" if source is None else cast(bytes, await content_of(partial(self.files._begin, source)))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Ranges of values, in order, read in one batch, in which close ones are fetched together."""
        await self._opened()
        wanted = [*key_ranges]
        asked = [_source(key, each) for key, each in wanted if not _is_empty(each)]
        results: Sequence[Result] = await self._async.get(asked, raise_errors=False)
        left = iter(results)
        values: list[Buffer | None] = []
        for key, each in wanted:
            result = None if _is_empty(each) else next(left)
            if result is None or isinstance(result["error"], RangesUnsupported):
                values.append(await self._value_of(prototype, self._read_known(key, each)))
            else:
                values.append(_value(prototype, result))
        return values

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        wanted = [*requests]
        found = await asyncio.gather(*(self.get(*each) for each in wanted))
        for (key, *_), value in zip(wanted, found, strict=True):
            yield key, value

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        await self._opened()
        return await self._async.exists(key)

    async def getsize(self, key: str) -> int:
        """Bytes of a value; ``FileNotFoundError`` if there is none."""
        await self._opened()
        return await self._async.size(key)

    async def getsize_prefix(self, prefix: str) -> int:
        """Bytes of all values below a prefix, from one listing."""
        await self._opened()
        return (await self._async.subtree_size(_folder(prefix))).bytes

    async def is_empty(self, prefix: str) -> bool:
        """Whether nothing is below a prefix."""
        await self._opened()
        return not await self._async.isdir(prefix)

    # -- writing

    async def set(self, key: str, value: Buffer) -> None:
        """Store a value."""
        await self._writable(value)
        await self._async.put(key, value.as_buffer_like())

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store a value if there is none; on stores that can decide that in the moment of the write, they do."""
        await self._writable(value)
        if "new" not in self.files._backend.can.conditions:
            if not await self._async.exists(key):
                await self._async.put(key, value.as_buffer_like())
            return
        try:
            await self._async.put(key, value.as_buffer_like(), overwrite="never")
        except FileExistsError:
            return

    async def _set_many(self, values: Iterable[tuple[str, Buffer]]) -> None:
        await self._writable(None)
        await self._async.puts([(key, value.as_buffer_like()) for key, value in values])

    async def delete(self, key: str) -> None:
        """Remove a value; one that is not there counts as removed."""
        await self._writable(None)
        await self._async.delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Remove all values below a prefix, on Hypha in one commit."""
        await self._writable(None)
        await self._async.delete([key async for key in self.list_prefix(_folder(prefix))])

    async def clear(self) -> None:
        """Remove all values."""
        await self.delete_dir("")

    # -- listing

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """All keys that begin with ``prefix``."""
        await self._opened()
        async for key in self._async.list(prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What is directly below a prefix, keys and folders, by their last names."""
        await self._opened()
        folder = _folder(prefix)
        async for name in self._async.list(folder, flat=True):
            yield name[len(folder) :].rstrip("/")

    # -- for whom a loop is of no use

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """``get``, by a thread that waits."""
        try:
            return _buffer(prototype, self._read_sync(key, byte_range))
        except ObjectNotFound:
            return None

    def _read_sync(self, key: str, wanted: ByteRequest | None) -> bytes:
        if not _is_empty(wanted):
            try:
                return self.files.get(_source(key, wanted))
            except RangeNotSatisfiable:
                return b""
            except RangesUnsupported:
                pass
        source = _known(key, self.files.head(key), wanted)
        return b"" if source is None else self.files.get(source)

    def set_sync(self, key: str, value: Buffer) -> None:
        """``set``, by a thread that waits."""
        self._check_writable()
        self.files.put(key, value.as_buffer_like())

    def delete_sync(self, key: str) -> None:
        """``delete``, by a thread that waits."""
        self._check_writable()
        self.files.delete(key)

    async def _opened(self) -> None:
        if not self._is_open:
            await self._open()

    async def _writable(self, value: Buffer | None) -> None:
        await self._opened()
        self._check_writable()
        if value is not None and not isinstance(value, Buffer):
            raise TypeError(f"a value is a Buffer of zarr, not {type(value).__name__}")


def _folder(prefix: str) -> str:
    prefix = prefix.strip("/")
    return f"{prefix}/" if prefix else ""


def _buffer(prototype: BufferPrototype | None, content: bytes) -> Buffer:
    return cast(Buffer, (prototype or default_buffer_prototype()).buffer.from_bytes(content))


def _is_empty(wanted: ByteRequest | None) -> bool:
    """Whether no byte is wanted, but only if there is a value."""
    if isinstance(wanted, RangeByteRequest):
        return wanted.end <= wanted.start
    return isinstance(wanted, SuffixByteRequest) and wanted.suffix == 0


def _known(key: str, info: ObjectInfo, wanted: ByteRequest | None) -> Source | None:
    """What to ask for of what is known; None for nothing."""
    if _is_empty(wanted):
        return None
    if isinstance(wanted, SuffixByteRequest):
        if info.size is None or info.compress is not None:
            raise ValueError(f"{key}: how long its content is, is not known, so there are no last bytes of it")
        wanted = RangeByteRequest(max(0, info.size - wanted.suffix), info.size)
    return _source(key, wanted)


def _source(key: str, wanted: ByteRequest | None) -> Source:
    if wanted is None:
        return key
    if isinstance(wanted, RangeByteRequest):
        return {"path": key, "start": wanted.start, "end": wanted.end}
    if isinstance(wanted, OffsetByteRequest):
        return {"path": key, "start": wanted.offset}
    if isinstance(wanted, SuffixByteRequest):  # in one request, where the store counts from the end
        return {"path": key, "start": -wanted.suffix, "part": True}
    raise TypeError(f"Unexpected byte_range, got {wanted!r}.")


def _value(prototype: BufferPrototype, result: Result) -> Buffer | None:
    if isinstance(result["error"], ObjectNotFound):
        return None
    if isinstance(result["error"], RangeNotSatisfiable):
        return _buffer(prototype, b"")
    raise_failures("get", [result])
    return _buffer(prototype, result["content"])
