"""Files of several stores by ``mount:path``: the same methods in sync code, and in async code awaited."""

import asyncio
import os
import tempfile

from cloudfiles_hypha import StorageManager
from cloudfiles_hypha.errors import StoragePermissionError

ARTIFACT = f"{os.environ['HYPHA_WORKSPACE']}/example-mounts"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, StorageManager() as storage:
        storage.configure(
            [
                {"name": "home", "protocol": "local", "path": folder},
                {"name": "scratch", "protocol": "memory"},
                {"name": "data", "protocol": "hypha", "artifact": ARTIFACT, "create": True},
                {"name": "published", "path": "data:public", "permissions": "readonly"},
            ]
        )
        node = storage.node("home:reports/today.txt")
        node.write_text("all is well\n")
        print(node.fullpath, node.size(), node.md5hash())
        print("in the folder:", [child.basename for child in node.parent.children()])

        asyncio.run(asynchronously(storage))

        print("published:", storage.node("published:today.txt").read_text(), end="")
        try:
            storage.node("published:today.txt").write_text("all is lost")
        except StoragePermissionError as error:
            print("refused:", error)


async def asynchronously(storage: StorageManager) -> None:
    report = await storage.node("home:reports/today.txt").read_bytes()  # the same method, to be awaited here
    target = storage.node("data:public/today.txt")
    await target.write_bytes(report)
    if await target.exists():
        print("published", await target.size(), "bytes")

    nodes = [storage.node(f"scratch:{number}.txt") for number in range(50)]
    await asyncio.gather(*(node.write_text(f"number {node.stem}") for node in nodes))
    texts = await asyncio.gather(*(node.read_text() for node in nodes))
    assert texts[49] == "number 49"


if __name__ == "__main__":
    main()
