"""The real Hypha and its S3 once more, signing as for regions such as us-east-1: version 2 of Amazon's scheme."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from automated_test import Site
from cloudfiles_hypha import ArtifactFiles, UntypedWarning
from cloudfiles_hypha.devserver.server import DevServer

MIB = 1024 * 1024
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Servers of its own."""
    with DevServer(workspace="v2", region="us-east-1") as server:
        yield Site(server)


@pytest.fixture
def files(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ArtifactFiles]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with site.create(multipart_threshold=6 * MIB, part_size=5 * MIB) as files:
        yield files


def test_the_server_really_signs_by_version_2(site: Site, files: ArtifactFiles) -> None:
    files.put("a", b"a")
    (url,) = site.call("get_file", artifact_id=files.cloudpath, file_path=["a"]).values()
    assert "AWSAccessKeyId=" in url
    assert "X-Amz-" not in url


def test_files_are_stored_read_and_verified_by_their_md5(files: ArtifactFiles) -> None:
    contents = {f"d{n % 3}/n{n}": os.urandom(n * 100) for n in range(40)}
    assert {result["verified"] for result in files.puts(list(contents.items()))} == {"md5"}
    assert files.get(list(contents), return_dict=True) == contents
    assert {result["verified"] for result in files.get(list(contents))} == {"md5"}
    assert files.get({"path": "d1/n1", "start": 10, "end": 20}) == contents["d1/n1"][10:20]
    assert sorted(files) == sorted(contents)
    files.put("d0/n0", b"anew")
    assert files["d0/n0"] == b"anew"
    files.delete("d0/n0")
    assert not files.exists("d0/n0")


def test_a_content_type_is_left_out_and_that_is_said(files: ArtifactFiles) -> None:
    with pytest.warns(UntypedWarning):
        files.put_json("a.json", {"a": 1}, cache_control="no-store")
    assert files.get_json("a.json") == {"a": 1}
    assert files.head("a.json").headers["cache-control"] == "no-store"


def test_large_files_go_in_parts_up_and_down(files: ArtifactFiles, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up/large").write_bytes(os.urandom(11 * MIB))
    (tmp_path / "up/small").write_bytes(b"small")
    verified = {result["path"]: result["verified"] for result in files.upload(tmp_path / "up")}
    assert verified == {"large": "etag-parts", "small": "md5"}
    assert {result["skipped"] for result in files.upload(tmp_path / "up")} == {True}
    files.download("", tmp_path / "down")
    assert (tmp_path / "down/large").read_bytes() == (tmp_path / "up/large").read_bytes()
    found = files.verify(tmp_path / "down")
    assert (found["equal"], found["different"], found["missing"]) == (["large", "small"], [], [])
