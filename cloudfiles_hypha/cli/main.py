"""``cloudfiles-hypha``: the batch API for a shell.

Decides what is to be copied, listed or removed, and where it goes; ``files`` does it, ``localdisk`` knows the local
side. Exit codes: 0 all went well, 1 some item failed (each is named on standard error, the others are done), 2 what
was asked for makes no sense or could not begin, 130 interrupted.

Refuses to take a token as an argument (other users of a machine can read the arguments of a process), to write to a
version, to remove anything unless every listing it needs was complete, and to write outside the folder that was named.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from time import gmtime, strftime
from types import FrameType
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote

from ..disk.tree import check_targets, files_below, place_below
from ..errors import ArtifactNotFound, BatchError, ObjectNotFound, StagedWarning, TransferError, WithdrawnWarning
from ..files import ArtifactFiles
from ..models import FileResult, ObjectInfo, Result
from ..paths import check_name, parse_cloudpath
from ..retry import RetryPolicy
from ..transfers.folders import OVERWRITE, name_filter

PROGRAM = "cloudfiles-hypha"
OK, SOME_FAILED, NOT_BEGUN, BROKEN_PIPE, INTERRUPTED = 0, 1, 2, 141, 130
_CAT_AHEAD = 32  # files that ``cat`` has in memory at once
_LIST_AHEAD = 1000  # names that ``ls -l`` asks the sizes of at once

T = TypeVar("T")


class UsageError(ValueError):
    """What was asked for makes no sense; nothing has been done."""


# -- saying things ------------------------------------------------------------------------------------------------


def _printable(text: str) -> str:
    """``text`` on one line: a name made elsewhere is not to move a terminal's cursor, or to look like two names."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: repr(found[0])[1:-1], text)


def _complain(text: str) -> None:
    """One line on standard error, with nothing secret in it."""
    from ..devserver.server import scrub

    text = scrub(text, [os.environ.get("HYPHA_TOKEN", "")])
    text = re.sub(r"(https?://)[^/@\s]*@", r"\1***@", text)
    print(f"{PROGRAM}: {_printable(text)}", file=sys.stderr, flush=True)


def _describe(error: BaseException, path: str = "") -> str:
    """``path: message``, with a path that the message may have already."""
    text = str(error)
    if isinstance(error, TransferError):
        return text if error.path or not path else f"{path}: {text}"
    if isinstance(error, OSError) and error.strerror:
        text, path = error.strerror, path or str(error.filename or "")
    return f"{path}: {text}" if path and not text.startswith((f"{path}:", f"{path!r}:")) else text


class Report:
    """What failed so far."""

    def __init__(self) -> None:
        self.failures = 0

    def failed(self, path: str, error: BaseException) -> None:
        """Say which item failed, and why."""
        self.failures += 1
        _complain(_describe(error, path))

    def results(self, results: Sequence[Result | FileResult]) -> None:
        """Say which of these failed."""
        for result in results:
            if result["error"] is not None:
                self.failed(result["path"], result["error"])

    @property
    def code(self) -> int:
        """The exit code that this amounts to."""
        return SOME_FAILED if self.failures else OK


