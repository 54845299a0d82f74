"""Old versions of files, and what users say of them by names of their own, on every store that keeps either."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    ArtifactFile,
    ArtifactFiles,
    AsyncArtifactFiles,
    BatchError,
    InvalidRequest,
    LossyWarning,
    ObjectInfo,
    ObjectNotFound,
    PreconditionFailed,
    ReadOnly,
    TransferError,
    Version,
)
from cloudfiles_hypha.backends.memory import clear_memory
from cloudfiles_hypha.backends.s3.backend import S3Backend
from cloudfiles_hypha.devserver.server import DevServer
from cloudfiles_hypha.transports import HttpRequest
from tests.contract.test_backends import ENGINES, ODD_NAMES, TEN, Place
from tests.support.azurite import azurite
from tests.support.fake_hypha import FakeHypha
from tests.support.gcs_emulator import gcs_emulator
from tests.support.s3_servers import S3Server, moto, seaweed

MIB = 1 << 20
_numbers = itertools.count()
_VERSIONING = b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>'


def keep_versions(server: S3Server, bucket: str) -> None:
    """Have a bucket keep them; the client has no verb for that."""
    with ArtifactFiles(server.cloudpath(bucket), secrets=server.secrets, num_threads=0) as cf:
        backend = cf._backend
        assert isinstance(backend, S3Backend)
        asked = HttpRequest("PUT", "?versioning=", (("Content-Type", "application/xml"),), _VERSIONING)
        assert backend.sender.send(asked).status == 200


class Kept:
    """A store that keeps versions."""

    def __init__(self, place: Place, *, of_artifact: bool = False) -> None:
        self.place = place
        self.of_artifact = of_artifact

    def new_place(self) -> Place:
        number = next(_numbers)
        if self.of_artifact:
            return Place(f"{self.place.cloudpath}-{number}", **self.place.options)
        return Place(f"{self.place.cloudpath}/{number}", **self.place.options)

    def write(self, cf: ArtifactFiles, **files: bytes) -> None:
        """Store files as a version of each: an artifact's is made by a commit."""
        if self.of_artifact and cf.exists("made"):
            with cf.staged(version="new"):
                cf.puts([*files.items(), ("made", b"")])
        else:
            cf.puts([*files.items(), ("made", b"")])


@pytest.fixture(scope="module", params=["seaweed", "moto", "hypha"])
def kept(request: pytest.FixtureRequest) -> Iterator[Kept]:
    """A store of each kind; of Hypha the scripted server, as the real one takes seconds for each version."""
    with ExitStack() as stack:
        if request.param == "hypha":
            fake = stack.enter_context(FakeHypha(workspace="ws"))
            options: dict[str, Any] = {"server_url": fake.url, "token": fake.token, "create": True}
            yield Kept(Place("hypha://ws/versions", **options), of_artifact=True)
        else:
            server = stack.enter_context({"seaweed": seaweed, "moto": moto}[request.param]())
            server.make_bucket("versions")
            keep_versions(server, "versions")
            yield Kept(Place(server.cloudpath("versions"), secrets=server.secrets))


@pytest.fixture
def place(kept: Kept) -> Place:
    return kept.new_place()


@pytest.fixture
def cf(place: Place) -> Iterator[ArtifactFiles]:
    with place.open(num_threads=4) as cf:
        yield cf


def test_versions_are_told_oldest_first_and_each_is_read_by_its_id(kept: Kept, cf: ArtifactFiles) -> None:
    before = time.time()
    for content in (b"one", b"second", b"the third"):
        kept.write(cf, **{"a": content, "a-b": b"other", "a.txt": b"other"})
    found = cf.versions("a")
    assert [version.size for version in found] == [3, 6, 9]
    assert [version.latest for version in found] == [False, False, True]
    assert all(isinstance(version, Version) for version in found)
    assert len({version.id for version in found}) == len({version.etag for version in found}) == 3
    if not kept.of_artifact:  # the scripted server's objects are always of the same time
        assert all(before - 5 < (version.last_modified or 0) < time.time() + 5 for version in found)
    results = cf.get([{"path": "a", "version": version.id} for version in found] + ["a"])
    assert [result["content"] for result in results] == [b"one", b"second", b"the third", b"the third"]
    assert [result["etag"] for result in results[:3]] == [version.etag for version in found]
    assert cf.get({"path": "a", "version": found[0].id}) == b"one"
    assert [cf.head("a", version=version.id).size for version in found] == [3, 6, 9]
    assert cf.head(["a", "a-b"], version=found[-1].id if kept.of_artifact else None)["a"].size == 9


