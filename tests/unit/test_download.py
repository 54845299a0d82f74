"""Files on their way to disk: from servers that break off, change their minds and lie; in processes that are killed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    ArtifactFiles,
    BatchError,
    IntegrityError,
    ObjectNotFound,
    PreconditionFailed,
    RetryPolicy,
    ServerError,
    TransferError,
)
from cloudfiles_hypha.disk import tree
from cloudfiles_hypha.transfers import save
from tests.support import object_server as faults
from tests.support.clients import CLIENTS
from tests.support.clients import connect as connect_to
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, Fault, ObjectServer
from tests.support.proxies import CuttingProxy

KIB = 1024
MIB = 1024 * KIB
PART = 64 * KIB
BODY = random.Random(1).randbytes(40 * PART + 17)
Connect = Callable[..., ArtifactFiles]


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what holds for gigabytes can be shown with kilobytes."""
    monkeypatch.setattr("cloudfiles_hypha.transfers.download._GATHER", 4 * KIB)
    monkeypatch.setattr("cloudfiles_hypha.transfers.download._JOURNAL", 4 * KIB)
    monkeypatch.setattr("cloudfiles_hypha.transfers.download._PROGRESS", 4 * KIB)


@pytest.fixture(params=CLIENTS)
def connect(request: pytest.FixtureRequest, quick: RetryPolicy) -> Iterator[Connect]:
    opened: list[ArtifactFiles] = []

    def open_files(url: str, **options: Any) -> ArtifactFiles:
        opened.append(ArtifactFiles(url, **{"retry": quick, **CLIENTS[request.param], **options}))
        return opened[-1]

    yield open_files
    for files in opened:
        files.close()


@pytest.fixture
def cf(connect: Connect, object_server: ObjectServer) -> ArtifactFiles:
    return connect(object_server.url)


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"big": BODY, "small": b"small"})
        yield hypha


