"""Files that are open for writing: what goes out when, what is published, and what never is."""

from __future__ import annotations

import errno
import faulthandler
import gc
import io
import os
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    ArtifactFiles,
    InvalidRequest,
    ObjectExists,
    ObjectNotFound,
    PreconditionFailed,
    StagedWarning,
    TransferError,
    writing,
)
from cloudfiles_hypha.backends.memory import clear_memory
from cloudfiles_hypha.engine import calls, locks
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, Status

MIB = 1024 * 1024
STORES = ["hypha", "mem", "file"]
IN_PARTS: dict[str, Any] = {"multipart_threshold": 5 * MIB, "part_size": 5 * MIB}


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as server:
        server.add_artifact("ws/a", {"there.txt": b"there"})
        yield server


@pytest.fixture(params=STORES)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactFiles]:
    """A place with ``there.txt`` in it, on every kind of store."""
    if request.param == "hypha":
        with connect(request.getfixturevalue("hypha")) as opened:
            yield opened
        return
    clear_memory()
    place = f"{tmp_path}/data" if request.param == "file" else "mem://writing"
    with ArtifactFiles(place) as opened:
        opened.put("there.txt", b"there")
        yield opened
    clear_memory()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is more than 100 KB is a stream."""
    monkeypatch.setattr(writing, "_SMALL", 100_000)
    monkeypatch.setattr(writing, "_AHEAD", 100_000)
    monkeypatch.setattr(writing, "BLOCK", 10_000)


def test_what_is_written_is_stored_when_the_file_is_closed(files: ArtifactFiles) -> None:
    with files.open("new.txt", "w") as file:
        assert file.write("grün\n") == 5
        file.flush()
        assert not files.exists("new.txt")
    assert files.get("new.txt") == "grün\n".encode()
    with files.open("new.bin", "wb") as binary:
        binary.write(b"abc")
        binary.write(memoryview(b"defg")[1:])
        assert binary.tell() == 6
    assert files.get("new.bin") == b"abcefg"


def test_a_body_that_raises_publishes_nothing(files: ArtifactFiles, small: None) -> None:
    for size in (10, 500_000):  # kept here, and under way
        with pytest.raises(ZeroDivisionError), files.open("there.txt", "wb") as file:  # noqa: PT012
            file.write(bytes(size))
            1 / 0
        assert file.closed
        assert files.get("there.txt") == b"there"
    with pytest.raises(ZeroDivisionError), files.open("text", "w") as text:  # noqa: PT012
        text.write("text" * 100_000)
        1 / 0
    assert not files.exists("text")
    assert sorted(files) == ["there.txt"]


def test_a_body_that_raises_leaves_nothing_staged(hypha: FakeHypha, small: None) -> None:
    with connect(hypha) as files:
        with pytest.raises(ZeroDivisionError), files.open("x", "wb") as file:  # noqa: PT012
            file.write(bytes(500_000))
            1 / 0
        assert not files.status()["staged"]


def test_what_is_forgotten_is_not_published_by_the_collector(files: ArtifactFiles, small: None) -> None:
    for mode, data in (("wb", b"x" * 10), ("wb", b"x" * 500_000), ("w", "x" * 10), ("w", "x" * 500_000), ("ab", b"x")):
        with pytest.warns(ResourceWarning, match="was not closed"):  # noqa: PT031
            files.open("there.txt", mode).write(data)
            gc.collect()
        assert files.get("there.txt") == b"there"


class Full:
    """A temporary file of a disk that is full."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "the disk is full")


def test_a_file_of_which_a_write_has_failed_is_not_published_by_closing_it(files: ArtifactFiles) -> None:
    file = files.open("there.txt", "ab")
    file.write(b"begun")
    file._file = Full(file._file)
    with pytest.raises(OSError, match="disk is full"):
        file.write(b"lost")
    with pytest.raises(TransferError, match="an earlier write has failed"):
        file.write(b"more")
    with pytest.raises(TransferError, match="an earlier write has failed"):
        file.close()
    assert file.closed
    assert files.get("there.txt") == b"there"


