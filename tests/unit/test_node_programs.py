"""Local paths for programs, and what comes from and goes to the web."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pytest

from cloudfiles_hypha.errors import (
    ObjectExists,
    PreconditionFailed,
    StorageError,
    StorageNotFoundError,
    StoragePermissionError,
)
from cloudfiles_hypha.mounts.manager import StorageManager
from tests.support.object_server import ObjectServer

UPPER = "import sys; from pathlib import Path; p = Path(sys.argv[1]); p.write_text(p.read_text().upper())"
MAKE_AND_WAIT = """
import sys, time
from pathlib import Path
*files, ended, go_on = map(Path, sys.argv[1:])
for file in files:
    file.write_text("made")
ended.touch()
while not go_on.exists():
    time.sleep(0.01)
"""
COPY = "import sys, shutil; shutil.copy(sys.argv[1], sys.argv[2])"


def threads_are_gone() -> None:
    """Wait until no thread of a call holds anything any more."""
    for thread in threading.enumerate():
        if thread.name.startswith("cloudfiles-hypha-call"):
            thread.join(30)


def write(text: str, path: str) -> None:
    Path(path).write_text(text)


def read(path: str) -> str:
    return Path(path).read_text()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are, so that what is left of them can be seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def left_in(folder: Path) -> dict[str, str]:
    """What each file is called that is left there, with its content."""
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


# -- local paths ------------------------------------------------------------------------------------------------------


def test_a_local_file_is_itself(storage: StorageManager, tmp_path: Path) -> None:
    node = storage.node("home:deep/file")
    with node.local_path("w") as path:
        assert path == str(tmp_path / "home" / "deep" / "file")
        Path(path).write_text("x")
    with node.local_path() as path:
        assert Path(path).read_text() == node.read_text() == "x"
    with pytest.raises(StorageNotFoundError), storage.node("home:missing").local_path():
        pass
    (tmp_path / "secret").write_text("not to be read")
    (tmp_path / "home" / "link").symlink_to(tmp_path / "secret")
    for mode in ("r", "w", "rw"):
        with pytest.raises(StoragePermissionError, match="leads out"), storage.node("home:link").local_path(mode):
            pass


def test_a_new_file_may_be_at_the_top_of_a_local_mount(storage: StorageManager, tmp_path: Path) -> None:
    for mode in ("w", "rw"):
        node = storage.node(f"home:{mode}.txt")
        with node.local_path(mode) as path:
            assert path == str(tmp_path / "home" / f"{mode}.txt")
            Path(path).write_text("new")
        assert node.read_text() == "new"


def test_a_link_that_leads_to_nothing_is_no_way_out(storage: StorageManager, tmp_path: Path) -> None:
    (tmp_path / "home" / "sub").mkdir()
    (tmp_path / "home" / "sub" / "link").symlink_to(tmp_path / "not-there-yet")
    for mode in ("w", "rw"):
        with pytest.raises(StoragePermissionError, match="link"), storage.node("home:sub/link").local_path(mode):
            pass
    node = storage.node("home:sub/link")
    with pytest.raises(StoragePermissionError, match="link"):
        node.call(sys.executable, "-c", "pass", node)


def test_a_file_elsewhere_is_a_temporary_one(storage: StorageManager) -> None:
    node = storage.node("mem:deep/file.txt")
    node.write("one")
    with node.local_path("rw") as path:
        assert path.endswith("/file.txt")
        assert Path(path).read_text() == "one"
        Path(path).write_text("two")
        assert node.read_text() == "one"
    assert node.read_text() == "two"
    assert not Path(path).parent.exists()
    with node.local_path("r") as path:
        Path(path).write_text("not stored")
    with storage.node("mem:new").local_path("w") as path:
        assert not Path(path).exists()
        Path(path).write_text("new")
    assert (node.read_text(), storage.node("mem:new").read_text()) == ("two", "new")


def test_a_block_that_raises_stores_nothing(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("one")
    for mode in ("w", "rw"):
        with pytest.raises(KeyError), node.local_path(mode) as path:  # noqa: PT012 -- the block is what raises
            Path(path).write_text("two")
            raise KeyError
        assert node.read_text() == "one"
        assert not Path(path).parent.exists()


def test_only_what_has_changed_is_stored(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("one")
    before = node.mtime()
    with node.local_path("rw") as path:
        Path(path).write_text("one")
    assert node.mtime() == before
    with storage.node("mem:never").local_path("rw"):
        pass
    assert not storage.node("mem:never").exists()


@pytest.mark.usefixtures("temporary")
def test_what_somebody_else_has_stored_meanwhile_is_not_overwritten(storage: StorageManager) -> None:
    node, new = storage.node("mem:file"), storage.node("mem:new")
    node.write("one")
    with pytest.raises(PreconditionFailed, match="^mem:file: "), node.local_path("rw") as path:  # noqa: PT012 -- the block is what raises
        Path(path).write_text("mine")
        node.write("theirs")
    with pytest.raises(ObjectExists, match="^mem:new: "), new.local_path("rw") as path:  # noqa: PT012 -- the block is what raises
        Path(path).write_text("mine")
        new.write("theirs")
    assert node.read_text() == new.read_text() == "theirs"


def test_what_could_not_be_stored_is_kept_where_the_error_says(storage: StorageManager, temporary: Path) -> None:
    node = storage.node("mem:file")
    node.write("one")
    with pytest.raises(PreconditionFailed) as caught, node.local_path("rw") as path:  # noqa: PT012 -- the block is what raises
        Path(path).write_text("mine")
        node.write("theirs")
    ((kept, content),) = left_in(temporary).items()
    assert content == "mine"
    assert f"kept as {kept!r}" in str(caught.value)
    assert Path(kept).name == "file"
    assert node.read_text() == "theirs"


def test_what_a_program_made_of_several_files_is_stored_or_kept(storage: StorageManager, temporary: Path) -> None:
    nodes = [storage.node(f"mem:{name}") for name in "abc"]
    for node in nodes:
        node.write(node.basename)
    go_on, ended = temporary.parent / "go-on", temporary.parent / "ended"
    running = nodes[0].call(sys.executable, "-c", MAKE_AND_WAIT, *nodes, ended, go_on, async_mode=True)
    while not ended.exists():
        time.sleep(0.01)
    nodes[0].write("theirs")
    nodes[2].write("theirs")
    go_on.touch()
    with pytest.raises(StorageError, match="2 files were not stored") as caught:
        running.result(30)
    threads_are_gone()
    assert [node.read_text() for node in nodes] == ["theirs", "made", "theirs"]
    left = left_in(temporary)
    assert [*left.values()] == ["made", "made"]
    assert all(f"kept as {path!r}" in str(caught.value) for path in left)


def test_a_path_to_which_nothing_was_written_says_so(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    with pytest.raises(StorageError, match="^mem:file: nothing was written"), node.local_path("w"):
        pass
    node.write("one")
    with pytest.raises(StorageError, match="removed"), node.local_path("rw") as path:
        Path(path).unlink()
    assert node.read_text() == "one"
    with pytest.raises(ValueError, match="mode='a'"), node.local_path("a"):
        pass


def test_a_content_encoding_stays(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.mount.files.put("file", "one", "text/plain", compress="gzip")
    with node.local_path("rw") as path:
        assert Path(path).read_text() == "one"
        Path(path).write_text("two")
    info = node.mount.files.head("file")
    assert (info.compress, info.content_type, node.read_text()) == ("gzip", "text/plain", "two")


def test_what_is_said_of_a_file_stays_when_a_program_changes_it(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    files = node.mount.files
    files.put("file", b"old", content_type="text/x-y", cache_control="no-store", metadata={"by": "me"})
    with node.local_path("rw") as path:
        Path(path).write_text("new")
    info = files.head("file")
    assert (node.read(), info.content_type, info.metadata) == (b"new", "text/x-y", {"by": "me"})
    assert info.headers["cache-control"] == "no-store"


def test_a_local_path_in_a_coroutine(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("one")

    async def main() -> None:
        async with node.local_path("rw") as path:
            write("two", path)
        async with node.aio.local_path() as path:
            assert read(path) == "two"
        with pytest.raises(KeyError):  # noqa: PT012 -- the block is what raises
            async with node.local_path("rw") as path:
                write("three", path)
                raise KeyError
        with pytest.raises(TypeError, match="async with"), node.local_path():
            pass

    asyncio.run(main())
    assert node.read_text() == "two"


# -- programs ---------------------------------------------------------------------------------------------------------


def test_a_program_works_on_nodes(storage: StorageManager) -> None:
    node, out = storage.node("mem:in.txt"), storage.node("mem:out.txt")
    node.write("text")
    assert node.call(sys.executable, "-c", UPPER, node) is None
    node.call(sys.executable, "-c", COPY, node, out)
    assert node.read() == out.read() == b"TEXT"
    assert node.call(sys.executable, "-c", "print('said', end='')", return_output=True) == "said"
    called: list[str] = []
    node.call(sys.executable, "-c", UPPER, node, callback=lambda: called.append("yes"))
    assert called == ["yes"]


def test_a_node_that_is_named_twice_has_one_path(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("text")
    same = "import sys; print(sys.argv[1] == sys.argv[2])"
    assert node.call(sys.executable, "-c", same, node, node, return_output=True) == "True\n"


def test_a_file_that_one_of_two_mounts_lets_be_written_is_written(storage: StorageManager) -> None:
    storage.add_mount({"name": "shown", "path": "mem:", "permissions": "readonly"})
    shown, node = storage.node("shown:file"), storage.node("mem:file")
    node.write("text")
    node.call(sys.executable, "-c", UPPER, shown, node)
    assert node.read() == b"TEXT"


def test_an_argument_that_is_none_is_refused(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("text")
    for wrong in ([node], None):
        with pytest.raises(TypeError, match="each by itself"):
            node.call(sys.executable, "-c", "pass", wrong)


def test_a_program_that_fails_stores_nothing(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("text")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        node.call(sys.executable, "-c", UPPER + "; sys.exit(3)", node)
    assert caught.value.returncode == 3
    assert node.read() == b"text"
    with pytest.raises(subprocess.TimeoutExpired):
        node.call(sys.executable, "-c", "import time; time.sleep(60)", timeout=0.2)
    with pytest.raises(FileNotFoundError):
        node.call("no-such-program-at-all")


def test_a_shell_takes_one_string(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    assert node.call("echo said", shell=True, return_output=True).strip() == "said"
    for args in (("cat", node), (node,), ("echo", "; rm")):
        with pytest.raises(ValueError, match="shell=True takes one string"):
            node.call(*args, shell=True)
    with pytest.raises(TypeError, match="which program"):
        node.call()


def test_what_cannot_be_written_is_read_only(storage: StorageManager) -> None:
    storage.node("mem:file").write("text")
    storage.add_mount({"name": "part", "path": "mem:", "permissions": "readonly"})
    node = storage.node("part:file")
    assert node.call(sys.executable, "-c", "import sys; print(open(sys.argv[1]).read())", node, return_output=True)
    node.call(sys.executable, "-c", UPPER, node)
    assert node.read() == b"text"


def test_a_program_that_is_not_waited_for_is_a_future(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("text")
    running = node.call(sys.executable, "-c", UPPER, node, async_mode=True)
    assert running.result(timeout=30) is None
    assert node.read() == b"TEXT"
    failing = node.call(sys.executable, "-c", "import sys; sys.exit(3)", async_mode=True)
    assert isinstance(failing.exception(timeout=30), subprocess.CalledProcessError)


def test_a_failure_that_nobody_asks_for_warns(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    ended = threading.Event()
    running = node.call(sys.executable, "-c", "import sys; sys.exit(3)", async_mode=True)
    running.add_done_callback(lambda future: ended.set())
    assert ended.wait(30)
    threads_are_gone()
    told: list[warnings.WarningMessage]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del running
        gc.collect()
    assert [str(each.message) for each in told if each.category is RuntimeWarning] == [
        f"{sys.executable}: failed, and nobody asked: Command '[{sys.executable!r}, '-c', 'import sys; sys.exit(3)']' "
        "returned non-zero exit status 3."
    ]


def test_a_program_is_awaited(storage: StorageManager) -> None:
    node = storage.node("mem:file")
    node.write("text")

    async def main() -> None:
        await node.call(sys.executable, "-c", UPPER, node)
        assert await node.call(sys.executable, "-c", "print(1)", return_output=True, async_mode=True) == "1\n"
        with pytest.raises(subprocess.CalledProcessError):
            await node.call(sys.executable, "-c", "import sys; sys.exit(3)")
        with pytest.raises(asyncio.TimeoutError):  # which ends the program
            await asyncio.wait_for(node.aio.call(sys.executable, "-c", "import time; time.sleep(60)"), 0.3)

    asyncio.run(main())
    assert node.read() == b"TEXT"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell is needed")
def test_to_be_cancelled_does_not_wait_for_what_a_program_has_left_behind(
    storage: StorageManager, tmp_path: Path
) -> None:
    # the shell starts another program, which holds the output open until the file is gone
    ready = tmp_path / "ready"
    left = f"touch '{ready}'; while [ -e '{ready}' ]; do sleep 0.1; done; true"
    node = storage.node("mem:file")
    ended: list[bool] = []

    async def main() -> None:
        task = asyncio.create_task(node.call("sh", "-c", f'sh -c "{left}"; true', return_output=True))
        while not ready.exists():  # noqa: ASYNC110 -- another process makes it
            await asyncio.sleep(0.02)
        task.cancel()
        try:
            await asyncio.wait([task], timeout=20)
            ended.append(task.done())
        finally:
            ready.unlink()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == [True]


def test_what_a_program_is_given_and_writes_is_not_cut_where_it_takes_its_time(storage: StorageManager) -> None:
    slow = "import sys, time; text = sys.stdin.read(); time.sleep(0.5); sys.stdout.write(text.upper())"

    async def main() -> None:
        node = storage.node("mem:file")
        text = "much " * 100_000
        assert await node.call(sys.executable, "-c", slow, return_output=True, input=text, text=True) == text.upper()
        with pytest.raises(subprocess.TimeoutExpired, match=r"after 0\.3 seconds"):
            await node.call(sys.executable, "-c", slow, return_output=True, input=b"x", timeout=0.3)

    asyncio.run(main())


# -- the web ----------------------------------------------------------------------------------------------------------


def test_content_as_base64(storage: StorageManager) -> None:
    node = storage.node("mem:image.png")
    node.write(b"\xff\xd8\xfe")
    assert node.to_base64() == "data:image/png;base64,/9j+"
    assert node.to_base64("image/x-icon") == "data:image/x-icon;base64,/9j+"
    assert node.to_base64(include_uri=False) == "/9j+"
    with pytest.raises(StorageNotFoundError):
        storage.node("mem:missing").to_base64()


def test_a_node_is_filled_from_a_url(storage: StorageManager) -> None:
    with ObjectServer() as server:
        server.put("folder/file.bin", b"payload" * 1000)
        node = storage.node("mem:filled")
        node.fill_from_url(f"{server.url}/folder/file.bin?signature=abc#part")
        assert node.read() == b"payload" * 1000
        with pytest.raises(StorageNotFoundError, match="^mem:other: ") as caught:
            storage.node("mem:other").fill_from_url(f"{server.url}/missing?signature=abc", timeout=5)
        assert "abc" not in str(caught.value)
        assert not storage.node("mem:other").exists()

        async def main() -> None:
            await storage.node("home:filled").fill_from_url(f"{server.url}/folder/file.bin#part")

        asyncio.run(main())
        assert storage.node("home:filled").same_content(node)
    for wrong in ("file:///etc/passwd", "s3://bucket/file", "/etc/passwd"):
        with pytest.raises(ValueError, match="http"):
            node.fill_from_url(wrong)


def test_a_url_is_tried_no_longer_than_was_said(storage: StorageManager) -> None:
    with ObjectServer() as server:
        url = server.url + "/file"
    node = storage.node("mem:filled")
    with pytest.raises(ConnectionError, match="mem:filled"):  # nobody is there any more
        node.fill_from_url(url, timeout=0.2)
    assert not node.exists()


def test_nothing_of_the_mount_goes_to_a_url(storage: StorageManager) -> None:
    with ObjectServer() as server:
        server.put("file", b"x")
        storage.add_mount({"name": "own", "protocol": "memory", "headers": {"X-Api-Key": "secret"}, "token": "secret"})
        storage.node("own:file").fill_from_url(f"{server.url}/file")
        assert server.requests
        assert not any("secret" in str(request) for request in server.requests)
