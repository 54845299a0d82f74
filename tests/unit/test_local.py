"""Local folders: writes are atomic, reads are of one version, links do not lead out, and what fails says so."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    AccessDenied,
    ArtifactFiles,
    BatchError,
    IntegrityError,
    InvalidRequest,
    ObjectNotFound,
    PreconditionFailed,
    RetryPolicy,
    TransferError,
    TransferTimeout,
    UntypedWarning,
    sync,
)
from cloudfiles_hypha.backends import local, locate
from cloudfiles_hypha.backends.local import FileLocation, guess_type
from cloudfiles_hypha.content.codecs import CODECS, SUFFIXES, compress, decompress
from cloudfiles_hypha.disk import folder as disk_folder
from cloudfiles_hypha.models import GetRequest

MIB = 1024 * 1024
QUICK = RetryPolicy(attempts=3, first=0.001, longest=0.002, elapsed=5)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def opened(store: Path, **options: Any) -> ArtifactFiles:
    return ArtifactFiles(f"file://{store}", **{"retry": QUICK, "num_threads": 4, **options})


@pytest.fixture
def cf(store: Path) -> Iterator[ArtifactFiles]:
    with opened(store) as cf:
        yield cf


@pytest.fixture(params=["unnamed", "named", "by path"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How files are written: on a system with all there is, without unnamed files, without descriptors of folders."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif request.param == "by path":
        monkeypatch.setattr(disk_folder, "_TELLS", False)
    return str(request.param)


# -- cloudpaths


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("file:///a/b", "/a/b"),
        ("file:///a/b/", "/a/b"),
        ("file:////a//b", "/a/b"),
        ("file:///", "/"),
        ("/a/b", "/a/b"),
        ("file:///100%/a#b?c d", "/100%/a#b?c d"),
        (".", "{cwd}"),
        ("./", "{cwd}"),
        ("./a", "{cwd}/a"),
        ("file://./a", "{cwd}/a"),
        ("..", "{above}"),
        ("../a", "{above}/a"),
        (".././a", "{above}/a"),
        ("~", "{home}"),
        ("~/a", "{home}/a"),
        ("file://~/a", "{home}/a"),
        ("./x://y", "{cwd}/x:/y"),
    ],
)
def test_a_local_path_says_which_folder(
    text: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    folder = folder.format(cwd=tmp_path, above=tmp_path.parent, home="/home/me")
    assert locate(text) == FileLocation(scheme="file", root=f"file://{folder}", folder=folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file://folder/a", "which folder is meant"),
        ("file://", "which folder is meant"),
        ("file://localhost/a", "which folder is meant"),
        ("~nobody-of-this-name/a", "no home folder"),
        ("/a/../b", "'..'"),
        ("./a/..", "'..'"),
        ("/a\0b", "control characters"),
        ("C:\\folder", "path of Windows"),
        ("C:/folder", "path of Windows"),
        (".\\folder", "path of Windows"),
    ],
)
def test_what_could_mean_another_folder_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ArtifactFiles(text)


def test_what_has_no_scheme_and_begins_otherwise_is_still_hypha() -> None:
    assert locate("workspace/alias").scheme == "hypha"


def test_a_relative_folder_stays_what_it_was_also_in_a_pickled_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with ArtifactFiles("./store") as cf:
        monkeypatch.chdir("/")
        cf.put("a", b"1")
        with pickle.loads(pickle.dumps(cf)) as copy:
            assert copy.get("a") == b"1"
    assert (tmp_path / "store/a").read_bytes() == b"1"


# -- writing


def test_a_write_takes_the_place_of_the_file_and_of_no_more(store: Path, cf: ArtifactFiles, way: str) -> None:
    (store / "a").write_bytes(b"old")
    other = store / "hard"
    os.link(store / "a", other)
    stored = cf.put("a", b"new")
    assert cf.get("a") == b"new"
    assert other.read_bytes() == b"old"
    assert stored["etag"] == cf.head("a").etag
    assert sorted(os.listdir(store)) == ["a", "hard"]


def test_modes_are_kept_and_new_files_have_the_mask_of_the_user(store: Path, cf: ArtifactFiles, way: str) -> None:
    for mode in (0o600, 0o666, 0o755):
        (store / "a").write_bytes(b"old")
        (store / "a").chmod(mode)
        cf.put("a", b"new")
        assert stat.S_IMODE((store / "a").stat().st_mode) == mode
    before = os.umask(0o027)
    try:
        cf.put("b", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((store / "b").stat().st_mode) == 0o640


def test_a_link_is_replaced_and_not_followed(store: Path, tmp_path: Path, cf: ArtifactFiles, way: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (store / "a").symlink_to(outside)
    cf.put("a", b"new")
    assert outside.read_bytes() == b"precious"
    assert not (store / "a").is_symlink()
    (store / "a").unlink()
    (store / "a").symlink_to(outside)
    cf.delete("a")
    assert outside.read_bytes() == b"precious"
    assert not os.path.lexists(store / "a")


CHILD = """
import sys, itertools
from cloudfiles_hypha import ArtifactFiles
with ArtifactFiles(sys.argv[1], num_threads=0) as cf:
    for number in itertools.count():
        cf.put("a", bytes([number % 251]) * 4_000_000)
        if number == 1:
            print("begun", flush=True)
