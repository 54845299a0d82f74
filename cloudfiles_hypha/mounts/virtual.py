"""Nodes that are made of others: ``iternode``, several one after the other, and ``diffnode``, how two texts differ; and
``zip``. What may be large is written while it is read.
"""

from __future__ import annotations

import difflib
import io
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from ..bridge import call
from ..either import either
from ..errors import StorageNotFoundError
from ..models import ObjectInfo
from ..paths import check_name, folded
from .contents import Blocks, contents, read_ahead
from .copying import Listed, listed
from .faces import Face, now
from .node import SyncNode
from .steps import do

if TYPE_CHECKING:
    from typing import IO

# What a zip archive can say of time.
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LATEST = (2107, 12, 31, 23, 59, 58)

Nodes = Iterable[SyncNode]


# -- archives -----------------------------------------------------------------------------------------------------


def zipped(nodes: Nodes) -> bytes:
    """A zip archive of these files and folders."""
    buffer = io.BytesIO()
    _write_members(buffer, _members([*nodes]))
    return buffer.getvalue()


def zip_into(nodes: Nodes, dest: SyncNode) -> SyncNode:
    """Write such an archive to a node, while what is in it is read."""
    if not isinstance(dest, SyncNode):
        raise TypeError(f"an archive is written to a node, not to {dest!r:.60}")
    members = _members([*nodes])
    if dest in [node for _, node in members]:
        raise ValueError(f"{dest.fullpath}: an archive cannot be written to a file that goes into it")
    with dest.open("wb") as file:
        _write_members(cast("IO[bytes]", _Forward(file)), members)
    return dest


class _Forward:
    """A file that is only written, from its beginning to its end."""

    def __init__(self, file: Any) -> None:
        self.write = file.write

    def flush(self) -> None:
        """Nothing waits here."""


