"""Copies between mounts of an artifact, a bucket and a folder: what they cost, and that they are whole."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha.backends.memory import clear_memory
from cloudfiles_hypha.errors import BatchError, CommitError, PreconditionFailed, StoragePermissionError
from cloudfiles_hypha.mounts.faces import StorageNode
from cloudfiles_hypha.mounts.manager import StorageManager
from tests.support.clients import QUICK
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Status
from tests.support.s3_servers import S3Server, seaweed

FILES = {**{f"deep/{number:03}": b"%d" % number for number in range(200)}, "large": bytes(range(256)) * 40_000}


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as server:
        server.add_artifact("ws/a", {"before": b"x"})
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with seaweed() as server:
        server.make_bucket("copies")
        yield server


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[StorageManager]:
    """A folder with files in it."""
    clear_memory()
    with StorageManager() as manager:
        manager.configure(
            {"home": {"protocol": "local", "path": str(tmp_path)}, "mem": {"protocol": "memory"}},
        )
        for name, content in FILES.items():
            (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "from" / name).write_bytes(content)
        yield manager
    clear_memory()


def with_artifact(storage: StorageManager, hypha: FakeHypha) -> StorageNode:
    options: dict[str, Any] = {"token": hypha.token, "server_url": hypha.url, "retry": QUICK}
    storage.add_mount({"name": "store", "protocol": "hypha", "artifact": "ws/a", **options})
    return storage.node("store:folder")


def found(folder: StorageNode) -> dict[str, bytes]:
    files, below = folder.mount.files, folder.sync._folder
    names = [*files.list(below)]
    return {each["path"][len(below) :]: each["content"] for each in files.get(names)}


class TestArtifact:
    def test_a_copy_is_one_staging_and_one_commit(self, storage: StorageManager, hypha: FakeHypha) -> None:
        there = with_artifact(storage, hypha)
        here = storage.node("home:from")
        here.copy_to(there)
        calls = Counter(call.method for call in hypha.calls)
        assert (calls["edit"], calls["commit"]) == (1, 1)
        assert sum(calls.values()) < 20
        assert found(there) == FILES

    @pytest.mark.parametrize(("source", "skip"), [("from", "never"), ("from", "hash"), ("from/large", "exists")])
    def test_an_artifact_that_is_not_there_yet_is_made(
        self, storage: StorageManager, hypha: FakeHypha, source: str, skip: Any
    ) -> None:
        options: dict[str, Any] = {"token": hypha.token, "server_url": hypha.url, "retry": QUICK, "create": True}
        storage.add_mount({"name": "store", "protocol": "hypha", "artifact": "ws/new", **options})
        copy = storage.node(f"home:{source}").copy_to(storage.node("store:x"), skip=skip)
        assert copy.exists()
        assert hypha.count("commit") == 1

    def test_what_is_the_same_is_neither_staged_nor_committed(self, storage: StorageManager, hypha: FakeHypha) -> None:
        there = with_artifact(storage, hypha)
        here = storage.node("home:from")
        here.copy_to(there)
        before = hypha.count("commit")
        skipped: list[str] = []
        here.copy_to(there, skip="hash", on_skip=lambda node, reason: skipped.append(node.path))
        assert len(skipped) == len(FILES)
        assert hypha.count("commit") == before == 1

    def test_what_is_staged_is_there_already(self, storage: StorageManager, hypha: FakeHypha) -> None:
        there = with_artifact(storage, hypha)
        here = storage.node("home:from")
        skipped: list[str] = []
        with storage.staged("store"):
            here.copy_to(there)
            here.copy_to(there, skip="exists", on_skip=lambda node, reason: skipped.append(node.path))
            here.child("large").copy_to(
                there.child("large"), skip="exists", on_skip=lambda node, reason: skipped.append(node.path)
            )
        assert len(skipped) == len(FILES) + 1
        assert hypha.count("commit") == 1

    def test_nothing_is_removed_before_the_copy_is_committed(
        self, storage: StorageManager, hypha: FakeHypha, tmp_path: Path
    ) -> None:
        there = with_artifact(storage, hypha)
        hypha.fault("commit", *[Status(403)] * 20)
        with pytest.raises(CommitError, match="^store:folder: ") as caught:
            storage.node("home:from").move_to(there)
        assert {each["path"] for each in caught.value.results} == {f"home:from/{name}" for name in FILES}
        assert found(storage.node("home:from")) == FILES

    def test_a_move_out_of_an_artifact_removes_it_there(self, storage: StorageManager, hypha: FakeHypha) -> None:
        there = with_artifact(storage, hypha)
        storage.node("home:from/deep").copy_to(there)
        there.move_to(storage.node("mem:to"))
        assert found(storage.node("mem:to")) == {name[5:]: FILES[name] for name in FILES if name != "large"}
        assert [node.path for node in storage.node("store:").children()] == ["before"]

    def test_a_version_that_is_past_takes_the_place_of_what_is_there(
        self, storage: StorageManager, hypha: FakeHypha
    ) -> None:
        node = with_artifact(storage, hypha).child("again")
        node.write(b"first")
        with node.mount.files.staged(version="new"):
            node.write(b"second")
        old = storage.node(node.fullpath, version=0)
        assert (old.read(), node.read()) == (b"first", b"second")
        assert old.copy_to(node) == node
        assert node.read() == b"first"

    def test_a_version_that_is_past_is_copied_and_never_moved(self, storage: StorageManager, hypha: FakeHypha) -> None:
        options: dict[str, Any] = {"token": hypha.token, "server_url": hypha.url, "retry": QUICK}
        hypha.add_artifact("ws/v", {"file": b"old"})
        storage.add_mount({"name": "store", "protocol": "hypha", "artifact": "ws/v", **options})
        with storage.node("store:file").mount.files.staged(version="new"):
            storage.node("store:file").write("newer")
        old, there = storage.node("store:file", version=0), storage.node("mem:file")
        assert old.copy_to(there).read() == b"old"
        assert not old.same_content(storage.node("store:file"))
        assert old.same_content(there)
        old.copy_to(storage.node("mem:other"), skip="exists")
        storage.node("store:file").copy_to(there)
        old.copy_to(there, skip="exists")
        assert (there.read(), storage.node("mem:other").read()) == (b"newer", b"old")
        assert storage.iternode(old, there, old).read() == b"oldnewerold"
        with zipfile.ZipFile(io.BytesIO(old.zip())) as archive:
            assert archive.read("file") == b"old"
        with old.local_path() as path:
            assert Path(path).read_bytes() == b"old"
        with pytest.raises(StoragePermissionError, match="past"):
            old.move_to(storage.node("mem:moved"))
        with pytest.raises(ValueError, match="a version is copied"):
            old.copy_to(there, skip="hash")

    def test_what_is_given_to_a_program_is_not_stored_over_what_somebody_else_has(
        self, storage: StorageManager, hypha: FakeHypha
    ) -> None:
        node = with_artifact(storage, hypha).child("file")
        node.write("one")
        with pytest.raises(PreconditionFailed, match="^store:folder/file: "), node.local_path("rw") as path:  # noqa: PT012 -- the block is what raises
            Path(path).write_text("mine")
            node.write("theirs")
        assert node.read() == b"theirs"


class TestBucket:
    @pytest.fixture
    def there(self, storage: StorageManager, server: S3Server) -> Iterator[StorageNode]:
        storage.add_mount({"name": "store", "cloudpath": server.cloudpath("copies"), "secrets": server.secrets})
        # of each test its own: SeaweedFS has folders, which stay for a while when nothing is in them any more
        node = storage.node(f"store:{uuid.uuid4().hex}")
        yield node
        node.delete()

    def test_a_folder_goes_there_and_back(self, storage: StorageManager, there: StorageNode) -> None:
        here = storage.node("home:from")
        here.copy_to(there)
        assert found(there) == FILES
        skipped: list[str] = []
        here.copy_to(there, skip="hash", on_skip=lambda node, reason: skipped.append(node.path))
        assert len(skipped) == len(FILES)
        there.move_to(storage.node("home:back"))
        assert found(storage.node("home:back")) == FILES
        assert found(there) == {}

    def test_a_folder_is_copied_within_the_bucket(self, storage: StorageManager, there: StorageNode) -> None:
        storage.node("home:from").copy_to(there.child("one"))
        there.child("one").copy_to(there.child("two"), include="0*")
        assert sorted(found(there.child("two"))) == [f"deep/{number:03}" for number in range(100)]
        with pytest.raises(ValueError, match="inside of the other"):
            there.child("one").move_to(there)

    def test_an_archive_is_streamed_there(self, storage: StorageManager, there: StorageNode) -> None:
        storage.node("home:from").copy_to(there.child("files"))
        archive = there.child("files").zip_to(there.child("archive.zip"))
        with zipfile.ZipFile(io.BytesIO(archive.read())) as opened:
            assert {name: opened.read(name) for name in opened.namelist()} == FILES
        several = storage.iternode(*there.child("files/deep").children(), there.child("files/large"))
        assert several.copy_to(there.child("all")).size() == sum(map(len, FILES.values()))

    def test_content_is_compared(self, storage: StorageManager, there: StorageNode) -> None:
        here = storage.node("home:from/large")
        here.copy_to(there)
        assert here.same_content(there)
        assert there.same_content(here)
        there.write(FILES["large"][:-1] + b"x")
        assert not here.same_content(there)

    def test_what_is_given_to_a_program_is_not_stored_over_what_somebody_else_has(self, there: StorageNode) -> None:
        there.write("one")
        with there.local_path("rw") as path:
            Path(path).write_text("two")
        with pytest.raises(PreconditionFailed, match="has changed|changed"), there.local_path("rw") as path:  # noqa: PT012 -- the block is what raises
            Path(path).write_text("mine")
            there.write("theirs")
        assert there.read() == b"theirs"


def test_errors_of_many_are_one(storage: StorageManager, hypha: FakeHypha) -> None:
    there = with_artifact(storage, hypha)
    hypha.fault_file("ws/a", "folder/deep/001", *[Status(403)] * 20)
    with pytest.raises(BatchError, match=r"1 of 201 items failed: home:from/deep/001: .*store:folder/deep/001"):
        storage.node("home:from").copy_to(there)
    assert len(found(there)) == len(FILES) - 1
