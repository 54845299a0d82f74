"""``rm``, ``commit``, ``discard``, ``status``: what changes an artifact, and what becomes of it.

Removes nothing unless every listing it needs was complete. A run that leaves something staged says with which command
it is published, and its exit code is not 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import groupby

from ..errors import ArtifactNotFound, CommitError, TransferError
from ..files import ArtifactFiles
from ..paths import check_name
from .commands import Commands
from .places import Clients, Place, artifact_at, file_names, locate, names_below, passes, writable
from .report import OK, Report, UsageError, say


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    command = commands.add("rm", rm, "Remove files.", bars=True)
    command.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH")
    command.add_argument("-r", dest="recursive", action="store_true", help="folders, with everything in them")
    for name, run, text in (
        ("status", status, "Show the versions of an artifact, and what is staged."),
        ("commit", commit, "Publish what is staged in an artifact."),
        ("discard", discard, "Drop what is staged, restore what it had overwritten."),
    ):
        command = commands.add(name, run, text)
        command.add_argument("cloudpath", metavar="CLOUDPATH", help="the artifact: hypha://workspace/alias")
        if run is commit:
            command.add_argument("--comment", metavar="TEXT", help="what the commit says")
            command.add_argument("--version", metavar="NAME", help="what the new version is called")


def rm(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Remove files and folders."""
    places = [writable(locate(text)) for text in options.cloudpaths]
    if not options.recursive:
        file_names(places, "; remove it with -r")
    doomed: dict[str, dict[str, None]] = {}  # names by root, each once; complete before the first is removed
    for root, run in groupby(sorted(places, key=lambda place: place.root), key=lambda place: place.root):
        here = list(run)
        cf, marked = clients(here[0]), doomed.setdefault(root, {})
        if options.recursive:
            for place in here:
                marked.update(dict.fromkeys(names_below(cf, place)[1]))
            continue
        there = cf.exists([place.name for place in here])
        marked.update((name, None) for name, known in there.items() if known)
        for place in here:
            if not there[place.name]:
                report.failed(place.text, FileNotFoundError("no such file (folders are removed with -r)"))
    for place in {place.root: place for place in places}.values():
        names = [name for name in doomed[place.root] if passes(check_name, name, report)]
        if names:
            cf = clients(place)
            with committing(options, place, cf, report):
                report.results(cf.delete(names, raise_errors=False, progress=options.progress) or [])
    return report.code


@contextmanager
def committing(options: argparse.Namespace, target: Place, cf: ArtifactFiles, report: Report) -> Iterator[None]:
    """Around what is stored in one commit: what ends without one is remembered."""
    session: AbstractContextManager[object] = nullcontext()
    comment, version = getattr(options, "comment", None), getattr(options, "version", None)
    if comment is not None or version is not None:
        session = cf.staged(comment=comment, version=version)
    before = report.staged_warnings
    try:
        with session:
            yield
    except ArtifactNotFound as error:
        if getattr(options, "create", True):  # asked for, or nothing that this command could do
            raise
        raise UsageError(f"{target.root}: there is no such artifact; --create makes it") from error
    except BaseException as error:
        if target.scheme == "hypha" and _left_staged(cf, error):
            report.unpublished(target.root, options.server_url)
        raise
    if report.staged_warnings > before:
        report.unpublished(target.root, options.server_url)


def _left_staged(cf: ArtifactFiles, error: BaseException) -> bool:
    """Whether a write that ended with this error may have left something staged."""
    if isinstance(error, KeyboardInterrupt | SystemExit | CommitError):
        return True
    if isinstance(error, TransferError) and error.retryable:
        return True  # a server that was out of reach is not asked once more
    with suppress(TransferError):
        return bool(cf.status()["staged"])
    return False


def commit(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Publish what is staged."""
    place = artifact_at(options.cloudpath)
    version = clients(place).commit(comment=options.comment, version=options.version)
    say(f"{place.root}: published as {version or 'its latest version'}")
    return OK


def discard(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Drop what is staged."""
    place = artifact_at(options.cloudpath)
    dropped = clients(place).discard()
    say(f"{place.root}: {'what was staged is dropped' if dropped else 'nothing was staged'}")
    return OK


def status(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Say which versions there are, and what is staged: a line each, fields separated by tabs."""
    found = clients(artifact_at(options.cloudpath)).status()
    say("artifact", found["artifact"])
    for version in found["versions"]:
        say("version", str(version))
    if not found["staged"]:
        say("staged", "nothing")
        return OK
    say("staged", "a new version" if found["new_version"] else "changes of the latest version")
    for kind, names in (("upload", found["files"]), ("remove", found["removed"])):
        for name in names:
            say(kind, name)
    return OK
