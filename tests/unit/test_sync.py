"""``sync``: what is copied, removed and left alone, and that nothing is lost when something goes wrong."""

from __future__ import annotations

import errno
import itertools
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    BatchError,
    PreconditionFailed,
    ServerError,
    SyncPlan,
    TransferError,
    sync,
)
from cloudfiles_hypha.backends import local
from cloudfiles_hypha.backends.base import Capabilities
from cloudfiles_hypha.backends.local import LocalBackend
from cloudfiles_hypha.backends.memory import MemoryBackend
from cloudfiles_hypha.content.codecs import compress
from cloudfiles_hypha.disk import folder
from cloudfiles_hypha.paths import folded
from cloudfiles_hypha.plan.sync import Compare, Entry, OutOfOrderError, decide, merge, same_digest
from cloudfiles_hypha.transfers.sync import TooManyRemovalsError, sort_entries
from tests.support.clients import CLIENTS, QUICK, connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, Delay, Status

numbers = itertools.count()
FILES = {f"{folder}/{number}": f"{folder}{number}".encode() for folder in ("a", "a-b", "b/c") for number in range(5)}


def memory(files: dict[str, bytes] | None = None) -> ArtifactFiles:
    made = ArtifactFiles(f"mem://sync-{next(numbers)}", retry=QUICK)
    if files:
        made.puts(list(files.items()))
    return made


def contents(cf: ArtifactFiles) -> dict[str, bytes]:
    found: dict[str, bytes] = cf.get(list(cf), return_dict=True)
    return found


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as server:
        yield server


# --- What it does -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS)
def test_the_target_becomes_like_the_source(hypha: FakeHypha, options: dict[str, Any]) -> None:
    source = memory(FILES)
    with connect(hypha, "ws/a", create=True, **options) as cf:
        first = sync(source, cf)
        assert sorted(first.names("copied")) == sorted(FILES)
        assert {result["compared"] for result in first.results} == {"name"}
        again = sync(source, cf)
        assert again.plan.counts == {"keep": len(FILES)}
        assert again.results == []
        source.put("a/1", b"longer than before")
        source.delete("b/c/4")
        cf.put("extra", b"X")
        assert sync(source, cf).names("copied") == ["a/1"]
        last = sync(source, cf, delete=True)
        assert sorted(last.names("removed")) == ["b/c/4", "extra"]
        assert contents(cf) == contents(source)
        # and back: the listings of an artifact come folder by folder, and not in the order of names
        back = sync(cf, source, delete=True).plan
        assert back.counts == {"keep": len(FILES) - 1}
        assert {step.compared for step in back} == {"digest"}  # asked for, since the copies are the later ones


def test_equal_sizes_are_told_apart_by_digest_or_time() -> None:
    source, target = memory({"a": b"one", "b": b"two"}), memory({"a": b"eno", "b": b"two"})
    report = sync(source, target, dry_run=True)
    assert {step.path: (step.do, step.compared) for step in report.plan} == {
        "a": ("copy", "digest"),
        "b": ("keep", "digest"),
    }
    assert sync(source, target, dry_run=True, compare="size").plan.counts == {"keep": 2}
    assert sync(source, target, dry_run=True, compare="time").plan.counts == {"keep": 2}
    source.put("b", b"two")
    steps = {step.path: step.do for step in sync(source, target, dry_run=True, compare="time").plan}
    assert steps == {"a": "keep", "b": "copy"}
    with pytest.raises(ValueError, match="compare="):
        sync(source, target, compare="name")  # type: ignore[arg-type]


def test_digests_that_a_listing_does_not_tell_are_asked_for(hypha: FakeHypha) -> None:
    source = memory({"a": b"one", "b": b"two"})
    with connect(hypha, "ws/a", create=True) as cf:
        cf.puts([("a", b"eno"), ("b", b"two")])
        assert sync(source, cf, dry_run=True).plan.counts == {"keep": 2}  # by time
        report = sync(source, cf, compare="digest")
        assert [(result["path"], result["compared"]) for result in report.results] == [("a", "digest")]
        assert cf.get("a") == b"one"


