"""What an S3 says in XML: listings, multipart uploads, errors. Pure: bytes in, values out.

A document with a DOCTYPE is refused, so no entity is ever expanded.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from time import strptime
from urllib.parse import unquote_plus
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ...errors import (
    AccessDenied,
    BucketNotFound,
    IntegrityError,
    InvalidRequest,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
    TooManyRequests,
    TransferError,
    TransferTimeout,
)
from ...models import ObjectInfo, Version
from ...redact import scrub
from ...transports import HttpResponse
from ...transports.answers import error_of, retry_after

# The namespace of a whole document. Without it no element has to be renamed, which takes as long as reading them.
_NAMESPACE = re.compile(rb'(\s*(?:<\?xml[^>]*>)?\s*<\w+) xmlns="[^"]*"')
# A page of a listing has a thousand keys of a kilobyte, in which each byte may be written as three.
_LARGEST = 32 * 1024 * 1024
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?Z")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an ``<Error>`` says."""

    code: str = ""
    message: str = ""
    region: str = ""


def parse(body: bytes) -> ElementTree.Element:
    """The root of a document, with its names free of namespaces; ``ServerError`` if it is none."""
    if len(body) > _LARGEST or b"<!DOCTYPE" in body[:4096]:
        raise ServerError("the store answers with something that is no XML of S3's")
    found = _NAMESPACE.match(body)
    if found is not None:
        body = found[1] + body[found.end() :]
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 -- without a DOCTYPE there are no entities
    except ElementTree.ParseError as error:
        raise ServerError(f"the store answers with XML that cannot be read: {scrub(str(error))}") from None
    if b"xmlns" in body:
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    return root


def refusal(body: bytes) -> Refusal:
    """The error in a body; empty if there is none."""
    if b"<Error" not in body[:1024]:
        return Refusal()
    try:
        root = parse(body)
    except ServerError:
        return Refusal()
    if root.tag != "Error":
        return Refusal()
    return Refusal(*(scrub(root.findtext(name) or "")[:200] for name in ("Code", "Message", "Region")))


def true_size(body: bytes) -> str | None:
    """The size of the object, in digits, in the refusal of a range that begins beyond its end."""
    found = re.search(rb"<ActualObjectSize>(\d{1,20})</ActualObjectSize>", body)
    return found[1].decode("ascii") if found else None


_KINDS: dict[str, type[TransferError]] = {
    "NoSuchKey": ObjectNotFound,
    "NoSuchVersion": ObjectNotFound,
    "AccessDenied": AccessDenied,
    "AllAccessDisabled": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "ExpiredToken": AccessDenied,
    "InvalidToken": AccessDenied,
    "RequestTimeTooSkewed": AccessDenied,
    "InvalidObjectState": AccessDenied,
    "BadDigest": IntegrityError,
    "InvalidDigest": IntegrityError,
    "IncompleteBody": IntegrityError,
    "RequestTimeout": TransferTimeout,
    "OperationAborted": ServerError,
    "ConditionalRequestConflict": ServerError,
    "InternalError": ServerError,
    "SlowDown": TooManyRequests,
    "ServiceUnavailable": TooManyRequests,
    "RequestLimitExceeded": TooManyRequests,
    "PreconditionFailed": PreconditionFailed,
    "EntityTooLarge": InvalidRequest,
}
_HINTS = {
    "AccessDenied": "a name that is not there looks like this to whoever may not list the bucket",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key, or a proxy changes requests",
    "ExpiredToken": "sign in again",
    "RequestTimeTooSkewed": "set this machine's clock",
    "InvalidObjectState": "it is archived, and has to be restored first",
}
_OF_KEYS = (AccessDenied,)


