"""hctef's options, also those in the environment, as options of what reads here."""

from __future__ import annotations

import os
from typing import Any


def options(
    minimum_range_request_bytes: int,
    cache_dir: str | os.PathLike[str] | None,
    block_size: int | None,
    max_bytes: int | None,
    immutable: bool | None,
    timeout: float | None,
) -> dict[str, Any]:
    """Those that were given; else what the environment says of the cache.

    Blocks are requests of at least so many bytes. That a file never changes (``immutable``) saves nothing here: it is
    asked for its version whenever it is opened, by the request that brings its first bytes.
    """
    folder = cache_dir if cache_dir is not None else os.environ.get("HCTEF_CACHE_DIR")
    block = block_size if block_size is not None else _number("HCTEF_CACHE_BLOCK_BYTES")
    most = max_bytes if max_bytes is not None else _number("HCTEF_CACHE_MAX_BYTES")
    found: dict[str, Any] = {
        "minimum_range_request_bytes": max(minimum_range_request_bytes, block or 0),
        "without_ranges": "refuse",
        "timeout": timeout,
    }
    if folder:
        found["cache_dir"] = folder
    if most is not None:
        found["cache_dir_bytes"] = most
    return found


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError(f"{name}={text!r}: expected a number of bytes")
    return int(text)