@pytest.mark.parametrize("compare", ["auto", "size", "time"])
def test_equal_bytes_that_are_encoded_otherwise_are_different(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, bare = (ArtifactFiles(f"file://{tmp_path}/{name}") for name in ("source", "attributes", "names"))
    stored = compress(b"text")
    source.puts([("a", stored), ("b", stored)], content_encoding="gzip")
    source.put("c", stored)
    for name in source:
        os.utime(tmp_path / "source" / name, (1e9, 1e9))  # the clock of a disk may be behind that of the process
    for place in (target, memory(), bare):
        if place is bare:
            monkeypatch.delattr(os, "setxattr")
        place.put("a", stored)
        place.puts([("b", stored), ("c", stored)], content_encoding="gzip")
        report = sync(source, place, compare=compare)
        assert {result["path"]: result["compared"] for result in report.results} == {"a": "encoding", "c": "encoding"}
        assert sync(source, place, compare=compare, dry_run=True).plan.counts == {"keep": 3}
        assert place.get(list(source), return_dict=True) == {"a": b"text", "b": b"text", "c": stored}


def test_encodings_are_compared_where_digests_are_asked_for(hypha: FakeHypha) -> None:
    source = memory()
    source.put("a", b"same bytes", content_encoding="gzip")
    with connect(hypha, "ws/a", create=True) as cf:
        cf.put("a", b"same bytes")
        assert [step.compared for step in sync(source, cf, compare="digest", dry_run=True).plan] == ["encoding"]


def test_what_is_left_out_is_neither_copied_nor_removed() -> None:
    source, target = memory(FILES), memory({"keep.log": b"", "gone": b""})
    sync(source, target, delete=True, include=["a/*", "gone", "*.log"], exclude="*.log")
    assert sorted(target) == sorted([*(name for name in FILES if name.startswith("a/")), "keep.log"])


def test_prefixes_are_cut_off_on_both_sides() -> None:
    cf = memory({"x/a/1": b"1", "y/2": b"2"})
    sync(f"{cf.cloudpath}/x", f"{cf.cloudpath}/y", delete=True)
    assert sorted(cf) == ["x/a/1", "y/a/1"]
    for one, other in (("x", "x/a"), ("", "y"), ("x", "x")):
        with pytest.raises(ValueError, match="within"):
            sync(f"{cf.cloudpath}/{one}", f"{cf.cloudpath}/{other}")


# --- What it does not do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_source_whose_listing_fails_half_way_removes_and_copies_nothing(hypha: FakeHypha, after: int) -> None:
    hypha.add_artifact("ws/a", {f"{folder}/{number}": b"S" for folder in "abcdef" for number in range(3)})
    target = memory({"a/0": b"S", "mine": b"M", "z/1": b"Z"})
    before = contents(target)
    with connect(hypha, "ws/a") as cf:
        complete = sum(1 for _ in cf)
        assert complete == 18
        calls = hypha.count("list_files")
        assert calls > 3
        hypha.fault("list_files", *[Delay(0.0)] * after, Always(Status(500)))
        with pytest.raises(ServerError):
            sync(cf, target, delete=True)
        assert hypha.count("list_files") > calls + after
    assert contents(target) == before


def test_a_target_whose_listing_fails_is_left_alone(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/a", {"a/0": b"old", "b/1": b"B"})
    with connect(hypha, "ws/a") as cf:
        hypha.fault("list_files", *[Status(500)] * 40)
        with pytest.raises(ServerError):
            sync(memory(FILES), cf, delete=True)
        assert hypha.count("edit") == hypha.count("put_file") == hypha.count("remove_file") == 0


def test_nothing_is_removed_when_something_could_not_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = memory({"a": b"A", "b": b"B"}), memory({"old": b"O"})
    copy = MemoryBackend.copy

    def fail(self: MemoryBackend, *args: Any) -> Any:
        if args[2] == "a":
            raise TransferError("no", path="a")
        return copy(self, *args)

    monkeypatch.setattr(MemoryBackend, "copy", fail)
    with pytest.raises(BatchError):
        sync(source, target, delete=True)
    assert sorted(target) == ["b", "old"]


def test_max_delete_stops_before_anything_is_done() -> None:
    source, target = memory({"a": b"A"}), memory({"x": b"", "y": b""})
    with pytest.raises(TooManyRemovalsError, match="max_delete is 1"):
        sync(source, target, delete=True, max_delete=1)
    assert sorted(target) == ["x", "y"]
    sync(source, target, delete=True, max_delete=2)
    assert sorted(target) == ["a"]


def test_an_empty_source_removes_all_only_if_that_is_said() -> None:
    source, target = memory(), memory({"x": b""})
    with pytest.raises(ValueError, match="allow_empty"):
        sync(source, target, delete=True)
    assert sorted(target) == ["x"]
    sync(source, target, delete=True, allow_empty=True)
    assert list(target) == []


# --- Plans ------------------------------------------------------------------------------------------------------------


def test_a_dry_run_can_be_printed_saved_and_carried_out_later(tmp_path: Path) -> None:
    source, target = memory(FILES), memory({"a/1": b"a1", "old": b"O"})
    report = sync(source, target, delete=True, dry_run=True)
    assert report.results == ()
    assert sorted(target) == ["a/1", "old"]
    shown = str(report.plan)
    assert f"copy {len(FILES) - 1} files" in shown
    assert "remove old" in shown
    assert "copy a/2 (missing)" in shown
    report.plan.save(tmp_path / "plan")
    report.plan.close()
    with SyncPlan.load(tmp_path / "plan") as plan:
        assert plan.counts == {"copy": len(FILES) - 1, "remove": 1, "keep": 1}
        assert len([*plan]) == len(FILES) + 1
        done = plan.carry_out()
    assert done.names("removed") == ["old"]
    assert contents(target) == FILES


def test_a_plan_does_not_touch_what_has_changed_since(tmp_path: Path) -> None:
    source, target = memory({"a": b"A"}), memory({"old": b"O"})
    with sync(source, target, delete=True, dry_run=True).plan as plan:
        target.put("old", b"new")
        with pytest.raises(BatchError) as caught:
            plan.carry_out()
    assert [type(result["error"]) for result in caught.value.results] == [type(None), PreconditionFailed]
    assert target.get("old") == b"new"
    with sync(source, target, delete=True, dry_run=True).plan as plan:
        assert plan.counts == {"keep": 1, "remove": 1}
    source.put("b", b"B")
    with sync(source, target, delete=True, dry_run=True).plan as plan:
        source.put("b", b"C")
        report = plan.carry_out(raise_errors=False)
    (result,) = report.results
    assert isinstance(result["error"], PreconditionFailed)
    assert sorted(target) == ["a", "old"]


@pytest.mark.parametrize("damage", ["cut", "half", "more", "other", "name", "step", "place"])
def test_a_damaged_plan_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "plan"
    with sync(memory(FILES), memory(), dry_run=True).plan as plan:
        plan.save(path)
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "cut": lines[:-1],
        "half": [*lines[:-1], lines[-1][:5]],
        "more": [*lines, lines[1]],
        "other": [b'{"something": 1}\n', *lines[1:]],
        "name": [lines[0], json.dumps(["copy", "../x", 1, None, None, "name", ""]).encode() + b"\n", *lines[2:]],
        "place": [lines[0].replace(b'"target"', b'"other"'), *lines[1:]],
        "step": [lines[0], json.dumps(["burn", "x", 1, None, None, "name", ""]).encode() + b"\n", *lines[2:]],
    }[damage]
    path.write_bytes(b"".join(changed))
    with pytest.raises(ValueError, match="is no plan, or a damaged one"):
        SyncPlan.load(path)


def test_a_plan_is_for_the_places_that_were_planned(tmp_path: Path) -> None:
    source, target = memory(FILES), memory()
    with sync(source, target, dry_run=True).plan as plan:
        plan.save(tmp_path / "plan")
    with pytest.raises(ValueError, match="the plan's target"):
        SyncPlan.load(tmp_path / "plan", target=memory())
    with SyncPlan.load(tmp_path / "plan", source, target) as plan:
        plan.carry_out()
    assert contents(target) == FILES


@pytest.mark.parametrize("name", ["run#1", "run?", "run"])
@pytest.mark.parametrize("saved", [True, False])
def test_a_plan_is_carried_out_where_it_was_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, saved: bool
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(b"new")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    plan = sync("./source", f"./{name}", dry_run=True).plan
    plan.save("plan")
    monkeypatch.chdir("elsewhere")
    with plan, SyncPlan.load("../plan", target=ArtifactFiles(f"{tmp_path}/{name}/")) as loaded:
        (loaded if saved else plan).carry_out()
    assert sorted(os.listdir(tmp_path)) == sorted(["elsewhere", "plan", name, "source"])
    assert (tmp_path / name / "a").read_bytes() == b"new"
    assert os.listdir() == []


# --- Merging ----------------------------------------------------------------------------------------------------------


def entries(names: str) -> list[Entry]:
    return [Entry(name, 1) for name in names]


def test_listings_are_merged_by_name() -> None:
    pairs = [(here and here.path, there and there.path) for here, there in merge(entries("abd"), entries("bce"))]
    assert pairs == [("a", None), ("b", "b"), (None, "c"), ("d", None), (None, "e")]


@pytest.mark.parametrize("wrong", ["ba", "aa", "acb"])
def test_a_listing_out_of_order_is_noticed(wrong: str) -> None:
    with pytest.raises(OutOfOrderError):
        list(merge(entries(wrong), entries("abc")))
    with pytest.raises(OutOfOrderError):
        list(merge([], entries(wrong)))


def test_a_store_that_breaks_its_promise_of_order_is_sorted_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = memory(FILES), memory(FILES)
    scan = MemoryBackend.scan
    monkeypatch.setattr(
        MemoryBackend, "scan", lambda self, prefix, *, control: reversed([*scan(self, prefix, control=control)])
    )
    assert MemoryBackend.can.ordered
    assert sync(source, target, delete=True, dry_run=True).plan.counts == {"keep": len(FILES)}


def test_many_entries_are_sorted_by_way_of_files() -> None:
    names = [f"{number * 7919 % 1000:04}" for number in range(1000)]
    found = list(sort_entries((Entry(name, 1, "e", 2.5) for name in names), together=64))
    assert [entry.path for entry in found] == sorted(names)
    assert found[0] == Entry("0000", 1, "e", 2.5)


def test_etags_of_uploads_in_parts_say_nothing_when_they_differ() -> None:
    whole, other, parts = "a" * 32, "b" * 32, "a" * 32 + "-2"

    def same(one: str | None, two: str | None) -> bool | None:
        return same_digest(Entry("x", 1, digest=one), Entry("x", 1, digest=two))

    assert [same(whole, whole), same(whole, other), same(parts, parts)] == [True, False, True]
    assert [same(whole, parts), same(parts, "b" * 32 + "-2"), same(whole, "W/x"), same(None, whole)] == [None] * 4


def test_decisions() -> None:
    old, new, none = Entry("x", 1, None, 10.0), Entry("x", 1, None, 20.0), Entry("x", 1)

    def done(here: Entry | None, there: Entry | None, compare: Any = "auto", **how: bool) -> tuple[str, str] | None:
        step = decide((here, there), compare, digests=False, delete=how.get("delete", True))
        return step and (step.do, step.compared)

    assert done(new, old) == ("copy", "time")
    assert done(old, new) == ("keep", "time")
    assert done(none, old) == ("keep", "size")
    assert done(none, old, "time") == ("copy", "size")
    assert done(Entry("x"), old, "size") == ("copy", "name")
    assert done(None, old) == ("remove", "name")
    assert done(None, old, delete=False) is None


def test_places_without_digests_cannot_be_compared_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryBackend, "can", Capabilities(blocking=True))
    with pytest.raises(ValueError, match="no digests"):
        sync(memory(FILES), memory(), compare="digest")


