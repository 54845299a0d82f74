"""Services over stores: a real server of ASGI or WSGI in front of each, and real clients."""

from __future__ import annotations

import hashlib
import random
import socketserver
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from cloudfiles_hypha import ArtifactFiles  # noqa: E402 -- after what may be missing
from cloudfiles_hypha.mounts import serving  # noqa: E402
from tests.support import object_server as faults  # noqa: E402
from tests.support.fake_hypha import FakeHypha  # noqa: E402
from tests.support.object_server import Always, ObjectServer  # noqa: E402
from tests.support.s3_servers import seaweed  # noqa: E402
from tests.support.service import served  # noqa: E402

MIB = 1024 * 1024
CONTENT = random.Random(10).randbytes(300_000)
BLOCK = random.Random(11).randbytes(MIB)
LARGE = 100  # blocks
# What a server may need of memory beyond what it has when it begins, for 100 MiB on their way.
BOUND = 64 * MIB


def _mem(tmp_path: Path) -> Iterator[str]:
    with served("mem://service") as url:
        yield url


def _folder(tmp_path: Path) -> Iterator[str]:
    with served(f"file://{tmp_path}") as url:
        yield url


def _s3(tmp_path: Path) -> Iterator[str]:
    with seaweed() as server:
        server.make_bucket("service")
        with served(server.cloudpath("service"), secrets=server.secrets) as url:
            yield url


STORES = {"mem": _mem, "folder": _folder, "SeaweedFS": _s3}


@pytest.fixture(scope="module", params=[*STORES])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A service over each store, by its name, and where it is."""
    for url in STORES[request.param](tmp_path_factory.mktemp("service")):
        yield request.param, url


@pytest.fixture
def client(service: tuple[str, str]) -> Iterator[Any]:
    with httpx.Client(base_url=service[1], timeout=30, trust_env=False) as client:
        yield client


def test_what_was_uploaded_is_downloaded(client: Any) -> None:
    stored = client.put("/files/folder/größe 1.bin", content=CONTENT, headers={"Content-Type": "image/png"})
    assert stored.json()["size"] == len(CONTENT)
    got = client.get("/files/folder/größe 1.bin")
    assert (got.status_code, got.content == CONTENT) == (200, True)
    assert got.headers["content-length"] == str(len(CONTENT))
    head = client.head("/files/folder/größe 1.bin")
    assert (head.status_code, head.content) == (200, b"")
    for name in {"etag", "content-type", "content-length", "accept-ranges"} | {*got.headers} - {"date"}:
        assert head.headers[name] == got.headers[name]


def test_a_form_is_uploaded(client: Any) -> None:
    assert client.post("/upload/form.bin", files={"file": ("form.bin", CONTENT)}).json() == {"size": len(CONTENT)}
    assert client.get("/files/form.bin").content == CONTENT


def test_ranges_and_conditions_are_answered(client: Any) -> None:
    client.put("/files/ranges.bin", content=CONTENT)
    part = client.get("/files/ranges.bin", headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content == CONTENT[1000:2000]) == (206, True)
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(CONTENT)}"
    etag = part.headers["etag"]
    assert client.get("/files/ranges.bin", headers={"If-None-Match": etag}).status_code == 304
    since = {"If-Modified-Since": part.headers.get("last-modified", part.headers["date"])}
    known = client.get("/files/ranges.bin", headers=since).status_code == 304
    assert known == ("last-modified" in part.headers)
    client.put("/files/ranges.bin", content=CONTENT[::-1])
    changed = client.get("/files/ranges.bin", headers={"If-None-Match": etag})
    assert (changed.status_code, changed.content == CONTENT[::-1]) == (200, True)
    resumed = client.get("/files/ranges.bin", headers={"Range": "bytes=5-", "If-Range": etag})
    assert (resumed.status_code, len(resumed.content)) == (200, len(CONTENT))
    assert client.get("/files/ranges.bin", headers={"Range": "bytes=300000-"}).status_code == 416


def test_what_is_not_there_is_not_found(client: Any) -> None:
    assert client.get("/files/nothing").status_code == 404
    assert client.head("/files/nothing").status_code == 404


def test_headers_of_the_endpoint_are_added_and_win(client: Any) -> None:
    client.put("/files/headers.bin", content=b"x")
    got = client.get("/download/headers.bin")
    assert got.headers["content-disposition"] == 'attachment; filename="headers.bin"'
    assert got.headers.get_list("cache-control") == ["no-store"]
    assert got.cookies["seen"] == "yes"


def test_a_hundred_megabytes_are_streamed_both_ways_in_bounded_memory(service: tuple[str, str], client: Any) -> None:
    name, _ = service
    client.put("/files/small.bin", content=CONTENT)
    client.get("/files/small.bin")
    before = client.get("/peak").json()
    stored = client.put("/files/large.bin", content=(BLOCK for _ in range(LARGE)))
    assert stored.json()["size"] == LARGE * MIB
    digest = hashlib.md5()
    with client.stream("GET", "/files/large.bin") as got:
        for block in got.iter_raw():
            digest.update(block)
    expected = hashlib.md5()
    for _ in range(LARGE):
        expected.update(BLOCK)
    assert digest.digest() == expected.digest()
    if name != "mem":  # where the files are the server's memory
        assert client.get("/peak").json() - before < BOUND


def test_an_upload_whose_client_goes_stores_nothing(service: tuple[str, str], client: Any) -> None:
    def some() -> Iterator[bytes]:
        yield BLOCK
        raise InterruptedError

    with pytest.raises(InterruptedError), httpx.Client(base_url=service[1], trust_env=False) as other:
        other.put("/files/half.bin", content=some())
    assert client.get("/exists/half.bin").json() is False


def test_an_artifact_is_served_and_stored() -> None:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {})
        with served("ws/a", server_url=hypha.url, token=hypha.token) as url:  # noqa: SIM117 -- it is the service's
            with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
                test_what_was_uploaded_is_downloaded(client)
                test_a_form_is_uploaded(client)
                test_ranges_and_conditions_are_answered(client)
                test_what_is_not_there_is_not_found(client)
                test_a_hundred_megabytes_are_streamed_both_ways_in_bounded_memory(("hypha", url), client)
                test_an_upload_whose_client_goes_stores_nothing(("hypha", url), client)


def test_a_client_that_goes_cancels_its_transfer(object_server: ObjectServer) -> None:
    object_server.put("a.bin", BLOCK * 8)
    object_server.fault("a.bin", faults.Delay(0), Always(faults.Hang()), method="GET")
    with served(object_server.url) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        with client.stream("GET", "/files/a.bin") as got:
            blocks = got.iter_raw(MIB)  # which closes the connection when it is dropped
            assert next(blocks) == BLOCK
            object_server.wait_for_requests(3)  # the head, a piece, and one that hangs
            open_then = object_server.open_connections
        object_server.wait_for_connections(open_at_most=open_then - 1)


# --- Over WSGI ------------------------------------------------------------------------------------------------------


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests are not to be seen among the tests."""


