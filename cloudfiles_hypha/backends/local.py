"""``file:///folder``: a local folder. Every write is atomic; see ``docs/local.md`` for what is promised.

``disk.folder`` opens and replaces files and stays in the folder; this makes objects of them: ETags, types, errors.
"""

from __future__ import annotations

import errno
import logging
import mimetypes
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

from ..content.codecs import CODECS, encoding_name, encodings_in
from ..content.flow import Flow
from ..content.sources import BLOCK, LocalFile
from ..disk.encoded import codec_in, is_kept_name
from ..disk.folder import Archived, Draft, Folder, Found, Outside
from ..disk.locks import AVAILABLE, FileLocks, wait_for
from ..disk.tree import check_not_ours, tells_apart
from ..errors import (
    AccessDenied,
    IntegrityError,
    InvalidRequest,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    TransferError,
    TransferTimeout,
    UntypedWarning,
)
from ..models import Body, Fetched, GetRequest, ObjectInfo, PutRequest, Sink, Stored
from ..paths import ON_WINDOWS, Location, check_local_name, folded, last_of
from ..settings import Settings
from ..transports.answers import slice_of
from . import Resources
from .base import Backend, Capabilities, Control, Ticket
from .conditions import lost

_HINT = "write file:///folder for an absolute path, and ./folder, ../folder or ~/folder for others"

_log = logging.getLogger("cloudfiles_hypha")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLocation(Location):
    """An absolute local path; relative ones are taken from the working directory once, when they are opened."""

    folder: str


def locate(text: str, rest: str) -> FileLocation:
    """Take a cloudpath apart."""
    if ON_WINDOWS:
        rest = rest.replace("\\", "/")
        rest = rest[1:] if rest[:1] == "/" and rest[2:3] == ":" else rest  # file:///C:/folder
    absolute = rest.startswith("/") or (ON_WINDOWS and rest[1:2] == ":")
    if not absolute and not rest.startswith(("./", "../", "~")) and rest not in (".", ".."):
        raise ValueError(f"{text!r}: which folder is meant? {_HINT}")
    if any(ord(character) < 32 or "\ud800" <= character <= "\udfff" for character in rest):
        raise ValueError(f"{text!r}: a folder's name must not contain control characters, and must be Unicode text")
    named = False
    for segment in rest.split("/"):
        if segment == ".." and named:
            raise ValueError(f"{text!r}: '..' behind a folder's name means another one if that is a link; {_HINT}")
        named = named or segment not in ("", ".", "..")
    path = os.path.expanduser(rest)
    if path.startswith("~"):
        raise ValueError(f"{text!r}: there is no home folder of {path.partition('/')[0]!r}")
    folder = os.path.abspath(path)
    if folder.startswith("//"):
        folder = folder[1:]  # POSIX leaves two slashes alone
    return FileLocation(scheme="file", root=as_cloudpath(folder), folder=folder)


def as_cloudpath(folder: str) -> str:
    """The cloudpath of an absolute local path."""
    return f"file:///{Path(folder).as_posix()}" if ON_WINDOWS else f"file://{folder}"


def parent_and_name(location: Location) -> tuple[str, str]:
    """The cloudpath of the folder that a local path is in, and its name there; the name of a root is empty."""
    above, name = os.path.split(cast(FileLocation, location).folder)
    return as_cloudpath(above), name


def open_backend(location: FileLocation, resources: Resources) -> LocalBackend:
    """The backend for a folder."""
    return LocalBackend(location.folder, resources.settings)


