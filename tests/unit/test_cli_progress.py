"""What people see of ``cp``, ``mv``, ``sync`` and ``rm``: summaries, lines for items, bars, and the end by Ctrl-C."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFiles, Item
from cloudfiles_hypha.cli import main as cli
from cloudfiles_hypha.cli import watching
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.cli.watching import Told, Watch
from tests.support.object_server import Always, Hang, ObjectServer, Status
from tests.unit.test_progress import Terminal

numbers = itertools.count()
Run = Callable[..., tuple[int, str, str]]
HERE = Path(cli.__file__).parents[2]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        said = capsys.readouterr()
        return code, said.out, re.sub(r"in [\d.]+ s \([^)]*\)", "in TIME", said.err).replace("cloudfiles-hypha: ", "")

    return run


def memory(*names: str) -> ArtifactFiles:
    made = ArtifactFiles(f"mem://cli-progress-{next(numbers)}")
    made.puts([(name, name.encode()) for name in names])
    return made


# -- the summary


def test_the_summary_says_what_was_done_and_what_was_not(run: Run, tmp_path: Path) -> None:
    source = memory("a", "bb")
    place = source.cloudpath
    assert run("cp", "-r", f"{place}/", str(tmp_path)) == (0, "", "copied 2 files, 3 B in TIME\n")
    never = ("--overwrite", "never")
    assert run("cp", "-r", *never, f"{place}/", str(tmp_path)) == (0, "", "nothing to do: 2 files are there already\n")
    (tmp_path / "a").unlink()
    code, _, said = run("cp", *never, f"{place}/a", f"{place}/bb", f"{place}/none", f"{tmp_path}/")
    assert code == 1
    assert said.splitlines()[-1] == "copied 1 file, 1 B in TIME; skipped 1 (there already); 1 failed"


def test_every_command_that_moves_bytes_or_removes_has_one(run: Run) -> None:
    source, target = memory("a", "bb"), memory("old")
    here, there = source.cloudpath, target.cloudpath
    assert run("sync", "--delete", "--dry-run", here, there)[2] == "would copy 2 files, 3 B; would remove 1 file\n"
    assert run("sync", "--delete", here, there)[2] == "copied 2 files, 3 B in TIME; removed 1 file\n"
    assert run("sync", "--compare", "size", here, there)[2] == "nothing to do: 2 files are there already\n"
    assert run("mv", f"{there}/a", f"{there}/c")[2] == "moved 1 file, 1 B in TIME\n"
    assert run("rm", "-r", f"{there}/")[2] == "removed 2 files\n"
    assert run("sync", there, there + "-too")[2] == "nothing to do: there are no such files\n"


def test_quiet_has_none_and_misuse_has_none(run: Run, tmp_path: Path) -> None:
    source = memory("a")
    assert run("cp", "-q", f"{source.cloudpath}/a", f"{tmp_path}/") == (0, "", "")
    assert len(run("cp", f"{source.cloudpath}/", f"{tmp_path}/")[2].splitlines()) == 1
    assert run("cp", f"{source.cloudpath}/a", "-")[2] == ""


def test_json_has_a_line_for_each_item_and_one_at_the_end(run: Run, tmp_path: Path) -> None:
    source = memory("a", "bb")
    place = source.cloudpath
    (tmp_path / "bb").write_text("bb")
    code, out, _ = run(
        "cp", "--json", "--overwrite", "never", *(f"{place}/{name}" for name in ("a", "bb", "none")), f"{tmp_path}/"
    )
    *items, last = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    found = {item["target"]: item for item in items}
    keys = {"done", "source", "target", "size", "skipped", "verified", "error"}
    assert all(item.keys() == keys for item in items)
    done = found[f"{tmp_path}/a"]
    assert (done["done"], done["source"], done["size"], done["error"]) == ("copied", f"{place}/a", 1, None)
    assert found[f"{tmp_path}/bb"]["skipped"] is True
    assert "none" in found[f"{tmp_path}/none"]["error"]
    summary = last["summary"]
    assert (summary["files"], summary["bytes"], summary["failed"], summary["stopped"]) == (1, 1, 1, False)
    assert summary["skipped"] == {"there already": 1}


def test_verbose_has_a_line_for_each_item_and_each_retry(run: Run, tmp_path: Path, object_server: ObjectServer) -> None:
    object_server.put("a", b"a", faults=[Status(500)])
    url = object_server.url_for("a")
    code, out, said = run("cp", "-v", url, f"{tmp_path}/")
    assert code == 0
    assert out.split("\t")[:4] == ["copied", url, f"{tmp_path}/a", "1"]
    retry, summary = said.splitlines()
    assert "500" in retry
    assert "attempt 1; trying again" in retry
    assert summary == "copied 1 file, 1 B in TIME; 1 retry"
    object_server.put("b", b"b", faults=[Status(500)])
    assert run("cp", object_server.url_for("b"), f"{tmp_path}/")[2] == "copied 1 file, 1 B in TIME; 1 retry\n"


# -- in a log


def test_in_a_log_there_is_a_line_now_and_then(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_NOW_AND_THEN", 0.0)
    source = memory("a", "bb")
    said = run("cp", "-r", f"{source.cloudpath}/", str(tmp_path))[2]
    assert re.search(r"^cp: 2 of 2 files, 3 B.*/s", said, re.MULTILINE)
    for silent in ("--no-progress", "-q"):
        assert "cp: " not in run("cp", "-r", silent, "--overwrite", "always", f"{source.cloudpath}/", str(tmp_path))[2]


def test_a_terminal_that_cannot_move_its_cursor_is_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    watch = Watch("cp", shown=True, verbose=False)
    watch.expect(1, 10)
    watch.advance(5)
    watch.close()
    assert screen.getvalue() == ""


# -- on a terminal


def test_one_file_has_its_bytes_counted_as_soon_as_its_size_is_known(
    screen: Terminal, object_server: ObjectServer, tmp_path: Path
) -> None:
    object_server.put("a", b"a" * 3 * 2**20)
    watch = Watch("cp", shown=True, verbose=False)
    with ArtifactFiles(object_server.url_for("")) as cf:
        cf.download(["a"], tmp_path, progress=watch)
    watch.close()
    assert (watch.size, watch.moved, watch.done) == (3 * 2**20, 3 * 2**20, 1)
    assert "/3.00M" in screen.getvalue()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    made = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    with monkeypatch.context() as patched:
        patched.setattr(watching, "sys", types.SimpleNamespace(stderr=made))
        yield made


def test_large_files_have_lines_of_their_own_as_many_as_there_is_room_for(screen: Terminal) -> None:
    watch = Watch("cp", shown=True, verbose=False)
    large = 20 * 2**20
    watch.know_all({**{f"large{number}": large for number in range(9)}, "small": 10})
    watch.expect(10, None)
    told = Told(watch)
    for number, name in enumerate(["small", *(f"large{number}" for number in range(9))]):
        told.moved(Item(number, name, None), 5)
    shown = screen.getvalue()
    assert "180M" in shown  # of all of them
    assert "small" not in shown
    assert set(re.findall(r"large\d", shown)) == {f"large{number}" for number in range(4)}
    told.ended(Item(1, "large0", None), None)
    told.moved(Item(9, "large8", None), 5)  # there is room again
    assert "large8" in screen.getvalue()
    watch.close()


def test_names_never_reach_the_terminal_as_they_are(screen: Terminal) -> None:
    watch = Watch("cp", shown=True, verbose=False)
    evil = "a\u202e\x1b[2J\u2066gpj.exe"
    watch.know_all({evil: 20 * 2**20})
    watch.expect(1, None)
    Told(watch).moved(Item(0, evil, None), 5)
    watch.close()
    assert "gpj.exe" in screen.getvalue()
    assert not re.search("\u202e|\u2066|\x1b\\[2J", screen.getvalue())


def test_what_an_earlier_run_has_left_is_there_and_not_fast(screen: Terminal) -> None:
    watch = Watch("cp", shown=True, verbose=False)
    watch.expect(1, 100 * 2**20)
    watch.resume(90 * 2**20)
    watch.advance(2**20)
    assert (watch._bar.n, watch._bar.initial) == (91 * 2**20, 90 * 2**20)
    watch.resume(-90 * 2**20)
    watch.advance(0)
    assert (watch._bar.n, watch._bar.initial) == (2**20, 0)
    watch.close()


def test_a_terminal_that_goes_away_ends_nothing(screen: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch("cp", shown=True, verbose=False)

    def gone(text: str) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(screen, "write", gone)
    watch.expect(1, 10)
    watch.advance(5)
    watch.add(None)
    watch.close()
    assert (watch.done, watch.moved) == (1, 5)


class OnTerminal:
    """A run whose standard error is a terminal of its own, which Ctrl-C comes from."""

    def __init__(self, *arguments: str, columns: int = 80, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        own = (
            "import fcntl, os, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", own, sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            cwd=HERE,
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(HERE), **environment},
            start_new_session=True,
        )
        os.close(theirs)

    def press_ctrl_c(self) -> None:
        os.write(self._ours, b"\x03")

    def read_until(self, wanted: str = "") -> str:
        """What is shown until that is, or to the end."""
        shown = b""
        while not wanted or wanted.encode() not in shown:
            try:
                block = os.read(self._ours, 65536)
            except OSError:  # Linux: nobody has the other end any more
                break
            if not block:
                break
            shown += block
        return shown.decode()

    def end(self) -> int:
        os.close(self._ours)
        return self.process.wait(timeout=30)


def half_done(object_server: ObjectServer, tmp_path: Path, **how: object) -> OnTerminal:
    """One file is there, the other one never comes."""
    object_server.put("a", b"a")
    object_server.put("b", b"b", faults=[Always(Hang())])
    urls = [object_server.url_for(name) for name in "ab"]
    running = OnTerminal("-m", "cloudfiles_hypha", "cp", *urls, str(tmp_path), **how)  # type: ignore[arg-type]
    deadline = threading.Event()
    while not (tmp_path / "a").exists():
        assert running.process.poll() is None
        deadline.wait(0.02)
    deadline.wait(0.3)  # it has its name a moment before it counts as done
    return running


@pytest.mark.parametrize("columns", [80, 20])
def test_ctrl_c_stops_and_says_what_is_done_and_bars_fit(
    object_server: ObjectServer, tmp_path: Path, columns: int
) -> None:
    running = half_done(object_server, tmp_path, columns=columns, NO_COLOR="1")
    running.press_ctrl_c()
    shown = running.read_until()
    assert running.end() == 130
    bars, _, said = shown.partition("cloudfiles-hypha: interrupted")
    assert "cp:" in bars
    assert all(len(line) <= columns for line in re.split(r"[\r\n]|\x1b\[A", bars.replace("^C", "")))
    assert not re.search(r"\x1b\[[\d;]*m", shown)  # no colours
    assert "stopped: 1 of 2 files are done" in said
    assert "not done: 1" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_ctrl_c_for_the_second_time_leaves_at_once() -> None:
    stuck = """
import sys, time
from cloudfiles_hypha.cli import main, places

def stay(*where):
    while True:
        try:
            print("staying", file=sys.stderr, flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            continue

places.Clients.__exit__ = stay
sys.argv[1:] = ["cp", "mem://nothing/a", "-"]
sys.exit(main.main())
"""
    running = OnTerminal("-c", stuck)
    for _ in range(2):
        assert "staying" in running.read_until("staying")
        running.press_ctrl_c()
    assert "left at once" in running.read_until()
    assert running.end() == 130


def test_a_second_interrupt_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr(os, "write", lambda descriptor, text: len(text))
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            cli._interrupted(signal.SIGINT, None)
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert left == [130]