# --- Two names for one place ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), [("a/b", "a"), ("a", "a/b"), ("a/b", "link"), ("a", "a")])
def test_folders_within_each_other_are_refused_by_whichever_name(tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/x").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match="within the other"):
        sync(f"file://{tmp_path}/{source}", f"file://{tmp_path}/{target}", delete=True)
    assert (tmp_path / "a/b/x").read_bytes() == b"x"


def test_what_a_link_within_the_target_leads_to_is_not_removed_by_the_links_name(tmp_path: Path) -> None:
    for side in ("s", "t"):
        (tmp_path / side / "real").mkdir(parents=True)
        (tmp_path / side / "real/x").write_bytes(b"x")
    (tmp_path / "t/link").symlink_to("real")
    with pytest.raises(BatchError):
        sync(f"file://{tmp_path}/s", f"file://{tmp_path}/t", delete=True)
    assert (tmp_path / "t/real/x").read_bytes() == b"x"


def test_a_file_of_the_target_that_was_rewritten_since_it_was_listed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "s/new").write_bytes(b"new")
    (tmp_path / "t/old").write_bytes(b"old")
    put = LocalBackend.put

    def rewritten(backend: LocalBackend, *arguments: Any) -> Any:
        (tmp_path / "t/old").write_bytes(b"somebody else's")
        return put(backend, *arguments)

    monkeypatch.setattr(LocalBackend, "put", rewritten)
    with pytest.raises(BatchError):
        sync(f"file://{tmp_path}/s", f"file://{tmp_path}/t", delete=True)
    assert (tmp_path / "t/old").read_bytes() == b"somebody else's"


