"""``compat.aiofile``: the examples of aiofile's documentation with only the import changed; what else users have."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("aiofile", reason="files of this machine are aiofile's")

import aiofile
import aiofile.aio
import aiofile.utils

from cloudfiles_hypha.compat import aiofile as ours
from cloudfiles_hypha.compat.aiofile import AIOFile, BinaryFileWrapper, TextFileWrapper, aio, async_open, clone, utils
from tests.support.aiofile_examples import EXAMPLES, run_example


def test_every_example_of_the_documentation_is_there() -> None:
    assert len(EXAMPLES) == 12


# What each prints; the others are below.
PRINTED = {
    "Write, seek, read, readline": "Hello world\n\n\n",
    "Without context manager": "",
    "An open file": "\n",
    "Low-level API": "",
    "An offset beyond the end": "Hello \0world\n",
    "Reader and Writer": "Hello Wo\nrld\n",
    "LineReader": "Hello World\n\n\n\nFrom async world\n",
    "Contexts by hand": "\n",  # which opens it at its end
}


@pytest.mark.parametrize("title", PRINTED)
def test_an_example_prints_what_it_says(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example(title, tmp_path, monkeypatch)
    assert capsys.readouterr().out == PRINTED[title]
    if title == "Contexts by hand":
        assert (tmp_path / "test.txt").read_text() == "Hello"


def test_cat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_text("one\ntwo\n")
    (tmp_path / "b").write_text("three")
    run_example("cat", tmp_path, monkeypatch, "a", "b")
    assert capsys.readouterr().out == "one\ntwo\nthree"


def test_cp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "a").write_bytes(content)
    run_example("cp", tmp_path, monkeypatch, "a", "b", "--chunk-size", "1000")
    assert (tmp_path / "b").read_bytes() == content


def test_special_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_example("Special files", tmp_path, monkeypatch)
    found = (tmp_path / "cpuinfo").read_text()
    assert found.count("processor") == Path("/proc/cpuinfo").read_text().count("processor") > 0


def test_csv_dictionaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sample.csv").write_text("a,b\n1,2\n3,4\n")
    run_example("Async CSV Dict Reader", tmp_path, monkeypatch)
    assert capsys.readouterr().out == "{'a': '1', 'b': '2'}\n{'a': '3', 'b': '4'}\n"


def names_of(module: ModuleType) -> set[str]:
    """What a module has of its own: neither modules, nor what is somebody else's."""
    return {
        name
        for name, value in vars(module).items()
        if (not name.startswith("_") or name in getattr(module, "__all__", ()))
        and not inspect.ismodule(value)
        and getattr(value, "__module__", "aiofile").partition(".")[0] in ("aiofile", "caio")
        and name not in ("AsyncioContextBase", "annotations")
    }


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [(aiofile, ours), (aiofile.aio, aio), (aiofile.utils, utils)],
    ids=lambda module: module.__name__,
)
def test_every_name_of_aiofile_is_there(theirs: ModuleType, mine: ModuleType) -> None:
    assert {"AIOFile"} <= names_of(theirs)
    assert [name for name in names_of(theirs) if not hasattr(mine, name)] == []
    assert names_of(theirs) - {"AIOFile", "FileIOType"} <= {*mine.__all__}


@pytest.mark.parametrize("name", ["AIOFile", "Reader", "Writer", "LineReader", "BinaryFileWrapper", "TextFileWrapper"])
def test_classes_have_the_methods_of_aiofiles(name: str) -> None:
    theirs, mine = getattr(aiofile, name), getattr(ours, name)
    public = [each for each in dir(theirs) if not each.startswith("_") and each not in getattr(theirs, "__slots__", ())]
    assert [each for each in public if not hasattr(mine, each)] == []
    ordinary = [*inspect.signature(theirs).parameters]
    assert [*inspect.signature(mine).parameters][: len(ordinary)] == ordinary


def test_constants_and_contexts_are_aiofiles_own() -> None:
    assert aio.DEFAULT_CONTEXT_STORE is aiofile.aio.DEFAULT_CONTEXT_STORE
    assert aio.get_default_context is aiofile.aio.get_default_context
    assert ours.__version__ == aiofile.__version__


def test_local_files_are_aiofiles_and_wrappers_pass_for_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with async_open(tmp_path / "a", "wb") as file:
            assert isinstance(file, BinaryFileWrapper)
            assert isinstance(file, ours.FileIOWrapperBase)
            assert isinstance(file.file, aiofile.AIOFile)
            assert isinstance(file.file, AIOFile)
        async with async_open("mem://compat-aiofile/a", "w") as text:
            assert isinstance(text, TextFileWrapper)
            assert isinstance(text.file, AIOFile)
        with (tmp_path / "a").open() as opened, pytest.raises(ValueError, match="by name"):
            async_open(opened, "r", "utf-8")

    asyncio.run(main())


def test_lines_are_those_from_the_beginning_on_wherever_it_stands(tmp_path: Path) -> None:
    async def main() -> None:
        async with async_open(tmp_path / "a", "w+") as file:
            await file.write("one\ntwo\n")
            assert [line async for line in file] == ["one\n", "two\n"]
            assert [chunk async for chunk in file.iter_chunked()] == []  # which begin where it stands
            assert file.tell() == 8

    asyncio.run(main())


@pytest.mark.parametrize("place", ["local", "mem://compat-aiofile/cloned"])
def test_what_is_cloned_stays_open_until_each_has_closed_it(place: str, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "a") if place == "local" else place
        async with async_open(path, "w") as file:
            await file.write("text")
        file = await async_open(path)
        async with clone(file) as other:
            await file.close()
            assert not other.closed
            assert await other.read() == "text"
        assert file.closed

    asyncio.run(main())


def test_what_was_written_is_on_the_disk_when_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[object] = []
    fdsync = aiofile.AIOFile.fdsync

    async def noted(file: AIOFile) -> None:
        synced.append(file)
        await fdsync(file)

    monkeypatch.setattr(aiofile.AIOFile, "fdsync", noted)

    async def main() -> None:
        async with async_open(tmp_path / "a", "w") as file:
            await file.write("text")
        assert len(synced) == 1
        async with async_open(tmp_path / "a") as file:
            await file.read()
        assert len(synced) == 1

    asyncio.run(main())
