"""Nodes made of others, and archives: what is in them, by which names, and that they are streamed."""

from __future__ import annotations

import asyncio
import io
import zipfile

import pytest

from cloudfiles_hypha.errors import NotAwaited, StorageNotFoundError
from cloudfiles_hypha.mounts.faces import StorageNode
from cloudfiles_hypha.mounts.manager import StorageManager


def written(storage: StorageManager, **contents: str) -> list[StorageNode]:
    """A file for each, here and there in turn."""
    nodes = [storage.node(f"{('mem', 'home')[n % 2]}:{name}.txt") for n, name in enumerate(contents)]
    for node, content in zip(nodes, contents.values(), strict=True):
        node.write(content)
    return nodes


def unzipped(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_files_one_after_the_other(storage: StorageManager) -> None:
    one, two, three = written(storage, one="1", two="2", three="3")
    several = storage.iternode(one, two)
    several.append(three)
    several.extend(one, two)
    assert (several.read(), several.read_text(), several.read("r")) == (b"12312", "12312", "12312")
    copy = several.copy_to(storage.node("home:all"))
    assert isinstance(copy, StorageNode)
    assert copy.read() == b"12312"
    one.write("changed")  # nothing is read before it is asked for
    assert storage.iternode(several, one).read() == b"changed23changed2changed"
    assert storage.iternode().read() == b""


def test_files_one_after_the_other_are_never_in_memory_as_a_whole(
    storage: StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudfiles_hypha.mounts.contents._RANGE", 4)
    monkeypatch.setattr("cloudfiles_hypha.mounts.contents._SMALL", 4)
    (large,) = written(storage, large="0123456789" * 10)
    blocks = [*storage.iternode(large, large).sync.blocks()]
    assert b"".join(blocks) == b"0123456789" * 20
    assert max(map(len, blocks)) == 4


def test_a_file_that_is_missing_leaves_nothing_behind(storage: StorageManager) -> None:
    (one,) = written(storage, one="1")
    with pytest.raises(FileNotFoundError):
        storage.iternode(one, storage.node("home:missing")).copy_to(storage.node("mem:all"))
    assert not storage.node("mem:all").exists()
    with pytest.raises(TypeError, match="a node is expected"):
        storage.iternode("mem:one.txt")  # type: ignore[arg-type]


def test_how_two_texts_differ(storage: StorageManager) -> None:
    one, two = written(storage, one="a\nb\nc\n", two="a\nB\nc")
    assert storage.diffnode(one, two).read_text() == (
        "--- mem:one.txt\n+++ home:two.txt\n@@ -1,3 +1,3 @@\n a\n-b\n-c\n+B\n+c\n\\ No newline at end of file\n"
    )
    assert storage.diffnode(one, one).read() == b""
    assert storage.diffnode(one, two).copy_to(storage.node("mem:diff")).size() > 0
    with pytest.raises(ValueError, match="iternode"):
        storage.diffnode(one, two).zip()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\0b"])
def test_what_is_no_text_does_not_differ(storage: StorageManager, content: bytes) -> None:
    (one,) = written(storage, one="a")
    storage.node("mem:binary").write(content)
    with pytest.raises(ValueError, match="^mem:binary: this is no text in UTF-8"):
        storage.diffnode(one, storage.node("mem:binary")).read()


@pytest.mark.parametrize("place", ["mem", "home"])
def test_archives_of_files_and_folders(storage: StorageManager, place: str) -> None:
    folder = storage.node(f"{place}:folder")
    files = {"a.txt": b"a" * 1000, "deep/b": b"b", "deep/c": b""}
    for name, content in files.items():
        folder.child(name).write(content)
    assert unzipped(folder.zip()) == files
    assert unzipped(folder.child("a.txt").zip()) == {"a.txt": files["a.txt"]}
    assert len(folder.zip()) < 1000
    archive = folder.zip_to(storage.node("home:archive.zip"))
    assert unzipped(archive.read()) == files
    with pytest.raises(StorageNotFoundError):
        storage.node(f"{place}:nothing").zip()


def test_an_archive_of_several_has_no_name_twice(storage: StorageManager) -> None:
    for name in ("x/a.txt", "y/a.txt", "y/A.TXT", "f/a.txt", "f/.hidden"):
        storage.node(f"mem:{name}").write(name)
    nodes = [storage.node(f"mem:{name}") for name in ("x/a.txt", "y/a.txt", "y/A.TXT", "f", "f/.hidden", "f/.hidden")]
    several = storage.iternode(*nodes)
    found = unzipped(several.zip())
    assert found == {
        "a.txt": b"x/a.txt",
        "a (2).txt": b"y/a.txt",
        "A (3).TXT": b"y/A.TXT",
        "f/.hidden": b"f/.hidden",
        "f/a.txt": b"f/a.txt",
        ".hidden": b"f/.hidden",
        ".hidden (2)": b"f/.hidden",
    }
    assert unzipped(several.zip_to(storage.node("mem:z")).read()) == found


def test_a_folder_in_an_archive_is_not_named_as_a_file_in_it(storage: StorageManager) -> None:
    storage.node("mem:x/data").write("a file")
    storage.node("mem:y/data/f").write("in a folder")
    several = storage.iternode(storage.node("mem:x/data"), storage.node("mem:y/data"))
    assert unzipped(several.zip()) == {"data": b"a file", "data (2)/f": b"in a folder"}


def test_an_archive_is_not_written_into_itself(storage: StorageManager) -> None:
    (one,) = written(storage, one="1")
    with pytest.raises(ValueError, match=r"^mem:one\.txt: an archive"):
        one.zip_to(one)
    assert one.read() == b"1"


def test_names_that_lead_out_of_an_archive_are_refused(
    storage: StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = storage.node("mem:folder")
    folder.child("a").write(b"x")
    files = folder.mount.files
    (info,) = files.scan("folder/")
    for name in ("folder/../../etc/passwd", "folder//root", "folder/a\\b"):
        object.__setattr__(info, "path", name)
        monkeypatch.setattr(files, "scan", lambda prefix: [info])
        with pytest.raises(ValueError, match="a path must not"):
            folder.zip()


def test_the_same_in_a_coroutine(storage: StorageManager) -> None:
    one, two = written(storage, one="1", two="2")

    async def main() -> None:
        several = storage.iternode(one, two)
        assert await several.read() == b"12"
        copy = await several.copy_to(storage.node("home:all"))
        assert await copy.read() == b"12"
        assert [*unzipped(await several.zip())] == ["one.txt", "two.txt"]
        assert [*unzipped(await one.zip())] == ["one.txt"]
        assert await (await one.zip_to(storage.node("mem:z"))).exists()
        text = storage.diffnode(one, two).read_text()
        with pytest.raises(NotAwaited):
            bool(text)
        assert "-1" in await text
        assert several.sync.read() == b"12"

    asyncio.run(main())
