"""What every backend promises, through ``ArtifactFiles``, on every engine.

``BackendContract`` is the suite, in parts for backends that cannot do everything. A backend's tests inherit it and
say where its files are (``place``). The memory and the HTTP backend run it here, others elsewhere.
"""

from __future__ import annotations

import array
import errno
import io
import itertools
import json
import os
import pickle
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cloudfiles_hypha import (
    ArtifactFiles,
    BatchError,
    BucketNotFound,
    InvalidContent,
    ObjectExists,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    ReadOnly,
    Result,
    RetryPolicy,
    TransferError,
)
from cloudfiles_hypha.backends.s3.backend import S3Backend
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.content.codecs import CODECS, decompress
from tests.support.ftp_server import PASSWORD, USER, ftp_server
from tests.support.object_server import ObjectServer
from tests.support.s3_servers import S3Server, moto, rclone, seaweed

TEN = b"0123456789"
KEYS = Result.__required_keys__
ENGINES: dict[str, dict[str, Any]] = {
    "inline": {"num_threads": 0},
    "threads": {"num_threads": 4},
    "green": {"num_threads": 4, "green": True},
}
ODD_NAMES = [
    "with space",
    "#hash",
    "ques?tion=1&x",
    "100%",
    "%20",
    "%2F..%2f",
    "a+b",
    "semi;colon,comma=equals",
    "'quote'\"double\"",
    "a..b/c...d",
    "dot./.hidden",
    "~tilde",
    "[x]{y}|z^`<>",
    "@version:1*",
    unicodedata.normalize("NFC", "é/ü"),
    unicodedata.normalize("NFD", "é/ü"),
    "日本語/Ω",
    "🦆🧑‍🔬",
    "a" * 200,
    "/".join("abcdefghij"),
]


class Place:
    """Somewhere to keep files, filled without the code under test where that can be done."""

    def __init__(
        self, cloudpath: str, fill: Callable[[Mapping[str, bytes]], None] | None = None, **options: Any
    ) -> None:
        self.cloudpath = cloudpath
        self.options = options
        self._fill = fill

    def open(self, **options: Any) -> ArtifactFiles:
        policy = RetryPolicy(attempts=4, first=0.01, longest=0.05, elapsed=10)
        return ArtifactFiles(self.cloudpath, **{"retry": policy, **self.options, **options})

    def fill(self, files: Mapping[str, bytes]) -> None:
        """Have these files there, and no others."""
        if self._fill is not None:
            self._fill(files)
        else:
            with self.open(num_threads=4) as cf:
                cf.puts(list(files.items()))


