"""Ctrl-C while something is written: wherever it comes, the next writer neither waits nor finds anything left over."""

from __future__ import annotations

import contextlib
import gc
import linecache
import re
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest

from cloudfiles_hypha import ArtifactFiles, CommitError, StagedWarning
from cloudfiles_hypha.backends.hypha import backend, groups, journal, opening, staging
from cloudfiles_hypha.backends.hypha.groups import Book
from cloudfiles_hypha.backends.hypha.journal import Journal
from cloudfiles_hypha.backends.hypha.manager import ArtifactManager
from cloudfiles_hypha.disk.held import Held
from cloudfiles_hypha.engine import waiting
from cloudfiles_hypha.transfers.batch import Batches
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha, RemoteError
from tests.support.object_server import ObjectServer

WRITING = {module.__file__ for module in (backend, groups, journal, opening, staging)}
# Taking such a lock and giving it back are one step each: the interpreter looks for signals after them.
LOCKING = re.compile(r"with [\w.]*lock:|with self\.calls\(")


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"old": b"old"})
        yield hypha


@pytest.fixture
def files(hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    with connect(hypha, num_threads=0, transport="urllib3") as files:
        yield files


class Interruption:
    """Raises ``KeyboardInterrupt`` in this thread before the ``number``th line of what writes; ``where`` that was."""

    def __init__(self, number: int, *, between: bool) -> None:
        self.where = ""
        self._left = number
        self._between = between  # also where contextlib leads from one function to the next

    def __enter__(self) -> Interruption:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, event: str, argument: object) -> Any:
        caller: FrameType | None = frame
        while self._between and caller is not None and caller.f_code.co_filename == contextlib.__file__:
            caller = caller.f_back
        code = (caller or frame).f_code
        return self._stepped if code.co_filename in WRITING or code is Batches.write.__code__ else None

    def _stepped(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if event == "line" and not LOCKING.match(linecache.getline(code.co_filename, frame.f_lineno).strip()):
            self._left -= 1
            if not self._left:
                self.where = f"{code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._stepped


def put(files: ArtifactFiles) -> None:
    files.put("x", b"x")


def puts(files: ArtifactFiles) -> None:
    files.puts((f"x{number}", b"x") for number in range(2))


def block(files: ArtifactFiles) -> None:
    with files.staged():
        files.put("x", b"x")


def elsewhere(call: Callable[[], object]) -> None:
    """Make the call in another thread, in twenty seconds."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 -- raised below
            raised.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(20)
    if thread.is_alive():
        raise TimeoutError("it waits")
    if raised:
        raise raised[0]


@pytest.mark.filterwarnings(
    "ignore::cloudfiles_hypha.WithdrawnWarning",  # of the name that was cut off
    "ignore::ResourceWarning",  # a note that was being written
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
@pytest.mark.parametrize("write", [put, puts, block])
def test_wherever_a_write_is_interrupted_the_next_one_is_published(
    hypha: FakeHypha, files: ArtifactFiles, write: Callable[[ArtifactFiles], None]
) -> None:
    number = 0
    while True:
        number += 1
        # a block is interrupted in the user's function, too: what contextlib has begun there is nobody else's to end
        interruption = Interruption(number, between=write is not block)
        kept = None
        try:
            with interruption:
                write(files)
        except KeyboardInterrupt as error:
            kept = error  # with all its frames, as Jupyter does
        if not interruption.where:
            assert kept is None
            break
        left = {entry["path"] for entry in (hypha.artifacts["ws/a"].staging or {"files": []})["files"]}
        later = partial(files.put, "later", b"%d" % number)
        try:
            if write is block and left:  # on purpose
                with pytest.warns(StagedWarning):
                    elsewhere(later)
                elsewhere(files.commit)
            else:
                for thread in (elsewhere, lambda call: call()):
                    thread(later)
        except Exception as error:
            raise AssertionError(f"after an interruption before {interruption.where}") from error
        assert hypha.files("ws/a")["later"] == b"%d" % number, interruption.where
        assert hypha.artifacts["ws/a"].staging is None, interruption.where
    assert number > 300


def once(real: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
    """As ``real``, but the first call is interrupted: before anything is done, or as it returns."""
    armed = [True]

    def interrupted(*arguments: Any, **named: Any) -> Any:
        last = armed and armed.pop()
        value = real(*arguments, **named) if after or not last else None
        if last:
            raise KeyboardInterrupt
        return value

    return interrupted


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("where", "name"), [(Book, "join"), (Book, "leave"), (Book, "_await_end"), (Book, "close"), (Book, "end")]
)
def test_a_place_that_ctrl_c_kept_from_being_given_back_is_not_waited_for(
    hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch, where: type, name: str, after: bool
) -> None:
    monkeypatch.setattr(where, name, once(getattr(where, name), after=after))
    with connect(hypha) as files:
        with pytest.raises(KeyboardInterrupt) as kept:
            files.put("x", b"x")
        elsewhere(lambda: files.put("y", b"y"))
        files.put("z", b"z")
        assert set(hypha.files("ws/a")) >= {"old", "y", "z"}
        assert files.status()["staged"] is False
    assert kept.traceback


def test_who_waits_for_a_writer_that_is_interrupted_as_it_leaves_commits_instead(
    hypha: FakeHypha, files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    real = Book._await_end

    def noted(*arguments: Any) -> None:
        waits.set()
        real(*arguments)

    def items() -> Iterator[tuple[str, bytes]]:
        yield "x", b"x"
        thread.start()
        assert waits.wait(5)
        monkeypatch.setattr(Book, "leave", once(Book.leave))

    monkeypatch.setattr(Book, "_await_end", noted)
    with connect(hypha) as other:
        thread = threading.Thread(target=lambda: other.put("y", b"y"), daemon=True)
        with pytest.raises(KeyboardInterrupt):
            files.puts(items())
        thread.join(5)
        assert not thread.is_alive()
    assert hypha.files("ws/a") == {"old": b"old", "x": b"x", "y": b"y"}


def test_who_waits_for_a_commit_that_is_interrupted_is_told_so(
    hypha: FakeHypha, files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Ctrl-C comes before a single line of what makes the commit."""
    raised: list[BaseException] = []
    waits = threading.Event()

    def other() -> None:
        with connect(hypha) as files, pytest.raises(CommitError, match="interrupted before the commit") as caught:
            files.put("y", b"y")
        raised.append(caught.value)

    thread = threading.Thread(target=other, daemon=True)
    real_wait = groups._wait

    def noted(*arguments: Any) -> None:
        waits.set()
        real_wait(*arguments)

    def items() -> Iterator[tuple[str, bytes]]:
        yield "x", b"x"
        thread.start()
        assert waits.wait(5)

    monkeypatch.setattr(groups, "_wait", noted)
    monkeypatch.setattr(Book, "close", once(Book.close))
    with pytest.raises(KeyboardInterrupt):
        files.puts(items())
    thread.join(5)
    assert raised
    files.put("z", b"z")
    assert hypha.files("ws/a") == {"old": b"old", "x": b"x", "y": b"y", "z": b"z"}


def test_a_lock_whose_taking_is_interrupted_is_free_again(
    hypha: FakeHypha, files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "acquire", once(Journal.acquire, after=True))
    with pytest.raises(KeyboardInterrupt) as kept:
        files.put("x", b"x")
    here = Journal(hypha.url, "ws/a")
    assert not here.is_held()
    here.acquire(Held())  # dropped by whoever was interrupted
    assert not here.is_held()
    assert kept.traceback


# --- While the answer to the opening is under way --------------------------------------------------------------------


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ``edit`` is done, and interrupted before its answer is there."""
    armed = [True]
    real = ArtifactManager.call

    def call(self: ArtifactManager, method: str, **arguments: Any) -> object:
        answer = real(self, method, **arguments)
        if method == "edit" and armed:
            armed.clear()
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(ArtifactManager, "call", call)


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("write", [put, block])
def test_a_staging_whose_opening_was_interrupted_is_the_next_writers(
    hypha: FakeHypha, files: ArtifactFiles, write: Callable[[ArtifactFiles], None]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(files)
    assert hypha.artifacts["ws/a"].staging is not None
    write(files)
    files.put("y", b"y")
    assert hypha.artifacts["ws/a"].staging is None
    assert hypha.files("ws/a") == {"old": b"old", "x": b"x", "y": b"y"}


@pytest.mark.usefixtures("interrupted")
def test_a_put_goes_on_with_what_a_block_had_only_opened(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with pytest.raises(KeyboardInterrupt):
        block(files)
    files.put("y", b"y")
    assert (hypha.files("ws/a"), hypha.artifacts["ws/a"].staging) == ({"old": b"old", "y": b"y"}, None)


@pytest.mark.usefixtures("interrupted")
def test_a_put_does_not_publish_a_version_that_a_block_was_to_make(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with pytest.raises(KeyboardInterrupt), files.staged(version="new"):
        files.put("x", b"x")
    with pytest.warns(StagedWarning):
        files.put("y", b"y")
    assert (hypha.files("ws/a"), hypha.count("commit")) == ({"old": b"old"}, 0)


def test_an_opening_of_others_is_not_taken_for_that_of_a_block_that_failed_in_it(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    hypha.call("edit", artifact_id="ws/a", stage=True)
    hypha.fault("put_file", RemoteError("PermissionError", "no"))
    with pytest.raises(PermissionError):
        block(files)
    with pytest.warns(StagedWarning):
        files.put("y", b"y")
    assert hypha.count("commit") == 0


@pytest.mark.parametrize("step", ["_reset", "_describe"])
def test_a_handle_that_was_interrupted_in_being_set_up_is_set_up_anew(
    step: str, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = pytest.importorskip("cloudfiles_hypha.transports.curl.handle")
    object_server.put("a", b"0123456789")
    part = {"path": "a", "start": 2, "end": 6, "part": True}
    carry_out = getattr(handles.CurlHandle, step)

    def interrupted(handle: Any, *args: Any) -> None:
        if step == "_reset":
            carry_out(handle, *args)
        raise KeyboardInterrupt

    with ArtifactFiles(object_server.url, num_threads=0) as files:
        for first, second in ((part, "a"), ("a", part)):  # by one handle
            files.get([first])
            with monkeypatch.context() as patched:
                patched.setattr(handles.CurlHandle, step, interrupted)
                with pytest.raises(KeyboardInterrupt):
                    files.get([second])
            assert files.get([part])[0]["content"] == b"2345"
            assert files.get("a") == b"0123456789"


@pytest.mark.parametrize("phase", ["start", "stop"])
def test_ctrl_c_in_noting_that_the_collector_is_at_work_leaves_no_wrong_note(
    monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    """Before the first line of the note is where Python looks for signals, and where no ``finally`` helps."""
    interrupted: list[str] = []
    seen: list[bool] = []

    def interrupt(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code is waiting._note.__code__ and frame.f_locals["phase"] == phase:
            interrupted.append(phase)
            raise KeyboardInterrupt  # and Python lets go of this function, so the next call is not interrupted

    class Looking:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            seen.append(waiting.here.collecting)

    monkeypatch.setattr(sys, "unraisablehook", lambda told: None)  # where Python puts what comes in the collector
    waiting.watch_collector()
    profiler = sys.getprofile()
    gc.collect()
    Looking()
    sys.setprofile(interrupt)
    try:
        gc.collect()
    finally:
        sys.setprofile(profiler)
    assert (interrupted, seen, waiting.here.collecting) == ([phase], [True], False)
