"""``cp``: from a disk to an artifact, back, from one to another, and to and from streams.

Plans are complete before the first byte moves. Refuses to write outside of the folder that was named, and to replace
what is no file: a pipe, a device or ``/dev/stdout`` is written to.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from ..arguments import name_filter
from ..disk.tree import Landing, check_targets, descriptor_named, files_below, is_stream
from ..errors import ObjectNotFound, TransferError
from ..paths import check_name, join_names
from ..results import CopyResult, FileResult
from ..transfers.tree import OVERWRITE
from .choosing import Source, byte_size, chosen, codec_and_level, names_from
from .commands import Commands, add_patterns, add_writing
from .globs import fixed_folder, matching, nothing_matches
from .limiting import add_limit, check_limit
from .places import (
    Clients,
    Place,
    check_apart,
    check_given,
    file_names,
    folder_or,
    is_cloudpath,
    locate,
    names_below,
    passes,
    writable,
)
from .reading import stream
from .recording import add_recording
from .report import THERE, OutputError, Report, UsageError, flush_out, write_out
from .watching import Watch
from .writing import committing


def register(commands: Commands) -> None:
    """Add the command of this module."""
    command = commands.add("cp", cp, "Copy files and folders, to, from and between cloudpaths.", bars=True)
    command.add_argument("sources", nargs="+", metavar="SRC", help="file, folder, or CLOUDPATH; - is standard input")
    command.add_argument(
        "destination", metavar="DST", help="likewise; ends in a slash to be a folder; - is standard output"
    )
    command.add_argument(
        "-r", "--recursive", action="store_true", help="folders as well: what is in SRC goes directly below DST"
    )
    command.add_argument(
        "--overwrite",
        choices=OVERWRITE,
        help="which files that are there to replace: those with other content (default; between cloudpaths: all), "
        "none, or older ones",
    )
    add_choosing(command)
    add_patterns(command)
    links = "below a local folder: copy what they lead to (default), nothing, or fail"
    command.add_argument("--symlinks", choices=("follow", "skip", "refuse"), help=links)
    command.add_argument(
        "--windows-names",
        action="store_true",
        help="to a disk: also names that Windows reserves (CON, aux.txt), where this system can hold them",
    )
    command.add_argument(
        "--compress",
        type=codec_and_level,
        metavar="CODEC[:LEVEL]",
        help="upload encoded: gzip, br, zstd, xz or bz2; what is stored so is decoded when it is read",
    )
    command.add_argument("--part-size", type=byte_size, metavar="SIZE", help="of large files' parts, as 64M")
    add_limit(command)
    command.add_argument(
        "--checksum",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="to a disk: compare what arrives with the store's digest, besides its length (default)",
    )
    add_writing(command)
    command.add_argument("--version", metavar="NAME", help="begin a new version of that name, or just 'new'")
    add_recording(command)


def add_choosing(command: argparse.ArgumentParser) -> None:
    """Which files, and whether to begin."""
    command.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, and do nothing")
    command.add_argument(
        "--files-from", metavar="FILE", help="only these names below SRC, a folder: one a line; - is standard input"
    )
    command.add_argument("-0", "--null", action="store_true", help="--files-from has a NUL behind each name")


def check_choosing(options: argparse.Namespace) -> None:
    """Refuse a list of names that says not below what."""
    if options.files_from is None:
        if options.null:
            raise UsageError("-0 says how the names of --files-from are separated; name that file as well")
    elif len(options.sources) != 1:
        raise UsageError("--files-from has names below one folder; give that as the only SRC")


_WITH_R = "; copy it with -r"


def cp(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Copy, in the direction that the arguments say."""
    for text in (*options.sources, options.destination):
        check_given(text)
    check_choosing(options)
    check_limit(options, *options.sources, options.destination)
    to_cloud = is_cloudpath(options.destination)
    from_cloud = {is_cloudpath(text) for text in options.sources}
    if len(from_cloud) > 1:
        raise UsageError("local files and cloudpaths cannot be copied together; do one after the other")
    if not to_cloud:
        if from_cloud == {False}:
            raise UsageError(
                "neither side is a cloudpath, which begins with hypha://, s3:// or another scheme; between folders of "
                "this machine there are sync, mv and the system's own cp"
            )
        if options.create or options.comment is not None or options.version is not None:
            raise UsageError("--create, --comment and --version are for copying to an artifact")
        if options.compress is not None:
            raise UsageError("--compress is for uploads; what is stored encoded is decoded when it comes down")
        if options.destination == "-" or is_stream(options.destination):
            return _pour(options, clients, report)
        return _download(options, clients, report)
    if options.windows_names:
        raise UsageError("--windows-names is for copying to a disk")
    if not options.checksum:
        raise UsageError("--no-checksum is for copying to a disk; what is stored is always compared")
    clients.part_size = options.part_size
    target = writable(locate(options.destination))
    if target.scheme != "hypha" and (options.comment is not None or options.version is not None):
        raise UsageError(f"{target.text}: has no versions, so no --comment and no --version")
    if from_cloud == {True} or options.sources == ["-"]:
        for name in ("include", "exclude", "symlinks", *(["overwrite"] if options.sources == ["-"] else ())):
            if getattr(options, name):
                raise UsageError(f"--{name} is for copying between a disk and the cloud")
    if from_cloud == {True} and options.compress is not None:
        raise UsageError("--compress is for files of a disk; from cloudpath to cloudpath they stay as they are stored")
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
        if options.dry_run or options.files_from:
            raise UsageError(
                "-: of standard input nothing is known before it is read, so no --dry-run, no --files-from"
            )
        return _put(options, target, clients, report, [(target.name, sys.stdin.buffer)], 1)
    wanted = name_filter(options.include, options.exclude)
    files: dict[str, str] = {}  # key to local path
    into_folder: bool | None = None
    for source in options.sources:
        if options.files_from is not None:
            if not os.path.isdir(source):
                raise UsageError(f"{source}: is no folder, and --files-from has names below one")
            named = _named_below(source, options, report)
            found: Iterable[tuple[str, str]] = (entry for entry in named if wanted(entry[0]))
            prefix = target.prefix
        elif os.path.isdir(source):
            if not options.recursive:
                raise UsageError(f"{source}: is a folder{_WITH_R}")
            below = files_below(source, report.failed, options.symlinks or "follow")
            found = (entry for entry in below if wanted(entry[0]))
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
    check_apart(((("", path), (target.root, key)) for key, path in files.items()), "copied")
    cf = clients(target)
    if isinstance(options.progress, Watch) and options.progress.wants_sizes:
        options.progress.know_all({key: os.path.getsize(path) for key, path in files.items() if os.path.exists(path)})
    codec, level = options.compress or (None, None)
    upload = partial(
        cf.upload,
        files.items(),
        overwrite=options.overwrite or "different",
        compress=codec,
        compression_level=level,
        raise_errors=False,
        progress=options.progress,
    )
    if options.dry_run:
        results = upload(dry_run=True, progress=False)
        there = names_there(clients, target, [result["path"] for result in results if not result["skipped"]])
        for result in results:
            new = result["path"]
            would(report, result, result["local_path"], join_names(target.root, new), new in there)
        return report.code
    with committing(options, target, cf, report):
        report.results(upload(), target=target.root)
    return report.code


