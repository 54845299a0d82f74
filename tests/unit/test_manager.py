"""What the artifact manager's answers mean, and what goes out with a call to it."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactExists,
    ArtifactNotFound,
    ConnectionFailed,
    InvalidRequest,
    NotStaged,
    ObjectNotFound,
    ServerError,
    Timeouts,
    TooManyRequests,
    TransferTimeout,
)
from cloudfiles_hypha.backends.hypha.manager import ArtifactManager, remote_error
from cloudfiles_hypha.credentials import token_workspace
from cloudfiles_hypha.transports import HttpResponse, open_transport
from tests.support.fake_hypha import Answer, FakeHypha, RemoteError, Status429, Timeout504
from tests.support.object_server import Drop, Gzip, Redirect, ShortBody, Status

TOKEN = "test-token"


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha(token=TOKEN) as hypha:
        hypha.add_artifact("ws/a", {"f": b"f"})
        yield hypha


@pytest.fixture
def manager(hypha: FakeHypha) -> Iterator[ArtifactManager]:
    transport = open_transport("auto", Timeouts(), green=False)
    yield ArtifactManager(hypha.url, TOKEN, transport)
    transport.close()


def answer(status: int, detail: Any, headers: str = "") -> Exception:
    """The error for an answer with that status whose ``detail`` is this."""
    value = {"success": False, "detail": detail}
    lines = [f"{line}\r\n".encode() for line in headers.splitlines()]
    return remote_error("verb", HttpResponse(status, json.dumps(value).encode(), lines), value)


REMOTE = "RemoteException: "
MEANINGS = [
    # what the server says, its status, the exception, whether trying again may help
    (REMOTE + "FileNotFoundError: File 'p' does not exist in the artifact.", 404, ObjectNotFound, False),
    (REMOTE + "FileNotFoundError: File 'p' does not exist in the artifact.", 500, ObjectNotFound, False),
    (REMOTE + "KeyError: \"Artifact with ID 'w/a' does not exist.\"", 404, ArtifactNotFound, False),
    (REMOTE + "KeyError: \"Artifact with ID 'w/a' does not exist.\"", 500, ArtifactNotFound, False),
    (REMOTE + "ValueError: Artifact version 'v7' does not exist.", 400, ArtifactNotFound, False),
    (REMOTE + "PermissionError: User does not have permission 'put_file'.", 403, AccessDenied, False),
    (REMOTE + "PermissionError: User does not have permission 'put_file'.", 500, AccessDenied, False),
    (REMOTE + "AssertionError: Artifact must be in staging mode.", 400, NotStaged, False),
    (REMOTE + "AssertionError: Artifact must be in staging mode to commit.", 500, NotStaged, False),
    (REMOTE + "ValueError: No staged changes to discard. Artifact is not in staging mode.", 400, NotStaged, False),
    (REMOTE + "FileExistsError: Artifact with alias 'a' already exists", 500, ArtifactExists, False),
    (REMOTE + "ValueError: Version 'v1' already exists. Existing versions: ['v1']", 400, ArtifactExists, False),
    (REMOTE + "AssertionError: Manifest must be provided.", 400, InvalidRequest, False),
    (REMOTE + "TypeError: read() got an unexpected keyword argument", 500, InvalidRequest, False),
    (REMOTE + "ValueError: Upload session expired or not found", 404, InvalidRequest, False),
    (REMOTE + "ClientError: An error occurred (InternalError)", 500, ServerError, True),
    (REMOTE + REMOTE + "KeyError: 'Artifact does not exist'", 404, ArtifactNotFound, False),
    ("TimeoutError: Method call timed out: artifact-manager", 504, TransferTimeout, True),
    (REMOTE + "TimeoutError: Method call timed out", 500, TransferTimeout, True),
    (REMOTE + "KeyError: 'Service not found: public/artifact-manager'", 404, ServerError, True),
    ("Service public/artifact-manager not found", 404, ServerError, True),
    ("The server is not ready", 503, ServerError, True),
    ("Invalid token", 401, AccessDenied, False),
    (REMOTE + "Exception: The token has expired", 401, AccessDenied, False),
    ("Bad Gateway", 502, ServerError, True),
    ("Rate limit exceeded. Please slow down.", 429, TooManyRequests, True),
    ("busy", 503, TooManyRequests, True),
    ("nonsense.", 404, ObjectNotFound, False),
    ("teapot", 418, InvalidRequest, False),
    ([{"loc": ["body"], "msg": "field required"}], 422, InvalidRequest, False),
    (None, 500, ServerError, True),
]


@pytest.mark.parametrize(("detail", "status", "kind", "retryable"), MEANINGS)
def test_an_error_goes_by_what_the_server_says_before_its_status(
    detail: Any, status: int, kind: type, retryable: bool
) -> None:
    error = answer(status, detail)
    assert (type(error), error.retryable) == (kind, retryable)
    assert str(error).startswith(("verb: ", "the server", "not found: ", "access denied: ", "unexpected answer: "))
    assert "verb: " in str(error)


def test_the_servers_advice_to_its_own_callers_is_left_out() -> None:
    advice = (
        "Note: When working with artifacts from other workspaces, use the full ID (workspace/alias), not the alias."
    )
    error = answer(404, f"{REMOTE}KeyError: \"Artifact with ID 'w/a' does not exist. {advice}\"")
    assert str(error) == "verb: \"Artifact with ID 'w/a' does not exist.\""


def test_a_missing_artifact_is_a_key_error_and_a_missing_file_is_not() -> None:
    missing_artifact = answer(404, REMOTE + "KeyError: 'x'")
    missing_file = answer(404, REMOTE + "FileNotFoundError: File 'x' does not exist in the artifact.")
    assert isinstance(missing_artifact, KeyError)
    assert isinstance(missing_artifact, FileNotFoundError)
    assert isinstance(missing_file, FileNotFoundError)
    assert not isinstance(missing_file, KeyError)


def test_five_different_answers_stay_five_different_errors(hypha: FakeHypha, manager: ArtifactManager) -> None:
    hypha.fault(
        "read",
        RemoteError("PermissionError", "no"),
        RemoteError("KeyError", "none"),
        Status429(2),
        RemoteError("OSError", "disk"),
    )
    kinds = []
    for _ in range(4):
        with pytest.raises(OSError) as caught:
            manager.call("read", artifact_id="ws/a")
        kinds.append(caught.type)
    hypha.pause()
    with pytest.raises(ConnectionFailed):
        manager.call("read", artifact_id="ws/a")
    hypha.resume()
    assert kinds == [AccessDenied, ArtifactNotFound, TooManyRequests, ServerError]
    assert manager.call("read", artifact_id="ws/a")["id"] == "ws/a"


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ("Retry-After: 7", 7.0),
        ("", None),
        ("Retry-After: soon", None),
        ("Retry-After: 999999", 3600.0),
        # read against the server's own clock, not against ours
        ("Date: Mon, 01 Jan 2001 00:00:00 GMT\nRetry-After: Mon, 01 Jan 2001 00:00:09 GMT", 9.0),
    ],
)
def test_the_pause_that_a_busy_server_asks_for_is_passed_on(headers: str, pause: float | None) -> None:
    error = answer(429, "Rate limit exceeded.", headers)
    assert isinstance(error, TooManyRequests)
    assert error.retry_after == pause


def test_no_secret_of_a_remote_error_gets_into_the_message() -> None:
    said = "OSError: GET http://s3/k?X-Amz-Signature=abc123 with Bearer hunter2 failed"
    error = answer(500, REMOTE + said)
    for text in (str(error), repr(error), repr(error.args)):
        assert "abc123" not in text
        assert "hunter2" not in text
    assert len(str(answer(500, REMOTE + "OSError: " + "x" * 10_000))) < 1000


def test_the_token_is_in_no_repr(hypha: FakeHypha, manager: ArtifactManager) -> None:
    assert TOKEN not in repr(manager)
    assert "anonymous" in repr(ArtifactManager(hypha.url, None, manager._transport))


def test_a_remote_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(answer(404, REMOTE + "KeyError: 'x'")))
    assert (type(error), error.status) == (ArtifactNotFound, 404)


def test_a_call_is_one_post_with_json_arguments_and_the_token(hypha: FakeHypha, manager: ArtifactManager) -> None:
    manager.call("list_files", artifact_id="ws/a", limit=10)
    (request,) = hypha.requests
    assert (request.method, request.path) == ("POST", "public/services/artifact-manager/list_files")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert hypha.calls[0].kwargs == {"artifact_id": "ws/a", "limit": 10}


def test_without_a_token_no_authorization_is_sent(hypha: FakeHypha, manager: ArtifactManager) -> None:
    hypha.add_artifact("ws/open", public=True)
    ArtifactManager(hypha.url, None, manager._transport).call("read", artifact_id="ws/open")
    assert "authorization" not in hypha.requests[0].headers


def test_a_redirect_is_not_followed_with_the_token(hypha: FakeHypha, manager: ArtifactManager) -> None:
    with FakeHypha() as elsewhere:
        hypha.fault("read", Redirect(f"{elsewhere.url}/stolen", 307))
        with pytest.raises(InvalidRequest):
            manager.call("read", artifact_id="ws/a")
        assert elsewhere.requests == []


def test_an_answer_that_is_no_json_is_an_error(hypha: FakeHypha, manager: ArtifactManager) -> None:
    hypha.fault("read", Status(200, body=b"<html>"), ShortBody(5), Gzip(), Drop(after_bytes=5))
    for _ in range(4):
        with pytest.raises((ServerError, ConnectionFailed)) as caught:
            manager.call("read", artifact_id="ws/a")
        assert caught.value.retryable


def test_a_failure_told_with_status_200_is_a_failure(hypha: FakeHypha, manager: ArtifactManager) -> None:
    hypha.fault("read", Answer({"success": False, "detail": REMOTE + "KeyError: 'x'"}))
    with pytest.raises(ArtifactNotFound):
        manager.call("read", artifact_id="ws/a")


def test_the_manager_makes_one_attempt(hypha: FakeHypha, manager: ArtifactManager) -> None:
    hypha.fault("read", Timeout504())
    with pytest.raises(TransferTimeout) as caught:
        manager.call("read", artifact_id="ws/a")
    assert (caught.value.status, hypha.count("read")) == (504, 1)


def jwt(claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{payload}.signature"


@pytest.mark.parametrize(
    ("token", "workspace"),
    [
        (jwt({"scope": "ws:lab#rw wid:lab"}), "lab"),
        (jwt({"scope": "wid:my-lab ws:x#r"}), "my-lab"),
        (jwt({"scope": "swid:no"}), None),
        (jwt({"scope": ["wid:lab"]}), None),
        (jwt({}), None),
        (jwt([1]), None),
        ("opaque", None),
        ("a.!!!.c", None),
        ("a.b", None),
    ],
)
def test_a_token_names_its_workspace_or_none(token: str, workspace: str | None) -> None:
    assert token_workspace(token) == workspace
