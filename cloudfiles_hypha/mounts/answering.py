"""What is answered to a request for a stored file: from its headers and what is known of the file. No I/O.

Conditions are looked at in the order of RFC 9110, section 13.2.2. One range is answered by its bytes; several, or what
is no range, by the whole. ``serving`` reads and sends what is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from mimetypes import guess_type
from urllib.parse import quote

from ..errors import TooManyRequests, TransferError
from ..models import ObjectInfo
from ..paths import last_of
from ..transports.dates import date_of, seconds_of

_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)
_ETAG = re.compile(r'(W/)?"([^"]*)"')
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+([ \t]*;[\x20-\x7e]*)?", re.ASCII)
# What S3 and GCS say where nobody has said it.
_UNTYPED = ("binary/octet-stream", "application/octet-stream")
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a file is to be served; see ``serving.wsgi``."""

    download: bool = False
    download_name: str | None = None
    cache_max_age: int | None = None

    def __post_init__(self) -> None:
        age = self.cache_max_age
        if age is not None and (not isinstance(age, int) or isinstance(age, bool) or age < 0):
            raise ValueError(f"cache_max_age={age!r}: expected a number of seconds")
        if self.download_name is not None and not isinstance(self.download_name, str):
            raise TypeError(f"download_name is a string, not {type(self.download_name).__name__}")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers of an answer, and which bytes ``[start, end)`` of the file are its body, if any."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    start: int = 0
    end: int = 0
    text: bytes = b""
    """The body of an answer that is not the file."""


def refused(method: str) -> Answer | None:
    """The answer to a method that files do not have."""
    return None if method in ("GET", "HEAD") else _said(405, method, ("Allow", "GET, HEAD"))


def failed(method: str, error: Exception) -> Answer | None:
    """The answer where a store has not given the file, which tells nothing else; None if the error is no store's."""
    if isinstance(error, FileNotFoundError):
        return _said(404, method)
    if isinstance(error, PermissionError):
        return _said(403, method)
    if not isinstance(error, TransferError):
        return None
    if isinstance(error, TooManyRequests):
        return _said(503, method, ("Retry-After", str(max(1, round(error.retry_after or 1)))))
    return _said(504 if isinstance(error, TimeoutError) else 502, method)


def missing(method: str) -> Answer:
    """The answer for a path that names no file."""
    return _said(404, method)


def unsettled(method: str) -> Answer:
    """The answer for a file that changes faster than it can be read."""
    return _said(503, method, ("Retry-After", "1"))


def condition(method: str, headers: Mapping[str, str], info: ObjectInfo, options: Options) -> Answer | None:
    """The answer where a condition does not hold, so that no bytes are sent; headers by their names in lower case."""
    etag, modified = _etag(info), info.last_modified
    if_match, if_none_match = headers.get("if-match"), headers.get("if-none-match")
    if if_match is not None:
        held = _listed(if_match, etag, weakly=False)
    else:
        unmodified = seconds_of(headers.get("if-unmodified-since"))
        held = unmodified is None or modified is None or int(modified) <= unmodified
    if not held:
        return _said(412, method)
    if if_none_match is not None:
        same = _listed(if_none_match, etag, weakly=True)
    else:
        since = seconds_of(headers.get("if-modified-since"))
        same = since is not None and modified is not None and int(modified) <= since
    return Answer(304, tuple(_validators(info, options))) if same else None


def answer(method: str, headers: Mapping[str, str], info: ObjectInfo, size: int | None, options: Options) -> Answer:
    """The answer where the conditions hold; ``size`` is that of the decoded file, None where nobody knows it."""
    common = (
        ("Content-Type", _content_type(info)),
        *_disposition(info.path, options),
        *_validators(info, options),
        ("Accept-Ranges", "none" if info.compress else "bytes"),
        ("X-Content-Type-Options", "nosniff"),
    )
    if size is None:
        return Answer(200, common)
    whole = Answer(200, (*common, ("Content-Length", str(size))), 0, size)
    wanted = headers.get("range")
    # only to GET a range means something; of what is stored encoded all has to be fetched in any case
    if method != "GET" or wanted is None or info.compress or not _if_range(headers.get("if-range"), info):
        return whole
    span = _span(wanted, size)
    if span is None:
        return whole
    start, end = span
    if start >= end:
        return _said(416, method, ("Content-Range", f"bytes */{size}"), *_validators(info, options))
    part = (("Content-Range", f"bytes {start}-{end - 1}/{size}"), ("Content-Length", str(end - start)))
    return replace(whole, status=206, headers=(*common, *part), start=start, end=end)


