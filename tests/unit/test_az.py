"""``az://``: which endpoint is shown which credentials, what is signed, and what is refused. No emulator is needed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    ConnectionFailed,
    PreconditionFailed,
    RetryPolicy,
    ServerError,
    TransferError,
)
from cloudfiles_hypha.backends import locate
from cloudfiles_hypha.backends.az import Access, AzureLocation, _page, find_access, string_to_sign
from cloudfiles_hypha.models import PutRequest, Session
from cloudfiles_hypha.settings import Secrets
from tests.support.object_server import ObjectServer, Redirect, Status

KEY = base64.b64encode(b"a key of an account").decode()
MINE = "https://mine.blob.core.windows.net"


def access(cloudpath: str, secrets: Secrets | None = None) -> Access:
    location = locate(cloudpath)
    assert isinstance(location, AzureLocation)
    return find_access(location, secrets)


@pytest.mark.parametrize(
    ("cloudpath", "endpoint", "container", "prefix"),
    [
        ("az://data", None, "data", ""),
        ("az://data/a/b/", None, "data", "a/b/"),
        ("az://$web/a", None, "$web", "a/"),
        (f"az://{MINE}/data/a", MINE, "data", "a/"),
        ("az://http://127.0.0.1:1/acc/data/a", "http://127.0.0.1:1/acc", "data", "a/"),
        ("az://https://Mine.Blob.core.chinacloudapi.cn/data", "https://mine.blob.core.chinacloudapi.cn", "data", ""),
    ],
)
def test_a_cloudpath_names_container_prefix_and_perhaps_the_endpoint(
    cloudpath: str, endpoint: str | None, container: str, prefix: str
) -> None:
    location = locate(cloudpath)
    assert isinstance(location, AzureLocation)
    assert (location.endpoint, location.container, location.prefix) == (endpoint, container, prefix)


@pytest.mark.parametrize(
    ("cloudpath", "says"),
    [
        ("az://", "container is missing"),
        ("az://A_B", "name of a container"),
        ("az://ab", "name of a container"),
        ("az://data/../x", "'..'"),
        ("az://https:///data", "host is missing"),
        ("az://http://127.0.0.1:1/acc", "container is missing"),
        ("az://http://127.0.0.1:1/", "account is missing"),
        (f"az://{MINE}/data?sv=1&sig=hush", "SAS token does not belong"),
        ("az://https://user:hush@mine.blob.core.windows.net/data", "secrets="),
    ],
)
def test_what_is_no_cloudpath_is_refused_without_its_secrets(cloudpath: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("$", r"\$").replace(".", r"\.")) as caught:
        locate(cloudpath)
    assert "hush" not in str(caught.value)


def test_the_environments_credentials_are_for_its_own_account_and_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "mine")
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    for cloudpath in ("az://data", f"az://{MINE}/data"):
        assert (access(cloudpath).endpoint, access(cloudpath).key) == (MINE, b"a key of an account")
    for elsewhere in ("https://other.blob.core.windows.net", "http://127.0.0.1:1/mine", f"http{MINE[5:]}"):
        found = access(f"az://{elsewhere}/data")
        assert (found.endpoint, found.key, found.sas) == (elsewhere, None, None)
        assert f"the environment has some for {MINE}" in found.described


def test_secrets_that_are_given_go_where_the_cloudpath_leads(tmp_path: Path) -> None:
    there = "az://http://127.0.0.1:1/acc/data"
    assert access(there, {"AZURE_STORAGE_KEY": KEY}).key == b"a key of an account"
    (tmp_path / "secrets.json").write_text(json.dumps({"AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=x"}))
    assert access(there, tmp_path / "secrets.json").sas == "sv=1&sig=x"
    assert access("az://data", {"AZURE_STORAGE_ACCOUNT": "mine"}).endpoint == MINE
    with pytest.raises(ValueError, match="of account 'mine', not of 'acc'"):
        access(there, {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_KEY": KEY})


def test_secrets_that_are_empty_are_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "mine")
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    assert access(f"az://{MINE}/data", {}) == Access(MINE, "mine", described="unsigned, as secrets= has no credentials")


def test_a_connection_string_says_account_key_and_endpoint() -> None:
    said = f"DefaultEndpointsProtocol=https;AccountName=mine;AccountKey={KEY};EndpointSuffix=core.usgovcloudapi.net"
    found = access("az://data", {"AZURE_STORAGE_CONNECTION_STRING": said})
    assert (found.endpoint, found.key) == ("https://mine.blob.core.usgovcloudapi.net", b"a key of an account")
    said = "BlobEndpoint=https://mine.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=a%3D"
    found = access("az://data", {"AZURE_STORAGE_CONNECTION_STRING": said})
    assert (found.endpoint, found.account, found.sas) == (MINE, "mine", "sv=1&sig=a%3D")


@pytest.mark.parametrize(
    "secrets",
    [
        {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_KEY": "hush!"},
        {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_SAS_TOKEN": "sig=hush\r\nX: 1"},
        {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_KEY": 7},
        {"AZURE_STORAGE_CONNECTION_STRING": "AccountKey=hush"},
        {"AZURE_STORAGE_KEY": "hush"},
    ],
)
def test_credentials_that_cannot_be_right_are_refused_and_not_shown(secrets: Secrets) -> None:
    with pytest.raises(ValueError, match="AZURE_STORAGE") as caught:
        access("az://data", secrets)
    assert "hush" not in str(caught.value)


def test_no_credential_is_in_a_repr() -> None:
    found = access("az://data", {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_KEY": KEY})
    assert "a key of" not in repr(found)


def test_the_example_of_the_protocol_is_signed_as_it_is_printed_there() -> None:
    url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20"
    headers = (("x-ms-version", "2015-02-21"), ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"))
    assert string_to_sign("GET", url, headers, 0, "myaccount") == (
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
        "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
    )


def test_a_store_that_cannot_be_reached_is_told_of_without_the_token() -> None:
    options = {"secrets": {"AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=hush"}, "retry": RetryPolicy(attempts=1)}
    with ArtifactFiles("az://http://127.0.0.1:9/acc/data", num_threads=0, **options) as cf:  # type: ignore[arg-type]
        for attempt in (lambda: cf.get("a"), lambda: cf.put("a", b"a"), lambda: list(cf)):
            with pytest.raises(ConnectionFailed) as caught:
                attempt()
            assert "hush" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("secret", [{"AZURE_STORAGE_KEY": KEY}, {"AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=hush"}])
def test_a_redirect_is_not_followed(object_server: ObjectServer, secret: dict[str, str]) -> None:
    with ObjectServer() as elsewhere:
        object_server.fault("acc/data/a", Redirect(f"{elsewhere.url}/acc/data/a", 307), Redirect(elsewhere.url, 302))
        with ArtifactFiles(f"az://{object_server.url}/acc/data", secrets=secret, num_threads=0) as cf:
            for attempt in (lambda: cf.get("a"), lambda: cf.put("a", b"a")):
                with pytest.raises(TransferError) as caught:
                    attempt()
                assert "hush" not in str(caught.value)
        assert elsewhere.requests == []


def test_what_the_store_says_of_a_refusal_decides_and_passing_ones_are_tried_again(
    object_server: ObjectServer,
) -> None:
    object_server.put("acc/data/a", b"aaaa")
    object_server.fault("acc/data/a", Status(503), Status(500))
    with ArtifactFiles(f"az://{object_server.url}/acc/data", secrets={}, num_threads=0) as cf:
        (result,) = cf.get(["a"])
        assert (result["content"], result["attempts"]) == (b"aaaa", 3)
        object_server.fault("acc/data/a", Status(403))
        with pytest.raises(AccessDenied, match="unsigned"):
            cf.get("a")


@pytest.mark.parametrize("body", [b"", b"<html>", b"<html/>", b"<!DOCTYPE x><EnumerationResults/>", b"{}"])
def test_what_is_no_listing_is_an_error_and_not_an_empty_container(body: bytes) -> None:
    with pytest.raises(ServerError):
        _page(body)


@pytest.mark.parametrize(("status", "error"), [(200, ServerError), (412, PreconditionFailed), (304, TransferError)])
def test_an_upload_is_stored_only_if_the_store_says_so(
    object_server: ObjectServer, status: int, error: type[TransferError]
) -> None:
    object_server.fault("acc/data/a", *[Status(status)] * 9)
    retry = RetryPolicy(attempts=2, first=0.01)
    with ArtifactFiles(f"az://{object_server.url}/acc/data", secrets={}, num_threads=0, retry=retry) as cf:
        with pytest.raises(error):
            cf.put("a", b"a")
        request = PutRequest("a", b"")
        with cf._backend.writing(cf._control()) as writes, pytest.raises(error):
            writes.close_parts(request, Session("s", ()), [""], cf._control())


def test_metadata_are_headers_and_replaced_by_one_request(object_server: ObjectServer) -> None:
    object_server.fault("acc/data/a", Status(201), Status(200))
    with ArtifactFiles(f"az://{object_server.url}/acc/data", secrets={}, num_threads=0) as cf:
        cf.put("a", b"a", metadata={"Run": "1"})
        cf.set_metadata("a", {"run": "2", "by_whom": "me"})
        with pytest.raises(ValueError, match="'with-a-dash' is no name there"):
            cf.set_metadata("a", {"with-a-dash": "1"})
    put, replaced = object_server.requests
    assert (put.method, put.headers["x-ms-meta-run"]) == ("PUT", "1")
    assert (replaced.method, replaced.query) == ("PUT", "comp=metadata")
    told = {name: value for name, value in replaced.headers.items() if name.startswith("x-ms-meta-")}
    assert told == {"x-ms-meta-run": "2", "x-ms-meta-by_whom": "me"}


def test_names_that_xml_cannot_hold_are_listed_exactly() -> None:
    blobs = '<Blob><Name Encoded="true">a%EF%BF%BEb%2520</Name></Blob><Blob><Name>a%20</Name></Blob>'
    text = f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>m</NextMarker></EnumerationResults>"
    found, marker = _page(text.encode())
    assert ([info.path for info in found], marker) == (["a\ufffeb%20", "a%20"], "m")
