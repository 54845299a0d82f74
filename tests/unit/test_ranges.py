"""``RangeFile``: what it asks for, what it keeps, and that it is a file like any other."""

from __future__ import annotations

import csv
import faulthandler
import gc
import gzip
import io
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfiles_hypha import (
    ArtifactFiles,
    IntegrityError,
    ObjectNotFound,
    Observer,
    PreconditionFailed,
    RangeCache,
    RangeFile,
    RangesUnsupported,
    RetryPolicy,
    ServerError,
    TransferError,
)
from cloudfiles_hypha.content.blocks import PartSink
from cloudfiles_hypha.models import GetRequest, ObjectInfo
from cloudfiles_hypha.ranges import file as ranges_file
from cloudfiles_hypha.ranges import kept
from cloudfiles_hypha.ranges.cache import Entry
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import (
    Always,
    Chunked,
    Drop,
    Fault,
    Gzip,
    IgnoreRange,
    NoAnswer,
    ObjectServer,
    ShortBody,
    Status,
)
from tests.support.readers import ScriptedReader

TEXT = b"".join(b"%05d\n" % number for number in range(20_000))  # 120,000 bytes


@pytest.fixture
def cf(object_server: ObjectServer, quick: RetryPolicy) -> Iterator[ArtifactFiles]:
    object_server.put("d/a.bin", TEXT)
    with ArtifactFiles(f"{object_server.url}/d", retry=quick) as files:
        yield files


def opened(reader: Any, **options: Any) -> RangeFile:
    """A file with a cache of its own."""
    options = {"cache": RangeCache(), "prefetch_bytes": 0, "minimum_range_request_bytes": 0, **options}
    return RangeFile(reader, "a.bin", **options)


def seen(server: ObjectServer) -> list[str | None]:
    """The ranges of all requests so far."""
    return [record.range if record.method == "GET" else record.method for record in server.requests]


# -- a file like any other


OPERATIONS = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 300)),
    st.tuples(st.just("read1"), st.integers(0, 300)),
    st.tuples(st.just("readline"), st.integers(-1, 100)),
    st.tuples(st.just("readinto"), st.integers(0, 300)),
    st.tuples(st.just("seek"), st.integers(0, 1100)),
    st.tuples(st.just("from here"), st.integers(-200, 200)),
    st.tuples(st.just("from the end"), st.integers(-1100, 100)),
    st.tuples(st.just("readlines"), st.integers(0, 200)),
    st.tuples(st.just("next"), st.just(0)),
    st.tuples(st.just("tell"), st.just(0)),
)


def carried_out(file: Any, verb: str, number: int) -> object:
    """What becomes of an operation; of an error, its kind."""
    try:
        if verb == "seek":
            return file.seek(number)
        if verb == "from here":
            return file.seek(number, 1)
        if verb == "from the end":
            return file.seek(number, 2)
        if verb == "readinto":
            buffer = bytearray(number)
            return file.readinto(buffer), bytes(buffer)
        if verb == "next":
            return next(file, None)
        if verb == "tell":
            return file.tell()
        if verb == "readlines":  # as of any file: BytesIO has one of its own, which ends a line earlier
            return io.IOBase.readlines(file, number)
        return getattr(file, verb)(number)
    except ValueError as error:
        return type(error)


@settings(max_examples=200, deadline=None)
@given(
    content=st.lists(st.sampled_from([b"a", b"\n", b"xyz", b"0123456789"]), max_size=120).map(b"".join),
    operations=st.lists(OPERATIONS, max_size=30),
    least=st.sampled_from([0, 1, 64, 5000]),
    before=st.sampled_from([0, 1, 50, 5000]),
    side=st.sampled_from(["START", "END"]),
    ahead=st.sampled_from([0, 16, 1 << 20]),
    bound=st.sampled_from([0, 400, 1 << 20]),
)
def test_any_reading_gives_what_it_gives_of_bytes_in_memory(
    content: bytes,
    operations: list[tuple[str, int]],
    least: int,
    before: int,
    side: Any,
    ahead: int,
    bound: int,
) -> None:
    model = io.BytesIO(content)
    file = opened(
        ScriptedReader(content),
        minimum_range_request_bytes=least,
        prefetch_bytes=before,
        prefetch_direction=side,
        read_ahead_bytes=ahead,
        cache=RangeCache(bound),
    )
    for verb, number in operations:
        if verb == "from here" and model.tell() + number < 0:
            continue  # BytesIO goes to the beginning, and files do not
        if verb == "from the end" and len(content) + number < 0:
            continue
        assert carried_out(file, verb, number) == carried_out(model, verb, number), (verb, number)
        assert file.tell() == model.tell()


def test_it_is_a_buffered_file_for_those_who_ask() -> None:
    file = opened(ScriptedReader(TEXT))
    assert isinstance(file, io.BufferedIOBase)
    assert (file.readable(), file.seekable(), file.writable(), file.isatty()) == (True, True, False, False)
    assert (file.name, file.mode, file.size, file.closed) == ("a.bin", "rb", len(TEXT), False)
    with pytest.raises(io.UnsupportedOperation):
        file.write(b"x")
    with pytest.raises(io.UnsupportedOperation):
        file.fileno()
    with pytest.raises(OSError, match="truncate"):
        file.truncate(0)
    with pytest.raises(ValueError, match="before the beginning"):
        file.seek(-1)
    with pytest.raises(ValueError, match="whence"):
        file.seek(0, 7)
    with pytest.raises(TypeError):
        file.seek(1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "use",
    [
        lambda f: f.read(1),
        lambda f: f.read(0),
        lambda f: f.seek(0),
        lambda f: f.tell(),
        lambda f: f.readinto(bytearray(1)),
        lambda f: f.peek(),
        lambda f: f.readline(),
        lambda f: next(f),
        lambda f: f.clone(),
        lambda f: f.readable(),
        lambda f: f.prefetch([]),
        lambda f: f.__enter__(),
        lambda f: pickle.dumps(f),
    ],
)
def test_a_closed_file_can_not_be_used(use: Callable[[RangeFile], object]) -> None:
    with opened(ScriptedReader(TEXT)) as file:
        other = file.clone()
    assert file.closed
    file.close()
    with pytest.raises(ValueError, match="closed"):
        use(file)
    assert other.read(3) == TEXT[:3]


class Short(int):
    """A number as numpy has them: what is added to it has to fit into one byte."""

    def __add__(self, other: int) -> int:
        return Short((int(self) + other) % 256)

    __radd__ = __add__

    def __rsub__(self, other: int) -> int:
        return Short((other - int(self)) % 256)


def test_numbers_that_overflow_are_places_and_sizes_all_the_same() -> None:
    file = opened(ScriptedReader(TEXT))
    file.seek(Short(200))
    assert file.read(Short(100)) == TEXT[200:300]
    assert file.tell() == 300
    assert file.seek(Short(50), 1) == 350
    assert file.prefetch([(Short(250), Short(100))]) == 50
    with pytest.raises(TypeError):
        file.seek(1.5)  # type: ignore[arg-type]


def test_peek_goes_nowhere_and_costs_once() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader)
    assert file.peek(5)[:5] == TEXT[:5]
    assert (file.tell(), file.read(5), reader.asked) == (0, TEXT[:5], [(0, 5)])
    file.seek(0, 2)
    assert file.peek(5) == b""


