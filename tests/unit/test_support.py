"""The scripted servers and proxies do what they say: a fault that is not made proves nothing."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import object_server as faults
from tests.support.certs import make_ca
from tests.support.fake_hypha import Answer, FakeHypha, OmitPaths, RemoteError, ShortPage, Status429, Timeout504
from tests.support.object_server import Always, ObjectServer, Status, md5_hex
from tests.support.proxies import DelayingProxy, HttpForwardProxy, ResettingProxy

BODY = bytes(range(256)) * 20


class Reply:
    """A whole answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Reply:
    """One request on a connection of its own; underscores in header names stand for dashes."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return Reply(connection.getresponse())
    finally:
        connection.close()


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with ObjectServer() as server:
        server.put("a.bin", BODY)
        yield server


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        yield hypha


def call(hypha: FakeHypha, method: str, token: str | None = "test-token", **kwargs: Any) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = f"{hypha.url}/public/services/artifact-manager/{method}"
    reply = ask(url, "POST", json.dumps(kwargs).encode(), **headers)
    return reply.status, json.loads(reply.body)


# --- ObjectServer: the right answers --------------------------------------------------------------------------------


def test_objects_are_served_whole_and_in_ranges(server: ObjectServer) -> None:
    whole = ask(server.url_for("a.bin"))
    assert (whole.status, whole.body, whole.headers["ETag"]) == (200, BODY, f'"{md5_hex(BODY)}"')
    part = ask(server.url_for("a.bin"), Range="bytes=10-19")
    assert (part.status, part.body) == (206, BODY[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(BODY)}"
    assert ask(server.url_for("a.bin"), Range="bytes=-7").body == BODY[-7:]
    assert ask(server.url_for("a.bin"), Range="bytes=5100-").body == BODY[5100:]
    head = ask(server.url_for("a.bin"), "HEAD")
    assert (head.body, head.headers["Content-Length"]) == (b"", str(len(BODY)))
    assert server.ranges_seen("a.bin") == [None, "bytes=10-19", "bytes=-7", "bytes=5100-"]
    assert server.bytes_sent == len(BODY) + 10 + 7 + 20
    assert (server.count(), server.count("HEAD"), server.count(path="a.bin")) == (5, 1, 5)


def test_ranges_that_cannot_be_met_are_416(server: ObjectServer) -> None:
    server.put("empty", b"")
    beyond = ask(server.url_for("a.bin"), Range="bytes=9999-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(BODY)}")
    for header in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        assert ask(server.url_for("empty"), Range=header).status == 416
    assert ask(server.url_for("empty")).body == b""


def test_conditions_and_absences(server: ObjectServer) -> None:
    assert ask(server.url_for("a.bin"), If_Match='"other"').status == 412
    assert ask(server.url_for("a.bin"), If_Match=f'"{md5_hex(BODY)}"').status == 200
    assert ask(server.url_for("b.bin")).status == 404
    assert ask(server.url_for("a.bin"), "DELETE").status == 204
    assert ask(server.url_for("a.bin")).status == 404


def test_uploads_are_checked_and_keep_their_headers(server: ObjectServer) -> None:
    digest = base64.b64encode(hashlib.md5(b"new").digest()).decode()
    refused = ask(server.url_for("n"), "PUT", b"nez", Content_MD5=digest)
    assert (refused.status, b"<Code>BadDigest</Code>" in refused.body, "n" in server.objects) == (400, True, False)
    stored = ask(server.url_for("n"), "PUT", b"new", Content_MD5=digest, Cache_Control="no-store", Content_Type="x/y")
    assert (stored.status, stored.headers["ETag"]) == (200, f'"{md5_hex(b"new")}"')
    got = ask(server.url_for("n"))
    assert (got.body, got.headers["Cache-Control"], got.headers.get_all("Content-Type")) == (
        b"new",
        "no-store",
        ["x/y"],
    )
    assert [(seen.body_length, seen.body_md5) for seen in server.requests[:2]] == [
        (3, md5_hex(b"nez")),
        (3, md5_hex(b"new")),
    ]


def test_expect_100_continue_is_honoured(server: ObjectServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(b"PUT /e HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"ok")
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    assert server.objects["e"].body == b"ok"


@pytest.mark.parametrize("name", ["a b", "a#b", "a?b", "100%25", "a+b&c", "ü/日本", "u\u0308", "..", "/x"])
def test_odd_names_are_decoded_once(server: ObjectServer, name: str) -> None:
    assert ask(f"{server.url}/{urllib.parse.quote(name)}", "PUT", b"1").status == 200
    assert name in server.objects


def test_authorization_is_refused_where_asked_for() -> None:
    with ObjectServer(reject_authorization=True) as server:
        server.put("a", b"a")
        assert ask(server.url_for("a"), Authorization="Bearer t").status == 400
        assert ask(server.url_for("a")).status == 200


def test_connections_are_kept_alive_and_counted(server: ObjectServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    for _ in range(3):
        connection.request("GET", "/a.bin")
        assert connection.getresponse().read() == BODY
    assert (server.connections, server.open_connections, server.peak_connections) == (1, 1, 1)
    connection.close()
    server.wait_for_connections(open_at_most=0)
    assert {seen.connection for seen in server.requests} == {1}


def test_tls_is_served_with_a_certificate_of_our_own(tmp_path: Path) -> None:
    good, stranger = make_ca(tmp_path), make_ca(tmp_path)
    with ObjectServer(tls=good.server_context) as server:
        server.put("a", b"a" * 100, faults=[faults.CloseAfter()])
        for ca, fine in ((good, True), (stranger, False)):
            context = ssl.create_default_context(cafile=str(ca.ca_pem))
            connection = http.client.HTTPSConnection("localhost", server.port, timeout=5, context=context)
            try:
                if fine:
                    connection.request("GET", "/a")
                    assert connection.getresponse().read() == b"a" * 100
                else:
                    with pytest.raises(ssl.SSLCertVerificationError):
                        connection.request("GET", "/a")
            finally:
                connection.close()
        assert server.url == f"https://localhost:{server.port}"


# --- ObjectServer: faults -------------------------------------------------------------------------------------------


def test_faults_are_used_up_in_order_and_the_nearest_queue_comes_first(server: ObjectServer) -> None:
    server.fault("a.bin", Status(503, {"Retry-After": "1"}, b"busy", times=2), Status(500))
    server.fault_all(Status(429))
    server.every(6, Status(418))
    replies = [ask(server.url_for("a.bin")) for _ in range(6)]
    assert [reply.status for reply in replies] == [503, 503, 500, 429, 200, 418]
    assert (replies[0].headers["Retry-After"], replies[0].body) == ("1", b"busy")


def test_permanent_faults_stay_and_methods_are_told_apart(server: ObjectServer) -> None:
    server.fault("a.bin", Always(Status(403)), method="PUT")
    assert [ask(server.url_for("a.bin"), "PUT", b"x").status for _ in range(3)] == [403, 403, 403]
    assert ask(server.url_for("a.bin")).body == BODY
    server.clear_faults()
    assert ask(server.url_for("a.bin"), "PUT", b"x").status == 200


@pytest.mark.parametrize("rst", [False, True])
def test_drop_sends_part_of_the_body(server: ObjectServer, rst: bool) -> None:
    server.fault("a.bin", faults.Drop(after_bytes=1000, rst=rst))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/a.bin")
    response = connection.getresponse()
    assert (response.headers["Content-Length"], response.read(1000)) == (str(len(BODY)), BODY[:1000])
    with pytest.raises(ConnectionResetError if rst else http.client.IncompleteRead):
        response.read()
    connection.close()


@pytest.mark.parametrize(
    ("fault", "error", "stored"),
    [
        (faults.NoAnswer(), http.client.RemoteDisconnected, False),
        (faults.NoAnswer(rst=True), ConnectionResetError, False),
        (faults.Hang(0.05), http.client.RemoteDisconnected, False),
        (faults.DropAfterStore(), http.client.RemoteDisconnected, True),
        (faults.DropRequest(after_bytes=2), ConnectionResetError, False),
    ],
)
def test_requests_that_get_no_answer(
    server: ObjectServer, fault: faults.Fault, error: type[Exception], stored: bool
) -> None:
    server.fault("p", fault)
    with pytest.raises(error):
        ask(server.url_for("p"), "PUT", b"12345")
    assert ("p" in server.objects) is stored
    (seen,) = server.requests
    assert (seen.body_length, seen.complete) == ((2, False) if isinstance(fault, faults.DropRequest) else (5, True))


def test_early_answers_do_not_wait_for_the_body(server: ObjectServer) -> None:
    server.fault("p", Status(403, early=True))
    assert ask(server.url_for("p"), "PUT", bytes(100_000)).status == 403
    assert server.requests[0].body_length == 0


def test_ranges_are_answered_wrongly_in_every_way(server: ObjectServer) -> None:
    size = len(BODY)
    expected: list[tuple[faults.Fault, int, str | None, bytes]] = [
        (faults.IgnoreRange(), 200, None, BODY),
        (faults.SliceAs200(), 200, None, BODY[10:20]),
        (faults.WrongOffsets(5), 206, f"bytes 15-24/{size}", BODY[15:25]),
        (faults.LyingOffsets(5), 206, f"bytes 15-24/{size}", BODY[10:20]),
        (faults.LyingBytes(5), 206, f"bytes 10-19/{size}", BODY[15:25]),
        (faults.NoContentRange(), 206, None, BODY[10:20]),
        (faults.ShortBody(3), 206, f"bytes 10-19/{size}", BODY[10:17]),
        (faults.Corrupt(0), 206, f"bytes 10-19/{size}", bytes([BODY[10] ^ 0xFF]) + BODY[11:20]),
    ]
    server.fault("a.bin", *(fault for fault, *_ in expected))
    for fault, *answer in expected:
        got = ask(server.url_for("a.bin"), Range="bytes=10-19")
        assert [got.status, got.headers["Content-Range"], got.body] == answer, fault
    assert server.ranges_seen("a.bin") == ["bytes=10-19"] * len(expected)


def test_bodies_sent_in_unusual_ways(server: ObjectServer) -> None:
    server.fault("a.bin", faults.Redirect("http://elsewhere/"), faults.Gzip(), faults.Chunked(), faults.CloseAfter())
    moved, zipped, chunked, closed = (ask(server.url_for("a.bin")) for _ in range(4))
    assert (moved.status, moved.headers["Location"]) == (302, "http://elsewhere/")
    assert (zipped.headers["Content-Encoding"], len(zipped.body) < len(BODY)) == ("gzip", True)
    assert (chunked.body, chunked.headers["Content-Length"]) == (BODY, None)
    assert closed.body == BODY
    server.fault("a.bin", faults.Chunked(cut=1500))
    with pytest.raises(http.client.IncompleteRead):
        ask(server.url_for("a.bin"))


def test_time_is_taken_where_it_is_scripted(server: ObjectServer) -> None:
    server.put("t", b"0123456789", faults=[faults.Delay(0.1), faults.Trickle(100)])
    for least in (0.1, 0.1):
        begun = time.monotonic()
        assert ask(server.url_for("t")).body == b"0123456789"
        assert time.monotonic() - begun >= least


def test_stopping_wakes_everything_that_hangs() -> None:
    before = threading.active_count()
    with ObjectServer() as server:
        server.fault_all(faults.Hang(), faults.Delay(60), faults.Trickle(1))
        server.put("a", b"a" * 100)
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(4)]
        for client in clients[:3]:  # the fourth says nothing
            client.sendall(b"GET /a HTTP/1.1\r\n\r\n")
        server.wait_for_requests(3)
    assert (threading.active_count(), server.open_connections) == (before, 0)
    for client in clients:
        client.close()


def test_a_hang_ends_when_the_client_gives_up(server: ObjectServer) -> None:
    server.fault("a.bin", faults.Hang())
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"GET /a.bin HTTP/1.1\r\n\r\n")
        server.wait_for_requests(1)
    server.wait_for_connections(open_at_most=0)


def test_a_paused_server_resets_and_refuses_then_comes_back(server: ObjectServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/a.bin")
    connection.getresponse().read()
    server.pause()
    with pytest.raises(ConnectionResetError):
        connection.sock.recv(1)
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        ask(server.url_for("a.bin"))
    server.resume()
    assert ask(server.url_for("a.bin")).body == BODY


# --- FakeHypha ------------------------------------------------------------------------------------------------------


def test_files_go_in_and_come_out(hypha: FakeHypha) -> None:
    status, made = call(hypha, "create", alias="d", manifest={"name": "d"}, stage=True)
    assert (status, made["id"], made["versions"]) == (200, "ws/d", [])
    _, urls = call(hypha, "put_file", artifact_id="ws/d", file_path=["x", "y/z w"])
    for path, url in urls.items():
        assert ask(url, "PUT", path.encode()).status == 200
    assert call(hypha, "get_status", artifact_id="ws/d")[1]["files"] == [{"path": "x"}, {"path": "y/z w"}]
    assert call(hypha, "commit", artifact_id="ws/d")[0] == 200
    assert call(hypha, "read", artifact_id="ws/d")[1]["versions"][0]["version"] == "v0"
    assert call(hypha, "get_status", artifact_id="ws/d")[1] == {"staged": False}
    _, listed = call(hypha, "list_files", artifact_id="ws/d")
    assert [(item["type"], item["name"]) for item in listed] == [("file", "x"), ("directory", "y")]
    _, urls = call(hypha, "get_file", artifact_id="ws/d", file_path=["y/z w"])
    assert ask(urls["y/z w"]).body == b"y/z w"
    assert hypha.files("ws/d") == {"x": b"x", "y/z w": b"y/z w"}
    assert (hypha.count("put_file"), hypha.calls[1].kwargs["file_path"]) == (1, ["x", "y/z w"])


@pytest.mark.parametrize(
    ("method", "kwargs", "status", "said"),
    [
        ("read", {"artifact_id": "ws/no"}, 404, "KeyError: \"Artifact with ID 'ws/no' does not exist.\""),
        (
            "get_file",
            {"file_path": ["f", "p", "q"]},
            404,
            "FileNotFoundError: File 'p' does not exist in the artifact.",
        ),
        ("get_file", {"file_path": "f", "version": "v7"}, 400, "ValueError: Artifact version 'v7' does not exist."),
        ("put_file", {"file_path": "f"}, 400, "AssertionError: Artifact must be in staging mode."),
        ("commit", {}, 400, "AssertionError: Artifact must be in staging mode to commit."),
        ("put_file_complete_multipart", {"upload_id": "u", "parts": []}, 404, "Upload session expired or not found"),
        ("create", {"manifest": {"name": "a"}}, 500, "FileExistsError: "),
        ("read", {"nonsense": 1}, 400, "TypeError: "),
    ],
)
def test_hypha_says_no_as_the_real_one_does(
    hypha: FakeHypha, method: str, kwargs: dict[str, Any], status: int, said: str
) -> None:
    hypha.add_artifact("ws/a", {"f": b"f"})
    got, answer = call(hypha, method, **{"artifact_id": "ws/a", **kwargs})
    assert (got, answer["success"], said in answer["detail"]) == (status, False, True)
    assert answer["detail"].startswith("RemoteException: ")


def test_a_staged_path_without_an_object_fails_the_commit(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/a", staged="edit_version")
    call(hypha, "put_file", artifact_id="ws/a", file_path="f")
    status, answer = call(hypha, "commit", artifact_id="ws/a")
    assert (status, "File 'f' does not exist" in answer["detail"]) == (404, True)


def test_removal_markers_outlive_an_upload_and_overwritten_files_vanish_at_once(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/a", {"f": b"f", "g": b"g"}, staged="edit_version")
    call(hypha, "remove_file", artifact_id="ws/a", file_path="f")
    call(hypha, "put_file", artifact_id="ws/a", file_path=["f", "g"])
    assert call(hypha, "get_status", artifact_id="ws/a")[1]["files"] == [{"path": "f", "_remove": True}, {"path": "g"}]
    call(hypha, "remove_file", artifact_id="ws/a", file_path="g")
    assert hypha.files("ws/a") == {"f": b"f"}
    call(hypha, "commit", artifact_id="ws/a")
    assert hypha.files("ws/a") == {}


def test_discard_restores_and_discard_changes_does_not(hypha: FakeHypha) -> None:
    for method, left in (("discard", b"old"), ("discard_changes", b"new")):
        hypha.add_artifact("ws/a", {"f": b"old"}, staged="edit_version")
        _, url = call(hypha, "put_file", artifact_id="ws/a", file_path="f")
        assert ask(url, "PUT", b"new").status == 200
        call(hypha, method, artifact_id="ws/a")
        assert hypha.files("ws/a") == {"f": left}


def test_a_new_version_holds_only_what_is_put_into_it(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/a", {"f": b"old"})
    call(hypha, "edit", artifact_id="ws/a", stage=True, version="new")
    _, url = call(hypha, "put_file", artifact_id="ws/a", file_path="g")
    ask(url, "PUT", b"new")
    call(hypha, "commit", artifact_id="ws/a", version="v1.0")
    assert (hypha.files("ws/a"), hypha.files("ws/a", "v0")) == ({"g": b"new"}, {"f": b"old"})
    assert [entry["version"] for entry in hypha.artifacts["ws/a"].versions] == ["v0", "v1.0"]


def test_multipart_uploads_are_put_together(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/a", staged="edit_version")
    _, begun = call(hypha, "put_file_start_multipart", artifact_id="ws/a", file_path="f", part_count=2)
    parts = [
        {"part_number": part["part_number"], "etag": ask(part["url"], "PUT", body).headers["ETag"]}
        for part, body in zip(begun["parts"], (b"one", b"two"), strict=True)
    ]
    end: dict[str, Any] = {"artifact_id": "ws/a", "upload_id": begun["upload_id"]}
    assert call(hypha, "put_file_complete_multipart", parts=[{**parts[0], "etag": "no"}], **end)[0] == 500
    assert call(hypha, "put_file_complete_multipart", parts=parts, **end)[0] == 200
    stored = hypha.store.objects[hypha.key("ws/a", "f")]
    digests = hashlib.md5(b"one").digest() + hashlib.md5(b"two").digest()
    assert (stored.body, stored.etag) == (b"onetwo", hashlib.md5(digests).hexdigest() + "-2")


def test_urls_are_good_for_one_method_until_they_expire(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/a", {"f": b"f"})
    _, url = call(hypha, "get_file", artifact_id="ws/a", file_path="f")
    assert ask(url, Range="bytes=0-0").status == 206
    assert [ask(url, "HEAD").status, ask(url, "PUT", b"x").status, ask(url.split("?")[0]).status] == [403, 403, 403]
    assert ask(url, Authorization="Bearer t").status == 400
    assert ask(url, x_amz_acl="private").status == 403
    hypha.expire_urls()
    assert ask(url).status == 403
    assert ask(call(hypha, "get_file", artifact_id="ws/a", file_path="f")[1]).status == 200
    hypha.url_lifetime = 0
    assert ask(call(hypha, "get_file", artifact_id="ws/a", file_path="f")[1]).status == 403


def test_tokens_are_checked(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/open", public=True)
    hypha.add_artifact("ws/shut")
    assert call(hypha, "read", token=None, artifact_id="ws/open")[0] == 200
    assert call(hypha, "read", token=None, artifact_id="ws/shut")[0] == 403
    assert call(hypha, "edit", token=None, artifact_id="ws/open", stage=True)[0] == 403
    assert call(hypha, "read", token="wrong", artifact_id="ws/open")[0] == 401


def test_hypha_fails_as_scripted(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/a", dict.fromkeys("abc", b""), staged="edit_version")
    put: dict[str, Any] = {"artifact_id": "ws/a", "file_path": ["n"]}
    hypha.fault("put_file", Timeout504(after_doing=False), Timeout504(), Status429(3), RemoteError("OSError", "ouch"))
    assert call(hypha, "put_file", **put)[0] == 504
    assert call(hypha, "get_status", artifact_id="ws/a")[1]["files"] == []
    assert call(hypha, "put_file", **put)[0] == 504
    assert call(hypha, "get_status", artifact_id="ws/a")[1]["files"] == [{"path": "n"}]
    assert [call(hypha, "put_file", **put)[0] for _ in range(3)] == [429, 500, 200]
    hypha.fault("get_file", OmitPaths({"b"}), Answer([1]))
    get: dict[str, Any] = {"artifact_id": "ws/a", "file_path": ["a", "b"]}
    assert [list(call(hypha, "get_file", **get)[1]) for _ in range(3)] == [["a"], [1], ["a", "b"]]
    hypha.fault("list_files", ShortPage(2))
    assert len(call(hypha, "list_files", artifact_id="ws/a")[1]) == 2
    hypha.fault_file("ws/a", "a", Status(503))
    url = call(hypha, "get_file", artifact_id="ws/a", file_path="a")[1]
    assert [ask(url).status, ask(url).status] == [503, 200]


def test_slow_methods_time_out_by_size(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/a", staged="edit_version")
    hypha.slow("put_file", per_path=0.02, timeout=0.05)
    sizes = [call(hypha, "put_file", artifact_id="ws/a", file_path=["p"] * size)[0] for size in (1, 5)]
    assert sizes == [200, 504]


def test_listings_are_cut_into_pages(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/a", {f"{number:04}": b"" for number in range(1200)}, staged="edit_version")
    call(hypha, "remove_file", artifact_id="ws/a", file_path="0001")
    pages = [
        call(hypha, "list_files", artifact_id="ws/a", stage=True, limit=500, offset=offset)[1]
        for offset in (0, 500, 1000, 1500)
    ]
    assert [len(page) for page in pages] == [499, 500, 200, 0]


# --- Proxies --------------------------------------------------------------------------------------------------------


def test_the_resetting_proxy_resets_its_share_and_always_the_same(server: ObjectServer) -> None:
    outcomes = []
    for _ in range(2):
        with ResettingProxy("127.0.0.1", server.port, reset_fraction=0.3, cut_after=(0, 4000)) as proxy:
            outcome = []
            for _ in range(40):
                try:
                    outcome.append(ask(f"{proxy.url}/a.bin").body == BODY)
                except (OSError, http.client.HTTPException):
                    outcome.append(False)
            outcomes.append(outcome)
            assert proxy.resets == outcome.count(False)
    assert outcomes[0] == outcomes[1]
    assert 4 <= outcomes[0].count(False) <= 20


def test_the_resetting_proxy_tells_requests_on_one_connection_apart(server: ObjectServer) -> None:
    with ResettingProxy("127.0.0.1", server.port, reset_fraction=0.2, seed=1) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        served = 0
        with pytest.raises((OSError, http.client.HTTPException)):  # noqa: PT012 - it is a question of when
            while True:
                connection.request("GET", "/a.bin")
                assert connection.getresponse().read() == BODY
                served += 1
        connection.close()
        assert (proxy.connections, proxy.requests, proxy.resets) == (1, served + 1, 1)
        assert served > 0


def test_the_delaying_proxy_delays_every_answer_at_once(server: ObjectServer) -> None:
    with DelayingProxy("127.0.0.1", server.port, delay=0.2) as proxy:
        threads = [threading.Thread(target=ask, args=(f"{proxy.url}/a.bin",)) for _ in range(20)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0.2 <= time.monotonic() - begun < 20 * 0.2  # which it takes one after the other
    assert server.count() == 20


def test_the_forward_proxy_passes_on_and_remembers(server: ObjectServer) -> None:
    host = f"127.0.0.1:{server.port}"
    with HttpForwardProxy() as proxy, HttpForwardProxy(refuse=407) as closed:
        for _ in range(2):
            through = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
            through.request("GET", server.url_for("a.bin"))
            assert through.getresponse().read() == BODY
            through.close()
        tunnel = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        tunnel.set_tunnel("127.0.0.1", server.port)
        tunnel.request("PUT", "/p", b"tunnelled")
        assert tunnel.getresponse().status == 200
        tunnel.close()
        assert proxy.asked == [f"GET {server.url_for('a.bin')}"] * 2 + [f"CONNECT {host}"]
        assert proxy.hosts == [host] * 3
        assert ask(f"{closed.url}/").status == 407
