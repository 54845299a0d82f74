"""What libraries read through us; ``cases`` says how it is measured, ``library_clients`` has who reads."""

from __future__ import annotations

import contextlib
import random
import struct
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import servers
from .bucket_cases import _place
from .cases import Bench, Target, artifact_of, at_least, at_most, ratios
from .clients import Figures, MissingPeer
from .library_clients import (
    ARCHIVES,
    ARRAY,
    CHUNK,
    COLUMN,
    PARQUET,
    SLICES,
    table,
    write_cells,
)
from .servers import SMALL_SIZE

_MEMBER = "member-000321.bin"


@contextlib.contextmanager
def _served(make: Callable[[Path], None]) -> Iterator[tuple[dict[str, Any], Path]]:
    """What ``make`` puts into a folder, on nginx, by two names: arguments of the tasks, and where it is."""
    with tempfile.TemporaryDirectory(prefix="benchmark-served-") as directory, servers.noted_in() as log:
        source = Path(directory, "files")
        source.mkdir()
        try:
            make(source)
            (made,) = source.iterdir()
            (source / f"again-{made.name}").symlink_to(made)
        except ModuleNotFoundError as error:
            raise MissingPeer(f"{error.name} is not installed (the extra [bench])") from error
        with servers.serve(lambda folder: folder.symlink_to(source), log) as base:
            names = [made.name, f"again-{made.name}"]
            yield {"base": base, "names": names, "source": str(made), "log": str(log)}, made


def _compared(bench: Bench, case: str, found: Mapping[str, Sequence[Figures]], peers: Mapping[str, str]) -> None:
    """Rows for each of ours against the peer of the same library, and for the bytes and requests of all."""
    for ours, peer in peers.items():
        _speeds(bench, case, found, ours, peer, at_least(1.0))
    for client, figures in found.items():
        bound = at_most(1.1) if client.startswith("ours") else None
        bench.add(case, f"bytes moved / needed, {client}", [each["moved"] for each in figures], bound)
        bench.add(case, f"requests, {client}", [each["requests"] for each in figures])


def _speeds(
    bench: Bench, case: str, found: Mapping[str, Sequence[Figures]], ours: str, peer: str, target: Target | None
) -> None:
    for which, figure in (("first of a process", "seconds"), ("later", "later")):
        speed = ratios(found[peer], found[ours], figure)
        bench.add(case, f"speed / that of {peer}: {ours}, {which}", speed, target)


def remote_parquet(bench: Bench) -> None:
    """Read one of ten columns of a parquet file of 100 MB on nginx, by pyarrow and by pandas."""
    case = "remote-parquet"

    def make(folder: Path) -> None:
        from pyarrow import parquet

        parquet.write_table(table(bench.count(1_250_000)), folder / "table.parquet", use_dictionary=False)

    with _served(make) as (arguments, source):
        arguments["needed"] = _needed_of_parquet(source)
        found = bench.interleave(
            case, bench.rounds(5), "parquet", {client: _with(client, arguments) for client in PARQUET}
        )
    peers = {
        "ours, cf.open, pyarrow": "fsspec, pyarrow",
        "ours, file system, pyarrow": "fsspec, pyarrow",
        "ours, file system, pandas": "fsspec, pandas",
    }
    _compared(bench, case, found, peers)
    _speeds(bench, case, found, "ours, cf.open, pyarrow", "fsspec.parquet, pyarrow", at_least(1.0))


def _needed_of_parquet(path: Path) -> int:
    """The footer with its length and magic, and what the column takes in each row group."""
    from pyarrow import parquet

    about = parquet.read_metadata(path)
    with open(path, "rb") as file:
        file.seek(-8, 2)
        (footer,) = struct.unpack("<I", file.read(4))
    column = about.schema.names.index(COLUMN)
    groups = [about.row_group(number).column(column) for number in range(about.num_row_groups)]
    return int(footer) + 8 + sum(group.total_compressed_size for group in groups)


def remote_zip(bench: Bench) -> None:
    """Read one member of 1 MiB of a zip archive of 1,000 such members (1 GiB) on nginx."""
    case, count = "remote-zip", bench.count(1000)
    member = _MEMBER if not bench.quick else "member-000021.bin"

    def make(folder: Path) -> None:
        chance = random.Random(3)
        with zipfile.ZipFile(folder / "big.zip", "w") as archive:
            for number in range(count):
                archive.writestr(f"member-{number:06d}.bin", chance.randbytes(1024 * 1024))

    with _served(make) as (arguments, source):
        arguments["member"] = member
        with zipfile.ZipFile(source) as archive:
            directory = source.stat().st_size - archive.start_dir
            arguments["needed"] = directory + 30 + len(member) + archive.getinfo(member).compress_size
        found = bench.interleave(
            case, bench.rounds(5), "zip", {client: _with(client, arguments) for client in ARCHIVES}
        )
    _compared(bench, case, found, dict.fromkeys(("ours, cf.open", "ours, file system"), "fsspec"))


