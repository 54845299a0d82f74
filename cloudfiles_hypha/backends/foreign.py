"""``sftp://``, ``ftp://``, ``smb://``, ``webdav://``, ``zip://`` and whatever else fsspec knows, as one more backend.

The registry comes here last, with schemes that nobody else has. fsspec's implementation moves the bytes; this makes
objects of its answers, and of its exceptions errors of ours. What such a store does not promise is not promised here
either: see ``docs/other-protocols.md``. How a place is written, and what fsspec is asked for, is told by ``locate``.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from errno import EDQUOT, ENAMETOOLONG, ENOSPC, EROFS, errorcode
from functools import partial
from inspect import signature
from pathlib import Path
from threading import Lock, RLock
from typing import IO, TYPE_CHECKING, TypeVar, cast

from fsspec import AbstractFileSystem, available_protocols, filesystem, get_filesystem_class, registry
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.core import url_to_fs

from ..content.flow import Flow
from ..content.sources import BLOCK, LocalFile
from ..errors import (
    AccessDenied,
    ConnectionFailed,
    IntegrityError,
    InvalidRequest,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    ReadOnly,
    ServerError,
    TransferError,
    TransferTimeout,
    UntypedWarning,
)
from ..models import Body, Fetched, GetRequest, ObjectInfo, PutRequest, Sink, Stored
from ..paths import Location, as_prefix, last_of, parent_of, split_scheme
from ..redact import scrub, without_credentials
from ..transports.answers import slice_of
from . import Resources
from .base import ByFolder, Capabilities, Control, Ticket
from .local import guess_type

if TYPE_CHECKING:
    from ..settings import Secrets

T = TypeVar("T")

# What fsspec calls otherwise than we do: there is a backend of our own, which does more.
_OURS = {"local": "file", "gcs": "gs", "s3a": "s3"}
# What is made of ourselves, or of nothing that could be named by a cloudpath.
_NOT_THESE = {"cloudfiles", "generic", "data", "async_wrapper", "asyncwrapper"}
# Known to be for reading only, besides archives.
_READ_ONLY = {"git", "github", "gist", "reference", "dvc", "cached", "blockcache", "filecache"}
# Each file that is opened for reading there is the same one, with one position.
_OPENED_ONCE = {"memory"}
# At most so many bytes are asked for at once where they go to a sink, and sent from memory where there is no renaming.
_PIECE = 4 * 1024 * 1024
_AT_ONCE = 32 * 1024 * 1024
# A connection that was left alone for so many seconds is asked whether it is still there.
_FRESH = 1.0
_DRAFT = re.compile(r"\.cloudfiles-[0-9a-f]{16}\.part")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignLocation(Location):
    """A place that fsspec opens by ``url``; its names begin with ``base``, which is a slash or nothing."""

    url: str = field(repr=False)  # with what it says of user and password
    base: str


def knows(scheme: str) -> bool:
    """Whether fsspec has an implementation for a scheme, or knows who has."""
    return (scheme in registry or scheme in available_protocols()) and scheme not in _NOT_THESE


def locate(text: str, rest: str) -> ForeignLocation:
    """Take a cloudpath apart: ``scheme://[user[:password]@]host[:port]/folder``, or what else the implementation has.

    Of a chain, ``zip://folder::sftp://host/archive.zip``, what stands before the first ``::`` is the folder.
    ``ImportError`` if the implementation's own package is not installed.
    """
    scheme = split_scheme(text)[0]
    shown = without_credentials(text)
    if scheme in _OURS:
        raise ValueError(f"{shown!r}: unknown scheme {scheme!r} here; write {_OURS[scheme]}://")
    kind = _implementation(scheme, shown)
    inner, chain, target = rest.partition("::")
    if chain:
        if not target:
            raise ValueError(f"{shown!r}: what comes after '::' is missing, as in {scheme}://::/folder/archive")
        url = f"{scheme}://::{target}"
        prefix = as_prefix(inner, text)
        return ForeignLocation(scheme=scheme, root=without_credentials(url), prefix=prefix, url=url, base="")
    if issubclass(kind, AbstractArchiveFileSystem):
        raise ValueError(f"{shown!r}: which archive? Write {scheme}://::/folder/archive, or {scheme}://::s3://bucket/a")
    rest = rest.rstrip("/")
    try:
        probe = kind._strip_protocol(f"{scheme}://{rest}/x")
        given = kind._get_kwargs_from_urls(f"{scheme}://{rest}/x")
    except ValueError:  # which would say what it stumbled over: perhaps a part of a password
        raise ValueError(
            f"{scheme}://...: fsspec cannot read this cloudpath; a password with odd characters goes into secrets=, "
            "and github:// and gist:// need a commit or branch, as in github://owner:repository@main/folder"
        ) from None
    folder = probe[:-1].strip("/") if isinstance(probe, str) else ""
    if not isinstance(probe, str) or not probe.endswith("x") or not rest.endswith(folder):
        raise ValueError(f"{shown!r}: fsspec reads this path as another one; '?' and '#' cannot be in it")
    top = rest[: len(rest) - len(folder)].rstrip("/")
    url = f"{scheme}://{top}"
    root = url
    if given.get("password") is not None:
        root = f"{scheme}://{given.get('username')}@{top.rpartition('@')[2]}"
    return ForeignLocation(
        scheme=scheme,
        root=root,
        prefix=as_prefix(folder, text),
        url=url,
        base="/" if probe.startswith("/") else "",
    )


def parent_and_name(location: Location) -> tuple[str, str]:
    """The cloudpath of the folder that a place in a chain is in, and its name there."""
    url = cast(ForeignLocation, location).url
    inside = location.prefix.rstrip("/")
    folder, name = parent_of(inside), last_of(inside)
    return f"{location.scheme}://{folder}{url.removeprefix(f'{location.scheme}://')}", name


def open_backend(location: ForeignLocation, resources: Resources) -> ForeignBackend:
    """The backend for a place; nothing is connected before it is used."""
    return ForeignBackend(location, _options(resources.settings.secrets))


def _implementation(scheme: str, shown: str) -> type[AbstractFileSystem]:
    try:
        return cast("type[AbstractFileSystem]", get_filesystem_class(scheme))
    except ImportError as error:
        raise ImportError(f"{shown!r}: fsspec needs another package for {scheme}://: {error}") from error


def _options(given: Secrets | None) -> dict[str, object]:
    """The storage options that ``secrets=`` has: a mapping, or a JSON file with one."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    try:
        found = json.loads(Path(given).expanduser().read_bytes())
    except OSError as error:
        raise type(error)(f"secrets: a file that cannot be read ({error.strerror})") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("secrets: the file is not JSON with the storage options of fsspec in an object")
    return found


