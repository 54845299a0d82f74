"""The contract, and what is particular to ``az://``, on azurite."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    BatchError,
    BucketNotFound,
    ConnectionFailed,
    IntegrityError,
    ObjectExists,
    ObjectNotFound,
    PreconditionFailed,
)
from cloudfiles_hypha.backends import az
from cloudfiles_hypha.backends.base import StaleTicket
from cloudfiles_hypha.models import GetRequest, PutRequest
from cloudfiles_hypha.transports import HttpRequest
from tests.contract.test_backends import ENGINES, TEN, BackendContract, Place
from tests.support.azurite import ACCOUNT, Azurite, azurite

MIB = 1024 * 1024
IN_PARTS = {"multipart_threshold": 6 * MIB, "part_size": 5 * MIB}


def sas(store: Azurite) -> str:
    """A token for everything in the account, as "Create an account SAS" describes it."""
    said = {"sp": "rwdlac", "ss": "b", "srt": "sco", "st": "", "se": "2100-01-01T00:00:00Z", "sip": ""}
    said |= {"spr": "https,http", "sv": "2020-12-06", "ses": ""}
    text = "".join(f"{value}\n" for value in (ACCOUNT, *said.values()))
    signature = hmac.digest(base64.b64decode(store.key), text.encode(), hashlib.sha256)
    return urlencode({name: value for name, value in said.items() if value} | {"sig": base64.b64encode(signature)})


@pytest.fixture(scope="module")
def store() -> Iterator[Azurite]:
    with azurite() as server:
        server.make_container("contract")
        yield server


class TestAzurite(BackendContract):
    numbers = itertools.count()

    @pytest.fixture
    def place(self, store: Azurite) -> Place:
        return Place(f"{store.cloudpath('contract')}/{next(self.numbers)}", secrets=store.secrets)

    def test_names_are_listed_page_by_page(
        self, place: Place, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(az, "_PAGE", 4)
        names = [f"{number % 3}/{number:02}" for number in range(21)]
        place.fill(dict.fromkeys(names, b"x"))
        assert list(cf.list()) == sorted(names)
        assert list(cf.list(flat=True)) == ["0/", "1/", "2/"]

    def test_a_listing_tells_sizes_digests_and_times(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        (info,) = cf._backend.scan(cf._prefix, control=cf._control())
        head = cf.head("a")
        assert (info.path, info.size, info.etag) == (f"{cf._prefix}a", 10, head.etag)
        assert info.headers["etag"] == head.headers["etag"] == '"781e5e245d69b566979b86e28d23f2c7"'
        assert info.last_modified == head.last_modified

    def test_what_is_stored_whole_or_in_blocks_is_described(self, place: Place, engine: str) -> None:
        content = os.urandom(12 * MIB)
        with place.open(**ENGINES[engine], **IN_PARTS) as cf:
            results = cf.puts(
                [("large", content), ("small", TEN)], content_type="text/x-test", cache_control="no-store"
            )
            assert [result["verified"] for result in results] == ["md5", "md5"]
            assert cf.get("large") == content
            assert cf.get({"path": "large", "start": 5 * MIB - 2, "end": 5 * MIB + 2}) == content[5 * MIB - 2 :][:4]
            for name in ("large", "small"):
                info = cf.head(name)
                assert (info.content_type, info.headers.get("cache-control")) == ("text/x-test", "no-store")
            (encoded,) = cf.puts([("page", b"<p>" * 100)], compress="gzip", content_type="text/html")
            assert encoded["compress"] == cf.head("page").compress == "gzip"

    def test_files_go_to_disk_and_back_and_compare_equal(self, place: Place, engine: str, tmp_path: Path) -> None:
        files = {"a": TEN, "d/large": os.urandom(12 * MIB), "d/empty": b""}
        for name, each in files.items():
            (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "from" / name).write_bytes(each)
        with place.open(**ENGINES[engine]) as cf:
            assert {each["verified"] for each in cf.upload(tmp_path / "from", "x")} == {"md5"}
            assert {each["skipped"] for each in cf.upload(tmp_path / "from", "x")} == {True}
            assert sorted(cf.verify(tmp_path / "from", "x")["equal"]) == sorted(files)
            results = cf.download("x/", tmp_path / "to", part_size=MIB)
            assert {each["verified"] for each in results} == {"md5"}
            assert {each["skipped"] for each in cf.download("x/", tmp_path / "to")} == {True}
        for name, each in files.items():
            assert (tmp_path / "to" / name).read_bytes() == each

    def test_whole_blobs_are_compared_with_their_md5(self, store: Azurite, place: Place, cf: ArtifactFiles) -> None:
        cf.puts([("good", TEN), ("bad", TEN)])
        assert [result["verified"] for result in cf.get(["good"])] == ["md5"]
        wrong = base64.b64encode(hashlib.md5(b"other bytes").digest()).decode()
        name = f"/{cf._prefix}bad?comp=properties"
        headers = (("x-ms-blob-content-md5", wrong), ("Content-Type", "text/plain"))
        store.ask("contract", HttpRequest("PUT", name, headers, b""))
        with pytest.raises(IntegrityError):
            cf.get("bad")

    def test_a_pinned_read_of_what_was_replaced_is_refused(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        etag, path = cf.head("a").etag, f"{cf._prefix}a"
        pinned = GetRequest(path, 2, 4, pinned=etag)
        assert cf._backend.get(pinned, None).content == TEN[2:4]
        cf.put("a", TEN * 2)
        with pytest.raises(PreconditionFailed):
            cf._backend.get(pinned, None)

    def test_two_uploads_to_one_name_do_not_mix(self, cf: ArtifactFiles) -> None:
        control, request = cf._control(), PutRequest(f"{cf._prefix}a", b"")
        with cf._backend.writing(control) as writes:
            ours, theirs = (writes.open_parts(request, 2, 60, control) for _ in range(2))
            for session, letters in ((ours, b"ab"), (theirs, b"xy")):
                for number in range(2):
                    writes.put_part(PutRequest(request.path, letters[number : number + 1] * 10), session, number)
            writes.close_parts(request, theirs, ["", ""], control)
            writes.close_parts(request, theirs, ["", ""], control)  # as if the first answer had been lost
            assert cf.get("a") == b"x" * 10 + b"y" * 10
            with pytest.raises(StaleTicket):
                writes.close_parts(request, ours, ["", ""], control)

    def test_large_uploads_take_effect_only_if_their_condition_holds(self, place: Place, engine: str) -> None:
        content = os.urandom(7 * MIB)
        with place.open(**ENGINES[engine], **IN_PARTS) as cf:
            cf.put("a", content, overwrite="never")
            with pytest.raises(ObjectExists):
                cf.put("a", content + b"more", overwrite="never")
            first = cf.head("a").etag
            cf.put("a", content + b"more", if_match=first)
            with pytest.raises(PreconditionFailed):
                cf.put("a", b"small", if_match=first)
            assert cf.get("a") == content + b"more"

    def test_a_conditional_upload_whose_answer_is_lost_knows_its_blocks(
        self, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = cf._backend
        assert isinstance(backend, az.AzureBackend)
        send, to_lose = backend.sender.send, ["the answer"]

        def losing(request: HttpRequest) -> Any:
            lost = to_lose.pop() if to_lose and "comp=blocklist" in request.url else None
            if lost != "the request":
                answer = send(request)
            if lost is not None:
                raise ConnectionFailed(f"{lost} was lost")
            return answer

        control, request = cf._control(), PutRequest(f"{cf._prefix}a", b"", new=True)
        with backend.writing(control) as writes:
            ours, theirs = (writes.open_parts(request, 1, 60, control) for _ in range(2))
            writes.put_part(PutRequest(request.path, b"ours"), ours, 0)
            monkeypatch.setattr(backend.sender, "send", losing)
            assert writes.close_parts(request, ours, [""], control).etag == cf.head("a").etag
            to_lose.append("the request")
            writes.put_part(PutRequest(request.path, b"theirs"), theirs, 0)
            with pytest.raises(ObjectExists):
                writes.close_parts(request, theirs, [""], control)
        assert cf.get("a") == b"ours"

    def test_content_of_unknown_length_goes_in_blocks_while_it_is_read(
        self, place: Place, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_stream, opened = az._Writes.open_stream, []
        monkeypatch.setattr(az._Writes, "open_stream", lambda *args: (opened.append(args), open_stream(*args))[1])
        blocks = [os.urandom(MIB) for _ in range(13)]
        with place.open(**ENGINES[engine], **IN_PARTS) as cf:
            (result,) = cf.puts([("a", iter(blocks))], content_type="text/x-test")
            assert (result["size"], result["verified"]) == (13 * MIB, "md5")
            assert len(opened) == 1
            assert cf.get("a") == b"".join(blocks)
            assert cf.head("a").content_type == "text/x-test"

    def test_a_container_that_is_not_there_is_named(self, store: Azurite, engine: str) -> None:
        with Place(store.cloudpath("not-there"), secrets=store.secrets).open(**ENGINES[engine]) as cf:
            for attempt in (lambda: cf.get("a"), lambda: list(cf), lambda: cf.put("a", b""), lambda: cf.delete("a")):
                with pytest.raises(BucketNotFound, match="no container 'not-there'"):
                    attempt()
            assert cf.exists("a") is False


def test_a_sas_token_is_enough_for_everything_and_is_in_no_message(store: Azurite, tmp_path: Path) -> None:
    token = sas(store)
    signature = token.rpartition("sig=")[2]
    options: dict[str, Any] = {"secrets": {"AZURE_STORAGE_SAS_TOKEN": f"?{token}"}, "num_threads": 2}
    with ArtifactFiles(f"{store.cloudpath('contract')}/sas", **options, **IN_PARTS) as cf:
        cf.puts([("a b", TEN), ("large", os.urandom(7 * MIB))])
        assert cf.get("a b") == TEN
        assert list(cf) == ["a b", "large"]
        cf.delete("large")
        with pytest.raises(ObjectNotFound) as missing:
            cf.get("large")
        shown = f"{cf!r} {cf._settings!r} {missing.value} {cf._backend!r} {cf._backend.settled(cf._location)!r}"
        assert signature not in shown
        with pickle.loads(pickle.dumps(cf)) as copy:
            assert copy.get("a b") == TEN
    options["secrets"] = {"AZURE_STORAGE_SAS_TOKEN": token[:-6] + "AAA%3D"}
    with ArtifactFiles(store.cloudpath("contract"), **options) as cf:
        for attempt in (lambda: cf.get("sas/a b"), lambda: list(cf), lambda: cf.put("x", b"")):
            with pytest.raises((AccessDenied, BatchError), match="the SAS token of secrets=") as refused:
                attempt()
            assert "AAA" not in str(refused.value)
            assert signature[:-6] not in str(refused.value)


def test_a_blob_that_is_leased_to_another_is_an_access_that_is_denied(store: Azurite) -> None:
    lease = (("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1"), ("Content-Type", "text/plain"))
    with ArtifactFiles(f"{store.cloudpath('contract')}/leased", secrets=store.secrets, **IN_PARTS) as cf:
        etag = cf.put("a", TEN)["etag"]
        store.ask("contract", HttpRequest("PUT", "/leased/a?comp=lease", lease, b""))
        for attempt in (
            lambda: cf.put("a", b"other"),
            lambda: cf.put("a", b"other", if_match=etag),
            lambda: cf.put("a", os.urandom(7 * MIB), if_match=etag),
            lambda: cf.delete("a"),
        ):
            with pytest.raises(AccessDenied, match="LeaseIdMissing"):
                attempt()
        assert cf.get("a") == TEN
        released = (("x-ms-lease-action", "break"), ("x-ms-lease-break-period", "0"), ("Content-Type", "text/plain"))
        store.ask("contract", HttpRequest("PUT", "/leased/a?comp=lease", released, b""))
        cf.delete("a")


def test_nobody_reads_what_is_public_and_nothing_else(store: Azurite) -> None:
    store.make_container("public", public=True)
    with ArtifactFiles(store.cloudpath("public"), secrets=store.secrets, num_threads=0) as cf:
        cf.put("a", TEN)
    with ArtifactFiles(store.cloudpath("public"), secrets={}, num_threads=0) as cf:
        assert cf.get("a") == TEN
        assert list(cf) == ["a"]
        with pytest.raises(AccessDenied, match="unsigned"):
            cf.put("b", b"")
    with (
        ArtifactFiles(store.cloudpath("contract"), secrets={}, num_threads=0) as cf,
        pytest.raises(AccessDenied, match="unsigned"),
    ):
        cf.get("a")


@pytest.mark.parametrize("transport", ["curl", "urllib3", "requests"])
def test_every_transport_sends_what_was_signed(store: Azurite, transport: str) -> None:
    with ArtifactFiles(store.cloudpath("contract"), secrets=store.secrets, transport=transport, num_threads=2) as cf:
        names = [f"{transport}/ü #{number}" for number in range(3)]
        cf.puts([(name, b"") for name in names])
        cf.put(f"{transport}/text", "Grüße", content_type="text/plain; charset=utf-8")
        assert cf.get(f"{transport}/text").decode() == "Grüße"
        assert sorted(cf.list(f"{transport}/")) == sorted([*names, f"{transport}/text"])
        cf.delete(names)
        assert cf.exists(names) == dict.fromkeys(names, False)


def test_a_connection_string_of_the_environment_names_the_endpoint(
    store: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"AccountName={ACCOUNT};AccountKey={store.key};BlobEndpoint={store.url}/{ACCOUNT}/"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
    for cloudpath in ("az://contract/by-environment", f"{store.cloudpath('contract')}/by-environment"):
        with ArtifactFiles(cloudpath, num_threads=0) as cf:
            cf.put("a", TEN)
            copied = pickle.dumps(cf)
            assert cf.get("a") == TEN
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    with pickle.loads(copied) as cf:
        assert cf._backend.access.endpoint == f"{store.url}/{ACCOUNT}"
