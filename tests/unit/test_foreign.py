"""Stores of fsspec's as a backend: what is made of their faults, and how their cloudpaths are read.

``troubled://`` is an implementation of this file, which stores what is written as it comes and fails as it is told.
The contract of backends is run in ``tests/contract``, by fsspec's memory, FTP and SFTP.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import pickle
import select
import socket
import tarfile
import threading
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

import pytest

fsspec = pytest.importorskip("fsspec")

from fsspec.registry import _registry, known_implementations  # noqa: E402 -- it has to be there

from cloudfiles_hypha import (  # noqa: E402
    AccessDenied,
    ArtifactFile,
    ArtifactFiles,
    IntegrityError,
    InvalidRequest,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    ReadOnly,
    RetryPolicy,
    TransferError,
    UntypedWarning,
)
from cloudfiles_hypha.backends import foreign, locate  # noqa: E402
from cloudfiles_hypha.filesystem.fsspec import HyphaFileSystem  # noqa: E402
from tests.support.fake_hypha import FakeHypha  # noqa: E402
from tests.support.ftp_server import PASSWORD, USER, ftp_server  # noqa: E402

QUICK = RetryPolicy(attempts=3, first=0.001, longest=0.002, elapsed=10)
Fault = Callable[[str], None]


class LibraryError(Exception):
    """What a library raises that has errors of its own."""


class NumberedError(OSError):
    """An error of the system's, of which only the number tells what it is."""


def fails(error: BaseException) -> Fault:
    def fault(path: str) -> None:
        raise error

    return fault


class Troubled(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """Files of the class; ``faults[operation]`` are met one by one by the calls of it that come."""

    protocol = "troubled"
    root_marker = "/"
    store: ClassVar[dict[str, bytes]] = {}
    faults: ClassVar[dict[str, list[Fault | None]]] = {}
    told: ClassVar[dict[str, Any]] = {}
    made: ClassVar[list[dict[str, Any]]] = []
    largest: ClassVar[int | None] = None  # what is behind so many bytes is dropped without a word

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.made.append(options)
        self._meet("connect", "")

    @classmethod
    def _meet(cls, operation: str, path: str) -> None:
        faults = cls.faults.get(operation, [])
        if faults and (fault := faults.pop(0)) is not None:
            fault(path)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("troubled://").strip("/")

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        self._meet("ls", path)
        below = f"{path.rstrip('/')}/"
        found = {}
        for name in self.store:
            if name.startswith(below):
                first, slash, _ = name[len(below) :].partition("/")
                found[first] = {"name": below + first, "type": "directory", "size": 0} if slash else self.info(name)
        if not found:
            raise FileNotFoundError(path)
        return [*found.values()]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self._meet("info", path)
        if path in self.store:
            return {"name": path, "type": "file", "size": len(self.store[path]), **self.told}
        if any(name.startswith(f"{path.rstrip('/')}/") for name in self.store):
            return {"name": path, "type": "directory", "size": 0}
        raise FileNotFoundError(path)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> io.BytesIO:
        self._meet("open", path)
        return _Reading(path) if "r" in mode else _Writing(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._meet("makedirs", path)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self._meet("mv", path2)
        self.store[path2] = self.store.pop(path1)

    def rm_file(self, path: str) -> None:
        self._meet("rm", path)
        del self.store[path]


class _Reading(io.BytesIO):
    def __init__(self, path: str) -> None:
        super().__init__(Troubled.store[path])
        self.path = path

    def read(self, size: int | None = -1) -> bytes:
        Troubled._meet("read", self.path)
        return super().read(size)


class _Writing(io.BytesIO):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        Troubled.store[path] = b""

    def write(self, block: Any) -> int:
        Troubled.store[self.path] = (Troubled.store[self.path] + bytes(block))[: Troubled.largest]
        Troubled._meet("write", self.path)
        return len(block)


@pytest.fixture
def store() -> Iterator[dict[str, bytes]]:
    fsspec.register_implementation("troubled", Troubled, clobber=True)
    for kept in (Troubled.store, Troubled.faults, Troubled.told):
        kept.clear()
    Troubled.made.clear()
    Troubled.largest = None
    yield Troubled.store
    _registry.pop("troubled")


@pytest.fixture
def cf(store: dict[str, bytes]) -> Iterator[ArtifactFiles]:
    with ArtifactFiles("troubled://f", retry=QUICK, num_threads=2) as cf:
        yield cf


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("b.txt", "bee")
        for number in range(200):
            file.writestr(f"in/{number}", str(number) * 1000)
    return path


# -- faults


@pytest.mark.parametrize(
    "error", [OSError("broke"), TimeoutError("slow"), EOFError("cut"), ConnectionResetError(), LibraryError("Oh")]
)
@pytest.mark.parametrize("operation", ["connect", "info", "open", "read"])
def test_what_may_pass_is_tried_again(
    store: dict[str, bytes], cf: ArtifactFiles, operation: str, error: Exception
) -> None:
    store["/f/a"] = b"content"
    Troubled.faults[operation] = [fails(error)]
    (result,) = cf.get(["a"])
    assert (result["content"], result["attempts"]) == (b"content", 2)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no"), InvalidRequest),
        (KeyError("no"), InvalidRequest),
        (PermissionError("no"), AccessDenied),
        (FileNotFoundError("no"), ObjectNotFound),
        (NotADirectoryError("no"), ObjectNotFound),
        (NotImplementedError("no"), InvalidRequest),
        (NumberedError(errno.ENOENT, "no"), ObjectNotFound),
        (NumberedError(errno.EACCES, "no"), AccessDenied),
    ],
)
def test_what_will_not_pass_is_told_at_once(
    store: dict[str, bytes], cf: ArtifactFiles, error: Exception, kind: type[TransferError]
) -> None:
    store["/f/a"] = b"content"
    Troubled.faults["info"] = [fails(error)]
    with pytest.raises(kind) as caught:
        cf.get("a")
    assert (caught.value.path, caught.value.attempts) == ("a", 1)