class ForeignBackend(ByFolder):
    """Files of one of fsspec's file systems."""

    can = Capabilities(blocking=True, flows=True, keeps=frozenset())

    def __init__(self, location: ForeignLocation, options: Mapping[str, object]) -> None:
        kind = _implementation(location.scheme, location.root)
        archive = issubclass(kind, AbstractArchiveFileSystem)
        memory = location.scheme == "memory"
        if memory and options.get("global_store") is False:
            raise ValueError("secrets: with global_store=False each connection would have files of its own")
        self.scheme = location.scheme  # type: ignore[misc]  # one class for all of fsspec's schemes
        self.can = replace(  # type: ignore[misc]
            type(self).can, writable=not archive and location.scheme not in _READ_ONLY, in_process=memory
        )
        self._base = location.base
        self._root = location.root
        self._secrets = [*_secrets_in(options), *_secrets_in(_given_by(kind, location))]
        self._instances = _Instances(lambda: _opened(kind, location, options), kind)
        self._seen_whole = location.scheme in _OPENED_ONCE
        self._folders = Lock()  # guards the next, and has folders be made by one at a time
        self._made: set[str] = set()
        self._warned = False
        self._checked: AbstractFileSystem | None = None  # an archive whose members have been looked at

    # -- what fsspec is asked ------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._base}{name}"

    def _do(self, path: str, call: Callable[[], T], *, writing: bool = False) -> T:
        """One call of fsspec's, whose errors become ours."""
        try:
            with self._instances.turn:
                return call()
        except TransferError:
            raise
        except Exception as error:  # noqa: BLE001 -- fsspec does not say what its libraries may raise
            said = str(error)
            shown = scrub(said, self._secrets)
            raise _error_of(error, shown, path, writing=writing) from (error if shown == said else None)

    @contextmanager
    def _lent(self, path: str) -> Iterator[AbstractFileSystem]:
        """A file system for one verb. What is not known to be harmless ends its connection."""
        try:
            lent = self._do(path, self._instances.take)
        except ObjectNotFound as error:  # not the file that is asked for, but what it would be in
            why = error.__cause__ or error.args[0]  # which has no secrets in it, as _do sees to
            raise TransferError(f"the place itself cannot be opened: {why}", path=path) from error
        except TransferError as error:
            error.connected = False  # so whoever is in a hurry need not wait for a server that may not be there
            raise
        try:
            yield lent
        except BaseException as error:
            self._instances.give_back(lent, whole=isinstance(error, _HARMLESS) and not error.retryable)
            raise
        self._instances.give_back(lent, whole=True)

    def _info(self, files: AbstractFileSystem, path: str) -> ObjectInfo:
        """What the store says of a file, now."""

        def ask() -> Mapping[str, object]:
            files.invalidate_cache()
            found: Mapping[str, object] = files.info(self._path(path))
            if _called_as_its_folder(path) and not files.isdir(self._path(parent_of(path))):
                raise FileNotFoundError(path)
            return found

        found = self._do(path, ask)
        if found.get("linkname") and not found.get("size"):  # of a tar: to what is empty, or not there
            self._do(path, lambda: files.open(self._path(path)).close())
        if found.get("type") == "directory":
            raise ObjectNotFound("no such file: it is a folder", path=path)
        return _info_of(path, found)

    # -- reading -------------------------------------------------------------------------------------------------

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        path = request.path
        with self._lent(path) as files:
            before = self._info(files, path)
            if request.pinned not in (None, before.etag):
                raise PreconditionFailed("the file has changed, or its store has no ETags", path=path)
            known = before.etag is not None and before.etag in request.known
            old = before.last_modified is not None and request.since is not None
            if known or (old and cast(float, before.last_modified) <= cast(float, request.since)):
                raise NotModified("not sent: it is here already", path=path)
            if before.size is None:  # then there is no other way to know where it ends
                return self._get_unmeasured(files, request, before, sink)
            start, size = request.start or 0, before.size
            slice_of(b"", start, request.end, size)  # raises if it begins behind the end
            end = max(start, size if request.end is None else min(size, request.end))
            if start >= size:
                end = start
            if sink is not None:
                sink.begin(before, start, end)
            got, blocks = 0, []
            with closing(self._read(files, path, start, end, size, pieces=sink is not None)) as read:
                for block in read:
                    got += len(block)
                    if got > end - start:
                        raise IntegrityError(f"expected {end - start} bytes, got more", path=path)
                    if sink is None:
                        blocks.append(block)
                    else:
                        sink.write(block)
            if got != end - start:
                raise IntegrityError(f"expected {end - start} bytes, got {got}", path=path)
            if got > _PIECE:
                self._check_unchanged(files, before, again=sink is None)
        content = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        return Fetched(content, size, before.etag, before.content_type, "length")

    def _read(
        self, files: AbstractFileSystem, path: str, start: int, end: int, size: int, *, pieces: bool
    ) -> Generator[bytes, None, None]:
        """Bytes ``[start, end)``: at once, or with ``pieces`` in such that many of them may be in memory."""
        here = self._path(path)
        if start == end:
            return
        if not pieces or end - start <= _PIECE:
            from_start, to_end = start or None, None if end == size else end
            yield self._do(path, partial(files.cat_file, here, start=from_start, end=to_end))
        elif self._seen_whole:
            for at in range(start, end, _PIECE):
                yield self._do(path, partial(files.cat_file, here, start=at, end=min(at + _PIECE, end)))
        else:
            file: IO[bytes] = self._do(path, lambda: files.open(here, "rb", block_size=_PIECE))
            try:
                if start:
                    self._do(path, lambda: file.seek(start))
                while start < end:
                    block = self._do(path, partial(file.read, min(_PIECE, end - start)))
                    if not block:
                        return
                    start += len(block)
                    yield block
            finally:
                self._do(path, file.close)

    def _get_unmeasured(
        self, files: AbstractFileSystem, request: GetRequest, info: ObjectInfo, sink: Sink | None
    ) -> Fetched:
        content = self._do(request.path, lambda: bytes(files.cat_file(self._path(request.path))))
        size, start = len(content), request.start or 0
        content = slice_of(content, start, request.end)
        if sink is not None:
            sink.begin(replace(info, size=size), start, start + len(content))
            sink.write(content)
            content = b""
        return Fetched(content, size, info.etag, info.content_type)

    def _check_unchanged(self, files: AbstractFileSystem, before: ObjectInfo, *, again: bool) -> None:
        """Raise if a file was written to while it was read piece by piece; ``again`` if to read it once more helps."""
        after = self._info(files, before.path)
        if (before.size, before.last_modified, before.etag) != (after.size, after.last_modified, after.etag):
            kind = IntegrityError if again else PreconditionFailed
            raise kind("the file was written to while it was read", path=before.path)

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of a file without reading it."""
        with self._lent(path) as files:
            return self._info(files, path)

    def _folder(self, folder: str, start: str, control: Control, *, asked: bool) -> Sequence[ObjectInfo]:
        """What fsspec tells of a folder: as a rule sizes and times."""
        try:
            found = control.retry(lambda: self._listed(folder, start))
        except ObjectNotFound:
            if asked:
                return []  # nothing has a name that begins so
            raise
        return [found[name] for name in sorted(found)]

    def _listed(self, folder: str, start: str) -> dict[str, ObjectInfo]:
        # not fsspec's ``find``: it leaves out without a word what cannot be listed
        here = self._path(folder).rstrip("/") or self._base

        with self._lent(folder) as files:

            def ask() -> Sequence[Mapping[str, object]]:
                files.invalidate_cache()
                entries: Sequence[Mapping[str, object]] = files.ls(here, detail=True)
                alone = len(entries) == 1 and _called_as_its_folder(str(entries[0]["name"]))
                return [] if alone and not files.isdir(here) else entries

            found = {}
            entries = self._do(folder, ask)
            if self._instances.archive:
                self._check_members(files, folder)
            for entry in entries:
                full = str(entry["name"]).rstrip("/")
                if full.strip("/") == here.strip("/"):
                    continue  # the folder itself, or a file of that name
                name = full.rpartition("/")[2]
                if name in ("", ".", ".."):
                    raise TransferError(f"cannot be listed: there is an entry called {full!r:.60}", path=folder)
                if not name.startswith(start) or _DRAFT.fullmatch(name):
                    continue
                kind = entry.get("type")
                if kind == "link":  # to what, the listing does not say
                    try:
                        entry = self._do(folder + name, partial(files.info, self._path(folder + name)))
                    except ObjectNotFound:
                        continue  # to nothing
                    kind = entry.get("type")
                path = f"{folder}{name}/" if kind == "directory" else folder + name
                found[path] = ObjectInfo(path) if kind == "directory" else _info_of(path, entry, listed=True)
            return found

    def _check_members(self, files: AbstractFileSystem, folder: str) -> None:
        """Raise if an archive has members that fsspec would leave out of its listings without a word."""
        if files is self._checked:
            return
        members: Mapping[str, Mapping[str, object]] = getattr(files, "dir_cache", {})
        for name in members:
            above = members.get(parent_of(name))
            if name and "" in name.split("/"):
                raise TransferError(f"cannot be listed: there is a member called {name!r:.60}", path=folder)
            if above is not None and above.get("type") == "file":
                raise TransferError(f"cannot be listed: {parent_of(name)!r:.60} is a file and a folder", path=folder)
        self._checked = files

    # -- writing -------------------------------------------------------------------------------------------------

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one file: under another name first, where files can be renamed there, else as fsspec stores it."""
        path = request.path
        if not self.can.writable:
            return super().put(request, ticket)
        if _DRAFT.fullmatch(last_of(path)):
            raise InvalidRequest("files that are being written are called so; choose another name", path=path)
        try:
            with self._lent(path) as files:
                store = self._put_beside if _renames(files) else self._put_at_once
                info = store(files, request)
        except TransferError:
            with self._folders:
                self._made.discard(parent_of(path))  # somebody may have removed it
            raise
        if request.content_type not in (None, guess_type(path)) or request.cache_control is not None:
            self._warn(request)
        return Stored(cast(int, info.size), info.etag, "length")

    def _put_beside(self, files: AbstractFileSystem, request: PutRequest) -> ObjectInfo:
        path, folder = request.path, parent_of(request.path)
        self._make_folder(files, folder, path)
        draft = f"{folder}/" * bool(folder) + f".cloudfiles-{secrets.token_hex(8)}.part"
        try:
            size = self._fill(files, draft, request)
            self._check_size(files, draft, path, size)
            self._rename(files, draft, path)
        except BaseException as error:
            if not isinstance(error, _LeftBeside):
                self._drop(draft)
            raise
        return self._check_size(files, path, path, size)

    def _put_at_once(self, files: AbstractFileSystem, request: PutRequest) -> ObjectInfo:
        """Without renaming: the store is given all bytes in one call, so no error of reading them cuts it short."""
        path, body = request.path, request.body
        here = self._path(path)
        if isinstance(body, bytes | memoryview) or (not isinstance(body, Flow) and body.size <= _AT_ONCE):
            content = b"".join(_pieces(body))
            self._with_folder(files, path, lambda: files.pipe_file(here, content))
            return self._check_size(files, path, path, len(content))
        with tempfile.TemporaryDirectory(prefix="cloudfiles-") as temporary:
            spool = os.path.join(temporary, "body")
            with open(spool, "wb") as file:
                size = sum(file.write(block) for block in _pieces(body))
            self._with_folder(files, path, lambda: files.put_file(spool, here))
        return self._check_size(files, path, path, size)

    def _with_folder(self, files: AbstractFileSystem, path: str, store: Callable[[], object]) -> None:
        """Store, and where that fails for want of a folder, make it and try once more."""
        try:
            self._do(path, store)
        except ObjectNotFound:
            self._make_folder(files, parent_of(path), path)
            self._do(path, store, writing=True)

    def _fill(self, files: AbstractFileSystem, draft: str, request: PutRequest) -> int:
        path = request.path
        file: IO[bytes] = self._do(path, lambda: files.open(self._path(draft), "wb", block_size=_PIECE), writing=True)
        size = 0
        try:
            for block in _pieces(request.body):
                self._do(path, partial(file.write, block), writing=True)
                size += len(block)
        except BaseException:
            with suppress(TransferError):  # the reason is on its way already
                self._do(path, file.close)
            raise
        self._do(path, file.close, writing=True)
        return size

    def _check_size(self, files: AbstractFileSystem, name: str, path: str, size: int) -> ObjectInfo:
        """What the store says of what was stored; raises if that is not as long as what was sent."""
        try:
            info = self._info(files, name)
        except ObjectNotFound:
            raise IntegrityError("the store has no such file, right after it was written", path=path) from None
        if info.size not in (None, size):
            raise IntegrityError(f"{size} bytes were sent, and the store has {info.size}", path=path)
        return info if info.size is not None else replace(info, size=size)

    def _rename(self, files: AbstractFileSystem, draft: str, path: str) -> None:
        """Give the finished file its name. Where a store renames to no name that is taken, the old file makes room."""
        here, there = self._path(draft), self._path(path)
        try:
            self._do(path, lambda: files.mv(here, there), writing=True)
            return
        except TransferError as error:
            if isinstance(error, ConnectionFailed | TransferTimeout | ServerError):
                raise
            refused = error
        found: Mapping[str, object] | None = None
        with suppress(ObjectNotFound):
            found = self._do(path, lambda: cast("Mapping[str, object]", files.info(there)))
        if found is None:
            raise refused
        if found.get("type") == "directory":
            raise InvalidRequest("there is a folder of this name; choose another name, or remove it", path=path)
        old = f"{here[: -len('.part')]}0.old"
        try:
            self._do(path, lambda: files.mv(there, old), writing=True)
        except TransferError:
            raise refused from None  # it renames nothing at all, and nothing has happened
        try:
            self._do(path, lambda: files.mv(here, there), writing=True)
        except TransferError as error:
            try:
                self._do(path, lambda: files.mv(old, there), writing=True)
            except TransferError:
                raise _LeftBeside(
                    f"{error.args[0]}; the file that was there is now {last_of(old)!r}, the new one {last_of(draft)!r}",
                    path=path,
                ) from None
            raise
        self._do(path, lambda: files.rm_file(old), writing=True)

    def _make_folder(self, files: AbstractFileSystem, folder: str, path: str) -> None:
        if not folder:
            return
        here = self._path(folder)
        with self._folders:
            if folder in self._made:
                return

            def make() -> None:
                files.invalidate_cache()
                if files.isdir(here):
                    return
                try:
                    files.makedirs(here, exist_ok=True)
                except Exception:
                    files.invalidate_cache()
                    if not files.isdir(here):  # else another process has made it
                        raise

            self._do(path, make, writing=True)
            self._made.add(folder)

    def _drop(self, draft: str) -> None:
        """Remove what became nothing; by a connection of its own, since the other one may be the reason."""
        with suppress(TransferError), self._lent(draft) as files:
            self._do(draft, lambda: files.rm_file(self._path(draft)))

    def _warn(self, request: PutRequest) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{request.path!r} and perhaps others were stored without the content type or cache control that was "
                f"asked for: {self.scheme}:// keeps none, and the type is what the name says",
                UntypedWarning,
                stacklevel=2,
            )

    def delete(self, path: str) -> None:
        """Remove one file; one that is not there counts as removed, and so does a folder, which stays."""
        if not self.can.writable:
            super().delete(path)  # raises
        with suppress(ObjectNotFound), self._lent(path) as files:
            self._info(files, path)
            self._do(path, lambda: files.rm_file(self._path(path)), writing=True)  # ``rm`` would take it for a glob

    def close(self) -> None:
        """Let go of connections."""
        self._instances.close()


