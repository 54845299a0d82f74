"""Endpoints of FastAPI over mounts: those of genro-storage's guide as they are printed, and the example's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

fastapi = pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("uvicorn")

from fastapi import FastAPI, HTTPException, UploadFile  # noqa: E402 -- after what may be missing

from cloudfiles_hypha import ArtifactFiles, AsyncArtifactFiles, StorageManager  # noqa: E402
from cloudfiles_hypha.compat.cloudfiles import clear_memory  # noqa: E402
from cloudfiles_hypha.mounts.responses import FileAnswer  # noqa: E402
from examples.mounts_service import create_app, demo  # noqa: E402
from tests.support.fake_hypha import FakeHypha  # noqa: E402
from tests.support.object_server import Always, Hang, ObjectServer  # noqa: E402
from tests.support.service import running  # noqa: E402

BINARY = bytes(range(256))


@pytest.fixture
def storage() -> Iterator[StorageManager]:
    clear_memory()
    with StorageManager() as storage:
        storage.configure([{"name": "uploads", "protocol": "memory"}, {"name": "backups", "protocol": "memory"}])
        yield storage
    clear_memory()


def printed(storage: StorageManager) -> FastAPI:
    """The endpoints as the guide has them."""
    app = FastAPI()

    @app.get("/files/{filepath:path}")
    async def get_file(filepath: str):  # type: ignore[no-untyped-def]
        node = storage.node(f"uploads:{filepath}")

        if not await node.exists():
            raise HTTPException(status_code=404, detail="File not found")

        return {"data": await node.read_bytes(), "size": await node.size(), "mtime": await node.mtime()}

    @app.post("/upload/{filepath:path}")
    async def upload_file(filepath: str, file: UploadFile):  # type: ignore[no-untyped-def]
        node = storage.node(f"uploads:{filepath}")

        # Read uploaded file
        content = await file.read()

        # Write to storage
        await node.write_bytes(content)

        return {"filepath": filepath, "size": await node.size()}

    @app.post("/backup")
    async def backup_all(file_list: list[str]):  # type: ignore[no-untyped-def]
        async def backup_one(filepath):  # type: ignore[no-untyped-def]
            source = storage.node(f"uploads:{filepath}")
            target = storage.node(f"backups:{filepath}")

            if not await source.exists():
                return {"filepath": filepath, "status": "not found"}

            data = await source.read_bytes()
            await target.write_bytes(data)

            return {"filepath": filepath, "status": "ok"}

        # Process all files in parallel
        results = await asyncio.gather(*[backup_one(f) for f in file_list])

        return {"results": results}

    return app


def test_the_endpoints_of_the_guide_run_as_printed(storage: StorageManager) -> None:
    with running(printed(storage)) as client:
        stored = client.post("/upload/a/b.txt", files={"file": ("b.txt", "größer".encode())})
        assert stored.json() == {"filepath": "a/b.txt", "size": 8}
        got = client.get("/files/a/b.txt").json()
        assert (got["data"], got["size"]) == ("größer", 8)
        assert got["mtime"] > 1_700_000_000
        assert client.get("/files/nothing").status_code == 404
        saved = client.post("/backup", json=["a/b.txt", "nothing"]).json()
        assert [result["status"] for result in saved["results"]] == ["ok", "not found"]
    assert storage.node("backups:a/b.txt").read_text() == "größer"


def test_bytes_that_are_no_text_go_into_no_json_and_are_answered_as_a_file(storage: StorageManager) -> None:
    storage.node("uploads:a.bin").write_bytes(BINARY)
    with running(printed(storage)) as client:
        assert client.get("/files/a.bin").status_code == 500
    with running(create_app(storage)) as client:
        assert client.get("/files/a.bin").content == BINARY


def test_a_lifespan_configures_the_storage_as_printed(tmp_path: Any) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Startup - configure storage
        storage = StorageManager()
        storage.configure([{"name": "data", "protocol": "local", "base_path": str(tmp_path)}])

        app.state.storage = storage

        yield

        # Cleanup (if needed)

    app = FastAPI(lifespan=lifespan)

    @app.get("/size")
    async def size() -> int:
        return await app.state.storage.node("data:a.bin").size()  # type: ignore[no-any-return]

    (tmp_path / "a.bin").write_bytes(BINARY)
    with running(app) as client:
        assert client.get("/size").json() == 256


def test_the_example_streams_both_ways() -> None:
    clear_memory()
    with running(demo()) as client:
        assert client.put("/files/a/b.bin", content=iter([BINARY] * 10)).json() == {"path": "a/b.bin", "size": 2560}
        got = client.get("/files/a/b.bin", headers={"Range": "bytes=-256"})
        assert (got.status_code, got.content) == (206, BINARY)
        assert client.get("/files/a/b.bin", headers={"If-None-Match": got.headers["etag"]}).status_code == 304
        assert client.head("/files/a/b.bin").headers["content-length"] == "2560"
        assert client.post("/upload/c.bin", files={"file": BINARY}).json() == {"path": "c.bin", "size": 256}
        assert client.get("/size/c.bin").json()["size"] == 256
        assert client.get("/size/nothing").status_code == client.get("/files/nothing").status_code == 404
        saved = client.post("/backup", json=["c.bin", "nothing"]).json()["results"]
        assert [result["status"] for result in saved] == ["ok", "not found"]
    clear_memory()


@pytest.mark.parametrize("name", ["", "..%2Fb.bin", "a%2F..%2F..%2Fb.bin", "%2Fetc%2Fpasswd", "a%00b", "..%5Cb.bin"])
def test_the_example_knows_no_name_that_leads_out_of_its_mounts(name: str) -> None:
    clear_memory()
    with running(demo()) as client:
        statuses = [
            client.get(f"/files/{name}").status_code,
            client.put(f"/files/{name}", content=BINARY).status_code,
            client.post(f"/upload/{name}", files={"file": BINARY}).status_code,
            client.get(f"/size/{name}").status_code,
        ]
        assert statuses == [404] * 4
    clear_memory()


def test_an_answer_is_made_of_a_node_or_of_files_and_a_path(storage: StorageManager) -> None:
    node = storage.node("uploads:a.bin")
    with pytest.raises(TypeError, match="path and version are not given"):
        FileAnswer(node, "a.bin")
    with pytest.raises(TypeError, match="path is missing"):
        FileAnswer(ArtifactFiles("mem://uploads"))
    FileAnswer(node.aio, download=True)
    FileAnswer(node.sync)


def test_a_client_that_goes_before_it_is_answered_is_no_error_of_middleware(object_server: ObjectServer) -> None:
    object_server.put("a.bin", BINARY, faults=[Always(Hang())])
    statuses: list[int] = []

    async def main() -> None:
        async with AsyncArtifactFiles(object_server.url) as cf:
            app = FastAPI()

            @app.get("/a.bin")
            async def read() -> FileAnswer:
                return FileAnswer(cf, "a.bin")

            @app.middleware("http")
            async def noting(request: Any, call_next: Any) -> Any:
                response = await call_next(request)
                statuses.append(response.status_code)
                return response

            messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

            async def receive() -> Any:
                return messages.pop(0) if len(messages) > 1 else messages[0]

            async def send(message: Any) -> None:
                raise OSError("the client has gone")

            scope = {"type": "http", "method": "GET", "path": "/a.bin", "headers": [], "query_string": b""}
            with suppress(OSError):
                await app(scope, receive, send)

    asyncio.run(main())
    assert statuses == [499]


def test_what_follows_an_answer_runs_when_it_has_been_sent(storage: StorageManager) -> None:
    from starlette.background import BackgroundTask

    done: list[str] = []
    app = FastAPI()

    @app.get("/")
    async def read() -> FileAnswer:
        return FileAnswer(storage.node("uploads:a.bin"), background=BackgroundTask(done.append, "sent"))

    storage.node("uploads:a.bin").write_bytes(BINARY)
    with running(app) as client:
        assert client.get("/").content == BINARY
    assert done == ["sent"]


def test_a_node_of_a_version_is_answered_by_that() -> None:
    with FakeHypha() as hypha, StorageManager() as storage:
        hypha.add_artifact("ws/a", {})
        storage.configure(
            [{"name": "data", "protocol": "hypha", "artifact": "ws/a", "server_url": hypha.url, "token": hypha.token}]
        )
        files = storage.mount("data").files
        for number in range(2):
            with files.staged(version="new"):
                files.put("a.txt", f"version {number}")
        app = FastAPI()

        @app.get("/{version}")
        async def read(version: int) -> FileAnswer:
            return FileAnswer(storage.node("data:a.txt", version=version))

        with running(app) as client:
            assert client.get("/-1").text == "version 1"
            assert client.get("/-2").text == "version 0"
            assert client.get("/7").status_code == 404
