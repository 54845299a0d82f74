"""A service of FastAPI over one store, in a process of its own, by uvicorn, as somebody would run it."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Request, UploadFile

from cloudfiles_hypha import AsyncArtifactFiles, TransferError
from cloudfiles_hypha.mounts.responses import FileAnswer

ROOT = Path(__file__).resolve().parents[2]


def service(cloudpath: str, **options: Any) -> FastAPI:
    """Files of a store, to be read and written."""
    app = FastAPI()
    cf = AsyncArtifactFiles(cloudpath, **options)

    @app.api_route("/files/{path:path}", methods=["GET", "HEAD"])
    async def read(path: str) -> FileAnswer:
        return FileAnswer(cf, path)

    @app.get("/download/{path:path}")
    async def download(path: str) -> FileAnswer:
        answer = FileAnswer(cf, path, download=True, cache_max_age=60, headers={"Cache-Control": "no-store"})
        answer.set_cookie("seen", "yes")
        return answer

    @app.put("/files/{path:path}")
    async def write(path: str, request: Request) -> dict[str, Any]:
        try:
            stored = await cf.put(path, request.stream(), request.headers.get("content-type"))
        except TransferError as error:
            raise HTTPException(502) from error
        return {"size": stored["size"], "etag": stored["etag"]}

    @app.post("/upload/{path:path}")
    async def upload(path: str, file: UploadFile) -> dict[str, Any]:
        stored = await cf.put(path, file.file)
        return {"size": stored["size"]}

    @app.get("/exists/{path:path}")
    async def exists(path: str) -> bool:
        return await cf.exists(path)  # type: ignore[no-any-return]

    @app.get("/peak")
    async def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    return app


@contextmanager
def running(app: FastAPI) -> Iterator[httpx.Client]:
    """Run an app in a thread until the block ends; gives a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=partial(server.run, sockets=[listener]))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def served(cloudpath: str, **options: Any) -> Iterator[str]:
    """Run one until the block ends; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = json.dumps([listener.fileno(), cloudpath, options])
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.service", task],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            pass_fds=(listener.fileno(),),
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield url
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise


if __name__ == "__main__":
    number, place, keywords = json.loads(sys.argv[1])
    config = uvicorn.Config(service(place, **keywords), log_level="warning", lifespan="off")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=number)])
