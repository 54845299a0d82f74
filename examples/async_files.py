"""Asynchronous files: one interface for those of this machine and of every store."""

import asyncio
import os
import tempfile
from pathlib import Path

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.aio import AIOFile, LineReader, Writer, async_open

PLACE = f"hypha://{os.environ['HYPHA_WORKSPACE']}/example-async"


async def copied(source: str | Path, target: str | Path) -> int:
    """Copy a file block by block, wherever both are."""
    size = 0
    async with async_open(source, "rb") as reading, async_open(target, "wb") as writing:
        async for block in reading.iter_chunked(64 * 1024):
            size += await writing.write(block)
    return size


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / "lines.txt"
        async with AIOFile(here, "w+") as file:
            writer = Writer(file)
            for number in range(10_000):
                await writer(f"line {number} ähm\n")
            await file.fsync()

        print("copied", await copied(here, f"{PLACE}/lines.txt"), "bytes to an artifact")

        async with async_open(f"{PLACE}/lines.txt", "r") as file:
            print("its first line:", (await file.readline()).rstrip())
            count = 0
            async for _ in file:
                count += 1
        print(count, "lines")

        async with AIOFile(f"{PLACE}/lines.txt", "r") as file:
            async for line in LineReader(file):
                assert line == "line 0 ähm\n"
                break

        assert await copied(f"{PLACE}/lines.txt", here.with_name("back.txt")) == here.stat().st_size


if __name__ == "__main__":
    ArtifactFiles(PLACE, create=True).put("readme.txt", "lines, copied")
    asyncio.run(main())
