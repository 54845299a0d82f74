"""``compat.cloudfiles``: the examples of cloud-files' own documentation, and its manners where ours are others."""

from __future__ import annotations

import gzip
import itertools
import pickle
from pathlib import Path

import pytest

from cloudfiles_hypha import (
    ArtifactFiles,
    ArtifactNotFound,
    BucketNotFound,
    IntegrityError,
    ObjectInfo,
    ObjectNotFound,
    TransferError,
    backends,
)
from cloudfiles_hypha.backends import Resources
from cloudfiles_hypha.backends.base import Backend
from cloudfiles_hypha.backends.memory import MemoryBackend
from cloudfiles_hypha.backends.s3.backend import S3Backend
from cloudfiles_hypha.compat import cloudfiles
from cloudfiles_hypha.compat.cloudfiles import CloudFile, CloudFiles, clear_memory, compression, dl, exceptions, paths
from cloudfiles_hypha.paths import Location
from tests.support.object_server import ObjectServer, Status

numbers = itertools.count()


@pytest.fixture
def memory() -> CloudFiles:
    return CloudFiles(f"mem://compat-{next(numbers)}/folder/")


@pytest.fixture(params=["mem", "file"])
def cf(request: pytest.FixtureRequest, memory: CloudFiles, tmp_path: Path) -> CloudFiles:
    return memory if request.param == "mem" else CloudFiles(f"file://{tmp_path}/folder/")


# --- The examples of the documentation --------------------------------------------------------------------------------


def test_overview(cf: CloudFiles) -> None:
    content = b"content"
    cf.put("filename", content)
    assert cf.get("filename") == content
    cf.put_json("filename", {"a": 1})
    assert cf.get_json("filename") == {"a": 1}
    cf.puts([{"path": "filename_1", "content": content}, {"path": "filename_2", "content": content}])
    assert [result["content"] for result in cf.get(["filename_1", "filename_2"])] == [content, content]
    cf.put_jsons([{"path": "a.json", "content": [1]}, ("b.json", 2)])
    assert sorted(cf.list()) == ["a.json", "b.json", "filename", "filename_1", "filename_2"]
    cf.delete("filename")
    cf.delete(["filename_1", "filename_2"])
    assert cf.exists("filename") is False
    assert cf.exists(["filename_1", "a.json"]) == {"filename_1": False, "a.json": True}


def test_constructor() -> None:
    cf = CloudFiles("mem://compat-constructor", progress=False, green=False, secrets=None, num_threads=20)
    assert "threads=20" in repr(cf)
    assert "green=3" in repr(CloudFiles("mem://compat-constructor", False, True, None, 3))


def test_get_and_get_json(cf: CloudFiles) -> None:
    cf.puts([("filename", bytes(2000)), ("filename1", b"1"), ("filename2", b"2")])
    assert cf.get("filename") == bytes(2000)
    binaries = cf.get(["filename1", "filename2"])
    expected = {"byte_range": (None, None), "error": None}
    assert [{key: result[key] for key in ("path", "content", *expected)} for result in binaries] == [
        {"path": "filename1", "content": b"1", **expected},
        {"path": "filename2", "content": b"2", **expected},
    ]
    assert cf.get({"path": "filename", "start": 0, "end": 1024}) == bytes(1024)
    assert len(cf.get(name for name in ("filename1", "filename2"))) == 2


def test_put_and_puts(cf: CloudFiles) -> None:
    assert cf.put("filename", b"content") == 1
    assert cf.put_json("digits", [1, 2, 3, 4, 5]) == 1
    stored = cf.puts(
        [
            {
                "path": "filename",
                "content": b"...",
                "content_type": "application/octet-stream",
                "cache_control": "no-cache",
            }
        ]
    )
    assert stored == 1
    assert cf.get_json("digits") == [1, 2, 3, 4, 5]
    assert cf.head("filename")["Cache-Control"] == "no-cache"
    assert cf.head("digits")["Content-Type"] == "application/json"


def test_puts_with_everything(cf: CloudFiles) -> None:
    cf.puts(
        [
            {
                "path": "filename",
                "content": b"content" * 100,
                "content_type": "application/octet-stream",
                "compress": "gzip",
                "compression_level": 6,
                "cache_control": "no-cache",
            }
        ]
    )
    assert cf.get("filename") == b"content" * 100
    (result,) = cf.get(["filename"], raw=True)
    assert (result["compress"], result["raw"]) == ("gzip", True)
    assert gzip.decompress(result["content"]) == b"content" * 100
    cf.put("br", b"x" * 1000, compress="br")
    cf.put_json("digits", [1, 2, 3], compress="gzip")
    assert (cf.get("br"), cf.get_json("digits")) == (b"x" * 1000, [1, 2, 3])


