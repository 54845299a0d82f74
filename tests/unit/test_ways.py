"""By which way bytes travel to and from a Hypha server's store, and who gets the headers that are for the server."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import AccessDenied, ArtifactFiles, BatchError, InvalidRequest, ObjectInfo, TransferError
from cloudfiles_hypha.credentials import Routes, resolve_routes
from cloudfiles_hypha.settings import Settings
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha, RemoteError
from tests.support.object_server import Redirect

SECRET = "a-key-for-the-gateway"
HEADERS = {"CF-Access-Client-Secret": SECRET}
MIB = 2**20


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"a": b"aaaa", "d/b": b"bb"})
        yield hypha


def use_everything(cf: ArtifactFiles, body: bytes) -> None:
    """Read, write, compare, in one piece and in parts."""
    assert cf.get("a") == b"aaaa"
    assert cf.get({"path": "a", "start": 1, "end": 3}) == b"aa"
    assert isinstance(cf.head("d/b"), ObjectInfo)
    cf.put("new", b"n")
    cf.put("large", body)
    assert cf.get("large") == body


@pytest.mark.parametrize("engine", [{"num_threads": 4}, {"num_threads": 4, "green": True}, {"num_threads": 0}])
def test_with_use_proxy_no_byte_takes_another_way_than_through_the_server(
    hypha: FakeHypha, engine: dict[str, int], tmp_path: Path
) -> None:
    with connect(hypha, use_proxy=True, multipart_threshold=MIB, part_size=5 * MIB, **engine) as cf:
        use_everything(cf, b"x" * (6 * MIB))
        cf.download("", tmp_path)
    assert hypha.store.requests == []
    assert {"a", "d/b", "new", "large"} == set(hypha.files("ws/a"))
    assert (tmp_path / "d" / "b").read_bytes() == b"bb"


def test_a_server_is_told_of_ways_only_where_something_is_said_of_them(hypha: FakeHypha) -> None:
    with connect(hypha) as cf:
        cf.get("a")
        cf.put("b", b"b")
    signing = [call.kwargs for call in hypha.calls if call.method in ("get_file", "put_file")]
    assert len(signing) == 2
    assert not any({"use_proxy", "use_local_url"} & set(kwargs) for kwargs in signing)


def test_every_call_that_gives_urls_says_the_way_and_no_other_call_does(hypha: FakeHypha) -> None:
    with connect(hypha, use_proxy=False, use_local_url=True, multipart_threshold=MIB) as cf:
        use_everything(cf, b"x" * (6 * MIB))
        cf.list()
    said = {call.method: ("use_proxy" in call.kwargs, "use_local_url" in call.kwargs) for call in hypha.calls}
    signing = {"get_file", "put_file", "put_file_start_multipart"}
    assert signing < set(said)
    assert {method for method, ways in said.items() if ways == (True, True)} == signing
    assert {method for method, ways in said.items() if ways == (False, False)} == set(said) - signing


def test_a_local_url_stands_where_the_stores_would(hypha: FakeHypha) -> None:
    with FakeHypha() as near:
        near.store.objects.update(hypha.store.objects)
        near.store.grants = hypha.store.grants
        with connect(hypha, use_local_url=f"{near.store.url}/") as cf:
            assert cf.get("a") == b"aaaa"
        assert len(near.store.requests) == 1
    assert hypha.store.requests == []


@pytest.mark.parametrize("use_proxy", [None, True])
def test_headers_go_to_the_server_with_everything_and_never_to_its_store(
    hypha: FakeHypha, use_proxy: bool | None
) -> None:
    with connect(hypha, headers=HEADERS, use_proxy=use_proxy, multipart_threshold=MIB) as cf:
        use_everything(cf, b"x" * (6 * MIB))
    assert len(hypha.requests) > 5
    assert all(request.headers.get("cf-access-client-secret") == SECRET for request in hypha.requests)
    assert bool(hypha.store.requests) == (use_proxy is None)
    assert not any("cf-access-client-secret" in request.headers for request in hypha.store.requests)


def test_headers_do_not_go_where_a_redirect_of_the_server_leads(hypha: FakeHypha) -> None:
    with FakeHypha() as elsewhere:
        elsewhere.store.put("x", b"aaaa")
        elsewhere.store.grants = hypha.store.grants
        key = hypha.key("ws/a", "a", "v0")
        elsewhere.store.objects.update(hypha.store.objects)
        with connect(hypha, headers=HEADERS, use_proxy=True) as cf:
            url = cf._backend._manager.call("get_file", artifact_id="ws/a", file_path="a")  # type: ignore[attr-defined]
            signed = f"{elsewhere.store.url_for(key)}?{url.partition('?')[2]}"
            super(FakeHypha, hypha).fault(f"s3/{key}", Redirect(signed, 307))
            assert cf.get("a") == b"aaaa"
        (request,) = elsewhere.store.requests
    assert "cf-access-client-secret" not in request.headers


@pytest.mark.parametrize("same", [True, False])
def test_ways_and_headers_are_for_one_server_and_do_not_go_to_another_that_a_copy_names(
    hypha: FakeHypha, same: bool
) -> None:
    with FakeHypha() as elsewhere:
        for server in (hypha, elsewhere):
            server.add_artifact("ws/b", {"c": b"cc"}, public=True)
        other = hypha if same else elsewhere
        with connect(hypha, headers=HEADERS, use_proxy=True, use_local_url=hypha.url) as cf:
            hypha.forget_requests()
            cf.transfer_from(f"hypha://{other.url}/ws/b", "c")
            assert cf.get("c") == b"cc"
        sent = {request.headers.get("cf-access-client-secret") for request in other.requests}
        assert sent == ({SECRET} if same else {None})
        signed = [call.kwargs for call in other.calls if call.method == "get_file"]
        assert {"use_proxy" in kwargs or "use_local_url" in kwargs for kwargs in signed} == {same}


def test_no_header_is_in_any_message_or_repr(hypha: FakeHypha) -> None:
    with connect(hypha, headers=HEADERS) as cf:
        hypha.fault("get_file", RemoteError("ValueError", f"the gateway says: {SECRET} is wrong"))
        with pytest.raises(InvalidRequest) as caught:
            cf.get("a")
        assert SECRET not in f"{cf!r} {cf._settings!r} {caught.value}"
        assert "gateway" in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": SECRET},
        {"content-type": SECRET},
        {"X-Amz-Meta": SECRET},
        {"If-Match": SECRET},
        {"a b": SECRET},
        {"X": f"{SECRET}\r\nY: 1"},
        {"X": f"{SECRET}ü"},
        {"": SECRET},
        {"X": 1},
    ],
)
def test_headers_that_are_not_the_users_to_say_or_cannot_be_sent_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="headers=") as caught:
        ArtifactFiles("ws/a", headers=headers)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("local", ["host:80", "ftp://host", "http://", "http://u:p@host", "http://h?x=1", "", 7])
def test_a_local_url_that_is_none_is_refused(local: str) -> None:
    with pytest.raises(ValueError, match="use_local_url"):
        ArtifactFiles("ws/a", use_local_url=local)


def test_ways_come_from_the_environment_where_no_argument_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPHA_USE_PROXY", "true")
    monkeypatch.setenv("HYPHA_USE_LOCAL_URL", "http://hypha.svc:9520/")
    assert resolve_routes(Settings()) == Routes(True, "http://hypha.svc:9520")
    assert resolve_routes(Settings(use_proxy=False, use_local_url=False)) == Routes(False, False)
    monkeypatch.setenv("HYPHA_USE_PROXY", "0")
    monkeypatch.setenv("HYPHA_USE_LOCAL_URL", "1")
    assert resolve_routes(Settings()) == Routes(False, True)
    for name in ("HYPHA_USE_PROXY", "HYPHA_USE_LOCAL_URL"):
        monkeypatch.setenv(name, "perhaps")
        with pytest.raises(ValueError, match=name):
            resolve_routes(Settings())
        monkeypatch.delenv(name)


def test_a_file_of_the_working_directory_does_not_decide_the_way(
    hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("HYPHA_USE_LOCAL_URL=http://127.0.0.1:9\nHYPHA_USE_PROXY=true\n")
    monkeypatch.chdir(tmp_path)
    assert resolve_routes(Settings()) == Routes()


def test_a_pickled_copy_goes_the_same_way(hypha: FakeHypha) -> None:
    with connect(hypha, headers=HEADERS, use_proxy=True) as cf, pickle.loads(pickle.dumps(cf)) as copy:
        assert copy.get("a") == b"aaaa"
    assert hypha.store.requests == []
    assert all(request.headers.get("cf-access-client-secret") == SECRET for request in hypha.requests)


def test_a_server_that_passes_nothing_on_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with FakeHypha(s3_proxy=False) as hypha, caplog.at_level(logging.WARNING, logger="cloudfiles_hypha"):
        hypha.add_artifact("ws/a", {"a": b"aaaa", "b": b"b"})
        with connect(hypha, use_proxy=True, num_threads=0) as cf:
            assert len(cf.get(["a", "b"])) == 2
        (record,) = caplog.records
        assert "ws/a: use_proxy=True" in record.message
        assert hypha.store.url in record.message
        assert "X-Amz" not in record.message


@pytest.mark.parametrize("name", ["a#b", "a?b", "d/a%20b", "a%2fb"])
def test_a_name_that_a_server_would_pass_on_as_another_is_refused_before_anything_is_sent(
    hypha: FakeHypha, name: str
) -> None:
    with connect(hypha, use_proxy=False) as cf:
        cf.put(name, b"there")
    sent = len(hypha.store.requests)
    with connect(hypha, use_proxy=True) as cf:
        for use in (lambda: cf.put(name, b"x"), lambda: cf.get(name), lambda: cf.head(name)):
            with pytest.raises(InvalidRequest, match=re.escape(name)):
                use()
        cf.put("100%", b"x")
        assert cf.get("100%") == b"x"
    assert len(hypha.store.requests) == sent
    assert not any(request.path.startswith("s3/") and "100%" not in request.path for request in hypha.requests)
    assert hypha.files("ws/a")[name] == b"there"


def test_a_store_that_refuses_the_server_itself_is_no_passing_failure(hypha: FakeHypha) -> None:
    said = "An error occurred (InvalidAccessKeyId) when calling the PutObject operation: The key does not exist"
    hypha.fault("put_file", RemoteError("botocore.exceptions.ClientError", said, 500))
    with connect(hypha) as cf, pytest.raises(AccessDenied, match="InvalidAccessKeyId.*secrets") as caught:
        cf.put("n", b"n")
    assert not caught.value.retryable
    assert "ws/a" in str(caught.value) or "n" in str(caught.value)
    assert hypha.count("put_file") == 1


def test_an_artifact_in_git_is_not_written_to_and_says_where_it_can_be(hypha: FakeHypha, tmp_path: Path) -> None:
    hypha.artifacts["ws/a"].config = {"storage": "git"}
    (tmp_path / "f").write_bytes(b"f")
    with connect(hypha) as cf:
        for write in (
            lambda: cf.put("n", b"n"),
            lambda: cf.delete("a"),
            lambda: cf.upload(tmp_path),
            cf.commit,
            cf.discard,
            cf.status,
        ):
            with pytest.raises((TransferError, BatchError)) as caught:
                write()
            error = caught.value.results[0]["error"] if isinstance(caught.value, BatchError) else caught.value
            assert isinstance(error, InvalidRequest)
            assert "kept in git" in str(error)
            assert "ws/a" in str(error)
    assert not {"edit", "put_file", "put_file_start_multipart", "remove_file", "commit"} & {
        call.method for call in hypha.calls
    }
