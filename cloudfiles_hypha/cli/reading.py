"""``cat``, ``exists``, ``verify``; and one file as a stream."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import groupby

from ..content.digests import digest_in
from ..errors import IntegrityError, PreconditionFailed, TransferError
from ..files import ArtifactFiles
from ..redact import printable
from .commands import Commands, add_patterns
from .globs import files_named, full_name, is_glob, locate_glob, matching
from .places import Clients, Place, chunks, folder_or, is_there, locate, one_of
from .report import NOT_BEGUN, OK, SOME_FAILED, Report, UsageError, complain, flush_out, say, write_out


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    command = commands.add("cat", cat, "Write files to standard output.")
    command.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH", help="a file, or a glob in quotes")
    command.add_argument(
        "-r",
        "--range",
        type=half_open,
        metavar="START-END",
        help="of each file, bytes from START up to before END "
        "(0-1024: the first 1024), as in Python; without END, all that follow",
    )
    command = commands.add(
        "exists",
        exists,
        "Exit with 0 if there are such files, 1 if one is not there, 2 if unknown; a line for each of several.",
    )
    command.add_argument(
        "cloudpaths", nargs="+", metavar="CLOUDPATH", help="with a slash at the end: is anything in that folder?"
    )
    command = commands.add("verify", verify, "Compare a local folder with one in the cloud; prints what differs.")
    command.add_argument("folder", metavar="DIR", help="a local folder")
    command.add_argument("cloudpath", metavar="CLOUDPATH", help="a folder; missing is what is only there")
    add_patterns(command)
    command.add_argument(
        "--combined",
        metavar="FILE",
        help="write a line for each name: = alike, * different, - not in DIR, + only in DIR, ! not compared; "
        "FILE - is standard output, in the place of what differs",
    )


def half_open(text: str) -> tuple[int, int | None]:
    """A type of argument: a range of bytes."""
    found = _RANGE.fullmatch(text)
    start, end = (int(found[1]), int(found[2]) if found[2] else None) if found else (0, 0)
    if end is not None and end <= start:
        raise argparse.ArgumentTypeError(
            f"{text!r}: bytes START-END, as 0-1024 for the first 1024, or 1024- for others"
        )
    return start, end


_RANGE = re.compile(r"([0-9]+)-([0-9]*)", re.ASCII)
_CAT_AHEAD = 32  # files that ``cat`` has in memory at once
_STREAM_PART, _STREAM_AHEAD = 8 * 1024 * 1024, 4  # bytes of a request for a stream, and how many are made at once


def cat(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Write files to standard output."""
    if options.json_said:
        raise UsageError("cat writes what is in files, which is no JSON; leave out --json")
    named = files_named([locate_glob(text) for text in options.cloudpaths], clients, report)
    if len(named) == 1 and options.range is None:  # of any size, then
        _cat_one(*named[0], clients, report)
        return report.code
    start, end = options.range or (None, None)
    for _, run in groupby(named, key=lambda found: found[0].root):
        for chunk in chunks(run, _CAT_AHEAD):
            wanted = [{"path": name, "start": start, "end": end} for _, name in chunk]
            for result in clients(chunk[0][0]).get(wanted, raise_errors=False):
                if result["error"] is not None:
                    _not_read(result["path"], result["error"], chunk[0][0], clients, report)
                else:
                    write_out(result["content"])
    flush_out()
    return report.code


def _cat_one(place: Place, name: str, clients: Clients, report: Report) -> None:
    try:
        stream(clients(place), replace(place, name=name), write_out)
    except TransferError as error:
        _not_read(name, error, place, clients, report)
    flush_out()


def _not_read(name: str, error: Exception, place: Place, clients: Clients, report: Report) -> None:
    hint = ", and files are what cat writes; ls lists what is in it"
    report.failed(full_name(place, name), folder_or(error, clients(place), place, name, hint))


