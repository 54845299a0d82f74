"""What ``open`` does to read, by mode: which file object there is for it."""

from __future__ import annotations

import io
from concurrent.futures import Future
from operator import itemgetter
from typing import Any, cast

from ..arguments import Source
from ..engine.calls import done
from ..results import Result
from .file import RangeFile
from .reading import Reader

_TEXT = ("encoding", "errors", "newline")


class InCaller:
    """Reads where it is waited for, for those who want that: callers without workers, greenlets, and observers."""

    def __init__(self, files: Any) -> None:
        self.files = files

    def submit(self, source: Source) -> Future[Result]:
        """The result, which is there."""
        return done(lambda: self.files.get([source], raise_errors=False)[0], itemgetter("error"))

    def submit_head(self, path: str) -> Future[Result]:
        """Likewise."""
        return done(lambda: cast(Any, {"content": self.files.head(path), "error": None}), itemgetter("error"))

    def address(self, path: str) -> str | None:
        """That of what it reads by."""
        address: str | None = self.files.address(path)
        return address

    def wait(self, future: Future[Any]) -> None:
        """Wait for what another thread or greenlet is at."""
        self.files._wait_in_caller(future)


def reader_of(files: Any) -> Reader:
    """What a file of these is read by, in threads."""
    reader: Reader = InCaller(files) if files._reads_in_caller else files
    return reader


def open_file(files: Any, path: str, mode: str = "rb", **options: Any) -> Any:
    """The file object for a mode that reads: of bytes, if there is a b in it, else of text."""
    return (_binary if "b" in mode else _text)(files, path, **options)


def _text(files: Any, path: str, **options: Any) -> io.TextIOWrapper:
    text = {name: options.pop(name) for name in _TEXT if name in options}
    text["encoding"] = text.get("encoding") or "utf-8"
    if text.get("newline") not in (None, "", "\n", "\r", "\r\n"):
        raise ValueError(f"newline={text['newline']!r}: expected None, '', '\\n', '\\r' or '\\r\\n'")
    file = RangeFile(reader_of(files), path, **options)
    return io.TextIOWrapper(file, **text)


def _binary(files: Any, path: str, **options: Any) -> RangeFile:
    for name in _TEXT:
        if options.get(name) is not None:
            raise ValueError(f"{name}={options[name]!r}: binary files have none; open it with mode='r'")
    return RangeFile(reader_of(files), path, **{name: value for name, value in options.items() if name not in _TEXT})
