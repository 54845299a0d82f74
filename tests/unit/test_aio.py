"""``async_open`` and ``AIOFile``: one interface for files of this machine and of stores, and where the two differ."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiofile", reason="files of this machine are aiofile's")

import aiofile
from caio import python_aio_asyncio, thread_aio_asyncio

from cloudfiles_hypha import (
    AIOFile,
    ArtifactFiles,
    AsyncArtifactFiles,
    LineReader,
    ObjectNotFound,
    RangeCache,
    Reader,
    Writer,
    async_open,
)
from cloudfiles_hypha.aio import local, remote
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Hang, ObjectServer

TEXT = "Zeile eins\nzwei mit Umläuten: äöü\n\n日本語の行\nwithout an end: 🦒"
LINES = io.StringIO(TEXT).readlines()
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "gb18030"]


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(main())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has read is not there for another."""
    from cloudfiles_hypha.ranges import cache

    monkeypatch.setattr(cache, "_default", RangeCache())


@pytest.fixture(autouse=True)
def nothing_is_shared_any_more() -> Iterator[None]:
    """Files that were opened have given back what they shared."""
    yield
    assert remote._Shared._open == {}


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a file is to be: on this machine, or in a store."""
    return str(tmp_path / "file") if request.param == "local" else f"mem://aio/{tmp_path.name}"


def stored(place: str) -> bytes:
    """What is there, by another way."""
    if "://" not in place:
        return Path(place).read_bytes()
    root, _, name = place.rpartition("/")
    content: bytes = ArtifactFiles(root).get(name)
    return content


def store(place: str, content: bytes) -> None:
    if "://" not in place:
        Path(place).write_bytes(content)
        return
    root, _, name = place.rpartition("/")
    ArtifactFiles(root).put(name, content)


# -- async_open, the same for both


def test_what_is_written_is_read_again(place: str) -> None:
    async def main() -> None:
        async with async_open(place, "w+") as file:
            assert await file.write("Hello ") == 6
            assert await file.write("wörld\n") == 7  # bytes
            assert file.tell() == 13
            file.seek(0)
            assert await file.read(8) == "Hello wö"
            assert await file.read() == "rld\n"
            assert await file.read() == ""
            assert not file.closed
            assert file.name == place
        assert file.closed

    run(main)
    assert stored(place) == "Hello wörld\n".encode()


def test_bytes_are_bytes(place: str) -> None:
    async def main() -> None:
        async with async_open(place, "wb") as file:
            await file.write(bytearray(b"123"))
            await file.write(b"456\r\n7")
        async with async_open(place, "rb") as file:
            assert await file.read(2) == b"12"
            assert await file.readline() == b"3456\r\n"
            assert await file.readline() == b"7"
            assert await file.readline() == b""
            assert await file.read(0) == b""

    run(main)


def test_it_may_be_awaited_instead_of_entered(place: str) -> None:
    async def main() -> None:
        file = await async_open(place, "w")
        await file.write("Hello")
        await file.close()
        await file.close()

    run(main)
    assert stored(place) == b"Hello"


def test_seek_and_tell_are_plain_and_may_be_awaited(place: str) -> None:
    store(place, b"0123456789")

    async def main() -> None:
        async with async_open(place, "rb") as file:
            assert (file.seek(3), await file.seek(2, 1), await file.seek(-4, 2)) == (3, 5, 6)
            assert (file.tell(), await file.tell()) == (6, 6)
            assert await file.read() == b"6789"
            assert file.seek(100) == 100
            assert await file.read() == b""
            for wrong in ((-1, 0), (-100, 2), (0, 3)):
                with pytest.raises(ValueError):
                    file.seek(*wrong)

    run(main)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_character_is_cut_in_two(place: str, encoding: str) -> None:
    store(place, TEXT.encode(encoding))

    async def main() -> None:
        async with async_open(place, encoding=encoding) as file:
            found = []
            while piece := await file.read(3):
                found.append(piece)
            assert [len(piece) for piece in found[:-1]] == [3] * (len(found) - 1)
            assert "".join(found) == TEXT
            file.seek(0)
            assert "".join([chunk async for chunk in file.iter_chunked(1)]) == TEXT
            file.seek(0)
            assert await file.read() == TEXT

    run(main)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lines_are_lines_in_every_encoding(place: str, encoding: str) -> None:
    store(place, TEXT.encode(encoding))

    async def main() -> None:
        async with async_open(place, encoding=encoding) as file:
            assert [line async for line in file] == LINES
            assert [await file.readline() for _ in range(len(LINES) + 1)] == [*LINES, ""]
            file.seek(0)
            await file.readline()
            assert await file.readline(4) == "zwei"  # at most so many characters
            assert await file.read(5) == " mit "
            assert await file.readline() == LINES[1][9:]
            assert [line async for line in file] == LINES[2:]  # from where it stands, which stays
            assert await file.readline() == "\n"

    run(main)


def test_text_that_is_written_in_pieces_begins_once(place: str) -> None:
    async def main() -> None:
        async with async_open(place, "w", encoding="utf-16") as file:
            for letter in TEXT:
                await file.write(letter)

    run(main)
    assert stored(place) == TEXT.encode("utf-16")


def test_what_cannot_be_decoded_is_told_or_replaced(place: str) -> None:
    store(place, b"good\nb\xffd\ncut: \xc3")

    async def main() -> None:
        async with async_open(place) as file:
            assert await file.readline() == "good\n"
            for read in (file.readline, file.read):
                with pytest.raises(UnicodeDecodeError):
                    await read()
                assert file.tell() == 5
        async with async_open(place, errors="replace") as file:
            assert await file.read() == "good\nb\ufffdd\ncut: \ufffd"
            file.seek(5)
            assert [await file.readline(), await file.readline()] == ["b\ufffdd\n", "cut: \ufffd"]

    run(main)


def test_lines_end_as_it_is_said(place: str) -> None:
    store(place, b"a\r\nb\nc;d\r\n")

    async def main() -> None:
        async with async_open(place, newline="\r\n") as file:
            assert [line async for line in file] == ["a\r\n", "b\nc;d\r\n"]
            assert await file.readline() == "a\r\n"
            assert await file.readline(newline=";") == "b\nc;"
        async with async_open(place, "rb") as file:
            assert await file.readline(newline=b"b\n") == b"a\r\nb\n"
            with pytest.raises(ValueError, match="empty"):
                await file.readline(newline="")

    run(main)


def test_a_long_line_and_one_end_across_blocks_are_found(place: str) -> None:
    long = b"x" * 40_000 + b"<>"
    store(place, b"y" * (16 * 1024 - 1) + b"<>" + long + b"<")

    async def main() -> None:
        async with async_open(place, "rb", newline="<>") as file:
            assert len(await file.readline()) == 16 * 1024 + 1
            assert await file.readline() == long
            assert await file.readline() == b"<"
        async with AIOFile(place, "rb") as low:
            for chunk_size in (1, 7, 16 * 1024, 10**6):
                reader = LineReader(low, chunk_size=chunk_size, line_sep="<>")
                if chunk_size > 1:
                    assert [len(line) async for line in reader] == [16 * 1024 + 1, 40_002, 1]

    run(main)


def test_appending_goes_on_at_the_end(place: str) -> None:
    store(place, b"123")

    async def main() -> None:
        async with async_open(place, "a+") as file:
            assert file.tell() == 3
            file.seek(0)
            await file.write("45")
            assert file.tell() == 5
            file.seek(0)
            assert await file.read() == "12345"
        async with async_open(place, "ab") as file:
            await file.write(b"6")

    run(main)
    assert stored(place) == b"123456"


def test_what_is_there_is_changed_in_places_and_cut(place: str) -> None:
    store(place, b"0123456789")

    async def main() -> None:
        async with async_open(place, "rb+") as file:
            file.seek(3)
            await file.write(b"xyz")
            file.seek(2)
            assert await file.read(5) == b"2xyz6"
            assert await file.truncate() == 7
            await file.flush()
            assert file.seek(0, 2) == 7
            assert await file.truncate(9) == 9
            file.seek(0)
            assert await file.read() == b"012xyz6\0\0"

    run(main)
    assert stored(place) == b"012xyz6\0\0"


def test_a_line_that_was_at_hand_is_not_read_after_it_was_overwritten(place: str) -> None:
    store(place, b"one\ntwo\n")

    async def main() -> None:
        async with async_open(place, "r+") as file:
            assert await file.readline() == "one\n"
            await file.write("TWO")
            file.seek(4)
            assert await file.readline() == "TWO\n"

    run(main)


def test_tasks_that_write_at_once_have_places_of_their_own(place: str) -> None:
    async def main() -> None:
        async with async_open(place, "w") as file:
            await asyncio.gather(*(file.write(f"{number}\n" * 1000) for number in range(10)))

    run(main)
    assert sorted(stored(place).split()) == sorted(b"%d" % number for number in range(10) for _ in range(1000))


def test_new_files_are_new(place: str) -> None:
    async def main() -> None:
        async with async_open(place, "x") as file:
            await file.write("1")
        with pytest.raises(FileExistsError):
            await async_open(place, "x")

    run(main)
    assert stored(place) == b"1"


# -- mistakes


def test_a_missing_file_is_an_error_of_entering_it(place: str) -> None:
    async def main() -> None:
        for mode in ("r", "rb", "r+"):
            file = async_open(place, mode)
            with pytest.raises(FileNotFoundError):
                await file.__aenter__()
            with pytest.raises(FileNotFoundError):
                await async_open(place, mode)

    run(main)


def test_a_file_that_is_closed_or_not_open_says_so(place: str) -> None:
    store(place, b"1")

    async def main() -> None:
        for file in (async_open(place, "rb+"), async_open(place, "rb")):
            uses = [lambda f: f.read(), lambda f: f.read(1), lambda f: f.readline(), lambda f: f.flush()]
            uses.append(lambda f: anext(f.iter_chunked()))
            uses.append(lambda f: anext(aiter(f)))
            if file.writable():
                uses += [lambda f: f.write(b"x"), lambda f: f.truncate(1)]
            for state in ("not open", "is closed"):
                for use in uses:
                    with pytest.raises(ValueError, match="open" if state == "not open" else "closed|not open"):
                        await use(file)
                with pytest.raises(ValueError):
                    file.seek(0, 2)
                if state == "not open":
                    await file
                    await file.readline()
                    await file.close()
            with pytest.raises(ValueError, match="closed"):
                await file

    run(main)


def test_what_the_mode_does_not_do_is_refused(place: str) -> None:
    async def main() -> None:
        async with async_open(place, "w") as file:
            assert (file.readable(), file.writable()) == (False, True)
            for read in (file.read, file.readline, lambda: file.file.read(1)):
                with pytest.raises(io.UnsupportedOperation, match="writing only"):
                    await read()
            with pytest.raises(TypeError, match="text"):
                await file.write(b"bytes")  # type: ignore[arg-type]
        async with async_open(place, "rb") as binary:
            assert (binary.readable(), binary.writable()) == (True, False)
            for write in (lambda: binary.write(b"1"), lambda: binary.truncate(0), lambda: binary.file.write(b"1")):
                with pytest.raises(io.UnsupportedOperation, match="reading only"):
                    await write()
        async with async_open(place, "wb") as binary:
            with pytest.raises(TypeError, match="bytes"):
                await binary.write("text")  # type: ignore[arg-type]

    run(main)


@pytest.mark.parametrize("mode", ["", "q", "rw", "rbt", "r++", "+"])
def test_a_mode_that_there_is_not_is_refused_before_anything_is_opened(place: str, mode: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="mode="):
            async_open(place, mode)

    run(main)
    assert not Path(place).exists()


def test_plain_with_and_for_are_errors_and_open_nothing(place: str) -> None:
    async def main() -> None:
        file: Any = async_open(place, "w")
        with pytest.raises(TypeError), file:
            pass
        with pytest.raises(TypeError):
            iter(file)
        assert file.closed

    run(main)
    assert not Path(place).exists()


def test_options_of_stores_are_refused_for_local_files(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="content_type"):
            async_open(tmp_path / "a", "w", content_type="text/plain")
        with pytest.raises(TypeError):
            await async_open("mem://aio/a", "w", colour="blue")
        with pytest.raises(TypeError, match="num_threads"):
            async_open("a", files=ArtifactFiles("mem://aio"), num_threads=1)
        with pytest.raises(TypeError, match="expected a path"):
            async_open(io.BytesIO())

    run(main)


# -- which file is meant


def test_what_has_no_scheme_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "workspace").mkdir()

    async def main() -> None:
        for path in (
            "workspace/alias",
            "./a",
            "../" + tmp_path.name + "/b",
            "~/c",
            f"file://{tmp_path}/d",
            str(tmp_path / "e"),
        ):
            async with async_open(path, "w") as file:
                assert isinstance(file.file, aiofile.AIOFile)
        for path in (tmp_path / "f", os.fsencode(tmp_path / "g")):
            async with async_open(Path(os.fsdecode(path)), "w") as file:
                assert isinstance(file.file, AIOFile)

    run(main)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a", "alias", *"bcdefg"]


def test_a_path_cannot_hold_a_cloudpath_and_a_cloudpath_names_a_file() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="give a string"):
            async_open(Path("s3://bucket/name"))
        for wrong in ("mem://", "mem://aio/", "nothing://a/b"):
            with pytest.raises(ValueError):
                async_open(wrong)

    run(main)


def test_an_open_file_keeps_its_mode_and_stays_open(tmp_path: Path) -> None:
    async def main(opened: Any) -> None:
        async with async_open(opened) as file:
            await file.write(b"Hello\nworld")
            file.seek(0)
            assert await file.readline() == b"Hello\n"

    with (tmp_path / "a").open("w+b") as opened:
        asyncio.run(main(opened))
        assert not opened.closed


def test_a_web_address_is_read_by_ranges(object_server: ObjectServer) -> None:
    object_server.put("a.txt", TEXT.encode() * 1000)

    async def main() -> None:
        async with async_open(f"{object_server.url}/a.txt?key=secret") as file:
            assert await file.readline() == LINES[0]
            assert "secret" not in repr(file) + file.name + repr(file.file)
        assert object_server.bytes_sent < 40_000

    run(main)


def test_names_in_files_that_are_there_share_their_connections(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncArtifactFiles("mem://aio-files") as files:
            async with async_open("a.txt", "w", files=files) as file:
                await file.write("A")
            async with async_open("a.txt", files=files.files) as file:
                assert await file.read() == "A"
            with pytest.raises(ValueError):
                async_open("../a", files=files)
            with pytest.raises(TypeError, match="name of a file"):
                async_open(io.StringIO(), files=files)

    run(main)


def test_files_of_one_place_that_are_open_at_once_share_what_reads_them(object_server: ObjectServer) -> None:
    for number in range(20):
        object_server.put(f"d/{number}", b"%d" % number)

    async def one(number: int) -> bytes:
        async with async_open(f"{object_server.url}/d/{number}", "rb") as file:
            assert len(remote._Shared._open) == 1
            return await file.read()

    async def main() -> None:
        assert await asyncio.gather(*map(one, range(20))) == [b"%d" % number for number in range(20)]

    run(main)


def test_a_block_that_raises_stores_nothing() -> None:
    async def half(make: Callable[..., Any], mode: str) -> None:
        async with make("mem://aio-raised/a", mode) as file:
            await file.write("half")
            raise KeyError

    async def main() -> None:
        for mode in ("w", "w+"):
            for make in (async_open, AIOFile):
                with pytest.raises(KeyError):
                    await half(make, mode)
        with pytest.raises(ObjectNotFound):
            ArtifactFiles("mem://aio-raised").get("a")

    run(main)


# -- AIOFile


def test_many_read_and_write_at_offsets_of_their_own(place: str) -> None:
    async def main() -> None:
        async with AIOFile(place, "w+") as file:
            await asyncio.gather(*(file.write("Hello world\n", offset=number * 12) for number in range(10)))
            await file.fsync()
            await file.fdsync()
            assert await file.read(120) == "Hello world\n" * 10
            found = await asyncio.gather(*(file.read_bytes(11, number * 12) for number in range(10)))
            assert set(found) == {b"Hello world"}
            assert await file.read(offset=114) == "world\n"
            await file.truncate(5)
            assert await file.read() == "Hello"
            assert file.size_now() == 5

    run(main)
    assert stored(place) == b"Hello"


def test_a_gap_is_filled_with_zeros(place: str) -> None:
    async def main() -> None:
        async with AIOFile(place, "w+") as file:
            await file.write("Hello ")
            await file.write("world", offset=7)

    run(main)
    assert stored(place) == b"Hello \0world"


def test_types_are_those_of_the_mode(place: str) -> None:
    async def main() -> None:
        async with AIOFile(place, "w+") as file:
            with pytest.raises(ValueError, match="str in text mode"):
                await file.write(b"1")
            assert (file.encoding, file.mode.binary, file.mode.plus) == ("utf-8", False, True)
            assert file.loop is asyncio.get_running_loop()
        async with AIOFile(place, "wb") as file:
            with pytest.raises(ValueError, match="bytes in binary mode"):
                await file.write("1")
        async with AIOFile(place, "rb") as file:
            with pytest.raises(ValueError):
                await file.read(-2)

    run(main)


def test_readers_and_writers_go_one_after_the_other(place: str) -> None:
    async def main() -> None:
        async with AIOFile(place, "w+") as file:
            writer, reader = Writer(file), Reader(file, chunk_size=8)
            for text in ("Hello", " ", "World"):
                await writer(text)
            await file.fsync()
            assert [chunk async for chunk in reader] == ["Hello Wo", "rld"]
            assert (reader.file, reader.encoding) == (file, "utf-8")
            await Writer(file, offset=6)("w")
            assert [chunk async for chunk in Reader(file, offset=6)] == ["world"]
            with pytest.raises(ValueError, match="chunk_size"):
                Reader(file, chunk_size=0)

    run(main)


def test_line_readers_begin_where_they_are_told_and_give_what_the_mode_says(place: str) -> None:
    store(place, b"0\n1\n\n2")

    async def main() -> None:
        async with AIOFile(place, "rb") as file:
            assert [line async for line in LineReader(file, offset=2, chunk_size=1)] == [b"1\n", b"\n", b"2"]
            reader = LineReader(file)
            assert await reader.readline() == b"0\n"
            async for line in reader:
                assert line == b"1\n"
                break
            assert [await anext(reader), await anext(reader), await reader.readline()] == [b"\n", b"2", b""]
            with pytest.raises(StopAsyncIteration):
                await anext(reader)
        async with AIOFile(place) as text:
            lines = LineReader(text, chunk_size=2)
            assert await asyncio.gather(*(lines.readline() for _ in range(5))) == ["0\n", "1\n", "\n", "2", ""]

    run(main)


def test_a_stores_file_is_written_in_order_and_says_so() -> None:
    async def main() -> None:
        async with AIOFile("mem://aio/ordered", "wb") as file:
            assert await file.write(b"123") == 3
            with pytest.raises(io.UnsupportedOperation, match="next offset is 3, not 0"):
                await file.write(b"x", offset=0)
            await asyncio.gather(file.write(b"45", 3), file.write(b"6", 5))
            await file.truncate(6)
            with pytest.raises(io.UnsupportedOperation, match="cannot cut"):
                await file.truncate(0)
            with pytest.raises(io.UnsupportedOperation):
                file.fileno()
        async with AIOFile("mem://aio/ordered", "rb") as file:
            writer = await asyncio.gather(*(file.read(1, at) for at in range(6)))
            assert b"".join(writer) == b"123456"

    run(main)
    assert stored("mem://aio/ordered") == b"123456"


def test_a_class_of_ones_own_is_of_either_kind(tmp_path: Path) -> None:
    class Loud(AIOFile):
        async def read_bytes(self, size: int = -1, offset: int = 0) -> bytes:
            return (await super().read_bytes(size, offset)).upper()

    async def main() -> None:
        for path in (str(tmp_path / "a"), "mem://aio/loud"):
            store(path, b"text")
            async with Loud(path) as file:
                assert isinstance(file, Loud)
                assert await file.read() == "TEXT"
            assert type(Loud(path)) is type(file)

    run(main)


def test_ranges_that_come_at_once_fill_one_file(object_server: ObjectServer, tmp_path: Path) -> None:
    content = os.urandom(1_000_003)
    object_server.put("large.bin", content)
    part = -(-len(content) // 10)

    async def main() -> None:
        async with AsyncArtifactFiles(object_server.url) as cf, AIOFile(tmp_path / "large.bin", "wb") as file:

            async def fetch(start: int) -> None:
                await file.write(await cf.get({"path": "large.bin", "start": start, "end": start + part}), start)

            await asyncio.gather(*(fetch(start) for start in range(0, len(content), part)))

    run(main)
    assert len([record for record in object_server.requests if record.range]) == 10
    found = hashlib.sha256((tmp_path / "large.bin").read_bytes()).hexdigest()
    assert found == hashlib.sha256(content).hexdigest()


def test_readers_of_one_stores_file_have_cursors_of_their_own(object_server: ObjectServer) -> None:
    content = os.urandom(300_000)
    object_server.put("a", content)

    async def whole(file: AIOFile, start: int) -> bytes:
        return b"".join([chunk async for chunk in Reader(file, offset=start, chunk_size=10_000)])

    async def main() -> None:
        async with AIOFile(f"{object_server.url}/a", "rb") as file:
            found = await asyncio.gather(*(whole(file, start) for start in range(0, 300_000, 100_000)))
            assert len(object_server.requests) < 20  # read ahead for each; it takes 31 without
        assert found == [content[start:] for start in range(0, 300_000, 100_000)]
        assert object_server.bytes_sent < 1.1 * len(content)

    run(main)


def test_to_cancel_a_read_cancels_its_transfer(object_server: ObjectServer) -> None:
    object_server.put("a", bytes(100_000))

    async def main() -> None:
        async with async_open(f"{object_server.url}/a", "rb") as file:
            object_server.fault("a", Hang())
            reading = asyncio.ensure_future(file.read())
            await asyncio.to_thread(wait_for, lambda: len(object_server.requests) > 1)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert file.tell() == 0
            assert await file.read() == bytes(100_000)

    run(main)


# -- what aiofile does


def test_a_context_and_an_executor_are_those_that_are_given(tmp_path: Path) -> None:
    class Noting(thread_aio_asyncio.AsyncioContext):
        reads = 0

        def read(self, *arguments: Any, **options: Any) -> Any:
            self.reads += 1
            return super().read(*arguments, **options)

    async def main() -> None:
        (tmp_path / "a").write_text("text")
        with ThreadPoolExecutor(1) as executor:
            async with Noting() as context:
                async with async_open(tmp_path / "a", context=context, executor=executor) as file:
                    assert await file.read() == "text"
                assert context.reads == 1
                async with async_open("mem://aio/a", "w", context=context) as other:  # means nothing there
                    await other.write("text")
                async with async_open(Path("/proc/self/status"), context=context) as special:
                    assert (await special.read()).startswith("Name:")
            assert len(executor._threads) == 1

    run(main)


@pytest.mark.parametrize("kind", ["thread", "python", "linux"])
def test_the_environment_chooses_the_implementation(kind: str, tmp_path: Path) -> None:
    code = f"""
