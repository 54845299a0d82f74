"""What a reviewer of the engine and of the tasks found to hang, to crash or to go to the wrong place.

Races are brought about by doing in the one moment that matters what another thread might: no test waits for luck.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gevent
import pytest

from cloudfiles_hypha import ArtifactFiles, Cancellation, Cancelled, TransferError
from cloudfiles_hypha.backends.base import StaleTicket
from cloudfiles_hypha.engine import carriers, pool, workers
from cloudfiles_hypha.engine.carriers import Carrier
from cloudfiles_hypha.engine.kits import ThreadKit
from cloudfiles_hypha.engine.mailbox import Mailbox
from cloudfiles_hypha.engine.pool import Engine
from cloudfiles_hypha.engine.run import Run
from cloudfiles_hypha.engine.waiting import Flag, Gate
from cloudfiles_hypha.models import GetRequest, Timeouts
from cloudfiles_hypha.progress import Item
from cloudfiles_hypha.transfers.batch import _Resolution
from cloudfiles_hypha.transfers.get import Get
from cloudfiles_hypha.transports.curl.loop import MultiLoop
from cloudfiles_hypha.transports.curl.transport import CurlTransport
from tests.support.child import in_child
from tests.support.clients import CLIENTS, QUICK, connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, Delay, Exchange, Fault, Hang, ObjectServer, Response
from tests.support.tasks import run as run_on


@dataclass(frozen=True)
class SizeUnknown(Fault):
    """Ranges as asked for, of an object whose size is not told (RFC 9110, 14.4)."""

    def alter(self, exchange: Exchange, response: Response) -> Response:
        told = response.headers.get("Content-Range", "")
        return response.with_header("Content-Range", told.rpartition("/")[0] + "/*") if told else response


class Watcher:
    """An observer that keeps what it is told, and in which thread."""

    def __init__(self, also: Callable[[], object] = lambda: None) -> None:
        self.told: list[tuple[str, int, str]] = []
        self.threads: set[int] = set()
        self._also = also

    def _note(self, what: str, item: Item) -> None:
        self.told.append((what, item.index, item.path))
        self.threads.add(threading.get_ident())
        self._also()

    def started(self, item: Item) -> None:
        self._note("started", item)

    def moved(self, item: Item, size: int) -> None:
        """Not of interest here."""

    def failed(self, item: Item, attempt: int, error: Exception) -> None:
        self._note("failed", item)

    def ended(self, item: Item, error: Exception | None) -> None:
        self._note("failed for good" if error else "ended", item)


# --- Calls that nobody waits for any more ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["threads", "urllib3", "green"])
def test_a_name_does_not_wait_for_a_signing_call_that_was_given_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHypha() as hypha, connect(hypha, **CLIENTS[kind]) as files:
        hypha.add_artifact("ws/a", {"a": b"a", "b": b"b", "c": b"c"})
        green = kind == "green"
        sleep: Callable[[float], object] = gevent.sleep if green else time.sleep

        def until(true: Callable[[], object]) -> bool:
            deadline = time.monotonic() + 10
            while not true() and time.monotonic() < deadline:
                sleep(0.01)
            return bool(true())

        hypha.fault("get_file", Hang())
        service = files._batches._service(silent=False)
        with monkeypatch.context() as patch:
            patch.setattr(workers, "_MOMENT", 0.25)  # so that both are in one call, however slow the machine is
            first, second = (
                service.submit(Get(files._batches.context(), 0, name, GetRequest(name), None)) for name in "ab"
            )
            assert until(lambda: hypha.count("get_file") == 1)
        assert first.cancel()  # as Ctrl-C does
        got: list[bytes] = []
        other = threading.Thread(target=lambda: got.append(files.get("c")), daemon=True)
        reading = gevent.spawn(lambda: got.append(files.get("c"))) if green else other.start()
        sleep(0.1)
        assert hypha.count("get_file") == 1  # somebody waits for the other name in it
        assert second.cancel()
        assert until(lambda: got == [b"c"])
        assert hypha.count("get_file") == 2
        assert reading.join(10) is None if green else other.join(10) is None
        assert files.get("a") == b"a"  # and all is as before


# --- Results that wait while nobody is waiting for them -------------------------------------------------------------


def test_what_is_urgent_is_taken_at_once_also_if_it_came_before_the_caller_waited() -> None:
    mailbox: Mailbox[str] = Mailbox(ThreadKit(None))
    mailbox.put("asked", urgent=True)
    threading.Timer(0.5, lambda: [*map(mailbox.put, ["late"] * 10)]).start()
    assert mailbox.take(10) == ["asked"]


def test_a_hurry_before_the_caller_waits_is_not_lost() -> None:
    mailbox: Mailbox[str] = Mailbox(ThreadKit(None))
    mailbox.put("large")
    mailbox.hurry()
    threading.Timer(0.5, lambda: [*map(mailbox.put, ["late"] * 10)]).start()
    assert mailbox.take(10) == ["large"]


def asks_a_busy_caller() -> None:
    def work(item: int, run: Run) -> int:
        run.tell(lambda: time.sleep(0.02))  # a slow bar: the caller is busy when it is asked for something
        time.sleep(0.005)
        return run.ask(lambda: item)

    outcomes = list(run_on(Engine(1, green=False), range(80), work, eager=False))
    assert sorted(result for _, result in outcomes) == [*range(80)]


def test_a_caller_that_is_busy_when_it_is_asked_answers_afterwards() -> None:
    in_child(asks_a_busy_caller)


def stops_in_between() -> None:
    pool._MOST_BYTES = 250
    backlog = pool._Backlog
    delivered = threading.Semaphore(0)
    add = backlog.add

    def add_late(self: Any, weight: int) -> Any:
        """The caller takes a result while the worker delivers another one, which is one too many."""
        if weight < 0 and not go.is_set():
            delivered.acquire(timeout=5)
            delivered.acquire(timeout=5)
            go.set()
            delivered.acquire(timeout=5)
            time.sleep(0.1)  # the worker finds that there is too much, and ends
        outcome = add(self, weight)
        if weight > 0:
            delivered.release()
        return outcome

    go = threading.Event()
    backlog.add = add_late  # type: ignore[method-assign]

    all_there = threading.Event()

    def items() -> Iterator[int]:
        yield from range(4)
        all_there.set()

    def work(item: int, run: Run) -> int:
        if item == 0:
            all_there.wait(5)
        if item == 2:
            go.wait(5)
        return item

    outcomes = run_on(Engine(1, green=False), items(), work, weigh_result=100)
    assert sorted(result for _, result in outcomes) == [0, 1, 2, 3]


def test_workers_that_end_since_results_pile_up_just_as_one_is_taken_are_started_again() -> None:
    in_child(stops_in_between)


# --- User code on carriers -------------------------------------------------------------------------------------------


def observes_with_the_same_object(url: str) -> None:
    watcher = Watcher(lambda: other.get("b"))
    with ArtifactFiles(url, num_threads=4, retry=QUICK, observer=watcher) as cf, ArtifactFiles(url) as other:
        assert cf.get("a") == b"x"
        assert cf.head("a").size == 1
    assert watcher.told == [("started", 0, "a"), ("ended", 0, "a")] * 2
    assert watcher.threads == {threading.get_ident()}


def test_an_observer_of_a_single_read_is_called_in_the_callers_thread(object_server: ObjectServer) -> None:
    object_server.put("a", b"x")
    object_server.put("b", b"y")
    in_child(observes_with_the_same_object, object_server.url)


def test_each_of_the_ranges_that_are_read_together_is_told_of(object_server: ObjectServer) -> None:
    object_server.put("a", b"x" * 100)
    watcher = Watcher()
    ranges = [{"path": "a", "start": 0, "end": 10}, {"path": "a", "start": 10, "end": 20}]
    ranges.append({"path": "a", "start": 150, "end": 160})
    with ArtifactFiles(object_server.url, num_threads=2, retry=QUICK, observer=watcher) as cf:
        results = cf.get(ranges, raise_errors=False)
    assert [result["error"] is None for result in results] == [True, True, False]
    assert len(object_server.requests) == 1
    assert watcher.told == [("started", number, "a") for number in range(3)] + [
        ("ended", 0, "a"),
        ("ended", 1, "a"),
        ("failed for good", 2, "a"),
    ]


# --- The collector, wherever it runs ---------------------------------------------------------------------------------


def collects_where_locks_are_held(url: str) -> None:
    """Objects that nobody has closed are garbage, and are collected while the next one starts its carriers."""
    make = Carrier.__init__

    def collect(carrier: Carrier, *arguments: Any) -> None:
        gc.collect()
        make(carrier, *arguments)

    Carrier.__init__ = collect  # type: ignore[method-assign, assignment]
    gc.disable()
    for _ in range(3):
        cf = ArtifactFiles(url, num_threads=2, retry=QUICK)
        assert cf.get(["a"])[0]["content"] == b"x"
        assert cf.get("a") == b"x"
        del cf
        while any(thread.name == "cloudfiles-hypha" for thread in threading.enumerate()):
            time.sleep(0.02)


def test_objects_may_be_collected_while_carriers_are_started(object_server: ObjectServer) -> None:
    object_server.put("a", b"x")
    in_child(collects_where_locks_are_held, object_server.url)


def leaves_iterators_to_be_collected_by_callbacks(url: str, options: dict[str, Any]) -> None:
    """What nobody iterates over any more is garbage, and is found in the midst of another object's transfers."""
    carriers.GRACE = 600.0  # type: ignore[attr-defined]  # whoever waits there, waits until the test fails
    make = MultiLoop.__init__

    class Collecting(dict[Any, Any]):
        def __setitem__(self, key: Any, value: Any) -> None:
            gc.collect()
            super().__setitem__(key, value)

    def collect(loop: MultiLoop) -> None:
        make(loop)
        loop._asked = Collecting()  # written to by libcurl's callback for its timer, in the midst of adding a transfer

    MultiLoop.__init__ = collect  # type: ignore[method-assign]
    gc.disable()
    for _ in range(3):
        left = ArtifactFiles(url, num_threads=4, **options).iget(["a", *["slow"] * 8])
        next(left)
        cycle: list[Any] = [left]
        cycle.append(cycle)
        del left, cycle
        with ArtifactFiles(url, num_threads=4, retry=QUICK, **options) as cf:
            assert [result["content"] for result in cf.get(["a"] * 20)] == [b"x"] * 20