def test_after_an_error_the_connection_is_not_used_again(store: dict[str, bytes], cf: ArtifactFiles) -> None:
    store["/f/a"] = b"content"
    for _ in range(3):
        cf.get(["a"])
        cf.get(["missing"], raise_errors=False)
    assert len(Troubled.made) == 1
    Troubled.faults["read"] = [fails(OSError("broke"))]
    cf.get(["a"])
    assert len(Troubled.made) == 2


def test_what_cannot_be_listed_is_an_error_and_not_empty(store: dict[str, bytes], cf: ArtifactFiles) -> None:
    store["/f/a"] = store["/f/d/b"] = b""
    for good in (0, 1):  # fsspec's own ``find`` and ``walk`` would leave out the folder
        Troubled.faults["ls"] = [None] * good + [fails(OSError("broke"))] * 3
        with pytest.raises(TransferError, match="broke"):
            list(cf)
    Troubled.faults["ls"] = [fails(OSError("broke")), None, fails(OSError("broke"))]
    assert list(cf) == ["a", "d/b"]


def test_a_broken_write_leaves_what_was_there_and_nothing_else(store: dict[str, bytes], cf: ArtifactFiles) -> None:
    store["/f/a"] = b"old"
    Troubled.faults["write"] = [fails(OSError("broke"))] * 3
    with pytest.raises(TransferError, match="broke"):
        cf.put("a", b"new and longer")
    assert store == {"/f/a": b"old"}
    Troubled.faults["write"] = [fails(OSError("broke"))]
    assert cf.put("a", b"new")["attempts"] == 2
    assert store == {"/f/a": b"new"}


def test_a_store_that_drops_bytes_without_a_word_is_found_out(store: dict[str, bytes], cf: ArtifactFiles) -> None:
    store["/f/a"] = b"old"
    Troubled.largest = 5
    with pytest.raises(IntegrityError, match="10 bytes were sent, and the store has 5"):
        cf.put("a", b"0123456789")
    assert store == {"/f/a": b"old"}


def test_nobody_sees_a_file_under_its_name_before_it_is_whole(store: dict[str, bytes], cf: ArtifactFiles) -> None:
    store["/f/a"] = b"old"
    seen = []

    def look(path: str) -> None:
        seen.append((store["/f/a"], [*cf]))

    Troubled.faults["write"] = [look]
    cf.put("a", b"new")
    assert seen == [(b"old", ["a"])]
    assert store == {"/f/a": b"new"}


