"""Which files ``cp`` and ``mv`` mean: cloudpaths, some with ``globs``, lists of names; what sizes are written like."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .globs import is_glob, locate_glob
from .places import Clients, Place
from .report import UsageError

_SIZE = re.compile(r"(\d+)\s*([kmgt]?)(i?b)?", re.IGNORECASE)


class Source(NamedTuple):
    """One argument: a file or a folder, or if it is a ``glob`` what matches it."""

    place: Place
    glob: bool


def chosen(texts: Sequence[str], clients: Clients) -> list[Source]:
    """What was named. Only of what looks like a glob the store is asked whether it is a name."""
    return [Source(place, is_glob(clients(place), place)) for place in map(locate_glob, texts)]


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
