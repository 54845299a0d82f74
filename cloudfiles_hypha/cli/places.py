"""Cloudpaths as the command line takes them apart, the clients for them, and names that were found there.

Refuses to write to a version or a web server, and to take a folder for a file.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import unquote

from ..backends import has_scheme
from ..backends import locate as locate_files
from ..backends.hypha import HyphaLocation
from ..backends.local import FileLocation, as_cloudpath
from ..backends.web import WebLocation
from ..credentials import ambient_server
from ..errors import ArtifactNotFound, ObjectNotFound, TransferError
from ..files import ArtifactFiles
from ..paths import Location, check_name, join_names
from ..progress import Observer
from ..retry import FirstContact, RetryPolicy
from .configuration import Default
from .report import Report, UsageError

T = TypeVar("T")
_FIRST_CONTACT = 15.0  # seconds to wait for a connection to a server that has never answered


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


Named = tuple[str, str]  # the root of a place, or nothing for a path of this machine, and a name below it


def check_apart(pairs: Iterable[tuple[Named, Named]], done: str) -> None:
    """Refuse to write to a file of this machine that another pair, of what is read and written, reads.

    Whatever links lead to it: else it depends on which comes first whose content that one gets.
    """
    folders: dict[str, str | None] = {"": ""}
    reals: dict[str, str] = {}

    def local(named: Named) -> str | None:
        root, name = named
        if root not in folders:
            place = locate_files(root)
            folders[root] = place.folder if isinstance(place, FileLocation) else None
        folder = folders[root]
        return None if folder is None else os.path.join(folder, name)

    def real(path: str) -> str:
        above, name = os.path.split(path)
        if above not in reals:
            reals[above] = os.path.realpath(above)
        return os.path.join(reals[above], name)

    here = [(old, new) for old, new in ((local(read), local(written)) for read, written in pairs) if old and new]
    targets = {real(new): number for number, (_, new) in enumerate(here)}
    for number, (old, _) in enumerate(here):
        for path in (real(old), os.path.realpath(old)):  # it may be a link itself
            if targets.get(path, number) != number:
                raise UsageError(f"{old!r}: would be both read and written to; nothing was {done}")


def locate(text: str) -> Place:
    """Take a cloudpath apart, or raise ``ValueError``. Of a web address, and of a local path that does not end in a
    slash, the last segment is the name."""
    path = locate_files(text)
    if isinstance(path, WebLocation):
        host, _, rest = path.base.partition("://")[2].rstrip("/").partition("/")
        folder, _, last = rest.rpartition("/")
        if not last or text.endswith("/"):
            raise UsageError(f"{text}: names a folder, and web servers cannot be listed; name a file")
        root = f"{path.scheme}://{host}/{folder}/" if folder else f"{path.scheme}://{host}/"
        name = check_name(unquote(last))
        if "/" in name:
            raise UsageError(f"{text}: %2F in a name would be asked for as a slash")
        return Place(text, path.scheme, root, name, False)
    if isinstance(path, FileLocation):
        above, last = os.path.split(path.folder)
        if not last or text.endswith("/"):
            return Place(text, path.scheme, path.root, "", True)
        return Place(text, path.scheme, as_cloudpath(above), check_name(last), False)
    name = path.prefix.rstrip("/")
    root = path.root
    if isinstance(path, HyphaLocation):
        version = f"@{path.version}" if path.version else ""
        root = f"hypha://{'/'.join(part for part in (path.server, path.workspace, path.alias + version) if part)}"
    return Place(text, path.scheme, root, name, not name or text.endswith("/"), path.version)


def is_cloudpath(text: str) -> bool:
    """Whether it has a scheme; on this command line everything else is a local file."""
    return "://" in text


def check_given(text: str) -> None:
    """Refuse an empty argument, which would be the working directory, and ``s3:/bucket``, which would be a file."""
    if not text:
        raise UsageError("'': an empty argument names no file or folder; is a variable not set?")
    scheme, colon, _ = text.partition(":")
    if colon and not is_cloudpath(text) and has_scheme(scheme):
        raise UsageError(f"{text}: a cloudpath begins with {scheme}://; a local file of this name is ./{text}")


def writable(place: Place) -> Place:
    """The same place, if it can be written to."""
    if place.scheme in ("http", "https"):
        raise UsageError(f"{place.text}: a web server can only be read from")
    if place.version:  # the server would change the latest version instead
        raise UsageError(f"{place.text}: a version cannot be changed; leave out '@{place.version}'")
    return place


def artifact_at(text: str) -> Place:
    """An artifact as a whole."""
    place = writable(locate(text))
    if place.scheme != "hypha":
        raise UsageError(f"{text}: only Hypha artifacts are made, staged and committed")
    if place.name:
        raise UsageError(f"{text}: an artifact is committed as a whole; name it without {place.name!r}")
    return place


def file_names(places: Sequence[Place], hint: str = "") -> None:
    """Refuse what was written as a folder; ``hint`` says how folders are had."""
    for place in places:
        if place.folder:
            raise UsageError(f"{place.text}: names a folder, not a file{hint}")


class Clients:
    """One ``ArtifactFiles`` for each root, made on first use; all closed at the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options: dict[str, Any] = {
            "server_url": options.server_url,
            "num_threads": options.num_threads,
            "create": getattr(options, "create", False),
            "use_proxy": options.use_proxy,
            "use_local_url": options.use_local_url,
            "limit_rate": getattr(options, "limit_rate", None),
        }
        self._configured: Default = options.configured_server
        self._patience: float = options.retry_for
        self._patient: bool = options.patient
        self._contacts: dict[str, FirstContact] = {}
        self.part_size: int | None = None
        """Of the parts that large uploads have; for what is made from now on."""
        self.observer: Observer | None = None
        """Told of the items of all clients that are made from now on."""
        self._made: dict[str, ArtifactFiles] = {}

    def __call__(self, place: Place) -> ArtifactFiles:
        return self._open(place.root)

    def at(self, place: Place) -> ArtifactFiles:
        """One whose names are relative to a folder."""
        return self._open(join_names(place.root, place.name))

    def _open(self, text: str) -> ArtifactFiles:
        if text not in self._made:
            given = dict(self._options)
            path = locate_files(text)
            if given["server_url"] is None and isinstance(path, HyphaLocation) and path.server is None:
                given["server_url"] = self._configured.value
            retry = RetryPolicy(elapsed=self._patience, contact=self._contact(text, path))
            self._made[text] = ArtifactFiles(
                text, part_size=self.part_size, observer=self.observer, retry=retry, **given
            )
        return self._made[text]

    def _contact(self, text: str, path: Location) -> FirstContact | None:
        """What is known of the server there; None if somebody has said how long to wait for it."""
        if self._patient:
            return None
        if not isinstance(path, HyphaLocation):
            place, hint = path.root, "is its name right, and the network there?"
        elif path.server is not None:
            place, hint = path.server, "the cloudpath names the server"
        else:
            place = "hypha"
            if self._options["server_url"] is not None:
                who = "--server-url"
            elif self._configured.value is not None:
                who = self._configured.source
            else:
                who = ambient_server()[1]
            hint = f"{who} names the server" if who != "default" else "set HYPHA_SERVER_URL, if another server is meant"
        return self._contacts.setdefault(place, FirstContact(_FIRST_CONTACT, f"{hint} (--retry-for waits longer)"))

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for client in self._made.values():
            client.close()


