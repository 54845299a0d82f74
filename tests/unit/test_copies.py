"""Copying and moving between places: what arrives, what is kept, what is removed, and what is refused."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cloudfiles_hypha import (
    ArtifactFiles,
    BatchError,
    Cancellation,
    Cancelled,
    InvalidRequest,
    Item,
    LossyWarning,
    ObjectNotFound,
    PreconditionFailed,
    ReadOnly,
    StagedWarning,
)
from cloudfiles_hypha.backends.base import Capabilities
from cloudfiles_hypha.backends.memory import MemoryBackend
from cloudfiles_hypha.results import CopyResult
from cloudfiles_hypha.transfers import copy
from tests.support.clients import CLIENTS, QUICK, connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Drop, ObjectServer, Status

MIB = 1024 * 1024
BIG = bytes(range(256)) * 4096 * 11  # 11 MiB
FILES = {f"dir/{number}": b"%d" % number * number for number in range(40)}
PARTS: dict[str, Any] = {"multipart_threshold": MIB, "part_size": 5 * MIB}
numbers = itertools.count()


def memory(files: dict[str, bytes] | None = None, **options: Any) -> ArtifactFiles:
    made = ArtifactFiles(f"mem://copies-{next(numbers)}", retry=QUICK, **options)
    if files:
        made.puts(list(files.items()))
    return made


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as server:
        yield server


@pytest.fixture(params=CLIENTS)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CLIENTS[request.param]


def contents(cf: ArtifactFiles) -> dict[str, bytes]:
    found: dict[str, bytes] = cf.get(list(cf), return_dict=True)
    return found


# --- Every kind of pair, on every engine ------------------------------------------------------------------------------


def test_there_and_back_again_keeps_every_byte_and_the_types(hypha: FakeHypha, options: dict[str, Any]) -> None:
    source = memory({**FILES, "big": BIG})
    source.put("page.html", b"<p>", content_type="text/html", cache_control="no-cache")
    back = memory()
    with (
        connect(hypha, "ws/a", create=True, **PARTS, **options) as one,
        connect(hypha, "ws/b", create=True, **PARTS, **options) as other,
    ):
        stored = one.transfer_from(source)
        copied = one.transfer_to(other)
        returned = other.transfer_to(back)
        assert contents(back) == contents(source)
        (page,) = (result for result in copied if result["path"] == "page.html")
        assert (page["content_type"], page["how"], page["read"], page["verified"]) == (
            "text/html",
            "through",
            "md5",
            "md5",
        )
        assert back.head("page.html").content_type == "text/html"
        assert back.head("page.html").headers["cache-control"] == "no-cache"
    for results in (stored, copied, returned):
        assert len(results) == len(FILES) + 2
        assert {frozenset(result) for result in results} == {CopyResult.__required_keys__}
        assert {(result["done"], result["error"]) for result in results} == {("copied", None)}
    (big,) = (result for result in copied if result["path"] == "big")
    assert (big["size"], big["verified"], big["read"]) == (len(BIG), "etag-parts", "etag-parts")


def test_one_hypha_commit_holds_a_whole_batch(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/a", create=True) as cf:
        cf.transfer_from(memory(FILES))
        assert hypha.count("commit") == 1
        cf.transfer_to(memory(), (name for name in FILES))
        assert hypha.count("get_file") < len(FILES) / 4


def test_a_web_server_is_a_source_and_sides_may_wait_in_different_ways(
    object_server: ObjectServer, hypha: FakeHypha, options: dict[str, Any]
) -> None:
    for name, content in FILES.items():
        object_server.put(name, content, headers={"Content-Type": "text/plain"})
    object_server.put("big", BIG)
    names = [*FILES, "big"]
    for reads in CLIENTS.values():  # each with each
        with (
            ArtifactFiles(object_server.url, retry=QUICK, **reads) as web,
            connect(hypha, f"ws/{next(numbers)}", create=True, **PARTS, **options) as cf,
        ):
            results = cf.transfer_from(web, names)
            assert [result["path"] for result in results] == names
            assert contents(cf) == {**FILES, "big": BIG}
            assert cf.head("dir/1").content_type == "text/plain"


def test_reading_goes_on_after_a_connection_that_broke(object_server: ObjectServer) -> None:
    object_server.put("a", BIG, faults=[Drop(after_bytes=MIB), Status(503)])
    target = memory()
    with ArtifactFiles(object_server.url, retry=QUICK) as web:
        result = target.transfer_from(web, "a")
    assert target.get("a") == BIG
    assert result["attempts"] == 3


def test_an_object_that_changes_between_its_parts_is_not_stitched_together(
    object_server: ObjectServer, hypha: FakeHypha
) -> None:
    object_server.put("a", BIG)
    seen = []

    class Watch:
        def started(self, item: object) -> None: ...

        def moved(self, item: object, size: int) -> None:
            seen.append(size)
            object_server.put("a", BIG[::-1])

        def failed(self, item: object, attempt: int, error: Exception) -> None: ...

        def ended(self, item: object, error: Exception | None) -> None: ...

    with (
        ArtifactFiles(object_server.url, retry=QUICK) as web,
        connect(hypha, "ws/a", create=True, num_threads=1, observer=Watch(), **PARTS) as cf,
    ):
        (result,) = cf.transfer_from(web, ["a"], raise_errors=False)
        assert isinstance(result["error"], PreconditionFailed)
        assert seen
        assert not cf.exists("a")


def test_expired_urls_of_the_source_are_signed_anew(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/a", create=True, **PARTS) as one, connect(hypha, "ws/b", create=True, **PARTS) as other:
        one.puts([*FILES.items(), ("big", BIG)])
        one.get([*FILES, "big"])  # so that URLs are kept
        hypha.expire_urls()
        one.transfer_to(other)
        assert contents(other) == {**FILES, "big": BIG}


# --- What is asked for ------------------------------------------------------------------------------------------------


def test_names_pairs_and_dicts(hypha: FakeHypha) -> None:
    source, target = memory(FILES), memory()
    tag = object()
    results = source.transfer_to(
        target, iter(["dir/1", ("dir/2", "two"), {"path": "dir/3", "dest_path": "3", "tags": tag}])
    )
    assert [(result["path"], result["target"]) for result in results] == [
        ("dir/1", "dir/1"),
        ("dir/2", "two"),
        ("dir/3", "3"),
    ]
    assert results[2]["tags"] is tag
    assert sorted(target) == ["3", "dir/1", "two"]
    assert source.transfer_to(target, "dir/4")["done"] == "copied"
    assert len(source.transfer_to(target, "dir/")) == len(FILES)
    with pytest.raises(ObjectNotFound) as caught:
        source.transfer_to(target, "missing")
    assert caught.value.path == "missing"


def test_what_fails_does_not_keep_the_rest(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/a", create=True) as cf:
        with pytest.raises(BatchError) as caught:
            cf.transfer_from(memory(FILES), ["dir/1", "missing", "dir/2"])
        assert [result["done"] for result in caught.value.results] == ["copied", "nothing", "copied"]  # type: ignore[typeddict-item]
        assert sorted(cf) == ["dir/1", "dir/2"]


@pytest.mark.parametrize(
    "items", [[("a", "x"), ("b", "x")], [("a", "b"), ("b", "c")], [("b", "c"), ("a", "b")], [("a", "a")], ["a"]]
)
def test_targets_that_would_overwrite_each_other_or_a_source_are_refused(items: list[Any]) -> None:
    cf = memory({"a": b"A", "b": b"B"})
    with pytest.raises(ValueError, match="target|both read"):
        cf.moves(items)
    assert contents(cf)["a"] == b"A"
    assert contents(cf)["b"] == b"B"


def test_an_old_version_can_be_brought_back(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/a", create=True) as cf:
        cf.puts([("a", b"old"), ("b", b"B")])
        with cf.staged(version="new"):
            cf.puts([("a", b"new")])
        with connect(hypha, "ws/a@v0") as old:
            old.transfer_to(cf)
        assert contents(cf) == {"a": b"old", "b": b"B"}


def test_a_copy_into_itself_is_refused_and_one_beside_it_is_not() -> None:
    cf = memory({"a/1": b"A"})
    with pytest.raises(ValueError, match="within"):
        ArtifactFiles(f"{cf.cloudpath}/a").transfer_to(f"{cf.cloudpath}/a/b")
    ArtifactFiles(f"{cf.cloudpath}/a").transfer_to(f"{cf.cloudpath}/b")
    assert sorted(cf) == ["a/1", "b/1"]


def test_what_is_there_is_left_alone_or_not() -> None:
    source, target = memory({"same": b"S", "other": b"new", "more": b"M"}), memory({"same": b"S", "other": b"old"})
    before = target.head("same").last_modified

    def done(**options: Any) -> dict[str, tuple[str, str | None]]:
        results = source.transfer_to(target, **options)
        return {result["path"]: (result["done"], result["compared"]) for result in results}

    assert done(overwrite="never") == {
        "more": ("copied", None),
        "other": ("nothing", "name"),
        "same": ("nothing", "name"),
    }
    assert target.get("other") == b"old"
    assert done(overwrite="newer")["other"] == ("nothing", "time")
    assert done(overwrite="different") == {
        "more": ("nothing", "digest"),
        "other": ("copied", None),
        "same": ("nothing", "digest"),
    }
    assert target.head("same").last_modified == before
    source.put("other", b"newest")
    assert done(overwrite="newer")["other"] == ("copied", None)
    assert target.get("other") == b"newest"
    with pytest.raises(ValueError, match="overwrite="):
        source.transfer_to(target, overwrite="sometimes")  # type: ignore[arg-type]


# --- What the target keeps --------------------------------------------------------------------------------------------


def test_what_the_target_cannot_keep_is_told_and_an_encoding_never_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = memory(), memory()
    source.put("a", b"A", content_type="text/plain")
    source.put("b", b"B", content_encoding="gzip")
    source.put("c", b"C", content_type="application/octet-stream")
    monkeypatch.setattr(MemoryBackend, "can", Capabilities(blocking=True, s3_etags=True, keeps=frozenset()))
    with pytest.warns(LossyWarning, match="without the content type"):
        results = source.transfer_to(target, ["a", "b", "c"], raise_errors=False)
    assert [type(result["error"]) for result in results] == [type(None), InvalidRequest, type(None)]
    assert "gzip" in str(results[1]["error"])
    assert sorted(target) == ["a", "c"]


def test_encodings_pass_through_as_they_are(hypha: FakeHypha) -> None:
    source, back = memory(), memory()
    source.put("a.gz", b"not really gzip", content_encoding="gzip")
    with connect(hypha, "ws/a", create=True) as cf:
        cf.transfer_from(source)
        (result,) = cf.transfer_to(back)
    assert result["content_encoding"] == "gzip"
    assert back.head("a.gz").headers["content-encoding"] == "gzip"
    assert back.get(["a.gz"], raw=True)[0]["content"] == b"not really gzip"


def test_a_store_that_can_copy_does_so_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = memory(FILES), memory()

    def refuse(*args: object) -> None:
        raise AssertionError("bytes have passed through")

    monkeypatch.setattr(MemoryBackend, "get", refuse)
    results = source.transfer_to(target)
    assert {result["how"] for result in results} == {"server"}
    assert target.size("dir/7") == 7


# --- Moving -----------------------------------------------------------------------------------------------------------


def test_a_move_leaves_nothing_behind(hypha: FakeHypha, options: dict[str, Any]) -> None:
    source = memory({**FILES, "big": BIG})
    with connect(hypha, "ws/a", create=True, **PARTS, **options) as cf:
        results = source.moves([(name, f"moved/{name}") for name in [*FILES, "big"]], cf)
        assert {result["done"] for result in results} == {"moved"}
        assert list(source) == []
        assert cf.move("moved/big", "renamed")["done"] == "moved"
        assert cf.get("renamed") == BIG
        assert not cf.exists("moved/big")
        cf.move("renamed", f"{source.cloudpath}/home/again")
        assert source.get("home/again") == BIG


def test_nothing_is_removed_before_the_commit_and_what_changed_is_kept(hypha: FakeHypha) -> None:
    source = memory(FILES)
    with connect(hypha, "ws/a", create=True) as cf:
        cf.put("first", b"")
        hypha.fault("commit", *[Status(500)] * 8)
        with pytest.raises(BatchError):
            source.moves([("dir/1", "1")], cf)
        assert source.get("dir/1") == b"1"
        cf.discard()


def test_what_is_staged_and_not_published_is_not_removed_from_the_source(hypha: FakeHypha) -> None:
    source = memory(FILES)
    hypha.add_artifact("ws/a", {"x": b"X"}, staged="v0")
    with connect(hypha, "ws/a") as cf, pytest.warns(StagedWarning):
        (result,) = source.moves([("dir/1", "1")], cf, raise_errors=False)
    assert result["done"] == "copied"
    assert "not published" in str(result["error"])
    assert source.exists("dir/1")


def test_a_source_that_has_changed_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = memory({"a": b"old", "b": b"B"}), memory()
    put = MemoryBackend.copy

    def copy_and_change(self: MemoryBackend, *args: Any) -> Any:
        stored = put(self, *args)
        if args[2] == "a":
            source.put("a", b"new")
        return stored

    monkeypatch.setattr(MemoryBackend, "copy", copy_and_change)
    first, second = source.moves([("a", "a"), ("b", "b")], target, raise_errors=False)
    assert (first["done"], second["done"]) == ("copied", "moved")
    assert isinstance(first["error"], PreconditionFailed)
    assert target.get("a") == b"old"
    assert contents(source) == {"a": b"new"}


def test_a_source_with_several_targets_stays_unless_it_is_at_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = memory({"a": b"A", "b": b"B", "c": b"C"}), memory({"there": b"mine"})
    put = MemoryBackend.put

    def refuse(self: MemoryBackend, request: Any, ticket: Any) -> Any:
        if request.path.endswith("bad"):
            raise InvalidRequest("not this one", path=request.path)
        return put(self, request, ticket)

    monkeypatch.setattr(MemoryBackend, "put", refuse)
    monkeypatch.setattr(MemoryBackend, "copies_from", lambda *args: False)
    results = source.moves([("a", "1"), ("a", "bad"), ("b", "2"), ("b", "3"), ("b", "4")], target, raise_errors=False)
    assert [result["done"] for result in results] == ["copied", "nothing", "moved", "moved", "moved"]
    assert isinstance(results[0]["error"], PreconditionFailed)
    assert str(results[1]["error"]).startswith("a: not this one")
    assert [result["error"] for result in results[2:]] == [None] * 3
    assert contents(source) == {"a": b"A", "c": b"C"}
    # what is left out since something is there already is no copy of it
    results = source.moves([("c", "there"), ("c", "5")], target, overwrite="never", raise_errors=False)
    assert [(result["done"], result["error"] is None) for result in results] == [("nothing", True), ("copied", False)]
    assert contents(source) == {"a": b"A", "c": b"C"}
    assert contents(target) == {"there": b"mine", "1": b"A", "2": b"B", "3": b"B", "4": b"B", "5": b"C"}


def test_a_source_that_changes_between_its_copies_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = memory({"a": b"old"}, num_threads=1), memory(num_threads=1)
    put = MemoryBackend.put

    def then_change(self: MemoryBackend, request: Any, ticket: Any) -> Any:
        stored = put(self, request, ticket)
        if request.path.endswith("1"):
            source.put("a", b"new")
        return stored

    monkeypatch.setattr(MemoryBackend, "put", then_change)
    monkeypatch.setattr(MemoryBackend, "copies_from", lambda *args: False)
    results = source.moves([("a", "1"), ("a", "2")], target, raise_errors=False)
    assert [type(result["error"]) for result in results] == [PreconditionFailed] * 2
    assert contents(target) == {"1": b"old", "2": b"new"}
    assert contents(source) == {"a": b"new"}


def test_nothing_can_be_moved_from_where_nothing_can_be_removed(object_server: ObjectServer, hypha: FakeHypha) -> None:
    object_server.put("a", b"A")
    target = memory()
    with ArtifactFiles(object_server.url) as web, pytest.raises(ReadOnly):
        web.moves([("a", "a")], target)
    with connect(hypha, "ws/a@v0") as old, pytest.raises(ValueError, match="old version"):
        old.move("a", "mem://elsewhere/a")
    assert list(target) == []


# --- Slices, names, sizes ---------------------------------------------------------------------------------------------


def test_slices_of_a_listing_and_of_everything() -> None:
    source, target = memory(FILES), memory()
    names = sorted(FILES)
    assert [result["path"] for result in source[:3]] == names[:3]
    assert [result["path"] for result in source[2:4]] == names[2:4]
    assert len(source[:]) == len(FILES)
    target[:] = source
    assert contents(target) == FILES
    target[:] = [("more", b"M")]
    assert target.get("more") == b"M"
    for wrong in (slice(-1, None), slice("a", "b")):
        with pytest.raises(ValueError, match="counted"):
            source[wrong]
    with pytest.raises(ValueError, match="only"):
        target[:3] = source


def test_sizes_of_several_of_a_tree_and_of_a_listing(hypha: FakeHypha) -> None:
    total = sum(map(len, FILES.values()))
    with connect(hypha, "ws/a", create=True) as remote:
        for cf in (memory(FILES), remote):
            cf.puts(list(FILES.items()))
            assert cf.size(list(FILES), return_sum=True) == total
            assert cf.subtree_size() == cf.subtree_size("dir") == (len(FILES), total)
            assert cf.subtree_size("nothing") == (0, 0)
            assert dict(cf.list(size=True)) == {name: len(content) for name, content in FILES.items()}
            assert list(cf.list(flat=True, size=True)) == [("dir/", None)]
            assert next(iter(cf.list("dir/3", flat=True, size=True))) == ("dir/3", 3)
            assert cf.isdir()


def test_exists_shows_a_bar() -> None:
    class Bar:
        count = 0

        def update(self, number: int) -> None:
            self.count += number

    cf, bar = memory(FILES), Bar()
    assert cf.exists(["dir/1", "no"], progress=bar) == {"dir/1": True, "no": False}
    assert bar.count == 2


def test_names_are_put_together_and_taken_apart() -> None:
    cf = ArtifactFiles("mem://bucket/a")
    assert cf.sep == "/"
    assert cf.join("a", "b/", "", "/c") == "a/b/c"
    assert cf.join(cf.cloudpath, "x/") == "mem://bucket/a/x/"
    assert cf.join("", "a") == "a"
    assert (cf.join("file:///", "/a", "b"), cf.join("s3://", "bucket")) == ("file:///a/b", "s3://bucket")
    assert [cf.dirname(path) for path in ("a/b/c", "a", "mem://b/c/d", "mem://b/c/", "mem://b")] == [
        "a/b",
        "",
        "mem://b/c",
        "mem://b",
        "mem://b",
    ]
    assert [cf.basename(path) for path in ("a/b", "a", "mem://b/c/")] == ["b", "a", "c"]


# --- Large ones, cancellation, watching -------------------------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudfiles_hypha.transfers.copy._LARGE", MIB)
    monkeypatch.setattr("cloudfiles_hypha.transfers.copy._PIECE", 2 * MIB)


@pytest.mark.usefixtures("small_pieces")
def test_what_cannot_be_stored_in_parts_is_read_in_pieces(object_server: ObjectServer, options: dict[str, Any]) -> None:
    object_server.put("a", BIG, faults=[Drop(after_bytes=MIB // 2)])
    target = memory(**{key: value for key, value in options.items() if key != "transport"})
    with ArtifactFiles(object_server.url, retry=QUICK, **options) as web:
        result = target.transfer_from(web, "a")
    assert target.get("a") == BIG
    assert result["size"] == len(BIG)
    ranges = [seen for seen in object_server.ranges_seen("a") if seen is not None]
    assert ranges[-1] == f"bytes={10 * MIB}-{11 * MIB - 1}"


@pytest.mark.usefixtures("small_pieces")
def test_pieces_are_of_one_version_and_are_compared_with_its_digest(hypha: FakeHypha) -> None:
    target = memory()
    with connect(hypha, "ws/a", create=True) as cf:
        cf.put("a", BIG, content_type="text/plain")
        assert target.transfer_from(cf, "a")["read"] == "md5"
        assert target.get("a") == BIG
        assert target.head("a").content_type == "text/plain"


@pytest.mark.usefixtures("small_pieces")
def test_without_a_strong_etag_it_comes_in_one_piece(object_server: ObjectServer) -> None:
    object_server.put("a", BIG, headers={"ETag": 'W/"weak"'})
    target = memory()
    with ArtifactFiles(object_server.url, retry=QUICK) as web:
        target.transfer_from(web, "a")
    assert target.get("a") == BIG


def test_a_call_can_be_given_up(hypha: FakeHypha) -> None:
    stop = Cancellation()

    def names() -> Iterator[str]:
        for number, name in enumerate(FILES):
            if number == 10:
                stop.cancel()
            yield name

    with connect(hypha, "ws/a", create=True) as cf, pytest.raises(Cancelled):
        memory(FILES).moves(((name, name) for name in names()), cf, cancel=stop)


def test_memory_stays_bounded_whatever_is_copied(object_server: ObjectServer, hypha: FakeHypha) -> None:
    import tracemalloc

    for number in range(12):
        object_server.put(str(number), BIG)
    with (
        ArtifactFiles(object_server.url, retry=QUICK) as web,
        connect(hypha, "ws/a", create=True, num_threads=2, **PARTS) as cf,
    ):
        before = sum(len(each.body) for each in hypha.store.objects.values())
        tracemalloc.start()
        try:
            cf.transfer_from(web, (str(number) for number in range(12)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        kept = sum(len(each.body) for each in hypha.store.objects.values()) - before  # the servers are in this process
    assert kept == 12 * len(BIG)
    assert peak < kept + 100 * MIB


def test_a_bar_counts_every_file_once() -> None:
    class Bar:
        count = 0

        def update(self, number: int) -> None:
            self.count += number

    source, target, bar = memory(FILES), memory({"dir/1": b"1"}), Bar()
    source.transfer_to(target, overwrite="never", progress=bar)
    assert bar.count == len(FILES)


def test_an_observer_is_told_of_each_file_once(hypha: FakeHypha) -> None:
    told: list[tuple[str, str]] = []
    moved: dict[str, int] = {}

    class Watch:
        def started(self, item: Item) -> None:
            told.append(("started", item.path))

        def moved(self, item: Item, size: int) -> None:
            moved[item.path] = moved.get(item.path, 0) + size

        def failed(self, item: Item, attempt: int, error: Exception) -> None:
            told.append(("failed", item.path))

        def ended(self, item: Item, error: Exception | None) -> None:
            told.append(("ended" if error is None else "lost", item.path))

    source = memory({"small": b"12345", "big": BIG})
    with connect(hypha, "ws/a", create=True, observer=Watch(), **PARTS) as cf:
        cf.transfer_from(source, ["small", "big", "missing"], raise_errors=False)
    assert sorted(told) == sorted(
        [(what, name) for name in ("small", "big") for what in ("started", "ended")]
        + [("started", "missing"), ("lost", "missing")]
    )
    assert moved == {"small": 5, "big": len(BIG)}


def test_a_staged_block_of_the_target_keeps_the_copies_for_its_commit(hypha: FakeHypha) -> None:
    source = memory(FILES)
    with connect(hypha, "ws/a", create=True) as cf:
        with cf.staged():
            cf.transfer_from(source)
            (kept,) = source.moves([("dir/1", "moved")], cf, raise_errors=False)
            assert "not published" in str(kept["error"])
            assert hypha.count("commit") == 0
        assert hypha.count("commit") == 1
        assert set(cf) == {*FILES, "moved"}
    assert source.exists("dir/1")


def test_secrets_go_to_the_same_server_only(hypha: FakeHypha) -> None:
    with connect(hypha, "ws/a", create=True) as cf:
        assert cf._beside("hypha://ws/b")._settings.token == hypha.token
        for other in ("hypha://https://elsewhere.example/ws/b", "mem://x", "https://elsewhere.example/x"):
            settings = cf._beside(other)._settings
            assert (settings.token, settings.secrets, settings.server_url) == (None, None, None)
    with requests.Session() as session, connect(hypha, "ws/a", session=session) as cf:
        assert cf._beside("ws/b")._settings.session is session
        assert cf._beside("https://elsewhere.example/x")._settings.session is None


def test_a_token_is_lent_to_its_own_server_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPHA_SERVER_URL", "https://usual.example.org")
    with ArtifactFiles("hypha://https://private.example.org/ws/a", token="T") as cf:
        for there in ("hypha://ws/b", "hypha://https://private.example.org/ws/b"):
            access = cf._beside(there)._backend.access  # type: ignore[attr-defined]
            assert (access.server, access.token) == ("https://private.example.org", "T")
        other = cf._beside("hypha://https://usual.example.org/ws/b")._backend.access  # type: ignore[attr-defined]
        assert (other.server, other.token) == ("https://usual.example.org", None)


def test_a_large_encoded_object_is_copied_as_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "_LARGE", 1000)
    monkeypatch.setattr(copy, "_PIECE", 700)
    content = os.urandom(5000)
    source, target = memory(), ArtifactFiles(f"file://{tmp_path}/there")
    source.put("a", content, compress="gzip")
    source.transfer_to(target)
    assert target.get("a") == content
    assert target.get(["a"])[0]["compress"] == "gzip"


def test_equal_bytes_that_are_said_to_be_encoded_otherwise_are_not_the_same() -> None:
    source, target = memory(), memory()
    source.put("a", b"x" * 100, compress="gzip")
    target.put("a", source.get(["a"], raw=True)[0]["content"])
    source.transfer_to(target, overwrite="different")
    assert target.get("a") == b"x" * 100


@pytest.mark.parametrize("path", ["s3://AKIAX:abc/def@bucket/x", "s3://https://AKIAX:abc/def@host/bucket"])
def test_a_message_shows_no_secret_key_that_has_slashes(path: str) -> None:
    with pytest.raises(ValueError) as caught:
        ArtifactFiles(path)
    assert "abc" not in str(caught.value)
    assert "def" not in str(caught.value)
