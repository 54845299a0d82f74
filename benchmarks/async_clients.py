"""Asynchronous files: what each client takes for large ones, small ones and lines, and how long a loop has to wait.

Each is used as its documentation shows. What was written or read is compared, outside of what is measured.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from .clients import Figures, _timed
from .movers import md5_of_file
from .servers import SMALL_SIZE, file_name, payload

# Seconds between two looks at whether the loop goes on.
_TICK = 0.005
# Small files that are open at once.
_AT_ONCE = 16


def _ours() -> Any:
    from cloudfiles_hypha import async_open

    return async_open


def _aiofile() -> Any:
    from aiofile import async_open

    return async_open


def _aiofiles() -> Any:
    import aiofiles

    return aiofiles.open


def _anyio() -> Any:
    import anyio

    @asynccontextmanager
    async def opened(path: str, mode: str) -> Any:
        async with await anyio.open_file(path, mode) as file:
            yield file

    return opened


OPENERS: dict[str, Callable[[], Any]] = {"ours": _ours, "aiofile": _aiofile, "aiofiles": _aiofiles, "anyio": _anyio}


def _run(make: Callable[[], Awaitable[Any]]) -> tuple[Any, Figures]:
    async def main() -> Any:
        return await make()

    return _timed(lambda: asyncio.run(main()))


def task_async_chunks(*, client: str, kind: str, source: str, target: str, chunk: int) -> Figures:
    """Write a file of the bytes of ``source`` in chunks, or read it so."""
    opened = OPENERS[client]()
    blocks: list[bytes] = []
    if kind == "write":
        content = Path(source).read_bytes()
        blocks = [content[start : start + chunk] for start in range(0, len(content), chunk)]

    async def write() -> None:
        async with opened(target, "wb") as file:
            for block in blocks:
                await file.write(block)

    async def read() -> int:
        size = 0
        async with opened(source, "rb") as file:
            while block := await file.read(chunk):
                size += len(block)
        return size

    found, figures = _run(write if kind == "write" else read)
    if kind == "write" and md5_of_file(Path(target)) != md5_of_file(Path(source)):
        raise AssertionError(f"{client}: other bytes were written")
    if kind == "read" and found != Path(source).stat().st_size:
        raise AssertionError(f"{client}: {found} bytes were read")
    return {**figures, "items": 1}


def task_async_small(*, client: str, kind: str, folder: str, count: int) -> Figures:
    """Write or read small files, some of them at once."""
    opened = OPENERS[client]()
    contents = [payload(index, SMALL_SIZE) for index in range(count)]
    numbers = iter(range(count))
    found: list[bytes] = [b""] * count

    async def some() -> None:
        for index in numbers:
            path = f"{folder}/{file_name(index)}"
            if kind == "write":
                async with opened(path, "wb") as file:
                    await file.write(contents[index])
            else:
                async with opened(path, "rb") as file:
                    found[index] = await file.read()

    async def all_of_them() -> None:
        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))

    _, figures = _run(all_of_them)
    if kind == "write":
        found = [Path(folder, file_name(index)).read_bytes() for index in range(count)]
    if found != contents:
        raise AssertionError(f"{client}: other bytes")
    return {**figures, "items": count}


def task_async_lines(*, client: str, place: str, mode: str, count: int) -> Figures:
    """Read all lines of a file; "download" reads its bytes into memory."""
    from cloudfiles_hypha import AIOFile, AsyncArtifactFiles, LineReader, RangeCache, async_open
    from cloudfiles_hypha.ranges import cache

    cache._default = RangeCache()

    async def by_reader(file_of: Any, reader: Any) -> int:
        lines = 0
        async with file_of(place, mode) as file:
            async for _ in reader(file):
                lines += 1
        return lines

    async def downloaded() -> int:
        root, _, name = place.rpartition("/")
        async with AsyncArtifactFiles(root) as cf:
            content: bytes = await cf.get(name)
        return content.count(b"\n")

    async def by_aiofile() -> int:
        import aiofile

        return await by_reader(aiofile.AIOFile, aiofile.LineReader)

    found, figures = _run(
        {
            "ours": lambda: by_reader(AIOFile, LineReader),
            "ours, async_open": lambda: by_reader(async_open, lambda file: file),
            "aiofile": by_aiofile,
            "download": downloaded,
        }[client]
    )
    if found != count:
        raise AssertionError(f"{client}: {found} lines, not {count}")
    return {**figures, "items": count}


def task_async_stall(*, client: str, base: str, names: list[str], target: str) -> Figures:
    """Download files to the disk while a task of the same loop wants to go on every 5 ms; how long it has to wait."""
    from cloudfiles_hypha import AsyncArtifactFiles, async_open

    late: list[float] = []

    async def ticking() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_TICK)
            late.append(time.perf_counter() - before - _TICK)

    async def download(cf: AsyncArtifactFiles) -> None:
        await cf.download(names, target)

    async def by_results(cf: AsyncArtifactFiles) -> None:
        async for result in cf.iget(names):
            async with async_open(Path(target, Path(result["path"]).name), "wb") as file:
                await file.write(result["content"])

    async def plainly(cf: AsyncArtifactFiles) -> None:
        async for result in cf.iget(names):
            Path(target, Path(result["path"]).name).write_bytes(result["content"])  # noqa: ASYNC240 -- that is the point

    async def nothing(cf: AsyncArtifactFiles) -> None:
        await asyncio.sleep(1)

    work = {"download": download, "iget, async_open": by_results, "iget, open": plainly, "nothing": nothing}[client]

    async def main() -> None:
        async with AsyncArtifactFiles(base) as cf:
            with tempfile.TemporaryDirectory() as elsewhere:  # what is loaded and connected once is not looked at
                await cf.download(names[:1], elsewhere)
            ticks = asyncio.ensure_future(ticking())
            await work(cf)
            ticks.cancel()

    _, figures = _run(main)
    ordered = sorted(late)
    found = {path.name for path in Path(target).rglob("*") if path.is_file()}
    if client != "nothing" and found != {Path(name).name for name in names}:
        raise AssertionError(f"{client}: {len(found)} files of {len(names)}")
    return {
        **figures, "items": len(names),
        "stall_p99_ms": 1000 * ordered[int(len(ordered) * 0.99)], "stall_ms": 1000 * ordered[-1],
    }  # fmt: skip


TASKS: dict[str, Callable[..., Figures]] = {
    "async-chunks": task_async_chunks,
    "async-small": task_async_small,
    "async-lines": task_async_lines,
    "async-stall": task_async_stall,
}
