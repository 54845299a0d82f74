"""Digests and what an ETag says; compares, and says what was compared. No I/O."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from .errors import IntegrityError
from .models import Body
from .transports import HttpResponse

_HEX: Final = frozenset("0123456789abcdef")
_BLOCK = 1024 * 1024


def md5_of(body: bytes | memoryview | Body) -> hashlib._Hash:
    """The MD5 of a body, read in blocks where it is not in memory."""
    digest = hashlib.md5(usedforsecurity=False)
    if isinstance(body, Body):
        with body.open() as reader:
            left = body.size
            while left and (block := reader.read(min(_BLOCK, left))):
                digest.update(block)
                left -= len(block)
    else:
        digest.update(body)
    return digest


def content_md5(digest: hashlib._Hash) -> str:
    """The value of a ``Content-MD5`` header (RFC 1864)."""
    return base64.b64encode(digest.digest()).decode("ascii")


def etag_of(response: HttpResponse) -> str | None:
    """The ETag without its quotes and without the mark of a weak one."""
    etag = response.header("etag")
    return etag.removeprefix("W/").strip('"') if etag else None


def md5_in(response: HttpResponse) -> str | None:
    """The object's MD5 in hex if an S3's answer gives it away, else None.

    An S3 ETag is the MD5 of the object unless the object was uploaded in parts (then it ends in ``-N``) or is
    encrypted with a key of KMS's or the customer's.
    """
    etag = response.header("etag") or ""
    if (
        etag.startswith("W/")
        or "kms" in (response.header("x-amz-server-side-encryption") or "")
        or response.header("x-amz-server-side-encryption-customer-algorithm") is not None
    ):
        return None
    etag = etag.strip('"').lower()
    return etag if len(etag) == 32 and _HEX.issuperset(etag) else None


def check_md5(content: bytes, expected: str | None) -> str:
    """Compare content with its MD5 if that is known; says what was verified. Raises ``IntegrityError``."""
    if expected is None:
        return "length"
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != expected:
        raise IntegrityError(f"the bytes that arrived have MD5 {actual}, the object has {expected}")
    return "md5"