"""


def test_a_writer_that_is_killed_leaves_the_file_whole(store: Path, cf: ArtifactFiles) -> None:
    for pause in (0.0, 0.003, 0.011, 0.02):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(cf.cloudpath)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child.stdout:
            assert child.stdout.readline() == b"begun\n"
        time.sleep(pause)
        child.kill()
        assert child.wait() == -signal.SIGKILL
        content = cf.get("a")
        assert len(content) == 4_000_000
        assert len(set(content)) == 1
        assert list(cf) == ["a"]


def test_readers_and_writers_at_once_see_whole_files_only(store: Path, cf: ArtifactFiles, way: str) -> None:
    cf.put("a", bytes(100_000))
    ended = threading.Event()
    seen: set[bytes] = set()

    def write(byte: int) -> None:
        while not ended.is_set():
            cf.put("a", bytes([byte]) * (100_000 + byte))

    threads = [threading.Thread(target=write, args=(byte,)) for byte in (1, 2, 3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            content = cf.get("a")
            assert len(content) == 100_000 + content[0]
            assert len(set(content)) == 1
            seen.add(content[:1])
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(seen) > 1
    assert os.listdir(store) == ["a"]


def test_a_full_disk_is_an_error_and_leaves_what_was_there(
    store: Path, tmp_path: Path, cf: ArtifactFiles, way: str
) -> None:
    cf.put("a", b"old")
    source = tmp_path / "source"
    source.write_bytes(bytes(2 * MIB))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limits[1]))
    try:
        for content in (bytes(2 * MIB), source):
            with pytest.raises(TransferError, match=r"^a: the file system failed: File too large") as caught:
                cf.put("a", content)
            assert caught.value.errno == errno.EFBIG
            assert not caught.value.retryable
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cf.get("a") == b"old"
    assert os.listdir(store) == ["a"]


def test_a_source_that_shrinks_or_changes_is_its_own_error_and_nothing_is_replaced(
    store: Path, tmp_path: Path, cf: ArtifactFiles
) -> None:
    cf.put("a", b"old")
    source = tmp_path / "source"
    source.write_bytes(bytes(1000))

    def files() -> Iterator[tuple[str, Path]]:
        yield "a", source

    real = disk_folder.Draft.copy

    def copy(self: disk_folder.Draft, descriptor: int, size: int) -> None:
        os.truncate(source, 500)
        real(self, descriptor, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk_folder.Draft, "copy", copy)
        (result,) = cf.puts(files(), raise_errors=False)
        assert "shorter than when it was measured" in str(result["error"])

        def touch(self: disk_folder.Draft, descriptor: int, size: int) -> None:
            real(self, descriptor, size)
            os.utime(source, (1, 1))

        patch.setattr(disk_folder.Draft, "copy", touch)
        (result,) = cf.puts(files(), raise_errors=False)
        assert "has changed while it was uploaded" in str(result["error"])
    assert cf.get("a") == b"old"
    assert os.listdir(store) == ["a"]


def test_a_large_file_is_copied_by_the_system_where_it_can_and_else_by_us(
    store: Path, tmp_path: Path, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(3 * MIB + 17)
    source = tmp_path / "source"
    source.write_bytes(content)
    cf.put("a", source)

    def refuse(*args: object) -> int:
        raise OSError(errno.EXDEV, "not between these")

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    cf.put("b", source)
    assert cf.get(["a", "b"], return_dict=True) == {"a": content, "b": content}


def test_what_is_in_the_way_is_said(store: Path, cf: ArtifactFiles, way: str) -> None:
    cf.put("dir/a", b"1")
    with pytest.raises(InvalidRequest, match=r"^dir: there is a folder of this name"):
        cf.put("dir", b"2")
    with pytest.raises(InvalidRequest, match=r"^dir/a/b: a part of this path is a file"):
        cf.put("dir/a/b", b"2")
    with pytest.raises(InvalidRequest, match="longer than the file system allows"):
        cf.put("x" * 300, b"2")
    assert cf.exists("x" * 300) is False
    assert list(cf) == ["dir/a"]


def test_deleting_a_folder_or_below_a_file_deletes_nothing(store: Path, cf: ArtifactFiles, way: str) -> None:
    cf.put("dir/a", b"1")
    cf.delete(["dir", "dir/a/b", "no/such"])
    assert list(cf) == ["dir/a"]
    cf.delete("dir/a")
    assert (store / "dir").is_dir()  # as cloud-files leaves it
    assert list(cf) == []


# -- names


@pytest.mark.parametrize("name", ["CON", "dir/aux.txt", "c:x", "nul.tar.gz"])
def test_names_that_other_systems_cannot_hold_are_refused_with_a_way_out(store: Path, name: str) -> None:
    with opened(store) as cf, pytest.raises(InvalidRequest, match="unless windows_names=True"):
        cf.put(name, b"")
    with opened(store, windows_names=True) as cf:
        cf.put(name, b"1")
        assert pickle.loads(pickle.dumps(cf)).get(name) == b"1"
    with opened(store) as cf:
        assert cf.get(name) == b"1"  # what is there is read


def test_names_of_temporary_files_are_refused_and_never_listed(store: Path, cf: ArtifactFiles) -> None:
    left = f".cloudfiles-{'0' * 16}.part"
    (store / left).write_bytes(b"left by somebody who was killed")
    with pytest.raises(InvalidRequest, match="temporary files"):
        cf.put(left, b"")
    assert list(cf) == []
    assert list(cf.list(flat=True)) == []


def test_composed_and_decomposed_names_are_two_files(cf: ArtifactFiles) -> None:
    names = [unicodedata.normalize(form, "é/ü") for form in ("NFC", "NFD")]
    cf.puts([(name, name.encode()) for name in names])
    assert sorted(cf) == sorted(names)
    assert cf.get(names, return_dict=True) == {name: name.encode() for name in names}


# -- reading


def test_a_file_that_is_written_to_while_it_is_read_is_an_error_and_no_mixture(
    store: Path, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store / "a"
    file.write_bytes(b"x" * 100)
    real = os.read
    changes = 0

    def read(descriptor: int, size: int) -> bytes:
        nonlocal changes
        if os.readlink(f"/proc/self/fd/{descriptor}") != str(file):
            return real(descriptor, size)
        block = real(descriptor, min(size, 50))
        if changes:
            changes -= 1
            with file.open("r+b") as other:
                other.write(b"y" * 100)
                os.utime(other.fileno(), ns=(changes, changes))  # the clock of a file system is coarse
        return block

    monkeypatch.setattr(local.os, "read", read)
    changes = 1
    assert cf.get("a") == b"y" * 100  # read once more
    file.write_bytes(b"x" * 100)
    changes = 1000
    with pytest.raises(IntegrityError, match="written to while it was read"):
        cf.get("a")
    file.write_bytes(b"x" * 100)
    changes = 1000
    with pytest.raises(PreconditionFailed, match="written to while it was read"):
        cf.get({"path": "a", "into": bytearray(100)})


def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    store: Path, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store / "a"
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(file):
            os.truncate(file, 3)
        return real(descriptor, size)

    monkeypatch.setattr(local.os, "read", read)
    file.write_bytes(b"x" * 100)
    with pytest.raises(PreconditionFailed):
        cf.get({"path": "a", "into": bytearray(100)})


def test_a_file_that_was_replaced_is_read_as_it_was_opened(
    store: Path, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store / "a"
    file.write_bytes(b"x" * 100)
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(file):
            cf.put("a", b"y" * 50)
        return real(descriptor, size)

    monkeypatch.setattr(local.os, "read", read)
    assert cf.get("a") == b"x" * 100


def test_a_pinned_read_notices_another_version(store: Path, cf: ArtifactFiles) -> None:
    first = cf.put("a", b"1")["etag"]
    backend = cf._backend
    assert backend.get(GetRequest("a", pinned=first), None).content == b"1"
    assert cf.put("a", b"2")["etag"] != first
    with pytest.raises(PreconditionFailed):
        backend.get(GetRequest("a", pinned=first), None)


def test_a_download_in_parts_is_of_one_version(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = os.urandom(6 * MIB), os.urandom(6 * MIB)
    (store / "a").write_bytes(old)
    real = os.read
    reads = 0

    def read(descriptor: int, size: int) -> bytes:
        nonlocal reads
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(store / "a"):
            reads += 1
            if reads == 3:
                (store / "b").write_bytes(new)
                os.replace(store / "b", store / "a")
        return real(descriptor, size)

    monkeypatch.setattr(local.os, "read", read)
    with opened(store, num_threads=1) as cf:
        cf.download("a", tmp_path / "target", part_size=MIB)
    assert (tmp_path / "target").read_bytes() == new
    assert reads == 3 + 6


def test_what_is_no_regular_file_is_not_there(store: Path, cf: ArtifactFiles) -> None:
    os.mkfifo(store / "pipe")
    (store / "dir").mkdir()
    (store / "nowhere").symlink_to("missing")
    (store / "round").symlink_to("round")
    names = ["pipe", "dir", "nowhere"]
    assert cf.exists(names) == dict.fromkeys(names, False)
    for name in names:
        with pytest.raises(ObjectNotFound):
            cf.get(name)
    assert list(cf) == []


# -- links


def test_links_that_stay_inside_are_followed(store: Path, cf: ArtifactFiles, way: str) -> None:
    cf.put("real/a", b"1")
    (store / "link").symlink_to("real")
    (store / "file").symlink_to("real/a")
    assert cf.get(["link/a", "file"], return_dict=True) == {"link/a": b"1", "file": b"1"}
    assert list(cf) == ["file", "link/a", "real/a"]
    cf.put("link/b", b"2")
    assert (store / "real/b").read_bytes() == b"2"


def test_links_that_lead_out_are_refused(store: Path, tmp_path: Path, cf: ArtifactFiles, way: str) -> None:
    outside = tmp_path / "store-outside"  # begins like the folder itself
    outside.mkdir()
    (outside / "a").write_bytes(b"precious")
    (store / "dir").symlink_to(outside)
    (store / "file").symlink_to(outside / "a")
    for refused in (
        lambda: cf.get("file"),
        lambda: cf.get("dir/a"),
        lambda: cf.head("dir/a"),
        lambda: cf.exists("dir/a"),
        lambda: cf.put("dir/a", b""),
        lambda: cf.put("dir/b/c", b""),
        lambda: cf.delete("dir/a"),
        lambda: list(cf),
        lambda: list(cf.list("dir/")),
    ):
        with pytest.raises(AccessDenied, match="leads out of"):
            refused()
    assert os.listdir(outside) == ["a"]
    assert (outside / "a").read_bytes() == b"precious"
    assert list(cf.list(flat=True)) == ["dir/", "file"]


def test_a_folder_that_is_a_link_itself_may_lead_anywhere_and_elsewhere_later(tmp_path: Path, way: str) -> None:
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(name.encode())
    (tmp_path / "current").symlink_to("v1")
    with opened(tmp_path / "current") as cf:
        assert cf.get("a") == b"v1"
        (tmp_path / "current").unlink()
        (tmp_path / "current").symlink_to("v2")
        assert cf.get("a") == b"v2"
        cf.put("b", b"")
    assert (tmp_path / "v2/b").exists()


def test_a_link_in_a_circle_ends_a_listing_with_an_error(store: Path, cf: ArtifactFiles) -> None:
    cf.put("a/b", b"")
    (store / "a/up").symlink_to("..")
    with pytest.raises(TransferError, match="leads back"):
        list(cf)
    assert list(cf.list("a/", flat=True)) == ["a/b", "a/up/"]


# -- listing


def test_names_are_in_the_order_of_their_characters_also_across_folders(cf: ArtifactFiles) -> None:
    names = ["b/1", "b!", "b0", "b/2/x", "b-/y", "a", "Z", "é", "b/10"]
    cf.puts([(name, b"") for name in names])
    assert list(cf) == sorted(names)
    assert list(cf.list("b", flat=True)) == sorted(["b!", "b-/", "b/", "b0"])


def test_a_folder_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    with opened(tmp_path / "missing") as cf:
        with pytest.raises(ObjectNotFound, match="there is no folder '/"):
            list(cf)
        assert cf.exists("a") is False
        (tmp_path / "source").mkdir()
        (tmp_path / "source/c").write_bytes(b"1")
        cf.upload(tmp_path / "source", "up")
        cf.delete("up/c")
        cf.put("a/b", b"")
        assert list(cf.list("nothing/")) == []
        assert list(cf) == ["a/b"]


@pytest.mark.parametrize("prefix", ["a//", "./", "a/./", "a//b"])
def test_a_prefix_with_which_no_name_begins_lists_nothing(cf: ArtifactFiles, prefix: str) -> None:
    cf.put("a/b", b"1")
    assert list(cf.list(prefix)) == []
    assert list(cf.list("a/")) == ["a/b"]


def test_a_deep_folder_is_listed(store: Path, cf: ArtifactFiles) -> None:
    name = "/".join("d" * 1500)
    try:
        cf.put(name, b"1")
        assert list(cf) == [name]
        assert cf.get(name) == b"1"
    finally:  # Python itself cannot remove it
        subprocess.run(["rm", "-rf", str(store / "d")], check=True)


# -- permissions


@pytest.fixture
def powerless() -> Iterator[Path]:
    """A folder of somebody else's, while this process may do no more than anybody."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = os.geteuid() == 0
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.chmod(folder, 0o755)
            if root:
                os.seteuid(0)


