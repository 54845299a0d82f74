"""Asking: what is known of an object, and whether a local file has its content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import IO

from ..content.codecs import MAX_SIZE_ON_DISK, decompress_blocks
from ..engine.outcomes import Done
from ..engine.run import Run
from ..models import Fetched, GetRequest, ObjectInfo
from ..results import Result, failed, got
from .get import stored_copy
from .task import Context, Task, attempts_of

Verdict = bool | Exception | None
"""Whether a file has an object's content; None if only their sizes can be compared; or why that is not known."""


class Head(Task[Result]):
    """Size, ETag, content type and headers of one object."""

    __slots__ = ("request",)

    def __init__(self, context: Context, index: int, name: str, path: str, version: str | None = None) -> None:
        super().__init__(context.at(version), index, name, path)
        self.request = GetRequest(path, version=version)

    @property
    def version(self) -> str | None:
        return self.request.version

    def work(self, run: Run) -> Done[Result]:
        info = self.attempt(run, partial(self.context.backend.head, self.path, self.ticket))
        above = len(self.path) - len(self.name)
        if above:  # the backend tells the path in the bucket, the caller's is that below a prefix
            info = replace(info, path=info.path[above:])
        fetched = Fetched(b"", info.size, info.etag, info.content_type)
        return Done(((self.index, got(self.name, self.request, fetched, info, self.attempts)),))

    def give_up(self, error: Exception) -> Done[Result]:
        return Done(((self.index, failed(self.name, self.request, error, attempts_of(error))),))


class Compare(Task[Verdict]):
    """Whether a local file has the content of one object; read to be compared where no digest is, if that is cheap."""

    __slots__ = ("_file", "_has", "_version")

    heavy = True  # digesting keeps a core busy

    def __init__(
        self,
        context: Context,
        index: int,
        name: str,
        path: str,
        has: Callable[[ObjectInfo], bool | None],
        file: str,
        version: str | None = None,
    ) -> None:
        super().__init__(context.at(version), index, name, path)
        self._version = version
        self._has = has
        self._file = file

    def work(self, run: Run) -> Done[Verdict]:
        info = self.attempt(run, partial(self.context.backend.head, self.path, self.ticket))
        return Done(((self.index, self._verdict(run, info)),))

    @property
    def version(self) -> str | None:
        return self._version

    def _verdict(self, run: Run, info: ObjectInfo) -> bool | None:
        verdict = self._has(info)
        if verdict is None and self.context.backend.can.reads_cheaply:
            return self.attempt(run, partial(self._equal, run, info))
        return verdict

    def _equal(self, run: Run, info: ObjectInfo) -> bool:
        """Whether the stored bytes, all of one version, are the file's."""
        with open(self._file, "rb") as file:
            try:
                self.context.backend.get(GetRequest(self.path, pinned=info.etag), self.ticket, _Comparing(file, run))
            except _Differ:
                return False
            return not file.read(1)

    def give_up(self, error: Exception) -> Done[Verdict]:
        return Done(((self.index, error),))


class CompareContent(Compare):
    """Likewise; of an object that is encoded the content is what it is decoded to, so that is fetched."""

    __slots__ = ()

    def _verdict(self, run: Run, info: ObjectInfo) -> bool | None:
        if info.compress is None:
            return super()._verdict(run, info)
        backend = self.context.backend
        spool, fetched = self.attempt(run, partial(stored_copy, backend, GetRequest(self.path), self.ticket))
        try:
            decoded = decompress_blocks(spool.blocks(), fetched.compress, MAX_SIZE_ON_DISK, self.name)
            with open(self._file, "rb") as file:
                comparing = _Comparing(file, run)
                for block in decoded:
                    comparing.write(block)
                return not file.read(1)
        except _Differ:
            return False
        finally:
            spool.close()


class _Differ(Exception):
    """The bytes are not those of the file."""


class _Comparing:
    """A sink that compares what comes with a file, and keeps nothing."""

    def __init__(self, file: IO[bytes], run: Run) -> None:
        self._file = file
        self._run = run

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """Bytes are about to come."""

    def write(self, block: bytes) -> None:
        """The next bytes."""
        self._run.check()
        if self._file.read(len(block)) != block:
            raise _Differ
