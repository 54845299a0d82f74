"""Files that are read and written by ``await``, on this machine and in every store: ``async_open``, ``AIOFile``.

``low`` is what a file with explicit offsets has; ``local`` are those of this machine, which are aiofile's, and
``remote`` those of stores, which pass for them. ``steps`` (``Reader``, ``Writer``, ``LineReader``) and ``files``
(``async_open``) stand on these offsets alone, so they are one for both.
"""

from __future__ import annotations

from .files import AsyncBinaryFile, AsyncFileBase, AsyncTextFile, async_open
from .low import AIOFile, FileMode
from .steps import LineReader, Reader, Writer

__all__ = [
    "AIOFile",
    "AsyncBinaryFile",
    "AsyncFileBase",
    "AsyncTextFile",
    "FileMode",
    "LineReader",
    "Reader",
    "Writer",
    "async_open",
]