def test_what_is_not_allowed_is_access_denied_and_names_the_file(powerless: Path) -> None:
    with opened(powerless, num_threads=0) as cf:
        cf.put("a", b"1")
        cf.put("dir/b", b"1")
        (powerless / "a").chmod(0)
        (powerless / "dir").chmod(0)
        for refused, name in (
            (lambda: cf.get("a"), "a"),
            (lambda: cf.get("dir/b"), "dir/b"),
            (lambda: cf.exists("dir/b"), "dir/b"),
            (lambda: cf.put("dir/b", b""), "dir/b"),
            (lambda: cf.delete("dir/b"), "dir/b"),
            (lambda: list(cf), ""),
        ):
            with pytest.raises(AccessDenied) as caught:
                refused()
            assert isinstance(caught.value, PermissionError)
            assert caught.value.path == name
        assert cf.head("a").size == 1  # that needs no permission to read
        (powerless / "dir").chmod(0o755)
        powerless.chmod(0o555)
        with pytest.raises(AccessDenied):
            cf.put("new", b"")
        with pytest.raises(AccessDenied):
            cf.delete("a")


# -- types


def test_types_are_kept_where_the_file_system_can_and_guessed_where_nobody_said(store: Path, cf: ArtifactFiles) -> None:
    cf.put("a.bin", b"1", content_type="text/x-mine", content_encoding="gzip", cache_control="no-store")
    cf.put("b.json", b"{}")
    cf.put("c", b"")
    info = cf.head("a.bin")
    assert info.content_type == "text/x-mine"
    assert (info.headers["content-encoding"], info.headers["cache-control"]) == ("gzip", "no-store")
    assert [cf.head(name).content_type for name in ("b.json", "c")] == ["application/json", None]
    results = cf.get(["a.bin", "b.json"], raw=True)
    assert [result["content_type"] for result in results] == ["text/x-mine", "application/json"]
    assert [result["compress"] for result in results] == ["gzip", None]
    cf.put("a.bin", b"2")
    assert cf.head("a.bin").content_type == "application/octet-stream"
    assert dict(cf.head("a.bin").headers) == {}


