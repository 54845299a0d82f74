"""Something that ``RangeFile`` can read by, which answers when it is told to, and notes what it is asked."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from cloudfiles_hypha import Cancelled, ObjectInfo, PreconditionFailed, RangesUnsupported
from cloudfiles_hypha.content.blocks import Blocks
from cloudfiles_hypha.results import Result

Span = tuple[int, int]


class _Asked(Future[Result]):
    def __init__(self, source: Mapping[str, Any]) -> None:
        super().__init__()
        self.source = source
        self.cancelled_by_reader = False

    def cancel(self) -> bool:
        if self.done():
            return False
        self.cancelled_by_reader = True
        self.set_exception(Cancelled("given up"))
        return True


class ScriptedReader:
    """One object in memory. While ``holding``, reads wait for ``answer``; each has its own future."""

    def __init__(self, content: bytes, etag: str | None = "1") -> None:
        self.content = content
        self.etag = etag
        self.holding = False
        self.held: list[_Asked] = []
        self.asked: list[Span] = []  # what of the object, one for each read
        self.compares = True
        self.tells_size = True  # in an answer to HEAD
        self.ranges = True  # else all of it is to be had, and no part of it
        self._changed = threading.Condition()  # guards those lists

    def address(self, path: str) -> str | None:
        return None

    def submit_head(self, path: str) -> Future[Result]:
        future: Future[Any] = Future()
        future.set_result({"content": ObjectInfo(path, len(self.content) if self.tells_size else None, self.etag)})
        return future

    def submit(self, source: Any) -> Future[Result]:
        size = len(self.content)
        start = source.get("start") or 0
        start = max(0, size + start) if start < 0 else start
        end = size if source.get("end") is None else min(size, source["end"])
        asked = _Asked({**source, "start": start, "end": end})
        with self._changed:
            self.asked.append((start, end))
            if self.holding:
                self.held.append(asked)
                self._changed.notify_all()
                return asked
        self._answer(asked)
        return asked

    def wait_for(self, count: int) -> None:
        """Wait until so many reads are held."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.held) >= count, 20)

    def answer(self, number: int = 0, error: Exception | None = None) -> None:
        """Let one of those that are held have its bytes, or an error."""
        asked = self.held.pop(number)
        if error is not None and not asked.done():
            asked.set_exception(error)
        else:
            self._answer(asked)

    def _answer(self, asked: _Asked) -> None:
        if asked.done():
            return
        source = asked.source
        if self.compares and source.get("if_match") not in (None, self.etag):
            asked.set_exception(PreconditionFailed("changed", path=source["path"], status=412))
            return
        if source.get("part") and not self.ranges:
            asked.set_exception(RangesUnsupported.because("ignored", source["path"], self.etag))
            return
        content = self.content[source["start"] : source["end"]]
        if "into" in source:
            source["into"].write(content)
        cut = source.get("cut")
        given = Blocks(cut, [content[at : at + cut] for at in range(0, len(content), cut)]) if cut else content
        result: Any = {"content": given, "size": len(self.content), "etag": self.etag, "error": None}
        asked.set_result(result)
