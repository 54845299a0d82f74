"""Globs in cloudpaths: which files ``s3://bucket/data/*.csv`` means, for every command that takes files.

``*`` and ``?`` stay within a folder, ``[ab]`` and ``[!ab]`` are one character that is no slash, and two stars or more
are anything, slashes too. Where they are a whole part of the name with a slash behind it (``**/x``, ``d/**/x``) that is
any number of folders, also none. A file or a folder that is called exactly what was written is meant before anything
that it would match, and ``[*]`` is a star. Globs of a bucket, an artifact or a web server are not known: there is
nothing to list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..errors import ObjectNotFound
from ..files import ArtifactFiles
from ..models import ObjectInfo
from ..paths import check_name, join_names
from ..plan.globs import compiled
from .places import Clients, Place, file_names, locate, passes
from .report import Report, UsageError

_MAGIC = re.compile(r"[*?[]")
_NOT_LISTED = ("http", "https")


def locate_glob(text: str) -> Place:
    """Like ``locate``; of a local path, the name begins with the first folder that is a glob."""
    place = locate(text)
    if place.scheme == "file" and _MAGIC.search(text):
        fixed = text[: text.rfind("/", 0, first_magic(text)) + 1]
        above = locate(fixed or "./")
        return replace(place, root=above.root, name=text[len(fixed) :].rstrip("/"))
    return place


def first_magic(text: str) -> int:
    """Where the first character of a glob is; the length of the text if there is none."""
    found = _MAGIC.search(text)
    return len(text) if found is None else found.start()


def fixed_folder(place: Place) -> str:
    """What all the names that a glob matches begin with, as far as that is a folder."""
    return place.name[: place.name.rfind("/", 0, first_magic(place.name)) + 1]


def is_glob(cf: ArtifactFiles, place: Place) -> bool:
    """Whether it is to be matched: nothing has that very name."""
    if place.scheme in _NOT_LISTED or not _MAGIC.search(place.name):
        return False
    return not ((not place.folder and cf.exists(place.name)) or cf.isdir(place.name))


def matching(cf: ArtifactFiles, place: Place, *, below: bool = False) -> Iterator[ObjectInfo]:
    """The files that a glob matches; with ``below``, and for one that ends in a slash, those in folders that match."""
    if not place.folder and not below and "/" not in place.name[len(fixed_folder(place)) :] and "**" not in place.name:
        prefix = place.name[: first_magic(place.name)]  # one level, so folders beside it need not be listed
        found: Iterator[ObjectInfo] = (
            ObjectInfo(name) for name in cf.list(prefix, flat=True) if not name.endswith("/")
        )
    else:
        found = cf.scan(place.name[: first_magic(place.name)])
    wanted = pattern(f"{place.name}/", ".*") if place.folder else pattern(place.name, "(?:/.*)?" if below else "")
    return (info for info in found if wanted.fullmatch(info.path))


def files_named(places: Sequence[Place], clients: Clients, report: Report) -> list[tuple[Place, str]]:
    """The files that cloudpaths name, in order; of globs those that match. One that matches nothing is a failure."""
    file_names(places)
    named: list[tuple[Place, str]] = []
    for place in places:
        if not is_glob(clients(place), place):
            named.append((place, place.name))
            continue
        matched = [info.path for info in matching(clients(place), place)]
        if not matched:
            report.failed(place.text, nothing_matches())
        named += ((place, name) for name in matched if passes(check_name, name, report))
    return named


def nothing_matches() -> Exception:
    """Why a glob is an error."""
    return ObjectNotFound("no file matches (* stays within a folder, ** does not)")


def full_name(place: Place, name: str) -> str:
    """The cloudpath of a file that was found."""
    return join_names(place.root, name)


def pattern(glob: str, more: str = "") -> re.Pattern[str]:
    """A glob as a regular expression, and what may follow."""
    try:
        return compiled(glob, more)
    except ValueError as error:
        raise UsageError(str(error)) from None
