"""The engine: who does the work, in what order, how far ahead, and that nothing is left behind however it ends."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gevent
import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    BatchError,
    Cancelled,
    ConnectionFailed,
    IntegrityError,
    ObjectNotFound,
    RetryPolicy,
    ServerError,
    TooManyRequests,
    TransferTimeout,
)
from cloudfiles_hypha.engine import pace as pace_module
from cloudfiles_hypha.engine import pool as engine_module
from cloudfiles_hypha.engine import workers as workers_module
from cloudfiles_hypha.engine.outcomes import More
from cloudfiles_hypha.engine.pace import Pace
from cloudfiles_hypha.engine.pool import Engine
from cloudfiles_hypha.engine.run import Run
from cloudfiles_hypha.errors import NotModified
from cloudfiles_hypha.plan.batches import BatchSizes
from tests.support.certs import make_ca
from tests.support.clients import QUICK, connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, Delay, DropRequest, Hang, ObjectServer, Status
from tests.support.tasks import AGAIN, prepare_with, run

ROOT = Path(__file__).parents[2]
WIDTH = 4
KINDS = {
    "threads": {"num_threads": WIDTH},
    "urllib3": {"num_threads": WIDTH, "transport": "urllib3"},
    "green": {"num_threads": WIDTH, "green": True},
    "inline": {"num_threads": 0},
    "green inline": {"num_threads": 0, "green": True},
}
NAMES = [f"n{number:03}" for number in range(100)]


@pytest.fixture(params=["threads", "green", "inline"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(0 if request.param == "inline" else WIDTH, green=request.param == "green")


@pytest.fixture(params=["threads", "green"])
def pool(request: pytest.FixtureRequest) -> Engine:
    """An engine that does several things at once."""
    return Engine(WIDTH, green=request.param == "green")


@pytest.fixture
def store(object_server: ObjectServer) -> ObjectServer:
    for name in NAMES:
        object_server.put(name, name.encode())
    return object_server


@pytest.fixture(params=KINDS)
def cf(request: pytest.FixtureRequest, store: ObjectServer) -> Iterator[ArtifactFiles]:
    with ArtifactFiles(store.url, retry=QUICK, **KINDS[request.param]) as files:
        yield files


@pytest.fixture(params=["threads", "urllib3", "green"])
def pooled(request: pytest.FixtureRequest, store: ObjectServer) -> Iterator[ArtifactFiles]:
    with ArtifactFiles(store.url, retry=QUICK, **KINDS[request.param]) as files:
        yield files


def double(item: int, run: Run) -> int:
    return item * 2


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that the workers do, be they threads or greenlets."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        gevent.sleep(0.005)


def contents(names: Sequence[str]) -> dict[str, bytes]:
    return {name: name.encode() for name in names}


# --- Who does the work -----------------------------------------------------------------------------------------------


def test_quick_tasks_are_done_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "_LOOKS", 10**9)  # a machine that stands still makes any task slow
    doing = threading.Lock()

    def work(item: int, run: Run) -> bool:
        alone = doing.acquire(blocking=False)
        time.sleep(0.001)  # others would find it taken
        doing.release()
        return alone

    assert all(alone for _, alone in run(Engine(WIDTH, green=False), range(100), work, quick=True))


def test_tasks_that_turn_out_to_wait_get_all_the_threads() -> None:
    barrier = threading.Barrier(WIDTH, timeout=10)  # which nobody passes alone
    list(run(Engine(WIDTH, green=False), range(3 * WIDTH), lambda item, run: barrier.wait(), quick=True))


def test_a_quick_run_that_is_left_leaves_no_thread() -> None:
    outcomes = run(Engine(WIDTH, green=False), range(10**6), double, quick=True)
    next(outcomes)
    del outcomes


def test_a_quick_run_whose_results_wait_to_be_taken_keeps_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "_LOOKS", 10**9)  # as if nothing were slow
    before = threading.active_count()
    outcomes = run(Engine(WIDTH, green=False), range(3 * WIDTH), lambda item, run: time.sleep(0.001), quick=True)
    next(outcomes)
    deadline = time.monotonic() + 20
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(list(outcomes)) == 3 * WIDTH - 1


def test_a_quick_run_that_the_collector_ends_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "_LOOKS", 10**9)
    begun: list[int] = []
    done: list[int] = []

    def items() -> Iterator[int]:
        for item in range(3 * WIDTH):
            begun.append(item)
            yield item

    def work(item: int, run: Run) -> None:
        time.sleep(0.001)
        done.append(item)

    outcomes = run(Engine(WIDTH, green=False), items(), work, quick=True)
    next(outcomes)
    until(lambda: len(done) == len(begun))
    circle: list[object] = [outcomes]
    circle.append(circle)
    del outcomes, circle
    gc.collect()


def test_turns_of_one_quick_task_that_wait_get_all_the_threads() -> None:
    barrier = threading.Barrier(WIDTH, timeout=10)  # which nobody passes alone

    turns = itertools.count()

    def work(item: int, run: Run) -> More | None:
        turn = next(turns)
        if turn == 0:
            return More(WIDTH)
        barrier.wait()
        return More(0) if turn < WIDTH else None

    assert list(run(Engine(WIDTH, green=False), [0], work, quick=True)) == [(0, None)]


def test_the_work_is_done_by_what_the_engine_says_it_is(engine: Engine) -> None:
    seen: set[tuple[int, int]] = set()

    def work(item: int, run: Run) -> None:
        seen.add((threading.get_ident(), id(gevent.getcurrent())))
        if engine.width:
            run.sleep(0.02)  # so that every worker gets something to do

    list(run(engine, range(WIDTH * 3), work))
    here = (threading.get_ident(), id(gevent.getcurrent()))
    threads, greenlets = {thread for thread, _ in seen}, {greenlet for _, greenlet in seen}
    if engine.name == "threads":
        assert (len(threads), here[0] in threads) == (WIDTH, False)
    elif engine.name == "green":
        assert (threads, len(greenlets), here[1] in greenlets) == ({here[0]}, WIDTH, False)
    else:
        assert (engine.name, seen) == ("inline", {here})


@pytest.mark.parametrize("kind", KINDS)
def test_files_run_on_the_engine_that_was_asked_for(kind: str, store: ObjectServer) -> None:
    with ArtifactFiles(store.url, **KINDS[kind]) as files:
        expected = {"urllib3": "threads", "green inline": "inline"}.get(kind, kind)
        assert (files._engine.name, files._engine.green) == (expected, kind.startswith("green"))
        assert f"{expected}={files._engine.width}" in repr(files)
        wanted = {"threads": "Curl", "inline": "Curl", "urllib3": "Urllib3"}.get(kind, "Green")
        assert type(files._transport).__name__ == f"{wanted}Transport"


def test_no_more_is_done_at_once_than_the_engine_is_wide(pool: Engine) -> None:
    now = most = 0

    def work(item: int, run: Run) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        run.sleep(0.01)
        now -= 1

    list(run(pool, range(40), work))
    assert most == WIDTH


def test_no_more_connections_are_opened_than_there_are_workers(pooled: ArtifactFiles, store: ObjectServer) -> None:
    store.latency = 0.002
    assert pooled.get(NAMES * 3, raise_errors=True)
    assert (store.count(), store.peak_connections) == (300, WIDTH)
    pooled.get(NAMES)  # and they are kept
    assert store.count() == 400
    assert store.connections <= 3 * WIDTH


def test_each_item_is_yielded_once_with_its_result(engine: Engine) -> None:
    results = list(run(engine, iter(range(1000)), double))
    assert sorted(results) == [(number, number * 2) for number in range(1000)]


def test_the_same_item_may_come_more_than_once(engine: Engine) -> None:
    assert list(run(engine, [7] * 100, double)) == [(7, 14)] * 100


def test_no_items_need_no_workers(engine: Engine) -> None:
    before = threading.active_count()
    assert list(run(engine, [], double)) == []
    assert threading.active_count() == before


def test_results_are_yielded_as_they_are_done(pool: Engine) -> None:
    order = []
    gate = pool.kit(lambda error: None, blocking=True).flag()

    def work(item: int, run: Run) -> int:
        if item == 0:
            gate.wait(10)
        return item

    for item, _ in run(pool, range(20), work):
        order.append(item)
        if len(order) == 19:
            gate.set()
    assert order[-1] == 0


def test_inline_results_come_in_input_order() -> None:
    assert [item for item, _ in run(Engine(0, green=False), range(50), double)] == list(range(50))


# --- How far ahead ---------------------------------------------------------------------------------------------------


class Counted:
    """A generator of numbers which knows how many were taken from it."""

    def __init__(self, count: int = 1_000_000) -> None:
        self.given = 0
        self._count = count

    def __iter__(self) -> Iterator[int]:
        for number in range(self._count):
            self.given += 1
            yield number


def test_a_generator_is_read_a_window_ahead_and_no_further(engine: Engine) -> None:
    source = Counted()
    results = run(engine, source, double)
    furthest = 0
    for taken in range(1, 501):
        next(results)
        furthest = max(furthest, source.given - taken)
    results.close()
    assert furthest <= max(64, 8 * WIDTH)
    assert source.given <= 500 + max(64, 8 * WIDTH)


def test_a_generator_of_what_is_prepared_is_read_two_batches_ahead(engine: Engine) -> None:
    source = Counted()
    batches = []

    def resolve(batch: Sequence[int], run: Run, sizes: BatchSizes) -> None:
        batches.append(len(batch))
        sizes.took(len(batch), 0.001)

    prepare = prepare_with(resolve, lambda: BatchSizes(first=4, limit=16))
    results = run(engine, source, double, prepare=prepare)
    furthest = 0
    for taken in range(1, 501):
        next(results)
        furthest = max(furthest, source.given - taken)
    results.close()
    assert furthest <= 2 * 16
    assert max(batches) <= 16
    assert len(batches) < 250


def test_every_item_is_prepared_once_before_it_is_worked_on(engine: Engine) -> None:
    prepared: list[int] = []

    def resolve(batch: Sequence[int], run: Run, sizes: BatchSizes) -> None:
        prepared.extend(batch)
        sizes.took(len(batch), 0.001)

    results = run(
        engine,
        range(500),
        lambda item, run: item in prepared,
        prepare=prepare_with(resolve, lambda: BatchSizes(first=4, limit=64)),
    )
    assert all(ready for _, ready in results)
    assert sorted(prepared) == list(range(500))


def test_an_item_that_has_gone_stale_is_prepared_once_more(engine: Engine) -> None:
    prepared: list[int] = []

    def resolve(batch: Sequence[int], run: Run, sizes: BatchSizes) -> None:
        prepared.extend(batch)

    def work(item: int, run: Run) -> Any:
        return AGAIN if item % 10 == 0 and prepared.count(item) == 1 else item

    results = list(run(engine, range(100), work, prepare=prepare_with(resolve, lambda: BatchSizes(first=8, limit=32))))
    assert sorted(results) == [(number, number) for number in range(100)]
    assert sorted(prepared) == sorted([*range(100), *range(0, 100, 10)])


def test_a_slow_generator_does_not_hold_back_the_results_of_what_it_gave(pool: Engine) -> None:
    taken: list[int] = []
    done: list[int] = []

    def slow() -> Iterator[int]:
        for number in range(8):
            # the result of what was given last can only be yielded once this asks for more; those before it are out
            assert len(taken) >= number - 1
            yield number
            until(lambda count=number + 1: len(done) == count)
            gevent.sleep(0.05)

    for item, _ in run(pool, slow(), lambda item, run: done.append(item)):
        taken.append(item)
    assert taken == list(range(8))


def test_a_slow_generator_of_names_to_sign_does_not_hold_back_results() -> None:
    with FakeHypha() as hypha, connect(hypha, num_threads=WIDTH) as files:
        hypha.add_artifact("ws/a", contents(NAMES))
        taken: list[str] = []

        def slow() -> Iterator[str]:
            for number, name in enumerate(NAMES[:4]):
                assert len(taken) >= number - 1
                yield name
                until(lambda count=number + 1: hypha.store.count() == count)
                time.sleep(0.1)

        for result in files.iget(slow()):
            taken.append(result["path"])  # noqa: PERF401 -- the generator looks at it meanwhile
    assert taken == NAMES[:4]


@pytest.mark.parametrize("weighed", ["results", "items"])
def test_no_more_bytes_wait_than_are_allowed(pool: Engine, weighed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_MOST_BYTES", 1000)
    source = Counted(400)
    begun = 0

    def work(item: int, run: Run) -> int:
        nonlocal begun
        begun += 1
        return item

    weight = {"weigh_result" if weighed == "results" else "weigh_item": 100}
    most = 0
    for taken, _ in enumerate(run(pool, source, work, **weight), 1):
        gevent.sleep(0.001)  # a slow consumer
        most = max(most, (begun if weighed == "results" else source.given) - taken)
    assert begun == 400
    assert most <= 1000 // 100 + (WIDTH if weighed == "results" else 1)


def test_one_result_larger_than_all_that_is_allowed_still_gets_through(
    pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_MOST_BYTES", 1000)
    results = run(pool, range(30), double, weigh_item=5000, weigh_result=5000)
    assert len(list(results)) == 30


def test_a_slow_consumer_gets_everything(pooled: ArtifactFiles, store: ObjectServer) -> None:
    got = {}
    for result in pooled.iget(NAMES[:30]):
        gevent.sleep(0.01)
        got[result["path"]] = result["content"]
    assert got == contents(NAMES[:30])
    assert store.count() == 30


# --- How it ends -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["threads", "green"])
def watched(request: pytest.FixtureRequest) -> Iterator[tuple[Engine, list[Any]]]:
    """An engine, and a list that takes its workers; they must all have ended when the test has."""
    workers: list[Any] = []
    yield Engine(WIDTH, green=request.param == "green"), workers
    assert workers
    assert not [worker for worker in workers if (worker.is_alive() if hasattr(worker, "is_alive") else not worker.dead)]


def me() -> Any:
    return gevent.getcurrent() if isinstance(gevent.getcurrent(), gevent.Greenlet) else threading.current_thread()


def test_a_generator_that_raises_stops_the_run_and_its_exception_comes_out(
    watched: tuple[Engine, list[Any]],
) -> None:
    engine, workers = watched
    cancelled = []

    def items() -> Iterator[int]:
        yield from range(20)
        until(lambda: len(workers) == WIDTH)
        raise ZeroDivisionError("mine")

    def work(item: int, run: Run) -> None:
        workers.append(me())
        try:
            run.sleep(60)
        except Cancelled:
            cancelled.append(item)
            raise

    with pytest.raises(ZeroDivisionError, match="mine"):
        list(run(engine, items(), work))
    assert len(workers) == WIDTH  # what had not begun did not begin


def test_a_generator_that_raises_inline_comes_out_too() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("mine")

    results = run(Engine(0, green=False), items(), double)
    assert next(results) == (1, 2)
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(results)


def test_closing_the_iterator_stops_what_is_under_way(watched: tuple[Engine, list[Any]]) -> None:
    engine, workers = watched

    def work(item: int, run: Run) -> None:
        workers.append(me())
        run.sleep(0.05 if item == 0 else 60)

    results = run(engine, range(1000), work)
    assert next(results) == (0, None)
    until(lambda: len(workers) > 1)
    results.close()
    begun = len(workers)
    gevent.sleep(0.05)
    assert len(workers) == begun <= WIDTH + 1


def test_the_workers_are_gone_when_the_run_has_ended(watched: tuple[Engine, list[Any]]) -> None:
    engine, workers = watched
    list(run(engine, range(100), lambda item, run: workers.append(me())))


def test_a_worker_that_crashes_ends_the_run_with_its_exception(engine: Engine) -> None:
    class Crash(BaseException):
        pass

    def work(item: int, run: Run) -> int:
        if item == 30:
            raise Crash("in the work")
        return item

    with pytest.raises(Crash, match="in the work"):
        list(run(engine, range(1000), work))


def test_a_preparation_that_crashes_ends_the_run_with_its_exception(engine: Engine) -> None:
    def resolve(batch: Sequence[int], run: Run, sizes: BatchSizes) -> None:
        raise RuntimeError("in the preparation")

    with pytest.raises(RuntimeError, match="in the preparation"):
        list(run(engine, range(1000), double, prepare=prepare_with(resolve, BatchSizes)))


def test_breaking_out_of_a_loop_ends_every_transfer_and_begins_none(pooled: ArtifactFiles, store: ObjectServer) -> None:
    store.fault(NAMES[0], Delay(1))  # by when the others have been begun
    for name in NAMES[1:]:
        store.fault(name, Hang())
    for result in pooled.iget(NAMES):
        assert result["path"] == NAMES[0]
        store.wait_for_requests(2)
        break
    assert store.settled(gevent.sleep) <= 1 + WIDTH + 1
    pooled.close()
    store.wait_for_connections(open_at_most=0)


def test_an_error_in_the_loop_ends_every_transfer(pooled: ArtifactFiles, store: ObjectServer) -> None:
    for name in NAMES[1:]:
        store.fault(name, Hang())
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 -- the loop is what is tested
        for _ in pooled.iget(NAMES):
            raise ZeroDivisionError
    assert store.settled(gevent.sleep) <= 1 + WIDTH + 1


def test_after_a_break_the_same_object_works_as_before(cf: ArtifactFiles, store: ObjectServer) -> None:
    store.fault(NAMES[50], Hang())
    for _ in cf.iget(NAMES[:10]):
        break
    assert cf.get(NAMES[:20], return_dict=True) == contents(NAMES[:20])


def test_a_generator_that_raises_in_a_get_ends_every_transfer(pooled: ArtifactFiles, store: ObjectServer) -> None:
    store.fault_all(Always(Hang()))

    def names() -> Iterator[str]:
        yield from NAMES[:20]
        until(lambda: store.count() >= WIDTH)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pooled.get(names())
    assert store.settled(gevent.sleep) == WIDTH


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import gc, json, os, sys, threading, time
from cloudfiles_hypha import ArtifactFiles, RetryPolicy

url, what, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
files = ArtifactFiles(url, retry=RetryPolicy(first=0, elapsed=1000), timeout=50, **options)
names = [f"n{number:03}" for number in range(40)]

def slow():
    yield from names[:3]
    print("ready", flush=True)
    time.sleep(50)
    yield from names[3:]

try:
    if what == "generator":
        files.get(slow())
    elif what == "scalar":
        files.get("n000")
    elif what == "loop":
        for result in files.iget(names):
            print("ready", flush=True)
            time.sleep(50)
    elif what == "listing":
        list(files.list())
    elif what == "upload":
        files.puts([(name, b"") for name in names])
    else:
        files.get(names)
except KeyboardInterrupt:
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    greenlets = []
    if "gevent" in sys.modules:
        import gevent
        greenlets = [found for found in gc.get_objects() if isinstance(found, gevent.Greenlet) and not found.dead]
    print("interrupted", threads, len(greenlets), flush=True)
    time.sleep(0.15)  # for whatever might still be sent
    raise
"""


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **extra}