@pytest.mark.skipif(not hasattr(os, "getxattr"), reason="this system has no attributes")
def test_what_is_encoded_does_not_pass_for_content_where_the_disk_fails_to_say_so(
    store: Path, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: object, name: str) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    cf.put("a", b"1" * 100, compress="gzip")
    monkeypatch.setattr(os, "getxattr", fail)
    for call in (
        lambda: cf.get("a"),
        lambda: cf.head("a"),
        lambda: cf.download("a", store / "copy"),
        lambda: list(cf._backend.scan("", control=cf._control())),
    ):
        with pytest.raises(TransferError, match="Input/output error"):
            call()


def test_what_the_file_system_cannot_keep_is_said_once(cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOTSUP, "none here")

    monkeypatch.setattr(os, "setxattr", refuse)
    cf.put("a.json", b"", content_type="application/json")  # as the name says
    with pytest.warns(UntypedWarning, match="keeps no such attributes") as caught:
        cf.puts([("a.json", b""), ("b.json", b"")], content_type="text/x-mine")
    assert len(caught) == 1
    assert cf.head("a.json").content_type == "application/json"


# -- encodings that the file system cannot keep


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that keeps no attributes."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError(errno.ENOTSUP, "none here")

    for call in ("setxattr", "getxattr", "listxattr"):
        monkeypatch.setattr(os, call, refuse)


