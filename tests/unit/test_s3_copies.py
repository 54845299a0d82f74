"""Objects too large for one request, which an S3 copies by itself in parts: with a limit that is lowered."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import AccessDenied, ArtifactFiles, ConnectionFailed, PreconditionFailed, RetryPolicy
from cloudfiles_hypha.backends.s3 import backend as s3
from cloudfiles_hypha.transports import HttpRequest, HttpResponse
from tests.support.s3_servers import S3Server, moto, rclone, seaweed

MIB = 1024 * 1024
CONTENT = os.urandom(64 * 1024) * 16 * 21 + b"end"  # 21 MiB: five parts
QUICK = RetryPolicy(attempts=2, first=0.01, longest=0.05, elapsed=10)


@pytest.fixture(scope="module", params=[seaweed, moto, rclone], ids=lambda maker: maker.__name__)
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with request.param() as server:
        server.make_bucket("copies")
        server.make_bucket("others")
        with client(server) as cf:
            cf.put("d/large é", CONTENT, content_type="text/x-mine", cache_control="no-store", content_encoding="x-own")
        yield server


@pytest.fixture(autouse=True)
def lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "LARGEST_PUT", 6 * MIB)
    monkeypatch.setattr(s3, "_COPIED_PART", 5 * MIB)


def client(server: S3Server, bucket: str = "copies", **options: Any) -> ArtifactFiles:
    settings = {"retry": QUICK, "num_threads": 4, "multipart_threshold": 6 * MIB, **options}
    return ArtifactFiles(server.cloudpath(bucket), secrets=server.secrets, **settings)


Handle = Callable[[HttpRequest, Callable[[HttpRequest], HttpResponse]], HttpResponse]


def watch(cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, handle: Handle | None = None) -> list[HttpRequest]:
    """The requests that a client makes, each given to ``handle`` if there is one."""
    seen: list[HttpRequest] = []
    sender = cf._backend.sender  # type: ignore[attr-defined]
    send = sender.send

    def noting(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        answer: HttpResponse = send(request) if handle is None else handle(request, send)
        return answer

    monkeypatch.setattr(sender, "send", noting)
    return seen


def copied_parts(seen: list[HttpRequest]) -> int:
    return sum("partNumber=" in request.url and request.method == "PUT" and not request.body for request in seen)


def unfinished(server: S3Server, bucket: str) -> list[str]:
    with client(server, bucket) as cf:
        body = cf._backend.sender.send(HttpRequest("GET", "?uploads=")).body  # type: ignore[attr-defined]
        return re.findall(r"<UploadId>([^<]+)<", body.decode())


@pytest.mark.parametrize("options", [{}, {"num_threads": 0}, {"green": True}], ids=["threads", "inline", "green"])
def test_a_large_object_is_copied_by_the_store_with_all_that_it_has(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    with client(server, **options) as cf, client(server, "others", **options) as other:
        sent, read = watch(other, monkeypatch), watch(cf, monkeypatch)
        (result,) = cf.transfer_to(other, [("d/large é", "copy é")])
        info = other.head("copy é")
        assert other.get("copy é", raw=True) == CONTENT
        assert info.content_type == "text/x-mine"
        if server.copies_parts:
            assert copied_parts(sent) == 5
            assert {request.method for request in read} == {"HEAD"}
            assert (result["how"], result["error"], result["size"]) == ("server", None, len(CONTENT))
            assert (info.headers.get("cache-control"), info.headers.get("content-encoding")) == ("no-store", "x-own")
        else:
            assert (result["how"], result["error"], result["size"]) == ("through", None, len(CONTENT))
        other.delete("copy é")
    assert unfinished(server, "others") == []


def test_a_refusal_aborts_and_a_copy_that_lost_the_network_goes_on(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not server.copies_parts:
        pytest.skip("has no copies of parts")
    for error, left in ((AccessDenied("no"), 0), (ConnectionFailed("gone"), 1)):
        count = 0

        def failing(
            request: HttpRequest, send: Callable[[HttpRequest], HttpResponse], error: Exception = error
        ) -> HttpResponse:
            nonlocal count
            count += "partNumber=" in request.url
            if count > 3 and "partNumber=" in request.url:
                raise error
            return send(request)

        with client(server, num_threads=0) as cf:
            watch(cf, monkeypatch, failing)
            with pytest.raises(Exception, match=str(error)):
                cf.transfer_to(cf, [("d/large é", "copy")])
            assert not cf.exists("copy")
        assert len(unfinished(server, "copies")) == left
    with client(server) as cf:
        seen = watch(cf, monkeypatch)
        cf.transfer_to(cf, [("d/large é", "copy")])
        assert copied_parts(seen) == 2
        assert cf.get("copy", raw=True) == CONTENT
        cf.delete("copy")
    assert unfinished(server, "copies") == []


def test_an_object_that_changes_meanwhile_is_not_mixed(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    if not server.copies_parts:
        pytest.skip("has no copies of parts")
    with client(server) as writer, client(server, num_threads=0) as cf:
        writer.put("changing", CONTENT)

        def meanwhile(request: HttpRequest, send: Callable[[HttpRequest], HttpResponse]) -> HttpResponse:
            if "partNumber=3" in request.url:
                writer.put("changing", CONTENT[::-1])
            return send(request)

        watch(cf, monkeypatch, meanwhile)
        (result,) = cf.transfer_to(cf, [("changing", "copy")], raise_errors=False)
        assert isinstance(result["error"], PreconditionFailed)
        assert not cf.exists("copy")
        cf.delete("changing")
    assert unfinished(server, "copies") == []


@pytest.mark.parametrize("options", [{}, {"num_threads": 0}, {"green": True}], ids=["threads", "inline", "green"])
def test_large_files_that_pass_through_here_go_in_parts_and_nothing_is_removed(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    files = {"a": CONTENT, "b": CONTENT[::-1]}
    with ArtifactFiles(str(tmp_path)) as folder, client(server, "others", **options) as other:
        folder.puts(files.items())
        seen = watch(other, monkeypatch)
        results = folder.transfer_to(other, [*files])
        assert [(result["error"], result["done"], result["how"]) for result in results] == [
            (None, "copied", "through")
        ] * 2
        assert not [request.url for request in seen if "delete" in request.url or request.method == "DELETE"]
        assert sum(request.url.endswith("?uploads=") for request in seen) == 2
        assert other.get([*files], return_dict=True) == files
        other.delete([*files])
    assert unfinished(server, "others") == []
