"""What ``open`` does, by mode: which file object there is for it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from .file import RangeFile
from .reading import Reader

_TEXT = ("encoding", "errors", "newline")


def open_file(reader: Reader, path: str, mode: str = "rb", **options: Any) -> Any:
    """The file object for a mode."""
    opener = MODES.get(mode)
    if opener is None:
        raise ValueError(f"mode={mode!r}: choose one of {', '.join(map(repr, sorted(MODES)))}")
    return opener(reader, path, **options)


def _text(reader: Reader, path: str, **options: Any) -> io.TextIOWrapper:
    text = {name: options.pop(name) for name in _TEXT if name in options}
    text["encoding"] = text.get("encoding") or "utf-8"
    if text.get("newline") not in (None, "", "\n", "\r", "\r\n"):
        raise ValueError(f"newline={text['newline']!r}: expected None, '', '\\n', '\\r' or '\\r\\n'")
    file = RangeFile(reader, path, **options)
    return io.TextIOWrapper(file, **text)


def _binary(reader: Reader, path: str, **options: Any) -> RangeFile:
    for name in _TEXT:
        if options.get(name) is not None:
            raise ValueError(f"{name}={options[name]!r}: binary files have none; open it with mode='r'")
    return RangeFile(reader, path, **{name: value for name, value in options.items() if name not in _TEXT})


MODES: dict[str, Callable[..., Any]] = {"r": _text, "rt": _text, "rb": _binary, "br": _binary}
"""How a file is opened, by mode; those that write are added by what can."""
