"""Mounts and nodes: which files are meant, what may be done with them, and what errors say."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from cloudfiles_hypha import ArtifactFiles, LossyWarning, RetryPolicy, async_open, bridge
from cloudfiles_hypha.backends import memory
from cloudfiles_hypha.backends.base import Control
from cloudfiles_hypha.backends.memory import MemoryBackend
from cloudfiles_hypha.errors import (
    NotAwaited,
    StorageConfigError,
    StorageError,
    StorageNotFoundError,
    StoragePermissionError,
)
from cloudfiles_hypha.models import Version
from cloudfiles_hypha.mounts.faces import AsyncNode, StorageNode
from cloudfiles_hypha.mounts.manager import StorageManager
from cloudfiles_hypha.mounts.node import SyncNode


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
    with pytest.raises(PermissionError, match="leads out"):
        storage.mount("home").backend.make_folder("link/folder")
    assert [each.name for each in (tmp_path / "secret").iterdir()] == ["file"]


def test_a_part_of_a_local_mount_is_not_left_by_links_to_the_rest_of_it(
    storage: StorageManager, tmp_path: Path
) -> None:
    storage.configure(
        {"part": {"path": "home:part"}, "inner": {"path": "part:inner"}, "moved": {"path": "home:link/x"}}
    )
    storage.node("home:secret/file").write("not for the part")
    assert storage.node("part:inner/own").write("own")
    assert storage.node("inner:own") == storage.node("home:part/inner/own")
    (tmp_path / "home" / "part" / "folder").symlink_to("../secret")
    (tmp_path / "home" / "part" / "inner" / "file").symlink_to("../../secret/file")
    (tmp_path / "home" / "link").symlink_to(tmp_path)
    for use in (
        storage.node("part:folder/file").read,
        storage.node("inner:file").read,
        storage.node("part:folder").children,
        partial(storage.node("part:folder/new").write, "x"),
        partial(storage.node("part:").copy_to, storage.node("mem:copy")),
        storage.node("part:folder").delete,
        partial(storage.node("moved:new").write, "x"),
    ):
        with pytest.raises(StoragePermissionError, match="link"):
            use()
    assert storage.node("inner:own").read("r") == storage.node("home:part/inner/own").read("r") == "own"
    assert [node.basename for node in storage.node("home:secret").children()] == ["file"]
    assert not (tmp_path / "x").exists()


def test_the_folder_of_a_part_of_a_local_mount_is_made_when_it_is_needed(
    storage: StorageManager, tmp_path: Path
) -> None:
    storage.add_mount({"name": "part", "path": "home:deep/part"})
    top = storage.node("part:")
    assert not top.exists()
    assert not storage.node("part:file").exists()
    assert not storage.node("part:file").is_dir()
    with pytest.raises(StorageNotFoundError):
        top.children()
    top.mkdir(parents=True)
    top.mkdir(exist_ok=True)
    assert top.is_dir()
    assert top.children() == []
    assert (tmp_path / "home" / "deep" / "part").is_dir()


def test_to_remove_a_link_to_a_folder_removes_nothing_of_what_it_leads_to(
    storage: StorageManager, tmp_path: Path
) -> None:
    for folder in (tmp_path / "home" / "other" / "empty", tmp_path / "secret" / "empty"):
        folder.mkdir(parents=True)
    (tmp_path / "home" / "inside").symlink_to(tmp_path / "home" / "other")
    (tmp_path / "home" / "outside").symlink_to(tmp_path / "secret")
    for name in ("inside", "outside"):
        with pytest.raises(PermissionError, match="link"):
            storage.mount("home").backend.remove_folder(name)
    with pytest.raises(StoragePermissionError, match="leads out"):
        storage.node("home:outside").delete()
    storage.node("home:inside").delete()
    assert sorted(each.name for each in (tmp_path / "home").iterdir()) == ["other", "outside"]
    assert (tmp_path / "home" / "other" / "empty").is_dir()
    assert (tmp_path / "secret" / "empty").is_dir()


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


# -- configuration


@pytest.mark.parametrize(
    ("options", "cloudpath", "secrets"),
    [
        (
            {"protocol": "s3", "bucket": "bkt", "prefix": "p/", "region": "eu-west-1", "key": "K", "secret": "S"},
            "s3://bkt/p",
            {"region": "eu-west-1", "AWS_ACCESS_KEY_ID": "K", "AWS_SECRET_ACCESS_KEY": "S"},
        ),
        (
            {"protocol": "s3", "bucket": "bkt", "base_path": "p", "anon": True, "endpoint_url": "http://localhost:1"},
            "s3://http://localhost:1/bkt/p",
            {"no_sign_request": True},
        ),
        ({"protocol": "gcs", "bucket": "bkt", "prefix": "p", "token": "anon"}, "gs://bkt/p", {}),
        (
            {"protocol": "azure", "container": "box", "account_name": "acc", "account_key": "a2V5"},
            "az://box",
            {"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_KEY": "a2V5"},
        ),
        ({"protocol": "http", "base_url": "https://host/folder"}, "https://host/folder", None),
        ({"protocol": "memory", "base_path": "x"}, "mem://m/x", None),
        (
            {"protocol": "hypha", "artifact": "ws/alias", "version": "v1", "prefix": "sub"},
            "hypha://ws/alias@v1/sub",
            None,
        ),
        ({"protocol": "hypha", "artifact": "hypha://ws/alias"}, "hypha://ws/alias", None),
        ({"cloudpath": "mem://bucket/folder"}, "mem://bucket/folder", None),
    ],
)
def test_what_a_protocol_is_told_becomes_a_cloudpath(options: dict[str, Any], cloudpath: str, secrets: object) -> None:
    with StorageManager() as manager:
        manager.configure([{"name": "m", **options}])
        mount = manager.mount("m")
        assert mount.cloudpath == mount.files.cloudpath == cloudpath
        assert mount.files._settings.secrets == secrets


@pytest.mark.parametrize(
    ("options", "cloudpath", "secrets"),
    [
        (
            {
                "protocol": "ftp",
                "host": "h",
                "port": 2121,
                "path": "/a/b",
                "username": "u",
                "password": "p",
                "timeout": 9,
            },
            "ftp://h:2121/a/b",
            {"username": "u", "password": "p", "timeout": 9},
        ),
        (
            {"protocol": "github", "org": "o", "repo": "r", "sha": "main", "token": "t", "base_path": "docs"},
            "github://docs",
            {"org": "o", "repo": "r", "sha": "main", "token": "t"},
        ),
    ],
)
def test_any_protocol_of_fsspec_is_a_mount(options: dict[str, Any], cloudpath: str, secrets: object) -> None:
    pytest.importorskip("fsspec")
    with StorageManager() as manager:
        manager.configure([{"name": "m", "num_threads": 2, **options}])
        files = manager.mount("m").files
        assert (files.cloudpath, files._settings.secrets, files._settings.num_threads) == (cloudpath, secrets, 2)


def test_the_members_of_an_archive_are_nodes(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("folder/a.txt", "first")
    with StorageManager() as manager:
        options = {"protocol": "zip", "file": str(tmp_path / "a.zip")}
        manager.configure({"all": options, "part": {**options, "base_path": "folder"}})
        assert [each.fullpath for each in manager.node("all").children()] == ["all:folder"]
        assert manager.node("part:a.txt").read() == manager.node("all:folder/a.txt").read() == b"first"
        with pytest.raises(StoragePermissionError):
            manager.node("part:a.txt").write(b"x")


def test_an_archive_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with StorageManager() as manager:
        manager.configure({"gone": {"protocol": "zip", "file": str(tmp_path / "gone.zip")}})
        for use in (manager.node("gone:").children, manager.node("gone:a").exists, manager.node("gone:a").read):
            with pytest.raises(StorageError, match="the place itself cannot be opened: .*gone.zip") as caught:
                use()
            assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"protocol": "s3"}, "protocol 's3' needs 'bucket'"),
        (
            {"protocol": "s3", "bucket": "bkt", "prefix": "p", "base_path": "p"},
            "'base_path' and 'prefix' mean the same",
        ),
        ({"protocol": "local", "base_path": "relative"}, "absolute"),
        ({"protocol": "local", "base_path": "/nowhere/at/all"}, "there is no folder"),
        ({"protocol": "http", "base_url": "ftp://host"}, "begins with http"),
        ({"protocol": "http", "base_url": "http://h", "permissions": "delete"}, "can only be read from"),
        ({"protocol": "gs"}, "protocol 'gcs' needs 'bucket'"),
        ({"protocol": "gopher", "host": "h"}, "unknown protocol 'gopher'"),
        ({"protocol": "memory", "permissions": "all"}, "permissions are one of 'readonly'"),
        ({"protocol": "memory", "encrypted": True}, "'encrypted': there is no encryption at rest yet"),
        ({"protocol": "memory", "storage_key": "hush-hush"}, "'storage_key': there is no encryption"),
        ({"path": "nobody:folder"}, "it lies in 'nobody', which is not configured"),
        ({"protocol": "memory", "cloudpath": "mem://x"}, "give one of them"),
        ({}, "say which 'protocol'"),
        ({"protocol": "hypha", "artifact": "ws/a", "token": 4711}, "a token is a text, not int"),
        ({"protocol": "hypha", "artifact": "ws/a", "tokne": "hush-hush"}, "unknown: 'tokne'"),
        ({"protocol": "s3", "bucket": "bkt", "key": "K", "secrets": {"profile": "hush-hush"}}, "'secrets'"),
        ({"protocol": "memory", "retry": 5}, "retry=5: expected a RetryPolicy"),
        ({"protocol": "memory", "retry": {"elapse": 5}}, "unknown in 'retry': 'elapse'; there are attempts,"),
        ({"protocol": "memory", "retry": {"attempts": 0}}, "attempts must be at least 1"),
        ({"protocol": "memory", "create": "no"}, "create='no': expected True or False"),
        ({"protocol": "memory", "green": "no"}, "green='no': expected True, False or None"),
        ({"protocol": "hypha", "artifact": "ws/a", "version": "../b"}, "name one version"),
        ({"protocol": "hypha", "artifact": "ws/a@v0", "version": "v1"}, "only once"),
    ],
)
def test_what_is_wrong_with_a_mount_names_it_and_no_secret(options: dict[str, Any], why: str) -> None:
    manager = StorageManager()
    with pytest.raises(StorageConfigError, match=why) as caught:
        manager.configure([{"name": "m", **options}])
    assert "mount 'm'" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert manager.get_mount_names() == []


@pytest.mark.parametrize("name", ["", "a b", "a:b", "../a", 7, None])
def test_a_name_that_could_not_be_in_a_path_is_refused(name: object) -> None:
    with pytest.raises(StorageConfigError, match="name"):
        StorageManager().configure([{"name": name, "protocol": "memory"}])


@pytest.mark.parametrize("value", ["two  spaces", "", "\u00e9", "a\ttab"])
@pytest.mark.parametrize("how", ["append", "open", "local_path"])
def test_what_others_say_of_a_file_keeps_nobody_from_changing_it(storage: StorageManager, value: str, how: str) -> None:
    node = storage.node("mem:file.txt")
    node.write("before")
    bucket = memory._buckets["mem"]
    bucket["file.txt"] = replace(bucket["file.txt"], headers={"x-amz-meta-by": value})

    def change() -> None:
        if how == "append":
            node.append(" and after")
        elif how == "open":
            with node.open("r+") as file:
                file.write("before and after")
        else:
            with node.local_path("rw") as path:
                Path(path).write_text("before and after")

    with pytest.warns(LossyWarning, match="file.txt: stored without the metadata that it had"):
        change()
    assert (node.read_text(), node.get_metadata()) == ("before and after", {})


def test_a_mount_says_in_words_how_long_to_try() -> None:
    with StorageManager() as manager:
        manager.configure({"m": {"protocol": "memory", "retry": {"attempts": 3, "elapsed": 60}}})
        assert manager.mount("m").files._settings.retry == RetryPolicy(attempts=3, elapsed=60)


YAML = """
- name: mem
  protocol: memory
