"""Mounts and nodes: which files are meant, what may be done with them, and what errors say."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha.backends.memory import clear_memory
from cloudfiles_hypha.errors import (
    NotAwaited,
    StorageConfigError,
    StorageError,
    StorageNotFoundError,
    StoragePermissionError,
)
from cloudfiles_hypha.mounts.faces import AsyncNode, StorageNode
from cloudfiles_hypha.mounts.manager import StorageManager
from cloudfiles_hypha.mounts.node import SyncNode


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[StorageManager]:
    """A mount in memory and one of a folder."""
    clear_memory()
    (tmp_path / "home").mkdir()
    with StorageManager() as manager:
        manager.configure(
            [
                {"name": "mem", "protocol": "memory"},
                {"name": "home", "protocol": "local", "base_path": str(tmp_path / "home")},
                {"name": "b64", "protocol": "base64"},
            ]
        )
        yield manager
    clear_memory()


@pytest.fixture(params=["mem", "home"])
def node(request: pytest.FixtureRequest, storage: StorageManager) -> StorageNode:
    """A node of each kind of store, of which nothing is there yet."""
    return storage.node(f"{request.param}:folder/file.txt")


def test_a_node_is_written_read_and_removed(node: StorageNode) -> None:
    assert not node.exists()
    assert node.write_bytes(b"one") is True
    assert (node.read(), node.read_bytes(), node.read_text(), node.read("r")) == (b"one", b"one", "one", "one")
    assert (node.exists(), node.is_file(), node.is_dir(), node.size()) == (True, True, False, 3)
    assert node.md5hash() == "f97c5d29941bfb1b2fdab0874906ab82"
    assert node.mtime() > 1_600_000_000
    node.append(b" two")
    assert node.read() == b"one two"
    node.delete()
    assert not node.exists()
    node.delete()


def test_the_same_in_a_coroutine(node: StorageNode) -> None:
    async def main() -> None:
        assert not await node.exists()
        assert await node.write_bytes(b"one") is True
        found = await asyncio.gather(node.read(), node.read_bytes(), node.read_text(), node.read("r"))
        assert [*found] == [b"one", b"one", "one", "one"]
        assert (await node.exists(), await node.is_file(), await node.is_dir(), await node.size()) == (
            True,
            True,
            False,
            3,
        )
        assert await node.md5hash() == "f97c5d29941bfb1b2fdab0874906ab82"
        await node.append(b" two")
        assert await node.read() == b"one two"
        await node.delete()
        assert not await node.exists()

    asyncio.run(main())


def test_the_explicit_faces_are_sure(node: StorageNode) -> None:
    async def main() -> None:
        assert node.sync.write(b"in a coroutine, by the one that blocks") is True
        assert await node.aio.read() == b"in a coroutine, by the one that blocks"
        assert node.aio.sync.node == node

    asyncio.run(main())


def test_a_callback_that_takes_a_size_for_a_number_is_told(node: StorageNode) -> None:
    node.write(b"four")

    async def main() -> str:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def callback() -> None:
            size = node.size()
            try:
                told.set_result(f"took {size!r} for a number" if size > 3 else "likewise")
            except NotAwaited as error:
                size.close()
                told.set_result(str(error))

        asyncio.get_running_loop().call_soon(callback)
        return await told

    assert asyncio.run(main()).startswith("StorageNode.size() was compared")


def methods(face: type) -> dict[str, inspect.Signature]:
    found = inspect.getmembers(face, inspect.isfunction)
    return {name: inspect.signature(method) for name, method in found if not name.startswith("_")}


@pytest.mark.parametrize("face", [StorageNode, AsyncNode])
def test_the_faces_of_a_node_are_equal(face: type) -> None:
    def parameters(signature: inspect.Signature) -> list[tuple[str, Any]]:
        return [(each.name, each.default) for each in signature.parameters.values()]

    mine, its = methods(face), methods(SyncNode)
    assert {name: parameters(each) for name, each in mine.items()} == {
        name: parameters(each) for name, each in its.items()
    }

    def properties(kind: type) -> set[str]:
        return {name for name, each in inspect.getmembers(kind) if isinstance(each, property) and name[0] != "_"}

    assert properties(face) | {"sync"} == properties(SyncNode)


def test_the_errors_of_a_node_name_it(node: StorageNode) -> None:
    for read in (node.read, node.size, node.mtime, node.md5hash):
        with pytest.raises(StorageNotFoundError, match=f"^{node.fullpath}: no such") as caught:
            read()
        assert isinstance(caught.value, FileNotFoundError)

    async def main() -> None:
        with pytest.raises(FileNotFoundError, match=f"^{node.fullpath}: no such"):
            await node.read()

    asyncio.run(main())


@pytest.mark.parametrize("path", ["../up", "a/../../up", "/etc/passwd", "a\0b", "a\\b"])
def test_a_path_that_leads_out_is_refused_before_anything_is_asked(storage: StorageManager, path: str) -> None:
    with pytest.raises(ValueError, match="^'home:"):
        storage.node(f"home:{path}")
    with pytest.raises(ValueError, match="^'home:"):
        storage.node("home", path)
    with pytest.raises(ValueError, match="^'home:"):
        storage.node("home:folder").child(path)


def test_a_link_that_leads_out_is_refused(storage: StorageManager, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("not to be read")
    (tmp_path / "home" / "link").symlink_to(tmp_path / "secret")
    for node in (storage.node("home:link/file"), storage.node("home:link")):
        with pytest.raises(StoragePermissionError, match="leads out"):
            node.children() if node.basename == "link" else node.read()
    with pytest.raises(StoragePermissionError):
        storage.node("home:link/other").write(b"x")
    with pytest.raises(StoragePermissionError):
        storage.node("home:link/folder").mkdir()
    assert [each.name for each in (tmp_path / "secret").iterdir()] == ["file"]


def test_permissions_are_those_of_the_mount(storage: StorageManager) -> None:
    storage.node("mem:a/b/file").write(b"x")
    storage.configure(
        [
            {"name": "reading", "path": "mem:a", "permissions": "readonly"},
            {"name": "writing", "path": "mem:a/b", "permissions": "readwrite"},
        ]
    )
    assert storage.node("reading:b/file").read() == storage.node("writing:file").read() == b"x"
    assert storage.node("writing:other").write(b"y")
    for refused in (storage.node("writing:file").delete, lambda: storage.node("reading:b/file").write(b"z")):
        with pytest.raises(StoragePermissionError, match="permissions 'read"):
            refused()
    with pytest.raises(StorageConfigError, match=r"mount 'more': .*are more than those of 'reading'"):
        storage.configure([{"name": "more", "path": "reading:b", "permissions": "delete"}])
    assert storage.node("reading").children() == [storage.node("mem:a/b")]


def test_a_wrong_mount_leaves_none_of_the_others(storage: StorageManager) -> None:
    before = storage.get_mount_names()
    with pytest.raises(StorageConfigError, match="mount 'third': unknown: 'colour'"):
        storage.configure(
            [
                {"name": "first", "protocol": "memory"},
                {"name": "second", "protocol": "memory"},
                {"name": "third", "protocol": "memory", "colour": "blue"},
            ]
        )
    assert storage.get_mount_names() == before


def test_what_is_used_after_its_end_says_so(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    storage.delete_mount("mem")
    with pytest.raises(StorageConfigError, match="^mem:file: this mount was closed, or deleted"):
        node.write(b"x")
    with pytest.raises(StorageNotFoundError, match=r"^mem:: no mount of this name; configured: 'home'"):
        storage.node("mem:file")
    storage.close()
    assert storage.get_mount_names() == []


def test_a_folder_has_children(storage: StorageManager) -> None:
    folder = storage.node("home:folder")
    folder.mkdir()
    assert folder.is_dir()
    assert folder.children() == []
    for name in ("b.txt", "a.txt", "deeper/c.txt"):
        folder.child(name).write(b"x")
    assert [each.basename for each in folder.children()] == ["a.txt", "b.txt", "deeper"]
    with pytest.raises(StorageError, match="there already"):
        folder.mkdir()
    folder.mkdir(exist_ok=True)
    folder.delete()
    assert not folder.exists()


def test_content_in_a_path(storage: StorageManager) -> None:
    node = storage.node("b64:/9j/4A++")
    assert node.read() == b"\xff\xd8\xff\xe0\x0f\xbe"
    assert (node.exists(), node.size()) == (True, 6)
    assert not storage.node("b64:not base64!").exists()
    with pytest.raises(StoragePermissionError):
        node.write(b"x")