def _write_members(file: IO[bytes], members: list[tuple[str, Listed]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for (name, node), blocks in zip(members, _contents([node for _, node in members]), strict=True):
            about = zipfile.ZipInfo(name, _time(node.listed))
            about.compress_type = zipfile.ZIP_DEFLATED
            about.external_attr = 0o644 << 16
            with archive.open(about, "w", force_zip64=True) as member:
                for block in blocks:
                    member.write(block)


def _time(info: ObjectInfo) -> tuple[int, int, int, int, int, int]:
    made = time.gmtime(info.last_modified or 0)
    when = (made.tm_year, made.tm_mon, made.tm_mday, made.tm_hour, made.tm_min, made.tm_sec)
    return min(max(when, _EARLIEST), _LATEST)


def _contents(nodes: list[Listed]) -> Iterator[Blocks]:
    """The content of each: those of one place that follow one another are fetched together."""
    for _, several in groupby(nodes, key=lambda node: (id(node.mount.files), node.version)):
        run = [*several]
        if run[0].version is not None:
            yield from (blocks for _, blocks in read_ahead(run))
        else:
            wanted = ((node._name, node.listed) for node in run)
            yield from (blocks for _, blocks in contents(run[0].mount.files, wanted))


def _members(nodes: list[SyncNode]) -> list[tuple[str, Listed]]:
    """What goes into an archive, and by which name: a single folder without its own, of several each by its last; one
    that is taken gets a number."""
    taken: set[str] = set()
    found: list[tuple[str, Listed]] = []
    for node in nodes:
        node._check("read")
        info = do(node._info())
        if info is not None:
            about = Listed(node.mount, node.path, info, node.version)
            found.append((_free(node.basename or "file", taken), about))
            continue
        if node.version is not None:
            raise StorageNotFoundError("there is no such version", path=node.fullpath)
        top = "" if len(nodes) == 1 else f"{_free(node.basename or node.mount.name, taken)}/"
        below = listed(node)
        if not below and not node._is_folder():
            raise StorageNotFoundError("no such file or folder", path=node.fullpath)
        found += [(_free(top + check_name(relative), taken), about) for relative, about in below]
    return found


def _free(name: str, taken: set[str]) -> str:
    """A name that no other has, on systems that take no note of case either."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.rpartition(".")
    if not stem:
        stem, dot, ending = last, "", ""
    free, number = name, 1
    while folded(free) in taken:
        number += 1
        free = f"{folder}{slash}{stem} ({number}){dot}{ending}"
    taken.add(folded(free))
    return free


# -- several one after the other, and how two differ --------------------------------------------------------------


class SyncVirtual:
    """What is made of other nodes, when it is read. Every method blocks."""

    fullpath = "<made of other nodes>"

    def __init__(self, *nodes: Readable) -> None:
        self._nodes = [_readable(node) for node in nodes]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(node.fullpath for node in self._nodes) or 'nothing yet'}>"

    @property
    def sync(self) -> SyncVirtual:
        """The same, with methods that block."""
        return self

    def blocks(self) -> Iterator[bytes]:
        """Its content, in pieces."""
        raise NotImplementedError

    def read(self, mode: str = "rb", encoding: str = "utf-8") -> Any:
        """All of it: bytes, or with ``mode="r"`` text."""
        if mode not in ("r", "rt", "rb", "br"):
            raise ValueError(f"mode={mode!r}: this is read with 'rb' (bytes) or 'r' (text)")
        content = self.read_bytes()
        return content if "b" in mode else content.decode(encoding)

    def read_bytes(self) -> bytes:
        """All of it, as bytes."""
        return b"".join(self.blocks())

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of it, as text."""
        return self.read_bytes().decode(encoding)

    def copy_to(self, dest: SyncNode) -> SyncNode:
        """Write it to a file, while it is read; the file's node."""
        if not isinstance(dest, SyncNode):
            raise TypeError(f"the destination is a node, as manager.node('mount:path') gives it, not {dest!r:.60}")
        with dest.open("wb") as file:
            for block in self.blocks():
                file.write(block)
        return dest

    def zip(self) -> bytes:
        """A zip archive, in memory."""
        raise ValueError("only of nodes one after the other (iternode) there is an archive, in which each is by itself")

    def zip_to(self, dest: SyncNode) -> SyncNode:
        """Write a zip archive to a node, while what is in it is read; that node."""
        raise ValueError("only of nodes one after the other (iternode) there is an archive, in which each is by itself")


class SyncConcatenation(SyncVirtual):
    """Files one after the other."""

    def blocks(self) -> Iterator[bytes]:
        """The content of each, in order."""
        run: list[SyncNode] = []
        for node in self._nodes:
            if isinstance(node, SyncNode):
                run.append(node)
                continue
            yield from _joined(run)
            run = []
            yield from node.blocks()
        yield from _joined(run)

    def append(self, node: Readable) -> None:
        """One more at the end."""
        self._nodes.append(_readable(node))

    def extend(self, *nodes: Readable) -> None:
        """Some more at the end."""
        self._nodes.extend([_readable(node) for node in nodes])

    def zip(self) -> bytes:
        """A zip archive of the files and folders, each by itself, in memory."""
        return zipped(self._files())

    def zip_to(self, dest: SyncNode) -> SyncNode:
        """Write such an archive to a node, while what is in it is read; that node."""
        return zip_into(self._files(), dest)

    def _files(self) -> list[SyncNode]:
        for node in self._nodes:
            if not isinstance(node, SyncNode):
                raise ValueError(f"{node!r} has no name, by which it would go into an archive; copy it to a file")
        return cast("list[SyncNode]", self._nodes)


def _joined(run: list[SyncNode]) -> Iterator[bytes]:
    for _, blocks in read_ahead(run):
        yield from blocks


class SyncDifference(SyncVirtual):
    """How the text of one node differs from that of another."""

    def blocks(self) -> Iterator[bytes]:
        """A unified diff, as UTF-8; empty where they are the same."""
        one, other = self._nodes
        here, there = self._lines(one), self._lines(other)
        for line in difflib.unified_diff(here, there, one.fullpath, other.fullpath):
            if line.endswith("\n"):
                yield line.encode()
            else:
                yield f"{line}\n\\ No newline at end of file\n".encode()

    def _lines(self, node: SyncNode | SyncVirtual) -> list[str]:
        content = node.read_bytes()
        try:
            if b"\0" in content:
                raise ValueError("there is a zero byte in it")
            return io.StringIO(content.decode("utf-8"), newline="\n").readlines()
        except ValueError as error:
            raise ValueError(f"{node.fullpath}: this is no text in UTF-8, and only such is compared: {error}") from None


Readable = SyncNode | SyncVirtual | Face | Any


def _readable(node: Readable) -> SyncNode | SyncVirtual:
    """A node, of any face, as the one that blocks."""
    inner = getattr(node, "sync", None)
    if not isinstance(inner, SyncNode | SyncVirtual):
        raise TypeError(f"a node is expected here, as manager.node('mount:path') gives it, not {node!r:.60}")
    return inner


# -- for sync and async code alike --------------------------------------------------------------------------------


def _either(verb: Callable[..., Any]) -> Any:
    """The method that calls this one, and inside a loop gives something to await."""

    blocking = now(verb)

    async def pending(self: VirtualNode, /, *args: Any, **kwargs: Any) -> Any:
        return await call(partial(blocking, self, *args, **kwargs))

    pending.__qualname__ = f"VirtualNode.{verb.__name__}"
    return either(blocking, pending)


class VirtualNode:
    """What is made of other nodes, for sync and async code alike: where an event loop runs in this thread, a method
    gives something to await, elsewhere its value. Nothing is read before it is asked for."""

    def __init__(self, sync: SyncVirtual) -> None:
        self.sync = sync

    def __repr__(self) -> str:
        return repr(self.sync).replace("<Sync", "<", 1)

    @property
    def fullpath(self) -> str:
        """What stands for a path, which it has none of."""
        return self.sync.fullpath

    read = _either(SyncVirtual.read)
    read_bytes = _either(SyncVirtual.read_bytes)
    read_text = _either(SyncVirtual.read_text)
    copy_to = _either(SyncVirtual.copy_to)
    zip = _either(SyncVirtual.zip)
    zip_to = _either(SyncVirtual.zip_to)


class IterNode(VirtualNode):
    """Files one after the other; more can be put at their end."""

    def __init__(self, *nodes: Readable) -> None:
        self._files = SyncConcatenation(*nodes)
        super().__init__(self._files)

    def append(self, node: Readable) -> None:
        """One more at the end."""
        self._files.append(node)

    def extend(self, *nodes: Readable) -> None:
        """Some more at the end."""
        self._files.extend(*nodes)


class DiffNode(VirtualNode):
    """How the text of one node differs from that of another, as a unified diff."""

    def __init__(self, one: Readable, other: Readable) -> None:
        super().__init__(SyncDifference(one, other))