- name: sub
  path: mem:folder
  permissions: readonly
"""
JSON = '{"mem": {"protocol": "memory"}, "sub": {"path": "mem:folder", "permissions": "readonly"}}'


@pytest.mark.parametrize(("name", "text"), [("s.yaml", YAML), ("s.yml", YAML), ("s.json", JSON)])
def test_a_file_says_which_mounts_there_are(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    for source in (path, str(path)):
        with StorageManager() as manager:
            manager.configure(source)
            assert manager.get_mount_names() == ["mem", "sub"]
            assert manager.node("sub:x").capabilities.readonly


@pytest.mark.parametrize(("name", "text"), [("s.yaml", "a: [b"), ("s.json", "{"), ("s.json", "7"), ("s.ini", "")])
def test_a_file_that_says_nothing_of_mounts_is_named(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StorageConfigError, match=name):
        StorageManager().configure(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        StorageManager().configure(tmp_path / "missing.yaml")


def test_options_of_the_files_may_be_said_of_a_mount_and_no_repr_shows_a_token() -> None:
    with StorageManager() as manager:
        options = {"artifact": "ws/a", "token": "hush-hush", "server_url": "http://localhost:1", "num_threads": 3}
        manager.add_mount({"name": "h", "protocol": "hypha", **options})
        assert manager.mount("h").files._settings.num_threads == 3
        shown = (repr(manager), repr(manager.mount("h")), repr(manager.node("h:a")), str(manager.node("h:a")))
        assert not any("hush" in text for text in shown)


# -- writing only what differs


def test_what_is_there_already_is_not_written_and_not_read(
    storage: StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = storage.node("mem:file")
    assert node.write_bytes(b"same", skip_if_unchanged=True) is True

    def get(*_: object) -> None:
        raise AssertionError("the content was read, although the store knows its digest")

    monkeypatch.setattr(MemoryBackend, "get", get)
    assert node.write_text("same", skip_if_unchanged=True) is False
    assert node.write_bytes(b"else", skip_if_unchanged=True) is True
    assert node.write_bytes(b"else", skip_if_unchanged=True) is False
    assert node.write_bytes(b"else") is True


def test_a_store_without_digests_is_read_to_tell(storage: StorageManager) -> None:
    node = storage.node("home:file")
    assert [node.write(each, skip_if_unchanged=True) for each in ("a", "a", "b", "bb", b"bb")] == [
        True,
        False,
        True,
        True,
        False,
    ]


def test_what_is_written_is_bytes_or_text_as_the_mode_says(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("é", mode="w", encoding="latin-1")
    assert (node.read(), node.read("r", "latin-1"), node.read_text("latin-1")) == (b"\xe9", "é", "é")
    for data, mode in (("text", "wb"), (b"bytes", "w")):
        with pytest.raises(TypeError, match="takes"):
            node.write(data, mode=mode)
    with pytest.raises(ValueError, match="mode='a'"):
        node.write(b"x", mode="a")
    with pytest.raises(ValueError, match="mode='w'"):
        node.read("w")
    with pytest.raises(TypeError, match="write_bytes"):
        node.write_text(b"x")
    with pytest.raises(TypeError, match="write_text"):
        node.write_bytes("x")


# -- names


def test_what_a_node_is_called_needs_no_look(storage: StorageManager) -> None:
    node = storage.node("mem:docs//2024/report.tar.gz/")
    assert (node.fullpath, node.path, node.basename) == (
        "mem:docs/2024/report.tar.gz",
        "docs/2024/report.tar.gz",
        "report.tar.gz",
    )
    assert (node.stem, node.suffix, node.ext, node.splitext()) == (
        "report.tar",
        ".gz",
        "gz",
        ("docs/2024/report.tar", ".gz"),
    )
    assert (node.parent.fullpath, node.dirname, node.parent.parent.parent.fullpath) == ("mem:docs/2024",) * 2 + (
        "mem:",
    )
    assert storage.node("mem:a.pdf").mimetype == "application/pdf"
    assert storage.node("mem:a").mimetype == "application/octet-stream"
    assert storage.node("mem", "a", "b/c").child("d", "e").fullpath == "mem:a/b/c/d/e"
    assert {storage.node("mem:a"), storage.node("mem:/".rstrip("/") + "a"), storage.node("mem:b")} == {
        storage.node("mem:a"),
        storage.node("mem:b"),
    }
    assert storage.node("mem:a") != storage.node("home:a")


def test_what_a_mount_can_do(storage: StorageManager) -> None:
    storage.configure([{"name": "ro", "path": "home:", "permissions": "readonly"}])
    mem, home, fixed = (storage.node(f"{name}:x").capabilities for name in ("mem", "home", "ro"))
    assert (mem.write, mem.temporary, mem.hash_on_metadata, mem.mkdir) == (True, True, True, False)
    assert (home.write, home.temporary, home.hash_on_metadata, home.mkdir) == (True, False, False, True)
    assert (fixed.write, fixed.delete, fixed.readonly) == (False, False, True)
    assert "readonly" in str(fixed)
    with pytest.raises(AttributeError):
        fixed.write = True  # type: ignore[misc]


def test_a_url_is_none_where_there_is_none(storage: StorageManager, tmp_path: Path) -> None:
    assert storage.node("mem:x").url() is None
    storage.add_mount({"name": "web", "protocol": "local", "base_path": tmp_path, "base_url": "/static/"})
    storage.add_mount({"name": "css", "path": "web:css"})
    node = storage.node("css:a b.css")
    assert (node.url(), node.internal_url()) == ("/static/css/a%20b.css",) * 2
    node.write("x")
    assert node.internal_url(nocache=True) == f"/static/css/a%20b.css?mtime={int(node.mtime())}"


def test_a_mount_itself_is_not_removed(storage: StorageManager) -> None:
    storage.node("home:kept").write("x")
    with pytest.raises(StorageError, match="the mount itself"):
        storage.node("home").delete()
    assert storage.node("home:kept").exists()
    assert storage.node("home").is_dir()


# -- loops and threads


def test_many_reads_in_a_coroutine_need_no_thread_each(
    storage: StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [storage.node(f"mem:{number}") for number in range(300)]
    for node in nodes:
        node.write(b"x")

    def in_thread(*_: object) -> None:
        raise AssertionError("a thread was started for one read")

    monkeypatch.setattr(bridge, "in_thread", in_thread)

    async def main() -> None:
        assert await asyncio.gather(*[node.read() for node in nodes]) == [b"x"] * 300
        node = nodes[0]
        for asked in (node.read_bytes, node.read_text, node.exists, node.is_file, node.size, node.mtime, node.md5hash):
            assert await asked()
        with pytest.raises(AssertionError, match="a thread was started"):
            await node.write(b"x")

    asyncio.run(main())


def test_a_thousand_reads_begin_a_few_at_a_time_so_that_the_loop_goes_on(
    storage: StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0
    begin = ArtifactFiles._begin

    def counted(self: ArtifactFiles, *args: Any, **options: Any) -> Any:
        nonlocal begun
        begun += 1
        return begin(self, *args, **options)

    monkeypatch.setattr(ArtifactFiles, "_begin", counted)
    node = storage.node("mem:file")
    node.write(b"x")

    async def main() -> list[int]:
        tasks = [asyncio.ensure_future(node.read()) for _ in range(200)]
        given_up = [asyncio.ensure_future(node.read()) for _ in range(50)]
        at_each_time_around = [0]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            at_each_time_around.append(begun)
            for task in given_up:
                task.cancel()
        assert {task.result() for task in tasks} == {b"x"}
        assert [*await asyncio.gather(node.read(), node.size())] == [b"x", 1]
        return at_each_time_around

    seen = asyncio.run(main())
    assert seen[-1] == 200
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 40


def test_one_manager_serves_several_loops_and_threads(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write(b"x")

    async def read() -> list[bytes]:
        return [*await asyncio.gather(*[node.read() for _ in range(20)])]

    with ThreadPoolExecutor(4) as threads:
        loops = [threads.submit(asyncio.run, read()) for _ in range(4)]
        plain = [threads.submit(node.read) for _ in range(20)]
        assert [each.result() for each in loops] == [[b"x"] * 20] * 4
        assert {each.result() for each in plain} == {b"x"}
    assert asyncio.run(read()) == [b"x"] * 20


def test_greenlets_are_refused_where_they_would_stop_the_loop() -> None:
    with StorageManager() as manager:
        manager.configure([{"name": "green", "protocol": "memory", "green": True}])
        node = manager.node("green:file")
        node.write(b"x")

        async def main() -> None:
            with pytest.raises(ValueError, match="green=True"):
                await node.read()
            with pytest.raises(ValueError, match="green=True"):
                await node.write(b"x")
            with pytest.raises(ValueError, match="green=True"):
                node.open()

        asyncio.run(main())
        assert node.read() == b"x"


def test_file_objects_are_plain_and_asynchronous(node: StorageNode) -> None:
    with node.open("wb") as file:
        file.write(b"one\ntwo\n")
    with node.open("r") as file:
        assert [*file] == ["one\n", "two\n"]

    async def main() -> None:
        async with node.open("w") as file:
            await file.write("three\nfour\n")
        async with node.open() as file:
            assert await file.read(5) == b"three"
        file = await node.open("r")
        assert [line async for line in file] == ["three\n", "four\n"]
        await file.close()
        with pytest.raises(FileNotFoundError, match="^(mem|home):folder/nothing"):
            await node.parent.child("nothing").open()
        pending = node.open()
        with pytest.raises(NotAwaited, match="with"), pending:
            raise AssertionError("opened by a plain with")
        pending.close()

    asyncio.run(main())


# -- versions, and what is said of a file


def test_of_a_store_without_versions_none_can_be_read(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("x")
    assert node.versions() == []
    for past in (storage.node("mem:file", version=-1).read, lambda: node.open(version="v1")):
        with pytest.raises(StoragePermissionError, match="^mem:file: mem:// keeps no versions"):
            past()
    assert not node.capabilities.versioning


class Versioned(MemoryBackend):
    """A store that says of each file that there were two."""

    can = replace(MemoryBackend.can, keeps_versions=True)

    def versions(self, path: str, control: Control) -> list[Version]:
        return [Version("old", last_modified=1000.0), Version("new", last_modified=2000.0, latest=True)]

    def at(self, version: str) -> MemoryBackend:
        return MemoryBackend(version)


def test_a_version_is_chosen_by_its_time(monkeypatch: pytest.MonkeyPatch, storage: StorageManager) -> None:
    monkeypatch.setattr(memory, "MemoryBackend", Versioned)
    storage.configure({name: {"cloudpath": f"mem://{name}"} for name in ("store", "old", "new")})
    monkeypatch.undo()
    for name in ("store", "old", "new"):
        storage.mount(name).files.put("file", name)
    node = storage.node("store:file")
    at = [datetime.fromtimestamp(seconds, timezone.utc) for seconds in (1000, 1999, 2000, 9000)]
    assert [node.open(as_of=time).read() for time in at] == [b"old", b"old", b"new", b"new"]
    assert node.open(as_of=at[0].replace(tzinfo=None)).read() == b"old"
    with pytest.raises(StorageNotFoundError, match="as old as"):
        node.open(as_of=datetime.fromtimestamp(999, timezone.utc))


def test_what_is_said_of_a_file_is_kept_with_it(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("x")
    assert node.get_metadata() == {}
    node.set_metadata({"Author": "somebody"})
    assert node.get_metadata() == {"author": "somebody"}
    assert node.read() == b"x"

    async def main() -> None:
        await node.set_metadata({"year": "2024"})
        assert await node.get_metadata() == {"year": "2024"}

    asyncio.run(main())
    local = storage.node("home:file")
    local.write("x")
    assert local.get_metadata() == {}
    with pytest.raises(StoragePermissionError, match="keeps no metadata"):
        local.set_metadata({"a": "b"})
    assert (node.capabilities.metadata, local.capabilities.metadata) == (True, False)


# --- for others -----------------------------------------------------------------------------------------------------


def by_wsgi(node: SyncNode | StorageNode | AsyncNode, **options: Any) -> tuple[int, dict[str, str], bytes]:
    """A GET of the node, as a WSGI server has it answered."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    said: list[Any] = []
    body = b"".join(node.serve(environ, lambda status, headers, *_: said.extend((status, headers)), **options))
    return int(said[0][:3]), {name.lower(): value for name, value in said[1]}, body