class Victim:
    """A program that transfers something, to be interrupted."""

    def __init__(self, url: str, what: str, options: str, **extra: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, url, what, options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**extra),
        )

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def interrupt(self) -> None:
        """Press Ctrl-C: control must come back soon, with nothing left running, and the program must end by it."""
        self.process.send_signal(signal.SIGINT)
        try:
            out, err = self.process.communicate(timeout=20)  # what it waits for takes longer
        finally:
            self.process.kill()
        assert "interrupted [] 0\n" in out, (out, err)
        assert (self.process.returncode, "KeyboardInterrupt" in err) == (-signal.SIGINT, True), err


OPTIONS = {
    "threads": '{"num_threads": 4}',
    "urllib3": '{"num_threads": 4, "transport": "urllib3"}',
    "green": '{"num_threads": 4, "green": true}',
    "inline": '{"num_threads": 0}',
    "inline urllib3": '{"num_threads": 0, "transport": "urllib3"}',
    "green inline": '{"num_threads": 0, "green": true}',
}


@pytest.mark.parametrize("kind", ["threads", "green", "inline"])
def test_ctrl_c_while_a_generator_is_read(store: ObjectServer, kind: str) -> None:
    store.fault_all(Always(Hang())) if kind != "inline" else None
    victim = Victim(store.url, "generator", OPTIONS[kind])
    victim.wait_until_ready()
    if kind != "green":  # a generator that blocks without telling the hub lets no greenlet run
        store.wait_for_requests(3)
    seen = store.count()
    victim.interrupt()
    assert store.count() == seen


