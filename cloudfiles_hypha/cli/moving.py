"""``sync`` and ``mv``: what makes one place like another, and what takes files from one to the other.

Removes nothing that has not arrived, and nothing after an error. Names without a scheme are local folders.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..arguments import name_filter
from ..backends import locate as locate_files
from ..backends.local import FileLocation
from ..disk.tree import check_targets
from ..errors import ObjectNotFound
from ..paths import check_name, join_names, last_of
from ..plan.sync import COMPARE
from ..shortcuts import SyncPlan
from ..shortcuts import sync as make_alike
from ..transfers.tree import OVERWRITE
from .choosing import chosen
from .commands import Commands, add_patterns, add_writing, whole_number
from .copying import add_choosing, check_choosing, names_there, several, sources, tell_copy, would
from .limiting import add_limit, check_limit
from .places import (
    Clients,
    Place,
    check_apart,
    check_given,
    folder_or,
    is_cloudpath,
    is_empty_folder,
    locate,
    passes,
    writable,
)
from .recording import add_recording
from .report import THERE, Report, UsageError
from .writing import committing


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    command = commands.add("sync", sync, "Make a folder like another one: copy what differs.", bars=True)
    command.add_argument("source", metavar="SOURCE", help="CLOUDPATH or local folder")
    command.add_argument("target", metavar="TARGET", help="likewise")
    command.add_argument("--delete", action="store_true", help="remove from TARGET what is not in SOURCE")
    command.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, and do nothing")
    command.add_argument("--max-delete", type=whole_number(0), metavar="N", help="do nothing if more would be removed")
    command.add_argument("--allow-empty", action="store_true", help="an empty SOURCE is meant: remove everything")
    command.add_argument("--compare", choices=COMPARE, default="auto", help="sizes, and then what (default: auto)")
    add_patterns(command)
    add_writing(command)
    add_limit(command)
    add_recording(command)
    text = "Move files and folders; a file is removed only when it has arrived."
    command = commands.add("mv", mv, text, bars=True)
    command.add_argument("sources", nargs="+", metavar="SRC", help="CLOUDPATH of a file, with -r of a folder")
    command.add_argument("destination", metavar="DST", help="likewise; ends in a slash to be a folder")
    command.add_argument(
        "-r", "--recursive", action="store_true", help="folders: what is in SRC goes directly below DST"
    )
    command.add_argument(
        "--overwrite", choices=OVERWRITE, default="always", help="which files to replace (default: always)"
    )
    add_choosing(command)
    add_patterns(command)
    command.add_argument("--create", action="store_true", help="make the artifact if there is none")
    add_limit(command)
    add_recording(command)


def _located(text: str) -> Place:
    return locate(_as_cloudpath(text))


def _as_cloudpath(text: str) -> str:
    check_given(text)
    if is_cloudpath(text):
        return text
    # as it is written: ".." behind a link means another folder to the system than to whoever reads the path
    return f"file://{text if os.path.isabs(text) else os.path.join('.', text)}"


def sync(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Make a folder like another one."""
    source, target = _folder(options.source), writable(_folder(options.target))
    check_limit(options, options.source, options.target)
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
        nothing = not any(plan.counts.values()) and not done.results and not (options.include or options.exclude)
        if nothing and source.name and not options.allow_empty and not is_empty_folder(source):
            # where folders are the files in them, it may be a typing error
            raise ObjectNotFound("no such folder; --allow-empty says that it may be empty", path=source.text)
        if options.dry_run:
            _show(plan, report)
        report.kept(THERE, plan.counts["keep"])
    for result in done.results:
        old, new = (
            join_names(source.root, source.name, result["path"]),
            join_names(target.root, target.name, result["target"]),
        )
        if result["error"] is not None:
            report.failed(result["path"], result["error"], target=new)
        elif result["done"] == "removed":
            report.done("removed", new)
        else:
            tell_copy(report, result, old, new)
    return report.code


def _folder(text: str) -> Place:
    if text.startswith(("http://", "https://")):
        raise UsageError(f"{text}: a web server cannot be listed, so it cannot be synchronised")
    return _located(text)


def _show(plan: SyncPlan, report: Report) -> None:
    """A line for each file that would be copied or removed, fields separated by tabs."""
    for step in plan:
        if step.do != "keep":
            why = step.why or step.compared
            size = "" if step.size is None else str(step.size)
            report.would(step.do, step.size, why)
            report.tell(
                step.do, step.path, size, why, dry_run=True, do=step.do, path=step.path, size=step.size, why=why
            )


_WITH_R = "; move it with -r"


def mv(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Move files and folders."""
    check_choosing(options)
    check_limit(options, *options.sources, options.destination)
    named = chosen([_as_cloudpath(text) for text in options.sources], clients)
    for each in named:
        writable(each.place)
    target = writable(_located(options.destination))
    if not target.folder and (len(named) > 1 or (several(options, named) and not options.recursive)):
        raise UsageError(f"{options.destination}: several files go into a folder; add a slash at the end")
    there = clients(target)
    wanted = name_filter(options.include, options.exclude)
    by_root: dict[str, tuple[Place, list[tuple[str, str]]]] = {}
    for place, key, name in sources(options, named, clients, target.folder, report, _WITH_R):
        pair = (key, target.prefix + name if name else target.name)
        if wanted(name or last_of(key)) and all(passes(check_name, path, report) for path in pair):
            by_root.setdefault(place.root, (place, []))[1].append(pair)
    plan = [*by_root.values()]
    _check(plan, target)
    if options.dry_run:
        _show_moves(plan, target, options, clients, report)
        return report.code
    for place, pairs in plan:
        here = clients(place)
        with committing(options, target, there, report):
            results = here.moves(
                pairs, there, overwrite=options.overwrite, raise_errors=False, progress=options.progress
            )
        for result in results:
            old, new = join_names(place.root, result["path"]), join_names(target.root, result["target"])
            if result["error"] is not None:
                reason = result["error"]
                if not options.recursive:
                    reason = folder_or(reason, here, place, result["path"], _WITH_R)
                report.failed(old, reason, target=new)
            else:
                tell_copy(report, result, old, new)
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
    check_apart((((source.root, old), (target.root, new)) for source, pairs in plan for old, new in pairs), "moved")


def _show_moves(
    plan: list[tuple[Place, list[tuple[str, str]]]],
    target: Place,
    options: argparse.Namespace,
    clients: Clients,
    report: Report,
) -> None:
    """A line for each file that would be moved or left where it is."""
    for source, pairs in plan:
        there = names_there(clients, target, [new for _, new in pairs])
        results = clients(target).transfer_from(
            clients(source), pairs, overwrite=options.overwrite, raise_errors=False, progress=False, dry_run=True
        )
        for result in results:
            old, new = join_names(source.root, result["path"]), join_names(target.root, result["target"])
            would(report, result, old, new, result["target"] in there, "move")