def _named_below(folder: str, options: argparse.Namespace, report: Report) -> Iterator[tuple[str, str]]:
    """The name and the path of each file of a list."""
    for name in names_from(options):
        path = os.path.join(folder, name)
        if not passes(check_name, name, report):
            continue
        if os.path.isfile(path):
            yield name, path
        else:
            there = os.path.exists(path)
            report.failed(path, OSError("not a regular file") if there else FileNotFoundError("no such file"))


def names_there(clients: Clients, target: Place, names: list[str]) -> set[str]:
    """Those of the names that are at the target, which may have to be made."""
    try:
        return {name for name, known in clients(target).exists(names).items() if known}
    except ObjectNotFound:
        return set()


def tell_copy(report: Report, result: CopyResult, source: str, target: str) -> None:
    """Say what became of a file that was to be copied or moved, and did not fail."""
    if result["done"] == "nothing":
        report.skipped(THERE, source, target, size=result["size"])
    else:
        report.done(result["done"], source, target, size=result["size"], verified=result["verified"])


def would(
    report: Report, result: FileResult | CopyResult, source: str, target: str, there: bool, verb: str = "copy"
) -> None:
    """Print what a copy would do with one file, and why."""
    error, size = result["error"], result["size"]
    if error is not None:
        report.failed(result["path"], error)
        return
    kept = result.get("skipped") or result.get("compared") is not None
    do, why = ("keep", THERE) if kept else (verb, "different" if there else "missing")
    report.would(do, size, why)
    report.tell(
        do,
        source,
        target,
        "" if size is None else str(size),
        why,
        dry_run=True,
        do=do,
        source=source,
        target=target,
        size=size,
        why=why,
    )