def test_text_csv_and_lines(cf: ArtifactFiles) -> None:
    with cf.open("a.bin", "r", newline="") as text:
        assert list(csv.reader(text))[:2] == [["00000"], ["00001"]]
    with cf.open("a.bin") as file:
        assert sum(1 for line in file if line.endswith(b"\n")) == 20_000
        file.seek(0)
        wrapped = io.TextIOWrapper(file, encoding="ascii")
        wrapped.seek(6)
        assert wrapped.readline() == "00001\n"
        wrapped.detach()
        assert not file.closed


def test_pandas_reads_it(cf: ArtifactFiles) -> None:
    pandas = pytest.importorskip("pandas")
    with cf.open("a.bin") as file:
        assert pandas.read_csv(file, header=None)[0].tolist() == list(range(20_000))


def test_open_refuses_what_makes_no_sense(cf: ArtifactFiles) -> None:
    for mode in ("q", "rw", "", "bb"):
        with pytest.raises(ValueError, match="mode="):
            cf.open("a.bin", mode)
    with pytest.raises(ValueError, match="encoding="):
        cf.open("a.bin", "rb", encoding="utf-8")
    with pytest.raises(ValueError, match="newline="):
        cf.open("a.bin", "r", newline="x")
    for name in ("minimum_range_request_bytes", "prefetch_bytes", "read_ahead_bytes", "cache_dir_bytes"):
        with pytest.raises(ValueError, match=name):
            cf.open("a.bin", **{name: -1})
    with pytest.raises(ValueError, match="prefetch_direction"):
        cf.open("a.bin", prefetch_direction="MIDDLE")
    with pytest.raises(TypeError):
        cf.open("a.bin", no_such_option=1)
    with pytest.raises(FileNotFoundError):
        cf.open("missing")


# -- what it asks for


def test_opening_is_one_request_which_tells_the_size(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    for options, request in (
        ({}, "bytes=0-4095"),
        ({"prefetch_bytes": 100, "prefetch_direction": "END"}, "bytes=-100"),
        ({"prefetch_bytes": 0}, "HEAD"),
    ):
        before = len(object_server.requests)
        with cf.open("a.bin", cache=RangeCache(), **options) as file:
            assert file.size == len(TEXT)
        assert seen(object_server)[before:] == [request]


@pytest.mark.parametrize("options", [{}, {"prefetch_direction": "END"}, {"prefetch_bytes": 0}])
def test_an_empty_file_is_one(cf: ArtifactFiles, object_server: ObjectServer, options: dict[str, Any]) -> None:
    object_server.put("d/empty", b"")
    with cf.open("empty", cache=RangeCache(), **options) as file:
        assert (file.size, file.read(), file.read(10), file.readline()) == (0, b"", b"", b"")


def test_more_is_fetched_at_opening_than_there_is(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.put("d/small", b"0123456789")
    for side in ("START", "END"):
        with cf.open("small", cache=RangeCache(), prefetch_bytes=1000, prefetch_direction=side) as file:
            before = len(object_server.requests)
            assert file.read() == b"0123456789"
            assert len(object_server.requests) == before


def test_ten_bytes_are_ten_bytes_if_that_is_asked_for(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    with cf.open("a.bin", cache=RangeCache(), prefetch_bytes=0, minimum_range_request_bytes=0) as file:
        file.seek(50_000)
        assert file.read(10) == TEXT[50_000:50_010]
    assert seen(object_server) == ["HEAD", "bytes=50000-50009"]


def test_small_gaps_are_filled_exactly_and_others_with_as_much_as_was_said() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader, minimum_range_request_bytes=1000, read_ahead_bytes=0)
    for offset in (0, 1500, 5000):
        file.seek(offset)
        file.read(10)
    file.seek(900)
    assert file.read(700) == TEXT[900:1600]
    file.seek(119_990)
    file.read(100)
    assert reader.asked == [(0, 1000), (1500, 2500), (5000, 6000), (1000, 1500), (119_990, 120_000)]


def test_reading_across_what_is_here_asks_for_the_gaps_only_and_at_once() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader, read_ahead_bytes=0)
    assert file.prefetch([(100, 100), (1000, 100), (100, 50)]) == 200
    assert file.prefetch([(100, 100), (150, 100)]) == 50
    reader.asked.clear()
    reader.holding = True
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(file.read, 1200)
        reader.wait_for(3)
        for _ in range(3):
            reader.answer()
        assert read.result() == TEXT[:1200]
    assert reader.asked == [(0, 100), (250, 1000), (1100, 1200)]


def test_prefetch_puts_close_ranges_together() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader, minimum_range_request_bytes=100)
    assert file.prefetch([(0, 10), (60, 10), (500, 10), (119_995, 100), (200_000, 5), (7, 0)]) == 70 + 10 + 5
    assert reader.asked == [(0, 70), (500, 510), (119_995, 120_000)]
    with pytest.raises(ValueError, match="prefetch"):
        file.prefetch([(-1, 5)])


def test_what_is_prefetched_stays_as_long_as_the_cache_keeps_it() -> None:
    there = most = 0

    class Block(bytes):
        def __del__(self) -> None:
            nonlocal there
            there -= 1

    class Counting(ScriptedReader):
        def wait(self, future: Any) -> None:
            nonlocal there, most
            if future.done():
                return
            asked = self.held.pop(0)
            there += 1
            most = max(most, there)
            content = Block(asked.source["end"] - asked.source["start"])
            asked.set_result({"content": content, "size": len(self.content), "etag": self.etag, "error": None})

    reader = Counting(bytes(80 << 20))
    file = opened(reader, cache=RangeCache(17 << 20))
    reader.holding = True
    assert file.prefetch([(0, 80 << 20)]) == 80 << 20
    assert len(reader.asked) == 10
    assert most <= 4  # two are kept


def test_one_after_the_other_is_fetched_ahead_and_ever_more() -> None:
    reader = ScriptedReader(bytes(10_000_000))
    file = opened(reader, read_ahead_bytes=1_000_000)
    moved = 0
    while file.read(10_000):
        moved += 10_000
        assert sum(end - start for start, end in reader.asked) <= max(2 * moved, moved + 2_000_000)
    assert len(reader.asked) <= 32
    assert sorted(reader.asked) == reader.asked
    assert sum(end - start for start, end in reader.asked) == 10_000_000


def test_one_part_is_on_its_way_while_another_is_waited_for() -> None:
    reader = ScriptedReader(random.Random(3).randbytes(4_000_000))
    file = opened(reader, read_ahead_bytes=1_000_000)
    found = [file.read(100_000) for _ in range(20)]
    reader.holding = True
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(lambda: b"".join(iter(partial(file.read, 100_000), b"")))
        try:
            reader.wait_for(2)
        finally:
            reader.holding = False
            while reader.held:
                reader.answer()
        assert b"".join(found) + rest.result() == reader.content