class LocalBackend(Backend):
    """Files below one folder."""

    scheme = "file"
    can = Capabilities(
        blocking=True,
        pins_listed=True,
        folds=True,
        flows=True,
        conditions=frozenset({"new"}),
        lists_encodings=True,
        reads_cheaply=True,
        folders=True,
    )

    def __init__(self, folder: str, settings: Settings) -> None:
        self._folder = Folder(folder)
        self._windows_names = settings.windows_names
        self._locks: FileLocks | None = None
        self._warned = False
        self._patience = settings.timeouts.idle
        if settings.locking or settings.lock_dir is not None:
            self._locks = FileLocks(_lock_folder(settings), settings.timeouts.idle)

    def place(self, location: Location) -> object:
        """There is one file system."""
        return "file"

    def path_at(self, location: Location, prefix: str) -> str:
        """The path without the links that lead to it."""
        return os.path.join(os.path.realpath(self._folder.root), prefix)

    def same(self, one: str, other: str) -> bool:
        """Whether two names that are spelt differently are of one file, or would be if they were written to."""
        there = [self._status(name) for name in (one, other)]
        if (there[0] is None) != (there[1] is None):  # of one file, too, that was made between the two looks
            there = [self._status(name) for name in (one, other)]
        if there[0] is None and there[1] is None:
            with _translated(one, writing=True):
                return folded(one) == folded(other) and not tells_apart(Path(self._folder.path(one)).parent)
        if there[0] is None or there[1] is None or not os.path.samestat(there[0], there[1]):
            return False
        return not (self._folder.lists(one) and self._folder.lists(other))  # else these are two links

    def _status(self, path: str) -> os.stat_result | None:
        try:
            with _translated(path):
                found = self._folder.look(path)
        except ObjectNotFound:
            return None
        try:
            return os.fstat(found.descriptor)
        finally:
            os.close(found.descriptor)

    def _locked(self, path: str, *, exclusive: bool) -> AbstractContextManager[None]:
        if self._locks is None:
            return nullcontext()
        return self._locks.held(os.path.realpath(self._folder.path(path)), exclusive=exclusive)

    @contextmanager
    def turn(self, path: str) -> Iterator[None]:
        """A lock of the folder that the file is in, whoever opened which folder above; nothing where there are none."""
        if not AVAILABLE:
            yield
            return
        folder = os.path.dirname(os.path.realpath(self._folder.path(path)))
        with _translated(path):
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                wait_for(descriptor, self._patience, folder)
            except TransferTimeout:
                raise
            except OSError as error:  # a file system without locks
                _log.info("%s: processes that change files there take no turns: %s", folder, error)
            yield
        finally:
            os.close(descriptor)

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request, all of one version of the file."""
        with self._locked(request.path, exclusive=False):
            with _translated(request.path):
                found = self._folder.open(request.path)
            try:
                return _get(found, request, sink)
            finally:
                os.close(found.descriptor)

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of a file without reading it; of an archive that is read by this name, under its own."""
        with _translated(path):
            found = self._folder.look(path)
            try:
                kind = _content_type(found.descriptor, path)
                return _info(found.name, os.fstat(found.descriptor), found, kind)
            finally:
                os.close(found.descriptor)

    def list(self, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, in order."""
        with _translated(prefix, missing=f"there is no folder {self._folder.root!r}"):
            for name, _ in self._folder.walk(prefix, flat=flat):
                yield name

    def scan(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``list``, with what the file system tells of each file; not the type, which would be looked at."""
        with _translated(prefix, missing=f"there is no folder {self._folder.root!r}"):
            for name, entry in self._folder.walk(prefix, flat=False):
                path = entry.path if entry is not None else self._folder.path(name)
                try:
                    there = entry.stat() if entry is not None else os.stat(path)
                except FileNotFoundError:  # removed since the folder was read, or kept otherwise since
                    with suppress(ObjectNotFound):
                        info = self.head(name, None)
                        if info.path == name:
                            yield info
                    continue
                compress = codec_in(path) or encoding_name(_attribute(path, "content-encoding"))
                yield ObjectInfo(name, there.st_size, _etag(there), None, there.st_mtime, compress=compress)

    # -- writing ------------------------------------------------------------------------------------------------

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one file, which takes the place of another one only when it is complete."""
        path, body = request.path, request.body
        try:
            check_local_name(path, windows_names=self._windows_names)
            check_not_ours(last_of(path))
        except ValueError as error:
            raise InvalidRequest(str(error), path="") from None
        if is_kept_name(path):
            raise InvalidRequest(
                "files with this ending are those that are stored with a content encoding; choose another name",
                path=path,
            )
        with nullcontext() if isinstance(body, bytes | memoryview | Flow) else body.open() as reader:
            with _translated(path, writing=True):
                home = self._folder.home(path, make=True)
            with home:
                with _translated(path, writing=True):
                    if request.new and home.taken():
                        raise lost(request)
                    draft = home.draft()
                try:
                    _fill(draft, body, reader, path)
                    kept = _describe(draft, request)
                    with _translated(path, writing=True), self._locked(path, exclusive=True):
                        there = _publish(draft, request)
                except BaseException:
                    draft.discard()
                    raise
        if not kept:
            self._warn(request)
        return Stored(there.st_size, _etag(there), "length")

    def _warn(self, request: PutRequest) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{request.path!r} and perhaps others were stored without the content type or cache control "
                f"that was asked for: the file system of {self._folder.root!r} keeps no such attributes, and "
                "the type is what the name says; see docs/local.md",
                UntypedWarning,
                stacklevel=2,
            )

    def delete(self, path: str) -> None:
        """Remove one file; one that is not there counts as removed. Folders stay, empty or not.

        A file that a link to a folder leads to has another name as well, and is removed by that one only; so is an
        archive that is read by this name.
        """
        try:
            with _translated(path), self._locked(path, exclusive=True), self._folder.own_home(path) as home:
                home.remove()
        except ObjectNotFound:
            return

    # -- folders, which are there without files, too --------------------------------------------------------------

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder of this name, empty or not."""
        with _translated(path):
            return self._folder.is_folder(path)

    def make_folder(self, path: str) -> None:
        """Make a folder, and those it is in; without a name, that of all files."""
        if not path:
            with _translated(path, writing=True):
                os.makedirs(self._folder.root, exist_ok=True)
            return
        check_local_name(path, windows_names=self._windows_names)
        with _translated(path, writing=True):
            self._folder.make_folder(path)

    def remove_folder(self, path: str) -> None:
        """Remove a folder and the folders in it as far as no files are left in them; one that keeps something is an
        error."""
        try:
            with _translated(path):
                self._folder.remove_folder(path)
        except ObjectNotFound:
            return


def _lock_folder(settings: Settings) -> str:
    folder = settings.lock_dir or os.environ.get("CLOUD_FILES_LOCK_DIR") or "~/.cloudfiles/locks"
    return os.path.abspath(os.path.expanduser(folder))


# -- what is known of a file --------------------------------------------------------------------------------------


def _etag(status: os.stat_result) -> str:
    """Changes when a file is written to or replaced, as far as the clock of the file system goes."""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"


def _check_unchanged(before: os.stat_result, after: os.stat_result, path: str, *, again: bool) -> None:
    """Raise if a file was written to between two looks at it; ``again`` if to read it once more may help."""
    if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    ) and not _only_renamed(before, after):
        kind = IntegrityError if again else PreconditionFailed
        raise kind("the file was written to while it was read", path=path)


