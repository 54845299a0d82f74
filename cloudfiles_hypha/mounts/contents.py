"""The bytes of many files of one place, or of a large one, in order and in bounded memory, by batches of reads.

Small files are fetched together, large ones in ranges side by side. Nothing is written here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..files import ArtifactFiles
from ..models import ObjectInfo

if TYPE_CHECKING:
    from .node import SyncNode

MIB = 1024 * 1024
# Bytes up to which a file is fetched whole, together with others; of as many as are in memory at a time.
_SMALL = 4 * MIB
_TOGETHER = 32 * MIB
_MOST = 500
# Bytes of a range, and how many are fetched side by side.
_RANGE = 4 * MIB
_AT_ONCE = 8

Blocks = Iterator[bytes]


def contents(
    files: ArtifactFiles, wanted: Iterable[tuple[str, ObjectInfo]], *, raw: bool = False
) -> Iterator[tuple[str, Blocks]]:
    """Each name with the blocks of its content, in order; those of one have to be read before the next comes.

    ``raw`` is for the bytes as they are stored.
    """
    waiting: list[str] = []
    size = 0
    for name, info in wanted:
        if info.size is not None and info.size <= _SMALL:
            waiting.append(name)
            size += info.size
            if size < _TOGETHER and len(waiting) < _MOST:
                continue
            yield from _fetched(files, waiting, raw)
        else:
            yield from _fetched(files, waiting, raw)
            yield name, in_ranges(files, name, info) if raw else in_blocks(files, name)
        waiting, size = [], 0
    yield from _fetched(files, waiting, raw)


def _fetched(files: ArtifactFiles, names: list[str], raw: bool) -> Iterator[tuple[str, Blocks]]:
    for result in files.get(names, raw=raw) if names else ():
        yield result["path"], iter((result["content"],))


def in_blocks(files: ArtifactFiles, name: str) -> Blocks:
    """The content of one file, read ahead."""
    with files.open(name) as file:
        yield from blocks_of(file)


def blocks_of(file: Any) -> Blocks:
    """What is left of an open file."""
    while block := file.read(_RANGE):
        yield block


def md5_of_blocks(blocks: Blocks) -> str:
    """The MD5 of all of it, in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def in_ranges(files: ArtifactFiles, name: str, info: ObjectInfo) -> Blocks:
    """The bytes of one file as they are stored, all of the version that ``info`` is of where its ETag can be asked
    for."""
    can, size = files._backend.can, info.size or 0
    pinned: Mapping[str, Any] = {"if_match": info.etag} if info.etag and (can.s3_etags or can.pins_listed) else {}
    ranges = (
        {"path": name, "start": start, "end": min(start + _RANGE, size), "raw": True, **pinned}
        for start in range(0, size, _RANGE)
    )
    while several := [*islice(ranges, _AT_ONCE)]:
        for result in files.get(several):
            yield result["content"]


def read_ahead(nodes: Iterable[SyncNode]) -> Iterator[tuple[SyncNode, Blocks]]:
    """Each of the nodes, which are files, with the blocks of its content, in order: those of one place that follow one
    another are asked for, and fetched, together."""
    run: list[SyncNode] = []
    for node in nodes:
        node._check_file("read")
        if run and (run[0].mount.files is not node.mount.files or node.version is not None or run[0].version):
            yield from _read_run(run)
            run = []
        run.append(node)
    if run:
        yield from _read_run(run)


def _read_run(run: list[SyncNode]) -> Iterator[tuple[SyncNode, Blocks]]:
    if len(run) == 1:
        yield run[0], _opened(run[0])
        return
    files = run[0].mount.files
    infos = files.head([node._name for node in run])
    wanted = ((node._name, infos[node._name]) for node in run)
    for node, (_, blocks) in zip(run, contents(files, wanted), strict=True):
        yield node, blocks


def _opened(node: SyncNode) -> Blocks:
    with node.open("rb") as file:
        yield from blocks_of(file)
