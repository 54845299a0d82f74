"""Stored files served by WSGI and ASGI: what is answered, and what is moved for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from cloudfiles_hypha import ArtifactFiles, AsyncArtifactFiles, PreconditionFailed
from cloudfiles_hypha.compat.cloudfiles import clear_memory
from cloudfiles_hypha.models import ObjectInfo
from cloudfiles_hypha.mounts import serving
from cloudfiles_hypha.mounts.answering import Answer, Options, answer, condition
from tests.support import object_server as faults
from tests.support.clients import QUICK, connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, ObjectServer

# A Wednesday; with a fraction, which HTTP has none of.
TIME, DATE, LATER, EARLIER = (
    1_700_000_000.25,
    "Tue, 14 Nov 2023 22:13:20 GMT",
    "Tue, 14 Nov 2023 22:13:21 GMT",
    "Tue, 14 Nov 2023 22:13:19 GMT",
)
FILE = ObjectInfo("folder/a.csv", 1000, "abc", "text/csv", TIME)
WEAK = ObjectInfo("folder/a.csv", 1000, "abc", "text/csv", TIME, {"etag": 'W/"abc"'})
NAMELESS = ObjectInfo("folder/a.csv", 1000, None, None, None)


def answered(
    headers: Mapping[str, str], info: ObjectInfo = FILE, method: str = "GET", options: Options | None = None
) -> Answer:
    """The whole of the decision; headers as they are written."""
    given, options = {name.lower(): value for name, value in headers.items()}, options or Options()
    return condition(method, given, info, options) or answer(method, given, info, info.size, options)


def header(said: Answer, name: str) -> str | None:
    """The value of a header, which must not be there twice."""
    (value,) = [value for known, value in said.headers if known == name] or [None]
    return value


# --- Conditions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "info", "status"),
    [
        ({}, FILE, 200),
        ({"If-None-Match": '"abc"'}, FILE, 304),
        ({"If-None-Match": 'W/"abc"'}, FILE, 304),
        ({"If-None-Match": '"x", "abc"'}, FILE, 304),
        ({"If-None-Match": "*"}, FILE, 304),
        ({"If-None-Match": '"x"'}, FILE, 200),
        ({"If-None-Match": '"abc"'}, WEAK, 304),
        ({"If-None-Match": '"abc"'}, NAMELESS, 200),
        ({"If-None-Match": "abc"}, FILE, 200),  # no ETag without quotes
        ({"If-Modified-Since": DATE}, FILE, 304),
        ({"If-Modified-Since": LATER}, FILE, 304),
        ({"If-Modified-Since": EARLIER}, FILE, 200),
        ({"If-Modified-Since": DATE}, NAMELESS, 200),
        ({"If-Modified-Since": "yesterday"}, FILE, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": DATE}, FILE, 200),  # the first decides
        ({"If-Match": '"abc"'}, FILE, 200),
        ({"If-Match": "*"}, FILE, 200),
        ({"If-Match": '"x"'}, FILE, 412),
        ({"If-Match": 'W/"abc"'}, FILE, 412),
        ({"If-Match": '"abc"'}, WEAK, 412),
        ({"If-Match": '"x"', "If-None-Match": '"abc"'}, FILE, 412),
        ({"If-Unmodified-Since": DATE}, FILE, 200),
        ({"If-Unmodified-Since": EARLIER}, FILE, 412),
        ({"If-Match": '"abc"', "If-Unmodified-Since": EARLIER}, FILE, 200),
    ],
)
def test_conditions_are_looked_at_in_the_order_of_the_rfc(
    headers: dict[str, str], info: ObjectInfo, status: int
) -> None:
    assert answered(headers, info).status == status
    assert answered(headers, info, "HEAD").status == status


@pytest.mark.parametrize("zone", ["UTC+5", "UTC-5"])
def test_a_date_in_the_form_of_asctime_is_of_no_zone_of_this_machine(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", zone)
        time.tzset()
        found = [answered({"If-Modified-Since": f"Tue Nov 14 22:13:{second} 2023"}, FILE).status for second in (19, 20)]
    time.tzset()
    assert found == [200, 304]


def test_what_is_not_modified_says_what_to_ask_by_and_has_no_body() -> None:
    said = answered({"If-None-Match": '"abc"'}, options=Options(cache_max_age=60))
    assert dict(said.headers) == {"ETag": '"abc"', "Last-Modified": DATE, "Cache-Control": "max-age=60"}
    assert (said.start, said.end, said.text) == (0, 0, b"")


# --- Ranges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=990-", 990, 1000),
        ("bytes=990-5000", 990, 1000),
        ("bytes=-1", 999, 1000),
        ("bytes=-5000", 0, 1000),
        ("Bytes= 1-2 ", 1, 3),
    ],
)
def test_a_range_is_answered_by_its_bytes(wanted: str, start: int, end: int) -> None:
    said = answered({"Range": wanted})
    assert (said.status, said.start, said.end) == (206, start, end)
    assert header(said, "Content-Range") == f"bytes {start}-{end - 1}/1000"
    assert header(said, "Content-Length") == str(end - start)


@pytest.mark.parametrize("wanted", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_without_bytes_is_not_satisfiable(wanted: str) -> None:
    said = answered({"Range": wanted})
    assert (said.status, header(said, "Content-Range")) == (416, "bytes */1000")


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-1,5-6", "bytes=5-1", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=1", f"bytes=0-{'9' * 6000}", "bytes=²-"],
)
def test_what_is_not_one_range_is_answered_by_the_whole(wanted: str) -> None:
    said = answered({"Range": wanted})
    assert (said.status, said.start, said.end) == (200, 0, 1000)
    assert header(said, "Accept-Ranges") == "bytes"


@pytest.mark.parametrize(
    ("held", "info", "status"),
    [
        ('"abc"', FILE, 206),
        ('"x"', FILE, 200),
        ('W/"abc"', FILE, 200),
        ('"abc"', WEAK, 200),
        (DATE, FILE, 200),  # which may have changed twice in that second
        ("yesterday", FILE, 200),
        ("yesterday", NAMELESS, 200),
    ],
)
def test_a_range_of_another_version_is_answered_by_the_whole(held: str, info: ObjectInfo, status: int) -> None:
    assert answered({"Range": "bytes=0-1", "If-Range": held}, info).status == status


def test_head_knows_no_ranges() -> None:
    assert answered({"Range": "bytes=0-1"}, method="HEAD").status == 200


# --- Headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "said", "sent"),
    [
        ("a.csv", "image/png", "image/png"),
        ("a.csv", "text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("a.csv", None, "text/csv"),
        ("a.csv", "binary/octet-stream", "text/csv"),
        ("a.csv", "text/html\r\nSet-Cookie: a=b", "text/csv"),
        ("a.csv", "text/html\r\n; Set-Cookie: a=b", "text/csv"),
        ("a.tar.gz", None, "application/gzip"),
        ("nobody-knows", None, "application/octet-stream"),
    ],
)
def test_the_content_type_is_the_stores_or_that_of_the_name(path: str, said: str | None, sent: str) -> None:
    assert header(answered({}, ObjectInfo(path, 1, content_type=said)), "Content-Type") == sent


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (Options(), None),
        (Options(download=True), 'attachment; filename="a.csv"'),
        (Options(download_name="b.csv"), 'inline; filename="b.csv"'),
        (Options(download=True, download_name="é.csv"), "attachment; filename=\"_.csv\"; filename*=UTF-8''%C3%A9.csv"),
        (
            Options(download=True, download_name='a"; x="\r\nSet-Cookie: b'),
            "attachment; filename=\"a_; x=___Set-Cookie: b\"; filename*=UTF-8''a%22%3B%20x%3D%22__Set-Cookie%3A%20b",
        ),
        (Options(download=True, download_name="../a\\b"), 'attachment; filename=".._a_b"'),
        (Options(download=True, download_name=""), 'attachment; filename="file"'),
    ],
)
def test_the_name_of_a_download_is_written_for_everybody_and_breaks_out_of_nothing(options: Options, sent: str) -> None:
    assert header(answered({}, options=options), "Content-Disposition") == sent


def test_the_etag_is_weak_where_that_of_the_store_is_and_left_out_where_it_cannot_be_said() -> None:
    assert header(answered({}), "ETag") == '"abc"'
    assert header(answered({}, WEAK), "ETag") == 'W/"abc"'
    assert header(answered({}, ObjectInfo("a", 1, 'a"b')), "ETag") is None
    assert header(answered({}, ObjectInfo("a", 1, "a\r\nb")), "ETag") is None


def test_what_the_store_keeps_as_cache_control_is_sent_unless_the_caller_says_it() -> None:
    kept = ObjectInfo("a", 1, headers={"cache-control": "no-store"})
    assert header(answered({}, kept), "Cache-Control") == "no-store"
    assert header(answered({}, kept, options=Options(cache_max_age=0)), "Cache-Control") == "max-age=0"


@pytest.mark.parametrize("wrong", [{"cache_max_age": -1}, {"cache_max_age": True}, {"cache_max_age": "1"}])
def test_a_wrong_age_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cache_max_age"):
        Options(**wrong)


# --- Over WSGI and ASGI ---------------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 1000


class Got:
    """What a client was sent."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body


