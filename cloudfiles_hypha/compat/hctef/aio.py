"""``AsyncHttpFile`` as hctef has it; it needs no aiohttp."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ... import remote
from .exceptions import checked, translated
from .options import options

if TYPE_CHECKING:
    from ...ranges.reading import Steps

T = TypeVar("T")

__all__ = ["AsyncHttpFile"]


class AsyncHttpFile(remote.AsyncHttpFile):
    """``HttpFile`` whose reading is awaited. ``max_concurrency`` transfers run at once."""

    def __init__(
        self,
        url: str,
        minimum_range_request_bytes: int = 8192,
        prefetch_bytes: int = 1048576,
        prefetch_direction: Literal["START", "END"] = "END",
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        block_size: int | None = None,
        max_bytes: int | None = None,
        immutable: bool | None = None,
        max_concurrency: int = 8,
        timeout: float | None = 30,
        session_kwargs: Mapping[str, Any] | None = None,
        transport: Literal["aiohttp"] | None = None,
    ) -> None:
        if session_kwargs:
            raise ValueError("session_kwargs: there is no session of aiohttp here; timeout= and max_concurrency= are")
        if transport not in (None, "aiohttp"):
            raise ValueError(f"transport={transport!r:.60}: bytes come by this package's own transports")
        found = options(minimum_range_request_bytes, cache_dir, block_size, max_bytes, immutable, timeout)
        with checked(url):
            super().__init__(
                url,
                prefetch_bytes=prefetch_bytes,
                prefetch_direction=prefetch_direction,
                num_threads=max_concurrency,
                **found,
            )

    async def _drive(self, steps: Steps[T]) -> T:
        with translated():
            return await super()._drive(steps)
