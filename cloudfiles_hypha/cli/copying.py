"""``cp``: from a disk to an artifact, back, from one to another, and to and from streams.

Plans are complete before the first byte moves. Refuses to write outside of the folder that was named, and to replace
what is no file: a pipe, a device or ``/dev/stdout`` is written to.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from ..arguments import name_filter
from ..disk.tree import Landing, check_targets, descriptor_named, files_below, is_stream
from ..errors import ArtifactNotFound, ObjectNotFound, TransferError
from ..paths import check_name
from ..results import CopyResult, FileResult
from ..transfers.tree import OVERWRITE
from .commands import Commands, add_patterns, add_writing
from .places import Clients, Place, check_given, file_names, is_cloudpath, locate, names_below, passes, writable
from .reading import stream
from .report import OutputError, Report, UsageError, flush_out, write_out
from .writing import committing


def register(commands: Commands) -> None:
    """Add the command of this module."""
    command = commands.add("cp", cp, "Copy files and folders, to, from and between cloudpaths.", bars=True)
    command.add_argument("sources", nargs="+", metavar="SRC", help="file, folder, or CLOUDPATH; - is standard input")
    command.add_argument(
        "destination", metavar="DST", help="likewise; ends in a slash to be a folder; - is standard output"
    )
    command.add_argument(
        "-r", dest="recursive", action="store_true", help="folders as well: what is in SRC goes directly below DST"
    )
    command.add_argument(
        "--overwrite",
        choices=OVERWRITE,
        help="which files that are there to replace: those with other content (default; between cloudpaths: all), "
        "none, or older ones",
    )
    add_patterns(command)
    links = "below a local folder: copy what they lead to (default), nothing, or fail"
    command.add_argument("--symlinks", choices=("follow", "skip", "refuse"), help=links)
    command.add_argument(
        "--windows-names",
        action="store_true",
        help="to a disk: also names that Windows reserves (CON, aux.txt), where this system can hold them",
    )
    add_writing(command)
    command.add_argument("--version", metavar="NAME", help="begin a new version of that name, or just 'new'")


_WITH_R = "; copy it with -r"


def cp(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Copy, in the direction that the arguments say."""
    check_given(options.destination)
    to_cloud = is_cloudpath(options.destination)
    from_cloud = {is_cloudpath(text) for text in options.sources}
    if len(from_cloud) > 1:
        raise UsageError("local files and cloudpaths cannot be copied together; do one after the other")
    if not to_cloud:
        if from_cloud == {False}:
            raise UsageError("neither side is a cloudpath (scheme://...); for local files there is cp")
        if options.create or options.comment is not None or options.version is not None:
            raise UsageError("--create, --comment and --version are for copying to an artifact")
        if options.destination == "-" or is_stream(options.destination):
            return _pour(options, clients, report)
        return _download(options, clients, report)
    if options.windows_names:
        raise UsageError("--windows-names is for copying to a disk")
    target = writable(locate(options.destination))
    if target.scheme != "hypha" and (options.comment is not None or options.version is not None):
        raise UsageError(f"{target.text}: has no versions, so no --comment and no --version")
    if from_cloud == {True} or options.sources == ["-"]:
        for name in ("include", "exclude", "symlinks", *(["overwrite"] if options.sources == ["-"] else ())):
            if getattr(options, name):
                raise UsageError(f"--{name} is for copying between a disk and the cloud")
    if from_cloud == {True}:
        return _copy(options, target, clients, report)
    return _upload(options, target, clients, report)


def _into_folder(options: argparse.Namespace, target: Place, clients: Clients) -> bool:
    """Whether the target is a folder that files keep their names in, or the name that the one file gets."""
    if target.folder or options.recursive or len(options.sources) > 1:
        return True
    try:
        return clients(target).isdir(target.name)
    except ObjectNotFound:  # the artifact is not there (yet)
        return False


