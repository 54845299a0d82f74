"""Every example of the documentation runs: Python against stores in this process, commands through the parser.

``hypha://demo/...`` is an artifact of the fake server, ``https://host/...`` a web server of this process. Of
buckets the examples make objects only, and ask nobody. A block that cannot be run says why, in a comment before it:
"not run: the reason".
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cloudfiles_hypha
from benchmarks import daily_tasks
from cloudfiles_hypha import ArtifactFiles, recording
from cloudfiles_hypha.cli.commands import all_commands, verbs_of
from cloudfiles_hypha.cli.report import NAMES
from cloudfiles_hypha.compat.cloudfiles import clear_memory
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import ObjectServer

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))

_BLOCK = re.compile(r"(?P<before>[^\n]*)\n+^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: \w.+ -->")
_SHELL = re.compile(r"^```(?:bash|console|sh)\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(rf"`(?P<line>(?:{'|'.join(NAMES)}) [^`\n]+)`")


def examples(text: str) -> list[tuple[int, str]]:
    """The blocks that are to be run, each with the number of its first line."""
    text = "\n" + text
    return [
        (text[: match.start("code")].count("\n"), match["code"])
        for match in _BLOCK.finditer(text)
        if not _NOT_RUN.fullmatch(match["before"].strip())
    ]


def command_lines(text: str) -> Iterator[str]:
    """What a page would have its reader type: whole lines of blocks, and what stands between backticks."""
    for match in _SHELL.finditer(text):
        for line in match["lines"].replace("\\\n", " ").splitlines():
            if any(name in line for name in NAMES):
                yield line.removeprefix("$ ")
    for match in _INLINE.finditer(text):
        yield match["line"].replace("\\|", "|")


def invocations(line: str) -> Iterator[list[str]]:
    """The arguments of each call of the program in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] | None = None
    skipping = False
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&"):
            if words is not None and "<" not in word and ">" not in word:
                yield words
                words = None
            skipping = "<" in word or ">" in word
        elif skipping:
            skipping = False  # the file of a redirection
        elif word in NAMES and words is None:
            words = []
        elif words is not None:
            words.append(word)


# -- what the examples of a page find there


def _copying(names: dict[str, Any]) -> None:
    names["cf"] = cf = ArtifactFiles("hypha://demo/data")
    names["other"] = other = ArtifactFiles("mem://other")
    names["names"] = ["from-the-web.txt"]
    cf.puts([("a.txt", "a"), ("b.txt", "b"), ("c.txt", "c")])
    other.put("d.txt", "d")
    for artifact in ("copy", "archive"):
        ArtifactFiles(f"hypha://demo/{artifact}", create=True).put("old.txt", "old")


def _concurrency(names: dict[str, Any]) -> None:
    names["cf"] = cf = ArtifactFiles("hypha://demo/data")
    cf.put("run-7/a.txt", "a")
    names["texts"] = ((n, str(n)) for n in range(3))


def _large_files(names: dict[str, Any]) -> None:
    names["cf"] = ArtifactFiles("hypha://demo/data")
    Path("dataset").mkdir()
    Path("dataset/scan.tif").write_bytes(b"tif")


def _azure(names: dict[str, Any]) -> None:
    names["key"] = base64.b64encode(b"key").decode()


def _recording(names: dict[str, Any]) -> None:
    pytest.importorskip("matplotlib", reason="the page makes a chart")
    names["cf"] = names["source"] = ArtifactFiles("hypha://demo/data")
    names["target"] = "mem://target"
    names["names"] = ["a.bin"]


def _aiofile(names: dict[str, Any]) -> None:
    pytest.importorskip("aiofile", reason="files of this machine are aiofile's")


def _fsspec(names: dict[str, Any]) -> None:
    for package in ("fsspec", "pandas", "pyarrow", "zarr", "xarray", "PIL", "upath", "duckdb", "polars"):
        pytest.importorskip(package, reason="the page shows it")


def _other_protocols(names: dict[str, Any]) -> None:
    pytest.importorskip("fsspec", reason="the page shows it")


PREPARED: dict[str, Callable[[dict[str, Any]], None]] = {
    "aiofile.md": _aiofile,
    "async-files.md": _aiofile,
    "azure.md": _azure,
    "fsspec.md": _fsspec,
    "moving.md": _copying,
    "other-protocols.md": _other_protocols,
    "recording.md": _recording,
    "concurrency.md": _concurrency,
    "large-files.md": _large_files,
}


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, object_server: ObjectServer) -> Iterator[ObjectServer]:
    """The stores that examples name, and a folder and a home of their own."""
    for name in ("data/from-the-web.txt", "b.bin"):
        object_server.put(name, b"from the web")
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    with FakeHypha(token=None, workspace="demo") as server:
        monkeypatch.setenv("HYPHA_SERVER_URL", server.url)
        ArtifactFiles("hypha://demo/data", create=True).put("a.bin", bytes(200))
        clear_memory()
        yield object_server
        clear_memory()
        _drop_what_others_keep()


