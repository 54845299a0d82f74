"""``sync`` and ``mv``: what makes one place like another, and what takes files from one to the other.

Removes nothing that has not arrived, and nothing after an error. Names without a scheme are local folders.
"""

from __future__ import annotations

import argparse
import os
from itertools import groupby

from ..files import ArtifactFiles
from ..paths import check_name, last_of
from ..shortcuts import SyncPlan
from ..shortcuts import sync as make_alike
from .places import Clients, Place, file_names, is_cloudpath, locate, names_below, passes, writable
from .report import Report, UsageError, say
from .writing import committing


def _located(text: str) -> Place:
    return locate(text if is_cloudpath(text) else f"file://{os.path.abspath(text)}{'/' * text.endswith('/')}")


def sync(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Make a folder like another one."""
    source, target = _folder(options.source), writable(_folder(options.target))
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
    for _, run in groupby(sorted(sources, key=lambda place: place.root), key=lambda place: place.root):
        places = [*run]
        here = clients(places[0])
        pairs = [pair for place in places for pair in _pairs(options, here, place, target)]
        pairs = [pair for pair in pairs if all(passes(check_name, name, report) for name in pair)]
        with committing(options, target, there, report):
            results = here.moves(
                pairs, there, overwrite=options.overwrite, raise_errors=False, progress=options.progress
            )
        for result in results:
            if result["error"] is not None:
                report.failed(result["path"], result["error"])
    return report.code


def _pairs(options: argparse.Namespace, here: ArtifactFiles, place: Place, target: Place) -> list[tuple[str, str]]:
    """What is to be moved, each with its name at the target."""
    prefix, names = names_below(here, place) if options.recursive else ("", [place.name])
    if options.recursive and names != [place.name]:
        return [(name, target.prefix + name[len(prefix) :]) for name in names]
    return [(place.name, target.prefix + last_of(place.name) if target.folder else target.name)]
