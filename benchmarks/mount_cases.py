"""Named mounts; ``cases`` says how they are measured, ``mount_clients`` has who copies and reads."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .cases import FOLDER, Bench, at_least, at_most, ratios
from .mount_clients import COPIERS, READERS
from .servers import SMALL_SIZE, file_name, payload, write_files

_BUCKET = "benchmarks"


def _bucket(bench: Bench, folder: str) -> dict[str, Any]:
    """A mount of a folder of a bucket, as both libraries are configured."""
    store = bench.store()
    bench.made_bucket(_BUCKET)
    return {
        "name": "store", "protocol": "s3", "bucket": _BUCKET, "base_path": folder, "region": "us-east-1",
        "endpoint_url": store["endpoint"], "key": store["key"], "secret": store["secret"],
    }  # fmt: skip


def mounts_copy(bench: Bench) -> None:
    """Copy a folder of 2,000 x 4 KiB from one mount to another: from a local folder to `s3://`, and back."""
    case, count = "mounts-copy", bench.count(2000)
    with bench.scratch() as scratch:
        source = Path(scratch, "local", "source")
        source.parent.mkdir()
        write_files(source, count, SMALL_SIZE)
        local = {"name": "home", "protocol": "local", "base_path": str(source.parent)}
        store = _bucket(bench, f"mounts-{uuid.uuid4().hex[:8]}")
        # SeaweedFS makes room for a bucket when something is first written to it, which is nobody's time here
        _store_all(store, [(f"first/{file_name(index)}", payload(index, SMALL_SIZE)) for index in range(100)])
        for way, here, there in (("local to s3", "home", "store"), ("s3 to local", "store", "home")):

            def copying(client: str, here: str = here, there: str = there) -> Callable[[int], dict[str, Any]]:
                def of(number: int) -> dict[str, Any]:
                    # what the first way has copied is what the second one copies back
                    return {
                        "client": client, "mounts": [local, store], "source": f"{here}:source",
                        "target": f"{there}:source" if there == "store" else f"{there}:{uuid.uuid4().hex}",
                        "count": count, "size": SMALL_SIZE,
                    }  # fmt: skip

                return of

            found = bench.interleave(
                f"{case}, {way}", bench.rounds(3), "mount-copy", {client: copying(client) for client in COPIERS}
            )
            ratio = ratios(found["genro-storage"], found["ours"])
            bench.add(case, f"{way}: speed / that of genro-storage", ratio, at_least(5.0))


def mounts_read(bench: Bench) -> None:
    """Await 1,000 x 4 KiB by a coroutine each, on `s3://` and in a Hypha artifact, and read them in one batch."""
    case, count = "mounts-read", bench.count(1000)
    contents = [(f"{FOLDER}/{file_name(index)}", payload(index, SMALL_SIZE)) for index in range(count)]
    access, alias = bench.hypha(), f"mounts-{uuid.uuid4().hex[:8]}"
    access.files(alias, create=True).puts(contents)
    mounts = {
        "s3": _bucket(bench, f"mounts-{uuid.uuid4().hex[:8]}"),
        "Hypha": {
            "name": "store", "protocol": "hypha", "artifact": f"{access.workspace}/{alias}",
            "server_url": access.server, "token": access.token,
        },
    }  # fmt: skip
    _store_all(mounts["s3"], contents)
    for place, mount in mounts.items():

        def reading(client: str, mount: dict[str, Any] = mount) -> Callable[[int], dict[str, Any]]:
            return lambda number: {"client": client, "mount": mount, "count": count, "size": SMALL_SIZE}

        found = bench.interleave(
            f"{case}, {place}", bench.rounds(5), "mount-read", {client: reading(client) for client in READERS}
        )
        batch, each = (found[client] for client in READERS)
        bench.add(case, f"{place}: speed, a coroutine each / one batch", ratios(batch, each), at_least(0.8))
        stalls = [figures["stall"] for figures in each]
        bench.add(case, f"{place}: longest stall of the loop", stalls, at_most(0.05), "s")


def _store_all(mount: dict[str, Any], contents: list[tuple[str, bytes]]) -> None:
    from cloudfiles_hypha import StorageManager

    with StorageManager() as storage:
        storage.configure([mount])
        node = storage.node("store:")
        node.mount.files.puts((node.mount.prefix + name, content) for name, content in contents)


CASES: dict[str, Callable[[Bench], None]] = {"mounts-copy": mounts_copy, "mounts-read": mounts_read}
