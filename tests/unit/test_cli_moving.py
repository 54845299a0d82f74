"""``cloudfiles-hypha sync`` and ``mv``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.disk import tree
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha

numbers = itertools.count()
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([arguments[0], "-q", *arguments[1:]])  # without the summary, which has a test of its own
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def hypha(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHypha]:
    with FakeHypha() as server:
        monkeypatch.setenv("HYPHA_SERVER_URL", server.url)
        monkeypatch.setenv("HYPHA_TOKEN", server.token or "")
        yield server


def memory(**files: bytes) -> ArtifactFiles:
    made = ArtifactFiles(f"mem://cli-moving-{next(numbers)}")
    made.puts([(name.replace("__", "/"), content) for name, content in files.items()])
    return made


def test_sync_shows_what_it_would_do_and_does_it(run: Run, hypha: FakeHypha) -> None:
    source = memory(x__a=b"A", x__b__c=b"C")
    folder = f"{source.cloudpath}/x"
    assert run("sync", folder, "hypha://ws/a/y", "--create", "--dry-run") == (
        0,
        "copy\ta\t1\tmissing\ncopy\tb/c\t1\tmissing\n",
        "",
    )
    assert hypha.count("create") == 0
    assert run("sync", folder, "hypha://ws/a/y", "--create") == (0, "", "")
    with connect(hypha) as cf:
        assert sorted(cf) == ["y/a", "y/b/c"]
    source.delete("x/a")
    assert run("sync", folder, "hypha://ws/a/y", "--delete", "--max-delete", "0")[0] == 2
    assert run("sync", folder, "hypha://ws/a/y", "--delete", "-n")[1] == "remove\ta\t1\tname\n"
    assert run("sync", folder, "hypha://ws/a/y", "--delete") == (0, "", "")
    with connect(hypha) as cf:
        assert sorted(cf) == ["y/b/c"]


def test_sync_refuses_what_would_lose_everything(run: Run) -> None:
    target = memory(a=b"A")
    code, _, said = run("sync", "mem://cli-moving-nothing", target.cloudpath, "--delete")
    assert (code, "allow_empty" in said) == (2, True)
    assert sorted(target) == ["a"]
    assert run("sync", "mem://cli-moving-nothing", target.cloudpath, "--delete", "--allow-empty")[0] == 0
    assert list(target) == []


@pytest.mark.parametrize("place", ["https://host/dir/", "hypha://ws/a@v0"])
def test_sync_refuses_targets_that_cannot_be_written_to(run: Run, place: str) -> None:
    assert run("sync", "mem://cli-moving-nothing", place)[0] == 2


def test_mv_moves_files_and_folders(run: Run, hypha: FakeHypha) -> None:
    source = memory(a=b"A", b=b"B", d__x=b"X", d__e__y=b"Y")
    assert run("mv", f"{source.cloudpath}/a", f"{source.cloudpath}/b", "hypha://ws/a/in/", "--create") == (0, "", "")
    assert run("mv", "-r", f"{source.cloudpath}/d/", "hypha://ws/a/folder/") == (0, "", "")
    assert list(source) == []
    assert run("mv", "hypha://ws/a/in/a", f"{source.cloudpath}/renamed") == (0, "", "")
    assert source.get("renamed") == b"A"
    with connect(hypha) as cf:
        assert sorted(cf) == ["folder/e/y", "folder/x", "in/b"]


def test_mv_says_what_it_could_not_do(run: Run) -> None:
    source = memory(a=b"A")
    code, _, said = run("mv", f"{source.cloudpath}/a", f"{source.cloudpath}/none", f"{source.cloudpath}/to/")
    assert (code, "none: no such object" in said) == (1, True)
    assert sorted(source) == ["to/a"]
    assert run("mv", f"{source.cloudpath}/to/", f"{source.cloudpath}/x/")[0] == 2
    assert run("mv", f"{source.cloudpath}/a", f"{source.cloudpath}/b", f"{source.cloudpath}/c")[0] == 2


def test_cp_between_cloudpaths_may_leave_alone_what_is_there(run: Run) -> None:
    source, target = memory(a=b"new", b=b"B"), memory(a=b"old")
    assert run("cp", "-r", "--overwrite", "never", f"{source.cloudpath}/", f"{target.cloudpath}/") == (0, "", "")
    assert (target.get("a"), target.get("b")) == (b"old", b"B")
    assert run("cp", "-r", f"{source.cloudpath}/", f"{target.cloudpath}/") == (0, "", "")
    assert target.get("a") == b"new"
    assert run("cp", f"{source.cloudpath}/a", f"{source.cloudpath}/a")[0] == 2
    assert run("cp", "--overwrite", "never", "-", f"{target.cloudpath}/c")[0] == 2


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Folders with files whose content is where they are."""
    for name in ("a/x", "b/x", "b/y", "c/z"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def names_on(disk: Path) -> dict[str, str]:
    return {path.relative_to(disk).as_posix(): path.read_text() for path in disk.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sources", [["a/x", "b/x"], ["-r", "a/", "b/"]])
def test_mv_moves_no_file_over_one_that_has_just_arrived(run: Run, disk: Path, sources: list[str]) -> None:
    before = names_on(disk)
    code, _, said = run("mv", *(name if name == "-r" else f"{disk}/{name}" for name in sources), f"{disk}/to/")
    assert (code, "two sources would become 'x'; nothing was moved" in said) == (2, True)
    assert names_on(disk) == before


def test_mv_moves_no_file_over_another_that_the_disk_takes_for_it(
    run: Run, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk / "c" / "X").write_text("c/X")
    before = names_on(disk)
    with monkeypatch.context() as folding:
        folding.setattr(tree, "tells_apart", lambda folder: False)
        code, _, said = run("mv", f"{disk}/a/x", f"{disk}/c/X", f"{disk}/to/")
        assert (code, "collide" in said) == (2, True)
        assert names_on(disk) == before
    code, _, said = run("mv", f"{disk}/a/x", f"{disk}/b")
    assert (code, f"'{disk}/b' is a folder" in said) == (2, True)
    assert run("mv", f"{disk}/a/x", f"{disk}/c/X", f"{disk}/to/") == (0, "", "")


def test_mv_refuses_a_file_that_is_read_and_written_before_anything_is_moved(run: Run, disk: Path) -> None:
    before = names_on(disk)
    assert run("mv", f"{disk}/a/x", f"{disk}/c/z", f"{disk}/c/")[0] == 2
    assert names_on(disk) == before
    assert run("mv", f"{disk}/a/x", f"{disk}/b/y", f"{disk}/c/") == (0, "", "")
    assert names_on(disk) == {"b/x": "b/x", "c/x": "a/x", "c/y": "b/y", "c/z": "c/z"}


def test_local_folders_are_named_as_to_other_programs(run: Run, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(disk / "a")
    assert run("sync", "../b", "./copy") == run("sync", "../b/", f"{disk}/copy/") == (0, "", "")
    assert os.listdir("copy") == os.listdir(disk / "copy") == os.listdir(disk / "b")
    code, _, said = run("sync", "/no-folder-of-this-name", "copy")  # one directly below the root
    assert (code, "there is no folder '/no-folder-of-this-name'" in said) == (2, True)


def test_sync_does_not_take_what_is_behind_a_link_for_another_folder(run: Run, disk: Path) -> None:
    (disk / "there" / "sub").mkdir(parents=True)
    (disk / "link").symlink_to(disk / "there" / "sub")
    before = names_on(disk)
    code, _, said = run("sync", "--delete", f"{disk}/a", f"{disk}/link/../b")  # there/b, to other programs
    assert (code, "'..' behind a folder's name" in said) == (2, True)
    assert names_on(disk) == before


@pytest.mark.parametrize(
    "command", ["sync --delete SOURCE", "sync --delete TARGET", "mv SOURCE", "mv TARGET", "cp TARGET"]
)
def test_an_empty_argument_is_not_the_working_directory(
    run: Run, disk: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(disk / "a")
    before = names_on(disk)
    name, *options, empty = command.split()
    places = ["", f"{disk}/b/"] if empty == "SOURCE" else [f"file://{disk}/b/{'y' * (name != 'sync')}", ""]
    code, _, said = run(name, *options, *places)
    assert (code, "names no file or folder" in said) == (2, True)
    assert names_on(disk) == before


def test_a_comment_is_for_what_has_versions(run: Run) -> None:
    code, _, said = run("sync", "--comment", "text", memory(a=b"A").cloudpath, "mem://cli-moving-comment")
    assert (code, "has no versions, so no --comment" in said) == (2, True)


@pytest.mark.parametrize("command", [["mv"], ["cp"]])
@pytest.mark.parametrize(("source", "target"), [("{}/link", "{}/a/sub"), ("{}/a", "{}/link/sub"), ("{}/a", "{}/a/sub")])
@pytest.mark.parametrize("scheme", [("", "file://"), ("file://", ""), ("file://", "file://")])
def test_no_file_is_written_that_is_read_whatever_links_lead_to_it(
    run: Run, tmp_path: Path, command: list[str], source: str, target: str, scheme: tuple[str, str]
) -> None:
    """Else it depends on which comes first whether what was in ``sub`` is lost."""
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    for name in ("a/one", "a/sub/one"):
        (tmp_path / name).write_text(name)
    code, _, said = run(*command, "-r", scheme[0] + source.format(tmp_path), scheme[1] + target.format(tmp_path) + "/")
    assert (code, "both read and written to" in said) == (2, True), said
    assert [path.read_text() for path in (tmp_path / "a" / "one", tmp_path / "a" / "sub" / "one")] == [
        "a/one",
        "a/sub/one",
    ]
    assert not (tmp_path / "a" / "sub" / "sub").exists()
