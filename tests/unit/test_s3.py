"""``s3://`` without a server, or with a scripted one: signatures, addresses, keys, what answers mean."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    BucketNotFound,
    IntegrityError,
    ObjectNotFound,
    RetryPolicy,
    ServerError,
    TooManyRequests,
    TransferError,
    TransferTimeout,
)
from cloudfiles_hypha.backends.s3 import replies
from cloudfiles_hypha.backends.s3.access import Access
from cloudfiles_hypha.backends.s3.sending import BucketSender
from cloudfiles_hypha.backends.s3.signing import Keys, Signer, canonical_query
from cloudfiles_hypha.content.digests import etag_of_parts
from cloudfiles_hypha.transports import HttpRequest, HttpResponse
from tests.support.object_server import Drop, ObjectServer, Status

GIVEN = {"AWS_ACCESS_KEY_ID": "AKIAGIVEN", "AWS_SECRET_ACCESS_KEY": "given-5ec2e7"}
QUICK = RetryPolicy(attempts=2, first=0.001, longest=0.01, elapsed=5)

# -- signatures: the examples of Amazon's S3 API Reference, "Examples: Signature Calculations"

EXAMPLE = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HOST = "examplebucket.s3.amazonaws.com"
MAY_24 = 1369353600.0  # 2013-05-24T00:00:00Z


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload", "signature"),
    [
        (
            "GET",
            "/test.txt",
            "",
            [("range", "bytes=0-9")],
            EMPTY,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            "",
            [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        ("GET", "/", "lifecycle=", [], EMPTY, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "GET",
            "/",
            canonical_query({"prefix": "J", "max-keys": "2"}),
            [],
            EMPTY,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_amazons_own_examples_are_signed_as_amazon_does(
    method: str, path: str, query: str, headers: list[tuple[str, str]], payload: str, signature: str
) -> None:
    added = dict(
        Signer().headers(
            method, HOST, path, query, headers, keys=EXAMPLE, region="us-east-1", now=MAY_24, payload=payload
        )
    )
    assert added["x-amz-date"] == "20130524T000000Z"
    assert added["authorization"].endswith(f",Signature={signature}")


def test_amazons_own_example_of_a_signed_url_is_signed_as_amazon_does() -> None:
    query = Signer().query("GET", HOST, "/test.txt", keys=EXAMPLE, region="us-east-1", now=MAY_24, lifetime=86_400)
    assert query.endswith("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


def test_any_request_is_signed_as_botocore_does() -> None:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    from cloudfiles_hypha.paths import quote_path

    chance = random.Random(7)
    signer = Signer()
    for _ in range(50):
        key = "".join(chance.choices("aZ9-._~/ +%&=?#é日🦆'()*!@:", k=20)).strip("/") or "a"
        query = canonical_query({"uploadId": "".join(chance.choices("aZ9~+/= é", k=9)), "partNumber": "7"})
        path = f"/bucket/{quote_path(key)}"
        request = AWSRequest("PUT", f"http://host:8333{path}?{query}", headers={"Content-MD5": "abc=="})
        request.context["client_config"] = None
        keys = Keys("AKID", f"secret{chance.random()}", chance.choice([None, "token/+="]))
        auth = S3SigV4Auth(Credentials(keys.access, keys.secret, keys.token), "s3", "eu-west-3")
        auth.payload = lambda request: "UNSIGNED-PAYLOAD"  # type: ignore[method-assign]
        auth.add_auth(request)
        from calendar import timegm
        from time import strptime

        now = float(timegm(strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")))
        added = dict(
            signer.headers(
                "PUT",
                "host:8333",
                path,
                query,
                [("content-md5", "abc==")],
                keys=keys,
                region="eu-west-3",
                now=now,
            )
        )
        assert added["authorization"].rpartition("=")[2] == request.headers["Authorization"].rpartition("=")[2]


def test_the_key_of_a_day_is_not_used_on_the_next_nor_for_another_secret_or_region() -> None:
    signer, seen = Signer(), set()
    for secret in ("a", "b"):
        for region in ("x", "y"):
            for now in (0.0, 86_400.0):
                for fresh in (signer, Signer()):
                    added = fresh.headers("GET", "h", "/", "", [], keys=Keys("k", secret), region=region, now=now)
                    seen.add(added[-1])
    assert len(seen) == 8


# -- addresses


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


@pytest.mark.parametrize(
    ("bucket", "endpoint", "secrets", "base", "path"),
    [
        ("b", None, {}, "https://b.s3.us-east-1.amazonaws.com", ""),
        ("b", None, {"region": "eu-west-3"}, "https://b.s3.eu-west-3.amazonaws.com", ""),
        ("b", None, {"region": "cn-north-1"}, "https://b.s3.cn-north-1.amazonaws.com.cn", ""),
        ("b.c", None, {}, "https://s3.us-east-1.amazonaws.com/b.c", "/b.c"),
        ("Old_Name", None, {}, "https://s3.us-east-1.amazonaws.com/Old_Name", "/Old_Name"),
        ("b", None, {"addressing_style": "path"}, "https://s3.us-east-1.amazonaws.com/b", "/b"),
        ("b", "http://host:9000", {}, "http://host:9000/b", "/b"),
        ("b", "http://host:80", {}, "http://host/b", "/b"),
        ("b", "https://host:443", {}, "https://host/b", "/b"),
        ("b", "https://host", {"addressing_style": "virtual"}, "https://b.host", ""),
    ],
)
def test_where_a_bucket_is(
    home: Path, bucket: str, endpoint: str | None, secrets: dict[str, str], base: str, path: str
) -> None:
    for given in (secrets, {**secrets, **GIVEN}):  # found by botocore, and without it
        place = Access(bucket, endpoint, given).place
        assert (place.base, place.path) == (base, path)
        assert place.host in base


def test_endpoint_and_region_come_from_the_environment_and_the_profile(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile mine]\nregion = eu-west-2\nendpoint_url = https://mine:9\n"
        "s3 =\n  addressing_style = virtual\n"
    )
    assert Access("b", None, None).place.base == "https://b.s3.eu-west-1.amazonaws.com"
    assert Access("b", None, {"profile": "mine"}).place.base == "https://b.mine:9"
    with pytest.raises(ValueError, match="missing"):
        Access("b", None, {"profile": "missing"})
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert Access("b", None, None).place.region == "eu-west-2"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("AWS_REGION", "us-west-1")
    assert Access("b", None, None).place.region == "us-west-1"
    assert Access("b", None, {**GIVEN, "region": "ap-south-1"}).place.region == "ap-south-1"
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://any:1/")
    for given in (None, GIVEN):
        place = Access("b", None, given).place
        assert place.region == "us-west-2"
        assert "any:1" in place.base
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3only:2")
    for given in (None, GIVEN):
        assert "s3only:2" in Access("b", None, given).place.base
        assert "named:3" in Access("b", "https://named:3", given).place.base
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    for given in (None, GIVEN):
        assert "amazonaws" in Access("b", None, given).place.base


# -- keys


def test_keys_are_found_in_the_order_that_is_promised(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(secrets: Any = None) -> str | None:
        access = Access("bucket", "http://host", secrets)
        keys = access.keys()
        assert "5ec2e7" not in repr(keys) + repr(access) + access.described
        return keys.access if keys is not None else None

    def write(path: Path, name: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "5ec2e7"}))

    assert found() is None
    (home / "credentials").write_text(
        "[default]\naws_access_key_id = SHARED\naws_secret_access_key = 5ec2e7\n"
        "[other]\naws_access_key_id = OTHER\naws_secret_access_key = 5ec2e7\n"
    )
    assert found() == "SHARED"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "5ec2e7")
    assert found() == "ENV"
    write(home / ".cloudvolume/secrets/aws-secret.json", "VOLUME")
    assert found() == "VOLUME"
    write(home / ".cloudfiles/secrets/aws-secret.json", "FILES")
    assert found() == "FILES"
    write(home / ".cloudvolume/secrets/bucket-aws-secret.json", "BUCKET")
    write(home / ".cloudfiles/secrets/elsewhere-aws-secret.json", "ELSEWHERE")
    assert found() == "BUCKET"
    write(home / "a file.json", "FILE")
    assert found(home / "a file.json") == found(str(home / "a file.json")) == "FILE"
    assert found(GIVEN) == "AKIAGIVEN"
    assert found({"profile": "other"}) == "OTHER"
    assert found({"no_sign_request": True}) is None
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    assert found() is None
    assert found(GIVEN) == "AKIAGIVEN"


@pytest.mark.parametrize(
    ("secrets", "says"),
    [
        ({"AWS_ACCESS_KEY_ID": "a"}, "needed together"),
        ({"AWS_SECRET_ACCESS_KEY": "5ec2e7"}, "needed together"),
        ({**GIVEN, "AWS_SESSION_TOKEN": "5ec2e7\n5ec2e7"}, "not a text"),
        ({**GIVEN, "AWS_SECRET_ACCESS_KEY": "5ec2e7 5ec2e7"}, "white space"),
        ({**GIVEN, "AWS_SECRET_ACCESS_KEY": 7}, "not a text"),
        ({"token": "5ec2e7"}, "there is no 'token'"),
        ({"no_sign_request": 7}, "neither true nor false"),
        ({"addressing_style": "odd"}, "choose one of"),
        ("/nowhere/5ec2e7.json", "cannot be read"),
    ],
)
def test_secrets_that_make_no_sense_are_refused_and_not_shown(home: Path, secrets: Any, says: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=says) as caught:
        Access("bucket", "http://host", secrets)
    assert "5ec2e7" not in str(caught.value)


@pytest.fixture
def process(home: Path) -> Path:
    """Keys that a program gives out, AKIA1 first, then AKIA2, ...; from AKIA3 on they last."""
    script = home / "keys.py"
    script.write_text(
        "import datetime, json, pathlib, sys\n"
        "count = pathlib.Path(sys.argv[1])\n"
        "n = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(n))\n"
        "if n < 0: sys.exit('5ec2e7')\n"
        "end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=12 if n < 3 else 600)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'AKIA{n}', 'SecretAccessKey': '5ec2e7',\n"
        "                  'SessionToken': 't', 'Expiration': end.isoformat()}))\n"
    )
    (home / "config").write_text(f"[default]\ncredential_process = {sys.executable} {script} {home / 'count'}\n")
    return home / "count"


def test_keys_that_are_refreshed_meanwhile_are_used_from_then_on(process: Path) -> None:
    access = Access("bucket", "http://host", None)
    seen = [keys.access for _ in range(6) if (keys := access.keys()) is not None]
    assert seen == sorted(seen)
    assert seen[-2:] == ["AKIA3", "AKIA3"]
    assert "custom-process" in access.described


def test_keys_that_cannot_be_had_are_an_error_and_not_unsigned_requests(process: Path) -> None:
    process.write_text("-9")
    with pytest.raises(AccessDenied, match="could not be|could be had"):
        Access("bucket", "http://host", None).keys()


def test_botocore_is_not_loaded_where_keys_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "botocore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    for secrets in (GIVEN, {"no_sign_request": True}):
        for endpoint in (None, "http://host"):
            Access("bucket", endpoint, secrets).keys()
    with pytest.raises(ImportError, match="AWS_SECRET_ACCESS_KEY"):
        Access("bucket", "http://host", None)


def test_a_pickled_client_keeps_its_keys_and_its_repr_shows_none() -> None:
    with ArtifactFiles("s3://http://host/bucket/p", secrets=GIVEN) as cf:
        copy = pickle.loads(pickle.dumps(cf))
        assert copy._backend.access.keys() == Keys("AKIAGIVEN", "given-5ec2e7")
        assert "5ec2e7" not in repr(copy) + repr(copy._settings) + repr(copy._location) + repr(copy._backend)


# -- answers


class Scripted:
    """A transport that answers as told, and remembers what it was asked."""

    def __init__(self, *answers: HttpResponse) -> None:
        self.answers = [*answers]
        self.seen: list[HttpRequest] = []

    def send(self, request: HttpRequest) -> HttpResponse:
        self.seen.append(request)
        return self.answers.pop(0)

    def close(self) -> None:
        pass


def answer(status: int, body: bytes = b"", **headers: str) -> HttpResponse:
    return HttpResponse(status, body, [], {name.replace("_", "-"): value for name, value in headers.items()})


def error(code: str, more: str = "") -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>why</Message>{more}</Error>'.encode()


def sender(*answers: HttpResponse, endpoint: str | None = None, **secrets: Any) -> tuple[BucketSender, Scripted]:
    transport = Scripted(*answers)
    return BucketSender("bucket", Access("bucket", endpoint, {**GIVEN, **secrets}), transport), transport  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "redirect",
    [
        answer(301, error("PermanentRedirect"), x_amz_bucket_region="eu-west-3", location="https://evil/bucket"),
        answer(301, b"", x_amz_bucket_region="eu-west-3"),  # to a HEAD
        answer(307, error("TemporaryRedirect"), x_amz_bucket_region="eu-west-3"),
        answer(400, error("AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>")),
        answer(400, b"", x_amz_bucket_region="eu-west-3"),
    ],
)
def test_a_bucket_in_another_region_is_asked_there_from_then_on(redirect: HttpResponse) -> None:
    client, transport = sender(redirect, answer(200), answer(200))
    client.send(HttpRequest("GET", "/a"))
    client.send(HttpRequest("GET", "/b", follow=True))
    assert [request.url for request in transport.seen] == [
        "https://bucket.s3.us-east-1.amazonaws.com/a",
        "https://bucket.s3.eu-west-3.amazonaws.com/a",
        "https://bucket.s3.eu-west-3.amazonaws.com/b",
    ]
    assert "/eu-west-3/s3/" in dict(transport.seen[1].headers)["authorization"]
    assert not any(request.follow for request in transport.seen)


def test_a_redirect_that_names_no_region_is_an_error_and_not_followed() -> None:
    client, transport = sender(answer(301, error("PermanentRedirect"), location="https://evil/bucket/a"))
    with pytest.raises(TransferError, match="PermanentRedirect"):
        client.send(HttpRequest("GET", "/a"))
    assert len(transport.seen) == 1


def test_a_store_that_sends_round_in_circles_is_given_up() -> None:
    turns = [answer(301, b"", x_amz_bucket_region=region) for region in ("a-1", "b-1", "c-1", "d-1")]
    client, transport = sender(*turns)
    with pytest.raises(TransferError):
        client.send(HttpRequest("GET", "/a"))
    assert len(transport.seen) == 3


@pytest.mark.parametrize(
    ("status", "code", "kind", "retryable"),
    [
        (404, "NoSuchKey", ObjectNotFound, False),
        (404, "NoSuchBucket", BucketNotFound, False),
        (403, "AccessDenied", AccessDenied, False),
        (403, "InvalidAccessKeyId", AccessDenied, False),
        (403, "SignatureDoesNotMatch", AccessDenied, False),
        (400, "ExpiredToken", AccessDenied, False),
        (403, "RequestTimeTooSkewed", AccessDenied, False),
        (503, "SlowDown", TooManyRequests, True),
        (500, "InternalError", ServerError, True),
        (400, "RequestTimeout", TransferTimeout, True),
        (400, "BadDigest", IntegrityError, True),
        (409, "OperationAborted", ServerError, True),
        (200, "InternalError", ServerError, True),
        (200, "SomethingNew", ServerError, True),
        (404, "", ObjectNotFound, False),
        (502, "", ServerError, True),
    ],
)
def test_what_an_error_stands_for(status: int, code: str, kind: type[TransferError], retryable: bool) -> None:
    client, _ = sender(answer(status, error(code) if code else b"<html>"))
    with pytest.raises(kind) as caught:
        client.checked(client.send(HttpRequest("GET", "/a")))
    assert (type(caught.value), caught.value.status, caught.value.retryable) == (kind, status, retryable)
    assert code in str(caught.value)
    assert "5ec2e7" not in str(caught.value)
    if kind is AccessDenied:
        assert "the access key ...IVEN of secrets=" in str(caught.value)


def test_new_keys_are_looked_for_when_the_store_says_that_they_are_over(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def credentials(name: str) -> None:
        (home / "credentials").write_text(
            f"[default]\naws_access_key_id = {name}\naws_secret_access_key = 5ec2e7\naws_session_token = {name}\n"
        )

    credentials("OLD")
    transport = Scripted(answer(400, error("ExpiredToken")), answer(200), answer(400, error("ExpiredToken")))
    client = BucketSender("bucket", Access("bucket", "http://host", None), transport)  # type: ignore[arg-type]
    client._access.keys()
    credentials("NEW")
    client.send(HttpRequest("GET", "/a"))
    assert ["Credential=NEW" in dict(request.headers)["authorization"] for request in transport.seen] == [False, True]
    with pytest.raises(AccessDenied, match="sign in again"):
        client.send(HttpRequest("GET", "/a"))


def test_a_clock_that_is_wrong_is_set_right_once() -> None:
    late = answer(403, error("RequestTimeTooSkewed"), date="Sat, 01 Jan 2050 00:00:00 GMT")
    client, transport = sender(late, answer(200), late, late)
    client.send(HttpRequest("GET", "/a"))
    assert [dict(request.headers)["x-amz-date"][:4] for request in transport.seen][1] in ("2049", "2050")
    with pytest.raises(AccessDenied, match="clock"):
        client.send(HttpRequest("GET", "/a"))
    assert len(transport.seen) == 3


@pytest.mark.parametrize("region", ["evil.example/", "a b", "", "a@b"])
def test_what_cannot_be_a_region_does_not_become_part_of_a_host(region: str) -> None:
    client, transport = sender(answer(301, b"", x_amz_bucket_region=region))
    with pytest.raises(TransferError):
        client.send(HttpRequest("GET", "/a"))
    assert len(transport.seen) == 1
    with pytest.raises(ValueError, match="region"):
        Access("b", None, {**GIVEN, "region": region or "/"})


def test_what_many_removals_left_is_removed_one_by_one_with_an_error_for_each() -> None:
    body = (
        b"<DeleteResult><Deleted><Key>a&amp;b</Key></Deleted><Error><Key>c</Key><Code>X</Code></Error></DeleteResult>"
    )
    transport = Scripted(answer(200, body), answer(403, error("AccessDenied")), answer(204))
    with ArtifactFiles("s3://http://host/bucket", secrets=GIVEN, retry=QUICK, num_threads=0) as cf:
        cf._backend.sender._transport = transport  # type: ignore[attr-defined]
        results = cf.delete(["a&b", "c", "d"], raise_errors=False) or []
    assert [type(result["error"]) for result in results] == [type(None), AccessDenied, type(None)]
    assert [request.method for request in transport.seen] == ["POST", "DELETE", "DELETE"]
    assert b"<Key>a&amp;b</Key>" in bytes(transport.seen[0].body or b"")  # type: ignore[arg-type]


def test_a_store_that_cannot_remove_many_is_asked_one_by_one() -> None:
    transport = Scripted(answer(405, error("MethodNotAllowed")), answer(204), answer(404, error("NoSuchKey")))
    with ArtifactFiles("s3://http://host/bucket", secrets=GIVEN, retry=QUICK, num_threads=0) as cf:
        cf._backend.sender._transport = transport  # type: ignore[attr-defined]
        assert [result["error"] for result in cf.delete(["a", "b"]) or ()] == [None, None]


def test_unsigned_requests_have_no_trace_of_keys(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "5ec2e7")
    transport = Scripted(answer(403, error("AccessDenied")))
    access = Access("bucket", None, {"no_sign_request": True})
    with pytest.raises(AccessDenied, match="asked unsigned"):
        BucketSender("bucket", access, transport).send(HttpRequest("GET", "/a"))  # type: ignore[arg-type]
    assert transport.seen[0].headers == ()


def test_whoever_pays_says_so_and_signs_it() -> None:
    client, transport = sender(answer(200), request_payer="requester")
    client.send(HttpRequest("GET", "/a"))
    headers = dict(transport.seen[0].headers)
    assert headers["x-amz-request-payer"] == "requester"
    assert "x-amz-request-payer" in headers["authorization"]


# -- XML


def test_a_page_of_a_listing_is_read_whatever_is_in_its_names() -> None:
    body = (
        b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>on+/=</NextContinuationToken>"
        b"<Contents><Key>d/a%2Bb+c%0A%26</Key><Size>3</Size><ETag>&quot;abc&quot;</ETag>"
        b"<LastModified>2024-01-02T03:04:05.500Z</LastModified></Contents>"
        b"<Contents><Key>d/</Key><Size>0</Size></Contents>"
        b"<CommonPrefixes><Prefix>d/%C3%BC/</Prefix></CommonPrefixes></ListBucketResult>"
    )
    page = replies.page(body)
    assert page.following == "on+/="
    info, folder = page.entries
    assert not isinstance(info, str)
    assert (info.path, info.size, info.etag, info.last_modified) == ("d/a+b c\n&", 3, "abc", 1704164645.5)
    assert folder == "d/ü/"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"<Error><Code>x</Code></Error>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult/>',
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    ],
)
def test_what_is_no_listing_is_no_empty_listing(body: bytes) -> None:
    with pytest.raises(ServerError):
        replies.page(body)


def test_an_error_with_the_secret_in_it_is_cleaned() -> None:
    found = replies.refusal(b"<Error><Code>A</Code><Message>\x1b\xc2\x9b?X-Amz-Signature=5ec2e7</Message></Error>")
    assert found.code == "" or "5ec2e7" not in found.message


def test_a_listing_that_goes_in_circles_is_an_error() -> None:
    body = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
        b"<Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>"
    )
    with ArtifactFiles("s3://http://host/bucket", secrets=GIVEN, retry=QUICK, num_threads=0) as cf:
        cf._backend.sender._transport = Scripted(answer(200, body), answer(200, body))  # type: ignore[attr-defined]
        with pytest.raises(TransferError, match="just been"):
            list(cf)


def test_going_on_with_a_listing_asks_the_store_for_no_more_than_the_rest() -> None:
    begin = b"<ListBucketResult><IsTruncated>%s</IsTruncated><NextContinuationToken>%s</NextContinuationToken>"
    pages = [
        begin % (b"true", b"t") + b"<Contents><Key>p/c</Key><Size>1</Size></Contents></ListBucketResult>",
        begin % (b"false", b"") + b"<Contents><Key>p/d</Key><Size>1</Size></Contents></ListBucketResult>",
    ]
    with ArtifactFiles("s3://http://host/bucket/p", secrets=GIVEN, retry=QUICK, num_threads=0) as cf:
        transport = Scripted(*(answer(200, page) for page in pages))
        cf._backend.sender._transport = transport  # type: ignore[attr-defined]
        cf._backend.access.endpoint = None  # type: ignore[attr-defined]  # as at Amazon's
        assert list(cf.list(start_after="b")) == ["c", "d"]
    queries = [dict(parse_qsl(request.url.partition("?")[2])) for request in transport.seen]
    assert [(query.get("start-after"), query.get("continuation-token")) for query in queries] == [
        ("p/b", None),
        (None, "t"),
    ]


# -- uploads, with a store that answers as told


def scripted_client(*answers: HttpResponse, **options: Any) -> tuple[ArtifactFiles, Scripted]:
    cf = ArtifactFiles("s3://http://host/bucket", secrets=GIVEN, retry=QUICK, num_threads=0, **options)
    transport = Scripted(*answers)
    cf._backend.sender._transport = transport  # type: ignore[attr-defined]
    return cf, transport


IN_PARTS = {"multipart_threshold": 5 << 20, "part_size": 5 << 20}
CONTENT = bytes(6 << 20)
MD5S = [hashlib.md5(CONTENT[: 5 << 20]).hexdigest(), hashlib.md5(CONTENT[5 << 20 :]).hexdigest()]
ETAG = etag_of_parts(MD5S)
BEGUN = answer(200, b"<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
SENT = [answer(200, b"", etag=f'"{md5}"') for md5 in MD5S]
DONE = f"<CompleteMultipartUploadResult><ETag>&quot;{ETAG}&quot;</ETag></CompleteMultipartUploadResult>".encode()


def test_a_completion_that_fails_after_its_200_is_made_again() -> None:
    cf, transport = scripted_client(BEGUN, *SENT, answer(200, error("InternalError")), answer(200, DONE), **IN_PARTS)
    result = cf.put("a", CONTENT)
    assert (result["etag"], result["verified"]) == (ETAG, "etag-parts")
    assert [request.method for request in transport.seen] == ["POST", "PUT", "PUT", "POST", "POST"]
    assert all(md5.encode() in bytes(transport.seen[-1].body or b"") for md5 in MD5S)  # type: ignore[arg-type]


def test_a_completion_whose_answer_was_lost_was_done() -> None:
    lost = [answer(500, error("InternalError")), answer(404, error("NoSuchUpload"))]
    cf, _ = scripted_client(BEGUN, *SENT, *lost, answer(200, b"", etag=f'"{ETAG}"', content_length="7"), **IN_PARTS)
    assert cf.put("a", CONTENT)["etag"] == ETAG


def test_an_upload_that_the_store_has_lost_is_made_again_and_another_object_is_not_taken_for_it() -> None:
    lost = [answer(404, error("NoSuchUpload")), answer(200, b"", etag='"of-another"', content_length="7")]
    forgotten = answer(404, error("NoSuchUpload"))  # to the question which parts are there, and to the abort
    again = [forgotten, forgotten, BEGUN, *SENT, answer(200, DONE)]
    cf, transport = scripted_client(BEGUN, *SENT, *lost, *again, **IN_PARTS)
    assert cf.put("a", CONTENT)["etag"] == ETAG
    assert not transport.answers


def test_etags_of_encrypted_objects_are_not_taken_for_md5s() -> None:
    kms = {"x_amz_server_side_encryption": "aws:kms"}
    other = f'"{"0" * 32}"'
    cf, _ = scripted_client(answer(200, b"", etag=other, **kms), answer(200, b"abc", etag=other, **kms))
    assert cf.put("a", b"abc")["verified"] == "md5"  # which the store has compared
    assert cf.get("a") == b"abc"
    cf, _ = scripted_client(*[answer(200, b"", etag=other)] * 2)
    with pytest.raises(IntegrityError):
        cf.put("a", b"abc")


def test_parts_are_named_by_the_etags_that_the_store_gave_them() -> None:
    kms = {"x_amz_server_side_encryption": "aws:kms"}
    parts = [answer(200, b"", etag=f'"{number}-of-kms"', **kms) for number in range(2)]
    done = b"<CompleteMultipartUploadResult><ETag>whole-of-kms</ETag></CompleteMultipartUploadResult>"
    cf, transport = scripted_client(BEGUN, *parts, answer(200, done), **IN_PARTS)
    result = cf.put("a", CONTENT)
    assert (result["etag"], result["verified"]) == ("whole-of-kms", "md5")
    assert re.findall(rb"\d-of-kms", bytes(transport.seen[-1].body or b"")) == [b"0-of-kms", b"1-of-kms"]  # type: ignore[arg-type]


def test_a_download_goes_on_through_faults_and_is_verified(object_server: ObjectServer, tmp_path: Path) -> None:
    content = bytes(range(256)) * 12_288
    object_server.put("bucket/a b", content, faults=[Status(503), Drop(after_bytes=1_000_000), Drop(after_bytes=5)])
    policy = RetryPolicy(attempts=4, first=0.01, longest=0.05, elapsed=10)
    with ArtifactFiles(f"s3://{object_server.url}/bucket", secrets={"no_sign_request": True}, retry=policy) as cf:
        cf.download("a b", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content
