"""``ls``, ``du``, ``head``, ``cat``, ``exists``, ``verify``, and globs in cloudpaths.

On a store that speaks S3, on folders and in memory.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.backends import memory
from cloudfiles_hypha.cli.globs import pattern
from cloudfiles_hypha.cli.main import main
from tests.support.s3_servers import seaweed

FILES = {"a.csv": b"aaaa", "b.csv": b"b" * 2048, "c.txt": b"", "d/e.csv": b"ee", "d/f/g.csv": b"g", "h/i": b"iii"}
Secrets = dict[str, str]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", params=["s3", "file", "mem"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Secrets]]:
    """The cloudpath of a folder that holds FILES, and what it takes to read it."""
    if request.param == "s3":
        with seaweed() as server:
            server.make_bucket("looking")
            found = f"{server.cloudpath('looking')}/in"
            with ArtifactFiles(found, secrets=server.secrets) as cf:
                cf.puts([*FILES.items()], content_type="text/plain")
            yield found, server.secrets
        return
    bucket = f"looking-{uuid.uuid4().hex}"
    found = f"mem://{bucket}/in" if request.param == "mem" else f"file://{tmp_path_factory.mktemp('looking')}/in"
    with ArtifactFiles(found) as cf:
        cf.puts([*FILES.items()])
    yield found, {}
    memory._buckets.pop(bucket, None)


@pytest.fixture
def place(store: tuple[str, Secrets], monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in store[1].items():
        monkeypatch.setenv(name, value)
    return store[0]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize(
    ("glob", "matched"),
    [
        ("*", ["a.csv", "b.csv", "c.txt"]),
        ("*.csv", ["a.csv", "b.csv"]),
        ("[!a].csv", ["b.csv"]),
        ("?.[ct]*", ["a.csv", "b.csv", "c.txt"]),
        ("*/*.csv", ["d/e.csv"]),
        ("**/*.csv", ["a.csv", "b.csv", "d/e.csv", "d/f/g.csv"]),
        ("d/**", ["d/e.csv", "d/f/g.csv"]),
        ("[dh]/", ["d/e.csv", "d/f/g.csv", "h/i"]),
        ("d/[e]*", ["d/e.csv"]),
    ],
)
def test_ls_takes_globs(run: Run, place: str, glob: str, matched: list[str]) -> None:
    folder = glob.rpartition("/")[0] + "/" if glob.startswith("d/") else ""
    assert run("ls", f"{place}/{glob}") == (0, "".join(f"{name[len(folder) :]}\n" for name in matched), "")


def test_ls_of_a_glob_shows_what_is_in_folders_if_asked(run: Run, place: str) -> None:
    assert run("ls", "-R", f"{place}/[ad]*")[1].splitlines() == ["a.csv", "d/e.csv", "d/f/g.csv"]


def test_a_name_that_is_there_is_meant_before_what_it_matches(run: Run, tmp_path: Path) -> None:
    for name in ("*", "x", "[x]", "d[1]/y", "d1/z"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert run("ls", f"{tmp_path}/*")[1] == "*\n"
    assert run("cat", f"{tmp_path}/[x]")[1] == "[x]"
    assert run("ls", f"{tmp_path}/d[1]")[1] == "y\n"
    assert run("ls", f"{tmp_path}/[*x]")[1].splitlines() == ["*", "x"]
    (tmp_path / "*").unlink()
    assert run("ls", f"{tmp_path}/*")[1].splitlines() == ["[x]", "x"]


def test_a_glob_may_be_of_local_folders_above_the_name(run: Run, tmp_path: Path) -> None:
    for name in ("p1/x.csv", "p2/x.csv", "q/x.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    assert run("ls", f"file://{tmp_path}/p*/*.csv") == (0, "p1/x.csv\np2/x.csv\n", "")


@pytest.mark.parametrize(
    ("glob", "more", "matches", "not_"),
    [
        ("a[", "", "a[", "a"),
        ("a[]b]", "", "a]", "a["),
        ("[!a]", "", "b", "/"),
        ("[a-c]", "", "b", "-"),
        ("a**b", "", "a/x/b", "a/x"),
        ("a.b", "", "a.b", "axb"),
        ("[\\]", "", "\\", "x"),
        ("x*", "(?:/.*)?", "xy/z", "zx/y"),
        ("a**b", "", "ab", "abc"),
        ("d/**", "", "d/a/b", "d"),
        ("d/**/f", "", "d/f", "df"),
        ("d/**/f", "", "d/a/b/f", "d/af"),
        ("a**/b", "", "ax/y/b", "ab"),
        ("**/b", "", "b", "ab"),
        ("**b", "", "x/ab", "b/x"),
        ("***/b", "", "x/y/b", "x/ab"),
        ("d/*", "", "d/.a", "d/a/b"),
        ("d/**/", ".*", "d/a", "d"),
        ("[!/]", "", "a", "/"),
    ],
)
def test_globs_are_read_as_a_shell_does(glob: str, more: str, matches: str, not_: str) -> None:
    assert pattern(glob, more).fullmatch(matches)
    assert not pattern(glob, more).fullmatch(not_)


def test_what_is_not_there_is_2_alone_and_1_among_others(run: Run, place: str) -> None:
    for missing in ("none", "*.none"):
        assert run("ls", f"{place}/{missing}")[0] == 2
        code, out, said = run("ls", f"{place}/{missing}", f"{place}/h")
        assert (code, out) == (1, f"{place}/h/i\n")
        assert f"{place}/{missing}: no such file or folder" in said
    assert run("ls", "--flat", "--recursive", place)[0] == 2
    assert run("ls", f"{place}/[z-a]")[0] == 2


def test_ls_long_shows_sizes_and_times(run: Run, place: str) -> None:
    rows = [line.split() for line in run("ls", "-l", place)[1].splitlines()]
    assert [(row[0], row[2]) for row in rows] == [(str(len(content)), name) for name, content in FILES.items()]
    assert all(len(row[1]) == len("2026-01-01T00:00:00Z") and row[1].endswith("Z") for row in rows)
    assert [line.split()[0] for line in run("ls", "-lh", place)[1].splitlines()][:3] == ["4B", "2.0KiB", "0B"]


def test_ls_json_has_the_same_keys_always(run: Run, place: str) -> None:
    for options in (["-l"], [], ["--flat"]):
        lines = [json.loads(line) for line in run("ls", "--json", *options, place)[1].splitlines()]
        assert {tuple(line) for line in lines} == {("path", "cloudpath", "size", "last_modified", "etag")}
        assert lines[0]["path"] == "a.csv"
        assert lines[0]["cloudpath"] == f"{place}/a.csv"
        if options == ["-l"]:
            assert (lines[0]["size"], bool(lines[0]["etag"]), lines[0]["last_modified"][-1]) == (4, True, "Z")


def test_du_adds_up_folders_and_the_whole(run: Run, place: str) -> None:
    whole = f"2058\t6\t{place}"
    folders = [f"3\t2\t{place}/d/", f"3\t1\t{place}/h/"]
    assert run("du", place) == (0, "\n".join([*folders, whole, ""]), "")
    assert run("du", "-s", place)[1].splitlines() == [whole]
    assert run("du", "-sch", place, f"{place}/d/e.csv")[1].splitlines() == [
        f"2.0KiB\t6\t{place}",
        f"2B\t1\t{place}/d/e.csv",
        "2.0KiB\t7\ttotal",
    ]
    assert run("du", f"{place}/*.csv")[1] == f"2052\t2\t{place}/*.csv\n"
    assert json.loads(run("du", "-s", "--json", place)[1]) == {"path": place, "bytes": 2058, "files": 6}


def test_du_of_what_is_not_there_is_an_error(run: Run, place: str) -> None:
    assert run("du", f"{place}/none")[:2] == (2, "")
    assert run("du", "-s", f"{place}/none", f"{place}/h")[:2] == (1, f"3\t1\t{place}/h\n")


def test_head_tells_what_is_known(run: Run, place: str) -> None:
    facts = dict(line.split("\t") for line in run("head", f"{place}/a.csv")[1].splitlines())
    assert (facts["size"], facts["content_encoding"], facts["last_modified"][-1]) == ("4", "-", "Z")
    if place.startswith("s3"):
        assert (facts["content_type"], len(facts["etag"])) == ("text/plain", 32)
    shown = [json.loads(line) for line in run("head", "--json", f"{place}/*.csv")[1].splitlines()]
    assert [(each["path"].rpartition("/")[2], each["size"]) for each in shown] == [("a.csv", 4), ("b.csv", 2048)]


def test_head_goes_on_after_what_is_not_there(run: Run, place: str) -> None:
    code, out, said = run("head", f"{place}/none", f"{place}/a.csv", f"{place}/*.none")
    assert (code, f"{place}/a.csv\tsize\t4" in out) == (1, True)
    assert ("in/none" in said or "none: no such" in said, "no file matches" in said) == (True, True)
    assert run("head", f"{place}/d/")[0] == 2


def test_dash_h_is_for_sizes_where_there_are_any(run: Run) -> None:
    assert run("du", "--help")[0] == 0
    assert run("cat", "-h")[0] == 0


def test_cat_takes_globs_and_half_open_ranges(run: Run, place: str) -> None:
    assert run("cat", f"{place}/d/**") == (0, "eeg", "")
    assert run("cat", "--range", "1-3", f"{place}/a.csv", f"{place}/b.csv") == (0, "aabb", "")
    assert run("cat", "-r", "2046-", f"{place}/b.csv") == (0, "bb", "")
    assert run("cat", f"{place}/[ad]*") == (0, "aaaa", "")


@pytest.mark.parametrize("wrong", ["-5", "5", "5-5", "7-2", "a-b", "1-2-3"])
def test_a_range_that_makes_no_sense_is_2(run: Run, wrong: str) -> None:
    code, _, said = run("cat", f"--range={wrong}", "mem://looking-none/a")
    assert (code, "0-1024 for the first 1024" in said) == (2, True)


def test_cat_goes_on_after_what_is_not_there(run: Run, place: str) -> None:
    assert run("cat", f"{place}/none", f"{place}/a.csv", f"{place}/*.none")[:2] == (1, "aaaa")
    code, out, said = run("cat", f"{place}/none")
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert run("cat", "-r", "9999-", f"{place}/a.csv")[0] == 1
    assert run("cat", "--json", f"{place}/a.csv")[:2] == (2, "")


def test_cat_of_a_large_file_is_all_of_it(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    content = bytes(range(256)) * 4096 * 20
    (tmp_path / "large").write_bytes(content)
    assert main(["cat", f"{tmp_path}/larg*"]) == 0
    assert capfdbinary.readouterr().out == content


def test_exists_tells_of_each_of_several(run: Run, place: str) -> None:
    assert run("exists", f"{place}/a.csv", f"{place}/d/")[:2] == (0, f"there\t{place}/a.csv\nthere\t{place}/d/\n")
    assert run("exists", f"{place}/none", f"{place}/*.csv")[:2] == (
        1,
        f"missing\t{place}/none\nthere\t{place}/*.csv\n",
    )
    assert run("exists", f"{place}/*.none") == (1, "", "")
    assert json.loads(run("exists", "--json", f"{place}/none")[1]) == {"cloudpath": f"{place}/none", "exists": False}
    assert run("exists", f"{place}/a.csv", "gopher://host/a")[0] == 2


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder on disk that differs from FILES."""
    for name, content in {**FILES, "b.csv": b"B" * 2048, "more": b"m"}.items():
        if name != "h/i":
            (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "here" / name).write_bytes(content)
    (tmp_path / "here" / "bad").symlink_to("nowhere")
    return tmp_path / "here"


