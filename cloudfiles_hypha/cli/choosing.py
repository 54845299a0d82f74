"""Which files ``cp`` and ``mv`` mean: cloudpaths with globs, lists of names, and what sizes are written like.

A name that is there as it is written is meant, whatever characters it has. ``*``, ``?`` and ``[...]`` stay within a
folder, as in a shell; ``**`` is any number of folders.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import ObjectNotFound
from .places import Clients, Place, is_there, locate
from .report import UsageError

_MAGIC = re.compile(r"[*?\[]")
_SIZE = re.compile(r"(\d+)\s*([kmgt]?)(i?b)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """One argument: a place, or the names below a folder that match a ``pattern``."""

    place: Place
    pattern: str = ""


def chosen(texts: Sequence[str], clients: Clients) -> list[Source]:
    """What was named. Only of what looks like a pattern the store is asked whether it is a name."""
    return [_chosen(text, clients) for text in texts]


def _chosen(text: str, clients: Clients) -> Source:
    scheme, _, path = text.partition("://")
    if scheme in ("http", "https") or _MAGIC.search(path) is None:
        return Source(locate(text))
    parts = path.split("/")
    first = next(number for number, part in enumerate(parts) if _MAGIC.search(part))
    pattern = "/".join(parts[first:])
    folder = f"{scheme}://{'/'.join(parts[:first])}/"
    try:
        place = locate(text)
    except ValueError:
        place = None
    if place is not None:
        try:
            if is_there(clients(place), place):
                return Source(place)
        except (ObjectNotFound, ValueError, NotADirectoryError):
            pass  # there is no such bucket or folder, or it is no name that a file could have
    if not pattern.strip("/"):
        raise UsageError(f"{text}: is no file, and as a pattern it names none")
    return Source(locate(folder), pattern.rstrip("/"))


def matching(clients: Clients, source: Source, *, recursive: bool) -> list[str]:
    """The names that match, complete or an error; with ``recursive`` also what is in folders that match."""
    place, patterns = source.place, source.pattern.split("/")
    flat = len(patterns) == 1 and patterns[0] != "**" and not recursive
    names = clients(place).list(place.prefix, flat=flat)
    skip = len(place.prefix)
    return [name for name in names if not name.endswith("/") and _fits(name[skip:].split("/"), patterns, recursive)]


def _fits(parts: list[str], patterns: list[str], recursive: bool) -> bool:
    if not patterns:
        return not parts or recursive
    if patterns[0] == "**":
        return any(_fits(parts[number:], patterns[1:], recursive) for number in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _fits(parts[1:], patterns[1:], recursive)


def names_from(options: argparse.Namespace) -> Iterator[str]:
    """The names in a file, or standard input: one a line, or with ``-0`` each ended by a NUL. Each is had once."""
    where = options.files_from
    if where == "-":
        if sys.stdin is None:
            raise UsageError("--files-from -: standard input is closed")
        content = sys.stdin.buffer.read()
    else:
        with open(where, "rb") as file:
            content = file.read()
    lines = content.split(b"\0") if options.null else [line.removesuffix(b"\r") for line in content.split(b"\n")]
    yield from dict.fromkeys(os.fsdecode(line) for line in lines if line)


def byte_size(text: str) -> int:
    """A type of argument: a number of bytes, or of KiB, MiB, GiB (``64M``, ``64MiB``)."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise ValueError(text)
    return int(found[1]) << 10 * " kmgt".index(found[2].lower() or " ")


def codec_and_level(text: str) -> tuple[str, int | None]:
    """A type of argument: ``gzip``, or ``zstd:19``."""
    codec, colon, level = text.partition(":")
    return codec, int(level) if colon else None
