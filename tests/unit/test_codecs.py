"""Encodings, made and undone: whole, block by block, damaged, cut short, too large."""

from __future__ import annotations

import builtins
import bz2
import gzip
import lzma
import os
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from cloudfiles_hypha import DecompressionError, RangeNotSatisfiable, TransferError
from cloudfiles_hypha.content import codecs
from cloudfiles_hypha.content.codecs import (
    CODECS,
    SUFFIXES,
    codec_of,
    compress,
    compress_blocks,
    decompress,
    decompress_blocks,
    encoding_name,
    encodings_in,
    looks_encoded,
    range_of,
)

TEXT = b"".join(b"line %d of many\n" % number for number in range(20000))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "content", [b"", b"a", TEXT, bytes(3_000_000), os.urandom(3_000_000)], ids=["empty", "a", "text", "zeros", "noise"]
)
def test_what_is_encoded_is_decoded(codec: str, content: bytes) -> None:
    encoded = compress(content, codec)
    assert decompress(encoded, codec) == content
    assert decompress(memoryview(bytearray(encoded)), codec) == content
    assert compress(memoryview(content), codec) == encoded, "the same content gives the same bytes"
    if content == TEXT:
        assert len(encoded) < len(content) / 2


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_blocks_of_any_size_give_the_same_content(codec: str, size: int) -> None:
    content = TEXT[: 300 * size]
    blocks = [content[at : at + size] for at in range(0, len(content), size)]
    encoded = b"".join(compress_blocks(blocks, codec))
    assert decompress(encoded, codec) == content
    pieces = [encoded[at : at + size] for at in range(0, len(encoded), size)]
    assert b"".join(decompress_blocks(pieces, codec, len(content))) == content


@pytest.mark.parametrize("codec", CODECS)
def test_every_level_works_and_others_are_refused(codec: str) -> None:
    lowest, highest = codecs._LEVELS[codec]
    for level in range(lowest, highest + 1):
        assert decompress(compress(TEXT[:5000], codec, level), codec) == TEXT[:5000]
    for level in (lowest - 1, highest + 1, "6", True):
        with pytest.raises(ValueError, match="compression_level"):
            compress(b"", codec, level)  # type: ignore[arg-type]


def test_what_other_programs_make_is_decoded() -> None:
    assert decompress(gzip.compress(TEXT), "gzip") == TEXT
    assert decompress(bz2.compress(TEXT), "bz2") == TEXT
    assert decompress(lzma.compress(TEXT), "xz") == TEXT
    assert gzip.decompress(compress(TEXT, "gzip")) == TEXT
    assert bz2.decompress(compress(TEXT, "bz2")) == TEXT
    assert lzma.decompress(compress(TEXT, "xz")) == TEXT


def test_the_header_of_gzip_holds_no_time() -> None:
    for level in (None, 1, 9):
        assert compress(b"a", "gzip", level)[4:8] == bytes(4)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz", "bz2"])
def test_several_streams_are_one_content(codec: str) -> None:
    encoded = compress(TEXT, codec)
    assert decompress(encoded * 3, codec) == TEXT * 3
    pieces = [(encoded * 3)[at : at + 11] for at in range(0, 3 * len(encoded), 11)]
    assert b"".join(decompress_blocks(pieces, codec, 10**9)) == TEXT * 3


def test_streams_of_xz_may_have_padding_between_them() -> None:
    encoded = compress(b"a", "xz")
    assert decompress(encoded + bytes(4) + encoded + bytes(8), "xz") == b"aa"


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_that_is_cut_anywhere_is_an_error(codec: str) -> None:
    encoded = compress(b"hello, hello, hello " * 20, codec)
    for size in range(len(encoded)):
        with pytest.raises(DecompressionError, match="a/b: "):
            decompress(encoded[:size], codec, path="a/b")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("garbage", [b"x", b"garbage, quite a lot of it", b"\x00\x01", bytes(3)])
def test_whatever_follows_the_end_is_an_error(codec: str, garbage: bytes) -> None:
    if codec == "xz" and not any(garbage):
        return  # padding
    encoded = compress(TEXT, codec)
    with pytest.raises(DecompressionError):
        decompress(encoded + garbage, codec)
    with pytest.raises(DecompressionError):
        list(decompress_blocks([encoded, garbage], codec, 10**9))


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_no_such_stream_is_an_error(codec: str) -> None:
    for content in (b"plain text, nothing else", bytes(100), b"\xff" * 100):
        with pytest.raises(DecompressionError) as caught:
            decompress(content, codec, path="p")
        assert (caught.value.path, caught.value.retryable) == ("p", False)
        assert isinstance(caught.value, TransferError)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz", "bz2"])