async def by_asgi(node: SyncNode | StorageNode | AsyncNode) -> tuple[int, bytes]:
    """Likewise of an ASGI server."""
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        messages.append(message)

    await node.serve_asgi({"type": "http", "method": "GET", "headers": []}, receive, send)
    return messages[0]["status"], b"".join(message["body"] for message in messages[1:])


def test_each_face_serves_a_node_in_sync_and_in_async_code(node: StorageNode) -> None:
    node.write(b"served")
    status, headers, body = by_wsgi(node, download=True, download_name="it.txt", cache_max_age=60)
    assert (status, body, headers["cache-control"]) == (200, b"served", "max-age=60")
    assert "it.txt" in headers["content-disposition"]
    assert by_wsgi(node.child("nothing"))[0] == 404

    async def main() -> None:
        for face in (node, node.sync, node.aio):
            assert by_wsgi(face)[2] == b"served"
            assert await by_asgi(face) == (200, b"served")
        assert (await by_asgi(node.child("nothing")))[0] == 404

    asyncio.run(main())


def test_a_place_is_what_others_take_and_is_given_only_where_that_may_be_done(storage: StorageManager) -> None:
    storage.configure([{"name": "shown", "path": "home:folder", "permissions": "readonly"}])
    node = storage.node("home:folder/file.txt")
    files, name = node.place("write")
    files.put(name, b"stored")
    shown = storage.node("shown:file.txt")
    again, name = shown.place()
    assert again.get(name) == node.read() == b"stored"
    with pytest.raises(StoragePermissionError, match="shown:file.txt"):
        shown.place("write")