@pytest.mark.parametrize("options", [{}, {"green": True}], ids=["carried", "green"])
def test_iterators_may_be_collected_within_libcurls_callbacks(
    object_server: ObjectServer, options: dict[str, Any]
) -> None:
    object_server.put("a", b"x")
    object_server.put("slow", b"x", faults=[Always(Delay(3))])  # still under way when the collector comes
    in_child(leaves_iterators_to_be_collected_by_callbacks, object_server.url, options)


# --- The end of the interpreter, forks and signals --------------------------------------------------------------------

_kept: list[Any] = []


def ends_in_the_midst(url: str, how: str) -> None:
    cf = ArtifactFiles(url, num_threads=8, retry=QUICK)
    begun = threading.Event()

    def work() -> None:
        while True:
            for _ in cf.iget(["a"] * 5000):
                begun.set()

    def at_last() -> None:  # registered before there are any carriers, so called when they have ended
        try:
            assert [result["content"] for result in cf.get(["a"] * 50)] == [b"x"] * 50
            assert cf.get("a") == b"x"
        except BaseException:  # noqa: BLE001 -- the exit code says it
            traceback.print_exc()
            os._exit(9)

    if how == "a handler":
        atexit.register(at_last)
        cf.get(["a"] * 50)
    elif how == "a daemon":
        threading.Thread(target=work, daemon=True).start()
        assert begun.wait(10)
        time.sleep(0.1)
    else:
        _kept.append(cf.iget(["a"] * 5000))
        next(_kept[0])