@pytest.mark.parametrize("bound", [0, 3_000, 100_000, 1 << 30])
@pytest.mark.parametrize("least", [0, 5_000])
def test_reading_in_equal_steps_gives_what_is_there_whoever_else_reads(
    monkeypatch: pytest.MonkeyPatch, bound: int, least: int
) -> None:
    monkeypatch.setattr(ranges_file, "_LEAST_CUT", 1)
    content = random.Random(4).randbytes(200_000)
    cache = RangeCache(bound)
    file = opened(ScriptedReader(content), cache=cache, minimum_range_request_bytes=least)
    cursors = [(file, 1000), (file.clone(), 1000), (file.clone(), 777), (file.clone(), 64), (file.clone(), 9000)]
    cursors[1][0].seek(500)  # beside the blocks of the first one
    chance = random.Random(5)
    for _ in range(2000):
        cursor, step = chance.choice(cursors)
        at = cursor.tell()
        if chance.random() < 0.02:
            step += 1
        if chance.random() < 0.1:
            buffer = bytearray(step)
            assert buffer[: cursor.readinto(buffer)] == content[at : at + step]
        else:
            assert cursor.read(step) == content[at : at + step]
        if cursor.tell() == len(content):
            cursor.seek(chance.randrange(2000))
        assert cache.size <= bound


def test_equal_steps_are_given_the_bytes_as_they_came_and_as_they_are_kept(
    object_server: ObjectServer, quick: RetryPolicy
) -> None:
    content = random.Random(6).randbytes(3_000_000)
    object_server.put("big", content)
    object_server.fault("big", Drop(after_bytes=100_000), Drop(after_bytes=70_001), Drop(after_bytes=300_000))
    with (
        ArtifactFiles(object_server.url, retry=quick) as cf,
        cf.open("big", cache=RangeCache(), prefetch_bytes=0, read_ahead_bytes=1_050_000) as file,
    ):
        found = [file.read(100_000) for _ in range(30)]
        assert b"".join(found) == content
        kept = file._cursor.remote.entry.blocks
        assert all(kept[number * 100_000] is block for number, block in enumerate(found))
        assert len({record.range for record in object_server.requests}) < 12


def test_what_is_read_in_equal_steps_and_waited_for_is_kept_on_disk(tmp_path: Path) -> None:
    content = random.Random(7).randbytes(1_000_000)
    for asked in ([(0, 100_000), (100_000, 300_000)], []):
        reader = Addressed(content)
        with on_disk(reader, tmp_path, cache=RangeCache()) as file:
            assert b"".join(file.read(100_000) for _ in range(3)) == content[:300_000]
        assert [(start, end) for start, end in reader.asked if start < 300_000] == asked


@pytest.mark.parametrize("step", [1_000, 10_000, 100_000])
def test_what_was_fetched_ahead_and_read_is_kept_on_disk_too(tmp_path: Path, step: int) -> None:
    content = random.Random(8).randbytes(1_000_000)
    for _ in range(2):
        reader = Addressed(content)
        with on_disk(reader, tmp_path, cache=RangeCache()) as file:
            assert b"".join(iter(partial(file.read, step), b"")) == content
    assert not reader.asked


def test_small_reads_one_after_the_other_from_what_is_at_hand_count_too() -> None:
    reader = ScriptedReader(bytes(1_000_000))
    file = opened(reader, minimum_range_request_bytes=4096)
    while file.read(100):
        pass
    assert len(reader.asked) <= 20


def test_lines_one_after_the_other_are_fetched_ahead() -> None:
    reader = ScriptedReader(10 * TEXT)
    file = opened(reader)
    assert list(file) == 10 * TEXT.splitlines(keepends=True)
    assert len(reader.asked) <= 20
    reader.asked.clear()
    file = opened(reader)
    while file.peek():
        file.read(1000)
    assert len(reader.asked) <= 30


def test_what_is_read_here_and_there_is_not_fetched_ahead() -> None:
    reader = ScriptedReader(bytes(10_000_000))
    file = opened(reader)
    for offset in random.Random(1).sample(range(0, 9_000_000, 4096), 200):
        file.seek(offset)
        file.read(4096)
    assert {end - start for start, end in reader.asked} == {4096}


def test_reading_ahead_does_not_push_out_what_is_kept() -> None:
    reader = ScriptedReader(bytes(1_000_000))
    cache = RangeCache(40_000)
    file = opened(reader, cache=cache)
    while file.read(1000):
        assert cache.size <= 40_000
    assert sum(end - start for start, end in reader.asked) == 1_000_000


def test_a_long_read_is_made_of_requests_of_a_bounded_size() -> None:
    content = bytes(range(256)) * (40 * 4096)  # 40 MiB
    reader = ScriptedReader(content)
    file = opened(reader, cache=RangeCache(0))
    assert file.read() == content
    assert len(reader.asked) == 5
    buffer = bytearray(len(content))
    file.seek(0)
    assert file.readinto(buffer) == len(content)
    assert buffer == content


# -- what is shared


def test_cursors_share_what_they_read_and_nothing_else() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader, read_ahead_bytes=0)
    file.seek(100)
    other = file.clone()
    assert (other.tell(), other.read(50), file.tell()) == (100, TEXT[100:150], 100)
    assert file.read(50) == TEXT[100:150]
    assert len(reader.asked) == 1


def test_files_of_the_same_version_share_and_one_of_another_does_not(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    cache = RangeCache()
    with cf.open("a.bin", cache=cache) as one, ArtifactFiles(object_server.url) as above:
        one.read()
        with above.open("d/a.bin", cache=cache, prefetch_bytes=0) as same:
            before = len(object_server.requests)
            assert same.read() == TEXT
            assert len(object_server.requests) == before
        object_server.put("d/a.bin", TEXT[::-1])
        with cf.open("a.bin", cache=cache) as other:
            assert other.read() == TEXT[::-1]


def test_what_has_no_etag_is_nobody_elses() -> None:
    reader = ScriptedReader(TEXT, etag=None)
    cache = RangeCache()
    opened(reader, cache=cache).read()
    assert opened(reader, cache=cache).read() == TEXT
    assert len(reader.asked) == 2


def test_two_threads_that_need_the_same_bytes_make_one_request() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader)
    reader.holding = True
    cursors = [file.clone() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(cursor.read, 100) for cursor in cursors]
        reader.wait_for(1)
        waiting = file._cursor.remote.entry.flights[0]
        while waiting.waiting < 8:
            threading.Event().wait(0.001)
        reader.answer()
        assert {read.result() for read in reads} == {TEXT[:100]}
    assert reader.asked == [(0, 100)]


def test_the_error_of_a_shared_request_is_each_readers_own() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader)
    reader.holding = True
    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(file.clone().read, 100) for _ in range(2)]
        reader.wait_for(1)
        while file._cursor.remote.entry.flights[0].waiting < 2:
            threading.Event().wait(0.001)
        reader.answer(error=ServerError("no", path="a.bin"))
        first, second = (read.exception() for read in reads)
    assert isinstance(first, ServerError)
    assert isinstance(second, ServerError)
    assert first is not second
    reader.holding = False
    assert file.read(100) == TEXT[:100]


def test_who_is_interrupted_breaks_off_what_nobody_else_waits_for() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader)
    reader.holding = True
    steps = file._cursor.next(100)
    next(steps)
    steps.close()  # as Ctrl-C does
    (asked,) = reader.held
    assert asked.cancelled_by_reader
    assert file.tell() == 0
    assert not file._cursor.remote.entry.flights


