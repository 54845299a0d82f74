"""Servers that lie, break off, stall and refuse, seen through ``ArtifactFiles`` on every engine.

What arrives is right, or there is an error that says what was wrong; and no more is asked of a server than needed.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent.monkey
import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    BatchError,
    CertificateError,
    ConnectionFailed,
    IntegrityError,
    InvalidRequest,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    Result,
    RetryPolicy,
    ServerError,
    Timeouts,
    TooManyRequests,
    TransferError,
    TransferTimeout,
    TruncatedBody,
)
from tests.support import object_server as faults
from tests.support.certs import make_ca
from tests.support.clients import CLIENTS
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, ObjectServer
from tests.support.proxies import HttpForwardProxy, ResettingProxy

TEN = b"0123456789"
BIG = bytes(range(256)) * 12 * 1024  # 3 MiB
MIB = 1024 * 1024
SOME = BIG[: 600 * 1024]
Connect = Callable[..., ArtifactFiles]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(client: str, quick: RetryPolicy) -> Iterator[Connect]:
    """Opens ``ArtifactFiles`` as the client under test, and closes them in the end."""
    opened: list[ArtifactFiles] = []

    def open_files(url: str, **options: Any) -> ArtifactFiles:
        opened.append(ArtifactFiles(url, **{"retry": quick, **CLIENTS[client], **options}))
        return opened[-1]

    yield open_files
    for files in opened:
        files.close()


@pytest.fixture
def cf(connect: Connect, object_server: ObjectServer) -> ArtifactFiles:
    return connect(object_server.url)


# --- Bodies that break off ------------------------------------------------------------------------------------------


def test_a_body_that_broke_off_is_fetched_again_and_is_exact(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.put("a", BIG, faults=[faults.Drop(after_bytes=MIB), faults.Drop(after_bytes=2 * MIB, rst=True)])
    (result,) = cf.get(["a"])
    assert (result["content"], result["attempts"], result["size"]) == (BIG, 3, len(BIG))
    assert object_server.ranges_seen("a") == [None] * 3
    assert object_server.bytes_sent == MIB + 2 * MIB + len(BIG)


def test_a_range_that_broke_off_is_fetched_again_and_is_exact(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.put("a", BIG, faults=[faults.Drop(after_bytes=1000)])
    assert cf.get({"path": "a", "start": 5, "end": 2 * MIB}) == BIG[5 : 2 * MIB]
    assert object_server.ranges_seen("a") == [f"bytes=5-{2 * MIB - 1}"] * 2


@pytest.mark.parametrize(
    "fault", [faults.Drop(after_bytes=3), faults.Drop(after_bytes=9), faults.Chunked(cut=4)], ids=str
)
def test_a_body_that_always_breaks_off_is_an_error_for_that_item(
    cf: ArtifactFiles, object_server: ObjectServer, fault: faults.Fault
) -> None:
    object_server.put("a", TEN, faults=[Always(fault)])
    object_server.put("b", TEN)
    broken, whole = cf.get(["a", "b"], raise_errors=False)
    assert isinstance(broken["error"], TruncatedBody)
    assert (broken["content"], broken["attempts"], object_server.count("GET", "a")) == (None, 4, 4)
    assert whole["content"] == TEN


def test_a_network_that_resets_a_tenth_of_all_requests_loses_nothing(
    connect: Connect, object_server: ObjectServer
) -> None:
    files = {str(number): BIG[number : number + 3000] for number in range(100)}
    for name, content in files.items():
        object_server.put(name, content)
    with ResettingProxy("127.0.0.1", object_server.port, reset_fraction=0.1, seed=7) as proxy:
        cf = connect(proxy.url, retry=RetryPolicy(attempts=10, first=0.01, longest=0.05, elapsed=30))
        assert cf.get(list(files), return_dict=True) == files
        assert proxy.resets > 0


class OneWay(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(size)


@pytest.mark.parametrize("form", ["bytes", "path", "file at an offset", "stream"])
@pytest.mark.parametrize(
    "fault",
    [faults.DropRequest(after_bytes=MIB // 10), faults.NoAnswer(rst=True), faults.Status(500), faults.DropAfterStore()],
)
def test_a_put_that_is_tried_again_stores_exactly_the_content(
    connect: Connect, tmp_path: Path, form: str, fault: faults.Fault
) -> None:
    path = tmp_path / "content"
    path.write_bytes(SOME)
    with FakeHypha() as hypha, path.open("rb") as file, io.BytesIO(b"skipped" + SOME) as shifted:
        hypha.add_artifact("ws/a")
        shifted.seek(7)
        content: Any = {"bytes": SOME, "path": path, "file at an offset": shifted, "stream": OneWay(SOME)}[form]
        hypha.fault_file("ws/a", "x", fault, method="PUT")
        cf = connect("ws/a", server_url=hypha.url, token="test-token")
        result = cf.put("x", content)
        assert hypha.files("ws/a") == {"x": SOME}
        assert (result["size"], result["attempts"]) == (len(SOME), 2)
        assert hypha.store.requests[-1].body_length == len(SOME)
        assert not file.closed


# --- Ranges answered otherwise than asked ---------------------------------------------------------------------------

# Not among them: a 206 with other bytes than it says it has. Only a checksum tells, and a range has none.
LIES = [
    faults.IgnoreRange(),
    faults.SliceAs200(),
    faults.WrongOffsets(1),
    faults.WrongOffsets(-1),
    faults.LyingOffsets(1),
    faults.NoContentRange(),
    faults.ShortBody(1),
    faults.Status(416, {"Content-Range": "bytes */10"}),
    faults.Status(416),
    faults.Status(206, {"Content-Range": "bytes 0-9/10"}, TEN),
    faults.Status(206, {"Content-Range": "bytes 1-2/*"}, TEN[1:3]),
    faults.Status(206, {"Content-Range": "bytes garbage"}, TEN[1:3]),
    faults.Status(204),
]
RANGES = [(0, 3), (0, 10), (0, 20), (2, 5), (2, 10), (2, 20), (5, 6), (5, None), (9, None), (10, None)]


@pytest.mark.parametrize("lie", LIES, ids=str)
@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
def test_a_range_gives_the_right_bytes_or_an_error_whatever_the_server_says(
    connect: Connect, object_server: ObjectServer, lie: faults.Fault, always: bool
) -> None:
    cf = connect(object_server.url, retry=RetryPolicy(attempts=3, first=0.001, longest=0.001, elapsed=10))
    for start, end in RANGES:
        path = f"{start}-{end}"
        object_server.put(path, TEN, faults=[Always(lie) if always else lie])
    results = cf.get([{"path": f"{start}-{end}", "start": start, "end": end} for start, end in RANGES], None, False)
    for (start, end), result in zip(RANGES, results, strict=True):
        if result["error"] is None:
            assert result["content"] == TEN[start:end], (start, end)
            assert result["size"] in (10, None)
        else:
            assert isinstance(result["error"], IntegrityError | RangeNotSatisfiable | InvalidRequest)
            assert result["content"] is None
    if isinstance(lie, faults.IgnoreRange | faults.SliceAs200) or not (always or isinstance(lie, faults.Status)):
        # but at the very end, where the right answer is a 416 that says how long the object is
        assert [result["error"] for result in results[:-1]] == [None] * (len(RANGES) - 1)


def test_a_slice_sent_as_a_whole_object_is_told_from_one_by_fetching_it_whole(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    object_server.put("a", TEN, faults=[faults.SliceAs200()])
    assert cf.get({"path": "a", "start": 2, "end": 5}) == b"234"
    assert object_server.ranges_seen("a") == ["bytes=2-4", None]


def test_the_first_bytes_sent_as_a_whole_object_are_not_taken_for_it(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    content = BIG * 3  # more than the first part of a download
    object_server.put("a", content, faults=[Always(faults.SliceAs200())])
    cf.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content
    with (tmp_path / "b").open("wb") as file:
        cf.get({"path": "a", "into": file})
    assert (tmp_path / "b").read_bytes() == content
    for direction in ("START", "END"):
        with cf.open("a", prefetch_bytes=10, prefetch_direction=direction) as file:
            assert (file.size, file.read(20)) == (len(content), content[:20])


def test_a_first_byte_sent_as_a_whole_object_does_not_say_how_long_it_is(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    object_server.put("a", TEN)
    object_server.fault("a", Always(faults.Status(405)), method="HEAD")
    object_server.fault("a", Always(faults.SliceAs200()), method="GET")
    assert cf.head("a").size is None
    with cf.open("a", prefetch_bytes=0) as file:
        assert (file.size, file.read()) == (10, TEN)


def test_a_whole_object_sent_for_a_range_is_cut_without_asking_again(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    object_server.put("a", TEN, faults=[Always(faults.IgnoreRange())])
    assert cf.get({"path": "a", "start": 2, "end": 5}) == b"234"
    assert object_server.ranges_seen("a") == ["bytes=2-4"]


@pytest.mark.parametrize(
    ("start", "end", "told", "kind"),
    [
        (2, 5, "bytes 2-4/*", None),
        (0, 5, "bytes 0-4/*", None),
        (2, 5, "bytes 2-3/*", IntegrityError),  # is that its end?
        (2, None, "bytes 2-9/*", IntegrityError),
        (2, 5, "bytes 2-4/x", IntegrityError),
        (2, 5, "bytes 2-4/", IntegrityError),
        (2, 5, "bytes */*", IntegrityError),
    ],
)
def test_a_range_of_an_object_whose_size_is_not_told_is_taken_if_it_is_all_that_was_asked_for(
    cf: ArtifactFiles, object_server: ObjectServer, start: int, end: int | None, told: str, kind: type | None
) -> None:
    body = TEN[start : int(told[8]) + 1] if told[8:9].isdigit() else b"234"
    object_server.fault("a", Always(faults.Status(206, {"Content-Range": told}, body)))
    buffer = bytearray(10)
    wanted: list[Any] = [{"path": "a", "start": start, "end": end}, {"path": "a", "start": start, "end": end}]
    wanted[1]["into"] = buffer
    for result in cf.get(wanted, raise_errors=False):
        if kind is None:
            assert (bytes(result["content"]), result["size"], result["verified"]) == (TEN[start:end], None, "length")
        else:
            assert isinstance(result["error"], kind)


def test_a_body_that_ends_with_the_connection_is_not_verified_by_its_length(
    cf: ArtifactFiles, object_server: ObjectServer, tmp_path: Path
) -> None:
    object_server.put("a", TEN)
    object_server.put("endless", TEN, faults=[Always(faults.Unmeasured())])
    object_server.put("chunked", TEN, faults=[Always(faults.Chunked())])
    for name, verified in (("a", "length"), ("endless", None), ("chunked", "length")):
        (whole,) = cf.get([name])
        (part,) = cf.get([{"path": name, "start": 2, "end": 5}])
        (into,) = cf.get([{"path": name, "into": bytearray(10)}])
        file = cf.download(name, tmp_path / name)
        assert (whole["content"], part["content"], bytes(into["content"])) == (TEN, TEN[2:5], TEN)
        assert (tmp_path / name).read_bytes() == TEN
        assert [one["verified"] for one in (whole, into, file)] == [verified] * 3, name


def test_an_unsatisfiable_range_that_is_satisfiable_is_an_error_and_not_empty(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    object_server.put("a", TEN, faults=[Always(faults.Status(416, {"Content-Range": "bytes */10"}))])
    with pytest.raises(IntegrityError):
        cf.get({"path": "a", "start": 2, "end": 5})


@pytest.mark.parametrize(
    ("content_range", "body"), [("bytes 0-3/10", TEN[:4]), ("bytes 2-9/10", TEN[2:]), ("", TEN[:4])]
)
def test_a_part_sent_for_the_whole_is_an_error(
    cf: ArtifactFiles, object_server: ObjectServer, content_range: str, body: bytes
) -> None:
    object_server.fault("a", Always(faults.Status(206, {"Content-Range": content_range}, body)))
    with pytest.raises(IntegrityError):
        cf.get("a")
    assert object_server.count() == 4  # it may have been damaged on its way


@pytest.mark.parametrize(
    "fault", [faults.ANSWER, faults.IgnoreRange(), faults.Status(416, {"Content-Range": "bytes */0"})], ids=str
)
def test_an_empty_object_is_empty_in_any_range_however_the_server_puts_it(
    cf: ArtifactFiles, object_server: ObjectServer, fault: faults.Fault
) -> None:
    object_server.put("a", b"", faults=[Always(fault)])
    wanted = [{"path": "a", "start": start, "end": end} for start, end in ((0, 1), (1, None), (7, 9), (3, 3))]
    assert [result["content"] for result in cf.get(wanted)] == [b""] * 4
    assert object_server.count() <= 6  # the last one asks for nothing


def test_a_range_of_no_bytes_asks_for_nothing(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    assert cf.get([{"path": "a", "start": 3, "end": 3}, {"path": "b", "end": 0}])[0]["content"] == b""
    assert object_server.count() == 0


# --- Five different answers -----------------------------------------------------------------------------------------

ANSWERS = [
    (404, ObjectNotFound, FileNotFoundError, 1),
    (410, ObjectNotFound, FileNotFoundError, 1),
    (401, AccessDenied, PermissionError, 1),
    (403, AccessDenied, PermissionError, 1),
    (400, InvalidRequest, ValueError, 1),
    (405, InvalidRequest, ValueError, 1),
    (409, InvalidRequest, ValueError, 1),
    (411, InvalidRequest, ValueError, 1),
    (412, PreconditionFailed, OSError, 1),
    (413, InvalidRequest, ValueError, 1),
    (418, InvalidRequest, ValueError, 1),
    (422, InvalidRequest, ValueError, 1),
    (451, InvalidRequest, ValueError, 1),
    (304, NotModified, OSError, 1),
    (408, TransferTimeout, TimeoutError, 4),
    (429, TooManyRequests, OSError, 4),
    (500, ServerError, OSError, 4),
    (502, ServerError, OSError, 4),
    (503, TooManyRequests, OSError, 4),
    (504, ServerError, OSError, 4),
]


def test_each_status_is_its_own_error_and_only_what_may_pass_is_tried_again(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    for status, *_ in ANSWERS:
        object_server.fault(str(status), Always(faults.Status(status, body=b"<secret>details</secret>")))
    results = cf.get([str(status) for status, *_ in ANSWERS], raise_errors=False)
    for (status, kind, builtin, attempts), result in zip(ANSWERS, results, strict=True):
        error = result["error"]
        assert type(error) is kind, status
        assert isinstance(error, builtin)
        assert (error.status, error.path, error.attempts) == (status, str(status), attempts)
        assert (result["attempts"], object_server.count(path=str(status))) == (attempts, attempts)
        assert f"{status}: " in str(error)
        assert f"HTTP {status}" in str(error)


def test_forbidden_missing_busy_broken_and_unreachable_are_five_unrelated_errors(
    connect: Connect, object_server: ObjectServer
) -> None:
    cf = connect(object_server.url)
    kinds = []
    for status in (403, 404, 429, 500):
        object_server.fault("a", *[faults.Status(status)] * 4)
        with pytest.raises(TransferError) as caught:
            cf.get("a")
        object_server.clear_faults()
        kinds.append(type(caught.value))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TransferError) as caught:
            connect(f"http://127.0.0.1:{taken.getsockname()[1]}").get("a")
        kinds.append(type(caught.value))
    assert kinds == [AccessDenied, ObjectNotFound, TooManyRequests, ServerError, ConnectionFailed]


@pytest.mark.parametrize(("status", "kind"), [(403, AccessDenied), (500, ServerError), (429, TooManyRequests)])
def test_exists_is_false_only_for_what_is_not_there(
    cf: ArtifactFiles, object_server: ObjectServer, status: int, kind: type[TransferError]
) -> None:
    object_server.put("a", TEN)
    object_server.fault("odd", Always(faults.Status(status)))
    assert cf.exists("missing") is False
    with pytest.raises(kind):
        cf.exists("odd")
    with pytest.raises(kind):
        assert "odd" in cf
    with pytest.raises(TransferError):
        cf.exists(["a", "missing", "odd"])


def test_exists_raises_when_the_server_is_out_of_reach(connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        cf = connect(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConnectionFailed):
            cf.exists("a")
        with pytest.raises(TransferError):
            cf.exists(["a", "b"])


@pytest.mark.parametrize("status", [403, 405, 501])
def test_head_asks_for_one_byte_where_heads_are_refused(
    cf: ArtifactFiles, object_server: ObjectServer, status: int
) -> None:
    object_server.put("a", TEN, faults=[faults.Status(status)])
    object_server.put("empty", b"", faults=[faults.Status(status)])
    assert (cf.size("a"), cf.size("empty")) == (10, 0)
    assert object_server.bytes_sent <= 1 + 200  # and the error's text


@pytest.mark.parametrize("ask", ["head", "get", "into"])
def test_what_is_said_of_an_empty_object_is_its_own_and_not_of_the_refusal_of_a_range(
    cf: ArtifactFiles, object_server: ObjectServer, ask: str
) -> None:
    object_server.put(
        "empty", b"", headers={"Content-Type": "text/csv"}, faults=[faults.Status(405)] if ask == "head" else []
    )
    if ask == "head":  # which is refused, so its first byte is asked for
        info = cf.head("empty")
        assert (info.size, info.etag, info.content_type) == (0, hashlib.md5(b"").hexdigest(), "text/csv")
    else:
        more = {"into": io.BytesIO()} if ask == "into" else {}
        (result,) = cf.get([{"path": "empty", "start": 0, "end": 9, **more}])
        assert (result["etag"], result["content_type"]) == (hashlib.md5(b"").hexdigest(), "text/csv")


# --- Time and attempts ----------------------------------------------------------------------------------------------


def test_silence_and_a_trickle_are_timeouts_that_are_tried_again_and_say_so(
    client: str, connect: Connect, object_server: ObjectServer
) -> None:
    # Whoever waits for the timeout of connecting, or for one transfer after the other, sees the server hang up.
    silence = faults.Hang(seconds=7)
    object_server.put("silent", TEN, faults=[Always(silence)])
    object_server.put("trickle", BIG[:200], faults=[Always(faults.Trickle(bytes_per_second=20))])
    object_server.put("silent once", TEN, faults=[silence])
    object_server.put("good", TEN)
    names = ["silent", "good"] if client == "inline" else ["silent", "trickle", "silent once", "good"]
    policy = RetryPolicy(attempts=2, first=0.01, longest=0.01)
    cf = connect(object_server.url, timeout=Timeouts(connect=30, idle=1), retry=policy)
    results = {result["path"]: result for result in cf.get(names, raise_errors=False)}
    for name in {"silent", "trickle"} & set(names):
        assert type(results[name]["error"]) is TransferTimeout
        assert isinstance(results[name]["error"], TimeoutError)
        assert "timed out" in str(results[name]["error"])
    for name in names:
        assert results[name]["attempts"] == object_server.count(path=name) == (1 if name == "good" else 2)
    assert {results[name]["content"] for name in {"silent once", "good"} & set(names)} == {TEN}


def test_the_total_time_of_retries_is_capped(connect: Connect, object_server: ObjectServer) -> None:
    object_server.fault("a", Always(faults.Status(500)))
    cf = connect(object_server.url, retry=RetryPolicy(attempts=200, first=0.05, longest=0.05, elapsed=0.3))
    with pytest.raises(ServerError) as caught:
        cf.get("a")
    assert 2 <= caught.value.attempts == object_server.count() < 150


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_longer_than_the_patience_is_an_error_at_once(
    cf: ArtifactFiles, object_server: ObjectServer, status: int
) -> None:
    object_server.fault("a", Always(faults.Status(status, {"Retry-After": "3000"})))
    with pytest.raises(TooManyRequests) as caught:
        cf.get("a")
    assert (caught.value.retry_after, object_server.count()) == (3000.0, 1)


def test_many_small_objects_take_one_request_each_and_no_more_connections_than_workers(
    connect: Connect, object_server: ObjectServer
) -> None:
    object_server.latency = 0.002  # so that the workers do overlap
    names = [f"dir/{number}" for number in range(400)]
    for name in names:
        object_server.put(name, name.encode())
    results = connect(object_server.url, num_threads=20).get(names)
    assert [result["content"] for result in results] == [name.encode() for name in names]
    assert sorted(seen.path for seen in object_server.requests) == sorted(names)
    assert 2 <= object_server.connections <= 20


def test_connections_last_from_batch_to_batch(connect: Connect, object_server: ObjectServer) -> None:
    for number in range(40):
        object_server.put(str(number), TEN)
    cf = connect(object_server.url, num_threads=4)
    for _ in range(5):
        cf.get([str(number) for number in range(40)])
    assert object_server.count() == 200
    assert object_server.connections <= 4


def test_connections_last_through_a_time_of_little_to_do(connect: Connect, object_server: ObjectServer) -> None:
    names = [str(number) for number in range(20)]
    for name in names:
        object_server.put(name, TEN)
    cf = connect(object_server.url, num_threads=20)
    object_server.latency = 0.3  # so that all workers wait at once, which takes a connection each
    cf.get(names)
    object_server.latency = 0.0
    time.sleep(1.1)  # what was idle for less is not closed by libcurl
    for _ in range(30):
        cf.get(["0", "1"])
    opened = object_server.connections
    object_server.latency = 0.3
    cf.get(names)
    assert 4 < opened <= 20
    assert object_server.connections <= 20


def test_several_ranges_of_one_path_are_several_results(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.put("a", TEN)
    results = cf.get([{"path": "a", "start": 0, "end": 2}, {"path": "a", "start": 4, "end": 6}])
    assert [result["content"] for result in results] == [b"01", b"45"]
    assert object_server.ranges_seen("a") == ["bytes=0-5"]


# --- TLS and proxies ------------------------------------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted_is_an_error_that_is_not_tried_again(
    connect: Connect, tmp_path: Path
) -> None:
    with ObjectServer(tls=make_ca(tmp_path).server_context) as server:
        server.put("a", TEN)
        with pytest.raises(CertificateError) as caught:
            connect(server.url).get("a")
        assert (caught.value.attempts, caught.value.path) == (1, "a")
        assert (server.connections, server.count()) == (1, 0)


def test_the_environments_authority_and_proxy_are_used(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_ca(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_pem))
    with ObjectServer(tls=authority.server_context) as server, HttpForwardProxy() as proxy:
        server.put("a", TEN)
        assert connect(server.url).get("a") == TEN
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert connect(server.url).get(["a", "a"])[1]["content"] == TEN
        assert set(proxy.asked) == {f"CONNECT localhost:{server.port}"}
        asked = len(proxy.asked)
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert connect(server.url).get("a") == TEN
        assert len(proxy.asked) == asked


# --- Secrets --------------------------------------------------------------------------------------------------------

TOKEN = "".join(["t0k", "en-of", "-mine"])  # in pieces, so that no line quoted in a traceback has it
SIGNED = ("X-Amz-Signature", "X-Amz-Credential")


def everything_said(error: BaseException, caplog: pytest.LogCaptureFixture, *objects: object) -> str:
    """All that somebody could read of an error: itself, its traceback, its results, a copy, and the log."""
    results: list[Result] = getattr(error, "results", [])
    inner = [result["error"] for result in results if result["error"] is not None]
    texts = [caplog.text, repr(results), *map(repr, objects)]
    for one in (error, *inner):
        texts += ["".join(traceback.format_exception(one)), str(one), repr(one), repr(vars(one))]
    texts.append(repr(pickle.dumps(error)))
    return "\n".join(texts)


@pytest.mark.parametrize(
    "fault",
    [
        faults.Status(403),
        faults.Status(404),
        faults.Status(500),
        faults.NoAnswer(),
        faults.Drop(after_bytes=2),
        faults.Corrupt(),
        faults.Redirect("/elsewhere?X-Amz-Signature=5ec2e7"),
        faults.DropRequest(),
    ],
    ids=str,
)
def test_no_token_and_no_signature_is_ever_said(
    connect: Connect, caplog: pytest.LogCaptureFixture, fault: faults.Fault
) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeHypha(token=TOKEN) as hypha:
        hypha.add_artifact("ws/a", {"x": TEN, "y": TEN})
        hypha.fault_file("ws/a", "x", Always(fault))
        cf = connect("ws/a", server_url=hypha.url, token=TOKEN)
        with pytest.raises(BatchError) as caught:
            cf.get(["x", "y"])
        said = everything_said(caught.value, caplog, cf, cf._backend, cf._transport)
        results = cf.puts([("x", TEN), ("y", TEN)], raise_errors=False)
        said += everything_said(BatchError.from_results("puts", results), caplog)
        assert any("X-Amz-Signature" in seen.query for seen in hypha.store.requests)
        assert not any("authorization" in seen.headers for seen in hypha.store.requests)
        assert any(seen.headers.get("authorization") == f"Bearer {TOKEN}" for seen in hypha.requests)
    assert TOKEN not in said
    assert not [word for word in SIGNED if word in said]
    assert "5ec2e7" not in said


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_no_token_is_said_when_hypha_itself_refuses(
    connect: Connect, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeHypha(token=TOKEN) as hypha:
        hypha.add_artifact("ws/a", {"x": TEN})
        hypha.fault("get_file", Always(faults.Status(status, {}, b'{"detail": "no"}')))
        cf = connect("ws/a", server_url=hypha.url, token=TOKEN)
        with pytest.raises(TransferError) as caught:
            cf.get("x")
        assert TOKEN not in everything_said(caught.value, caplog, cf)


def test_a_plain_web_server_is_never_sent_the_hypha_token(
    connect: Connect, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPHA_TOKEN", TOKEN)
    monkeypatch.setenv("HYPHA_SERVER_URL", object_server.url)
    with ObjectServer(reject_authorization=True) as other:
        other.put("b", TEN)
        object_server.fault("a", faults.Redirect(other.url_for("b")))
        assert connect(object_server.url, token=TOKEN).get("a") == TEN
        for seen in (*object_server.requests, *other.requests):
            assert TOKEN not in repr(seen)


def test_the_token_does_not_follow_a_redirect_of_the_control_plane(connect: Connect) -> None:
    with FakeHypha(token=TOKEN) as hypha, ObjectServer() as other:
        hypha.add_artifact("ws/a", {"x": TEN})
        hypha.fault("get_file", Always(faults.Redirect(other.url_for("get_file"), code=307)))
        cf = connect("ws/a", server_url=hypha.url, token=TOKEN)
        with pytest.raises(TransferError):
            cf.get("x")
        assert (other.count(), other.connections) == (0, 0)


def test_a_password_in_the_base_url_is_not_said(
    connect: Connect, object_server: ObjectServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cf = connect(f"http://user:{TOKEN}@127.0.0.1:{object_server.port}/base")
    with pytest.raises(ObjectNotFound) as caught:
        cf.get("a")
    assert TOKEN not in everything_said(caught.value, caplog)


def test_a_password_in_the_base_url_is_not_in_the_repr(connect: Connect) -> None:
    assert TOKEN not in repr(connect(f"http://user:{TOKEN}@127.0.0.1:1/base"))


# --- One engine, several kinds of worker ----------------------------------------------------------------------------


def outcome(results: list[Result]) -> list[tuple[Any, ...]]:
    """What results say, with errors taken apart so that they can be compared."""
    return [
        (
            *((key, value) for key, value in result.items() if key != "error"),
            (
                type(result["error"]),
                getattr(result["error"], "status", None),
                ": ".join(str(result["error"]).split(": ")[:2]),
            ),
        )
        for result in results
    ]


def test_every_client_gives_the_same_results_and_errors(quick: RetryPolicy) -> None:
    seen: dict[str, Any] = {}
    for client, options in CLIENTS.items():
        with ObjectServer() as server, ArtifactFiles(server.url, retry=quick, **options) as cf:
            for number in range(20):
                server.put(f"ok/{number}", b"%d" % number)
            server.put("empty", b"")
            server.put("cut", TEN, faults=[Always(faults.Drop(after_bytes=3))])
            server.put("cut once", TEN, faults=[faults.Drop(after_bytes=3)])
            server.put("liar", TEN, faults=[Always(faults.WrongOffsets(1))])
            for status in (400, 403, 408, 416, 429, 500):
                server.fault(f"status/{status}", Always(faults.Status(status)))
            wanted: list[Any] = [
                *(f"ok/{number}" for number in range(20)),
                "empty",
                "missing",
                "cut",
                "cut once",
                {"path": "liar", "start": 2, "end": 4, "tags": 7},
                {"path": "ok/3", "start": 9},
                *(f"status/{status}" for status in (400, 403, 408, 416, 429, 500)),
            ]
            seen[client] = outcome(cf.get(wanted, raise_errors=False)), server.count()
    assert seen["threads"] == seen["inline"]
    assert seen["green"] == seen["inline"]
    assert seen["urllib3"] == seen["inline"]


def test_nothing_global_is_changed_behind_the_users_back(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    def globals_now() -> tuple[Any, ...]:
        return (
            socket.socket,
            threading.Thread,
            socket.getdefaulttimeout(),
            sys.getswitchinterval(),
            threading.excepthook,
            sys.excepthook,
            logging.getLogger().level,
            logging.getLogger("urllib3").level,
            [handler for handler in logging.getLogger().handlers if "cloudfiles" in repr(handler)],
            any(map(gevent.monkey.is_module_patched, ("socket", "threading", "time", "select"))),
        )

    before = globals_now()
    object_server.put("a", TEN)
    cf.get(["a"] * 10)
    assert globals_now() == before


# --- Weight ---------------------------------------------------------------------------------------------------------

HEAVY = ["requests", "tenacity", "tqdm", "gevent", "obstore", "aiohttp", "urllib3", "numpy", "fsspec", "certifi", "ssl"]


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded once it has run ``code``."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import cloudfiles_hypha") & set(HEAVY)


def test_what_only_some_users_need_is_loaded_only_when_it_is_needed() -> None:
    code = "from cloudfiles_hypha import ArtifactFiles as F\nf = F('mem://x')\nf.puts([('a', b'')])\nf.get(['a', 'a'])"
    assert not loaded_after(code) & {"requests", "tenacity", "tqdm", "obstore", "aiohttp", "urllib3"}


# --- Ranges that are fetched together --------------------------------------------------------------------------------


def test_close_ranges_of_one_object_take_one_request_and_each_gets_its_own_bytes(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    object_server.put("a", BIG)
    object_server.put("b", TEN)
    spans = [(2 * MIB, 2 * MIB + 5), (0, 10), (5, 20), (0, 10), (1000, 1001), (2 * MIB - 9, 2 * MIB)]
    items: list[Any] = [{"path": "a", "start": start, "end": end, "tags": end} for start, end in spans]
    results = cf.get([*items, "b", {"path": "b", "start": 3}, {"path": "a", "start": 7, "end": 7}])
    assert [result["content"] for result in results] == [*(BIG[a:b] for a, b in spans), TEN, TEN[3:], b""]
    assert [result["byte_range"] for result in results[:6]] == spans
    assert [result["tags"] for result in results[:6]] == [end for _, end in spans]
    assert [result["size"] for result in results[:6]] == [len(BIG)] * 6
    assert sorted(seen or "" for seen in object_server.ranges_seen("a")) == [
        "bytes=0-1000",
        f"bytes={2 * MIB - 9}-{2 * MIB + 4}",
    ]


def test_ranges_past_the_end_are_errors_of_their_own(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.put("a", TEN)
    spans = [(2, 5), (8, 30), (10, 12), (11, 12)]
    results = cf.get([{"path": "a", "start": a, "end": b} for a, b in spans], raise_errors=False)
    assert [result["content"] for result in results] == [TEN[2:5], TEN[8:], b"", None]
    assert isinstance(results[3]["error"], RangeNotSatisfiable)
    assert len(object_server.requests) == 1


def test_what_fails_for_all_is_an_error_of_each(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    with pytest.raises(BatchError) as failed:
        cf.get([{"path": "none", "start": a, "end": a + 2} for a in range(4)])
    assert [type(result["error"]) for result in failed.value.results] == [ObjectNotFound] * 4


def test_a_generator_is_not_looked_through_and_a_stream_of_a_list_is(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    object_server.put("a", BIG)
    items = [{"path": "a", "start": a, "end": a + 2, "tags": a} for a in range(5)]
    assert len(cf.get(item for item in items)) == 5
    assert len(object_server.requests) == 5
    streamed = sorted(cf.iget(items), key=lambda result: str(result["tags"]))
    assert [result["content"] for result in streamed] == [BIG[a : a + 2] for a in range(5)]
    assert len(object_server.requests) == 6
