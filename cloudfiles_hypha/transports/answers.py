"""How an answer to a GET is read and checked: the one place that decides whether the bytes that arrived are the bytes
that were asked for. Knows HTTP (RFC 9110), no backend.
"""

from __future__ import annotations

import re

from ..content.codecs import encoding_name
from ..content.digests import check_whole, etag_of
from ..errors import (
    AccessDenied,
    IntegrityError,
    InvalidRequest,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    ServerError,
    TooManyRequests,
    TransferError,
    TransferTimeout,
)
from ..models import Fetched, GetRequest, ObjectInfo, Sink
from .base import HttpRequest, HttpResponse, Sender, Take
from .dates import date_of, seconds_of

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


_SIZE = re.compile(r"bytes \*/(\d+)")
_OF_NOTHING = "bytes */0"  # what a range is refused with where there is no byte


def retry_after(headers: dict[str, str]) -> float | None:
    """Seconds of a ``Retry-After`` header in its numeric form (RFC 9110, 10.2.3), capped at an hour.

    The form that is a date is read against the same answer's ``Date``: the local clock is not trusted.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isdigit():
        return float(min(int(value), 3600))
    until, now = seconds_of(value), seconds_of(headers.get("date"))
    return None if until is None or now is None else min(max(until - now, 0.0), 3600.0)


def error_of(response: HttpResponse, path: str, said: str = "") -> TransferError:
    """The exception that an HTTP status stands for (RFC 9110, 15); ``said`` is the server's explanation."""
    status = response.status
    text = f"HTTP {status}{f' ({said})' if said else ''}"
    if status in (404, 410):
        return ObjectNotFound(f"not found: {text}", path=path, status=status)
    if status in (401, 403, 407):
        return AccessDenied(f"access denied: {text}", path=path, status=status)
    if status == 408:
        return TransferTimeout(f"the server gave up waiting: {text}", path=path, status=status)
    if status == 304:
        return NotModified(f"not sent, as it is here already: {text}", path=path, status=status)
    if status == 412:
        return PreconditionFailed(f"the object has changed: {text}", path=path, status=status)
    if status == 416:
        size = _SIZE.fullmatch(response.headers.get("content-range", ""))
        end = f"; the object has {size[1]} bytes" if size else ""
        return RangeNotSatisfiable(f"no such bytes: {text}{end}", path=path, status=status)
    if status in (429, 503):
        pause = retry_after(response.headers)
        return TooManyRequests(f"the server is busy: {text}", path=path, status=status, retry_after=pause)
    if status >= 500:
        return ServerError(f"the server failed: {text}", path=path, status=status)
    return InvalidRequest(f"unexpected answer: {text}", path=path, status=status)


def range_headers(request: GetRequest) -> tuple[tuple[str, str], ...]:
    """The headers that ask for a request's bytes; HTTP's ranges include their last byte (RFC 9110, 14.2)."""
    if request.whole and not request.conditional:
        return ()
    headers = []
    if not request.whole:
        start, last = request.start or 0, "" if request.end is None else request.end - 1
        headers.append(("Range", f"bytes={start}-{last}" if start >= 0 else f"bytes={start}"))
    if request.pinned is not None:
        headers.append(("If-Match", f'"{request.pinned}"'))
    if request.known:
        headers.append(("If-None-Match", ", ".join(f'"{etag}"' for etag in request.known)))
    if request.since is not None:
        headers.append(("If-Modified-Since", date_of(request.since)))
    return tuple(headers)


def fetch(
    transport: Sender, url: str, request: GetRequest, *, md5: bool, headers: tuple[tuple[str, str], ...] = ()
) -> Fetched:
    """Read one request's bytes from ``url`` and make sure that they are the right ones.

    Some servers ignore a range and send the whole object, some send only the slice, both as 200. Where length
    alone cannot tell which it was, the whole object is fetched and cut: the wrong bytes are never returned.
    ``md5`` compares a whole object with its ETag where that is an MD5, and else with a checksum in the answer.
    """
    response = transport.send(HttpRequest("GET", url, headers + range_headers(request), follow=True))
    if _is_empty(response):
        response = transport.send(HttpRequest("GET", url, headers + range_headers(_all_of_it(request)), follow=True))
    start, end = request.start or 0, request.end
    ignored = response.status == 200 and not _is_part(request, response)
    if ignored and start and (end is None or len(response.body) <= end - start):
        response = transport.send(HttpRequest("GET", url, follow=True))
    return read_body(request, response, md5=md5)


