"""Writing to an artifact on the scripted server: what is staged, committed, withdrawn, discarded, and what never is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactExists,
    ArtifactFiles,
    ArtifactNotFound,
    BatchError,
    CommitError,
    InvalidRequest,
    NotStaged,
    PreconditionFailed,
    ServerError,
    StagedWarning,
    WithdrawnWarning,
)
from cloudfiles_hypha.backends.hypha.journal import Journal
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha, RemoteError, Timeout504
from tests.support.object_server import Always, Delay, DropAfterStore, Fault, Response, Status
from tests.support.threads import in_threads

OLD = {"a": b"old a", "b": b"old b", "dir/c": b"old c"}
BROKEN = Always(Status(500))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudfiles_hypha.backends.hypha.commits._COMMIT_PAUSE", 0.05)


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", OLD)
        yield hypha


@pytest.fixture(params=["threads", "green", "inline"])
def cf(request: pytest.FixtureRequest, hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    options = {"threads": {"num_threads": 4}, "green": {"num_threads": 4, "green": True}, "inline": {"num_threads": 0}}
    with connect(hypha, **options[request.param]) as files:
        yield files


@pytest.fixture
def files(hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    """Like ``cf``, for what does not depend on who does the work."""
    with connect(hypha, num_threads=4) as files:
        yield files


def journal_of(hypha: FakeHypha, artifact: str = "ws/a") -> Journal:
    return Journal(hypha.url, artifact)


def until(true: Callable[[], bool]) -> None:
    """Wait for something that the workers do, be they threads or greenlets."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        gevent.sleep(0.005)


def methods(hypha: FakeHypha) -> list[str]:
    return [call.method for call in hypha.calls]


def versions(hypha: FakeHypha, artifact: str = "ws/a") -> list[str]:
    return [entry["version"] for entry in hypha.artifacts[artifact].versions]


def staged_names(hypha: FakeHypha, artifact: str = "ws/a") -> list[str] | None:
    staging = hypha.artifacts[artifact].staging
    return None if staging is None else sorted(entry["path"] for entry in staging["files"])


def stage_elsewhere(hypha: FakeHypha, path: str, body: bytes | None = b"theirs", artifact: str = "ws/a") -> None:
    """Another client registers a name and, but for None, uploads it."""
    hypha.call("put_file", artifact_id=artifact, file_path=[path])
    if body is not None:
        hypha.store.put(hypha.key(artifact, path), body)


def lost_answer() -> Fault:
    """The work is done, and an error is what the client hears of it."""
    return RemoteError("OSError", "the answer was lost", after_doing=True)


# --- One batch, one commit -------------------------------------------------------------------------------------------


