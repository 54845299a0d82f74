"""Defects of version 0.1.0 in the running of batches, each as a scenario that failed there.

They go through ``ArtifactFiles`` alone, whatever lies behind it. What crashed or hung runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import os
import resource
import sys
import tempfile
import threading
import time
import tracemalloc
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pycurl
import pytest

from cloudfiles_hypha import ArtifactFiles, BatchError, Cancelled, ObjectNotFound, RetryPolicy, TransferError
from tests.support import object_server as faults
from tests.support.child import in_child
from tests.support.clients import QUICK, connect
from tests.support.fake_hypha import FakeHypha, Status429
from tests.support.object_server import Always, Exchange, Fault, HttpServer, ObjectServer, Status
from tests.support.threads import in_threads

MIB = 1024 * 1024
BLOCK = bytes(range(256)) * 4096  # 1 MiB
AT_ONCE = Status(503, {"Retry-After": "0"})


# --- The collector in another thread (41) ---------------------------------------------------------------------------


@contextlib.contextmanager
def collecting() -> Iterator[None]:
    """While this lasts, another thread collects garbage all along."""
    over = threading.Event()

    def collect() -> None:
        while not over.is_set():
            gc.collect()
            time.sleep(0.0005)  # else nobody else gets the interpreter

    thread = threading.Thread(target=collect, name="collector")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def many_objects(fresh: bool) -> None:
    with ObjectServer() as server:
        names = [f"{number}" for number in range(24)]
        for name in names:
            server.put(name, name.encode() * 100)
        with collecting():
            one = ArtifactFiles(server.url, num_threads=8)
            for _ in range(100):
                files = ArtifactFiles(server.url, num_threads=8) if fresh else one
                assert [result["content"] for result in files.get(names)] == [name.encode() * 100 for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False], ids=["an object for each batch", "one object"])
def test_garbage_of_finished_batches_may_be_collected_by_any_thread(fresh: bool) -> None:
    in_child(many_objects, fresh, seconds=50)


# --- A worker that holds an item never waits for a better pace (42) --------------------------------------------------


def uploads_with_a_pause(rounds: int) -> None:
    with FakeHypha() as hypha:
        for number in range(rounds):
            hypha.add_artifact(f"ws/a{number}")
            hypha.forget_requests()
            hypha.store.forget_requests()
            hypha.store.fault_all(AT_ONCE, method="PUT")

            def contents() -> Iterator[tuple[str, bytes]]:
                for index in range(16):
                    if index == 4:  # the pace has been halved by now, and the carriers have had time to spread
                        hypha.store.wait_for_requests(5)
                        time.sleep(0.1)
                    yield f"{index}", BLOCK

            with connect(hypha, f"ws/a{number}", num_threads=16) as cf:
                results = cf.puts(contents())
            assert [result["size"] for result in results] == [MIB] * 16
            assert hypha.files(f"ws/a{number}") == {f"{index}": BLOCK for index in range(16)}


def downloads_with_a_pause(rounds: int) -> None:
    with ObjectServer() as server, tempfile.TemporaryDirectory() as folder:
        names = [f"{number}" for number in range(30)]
        for name in names:
            server.put(name, BLOCK)
        for number in range(rounds):
            server.forget_requests()
            server.fault_all(AT_ONCE)

            def asked_for() -> Iterator[str]:
                for index, name in enumerate(names):
                    if index == 4:
                        server.wait_for_requests(5)
                        time.sleep(0.1)
                    yield name

            cf = ArtifactFiles(server.url, num_threads=16, retry=QUICK)
            target = Path(folder, str(number % 2))
            results = cf.download(asked_for(), target, overwrite="always")
            assert [result["error"] for result in results] == [None] * 30
            assert all(Path(target, name).read_bytes() == BLOCK for name in names)
            cf.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "rounds"),
    [(uploads_with_a_pause, 6), (downloads_with_a_pause, 6)],
    ids=["uploads", "downloads"],
)
def test_a_complaining_server_never_stops_a_batch(scenario: Callable[[int], None], rounds: int) -> None:
    in_child(scenario, rounds)


# --- A thread that cannot start, or dies (43) ------------------------------------------------------------------------


def _few_descriptors(spare: int) -> None:
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def batch_with_few_descriptors(url: str, spare: int, at_start: bool) -> None:
    cf = ArtifactFiles(url, num_threads=4, retry=RetryPolicy(attempts=1))
    names = [str(index) for index in range(12)]
    try:
        if at_start:
            _few_descriptors(spare)
        results = cf.iget(iter(names), raise_errors=False)
        first = next(results)
        if not at_start:
            _few_descriptors(spare)
        every = [first, *results]
    except (OSError, RuntimeError) as error:
        print(f"refused: {type(error).__name__}")
    else:
        assert len(every) == len(names)
        assert all((result["content"] == BLOCK * 2) == (result["error"] is None) for result in every)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count descriptors")
@pytest.mark.parametrize("at_start", [True, False], ids=["from the beginning", "in the middle"])
@pytest.mark.parametrize("spare", [1, 3, 4, 6])
def test_too_few_descriptors_for_the_workers_are_an_error_of_the_caller(
    object_server: ObjectServer, spare: int, at_start: bool
) -> None:
    for index in range(12):
        object_server.put(str(index), BLOCK * 2)
    in_child(batch_with_few_descriptors, object_server.url, spare, at_start)


def batch_without_threads(url: str) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("cloudfiles-hypha"):
            raise RuntimeError("can't start new thread")
        start(thread)

    cf = ArtifactFiles(url, num_threads=4, retry=QUICK)
    threading.Thread.start = refuse  # type: ignore[method-assign]
    try:
        outcome = str([result["content"] for result in cf.get(["a", "b"])])  # the caller may do it by itself
    except RuntimeError as error:
        outcome = str(error)
    assert outcome in ("[b'x', b'x']", "can't start new thread")
    threading.Thread.start = start  # type: ignore[method-assign]
    assert [result["content"] for result in cf.get(["a", "b"])] == [b"x", b"x"]


def test_a_thread_that_cannot_start_is_an_error_of_the_caller(object_server: ObjectServer) -> None:
    object_server.put("a", b"x")
    object_server.put("b", b"x")
    in_child(batch_without_threads, object_server.url)


def batches_whose_threads_die(url: str, rounds: int) -> None:
    """In the middle of each batch an exception is thrown into whatever each of its threads is doing."""
    names = [str(index) for index in range(60)]
    cf = ArtifactFiles(url, num_threads=8, retry=QUICK)
    for number in range(rounds):
        try:
            results = []
            for result in cf.iget(iter(names), raise_errors=False):
                results.append(result)
                if len(results) == 8 + number % 8:
                    for thread in threading.enumerate():
                        if thread.name.startswith("cloudfiles-hypha"):
                            what, where = ctypes.py_object(MemoryError), ctypes.c_ulong(thread.ident or 0)
                            ctypes.pythonapi.PyThreadState_SetAsyncExc(where, what)
        except (MemoryError, pycurl.error):  # libcurl does not pass on what it met in a callback
            continue
        assert len(results) == len(names)
        assert all((result["content"] == b"x") == (result["error"] is None) for result in results)
    assert cf.get("1") == b"x"
    assert [result["content"] for result in cf.get(names)] == [b"x"] * 60


def test_a_thread_that_dies_is_an_error_of_the_caller_and_not_the_end_of_the_object() -> None:
    with ObjectServer(latency=0.005) as server:
        for index in range(60):
            server.put(str(index), b"x")
        in_child(batches_whose_threads_die, server.url, 12)


def test_an_object_may_be_made_while_another_thread_imports_gevent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gevent.monkey", types.ModuleType("gevent.monkey"))  # as it is half-way
    cf = ArtifactFiles("mem://while-importing", num_threads=2)
    cf.puts([("a", b"x"), ("b", b"y")])
    assert cf.get("a") == b"x"


# --- Readers and writers that use the same object (44) ---------------------------------------------------------------


class RemoteReader(io.RawIOBase):
    """A file whose bytes are read by ``cf.get`` as they are asked for."""

    def __init__(self, cf: ArtifactFiles, path: str, size: int) -> None:
        self._cf, self._path, self._size, self._at = cf, path, size, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        block: bytes = self._cf.get({"path": self._path, "start": self._at, "end": end})
        self._at += len(block)
        return block


class AskingSink:
    """Takes bytes, and asks the server something about each block of them."""

    def __init__(self, cf: ArtifactFiles, path: str) -> None:
        self._cf, self._path = cf, path
        self.taken = bytearray()

    def write(self, block: Any) -> int:
        assert self._cf.exists(self._path)
        self.taken += block
        return len(block)


def copies_from_itself(threads: int) -> None:
    """Uploads whose sources are read by the very object that uploads them."""
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {f"in/{index}": bytes([index]) * 300_000 for index in range(4)})
        cf = connect(hypha, num_threads=4)

        def copy(worker: int) -> None:
            cf.puts([(f"out/{worker}/{index}", RemoteReader(cf, f"in/{index}", 300_000)) for index in range(4)])

        in_threads(*(partial(copy, number) for number in range(threads)))
        stored = hypha.files("ws/a")
        for worker in range(threads):
            for index in range(4):
                assert stored[f"out/{worker}/{index}"] == bytes([index]) * 300_000


def copies_between_two(threads: int) -> None:
    """The sources of each of two objects are read by the other one, and through one file that both share."""
    with FakeHypha() as hypha:
        sides = ("ws/a", "ws/b")
        for side in sides:
            hypha.add_artifact(side, {"in": side.encode() * 50_000})
        objects = [connect(hypha, side, num_threads=4) for side in sides]
        readers = [RemoteReader(each, "in", 200_000) for each in objects]

        def copy(number: int) -> None:
            here, there = number % 2, 1 - number % 2
            shared = [(f"shared/{number}/{index}", readers[there]) for index in range(3)]
            objects[here].puts([(f"out/{number}", RemoteReader(objects[there], "in", 200_000)), *shared])

        in_threads(*(partial(copy, number) for number in range(threads)))
        for number in range(threads):
            stored, expected = hypha.files(sides[number % 2]), sides[1 - number % 2].encode() * 50_000
            assert stored[f"out/{number}"] == expected
            assert all(stored[f"shared/{number}/{index}"] == expected for index in range(3))


def sinks_that_ask(threads: int) -> None:
    """Reads into sinks that use the very object that reads."""
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {f"{index}": bytes([index]) * 300_000 for index in range(6)})
        cf = connect(hypha, num_threads=4)

        def read(number: int) -> None:
            sinks = [AskingSink(cf, f"{index}") for index in range(6)]
            cf.get([{"path": f"{index}", "into": sink} for index, sink in enumerate(sinks)])
            assert [sink.taken for sink in sinks] == [bytes([index]) * 300_000 for index in range(6)]

        in_threads(*(partial(read, number) for number in range(threads)))


@pytest.mark.parametrize("threads", [1, 2], ids=["one thread", "two threads"])
@pytest.mark.parametrize("scenario", [copies_from_itself, copies_between_two, sinks_that_ask])
def test_readers_and_sinks_of_users_may_use_the_same_object(scenario: Callable[[int], None], threads: int) -> None:
    in_child(scenario, threads)


# --- An exception in the caller's part of a batch (45) ---------------------------------------------------------------


class Failing:
    """A progress bar whose ``after``-th update raises."""

    def __init__(self, error: BaseException, after: int = 5) -> None:
        self.error = error
        self.left = after

    def update(self, n: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error


def _stays_quiet(cf: ArtifactFiles, server: HttpServer, total: int) -> None:
    """Assert that no request is made any more, although not all have been. A server may have to hear of those that had
    been sent, one by each worker."""
    seen = len(server.requests)
    assert server.settled() <= seen + cf._engine.width
    assert len(server.requests) < total


def _write_many(folder: Path) -> None:
    for number in range(300):
        (folder / f"{number}").write_bytes(b"x")


@pytest.mark.parametrize("error", [RuntimeError("the bar is broken"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("verb", ["get", "iget", "download"])
@pytest.mark.parametrize("green", [False, True], ids=["threads", "green"])
def test_nothing_is_read_after_an_exception_in_the_caller_that_is_kept(
    tmp_path: Path, verb: str, error: BaseException, green: bool
) -> None:
    with ObjectServer(latency=0.02) as server:
        names = [f"{number}" for number in range(300)]
        for name in names:
            server.put(name, b"x")
        cf = ArtifactFiles(server.url, num_threads=4, retry=QUICK, green=green)
        bar = Failing(error)
        calls: dict[str, Callable[[], object]] = {
            "get": lambda: cf.get(names, progress=bar),
            "iget": lambda: list(cf.iget(names, progress=bar)),
            "download": lambda: cf.download(names, tmp_path, progress=bar),
        }
        with pytest.raises(type(error)) as kept:
            calls[verb]()
        assert kept.value is error
        assert kept.value.__traceback__ is not None
        _stays_quiet(cf, server, 300)
        cf.close()


@pytest.mark.parametrize("error", [RuntimeError("the bar is broken"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("verb", ["puts", "upload"])
def test_nothing_is_written_after_an_exception_in_the_caller_that_is_kept(
    tmp_path: Path, verb: str, error: BaseException
) -> None:
    with FakeHypha(store_latency=0.02) as hypha:
        hypha.add_artifact("ws/a")
        cf = connect(hypha)
        _write_many(tmp_path)
        calls: dict[str, Callable[[], object]] = {
            "puts": lambda: cf.puts([(f"{number}", b"x") for number in range(300)], progress=Failing(error)),
            "upload": lambda: cf.upload(tmp_path, progress=Failing(error)),
        }
        with pytest.raises(type(error)) as kept:
            calls[verb]()
        assert kept.value is error
        _stays_quiet(cf, hypha.store, 300)
        cf.close()


@pytest.mark.parametrize("options", [{}, {"green": True}, {"transport": "urllib3"}], ids=str)
def test_closing_closes_the_connections_of_threads_that_have_ended(
    object_server: ObjectServer, options: dict[str, Any]
) -> None:
    object_server.put("a", b"x")
    cf = ArtifactFiles(object_server.url, num_threads=4, retry=QUICK, **options)
    for _ in range(5):
        in_threads(*[partial(cf.get, "a")] * 2)
    cf.close()
    object_server.wait_for_connections(0)


@pytest.mark.parametrize("transport", ["auto", "urllib3"])
def test_giving_up_one_batch_ends_no_call_of_another_thread(transport: str) -> None:
    """A new thread may have the number of a worker that has just ended."""
    with ObjectServer(latency=0.005) as server:
        names = [f"{number}" for number in range(40)]
        for name in names:
            server.put(name, b"x")
        with ArtifactFiles(server.url, num_threads=8, retry=QUICK, transport=transport) as cf:

            def work(number: int) -> None:
                for _ in range(25):
                    if number:
                        in_threads(*[partial(cf.get, "1")] * 3)
                    else:
                        for result in cf.iget(iter(names)):
                            assert result["content"] == b"x"
                            break

            in_threads(*(partial(work, number) for number in range(3)))


# --- A server that asks for more patience than there is (49) ---------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("green", [False, True], ids=["threads", "green"])
def test_a_retry_after_beyond_all_patience_is_asked_for_by_each_worker_at_most_once(
    object_server: ObjectServer, status: int, green: bool
) -> None:
    names = [f"{number}" for number in range(500)]
    object_server.fault_all(Always(Status(status, {"Retry-After": "3600"})))
    with ArtifactFiles(object_server.url, num_threads=8, retry=QUICK, green=green) as cf:
        results = cf.get(names, raise_errors=False)
    assert len(object_server.requests) <= 8
    assert [result["path"] for result in results] == names
    for result in results:
        error = result["error"]
        assert isinstance(error, TransferError)
        assert (error.status, error.path) == (status, result["path"])
        assert error.retry_after is not None
        assert error.retry_after > 3000


def test_a_retry_after_beyond_all_patience_ends_one_batch_and_not_the_next(object_server: ObjectServer) -> None:
    object_server.put("a", b"x")
    object_server.fault_all(Status(503, {"Retry-After": "3600"}, times=8))
    with ArtifactFiles(object_server.url, num_threads=4, retry=QUICK) as cf:
        assert all(result["error"] for result in cf.get(["a"] * 100, raise_errors=False))
        object_server.clear_faults()
        assert [result["content"] for result in cf.get(["a", "a"])] == [b"x", b"x"]


def test_a_retry_after_of_the_control_plane_beyond_all_patience_is_not_asked_again_for_each_batch() -> None:
    with FakeHypha() as hypha:
        names = [f"{number}" for number in range(5000)]
        hypha.add_artifact("ws/a")
        hypha.fault("get_file", Always(Status429(3600)))
        hypha.fault("read", Always(Status429(3600)))
        with connect(hypha) as cf:
            results = list(cf.iget((name for name in names), raise_errors=False))
        assert len(results) == 5000
        assert all(isinstance(result["error"], TransferError) for result in results)
        assert hypha.count() <= 8


# --- Memory of a stream of failures (51) -----------------------------------------------------------------------------


def test_a_stream_of_failures_keeps_none_of_them() -> None:
    cf = ArtifactFiles("mem://nothing-here", num_threads=4)
    kept: list[int] = []
    tracemalloc.start()
    try:
        results = cf.iget((f"{number}" for number in range(6000)), raise_errors=False)
        for count, result in enumerate(results):
            assert result["error"] is not None
            if count in (999, 5999):
                gc.collect()
                kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert kept[1] - kept[0] < MIB  # at 3.7 KB each it was 18


def test_a_stream_of_failures_that_is_to_raise_says_how_many_there_were() -> None:
    cf = ArtifactFiles("mem://nothing-here", num_threads=4)
    with pytest.raises(BatchError, match=r"50 of 50"):
        list(cf.iget(f"{number}" for number in range(50)))


# --- Sinks that do not say what they took (52) -----------------------------------------------------------------------


class SilentSink:
    """Takes everything and says nothing, as many a ``write`` does."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def write(self, block: Any) -> None:
        self.taken += block


