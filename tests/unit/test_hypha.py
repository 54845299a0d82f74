"""The Hypha backend against a server that fails: listings, restarts, busy servers, refusals; what stays secret."""

from __future__ import annotations

import logging
import pickle
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    ArtifactNotFound,
    BatchError,
    ConnectionFailed,
    IntegrityError,
    InvalidRequest,
    ObjectNotFound,
    ServerError,
    TooManyRequests,
    TransferError,
    UntypedWarning,
)
from cloudfiles_hypha.backends.hypha import backend as hypha_backend
from cloudfiles_hypha.backends.hypha import listing
from cloudfiles_hypha.transports import HttpRequest
from tests.support.clients import CLIENTS, PATIENT, QUICK, connect
from tests.support.fake_hypha import Answer, FakeHypha, RemoteError, ShortPage, Status429
from tests.support.object_server import (
    Always,
    Corrupt,
    Drop,
    DropRequest,
    Exchange,
    Fault,
    Hang,
    NoAnswer,
    Redirect,
    Response,
    ShortBody,
    Status,
)

FILES = {"a": b"aaaa", "b": b"", "dir/c": b"c", "dir/sub/d": b"d", "dir2/e": b"e"}
TOKEN = "very-secret-token-0123456789"


@dataclass(frozen=True)
class AnswerWith(Fault):
    """Do what was asked, and answer with these headers instead."""

    headers: dict[str, str]

    def alter(self, exchange: Exchange, response: Response) -> Response:
        return Response(response.status, {**response.headers, **self.headers}, response.body)


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha(token=TOKEN) as hypha:
        hypha.add_artifact("ws/a", FILES)
        yield hypha


