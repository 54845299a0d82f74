"""Uploads in parts to a real S3 that are interrupted, refused, or cross others: what is gone on with, what not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import AccessDenied, ArtifactFiles, BatchError, ConnectionFailed, RetryPolicy, TransferError
from cloudfiles_hypha.backends.s3.backend import S3Backend
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.cli.uploads import age
from cloudfiles_hypha.paths import quote_path
from cloudfiles_hypha.progress import Item
from cloudfiles_hypha.results import UnfinishedUpload
from cloudfiles_hypha.transports import HttpRequest, HttpResponse
from tests.support.child import ROOT
from tests.support.s3_servers import S3Server, seaweed

MIB = 1024 * 1024
PART = 5 * MIB
SIZE = 8 * PART + 17
KEY = "folder/large file.bin"

# Uploads a file and dies by SIGKILL as soon as so many bytes have been sent.
_VICTIM = """
import json, os, signal, sys
from cloudfiles_hypha import ArtifactFiles
cloudpath, secrets, local, key, part, enough = json.loads(sys.argv[1])
class Watch:
    sent = 0
    def started(self, item): pass
    def moved(self, item, size):
        self.sent += size
        if self.sent >= enough:
            os.kill(os.getpid(), signal.SIGKILL)
    def failed(self, item, attempt, error): print(error, file=sys.stderr)
    def ended(self, item, error): print(error, file=sys.stderr)
cf = ArtifactFiles(
    cloudpath, secrets=secrets, num_threads=2, multipart_threshold=part, part_size=part, observer=Watch()
)
cf.upload([(key, local)])
"""


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with seaweed() as server:
        server.make_bucket("uploads")
        yield server


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "local"
    path.write_bytes(os.urandom(SIZE))
    return path


class Sent:
    """The requests that a client makes, and those of them that store a part."""

    def __init__(self, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[tuple[str, str]] = []
        backend = cf._backend
        assert isinstance(backend, S3Backend)
        send = backend.sender.send

        def noting(request: HttpRequest) -> Any:
            self.requests.append((request.method, request.url))
            return send(request)

        monkeypatch.setattr(backend.sender, "send", noting)

    @property
    def parts(self) -> int:
        return sum(method == "PUT" and "partNumber=" in url for method, url in self.requests)

    @property
    def begun(self) -> int:
        return sum(method == "POST" and url.endswith("?uploads=") for method, url in self.requests)


def client(server: S3Server, **options: Any) -> ArtifactFiles:
    policy = RetryPolicy(attempts=3, first=0.01, longest=0.05, elapsed=10)
    defaults = {"num_threads": 2, "multipart_threshold": PART, "part_size": PART, "retry": policy}
    return ArtifactFiles(server.cloudpath("uploads"), secrets=server.secrets, **{**defaults, **options})


def unfinished(server: S3Server, *, abort: bool = False) -> int:
    """How many uploads in parts the bucket has that were neither completed nor aborted."""
    with client(server) as cf:
        backend = cf._backend
        assert isinstance(backend, S3Backend)
        ids = re.findall(rb"<UploadId>([^<]+)<", backend.sender.send(HttpRequest("GET", "?uploads=")).body)
        for each in ids if abort else ():
            backend.sender.send(HttpRequest("DELETE", f"/folder/large%20file.bin?uploadId={each.decode()}"))
        return len(ids)


@pytest.fixture(autouse=True)
def empty(server: S3Server) -> Iterator[None]:
    yield
    unfinished(server, abort=True)
    with client(server) as cf:
        cf.delete(KEY)


def killed(server: S3Server, local: Path, enough: int) -> None:
    run_and_be_killed(_VICTIM, [server.cloudpath("uploads"), server.secrets, str(local), KEY, PART, enough])


def run_and_be_killed(script: str, arguments: list[Any]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, json.dumps(arguments)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr


def notes() -> list[Path]:
    return [*(Path(os.environ["XDG_STATE_HOME"]) / "cloudfiles_hypha" / "uploads").glob("*")]


def test_an_upload_that_was_killed_twice_goes_on_where_it_was(
    server: S3Server, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(server, local, 2 * PART)
    assert unfinished(server) == 1
    killed(server, local, 5 * PART)
    assert unfinished(server) == 1  # the same one
    with client(server) as cf:
        sent = Sent(cf, monkeypatch)
        (result,) = cf.upload([(KEY, local)])
        assert result["verified"] == "etag-parts"
        assert cf.get(KEY) == local.read_bytes()
    assert sent.begun == 0
    assert 1 <= sent.parts <= 4  # of nine
    assert unfinished(server) == 0
    assert notes() == []


def test_what_has_changed_since_is_sent_again(server: S3Server, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(server, local, 4 * PART)
    with local.open("r+b") as file:
        file.write(b"changed")
    with client(server) as cf:
        sent = Sent(cf, monkeypatch)
        cf.upload([(KEY, local)])
        assert cf.get(KEY) == local.read_bytes()
    assert sent.begun == 0
    assert sent.parts < 9


@pytest.mark.parametrize("change", ["size", "type", "parts"])
def test_an_upload_of_something_else_aborts_the_one_that_was_left(
    server: S3Server, local: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    killed(server, local, 2 * PART)
    if change == "size":
        local.write_bytes(local.read_bytes()[: 4 * PART])
    with client(server, part_size=PART + (change == "parts") * MIB) as cf:
        sent = Sent(cf, monkeypatch)
        cf.put(KEY, local, content_type="text/plain" if change == "type" else None)
        assert cf.get(KEY) == local.read_bytes()
    assert sent.begun == 1
    assert unfinished(server) == 0
    assert notes() == []


def test_an_upload_that_the_store_has_forgotten_begins_anew(
    server: S3Server, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(server, local, 2 * PART)
    with client(server) as cf:
        backend = cf._backend
        assert isinstance(backend, S3Backend)
        note = json.loads(notes()[0].read_text())
        backend.sender.send(HttpRequest("DELETE", f"/folder/large%20file.bin?uploadId={note['upload']}"))
        sent = Sent(cf, monkeypatch)
        cf.upload([(KEY, local)])
        assert cf.get(KEY) == local.read_bytes()
    assert (sent.begun, sent.parts) == (1, 9)


def test_a_note_that_was_cut_off_counts_for_nothing(server: S3Server, local: Path) -> None:
    killed(server, local, 2 * PART)
    (note,) = notes()
    note.write_text(note.read_text()[:20])
    with client(server) as cf:
        cf.upload([(KEY, local)])
        assert cf.get(KEY) == local.read_bytes()
    assert notes() == []
    assert unfinished(server) == 1  # nobody knows whose it is


_STREAMER = """
import json, os, signal, sys
from cloudfiles_hypha import ArtifactFiles
cloudpath, secrets, key, part = json.loads(sys.argv[1])
def blocks():
    for _ in range(6):
        yield bytes(part)
    os.kill(os.getpid(), signal.SIGKILL)