def folder_or(error: Exception, cf: ArtifactFiles, place: Place, name: str, hint: str) -> Exception:
    """Why nothing could be done with one file; of one that is not there, whether a folder of that name is."""
    if isinstance(error, ObjectNotFound) and not isinstance(error, ArtifactNotFound):
        try:
            if place.scheme not in ("http", "https") and cf.isdir(name):
                return UsageError(f"is a folder{hint}")
        except TransferError:
            return error
    return error


@contextmanager
def one_of(places: Sequence[Place], place: Place, report: Report) -> Iterator[None]:
    """Around what is done with one of several places: what cannot be had of it is one failure, and the others follow.
    Of one that was asked for alone it ends the command."""
    try:
        yield
    except TransferError as error:
        mistaken = isinstance(error, ArtifactNotFound) and not is_cloudpath(place.text) and os.path.exists(place.text)
        hint = f"there is no such artifact; what is here by this name is ./{place.text}"
        if len(places) == 1:
            if mistaken:
                raise UsageError(f"{place.text}: {hint}") from None
            raise
        report.failed(place.text, UsageError(hint) if mistaken else error)


def is_there(cf: ArtifactFiles, place: Place) -> bool:
    """Whether there is such a file; for one written as a folder, whether anything is in it."""
    if not place.folder:
        return cf.exists(place.name)
    try:
        return cf.isdir(place.name) or (place.scheme == "hypha" and not place.name)  # an artifact may be empty
    except ObjectNotFound:
        return False


def is_empty_folder(place: Place) -> bool:
    """Of a place with no files in it: whether it is there all the same, which only folders of a disk can be."""
    if place.scheme != "file":
        return False
    location = locate_files(join_names(place.root, place.name))
    return isinstance(location, FileLocation) and os.path.isdir(location.folder)


def names_below(cf: ArtifactFiles, place: Place, sizes: dict[str, int | None] | None = None) -> tuple[str, list[str]]:
    """For ``-r``: the prefix and the names that begin with it, or "" and the one file. Complete, or an error.

    ``sizes`` is given the files' sizes.
    """
    if sizes is None:
        names = list(cf.list(place.prefix))
    else:
        found = dict(cf.list(place.prefix, size=True))
        names = list(found)
        sizes.update(found)
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


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of so many."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def passes(check: Callable[[str], object], name: str, report: Report) -> bool:
    """Whether a name that came from a listing passes a check; one that does not is a failure of its own."""
    try:
        check(name)
    except ValueError as error:
        report.failed(name, error)
        return False
    return True
