"""``compat.cloudfiles``: the examples of cloud-files' own documentation, and its manners where ours are others."""

from __future__ import annotations

import gzip
import itertools

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.compat.cloudfiles import CloudFile, CloudFiles, dl
from tests.support.object_server import ObjectServer, Status

numbers = itertools.count()


@pytest.fixture
def cf() -> CloudFiles:
    return CloudFiles(f"mem://compat-{next(numbers)}/folder/")


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