def exists(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Say by the exit code whether files are there."""
    places = [locate_glob(text) for text in options.cloudpaths]
    answers: list[bool | None] = []
    for place in places:
        there: bool | None = None
        with one_of(places, place, report):
            cf = clients(place)
            there = any(True for _ in matching(cf, place)) if is_glob(cf, place) else is_there(cf, place)
        if len(places) > 1 or options.json:
            report.tell(_ANSWERS[there], place.text, cloudpath=place.text, exists=there)
        answers.append(there)
    return NOT_BEGUN if None in answers else OK if all(answers) else SOME_FAILED


_ANSWERS = {True: "there", False: "missing", None: "unknown"}


_MARKS = {"equal": "=", "same_size": "=", "different": "*", "missing": "-", "extra": "+"}


def verify(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Compare a folder with an artifact."""
    if options.combined == "-":
        if options.json_said:
            raise UsageError("--json and --combined - are both for standard output; name a file for one of them")
        options.json = report.as_json = False  # which was configured only
    place = locate(options.cloudpath)
    combined = options.combined
    with nullcontext() if combined in (None, "-") else open(combined, "w", encoding="utf-8") as file:
        found = clients(place).verify(options.folder, place.name, include=options.include, exclude=options.exclude)
        verdicts = {name: kind for kind in _MARKS for name in found[kind]}  # type: ignore[literal-required]
        verdicts.update(dict.fromkeys(found["errors"], "error"))
        for name in sorted(verdicts) if combined else ():
            mark = _MARKS.get(verdicts[name], "!")
            if file is None:
                say(f"{mark} {name}")
            else:
                file.write(f"{mark} {printable(name)}\n")
    if combined != "-":
        for kind in _MARKS if options.json or options.verbose else ("different", "missing", "extra"):
            for name in found[kind]:  # type: ignore[literal-required]
                report.tell(kind, name, path=name, verdict=kind)
    for name, error in found["errors"].items():
        report.failed(name, error)
        if options.json:
            report.tell(path=name, verdict="error")
    if not report.quiet:
        complain(_compared(verdicts, options))
    if found["same_size"]:
        complain(f"{len(found['same_size'])} files were compared by their size alone: the server tells no digest")
    return SOME_FAILED if found["different"] or found["missing"] or found["extra"] else report.code


def _compared(verdicts: Mapping[str, str], options: argparse.Namespace) -> str:
    """What it amounts to, and on which side what is only on one is."""
    counts = Counter("equal" if verdict == "same_size" else verdict for verdict in verdicts.values())
    if not counts:
        return f"nothing was compared: neither {options.folder} nor {options.cloudpath} has files"
    about = {
        "equal": "alike",
        "different": "different",
        "missing": f"only in {options.cloudpath}",
        "extra": f"only in {options.folder}",
        "error": "not compared",
    }
    said = [f"{counts[verdict]} {what}" for verdict, what in about.items() if counts[verdict]]
    return f"{len(verdicts)} {'file' if len(verdicts) == 1 else 'files'}: {', '.join(said)}"


class _Output:
    """Where bytes go, as a file that is only written to."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def write(self, block: bytes) -> int:
        """Write all of it."""
        self._write(block)
        return len(block)


def stream(cf: ArtifactFiles, place: Place, write: Callable[[bytes], object]) -> None:
    """One file from beginning to end, each byte once, whatever breaks on the way; a few requests ahead in memory."""
    name = place.name
    (first,) = cf.get([{"path": name, "start": 0, "end": _STREAM_PART}], raise_errors=False)
    if first["error"] is not None:
        raise first["error"]
    size, etag = first["size"], first["etag"]
    if size is None or first["compress"] is not None:  # how many bytes there are to read is not known
        cf.get({"path": name, "into": _Output(write)})
        return
    expected, parts = digest_in({"etag": etag or ""}.get)
    known = place.scheme == "hypha" and expected is not None and not parts  # elsewhere an ETag is just a mark
    digest = hashlib.md5(usedforsecurity=False) if known else None
    results = [first]
    at = 0
    while True:
        for result in results:
            if result["error"] is not None:
                raise result["error"]
            if (result["size"], result["etag"]) != (size, etag):
                raise PreconditionFailed("the object has changed while it was read", path=name)
            write(result["content"])
            at += len(result["content"])
            if digest is not None:
                digest.update(result["content"])
        if at >= size:
            break
        starts = range(at, min(size, at + _STREAM_AHEAD * _STREAM_PART), _STREAM_PART)
        wanted = [{"path": name, "start": start, "end": min(size, start + _STREAM_PART)} for start in starts]
        results = cf.get(wanted, raise_errors=False)
    if digest is not None and digest.hexdigest() != expected:
        raise IntegrityError("the bytes that were written do not have the MD5 that the store tells", path=name)
