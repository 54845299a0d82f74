"""Encodings of content: what they are called, and how they are made and undone, whole or block by block. No I/O.

A codec is loaded when it is first used. All of them work off the interpreter lock, and none holds more than a block or
two of what it makes; what is undone is bounded, since a few bytes can stand for any number. ``transfers`` says when.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DecompressionError, RangeNotSatisfiable

if TYPE_CHECKING:
    from ..results import Result

MAX_SIZE = 1024**3
"""Bytes that content held in memory may have once it is decoded, unless ``max_size`` says otherwise."""
MAX_SIZE_ON_DISK = 64 * 1024**3
"""Likewise of content that goes to a file."""

Compress = str | bool | None
"""An encoding to store with: a name, True for gzip, None or False for none."""

# Bytes that are encoded or decoded at a time; and of those to decode, since what is left over is copied each time.
BLOCK = 1024 * 1024
_SLICE = 128 * 1024
# What an xz stream may have this library allocate: its highest preset needs an eighth of that.
_XZ_MEMORY = 512 * 1024 * 1024

SUFFIXES: Mapping[str, str] = {"gzip": ".gz", "br": ".br", "zstd": ".zstd", "xz": ".xz", "bz2": ".bz2"}
"""What ends the name of a file with an encoding, on a disk that keeps no other note of it."""
CODECS = tuple(SUFFIXES)
"""The encodings there are, as results name them and as they stand in Content-Encoding."""

_ALIASES = {
    "gz": "gzip",
    "x-gzip": "gzip",
    "brotli": "br",
    "zst": "zstd",
    "zstandard": "zstd",
    "lzma": "xz",
    "x-xz": "xz",
    "bzip2": "bz2",
    "x-bzip2": "bz2",
}
# Of these nothing is to be undone; the second says how a request's body was framed, and some stores keep it.
_NOTHING = frozenset({"", "identity", "aws-chunked"})
_LEVELS = {"gzip": (0, 9), "br": (0, 11), "zstd": (1, 22), "xz": (0, 9), "bz2": (1, 9)}
_EXTRA = "pip install 'cloudfiles_hypha[compression]'"


def codec_of(compress: object) -> str | None:
    """The codec that a user means; ``ValueError`` if there is none of that name."""
    if compress is None or compress is False or compress == "":
        return None
    if compress is True:
        return "gzip"
    if isinstance(compress, str):
        name = compress.strip().lower().removeprefix(".")
        name = _ALIASES.get(name, name)
        if name in SUFFIXES:
            return name
    raise ValueError(f"compress={compress!r}: choose one of {', '.join(map(repr, CODECS))}, or None")


def check_codec(codec: str, level: object) -> None:
    """Raise unless content can be encoded so, here: ``ValueError`` for the level, ``ModuleNotFoundError``."""
    if level is not None:
        lowest, highest = _LEVELS[codec]
        if not isinstance(level, int) or isinstance(level, bool) or not lowest <= level <= highest:
            raise ValueError(f"compression_level={level!r}: {codec} has {lowest} to {highest}")
    _MODULES[codec]()


@lru_cache(maxsize=256)
def encodings_in(header: str | None) -> tuple[str, ...]:
    """What a Content-Encoding says was done, in that order; names that are not known stay as they are."""
    names = [name.strip().lower() for name in (header or "").split(",")]
    return tuple(_ALIASES.get(name, name) for name in names if name not in _NOTHING)


def encoding_name(header: str | None) -> str | None:
    """The encoding that a Content-Encoding says, as results name it; None if there is nothing to undo."""
    return ", ".join(encodings_in(header)) or None


def check_encoding(header: str | None, path: str = "") -> None:
    """Raise ``DecompressionError`` unless what is stored so can be decoded here."""
    for name in encodings_in(header):
        if name not in SUFFIXES:
            raise DecompressionError(
                f"it is stored with the Content-Encoding {name!r}, which is not known here; raw=True gives it as it is",
                path=path,
            )
        try:
            _MODULES[name]()
        except ModuleNotFoundError as error:
            raise DecompressionError(f"{error}; raw=True gives it as it is stored", path=path) from error


_MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh")


def looks_encoded(blocks: Iterable[bytes]) -> bool:
    """Whether a file may be the outcome of a codec: False where it is certain that it is not."""
    left = iter(blocks)
    first = next(left, b"")
    if first.startswith(_MAGIC):
        return True
    try:  # brotli has no mark of its own; other content is seldom taken for it for long
        for _ in decompress_blocks(chain((first,), left), "br", MAX_SIZE_ON_DISK):
            continue
    except DecompressionError as error:
        return isinstance(error.__cause__, ModuleNotFoundError)
    return True


# -- encoding -------------------------------------------------------------------------------------------------------


def compress(data: bytes | bytearray | memoryview, codec: Compress = "gzip", level: int | None = None) -> bytes:
    """``data``, encoded. The same data, codec, level and library make the same bytes."""
    name = codec_of(codec)
    if name is None:
        return bytes(data)
    view = memoryview(data)
    blocks = (view[at : at + BLOCK] for at in range(0, len(view), BLOCK))
    return b"".join(compress_blocks(blocks, name, level))


def compress_blocks(blocks: Iterable[bytes | memoryview], codec: Compress, level: int | None = None) -> Iterator[bytes]:
    """Encode what comes in blocks, while it comes."""
    name = codec_of(codec)
    if name is None:
        yield from map(bytes, blocks)
        return
    check_codec(name, level)
    encode, end = _encoder(name, level)
    for block in blocks:
        if made := encode(block):
            yield made
    if made := end():
        yield made


def _encoder(codec: str, level: int | None) -> tuple[Callable[[bytes | memoryview], bytes], Callable[[], bytes]]:
    """What encodes a block, and what gives the rest."""
    if codec == "gzip":
        zlib, level = _gzip_encoder(level)
        made = zlib.compressobj(level, zlib.DEFLATED, 31)  # with the header of gzip, and no time in it
    elif codec == "br":
        made = _brotli().Compressor(quality=5 if level is None else level)
        return made.process, made.finish
    elif codec == "zstd":
        zstd = _zstd()
        option = zstd.CompressionParameter
        made = zstd.ZstdCompressor(options={option.compression_level: level or 3, option.checksum_flag: 1})
    elif codec == "xz":
        made = _lzma().LZMACompressor(preset=level)
    else:
        made = _bz2().BZ2Compressor(9 if level is None else level)
    return made.compress, made.flush


# -- decoding -------------------------------------------------------------------------------------------------------


def decompress(
    data: bytes | bytearray | memoryview, codec: Compress = "gzip", max_size: int | None = None, path: str = ""
) -> bytes:
    """``data``, decoded. ``codec`` may be a Content-Encoding, also of several.

    Raises ``DecompressionError``, which names ``path``, where data is damaged, cut short or followed by anything else,
    and if it has more than ``max_size`` bytes once decoded (1 GiB).
    """
    return b"".join(decompress_blocks((data,), codec, MAX_SIZE if max_size is None else max_size, path))


def decompress_blocks(
    blocks: Iterable[bytes | bytearray | memoryview], codec: Compress, max_size: int, path: str = ""
) -> Iterator[bytes]:
    """Decode what comes in blocks, while it comes; like ``decompress`` otherwise."""
    header = codec if isinstance(codec, str) else codec_of(codec)
    check_encoding(header, path)
    names = encodings_in(header)
    made: Iterable[bytes | bytearray | memoryview] = blocks
    for name in reversed(names):
        made = _decoded(made, name, path)
    size = 0
    for block in made:
        size += len(block)
        if size > max_size:
            raise DecompressionError(
                f"it has more than {max_size} bytes once it is decoded from {', '.join(names)}; "
                "max_size= allows more, raw=True gives it as it is stored",
                path=path,
            )
        yield block if isinstance(block, bytes) else bytes(block)


def range_of(blocks: Iterable[bytes], start: int, end: int | None) -> Iterator[bytes]:
    """Bytes ``[start, end)`` of what comes in blocks; no more of these are made than are needed.

    Where it ends before ``start`` that is a ``RangeNotSatisfiable``, unless it is empty.
    """
    at = 0
    for block in blocks:
        wanted = block[max(0, start - at) : None if end is None else max(0, end - at)]
        at += len(block)
        if wanted:
            yield wanted
        if end is not None and at >= end:
            return
    if start > at > 0:
        raise RangeNotSatisfiable(f"no such bytes: the range starts at {start}, decoded it has {at}", status=416)


class _Decoder(Protocol):
    """One stream; what is encoded may be several, one after the other."""

    @property
    def ended(self) -> bool:
        """Whether its end has come."""

    @property
    def rest(self) -> bytes:
        """What has come behind the end."""

    def feed(self, block: memoryview) -> Iterator[bytes]:
        """What more input gives, in blocks."""


def _decoded(blocks: Iterable[bytes | bytearray | memoryview], codec: str, path: str) -> Iterator[bytes]:
    """What several streams of one codec give, one after the other."""
    make, failures = _decoder(codec)
    decoder = make()
    begun = False
    try:
        for block in blocks:
            view = memoryview(block)
            for at in range(0, len(view), _SLICE):
                left = view[at : at + _SLICE]
                while left:
                    if decoder.ended:
                        if codec == "br":  # which knows no second stream
                            raise DecompressionError("it cannot be decoded: something follows its end", path=path)
                        if codec == "xz":  # whose streams may have padding between them
                            left = memoryview(bytes(left).lstrip(b"\0"))
                            if not left:
                                break
                        decoder = make()
                    begun = True
                    yield from decoder.feed(left)
                    if not decoder.ended:
                        break
                    left = memoryview(decoder.rest)
    except failures as error:
        raise DecompressionError(
            f"it cannot be decoded: it is damaged, or not {codec}, or not to its end ({error or type(error).__name__})",
            path=path,
        ) from None
    if not decoder.ended:
        what = "it is cut short" if begun else "there is nothing"
        raise DecompressionError(f"it cannot be decoded from {codec}: {what}", path=path)


class _Ending:
    """Around a decompressor that tells where a stream has ended, and what came behind it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @property
    def ended(self) -> bool:
        return bool(self._inner.eof)

    @property
    def rest(self) -> bytes:
        return bytes(self._inner.unused_data)


