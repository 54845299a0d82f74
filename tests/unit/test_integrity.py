"""What an ETag says about an object's bytes, and what it does not."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import IO

import pytest

from cloudfiles_hypha import IntegrityError
from cloudfiles_hypha.integrity import check_md5, content_md5, etag_of, md5_in, md5_of
from cloudfiles_hypha.transports import HttpResponse

CONTENT = bytes(range(256)) * 10_000  # more than one block
MD5 = hashlib.md5(CONTENT).hexdigest()


class Stored:
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