def _upload(options: argparse.Namespace, target: Place, clients: Clients, report: Report) -> int:
    if "-" in options.sources:
        if len(options.sources) > 1 or target.folder or options.recursive:
            raise UsageError("-: standard input is copied alone, and to a file that is named")
        if sys.stdin is None:
            raise UsageError("-: standard input is closed")
        return _put(options, target, clients, report, [(target.name, sys.stdin.buffer)], 1)
    wanted = name_filter(options.include, options.exclude)
    files: dict[str, str] = {}  # key to local path
    into_folder: bool | None = None
    for source in options.sources:
        if os.path.isdir(source):
            if not options.recursive:
                raise UsageError(f"{source}: is a folder{_WITH_R}")
            below = files_below(source, report.failed, options.symlinks or "follow")
            found: Iterable[tuple[str, str]] = (entry for entry in below if wanted(entry[0]))
            prefix = target.prefix
        elif not os.path.isfile(source):
            missing = not os.path.exists(source)
            reason = "no such file or folder" if missing else "not a regular file; pipe it in, with - as the source"
            report.failed(source, FileNotFoundError(reason) if missing else OSError(reason))
            continue
        else:
            if into_folder is None:
                into_folder = _into_folder(options, target, clients)
            found = [(os.path.basename(source) if into_folder else target.name, source)]
            prefix = target.prefix if into_folder else ""
        for name, path in found:
            if not passes(check_name, prefix + name, report):
                continue
            if prefix + name in files:
                raise UsageError(f"{files[prefix + name]} and {path}: both would become {prefix + name!r}")
            files[prefix + name] = path
    if not files:
        return report.code
    cf = clients(target)
    with committing(options, target, cf, report):
        report.results(
            cf.upload(
                files.items(), overwrite=options.overwrite or "different", raise_errors=False, progress=options.progress
            )
        )
    return report.code


def _put(
    options: argparse.Namespace, target: Place, clients: Clients, report: Report, files: Iterable[Any], total: int
) -> int:
    """Store files in one commit."""
    if total:
        cf = clients(target)
        with committing(options, target, cf, report):
            report.results(cf.puts(files, total=total, raise_errors=False, progress=options.progress))
    return report.code


def sources(options: argparse.Namespace, clients: Clients, into_folder: bool) -> Iterator[tuple[Place, str, str]]:
    """Where each file to copy is, its key there, and the name that it keeps: empty if it takes that of the target."""
    places = [locate(text) for text in options.sources]
    if not options.recursive:
        file_names(places, _WITH_R)
    for place in places:
        prefix, keys = "", [place.name]
        if options.recursive:
            if place.scheme in ("http", "https"):
                raise UsageError(f"{place.text}: folders of web servers are not copied; leave out -r, and name files")
            prefix, keys = names_below(clients(place), place)
        for key in keys:
            if prefix == place.prefix:  # found in a folder
                yield place, key, key[len(prefix) :]
            else:
                yield place, key, key.rpartition("/")[2] if into_folder else ""


