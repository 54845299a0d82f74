"""Signed URLs for reading: how many calls they cost, how long they are kept, and what a missing name does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    ArtifactNotFound,
    BatchError,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
    Timeouts,
    TransferTimeout,
)
from cloudfiles_hypha.backends.hypha import signing
from cloudfiles_hypha.backends.hypha.listing import Listing
from cloudfiles_hypha.backends.hypha.manager import ArtifactManager
from cloudfiles_hypha.backends.hypha.signing import ReadSigner, costs_of, edition_of
from cloudfiles_hypha.plan.batches import BatchSizes
from cloudfiles_hypha.transports import open_transport
from tests.support.clients import QUICK, connect
from tests.support.fake_hypha import Answer, FakeHypha, Grant, OmitPaths, RemoteError, Timeout504
from tests.support.object_server import Always, Status

T = TypeVar("T")
R = TypeVar("R")

NAMES = [f"n{number:04}" for number in range(1000)]


@pytest.fixture(autouse=True)
def nothing_learnt() -> None:
    """Servers of other tests may have had the same port."""
    signing._costs.clear()


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        yield hypha


@pytest.fixture(params=["threads", "green", "inline"])
def cf(request: pytest.FixtureRequest, hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    options = {"threads": {"num_threads": 8}, "green": {"num_threads": 8, "green": True}, "inline": {"num_threads": 0}}
    with connect(hypha, **options[request.param]) as files:
        yield files


class Control:
    """Retries without pauses, for calls made outside of a run."""

    def retry(self, attempt: Callable[[], T]) -> T:
        return QUICK.run(attempt, lambda seconds: None, lambda error: None)[0]

    def check(self) -> None:
        """Never given up."""

    def flag(self) -> threading.Event:
        """For threads."""
        return threading.Event()

    def map(self, function: Callable[[T], R], items: Sequence[T], at_once: int) -> Iterator[R]:
        """One after the other."""
        return map(function, items)


@pytest.fixture
def signer(hypha: FakeHypha) -> Iterator[ReadSigner]:
    transport = open_transport("auto", Timeouts(), green=False)
    manager = ArtifactManager(hypha.url, hypha.token, transport)
    yield ReadSigner(manager, "ws/a", None, Listing(manager, "ws/a"))
    transport.close()


def sign(signer: ReadSigner, paths: Sequence[str]) -> list[Any]:
    return signer.batch().resolve(paths, Control(), BatchSizes())


def holding(hypha: FakeHypha, names: Sequence[str]) -> dict[str, bytes]:
    """Put files of these names into the artifact."""
    files = {name: name.encode() for name in names}
    hypha.add_artifact("ws/a", files)
    return files


# --- What a batch costs ----------------------------------------------------------------------------------------------


def test_a_thousand_paths_take_a_handful_of_calls(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    files = holding(hypha, NAMES)
    assert cf.get(NAMES, return_dict=True) == files
    assert hypha.count("get_file") == hypha.count() <= 3
    assert hypha.store.count() == 1000
    asked = [path for call in hypha.calls if call.method == "get_file" for path in call.kwargs["file_path"]]
    assert sorted(asked) == NAMES


def test_the_first_batch_is_small_and_the_later_ones_are_large(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, NAMES)
    cf.get(NAMES)
    sizes = [len(call.kwargs["file_path"]) for call in hypha.calls if call.method == "get_file"]
    assert sizes[0] <= 64
    assert max(sizes) >= 256
    assert max(sizes) <= 1000


MISSING = ["n0000", "n0500", "n0999"]


@pytest.mark.parametrize("missing", [MISSING, ["n0700", "n0701", "n0702"], NAMES[-3:]], ids=["spread", "run", "end"])
def test_three_missing_of_a_thousand_fail_alone_and_cost_about_ten_calls(
    hypha: FakeHypha, cf: ArtifactFiles, missing: list[str]
) -> None:
    files = holding(hypha, [name for name in NAMES if name not in missing])
    results = cf.get(NAMES, raise_errors=False)
    assert {result["path"]: result["content"] for result in results if result["error"] is None} == files
    failed = [result for result in results if result["error"] is not None]
    assert [result["path"] for result in failed] == missing
    assert {type(result["error"]) for result in failed} == {ObjectNotFound}
    assert [result["path"] for result in results] == NAMES
    assert hypha.count() <= 14
    assert hypha.store.count() == 997


def test_three_missing_of_a_thousand_in_as_many_folders_cost_about_ten_calls(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    names = [f"{name}/file" for name in NAMES]
    missing = [f"{name}/file" for name in MISSING]
    files = holding(hypha, [name for name in names if name not in missing])
    results = cf.get(names, raise_errors=False)
    assert {result["path"]: result["content"] for result in results if result["error"] is None} == files
    assert [result["path"] for result in results if isinstance(result["error"], ObjectNotFound)] == missing
    assert hypha.count() <= 16


def test_a_thousand_paths_that_are_all_missing_cost_a_handful_of_calls(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["something else"])
    results = cf.get(NAMES, raise_errors=False)
    assert [(result["path"], type(result["error"])) for result in results] == [(name, ObjectNotFound) for name in NAMES]
    assert hypha.count() <= 14
    assert hypha.store.count() == 0


def test_paths_all_missing_each_in_a_folder_of_its_own_are_all_told(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    names = [f"{name}/file" for name in NAMES[:100]]
    holding(hypha, ["something else"])
    results = cf.get(names, raise_errors=False)
    assert [(result["path"], type(result["error"])) for result in results] == [(name, ObjectNotFound) for name in names]
    assert hypha.count() <= 110  # nothing tells more than one at a time, so one call each is the best there is


@pytest.mark.parametrize("name", ["it's", "a' does not exist in 'b", "ünï", "100%25", "new\u2028line", "a b", "x?y#z"])
def test_a_missing_name_is_told_apart_whatever_it_looks_like(hypha: FakeHypha, cf: ArtifactFiles, name: str) -> None:
    files = holding(hypha, [f"n{number}" for number in range(20)])
    results = cf.get([*files, name], raise_errors=False)
    assert [result["error"] is None for result in results] == [True] * 20 + [False]
    assert isinstance(results[-1]["error"], ObjectNotFound)
    assert results[-1]["error"].path == name


def test_a_server_that_does_not_name_the_missing_path_is_understood_all_the_same(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    files = holding(hypha, NAMES[:50])
    for _ in range(3):
        hypha.fault("get_file", RemoteError("FileNotFoundError", "something is missing"))
    results = cf.get([*files, "gone"], raise_errors=False)
    assert [result["path"] for result in results if result["error"] is not None] == ["gone"]


def test_a_duplicate_path_is_signed_once_and_answered_twice(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a"])
    results = cf.get([{"path": "a", "start": 0, "end": 1}, "a", {"path": "a", "start": 0, "end": 0}, "a"])
    assert [result["content"] for result in results] == [b"a", b"a", b"", b"a"]
    assert [call.kwargs["file_path"] for call in hypha.calls if call.method == "get_file"] == [["a"]]


# --- Answers that are not what was asked for -------------------------------------------------------------------------


def test_a_path_left_out_of_the_answer_is_an_error_for_that_item(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    files = holding(hypha, NAMES[:10])
    hypha.fault("get_file", OmitPaths({"n0003", "n0007"}))
    results = cf.get(list(files), raise_errors=False)
    assert len(results) == 10
    left_out = [result for result in results if result["error"] is not None]
    assert [result["path"] for result in left_out] == ["n0003", "n0007"]
    assert all(isinstance(result["error"], ServerError) for result in left_out)
    assert hypha.store.count() == 8


def test_a_path_left_out_of_the_answer_to_an_upload_is_an_error_and_is_not_committed(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    files = holding(hypha, ["old"])
    hypha.fault("put_file", OmitPaths({"x"}))
    results = cf.puts([("x", b"x"), ("y", b"y")], raise_errors=False)
    assert [(result["path"], result["error"] is None) for result in results] == [("x", False), ("y", True)]
    assert hypha.files("ws/a") == files | {"y": b"y"}


@pytest.mark.parametrize("answer", [[], {}, None, "http://one-url", 5, {"n0000": None, "n0001": "ftp://x", "n0002": 3}])
def test_an_answer_without_urls_fails_every_item_and_crashes_nothing(
    hypha: FakeHypha, cf: ArtifactFiles, answer: object
) -> None:
    files = holding(hypha, NAMES[:3])
    hypha.fault("get_file", Always(Answer(answer)))
    results = cf.get(list(files), raise_errors=False)
    assert [type(result["error"]) for result in results] == [ServerError] * 3
    assert hypha.store.count() == 0


# --- Trouble on the way ----------------------------------------------------------------------------------------------


def test_a_signing_call_that_fails_in_passing_is_made_again(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    files = holding(hypha, NAMES[:10])
    hypha.fault("get_file", RemoteError("OSError", "a moment"), Status(502))
    assert cf.get(list(files), return_dict=True) == files
    hypha.fault("read", RemoteError("OSError", "a moment"))
    assert cf.get(list(files), return_dict=True) == files
    assert (hypha.count("read"), hypha.count("get_file")) == (2, 3)


def test_a_signing_call_that_times_out_is_repeated_in_smaller_batches(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    files = holding(hypha, NAMES[:300])
    hypha.slow("get_file", per_path=0.0005, timeout=0.02)
    assert cf.get(list(files), return_dict=True) == files
    sizes = [len(call.kwargs["file_path"]) for call in hypha.calls if call.method == "get_file"]
    assert max(sizes) > 40
    assert len(sizes) < 40


def test_one_path_that_times_out_again_and_again_is_an_error(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a"])
    hypha.fault("get_file", Always(Timeout504()))
    with pytest.raises(TransferTimeout):
        cf.get("a")
    assert hypha.count("get_file") == QUICK.attempts


def test_a_refusal_is_told_for_every_item_and_not_repeated(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, NAMES[:50])
    hypha.fault("get_file", Always(RemoteError("PermissionError", "not you")))
    with pytest.raises(BatchError) as caught:
        cf.get(NAMES[:50])
    assert {type(result["error"]) for result in caught.value.results} == {AccessDenied}
    assert [result["error"].path for result in caught.value.results] == NAMES[:50]
    assert hypha.count("get_file") == 1


# --- URLs that expire ------------------------------------------------------------------------------------------------


def test_urls_that_expire_in_the_middle_are_signed_again_in_batches_and_silently(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    files = holding(hypha, NAMES)
    got = {}
    for result in cf.iget(NAMES):
        got[result["path"]] = result["content"]
        if len(got) == 100:
            hypha.slow("get_file", per_call=0.1)
            hypha.expire_urls()
    assert got == files
    calls = [call for call in hypha.calls if call.method == "get_file"]
    asked = [path for call in calls for path in call.kwargs["file_path"]]
    again = [path for path in set(asked) if asked.count(path) > 1]
    assert again
    assert all(asked.count(path) == 2 for path in again)
    assert len(calls) <= 30  # not one for each URL that had expired
    loud = [path for call in calls if not call.kwargs.get("silent") for path in call.kwargs["file_path"]]
    assert sorted(loud) == NAMES  # each download was counted once


def test_urls_that_expire_during_an_upload_are_signed_again(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["old"])
    expired = []

    def items() -> Iterator[tuple[str, bytes]]:
        for name in NAMES[:300]:
            if hypha.store.count("PUT") > 20 and not expired:
                expired.append(name)
                hypha.expire_urls()
            yield name, name.encode()

    hypha.store.latency = 0.002
    with cf.staged():
        cf.puts(items())
        hypha.expire_urls()
        cf.puts([("last", b"last")])
    assert hypha.files("ws/a") == {"old": b"old", "last": b"last"} | {name: name.encode() for name in NAMES[:300]}


@pytest.mark.parametrize("offset", [-86400.0, 86400.0])
def test_the_local_clock_is_not_trusted(hypha: FakeHypha, cf: ArtifactFiles, offset: float) -> None:
    files = holding(hypha, NAMES[:10])
    hypha.clock_offset = offset  # by this machine's clock the URLs expired yesterday, or begin tomorrow
    for _ in range(2):
        assert cf.get(list(files), return_dict=True) == files
    assert hypha.count("get_file") == 1
    hypha.expire_urls()  # and by it they are still good
    assert cf.get(list(files), return_dict=True) == files


def test_kept_urls_that_expired_are_signed_again_in_one_silent_call(hypha: FakeHypha, signer: ReadSigner) -> None:
    holding(hypha, NAMES[:100])
    first = sign(signer, NAMES[:100])
    for name, url in zip(NAMES[:50], first, strict=False):
        signer.expired(name, url)
    second = sign(signer, NAMES[:50])
    assert set(second).isdisjoint(first)
    silent = [bool(call.kwargs.get("silent")) for call in hypha.calls if call.method == "get_file"]
    assert silent == [False, True]
    assert sign(signer, NAMES[:100]) == [*second, *first[50:]]
    assert hypha.count("get_file") == 2


def test_expired_and_new_names_in_one_batch_are_counted_rightly(hypha: FakeHypha, signer: ReadSigner) -> None:
    holding(hypha, NAMES[:4])
    signer.expired(NAMES[0], sign(signer, NAMES[:2])[0])
    hypha.forget_requests()
    sign(signer, [NAMES[0], NAMES[2], NAMES[3]])
    asked = {path: call.kwargs.get("silent", False) for call in hypha.calls for path in call.kwargs["file_path"]}
    assert asked == {NAMES[0]: True, NAMES[2]: False, NAMES[3]: False}


def test_urls_are_used_for_less_time_than_they_are_good_for(
    hypha: FakeHypha, signer: ReadSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding(hypha, ["a"])
    now = [1000.0]
    monkeypatch.setattr(signing.time, "monotonic", lambda: now[0])
    lifetime = 0
    urls = []
    for later in (0, 100, 5000):
        now[0] = 1000.0 + later
        urls += sign(signer, ["a"])
        lifetime = hypha.calls[0].kwargs["expires_in"]
    assert urls[0] == urls[1]
    assert urls[2] != urls[1]
    now[0] += lifetime - 1  # a transfer begun now would find it expired on its way
    assert sign(signer, ["a"])[0] != urls[2]


def test_a_store_that_keeps_refusing_is_believed(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a", "b"])
    hypha.fault_file("ws/a", "a", Always(Status(403)), method="GET")
    results = cf.get(["a", "b"], raise_errors=False)
    assert [type(result["error"]) for result in results] == [AccessDenied, type(None)]
    assert str(results[0]["error"]).count("a: ") == 1
    assert hypha.store.count(path=hypha.key("ws/a", "a")) == 3
    assert hypha.count("get_file") == 3


# --- URLs that are kept ----------------------------------------------------------------------------------------------


def test_a_second_get_costs_one_cheap_call(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    files = holding(hypha, NAMES)
    cf.get(NAMES)
    hypha.forget_requests()
    assert cf.get(NAMES, return_dict=True) == files
    assert cf.get("n0001") == b"n0001"
    assert [call.method for call in hypha.calls] == ["read", "read"]


def test_of_a_version_that_was_named_urls_are_kept_without_asking(hypha: FakeHypha) -> None:
    files = holding(hypha, NAMES[:10])
    with connect(hypha, "ws/a@v0", num_threads=4) as cf:
        for _ in range(3):
            assert cf.get(list(files), return_dict=True) == files
    assert [call.method for call in hypha.calls] == ["get_file"]
    assert hypha.calls[0].kwargs["version"] == "v0"


def test_a_new_version_committed_by_somebody_else_is_noticed(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a", "b"])
    cf.get(["a", "b"])
    with connect(hypha, num_threads=0) as other, other.staged(version="new"):
        other.put("a", b"newer")
    assert cf.get("a") == b"newer"
    with pytest.raises(ObjectNotFound):
        cf.get("b")


def test_an_edit_committed_by_somebody_else_is_seen(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a", "b"])
    cf.get(["a", "b"])
    with connect(hypha, num_threads=0) as other:
        other.put("a", b"newer")
        other.delete("b")
    assert cf.get("a") == b"newer"
    with pytest.raises(ObjectNotFound):
        cf.get("b")


def test_an_artifact_that_was_deleted_and_made_anew_is_read_afresh(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a"])
    cf.get("a")
    hypha.add_artifact("ws/a", {"a": b"of the new one"})
    assert cf.get("a") == b"of the new one"


def test_ones_own_writes_are_read_back(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a", "b"])
    cf.get(["a", "b"])
    cf.put("a", b"mine")
    assert cf.get("a") == b"mine"
    with cf.staged(version="new"):
        cf.put("a", b"mine, newer")
    assert cf.get("a") == b"mine, newer"


def test_a_bounded_number_of_urls_is_kept(
    hypha: FakeHypha, signer: ReadSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "_MOST_KEPT", 50)
    holding(hypha, NAMES[:200])
    urls = sign(signer, NAMES[:200])
    assert len(signer._kept) == 50
    assert sign(signer, NAMES[150:200]) == urls[150:]
    assert hypha.count("get_file") == 1


def test_a_missing_artifact_or_version_is_told_for_every_item(hypha: FakeHypha) -> None:
    holding(hypha, ["a"])
    for path in ("ws/none", "ws/a@v7"):
        with connect(hypha, path, num_threads=4) as cf:
            results = cf.get(["a", "b"], raise_errors=False)
            assert [type(result["error"]) for result in results] == [ArtifactNotFound] * 2
            assert isinstance(results[0]["error"], KeyError)
            with pytest.raises(KeyError):
                cf.get("a")
            with pytest.raises(FileNotFoundError):
                cf.get("a")
    assert hypha.store.requests == []


# --- One version per batch --------------------------------------------------------------------------------------------


def commit_new(hypha: FakeHypha, files: dict[str, bytes]) -> None:
    """Somebody else commits a version that holds these files."""
    with connect(hypha, num_threads=0) as other, other.staged(version="new"):
        other.puts(list(files.items()))


def methods(hypha: FakeHypha) -> list[str]:
    return [call.method for call in hypha.calls]


@pytest.mark.parametrize("path", ["ws/a", "ws/a@latest"])
def test_a_commit_during_a_batch_is_not_seen_by_that_batch(hypha: FakeHypha, path: str) -> None:
    files = holding(hypha, NAMES)
    with connect(hypha, path, num_threads=0) as cf:
        results = cf.iget(NAMES)
        got = {(first := next(results))["path"]: first["content"]}
        commit_new(hypha, dict.fromkeys(NAMES[:500], b"newer"))
        got.update((result["path"], result["content"]) for result in results)
        assert got == files
        assert cf.get(NAMES[0]) == b"newer"


def test_the_first_url_names_the_version_that_the_other_calls_ask_for(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["other"])
    commit_new(hypha, dict.fromkeys(NAMES, b"x"))
    hypha.forget_requests()
    cf.get(NAMES)
    assert methods(hypha) == ["get_file"] * len(hypha.calls)
    assert [call.kwargs.get("version") for call in hypha.calls] == [None] + [1] * (len(hypha.calls) - 1)


def test_a_call_that_was_begun_before_the_version_was_known_is_made_again(
    hypha: FakeHypha, signer: ReadSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding(hypha, ["a", "b"])
    batch, call = signer.batch(), signer.manager.call
    others: list[Any] = []

    def overtaken(method: str, **arguments: Any) -> Any:
        answer = call(method, **arguments)
        if not others:
            commit_new(hypha, {"a": b"newer", "b": b"newer"})
            others.append(None)  # the next calls are not overtaken
            others.extend(batch.resolve(["b"], Control(), BatchSizes()))
        return answer

    monkeypatch.setattr(signer.manager, "call", overtaken)
    (url,) = batch.resolve(["a"], Control(), BatchSizes())
    assert "/v1/a?" in str(url)
    assert "/v1/b?" in others[1]
    asked = [call.kwargs for call in hypha.calls if call.method == "get_file"]
    assert [(kwargs["file_path"], kwargs.get("version"), kwargs.get("silent")) for kwargs in asked] == [
        (["a"], None, None),
        (["b"], None, None),
        (["a"], 1, True),
    ]


def test_a_batch_that_holds_on_to_an_older_version_leaves_the_urls_of_the_newer_kept(
    hypha: FakeHypha, signer: ReadSigner
) -> None:
    holding(hypha, ["a", "b"])
    old = signer.batch()
    old.resolve(["a"], Control(), BatchSizes())
    commit_new(hypha, {"a": b"newer", "b": b"newer"})
    (newer,) = sign(signer, ["a"])
    (older,) = old.resolve(["b"], Control(), BatchSizes())
    assert ("/v1/" in newer, "/v0/" in str(older)) == (True, True)
    hypha.forget_requests()
    assert sign(signer, ["a"]) == [newer]
    assert methods(hypha) == ["read"]
    assert old.resolve(["a"], Control(), BatchSizes())[0] != newer


def test_the_refusal_of_an_old_url_does_not_drop_the_new_one(hypha: FakeHypha, signer: ReadSigner) -> None:
    holding(hypha, ["a"])
    (first,) = sign(signer, ["a"])
    signer.expired("a", first)
    (second,) = sign(signer, ["a"])
    signer.expired("a", first)  # another worker meets with it later
    assert sign(signer, ["a"]) == [second]
    assert hypha.count("get_file") == 2


def test_names_in_many_folders_are_looked_for_in_one_version(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["other"])
    commit_new(hypha, {f"f{n % 3}/n{n}": b"x" for n in range(600)})
    hypha.forget_requests()
    there = cf.exists([f"f{n % 3}/n{n}" for n in range(601)])
    assert [name for name, found in there.items() if not found] == ["f0/n600"]
    assert {call.kwargs.get("version") for call in hypha.calls if call.method == "list_files"} == {1}


def test_a_missing_name_does_not_loosen_what_version_a_batch_reads(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    files = holding(hypha, NAMES[:200])
    missing = cf.get(["none", *NAMES[:200]], raise_errors=False)
    assert {result["path"]: result["content"] for result in missing[1:]} == files
    asked = [call.kwargs.get("version") for call in hypha.calls if call.method in ("get_file", "list_files")]
    assert asked[0] is None
    assert set(asked[1:]) == {0}


def test_one_missing_name_alone_costs_one_call(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a"])
    with pytest.raises(ObjectNotFound):
        cf.get("none")
    assert methods(hypha) == ["get_file"]


def test_an_artifact_replaced_during_a_batch_is_an_error_and_not_a_mixture(hypha: FakeHypha) -> None:
    files = holding(hypha, NAMES)
    with connect(hypha, num_threads=0) as cf:
        results = cf.iget(NAMES, raise_errors=False)
        done = [next(results)]
        hypha.add_artifact("ws/a", dict.fromkeys(NAMES, b"another"))
        done += results
        assert {result["path"]: result["content"] for result in done if result["error"] is None} == {
            name: files[name] for name in NAMES[:64]
        }
        failed = [result["error"] for result in done if result["error"] is not None]
        assert {type(error) for error in failed} == {PreconditionFailed}
        assert len(failed) == 1000 - 64
        assert cf.get(NAMES[:2], return_dict=True) == dict.fromkeys(NAMES[:2], b"another")


def test_of_the_same_commit_under_another_artifact_no_kept_url_is_used(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a", "b"])
    with connect(hypha, "ws/a@v0", num_threads=0) as fixed:
        fixed.get(["a", "b"])
        hypha.add_artifact("ws/a", {"a": b"2", "b": b"2", "c": b"2"})
        results = fixed.get(["a", "c"], raise_errors=False)  # one kept, one not
        assert isinstance(results[1]["error"], PreconditionFailed)
        assert fixed.get(["a", "c"], return_dict=True) == {"a": b"2", "c": b"2"}


# --- What is staged ---------------------------------------------------------------------------------------------------


def test_what_is_staged_is_signed_anew_each_time(hypha: FakeHypha) -> None:
    holding(hypha, ["a"])
    with connect(hypha, num_threads=0) as writer, connect(hypha, "ws/a@stage", num_threads=0) as cf:
        with writer.staged(version="new"):
            writer.put("a", b"1")
            assert cf.get("a") == b"1"
            writer.put("a", b"2")
            assert cf.get("a") == b"2"
        hypha.forget_requests()
        assert cf.get("a") == cf.get("a") == b"2"
        assert methods(hypha) == ["get_file"] * 2


def test_a_staging_that_is_dropped_during_a_batch_is_an_error_for_what_comes_after(hypha: FakeHypha) -> None:
    holding(hypha, NAMES)
    writer = connect(hypha, num_threads=0)
    with connect(hypha, "ws/a@stage", num_threads=0) as cf, writer.staged(version="new"):
        writer.puts([(name, b"staged") for name in NAMES])
        results = cf.iget(NAMES, raise_errors=False)
        done = [next(results)]
        hypha.artifacts["ws/a"].staging = None  # and so "stage" means what is committed
        done += results
        assert {result["content"] for result in done[:64]} == {b"staged"}
        assert {type(result["error"]) for result in done[64:]} == {PreconditionFailed}
        assert "committed or discarded" in str(done[-1]["error"])
        hypha.artifacts["ws/a"].staging = {"files": [], "_intent": "new_version"}
    writer.close()


# --- What is not counted as a download --------------------------------------------------------------------------------


def test_questions_are_silent_and_never_answered_from_what_is_kept(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a", "b", "f/c"])
    cf.get(["a", "b", "f/c"])
    hypha.forget_requests()
    with connect(hypha, num_threads=0) as other:
        other.delete("a")
    assert cf.exists("a") is False
    assert "a" not in cf
    assert cf.exists(["a", "b"]) == {"a": False, "b": True}
    assert cf.exists(["a", "f/c"]) == {"a": False, "f/c": True}
    for ask in (lambda: cf.head("a"), lambda: cf.size("a"), lambda: cf.head(["a"])):
        with pytest.raises((ObjectNotFound, BatchError)):
            ask()
    assert cf.size(["b", "f/c"]) == {"b": 1, "f/c": 3}
    assert all(call.kwargs["silent"] for call in hypha.calls if call.method == "get_file")
    hypha.forget_requests()
    assert cf.get("b") == b"b"  # kept from the first read, and still good
    assert methods(hypha) == ["read"]


def test_what_was_only_asked_about_is_a_download_when_it_is_read(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    holding(hypha, ["a"])
    cf.head("a")
    cf.get("a")
    assert [bool(call.kwargs.get("silent")) for call in hypha.calls] == [True, False]


def test_comparing_counts_as_no_download(hypha: FakeHypha, cf: ArtifactFiles, tmp_path: Path) -> None:
    holding(hypha, ["a", "b"])
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    assert cf.verify(tmp_path)["equal"] == ["a", "b"]
    assert all(result["skipped"] for result in cf.upload(tmp_path))
    assert all(call.kwargs.get("silent") for call in hypha.calls if call.method == "get_file")


# --- Stores of another shape ------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch) -> FakeHypha:
    """The same server, whose URLs do not tell the version."""
    moved: dict[str, str] = {}
    real = hypha.store.sign

    def sign(grant: Grant, *, expires_in: int, clock_offset: float) -> str:
        key = moved.setdefault(grant.key, f"blobs/{len(moved)}")
        if grant.key in hypha.store.objects:
            hypha.store.objects[key] = hypha.store.objects[grant.key]
        return real(replace(grant, key=key), expires_in=expires_in, clock_offset=clock_offset)

    monkeypatch.setattr(hypha.store, "sign", sign)
    return hypha


def test_urls_that_do_not_tell_the_version_are_kept_for_as_long_as_nothing_is_committed(
    elsewhere: FakeHypha, cf: ArtifactFiles
) -> None:
    files = holding(elsewhere, NAMES[:10])
    assert cf.get(list(files), return_dict=True) == files
    elsewhere.forget_requests()
    assert cf.get(list(files), return_dict=True) == files
    assert methods(elsewhere) == ["read"]
    elsewhere.artifacts["ws/a"].versions.append({"version": "v1"})
    elsewhere.store.put(elsewhere.key("ws/a", NAMES[0]), b"newer")
    assert cf.get(NAMES[0]) == b"newer"
    assert all("version" not in call.kwargs for call in elsewhere.calls)


def test_a_commit_during_a_batch_whose_urls_do_not_tell_the_version_is_an_error(elsewhere: FakeHypha) -> None:
    holding(elsewhere, NAMES)
    with connect(elsewhere, num_threads=0) as cf:
        results = cf.iget(NAMES, raise_errors=False)
        done = [next(results)]
        elsewhere.artifacts["ws/a"].versions.append({"version": "v1"})
        for name in NAMES:
            elsewhere.store.put(elsewhere.key("ws/a", name), b"newer")
        done += results
    assert [result["error"] for result in done[:64]] == [None] * 64
    assert {type(result["error"]) for result in done[64:]} == {PreconditionFailed}


URLS = [
    ({"a/b": "https://s3/bucket/ws/artifacts/ID/v12/a/b?X-Amz-Date=1"}, ("ID", 12)),
    ({"v7": "https://bucket.s3/ID/v0/v7"}, ("ID", 0)),
    ({"ü #?%": "http://h:1/s3/b/p/I%3AD/v3/%C3%BC%20%23%3F%25?Signature=/v9/x"}, ("I:D", 3)),
    ({"a": "http://h/ID/v1/a", "b": "http://h/ID/v2/b"}, None),
    ({"a": "http://h/ID/v1/a", "b": "http://h/blob/b"}, None),
    ({"a": "http://h/ID/v1/b"}, None),
    ({"a": "http://h/ID/x1/a"}, None),
    ({"a": "http://h/ID/v1x/a"}, None),
    ({"a/b/c/d/e/f": "http://h/a"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("urls", "edition"), URLS)
def test_a_version_is_read_from_urls_that_all_tell_the_same(
    urls: dict[str, str], edition: tuple[str, int] | None
) -> None:
    assert edition_of(urls) == edition


# --- Several calls at once --------------------------------------------------------------------------------------------


def test_what_signing_costs_is_remembered_for_each_server(hypha: FakeHypha) -> None:
    holding(hypha, NAMES[:100])
    hypha.slow("get_file", per_call=0.05, per_path=0.001)
    with connect(hypha, num_threads=0) as cf:
        cf.get(NAMES[:100])
    costs = costs_of(hypha.url)
    assert costs.each is not None
    assert costs_of("http://elsewhere").each is None
    for number in range(100):
        costs_of(f"http://server{number}")
    assert costs_of(hypha.url) is not costs
    assert len(signing._costs) <= 65


def test_calls_of_one_batch_that_all_want_to_know_the_latest_version_ask_once(
    hypha: FakeHypha, signer: ReadSigner
) -> None:
    holding(hypha, NAMES[:8])
    sign(signer, NAMES[:8])
    hypha.forget_requests()
    hypha.slow("read", per_call=0.1)
    batch, sizes = signer.batch(), BatchSizes()
    with ThreadPoolExecutor(8) as pool:
        urls = list(pool.map(lambda name: batch.resolve([name], Control(), sizes)[0], NAMES[:8]))
    assert all(isinstance(url, str) for url in urls)
    assert methods(hypha) == ["read"]


def test_a_forked_child_knows_the_costs_and_waits_for_nobodys_calls() -> None:
    costs = costs_of("http://server")
    costs.each = 0.02
    costs.begin()
    signing._after_fork()
    assert (costs_of("http://server").each, costs_of("http://server").under_way) == (0.02, 0)