import asyncio
import caio
from cloudfiles_hypha import async_open

async def main():
    async with async_open({str(tmp_path / "a")!r}, "w+") as file:
        await file.write("text")
        file.seek(0)
        print(await file.read(), caio.AsyncioContext.__module__)

asyncio.run(main())
"""
    environment = {**os.environ, "CAIO_IMPL": kind, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (ran.stdout.split(), ran.stderr) == (["text", f"caio.{kind}_aio_asyncio"], "")


def test_without_aiofile_stores_can_be_read_and_local_files_say_what_to_install() -> None:
    code = """
import asyncio, sys
sys.modules["aiofile"] = sys.modules["caio"] = None
from cloudfiles_hypha import async_open

async def main():
    async with async_open("mem://aio/a", "w+") as file:
        await file.write("text")
        file.seek(0)
        print(await file.read())
    try:
        async_open("a")
    except ImportError as error:
        print(error)

asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ran.stderr == ""
    text, told = ran.stdout.splitlines()
    assert text == "text"
    assert "cloudfiles_hypha[aio]" in told


def test_more_than_one_call_reads_is_read_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MOST", 1000)
    content = os.urandom(10_500)
    (tmp_path / "a").write_bytes(content)

    async def main() -> None:
        async with async_open(tmp_path / "a", "rb") as file:
            assert await file.read() == content
            assert await file.file.read(offset=500) == content[500:]

    run(main)