@pytest.mark.parametrize("kind", ["threads", "urllib3", "green", "inline"])
def test_ctrl_c_while_transfers_hang(store: ObjectServer, kind: str) -> None:
    store.fault_all(Always(Hang()))
    victim = Victim(store.url, "batch", OPTIONS[kind])
    count = 1 if "inline" in kind else WIDTH
    store.wait_for_requests(count)
    victim.interrupt()
    assert store.count() == count


@pytest.mark.parametrize("kind", OPTIONS)
def test_ctrl_c_while_a_single_get_hangs(store: ObjectServer, kind: str) -> None:
    store.fault_all(Always(Hang()))
    victim = Victim(store.url, "scalar", OPTIONS[kind])
    store.wait_for_requests(1)
    victim.interrupt()
    assert store.count() == 1


@pytest.mark.parametrize(
    ("kind", "what"),
    [("threads", "batch"), ("urllib3", "batch"), ("green", "batch"), ("threads", "scalar"), ("green", "scalar")],
)
def test_ctrl_c_in_the_pause_before_a_retry(store: ObjectServer, kind: str, what: str) -> None:
    store.fault_all(Always(Status(503, {"Retry-After": "60"})))
    victim = Victim(store.url, what, OPTIONS[kind])
    store.wait_for_requests(1)
    store.settled()
    victim.interrupt()
    assert store.settled() <= (WIDTH if what == "batch" else 1)