def test_a_batch_is_staged_once_and_committed_once(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    results = cf.puts([(f"n{number}", b"%d" % number) for number in range(20)])
    assert [result["error"] for result in results] == [None] * 20
    assert methods(hypha) == ["read", "edit", "put_file", "read", "commit"]
    assert hypha.files("ws/a") == OLD | {f"n{number}": b"%d" % number for number in range(20)}
    assert (versions(hypha), staged_names(hypha)) == (["v0"], None)


def test_a_scalar_put_and_a_scalar_delete_are_committed(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    cf.put("n", b"n")
    cf.delete("a")
    assert methods(hypha)[:5] == ["read", "edit", "put_file", "read", "commit"]
    assert methods(hypha)[5:] == ["read", "edit", "remove_file", "read", "commit"]
    assert hypha.files("ws/a") == {"b": b"old b", "dir/c": b"old c", "n": b"n"}
    assert staged_names(hypha) is None


def test_a_batch_of_deletes_is_committed_once(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    cf.delete(["a", "dir/c", "never was"])
    assert (hypha.count("edit"), hypha.count("remove_file"), hypha.count("commit")) == (1, 3, 1)
    assert hypha.files("ws/a") == {"b": b"old b"}


def test_an_empty_batch_commits_nothing(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    assert cf.puts([]) == []
    assert (hypha.count("commit"), staged_names(hypha)) == (0, None)
    assert hypha.files("ws/a") == OLD


def test_staged_commits_several_batches_once(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with cf.staged(comment="three at once") as same:
        assert same is cf
        cf.puts([("x", b"x"), ("y", b"y")])
        cf.put("z", b"z")
        cf.delete(["a"])
        assert hypha.count("commit") == 0
    assert (hypha.count("edit"), hypha.count("commit")) == (1, 1)
    assert hypha.calls[-1].kwargs["comment"] == "three at once"
    assert hypha.files("ws/a") == {"b": b"old b", "dir/c": b"old c", "x": b"x", "y": b"y", "z": b"z"}
    cf.put("later", b"")  # the block has ended: this is a batch of its own
    assert hypha.count("commit") == 2


def test_staged_that_raises_keeps_what_was_stored_for_commit_or_discard(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with pytest.raises(ZeroDivisionError), cf.staged(version="new"):  # noqa: PT012 -- the block is what raises
        cf.puts([("x", b"x")])
        raise ZeroDivisionError
    assert (hypha.count("commit"), versions(hypha), staged_names(hypha)) == (0, ["v0"], ["x"])
    assert cf.commit(version="named") == "named"
    assert hypha.files("ws/a") == {"x": b"x"}


def test_staged_without_writes_leaves_no_staging_behind(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    for version in (None, "new"):
        with cf.staged(version=version):
            pass
        assert (staged_names(hypha), versions(hypha), hypha.files("ws/a")) == (None, ["v0"], OLD)


def test_staged_within_staged_is_refused_and_does_not_end_the_outer_one(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with files.staged():
        with pytest.raises(InvalidRequest), files.staged():
            pass
        files.put("x", b"x")
    assert hypha.files("ws/a")["x"] == b"x"
    assert hypha.count("commit") == 1


def test_a_put_within_the_generator_of_a_puts_belongs_to_its_commit(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    def items() -> Iterator[tuple[str, bytes]]:
        yield "first", b"1"
        cf.put("inner", b"2")
        yield "last", b"3"

    cf.puts(items())
    assert hypha.files("ws/a") == OLD | {"first": b"1", "inner": b"2", "last": b"3"}
    assert (hypha.count("commit"), staged_names(hypha)) == (1, None)


def test_a_generator_that_raises_leaves_what_was_stored_staged(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    def items() -> Iterator[tuple[str, bytes]]:
        for number in range(70):
            yield f"n{number:02}", b"n"
        until(lambda: hypha.store.count("PUT") > 0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cf.puts(items())
    assert (hypha.count("commit"), versions(hypha)) == (0, ["v0"])
    assert staged_names(hypha)
    cf.close()
    hypha.store.settled()  # what was broken off may still be arriving
    hypha.store.wait_for_connections(open_at_most=0)
    assert cf.discard()
    assert hypha.files("ws/a") == OLD


def test_the_same_path_twice_is_refused_before_anything_is_sent(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with pytest.raises(ValueError, match="'x': given twice"):
        cf.puts([("x", b"1"), ("y", b"2"), ("x", b"3")])
    assert (hypha.requests, hypha.store.requests) == ([], [])


def test_the_same_path_twice_in_a_generator_stops_the_batch_uncommitted(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with pytest.raises(ValueError, match="'a': given twice"):
        cf.puts((path, b"new") for path in ("a", "x", "a"))
    assert hypha.count("commit") == 0
    cf.discard()
    assert hypha.files("ws/a") == OLD


# --- Versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "name"), [("new", "v1"), ("v1.0", "v1.0")])
def test_a_new_version_holds_only_what_was_put_into_it(
    hypha: FakeHypha, cf: ArtifactFiles, version: str, name: str
) -> None:
    with cf.staged(version=version):
        cf.puts([("a", b"new a"), ("x", b"x")])
        assert cf.status()["new_version"]
    assert versions(hypha) == ["v0", name]
    assert hypha.files("ws/a") == {"a": b"new a", "x": b"x"}
    assert hypha.files("ws/a", "v0") == OLD


def test_in_a_new_version_a_delete_of_what_was_not_put_into_it_is_refused(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with cf.staged(version="new"):
        cf.puts([("x", b"x"), ("y", b"y")])
        with pytest.raises(InvalidRequest):
            cf.delete("a")
        cf.delete("y")
    assert hypha.files("ws/a") == {"x": b"x"}
    assert hypha.files("ws/a", "v0") == OLD


def test_a_new_version_is_refused_while_an_edit_of_the_latest_is_staged(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.add_artifact("ws/a", OLD, staged="edit_version").staging["files"].append({"path": "theirs"})
    with files.staged(version="new"), pytest.raises(InvalidRequest):
        files.put("x", b"x")
    assert staged_names(hypha) == ["theirs"]
    assert hypha.count("commit") == 0


def test_status_tells_what_is_staged(hypha: FakeHypha, files: ArtifactFiles) -> None:
    assert files.status() == {
        "artifact": "ws/a",
        "versions": ["v0"],
        "staged": False,
        "new_version": False,
        "files": [],
        "removed": [],
        "owner": None,
    }
    with files.staged():
        files.puts([("y", b""), ("x", b"")])
        files.delete(["b", "a"])
        told = files.status()
    assert (told["staged"], told["new_version"], told["owner"]) == (True, False, "this process")
    assert (told["files"], told["removed"]) == (["x", "y"], ["a", "b"])


# --- Deleting and putting the same path ------------------------------------------------------------------------------


def test_delete_then_put_ends_with_the_new_content(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with cf.staged():
        cf.delete(["a", "b"])
        cf.puts([("a", b"new a"), ("x", b"x")])
    assert hypha.files("ws/a") == {"a": b"new a", "dir/c": b"old c", "x": b"x"}


def test_delete_then_put_can_be_discarded(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with pytest.raises(ZeroDivisionError), cf.staged():  # noqa: PT012 -- the block is what raises
        cf.delete("a")
        cf.put("a", b"new a")
        raise ZeroDivisionError
    assert cf.discard()
    assert hypha.files("ws/a") == OLD


def test_put_then_delete_ends_without_the_file(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with cf.staged():
        cf.puts([("a", b"new a"), ("x", b"x"), ("y", b"y")])
        cf.delete(["a", "x"])
    assert hypha.files("ws/a") == {"b": b"old b", "dir/c": b"old c", "y": b"y"}


def test_delete_put_delete_put_ends_with_the_last_content(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with cf.staged():
        for content in (b"1", b"2"):
            cf.delete("a")
            cf.put("a", content)
    assert hypha.files("ws/a") == OLD | {"a": b"2"}


# --- Answers that are lost -------------------------------------------------------------------------------------------


def test_a_removal_whose_answer_was_lost_is_not_undone_by_its_retry(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("remove_file", lost_answer())
    cf.delete("a")
    assert hypha.files("ws/a") == {"b": b"old b", "dir/c": b"old c"}
    assert hypha.count("remove_file") == 1


def test_a_removal_that_was_not_done_is_done_by_its_retry(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("remove_file", RemoteError("OSError", "nothing was done"))
    cf.delete("a")
    assert hypha.files("ws/a") == {"b": b"old b", "dir/c": b"old c"}
    assert hypha.count("remove_file") == 2


def test_taking_back_an_upload_twice_does_not_remove_the_file_of_the_version_before(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    hypha.fault("remove_file", lost_answer())
    with cf.staged(version="new"):
        cf.puts([("a", b"new a"), ("x", b"x")])
        cf.delete("a")
    assert hypha.files("ws/a") == {"x": b"x"}
    assert hypha.files("ws/a", "v0") == OLD


def test_withdrawing_a_failed_upload_twice_does_not_remove_the_file_of_the_version_before(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    hypha.fault("remove_file", lost_answer())
    hypha.store.fault(hypha.artifacts["ws/a"].key(1, "a"), BROKEN, method="PUT")
    with cf.staged(version="new"), pytest.raises(BatchError):
        cf.puts([("a", b"new a"), ("x", b"x")])
    assert hypha.files("ws/a") == {"x": b"x"}
    assert hypha.files("ws/a", "v0") == OLD


def test_a_removal_mark_lifted_twice_does_not_come_back_over_the_new_content(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    with cf.staged():
        cf.delete("a")
        hypha.fault("remove_file", lost_answer())
        cf.put("a", b"new a")
    assert hypha.files("ws/a") == OLD | {"a": b"new a"}


@pytest.mark.parametrize(
    "loss", [lost_answer(), Timeout504(), RemoteError("Exception", "proxy gave up", 502, after_doing=True)], ids=repr
)
@pytest.mark.parametrize("version", [None, "v1.0"])
def test_a_commit_whose_answer_was_lost_is_a_success_and_not_made_twice(
    hypha: FakeHypha, cf: ArtifactFiles, loss: Fault, version: str | None
) -> None:
    hypha.fault("commit", loss)
    with cf.staged(version=version):
        cf.put("x", b"x")
    assert versions(hypha) == (["v0"] if version is None else ["v0", version])
    assert hypha.files("ws/a")["x"] == b"x"
    assert staged_names(hypha) is None


def test_a_commit_after_which_the_connection_breaks_is_a_success(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("commit", DropAfterStore(rst=True))
    with cf.staged(version="v1.0"):
        cf.put("x", b"x")
    assert (versions(hypha), hypha.files("ws/a")) == (["v0", "v1.0"], {"x": b"x"})


def test_a_removal_after_which_the_connection_breaks_is_not_made_twice(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("remove_file", DropAfterStore())
    with pytest.raises(ZeroDivisionError), cf.staged():  # noqa: PT012 -- the block is what raises
        cf.delete("a")
        raise ZeroDivisionError
    assert (hypha.count("remove_file"), staged_names(hypha)) == (1, ["a"])
    assert hypha.files("ws/a") == OLD  # made twice, it would have deleted the file, staged or not


def test_commit_tells_the_version_though_its_answer_was_lost(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.add_artifact("ws/a", OLD, staged="new_version")
    hypha.fault("commit", lost_answer())
    assert files.commit(version="ninth") == "ninth"


def test_staging_whose_answer_was_lost_is_still_committed(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("edit", lost_answer())
    cf.put("x", b"x")
    assert hypha.files("ws/a") == OLD | {"x": b"x"}


def test_a_discard_whose_answer_was_lost_has_discarded(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.add_artifact("ws/a", OLD, staged="edit_version")
    hypha.fault("discard", lost_answer())
    assert files.discard() is True
    assert files.discard() is False


# --- Uploads that fail -----------------------------------------------------------------------------------------------


def test_of_100_uploads_one_fails_for_good_and_99_are_committed(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault_file("ws/a", "n42", BROKEN, method="PUT")
    with pytest.raises(BatchError) as caught:
        cf.puts([(f"n{number}", b"%d" % number) for number in range(100)])
    (failed,) = caught.value.errors
    assert (failed["path"], type(failed["error"]), len(caught.value.results)) == ("n42", ServerError, 100)
    stored = {f"n{number}": b"%d" % number for number in range(100) if number != 42}
    assert hypha.files("ws/a") == OLD | stored
    assert staged_names(hypha) is None
    assert [call.kwargs["file_path"] for call in hypha.calls if call.method == "remove_file"] == ["n42"]


def test_a_committed_file_whose_overwriting_failed_is_not_deleted(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    for path in ("a", "dir/c", "dir/new"):
        hypha.fault_file("ws/a", path, BROKEN, method="PUT")
    results = cf.puts([(path, b"new") for path in ("a", "b", "dir/c", "dir/new")], raise_errors=False)
    assert [result["error"] is None for result in results] == [False, True, False, False]
    assert hypha.files("ws/a") == OLD | {"b": b"new"}
    assert [call.kwargs["file_path"] for call in hypha.calls if call.method == "remove_file"] == ["dir/new"]
    assert (hypha.count("commit"), staged_names(hypha)) == (1, None)


def test_a_file_uploaded_although_its_answer_was_lost_is_kept(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault_file("ws/a", "x", Always(DropAfterStore(rst=True)), method="PUT")
    results = cf.puts([("x", b"x"), ("y", b"y")], raise_errors=False)
    assert [result["error"] is None for result in results] == [False, True]
    assert hypha.files("ws/a") == OLD | {"x": b"x", "y": b"y"}
    assert hypha.count("remove_file") == 0


def test_where_every_upload_failed_nothing_is_committed_and_nothing_stays_staged(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    hypha.store.fault_all(BROKEN, method="PUT")
    with pytest.raises(BatchError):
        cf.puts([("a", b"new"), ("x", b"x")])
    assert (hypha.count("commit"), staged_names(hypha)) == (0, None)
    assert hypha.files("ws/a") == OLD


def test_where_every_upload_failed_the_files_that_others_staged_meanwhile_are_kept(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    class Meanwhile(Fault):
        def answer(self, exchange: Any) -> None:
            for path, body in (("theirs", b"theirs"), ("b", b"their b")):
                stage_elsewhere(hypha, path, body)
            exchange.send(Response(500))

    hypha.fault_file("ws/a", "x", Meanwhile(), BROKEN, method="PUT")
    with pytest.raises(BatchError):
        files.puts([("x", b"x")])
    assert staged_names(hypha) == ["b", "theirs"]
    assert files.commit() == "v0"
    assert hypha.files("ws/a") == OLD | {"theirs": b"theirs", "b": b"their b"}


def test_names_registered_by_a_call_that_failed_do_not_fail_the_commit(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    names = [f"n{number}" for number in range(90)]
    with cf.staged():
        cf.puts([("x", b"x")])
        hypha.fault("put_file", Always(lost_answer()))
        results = cf.puts([(name, b"n") for name in names], raise_errors=False)
        assert all(isinstance(result["error"], ServerError) for result in results)
        hypha.clear_faults()
        with pytest.warns(WithdrawnWarning):
            cf.commit()
        cf.put("y", b"y")
    assert hypha.files("ws/a") == OLD | {"x": b"x", "y": b"y"}


def test_a_timeout_of_the_server_is_answered_with_smaller_batches(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    items = [(f"n{number:03}", b"%d" % number) for number in range(300)]
    hypha.slow("put_file", per_path=0.0005, timeout=0.02)  # does its work all the same, for up to 40 paths in time
    cf.puts(items)
    sizes = [len(call.kwargs["file_path"]) for call in hypha.calls if call.method == "put_file"]
    assert max(sizes) > 40
    assert min(sizes) <= 40
    assert len(sizes) < 40
    assert hypha.files("ws/a") == OLD | dict(items)
    assert hypha.count("commit") == 1


def test_a_commit_that_fails_for_good_carries_the_results_and_can_be_made_up_for(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    hypha.fault("commit", Always(RemoteError("PermissionError", "no")))
    hypha.fault_file("ws/a", "y", BROKEN, method="PUT")
    with pytest.raises(CommitError) as caught:
        cf.puts([("x", b"x"), ("y", b"y")])
    assert [(result["path"], result["error"] is None) for result in caught.value.results] == [("x", True), ("y", False)]
    assert isinstance(caught.value.__cause__, AccessDenied)
    assert staged_names(hypha) == ["x"]
    hypha.clear_faults()
    assert cf.commit() == "v0"
    assert hypha.files("ws/a") == OLD | {"x": b"x"}


def test_a_single_put_whose_commit_fails_says_so(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("commit", Always(RemoteError("PermissionError", "no")))
    with pytest.raises(CommitError):
        cf.put("x", b"x")
    hypha.artifacts["ws/a"].staging = None
    with pytest.raises(CommitError):
        cf.delete("a")


def test_a_staged_block_whose_commit_fails_says_so(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("commit", Always(RemoteError("PermissionError", "no")))
    with pytest.raises(AccessDenied), cf.staged():
        cf.put("x", b"x")
    assert staged_names(hypha) == ["x"]


# --- Commit and discard ----------------------------------------------------------------------------------------------


def test_commit_leaves_out_what_was_never_uploaded_and_says_which(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with pytest.raises(ZeroDivisionError), cf.staged():  # noqa: PT012 -- the block is what raises
        cf.put("x", b"x")
        raise ZeroDivisionError
    journal_of(hypha).add(["dir/ghost", "b"])  # as a batch that was killed leaves it; b has a committed object
    hypha.call("put_file", artifact_id="ws/a", file_path=["dir/ghost", "b"])
    with pytest.warns(WithdrawnWarning, match="dir/ghost") as told:
        cf.commit()
    assert "'b'" not in str(told[0].message)
    assert hypha.files("ws/a") == OLD | {"x": b"x"}


def test_commit_never_drops_what_others_have_registered_and_not_uploaded_yet(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    with pytest.raises(ZeroDivisionError), cf.staged():  # noqa: PT012 -- the block is what raises
        cf.put("x", b"x")
        raise ZeroDivisionError
    stage_elsewhere(hypha, "theirs", None)
    with pytest.raises(PreconditionFailed, match="'theirs'.*discard"):
        cf.commit()
    assert staged_names(hypha) == ["theirs", "x"]
    hypha.store.put(hypha.key("ws/a", "theirs"), b"theirs")
    assert cf.commit() == "v0"
    assert hypha.files("ws/a") == OLD | {"theirs": b"theirs", "x": b"x"}


def test_a_file_that_the_store_acknowledged_and_lost_is_an_error_of_its_own(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    class Losing(Fault):
        def answer(self, exchange: Any) -> None:
            artifact = hypha.artifacts["ws/a"]
            hypha.store.objects.pop(artifact.key(artifact.target, "y"), None)
            super().answer(exchange)

    hypha.fault("commit", Losing())
    x, y = files.puts([("x", b"x"), ("y", b"y")], raise_errors=False)
    assert (x["error"], y["path"]) == (None, "y")
    assert isinstance(y["error"], ServerError)
    assert hypha.files("ws/a") == OLD | {"x": b"x"}


def test_commit_with_nothing_staged_is_an_error(files: ArtifactFiles) -> None:
    with pytest.raises(NotStaged):
        files.commit()


def test_discard_restores_what_was_overwritten(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with pytest.raises(ZeroDivisionError), cf.staged():  # noqa: PT012 -- the block is what raises
        cf.puts([("a", b"new"), ("x", b"x")])
        cf.delete("b")
        raise ZeroDivisionError
    assert hypha.files("ws/a")["a"] == b"new"  # an edit is made in place
    assert cf.discard() is True
    assert (hypha.files("ws/a"), staged_names(hypha), versions(hypha)) == (OLD, None, ["v0"])
    assert cf.discard() is False


def test_staging_verbs_need_an_artifact_with_versions() -> None:
    with ArtifactFiles("mem://nothing-staged") as files:
        for verb in (files.commit, files.discard, files.status):
            with pytest.raises(TypeError, match="Hypha artifacts"):
                verb()


# --- Other writers ---------------------------------------------------------------------------------------------------


def test_what_goes_into_somebody_elses_staging_is_not_committed_and_says_so(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    hypha.add_artifact("ws/a", OLD, staged="edit_version")
    with pytest.warns(StagedWarning):
        cf.puts([("x", b"x")])
    with pytest.warns(StagedWarning):
        cf.delete("a")
    with pytest.warns(StagedWarning), cf.staged():
        cf.put("y", b"y")
    assert (hypha.count("commit"), hypha.count("edit")) == (0, 0)
    assert staged_names(hypha) == ["a", "x", "y"]


def test_a_failure_in_somebody_elses_staging_withdraws_only_ones_own_name(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.add_artifact("ws/a", OLD, staged="edit_version").staging["files"].append({"path": "theirs, under way"})
    hypha.fault_file("ws/a", "x", BROKEN, method="PUT")
    with pytest.raises(BatchError), pytest.warns(StagedWarning):
        cf.puts([("x", b"x"), ("y", b"y")])
    assert staged_names(hypha) == ["theirs, under way", "y"]
    assert hypha.count("discard") == 0


def test_total_failure_in_somebody_elses_staging_does_not_discard_it(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.add_artifact("ws/a", OLD, staged="edit_version").staging["files"].append({"path": "theirs"})
    hypha.fault_file("ws/a", "x", BROKEN, method="PUT")
    with pytest.raises(BatchError):
        cf.puts([("x", b"x")])
    assert staged_names(hypha) == ["theirs"]


def test_a_commit_by_somebody_else_in_the_middle_of_a_batch_does_not_stop_it(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    def items() -> Iterator[tuple[str, bytes]]:
        for number in range(200):
            if number == 150:
                until(lambda: hypha.store.count("PUT") >= 64)
                hypha.artifacts["ws/a"].staging = None  # as a commit leaves it
            yield f"n{number}", b"%d" % number

    cf.puts(items())
    assert hypha.files("ws/a") == OLD | {f"n{number}": b"%d" % number for number in range(200)}
    assert staged_names(hypha) is None


def test_two_threads_putting_through_one_object_lose_nothing(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.slow("put_file", per_call=0.01)
    in_threads(
        *(lambda name=name: files.puts([(f"{name}{number}", b"") for number in range(150)]) for name in ("x", "y"))
    )
    assert hypha.files("ws/a").keys() == OLD.keys() | {f"{name}{number}" for name in "xy" for number in range(150)}
    assert (staged_names(hypha), hypha.count("commit")) == (None, 1)


def test_two_objects_putting_at_once_lose_nothing(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.slow("put_file", per_call=0.01)
    with connect(hypha, num_threads=4) as other:
        in_threads(
            lambda: files.puts([(f"x{number}", b"") for number in range(150)]),
            lambda: other.puts([(f"y{number}", b"") for number in range(150)]),
        )
    assert hypha.files("ws/a").keys() == OLD.keys() | {f"{name}{number}" for name in "xy" for number in range(150)}
    assert (staged_names(hypha), hypha.count("commit")) == (None, 1)


def test_writes_from_other_threads_join_a_staged_block(hypha: FakeHypha, files: ArtifactFiles) -> None:
    with files.staged(version="new"):
        in_threads(*(lambda number=number: files.put(f"n{number}", b"") for number in range(4)))
    assert (hypha.count("commit"), len(hypha.files("ws/a"))) == (1, 4)


def test_a_put_that_comes_while_another_thread_opens_the_staging_of_a_block_joins_it(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    hypha.fault("read", Delay(0.2))  # the staging is being opened

    def later() -> None:
        hypha.wait_for_requests(1)
        files.put("x", b"x")

    with files.staged(version="new"):
        in_threads(later, lambda: files.put("y", b"y"))
    assert hypha.files("ws/a") == {"x": b"x", "y": b"y"}
    assert (hypha.count("commit"), hypha.count("edit"), staged_names(hypha)) == (1, 1, None)


# --- Artifacts that are not there ------------------------------------------------------------------------------------


def test_writing_to_a_missing_artifact_is_refused_and_creates_nothing(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/none", num_threads=2) as files:

        def within_a_block() -> None:
            with files.staged():
                files.put("x", b"x")

        for write in (
            lambda: files.put("x", b"x"),
            lambda: files.puts([("x", b"x")]),
            lambda: files.delete("x"),
            within_a_block,
        ):
            with pytest.raises(ArtifactNotFound, match="create=True"):
                write()
    assert "ws/none" not in hypha.artifacts
    assert hypha.store.requests == []


def test_create_makes_the_artifact_on_the_first_write(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/none", num_threads=2, create=True) as files:
        files.puts([("x", b"x"), ("y", b"y")])
        assert methods(hypha) == ["read", "create", "put_file", "read", "commit"]
        files.put("z", b"z")
        assert (hypha.count("create"), hypha.count("commit")) == (1, 2)
    assert hypha.files("ws/none") == {"x": b"x", "y": b"y", "z": b"z"}
    assert versions(hypha, "ws/none") == ["v0"]


def test_create_leaves_an_artifact_that_is_there_as_it_is(hypha: FakeHypha) -> None:
    with connect(hypha, num_threads=2, create=True) as files:
        files.put("x", b"x")
    assert (hypha.count("create"), hypha.files("ws/a")) == (0, OLD | {"x": b"x"})


def test_create_whose_answer_was_lost_is_still_committed(hypha: FakeHypha) -> None:
    hypha.fault("create", lost_answer())
    with connect(hypha, "ws/none", num_threads=2, create=True) as files:
        files.put("x", b"x")
    assert hypha.files("ws/none") == {"x": b"x"}
    assert (versions(hypha, "ws/none"), staged_names(hypha, "ws/none")) == (["v0"], None)


def test_an_artifact_that_somebody_else_creates_at_the_same_moment_is_used(hypha: FakeHypha) -> None:
    class CreatedElsewhere(Fault):
        def answer(self, exchange: Any) -> None:
            hypha.add_artifact("ws/none", version=None, staged="new_version")
            super().answer(exchange)

    hypha.fault("create", CreatedElsewhere())
    with connect(hypha, "ws/none", num_threads=2, create=True) as files:
        with pytest.warns(StagedWarning):
            files.put("x", b"x")
        assert files.commit() == "v0"
    assert hypha.files("ws/none") == {"x": b"x"}


def test_a_new_artifact_can_be_given_a_named_version(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/none", num_threads=2, create=True) as files, files.staged(version="first"):
        files.put("x", b"x")
    assert versions(hypha, "ws/none") == ["first"]


def test_an_artifact_is_made_without_files_and_published_by_a_commit(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/made") as files:
        files.create()
        assert files.status()["staged"]
        files.commit()
        assert [*files] == []
        with pytest.raises(ArtifactExists):
            files.create()


def test_what_is_staged_on_purpose_stays_so_until_somebody_commits(hypha: FakeHypha, files: ArtifactFiles) -> None:
    assert (files.stage(), files.stage()) == (True, False)
    with pytest.warns(StagedWarning):
        files.put("new", b"N")
    assert "new" in (staged_names(hypha) or ())
    files.commit()
    assert files.get("new") == b"N"


def test_staging_is_for_artifacts() -> None:
    for verb in ("create", "stage"):
        with pytest.raises(TypeError, match=verb), ArtifactFiles("mem://none") as files:
            getattr(files, verb)()


@pytest.mark.parametrize("token", [None, "test-token"])
def test_an_artifact_that_is_made_without_a_token_is_warned_of(
    token: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeHypha(token=token) as open_to_all, connect(open_to_all, "ws/made", create=True) as files:
        files.put("a", b"A")
        assert files.get("a") == b"A"
    said = [record.getMessage() for record in caplog.records]
    assert said == ([] if token else ["ws/made: made without a token, so anybody can write to it"])