@pytest.mark.parametrize(
    "error", [FileExistsError("taken"), NumberedError(errno.EEXIST, "taken"), OSError("Failure"), ValueError("taken")]
)
def test_where_no_name_can_be_taken_over_the_old_file_makes_room(
    store: dict[str, bytes], cf: ArtifactFiles, error: Exception
) -> None:
    store["/f/a"] = b"old"
    Troubled.faults["mv"] = [fails(error)]
    cf.put("a", b"new")
    assert store == {"/f/a": b"new"}


@pytest.mark.parametrize("refused", [2, 3])
def test_where_nothing_can_be_renamed_the_old_file_stays(
    store: dict[str, bytes], cf: ArtifactFiles, refused: int
) -> None:
    store["/f/a"] = b"old"
    taken = fails(FileExistsError("taken"))
    Troubled.faults["mv"] = [taken, taken] if refused == 2 else [taken, None, taken]
    with pytest.raises(InvalidRequest):
        cf.put("a", b"new")
    assert store == {"/f/a": b"old"}


def test_where_even_the_old_name_cannot_be_given_back_both_files_are_named(
    store: dict[str, bytes], cf: ArtifactFiles
) -> None:
    store["/f/a"] = b"old"
    taken = fails(FileExistsError("taken"))
    Troubled.faults["mv"] = [taken, None, taken, taken]
    with pytest.raises(TransferError, match=r"the file that was there is now '(\S+)', the new one '(\S+)'") as caught:
        cf.put("a", b"new")
    assert sorted(store.values()) == [b"new", b"old"]
    assert all(name.removeprefix("/f/") in str(caught.value) for name in store)


def test_a_folder_of_that_name_is_not_written_over(store: dict[str, bytes], cf: ArtifactFiles) -> None:
    store["/f/a/b"] = b""
    Troubled.faults["mv"] = [fails(OSError("Failure"))]
    with pytest.raises(InvalidRequest, match="a folder of this name"):
        cf.put("a", b"new")
    assert store == {"/f/a/b": b""}


def test_a_body_that_fails_leaves_nothing(store: dict[str, bytes], cf: ArtifactFiles) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"first"
        raise LibraryError("no more")

    with pytest.raises(LibraryError):
        cf.put("a", blocks())
    assert store == {}


def test_a_name_with_signs_of_a_glob_is_that_name(store: dict[str, bytes], cf: ArtifactFiles) -> None:
    store.update({"/f/a": b"", "/f/b": b"", "/f/[ab]": b"", "/f/*": b""})
    cf.delete(["[ab]", "*"])
    assert sorted(store) == ["/f/a", "/f/b"]


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_one(
    store: dict[str, bytes], cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "_PIECE", 4)
    store["/f/a"] = b"0123456789"

    def change(path: str) -> None:
        Troubled.told["mtime"] = Troubled.told.get("mtime", 0.0) + 1

    Troubled.faults["read"] = [change] * 3
    with pytest.raises(IntegrityError, match="written to while it was read"):
        cf.get("a")
    blocks: list[bytes] = []

    class Sink:
        def begin(self, info: Any, start: int, end: int | None) -> None:
            assert (start, end) == (1, 10)

        def write(self, block: bytes) -> None:
            blocks.append(block)

    Troubled.faults["read"] = [None, change]
    with pytest.raises(PreconditionFailed, match="written to while it was read"):  # what came cannot be taken back
        cf._backend.get(foreign.GetRequest("f/a", 1), None, Sink())
    assert blocks == [b"1234", b"5678", b"9"]


def test_what_a_write_cannot_keep_is_said_once(store: dict[str, bytes], cf: ArtifactFiles) -> None:
    cf.put("a.json", b"{}", content_type="application/json")  # which the name says as well
    with pytest.warns(UntypedWarning, match="troubled:// keeps none"):
        cf.put("a", b"", content_type="text/x-odd")
    with pytest.raises(ValueError, match="keeps no Content-Encoding"):
        cf.put("a", b"", compress="gzip")


# -- what is known of a file


