"""A limit on bytes a second: what it promises over any span of time, that every engine keeps to it, and that what it
has wait can be given up. The arithmetic has a clock of its own; of real transfers only the least time is known."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import ArtifactFiles, Cancellation, Cancelled, RateLimit, Timeouts, parallel
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.content.sources import InMemory
from cloudfiles_hypha.limit import BLOCK, LEAST
from cloudfiles_hypha.transports import HttpRequest, Transport, open_transport
from tests.support.object_server import ObjectServer

RATE = 256 * 1024
ENGINES: dict[str, dict[str, Any]] = {
    "carriers": {},
    "threads": {},
    "inline": {"num_threads": 0},
    "green": {"green": True},
    "urllib3": {"transport": "urllib3"},
    "requests": {"transport": "requests"},
}


class Clock:
    """One that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def transferred(limit: RateLimit, clock: Clock, widths: Callable[[float], int], end: float) -> list[tuple[float, int]]:
    """When how many bytes move if so many transfers, of a time, have as much to move as they may until ``end``."""
    moved: list[tuple[float, int]] = []
    may = [0.0] * 64
    while clock.now < end:
        for worker in range(widths(clock.now)):
            while limit.left(may[worker]) == 0.0:
                moved.append((clock.now, BLOCK))
                may[worker] = limit.charge(BLOCK)
        clock.now += 0.003
    return moved


@pytest.mark.parametrize("rate", [LEAST, 300_000, 10_000_000, 500_000_000])
@pytest.mark.parametrize("width", [1, 20, 64])
def test_over_any_span_no_more_moves_than_the_rate_and_the_burst_that_is_documented(rate: int, width: int) -> None:
    clock = Clock()
    limit = RateLimit(rate, clock=clock)
    seconds = max(2.0, 3 * width * BLOCK / rate) if rate < 100_000_000 else 0.5

    def widths(now: float) -> int:  # a quarter of the time nothing moves, then all begin at once
        return 0 if 0.25 < (now - 1000.0) / seconds < 0.5 else width

    moved = transferred(limit, clock, widths, 1000.0 + seconds)
    ends = [0]
    for _, size in moved:
        ends.append(ends[-1] + size)
    step = max(1, len(moved) // 200)
    for first in range(0, len(moved), step):
        for last in range(first, len(moved), step):
            span = moved[last][0] - moved[first][0]
            assert ends[last + 1] - ends[first] <= rate * (span + 0.2) + (width + 1) * BLOCK
    assert ends[-1] >= 0.6 * rate * seconds  # and it is no less for being shared


def test_those_that_wait_get_the_same_share() -> None:
    clock = Clock()
    limit = RateLimit(1_000_000, clock=clock)
    may, got = [0.0] * 20, [0] * 20
    while clock.now < 1010.0:
        for worker in range(20):
            if not limit.left(may[worker]):
                may[worker] = limit.charge(BLOCK)
                got[worker] += 1
        clock.now += 0.001
    assert max(got) - min(got) <= 2


def test_who_begins_waits_for_what_others_have_moved() -> None:
    clock = Clock()
    limit = RateLimit(LEAST, clock=clock)
    limit.charge(10 * LEAST)
    assert limit.left(limit.charge(0)) == pytest.approx(9.9, abs=0.2)
    clock.now += 11
    assert limit.charge(0) == 0.0


@pytest.mark.parametrize("wrong", [0, -1, LEAST - 1, 1e6, True, "10M"])
def test_a_limit_is_a_number_of_bytes_that_lets_something_through(wrong: Any) -> None:
    with pytest.raises(ValueError, match="limit_rate="):
        ArtifactFiles("mem://limit", limit_rate=wrong)


def test_a_pickled_copy_has_the_same_limit() -> None:
    cf = pickle.loads(pickle.dumps(ArtifactFiles("http://host/", limit_rate=RateLimit(RATE))))
    assert cf._settings.limit_rate == RateLimit(RATE)


def client(server: ObjectServer, engine: str, limit: RateLimit, **options: Any) -> ArtifactFiles:
    cf = ArtifactFiles(server.url + "/", limit_rate=limit, **ENGINES[engine], **options)
    if engine == "threads":
        cf._transport.carried = False  # type: ignore[union-attr]
    return cf


def least(size: int, width: int) -> float:
    """Seconds that this must have taken."""
    return (size - width * BLOCK) / RATE - 0.2


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_keeps_reads_within_the_limit(engine: str, object_server: ObjectServer, tmp_path: Path) -> None:
    size = 40_000
    for n in range(4):
        object_server.put(f"{n}", bytes(size))
    limit = RateLimit(RATE)
    with client(object_server, engine, limit) as cf:
        began = time.monotonic()
        assert [len(result["content"]) for result in cf.get(map(str, range(4)))] == [size] * 4
        cf.download("0", tmp_path / "0")
        assert len(cf.get("1")) == size
    assert (tmp_path / "0").stat().st_size == size
    assert time.monotonic() - began >= least(6 * size, 4)


@pytest.mark.parametrize("as_body", [False, True])
@pytest.mark.parametrize("kind", ["curl", "urllib3", "requests"])
def test_what_is_sent_counts_with_what_is_received(kind: str, as_body: bool, object_server: ObjectServer) -> None:
    content = bytes(range(256)) * 400
    object_server.put("down", content)
    limit = RateLimit(RATE)
    transport: Transport = open_transport(kind, Timeouts(), green=False, limit=limit)

    def move(number: int) -> int:
        if number < 2:
            return len(transport.send(HttpRequest("GET", f"{object_server.url}/down")).body)
        body = InMemory(content) if as_body else content
        return transport.send(HttpRequest("PUT", f"{object_server.url}/up{number}", (), body)).status

    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(move, range(4))] == [len(content)] * 2 + [200] * 2
    arrived = max(seen.time for seen in object_server.requests if seen.method == "PUT")  # all of its body
    assert arrived - began >= least(4 * len(content), 2)
    transport.close()
    assert object_server.objects["up2"].body == object_server.objects["up3"].body == content


