"""Several processes at one batch: the results of one process, refusals, deaths, and nothing that is left behind."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cloudfiles_hypha import (
    ArtifactFiles,
    ArtifactNotFound,
    BatchError,
    Cancellation,
    Cancelled,
    InvalidContent,
    ObjectNotFound,
    TransferError,
    WithdrawnWarning,
)
from cloudfiles_hypha import parallel as module
from cloudfiles_hypha.compat.cloudfiles import CloudFiles
from cloudfiles_hypha.errors import BatchError as AnyBatchError
from cloudfiles_hypha.models import GetRequest
from cloudfiles_hypha.results import Result
from tests.support.child import in_child
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha
from tests.support.parts import Obedient

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cf(tmp_path: Path) -> Iterator[ArtifactFiles]:
    with ArtifactFiles(str(tmp_path / "files"), num_threads=4) as files:
        files.puts([(f"{n:03d}", b"x" * n) for n in range(150)])
        files.put("json", b'{"a": [1]}')
        files.put("broken", b"{")
        yield files


def obey(tmp_path: Path, names: Iterable[str], **options: Any) -> list[Result]:
    """Have two processes do what ``names`` say."""
    named = ((name, GetRequest(name, tags=name)) for name in names)
    items = module.prepared([*named] if isinstance(names, list) else named)
    arguments = {"total": None, "again": True, "noted": lambda item, result: result, "cancel": None, **options}
    return module.run(2, (Obedient, {"folder": str(tmp_path)}), "get", items, **arguments)


def children() -> set[int]:
    return {int(pid) for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text().split()}


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- as in one process ----------------------------------------------------------------------------------------------


def test_several_processes_give_what_one_gives(cf: ArtifactFiles) -> None:
    wanted: list[Any] = [{"path": f"{n:03d}", "tags": n, "end": 7 if n % 3 else None} for n in range(1, 150)]
    wanted[20:20] = ["missing", {"path": "003", "start": 1, "end": 2}]
    one, many = (cf.get(wanted, raise_errors=False, parallel=count) for count in (1, 2))
    for here, there in zip(one, many, strict=True):
        errors = here.pop("error"), there.pop("error")  # type: ignore[misc]
        assert here == there
        for name in ("args", "path", "status", "attempts", "retry_after"):
            assert getattr(errors[0], name, None) == getattr(errors[1], name, None)
        assert repr(errors[0].__cause__ if errors[0] else 0) == repr(errors[1].__cause__ if errors[1] else 0)
    with pytest.raises(BatchError) as caught:
        cf.get(iter(wanted), parallel=2)
    assert [result["tags"] for result in caught.value.results] == [result["tags"] for result in one]
    assert isinstance(caught.value.errors[0]["error"], ObjectNotFound)


def test_values_of_json_are_parsed_as_by_one_process(cf: ArtifactFiles) -> None:
    wanted = [{"path": "json", "tags": 1}, {"path": "broken", "tags": 2}]
    (good, bad), (same, worse) = (cf.get_json(wanted, raise_errors=False, parallel=count) for count in (2, 1))
    assert (good["content"], type(bad["error"])) == ({"a": [1]}, InvalidContent)
    assert str(bad.pop("error")) == str(worse.pop("error"))
    assert (good, bad) == (same, worse)
    assert cf.get(iter(["001", "002"]), return_dict=True, parallel=2) == {"001": b"x", "002": b"xx"}


def test_every_content_that_can_travel_arrives(cf: ArtifactFiles, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "local").write_bytes(b"from the disk")
    monkeypatch.chdir(tmp_path)
    contents: list[tuple[str, Any]] = [
        ("w/bytes", b"1"),
        ("w/text", "ü"),
        ("w/array", bytearray(b"22")),
        ("w/view", memoryview(b"0333")[1:]),
        ("w/large", memoryview(bytearray(b"4" * 300_000))),
        ("w/path", Path("local")),
        ("w/io", io.BytesIO(b"55")),
    ]
    results = cf.puts([{"path": name, "content": content, "tags": name} for name, content in contents], parallel=2)
    assert [result["tags"] for result in results] == [name for name, _ in contents]
    expected = [b"1", "ü".encode(), b"22", b"333", b"4" * 300_000, b"from the disk", b"55"]
    assert [result["content"] for result in cf.get([name for name, _ in contents])] == expected


def test_values_are_stored_and_files_removed(tmp_path: Path) -> None:
    with ArtifactFiles(str(tmp_path), parallel=2) as cf:
        cf.put_jsons(((f"{n}.json", {"n": n}) for n in range(40)), compress="gzip")
        assert [result["content"]["n"] for result in cf.get_json([f"{n}.json" for n in range(40)])] == [*range(40)]
        assert len(cf.delete([f"{n}.json" for n in range(39)])) == 39
        assert [*cf] == ["39.json"]


def test_the_same_path_twice_is_refused_although_others_write(cf: ArtifactFiles) -> None:
    with pytest.raises(ValueError, match="given twice"):
        cf.puts(((name, b"") for name in ["w/a", "w/b", "w/a"]), parallel=2)


def test_one_item_needs_no_other_process(cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert cf.get("001", parallel=4) == b"x"
    assert cf.get(["001"], parallel=4)[0]["content"] == b"x"
    assert cf.get([], parallel=4) == [] == cf.puts(iter(()), parallel=4)


def test_the_input_is_read_here_and_not_far_ahead(cf: ArtifactFiles) -> None:
    read: list[int] = []
    ahead: list[int] = []
    here = threading.get_ident()

    def names() -> Iterator[str]:
        for number in range(3000):
            assert threading.get_ident() == here
            read.append(number)
            yield "001"

    class Bar:
        done = 0

        def update(self, n: int) -> None:
            assert threading.get_ident() == here
            ahead.append(len(read) - self.done)
            self.done += n

    bar = Bar()
    assert len(cf.get(names(), progress=bar, parallel=2)) == 3000
    assert bar.done == 3000
    assert max(ahead) <= 2 * 2 * module._MOST_ITEMS


def test_a_bar_in_bytes_counts_the_bytes_that_were_given(cf: ArtifactFiles) -> None:
    class Bar:
        unit = "B"
        done = 0

        def update(self, n: int) -> None:
            self.done += n

    bar = Bar()
    cf.puts([(f"w/{n}", b"x" * 1000) for n in range(40)], compress="gzip", progress=bar, parallel=2)
    assert bar.done == 40_000


def test_a_script_and_an_interactive_program_need_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from cloudfiles_hypha import ArtifactFiles\n"
        "print('begins')\n"
        f"cf = ArtifactFiles({str(tmp_path / 'files')!r}, parallel=2)\n"
        "cf.puts([(str(n), b'1') for n in range(50)])\n"
        "print(len(cf.get([str(n) for n in range(50)])))\n"
    )
    for hidden in ("pickle.py", "os.py", "subprocess.py"):  # what lies in the working directory is not taken for ours
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / "elsewhere" / hidden).write_text("raise SystemExit('hidden')")
    for arguments in ([str(script)], ["-c", script.read_text()]):
        where = tmp_path / "elsewhere" if arguments[0] != "-c" else tmp_path
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, timeout=50)
        assert (done.stdout, done.stderr) == ("begins\n50\n", "")


# -- refusals -------------------------------------------------------------------------------------------------------


def blocks() -> Iterator[bytes]:
    yield b"1"


def test_what_is_of_this_process_is_refused_by_name(cf: ArtifactFiles, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"into=.*parallel="):
        cf.get(["001", {"path": "002", "into": bytearray(2)}], parallel=2)
    with (tmp_path / "open").open("w+b") as file:
        for content in (file, blocks(), os.fdopen(os.dup(file.fileno()), "rb")):
            with pytest.raises(ValueError, match=r"w/b.*parallel="):
                cf.puts([("w/a", b""), ("w/b", content)], parallel=2)
            if hasattr(content, "close"):
                content.close()
    assert "w/a" not in cf
    for count in (0, -1, True, 1.5, "2"):
        with pytest.raises(ValueError, match="parallel="):
            cf.get(["001"], parallel=count)
        with pytest.raises(ValueError, match="parallel="):
            ArtifactFiles(str(tmp_path), parallel=count)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"session": requests.Session()}, "session="),
        ({"observer": object()}, "observer"),
        ({"green": True}, "gevent"),
        ({"cloudpath": "mem://bucket"}, "mem://"),
    ],
    ids=["session", "observer", "green", "mem"],
)
def test_an_object_that_others_cannot_have_is_refused_by_name(options: Any, reason: str, tmp_path: Path) -> None:
    options = {"cloudpath": f"{tmp_path}", **options}
    with pytest.raises(ValueError, match=f"parallel=3.*{reason}"):
        ArtifactFiles(**options, parallel=3)
    with ArtifactFiles(**options) as cf:
        for call in (cf.get, cf.get_json, cf.puts, cf.put_jsons, cf.delete):
            with pytest.raises(ValueError, match=f"parallel=3.*{reason}"):
                call((), parallel=3)  # type: ignore[operator]


def test_a_copy_keeps_how_many_there_are_to_be_and_a_child_has_none(tmp_path: Path) -> None:
    with ArtifactFiles(str(tmp_path), parallel=3) as cf, pickle.loads(pickle.dumps(cf)) as copy:
        assert copy._settings.parallel == 3


def test_cloud_files_manners_too(tmp_path: Path) -> None:
    cf = CloudFiles(f"file://{tmp_path}", parallel=2)
    assert cf.puts([(str(n), b"1") for n in range(30)], parallel=3) == 30
    assert len(cf.get([*map(str, range(30)), "missing"])) == 31
    assert cf.put_jsons(((f"j{n}", n) for n in range(3)), parallel=2) == 3
    assert cf.get_json(["j0", "j2"]) == [0, 2]
    assert cf.delete(iter(["0", "1"]), parallel=2) == 2
    memory = CloudFiles("mem://parallel", parallel=2)
    memory.puts([("a", b"1"), ("b", b"2")], parallel=2)
    assert [each["content"] for each in memory.get(["b", "a"], parallel=2)] == [b"2", b"1"]


# -- what happens to children ---------------------------------------------------------------------------------------


def test_what_a_process_died_of_is_done_by_another_where_that_is_safe(tmp_path: Path) -> None:
    names = [*(f"a-{n}" for n in range(30)), "once-1", *(f"b-{n}" for n in range(200)), "once-2"]
    assert [result["content"] for result in obey(tmp_path, names)] == [name.encode() for name in names]


@pytest.mark.parametrize("again", [True, False])
def test_a_process_that_dies_is_an_error_of_its_items(tmp_path: Path, again: bool) -> None:
    names = [*(f"a-{n}" for n in range(200)), "die" if again else "once", *(f"b-{n}" for n in range(200))]
    results = obey(tmp_path, iter(names), again=again)
    failures = {result["path"] for result in results if result["error"] is not None}
    assert names[200] in failures
    assert len(failures) <= module._FIRST_ITEMS  # its chunk, and no other
    assert [result["tags"] for result in results] == names
    (error,) = {str(result["error"]) for result in results if result["path"] == names[200]}
    assert "SIGKILL" in error
    assert error.startswith(f"{names[200]}: ")


def test_a_process_that_cannot_begin_is_an_error_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"parallel=.*No such file"):
        obey(tmp_path / "missing", ["a"])
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"parallel=2.*exit code 1"):
        obey(tmp_path, ["a"])


def test_giving_up_ends_them_at_once(tmp_path: Path) -> None:
    stop = Cancellation()

    def cancel() -> None:
        until((tmp_path / "waiting").exists)
        stop.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    before = children()
    with pytest.raises(Cancelled):
        obey(tmp_path, ["wait"] * 40, cancel=stop)
    thread.join()
    assert children() == before
    assert [each.name for each in threading.enumerate() if each.name.startswith("cloudfiles")] == []


def test_ctrl_c_ends_them_at_once(tmp_path: Path) -> None:
    def interrupt() -> None:
        until((tmp_path / "waiting").exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    before = children()
    with pytest.raises(KeyboardInterrupt):
        obey(tmp_path, ["wait"] * 40)
    thread.join()
    assert children() == before


def test_an_exception_of_the_caller_ends_them(tmp_path: Path) -> None:
    def noted(item: object, result: object) -> None:
        raise LookupError("mine")

    def names() -> Iterator[str]:
        yield from (f"a-{n}" for n in range(100))
        raise LookupError("theirs")

    before = children()
    with pytest.raises(LookupError, match="mine"):
        obey(tmp_path, [f"a-{n}" for n in range(100)], noted=noted)
    with pytest.raises(LookupError, match="theirs"):
        obey(tmp_path, names())
    assert children() == before


def forks_in_its_generator(folder: str) -> None:
    """In a process of its own: pytest's has threads that a fork would break."""
    pids = []

    def names() -> Iterator[str]:
        for number in range(300):
            if number == 150:
                pids.append(os.fork())
            yield f"a-{number}"

    try:
        assert len(obey(Path(folder), names())) == 300
    except RuntimeError as error:
        os._exit(0 if pids == [0] and "after the fork" in str(error) else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 0


def test_a_forked_child_leaves_them_to_its_parent(tmp_path: Path) -> None:
    in_child(forks_in_its_generator, str(tmp_path))


def test_they_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from tests.unit.test_parallel import obey; "
        "obey(pathlib.Path(sys.argv[1]), ['wait'] * 200)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment, cwd=ROOT)
    try:
        until(lambda: len([*tmp_path.glob("pid-*")]) == 2 and (tmp_path / "waiting").exists())
    finally:
        parent.kill()
        parent.wait()
    pids = [each.name.partition("-")[2] for each in tmp_path.glob("pid-*")]
    until(lambda: not any(_runs(pid) for pid in pids))


def _runs(pid: str) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


# -- what is said ---------------------------------------------------------------------------------------------------


def test_errors_keep_what_they_say_and_why(tmp_path: Path) -> None:
    gone, caused, unsendable = (each["error"] for each in obey(tmp_path, ["fail-1", "fail-cause", "fail-unsendable"]))
    assert isinstance(gone, ObjectNotFound)
    assert (gone.path, gone.status, gone.retry_after, gone.attempts) == ("fail-1", 410, 1.5, 3)
    assert repr(gone.__cause__) == "KeyError('the cause')"
    assert isinstance(caused, ObjectNotFound)
    assert str(caused.__cause__) == "Unsendable: the: cause"
    assert isinstance(unsendable, TransferError)
    assert str(unsendable) == "fail-unsendable: Unsendable: it: is broken"


def test_an_error_of_the_whole_call_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFound, match="nothing at all") as caught:
        obey(tmp_path, ["a", "raise"])
    assert caught.value.status == 404


