"""What callers get wrong is said at once, by name, and before anything is sent."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cloudfiles_hypha import ArtifactFiles, BatchError, Result, RetryPolicy, Timeouts
from tests.support.object_server import ObjectServer

ENGINES: dict[str, dict[str, Any]] = {
    "inline": {"num_threads": 0},
    "threads": {"num_threads": 3},
    "green": {"num_threads": 3, "green": True},
}


@pytest.fixture(params=ENGINES)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return ENGINES[request.param]


@pytest.fixture
def web(object_server: ObjectServer, options: dict[str, Any]) -> Iterator[ArtifactFiles]:
    object_server.put("a", b"0123456789")
    with ArtifactFiles(object_server.url, **options) as files:
        yield files


@pytest.fixture
def mem(request: pytest.FixtureRequest, options: dict[str, Any]) -> ArtifactFiles:
    return ArtifactFiles(f"mem://{abs(hash(request.node.nodeid))}", **options)


BAD_READS = [
    ({"path": "a", "start": 5, "end": 4}, ValueError, r"'a': the range ends \(4\) before it starts \(5\)"),
    ({"path": "a", "end": -1}, ValueError, "end=-1"),
    ({"path": "a", "start": -1}, ValueError, "start=-1"),
    ({"path": "a", "start": 1.0}, ValueError, r"start=1\.0"),
    ({"path": "a", "start": "1"}, ValueError, "start='1'"),
    ({"path": "a", "end": True}, ValueError, "end=True"),
    ({"start": 0, "end": 4}, ValueError, "needs a 'path'"),
    ({}, ValueError, "needs a 'path'"),
    ({"path": "a", "stop": 4}, ValueError, "knows no 'stop'"),
    ({"path": "a", "content": b""}, ValueError, "knows no 'content'"),
    ({"path": b"a"}, TypeError, "string, not bytes"),
    ({"path": None}, TypeError, "string, not NoneType"),
    ({"path": "../a"}, ValueError, "'../a'"),
    ("", ValueError, "empty"),
    ("/a", ValueError, "begin with a slash"),
    ("a/../b", ValueError, "'a/../b'"),
    ("a\x00", ValueError, "control characters"),
]


@pytest.mark.parametrize(("source", "kind", "says"), BAD_READS)
def test_a_read_that_makes_no_sense_is_refused_before_anything_is_sent(
    web: ArtifactFiles, object_server: ObjectServer, source: Any, kind: type[Exception], says: str
) -> None:
    for call in (web.get, lambda one: web.get(["a", one]), lambda one: web.iget(["a", one]), web.get_json):
        with pytest.raises(kind, match=says):
            call(source)
    assert object_server.count() == 0


@pytest.mark.parametrize(("source", "kind", "says"), BAD_READS)
def test_a_read_that_makes_no_sense_ends_a_generator_with_that_error(
    web: ArtifactFiles, source: Any, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        web.get(iter(["a", source, "a"]))


@pytest.mark.parametrize("paths", [b"a", bytearray(b"a"), memoryview(b"a"), None, 7, 1.5, object()])
@pytest.mark.parametrize("verb", ["get", "get_json", "iget", "exists", "head", "size", "delete"])
def test_what_is_neither_a_path_nor_an_iterable_is_refused(web: ArtifactFiles, verb: str, paths: Any) -> None:
    with pytest.raises(TypeError):
        getattr(web, verb)(paths)


@pytest.mark.parametrize("item", [b"a", None, 7, ("a", 0, 1), ["a"]], ids=repr)
@pytest.mark.parametrize("verb", ["get", "iget", "exists", "head", "delete"])
def test_what_is_no_path_within_an_iterable_is_refused_before_anything_is_sent(
    web: ArtifactFiles, object_server: ObjectServer, verb: str, item: Any
) -> None:
    with pytest.raises((TypeError, ValueError)):
        getattr(web, verb)(["a", item])
    assert object_server.count() == 0


@pytest.mark.xfail(strict=True, reason="what is said is Python's own complaint about looking a key up in it")
@pytest.mark.parametrize("item", [b"a", None, 7, ("a", 0, 1), ["a"]], ids=repr)
def test_what_is_no_path_within_an_iterable_is_called_that(web: ArtifactFiles, item: Any) -> None:
    with pytest.raises(TypeError, match=r"a path is a string|expected a path"):
        web.get(["a", item])


def test_one_path_given_to_iget_is_refused_rather_than_spelt_out(web: ArtifactFiles) -> None:
    with pytest.raises(TypeError, match="not one path"):
        web.iget("abc")


@pytest.mark.parametrize("slice_", [slice(0, 4, 2), slice(-1, None), slice(0, -1), slice("a", None)])
def test_slices_that_are_no_ranges_are_refused(web: ArtifactFiles, object_server: ObjectServer, slice_: slice) -> None:
    with pytest.raises(ValueError):
        web["a", slice_]
    assert object_server.count() == 0


BAD_WRITES: list[tuple[Any, type[Exception], str]] = [
    (("b",), TypeError, "pairs or dicts"),
    (("b", b"", b""), TypeError, "pairs or dicts"),
    ("b", TypeError, "pairs or dicts"),
    (7, TypeError, "pairs or dicts"),
    ((b"b", b""), TypeError, "string, not bytes"),
    (("../b", b""), ValueError, r"'\.\./b'"),
    (("/b", b""), ValueError, "begin with a slash"),
    (("b/", b""), ValueError, "end in a slash"),
    (("b\\c", b""), ValueError, "backslash"),
    (("b", None), TypeError, "'b': cannot upload NoneType"),
    (("b", 7), TypeError, "'b': cannot upload int"),
    ({"path": "b"}, ValueError, "'b': a dict to store needs a 'content'"),
    ({"content": b""}, ValueError, "needs a 'path'"),
    ({"path": "b", "content": b"", "mode": 1}, ValueError, "knows no 'mode'"),
]


@pytest.mark.parametrize(("item", "kind", "says"), BAD_WRITES)
def test_a_write_that_makes_no_sense_is_refused_before_anything_is_stored(
    mem: ArtifactFiles, item: Any, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        mem.puts([("a", b""), item])
    assert list(mem) == []
    with pytest.raises(kind, match=says):
        mem.puts(iter([item]))


@pytest.mark.parametrize("files", ["ab", b"ab", {"a": b""}])
def test_puts_takes_an_iterable_of_files(mem: ArtifactFiles, files: Any) -> None:
    with pytest.raises(TypeError, match="for one file use put"):
        mem.puts(files)


@pytest.mark.parametrize("again", [("a", b"2"), {"path": "a", "content": b"2"}, ["a", b"2"]])
def test_a_destination_given_twice_is_refused_in_lists_before_anything_is_stored(
    mem: ArtifactFiles, again: Any
) -> None:
    with pytest.raises(ValueError, match="'a': given twice"):
        mem.puts([("a", b"1"), ("b", b""), again])
    assert list(mem) == []


def test_a_destination_given_twice_is_refused_in_generators_as_soon_as_it_is_met(mem: ArtifactFiles) -> None:
    read = []

    def items() -> Iterator[tuple[str, bytes]]:
        for item in [("a", b"1"), ("b", b""), ("a", b"2"), ("c", b"")]:
            read.append(item[0])
            yield item

    with pytest.raises(ValueError, match="'a': given twice"):
        mem.puts(items())
    assert read == ["a", "b", "a"]
    assert not mem.exists("c")
    assert not mem.exists("a") or mem.get("a") == b"1"
    with pytest.raises(ValueError, match="'a': given twice"):
        mem.put_jsons(iter([("a", 1), ("a", 2)]))


@pytest.mark.parametrize("name", ["content_type", "cache_control", "content_encoding"])
@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "ü", 7, b"text/plain"])
def test_headers_that_could_carry_others_are_refused(mem: ArtifactFiles, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        mem.put("a", b"", **{name: value})
    with pytest.raises(ValueError, match=name):
        mem.puts([("a", b"")], **{name: value})
    assert not mem.exists("a")


@pytest.mark.parametrize("name", ["content_type", "cache_control", "content_encoding"])
def test_headers_in_an_items_dict_are_checked_like_those_of_the_call(mem: ArtifactFiles, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        mem.puts([{"path": "a", "content": b"", name: "a\r\nX-Evil: 1"}])
    assert not mem.exists("a")


def test_an_items_own_header_wins_over_the_calls(mem: ArtifactFiles) -> None:
    mem.puts([{"path": "a", "content": b"", "content_type": "text/a"}, ("b", b"")], content_type="text/b")
    assert (mem.head("a").content_type, mem.head("b").content_type) == ("text/a", "text/b")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"", object()])
def test_what_is_no_json_is_refused_by_name(mem: ArtifactFiles, value: Any) -> None:
    for call in (lambda: mem.put_json("dir/a", value), lambda: mem.put_jsons([("b", 1), ("dir/a", value)])):
        with pytest.raises((TypeError, ValueError), match="'dir/a'"):
            call()
    assert list(mem) == []


def test_a_result_that_failed_or_is_a_range_cannot_be_stored(mem: ArtifactFiles) -> None:
    mem.put("a", b"0123")
    failed, part = mem.get(["missing", {"path": "a", "end": 2}], raise_errors=False)
    for result in (failed, part):
        with pytest.raises(ValueError, match="cannot be stored"):
            mem.puts([result])


@pytest.mark.parametrize("prefix", [None, b"a", 7, ["a"]])
def test_a_prefix_is_a_string(mem: ArtifactFiles, prefix: Any) -> None:
    with pytest.raises(TypeError, match="prefix"):
        list(mem.list(prefix))


@pytest.mark.parametrize("prefix", ["/a", "../a", "a/../b"])
def test_a_prefix_stays_where_it_is(mem: ArtifactFiles, prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix="):
        list(mem.list(prefix))


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_threads": -1},
        {"num_threads": 1.5},
        {"num_threads": True},
        {"num_threads": "4"},
        {"num_threads": None},
        {"transport": "carrier pigeon"},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "1"},
        {"timeout": True},
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ArtifactFiles("mem://x", **wrong)


def test_urllib3_in_greenlets_without_patching_is_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="patch_all"):
        ArtifactFiles("http://localhost", green=True, transport="urllib3")


def test_staging_is_for_hypha_only(mem: ArtifactFiles) -> None:
    for call in (mem.commit, mem.discard, mem.status, lambda: mem.staged().__enter__()):
        with pytest.raises(TypeError, match="for Hypha artifacts"):
            call()


# --- Shapes ---------------------------------------------------------------------------------------------------------


def test_scalar_in_scalar_out(mem: ArtifactFiles) -> None:
    put = mem.put("a", b"1")
    assert set(put) == Result.__required_keys__
    shapes: list[tuple[Callable[[], Any], type]] = [
        (lambda: mem.get("a"), bytes),
        (lambda: mem.get({"path": "a"}), bytes),
        (lambda: mem.get(["a"]), list),
        (lambda: mem.get(("a",)), list),
        (lambda: mem.get(iter(["a"])), list),
        (lambda: mem.get([{"path": "a"}]), list),
        (lambda: mem.get("a", return_dict=True), dict),
        (lambda: mem.exists("a"), bool),
        (lambda: mem.exists(["a"]), dict),
        (lambda: mem.size("a"), int),
        (lambda: mem.size(["a"]), dict),
        (lambda: mem.puts([("b", b"")]), list),
        (lambda: mem.delete(["b"]), list),
        (lambda: mem.delete("a"), type(None)),
    ]
    assert [type(call()) for call, _ in shapes] == [kind for _, kind in shapes]


def test_a_scalar_raises_whatever_raise_errors_says(mem: ArtifactFiles) -> None:
    with pytest.raises(FileNotFoundError):
        mem.get("missing", raise_errors=False)


def test_a_batch_raises_once_with_everything_or_returns_everything(mem: ArtifactFiles) -> None:
    mem.puts([("a", b"1"), ("b", b"2")])
    items = ["a", {"path": "missing", "tags": 1}, "b", {"path": "a", "start": 5}]
    with pytest.raises(BatchError) as caught:
        mem.get(items)
    for copied in (caught.value, pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert [result["path"] for result in copied.results] == ["a", "missing", "b", "a"]
        assert [result["path"] for result in copied.errors] == ["missing", "a"]
        assert [result["content"] for result in copied.results] == [b"1", None, b"2", None]
    returned = mem.get(items, raise_errors=False)
    assert [result["content"] for result in returned] == [b"1", None, b"2", None]
    assert mem.get(items, raise_errors=False, return_dict=False)[1]["tags"] == 1


def test_settings_survive_pickling(options: dict[str, Any]) -> None:
    policy = RetryPolicy(attempts=2)
    files = ArtifactFiles("mem://x", retry=policy, timeout=Timeouts(1, 2), progress="bar", **options)
    twin = pickle.loads(pickle.dumps(files))
    assert twin._settings == files._settings
    assert twin._settings.retry == policy
    assert repr(twin) == repr(files)


def test_a_bar_is_left_behind_when_pickled() -> None:
    class Bar:
        def update(self, n: int) -> None:
            raise AssertionError

    twin = pickle.loads(pickle.dumps(ArtifactFiles("mem://x", progress=Bar())))
    assert twin._settings.progress is None