def test_two_that_open_one_file_at_once_open_it_once_and_to_be_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")

    async def main() -> None:
        file = async_open(tmp_path / "a")
        await asyncio.gather(file.file.open(), file.file.open())
        assert await file.read() == "text"
        await file.close()
        other = AIOFile(tmp_path / "a")
        opening = asyncio.ensure_future(other.open())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert other.closed

    before = len(os.listdir("/proc/self/fd"))
    run(main)
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_waits_for_the_disk_only_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    async def noted(file: AIOFile) -> None:
        synced.append(file.name)

    monkeypatch.setattr(aiofile.AIOFile, "fdsync", noted)

    async def main() -> None:
        async with async_open(tmp_path / "plain", "w") as file:
            await file.write("1")
        async with async_open(tmp_path / "flushed", "w") as file:
            await file.write("1")
            await file.flush()
        async with AIOFile(tmp_path / "low", "w") as low:
            await low.write("1")

    run(main)
    assert [Path(name).name for name in synced] == ["flushed", "low"]


# -- a store that signs


def test_text_files_of_an_artifact_are_written_and_read() -> None:
    async def main(hypha: FakeHypha) -> None:
        options = {"server_url": hypha.url, "token": hypha.token}
        async with async_open("hypha://ws/a/new.txt", "w", content_type="text/x-new", **options) as file:
            for line in LINES:
                await file.write(line)
        async with async_open("hypha://ws/a/new.txt", **options) as file:
            assert [line async for line in file] == LINES
        names = [f"hypha://ws/a/{number}" for number in range(50)]
        calls = len(hypha.calls)

        async def one(name: str) -> bytes:
            async with async_open(name, "rb", **options) as file:
                return await file.read()

        assert await asyncio.gather(*map(one, names)) == [b"%d" % number for number in range(50)]
        assert len(hypha.calls) - calls < 20  # signed together
        with pytest.raises(FileNotFoundError):
            await one("hypha://ws/a/missing")

    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {str(number): b"%d" % number for number in range(50)})
        asyncio.run(main(hypha))
        assert hypha.store is not None


