"""How the name of a file on disk tells what it is encoded with, where the file system keeps no attributes. No I/O.

``a.txt`` encoded with gzip is kept as ``a.txt.encoded.gz``, and nothing else is called so: an archive that somebody has
made, ``a.txt.gz``, is a file of its own. Only when a name is missing are archives of it looked for as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..content.codecs import SUFFIXES

_MARK = ".encoded"
_CODECS: Mapping[str, str] = {suffix: codec for codec, suffix in SUFFIXES.items()}
_KEPT = re.compile(f"(.*[^/]){re.escape(_MARK)}({'|'.join(map(re.escape, _CODECS))})", re.DOTALL)
_ORDER = {codec: number for number, codec in enumerate(SUFFIXES, 1)}


def kept_name(name: str, codec: str) -> str:
    """What a file that is encoded is called on disk."""
    return f"{name}{_MARK}{SUFFIXES[codec]}"


def kept_names(name: str) -> dict[str, str]:
    """What an encoded file may be called on disk, and its encoding then; of several that are there the first is it."""
    return {kept_name(name, codec): codec for codec in SUFFIXES}


def archive_names(name: str) -> dict[str, str]:
    """Files of their own that may be read by this name if there is none of it; and what they are encoded with."""
    return {f"{name}{suffix}": codec for suffix, codec in (*_CODECS.items(), (".zst", "zstd"))}


def listed_name(name: str) -> tuple[str, int]:
    """The name that a file has for its users, and which place it has among the files of that name."""
    if _MARK not in name:  # nearly all
        return name, 0
    found = _KEPT.fullmatch(name)
    return (name, 0) if found is None else (found[1], _ORDER[_CODECS[found[2]]])


def codec_in(name: str) -> str | None:
    """What a file is encoded with, going by what it is called on disk; None if that does not tell."""
    found = _KEPT.fullmatch(name) if _MARK in name else None
    return None if found is None else _CODECS[found[2]]


def is_kept_name(name: str) -> bool:
    """Whether a file is called as only an encoded one is."""
    return listed_name(name)[1] > 0