def _put(
    options: argparse.Namespace, target: Place, clients: Clients, report: Report, files: Iterable[Any], total: int
) -> int:
    """Store files in one commit."""
    if total:
        cf = clients(target)
        codec, level = options.compress or (None, None)
        with committing(options, target, cf, report):
            (result,) = cf.puts(
                files,
                total=total,
                compress=codec,
                compression_level=level,
                raise_errors=False,
                progress=options.progress,
            )
            if result["error"] is not None:
                report.failed(result["path"], result["error"])
            else:
                new = join_names(target.root, result["path"])
                report.done("copied", "-", new, size=result["size"], verified=result["verified"])
    return report.code


def sources(
    options: argparse.Namespace,
    named: Sequence[Source],
    clients: Clients,
    into_folder: bool,
    report: Report,
    hint: str = _WITH_R,
    sizes: dict[str, int | None] | None = None,
) -> Iterator[tuple[Place, str, str]]:
    """Where each file to copy is, its key there, and the name that it keeps: empty if it takes that of the target."""
    if options.files_from is not None:
        (source,) = named
        place = source.place
        if source.glob:
            raise UsageError(f"{options.sources[0]}: --files-from has names below one folder, and this is a glob")
        if place.scheme in ("http", "https", "file") and not place.folder:
            place = locate(f"{place.text}/")
        yield from ((place, place.prefix + name, name) for name in names_from(options))
        return
    if not options.recursive:
        file_names([source.place for source in named], hint)
    for text, source in zip(options.sources, named, strict=True):
        place = source.place
        if source.glob:
            infos = list(matching(clients(place), place, below=options.recursive))
            if not infos:
                report.failed(text, nothing_matches())
            if sizes is not None:
                sizes.update((info.path, info.size) for info in infos if info.size is not None)
            yield from ((place, info.path, info.path[len(fixed_folder(place)) :]) for info in infos)
            continue
        prefix, keys = "", [place.name]
        if options.recursive:
            if place.scheme in ("http", "https"):
                raise UsageError(f"{place.text}: folders of web servers are not copied; leave out -r, and name files")
            prefix, keys = names_below(clients(place), place, sizes)
        for key in keys:
            if prefix == place.prefix:  # found in a folder
                yield place, key, key[len(prefix) :]
            else:
                yield place, key, key.rpartition("/")[2] if into_folder else ""


def several(options: argparse.Namespace, named: Sequence[Source]) -> bool:
    """Whether more than one file is meant, so that the target is a folder."""
    plural = options.recursive or options.files_from is not None or len(named) > 1
    return bool(plural or any(source.glob for source in named))