def _said(status: int, method: str, *headers: tuple[str, str]) -> Answer:
    text = f"{status} {HTTPStatus(status).phrase}\n".encode()
    length = ("Content-Length", str(len(text)))
    described = (("Content-Type", "text/plain; charset=utf-8"), length, *headers)
    return Answer(status, described, text=b"" if method == "HEAD" else text)


def _span(wanted: str, size: int) -> tuple[int, int] | None:
    """The bytes that a Range header means, none of them where there are no such; None where it says nothing."""
    match = _RANGE.fullmatch(wanted)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size
    start, last = int(match[1]), int(match[2]) if match[2] else size
    return (start, min(last + 1, size)) if start <= last else None if match[2] else (start, start)


def _if_range(held: str | None, info: ObjectInfo) -> bool:
    """Whether a range is wanted of this version. A weak ETag is no evidence of that, nor is a time: of two changes
    within a second nobody could tell (RFC 9110, 8.8.2.2)."""
    return held is None or _listed(held, _etag(info), weakly=False)


def _etag(info: ObjectInfo) -> str | None:
    """With its quotes, and weak where the store's is."""
    etag = info.etag
    if not etag or _VALUE.fullmatch(etag) is None or '"' in etag:
        return None
    return f'W/"{etag}"' if info.headers.get("etag", "").startswith("W/") else f'"{etag}"'


def _listed(header: str, etag: str | None, *, weakly: bool) -> bool:
    """Whether an ETag is among those of a header; if not ``weakly``, weak ones are equal to none."""
    if header.strip() == "*":
        return True
    if etag is None or (etag.startswith("W/") and not weakly):
        return False
    opaque = etag.removeprefix("W/").strip('"')
    return any(found[2] == opaque and (weakly or not found[1]) for found in _ETAG.finditer(header))


def _validators(info: ObjectInfo, options: Options) -> list[tuple[str, str]]:
    """What a client can ask by next time, and for how long it need not."""
    etag, found = _etag(info), []
    if etag is not None:
        found.append(("ETag", etag))
    if info.last_modified is not None:
        found.append(("Last-Modified", date_of(info.last_modified)))
    kept = info.headers.get("cache-control")
    if options.cache_max_age is not None:
        found.append(("Cache-Control", f"max-age={options.cache_max_age}"))
    elif kept and _VALUE.fullmatch(kept):
        found.append(("Cache-Control", kept))
    return found


def _content_type(info: ObjectInfo) -> str:
    """What the store says, unless that is nothing; else by the name."""
    said = info.content_type
    if said and said not in _UNTYPED and _TYPE.fullmatch(said):
        return said
    kind, packed = guess_type(info.path)
    if packed is not None:
        kind = _PACKED.get(packed)
    return kind or "application/octet-stream"


def _disposition(path: str, options: Options) -> list[tuple[str, str]]:
    """As RFC 6266 says: a name in ASCII for everybody, and the real one beside it (RFC 5987)."""
    if not options.download and options.download_name is None:
        return []
    name = last_of(path) if options.download_name is None else options.download_name
    name = "".join(letter if letter.isprintable() and letter not in "/\\" else "_" for letter in name) or "file"
    plain = "".join(letter if letter.isascii() and letter not in '"%' else "_" for letter in name)
    value = f'{"attachment" if options.download else "inline"}; filename="{plain}"'
    if plain != name:
        value += f"; filename*=UTF-8''{quote(name, safe='')}"
    return [("Content-Disposition", value)]