def test_what_others_print_is_no_answer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(obey(tmp_path, ["print-1", "a", "print-2"])) == 3
    assert "a line that is no answer" in capfd.readouterr().err


def test_warnings_are_given_here_once(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        obey(tmp_path, ["warn-1", *(f"a-{n}" for n in range(100)), "warn-1", "warn-2"])
    assert [str(each.message) for each in caught] == ["warn-1 is odd", "warn-2 is odd"]


def test_no_secret_is_on_a_command_line_or_in_an_environment(tmp_path: Path) -> None:
    items = module.prepared([("show", GetRequest("show"))])
    state = {"folder": str(tmp_path), "token": "5ec2e7"}
    (result,) = module.run(
        2, (Obedient, state), "get", items, total=1, again=True, noted=lambda item, result: result, cancel=None
    )
    assert b"marshal" in result["content"]
    assert b"PATH=" in result["content"]
    assert b"5ec2e7" not in result["content"]


# -- Hypha ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"old": b"old"})
        yield hypha


def test_all_processes_write_into_one_commit(hypha: FakeHypha) -> None:
    files = [(f"d/{n:03d}", b"%d" % n) for n in range(200)]
    with connect(hypha, num_threads=4) as cf:
        cf.puts(files, parallel=2, compress="gzip")
        assert (hypha.count("commit"), hypha.artifacts["ws/a"].staging) == (1, None)
        assert hypha.count("put_file") > 1
        assert [result["content"] for result in cf.get([name for name, _ in files])] == [body for _, body in files]


def test_processes_change_the_list_of_staged_names_one_after_the_other(
    hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch
) -> None:
    respond, under_way, most = hypha.respond, [0], [0]

    def slowly(request: Any) -> Any:
        if "put_file" not in request.path:
            return respond(request)
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.1)
        under_way[0] -= 1
        return respond(request)

    monkeypatch.setattr(hypha, "respond", slowly)
    with connect(hypha, num_threads=4) as cf:
        cf.puts(((f"{n:03d}", b"1") for n in range(200)), parallel=2)
    assert (most[0], hypha.count("put_file"), hypha.count("commit")) == (1, 4, 1)


