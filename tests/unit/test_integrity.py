"""What an ETag says about an object's bytes, and what it does not."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import threading
from collections.abc import Iterator
from typing import IO

import pytest

from cloudfiles_hypha import IntegrityError
from cloudfiles_hypha.content.digests import (
    EtagCheck,
    check_md5,
    content_md5,
    digest_in,
    etag_of,
    etag_of_parts,
    file_etags,
    is_strong,
    matches,
    md5_in,
    md5_of,
    md5_told,
)
from cloudfiles_hypha.models import Body, ObjectInfo
from cloudfiles_hypha.plan.parts import MIB
from cloudfiles_hypha.plan.ranges import Spans
from cloudfiles_hypha.transports import HttpResponse

CONTENT = bytes(range(256)) * 10_000  # more than one block
MD5 = hashlib.md5(CONTENT).hexdigest()


class Stored(Body):
    """A body that is not in memory, and goes on behind its announced end."""

    def __init__(self, content: bytes, behind: bytes = b"") -> None:
        self.size = len(content)
        self._content = content + behind
        self.opened = 0

    def open(self) -> IO[bytes]:
        self.opened += 1
        return io.BytesIO(self._content)


def answer(**headers: str) -> HttpResponse:
    lines = [f"{name.replace('_', '-')}: {value}\r\n".encode() for name, value in headers.items()]
    return HttpResponse(200, b"", [b"HTTP/1.1 200 OK\r\n", *lines, b"\r\n"])


@pytest.mark.parametrize(
    "body", [CONTENT, memoryview(CONTENT), Stored(CONTENT), Stored(CONTENT, b"grown")], ids=lambda b: type(b).__name__
)
def test_the_digest_of_a_body_is_of_its_announced_bytes(body: bytes | memoryview | Stored) -> None:
    assert md5_of(body).hexdigest() == MD5


def test_content_md5_is_the_base64_of_the_digest() -> None:
    assert content_md5(md5_of(b"")) == "1B2M2Y8AsgTpgAmY7PhCfg=="
    assert base64.b64decode(content_md5(md5_of(CONTENT))).hex() == MD5


@pytest.mark.parametrize(
    ("header", "etag"), [('"abc"', "abc"), ('W/"abc"', "abc"), ("abc", "abc"), ('"a-2"', "a-2"), ('""', "")]
)
def test_an_etag_is_given_without_its_quotes(header: str, etag: str) -> None:
    assert etag_of(answer(ETag=header)) == etag
    assert is_strong(etag_of(answer(ETag=header))) == (not header.startswith("W/"))


def test_no_etag_is_none() -> None:
    assert etag_of(answer()) is None
    assert md5_in(answer()) is None


def test_a_plain_etag_is_the_md5() -> None:
    assert md5_in(answer(ETag=f'"{MD5}"')) == MD5
    assert md5_in(answer(etag=f'"{MD5.upper()}"')) == MD5
    assert md5_in(answer(ETag=f'"{MD5}"', x_amz_server_side_encryption="AES256")) == MD5


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": f'"{MD5}-2"'},
        {"ETag": f'W/"{MD5}"'},
        {"ETag": f'"{MD5[:-1]}"'},
        {"ETag": '"' + "z" * 32 + '"'},
        {"ETag": '"5f3e-1a2b"'},
        {"ETag": f'"{MD5}"', "x_amz_server_side_encryption": "aws:kms"},
        {"ETag": f'"{MD5}"', "X_Amz_Server_Side_Encryption": "aws:kms:dsse"},
        {"ETag": f'"{MD5}"', "x_amz_server_side_encryption_customer_algorithm": "AES256"},
    ],
)
def test_an_etag_that_is_no_md5_is_not_taken_for_one(headers: dict[str, str]) -> None:
    assert md5_in(answer(**headers)) is None


def test_what_was_compared_is_said() -> None:
    assert check_md5(CONTENT, MD5) == "md5"
    assert check_md5(CONTENT, None) == "length"


def test_other_bytes_are_an_error_that_may_pass() -> None:
    with pytest.raises(IntegrityError) as caught:
        check_md5(CONTENT[:-1], MD5)
    assert caught.value.retryable
    assert MD5 in str(caught.value)


# --- Compared while it arrives ----------------------------------------------------------------------------------------

BIG = random.Random(1).randbytes(3 * MIB + 5)


def read(start: int, end: int) -> Iterator[bytes]:
    return iter([BIG[start:end]])


def parts_etag(size: int) -> str:
    return etag_of_parts([hashlib.md5(BIG[at : at + size]).hexdigest() for at in range(0, len(BIG), size)])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"etag": f'"{MD5}"'}, (MD5, 0)),
        ({"etag": f'"{MD5.upper()}"'}, (MD5, 0)),
        ({"etag": f'"{MD5}-12"'}, (MD5, 12)),
        ({"etag": f'W/"{MD5}"'}, (None, 0)),
        ({"etag": f'"{MD5}-x"'}, (None, 0)),
        ({"etag": '"69ae4ba3-1000"'}, (None, 0)),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption": "aws:kms"}, (None, 0)),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption": "AES256"}, (MD5, 0)),
        ({"etag": f'"{MD5}"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}, (None, 0)),
        ({}, (None, 0)),
    ],
)
def test_an_etag_is_a_digest_of_the_whole_of_parts_or_none(
    headers: dict[str, str], expected: tuple[str | None, int]
) -> None:
    assert digest_in(headers.get) == expected


@pytest.mark.parametrize(
    ("etag", "headers", "expected"),
    [
        (MD5, {}, MD5),  # as a listing tells it
        (MD5, {"etag": f'"{MD5}"'}, MD5),
        (MD5, {"etag": f'"{MD5}"', "x-amz-server-side-encryption": "aws:kms"}, None),
        (MD5, {"etag": f'W/"{MD5}"'}, None),
        (f"{MD5}-2", {}, None),
        (None, {}, None),
    ],
)
def test_the_md5_that_is_told_of_an_object_is_that_of_its_bytes_or_none(
    etag: str | None, headers: dict[str, str], expected: str | None
) -> None:
    assert md5_told(ObjectInfo("a", 1, etag, headers=headers)) == expected


def arrive(check: EtagCheck, *, workers: int = 4, seed: int = 1) -> None:
    """Let the bytes arrive in pieces, in random order, while several threads digest what is there."""
    step = 100_000
    pieces = list(range(0, len(BIG), step))
    random.Random(seed).shuffle(pieces)
    spans, lock = Spans(), threading.Lock()

    def reach(start: int) -> int:
        with lock:
            return spans.reach(start)

    def work() -> None:
        while True:
            with lock:
                if not pieces:
                    break
                start = pieces.pop()
                spans.add(start, min(len(BIG), start + step))
            while check.advance(reach, read):
                continue

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while check.advance(reach, read):
        continue


def test_bytes_in_any_order_are_compared_with_an_md5() -> None:
    check = EtagCheck(hashlib.md5(BIG).hexdigest(), 0, len(BIG))
    arrive(check)
    assert check.verdict(read) == "md5"
    wrong = EtagCheck(MD5, 0, len(BIG))
    arrive(wrong)
    with pytest.raises(IntegrityError, match=MD5):
        wrong.verdict(read)


@pytest.mark.parametrize("given", [MIB, None])
def test_bytes_in_any_order_are_compared_with_the_digests_of_parts(given: int | None) -> None:
    digest, count = digest_in({"etag": parts_etag(MIB)}.get)
    check = EtagCheck(digest, count, len(BIG), given)
    arrive(check)
    assert check.verdict(read) == "etag-parts"


def test_a_wrong_digest_of_parts_is_an_error_only_if_their_size_is_known() -> None:
    sure = EtagCheck(MD5, 4, len(BIG), MIB)
    arrive(sure)
    with pytest.raises(IntegrityError):
        sure.verdict(read)
    inferred = EtagCheck(MD5, 4, len(BIG))
    arrive(inferred)
    assert inferred.verdict(read) == "length"
    assert inferred.doubtful == parts_etag(MIB).partition("-")[0]


def test_of_several_likely_sizes_each_is_tried_and_none_is_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [900_000, MIB, 1_000_000]
    monkeypatch.setattr("cloudfiles_hypha.content.digests.likely_part_sizes", lambda size, count: sizes)
    digest, count = digest_in({"etag": parts_etag(1_000_000)}.get)
    check = EtagCheck(digest, count, len(BIG))
    arrive(check)
    assert check.verdict(read) == "etag-parts"
    wrong = EtagCheck(MD5, 4, len(BIG))
    arrive(wrong)
    assert (wrong.verdict(read), wrong.doubtful) == ("length", None)


def test_where_there_is_no_digest_only_the_length_is_known() -> None:
    for check in (EtagCheck(None, 0, len(BIG)), EtagCheck(MD5, 3, len(BIG), 7)):
        arrive(check)
        assert (check.verdict(read), check.doubtful) == ("length", None)


def test_a_files_etags_are_those_that_an_s3_would_give_it() -> None:
    assert file_etags(len(BIG), read, MIB) == (hashlib.md5(BIG).hexdigest(), parts_etag(MIB))
    assert file_etags(0, read, MIB) == (hashlib.md5().hexdigest(),)
    whole, (digest, count) = hashlib.md5(BIG).hexdigest(), digest_in({"etag": parts_etag(MIB)}.get)
    assert digest is not None
    assert matches(whole, 0, len(BIG), read) is True
    assert matches(MD5, 0, len(BIG), read) is False
    assert matches(digest, count, len(BIG), read) is True
    assert matches(MD5, count, len(BIG), read) is None