@pytest.mark.parametrize("kind", ["threads", "green"])
def test_ctrl_c_in_the_body_of_a_loop_over_results(store: ObjectServer, kind: str) -> None:
    for name in NAMES[1:]:
        store.fault(name, Always(Hang()))
    victim = Victim(store.url, "loop", OPTIONS[kind])
    victim.wait_until_ready()
    seen = store.count()
    victim.interrupt()
    assert store.count() <= max(seen, 1 + WIDTH)


@pytest.mark.parametrize("method", ["list_files", "read", "edit", "put_file"])
def test_ctrl_c_while_the_hypha_server_does_not_answer(method: str) -> None:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a")
        hypha.fault(method, Always(Hang()))
        what = "listing" if method == "list_files" else "upload"
        victim = Victim("ws/a", what, OPTIONS["threads"], HYPHA_SERVER_URL=hypha.url, HYPHA_TOKEN=str(hypha.token))
        hypha.wait_for_requests({"list_files": 1, "read": 1, "edit": 2, "put_file": 3}[method])
        victim.interrupt()
        assert hypha.count(method) == 1
        assert (hypha.count("commit"), hypha.count("discard")) == (0, 0)  # what was uploaded is kept


# --- Servers that ask for a slower pace ------------------------------------------------------------------------------


