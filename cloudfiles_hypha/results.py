"""Result dicts: their shapes, and the one place where they are made. No I/O."""

from __future__ import annotations

import copy
from collections.abc import Sequence, Set
from typing import Any, NamedTuple, TypedDict

from .errors import BatchError, ServerError, TransferError
from .models import Fetched, GetRequest, PutRequest, Stored


class Result(TypedDict):
    """What became of one item; always these keys.

    ``content`` is None for an item that failed and for verbs that return no bytes. ``byte_range`` is the
    ``(start, end)`` that was asked for. ``size`` is the whole object's size in bytes where it is known,
    ``etag`` as the server gave it (without quotes), ``attempts`` how many times the transfer was tried,
    ``verified`` what was compared besides the length ("md5", "crc32c" or another checksum, or "length" where there is
    none).
    ``compress`` is what the stored bytes are encoded with, None for nothing, ``raw`` whether ``content`` is left as it
    is stored; ``size``, ``etag`` and ``verified`` speak of stored bytes.
    """

    path: str
    content: Any
    byte_range: tuple[int | None, int | None]
    error: Exception | None
    size: int | None
    etag: str | None
    content_type: str | None
    attempts: int
    verified: str | None
    compress: str | None
    raw: bool
    tags: object


class FileResult(TypedDict):
    """What became of one file on disk; always these keys.

    ``size`` in bytes, ``skipped`` if there was nothing to do, ``resumed`` how many bytes an earlier attempt had left,
    ``verified`` what the bytes were compared with besides their length: "md5", "etag-parts" (the MD5s of the parts of
    a multipart upload), or "length" where the server tells nothing to compare with. ``compress`` is what the object is
    encoded with, None for nothing; ``raw`` whether the file is as the object is stored; ``size`` is of the file, and
    ``verified`` speaks of stored bytes.
    """

    path: str
    local_path: str
    size: int | None
    error: Exception | None
    skipped: bool
    resumed: int
    verified: str | None
    etag: str | None
    content_type: str | None
    attempts: int
    compress: str | None
    raw: bool
    tags: object


class Comparison(TypedDict):
    """How a folder on disk and an artifact differ: lists of names, sorted, below what was compared.

    ``different`` have other bytes, ``missing`` are in the artifact only, ``extra`` on disk only. ``equal`` are the
    same by their digest, ``same_size`` by their size alone, where the server tells no digest to compare. What could
    not be compared (a link that leads nowhere, a file that cannot be read) is in none of them: ``errors`` says why.
    """

    equal: list[str]
    same_size: list[str]
    different: list[str]
    missing: list[str]
    extra: list[str]
    errors: dict[str, Exception]


class CopyResult(TypedDict):
    """What became of one file that was to be copied or moved, or one decision of a ``sync``; always these keys.

    ``path`` is its name at the source, ``target`` the one at the target (of something that is only at the target, and
    was removed there, they are the same). ``done`` says what was done: "copied", "moved", "removed", or "nothing": it
    was there already, or failed. ``how`` says by whom: "server" where the bytes never came here, else "through".
    ``read`` is what the bytes that were read were compared with, ``verified`` those that were written: "md5",
    "etag-parts", or "length". ``compared`` is what source and target were compared by to decide: "digest", "time",
    "size", "name" (one was missing), or None.
    """

    path: str
    target: str
    done: str
    error: Exception | None
    size: int | None
    etag: str | None
    content_type: str | None
    content_encoding: str | None
    how: str | None
    read: str | None
    verified: str | None
    compared: str | None
    attempts: int
    tags: object


class UnfinishedUpload(NamedTuple):
    """An upload in parts that was neither completed nor aborted: ``id`` is the store's name for it, ``initiated`` when
    it was begun (seconds since 1970). ``ours`` says that this user began it on this machine, so that the same upload
    goes on with it, ``running`` that a process of this machine is at it now. Of those that are not ours, nobody here
    knows whether somebody is at them."""

    path: str
    id: str
    initiated: float | None
    ours: bool = False
    running: bool = False


class SubtreeSize(NamedTuple):
    """How much is below a prefix: how many files, and their bytes together."""

    files: int
    bytes: int


def got(path: str, request: GetRequest, fetched: Fetched, content: object, attempts: int) -> Result:
    """The result of a read."""
    return {
        "path": path,
        "content": content,
        "byte_range": (request.start, request.end),
        "error": None,
        "size": fetched.size,
        "etag": fetched.etag,
        "content_type": fetched.content_type,
        "attempts": attempts,
        "verified": fetched.verified,
        "compress": fetched.compress,
        "raw": request.raw,
        "tags": request.tags,
    }


def written(path: str, request: PutRequest, stored: Stored, attempts: int, compress: str | None = None) -> Result:
    """The result of a write of what is encoded with ``compress``."""
    return {
        "path": path,
        "content": None,
        "byte_range": (None, None),
        "error": None,
        "size": stored.size,
        "etag": stored.etag,
        "content_type": request.content_type,
        "attempts": attempts,
        "verified": stored.verified,
        "compress": compress,
        "raw": False,
        "tags": request.tags,
    }


def failed(path: str, request: GetRequest | PutRequest, error: Exception, attempts: int) -> Result:
    """The result of an item that failed."""
    return {
        "path": path,
        "content": None,
        "byte_range": (request.start, request.end) if isinstance(request, GetRequest) else (None, None),
        "error": own_error(error, path),
        "size": None,
        "etag": None,
        "content_type": None,
        "attempts": attempts,
        "verified": None,
        "compress": None,
        "raw": isinstance(request, GetRequest) and request.raw,
        "tags": request.tags,
    }


def own_error(error: Exception, path: str) -> Exception:
    """``error`` as that of one item: one answer can be the end of a whole batch, and each item gets its own."""
    if isinstance(error, TransferError) and error.path != path:
        error = copy.copy(error)
        error.path = path
        error.__cause__ = None
    return error


def report_lost(results: Sequence[Result], lost: Set[str]) -> None:
    """Make failures of the results of what the store acknowledged and then did not have."""
    for result in results:
        if result["path"] in lost and result["error"] is None:
            result["error"] = ServerError(
                "the store acknowledged the upload and did not have it at the commit; upload it again",
                path=result["path"],
            )
            result["size"] = result["etag"] = result["verified"] = None


def raise_failures(verb: str, results: Sequence[Result] | Sequence[FileResult] | Sequence[CopyResult]) -> None:
    """Raise ``BatchError`` if any of these failed."""
    if any(result["error"] is not None for result in results):
        raise BatchError.from_results(verb, results)


def content_size(result: Result) -> int | None:
    """Bytes that this result stands for, where that is known."""
    content = result["content"]
    return len(content) if isinstance(content, bytes) else result["size"]
