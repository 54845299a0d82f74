"""Results, and what a listing gives, as a table for notebooks and terminals: no content, no more rows than asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice

from ..redact import printable, scrub

_COLUMNS = (
    "path",
    "target",
    "local_path",
    "size",
    "last_modified",
    "etag",
    "done",
    "skipped",
    "how",
    "verified",
    "attempts",
    "error",
)
_LONGEST = 200  # characters of a cell


class Table:
    """What a call has given for each item (``get``, ``download``, ``transfer_to``, ...), or a listing, as a table.

    ``Table(results)`` as the last line of a cell shows the first ``most`` rows, and how many there are and have failed;
    ``str`` is the same for terminals. Of results those columns are shown that any of them has something in; never
    their content. A list or a tuple is looked at when it is shown, an iterator is read to its end at once.
    """

    def __init__(self, items: Iterable[object], *, most: int = 50) -> None:
        if not isinstance(most, int) or isinstance(most, bool) or most < 0:
            raise ValueError(f"most={most!r}: expected a number of rows")
        self._items = items if isinstance(items, list | tuple) else [*items]
        self._most = most

    def __len__(self) -> int:
        return len(self._items)

    def __str__(self) -> str:
        names, rows = self._cells()
        return "\n".join("\t".join(row) for row in (names, *rows)) + f"\n{self._caption()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        names, rows = self._cells()
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return f"<table><tr>{head}</tr>{body}</table><p>{escape(self._caption())}</p>"

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        shown = [_fields(item) for item in islice(self._items, self._most)]
        names = [name for name in _COLUMNS if any(fields.get(name) not in (None, "", False) for fields in shown)]
        return names or ["path"], [[_text(fields.get(name)) for name in names or ["path"]] for fields in shown]

    def _caption(self) -> str:
        count = len(self._items)
        lines = [f"{count} {'item' if count == 1 else 'items'}"]
        if count > self._most:
            lines.append(f"the first {self._most} are shown")
        failures = sum(isinstance(item, Mapping) and item.get("error") is not None for item in self._items)
        if failures:
            lines.append(f"{failures} failed")
        return "; ".join(lines)


def _fields(item: object) -> Mapping[str, object]:
    """An item's columns by name: those of a result, of a name, of a name and a size, of what is known of an object."""
    if isinstance(item, Mapping):
        return item
    if isinstance(item, str):
        return {"path": item}
    if isinstance(item, tuple) and len(item) == 2:
        return {"path": item[0], "size": item[1]}
    return {name: getattr(item, name, None) for name in _COLUMNS} if hasattr(item, "path") else {"path": repr(item)}


def _text(value: object) -> str:
    if value is None or value is False:
        return ""
    text = f"{type(value).__name__}: {value}" if isinstance(value, Exception) else str(value)
    text = printable(scrub(text[: 4 * _LONGEST]) if isinstance(value, Exception) else text[:_LONGEST])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