def test_a_busy_server_makes_every_worker_wait_once(pooled: ArtifactFiles, store: ObjectServer) -> None:
    store.latency = 0.02
    for code in (429, 503) * (WIDTH // 2):  # all of them meet it at once
        store.fault_all(Status(code, {"Retry-After": "1"}))
    begun = time.monotonic()
    assert pooled.get(NAMES[:40], return_dict=True) == contents(NAMES[:40])
    assert 0.95 <= time.monotonic() - begun < 10
    times = [seen.time - store.requests[0].time for seen in store.requests]
    assert len(times) == 40 + WIDTH
    assert not [when for when in times if 0.3 < when < 0.9]
    assert sum(when >= 0.9 for when in times) >= 40 - WIDTH


def test_a_busy_server_is_given_its_time_inline_too(store: ObjectServer) -> None:
    with ArtifactFiles(store.url, num_threads=0, retry=QUICK) as files:
        store.fault(NAMES[1], Status(429, {"Retry-After": "1"}))
        files.get(NAMES[:3])
    times = [seen.time for seen in store.requests]
    assert (len(times), times[2] - times[1] >= 0.95) == (4, True)


def test_concurrency_goes_down_when_a_server_complains_and_recovers(pool: Engine) -> None:
    pool.width = 16
    now = 0
    at_once: list[int] = []

    def work(item: int, run: Run) -> None:
        nonlocal now
        if item == 40:
            run.pace.complaint(TooManyRequests("busy", status=429))
        now += 1
        at_once.append(now)
        while len(at_once) < 16:  # they all come, sooner or later
            run.sleep(0.001)
        run.sleep(0.005)
        now -= 1
        run.pace.success()

    for _ in run(pool, range(1000), work):
        pass
    assert max(at_once[:40]) == 16
    assert max(at_once[60:66]) <= 11  # half, and one more for each full round since
    assert max(at_once[250:]) == 16


def pace(width: int) -> tuple[Pace, list[float]]:
    slept: list[float] = []
    return Pace(width, slept.append), slept


def test_one_congestion_halves_the_pace_once_however_many_answers_tell_of_it() -> None:
    paced, _ = pace(16)
    for _ in range(16):
        paced.complaint(TooManyRequests("busy", status=503))
    assert (paced.allowed, paced.calm) == (8, False)


def test_a_second_congestion_halves_the_pace_again_and_never_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(pace_module.time, "monotonic", lambda: now[0])
    paced, _ = pace(16)
    allowed = []
    for _ in range(6):
        paced.complaint(TooManyRequests("busy", status=429, retry_after=2.0))
        allowed.append(paced.allowed)
        now[0] += 3
    assert allowed == [8, 4, 2, 1, 1, 1]


def test_the_pace_recovers_by_one_for_each_full_round_of_successes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(pace_module.time, "monotonic", lambda: now[0])
    paced, _ = pace(4)
    paced.complaint(TooManyRequests("busy", status=429, retry_after=1.0))
    now[0] += 2
    after = []
    for _ in range(5):
        paced.success()
        after.append((paced.allowed, paced.calm))
    assert after == [(2, False), (3, False), (3, False), (3, False), (4, True)]


@pytest.mark.parametrize(
    ("error", "well"),
    [
        (ObjectNotFound("no", status=404), True),
        (AccessDenied("no", status=403), True),
        (NotModified("here already", status=304), True),
        (TooManyRequests("busy", status=503), False),
        (ServerError("broken", status=500), False),
        (TransferTimeout("slow", status=408), False),
        (ConnectionFailed("refused"), False),
        (IntegrityError("damaged", status=206), False),
        (Cancelled("given up"), False),
        (FileNotFoundError("of our own"), False),
        (None, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_only_answers_of_a_server_that_is_well_let_the_pace_recover(error: Exception | None, well: bool) -> None:
    def call() -> str:
        if error is not None:
            raise error
        return "value"

    paced, _ = pace(2)
    paced.complaint(TooManyRequests("busy", status=429))
    with pytest.raises(type(error)) if error is not None else nullcontext():
        assert paced.attempt(call) == "value"
    assert (paced.allowed, paced.grown) == (2 if well else 1, well)


def test_items_that_failed_do_not_speed_the_pool_up_again(
    cf: ArtifactFiles, store: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    successes: list[Pace] = []
    monkeypatch.setattr(Pace, "calm", property(lambda self: False, lambda self, calm: None), raising=False)
    monkeypatch.setattr(Pace, "success", lambda self: successes.append(self))
    store.fault(NAMES[0], Always(Status(503)))
    store.fault(NAMES[1], Always(Status(500)))
    store.fault(NAMES[2], Always(DropRequest()))
    store.fault(NAMES[3], Always(Status(404)))
    results = cf.get(NAMES[:6], raise_errors=False)
    assert [result["error"] is None for result in results] == [False] * 4 + [True] * 2
    assert len(successes) == 3  # the server is well that has no such object


def test_only_a_busy_server_slows_the_pace() -> None:
    paced, _ = pace(8)
    paced.complaint(TooManyRequests("fine", status=500))
    assert (paced.allowed, paced.calm) == (8, True)


# --- Company ---------------------------------------------------------------------------------------------------------


def test_a_get_within_the_loop_over_another(cf: ArtifactFiles, store: ObjectServer) -> None:
    seen = {}
    for result in cf.iget(NAMES[:20]):
        seen[result["path"]] = cf.get(result["path"])
        assert cf.get(NAMES[:3], return_dict=True) == contents(NAMES[:3])
    assert seen == contents(NAMES[:20])
    assert store.count() == 20 * 5


def test_a_get_within_the_generator_of_another(cf: ArtifactFiles) -> None:
    def names() -> Iterator[str]:
        for name in NAMES[:10]:
            yield cf.get(name).decode()

    assert cf.get(names(), return_dict=True) == contents(NAMES[:10])


def test_it_works_within_a_running_event_loop(cf: ArtifactFiles) -> None:
    async def blocking() -> Any:
        return cf.get(NAMES[:20], return_dict=True), cf.get("n001")

    assert asyncio.run(blocking()) == (contents(NAMES[:20]), b"n001")


def in_thread(files: ArtifactFiles, call: Callable[[], Any]) -> Any:
    """Call it, and leave nothing behind where the thread ran greenlets: gevent would leave its hub."""
    try:
        return call()
    finally:
        if files._engine.green:
            files.close()
            gevent.get_hub().destroy(destroy_loop=True)


def test_closing_closes_what_the_greenlets_of_threads_that_ended_had_open(store: ObjectServer) -> None:
    files = ArtifactFiles(store.url, num_threads=2, green=True)

    def use() -> None:
        files.get(NAMES[:5])
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    files.close()
    try:
        store.wait_for_connections(open_at_most=0)
    finally:
        files.__init__("mem://elsewhere")  # type: ignore[misc]  # so that they go with the object at last
        gc.collect()


def test_it_works_in_a_thread_of_an_event_loop(cf: ArtifactFiles) -> None:
    async def several() -> Any:
        def get() -> Any:
            return cf.get(NAMES[:20], return_dict=True)

        return await asyncio.gather(*(asyncio.to_thread(in_thread, cf, get) for _ in range(3)))

    assert asyncio.run(several()) == [contents(NAMES[:20])] * 3


def test_eight_threads_may_use_it_at_once(cf: ArtifactFiles, store: ObjectServer) -> None:
    got: dict[int, Any] = {}

    def use(number: int) -> None:
        names = NAMES[number : number + 40]
        got[number] = (
            cf.get(names, return_dict=True) == contents(names),
            cf.get(names[0]) == names[0].encode(),
            {result["path"]: result["content"] for result in cf.iget(names)} == contents(names),
        )

    threads = [threading.Thread(target=in_thread, args=(cf, lambda number=number: use(number))) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == dict.fromkeys(range(8), (True, True, True))
    assert store.count() == 8 * (40 + 1 + 40)


def test_one_thread_giving_up_does_not_disturb_the_others(cf: ArtifactFiles, store: ObjectServer) -> None:
    store.fault("n099", Always(Hang()))
    store.latency = 0.002
    got: list[Any] = []
    thread = threading.Thread(
        target=in_thread, args=(cf, lambda: got.append(cf.get(NAMES[:60] * 3, raise_errors=False)))
    )
    thread.start()
    for _ in range(10):
        for _ in cf.iget([*NAMES[:10], "n099"]):
            break
    thread.join()
    assert [result["error"] for result in got[0]] == [None] * 180


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickled_copy_works_and_shares_nothing(kind: str, store: ObjectServer) -> None:
    with ArtifactFiles(store.url, retry=QUICK, **KINDS[kind]) as files:
        assert files.get(NAMES[:5], return_dict=True) == contents(NAMES[:5])
        with pickle.loads(pickle.dumps(files)) as copy:
            assert (repr(copy), copy._settings.retry) == (repr(files), QUICK)
            assert copy._transport is not files._transport
            assert copy.get(NAMES[:5], return_dict=True) == contents(NAMES[:5])
        assert files.get(NAMES[:5], return_dict=True) == contents(NAMES[:5])


def test_a_pickled_copy_carries_the_token_and_the_options() -> None:
    with FakeHypha(token="the-token") as hypha:
        hypha.add_artifact("ws/a", contents(NAMES[:5]))
        with connect(hypha, num_threads=2, progress=lambda: None) as files, pickle.loads(pickle.dumps(files)) as copy:
            assert copy.get(NAMES[:5], return_dict=True) == contents(NAMES[:5])
            copy.put("x", b"x")
            assert files.get("x") == b"x"


FORKED = """
import json, multiprocessing, os, sys
from cloudfiles_hypha import ArtifactFiles

url, options, names = sys.argv[1], json.loads(sys.argv[2]), [f"n{number:03}" for number in range(20)]
files = ArtifactFiles(url, **options)

def check():
    assert files.get(names, return_dict=True) == {name: name.encode() for name in names}
    assert files.get(names[0]) == names[0].encode()

def child(results):
    check()
    results.put("fine")

check()
if sys.argv[3] == "fork":
    pid = os.fork()
    if pid == 0:
        check()
        sys.exit(7)  # the whole way down, destructors included
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
else:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=child, args=(results,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [results.get(), results.get()] == ["fine", "fine"]
    assert [process.exitcode for process in processes] == [0, 0]
check()
print("done")
"""


@pytest.mark.parametrize(
    ("kind", "way", "tls"),
    [
        (kind, way, tls)
        for kind in ("threads", "urllib3", "green", "inline")
        for way in ("fork", "processes")
        for tls in (False, True)
    ],
)
def test_a_forked_child_works_and_leaves_the_parents_connections_alone(
    kind: str, way: str, tls: bool, tmp_path: Path
) -> None:
    authority = make_ca(tmp_path)
    with ObjectServer(tls=authority.server_context if tls else None) as store:
        for name in NAMES[:20]:
            store.put(name, name.encode())
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, store.url, OPTIONS[kind], way],
            capture_output=True,
            text=True,
            timeout=40,
            env=environment(CLOUDFILES_HYPHA_CA_BUNDLE=str(authority.ca_pem)),
        )
    assert done.stdout == "done\n", done.stderr
    connections = [seen.connection for seen in store.requests]
    parent, children, last = set(connections[:21]), set(connections[21:-21]), set(connections[-21:])
    assert children.isdisjoint(parent)  # nobody speaks on somebody else's connection
    assert last & parent  # and the parent's own are still good
    assert last.isdisjoint(children)


GREEN = """
import sys
how = sys.argv[2]  # "patched", "green" or "threads"
if how == "patched":
    from gevent import monkey
    monkey.patch_all()
import asyncio, os, select, signal, socket, ssl, subprocess, threading, time
import cloudfiles_hypha
from cloudfiles_hypha import ArtifactFiles

def world():
    modules = (socket, ssl, select, threading, time, os, subprocess, signal)
    names = {f"{module.__name__}.{name}": id(value) for module in modules for name, value in vars(module).items()
             if callable(value)}
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return names, handlers, threading.excepthook, sys.getswitchinterval(), socket.getdefaulttimeout()

url = sys.argv[1]
names = [f"n{number:03}" for number in range(20)]
expected = {name: name.encode() for name in names}
before = world()
files = ArtifactFiles(url, num_threads=5, green={"patched": None, "green": True, "threads": False}[how])
print(files._engine.name)

def unchanged():
    after = world()
    changed = [name for name in before[0] if before[0][name] != after[0].get(name)]
    assert not changed, changed
    assert before[1:] == after[1:]
    if how != "patched":  # the carriers end by themselves
        assert {thread.name for thread in threading.enumerate()} <= {"MainThread", "cloudfiles-hypha"}
    print("unchanged")

if how == "threads":
    assert files.get(names, return_dict=True) == expected
    unchanged()
    sys.exit()

import gevent

ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.01)

ticking = gevent.spawn(tick)
others = [gevent.spawn(files.get, names, return_dict=True) for _ in range(3)]
assert files.get(names, return_dict=True) == expected
gevent.joinall(others)
assert [other.value for other in others] == [expected] * 3
assert ticks >= 5, ticks  # other greenlets ran while these waited
ticking.kill()
assert files.get(names[0]) == b"n000"
from gevent import monkey
assert bool(monkey.saved) == (how == "patched")
unchanged()
"""


@pytest.mark.parametrize("how", ["green", "patched", "threads"])
def test_other_greenlets_go_on_meanwhile_and_nothing_global_is_changed(store: ObjectServer, how: str) -> None:
    store.latency = 0.02
    done = subprocess.run(
        [sys.executable, "-c", GREEN, store.url, how], capture_output=True, text=True, timeout=40, env=environment()
    )
    assert done.stdout == f"{'threads' if how == 'threads' else 'green'}\nunchanged\n", done.stderr
    assert store.count() == (20 if how == "threads" else 4 * 20 + 1)


def test_green_and_threaded_runs_give_the_same_results_and_errors(store: ObjectServer) -> None:
    store.fault("n003", Always(Status(404)))
    store.fault("n004", Always(Status(500)))
    store.fault("n005", Always(Status(403)))
    outcomes = []
    for options in KINDS.values():
        store.fault("n006", Status(500, times=2))
        with ArtifactFiles(store.url, retry=QUICK, **options) as files:
            results = files.get([*NAMES[:8], {"path": "n007", "start": 1, "end": 3}], raise_errors=False)
            outcomes.append([{**result, "error": (type(result["error"]), str(result["error"]))} for result in results])
            with pytest.raises(BatchError) as caught:
                files.get(NAMES[:8])
            outcomes[-1].append(str(caught.value))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert [result["attempts"] for result in outcomes[0][:9]] == [1, 1, 1, 1, 4, 1, 3, 1, 1]


def test_a_retry_policy_of_one_attempt_tries_once(store: ObjectServer) -> None:
    store.fault("n000", Always(Status(500)))
    with ArtifactFiles(store.url, num_threads=2, retry=RetryPolicy(attempts=1)) as files:
        assert files.get(["n000"], raise_errors=False)[0]["attempts"] == 1
    assert store.count() == 1


# --- Items that go on in parts ----------------------------------------------------------------------------------------


class Parts:
    """An item of so many parts; whoever ends the last one has the result."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.left = self.open = count
        self.lock = threading.Lock()

    def take(self, turns: int) -> str | More:
        with self.lock:
            first = self.left == self.open
            self.left -= 1
        with self.lock:
            self.open -= 1
            if not self.open:
                return self.name
            return More(min(turns, self.left) if first else min(1, max(0, self.left - self.open + 1)))


def test_items_that_go_on_in_parts_end_once_among_others(engine: Engine) -> None:
    taken: list[str] = []

    def work(item: Parts | int, run: Run) -> Any:
        taken.append(str(item) if isinstance(item, int) else item.name)
        return item.take(1) if isinstance(item, Parts) else item

    items: list[Any] = [Parts("a", 30), *range(50), Parts("b", 7), *range(50, 60), Parts("c", 1)]
    done = [result for _, result in run(engine, items, work, heavy=lambda item: isinstance(item, Parts))]
    assert sorted(map(str, done)) == sorted(["a", "b", "c", *map(str, range(60))])
    assert [taken.count(name) for name in "abc"] == [30, 7, 1]
    if engine.width:
        assert taken[:40].count("a") in range(10, 31)


def test_progress_is_told_in_the_callers_thread(engine: Engine) -> None:
    told: list[tuple[int, int]] = []

    def work(item: int, run: Run) -> int:
        run.tell(lambda: told.append((item, threading.get_ident())))
        return item

    for _ in run(engine, range(20), work):
        pass
    assert sorted(value for value, _ in told) == list(range(20))
    assert {thread for _, thread in told} == {threading.get_ident()}


def test_what_a_worker_asks_is_done_in_the_callers_thread_and_answered(engine: Engine) -> None:
    def work(item: int, run: Run) -> tuple[int, int]:
        return run.ask(lambda: (item, threading.get_ident()))

    assert dict(run(engine, range(20), work)) == {item: (item, threading.get_ident()) for item in range(20)}


def test_what_the_callers_thread_raises_when_asked_is_raised_in_the_worker(engine: Engine) -> None:
    def work(item: int, run: Run) -> str:
        try:
            run.ask(lambda: 1 // item)
        except ZeroDivisionError:
            return "raised"
        return "fine"

    assert dict(run(engine, [0, 1], work)) == {0: "raised", 1: "fine"}