def fetch_into(transport: Sender, url: str, request: GetRequest, sink: Sink) -> Fetched:
    """Like ``fetch``, with the bytes given to ``sink`` as they come. The sink is told first where they begin.

    That can be 0 when a later byte was asked for, of a server that ignores ranges. What a request of its own would
    be needed to tell apart is refused; nothing is compared with an MD5: whoever has all bytes does that.
    """
    seen: list[ObjectInfo] = []

    def begin(response: HttpResponse) -> Take | None:
        if response.status not in (200, 206):
            return None
        _refuse_known(request, response)
        response.headers  # noqa: B018 -- all are parsed for ``info``, so that no other is searched for
        info, start, end = _arriving(request, response)
        seen.append(info)
        sink.begin(info, start, end)
        return sink.write

    response = transport.send(HttpRequest("GET", url, range_headers(request), follow=True, sink=begin))
    if _is_empty(response):
        response = transport.send(HttpRequest("GET", url, range_headers(_all_of_it(request)), follow=True, sink=begin))
    if not seen:  # there was no body
        fetched = read_body(request, response, md5=False)
        info = info_of(request.path, response, fetched.size)
        sink.begin(info, request.start or 0, request.start or 0)
        seen.append(info)
    (info,) = seen
    verified = "length" if response.status != 200 or response.measured else None
    return Fetched(b"", info.size, info.etag, info.content_type, verified, info.compress)


def _is_empty(response: HttpResponse) -> bool:
    """Whether a range was refused since the object has no bytes. A refusal does not tell its ETag and type, nor that it
    is to be decoded, which nothing can be: so all of it is asked for then."""
    return response.status == 416 and response.header("content-range") == _OF_NOTHING


def _all_of_it(request: GetRequest) -> GetRequest:
    return request._replace(start=None, end=None)


def _is_part(request: GetRequest, response: HttpResponse) -> bool:
    """Whether an answer has only some of an object's bytes; some servers say 200 and mean 206."""
    if response.status == 200 and not request.whole:
        return response.header("content-range") is not None
    return response.status == 206


def _refuse_known(request: GetRequest, response: HttpResponse) -> None:
    """Some servers compare no more than one ETag, and send what is here already."""
    if request.known and response.status in (200, 206) and etag_of(response) in request.known:
        raise NotModified("sent in vain, as it is here already", path=request.path, status=response.status)


def _arriving(request: GetRequest, response: HttpResponse) -> tuple[ObjectInfo, int, int | None]:
    """What object a body is of, and which bytes of it; raises unless it is what was asked for, or all of it."""
    start, end = request.start or 0, request.end
    length = response.header("content-length")
    if not _is_part(request, response):
        size = int(length) if length is not None and length.isdigit() else None
        if start and end is not None and size == end - start:
            raise IntegrityError("the server answers a range with 200: the object's bytes and a slice look alike")
        told = None if _may_be_slice(request, size) else size
        return info_of(request.path, response, told), 0, size
    start, stop, size = _stretch(request, response)
    return info_of(request.path, response, size), start, stop