def _drop_what_others_keep() -> None:
    """Instances that fsspec keeps, and the loop of zarr's plain functions."""
    if "fsspec" in sys.modules:
        from cloudfiles_hypha.filesystem.fsspec import ArtifactFileSystem, HyphaFileSystem

        for kind in (ArtifactFileSystem, HyphaFileSystem):
            kind.clear_instance_cache()
    if "zarr" in sys.modules:
        from zarr.core.sync import cleanup_resources

        cleanup_resources()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if examples(page.read_text(encoding="utf-8"))], ids=lambda p: p.name
)
def test_the_python_of_a_page_runs_from_its_top_to_its_end(page: Path, everything: ObjectServer) -> None:
    names: dict[str, Any] = {"__name__": "example", "ArtifactFiles": ArtifactFiles}
    if prepare := PREPARED.get(page.name):
        prepare(names)
    for line, code in examples(page.read_text(encoding="utf-8")):
        code = code.replace("https://host", everything.url)
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda p: p.name)
def test_each_command_line_of_a_page_is_one_that_the_program_takes(page: Path) -> None:
    commands = verbs_of(all_commands().parser)
    for line in command_lines(page.read_text(encoding="utf-8")):
        found = list(invocations(line))
        assert found, f"{page.name}: {line}"
        for arguments in found:
            if len(arguments) == 1 and arguments[0] in commands:
                continue  # speaks of the command
            try:
                all_commands().parse(arguments)
            except SystemExit as stop:
                assert not stop.code, f"{page.name}: {line}"  # noqa: PT017 -- 0 is --help


def test_a_line_of_shell_is_taken_apart_as_a_shell_does() -> None:
    line = f"tar c . | {NAMES[0]} cp - 's3://b/a b' > log && {NAMES[1]} ls hypha://w/a@v1  # all of it"
    assert list(invocations(line)) == [["cp", "-", "s3://b/a b"], ["ls", "hypha://w/a@v1"]]


def test_a_block_that_is_not_run_gives_a_reason() -> None:
    block = "```python\n1 / 0\n```\n"
    assert examples(f"text\n\n{block}") == [(4, "1 / 0\n")]
    assert not examples(f"text\n\n<!-- not run: needs Amazon's -->\n{block}")
    assert examples(f"<!-- not run -->\n{block}")


def test_the_reference_has_every_name_that_is_exported() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: (\w+)", text, re.MULTILINE))
    assert listed == {*cloudfiles_hypha.__all__, *recording.__all__} - {"__version__"}


def test_every_page_is_in_the_contents_of_the_site() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = [
        name
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL)
        for name in block.split("\n\n")[1].split()
    ]
    assert sorted([*listed, "index"]) == sorted(page.stem for page in PAGES)


def test_what_is_made_with_the_site_is_what_there_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    try:
        import generate
    finally:
        sys.modules.pop("generate", None)
    helps = generate.fill("before\n\n<!-- generated: commands -->\n")
    assert helps.startswith("before\n")
    for name, command in verbs_of(all_commands().parser).items():
        assert f"## `{name}`" in helps
        assert (command.description or "")[:40] in helps
    assert "--create" in helps
    found = {
        path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "benchmarks" / "results").glob("*.json")
    }
    results = sorted(name for name, result in found.items() if "rows" in result)
    assert "<!--" not in generate.fill("<!-- generated: tables daily -->\n")
    assert sorted(re.findall(r"^## (\S+)$", generate.fill("<!-- generated: benchmarks -->"), re.MULTILINE)) == results
    start = generate.fill("<!-- generated: readme Five minutes -->")
    assert "```python" in start
    assert "](docs/" not in start
    with pytest.raises(KeyError):
        generate.fill("<!-- generated: readme No such section -->")
    with pytest.raises(KeyError):
        generate.fill("<!-- generated: nothing -->")


# -- daily tasks, side by side with other programs


@pytest.fixture(scope="module")
def daily() -> dict[str, Any]:
    """What was found when they were last run."""
    result: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "daily.json").read_text(encoding="utf-8"))
    return result


@pytest.mark.parametrize("task", daily_tasks.TASKS, ids=lambda task: task.name)
def test_our_line_of_a_daily_task_is_one_that_the_program_takes(task: daily_tasks.Task) -> None:
    (arguments,) = invocations(task.lines[daily_tasks.OURS])
    if task.fails and not task.counted:  # a mistake in the line itself
        with pytest.raises(SystemExit):
            all_commands().parse(arguments)
    elif arguments != ["-V"]:
        assert callable(all_commands().parse(arguments).run)


def test_what_is_shown_of_daily_tasks_is_what_they_are_now(daily: dict[str, Any]) -> None:
    shown = {row["task"]: {each["program"]: each["line"] for each in row["programs"]} for row in daily["tasks"]}
    assert shown == {task.name: dict(task.lines) for task in daily_tasks.TASKS}
    page = (ROOT / "benchmarks" / "results" / "daily.md").read_text(encoding="utf-8")
    assert page == daily_tasks.as_markdown(daily)


def test_every_line_of_a_daily_task_was_run_but_those_that_need_a_hub(daily: dict[str, Any]) -> None:
    hubless = {task.name for task in daily_tasks.TASKS if not task.hub}
    for row in daily["tasks"]:
        for each in row["programs"]:
            assert each["keystrokes"] == len(each["line"])
            assert each["run"] == (each["program"] != daily_tasks.HF or row["task"] in hubless), each
            assert each["run"] == (each["exit_code"] is not None and each["seconds"] > 0), each
        assert row["programs"][0]["right"], row["task"]  # ours


def test_where_we_need_more_keys_than_others_it_says_why(daily: dict[str, Any]) -> None:
    for row in daily["tasks"]:
        assert not row["counted"] or daily_tasks.behind(row) <= 0 or row["remark"], row["task"]


def test_the_tables_of_daily_tasks_are_tables_with_nothing_private(daily: dict[str, Any]) -> None:
    page = daily_tasks.as_markdown(daily)
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block
    assert len(re.findall(r"^## ", page, re.MULTILINE)) == len(daily_tasks.TASKS)
    assert not re.search(r"X-Amz|/tmp/|/home/|127\.0\.0\.1|[\x00-\x09\x0b-\x1f]", page)
