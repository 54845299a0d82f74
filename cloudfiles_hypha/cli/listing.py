"""``ls``, ``du``, ``head``: what is there, how large it is, and what else is known of it. Reads no content."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from time import gmtime, strftime

from ..errors import BatchError, ObjectNotFound
from ..files import ArtifactFiles
from ..models import ObjectInfo
from ..paths import check_name
from .commands import Commands
from .globs import files_named, fixed_folder, full_name, is_glob, locate_glob, matching
from .places import Clients, Place, chunks, folder_or, is_empty_folder, one_of, passes
from .report import Report, UsageError


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    command = commands.add("ls", ls, "List what is in a folder; names are relative to it.", sizes=True)
    command.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH", help="a folder, a file, or a glob in quotes")
    command.add_argument("-1", "--flat", action="store_true", help="one level only; folders end in a slash")
    command.add_argument(
        "-R", "--recursive", action="store_true", help="all levels, as without it; of a glob, also what is in folders"
    )
    command.add_argument("-l", "--long", dest="long", action="store_true", help="with size in bytes and time")
    command = commands.add("du", du, "Add up what is in folders: bytes, files, name of each folder.", sizes=True)
    command.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH", help="a folder, a file, or a glob in quotes")
    command.add_argument("-s", "--summarize", action="store_true", help="one line for each CLOUDPATH")
    command.add_argument("-c", "--total", action="store_true", help="and one for all of them together")
    command = commands.add(
        "head", head, "Show what is known of files: size, ETag, type, encoding, time. (For first bytes: cat --range.)"
    )
    command.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH", help="a file, or a glob in quotes")


_LIST_AHEAD = 1000  # names that ``ls -l`` asks for at once


def ls(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """List names."""
    if options.flat and options.recursive:
        raise UsageError("--flat is one level, --recursive is all of them; give one of both")
    places = [locate_glob(text) for text in options.cloudpaths]
    for place in places:
        with one_of(places, place, report):
            cf = clients(place)
            skip, found = _found(cf, place, options)
            any_found = False
            for infos in chunks(found, _LIST_AHEAD if options.long else 1):
                any_found = True
                _show(cf, place, infos, None if len(places) > 1 else skip, options, report)
            if not any_found and place.name and not is_empty_folder(place):
                raise _not_there(place)
    return report.code


def _not_there(place: Place) -> ObjectNotFound:
    return ObjectNotFound("no such file or folder", path=place.text)


def _found(cf: ArtifactFiles, place: Place, options: argparse.Namespace) -> tuple[int, Iterator[ObjectInfo]]:
    """How much of each name is not shown, and the files."""
    if is_glob(cf, place):
        return len(fixed_folder(place)), matching(cf, place, below=options.recursive)
    if options.flat:
        below: Iterator[ObjectInfo] = (ObjectInfo(name) for name in cf.list(place.prefix, flat=True))
    else:
        below = cf.scan(place.prefix)
    first = next(below, None)
    if first is None and place.name and not place.folder and cf.exists(place.name):
        return place.name.rfind("/") + 1, iter([ObjectInfo(place.name)])
    return len(place.prefix), iter(()) if first is None else _chained(first, below)


def _chained(first: ObjectInfo, others: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    yield first
    yield from others


def _show(
    cf: ArtifactFiles,
    place: Place,
    infos: Sequence[ObjectInfo],
    skip: int | None,
    options: argparse.Namespace,
    report: Report,
) -> None:
    """A line for each; ``skip`` None: with all of their cloudpaths."""
    asked: dict[str, ObjectInfo] = {}
    if options.long:
        files = [info for info in infos if not info.path.endswith("/") and passes(check_name, info.path, report)]
        asked = _asked(cf, place, [info.path for info in files if _lacks(info, report.as_json)], report)
    for listed_info in infos:
        info = asked.get(listed_info.path, listed_info)
        cloudpath = full_name(place, info.path)
        line = cloudpath if skip is None else info.path[skip:]
        facts = {"path": info.path if skip is None else line, "cloudpath": cloudpath, **_facts(info)}
        if options.long:
            size = "-" if info.size is None else human(info.size) if options.human else str(info.size)
            line = f"{size:>14}  {_when(info.last_modified) or '-':>20}  {line}"
        report.tell(line, **facts)


def _lacks(info: ObjectInfo, etag_too: bool) -> bool:
    return info.size is None or info.last_modified is None or (etag_too and info.etag is None)


def _asked(cf: ArtifactFiles, place: Place, names: Sequence[str], report: Report) -> dict[str, ObjectInfo]:
    """What is known of files; of those that fail, it is said why."""
    if not names:
        return {}
    try:
        return cf.head(names)
    except BatchError as error:
        for failed in error.errors:
            if failed["error"] is not None:
                reason = folder_or(failed["error"], cf, place, failed["path"], "; ls lists what is in it")
                report.failed(full_name(place, failed["path"]), reason)
        return {result["path"]: result["content"] for result in error.results if result["error"] is None}


def _facts(info: ObjectInfo) -> dict[str, object]:
    return {"size": info.size, "last_modified": _when(info.last_modified), "etag": info.etag}


def _when(seconds: float | None) -> str | None:
    return None if seconds is None else strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))


def human(size: float) -> str:
    """A size as people read it, in one word."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f}B" if unit == "B" else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}TiB"


