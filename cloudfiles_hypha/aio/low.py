"""Files with explicit offsets: ``AIOFile``, which makes the one that a path is of; what both kinds have in common."""

from __future__ import annotations

import asyncio
import codecs
import io
import os
import re
from collections.abc import Callable, Generator
from functools import lru_cache
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..arguments import kind_of
from ..backends import has_scheme, locate

if TYPE_CHECKING:
    from typing_extensions import Self

Path: TypeAlias = "str | os.PathLike[str]"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SQUEEZED = re.compile(r"([a-z][a-z0-9+.-]+):/(?!/)")


class NotOpen(ValueError, asyncio.InvalidStateError):
    """The file is not open yet, or not any more."""


class FileMode(NamedTuple):
    """What a mode says; as aiofile has it."""

    readable: bool
    writable: bool
    plus: bool
    appending: bool
    created: bool
    flags: int
    binary: bool


def mode_of(mode: str) -> FileMode:
    """A mode, taken apart; ``ValueError`` for one that there is not."""
    kind = kind_of(mode)
    plus = "+" in kind
    readable, writable = plus or kind == "r", plus or kind != "r"
    flags = os.O_RDWR if plus else os.O_WRONLY if writable else os.O_RDONLY
    how = {"r": 0, "w": os.O_CREAT | os.O_TRUNC, "x": os.O_CREAT | os.O_EXCL, "a": os.O_CREAT | os.O_APPEND}
    return FileMode(readable, writable, plus, kind[0] == "a", kind[0] == "x", flags | how[kind[0]], "b" in mode)


def local_path(path: Path) -> str | None:
    """The path on this machine that is meant, or None where it is a cloudpath; ``ValueError`` if that cannot be said.

    What has a scheme is of a store, but for ``file://``. All else is a path as ``open`` takes it, ``workspace/alias``
    among them; in a string, ``~`` is a home folder.
    """
    if not isinstance(path, str):
        text = os.fsdecode(os.fspath(path))
        squeezed = _SQUEEZED.match(text)
        if squeezed is not None and has_scheme(squeezed[1]):
            raise ValueError(f"{text!r}: a Path makes one slash of the two behind the scheme; give a string")
        return text
    scheme = _SCHEME.match(path)
    if scheme is None:
        return os.path.expanduser(path) if path.startswith("~") else path
    if scheme[1] != "file":
        return None
    folder: str = getattr(locate(path), "folder")  # noqa: B009 -- what its backend adds to every location
    return folder


@lru_cache(maxsize=64)
def mark_of(encoding: str) -> bytes:
    """What text in an encoding begins with, before its first character: a byte order mark, or nothing."""
    return "".encode(encoding)