class ReadingContract:
    """What every backend can do. Inherit, and give a ``place`` fixture; each test has an empty one to itself."""

    odd_names: ClassVar[list[str]] = ODD_NAMES

    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError

    @pytest.fixture(params=ENGINES)
    def engine(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def cf(self, place: Place, engine: str) -> Iterator[ArtifactFiles]:
        with place.open(**ENGINES[engine]) as cf:
            yield cf

    # -- reading

    def test_what_is_put_encoded_is_decoded_on_reading(self, place: Place, cf: ArtifactFiles) -> None:
        if not (cf._backend.can.writable and cf._backend.can.keeps_encoding):
            pytest.skip("nothing can be stored with an encoding here")
        content = TEN * 1000
        results = cf.puts([(codec, content) for codec in CODECS[:1]], compress="gzip")
        results += cf.puts([{"path": codec, "content": content, "compress": codec} for codec in CODECS[1:]])
        assert [result["compress"] for result in results] == list(CODECS)
        read = cf.get(CODECS)
        assert [(result["content"], result["compress"]) for result in read] == [(content, codec) for codec in CODECS]
        assert [result["size"] for result in read] == [result["size"] for result in results]
        raw = cf.get(CODECS, raw=True)
        assert [decompress(result["content"], result["compress"]) for result in raw] == [content] * len(CODECS)
        assert cf.get({"path": "br", "start": 95, "end": 105}) == content[95:105]

    def test_the_engine_that_was_asked_for_is_running(self, cf: ArtifactFiles, engine: str) -> None:
        assert cf._engine.name == engine
        assert f" {engine}=" in repr(cf)

    def test_a_path_gives_its_bytes(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN, "dir/b": b"\x00\xff\r\n"})
        assert cf.get("a") == cf["a"] == TEN
        assert cf.get("dir/b") == b"\x00\xff\r\n"
        assert type(cf.get("a")) is bytes

    def test_a_prefix_in_the_cloudpath_is_left_out_of_names(self, place: Place, engine: str) -> None:
        place.fill({"x/y/a": TEN})
        with ArtifactFiles(f"{place.cloudpath}/x/y", **{**place.options, **ENGINES[engine]}) as cf:
            (result,) = cf.get(["a"])
            assert (result["path"], result["content"]) == ("a", TEN)
            with pytest.raises(ObjectNotFound) as caught:
                cf.get("b")
            assert caught.value.path == "b"

    @pytest.mark.parametrize("container", [list, tuple, iter, set], ids=lambda kind: kind.__name__)
    def test_an_iterable_gives_a_list_of_results(
        self, place: Place, cf: ArtifactFiles, container: Callable[[list[str]], Any]
    ) -> None:
        place.fill({str(number): b"%d" % number for number in range(7)})
        results = cf.get(container([str(number) for number in range(7)]))
        assert type(results) is list
        assert {result["path"]: result["content"] for result in results} == {str(n): b"%d" % n for n in range(7)}

    def test_results_are_in_the_order_of_the_input(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({f"f/{number}": b"x" * (number % 5) for number in range(40)})
        names = [f"f/{number * 7 % 40}" for number in range(40)]
        assert [result["path"] for result in cf.get(names)] == names
        assert [result["path"] for result in cf.get(name for name in names)] == names

    def test_nothing_in_nothing_out(self, cf: ArtifactFiles) -> None:
        assert cf.get([]) == []
        assert cf.get(iter(())) == []
        assert cf.get([], return_dict=True) == {}
        assert list(cf.iget([])) == []

    def test_results_have_the_same_keys_whatever_became_of_them(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN, "empty": b""})
        wanted = ["a", "missing", "empty", {"path": "a", "start": 2, "end": 2}, {"path": "a", "start": 1, "tags": 1}]
        results = cf.get(wanted, raise_errors=False)
        assert [set(result) for result in results] == [KEYS] * 5
        assert [result["content"] is None for result in results] == [result["error"] is not None for result in results]
        assert [result["byte_range"] for result in results] == [
            (None, None),
            (None, None),
            (None, None),
            (2, 2),
            (1, None),
        ]
        assert results[0]["size"] == 10
        assert next(result["attempts"] for result in results) == 1

    def test_tags_are_handed_back_untouched(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        tags = [object(), {"not": "hashable"}, None]
        items = [{"path": "a", "tags": tags[0]}, {"path": "missing", "tags": tags[1]}, {"path": "a"}]
        results = cf.get(items, raise_errors=False)
        assert [result["tags"] is tag for result, tag in zip(results, tags, strict=True)] == [True, True, True]

    def test_return_dict_maps_paths_to_contents(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN, "b": b"B"})
        assert cf.get(["b", "a"], return_dict=True) == {"a": TEN, "b": b"B"}
        assert cf.get("a", return_dict=True) == {"a": TEN}

    def test_return_dict_with_a_path_given_twice_is_refused_and_loses_nothing(
        self, place: Place, cf: ArtifactFiles
    ) -> None:
        place.fill({"a": TEN})
        with pytest.raises(ValueError, match="each path once"):
            cf.get([{"path": "a", "end": 1}, {"path": "a", "start": 1}], return_dict=True)

    def test_iget_yields_every_result_once(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({str(number): b"%d" % number for number in range(30)})
        got = {result["path"]: result["content"] for result in cf.iget(str(number) for number in range(30))}
        assert got == {str(number): b"%d" % number for number in range(30)}

    def test_iget_ends_with_the_failures(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        got = []
        with pytest.raises(BatchError) as caught:
            got.extend(cf.iget(["a", "missing", "a"]))
        assert len(caught.value.errors) == 1
        assert isinstance(caught.value.errors[0]["error"], ObjectNotFound)
        assert len(list(cf.iget(["a", "missing"], raise_errors=False))) == 2

    def test_get_json_parses_and_says_what_is_not_json(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a.json": b'{"\xc3\xbc": [1, null]}', "b.json": b"{", "c.json": b""})
        assert cf.get_json("a.json") == {"ü": [1, None]}
        results = cf.get_json(["a.json", "b.json", "c.json"], raise_errors=False)
        assert results[0]["content"] == {"ü": [1, None]}
        for result in results[1:]:
            assert isinstance(result["error"], InvalidContent)
            assert result["path"] in str(result["error"])

    # -- ranges

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (start, end)
            for start in (None, 0, 1, 5, 9, 10)
            for end in (None, 0, 1, 5, 9, 10, 11, 1000)
            if end is None or end >= (start or 0)
        ],
    )
    def test_a_range_is_half_open_and_may_end_beyond_the_end(
        self, place: Place, cf: ArtifactFiles, start: int | None, end: int | None
    ) -> None:
        place.fill({"a": TEN})
        wanted = {"path": "a", "start": start, "end": end}
        assert cf.get(wanted) == TEN[start:end] == cf["a", start:end]
        (result,) = cf.get([wanted])
        assert (result["content"], result["byte_range"]) == (TEN[start:end], (start, end))

    def test_a_range_that_begins_beyond_the_end_is_an_error(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        for wanted in ({"path": "a", "start": 11}, {"path": "a", "start": 1000, "end": 1001}):
            with pytest.raises(RangeNotSatisfiable) as caught:
                cf.get(wanted)
            assert isinstance(caught.value, ValueError)
            assert not caught.value.retryable

    @pytest.mark.parametrize(("start", "end"), [(None, None), (0, None), (0, 1), (0, 0), (5, None), (5, 9), (5, 5)])
    def test_an_empty_object_has_no_bytes_in_any_range(
        self, place: Place, cf: ArtifactFiles, start: int | None, end: int | None
    ) -> None:
        place.fill({"empty": b""})
        assert cf.get({"path": "empty", "start": start, "end": end}) == b""
        assert cf.get([{"path": "empty", "start": start, "end": end}])[0]["error"] is None

    def test_several_ranges_of_one_path_are_several_results(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        ranges = [(0, 2), (2, 4), (0, 2), (None, None), (8, None), (3, 3)]
        results = cf.get([{"path": "a", "start": start, "end": end} for start, end in ranges])
        assert [result["content"] for result in results] == [TEN[start:end] for start, end in ranges]
        assert [result["byte_range"] for result in results] == ranges

    # -- what goes wrong

    def test_a_missing_object_is_an_error_that_python_knows(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        for wanted in ("missing", "a/b", "A", {"path": "missing", "start": 1}):
            with pytest.raises(ObjectNotFound) as caught:
                cf.get(wanted)
            assert isinstance(caught.value, FileNotFoundError)
            assert isinstance(caught.value, TransferError)
            assert caught.value.path == (wanted if isinstance(wanted, str) else "missing")
            assert str(caught.value).startswith(caught.value.path)

    def test_a_missing_object_does_not_fail_the_rest_of_the_batch(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({str(number): b"%d" % number for number in range(20) if number % 7})
        names = [str(number) for number in range(20)]
        with pytest.raises(BatchError, match=r"^get: 3 of 20 items failed: ") as caught:
            cf.get(names)
        error = pickle.loads(pickle.dumps(caught.value))
        assert [result["path"] for result in error.results] == names
        assert [result["path"] for result in error.errors] == ["0", "7", "14"]
        assert all(isinstance(result["error"], ObjectNotFound) for result in error.errors)
        assert [result["content"] for result in error.results if result["error"] is None] == [
            b"%d" % number for number in range(20) if number % 7
        ]
        assert cf.get(names, raise_errors=False)[7]["error"].path == "7"

    # -- asking

    def test_exists_says_whether_each_is_there(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN, "dir/b": b""})
        assert cf.exists("a") is True
        assert cf.exists("missing") is False
        assert cf.exists("dir") is False
        assert "dir/b" in cf
        assert "dir/c" not in cf
        assert cf.exists(["a", "missing", "dir/b", "a"]) == {"a": True, "missing": False, "dir/b": True}
        assert cf.exists([]) == {}

    def test_head_and_size_know_an_object_without_reading_it(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN, "empty": b"", "one": b"1"})
        info = cf.head("a")
        assert (info.path.rpartition("/")[2], info.size) == ("a", 10)
        assert cf.size("empty") == 0
        assert cf.size(["a", "empty", "one"]) == {"a": 10, "empty": 0, "one": 1}
        with pytest.raises(ObjectNotFound):
            cf.head("missing")
        with pytest.raises(BatchError):
            cf.size(["a", "missing"])

    def test_odd_names_are_read_exactly(self, place: Place, cf: ArtifactFiles) -> None:
        files = {name: name.encode() for name in self.odd_names}
        place.fill(files)
        assert cf.get(list(files), return_dict=True) == files
        assert cf.exists(list(files)) == dict.fromkeys(files, True)
        for name in files:
            assert cf.get({"path": name, "start": 1}) == name.encode()[1:]

    # -- copies

    def test_a_pickled_copy_reads_the_same(self, place: Place, cf: ArtifactFiles, engine: str) -> None:
        place.fill({"a": TEN})
        with pickle.loads(pickle.dumps(cf)) as copy:
            assert copy.get("a") == TEN
            assert (copy._engine.name, copy.cloudpath, repr(copy)) == (engine, cf.cloudpath, repr(cf))


class WritingContract(ReadingContract):
    """What backends that can be written to do besides."""

    def test_what_is_put_is_what_is_got(self, cf: ArtifactFiles, tmp_path: Path) -> None:
        path = tmp_path / "content"
        path.write_bytes(TEN)
        at_an_offset = io.BytesIO(b"skip" + TEN)
        at_an_offset.seek(4)

        class Pipe(io.RawIOBase):
            def __init__(self) -> None:
                self._left = io.BytesIO(TEN)

            def read(self, size: int = -1) -> bytes:
                return self._left.read(min(size, 3) if size >= 0 else size)

        with path.open("rb") as file:
            contents: dict[str, Any] = {
                "bytes": TEN,
                "bytearray": bytearray(TEN),
                "memoryview": memoryview(b"x" + TEN)[1:],
                "every other byte": memoryview(bytes(itertools.chain(*((byte, 0) for byte in TEN))))[::2],
                "array": array.array("B", TEN),
                "text": TEN.decode(),
                "path": path,
                "open file": file,
                "at an offset": at_an_offset,
                "pipe": Pipe(),
            }
            results = cf.puts(contents.items())
            assert not file.closed
        assert [set(result) for result in results] == [KEYS] * len(contents)
        assert [result["path"] for result in results] == list(contents)
        assert [(result["size"], result["content"], result["error"]) for result in results] == [(10, None, None)] * 10
        assert cf.get(list(contents), return_dict=True) == dict.fromkeys(contents, TEN)

    def test_put_and_puts_overwrite(self, cf: ArtifactFiles) -> None:
        cf.put("a", b"old and longer")
        cf.puts([("a", b"new")])
        assert cf.get("a") == b"new"
        cf["a"] = b""
        assert cf.get("a") == b""

    def test_a_file_that_is_there_is_left_alone_where_that_was_asked_for(self, cf: ArtifactFiles) -> None:
        if "new" not in cf._backend.can.conditions:
            with pytest.raises(ValueError, match="overwrite='never'"):
                cf.put("a", TEN, overwrite="never")
            assert not cf.exists("a")
            return
        cf.puts([("a", TEN), ("c", TEN)])
        new = {"path": "c", "content": b"new", "overwrite": "always"}
        results = cf.puts([("a", b"new"), ("b", b"new"), new], overwrite="never", raise_errors=False)
        assert [type(result["error"]) for result in results] == [ObjectExists, type(None), type(None)]
        assert isinstance(results[0]["error"], FileExistsError)
        assert cf.get(["a", "b", "c"], return_dict=True) == {"a": TEN, "b": b"new", "c": b"new"}

    def test_a_file_is_replaced_only_if_it_is_the_one_that_is_known(self, cf: ArtifactFiles) -> None:
        if "pinned" not in cf._backend.can.conditions:
            with pytest.raises(ValueError, match="if_match"):
                cf.put("a", TEN, if_match="1")
            assert not cf.exists("a")
            return
        cf.put("a", b"first")
        known = cf.head("a").etag
        assert cf.put("a", b"second", if_match=known)["etag"] != known
        results = cf.puts(
            [{"path": name, "content": b"third", "if_match": known} for name in ("a", "missing")], raise_errors=False
        )
        assert [type(result["error"]) for result in results] == [PreconditionFailed] * 2
        assert cf.get("a") == b"second"
        assert not cf.exists("missing")

    def test_text_is_stored_as_utf8(self, cf: ArtifactFiles) -> None:
        cf.put("a", "Grüße 🦆")
        assert cf.get("a") == "Grüße 🦆".encode()

    def test_odd_names_round_trip_exactly(self, cf: ArtifactFiles) -> None:
        files = {name: name.encode() for name in self.odd_names}
        cf.puts(list(files.items()))
        assert cf.get(list(files), return_dict=True) == files

    def test_results_of_get_can_be_put(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN, "b": b""})
        results = cf.get(["a", "b"])
        cf.puts(results)
        assert cf.get(["a", "b"], return_dict=True) == {"a": TEN, "b": b""}

    def test_one_open_file_under_many_names_is_stored_whole_under_each(self, cf: ArtifactFiles, tmp_path: Path) -> None:
        content = bytes(range(256)) * 4096
        path = tmp_path / "content"
        path.write_bytes(content)
        with path.open("rb") as file:
            cf.puts([(str(number), file) for number in range(8)])
        assert {result["content"] == content for result in cf.get([str(number) for number in range(8)])} == {True}

    def test_json_round_trips(self, cf: ArtifactFiles) -> None:
        value = {"ü": [1, 2.5, None, True]}
        cf.put_json("a.json", value)
        cf.put_jsons([("b.json", value), {"path": "c.json", "content": []}])
        assert cf.get_json(["a.json", "b.json", "c.json"], return_dict=True) == {
            "a.json": value,
            "b.json": value,
            "c.json": [],
        }
        assert json.loads(cf.get("a.json")) == value
        assert cf.head("a.json").content_type == "application/json"

    def test_an_item_that_cannot_be_read_does_not_fail_the_rest(self, cf: ArtifactFiles, tmp_path: Path) -> None:
        results = cf.puts([("a", TEN), ("folder", tmp_path), ("b", TEN)], raise_errors=False)
        assert [type(result["error"]) for result in results] == [type(None), IsADirectoryError, type(None)]
        assert cf.exists(["a", "b", "folder"]) == {"a": True, "b": True, "folder": False}

    def test_delete_takes_away_and_what_is_not_there_counts_as_removed(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill(dict.fromkeys("abcd", TEN))
        assert cf.delete("a") is None
        del cf["b"]
        results = cf.delete(["c", "missing"])
        assert [(result["path"], result["error"]) for result in results or ()] == [("c", None), ("missing", None)]
        assert cf.exists(list("abcd")) == {"a": False, "b": False, "c": False, "d": True}

    def test_touch_makes_empty_files_and_leaves_others_alone(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        cf.touch(["a", "b", "b"])
        cf.touch("c")
        assert cf.get(["a", "b", "c"], return_dict=True) == {"a": TEN, "b": b"", "c": b""}


class ListingContract(ReadingContract):
    """What backends that can be listed do besides."""

    FILES: ClassVar[list[str]] = ["a", "b/1", "b/2/x", "b/2/y", "b2", "c d/ü"]

    @pytest.mark.parametrize(
        ("prefix", "all_names", "flat_names"),
        [
            ("", FILES, ["a", "b/", "b2", "c d/"]),
            ("b", ["b/1", "b/2/x", "b/2/y", "b2"], ["b/", "b2"]),
            ("b/", ["b/1", "b/2/x", "b/2/y"], ["b/1", "b/2/"]),
            ("b/2", ["b/2/x", "b/2/y"], ["b/2/"]),
            ("b/2/x", ["b/2/x"], ["b/2/x"]),
            ("c d/", ["c d/ü"], ["c d/ü"]),
            ("zzz", [], []),
        ],
    )
    def test_list_gives_every_name_that_begins_so(
        self, place: Place, cf: ArtifactFiles, prefix: str, all_names: list[str], flat_names: list[str]
    ) -> None:
        place.fill(dict.fromkeys(self.FILES, b"x"))
        assert sorted(cf.list(prefix)) == sorted(all_names)
        assert sorted(cf.list(prefix, flat=True)) == sorted(flat_names)

    def test_odd_names_are_listed_exactly(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill(dict.fromkeys(self.odd_names, b"x"))
        assert sorted(cf) == sorted(self.odd_names)

    @pytest.mark.parametrize("prefix", ["", "b/"])
    def test_a_listing_goes_on_behind_any_name(self, place: Place, cf: ArtifactFiles, prefix: str) -> None:
        # some stores list folder by folder, in which "b/" stands before "b-" and "b."
        place.fill(dict.fromkeys((*self.FILES, "b-", "b.txt"), b"x"))
        names = sorted(cf.list(prefix))
        for number, name in enumerate(names):
            assert [*cf.list(prefix, start_after=name)] == names[number + 1 :]
            assert [*cf.list(prefix, start_after=f"{name}!", size=True)] == [(each, 1) for each in names[number + 1 :]]
        assert [*cf.list(prefix, start_after="")] == names

    def test_isdir_tells_folders_from_files(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill(dict.fromkeys(self.FILES, b"x"))
        assert cf.isdir("b")
        assert cf.isdir("b/2/")
        assert cf.isdir("")
        assert not cf.isdir("a")
        assert not cf.isdir("b2")


class BackendContract(WritingContract, ListingContract):
    """The whole of it, for backends that can do everything."""


class TestMemory(BackendContract):
    numbers = itertools.count()

    @pytest.fixture
    def place(self) -> Place:
        return Place(f"mem://contract-{next(self.numbers)}")

    def test_users_of_one_bucket_share_it_and_others_do_not(self) -> None:
        first, second = ArtifactFiles("mem://shared-1"), ArtifactFiles("mem://shared-1/dir")
        first.put("dir/a", TEN)
        assert second.get("a") == TEN
        assert ArtifactFiles("mem://shared-2").exists("dir/a") is False


class TestLocal(BackendContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        folder = tmp_path / "store"
        folder.mkdir()
        return Place(f"file://{folder}")

    def test_what_is_stored_are_plain_files_and_nothing_else(self, place: Place, cf: ArtifactFiles) -> None:
        cf.puts([("a", TEN), ("dir/b", b"")])
        folder = Path(place.cloudpath.removeprefix("file://"))
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert found == {"a": TEN, "dir/b": b""}


class TestLocalWithLocks(BackendContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        (tmp_path / "store").mkdir()
        return Place(f"file://{tmp_path}/store", lock_dir=tmp_path / "locks")

    def test_the_locks_are_where_they_are_to_be(self, cf: ArtifactFiles, tmp_path: Path) -> None:
        cf.put("a", TEN)
        assert cf.get("a") == TEN
        assert [path.suffix for path in (tmp_path / "locks").iterdir()] == [".lock"]


class TestLocalWithoutAttributes(BackendContract):
    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
        def refuse(*args: object, **options: object) -> None:
            raise OSError(errno.ENOTSUP, "no attributes")

        for call in ("setxattr", "getxattr"):
            monkeypatch.setattr(os, call, refuse)
        (tmp_path / "store").mkdir()
        return Place(f"file://{tmp_path}/store")

    def test_an_encoding_is_in_the_name(self, cf: ArtifactFiles, tmp_path: Path) -> None:
        cf.put("a", TEN, compress="gzip")
        assert [path.name for path in (tmp_path / "store").iterdir()] == ["a.encoded.gz"]
        assert cf.get("a") == TEN


class TestMemoryOfFsspec(BackendContract):
    """``memory://``, which is fsspec's: an implementation that neither renames nor keeps anything but bytes."""

    numbers = itertools.count()

    @pytest.fixture
    def place(self) -> Place:
        pytest.importorskip("fsspec")
        return Place(f"memory://contract/{os.getpid()}-{next(self.numbers)}")


class TestFtp(BackendContract):
    """``ftp://`` by fsspec, from a server of this process."""

    numbers = itertools.count()

    @pytest.fixture(scope="class")
    @staticmethod
    def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
        pytest.importorskip("fsspec")
        pytest.importorskip("pyftpdlib")
        with ftp_server(tmp_path_factory.mktemp("ftp")) as port:
            yield port

    @pytest.fixture
    def place(self, port: int) -> Place:
        return Place(f"ftp://127.0.0.1:{port}/{next(self.numbers)}", secrets={"username": USER, "password": PASSWORD})


class TestSftp(BackendContract):
    """``sftp://`` by fsspec, from a server of this process."""

    numbers = itertools.count()

    @pytest.fixture(scope="class")
    @staticmethod
    def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
        pytest.importorskip("fsspec")
        pytest.importorskip("paramiko")
        from tests.support.sftp_server import sftp_server

        with sftp_server(tmp_path_factory.mktemp("sftp")) as port:
            yield port

    # on every engine there is FTP already; this is the same code, with a server that takes its time to connect
    @pytest.fixture(params=["threads"])
    def engine(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def place(self, port: int) -> Place:
        access = {"username": USER, "password": PASSWORD, "look_for_keys": False, "allow_agent": False}
        return Place(f"sftp://127.0.0.1:{port}/{next(self.numbers)}", secrets=access)


class TestHttp(ReadingContract):
    @pytest.fixture
    def place(self, object_server: ObjectServer) -> Place:
        def fill(files: Mapping[str, bytes]) -> None:
            object_server.objects.clear()
            for name, content in files.items():
                object_server.put(f"base/{name}", content)

        return Place(f"{object_server.url}/base", fill)

    def test_head_asks_for_no_bytes(self, place: Place, cf: ArtifactFiles, object_server: ObjectServer) -> None:
        place.fill({"a": TEN})
        assert cf.size("a") == 10
        assert [seen.method for seen in object_server.requests] == ["HEAD"]
        assert object_server.bytes_sent == 0

    def test_names_are_percent_encoded_once(self, place: Place, cf: ArtifactFiles, object_server: ObjectServer) -> None:
        place.fill({"a b%20?#&+": TEN})
        assert cf.get("a b%20?#&+") == TEN
        (seen,) = object_server.requests
        assert (seen.path, seen.query) == ("base/a b%20?#&+", "")

    def test_a_read_only_place_refuses_to_be_written_to(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        for write in (lambda: cf.put("a", b""), lambda: cf.delete("a")):
            with pytest.raises(ReadOnly) as caught:
                write()
            assert isinstance(caught.value, PermissionError)
            assert caught.value.path == "a"
        with pytest.raises(BatchError):
            cf.puts([("a", b"")])
        assert cf.get("a") == TEN

    def test_a_web_server_cannot_be_listed_and_says_so(self, cf: ArtifactFiles) -> None:
        with pytest.raises(TransferError, match="cannot be listed"):
            list(cf.list())


@pytest.fixture(scope="module")
def seaweed_server() -> Iterator[S3Server]:
    with seaweed() as server:
        server.make_bucket("contract")
        yield server


@pytest.fixture(scope="module")
def moto_server() -> Iterator[S3Server]:
    with moto() as server:
        server.make_bucket("contract")
        yield server


@pytest.fixture(scope="module")
def rclone_server() -> Iterator[S3Server]:
    with rclone() as server:
        server.make_bucket("contract")
        yield server


class OnS3(BackendContract):
    """What holds for ``s3://``, whoever serves it. Each test has a folder to itself: SeaweedFS takes 100 buckets."""

    numbers = itertools.count()

    @pytest.fixture
    def place(self, server: S3Server) -> Place:
        return Place(f"{server.cloudpath('contract')}/{next(self.numbers)}", secrets=server.secrets)

    def test_names_are_listed_page_by_page(self, place: Place, cf: ArtifactFiles, engine: str) -> None:
        names = [f"{number % 3}/{number:04}" for number in range(1005)]
        place.fill(dict.fromkeys(names, b"x"))
        assert list(cf.list()) == sorted(names)
        assert list(cf.list(flat=True)) == ["0/", "1/", "2/"]

    def test_what_is_stored_in_parts_is_whole_and_described(self, place: Place, engine: str) -> None:
        content = bytes(range(256)) * 48 * 1024  # 12 MiB
        options = {"multipart_threshold": 6 << 20, "part_size": 5 << 20}
        with place.open(**ENGINES[engine], **options) as cf:
            results = cf.puts(
                [("large", content), ("small", TEN)], content_type="text/x-test", cache_control="no-store"
            )
            assert [result["verified"] for result in results] == ["etag-parts", "md5"]
            assert (results[0]["etag"] or "").endswith("-3")
            assert cf.get("large") == content
            for name in ("large", "small"):
                info = cf.head(name)
                assert (info.content_type, info.headers.get("cache-control")) == ("text/x-test", "no-store")

    def test_files_go_to_disk_and_back_and_compare_equal(self, place: Place, engine: str, tmp_path: Path) -> None:
        content = bytes(range(256)) * 48 * 1024
        files = {"a": TEN, "d/large": content, "d/empty": b""}
        for name, each in files.items():
            (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "from" / name).write_bytes(each)
        options = {"multipart_threshold": 6 << 20, "part_size": 5 << 20}
        with place.open(**ENGINES[engine], **options) as cf:
            cf.upload(tmp_path / "from", "x")
            assert {each["skipped"] for each in cf.upload(tmp_path / "from", "x")} == {True}
            assert sorted(cf.verify(tmp_path / "from", "x")["equal"]) == sorted(files)
            results = cf.download("x/", tmp_path / "to", part_size=1 << 20)
            assert {each["verified"] for each in results} <= {"md5", "etag-parts"}
            assert {each["skipped"] for each in cf.download("x/", tmp_path / "to")} == {True}
        for name, each in files.items():
            assert (tmp_path / "to" / name).read_bytes() == each

    def test_many_names_are_removed_in_few_requests(
        self, place: Place, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.fill(dict.fromkeys([*self.odd_names, *map(str, range(100)), "kept"], b"x"))
        backend = cf._backend
        assert isinstance(backend, S3Backend)
        send, seen = backend.sender.send, []
        monkeypatch.setattr(backend.sender, "send", lambda request: (seen.append(request.method), send(request))[1])
        names = [*self.odd_names, *map(str, range(100)), "missing"]
        results = cf.delete(names)
        assert [(result["path"], result["error"]) for result in results or ()] == [(name, None) for name in names]
        assert list(cf) == ["kept"]
        assert len(seen) < 20

    def test_the_store_makes_copies_itself(
        self, server: S3Server, place: Place, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {name: name.encode() for name in self.odd_names}
        place.fill(files)
        cf.put("page", b"<p>" * 100, content_type="text/html", cache_control="no-store", compress="gzip")
        backend = cf._backend
        assert isinstance(backend, S3Backend)
        send, seen = backend.sender.send, []
        monkeypatch.setattr(backend.sender, "send", lambda request: (seen.append(request), send(request))[1])
        results = cf.transfer_to(cf, [*((name, f"copy/{name}") for name in files), ("page", "copy/page")])
        assert {result["verified"] for result in results} == {"md5"}
        assert not [request for request in seen if request.method == "GET"]
        assert cf.get([f"copy/{name}" for name in files], return_dict=True) == {
            f"copy/{name}": content for name, content in files.items()
        }
        info = cf.head("copy/page")
        assert (info.content_type, info.headers.get("cache-control"), info.compress) == (
            "text/html",
            "no-store",
            "gzip",
        )
        (failed,) = cf.transfer_to(cf, [("missing", "copy/missing")], raise_errors=False)
        assert isinstance(failed["error"], ObjectNotFound)
        with place.open(secrets={**server.secrets, "AWS_SECRET_ACCESS_KEY": "another"}) as other:
            assert not other._backend.copies_from(backend)

    def test_the_command_line_copies_lists_compares_and_removes(
        self, server: S3Server, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
    ) -> None:
        for name, value in server.secrets.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "from" / "d").mkdir(parents=True)
        for name in ("a", "d/b c"):
            (tmp_path / "from" / name).write_bytes(TEN)
        here, there = str(tmp_path / "from"), place.cloudpath
        assert main(["cp", "-r", "--no-progress", here, f"{there}/x/"]) == 0
        assert main(["verify", here, f"{there}/x"]) == 0
        assert main(["cp", "-r", "--no-progress", f"{there}/x/", str(tmp_path / "to")]) == 0
        assert main(["cp", "--no-progress", f"{there}/x/a", f"{there}/y"]) == 0
        assert main(["rm", "--no-progress", f"{there}/x/a"]) == 0
        capfd.readouterr()
        assert main(["ls", there]) == 0
        assert capfd.readouterr().out.split("\n") == ["x/d/b c", "y", ""]
        assert main(["cat", f"{there}/y"]) == 0
        assert capfd.readouterr().out == TEN.decode()
        assert (tmp_path / "to" / "d" / "b c").read_bytes() == TEN
        assert main(["cp", "--no-progress", f"{there}/missing", str(tmp_path / "to")]) == 1
        assert main(["commit", there]) == 2

    def test_a_listing_knows_sizes_etags_and_times(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        (info,) = cf._backend.scan(cf._prefix, control=cf._control())
        assert (info.path, info.size, info.etag) == (f"{cf._prefix}a", 10, "781e5e245d69b566979b86e28d23f2c7")
        assert info.last_modified == pytest.approx(cf.head("a").last_modified, abs=1)

    def test_a_bucket_that_is_not_there_is_named(self, server: S3Server, engine: str) -> None:
        place = Place(server.cloudpath("not-there"), secrets=server.secrets)
        with place.open(**ENGINES[engine]) as cf:
            for attempt in (lambda: cf.get("a"), lambda: list(cf)):  # SeaweedFS makes one with the first write
                with pytest.raises(BucketNotFound, match="no bucket 'not-there'"):
                    attempt()
            assert cf.exists("a") is False


class TestSeaweedFS(OnS3):
    @pytest.fixture
    def server(self, seaweed_server: S3Server) -> S3Server:
        return seaweed_server


class TestMoto(OnS3):
    @pytest.fixture
    def server(self, moto_server: S3Server) -> S3Server:
        return moto_server


class TestRclone(OnS3):
    # of a folder whose name is there in another normal form it makes one
    odd_names: ClassVar[list[str]] = [name for name in ODD_NAMES if name == unicodedata.normalize("NFC", name)]

    @pytest.fixture
    def server(self, rclone_server: S3Server) -> S3Server:
        return rclone_server
