"""What ``open`` does, by mode: which file object there is for it."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..arguments import Source
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
        return self._done(lambda: self.files.get([source], raise_errors=False)[0])

    def submit_head(self, path: str, *, version: str | None = None) -> Future[Result]:
        """Likewise."""
        return self._done(lambda: {"content": self.files.head(path, version=version), "error": None})

    def _done(self, read: Callable[[], Any]) -> Future[Result]:
        future: Future[Result] = Future()
        try:
            result = read()
            error = result["error"]
        except Exception as raised:  # noqa: BLE001 -- raised where the future is waited for
            error = raised
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
        return future

    def address(self, path: str) -> str | None:
        """That of what it reads by."""
        address: str | None = self.files.address(path)
        return address

    def _check_version(self, path: str, version: str | None) -> None:
        """Likewise."""
        self.files._check_version(path, version)

    def wait(self, future: Future[Any]) -> None:
        """Wait for what another thread or greenlet is at."""
        self.files._wait_in_caller(future)


class AtVersion:
    """Reads a version by another reader. What is here of it is known as that version's."""

    def __init__(self, reader: Any, version: str) -> None:
        self.reader = reader
        self.version = version
        if hasattr(reader, "wait"):
            self.wait: Callable[[Future[Any]], None] = reader.wait

    def __reduce__(self) -> tuple[object, ...]:
        return AtVersion, (self.reader, self.version)

    def submit(self, source: Source) -> Future[Result]:
        """The result of one read."""
        wanted = {"path": source} if isinstance(source, str) else source
        future: Future[Result] = self.reader.submit({**wanted, "version": self.version})
        return future

    def submit_head(self, path: str) -> Future[Result]:
        """What is known of the version."""
        future: Future[Result] = self.reader.submit_head(path, version=self.version)
        return future

    def address(self, path: str) -> str | None:
        """That of the file, with the version."""
        address: str | None = self.reader.address(path)
        return None if address is None else f"{address} version {self.version!r}"


def at_version(reader: Any, path: str, version: str | None) -> Any:
    """What reads a version of a file; ``ValueError`` if there is no such thing. None is what is there now."""
    if version is None:
        return reader
    reader._check_version(path, version)
    return AtVersion(reader, version)


def reader_of(files: Any) -> Reader:
    """What a file of these is read by, in threads."""
    reader: Reader = InCaller(files) if files._reads_in_caller else files
    return reader


def open_file(files: Any, path: str, mode: str = "rb", **options: Any) -> Any:
    """The file object for a mode."""
    opener = MODES.get(mode)
    if opener is None:
        raise ValueError(f"mode={mode!r}: choose one of {', '.join(map(repr, sorted(MODES)))}")
    return opener(files, path, **options)


def _text(files: Any, path: str, **options: Any) -> io.TextIOWrapper:
    text = {name: options.pop(name) for name in _TEXT if name in options}
    text["encoding"] = text.get("encoding") or "utf-8"
    if text.get("newline") not in (None, "", "\n", "\r", "\r\n"):
        raise ValueError(f"newline={text['newline']!r}: expected None, '', '\\n', '\\r' or '\\r\\n'")
    file = RangeFile(at_version(reader_of(files), path, options.pop("version", None)), path, **options)
    return io.TextIOWrapper(file, **text)


def _binary(files: Any, path: str, **options: Any) -> RangeFile:
    for name in _TEXT:
        if options.get(name) is not None:
            raise ValueError(f"{name}={options[name]!r}: binary files have none; open it with mode='r'")
    reader = at_version(reader_of(files), path, options.pop("version", None))
    return RangeFile(reader, path, **{name: value for name, value in options.items() if name not in _TEXT})


MODES: dict[str, Callable[..., Any]] = {"r": _text, "rt": _text, "rb": _binary, "br": _binary}
"""How a file is opened, by mode; those that write are added by what can."""