def on_disk(store: Path) -> set[str]:
    return {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()}


TEXT = b"a text, many times over. " * 100


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("codec", CODECS)
def test_an_encoding_is_kept_in_the_name_and_the_file_has_its_plain_one(
    store: Path, cf: ArtifactFiles, way: str, codec: str
) -> None:
    cf.put("dir/a.txt", TEXT, compress=codec)
    assert on_disk(store) == {f"dir/a.txt.encoded{SUFFIXES[codec]}"}
    assert cf.get("dir/a.txt") == TEXT
    assert cf["dir/a.txt", 2:10] == TEXT[2:10]
    (stored,) = cf.get(["dir/a.txt"], raw=True)
    assert (stored["compress"], stored["content_type"]) == (codec, "text/plain")
    assert decompress(stored["content"], codec) == TEXT
    info = cf.head("dir/a.txt")
    assert (info.path, info.compress, info.headers["content-encoding"]) == ("dir/a.txt", codec, codec)
    assert (info.size, info.content_type) == (len(stored["content"]), "text/plain")
    assert cf.exists("dir/a.txt")
    assert list(cf) == list(cf.list("dir/a.t")) == list(cf.list("dir/", flat=True)) == ["dir/a.txt"]
    assert [*cf.list("dir/a.txt.")] == []
    assert cf.size("dir/a.txt") == info.size
    cf.move("dir/a.txt", "b.txt")
    assert on_disk(store) == {f"b.txt.encoded{SUFFIXES[codec]}"}
    cf.delete("b.txt")
    assert on_disk(store) == set()


@pytest.mark.usefixtures("bare")
def test_a_name_has_one_version_however_it_is_encoded(store: Path, cf: ArtifactFiles, way: str) -> None:
    for codec, name in ((None, "a"), ("gzip", "a.encoded.gz"), ("br", "a.encoded.br"), ("gzip", "a.encoded.gz")):
        cf.put("a", TEXT + str(codec).encode(), compress=codec)
        assert on_disk(store) == {name}
        assert cf.get("a") == TEXT + str(codec).encode()
        (store / name).chmod(0o600)  # which each keeps of the one before
    cf.put("a", TEXT)
    assert on_disk(store) == {"a"}
    assert stat.S_IMODE((store / "a").stat().st_mode) == 0o600


@pytest.mark.usefixtures("bare")
def test_there_is_content_at_every_moment_while_a_name_changes_its_encoding(store: Path, cf: ArtifactFiles) -> None:
    done = threading.Event()
    codecs = [None, "gzip", "bz2", None, "xz"]

    def write() -> None:
        with opened(store) as other:
            for number in range(200):
                other.put("a", TEXT, compress=codecs[number % len(codecs)])
        done.set()

    cf.put("a", TEXT)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            assert cf.get("a") == TEXT
            assert list(cf) == ["a"]
    finally:
        writer.join()