class _Inflate(_Ending):
    """Around what has the manner of ``zlib.decompressobj``."""

    def feed(self, block: memoryview) -> Iterator[bytes]:
        inner = self._inner
        left: memoryview | bytes = block
        while True:
            made = inner.decompress(left, BLOCK)
            if made:
                yield made
            left = inner.unconsumed_tail
            if inner.eof or (not left and len(made) < BLOCK):
                return


class _Decompressor(_Ending):
    """Around what has the manner of ``bz2.BZ2Decompressor``."""

    def feed(self, block: memoryview) -> Iterator[bytes]:
        inner = self._inner
        left: memoryview | bytes = block
        while True:
            made = inner.decompress(left, BLOCK)
            if made:
                yield made
            left = b""
            if inner.eof or inner.needs_input:
                return


class _Brotli:
    """Around ``brotli.Decompressor``, which refuses what follows the end in the same block."""

    rest = b""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @property
    def ended(self) -> bool:
        return bool(self._inner.is_finished())

    def feed(self, block: memoryview) -> Iterator[bytes]:
        inner = self._inner
        left: memoryview | bytes = block
        while True:
            made = inner.process(left, output_buffer_limit=BLOCK)
            if made:
                yield made
            left = b""
            # it may have output left although it takes more input
            if inner.is_finished() or (not made and inner.can_accept_more_data()):
                return