@pytest.mark.parametrize(
    ("told", "etag", "modified"),
    [
        ({"mtime": 1.5}, None, 1.5),
        ({"mtime": datetime(1970, 1, 1, 1, tzinfo=timezone.utc)}, None, 3600.0),
        ({"LastModified": "1970-01-01T00:01:00Z"}, None, 60.0),
        ({"modify": "19700101000002.5"}, None, 2.0),
        ({"modified": "Nov 22 01:59"}, None, None),
        ({"ETag": '"abc"', "created": 7}, "abc", 7.0),
        ({"sha": "f00"}, "f00", None),
        ({"mode": "100644", "ino": 7}, None, None),
    ],
)
def test_times_and_etags_are_read_from_where_implementations_have_them(
    store: dict[str, bytes], cf: ArtifactFiles, told: dict[str, Any], etag: str | None, modified: float | None
) -> None:
    store["/f/a.txt"] = b"12345"
    Troubled.told.update(told)
    info = cf.head("a.txt")
    assert (info.size, info.etag, info.last_modified, info.content_type) == (5, etag, modified, "text/plain")
    (listed,) = cf.scan()
    assert (listed.size, listed.etag, listed.last_modified) == (5, etag, modified)


def test_what_is_here_already_is_not_read_again_and_what_has_changed_is_not_mixed(
    store: dict[str, bytes], cf: ArtifactFiles
) -> None:
    store["/f/a"] = b"12345"
    backend = cf._backend
    request = foreign.GetRequest("f/a", pinned="old")
    with pytest.raises(PreconditionFailed):
        backend.get(request, None)
    Troubled.told.update(etag="new", mtime=5.0)
    for known in (request._replace(pinned=None, known=("new",)), request._replace(pinned=None, since=5.0)):
        with pytest.raises(NotModified):
            backend.get(known, None)
    assert backend.get(request._replace(pinned="new"), None).content == b"12345"


# -- connections


def test_each_worker_has_a_connection_of_its_own_and_they_are_used_again(
    store: dict[str, bytes], cf: ArtifactFiles
) -> None:
    store.update({f"/f/{number}": b"" for number in range(50)})
    cf.get(map(str, range(50)))
    assert 1 <= len(Troubled.made) <= 2
    assert all(options.get("skip_instance_cache") is None for options in Troubled.made)