class AIOFile:
    """A file without a position: what is read and written says at which offset, so any number of tasks may do so.

    ``AIOFile(path)`` of this machine is aiofile's (which has to be there: ``cloudfiles_hypha[aio]``), with its
    ``context`` and ``executor``; ``AIOFile("s3://bucket/name")`` is the file of a store. It is read by ranges, through
    the cache of ``RangeFile``; with "w" and "x" it is written from its beginning to its end, and any other offset is
    an error; with "a" and "+" it is a temporary file meanwhile. It is stored when it is closed; a block that raises
    stores nothing. ``options`` are those of ``ArtifactFiles`` and of its ``open``; ``files`` is an ``ArtifactFiles`` or
    ``AsyncArtifactFiles`` to use, where the path is a name in it.

    ``async with AIOFile(...)`` or ``await AIOFile(...)`` opens it. Text is encoded and decoded as it is, without a look
    at the ends of lines.
    """

    mode: FileMode
    errors: str = "strict"
    _clones = 0  # how many more have asked for it, and so are to close it
    _swapped: bool | None = None  # whether its mark says the other order of bytes than this machine's, once known

    def __new__(
        cls,
        filename: Path,
        mode: str = "r",
        encoding: str = "utf-8",
        context: Any = None,
        executor: Any = None,
        *,
        errors: str = "strict",
        files: Any = None,
        **options: Any,
    ) -> Self:
        kind: type[AIOFile] = cls
        if getattr(cls, "_is_of_a_kind", None) is None:
            kind = _kind_of(cls, files is None and local_path(filename) is not None)
        made: Self = object.__new__(kind)  # type: ignore[assignment]  # it is one of cls
        return made

    @classmethod
    def from_fp(cls, fp: IO[Any], **options: Any) -> AIOFile:
        """That of a file which is open already, with its mode; to close this leaves it open."""
        kind = cls if getattr(cls, "_is_of_a_kind", None) is not None else _kind_of(cls, True)
        made: AIOFile = getattr(kind, "_from_fp")(fp, **options)  # noqa: B009 -- those of this machine have it
        return made

    # -- what each kind has, in its own way ---------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its path, or its cloudpath."""
        raise NotImplementedError

    @property
    def encoding(self) -> str:
        """That of text."""
        raise NotImplementedError

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it is used in."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether it is closed, or not open yet."""
        raise NotImplementedError

    def size_now(self) -> int:
        """How many bytes it has; where it is written, with those that were."""
        raise NotImplementedError

    async def open(self) -> int | None:
        """Open it, if that has not been done."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close it; one of a store is stored now."""
        raise NotImplementedError

    async def abort(self) -> None:
        """Close it; one of a store is not stored."""
        raise NotImplementedError

    def fileno(self) -> int:
        """Its number on this machine; ``io.UnsupportedOperation`` where it has none."""
        raise NotImplementedError

    async def read_bytes(self, size: int = -1, offset: int = 0) -> bytes:
        """So many bytes from an offset on, fewer at the end; all for -1."""
        raise NotImplementedError

    async def write_bytes(self, data: bytes, offset: int = 0) -> int:
        """Write all of it at an offset."""
        raise NotImplementedError

    async def fsync(self) -> None:
        """Have it on the disk. Of a store's, nothing is there before it is closed."""
        raise NotImplementedError

    async def fdsync(self) -> None:
        """Likewise, without what is known of the file besides its content and size."""
        raise NotImplementedError

    async def truncate(self, length: int = 0) -> None:
        """Cut it, or fill it up with zeros."""
        raise NotImplementedError

    # -- what is the same for all -------------------------------------------------------------------------------

    async def clone(self) -> Self:
        """The same file: it stays open until each that asked for it has closed it."""
        self._clones += 1
        return self

    async def read(self, size: int = -1, offset: int = 0) -> Any:
        """So many bytes from an offset on, as text where the mode says so; to the end for -1."""
        data = await self.read_bytes(size, offset)
        return data if self.mode.binary else self.decode_bytes(data)

    async def write(self, data: str | bytes, offset: int = 0) -> int:
        """Write all of it at an offset; the number of bytes."""
        if self.mode.binary:
            if isinstance(data, str):
                raise ValueError(f"{self.name!r}: data must be bytes in binary mode")
            return await self.write_bytes(data, offset)
        if not isinstance(data, str):
            raise ValueError(f"{self.name!r}: data must be str in text mode")
        return await self.write_bytes(self.encode_bytes(data), offset)

    def encode_bytes(self, data: str) -> bytes:
        """Text as bytes."""
        return data.encode(self.encoding, self.errors)

    def decode_bytes(self, data: bytes) -> str:
        """Bytes as text."""
        return data.decode(self.encoding, self.errors)

    def decoder(self, offset: int = 0) -> codecs.IncrementalDecoder:
        """What makes text of bytes that come piece by piece, from an offset on."""
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors)
        if offset and mark_of(self.encoding):
            decoder.setstate((b"", 0))  # there is no mark to be expected, but this machine's order of bytes
        return decoder

    async def decoder_at(self, offset: int) -> codecs.IncrementalDecoder:
        """``decoder``, in the order of bytes that the mark at the beginning of the file says."""
        decoder = self.decoder(offset)
        if offset and codecs.lookup(self.encoding).name in ("utf-16", "utf-32"):
            if self._swapped is None or self.mode.writable:  # what is written to may begin otherwise by now
                mark = mark_of(self.encoding)
                self._swapped = await self.read_bytes(len(mark), 0) == mark[::-1]
            decoder.setstate((b"", int(self._swapped)))
        return decoder

    def check_readable(self) -> None:
        """``io.UnsupportedOperation`` where the mode only writes."""
        if not self.mode.readable:
            raise io.UnsupportedOperation(f"{self.name!r}: it is open for writing only; a mode with + reads, too")

    def check_writable(self) -> None:
        """``io.UnsupportedOperation`` where the mode only reads."""
        if not self.mode.writable:
            raise io.UnsupportedOperation(f"{self.name!r}: it is open for reading only; mode r+ writes, too")

    def __repr__(self) -> str:
        return f"<AIOFile: {self.name!r}>"

    async def _opened(self) -> Self:
        await self.open()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._opened().__await__()

    async def __aenter__(self) -> Self:
        return await self._opened()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await left(self, error)


async def left(file: AIOFile, error: BaseException | None) -> None:
    """The end of a block: close it, or have nothing stored if the block raised, even if it is cancelled meanwhile."""
    if error is None:
        await file.close()
    else:
        await asyncio.shield(file.abort())


def _kind_of(cls: type[AIOFile], local: bool) -> type[AIOFile]:
    """Which kind of file, as a class of ``cls``."""
    if local:
        try:
            from .local import LocalFile as Kind
        except ModuleNotFoundError as error:
            if error.name not in ("aiofile", "caio"):
                raise
            raise ImportError(
                "files of this machine are aiofile's: install cloudfiles_hypha[aio], or aiofile itself"
            ) from error
    else:
        from .remote import RemoteFile as Kind  # type: ignore[assignment]
    if cls is AIOFile:
        return Kind
    if (cls, Kind) not in _subclasses:
        making: Callable[..., type[AIOFile]] = type
        _subclasses[cls, Kind] = making(cls.__name__, (cls, Kind), {"__module__": cls.__module__})
    return _subclasses[cls, Kind]


# Classes of somebody's, each over what a path is of.
_subclasses: dict[tuple[type, type], type[AIOFile]] = {}
