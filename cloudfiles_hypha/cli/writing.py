"""``rm``, ``create``, ``stage``, ``commit``, ``discard``, ``status``: what changes an artifact, and what becomes of it.

Removes nothing unless every listing it needs was complete. A run that leaves something staged says with which command
it is published, and its exit code is not 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import groupby

from ..arguments import name_filter
from ..errors import ArtifactExists, ArtifactNotFound, CommitError, TransferError
from ..files import ArtifactFiles
from ..paths import check_name
from .commands import Commands, add_patterns
from .globs import fixed_folder, full_name, is_glob, locate_glob, matching, nothing_matches
from .places import Clients, Place, artifact_at, file_names, names_below, passes, writable
from .report import OK, Report, UsageError, complain, say


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    command = commands.add("rm", rm, "Remove files.", bars=True)
    command.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH", help="a file, a glob in quotes, or a folder")
    command.add_argument(
        "-r", "--recursive", dest="recursive", action="store_true", help="folders, with everything in them"
    )
    add_patterns(command)
    command.add_argument("-n", "--dry-run", action="store_true", help="print what would be removed, and remove nothing")
    for name, run, text in (
        ("status", status, "Show the versions of an artifact, and what is staged."),
        ("create", create, "Make an artifact without files, and publish it."),
        ("stage", stage, "Have what is written to an artifact from now on wait for commit."),
        ("commit", commit, "Publish what is staged in an artifact."),
        ("discard", discard, "Drop what is staged, restore what it had overwritten."),
    ):
        command = commands.add(name, run, text)
        command.add_argument("cloudpath", metavar="CLOUDPATH", help="the artifact: hypha://workspace/alias")
        if run in (commit, create):
            command.add_argument("--comment", metavar="TEXT", help="what the commit says")
        if run is commit:
            command.add_argument("--version", metavar="NAME", help="what the new version is called")


def rm(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Remove files and folders."""
    for text in options.cloudpaths:
        check_removable(text)
    places = [writable(locate_glob(text)) for text in options.cloudpaths]
    if not options.recursive:
        file_names(places, "; remove it with -r")
    wanted = name_filter(options.include, options.exclude)
    doomed: dict[str, dict[str, None]] = {}  # names by root, each once; complete before the first is removed
    for root, run in groupby(sorted(places, key=lambda place: place.root), key=lambda place: place.root):
        here = list(run)
        cf, marked = clients(here[0]), doomed.setdefault(root, {})
        for prefix, names in _meant(cf, here, options.recursive, report):
            chosen = (name for name in names if wanted(name[len(prefix) :]))
            marked.update(dict.fromkeys(name for name in chosen if passes(check_name, name, report)))
    if not any(doomed.values()) and not report.failures:
        complain("nothing is removed: there is no such name")
    for place in {place.root: place for place in places}.values():
        names = [*doomed[place.root]]
        if options.dry_run:
            for name in names:
                cloudpath = full_name(place, name)
                report.would("remove", None, "")
                report.tell("remove", cloudpath, do="remove", source=cloudpath)
        elif names:
            cf = clients(place)
            with committing(options, place, cf, report):
                results = cf.delete(names, raise_errors=False, progress=options.progress) or []
            for result in results:
                if result["error"] is None:
                    report.done("removed", full_name(place, result["path"]))
                else:
                    report.failed(result["path"], result["error"])
    return report.code


def check_removable(text: str) -> None:
    """Refuse the folder that one stands in, those above it, the home and the root, as Unix's ``rm`` does."""
    if "://" not in text and text.rstrip("/").rpartition("/")[2] in ("", ".", "..", "~"):
        raise UsageError(f"{text!r}: this folder is not removed as a whole; name what is in it")


def _meant(
    cf: ArtifactFiles, places: Sequence[Place], recursive: bool, report: Report
) -> Iterator[tuple[str, Sequence[str]]]:
    """Names that are to be removed, and the folder that each is looked at without when it comes to patterns."""
    plain = []
    for place in places:
        if is_glob(cf, place):
            names = [info.path for info in matching(cf, place, below=recursive)]
            if not names:
                report.failed(place.text, nothing_matches())
            yield fixed_folder(place), names
        elif recursive:
            prefix, names = names_below(cf, place)
            yield prefix or place.name[: place.name.rfind("/") + 1], names
        else:
            plain.append(place)
    there = cf.exists([place.name for place in plain])
    for place in plain:
        if there[place.name]:
            yield place.name[: place.name.rfind("/") + 1], [place.name]
        else:
            report.failed(place.text, FileNotFoundError("no such file (folders are removed with -r)"))


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
    if isinstance(error, TransferError) and not error.answered:
        return False
    if isinstance(error, KeyboardInterrupt | SystemExit | CommitError):
        return True
    if isinstance(error, TransferError) and error.retryable:
        return True  # a server that was out of reach is not asked once more
    with suppress(TransferError):
        return bool(cf.status()["staged"])
    return False


def create(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Make an artifact."""
    place = artifact_at(options.cloudpath)
    cf = clients(place)
    try:
        cf.create()
    except ArtifactExists as error:
        raise ArtifactExists("is there already; nothing was changed", path=place.root) from error
    try:
        version = cf.commit(comment=options.comment)
    except BaseException:
        report.unpublished(place.root, options.server_url)
        raise
    report.tell(f"{place.root}: made, published as {version}", cloudpath=place.root, version=version)
    return report.code


def stage(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Stage an artifact, and leave it so."""
    place = artifact_at(options.cloudpath)
    cf = clients(place)
    begun = cf.stage()
    what = "is staged" if begun else "was staged already"
    report.tell(f"{place.root}: {what}; commit publishes, discard drops", cloudpath=place.root, begun=begun)
    return OK


def commit(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Publish what is staged."""
    place = artifact_at(options.cloudpath)
    version = clients(place).commit(comment=options.comment, version=options.version)
    line = f"{place.root}: published as {version or 'its latest version'}"
    report.tell(line, cloudpath=place.root, version=version or None)
    return OK


def discard(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Drop what is staged."""
    place = artifact_at(options.cloudpath)
    dropped = clients(place).discard()
    what = "what was staged is dropped" if dropped else "nothing was staged"
    report.tell(f"{place.root}: {what}", cloudpath=place.root, dropped=dropped)
    return OK


def status(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Say which versions there are, and what is staged: a line each, fields separated by tabs."""
    found = clients(artifact_at(options.cloudpath)).status()
    if options.json:
        report.tell(**found)
        return OK
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
