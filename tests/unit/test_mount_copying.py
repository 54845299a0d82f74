"""Copies and moves between mounts: what is copied, what is left alone, what is refused before anything happens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import ArtifactFiles, SkipStrategy
from cloudfiles_hypha.backends.memory import MemoryBackend
from cloudfiles_hypha.errors import (
    AccessDenied,
    BatchError,
    PreconditionFailed,
    StorageError,
    StorageNotFoundError,
    StoragePermissionError,
)
from cloudfiles_hypha.models import PutRequest, Stored
from cloudfiles_hypha.mounts.faces import StorageNode
from cloudfiles_hypha.mounts.manager import StorageManager

FILES = {"a.txt": b"aa", "b.py": b"bbb", "deep/c.txt": b"cc", "deep/er/d.log": b"d"}


def fill(folder: StorageNode, files: dict[str, bytes] = FILES) -> StorageNode:
    for name, content in files.items():
        folder.child(name).write(content)
    return folder


def found(folder: StorageNode) -> dict[str, bytes]:
    """All that is below a folder."""
    files, below = folder.mount.files, folder.sync._folder
    return {name[len(below) :]: files.get(name) for name in files.list(below)}


@pytest.fixture(params=["mem:from other:to", "home:from mem:to", "mem:from home:to", "home:from home:to"])
def places(request: pytest.FixtureRequest, storage: StorageManager) -> tuple[StorageNode, StorageNode]:
    """A folder with files in it, and where it is to go."""
    here, there = str(request.param).split()
    return fill(storage.node(here)), storage.node(there)


# -- what is copied ---------------------------------------------------------------------------------------------------


def test_a_folder_is_copied_with_all_that_is_in_it(places: tuple[StorageNode, StorageNode]) -> None:
    here, there = places
    assert here.copy_to(there) == there
    assert found(there) == found(here) == FILES


def test_a_file_is_copied_and_goes_into_a_folder_that_is_there(places: tuple[StorageNode, StorageNode]) -> None:
    here, there = places
    assert here.child("a.txt").copy_to(there.child("new/name")) == there.child("new/name")
    assert here.child("b.py").copy_to(there.child("new")) == there.child("new/b.py")
    assert found(there) == {"new/name": b"aa", "new/b.py": b"bbb"}


def test_a_folder_is_moved(places: tuple[StorageNode, StorageNode]) -> None:
    here, there = places
    assert here.move_to(there) == there
    assert found(there) == FILES
    assert not here.exists()
    assert here.fullpath.endswith(":from")  # which goes on to name the place that it named


def test_many_files_are_one_call_and_one_listing_of_each_side(
    storage: StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = fill(storage.node("mem:from"), {f"{number}": b"x" for number in range(50)}), storage.node("other:to")
    here.copy_to(there)
    asked: list[str] = []

    def counted(kind: type, verb: str) -> None:
        method: Callable[..., Any] = getattr(kind, verb)

        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(verb)
            return method(self, *args, **kwargs)

        monkeypatch.setattr(kind, verb, wrapper)

    counted(ArtifactFiles, "transfer_to")
    counted(ArtifactFiles, "scan")
    counted(ArtifactFiles, "head")
    here.copy_to(there, skip="hash", filter=lambda node, path: node.size() == 1)
    assert asked.count("head") == 2  # whether each of the two is a file itself
    assert asked.count("scan") == 1
    assert "transfer_to" not in asked
    here.copy_to(there)
    assert asked.count("transfer_to") == 1


def test_globs_are_of_the_path_below_the_source(storage: StorageManager) -> None:
    here = fill(storage.node("mem:from"))

    def copied(**options: Any) -> list[str]:
        there = storage.node(f"other:{len(storage.node('other:').children())}")
        here.copy_to(there, **options)
        return [*found(there)]

    assert copied(include="*.txt") == ["a.txt", "deep/c.txt"]
    assert copied(include="deep/*") == ["deep/c.txt"]
    assert copied(include=["deep/**", "*.py"], exclude="*.log") == ["b.py", "deep/c.txt"]
    assert copied(filter=lambda node, path: node.size() > 1 and path.startswith("deep")) == ["deep/c.txt"]


def test_what_is_left_out_is_told_of(storage: StorageManager) -> None:
    here, told = fill(storage.node("mem:from")), []
    here.copy_to(
        storage.node("other:to"),
        include=["*.txt", "*.py"],
        exclude="a.*",
        filter=lambda node, path: path != "b.py",
        on_skip=lambda node, reason: told.append((node.path, reason)),
    )
    assert told == [
        ("from/a.txt", "matched by exclude"),
        ("from/b.py", "left out by filter"),
        ("from/deep/er/d.log", "not matched by include"),
    ]


SKIPPED = {
    "never": [],
    "exists": ["other size", "other content", "same"],
    "size": ["other content", "same"],
    SkipStrategy.HASH: ["same"],
}


@pytest.mark.parametrize("pair", ["mem:from other:to", "home:from mem:to", "mem:from home:to", "home:from home:to"])
@pytest.mark.parametrize("skip", SKIPPED)
def test_what_is_there_already_is_skipped(storage: StorageManager, pair: str, skip: Any) -> None:
    here, there = map(storage.node, pair.split())
    fill(here, {"new": b"x", "other size": b"xx", "other content": b"x", "same": b"same"})
    fill(there, {"other size": b"x", "other content": b"y", "same": b"same"})
    told: list[str] = []
    done: list[tuple[int, int]] = []
    copied: list[str] = []
    here.copy_to(
        there,
        skip=skip,
        on_skip=lambda node, reason: told.append(node.basename),
        on_file=lambda node: copied.append(node.basename),
        progress=lambda *numbers: done.append(numbers),
    )
    assert sorted(told) == sorted(SKIPPED[skip])
    assert sorted(copied + told) == sorted(found(here))
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for name in copied:
        assert there.child(name).read() == here.child(name).read()


def test_a_caller_decides_what_is_skipped(storage: StorageManager) -> None:
    here, there = fill(storage.node("mem:from")), fill(storage.node("other:to"), {"a.txt": b"longer", "b.py": b"b"})
    here.copy_to(there, skip="custom", skip_fn=lambda mine, theirs: theirs.size() > mine.size())
    assert found(there) == {**FILES, "a.txt": b"longer"}
    for wrong in ({"skip": "custom"}, {"skip_fn": lambda *nodes: True}, {"skip": "sometimes"}):
        with pytest.raises(ValueError, match="skip"):
            here.copy_to(there, **wrong)


def test_content_of_which_no_listing_tells_is_read_in_pieces(
    storage: StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudfiles_hypha.mounts.contents._SMALL", 10)
    monkeypatch.setattr("cloudfiles_hypha.mounts.contents._RANGE", 7)
    here = fill(storage.node("home:from"), {"same": b"0123456789" * 20, "other": b"0123456789" * 20})
    there = fill(storage.node("home:to"), {"same": b"0123456789" * 20, "other": b"0123456789" * 19 + b"012345678x"})
    told: list[str] = []
    here.copy_to(there, skip="hash", on_skip=lambda node, reason: told.append(node.basename))
    assert told == ["same"]
    assert here.child("same").same_content(there.child("other"))
    there.child("other").write(b"0123456789" * 19 + b"012345678x")
    assert not here.child("same").same_content(there.child("other"))


def test_callbacks_are_called_in_the_thread_that_copies(storage: StorageManager) -> None:
    here, threads = fill(storage.node("mem:from")), set()

    def note(*about: object) -> bool:
        threads.add(threading.get_ident())
        return True

    here.copy_to(storage.node("other:to"), filter=note, progress=note, on_file=note)
    here.copy_to(storage.node("other:to"), skip="custom", skip_fn=note, on_skip=note)
    assert threads == {threading.get_ident()}


def test_folders_without_files_are_copied_where_there_are_such(storage: StorageManager) -> None:
    here = fill(storage.node("home:from"))
    here.child("deep/empty/er").mkdir(parents=True)
    here.copy_to(storage.node("home:copy"))
    assert storage.node("home:copy/deep/empty/er").is_dir()
    here.child("deep/empty").move_to(storage.node("home:moved"))
    assert storage.node("home:moved/er").is_dir()
    assert not here.child("deep/empty").exists()


def test_the_same_in_a_coroutine(storage: StorageManager) -> None:
    here, there = fill(storage.node("mem:from")), storage.node("home:to")

    async def main() -> None:
        copy = await here.copy_to(there, include="*.txt")
        assert isinstance(copy, StorageNode)
        assert copy == there
        assert await here.child("a.txt").same_content(there.child("a.txt"))
        await here.aio.move_to(there.aio, skip=SkipStrategy.EXISTS)
        assert sorted(node.path for node in await here.children()) == ["from/a.txt", "from/deep"]

    asyncio.run(main())
    assert found(there) == FILES


# -- what fails -------------------------------------------------------------------------------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have the store in memory refuse these."""
    put = MemoryBackend.put

    def refuse(self: MemoryBackend, request: PutRequest, ticket: object) -> Stored:
        if request.path.endswith(names):
            raise AccessDenied("not this one", path=request.path)
        return put(self, request, ticket)

    monkeypatch.setattr(MemoryBackend, "put", refuse)