@pytest.mark.usefixtures("bare")
def test_a_file_that_is_stored_plain_while_its_encoded_one_is_looked_for_is_found(
    cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, stored = os.access, []

    def change(*args: Any, **options: Any) -> bool:
        if not stored:
            stored.append(True)
            cf.put("a", b"new")
        return access(*args, **options)

    cf.put("a", TEXT, compress="bz2")
    monkeypatch.setattr(os, "access", change)
    assert cf.get("a") == b"new"


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("codec", [None, "gzip"])
def test_a_file_that_is_kept_otherwise_while_it_is_looked_for_is_found_and_no_archive(
    store: Path, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, codec: str | None
) -> None:
    access, stored = os.access, []

    def change(path: Any, *args: Any, **options: Any) -> bool:
        there = access(path, *args, **options)
        if not stored and str(path).endswith("a.encoded.gz"):
            stored.append(True)
            cf.put("a", b"new", compress=codec)
        return there

    (store / "a.gz").write_bytes(compress(b"another file"))
    cf.put("a", TEXT, compress="bz2")
    monkeypatch.setattr(os, "access", change)
    assert cf.get("a") == b"new"


@pytest.mark.usefixtures("bare")
def test_a_file_that_is_kept_otherwise_while_its_folder_is_listed_is_in_the_listing(cf: ArtifactFiles) -> None:
    cf.put("a", b"")
    cf.put("b", TEXT, compress="gzip")
    cf.put("c", TEXT, compress="gzip")
    listing = cf._backend.scan("", control=cf._control())
    assert next(listing).path == "a"  # the folder has been read
    cf.put("b", b"plain")
    cf.delete("c")
    assert [(info.path, info.size, info.compress) for info in listing] == [("b", 5, None)]


class _Watched:
    """A lock that says when somebody waits for it."""

    def __init__(self, asked: threading.Event) -> None:
        self._lock = threading.Lock()
        self._asked = asked

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._asked.set()
            self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


@pytest.mark.usefixtures("bare")
def test_two_writers_of_a_name_do_not_remove_each_others_files(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, first_done = threading.Event(), threading.Event()
    unlink, give_way = disk_folder.Home.unlink, disk_folder.Home.give_way
    second: list[threading.Thread] = []

    def write() -> None:
        try:
            with opened(store, num_threads=0) as cf:
                cf.put("a", b"second", compress="br")
        finally:
            asked.set()

    def interrupted(home: disk_folder.Home, name: str) -> None:
        if not second:  # the first has seen that the old file is still what it was
            second.append(threading.Thread(target=write))
            second[0].start()
            asked.wait()
        unlink(home, name)

    def after_first(home: disk_folder.Home, others: Any) -> None:
        if second:  # published, although the first is not done
            asked.set()
            first_done.wait()
        give_way(home, others)

    with opened(store, num_threads=0) as cf:
        cf.put("a", b"old", compress="br")
        monkeypatch.setattr(disk_folder, "_giving_way", _Watched(asked), raising=False)
        monkeypatch.setattr(disk_folder.Home, "unlink", interrupted)
        monkeypatch.setattr(disk_folder.Home, "give_way", after_first)
        cf.put("a", b"first", compress="gzip")
        first_done.set()
        second[0].join()
        assert (cf.get("a"), on_disk(store)) == (b"second", {"a.encoded.br"})


@pytest.mark.usefixtures("bare")
def test_a_writer_does_not_remove_what_another_has_stored_since_it_looked(
    store: Path, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_way = disk_folder.Home.give_way

    def after_another(home: disk_folder.Home, others: Any) -> None:
        (store / "new").write_bytes(b"another's")
        (store / "new").rename(store / "a")
        give_way(home, others)

    cf.put("a", b"old")
    monkeypatch.setattr(disk_folder.Home, "give_way", after_another)
    cf.put("a", TEXT, compress="gzip")
    assert (list(cf), cf.get("a")) == (["a"], b"another's")  # as if it had come later
    monkeypatch.undo()
    cf.delete("a")
    assert on_disk(store) == set()


@pytest.mark.usefixtures("bare")
def test_a_writer_that_is_interrupted_between_its_two_steps_leaves_one_name(
    store: Path, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> None:
        raise KeyboardInterrupt

    cf.put("a", b"old")
    with monkeypatch.context() as broken:
        broken.setattr(disk_folder.Home, "give_way", die)
        with pytest.raises(KeyboardInterrupt):
            cf.put("a", TEXT, compress="gzip")
    assert on_disk(store) == {"a", "a.encoded.gz"}
    assert (list(cf), cf.get("a")) == (["a"], b"old")
    cf.delete("a")
    assert on_disk(store) == set()


def test_an_archive_stays_one_and_is_read_by_the_plain_name_where_there_is_no_other(
    store: Path, cf: ArtifactFiles, way: str
) -> None:
    for codec, suffix in (*SUFFIXES.items(), ("zstd", ".zst")):
        name = f"a{suffix}"
        (store / name).write_bytes(compress(TEXT, codec))  # as cloud-files writes it, or a user
        assert (list(cf), cf.get(name)) == ([name], (store / name).read_bytes())
        assert cf.get("a") == TEXT
        assert cf.exists("a")
        assert (cf.head("a").path, cf.head("a").compress) == (name, codec)
        with pytest.raises(InvalidRequest, match=f"only {name!r} is there"):
            cf.delete("a")
        assert cf.exists(name)
        cf.put("a", b"mine")
        assert (list(cf), cf.get("a")) == (["a", name], b"mine")
        cf.delete(["a", name])
        assert on_disk(store) == set()


def test_a_folder_is_no_name_of_an_archive_beside_it(store: Path, cf: ArtifactFiles) -> None:
    cf.put("d/x", b"1")
    (store / "d.gz").write_bytes(compress(TEXT))
    assert not cf.exists("d")
    with pytest.raises(ObjectNotFound):
        cf.get("d")
    cf.delete("d")
    assert list(cf) == ["d.gz", "d/x"]


def test_a_copy_is_made_although_an_archive_is_read_by_its_name(store: Path, cf: ArtifactFiles) -> None:
    (store / "a.gz").write_bytes(compress(TEXT))
    source = ArtifactFiles(f"mem://{store.parent.name}-archive")
    source.put("a", b"A")
    for overwrite in ("never", "newer", "different"):
        source.transfer_to(cf, ["a"], overwrite=overwrite)
        assert cf.get("a") == b"A"
        cf.delete("a")
    with pytest.raises(InvalidRequest, match="only 'a.gz'"):
        cf.move("a", "b")
    assert (cf.get("b"), list(cf)) == (TEXT, ["a.gz", "b"])


def test_what_is_kept_encoded_has_its_plain_name_only(store: Path, cf: ArtifactFiles) -> None:
    (store / "a.encoded.gz").write_bytes(compress(TEXT))  # from a disk without attributes
    assert (list(cf), cf.get("a")) == (["a"], TEXT)
    with pytest.raises(ObjectNotFound):
        cf.get("a.encoded.gz")
    with pytest.raises(InvalidRequest, match="choose another name"):
        cf.put("b.encoded.xz", b"")
    cf.delete("a.encoded.gz")
    assert cf.get("a") == TEXT
    cf.put("a", b"hides it", compress="xz")
    assert (list(cf), cf.get("a")) == (["a"], b"hides it")
    cf.delete("a")
    assert on_disk(store) == set()


@pytest.mark.usefixtures("bare")
def test_an_encoding_that_no_name_tells_is_refused(store: Path, cf: ArtifactFiles) -> None:
    for encoding in ("gzip, br", "compress"):
        with pytest.raises(InvalidRequest, match="in a file's name"):
            cf.put("c", b"1", content_encoding=encoding)
    assert on_disk(store) == set()
    cf.put("c", b"1", content_encoding="identity")
    assert on_disk(store) == {"c"}


@pytest.mark.usefixtures("bare")
def test_folders_are_made_alike_with_all_that_is_encoded(store: Path, cf: ArtifactFiles) -> None:
    source = ArtifactFiles(f"mem://{store.parent.name}-encoded")
    source.puts([("a.txt", TEXT), ("a.txt.gz", compress(TEXT)), ("b/c", b"")], compress="gzip")
    source.put("archive.tar.gz", compress(TEXT))
    for _ in range(2):
        sync(source, cf, delete=True)
        assert sorted(cf) == sorted(source)
        assert {name: cf.get(name) for name in cf} == {name: source.get(name) for name in source}
    assert sync(source, cf, delete=True, dry_run=True).plan.counts == {"keep": 4}
    back = ArtifactFiles(f"mem://{store.parent.name}-back")
    sync(cf, back)
    for name in source:
        ours, theirs = back.head(name), source.head(name)
        assert (ours.etag, ours.compress) == (theirs.etag, theirs.compress)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.json", "application/json"),
        ("dir.json/a", None),
        ("a.tar.gz", "application/gzip"),
        ("a.json.xz", "application/x-xz"),
        ("A.PNG", "image/png"),
        ("http://x.json", None),
    ],
)
def test_the_type_is_guessed_by_one_rule(name: str, kind: str | None) -> None:
    assert guess_type(name) == (kind if "://" not in name else "application/json")


# -- locks

HOLDER = """
import fcntl, os, sys
for name in os.listdir(sys.argv[1]):
    file = open(os.path.join(sys.argv[1], name), "r+b")
    fcntl.flock(file, fcntl.LOCK_SH if sys.argv[2] == "shared" else fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("kind", "blocked"), [("shared", {"put", "delete"}), ("alone", {"put", "delete", "get"})])
def test_processes_wait_for_each_other(store: Path, tmp_path: Path, kind: str, blocked: set[str]) -> None:
    with opened(store, lock_dir=tmp_path / "locks", timeout=0.2, retry=RetryPolicy(attempts=1)) as cf:
        cf.put("a", b"1")
        child = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "locks"), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdin is not None
        with child, child.stdin:
            assert child.stdout.readline() == b"held\n"
            for name, verb in {
                "put": lambda: cf.put("a", b"2"),
                "delete": lambda: cf.delete("a"),
                "get": lambda: cf.get("a"),
            }.items():
                if name in blocked:
                    with pytest.raises(TransferTimeout, match="another process has had the lock"):
                        verb()
                else:
                    verb()
        assert cf.get("a") == b"1"
        cf.put("a", b"2")
    assert os.listdir(store) == ["a"]


def test_the_folder_of_locks_comes_from_the_environment(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_FILES_LOCK_DIR", str(tmp_path / "mine"))
    with opened(store) as cf:
        cf.put("a", b"")
    assert not (tmp_path / "mine").exists()  # without locking= there is none
    with opened(store, locking=True) as cf:
        cf.put("a", b"")
    assert len(os.listdir(tmp_path / "mine")) == 1


# -- with a disk


def test_folders_are_uploaded_downloaded_and_verified(store: Path, tmp_path: Path, cf: ArtifactFiles) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    files = {"a": b"1", "dir/b": b"22", "dir/ü": os.urandom(MIB)}
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    assert [result["error"] for result in cf.upload(source)] == [None] * 3
    cf.download("", target)
    assert {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()} == files
    assert (target / "a").stat().st_mtime == pytest.approx((store / "a").stat().st_mtime)
    (source / "a").write_bytes(b"other")
    comparison = cf.verify(source)
    assert (comparison["different"], comparison["missing"], comparison["extra"]) == (["a"], [], [])


def test_files_of_the_same_size_are_told_apart_by_their_bytes(store: Path, tmp_path: Path, cf: ArtifactFiles) -> None:
    source = tmp_path / "source"
    source.mkdir()
    large = os.urandom(3 * MIB)
    for name, content in {"a": b"equal", "b": b"other", "c": large, "d": large, "e": b"", "f": b"shorter"}.items():
        (source / name).write_bytes(content)
    cf.puts([("a", b"equal"), ("c", large), ("d", large[:-1] + b"?"), ("e", b""), ("f", b"longer!!")])
    cf.put("b", b"rehto")
    os.utime(store / "b", (2e9, 2e9))
    comparison = cf.verify(source)
    assert (comparison["equal"], comparison["same_size"]) == (["a", "c", "e"], [])
    assert (comparison["different"], comparison["errors"]) == (["b", "d", "f"], {})
    before = {name: (store / name).stat().st_ino for name in "ace"}
    assert {result["path"]: result["skipped"] for result in cf.upload(source)} == {
        name: name in "ace" for name in "abcdef"
    }
    assert {name: (store / name).stat().st_ino for name in "ace"} == before
    assert cf.verify(source)["equal"] == [*"abcdef"]


def test_a_file_that_cannot_be_read_is_not_compared(
    tmp_path: Path, cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(b"1")
    cf.put("a", b"1")

    def fail(*args: Any) -> Any:
        raise AccessDenied("not this one", path="a")

    monkeypatch.setattr(local.LocalBackend, "get", fail)
    comparison = cf.verify(tmp_path / "source")
    assert (comparison["equal"], [*comparison["errors"]]) == ([], ["a"])


def test_downloading_onto_itself_is_harmless(store: Path, cf: ArtifactFiles) -> None:
    cf.put("a", b"1")
    cf.download("", store)
    assert cf.get("a") == b"1"


def test_one_failure_does_not_fail_the_rest(store: Path, cf: ArtifactFiles) -> None:
    (store / "dir").mkdir()
    with pytest.raises(BatchError) as caught:
        cf.puts([("a", b"1"), ("dir", b"2"), ("b", b"3")])
    assert [result["path"] for result in caught.value.errors] == ["dir"]
    assert list(cf) == ["a", "b"]


_APPENDS = """
import sys
from cloudfiles_hypha import ArtifactFiles, PreconditionFailed
for number in range(25):
    try:
        with ArtifactFiles(sys.argv[1]).open("log", "ab") as file:
            file.write(f"{sys.argv[2]}{number} ".encode())
        print(f"{sys.argv[2]}{number}")
    except PreconditionFailed:
        pass
"""


def test_processes_that_append_to_one_file_lose_nothing_that_was_stored(store: Path, cf: ArtifactFiles) -> None:
    cf.put("log", b"")
    children = [
        subprocess.Popen([sys.executable, "-c", _APPENDS, str(store), name], stdout=subprocess.PIPE) for name in "abc"
    ]
    stored = b" ".join(child.communicate(timeout=50)[0] for child in children).split()
    assert sorted(cf.get("log").split()) == sorted(stored)
    assert len(stored) >= 25


def test_who_changes_a_file_waits_for_others_who_do(store: Path, cf: ArtifactFiles) -> None:
    cf.put("log", b"1")
    entered, free = threading.Event(), threading.Event()

    def hold() -> None:
        with ArtifactFiles(str(store.parent))._backend.turn(f"{store.name}/log"):
            entered.set()
            free.wait(20)

    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(hold)
        entered.wait(20)
        file = cf.open("log", "ab")
        file.write(b"2")
        closing = pool.submit(file.close)
        with pytest.raises(TimeoutError):
            closing.result(0.1)
        assert cf.get("log") == b"1"
        free.set()
        holder.result()
        closing.result()
    assert cf.get("log") == b"12"