def du(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Add up bytes and files."""
    places = [locate_glob(text) for text in options.cloudpaths]
    whole = [0, 0]
    for place in places:
        with one_of(places, place, report):
            size, files = _sum(clients(place), place, options, report)
            whole = [whole[0] + size, whole[1] + files]
    if options.total:
        _tell_sum("total", whole[0], whole[1], options, report)
    return report.code


def _sum(cf: ArtifactFiles, place: Place, options: argparse.Namespace, report: Report) -> tuple[int, int]:
    """Bytes and files of one place, which it tells when all of it is known."""
    globbed = is_glob(cf, place)
    sums: dict[str, list[int]] = {}
    total = [0, 0]
    found = matching(cf, place, below=True) if globbed else cf.scan(place.prefix)
    for info in _with_sizes(cf, place, found, report):
        folder, slash, _ = info.path[len(place.prefix) :].partition("/")
        for sums_of in (total, *([sums.setdefault(folder, [0, 0])] if slash and not globbed else [])):
            sums_of[0] += info.size or 0
            sums_of[1] += 1
    if not total[1] and place.name:
        one = not globbed and not place.folder and cf.exists(place.name)
        known = _asked(cf, place, [place.name], report) if one else {}
        if known:
            total = [known[place.name].size or 0, 1]
        elif not is_empty_folder(place):
            raise _not_there(place)
    for folder, (size, files) in () if options.summarize else sorted(sums.items()):
        _tell_sum(f"{full_name(place, place.prefix + folder)}/", size, files, options, report)
    _tell_sum(place.text, total[0], total[1], options, report)
    return total[0], total[1]


def _with_sizes(cf: ArtifactFiles, place: Place, infos: Iterable[ObjectInfo], report: Report) -> Iterator[ObjectInfo]:
    """What a listing gives no size of is asked for."""
    for some in chunks(infos, _LIST_AHEAD):
        unknown = [info.path for info in some if info.size is None and passes(check_name, info.path, report)]
        asked = _asked(cf, place, unknown, report)
        yield from (asked.get(info.path, info) for info in some)


def _tell_sum(what: str, size: int, files: int, options: argparse.Namespace, report: Report) -> None:
    shown = human(size) if options.human else str(size)
    report.tell(shown, str(files), what, path=what, bytes=size, files=files)


def head(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Say what is known of files: a line for each fact, with the name of its file where there are several."""
    named = files_named([locate_glob(text) for text in options.cloudpaths], clients, report)
    for place in {place.root: place for place, _ in named}.values():
        here = [name for found, name in named if found.root == place.root]
        for names in chunks(here, _LIST_AHEAD):
            found = _asked(clients(place), place, names, report)
            for name in names:
                if name in found:
                    _tell_facts(place, found[name], len(named) > 1, report)
    return report.code


def _tell_facts(place: Place, info: ObjectInfo, several: bool, report: Report) -> None:
    facts: dict[str, object] = {
        **_facts(info),
        "content_type": info.content_type,
        "content_encoding": info.compress or info.headers.get("content-encoding"),
        "cache_control": info.headers.get("cache-control"),
    }
    cloudpath = full_name(place, info.path)
    if report.as_json:
        report.tell(path=info.path, cloudpath=cloudpath, **facts)
        return
    for fact, value in facts.items():
        report.tell(*([cloudpath] if several else []), fact, "-" if value is None else str(value))
