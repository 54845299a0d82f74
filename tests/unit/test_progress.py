"""Bars count bytes where sizes are known, are quiet where nobody looks, and say what went wrong with an option."""

from __future__ import annotations

import io
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import ArtifactFiles, BatchError
from cloudfiles_hypha.progress import Progress


class Bar:
    """A caller's own bar."""

    def __init__(self, unit: str | None = None) -> None:
        self.steps: list[int] = []
        self.closed = False
        if unit is not None:
            self.unit = unit

    def update(self, n: int) -> None:
        self.steps.append(n)

    def close(self) -> None:
        self.closed = True


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error, as a terminal; without tqdm's thread that watches bars."""
    import tqdm

    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)
    screen = Terminal()
    # not sys.stderr itself, which belongs to pytest
    monkeypatch.setattr("tqdm.std.sys", types.SimpleNamespace(stderr=screen, stdout=screen))
    return screen


@pytest.fixture
def cf(request: pytest.FixtureRequest) -> ArtifactFiles:
    files = ArtifactFiles(f"mem://{request.node.name}", num_threads=2)
    files.puts([("a", b"x" * 100), ("b", b"y" * 50), ("empty", b"")])
    return files


# --- A bar of ours --------------------------------------------------------------------------------------------------


def test_it_is_quiet_when_the_output_is_no_terminal(capfd: pytest.CaptureFixture[str], cf: ArtifactFiles) -> None:
    cf.get(["a", "b"], progress=True)
    cf.puts([("c", b"")], progress="storing")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("option", [None, False])
def test_it_is_quiet_unless_asked_for(terminal: Terminal, cf: ArtifactFiles, option: bool | None) -> None:
    cf.get(["a", "b"], progress=option)
    list(cf.iget(["a", "b"], progress=option))
    assert terminal.getvalue() == ""


def test_reading_counts_files_and_shows_bytes(terminal: Terminal, cf: ArtifactFiles) -> None:
    cf.get(["a", "b"], progress=True)
    shown = terminal.getvalue()
    assert "get: 100%" in shown
    assert "2/2" in shown
    assert "150 B" in shown


def test_writing_counts_bytes_since_they_are_known(terminal: Terminal, cf: ArtifactFiles) -> None:
    cf.puts([("a", b"x" * 2048), ("b", b"y" * 2048)], progress="storing")
    shown = terminal.getvalue()
    assert "storing: 100%" in shown
    assert "4.00k/4.00k" in shown
    assert "2/2 files" in shown


def test_a_generator_is_counted_with_the_total_that_was_given(terminal: Terminal, cf: ArtifactFiles) -> None:
    cf.get(iter(["a", "b"]), total=4, progress=True)
    assert "2/4" in terminal.getvalue()
    cf.get(iter(["a", "b"]), progress=True)
    assert "2 files" in terminal.getvalue()


def test_the_objects_own_option_holds_for_each_call_that_has_none(terminal: Terminal) -> None:
    cf = ArtifactFiles("mem://own-option", progress="always")
    cf.puts([("a", b"1")])
    assert "always: 100%" in terminal.getvalue()
    terminal.truncate(0)
    cf.get(["a"], progress=False)
    assert terminal.getvalue() == ""


def test_one_file_has_no_bar(terminal: Terminal, cf: ArtifactFiles) -> None:
    ArtifactFiles("mem://scalar", progress=True).put("a", b"1")
    assert terminal.getvalue() == ""


def test_in_a_notebook_there_is_a_bar_though_the_output_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    class NotebookBar:
        disable = False

        def __init__(self, **options: Any) -> None:
            made.append(options)
            self.steps: list[int] = []
            self.disable = bool(options["disable"])

        def set_postfix_str(self, text: str, refresh: bool) -> None:
            pass

        def update(self, n: int) -> None:
            made.append({"step": n})

        def close(self) -> None:
            made.append({"closed": True})

    NotebookBar.__module__ = "tqdm.notebook"
    automatic = types.ModuleType("tqdm.auto")
    automatic.tqdm = NotebookBar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm.auto", automatic)
    progress = Progress(True, "get", total=3)
    progress.add(10)
    progress.close()
    assert made[0]["disable"] is False
    assert made[0]["total"] == 3
    assert made[1:] == [{"step": 1}, {"closed": True}]


def test_no_path_and_no_content_is_ever_shown(terminal: Terminal) -> None:
    cf = ArtifactFiles("mem://user:s3cret", progress=True)
    cf.puts([("s3cret-path", b"s3cret")])
    cf.get(["s3cret-path", "s3cret-missing"], raise_errors=False)
    assert terminal.getvalue()
    assert "s3cret" not in terminal.getvalue()


# --- A bar of the caller's ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [{"num_threads": 0}, {"num_threads": 3}, {"num_threads": 3, "green": True}])
def test_a_callers_bar_is_told_of_every_item_and_left_open(cf: ArtifactFiles, engine: dict[str, Any]) -> None:
    cf = ArtifactFiles(cf.cloudpath, **engine)
    bar = Bar()
    cf.get(["a", "b", "missing"], raise_errors=False, progress=bar)
    assert bar.steps == [1, 1, 1]
    assert not bar.closed


def test_a_callers_bar_of_bytes_is_told_of_bytes(cf: ArtifactFiles) -> None:
    bar = Bar("B")
    cf.get(["a", "empty", "b", "missing"], raise_errors=False, progress=bar)
    assert sum(bar.steps) == 150
    assert len(bar.steps) == 4
    bar = Bar("B")
    cf.puts([("a", b"x" * 7), ("b", b"y" * 5)], progress=bar)
    assert sorted(bar.steps) == [5, 7]


def test_a_bar_is_told_of_items_before_their_failure_is_raised(cf: ArtifactFiles) -> None:
    bar = Bar()
    with pytest.raises(BatchError):
        cf.get(["a", "missing", "b"], progress=bar)
    assert bar.steps == [1, 1, 1]


def test_a_bar_sees_results_as_they_stream(cf: ArtifactFiles) -> None:
    bar = Bar()
    stream = cf.iget(["a", "b"], progress=bar)
    next(stream)
    assert bar.steps == [1]
    assert len(list(stream)) == 1
    assert bar.steps == [1, 1]


def test_a_meter_is_told_more_than_a_bar(tmp_path: Path, cf: ArtifactFiles) -> None:
    said: list[tuple[str, object]] = []

    class Meter:
        def expect(self, files: int | None, size: int | None) -> None:
            said.append(("expect", (files, size)))

        def add(self, size: int | None) -> None:
            said.append(("add", size))

        def advance(self, size: int) -> None:
            said.append(("advance", size))

        def know(self, path: str, size: int) -> None:
            said.append(("know", (path, size)))

        def resume(self, size: int) -> None:
            raise AssertionError("there was no earlier run")

    cf.download(["a"], tmp_path, progress=Meter())
    said = [told for told in said if told != ("advance", 0)]
    assert said == [("expect", (1, None)), ("know", ("a", 100)), ("advance", 100), ("add", None)]


def test_what_is_no_bar_is_refused_before_anything_is_sent(cf: ArtifactFiles) -> None:
    with pytest.raises(TypeError, match=r"update\(n\)"):
        cf.puts([("new", b"")], progress=7)  # type: ignore[arg-type]
    assert not cf.exists("new")
