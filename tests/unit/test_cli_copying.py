"""``cp`` and ``mv``: which files are meant, and what a dry run tells of them."""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.cli.main import main

numbers = itertools.count()
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def memory(*names: str) -> ArtifactFiles:
    """A bucket of files whose content is their name."""
    made = ArtifactFiles(f"mem://cli-copying-{next(numbers)}")
    made.puts([(name, name.encode()) for name in names])
    return made


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["a.txt", "b.txt"]),
        ("d/*", ["c.txt"]),
        ("**/*.txt", ["a.txt", "b.txt", "d/c.txt", "d/e/f.txt"]),
        ("d/**", ["c.txt", "e/f.txt"]),
        ("[ab].???", ["a.txt", "b.txt"]),
        ("[!b].t*", ["a.txt"]),
        ("d/c**", ["c.txt"]),
        ("a.txt/**", []),
        ("d**t", ["d/c.txt", "d/e/f.txt"]),
    ],
)
def test_a_pattern_names_files_and_a_star_stays_in_its_folder(
    run: Run, tmp_path: Path, pattern: str, found: list[str]
) -> None:
    source = memory("a.txt", "b.txt", "g.bin", "d/c.txt", "d/e/f.txt")
    assert run("cp", f"{source.cloudpath}/{pattern}", str(tmp_path))[0] == (0 if found else 1)
    assert below(tmp_path) == found


def test_a_glob_that_ends_in_a_slash_means_folders_which_need_r(run: Run, tmp_path: Path) -> None:
    source = memory("d1/a", "d1/e/b", "d2/c", "d3")
    code, _, said = run("cp", f"{source.cloudpath}/d?/", str(tmp_path))
    assert (code, "-r" in said, below(tmp_path)) == (2, True, [])
    assert run("cp", "-r", f"{source.cloudpath}/d?/", str(tmp_path))[0] == 0
    assert below(tmp_path) == ["d1/a", "d1/e/b", "d2/c"]


def test_with_r_folders_match_a_pattern_too(run: Run, tmp_path: Path) -> None:
    source = memory("x1/a", "x2/b/c", "y/d")
    assert run("cp", "-r", f"{source.cloudpath}/x*", str(tmp_path))[0] == 0
    assert below(tmp_path) == ["x1/a", "x2/b/c"]


def test_a_name_that_is_there_as_it_is_written_is_no_pattern(run: Run, tmp_path: Path) -> None:
    source = memory("a[1]", "a1", "what?")
    assert run("cp", f"{source.cloudpath}/a[1]", f"{tmp_path}/")[0] == 0
    assert below(tmp_path) == ["a[1]"]
    assert run("cp", f"{source.cloudpath}/a[1-3]", f"{tmp_path}/")[0] == 0
    assert below(tmp_path) == ["a1", "a[1]"]


def test_a_pattern_that_nothing_matches_is_1_and_the_others_are_copied(run: Run, tmp_path: Path) -> None:
    source = memory("a")
    code, _, said = run("cp", f"{source.cloudpath}/*.no", f"{source.cloudpath}/a", f"{tmp_path}/")
    assert (code, "*.no: no file matches (* stays" in said) == (1, True)
    assert below(tmp_path) == ["a"]


def test_patterns_of_local_folders_with_a_scheme_and_of_copies_between_cloudpaths(run: Run, tmp_path: Path) -> None:
    for name in ("one/a.txt", "two/a.txt", "two/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    target = memory()
    assert run("cp", f"file://{tmp_path}/*/*.txt", f"{target.cloudpath}/in")[0] == 0
    assert sorted(target) == ["in/one/a.txt", "in/two/a.txt"]
    assert run("mv", f"{target.cloudpath}/in/one/*", f"{target.cloudpath}/out/")[0] == 0
    assert sorted(target) == ["in/two/a.txt", "out/a.txt"]


# -- lists of names


def test_names_come_from_a_file_and_keep_their_folders(run: Run, tmp_path: Path) -> None:
    source = memory("d/a", "d/b/c", "d/other", "b/c")
    listed = tmp_path / "names"
    listed.write_bytes(b"a\r\n\nb/c\na\n")
    to = tmp_path / "to"
    assert run("cp", "--files-from", str(listed), f"{source.cloudpath}/d", str(to))[0] == 0
    assert below(to) == ["a", "b/c"]
    target = memory()
    assert run("cp", "--files-from", str(listed), str(to), f"{target.cloudpath}/x")[0] == 0
    assert sorted(target) == ["x/a", "x/b/c"]
    assert run("cp", "--files-from", str(listed), f"{target.cloudpath}/x", f"{target.cloudpath}/y")[0] == 0
    assert run("mv", "--files-from", str(listed), f"{target.cloudpath}/x", f"{target.cloudpath}/z/")[0] == 0
    assert sorted(target) == ["y/a", "y/b/c", "z/a", "z/b/c"]


def test_names_on_standard_input_may_end_with_nul(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = memory("a", "b c", "d")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"b c\0a\0")))
    assert run("cp", "-0", "--files-from", "-", f"{source.cloudpath}/", str(tmp_path))[0] == 0
    assert below(tmp_path) == ["a", "b c"]


