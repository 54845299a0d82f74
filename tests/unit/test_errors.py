"""Errors are of types that Python code already catches, say what they are about, and travel between processes."""

from __future__ import annotations

import copy
import copyreg
import inspect
import pickle
from typing import Any

import pytest

import cloudfiles_hypha
from cloudfiles_hypha import errors
from cloudfiles_hypha.errors import (
    ArtifactNotFound,
    BatchError,
    CommitError,
    ObjectNotFound,
    ServerError,
    TransferError,
)
from cloudfiles_hypha.results import Result
from cloudfiles_hypha.transports.base import host_of

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, Exception) and not issubclass(kind, Warning | errors.NotAwaited)  # a mistake of the program
]
BUILTIN = {
    "TransferError": OSError,
    "ObjectNotFound": FileNotFoundError,
    "BucketNotFound": FileNotFoundError,
    "ArtifactNotFound": KeyError,
    "AccessDenied": PermissionError,
    "InvalidRequest": ValueError,
    "NotStaged": ValueError,
    "ArtifactExists": FileExistsError,
    "ObjectExists": FileExistsError,
    "NotModified": OSError,
    "PreconditionFailed": OSError,
    "RangeNotSatisfiable": ValueError,
    "RangesUnsupported": OSError,
    "ReadOnly": PermissionError,
    "IntegrityError": OSError,
    "ConnectionFailed": ConnectionError,
    "TruncatedBody": EOFError,
    "TransferTimeout": TimeoutError,
    "CertificateError": OSError,
    "ServerError": OSError,
    "TooManyRequests": OSError,
    "Cancelled": InterruptedError,
    "DecompressionError": ValueError,
    "InvalidContent": ValueError,
    "BatchError": OSError,
    "CommitError": OSError,
    "StorageError": OSError,
    "StorageNotFoundError": FileNotFoundError,
    "StoragePermissionError": PermissionError,
    "StorageConfigError": ValueError,
}
MAY_PASS = {"IntegrityError", "ConnectionFailed", "TruncatedBody", "TransferTimeout", "ServerError", "TooManyRequests"}


def result(path: str, error: Exception | None) -> Result:
    return {
        "path": path,
        "content": None if error else b"x",
        "byte_range": (None, None),
        "error": error,
        "size": None,
        "etag": None,
        "content_type": None,
        "attempts": 1,
        "verified": None,
        "compress": None,
        "raw": False,
        "tags": None,
    }


def test_this_module_looks_at_every_error_there_is() -> None:
    assert {kind.__name__ for kind in ALL} == set(BUILTIN)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_is_a_transfer_error_and_one_that_python_knows(kind: type[TransferError]) -> None:
    assert issubclass(kind, TransferError)
    assert issubclass(kind, BUILTIN[kind.__name__])
    assert getattr(cloudfiles_hypha, kind.__name__, None) is kind


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_only_what_may_pass_is_retryable(kind: type[TransferError]) -> None:
    assert kind("x").retryable is (kind.__name__ in MAY_PASS)


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_survives_copying(kind: type[TransferError], copied: object) -> None:
    error = kind("what happened")
    error.path, error.status, error.retry_after, error.attempts = "dir/a", 503, 1.5, 4
    twin = copied(error)  # type: ignore[operator]
    assert type(twin) is kind
    assert str(twin) == str(error) == "dir/a: what happened"
    assert (twin.path, twin.status, twin.retry_after, twin.attempts) == ("dir/a", 503, 1.5, 4)
    assert twin.args == ("what happened",)


def test_an_error_without_a_path_says_only_what_happened() -> None:
    assert str(TransferError("no")) == "no"
    assert str(ArtifactNotFound("no such artifact")) == "no such artifact"  # not in quotes, as a KeyError would
    assert (TransferError("no").path, TransferError("no").status) == ("", None)


def test_about_names_the_item_once() -> None:
    error = TransferError("no")
    assert error.about("a") is error
    assert error.about("b").path == "a"


def test_a_batch_error_names_the_first_few_and_counts_the_rest() -> None:
    results = [
        result(str(n), ObjectNotFound("not found", path=str(n), status=404) if n % 2 else None) for n in range(10)
    ]
    error = BatchError.from_results("get", results)
    assert str(error) == "get: 5 of 10 items failed: 1: not found; 3: not found; 5: not found; and 2 more"
    assert error.results == results
    assert [failed["path"] for failed in error.errors] == ["1", "3", "5", "7", "9"]
    assert error.status == 404


def test_a_batch_error_has_a_status_only_if_all_failures_share_it() -> None:
    mixed = [result("a", ObjectNotFound("x", status=404)), result("b", TransferError("x", status=500))]
    assert BatchError.from_results("get", mixed).status is None
    assert "2 of 900" in str(BatchError.from_results("get", mixed, of=900))


@pytest.mark.parametrize("kind", [BatchError, CommitError])
def test_a_batch_error_is_pickled_with_every_result(kind: type[BatchError]) -> None:
    error = kind("x", [result("a", None), result("b", ObjectNotFound("gone", path="b", status=404))])
    twin = pickle.loads(pickle.dumps(error))
    assert twin.results[0] == error.results[0]
    assert (type(twin.errors[0]["error"]), str(twin.errors[0]["error"])) == (ObjectNotFound, "b: gone")


@pytest.mark.parametrize(
    "url",
    [
        "http://h:1",
        "http://h:1/",
        "http://h:1/a/b?5ec2e7",
        "http://user:5ec2e7@h:1/a",
        "http://h:1?5ec2e7",
        "http://h:1#5ec2e7",
    ],
)
def test_a_url_is_named_by_its_host_alone(url: str) -> None:
    assert host_of(url) == "http://h:1"


def test_a_copy_shares_nothing_whatever_others_have_copies_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def sharing(error: ServerError) -> tuple[Any, ...]:
        def make() -> ServerError:
            made = ServerError("made")
            made.__dict__ = error.__dict__
            return made

        return make, ()

    monkeypatch.setitem(copyreg.dispatch_table, ServerError, sharing)
    error = ServerError("broken", path="a", status=500, retry_after=2.0)
    other = copy.copy(error)
    other.path = "b"
    assert (str(error), str(other), other.status, other.retry_after) == ("a: broken", "b: broken", 500, 2.0)
    assert type(other) is ServerError


@pytest.mark.parametrize("kind", [*ALL, OSError, IsADirectoryError], ids=lambda kind: kind.__name__)
def test_an_error_of_a_node_is_what_it_was_and_a_storage_error(kind: type[OSError]) -> None:
    error = kind("what happened")
    error.attempts = 7  # type: ignore[attr-defined]
    made = errors.storage_error(error, "mount:path")
    for each in (made, pickle.loads(pickle.dumps(made)), copy.copy(made)):
        assert isinstance(each, errors.StorageError)
        assert isinstance(each, kind)
        assert isinstance(each, errors.StorageNotFoundError) is issubclass(kind, FileNotFoundError)
        assert (str(each), each.path, each.attempts) == ("mount:path: what happened", "mount:path", 7)