def _decoder(codec: str) -> tuple[Callable[[], _Decoder], tuple[type[Exception], ...]]:
    """What makes the decoder of one stream, and what those raise."""
    if codec == "gzip":
        zlib = _gzip_decoder()
        return lambda: _Inflate(zlib.decompressobj(31)), (zlib.error,)
    if codec == "br":
        brotli = _brotli()
        return lambda: _Brotli(brotli.Decompressor()), (brotli.error,)
    if codec == "zstd":
        zstd = _zstd()
        return lambda: _Decompressor(zstd.ZstdDecompressor()), (zstd.ZstdError,)
    if codec == "xz":
        lzma = _lzma()
        return lambda: _Decompressor(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)), (lzma.LZMAError,)
    bz2 = _bz2()
    return lambda: _Decompressor(bz2.BZ2Decompressor()), (OSError, ValueError)


# -- results --------------------------------------------------------------------------------------------------------


def transcode(
    results: Iterable[Result | Mapping[str, Any] | tuple[str, Any]],
    to: Compress,
    level: int | None = None,
    *,
    max_size: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Results of ``get``, or pairs of path and content, with their content encoded with ``to``, one after the other.

    What is ``raw`` and encoded so already is left as it is; anything else is decoded, up to ``max_size`` bytes, and
    encoded. The dicts are new, ``raw`` if they are encoded, and ``puts`` takes them. What has failed stays as it is.
    """
    codec = codec_of(to)
    if codec is not None:
        check_codec(codec, level)
    for item in results:
        if isinstance(item, tuple):
            item = {"path": item[0], "content": item[1], "compress": None, "raw": False}
        result: dict[str, Any] = dict(item)
        content, path, present = result["content"], result["path"], None
        if content is not None and result.get("error") is None:
            if isinstance(content, str):
                content = content.encode("utf-8")
            if result.get("raw"):
                present = encoding_name(result["compress"])
                if present is not None and result.get("byte_range", (None, None)) != (None, None):
                    raise ValueError(f"{path!r}: a range of what is encoded cannot be decoded")
            if present != codec:
                content = compress(decompress(content, present, max_size, path), codec, level)
            result.update(content=content, compress=codec, raw=codec is not None)
        yield result


# -- libraries ------------------------------------------------------------------------------------------------------


def _first(*names: str) -> Any:
    for name in names[:-1]:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    return import_module(names[-1])


def _gzip_encoder(level: int | None) -> tuple[Any, int]:
    """A level means what it means to zlib; where none is asked for, the fastest library takes its own."""
    if level is None:
        try:
            return import_module("isal.isal_zlib"), 2
        except ModuleNotFoundError:
            level = 6
    return _first("zlib_ng.zlib_ng", "zlib"), level


def _gzip_decoder() -> Any:
    return _first("isal.isal_zlib", "zlib_ng.zlib_ng", "zlib")


def _brotli() -> Any:
    return _of_extra("brotli", "br")


def _zstd() -> Any:
    return import_module("compression.zstd") if sys.version_info >= (3, 14) else _of_extra("backports.zstd", "zstd")


def _of_extra(name: str, codec: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{codec} needs the extra 'compression': {_EXTRA}", name=name) from None


def _lzma() -> Any:
    return import_module("lzma")


def _bz2() -> Any:
    return import_module("bz2")


_MODULES: Mapping[str, Callable[[], object]] = {
    "gzip": _gzip_decoder,
    "br": _brotli,
    "zstd": _zstd,
    "xz": _lzma,
    "bz2": _bz2,
}
