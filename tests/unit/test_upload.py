"""Uploads in parts and of folders, on the scripted server: what is sent, what is sent again, what never is."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    BatchError,
    RetryPolicy,
    ServerError,
    StagedWarning,
    TransferError,
)
from cloudfiles_hypha.models import Body, PutRequest
from cloudfiles_hypha.transfers import tree as trees
from cloudfiles_hypha.transfers.upload import Upload
from tests.support.clients import CLIENTS, connect
from tests.support.fake_hypha import Answer, FakeHypha, OmitPaths, RemoteError
from tests.support.object_server import Always, DropAfterStore, DropRequest, Fault, Status

MIB = 1024 * 1024
BODY = random.Random(1).randbytes(7 * MIB + 3)
IN_PARTS = {"multipart_threshold": MIB, "part_size": 5 * MIB}
PARTS = 8


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that eight parts are eight MiB."""
    monkeypatch.setattr("cloudfiles_hypha.plan.parts.SMALLEST_PART", MIB)
    monkeypatch.setitem(IN_PARTS, "part_size", MIB)


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"old": b"old"})
        yield hypha


@pytest.fixture(params=CLIENTS)
def cf(request: pytest.FixtureRequest, hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    with connect(hypha, **CLIENTS[request.param], **IN_PARTS) as files:
        yield files


@pytest.fixture
def files(hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    with connect(hypha, num_threads=4, **IN_PARTS) as files:
        yield files


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(BODY)
    return path


def etag(body: bytes, size: int = MIB) -> str:
    digests = [hashlib.md5(body[start : start + size]).digest() for start in range(0, len(body), size)]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def puts(hypha: FakeHypha) -> list[Any]:
    return [record for record in hypha.store.requests if record.method == "PUT"]


def key(hypha: FakeHypha, path: str) -> str:
    artifact = hypha.artifacts["ws/a"]
    return artifact.key(artifact.latest, path)


# --- In parts ---------------------------------------------------------------------------------------------------------


def test_a_large_file_goes_in_parts_each_with_its_md5_and_is_completed_once(
    cf: ArtifactFiles, hypha: FakeHypha, big: Path
) -> None:
    result = cf.upload(big)
    assert hypha.files("ws/a") == {"old": b"old", "big": BODY}
    assert (result["etag"], result["verified"], result["size"]) == (etag(BODY), "etag-parts", len(BODY))
    assert len(puts(hypha)) == PARTS
    assert all("content-md5" in record.headers for record in puts(hypha))
    assert [hypha.count(method) for method in ("put_file_start_multipart", "put_file_complete_multipart")] == [1, 1]
    assert hypha.count("put_file") == 0


@pytest.mark.parametrize("kind", ["path", "open file", "from its middle", "bytes", "memoryview", "pipe"])
def test_large_content_of_every_kind_goes_in_parts(
    files: ArtifactFiles, hypha: FakeHypha, big: Path, kind: str
) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    with open(big, "rb") as opened:
        middle = io.BytesIO(BODY[:5] + BODY)
        middle.seek(5)
        content = {
            "path": big,
            "open file": opened,
            "from its middle": middle,
            "bytes": BODY,
            "memoryview": memoryview(BODY),
            "pipe": Pipe(BODY),
        }[kind]
        assert files.put("x", content)["verified"] == "etag-parts"
    assert hypha.files("ws/a")["x"] == BODY


def test_parts_and_small_files_go_together(cf: ArtifactFiles, hypha: FakeHypha, big: Path) -> None:
    given = [("s1", b"1"), ("big", big), ("s2", b"2"), ("big2", BODY[::-1]), *((f"n{n}", b"x") for n in range(40))]
    results = cf.puts(given)
    assert [result["path"] for result in results] == [path for path, _ in given]
    assert hypha.files("ws/a")["big2"] == BODY[::-1]
    assert len(hypha.files("ws/a")) == 45
    assert hypha.count("commit") == 1


def test_a_part_that_fails_is_sent_again_alone(cf: ArtifactFiles, hypha: FakeHypha, big: Path) -> None:
    hypha.store.fault(key(hypha, "big"), Fault(), Status(500), DropRequest(1000), DropAfterStore(), method="PUT")
    result = cf.upload(big)
    assert hypha.files("ws/a")["big"] == BODY
    assert result["attempts"] > PARTS
    assert hypha.count("put_file_start_multipart") == 1


def test_a_part_that_fails_for_good_is_an_error_and_nothing_is_completed(
    cf: ArtifactFiles, hypha: FakeHypha, big: Path
) -> None:
    class NotTheLast(Fault):
        def answer(self, exchange: Any) -> None:
            if "partNumber=8&" in exchange.request.query:
                exchange.send(faults_response(500))
            else:
                super().answer(exchange)

    hypha.store.fault(key(hypha, "big"), Always(NotTheLast()), method="PUT")
    with pytest.raises(ServerError, match="big"):
        cf.upload(big)
    results = cf.upload([("big", big), ("small", big)], raise_errors=False, overwrite="always")
    assert [type(result["error"]) for result in results] == [ServerError, type(None)]
    assert hypha.files("ws/a") == {"old": b"old", "small": BODY}


def faults_response(status: int) -> Any:
    from tests.support.object_server import Response

    return Response(status)


def test_an_expired_session_begins_anew_and_says_what_it_left(
    cf: ArtifactFiles, hypha: FakeHypha, big: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Expiring(Fault):
        def answer(self, exchange: Any) -> None:
            hypha.expire_urls(uploads=True)
            super().answer(exchange)

    hypha.store.fault(key(hypha, "big"), Fault(), Fault(), Fault(), Expiring(), method="PUT")
    with caplog.at_level(logging.WARNING, "cloudfiles_hypha"):
        assert cf.upload(big)["verified"] == "etag-parts"
    assert hypha.files("ws/a")["big"] == BODY
    assert hypha.count("put_file_start_multipart") == 2
    assert caplog.text.count("starting over") == 1
    assert "X-Amz" not in caplog.text


def test_a_session_that_expires_each_time_is_an_error(files: ArtifactFiles, hypha: FakeHypha, big: Path) -> None:
    hypha.store.fault(key(hypha, "big"), Always(Status(403)), method="PUT")
    with pytest.raises(AccessDenied):
        files.upload(big)
    assert hypha.count("put_file_start_multipart") == 3
    assert hypha.files("ws/a") == {"old": b"old"}


def test_a_session_that_the_server_forgot_begins_anew(files: ArtifactFiles, hypha: FakeHypha, big: Path) -> None:
    hypha.fault("put_file_complete_multipart", RemoteError("ValueError", "Upload session expired or not found"))
    files.upload(big)
    assert hypha.files("ws/a")["big"] == BODY
    assert hypha.count("put_file_start_multipart") == 2


def test_a_completion_whose_answer_is_lost_is_not_an_error_and_nothing_is_sent_twice(
    cf: ArtifactFiles, hypha: FakeHypha, big: Path
) -> None:
    hypha.fault("put_file_complete_multipart", DropAfterStore())
    cf.upload(big)
    assert hypha.files("ws/a")["big"] == BODY
    assert len(puts(hypha)) == PARTS


def test_an_answer_that_leaves_a_part_out_is_an_error_and_never_completed_short(
    files: ArtifactFiles, hypha: FakeHypha, big: Path
) -> None:
    hypha.fault("put_file_start_multipart", Always(OmitPaths([8])))
    with pytest.raises(ServerError, match="8 parts"):
        files.upload(big)
    hypha.clear_faults()
    hypha.fault("put_file_start_multipart", Always(Answer({"upload_id": "x"})))
    with pytest.raises(ServerError, match="8 parts"):
        files.upload(big)
    assert hypha.count("put_file_complete_multipart") == 0
    assert hypha.files("ws/a") == {"old": b"old"}


def test_a_file_that_changes_while_it_is_uploaded_is_an_error(
    files: ArtifactFiles, hypha: FakeHypha, big: Path
) -> None:
    class Changing(Fault):
        def answer(self, exchange: Any) -> None:
            with open(big, "r+b") as file:
                file.write(b"?")
            os.utime(big, (1, 1))
            super().answer(exchange)

    hypha.store.fault(key(hypha, "big"), Fault(), Changing(), method="PUT")
    with pytest.raises(OSError, match="changed while"):
        files.upload(big)
    assert hypha.files("ws/a") == {"old": b"old"}


@pytest.mark.parametrize("size", [1000, len(BODY)])
def test_a_source_that_raises_while_it_is_read_publishes_nothing(
    cf: ArtifactFiles, hypha: FakeHypha, size: int
) -> None:
    class Broken(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            if self.tell() >= size // 2:
                raise ZeroDivisionError
            return super().read(min(count or 0, size // 4))

    with pytest.raises(ZeroDivisionError):
        cf.put("x", Broken(BODY[:size]))
    with pytest.raises(BatchError) as failed:
        cf.puts([("x", Broken(BODY[:size])), ("y", b"y")])
    assert isinstance(failed.value.errors[0]["error"], ZeroDivisionError)
    assert hypha.files("ws/a") == {"old": b"old", "y": b"y"}
    assert hypha.count("put_file_complete_multipart") == 0


def test_a_described_file_is_stored_at_once_since_parts_carry_no_description(
    files: ArtifactFiles, hypha: FakeHypha, big: Path
) -> None:
    files.put("x", big, content_type="text/plain")
    assert len(puts(hypha)) == 1
    assert files.head("x").content_type == "text/plain"


def test_urls_are_asked_to_live_as_long_as_the_upload_may_take() -> None:
    class Sized(Body):
        def __init__(self, size: int) -> None:
            self.size = size

        def open(self) -> Any:
            raise AssertionError

    def lifetime(size: int, speed: float = 0, restarts: int = 0) -> int:
        upload = Upload(PutRequest("x", Sized(size)), width=4)
        upload._speed, upload._restarts = speed, restarts
        return upload.lifetime

    assert lifetime(MIB) == 3600
    assert lifetime(100_000 * MIB) == 100_000
    assert lifetime(100_000 * MIB, speed=100 * MIB) == 4000
    assert lifetime(100_000 * MIB, speed=100 * MIB, restarts=2) == 16_000
    assert lifetime(5 * 1024 * 1024 * MIB) == 604_800


def test_limits_are_refused_at_once(hypha: FakeHypha) -> None:
    with pytest.raises(ValueError, match="5 MiB"):
        connect(hypha, part_size=1000)
    with pytest.raises(ValueError, match="multipart_threshold"):
        connect(hypha, multipart_threshold=-1)
    with connect(hypha) as cf, pytest.raises(ValueError, match="content type"):
        cf.puts([{"path": "x", "content": _Huge(), "content_type": "a/b"}])
    assert hypha.calls == []


class _Huge(io.RawIOBase):
    """Six gigabytes that nobody is to read."""

    def __init__(self) -> None:
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (6 * 1024 * MIB if whence == 2 else 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        raise AssertionError


class Bar:
    """A caller's own, of bytes."""

    unit = "B"

    def __init__(self) -> None:
        self.steps: list[int] = []

    def update(self, n: int) -> None:
        self.steps.append(n)


@pytest.mark.parametrize("forgotten", [False, True], ids=["its URLs expire", "the server forgets it"])
def test_what_was_sent_in_a_session_that_is_lost_is_taken_back_from_the_bar(
    cf: ArtifactFiles, hypha: FakeHypha, big: Path, forgotten: bool
) -> None:
    class Expiring(Fault):
        def answer(self, exchange: Any) -> None:
            hypha.expire_urls(uploads=True)
            super().answer(exchange)

    if forgotten:
        hypha.fault("put_file_complete_multipart", RemoteError("ValueError", "Upload session expired or not found"))
    else:
        hypha.store.fault(key(hypha, "big"), Fault(), Fault(), Fault(), Expiring(), method="PUT")
    bar = Bar()
    cf.upload(big, progress=bar)
    assert hypha.count("put_file_start_multipart") == 2
    assert min(bar.steps) < 0
    assert sum(bar.steps) == len(BODY)


def test_bytes_are_counted_part_by_part(cf: ArtifactFiles, big: Path) -> None:
    bar = Bar()
    (big.parent / "small").write_bytes(b"small")
    cf.upload(big.parent, progress=bar)
    assert sum(bar.steps) == len(BODY) + 5
    assert sum(step > 0 for step in bar.steps) == PARTS + 1


# --- Folders ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("a.txt", "d/b.txt", "d/e/c.bin", "empty"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"" if name == "empty" else name.encode())
    return root


def test_a_folder_is_uploaded_with_its_structure_in_one_commit(cf: ArtifactFiles, hypha: FakeHypha, tree: Path) -> None:
    results = cf.upload(tree, "to/here")
    assert [result["path"] for result in results] == [
        f"to/here/{n}" for n in ("a.txt", "d/b.txt", "d/e/c.bin", "empty")
    ]
    assert hypha.files("ws/a") == {
        "old": b"old",
        "to/here/a.txt": b"a.txt",
        "to/here/d/b.txt": b"d/b.txt",
        "to/here/d/e/c.bin": b"d/e/c.bin",
        "to/here/empty": b"",
    }
    assert hypha.count("commit") == 1


def test_files_are_named_by_their_paths_or_as_they_are_told(
    files: ArtifactFiles, hypha: FakeHypha, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    files.upload(["d/b.txt", tree / "a.txt", ("x/y", "empty"), {"path": "z", "local_path": "a.txt"}], "p/")
    assert set(hypha.files("ws/a")) == {"old", "p/d/b.txt", "p/a.txt", "p/x/y", "p/z"}
    with pytest.raises(ValueError, match="both become"):
        files.upload(["a.txt", tree / "a.txt"])
    with pytest.raises(ValueError, match=r"\.\."):
        files.upload(["../tree/a.txt"])


def test_what_is_there_and_equal_is_not_sent_again(cf: ArtifactFiles, hypha: FakeHypha, tree: Path, big: Path) -> None:
    (tree / "big").write_bytes(BODY)
    cf.upload(tree, "p")
    (tree / "a.txt").write_bytes(b"A.TXT")
    (tree / "d/b.txt").write_bytes(b"longer than it was")
    (tree / "new").write_bytes(b"new")
    hypha.store.forget_requests()
    results = cf.upload(tree, "p")
    assert {result["path"]: result["skipped"] for result in results} == {
        "p/a.txt": False,
        "p/d/b.txt": False,
        "p/new": False,
        "p/big": True,
        "p/d/e/c.bin": True,
        "p/empty": True,
    }
    assert len(puts(hypha)) == 3
    assert hypha.files("ws/a")["p/a.txt"] == b"A.TXT"
    commits = hypha.count("commit")
    assert all(result["skipped"] for result in cf.upload(tree, "p"))
    assert hypha.count("commit") == commits


def test_an_interrupted_upload_goes_on_with_what_is_staged(files: ArtifactFiles, hypha: FakeHypha, tree: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.staged():  # noqa: PT012 -- the block is what raises
        files.upload([("d/b.txt", tree / "d/b.txt"), ("a.txt", tree / "a.txt")])
        raise ZeroDivisionError
    hypha.store.forget_requests()
    with pytest.warns(StagedWarning):
        results = files.upload(tree)
    assert [result["path"] for result in results if result["skipped"]] == ["a.txt", "d/b.txt"]
    assert len(puts(hypha)) == 2
    with pytest.warns(StagedWarning):
        assert all(result["skipped"] for result in files.upload(tree))
    files.commit()
    assert set(hypha.files("ws/a")) == {"old", "a.txt", "d/b.txt", "d/e/c.bin", "empty"}


def test_never_always_and_newer(files: ArtifactFiles, hypha: FakeHypha, tree: Path) -> None:
    files.upload(tree)
    (tree / "a.txt").write_bytes(b"other")
    assert all(result["skipped"] for result in files.upload(tree, overwrite="never"))
    for name in ("a.txt", "d/b.txt", "d/e/c.bin", "empty"):
        os.utime(tree / name, (0, 0))
    os.utime(tree / "d/b.txt", (2**32, 2**32))
    assert [r["path"] for r in files.upload(tree, overwrite="newer") if not r["skipped"]] == ["d/b.txt"]
    assert not any(result["skipped"] for result in files.upload(tree, overwrite="always"))
    assert hypha.files("ws/a")["a.txt"] == b"other"


def test_links_are_followed_left_out_or_refused(files: ArtifactFiles, hypha: FakeHypha, tree: Path) -> None:
    (tree / "link").symlink_to("a.txt")
    (tree / "d/circle").symlink_to(tree)
    (tree / "nowhere").symlink_to("none")
    results = files.upload(tree, raise_errors=False)
    failed = {result["path"] for result in results if result["error"] is not None}
    assert failed == {"d/circle", "nowhere"}
    assert hypha.files("ws/a")["link"] == b"a.txt"
    assert not any("link" in result["path"] for result in files.upload(tree, "skip", symlinks="skip"))
    with pytest.raises(BatchError) as refused:
        files.upload(tree, "refuse", symlinks="refuse")
    assert {result["path"] for result in refused.value.errors} == {"link", "d/circle", "nowhere"}
    with pytest.raises(ValueError, match="symlinks"):
        files.upload(tree, symlinks="perhaps")  # type: ignore[arg-type]


def test_patterns_choose_and_left_overs_of_downloads_are_no_files(
    files: ArtifactFiles, hypha: FakeHypha, tree: Path
) -> None:
    (tree / ".cloudfiles-0123456789abcdef.part").write_bytes(b"?")
    files.upload(tree, include="*.txt", exclude=["d/*"])
    assert set(hypha.files("ws/a")) == {"old", "a.txt"}
    assert len(files.upload(tree, "all")) == 4


def test_one_file_is_a_scalar(files: ArtifactFiles, hypha: FakeHypha, tree: Path) -> None:
    result = files.upload(str(tree / "a.txt"), "p")
    assert (result["path"], result["local_path"], result["verified"]) == ("p/a.txt", str(tree / "a.txt"), "md5")
    with pytest.raises(FileNotFoundError):
        files.upload(tree / "none")


def test_a_folder_and_an_artifact_are_compared(files: ArtifactFiles, hypha: FakeHypha, tree: Path) -> None:
    (tree / "big").write_bytes(BODY)
    files.upload(tree, "p")
    (tree / "a.txt").write_bytes(b"A.TXT")
    (tree / "empty").write_bytes(b"no more")
    (tree / "d/b.txt").unlink()
    (tree / "extra").write_bytes(b"")
    assert files.verify(tree, "p") == {
        "equal": ["big", "d/e/c.bin"],
        "same_size": [],
        "different": ["a.txt", "empty"],
        "missing": ["d/b.txt"],
        "extra": ["extra"],
        "errors": {},
    }
    with pytest.raises(NotADirectoryError):
        files.verify(tree / "a.txt")


def test_what_cannot_be_read_is_an_error_of_its_own_in_a_comparison(
    files: ArtifactFiles, hypha: FakeHypha, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.upload(tree)
    files.puts([("link", b"x"), ("closed/in/it", b"x"), ("closed2", b"x")])
    (tree / "link").symlink_to("nowhere")
    (tree / "closed").symlink_to(tree)  # a folder that cannot be looked into
    (tree / "d/circle").symlink_to(tree / "d")
    opened = open

    def unreadable(path: Any, *args: Any, **options: Any) -> Any:
        if str(path).endswith("b.txt"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr("builtins.open", unreadable)
    hypha.fault_file("ws/a", "a.txt", Always(Status(403)))
    found = files.verify(tree)
    assert {name: type(error) for name, error in found["errors"].items()} == {
        "link": FileNotFoundError,
        "closed": OSError,
        "d/circle": OSError,
        "d/b.txt": PermissionError,
        "a.txt": AccessDenied,
    }
    assert (found["equal"], found["different"], found["extra"]) == (["d/e/c.bin", "empty"], [], [])
    assert found["missing"] == ["closed2", "old"]


@pytest.mark.parametrize("overwrite", ["different", "always"])
def test_a_file_that_vanishes_after_it_was_listed_is_an_error_of_its_own(
    overwrite: Any, files: ArtifactFiles, hypha: FakeHypha, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hypha.add_artifact("ws/a", {"a.txt": b"ABCDE", "d/b.txt": b"7 bytes"})  # of the same sizes: they are compared
    (tree / "gone").symlink_to("nowhere")
    listed = trees.local_files

    def then_it_vanishes(*args: Any) -> Any:
        found = listed(*args)
        (tree / "d/b.txt").unlink()
        return found

    monkeypatch.setattr(trees, "local_files", then_it_vanishes)
    results = files.upload(tree, overwrite=overwrite, raise_errors=False)
    failed = {result["path"]: type(result["error"]) for result in results if result["error"] is not None}
    assert failed == {"d/b.txt": FileNotFoundError, "gone": FileNotFoundError}
    assert hypha.files("ws/a")["a.txt"] == b"a.txt"
    assert hypha.files("ws/a")["d/b.txt"] == b"7 bytes"


def test_a_store_out_of_reach_is_an_error_and_not_a_difference(hypha: FakeHypha, tree: Path) -> None:
    policy = RetryPolicy(attempts=1)
    with connect(hypha, num_threads=2, retry=policy) as files:
        files.upload(tree)
        hypha.store.fault_all(Always(Status(500)))
        with pytest.raises(TransferError):
            files.verify(tree)