ArtifactFiles(cloudpath, secrets=secrets, num_threads=2, multipart_threshold=part, part_size=part).put(key, blocks())
"""


def test_what_a_killed_stream_has_left_is_aborted_by_the_next_upload_to_its_name_and_never_gone_on_with(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_and_be_killed(_STREAMER, [server.cloudpath("uploads"), server.secrets, KEY, PART])
    assert unfinished(server) == len(notes()) == 1
    with client(server) as cf:
        sent = Sent(cf, monkeypatch)
        content = [bytes(PART)] * 2 + [b"another end"]
        assert cf.put(KEY, iter(content))["verified"] == "etag-parts"
        assert cf.get(KEY) == b"".join(content)
    assert (sent.begun, sent.parts) == (1, 2)
    assert unfinished(server) == 0
    assert notes() == []


def test_two_uploads_to_one_name_at_the_same_time_do_not_share_parts(server: S3Server, local: Path) -> None:
    other = bytes(SIZE)
    with client(server) as inner:

        class Meanwhile:
            done = False

            def started(self, item: Item) -> None:
                pass

            def moved(self, item: Item, size: int) -> None:
                if not self.done:
                    self.done = True
                    inner.put(KEY, other)

            def failed(self, item: Item, attempt: int, error: Exception) -> None:
                raise error

            def ended(self, item: Item, error: Exception | None) -> None:
                pass

        with client(server, observer=Meanwhile()) as outer:
            outer.upload([(KEY, local)])
            assert outer.get(KEY) in (other, local.read_bytes())  # that of whichever came last, and whole
    assert unfinished(server) == 0
    assert notes() == []


def test_a_refusal_aborts_and_a_lost_network_does_not(
    server: S3Server, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, left in ((AccessDenied("no"), 0), (ConnectionFailed("gone"), 1)):
        with client(server) as cf, monkeypatch.context() as patched:
            backend = cf._backend
            assert isinstance(backend, S3Backend)
            send, parts = backend.sender.send, [0]

            def failing(request: HttpRequest, send: Any = send, parts: list[int] = parts, error: Any = error) -> Any:
                if "partNumber=" in request.url:
                    parts[0] += 1
                    if parts[0] > 3:
                        raise error
                return send(request)

            patched.setattr(backend.sender, "send", failing)
            with pytest.raises(BatchError):
                cf.upload([(KEY, local)])
        assert unfinished(server) == left
        assert len(notes()) == left
    with client(server) as cf:
        sent = Sent(cf, monkeypatch)
        cf.upload([(KEY, local)])
        assert (sent.begun, sent.parts) == (0, 6)


# -- what is unfinished is listed, and aborted


def begun(server: S3Server, name: str) -> str:
    """The id of an upload that somebody has begun elsewhere."""
    with client(server) as cf:
        backend = cf._backend
        assert isinstance(backend, S3Backend)
        body = backend.sender.send(HttpRequest("POST", f"/{quote_path(name)}?uploads=", (), b"")).body
        return re.findall(r"<UploadId>([^<]+)<", body.decode())[0]


def test_unfinished_uploads_are_listed_with_whose_they_are(server: S3Server, local: Path) -> None:
    killed(server, local, 2 * PART)
    names = ["folder/a+b é%20&", "folder/x", "other/x"]
    ids = {name: begun(server, name) for name in names}
    with client(server) as cf, ArtifactFiles(f"{cf.cloudpath}/folder", secrets=server.secrets) as below:
        try:
            found = {each.path: each for each in cf.uploads()}
            assert sorted(found) == sorted([*names, KEY])
            assert (found[KEY].ours, found[KEY].running) == (True, False)
            assert {name: found[name].id for name in names} == ids
            assert not any(found[name].ours or found[name].running for name in names)
            assert all(abs((each.initiated or 0) - time.time()) < 120 for each in found.values())
            assert sorted(each.path for each in below.uploads()) == sorted([*(n[7:] for n in names[:2]), KEY[7:]])
            assert [each.path for each in below.uploads("x")] == ["x"]
            assert len(notes()) == 1  # looking leaves none
            with pytest.raises(ValueError, match="older_than"):
                cf.abort_uploads()
            assert cf.abort_uploads(older_than=3600) == []
            results = cf.abort_uploads([found[name] for name in names])
            assert [(result["path"], result["error"], result["tags"]) for result in results] == [
                (name, None, found[name]) for name in names
            ]
            assert [each.path for each in cf.uploads()] == [KEY]
            assert [result["path"] for result in below.abort_uploads(older_than=-60)] == [KEY[7:]]
            assert [*cf.uploads()] == notes() == []
        finally:
            cf.abort_uploads(older_than=-60)


def test_an_upload_that_a_process_is_at_is_not_aborted(server: S3Server, local: Path) -> None:
    killed(server, local, 2 * PART)
    with client(server) as cf:
        journal = cf._backend.journal(KEY)  # type: ignore[attr-defined]
        assert journal.acquire()
        try:
            (found,) = cf.uploads()
            assert (found.ours, found.running) == (True, True)
            with pytest.raises(BatchError, match="a process of this machine is at this upload"):
                cf.abort_uploads([found])
            assert unfinished(server) == len(notes()) == 1
        finally:
            journal.leave()
        other = begun(server, KEY)  # somebody else's, to the same name
        assert {each.id: (each.ours, each.running) for each in cf.uploads()} == {
            found.id: (True, False),
            other: (False, False),
        }
        cf.abort_uploads([each for each in cf.uploads() if each.id == other])
        cf.upload([(KEY, local)])  # which nothing has been taken from
        assert cf.get(KEY) == local.read_bytes()


def test_an_upload_that_is_not_noted_yet_is_not_aborted_while_its_name_is_being_uploaded_to(
    server: S3Server, local: Path
) -> None:
    """Between its beginning and its note, or because another process has the note of this name."""
    with client(server) as cf:
        journal = cf._backend.journal(KEY)  # type: ignore[attr-defined]
        assert journal.acquire()
        upload = begun(server, KEY)
        with pytest.raises(BatchError, match="a process of this machine is at"):
            cf.abort_uploads(older_than=-60)
        assert [each.id for each in cf.uploads()] == [upload]
        journal.leave()
        cf.abort_uploads(older_than=-60)
        assert [*cf.uploads()] == notes() == []


def test_a_name_that_is_none_of_ours_is_an_error_of_its_upload_alone(server: S3Server) -> None:
    ids = {name: begun(server, name) for name in ("folder/a", "folder/b")}
    with client(server) as cf:
        odd = UnfinishedUpload("folder//../a", ids["folder/a"], 0.0, False, False)
        wanted = [odd, *cf.uploads("folder/b")]
        results = cf.abort_uploads(wanted, raise_errors=False)
        assert [isinstance(result["error"], ValueError) for result in results] == [True, False]
        assert [each.path for each in cf.uploads()] == ["folder/a"]
        cf.abort_uploads(older_than=-60)


def test_a_list_of_uploads_goes_on_where_it_was_cut_and_not_in_circles(monkeypatch: pytest.MonkeyPatch) -> None:
    def page(more: bool, *uploads: str) -> HttpResponse:
        listed = "".join(f"<Upload><Key>{each}</Key><UploadId>i{each}</UploadId></Upload>" for each in uploads)
        end = "<NextKeyMarker>b%2B</NextKeyMarker><NextUploadIdMarker>ib</NextUploadIdMarker>" if more else ""
        body = f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{end}{listed}"
        return HttpResponse(200, f"<ListMultipartUploadsResult>{body}</ListMultipartUploadsResult>".encode(), [], {})

    secrets = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B"}
    with ArtifactFiles("s3://http://host/bucket", secrets=secrets, num_threads=0) as cf:
        asked: list[str] = []
        answers = iter([page(True, "a", "b%2B"), page(False, "c"), page(True, "a"), page(True, "a")])

        def send(request: HttpRequest) -> HttpResponse:
            asked.append(request.url)
            return next(answers)

        monkeypatch.setattr(cf._backend.sender, "send", send)  # type: ignore[attr-defined]
        assert [(each.path, each.id, each.initiated) for each in cf.uploads()] == [
            ("a", "ia", None),
            ("b+", "ib%2B", None),
            ("c", "ic", None),
        ]
        assert "key-marker=b%2B" in asked[1]
        assert "upload-id-marker=ib" in asked[1]
        with pytest.raises(TransferError, match="just been"):
            [*cf.uploads()]
        answers = iter([page(False, "other/c", "folder/a", "folder2/b")])  # of a store that knows no prefix
        assert [each.path for each in cf.uploads("folder/")] == ["folder/a"]


def test_other_places_tell_of_no_uploads() -> None:
    with ArtifactFiles("mem://uploads") as cf:
        for ask in (cf.uploads, lambda: cf.abort_uploads(older_than=0)):
            with pytest.raises(TypeError, match="is for s3://"):
                next(iter(ask()))


def test_the_command_line_lists_and_aborts_unfinished_uploads(
    server: S3Server, local: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["uploads", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    for name, value in server.secrets.items():
        monkeypatch.setenv(name, value)
    bucket = server.cloudpath("uploads")
    killed(server, local, 2 * PART)
    other = begun(server, "folder/other")
    code, out, _ = run(f"{bucket}/folder/")
    assert code == 0
    assert [line.split("\t")[1::2] for line in out.splitlines()] == [["ours", KEY], ["unknown", "folder/other"]]
    assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\tours\t", out)
    assert run(bucket, "--older-than", "1d") == (0, "", "")
    assert run(bucket, "--abort")[0] == 2
    assert run("mem://uploads")[0] == 2
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 60)
    with client(server) as cf:
        journal = cf._backend.journal(KEY)  # type: ignore[attr-defined]
        assert journal.acquire()
        code, out, err = run(bucket, "--abort", "--older-than", "30s")
        journal.leave()
    assert (code, out) == (1, f"aborted\t{other}\tfolder/other\n")
    assert KEY in err
    assert "at this upload" in err
    assert run(f"{bucket}/fold", "--abort", "--older-than", "0s")[0] == 0
    assert run(bucket) == (0, "", "")


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604800), ("12h", 43200), ("5m", 300), ("9s", 9), ("9", 9)])
def test_ages_are_numbers_with_a_unit(text: str, seconds: float) -> None:
    assert age(text) == seconds
    for wrong in ("", "d", "-1d", "1.5h", "1w"):
        with pytest.raises(ValueError, match="^" + re.escape(wrong)):
            age(wrong)
