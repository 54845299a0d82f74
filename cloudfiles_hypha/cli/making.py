"""``touch``, ``mkdir``: empty files, and folders where there is such a thing without files in it."""

from __future__ import annotations

import argparse
import os
from itertools import groupby

from ..backends import locate as locate_files
from ..backends.local import FileLocation
from ..errors import BatchError, CommitError
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
    for _, run in groupby(sorted(places, key=lambda place: place.root), key=lambda place: place.root):
        here = list(run)
        names = [place.name for place in here]
        cf = clients(here[0])
        failed: set[str] = set()
        with committing(options, here[0], cf, report):
            try:
                cf.touch(names)
            except CommitError:
                raise
            except BatchError as error:
                report.results(error.errors)
                failed = {result["path"] for result in error.errors}
        for name in dict.fromkeys(names) if report.as_json or report.verbose else ():
            if name not in failed:
                cloudpath = full_name(here[0], name)
                report.tell("there", cloudpath, path=name, cloudpath=cloudpath)
    return report.code


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