def test_ranges_of_several_versions_are_not_mixed_up(kept: Kept, cf: ArtifactFiles) -> None:
    for content in (b"0123456789", b"abcdefghij"):
        kept.write(cf, a=content)
    first, second = (version.id for version in cf.versions("a"))
    wanted = [(first, 0, 2), (second, 1, 3), (first, 3, 5), (second, 4, 6), (None, 6, 8)]
    results = cf.get([{"path": "a", "start": start, "end": end, "version": id} for id, start, end in wanted])
    assert [result["content"] for result in results] == [b"01", b"bc", b"34", b"ef", b"gh"]
    buffer = bytearray(4)
    cf.get({"path": "a", "start": 6, "end": 10, "version": first, "into": buffer})
    assert bytes(buffer) == b"6789"


def test_an_old_version_is_opened_beside_the_latest(kept: Kept, cf: ArtifactFiles) -> None:
    for content in (b"old\nlines\n", b"new\nlines\n"):
        kept.write(cf, a=content)
    first, second = (version.id for version in cf.versions("a"))
    with cf.open("a", version=first) as old, cf.open("a") as new, cf.open("a", "r", version=first) as text:
        assert (old.read(), new.read(), text.read()) == (b"old\nlines\n", b"new\nlines\n", "old\nlines\n")
        assert old._cursor.remote.reader.address("a") != new._cursor.remote.reader.address("a")
        again = pickle.loads(pickle.dumps(old))
        again.seek(0)
        with again:
            assert again.readline() == b"old\n"
    with cf.open("a", version=second, prefetch_bytes=0) as file:
        assert file.readlines() == [b"new\n", b"lines\n"]
    with pytest.raises(ValueError, match="not be written to"):
        cf.open("a", "r+b", version=first)


def test_an_old_version_is_downloaded(kept: Kept, cf: ArtifactFiles, tmp_path: Path) -> None:
    for content in (b"old" * 3 * MIB, b"new" * 3 * MIB):
        kept.write(cf, a=content)
    first, second = (version.id for version in cf.versions("a"))
    wanted = [{"path": "a", "local_path": "old", "version": first}, {"path": "a", "local_path": "new"}]
    assert [each["skipped"] for each in cf.download(wanted, tmp_path, part_size=4 * MIB)] == [False, False]
    assert (tmp_path / "old").read_bytes()[:3] == b"old"
    assert (tmp_path / "new").read_bytes()[:3] == b"new"
    assert [each["skipped"] for each in cf.download(wanted, tmp_path)] == [True, True]
    other = [{**wanted[0], "version": second}, {**wanted[1], "version": first}]
    for dry_run in (True, False):
        assert [each["skipped"] for each in cf.download(other, tmp_path, dry_run=dry_run)] == [False, False]
    assert (tmp_path / "old").read_bytes()[:3] == b"new"


def test_one_file_has_versions_and_metadata(kept: Kept, place: Place) -> None:
    with place.open() as cf, ArtifactFile(f"{place.cloudpath}/a", **place.options) as file:
        for content in (b"one", b"second"):
            kept.write(cf, a=content)
        first, second = file.versions()
        assert (file.get(version=first.id), file.head(version=first.id).size, second.latest) == (b"one", 3, True)
        if not kept.of_artifact:
            file.put(b"third", metadata={"a": "b"})
            assert file.head().metadata == {"a": "b"}
            file.set_metadata({"c": "d"})
            assert file.head().metadata == {"c": "d"}