def test_objects_that_share_a_limit_are_slower_together(object_server: ObjectServer) -> None:
    object_server.put("a", bytes(100_000))
    limit = RateLimit(RATE)
    began = time.monotonic()
    for engine in ("carriers", "urllib3"):
        with client(object_server, engine, limit) as cf:
            assert len(cf.get("a")) == 100_000
    assert time.monotonic() - began >= least(200_000, 1)


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "inline"])
def test_what_waits_for_the_limit_can_be_given_up(engine: str, object_server: ObjectServer) -> None:
    """It would wait for two minutes, which is longer than a test may."""
    object_server.put("a", bytes(2 * BLOCK))
    limit = RateLimit(LEAST)
    limit.charge(128 * LEAST)
    stop = Cancellation()
    timer = threading.Timer(0.3, stop.cancel)
    timer.start()
    with client(object_server, engine, limit) as cf, pytest.raises(Cancelled):
        cf.get(["a"] * 3, cancel=stop)
    timer.join()


def test_what_a_sink_raises_after_a_wait_is_the_error_of_its_item(object_server: ObjectServer) -> None:
    object_server.put("a", bytes(5 * BLOCK))
    buffer = bytearray(5 * BLOCK)
    limit = RateLimit(RATE)
    transport = open_transport("curl", Timeouts(), green=False, limit=limit)
    seen = 0

    def take(block: bytes) -> None:
        nonlocal seen
        seen += len(block)
        limit.charge(RATE // 4)  # so that the next block waits
        if seen > 2 * BLOCK:
            raise BufferError("full")

    with pytest.raises(BufferError, match="full"):
        transport.send(HttpRequest("GET", f"{object_server.url}/a", sink=lambda response: take))
    assert len(transport.send(HttpRequest("GET", f"{object_server.url}/a")).body) == len(buffer)
    transport.close()


def test_several_processes_divide_the_limit(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def run(count: int, files: tuple[type, dict[str, Any]], *rest: Any, **options: Any) -> list[Any]:
        given.append(files[1]["settings"]["limit_rate"])
        return []

    monkeypatch.setattr(parallel, "run", run)
    with ArtifactFiles(object_server.url + "/", limit_rate=RATE) as cf:
        cf.get(["a", "b"], parallel=4)
        assert given == [RateLimit(RATE // 4)]
        with pytest.raises(ValueError, match="divided by parallel=40"):
            cf.get(["a", "b"], parallel=40)


def test_a_command_keeps_within_limit_rate(object_server: ObjectServer, tmp_path: Path) -> None:
    object_server.put("a.bin", bytes(200_000))
    began = time.monotonic()
    assert main(["cp", "--limit-rate", "256K", f"{object_server.url}/a.bin", str(tmp_path / "a.bin")]) == 0
    assert time.monotonic() - began >= least(200_000, 1)
    assert (tmp_path / "a.bin").read_bytes() == bytes(200_000)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cp", "--limit-rate", "1K", "mem://b/a", "here"], "at least 16K"),
        (["cp", "--limit-rate", "fast", "mem://b/a", "here"], "'fast' is not a rate, as 10M or 500K: bytes a second"),
        (["cp", "--limit-rate", "fast", "mem://b/a", "here"], "limit-rate"),
        (["cp", "--limit-rate", "1M", "mem://b/a", "here"], "goes over a network"),
        (["sync", "--limit-rate", "1M", "there", "file:///nowhere"], "goes over a network"),
        (["mv", "--limit-rate", "1M", "mem://b/a", "mem://b/b"], "goes over a network"),
    ],
)
def test_a_limit_that_would_limit_nothing_is_refused(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err
