"""``HyphaArtifact`` and ``AsyncHyphaArtifact``: the examples of their documentation, their promises, their manners."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    ArtifactExists,
    AsyncArtifactFiles,
    BatchError,
    InvalidContent,
    PreconditionFailed,
    TransferError,
    writing,
)
from cloudfiles_hypha.compat import hypha_artifact
from cloudfiles_hypha.filesystem.artifact import HyphaArtifact
from cloudfiles_hypha.filesystem.async_artifact import AsyncHyphaArtifact
from tests.support.artifact_examples import EXAMPLES, FILES, run_example
from tests.support.clients import QUICK
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, Status


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as server:
        server.add_artifact("ws/a", FILES)
        yield server


def options(hypha: FakeHypha) -> dict[str, Any]:
    return {"workspace": "ws", "token": hypha.token, "server_url": hypha.url, "retry": QUICK}


@pytest.fixture
def artifact(hypha: FakeHypha) -> Iterator[HyphaArtifact]:
    with HyphaArtifact("a", **options(hypha)) as opened:
        yield opened


def in_loop(hypha: FakeHypha, work: Any) -> Any:
    """What ``work`` gives of an ``AsyncHyphaArtifact``."""

    async def run() -> Any:
        async with AsyncHyphaArtifact("a", **options(hypha)) as artifact:
            return await work(artifact)

    return asyncio.run(run())


# -- the examples


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_of_the_documentation_runs_with_only_the_import_changed(
    title: str, hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example(title, "a", "ws", hypha.token, hypha.url, monkeypatch)
    said = capsys.readouterr().out
    expected = {
        "Synchronous Version": "Hello, Hypha!\n['file1.txt', 'file2.txt', 'hello.txt', 'large_file.txt', 'path']\n",
        "Asynchronous Version (Recommended)": (
            "Hello, Hypha!\n['file1.txt', 'file2.txt', 'hello.txt', 'large_file.txt', 'path']\n"
        ),
        "Reading a File": "This is a test file\n" * 4,
        "Reading a Partial File with HTTP Range": "0123456789\n" * 2,
        "Checking if a File Exists": "File exists: True\n" * 2,
        "Listing Files": "path/to/dir/deep\npath/to/dir/one.txt\n['path/to/dir/deep', 'path/to/dir/one.txt']\n" * 2,
        "Getting First Bytes of a File": "b'This is a test file'\n" * 2,
        "Getting File Size": "File size: 19 bytes\n[1, 2]\n" * 2,
        "Concurrent Operations": "".join(f"File {n}: Content for file {n}\n" for n in range(5)),
        "Synchronous Example": (
            "File exists: True\nFiles in test_folder: ['test_folder/example_file.txt']\n"
            "File content: This is a test file\nFirst 10 bytes: This is a \n"
        ),
    }
    if title.endswith("Error Handling"):
        assert said.startswith("File not found: ")
        assert "non_existent_file.txt" in said
    assert said == expected.get(title, said)
    kept = hypha.files("ws/a")
    assert ("path/to/file.txt" in kept) == (title != "Removing a File")
    assert not any("copy" in name for name in kept)


def test_all_examples_of_the_documentation_are_there() -> None:
    assert len(EXAMPLES) == 21


def test_the_drop_in_module_has_upstreams_names() -> None:
    assert hypha_artifact.__all__ == ["AsyncHyphaArtifact", "HyphaArtifact"]
    assert hypha_artifact.HyphaArtifact is HyphaArtifact


def test_both_have_the_same_methods_with_the_same_arguments() -> None:
    def surface(kind: type) -> dict[str, object]:
        names = [name for name in dir(kind) if not name.startswith("_")]
        return {
            name: [*inspect.signature(member).parameters.values()]
            if callable(member := inspect.getattr_static(kind, name))
            else None
            for name in names
        }

    plain, awaited = surface(HyphaArtifact), surface(AsyncHyphaArtifact)
    extra = awaited.keys() - plain.keys()
    assert extra == {"aclose", "files"}  # the latter is an attribute of the other
    assert plain == {name: signature for name, signature in awaited.items() if name not in extra}


# -- construction


def test_it_is_named_by_alias_or_id_in_the_order_that_is_documented(hypha: FakeHypha) -> None:
    for made in (
        HyphaArtifact("a", "ws", hypha.token, hypha.url),
        HyphaArtifact("ws/a", token=hypha.token, server_url=hypha.url),
        HyphaArtifact(artifact_id="ws/a", token=hypha.token, server_url=hypha.url),
        HyphaArtifact(artifact_alias="a", workspace="ws", token=hypha.token, server_url=hypha.url),
    ):
        with made:
            assert made.cat("file1.txt") == "1"
            assert (made.artifact_alias, made.artifact_id) == ("a", "ws/a")
            assert hypha.token not in repr(made)
            with pickle.loads(pickle.dumps(made)) as copied:
                assert copied.cat("file2.txt") == "22"
    with pytest.raises(TypeError, match="artifact_alias"):
        HyphaArtifact()
    with pytest.raises(ValueError, match="not in workspace"):
        HyphaArtifact("other/a", "ws")
    with pytest.raises(ValueError, match="certificate"):
        HyphaArtifact("ws/a", disable_ssl=True)


# -- reading and looking


def test_a_slash_in_front_changes_nothing(artifact: HyphaArtifact) -> None:
    assert artifact.cat("/path/to/file.txt") == artifact.cat("./path/to/file.txt") == "This is a test file"
    assert artifact.ls("/path/to/dir/", detail=False) == artifact.ls("path/to/dir", detail=False)
    assert artifact.size("/file2.txt") == 2


def test_cat_of_several_gives_a_dict(artifact: HyphaArtifact) -> None:
    assert artifact.cat(["/file1.txt", "file2.txt"]) == {"/file1.txt": "1", "file2.txt": "22"}
    assert artifact.cat("path/to/dir", recursive=True) == {
        "path/to/dir/deep/two.txt": "22",
        "path/to/dir/one.txt": "1",
    }
    assert artifact.cat("large_file.txt", start=1003, end=1006) == "345"
    assert artifact.cat(["large_file.txt"], start=1003, end=1006) == {"large_file.txt": "345"}
    assert artifact.cat(["file1.txt", "nope"], on_error="ignore") == {"file1.txt": "1"}
    assert artifact.cat("nope", on_error="ignore") is None
    with pytest.raises(FileNotFoundError, match="nope") as raised:
        artifact.cat(["file1.txt", "nope"])
    assert isinstance(raised.value.__cause__, BatchError)


def test_many_are_read_in_one_batch(artifact: HyphaArtifact, hypha: FakeHypha) -> None:
    hypha.forget_requests()
    artifact.cat([*FILES])
    assert hypha.count("get_file") == 1
    hypha.forget_requests()
    artifact.sizes([*FILES])
    assert hypha.count("get_file") == 1


def test_what_is_not_text_is_an_error_that_says_what_to_do(artifact: HyphaArtifact) -> None:
    artifact.files.put("bin", b"\xff\xfe")
    for path in ("bin", ["bin"]):
        with pytest.raises(InvalidContent, match=r"bin.*rb"):
            artifact.cat(path)
    assert artifact.open("bin", "rb").read() == b"\xff\xfe"


def test_reading_ten_bytes_moves_few(artifact: HyphaArtifact, hypha: FakeHypha) -> None:
    artifact.files.put("huge", b"0123456789" * 100_000)
    hypha.store.forget_requests()
    with artifact.open("huge", "r") as file:
        assert file.read(10) == "0123456789"
        file.seek(500_003)
        assert file.read(5) == "34567"
        assert file.tell() == 500_008
    ranges = [request.headers.get("range", "whole") for request in hypha.store.requests if request.method == "GET"]
    moved = sum(int(end) - int(start) + 1 for start, end in (text[6:].split("-") for text in ranges))
    assert moved <= 20_000


def test_ls_gives_details_by_whole_names(artifact: HyphaArtifact) -> None:
    folder, file = artifact.ls("path/to/dir")
    assert folder == {"name": "path/to/dir/deep", "type": "directory", "size": 0, "last_modified": None, "etag": None}
    assert (file["name"], file["type"], file["size"]) == ("path/to/dir/one.txt", "file", 1)
    assert file["last_modified"] > 1_000_000_000
    assert artifact.ls("file1.txt", detail=False) == ["file1.txt"]
    assert artifact.ls(detail=False, limit=2) == ["file1.txt", "file2.txt"]
    assert artifact.listdir("path/to") == ["dir", "file.txt", "large_file.txt", "source.txt"]
    with pytest.raises(FileNotFoundError):
        artifact.ls("nope")


def test_info_tells_files_from_folders(artifact: HyphaArtifact) -> None:
    info = artifact.info("file2.txt")
    assert (info["name"], info["type"], info["size"]) == ("file2.txt", "file", 2)
    assert info["last_modified"] is artifact.modified("file2.txt") is None  # this store does not tell
    assert artifact.info("path/to")["type"] == artifact.info("/")["type"] == "directory"
    with pytest.raises(FileNotFoundError):
        artifact.info("nope")
    looks = {
        path: (artifact.exists(path), artifact.isfile(path), artifact.isdir(path))
        for path in ("file1.txt", "path", "/", "nope")
    }
    assert looks == {
        "file1.txt": (True, True, False),
        "path": (True, False, True),
        "/": (True, False, True),
        "nope": (False, False, False),
    }


def test_find_glob_and_walk(artifact: HyphaArtifact, hypha: FakeHypha) -> None:
    artifact.files.put("path/to/empty/.keep", b"")
    below = ["path/to/dir/deep/two.txt", "path/to/dir/one.txt"]
    assert artifact.find("/path/to/dir") == below
    assert {name: item["size"] for name, item in artifact.find("path/to/dir", detail=True).items()} == dict(
        zip(below, (2, 1), strict=True)
    )
    assert artifact.find("path/to/dir", maxdepth=1) == ["path/to/dir/one.txt"]
    assert artifact.find("path/to/dir", withdirs=True) == ["path/to/dir/deep", *below]
    assert artifact.find("path/to/empty") == []
    assert artifact.find("path/to/empty", hide_keep=False) == ["path/to/empty/.keep"]
    assert artifact.find("file1.txt") == ["file1.txt"]
    assert artifact.find("nope") == []
    assert artifact.glob("*.txt") == ["file1.txt", "file2.txt", "large_file.txt"]
    assert artifact.glob("/path/*/d*") == ["path/to/dir"]
    assert artifact.glob("path/**/*o.txt") == ["path/to/dir/deep/two.txt"]
    assert artifact.glob("file[!1].txt", detail=True)["file2.txt"]["size"] == 2
    assert list(artifact.walk("path/to/dir")) == [
        ("path/to/dir", ["deep"], ["one.txt"]),
        ("path/to/dir/deep", [], ["two.txt"]),
    ]
    assert [folder for folder, _, _ in artifact.walk(topdown=False)][-1] == ""


def test_older_versions_and_what_is_staged_can_be_read(artifact: HyphaArtifact) -> None:
    with artifact.staged(version="new"):
        artifact.files.put("file1.txt", b"new")
    assert artifact.versions() == ["v0", "v1"]
    assert (artifact.cat("file1.txt"), artifact.cat("file1.txt", version="v0")) == ("new", "1")
    assert artifact.ls(detail=False) == ["file1.txt"]
    assert len(artifact.ls(version="v0")) == 4
    assert artifact.open("file1.txt", version="v0").read() == "1"


def test_a_url_reads_without_a_token(artifact: HyphaArtifact, hypha: FakeHypha) -> None:
    from urllib.request import Request, urlopen

    with urlopen(artifact.get_file_url("/file2.txt")) as answer:
        assert answer.read() == b"22"
    artifact.edit(stage=True)
    with urlopen(Request(artifact.get_file_url("by-url", "w"), b"stored", method="PUT")):
        pass
    artifact.commit()
    assert artifact.cat("by-url") == "stored"
    with pytest.raises(ValueError, match="mode"):
        artifact.get_file_url("x", "a")


# -- changing


def test_copy_and_mv(artifact: HyphaArtifact, hypha: FakeHypha) -> None:
    hypha.forget_requests()
    artifact.copy("path/to/dir", "copied", recursive=True)
    assert hypha.count("commit") == 1
    assert artifact.find("copied") == ["copied/deep/two.txt", "copied/one.txt"]
    artifact.cp("/file1.txt", "into/")
    assert artifact.cat("into/file1.txt") == "1"
    artifact.copy("copied", "flat", recursive=True, maxdepth=1)
    assert artifact.find("flat") == ["flat/one.txt"]
    artifact.mv("copied", "moved", recursive=True)
    assert (artifact.find("copied"), artifact.find("moved")) == ([], ["moved/deep/two.txt", "moved/one.txt"])
    artifact.mv("file1.txt", "file3.txt")
    assert not artifact.exists("file1.txt")
    with pytest.raises(IsADirectoryError):
        artifact.copy("moved", "elsewhere")
    with pytest.raises(FileNotFoundError):
        artifact.copy("nope", "elsewhere")
    with pytest.raises(FileNotFoundError):
        artifact.copy("nope", "elsewhere", recursive=True)


def test_rm_removes_files_and_with_recursive_folders_as_one_commit(artifact: HyphaArtifact, hypha: FakeHypha) -> None:
    with pytest.raises(IsADirectoryError):
        artifact.rm("path/to")
    hypha.forget_requests()
    artifact.rm("path/to/dir", recursive=True)
    artifact.rm(["file1.txt", "file2.txt", "file2.txt"])
    assert hypha.count("commit") == 2
    artifact.rm_file("large_file.txt")
    artifact.rm("large_file.txt")
    assert artifact.find() == ["path/to/file.txt", "path/to/large_file.txt", "path/to/source.txt"]


@pytest.mark.parametrize("arguments", [{}, {"delete_files": True}, {"version": "v0"}, {"path": "x", "version": "v0"}])
def test_delete_never_deletes_the_artifact(
    artifact: HyphaArtifact, hypha: FakeHypha, arguments: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=r"delete_artifact\(\)"):
        artifact.delete(**arguments)
    with pytest.raises(IsADirectoryError):
        artifact.delete("/")
    assert not hypha.count("delete")
    assert len(artifact.find()) == len(FILES)


def test_folders_are_there_by_what_is_in_them(artifact: HyphaArtifact, hypha: FakeHypha) -> None:
    hypha.forget_requests()
    artifact.mkdir("new/deep")
    artifact.makedirs("path/to")
    assert not hypha.count("put_file")
    with pytest.raises(FileExistsError):
        artifact.mkdir("file1.txt")
    with pytest.raises(FileExistsError):
        artifact.makedirs("path", exist_ok=False)
    with pytest.raises(FileNotFoundError):
        artifact.mkdir("new/deep", create_parents=False)
    with pytest.raises(OSError, match="not empty"):
        artifact.rmdir("path")
    with pytest.raises(FileNotFoundError):
        artifact.rmdir("new")
    with pytest.raises(NotADirectoryError):
        artifact.rmdir("file1.txt")
    artifact.files.put("kept/.keep", b"")
    assert artifact.ls("kept") == []
    artifact.rmdir("kept")
    assert not artifact.exists("kept")


def test_touch(artifact: HyphaArtifact) -> None:
    artifact.touch("file1.txt", truncate=False)
    assert artifact.size("file1.txt") == 1
    artifact.touch("file1.txt")
    artifact.touch("new")
    assert artifact.sizes(["file1.txt", "new"]) == [0, 0]


# -- from and to the disk


def test_get_and_put_take_files_lists_and_folders(
    artifact: HyphaArtifact, hypha: FakeHypha, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    artifact.get("file1.txt")
    artifact.get("/file2.txt", tmp_path / "named")
    artifact.get(["file1.txt", "path/to/file.txt"], "into")
    artifact.get(["file1.txt", "path/to/file.txt"], ["x/1", "y/2"])
    artifact.get("path/to", "tree", recursive=True)
    artifact.get("path/to", "flat", recursive=True, maxdepth=1)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    tree = ["dir/deep/two.txt", "dir/one.txt", "file.txt", "large_file.txt", "source.txt"]
    assert found == sorted(
        ["file1.txt", "named", "into/file1.txt", "into/file.txt", "x/1", "y/2"]
        + [f"tree/{name}" for name in tree]
        + [f"flat/{name}" for name in tree if "/" not in name]
    )
    assert Path("named").read_bytes() == b"22"
    hypha.forget_requests()
    artifact.put("tree", "back", recursive=True)
    artifact.put("named")
    artifact.put(["x/1", "y/2"], ["z/1", "z/2"])
    artifact.put(["x/1", "y/2"], "list")
    artifact.put("named", "folder/")
    artifact.put("tree", "shallow", recursive=True, maxdepth=1)
    assert hypha.count("commit") == 6
    assert artifact.find("back") == [f"back/{name}" for name in tree]
    assert artifact.find("shallow") == ["shallow/file.txt", "shallow/large_file.txt", "shallow/source.txt"]
    assert {"named", "z/1", "z/2", "list/1", "list/2", "folder/named"} <= {*artifact.find()}
    with pytest.raises(IsADirectoryError):
        artifact.put("tree", "x")
    with pytest.raises(IsADirectoryError):
        artifact.get("path", "x2")
    with pytest.raises(FileNotFoundError):
        artifact.get("nope", "x3", recursive=True)
    artifact.get(["nope", "file1.txt"], "some", on_error="ignore")
    assert Path("some/file1.txt").exists()


def test_put_follows_links_and_what_it_cannot_read_is_an_error(artifact: HyphaArtifact, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.txt").write_text("b")
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    artifact.put(folder, "put", recursive=True)
    assert artifact.find("put") == ["put/a.txt", "put/link/b.txt"]
    artifact.put(folder, "flat", recursive=True, maxdepth=1)
    assert artifact.find("flat") == ["flat/a.txt"]
    (folder / "back").symlink_to(folder)
    with pytest.raises(OSError, match="back.*leads back to a folder above it"):
        artifact.put(folder, "looped", recursive=True)
    assert not artifact.exists("looped")
    artifact.put(folder, "looped", recursive=True, on_error="ignore")
    assert artifact.find("looped") == ["looped/a.txt", "looped/link/b.txt"]


def test_a_callback_is_told_of_each_file(artifact: HyphaArtifact, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    artifact.get(["file1.txt", "nope"], str(tmp_path), events.append, on_error="ignore")
    assert sorted((event["type"], event["file"]) for event in events) == [
        ("error", "nope"),
        ("info", "file1.txt"),
        ("success", "file1.txt"),
    ]
    assert {event["total_files"] for event in events} == {2}
    events.clear()
    (tmp_path / "up").write_bytes(bytes(11 * 1024 * 1024))
    artifact.put(tmp_path / "up", "up", events.append, multipart_config={"threshold": 6 << 20, "chunk_size": 6 << 20})
    assert [event["type"] for event in events] == ["info", "success"]
    assert (artifact.info("up")["etag"] or "").endswith("-2")


# -- the artifact itself


def test_what_is_staged_by_the_user_is_left_to_the_user(artifact: HyphaArtifact, hypha: FakeHypha) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        artifact.edit(stage=True)
        with artifact.open("one", "w") as file:
            file.write("1")
        artifact.touch("two")
        artifact.rm("two")
        assert not hypha.count("commit")
        assert artifact.cat("one", version="stage") == "1"
        artifact.commit(comment="said")
    assert artifact.cat("one") == "1"
    assert not artifact.exists("two")
    artifact.edit(stage=True)
    artifact.files.put("file1.txt", b"never")
    assert artifact.discard()
    assert artifact.cat("file1.txt") == "1"
    artifact.edit(manifest={"name": "other"})
    assert hypha.artifacts["ws/a"].manifest == {"name": "other"}


def test_artifacts_are_made_listed_and_deleted(hypha: FakeHypha) -> None:
    with HyphaArtifact("made", **options(hypha)) as made, HyphaArtifact("child", **options(hypha)) as child:
        made.create(type="collection")
        child.create({"name": "a child"}, parent_id="ws/made")
        with pytest.raises(ArtifactExists):
            child.create()
        child.touch("file")
        assert [each["id"] for each in made.list_children(keywords=["child"])] == ["ws/child"]
        child.delete_artifact(delete_files=True)
        assert made.list_children() == []
        with pytest.raises(KeyError):
            child.ls()


# -- errors


def test_errors_are_those_that_are_promised(artifact: HyphaArtifact, hypha: FakeHypha) -> None:
    with pytest.raises(FileNotFoundError):
        artifact.cat("nope")
    with pytest.raises(FileNotFoundError):
        artifact.open("nope")
    with pytest.raises(FileNotFoundError):
        artifact.sizes(["file1.txt", "nope"])
    with HyphaArtifact("nope", **options(hypha)) as missing:
        for verb in (missing.ls, missing.find, lambda: missing.cat("x"), lambda: missing.info("x")):
            with pytest.raises(KeyError):
                verb()
        assert missing.exists("x") is missing.isdir("/") is False
        with pytest.raises(KeyError):
            missing.touch("x")
    with HyphaArtifact("a", "ws", "wrong", hypha.url) as refused:
        for verb in (refused.ls, lambda: refused.cat("x"), lambda: refused.exists("x"), lambda: refused.touch("x")):
            with pytest.raises(PermissionError):
                verb()
    hypha.fault_file("ws/a", "file1.txt", Always(Status(500)))
    with pytest.raises(IOError, match=r"file1\.txt"):
        artifact.cat("file1.txt")


# -- asynchronously


def test_async_files_are_read_and_written_by_tasks(hypha: FakeHypha) -> None:
    async def work(artifact: AsyncHyphaArtifact) -> None:
        async with artifact.open("log", "w") as file:
            assert await file.write("one\n") == 4
            await file.writelines(["two\n", "three"])
            assert file.writable()
        async with artifact.open("log") as file:
            assert await file.readline() == "one\n"
            assert [line async for line in file] == ["two\n", "three"]
            assert await file.seek(4) == 4
            assert file.seek(4) == 4
            assert await file.read(3) == "two"
            assert await file.tell() == file.tell() == 7
        async with artifact.open("log", "rb") as file:
            assert await file.seek(-5, 2) == 8
            assert await file.read() == b"three"
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with artifact.open("log", "a") as file:
                await file.write("never")
                1 / 0
        assert await artifact.cat("log") == "one\ntwo\nthree"
        assert file.closed
        with pytest.raises(ValueError, match="closed"):
            await file.read()
        assert [folder async for folder, _, _ in artifact.walk("path/to/dir")] == ["path/to/dir", "path/to/dir/deep"]

    in_loop(hypha, work)


def test_async_writers_that_close_together_share_one_commit(hypha: FakeHypha) -> None:
    hypha.slow("put_file", per_call=0.1)

    async def work(artifact: AsyncHyphaArtifact) -> None:
        async def create(number: int) -> None:
            async with artifact.open(f"file_{number}.txt", "w") as file:
                await file.write(f"Content for file {number}")

        await asyncio.gather(*map(create, range(5)))
        assert hypha.count("commit") == 1
        hypha.forget_requests()
        assert await asyncio.gather(*(artifact.cat(f"file_{n}.txt") for n in range(5))) == [
            f"Content for file {n}" for n in range(5)
        ]
        assert hypha.count("get_file") == 1

    in_loop(hypha, work)


def test_an_async_writer_that_is_cancelled_publishes_nothing(hypha: FakeHypha) -> None:
    async def work(artifact: AsyncHyphaArtifact) -> None:
        async def write() -> None:
            async with artifact.open("cancelled", "w") as file:
                await file.write("never")
                began.set()
                await asyncio.Event().wait()

        began = asyncio.Event()
        task = asyncio.create_task(write())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await artifact.exists("cancelled")

    in_loop(hypha, work)


def test_the_async_one_can_be_entered_again_and_in_another_loop(hypha: FakeHypha) -> None:
    artifact = AsyncHyphaArtifact("a", **options(hypha))

    async def twice() -> None:
        for _ in range(2):
            async with artifact as entered:
                assert await entered.cat("file1.txt") == "1"

    asyncio.run(twice())
    asyncio.run(twice())


def test_errors_are_the_same_when_awaited(hypha: FakeHypha) -> None:
    async def work(artifact: AsyncHyphaArtifact) -> None:
        with pytest.raises(FileNotFoundError):
            await artifact.cat("nope")
        with pytest.raises(TypeError, match=r"delete_artifact\(\)"):
            await artifact.delete()
        with pytest.raises(InvalidContent):
            await artifact.cat("bin")

    hypha.store.put(hypha.key("ws/a", "bin", "v0"), b"\xff")
    in_loop(hypha, work)


def test_a_second_writer_is_told(hypha: FakeHypha) -> None:
    async def work(artifact: AsyncHyphaArtifact) -> None:
        one, two = artifact.open("file1.txt", "a"), artifact.open("file1.txt", "a")
        await one.write("+1")
        await two.write("+2")
        await one.close()
        with pytest.raises(PreconditionFailed):
            await two.close()
        assert await artifact.cat("file1.txt") == "1+1"

    in_loop(hypha, work)


def test_green_cannot_be_awaited() -> None:
    with pytest.raises(ValueError, match="gevent"):
        AsyncHyphaArtifact("ws/a", green=True)
    assert issubclass(TransferError, OSError)


def test_the_batch_api_opens_files_for_asynchronous_writing_too(hypha: FakeHypha) -> None:
    async def work(artifact: AsyncHyphaArtifact) -> None:
        async with AsyncArtifactFiles(artifact.files) as cf:
            async with cf.open("new", "wb") as file:
                await file.write(b"one")
            with pytest.raises(ZeroDivisionError):  # noqa: PT012
                async with cf.open("new", "r+b") as file:
                    await file.write(b"never")
                    1 / 0
            async with cf.open("new", "r") as file:
                assert await file.read() == "one"

    in_loop(hypha, work)


def test_to_cancel_a_write_that_waits_publishes_nothing(hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_AHEAD", 1_000_000)
    hypha.slow("read", per_call=0.2)  # so that nothing is taken for a while, but for what tells that it is in parts
    in_parts = {"multipart_threshold": 5 << 20, "part_size": 5 << 20}

    async def run() -> None:
        async with AsyncHyphaArtifact("a", **options(hypha), **in_parts) as artifact:
            async with artifact.open("cancelled", "wb") as file:
                await file.write(bytes(8 << 20))
                task = asyncio.create_task(file.write(bytes(100 << 20)))
                await asyncio.sleep(0.1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                with pytest.raises(TransferError, match="earlier write"):
                    await file.write(b"more")
                await file.abort()
            assert not await artifact.exists("cancelled")
            assert not artifact.files.status()["staged"]

    asyncio.run(run())


def test_an_artifact_can_be_made_by_the_first_write(hypha: FakeHypha) -> None:
    with HyphaArtifact("new", create=True, **options(hypha)) as artifact:
        with artifact.open("log", "a") as file:
            file.write("first")
        assert artifact.cat("log") == "first"


def test_a_pattern_of_one_level_lists_one_folder(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/wide", {f"{n:02}/in/file": b"1" for n in range(20)} | {"a.txt": b"a"})
    with HyphaArtifact("wide", workspace="ws", token=hypha.token, server_url=hypha.url) as wide:
        assert wide.glob("*.txt") == ["a.txt"]
        assert wide.find(maxdepth=1, withdirs=True) == [*(f"{n:02}" for n in range(20)), "a.txt"]
        assert hypha.count("list_files") == 2
        assert len(wide.glob("*/in")) == 20
        assert hypha.count("list_files") == 2 + 21