def test_list(cf: CloudFiles) -> None:
    cf.puts([("abc", b""), ("abcd/e", b"12"), ("x", b"3")])
    assert sorted(cf.list()) == ["abc", "abcd/e", "x"]
    assert sorted(cf.list(prefix="abc")) == ["abc", "abcd/e"]
    assert sorted(cf.list(prefix="abc", flat=True)) == ["abc", "abcd/"]
    assert dict(cf.list(size=True)) == {"abc": 0, "abcd/e": 2, "x": 1}


def test_a_listing_goes_on_from_a_token(cf: CloudFiles) -> None:
    cf.puts([("a", b"1"), ("b/c", b"12"), ("d", b"")])
    (_, token), *_ = cf.list(return_resume_token=True)
    assert [*cf.list(resume_token=token)] == ["b/c", "d"]
    ((name, size, token), *_) = cf.list(resume_token=token, size=True, return_resume_token=True)
    assert (name, size, [*cf.list(resume_token=token, size=True)]) == ("b/c", 2, [("d", 0)])
    with pytest.raises(ValueError, match="flat"):
        cf.list(flat=True, return_resume_token=True)


# --- Manners ----------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_none(cf: CloudFiles) -> None:
    cf.put("a", b"A")
    assert cf.get("none") is cf.get_json("none") is cf.size("none") is cf.head("none") is None
    results = cf.get(["a", "none"])
    assert [(result["content"], result["error"]) for result in results] == [(b"A", None), (None, None)]
    assert set(results[0]) == {"path", "content", "byte_range", "error", "compress", "raw", "tags"}
    assert cf.get(["a", "none"], return_dict=True) == {"a": b"A", "none": None}
    assert cf.size(["a", "none"]) == {"a": 1, "none": None}
    assert cf.size(["a", "none"], return_sum=True) == 1
    cf.put_json("j", {"x": 1})
    assert cf.get_json(["j", "none"]) == [{"x": 1}, None]


def test_other_errors_are_raised_or_told(object_server: ObjectServer) -> None:
    object_server.put("a", b"A")
    object_server.put("b", b"B", faults=[Status(403)] * 2)
    cf = CloudFiles(object_server.url)
    with pytest.raises(PermissionError):
        cf.get(["a", "b"])
    first, second = cf.get(["a", "b"], raise_errors=False)
    assert first["content"] == b"A"
    assert isinstance(second["error"], PermissionError)
    cf.files.close()


def test_empty_text_is_stored(cf: CloudFiles) -> None:
    cf.put("a", "")
    cf["b"] = b""
    assert cf.get(["a", "b"], return_dict=True) == {"a": b"", "b": b""}
    with pytest.raises(ValueError, match="storage_class"):
        cf.puts([{"path": "c", "content": b"", "storage_class": "GLACIER"}])


def test_slices_transfers_and_moves(cf: CloudFiles) -> None:
    other = CloudFiles(f"mem://compat-{next(numbers)}")
    cf.puts([(str(number), b"%d" % number) for number in range(5)])
    assert [result["path"] for result in cf[:2]] == ["0", "1"]
    assert (cf["3"], cf["3", 0:1], len(cf[:])) == (b"3", b"3", 5)
    other[:] = cf
    assert sorted(other) == sorted(cf)
    with pytest.raises(KeyError):
        other[:3] = cf
    cf.transfer_to(other.cloudpath, [{"path": "1", "dest_path": "one"}, "none"], allow_missing=True)
    assert other.get("one") == b"1"
    with pytest.raises(FileNotFoundError):
        cf.transfer_to(other, ["none"])
    other.transfer_from(cf.cloudpath, ["2"])
    other.move("one", "uno")
    other.moves(cf, ["uno", ("2", "two")])
    assert sorted(cf) == ["0", "1", "2", "3", "4", "two", "uno"]
    assert other.subtree_size() == {"N": 4, "num_bytes": 4}
    del other["0"]
    assert "0" not in other
    assert other.isdir()
    assert other.abspath("x/y") == f"{other.cloudpath}/x/y"
    assert (other.protocol, other.sep, other.join("a", "b"), other.dirname("a/b"), other.basename("a/b")) == (
        *("mem", "/", "a/b"),
        *("a", "b"),
    )