# -- cloudpaths ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A cloudpath taken apart. ``name`` is a file or a folder below ``root``, or empty for all that is there.

    ``folder`` says that it was written as a folder: with a slash at its end, or as the root.
    """

    text: str
    scheme: str
    root: str
    name: str
    folder: bool
    version: str | None = None

    @property
    def prefix(self) -> str:
        """What the names in this folder begin with."""
        return f"{self.name}/" if self.name else ""


def locate(text: str) -> Place:
    """Take a cloudpath apart, or raise ``ValueError``. Of a web address the last segment is the name."""
    path = parse_cloudpath(text)
    if path.scheme in ("http", "https"):
        host, _, rest = path.base.partition("://")[2].rstrip("/").partition("/")
        folder, _, last = rest.rpartition("/")
        if not last or text.endswith("/"):
            raise UsageError(f"{text}: names a folder, and web servers cannot be listed; name a file")
        root = f"{path.scheme}://{host}/{folder}/" if folder else f"{path.scheme}://{host}/"
        return Place(text, path.scheme, root, check_name(unquote(last)), False)
    name = path.prefix.rstrip("/")
    if path.scheme == "mem":
        root = f"mem://{path.bucket}"
    else:
        version = f"@{path.version}" if path.version else ""
        parts = (path.server, path.workspace, path.alias + version)
        root = f"hypha://{'/'.join(part for part in parts if part)}"
    return Place(text, path.scheme, root, name, not name or text.endswith("/"), path.version)


def _is_cloudpath(text: str) -> bool:
    return "://" in text


def _writable(place: Place) -> Place:
    if place.scheme in ("http", "https"):
        raise UsageError(f"{place.text}: a web server can only be read from")
    if place.version:  # the server would change the latest version instead
        raise UsageError(f"{place.text}: a version cannot be changed; leave out '@{place.version}'")
    return place


def _file_names(places: Sequence[Place]) -> None:
    for place in places:
        if place.folder:
            raise UsageError(f"{place.text}: names a folder, not a file")


class Clients:
    """One ``ArtifactFiles`` for each root, made on first use; all closed at the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = {
            "server_url": options.server_url,
            "num_threads": options.num_threads,
            "retry": RetryPolicy(elapsed=options.retry_for),
            "create": getattr(options, "create", False),
        }
        self._made: dict[str, ArtifactFiles] = {}

    def __call__(self, place: Place) -> ArtifactFiles:
        if place.root not in self._made:
            self._made[place.root] = ArtifactFiles(place.root, **self._options)
        return self._made[place.root]

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for client in self._made.values():
            client.close()


def _exists(cf: ArtifactFiles, place: Place) -> bool:
    """Whether there is such a file; for one written as a folder, whether anything is in it."""
    if not place.folder:
        return cf.exists(place.name)
    try:
        return cf.isdir(place.name) or (place.scheme == "hypha" and not place.name)  # an artifact may be empty
    except ObjectNotFound:
        return False


def _names_below(cf: ArtifactFiles, place: Place) -> tuple[str, list[str]]:
    """For ``-r``: the prefix and the names that begin with it, or "" and the one file. Complete, or an error."""
    names = list(cf.list(place.prefix))
    if place.folder:
        if place.name and not names:
            raise ObjectNotFound("no such folder", path=place.text)
        return place.prefix, names
    is_file = cf.exists(place.name)
    if is_file and names:
        raise UsageError(f"{place.text}: both a file and a folder; leave out -r, or add a slash at the end")
    if not is_file and not names:
        raise ObjectNotFound("no such file or folder", path=place.text)
    return ("", [place.name]) if is_file else (place.prefix, names)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


# -- ls, cat, exists, rm ------------------------------------------------------------------------------------------


def _ls(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    place = locate(options.cloudpath)
    cf = clients(place)
    any_found = False
    for names in _chunks(cf.list(place.prefix, flat=options.flat), _LIST_AHEAD if options.long else 1):
        any_found = True
        _show(cf, names, len(place.prefix), options.long, report)
    if not any_found and place.name:
        if place.folder or not cf.exists(place.name):
            raise ObjectNotFound("no such file or folder", path=place.text)
        _show(cf, [place.name], place.name.rfind("/") + 1, options.long, report)
    return report.code


def _show(cf: ArtifactFiles, names: Sequence[str], skip: int, long: bool, report: Report) -> None:
    infos: dict[str, ObjectInfo] = {}
    if long:
        try:
            infos = cf.head([name for name in names if not name.endswith("/") and _passes(check_name, name, report)])
        except BatchError as error:
            report.results(error.errors)
            infos = {result["path"]: result["content"] for result in error.results if result["error"] is None}
    for name in names:
        line = name[skip:]
        if long:
            info = infos.get(name, ObjectInfo(name))
            seconds = info.last_modified
            when = "-" if seconds is None else strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))
            line = f"{'-' if info.size is None else info.size:>14}  {when:>20}  {line}"
        print(_printable(line))


def _passes(check: Callable[[str], object], name: str, report: Report) -> bool:
    """Whether a name that came from a listing passes a check; one that does not is a failure of its own."""
    try:
        check(name)
    except ValueError as error:
        report.failed(name, error)
        return False
    return True