def _only_renamed(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether another file has taken its name: the one that is open is as it was, with one name less."""
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return same and after.st_nlink < before.st_nlink


# What a disk or a network file system says that has attributes, and cannot tell them now.
_BROKEN = {errno.EIO, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}
_ATTRIBUTES = ("content-type", "content-encoding", "cache-control")
_Attributes = Mapping[str, str | None]


def _attribute(opened: int | str, name: str) -> str | None:
    """What was kept with a file, given by its descriptor or its path, by ``_describe``."""
    if not hasattr(os, "getxattr"):
        return None
    for file in (opened, f"/proc/self/fd/{opened}"):
        try:
            return os.getxattr(file, f"user.{name}").decode("ascii", "replace")
        except OSError as error:
            if error.errno in _BROKEN:  # there may be one: what is encoded must not pass for content
                raise
            if error.errno != errno.EBADF:  # there is none, or the file system has none at all
                return None
            # else it was opened to be looked at only, and can be asked by its name alone
    return None


def _describe(draft: Draft, request: PutRequest) -> bool:
    """Keep with a file what was asked to be kept; whether that will be read again as it was given."""
    wanted = dict(
        zip(_ATTRIBUTES, (request.content_type, request.content_encoding, request.cache_control), strict=True)
    )
    kept = True
    for name, value in wanted.items():
        if value is None:
            continue
        try:
            if not hasattr(os, "setxattr"):
                raise OSError(errno.ENOTSUP, "no extended attributes")
            os.setxattr(draft.descriptor, f"user.{name}", value.encode("ascii"))
        except OSError:  # the file system has none, or not so long ones
            if name == "content-encoding":
                _keep_in_name(draft, value, request.path)
            else:
                kept = kept and name == "content-type" and value == guess_type(request.path)
    return kept


def _keep_in_name(draft: Draft, encoding: str, path: str) -> None:
    codecs = encodings_in(encoding)
    if len(codecs) > 1 or not set(codecs).issubset(CODECS):
        raise InvalidRequest(
            f"the file system keeps no attributes, and only {', '.join(CODECS)} can be kept in a file's name: whoever "
            f"reads it would not know that it is encoded with {encoding}",
            path=path,
        )
    if codecs:
        draft.keep_codec(codecs[0])


def _content_type(descriptor: int, path: str) -> str | None:
    return _attribute(descriptor, "content-type") or guess_type(path)


def guess_type(path: str) -> str | None:
    """The content type that a name says, by the table that Python itself brings; None where it says nothing.

    Of a compressed file (``.gz``, ``.bz2``, ``.xz``) that is the type of what it is compressed by.
    """
    kind, encoding = _types().guess_type(path.rpartition("/")[2], strict=True)
    return _COMPRESSED.get(encoding) if encoding else kind


_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@lru_cache(maxsize=1)
def _types() -> mimetypes.MimeTypes:
    return mimetypes.MimeTypes()  # not the module's own functions, which read the files of the system as well


def _encoding(found: Found) -> str | None:
    return found.codec or _attribute(found.descriptor, "content-encoding")


def _info(path: str, status: os.stat_result, found: Found, kind: str | None) -> ObjectInfo:
    kept = {"content-encoding": _encoding(found), "cache-control": _attribute(found.descriptor, "cache-control")}
    headers = {name: value for name, value in kept.items() if value is not None}
    compress = encoding_name(headers.get("content-encoding"))
    return ObjectInfo(path, status.st_size, _etag(status), kind, status.st_mtime, headers, compress)


# -- bytes --------------------------------------------------------------------------------------------------------


def _get(found: Found, request: GetRequest, sink: Sink | None) -> Fetched:
    """What was asked for of an open file. What goes wrong with the sink is told as it is."""
    path, descriptor = request.path, found.descriptor
    before = os.fstat(descriptor)
    size, etag = before.st_size, _etag(before)
    if request.pinned not in (None, etag):
        raise PreconditionFailed("the file has changed", path=path)
    if etag in request.known or (request.since is not None and before.st_mtime <= request.since):
        raise NotModified("not sent: it is here already", path=path)
    start = request.start or 0
    end = max(start, size if request.end is None else min(size, request.end))  # of an empty file any range is empty
    if start:
        slice_of(b"", start, request.end, size)  # raises if it begins behind the end
        os.lseek(descriptor, start, os.SEEK_SET)
    with _translated(path):
        kind, compress = _content_type(descriptor, path), encoding_name(_encoding(found))
    if sink is not None:
        with _translated(path):
            info = _info(path, before, found, kind)
        sink.begin(info, start, end)
    left, blocks = end - start, []
    while left:
        with _translated(path):
            block = os.read(descriptor, left if sink is None else min(BLOCK, left))
        if not block:
            break
        left -= len(block)
        if sink is not None:
            sink.write(block)
        else:
            blocks.append(block)  # one, but beyond 2 GiB on Linux
    _check_unchanged(before, os.fstat(descriptor), path, again=sink is None)
    if left:
        raise IntegrityError(f"expected {end - start} bytes, got {end - start - left}", path=path)
    content = blocks[0] if len(blocks) == 1 else b"".join(blocks)
    return Fetched(content, size, etag, kind, "length", compress)


def _fill(draft: Draft, body: bytes | memoryview | Body, reader: IO[bytes] | None, path: str) -> None:
    """Write a body; what goes wrong with reading it is told as it is."""
    if isinstance(body, bytes | memoryview):
        with _translated(path, writing=True):
            draft.write(body)
        return
    if isinstance(body, Flow):
        for block in body.rest():
            with _translated(path, writing=True):
                draft.write(block)
        return
    assert reader is not None  # noqa: S101 -- it was opened, since this is a ``Body``
    if isinstance(body, LocalFile):
        with _translated(path, writing=True):
            draft.copy(reader.fileno(), body.size)
    while draft.size < body.size:
        block = reader.read(min(BLOCK, body.size - draft.size))
        if not block:
            missing = body.size - draft.size
            raise TransferError(f"the body is {missing} bytes shorter than when it was measured; has it changed?")
        with _translated(path, writing=True):
            draft.write(block)
    if isinstance(body, LocalFile):
        body.check()


def _publish(draft: Draft, request: PutRequest) -> os.stat_result:
    if not request.new:
        return draft.publish()
    try:
        return draft.publish(replace=False)
    except FileExistsError:
        raise lost(request) from None


# -- errors -------------------------------------------------------------------------------------------------------


@contextmanager
def _translated(path: str, *, writing: bool = False, missing: str = "no such file") -> Iterator[None]:
    """Make of what the system says an error of ours that names the file."""
    try:
        yield
    except TransferError:
        raise
    except OSError as error:
        raise _error_of(error, path, writing=writing, missing=missing) from error


def _error_of(error: OSError, path: str, *, writing: bool, missing: str) -> TransferError:
    said = error.strerror or str(error)
    if isinstance(error, Outside):
        return AccessDenied(said, path=path)
    if isinstance(error, Archived):
        archive = path.rpartition("/")[0] + "/" * ("/" in path) + os.path.basename(error.filename)
        return InvalidRequest(f"only {archive!r} is there, which is read by this name: remove it by its own", path=path)
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return AccessDenied(f"access denied: {said}", path=path)
    if not writing and isinstance(error, FileNotFoundError | NotADirectoryError):
        return ObjectNotFound(missing, path=path)
    if isinstance(error, NotADirectoryError | FileExistsError):
        return InvalidRequest("a part of this path is a file, and would have to be a folder", path=path)
    if isinstance(error, IsADirectoryError):
        return InvalidRequest("there is a folder of this name; choose another name, or remove it", path=path)
    if error.errno == errno.ENAMETOOLONG:
        if not writing:
            return ObjectNotFound("no such file: the name is longer than the file system allows", path=path)
        return InvalidRequest("the name is longer than the file system allows; choose a shorter one", path=path)
    translated = TransferError(f"the file system failed: {said}", path=path)
    translated.errno = error.errno
    return translated
