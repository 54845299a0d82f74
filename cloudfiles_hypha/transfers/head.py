"""Asking: what is known of an object, and whether a local file has its content."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

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

    def __init__(self, context: Context, index: int, name: str, path: str) -> None:
        super().__init__(context, index, name, path)
        self.request = GetRequest(path)

    def work(self, run: Run) -> Done[Result]:
        info = self.attempt(run, partial(self.context.backend.head, self.path, self.ticket))
        fetched = Fetched(b"", info.size, info.etag, info.content_type)
        return Done(((self.index, got(self.name, self.request, fetched, info, self.attempts)),))

    def give_up(self, error: Exception) -> Done[Result]:
        return Done(((self.index, failed(self.name, self.request, error, attempts_of(error))),))


class Compare(Task[Verdict]):
    """Whether a local file has the content of one object."""

    __slots__ = ("_has",)

    heavy = True  # digesting keeps a core busy

    def __init__(
        self, context: Context, index: int, name: str, path: str, has: Callable[[ObjectInfo], bool | None]
    ) -> None:
        super().__init__(context, index, name, path)
        self._has = has

    def work(self, run: Run) -> Done[Verdict]:
        info = self.attempt(run, partial(self.context.backend.head, self.path, self.ticket))
        return Done(((self.index, self._has(info)),))

    def give_up(self, error: Exception) -> Done[Verdict]:
        return Done(((self.index, error),))


class CompareContent(Compare):
    """Likewise; of an object that is encoded the content is what it is decoded to, so that is fetched."""

    __slots__ = ("_file",)

    def __init__(
        self,
        context: Context,
        index: int,
        name: str,
        path: str,
        has: Callable[[ObjectInfo], bool | None],
        file: str,
    ) -> None:
        super().__init__(context, index, name, path, has)
        self._file = file

    def work(self, run: Run) -> Done[Verdict]:
        backend = self.context.backend
        info = self.attempt(run, partial(backend.head, self.path, self.ticket))
        if info.compress is None:
            return Done(((self.index, self._has(info)),))
        spool, fetched = self.attempt(run, partial(stored_copy, backend, GetRequest(self.path), self.ticket))
        try:
            decoded = decompress_blocks(spool.blocks(), fetched.compress, MAX_SIZE_ON_DISK, self.name)
            return Done(((self.index, self._equals(decoded, run)),))
        finally:
            spool.close()

    def _equals(self, blocks: Iterable[bytes], run: Run) -> bool:
        with open(self._file, "rb") as file:
            for block in blocks:
                run.check()
                if file.read(len(block)) != block:
                    return False
            return not file.read(1)
