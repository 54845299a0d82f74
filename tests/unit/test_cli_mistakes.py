"""What people get wrong on the command line, and what they are told: each of these was once answered in another way."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.backends import locate, memory
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.cli.report import UsageError
from cloudfiles_hypha.cli.writing import check_removable
from cloudfiles_hypha.errors import ArtifactNotFound
from tests.support.fake_hypha import FakeHypha

Run = Callable[..., tuple[int, str, str]]
PROGRAM = "cloudfiles-hypha"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        said = capsys.readouterr()
        return code, said.out, said.err.replace(f"{PROGRAM}: ", "")

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a file, a folder with one, and an empty one."""
    (tmp_path / "file").write_text("1")
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "x").write_text("22")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bucket() -> Iterator[str]:
    """With ``folder/x``."""
    with ArtifactFiles("mem://mistakes") as cf:
        cf.put("folder/x", b"1")
    yield "mem://mistakes"
    memory._buckets.pop("mistakes", None)


@pytest.mark.parametrize("text", ["./empty", "./empty/"])
def test_a_folder_with_nothing_in_it_is_there(text: str, here: Path, run: Run) -> None:
    assert run("ls", text) == (0, "", "")
    assert run("du", text) == (0, f"0\t0\t{text}\n", "")
    assert run("ls", "./nothing") == (2, "", "./nothing: no such file or folder\n")


def test_a_folder_in_the_place_of_a_file_is_called_one(here: Path, bucket: str, run: Run) -> None:
    for folder in (f"file://{here}/folder", f"{bucket}/folder"):
        code, _, said = run("mv", folder, f"{bucket}/new")
        assert (code, said.splitlines()[0]) == (1, f"{folder}: is a folder; move it with -r")
        assert run("cat", folder) == (
            1,
            "",
            f"{folder}: is a folder, and files are what cat writes; ls lists what is in it\n",
        )
        assert run("head", folder) == (1, "", f"{folder}: is a folder; ls lists what is in it\n")
        code, _, said = run("cp", folder, "mem://mistakes/new")
        assert (code, said.splitlines()[0]) == (1, f"{folder}: is a folder; copy it with -r")


def test_what_failed_is_named_so_that_it_can_be_found(bucket: str, run: Run) -> None:
    for command in ("cat", "head"):
        code, _, said = run(command, f"{bucket}/folder/no", f"{bucket}/none")
        assert code == 1
        assert [line.split(": ")[0] for line in said.splitlines()] == [f"{bucket}/folder/no", f"{bucket}/none"]


def test_a_disk_that_takes_no_file_is_named(here: Path, bucket: str, run: Run) -> None:
    code, _, said = run("cp", f"{bucket}/folder/x", "file/x")
    assert code != 0
    assert str(Path("file")) in said
    code, out, said = run("cp", "--json", f"{bucket}/folder/x", "/proc/none")
    failed = json.loads(out.splitlines()[0])
    assert (code, failed["source"], failed["target"]) == (1, f"{bucket}/folder/x", "/proc/none")
    assert said.startswith(f"{bucket}/folder/x: /proc/none: ")


@pytest.mark.parametrize("words", [["cp", "file", "s3:/b/"], ["sync", "./folder", "s3:/b/x"], ["mv", "file", "gs:b"]])
def test_a_slash_too_few_makes_no_local_file(words: list[str], here: Path, run: Run) -> None:
    before = sorted(here.rglob("*"))
    code, _, said = run(*words)
    scheme = words[-1].partition(":")[0]
    assert (code, said) == (
        2,
        f"{words[-1]}: a cloudpath begins with {scheme}://; a local file of this name is ./{words[-1]}\n",
    )
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("text", ["hypha:/ws/a", "s3:/bucket/x", "hypha://127.0.0.1:9520/ws/a"])
def test_a_workspace_has_no_colon(text: str) -> None:
    with pytest.raises(ValueError, match="is no workspace; write hypha://workspace/alias, and a server"):
        locate(text)


