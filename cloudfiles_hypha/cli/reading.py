"""``cat``, ``exists``, ``verify``; and one file as a stream."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from itertools import groupby

from ..content.digests import digest_in
from ..errors import IntegrityError, PreconditionFailed
from ..files import ArtifactFiles
from .commands import Commands
from .places import Clients, Place, chunks, file_names, is_there, locate
from .report import OK, SOME_FAILED, Report, complain, flush_out, say, write_out


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    command = commands.add("cat", cat, "Write files to standard output.")
    command.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH")
    command = commands.add("exists", exists, "Exit with 0 if there is such a file, 1 if not, 2 if unknown.")
    command.add_argument("cloudpath", metavar="CLOUDPATH", help="with a slash at the end: is anything in that folder?")
    command = commands.add("verify", verify, "Compare a local folder with an artifact; prints what differs.")
    command.add_argument("folder", metavar="DIR")
    command.add_argument("cloudpath", metavar="CLOUDPATH")


_CAT_AHEAD = 32  # files that ``cat`` has in memory at once
_STREAM_PART, _STREAM_AHEAD = 8 * 1024 * 1024, 4  # bytes of a request for a stream, and how many are made at once


def cat(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Write files to standard output."""
    places = [locate(text) for text in options.cloudpaths]
    file_names(places)
    for _, run in groupby(places, key=lambda place: place.root):
        for chunk in chunks(run, _CAT_AHEAD):
            for result in clients(chunk[0]).get([place.name for place in chunk], raise_errors=False):
                if result["error"] is not None:
                    report.failed(result["path"], result["error"])
                else:
                    write_out(result["content"])
    flush_out()
    return report.code


def exists(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Say by the exit code whether a file is there."""
    place = locate(options.cloudpath)
    return OK if is_there(clients(place), place) else SOME_FAILED


def verify(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """Compare a folder with an artifact."""
    place = locate(options.cloudpath)
    found = clients(place).verify(options.folder, place.name)
    for kind, names in (("different", found["different"]), ("missing", found["missing"]), ("extra", found["extra"])):
        for name in names:
            say(kind, name)
    for name, error in found["errors"].items():
        report.failed(name, error)
    if found["same_size"]:
        complain(f"{len(found['same_size'])} files were compared by their size alone: the server tells no digest")
    return SOME_FAILED if found["different"] or found["missing"] or found["extra"] else report.code


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
