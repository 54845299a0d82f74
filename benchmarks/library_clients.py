"""Libraries that read through a file, a file system or a store: ours, or what they are used with otherwise.

A client gives a function that opens what it needs and reads; the libraries are imported before the clock starts. It is
called twice: for the first object of a process (which starts threads, connects and imports what is imported late), and,
as ``later``, for another that has the same content and another name. Requests and bytes are those that nginx has noted.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .bucket_clients import Place
from .clients import Access, Figures, _timed, noted

COLUMNS, COLUMN = 10, "c3"
CHUNK = 128  # numbers of 4 bytes, in both directions
ARRAY = "cells.zarr"


def table(rows: int) -> Any:
    """Columns of pseudo-random numbers."""
    import numpy
    import pyarrow

    chance = numpy.random.default_rng(1)
    return pyarrow.table({f"c{number}": chance.random(rows) for number in range(COLUMNS)})


def cells(rows: int, columns: int) -> Any:
    """So many chunks of pseudo-random numbers, one below and one beside the other."""
    import numpy

    return numpy.random.default_rng(2).random((rows * CHUNK, columns * CHUNK), dtype="f4")


def write_cells(folder: Path, rows: int, columns: int) -> None:
    """A zarr array of ``cells``, each chunk a file. Nothing is compressed: the stores are measured, and no codec."""
    import zarr

    array = zarr.create_array(
        zarr.storage.LocalStore(folder),
        shape=(rows * CHUNK, columns * CHUNK),
        chunks=(CHUNK, CHUNK),
        dtype="f4",
        compressors=None,
    )
    array[:] = cells(rows, columns)


# -- a column of a parquet file ---------------------------------------------------------------------------------------


def _file_systems() -> dict[str, Callable[[str], tuple[Any, str]]]:
    from fsspec.implementations.http import HTTPFileSystem

    from cloudfiles_hypha.filesystem.fsspec import ArtifactFileSystem

    return {
        "ours": lambda base: (ArtifactFileSystem(base), ""),
        "fsspec": lambda base: (HTTPFileSystem(skip_instance_cache=True), f"{base}/"),
    }


def _by_pyarrow(client: str) -> Callable[[str, str], Any]:
    from pyarrow import parquet

    system = _file_systems()[client]

    def read(base: str, name: str) -> Any:
        fs, prefix = system(base)
        with fs.open(prefix + name) as file:
            return parquet.read_table(file, columns=[COLUMN])

    return read


def _by_pandas(client: str) -> Callable[[str, str], Any]:
    import pandas

    system = _file_systems()[client]
    little = io.BytesIO()
    pandas.DataFrame({COLUMN: [1.0]}).to_parquet(little)
    pandas.read_parquet(little)  # which imports more

    def read(base: str, name: str) -> Any:
        fs, prefix = system(base)
        return pandas.read_parquet(prefix + name, columns=[COLUMN], filesystem=fs)

    return read


def _ours_opened(_: str) -> Callable[[str, str], Any]:
    from pyarrow import parquet

    from cloudfiles_hypha import ArtifactFiles

    def read(base: str, name: str) -> Any:
        with ArtifactFiles(base).open(name) as file:
            return parquet.read_table(file, columns=[COLUMN])

    return read


def _by_fsspec_parquet(_: str) -> Callable[[str, str], Any]:
    """fsspec's own opener for that, which looks into the footer and fetches what pyarrow is going to want."""
    from fsspec.parquet import open_parquet_file
    from pyarrow import parquet

    system = _file_systems()["fsspec"]

    def read(base: str, name: str) -> Any:
        fs, prefix = system(base)
        with open_parquet_file(prefix + name, fs=fs, columns=[COLUMN], engine="pyarrow") as file:
            return parquet.read_table(file, columns=[COLUMN])

    return read


PARQUET: dict[str, tuple[Callable[[str], Callable[[str, str], Any]], str]] = {
    "ours, cf.open, pyarrow": (_ours_opened, ""),
    "ours, file system, pyarrow": (_by_pyarrow, "ours"),
    "ours, file system, pandas": (_by_pandas, "ours"),
    "fsspec, pyarrow": (_by_pyarrow, "fsspec"),
    "fsspec, pandas": (_by_pandas, "fsspec"),
    "fsspec.parquet, pyarrow": (_by_fsspec_parquet, ""),
}


def task_parquet(*, client: str, base: str, names: list[str], source: str, log: str, needed: int) -> Figures:
    """One column of a parquet file."""
    from pyarrow import parquet

    make, which = PARQUET[client]
    read = make(which)
    wanted = parquet.read_table(source, columns=[COLUMN])[COLUMN].to_numpy()
    tables, figures = _both([lambda: read(base, names[0]), lambda: read(base, names[1])], log, needed)
    assert all((each[COLUMN].to_numpy() == wanted).all() for each in tables), f"{client}: other numbers"
    return figures


# -- a member of an archive -------------------------------------------------------------------------------------------


def _opened(client: str) -> Callable[[str, str], Any]:
    if client == "ours, cf.open":
        from cloudfiles_hypha import ArtifactFiles

        return lambda base, name: ArtifactFiles(base).open(name)
    system = _file_systems()[client.split(",")[0]]

    def opened(base: str, name: str) -> Any:
        fs, prefix = system(base)
        return fs.open(prefix + name)

    return opened


