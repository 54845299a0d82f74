"""Content that is stored encoded: written, read back, downloaded, uploaded, over HTTP, at a Hypha, in memory."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    ArtifactFiles,
    BatchError,
    DecompressionError,
    RangeNotSatisfiable,
    ReadOnly,
    RetryPolicy,
    transcode,
)
from cloudfiles_hypha.backends.memory import MemoryBackend, _buckets
from cloudfiles_hypha.content.codecs import CODECS, compress, decompress
from cloudfiles_hypha.disk.partial import PartialFile
from tests.contract.test_backends import ENGINES
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Corrupt, Exchange, Fault, ObjectServer, Response

TEXT = b"".join(b"line %d of many\n" % number for number in range(5000))
PLACES = ["mem", "http", "hypha"]


class Place:
    """Somewhere to read from, with objects put there as they are to be stored."""

    def __init__(self, kind: str, server: ObjectServer, hypha: FakeHypha) -> None:
        self.kind = kind
        self.server = server
        self.hypha = hypha

    def open(self, **options: Any) -> ArtifactFiles:
        policy = RetryPolicy(attempts=2, first=0.01)
        if self.kind == "mem":
            return ArtifactFiles("mem://encodings", retry=policy, **options)
        if self.kind == "http":
            return ArtifactFiles(f"{self.server.url}/", retry=policy, **options)
        return connect(self.hypha, **options)

    def store(self, name: str, content: bytes, encoding: str | None) -> None:
        if self.kind == "http":
            headers = {"Content-Encoding": encoding} if encoding else {}
            self.server.put(name, content, headers=headers)
        else:
            with self.open() as cf:
                cf.put(name, content, content_encoding=encoding)


@dataclass(frozen=True)
class Twice(Fault):
    """Say in a line of its own that the body was encoded with gzip before."""

    def alter(self, exchange: Exchange, response: Response) -> Response:
        return replace(response, headers={"content-encoding": "gzip", **response.headers})


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, object_server: ObjectServer, hypha: FakeHypha) -> Iterator[Place]:
    yield Place(request.param, object_server, hypha)
    _buckets.pop("encodings", None)


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {})
        yield hypha


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> dict[str, Any]:
    return ENGINES[request.param]


@pytest.fixture
def cf(place: Place, engine: dict[str, Any]) -> Iterator[ArtifactFiles]:
    with place.open(**engine) as cf:
        yield cf


@pytest.fixture
def mem() -> Iterator[ArtifactFiles]:
    with ArtifactFiles("mem://encodings", num_threads=4) as cf:
        yield cf
    _buckets.pop("encodings", None)


# -- reading


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_stored_encoded_is_read_decoded_or_as_it_is(place: Place, cf: ArtifactFiles, codec: str) -> None:
    encoded = compress(TEXT, codec)
    place.store("a", encoded, codec)
    place.store("plain", TEXT, None)
    assert cf.get("a") == TEXT
    assert cf.get("a", raw=True) == encoded
    results = cf.get(["a", "plain", {"path": "a", "raw": True}])
    assert [result["content"] for result in results] == [TEXT, TEXT, encoded]
    assert [result["compress"] for result in results] == [codec, None, codec]
    assert [result["raw"] for result in results] == [False, False, True]
    assert [result["size"] for result in results] == [len(encoded), len(TEXT), len(encoded)]
    if place.kind == "hypha":
        assert [result["verified"] for result in results] == ["md5"] * 3
    assert {result["path"]: result["content"] for result in cf.iget(["a", "plain"])} == {"a": TEXT, "plain": TEXT}
    assert cf.size("a") == len(encoded)
    assert cf.head("a").compress == codec


def test_json_is_decoded_first(place: Place, cf: ArtifactFiles) -> None:
    place.store("a.json", gzip.compress(b'{"a": [1]}'), "gzip")
    assert cf.get_json("a.json") == {"a": [1]}
    assert cf.get_json(["a.json"])[0]["compress"] == "gzip"


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 10), (5, 50), (100, 40000), (len(TEXT) - 3, None), (len(TEXT), None), (len(TEXT) - 1, 10**9), (None, 7)],
)
def test_ranges_are_of_decoded_bytes(place: Place, cf: ArtifactFiles, start: int | None, end: int | None) -> None:
    encoded = compress(TEXT, "gzip")
    place.store("a", encoded, "gzip")
    wanted = {"path": "a", "start": start, "end": end}
    assert cf.get(wanted) == TEXT[start:end]
    (result,) = cf.get([wanted])
    assert (result["content"], result["size"], result["byte_range"]) == (TEXT[start:end], len(encoded), (start, end))
    buffer = bytearray(len(TEXT))
    assert bytes(cf.get({**wanted, "into": buffer})) == TEXT[start:end]
    file = io.BytesIO()
    assert cf.get({**wanted, "into": file}) is None
    assert file.getvalue() == TEXT[start:end]


def test_ranges_around_the_end_of_the_stored_bytes(place: Place, cf: ArtifactFiles) -> None:
    encoded = compress(TEXT, "gzip")
    place.store("a", encoded, "gzip")
    size = len(encoded)
    for start in (size - 1, size, size + 1, size + 1000):
        assert cf.get({"path": "a", "start": start, "end": start + 5}) == TEXT[start : start + 5]
        file = io.BytesIO()
        cf.get({"path": "a", "start": start, "end": start + 5, "into": file})
        assert file.getvalue() == TEXT[start : start + 5]
        assert bytes(cf.get({"path": "a", "start": start, "end": start + 5, "into": bytearray(5)})) == file.getvalue()


def test_a_range_beyond_the_decoded_end_is_an_error(place: Place, cf: ArtifactFiles) -> None:
    place.store("a", compress(TEXT, "br"), "br")
    for into in (None, bytearray(10), io.BytesIO()):
        with pytest.raises(RangeNotSatisfiable) as caught:
            cf.get({"path": "a", "start": len(TEXT) + 1, "into": into})
        assert caught.value.path == "a"


def test_close_ranges_are_cut_out_of_the_decoded_object(place: Place, cf: ArtifactFiles) -> None:
    place.store("a", compress(TEXT, "zstd"), "zstd")
    wanted: list[Any] = [{"path": "a", "start": n * 10, "end": n * 10 + 5} for n in range(50)]
    wanted += [{"path": "a", "start": 1, "end": 9, "raw": True}, {"path": "a", "start": 2, "end": 3, "raw": True}]
    wanted += [{"path": "a", "start": len(TEXT) - 9, "end": len(TEXT) + 9}]
    results = cf.get(wanted)
    assert [result["content"] for result in results[:50]] == [TEXT[n * 10 : n * 10 + 5] for n in range(50)]
    assert [result["content"] for result in results[50:52]] == [
        compress(TEXT, "zstd")[1:9],
        compress(TEXT, "zstd")[2:3],
    ]
    assert results[52]["content"] == TEXT[-9:]


def test_ranges_of_what_is_plain_cost_one_request(object_server: ObjectServer) -> None:
    object_server.put("a", TEXT)
    with ArtifactFiles(f"{object_server.url}/") as cf:
        cf.get({"path": "a", "start": 5, "end": 9})
        cf.get({"path": "a", "start": 5, "end": 9, "into": bytearray(4)})
    assert len(object_server.requests) == 2


def test_into_gets_decoded_bytes_or_stored_ones(place: Place, cf: ArtifactFiles) -> None:
    content = os.urandom(300_000) + TEXT
    encoded = compress(content, "gzip")
    place.store("a", encoded, "gzip")
    for raw, expected in ((False, content), (True, encoded)):
        buffer = bytearray(len(expected))
        (result,) = cf.get([{"path": "a", "into": buffer}], raw=raw)
        assert (bytes(buffer), result["compress"], result["raw"]) == (expected, "gzip", raw)
        file = io.BytesIO()
        (result,) = cf.get([{"path": "a", "into": file}], raw=raw)
        assert (file.getvalue(), result["size"], result["raw"]) == (expected, len(encoded), raw)
    with pytest.raises(BufferError):
        cf.get({"path": "a", "into": bytearray(len(content) - 1)})


def test_several_encodings_and_what_means_none(place: Place, cf: ArtifactFiles) -> None:
    place.store("two", compress(compress(TEXT, "gzip"), "br"), "gzip, br")
    place.store("chunked", compress(TEXT, "gzip"), "aws-chunked,gzip")
    place.store("identity", TEXT, "identity")
    results = cf.get(["two", "chunked", "identity"])
    assert [result["content"] for result in results] == [TEXT] * 3
    assert [result["compress"] for result in results] == ["gzip, br", "gzip", None]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"plain text", "gzip"),
        (gzip.compress(TEXT)[:-1], "gzip"),
        (gzip.compress(TEXT) + b"x", "gzip"),
        (b"", "gzip"),
        (b"x", "sdch"),
        (gzip.compress(TEXT), "br"),
    ],
    ids=["plain", "cut", "garbage", "empty", "unknown", "another"],
)
def test_what_cannot_be_decoded_is_that_items_error(
    place: Place, cf: ArtifactFiles, tmp_path: Path, content: bytes, encoding: str
) -> None:
    place.store("bad", content, encoding)
    place.store("good", compress(TEXT), "gzip")
    results = cf.get(["bad", "good", {"path": "bad", "into": bytearray(10**6)}], raise_errors=False)
    for result in (results[0], results[2]):
        assert isinstance(result["error"], DecompressionError)
        assert "bad: " in str(result["error"])
        assert result["attempts"] == 1, "another attempt would not help"
    assert results[1]["content"] == TEXT
    assert cf.get("bad", raw=True) == content
    target = tmp_path / "target"
    target.write_bytes(b"before")
    with pytest.raises(DecompressionError, match="bad: "):
        cf.download("bad", target)
    assert target.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["target"]
    cf.download("bad", target, raw=True)
    assert target.read_bytes() == content


def test_bombs_are_bounded(place: Place, cf: ArtifactFiles, tmp_path: Path) -> None:
    place.store("bomb", compress(bytes(50_000_000), "gzip"), "gzip")
    for into in (None, bytearray(50_000_000), io.BytesIO()):
        with pytest.raises(DecompressionError, match="more than 1000000 bytes"):
            cf.get({"path": "bomb", "into": into}, max_size=1_000_000)
    with pytest.raises(DecompressionError, match="more than 1000000 bytes"):
        cf.download("bomb", tmp_path / "bomb", max_size=1_000_000)
    assert os.listdir(tmp_path) == []
    assert cf.get({"path": "bomb", "start": 5, "end": 9}, max_size=2_000_000) == bytes(4)
    assert len(cf.get("bomb", max_size=50_000_000)) == 50_000_000


def test_options_of_reading_are_checked(mem: ArtifactFiles) -> None:
    with pytest.raises(TypeError, match="raw"):
        mem.get("a", raw="yes")  # type: ignore[call-overload]
    for wrong in (-1, "1", True, 1.5):
        with pytest.raises(ValueError, match="max_size"):
            mem.get(["a"], max_size=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="raw"):
        mem.get({"path": "a", "raw": 1})


@pytest.mark.parametrize("transport", ["curl", "urllib3", "requests"])
def test_encodings_in_several_headers_are_one_list(object_server: ObjectServer, transport: str) -> None:
    object_server.put("a", compress(compress(TEXT, "gzip"), "br"), headers={"Content-Encoding": "br"})
    object_server.fault("a", *[Twice()] * 3)
    with ArtifactFiles(f"{object_server.url}/", transport=transport) as cf:
        (result,) = cf.get(["a"])
        assert (result["content"], result["compress"]) == (TEXT, "gzip, br")
        assert bytes(cf.get({"path": "a", "into": bytearray(len(TEXT))})) == TEXT


@pytest.mark.parametrize("transport", ["curl", "urllib3", "requests"])
def test_no_transport_decodes_by_itself_or_asks_for_encodings(object_server: ObjectServer, transport: str) -> None:
    object_server.put("a", compress(TEXT), headers={"Content-Encoding": "gzip"})
    with ArtifactFiles(f"{object_server.url}/", transport=transport) as cf:
        assert cf.get("a", raw=True) == compress(TEXT)
        assert cf.get("a") == TEXT
    for request in object_server.requests:
        assert request.headers.get("accept-encoding", "identity") == "identity"


# -- writing


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_put_encoded_is_stored_so(place: Place, cf: ArtifactFiles, codec: str, tmp_path: Path) -> None:
    if place.kind == "http":
        with pytest.raises(ReadOnly):
            cf.put("a", b"", compress=codec)
        return
    (tmp_path / "file").write_bytes(TEXT)
    results = [
        cf.put("bytes", TEXT, compress=codec),
        cf.put("text", TEXT.decode(), compress=codec),
        cf.put("file", tmp_path / "file", compress=codec),
        cf.put("open", io.BytesIO(TEXT), compress=codec),
        cf.put("own", Own(TEXT), compress=codec, compression_level=1),
        *cf.puts([("many", TEXT), ("empty", b"")], compress=codec),
        cf.put_json("json", {"a": 1}, compress=codec),
        *cf.put_jsons([("jsons", {"a": 1})], compress=codec),
    ]
    for result in results:
        stored = cf.get(result["path"], raw=True)
        assert (result["compress"], result["size"], result["error"]) == (codec, len(stored), None)
        assert decompress(stored, codec) == cf.get(result["path"])
    assert [len(cf.get(result["path"])) for result in results] == [len(TEXT)] * 6 + [0, 8, 8]
    assert cf.head("json").content_type == "application/json"


class Own(io.BytesIO):
    """A file object of the user's."""