def test_a_version_that_is_not_there_is_no_file(kept: Kept, cf: ArtifactFiles) -> None:
    kept.write(cf, a=b"a")
    (version,) = cf.versions("a")
    other = version.id[:-1] + ("8" if version.id.endswith("9") else "9")
    with pytest.raises(BatchError) as caught:
        cf.get([{"path": "a", "version": other}, {"path": "a", "version": version.id}])
    results = caught.value.results
    assert [result["content"] for result in results] == [None, b"a"]
    assert isinstance(results[0]["error"], OSError)
    with pytest.raises(ObjectNotFound):
        cf.get({"path": "b", "version": version.id})


def test_of_a_name_that_never_was_there_are_no_versions(kept: Kept, cf: ArtifactFiles) -> None:
    kept.write(cf, **{"a.txt": b"a"})
    assert cf.versions("a") == []


def test_versions_come_page_by_page(kept: Kept, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = cf._backend
    if not isinstance(backend, S3Backend):
        pytest.skip("an artifact tells all of its versions at once")
    for number in range(5):
        kept.write(cf, **{"a": b"%d" % number, "a/b": b""})
    asked, pages = backend._asked, []

    def with_two(query: dict[str, str], prefix: str) -> bytes:
        pages.append(query)
        return asked({**query, "max-keys": "2"}, prefix)

    monkeypatch.setattr(backend, "_asked", with_two)
    found = cf.versions("a")
    results = cf.get([{"path": "a", "version": version.id} for version in found])
    assert [result["content"] for result in results] == [b"0", b"1", b"2", b"3", b"4"]
    assert len(pages) > 2


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_any_kind_have_versions(kept: Kept, cf: ArtifactFiles, name: str) -> None:
    for content in (b"old", b"new"):
        kept.write(cf, **{name: content})
    old, new = cf.versions(name)
    assert (old.latest, new.latest) == (False, True)
    assert cf.get({"path": name, "version": old.id}) == b"old"


def test_an_object_that_the_store_leaves_out_of_its_pages_is_an_error(
    kept: Kept, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = cf._backend
    if not isinstance(backend, S3Backend):
        pytest.skip("an artifact has no such pages")
    kept.write(cf, a=b"a")
    pages = iter(
        [
            b"<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>a-1</NextKeyMarker></ListVersionsResult>",
            b"<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>",
        ]
    )
    monkeypatch.setattr(backend, "_asked", lambda query, prefix: next(pages))
    with pytest.raises(TransferError, match="leaves this object out"):
        cf.versions("a")


def test_what_is_removed_has_no_latest_version_and_can_be_read(kept: Kept, cf: ArtifactFiles) -> None:
    kept.write(cf, a=b"kept", b=b"b")
    if kept.of_artifact:
        kept.write(cf, b=b"of a version without it")
    else:
        cf.delete("a")
    assert not cf.exists("a")
    (version,) = cf.versions("a")
    assert not version.latest
    assert cf.get({"path": "a", "version": version.id}) == b"kept"


def test_versions_are_read_by_other_processes_and_awaited(kept: Kept, cf: ArtifactFiles) -> None:
    for content in (b"one", b"two"):
        kept.write(cf, a=content, b=content)
    first, second = (version.id for version in cf.versions("a"))
    other = first if kept.of_artifact else cf.versions("b")[0].id
    wanted = [{"path": "a", "version": first}, {"path": "b", "version": other}, {"path": "a"}]
    assert [result["content"] for result in cf.get(wanted, parallel=2)] == [b"one", b"one", b"two"]

    async def awaited() -> None:
        async with AsyncArtifactFiles(cf) as files:
            assert [version.id for version in await files.versions("a")] == [first, second]
            assert await asyncio.gather(*map(files.get, wanted)) == [b"one", b"one", b"two"]
            assert (await files.head("a", version=first)).size == 3
            async with files.open("a", version=first) as file:
                assert await file.read() == b"one"

    asyncio.run(awaited())


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_versions_are_read_by_every_engine(kept: Kept, place: Place, engine: str) -> None:
    with place.open(**ENGINES[engine]) as cf:
        for content in (b"one", b"two"):
            kept.write(cf, a=content)
        first = cf.versions("a")[0].id
        assert cf.get({"path": "a", "version": first}) == b"one"
        assert [each["content"] for each in cf.get(["a", {"path": "a", "version": first}])] == [b"two", b"one"]
        assert cf.head("a", version=first).size == 3
        with cf.open("a", version=first) as file:
            assert file.read() == b"one"


def test_a_real_artifact_has_the_versions_in_which_the_file_is() -> None:
    if not os.environ.get("CLOUDFILES_HYPHA_SERVER_PYTHON"):
        pytest.skip("needs CLOUDFILES_HYPHA_SERVER_PYTHON, the Python that has Hypha")
    with (
        DevServer(workspace="versions") as real,
        ArtifactFiles("versions/real", server_url=real.server_url, token=real.token, create=True) as cf,
    ):
        before = time.time()
        cf.puts([("d/a", b"one"), ("b", b"b")])
        with cf.staged(version="named"):
            cf.puts([("d/a", b"second")])
        first, second = cf.versions("d/a")
        assert [(each.id, each.size, each.latest) for each in (first, second)] == [("v0", 3, False), ("named", 6, True)]
        assert before - 5 < (first.last_modified or 0) <= (second.last_modified or 0) < time.time() + 5
        assert first.etag != second.etag
        assert [(each.id, each.latest) for each in cf.versions("b")] == [("v0", False)]
        assert cf.versions("c") == []
        wanted = [{"path": "d/a", "version": "v0"}, {"path": "b", "version": "v0"}, "d/a"]
        assert [each["content"] for each in cf.get(wanted)] == [b"one", b"b", b"second"]
        assert cf.head("d/a", version="v0").etag == first.etag
        with cf.open("d/a", version="v0") as file:
            assert file.read() == b"one"
        for path, version in (("b", "named"), ("b", "never")):
            with pytest.raises(FileNotFoundError):
                cf.get({"path": path, "version": version})


def test_names_of_one_version_of_an_artifact_are_signed_together() -> None:
    with FakeHypha(workspace="ws") as fake:
        options: dict[str, Any] = {"server_url": fake.url, "token": fake.token, "create": True}
        with ArtifactFiles("hypha://ws/together", **options) as cf:
            names = [f"{number:03}" for number in range(40)]
            cf.puts([(name, b"old") for name in names])
            with cf.staged(version="new"):
                cf.puts([(name, b"new") for name in names])
            fake.calls.clear()
            results = cf.get([{"path": name, "version": version} for name in names for version in ("v0", None)])
            assert [each["content"] for each in results] == [b"old", b"new"] * 40
            assert len([call for call in fake.calls if call.method == "get_file"]) < 20


def test_a_bucket_that_keeps_no_versions_has_the_one_that_is_there() -> None:
    with moto() as server:
        server.make_bucket("plain")
        with ArtifactFiles(server.cloudpath("plain"), secrets=server.secrets) as cf:
            cf.put("a", TEN)
            cf.put("a", TEN[:5])
            (version,) = cf.versions("a")
            assert (version.id, version.size, version.latest) == ("null", 5, True)


@pytest.mark.parametrize("start", [seaweed, moto], ids=["seaweed", "moto"])
def test_a_version_that_a_bucket_does_not_keep_is_not_taken_for_what_is_there_now(start: Any) -> None:
    with start() as server:
        bucket = f"plain{next(_numbers)}"
        server.make_bucket(bucket)
        with ArtifactFiles(server.cloudpath(bucket), secrets=server.secrets) as cf:
            cf.put("a", TEN)
            wanted = {"path": "a", "version": "0123456789abcdef0123456789abcdef"}
            taken = io.BytesIO()
            for read in (
                lambda: cf.get(wanted),
                lambda: cf.get({**wanted, "start": 2, "end": 4}),
                lambda: cf.head("a", version=wanted["version"]),
                lambda: cf.get({**wanted, "into": taken}),
                lambda: cf.open("a", version=wanted["version"]).read(),
            ):
                with pytest.raises((ObjectNotFound, InvalidRequest)):  # moto has it that such an id cannot be
                    read()
            assert taken.getvalue() == b""
            assert cf.get({"path": "a", "version": "null"}) == TEN


@pytest.mark.parametrize("cloudpath", ["mem://plain", "file://{tmp_path}/store", "https://127.0.0.1:9/a"])
def test_a_store_that_keeps_no_versions_says_so_before_anything_is_asked(cloudpath: str, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with ArtifactFiles(cloudpath.format(tmp_path=tmp_path)) as cf:
        assert cf.versions("a") == []
        wanted = {"path": "a", "version": "v0"}
        for attempt in (
            lambda: cf.get(wanted),
            lambda: cf.get(["a", wanted]),
            lambda: cf.submit(wanted),
            lambda: cf.head("a", version="v0"),
            lambda: cf.open("a", version="v0"),
            lambda: cf.open("a", "r", version="v0"),
            lambda: cf.download([wanted], tmp_path),
        ):
            with pytest.raises(ValueError, match="'a': .*keeps no versions"):
                attempt()
        for wrong in ("", 7, "a\nb"):
            with pytest.raises(ValueError, match="expected the id of a Version"):
                cf.get({"path": "a", "version": wrong})
    clear_memory()


# -- metadata


@pytest.fixture(scope="module", params=["memory", "seaweed", "moto", "azurite", "gcs"])
def described(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A store that keeps metadata."""
    with ExitStack() as stack:
        if request.param == "memory":
            yield Place("mem://described")
            clear_memory()
        elif request.param == "azurite":
            store = stack.enter_context(azurite())
            store.make_container("described")
            yield Place(store.cloudpath("described"), secrets=store.secrets)
        elif request.param == "gcs":
            url = stack.enter_context(gcs_emulator("described-bucket"))
            yield Place("gs://described-bucket", emulator=url)
        else:
            server = stack.enter_context({"seaweed": seaweed, "moto": moto}[request.param]())
            server.make_bucket("described")
            yield Place(server.cloudpath("described"), secrets=server.secrets)


@pytest.fixture
def dcf(described: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArtifactFiles]:
    options = {"multipart_threshold": 6 * MIB, "part_size": 5 * MIB, **described.options}
    if emulator := options.pop("emulator", None):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    with Place(described.cloudpath, **options).open() as cf:
        yield cf


def told(info: ObjectInfo) -> dict[str, str]:
    """Its metadata. The emulator of Google's store keeps as "None" what a null is to remove, as ``test_gcs`` shows."""
    return {name: value for name, value in info.metadata.items() if value != "None"}


def test_metadata_is_kept_with_what_is_put(dcf: ArtifactFiles) -> None:
    dcf.put("a", TEN, "text/plain", metadata={"Author": "A. N. Other", "run_7": "x=1; y"})
    assert dcf.head("a").metadata == {"author": "A. N. Other", "run_7": "x=1; y"}
    files = [{"path": "b", "content": TEN, "metadata": {"n": "1"}}, ("c", TEN)]
    assert [each["error"] for each in dcf.puts(files)] == [None, None]
    assert [dcf.head(name).metadata for name in "bc"] == [{"n": "1"}, {}]
    dcf.put("a", TEN)
    assert dcf.head("a").metadata == {}


def test_metadata_goes_with_parts_streams_and_encodings(dcf: ArtifactFiles) -> None:
    dcf.put("large", bytes(11 * MIB), metadata={"how": "parts"})
    dcf.put("stream", iter([bytes(4 * MIB)] * 3), metadata={"how": "stream"})
    dcf.put("encoded", TEN, compress="gzip", metadata={"how": "encoded"})
    assert [dcf.head(name).metadata["how"] for name in ("large", "stream", "encoded")] == ["parts", "stream", "encoded"]


def test_metadata_is_replaced_and_all_else_stays(dcf: ArtifactFiles) -> None:
    dcf.put("a", TEN, "text/plain", "no-store", compress="gzip", metadata={"old": "1", "both": "1"})
    before = dcf.head("a")
    dcf.set_metadata("a", {"New": "2", "both": "2"})
    after = dcf.head("a")
    assert told(after) == {"new": "2", "both": "2"}
    assert (after.size, after.content_type, after.compress) == (before.size, "text/plain", "gzip")
    assert after.headers.get("cache-control") == "no-store"
    assert after.digest == before.digest
    assert dcf.get("a") == TEN
    dcf.set_metadata("a", {})
    assert told(dcf.head("a")) == {}
    with pytest.raises(ObjectNotFound):
        dcf.set_metadata("missing", {"a": "b"})


def test_copies_keep_metadata(dcf: ArtifactFiles) -> None:
    dcf.put("a", TEN, metadata={"n": "1"})
    dcf.transfer_to(dcf, [("a", "copy")])
    assert dcf.head("copy").metadata == {"n": "1"}
    with ArtifactFiles("mem://elsewhere") as there:
        dcf.transfer_to(there, "a")
        assert there.head("a").metadata == {"n": "1"}
        dcf.transfer_from(there, [("a", "back")])
    assert dcf.head("back").metadata == {"n": "1"}
    clear_memory()


def test_a_copy_to_where_none_is_kept_says_what_is_lost(dcf: ArtifactFiles, tmp_path: Path) -> None:
    dcf.put("a", TEN, metadata={"n": "1"})
    (tmp_path / "store").mkdir()
    with pytest.warns(LossyWarning, match="metadata"):
        dcf.transfer_to(f"file://{tmp_path}/store", "a")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"a b": "x"}, "no name"),
        ({"ä": "x"}, "no name"),
        ({"": "x"}, "no name"),
        ({"a": "ä"}, "no value"),
        ({"a": "x\r\ny: z"}, "no value"),
        ({"a": ""}, "no value"),
        ({"a": " x"}, "no value"),
        ({"a": "x", "A": "y"}, "twice"),
        ({"a": "x" * 9000}, "at most"),
    ],
)
def test_metadata_that_no_header_can_have_is_refused_before_anything_is_sent(
    dcf: ArtifactFiles, metadata: dict[str, str], said: str
) -> None:
    dcf.put("a", TEN, metadata={"there": "1"})
    for attempt in (
        lambda: dcf.put("a", b"", metadata=metadata),
        lambda: dcf.puts([{"path": "a", "content": b"", "metadata": metadata}]),
        lambda: dcf.set_metadata("a", metadata),
    ):
        with pytest.raises(ValueError, match=said):
            attempt()
    assert (dcf.get("a"), dcf.head("a").metadata) == (TEN, {"there": "1"})
    with pytest.raises(TypeError, match="dict of text"):
        dcf.put("a", b"", metadata={"a": 1})  # type: ignore[dict-item]


