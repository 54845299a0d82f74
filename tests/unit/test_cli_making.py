"""``rm`` by globs and patterns, ``touch``, ``mkdir``: on a store that speaks S3, on folders and on Hypha."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.cli.main import main
from tests.support.fake_hypha import FakeHypha, RemoteError
from tests.support.object_server import Always
from tests.support.s3_servers import seaweed

FILES = {"a.csv": b"a", "b.csv": b"b", "c.txt": b"c", "d/e.csv": b"e", "d/f.txt": b"f"}
Secrets = dict[str, str]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", params=["s3", "file"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Secrets]]:
    if request.param == "file":
        yield f"file://{tmp_path_factory.mktemp('making')}", {}
        return
    with seaweed() as server:
        server.make_bucket("making")
        yield server.cloudpath("making"), server.secrets


@pytest.fixture
def place(store: tuple[str, Secrets], monkeypatch: pytest.MonkeyPatch) -> str:
    """The cloudpath of a folder of its own that holds FILES."""
    for name, value in store[1].items():
        monkeypatch.setenv(name, value)
    found = f"{store[0]}/{uuid.uuid4().hex}"
    with ArtifactFiles(found) as cf:
        cf.puts([*FILES.items()])
    return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def hypha(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHypha]:
    with FakeHypha() as server:
        server.add_artifact("ws/data", FILES)
        monkeypatch.setenv("HYPHA_SERVER_URL", server.url)
        monkeypatch.setenv("HYPHA_TOKEN", server.token or "")
        yield server


def names(place: str) -> list[str]:
    with ArtifactFiles(place) as cf:
        return list(cf)


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["*.csv"], ["c.txt", "d/e.csv", "d/f.txt"]),
        (["**/*.csv"], ["c.txt", "d/f.txt"]),
        (["-r", "[ad]*"], ["b.csv", "c.txt"]),
        (["-r", "", "--exclude", "*.csv"], ["a.csv", "b.csv", "d/e.csv"]),
        (["-r", "d/", "--include", "e.*"], ["a.csv", "b.csv", "c.txt", "d/f.txt"]),
        (["*", "--exclude", "a*", "--include", "*.csv"], ["a.csv", "c.txt", "d/e.csv", "d/f.txt"]),
        (["-r", "", "--include", "d/*"], ["a.csv", "b.csv", "c.txt"]),
    ],
)
def test_rm_removes_what_matches_and_says_so_before_if_asked(
    run: Run, place: str, arguments: list[str], left: list[str]
) -> None:
    given = [arg if arg[:1] == "-" or before[:2] == "--" else f"{place}/{arg}" for before, arg in pairs(arguments)]
    gone = [name for name in sorted(FILES) if name not in left]
    assert run("rm", "-q", "-n", *given) == (0, "".join(f"remove\t{place}/{name}\n" for name in gone), "")
    assert names(place) == sorted(FILES)
    code, out, _ = run("rm", "-q", "--json", *given)
    assert (code, [json.loads(line)["source"] for line in out.splitlines()]) == (0, [f"{place}/{n}" for n in gone])
    assert names(place) == left


def pairs(arguments: list[str]) -> Iterator[tuple[str, str]]:
    return zip(["", *arguments[:-1]], arguments, strict=True)


def test_rm_of_a_glob_that_matches_nothing_is_1_and_the_rest_goes(run: Run, place: str) -> None:
    code, _, said = run("rm", "-q", f"{place}/*.none", f"{place}/a*", f"{place}/none")
    assert (code, said.count("\n")) == (1, 2)
    assert "no file matches" in said
    assert names(place) == ["b.csv", "c.txt", "d/e.csv", "d/f.txt"]


def test_rm_with_patterns_that_leave_nothing_says_so(run: Run, place: str) -> None:
    code, out, said = run("rm", "-r", f"{place}/", "--include", "*.none")
    assert (code, out, "nothing is removed" in said) == (0, "", True)
    assert run("rm", f"{place}/[ab]/")[0] == 2  # folders need -r, whether or not they are matched
    assert names(place) == sorted(FILES)


def test_rm_of_a_glob_is_one_commit_on_hypha_and_none_when_dry(run: Run, hypha: FakeHypha) -> None:
    assert run("rm", "--dry-run", "hypha://ws/data/**/*.csv")[0] == 0
    assert hypha.count("edit") == 0
    assert run("rm", "-q", "hypha://ws/data/**/*.csv") == (0, "", "")
    assert (sorted(hypha.files("ws/data")), hypha.count("commit")) == (["c.txt", "d/f.txt"], 1)


def test_touch_makes_empty_files_and_changes_none(run: Run, place: str) -> None:
    code, out, said = run("touch", "--json", f"{place}/a.csv", f"{place}/new", f"{place}/x/y")
    assert (code, said) == (0, "")
    assert [json.loads(line)["path"].rpartition("/")[2] for line in out.splitlines()] == ["a.csv", "new", "y"]
    with ArtifactFiles(place) as cf:
        assert (cf.get("a.csv"), cf.get("new"), cf.get("x/y")) == (b"a", b"", b"")


def test_touch_refuses_folders_and_what_cannot_be_written_to(run: Run, place: str) -> None:
    for wrong in (f"{place}/x/", "https://host/a", "hypha://ws/data@v0/a"):
        assert run("touch", f"{place}/new", wrong)[0] == 2
    assert run("touch", "--comment", "why", f"{place}/new")[0] == 2
    assert names(place) == sorted(FILES)


def test_touch_goes_on_after_what_fails(run: Run, tmp_path: Path, hypha: FakeHypha) -> None:
    (tmp_path / "file").write_bytes(b"f")
    code, _, said = run("touch", f"{tmp_path}/file/below", f"{tmp_path}/new")
    assert (code, "below" in said, (tmp_path / "new").read_bytes()) == (1, True, b"")
    code, _, said = run("touch", "hypha://ws/none/a")
    assert (code, "--create makes it" in said) == (2, True)
    assert run("touch", "--create", "--comment", "why", "hypha://ws/none/a")[0] == 0
    assert hypha.files("ws/none") == {"a": b""}
    hypha.fault("commit", Always(RemoteError("PermissionError", "no")))
    code, _, said = run("touch", "hypha://ws/data/new")
    assert (code, "to publish it: cloudfiles-hypha commit" in said) == (1, True)


def test_mkdir_makes_local_folders_only(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("mkdir", "x/y", f"file://{tmp_path}/z", "x") == (0, "", "")
    assert ((tmp_path / "x" / "y").is_dir(), (tmp_path / "z").is_dir()) == (True, True)
    for elsewhere in ("s3://bucket/x", "hypha://ws/data/x", "mem://bucket/x"):
        code, _, said = run("mkdir", "not-made", elsewhere)
        assert (code, "folders exist here by the files in them" in said) == (2, True)
    assert run("mkdir", "")[0] == 2
    assert not (tmp_path / "not-made").exists()


def test_mkdir_goes_on_after_what_is_in_the_way(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"f")
    code, _, said = run("mkdir", f"{tmp_path}/file/x", f"{tmp_path}/made")
    assert (code, f"{tmp_path}/file" in said, (tmp_path / "made").is_dir()) == (1, True, True)


def test_create_makes_an_artifact_that_is_published(run: Run, hypha: FakeHypha) -> None:
    code, out, said = run("create", "hypha://ws/fresh", "--comment", "begun")
    assert (code, "made, published as v0" in out, said) == (0, True, "")
    assert json.loads(run("status", "--json", "hypha://ws/fresh")[1])["staged"] is False
    code, _, said = run("create", "hypha://ws/fresh")
    assert (code, "is there already" in said) == (2, True)
    assert run("touch", "hypha://ws/fresh/a") == (0, "", "")
    for wrong in ("hypha://ws/fresh/name", "s3://bucket", "hypha://ws/fresh@v0"):
        assert run("create", wrong)[0] == 2


def test_create_whose_commit_fails_names_the_command_that_publishes(run: Run, hypha: FakeHypha) -> None:
    hypha.fault("commit", Always(RemoteError("PermissionError", "no")))
    code, _, said = run("create", "hypha://ws/fresh")
    assert (code != 0, "to publish it: cloudfiles-hypha commit hypha://ws/fresh" in said) == (True, True)


def test_create_whose_answer_was_lost_is_made_all_the_same(run: Run, hypha: FakeHypha) -> None:
    hypha.fault("create", RemoteError("OSError", "the answer was lost", after_doing=True))
    assert run("create", "hypha://ws/fresh")[0] == 0
    assert run("stage", "hypha://ws/data")[0] == 0
    hypha.fault("create", RemoteError("OSError", "busy"))
    code, _, said = run("create", "hypha://ws/data")  # somebody else's, which is not committed
    assert (code, "is there already" in said) == (2, True)
    assert hypha.count("commit") == 1


def test_stage_has_writes_wait_for_commit(run: Run, hypha: FakeHypha) -> None:
    assert run("stage", "hypha://ws/data")[0] == 0
    assert json.loads(run("stage", "--json", "hypha://ws/data")[1]) == {"cloudpath": "hypha://ws/data", "begun": False}
    code, _, said = run("touch", "hypha://ws/data/new")
    assert (code, "to publish it: cloudfiles-hypha commit hypha://ws/data" in said) == (1, True)
    assert run("commit", "hypha://ws/data")[0] == 0
    assert sorted(hypha.files("ws/data")) == sorted([*FILES, "new"])
    assert run("stage", "hypha://ws/none")[0] == 2
    assert run("stage", "mem://bucket")[0] == 2