ARCHIVES = ("ours, cf.open", "ours, file system", "fsspec")


def task_zip(*, client: str, base: str, names: list[str], source: str, log: str, member: str, needed: int) -> Figures:
    """One member of an archive."""
    opened = _opened(client)

    def read(name: str) -> bytes:
        with opened(base, name) as file, zipfile.ZipFile(file) as archive:
            return archive.read(member)

    found, figures = _both([lambda: read(names[0]), lambda: read(names[1])], log, needed)
    with zipfile.ZipFile(source) as archive:
        assert found == [archive.read(member)] * 2, f"{client}: other bytes"
    return figures


# -- zarr -------------------------------------------------------------------------------------------------------------


def _zarr_by_http(client: str) -> Callable[[str], Any]:
    """How a store at an address is made."""
    if client == "ours":
        from cloudfiles_hypha.zarr import ArtifactStore

        return lambda url: ArtifactStore(url, read_only=True)
    import zarr.storage

    if client == "obstore":
        from obstore.store import HTTPStore

        options: Any = {"allow_http": True}
        return lambda url: zarr.storage.ObjectStore(HTTPStore(url, client_options=options), read_only=True)
    from fsspec.implementations.http import HTTPFileSystem

    return lambda url: zarr.storage.FsspecStore(HTTPFileSystem(asynchronous=True), True, path=url)


SLICES = ("ours", "fsspec", "obstore")


def task_zarr_slice(
    *, client: str, base: str, names: list[str], source: str, log: str, start: int, stop: int, needed: int
) -> Figures:
    """The same rows as columns of an array."""
    import zarr

    store = _zarr_by_http(client)
    cut = (slice(start, stop),) * 2
    wanted = zarr.open_array(source, mode="r")[cut]

    def read(name: str) -> Any:
        return zarr.open_array(store(f"{base}/{name}"), mode="r", zarr_format=3)[cut]

    found, figures = _both([lambda: read(names[0]), lambda: read(names[1])], log, needed)
    assert all((each == wanted).all() for each in found), f"{client}: other numbers"
    return figures


def _zarr_in_bucket(client: str, place: Place, at_once: int) -> Callable[[], Any]:
    if client == "ours":
        from cloudfiles_hypha.zarr import ArtifactStore

        return lambda: ArtifactStore(f"{place.cloudpath}/{ARRAY}", read_only=True, secrets=place.secrets)
    import zarr.storage

    if client == "obstore":
        import obstore.store  # noqa: F401 -- before the clock starts

        there = replace(place, prefix=f"{place.prefix}/{ARRAY}")
        return lambda: zarr.storage.ObjectStore(there.obstore(), read_only=True)
    from s3fs import S3FileSystem

    options = {"endpoint_url": place.endpoint, "key": place.key, "secret": place.secret}

    def store() -> Any:
        # as many connections as it is asked for at once, which zarr's number of 10 is for 10
        fs = S3FileSystem(asynchronous=True, config_kwargs={"max_pool_connections": at_once}, **options)
        return zarr.storage.FsspecStore(fs, True, path=f"{place.bucket}/{place.prefix}/{ARRAY}")

    return store


def task_zarr_s3(*, client: str, place: dict[str, str], rows: int, columns: int, at_once: int) -> Figures:
    """All of an array on ``s3://``, with so many chunks asked for at once."""
    return _all_of_it(_zarr_in_bucket(client, Place(**place), at_once), rows, columns, at_once)


def task_zarr_hypha(*, access: dict[str, str], alias: str, log: str, rows: int, columns: int, at_once: int) -> Figures:
    """All of an array in an artifact."""
    from cloudfiles_hypha.zarr import ArtifactStore

    hypha = Access(**access)
    place = f"hypha://{hypha.workspace}/{alias}/{ARRAY}"

    def store() -> Any:
        return ArtifactStore(place, read_only=True, server_url=hypha.server, token=hypha.token)

    before = noted(log)
    figures = _all_of_it(store, rows, columns, at_once)
    return {**figures, "calls": noted(log)[0] - before[0]}


def _all_of_it(store: Callable[[], Any], rows: int, columns: int, at_once: int) -> Figures:
    import zarr

    with zarr.config.set({"async.concurrency": at_once}):
        found, figures = _timed(lambda: zarr.open_array(store(), mode="r", zarr_format=3)[:])
    assert (found == cells(rows, columns)).all(), "other numbers"
    return {**figures, "items": rows * columns}


def _both(reads: Sequence[Callable[[], Any]], log: str, needed: int) -> tuple[list[Any], Figures]:
    """What the first and a later one give, and take."""
    before = noted(log)
    (one, figures), (other, later) = [_timed(read) for read in reads]
    requests, moved = (after - then for after, then in zip(noted(log), before, strict=True))
    figures["later"] = later["seconds"]
    return [one, other], {**figures, "items": 1, "requests": requests / 2, "moved": moved / 2 / needed}


TASKS: dict[str, Callable[..., Figures]] = {
    "parquet": task_parquet,
    "zip": task_zip,
    "zarr-slice": task_zarr_slice,
    "zarr-s3": task_zarr_s3,
    "zarr-hypha": task_zarr_hypha,
}
