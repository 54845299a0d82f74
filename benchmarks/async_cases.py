"""Asynchronous files; ``cases`` says how they are measured, ``async_clients`` has who reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import servers
from .async_clients import OPENERS
from .cases import Bench, Target, at_least, at_most, ratios
from .clients import Figures
from .servers import SMALL_SIZE, file_name, write_files, write_large

# aiofile itself is what is underneath; the others are to be beaten.
_TARGETS: dict[str, Target] = {"aiofile": at_least(0.95), "aiofiles": at_least(1.0), "anyio": at_least(1.0)}


def _against(bench: Bench, case: str, what: str, found: Mapping[str, Sequence[Figures]]) -> None:
    for peer, theirs in found.items():
        if peer != "ours":
            bench.add(case, f"{what}: speed / that of {peer}", ratios(theirs, found["ours"]), _TARGETS[peer])


def async_local(bench: Bench) -> None:
    """Write and read 1 GiB in chunks of 64 KiB, and 10,000 x 4 KiB, of this machine, with `async_open` and its like."""
    case, count = "async-local", bench.count(10_000)
    with bench.scratch() as folder:
        source, target, small = Path(folder, "source"), Path(folder, "target"), Path(folder, "small")
        target.mkdir()
        write_large(source, (128 if bench.quick else 1024) * 1024 * 1024)
        write_files(small, count, SMALL_SIZE)

        def chunks(client: str, kind: str) -> Callable[[int], dict[str, Any]]:
            return lambda number: {
                "client": client, "kind": kind, "source": str(source), "target": str(target / "large"),
                "chunk": 64 * 1024,
            }  # fmt: skip

        def files(client: str, kind: str) -> Callable[[int], dict[str, Any]]:
            where = target if kind == "write" else small
            return lambda number: {"client": client, "kind": kind, "folder": str(where), "count": count}

        for kind in ("write", "read"):
            clients = {client: chunks(client, kind) for client in OPENERS}
            found = bench.interleave(f"{case}-{kind}", bench.rounds(3), "async-chunks", clients, clean=str(target))
            _against(bench, case, f"{kind} 64 KiB at a time", found)
            clients = {client: files(client, kind) for client in OPENERS}
            found = bench.interleave(f"{case}-small-{kind}", bench.rounds(3), "async-small", clients, clean=str(target))
            _against(bench, case, f"{kind} small files", found)


def async_lines(bench: Bench) -> None:
    """Read the lines of a text file of 256 MiB, of this machine and from nginx, as bytes and as text."""
    case = "async-lines"
    size = (32 if bench.quick else 256) * 1024 * 1024

    def fill(folder: Path) -> None:
        folder.mkdir()
        with open(folder / "lines.txt", "wb") as file:
            file.writelines(
                b"%09d: a line of a text that is as long as lines are in most files\n" % n for n in range(count)
            )

    count = size // len(b"%09d: a line of a text that is as long as lines are in most files\n" % 0)
    with bench.scratch() as scratch, servers.serve(fill) as base:
        local = Path(scratch, "files")
        fill(local)

        def reading(client: str, place: str, mode: str) -> Callable[[int], dict[str, Any]]:
            return lambda number: {"client": client, "place": place, "mode": mode, "count": count}

        for mode, what in (("rb", "bytes"), ("r", "text")):
            clients = {
                client: reading(client, str(local / "lines.txt"), mode)
                for client in ("ours", "ours, async_open", "aiofile")
            }
            found = bench.interleave(f"{case}-local-{what}", bench.rounds(3), "async-lines", clients)
            for client in ("ours", "ours, async_open"):
                values = ratios(found["aiofile"], found[client])
                bench.add(
                    case, f"local, {what}: speed of {client} / that of aiofile's LineReader", values, at_least(1.0)
                )
            clients = {client: reading(client, f"{base}/lines.txt", mode) for client in ("ours", "download")}
            found = bench.interleave(f"{case}-remote-{what}", bench.rounds(3), "async-lines", clients)
            bound = at_most(1.2) if mode == "rb" else None
            bench.add(
                case, f"remote, {what}: time / that of the download", ratios(found["ours"], found["download"]), bound
            )


def loop_stall(bench: Bench) -> None:
    """Download 2,000 x 4 KiB and 64 x 8 MiB to the disk while a task of the same loop wants to go on every 5 ms."""
    case = "loop-stall"
    small, large = bench.count(2000), bench.count(64)

    def fill(folder: Path) -> None:
        write_files(folder / "small", small, SMALL_SIZE)
        (folder / "large").mkdir()
        for number in range(large):
            write_large(folder / "large" / file_name(number), 8 * 1024 * 1024)

    with bench.scratch() as target, servers.serve(fill) as base:
        for what, count in (("small", small), ("large", large)):
            names = [file_name(number) for number in range(count)]

            def stalling(client: str, what: str, names: list[str]) -> Callable[[int], dict[str, Any]]:
                return lambda number: {"client": client, "base": f"{base}/{what}", "names": names, "target": target}

            clients = {
                client: stalling(client, what, names)
                for client in ("download", "iget, async_open", "iget, open", "nothing")
            }
            found = bench.interleave(f"{case}-{what}", bench.rounds(3), "async-stall", clients, clean=target)
            for client, figures in found.items():
                bound = at_most(50) if client == "download" else None
                bench.add(case, f"{what}: longest stall, {client}", [f["stall_ms"] for f in figures], bound, "ms")
                bench.add(case, f"{what}: 99 of 100 stalls, {client}", [f["stall_p99_ms"] for f in figures], unit="ms")
            for client in ("iget, async_open", "iget, open"):
                bench.add(
                    case, f"{what}: speed of download / that of {client}", ratios(found[client], found["download"])
                )


CASES: dict[str, Callable[[Bench], None]] = {
    "async-local": async_local,
    "async-lines": async_lines,
    "loop-stall": loop_stall,
}