def test_what_runs_in_fsspecs_own_loop_is_shared(store: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    for asynchronous in (False, True):
        monkeypatch.setattr(Troubled, "async_impl", asynchronous)
        instances = foreign._Instances(Troubled, Troubled)
        monkeypatch.setattr(Troubled, "cachable", False)  # else fsspec itself has but one for each thread
        assert (instances.take() is instances.take()) == asynchronous


def test_a_forked_process_takes_no_connection_of_its_parent(
    store: dict[str, bytes], cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    store["/f/a"] = b"content"
    cf.get(["a"])
    child = os.getpid() + 1
    monkeypatch.setattr(foreign.os, "getpid", lambda: child)
    assert cf.get(["a"])[0]["content"] == b"content"
    assert len(Troubled.made) == 2


def test_storage_options_reach_the_implementation_and_nobody_else(store: dict[str, bytes], tmp_path: Path) -> None:
    options = {"colour": "red", "password": "top-secret"}
    Troubled.faults["info"] = [fails(OSError("no luck with top-secret at troubled://me:hidden@host"))]
    store["/f/a"] = b"content"
    with ArtifactFiles("troubled://f", secrets=options, retry=RetryPolicy(attempts=1)) as cf:
        with pytest.raises(TransferError) as caught:
            cf.get("a")
        told = "".join(traceback.format_exception(caught.value)) + repr(cf) + repr(cf._location) + cf.address("a")
        assert "no luck" in told
        assert "top-secret" not in told
        assert "hidden" not in told
        with pickle.loads(pickle.dumps(cf)) as copy:
            assert copy.get("a") == b"content"
    assert Troubled.made == [options] * len(Troubled.made)
    (tmp_path / "options.json").write_text('{"colour": "blue"}')
    with ArtifactFiles("troubled://f", secrets=tmp_path / "options.json") as cf:
        cf.get("a")
    assert Troubled.made[-1] == {"colour": "blue"}
    (tmp_path / "options.json").write_text("[]")
    with pytest.raises(ValueError, match="not JSON with the storage options"):
        ArtifactFiles("troubled://f", secrets=tmp_path / "options.json")


def test_options_that_an_implementation_does_not_take_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="storage options that ftp:// does not take, or lacks"):
        ArtifactFiles("ftp:///folder").get("a")
    with pytest.raises(ValueError, match="global_store"):
        ArtifactFiles("memory://a", secrets={"global_store": False})


# -- cloudpaths


@pytest.mark.parametrize(
    ("text", "root", "prefix"),
    [
        ("ftp://host", "ftp://host", ""),
        ("ftp://host:21/a/b/", "ftp://host:21", "a/b/"),
        ("ftp://me@host/a", "ftp://me@host", "a/"),
        ("ftp://me:pass@host/a", "ftp://me@host", "a/"),
        ("memory://a/b", "memory://", "a/b/"),
        ("memory:///a/b", "memory://", "a/b/"),
        ("zip://::/x/a.zip", "zip://::/x/a.zip", ""),
        ("zip://in/side::s3://bucket/a.zip", "zip://::s3://bucket/a.zip", "in/side/"),
        ("zip://::https://me:pw@host/a.zip?sig=1", "zip://::https://host/a.zip", ""),
    ],
)
def test_a_cloudpath_is_taken_apart_without_its_secrets(text: str, root: str, prefix: str) -> None:
    location = locate(text)
    assert (location.root, location.prefix) == (root, prefix)
    assert "pass" not in repr(location)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://host/a?b", "cannot be in it"),
        ("ftp://me:pass/word@host/a", r"^ftp://\.\.\.: fsspec cannot read this cloudpath"),
        ("ftp://host/a/../b", "must not contain"),
        ("zip:///x/a.zip", "which archive"),
        ("zip://in::", "what comes after '::' is missing"),
        ("zip://../in::/x/a.zip", "must not contain"),
        ("data://text", "unknown scheme"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        locate(text)


def test_where_the_package_of_an_implementation_is_missing_it_is_named() -> None:
    fsspec.register_implementation("lacking", "a_package_that_is_not_there.Files", errtxt="Install lacking-fs")
    try:
        with pytest.raises(ImportError, match="fsspec needs another package for lacking://: Install lacking-fs"):
            ArtifactFiles("lacking://host/a")
    finally:
        known_implementations.pop("lacking")


# -- archives


def test_the_members_of_an_archive_are_files(archive: Path) -> None:
    with ArtifactFiles(f"zip://::{archive}", num_threads=8) as cf:
        assert sorted(cf) == sorted(["b.txt", *(f"in/{number}" for number in range(200))])
        assert sorted(cf.list(flat=True)) == ["b.txt", "in/"]
        results = cf.get(f"in/{number}" for number in range(200))
        assert [result["content"] for result in results] == [str(number).encode() * 1000 for number in range(200)]
        assert cf["b.txt", 1:2] == b"e"
        with pytest.raises(ReadOnly):
            cf.put("c", b"")
        with pytest.raises(ReadOnly):
            cf.delete("b.txt")
        with pytest.raises(ObjectNotFound):
            cf.get("in")
    with ArtifactFiles(f"zip://in::{archive}") as cf:
        assert cf.get("7") == b"7" * 1000
    with ArtifactFile(f"zip://in/7::{archive}") as file:
        assert file.get() == b"7" * 1000
    with ArtifactFile(f"zip://b.txt::{archive}") as file:
        assert file.get() == b"bee"


def test_an_archive_is_unpacked_by_a_download_and_may_be_anywhere(archive: Path, tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/archives/a.zip", archive.read_bytes())
    with ArtifactFiles("zip://::memory://archives/a.zip") as cf:
        cf.download("in/", tmp_path / "to")
        assert (tmp_path / "to" / "199").read_bytes() == b"199" * 1000
        assert len([*(tmp_path / "to").iterdir()]) == 200
        target = ArtifactFiles("mem://unpacked")
        target.transfer_from(cf, ["b.txt"])
        assert target.get("b.txt") == b"bee"
    fsspec.filesystem("memory").rm_file("/archives/a.zip")


def test_a_large_member_goes_to_disk_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_PIECE", 1 << 16)
    content = os.urandom(1 << 20)
    (tmp_path / "large").write_bytes(content)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "large", "large")
    with ArtifactFiles(f"tar://::{tmp_path}/a.tar") as cf:
        cf.download("large", tmp_path / "to")
    assert (tmp_path / "to").read_bytes() == content


def test_an_archive_may_be_in_an_artifact(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHypha(token=None, workspace="demo") as server:
        monkeypatch.setenv("HYPHA_SERVER_URL", server.url)
        ArtifactFiles("hypha://demo/data", create=True).put("a.zip", archive.read_bytes())
        with ArtifactFiles("zip://in::hypha://demo/data/a.zip", num_threads=2) as cf:
            assert cf.get(["7", "8"], return_dict=True) == {"7": b"7" * 1000, "8": b"8" * 1000}
        HyphaFileSystem.clear_instance_cache()


def test_an_archive_whose_place_broke_is_opened_again(store: dict[str, bytes], archive: Path) -> None:
    store["/a.zip"] = archive.read_bytes()
    with ArtifactFiles("zip://::troubled://a.zip", retry=QUICK) as cf:
        assert cf.get("b.txt") == b"bee"
        Troubled.faults["read"] = [fails(OSError("broke"))]
        assert cf.get(["in/7"])[0]["attempts"] == 2
        Troubled.faults["open"] = [fails(OSError("only an archive that is opened again meets this"))]
        Troubled.faults["read"] = [fails(OSError("broke"))]
        assert cf.get(["in/7"])[0]["attempts"] == 3


def test_the_readers_of_an_archive_take_turns(store: dict[str, bytes], tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:  # tarfile's members share one position in the file
        for number in range(4):
            (tmp_path / "member").write_bytes(bytes([number]) * 20_000)
            tar.add(tmp_path / "member", str(number))
    store["/a.tar"] = (tmp_path / "a.tar").read_bytes()
    inside: list[int] = []
    most: list[int] = []

    def look(path: str) -> None:
        inside.append(threading.get_ident())
        time.sleep(0.005)
        most.append(len(set(inside)))
        inside.pop()

    with ArtifactFiles("tar://::troubled://a.tar", num_threads=0) as cf:
        assert len([*cf]) == 4
        Troubled.faults["read"] = [look] * 1000
        threads = [threading.Thread(target=cf.get, args=(str(number),)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(most) >= 4
    assert set(most) == {1}


def test_an_archive_with_names_that_lead_out_of_it_is_not_listed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("../outside", "")
    with ArtifactFiles(f"zip://::{tmp_path}/a.zip") as cf, pytest.raises(TransferError, match="cannot be listed"):
        list(cf)


@pytest.mark.parametrize("names", [["/a/b", "c"], ["a//b", "c"], ["a", "a/b"], ["a/b", "a"]])
def test_an_archive_of_which_members_would_be_left_out_is_not_listed(tmp_path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in names:
            file.writestr(name, name)
    with ArtifactFiles(f"zip://::{tmp_path}/a.zip") as cf:
        with pytest.raises(TransferError, match="cannot be listed"):
            list(cf)
        assert cf.get(names[1]) == names[1].encode() or "//" in names[0]


def test_an_archive_that_is_broken_is_so_at_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as file:
        file.writestr("a", b"0123456789")
    whole = (tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-10])
    (tmp_path / "other.zip").write_bytes(whole.replace(b"0123456789", b"0123456780"))
    (tmp_path / "no.tar").write_bytes(b"no archive" * 100)
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(os.urandom(10_000))[:5_000])
    for archive in ("zip://::cut.zip", "zip://::other.zip", "tar://::no.tar", "tar://::cut.tar.gz"):
        cf = ArtifactFiles(archive.replace("::", f"::{tmp_path}/"), retry=RetryPolicy(attempts=1))
        with cf, pytest.raises(TransferError, match="the archive is broken") as caught:
            cf.get("a")
        assert not caught.value.retryable


def test_a_link_to_nothing_in_an_archive_is_no_empty_file(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.addfile(tarfile.TarInfo("empty"))
        for name, target in (("to-empty", "empty"), ("out", "/etc/hostname")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            file.addfile(link)
    with ArtifactFiles(f"tar://::{tmp_path}/a.tar") as cf:
        assert cf.get("to-empty") == b""
        with pytest.raises(TransferError, match="not found"):
            cf.get("out")


# -- a real protocol


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("pyftpdlib")
    (tmp_path / "ftp").mkdir()
    return tmp_path / "ftp"


def test_a_wrong_password_is_told_and_not_shown(folder: Path) -> None:
    with ftp_server(folder) as port, ArtifactFiles(f"ftp://{USER}:not-this@127.0.0.1:{port}") as cf:
        with pytest.raises(AccessDenied) as caught:
            cf.get("a")
        assert "not-this" not in "".join(traceback.format_exception(caught.value)) + repr(cf) + repr(cf._location)


def test_a_server_that_is_not_there_is_one_that_nobody_was_connected_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with ArtifactFiles(f"ftp://127.0.0.1:{port}", retry=RetryPolicy(attempts=1)) as cf:
        with pytest.raises(TransferError) as caught:
            cf.get("a")
        assert not caught.value.connected  # so the command line waits for it no longer than for any other


def test_a_server_that_lets_nobody_read_denies_access(folder: Path) -> None:
    (folder / "a").write_bytes(b"content")
    access = {"username": USER, "password": PASSWORD}
    with (
        ftp_server(folder, may="el") as port,
        ArtifactFiles(f"ftp://127.0.0.1:{port}", secrets=access) as cf,
        pytest.raises(AccessDenied),  # for fsspec it is not there
    ):
        cf.get("a")


def test_a_server_that_lets_nobody_write_denies_access_at_once(folder: Path) -> None:
    (folder / "a").write_bytes(b"content")
    access = {"username": USER, "password": PASSWORD}
    with ftp_server(folder, may="elr") as port, ArtifactFiles(f"ftp://127.0.0.1:{port}", secrets=access) as cf:
        assert cf.get("a") == b"content"
        for write in (lambda: cf.put("b", b""), lambda: cf.put("d/b", b""), lambda: cf.delete("a")):
            with pytest.raises(AccessDenied) as caught:
                write()
            assert caught.value.attempts == 1
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_a_connection_that_the_server_has_ended_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a").write_bytes(b"content")
    access = {"username": USER, "password": PASSWORD}
    with (
        ftp_server(folder, patience=0.2) as port,
        ArtifactFiles(f"ftp://127.0.0.1:{port}", secrets=access) as cf,
    ):
        assert cf.get("a") == b"content"
        backend = cf._backend
        assert isinstance(backend, foreign.ForeignBackend)
        ((files, _),) = backend._instances._idle
        monkeypatch.setattr(foreign, "_FRESH", 0.0)
        assert select.select([files.ftp.sock], [], [], 10)[0]  # the server's farewell, which fsspec reads as "empty"
        assert [*cf] == ["a"]


def test_several_processes_share_the_work(folder: Path) -> None:
    files = {f"d/{number}": b"%d" % number for number in range(40)}
    with ftp_server(folder) as port, ArtifactFiles(f"ftp://{USER}:{PASSWORD}@127.0.0.1:{port}", num_threads=2) as cf:
        cf.puts(files.items(), parallel=2)
        assert cf.get([*files], return_dict=True, parallel=2) == files


def test_folders_go_up_and_down_and_files_are_opened(folder: Path, tmp_path: Path) -> None:
    content = os.urandom(9 << 20)  # more than one piece
    (tmp_path / "from" / "d").mkdir(parents=True)
    (tmp_path / "from" / "large").write_bytes(content)
    (tmp_path / "from" / "d" / "a").write_bytes(b"a")
    access = {"username": USER, "password": PASSWORD}
    with ftp_server(folder) as port, ArtifactFiles(f"ftp://127.0.0.1:{port}/up", secrets=access, num_threads=3) as cf:
        cf.upload(tmp_path / "from")
        assert {path.name for path in (folder / "up").rglob("*")} == {"d", "a", "large"}
        cf.download("", tmp_path / "to")
        with cf.open("large") as file:
            file.seek(5 << 20)
            assert file.read(100) == content[5 << 20 : (5 << 20) + 100]
        with cf.open("streamed", "wb") as out:
            for _ in range(10):
                out.write(bytes(1 << 20))
        assert cf.size("streamed") == 10 << 20
    assert (tmp_path / "to" / "large").read_bytes() == content
    assert (tmp_path / "to" / "d" / "a").read_bytes() == b"a"
