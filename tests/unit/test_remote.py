"""Files by their URL, and files whose reading is awaited."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import pickle
import random
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    ArtifactFiles,
    AsyncArtifactFiles,
    AsyncHttpFile,
    AsyncRangeFile,
    HttpFile,
    PreconditionFailed,
    RangeCache,
    RangeFile,
    RetryPolicy,
)
from tests.support.object_server import Drop, Hang, NoAnswer, ObjectServer, ShortBody, Status
from tests.support.readers import ScriptedReader

TEXT = b"".join(b"%05d\n" % number for number in range(20_000))
numbers = itertools.count()


@pytest.fixture
def url(object_server: ObjectServer) -> str:
    object_server.put("d/a.bin", TEXT)
    return f"{object_server.url}/d/a.bin"


@pytest.fixture(autouse=True)
def cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeCache]:
    """What one test has read is not there for another."""
    from cloudfiles_hypha.ranges import cache

    monkeypatch.setattr(cache, "_default", mine := RangeCache())
    yield mine
    mine.clear()


def opened(reader: Any, **options: Any) -> AsyncRangeFile:
    options = {"cache": RangeCache(), "prefetch_bytes": 0, "minimum_range_request_bytes": 0, **options}
    return AsyncRangeFile(reader, "a.bin", **options)


# -- opening


def test_two_that_open_one_file_find_one_version() -> None:
    async def main() -> None:
        reader = ScriptedReader(TEXT)
        reader.holding = True
        file = opened(reader, prefetch_bytes=100)
        opening = [asyncio.create_task(file.open()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reader.answer()
        await opening[0]
        reader.holding = False
        reader.content, reader.etag = TEXT[::-1][:1000], "2"
        while reader.held:
            reader.answer()
        assert await asyncio.gather(*opening) == [file] * 3
        assert (file.size, file.etag, reader.asked) == (len(TEXT), "1", [(0, 100)])
        assert await file.read(50) == TEXT[:50]
        assert "_opening" not in vars(file)  # a lock is in it, which could not be pickled

    asyncio.run(main())


@pytest.mark.parametrize("failed", ["cancelled", "an error"])
def test_where_one_fails_to_open_a_file_the_one_that_waits_opens_it(failed: str) -> None:
    async def main() -> None:
        reader = ScriptedReader(TEXT)
        reader.holding = True
        file = opened(reader, prefetch_bytes=100)
        first, second = asyncio.create_task(file.open()), asyncio.create_task(file.open())
        await asyncio.sleep(0)
        if failed == "cancelled":
            first.cancel()
        else:
            reader.answer(0, OSError("no"))
        with pytest.raises((asyncio.CancelledError, OSError)):
            await first
        await asyncio.to_thread(reader.wait_for, 2 if failed == "cancelled" else 1)
        reader.answer(-1)
        assert await second is file
        assert await file.read(100) == TEXT[:100]

    asyncio.run(main())


def test_of_two_that_open_a_file_which_is_closed_meanwhile_the_second_is_told_so() -> None:
    async def main() -> None:
        reader = ScriptedReader(TEXT)
        reader.holding = True
        file = opened(reader, prefetch_bytes=100)
        first, second = asyncio.create_task(file.open()), asyncio.create_task(file.open())
        await asyncio.sleep(0)
        await file.close()
        reader.answer()
        for opening in (first, second):
            with pytest.raises(ValueError, match="closed"):
                await opening
        assert len(reader.asked) == 1

    asyncio.run(main())


# -- by a URL


def test_the_end_is_fetched_in_opening_it(url: str, object_server: ObjectServer) -> None:
    with HttpFile(url) as file:
        assert (file.size, file.name) == (len(TEXT), "a.bin")
        assert file.read() == TEXT
    assert [record.range for record in object_server.requests] == ["bytes=-1048576"]


def test_options_are_the_files_and_the_stores(url: str, quick: RetryPolicy, tmp_path: Path) -> None:
    with HttpFile(url, 0, 100, "START", retry=quick, num_threads=3, cache_dir=tmp_path, read_ahead_bytes=0) as file:
        assert file.files._settings.num_threads == 3
        assert file.read(200) == TEXT[:200]
    with pytest.raises(TypeError, match="no_such_option"):
        HttpFile(url, no_such_option=1)


@pytest.mark.parametrize("wrong", ["", "https://", "https://host", "https://host/folder/", "gopher://host/a", "file"])
def test_what_names_no_file_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"file|scheme|host|names|cloudpath|expected"):
        HttpFile(wrong)
    with pytest.raises(TypeError, match="string"):
        HttpFile(b"https://host/a")  # type: ignore[arg-type]


def test_a_query_goes_with_each_request_and_into_no_message(url: str, object_server: ObjectServer) -> None:
    signed = f"{url}?X-Amz-Signature=secret&X-Amz-Expires=60"
    with HttpFile(signed, prefetch_bytes=100) as file:
        file.read(10)
        assert {record.query for record in object_server.requests} == {"X-Amz-Signature=secret&X-Amz-Expires=60"}
        assert "secret" not in repr(file) + repr(file.files) + repr(file.files._location)
        other = pickle.loads(pickle.dumps(file))
        other.seek(50_000)
        assert other.read(10) == TEXT[50_000:50_010]
        assert object_server.requests[-1].query == "X-Amz-Signature=secret&X-Amz-Expires=60"
        other.close()
        object_server.fault("d/a.bin", Status(403, times=3))
        file.seek(70_000)
        with pytest.raises(PermissionError) as error:
            file.read(10)
        assert "secret" not in str(error.value)


def test_another_signature_is_the_same_file_and_another_query_is_not(url: str, object_server: ObjectServer) -> None:
    with HttpFile(f"{url}?sig=one&id=1") as file:
        assert file.read() == TEXT
        for query, requests in (("sig=two&id=1", 1), ("sig=one&id=2", 2)):
            before = len(object_server.requests)
            with HttpFile(f"{url}?{query}", prefetch_bytes=10) as other:
                assert other.read() == TEXT
            assert len(object_server.requests) - before == requests


def test_any_store_has_such_files(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(TEXT)
    ArtifactFiles("mem://remote").put("a/b.bin", TEXT)
    for place in (f"file://{tmp_path}/a.bin", str(tmp_path / "a.bin"), "mem://remote/a/b.bin"):
        with HttpFile(place) as file:
            file.seek(-6, 2)
            assert file.read() == b"19999\n"


def test_cursors_outlive_the_file_they_are_of(url: str) -> None:
    with HttpFile(url, prefetch_bytes=0) as file:
        other = file.clone()
    assert other.read(10) == TEXT[:10]
    other.close()


# -- awaited


def test_the_awaited_file_has_what_the_other_has() -> None:
    assert inspect.signature(AsyncRangeFile) == inspect.signature(RangeFile)
    assert inspect.signature(AsyncHttpFile) == inspect.signature(HttpFile)
    ours = {name for name in vars(RangeFile) if not name.startswith("_")}
    theirs = {name for name in dir(AsyncRangeFile) if not name.startswith("_")}
    assert ours - theirs == {"forked", "mode", "peek", "read1", "readinto1"}


def test_reading_is_awaited_and_seeking_may_be(url: str) -> None:
    async def main() -> None:
        async with AsyncHttpFile(url) as file:
            assert (await file.read(100), file.tell()) == (TEXT[:100], 100)
            assert file.seek(1000) == 1000
            assert await file.seek(-5, 2) == len(TEXT) - 5
            assert await file.tell() == len(TEXT) - 5
            assert await file.read() == TEXT[-5:]
            assert await file.read(5) == b""
            file.seek(3)
            assert await file.readline() == b"00\n"
            assert await file.readline(2) == b"00"
            buffer = bytearray(4)
            assert (await file.readinto(buffer), bytes(buffer)) == (4, TEXT[8:12])
            assert [line async for line in file] == TEXT[12:].splitlines(keepends=True)
            file.seek(-12, 2)
            assert await file.readlines() == [b"19998\n", b"19999\n"]
            assert await file.prefetch([(0, 10)]) == 0
            assert (file.size, file.name, file.readable(), file.seekable(), file.writable()) == (
                len(TEXT),
                "a.bin",
                True,
                True,
                False,
            )
        assert file.closed
        with pytest.raises(ValueError, match="closed"):
            await file.read(1)
        with pytest.raises(ValueError, match="closed"):
            await file.open()

    asyncio.run(main())


def test_an_awaited_file_is_pickled_without_bytes(url: str) -> None:
    async def main() -> None:
        async with AsyncHttpFile(url, cache=RangeCache()) as file:
            content = await file.read(10)
            pickled = pickle.dumps(file)
            assert content not in pickled
            other = pickle.loads(pickled)
            assert await other.read(10) == await file.read(10) != content

    asyncio.run(main())


def test_one_that_is_not_open_says_how() -> None:
    file = opened(ScriptedReader(TEXT))
    with pytest.raises(ValueError, match="async with"):
        file.seek(0)


def test_artifact_files_that_are_awaited_open_them(object_server: ObjectServer, url: str) -> None:
    async def main() -> None:
        async with AsyncArtifactFiles(f"{object_server.url}/d") as cf:
            async with cf.open("a.bin") as file:
                assert await file.read(10) == TEXT[:10]
            file = await cf.open("a.bin", prefetch_direction="END")
            assert await file.read() == TEXT
            await file.close()
            with pytest.raises(FileNotFoundError):
                await cf.open("missing")
            with pytest.raises(ValueError, match="mode="):
                cf.open("a.bin", "q")

    asyncio.run(main())


def test_cursors_are_read_at_the_same_time_and_share_a_request() -> None:
    async def main() -> None:
        reader = ScriptedReader(TEXT)
        file = await opened(reader)
        reader.holding = True
        cursors = [file.clone() for _ in range(6)]
        for number, cursor in enumerate(cursors):
            cursor.seek(number // 2 * 1000)
        reads = [asyncio.create_task(cursor.read(100)) for cursor in cursors]
        await asyncio.sleep(0)
        assert reader.asked == [(0, 100), (1000, 1100), (2000, 2100)]
        for _ in range(3):
            reader.answer(-1)
        assert await asyncio.gather(*reads) == [TEXT[n // 2 * 1000 :][:100] for n in range(6)]
        assert [cursor.tell() for cursor in cursors] == [n // 2 * 1000 + 100 for n in range(6)]

    asyncio.run(main())


def test_reads_of_one_cursor_are_one_after_the_other() -> None:
    async def main() -> None:
        file = await opened(ScriptedReader(TEXT))
        assert await asyncio.gather(*(file.read(10) for _ in range(5))) == [TEXT[n : n + 10] for n in range(0, 50, 10)]

    asyncio.run(main())


def test_cancelling_a_read_cancels_its_transfer_and_nobody_elses() -> None:
    async def main() -> None:
        reader = ScriptedReader(TEXT)
        file = await opened(reader)
        reader.holding = True
        other = file.clone()
        alone = file.clone()
        alone.seek(5000)
        reads = [asyncio.create_task(cursor.read(100)) for cursor in (file, other, alone)]
        await asyncio.sleep(0)
        reads[0].cancel()
        reads[2].cancel()
        await asyncio.wait([reads[0], reads[2]])
        assert [asked.cancelled_by_reader for asked in reader.held] == [False, True]
        assert (file.tell(), alone.tell()) == (0, 5000)
        reader.answer()
        assert await reads[1] == TEXT[:100]
        reader.holding = False
        assert await alone.read(5) == TEXT[5000:5005]

    asyncio.run(main())


def test_a_transfer_that_is_cancelled_ends_at_the_server(url: str, object_server: ObjectServer) -> None:
    async def main() -> None:
        async with AsyncHttpFile(url, prefetch_bytes=0) as file:
            object_server.fault("d/a.bin", Hang())
            before = len(object_server.requests)
            read = asyncio.create_task(file.read(100))
            while len(object_server.requests) == before:  # noqa: ASYNC110 -- the server is in threads of its own
                await asyncio.sleep(0.001)
            read.cancel()
            with pytest.raises(asyncio.CancelledError):
                await read
            assert await file.read(100) == TEXT[:100]

    asyncio.run(main())


def test_one_file_is_read_from_several_loops_and_threads(url: str) -> None:
    async def first() -> AsyncHttpFile:
        return await AsyncHttpFile(url, prefetch_bytes=0)

    file = asyncio.run(first())

    async def read(number: int) -> bytes:
        cursor = file.clone()
        cursor.seek(number * 1000)
        return await cursor.read(1500)

    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda number: asyncio.run(read(number)), range(40))]
    assert found == [TEXT[number * 1000 :][:1500] for number in range(40)]
    asyncio.run(file.close())


def test_1000_coroutines_read_what_is_there_within_the_bound_whatever_goes_wrong(object_server: ObjectServer) -> None:
    content = random.Random(2).randbytes(3_000_000)
    object_server.put("big", content)
    cache = RangeCache(300_000)
    retry = RetryPolicy(attempts=30, first=0.001, longest=0.01)

    async def read(file: AsyncHttpFile, number: int) -> None:
        chance = random.Random(number)
        cursor = file.clone()
        for size in (chance.choice([1, 100, 5000, 20_000]) for _ in range(3)):
            offset = cursor.seek(chance.randrange(len(content)))
            assert await cursor.read(size) == content[offset : offset + size]
            assert cache.size <= 300_000

    async def main() -> None:
        async with AsyncHttpFile(
            f"{object_server.url}/big",
            prefetch_bytes=1000,
            minimum_range_request_bytes=20_000,
            cache=cache,
            retry=retry,
        ) as file:
            object_server.fault("big", *[Drop(after_bytes=100), Status(503), NoAnswer(), ShortBody(by=3)] * 15)
            await asyncio.gather(*(read(file, number) for number in range(1000)))
            flights = file._cursor.remote.entry.flights
            assert not [flight for flight in flights if flight.waiting]

    asyncio.run(main())


def test_a_change_is_an_error_of_the_awaited_read(url: str, object_server: ObjectServer) -> None:
    async def main() -> None:
        async with AsyncHttpFile(url, prefetch_bytes=10) as file:
            object_server.put("d/a.bin", TEXT[::-1])
            with pytest.raises(PreconditionFailed):
                await file.read(10)
            assert file.tell() == 0

    asyncio.run(main())


def test_no_hidden_loop_and_no_thread_of_its_own_is_started(url: str) -> None:
    async def main() -> set[str]:
        before = {*threading.enumerate()}
        async with AsyncHttpFile(url, prefetch_bytes=0) as file:
            await asyncio.gather(*(file.clone().read(1000) for _ in range(50)))
            return {thread.name for thread in {*threading.enumerate()} - before}

    ours = {name for name in asyncio.run(main()) if not name.startswith("fake-server")}
    assert ours
    assert all(name.startswith("cloudfiles-hypha") and "call" not in name for name in ours), ours


def test_greenlets_of_gevent_are_refused(url: str) -> None:
    pytest.importorskip("gevent")
    with pytest.raises(ValueError, match="green"):
        AsyncHttpFile(url, green=True)


def test_zip_members_are_read_by_url(object_server: ObjectServer, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as writing:
        writing.writestr("a", "content of a")
    object_server.put("z.zip", (tmp_path / "z.zip").read_bytes())
    with HttpFile(f"{object_server.url}/z.zip") as file, zipfile.ZipFile(file) as reading:
        assert reading.read("a") == b"content of a"
    assert len(object_server.requests) == 1
