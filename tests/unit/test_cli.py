"""The command line: what it copies, lists and removes, its exit codes, and what it refuses to do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cloudfiles_hypha import ArtifactFiles, RetryPolicy, StagedWarning, credentials
from cloudfiles_hypha.backends import memory
from cloudfiles_hypha.cli import copying, places, reading
from cloudfiles_hypha.cli import main as cli
from cloudfiles_hypha.cli.main import _options, main
from cloudfiles_hypha.cli.places import Clients, locate
from cloudfiles_hypha.devserver import demo
from cloudfiles_hypha.disk import tree as localdisk
from cloudfiles_hypha.errors import ConnectionFailed
from tests.support.fake_hypha import FakeHypha, RemoteError
from tests.support.object_server import Always, Drop, Hang, ObjectServer, Status

TOKEN = "very-secret-token-0123456789"
FILES = {"a.txt": b"aaaa", "empty": b"", "dir/b #2.txt": b"bb", "dir/sub/c": b"c", "dir2/d": b"d"}


@pytest.fixture
def bucket() -> Iterator[str]:
    """The cloudpath of a bucket in memory that holds FILES."""
    name = f"cli-{uuid.uuid4().hex}"
    with ArtifactFiles(f"mem://{name}") as cf:
        cf.puts(list(FILES.items()))
    yield f"mem://{name}"
    memory._buckets.pop(name, None)


@pytest.fixture
def hypha(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHypha]:
    """A Hypha that the environment points to, with the artifact ws/data that holds FILES."""
    with FakeHypha(token=TOKEN) as server:
        server.add_artifact("ws/data", FILES)
        monkeypatch.setenv("HYPHA_SERVER_URL", server.url)
        monkeypatch.setenv("HYPHA_TOKEN", TOKEN)
        yield server


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A local folder with FILES in it."""
    return write_tree(tmp_path / "tree", FILES)


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_cloud(cloudpath: str) -> dict[str, bytes]:
    with ArtifactFiles(cloudpath) as cf:
        return {result["path"]: result["content"] for result in cf.get(list(cf.list()))}


def smuggle(bucket: str, name: str, content: bytes = b"evil") -> None:
    """Put an object under a name that the client would refuse, as another client may have."""
    source = memory._Object(content, "", None, 0.0)
    memory._buckets[bucket.removeprefix("mem://")][name] = source


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


# -- ls


def test_ls_lists_everything_relative_to_the_folder(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", bucket]) == 0
    assert capsys.readouterr().out.splitlines() == sorted(FILES)
    assert main(["ls", f"{bucket}/dir"]) == 0
    assert capsys.readouterr().out.splitlines() == ["b #2.txt", "sub/c"]  # and nothing of dir2


@pytest.mark.parametrize("option", ["--flat", "-1"])
def test_ls_flat_names_folders_once(bucket: str, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["ls", option, bucket]) == 0
    assert capsys.readouterr().out.splitlines() == ["a.txt", "dir/", "dir2/", "empty"]


def test_ls_long_has_sizes_but_not_for_folders(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "-l", "--flat", bucket]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[-1]) for row in rows] == [("4", "a.txt"), ("-", "dir/"), ("-", "dir2/"), ("0", "empty")]