def test_what_cannot_be_looked_at_ends_a_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for side in ("s", "t"):
        (tmp_path / side).mkdir()
        for name in ("a", "b"):
            (tmp_path / side / name).write_bytes(b"x")

    def refused(error: OSError) -> None:
        raise PermissionError(errno.EACCES, "denied")

    (tmp_path / "s/loop").symlink_to("loop")  # an error when it is looked at, which here stands for another one
    monkeypatch.setattr(folder, "_check_gone", refused)
    with pytest.raises(AccessDenied):
        sync(f"file://{tmp_path}/s", f"file://{tmp_path}/t", delete=True)
    assert sorted(os.listdir(tmp_path / "t")) == ["a", "b"]


@pytest.fixture
def folding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactFiles:
    """A folder on a disk that takes names for the same which differ in case or composition, and keeps the first."""

    def spelt(path: str) -> str:
        above, last = os.path.split(path)
        if path == str(tmp_path):
            return path
        above = spelt(above)
        there = os.listdir(above) if os.path.isdir(above) else []
        return os.path.join(above, next((name for name in there if folded(name) == folded(last)), last))

    at = folder.Home.at
    monkeypatch.setattr(folder.Folder, "path", lambda self, name: spelt(os.path.join(self.root, name)))
    monkeypatch.setattr(
        folder.Home, "at", lambda self, name: at(self, os.path.basename(spelt(os.path.join(self._path, name))))
    )
    monkeypatch.setattr(local, "tells_apart", lambda folder: False)
    (tmp_path / "store").mkdir()
    return ArtifactFiles(f"file://{tmp_path}/store", retry=QUICK)


