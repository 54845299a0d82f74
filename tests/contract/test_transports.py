"""What every transport promises: one request out, the whole answer back or an error that says what went wrong."""

from __future__ import annotations

import io
import logging
import socket
import threading
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest

from cloudfiles_hypha import (
    Cancelled,
    CertificateError,
    ConnectionFailed,
    InvalidRequest,
    Timeouts,
    TransferError,
    TransferTimeout,
    TruncatedBody,
)
from cloudfiles_hypha.content.sources import as_body
from cloudfiles_hypha.content.spool import Spool
from cloudfiles_hypha.models import Body
from cloudfiles_hypha.transports import NAMES, HttpRequest, HttpResponse, Transport, open_transport
from cloudfiles_hypha.transports.base import Upload
from cloudfiles_hypha.transports.curl.gevent import GreenTransport
from cloudfiles_hypha.transports.curl.transport import CurlTransport
from cloudfiles_hypha.transports.requests import RequestsTransport
from cloudfiles_hypha.transports.urllib3 import Urllib3Transport
from tests.support import object_server as faults
from tests.support.certs import make_ca
from tests.support.object_server import ObjectServer, md5_hex
from tests.support.proxies import HttpForwardProxy
from tests.support.transports import KINDS

BODY = bytes(range(256)) * 400  # 100 KiB: longer than any one read from a socket is sure to give
BIG = bytes(range(256)) * 32 * 1024  # 8 MiB: more than the kernel's buffers hold
SECRET = "X-Amz-Signature=deadbeef5ec2e7"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(kind: str) -> Iterator[Callable[..., Transport]]:
    """Makes transports of the kind under test, and closes them in the end."""

    def build(*, connect: float = 5.0, idle: float = 5.0) -> Transport:
        transport = KINDS[kind](Timeouts(connect, idle))
        cleanup.callback(transport.close)
        return transport

    with ExitStack() as cleanup:
        yield build


@pytest.fixture
def transport(make: Callable[..., Transport]) -> Transport:
    return make()


def test_every_kind_there_is_passes_this_suite() -> None:
    assert [type(open_transport(name, Timeouts(), green=False)) for name in NAMES] == [
        CurlTransport,
        CurlTransport,
        Urllib3Transport,
        RequestsTransport,
    ]
    assert type(open_transport("curl", Timeouts(), green=True)) is GreenTransport


def get(transport: Transport, url: str, *headers: tuple[str, str], follow: bool = False) -> HttpResponse:
    return transport.send(HttpRequest("GET", url, headers, follow=follow))


def put(transport: Transport, url: str, body: Any, *headers: tuple[str, str]) -> HttpResponse:
    return transport.send(HttpRequest("PUT", url, headers, body))


# --- Requests and answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100 * 1024, 8 * 1024 * 1024])
def test_get_gives_status_headers_and_the_whole_body(
    transport: Transport, object_server: ObjectServer, size: int
) -> None:
    object_server.put("a", BIG[:size], headers={"Content-Type": "text/x-odd"})
    response = get(transport, object_server.url_for("a"))
    assert (response.status, response.body) == (200, BIG[:size])
    assert response.headers["content-type"] == "text/x-odd"
    assert response.headers["content-length"] == str(size)
    assert object_server.bytes_sent == size


def test_nothing_of_a_request_is_left_for_the_next(transport: Transport, object_server: ObjectServer) -> None:
    url = object_server.url_for("a")
    large, odd, typed = b"y" * 100_000, ("X-Odd", "1"), ("Content-Type", "text/plain")
    sent: list[tuple[str, bytes | None, tuple[tuple[str, str], ...]]] = [
        ("PUT", b"one", (odd,)),
        ("PUT", b"three", (typed,)),
        ("PUT", b"", (odd, typed)),
        ("HEAD", None, (odd,)),
        ("HEAD", None, ()),
        ("PUT", large, (odd,)),
        ("PUT", b"x", ()),
        ("GET", None, ()),
        ("GET", None, (odd,)),
        ("DELETE", None, (odd,)),
        ("DELETE", None, ()),
        ("PUT", b"last", (odd,)),
        ("GET", None, ()),
    ]
    for method, body, headers in sent:
        response = transport.send(HttpRequest(method, url, headers, body))
        assert (method, response.status) in [("PUT", 200), ("HEAD", 200), ("GET", 200), ("DELETE", 204)]
    assert response.body == b"last"
    assert [
        (seen.method, seen.body_md5, seen.headers.get("x-odd"), seen.headers.get("content-type"))
        for seen in object_server.requests
    ] == [
        (method, md5_hex(body) if body else "", dict(headers).get("X-Odd"), dict(headers).get("Content-Type"))
        for method, body, headers in sent
    ]