@pytest.mark.parametrize("how", ["a handler", "a daemon", "an iterator"])
@pytest.mark.parametrize("time", range(3))
def test_the_interpreter_may_end_in_the_midst_of_a_batch(object_server: ObjectServer, how: str, time: int) -> None:
    object_server.put("a", b"x")
    in_child(ends_in_the_midst, object_server.url, how)


def forks_while_it_iterates(url: str) -> None:
    carriers.GRACE = 600.0  # type: ignore[attr-defined]
    cf = ArtifactFiles(url, num_threads=4, retry=QUICK)
    found = cf.iget(["a"] * 300)
    next(found)
    for goes_on in (True, False):
        child = os.fork()
        if not child:
            try:
                if goes_on:
                    next(found)
                found.close()
            except RuntimeError:
                os._exit(7)
            finally:
                os._exit(8 if goes_on else 0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == (7 if goes_on else 0)
    assert len([*found]) == 299


def test_an_iterator_is_of_the_process_that_began_it(object_server: ObjectServer) -> None:
    object_server.put("a", b"x")
    in_child(forks_while_it_iterates, object_server.url)


def puts_while_its_own_thread_takes() -> None:
    class Interrupted(ThreadKit):
        def gate(self) -> Any:
            box.put("cancelled", urgent=True)
            return super().gate()

    box: Mailbox[str] = Mailbox(Interrupted(None))
    assert box.take(1) == ["cancelled"]


def test_a_handler_of_signals_may_put_while_its_thread_takes() -> None:
    in_child(puts_while_its_own_thread_takes)


def sets_a_flag_that_its_own_thread_is_about_to_wait_for() -> None:
    def gate() -> Gate[None]:
        flag.set()
        return Gate()

    flag = Flag(gate)
    assert flag.wait(5)


def test_a_handler_of_signals_may_set_a_flag_that_its_thread_is_about_to_wait_for() -> None:
    in_child(sets_a_flag_that_its_own_thread_is_about_to_wait_for)


def cancels_from_a_signal(url: str) -> None:
    chance = random.Random(1)
    cf = ArtifactFiles(url, num_threads=8, retry=QUICK)
    outcomes = set()
    for _ in range(60):
        stop = Cancellation()
        signal.signal(signal.SIGALRM, lambda number, frame, stop=stop: stop.cancel())
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.001, 0.05))
        try:
            cf.get(["a"] * 300, cancel=stop)
            outcomes.add("done")
        except Cancelled:
            outcomes.add("cancelled")
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert "cancelled" in outcomes


