"""Requests to one bucket: signed, sent, and their refusals understood. No retries, except where an answer says how
the very same request would have been right: in another region, at another time, or with the keys that have come since.

Redirects are not followed: a signature is for one host.
"""

from __future__ import annotations

import time
from dataclasses import replace

from ...errors import ObjectNotFound
from ...transports import HttpRequest, HttpResponse, Transport
from ...transports.base import Sender, Take
from ...transports.dates import seconds_of
from .access import Access, Place
from .replies import refusal, refused, true_size
from .signing import Keys, Signer

# What belongs to the signature besides all that begins with "x-amz-".
_SIGNED = frozenset({"content-md5", "content-type"})
# Statuses that whoever asked understands: the answers to conditions and ranges.
_ANSWERS = frozenset({304, 412, 416})
_CORRECTIONS = 3
# Seconds by which a clock may be wrong without being told so; S3 allows 15 minutes.
_CLOSE = 60.0
_LENGTH = "content-length"


class OfVersion:
    """A ``Sender`` of reads of one version, which takes no answer that is of another: a bucket without versions may
    pass over the question, and send what is there now."""

    def __init__(self, sender: Sender, version: str) -> None:
        self._sender = sender
        self._version = version

    def send(self, request: HttpRequest) -> HttpResponse:
        """The answer, if it says that it is of the version; ``ObjectNotFound`` before a byte of another is taken."""
        wanted = request.sink

        def begin(response: HttpResponse) -> Take | None:
            self._check(response)
            return wanted(response) if wanted is not None else None

        response = self._sender.send(request if wanted is None else replace(request, sink=begin))
        self._check(response)
        return response

    def _check(self, response: HttpResponse) -> None:
        # what had no versions yet when it was stored is "null", and of a bucket without any that is not said
        said = response.header("x-amz-version-id")
        if response.status in (200, 206) and self._version != (said or "null"):
            raise ObjectNotFound(f"no version {self._version!r}: the store sends {said or 'what is there now'!r}")


class BucketSender:
    """A ``Sender`` of requests whose URL is only a key (``/a/b.txt``) or a query (``?list-type=2``)."""

    def __init__(self, bucket: str, access: Access, transport: Transport) -> None:
        self._bucket = bucket
        self._access = access
        self._transport = transport
        self._signer = Signer()
        self._skew = 0.0  # seconds by which the store's clock is ahead of this machine's

    def send(self, request: HttpRequest) -> HttpResponse:
        """The answer, or the error that it stands for."""
        access = self._access
        for _ in range(_CORRECTIONS):
            place, keys = access.place, access.keys()
            response = self._transport.send(self._signed(request, place, keys))
            status = response.status
            if 200 <= status < 300 or status in _ANSWERS:
                if status == 416 and response.header("content-range") is None:
                    size = true_size(response.body) or self.send(HttpRequest("HEAD", request.url)).header(_LENGTH)
                    response.headers["content-range"] = f"bytes */{size}"  # which some stores leave out
                return response
            found = refusal(response.body)
            if status in (301, 307, 400, 403):
                region = response.header("x-amz-bucket-region") or found.region
                if region and access.moved(region, place):
                    continue
                if found.code == "RequestTimeTooSkewed" and self._is_set_right(response):
                    continue
                if found.code in ("ExpiredToken", "InvalidToken") and access.renew(keys):
                    continue
            break
        raise refused(response, self._bucket, access.described)

    def _signed(self, request: HttpRequest, place: Place, keys: Keys | None) -> HttpRequest:
        headers = request.headers
        if self._access.request_payer:
            headers = (*headers, ("x-amz-request-payer", "requester"))
        if keys is not None:
            path, _, query = request.url.partition("?")
            to_sign = [
                (name.lower(), value)
                for name, value in headers
                if name.lower() in _SIGNED or name.lower().startswith("x-amz-")
            ]
            path = place.path + path or "/"
            headers += self._signer.headers(
                request.method,
                place.host,
                path,
                query,
                to_sign,
                keys=keys,
                region=place.region,
                now=time.time() + self._skew,
            )
        url = place.base + (request.url if request.url[:1] == "/" or place.path else f"/{request.url}")
        return HttpRequest(
            request.method,
            url,
            headers,
            request.body,
            idle=request.idle,
            once=request.once,
            sink=request.sink,
        )

    def link(self, url: str, lifetime: int) -> str:
        """A URL by which anybody can read a key for so many seconds; without keys it is just where it is."""
        place, keys = self._access.place, self._access.keys()
        if keys is None:
            return place.base + url
        now = time.time() + self._skew
        query = self._signer.query(
            "GET", place.host, place.path + url, keys=keys, region=place.region, now=now, lifetime=lifetime
        )
        return f"{place.base}{url}?{query}"

    def _is_set_right(self, response: HttpResponse) -> bool:
        """The store says that the clock is wrong; whether it told the right time, and that was news."""
        there = seconds_of(response.header("date"))
        if there is None:
            return False
        before, self._skew = self._skew, there - time.time()
        return abs(self._skew - before) > _CLOSE

    def checked(self, response: HttpResponse) -> HttpResponse:
        """An answer that may begin with 200, take its time, and be an error in the end; raises that."""
        if refusal(response.body).code:
            raise refused(response, self._bucket, self._access.described)
        return response

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()
