"""``transcode``: store files with another Content-Encoding than they have.

Each file is in memory, decoded, while it is encoded anew; what is larger than is held so is refused before it is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ..content.codecs import CODECS, check_codec
from ..errors import BatchError, ObjectNotFound
from ..models import ObjectInfo
from ..paths import check_name
from .commands import Commands, add_writing
from .globs import is_glob, locate_glob, matching, nothing_matches
from .places import Clients, Place, file_names, is_cloudpath, locate, names_below, passes, writable
from .report import Report, UsageError
from .writing import committing


def register(commands: Commands) -> None:
    """Add the command of this module."""
    command = commands.add(
        "transcode",
        transcode,
        "Store files with another Content-Encoding; what is read stays the same.",
        bars=True,
    )
    command.add_argument("sources", nargs="+", metavar="SRC", help="a CLOUDPATH, or a glob in quotes")
    command.add_argument("destination", metavar="DST", help="a CLOUDPATH, perhaps SRC; ends in a slash to be a folder")
    command.add_argument("--to", required=True, choices=[*CODECS, "none"], help="the encoding; none stores it plain")
    command.add_argument("--level", type=int, metavar="N", help="how hard to compress, by the codec's own numbers")
    command.add_argument("-r", "--recursive", action="store_true", help="folders as well, to directly below DST")
    add_writing(command)


_LARGEST = 1 << 30  # bytes, decoded or not, of a file that is held in memory
_TOGETHER = 1000  # names that are asked for at once


def transcode(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Read, decode, encode, store; in one commit."""
    report.counts = False  # these are neither copied nor moved: each that was stored has its own line
    for text in (*options.sources, options.destination):
        if not is_cloudpath(text):
            raise UsageError(f"{text}: is no cloudpath (scheme://...); from a disk there is cp")
    if options.to != "none":
        check_codec(options.to, options.level)
    elif options.level is not None:
        raise UsageError("--level: what is stored plain has none")
    target = writable(locate(options.destination))
    if target.scheme != "hypha" and options.comment is not None:
        raise UsageError(f"{target.text}: has no versions, so no --comment")
    plan = _plan(options, target, clients, report)
    if not plan:
        return report.code
    cf = clients(target)
    with committing(options, target, cf, report):
        files = _decoded(plan, clients, options, report)
        results = cf.puts(files, total=len(plan), raise_errors=False, progress=options.progress)
        for result in results:
            if result["error"] is not None:
                report.failed(result["path"], result["error"])
    for result in results if report.as_json or report.verbose else ():
        if result["error"] is None:
            facts = {"path": result["path"], "source": result["tags"], "content_encoding": _codec(options)}
            report.tell("stored", result["path"], options.to, **facts)
    return report.code


def _codec(options: argparse.Namespace) -> str | None:
    return None if options.to == "none" else str(options.to)


def _plan(options: argparse.Namespace, target: Place, clients: Clients, report: Report) -> dict[str, tuple[Place, str]]:
    """Where each file is, by the name that it will get; complete before the first is read."""
    places = [locate_glob(text) for text in options.sources]
    if not options.recursive:
        file_names(places, "; give -r as well")
    found: list[tuple[Place, str, str]] = []
    several = options.recursive or len(places) > 1
    for place in places:
        cf = clients(place)
        if is_glob(cf, place):
            several = True
            names = [info.path for info in matching(cf, place)]
            if not names:
                report.failed(place.text, nothing_matches())
            prefix = ""
        else:
            prefix, names = names_below(cf, place) if options.recursive else ("", [place.name])
        found += [(place, name, name[len(prefix) :] if prefix or place.folder else last(name)) for name in names]
    into_folder = several or target.folder or not _is_file(target, *found[0][:2], clients)
    plan: dict[str, tuple[Place, str]] = {}
    for place, key, name in found:
        new = target.prefix + name if into_folder else target.name
        if not passes(check_name, key, report):
            continue
        if new in plan:
            raise UsageError(f"two sources would become {new!r}; nothing was stored")
        plan[new] = (place, key)
    for new, (place, key) in plan.items():
        if place.root == target.root and key != new and key in plan:
            raise UsageError(f"{key!r}: would be both read and written to; nothing was stored")
    return plan


def _is_file(target: Place, place: Place, key: str, clients: Clients) -> bool:
    """Whether the target is what the one file is to be called, and no folder."""
    if (target.root, target.name) == (place.root, key):
        return True
    try:
        return not clients(target).isdir(target.name)
    except ObjectNotFound:  # the artifact is not there (yet)
        return True


def last(name: str) -> str:
    """A name without the folders that it is in."""
    return name.rpartition("/")[2]


def _decoded(
    plan: dict[str, tuple[Place, str]], clients: Clients, options: argparse.Namespace, report: Report
) -> Iterator[dict[str, Any]]:
    """Files as ``puts`` takes them; what cannot be read is a failure, and left out."""
    items = sorted(plan.items(), key=lambda item: item[1][0].root)
    for _, run in groupby(items, key=lambda item: item[1][0].root):
        here = list(run)
        for start in range(0, len(here), _TOGETHER):
            yield from _decoded_of(here[start : start + _TOGETHER], clients, options, report)


def _decoded_of(
    items: Sequence[tuple[str, tuple[Place, str]]], clients: Clients, options: argparse.Namespace, report: Report
) -> Iterator[dict[str, Any]]:
    cf = clients(items[0][1][0])
    known = _known([key for _, (_, key) in items], cf.head, report)
    wanted = [{"path": key, "tags": new} for new, (_, key) in items if key in known]
    for result in cf.iget(wanted, raise_errors=False, progress=False, max_size=_LARGEST):
        if result["error"] is not None:
            report.failed(result["path"], result["error"])
            continue
        info = known[result["path"]]
        yield {
            "path": result["tags"],
            "content": result["content"],
            "content_type": info.content_type,
            "cache_control": info.headers.get("cache-control"),
            "compress": _codec(options),
            "compression_level": options.level,
            "tags": result["path"],
        }


def _known(names: Sequence[str], head: Any, report: Report) -> dict[str, ObjectInfo]:
    try:
        found: dict[str, ObjectInfo] = head(names)
    except BatchError as error:
        report.results(error.errors)
        found = {result["path"]: result["content"] for result in error.results if result["error"] is None}
    for name, info in list(found.items()):
        if (info.size or 0) > _LARGEST:
            report.failed(name, ValueError("more than 1 GiB, and a file is encoded in memory here"))
            del found[name]
    return found