@pytest.mark.parametrize("mode", ["w", "a", "r+"])
def test_text_that_cannot_be_written_in_closing_publishes_nothing(
    files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    file = files.open("there.txt", mode)
    file.write("kept until it is closed")

    def interrupted(self: object, data: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(file.buffer), "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        file.close()
    assert file.closed
    assert files.get("there.txt") == b"there"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_text_of_an_encoding_with_a_mark_can_be_read_again(files: ArtifactFiles, encoding: str) -> None:
    for mode, text in (("w", "ab"), ("a", "cd")):
        with files.open("marked", mode, encoding=encoding) as file:
            file.write(text)
    assert files.get("marked") == "abcd".encode(encoding)
    with files.open("marked", "r", encoding=encoding) as file:
        assert file.read() == "abcd"


def test_a_long_stream_goes_out_while_it_is_written_in_bounded_memory(
    hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_SMALL", MIB)
    held: list[int] = []
    pushed = writing._Pipe.push

    def push(pipe: writing._Pipe, block: bytes) -> None:
        pushed(pipe, block)
        held.append(pipe._size)

    monkeypatch.setattr(writing._Pipe, "push", push)
    with connect(hypha, **IN_PARTS) as files:
        block = bytes(MIB)
        with files.open("big", "wb") as file:
            for number in range(32):
                file.write(number.to_bytes(1, "big") + block)
            sent_before = sum(r.method == "PUT" for r in hypha.store.requests)
            assert sent_before >= 1  # a first part is stored, and the file is not closed
            assert not files.exists("big")
        assert max(held) <= writing._AHEAD + MIB
        assert files.get("big") == b"".join(number.to_bytes(1, "big") + block for number in range(32))


def test_writers_that_close_together_share_one_commit(hypha: FakeHypha) -> None:
    hypha.slow("put_file", per_call=0.1)
    with connect(hypha) as files, ThreadPoolExecutor(5) as pool:
        opened = [files.open(f"file_{n}", "w") for n in range(5)]
        for n, file in enumerate(opened):
            file.write(f"Content {n}")
        hypha.forget_requests()
        list(pool.map(lambda file: file.close(), opened))
        assert hypha.count("commit") == 1
        assert {n: files.get(f"file_{n}") for n in range(5)} == {n: f"Content {n}".encode() for n in range(5)}


def test_a_large_file_that_is_open_holds_nobody_up(hypha: FakeHypha, small: None) -> None:
    """Whoever writes beside it may be who has it open, in this thread or in one that it waits for."""
    with connect(hypha) as files:
        first, second = files.open("first", "wb"), files.open("second", "wb")
        first.write(bytes(500_000))
        with pytest.warns(StagedWarning, match="before the large file is closed"):
            files.put("beside", b"beside")
        second.write(bytes(400_000))
        with pytest.warns(StagedWarning, match="before the large file is closed"):
            first.close()
        with pytest.raises(InvalidRequest, match="open for writing"), files.staged():
            pass
        assert not hypha.count("commit")
        second.close()
        assert hypha.count("commit") == 1
        assert files.size(["first", "second", "beside"]) == {"first": 500_000, "second": 400_000, "beside": 6}


def test_what_waits_for_a_large_file_is_published_though_that_gives_up(hypha: FakeHypha, small: None) -> None:
    with connect(hypha) as files:
        with pytest.raises(ZeroDivisionError), files.open("big", "wb") as big:  # noqa: PT012
            big.write(bytes(500_000))
            with pytest.warns(StagedWarning, match="before the large file"):
                files.put("beside", b"beside")
            1 / 0
        assert sorted(hypha.files("ws/a")) == ["beside", "there.txt"]
        assert not files.status()["staged"]


def test_writers_go_on_joining_while_a_large_file_is_open(
    hypha: FakeHypha, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(hypha) as files, files.open("big", "wb") as big:
        big.write(bytes(500_000))
        monkeypatch.setattr("cloudfiles_hypha.backends.hypha.groups._ADMITTING", 0.0)
        for name in ("one", "two"):
            with pytest.warns(StagedWarning, match="before the large file"):
                files.put(name, b"")
    assert sorted(hypha.files("ws/a")) == ["big", "one", "there.txt", "two"]


def test_a_staged_block_ends_with_an_error_where_a_large_file_is_still_open(hypha: FakeHypha, small: None) -> None:
    with connect(hypha) as files:
        with pytest.raises(InvalidRequest, match="close it before the end"), files.staged():  # noqa: PT012
            file = files.open("big", "wb")
            file.write(bytes(500_000))
        with pytest.warns(StagedWarning):
            file.close()
        files.commit()
        assert files.size("big") == 500_000


def test_mode_x_makes_new_files_only(files: ArtifactFiles, small: None) -> None:
    with pytest.raises(FileExistsError, match=r"there\.txt"):
        files.open("there.txt", "x")
    for name, size in (("small", 5), ("large", 500_000)):
        file = files.open(name, "xb")
        file.write(b"mine" * size)
        if size == 5:
            files.put(name, b"somebody else's")
            with pytest.raises(FileExistsError):
                file.close()
            assert file.closed
            assert files.get(name) == b"somebody else's"
        else:
            file.close()
            assert files.size(name) == 4 * size
    assert issubclass(ObjectExists, FileExistsError)


def test_a_store_that_can_decide_does_so_in_the_moment_of_the_write() -> None:
    asked: list[Any] = []

    def etag() -> str | None:
        raise ObjectNotFound("not there", path="x")

    def fetch(file: Any) -> str | None:
        return "etag"

    for mode in ("xb", "r+b"):
        can = frozenset({"new", "pinned"})
        place = writing.Place(lambda _, how: asked.append(how), etag, fetch, nullcontext, can, streams=True)
        with writing.open_to_write(place, "x", mode, None, None, None) as file:
            file.write(b"")  # type: ignore[arg-type]
    assert asked == [{"overwrite": "never"}, {"if_match": "etag"}]


def test_mode_a_adds_to_what_is_there(files: ArtifactFiles) -> None:
    for n in range(2):
        with files.open("log", "a") as file:
            file.write(f"line {n}\n")
    with files.open("log", "ab") as binary:
        binary.seek(0)
        binary.write(b"end")
    assert files.get("log") == b"line 0\nline 1\nend"


def test_mode_r_plus_changes_places(files: ArtifactFiles) -> None:
    with files.open("there.txt", "r+b") as file:
        assert file.read(2) == b"th"
        file.write(b"OSE")
        file.truncate()
        file.seek(0)
        assert file.read() == b"thOSE"
    assert files.get("there.txt") == b"thOSE"
    with files.open("there.txt", "r+") as text:
        assert text.read() == "thOSE"
    with files.open("there.txt", "w+") as text:
        text.write("new")
        text.seek(0)
        assert text.read() == "new"
    assert files.get("there.txt") == b"new"
    with pytest.raises(ObjectNotFound):
        files.open("missing", "r+")


def test_what_was_not_changed_is_not_written(hypha: FakeHypha) -> None:
    with connect(hypha) as files, files.open("there.txt", "r+b") as file:
        assert file.read() == b"there"
    assert not hypha.count("put_file")


def test_two_who_change_one_file_do_not_lose_what_the_other_wrote(files: ArtifactFiles) -> None:
    one, two = files.open("there.txt", "a"), files.open("there.txt", "a")
    one.write(" one")
    two.write(" two")
    one.close()
    with pytest.raises(PreconditionFailed):
        two.close()
    assert files.get("there.txt") == b"there one"


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_what_is_said_of_a_file_stays_when_its_content_is_changed(mode: str) -> None:
    clear_memory()
    with ArtifactFiles("mem://writing") as files:
        files.put("a", b"one", "text/csv", "no-cache", compress="gzip", metadata={"by": "me"})
        with files.open("a", mode) as file:
            file.seek(0, io.SEEK_END)
            file.write(b" two")
        info = files.head("a")
        assert files.get("a") == b"one two"
        assert (info.content_type, info.compress, info.metadata) == ("text/csv", "gzip", {"by": "me"})
        assert info.headers["cache-control"] == "no-cache"
        with files.open("a", mode, content_type="text/plain") as file:
            file.write(b"")
        assert files.head("a").content_type == "text/plain"
    clear_memory()


def test_the_type_of_a_file_of_an_artifact_stays_when_it_is_appended_to(hypha: FakeHypha) -> None:
    with connect(hypha) as files:
        files.put("a.csv", b"one", "text/csv")
        with files.open("a.csv", "ab") as file:
            file.write(b" two")
        assert (files.get("a.csv"), files.head("a.csv").content_type) == (b"one two", "text/csv")


def test_two_who_begin_one_file_by_appending_do_not_lose_what_the_other_wrote(files: ArtifactFiles) -> None:
    one, two = files.open("log", "a"), files.open("log", "a")
    one.write("one")
    two.write("two")
    one.close()
    with pytest.raises(FileExistsError):
        two.close()
    assert files.get("log") == b"one"


def test_what_is_staged_to_be_removed_is_not_there_for_who_writes_next(hypha: FakeHypha) -> None:
    with connect(hypha) as files:
        for mode in ("a", "x"):
            with files.staged():
                files.delete("there.txt")
                with files.open("there.txt", mode) as file:
                    file.write("anew")
            assert files.get("there.txt") == b"anew"
        with files.staged():
            files.delete("there.txt")
            with pytest.raises(ObjectNotFound):
                files.open("there.txt", "r+")
            files.touch("there.txt")
        assert files.get("there.txt") == b""


def test_touch_leaves_what_is_staged_as_it_is(hypha: FakeHypha) -> None:
    with connect(hypha) as files:
        with files.staged():
            files.put("new.txt", b"staged")
            files.touch(["new.txt", "empty.txt", "there.txt"])
        assert [files.get(name) for name in ("new.txt", "empty.txt", "there.txt")] == [b"staged", b"", b"there"]


@pytest.mark.parametrize("mode", ["ab", "r+b", "xb"])
def test_threads_that_close_one_file_together_lose_nothing(hypha: FakeHypha, mode: str) -> None:
    name = "new.txt" if mode == "xb" else "there.txt"
    with connect(hypha) as files, ThreadPoolExecutor(4) as threads:
        opened = [files.open(name, mode) for _ in range(4)]
        for number, file in enumerate(opened):
            file.seek(0, io.SEEK_END) if mode == "r+b" else None
            file.write(str(number).encode())
        gate = threading.Barrier(4)

        def close(file: Any) -> Exception | None:
            gate.wait()
            try:
                file.close()
            except OSError as error:
                return error
            return None

        errors = [*threads.map(close, opened)]
        assert errors.count(None) == 1
        kind = ObjectExists if mode == "xb" else PreconditionFailed
        assert all(isinstance(error, kind) for error in errors if error is not None)
        there = b"" if mode == "xb" else b"there"
        assert files.get(name) == there + str(errors.index(None)).encode()
    assert not locks._turns


def test_what_is_staged_is_what_is_added_to(hypha: FakeHypha) -> None:
    with connect(hypha) as files:
        with files.staged(version="new"):
            for word in ("one", " two"):
                with files.open("log", "a") as file:
                    file.write(word)
        assert files.get("log") == b"one two"


def test_a_store_that_fails_on_the_way_is_an_error_of_the_next_write_and_of_closing(
    hypha: FakeHypha, small: None
) -> None:
    hypha.fault("put_file_start_multipart", Always(Status(500)))
    hypha.fault("put_file", Always(Status(500)))
    with connect(hypha, multipart_threshold=200_000) as files:
        file = files.open("big", "wb")
        with pytest.raises(TransferError):  # noqa: PT012 -- whichever write finds out first
            for _ in range(1000):
                file.write(bytes(50_000))
        with pytest.raises(TransferError, match="earlier write"):
            file.write(b"more")
        with pytest.raises(TransferError, match="earlier write"):
            file.close()
        assert file.closed


def test_it_is_a_file_like_any_other(files: ArtifactFiles) -> None:
    with files.open("a.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("member", "content")
    assert zipfile.ZipFile(io.BytesIO(files.get("a.zip"))).read("member") == b"content"
    with files.open("b.txt", "wb") as file, io.TextIOWrapper(file, "utf-16") as text:
        print("grün", file=text)
    assert files.get("b.txt").decode("utf-16") == "grün\n"
    with files.open("c.txt", "w", encoding="latin-1", newline="\r\n") as lines:
        lines.writelines(["ü\n", "b\n"])
        assert (lines.encoding, lines.name, lines.mode) == ("latin-1", "c.txt", "w")
        assert (lines.readable(), lines.writable(), lines.seekable()) == (False, True, False)
    assert files.get("c.txt") == b"\xfc\r\nb\r\n"
    with pytest.raises(ValueError, match="closed"):
        file.write(b"")
    with files.open("d", "wb") as file:
        with pytest.raises(TypeError, match="not text"):
            file.write("text")  # type: ignore[arg-type]
        with pytest.raises(io.UnsupportedOperation):
            file.read()
        with pytest.raises(io.UnsupportedOperation):
            file.seek(0)


@pytest.mark.parametrize("mode", ["", "wr", "ww", "wbt", "q", "rw+", "+"])
def test_a_mode_that_there_is_not_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="mode"):
        ArtifactFiles("mem://writing").open("x", mode)


def test_bytes_have_no_encoding() -> None:
    with pytest.raises(ValueError, match="no encoding"):
        ArtifactFiles("mem://writing").open("x", "wb", encoding="utf-8")


def test_where_no_thread_can_send_it_is_gathered_on_disk(hypha: FakeHypha, small: None) -> None:
    with connect(hypha, num_threads=0) as files:
        before = threading.active_count()
        with files.open("big", "wb") as file:
            file.write(bytes(500_000))
            assert threading.active_count() == before
        assert files.size("big") == 500_000


def test_where_no_thread_can_be_started_it_is_sent_when_it_is_closed(
    hypha: FakeHypha, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(hypha) as files:
        opened = files.open("before", "wb")
        monkeypatch.setattr(calls.exiting, "is_set", lambda: True)  # as at the end of the interpreter
        with opened, files.open("after", "wb") as file:
            opened.write(bytes(500_000))
            file.write(bytes(500_000))
        assert files.size(["before", "after"]) == {"before": 500_000, "after": 500_000}


def test_an_encoding_that_there_is_not_leaves_nothing_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LookupError, match="utf-9"):
            ArtifactFiles("mem://writing").open("x", "w", encoding="utf-9")
        gc.collect()


def test_content_type_goes_with_it(hypha: FakeHypha) -> None:
    with connect(hypha) as files:
        with files.open("page", "w", content_type="text/html") as file:
            file.write("<p>")
        assert files.head("page").content_type == "text/html"


# -- in forked children


def ends_of(write: Callable[[], object]) -> int:
    """How a forked child ends that writes: 7 if it was told that the file is not its own."""
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(5, exit=True)
        try:
            write()
            os._exit(0)
        except RuntimeError:
            os._exit(7)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("mode", ["wb", "r+b", "w"])
def test_a_file_is_written_by_the_process_that_opened_it(files: ArtifactFiles, small: None, mode: str) -> None:
    content: Any = b"new" * 100_000 if mode == "wb" else "new" if mode == "w" else b"new"
    file = files.open("there.txt", mode)
    file.write(content)  # of the long one, a thread sends what has come
    assert ends_of(file.close) == 7
    assert ends_of(lambda: (file.write(content), file.flush())) == 7
    assert ends_of(file.abort) == 0
    assert ends_of(lambda: file.__exit__(KeyError, KeyError(), None)) == 0
    assert ends_of(file.__del__) == 0
    file.close()
    assert files.get("there.txt") == {"wb": b"new" * 100_000, "w": b"new", "r+b": b"newre"}[mode]