class _Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = False


@pytest.fixture
def wsgi_url(object_server: ObjectServer) -> Iterator[str]:
    """A server of the standard library in a thread, in front of a web server."""
    object_server.put("a.bin", BLOCK * 8)
    with ArtifactFiles(object_server.url) as files:

        def app(environ: Any, start_response: Any) -> Any:
            path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
            return serving.wsgi(files, path.lstrip("/"), environ, start_response)

        with make_server("127.0.0.1", 0, app, server_class=_Threaded, handler_class=_Quiet) as server:
            thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


def test_files_are_answered_over_wsgi(wsgi_url: str, object_server: ObjectServer) -> None:
    object_server.put("größe/1.txt", b"1")
    with httpx.Client(base_url=wsgi_url, timeout=30, trust_env=False) as client:
        got = client.get("/a.bin")
        assert (got.status_code, got.content == BLOCK * 8) == (200, True)
        part = client.get("/a.bin", headers={"Range": "bytes=-10"})
        assert (part.status_code, part.content) == (206, BLOCK[-10:])
        assert client.get("/a.bin", headers={"If-None-Match": got.headers["etag"]}).status_code == 304
        assert client.head("/a.bin").headers["content-length"] == str(8 * MIB)
        assert client.get("/größe/1.txt").content == b"1"
        assert client.get("/nothing").status_code == client.get("/%ff").status_code == 404


def test_a_client_of_wsgi_that_goes_cancels_its_transfer(wsgi_url: str, object_server: ObjectServer) -> None:
    object_server.put("large.bin", BLOCK * 40)
    with (
        httpx.Client(base_url=wsgi_url, timeout=30, trust_env=False) as client,
        client.stream("GET", "/large.bin") as got,
    ):
        assert next(got.iter_raw(MIB)) == BLOCK
    with httpx.Client(base_url=wsgi_url, timeout=30, trust_env=False) as client:
        assert client.get("/a.bin").status_code == 200
    assert len(object_server.ranges_seen("large.bin")) < 20