def read_into_a_silent_sink(url: str) -> None:
    with ArtifactFiles(url, num_threads=2, retry=QUICK) as cf:
        for scalar in (True, False):
            sink = SilentSink()
            into = {"path": "a", "into": sink}
            cf.get(into if scalar else [into])
            assert sink.taken == BLOCK


def test_a_sink_whose_write_returns_nothing_has_taken_everything(object_server: ObjectServer) -> None:
    object_server.put("a", BLOCK)
    in_child(read_into_a_silent_sink, object_server.url)


# --- A body that ends with its connection (48) -----------------------------------------------------------------------


@dataclass(frozen=True)
class Unmeasured(Fault):
    """The whole body, without a length; its end is that of the connection."""

    def answer(self, exchange: Exchange) -> None:
        body = exchange.respond().body
        exchange.send_raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" + bytes(body))
        exchange.close(polite=True)


@pytest.mark.parametrize("transport", ["auto", "urllib3"])
def test_a_body_without_a_length_is_not_verified(object_server: ObjectServer, tmp_path: Path, transport: str) -> None:
    object_server.put("a", b"0123456789", faults=[Always(Unmeasured())])
    with ArtifactFiles(object_server.url, num_threads=2, retry=QUICK, transport=transport) as cf:
        (result,) = cf.get(["a"])
        assert (result["content"], result["verified"]) == (b"0123456789", None)
        buffer = bytearray(10)
        (result,) = cf.get([{"path": "a", "into": buffer}])
        assert (bytes(buffer), result["verified"]) == (b"0123456789", None)
        (result,) = cf.download(["a"], tmp_path)
        assert ((tmp_path / "a").read_bytes(), result["verified"]) == (b"0123456789", None)