def test_a_node_is_opened_by_async_open_as_its_mount_allows(storage: StorageManager) -> None:
    pytest.importorskip("aiofile")
    storage.configure([{"name": "shown", "path": "home:", "permissions": "readonly"}])
    node = storage.node("home:a.txt")

    async def main() -> None:
        async with async_open(node, "w") as file:
            await file.write("one\ntwo\n")
        async with async_open(storage.node("shown:a.txt")) as file:
            assert [line async for line in file] == ["one\n", "two\n"]
        with pytest.raises(StoragePermissionError, match="shown:a.txt"):
            async_open(storage.node("shown:a.txt").aio, "a")
        with pytest.raises(TypeError, match="as it is now"):
            async_open(storage.node("home:a.txt", version=-2))

    asyncio.run(main())


def test_two_mounts_of_one_name_in_one_call_are_refused(storage: StorageManager) -> None:
    one = {"name": "one", "protocol": "memory"}
    with pytest.raises(StorageConfigError, match="'one': it is configured twice"):
        storage.configure([one, {**one, "bucket": "other"}])
    with pytest.raises(StorageConfigError, match="'one': its options give it another name"):
        storage.configure({"one": {"name": "two", "protocol": "memory"}})
    with pytest.raises(StorageConfigError, match="number 1: the names of its options are to be texts"):
        storage.configure([{**one, 3: "x"}])  # type: ignore[dict-item]
    assert not storage.has_mount("one")
    storage.configure([one])
    storage.configure([{**one, "bucket": "other"}])
    assert storage.mount("one").cloudpath == "mem://other"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mounts.json", '{"one": {"protocol": "memory"}, "one": {"protocol": "memory", "bucket": "other"}}'),
        ("mounts.yaml", "one: {protocol: memory}\none: {protocol: memory, bucket: other}\n"),
        ("mounts.yml", "- {name: one, protocol: memory, name: two}\n"),
    ],
)
def test_what_a_file_says_twice_is_refused(name: str, text: str, storage: StorageManager, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StorageConfigError, match=rf"{name}: '\w+' is said twice"):
        storage.configure(tmp_path / name)


