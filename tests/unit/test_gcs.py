"""``gs://`` on a server that answers as Google documents it, where the emulator does not."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    BucketNotFound,
    IntegrityError,
    PreconditionFailed,
    RangeNotSatisfiable,
    RetryPolicy,
    sync,
)
from cloudfiles_hypha.backends.gcs import HOST, GcsLocation, auth
from cloudfiles_hypha.content import digests

MIB = 1024 * 1024
TOKEN = "ya29.very-secret-0123456789"
QUICK = RetryPolicy(attempts=4, first=0.001, longest=0.002, elapsed=10)
ENGINES: list[dict[str, Any]] = [{"num_threads": 0}, {"num_threads": 4}, {"num_threads": 4, "green": True}]


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


class Store:
    """The objects of one bucket, and what was asked for."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.sessions: dict[str, tuple[str, int | None, bytearray]] = {}
        self.seen: list[tuple[str, str, Mapping[str, str]]] = []
        self.bodies: list[bytes] = []  # of what changes an object
        self.token: str | None = None  # what has to be shown
        self.generation = 1000
        self.composite = False
        self.lie = b""  # sent in the place of an object's bytes
        self.drop_chunks: list[int] = []  # pieces, by number, that are answered with 503 after half of them was kept
        self.lose_answers = 0  # how many uploads are stored without saying so
        self.location: str | None = None
        self.before_media: Callable[[str], None] = lambda name: None
        self.tokens_given = 0
        self.gone = False  # the bucket itself

    def put(self, name: str, content: bytes) -> None:
        self.generation += 1
        self.objects[name] = (content, self.generation)

    def resource(self, name: str) -> dict[str, str]:
        content, generation = self.objects[name]
        found = {
            "name": name,
            "size": str(len(content)),
            "generation": str(generation),
            "updated": "2026-01-02T03:04:05.678Z",
            "contentType": "text/x-mine",
            "crc32c": b64(google_crc32c.value(content).to_bytes(4, "big")),
            "md5Hash": b64(hashlib.md5(content).digest()),
        }
        if self.composite:
            del found["md5Hash"]
        return found


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20  # a connection that nobody closes must not keep the server from ending
    store: Store

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def say(self, value: object, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def handle_one(self) -> None:
        store, url = self.store, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PATCH":
            store.bodies.append(body)
        store.seen.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        if url.path == "/token":
            store.tokens_given += 1
            store.token = f"{TOKEN}-{store.tokens_given}"
            return self.say({"access_token": store.token, "expires_in": 3600, "token_type": "Bearer"})
        if store.token is not None and self.headers.get("Authorization") != f"Bearer {store.token}":
            return self.say({"error": {"code": 401, "message": "Invalid Credentials"}}, 401)
        if store.gone:
            return self.say({"error": {"code": 404, "message": "The specified bucket does not exist."}}, 404)
        if url.path.startswith("/upload"):
            return self.upload(query, body)
        name = unquote(url.path.partition("/o/")[2])
        if not name:
            return self.listing(query)
        if query.get("alt") == "media":
            store.before_media(name)
        if name not in store.objects:
            return self.say({"error": {"code": 404, "message": f"No such object: b/{name}"}}, 404)
        if query.get("alt") != "media":
            return self.say(store.resource(name))
        return self.media(name, query)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_one  # noqa: N815 -- as http.server calls them

    def media(self, name: str, query: dict[str, str]) -> None:
        content, generation = self.store.objects[name]
        wanted = query.get("ifGenerationMatch")
        if wanted is not None and wanted != str(generation):
            return self.say({"error": {"message": "conditionNotMet"}}, 412)
        headers = {"x_goog_generation": str(generation), "Content_Type": "text/x-mine"}
        headers["x_goog_stored_content_encoding"] = "identity"
        header = self.headers.get("Range")
        if header is None:
            resource = self.store.resource(name)
            md5 = f",md5={resource['md5Hash']}" if "md5Hash" in resource else ""
            return self.answer(
                200, self.store.lie or content, x_goog_hash=f"crc32c={resource['crc32c']}{md5}", **headers
            )
        first, _, last = header.removeprefix("bytes=").partition("-")
        start, end = int(first), min(len(content), int(last) + 1 if last else len(content))
        if start >= len(content):
            return self.answer(416)
        body = (self.store.lie or content)[start:end]
        return self.answer(206, body, Content_Range=f"bytes {start}-{end - 1}/{len(content)}", **headers)

    def upload(self, query: dict[str, str], body: bytes) -> None:
        store = self.store
        if "upload_id" not in query:
            if query["uploadType"] == "multipart":
                boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
                _, described, content, _ = body.split(b"--" + boundary)
                name = json.loads(described.partition(b"\r\n\r\n")[2])["name"]
                return self.stored(name, content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
            number = str(len(store.sessions))
            told = self.headers["X-Upload-Content-Length"]
            store.sessions[number] = (query["name"], int(told) if told else None, bytearray())
            host = store.location or f"http://{self.headers['Host']}"
            return self.answer(200, Location=f"{host}{self.path}&upload_id={number}")
        if query["upload_id"] not in store.sessions:
            return self.answer(404)
        if self.command == "DELETE":
            del store.sessions[query["upload_id"]]
            return self.answer(499)
        name, size, kept = store.sessions[query["upload_id"]]
        sent, _, total = self.headers["Content-Range"].removeprefix("bytes ").partition("/")
        size = int(total) if total != "*" else None
        assert size is not None or len(body) % (256 * 1024) == 0
        if body:
            start = int(sent.partition("-")[0])
            assert start == len(kept)
            if store.drop_chunks and store.drop_chunks[0] == start // (16 * MIB):
                store.drop_chunks.pop(0)
                kept += body[: 8 * MIB]
                return self.answer(503)
            kept += body
        if len(kept) == size:
            return self.stored(name, bytes(kept))
        return self.answer(308, **({"Range": f"bytes=0-{len(kept) - 1}"} if kept else {}))

    def stored(self, name: str, content: bytes) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        generation = self.store.objects.get(name, (b"", 0))[1]
        if query.get("ifGenerationMatch", str(generation)) != str(generation):
            return self.say({"error": {"message": "conditionNotMet"}}, 412)
        self.store.put(name, self.store.lie or content)
        if self.store.lose_answers:
            self.store.lose_answers -= 1
            self.close_connection = True
            return None
        return self.say(self.store.resource(name))

    def listing(self, query: dict[str, str]) -> None:
        names = sorted(name for name in self.store.objects if name.startswith(query["prefix"]))
        names = [name for name in names if name > query.get("pageToken", "")]
        names = [name for name in names if name >= query.get("startOffset", "")]
        page: dict[str, Any] = {"items": [self.store.resource(name) for name in names[:3]]}
        if names[3:]:
            page["nextPageToken"] = names[2]
        self.say(page)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    handler = type("OneHandler", (Handler,), {"store": Store()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{server.server_address[1]}")
        try:
            yield handler.store
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(params=ENGINES, ids=["inline", "threads", "green"])
def cf(request: pytest.FixtureRequest, store: Store) -> Iterator[ArtifactFiles]:
    with ArtifactFiles("gs://bucket", retry=QUICK, **request.param) as cf:
        yield cf


# -- reading


def test_ranges_that_have_no_bytes_are_told_apart(store: Store, cf: ArtifactFiles) -> None:
    store.put("a", b"0123456789")
    store.put("empty", b"")
    assert cf.get({"path": "a", "start": 10}) == b""
    assert cf.get({"path": "empty", "start": 3, "end": 5}) == b""
    with pytest.raises(RangeNotSatisfiable):
        cf.get({"path": "a", "start": 11})


def test_nothing_is_decompressed_on_the_way(store: Store, cf: ArtifactFiles) -> None:
    store.put("a", b"1")
    cf.get("a")
    assert [headers["accept-encoding"] for _, _, headers in store.seen] == ["gzip"]


def test_bytes_that_are_not_the_objects_are_an_error(store: Store, cf: ArtifactFiles) -> None:
    store.put("a", b"0123456789")
    assert cf.get(["a"])[0]["verified"] == "crc32c"
    store.lie = b"0123456780"
    with pytest.raises(IntegrityError, match="CRC32C"):
        cf.get("a")
    assert len(store.seen) == 1 + 4  # it may have been the line


def test_without_crc32c_the_md5_is_compared(store: Store, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_library", lambda module, name: None)
    store.put("a", b"0123456789")
    assert cf.get(["a"])[0]["verified"] == "md5"
    store.composite = True
    assert cf.get(["a"])[0]["verified"] == "length"


def test_the_parts_of_a_download_are_of_one_generation(store: Store, tmp_path: Path) -> None:
    old, new = os.urandom(4 * MIB), os.urandom(4 * MIB)
    store.put("a", old)
    asked: list[str] = []

    def replace(name: str) -> None:
        asked.append(name)
        if len(asked) == 3:
            store.put("a", new)

    store.before_media = replace
    with ArtifactFiles("gs://bucket", retry=QUICK, num_threads=1) as cf:
        result = cf.download("a", tmp_path / "a", part_size=MIB)
    assert (tmp_path / "a").read_bytes() == new
    assert result["verified"] == "md5"
    assert len(asked) == 3 + 4


def test_a_composite_object_is_verified_by_its_length_on_disk(store: Store, cf: ArtifactFiles, tmp_path: Path) -> None:
    store.composite = True
    store.put("a", b"1" * 1000)
    assert cf.download("a", tmp_path / "a")["verified"] == "length"
    assert cf.head("a").etag == str(store.generation)


def test_a_download_of_what_is_there_is_skipped(store: Store, cf: ArtifactFiles, tmp_path: Path) -> None:
    store.put("a", b"1" * 1000)
    assert [cf.download("a", tmp_path / "a")["skipped"] for _ in range(2)] == [False, True]
    store.put("a", b"2" * 1000)
    assert cf.download("a", tmp_path / "a")["skipped"] is False


def test_listings_go_over_pages_and_tell_digests(store: Store, cf: ArtifactFiles) -> None:
    for number in range(8):
        store.put(f"d/{number}", b"1")
    assert list(cf.list("d/")) == [f"d/{number}" for number in range(8)]
    assert len(store.seen) == 3


def test_going_on_with_a_listing_asks_for_no_more_than_the_rest(store: Store, cf: ArtifactFiles) -> None:
    for number in range(8):
        store.put(f"d/{number}", b"1")
    assert list(cf.list("d/", start_after="d/5")) == ["d/6", "d/7"]
    assert len(store.seen) == 1


# -- writing


def test_what_is_there_already_is_not_copied_again(store: Store, cf: ArtifactFiles, tmp_path: Path) -> None:
    source = ArtifactFiles(f"mem://{tmp_path.name}-gcs")
    source.puts([("a", b"one"), ("b", b"two"), ("c", b"three")])
    store.put("a", b"one")
    store.put("b", b"owt")
    plan = sync(source, cf, dry_run=True).plan
    assert {step.path: (step.do, step.compared) for step in plan} == {
        "a": ("keep", "digest"),
        "b": ("copy", "digest"),
        "c": ("copy", "name"),
    }
    assert all("/o?" in path for _, path, _ in store.seen)  # the listing was enough
    results = source.transfer_to(cf, overwrite="different")
    assert [(result["done"], result["compared"]) for result in results] == [
        ("nothing", "digest"),
        ("copied", None),
        ("copied", None),
    ]
    assert sync(cf, source, compare="digest", dry_run=True).plan.counts == {"keep": 3}  # and from there
    for name in source:
        (tmp_path / name).write_bytes(source.get(name))
    assert {result["skipped"] for result in cf.upload(tmp_path)} == {True}


def test_of_composite_objects_no_digests_are_compared(store: Store, cf: ArtifactFiles, tmp_path: Path) -> None:
    store.composite = True
    store.put("a", b"one")
    source = ArtifactFiles(f"mem://{tmp_path.name}-gcs")
    source.put("a", b"one")
    assert [step.compared for step in sync(source, cf, dry_run=True, compare="digest").plan] == ["size"]
    source.put("a", b"eno")
    assert [step.do for step in sync(source, cf, dry_run=True, compare="digest").plan] == ["copy"]


def test_an_upload_that_breaks_off_goes_on_where_it_was(store: Store, cf: ArtifactFiles, tmp_path: Path) -> None:
    content = os.urandom(40 * MIB)
    (tmp_path / "a").write_bytes(content)
    store.drop_chunks = [1]
    result = cf.put("a", tmp_path / "a")
    assert store.objects["a"][0] == content
    assert (result["attempts"], result["verified"], result["etag"]) == (2, "md5", str(store.generation))
    assert len(store.sessions) == 1
    sent = [headers["content-range"].split()[1] for method, _, headers in store.seen if method == "PUT"]
    assert [text.partition("/")[0] for text in sent] == [
        f"0-{16 * MIB - 1}",
        f"{16 * MIB}-{32 * MIB - 1}",
        "*",
        f"{24 * MIB}-{40 * MIB - 1}",
    ]


def streamed(content: bytes, size: int = 999_999) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


@pytest.mark.parametrize("rest", [5, 0], ids=["with a rest", "of whole pieces"])
def test_what_has_no_known_length_goes_in_pieces_and_its_size_and_md5_are_told_at_the_end(
    store: Store, cf: ArtifactFiles, rest: int
) -> None:
    content = os.urandom(64 * MIB + 2 * MIB + rest)
    store.drop_chunks = [1]
    result = cf.put("a", streamed(content))
    assert store.objects["a"][0] == content
    assert (result["size"], result["verified"], result["etag"]) == (len(content), "md5", str(store.generation))
    asked = [headers for method, _, headers in store.seen if method == "PUT"]
    assert [headers["content-range"].removeprefix("bytes ") for headers in asked] == [
        f"0-{16 * MIB - 1}/*",
        f"{16 * MIB}-{33 * MIB - 1}/*",  # of which half was kept
        "*/*",
        f"{24 * MIB}-{33 * MIB - 1}/*",
        f"{33 * MIB}-{50 * MIB - 1}/*",
        f"{50 * MIB}-{66 * MIB + 4}/{66 * MIB + 5}" if rest else f"{50 * MIB}-{66 * MIB - 1}/*",
        *([] if rest else [f"*/{66 * MIB}"]),
    ]
    md5 = f"md5={b64(hashlib.md5(content).digest())}"
    assert [headers.get("x-goog-hash") for headers in asked] == [None] * (len(asked) - 1) + [md5]


def test_a_stream_that_breaks_off_is_cancelled(store: Store, cf: ArtifactFiles) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(65 * MIB)
        yield bytes(16 * MIB)
        raise ZeroDivisionError

    store.put("a", b"as it was")
    with pytest.raises(ZeroDivisionError):
        cf.put("a", broken())
    assert store.objects["a"][0] == b"as it was"
    assert store.sessions == {}


def test_a_stream_of_which_something_else_was_stored_is_an_error(store: Store, cf: ArtifactFiles) -> None:
    store.lie = b"damaged"
    with pytest.raises(IntegrityError, match="not what was sent"):
        cf.put("a", streamed(bytes(65 * MIB), 8 * MIB))


def test_what_was_stored_wrongly_is_an_error(store: Store, cf: ArtifactFiles) -> None:
    store.lie = b"damaged"
    with pytest.raises(IntegrityError, match="not what was sent"):
        cf.put("a", b"content")


def test_a_bucket_that_is_not_there_is_no_missing_object(store: Store, cf: ArtifactFiles) -> None:
    store.gone = True
    for attempt in (lambda: cf.get("a"), lambda: cf.head("a"), lambda: cf.delete("a"), lambda: cf.put("a", b"")):
        with pytest.raises(BucketNotFound):
            attempt()


def test_an_upload_that_would_go_to_another_host_is_refused(store: Store) -> None:
    store.location = "http://127.0.0.1:9"
    with (
        ArtifactFiles("gs://bucket", retry=RetryPolicy(attempts=1), token=TOKEN) as cf,
        pytest.raises(Exception, match="another host") as caught,
    ):
        cf.put("a", bytes(9 * MIB))
    assert "upload_id" not in str(caught.value)


# -- tokens


def test_a_token_is_shown_and_never_said(store: Store) -> None:
    store.token = TOKEN
    store.put("a", b"1")
    with ArtifactFiles("gs://bucket", retry=QUICK, token=TOKEN) as cf:
        assert cf.get("a") == b"1"
        with pickle.loads(pickle.dumps(cf)) as copy:
            assert copy.get("a") == b"1"
        assert TOKEN not in repr(cf)
    with ArtifactFiles("gs://bucket", retry=QUICK, token="wrong-token") as cf:
        with pytest.raises(AccessDenied) as caught:
            cf.head("a")
        assert "Invalid Credentials" in str(caught.value)
        assert "wrong-token" not in str(caught.value)


def test_nobody_is_told_that_there_were_no_credentials(store: Store, cf: ArtifactFiles) -> None:
    store.token = TOKEN
    for ask in (lambda: cf.get("a"), lambda: cf.head("a"), lambda: cf.put("a", b""), lambda: list(cf)):
        with pytest.raises(AccessDenied, match="no credentials were found"):
            ask()


@pytest.fixture(scope="module")
def private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.mark.parametrize("options", ENGINES, ids=["inline", "threads", "green"])
def test_a_service_account_gets_a_token_and_a_fresh_one_when_that_is_refused(
    store: Store, options: dict[str, Any], private_key: str, tmp_path: Path
) -> None:
    store.token = "not given to anybody yet"
    secret = {
        "type": "service_account",
        "client_email": "me@example.com",
        "private_key": private_key,
        "token_uri": f"http://{os.environ['STORAGE_EMULATOR_HOST']}/token",
    }
    for name in "abcdef":
        store.put(name, name.encode())
    (tmp_path / "secret.json").write_text(json.dumps(secret))
    for secrets in (secret, tmp_path / "secret.json"):
        with ArtifactFiles("gs://bucket", retry=QUICK, secrets=secrets, **options) as cf:
            assert cf.get("a") == b"a"
            given = store.tokens_given
            assert cf.get(list("abcdef"), return_dict=True) == {name: name.encode() for name in "abcdef"}
            assert store.tokens_given == given
            store.token = "somebody else's"  # the store takes the old one no more
            assert cf.get("b") == b"b"
            assert store.tokens_given == given + 1


@pytest.mark.parametrize("secrets", [{"type": "service_account"}, {"type": "external_account"}, {"key": 1}])
def test_secrets_that_are_none_say_so(store: Store, secrets: dict[str, object]) -> None:
    with ArtifactFiles("gs://bucket", secrets=secrets) as cf, pytest.raises(ValueError):
        cf.get("a")


def tokens(monkeypatch: pytest.MonkeyPatch, home: Path, **given: Any) -> auth.Tokens:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(home / "gcloud"))
    return auth.Tokens("bucket", given.get("token"), given.get("secrets"), None, ambient=given.get("ambient", True))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({".cloudvolume/secrets/google-secret.json": "1"}, "1"),
        ({".cloudvolume/secrets/google-secret.json": "1", ".cloudfiles/secrets/google-secret.json": "2"}, "2"),
        ({".cloudfiles/secrets/google-secret.json": "2", ".cloudfiles/secrets/bucket-google-secret.json": "3"}, "3"),
        ({".cloudfiles/secrets/other-google-secret.json": "4"}, None),
    ],
)
def test_secrets_are_found_where_cloud_files_has_them(
    files: dict[str, str], expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, token in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"token": token}))
    assert tokens(monkeypatch, tmp_path).current() == expected
    assert tokens(monkeypatch, tmp_path, token="given").current() == "given"
    assert tokens(monkeypatch, tmp_path, secrets={}).current() is None
    assert tokens(monkeypatch, tmp_path, ambient=False).current() is None  # an emulator gets none of it