class _LeftBeside(TransferError):
    """A file was written and could not be given its name, and what had that name has another one now."""


# -- connections --------------------------------------------------------------------------------------------------


class _Instances:
    """fsspec's objects, each a connection as a rule: one for each worker that is at work, kept for the next one.

    fsspec has them be used by one thread each, but for those that run in its own event loop. An archive is one object
    as well, since each would read the whole table of what is in it; its callers take turns.
    """

    def __init__(self, make: Callable[[], AbstractFileSystem], kind: type[AbstractFileSystem]) -> None:
        self.archive = issubclass(kind, AbstractArchiveFileSystem)
        self.turn: AbstractContextManager[object] = RLock() if self.archive else nullcontext()
        self._make = make
        self._one = self.archive or bool(kind.async_impl)
        self._lock = Lock()  # guards what follows
        self._process = os.getpid()
        self._idle: list[tuple[AbstractFileSystem, float]] = []

    def take(self) -> AbstractFileSystem:
        """One to work with."""
        with self._lock:
            if self._process != os.getpid():  # those of the parent are not ours to use, nor to end
                self._process, self._idle = os.getpid(), []
            if self._one:
                if not self._idle:
                    self._idle.append((self._make(), 0.0))
                return self._idle[0][0]
        while True:
            with self._lock:
                if not self._idle:
                    break
                files, since = self._idle.pop()
            if time.monotonic() - since < _FRESH or _answers(files):
                return files
            _let_go(files)
        return self._make()

    def give_back(self, files: AbstractFileSystem, *, whole: bool) -> None:
        """It is not needed any more; ``whole`` if it can be used again."""
        if self._one:
            if self.archive and not whole:  # whatever it is read from may be gone; others may still be at it
                with self._lock:
                    self._idle = [each for each in self._idle if each[0] is not files]
            return
        if whole and self._process == os.getpid():
            with self._lock:
                self._idle.append((files, time.monotonic()))
        else:
            _let_go(files)

    def close(self) -> None:
        """End those that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._process == os.getpid():
            for files, _ in idle:
                _let_go(files)


def _opened(
    kind: type[AbstractFileSystem], location: ForeignLocation, options: Mapping[str, object]
) -> AbstractFileSystem:
    try:
        if "::" in location.url:
            return url_to_fs(location.url, **{**options, "skip_instance_cache": True})[0]
        given = {**_given_by(kind, location), **options}
        signature(kind.__init__).bind(None, **given)  # what was begun, and then refused, some cannot be rid of quietly
        return filesystem(location.scheme, **{**given, "skip_instance_cache": True})
    except TypeError as error:  # what it takes are arguments of its own
        raise ValueError(f"storage options that {location.scheme}:// does not take, or lacks: {error}") from error


def _given_by(kind: type[AbstractFileSystem], location: ForeignLocation) -> dict[str, object]:
    """What a URL says of host, user and the like."""
    if "::" in location.url:
        return {}
    given: dict[str, object] = kind._get_kwargs_from_urls(f"{location.url}/x")
    return given


def _answers(files: AbstractFileSystem) -> bool:
    """Whether a connection is still there. FTP has to be asked: what fsspec makes of one that the server has ended is
    an empty folder."""
    ask = getattr(getattr(files, "ftp", None), "voidcmd", None)
    if ask is None:
        return True
    from ftplib import all_errors  # loaded already, by whoever has made this one

    try:
        ask("NOOP")
    except all_errors:
        return False
    return True


def _let_go(files: AbstractFileSystem) -> None:
    """End a connection. There is no one way: these are where implementations keep theirs."""
    for name in ("zip", "tar", "of", "ftp", "client"):
        close = getattr(getattr(files, name, None), "close", None)
        if callable(close):
            with suppress(OSError, EOFError, ValueError):  # it is over in any case
                close()


def _renames(files: AbstractFileSystem) -> bool:
    """Whether ``mv`` is the store's own, and not a copy that is removed afterwards."""
    while type(files).__name__ == "DirFileSystem":
        files = files.fs
    return type(files).mv is not AbstractFileSystem.mv