Ask = Callable[..., Got]


def by_wsgi(
    files: ArtifactFiles,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    version: str | None = None,
) -> Got:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    environ.update({f"HTTP_{name.upper().replace('-', '_')}": value for name, value in (headers or {}).items()})
    said: list[Any] = []

    def start_response(status: str, fields: list[tuple[str, str]], exc_info: object = None) -> Callable[..., None]:
        said.extend((int(status[:3]), fields))
        return lambda data: None

    app = validator(lambda environ, start: serving.wsgi(files, path, environ, start, version=version))
    blocks = app(environ, start_response)
    try:
        return Got(said[0], said[1], b"".join(blocks))
    finally:
        blocks.close()


async def called(
    files: ArtifactFiles | AsyncArtifactFiles,
    path: str,
    send: Callable[[Any], Awaitable[None]],
    gone: asyncio.Event,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    version: str | None = None,
) -> None:
    """Have a file answered to a client that goes when ``gone`` is set."""
    begun = False

    async def receive() -> dict[str, Any]:
        nonlocal begun
        if not begun:
            begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    fields = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": method, "headers": fields}
    await serving.asgi(files, path, scope, receive, send, version=version)


def by_asgi(
    files: ArtifactFiles,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    version: str | None = None,
) -> Got:
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(called(files, path, send, asyncio.Event(), method, headers, version))
    start, *bodies = messages
    assert [message["more_body"] for message in bodies] == [True] * (len(bodies) - 1) + [False]
    fields = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return Got(start["status"], fields, b"".join(message["body"] for message in bodies))


