"""Objects as files; ``cases`` says how they are measured, ``file_clients`` has who reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import servers
from .cases import Bench, at_least, at_most, ratios
from .file_clients import FILES


def remote_files(bench: Bench) -> None:
    """Read a file of 1 GiB on nginx as a file object: 1,000 x 4 KiB anywhere, and 256 MiB from its beginning on."""
    case = "remote-files"
    size = (128 if bench.quick else 1024) * 1024 * 1024
    with servers.noted_in() as log, servers.large(size, log) as (base, source):
        for kind, count, size in (
            ("random", bench.count(1000), 4096),
            ("sequential", bench.count(256), 1024 * 1024),
        ):

            def reading(client: str, kind: str, count: int, size: int) -> Callable[[int], dict[str, Any]]:
                return lambda number: {
                    "client": client, "base": base, "name": source.name, "source": str(source), "log": str(log),
                    "kind": kind, "count": count, "size": size,
                }  # fmt: skip

            clients = {client: reading(client, kind, count, size) for client in FILES}
            found = bench.interleave(f"{case}-{kind}", bench.rounds(3), "file", clients)
            ours = found["ours"]
            for peer, theirs in found.items():
                if peer != "ours":
                    bench.add(case, f"{kind}: speed / that of {peer}", ratios(theirs, ours), at_least(1.0))
            for client, figures in found.items():
                bound = at_most(1.1) if client == "ours" else None
                bench.add(case, f"{kind}: bytes moved / wanted, {client}", [f["moved"] for f in figures], bound)
                bench.add(case, f"{kind}: requests, {client}", [f["requests"] for f in figures])


CASES: dict[str, Callable[[Bench], None]] = {"remote-files": remote_files}
