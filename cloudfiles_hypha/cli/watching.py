"""What people see while bytes move: bars on a terminal, a line now and then in a log, or nothing.

Counts what has been done, whether it is shown or not. Refuses to let anything of a name reach the terminal as it is,
and to end a run because the terminal has gone.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any

from ..progress import Item, human
from ..redact import printable
from . import report as said
from .report import complain, describe

# In a log, seconds from one line to the next.
_NOW_AND_THEN = 30.0
# Files from so many bytes on have a line of their own, as many of them as there is room for, up to so many.
_LARGE = 8 * 1024 * 1024
_LINES = 4


class Watch:
    """One run of a command, as a ``Meter`` of its calls and an ``Observer`` of its items."""

    def __init__(self, verb: str, *, shown: bool, verbose: bool) -> None:
        self.files = 0
        self.done = 0
        self.size: int | None = 0
        self.moved = 0
        self.there = 0  # bytes of an earlier run
        self.retries = 0
        self._verb = verb
        self._verbose = verbose
        self._shown = shown
        self._bars = shown and _on_terminal()
        self._began = self._told = time.monotonic()
        self._sizes: dict[str, int | None] = {}  # of the files of the present call
        self._call: tuple[int, int | None] = (0, None)  # how many files it has, and the size of all before it
        self._bar: Any = None
        self._in_bytes = False
        self._lines: dict[tuple[int, str], Any] = {}
        self._under_way: dict[tuple[int, str], int] = {}

    @property
    def wants_sizes(self) -> bool:
        """Whether it is worth asking a store for sizes that nothing else needs."""
        return self._bars

    def know_all(self, sizes: Mapping[str, int | None]) -> None:
        """How large the files of the next call are, by the names that it uses."""
        self._sizes = dict(sizes)

    # -- as a Meter -------------------------------------------------------------------------------------------

    def expect(self, files: int | None, size: int | None) -> None:
        """A call begins."""
        self.files += files or 0
        self._call = (files or 0, self.size)
        if size is None:
            self._add_up()
        else:
            self.size = None if self.size is None else self.size + size
        if self._bars:
            self._draw(self._begin)

    def know(self, path: str, size: int) -> None:
        """How large one file is."""
        unknown = self.size is None
        self._sizes[path] = size
        if unknown:
            self._add_up()
            if self.size is not None and self._bar is not None:
                self._draw(self._begin)

    def _add_up(self) -> None:
        files, before = self._call
        known = [size for size in self._sizes.values() if size is not None]
        self.size = before + sum(known) if before is not None and len(known) >= files else None

    def add(self, size: int | None) -> None:
        """One more file is done."""
        self.done += 1
        self.moved += size or 0
        self._update()

    def advance(self, size: int) -> None:
        """More bytes have moved."""
        self.moved += size
        self._update()

    def resume(self, size: int) -> None:
        """Bytes are there already."""
        self.there += size
        self._update(size)

    # -- as an Observer ---------------------------------------------------------------------------------------

    def started(self, item: Item) -> None:
        """Nothing of it is worth a line yet."""

    def failed(self, item: Item, attempt: int, error: Exception) -> None:
        """Another attempt follows."""
        self.retries += 1
        if self._verbose:
            complain(f"{describe(error, item.path)} (attempt {attempt}; trying again)")
        self._update()

    def ended(self, item: Item, error: Exception | None) -> None:
        """Its line goes."""
        key = (item.index, item.path)
        self._under_way.pop(key, None)
        line = self._lines.pop(key, None)
        if line is not None:
            self._draw(line.close)

    # bytes of an item; what concerns all of them is told by ``advance``
    def observe(self, item: Item, size: int) -> None:
        """Bytes of one item have moved."""
        if not self._bars:
            return
        key = (item.index, item.path)
        now = self._under_way[key] = self._under_way.get(key, 0) + size
        whole = self._sizes.get(item.path)
        if key not in self._lines and len(self._lines) < self._room() and (whole or now) >= _LARGE and whole != now:
            self._draw(lambda: self._begin_line(key, whole))
        if key in self._lines:
            self._draw(lambda: self._lines[key].update(now - self._lines[key].n))

    # -- on a terminal ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._bar is not None and self.size and not self._in_bytes:
            self._bar.close()  # now it is known how many bytes there are
            self._bar = None
        if self._bar is None:
            self._in_bytes = bool(self.size)
            said.apart = _bar_type().external_write_mode
            self._bar = _bar_type()(**self._format(self._in_bytes), desc=self._verb, total=0, leave=False)
        total = self.size if self._in_bytes else self.files
        self._bar.total = total or None
        self._bar.refresh()

    def _begin_line(self, key: tuple[int, str], whole: int | None) -> None:
        width = max(8, shutil.get_terminal_size().columns // 3)
        name = printable(key[1])
        name = name if len(name) <= width else f"...{name[3 - width :]}"
        taken = {line.pos for line in self._lines.values()}
        place = next(number for number in range(1, _LINES + 1) if -number not in taken)
        self._lines[key] = _bar_type()(**self._format(True), desc=name, total=whole, position=place, leave=False)

    @staticmethod
    def _format(in_bytes: bool) -> dict[str, Any]:
        unit = {"unit": "B", "unit_scale": True, "unit_divisor": 1024} if in_bytes else {"unit": " files"}
        return {**unit, "file": sys.stderr, "dynamic_ncols": True, "mininterval": 0.2}

    @staticmethod
    def _room() -> int:
        return min(_LINES, shutil.get_terminal_size().lines - 3)

    def _update(self, resumed: int = 0) -> None:
        if self._bar is not None:
            self._draw(lambda: self._move(resumed))
        elif self._shown and not self._bars and time.monotonic() - self._told >= _NOW_AND_THEN:
            self._told = time.monotonic()
            complain(f"{self._verb}: {self._so_far()}")

    def _move(self, resumed: int) -> None:
        bar = self._bar
        if self._in_bytes:
            if resumed:  # it took no time
                bar.initial += resumed
                bar.last_print_n += resumed
                bar.n += resumed
            now = self.moved + self.there
            if bar.total is not None and now > bar.total:
                bar.total = now
            bar.set_postfix_str(f"{self.done}/{self.files} files", refresh=False)
            bar.update(now - bar.n)
        else:
            bar.set_postfix_str(human(self.moved + self.there), refresh=False)
            bar.update(self.done - bar.n)

    def _draw(self, step: Callable[[], object]) -> None:
        if self._bars:
            try:
                step()
            except (OSError, ValueError):  # the terminal has gone; the work goes on
                self._bars = False
                self._bar, self._lines = None, {}
                said.apart = nullcontext

    # -- at the end -------------------------------------------------------------------------------------------

    def _so_far(self) -> str:
        seconds = time.monotonic() - self._began
        rate = self.moved / seconds if seconds > 0 else 0.0
        of = "" if not self.size else f" of {human(self.size)}"
        left = ""
        if self.size and rate > 0:
            rest = int(max(0, self.size - self.moved - self.there) / rate)
            left = f", {rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02} left"
        there = f" ({human(self.there)} there from before)" if self.there else ""
        return f"{self.done} of {self.files} files, {human(self.moved + self.there)}{of}{there}, {human(rate)}/s{left}"

    def close(self) -> None:
        """Nothing is shown any more."""
        lines = [*self._lines.values(), *([] if self._bar is None else [self._bar])]
        self._lines, self._bar = {}, None
        said.apart = nullcontext
        for line in lines:
            with suppress(OSError, ValueError):
                line.close()


class Told:
    """A ``Watch`` as an ``Observer``, which has another idea of what ``moved`` means."""

    def __init__(self, watch: Watch) -> None:
        self.started, self.failed, self.ended = watch.started, watch.failed, watch.ended
        self.moved = watch.observe


def _on_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # it is closed
        return False


_made: list[Any] = []


def _bar_type() -> Any:
    """tqdm's bar, which is loaded when there is something to show, without its thread that watches bars."""
    if not _made:
        from tqdm import tqdm

        class Line(tqdm):  # type: ignore[type-arg]
            monitor_interval = 0

        _made.append(Line)
    return _made[0]
