"""``aiofile.aio``: ``AIOFile`` for stores as well, and the contexts, which are aiofile's own."""

from __future__ import annotations

from aiofile.aio import (
    AIO_FILE_CLOSED,
    AIO_FILE_NOT_OPENED,
    DEFAULT_CONTEXT_STORE,
    ContextStoreType,
    FileIOType,
    FileMode,
    create_context,
    get_default_context,
    parse_mode,
)

from ...aio import AIOFile

__all__ = [
    "AIO_FILE_CLOSED",
    "AIO_FILE_NOT_OPENED",
    "DEFAULT_CONTEXT_STORE",
    "AIOFile",
    "ContextStoreType",
    "FileIOType",
    "FileMode",
    "create_context",
    "get_default_context",
    "parse_mode",
]
