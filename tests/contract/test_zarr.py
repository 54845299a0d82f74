"""``ArtifactStore``: zarr's own suite for stores, and how many commits arrays are."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Coroutine, Iterator
from typing import Any, cast

import pytest

if sys.version_info < (3, 11):
    pytest.skip("zarr 3 needs Python 3.11", allow_module_level=True)
pytest.importorskip("zarr", minversion="3.0.8", reason="the suite is zarr's")

import numpy
import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype
from zarr.core.sync import cleanup_resources
from zarr.testing.store import StoreTests

from cloudfiles_hypha import AccessDenied, ArtifactFiles
from cloudfiles_hypha.compat.cloudfiles import clear_memory
from cloudfiles_hypha.zarr import ArtifactStore
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, IgnoreRange, ObjectServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_thread_of_zarr() -> Iterator[None]:
    """Its plain functions start a loop in a thread, and keep it."""
    yield
    cleanup_resources()


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as server:
        server.add_artifact("ws/data", {})
        yield server


class Suite(StoreTests[ArtifactStore, cpu.Buffer]):
    store_cls = ArtifactStore
    buffer_cls = cpu.Buffer
    place: dict[str, Any]

    @pytest.fixture
    def store_kwargs(self, *args: Any) -> dict[str, Any]:
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_kwargs: dict[str, Any]) -> Iterator[ArtifactStore]:
        store = self.store_cls(**open_kwargs)
        asyncio.run(cast(Coroutine[Any, Any, None], store._open()))
        yield store
        store.files.close()

    @pytest.fixture
    def store_not_open(self, store_kwargs: dict[str, Any]) -> Iterator[ArtifactStore]:
        store = self.store_cls(**store_kwargs)
        yield store
        store.files.close()

    async def set(self, store: ArtifactStore, key: str, value: Buffer) -> None:
        await asyncio.to_thread(store.files.put, key, value.to_bytes())

    async def get(self, store: ArtifactStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(await asyncio.to_thread(store.files.get, key))

    def test_store_repr(self, store: ArtifactStore) -> None:
        assert store.files.cloudpath in repr(store)

    def test_store_supports_writes(self, store: ArtifactStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: ArtifactStore) -> None:
        assert store.supports_listing


class TestMemory(Suite):
    @pytest.fixture
    def store_kwargs(self) -> Iterator[dict[str, Any]]:
        clear_memory()
        yield {"place": "mem://zarr/in"}
        clear_memory()


class TestHypha(Suite):
    @pytest.fixture
    def store_kwargs(self, hypha: FakeHypha) -> dict[str, Any]:
        return {"place": "hypha://ws/data/in", "server_url": hypha.url, "token": hypha.token}


@pytest.fixture
def store(hypha: FakeHypha) -> Iterator[ArtifactStore]:
    with ArtifactFiles("hypha://ws/data", server_url=hypha.url, token=hypha.token) as files:
        yield ArtifactStore(files)


def test_an_array_that_is_written_in_a_staged_block_is_one_commit(hypha: FakeHypha, store: ArtifactStore) -> None:
    content = numpy.arange(100 * 100).reshape(100, 100)
    with store.files.staged():
        array = zarr.create_array(store, name="a", shape=content.shape, chunks=(10, 10), dtype=content.dtype)
        array[:] = content
        assert hypha.count("commit") == 0
    assert hypha.count("commit") == 1
    assert len([name for name in hypha.files("ws/data") if name.startswith("a/c/")]) == 100
    numpy.testing.assert_array_equal(zarr.open_array(store, path="a", mode="r")[:], content)


async def test_it_has_that_block_for_coroutines(hypha: FakeHypha, store: ArtifactStore) -> None:
    async with store.staged("many"):
        await asyncio.gather(*(store.set(f"c/{n}", cpu.Buffer.from_bytes(b"%d" % n)) for n in range(20)))
    assert hypha.count("commit") == 1


async def test_what_is_written_at_the_same_time_shares_commits(hypha: FakeHypha, store: ArtifactStore) -> None:
    await asyncio.gather(*(store.set(f"c/{n}", cpu.Buffer.from_bytes(b"%d" % n)) for n in range(20)))
    assert hypha.count("commit") < 10
    assert len(hypha.files("ws/data")) == 20


async def test_what_is_read_at_the_same_time_is_signed_together(hypha: FakeHypha, store: ArtifactStore) -> None:
    hypha.add_artifact("ws/many", {f"c/{n}": b"%d" % n for n in range(200)})
    files = ArtifactFiles("hypha://ws/many", server_url=hypha.url, token=hypha.token)
    many = ArtifactStore(files)
    prototype = default_buffer_prototype()
    found = await asyncio.gather(*(many.get(f"c/{n}", prototype) for n in range(200)))
    assert [each.to_bytes() for each in found if each is not None] == [b"%d" % n for n in range(200)]
    assert hypha.count("get_file") <= 25
    assert await many.get("c/nothing", prototype) is None
    files.close()


async def test_being_refused_is_no_missing_value(hypha: FakeHypha) -> None:
    store = ArtifactStore("hypha://ws/data", server_url=hypha.url, token="wrong")
    with pytest.raises(AccessDenied):
        await store.get("zarr.json")
    store.close()


def test_it_opens_read_only_and_survives_pickling(hypha: FakeHypha, store: ArtifactStore) -> None:
    zarr.create_group(store).create_array("x", shape=(4,), chunks=(2,), dtype="i4")[:] = 7
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    group = zarr.open_group(copy.with_read_only(True), mode="r")
    assert group["x"][:].tolist() == [7] * 4  # type: ignore[index, union-attr]
    with pytest.raises(ValueError, match="read-only"):
        group["x"][:] = 1  # type: ignore[index]
    copy.files.close()


async def test_what_is_not_there_is_no_value_also_where_no_byte_is_wanted(store: ArtifactStore) -> None:
    await store.set("there", cpu.Buffer.from_bytes(b"0123"))
    prototype = default_buffer_prototype()
    nothing = RangeByteRequest(2, 2)
    assert store.get_sync("none", byte_range=nothing) is None
    assert await store.get("none", prototype, nothing) is None
    value = await store.get("there", prototype, nothing)
    assert value is not None
    assert value.to_bytes() == b""
    several = await store.get_partial_values(prototype, [("none", nothing), ("there", nothing), ("there", None)])
    assert [None if each is None else each.to_bytes() for each in several] == [None, b"", b"0123"]


async def test_the_last_bytes_of_a_value_are_one_request() -> None:
    prototype = default_buffer_prototype()
    with ObjectServer() as server, ArtifactFiles(server.url) as files:
        server.put("a", b"0123456789")
        store = ArtifactStore(files, read_only=True)

        async def last(count: int) -> list[bytes | None]:
            wanted = SuffixByteRequest(count)
            values = [
                await store.get("a", prototype, wanted),
                store.get_sync("a", byte_range=wanted),
                *await store.get_partial_values(prototype, [("a", wanted)]),
            ]
            return [None if value is None else value.to_bytes() for value in values]

        assert await last(3) == [b"789"] * 3
        assert server.count("GET") == 3
        assert await last(30) == [b"0123456789"] * 3
        assert server.count("HEAD") == 0
        assert await last(0) == [b""] * 3
        server.fault("a", Always(IgnoreRange()))
        assert await last(3) == [b"789"] * 3


async def test_what_is_stored_encoded_has_no_last_bytes() -> None:
    prototype = default_buffer_prototype()
    with ArtifactFiles("mem://encoded") as files:
        files.put("a", b"some bytes", compress="gzip")
        store = ArtifactStore(files)
        for wanted in (SuffixByteRequest(3), SuffixByteRequest(30)):
            with pytest.raises(ValueError, match="not known"):
                await store.get("a", prototype, wanted)
            with pytest.raises(ValueError, match="not known"):
                store.get_sync("a", byte_range=wanted)
            with pytest.raises(ValueError, match="not known"):
                await store.get_partial_values(prototype, [("a", wanted)])
    clear_memory()
