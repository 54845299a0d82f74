"""``transcode``: the same bytes, stored otherwise."""

from __future__ import annotations

import gzip
import json
import lzma
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.cli import encoding
from cloudfiles_hypha.cli.main import main
from tests.support.fake_hypha import FakeHypha
from tests.support.s3_servers import S3Server, seaweed

TEXT = b"text " * 1000
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with seaweed() as server:
        server.make_bucket("encoding")
        yield server


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArtifactFiles]:
    """A folder with a file that is stored as gzip, and two that are not."""
    for name, value in server.secrets.items():
        monkeypatch.setenv(name, value)
    with ArtifactFiles(f"{server.cloudpath('encoding')}/{uuid.uuid4().hex}", secrets=server.secrets) as cf:
        cf.put("in/a.txt", TEXT, content_type="text/x-mine", cache_control="no-store", compress="gzip")
        cf.puts([("in/b.txt", TEXT), ("in/d/c.txt", b"c")])
        yield cf


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_files_are_stored_with_another_encoding_and_read_the_same(run: Run, bucket: ArtifactFiles) -> None:
    place = bucket.cloudpath
    assert run("transcode", "--to", "xz", "-r", f"{place}/in/", f"{place}/out/") == (0, "", "")
    assert {name: bucket.get(f"out/{name}") for name in ("a.txt", "b.txt", "d/c.txt")} == {
        "a.txt": TEXT,
        "b.txt": TEXT,
        "d/c.txt": b"c",
    }
    assert lzma.decompress(bucket.get("out/a.txt", raw=True)) == TEXT
    info = bucket.head("out/a.txt")
    assert (info.compress, info.content_type, info.headers["cache-control"]) == ("xz", "text/x-mine", "no-store")
    assert bucket.get("in/b.txt", raw=True) == TEXT


def test_files_may_be_encoded_where_they_are(run: Run, bucket: ArtifactFiles) -> None:
    place = f"{bucket.cloudpath}/in"
    code, out, _ = run("transcode", "--json", "--to", "none", f"{place}/a.txt", f"{place}/a.txt")
    assert (code, json.loads(out)["content_encoding"]) == (0, None)
    assert bucket.get("in/a.txt", raw=True) == TEXT
    assert run("transcode", "--to", "gzip", "--level", "9", f"{place}/*.txt", f"{place}/")[0] == 0
    assert [gzip.decompress(bucket.get(f"in/{name}.txt", raw=True)) for name in "ab"] == [TEXT, TEXT]
    assert bucket.get("in/d/c.txt", raw=True) == b"c"


def test_a_file_goes_into_a_folder_or_gets_a_name(run: Run, bucket: ArtifactFiles) -> None:
    place = bucket.cloudpath
    assert run("transcode", "--to", "gzip", f"{place}/in/b.txt", f"{place}/in/d")[0] == 0
    assert run("transcode", "--to", "gzip", f"{place}/in/b.txt", f"{place}/in/new")[0] == 0
    assert (bucket.get("in/d/b.txt"), bucket.get("in/new")) == (TEXT, TEXT)


def test_what_cannot_be_read_is_1_and_the_rest_is_stored(
    run: Run, bucket: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = bucket.cloudpath
    bucket.put("in/broken", b"no gzip", content_encoding="gzip")
    arguments = [f"{place}/in/{name}" for name in ("broken", "none", "*.none", "b.txt")]
    code, _, said = run("transcode", "--to", "gzip", *arguments, f"{place}/out/")
    assert (code, said.count("\n")) == (1, 3)
    assert bucket.get("out/b.txt") == TEXT
    monkeypatch.setattr(encoding, "_LARGEST", 100)
    code, _, said = run("transcode", "--to", "gzip", f"{place}/in/b.txt", f"{place}/in/d/c.txt", f"{place}/small/")
    assert (code, "more than 1 GiB" in said, bucket.get("small/c.txt")) == (1, True, b"c")


def test_what_makes_no_sense_is_2_before_anything_is_stored(run: Run, bucket: ArtifactFiles, tmp_path: Path) -> None:
    bucket.put("in/d/b.txt", b"would be read and written to")
    place, before = bucket.cloudpath, sorted(bucket)
    for arguments in (
        ["--to", "gzip", f"{place}/in/b.txt", str(tmp_path)],
        ["--to", "zip", f"{place}/in/b.txt", f"{place}/out/"],
        ["--to", "gzip", "--level", "77", f"{place}/in/b.txt", f"{place}/out/"],
        ["--to", "none", "--level", "1", f"{place}/in/b.txt", f"{place}/out/"],
        ["--to", "gzip", f"{place}/in/", f"{place}/out/"],
        ["--to", "gzip", "--comment", "why", f"{place}/in/b.txt", f"{place}/out/"],
        ["--to", "gzip", "-r", f"{place}/in/", f"{place}/in/d/"],
        ["--to", "gzip", f"{place}/in/b.txt", f"{place}/in/b.txt", f"{place}/out/"],
    ):
        code, _, said = run("transcode", *arguments)
        assert (code, bool(said)) == (2, True), arguments
    assert sorted(bucket) == before
    assert not [*tmp_path.iterdir()]


def test_on_hypha_all_is_one_commit_also_where_they_are(
    run: Run, bucket: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/data", {"a": TEXT, "b": TEXT})
        monkeypatch.setenv("HYPHA_SERVER_URL", hypha.url)
        monkeypatch.setenv("HYPHA_TOKEN", hypha.token or "")
        assert run("transcode", "--to", "gzip", "hypha://ws/data/*", "hypha://ws/data/") == (0, "", "")
        assert [gzip.decompress(content) for content in hypha.files("ws/data").values()] == [TEXT, TEXT]
        assert hypha.count("commit") == 1
        assert run("transcode", "--to", "gzip", f"{bucket.cloudpath}/in/b.txt", "hypha://ws/none/x")[0] == 2
        assert run("transcode", "--to", "gzip", "--create", f"{bucket.cloudpath}/in/b.txt", "hypha://ws/none/x")[0] == 0
