"""Content of unknown length: iterators of blocks and pipes, sent while they are read, in bounded memory.

On every store. What an S3 answers is moto's, what Google's store answers the emulator's; ``test_gcs`` has what that
leaves out, ``test_s3_uploads`` what a killed process leaves.
"""

from __future__ import annotations

import gc
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    ArtifactFiles,
    BatchError,
    Cancellation,
    Cancelled,
    IntegrityError,
    InvalidRequest,
    ObjectExists,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
    TransferError,
)
from cloudfiles_hypha.backends.hypha.backend import HyphaWrites
from cloudfiles_hypha.backends.s3.backend import S3Backend
from cloudfiles_hypha.content.flow import Flow
from cloudfiles_hypha.content.spool import Spool
from cloudfiles_hypha.engine.run import Run
from cloudfiles_hypha.models import PutRequest, Session, Stored
from cloudfiles_hypha.progress import Item
from cloudfiles_hypha.transfers import upload as uploads
from cloudfiles_hypha.transfers.upload import GrowingUpload, SentPart
from cloudfiles_hypha.transports import HttpRequest, HttpResponse
from tests.support.clients import QUICK, connect
from tests.support.fake_hypha import FakeHypha
from tests.support.gcs_emulator import empty, gcs_emulator
from tests.support.object_server import Always, DropRequest, Status
from tests.support.s3_servers import S3Server, moto

MIB = 1024 * 1024
PART = 5 * MIB
BODY = random.Random(7).randbytes(3 * PART + 17)
ENGINES: dict[str, dict[str, Any]] = {
    "inline": {"num_threads": 0},
    "threads": {"num_threads": 3},
    "green": {"num_threads": 3, "green": True},
}
IN_PARTS: dict[str, Any] = {"multipart_threshold": PART, "part_size": PART, "retry": QUICK}
STORES = ("mem", "file", "s3", "gs", "hypha")
Open = Callable[..., ArtifactFiles]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with moto() as server:
        server.make_bucket("streams")
        yield server


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with gcs_emulator("streams") as url:
        yield url


@pytest.fixture(scope="module", autouse=True)
def _servers(s3: S3Server, emulator: str) -> None:
    """They are there before the first test, which is to leave no process behind."""


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha(minimum_part_size=PART) as hypha:
        hypha.add_artifact("ws/a", {"old": b"old"})
        yield hypha