def test_names_that_are_one_file_on_the_targets_disk_are_one(folding: ArtifactFiles) -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    folding.puts([("a.txt", b"A"), ("b/c", b"old"), (decomposed, b"E"), ("gone", b"G"), ("stays", b"S")])
    source = memory({"A.txt": b"A", "B/C": b"longer", "é": b"E", "stays": b"S", "new": b"N", "stays2": b""})
    for name in ("a.txt", "b/c", decomposed, "stays"):
        os.utime(f"{folding.cloudpath.removeprefix('file://')}/{name}", (2e9, 2e9))
    report = sync(source, folding, delete=True)
    assert sorted(report.names("copied")) == ["B/C", "new", "stays2"]
    assert report.names("removed") == ["gone"]
    assert sorted(folding) == sorted(["a.txt", "b/c", decomposed, "new", "stays", "stays2"])
    assert (folding.get("b/c"), folding.get("a.txt")) == (b"longer", b"A")
    assert sync(source, folding, delete=True, compare="size").plan.counts == {"keep": 6}


@pytest.mark.parametrize("there", [{}, {"a.txt": b"mine"}, {"A.TXT": b"mine"}])
def test_two_names_that_would_be_one_file_are_refused_before_anything_is_copied(
    folding: ArtifactFiles, there: dict[str, bytes]
) -> None:
    folding.puts(list(there.items()))
    with pytest.raises(ValueError, match="would be one file"):
        sync(memory({"A.txt": b"A", "a.txt": b"B", "b": b""}), folding, delete=True)
    assert contents(folding) == there