def test_a_handler_of_signals_may_cancel(object_server: ObjectServer) -> None:
    object_server.put("a", b"x")
    in_child(cancels_from_a_signal, object_server.url)


# --- Giving up -------------------------------------------------------------------------------------------------------


def test_a_write_that_is_cancelled_without_workers_publishes_nothing() -> None:
    stop = Cancellation()
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"before": b"y"})

        def files() -> Iterator[tuple[str, bytes]]:
            yield "first", b"x"
            yield "second", b"x"
            yield "third", b"x"

        watcher = Watcher(lambda: stop.cancel() if len(watcher.told) == 3 else None)
        with connect(hypha, num_threads=0, observer=watcher) as cf, pytest.raises(Cancelled):
            cf.puts(files(), cancel=stop)
        assert hypha.count("commit") == 0


def test_threads_that_are_being_started_may_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker starts another one just as the caller gives up."""
    kit = ThreadKit(None)
    starting, go = threading.Event(), threading.Event()
    start = threading.Thread.start

    def start_late(thread: threading.Thread) -> None:
        if thread.name == "cloudfiles-hypha":
            starting.set()
            go.wait(5)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_late)
    starter = threading.Thread(target=kit.spawn, args=(lambda: None,))
    starter.start()
    starting.wait(5)
    threading.Timer(0.1, go.set).start()
    ended = kit.flag()
    ended.set()
    kit.join(ended, abort=True)
    starter.join()


# --- Connections -----------------------------------------------------------------------------------------------------


def test_calls_side_by_side_leave_the_connections_of_the_object_alone(object_server: ObjectServer) -> None:
    object_server.put("a", b"x")
    with ArtifactFiles(object_server.url, num_threads=2, retry=QUICK) as cf:
        cf.get(["a"])
        before = object_server.requests[-1].connection
        assert list(cf._engine.side_by_side(lambda number: number, [1, 2, 3], 2)) == [1, 2, 3]
        cf.get(["a"])
        assert object_server.requests[-1].connection == before


def test_closing_while_somebody_takes_the_last_idle_handle_is_no_error() -> None:
    transport = CurlTransport(Timeouts())

    class Taken(list[Any]):
        def __bool__(self) -> bool:
            return True  # so it was a moment ago

    transport._pool._idle, transport._pool._loops = Taken(), Taken()
    transport.close()


# --- Into a user's file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [None, 20 * 1024 * 1024])
def test_a_server_that_does_not_say_how_large_the_object_is_does_not_cut_it_short(
    object_server: ObjectServer, end: int | None
) -> None:
    content = bytes(range(251)) * 50_000  # more than one piece
    object_server.put("a", content, faults=[Always(SizeUnknown())])
    into = io.BytesIO()
    with (
        ArtifactFiles(object_server.url, num_threads=1, retry=QUICK) as cf,
        contextlib.suppress(TransferError),  # an honest error is as good
    ):
        cf.get({"path": "a", "end": end, "into": into})
        assert into.getvalue() == content


def test_a_long_read_may_outlive_any_number_of_signed_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = _Resolution.__call__

    def afresh(self: Any, batch: Any, run: Run, sizes: Any) -> None:
        resolve(self, batch, run, sizes)
        for task in batch:
            task.ticket = "".join([*task.ticket])  # as it would be if it had been signed anew

    monkeypatch.setattr(_Resolution, "__call__", afresh)
    content = bytes(range(251)) * 170_000  # six pieces
    into = io.BytesIO()
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"a": content})
        with connect(hypha, num_threads=1) as cf:
            backend = cf._backend
            get, refused = backend.get, set()

            def expire(request: Any, ticket: Any, sink: Any = None) -> Any:
                if request.start not in refused:
                    refused.add(request.start)
                    raise StaleTicket("expired", path=request.path, status=403)
                return get(request, ticket, sink)

            backend.get = expire  # type: ignore[method-assign]
            cf.get({"path": "a", "into": into})
    assert into.getvalue() == content
    assert len(refused) == 6
