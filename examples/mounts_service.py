"""A service of FastAPI over named mounts: downloads and uploads that stream, and a backup of several files at once.

``create_app`` takes the mounts, ``uvicorn --factory examples.mounts_service:demo`` runs it on two that are this
process's memory: put a file with ``curl -T picture.png localhost:8000/files/picture.png``.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, UploadFile
from fastapi.responses import PlainTextResponse

from cloudfiles_hypha import AsyncArtifactFiles, StorageManager, StorageNode
from cloudfiles_hypha.mounts.responses import FileAnswer


def create_app(storage: StorageManager) -> FastAPI:
    """The service; ``storage`` has the mounts "uploads" and "backups", and is closed when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with storage:
            yield

    app = FastAPI(lifespan=lifespan)

    def named(path: str) -> StorageNode:
        if not path:
            raise HTTPException(404, "no name of a file")
        return storage.node(f"uploads:{path}")

    @app.exception_handler(ValueError)
    async def no_name(request: Request, error: Exception) -> PlainTextResponse:
        """What leads out of a mount ("..") or can be no name of a file: nobody has it, and nobody can store it."""
        return PlainTextResponse("no name of a file\n", 404)

    @app.api_route("/files/{path:path}", methods=["GET", "HEAD"])
    async def download(path: str) -> FileAnswer:
        """ETag, If-None-Match, Range, 404: all of it is answered by the file."""
        return FileAnswer(named(path))

    @app.put("/files/{path:path}")
    async def store(path: str, request: Request) -> dict[str, Any]:
        """What comes is sent on while it comes."""
        node = named(path)
        await uploads(node.path, request.stream())
        return {"path": path, "size": await node.size()}

    @app.post("/upload/{path:path}")
    async def upload(path: str, file: UploadFile) -> dict[str, Any]:
        """A form, as browsers send it; what is large is on disk by then, and not in memory."""
        node = named(path)
        await uploads(node.path, file.file)
        return {"path": path, "size": await node.size()}

    @app.post("/backup")
    async def backup(paths: list[str]) -> dict[str, Any]:
        async def one(path: str) -> dict[str, str]:
            source, target = storage.node(f"uploads:{path}"), storage.node(f"backups:{path}")
            if not await source.exists():
                return {"path": path, "status": "not found"}
            await target.write_bytes(await source.read_bytes())
            return {"path": path, "status": "ok"}

        return {"results": await asyncio.gather(*(one(path) for path in paths))}

    @app.get("/size/{path:path}")
    async def size(path: str) -> dict[str, Any]:
        node = storage.node(f"uploads:{path}")
        if not await node.exists():
            raise HTTPException(404, "no such file")
        return {"size": await node.size(), "mtime": await node.mtime()}

    async def uploads(path: str, content: Any) -> None:
        files, name = storage.node("uploads", path).place("write")
        await AsyncArtifactFiles(files).put(name, content)

    return app


def demo() -> FastAPI:
    """The service over memory."""
    storage = StorageManager()
    storage.configure([{"name": "uploads", "protocol": "memory"}, {"name": "backups", "protocol": "memory"}])
    return create_app(storage)