def test_no_file_is_moved_or_uploaded_over_another_that_the_disk_takes_for_it(
    folding: ArtifactFiles, tmp_path: Path
) -> None:
    source = memory({"A.txt": b"A", "a.txt": b"B"})
    (tmp_path / "file").write_bytes(b"")
    for call in (
        lambda: source.moves(["A.txt", "a.txt"], folding),
        lambda: source.transfer_to(folding),
        lambda: folding.upload([("A.txt", tmp_path / "file"), ("a.txt", tmp_path / "file")]),
    ):
        with pytest.raises(ValueError, match="would be one file"):
            call()
        assert contents(source) == {"A.txt": b"A", "a.txt": b"B"}
    source.moves(["A.txt"], folding)
    assert contents(folding) == {"A.txt": b"A"}


def test_a_file_that_is_made_while_two_names_are_looked_at_is_one_by_both(
    folding: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, looks = local.LocalBackend._status, []

    def made_after_the_first(self: local.LocalBackend, path: str) -> Any:
        looks.append(path)
        found = look(self, path)
        if len(looks) == 1:
            folding.put("A.txt", b"A")
        return found

    monkeypatch.setattr(local.LocalBackend, "_status", made_after_the_first)
    assert folding._backend.same("A.txt", "a.txt")


def test_a_disk_that_tells_names_apart_keeps_them_apart_also_where_they_are_links(tmp_path: Path) -> None:
    target = ArtifactFiles(f"file://{tmp_path}")
    target.puts([("a", b"1"), ("B", b"2"), ("c/d", b"3")])
    os.link(tmp_path / "a", tmp_path / "A")
    source = memory({"A": b"1", "b": b"2", "C/d": b"3", "C/D": b"4"})
    report = sync(source, target, delete=True)
    assert sorted(report.names("removed")) == ["B", "a", "c/d"]
    assert contents(target) == contents(source)
    assert {path.name for path in tmp_path.iterdir()} == {"A", "b", "C", "c"}
    os.link(tmp_path / "A", tmp_path / "a")
    assert sync(memory({"A": b"1", "a": b"1"}), target, compare="size").plan.counts == {"keep": 2}


def test_a_folder_that_is_yet_to_be_made_is_an_empty_target(tmp_path: Path) -> None:
    source = ArtifactFiles(f"mem://sync-{tmp_path.name}")
    source.put("a", b"x")
    assert sync(source, f"file://{tmp_path}/new/folder").names("copied") == ["a"]
    with pytest.raises(FileNotFoundError):
        sync(f"file://{tmp_path}/mistyped", source, delete=True)
    assert list(source) == ["a"]