def test_a_large_file_is_encoded_in_bounded_memory_and_comes_back(place: Place, cf: ArtifactFiles) -> None:
    if place.kind == "http":
        pytest.skip("it can only be read from")
    content = os.urandom(12_000_000)  # more than is spooled in memory
    for body in (io.BytesIO(content), Own(content)):
        assert cf.put("large", body, compress="zstd", compression_level=1)["compress"] == "zstd"
        assert cf.get("large") == content


def test_the_documents_example(mem: ArtifactFiles) -> None:
    mem.puts(
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
    assert mem.get("filename") == b"content" * 100
    assert mem.get(["filename"])[0]["compress"] == "gzip"


def test_an_items_own_encoding_wins(mem: ArtifactFiles) -> None:
    items: list[Any] = [
        {"path": "own", "content": TEXT, "compress": "br"},
        {"path": "none", "content": TEXT, "compress": False},
        {"path": "level", "content": TEXT, "compression_level": 9},
        ("calls", TEXT),
    ]
    results = mem.puts(items, compress="gzip", compression_level=1)
    assert [result["compress"] for result in results] == ["br", None, "gzip", "gzip"]
    assert results[2]["size"] < results[3]["size"]  # type: ignore[operator]
    assert mem.get([result["path"] for result in results], return_dict=True) == dict.fromkeys(
        ["own", "none", "level", "calls"], TEXT
    )


def test_what_cannot_be_is_refused_before_anything_is_stored(mem: ArtifactFiles) -> None:
    for wrong in (
        {"compress": "zip"},
        {"compress": "gzip", "compression_level": 10},
        {"compress": "br", "content_encoding": "br"},
    ):
        with pytest.raises(ValueError):
            mem.put("a", b"", **wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'a'"):
            mem.puts([("b", b""), {"path": "a", "content": b"", **wrong}])
    assert list(mem) == []


def test_results_keep_their_encoding(mem: ArtifactFiles) -> None:
    mem.puts([(codec, TEXT) for codec in CODECS[:2]], compress="gzip")
    mem.put("plain", TEXT)
    names = [*CODECS[:2], "plain"]
    with ArtifactFiles("mem://encodings-2") as other:
        for raw in (False, True):
            results = other.puts(mem.get(names, raw=raw))
            assert [result["compress"] for result in results] == ["gzip", "gzip", None]
            assert other.get(names, return_dict=True) == dict.fromkeys(names, TEXT)
        assert other.get("br", raw=True) == mem.get("br", raw=True)
        assert [result["compress"] for result in other.puts(mem.get(names), compress="xz")] == ["xz"] * 3
        with pytest.raises(ValueError, match="transcode"):
            other.puts(mem.get(names, raw=True), compress="xz")
        other.delete(names)
    _buckets.pop("encodings-2", None)


def test_a_store_that_keeps_no_encoding_is_told_so_first(mem: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryBackend, "can", replace(MemoryBackend.can, keeps=frozenset({"content_type"})))
    for said in ({"compress": "gzip"}, {"content_encoding": "gzip"}):
        with pytest.raises(ValueError, match="keeps no Content-Encoding"):
            mem.put("a", b"", **said)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keeps no Content-Encoding"):
        mem.puts([("b", b""), {"path": "a", "content": b"", "compress": "gzip"}])
    with pytest.raises(ValueError, match="keeps no Content-Encoding"):
        mem.upload(__file__, compress="gzip")
    mem.put("a", b"", content_encoding="identity")
    assert list(mem) == ["a"]


# -- files on disk


@pytest.mark.parametrize("codec", CODECS)
def test_downloads_are_decoded(place: Place, cf: ArtifactFiles, tmp_path: Path, codec: str) -> None:
    content = os.urandom(200_000) + TEXT
    encoded = compress(content, codec)
    place.store("d/a", encoded, codec)
    place.store("d/b", TEXT, None)
    a, b = cf.download(["d/a", "d/b"], tmp_path)
    assert (tmp_path / "d/a").read_bytes() == content
    assert (a["size"], a["compress"], a["raw"]) == (len(content), codec, False)
    assert (b["size"], b["compress"], b["raw"]) == (len(TEXT), None, False)
    assert (tmp_path / "d/b").read_bytes() == TEXT
    raw = cf.download("d/a", tmp_path / "raw", raw=True)
    assert (tmp_path / "raw").read_bytes() == encoded
    assert (raw["size"], raw["compress"], raw["raw"]) == (len(encoded), codec, True)
    assert sorted(os.listdir(tmp_path)) == ["d", "raw"]


@pytest.mark.parametrize("codec", CODECS)
def test_stored_bytes_on_disk_do_not_pass_for_content(
    place: Place, cf: ArtifactFiles, tmp_path: Path, codec: str
) -> None:
    place.store("a", compress(TEXT, codec), codec)
    target = tmp_path / "a"
    cf.download("a", target, raw=True)
    assert cf.download("a", target)["skipped"] is False
    assert target.read_bytes() == TEXT
    cf.download("a", target, raw=True)
    assert target.read_bytes() == compress(TEXT, codec)
    if place.kind == "hypha":
        assert cf.download("a", target, raw=True)["skipped"] is True


def test_a_download_in_parts_goes_on_and_is_decoded_at_its_end(hypha: FakeHypha, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    with connect(hypha, num_threads=4) as cf:
        stored = cf.put("a", content, compress="zstd", compression_level=1)
        result = cf.download("a", tmp_path / "a", part_size=500_000)
        assert (result["verified"], result["size"], result["etag"]) == ("md5", len(content), stored["etag"])
        assert (tmp_path / "a").read_bytes() == content
        assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("codec", CODECS)
def test_uploads_are_encoded_and_not_repeated(place: Place, cf: ArtifactFiles, tmp_path: Path, codec: str) -> None:
    if place.kind == "http":
        pytest.skip("it can only be read from")
    (tmp_path / "d").mkdir()
    files = {"d/a": TEXT, "d/empty": b"", "large": os.urandom(1_100_000)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    first = cf.upload(tmp_path, compress=codec, compression_level=1)
    assert {result["compress"] for result in first} == {codec}
    assert [result["size"] for result in first] == [len(files[result["path"]]) for result in first]
    assert cf.get(list(files), return_dict=True) == files
    again = cf.upload(tmp_path, compress=codec, compression_level=1)
    assert {result["skipped"] for result in again} == {True}
    (tmp_path / "d/a").write_bytes(TEXT + b"more")
    assert [
        result["path"] for result in cf.upload(tmp_path, compress=codec, compression_level=1) if not result["skipped"]
    ] == ["d/a"]
    other = "xz" if codec != "xz" else "gzip"
    assert {result["skipped"] for result in cf.upload(tmp_path, compress=other, compression_level=1)} == {False}
    assert {result["skipped"] for result in cf.upload(tmp_path)} == {False}, "not encoded is different, too"
    assert {result["skipped"] for result in cf.upload(tmp_path)} == {True}
    assert cf.head("large").compress is None


def test_stored_bytes_that_are_equal_under_another_encoding_are_different(mem: ArtifactFiles, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(compress(TEXT))
    mem.put("a.gz", TEXT, compress="gzip")
    assert mem.get("a.gz", raw=True) == compress(TEXT)
    assert mem.upload(tmp_path / "a.gz")["skipped"] is False
    assert mem.get("a.gz") == compress(TEXT)


def test_a_batch_with_failures_loses_nothing(mem: ArtifactFiles) -> None:
    mem.puts([(str(n), TEXT) for n in range(20)], compress="zstd")
    mem.put("bad", b"bad", content_encoding="zstd")
    with pytest.raises(BatchError) as caught:
        mem.get([*map(str, range(20)), "bad"])
    assert [result["path"] for result in caught.value.errors] == ["bad"]
    assert {result["content"] for result in caught.value.results} == {TEXT, None}


def test_verify_compares_content(place: Place, cf: ArtifactFiles, tmp_path: Path) -> None:
    if place.kind == "http":
        pytest.skip("it cannot be listed")
    same_size = b"x" * len(compress(TEXT, "gzip"))
    files = {"encoded": TEXT, "other": TEXT, "plain": TEXT, "same size": TEXT, "shorter": TEXT[:-1], "longer": TEXT}
    for name in files:
        place.store(name, TEXT if name == "plain" else compress(TEXT, "gzip"), None if name == "plain" else "gzip")
    place.store("bad", b"bad", "gzip")
    for name, content in {**files, "other": TEXT[:-1] + b"X", "same size": same_size, "bad": b"bad"}.items():
        (tmp_path / name).write_bytes(content + b"more" if name == "longer" else content)
    found = cf.verify(tmp_path)
    assert found["equal"] == ["encoded", "plain"]
    assert found["different"] == ["longer", "other", "same size", "shorter"]
    assert isinstance(found["errors"]["bad"], DecompressionError)
    assert not found["missing"] + found["extra"]


def test_what_was_downloaded_verifies(place: Place, cf: ArtifactFiles, tmp_path: Path) -> None:
    if place.kind == "http":
        pytest.skip("it can only be read from")
    cf.puts([(f"d/{codec}", TEXT) for codec in CODECS] + [("d/plain", TEXT)], compress=None)
    cf.puts([(f"d/{codec}-2", TEXT) for codec in CODECS], compress="gzip")
    cf.download("d/", tmp_path)
    assert len(cf.verify(tmp_path, "d")["equal"]) == 2 * len(CODECS) + 1


# -- transcode


@pytest.mark.parametrize("raw", [False, True])
def test_results_are_transcoded(mem: ArtifactFiles, raw: bool) -> None:
    mem.puts([{"path": codec, "content": TEXT, "compress": codec} for codec in CODECS])
    mem.put("plain", TEXT)
    names = [*CODECS, "plain"]
    results = mem.get(names, raw=raw)
    for codec in (*CODECS, None):
        made = list(transcode(results, codec))
        assert [(one["path"], one["compress"], one["raw"]) for one in made] == [
            (n, codec, codec is not None) for n in names
        ]
        assert all(decompress(one["content"], codec) == TEXT for one in made)
        stored = mem.puts([{**one, "path": "to/" + one["path"]} for one in made])
        assert {result["compress"] for result in stored} == {codec}
        assert {result["content"] for result in mem.get(["to/" + name for name in names])} == {TEXT}
    assert [result["content"] for result in results] == [result["content"] for result in mem.get(names, raw=raw)]


def test_what_need_not_be_transcoded_is_left_and_what_cannot_be_is_named(mem: ArtifactFiles) -> None:
    mem.put("a", TEXT, compress="gzip")
    (result,) = mem.get(["a"], raw=True)
    assert next(transcode([result], "gz"))["content"] is result["content"]
    failed = mem.get(["missing"], raise_errors=False)
    assert list(transcode(failed, "gzip")) == failed
    assert decompress(next(transcode([("p", TEXT)], "br", 3))["content"], "br") == TEXT
    with pytest.raises(ValueError, match="'a'"):
        list(transcode(mem.get([{"path": "a", "start": 1}], raw=True), "br"))
    with pytest.raises(DecompressionError, match="a: "):
        list(transcode([{**result, "content": result["content"][:-1]}], "br"))
    with pytest.raises(DecompressionError, match="a: "):
        list(transcode([result], "br", max_size=100))
    with pytest.raises(ValueError, match="choose one of"):
        list(transcode([], "zip"))


def test_the_examples_of_the_page_run() -> None:
    page = Path(__file__).parents[2] / "docs" / "encodings.md"
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, str(page), "exec"), names)
    with names["cf"] as cf:
        assert cf.get(["a.txt"])[0]["compress"] == "xz"
        cf.delete(list(cf))


def test_a_disk_that_is_full_while_decoding_leaves_what_has_arrived(
    hypha: FakeHypha, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(1_000_000)
    target = tmp_path / "a"
    target.write_bytes(b"before")
    with connect(hypha, num_threads=4) as cf:
        stored = cf.put("a", content, compress="gzip")

        def full(self: PartialFile, blocks: Iterator[bytes], modified: float | None = None) -> int:
            next(iter(blocks))
            raise OSError(errno.ENOSPC, "the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(PartialFile, "publish_made", full)
            with pytest.raises(OSError, match="full"):
                cf.download("a", target, part_size=300_000)
        assert target.read_bytes() == b"before"
        result = cf.download("a", target, part_size=300_000)
        assert (result["resumed"], result["error"]) == (stored["size"], None)
    assert target.read_bytes() == content
    assert os.listdir(tmp_path) == ["a"]


def test_a_bar_counts_what_was_given(mem: ArtifactFiles) -> None:
    class Bar:
        unit = "B"
        total = 0

        def update(self, n: float) -> None:
            self.total += int(n)

    plain, encoded = Bar(), Bar()
    mem.puts([("a", TEXT), ("b", TEXT)], progress=plain)
    mem.puts([("a", TEXT), ("b", TEXT)], progress=encoded, compress="gzip")
    assert plain.total == encoded.total == 2 * len(TEXT)


def test_stored_bytes_that_are_damaged_on_their_way_are_fetched_again(hypha: FakeHypha) -> None:
    with connect(hypha, num_threads=4) as cf:
        cf.put("a", TEXT, compress="gzip")
        for into in (None, bytearray(len(TEXT)), io.BytesIO()):
            hypha.fault_file("ws/a", "a", Corrupt())
            (result,) = cf.get([{"path": "a", "into": into}])
            assert (result["error"], result["verified"]) == (None, "md5")
            found = into.getvalue() if isinstance(into, io.BytesIO) else result["content"]
            assert bytes(found) == TEXT