def test_what_the_environment_names_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(AccessDenied, match="GOOGLE_APPLICATION_CREDENTIALS"):
        tokens(monkeypatch, tmp_path).current()


def test_without_google_auth_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(auth, "import_module", missing)
    assert tokens(monkeypatch, tmp_path).current() is None
    with pytest.raises(ImportError, match=r"pip install 'cloudfiles_hypha\[gcs\]'"):
        tokens(monkeypatch, tmp_path, secrets={"type": "service_account"}).current()


def test_without_an_emulator_everything_goes_to_google() -> None:
    location = GcsLocation(scheme="gs", root="gs://bucket", bucket="bucket")
    with ArtifactFiles("gs://bucket") as cf:
        assert cf._location == location
        assert cf._backend._host == HOST == "https://storage.googleapis.com"  # type: ignore[attr-defined]


def test_a_pin_that_is_no_generation_matches_nothing(store: Store, cf: ArtifactFiles) -> None:
    from cloudfiles_hypha.models import GetRequest

    store.put("a", b"1")
    with pytest.raises(PreconditionFailed):
        cf._backend.get(GetRequest("a", pinned="0" * 31 + "x"), None)


# -- metadata


def test_metadata_is_replaced_in_the_version_that_was_looked_at_and_nulls_remove_the_rest(
    store: Store, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"1")
    there = {"old": "1", "both": "1"}
    resource = store.resource
    monkeypatch.setattr(store, "resource", lambda name: {**resource(name), "metageneration": "7", "metadata": there})
    assert cf.head("a").metadata == there
    cf.set_metadata("a", {"New": "2", "both": "2"})
    method, url, _ = store.seen[-1]
    assert (method, urlsplit(url).path) == ("PATCH", "/storage/v1/b/bucket/o/a")
    assert parse_qs(urlsplit(url).query) == {"ifGenerationMatch": ["1001"], "ifMetagenerationMatch": ["7"]}
    assert json.loads(store.bodies[-1]) == {"metadata": {"old": None, "both": "2", "new": "2"}}


