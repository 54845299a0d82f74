"""Amazon's Signature Version 4, as headers or as a query. No I/O, no clock: who calls says what time it is.

See "Authenticating Requests (AWS Signature Version 4)" in Amazon's S3 API Reference; its examples are the tests.
Bodies are not part of the signature (``UNSIGNED-PAYLOAD``): they go with a Content-MD5, which is.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Keys:
    """What requests are signed with."""

    access: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def canonical_query(values: Mapping[str, str]) -> str:
    """A query string in the one form that is signed: sorted, everything quoted that may be."""
    return "&".join(f"{name}={value}" for name, value in sorted((_quoted(k), _quoted(v)) for k, v in values.items()))


def _quoted(text: str) -> str:
    return quote(text, safe="~")


class Signer:
    """Signs requests; keeps the key that it derives from a secret for a day. Safe to share between threads."""

    def __init__(self) -> None:
        self._derived: tuple[tuple[str, str, str], bytes] = (("", "", ""), b"")  # replaced as a whole
        self._stamp = (-1, "")  # likewise

    def headers(
        self,
        method: str,
        host: str,
        path: str,
        query: str,
        headers: Iterable[tuple[str, str]],
        *,
        keys: Keys,
        region: str,
        now: float,
        payload: str = UNSIGNED,
    ) -> tuple[tuple[str, str], ...]:
        """What has to be sent besides ``headers`` (names in lower case), which are signed too.

        ``path`` is quoted, ``query`` is a ``canonical_query``.
        """
        stamp = self._stamp_of(now)
        date = stamp[:8]
        added = [("x-amz-content-sha256", payload), ("x-amz-date", stamp)]
        if keys.token:
            added.append(("x-amz-security-token", keys.token))
        signed = sorted([("host", host), *headers, *added])
        names = ";".join(name for name, _ in signed)
        lines = "".join(f"{name}:{value.strip()}\n" for name, value in signed)
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"
        scope = f"{date}/{region}/s3/aws4_request"
        signature = self._signature(request, stamp, scope, keys.secret, region)
        added.append(
            (
                "authorization",
                f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope},SignedHeaders={names},Signature={signature}",
            )
        )
        return tuple(added)

    def query(self, method: str, host: str, path: str, *, keys: Keys, region: str, now: float, lifetime: int) -> str:
        """The query of a URL with which anybody can make this request, for ``lifetime`` seconds (at most 7 days)."""
        stamp = self._stamp_of(now)
        scope = f"{stamp[:8]}/{region}/s3/aws4_request"
        values = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{keys.access}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(lifetime),
            "X-Amz-SignedHeaders": "host",
            **({"X-Amz-Security-Token": keys.token} if keys.token else {}),
        }
        query = canonical_query(values)
        request = f"{method}\n{path}\n{query}\nhost:{host}\n\nhost\n{UNSIGNED}"
        return f"{query}&X-Amz-Signature={self._signature(request, stamp, scope, keys.secret, region)}"

    def _stamp_of(self, now: float) -> str:
        second = int(now)
        stamped = self._stamp
        if stamped[0] != second:
            stamped = self._stamp = (second, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second)))
        return stamped[1]

    def _signature(self, request: str, stamp: str, scope: str, secret: str, region: str) -> str:
        digest = hashlib.sha256(request.encode("ascii")).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        return hmac.digest(self._key(secret, stamp[:8], region), text.encode("ascii"), "sha256").hex()

    def _key(self, secret: str, date: str, region: str) -> bytes:
        of, key = self._derived
        if of != (secret, date, region):
            key = f"AWS4{secret}".encode()
            for part in (date, region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode("ascii"), "sha256")
            self._derived = ((secret, date, region), key)
        return key
