"""Writes that are to take effect only where nothing is, or where what is there is known: who wins, and what is said."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import ArtifactFiles, BatchError, ConnectionFailed, ObjectExists, PreconditionFailed, RetryPolicy
from cloudfiles_hypha.content.digests import etag_of_parts
from cloudfiles_hypha.disk import folder
from cloudfiles_hypha.errors import TransferError
from cloudfiles_hypha.transports import HttpRequest, HttpResponse
from tests.support.object_server import DropAfterStore, ObjectServer, Request, Response, Status, s3_error

QUICK = RetryPolicy(attempts=3, first=0.001, longest=0.01, elapsed=5)
MIB = 1024 * 1024
IN_PARTS = {"multipart_threshold": 5 * MIB, "part_size": 5 * MIB}
GIVEN = {"AWS_ACCESS_KEY_ID": "AKIAGIVEN", "AWS_SECRET_ACCESS_KEY": "given-5ec2e7"}


# -- what is asked for


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"overwrite": False}, "'always' or 'never'"),
        ({"overwrite": "different"}, "'always' or 'never'"),
        ({"if_match": ""}, "not empty"),
        ({"if_match": '"quoted"'}, "ETag"),
        ({"if_match": "a", "overwrite": "never"}, "cannot be nothing"),
    ],
)
def test_what_is_no_condition_is_refused_before_anything_is_stored(options: dict[str, Any], said: str) -> None:
    with ArtifactFiles("mem://conditions") as cf:
        with pytest.raises(ValueError, match=said):
            cf.put("refused", b"", **options)
        with pytest.raises(ValueError, match=said):
            cf.puts([("refused too", b""), {"path": "refused", "content": b"", **options}])
        assert not cf.exists("refused too")


def test_an_etag_that_is_not_known_is_not_taken_for_any() -> None:
    with ArtifactFiles("mem://conditions") as cf, pytest.raises(ValueError, match="if_match=None"):
        cf.puts([{"path": "a", "content": b"", "if_match": None}])


def test_a_place_that_cannot_look_refuses_before_anything_is_sent(tmp_path: Path) -> None:
    with ArtifactFiles(str(tmp_path)) as cf:
        with pytest.raises(ValueError, match=r"it can for overwrite='never'"):
            cf.put("a", b"", if_match="x")
        with pytest.raises(ValueError, match=r"'b'.*if_match needs"):
            cf.puts([("a", b""), {"path": "b", "content": b"", "if_match": "x"}])
    assert [*tmp_path.iterdir()] == []
    cf = ArtifactFiles("hypha://workspace/alias", server_url="http://127.0.0.1:1", token="t")
    with cf, pytest.raises(ValueError, match=r"hypha:// cannot look.*nor for anything else"):
        cf.put("a", b"", overwrite="never")


def test_the_error_is_one_that_python_knows() -> None:
    with ArtifactFiles("mem://conditions") as cf:
        cf.put_json("a.json", 1)
        with pytest.raises(FileExistsError) as caught:
            cf.put_json("a.json", 2, overwrite="never")
        error = pickle.loads(pickle.dumps(caught.value))
        assert (type(error), error.path, error.retryable) == (ObjectExists, "a.json", False)
        with pytest.raises(BatchError) as several:
            cf.put_jsons([("a.json", 2), ("b.json", 2)], overwrite="never")
        assert [type(result["error"]) for result in several.value.results] == [ObjectExists, type(None)]
        assert cf.get_json(["a.json", "b.json"], return_dict=True) == {"a.json": 1, "b.json": 2}


# -- who wins


@pytest.fixture(params=["unnamed", "named"])
def local(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "named":  # as on file systems without files that have no name
        monkeypatch.setattr(folder.Home, "_unnamed", lambda *given: None)
    return tmp_path


@pytest.mark.parametrize("place", ["mem", "file"])
def test_of_many_writers_at_once_one_wins_and_the_others_are_told(place: str, local: Path) -> None:
    cloudpath = str(local) if place == "file" else f"mem://{local.name}"
    start, won, told = threading.Barrier(8), [], []

    def write(number: int) -> None:
        with ArtifactFiles(cloudpath, num_threads=0) as cf:
            start.wait()
            try:
                cf.put("one", b"%d" % number * 1000, overwrite="never")
                won.append(number)
            except FileExistsError as error:
                told.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(told)) == (1, 7)
    with ArtifactFiles(cloudpath) as cf:
        assert cf.get("one") == b"%d" % won[0] * 1000
    if place == "file":
        assert [each.name for each in local.iterdir()] == ["one"]  # nothing is left of those that lost


def test_a_file_that_comes_into_being_while_another_is_written_stays(
    local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = folder.Draft.publish

    def later(self: folder.Draft, *, replace: bool = True) -> os.stat_result:
        (local / "a").write_bytes(b"theirs")
        return publish(self, replace=replace)

    monkeypatch.setattr(folder.Draft, "publish", later)
    with ArtifactFiles(str(local)) as cf, pytest.raises(ObjectExists):
        cf.put("a", b"ours", overwrite="never")
    assert (local / "a").read_bytes() == b"theirs"
    assert [each.name for each in local.iterdir()] == ["a"]


def test_a_link_that_leads_nowhere_is_something(local: Path) -> None:
    (local / "a").symlink_to("nowhere")
    with ArtifactFiles(str(local)) as cf, pytest.raises(ObjectExists):
        cf.put("a", b"ours", overwrite="never")
    assert os.readlink(local / "a") == "nowhere"


def test_a_file_that_would_lose_is_not_written(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (local / "a").write_bytes(b"theirs")
    monkeypatch.setattr(folder.Home, "draft", None)
    with ArtifactFiles(str(local)) as cf, pytest.raises(ObjectExists):
        cf.put("a", b"ours", overwrite="never")


def test_a_file_system_without_hard_links_says_so_and_leaves_nothing(
    local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*args: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with ArtifactFiles(str(local)) as cf, pytest.raises(TransferError, match="no hard links"):
        cf.put("a", b"ours", overwrite="never")
    assert [*local.iterdir()] == []
    monkeypatch.setattr(folder.Home, "_unnamed", lambda *given: None)
    with ArtifactFiles(str(local)) as cf:
        cf.touch(["b", "c"])
        assert cf.get(["b", "c"], return_dict=True) == {"b": b"", "c": b""}


# -- a bucket


class Bucket(ObjectServer):
    """Looks at conditions, as Amazon's S3 does, and knows uploads in parts of one object."""

    heeds = True

    def respond(self, request: Request) -> Response:
        if request.method == "POST" and request.query == "uploads=":
            self.parts: dict[str, bytes] = {}
            return Response(
                200, {}, b"<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>"
            )
        if "uploadId=" in request.query:
            if request.method == "DELETE":
                self.parts = {}
                return Response(204)
            if request.method == "GET":
                return s3_error(404, "NoSuchUpload")
            if request.method == "PUT":
                self.parts[request.query] = request.body
                return Response(200, {"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})
            return self.complete(request)
        return self.refused(request) or super().respond(request)

    def refused(self, request: Request) -> Response | None:
        there = self.objects.get(request.path)
        if self.heeds and request.method in ("PUT", "POST"):
            wanted = request.headers.get("if-match")
            if wanted and there is None:
                return s3_error(404, "NoSuchKey")
            if there and (request.headers.get("if-none-match") or wanted not in (None, f'"{there.etag}"')):
                return s3_error(412, "PreconditionFailed")
        return None

    def complete(self, request: Request) -> Response:
        if not self.parts:
            return s3_error(404, "NoSuchUpload")
        refused = self.refused(request)
        if refused is not None:
            return refused
        md5s = [hashlib.md5(body).digest() for _, body in sorted(self.parts.items())]
        etag = f"{hashlib.md5(b''.join(md5s)).hexdigest()}-{len(md5s)}"
        self.put(request.path, b"".join(body for _, body in sorted(self.parts.items())), etag=etag)
        self.parts = {}
        return Response(
            200, {}, f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>".encode()
        )


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as server:
        yield server


@pytest.fixture(params=["known", "unknown"])
def cf(request: pytest.FixtureRequest, bucket: Bucket) -> Iterator[ArtifactFiles]:
    """At a store that is known to look at conditions, and at any other."""
    cloudpath = f"s3://{bucket.url}/bucket"
    with ArtifactFiles(cloudpath, secrets=GIVEN, retry=QUICK, num_threads=2, **IN_PARTS) as cf:
        if request.param == "known":
            cf._backend.access.endpoint = None  # type: ignore[attr-defined]
        yield cf


LARGE = bytes(6 * MIB)


@pytest.mark.parametrize("content", [b"ours", LARGE], ids=["small", "large"])
def test_a_write_whose_answer_was_lost_was_done(bucket: Bucket, cf: ArtifactFiles, content: bytes) -> None:
    bucket.fault("bucket/a", DropAfterStore(), method="PUT" if content == b"ours" else None)
    if content == LARGE:
        bucket.clear_faults()
        complete = bucket.complete
        answers = iter([True])

        def losing(request: Request) -> Response:
            done = complete(request)
            return s3_error(500, "InternalError") if next(answers, False) else done

        bucket.complete = losing  # type: ignore[method-assign]
    result = cf.put("a", content, overwrite="never")
    assert result["error"] is None
    assert result["etag"] == bucket.objects["bucket/a"].etag
    assert bucket.objects["bucket/a"].body == content
    with pytest.raises(ObjectExists):
        cf.put("a", content, overwrite="never")


def test_what_another_has_stored_is_not_taken_for_ours_although_an_answer_was_lost(
    bucket: Bucket, cf: ArtifactFiles
) -> None:
    class Overtaken(DropAfterStore):
        def answer(self, exchange: Any) -> None:
            super().answer(exchange)
            bucket.put("bucket/a", b"theirs")

    bucket.fault("bucket/a", Overtaken(), method="PUT")
    with pytest.raises(ObjectExists, match="may have been successful"):
        cf.put("a", b"ours", overwrite="never")
    assert bucket.objects["bucket/a"].body == b"theirs"


def test_what_was_there_already_is_not_ours_even_if_it_is_the_same(bucket: Bucket, cf: ArtifactFiles) -> None:
    bucket.put("bucket/a", b"ours")
    for method, fault in ((None, None), ("PUT", Status(503)), ("HEAD", Status(500))):  # none of which was done
        if fault is not None:
            bucket.fault("bucket/a", fault, method=method)
        with pytest.raises(ObjectExists):
            cf.put("a", b"ours", overwrite="never")


def test_a_large_object_that_was_there_already_is_not_ours_even_if_it_is_the_same(bucket: Bucket) -> None:
    etag = etag_of_parts([hashlib.md5(LARGE[start : start + 5 * MIB]).hexdigest() for start in (0, 5 * MIB)])
    respond = bucket.respond

    def meanwhile(request: Request) -> Response:
        if request.method == "PUT" and "bucket/a" not in bucket.objects:
            bucket.put("bucket/a", LARGE, etag=etag)
            bucket.fault("bucket/a", Status(500), method="HEAD")  # nobody has been asked to complete anything yet
        return respond(request)

    bucket.respond = meanwhile  # type: ignore[method-assign]
    cloudpath = f"s3://{bucket.url}/bucket"
    cf = ArtifactFiles(cloudpath, secrets=GIVEN, retry=QUICK, num_threads=0, **IN_PARTS)
    with cf, pytest.raises(ObjectExists):
        cf.put("a", LARGE, overwrite="never")


def test_a_large_file_that_would_lose_is_not_sent(bucket: Bucket, cf: ArtifactFiles) -> None:
    bucket.put("bucket/a", b"theirs")
    with pytest.raises(ObjectExists):
        cf.put("a", LARGE, overwrite="never")
    with pytest.raises(PreconditionFailed):
        cf.put("a", LARGE, if_match="of-another")
    assert bucket.count("PUT") == bucket.count("POST") == 0


@pytest.mark.parametrize("theirs", [b"theirs", LARGE], ids=["another", "the same"])
def test_a_large_file_that_loses_in_the_end_is_aborted(bucket: Bucket, cf: ArtifactFiles, theirs: bytes) -> None:
    etag = etag_of_parts([hashlib.md5(LARGE[start : start + 5 * MIB]).hexdigest() for start in (0, 5 * MIB)])
    respond = bucket.respond

    def meanwhile(request: Request) -> Response:
        if request.method == "PUT":
            bucket.put("bucket/a", theirs, etag=etag)
        return respond(request)

    bucket.respond = meanwhile  # type: ignore[method-assign]
    with pytest.raises(ObjectExists):
        cf.put("a", LARGE, overwrite="never")
    assert bucket.objects["bucket/a"].body == theirs
    assert bucket.count("DELETE") == 1


def test_a_known_version_is_replaced_and_no_other(bucket: Bucket, cf: ArtifactFiles) -> None:
    first = cf.put("a", b"first", overwrite="never")
    second = cf.put("a", b"second", if_match=first["etag"])
    for content in (b"third", LARGE):
        with pytest.raises(PreconditionFailed) as caught:
            cf.put("a", content, if_match=first["etag"])
        assert not isinstance(caught.value, FileExistsError)
    cf.put("a", LARGE, if_match=second["etag"])
    cf.delete("a")
    with pytest.raises(PreconditionFailed, match="is gone"):
        cf.put("a", b"fourth", if_match=second["etag"])
    assert "bucket/a" not in bucket.objects


def test_a_known_version_that_goes_while_a_large_one_is_sent_is_told_of_as_gone(
    bucket: Bucket, cf: ArtifactFiles
) -> None:
    first = cf.put("a", b"first")
    complete = bucket.complete

    def gone(request: Request) -> Response:
        bucket.objects.pop("bucket/a", None)
        return complete(request)

    bucket.complete = gone  # type: ignore[method-assign]
    with pytest.raises(PreconditionFailed, match="is gone"):
        cf.put("a", LARGE, if_match=first["etag"])
    assert "bucket/a" not in bucket.objects
    assert bucket.count("DELETE") == 1


@pytest.mark.parametrize("place", ["mem://conditions-touch", "file", "s3"])
def test_touch_leaves_alone_what_comes_into_being_meanwhile(
    place: str, local: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudpath = {"file": str(local), "s3": f"s3://{bucket.url}/bucket"}.get(place, place)
    with ArtifactFiles(cloudpath, **({"secrets": GIVEN} if place == "s3" else {}), num_threads=2) as cf:
        exists = cf.exists

        def meanwhile(names: Any) -> Any:
            there = exists(names)
            cf.put("a", b"theirs")
            return there

        monkeypatch.setattr(cf, "exists", meanwhile)
        cf.touch(["a", "b"])
        assert cf.get(["a", "b"], return_dict=True) == {"a": b"theirs", "b": b""}


def test_a_store_that_looks_at_nothing_is_asked_first(bucket: Bucket) -> None:
    bucket.heeds = False
    bucket.put("bucket/a", b"theirs")
    with ArtifactFiles(f"s3://{bucket.url}/bucket", secrets=GIVEN, retry=QUICK, num_threads=0) as cf:
        with pytest.raises(ObjectExists):
            cf.put("a", b"ours", overwrite="never")
        with pytest.raises(PreconditionFailed):
            cf.put("a", b"ours", if_match="of-another")
    assert bucket.objects["bucket/a"].body == b"theirs"


def test_a_conditional_request_is_not_repeated_unasked(bucket: Bucket, cf: ArtifactFiles) -> None:
    seen: list[HttpRequest] = []
    transport = cf._backend.sender._transport  # type: ignore[attr-defined]

    class Watching:
        close = transport.close

        def send(self, request: HttpRequest) -> HttpResponse:
            seen.append(request)
            if request.method == "PUT":
                raise ConnectionFailed("gone")
            return HttpResponse(404, b"", [], {})

    cf._backend.sender._transport = Watching()  # type: ignore[attr-defined]
    with pytest.raises(ConnectionFailed):
        cf.put("a", b"ours", overwrite="never")
    assert [request.once for request in seen if request.method == "PUT"] == [True] * 3
