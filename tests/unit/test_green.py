"""Green objects that several threads use, each with a hub of its own: with and without gevent's patches.

What may hang, or leaves hubs behind, runs in a process of its own.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.engine.greenlets import GreenKit
from cloudfiles_hypha.engine.pool import Engine, Service
from tests.support.child import ROOT, in_child
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha
from tests.support.threads import in_threads

THREADS = 4


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"a": b"a", "b": b"b"})
        yield hypha


# --- Locks and flags -------------------------------------------------------------------------------------------------


def contends() -> None:
    lock = Engine(4, green=True).lock()
    inside: list[object] = []
    rounds = 0

    def use() -> None:
        nonlocal rounds
        for _ in range(25):
            with lock:
                inside.append(gevent.getcurrent())
                gevent.sleep(0)  # others run, here and in other threads
                with lock:  # it is its own
                    rounds += 1
                assert inside.pop() is gevent.getcurrent()
                assert not inside

    def several() -> None:
        gevent.joinall([gevent.spawn(use) for _ in range(THREADS)], raise_error=True)

    in_threads(*[several] * THREADS)
    assert rounds == 25 * THREADS * THREADS


def test_a_lock_may_be_waited_for_by_greenlets_of_several_threads() -> None:
    in_child(contends)


def hands_on() -> None:
    lock = Engine(4, green=True).lock()
    order: list[str] = []
    holds = threading.Event()

    def wait(name: str, queued: int, then: Callable[[], object]) -> None:
        def take() -> None:
            with lock:
                order.append(name)
                then()

        worker = gevent.spawn(take)
        while len(lock._queue) < queued:  # type: ignore[attr-defined]
            gevent.sleep(0.001)
        holds.set()
        worker.join()

    lock.__enter__()
    killed = gevent.spawn(lock.__enter__)
    gevent.sleep(0)
    waiters = []
    for number, name in enumerate("abc"):
        holds.clear()
        waiters.append(threading.Thread(target=wait, args=(name, number + 2, lambda: None)))
        waiters[-1].start()
        assert holds.wait(10)
    killed.kill()  # the one that has waited for longest does not wait any more
    releasing = threading.Thread(target=lock.__exit__, args=(None, None, None))
    releasing.start()
    for thread in [releasing, *waiters]:
        thread.join(10)
    assert order == ["a", "b", "c"]
    with lock:
        order.append("d")


def test_a_lock_is_handed_on_in_the_order_of_asking_whichever_thread_releases_it() -> None:
    in_child(hands_on)


def is_told() -> None:
    kit = GreenKit()
    flag, gate = kit.flag(), kit.gate()
    assert not flag.wait(0.01)
    threading.Timer(0.2, flag.set).start()
    assert flag.wait(10)  # nothing else is to be done by this hub
    threading.Timer(0.2, gate.open, ("value",)).start()
    assert gate.value() == "value"
    assert gate.wait(0)


def test_a_greenlet_may_wait_for_another_thread_alone() -> None:
    in_child(is_told)


# --- Objects ---------------------------------------------------------------------------------------------------------

USED = """
import sys
how, url, token = sys.argv[1:]
if how != "as it is":
    from gevent import monkey
    monkey.patch_all(thread=how == "all is patched")
import faulthandler
faulthandler.dump_traceback_later(40, exit=True)
import gevent
from gevent.threadpool import ThreadPool
from cloudfiles_hypha import ArtifactFiles

files = ArtifactFiles("ws/a", server_url=url, token=token, num_threads=4, green=True)

def use(thread):
    names = [f"{thread}-{number}" for number in range(6)]
    gevent.joinall([gevent.spawn(files.put, name, name.encode()) for name in names], raise_error=True)
    reads = [gevent.spawn(files.get, "a") for _ in range(12)]
    gevent.joinall(reads, raise_error=True)
    assert [read.value for read in reads] == [b"a"] * 12

if how == "all is patched":
    use(0)
else:
    pool = ThreadPool(4)  # whose threads are real ones
    used = [pool.spawn(use, thread) for thread in range(4)]
    gevent.joinall(used)
    [one.get() for one in used]
faulthandler.cancel_dump_traceback_later()
print("ended well", flush=True)
"""


@pytest.mark.parametrize("how", ["as it is", "threads are not patched", "all is patched"])
def test_a_green_object_may_be_used_by_greenlets_of_several_threads(hypha: FakeHypha, how: str) -> None:
    for method in ("edit", "put_file", "commit", "get_file"):
        hypha.slow(method, per_call=0.02)
    done = subprocess.run(
        [sys.executable, "-c", USED, how, hypha.url, str(hypha.token)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "ended well\n", done.stderr[-4000:]
    threads = 1 if how == "all is patched" else 4
    names = [f"{thread}-{number}" for thread in range(threads) for number in range(6)]
    assert hypha.files("ws/a") == {"a": b"a", "b": b"b"} | {name: name.encode() for name in names}
    assert hypha.artifacts["ws/a"].staging is None
    assert hypha.count("get_file") <= 4 * threads  # those of one thread are resolved together


def test_what_single_reads_of_a_thread_have_left_goes_with_the_thread(hypha: FakeHypha) -> None:
    def services() -> int:
        gc.collect()
        return sum(isinstance(found, Service) for found in gc.get_objects())

    before = services()
    seen: list[int] = []

    def use() -> None:
        assert files.get("a") == b"a"
        seen.append(services())
        gevent.get_hub().destroy(destroy_loop=True)

    with connect(hypha, num_threads=4, green=True) as files:
        for _ in range(3):  # the later ones may have the number of the first
            in_threads(use)
        assert files.get("b") == b"b"
        assert seen == [before + 1] * 3
        assert services() == before + 1  # this thread's
    assert services() == before


def test_files_on_a_disk_leave_other_greenlets_their_turn(tmp_path: Path) -> None:
    turns = 0

    def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    greenlet = gevent.spawn(other)
    try:
        ArtifactFiles(f"file://{tmp_path}", green=True, num_threads=2).puts((str(each), b"x") for each in range(100))
    finally:
        greenlet.kill()
    assert turns >= 50
