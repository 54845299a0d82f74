"""Bytes that go where the caller wants them: into a buffer, or into an open file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudfiles_hypha import ArtifactFiles, BatchError, RetryPolicy
from tests.support import object_server as faults
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import ObjectServer

BODY = bytes(range(256)) * 400


@pytest.fixture(params=["mem", "http", "urllib3", "hypha"])
def cf(request: pytest.FixtureRequest, object_server: ObjectServer, quick: RetryPolicy) -> Iterator[ArtifactFiles]:
    if request.param == "mem":
        with ArtifactFiles("mem://into") as files:
            files.puts([("a", BODY), ("empty", b"")])
            yield files
    elif request.param == "hypha":
        with FakeHypha() as hypha:
            hypha.add_artifact("ws/a", {"a": BODY, "empty": b""})
            with connect(hypha) as files:
                yield files
    else:
        object_server.put("a", BODY)
        object_server.put("empty", b"")
        transport = "urllib3" if request.param == "urllib3" else "curl"
        with ArtifactFiles(object_server.url, transport=transport, retry=quick) as files:
            yield files


def test_buffers_of_every_kind_are_filled(cf: ArtifactFiles) -> None:
    whole, longer, numbers = bytearray(len(BODY)), bytearray(len(BODY) + 9), np.zeros(len(BODY) // 4, dtype=np.uint32)
    for buffer in (whole, longer, numbers):
        filled = cf.get({"path": "a", "into": buffer})
        assert isinstance(filled, memoryview)
        assert filled == BODY
    assert (whole, longer[len(BODY) :], numbers.tobytes()) == (BODY, bytes(9), BODY)


def test_ranges_and_an_empty_object_fill_what_they_have(cf: ArtifactFiles) -> None:
    buffer = bytearray(b"-" * 20)
    results = cf.get(
        [
            {"path": "a", "start": 10, "end": 15, "into": memoryview(buffer)[5:10]},
            {"path": "a", "start": len(BODY) - 3, "into": memoryview(buffer)[10:]},
            {"path": "empty", "into": bytearray()},
            {"path": "a", "start": 0, "end": 2},
        ]
    )
    assert bytes(buffer) == b"-----" + BODY[10:15] + BODY[-3:] + b"-" * 7
    assert [bytes(result["content"]) for result in results] == [BODY[10:15], BODY[-3:], b"", BODY[:2]]
    assert [result["error"] for result in results] == [None] * 4


def test_files_get_the_bytes_where_they_stand(cf: ArtifactFiles, tmp_path: Path) -> None:
    memory = io.BytesIO()
    assert cf.get({"path": "a", "into": memory}) is None
    assert memory.getvalue() == BODY
    with open(tmp_path / "file", "wb") as file:
        file.write(b"before")
        cf.get({"path": "a", "start": 3, "end": 9, "into": file})
        file.write(b"after")
    assert (tmp_path / "file").read_bytes() == b"before" + BODY[3:9] + b"after"


def test_what_cannot_take_the_bytes_is_refused(cf: ArtifactFiles, tmp_path: Path) -> None:
    with open(tmp_path / "text", "w") as text:
        for into in (b"constant", memoryview(b"constant"), "text", text, np.zeros((4, 4), dtype=np.uint8)[:, 1]):
            with pytest.raises(TypeError, match="'a'"):
                cf.get({"path": "a", "into": into})
    with pytest.raises(BufferError, match="'a'"):
        cf.get({"path": "a", "into": bytearray(len(BODY) - 1)})
    with pytest.raises(BatchError) as failed:
        cf.get([{"path": "a", "into": bytearray(1)}, "empty"])
    assert isinstance(failed.value.results[0]["error"], BufferError)
    assert failed.value.results[1]["content"] == b""


@pytest.mark.parametrize("transport", ["curl", "urllib3"])
def test_an_attempt_that_broke_off_leaves_no_trace(
    object_server: ObjectServer, quick: RetryPolicy, transport: str
) -> None:
    object_server.put("a", BODY, faults=[faults.Drop(after_bytes=50_000), faults.Drop(after_bytes=70_000)])
    with ArtifactFiles(object_server.url, transport=transport, retry=quick) as cf:
        file = io.BytesIO(b"before")
        file.seek(6)
        cf.get({"path": "a", "into": file})
        assert file.getvalue() == b"before" + BODY
        object_server.put("a", BODY, faults=[faults.Drop(after_bytes=50_000)])
        buffer = bytearray(len(BODY))
        (result,) = cf.get([{"path": "a", "into": buffer}])
        assert (buffer, result["attempts"]) == (BODY, 2)


def test_a_file_that_cannot_seek_gets_every_byte_once(object_server: ObjectServer, quick: RetryPolicy) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.got = bytearray()

        def write(self, block: Any) -> int:
            self.got += block
            return len(block)

    object_server.put("a", BODY, faults=[faults.Drop(after_bytes=50_000)])
    with ArtifactFiles(object_server.url, retry=quick) as cf:
        pipe = Pipe()
        assert cf.get({"path": "a", "into": pipe}) is None
        assert pipe.got == BODY


def test_a_server_that_ignores_ranges_gets_its_answer_cut(object_server: ObjectServer) -> None:
    object_server.put("a", BODY, faults=[faults.Always(faults.IgnoreRange())])
    with ArtifactFiles(object_server.url) as cf:
        buffer = bytearray(7)
        cf.get({"path": "a", "start": 1000, "end": 1007, "into": buffer})
        assert buffer == BODY[1000:1007]


class ChunkedWhole(faults.Chunked):
    """All of the object, whatever range was asked for, and not how long that is."""

    def answer(self, exchange: faults.Exchange) -> None:
        exchange.request = exchange.request.with_header("range", None)
        super().answer(exchange)


@pytest.mark.parametrize("size", [1, 9 * 1024 * 1024])
def test_an_answer_in_chunks_that_ignores_the_range_is_fetched_once_more_and_not_for_ever(
    object_server: ObjectServer, quick: RetryPolicy, size: int, tmp_path: Path
) -> None:
    content = bytes(size)
    object_server.put("a", content, faults=[faults.Always(ChunkedWhole())])
    with ArtifactFiles(object_server.url, retry=quick) as cf:
        sink = io.BytesIO()
        cf.get({"path": "a", "into": sink})
        assert sink.getvalue() == content
        assert object_server.count("GET") <= 2
        rest = io.BytesIO()
        cf.get({"path": "a", "start": 1, "into": rest})
        assert rest.getvalue() == content[1:]
        with cf.open("a") as file:
            assert (file.size, file.read()) == (size, content)
        cf.download("a", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == content