@pytest.mark.parametrize("where", ["_insert", "drop"])
def test_a_cache_that_was_interrupted_in_a_change_is_empty_and_of_use(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(ScriptedReader(TEXT), cache=RangeCache(3000))
    file.read(2000)
    change = getattr(Entry, where)

    def interrupted(entry: Entry, *args: Any) -> None:
        change(entry, *args)
        entry.blocks.clear()  # as if only half of it had been done
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Entry, where, interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.read(2000)
    file.seek(0)
    assert file.read() == TEXT
    assert file._cursor.remote.cache.size <= 3000


def test_who_is_interrupted_in_asking_leaves_nobody_waiting_for_the_rest() -> None:
    class Interrupting(ScriptedReader):
        interrupts = False

        def submit(self, source: Any) -> Any:
            if self.interrupts:
                raise KeyboardInterrupt
            return super().submit(source)

    reader = Interrupting(TEXT)
    file = opened(reader)
    file.seek(500)
    file.read(10)
    file.seek(0)
    reader.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        file.read(1000)  # two gaps, of which the second one had been claimed
    reader.interrupts = False
    assert all(flight.landed.done() for flight in file._cursor.remote.entry.flights)
    assert file.read(1000) == TEXT[:1000]


def test_who_is_interrupted_leaves_it_to_others_who_wait() -> None:
    reader = ScriptedReader(TEXT)
    file, other = (cursor := opened(reader)), cursor.clone()
    reader.holding = True
    first, second = file._cursor.next(100), other._cursor.next(100)
    next(first)
    next(second)
    first.close()
    assert not reader.held[0].cancelled_by_reader
    reader.answer()
    with pytest.raises(StopIteration) as end:
        second.send(None)
    assert end.value.value == TEXT[:100]
    assert reader.asked == [(0, 100)]


def test_who_comes_when_it_was_just_given_up_asks_again() -> None:
    reader = ScriptedReader(TEXT)
    file, other = (cursor := opened(reader)), cursor.clone()
    reader.holding = True
    first, second = file._cursor.next(100), other._cursor.next(100)
    next(first)
    (flight,) = file._cursor.remote.entry.flights
    flight.future = None  # it is not broken off at once
    first.close()
    next(second)  # joins what was given up
    assert reader.asked == [(0, 100)]
    reader.held[0].cancel()
    second.send(None)
    assert reader.asked == [(0, 100), (0, 100)]
    reader.answer(1)
    with pytest.raises(StopIteration) as end:
        second.send(None)
    assert end.value.value == TEXT[:100]


def test_what_was_asked_for_ahead_and_failed_is_asked_for_when_it_is_needed() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader)
    remote = file._cursor.remote
    reader.holding = True
    remote.ahead(0, 100)
    reader.answer(error=ServerError("no", path="a.bin"))
    reader.holding = False
    assert file.read(50) == TEXT[:50]
    assert reader.asked == [(0, 100), (0, 50)]


# -- within a bound


def test_the_least_recently_used_goes_first() -> None:
    reader = ScriptedReader(TEXT)
    cache = RangeCache(3 * 1000 + 3 * 200)
    file = opened(reader, cache=cache, read_ahead_bytes=0)
    for offset in (0, 10_000, 20_000, 0, 30_000, 0, 10_000):
        file.seek(offset)
        file.read(1000)
    assert [start for start, _ in reader.asked] == [0, 10_000, 20_000, 30_000, 10_000]
    assert cache.size <= cache.max_bytes
    cache.clear()
    assert cache.size == 0


def test_many_small_blocks_in_a_row_become_one() -> None:
    file = opened(ScriptedReader(TEXT), read_ahead_bytes=0)
    for _ in range(1000):
        file.read(10)
    assert len(file._cursor.remote.entry.starts) == 1
    small = opened(ScriptedReader(TEXT), read_ahead_bytes=0, cache=RangeCache(8000))
    for _ in range(1000):
        small.read(10)
    assert len(small._cursor.remote.entry.starts) > 4  # so that not all of it goes at once


@settings(max_examples=100, deadline=None)
@given(
    reads=st.lists(st.tuples(st.integers(0, 1999), st.integers(1, 400)), max_size=60),
    bound=st.integers(0, 3000),
    least=st.integers(0, 300),
)
def test_blocks_never_overlap_and_their_sizes_add_up(reads: list[tuple[int, int]], bound: int, least: int) -> None:
    content = random.Random(1).randbytes(2000)
    cache = RangeCache(bound)
    file = opened(ScriptedReader(content), cache=cache, minimum_range_request_bytes=least)
    entry = file._cursor.remote.entry
    for offset, size in reads:
        file.seek(offset)
        assert file.read(size) == content[offset : offset + size]
        assert entry.starts == sorted(entry.blocks)
        ends = [0, *(start + len(entry.blocks[start]) for start in entry.starts)]
        assert all(end <= start for end, start in zip(ends, entry.starts, strict=False))
        assert cache.size == sum(200 + len(block) for block in entry.blocks.values()) <= bound


def test_64_threads_read_what_is_there_within_the_bound_whatever_goes_wrong(
    object_server: ObjectServer, quick: RetryPolicy
) -> None:
    content = random.Random(2).randbytes(3_000_000)
    faults = [Drop(after_bytes=100), Status(503), NoAnswer(), ShortBody(by=3), Drop(rst=True)] * 12
    cache = RangeCache(300_000)
    largest: list[int] = []
    with ArtifactFiles(object_server.url, retry=RetryPolicy(attempts=20, first=0.001, longest=0.01)) as cf:
        object_server.put("big", content)
        with cf.open("big", cache=cache) as file:
            object_server.fault("big", *faults)

            def read(number: int) -> None:
                chance = random.Random(number)
                with file.clone() as cursor:
                    for _ in range(12):
                        offset = chance.randrange(len(content))
                        size = chance.choice([1, 100, 5000, 40_000])
                        cursor.seek(offset)
                        for _ in range(chance.choice([1, 1, 4])):
                            assert cursor.read(size) == content[offset : offset + size]
                            offset = cursor.tell()
                        largest.append(cache.size)

            with ThreadPoolExecutor(64) as pool:
                for done in [pool.submit(read, number) for number in range(64)]:
                    done.result()
    assert max(largest) <= 300_000


# -- what changes, and what cannot be had