def _called_as_its_folder(path: str) -> bool:
    """Whether this may be a file that an FTP server lists when it is asked what is in it, as if it were its folder."""
    return last_of(path) == last_of(parent_of(path))


# -- bytes and facts ----------------------------------------------------------------------------------------------


def _pieces(body: bytes | memoryview | Body) -> Iterator[bytes | memoryview]:
    """A body, block by block; raises if it has not the size that it had."""
    if isinstance(body, bytes | memoryview):
        yield body
    elif isinstance(body, Flow):
        yield from body.rest()
    else:
        left = body.size
        with body.open() as reader:
            while left:
                block = reader.read(min(BLOCK, left))
                if not block:
                    raise TransferError(f"the body is {left} bytes shorter than when it was measured; has it changed?")
                left -= len(block)
                yield block
        if isinstance(body, LocalFile):
            body.check()


_ETAGS = ("ETag", "etag", "md5", "sha", "hex")  # of object stores, of GitHub, of git
_TIMES = ("mtime", "modified", "LastModified", "last_modified", "last_write_time", "modify", "created")


def _info_of(path: str, found: Mapping[str, object], *, listed: bool = False) -> ObjectInfo:
    size = found.get("size")
    etag = next((value.strip('"') for name in _ETAGS if isinstance(value := found.get(name), str) and value), None)
    modified = next((time for name in _TIMES if (time := _seconds(found.get(name))) is not None), None)
    return ObjectInfo(
        path,
        size if isinstance(size, int) else None,
        etag,
        None if listed else guess_type(path),
        modified,
    )