def test_a_body_with_its_length_is_verified_by_it(object_server: ObjectServer) -> None:
    object_server.put("a", b"0123456789")
    with ArtifactFiles(object_server.url, num_threads=2, retry=QUICK) as cf:
        (result,) = cf.get(["a"])
    assert result["verified"] == "length"


# --- How long is tried (65) ------------------------------------------------------------------------------------------


def test_a_policy_without_a_number_of_attempts_goes_on_until_its_time_is_over(object_server: ObjectServer) -> None:
    object_server.put("a", b"x", faults=[Always(Status(500))])
    policy = RetryPolicy(attempts=None, first=0.001, longest=0.002, elapsed=1.5)  # type: ignore[arg-type]
    with ArtifactFiles(object_server.url, num_threads=0, retry=policy) as cf:
        (result,) = cf.get(["a"], raise_errors=False)
    assert isinstance(result["error"], TransferError)
    assert result["attempts"] == len(object_server.requests) > 12  # more than the attempts that are usual


def test_a_policy_with_a_number_of_attempts_keeps_to_it(object_server: ObjectServer) -> None:
    object_server.put("a", b"x", faults=[Always(Status(500))])
    policy = RetryPolicy(attempts=3, first=0.001, longest=0.002, elapsed=60)
    with ArtifactFiles(object_server.url, num_threads=0, retry=policy) as cf:
        (result,) = cf.get(["a"], raise_errors=False)
    assert result["attempts"] == len(object_server.requests) == 3


