"""Several writers on one artifact: threads, greenlets and objects of one process, other processes of this user, copies
of a ``staged()`` block, and what a killed process has left."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import gevent
import pytest

from cloudfiles_hypha import (
    ArtifactFiles,
    BatchError,
    CommitError,
    InvalidRequest,
    NotStaged,
    PreconditionFailed,
    ServerError,
    StagedWarning,
    TransferTimeout,
    WithdrawnWarning,
)
from cloudfiles_hypha.backends.hypha.commits import seen_in
from cloudfiles_hypha.backends.hypha.journal import Journal, Record
from cloudfiles_hypha.disk.held import Held
from tests.support.clients import CLIENTS, connect
from tests.support.fake_hypha import FakeHypha, RemoteError
from tests.support.object_server import Always, Fault, Response, Status

OLD = {"a": b"old a", "b": b"old b", "dir/c": b"old c"}
BROKEN = Always(Status(500))
CHANGING = ("create", "edit", "put_file", "put_file_start_multipart", "remove_file", "commit", "discard")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudfiles_hypha.backends.hypha.commits._COMMIT_PAUSE", 0.01)
    monkeypatch.setattr("cloudfiles_hypha.backends.hypha.opening._LOOK_PAUSE", 0.005)


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", OLD)
        yield hypha


@pytest.fixture
def files(hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    with connect(hypha, num_threads=4) as files:
        yield files


def journal_of(hypha: FakeHypha) -> Journal:
    return Journal(hypha.url, "ws/a")


def versions(hypha: FakeHypha) -> list[str]:
    return [entry["version"] for entry in hypha.artifacts["ws/a"].versions]


def staged_names(hypha: FakeHypha) -> list[str] | None:
    staging = hypha.artifacts["ws/a"].staging
    return None if staging is None else sorted(entry["path"] for entry in staging["files"])


def changes(hypha: FakeHypha) -> list[str]:
    return [call.method for call in hypha.calls if call.method in CHANGING]


def at_once(*calls: Callable[[], Any]) -> list[BaseException | None]:
    """Run them at once, in threads: what each raised."""
    raised: list[BaseException | None] = [None] * len(calls)

    def guarded(number: int) -> None:
        try:
            calls[number]()
        except BaseException as error:  # noqa: BLE001 -- handed back
            raised[number] = error

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return raised


# --- One process: a group, a commit ----------------------------------------------------------------------------------


def test_a_source_that_writes_to_the_same_artifact_while_it_is_read_belongs_to_the_same_commit(
    hypha: FakeHypha,
) -> None:
    class Source(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == 0:
                files.put("inner", b"2")
            return super().read(size)

    with connect(hypha, num_threads=4, transport="urllib3") as files:
        files.puts([("first", b"1"), ("outer", Source(b"3"))])
    assert hypha.files("ws/a") == OLD | {"first": b"1", "inner": b"2", "outer": b"3"}
    assert (hypha.count("commit"), staged_names(hypha)) == (1, None)


@pytest.mark.parametrize("client", ["inline", "threads", "urllib3"])
def test_single_puts_of_64_threads_take_a_handful_of_calls_and_commits(hypha: FakeHypha, client: str) -> None:
    for method in ("read", "edit", "put_file", "commit"):
        hypha.slow(method, per_call=0.02)
    with connect(hypha, **CLIENTS[client]) as files:
        raised = at_once(*(lambda number=number: files.put(f"n{number}", b"%d" % number) for number in range(64)))
    assert raised == [None] * 64
    assert hypha.files("ws/a") == OLD | {f"n{number}": b"%d" % number for number in range(64)}
    assert (staged_names(hypha), hypha.count("commit") <= 4, hypha.count("edit") <= 4) == (None, True, True)
    assert hypha.count("put_file") <= 20


def test_single_puts_of_greenlets_share_a_commit(hypha: FakeHypha) -> None:
    with connect(hypha, num_threads=4, green=True) as files:
        puts = [gevent.spawn(files.put, f"n{number}", b"%d" % number) for number in range(32)]
        gevent.joinall(puts, timeout=30, raise_error=True)
    assert hypha.files("ws/a") == OLD | {f"n{number}": b"%d" % number for number in range(32)}
    assert (hypha.count("commit") <= 4, staged_names(hypha)) == (True, None)


def test_puts_and_deletes_of_several_threads_share_a_commit(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.slow("edit", per_call=0.2)  # time for all to come
    raised = at_once(
        lambda: files.puts([(f"x{number}", b"") for number in range(100)]),
        lambda: files.delete(["a", "b"]),
        lambda: files.put("y", b"y"),
    )
    assert raised == [None] * 3
    assert hypha.files("ws/a") == {"dir/c": b"old c", "y": b"y"} | {f"x{number}": b"" for number in range(100)}
    assert (hypha.count("edit"), hypha.count("commit")) == (1, 1)


def test_an_upload_that_fails_is_its_own_writers_error_only(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.slow("edit", per_call=0.2)
    hypha.fault_file("ws/a", "bad", BROKEN, method="PUT")
    good, bad = at_once(lambda: files.put("good", b"good"), lambda: files.put("bad", b"bad"))
    assert (good, getattr(bad, "status", None)) == (None, 500)
    assert (hypha.files("ws/a"), hypha.count("commit")) == (OLD | {"good": b"good"}, 1)


def test_a_name_that_the_server_refuses_is_its_own_writers_error_only(hypha: FakeHypha, files: ArtifactFiles) -> None:
    class Picky(Fault):
        def answer(self, exchange: Any) -> None:
            paths = json.loads(exchange.request.body)["file_path"]
            if "bad" in paths:
                RemoteError("ValueError", "no such name, please").answer(exchange)
            else:
                super().answer(exchange)

    hypha.slow("edit", per_call=0.2)
    hypha.fault("put_file", Always(Picky()))
    *good, bad = at_once(
        *(lambda name=name: files.put(name, b"") for name in ("x", "y", "z")), lambda: files.put("bad", b"")
    )
    assert good == [None] * 3
    assert isinstance(bad, InvalidRequest)
    assert hypha.files("ws/a").keys() == OLD.keys() | {"x", "y", "z"}


def test_a_commit_that_fails_is_told_to_each_writer(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.slow("edit", per_call=0.2)
    hypha.fault("commit", Always(RemoteError("PermissionError", "no")))
    raised = at_once(*(lambda name=name: files.put(name, b"") for name in "xyz"))
    assert [type(error) for error in raised] == [CommitError] * 3
    assert len({id(error) for error in raised}) == 3
    assert {error.results[0]["path"] for error in raised} == set("xyz")  # type: ignore[union-attr]


def test_the_commit_is_made_for_those_who_wait_though_the_last_writer_raises(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    joined, stored = threading.Event(), threading.Event()

    def items() -> Iterator[tuple[str, bytes]]:
        yield "first", b"1"
        joined.set()
        stored.wait(10)
        raise ZeroDivisionError

    def patient() -> None:
        joined.wait(10)
        threading.Timer(0.2, stored.set).start()
        files.put("x", b"x")

    raising, waiting = at_once(lambda: files.puts(items()), patient)
    assert isinstance(raising, ZeroDivisionError)
    assert waiting is None
    assert hypha.files("ws/a")["x"] == b"x"
    assert staged_names(hypha) is None


def test_steady_writers_are_published_now_and_then(
    hypha: FakeHypha, files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudfiles_hypha.backends.hypha.groups._ADMITTING", 0.1)
    published = threading.Event()

    def steady(name: str) -> None:
        for number in range(200):
            if published.is_set():
                return
            files.put(f"{name}{number}", b"")

    def other() -> None:
        files.put("x", b"x")
        published.set()

    assert at_once(lambda: steady("y"), lambda: steady("z"), other) == [None] * 3
    assert published.is_set()
    assert hypha.files("ws/a")["x"] == b"x"


def test_two_objects_with_two_tokens_share_no_commit(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.slow("put_file", per_call=0.05)
    hypha.token = None
    with connect(hypha, num_threads=2, token="another") as other:
        assert at_once(lambda: files.put("x", b"x"), lambda: other.put("y", b"y")) == [None, None]
    assert hypha.count("commit") == 2
    assert hypha.files("ws/a") == OLD | {"x": b"x", "y": b"y"}


# --- What the verbs cost ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "calls"),
    [
        (lambda files: files.put("x", b"x"), ["read", "edit", "put_file", "read", "commit"]),
        (lambda files: files.puts([("x", b""), ("y", b"")]), ["read", "edit", "put_file", "read", "commit"]),
        (lambda files: files.delete("a"), ["read", "edit", "remove_file", "read", "commit"]),
        (lambda files: files.delete(["a", "b"]), ["read", "edit", *["remove_file"] * 2, "read", "commit"]),
        (lambda files: files.puts([]), []),
        (lambda files: files.commit(), ["read", "commit"]),
        (lambda files: files.discard(), ["read", "discard"]),
        (lambda files: files.status(), ["read"]),
    ],
    ids=["put", "puts", "delete", "delete two", "puts nothing", "commit", "discard", "status"],
)
def test_what_a_writing_verb_costs(
    hypha: FakeHypha, files: ArtifactFiles, verb: Callable[[ArtifactFiles], object], calls: list[str]
) -> None:
    if calls[-1:] in (["commit"], ["discard"]) and len(calls) == 2:
        hypha.call("edit", artifact_id="ws/a", stage=True)
    verb(files)
    assert [call.method for call in hypha.calls] == calls


@pytest.mark.parametrize("version", [None, "new", "v1.0"])
def test_a_block_that_writes_nothing_makes_no_call(hypha: FakeHypha, files: ArtifactFiles, version: str | None) -> None:
    with files.staged(version=version):
        pass
    assert hypha.calls == []


# --- Names of versions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stage", "latest", "", " ", "7", "v7", "v0"])
def test_a_name_that_no_version_can_have_is_refused_before_anything_is_changed(
    hypha: FakeHypha, files: ArtifactFiles, name: str
) -> None:
    with pytest.raises(InvalidRequest), files.staged(version=name):
        files.put("x", b"x")
    assert (changes(hypha), hypha.store.requests) == ([], [])
    hypha.call("edit", artifact_id="ws/a", stage=True, version="new")
    with pytest.raises(InvalidRequest):
        files.commit(version=name)
    assert changes(hypha) == []


def test_the_number_that_comes_next_is_a_name_too(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with files.staged(version="v1"):
        files.put("x", b"x")
    assert versions(hypha) == ["v0", "v1"]


def test_a_version_name_for_an_edit_in_place_is_refused_and_not_ignored(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with pytest.raises(ZeroDivisionError), files.staged():  # noqa: PT012 -- the block is what raises
        files.put("x", b"x")
        raise ZeroDivisionError
    with pytest.raises(InvalidRequest, match="'v0'"):
        files.commit(version="v1.0")
    assert (versions(hypha), staged_names(hypha)) == (["v0"], ["x"])
    assert files.commit() == "v0"


@pytest.mark.parametrize(
    "write", [lambda cf: cf.put("a", b"new"), lambda cf: cf.delete("a"), lambda cf: cf.delete(["a"])]
)
def test_writing_through_an_old_version_changes_nothing(
    hypha: FakeHypha, files: ArtifactFiles, write: Callable[[ArtifactFiles], object]
) -> None:
    with files.staged(version="new"):
        files.puts(list(OLD.items()))
    hypha.forget_requests()
    hypha.store.forget_requests()
    with connect(hypha, "ws/a@v0") as old, pytest.raises((InvalidRequest, BatchError), match="latest version"):
        write(old)
    assert (changes(hypha), hypha.store.requests) == ([], [])
    assert hypha.files("ws/a") == OLD


@pytest.mark.parametrize("version", ["v0", "latest", "stage"])
def test_the_latest_version_may_be_named_in_a_write(hypha: FakeHypha, version: str) -> None:
    with connect(hypha, f"ws/a@{version}") as files:
        files.put("x", b"x")
    assert hypha.files("ws/a") == OLD | {"x": b"x"}


# --- Other clients ---------------------------------------------------------------------------------------------------


def test_a_commit_stops_at_what_another_client_has_staged_meanwhile(hypha: FakeHypha, files: ArtifactFiles) -> None:
    class Meanwhile(Fault):
        def answer(self, exchange: Any) -> None:
            hypha.call("put_file", artifact_id="ws/a", file_path=["b", "theirs"])
            super().answer(exchange)

    hypha.fault_file("ws/a", "x", Meanwhile(), method="PUT")
    with pytest.raises(CommitError, match=r"'b', 'theirs'.*commit\(\).*discard\(\)") as caught:
        files.put("x", b"x")
    assert isinstance(caught.value.__cause__, PreconditionFailed)
    assert (staged_names(hypha), hypha.count("commit"), hypha.count("remove_file")) == (["b", "theirs", "x"], 0, 0)
    with pytest.warns(StagedWarning):  # nor does a later write
        files.put("y", b"y")
    assert hypha.count("commit") == 0


def test_a_commit_stops_at_a_change_of_the_manifest_by_another_client(hypha: FakeHypha, files: ArtifactFiles) -> None:
    class Meanwhile(Fault):
        def answer(self, exchange: Any) -> None:
            hypha.call("edit", artifact_id="ws/a", stage=True, manifest={"name": "theirs"})
            super().answer(exchange)

    hypha.fault_file("ws/a", "x", Meanwhile(), method="PUT")
    with pytest.raises(CommitError, match="change of the artifact itself"):
        files.put("x", b"x")
    assert hypha.artifacts["ws/a"].manifest == {"name": "ws/a"}


def test_a_name_that_was_dropped_from_the_list_is_registered_again(hypha: FakeHypha, files: ArtifactFiles) -> None:
    class Overwritten(Fault):
        def answer(self, exchange: Any) -> None:
            hypha.artifacts["ws/a"].staging["files"].clear()  # by the call of another, made at the same moment
            super().answer(exchange)

    hypha.store.fault(hypha.artifacts["ws/a"].key(1, "x"), Overwritten(), method="PUT")
    with files.staged(version="new"):
        files.put("x", b"x")
    assert (hypha.files("ws/a"), hypha.count("put_file")) == ({"x": b"x"}, 2)


def test_what_others_have_staged_cannot_be_deleted(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.call("edit", artifact_id="ws/a", stage=True)
    hypha.call("put_file", artifact_id="ws/a", file_path=["theirs"])
    hypha.store.put(hypha.key("ws/a", "theirs"), b"theirs")
    with pytest.raises(InvalidRequest, match="somebody else"):
        files.delete("theirs")
    assert (hypha.files("ws/a")["theirs"], staged_names(hypha)) == (b"theirs", ["theirs"])


def test_a_discard_whose_answer_was_lost_is_not_repeated_on_what_others_have_staged_since(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    class Lost(Fault):
        def answer(self, exchange: Any) -> None:
            exchange.respond()
            hypha.call("edit", artifact_id="ws/a", stage=True)
            hypha.call("put_file", artifact_id="ws/a", file_path=["theirs"])
            exchange.send(Response(502))

    hypha.call("edit", artifact_id="ws/a", stage=True)
    hypha.fault("discard", Lost())
    assert files.discard()
    assert (staged_names(hypha), hypha.count("discard")) == (["theirs"], 1)


# --- Other processes of this user ------------------------------------------------------------------------------------


def test_a_writer_waits_for_another_process_and_then_commits_for_itself(hypha: FakeHypha, files: ArtifactFiles) -> None:
    held = Held()
    assert journal_of(hypha).acquire(held)  # as by another process: each has a descriptor of its own
    hypha.call("edit", artifact_id="ws/a", stage=True)
    hypha.call("put_file", artifact_id="ws/a", file_path=["theirs"])

    def other() -> None:
        hypha.store.put(hypha.key("ws/a", "theirs"), b"theirs")
        hypha.call("commit", artifact_id="ws/a")
        held.release()

    ending = threading.Timer(0.2, other)
    ending.start()
    files.put("x", b"x")
    ending.join()
    assert (changes(hypha), staged_names(hypha)) == (["edit", "put_file", "commit"], None)
    assert hypha.files("ws/a") == OLD | {"theirs": b"theirs", "x": b"x"}


def test_a_process_that_writes_for_too_long_is_an_error_that_says_so(hypha: FakeHypha, files: ArtifactFiles) -> None:
    held = Held()
    assert journal_of(hypha).acquire(held)
    with pytest.raises(TransferTimeout, match="another process"):
        files.put("x", b"x")
    held.release()
    assert (hypha.calls, hypha.store.requests) == ([], [])


KILLED = """
import os, signal, sys, threading
sys.path[:0] = {path!r}
from cloudfiles_hypha import ArtifactFiles
def items():
    for number in range(70):
        yield f"n{{number:02}}", b"n"
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
files = ArtifactFiles("ws/a", server_url={url!r}, token={token!r}, num_threads=2)
files.puts(items())
"""


def test_the_rerun_of_an_upload_that_was_killed_is_published(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.fault_file("ws/a", "n05", BROKEN, method="PUT")
    script = KILLED.format(path=sys.path, url=hypha.url, token=hypha.token)
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        hypha.store.wait_for_requests(20, timeout=30)
        with pytest.raises(TransferTimeout):  # it lives
            files.put("x", b"x")
        assert files.status()["owner"] == "a process of this user that is alive"
        process.communicate(b"\n", timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert staged_names(hypha)
    assert files.status()["owner"] == "a process of this user that has ended"
    hypha.clear_faults()
    hypha.store.clear_faults()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WithdrawnWarning)  # of those that it had not uploaded
        files.puts([("n00", b"new"), ("x", b"x")])
    assert (staged_names(hypha), versions(hypha)) == (None, ["v0"])
    stored = hypha.files("ws/a")
    assert (stored["n00"], stored["x"], stored["n01"]) == (b"new", b"x", b"n")
    assert files.status()["owner"] is None


def test_names_that_a_killed_run_registered_and_nobody_uploaded_are_withdrawn_and_named(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    left_by_a_batch(hypha, ["ghost", "n"])
    hypha.store.put(hypha.key("ws/a", "n"), b"n")
    with pytest.warns(WithdrawnWarning, match="'ghost'"):
        files.put("x", b"x")
    assert (hypha.files("ws/a"), staged_names(hypha)) == (OLD | {"n": b"n", "x": b"x"}, None)


def left_by_a_batch(hypha: FakeHypha, names: list[str], kind: str = "batch") -> Journal:
    """Staging as a process of this user leaves it when it is killed, and its notes."""
    journal = journal_of(hypha)
    journal.begin(Record(kind=kind))
    journal.opened(seen_in(hypha.call("edit", artifact_id="ws/a", stage=True)))
    journal.add(names)
    hypha.call("put_file", artifact_id="ws/a", file_path=names)
    return journal


def test_what_a_block_that_raised_has_left_is_joined_and_not_committed(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with pytest.raises(ZeroDivisionError), files.staged():  # noqa: PT012 -- the block is what raises
        files.put("n", b"n")
        raise ZeroDivisionError
    with pytest.warns(StagedWarning):
        files.put("x", b"x")
    with pytest.warns(StagedWarning), files.staged():
        files.put("y", b"y")
    assert (hypha.count("commit"), staged_names(hypha)) == (0, ["n", "x", "y"])
    hypha.store.objects.pop(hypha.key("ws/a", "n"))
    with pytest.warns(WithdrawnWarning, match="'n'"):  # it is known to be ours
        assert files.commit() == "v0"


def test_what_a_killed_block_has_left_is_taken_up_by_the_next_block_and_by_nothing_else(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    left_by_a_batch(hypha, ["n"], kind="block")
    hypha.store.put(hypha.key("ws/a", "n"), b"n")
    with pytest.warns(StagedWarning):
        files.put("x", b"x")
    with files.staged():
        files.put("y", b"y")
    assert (hypha.files("ws/a"), staged_names(hypha)) == (OLD | {"n": b"n", "x": b"x", "y": b"y"}, None)


def test_what_a_killed_run_has_left_is_not_taken_up_once_others_have_staged_there(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    left_by_a_batch(hypha, ["n"])
    hypha.call("put_file", artifact_id="ws/a", file_path=["theirs"])
    with pytest.warns(StagedWarning):
        files.put("x", b"x")
    assert (hypha.count("commit"), staged_names(hypha)) == (0, ["n", "theirs", "x"])


@pytest.mark.parametrize("why", ["without locks", "another machine"])
def test_what_may_still_be_written_by_another_process_is_not_taken_up(
    hypha: FakeHypha, files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    left_by_a_batch(hypha, ["n"])
    if why == "without locks":
        monkeypatch.setattr("cloudfiles_hypha.backends.hypha.journal.fcntl", None)
        pid = os.getpid()
        monkeypatch.setattr("cloudfiles_hypha.backends.hypha.journal.os.getpid", lambda: pid + 1)
    else:
        monkeypatch.setattr("cloudfiles_hypha.backends.hypha.journal.platform.node", lambda: "elsewhere")
    with connect(hypha) as other, pytest.warns(StagedWarning):
        other.put("x", b"x")
    assert (hypha.count("commit"), staged_names(hypha)) == (0, ["n", "x"])


def test_a_block_that_raises_before_it_writes_leaves_no_note(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with pytest.raises(ZeroDivisionError), files.staged():
        raise ZeroDivisionError
    assert journal_of(hypha).read() is None
    hypha.call("edit", artifact_id="ws/a", stage=True)  # somebody else's
    with pytest.warns(StagedWarning), files.staged():
        files.put("x", b"x")
    assert hypha.count("commit") == 0


def test_a_manifest_that_others_have_staged_is_not_discarded_where_every_upload_failed(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    class Meanwhile(Fault):
        def answer(self, exchange: Any) -> None:
            hypha.call("edit", artifact_id="ws/a", stage=True, manifest={"name": "theirs"})
            exchange.send(Response(500))

    hypha.fault_file("ws/a", "x", Always(Meanwhile()), method="PUT")
    with pytest.raises(ServerError):
        files.put("x", b"x")
    assert (hypha.count("discard"), staged_names(hypha)) == (0, [])


def test_a_staging_that_was_opened_anew_since_is_not_taken_for_that_of_a_killed_run(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    left_by_a_batch(hypha, ["n"])
    hypha.call("discard", artifact_id="ws/a")
    hypha.artifacts["ws/a"].modified += 5
    hypha.now = lambda: int(time.time()) + 10  # type: ignore[method-assign]
    hypha.call("edit", artifact_id="ws/a", stage=True)
    hypha.call("put_file", artifact_id="ws/a", file_path=["n"])
    with pytest.warns(StagedWarning):
        files.put("x", b"x")
    assert hypha.count("commit") == 0


def test_an_upload_of_which_all_is_staged_already_can_be_published_by_its_rerun(
    hypha: FakeHypha, files: ArtifactFiles, tmp_path: Path
) -> None:
    (tmp_path / "n").write_bytes(b"n")
    left_by_a_batch(hypha, ["n"])
    hypha.store.put(hypha.key("ws/a", "n"), b"n")
    (result,) = files.upload(tmp_path)
    assert result["skipped"]
    assert (staged_names(hypha), hypha.files("ws/a")) == (None, OLD | {"n": b"n"})


def test_a_state_folder_that_cannot_be_written_fails_no_write(
    hypha: FakeHypha, files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with connect(hypha) as files:
        hypha.fault("edit", RemoteError("OSError", "the answer was lost", after_doing=True))
        files.put("x", b"x")
    assert (hypha.files("ws/a"), staged_names(hypha)) == (OLD | {"x": b"x"}, None)


def test_the_journal_is_the_users_own_and_holds_no_secret(
    hypha: FakeHypha, files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ZeroDivisionError), files.staged():  # noqa: PT012 -- the block is what raises
        files.put("x", b"x")
        raise ZeroDivisionError
    folder = Path(os.environ["XDG_STATE_HOME"]) / "cloudfiles_hypha" / "stagings"
    kept = list(folder.iterdir())
    assert {oct(path.stat().st_mode & 0o777) for path in kept} == {"0o600"}
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    text = "".join(path.read_text() for path in kept)
    assert "'x'" in text.replace('"', "'")
    assert hypha.token not in text
    files.discard()
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


# --- Copies of a block -----------------------------------------------------------------------------------------------


def copy_of(files: ArtifactFiles, hypha: FakeHypha) -> ArtifactFiles:
    """A copy that belongs to the block, as one in another process."""
    copied = connect(hypha, num_threads=2)
    staging = copied._backend.staging  # type: ignore[attr-defined] -- until copies carry it
    staging._opening.joined = files._backend.staging.joined_token()  # type: ignore[attr-defined]
    staging._who = "another process"
    return copied


def test_a_copy_writes_into_the_block_and_never_commits(hypha: FakeHypha, files: ArtifactFiles) -> None:
    for first in ("copy", "block"):
        with files.staged(), copy_of(files, hypha) as copied:
            if first == "copy":
                copied.puts([(f"{first} x", b"x"), (f"{first} y", b"y")])
            files.put(f"{first} z", b"z")
            copied.put(f"{first} w", b"w")
            copied.delete(["a", f"{first} w"])
            assert hypha.count("commit") == ("copy", "block").index(first)
        assert staged_names(hypha) is None
    assert set(hypha.files("ws/a")) == {"b", "dir/c", "copy x", "copy y", "copy z", "block z"}


def test_a_block_in_which_only_copies_write_is_committed(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with files.staged(version="new"), copy_of(files, hypha) as copied:
        copied.put("x", b"x")
    assert (hypha.files("ws/a"), versions(hypha)) == ({"x": b"x"}, ["v0", "v1"])


def test_a_copy_whose_block_has_ended_is_refused(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with files.staged():
        files.put("x", b"x")
        copied = copy_of(files, hypha)
    with copied, pytest.raises(NotStaged, match="ended"):
        copied.put("y", b"y")
    assert (hypha.files("ws/a"), staged_names(hypha)) == (OLD | {"x": b"x"}, None)


def _forked(files: ArtifactFiles) -> None:
    files.put("forked", b"f")


def test_a_child_forked_within_a_block_joins_it(hypha: FakeHypha) -> None:
    with connect(hypha, num_threads=0, transport="urllib3") as files, files.staged():
        files.put("x", b"x")
        child = multiprocessing.get_context("fork").Process(target=_forked, args=(files,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
    assert (hypha.files("ws/a"), hypha.count("commit")) == (OLD | {"x": b"x", "forked": b"f"}, 1)


def _leaves(block: AbstractContextManager[ArtifactFiles], files: ArtifactFiles, how: str) -> None:
    """In the child: end its copy of the parent's block."""
    if how == "refused":
        for verb in (files.commit, files.discard, files.staged().__enter__):
            with pytest.raises(InvalidRequest):
                verb()
    elif how == "raising":
        block.__exit__(SystemExit, SystemExit(), None)
    else:
        if how == "after a write":
            files.put("forked", b"f")
        block.__exit__(None, None, None)


@pytest.mark.parametrize("how", ["at once", "after a write", "raising", "refused"])
def test_a_child_that_leaves_the_block_it_was_forked_in_leaves_it_to_the_parent(hypha: FakeHypha, how: str) -> None:
    with connect(hypha, num_threads=0, transport="urllib3") as files:
        block = files.staged()
        with block:
            files.put("x", b"x")
            child = multiprocessing.get_context("fork").Process(target=_leaves, args=(block, files, how))
            child.start()
            child.join(30)
            assert child.exitcode == 0
            note = journal_of(hypha).read()
            assert note is not None
            assert (note.kind, note.pid, hypha.count("commit")) == ("block", os.getpid(), 0)
            files.put("y", b"y")
    new = {"x": b"x", "y": b"y"} | ({"forked": b"f"} if how == "after a write" else {})
    assert (hypha.files("ws/a"), hypha.count("commit"), staged_names(hypha)) == (OLD | new, 1, None)