@pytest.fixture(params=["threads", "green", "inline"])
def cf(request: pytest.FixtureRequest, hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    options = {"threads": {"num_threads": 8}, "green": {"num_threads": 8, "green": True}, "inline": {"num_threads": 0}}
    with connect(hypha, **options[request.param]) as files:
        yield files


@pytest.fixture
def files(hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    """Like ``cf``, for what does not depend on who does the work."""
    with connect(hypha, num_threads=4) as files:
        yield files


# --- Reading and writing, where the store fails ----------------------------------------------------------------------


def test_what_was_put_comes_back(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    written = {"x": b"x", "empty": b"", "dir/ü #?%20+&": b"odd", "big": bytes(range(256)) * 2000}
    results = cf.puts(list(written.items()))
    assert [result["verified"] for result in results] == ["md5"] * 4
    assert cf.get([*FILES, *written], return_dict=True) == FILES | written
    assert cf.get({"path": "big", "start": 10, "end": 20}) == written["big"][10:20]
    assert {path: info.size for path, info in cf.head(["big", "empty"]).items()} == {"big": 512000, "empty": 0}


def test_a_transfer_that_breaks_is_made_again(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    body = bytes(range(256)) * 400
    for fault in (DropRequest(1000), Status(500), Corrupt()):
        hypha.fault_file("ws/a", "x", fault, method="PUT")
    result = cf.put("x", body)
    assert result["attempts"] in (3, 4)  # Corrupt touches answers with a body only
    for fault in (Drop(after_bytes=1000, rst=True), Corrupt(5), Status(500)):
        hypha.fault_file("ws/a", "x", fault, method="GET")
    (result,) = cf.get(["x"])
    assert (result["content"], result["attempts"]) == (body, 4)


def test_damage_that_does_not_pass_is_an_error_and_never_content(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault_file("ws/a", "a", Always(Corrupt(1)), method="GET")
    hypha.fault_file("ws/a", "dir/c", Always(ShortBody(1)), method="GET")
    results = cf.get(["a", "b", "dir/c"], raise_errors=False)
    assert [type(result["error"]) for result in results] == [IntegrityError, type(None), IntegrityError]
    assert [result["content"] for result in results] == [None, b"", None]
    assert hypha.store.count() == 1 + 2 * QUICK.attempts


def test_an_upload_that_is_too_large_for_one_request_is_refused(
    files: ArtifactFiles, hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypha_backend, "LARGEST_PUT", 10)
    with pytest.raises(InvalidRequest):
        files.put("x", b"x" * 11)
    assert hypha.files("ws/a") == FILES


# --- URLs that are signed by version 2 -------------------------------------------------------------------------------


@pytest.fixture
def second() -> Iterator[FakeHypha]:
    with FakeHypha(token=TOKEN, signature=2) as hypha:
        hypha.add_artifact("ws/a", FILES)
        yield hypha


SECOND = pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS)


@SECOND
def test_to_a_url_of_version_2_no_header_is_sent_that_it_would_have_had_to_sign(
    second: FakeHypha, options: dict[str, Any]
) -> None:
    body = bytes(range(256)) * 2000
    with connect(second, multipart_threshold=len(body) - 1, **options) as cf:
        results = cf.puts([("x", b"x"), ("empty", b""), ("dir/ü #?%20+&", b"odd"), ("parts", body)])
        assert [result["verified"] for result in results] == ["md5", "md5", "md5", "etag-parts"]
        assert [result["attempts"] for result in results] == [1] * 4
        assert cf.get([*FILES, "x", "parts"], return_dict=True) == FILES | {"x": b"x", "parts": body}
        assert cf.get({"path": "parts", "start": 10, "end": 20}) == body[10:20]
        assert cf.size("parts") == len(body)
    for request in second.store.requests:
        if request.method == "PUT":
            assert not {"content-md5", "content-type"} & set(request.headers)


def test_the_store_that_signs_by_version_2_refuses_what_was_not_signed(second: FakeHypha) -> None:
    with connect(second, num_threads=0) as cf:
        cf._backend._manager.call("edit", artifact_id="ws/a", stage=True)  # type: ignore[attr-defined]
        url = cf._backend._manager.call("put_file", artifact_id="ws/a", file_path="x")  # type: ignore[attr-defined]
        for name in ("Content-MD5", "Content-Type", "x-amz-meta-a"):
            answer = cf._transport.send(HttpRequest("PUT", url, ((name, "text/plain"),), b"x"))
            assert (answer.status, b"SignatureDoesNotMatch" in answer.body) == (403, True)
        assert cf._transport.send(HttpRequest("PUT", url, (("Cache-Control", "no-cache"),), b"x")).status == 200


def test_a_content_type_that_cannot_be_sent_is_told_once_for_a_batch(second: FakeHypha) -> None:
    with connect(second, num_threads=4) as cf:
        with pytest.warns(UntypedWarning, match="ws/a") as warned:
            results = cf.puts([(f"n{n}", b"x") for n in range(20)], content_type="text/x", cache_control="no-store")
        assert len(warned) == 1
        assert {result["verified"] for result in results} == {"md5"}
        with pytest.warns(UntypedWarning):
            cf.put_json("j", {})
        cf.put("plain", b"x", content_encoding="identity")  # and no warning
        assert cf.head("n0").headers["cache-control"] == "no-store"
        assert cf.head("plain").headers["content-encoding"] == "identity"


@SECOND
def test_a_damaged_upload_to_a_url_of_version_2_is_noticed_by_its_etag(
    second: FakeHypha, options: dict[str, Any]
) -> None:
    with connect(second, **options) as cf:
        second.fault_file("ws/a", "x", AnswerWith({"ETag": f'"{"0" * 32}"'}), method="PUT")
        assert cf.put("x", b"x")["attempts"] == 2
        second.fault_file("ws/a", "x", Always(AnswerWith({"ETag": f'"{"0" * 32}"'})), method="PUT")
        with pytest.raises(IntegrityError, match="the store holds MD5 0000"):
            cf.put("x", b"x")


def test_an_etag_that_is_no_md5_verifies_nothing_but_the_length_there(second: FakeHypha, hypha: FakeHypha) -> None:
    for server, verified in ((second, "length"), (hypha, "md5")):  # where Content-MD5 was sent, the S3 has compared it
        with connect(server, num_threads=0) as cf:
            server.fault_file("ws/a", "x", AnswerWith({"ETag": '"of-another-kind"'}), method="PUT")
            assert cf.put("x", b"x")["verified"] == verified


# --- Listings --------------------------------------------------------------------------------------------------------


def test_a_file_and_a_folder_of_the_same_name_are_both_listed(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    files = {name: name.encode() for name in ("a", "a-b", "a/a", "a/a/x", "a/b", "a0", "b/a", "b/a/c")}
    hypha.add_artifact("ws/a", files)
    assert list(cf.list()) == sorted(files)
    assert list(cf.list("a")) == [name for name in sorted(files) if name.startswith("a")]
    assert list(cf.list("a/a")) == ["a/a", "a/a/x"]
    assert list(cf.list(flat=True)) == ["a", "a-b", "a/", "a0", "b/"]
    assert [info.path for info in cf._backend.scan("", control=cf._control())] == sorted(files)
    assert cf.exists([*files, "b", "none"]) == dict.fromkeys(files, True) | {"b": False, "none": False}
    assert cf.exists("a") is True


def test_a_file_that_only_its_folder_is_listed_of_is_found_all_the_same(
    hypha: FakeHypha, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    hypha.add_artifact("ws/a", {"a": b"a", "a/b": b"b", "c": b"c", "d/e": b"e"})
    real = hypha._list_folder

    def without_hidden(prefix: str) -> list[dict[str, Any]]:
        items = real(prefix)
        folders = {item["name"] for item in items if item["type"] == "directory"}
        return [item for item in items if item["type"] == "directory" or item["name"] not in folders]

    monkeypatch.setattr(hypha, "_list_folder", without_hidden)
    assert cf.exists(["a", "a/b", "c", "d"]) == {"a": True, "a/b": True, "c": True, "d": False}
    results = cf.get(["a", "a/b", "none", "d"], raise_errors=False)
    assert [result["content"] for result in results] == [b"a", b"b", None, None]


def test_a_folder_longer_than_those_surely_whole_is_looked_at_twice_only_once(
    hypha: FakeHypha, files: ArtifactFiles
) -> None:
    hypha.add_artifact("ws/a", dict.fromkeys([f"f{n}/x{m:03}" for n in range(5) for m in range(199 - n)], b""))
    assert len(list(files.list())) == 5 * 199 - 10
    assert 1 + 5 + 1 <= hypha.count() <= 1 + 5 + 4  # of those that were looked at side by side, each is the first


def test_a_server_with_a_limit_of_its_own_is_not_believed_to_have_listed_all(
    hypha: FakeHypha, files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = hypha._do_list_files
    monkeypatch.setattr(hypha, "_do_list_files", lambda limit, **kwargs: real(limit=min(limit, 150), **kwargs))
    counts = {"a": 300, "b": 150, "c": 149, "d": 450, "e": 151}
    names = [f"{folder}/x{n:03}" for folder, count in counts.items() for n in range(count)]
    hypha.add_artifact("ws/a", dict.fromkeys(names, b""))
    for _ in range(2):
        assert list(files.list()) == names


@pytest.mark.parametrize("shape", ["wide", "deep", "both"])
def test_a_walk_is_a_call_for_each_folder_and_in_order(hypha: FakeHypha, files: ArtifactFiles, shape: str) -> None:
    names = {
        "wide": [f"f{n:03}/x" for n in range(99)],
        "deep": ["/".join(f"d{n}" for n in range(depth)) + "/x" for depth in range(1, 30)],
        "both": [f"{a}/{b}/{c}" for a in "abc" for b in "abc" for c in ("a", "b/c", "d/e/f")],
    }[shape]
    hypha.add_artifact("ws/a", dict.fromkeys(names, b""))
    folders = {""} | {name[: at + 1] for name in names for at, letter in enumerate(name) if letter == "/"}
    assert list(files.list()) == sorted(names)
    asked = [call.kwargs.get("dir_path", "") for call in hypha.calls]
    assert sorted(asked) == sorted(folder.rstrip("/") for folder in folders)


def test_folders_are_listed_side_by_side_and_no_further_ahead_than_a_few(
    hypha: FakeHypha, files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    hypha.add_artifact("ws/a", dict.fromkeys([f"f{n:03}/x" for n in range(100)], b""))
    control = files._control()
    waves: list[tuple[int, int]] = []

    def side_by_side(function: Callable[[Any], Any], items: Sequence[Any], at_once: int) -> Iterator[Any]:
        waves.append((len(items), at_once))
        return map(function, items)

    monkeypatch.setattr(control, "map", side_by_side)
    walk = files._backend.list("", flat=False, control=control)
    assert next(walk) == "f000/x"
    assert waves == [(1, 4), (32, 4)]
    assert len(list(walk)) == 99
    assert waves == [(1, 4), (32, 4), (32, 4), (32, 4), (4, 4)]


def test_a_listing_walks_every_folder_in_order(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    assert list(cf.list()) == sorted(FILES)
    assert list(cf.list("dir")) == ["dir/c", "dir/sub/d", "dir2/e"]
    assert list(cf.list("dir/")) == ["dir/c", "dir/sub/d"]
    assert list(cf.list("dir/s")) == ["dir/sub/d"]
    assert list(cf.list(flat=True)) == ["a", "b", "dir/", "dir2/"]
    assert list(cf.list("nothing/")) == []


def test_a_listing_longer_than_a_page_is_complete(
    hypha: FakeHypha, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PAGE", 200)
    names = [f"many/n{number:04}" for number in range(1000)]
    hypha.add_artifact("ws/a", dict.fromkeys(names, b""))
    assert list(cf.list("many/")) == names
    assert hypha.count("list_files") <= 7


def test_a_page_that_comes_back_short_loses_nothing(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    names = [f"many/n{number:04}" for number in range(500)]
    hypha.add_artifact("ws/a", dict.fromkeys(names, b""))
    hypha.fault("list_files", ShortPage(150), ShortPage(120))
    assert list(cf.list("many/")) == names


def test_a_listing_that_fails_half_way_is_an_error(
    hypha: FakeHypha, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PAGE", 200)
    hypha.add_artifact("ws/a", dict.fromkeys([f"many/n{number:04}" for number in range(500)], b""))
    got = []
    hypha.fault("list_files", ShortPage(200), Always(RemoteError("OSError", "the store is gone")))
    with pytest.raises(ServerError):
        got.extend(cf.list("many/"))
    assert got == []  # a folder is given whole or not at all


def test_a_listing_whose_second_folder_fails_is_an_error(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("list_files", ShortPage(100), Always(Status(502)))
    with pytest.raises(ServerError):
        list(cf.list())


def test_a_listing_that_fails_in_passing_is_complete(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("list_files", Status(502), ShortPage(100), NoAnswer(), RemoteError("OSError", "again"))
    assert list(cf.list()) == sorted(FILES)


@pytest.mark.parametrize(
    "answer", [None, {}, "x", [1], [{"type": "file"}], [{"name": 3, "type": "file"}], [{"name": "x"}]]
)
def test_a_listing_that_is_none_is_an_error(hypha: FakeHypha, files: ArtifactFiles, answer: object) -> None:
    hypha.fault("list_files", Always(Answer(answer)))
    with pytest.raises(ServerError):
        list(files.list())
    with pytest.raises(ServerError):
        files.exists(["a", "b", "c"])


# --- Whether something is there --------------------------------------------------------------------------------------


def test_exists_is_false_for_what_is_not_there(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    assert cf.exists(["a", "dir/c", "no", "dir/no", "none/at/all"]) == {
        "a": True,
        "dir/c": True,
        "no": False,
        "dir/no": False,
        "none/at/all": False,
    }
    assert (cf.exists("a"), cf.exists("no"), "a" in cf, "dir" in cf) == (True, False, True, False)
    assert hypha.store.requests == []  # nothing is fetched to find that out


def test_exists_of_a_thousand_names_takes_few_calls(hypha: FakeHypha, files: ArtifactFiles) -> None:
    there = files.exists([f"dir/n{number}" for number in range(1000)] + ["dir/c"])
    assert [path for path, is_there in there.items() if is_there] == ["dir/c"]
    assert hypha.count() <= 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (RemoteError("PermissionError", "not you"), AccessDenied),
        (RemoteError("OSError", "disk full"), ServerError),
        (Status429(0), TooManyRequests),
        (Drop(), ConnectionFailed),
    ],
    ids=repr,
)
def test_exists_raises_for_every_answer_but_not_there(
    hypha: FakeHypha, cf: ArtifactFiles, fault: object, kind: type[Exception]
) -> None:
    hypha.fault_all(Always(fault))
    for paths in ("a", ["a", "b"], ["a", "x/y", "z/y", "w/y"]):
        with pytest.raises(kind):
            cf.exists(paths)


def test_exists_raises_where_nobody_answers(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.pause()
    for paths in ("a", ["a", "b"]):
        with pytest.raises(ConnectionFailed):
            cf.exists(paths)
    hypha.resume()
    assert cf.exists("a")


def test_in_an_artifact_that_is_not_there_nothing_exists(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/none", num_threads=2) as files:
        assert files.exists(["a", "b"]) == {"a": False, "b": False}
        assert files.exists("a") is False


# --- Who may ---------------------------------------------------------------------------------------------------------


def test_a_missing_artifact_is_both_a_key_error_and_a_file_not_found_error(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/none", num_threads=2) as files:
        for kind in (KeyError, FileNotFoundError, TransferError, ArtifactNotFound):
            with pytest.raises(kind):
                files.get("a")
            with pytest.raises(kind):
                list(files.list())
        with pytest.raises(BatchError) as caught:
            files.get(["a", "b"])
        assert all(isinstance(result["error"], KeyError) for result in caught.value.results)


def test_a_missing_file_is_no_key_error(files: ArtifactFiles) -> None:
    with pytest.raises(ObjectNotFound) as caught:
        files.get("no")
    assert not isinstance(caught.value, KeyError)
    assert (caught.value.path, caught.value.status) == ("no", 404)


def test_a_version_that_is_not_there_is_told(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/a@v9", num_threads=2) as files, pytest.raises(ArtifactNotFound, match="v9"):
        files.get("a")


def test_a_wrong_token_is_refused_at_once(hypha: FakeHypha) -> None:
    with connect(hypha, token="wrong", num_threads=2) as files:
        for act in (lambda: files.get("a"), lambda: files.put("x", b""), lambda: list(files.list())):
            hypha.forget_requests()
            with pytest.raises(AccessDenied) as caught:
                act()
            assert isinstance(caught.value, PermissionError)
            assert (caught.value.status, len(hypha.requests)) == (401, 1)
    assert hypha.files("ws/a") == FILES


def test_a_public_artifact_is_read_without_a_token(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/open", FILES, public=True)
    with connect(hypha, "ws/open", token=None, num_threads=2) as files:
        assert files.get(list(FILES), return_dict=True) == FILES
        assert list(files.list()) == sorted(FILES)
        with pytest.raises(AccessDenied):
            files.put("x", b"x")
    assert not any("authorization" in request.headers for request in hypha.requests)


def test_a_private_artifact_is_not_read_without_a_token(hypha: FakeHypha) -> None:
    with connect(hypha, token=None, num_threads=2) as files, pytest.raises(AccessDenied):
        files.get("a")


# --- What must stay secret -------------------------------------------------------------------------------------------


def test_the_token_goes_to_the_hypha_server_and_nowhere_else(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    with FakeHypha(token=TOKEN) as elsewhere:
        cf.get("a")
        hypha.fault_file("ws/a", "a", Redirect(f"{elsewhere.url}/somewhere", 307), method="GET")
        hypha.fault("read", Redirect(f"{elsewhere.url}/elsewhere", 307), method="POST")
        with pytest.raises(InvalidRequest):
            cf.get("a")
        cf.get(["a", "dir/c"], raise_errors=False)
        cf.put("x", b"x")
        cf.delete("x")
        assert [request.path for request in elsewhere.requests] == ["somewhere"]
        assert not any("authorization" in request.headers for request in elsewhere.requests)
    assert hypha.store.count("PUT") == 1  # it answers 400 to a request with a token, and did not
    assert not any("authorization" in request.headers for request in hypha.store.requests)
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in hypha.requests)


def test_no_secret_is_in_any_message_log_repr_or_traceback(
    hypha: FakeHypha, cf: ArtifactFiles, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    def attempt(act: Callable[[], object]) -> None:
        try:
            said.append(repr(act()))
        except Exception as error:  # noqa: BLE001 -- whatever it is, it must keep the secret
            said.extend([repr(error), str(error), repr(vars(error)), "".join(traceback.format_exception(error))])
            said.append(repr(pickle.loads(pickle.dumps(error))))

    everything = [*FILES, "no"]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for fault in (Status(403), Status(500), Drop(1), NoAnswer(rst=True), Corrupt(), Redirect("nonsense://x")):
            hypha.store.fault_all(*[fault] * 3)
            attempt(lambda: cf.get(everything, progress=True))
            hypha.store.fault_all(*[fault] * 3)
            attempt(lambda: cf.puts([("x", b"x"), ("y", b"y")], progress=True))
            hypha.store.clear_faults()
        for method in ("read", "get_file", "put_file", "commit", "list_files"):
            for fault in (Status(401), Status(500), RemoteError("OSError", f"Bearer {TOKEN} at http://s3/?sig=1")):
                hypha.fault(method, *[fault] * 5)
                attempt(lambda: cf.get(["a"]))
                attempt(lambda: cf.put("x", b"x"))
                attempt(lambda: list(cf.list()))
                hypha.clear_faults()
        hypha.pause()
        attempt(lambda: cf.get(["a"]))
        attempt(lambda: cf.put("x", b"x"))
        hypha.resume()
    said += [repr(cf), repr(cf._backend), repr(cf._engine), repr(cf._transport)]
    said += [str(warning.message) for warning in warned]
    said += [record.getMessage() for record in caplog.records]
    said += [*capfd.readouterr()]
    assert len(said) > 100
    for text in said:
        assert TOKEN not in text
        assert "X-Amz" not in text
        for signature in hypha.store.grants:
            assert signature not in text


def test_what_a_server_says_is_shown_without_the_token_and_without_what_a_terminal_obeys(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    said = f"\x1b[31mred\x07 \u202egnirts\u2066 \x9b0m token={TOKEN} Bearer {TOKEN}\r\x00 ümläut"
    hypha.fault("get_file", RemoteError("ValueError", said))
    with pytest.raises(InvalidRequest) as caught:
        cf.get("a")
    shown = str(caught.value)
    assert TOKEN not in shown
    assert shown.isprintable()
    assert "red" in shown
    assert "ümläut" in shown


# --- Busy servers ----------------------------------------------------------------------------------------------------


def test_a_busy_server_is_given_the_time_it_asks_for(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("get_file", Status429(retry_after=1))
    assert cf.get(["a", "dir/c"], return_dict=True) == {"a": b"aaaa", "dir/c": b"c"}
    first, second = (seen.time for seen in hypha.requests if seen.path.endswith("/get_file"))
    assert second - first >= 0.95
    assert hypha.count() == 2


def test_a_busy_server_is_given_its_time_in_a_write_too(hypha: FakeHypha, files: ArtifactFiles) -> None:
    hypha.fault("put_file", Status(503, {"Retry-After": "1"}))
    files.puts([("x", b"x"), ("y", b"y")])
    first, second = (seen.time for seen in hypha.requests if seen.path.endswith("/put_file"))
    assert second - first >= 0.95
    assert [call.method for call in hypha.calls] == ["read", "edit", "put_file", "put_file", "read", "commit"]


def test_a_busy_store_is_left_alone_by_every_worker(hypha: FakeHypha) -> None:
    names = [f"n{number}" for number in range(60)]
    hypha.add_artifact("ws/a", {name: name.encode() for name in names})
    hypha.store.latency = 0.02
    hypha.store.fault_all(Status(503, {"Retry-After": "1"}))
    with connect(hypha, num_threads=8) as files:
        assert len(files.get(names)) == 60
    times = [seen.time - hypha.store.requests[0].time for seen in hypha.store.requests]
    assert len(times) == 61
    assert not [t for t in times if 0.3 < t < 0.9]  # those under way may end; nothing is begun
    assert sum(t >= 0.9 for t in times) >= 40


def test_a_server_that_stays_busy_is_an_error_of_its_own(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    hypha.fault("get_file", Always(Status429(retry_after=None)))
    results = cf.get(["a", "b"], raise_errors=False)
    assert [type(result["error"]) for result in results] == [TooManyRequests] * 2
    assert hypha.count("get_file") == QUICK.attempts


# --- Restarts --------------------------------------------------------------------------------------------------------


RESTARTS = pytest.mark.parametrize(
    ("store", "green"),
    [(False, False), (True, False), (True, True)],
    ids=["hypha-threads", "store-threads", "store-green"],
)


def restarted(hypha: FakeHypha, *, store: bool, after: int) -> threading.Thread:
    """Start a thread that makes the server, or its store, go away for a while after so many transfers."""

    def restart() -> None:
        hypha.store.wait_for_requests(after)
        server = hypha.store if store else hypha
        server.pause()
        time.sleep(0.3)
        server.resume()

    thread = threading.Thread(target=restart)
    thread.start()
    return thread


@RESTARTS
def test_a_thousand_files_survive_a_restart_while_they_are_read(hypha: FakeHypha, store: bool, green: bool) -> None:
    contents = {f"n{number:04}": b"%d" % number for number in range(1000)}
    hypha.add_artifact("ws/a", contents)
    hypha.slow("get_file", per_call=0.05)
    with connect(hypha, num_threads=8, green=green, retry=PATIENT) as files:
        thread = restarted(hypha, store=store, after=40)
        assert files.get(list(contents), return_dict=True) == contents
        thread.join()


@RESTARTS
def test_a_thousand_files_survive_a_restart_while_they_are_written(hypha: FakeHypha, store: bool, green: bool) -> None:
    contents = {f"n{number:04}": b"%d" % number for number in range(1000)}
    hypha.slow("put_file", per_call=0.05)
    with connect(hypha, num_threads=8, green=green, retry=PATIENT) as files:
        thread = restarted(hypha, store=store, after=40)
        results = files.puts(list(contents.items()))
        thread.join()
    assert [result["error"] for result in results] == [None] * 1000
    assert hypha.files("ws/a") == FILES | contents
    assert hypha.artifacts["ws/a"].staging is None
    assert len(hypha.artifacts["ws/a"].versions) == 1


def test_a_store_that_hangs_is_given_up_and_tried_again(hypha: FakeHypha) -> None:
    hypha.fault_file("ws/a", "a", Hang(), method="GET")
    with connect(hypha, num_threads=2, timeout=1) as files:
        (result,) = files.get(["a"])
    assert (result["content"], result["attempts"]) == (b"aaaa", 2)


def test_a_server_that_stays_away_costs_its_whole_patience_once_and_one_try_for_each_further_batch(
    hypha: FakeHypha, cf: ArtifactFiles
) -> None:
    hypha.fault("get_file", Always(Status(500)))
    results = cf.get([f"n{number}" for number in range(1000)], raise_errors=False)
    assert {type(result["error"]) for result in results} == {ServerError}
    asked = [call.kwargs["file_path"] for call in hypha.calls if call.method == "get_file"]
    batches = {tuple(paths) for paths in asked}
    assert len(batches) > 2
    assert len(asked) == 4 + len(batches) - 1


def test_a_server_that_comes_back_is_given_its_whole_patience_again(hypha: FakeHypha, cf: ArtifactFiles) -> None:
    names = [f"n{number}" for number in range(1000)]
    hypha.add_artifact("ws/b", dict.fromkeys(names, b"x"))
    hypha.fault("get_file", *[Status(500)] * 5)  # the first batch, and the one try of the second
    with connect(hypha, "ws/b", num_threads=0) as files:
        results = files.get(names, raise_errors=False)
    assert results[0]["error"] is not None
    assert results[-1]["error"] is None