# --- Single reads from many threads are signed together --------------------------------------------------------------


def _read_one_by_one(hypha: FakeHypha, count: int, workers: int) -> dict[str, bytes]:
    """What ``workers`` threads read, each with one scalar ``get`` after the other, through one object."""
    found: dict[str, bytes] = {}
    with connect(hypha, num_threads=20) as cf:

        def read(first: int) -> None:
            for number in range(first, count, workers):
                found[f"{number}"] = cf.get(f"{number}")

        in_threads(*(partial(read, number) for number in range(workers)))
    return found


@pytest.mark.slow
def test_single_reads_of_many_threads_are_signed_together() -> None:
    with FakeHypha() as hypha:
        files = {f"{number}": f"<{number}>".encode() * 10 for number in range(500)}
        hypha.add_artifact("ws/a", files)
        hypha.slow("get_file", per_call=0.3)  # by when every thread has asked for its next file, also on a busy machine
        assert _read_one_by_one(hypha, 500, 64) == files
        # 9 to 13 on a machine with nothing else to do; threads that are kept from it miss a call now and then
        assert hypha.count() <= 30, [call.method for call in hypha.calls]


def test_a_missing_file_among_single_reads_that_are_signed_together_fails_alone() -> None:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {f"{number}": b"x" for number in range(0, 40, 2)})
        hypha.slow("get_file", per_call=0.05)
        found: dict[int, object] = {}
        with connect(hypha, num_threads=20) as cf:

            def read(number: int) -> None:
                try:
                    found[number] = cf.get(f"{number}")
                except ObjectNotFound as error:
                    found[number] = error.path

            in_threads(*(partial(read, number) for number in range(40)))
        assert found == {number: f"{number}" if number % 2 else b"x" for number in range(40)}


