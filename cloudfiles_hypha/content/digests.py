"""Digests and what an ETag says; compares, and says what was compared. No I/O."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib import import_module
from threading import Lock
from typing import Final, Protocol

from ..errors import IntegrityError
from ..models import Body, ObjectInfo
from ..plan.parts import MIB, likely_part_sizes, part_count

_HEX: Final = frozenset("0123456789abcdef")
_BLOCK = 1024 * 1024
_STEP = 16 * 1024 * 1024  # bytes of a whole object to digest in one go


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


class Answer(Protocol):
    """An answer of HTTP, as far as it matters here."""

    def header(self, name: str, /) -> str | None:
        """One header by its lower-case name."""


class WeakEtag(str):
    """An ETag that was marked as weak: of objects that have the same one, the bytes may differ (RFC 9110, 8.8.1)."""

    __slots__ = ()


def etag_of(response: Answer) -> str | None:
    """The ETag without its quotes and without the mark of a weak one, which is a ``WeakEtag``."""
    etag = response.header("etag")
    if not etag:
        return None
    return WeakEtag(etag[2:].strip('"')) if etag.startswith("W/") else etag.strip('"')


def is_strong(etag: str | None) -> bool:
    """Whether what has the same ETag has the same bytes."""
    return etag is not None and not isinstance(etag, WeakEtag)


def md5_in(response: Answer) -> str | None:
    """The object's MD5 in hex if an S3's answer gives it away, else None."""
    digest, parts = digest_in(response.header)
    return digest if not parts else None


def digest_in(header: Callable[[str], str | None]) -> tuple[str | None, int]:
    """The digest in an S3's ETag, and of how many parts it is: 0 for the MD5 of the whole; (None, 0) if it is none.

    An S3 ETag is the MD5 of the object, or, if that was uploaded in N parts, the MD5 of their MD5s and ``-N``; unless
    the object is encrypted with a key of KMS's or the customer's ("Checking object integrity" in Amazon's User Guide).
    """
    etag = header("etag") or ""
    if (
        etag.startswith("W/")
        or "kms" in (header("x-amz-server-side-encryption") or "")
        or header("x-amz-server-side-encryption-customer-algorithm") is not None
    ):
        return None, 0
    digest, dash, parts = etag.strip('"').lower().partition("-")
    if len(digest) != 32 or not _HEX.issuperset(digest) or (dash and not parts.isdigit()):
        return None, 0
    return digest, int(parts or 0)


Blocks = Callable[[int, int], Iterable[bytes]]
"""Gives the bytes ``[start, end)`` of a file, block by block."""


def md5_told(info: ObjectInfo) -> str | None:
    """The MD5 of what is stored, in hex, if a head or a listing of an S3 gives it away, else None."""
    digest, parts = digest_in(lambda name: info.headers.get(name) or (info.etag if name == "etag" else None))
    return digest if not parts else None


class EtagCheck:
    """Compares a file with its ETag while its bytes arrive, in whatever order and by several threads.

    ``digest`` and ``parts`` are what ``digest_in`` says. Where the size of the parts is not given it is inferred, and a
    mismatch may mean no more than that the parts were of another size: ``verdict`` then says "length" and not
    ``IntegrityError``. ``doubtful`` is what was found instead, if only one size was likely: the same bytes fetched once
    more would tell which it is.
    """

    def __init__(self, digest: str | None, parts: int, size: int, part_size: int | None = None) -> None:
        self._digest = digest
        self._count = parts
        self._size = size
        self._sizes = [] if digest is None else [size] if not parts else _sizes(size, parts, part_size)
        self._sure = not parts or part_size is not None
        self.doubtful: str | None = None
        self._running = hashlib.md5(usedforsecurity=False)  # of the whole, up to ``_at``
        self._at = 0
        self._busy = False
        self._found: dict[int, bytes] = {}  # the parts' digests, by number
        self._todo = list(range(parts)) if self._sizes and parts else []
        self._lock = Lock()  # guards all of the above; never held while anything is read

    def advance(self, reach: Callable[[int], int], read: Blocks) -> bool:
        """Digest some of what has arrived and not been digested; False if there is nothing to be done now.

        ``reach(start)`` is how far the bytes from ``start`` on have arrived.
        """
        if not self._sizes:
            return False
        return self._next_part(reach, read) if self._count else self._on(reach, read)

    def _on(self, reach: Callable[[int], int], read: Blocks) -> bool:
        with self._lock:
            start, end = self._at, min(reach(self._at), self._at + _STEP)
            if self._busy or start >= end:
                return False
            self._busy = True
        for block in read(start, end):
            self._running.update(block)
        with self._lock:
            self._at, self._busy = end, False
        return True

    def _next_part(self, reach: Callable[[int], int], read: Blocks) -> bool:
        size = self._sizes[0]
        with self._lock:
            for place, number in enumerate(self._todo):
                start, end = number * size, min(self._size, (number + 1) * size)
                if reach(start) >= end:
                    del self._todo[place]
                    break
            else:
                return False
        digest = _digest(read(start, end))
        with self._lock:
            self._found[number] = digest
        return True

    def verdict(self, read: Blocks) -> str:
        """What was verified of the file, now that it is complete and ``advance`` has nothing left to do.

        "md5", "etag-parts", or "length" where the ETag says nothing. Raises ``IntegrityError``.
        """
        if not self._sizes:
            return "length"
        if not self._count:
            if self._running.hexdigest() != self._digest:
                raise IntegrityError(
                    f"the bytes that arrived have MD5 {self._running.hexdigest()}, the object has {self._digest}"
                )
            return "md5"
        found = _of_parts(self._found[number] for number in range(self._count))
        if found == self._digest:
            return "etag-parts"
        for size in self._sizes[1:]:
            parts = ((start, min(self._size, start + size)) for start in range(0, self._size, size))
            if _of_parts(_digest(read(start, end)) for start, end in parts) == self._digest:
                return "etag-parts"
        if self._sure:
            raise IntegrityError(f"the parts that arrived do not have the ETag {self._digest}-{self._count}")
        if len(self._sizes) == 1 and self._sizes[0] % MIB == 0:
            self.doubtful = found
        return "length"


def file_etags(size: int, read: Blocks, part_size: int) -> tuple[str, ...]:
    """The ETags that a file would have in an S3: uploaded at once, and in parts of ``part_size``."""
    whole = hashlib.md5(usedforsecurity=False)
    parts: list[bytes] = []
    for start in range(0, size, part_size):
        part = hashlib.md5(usedforsecurity=False)
        for block in read(start, min(size, start + part_size)):
            whole.update(block)
            part.update(block)
        parts.append(part.digest())
    return (whole.hexdigest(), f"{_of_parts(parts)}-{len(parts)}") if parts else (whole.hexdigest(),)


def matches(digest: str, parts: int, size: int, read: Blocks) -> bool | None:
    """Whether a file has the digest that ``digest_in`` found; None if the size of its parts cannot be inferred."""
    if not parts:
        return _digest(read(0, size)).hex() == digest
    check = EtagCheck(digest, parts, size)
    while check.advance(lambda start: size, read):
        continue
    return check.verdict(read) == "etag-parts" or None


def _sizes(size: int, parts: int, part_size: int | None) -> list[int]:
    if part_size is None:
        return likely_part_sizes(size, parts)
    return [part_size] if part_count(size, part_size) == parts else []


def _digest(blocks: Iterable[bytes]) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for block in blocks:
        digest.update(block)
    return digest.digest()


def etag_of_parts(digests: Sequence[str]) -> str:
    """The ETag of an object that was uploaded in parts with these MD5s (hex)."""
    return f"{_of_parts(map(bytes.fromhex, digests))}-{len(digests)}"


def _of_parts(digests: Iterable[bytes]) -> str:
    return _digest(digests).hex()


# By the name of the header (``x-amz-checksum-...``): where there is a function that makes it, and its bytes; the
# fastest first. What is not of the standard library is used if it is there.
_CHECKSUMS: Final = {
    "crc64nvme": ("awscrt.checksums", "crc64nvme", 8),
    "crc32c": ("google_crc32c", "value", 4),
    "crc32": ("zlib", "crc32", 4),
}


@lru_cache(maxsize=8)
def _library(module: str, name: str) -> Callable[[bytes], int] | None:
    try:
        found: Callable[[bytes], int] = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return None
    return found


def checksum_of(kind: str, content: bytes) -> str | None:
    """A checksum of S3's in base64; None where the library that makes it is missing, or the kind is not known."""
    if kind == "sha256":
        return base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")
    module, name, size = _CHECKSUMS.get(kind, ("", "", 0))
    function = _library(module, name) if module else None
    return None if function is None else base64.b64encode(function(content).to_bytes(size, "big")).decode("ascii")


def check_whole(content: bytes, header: Callable[[str], str | None]) -> str:
    """Compare a whole object with the MD5 that an S3's answer gives away, or else with another checksum in it; says
    what was compared. Raises ``IntegrityError``."""
    digest, parts = digest_in(header)
    if digest is not None and not parts:
        return check_md5(content, digest)
    if header("x-amz-checksum-type") == "COMPOSITE":  # of the checksums of the parts
        return "length"
    for kind in (*_CHECKSUMS, "sha256"):
        expected = header(f"x-amz-checksum-{kind}")
        if expected is None or "-" in expected:  # as in the type above, which older answers do not have
            continue
        actual = checksum_of(kind, content)
        if actual is not None:
            check_checksum(kind, actual, expected)
            return kind
    return "length"


def check_checksum(kind: str, actual: str, expected: str) -> None:
    """Raise ``IntegrityError`` unless they are the same."""
    if actual != expected:
        raise IntegrityError(f"the bytes that arrived have the {kind.upper()} {actual}, the object has {expected[:50]}")


def check_md5(content: bytes, expected: str | None) -> str:
    """Compare content with its MD5 if that is known; says what was verified. Raises ``IntegrityError``."""
    if expected is None:
        return "length"
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != expected:
        raise IntegrityError(f"the bytes that arrived have MD5 {actual}, the object has {expected}")
    return "md5"