def test_ls_of_a_file_shows_it(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", f"{bucket}/dir/sub/c"]) == 0
    assert capsys.readouterr().out == "c\n"


@pytest.mark.parametrize("name", ["nothing", "nothing/", "a.txt/"])
def test_ls_of_what_is_not_there_is_an_error(name: str, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", f"{bucket}/{name}"]) == 2
    assert capsys.readouterr() == ("", f"cloudfiles-hypha: {bucket}/{name}: no such file or folder\n")


def test_ls_shows_odd_names_on_one_line(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    smuggle(bucket, "z\n\x1b[31m")
    assert main(["ls", bucket]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == r"z\n\x1b[31m"


def test_ls_long_goes_on_after_an_item_that_fails(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    smuggle(bucket, "../evil")
    assert main(["ls", "-l", bucket]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == len(FILES) + 1
    assert "../evil" in shown.err


def test_ls_of_a_web_server_says_that_it_cannot(object_server: ObjectServer) -> None:
    assert main(["ls", object_server.url_for("dir/x")]) == 2


# -- cat


def test_cat_writes_files_in_the_order_given(bucket: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    raw = bytes(range(256))
    smuggle(bucket, "raw", raw)
    names = ["raw", "a.txt", "empty", "raw"]
    assert main(["cat", *(f"{bucket}/{name}" for name in names)]) == 0
    assert capfdbinary.readouterr().out == raw + b"aaaa" + raw


def test_cat_of_some_that_fail_is_1_and_shows_the_rest(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cat", f"{bucket}/a.txt", f"{bucket}/missing", f"{bucket}/dir/sub/c"]) == 1
    assert capsys.readouterr() == ("aaaac", f"cloudfiles-hypha: {bucket}/missing: no such object\n")


def test_cat_reads_web_addresses_as_they_are_written(
    object_server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    object_server.put("dir/b #2%.txt", b"bb")
    object_server.put("top", b"t")
    assert main(["cat", f"{object_server.url}/dir/b%20%232%25.txt", f"{object_server.url}/top"]) == 0
    assert capsys.readouterr().out == "bbt"


@pytest.mark.parametrize("command", ["cat", "rm"])
def test_a_folder_is_no_file(command: str, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    for cloudpath in (bucket, f"{bucket}/dir/"):
        assert main([command, cloudpath]) == 2
    assert read_cloud(bucket) == FILES


# -- exists


def test_exists_tells_by_its_exit_code(bucket: str, hypha: FakeHypha) -> None:
    assert [main(["exists", f"{bucket}/{name}"]) for name in ("a.txt", "nothing", "dir", "dir/", "nothing/")] == [
        *(0, 1, 1, 0, 1),
    ]
    assert [main(["exists", f"ws/{name}"]) for name in ("data", "data/a.txt", "data/x", "none", "none/x")] == [
        *(0, 0, 1, 1, 1),
    ]


def test_exists_is_2_when_the_answer_is_not_known(object_server: ObjectServer) -> None:
    object_server.fault("a", Status(403), Status(403))  # HEAD, then GET
    assert main(["exists", object_server.url_for("a")]) == 2
    assert main(["exists", "gopher://host/a"]) == 2
    assert main(["exists", object_server.url_for("b")]) == 1


# -- rm


def test_rm_removes_files_and_says_what_was_not_there(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", f"{bucket}/a.txt", f"{bucket}/dir", f"{bucket}/dir2/d"]) == 1
    assert sorted(read_cloud(bucket)) == ["dir/b #2.txt", "dir/sub/c", "empty"]
    assert f"{bucket}/dir: no such file (folders are removed with -r)" in capsys.readouterr().err


def test_rm_recursive_removes_a_folder_and_not_its_neighbours(bucket: str) -> None:
    assert main(["rm", "-r", f"{bucket}/dir", f"{bucket}/a.txt"]) == 0
    assert sorted(read_cloud(bucket)) == ["dir2/d", "empty"]


def test_rm_removes_nothing_if_any_listing_fails(hypha: FakeHypha, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "-r", "ws/data/dir2", "ws/data/nothing/"]) == 2  # the first listing succeeds
    hypha.fault("list_files", Always(RemoteError("PermissionError", "no")))
    assert main(["rm", "-r", "ws/data/dir"]) == 2
    hypha.fault("get_file", Always(RemoteError("PermissionError", "no")))
    assert main(["rm", "ws/data/a.txt", "ws/data/empty"]) == 2
    assert hypha.count("remove_file") == hypha.count("edit") == 0
    assert hypha.files("ws/data") == FILES


def test_rm_of_both_a_file_and_a_folder_asks_which(bucket: str) -> None:
    smuggle(bucket, "dir")
    assert main(["rm", "-r", f"{bucket}/dir"]) == 2
    assert main(["rm", "-r", f"{bucket}/dir/"]) == 0
    assert main(["rm", f"{bucket}/dir"]) == 0
    assert sorted(read_cloud(bucket)) == ["a.txt", "dir2/d", "empty"]


def test_writing_to_a_version_or_a_web_server_is_refused(hypha: FakeHypha, tree: Path) -> None:
    assert main(["rm", "ws/data@v0/a.txt"]) == 2
    assert main(["cp", str(tree / "a.txt"), "hypha://ws/data@v0/x"]) == 2
    assert main(["cp", str(tree / "a.txt"), hypha.store.url_for("x")]) == 2
    assert hypha.files("ws/data") == FILES


# -- cp, upwards


def test_folders_go_up_and_come_down_the_same(tree: Path, hypha: FakeHypha, tmp_path: Path) -> None:
    assert main(["cp", "-r", "--create", str(tree), "hypha://ws/fresh/below"]) == 0
    assert hypha.files("ws/fresh") == {f"below/{name}": content for name, content in FILES.items()}
    assert hypha.count("commit") == 1
    assert main(["cp", "-r", "hypha://ws/fresh/below", str(tmp_path / "back")]) == 0
    assert read_tree(tmp_path / "back") == FILES


def test_a_file_takes_the_name_of_the_target_unless_that_is_a_folder(bucket: str, tree: Path) -> None:
    source = str(tree / "a.txt")
    for target in ("new", "slash/", "dir", ""):
        assert main(["cp", source, f"{bucket}/{target}"]) == 0
    added = {name for name, content in read_cloud(bucket).items() if content == b"aaaa"}
    assert added == {"a.txt", "new", "slash/a.txt", "dir/a.txt"}


def test_two_files_make_the_target_a_folder(bucket: str, tree: Path) -> None:
    assert main(["cp", str(tree / "a.txt"), str(tree / "empty"), f"{bucket}/two"]) == 0
    assert read_cloud(f"{bucket}/two") == {"a.txt": b"aaaa", "empty": b""}


def test_a_missing_artifact_is_made_only_on_request(
    hypha: FakeHypha, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cp", str(tree / "a.txt"), "hypha://ws/fresh/x"]) == 2
    assert "--create" in capsys.readouterr().err
    assert main(["cp", "--create", str(tree / "a.txt"), "hypha://ws/fresh/x"]) == 0
    assert hypha.files("ws/fresh") == {"x": b"aaaa"}


def test_comment_and_version_reach_the_commit(hypha: FakeHypha, tree: Path) -> None:
    assert main(["cp", "--version", "second", "--comment", "why", str(tree / "a.txt"), "hypha://ws/data/"]) == 0
    assert hypha.files("ws/data", "second") == {"a.txt": b"aaaa"}
    assert hypha.artifacts["ws/data"].versions[-1]["comment"] == "why"
    assert hypha.files("ws/data", "v0") == FILES


def test_what_cannot_be_read_does_not_keep_the_rest_from_going_up(
    bucket: str, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "dangling").symlink_to("nowhere")
    (tree / "dir/loop").symlink_to("..")
    (tree / "link").symlink_to("a.txt")
    os.mkfifo(tree / "pipe")
    (tree / "back\\slash").write_bytes(b"")
    assert main(["cp", "-r", str(tree), str(tree / "missing"), f"{bucket}/up"]) == 1
    assert read_cloud(f"{bucket}/up") == {**FILES, "link": b"aaaa"}
    complaints = capsys.readouterr().err
    for name in ("dangling", "dir/loop", "pipe", "back", "missing"):
        assert name in complaints


def test_a_folder_needs_r_and_a_pipe_needs_a_dash(bucket: str, tree: Path, tmp_path: Path) -> None:
    assert main(["cp", str(tree), bucket]) == 2
    os.mkfifo(tmp_path / "pipe")
    assert main(["cp", str(tmp_path / "pipe"), f"{bucket}/pipe"]) == 1  # as an empty file it would be a lie


def test_two_sources_of_one_name_are_told_before_any_goes_up(bucket: str, tree: Path, tmp_path: Path) -> None:
    other = write_tree(tmp_path / "other", {"a.txt": b"other"})
    assert main(["cp", str(tree / "empty"), str(tree / "a.txt"), str(other / "a.txt"), f"{bucket}/up/"]) == 2
    assert read_cloud(bucket) == FILES


def test_standard_input_goes_to_the_file_that_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"from a pipe\n")
    assert main(["cp", "-", f"{bucket}/piped"]) == 0
    assert read_cloud(bucket)["piped"] == b"from a pipe\n"
    assert main(["cp", "-", f"{bucket}/dir/"]) == 2
    assert main(["cp", "-", "a", f"{bucket}/x"]) == 2


def test_uploads_that_fail_are_1_and_leave_the_rest(hypha: FakeHypha, tree: Path) -> None:
    hypha.fault_file("ws/data", "up/empty", Always(Status(400)), method="PUT")
    assert main(["cp", "-r", str(tree), "hypha://ws/data/up"]) == 1
    expected = {f"up/{name}": content for name, content in FILES.items() if name != "empty"}
    assert hypha.files("ws/data") == {**FILES, **expected}


# -- cp, downwards


def test_a_file_comes_down_under_either_name(bucket: str, tmp_path: Path) -> None:
    assert main(["cp", f"{bucket}/a.txt", str(tmp_path / "new")]) == 0
    assert main(["cp", f"{bucket}/a.txt", str(tmp_path)]) == 0
    assert main(["cp", f"{bucket}/a.txt", f"{tmp_path}/made/"]) == 0
    assert main(["cp", "-r", f"{bucket}/a.txt", f"{tmp_path}/with-r"]) == 0
    assert read_tree(tmp_path) == dict.fromkeys(("new", "a.txt", "made/a.txt", "with-r/a.txt"), b"aaaa")


def test_web_files_come_down(object_server: ObjectServer, tmp_path: Path) -> None:
    for name in ("x/a", "y/b"):
        object_server.put(name, name.encode())
    urls = [object_server.url_for(name) for name in ("x/a", "y/b", "y/none")]
    assert main(["cp", *urls, str(tmp_path)]) == 1
    assert read_tree(tmp_path) == {"a": b"x/a", "b": b"y/b"}


@pytest.mark.parametrize(
    "name", ["../evil", "dir/../../evil", "/etc/evil", "C:evil", "C:\\evil", "dir/NUL", "con.txt", "a\x00b", ".", ".."]
)
def test_names_that_are_no_local_names_stay_away(
    name: str, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smuggle(bucket, name)
    smuggle(bucket, "fine..txt", b"fine")
    assert main(["cp", "-q", "-r", bucket, str(tmp_path / "down")]) == 1
    assert read_tree(tmp_path) == {f"down/{name}": content for name, content in {**FILES, "fine..txt": b"fine"}.items()}
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_links_below_the_target_lead_nowhere_else(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = write_tree(tmp_path / "outside", {"precious": b"mine"})
    down = tmp_path / "down"
    (down / "inside").mkdir(parents=True)
    (down / "dir").symlink_to(outside)  # a folder outside
    (down / "dir2").symlink_to("inside")  # a folder inside
    (down / "a.txt").symlink_to(outside / "precious")  # a file outside: the link is replaced
    assert main(["cp", "-q", "-r", bucket, str(down)]) == 1
    assert read_tree(outside) == {"precious": b"mine"}
    assert (down / "a.txt").read_bytes() == b"aaaa"
    assert (down / "inside/d").read_bytes() == b"d"
    assert len(capsys.readouterr().err.splitlines()) == 2  # the two files of dir


def test_names_that_windows_reserves_come_down_on_request(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smuggle(bucket, "aux.txt", b"aux")
    assert main(["cp", "-r", bucket, str(tmp_path / "down")]) == 1
    assert "windows_names" in capsys.readouterr().err
    assert main(["cp", "-r", "--windows-names", bucket, str(tmp_path / "down")]) == 0
    assert read_tree(tmp_path / "down") == {**FILES, "aux.txt": b"aux"}


def test_a_folder_without_r_says_so(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in ("dir", "dir/"):
        for target in (str(tmp_path / "x"), "-", f"{bucket}/copy"):
            assert main(["cp", f"{bucket}/{source}", target]) != 0
            assert "-r" in capsys.readouterr().err
    assert main(["rm", f"{bucket}/dir/"]) == 2
    assert "-r" in capsys.readouterr().err
    assert main(["cp", f"{bucket}/nothing", str(tmp_path / "x")]) == 1
    assert "-r" not in capsys.readouterr().err
    assert read_tree(tmp_path) == {}
    assert read_cloud(bucket) == FILES


# -- cp, to a stream


def test_a_single_file_goes_to_standard_output(bucket: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["cp", f"{bucket}/a.txt", "-"]) == 0
    assert capfdbinary.readouterr().out == b"aaaa"
    assert main(["cp", f"{bucket}/missing", "-"]) == 1
    assert main(["cp", "-r", f"{bucket}/dir", "-"]) == 2
    assert main(["cp", f"{bucket}/a.txt", f"{bucket}/empty", "/dev/stdout"]) == 2
    assert main(["cp", "--overwrite", "never", f"{bucket}/a.txt", "-"]) == 2
    assert capfdbinary.readouterr().out == b""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_a_redirected_file_is_written_to_and_never_replaced(
    name: str, object_server: ObjectServer, tmp_path: Path
) -> None:
    object_server.put("a", b"new")
    target = tmp_path / "out"
    (tmp_path / "link").symlink_to("/dev/stdout")
    target.write_bytes(b"old ")
    there = target.stat().st_ino
    for opened, expected in (("ab", b"old new"), ("wb", b"new")):
        with target.open(opened) as file:
            process = start("cp", object_server.url_for("a"), str(tmp_path / name), stdout=file)
            assert (process.communicate(timeout=30)[1], process.returncode) == (b"", 0)
        assert (target.read_bytes(), target.stat().st_ino) == (expected, there)


def test_a_pipe_is_written_to(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert main(["cp", f"{bucket}/a.txt", str(tmp_path / "pipe")]) == 0
        assert os.read(reader, 100) == b"aaaa"
    finally:
        os.close(reader)
    assert main(["cp", f"{bucket}/a.txt", str(tmp_path / "pipe")]) == 2
    assert "nobody reads" in capsys.readouterr().err


def test_a_stream_gets_each_byte_once_whatever_breaks(
    hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(reading, "_STREAM_PART", 1000)
    body = bytes(range(256)) * 30
    hypha.add_artifact("ws/data", {"big": body})
    hypha.fault_file("ws/data", "big", *[Drop(after_bytes=700)] * 3)
    assert main(["cp", "hypha://ws/data/big", "-"]) == 0
    assert capfdbinary.readouterr().out == body


def test_a_stream_of_what_is_stored_encoded_is_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_STREAM_PART", 10)
    name = uuid.uuid4().hex
    ArtifactFiles(f"mem://{name}").put("a", b"0123456789" * 100, compress="gzip")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        assert main(["cp", f"mem://{name}/a", str(pipe)]) == 0
        assert reader.read() == b"0123456789" * 100


def test_cp_reads_nothing_that_it_writes(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (f"mem://{uuid.uuid4().hex}" for _ in range(2))
    ArtifactFiles(one).put("dir/x", b"1")
    cf = ArtifactFiles(two)
    cf.put("dir/x", b"2")
    assert main(["cp", "-r", "--no-progress", one, f"{two}/dir", f"{two}/"]) == 2
    assert "both read and written to" in capsys.readouterr().err
    assert {path: cf.get(path) for path in cf} == {"dir/x": b"2"}


def test_a_stream_of_an_object_that_changes_is_an_error(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "_STREAM_PART", 2)

    def changed(content: bytes) -> None:
        smuggle(bucket, "a.txt", b"AAAA")

    monkeypatch.setattr(copying, "write_out", changed)
    assert main(["cp", f"{bucket}/a.txt", "-"]) == 1
    assert "a.txt: the object has changed" in capsys.readouterr().err


def test_a_target_that_was_named_may_be_a_link(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    assert main(["cp", f"{bucket}/a.txt", str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"aaaa"


def test_a_device_is_not_replaced_by_a_file(bucket: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert main(["cp", f"{bucket}/a.txt", str(tmp_path / "pipe")]) == 2
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("extra", ["dir", "a.txt/below"])
def test_a_file_where_a_folder_must_be_is_told_before_any_byte_moves(
    extra: str, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smuggle(bucket, extra)
    assert main(["cp", "-r", bucket, str(tmp_path / "down")]) == 2
    assert "collide" in capsys.readouterr().err
    assert not (tmp_path / "down").exists()


def test_names_that_differ_in_case_collide_only_where_the_disk_says_so(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smuggle(bucket, "A.TXT", b"capital")
    smuggle(bucket, "Dir2/D", b"capital")
    monkeypatch.setattr(localdisk, "tells_apart", lambda folder: False)
    assert main(["cp", "-r", bucket, str(tmp_path / "down")]) == 2
    assert not (tmp_path / "down").exists()
    monkeypatch.undo()
    if not localdisk.tells_apart(tmp_path):
        pytest.skip("this disk ignores case")
    assert main(["cp", "-r", bucket, str(tmp_path / "down")]) == 0
    assert read_tree(tmp_path / "down") == {**FILES, "A.TXT": b"capital", "Dir2/D": b"capital"}


def test_what_is_in_the_way_on_disk_is_told_before_any_byte_moves(bucket: str, tmp_path: Path) -> None:
    write_tree(tmp_path, {"one/dir2": b"a file", "two/a.txt/x": b"in a folder"})
    assert main(["cp", "-r", bucket, str(tmp_path / "one")]) == 2
    assert main(["cp", "-r", bucket, str(tmp_path / "two")]) == 2
    assert read_tree(tmp_path) == {"one/dir2": b"a file", "two/a.txt/x": b"in a folder"}


def test_two_sources_of_one_name_are_told_before_any_comes_down(bucket: str, tmp_path: Path) -> None:
    smuggle(bucket, "dir2/a.txt")
    assert main(["cp", f"{bucket}/a.txt", f"{bucket}/dir2/a.txt", f"{tmp_path}/down/"]) == 2
    assert not (tmp_path / "down").exists()


def test_a_file_that_fails_leaves_the_old_one_and_the_others_arrive(
    object_server: ObjectServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    down = write_tree(tmp_path / "down", {"bad": b"old", "good": b"old"})
    (down / "good").chmod(0o600)
    for name in ("bad", "good"):
        object_server.put(name, b"new")
    object_server.fault("bad", Always(Status(403)))
    assert main(["cp", *(object_server.url_for(name) for name in ("bad", "good")), str(down)]) == 1
    assert read_tree(down) == {"bad": b"old", "good": b"new"}  # and no temporary file
    assert stat.S_IMODE((down / "good").stat().st_mode) == 0o600
    assert capsys.readouterr().err.startswith(f"cloudfiles-hypha: {object_server.url_for('bad')}: access denied")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    down = write_tree(tmp_path / "down", {"a.txt": b"old"})
    replace = os.replace

    def full(part: str, target: Path) -> None:
        if target.name == "a.txt":
            raise OSError(28, "No space left on device")
        replace(part, target)

    monkeypatch.setattr(os, "replace", full)
    assert main(["cp", "-q", "-r", bucket, str(down)]) == 1
    assert read_tree(down) == {**FILES, "a.txt": b"old"}
    reason = f"{down / 'a.txt'}: No space left on device"  # it is the disk that is full
    assert capsys.readouterr().err == f"cloudfiles-hypha: {bucket}/a.txt: {reason}\n"


def test_a_listing_that_fails_writes_nothing(hypha: FakeHypha, tmp_path: Path) -> None:
    hypha.fault("list_files", RemoteError("PermissionError", "no"))
    assert main(["cp", "-r", "hypha://ws/data", str(tmp_path / "down")]) == 2
    assert not (tmp_path / "down").exists()


# -- cp, across


def test_files_go_from_cloud_to_cloud(bucket: str, hypha: FakeHypha, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cp", "-r", "--create", bucket, "hypha://ws/copy/of"]) == 0
    assert hypha.files("ws/copy") == {f"of/{name}": content for name, content in FILES.items()}
    assert main(["cp", f"{bucket}/a.txt", f"{bucket}/missing", f"{bucket}/twice/"]) == 1
    assert read_cloud(f"{bucket}/twice") == {"a.txt": b"aaaa"}
    assert main(["cp", f"{bucket}/a.txt", f"{bucket}/renamed"]) == 0
    assert read_cloud(bucket)["renamed"] == b"aaaa"
    assert main(["cp", f"{bucket}/a.txt", f"{bucket}/twice/a.txt", f"{bucket}/dir3/"]) == 2


# -- the command line itself


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["cp", "a"],
        ["cp", "a", "b"],
        ["cp", "mem://x/a", "b", "c"],
        ["cp", "-r", "mem://x/a", "-"],
        ["cp", "mem://x/a", "mem://x/b", "-"],
        ["cp", "--windows-names", "a", "mem://x/a"],
        ["commit", "mem://x"],
        ["status", "hypha://ws/a/below"],
        ["discard", "hypha://ws/a@v0"],
        ["cp", "--create", "mem://x/a", "b"],
        ["cp", "--comment", "c", "mem://x/a", "mem://x/b"],
        ["ls", "gopher://host"],
        ["ls", "mem://x", "--num-threads", "-1"],
        ["cat", "http://host/dir/"],
        ["cat", "http://host/a%2Fb"],
        ["cp", "-r", "http://host/dir", "b"],
        ["cat", "http://user:pass@host/x?token=secret"],
        ["demo", "--files", "0"],
        ["rm", "mem://x/../y"],
    ],
)
def test_what_makes_no_sense_is_2_and_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith("cloudfiles-hypha")
    assert not re.search("Traceback|secret|pass@", shown.err)


def test_help_is_0_and_there_is_no_way_to_give_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("ls", "cp", "verify", "cat", "rm", "commit", "discard", "status", "exists", "serve", "demo")
    for command in ([], *([name] for name in names)):
        assert main([*command, "--help"]) == 0
        assert "--token" not in capsys.readouterr().out


def test_no_token_is_ever_shown(
    hypha: FakeHypha, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hypha.fault("list_files", RemoteError("ValueError", f"you sent {TOKEN}"))
    assert main(["ls", "ws/data"]) == 2
    hypha.fault_file("ws/data", "a.txt", Always(Status(403)))
    assert main(["cp", "hypha://ws/data/a.txt", str(tmp_path)]) == 1
    monkeypatch.setenv("HYPHA_TOKEN", f"{TOKEN} with a blank")
    assert main(["ls", "ws/data"]) == 2
    monkeypatch.setattr(reading, "locate", lambda text: 1 / 0)
    assert main(["ls", "ws/data"]) == 2
    shown = capsys.readouterr()
    assert "***" in shown.err
    assert not re.search(f"{TOKEN}|X-Amz-Signature=[^*]|Traceback", shown.out + shown.err)


def test_a_warning_is_a_line_like_any_other(hypha: FakeHypha, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hypha.add_artifact("ws/staged", FILES, staged="edit_version")
    assert main(["cp", str(tree / "a.txt"), "hypha://ws/staged/x"]) == 1
    assert capsys.readouterr().err.startswith("cloudfiles-hypha: warning: ws/staged was already staged")


PUBLISH = "to publish it: cloudfiles-hypha commit hypha://ws/data"


def test_a_commit_that_fails_is_1_and_the_command_that_is_named_publishes(
    hypha: FakeHypha, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hypha.fault("commit", RemoteError("PermissionError", "no"))
    assert main(["cp", str(tree / "a.txt"), "hypha://ws/data/x"]) == 1
    complaints = capsys.readouterr().err
    assert "staged, but not committed" in complaints
    command = complaints.rstrip("\n").rpartition("to publish it: ")[2]
    assert hypha.artifacts["ws/data"].staging is not None
    assert main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out == "hypha://ws/data: published as v0\n"
    assert hypha.files("ws/data")["x"] == b"aaaa"
    assert hypha.artifacts["ws/data"].staging is None


def test_what_goes_into_a_staging_that_is_open_is_not_published_and_not_0(
    hypha: FakeHypha, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hypha.add_artifact("ws/data", FILES, staged="edit_version")
    for command in (["cp", str(tree / "a.txt"), "hypha://ws/data/x"], ["rm", "hypha://ws/data/empty"]):
        assert main(command) == 1
        assert capsys.readouterr().err.rstrip().endswith(PUBLISH)
    monkeypatch.delenv("HYPHA_SERVER_URL")
    monkeypatch.setenv("HYPHA_TOKEN", "")
    monkeypatch.setattr(credentials, "SECRETS_FILE", tree / "secrets.json")
    (tree / "secrets.json").write_text(json.dumps({hypha.url: TOKEN}))
    server = ["--server-url", hypha.url]
    assert main(["cp", *server, str(tree / "a.txt"), "hypha://ws/data/y"]) == 1
    assert capsys.readouterr().err.rstrip().endswith(f"commit {' '.join(server)} hypha://ws/data")


def test_status_shows_what_is_staged_and_discard_drops_it(hypha: FakeHypha, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "hypha://ws/data"]) == 0
    assert capsys.readouterr().out == "artifact\tws/data\nversion\tv0\nstaged\tnothing\n"
    assert main(["discard", "hypha://ws/data"]) == 0
    assert "nothing was staged" in capsys.readouterr().out
    hypha.add_artifact("ws/data", FILES, staged="edit_version")
    with ArtifactFiles("ws/data") as cf, pytest.warns(StagedWarning):
        cf.put("new \x9b", b"n")
    with ArtifactFiles("ws/data") as cf, pytest.warns(StagedWarning):
        cf.delete("empty")
    assert main(["status", "ws/data"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "staged\tchanges of the latest version",
        "upload\tnew \\x9b",
        "remove\tempty",
    ]
    assert main(["discard", "ws/data"]) == 0
    assert "dropped" in capsys.readouterr().out
    assert hypha.files("ws/data") == FILES


def test_commit_takes_a_comment_and_of_nothing_is_2(hypha: FakeHypha, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["commit", "hypha://ws/data"]) == 2
    assert "nothing is staged" in capsys.readouterr().err
    hypha.add_artifact("ws/data", FILES, staged="new_version")
    with ArtifactFiles("ws/data") as cf, pytest.warns(StagedWarning):
        cf.put("x", b"x")
    assert main(["commit", "--comment", "why", "--version", "second", "hypha://ws/data"]) == 0
    assert hypha.artifacts["ws/data"].versions[-1]["comment"] == "why"
    assert capsys.readouterr().out == "hypha://ws/data: published as second\n"


def test_a_server_out_of_reach_is_given_up_when_asked(tmp_path: Path) -> None:
    with ObjectServer() as gone:
        url = gone.url_for("x")
    assert main(["cp", "--retry-for", "0", url, str(tmp_path / "x")]) == 1
    assert main(["exists", "--retry-for", "0", url]) == 2


def test_an_interrupted_upload_says_what_became_of_it(
    hypha: FakeHypha, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ArtifactFiles, "upload", interrupted)
    monkeypatch.setattr(ArtifactFiles, "status", None)  # no request is made after Ctrl-C
    assert main(["cp", str(tree / "a.txt"), "hypha://ws/data/x"]) == 130
    complaints = capsys.readouterr().err
    assert "stays staged" in complaints
    assert complaints.rstrip().endswith(PUBLISH)


def start(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cloudfiles_hypha", *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, cwd=Path(cli.__file__).parents[1], **streams)  # type: ignore[call-overload]


def test_ctrl_c_is_130_and_leaves_no_temporary_file(object_server: ObjectServer, tmp_path: Path) -> None:
    object_server.put("a", b"a")
    object_server.put("b", b"b", faults=[Always(Hang())])
    process = start("cp", object_server.url_for("a"), object_server.url_for("b"), str(tmp_path))
    object_server.wait_for_requests(2, timeout=30)
    deadline = threading.Event()
    while not (tmp_path / "a").exists():
        deadline.wait(0.05)
    deadline.wait(0.5)  # it has its name a moment before it counts as done
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert err.startswith(
        b"cloudfiles-hypha: interrupted\ncloudfiles-hypha: stopped: 1 of 2 files are done, 1 B moved;"
    )
    assert read_tree(tmp_path) == {"a": b"a"}


def test_a_reader_that_goes_away_ends_it_quietly(object_server: ObjectServer) -> None:
    object_server.put("big", b"x" * 5_000_000)
    process = start("cat", object_server.url_for("big"))
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(10) == b"x" * 10
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_sigterm_in_an_upload_names_the_command_too(hypha: FakeHypha, tree: Path) -> None:
    hypha.fault_file("ws/data", "x", Always(Hang()), method="PUT")
    process = start("cp", str(tree / "a.txt"), "hypha://ws/data/x")
    hypha.store.wait_for_requests(1, timeout=30)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert err.decode().rstrip().endswith(PUBLISH)


@pytest.mark.parametrize(
    ("command", "redirection", "code", "said"),
    [
        (["cat", "URL/a"], ">&-", 1, "cloudfiles-hypha: standard output: Bad file descriptor\n"),
        (["cat", "URL/a"], ">/dev/full", 1, "cloudfiles-hypha: standard output: No space left on device\n"),
        (["exists", "URL/a"], ">&-", 0, ""),
        (["cp", "URL/a", "copied"], ">&-", 0, "cloudfiles-hypha: copied 1 file, 1 B in "),
        (["cp", "URL/a", "copied"], ">&- 2>&- <&-", 0, ""),
        (["cp", "URL/a", "/dev/stdout"], "1<there", 2, "cloudfiles-hypha: /dev/stdout: Bad file descriptor\n"),
        (["cat", "URL/none"], "2>&-", 1, ""),
        (["cat", "URL/none"], "2>/dev/full", 1, ""),
        (["cat"], "2>&-", 2, ""),
        (["cp", "-", "mem://x/a"], "<&-", 1, "cloudfiles-hypha: a: Bad file descriptor\n"),
    ],
)
def test_closed_and_full_streams_are_no_defect(
    command: list[str], redirection: str, code: int, said: str, object_server: ObjectServer, tmp_path: Path
) -> None:
    if not os.path.exists("/dev/full") and "/dev/full" in redirection:
        pytest.skip("this system has no /dev/full")
    object_server.put("a", b"a")
    (tmp_path / "there").write_bytes(b"there")
    words = [word.replace("URL", object_server.url) for word in command]
    line = f"exec {shlex.join([sys.executable, '-m', 'cloudfiles_hypha', *words])} {redirection}"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.decode().startswith(said)
    assert said or not done.stderr
    assert "internal" not in done.stderr.decode()
    assert read_tree(tmp_path) == {"there": b"there", **({"copied": b"a"} if "copied" in command else {})}


def test_nothing_from_elsewhere_moves_the_cursor_or_turns_the_text(
    hypha: FakeHypha, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hypha.fault("list_files", RemoteError("ValueError", "\x1b[2J\u202egpj\u2066\x9b \u2028 \ufeff"))
    assert main(["ls", "ws/data"]) == 2
    smuggle(bucket, "a\u202egpj.exe")
    assert main(["ls", bucket]) == 0
    assert main(["cat", f"{bucket}/\u202exe"]) == 1
    shown = capsys.readouterr()
    assert not re.search("[\x1b\x9b\u2028-\u202e\u2066-\u2069\ufeff]", shown.out + shown.err)
    assert r"a\u202egpj.exe" in shown.out


def test_a_server_is_retried_for_the_time_that_was_asked_for(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RetryPolicy] = []

    class Spy(ArtifactFiles):
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(options["retry"])
            super().__init__(*args, **options)

    monkeypatch.setattr(places, "ArtifactFiles", Spy)
    assert main(["ls", "--retry-for", "600", bucket]) == 0
    assert made == [RetryPolicy(attempts=None, elapsed=600)]


def test_a_token_that_is_not_sent_is_said(hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("HYPHA_SERVER_URL")
    assert main(["ls", "--server-url", hypha.url, "hypha://ws/data"]) == 2
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("cloudfiles-hypha: warning: HYPHA_TOKEN of the environment")
    assert TOKEN not in first


def test_verify_goes_on_after_what_cannot_be_compared(
    bucket: str, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "empty").unlink()
    (tree / "empty").symlink_to("nowhere")
    assert main(["verify", str(tree), bucket]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    summary = "5 files: 4 alike, 1 not compared"
    assert shown.err == f"cloudfiles-hypha: empty: No such file or directory\ncloudfiles-hypha: {summary}\n"
    (tree / "a.txt").write_bytes(b"AAAA")
    assert main(["verify", str(tree), bucket]) == 1
    assert capsys.readouterr().out == "different\ta.txt\n"


def test_it_runs_as_a_module_and_streams_bytes_through_pipes(object_server: ObjectServer) -> None:
    object_server.put("raw", bytes(range(256)))
    out, err = start("cat", object_server.url_for("raw"), object_server.url_for("none")).communicate(timeout=30)
    assert out == bytes(range(256))
    assert err.startswith(f"cloudfiles-hypha: {object_server.url_for('none')}: not found".encode())


def test_without_the_server_packages_serve_and_demo_say_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOUDFILES_HYPHA_SERVER_PYTHON", "/nowhere/python")
    for command in ("serve", "demo"):
        assert main([command]) == 2
        assert "cloudfiles_hypha[server]" in capsys.readouterr().err


# -- the demo, without its server


def test_the_demo_makes_the_same_odd_files_every_time() -> None:
    files = demo.generate_files(200, 1000)
    assert files == demo.generate_files(200, 1000)
    assert len(files) == 200
    sizes = sorted(map(len, files.values()))
    assert sizes[:2] == [0, 1]
    assert sizes[-1] <= 2000
    assert any("/" in name for name in files)


class NoServer:
    """What the demo needs of a DevServer, with a fake Hypha for it."""

    token = TOKEN
    workspace = "ws"

    def __init__(self) -> None:
        self.fake = FakeHypha(token=TOKEN)

    def __enter__(self) -> NoServer:
        self.fake.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.fake.stop()

    @property
    def server_url(self) -> str:
        return self.fake.url


@pytest.mark.command("demo", "partial failure")
def test_the_demo_is_0_only_if_everything_verifies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "DevServer", NoServer)
    assert main(["demo", "--files", "20", "--size", "100"]) == 0
    assert "verified: every byte" in capsys.readouterr().out

    get = ArtifactFiles.get

    def damaged(self: ArtifactFiles, *args: object, **options: object) -> object:
        results = get(self, *args, **options)  # type: ignore[call-overload]
        if isinstance(results, list):
            results[-1]["content"] = b"something else"
        return results

    with contextlib.ExitStack() as undo:
        monkeypatch.setattr(ArtifactFiles, "get", damaged)
        undo.callback(monkeypatch.undo)
        assert main(["demo", "--files", "20", "--size", "100"]) == 1
    assert "NOT VERIFIED" in capsys.readouterr().out


def test_the_demo_that_breaks_off_has_an_exit_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **options: object) -> object:
        raise ConnectionFailed("gone")

    monkeypatch.setattr(demo, "DevServer", NoServer)
    monkeypatch.setattr(ArtifactFiles, "puts", unreachable)
    assert main(["demo", "--files", "3"]) == 2


@pytest.mark.parametrize("flag", [["--exclude", "x"], ["--include", "*"], ["--symlinks", "skip"]])
def test_what_only_makes_sense_for_files_on_disk_is_refused_elsewhere(
    bucket: str, flag: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cp", "-r", *flag, bucket, "mem://elsewhere/"]) == 2
    assert flag[0] in capsys.readouterr().err
    assert main(["cp", *flag, "-", "mem://elsewhere/x"]) == 2


def test_cp_chooses_by_pattern_and_by_what_is_there(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    down = write_tree(tmp_path / "down", {"a.txt": b"old"})
    assert main(["cp", "-r", "--overwrite", "never", "--include", "*.txt", bucket, str(down)]) == 0
    assert read_tree(down)["a.txt"] == b"old"
    assert {name.rpartition(".")[2] for name in read_tree(down)} == {"txt"}
    assert main(["cp", "-r", "--exclude", "a.txt", str(down), "mem://chosen/"]) == 0
    assert "a.txt" not in set(ArtifactFiles("mem://chosen"))
    assert main(["cp", "-r", bucket, str(down)]) == 0
    assert main(["verify", str(down), bucket]) == 0
    assert capsys.readouterr().out == ""


def test_local_folders_are_cloudpaths_with_a_scheme(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = f"file://{tmp_path}/store"
    assert main(["cp", "-r", str(tree), f"{store}/new"]) == 0
    assert main(["ls", f"{store}/new"]) == 0
    assert capsys.readouterr().out.split("\n")[:-1] == sorted(FILES)
    assert main(["ls", f"{store}/new/"]) == 0
    assert capsys.readouterr().out.split("\n")[:-1] == sorted(FILES)
    assert main(["cat", f"{store}/new/a.txt"]) == 0
    assert capsys.readouterr().out == "aaaa"
    assert main(["cp", f"{store}/new/a.txt", str(tmp_path / "y")]) == 0
    assert (tmp_path / "y").read_bytes() == b"aaaa"
    assert main(["verify", str(tree), f"{store}/new"]) == 0
    assert main(["exists", f"{store}/new/missing"]) == 1
    assert main(["cp", "-r", f"{store}/new/", f"mem://{uuid.uuid4().hex}"]) == 0
    assert main(["rm", "-r", f"{store}/new"]) == 0
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    assert main(["ls", f"file://{tmp_path}/typo/"]) != 0
    assert "there is no folder" in capsys.readouterr().err


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a server that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(
    "words", [["cp", "FILE", "hypha://ws/a/"], ["cp", "hypha://ws/a/x", "FOLDER/"], ["ls", "hypha://ws/a"]]
)
def test_a_server_that_never_answered_is_given_up_soon_and_who_names_it_is_said(
    words: list[str], nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(places, "_FIRST_CONTACT", 0.0)
    (tmp_path / "file").write_bytes(b"F")
    words = [word.replace("FILE", str(tmp_path / "file")).replace("FOLDER", str(tmp_path)) for word in words]
    monkeypatch.setenv("HYPHA_SERVER_URL", nobody)
    assert main(words) != 0
    said = capsys.readouterr().err
    assert "it has never answered; HYPHA_SERVER_URL names the server (--retry-for waits longer)" in said
    assert (nobody in said, "staged" in said) == (True, False)
    assert main([words[0], "--server-url", nobody, *words[1:]]) != 0
    assert "--server-url names the server" in capsys.readouterr().err
    where = [word.replace("hypha://ws", f"hypha://{nobody}/ws") for word in words]
    assert main(where) != 0
    assert "the cloudpath names the server" in capsys.readouterr().err


def test_who_says_how_long_to_wait_is_obeyed(
    nobody: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(places, "_FIRST_CONTACT", 0.0)
    monkeypatch.setenv("HYPHA_SERVER_URL", nobody)
    for said in ("option", "environment"):
        if said == "environment":
            monkeypatch.setenv("CLOUDFILES_HYPHA_RETRY_FOR", "1")
        assert main(["ls", *(["--retry-for", "1"] if said == "option" else []), "hypha://ws/a"]) == 2
        assert "never answered" not in capsys.readouterr().err


def test_a_server_that_has_answered_once_has_all_of_the_patience(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = _options(["ls", "hypha://ws/a"])
    with FakeHypha(token=None) as hypha:
        hypha.add_artifact("ws/a", {"x": b"X"})
        monkeypatch.setenv("HYPHA_SERVER_URL", hypha.url)
        with Clients(options) as clients:
            assert clients(locate("hypha://ws/a")).get("x") == b"X"
            (contact,) = clients._contacts.values()
            assert contact.made
            clients(locate("hypha://ws/b"))
            assert len(clients._contacts) == 1  # it is the server's, not the artifact's


def test_ctrl_c_while_the_program_is_still_being_loaded_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(words: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "commands_for", interrupted)
    assert main(["ls", "mem://b"]) == 130
    assert capsys.readouterr().err.endswith(": interrupted\n")
