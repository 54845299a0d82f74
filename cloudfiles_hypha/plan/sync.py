"""What makes two places alike: which files differ, by what that is known, and what is to be done. No I/O.

Two listings in the same order are merged, so that no more than one entry of each is in memory; whether they are in that
order is checked on the way.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, groupby
from operator import itemgetter
from typing import Literal, NamedTuple

from ..models import ObjectInfo
from ..paths import folded

Compare = Literal["auto", "size", "time", "digest"]
COMPARE = ("auto", "size", "time", "digest")

_DIGEST = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")


class OutOfOrderError(ValueError):
    """A listing does not come in the order of its names' code points."""


class Entry(NamedTuple):
    """One file of a listing, by its name without the prefix. ``digest`` is as ``ObjectInfo`` has it;
    ``encoding`` is what its bytes are encoded with, "" for nothing, None where the listing does not tell."""

    path: str
    size: int | None = None
    etag: str | None = None
    modified: float | None = None
    digest: str | None = None
    encoding: str | None = None


Pair = tuple[Entry | None, Entry | None]
"""The entries of one name: the source's and the target's."""


class Step(NamedTuple):
    """What is to be done about one name: "copy", "remove" or "keep", and what was compared to decide that.

    ``size`` and ``etag`` are those that the source (for "remove": the target) has, as far as its listing tells.
    ``why`` says more of a copy: "missing" at the target, or "different", or "unknown" where nothing could be compared.
    """

    do: str
    path: str
    size: int | None
    etag: str | None
    modified: float | None
    compared: str
    why: str = ""


def same_digest(one: ObjectInfo | Entry, other: ObjectInfo | Entry) -> bool | None:
    """Whether two objects have the same bytes, going by ETags that are made as S3 makes them; None if these cannot be
    compared: those of uploads in parts say nothing when they differ."""
    if one.size != other.size and None not in (one.size, other.size):
        return False
    found = [_DIGEST.fullmatch(digest.lower()) if digest else None for digest in (one.digest, other.digest)]
    if found[0] is None or found[1] is None:
        return None
    if found[0][0] == found[1][0]:
        return True
    return False if found[0][1] is None and found[1][1] is None else None


def in_order(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries, as long as each name is beyond the one before."""
    before: str | None = None
    for entry in entries:
        if before is not None and entry.path <= before:
            raise OutOfOrderError(f"{entry.path!r} is listed after {before!r}")
        before = entry.path
        yield entry


def merge(source: Iterable[Entry], target: Iterable[Entry]) -> Iterator[Pair]:
    """The entries of both, by name; raises ``OutOfOrderError`` if they cannot be matched."""
    sources, targets = iter(in_order(source)), iter(in_order(target))
    here, there = next(sources, None), next(targets, None)
    while here is not None or there is not None:
        if there is None or (here is not None and here.path < there.path):
            yield here, None
            here = next(sources, None)
        elif here is None or there.path < here.path:
            yield None, there
            there = next(targets, None)
        else:
            yield here, there
            here, there = next(sources, None), next(targets, None)


def merge_folded(
    source: Iterable[Entry], target: Iterable[Entry], *, same: Callable[[str, str], bool]
) -> Iterator[Pair]:
    """Like ``merge``, where names that are ``same`` at the target are one, however they are spelt.

    Both come in the order of ``by_fold``. Raises ``ValueError`` if two of the source would be one file.
    """
    sides = heapq.merge(_of_side(0, source), _of_side(1, target), key=itemgetter(0, 1, 2))
    for _, several in groupby(sides, key=itemgetter(0)):
        found: tuple[dict[str, Entry], dict[str, Entry]] = ({}, {})
        for _, path, number, entry in several:
            if path in found[number]:
                raise OutOfOrderError(f"{path!r} is listed twice")
            found[number][path] = entry
        yield from _pairs(*found, same)


def _of_side(number: int, entries: Iterable[Entry]) -> Iterator[tuple[str, str, int, Entry]]:
    for entry in entries:
        yield *by_fold(entry), number, entry


def _pairs(here: dict[str, Entry], there: dict[str, Entry], same: Callable[[str, str], bool]) -> Iterator[Pair]:
    for one, other in combinations(here, 2):
        if same(one, other):
            raise ValueError(f"{one!r} and {other!r} would be one file at the target; nothing was copied")
    for path, entry in here.items():
        if path in there:
            yield entry, there.pop(path)
            continue
        alias = next((name for name in there if name not in here and same(path, name)), None)
        yield entry, None if alias is None else there.pop(alias)
    yield from ((None, entry) for entry in there.values())


class Apart:
    """Names that are to be of different files; ``same`` tells of two that some disk takes for one whether this does."""

    def __init__(self, same: Callable[[str, str], bool]) -> None:
        self._same = same
        self._alike: dict[str, list[str]] = {}

    def add(self, name: str) -> None:
        """One more; ``ValueError`` if it is of the same file as one before."""
        alike = self._alike.setdefault(folded(name), [])
        for other in alike:
            if self._same(name, other):
                raise ValueError(f"{other!r} and {name!r} would be one file at the target; which content should win?")
        alike.append(name)


def by_fold(entry: Entry) -> tuple[str, str]:
    """What brings names together that some disk takes for the same."""
    return folded(entry.path), entry.path


def decide(pair: Pair, compare: Compare, *, digests: bool, delete: bool) -> Step | None:
    """What is to be done about one name; None if nothing, since it is at the target only and is to stay.

    ``digests`` says that the ETags of both sides can be compared.
    """
    here, there = pair
    if here is None:
        return Step("remove", *there[:4], "name") if there is not None and delete else None
    if there is None:
        return Step("copy", *here[:4], "name", "missing")
    if None not in (here.size, there.size) and here.size != there.size:
        return Step("copy", *here[:4], "size", "different")
    if None not in (here.encoding, there.encoding) and here.encoding != there.encoding:
        return Step("copy", *here[:4], "encoding", "different")  # equal bytes would not be equal content
    sizes_known = here.size is not None and there.size is not None
    if compare == "size":
        return Step("keep", *here[:4], "size") if sizes_known else Step("copy", *here[:4], "name", "unknown")
    if compare != "time" and digests:
        same = same_digest(here, there)
        if same is not None:
            return Step("keep", *here[:4], "digest") if same else Step("copy", *here[:4], "digest", "different")
    if compare != "digest" and here.modified is not None and there.modified is not None:
        if here.modified > there.modified:
            return Step("copy", *here[:4], "time", "different")
        if sizes_known:
            return Step("keep", *here[:4], "time")
    if compare == "auto" and sizes_known:
        return Step("keep", *here[:4], "size")
    return Step("copy", *here[:4], "size" if sizes_known else "name", "unknown")
