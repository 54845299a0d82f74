"""``async_open`` and ``AIOFile`` on stores: SeaweedFS, an artifact, memory, a folder of this machine."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiofile", reason="files of this machine are aiofile's")

from cloudfiles_hypha import AIOFile, AsyncArtifactFiles, LineReader, Reader, Writer, async_open
from cloudfiles_hypha.devserver.processes import PYTHON_VARIABLE
from tests.support.fake_hypha import FakeHypha
from tests.support.s3_servers import S3Server, seaweed

TEXT = "".join(f"{number}: Zeile mit Umläuten, 日本語\n" for number in range(5000))
_numbers = itertools.count()


@dataclass(frozen=True)
class Store:
    """A place for files, and what is to be said to get there."""

    root: str
    options: dict[str, Any] = field(default_factory=dict)

    def open(self, name: str, mode: str = "r", **options: Any) -> Any:
        return async_open(f"{self.root}/{name}", mode, **self.options, **options)

    def low(self, name: str, mode: str = "r") -> AIOFile:
        return AIOFile(f"{self.root}/{name}", mode, **self.options)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server | None]:
    """None where there is none."""
    if not os.environ.get(PYTHON_VARIABLE):
        yield None
        return
    with seaweed() as server:
        server.make_bucket("aio")
        yield server


@pytest.fixture(params=["seaweedfs", "hypha", "memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path, server: S3Server | None) -> Iterator[Store]:
    number = next(_numbers)
    if request.param == "seaweedfs":
        if server is None:
            pytest.skip(f"SeaweedFS is of the environment that {PYTHON_VARIABLE} names")
        yield Store(f"{server.cloudpath('aio')}/{number}", {"secrets": server.secrets})
    elif request.param == "hypha":
        with FakeHypha() as hypha:
            hypha.add_artifact("ws/a", {"there": b"0"})
            yield Store("hypha://ws/a", {"server_url": hypha.url, "token": hypha.token})
    elif request.param == "memory":
        yield Store(f"mem://aio-contract/{number}")
    else:
        yield Store(str(tmp_path))


def test_text_is_written_and_read_by_pieces_lines_and_chunks(store: Store) -> None:
    async def main() -> None:
        async with store.open("a.txt", "w") as file:
            for start in range(0, len(TEXT), 1000):
                await file.write(TEXT[start : start + 1000])
        async with store.open("a.txt") as file:
            assert await file.read(10) == TEXT[:10]
            assert await file.readline() == TEXT.splitlines(keepends=True)[0][10:]
            file.seek(0)
            assert [line async for line in file] == TEXT.splitlines(keepends=True)
            assert "".join([chunk async for chunk in file.iter_chunked(7001)]) == TEXT
            file.seek(-1, 2)
            assert await file.read() == "\n"

    asyncio.run(main())


def test_much_is_written_while_it_comes_and_read_by_many_at_once(store: Store) -> None:
    content = os.urandom(12 * 1024 * 1024)

    async def main() -> None:
        async with store.low("large", "wb") as file:
            writer = Writer(file)
            for start in range(0, len(content), 1024 * 1024):
                await writer(content[start : start + 1024 * 1024])
        async with store.low("large", "rb") as file:
            size = len(content) // 8
            pieces = await asyncio.gather(*(file.read(size, number * size) for number in range(8)))
            assert hashlib.sha256(b"".join(pieces)).digest() == hashlib.sha256(content).digest()
            found = [chunk async for chunk in Reader(file, chunk_size=1024 * 1024)]
            assert b"".join(found) == content

    asyncio.run(main())


def test_files_are_changed_appended_to_and_made_anew(store: Store) -> None:
    async def main() -> None:
        async with store.open("a", "x") as file:
            await file.write("one\n")
        with pytest.raises(FileExistsError):
            await store.open("a", "x")
        async with store.open("a", "a") as file:
            assert file.tell() == 4
            await file.write("two\n")
        async with store.open("a", "r+") as file:
            await file.write("ONE")
            file.seek(0)
            assert await file.read() == "ONE\ntwo\n"
        async with store.low("a", "rb") as low:
            assert [line async for line in LineReader(low)] == [b"ONE\n", b"two\n"]

    asyncio.run(main())


def test_what_is_missing_is_not_found(store: Store) -> None:
    async def main() -> None:
        for mode in ("r", "rb", "r+"):
            with pytest.raises(FileNotFoundError):
                await store.open("missing", mode)
        with pytest.raises(FileNotFoundError):
            await store.low("missing")

    asyncio.run(main())


def test_ten_ranges_that_come_at_once_fill_a_file_of_this_machine(store: Store, tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 1)

    async def main() -> None:
        async with store.open("parts", "wb") as file:
            await file.write(content)
        root = store.root if "://" in store.root else f"file://{store.root}"
        async with AsyncArtifactFiles(root, **store.options) as cf, AIOFile(tmp_path / "filled", "wb") as target:
            part = -(-len(content) // 10)

            async def fetch(start: int) -> None:
                await target.write(await cf.get({"path": "parts", "start": start, "end": start + part}), start)

            await asyncio.gather(*(fetch(start) for start in range(0, len(content), part)))

    asyncio.run(main())
    filled = (tmp_path / "filled").read_bytes()
    assert hashlib.sha256(filled).hexdigest() == hashlib.sha256(content).hexdigest()