def test_cloud_file() -> None:
    file = CloudFile("mem://compat-file/dir/a")
    assert (file.get(), file.size(), file.head(), file.exists()) == (None, None, None, False)
    file.touch()
    assert (len(file), bool(file)) == (0, True)
    file.put(b"0123456789")
    assert (file.get(), file[2:4], len(file)) == (b"0123456789", b"23", 10)
    assert [result["content"] for result in file.get([slice(0, 2), {"path": "a", "start": 8}])] == [b"01", b"89"]
    file.transfer_to("mem://compat-file/b")
    file.put_json([1])
    assert file.get_json() == [1]
    file.transfer_from("mem://compat-file/b")
    file.move("mem://compat-file/dir/c")
    file.delete()
    assert sorted(ArtifactFiles("mem://compat-file")) == ["b", "dir/c"]


def test_dl() -> None:
    ArtifactFiles("mem://compat-dl-1").put("a", b"A")
    ArtifactFiles("mem://compat-dl-2/x").put("b", b"B")
    results = dl(["mem://compat-dl-2/x/b", "mem://compat-dl-1/a", "mem://compat-dl-1/none"])
    assert [(result["fullpath"], result["content"]) for result in results] == [
        ("mem://compat-dl-2/x/b", b"B"),
        ("mem://compat-dl-1/a", b"A"),
        ("mem://compat-dl-1/none", None),
    ]
    assert dl("mem://compat-dl-1/a")["content"] == b"A"


# --- Nothing wrong in silence -----------------------------------------------------------------------------------------