def test_names_that_are_not_there_or_lead_elsewhere_fail_alone(run: Run, tmp_path: Path) -> None:
    listed, folder, target = tmp_path / "names", tmp_path / "folder", memory()
    folder.mkdir()
    (folder / "a").write_text("a")
    listed.write_text("none\n../names\na\n")
    code, _, said = run("cp", "--files-from", str(listed), str(folder), f"{target.cloudpath}/")
    assert (code, "none: no such file" in said, "../names" in said) == (1, True, True)
    assert sorted(target) == ["a"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("cp", "-0", "mem://x/a", "here"),
        ("cp", "--files-from", "names", "mem://x/a", "mem://x/b", "here"),
        ("cp", "--files-from", "names", "mem://x/a*", "here"),
        ("cp", "--files-from", "names", "-", "mem://x/a"),
        ("cp", "--dry-run", "-", "mem://x/a"),
        ("cp", "--dry-run", "mem://x/a", "-"),
        ("cp", "--compress", "gzip", "mem://x/a", "here"),
        ("cp", "--compress", "gzip", "mem://x/a", "mem://y/a"),
        ("cp", "--compress", "gzip:much", "here", "mem://y/a"),
        ("cp", "--no-checksum", "here", "mem://y/a"),
        ("cp", "--part-size", "0", "here", "mem://y/a"),
        ("cp", "--part-size", "some", "here", "mem://y/a"),
    ],
)
def test_what_makes_no_sense_is_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "names").write_text("a\n")
    code, out, said = run(*arguments)
    assert (code, out, bool(said)) == (2, "", True)
    assert below(tmp_path) == ["names"]


# -- dry runs


def told(out: str) -> dict[str, tuple[str, str]]:
    """What is to be done with each target, and why."""
    rows = [line.split("\t") for line in out.splitlines()]
    return {row[2]: (row[0], row[4]) for row in rows}


def test_a_dry_run_of_an_upload_tells_what_and_why_and_stores_nothing(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    target = memory("a")
    target.put("b", "other")
    code, out, _ = run("cp", "-rn", str(tmp_path), target.cloudpath)
    place = target.cloudpath
    assert (code, told(out)) == (
        0,
        {
            f"{place}/a": ("keep", "there already"),
            f"{place}/b": ("copy", "different"),
            f"{place}/c": ("copy", "missing"),
        },
    )
    assert sorted(target) == ["a", "b"]
    assert target.get("b") == b"other"


@pytest.mark.parametrize(("overwrite", "kept"), [("different", "a"), ("never", "ab"), ("always", "")])
def test_a_dry_run_of_a_download_tells_what_the_download_does(
    run: Run, tmp_path: Path, overwrite: str, kept: str
) -> None:
    source = memory("a", "b", "c")
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("B")
    arguments = ("-r", "--overwrite", overwrite, f"{source.cloudpath}/", str(tmp_path))
    code, out, _ = run("cp", "--dry-run", "--json", *arguments)
    *steps, last = [json.loads(line) for line in out.splitlines()]
    assert (code, [*last]) == (0, ["summary"])
    assert {Path(step["target"]).name for step in steps if step.get("do") == "keep"} == {*kept}
    assert {step["why"] for step in steps if step["source"].endswith("/c")} == {"missing"}
    assert all(step["dry_run"] and step["size"] == 1 for step in steps)
    assert below(tmp_path) == ["a", "b"]
    assert (tmp_path / "b").read_text() == "B"


def test_a_dry_run_between_cloudpaths_and_of_a_move(run: Run) -> None:
    source, target = memory("a", "b"), memory("a")
    here, there = source.cloudpath, target.cloudpath
    for command, verb in (("cp", "copy"), ("mv", "move")):
        code, out, said = run(command, "-r", "--overwrite", "never", "--dry-run", f"{here}/", f"{there}/")
        assert (code, said) == (0, f"cloudfiles-hypha: would {verb} 1 file, 1 B; skipped 1 (there already)\n")
        assert told(out) == {f"{there}/a": ("keep", "there already"), f"{there}/b": (verb, "missing")}
    assert (sorted(source), sorted(target)) == (["a", "b"], ["a"])


@pytest.mark.parametrize("destination", ["folder/", "mem://cli-copying-nowhere/"])
def test_a_dry_run_fails_where_the_source_is_not_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = memory("a")
    code, out, said = run("cp", "--dry-run", f"{source.cloudpath}/none", f"{source.cloudpath}/a", destination)
    assert (code, len(out.splitlines()), "none" in said) == (1, 1, True)
    assert below(tmp_path) == []


# -- how they are stored


def test_files_are_stored_encoded_on_request(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a" * 1000)
    target = memory()
    assert run("cp", "--compress", "gzip:9", f"{tmp_path}/a", f"{target.cloudpath}/a")[0] == 0
    assert target.head("a").compress == "gzip"
    assert target.get("a") == b"a" * 1000


def test_filters_choose_what_is_moved(run: Run) -> None:
    source = memory("a.txt", "d/b.txt", "c.bin", "d/not.txt")
    place = source.cloudpath
    assert run("mv", "-r", "--include", "*.txt", "--exclude", "not*", f"{place}/", f"{place}-to/")[0] == 0
    assert sorted(source) == ["c.bin", "d/not.txt"]
