"""The examples of genro-storage's documentation run with only the import changed.

What they have to be given besides: the folders that they name, in a folder of the test, and memory for the bucket. Two
use mounts that they do not configure (``mem`` and ``backups``): these are configured for them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha.backends.memory import clear_memory
from cloudfiles_hypha.compat.genro_storage import StorageManager

_PAGE = Path(__file__).parents[1].joinpath("support", "genro_storage.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"^## (.*?)\n\n```python\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def names(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What an example finds: a manager with all mounts, and a folder for each that it names."""
    clear_memory()
    for folder in ("tmp/storage", "path/to/storage", "data"):
        (tmp_path / folder).mkdir(parents=True)
    storage = StorageManager()
    storage.configure({name: {"protocol": "memory"} for name in ("mem", "home", "uploads", "backups")})
    storage.add_mount({"name": "local", "protocol": "local", "base_path": str(tmp_path / "data")})
    yield {"storage": storage, "asyncio": asyncio, "folder": tmp_path}
    storage.close()
    clear_memory()


def run(title: str, names: dict[str, Any]) -> dict[str, Any]:
    """What an example's names are in the end."""
    code = EXAMPLES[title].replace("from genro_storage import", "from cloudfiles_hypha.compat.genro_storage import")
    code = re.sub(r'"base_path": "(/[^"]*)"', lambda found: f'"base_path": {str(names["folder"]) + found[1]!r}', code)
    code = re.sub(r'"protocol": "s3",\s*"bucket": "my-bucket"', '"protocol": "memory"', code)
    assert '"s3"' not in code
    exec(compile(code, title, "exec"), names)
    return names


def test_every_example_is_tried() -> None:
    tried = {*WITHOUT_A_SERVER, *WITH_FASTAPI, "How It Works", "Parallel Writes", "Parallel Reads"}
    assert tried | {"Directory Operations", "Migration Notes"} == {*EXAMPLES}


WITHOUT_A_SERVER = {
    "Basic Setup": "",
    "Sync Usage": "File size: 11 bytes\nIs file: True\n",
    "Async Usage": "File size: 17, Is file: True\n",
}


@pytest.mark.parametrize("title", WITHOUT_A_SERVER)
def test_what_an_example_prints(title: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(title, names)["storage"].close()
    assert capsys.readouterr().out == WITHOUT_A_SERVER[title]


def test_one_node_in_both_contexts(names: dict[str, Any]) -> None:
    names["storage"].node("home:file.txt").write_bytes(b"x")
    process = run("How It Works", names)["process"]
    assert names["content"] == b"x"
    asyncio.run(process())


def test_a_folder_and_its_children(names: dict[str, Any]) -> None:
    asyncio.run(run("Directory Operations", names)["directory_example"]())


def test_parallel_operations(names: dict[str, Any]) -> None:
    asyncio.run(run("Parallel Writes", names)["parallel_writes"]())
    asyncio.run(run("Parallel Reads", names)["parallel_reads"]())
    assert names["storage"].node("mem:file_7.txt").read_bytes() == b"content_7"


def test_the_new_way_runs_and_the_old_one_says_what_is_new(names: dict[str, Any]) -> None:
    old, new = EXAMPLES["Migration Notes"].split("# NEW")
    assert "AsyncStorageManager" in old
    with pytest.raises(ImportError, match="AsyncStorageManager"):
        exec("from cloudfiles_hypha.compat.genro_storage import AsyncStorageManager", {})
    assert "if await node.exists():" in new


WITH_FASTAPI = ("Basic File Serving", "File Upload Endpoint", "Batch Operations", "Clean Resource Management")


def test_the_endpoints_serve_upload_and_copy(names: dict[str, Any]) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("multipart")
    httpx = pytest.importorskip("httpx")
    own = names["storage"]
    for title in WITH_FASTAPI[:3]:
        run(title, names)
    storage = names["storage"]
    assert storage is not own
    storage.add_mount({"name": "backups", "protocol": "memory"})

    async def main() -> None:
        transport = httpx.ASGITransport(app=names["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            assert (await client.get("/files/a.txt")).status_code == 404
            uploaded = await client.post("/upload/a.txt", files={"file": b"content"})
            assert uploaded.json() == {"filepath": "a.txt", "size": 7}
            served = (await client.get("/files/a.txt")).json()
            assert (served["data"], served["size"]) == ("content", 7)
            copied = (await client.post("/backup", json=["a.txt", "b.txt"])).json()["results"]
            assert [each["status"] for each in copied] == ["ok", "not found"]

    asyncio.run(main())
    assert storage.node("backups:a.txt").read() == b"content"
    storage.close()


def test_a_manager_lives_as_long_as_the_application(names: dict[str, Any]) -> None:
    fastapi = pytest.importorskip("fastapi")
    names["FastAPI"] = fastapi.FastAPI
    names["StorageManager"] = StorageManager
    app = run("Clean Resource Management", names)["app"]

    async def main() -> None:
        async with app.router.lifespan_context(app):
            node = app.state.storage.node("data:file.txt")
            await node.write_bytes(b"x")
            assert await node.read_bytes() == b"x"
            app.state.storage.close()

    asyncio.run(main())
    assert (names["folder"] / "data" / "file.txt").read_bytes() == b"x"