def test_a_small_file_is_read_in_opening_it_and_again_once_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    os.utime(path, (1, 1))
    calls: list[int] = []
    read_bytes = aiofile.AIOFile.read_bytes

    async def noted(file: AIOFile, size: int = -1, offset: int = 0) -> bytes:
        calls.append(size)
        return await read_bytes(file, size, offset)

    monkeypatch.setattr(aiofile.AIOFile, "read_bytes", noted)

    async def main() -> None:
        async with async_open(path, "rb") as file:
            assert [await file.read(2), await file.read(), await file.read(1)] == [b"12", b"345", b""]
            assert calls == []
            path.write_bytes(b"54321")
            file.seek(0)
            assert await file.read() == b"54321"
            assert calls
        fresh = len(calls)
        async with async_open(path, "rb") as file:  # which may be changed again before its time can tell
            before = path.stat()
            path.write_bytes(b"abcde")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert await file.read() == b"abcde"
            assert len(calls) > fresh
        os.utime(path, (1, 1))
        fresh = len(calls)
        async with AIOFile(path, "rb") as low:  # the low level is aiofile's
            assert await low.read() == b"abcde"
            assert len(calls) > fresh

    run(main)


def test_lines_may_be_taken_within_the_loop_and_by_several_tasks_each_once(place: str) -> None:
    store(place, b"".join(b"%d\n" % number for number in range(1000)))

    async def main() -> None:
        async with AIOFile(place, "rb") as file:
            reader = LineReader(file, chunk_size=64)
            found = []
            async for line in reader:
                found += [line, await reader.readline()]
            assert found == [b"%d\n" % number for number in range(1000)]
            shared = LineReader(file, chunk_size=64)

            async def some() -> list[bytes]:
                return [line async for line in shared]

            together = await asyncio.gather(*(some() for _ in range(5)))
            assert sorted(int(line) for lines in together for line in lines) == [*range(1000)]

    run(main)