def remote_zarr(bench: Bench) -> None:
    """Read a slice of a zarr 3 array on nginx: 11 x 11 of 40 x 50 chunks of 64 KiB."""
    case, rows = "remote-zarr", bench.count(40)
    start, stop = (100, 300) if bench.quick else (1000, 2400)
    touched = range(start // CHUNK, (stop - 1) // CHUNK + 1)
    with _served(lambda folder: write_cells(folder / ARRAY, rows, 50)) as (arguments, source):
        chunks = [source / "c" / str(row) / str(column) for row in touched for column in touched]
        arguments["needed"] = sum(part.stat().st_size for part in (source / "zarr.json", *chunks))
        arguments |= {"start": start, "stop": stop}
        found = bench.interleave(
            case, bench.rounds(5), "zarr-slice", {client: _with(client, arguments) for client in SLICES}
        )
    _compared(bench, case, found, {"ours": "fsspec"})
    _speeds(bench, case, found, "ours", "obstore", None)


def zarr_arrays(bench: Bench) -> None:
    """Read a zarr 3 array of 2,000 chunks of 64 KiB from `s3://`, and from a Hypha artifact: 10 chunks at once, which
    is zarr's own number, 64 and (from Hypha, which has no peer) 500."""
    case, rows, columns = "zarr", bench.count(40), 50
    place = _place(bench, case)
    access, noted = bench.noted_hypha()
    alias = f"read-{uuid.uuid4().hex[:8]}"
    with bench.scratch() as folder:
        try:
            write_cells(Path(folder, ARRAY), rows, columns)
        except ModuleNotFoundError as error:
            raise MissingPeer(f"{error.name} is not installed (the extra [bench])") from error
        place.ours().upload(folder)
        access.files(alias, create=True).upload(folder)
    array = {"rows": rows, "columns": columns}
    for at_once in (10, 64):
        arguments = {**array, "place": vars(place), "at_once": at_once}
        clients = {client: _with(client, arguments) for client in ("ours", "obstore", "s3fs")}
        found = bench.interleave(f"{case}-s3-{at_once}", bench.rounds(3), "zarr-s3", clients)
        for peer in ("obstore", "s3fs"):
            speed = ratios(found[peer], found["ours"])
            bench.add(case, f"`s3://`, {at_once} at once: speed / that of {peer}", speed, at_least(1.0))

    def from_hypha(at_once: int) -> Callable[[int], dict[str, Any]]:
        arguments = {**array, "access": vars(access), "alias": alias, "log": str(noted), "at_once": at_once}
        return lambda number: arguments

    for at_once in (10, 64, 500):
        name = f"{case}-hypha-{at_once}"
        alone = bench.interleave(name, bench.rounds(1), "zarr-hypha", {"ours": from_hypha(at_once)})["ours"]
        bench.add(case, f"Hypha, {at_once} at once", [each["seconds"] for each in alone], unit="s")
        bench.add(case, f"Hypha, {at_once} at once: control calls", [each["calls"] for each in alone])


def file_system_cat(bench: Bench) -> None:
    """Get 1,000 x 4 KiB from a Hypha artifact by `fs.cat` of fsspec's `hypha`, and by `cf.get`, in one batch each."""
    case, count = "fs-cat", bench.count(1000)
    access, noted = bench.noted_hypha()
    arguments = {
        "access": vars(access), "alias": artifact_of(access, count), "count": count, "size": SMALL_SIZE,
        "log": str(noted),
    }  # fmt: skip
    clients = ("one batch", "fs.cat")
    found = bench.interleave(
        case, bench.rounds(5), "hypha-single", {client: _with(client, arguments) for client in clients}
    )
    batch, cat = (found[client] for client in clients)
    bench.add(case, "wall time / that of `cf.get`", ratios(cat, batch), at_most(1.1))
    bench.add(case, "control calls / those of `cf.get`", ratios(cat, batch, "calls"), at_most(1.0))
    for client in clients:
        bench.add(case, f"control calls, {client}", [each["calls"] for each in found[client]])


def _with(client: str, arguments: Mapping[str, Any]) -> Callable[[int], dict[str, Any]]:
    return lambda number: {"client": client, **arguments}


CASES: dict[str, Callable[[Bench], None]] = {
    "remote-parquet": remote_parquet,
    "remote-zip": remote_zip,
    "remote-zarr": remote_zarr,
    "zarr": zarr_arrays,
    "fs-cat": file_system_cat,
}
