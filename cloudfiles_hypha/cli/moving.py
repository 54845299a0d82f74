"""``sync`` and ``mv``: what makes one place like another, and what takes files from one to the other.

Removes nothing that has not arrived, and nothing after an error. Names without a scheme are local folders.
"""

from __future__ import annotations

import argparse
import os
from itertools import groupby
from pathlib import Path

from ..backends import locate as locate_files
from ..backends.local import FileLocation
from ..disk.tree import check_targets
from ..files import ArtifactFiles
from ..paths import check_name, join_names, last_of
from ..plan.sync import COMPARE
from ..shortcuts import SyncPlan
from ..shortcuts import sync as make_alike
from ..transfers.tree import OVERWRITE
from .commands import Commands, add_patterns, add_writing, whole_number
from .places import Clients, Place, check_given, file_names, is_cloudpath, locate, names_below, passes, writable
from .report import Report, UsageError, say
from .writing import committing


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    command = commands.add("sync", sync, "Make a folder like another one: copy what differs.", bars=True)
    command.add_argument("source", metavar="SOURCE", help="CLOUDPATH or local folder")
    command.add_argument("target", metavar="TARGET", help="likewise")
    command.add_argument("--delete", action="store_true", help="remove from TARGET what is not in SOURCE")
    command.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    command.add_argument("--max-delete", type=whole_number(0), metavar="N", help="do nothing if more would be removed")
    command.add_argument("--allow-empty", action="store_true", help="an empty SOURCE is meant: remove everything")
    command.add_argument("--compare", choices=COMPARE, default="auto", help="sizes, and then what (default: auto)")
    add_patterns(command)
    add_writing(command)
    text = "Move files and folders; a file is removed only when it has arrived."
    command = commands.add("mv", mv, text, bars=True)
    command.add_argument("sources", nargs="+", metavar="SRC", help="CLOUDPATH of a file, with -r of a folder")
    command.add_argument("destination", metavar="DST", help="likewise; ends in a slash to be a folder")
    command.add_argument(
        "-r", dest="recursive", action="store_true", help="folders: what is in SRC goes directly below DST"
    )
    command.add_argument(
        "--overwrite", choices=OVERWRITE, default="always", help="which files to replace (default: always)"
    )
    command.add_argument("--create", action="store_true", help="make the artifact if there is none")


def _located(text: str) -> Place:
    if is_cloudpath(text):
        return locate(text)
    check_given(text)
    # as it is written: ".." behind a link means another folder to the system than to whoever reads the path
    return locate(f"file://{text if os.path.isabs(text) else os.path.join('.', text)}")


def sync(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Make a folder like another one."""
    source, target = _folder(options.source), writable(_folder(options.target))
    if target.scheme != "hypha" and options.comment is not None:
        raise UsageError(f"{target.text}: has no versions, so no --comment")
    here, there = clients.at(source), clients.at(target)
    with committing(options, target, there, report):
        done = make_alike(
            here,
            there,
            delete=options.delete,
            dry_run=options.dry_run,
            compare=options.compare,
            include=options.include,
            exclude=options.exclude,
            max_delete=options.max_delete,
            allow_empty=options.allow_empty,
            raise_errors=False,
            progress=options.progress,
        )
    with done.plan as plan:
        if options.dry_run:
            _show(plan)
    for result in done.results:
        if result["error"] is not None:
            report.failed(result["path"], result["error"])
    return report.code


def _folder(text: str) -> Place:
    if text.startswith(("http://", "https://")):
        raise UsageError(f"{text}: a web server cannot be listed, so it cannot be synchronised")
    return _located(text)


def _show(plan: SyncPlan) -> None:
    """A line for each file that would be copied or removed, fields separated by tabs."""
    for step in plan:
        if step.do != "keep":
            say(step.do, step.path, "" if step.size is None else str(step.size), step.why or step.compared)


def mv(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Move files and folders."""
    sources = [writable(_located(text)) for text in options.sources]
    target = writable(_located(options.destination))
    if not options.recursive:
        file_names(sources, "; move it with -r")
    if len(sources) > 1 and not target.folder:
        raise UsageError(f"{options.destination}: several files go into a folder; add a slash at the end")
    there = clients(target)
    plan: list[tuple[Place, list[tuple[str, str]]]] = []  # complete before the first file moves
    for _, run in groupby(sorted(sources, key=lambda place: place.root), key=lambda place: place.root):
        places = [*run]
        here = clients(places[0])
        pairs = [pair for place in places for pair in _pairs(options, here, place, target)]
        plan.append((places[0], [pair for pair in pairs if all(passes(check_name, name, report) for name in pair)]))
    _check(plan, target)
    for source, pairs in plan:
        here = clients(source)
        with committing(options, target, there, report):
            results = here.moves(
                pairs, there, overwrite=options.overwrite, raise_errors=False, progress=options.progress
            )
        for result in results:
            if result["error"] is not None:
                report.failed(result["path"], result["error"])
    return report.code


def _check(plan: list[tuple[Place, list[tuple[str, str]]]], target: Place) -> None:
    """Refuse what would move a file over one that has just arrived; each place is moved by a call of its own."""
    seen: set[str] = set()
    for _, pairs in plan:
        for _, new in pairs:
            if new in seen:
                raise UsageError(f"two sources would become {new!r}; nothing was moved")
            seen.add(new)
    place = locate_files(target.root)
    if isinstance(place, FileLocation):
        check_targets([Path(place.folder, new) for new in seen])  # where a disk takes two names for one, too
    written = {join_names(target.root, new) for new in seen}
    for source, pairs in plan:
        for name, _ in pairs:
            if join_names(source.root, name) in written:
                raise UsageError(f"{name!r}: would be both read and written to; nothing was moved")


def _pairs(options: argparse.Namespace, here: ArtifactFiles, place: Place, target: Place) -> list[tuple[str, str]]:
    """What is to be moved, each with its name at the target."""
    prefix, names = names_below(here, place) if options.recursive else ("", [place.name])
    if options.recursive and names != [place.name]:
        return [(name, target.prefix + name[len(prefix) :]) for name in names]
    return [(place.name, target.prefix + last_of(place.name) if target.folder else target.name)]