def _seconds(value: object) -> float | None:
    """Seconds since 1970 of what an implementation calls a time; None of what could be any hour of the day."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"\d{14}(\.\d+)?", value):  # FTP's, which is UTC
        return datetime.strptime(f"{value[:14]}Z", "%Y%m%d%H%M%S%z").timestamp()
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)).timestamp()
    return None


def _secrets_in(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets_in(value)
        elif isinstance(value, str) and _SECRET.search(str(name)) and len(value) > 1:
            yield value


_SECRET = re.compile(r"(?i)pass|secret|token|key|auth|cred|sas|acct")


# -- errors -------------------------------------------------------------------------------------------------------

# After these a connection is as it was before.
_HARMLESS = (ObjectNotFound, NotModified, PreconditionFailed, RangeNotSatisfiable, ReadOnly)
_FOR_GOOD = {ENOSPC, EDQUOT, EROFS, ENAMETOOLONG}
# What says that an archive is none, or is broken, of zipfile, tarfile, zlib and lzma; it will be next time, too.
_BROKEN = {"BadZipFile", "TarError", "BadGzipFile", "LZMAError"}
_CUT_SHORT = "Compressed file ended before the end-of-stream marker was reached"
_DENIED = re.compile(r"(?i)permission|denied|privilege|not allowed|forbidden|log ?in|authenti|authori[sz]")


def _error_of(error: BaseException, said: str, path: str, *, writing: bool) -> TransferError:
    """The error of ours for what a library raised; ``said`` is its text without secrets."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, OSError) and type(error).__module__ != "builtins" and error.errno in errorcode:
        known = OSError(error.errno, said)  # of the class that Python has for it
        if type(known) is not OSError:
            return _error_of(known, said, path, writing=writing)
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and cause is not None and type(cause).__module__ == "ftplib":
        return _error_of(cause, scrub(str(cause)), path, writing=writing)  # fsspec takes any refusal of FTP for this
    said = said or type(error).__name__
    if isinstance(error, PermissionError) or kinds & {"AuthenticationException", "BadHostKeyException"}:
        return AccessDenied(f"access denied: {said}", path=path)
    if "error_perm" in kinds:  # ftplib's, for all that is refused
        if _DENIED.search(said) or said.startswith(("53", "553")):
            return AccessDenied(f"access denied: {said}", path=path)
        return TransferError(f"the server refused: {said}", path=path) if writing else ObjectNotFound(said, path=path)
    if kinds & {"error_temp", "error_reply", "error_proto"}:
        return ServerError(f"the server failed: {said}", path=path)
    if isinstance(error, IsADirectoryError):
        if writing:
            return InvalidRequest("there is a folder of this name; choose another name, or remove it", path=path)
        return ObjectNotFound("no such file: it is a folder", path=path)
    if isinstance(error, FileExistsError | NotADirectoryError):
        if writing:
            return InvalidRequest("a part of this path is a file, and would have to be a folder", path=path)
        return ObjectNotFound("no such file", path=path)
    if isinstance(error, FileNotFoundError):
        return ObjectNotFound("no such file", path=path)
    if isinstance(error, NotImplementedError):
        kind = ReadOnly if writing else InvalidRequest
        return kind(f"fsspec's implementation cannot do that: {said}", path=path)
    if isinstance(error, ImportError | ValueError | TypeError | LookupError | AttributeError | ArithmeticError):
        return InvalidRequest(f"fsspec's implementation refused: {type(error).__name__}: {said}", path=path)
    if kinds & _BROKEN or type(error).__module__ == "zlib" or said == _CUT_SHORT:
        return TransferError(f"the archive is broken: {said}", path=path)
    if isinstance(error, TimeoutError):
        return TransferTimeout(f"no answer in time: {said}", path=path)
    if isinstance(error, OSError) and error.errno in _FOR_GOOD:
        failed = TransferError(f"the store failed: {said}", path=path)
        failed.errno = error.errno
        return failed
    # what is left may pass: connections, and what libraries have of their own for them
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        failed = TransferError(f"the store failed: {said}", path=path)
        failed.retryable = True
        return failed
    return ConnectionFailed(f"the store failed: {said}", path=path)