@pytest.fixture(params=[by_wsgi, by_asgi], ids=["wsgi", "asgi"])
def ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Each of the two ways, with pieces so small that files have several."""
    monkeypatch.setattr(serving, "PIECE", 50_000)
    way: Ask = request.param
    return way


@pytest.fixture
def memory() -> Iterator[ArtifactFiles]:
    clear_memory()
    with ArtifactFiles("mem://served") as files:
        files.put("folder/a.bin", CONTENT, "application/x-a")
        files.put("empty", b"")
        yield files
    clear_memory()


@pytest.fixture
def web(object_server: ObjectServer) -> Iterator[ArtifactFiles]:
    object_server.put("a.bin", CONTENT)
    with ArtifactFiles(object_server.url, retry=QUICK) as files:
        yield files


def test_a_file_is_answered_with_all_its_bytes(ask: Ask, memory: ArtifactFiles) -> None:
    got = ask(memory, "folder/a.bin")
    assert (got.status, got.body == CONTENT) == (200, True)
    assert got.headers["content-type"] == "application/x-a"
    assert got.headers["content-length"] == str(len(CONTENT))
    assert got.headers["etag"] == f'"{memory.head("folder/a.bin").etag}"'


def test_a_range_that_crosses_pieces_is_answered_with_its_bytes(ask: Ask, memory: ArtifactFiles) -> None:
    got = ask(memory, "folder/a.bin", headers={"Range": "bytes=49990-150010"})
    assert (got.status, got.body == CONTENT[49990:150011]) == (206, True)


def test_an_empty_file_is_answered_and_has_no_ranges(ask: Ask, memory: ArtifactFiles) -> None:
    got = ask(memory, "empty")
    assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "0")
    assert ask(memory, "empty", headers={"Range": "bytes=0-"}).status == 416


def test_head_is_answered_without_reading(ask: Ask, web: ArtifactFiles, object_server: ObjectServer) -> None:
    got = ask(web, "a.bin", "HEAD")
    assert (got.status, got.body, got.headers["content-length"]) == (200, b"", str(len(CONTENT)))
    assert object_server.count("GET") == 0


def test_what_a_client_has_is_not_read(ask: Ask, web: ArtifactFiles, object_server: ObjectServer) -> None:
    etag = ask(web, "a.bin", "HEAD").headers["etag"]
    assert ask(web, "a.bin", headers={"If-None-Match": etag}).status == 304
    assert object_server.count("GET") == 0


def test_of_a_range_only_its_bytes_are_read(ask: Ask, web: ArtifactFiles, object_server: ObjectServer) -> None:
    assert ask(web, "a.bin", headers={"Range": "bytes=1000-1999"}).body == CONTENT[1000:2000]
    assert object_server.ranges_seen("a.bin") == ["bytes=1000-1999"]


def test_other_methods_are_refused(ask: Ask, memory: ArtifactFiles) -> None:
    got = ask(memory, "folder/a.bin", "POST")
    assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["nothing", "../a.bin", "/a.bin", "folder/", "", "a\x00b"])
def test_what_names_no_file_is_not_found(ask: Ask, memory: ArtifactFiles, path: str) -> None:
    got = ask(memory, path)
    assert (got.status, got.body) == (404, b"404 Not Found\n")
    assert ask(memory, path, "HEAD").body == b""


@pytest.mark.parametrize(("fault", "status"), [(403, 403), (404, 404), (500, 502), (503, 503)])
def test_a_store_that_gives_nothing_is_answered_for_and_its_words_go_to_the_log(
    ask: Ask, web: ArtifactFiles, object_server: ObjectServer, fault: int, status: int, caplog: Any
) -> None:
    object_server.fault_all(Always(faults.Status(fault)))
    with caplog.at_level(logging.WARNING, "cloudfiles_hypha"):
        got = ask(web, "a.bin")
    assert got.status == status
    assert got.body.decode().startswith(str(status))
    assert object_server.url not in got.body.decode()
    assert ("a.bin" in caplog.text) == (status >= 500)


def test_what_is_stored_encoded_is_decoded_and_has_no_ranges(ask: Ask, memory: ArtifactFiles) -> None:
    memory.put("a.txt", CONTENT, compress="gzip")
    got = ask(memory, "a.txt", headers={"Range": "bytes=0-9"})
    assert (got.status, got.body == CONTENT) == (200, True)
    assert (got.headers["content-length"], got.headers["accept-ranges"]) == (str(len(CONTENT)), "none")
    assert "content-encoding" not in got.headers
    head = ask(memory, "a.txt", "HEAD")
    assert (head.status, "content-length" in head.headers) == (200, False)


def test_a_server_without_ranges_is_read_once(ask: Ask, web: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.every(1, faults.IgnoreRange(), method="GET")
    got = ask(web, "a.bin", headers={"Range": "bytes=1000-60999"})
    assert (got.status, got.body == CONTENT[1000:61000]) == (206, True)


def test_a_file_that_changed_before_its_first_byte_is_answered_as_it_is_now(
    ask: Ask, memory: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[Future[Any]] = []
    submit_head = memory.submit_head

    def changed_behind_it(path: str) -> Future[Any]:
        heads.append(submit_head(path))
        heads[-1].exception()
        if len(heads) == 1:
            memory.put(path, CONTENT[::-1])
        return heads[-1]

    monkeypatch.setattr(memory, "submit_head", changed_behind_it)
    got = ask(memory, "folder/a.bin")
    assert (got.status, got.body == CONTENT[::-1], len(heads) > 1) == (200, True, True)


def test_a_file_that_always_changes_is_answered_by_to_try_again(
    ask: Ask, memory: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    submit_head, count = memory.submit_head, 0

    def changed_behind_it(path: str) -> Future[Any]:
        nonlocal count
        future = submit_head(path)
        future.exception()
        count += 1
        memory.put(path, b"%d" % count * 1000)
        return future

    monkeypatch.setattr(memory, "submit_head", changed_behind_it)
    got = ask(memory, "folder/a.bin")
    assert (got.status, got.headers["retry-after"]) == (503, "1")
    assert "changed 3 times" in caplog.text


# --- While it is sent -----------------------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_sent_ends_the_answer_by_an_error(
    web: ArtifactFiles, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PIECE", 50_000)
    bodies: list[bytes] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            bodies.append(message["body"])
            object_server.put("a.bin", CONTENT[::-1])

    with pytest.raises(PreconditionFailed):
        asyncio.run(called(web, "a.bin", send, asyncio.Event()))
    assert b"".join(bodies) == CONTENT[: len(b"".join(bodies))]
    assert len(b"".join(bodies)) < len(CONTENT)

    object_server.put("a.bin", CONTENT)
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    blocks = iter(serving.wsgi(web, "a.bin", environ, lambda *said: lambda data: None))
    assert next(blocks) == CONTENT[:50_000]
    object_server.put("a.bin", CONTENT[::-1])
    rest = b""
    with pytest.raises(PreconditionFailed):  # noqa: PT012 -- the piece that was on its way may be of the old one
        for block in blocks:
            rest += block
    assert rest == CONTENT[50_000 : 50_000 + len(rest)]


@pytest.mark.parametrize("cloudpath", ["mem", "web"])
def test_no_more_than_one_piece_is_read_ahead(
    cloudpath: str, request: pytest.FixtureRequest, memory: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, path = (memory, "folder/a.bin") if cloudpath == "mem" else (request.getfixturevalue("web"), "a.bin")
    monkeypatch.setattr(serving, "PIECE", 50_000)
    submit, asked, sent = files.submit, 0, 0

    def counted(source: Any) -> Future[Any]:
        nonlocal asked
        asked += 1
        return submit(source)  # type: ignore[no-any-return]

    monkeypatch.setattr(files, "submit", counted)

    async def send(message: Any) -> None:
        nonlocal sent
        sent += message["type"] == "http.response.body"
        assert asked <= sent + 1

    asyncio.run(called(files, path, send, asyncio.Event()))
    assert (asked, sent) == (6, 6)


def test_a_client_that_goes_cancels_its_transfer(
    web: ArtifactFiles, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PIECE", 50_000)
    gone = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            object_server.fault_all(Always(faults.Hang()), method="GET")

    async def main() -> None:
        client = asyncio.create_task(called(web, "a.bin", send, gone))
        await asyncio.to_thread(object_server.wait_for_requests, 4)  # the head, the first piece, and two that hang
        gone.set()
        await client

    object_server.fault("a.bin", *[faults.Delay(0)] * 2, method="GET")
    asyncio.run(main())
    object_server.wait_for_connections(open_at_most=1)  # the one that has answered


def test_a_server_that_is_stopped_cancels_its_transfers(web: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.fault("a.bin", faults.Hang(), method="GET")

    async def send(message: Any) -> None:
        raise AssertionError("nothing is there to be sent")

    async def main() -> None:
        client = asyncio.create_task(called(web, "a.bin", send, asyncio.Event()))
        await asyncio.to_thread(object_server.wait_for_requests, 2)
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client

    asyncio.run(main())
    object_server.wait_for_connections(open_at_most=1)


def test_a_client_that_is_found_gone_by_sending_ends_the_answer_quietly(memory: ArtifactFiles) -> None:
    async def send(message: Any) -> None:
        raise OSError("client disconnected")

    asyncio.run(called(memory, "folder/a.bin", send, asyncio.Event()))


def test_a_wsgi_server_that_closes_breaks_off_what_is_on_its_way(
    web: ArtifactFiles, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PIECE", 50_000)
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    object_server.fault("a.bin", faults.Delay(0), Always(faults.Hang()), method="GET")
    blocks: Any = serving.wsgi(web, "a.bin", environ, lambda *said: lambda data: None)
    assert next(blocks) == CONTENT[:50_000]
    object_server.wait_for_requests(3)
    blocks.close()
    object_server.wait_for_connections(open_at_most=1)
    assert [*blocks] == []


def test_an_asynchronous_object_serves_as_well(memory: ArtifactFiles) -> None:
    bodies: list[bytes] = []

    async def send(message: Any) -> None:
        bodies.append(message.get("body", b""))

    asyncio.run(called(AsyncArtifactFiles(memory), "folder/a.bin", send, asyncio.Event()))
    assert b"".join(bodies) == CONTENT


def test_a_version_is_answered_where_it_is_asked_for(ask: Ask) -> None:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {})
        with connect(hypha) as files:
            for number in range(2):
                with files.staged(version="new"):
                    files.put("a.txt", f"version {number}")
            first, last = files.versions("a.txt")[-2:]
            assert ask(files, "a.txt", version=first.id).body == b"version 0"
            assert ask(files, "a.txt", version=last.id).body == ask(files, "a.txt").body == b"version 1"
            assert ask(files, "a.txt", version="v77").status == 404


def test_a_version_of_a_store_that_keeps_none_is_a_mistake_of_the_program(ask: Ask, memory: ArtifactFiles) -> None:
    with pytest.raises(ValueError, match="keeps no versions"):
        ask(memory, "folder/a.bin", version="1")