def test_one_cold_read_costs_one_control_call() -> None:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"a": b"x"})
        with connect(hypha) as cf:
            assert cf.get("a") == b"x"
        assert [call.method for call in hypha.calls] == ["get_file"]


# --- A batch that is given up from outside ---------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["get", "iget", "download"])
@pytest.mark.parametrize("options", [{}, {"num_threads": 0}, {"green": True}], ids=["threads", "inline", "green"])
def test_a_cancelled_read_ends_and_asks_for_nothing_more(tmp_path: Path, verb: str, options: dict[str, Any]) -> None:
    from cloudfiles_hypha import Cancellation

    with ObjectServer(latency=0.02) as server:
        names = [f"{number}" for number in range(300)]
        for name in names:
            server.put(name, b"x")
        cf = ArtifactFiles(server.url, **{"num_threads": 4, "retry": QUICK, **options})
        stop = Cancellation()

        def give_up() -> None:
            server.wait_for_requests(8)
            stop.cancel()

        thread = threading.Thread(target=give_up)
        thread.start()
        calls: dict[str, Callable[[], object]] = {
            "get": lambda: cf.get(names, cancel=stop),
            "iget": lambda: list(cf.iget(names, cancel=stop)),
            "download": lambda: cf.download(names, tmp_path, cancel=stop),
        }
        with pytest.raises(Cancelled):
            calls[verb]()
        thread.join()
        _stays_quiet(cf, server, 300)
        assert not [name for name in os.listdir(tmp_path) if name not in names]  # nothing half done is left
        cf.close()