def test_a_flipped_bit_is_found_or_makes_no_difference(codec: str) -> None:
    content = b"hello, hello, hello " * 20
    found = 0
    for bit in range(8 * len(compress(content, codec))):
        encoded = bytearray(compress(content, codec))
        encoded[bit // 8] ^= 1 << bit % 8
        try:
            assert decompress(encoded, codec) == content
        except DecompressionError:
            found += 1
    assert found > 4 * len(encoded)


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_is_stopped_before_it_takes_memory(codec: str) -> None:
    bomb = compress(bytes(200_000_000), codec, 1)
    tracemalloc.start()
    try:
        with pytest.raises(DecompressionError, match="more than 10000000 bytes"):
            decompress(bomb, codec, max_size=10_000_000)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()
    assert sum(map(len, decompress_blocks([bomb], codec, 200_000_000))) == 200_000_000


def test_the_bound_itself_is_allowed() -> None:
    assert decompress(compress(b"12345"), max_size=5) == b"12345"
    with pytest.raises(DecompressionError):
        decompress(compress(b"12345"), max_size=4)


def test_several_encodings_are_undone_in_reverse() -> None:
    encoded = compress(compress(TEXT, "gzip"), "br")
    assert decompress(encoded, "gzip, br") == TEXT
    assert decompress(encoded, " X-GZIP ,identity,BR") == TEXT
    with pytest.raises(DecompressionError):
        decompress(encoded, "br, gzip")


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (None, ()),
        ("", ()),
        ("identity", ()),
        ("aws-chunked", ()),
        ("aws-chunked,gzip", ("gzip",)),
        ("gzip, br", ("gzip", "br")),
        ("X-Gzip", ("gzip",)),
        ("zst", ("zstd",)),
        ("lzma", ("xz",)),
        ("bzip2", ("bz2",)),
        ("compress", ("compress",)),
    ],
)
def test_what_a_content_encoding_says(header: str | None, names: tuple[str, ...]) -> None:
    assert encodings_in(header) == names
    assert encoding_name(header) == (", ".join(names) or None)


def test_an_encoding_that_is_not_known_is_an_error() -> None:
    with pytest.raises(DecompressionError, match=r"'sdch'.*raw=True"):
        decompress(b"x", "gzip, sdch")


@pytest.mark.parametrize(
    ("given", "codec"),
    [(None, None), (False, None), ("", None), (True, "gzip"), ("GZ", "gzip"), ("brotli", "br"), ("bzip2", "bz2")],
)
def test_names_as_users_write_them(given: Any, codec: str | None) -> None:
    assert codec_of(given) == codec


def test_suffixes_are_names_too() -> None:
    assert [codec_of(suffix) for suffix in SUFFIXES.values()] == list(CODECS)
    for wrong in ("zip", 6, b"gzip"):
        with pytest.raises(ValueError, match="choose one of"):
            codec_of(wrong)


@pytest.mark.parametrize(("codec", "module"), [("br", "brotli"), ("zstd", "backports.zstd")])
def test_a_missing_extra_says_how_to_get_it(codec: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(codecs, "import_module", missing)
    if codec == "zstd":
        monkeypatch.setattr("sys.version_info", (3, 13))
    with pytest.raises(ModuleNotFoundError, match=r"cloudfiles_hypha\[compression\]"):
        compress(b"", codec)
    with pytest.raises(DecompressionError, match=r"cloudfiles_hypha\[compression\].*raw=True"):
        decompress(b"x", codec)


def test_gzip_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = codecs.import_module

    def only_ours(name: str) -> Any:
        if name != "zlib":
            raise ModuleNotFoundError(name)
        return real(name)

    before = compress(TEXT)
    monkeypatch.setattr(codecs, "import_module", only_ours)
    assert codecs._gzip_decoder() is zlib
    for encoded in (before, compress(TEXT), compress(TEXT, "gzip", 9)):
        assert decompress(encoded) == TEXT
        assert decompress(encoded * 2) == TEXT * 2
    with pytest.raises(DecompressionError):
        decompress(before[:-1])


def test_ranges_of_blocks() -> None:
    blocks = [b"0123", b"", b"4567", b"89"]
    for start in range(11):
        for end in (None, *range(start, 13)):
            assert b"".join(range_of(iter(blocks), start, end)) == b"0123456789"[start:end]
    with pytest.raises(RangeNotSatisfiable):
        list(range_of(iter(blocks), 11, None))
    assert list(range_of([], 5, None)) == []


def test_a_range_makes_no_more_blocks_than_it_needs() -> None:
    taken = []

    def blocks() -> Iterator[bytes]:
        for number in range(10):
            taken.append(number)
            yield bytes(10)

    assert b"".join(range_of(blocks(), 5, 15)) == bytes(10)
    assert taken == [0, 1]


@pytest.mark.parametrize("codec", CODECS)
def test_what_may_be_encoded_looks_so(codec: str) -> None:
    for content in (b"", b"a", TEXT):
        assert looks_encoded(iter([compress(content, codec)]))
    for content in (b"", b"a", TEXT, b"{}", b"\x89PNG" + TEXT):
        assert not looks_encoded(iter([content]))


def test_nothing_is_loaded_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    real = builtins.__import__

    def noting(name: str, *rest: Any) -> Any:
        loaded.append(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", noting)
    assert decompress(b"plain", None) == compress(b"plain", None) == b"plain"
    assert not {"brotli", "lzma", "bz2"} & set(loaded)
