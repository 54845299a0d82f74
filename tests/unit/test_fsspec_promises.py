"""``hypha://`` and the generic file system of fsspec: what they ask of the server, promise, and leave alone."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

pytest.importorskip("fsspec", reason="these are its file systems")

import fsspec
import fsspec.asyn
from fsspec.callbacks import Callback
from fsspec.implementations.cached import CachingFileSystem
from fsspec.spec import AbstractFileSystem

from cloudfiles_hypha import AccessDenied, ArtifactFiles, InvalidRequest, PreconditionFailed, StagedWarning
from cloudfiles_hypha.compat.cloudfiles import clear_memory
from cloudfiles_hypha.filesystem.fsspec import ArtifactFileSystem, HyphaFileSystem
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, Status

TEN = b"0123456789"
OLD = {"a.txt": b"a", "dir/b.bin": TEN, "dir/deep/c.bin": b"ccc"}


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha(token="secret-of-tests") as server:
        server.add_artifact("ws/data", OLD)
        yield server


@pytest.fixture
def fs(hypha: FakeHypha) -> Iterator[HyphaFileSystem]:
    fs = HyphaFileSystem(server_url=hypha.url, token=hypha.token, skip_instance_cache=True)
    yield fs
    fs.close()


@pytest.fixture
def memory() -> Iterator[ArtifactFileSystem]:
    clear_memory()
    yield ArtifactFileSystem("mem://fsspec", skip_instance_cache=True)
    clear_memory()


def commits(hypha: FakeHypha) -> int:
    return hypha.count("commit")


# -- which file system it is


def test_the_protocols_are_registered_by_entry_points() -> None:
    assert fsspec.get_filesystem_class("hypha") is HyphaFileSystem
    assert fsspec.get_filesystem_class("cloudfiles") is ArtifactFileSystem


def test_the_same_options_give_the_same_instance_until_the_cache_is_cleared() -> None:
    one = fsspec.filesystem("hypha", server_url="http://127.0.0.1:1", token="t")
    try:
        assert fsspec.filesystem("hypha", server_url="http://127.0.0.1:1", token="t") is one
        assert fsspec.filesystem("hypha", server_url="http://127.0.0.1:2", token="t") is not one
        assert pickle.loads(pickle.dumps(one)) is one
    finally:
        HyphaFileSystem.clear_instance_cache()


def test_tokens_are_the_same_in_another_process() -> None:
    script = (
        "from cloudfiles_hypha.filesystem.fsspec import HyphaFileSystem as H;"
        "print(H(server_url='http://127.0.0.1:1', token='t').__dask_tokenize__())"
    )
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    here = HyphaFileSystem(server_url="http://127.0.0.1:1", token="t", skip_instance_cache=True)
    assert child.stdout.strip() == here.__dask_tokenize__()
    other = HyphaFileSystem(server_url="http://127.0.0.1:2", token="t", skip_instance_cache=True)
    assert other.__dask_tokenize__() != here.__dask_tokenize__()


def test_an_option_that_there_is_not_is_said_at_once() -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        HyphaFileSystem(no_such_option=1, skip_instance_cache=True)
    with pytest.raises(ValueError, match="which place"):
        ArtifactFileSystem(skip_instance_cache=True)


def test_a_server_may_stand_in_the_url(hypha: FakeHypha) -> None:
    url = f"hypha://{hypha.url}/ws/data/a.txt"
    with fsspec.open(url, token=hypha.token, skip_instance_cache=True) as file:
        assert file.read() == b"a"
    file.fs.close()


def test_what_is_no_artifact_is_said(fs: HyphaFileSystem) -> None:
    assert fs.isdir("ws")
    with pytest.raises(ValueError, match="workspaces are not listed"):
        fs.ls("ws")
    with pytest.raises(IsADirectoryError):
        fs.cat_file("ws/data")


# -- whose threads


def test_neither_plain_calls_nor_awaited_ones_start_the_thread_of_fsspec(fs: HyphaFileSystem, tmp_path: Path) -> None:
    assert fsspec.asyn.iothread[0] is None, "another test has started it"
    names = set()

    async def main() -> None:
        await fs._cat_file("ws/data/a.txt")
        await fs._pipe_file("ws/data/new", b"1")
        await fs._get("ws/data/dir", str(tmp_path / "two"), recursive=True)
        assert [name async for name, _, _ in fs._walk("ws/data")]
        await fs._rm("ws/data/new")

    fs.ls("ws/data")
    fs.cat("ws/data/dir", recursive=True)
    fs.get("ws/data/dir", str(tmp_path / "one"), recursive=True)
    fs.put(str(tmp_path / "one"), "ws/data/again", recursive=True)
    fs.pipe({"ws/data/x": b"x"})
    fs.copy("ws/data/x", "ws/data/y")
    fs.mv("ws/data/y", "ws/data/z")
    fs.rm(["ws/data/x", "ws/data/z"])
    fs.glob("ws/data/**")
    with fs.open("ws/data/a.txt") as file:
        file.read()
    asyncio.run(main())
    names = {thread.name for thread in threading.enumerate()}
    assert "fsspecIO" not in names
    assert fsspec.asyn.loop[0] is None


def test_plain_calls_work_within_a_running_loop(fs: HyphaFileSystem) -> None:
    async def main() -> bytes:
        return fs.cat_file("ws/data/a.txt")

    assert asyncio.run(main()) == b"a"


# -- reading


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), (2, 5), (-3, None), (None, -2), (-5, -2), (3, None), (0, 100), (4, 4), (7, 3), (50, 60), (-50, 3)],
)
def test_a_range_is_what_a_slice_of_the_content_is(fs: HyphaFileSystem, start: int | None, end: int | None) -> None:
    assert fs.cat_file("ws/data/dir/b.bin", start, end) == TEN[start:end]
    assert asyncio.run(fs._cat_file("ws/data/dir/b.bin", start, end)) == TEN[start:end]
    assert fs.cat_ranges(["ws/data/dir/b.bin"], [start], [end]) == [TEN[start:end]]


def test_an_error_of_a_range_is_in_its_place_or_raised(fs: HyphaFileSystem) -> None:
    paths = ["ws/data/a.txt", "ws/data/nothing", "ws/data/dir/b.bin"]
    first, missing, last = fs.cat_ranges(paths, [0, -3, -2], [1, None, None])
    assert (first, last) == (b"a", b"89")
    assert isinstance(missing, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, 0, 1, on_error="raise")


@pytest.mark.parametrize(("start", "end"), [(0, 0), (None, 0), (5, 5), (5, 1), (-1, -3), (50, 60)])
def test_of_a_file_that_is_not_there_no_bytes_are_an_error_too(
    fs: HyphaFileSystem, start: int | None, end: int | None
) -> None:
    with pytest.raises(FileNotFoundError):
        fs.cat_file("ws/data/nothing", start, end)
    with pytest.raises(FileNotFoundError):
        asyncio.run(fs._cat_file("ws/data/nothing", start, end))
    missing, first, none = fs.cat_ranges(
        ["ws/data/nothing", "ws/data/a.txt", "ws/data/a.txt"], [start, 0, 0], [end, 1, 0]
    )
    assert isinstance(missing, FileNotFoundError)
    assert (first, none) == (b"a", b"")


def test_cat_of_many_makes_the_calls_that_get_makes(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    names = [f"many/{n:04}" for n in range(1000)]
    hypha.add_artifact("ws/many", {name: b"%d" % n for n, name in enumerate(names)})
    fs._place("ws/many").files.get(names)
    calls, others = hypha.count("get_file"), hypha.count() - hypha.count("get_file")
    fresh = HyphaFileSystem(server_url=hypha.url, token=hypha.token, skip_instance_cache=True)
    found = fresh.cat([f"ws/many/{name}" for name in names])
    fresh.close()
    assert (len(found), found["ws/many/many/0999"]) == (1000, b"999")
    assert hypha.count("get_file") - calls <= calls + 1  # how large a call is follows the clock
    assert hypha.count() - hypha.count("get_file") == others


def test_what_is_missing_among_many_is_raised_left_out_or_told(fs: HyphaFileSystem) -> None:
    paths = ["ws/data/a.txt", "ws/data/nothing"]
    with pytest.raises(FileNotFoundError):
        fs.cat(paths)
    assert fs.cat(paths, on_error="omit") == {"ws/data/a.txt": b"a"}
    assert isinstance(fs.cat(paths, on_error="return")["ws/data/nothing"], FileNotFoundError)


def test_a_file_is_read_by_ranges_and_pinned_to_its_version(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    hypha.add_artifact("ws/large", {"x": bytes(10**6)})
    with fs.open("ws/large/x") as file:
        file.seek(500_000)
        assert file.read(4) == bytes(4)
        assert (file.fs, file.path, file.size) == (fs, "ws/large/x", 10**6)
        other = pickle.loads(pickle.dumps(file))
        assert other.tell() == 500_004
        fs.pipe_file("ws/large/x", b"1" * 10**6)
        with pytest.raises(PreconditionFailed):
            file.seek(0, 0), file.seek(900_000), file.read(4)
        other.fs.close()
    HyphaFileSystem.clear_instance_cache()
    ranges = [record.range for record in hypha.store.requests if record.method == "GET"]
    assert ranges
    assert all(ranges)


def test_a_cache_of_fsspec_is_used_where_it_is_asked_for(fs: HyphaFileSystem) -> None:
    with fs.open("ws/data/dir/b.bin", cache_type="bytes", block_size=4) as file:
        assert type(file.cache).__name__ == "BytesCache"
        assert (file.read(3), file.seek(8), file.read()) == (b"012", 8, b"89")
        fs.pipe_file("ws/data/dir/b.bin", b"another 10")
        with pytest.raises(PreconditionFailed):
            file.seek(0), file.read(2)


# -- what is there


def test_info_tells_etag_and_time(fs: HyphaFileSystem, memory: ArtifactFileSystem) -> None:
    before = datetime.now(timezone.utc)
    memory.pipe_file("x", b"x")
    assert before <= memory.modified("x") == memory.created("x") == memory.info("x")["LastModified"]
    assert before.timestamp() <= memory.info("x")["mtime"]
    entry = fs.info("ws/data/a.txt")
    assert (entry["name"], entry["size"], entry["type"]) == ("ws/data/a.txt", 1, "file")
    assert entry["ETag"]
    assert asyncio.run(fs._info("ws/data/a.txt")) == entry
    assert fs.info("ws/data/dir") == asyncio.run(fs._info("ws/data/dir"))
    assert fs.info("ws/data/dir")["type"] == "directory"


def test_a_listing_tells_sizes_and_folders(fs: HyphaFileSystem) -> None:
    found = {entry["name"]: (entry["type"], entry["size"]) for entry in fs.ls("ws/data")}
    assert found == {"ws/data/a.txt": ("file", 1), "ws/data/dir": ("directory", 0)}
    assert fs.ls("ws/data/a.txt", detail=False) == ["ws/data/a.txt"]
    assert fs.find("ws/data", withdirs=True) == [
        *("ws/data", "ws/data/a.txt", "ws/data/dir", "ws/data/dir/b.bin", "ws/data/dir/deep"),
        "ws/data/dir/deep/c.bin",
    ]
    assert fs.find("ws/data/dir", maxdepth=1) == ["ws/data/dir/b.bin"]
    assert fs.du("ws/data") == 14
    assert fs.glob("ws/data/**/*.bin") == ["ws/data/dir/b.bin", "ws/data/dir/deep/c.bin"]
    for missing in ("ws/data/nothing", "ws/nothing"):
        assert not fs.exists(missing)
        with pytest.raises(FileNotFoundError):
            fs.ls(missing)


def test_being_refused_is_not_being_missing(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    other = HyphaFileSystem(server_url=hypha.url, token="wrong", skip_instance_cache=True)
    for ask in (other.exists, other.isfile, other.isdir):
        with pytest.raises(AccessDenied):
            ask("ws/data/a.txt")
    with pytest.raises(AccessDenied):
        asyncio.run(other._isfile("ws/data/a.txt"))
    other.close()


def test_keys_and_checksums_change_with_the_content(fs: HyphaFileSystem) -> None:
    before = fs.ukey("ws/data/a.txt"), fs.checksum("ws/data/a.txt")
    assert (fs.ukey("ws/data/a.txt"), fs.checksum("ws/data/a.txt")) == before
    fs.pipe_file("ws/data/a.txt", b"b")
    assert fs.ukey("ws/data/a.txt") != before[0]
    assert fs.checksum("ws/data/a.txt") != before[1]


def test_listings_are_kept_where_that_was_asked_for_and_forgotten_by_writes(hypha: FakeHypha) -> None:
    fs = HyphaFileSystem(server_url=hypha.url, token=hypha.token, use_listings_cache=True, skip_instance_cache=True)
    fs.ls("ws/data/dir")
    calls = hypha.count()
    assert fs.ls("ws/data/dir", detail=False) == ["ws/data/dir/b.bin", "ws/data/dir/deep"]
    assert fs.info("ws/data/dir/b.bin")["size"] == 10
    assert hypha.count() == calls
    fs.pipe_file("ws/data/dir/new", b"1")
    assert "ws/data/dir/new" in fs.ls("ws/data/dir", detail=False)
    fs.rm("ws/data/dir/new")
    assert "ws/data/dir/new" not in fs.ls("ws/data/dir", detail=False)
    with fs.open("ws/data/dir/more", "wb") as file:
        file.write(b"1")
    assert "ws/data/dir/more" in fs.ls("ws/data/dir", detail=False)
    fs.close()


def test_listings_are_looked_at_anew_unless_it_is_said_otherwise(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    before = fs.ls("ws/data", detail=False)
    other = HyphaFileSystem(server_url=hypha.url, token=hypha.token, skip_instance_cache=True)
    other.pipe_file("ws/data/b.txt", b"b")
    other.close()
    assert {*fs.ls("ws/data", detail=False)} - {*before} == {"ws/data/b.txt"}


def test_a_signed_url_is_for_anybody(fs: HyphaFileSystem, memory: ArtifactFileSystem) -> None:
    with urlopen(fs.sign("ws/data/a.txt", expiration=60), timeout=10) as answer:
        assert answer.read() == b"a"
    memory.pipe_file("x", b"x")
    with pytest.raises(InvalidRequest):
        memory.sign("x")


# -- writing


def test_what_is_piped_together_is_one_commit(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    fs.pipe({f"ws/data/new/{n}": b"%d" % n for n in range(20)})
    assert commits(hypha) == 1
    assert fs.cat("ws/data/new/*")["ws/data/new/7"] == b"7"


def test_get_and_put_tell_their_callbacks(fs: HyphaFileSystem, tmp_path: Path) -> None:
    callback = Callback()
    fs.get("ws/data/dir", str(tmp_path / "dir"), recursive=True, callback=callback)
    assert (callback.size, callback.value) == (2, 2)
    assert (tmp_path / "dir/deep/c.bin").read_bytes() == b"ccc"
    callback = Callback()
    fs.put(str(tmp_path / "dir"), "ws/data/back", recursive=True, callback=callback)
    assert (callback.size, callback.value) == (2, 2)
    callback = Callback()
    fs.get_file("ws/data/dir/b.bin", str(tmp_path / "one"), callback=callback)
    assert (callback.size, callback.value) == (10, 10)


def test_put_of_a_tree_is_one_commit(hypha: FakeHypha, fs: HyphaFileSystem, tmp_path: Path) -> None:
    for n in range(5):
        (tmp_path / f"{n}").write_bytes(b"%d" % n)
    fs.put(f"{tmp_path}/", "ws/data/up/", recursive=True)
    assert commits(hypha) == 1
    assert fs.du("ws/data/up") == 5


def test_a_writer_that_raises_stores_nothing(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    for mode, content in (("wb", b"x"), ("w", "x")):
        with pytest.raises(KeyError), fs.open("ws/data/new", mode) as file:  # noqa: PT012
            file.write(content)
            raise KeyError
    with pytest.raises(KeyError), fs.open("ws/data/new", "wb") as file:  # noqa: PT012
        file.write(bytes(10_000_000))
        raise KeyError
    assert not fs.exists("ws/data/new")
    assert commits(hypha) == 0


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_text_that_cannot_be_written_in_closing_is_not_stored(
    fs: HyphaFileSystem, memory: ArtifactFileSystem, monkeypatch: pytest.MonkeyPatch, compression: str | None
) -> None:
    def interrupted(self: object, data: object) -> int:
        raise KeyboardInterrupt

    for system, path in ((fs, "ws/data/new"), (memory, "new")):
        with system.transaction:
            file = system.open(path, "w", compression=compression)
            file.write("kept until it is closed")
            with monkeypatch.context() as patch:
                patch.setattr(type(file.buffer), "write", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    file.close()
        assert not system.exists(path)


def test_text_with_a_mark_can_be_read_again(fs: HyphaFileSystem) -> None:
    for compression in (None, "gzip"):
        with fs.open("ws/data/marked", "w", encoding="utf-16", compression=compression) as file:
            file.write("ab")
        with fs.open("ws/data/marked", "r", encoding="utf-16", compression=compression) as file:
            assert file.read() == "ab"


def test_a_long_file_is_sent_while_it_is_written(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    with fs.open("ws/data/long", "wb") as file:
        for number in range(30):
            file.write(bytes([number]) * 500_000)
    assert fs.cat_file("ws/data/long") == b"".join(bytes([number]) * 500_000 for number in range(30))
    assert commits(hypha) == 1


def test_a_long_file_that_is_open_holds_up_no_other_write(fs: HyphaFileSystem) -> None:
    with fs.open("ws/data/long", "wb") as file:
        file.write(bytes(10_000_000))
        with pytest.warns(StagedWarning, match="not published before the large file is closed"):
            fs.pipe_file("ws/data/short", b"1")
    assert (fs.cat_file("ws/data/short"), fs.size("ws/data/long")) == (b"1", 10_000_000)


def test_an_error_in_sending_is_raised_by_the_writer(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    hypha.fault_file("ws/data", "bad", Always(Status(403)))
    with pytest.raises(OSError), fs.open("ws/data/bad", "wb") as file:
        file.write(bytes(100))


def test_text_is_utf_8_and_appending_keeps_what_is_there(fs: HyphaFileSystem) -> None:
    with fs.open("ws/data/text", "w") as file:
        file.write("ä\n")
    with fs.open("ws/data/text", "a") as file:
        file.write("ö\n")
    assert fs.cat_file("ws/data/text") == "ä\nö\n".encode()
    with fs.open("ws/data/text", encoding="utf-8", mode="r") as file:
        assert [*file] == ["ä\n", "ö\n"]
    with fs.open("ws/data/packed.gz", "wt", compression="gzip") as file:
        file.write("packed")
    with fs.open("ws/data/packed.gz", "rt", compression="infer") as file:
        assert file.read() == "packed"


def test_a_writer_that_is_dropped_stores_nothing_and_says_so(fs: HyphaFileSystem) -> None:
    file = fs.open("ws/data/new", "wb")
    file.write(b"x")
    with pytest.warns(ResourceWarning, match="not closed"):
        del file
    assert not fs.exists("ws/data/new")


def test_removing_a_folder_needs_to_be_said(fs: HyphaFileSystem) -> None:
    with pytest.raises(IsADirectoryError):
        fs.rm("ws/data/dir")
    with pytest.raises(FileNotFoundError):
        fs.rm("ws/data/nothing")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("ws/data/dir")
    fs.rm("ws/data/dir", recursive=True)
    assert fs.find("ws/data") == ["ws/data/a.txt"]


def test_one_file_is_removed_by_its_name_which_is_no_pattern(fs: HyphaFileSystem, memory: ArtifactFileSystem) -> None:
    for system, folder in ((fs, "ws/data/odd"), (memory, "odd")):
        for name in ("a*", "a[b]", "?"):
            system.pipe({f"{folder}/{each}": b"1" for each in (name, "ab", "c")})
            system.rm_file(f"{folder}/{name}")
            assert system.find(folder) == [f"{folder}/ab", f"{folder}/c"]
            with pytest.raises(FileNotFoundError):
                asyncio.run(system._rm_file(f"{folder}/{name}"))
        with pytest.raises(IsADirectoryError):
            system.rm_file(folder)


def test_moving_removes_what_was_copied_and_nothing_else(fs: HyphaFileSystem) -> None:
    fs.pipe_file("ws/data/dir/d.bin", b"d")
    fs.mv("ws/data/dir", "ws/data/moved", recursive=True, maxdepth=1)
    kept, moved = ["ws/data/a.txt", "ws/data/dir/deep/c.bin"], ["ws/data/moved/b.bin", "ws/data/moved/d.bin"]
    assert fs.find("ws/data") == kept + moved
    with pytest.raises(FileNotFoundError):
        fs.mv("ws/data/nothing", "ws/data/x")


def test_files_are_copied_between_artifacts(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    hypha.add_artifact("ws/other", {})
    fs.copy("ws/data/dir", "ws/other/dir", recursive=True)
    assert fs.cat_file("ws/other/dir/deep/c.bin") == b"ccc"


# -- transactions


def test_a_transaction_is_one_staging_and_one_commit(hypha: FakeHypha, fs: HyphaFileSystem, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"up")
    with fs.transaction:
        fs.pipe_file("ws/data/1", b"1")
        with fs.open("ws/data/2", "wb") as file:
            file.write(b"2")
        fs.put_file(str(tmp_path / "up"), "ws/data/3")
        fs.rm("ws/data/a.txt")
        assert commits(hypha) == 0
    assert commits(hypha) == 1
    assert sum(call.method == "edit" for call in hypha.calls) == 1
    assert fs.cat(["ws/data/1", "ws/data/2", "ws/data/3"]).keys() == {"ws/data/1", "ws/data/2", "ws/data/3"}
    assert not fs.exists("ws/data/a.txt")
    assert not fs._intrans


def test_a_transaction_may_be_begun_and_ended_by_calls(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    fs.start_transaction()
    fs.pipe_file("ws/data/1", b"1")
    fs.pipe_file("ws/data/2", b"2")
    fs.end_transaction()
    assert commits(hypha) == 1
    fs.pipe_file("ws/data/3", b"3")
    assert commits(hypha) == 2


def test_what_goes_wrong_at_the_end_of_a_transaction_is_raised_and_ends_it(
    memory: ArtifactFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError("refused")

    with pytest.raises(PermissionError), memory.transaction:  # noqa: PT012
        with memory.open("a", "wb") as file:
            file.write(b"a")
        monkeypatch.setattr("cloudfiles_hypha.files.ArtifactFiles.puts", refuse)
    monkeypatch.undo()
    assert not memory._intrans
    memory.pipe_file("b", b"b")
    assert memory.find("") == ["b"]


def test_a_transaction_that_raises_leaves_everything_as_it_was(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    with pytest.raises(KeyError), fs.transaction:  # noqa: PT012
        fs.pipe_file("ws/data/a.txt", b"changed")
        fs.pipe_file("ws/data/new", b"new")
        raise KeyError
    assert commits(hypha) == 0
    assert hypha.files("ws/data") == OLD
    assert not fs._place("ws/data").files.status()["staged"]
    fs.pipe_file("ws/data/later", b"1")
    assert commits(hypha) == 1


def test_a_transaction_drops_what_others_close_though_they_raise(hypha: FakeHypha) -> None:
    options = {"server_url": hypha.url, "token": hypha.token}
    fs = fsspec.filesystem("hypha", **options)

    def write_half() -> None:
        with fs.transaction, fsspec.open("hypha://ws/data/a.txt", "w", **options) as file:
            file.write("half of it")
            raise KeyError

    try:
        with pytest.raises(KeyError):
            write_half()
        assert hypha.files("ws/data") == OLD
    finally:
        fs.close()
        HyphaFileSystem.clear_instance_cache()


def test_transactions_are_not_nested(fs: HyphaFileSystem, memory: ArtifactFileSystem) -> None:
    for system, folder in ((fs, "ws/data"), (memory, "data")):
        with system.transaction:
            system.open(f"{folder}/first", "wb").close()
            with pytest.raises(RuntimeError, match="cannot be nested"), system.transaction:
                pytest.fail("it was begun")
            system.open(f"{folder}/second", "wb").close()
        assert system.exists(f"{folder}/first")
        assert system.exists(f"{folder}/second")
        with system.transaction:
            system.open(f"{folder}/third", "wb").close()
        assert system.exists(f"{folder}/third")


def test_a_file_that_is_open_when_its_transaction_ends_is_not_stored_and_that_is_said(
    fs: HyphaFileSystem, memory: ArtifactFileSystem
) -> None:
    for system, folder in ((fs, "ws/data"), (memory, "data")):
        system.start_transaction()
        system.open(f"{folder}/closed", "wb").close()
        file = system.open(f"{folder}/open", "wb")
        file.write(b"x")
        with pytest.warns(ResourceWarning, match="open' was not closed before the transaction ended"):
            system.end_transaction()
        assert file.closed
        assert system.exists(f"{folder}/closed")
        assert not system.exists(f"{folder}/open")


def test_what_was_staged_before_a_transaction_that_raises_is_left_alone(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    hypha.call("edit", artifact_id="ws/data", stage=True)
    with pytest.warns(StagedWarning, match="staged before"), pytest.raises(KeyError), fs.transaction:  # noqa: PT012, PT031
        fs.pipe_file("ws/data/new", b"new")
        raise KeyError
    assert fs._place("ws/data").files.status()["files"] == ["new"]


def test_without_staging_a_transaction_stores_files_when_it_ends(memory: ArtifactFileSystem) -> None:
    with memory.transaction:
        with memory.open("a", "wb") as file:
            file.write(b"a" * 100)
        assert not memory.exists("a")
    assert memory.cat_file("a") == b"a" * 100
    with pytest.raises(KeyError), memory.transaction:  # noqa: PT012
        with memory.open("b", "wb") as file:
            file.write(b"b")
        raise KeyError
    assert not memory.exists("b")


def test_a_copy_that_was_pickled_within_a_transaction_writes_into_it(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    with fs.transaction:
        fs.mkdirs("ws/data/part")
        script = (
            "import pickle, sys; fs = pickle.load(sys.stdin.buffer); fs.pipe_file('ws/data/part/there', b'1');"
            "import cloudfiles_hypha; assert fs.cat_file('ws/data/part/there') == b'1'"
        )
        subprocess.run([sys.executable, "-W", "error", "-c", script], input=pickle.dumps(fs), check=True, timeout=30)
        fs.pipe_file("ws/data/part/here", b"2")
        assert commits(hypha) == 0
    assert commits(hypha) == 1
    assert hypha.files("ws/data").keys() >= {"part/there", "part/here"}


# -- awaited


def test_files_are_awaited(fs: HyphaFileSystem) -> None:
    async def main() -> list[bytes]:
        async with await fs.open_async("ws/data/async", "wb") as file:
            await file.write(b"written ")
            await file.write(b"awaited")
        async with await fs.open_async("ws/data/async") as file:
            file.seek(8)
            found = [await file.read(3), await file.read()]
        with pytest.raises(KeyError):
            async with await fs.open_async("ws/data/none", "wb") as file:
                raise KeyError
        return found

    assert asyncio.run(main()) == [b"awa", b"ited"]
    assert not fs.exists("ws/data/none")


def test_many_awaited_reads_are_signed_together(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    names = [f"{n:03}" for n in range(200)]
    hypha.add_artifact("ws/many", dict.fromkeys(names, b"1"))

    async def main() -> list[Any]:
        return await asyncio.gather(*(fs._cat_file(f"ws/many/{name}") for name in names))

    assert asyncio.run(main()) == [b"1"] * 200
    assert hypha.count("get_file") <= 25


# -- below a prefix


@pytest.fixture
def below() -> Iterator[ArtifactFileSystem]:
    clear_memory()
    fs = ArtifactFileSystem("mem://fsspec/a/prefix", skip_instance_cache=True)
    fs.pipe({"one": b"1", "in/two": b"22"})
    yield fs
    clear_memory()


def test_names_are_below_the_root_however_they_are_asked_for(below: ArtifactFileSystem) -> None:
    assert below.info("one")["name"] == asyncio.run(below._info("one"))["name"] == "one"
    assert below.ls("", detail=False) == ["in", "one"]
    assert [entry["name"] for entry in below.ls("in")] == ["in/two"]
    assert [*below.walk("in")] == [("in", [], ["two"])]
    assert below.find("one") == ["one"]
    files = ArtifactFiles("mem://fsspec/a/prefix")
    assert (files.head("one").path, files.head(["in/two"])["in/two"].path) == ("one", "in/two")


def test_all_of_a_place_goes_in_and_out(below: ArtifactFileSystem, tmp_path: Path) -> None:
    below.get("", str(tmp_path / "copy"), recursive=True)
    assert (tmp_path / "copy" / "in" / "two").read_bytes() == b"22"
    assert below.cat("/", recursive=True) == {"one": b"1", "in/two": b"22"}
    below.rm("", recursive=True)
    assert below.find("") == []
    below.put(f"{tmp_path}/copy/", "", recursive=True)
    below.copy("in/", "/", recursive=True)
    assert below.find("/") == ["in/two", "one", "two"]


def test_a_folder_that_is_moved_to_where_it_is_stays(fs: HyphaFileSystem) -> None:
    fs.mv("ws/data/dir", "ws/data/dir/", recursive=True)
    fs.mv("ws/data/a.txt", "hypha://ws/data/a.txt")
    assert fs.find("ws/data") == [f"ws/data/{name}" for name in OLD]
    with pytest.raises(FileNotFoundError):
        fs.mv("ws/data/none", "ws/data/none")


def test_a_pattern_that_only_folders_have_removes_nothing_and_says_so(fs: HyphaFileSystem) -> None:
    with pytest.raises(IsADirectoryError, match="recursive=True"):
        fs.rm("ws/data/d*")
    fs.rm("ws/data/*")
    assert fs.find("ws/data") == ["ws/data/dir/b.bin", "ws/data/dir/deep/c.bin"]


# -- what others ask of files


@pytest.mark.parametrize("place", ["ws/data/dir/b.bin", ""])
def test_a_file_that_is_changed_in_place_is_read_and_written(hypha: FakeHypha, fs: HyphaFileSystem, place: str) -> None:
    any_fs, path = (fs, place) if place else (ArtifactFileSystem("mem://in-place", skip_instance_cache=True), "b")
    any_fs.pipe_file(path, TEN)
    with any_fs.open(path, "r+b") as file:
        assert (file.readable(), file.seekable(), file.read(2)) == (True, True, b"01")
        file.seek(4)
        file.write(b"XY")
    assert any_fs.cat_file(path) == b"0123XY6789"
    with any_fs.open(path, "r+") as text:
        assert text.readline() == "0123XY6789"
        text.truncate(4)
    with any_fs.open(path, "a+b") as file:
        file.write(b"!")
        file.seek(0)
        assert file.read() == b"0123!"

    def change_mind() -> None:
        with any_fs.open(path, "r+") as text:
            text.write("not this")
            raise KeyError

    with pytest.raises(KeyError):
        change_mind()
    assert any_fs.cat_file(path) == b"0123!"
    with pytest.raises(ValueError, match="compressed"):
        any_fs.open(path, "r+b", compression="gzip")


def test_what_readers_of_other_file_systems_are_asked_for_does_not_matter(fs: HyphaFileSystem, tmp_path: Path) -> None:
    with fs.open("ws/data/dir/b.bin", default_cache="none", fill_cache=False, size=10) as file:  # dask asks so
        assert file.read() == TEN
    blocks = CachingFileSystem(fs=fs, cache_storage=str(tmp_path), skip_instance_cache=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves the file that it maps to the collector
        with blocks.open("ws/data/dir/b.bin") as file:
            assert file.read(4) == b"0123"
        del file
        gc.collect()


# -- how many calls that takes


def test_a_pattern_lists_each_folder_that_it_may_lead_to_once(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    hypha.add_artifact("ws/parts", {f"set/{n:02}/deep/part": TEN for n in range(40)})
    assert len(fs.glob("ws/parts/set/*")) == 40
    assert hypha.count() == hypha.count("list_files") == 1
    assert len(fs.find("ws/parts/set", maxdepth=2, withdirs=True)) == 81
    assert hypha.count() == hypha.count("list_files") == 1 + 41


def test_whether_a_folder_is_there_takes_no_listing_of_all_in_it(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    hypha.add_artifact("ws/parts", {f"set/{n:02}/part": TEN for n in range(40)})
    assert fs.isdir("ws/parts/set")
    assert hypha.count("list_files") == 2


@pytest.mark.parametrize("levels", [1, 2, 3, 9])
def test_a_depth_is_counted_as_fsspec_does(fs: HyphaFileSystem, memory: ArtifactFileSystem, levels: int) -> None:
    memory.pipe({f"in/{name}": content for name, content in {**OLD, "dir/deep/er/d": b"", "e/f": b"1"}.items()})
    for path in ("in", "", "in/dir", "in/a.txt", "none"):
        for withdirs in (False, True):
            found = memory.find(path, maxdepth=levels, withdirs=withdirs, detail=True)
            walked = AbstractFileSystem.find(memory, path, maxdepth=levels, withdirs=withdirs)
            assert [*found] == walked
            assert all(entry == memory.info(name) for name, entry in found.items())
    with pytest.raises(ValueError, match="at least 1"):
        memory.find("in", maxdepth=0)
