"""All of it together: a folder becomes an artifact, which is then read by pandas, by a mount, and by a service."""

import asyncio
import csv
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pandas
import uvicorn
from mounts_service import create_app

from cloudfiles_hypha import ArtifactFiles, StorageManager

ARTIFACT = f"{os.environ['HYPHA_WORKSPACE']}/example-everything"


def measurements(folder: Path) -> None:
    """What an instrument might leave: a table, and images beside it."""
    with (folder / "cells.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["cell", "image", "area"])
        table.writerows((number, f"images/{number:03}.raw", 10 * number) for number in range(100))
    (folder / "images").mkdir()
    for number in range(100):
        (folder / f"images/{number:03}.raw").write_bytes(number.to_bytes(2, "big") * 5000)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ArtifactFiles(ARTIFACT, create=True) as cf:
        folder = Path(name)
        measurements(folder)
        results = cf.upload(folder)  # side by side, one commit; once more, and nothing is sent
        print(f"ingested {len(results)} files; sent {sum(not result['skipped'] for result in results)}")
        assert not cf.verify(folder)["different"]

    cells = pandas.read_csv(f"hypha://{ARTIFACT}/cells.csv")
    largest = cells.loc[cells["area"].idxmax()]
    print(f"pandas: {len(cells)} cells, the largest on {largest['image']}")

    storage = StorageManager()
    storage.configure(
        [
            {"name": "uploads", "protocol": "hypha", "artifact": ARTIFACT},
            {"name": "images", "path": "uploads:images", "permissions": "readonly"},
            {"name": "backups", "protocol": "memory"},
        ]
    )
    image = storage.node("images", Path(largest["image"]).name)
    print(f"mount: {image.fullpath} has {image.size()} bytes")

    asyncio.run(through_the_service(storage, largest["image"], image.read_bytes()))


async def through_the_service(storage: StorageManager, path: str, expected: bytes) -> None:
    async with running(storage) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        got = await client.get(f"/files/{path}")
        assert got.content == expected
        part = await client.get(f"/files/{path}", headers={"Range": "bytes=0-1"})
        again = await client.get(f"/files/{path}", headers={"If-None-Match": got.headers["etag"]})
        print(f"service: {got.status_code}, {part.status_code} for a range, {again.status_code} for what is known")

        async def drawn() -> AsyncIterator[bytes]:
            for number in range(100):
                yield number.to_bytes(2, "big") * 10_000

        stored = await client.put("/files/results/mask.raw", content=drawn())
        saved = await client.post("/backup", json=["results/mask.raw", "nothing"])
        print("service:", stored.json(), [each["status"] for each in saved.json()["results"]])
        assert await storage.node("backups:results/mask.raw").size() == 2_000_000


@asynccontextmanager
async def running(storage: StorageManager) -> AsyncIterator[str]:
    """The service, on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(storage), log_level="warning"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


if __name__ == "__main__":
    main()
