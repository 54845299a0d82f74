"""``touch``, ``mkdir``: empty files, and folders where there is such a thing without files in it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from itertools import groupby

from ..backends import locate as locate_files
from ..backends.local import FileLocation
from ..errors import BatchError, CommitError, TransferError
from ..files import ArtifactFiles
from .commands import Commands, add_writing
from .globs import full_name
from .places import Clients, check_given, file_names, is_cloudpath, locate, writable
from .report import Report, UsageError
from .writing import committing


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    command = commands.add("touch", touch, "Make empty files where there are none; what is there stays as it is.")
    command.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH")
    add_writing(command)
    command = commands.add("mkdir", mkdir, "Make local folders, and those above them.")
    command.add_argument("folders", nargs="+", metavar="FOLDER", help="a path, or file:///path")


def touch(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Make empty files."""
    places = [writable(locate(text)) for text in options.cloudpaths]
    file_names(places, "; folders exist by the files in them, so touch one of these")
    for place in places:
        if place.scheme != "hypha" and options.comment is not None:
            raise UsageError(f"{place.text}: has no versions, so no --comment")
    by_root = groupby(sorted(places, key=lambda place: place.root), key=lambda place: place.root)
    together = [list(run) for _, run in by_root]
    for here in together:
        cf = clients(here[0])
        try:
            with committing(options, here[0], cf, report):
                made = _made(cf, [place.name for place in here], report)
        except (TransferError, UsageError) as error:  # all that is asked for in this bucket or artifact
            if len(together) == 1:
                raise
            for place in here:
                report.failed(place.text, error)
            continue
        for name in made if report.as_json or report.verbose else ():
            cloudpath = full_name(here[0], name)
            report.tell("there", cloudpath, path=name, cloudpath=cloudpath)
    return report.code


def _made(cf: ArtifactFiles, names: Sequence[str], report: Report) -> list[str]:
    """The names of files that are there now."""
    left = list(dict.fromkeys(names))
    while left:
        try:
            cf.touch(left)
        except CommitError:
            raise
        except (
            BatchError
        ) as error:  # some of which it is not even known whether they are there keep all from being made
            report.results(error.errors)
            failed = {result["path"] for result in error.errors}
            if failed.isdisjoint(left):
                raise
            left = [name for name in left if name not in failed]
        else:
            break
    return left


def mkdir(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Make local folders; those that are there are no error."""
    for folder in [_local(text) for text in options.folders]:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            report.failed(folder, error)
        else:
            if report.as_json or report.verbose:
                report.tell("there", folder, path=folder)
    return report.code


def _local(text: str) -> str:
    check_given(text)
    if not is_cloudpath(text):
        return text
    location = locate_files(text)
    if isinstance(location, FileLocation):
        return location.folder
    raise UsageError(
        f"{text}: folders exist here by the files in them, so there is nothing to make; store a file below it"
    )
