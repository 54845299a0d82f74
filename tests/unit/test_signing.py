"""Signed URLs for reading: how many calls they cost, how long they are kept, and what a missing name does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    ArtifactNotFound,
    BatchError,
    ObjectNotFound,
    ServerError,
    Timeouts,
    TransferTimeout,
)
from cloudfiles_hypha.backends.hypha import signing
from cloudfiles_hypha.backends.hypha.listing import Listing
from cloudfiles_hypha.backends.hypha.manager import ArtifactManager
from cloudfiles_hypha.backends.hypha.signing import ReadSigner
from cloudfiles_hypha.plan.batches import BatchSizes
from cloudfiles_hypha.transports import open_transport
from tests.support.clients import QUICK, connect
from tests.support.fake_hypha import Answer, FakeHypha, OmitPaths, RemoteError, Timeout504
from tests.support.object_server import Always, Status

T = TypeVar("T")

NAMES = [f"n{number:04}" for number in range(1000)]


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


@pytest.fixture
def signer(hypha: FakeHypha) -> Iterator[ReadSigner]:
    transport = open_transport("auto", Timeouts(), green=False)
    manager = ArtifactManager(hypha.url, hypha.token, transport)
    yield ReadSigner(manager, "ws/a", None, Listing(manager, "ws/a"))
    transport.close()


def sign(signer: ReadSigner, paths: Sequence[str]) -> list[Any]:
    return signer.resolve(paths, Control(), BatchSizes())


def holding(hypha: FakeHypha, names: Sequence[str]) -> dict[str, bytes]:
    """Put files of these names into the artifact."""
    files = {name: name.encode() for name in names}
    hypha.add_artifact("ws/a", files)
    return files


# --- What a batch costs ----------------------------------------------------------------------------------------------


def test_a_thousand_paths_take_a_handful_of_calls(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    files = holding(hypha, NAMES)
    assert cf.get(NAMES, return_dict=True) == files
    assert hypha.count("read") == 1
    assert hypha.count("get_file") <= 6
    assert hypha.count() == hypha.count("read") + hypha.count("get_file")
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
    hypha.fault("read", RemoteError("OSError", "a moment"))
    hypha.fault("get_file", RemoteError("OSError", "a moment"), Status(502))
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
    for name in NAMES[:50]:
        signer.expired(name)
    second = sign(signer, NAMES[:50])
    assert set(second).isdisjoint(first)
    silent = [bool(call.kwargs.get("silent")) for call in hypha.calls if call.method == "get_file"]
    assert silent == [False, True]
    assert sign(signer, NAMES[:100]) == [*second, *first[50:]]
    assert hypha.count("get_file") == 2


def test_expired_and_new_names_in_one_batch_are_counted_rightly(hypha: FakeHypha, signer: ReadSigner) -> None:
    holding(hypha, NAMES[:4])
    sign(signer, NAMES[:2])
    signer.expired(NAMES[0])
    hypha.forget_requests()
    sign(signer, [NAMES[0], NAMES[2], NAMES[3]])
    asked = {path: call.kwargs.get("silent", False) for call in hypha.calls[1:] for path in call.kwargs["file_path"]}
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
        lifetime = hypha.calls[1].kwargs["expires_in"]
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