def test_what_was_begun_and_cancelled_never_lands_in_a_file_that_is_opened_next(tmp_path: Path) -> None:
    """The number of a file that is closed is given to the next one that is opened."""

    async def main() -> None:
        gate = threading.Event()
        async with python_aio_asyncio.AsyncioContext(pool_size=1) as context:
            file = await async_open(tmp_path / "wanted", "wb", context=context)
            context.context.pool.apply_async(gate.wait)  # so that all else waits behind it
            writing = asyncio.create_task(file.write(b"A" * 10))
            await asyncio.sleep(0)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            closing = asyncio.create_task(file.close())
            await asyncio.wait({closing}, timeout=0.1)
            with open(tmp_path / "another", "wb") as another:  # noqa: ASYNC230
                gate.set()
                await closing
                context.context.pool.apply(int)
                assert os.fstat(another.fileno()).st_size == 0
        assert file.closed
        assert (tmp_path / "wanted").read_bytes() == b"A" * 10

    run(main)


def test_what_is_under_way_in_a_pipe_holds_up_no_close(tmp_path: Path) -> None:
    async def main() -> None:
        os.mkfifo(tmp_path / "pipe")
        gate = threading.Event()
        reading = os.open(tmp_path / "pipe", os.O_RDWR)  # or it could not be opened for writing
        async with python_aio_asyncio.AsyncioContext(pool_size=1) as context:
            file = await async_open(tmp_path / "pipe", "wb", context=context)
            context.context.pool.apply_async(gate.wait)
            writing = asyncio.create_task(file.write(b"x"))
            for _ in range(10):
                await asyncio.sleep(0)  # it takes a few turns until the thread is asked
            await asyncio.wait_for(file.close(), 10)
            assert file.closed
            gate.set()
            with pytest.raises(OSError, match="seek"):  # such files are at no offset
                await writing
        os.close(reading)

    run(main)