@pytest.fixture
def store(hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    with connect_to(hypha, num_threads=4) as files:
        yield files


def left_overs(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.startswith(".cloudfiles-"))


# --- In parts -------------------------------------------------------------------------------------------------------


def test_a_large_file_comes_in_parts_pinned_to_one_etag(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    object_server.put("big", BODY)
    result = cf.download("big", tmp_path / "big", part_size=PART)
    assert (tmp_path / "big").read_bytes() == BODY
    assert (result["size"], result["error"], result["skipped"], result["resumed"]) == (len(BODY), None, False, 0)
    assert (result["path"], result["local_path"]) == ("big", str(tmp_path / "big"))
    first, *others = object_server.requests
    assert (first.range, first.headers.get("if-match")) == (f"bytes=0-{PART - 1}", None)
    assert {request.headers["if-match"] for request in others} == {f'"{hashlib.md5(BODY).hexdigest()}"'}
    assert sorted(request.range or "" for request in object_server.requests) == sorted(
        f"bytes={start}-{min(start + PART, len(BODY)) - 1}" for start in range(0, len(BODY), PART)
    )
    assert os.listdir(tmp_path) == ["big"]


def test_small_and_large_files_and_empty_ones_come_together_in_the_order_asked_for(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    given = {"a/small": b"s", "big": BODY, "empty": b"", "a/b/c": BODY[:PART], "d": BODY[: PART + 1]}
    for name, body in given.items():
        object_server.put(name, body)
    results = cf.download(list(given), tmp_path, part_size=PART)
    assert [result["path"] for result in results] == list(given)
    assert {name: (tmp_path / name).read_bytes() for name in given} == given


def test_large_and_small_files_take_turns(object_server: ObjectServer, tmp_path: Path, quick: RetryPolicy) -> None:
    object_server.put("big", BODY)
    names = [f"s{number}" for number in range(60)]
    for name in names:
        object_server.put(name, b"small")
    with ArtifactFiles(object_server.url, num_threads=2, retry=quick) as cf:
        cf.download(["big", *names], tmp_path, part_size=PART)
    order = [request.path for request in object_server.requests]
    half = order[: len(order) // 2]
    assert 10 < half.count("big") < len(half) - 10


def test_a_server_that_ignores_ranges_gives_the_file_in_one_piece(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    object_server.put("big", BODY, faults=[Always(faults.IgnoreRange())])
    cf.download("big", tmp_path / "big", part_size=PART)
    assert (tmp_path / "big").read_bytes() == BODY
    assert len(object_server.requests) <= 2


@pytest.mark.parametrize("etag", [None, "W/"])
def test_without_a_strong_etag_a_file_comes_in_one_piece(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path, etag: str | None
) -> None:
    class Weak(Fault):
        def alter(self, exchange: Any, response: Any) -> Any:
            return response.with_header("ETag", etag and f'{etag}"x"')

    object_server.put("big", BODY, faults=[Always(Weak())])
    cf.download("big", tmp_path / "big", part_size=PART)
    assert (tmp_path / "big").read_bytes() == BODY
    assert object_server.requests[-1].range is None


# --- Interruptions --------------------------------------------------------------------------------------------------


def test_connections_that_break_cost_only_what_had_not_arrived(
    connect: Connect, object_server: ObjectServer, tmp_path: Path
) -> None:
    object_server.put("big", BODY)
    with CuttingProxy("127.0.0.1", object_server.port, cut_after=(20 * KIB, 200 * KIB)) as proxy:
        cf = connect(proxy.url, retry=RetryPolicy(attempts=30, first=0.01, longest=0.05))
        cf.download("big", tmp_path / "big", part_size=2 * PART)
        assert proxy.cuts > 5
        cf.close()
    assert (tmp_path / "big").read_bytes() == BODY
    again = [r for r in object_server.requests if r.range and int(r.range[6:].split("-")[0]) % PART]
    assert again, "no part was taken up in its middle"


def test_a_file_in_one_piece_that_breaks_off_begins_again(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    object_server.put("a", BODY[:PART], faults=[faults.Drop(after_bytes=20_000), faults.Drop(after_bytes=50_000)])
    result = cf.download("a", tmp_path / "a", part_size=PART)
    assert (tmp_path / "a").read_bytes() == BODY[:PART]
    assert result["attempts"] == 3


def test_a_download_that_fails_leaves_the_old_file_and_what_the_next_one_needs(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(b"old")

    class FromTheMiddle(Fault):
        def answer(self, exchange: Any) -> None:
            if int(exchange.request.headers["range"][6:].split("-")[0]) >= 20 * PART:
                exchange.send(faults.Response(500))
            else:
                super().answer(exchange)

    object_server.put("big", BODY, faults=[Always(FromTheMiddle())])
    with pytest.raises(ServerError, match="big"):
        cf.download("big", tmp_path / "big", part_size=PART)
    assert (tmp_path / "big").read_bytes() == b"old"
    assert len(left_overs(tmp_path)) == 2
    object_server.clear_faults()
    object_server.forget_requests()
    bar = _BytesBar()
    result = cf.download("big", tmp_path / "big", part_size=PART, progress=bar)
    assert (tmp_path / "big").read_bytes() == BODY
    assert result["resumed"] > 4 * PART
    assert bar.steps[0] == result["resumed"]  # is there already
    assert len(BODY) <= sum(bar.steps) <= len(BODY) + 1
    assert object_server.bytes_sent > 0
    fetched = sum(record.range is not None for record in object_server.requests)
    assert fetched <= 41 - result["resumed"] // PART + 2
    assert os.listdir(tmp_path) == ["big"]


class _BytesBar:
    unit = "B"

    def __init__(self) -> None:
        self.steps: list[int] = []

    def update(self, n: int) -> None:
        self.steps.append(n)


def test_a_small_download_that_fails_leaves_nothing(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    object_server.put("a", BODY[:PART], faults=[Always(faults.Drop(after_bytes=30_000))])
    with pytest.raises(TransferError):
        cf.download("a", tmp_path / "a", part_size=PART)
    assert os.listdir(tmp_path) == []


def test_what_was_left_of_another_object_is_not_used(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    object_server.put("big", BODY, faults=[Always(_NoSecondHalf())])
    with pytest.raises(ServerError):
        cf.download("big", tmp_path / "big", part_size=PART)
    object_server.clear_faults()
    other = BODY[::-1]
    object_server.put("big", other)
    bar = _BytesBar()
    result = cf.download("big", tmp_path / "big", part_size=PART, progress=bar)
    assert (tmp_path / "big").read_bytes() == other
    assert bar.steps[0] > 0
    assert sum(bar.steps) == len(other)  # what was there is taken back
    assert result["resumed"] == 0
    assert os.listdir(tmp_path) == ["big"]


class _NoSecondHalf(Fault):
    def answer(self, exchange: Any) -> None:
        if int(exchange.request.headers["range"][6:].split("-")[0]) >= 20 * PART:
            exchange.send(faults.Response(500))
        else:
            super().answer(exchange)


def test_a_server_that_knows_no_if_match_mixes_nothing_either(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    class NoIfMatch(Fault):
        def answer(self, exchange: Any) -> None:
            exchange.send(exchange.respond(exchange.request.with_header("if-match", None)))

    for new in (BODY[::-1], BODY[: 10 * PART], b""):
        object_server.put("big", BODY, faults=[Always(_NoSecondHalf())])
        with pytest.raises(ServerError):
            cf.download("big", tmp_path / "big", part_size=PART)
        object_server.clear_faults()
        object_server.put("big", new, faults=[Always(NoIfMatch())])
        cf.download("big", tmp_path / "big", part_size=PART)
        assert (tmp_path / "big").read_bytes() == new
        assert os.listdir(tmp_path) == ["big"]
        object_server.clear_faults()


def test_an_object_that_is_replaced_between_two_parts_comes_whole_and_unmixed(
    connect: Connect, object_server: ObjectServer, tmp_path: Path
) -> None:
    class Bar:
        unit = "B"
        total = 0

        def update(self, n: int) -> None:
            self.total += n

    new, bar = BODY[::-1], Bar()

    class Replacing(Fault):
        def answer(self, exchange: Any) -> None:
            object_server.put("big", new)
            super().answer(exchange)

    object_server.put("big", BODY)
    object_server.fault("big", Fault(), Fault(), Fault(), Replacing())
    result = connect(object_server.url).download("big", tmp_path / "big", part_size=PART, progress=bar)
    assert (tmp_path / "big").read_bytes() == new
    assert result["etag"] == hashlib.md5(new).hexdigest()
    assert bar.total == len(new)  # what had come of the old one was taken back


def test_an_object_that_is_replaced_all_the_time_is_an_error(
    connect: Connect, object_server: ObjectServer, tmp_path: Path
) -> None:
    count = 0

    class Replacing(Fault):
        def answer(self, exchange: Any) -> None:
            nonlocal count
            count += 1
            super().answer(exchange)
            object_server.objects["big"] = faults.StoredObject(BODY, f"{count:032x}")

    object_server.put("big", BODY, faults=[Always(Replacing())])
    with pytest.raises(PreconditionFailed):
        connect(object_server.url).download("big", tmp_path / "big", part_size=PART)
    assert "big" not in os.listdir(tmp_path)


def test_kill_minus_nine_leaves_the_old_file_and_the_next_download_goes_on(
    object_server: ObjectServer, tmp_path: Path
) -> None:
    body = random.Random(2).randbytes(24 * MIB)

    class AFew(Fault):
        """Twelve answers for each process; what it asks for then hangs, so that it never comes to the end."""

        def answer(self, exchange: Any) -> None:
            if left.acquire(blocking=False):
                super().answer(exchange)
            else:
                faults.Hang().answer(exchange)

    object_server.put("big", body, faults=[Always(AFew())])
    (tmp_path / "big").write_bytes(b"old")
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from cloudfiles_hypha import ArtifactFiles\n"
        f"cf = ArtifactFiles({object_server.url!r}, num_threads=4)\n"
        f"print('go', flush=True); cf.download('big', {str(tmp_path / 'big')!r}, part_size={512 * KIB})\n"
    )
    for number in range(3):
        left = threading.Semaphore(12)
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"go\n"
            while sum(journal.read_bytes().count(b"\n") for journal in tmp_path.glob(".*.journal")) < 2 + 5 * number:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        assert (tmp_path / "big").read_bytes() == b"old"
    object_server.clear_faults()
    with ArtifactFiles(object_server.url, num_threads=4) as cf:
        result = cf.download("big", tmp_path / "big", part_size=512 * KIB)
    assert (tmp_path / "big").read_bytes() == body
    assert result["resumed"] > 0
    assert os.listdir(tmp_path) == ["big"]


def test_ctrl_c_keeps_the_parts_of_a_large_file_and_nothing_of_a_small_one(
    object_server: ObjectServer, tmp_path: Path, quick: RetryPolicy
) -> None:
    object_server.put("big", BODY, faults=[*[Fault()] * 10, Always(faults.Hang())])
    object_server.put("small", BODY[:PART], faults=[Always(faults.Hang())])

    class Interrupting:
        unit = "B"

        def update(self, n: int) -> None:
            raise KeyboardInterrupt

    with ArtifactFiles(object_server.url, num_threads=4, retry=quick) as cf, pytest.raises(KeyboardInterrupt):
        cf.download(["small", "big"], tmp_path, part_size=PART, progress=Interrupting())
    assert [name.rpartition(".")[2] for name in left_overs(tmp_path)] in (["journal", "part"], [])
    assert set(os.listdir(tmp_path)) == set(left_overs(tmp_path))


# --- What is compared -----------------------------------------------------------------------------------------------


def test_a_file_is_compared_with_the_md5_that_its_etag_is(
    store: ArtifactFiles, hypha: FakeHypha, tmp_path: Path
) -> None:
    assert store.download("big", tmp_path / "big", part_size=PART)["verified"] == "md5"
    assert store.download("small", tmp_path / "small")["verified"] == "md5"
    again = store.download("big", tmp_path / "again", part_size=PART, checksum=False)
    assert (again["verified"], (tmp_path / "again").read_bytes()) == ("length", BODY)
    assert (tmp_path / "big").read_bytes() == BODY


def test_a_multipart_object_is_compared_with_its_composite_etag(
    store: ArtifactFiles, hypha: FakeHypha, tmp_path: Path
) -> None:
    body = random.Random(3).randbytes(5 * MIB + 5)
    etag = composite(body, MIB)
    key = next(key for key in hypha.store.objects if key.endswith("/big"))
    hypha.store.put(key, body, etag=etag)
    result = store.download("big", tmp_path / "big", part_size=300 * KIB)
    assert (result["verified"], result["etag"]) == ("etag-parts", etag)
    assert (tmp_path / "big").read_bytes() == body


def composite(body: bytes, size: int) -> str:
    digests = [hashlib.md5(body[start : start + size]).digest() for start in range(0, len(body), size)]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def test_parts_of_an_odd_size_are_no_false_alarm_and_no_false_comfort(
    store: ArtifactFiles, hypha: FakeHypha, tmp_path: Path
) -> None:
    body = random.Random(3).randbytes(5 * MIB + 5)
    key = next(key for key in hypha.store.objects if key.endswith("/big"))
    hypha.store.put(key, body, etag=composite(body, 1_000_001))
    assert store.download("big", tmp_path / "big", part_size=MIB)["verified"] == "length"
    assert (tmp_path / "big").read_bytes() == body


def test_bytes_that_do_not_have_the_etag_are_fetched_again(
    store: ArtifactFiles, hypha: FakeHypha, tmp_path: Path
) -> None:
    key = next(key for key in hypha.store.objects if key.endswith("/big"))
    hypha.store.fault(key, Fault(), faults.Corrupt(), method="GET")
    assert store.download("big", tmp_path / "big", part_size=PART)["verified"] == "md5"
    assert (tmp_path / "big").read_bytes() == BODY
    hypha.store.fault(key, Always(faults.Corrupt()), method="GET")
    (tmp_path / "big").write_bytes(b"old")
    with pytest.raises(IntegrityError):
        store.download("big", tmp_path / "big", part_size=PART)
    assert os.listdir(tmp_path) == ["big"]
    assert (tmp_path / "big").read_bytes() == b"old"


def test_damage_to_a_multipart_object_is_found_by_fetching_it_once_more(
    store: ArtifactFiles, hypha: FakeHypha, tmp_path: Path
) -> None:
    body = random.Random(3).randbytes(5 * MIB + 5)
    key = next(key for key in hypha.store.objects if key.endswith("/big"))
    hypha.store.put(key, body, etag=composite(body, MIB))
    hypha.store.fault(key, Fault(), faults.Corrupt(), method="GET")
    assert store.download("big", tmp_path / "big", part_size=MIB)["verified"] == "etag-parts"
    assert (tmp_path / "big").read_bytes() == body


def test_urls_that_expire_between_parts_are_signed_again(
    store: ArtifactFiles, hypha: FakeHypha, tmp_path: Path
) -> None:
    class Expiring(Fault):
        def answer(self, exchange: Any) -> None:
            hypha.expire_urls()
            super().answer(exchange)

    key = next(key for key in hypha.store.objects if key.endswith("/big"))
    # twice: requests that are under way use up answers, too, so no part may come through in between
    hypha.store.fault(key, *[*[Fault()] * 5, Expiring()] * 2, method="GET")
    assert store.download("big", tmp_path / "big", part_size=PART)["verified"] == "md5"
    assert hypha.count("get_file") <= 8


def test_a_url_that_was_replaced_before_is_not_counted_when_it_is_refused_once_more(
    hypha: FakeHypha, tmp_path: Path
) -> None:
    urls: list[str] = []
    turn = threading.Lock()  # guards that
    refused_again = threading.Event()

    class Expiring(Fault):
        def answer(self, exchange: Any) -> None:
            with turn:
                urls.append(exchange.request.query)
                number = len(urls)
            if number == 2:  # its answer comes when the next URL was refused, too
                assert refused_again.wait(20)
            elif number in (3, 4):
                hypha.expire_urls()
            elif number == 5:
                refused_again.set()
                until = time.monotonic() + 20
                # the late answer has its part asked for by the new URL; or for another one, if it is counted
                while len(urls) < 6 and hypha.count("get_file") < 4 and time.monotonic() < until:
                    exchange.sleep(0.01)
            super().answer(exchange)

    key = next(key for key in hypha.store.objects if key.endswith("/big"))
    hypha.store.fault(key, Always(Expiring()), method="GET")
    with connect_to(hypha, num_threads=2) as store:
        assert store.download("big", tmp_path / "big", part_size=PART)["verified"] == "md5"
    first, second, third = list(dict.fromkeys(urls))[:3]
    assert urls[:5] == [first, first, first, second, third]


# --- What is there already ------------------------------------------------------------------------------------------


def test_a_file_with_the_same_content_is_not_fetched(store: ArtifactFiles, hypha: FakeHypha, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BODY)
    before = hypha.store.bytes_sent
    result = store.download("big", tmp_path / "big")
    assert (result["skipped"], result["size"], result["error"]) == (True, len(BODY), None)
    assert hypha.store.bytes_sent == before
    (tmp_path / "big").write_bytes(BODY[:-1] + b"?")
    assert not store.download("big", tmp_path / "big")["skipped"]
    assert (tmp_path / "big").read_bytes() == BODY


def test_never_always_and_newer(store: ArtifactFiles, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"local")
    (result,) = store.download(["small"], tmp_path, overwrite="never")
    assert result["skipped"]
    os.utime(tmp_path / "small", (time.time() + 3600,) * 2)
    results = {result["path"]: result for result in store.download("", tmp_path, overwrite="newer")}
    assert (results["small"]["skipped"], results["big"]["skipped"]) == (True, False)
    assert (tmp_path / "small").read_bytes() == b"local"
    os.utime(tmp_path / "small", (0, 0))
    store.download("", tmp_path, overwrite="newer")
    assert (tmp_path / "small").read_bytes() == b"small"
    (result,) = store.download(["small"], tmp_path, overwrite="always")
    assert not result["skipped"]


def test_a_file_gets_the_time_of_its_object_and_newer_moves_nothing_twice(
    object_server: ObjectServer, connect: Connect, tmp_path: Path
) -> None:
    header = {"Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}
    object_server.put("small", b"small", headers=header)
    object_server.put("big", BODY, headers=header)
    web = connect(object_server.url)
    assert not any(result["skipped"] for result in web.download(["small", "big"], tmp_path, part_size=PART))
    assert {(tmp_path / name).stat().st_mtime for name in ("small", "big")} == {1577836800.0}

    bucket = connect(f"mem://{tmp_path.name}")
    bucket.puts([("a", b"a"), ("d/b", b"b")])
    down = tmp_path / "down"
    bucket.download("", down)
    assert all(result["skipped"] for result in bucket.download("", down, overwrite="newer"))
    assert all(result["skipped"] for result in bucket.download(["a"], down, overwrite="newer"))
    assert all(result["skipped"] for result in bucket.upload(down, overwrite="newer"))
    bucket.put("a", b"newer")
    assert [r["path"] for r in bucket.download("", down, overwrite="newer") if not r["skipped"]] == ["a"]
    os.utime(down / "d/b", (0, 0))  # as if what is there had been uploaded from here: stored later, and the same
    assert all(result["skipped"] for result in bucket.download("", down, overwrite="newer"))
    (down / "d/b").write_bytes(b"mine")
    os.utime(down / "d/b", (0, 0))
    assert not all(result["skipped"] for result in bucket.download("", down, overwrite="newer"))


@pytest.mark.parametrize(
    ("modified", "known", "skipped"), [(7.0, 7.0, True), (7.9, 7.0, True), (8.0, 7.0, False), (7.9, 7.5, False)]
)
def test_a_time_of_whole_seconds_may_be_that_of_any_moment_in_it(modified: float, known: float, skipped: bool) -> None:
    assert save.not_newer(modified, known) is skipped


def test_a_folder_that_is_not_there_is_an_error_and_one_that_patterns_empty_is_not(
    store: ArtifactFiles, tmp_path: Path
) -> None:
    with pytest.raises(ObjectNotFound, match="typo/: there is no such folder"):
        store.download("typo/", tmp_path / "down")
    assert not (tmp_path / "down").exists()
    assert store.download("", tmp_path / "down", include="*.none") == []
    with ArtifactFiles(f"mem://{tmp_path.name}") as empty:
        assert empty.download("", tmp_path / "down") == []
    with ArtifactFiles(f"mem://{tmp_path.name}/typo") as typo, pytest.raises(ObjectNotFound, match="typo"):
        typo.download("", tmp_path / "down")


# --- Names ----------------------------------------------------------------------------------------------------------


def test_names_that_windows_reserves_come_back_on_request(tmp_path: Path) -> None:
    names = ["CON", "d/aux.txt", "a:b", "dot.", "space "]
    with ArtifactFiles(f"mem://{tmp_path.name}") as files:
        files.puts([(name, name.encode()) for name in names])
        with pytest.raises(ValueError, match="windows_names=True"):
            files.download("", tmp_path / "down")
        with pytest.raises(ValueError, match="windows_names=True"):
            files.download(names, tmp_path / "down")
        assert not (tmp_path / "down").exists()
        files.download("", tmp_path / "down", windows_names=True)
        files.download(names, tmp_path / "again", windows_names=True)
        for name in names:
            assert (tmp_path / "down" / name).read_bytes() == (tmp_path / "again" / name).read_bytes() == name.encode()
        assert not files.verify(tmp_path / "down")["missing"]


def test_names_of_temporary_files_are_refused_and_folders_of_such_a_name_are_not(tmp_path: Path) -> None:
    name, folder = ".cloudfiles-0123456789abcdef.part", ".cloudfiles-0123456789abcdef.journal"
    down = tmp_path / "down"
    with ArtifactFiles(f"mem://{tmp_path.name}") as files, ArtifactFiles(f"mem://{tmp_path.name}-back") as back:
        files.puts([(f"{folder}/a", b"a"), (f"d/{name}", b"part"), ("b", b"b")])
        for paths, dest in [("", down), ([f"d/{name}"], down), (f"d/{name}", f"{down}/"), ("b", down / name)]:
            with pytest.raises(ValueError, match=name):
                files.download(paths, dest)  # type: ignore[call-overload]
        assert not down.exists()
        files.download("", down, exclude=".cloudfiles-*.part")
        files.download([{"path": f"d/{name}", "local_path": "d/part"}], down)
        back.upload(down)
        assert set(back.list()) == {f"{folder}/a", "d/part", "b"}


def test_a_link_to_an_open_file_is_not_replaced(tmp_path: Path) -> None:
    # links of this test's own: were one replaced all the same, the machine would still have its /dev/stdout
    (tmp_path / "out").write_bytes(b"old")
    with (tmp_path / "out").open("ab") as out, ArtifactFiles(f"mem://{tmp_path.name}") as files:
        (tmp_path / "stdout").symlink_to(f"/proc/self/fd/{out.fileno()}")
        (tmp_path / "link").symlink_to("stdout")
        files.put("a", b"a")
        for name in ("stdout", "link"):
            with pytest.raises(ValueError, match="not replaced"):
                files.download("a", tmp_path / name)
            assert (tmp_path / name).is_symlink()
    assert (tmp_path / "out").read_bytes() == b"old"


def test_what_can_only_be_written_to_is_known_by_its_name_or_its_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "further").symlink_to("link")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    numbers = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/7": 7, "/proc/self/fd/12": 12, "/dev/../dev/stdout": 1}
    assert {name: tree.descriptor_named(name) for name in numbers} == numbers
    assert tree.descriptor_named(tmp_path / "further") == 1
    assert {tree.descriptor_named(tmp_path / name) for name in ("circle", "file", "none")} == {None}
    assert all(tree.is_stream(tmp_path / name) for name in ("further", "pipe"))
    assert not any(tree.is_stream(tmp_path / name) for name in ("circle", "file", "none", "."))
    assert tree.is_stream("/dev/null")


def test_a_prefix_is_downloaded_with_its_structure_and_patterns_choose(
    store: ArtifactFiles, hypha: FakeHypha, tmp_path: Path
) -> None:
    hypha.add_artifact("ws/b", {"p/a.txt": b"a", "p/d/b.txt": b"b", "p/d/c.bin": b"c", "q": b"q", "pp": b"pp"})
    with connect_to(hypha, "ws/b", num_threads=2) as files:
        files.download("p/", tmp_path / "all")
        files.download("", tmp_path / "some", include=["*.txt", "q"], exclude="p/d/*")
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"all/a.txt", "all/d/b.txt", "all/d/c.bin", "some/p/a.txt", "some/q"}


def test_names_that_collide_or_lead_elsewhere_are_refused_before_anything_moves(
    hypha: FakeHypha, tmp_path: Path
) -> None:
    for number, names in enumerate([("CON", "b"), ("c:x", "b")]):
        hypha.add_artifact(f"ws/n{number}", dict.fromkeys(names, b"x"))
        with connect_to(hypha, f"ws/n{number}", num_threads=2) as files, pytest.raises(ValueError, match=names[0]):
            files.download("", tmp_path)
    with connect_to(hypha, num_threads=2) as files:
        for bad in ({"path": "small", "local_path": "../x"}, {"path": "small", "local_path": "/x"}, "../x"):
            with pytest.raises(ValueError, match="x"):
                files.download([bad], tmp_path)
        with pytest.raises(ValueError, match="small/b"):
            files.download(["small", "small/b"], tmp_path)
        with pytest.raises(ValueError, match="two sources"):
            files.download(["small", {"path": "big", "local_path": "small"}], tmp_path)
    assert os.listdir(tmp_path) == []
    assert hypha.store.requests == []


def test_what_fails_is_an_error_of_its_own_and_the_rest_is_there(store: ArtifactFiles, tmp_path: Path) -> None:
    with pytest.raises(BatchError) as failed:
        store.download(["small", "none", "big"], tmp_path)
    assert [type(result["error"]) for result in failed.value.results] == [type(None), ObjectNotFound, type(None)]
    assert sorted(os.listdir(tmp_path)) == ["big", "small"]
    with pytest.raises(ObjectNotFound, match="none"):
        store.download("none", tmp_path)


def test_options_that_mean_nothing_are_refused(store: ArtifactFiles, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="overwrite"):
        store.download("small", tmp_path, overwrite="perhaps")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="part_size"):
        store.download("small", tmp_path, part_size=0)
    with pytest.raises(TypeError):
        store.download([b"small"], tmp_path)  # type: ignore[list-item]


def test_a_generator_of_names_is_read_as_it_goes(store: ArtifactFiles, hypha: FakeHypha, tmp_path: Path) -> None:
    files = {f"n{number}": str(number).encode() for number in range(300)}
    hypha.add_artifact("ws/many", files)
    with connect_to(hypha, "ws/many", num_threads=4) as cf:
        results = cf.download((name for name in files), tmp_path)
    assert [result["path"] for result in results] == list(files)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_bytes_are_counted_as_they_come(store: ArtifactFiles, tmp_path: Path) -> None:
    class Bar:
        unit = "B"
        steps: list[int] = []  # noqa: RUF012

        def update(self, n: int) -> None:
            self.steps.append(n)

    store.download("", tmp_path, part_size=PART, progress=Bar())
    assert sum(Bar.steps) == len(BODY) + len(b"small")
    assert len(Bar.steps) > 2


def test_a_disk_that_is_full_is_said_before_anything_is_written(
    store: ArtifactFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 1000}))
    with pytest.raises(OSError, match="1000 left"):
        store.download("big", tmp_path / "big", part_size=PART)
    assert os.listdir(tmp_path) == []