def test_within_a_block_nothing_is_published_before_its_end(hypha: FakeHypha) -> None:
    with connect(hypha, num_threads=4) as cf:
        with cf.staged():
            cf.put("first", b"1")
            cf.puts(iter([("a", b"a"), ("b", b"b")]), parallel=2)
            cf.delete(["old", "first"], parallel=2)
            assert hypha.count("commit") == 0
        assert hypha.count("commit") == 1
        assert sorted(cf) == ["a", "b"]


def test_a_new_artifact_is_made_once(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/new", create=True) as cf:
        cf.puts([(f"{n:03d}", b"1") for n in range(100)], parallel=2)
        assert (hypha.count("create"), hypha.count("commit"), len([*cf])) == (1, 1, 100)


def test_an_artifact_that_is_not_there_is_the_error_it_is_in_one_process(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/none") as cf:
        with pytest.raises(ArtifactNotFound, match="create=True"):
            cf.puts([("a", b""), ("b", b"")], parallel=2)
        with pytest.raises(AnyBatchError) as caught:
            cf.get(["a", "b"], parallel=2)
        assert [type(each["error"]) for each in caught.value.results] == [ArtifactNotFound] * 2


def test_names_that_get_lost_from_the_staging_are_registered_again(hypha: FakeHypha) -> None:
    with connect(hypha, num_threads=4) as cf:

        class Bar:
            def update(self, n: int) -> None:  # another writer's call at the same moment wrote back an older list
                staging = hypha.artifacts["ws/a"].staging
                assert staging is not None
                staging["files"] = [entry for entry in staging["files"] if entry["path"] != "005"]

        cf.puts([(f"{n:03d}", b"1") for n in range(64)], parallel=2, progress=Bar())
        assert cf.get("005") == b"1"


def test_a_killed_process_leaves_a_staging_that_can_be_committed(hypha: FakeHypha) -> None:
    files = {f"{n:03d}": b"%d" % n for n in range(400)}
    before = children()

    class Bar:
        killed = False

        def update(self, n: int) -> None:
            if not self.killed:
                self.killed = True
                for pid in [*children() - before][:1]:
                    os.kill(pid, signal.SIGKILL)

    with connect(hypha, num_threads=4) as cf:
        results = cf.puts(iter(files.items()), raise_errors=False, parallel=2, progress=Bar())
        assert [result["path"] for result in results] == [*files]
        good = [result["path"] for result in results if result["error"] is None]
        assert good
        assert {type(result["error"]) for result in results} <= {type(None), TransferError}
        assert (hypha.count("commit"), hypha.artifacts["ws/a"].staging) == (1, None)
        assert [result["content"] for result in cf.get(good)] == [files[name] for name in good]
        assert {*good, "old"} <= {*cf}


def test_what_was_stored_before_ctrl_c_is_published_by_the_next_write(hypha: FakeHypha) -> None:
    class Bar:
        def update(self, n: int) -> None:
            raise KeyboardInterrupt

    with connect(hypha, num_threads=4) as cf:
        with pytest.raises(KeyboardInterrupt):
            cf.puts([(f"{n:03d}", b"1") for n in range(300)], parallel=2, progress=Bar())
        assert hypha.count("commit") == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WithdrawnWarning)  # of names that were registered and not sent any more
            cf.puts([("a", b"A"), ("b", b"B")], parallel=2)
        published = {*cf}
        assert {"a", "b", "old"} < published  # and those that had been stored, whichever those were
        assert (hypha.count("commit"), hypha.artifacts["ws/a"].staging) == (1, None)


def test_all_processes_read_one_version(hypha: FakeHypha) -> None:
    with connect(hypha, num_threads=4) as cf, connect(hypha) as writer:
        with writer.staged(version="new"):
            writer.puts([(f"{n:03d}", b"before") for n in range(2000)])

        class Bar:
            done = 0

            def update(self, n: int) -> None:
                if not self.done:
                    with writer.staged(version="new"):
                        writer.puts([(f"{n:03d}", b"after") for n in range(2000)])
                self.done += 1

        got = cf.get((f"{n:03d}" for n in range(2000)), parallel=2, progress=Bar())
        assert {result["content"] for result in got} == {b"before"}
        assert cf.get("000") == b"after"