def test_verify_says_what_became_of_each_name(run: Run, place: str, here: Path, tmp_path: Path) -> None:
    code, out, said = run("verify", str(here), place)
    assert (code, out.splitlines()) == (1, ["different\tb.csv", "missing\th/i", "extra\tmore"])
    assert "bad" in said
    combined = ["= a.csv", "* b.csv", "! bad", "= c.txt", "= d/e.csv", "= d/f/g.csv", "- h/i", "+ more"]
    code, out, _ = run("verify", "--combined", "-", str(here), place)
    assert (code, out.splitlines()) == (1, combined)
    code, out, _ = run("verify", "--combined", str(tmp_path / "report"), str(here), place)
    assert (code, len(out.splitlines())) == (1, 3)
    assert (tmp_path / "report").read_text().splitlines() == combined
    verdicts = [json.loads(line) for line in run("verify", "--json", str(here), place)[1].splitlines()]
    assert {each["path"]: each["verdict"] for each in verdicts} == {
        **dict.fromkeys(["a.csv", "c.txt", "d/e.csv", "d/f/g.csv"], "equal"),
        "b.csv": "different",
        "h/i": "missing",
        "more": "extra",
        "bad": "error",
    }


def test_verify_compares_only_what_is_asked_for(run: Run, place: str, here: Path, tmp_path: Path) -> None:
    chosen = ["--include", "*.csv", "--include", "*.txt", "--exclude", "b*"]
    (here / "bad").unlink()
    assert run("verify", *chosen, str(here), place) == (0, "", "cloudfiles-hypha: 4 files: 4 alike\n")
    assert run("verify", *chosen, "--combined", str(tmp_path), str(here), place)[0] == 2
    assert run("verify", "--json", "--combined", "-", str(here), place)[0] == 2


@pytest.mark.parametrize(("command", "shown"), [("cat", "g"), ("head", "size\t1")])
def test_a_name_that_no_file_may_have_fails_alone(run: Run, command: str, shown: str) -> None:
    bucket = f"looking-{uuid.uuid4().hex}"
    with ArtifactFiles(f"mem://{bucket}") as cf:
        cf.put("good", b"g")
    try:
        memory._buckets[bucket]["../evil"] = memory._Object(b"evil", "", None, 0.0)
        code, out, said = run(command, f"mem://{bucket}/**")
        assert (code, shown in out, "../evil" in said, "evil" in out) == (1, True, True, False)
    finally:
        memory._buckets.pop(bucket, None)