def _download(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    target = Path(options.destination)
    is_folder = options.destination.endswith(("/", os.sep)) or target.is_dir()
    into_folder = is_folder or options.recursive or len(options.sources) > 1
    wanted = name_filter(options.include, options.exclude)
    plan: dict[Path, tuple[Place, str, str]] = {}  # complete before the first byte moves
    below = Landing(target, windows_names=options.windows_names)
    for place, key, name in sources(options, clients, into_folder):
        if not wanted(name or key):
            continue
        try:
            check_name(key)
            # a target that was named may be a link to the file to write; names that come from elsewhere may not
            landing = Path(os.path.realpath(target))
            if name:
                landing = below.place(name)
        except ValueError as error:
            report.failed(key, error)
            continue
        if landing in plan:
            raise UsageError(f"two sources would be written to {str(landing)!r}; nothing was copied")
        plan[landing] = (place, key, name)
    check_targets(list(plan))
    by_root: dict[str, list[dict[str, str]]] = {}
    at: dict[str, Place] = {}
    for landing, (place, key, name) in plan.items():
        at[place.root] = place
        by_root.setdefault(place.root, []).append({"path": key, "local_path": name or landing.name})
    folder = target if into_folder else Path(os.path.realpath(target)).parent
    results: list[FileResult] = []  # said at the end, lest they break the progress bar
    try:
        for root, files in by_root.items():
            results += clients(at[root]).download(
                files,
                folder,
                overwrite=options.overwrite or "different",
                windows_names=options.windows_names,
                raise_errors=False,
                progress=options.progress,
            )
    finally:
        for result in results:
            if result["error"] is not None:
                place = plan[Path(result["local_path"])][0]
                report.failed(result["path"], _folder_or(result["error"], clients, place, options))
    return report.code


def _folder_or(error: Exception, clients: Clients, place: Place, options: argparse.Namespace) -> Exception:
    """Why a file could not be copied; of one that is not there, whether a folder of that name is."""
    if isinstance(error, ObjectNotFound) and not isinstance(error, ArtifactNotFound) and not options.recursive:
        try:
            if place.scheme not in ("http", "https") and clients(place).isdir(place.name):
                return UsageError(f"is a folder{_WITH_R}")
        except TransferError:
            return error
    return error


def _pour(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """One file to standard output, a pipe or a device."""
    target = options.destination
    if len(options.sources) > 1 or options.recursive:
        raise UsageError(f"{target}: is no folder; a single file can be written to it (for several there is cat)")
    for name in ("overwrite", "include", "exclude", "symlinks", "windows_names"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')}: makes no sense with {target}, which is only written to")
    place = locate(options.sources[0])
    file_names([place], _WITH_R)
    cf = clients(place)
    try:
        if target == "-":
            stream(cf, place, write_out)
            flush_out()
            return report.code
        with _opened(target) as file:
            stream(cf, place, file.write)
    except TransferError as error:
        report.failed(place.name, _folder_or(error, clients, place, options))
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None
    return report.code


def _opened(target: str) -> IO[bytes]:
    """What is at a path, to be written to where it stands."""
    number = descriptor_named(target)
    try:
        if number is not None:
            return open(os.dup(number), "wb")  # opened by its name it would begin again at the beginning
        descriptor = os.open(target, os.O_WRONLY | os.O_NONBLOCK)  # a pipe that nobody reads is an error, not a wait
    except OSError as error:
        reason = "nobody reads from this pipe" if error.errno == errno.ENXIO else error.strerror
        raise OSError(error.errno, reason) from None
    os.set_blocking(descriptor, True)
    return open(descriptor, "wb")


def _copy(options: argparse.Namespace, target: Place, clients: Clients, report: Report) -> int:
    """From one cloudpath to another."""
    into_folder = _into_folder(options, target, clients)
    plan: dict[str, tuple[Place, str]] = {}
    for place, key, name in sources(options, clients, into_folder):
        new = target.prefix + name if name else target.name
        if not passes(check_name, key, report):
            continue
        if new in plan:
            raise UsageError(f"two sources would become {new!r}; nothing was copied")
        plan[new] = (place, key)
    for place, key in plan.values():
        if place.root == target.root and key in plan:
            raise UsageError(f"{key!r}: would be both read and written to; nothing was copied")
    if not plan:
        return report.code
    cf = clients(target)
    with committing(options, target, cf, report):
        for _, run in groupby(sorted(plan.items(), key=_root), key=_root):
            items = [*run]
            results: list[CopyResult] = cf.transfer_from(
                clients(items[0][1][0]),
                [(key, new) for new, (_, key) in items],
                overwrite=options.overwrite or "always",
                raise_errors=False,
                progress=options.progress,
            )
            for result in results:
                if result["error"] is not None:
                    place = plan[result["target"]][0]
                    report.failed(result["path"], _folder_or(result["error"], clients, place, options))
    return report.code


def _root(item: tuple[str, tuple[Place, str]]) -> str:
    return item[1][0].root