@pytest.mark.parametrize("verb", ["puts", "upload"])
def test_a_cancelled_write_ends_and_publishes_nothing(tmp_path: Path, verb: str) -> None:
    from cloudfiles_hypha import Cancellation

    with FakeHypha(store_latency=0.02) as hypha:
        hypha.add_artifact("ws/a", {"before": b"y"})
        cf = connect(hypha)
        stop = Cancellation()

        def give_up() -> None:
            hypha.store.wait_for_requests(8)
            stop.cancel()

        thread = threading.Thread(target=give_up)
        thread.start()
        _write_many(tmp_path)
        calls: dict[str, Callable[[], object]] = {
            "puts": lambda: cf.puts([(f"{number}", b"x") for number in range(300)], cancel=stop),
            "upload": lambda: cf.upload(tmp_path, cancel=stop),
        }
        with pytest.raises(Cancelled):
            calls[verb]()
        thread.join()
        _stays_quiet(cf, hypha.store, 300)
        assert hypha.count("commit") == 0
        cf.close()


def test_what_was_cancelled_before_it_began_asks_for_nothing(object_server: ObjectServer) -> None:
    from cloudfiles_hypha import Cancellation

    object_server.put("a", b"x")
    stop = Cancellation()
    stop.cancel()
    stop.cancel()  # once more does no harm
    with ArtifactFiles(object_server.url, num_threads=2, retry=QUICK) as cf:
        for call in (lambda: cf.get("a", cancel=stop), lambda: cf.get(["a"], cancel=stop)):
            with pytest.raises(Cancelled):
                call()
        assert object_server.requests == []
        assert cf.get(["a"])[0]["content"] == b"x"  # the object itself goes on


