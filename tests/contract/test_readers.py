"""What others do with ``hypha://``: pandas, pyarrow, xarray, dask, PIL, universal_pathlib, polars and duckdb.

They come by fsspec, which finds the protocol by its entry point, or by URLs. What keeps threads and processes of its
own (dask) runs in a child.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec", reason="that is by which they come")

import fsspec
import numpy

from cloudfiles_hypha.filesystem.fsspec import HyphaFileSystem
from tests.support.fake_hypha import FakeHypha, SignedStore
from tests.support.object_server import Request, Response

ROWS = {"n": [1, 2, 3], "text": ["a", "b", "c"]}


@pytest.fixture
def hypha(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHypha]:
    """A server whose store tells when an object was stored, as every S3 does, and duckdb wants."""
    respond = SignedStore.respond

    def dated(store: SignedStore, request: Request) -> Response:
        response = respond(store, request)
        return replace(response, headers={"Last-Modified": "Sat, 01 Aug 2026 12:00:00 GMT", **response.headers})

    monkeypatch.setattr(SignedStore, "respond", dated)
    with FakeHypha() as server:
        server.add_artifact("ws/data", {"there": b"0"})
        yield server


@pytest.fixture
def options(hypha: FakeHypha) -> Iterator[dict[str, Any]]:
    """Storage options; the instance that is made for them is the one that everybody here gets."""
    options = {"server_url": hypha.url, "token": hypha.token}
    fs = fsspec.filesystem("hypha", **options)
    yield options
    fs.close()
    HyphaFileSystem.clear_instance_cache()


@pytest.fixture
def fs(options: dict[str, Any]) -> HyphaFileSystem:
    fs: HyphaFileSystem = fsspec.filesystem("hypha", **options)
    return fs


def test_pandas_reads_and_writes_tables(options: dict[str, Any]) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(ROWS)
    frame.to_csv("hypha://ws/data/table.csv", index=False, storage_options=options)
    frame.to_parquet("hypha://ws/data/table.parquet", storage_options=options)
    frame.to_json("hypha://ws/data/table.json.gz", storage_options=options)
    for found in (
        pandas.read_csv("hypha://ws/data/table.csv", storage_options=options),
        pandas.read_parquet("hypha://ws/data/table.parquet", storage_options=options),
        pandas.read_json("hypha://ws/data/table.json.gz", storage_options=options),
    ):
        assert found.to_dict("list") == ROWS


def test_pyarrow_reads_columns_and_writes_data_sets(hypha: FakeHypha, fs: HyphaFileSystem) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import dataset, parquet

    wide = pyarrow.table({name: numpy.random.default_rng(0).random(20_000) for name in "abcdefghij"})
    parquet.write_table(wide, "ws/data/wide.parquet", filesystem=fs, row_group_size=20_000, compression="none")
    size = fs.size("ws/data/wide.parquet")
    hypha.store.forget_requests()
    assert parquet.read_table("ws/data/wide.parquet", columns=["c"], filesystem=fs).equals(wide.select(["c"]))
    ranges = [record.range for record in hypha.store.requests if record.method == "GET"]
    moved = sum(int(last) - int(first) + 1 for first, _, last in (each[6:].partition("-") for each in ranges if each))
    assert 0 < moved < size / 3
    table = pyarrow.table(ROWS)
    with fs.transaction:
        dataset.write_dataset(table, "ws/data/set", filesystem=fs, format="parquet", partitioning=["text"])
    assert dataset.dataset("ws/data/set", filesystem=fs, partitioning=["text"]).to_table().num_rows == 3


def test_xarray_and_zarr_read_and_write_arrays(options: dict[str, Any], fs: HyphaFileSystem) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("zarr 3 needs Python 3.11")
    xarray, zarr = pytest.importorskip("xarray"), pytest.importorskip("zarr")
    from zarr.core.sync import cleanup_resources

    from cloudfiles_hypha.zarr import ArtifactStore

    data = xarray.Dataset({"t": (("x", "y"), numpy.arange(12.0).reshape(3, 4))})
    try:
        store = ArtifactStore(fs._place("ws/data").files)
        data.to_zarr(store, group="native", mode="w", consolidated=False)
        data.to_zarr("hypha://ws/data/through.zarr", storage_options=options, mode="w", consolidated=False)
        assert xarray.open_zarr(store, group="native", consolidated=False, chunks=None).identical(data)
        with xarray.open_zarr(
            "hypha://ws/data/through.zarr", storage_options=options, consolidated=False, chunks=None
        ) as found:
            assert found.identical(data)
        array = zarr.open_array("hypha://ws/data/through.zarr/t", storage_options=options, mode="r")
        assert array[1, 2] == 6
    finally:
        cleanup_resources()
        for each in [*HyphaFileSystem._cache.values()]:
            each.close()


def test_pillow_reads_and_writes_images(fs: HyphaFileSystem) -> None:
    image = pytest.importorskip("PIL.Image")
    with fs.open("ws/data/red.png", "wb") as file:
        image.new("RGB", (20, 10), "red").save(file, format="PNG")
    with fs.open("ws/data/red.png") as file, image.open(file) as found:
        assert (found.size, found.getpixel((3, 3))) == ((20, 10), (255, 0, 0))


def test_zipfile_reads_members(fs: HyphaFileSystem) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("one", "two"):
            archive.writestr(name, name * 1000)
    fs.pipe_file("ws/data/x.zip", packed.getvalue())
    with fs.open("ws/data/x.zip") as file, zipfile.ZipFile(file) as archive:
        assert archive.read("two") == b"two" * 1000


def test_paths_of_universal_pathlib_read_and_write(options: dict[str, Any]) -> None:
    upath = pytest.importorskip("upath")
    folder = upath.UPath("hypha://ws/data/paths", **options)
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "deep" / "a.txt").write_text("text", encoding="utf-8")
    (folder / "b.bin").write_bytes(b"bytes")
    assert type(folder).__name__ == "HyphaPath"
    assert (folder / "deep/a.txt").read_text(encoding="utf-8") == "text"
    assert sorted(str(path) for path in folder.rglob("*.*")) == [
        "hypha://ws/data/paths/b.bin",
        "hypha://ws/data/paths/deep/a.txt",
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["b.bin", "deep"]
    assert (folder / "b.bin").stat().st_size == 5
    assert (folder / "deep").is_dir()
    assert not (folder / "nothing").exists()
    assert (folder / "b.bin").parent == folder
    (folder / "b.bin").unlink()
    with pytest.raises(FileNotFoundError):
        (folder / "b.bin").read_bytes()


def test_polars_reads_files_and_urls(fs: HyphaFileSystem) -> None:
    polars = pytest.importorskip("polars")
    with fs.open("ws/data/table.parquet", "wb") as file:
        polars.DataFrame(ROWS).write_parquet(file)
    with fs.open("ws/data/table.parquet") as file:
        assert polars.read_parquet(file).to_dict(as_series=False) == ROWS
    (url,) = fs._place("ws/data").files.urls(["table.parquet"])
    assert polars.scan_parquet(url).select("n").collect().to_dict(as_series=False) == {"n": ROWS["n"]}


def test_duckdb_queries_files(fs: HyphaFileSystem) -> None:
    duckdb = pytest.importorskip("duckdb")
    fs.pipe_file("ws/data/table.csv", b"n,text\n1,a\n2,b\n3,c\n")
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        assert connection.sql("SELECT sum(n) FROM read_csv('hypha://ws/data/table.csv')").fetchall() == [(6,)]
        connection.sql("COPY (SELECT 7 AS n) TO 'hypha://ws/data/out.parquet' (FORMAT parquet)")
        assert connection.sql("SELECT n FROM 'hypha://ws/data/out.parquet'").fetchall() == [(7,)]


DASK = """
import json, sys
import dask.dataframe as dd
import fsspec
import pandas
from distributed import Client, LocalCluster

def main(options):
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        fs = fsspec.filesystem("hypha", **options)
        frame = dd.from_pandas(pandas.DataFrame({"n": range(100)}), npartitions=4)
        with fs.transaction:
            frame.to_parquet("hypha://ws/data/table", storage_options=options)
            workers = {worker["pid"] for worker in client.run(lambda: {"pid": __import__("os").getpid()}).values()}
            assert len(workers) == 2
        found = dd.read_parquet("hypha://ws/data/table", storage_options=options)
        print(int(found["n"].sum().compute()))

if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
"""


def test_workers_of_dask_write_into_one_commit(hypha: FakeHypha, options: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("dask.dataframe")
    pytest.importorskip("distributed")
    (tmp_path / "script.py").write_text(DASK, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=55,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "4950"
    assert hypha.count("commit") == 1
    assert sum(name.endswith(".parquet") for name in hypha.files("ws/data")) == 4