@pytest.fixture
def at(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a store by its name; closes what was opened."""
    opened: list[ArtifactFiles] = []

    def open_store(store: str, **options: Any) -> ArtifactFiles:
        options = {**IN_PARTS, **options}
        if store == "hypha":
            cf = connect(request.getfixturevalue("hypha"), **options)
        elif store == "s3":
            server = request.getfixturevalue("s3")
            cf = ArtifactFiles(server.cloudpath("streams"), secrets=server.secrets, **options)
        elif store == "gs":
            url = request.getfixturevalue("emulator")
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
            empty(url)
            cf = ArtifactFiles("gs://streams", **options)
        else:
            cf = ArtifactFiles("mem://streams" if store == "mem" else f"file://{tmp_path}/store", **options)
        opened.append(cf)
        return cf

    yield open_store
    for cf in opened:
        if cf.cloudpath.startswith(("mem:", "s3:")):
            cf.delete([*cf.list()])
        cf.close()


@pytest.fixture(params=[(store, engine) for store in STORES for engine in ENGINES], ids="-".join)
def cf(request: pytest.FixtureRequest, at: Open) -> ArtifactFiles:
    store, engine = request.param
    return at(store, **ENGINES[engine])


def blocks_of(body: bytes, size: int = 1_234_567) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]
        yield b""


class Pipe:
    """Cannot seek, and gives less than it is asked for."""

    def __init__(self, body: bytes) -> None:
        self._blocks = blocks_of(body, 70_001)
        self.left = b""

    def read(self, size: int) -> bytes:
        while not self.left and (block := next(self._blocks, None)) is not None:
            self.left = block
        given, self.left = self.left[:size], self.left[size:]
        return given


def unfinished(cf: ArtifactFiles) -> int:
    """How many uploads in parts the bucket has that were neither completed nor aborted."""
    backend = cf._backend
    assert isinstance(backend, S3Backend)
    return backend.sender.send(HttpRequest("GET", "?uploads=")).body.count(b"<UploadId>")


class Requests:
    """What a client asks an S3, and what it may be answered instead."""

    def __init__(self, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str]] = []
        self.stored = 0  # bytes that the store has acknowledged
        self.instead: Callable[[HttpRequest], HttpResponse | None] = lambda request: None
        backend = cf._backend
        assert isinstance(backend, S3Backend)
        send = backend.sender.send

        def noting(request: HttpRequest) -> HttpResponse:
            self.seen.append((request.method, request.url.partition("?")[2].partition("&")[0].partition("=")[0]))
            answer = send(request)
            if (instead := self.instead(request)) is not None:
                return instead
            if request.method == "PUT":
                body = request.body
                assert body is not None
                self.stored += len(body) if isinstance(body, bytes | memoryview) else body.size
            return answer

        monkeypatch.setattr(backend.sender, "send", noting)

    def count(self, method: str, query: str) -> int:
        return self.seen.count((method, query))


# --- On every store ---------------------------------------------------------------------------------------------------


def test_blocks_of_every_number_and_size_are_stored_as_they_come(cf: ArtifactFiles) -> None:
    bodies = {
        "empty": b"",
        "one": b"1",
        "at the threshold": BODY[:PART],
        "above it": BODY[: PART + 1],
        "of whole parts": BODY[: 3 * PART],
        "with a rest": BODY,
    }
    given = [(name, blocks_of(body, 999_983)) for name, body in bodies.items()]
    results = cf.puts([*given, {"path": "known", "content": b"known"}])
    assert [result["path"] for result in results] == [*bodies, "known"]
    assert [result["size"] for result in results] == [*map(len, bodies.values()), 5]
    for name, body in bodies.items():
        assert cf.get(name) == body, name


def test_one_content_may_be_an_iterator_or_a_pipe_of_any_kind(cf: ArtifactFiles) -> None:
    assert cf.put("a", iter([b"ab", bytearray(b"cd"), memoryview(b"ef")]))["size"] == 6
    cf.put("b", Pipe(BODY))  # type: ignore[arg-type]  # as much of a file as is asked of one
    assert (cf.get("a"), cf.get("b")) == (b"abcdef", BODY)


@pytest.mark.parametrize("known", [True, False])
def test_one_iterator_for_two_files_is_refused_and_not_dealt_out_to_them(known: bool) -> None:
    with ArtifactFiles("mem://streams") as cf:
        shared = blocks_of(BODY)
        items = [("a", shared), ("b", shared)]
        with pytest.raises(ValueError, match="'b'.* another file"):
            cf.puts(items if known else iter(items))
        cf.delete([*cf.list()])


@pytest.mark.parametrize("enough", [1, len(BODY) // 2])
def test_a_generator_that_raises_fails_its_item_alone_and_publishes_nothing(cf: ArtifactFiles, enough: int) -> None:
    def broken() -> Iterator[bytes]:
        yield BODY[:enough]
        raise ZeroDivisionError

    cf.puts([("a", b"as it was"), ("b", b"as it was")])
    with pytest.raises(BatchError) as failed:
        cf.puts([("a", broken()), ("b", blocks_of(BODY))])
    (item,) = failed.value.errors
    assert (item["path"], type(item["error"])) == ("a", ZeroDivisionError)
    assert (cf.get("a"), cf.get("b")) == (b"as it was", BODY)
    with pytest.raises(ZeroDivisionError):
        cf.put("new", broken())
    assert not cf.exists("new")


def test_blocks_are_made_in_the_callers_thread_which_may_use_the_same_object(cf: ArtifactFiles) -> None:
    threads = set()

    def blocks(name: str) -> Iterator[bytes]:
        for number in range(4):
            threads.add(threading.get_ident())
            yield BODY[number * PART : (number + 1) * PART]
            assert cf.get("other") == b"other"
        cf.put(f"while {name}", b"nested")

    cf.put("other", b"other")
    cf.puts([("a", blocks("a")), ("b", blocks("b"))])
    assert [cf.get(name) == BODY for name in ("a", "b")] == [True, True]
    assert cf.get("while a") == cf.get("while b") == b"nested"
    assert threads == {threading.get_ident()}


def test_a_generator_can_give_up_the_batch_it_is_in_and_nothing_is_published(cf: ArtifactFiles) -> None:
    stop = Cancellation()

    def blocks() -> Iterator[bytes]:
        yield BODY[: 2 * PART]
        stop.cancel()
        yield BODY[2 * PART :]

    with pytest.raises(Cancelled):
        cf.puts([("a", blocks())], cancel=stop)
    assert not cf.exists("a")


@pytest.mark.parametrize("enough", [PART // 2, 2 * PART])
def test_a_generator_that_is_given_up_is_closed_before_the_call_ends(cf: ArtifactFiles, enough: int) -> None:
    cancel, closed = Cancellation(), threading.Event()

    def blocks() -> Iterator[bytes]:
        try:
            for start in range(0, len(BODY), MIB):
                if start >= enough:
                    cancel.cancel()
                yield BODY[start : start + MIB]
        finally:
            closed.set()

    gc.disable()
    try:
        with pytest.raises(Cancelled):
            cf.puts([("a", blocks())], cancel=cancel)
        assert closed.is_set()
    finally:
        gc.enable()


def test_an_iterator_that_was_not_begun_when_its_call_was_given_up_can_be_used_again() -> None:
    cancel, later = Cancellation(), blocks_of(b"later")

    def items() -> Iterator[tuple[str, Any]]:
        yield "a", b"a"
        cancel.cancel()
        yield "b", later

    with ArtifactFiles("mem://streams", num_threads=0) as cf, pytest.raises(Cancelled):
        cf.puts(items(), cancel=cancel)
    assert b"".join(later) == b"later"


class Bar:
    unit = "B"

    def __init__(self) -> None:
        self.steps: list[int] = []

    def update(self, n: int) -> None:
        self.steps.append(n)


def test_a_bar_counts_the_bytes_that_were_given(cf: ArtifactFiles) -> None:
    bar = Bar()
    cf.puts([("a", blocks_of(BODY)), ("b", blocks_of(b"small")), ("c", b"known")], progress=bar)
    assert sum(bar.steps) == len(BODY) + 10


# --- In parts ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=ENGINES)
def bucket(request: pytest.FixtureRequest, at: Open) -> ArtifactFiles:
    return at("s3", **ENGINES[request.param])


@pytest.mark.parametrize(("size", "parts"), [(PART, 0), (PART + 1, 2), (3 * PART + 17, 3), (3 * PART, 3)])
def test_up_to_the_threshold_it_is_one_request_and_beyond_it_parts_that_grow(
    bucket: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, size: int, parts: int
) -> None:
    requests = Requests(bucket, monkeypatch)
    (result,) = bucket.puts([{"path": "a", "content": blocks_of(BODY[:size]), "content_type": "text/x-mine"}])
    assert requests.count("PUT", "") == (parts == 0)
    assert requests.count("PUT", "partNumber") == parts
    assert requests.count("POST", "uploads") == requests.count("POST", "uploadId") == (parts > 0)
    assert result["verified"] == ("etag-parts" if parts else "md5")
    assert bucket.head("a").content_type == "text/x-mine"
    assert bucket.get("a") == BODY[:size]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_no_more_is_read_than_workers_can_keep(at: Open, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    bucket = at("s3", num_threads=workers)
    requests = Requests(bucket, monkeypatch)
    ahead: list[int] = []
    block = BODY[:MIB]

    def blocks() -> Iterator[bytes]:
        for number in range(60):
            ahead.append(number * MIB - requests.stored)
            yield block

    bucket.put("a", blocks())
    # what is gathered first, which is cut into parts again, and then a part for each worker
    assert max(ahead) <= PART + MIB + max(1, workers) * (PART + 2 * MIB)
    assert bucket.size("a") == 60 * MIB


def test_a_part_that_was_refused_is_sent_again_with_the_same_bytes(
    bucket: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = Requests(bucket, monkeypatch)
    refused: list[str] = []

    def once(request: HttpRequest) -> HttpResponse | None:
        if "partNumber" not in request.url or request.url in refused:
            return None
        refused.append(request.url)
        return HttpResponse(500, {}, b"")

    requests.instead = once
    result = bucket.put("a", blocks_of(BODY))
    assert bucket.get("a") == BODY
    assert (requests.count("PUT", "partNumber"), result["attempts"]) == (6, 6)


def test_an_upload_that_fails_is_aborted_and_its_generator_closed_in_the_callers_thread(
    bucket: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []

    def blocks() -> Iterator[bytes]:
        try:
            yield from blocks_of(BODY)
        finally:
            closed.append(threading.get_ident())

    kept = blocks()
    requests = Requests(bucket, monkeypatch)
    requests.instead = lambda request: HttpResponse(403, {}, b"") if "partNumber=2" in request.url else None
    with pytest.raises(PermissionError):
        bucket.put("a", kept)
    assert closed == [threading.get_ident()]
    assert unfinished(bucket) == 0
    with pytest.raises(ValueError, match="read to its end"):
        bucket.put("a", kept)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_upload_whose_generator_raises_is_aborted(bucket: ArtifactFiles, error: type[BaseException]) -> None:
    def broken() -> Iterator[bytes]:
        yield BODY[: 2 * PART]
        assert unfinished(bucket) == 1
        raise error

    bucket.put("a", b"as it was")
    with pytest.raises(error):
        bucket.put("a", broken())
    assert unfinished(bucket) == 0
    assert bucket.get("a") == b"as it was"


def test_an_upload_that_the_store_has_dropped_is_an_error_since_nothing_can_be_read_again(
    bucket: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten(request: HttpRequest) -> None:
        if "partNumber=2" in request.url:
            raise ObjectNotFound("HTTP 404: NoSuchUpload", status=404)

    requests = Requests(bucket, monkeypatch)
    requests.instead = forgotten
    with pytest.raises(TransferError, match=r"dropped the upload .* cannot be read again"):
        bucket.put("a", blocks_of(BODY))
    assert requests.count("POST", "uploads") == 1
    assert not bucket.exists("a")


@pytest.mark.parametrize("store", ["mem", "file", "s3", "gs"])
@pytest.mark.parametrize("size", [PART, PART + MIB // 4 + 1, 2 * PART + 1, 3 * PART])
@pytest.mark.parametrize("before", [True, False])
def test_what_others_have_stored_before_or_meanwhile_is_not_overwritten_where_that_was_said(
    at: Open, store: str, size: int, before: bool
) -> None:
    cf = at(store)
    if before:
        cf.put("a", b"theirs")

    def blocks() -> Iterator[bytes]:
        for start in range(0, size, MIB):
            yield BODY[start : min(size, start + MIB)]
        if not before:
            cf.put("a", b"theirs")

    with pytest.raises(ObjectExists):
        cf.put("a", blocks(), overwrite="never")
    assert cf.get("a") == b"theirs"
    if store != "file":
        with pytest.raises(PreconditionFailed):
            cf.put("a", blocks_of(BODY[:size]), if_match="1")
        assert cf.get("a") == b"theirs"
        assert cf.put("a", blocks_of(BODY[:size]), if_match=cf.head("a").etag)["error"] is None
        assert cf.get("a") == BODY[:size]


@pytest.mark.parametrize("store", ["mem", "file", "s3"])
def test_what_a_generator_raises_is_not_tried_again(at: Open, store: str) -> None:
    asked: list[int] = []

    def blocks() -> Iterator[bytes]:
        asked.append(1)
        raise ServerError("the place that it reads from is busy")
        yield b""

    waited: list[float] = []
    cf = at(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "sleep", lambda self, seconds: waited.append(seconds))
        with pytest.raises(ServerError, match="the place that it reads from"):
            cf.put("a", blocks())
    assert (asked, waited) == ([1], [])


def test_what_is_encoded_goes_in_parts_too(
    bucket: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    requests = Requests(bucket, monkeypatch)
    (tmp_path / "local").write_bytes(BODY)
    bar = Bar()
    contents: list[Any] = [BODY, tmp_path / "local", blocks_of(BODY), Pipe(BODY)]
    results = bucket.puts([(str(n), content) for n, content in enumerate(contents)], compress="gzip", progress=bar)
    assert sum(bar.steps) == 4 * len(BODY)
    assert requests.count("POST", "uploadId") == 4
    for result in results:
        assert (result["compress"], result["verified"]) == ("gzip", "etag-parts")
        stored = bucket.get([result["path"]], raw=True)[0]
        assert (stored["compress"], stored["size"]) == ("gzip", result["size"])
        assert bucket.get(result["path"]) == BODY
    bucket.put("small", b"small", compress="gzip")
    assert requests.count("PUT", "") == 1


def test_a_file_that_changes_while_it_is_encoded_is_an_error(
    bucket: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "local").write_bytes(BODY)
    requests = Requests(bucket, monkeypatch)

    def changing(request: HttpRequest) -> None:
        os.utime(tmp_path / "local", (1, 1))

    requests.instead = changing
    with pytest.raises(OSError, match="changed while"):
        bucket.put("a", tmp_path / "local", compress="gzip")
    assert unfinished(bucket) == 0


def test_what_follows_an_error_is_that_error_and_no_end() -> None:
    def broken() -> Iterator[bytes]:
        yield b"abc"
        raise ZeroDivisionError

    flow = Flow(broken(), threading.RLock())
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            flow.take(10)
        assert not flow.ended


@pytest.mark.parametrize(("part_size", "width", "turns"), [(16 * MIB, 20, 16), (16 * MIB, 3, 3), (1024 * MIB, 20, 2)])
def test_so_many_parts_may_be_kept_as_workers_can_send_or_as_are_256_mib_but_two_always(
    part_size: int, width: int, turns: int
) -> None:
    flow = Flow(iter([bytes(1)] * 100), threading.RLock())
    upload = GrowingUpload(PutRequest("a", flow), flow, width=width, most=10_000, part_size=part_size)
    upload.open(Session("id", ()))
    first = upload.claim()
    assert first is not None
    assert upload.release(first) == turns
    claimed = [upload.claim() for _ in range(turns)]
    assert [upload.release(part) for part in claimed if part is not None] == [1] * turns  # no more than before


def test_a_part_that_could_not_be_sent_is_kept_with_its_number_and_its_bytes_until_it_is_there() -> None:
    flow = Flow(iter([BODY[:PART], BODY[PART : PART + 3]]), threading.RLock())
    upload = GrowingUpload(PutRequest("a", flow), flow, width=1, most=10_000, part_size=PART)
    upload.open(Session("id", ()))

    def next_part() -> SentPart:
        claimed = upload.claim()
        assert claimed is not None
        part = upload.take(claimed)
        assert part is not None
        return part

    def content(part: SentPart) -> bytes:
        body = upload.body(part).body
        assert isinstance(body, Spool)
        return b"".join(body.blocks())

    first = next_part()
    assert upload.release(first, again=True) == 1
    assert next_part() == first
    assert content(first) == BODY[:PART]
    assert upload.sent(first, Stored(PART, md5="0")) == PART
    assert upload.release(first) == 1
    second = next_part()
    assert (second.number, content(second)) == (1, BODY[PART : PART + 3])
    with pytest.raises(KeyError):
        upload.body(first)  # nothing is kept of what is there
    upload.close()


def test_what_was_read_for_an_attempt_that_failed_is_not_taken_for_the_whole_content_by_the_next(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    cf = at("mem", num_threads=3)
    put, calls = cf._backend.put, []

    def failing(request: PutRequest, ticket: object) -> Any:
        put(replace(request, path="elsewhere"), ticket)
        calls.append(request.path)
        raise ServerError("busy", status=503)

    monkeypatch.setattr(cf._backend, "put", failing)
    with pytest.raises(ServerError, match="busy"):
        cf.put("a", iter([b"a", b"b"]))
    assert calls == ["a"]
    assert cf.get("elsewhere") == b"ab"
    assert not cf.exists("a")


def test_more_than_an_object_can_hold_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_all(size: int) -> list[int]:
        flow = Flow(iter([bytes(size)]), threading.RLock())
        upload = GrowingUpload(PutRequest("a", flow), flow, width=1, most=10_000, part_size=PART)
        upload.open(Session("id", ()))
        sizes: list[int] = []
        try:
            while (claimed := upload.claim()) is not None and (part := upload.take(claimed)) is not None:
                sizes.append(upload.body(part).size)
        finally:
            upload.close()
        return sizes

    monkeypatch.setattr(uploads, "LARGEST_OBJECT", 2 * PART)
    assert take_all(2 * PART) == [PART, PART]
    with pytest.raises(InvalidRequest, match="5 TiB"):
        take_all(2 * PART + 1)


# --- On Hypha ---------------------------------------------------------------------------------------------------------


def test_on_hypha_a_session_of_more_parts_is_completed_with_those_there_are(at: Open, hypha: FakeHypha) -> None:
    with at("hypha", num_threads=3) as cf:
        hypha.store.fault(hypha.key("ws/a", "a"), Status(500), DropRequest(1000), method="PUT")
        assert cf.put("a", blocks_of(BODY))["verified"] == "etag-parts"
    assert hypha.files("ws/a") == {"old": b"old", "a": BODY}
    assert hypha.count("put_file_start_multipart") == hypha.count("put_file_complete_multipart") == 1


def test_on_hypha_what_was_made_of_fewer_parts_is_looked_at(
    at: Open, hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HyphaWrites, "_staged_etag", lambda self, path: "another-2")
    with at("hypha", num_threads=3) as cf, pytest.raises(IntegrityError, match="another-2"):
        cf.put("a", blocks_of(BODY))


def test_on_hypha_what_is_described_or_encoded_goes_at_once(at: Open, hypha: FakeHypha) -> None:
    with at("hypha", num_threads=3) as cf:
        cf.put("a", blocks_of(BODY), content_type="text/x-mine")
        cf.put("b", blocks_of(BODY), compress="gzip")
        assert (cf.head("a").content_type, cf.get("b")) == ("text/x-mine", BODY)
    assert hypha.count("put_file_start_multipart") == 0


def test_on_hypha_urls_that_expire_are_an_error_since_nothing_can_be_read_again(at: Open, hypha: FakeHypha) -> None:
    with at("hypha", num_threads=3) as cf:
        hypha.store.fault(hypha.key("ws/a", "a"), Always(Status(403)), method="PUT")
        with pytest.raises(TransferError, match="cannot be read again"):
            cf.put("a", blocks_of(BODY))
    assert hypha.files("ws/a") == {"old": b"old"}
    assert hypha.count("put_file_start_multipart") == 1


# --- Observers --------------------------------------------------------------------------------------------------------


class Watch:
    """An observer that takes notes."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def started(self, item: Item) -> None:
        self.told.append(("started", item.path))

    def moved(self, item: Item, size: int) -> None:
        self.told.append(("moved", size))

    def failed(self, item: Item, attempt: int, error: Exception) -> None:
        self.told.append(("failed", attempt))

    def ended(self, item: Item, error: Exception | None) -> None:
        self.told.append(("ended", type(error)))


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("size", [3, len(BODY)])
def test_an_observer_is_told_of_each_start_and_end_once(at: Open, store: str, size: int) -> None:
    watch = Watch()
    with at(store, num_threads=3, observer=watch) as cf:
        cf.put("a", blocks_of(BODY[:size]))
        told = [one for one in watch.told if one[0] != "moved"]
        assert told == [("started", "a"), ("ended", type(None))]
        assert sum(size for what, size in watch.told if what == "moved" and isinstance(size, int)) == size
        with pytest.raises(TypeError):
            cf.put("a", iter(["text"]))  # type: ignore[arg-type]
        assert watch.told[-2:] == [("started", "a"), ("ended", TypeError)]