def test_a_cancelled_batch_does_not_sit_out_a_pause(object_server: ObjectServer) -> None:
    from cloudfiles_hypha import Cancellation

    object_server.fault_all(Always(Status(503, {"Retry-After": "30"})))
    stop = Cancellation()
    policy = RetryPolicy(attempts=50, elapsed=3000)

    def give_up() -> None:
        object_server.wait_for_requests(1)
        stop.cancel()

    thread = threading.Thread(target=give_up)
    thread.start()
    with ArtifactFiles(object_server.url, num_threads=4, retry=policy) as cf, pytest.raises(Cancelled):
        cf.get(["a", "b", "c"], cancel=stop)
    thread.join()
    assert len(object_server.requests) <= 4


def test_one_cancellation_ends_several_batches(object_server: ObjectServer) -> None:
    from cloudfiles_hypha import Cancellation

    object_server.put("a", b"x")
    object_server.fault_all(Always(faults.Hang()))
    stop = Cancellation()
    ended: list[str] = []
    cf = ArtifactFiles(object_server.url, num_threads=2, retry=QUICK)

    def read() -> None:
        try:
            cf.get(["a", "a"], cancel=stop)
        except Cancelled:
            ended.append("cancelled")

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    object_server.wait_for_requests(3)
    stop.cancel()
    for thread in threads:
        thread.join()
    assert ended == ["cancelled"] * 3
    cf.close()