@pytest.mark.parametrize("text", [".", "./", "..", "../..", "/", "~", "~/", "folder/.."])
def test_the_folder_one_stands_in_is_not_removed(text: str) -> None:
    # Only the check is called, never the command: where the check were missing, the command would do what it says.
    with pytest.raises(UsageError, match="this folder is not removed as a whole; name what is in it"):
        check_removable(text)


@pytest.mark.parametrize("text", ["file", "./folder", "./folder/", "s3://bucket", "mem://bucket/", "..."])
def test_what_is_named_may_be_removed(text: str) -> None:
    check_removable(text)


def test_rm_asks_for_that_before_it_looks_for_anything(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(text: str) -> None:
        raise UsageError(f"{text}: refused")

    monkeypatch.setattr("cloudfiles_hypha.cli.writing.check_removable", refused)
    monkeypatch.setattr(ArtifactFiles, "delete", lambda *_, **__: pytest.fail("something would be removed"))
    assert run("rm", "-r", "./folder") == (2, "", "./folder: refused\n")


def test_a_source_with_a_typing_error_is_not_in_sync(here: Path, bucket: str, run: Run) -> None:
    assert run("sync", f"{bucket}/foldr", "./new") == (
        2,
        "",
        f"{bucket}/foldr: no such folder; --allow-empty says that it may be empty\n",
    )
    nothing = (0, "", "nothing to do: there are no such files\n")
    assert run("sync", "--allow-empty", f"{bucket}/foldr", "./new") == nothing
    assert run("sync", "./empty", f"{bucket}/new") == nothing
    assert run("sync", "--include", "*.none", f"{bucket}/folder", "./new") == nothing
    code, _, said = run("sync", "--delete", f"{bucket}/foldr", "./folder")
    assert (code, "(--allow-empty) if that is meant" in said) == (2, True)


def test_verify_says_on_which_side_a_file_is(here: Path, bucket: str, run: Run) -> None:
    assert run("verify", "folder", f"{bucket}/folder") == (
        1,
        "missing\tx\nextra\tsub/x\n",
        f"2 files: 1 only in {bucket}/folder, 1 only in folder\n",
    )
    assert run("verify", "-q", "folder", f"{bucket}/folder")[2] == ""
    assert run("verify", "empty", f"{bucket}/foldr") == (
        0,
        "",
        f"nothing was compared: neither empty nor {bucket}/foldr has files\n",
    )


def test_what_is_not_begun_is_not_summed_up(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ArtifactNotFound("read: no", path="ws/a")

    monkeypatch.setattr(ArtifactFiles, "upload", refused)
    assert run("cp", "-r", "folder", "hypha://http://127.0.0.1:1/ws/a/") == (
        2,
        "",
        "hypha://http://127.0.0.1:1/ws/a: there is no such artifact; --create makes it\n",
    )


def test_an_extra_that_is_not_installed_is_no_defect(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    code, _, said = run("ls", "s3://http://127.0.0.1:1/bucket")
    assert (code, said.startswith("s3:// finds credentials by botocore, which is not installed: pip install")) == (
        2,
        True,
    )


@pytest.mark.parametrize("command", ["ls", "du"])
def test_an_artifact_that_is_not_there_but_a_folder_of_that_name_is(
    command: str, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names without a scheme are artifacts to what lists; whoever has just copied a folder may not think of that."""
    hint = "there is no such artifact; what is here by this name is ./folder/sub"
    with FakeHypha() as server:
        monkeypatch.setenv("HYPHA_SERVER_URL", server.url)
        monkeypatch.setenv("HYPHA_TOKEN", server.token or "")
        assert run(command, "folder/sub") == (2, "", f"folder/sub: {hint}\n")
        code, _, said = run(command, "folder/sub", "./folder")
        assert (code, hint in said) == (1, True)
        assert "by this name" not in run(command, "folder/other")[2]
