"""Checksums that an S3 keeps of whole objects, where an ETag is no MD5: what is compared, and what is left alone."""

from __future__ import annotations

import base64
import hashlib
import sys
import types
import zlib
from collections.abc import Iterator
from typing import Any

import google_crc32c
import pytest

from cloudfiles_hypha import ArtifactFiles, IntegrityError, RetryPolicy
from cloudfiles_hypha.content import digests
from tests.support.object_server import Corrupt, ObjectServer

CONTENT = b"123456789" * 1000
QUICK = RetryPolicy(attempts=3, first=0.001, longest=0.01, elapsed=5)
OF_PARTS = f"{'0' * 32}-2"
_REVERSED = 0x9A6C9329AC4BC9B5


def crc64nvme(content: bytes) -> int:
    """As the CRC RevEng catalogue describes it."""
    found = 2**64 - 1
    for byte in content:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (_REVERSED if found & 1 else 0)
    return found ^ (2**64 - 1)


def b64(number: int, size: int) -> str:
    return base64.b64encode(number.to_bytes(size, "big")).decode()


SUMS = {
    "crc64nvme": b64(crc64nvme(CONTENT), 8),
    "crc32c": b64(google_crc32c.value(CONTENT), 4),
    "crc32": b64(zlib.crc32(CONTENT), 4),
    "sha256": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode(),
}


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library of one of them is none that the tests need: this stands for it."""
    made = types.ModuleType("awscrt.checksums")
    made.crc64nvme = crc64nvme  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "awscrt", types.ModuleType("awscrt"))
    monkeypatch.setitem(sys.modules, "awscrt.checksums", made)
    digests._library.cache_clear()
    yield
    digests._library.cache_clear()


@pytest.fixture
def cf(object_server: ObjectServer) -> Iterator[ArtifactFiles]:
    with ArtifactFiles(
        f"s3://{object_server.url}/bucket", secrets={"no_sign_request": True}, retry=QUICK, num_threads=0
    ) as cf:
        yield cf


def verified(cf: ArtifactFiles, server: ObjectServer, etag: str | None = OF_PARTS, **headers: str) -> str | None:
    named = {f"x-amz-{name.replace('_', '-')}": value for name, value in headers.items()}
    server.put("bucket/a", CONTENT, etag=etag, headers=named)
    (result,) = cf.get(["a"])
    assert result["content"] == CONTENT
    return result["verified"]


def test_the_check_value_of_the_catalogue() -> None:
    assert crc64nvme(b"123456789") == 0xAE8B14860A799888
    assert digests.checksum_of("crc64nvme", b"123456789") == b64(0xAE8B14860A799888, 8)


@pytest.mark.parametrize("kind", SUMS)
def test_a_checksum_of_the_whole_object_is_compared(cf: ArtifactFiles, object_server: ObjectServer, kind: str) -> None:
    headers = {f"checksum_{kind}": SUMS[kind], "checksum_type": "FULL_OBJECT"}
    assert verified(cf, object_server, **headers) == kind
    assert verified(cf, object_server, **{f"checksum_{kind}": SUMS[kind]}) == kind
    assert {seen.headers.get("x-amz-checksum-mode") for seen in object_server.requests} == {"ENABLED"}


@pytest.mark.parametrize("kind", SUMS)
def test_bytes_that_do_not_have_it_are_fetched_again(cf: ArtifactFiles, object_server: ObjectServer, kind: str) -> None:
    object_server.fault("bucket/a", Corrupt(offset=5))
    assert verified(cf, object_server, **{f"checksum_{kind}": SUMS[kind]}) == kind
    assert object_server.count("GET") == 2
    object_server.put("bucket/a", CONTENT, etag=OF_PARTS, headers={f"x-amz-checksum-{kind}": "AAAA"})
    with pytest.raises(IntegrityError, match=kind.upper()):
        cf.get("a")


def test_an_md5_is_preferred(cf: ArtifactFiles, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "checksum_of", None)
    assert verified(cf, object_server, None, checksum_crc32=SUMS["crc32"]) == "md5"


def test_an_object_under_a_key_of_kms_is_compared(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    kms = {"server_side_encryption": "aws:kms", "checksum_crc32c": SUMS["crc32c"]}
    assert verified(cf, object_server, "0" * 32, **kms) == "crc32c"


def test_checksums_of_parts_are_not_taken_for_that_of_the_whole(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    for headers in (
        {"checksum_crc32": f"{SUMS['crc32']}-2"},
        {"checksum_crc32": "AAAA", "checksum_type": "COMPOSITE"},
        {"checksum_sha1": "AAAA"},
        {},
    ):
        assert verified(cf, object_server, **headers) == "length"


def test_without_the_library_another_is_compared_or_none(
    cf: ArtifactFiles, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "awscrt.checksums", None)
    digests._library.cache_clear()
    assert verified(cf, object_server, checksum_crc64nvme=SUMS["crc64nvme"]) == "length"
    both = {"checksum_crc64nvme": SUMS["crc64nvme"], "checksum_crc32": SUMS["crc32"]}
    assert verified(cf, object_server, **both) == "crc32"


def test_ranges_are_not_compared_with_the_checksum_of_the_whole(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    object_server.put("bucket/a", CONTENT, etag=OF_PARTS, headers={"x-amz-checksum-crc32": SUMS["crc32"]})
    wanted: dict[str, Any] = {"path": "a", "start": 2, "end": 5}
    assert cf.get(wanted) == CONTENT[2:5]
    assert "x-amz-checksum-mode" not in object_server.requests[-1].headers
