"""``HttpFile`` as hctef has it: opened by ``with`` or ``open``, and hctef's errors. How it reads is ``RangeFile``'s."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, TypeVar

from ... import remote
from .exceptions import checked, translated
from .options import options

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...ranges.reading import Steps

T = TypeVar("T")


class HttpFile(remote.HttpFile):
    """A file on a web server (or, by its cloudpath, in any store) that is read by ranges.

    ``cache_dir``, ``block_size`` and ``max_bytes`` are also found in the environment (``HCTEF_CACHE_DIR``,
    ``HCTEF_CACHE_BLOCK_BYTES``, ``HCTEF_CACHE_MAX_BYTES``).
    """

    _is_open = False

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
        timeout: float | None = 30,
    ) -> None:
        found = options(minimum_range_request_bytes, cache_dir, block_size, max_bytes, immutable, timeout)
        with checked(url):
            super().__init__(url, prefetch_bytes=prefetch_bytes, prefetch_direction=prefetch_direction, **found)

    def _open(self) -> None:
        """Not yet."""

    def open(self) -> Self:
        """Ask for its size and its end, if that has not been done; gives itself."""
        self._check()
        return self

    def __enter__(self) -> Self:
        return self.open()

    @property
    def size(self) -> int:
        """How many bytes it has."""
        self._check()
        return super().size

    def clone(self) -> Self:
        """Another cursor, at the same place, that shares all but the place; close each."""
        other = super().clone()
        other._is_open = True
        return other

    def _check(self) -> None:
        super()._check()
        if not self._is_open:
            with self._turn:
                if not self._is_open:
                    super()._open()
                    self._is_open = True

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        self._is_open = True

    def __repr__(self) -> str:
        if self._is_open:
            return super().__repr__()
        return f"<{type(self).__name__} {self.name!r} {'closed' if self.closed else 'not open'}>"

    def _drive(self, steps: Steps[T]) -> T:
        with translated():
            return super()._drive(steps)