def refused(response: HttpResponse, bucket: str, who: str) -> TransferError:
    """The error that an answer stands for; ``who`` says with which credentials was asked."""
    found = refusal(response.body)
    code, status = found.code, response.status
    said = ": ".join(filter(None, (code, found.message)))
    if code == "NoSuchBucket":
        return BucketNotFound(f"there is no bucket {bucket!r} here: HTTP {status} ({said})", status=status)
    kind = _KINDS.get(code)
    if kind is None and status == 200:
        kind = ServerError  # it had begun to answer before it failed
    if kind is None:
        error = error_of(response, "", said)
        kind = type(error)
        text = str(error.args[0])
    else:
        text = f"{_WORDS.get(kind, 'the store refuses')}: HTTP {status} ({said})"
    if issubclass(kind, _OF_KEYS):
        text += f"; asked {who}"
    if code in _HINTS or (status == 403 and not code):
        text += f"; {_HINTS.get(code or 'AccessDenied')}"
    return kind(text, status=status, retry_after=retry_after(response.headers))


_WORDS: dict[type[TransferError], str] = {
    ObjectNotFound: "not found",
    AccessDenied: "access denied",
    IntegrityError: "the upload was damaged on its way",
    TransferTimeout: "the store gave up waiting",
    ServerError: "the store failed",
    TooManyRequests: "the store is busy",
    PreconditionFailed: "the object has changed",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing: files and folders together, in order."""

    entries: tuple[ObjectInfo | str, ...]
    following: str | None


def page(body: bytes, *, names: bool = False) -> Page:
    """A page of ``ListObjectsV2``; ``names`` is for those alone. Empty objects whose name ends in a slash stand for
    folders, and are left out."""
    root = _expect(body, "ListBucketResult")
    quoted = root.findtext("EncodingType") == "url"

    def name(text: str | None) -> str:
        return unquote_plus(text or "", errors="surrogateescape") if quoted else text or ""

    entries: dict[str, ObjectInfo | str] = {}
    for each in root.iterfind("CommonPrefixes"):
        folder = name(each.findtext("Prefix"))
        entries[folder] = folder
    for each in root.iterfind("Contents"):
        told = {child.tag: child.text or "" for child in each}  # a search for each of them takes twice as long
        key, size = name(told.get("Key")), told.get("Size", "")
        if key.endswith("/") and size == "0":
            continue
        if names:
            entries[key] = key
        else:
            etag = told.get("ETag", "").strip('"') or None
            modified = seconds(told.get("LastModified", ""))
            entries[key] = ObjectInfo(key, int(size) if size.isdigit() else None, etag, None, modified)
    following = root.findtext("NextContinuationToken") or None
    if root.findtext("IsTruncated") == "true" and following is None:
        raise ServerError("the store cuts its listing short and does not say where it goes on")
    return Page(tuple(entries[each] for each in sorted(entries)), following)


Begun = tuple[str, str, float | None]
"""Name, id and beginning of an upload."""


def uploads(body: bytes) -> tuple[list[Begun], tuple[str, str] | None]:
    """The unfinished uploads of one page, and the markers that the next one begins behind."""
    root = _expect(body, "ListMultipartUploadsResult")
    quoted = root.findtext("EncodingType") == "url"

    def name(text: str | None) -> str:
        return unquote_plus(text or "", errors="surrogateescape") if quoted else text or ""

    found = [
        (name(each.findtext("Key")), each.findtext("UploadId") or "", seconds(each.findtext("Initiated") or ""))
        for each in root.iterfind("Upload")
    ]
    if root.findtext("IsTruncated") != "true":
        return found, None
    key = root.findtext("NextKeyMarker")
    if not key:
        raise ServerError("the store cuts its list of uploads short and does not say where it goes on")
    return found, (name(key), root.findtext("NextUploadIdMarker") or "")


@dataclass(frozen=True, slots=True)
class VersionsPage:
    """One page of a listing of versions: those of one name, newest first; whether others come behind it."""

    versions: tuple[Version, ...]
    beyond: bool
    following: tuple[str, str] | None


def versions(body: bytes, path: str) -> VersionsPage:
    """A page of ``ListObjectVersions``, of which what is called ``path`` is wanted."""
    root = _expect(body, "ListVersionsResult", "ListObjectVersionsResult")
    quoted = root.findtext("EncodingType") == "url"

    def name(text: str | None) -> str:
        return unquote_plus(text or "", errors="surrogateescape") if quoted else text or ""

    found, beyond = [], False
    for each in root.iterfind("Version"):
        told = {child.tag: child.text or "" for child in each}
        if name(told.get("Key")) != path:
            beyond = True
            continue
        size = told.get("Size", "")
        found.append(
            Version(
                told.get("VersionId") or "null",
                int(size) if size.isdigit() else None,
                told.get("ETag", "").strip('"') or None,
                seconds(told.get("LastModified", "")),
                told.get("IsLatest") == "true",
            )
        )
    beyond = beyond or any(name(each.findtext("Key")) != path for each in root.iterfind("DeleteMarker"))
    if root.findtext("IsTruncated") != "true":
        return VersionsPage(tuple(found), beyond, None)
    key = root.findtext("NextKeyMarker")
    if not key:
        raise ServerError("the store cuts its list of versions short and does not say where it goes on")
    return VersionsPage(tuple(found), beyond, (name(key), root.findtext("NextVersionIdMarker") or ""))


def seconds(text: str) -> float | None:
    """A time as S3 writes it, in seconds since 1970."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    day, hour, minute, second, fraction = found.groups()
    with suppress(ValueError):  # there is no such day
        return _midnight(day) + int(hour) * 3600 + int(minute) * 60 + int(second) + float(fraction or 0)
    return None


@lru_cache(maxsize=64)
def _midnight(day: str) -> int:
    """The beginning of a day; ``strptime`` is slow, and a listing has few days."""
    return timegm(strptime(day, "%Y-%m-%d"))


def upload_id(body: bytes) -> str:
    """The id of a multipart upload that was begun."""
    # rclone calls it by the name of the request
    found = _expect(body, "InitiateMultipartUploadResult", "InitiateMultipartUpload").findtext("UploadId")
    if not found:
        raise ServerError("the store began a multipart upload and does not say which")
    return found


def completed(body: bytes) -> str | None:
    """The ETag of an object that was made of parts."""
    return (_expect(body, "CompleteMultipartUploadResult").findtext("ETag") or "").strip('"') or None


def copied(body: bytes) -> str | None:
    """The ETag of an object, or of a part, that is a copy."""
    return (_expect(body, "CopyObjectResult", "CopyPartResult").findtext("ETag") or "").strip('"') or None


def parts(body: bytes) -> tuple[dict[int, tuple[str, int]], str | None]:
    """The parts that are there by number (from 1) with ETag and size, and where the list goes on."""
    root = _expect(body, "ListPartsResult", "ListPartsResponse")  # moto calls it the latter
    found = {}
    for part in root.iterfind("Part"):
        number, size = part.findtext("PartNumber") or "", part.findtext("Size") or ""
        if number.isdigit() and size.isdigit():
            found[int(number)] = ((part.findtext("ETag") or "").strip('"'), int(size))
    more = root.findtext("IsTruncated") == "true"
    return found, (root.findtext("NextPartNumberMarker") or None) if more else None


def deletion(paths: Iterable[str]) -> bytes:
    """The body that removes many objects."""
    listed = "".join(f"<Object><Key>{escape(path)}</Key></Object>" for path in paths)
    return f"<Delete>{listed}</Delete>".encode()


def deleted(body: bytes) -> set[str]:
    """The names that a store says it has removed; what it refuses is not among them."""
    return {each.findtext("Key") or "" for each in _expect(body, "DeleteResult").iterfind("Deleted")}


def completion(etags: Iterator[str]) -> bytes:
    """The body that makes one object of parts."""
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    return f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode("ascii")


def _expect(body: bytes, *tags: str) -> ElementTree.Element:
    root = parse(body)
    if root.tag not in tags:
        raise ServerError(f"the store answers with <{scrub(root.tag)[:40]}> where <{tags[0]}> is due")
    return root