@pytest.mark.parametrize("verb", ["copy_to", "move_to"])
def test_what_fails_is_raised_when_all_others_are_done(
    storage: StorageManager, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    here, there = fill(storage.node("home:from")), storage.node("mem:to")
    failing(monkeypatch, "a.txt", "d.log")
    done: list[str] = []
    with pytest.raises(BatchError, match=r"2 of 4 .*home:from/a\.txt: not this one .*mem:to/a\.txt") as caught:
        getattr(here, verb)(there, on_file=lambda node: done.append(node.fullpath))
    assert isinstance(caught.value, StorageError)
    assert sorted(done) == ["home:from/b.py", "home:from/deep/c.txt"]
    errors = {each["path"]: each["error"] for each in caught.value.errors}
    assert {*errors} == {"home:from/a.txt", "home:from/deep/er/d.log"}
    assert all(isinstance(error, StoragePermissionError) for error in errors.values())
    assert found(there) == {name: FILES[name] for name in ("b.py", "deep/c.txt")}
    left = FILES if verb == "copy_to" else {name: FILES[name] for name in ("a.txt", "deep/er/d.log")}
    assert found(here) == left  # what could not be copied is not lost


def test_what_fails_is_not_lost_where_the_caller_raises_as_well(storage: StorageManager, tmp_path: Path) -> None:
    fill(storage.node("mem:from"))
    (tmp_path / "home" / "to" / "a.txt").mkdir(parents=True)
    ours = RuntimeError("ours")

    def told(node: object) -> None:
        raise ours

    with pytest.raises(BatchError, match="1 of 4 items failed: mem:from/a.txt") as caught:
        storage.node("mem:from").copy_to(storage.node("home:to"), on_file=told)
    assert caught.value.__cause__ is ours
    with pytest.raises(RuntimeError, match="ours"):
        storage.node("mem:from").copy_to(storage.node("home:to"), on_file=told, exclude="a.txt")


def test_a_single_file_raises_its_own_error(storage: StorageManager, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(storage.node("home:from"))
    failing(monkeypatch, "a.txt")
    with pytest.raises(StoragePermissionError, match=r"^home:from/a\.txt: not this one .it was to go to mem:a\.txt"):
        storage.node("home:from/a.txt").copy_to(storage.node("mem:a.txt"))


def test_a_file_that_changes_while_it_is_moved_is_kept(
    storage: StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = fill(storage.node("home:from")), storage.node("mem:to")
    put = MemoryBackend.put

    def change(self: MemoryBackend, request: PutRequest, ticket: object) -> Stored:
        if request.path.endswith("a.txt"):
            here.child("a.txt").write(b"written by somebody else meanwhile")
        return put(self, request, ticket)

    monkeypatch.setattr(MemoryBackend, "put", change)
    with pytest.raises(BatchError, match=r"1 of 4 .*home:from/a\.txt: it has changed") as caught:
        here.move_to(there)
    assert isinstance(caught.value.errors[0]["error"], PreconditionFailed)
    assert found(here) == {"a.txt": b"written by somebody else meanwhile"}


def test_what_is_not_there_is_not_found(storage: StorageManager) -> None:
    with pytest.raises(StorageNotFoundError, match="^mem:nothing: no such file or folder"):
        storage.node("mem:nothing").copy_to(storage.node("home:to"))
    assert not storage.node("home:to").exists()
    with pytest.raises(TypeError, match="the destination is a node"):
        storage.node("mem:nothing").copy_to("home:to")


def test_a_folder_does_not_take_the_place_of_a_file(storage: StorageManager) -> None:
    here = fill(storage.node("mem:from"))
    storage.node("other:to").write(b"x")
    with pytest.raises(FileExistsError, match="^other:to: "):
        here.copy_to(storage.node("other:to"))


# -- permissions, and places that overlap -----------------------------------------------------------------------------


def test_permissions_of_both_are_looked_at_before_anything_moves(storage: StorageManager) -> None:
    here = fill(storage.node("mem:from"))
    storage.configure(
        [
            {"name": "reading", "path": "mem:from", "permissions": "readonly"},
            {"name": "writing", "path": "mem:from", "permissions": "readwrite"},
        ]
    )
    for source in ("reading:", "writing:"):
        with pytest.raises(StoragePermissionError, match="cannot delete"):
            storage.node(source).move_to(storage.node("other:to"))
    assert not storage.node("other:to").exists()
    with pytest.raises(StoragePermissionError, match="^reading:x: cannot write"):
        storage.node("home:").copy_to(storage.node("reading:x"))
    storage.node("reading:").copy_to(storage.node("other:to"))
    assert found(storage.node("other:to")) == found(here) == FILES


@pytest.mark.parametrize("verb", ["copy_to", "move_to"])
@pytest.mark.parametrize("kind", ["mem", "home"])
@pytest.mark.parametrize(
    ("source", "dest"),
    [
        ("{0}:from", "{0}:from"),
        ("{0}:from", "{0}:from/deep/new"),
        ("{0}:from/deep", "{0}:from"),
        ("{0}:", "{0}:from"),
        ("part:deep", "{0}:from/deep"),
        ("{0}:from", "part:deep/new"),
        ("part:", "{0}:from"),
        ("part:a.txt", "{0}:from/a.txt"),
        ("{0}:from/a.txt", "part:"),
    ],
)
def test_places_that_overlap_are_refused(storage: StorageManager, verb: str, kind: str, source: str, dest: str) -> None:
    fill(storage.node(f"{kind}:from"))
    storage.add_mount({"name": "part", "path": f"{kind}:from"})
    with pytest.raises(ValueError, match="same place|inside of the other"):
        getattr(storage.node(source.format(kind)), verb)(storage.node(dest.format(kind)))
    assert found(storage.node(f"{kind}:from")) == FILES


@pytest.mark.parametrize("verb", ["copy_to", "move_to"])
def test_places_that_overlap_by_symbolic_links_are_refused(storage: StorageManager, tmp_path: Path, verb: str) -> None:
    here = fill(storage.node("home:from"))
    root = tmp_path / "home"
    (root / "link").symlink_to(root / "from")
    (root / "to").mkdir()
    (root / "to" / "deep").symlink_to(root / "from" / "deep")
    storage.add_mount({"name": "again", "protocol": "local", "base_path": str(root / "link")})
    for dest in ("home:link", "home:link/new", "again:", "again:new", "home:to"):
        with pytest.raises(ValueError, match="same place|inside of the other"):
            getattr(here, verb)(storage.node(dest))
    with pytest.raises(ValueError, match="same place"):
        getattr(here.child("a.txt"), verb)(storage.node("again:a.txt"))
    assert found(here) == FILES
