"""``aiofile.utils``: ``async_open`` as aiofile has it, and what goes with it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import IO, Any

from aiofile.utils import ENCODING_MAP, FileIOCloner, T, clone, unicode_reader

from ...aio import AIOFile, AsyncBinaryFile, AsyncTextFile, LineReader, Reader, Writer
from ...aio import AsyncFileBase as FileIOWrapperBase
from ...aio.low import Path

__all__ = [
    "ENCODING_MAP",
    "BinaryFileWrapper",
    "FileIOCloner",
    "FileIOWrapperBase",
    "LineReader",
    "Reader",
    "T",
    "TextFileWrapper",
    "Writer",
    "async_open",
    "clone",
    "unicode_reader",
]


class BinaryFileWrapper(AsyncBinaryFile):
    """A file of bytes. ``async for`` begins at the beginning, wherever it stands."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return LineReader(self.file, line_sep=self._newline)


class TextFileWrapper(AsyncTextFile):
    """A file of text. ``async for`` begins at the beginning, wherever it stands."""

    def __aiter__(self) -> AsyncIterator[str]:
        return LineReader(self.file, line_sep=self._newline)


def async_open(
    file_specifier: Path | IO[Any], mode: str = "r", *args: Any, **kwargs: Any
) -> BinaryFileWrapper | TextFileWrapper:
    """``cloudfiles_hypha.async_open`` as aiofile has it: ``close`` has what was written on the disk, and iteration
    begins at the beginning. ``args`` are ``encoding``, ``context`` and ``executor``."""
    newline = kwargs.pop("newline", None)
    if isinstance(file_specifier, str | os.PathLike):
        file = AIOFile(file_specifier, mode, *args, **kwargs)
    elif args:
        raise ValueError("a file that is open already takes its options by name only")
    else:
        file = AIOFile.from_fp(file_specifier, **kwargs)
    kind = BinaryFileWrapper if file.mode.binary else TextFileWrapper
    return kind(file, newline=newline)