def _cat(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    places = [locate(text) for text in options.cloudpaths]
    _file_names(places)
    for _, run in groupby(places, key=lambda place: place.root):
        for chunk in _chunks(run, _CAT_AHEAD):
            for result in clients(chunk[0]).get([place.name for place in chunk], raise_errors=False):
                if result["error"] is not None:
                    report.failed(result["path"], result["error"])
                else:
                    _write_out(result["content"])
    sys.stdout.buffer.flush()
    return report.code


def _write_out(content: bytes) -> None:
    """Write all of it to standard output, which may take part of it at a time (it does with PYTHONUNBUFFERED)."""
    left = memoryview(content)
    while left:
        left = left[sys.stdout.buffer.write(left) :]


def _exists_command(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    place = locate(options.cloudpath)
    return OK if _exists(clients(place), place) else SOME_FAILED


def _rm(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    places = [_writable(locate(text)) for text in options.cloudpaths]
    if not options.recursive:
        _file_names(places)
    doomed: dict[str, dict[str, None]] = {}  # names by root, each once; complete before the first is removed
    for root, run in groupby(sorted(places, key=lambda place: place.root), key=lambda place: place.root):
        here = list(run)
        cf, marked = clients(here[0]), doomed.setdefault(root, {})
        if options.recursive:
            for place in here:
                marked.update(dict.fromkeys(_names_below(cf, place)[1]))
            continue
        there = cf.exists([place.name for place in here])
        marked.update((name, None) for name, known in there.items() if known)
        for place in here:
            if not there[place.name]:
                report.failed(place.text, FileNotFoundError("no such file (folders are removed with -r)"))
    for place in {place.root: place for place in places}.values():
        names = [name for name in doomed[place.root] if _passes(check_name, name, report)]
        if names:
            results = clients(place).delete(names, raise_errors=False, progress=options.progress)
            report.results(results or [])
    return report.code


# -- cp -----------------------------------------------------------------------------------------------------------


def _cp(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    to_cloud = _is_cloudpath(options.destination)
    from_cloud = {_is_cloudpath(text) for text in options.sources}
    if len(from_cloud) > 1:
        raise UsageError("local files and cloudpaths cannot be copied together; do one after the other")
    if not to_cloud:
        if options.destination == "-":
            raise UsageError("-: to write to standard output, use cat")
        if from_cloud == {False}:
            raise UsageError("neither side is a cloudpath (scheme://...); for local files there is cp")
        if options.create or options.comment is not None or options.version is not None:
            raise UsageError("--create, --comment and --version are for copying to an artifact")
        return _download(options, clients, report)
    target = _writable(locate(options.destination))
    if target.scheme != "hypha" and (options.comment is not None or options.version is not None):
        raise UsageError(f"{target.text}: has no versions, so no --comment and no --version")
    if from_cloud == {True} or options.sources == ["-"]:
        for name in ("overwrite", "include", "exclude", "symlinks"):
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
        return _put(options, target, clients, report, [(target.name, sys.stdin.buffer)], 1)
    wanted = name_filter(options.include, options.exclude)
    files: dict[str, str] = {}  # key to local path
    into_folder: bool | None = None
    for source in options.sources:
        if os.path.isdir(source):
            if not options.recursive:
                raise UsageError(f"{source}: is a folder; copy it with -r")
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
            if not _passes(check_name, prefix + name, report):
                continue
            if prefix + name in files:
                raise UsageError(f"{files[prefix + name]} and {path}: both would become {prefix + name!r}")
            files[prefix + name] = path
    if not files:
        return report.code
    cf = clients(target)
    with _committing(options, target, cf):
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
        with _committing(options, target, cf):
            report.results(cf.puts(files, total=total, raise_errors=False, progress=options.progress))
    return report.code


@contextmanager
def _committing(options: argparse.Namespace, target: Place, cf: ArtifactFiles) -> Iterator[None]:
    """Around what is stored in one commit."""
    session: AbstractContextManager[object] = nullcontext()
    if options.comment is not None or options.version is not None:
        session = cf.staged(comment=options.comment, version=options.version)
    try:
        with session:
            yield
    except ArtifactNotFound as error:
        if options.create:
            raise
        raise UsageError(f"{target.root}: there is no such artifact; --create makes it") from error
    except KeyboardInterrupt:
        if target.scheme == "hypha":
            _complain(f"{target.root}: interrupted; what was uploaded so far stays staged, unpublished")
        raise


def _sources(options: argparse.Namespace, clients: Clients, into_folder: bool) -> Iterator[tuple[Place, str, str]]:
    """Where each file to copy is, its key there, and the name that it keeps: empty if it takes that of the target."""
    places = [locate(text) for text in options.sources]
    if not options.recursive:
        _file_names(places)
    for place in places:
        prefix, keys = "", [place.name]
        if options.recursive and place.scheme not in ("http", "https"):
            prefix, keys = _names_below(clients(place), place)
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
    for place, key, name in _sources(options, clients, into_folder):
        if not wanted(name or key):
            continue
        try:
            check_name(key)
            # a target that was named may be a link to the file to write; names that come from elsewhere may not
            landing = place_below(target, name) if name else Path(os.path.realpath(target))
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
                files, folder, overwrite=options.overwrite or "different", raise_errors=False, progress=options.progress
            )
    finally:
        report.results(results)
    return report.code


def _copy(options: argparse.Namespace, target: Place, clients: Clients, report: Report) -> int:
    """From one cloudpath to another, through memory."""
    into_folder = _into_folder(options, target, clients)
    plan: dict[str, tuple[Place, str]] = {}
    for place, key, name in _sources(options, clients, into_folder):
        new = target.prefix + name if name else target.name
        if not _passes(check_name, key, report):
            continue
        if new in plan:
            raise UsageError(f"two sources would become {new!r}; nothing was copied")
        plan[new] = (place, key)
    errors: list[tuple[str, BaseException]] = []

    def fetched() -> Iterator[dict[str, object]]:
        for _, run in groupby(plan.items(), key=lambda item: item[1][0].root):
            items = list(run)
            wanted = [{"path": key, "tags": new} for new, (_, key) in items]
            for result in clients(items[0][1][0]).iget(wanted, raise_errors=False):
                if result["error"] is not None:
                    errors.append((result["path"], result["error"]))
                else:
                    kind = result["content_type"]
                    yield {"path": result["tags"], "content": result["content"], "content_type": kind}

    try:
        _put(options, target, clients, report, fetched(), len(plan))
    finally:
        for path, reason in errors:
            report.failed(path, reason)
    return report.code


def _verify(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    place = locate(options.cloudpath)
    found = clients(place).verify(options.folder, place.name)
    for kind, names in (("different", found["different"]), ("missing", found["missing"]), ("extra", found["extra"])):
        for name in names:
            print(f"{kind}\t{_printable(name)}")
    if found["same_size"]:
        _complain(f"{len(found['same_size'])} files were compared by their size alone: the server tells no digest")
    return SOME_FAILED if found["different"] or found["missing"] or found["extra"] else OK


# -- serve, demo --------------------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    from ..devserver.server import serve

    print(f"{PROGRAM}: starting; Ctrl-C stops. The environment to use follows.", file=sys.stderr, flush=True)
    return serve(options.directory, out=sys.stdout, workspace=options.workspace)


def _demo(options: argparse.Namespace) -> int:
    from ..devserver.demo import run_demo

    return run_demo(count=options.files, size=options.size, out=sys.stdout)


# -- the command line ---------------------------------------------------------------------------------------------


def _whole_number(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise ValueError(text)
        return number

    return whole_number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Bulk transfer for Hypha artifacts.",
        epilog="A CLOUDPATH is hypha://workspace/alias[@version][/path], mem://bucket[/path] or http(s)://host/path. "
        "The token is taken from the environment (HYPHA_TOKEN), and so is the server (HYPHA_SERVER_URL). "
        "Exit codes: 0 all went well, 1 some item failed, 2 not begun, 130 interrupted.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    reach = argparse.ArgumentParser(add_help=False)
    reach.add_argument("--server-url", metavar="URL", help="the Hypha server, if not that of HYPHA_SERVER_URL")
    reach.add_argument(
        "--num-threads", type=_whole_number(0), default=20, metavar="N", help="transfers at once (default: 20)"
    )
    reach.add_argument(
        "--retry-for",
        type=_whole_number(0),
        default=300,
        metavar="SECONDS",
        help="how long a server may be out of reach before an item is given up (default: 300)",
    )
    bars = argparse.ArgumentParser(add_help=False)
    bars.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")

    def add(name: str, run: Callable[..., int], text: str, *parents: argparse.ArgumentParser) -> Any:
        command = commands.add_parser(name, help=text, description=text, parents=parents)
        command.set_defaults(run=run, on_cloud=bool(parents))
        return command

    ls = add("ls", _ls, "List what is in a folder; names are relative to it.", reach)
    ls.add_argument("cloudpath", metavar="CLOUDPATH")
    ls.add_argument("--flat", action="store_true", help="one level only; folders end in a slash")
    ls.add_argument("-l", dest="long", action="store_true", help="with size in bytes and time")

    cp = add("cp", _cp, "Copy files and folders to and from artifacts.", reach, bars)
    cp.add_argument("sources", nargs="+", metavar="SRC", help="file, folder, or CLOUDPATH; - is standard input")
    cp.add_argument("destination", metavar="DST", help="likewise; ends in a slash to be a folder")
    cp.add_argument(
        "-r", dest="recursive", action="store_true", help="folders as well: what is in SRC goes directly below DST"
    )
    cp.add_argument(
        "--overwrite",
        choices=OVERWRITE,
        help="which files that are there to replace: those with other content (default), all, none, or older ones",
    )
    for kind, text in (("include", "only names that match; may be given more than once"), ("exclude", "but these")):
        cp.add_argument(f"--{kind}", action="append", metavar="GLOB", help=text)
    links = "below a local folder: copy what they lead to (default), nothing, or fail"
    cp.add_argument("--symlinks", choices=("follow", "skip", "refuse"), help=links)
    cp.add_argument("--create", action="store_true", help="make the artifact if there is none")
    cp.add_argument("--comment", metavar="TEXT", help="what the commit says")
    cp.add_argument("--version", metavar="NAME", help="begin a new version of that name, or just 'new'")

    verify = add("verify", _verify, "Compare a local folder with an artifact; prints what differs.", reach)
    verify.add_argument("folder", metavar="DIR")
    verify.add_argument("cloudpath", metavar="CLOUDPATH")

    cat = add("cat", _cat, "Write files to standard output.", reach)
    cat.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH")

    rm = add("rm", _rm, "Remove files.", reach, bars)
    rm.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH")
    rm.add_argument("-r", dest="recursive", action="store_true", help="folders, with everything in them")

    exists = add("exists", _exists_command, "Exit with 0 if there is such a file, 1 if not, 2 if unknown.", reach)
    exists.add_argument("cloudpath", metavar="CLOUDPATH", help="with a slash at the end: is anything in that folder?")

    serve = add("serve", _serve, "Run a Hypha server on this machine and print the environment to use.")
    serve.add_argument("--directory", type=Path, metavar="DIR", help="keep its data here (default: a temporary one)")
    serve.add_argument("--workspace", default="demo", metavar="NAME", help="workspace to make (default: demo)")

    demo = add("demo", _demo, "Start a server, put and get generated files, verify them, stop it.")
    demo.add_argument("--files", type=_whole_number(3), default=300, metavar="N", help="how many (default: 300)")
    demo.add_argument(
        "--size", type=_whole_number(2), default=16_384, metavar="BYTES", help="mean size (default: 16384)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Prints no traceback and no token, whatever happens."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else NOT_BEGUN
    if argv is None:  # a program of our own, so what happens to its signals is ours to decide
        signal.signal(signal.SIGTERM, _terminated)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # names are in any script, terminals are not
    with warnings.catch_warnings():
        for category in (StagedWarning, WithdrawnWarning):
            warnings.simplefilter("always", category)
        warnings.showwarning = _show_warning
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        if options.on_cloud:
            report = Report()
            with Clients(options) as clients:
                code = options.run(options, clients, report)
        else:
            code = options.run(options)
        sys.stdout.flush()
        return int(code)
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        with suppress(OSError, ValueError):  # whatever is still buffered has nobody to go to
            output = sys.stdout.fileno()
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)
        return BROKEN_PIPE
    except BatchError as error:  # a commit that failed, say: the files are there, but not published
        _complain(_describe(error))
        return SOME_FAILED
    except (OSError, ValueError, RuntimeError) as error:
        _complain(_describe(error))
        return NOT_BEGUN
    except Exception as error:  # noqa: BLE001 -- a defect; a user is not to be shown a traceback all the same
        _complain(f"internal error: {type(error).__name__}: {error}")
        return NOT_BEGUN


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    _complain(f"warning: {message}")


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # so that temporary files and servers go the ordinary way