def _download(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    target = Path(options.destination)
    is_folder = options.destination.endswith(("/", os.sep)) or target.is_dir()
    named = chosen(options.sources, clients)
    into_folder = is_folder or several(options, named)
    wanted = name_filter(options.include, options.exclude)
    plan: dict[Path, tuple[Place, str, str]] = {}  # complete before the first byte moves
    below = Landing(target, windows_names=options.windows_names)
    watch = options.progress if isinstance(options.progress, Watch) else None
    sizes: dict[str, int | None] | None = {} if watch is not None and watch.wants_sizes else None
    for place, key, name in sources(options, named, clients, into_folder, report, sizes=sizes):
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
    check_apart((((place.root, key), ("", str(landing))) for landing, (place, key, _) in plan.items()), "copied")
    by_root: dict[str, list[dict[str, str]]] = {}
    at: dict[str, Place] = {}
    for landing, (place, key, name) in plan.items():
        at[place.root] = place
        by_root.setdefault(place.root, []).append({"path": key, "local_path": name or landing.name})
    folder = target if into_folder else Path(os.path.realpath(target)).parent
    results: list[FileResult] = []  # said at the end, lest they break the progress bar
    try:
        for root, files in by_root.items():
            if watch is not None and sizes is not None:
                watch.know_all({file["path"]: sizes[file["path"]] for file in files if file["path"] in sizes})
            results += clients(at[root]).download(
                files,
                folder,
                overwrite=options.overwrite or "different",
                windows_names=options.windows_names,
                part_size=options.part_size,
                checksum=options.checksum,
                raise_errors=False,
                progress=options.progress,
                dry_run=options.dry_run,
            )
    finally:
        for result in results:
            place, key, _ = plan[Path(result["local_path"])]
            if options.dry_run and result["error"] is None:
                there = os.path.lexists(result["local_path"])
                would(report, result, join_names(place.root, key), result["local_path"], there)
            elif result["error"] is not None:
                source = join_names(place.root, key)
                reason = _reason(result["error"], clients, place, key, options, result["local_path"])
                report.failed(source, reason, target=result["local_path"])
            else:
                source, landed = join_names(place.root, key), result["local_path"]
                if result["skipped"]:
                    report.skipped(THERE, source, landed, size=result["size"])
                else:
                    size, verified, resumed = result["size"], result["verified"], result["resumed"]
                    report.done("copied", source, landed, size=size, verified=verified, resumed=resumed)
    return report.code


def _reason(
    error: Exception, clients: Clients, place: Place, key: str, options: argparse.Namespace, landing: str = ""
) -> Exception:
    """Why a file could not be copied; what a disk refused to take is said of the file there."""
    if landing and isinstance(error, OSError) and not isinstance(error, TransferError) and error.strerror:
        return OSError(f"{landing}: {error.strerror}")
    return error if options.recursive else folder_or(error, clients(place), place, key, _WITH_R)


def _pour(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """One file to standard output, a pipe or a device."""
    target = options.destination
    report.counts = False  # it is a filter, and those say nothing
    if options.json_said:
        raise UsageError(f"--json: makes no sense with {target}, which is for the file itself")
    if options.dry_run:
        raise UsageError(f"{target}: is only written to, so there is nothing that --dry-run could tell")
    if len(options.sources) > 1 or options.recursive or options.files_from is not None:
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
        report.failed(place.text, _reason(error, clients, place, place.name, options))
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
    named = chosen(options.sources, clients)
    into_folder = several(options, named) or _into_folder(options, target, clients)
    plan: dict[str, tuple[Place, str]] = {}
    for place, key, name in sources(options, named, clients, into_folder, report):
        new = target.prefix + name if name else target.name
        if not passes(check_name, key, report):
            continue
        if new in plan:
            raise UsageError(f"two sources would become {new!r}; nothing was copied")
        plan[new] = (place, key)
    for place, key in plan.values():
        if place.root == target.root and key in plan:
            raise UsageError(f"{key!r}: would be both read and written to; nothing was copied")
    check_apart((((place.root, key), (target.root, new)) for new, (place, key) in plan.items()), "copied")
    if not plan:
        return report.code
    cf = clients(target)
    there = names_there(clients, target, [*plan]) if options.dry_run else set()
    with nullcontext() if options.dry_run else committing(options, target, cf, report):
        for _, run in groupby(sorted(plan.items(), key=_root), key=_root):
            items = [*run]
            results: list[CopyResult] = cf.transfer_from(
                clients(items[0][1][0]),
                [(key, new) for new, (_, key) in items],
                overwrite=options.overwrite or "always",
                raise_errors=False,
                progress=options.progress,
                dry_run=options.dry_run,
            )
            for result in results:
                place, key = plan[result["target"]]
                source, new = join_names(place.root, key), join_names(target.root, result["target"])
                if options.dry_run and result["error"] is None:
                    would(report, result, source, new, result["target"] in there)
                elif result["error"] is not None:
                    report.failed(source, _reason(result["error"], clients, place, key, options), target=new)
                else:
                    tell_copy(report, result, source, new)
    return report.code


def _root(item: tuple[str, tuple[Place, str]]) -> str:
    return item[1][0].root
