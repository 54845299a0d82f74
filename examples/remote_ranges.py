"""Parts of large files by their URL: read a member of an archive, or the end of a file, without downloading it."""

import asyncio
import io
import os
import random
import zipfile

from cloudfiles_hypha import ArtifactFiles, AsyncHttpFile, HttpFile

PLACE = f"hypha://{os.environ['HYPHA_WORKSPACE']}/example-ranges"
LARGE = 20_000_000


def archive() -> bytes:
    """20 MB that do not compress, and a small file behind them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as members:
        members.writestr("large.bin", random.Random(1).randbytes(LARGE))
        members.writestr("readme.txt", "small, and behind what is large")
    return packed.getvalue()


def main() -> None:
    with ArtifactFiles(PLACE, create=True) as cf:
        cf.put("data.zip", archive())
        url = cf.urls("data.zip", expires_in=600)  # good for anybody, for ten minutes: keep it out of logs

        with cf.recording() as rec, zipfile.ZipFile(cf.open("data.zip")) as members:
            print(members.read("readme.txt").decode())
        print(f"fetched {rec.summary().bytes:,} of more than {LARGE:,} bytes for that")

    with HttpFile(url, prefetch_bytes=64 * 1024, prefetch_direction="END") as file:
        print(f"{file.size:,} bytes there; a seek costs nothing:", file.seek(LARGE // 2))
        file.read(1000)

    asyncio.run(asynchronously(url))


async def asynchronously(url: str) -> None:
    async with AsyncHttpFile(url) as file:

        async def block(at: int) -> bytes:
            cursor = file.clone()  # a place of its own; the cache is shared
            cursor.seek(at)
            return await cursor.read(4096)

        blocks = await asyncio.gather(*(block(at) for at in range(0, LARGE, LARGE // 50)))
        print(f"read {len(blocks)} blocks side by side")


if __name__ == "__main__":
    main()