def test_a_changed_object_is_an_error_and_never_a_mixture(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    with cf.open("a.bin", cache=RangeCache()) as file:
        assert file.read(10) == TEXT[:10]
        object_server.put("d/a.bin", TEXT[::-1])
        assert file.read(10) == TEXT[10:20]  # which is here
        file.seek(50_000)
        with pytest.raises(PreconditionFailed, match="changed since it was opened"):
            file.read(10)
        assert object_server.requests[-2].headers["if-match"] == f'"{file.etag}"'
        assert object_server.requests[-1].method == "HEAD"  # whether the server can compare
        assert file.tell() == 50_000
        assert pickle.loads(pickle.dumps(file)).tell() == 50_000
        with pytest.raises(PreconditionFailed):
            pickle.loads(pickle.dumps(file)).read(10)


def test_a_server_that_does_not_compare_is_compared_with() -> None:
    reader = ScriptedReader(TEXT)
    reader.compares = False
    file = opened(reader)
    reader.etag = "2"
    with pytest.raises(PreconditionFailed):
        file.read(10)


def test_without_an_etag_another_size_is_a_change() -> None:
    reader = ScriptedReader(TEXT, etag=None)
    file = opened(reader)
    reader.content += b"more"
    with pytest.raises(PreconditionFailed):
        file.read(10)


def test_a_server_whose_etags_are_weak_refuses_in_vain(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    with cf.open("a.bin", cache=RangeCache()) as file:
        object_server.fault("d/a.bin", Status(412))
        file.seek(50_000)
        assert file.read(10) == TEXT[50_000:50_010]
        file.seek(70_000)
        assert file.read(10) == TEXT[70_000:70_010]
        assert "if-match" not in object_server.requests[-1].headers


class Weak(Fault):
    def alter(self, exchange: Any, response: Any) -> Any:
        return response.with_header("ETag", f'W/"{exchange.request.path}"')


@pytest.mark.parametrize("options", [{}, {"prefetch_direction": "END"}, {"prefetch_bytes": 0}], ids=str)
def test_what_has_the_same_weak_etag_may_be_other_bytes(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path, options: dict[str, Any]
) -> None:
    object_server.put("d/a.bin", TEXT, faults=[Always(Weak())])
    options = {"cache": RangeCache(), "cache_dir": tmp_path / "kept", **options}
    with cf.open("a.bin", **options) as first:
        assert first.clone().read() == TEXT
        object_server.put("d/a.bin", TEXT[::-1])
        with cf.open("a.bin", **options) as second:
            assert second.read() == TEXT[::-1]
            assert pickle.loads(pickle.dumps(second)).read() == b""
        assert first.read() == TEXT  # which it still has
    assert not (tmp_path / "kept").exists()
    assert not [request for request in object_server.requests if "if-match" in request.headers]


def test_another_weak_etag_is_a_change(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    class Changing(Fault):
        def alter(self, exchange: Any, response: Any) -> Any:
            return response.with_header("ETag", f'W/"{len(object_server.requests)}"')

    object_server.put("d/a.bin", TEXT, faults=[Always(Changing())])
    with cf.open("a.bin", cache=RangeCache()) as file:
        file.seek(50_000)
        with pytest.raises(PreconditionFailed):
            file.read(10)


def test_two_whom_a_weak_etag_was_refused_at_the_same_time_both_read_on() -> None:
    class Weak(ScriptedReader):
        def _answer(self, asked: Any) -> None:
            if asked.source.get("if_match"):
                asked.set_exception(PreconditionFailed("refused", path="a.bin", status=412))
            else:
                super()._answer(asked)

    reader = Weak(TEXT, etag='W/"1"')
    first = opened(reader)
    second = first.clone()
    second.seek(5000)
    reader.holding = True
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first.read, 10)
        reader.wait_for(1)
        other = pool.submit(second.read, 10)
        reader.wait_for(2)
        reader.holding = False
        reader.answer()
        assert one.result(20) == TEXT[:10]
        reader.answer()
        assert other.result(20) == TEXT[5000:5010]


def test_an_object_that_is_removed_is_not_found(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    with cf.open("a.bin", cache=RangeCache()) as file:
        del object_server.objects["d/a.bin"]
        file.seek(50_000)
        with pytest.raises(ObjectNotFound):
            file.read(1)


@pytest.mark.parametrize("fault", [IgnoreRange(), Gzip(), Chunked()], ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("options", [{}, {"prefetch_direction": "END"}, {"prefetch_bytes": 0}], ids=str)
def test_where_no_ranges_can_be_had_all_of_it_is_downloaded_once(
    cf: ArtifactFiles, object_server: ObjectServer, fault: Any, options: dict[str, Any]
) -> None:
    object_server.put("d/whole", TEXT, faults=[Always(fault)])
    if isinstance(fault, Chunked):
        object_server.fault("d/whole", Always(IgnoreRange()))
    with cf.open("whole", cache=RangeCache(), **options) as file:
        assert file.size == len(TEXT)
        file.seek(-5, 2)
        assert file.read() == TEXT[-5:]
        file.seek(0)
        assert file.read() == TEXT
        before = len(object_server.requests)
        with ThreadPoolExecutor(4) as pool:
            assert {*pool.map(lambda cursor: cursor.read(), [file.clone() for _ in range(4)])} <= {b""}
        file.seek(100)
        assert file.clone().read(9) == TEXT[100:109]
        assert file.prefetch([(0, 10)]) == 0
        assert len(object_server.requests) == before


def test_what_is_stored_encoded_is_read_decoded_or_raw(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    encoded = gzip.compress(TEXT)
    object_server.put("d/a.gz", encoded, headers={"content-encoding": "gzip"})
    cache = RangeCache()
    with cf.open("a.gz", cache=cache) as file, cf.open("a.gz", cache=cache, raw=True) as raw:
        assert (file.size, raw.size) == (len(TEXT), len(encoded))
        file.seek(60_000)
        assert (file.read(10), raw.read()) == (TEXT[60_000:60_010], encoded)
        before = object_server.bytes_sent
        with cf.open("a.gz", cache=cache) as another:
            assert another.read() == TEXT
        assert object_server.bytes_sent - before < len(encoded)


def test_a_large_download_goes_to_a_file_and_is_made_once(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    content = random.Random(3).randbytes(10_000_000)
    object_server.put("d/large", content, faults=[Always(IgnoreRange())])
    with cf.open("large", cache=RangeCache()) as file:
        whole = file._cursor.remote.entry.whole
        assert whole is not None
        assert whole._file is not None
        with ThreadPoolExecutor(8) as pool:
            offsets = range(0, 10_000_000, 999_983)
            cursors = [file.clone() for _ in offsets]
            for cursor, offset in zip(cursors, offsets, strict=True):
                cursor.seek(offset)
            found = pool.map(lambda cursor: cursor.read(100), cursors)
            assert [*found] == [content[offset : offset + 100] for offset in offsets]
    assert object_server.bytes_sent < 2 * len(content)


def test_what_is_downloaded_again_and_has_another_size_has_changed(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    @dataclass(frozen=True)
    class WithoutEtag(IgnoreRange):
        def answer(self, exchange: Any) -> None:
            response = exchange.respond(exchange.request.with_header("range", None))
            exchange.send(response.with_header("ETag", None))

    object_server.put("d/whole", TEXT, faults=[Always(WithoutEtag())])
    with cf.open("whole", cache=RangeCache()) as file:
        pickled = pickle.dumps(file)
        object_server.put("d/whole", TEXT[:1000], faults=[Always(WithoutEtag())])
        with pickle.loads(pickled) as other, pytest.raises(PreconditionFailed, match="changed"):
            other.read(10)
        assert file.read(10) == TEXT[:10]


def test_a_copy_of_what_was_downloaded_whole_is_of_the_same_version(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    object_server.put("d/a", TEXT)
    object_server.fault("d/a", Status(416), method="GET")  # it does not count from the end, nor say how long it is
    object_server.fault("d/a", Always(Chunked()), method="HEAD")
    file = cf.open("a", prefetch_direction="END", cache=RangeCache())
    assert file.read(4) == TEXT[:4]
    copy = pickle.loads(pickle.dumps(file))
    object_server.put("d/a", bytes(len(TEXT)))
    with pytest.raises(PreconditionFailed):
        copy.read(4)
    assert file.read(4) == TEXT[4:8]  # which is here


def test_a_download_that_is_refused_in_vain_is_made_without_the_condition(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    object_server.put("d/a", TEXT)
    object_server.fault("d/a", Gzip(), Status(412), Gzip(), method="GET")
    with cf.open("a", cache=RangeCache()) as file:
        assert file.read() == TEXT
    object_server.fault("d/a", Gzip(), Status(412), method="GET")
    object_server.fault("d/a", Status(200, {"ETag": '"another"', "Content-Length": "9"}), method="HEAD")
    with pytest.raises(PreconditionFailed):
        cf.open("a", cache=RangeCache())


def test_who_wants_no_download_is_told_why(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.put("d/whole", TEXT, faults=[Always(IgnoreRange())])
    object_server.put("d/a.gz", gzip.compress(TEXT), headers={"content-encoding": "gzip"})
    with pytest.raises(RangesUnsupported) as told:
        cf.open("whole", without_ranges="refuse")
    assert told.value.reason == "ignored"
    for before in (0, 100):
        with pytest.raises(RangesUnsupported) as told:
            cf.open("a.gz", without_ranges="refuse", prefetch_bytes=before)
        assert told.value.reason == "encoded"
        assert pickle.loads(pickle.dumps(told.value)).reason == "encoded"
    with cf.open("whole", without_ranges="refuse", prefetch_bytes=0) as file, pytest.raises(RangesUnsupported):
        file.read(10)


@pytest.mark.parametrize("content", [TEXT, b""])
def test_a_head_that_tells_no_size_is_no_reason_to_download(content: bytes) -> None:
    reader = ScriptedReader(content)
    reader.tells_size = False
    file = opened(reader, without_ranges="refuse")
    assert (file.size, file.read(10)) == (len(content), content[:10])
    assert sum(end - start for start, end in reader.asked) == len(content[:10])


def test_a_download_that_fails_can_be_tried_again(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.put("d/whole", TEXT, faults=[Always(IgnoreRange())])
    with cf.open("whole", cache=RangeCache(), prefetch_bytes=0) as file:
        kept_object = object_server.objects.pop("d/whole")
        with pytest.raises(ObjectNotFound):
            file.read(10)
        object_server.objects["d/whole"] = kept_object
        assert file.read(10) == TEXT[:10]


def test_a_download_that_others_wait_for_fails_for_all_of_them_and_is_taken_over_if_it_is_given_up() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader)
    reader.ranges = False

    def begun() -> list[Any]:
        reader.holding, reader.held = True, []
        readers = [file.clone()._cursor.next(100) for _ in range(3)]
        for steps in readers:
            next(steps)
        if not reader.held[0].source.get("into"):
            reader.answer()
            for steps in readers:
                steps.send(None)
        assert [asked.source["end"] for asked in reader.held] == [len(TEXT)]
        return readers

    first, *others = begun()
    reader.answer(error=ServerError("no", path="a.bin"))
    for steps in (first, *others):
        with pytest.raises(ServerError):
            steps.send(None)
    first, *others = begun()
    first.close()
    assert reader.held.pop().cancelled_by_reader
    for steps in others:
        steps.send(None)
    assert len(reader.held) == 1
    reader.answer()
    for steps in others:
        with pytest.raises(StopIteration) as end:
            steps.send(None)
        assert end.value.value == TEXT[:100]


# -- parts, as one may ask for them oneself


def test_a_part_may_be_counted_from_the_end(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    mem = ArtifactFiles("mem://parts")
    mem.put("a.bin", TEXT)
    for files in (cf, mem):
        results = files.get([{"path": "a.bin", "start": start, "part": True} for start in (-5, -200_000, 119_000)])
        assert [result["content"] for result in results] == [TEXT[-5:], TEXT, TEXT[119_000:]]
        assert {result["size"] for result in results} == {len(TEXT)}


def test_a_server_that_does_not_count_from_the_end_is_asked_for_the_size(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    for fault in (Status(400), Status(416), IgnoreRange()):
        before = len(object_server.requests)
        object_server.fault("d/a.bin", fault)
        content = cf.get({"path": "a.bin", "start": -5, "part": True})
        assert content == TEXT[-5:]
        assert seen(object_server)[before:] == ["bytes=-5", "HEAD", "bytes=119995-"]


def test_a_read_may_be_pinned_to_an_etag(cf: ArtifactFiles) -> None:
    etag = cf.head("a.bin").etag
    assert cf.get({"path": "a.bin", "start": 0, "end": 5, "if_match": etag}) == TEXT[:5]
    assert cf.submit({"path": "a.bin", "if_match": etag}).result()["content"] == TEXT
    results = cf.get(
        [{"path": "a.bin", "start": n, "end": n + 5, "if_match": tag} for n, tag in ((0, etag), (5, "another"))],
        raise_errors=False,
    )
    assert results[0]["content"] == TEXT[:5]
    assert isinstance(results[1]["error"], PreconditionFailed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"part": 1, "start": 0},
        {"part": True},
        {"part": True, "start": 0, "cut": 5},
        {"part": True, "start": 0, "end": 5, "cut": -1},
        {"start": 0, "end": 5, "cut": 5},
        {"part": True, "start": -5, "end": 3},
        {"part": True, "start": 0, "end": 5, "into": bytearray(5)},
        {"start": -5},
        {"if_match": ""},
        {"if_match": 'a"b'},
        {"if_match": 5},
    ],
)
def test_parts_and_conditions_that_make_no_sense_are_refused(cf: ArtifactFiles, wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        cf.get({"path": "a.bin", **wrong})


# -- archives


def test_a_member_of_a_large_archive_is_read_cheaply(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writing:
        for number in range(50):
            writing.writestr(f"member-{number}", random.Random(number).randbytes(60_000))
    object_server.put("d/big.zip", archive.getvalue())
    with zipfile.ZipFile(cf.open("big.zip", cache=RangeCache(), prefetch_direction="END")) as reading:
        assert len(object_server.requests) <= 2
        before = object_server.bytes_sent
        assert reading.read("member-17") == random.Random(17).randbytes(60_000)
        assert len(object_server.requests) <= 5
        assert object_server.bytes_sent - before < 1.2 * 60_000


# -- who reads, and where


class _Counts(Observer):
    def __init__(self) -> None:
        self.threads: set[int] = set()

    def started(self, item: Any) -> None:
        self.threads.add(threading.get_ident())


def test_observers_are_called_in_the_thread_that_reads(object_server: ObjectServer) -> None:
    object_server.put("a.bin", TEXT)
    counts = _Counts()
    with ArtifactFiles(object_server.url, observer=counts) as cf, cf.open("a.bin", cache=RangeCache()) as file:
        assert file.read() == TEXT
    assert counts.threads == {threading.get_ident()}


def test_without_workers_it_reads_in_the_caller(object_server: ObjectServer) -> None:
    object_server.put("a.bin", TEXT)
    with ArtifactFiles(object_server.url, num_threads=0) as cf, cf.open("a.bin", cache=RangeCache()) as file:
        before = {*threading.enumerate()}
        assert file.read() == TEXT
        assert {thread for thread in {*threading.enumerate()} - before if "fake-server" not in thread.name} == set()
        with pytest.raises(FileNotFoundError):
            cf.open("missing")


def test_greenlets_let_each_other_read(object_server: ObjectServer) -> None:
    gevent = pytest.importorskip("gevent")
    object_server.put("a.bin", TEXT)
    with ArtifactFiles(object_server.url, green=True) as cf, cf.open("a.bin", cache=RangeCache()) as file:
        cursors = [file.clone() for _ in range(20)]
        for number, cursor in enumerate(cursors):
            cursor.seek(number // 2 * 10_000)
        before = len(object_server.requests)
        found = [greenlet.get() for greenlet in [gevent.spawn(cursor.read, 5000) for cursor in cursors]]
        assert found == [TEXT[number // 2 * 10_000 :][:5000] for number in range(20)]
        assert len(object_server.requests) - before == 10


@pytest.mark.parametrize("scheme", ["mem", "file"])
def test_any_store_can_be_read_so(scheme: str, tmp_path: Path) -> None:
    cf = ArtifactFiles("mem://ranges" if scheme == "mem" else f"file://{tmp_path}")
    cf.put("a.bin", TEXT)
    cf.put("a.gz", TEXT, compress="gzip")
    for options in ({}, {"prefetch_direction": "END"}, {"prefetch_bytes": 0}):
        with cf.open("a.bin", **options) as file, cf.open("a.gz", **options) as decoded:
            file.seek(-5, 2)
            assert (file.read(), decoded.read()) == (TEXT[-5:], TEXT)
    with cf.open("a.bin") as file:
        file.read(10)
        cf.put("a.bin", TEXT[::-1])
        file.seek(50_000)
        with pytest.raises(PreconditionFailed):
            file.read(10)


@pytest.fixture
def hypha(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHypha]:
    with FakeHypha(token=None) as server:
        server.add_artifact("ws/a", {"a.bin": TEXT})
        yield server


def test_an_artifacts_file_is_signed_once_and_read_by_ranges(hypha: FakeHypha) -> None:
    with ArtifactFiles("hypha://ws/a", server_url=hypha.url) as cf:
        with cf.open("a.bin", cache=RangeCache(), prefetch_bytes=100, prefetch_direction="END") as file:
            for offset in range(0, 100_000, 10_000):
                file.seek(offset)
                assert file.read(10) == TEXT[offset : offset + 10]
            assert hypha.count("get_file") == 1
            hypha.expire_urls()
            file.seek(115_000)
            assert file.read(10) == TEXT[115_000:115_010]
            assert hypha.count("get_file") == 2
        with pytest.raises(FileNotFoundError):
            cf.open("missing")


def test_an_artifacts_file_that_was_replaced_is_not_read_on(hypha: FakeHypha) -> None:
    with ArtifactFiles("hypha://ws/a", server_url=hypha.url) as cf:
        with cf.open("a.bin", cache=RangeCache()) as file:
            cf.put("a.bin", TEXT[::-1])
            file.seek(50_000)
            with pytest.raises(PreconditionFailed):
                file.read(10)
        with cf.open("a.bin", cache=RangeCache()) as file:
            file.seek(50_000)
            assert file.read(10) == TEXT[::-1][50_000:50_010]


def test_a_pickled_file_reads_on_at_its_place_without_asking_again(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    with cf.open("a.bin", minimum_range_request_bytes=0) as file:
        file.seek(60_000)
        before = len(object_server.requests)
        other = pickle.loads(pickle.dumps(file))
        assert (other.tell(), other.size, len(object_server.requests)) == (60_000, len(TEXT), before)
        assert other.read(10) == TEXT[60_000:60_010]
        assert object_server.requests[-1].range == "bytes=60000-60009"
        other._cursor.remote.reader.close()


def test_a_file_that_is_dropped_leaves_nothing_and_takes_no_lock() -> None:
    reader = ScriptedReader(TEXT)
    cache = RangeCache()
    file = opened(reader, cache=cache)
    file.read(100)
    with cache.lock:  # as where the collector finds it
        del file
        gc.collect()
    assert len(cache._all) == 1  # of which bytes are kept
    cache.clear()
    gc.collect()
    assert len(cache._all) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_reads_on_whatever_another_thread_was_at() -> None:
    reader = ScriptedReader(TEXT)
    file = opened(reader)
    file.read(100)
    reader.holding = True
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(file.read, 100)
        reader.wait_for(1)  # in the midst of which that thread holds the file
        held, free = threading.Event(), threading.Event()

        def hold() -> None:
            with file._cursor.remote.cache.lock:
                held.set()
                free.wait(20)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(20)
        child = os.fork()
        if not child:
            faulthandler.dump_traceback_later(5, exit=True)
            reader.holding = False
            file.seek(0)
            os._exit(0 if file.read(200) == TEXT[:200] else 1)
        free.set()
        holder.join()
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        reader.answer()
        assert read.result() == TEXT[100:200]
    assert ended == 0


# -- on disk


class Addressed(ScriptedReader):
    """One whose object others know."""

    def address(self, path: str) -> str | None:
        return f"somewhere {path}"


def on_disk(reader: ScriptedReader, folder: Path, **options: Any) -> RangeFile:
    return opened(reader, cache_dir=folder, **{"cache": RangeCache(0), **options})


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_read_is_on_disk_for_the_next_one(tmp_path: Path) -> None:
    first, second = Addressed(TEXT), Addressed(TEXT)
    file = on_disk(first, tmp_path)
    for offset in (0, 500, 5000):
        file.seek(offset)
        assert file.read(1000) == TEXT[offset : offset + 1000]
    other = on_disk(second, tmp_path)
    assert other.read(7000) == TEXT[:7000]
    assert second.asked == [(1500, 5000), (6000, 7000)]
    changed = Addressed(TEXT[::-1], etag="2")
    assert on_disk(changed, tmp_path).read(100) == TEXT[::-1][:100]
    assert {path.stat().st_mode & 0o777 for path in files_in(tmp_path)} == {0o600}


@settings(max_examples=60, deadline=None)
@given(reads=st.lists(st.tuples(st.booleans(), st.integers(0, 1999), st.integers(1, 400)), max_size=40))
def test_two_that_share_a_folder_read_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, reads: list[tuple[bool, int, int]]
) -> None:
    content = random.Random(1).randbytes(2000)
    folder = tmp_path_factory.mktemp("cache")
    files = [on_disk(Addressed(content), folder, cache=RangeCache(n)) for n in (0, 1000)]
    for which, offset, size in reads:
        files[which].seek(offset)
        assert files[which].read(size) == content[offset : offset + size]


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b[:10] + b"X" + b[11:], lambda b: b""])
def test_a_torn_file_is_asked_for_again(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    on_disk(Addressed(TEXT), tmp_path).read(1000)
    (path,) = files_in(tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    reader = Addressed(TEXT)
    assert on_disk(reader, tmp_path).read(1000) == TEXT[:1000]
    assert reader.asked == [(0, 1000)]
    assert on_disk(Addressed(b"?" * len(TEXT)), tmp_path).read(1000) == TEXT[:1000]  # mended


def test_what_another_process_removes_is_asked_for_again(tmp_path: Path) -> None:
    reader = Addressed(TEXT)
    file = on_disk(reader, tmp_path)
    file.read(1000)
    for path in files_in(tmp_path):
        path.unlink()
    other = file.clone()
    other.seek(0)
    assert other.read(1000) == TEXT[:1000]
    assert reader.asked == [(0, 1000), (0, 1000)]


def test_a_full_disk_is_warned_of_once_and_fails_no_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    file = on_disk(Addressed(TEXT), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(kept.os, "replace", full)
        with pytest.warns(RuntimeWarning, match="No space left"):
            assert file.read(1000) == TEXT[:1000]
    assert files_in(tmp_path) == []
    assert file.read(1000) == TEXT[1000:2000]


def test_a_folder_that_another_process_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    made: list[str] = []

    def removed_at_once(folder: str, **options: Any) -> None:
        os_makedirs(folder, **options)
        if not made and len(os.path.basename(folder)) > 2:  # and not the one that it is in
            os.rmdir(folder)
            made.append(folder)

    os_makedirs = os.makedirs
    file = on_disk(Addressed(TEXT), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(kept.os, "makedirs", removed_at_once)
        assert file.read(1000) == TEXT[:1000]
    assert len(files_in(tmp_path)) == 1
    assert not recwarn.list


def test_a_folder_stays_within_its_bound(tmp_path: Path) -> None:
    file = on_disk(Addressed(bytes(1_000_000)), tmp_path, cache_dir_bytes=50_000, read_ahead_bytes=0)
    for offset in range(0, 1_000_000, 10_000):
        file.seek(offset)
        file.read(1000)
        assert sum(path.stat().st_size for path in files_in(tmp_path)) <= 50_000
    assert sum(path.stat().st_size for path in files_in(tmp_path)) > 40_000


def test_drafts_of_killed_processes_are_removed(tmp_path: Path) -> None:
    on_disk(Addressed(TEXT), tmp_path).read(100)
    (path,) = files_in(tmp_path)
    draft = path.with_name(".123-0-5")
    draft.write_bytes(b"torn")
    kept.Shelf(str(tmp_path), 1000).trim()
    assert draft.exists()
    os.utime(draft, (1, 1))
    kept.Shelf(str(tmp_path), 1000).trim()
    assert not draft.exists()
    assert path.exists()


def test_nothing_of_the_users_in_the_folder_is_removed(tmp_path: Path) -> None:
    theirs = [tmp_path / name for name in (".bashrc", "data.csv", "0-100", "sub/.env", "ab/notes", "ab/.1-2-3")]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(5000))
        os.utime(path, (1, 1))
    on_disk(Addressed(TEXT), tmp_path, cache_dir_bytes=1000).read(900)
    assert all(path.exists() for path in theirs)
    assert len(files_in(tmp_path)) == len(theirs) + 1  # what they take does not count


def test_to_be_interrupted_in_reading_the_disk_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk(Addressed(TEXT), tmp_path).read(1000)
    file = on_disk(Addressed(TEXT), tmp_path)

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(kept.Kept, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.read(100)
    assert all(flight.landed.done() for flight in file._cursor.remote.entry.flights)
    assert file.read(100) == TEXT[:100]


_OTHER_PROCESS = """
import sys
from cloudfiles_hypha import ArtifactFiles, RangeCache
with ArtifactFiles(sys.argv[1]) as cf, cf.open("a.bin", cache_dir=sys.argv[2], prefetch_bytes=0) as file:
    for offset in range(0, 120_000, 1000):
        file.seek(offset if int(sys.argv[3]) else 119_000 - offset)
        here = file.tell()
        assert file.read(1000) == b"".join(b"%05d\\n" % n for n in range(20_000))[here : here + 1000]
"""


def test_several_processes_read_by_one_folder(object_server: ObjectServer, tmp_path: Path) -> None:
    object_server.put("a.bin", TEXT)
    command = [sys.executable, "-c", _OTHER_PROCESS, object_server.url, str(tmp_path)]
    both = [subprocess.Popen([*command, number]) for number in "01"]
    assert [process.wait(50) for process in both] == [0, 0]
    before = object_server.bytes_sent
    assert subprocess.run([*command, "0"], check=False, timeout=50).returncode == 0
    assert object_server.bytes_sent == before


# -- whose it is


def test_addresses_tell_objects_apart_and_no_secrets(tmp_path: Path) -> None:
    one, other = ArtifactFiles("https://user:pass@host/d"), ArtifactFiles("https://host")
    assert one.address("a") == other.address("d/a") != other.address("a")
    assert "pass" not in str(one.address("a"))
    assert ArtifactFiles("s3://bucket/p").address("a") != ArtifactFiles("s3://other/p").address("a")
    assert ArtifactFiles(f"file://{tmp_path}").address("a") is not None
    assert one.address("a/b") != other.address("d/a b")
    with pytest.raises(ValueError, match="path"):
        one.address("")


def test_an_error_of_the_store_is_the_readers(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    with cf.open("a.bin", cache=RangeCache()) as file:
        object_server.fault("d/a.bin", Status(403, times=5))
        file.seek(50_000)
        with pytest.raises(PermissionError) as error:
            file.read(10)
        assert isinstance(error.value, TransferError)
        assert error.value.path == "a.bin"


def test_a_small_piece_is_read_by_the_thread_that_wants_it(object_server: ObjectServer) -> None:
    object_server.put("a", bytes(range(256)) * 64)
    with ArtifactFiles(object_server.url) as cf, cf.open("a", minimum_range_request_bytes=0) as file:
        for place in (9000, 5000, 14000):
            file.seek(place)
            assert file.read(10) == bytes((place + number) % 256 for number in range(10))
        while [thread for thread in threading.enumerate() if thread.name == "cloudfiles-hypha"]:
            time.sleep(0.01)  # the one that has opened it
        file.seek(7000)
        file.read(10)
        assert not [thread for thread in threading.enumerate() if thread.name == "cloudfiles-hypha"]


@pytest.mark.parametrize("end", [13, None])
@pytest.mark.parametrize("blocks", [(), (b"01", b"2"), (b"01234", b"56789", b"x")])
def test_room_for_a_part_that_was_not_filled_is_no_content(end: int | None, blocks: tuple[bytes, ...]) -> None:
    sink = PartSink(GetRequest("a", 3, end, part=True))
    for _ in range(2):  # of the first attempt nothing is left
        sink.begin(ObjectInfo("a", 13), 3, 13)
        for block in blocks:
            sink.write(block)
        with pytest.raises(IntegrityError, match=f"expected 10 bytes, got {len(b''.join(blocks))}"):
            sink.content()
    sink.begin(ObjectInfo("a", 13), 3, 13)
    sink.write(b"01234")
    sink.write(b"56789")
    assert sink.content() == b"0123456789"


@pytest.mark.parametrize("cut", [1, 3, 4, 10, 11])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 10])
def test_a_part_is_cut_where_it_was_said_however_it_comes(cut: int, step: int) -> None:
    content = b"0123456789"
    sink = PartSink(GetRequest("a", 3, 13, part=True, cut=cut))
    for end in (5, 10):  # of the first attempt nothing is left
        sink.begin(ObjectInfo("a", 13), 3, 13)
        for at in range(0, end, step):
            sink.write(content[at : min(at + step, end)])
    blocks: Any = sink.content()
    assert blocks.blocks == [content[at : at + cut] for at in range(0, 10, cut)]
    assert len(blocks) == 10
    for start, end in combinations(range(12), 2):
        assert b"".join(blocks.between(start, end)) == content[start:end]


@pytest.mark.parametrize("cut", [1, 3, 10, 11])
@pytest.mark.parametrize("size", [0, 5, 9, 11, 30])
def test_a_part_of_another_length_is_not_cut(cut: int, size: int) -> None:
    sink = PartSink(GetRequest("a", 3, 13, part=True, cut=cut))
    sink.begin(ObjectInfo("a", 13), 3, 13)
    for _ in range(size):
        sink.write(b"x")
    with pytest.raises(IntegrityError, match=f"expected 10 bytes, got {size}"):
        sink.content()
