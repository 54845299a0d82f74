"""Whatever can be uploaded becomes bytes, or a body that gives the same bytes each time it is opened."""

from __future__ import annotations

import array
import ctypes
import gc
import io
import itertools
import os
import pathlib
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from cloudfiles_hypha.content.sources import as_body
from cloudfiles_hypha.models import Body

TEN = b"0123456789"


class OneWay(io.RawIOBase):
    """A stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(min(size, 7) if size >= 0 else 7)


def read_all(body: bytes | memoryview | Body) -> bytes:
    """The bytes of a body, read in steps as a transport would."""
    if not isinstance(body, Body):
        return bytes(body)
    with body.open() as reader:
        return b"".join(iter(lambda: reader.read(4096), b""))


@pytest.mark.parametrize(
    "content",
    [
        TEN,
        bytearray(TEN),
        memoryview(TEN),
        memoryview(b"xx" + TEN + b"xx")[2:-2],
        memoryview(bytes(itertools.chain(*((byte, 0) for byte in TEN))))[::2],
        memoryview(TEN[::-1])[::-1],
        TEN.decode(),
        array.array("B", TEN),
        (ctypes.c_ubyte * 10)(*TEN),
        numpy.frombuffer(TEN, "u1"),
        numpy.frombuffer(TEN, "u1").reshape(2, 5),
        numpy.frombuffer(TEN, ">u2"),
        io.BytesIO(TEN),
        OneWay(TEN),
    ],
    ids=lambda content: type(content).__name__,
)
def test_every_kind_of_content_gives_its_bytes(content: Any) -> None:
    body = as_body(content, "a")
    assert read_all(body) == TEN
    assert (body.size if isinstance(body, Body) else len(body)) == 10


@pytest.mark.parametrize(
    "matrix", [numpy.arange(12.0).reshape(3, 4), numpy.arange(12.0).reshape(3, 4).T, numpy.arange(24.0)[::2]]
)
def test_an_array_is_stored_in_the_order_of_its_indices_however_it_lies_in_memory(matrix: Any) -> None:
    assert read_all(as_body(matrix, "a")) == matrix.tobytes()
    assert read_all(as_body(numpy.asfortranarray(matrix), "a")) == matrix.tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        "",
        bytearray(),
        memoryview(b""),
        array.array("d"),
        numpy.zeros((0, 3)),
        numpy.zeros(0),
        io.BytesIO(),
        OneWay(b""),
    ],
    ids=lambda content: type(content).__name__,
)
def test_nothing_is_a_content_too(content: Any) -> None:
    assert read_all(as_body(content, "a")) == b""


def test_bytes_are_not_copied() -> None:
    assert as_body(TEN, "a") is TEN


def test_text_is_utf8() -> None:
    assert as_body("Grüße 🦆", "a") == "Grüße 🦆".encode()


@pytest.mark.parametrize("wrap", [Path, pathlib.PurePosixPath], ids=["Path", "PurePath"])
def test_a_path_is_read_afresh_each_time(tmp_path: Path, wrap: type[os.PathLike[str]]) -> None:
    (tmp_path / "a").write_bytes(TEN)
    body = as_body(wrap(str(tmp_path / "a")), "a")
    assert [read_all(body), read_all(body)] == [TEN, TEN]


def test_a_path_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        as_body(tmp_path / "missing", "a")


@pytest.mark.parametrize("offset", [0, 4, 10, 15])
def test_an_open_file_is_read_from_where_it_stands_each_time_and_left_open(tmp_path: Path, offset: int) -> None:
    (tmp_path / "a").write_bytes(TEN)
    with (tmp_path / "a").open("rb") as file:
        file.seek(offset)
        body = as_body(file, "a")
        assert isinstance(body, Body)
        assert body.size == len(TEN[offset:])
        assert [read_all(body), read_all(body)] == [TEN[offset:]] * 2
        assert not file.closed
        with body.open() as reader:
            reader.read(2)
            reader.seek(1)
            assert reader.read() == TEN[offset + 1 :]


def test_one_open_file_read_by_several_at_once_gives_each_the_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    (tmp_path / "a").write_bytes(content)
    with (tmp_path / "a").open("rb") as file:
        one, two = as_body(file, "a"), as_body(file, "b")
        assert isinstance(one, Body)
        assert isinstance(two, Body)
        with one.open() as first, two.open() as second, one.open() as third:
            got: list[bytes] = [b"", b"", b""]
            for _ in range(len(content) // 1000 + 1):  # interleaved step by step
                for index, reader in enumerate((first, second, third)):
                    got[index] += reader.read(1000)
        assert [part == content for part in got] == [True] * 3

        outcome: list[bool] = []
        threads = [threading.Thread(target=lambda: outcome.append(read_all(one) == content)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcome == [True] * 8


def test_what_cannot_be_read_twice_is_copied_whatever_its_size() -> None:
    large = os.urandom(1024) * 9 * 1024  # beyond what is copied to memory
    body = as_body(io.BufferedReader(io.BytesIO(large)), "a")
    assert read_all_fast(body) == large

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self._inner = io.BytesIO(large)

        def read(self, size: int = -1) -> bytes:
            return self._inner.read(size)

    body = as_body(Pipe(), "a")
    assert isinstance(body, Body)
    assert [read_all_fast(body) == large, read_all_fast(body) == large] == [True, True]
    assert body.size == len(large)


def read_all_fast(body: bytes | memoryview | Body) -> bytes:
    assert isinstance(body, Body)
    with body.open() as reader:
        return reader.read()


def test_a_real_pipe_can_be_uploaded() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe:
        with os.fdopen(writer, "wb") as end:
            end.write(TEN)
        body = as_body(pipe, "a")
        assert [read_all(body), read_all(body)] == [TEN, TEN]


def test_a_copy_is_closed_with_its_body_and_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    original = tempfile.SpooledTemporaryFile

    def watch(*args: Any) -> Any:
        made.append(original(*args))
        return made[-1]

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", watch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        body = as_body(OneWay(TEN), "a")
        assert read_all(body) == TEN
        del body
        gc.collect()
    assert [spool.closed for spool in made] == [True]
    assert caught == []


@pytest.mark.parametrize(
    "content",
    [None, 7, 1.5, ["a"], [b"a"], [1, 2], (b"a",), {"a": 1}, object(), range(3)],
    ids=lambda content: type(content).__name__,
)
def test_what_has_no_bytes_is_refused_by_name(content: Any) -> None:
    with pytest.raises(TypeError, match=r"'dir/a': cannot upload"):
        as_body(content, "dir/a")


def test_text_files_are_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'a': .*binary mode"):
        as_body(io.StringIO("text"), "a")
    with (tmp_path / "a").open("w") as file, pytest.raises(TypeError, match="binary mode"):
        as_body(file, "a")

    class Texts:
        def read(self, size: int = -1) -> str:
            return "text"

    with pytest.raises(TypeError, match="binary mode"):
        read_all(as_body(Texts(), "a"))


@pytest.mark.parametrize("block", ["text", 1, None, [1], (b"a",)], ids=lambda block: type(block).__name__)
def test_an_iterator_of_anything_but_bytes_is_refused_when_that_comes(block: object) -> None:
    body = as_body(iter([b"a", block]), "dir/a")
    for _ in range(2):  # what comes after an error is no end
        with pytest.raises(TypeError, match=r"'dir/a': .* gives .*; expected blocks of bytes"):
            read_all(body)


def test_a_generator_that_has_ended_is_refused_since_it_would_be_taken_for_an_empty_content() -> None:
    blocks = (block for block in (b"a", b"b"))
    assert read_all(as_body(blocks, "a")) == b"ab"
    with pytest.raises(ValueError, match=r"'a': .*read to its end"):
        as_body(blocks, "a")


def test_blocks_that_lie_in_the_same_place_one_after_the_other_are_copied() -> None:
    def blocks() -> Iterator[bytearray]:
        same = bytearray(3)
        for each in (b"abc", b"def", b"ghi"):
            same[:] = each
            yield same

    assert read_all(as_body(blocks(), "a")) == b"abcdefghi"
    assert read_all(as_body(iter([numpy.arange(3, dtype="u1"), b"", memoryview(b"xyz")[::2]]), "a")) == b"\0\1\2xz"