@pytest.mark.parametrize(
    ("encoding", "order"), [("utf-16", "utf-16-be"), ("utf-32", "utf-32-be"), ("utf-16", "utf-16-le")]
)
def test_a_mark_says_the_order_of_bytes_wherever_a_file_is_read_from(place: str, encoding: str, order: str) -> None:
    async def main() -> None:
        async with async_open(place, "wb") as file:
            await file.write(("\ufeff" + TEXT).encode(order))
        async with async_open(place, encoding=encoding) as file:
            assert [await file.readline() for _ in LINES] == LINES
            file.seek(0)
            assert [await file.readline(), *[line async for line in file]] == LINES
            at = file.tell()
            await file.read(3)
            file.seek(at)
            assert await file.read() == TEXT[len(LINES[0]) :]
            assert [chunk async for chunk in Reader(file.file, offset=at, chunk_size=-1)] == [TEXT[len(LINES[0]) :]]

    run(main)


def test_to_write_nothing_behind_the_end_makes_a_file_no_longer(place: str) -> None:
    async def main() -> None:
        async with async_open(place, "wb+") as file:
            await file.write(b"12")
            file.seek(7)
            assert await file.write(b"") == 0
            assert file.seek(0, os.SEEK_END) == 2

    run(main)
    assert stored(place) == b"12"


def test_where_a_byte_ends_several_characters_a_read_does_not_go_on_to_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "seven").write_bytes("\u3042\u3044\u3046\nrest\n".encode("utf-7"))
        async with async_open(tmp_path / "seven", encoding="utf-7") as file:
            assert await file.read(1) == "\u3042\u3044\u3046\n"  # which come together
            assert (await file.read(2), await file.readline()) == ("re", "st\n")

    asyncio.run(main())