def test_headers_are_sent_as_given_and_once(transport: Transport, object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    response = get(transport, object_server.url_for("a"), ("Range", "bytes=2-4"), ("X-Odd", "a b"))
    assert (response.status, response.body) == (206, BODY[2:5])
    assert response.headers["content-range"] == f"bytes 2-4/{len(BODY)}"
    (seen,) = object_server.requests
    assert (seen.headers["range"], seen.headers["x-odd"]) == ("bytes=2-4", "a b")
    assert seen.headers["user-agent"].startswith("cloudfiles-hypha")


def test_one_request_leaves_nothing_in_the_next(transport: Transport, object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    url = object_server.url_for("a")
    put(transport, object_server.url_for("b"), b"12345", ("Content-Type", "text/plain"), ("X-Odd", "1"))
    transport.send(HttpRequest("HEAD", url, (("X-Odd", "1"),)))
    get(transport, url, ("Range", "bytes=0-0"))
    assert get(transport, url, follow=True).body == BODY
    seen = object_server.requests[-1]
    assert (seen.method, seen.range, seen.body_length) == ("GET", None, 0)
    assert not {"x-odd", "content-type", "content-length", "transfer-encoding"} & set(seen.headers)


def test_it_is_known_whether_the_length_of_a_body_was_announced(
    transport: Transport, object_server: ObjectServer
) -> None:
    object_server.put("a", BODY, faults=[faults.Unmeasured(), faults.Unmeasured(cut=5000), faults.Chunked()])
    answers = [get(transport, object_server.url_for("a")) for _ in range(4)]
    assert [(answer.measured, len(answer.body)) for answer in answers] == [
        (False, len(BODY)),
        (False, 5000),
        (True, len(BODY)),
        (True, len(BODY)),
    ]


def test_a_user_in_a_url_is_sent_as_basic_authorization(transport: Transport, object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    url = f"http://us%40er:pa%3Ass@127.0.0.1:{object_server.port}/a"
    assert get(transport, url).body == BODY
    assert get(transport, url, ("Authorization", "Bearer x")).body == BODY
    sent = [seen.headers.get("authorization") for seen in object_server.requests]
    assert sent == ["Basic dXNAZXI6cGE6c3M=", "Bearer x"]


def test_a_redirect_within_a_host_keeps_the_user_of_the_url_and_to_another_drops_it(
    transport: Transport, object_server: ObjectServer
) -> None:
    with ObjectServer(reject_authorization=True) as other:
        other.put("c", BODY)
        object_server.fault("a", faults.Redirect("/b"))
        object_server.fault("b", faults.Redirect(other.url_for("c")))
        url = f"http://user:password@127.0.0.1:{object_server.port}/a"
        assert get(transport, url, follow=True).body == BODY
        assert [seen.headers.get("authorization", "")[:5] for seen in object_server.requests] == ["Basic"] * 2
        assert "authorization" not in other.requests[0].headers


def test_head_has_headers_and_no_body(transport: Transport, object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    response = transport.send(HttpRequest("HEAD", object_server.url_for("a")))
    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-length"] == str(len(BODY))


@pytest.mark.parametrize("status", [204, 301, 400, 401, 403, 404, 408, 416, 429, 500, 503, 504])
def test_a_status_is_an_answer_and_not_an_error(transport: Transport, object_server: ObjectServer, status: int) -> None:
    body = b"" if status == 204 else b"because"
    object_server.fault("a", faults.Status(status, {"Retry-After": "7"}, body))
    response = get(transport, object_server.url_for("a"))
    assert (response.status, response.body, response.headers["retry-after"]) == (status, body, "7")
    assert object_server.count() == 1


def test_a_chunked_body_is_joined(transport: Transport, object_server: ObjectServer) -> None:
    object_server.put("a", BODY, faults=[faults.Chunked()])
    assert get(transport, object_server.url_for("a")).body == BODY


def test_a_body_that_was_sent_compressed_is_given_as_it_was_sent(
    transport: Transport, object_server: ObjectServer
) -> None:
    object_server.put("a", BODY, faults=[faults.Gzip()])
    response = get(transport, object_server.url_for("a"))
    assert response.headers["content-encoding"] == "gzip"
    assert response.body[:2] == b"\x1f\x8b"
    assert "accept-encoding" not in object_server.requests[0].headers or (
        object_server.requests[0].headers["accept-encoding"] == "identity"
    )


def test_percent_encoding_in_a_url_is_sent_as_it_is(transport: Transport, object_server: ObjectServer) -> None:
    object_server.put("a b/ü%2F#?+&", BODY)
    url = f"{object_server.url}/a%20b/%C3%BC%252F%23%3F+&?x=%2F+%20&y=~"
    assert get(transport, url).body == BODY
    assert object_server.requests[0].query == "x=%2F+%20&y=~"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/ü", "http://127.0.0.1:1/a b", "gopher://127.0.0.1/", "no-url"])
def test_what_is_no_url_is_refused_for_good(transport: Transport, url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        get(transport, url)
    assert not caught.value.retryable


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "ü", "🦆"], ids=ascii)
def test_a_header_that_could_be_read_as_two_is_refused(
    transport: Transport, object_server: ObjectServer, value: str
) -> None:
    for header in (("X-Odd", value), (value, "1")):
        with pytest.raises(InvalidRequest):
            get(transport, object_server.url_for("a"), header)
        with pytest.raises(InvalidRequest):
            put(transport, object_server.url_for("a"), BODY, header)
    assert object_server.count() == 0


def test_connections_are_kept_and_used_again(transport: Transport, object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    for _ in range(5):
        get(transport, object_server.url_for("a"))
        put(transport, object_server.url_for("b"), BODY)
        transport.send(HttpRequest("HEAD", object_server.url_for("a")))
        get(transport, object_server.url_for("missing"))
    assert object_server.count() == 20
    assert object_server.connections == 1


def test_close_lets_go_of_connections_and_the_transport_works_on(
    transport: Transport, object_server: ObjectServer
) -> None:
    object_server.put("a", BODY)
    for round_number in (1, 2):
        assert get(transport, object_server.url_for("a")).body == BODY
        transport.close()
        object_server.wait_for_connections(0)
        assert object_server.connections == round_number


def test_an_idle_transport_holds_no_bodies(transport: Transport, object_server: ObjectServer) -> None:
    object_server.put("a", BIG)
    get(transport, object_server.url_for("a"), ("Range", "bytes=0-0"))  # what is loaded once is loaded now
    put(transport, object_server.url_for("b"), b"1")
    object_server.fault("c", faults.Status(400))
    tracemalloc.start()
    try:
        assert len(get(transport, object_server.url_for("a")).body) == len(BIG)
        after_get = held()
        assert put(transport, object_server.url_for("c"), memoryview(BIG)).status == 400
        after_put = held()
    finally:
        tracemalloc.stop()
    assert after_get < len(BIG) // 4
    assert after_put < len(BIG) // 4


def held() -> int:
    """Bytes allocated since tracing began, but for what the server of the test keeps."""
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, faults.__file__)])
    return sum(trace.size for trace in snapshot.traces)


def test_threads_share_a_transport(kind: str, transport: Transport, object_server: ObjectServer) -> None:
    if kind == "green":
        pytest.skip("greenlets share one; threads have a hub each")
    for number in range(8):
        object_server.put(str(number), BODY[number:])
    got: dict[int, bool] = {}

    def work(number: int) -> None:
        url = object_server.url_for(str(number))
        got[number] = all(get(transport, url).body == BODY[number:] for _ in range(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == dict.fromkeys(range(8), True)
    assert object_server.count() == 160
    assert object_server.connections <= 8


# --- Bodies ---------------------------------------------------------------------------------------------------------


def bodies(tmp_path: Path, content: bytes) -> dict[str, Any]:
    """The same content in every form that can be uploaded."""
    path = tmp_path / "content"
    path.write_bytes(content)
    at_an_offset = io.BytesIO(b"skipped" + content)
    at_an_offset.seek(7)
    copied = Spool()
    copied.write(content)
    return {
        "bytes": content,
        "memoryview": memoryview(bytearray(content)),
        "path": as_body(path, "a"),
        "file at an offset": as_body(at_an_offset, "a"),
        "copy": copied,
    }


FORMS = ("bytes", "memoryview", "path", "file at an offset", "copy")


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024 + 1])
@pytest.mark.parametrize("form", FORMS)
def test_put_sends_every_byte_with_its_length(
    transport: Transport, object_server: ObjectServer, tmp_path: Path, form: str, size: int
) -> None:
    content = BIG[:size]
    response = put(transport, object_server.url_for("a"), bodies(tmp_path, content)[form])
    assert response.status == 200
    assert object_server.objects["a"].body == content
    (seen,) = object_server.requests
    assert seen.headers["content-length"] == str(size)
    assert not {"transfer-encoding", "expect", "content-type"} & set(seen.headers)


@pytest.mark.parametrize("form", FORMS)
def test_a_put_that_is_sent_again_begins_at_the_first_byte(
    transport: Transport, object_server: ObjectServer, tmp_path: Path, form: str
) -> None:
    content = BIG[: 2 * 1024 * 1024 + 1]
    body = bodies(tmp_path, content)[form]
    object_server.fault("a", faults.DropRequest(after_bytes=100_000))
    with pytest.raises(ConnectionFailed) as caught:
        put(transport, object_server.url_for("a"), body)
    assert caught.value.retryable
    assert "a" not in object_server.objects
    put(transport, object_server.url_for("a"), body)
    assert object_server.objects["a"].body == content
    assert [seen.body_md5 for seen in object_server.requests][1:] == [md5_hex(content)]


@pytest.mark.parametrize("form", FORMS)
def test_a_put_on_a_connection_that_had_gone_stale_stores_the_whole_body_or_fails(
    transport: Transport, object_server: ObjectServer, tmp_path: Path, form: str
) -> None:
    body = bodies(tmp_path, BODY)[form]
    put(transport, object_server.url_for("a"), b"opens the connection")
    object_server.fault("a", faults.NoAnswer(rst=True))
    try:
        put(transport, object_server.url_for("a"), body)
    except ConnectionFailed:
        put(transport, object_server.url_for("a"), body)
    assert object_server.objects["a"].body == BODY
    assert {seen.body_length for seen in object_server.requests[1:]} == {len(BODY)}


def test_a_callers_open_file_stays_open_after_a_put(transport: Transport, object_server: ObjectServer) -> None:
    with io.BytesIO(BODY) as file:
        put(transport, object_server.url_for("a"), as_body(file, "a"))
        assert not file.closed
        assert file.getvalue() == BODY


def test_a_file_that_grew_is_sent_as_long_as_it_was(
    transport: Transport, object_server: ObjectServer, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_bytes(BODY)
    body = as_body(path, "a")
    with path.open("ab") as file:
        file.write(b"DELETE /b HTTP/1.1\r\n\r\n")
    put(transport, object_server.url_for("a"), body)
    object_server.put("b", b"still there")
    assert get(transport, object_server.url_for("b")).body == b"still there"
    assert object_server.objects["a"].body == BODY
    assert object_server.count() == 2


def test_a_file_that_shrank_is_an_error_and_not_half_a_file(
    transport: Transport, object_server: ObjectServer, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_bytes(BODY)
    body = as_body(path, "a")
    path.write_bytes(BODY[:1000])
    with pytest.raises(TransferError, match="shorter"):
        put(transport, object_server.url_for("a"), body)
    assert "a" not in object_server.objects


def test_an_upload_gives_its_announced_bytes_again_after_each_rewind() -> None:
    upload = Upload(as_body(io.BytesIO(b"skipped" + BODY), "a"))  # type: ignore[arg-type]
    whole = b"skipped" + BODY
    assert upload.read(10) == whole[:10]
    for offset in (0, 5, len(whole) - 1, len(whole), 0):
        upload.rewind(offset)
        assert b"".join(iter(lambda: upload.read(30_000), b"")) == whole[offset:]
    upload.close()


class Broken(Body):
    """A body on a disk that fails."""

    size = len(BODY)

    def open(self) -> Any:
        return self

    def read(self, size: int = -1) -> bytes:
        raise OSError(5, "Input/output error")

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def close(self) -> None:
        pass


def test_a_body_that_cannot_be_read_is_its_own_error(
    transport: Transport, object_server: ObjectServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match="Input/output error") as caught:
        put(transport, object_server.url_for("a"), Broken())
    assert not isinstance(caught.value, TransferError)
    assert "a" not in object_server.objects
    assert capfd.readouterr() == ("", "")


def test_a_body_that_cannot_be_opened_is_its_own_error(
    transport: Transport, object_server: ObjectServer, tmp_path: Path
) -> None:
    path = tmp_path / "gone"
    path.write_bytes(BODY)
    body = as_body(path, "a")
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        put(transport, object_server.url_for("a"), body)
    assert not isinstance(caught.value, TransferError)


# --- What goes wrong on the wire ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.Drop(after_bytes=0),
        faults.Drop(after_bytes=1),
        faults.Drop(after_bytes=len(BODY) - 1),
        faults.Chunked(cut=5000),
    ],
    ids=str,
)
def test_a_body_cut_short_is_an_error(transport: Transport, object_server: ObjectServer, fault: faults.Fault) -> None:
    object_server.put("a", BODY, faults=[fault])
    with pytest.raises(TruncatedBody) as caught:
        get(transport, object_server.url_for("a"))
    assert caught.value.retryable
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.connected
    assert get(transport, object_server.url_for("a")).body == BODY  # and nothing of the half is in the next


@pytest.mark.parametrize(
    "fault", [faults.Drop(after_bytes=5000, rst=True), faults.NoAnswer(), faults.NoAnswer(rst=True)]
)
def test_a_broken_connection_is_an_error_that_may_pass(
    transport: Transport, object_server: ObjectServer, fault: faults.Fault
) -> None:
    object_server.put("a", BODY, faults=[fault])
    with pytest.raises(ConnectionFailed) as caught:
        get(transport, object_server.url_for("a"))
    assert caught.value.retryable
    assert caught.value.connected
    assert "127.0.0.1" in str(caught.value)


def test_an_unreachable_server_is_an_error_that_may_pass(transport: Transport) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        with pytest.raises(ConnectionFailed) as caught:
            get(transport, f"http://127.0.0.1:{taken.getsockname()[1]}/a?{SECRET}")
    assert caught.value.retryable
    assert caught.value.status is None
    assert not caught.value.connected


def test_a_host_that_does_not_exist_is_an_error_that_may_pass(transport: Transport) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        get(transport, "http://does-not-exist.invalid/a")
    assert "does-not-exist.invalid" in str(caught.value)
    assert not caught.value.connected


def test_what_is_no_http_is_a_failed_connection(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"220 mail.example ESMTP\r\n" * 3)

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(ConnectionFailed):
            get(transport, f"http://127.0.0.1:{listener.getsockname()[1]}/a")
        thread.join()


@pytest.mark.parametrize(
    "fault", [faults.Hang(), faults.Trickle(bytes_per_second=20)], ids=["never answers", "trickles"]
)
def test_a_silent_server_is_a_timeout(
    make: Callable[..., Transport], object_server: ObjectServer, fault: faults.Fault
) -> None:
    object_server.put("a", BODY, faults=[fault])
    with pytest.raises(TransferTimeout, match="timed out") as caught:
        get(make(idle=1), object_server.url_for("a"))
    assert caught.value.retryable
    assert isinstance(caught.value, TimeoutError)
    object_server.wait_for_connections(0)


def test_a_server_that_stops_taking_an_upload_is_a_timeout(kind: str, make: Callable[..., Transport]) -> None:
    if kind not in ("urllib3", "requests"):
        pytest.skip("libcurl counts what the kernel buffers as progress, and times out half a minute later")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers: list[socket.socket] = []
        thread = threading.Thread(target=lambda: peers.append(listener.accept()[0]))
        thread.start()
        with pytest.raises(TransferTimeout):
            put(make(connect=1, idle=1), f"http://127.0.0.1:{listener.getsockname()[1]}/a", BIG * 4)
        thread.join()
        peers[0].close()


def test_a_request_may_ask_for_more_patience(
    kind: str, make: Callable[..., Transport], object_server: ObjectServer
) -> None:
    if kind in ("green", "carried"):
        pytest.skip("takes its time, and is curl's business")
    object_server.put("a", BODY, faults=[faults.Delay(1.5)])
    response = make(idle=1).send(HttpRequest("GET", object_server.url_for("a"), idle=20))
    assert response.body == BODY


# --- Redirects ------------------------------------------------------------------------------------------------------


def test_without_follow_a_redirect_is_the_answer(transport: Transport, object_server: ObjectServer) -> None:
    with ObjectServer() as other:
        other.put("b", BODY)
        object_server.fault("a", faults.Redirect(other.url_for("b")))
        response = get(transport, object_server.url_for("a"), ("Authorization", "Bearer s3cret"))
        assert response.status == 302
        assert response.headers["location"] == other.url_for("b")
        assert (object_server.count(), other.count(), other.connections) == (1, 0, 0)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_with_follow_the_redirect_is_followed(transport: Transport, object_server: ObjectServer, code: int) -> None:
    with ObjectServer() as other:
        other.put("b", BODY)
        object_server.fault("a", faults.Status(code, {"Location": other.url_for("b"), "X-Odd": "1"}, b"moved"))
        response = get(transport, object_server.url_for("a"), ("Range", "bytes=1-9"), follow=True)
        assert (response.status, response.body) == (206, BODY[1:10])
        assert "x-odd" not in response.headers  # of the last answer only
        assert other.ranges_seen("b") == ["bytes=1-9"]


def test_authorization_never_reaches_another_host_even_when_following(
    transport: Transport, object_server: ObjectServer
) -> None:
    with ObjectServer(reject_authorization=True) as other:
        other.put("b", BODY)
        object_server.fault("a", faults.Redirect(other.url_for("b")))
        response = get(transport, object_server.url_for("a"), ("Authorization", "Bearer s3cret"), follow=True)
        assert (response.status, response.body) == (200, BODY)
        assert "authorization" not in other.requests[0].headers
    assert object_server.requests[0].headers["authorization"] == "Bearer s3cret"


def test_redirects_in_a_circle_end_in_an_error(transport: Transport, object_server: ObjectServer) -> None:
    object_server.fault("a", faults.Always(faults.Redirect("/a")))
    with pytest.raises(InvalidRequest):
        get(transport, object_server.url_for("a"), follow=True)
    assert object_server.count() <= 10


def test_a_redirect_to_another_kind_of_url_is_refused(
    transport: Transport, object_server: ObjectServer, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("local")
    object_server.fault("a", faults.Redirect(f"file://{tmp_path}/secret"))
    with pytest.raises(InvalidRequest):
        get(transport, object_server.url_for("a"), follow=True)


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_an_authority_from_the_environment_is_trusted(
    make: Callable[..., Transport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    authority = make_ca(tmp_path)
    with ObjectServer(tls=authority.server_context) as server:
        server.put("a", BODY)
        with pytest.raises(CertificateError):
            get(make(), server.url_for("a"))
        monkeypatch.setenv(variable, str(authority.ca_pem))
        assert get(make(), server.url_for("a")).body == BODY
        assert server.count() == 1


def test_a_certificate_of_a_stranger_is_refused_by_default(transport: Transport, tmp_path: Path) -> None:
    with ObjectServer(tls=make_ca(tmp_path).server_context) as server:
        server.put("a", BODY)
        with pytest.raises(CertificateError) as caught:
            get(transport, server.url_for("a"), ("Authorization", "Bearer s3cret"))
        assert not caught.value.retryable
        assert server.count() == 0


def test_a_certificate_for_another_name_is_refused(
    make: Callable[..., Transport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_ca(tmp_path, names=("elsewhere.example",))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_pem))
    with ObjectServer(tls=authority.server_context) as server:
        server.put("a", BODY)
        with pytest.raises(CertificateError) as caught:
            get(make(), server.url_for("a"))
        assert not caught.value.retryable
        assert server.count() == 0


def test_a_body_cut_short_over_tls_is_an_error(
    make: Callable[..., Transport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_ca(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_pem))
    with ObjectServer(tls=authority.server_context) as server:
        server.put("a", BODY, faults=[faults.Drop(after_bytes=5000)])
        with pytest.raises(ConnectionFailed):  # some TLS libraries do not tell this from a broken connection
            get(make(), server.url_for("a"))


# --- Proxies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_environments_proxy_is_used(
    transport: Transport, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    object_server.put("a", BODY)
    with HttpForwardProxy() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert get(transport, object_server.url_for("a")).body == BODY
        assert proxy.asked == [f"GET {object_server.url_for('a')}"]


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_tls_goes_through_the_proxy_unseen(
    make: Callable[..., Transport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    authority = make_ca(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_pem))
    with ObjectServer(tls=authority.server_context) as server, HttpForwardProxy() as proxy:
        server.put("a", BODY)
        monkeypatch.setenv(variable, proxy.url)
        assert get(make(), server.url_for("a")).body == BODY
        assert proxy.asked == [f"CONNECT localhost:{server.port}"]


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("value", ["127.0.0.1", "example.org,127.0.0.1", "*"])
def test_no_proxy_goes_around_it(
    transport: Transport, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    object_server.put("a", BODY)
    with HttpForwardProxy(refuse=502) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv(variable, value)
        assert get(transport, object_server.url_for("a")).body == BODY
        assert proxy.connections == 0


def test_a_proxy_that_refuses_a_tunnel_is_a_failed_connection(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HttpForwardProxy(refuse=403) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(ConnectionFailed):
            get(transport, "https://localhost:1/a")


# --- Secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [None, faults.Drop(after_bytes=3), faults.NoAnswer(), faults.Redirect("/a?" + SECRET)]
)
def test_neither_messages_nor_logs_nor_tracebacks_hold_a_signature_or_a_token(
    transport: Transport, object_server: ObjectServer, caplog: pytest.LogCaptureFixture, fault: faults.Fault | None
) -> None:
    caplog.set_level(logging.DEBUG)
    object_server.put("a", BODY, faults=[faults.Always(fault)] if fault else [])
    url = f"{object_server.url_for('a')}?{SECRET}"
    request = HttpRequest("GET", url, (("Authorization", "Bearer s3cret"),), follow=True)
    said = ""
    try:
        said += repr(transport.send(request)) + repr(transport)
    except TransferError as error:
        said += "".join(traceback.format_exception(error)) + repr(error) + str(error.__dict__)
    assert object_server.requests[0].query == SECRET
    assert "deadbeef" not in said + caplog.text
    assert "s3cret" not in said + caplog.text


def test_an_unreachable_server_is_named_without_path_user_or_query(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    password = "".join(["pass", "w0rd"])  # so that no line of this file, quoted in a traceback, has it
    with pytest.raises(TransferError) as caught:
        get(transport, f"http://user:{password}@127.0.0.1:1/a?{SECRET}")
    said = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "deadbeef" not in said
    assert password not in said
    assert "127.0.0.1:1" in said


# --- Breaking off ---------------------------------------------------------------------------------------------------


def test_a_thread_that_waits_is_broken_off(kind: str, transport: Transport, object_server: ObjectServer) -> None:
    if kind in ("green", "carried"):
        pytest.skip("greenlets are killed instead")
    object_server.put("a", BODY, faults=[faults.Hang()])
    caught: list[BaseException] = []

    def work() -> None:
        for _ in range(2):  # broken off, then not even begun
            try:
                get(transport, object_server.url_for("a"))
            except TransferError as error:
                caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    object_server.wait_for_requests(1)
    assert thread.ident is not None
    with transport.aborting([thread.ident]):
        thread.join(5)
        assert not thread.is_alive()
    assert [type(error) for error in caught] == [Cancelled, Cancelled]
    assert object_server.count() == 1
    assert get(transport, object_server.url_for("a")).body == BODY  # and the others are not disturbed


def test_a_greenlet_that_is_killed_ends_its_transfer(
    kind: str, transport: Transport, object_server: ObjectServer
) -> None:
    if kind != "green":
        pytest.skip("threads cannot be killed")
    object_server.put("a", BODY, faults=[faults.Hang()])
    greenlet = gevent.spawn(get, transport, object_server.url_for("a"))
    while not object_server.count():
        gevent.sleep(0.01)
    greenlet.kill()
    object_server.wait_for_connections(0)
    assert get(transport, object_server.url_for("a")).body == BODY


def test_greenlets_wait_side_by_side(kind: str, transport: Transport, object_server: ObjectServer) -> None:
    if kind != "green":
        pytest.skip("threads do so anyway")
    object_server.put("a", BODY, faults=[faults.Hang()])
    object_server.put("b", BODY)
    waiting = gevent.spawn(get, transport, object_server.url_for("a"))
    while not object_server.count():
        gevent.sleep(0.01)
    assert get(transport, object_server.url_for("b")).body == BODY  # the other still hangs
    assert not waiting.ready()
    waiting.kill()