def test_a_store_that_keeps_no_metadata_refuses_it_by_name(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with ArtifactFiles(f"file://{tmp_path}/store") as cf:
        for attempt in (lambda: cf.put("a", TEN, metadata={"a": "b"}), lambda: cf.set_metadata("a", {"a": "b"})):
            with pytest.raises(ValueError, match="'a': file://.*metadata"):
                attempt()
        assert list(cf) == []
    with FakeHypha(workspace="ws") as fake:
        with ArtifactFiles("hypha://ws/a", server_url=fake.url, token=fake.token, create=True) as cf:
            for attempt in (lambda: cf.put("a", TEN, metadata={"a": "b"}), lambda: cf.set_metadata("a", {"a": "b"})):
                with pytest.raises(ValueError, match="'a': hypha://.*metadata"):
                    attempt()
        assert not fake.calls
    with ArtifactFiles("https://127.0.0.1:9/a") as cf, pytest.raises(ReadOnly):
        cf.set_metadata("a", {"a": "b"})


def test_an_object_that_is_replaced_meanwhile_keeps_its_own_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    with seaweed() as server:
        server.make_bucket("raced")
        with ArtifactFiles(server.cloudpath("raced"), secrets=server.secrets) as cf:
            cf.put("a", b"old")
            backend, head = cf._backend, S3Backend.head

            def raced(self: S3Backend, path: str, ticket: object) -> Any:
                info = head(self, path, ticket)
                cf.put("a", b"another's", metadata={"by": "another"})
                return info

            with monkeypatch.context() as patch:
                patch.setattr(S3Backend, "head", raced)
                with pytest.raises(PreconditionFailed):
                    cf.set_metadata("a", {"by": "me"})
            assert cf._backend is backend
            assert (cf.get("a"), cf.head("a").metadata) == (b"another's", {"by": "another"})