# -- writes on a condition


@pytest.mark.parametrize("size", [4, 9 * MIB], ids=["at once", "in pieces"])
def test_a_write_on_a_condition_is_decided_by_the_store(store: Store, cf: ArtifactFiles, size: int) -> None:
    cf._backend.genuine = True  # type: ignore[attr-defined]
    first = cf.put("a", b"1" * size, overwrite="never")
    with pytest.raises(FileExistsError):
        cf.put("a", b"2" * size, overwrite="never")
    cf.put("a", b"3" * size, if_match=first["etag"])
    for etag in (first["etag"], "no-generation"):
        with pytest.raises(PreconditionFailed):
            cf.put("a", b"4" * size, if_match=etag)
    assert store.objects["a"][0] == b"3" * size
    assert not [url for method, url, _ in store.seen if method == "GET"]  # nothing was asked first


@pytest.mark.parametrize("size", [4, 9 * MIB], ids=["at once", "in pieces"])
@pytest.mark.parametrize("genuine", [True, False])
def test_a_write_on_a_condition_whose_answer_was_lost_was_done(
    store: Store, cf: ArtifactFiles, size: int, genuine: bool
) -> None:
    cf._backend.genuine = genuine  # type: ignore[attr-defined]
    store.lose_answers = 1
    result = cf.put("a", b"1" * size, overwrite="never")
    assert (result["etag"], result["verified"]) == (str(store.generation), "md5")
    with pytest.raises(FileExistsError):
        cf.put("a", b"1" * size, overwrite="never")
