"""Mounts of an artifact and of a bucket: the same nodes there, and what they cost."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import StorageManager
from cloudfiles_hypha.devserver.server import DevServer
from cloudfiles_hypha.errors import StorageError, StorageNotFoundError, StoragePermissionError
from tests.support.clients import QUICK
from tests.support.fake_hypha import FakeHypha
from tests.support.s3_servers import S3Server, seaweed


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as server:
        server.add_artifact("ws/a", {f"many/{number}": b"%d" % number for number in range(200)})
        yield server


def of_artifact(hypha: FakeHypha, **options: Any) -> dict[str, Any]:
    return {
        "name": "store",
        "protocol": "hypha",
        "artifact": "ws/a",
        "token": hypha.token,
        "server_url": hypha.url,
        "retry": QUICK,
        **options,
    }


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with seaweed() as server:
        server.make_bucket("mounts")
        yield server


def of_bucket(server: S3Server, **options: Any) -> dict[str, Any]:
    return {"name": "store", "cloudpath": f"{server.cloudpath('mounts')}", "secrets": server.secrets, **options}


class NodesContract:
    """What a node does wherever its files are; subclasses say where."""

    tells_times = True

    @pytest.fixture
    def storage(self) -> Iterator[StorageManager]:
        raise NotImplementedError

    def test_a_file_is_written_read_and_removed(self, storage: StorageManager) -> None:
        node = storage.node("store:folder/file.txt")
        assert node.write("hello", skip_if_unchanged=True) is True
        assert node.write("hello", skip_if_unchanged=True) is False
        assert (node.read(), node.read_text(), node.size()) == (b"hello", "hello", 5)
        assert node.md5hash() == "5d41402abc4b2a76b9719d911017c592"
        assert (node.exists(), node.is_file(), node.is_dir(), node.parent.is_dir()) == (True, True, False, True)
        if self.tells_times:
            assert node.mtime() > 1_600_000_000
        else:
            with pytest.raises(StorageError, match="does not say when"):
                node.mtime()
        node.append(" there")
        with node.open("r") as file:
            assert file.read() == "hello there"
        assert [each.fullpath for each in node.parent.children()] == ["store:folder/file.txt"]
        node.parent.delete()
        assert not node.exists()
        assert not node.parent.exists()

    def test_an_empty_file_is_changed_as_any_other_is(self, storage: StorageManager) -> None:
        node = storage.node("store:folder/empty.txt")
        node.write("")
        node.append("more")
        assert node.read() == b"more"
        node.write("")
        with node.local_path("rw") as path:
            Path(path).write_text("of a program")
        assert node.read() == b"of a program"
        node.delete()

    def test_the_same_awaited(self, storage: StorageManager) -> None:
        async def main() -> None:
            node = storage.node("store:folder/file.txt")
            await node.write(b"hello")
            assert [*await asyncio.gather(node.read(), node.size(), node.exists())] == [b"hello", 5, True]
            async with node.open() as file:
                assert await file.read(4) == b"hell"
            assert [each.basename for each in await node.parent.children()] == ["file.txt"]
            await node.delete()
            with pytest.raises(StorageNotFoundError, match=r"^store:folder/file\.txt: "):
                await node.read()

        asyncio.run(main())

    def test_a_part_of_it_is_a_mount_of_its_own(self, storage: StorageManager) -> None:
        storage.add_mount({"name": "part", "path": "store:deep/er", "permissions": "readonly"})
        storage.node("store:deep/er/file").write(b"x")
        assert storage.node("part:file").read() == b"x"
        assert [each.fullpath for each in storage.node("part").children()] == ["part:file"]
        with pytest.raises(StoragePermissionError, match="^part:file: "):
            storage.node("part:file").write(b"y")
        storage.node("store:deep").delete()

    def test_a_url_is_for_anybody(self, storage: StorageManager) -> None:
        node = storage.node("store:linked")
        node.write(b"x")
        assert node.capabilities.presigned_urls
        assert node.url(expires_in=60).startswith("http")
        node.delete()


class TestArtifact(NodesContract):
    tells_times = False  # this server's store sends none

    @pytest.fixture
    def storage(self, hypha: FakeHypha) -> Iterator[StorageManager]:
        with StorageManager() as manager:
            manager.configure([of_artifact(hypha)])
            yield manager

    def test_reads_that_are_awaited_together_are_signed_together_and_need_no_thread_each(
        self, storage: StorageManager, hypha: FakeHypha
    ) -> None:
        nodes = [storage.node(f"store:many/{number}") for number in range(200)]
        nodes[0].read()
        before, calls = threading.active_count(), hypha.count("get_file")

        async def main() -> tuple[list[bytes], int]:
            tasks = [asyncio.ensure_future(node.read()) for node in nodes]
            most = 0
            while not all(task.done() for task in tasks):
                most = max(most, threading.active_count())
                await asyncio.sleep(0.001)
            return [task.result() for task in tasks], most

        found, most = asyncio.run(main())
        assert found == [b"%d" % number for number in range(200)]
        assert hypha.count("get_file") - calls <= 20
        # the pool's own carriers, and the threads of the server that is in this process
        assert most - before < 100

    def test_a_write_commits_by_itself_and_a_staged_block_makes_one_commit(
        self, storage: StorageManager, hypha: FakeHypha
    ) -> None:
        storage.node("store:single").write(b"x")
        assert hypha.count("commit") == 1
        with storage.staged("store"):
            for number in range(5):
                storage.node(f"store:new/{number}").write(b"x")
        assert hypha.count("commit") == 2

        async def main() -> None:
            async with storage.staged("store", comment="more"):
                await asyncio.gather(*[storage.node(f"store:newer/{number}").write(b"x") for number in range(5)])

        asyncio.run(main())
        assert hypha.count("commit") == 3
        assert len([name for name in hypha.files("ws/a") if name.startswith("new")]) == 10

    def test_versions_can_be_read_by_name_place_and_time(self, storage: StorageManager, hypha: FakeHypha) -> None:
        node = storage.node("store:file")
        for number in range(3):
            with storage.mount("store").files.staged(version=f"n{number}"):
                node.write(f"content {number}")
        versions = node.versions()
        assert [each.id for each in versions] == ["n0", "n1", "n2"]
        assert [node.open(version=place).read() for place in (0, -1, "n1")] == [
            b"content 0",
            b"content 2",
            b"content 1",
        ]
        before = storage.node("store:file", version=-2)
        assert (before.read_text(), before.size(), before.exists(), before.is_dir()) == ("content 1", 9, True, False)
        assert node.capabilities.versioning
        for refused in (lambda: before.write("x"), lambda: node.open("w", version=0), before.delete):
            with pytest.raises(StoragePermissionError, match="past"):
                refused()
        with pytest.raises(IndexError, match="version 3 of 3"):
            node.open(version=3)
        with pytest.raises(ValueError, match="several versions"):
            before.open(version=0)

        async def main() -> None:
            assert await before.read() == b"content 1"
            assert [each.id for each in await node.versions()] == ["n0", "n1", "n2"]
            async with node.open(version=0) as file:
                assert await file.read() == b"content 0"
            async with node.open("r", version=1) as file:
                assert await file.read() == "content 1"

        asyncio.run(main())

    def test_children_are_one_listing(self, storage: StorageManager, hypha: FakeHypha) -> None:
        assert len(storage.node("store:many").children()) == 200
        pages = [(call.method, call.kwargs.get("dir_path"), call.kwargs.get("offset")) for call in hypha.calls]
        assert pages == [("list_files", "many", 0), ("list_files", "many", 200)]


class TestBucket(NodesContract):
    @pytest.fixture
    def storage(self, bucket: S3Server) -> Iterator[StorageManager]:
        with StorageManager() as manager:
            manager.configure([of_bucket(bucket)])
            yield manager


@pytest.fixture(scope="module")
def real() -> Iterator[DevServer]:
    if not os.environ.get("CLOUDFILES_HYPHA_SERVER_PYTHON"):
        pytest.skip("needs CLOUDFILES_HYPHA_SERVER_PYTHON, the Python that has Hypha")
    with DevServer(workspace="mounts") as server:
        yield server


class TestRealArtifact(NodesContract):
    @pytest.fixture
    def storage(self, real: DevServer) -> Iterator[StorageManager]:
        options = {"artifact": "mounts/nodes", "token": real.token, "server_url": real.server_url, "create": True}
        with StorageManager() as manager:
            manager.configure({"store": {"protocol": "hypha", **options}})
            yield manager


def test_in_an_artifact_that_the_first_write_makes_nothing_is_there_before(hypha: FakeHypha) -> None:
    with StorageManager() as storage:
        storage.configure([of_artifact(hypha, artifact="ws/made", create=True)])
        node = storage.node("store:folder/file")
        assert (node.exists(), node.is_file(), node.is_dir(), node.parent.exists()) == (False, False, False, False)
        node.delete()
        node.parent.delete()
        node.write("first")
        assert (node.exists(), node.parent.exists()) == (True, True)
        storage.configure([of_artifact(hypha, artifact="ws/mistyped")])
        with pytest.raises(StorageNotFoundError, match="mistyped"):
            storage.node("store:folder/file").exists()
        with pytest.raises(StorageNotFoundError, match="mistyped"):
            storage.node("store:folder/file").delete()