def test_secrets_go_to_no_other_place(cf: CloudFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    cf.put("a", b"A")
    given: dict[str, object] = {}
    opened = backends.open_backend

    def noted(location: Location, resources: Resources) -> Backend:
        given[location.root] = resources.settings.secrets
        return opened(location, resources)

    monkeypatch.setattr(backends, "open_backend", noted)
    target = CloudFiles("mem://compat-secret", secrets={"token": "s"})
    target.transfer_from(cf.cloudpath)
    target.transfer_to("mem://compat-elsewhere")
    assert given == {
        "mem://compat-secret": {"token": "s"},
        cf.files._location.root: None,
        "mem://compat-elsewhere": None,
    }


def test_allow_missing_excuses_missing_sources_only(memory: CloudFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    other = CloudFiles(f"mem://compat-{next(numbers)}")
    memory.put("a", b"A")
    other.transfer_from(memory.files, ["a", "none"], allow_missing=True)
    other.transfer_from(memory, ["none"], reencode="gzip", allow_missing=True)
    assert list(other) == ["a"]
    with pytest.raises(FileNotFoundError):
        memory.transfer_to(other, ["none"], 64, "gzip")  # upstream's fourth argument is no allow_missing
    with pytest.raises(FileNotFoundError):
        other.transfer_from(memory.files, ["none"])

    def no_target(*_: object) -> None:
        raise ObjectNotFound("there is no such bucket")

    monkeypatch.setattr(MemoryBackend, "copy", no_target)
    with pytest.raises(ObjectNotFound, match="bucket"):
        memory.transfer_to(other, ["a", "none"], allow_missing=True)


def test_a_bucket_that_is_not_there_is_no_missing_file(memory: CloudFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    other = CloudFiles(f"mem://compat-{next(numbers)}")

    def no_bucket(*_: object) -> None:
        raise BucketNotFound("there is no bucket of this name")

    monkeypatch.setattr(MemoryBackend, "_find", no_bucket)
    for ask in (
        lambda: memory.get("a"),
        lambda: memory.get(["a"]),
        lambda: memory.get_json("a"),
        lambda: memory.size("a"),
        lambda: other.transfer_from(memory, ["a"], allow_missing=True),
        lambda: other.transfer_from(memory, ["a"], reencode="gzip", allow_missing=True),
    ):
        with pytest.raises(BucketNotFound):
            ask()


def test_transfers_reencode_and_set_types(cf: CloudFiles) -> None:
    other = CloudFiles(f"mem://compat-{next(numbers)}")
    cf.puts([("a", b"a" * 100), ("b", b"b")], content_type="text/x", compress="gzip")
    cf.transfer_to(other, [("a", "c"), "b"], block_size=1, reencode="br")
    assert [(each["content"], each["compress"]) for each in other.get(["c", "b"])] == [(b"a" * 100, "br"), (b"b", "br")]
    assert other.head("c")["Content-Type"] == "text/x"
    other.transfer_from(cf, content_type="text/y")
    assert (other.head("a")["Content-Type"], other.get(["a"])[0]["compress"]) == ("text/y", "gzip")
    other.transfer_from(cf, reencode="")
    assert [each["compress"] for each in other.get(["a", "b"])] == [None, None]
    cf.puts([("bad", b"no gzip")], compress="gzip", raw=True)
    with pytest.raises(ValueError, match="bad"):
        cf.transfer_to(other, ["bad", "b"], reencode="br")
    assert "bad" not in other


def test_what_a_file_says_itself_counts(cf: CloudFiles) -> None:
    plain = {"content": b"x" * 50, "content_type": "text/x"}
    cf.puts(
        [{"path": "a", "compress": None, **plain}, {"path": "b", "compress": False, **plain}, ("c", b"")], compress="br"
    )
    assert [each["compress"] for each in cf.get(["a", "b", "c"])] == [None, None, "br"]
    cf.puts((("d", b"1"), ("e", b"2")))
    assert cf.puts(("f", b"3")) == 1
    assert cf.get(["d", "e", "f"], return_dict=True) == {"d": b"1", "e": b"2", "f": b"3"}


def test_what_was_read_raw_is_stored_as_it_is(cf: CloudFiles) -> None:
    cf.put("a", b"a" * 100, compress="gzip")
    (stored,) = cf.get(["a"], raw=True)
    cf.puts([{**stored, "path": "b"}])
    cf.puts([("c", stored["content"])], compress="gzip", raw=True)
    cf.put("d", stored["content"], compress="gzip", raw=True)
    assert cf.get(["b", "c", "d"], return_dict=True) == dict.fromkeys("bcd", b"a" * 100)
    assert {each["content"] for each in cf.get([*"bcd"], raw=True)} == {stored["content"]}


def test_a_dict_of_contents_hides_no_error(cf: CloudFiles, object_server: ObjectServer) -> None:
    object_server.put("b", b"B", faults=[Status(403)])
    refused = CloudFiles(object_server.url)
    with pytest.raises(PermissionError):
        refused.get(["b"], return_dict=True, raise_errors=False)
    refused.files.close()
    cf.put("a", b"0123")
    with pytest.raises(ValueError, match="several ranges"):
        cf.get([{"path": "a", "start": 0, "end": 1}, {"path": "a", "start": 1, "end": 2}], return_dict=True)


def test_slices_of_bytes_have_no_step(cf: CloudFiles) -> None:
    cf.put("a", b"0123456789")
    with pytest.raises(ValueError, match="step"):
        cf["a", 0:10:2]
    with pytest.raises(KeyError):
        cf[:3] = b"x"


def test_an_artifact_that_is_not_there_is_no_missing_file(memory: CloudFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_artifact(*_: object) -> None:
        raise ArtifactNotFound("no such artifact")

    monkeypatch.setattr(MemoryBackend, "_find", no_artifact)
    for verb in (memory.get, memory.get_json, memory.head, memory.size):
        with pytest.raises(ArtifactNotFound):
            verb("a")
    assert CloudFiles(memory.cloudpath, create=True).get_json("info") is None  # the first write makes it


def test_an_unknown_size_is_not_nothing(memory: CloudFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        len(CloudFile("mem://compat-none/a"))
    memory.put("a", b"A")
    monkeypatch.setattr(MemoryBackend, "head", lambda self, path, ticket: ObjectInfo(path))
    with pytest.raises(TransferError, match="how large"):
        memory.size(["a"], return_sum=True)


def test_local_files_are_named_by_their_paths(tmp_path: Path) -> None:
    file = CloudFile(str(tmp_path / "a"))
    file.put(b"1")
    assert ((tmp_path / "a").read_bytes(), file.protocol) == (b"1", "file")
    assert CloudFile(f"file://{tmp_path}/a").get() == b"1"
    file.move(f"file://{tmp_path}/b")
    assert CloudFiles(str(tmp_path)).abspath("b") == f"file://{tmp_path}/b"
    assert dl([f"{tmp_path}/b"])[0]["content"] == b"1"
    with pytest.raises(ValueError, match="names no file"):
        CloudFile("/")


def test_a_move_names_a_file(cf: CloudFiles) -> None:
    cf.put("a", b"A")
    for target in ("mem://compat-bucket", "mem://compat-bucket/dir/"):
        with pytest.raises(ValueError, match="names no file"):
            cf.move("a", target)
    assert cf.get("a") == b"A"


def test_dl_reads_ranges_and_shows_no_password(object_server: ObjectServer) -> None:
    object_server.put("a", b"0123")
    host = object_server.url.removeprefix("http://")
    (result,) = dl([{"path": f"http://user:pass@{host}/a", "byte_range": (1, 3)}])
    assert (result["content"], result["fullpath"]) == (b"12", f"http://{host}/a")


def test_copies_by_pickle(cf: CloudFiles) -> None:
    cf.put("a", b"A")
    assert pickle.loads(pickle.dumps(cf)).get("a") == b"A"


def test_files_are_named_with_a_format_too(tmp_path: Path) -> None:
    place = f"mem://compat-format-{tmp_path.name}"
    CloudFile(f"precomputed://{place}/x#1").put(b"A")
    assert (CloudFiles(place).get("x#1"), CloudFile(f"graphene://{place}/x#1").get()) == (b"A", b"A")
    result = dl(f"precomputed://{place}/x#1")
    assert (result["content"], result["fullpath"]) == (b"A", f"precomputed://{place}/x#1")
    CloudFile(f"{place}/x#1").transfer_to(f"zarr://file://{tmp_path}/y")
    assert dl(f"zarr://file://{tmp_path}/y")["content"] == b"A"


# --- The modules beside it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cloudpath", "expected"),
    [
        ("gs://bucket/a/b", (None, "gs", "bucket", "a/b", None)),
        ("precomputed://s3://bucket", ("precomputed", "s3", "bucket", "", None)),
        ("gs://bucket/a/|zarr3:", ("zarr3", "gs", "bucket", "a/", None)),
        ("gs://bucket/a|neuroglancer-precomputed:", (None, "gs", "bucket", "a", None)),
        ("s3://https://host:9/bucket/a", (None, "s3", "bucket", "a", "https://host:9")),
        ("https://host/a/b", (None, "https", None, "a/b", "https://host")),
        ("file:///a/b", (None, "file", None, "/a/b", None)),
        ("mem://b/c", (None, "mem", "b", "c", None)),
        ("hypha://https://host/ws/data@v1/a", (None, "hypha", "ws/data@v1", "a", "https://host")),
        ("ws/data/a", (None, "hypha", "ws/data", "a", None)),
    ],
)
def test_cloudpaths_are_taken_apart_and_put_together(cloudpath: str, expected: tuple[object, ...]) -> None:
    extracted = paths.extract(cloudpath)
    assert extracted[:-1] == expected
    assert paths.extract(paths.ascloudpath(extracted)) == extracted
    assert paths.ascloudpath(extracted) == paths.normalize(cloudpath if "://" in cloudpath else f"hypha://{cloudpath}")
    assert paths.get_protocol(cloudpath) == extracted.protocol


def test_paths_of_buckets() -> None:
    assert paths.asbucketpath("s3://https://host/bucket/a/b") == "s3://https://host/bucket"
    assert paths.to_https_protocol("gs://bucket/a b") == "https://storage.googleapis.com/bucket/a%20b"
    assert paths.to_https_protocol("s3://http://host/bucket/a") == "http://host/bucket/a"
    assert paths.to_https_protocol(paths.extract("s3://bucket/a")).host == "https://s3.amazonaws.com"
    assert paths.to_https_protocol("mem://b/a") == "mem://b/a"
    found = paths.find_common_buckets(["mem://a/x/y", {"path": "mem://a/z", "byte_range": (1, 2)}, "/d/e", "mem://b/x"])
    whole = {"start": None, "end": None}
    assert found == {
        "mem://a": [{"path": "x/y", **whole}, {"path": "z", "start": 1, "end": 2}],
        "file:///d": [{"path": "e", **whole}],
        "mem://b": [{"path": "x", **whole}],
    }


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "xz", "bzip2", True, None])
def test_content_is_encoded_and_decoded(encoding: str | bool | None) -> None:
    made = compression.compress(b"x" * 100, encoding)
    assert compression.decompress(made, encoding) == b"x" * 100
    assert encoding in compression.COMPRESSION_TYPES


def test_transcode(cf: CloudFiles) -> None:
    cf.put("a", b"a" * 100, compress="gzip")
    given = [*cf.get(["a", "none"], raw=True), ("b", b"b")]
    made = [*compression.transcode(given, "br", in_place=True, progress="Transcoding")]
    assert made[0] is given[0]
    assert [(each["path"], each["compress"]) for each in made] == [("a", "br"), ("none", None), ("b", "br")]
    cf.puts([each for each in made if each["content"] is not None], raw=True)
    assert cf.get(["a", "b"], return_dict=True) == {"a": b"a" * 100, "b": b"b"}
    assert next(compression.transcode(("c", b"c"), None))["content"] == b"c"


def test_errors_are_caught_by_their_names(cf: CloudFiles) -> None:
    with pytest.raises(exceptions.UnsupportedProtocolError):
        CloudFiles("nothing://bucket")
    with pytest.raises(exceptions.UnsupportedCompressionType):
        cf.put("a", b"", compress="rot13")
    cf.put("a", b"no gzip", compress="gzip", raw=True)
    with pytest.raises(exceptions.DecompressionError):
        cf.get("a")
    for content in (b"", b"no gzip"):
        with pytest.raises(exceptions.DecompressionError, match="name"):
            compression.decompress(content, "gzip", "name")


@pytest.mark.parametrize("name", ["MD5IntegrityError", "CRC32CIntegrityError", "IntegrityError"])
def test_wrong_bytes_are_caught_by_upstreams_names(name: str) -> None:
    assert issubclass(IntegrityError, getattr(exceptions, name))


def test_options_of_buckets() -> None:
    cf = CloudFiles(
        "precomputed://s3://bucket/a", endpoint="http://host:9/", no_sign_request=True, request_payer="requester"
    )
    backend = cf.files._backend
    assert isinstance(backend, S3Backend)
    assert cf.cloudpath == "s3://http://host:9/bucket/a"
    assert (backend.access.anonymous, backend.access.request_payer) == (True, True)
    assert CloudFiles("s3://bucket/a", use_https=True).cloudpath == "https://s3.amazonaws.com/bucket/a"
    for options in ({"endpoint": "http://host"}, {"no_sign_request": True}, {"request_payer": "requester"}):
        with pytest.raises(ValueError):
            CloudFiles("mem://bucket", **options)
    assert (
        CloudFiles(
            "mem://b", composite_upload_threshold=5, locking=None, parallel=2
        ).files._settings.multipart_threshold
        == 5
    )


def test_what_is_known_of_a_file_is_kept_where_that_was_asked_for() -> None:
    kept, fresh = (CloudFile("mem://compat-kept/a", cache_meta=cache) for cache in (True, False))
    kept.put(b"1")
    assert (kept.size(), fresh.size()) == (1, 1)
    fresh.put(b"12")
    assert (kept.size(), fresh.size()) == (1, 2)
    kept.put(b"123")
    assert kept.size() == 3


def test_memory_is_cleared(memory: CloudFiles) -> None:
    memory.put("a", b"A")
    clear_memory()
    assert memory.get("a") is None


# What cloud-files 6.4.3 has, by where it is.
THEIRS = {
    "CloudFiles": "abspath basename clear_locks delete dirname exists get get_acl get_json head isdir join list "
    "move moves protocol put put_json put_jsons puts sep size subtree_size touch transfer_from transfer_to",
    "CloudFile": "basename clear_locks delete dirname exists get get_acl get_json head join move protocol put put_json "
    "sep size touch transfer_from transfer_to",
    "": "CloudFile CloudFiles ResumableTransfer clear_memory compression dl exceptions paths reset_connection_pools",
    "compression": "COMPRESSION_TYPES compress decompress normalize_encoding transcode",
    "exceptions": "AuthorizationError CRC32CIntegrityError CompressionError DecompressionError IntegrityError "
    "MD5IntegrityError UnsupportedCompressionType UnsupportedProtocolError",
    "paths": "ExtractedPath add_alias add_persistent_alias asbucketpath ascloudpath asprotocolpath basename dirname "
    "extract find_common_buckets get_protocol normalize remove_alias remove_persistent_alias to_https_protocol",
}


def test_every_name_of_cloud_files_is_there_or_it_is_said_why_not() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cloudfiles.md").read_text(encoding="utf-8")
    refused = text.partition("What is not there:")[2]
    assert refused
    for place, names in THEIRS.items():
        owner = getattr(cloudfiles, place) if place else cloudfiles
        for name in names.split():
            assert hasattr(owner, name) or f"`{name}`" in refused, f"{place}.{name}"


def test_touch_makes_what_is_missing_only(cf: CloudFiles) -> None:
    cf.put("a", b"A")
    cf.touch(["a", {"path": "b"}, "b"])
    cf.touch("c")
    assert cf.get(["a", "b", "c"], return_dict=True) == {"a": b"A", "b": b"", "c": b""}
