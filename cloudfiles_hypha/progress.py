"""Watching: observers of single items, and progress bars: ours (tqdm) or the caller's own.

Decides when to be quiet; knows nothing of transfers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Item:
    """Which item of a batch: its number in the input, its path as the user wrote it, the user's own tags."""

    index: int
    path: str
    tags: object


class Observer(Protocol):
    """What a caller may want to be told of the items of its calls. Called in the caller's thread, in order.

    What these raise ends the call, as an exception in the caller's own code would.
    """

    def started(self, item: Item) -> None:
        """Its first attempt is about to begin."""

    def moved(self, item: Item, size: int) -> None:
        """So many of its bytes have arrived or been sent; negative if some were for nothing."""

    def failed(self, item: Item, attempt: int, error: Exception) -> None:
        """An attempt (counted from 1) has failed, and another one follows."""

    def ended(self, item: Item, error: Exception | None) -> None:
        """It is done, or has failed for good."""


@runtime_checkable
class Bar(Protocol):
    """What a caller's own bar must have: ``update(n)`` adds n items (n bytes, if its ``unit`` is "B").

    A negative ``n`` takes bytes back that have to be moved again, because a file is begun anew. Items are never taken
    back.
    """

    def update(self, n: int, /) -> object:
        """Advance by ``n``, or go back where that is negative."""


@runtime_checkable
class Meter(Protocol):
    """A display of files and bytes, which wants to know more than a ``Bar``. Used in the thread that makes the calls,
    by one call after another."""

    def expect(self, files: int | None, size: int | None) -> None:
        """A call begins, with so many files to move, and so many bytes where that is known."""

    def add(self, size: int | None) -> None:
        """One more file is done (moved, skipped or failed); ``size`` are those of its bytes that were not told yet."""

    def advance(self, size: int) -> None:
        """So many more bytes have moved; negative if some were for nothing."""

    def know(self, path: str, size: int) -> None:
        """So large is a file of which no listing told."""

    def resume(self, size: int) -> None:
        """So many bytes are there from an earlier run; negative if they are of no use after all."""


ProgressOption = bool | str | Bar | Meter | None
"""None or False: no bar. True or a description: a bar, if the output is a terminal or a notebook. Or a bar."""


class Progress:
    """One batch's bar. Used from the thread that runs the batch."""

    def __init__(self, option: ProgressOption, verb: str, *, total: int | None, total_bytes: int | None = None) -> None:
        self._own: Any = None
        self._theirs: Bar | None = None
        self._meter: Meter | None = None
        self._in_bytes = False
        self._bytes = self._items = 0
        self._total = total
        if option is None or option is False:
            return
        if option is True or isinstance(option, str):
            self._in_bytes = bool(total_bytes)
            self._own = _tqdm(option if isinstance(option, str) else verb, total, total_bytes)
        elif isinstance(option, Meter):
            self._meter = option
            option.expect(total, total_bytes)
        elif isinstance(option, Bar):
            self._theirs = option
            self._in_bytes = getattr(option, "unit", None) == "B"
        else:
            raise TypeError(f"progress={option!r}: expected a bool, a description, or an object with update(n)")

    @property
    def shown(self) -> bool:
        """Whether anybody watches."""
        return self._theirs is not None or self._meter is not None or (self._own is not None and not self._own.disable)

    def add(self, size: int | None) -> None:
        """One more item is done, of ``size`` bytes where that is known."""
        self._items += 1
        self._bytes += size or 0
        step = (size or 0) if self._in_bytes else 1
        if self._meter is not None:
            self._meter.add(size)
        elif self._theirs is not None:
            self._theirs.update(step)
        elif self._own is not None and not self._own.disable:
            if self._in_bytes:
                of = "" if self._total is None else f"/{self._total}"
                self._own.set_postfix_str(f"{self._items}{of} files", refresh=False)
            else:
                self._own.set_postfix_str(human(self._bytes), refresh=False)
            self._own.update(step)

    def moved(self, size: int) -> None:
        """So many bytes (negative: fewer) of items that are not done yet; ``add`` is not told of them again."""
        self._bytes += size
        if self._meter is not None:
            self._meter.advance(size)
        elif not self._in_bytes:
            return
        elif self._theirs is not None:
            self._theirs.update(size)
        elif self._own is not None and not self._own.disable:
            self._own.update(size)

    def resumed(self, size: int) -> None:
        """So many bytes (negative: fewer) are there from an earlier run: they are done, and took no time."""
        self._bytes += size
        own = self._own
        if self._meter is not None:
            self._meter.resume(size)
        elif not self._in_bytes:
            return
        elif self._theirs is not None:
            self._theirs.update(size)
        elif own is not None and not own.disable:
            own.initial += size
            own.n += size
            own.last_print_n += size
            own.refresh()

    def sized(self, path: str, size: int) -> None:
        """So large is one of the files."""
        if self._meter is not None:
            self._meter.know(path, size)

    def close(self) -> None:
        """Leave the bar as it stands; a caller's own bar is the caller's to close."""
        if self._own is not None:
            self._own.close()


def _tqdm(description: str, total: int | None, total_bytes: int | None) -> Any:
    from tqdm.auto import tqdm

    # In a notebook the output is no terminal, and a bar is wanted all the same; without ipywidgets it is one of text.
    in_notebook = "ipykernel.zmqshell" in sys.modules or any("notebook" in base.__module__ for base in tqdm.__mro__)
    options: dict[str, Any] = {"desc": description, "disable": False if in_notebook else None, "mininterval": 0.2}
    if total_bytes:
        return tqdm(total=total_bytes, unit="B", unit_scale=True, unit_divisor=1024, **options)
    return tqdm(total=total, unit=" files", **options)


def human(size: float) -> str:
    """So many bytes, for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
