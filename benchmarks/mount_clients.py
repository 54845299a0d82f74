"""Mounts of two libraries, which are configured alike: what each takes to copy a folder; and what it costs to await
single reads. What was copied is read back, by ours, after the clock has stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from .clients import FOLDER, Figures, _timed, _verify
from .servers import file_name

Mounts = list[dict[str, Any]]

# Files that are read beforehand, so that connections are there.
_WARM_UP = 64
# Seconds between two looks at whether the loop goes on.
_TICK = 0.002


def _ours(mounts: Mounts) -> Any:
    from cloudfiles_hypha import StorageManager

    storage = StorageManager()
    storage.configure(mounts)
    return storage


def _genro_storage(mounts: Mounts) -> Any:
    import genro_storage
    import s3fs  # noqa: F401 -- without which it has no s3

    storage = genro_storage.StorageManager()
    storage.configure(mounts)
    return storage


COPIERS: dict[str, Callable[[Mounts], Any]] = {"ours": _ours, "genro-storage": _genro_storage}


def task_mount_copy(*, client: str, mounts: Mounts, source: str, target: str, count: int, size: int) -> Figures:
    """Copy a folder of ``count`` files from one mount to another."""
    storage = COPIERS[client](mounts)
    _, figures = _timed(lambda: storage.node(source).copy_to(storage.node(target)))
    with _ours(mounts) as reader:
        folder = reader.node(target)
        files, below = folder.mount.files, folder.mount.full(folder.path)
        _verify([each["content"] for each in files.get([f"{below}/{file_name(n)}" for n in range(count)])], size)
    return {**figures, "items": count}


READERS = ("one batch", "a coroutine each")


def task_mount_read(*, client: str, mount: dict[str, Any], count: int, size: int) -> Figures:
    """Read ``count`` files: by one call, or each by a coroutine, while another one watches the loop."""
    names = [f"{FOLDER}/{file_name(index)}" for index in range(count)]
    stall = 0.0
    with _ours([mount]) as storage:
        if client == "one batch":
            root = storage.node("store:").mount
            whole = [root.prefix + name for name in names]
            root.files.get(whole[:_WARM_UP])
            results, figures = _timed(lambda: root.files.get(whole))
            bodies = [result["content"] for result in results]
        else:
            bodies, figures, stall = asyncio.run(_awaited(storage, names))
    _verify(bodies, size)
    return {**figures, "items": count, "stall": stall}


async def _awaited(storage: Any, names: list[str]) -> tuple[list[bytes], Figures, float]:
    nodes = [storage.node(f"store:{name}") for name in names]
    await asyncio.gather(*[node.read() for node in nodes[:_WARM_UP]])
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_TICK)
            longest = max(longest, time.perf_counter() - before - _TICK)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    began, used = time.perf_counter(), time.process_time()
    bodies = await asyncio.gather(*[node.read() for node in nodes])
    figures = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}
    await asyncio.sleep(0)
    watching.cancel()
    return bodies, figures, longest


TASKS: dict[str, Callable[..., Figures]] = {"mount-copy": task_mount_copy, "mount-read": task_mount_read}