def read_body(request: GetRequest, response: HttpResponse, *, md5: bool) -> Fetched:
    """Check an answer to ``request`` and cut it to what was asked for. Raises when they do not agree.

    A 200 is taken for the whole object; a 206 must say which bytes it has, and they must be the ones asked for.
    An empty object, and the very end of any other, have no bytes to give: that is ``b""``, not an error.
    """
    status, content = response.status, response.body
    start, end = request.start or 0, request.end
    _refuse_known(request, response)
    part = _is_part(request, response)
    if status == 200 and not part:
        size: int | None = len(content)
        verified: str | None = check_whole(content, response.header) if md5 else "length"
        by_length = verified == "length"
        if by_length and not response.measured:
            verified = None
        if not request.whole:
            content = slice_of(content, start, end)
            if by_length and _may_be_slice(request, size):
                size = None
    elif part:
        start, stop, size = _stretch(request, response)
        if len(content) != stop - start:
            raise IntegrityError(f"expected {stop - start} bytes, got {len(content)}", status=206)
        verified = "length"
    elif status == 416 and (match := _SIZE.fullmatch(response.header("content-range") or "")):
        size, verified = int(match[1]), "length"
        if start < 0 < size:
            raise error_of(response, request.path)  # it does not count from the end
        if start < size:
            raise IntegrityError(f"the server refuses bytes from {start} on, of {size} that it has", status=416)
        content = slice_of(b"", start, end, size)
    else:
        raise error_of(response, request.path)
    compress = encoding_of(response)
    return Fetched(content, size, etag_of(response), response.header("content-type"), verified, compress)


def _may_be_slice(request: GetRequest, size: int | None) -> bool:
    """Whether a 200 of so many bytes may have the first or last ones of a longer object: those that were asked for, in
    any case, but not how many there are."""
    return size is not None and size == (-(request.start or 0) if (request.start or 0) < 0 else request.end)


def _stretch(request: GetRequest, response: HttpResponse) -> tuple[int, int, int | None]:
    """Where the bytes of a 206 begin and end, and the object's size if it is told; raises unless they are those asked
    for."""
    first, last, size = _content_range(response)
    start, end = request.start or 0, request.end
    if start < 0 and size is not None:
        start = max(0, size + start)
    if size is None and end is None:
        raise IntegrityError("the server sent part of the object and does not say whether it is the rest", status=206)
    stop = min(number for number in (end, size) if number is not None)
    if (first, last + 1) != (start, stop):
        raise IntegrityError(f"asked for bytes [{start}, {stop}), got [{first}, {last + 1})", status=206)
    return start, stop, size


def _content_range(response: HttpResponse) -> tuple[int, int, int | None]:
    match = _RANGE.fullmatch(response.header("content-range") or "")
    if match is None:
        raise IntegrityError("the server sent part of the object and does not say which part", status=206)
    return int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])


def first_byte(url: str, path: str, transport: Sender) -> ObjectInfo:
    """Size, ETag and type of an object, learnt from a GET for its first byte."""
    response = transport.send(HttpRequest("GET", url, (("Range", "bytes=0-0"),), follow=True))
    whole = response.status == 416 and response.header("content-range") in (None, _OF_NOTHING)
    if whole:
        response = transport.send(HttpRequest("GET", url, follow=True))
    if response.status == 200 and response.header("content-range") is None:
        size = len(response.body)
        return info_of(path, response, None if size == 1 and not whole else size)  # of a longer one, perhaps
    if response.status not in (200, 206):
        raise error_of(response, path)
    return info_of(path, response, _content_range(response)[2])


def info_of(path: str, response: HttpResponse, size: int | None) -> ObjectInfo:
    headers = response.headers
    modified = seconds_of(headers.get("last-modified"))
    compress = encoding_of(response)
    return ObjectInfo(path, size, etag_of(response), headers.get("content-type"), modified, dict(headers), compress)


def encoding_of(response: HttpResponse) -> str | None:
    """What the object is encoded with. No request asks for that, so it is what the server has, and not for the way."""
    header = response.encoding
    return None if header is None else encoding_name(header)


def slice_of(content: bytes, start: int, end: int | None, size: int | None = None) -> bytes:
    """Bytes ``[start, end)`` of an object; past its end there is nothing to be had, and that is an error."""
    size = len(content) if size is None else size
    if start > size > 0:
        raise RangeNotSatisfiable(f"no such bytes: the range starts at {start}, the object has {size}", status=416)
    return content[start:end]