def test_what_a_file_of_yaml_takes_over_from_elsewhere_in_it_may_be_said_anew(
    storage: StorageManager, tmp_path: Path
) -> None:
    path = tmp_path / "mounts.yaml"
    path.write_text("one: &one {protocol: memory, bucket: first}\ntwo: {<<: *one, bucket: other}\n")
    storage.configure(path)
    assert [storage.mount(name).cloudpath for name in ("one", "two")] == ["mem://first", "mem://other"]


def test_a_mount_shows_no_password() -> None:
    with StorageManager() as manager:
        manager.configure({"web": {"protocol": "http", "base_url": "http://user:hush-hush@host/folder"}})
        assert repr(manager.mount("web")) == "<Mount 'web': http://host/folder, readonly>"


def test_nothing_is_staged_through_a_mount_that_is_only_read(storage: StorageManager) -> None:
    storage.configure({"shown": {"path": "mem:", "permissions": "readonly"}})
    with pytest.raises(StoragePermissionError, match="cannot write: the mount 'shown'"):
        storage.staged("shown")


def test_the_url_of_content_in_a_path_is_one_that_browsers_take(storage: StorageManager) -> None:
    assert (
        storage.node("b64:-_-_").url() == storage.node("b64:+/+/").url() == "data:application/octet-stream;base64,+/+/"
    )
    assert storage.node("b64:SGVsbG8").url() == "data:application/octet-stream;base64,SGVsbG8="


def test_whether_it_is_a_folder_is_told_with_the_errors_of_nodes(storage: StorageManager, tmp_path: Path) -> None:
    (tmp_path / "home" / "link").symlink_to(tmp_path)
    with pytest.raises(StoragePermissionError, match="^home:link: "):
        storage.node("home:link").is_dir()
    with pytest.raises(StoragePermissionError, match="^home:link: "):
        asyncio.run(storage.node("home:link").aio.is_dir())
