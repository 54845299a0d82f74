"""File systems of fsspec over ``ArtifactFiles``: one for any place, ``HyphaFileSystem`` for artifacts.

The rules of which file goes where (globs, folders that are there or not, slashes) are fsspec's own; what they come to
is done in bulk by ``ArtifactFiles``. The synchronous methods call it directly, and the coroutines await its futures, or
a thread for the call: fsspec's loop and its thread are not started from here.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial, wraps
from threading import RLock
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from fsspec.asyn import AsyncFileSystem, get_loop
from fsspec.callbacks import DEFAULT_CALLBACK, Callback, NoOpCallback
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.spec import AbstractFileSystem, make_instance
from fsspec.utils import isfilelike, tokenize

from ..bridge import call, content_of
from ..errors import ArtifactNotFound, BucketNotFound, ObjectNotFound, RangeNotSatisfiable
from ..files import ArtifactFiles
from ..models import ObjectInfo
from ..ranges.awaited import AsyncRangeFile
from .expansion import Expansion
from .places import Entry, Place, is_staged, raise_first
from .streams import AsyncWriting, CachedReading, CompressedWriting, Deferred, Reading, TextWriting, Writing
from .transactions import StagedTransaction

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

R = TypeVar("R")
# What callers ask of any file that is read, and the files of a ``RangeCache`` have no use for (dask: default_cache).
_OF_OTHER_READERS = frozenset({"cache_type", "size", "default_cache", "fill_cache"})
_CACHING = ("use_listings_cache", "listings_expiry_time", "max_paths")


def _folder(path: str) -> Entry:
    return {"name": path.rstrip("/"), "size": 0, "type": "directory"}


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "no such file or folder", path)


class _Told:
    """A bar that tells a callback of fsspec."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def update(self, count: int) -> None:
        self._callback.relative_update(count)


def _bar(callback: Callback) -> _Told | bool:
    return False if isinstance(callback, NoOpCallback) else _Told(callback)


def _threaded(verb: Callable[..., R]) -> Callable[..., Coroutine[Any, Any, R]]:
    """The coroutine of a method that blocks: awaited while a thread of its own is at it."""

    @wraps(verb)
    async def method(*args: Any, **kwargs: Any) -> R:
        return await call(partial(verb, *args, **kwargs))

    return method


class ArtifactFileSystem(AsyncFileSystem):  # type: ignore[misc]
    """Any place that ``ArtifactFiles`` knows, as a file system of fsspec: ``ArtifactFileSystem("s3://bucket/prefix")``.

    Paths are relative to ``root``, a cloudpath; its protocol is ``cloudfiles``. ``options`` are those of
    ``ArtifactFiles``. Listings are cached only with ``use_listings_cache=True`` (and ``listings_expiry_time``,
    ``max_paths``), as others may write; what is written here is forgotten there.

    Folders are there as long as something is in them: ``mkdir`` writes nothing. What is read at a range that begins
    behind the end is ``b""``. Safe to share between threads and loops, and to fork. A pickled copy is made anew from
    the same options; one that was pickled within a transaction writes into that.
    """

    protocol = "cloudfiles"
    mirror_sync_methods = False
    transaction_type = StagedTransaction

    def __init__(
        self,
        root: str = "",
        *,
        asynchronous: bool = False,
        loop: AbstractEventLoop | None = None,
        batch_size: int | None = None,
        joined: Iterable[tuple[str, str]] = (),
        **options: Any,
    ) -> None:
        caching = {name: options.pop(name) for name in _CACHING if name in options}
        caching.setdefault("use_listings_cache", False)
        super().__init__(asynchronous=True, batch_size=batch_size, **caching)  # which starts no loop
        self.asynchronous = asynchronous
        self._given_loop = loop
        self._root = root
        self._options = options
        self._joined = dict(joined)
        self._opened: dict[str, ArtifactFiles] = {}
        self._opening = RLock()  # guards the one above
        inspect.signature(ArtifactFiles).bind("", **options)  # what is none of its options is said now
        if type(self) is ArtifactFileSystem:
            if not root:
                raise ValueError("which place? ArtifactFileSystem('s3://bucket'), or the option root='s3://bucket'")
            self._files_of("", root)

    @property
    def loop(self) -> AbstractEventLoop:
        """A loop for whoever wants to run our coroutines in another thread; nothing here asks for it."""
        return cast("AbstractEventLoop", self._given_loop or get_loop())

    @property
    def fsid(self) -> str:
        """Tells places apart, between processes as well."""
        return f"{self.protocol}_{tokenize(self._root, self._options.get('server_url'))}"

    def __dask_tokenize__(self) -> str:
        options = sorted((name, str(value)) for name, value in self.storage_options.items())
        return cast(str, tokenize(type(self).__qualname__, self.storage_args, options))

    def __reduce__(self) -> tuple[Any, ...]:
        options, joined = self.storage_options, {**self._joined}
        if self._intrans:
            for root, files in [*self._opened.items()]:
                token = getattr(files.__getstate__()["location"], "joined", None)
                if token is not None:
                    joined[root] = token
        if joined:
            options = {**options, "joined": tuple(sorted(joined.items()))}
        return make_instance, (type(self), self.storage_args, options)

    def close(self) -> None:
        """Close idle connections; the object may be used again."""
        for files in [*self._opened.values()]:
            files.close()

    # -- names

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return super()._strip_protocol(path).lstrip("/")  # of a place all paths are below its root, which is ""

    def _files_of(self, root: str, cloudpath: str) -> ArtifactFiles:
        with self._opening:
            files = self._opened.get(root)
            if files is None:
                files = ArtifactFiles(cloudpath, **self._options)
                if root in self._joined:
                    state = files.__getstate__()
                    state["location"] = replace(state["location"], joined=self._joined[root])
                    files.__setstate__(state)
                self._opened[root] = files
        return files

    def _place(self, path: str) -> Place:
        return Place(self._files_of("", self._root), "", self._strip_protocol(path))

    def _file(self, path: str) -> Place:
        """The place of what can only be a file."""
        place = self._place(path)
        if not place.name:
            raise IsADirectoryError(errno.EISDIR, "a folder, not a file", path)
        return place

    def _to_write(self, path: str) -> Place:
        place = self._file(path)
        self._enter(place)
        return place

    def _enter(self, place: Place) -> None:
        if self._intrans:
            self.transaction.enter(place)

    def _grouped(self, paths: Sequence[str], *, write: bool = False) -> Iterator[tuple[list[int], list[Place]]]:
        """The places of paths, with their numbers, those of one ``ArtifactFiles`` together."""
        groups: dict[str, tuple[list[int], list[Place]]] = {}
        for index, path in enumerate(paths):
            place = self._to_write(path) if write else self._file(path)
            indices, places = groups.setdefault(place.root, ([], []))
            indices.append(index)
            places.append(place)
        yield from groups.values()

    def _entry(self, root: str, info: ObjectInfo) -> Entry:
        path = f"{root}/{info.path}" if root else info.path
        if info.path.endswith("/"):
            return _folder(path)
        entry: Entry = {"name": path, "size": info.size, "type": "file", "ETag": info.etag, "mtime": info.last_modified}
        entry["ContentType"] = info.content_type
        if info.last_modified is not None:
            entry["LastModified"] = datetime.fromtimestamp(info.last_modified, timezone.utc)
        return entry

    # -- what is there

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings: all, or those above and below ``path``."""
        if path is None:
            self.dircache.clear()
        else:
            path = self._strip_protocol(path)
            for name in [*self.dircache]:
                if not name or f"{path}/".startswith(f"{name}/") or name.startswith(f"{path}/"):
                    self.dircache.pop(name, None)
        super().invalidate_cache(path)

    def _changed(self, paths: Iterable[str]) -> None:
        for path in paths:
            if self.dircache.use_listings_cache:
                self.invalidate_cache(path)

    def ls(self, path: str, detail: bool = True, refresh: bool = False) -> list[Any]:
        """What is in a folder: files with size, time and ETag, so far as the store's listing tells, and folders."""
        path = self._strip_protocol(path)
        entries: list[Entry] | None = None if refresh else self._kept(path)
        if entries is None:
            place = self._place(path)
            entries = [self._entry(place.root, info) for info in self._level(place) if info.path != place.folder]
            if not entries and place.name:
                entry = self._described(place)
                if entry is None:
                    raise _missing(path)
                return [entry] if detail else [path]
            self.dircache[path] = entries
        return entries if detail else sorted(entry["name"] for entry in entries)

    def _level(self, place: Place) -> Iterator[ObjectInfo]:
        """What is in a folder; on a disk no folders without a file below them, which take a look into each."""
        return (info for info in place.files._infos(place.folder, flat=True) if self._leads_on(place.files, info))

    def _leads_on(self, files: ArtifactFiles, info: ObjectInfo) -> bool:
        empty = info.path.endswith("/") and files._backend.scheme == "file"
        return not empty or next(files._infos(info.path), None) is not None

    def _kept(self, path: str) -> list[Entry] | None:
        return cast("list[Entry]", self.dircache[path]) if path in self.dircache else None

    def _described(self, place: Place) -> Entry | None:
        """The file of this name, if there is one."""
        try:
            return self._entry(place.root, place.files.head(place.name))
        except (ArtifactNotFound, BucketNotFound):
            raise
        except (ObjectNotFound, IsADirectoryError):
            return None

    def info(self, path: str, refresh: bool = False) -> Entry:
        """A file or a folder; of a file with its ETag and time (``mtime``, ``LastModified``)."""
        path = self._strip_protocol(path)
        if self._is_above(path):
            return _folder(path)
        if not refresh:
            for known in self._kept(self._parent(path)) or ():
                if known["name"] == path and known["type"] == "file":
                    return known
        place = self._place(path)
        entry = self._described(place) if place.name else None
        return self._as_folder(place) if entry is None else entry

    def _as_folder(self, place: Place) -> Entry:
        if not self._holds_files(place) and place.name:  # of all of a place it is looked whether it is there
            raise _missing(place.path)
        return _folder(place.path)

    def _holds_files(self, place: Place) -> bool:
        """Whether there is a file anywhere below: SeaweedFS, and disks, list folders that were left empty, too."""
        folders: list[str] = []
        for info in place.files._infos(place.folder, flat=True):
            if not info.path.endswith("/") or info.path == place.folder:
                return True  # without a look at the rest, which may be long
            folders.append(info.path)
        if place.files._backend.scheme != "hypha":
            return next(place.files._infos(place.folder), None) is not None
        # one folder after the other: to list all below begins with dozens of them, and mostly the first one will do
        return any(self._holds_files(place._replace(name=folder.rstrip("/"))) for folder in folders)

    def _is_above(self, path: str) -> bool:
        """Whether it only leads to places."""
        return False

    def exists(self, path: str, **options: Any) -> bool:
        """Whether there is such a file or folder; being refused or out of reach raises."""
        try:
            self.info(path, **options)
        except FileNotFoundError:
            return False
        return True

    def _kind(self, path: str) -> str | None:
        try:
            return cast(str, self.info(path)["type"])
        except FileNotFoundError:
            return None

    def isfile(self, path: str) -> bool:
        """Whether there is a file of this name; being refused or out of reach raises."""
        return self._kind(path) == "file"

    def isdir(self, path: str) -> bool:
        """Whether anything is in a folder of this name; being refused or out of reach raises."""
        return self._kind(path) == "directory"

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        refresh: bool = False,
    ) -> Any:
        """All files below a path, from one listing (with ``maxdepth``, from one of each folder, some side by side)."""
        path = self._strip_protocol(path)
        if maxdepth is not None and maxdepth < 1:
            raise ValueError(f"maxdepth={maxdepth!r}: expected at least 1")
        if maxdepth is not None and not self._is_above(path) and not self.dircache.use_listings_cache:
            found = self._find_levels(self._place(path), maxdepth, withdirs)
        elif maxdepth is not None or self._is_above(path):
            found = cast("dict[str, Entry]", AbstractFileSystem.find(self, path, maxdepth, withdirs, True))
            found = {name: known or self.info(name) for name, known in found.items()}
        else:
            found = self._find_all(self._place(path), withdirs)
        return dict(sorted(found.items())) if detail else sorted(found)

    def _find_levels(self, place: Place, levels: int, withdirs: bool) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for info in place.files._infos_down_to(place.folder, levels, partial(self._leads_on, place.files)):
            entry = self._entry(place.root, info)
            if withdirs or entry["type"] == "file":
                found[entry["name"]] = entry
        if place.name and not found and (entry_of_file := self._described(place)):
            return {place.path: entry_of_file}
        if withdirs and place.path and (found or self._holds_files(place)):
            found[place.path] = _folder(place.path)
        return found

    def _find_all(self, place: Place, withdirs: bool) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        folders: dict[str, Entry] = {}
        for info in place.files._infos(place.folder):
            entry = self._entry(place.root, info)
            inside = info.path[len(place.folder) :].rstrip("/").split("/")
            if entry["type"] == "file":
                found[entry["name"]] = entry
                inside.pop()
            name = place.path
            for part in inside:
                name = f"{name}/{part}" if name else part
                folders.setdefault(name, _folder(name))
            if place.path:
                folders[place.path] = _folder(place.path)
        if not found and not folders and place.name:
            file = self._described(place)
            return {} if file is None else {place.path: file}
        return {**folders, **found} if withdirs else found

    def du(
        self, path: str, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **options: Any
    ) -> Any:
        """Bytes below a path, from the listing; by name with ``total=False``."""
        found = self.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **options)
        sizes = {name: entry["size"] or 0 for name, entry in found.items()}
        return sum(sizes.values()) if total else sizes

    def modified(self, path: str) -> datetime:
        """When the object that is there was stored."""
        modified: datetime | None = self.info(path).get("LastModified")
        if modified is None:
            raise NotImplementedError(f"{path}: the store does not say when it was modified")
        return modified

    def created(self, path: str) -> datetime:
        """The same as ``modified``: objects are not changed, only replaced."""
        return self.modified(path)

    def ukey(self, path: str) -> str:
        """Text that is another one when the content is another one."""
        entry = self.info(path)
        known = entry.get("ETag") or (entry.get("mtime") and (entry["size"], entry["mtime"]))
        if entry["type"] == "file" and not known:
            raise NotImplementedError(f"{path}: the store tells nothing by which one content is known from another")
        return hashlib.sha256(f"{self.fsid} {entry['name']} {known}".encode()).hexdigest()

    def checksum(self, path: str) -> int:
        """A number that is another one when the content is another one."""
        return int(self.ukey(path), 16)

    def sign(self, path: str, expiration: int = 100) -> str:
        """A URL by which anybody can read a file for so many seconds; see ``ArtifactFiles.urls``."""
        place = self._file(path)
        return cast(str, place.files.urls(place.name, expiration))

    # -- reading

    def _ranges(
        self, places: Sequence[Place], starts: Sequence[int | None], ends: Sequence[int | None]
    ) -> tuple[list[Any], dict[int, Exception]]:
        """What to ask ``get`` for, all of one ``ArtifactFiles``; and which cannot be asked for. Offsets from the end
        need sizes, and of what no byte is wanted it has to be asked whether it is there."""
        heads: dict[str, Any] = {}
        wanted = zip(places, starts, ends, strict=True)
        unknown = {place.name for place, *limits in wanted if _from_end(*limits) or _is_empty(*limits)}
        if unknown:
            heads = {result["path"]: result for result in places[0].files._heads(sorted(unknown))}
        items: list[Any] = []
        errors: dict[int, Exception] = {}
        for index, (place, start, end) in enumerate(zip(places, starts, ends, strict=True)):
            item: Any = {"path": place.name}
            try:
                head = heads.get(place.name)
                if head is not None and head["error"] is not None:
                    raise head["error"]
                if head is not None and _from_end(start, end):
                    start, end = _from_start(head["content"], start, end)
                if start is not None or end is not None:
                    item.update(start=start, end=None if end is None else max(end, start or 0))
            except OSError as error:
                errors[index] = error
            items.append(item)
        return items, errors

    def _cat_many(
        self, paths: Sequence[str], starts: Sequence[int | None], ends: Sequence[int | None]
    ) -> list[bytes | Exception]:
        found: list[bytes | Exception] = [b""] * len(paths)
        for indices, places in self._grouped(paths):
            items, errors = self._ranges(places, [starts[index] for index in indices], [ends[i] for i in indices])
            asked = [number for number in range(len(items)) if number not in errors]
            for number, refused in errors.items():
                found[indices[number]] = refused
            results = places[0].files.get([items[number] for number in asked], raise_errors=False)
            for number, result in zip(asked, results, strict=True):
                error = result["error"]
                beyond = isinstance(error, RangeNotSatisfiable)
                found[indices[number]] = b"" if beyond else result["content"] if error is None else error
        return found

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """The content of a file, or of ``[start:end]`` of it, counted as in a slice."""
        place = self._file(path)
        if start is None and end is None:
            return place.files.get(place.name)
        (content,) = self._cat_many([path], [start], [end])
        if isinstance(content, Exception):
            raise content
        return content

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise") -> Any:
        """The content of a file; of a list, a glob, or all files below a folder (``recursive``) a dict by path, which
        are read in one batch."""
        expansion = Expansion(self)
        paths = [name for name in expansion.expand_path(path, recursive=recursive) if name not in expansion.folders]
        if isinstance(path, str | os.PathLike) and paths == [self._strip_protocol(path)]:
            return self.cat_file(paths[0])
        contents = self._cat_many(paths, [None] * len(paths), [None] * len(paths))
        if on_error == "raise":
            raise_first({"error": each} for each in contents if isinstance(each, Exception))
        found = zip(paths, contents, strict=True)
        return {name: each for name, each in found if on_error != "omit" or not isinstance(each, Exception)}

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
    ) -> list[bytes | Exception]:
        """Ranges of files, in order, read in one batch, where close ones are fetched together by themselves."""
        if not isinstance(paths, list):
            raise TypeError(f"paths is a list, not {type(paths).__name__}")
        starts = [*starts] if isinstance(starts, Iterable) else [starts] * len(paths)
        ends = [*ends] if isinstance(ends, Iterable) else [ends] * len(paths)
        if not len(starts) == len(ends) == len(paths):
            raise ValueError(f"{len(paths)} paths, {len(starts)} starts and {len(ends)} ends do not go together")
        found = self._cat_many(paths, starts, ends)
        if on_error != "return":
            raise_first({"error": each} for each in found if isinstance(each, Exception))
        return found

    def head(self, path: str, size: int = 1024) -> bytes:
        """The first bytes of a file."""
        return self.cat_file(path, 0, size)

    def tail(self, path: str, size: int = 1024) -> bytes:
        """The last bytes of a file."""
        return self.cat_file(path, -size)

    def get_file(
        self, rpath: str, lpath: Any = None, callback: Callback = DEFAULT_CALLBACK, outfile: BinaryIO | None = None
    ) -> None:
        """One file to the disk, or into an open file; large ones in parts side by side."""
        target = lpath if outfile is None and isfilelike(lpath) else outfile
        place = self._file(rpath)
        if target is not None:
            place.files.get({"path": place.name, "into": target})
            return
        self._download([(rpath, os.fspath(lpath))], callback, alone=True)

    def get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
    ) -> None:
        """Files to the disk, all in one ``download``, which verifies them; by the rules of fsspec."""
        expansion = Expansion(self)
        AbstractFileSystem.get(expansion, rpath, lpath, recursive=recursive, maxdepth=maxdepth)
        pairs = [(self._strip_protocol(source), os.fspath(target)) for source, target in expansion.pairs]
        for source, target in pairs:
            if source in expansion.folders:
                os.makedirs(target, exist_ok=True)
        files = [pair for pair in pairs if pair[0] not in expansion.folders]
        callback.set_size(len(files))
        self._download(files, callback)

    def _download(self, pairs: Sequence[tuple[str, str]], callback: Callback, alone: bool = False) -> None:
        targets = [os.path.abspath(target) for _, target in pairs]
        above = os.path.commonpath([os.path.dirname(target) for target in targets]) if targets else ""
        for indices, places in self._grouped([source for source, _ in pairs]):
            items = [
                {"path": place.name, "local_path": os.path.relpath(targets[index], above).replace(os.sep, "/")}
                for index, place in zip(indices, places, strict=True)
            ]
            results = places[0].files.download(
                items,
                above,
                windows_names=True,  # whoever names a target means it
                raise_errors=False,
                progress=cast(Any, False if alone else _bar(callback)),
            )
            raise_first(results)
            if alone:
                callback.set_size(results[0]["size"])
                callback.absolute_update(results[0]["size"])

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        if mode == "rb":
            if options.get("cache_type") is None and not cache_options:
                options = {name: value for name, value in options.items() if name not in _OF_OTHER_READERS}
                return Reading(self, path, self._file(path), **options)
            return CachedReading(self, path, self._file(path), block_size, cache_options, **options)
        place = self._to_write(path)
        if autocommit or is_staged(place):
            return Writing(self, path, place, mode, **options)
        if mode != "wb" or options:
            raise ValueError(f"mode={mode!r}: here a transaction takes files that are written anew ('wb') and plain")
        return Deferred(path)

    def open(self, path: Any, mode: str = "rb", **options: Any) -> Any:
        """A file to read, to write (w, x, a) or both (+); when a ``with`` block of writing raises, nothing is stored.

        One to read is a ``RangeFile``, whose ``options`` it takes; with ``cache_type`` it is read through that cache of
        fsspec's, for which alone ``block_size`` means something. One to write is that of ``ArtifactFiles.open``.
        """
        if "r" in mode and "+" not in mode:
            return super().open(path, mode, **options)
        text = {name: options.pop(name) for name in ("encoding", "errors", "newline") if name in options}
        codec = get_compression(path, options.pop("compression", None))
        if codec is not None and "+" in mode:
            raise ValueError(f"mode={mode!r}: what is compressed is read or written, not both")
        file = super().open(path, mode if "b" in mode else mode.replace("t", "") + "b", **options)
        if codec is not None:
            file = CompressedWriting(file, compr[codec])
        return file if "b" in mode else TextWriting(file, **text)

    # -- writing

    def pipe_file(self, path: str, value: Any, mode: str = "overwrite", **options: Any) -> None:
        """Store bytes; ``options`` are ``put``'s. With ``mode="create"`` only if nothing is there."""
        if mode == "create":
            options.update(self._if_new(self._file(path)))
        place = self._to_write(path)
        place.files.put(place.name, value, **options)
        self._changed([path])

    def _if_new(self, place: Place) -> dict[str, str]:
        """The option for a write that replaces nothing. Where the store cannot decide that, it is looked before."""
        if "new" in place.files._backend.can.conditions:
            return {"overwrite": "never"}
        if place.files.exists(place.name):
            raise FileExistsError(errno.EEXIST, "it is there already", place.path)
        return {}

    def pipe(self, path: Any, value: Any = None, **options: Any) -> None:
        """Store bytes by path, all of a dict together, and on Hypha in one commit."""
        if isinstance(path, str):
            return self.pipe_file(path, value, **options)
        if not isinstance(path, Mapping):
            raise TypeError("path is a string, or a dict of paths and what to store there")
        if options.pop("mode", "overwrite") == "create":
            for name, content in path.items():
                self.pipe_file(name, content, mode="create", **options)
            return None
        contents = [*path.values()]
        for indices, places in self._grouped([*path], write=True):
            items = [(place.name, contents[index]) for index, place in zip(indices, places, strict=True)]
            raise_first(places[0].files.puts(items, raise_errors=False, **options))
        self._changed(path)
        return None

    def put_file(
        self, lpath: Any, rpath: str, callback: Callback = DEFAULT_CALLBACK, mode: str = "overwrite", **options: Any
    ) -> None:
        """One file from the disk; large ones in parts side by side."""
        if os.path.isdir(lpath):
            return
        if mode == "create":
            self._if_new(self._file(rpath))
        self._upload([(os.fspath(lpath), rpath)], callback, alone=True, **options)

    def put(
        self,
        lpath: Any,
        rpath: Any,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **options: Any,
    ) -> None:
        """Files from the disk, all in one ``upload``, on Hypha one commit; by the rules of fsspec."""
        expansion = Expansion(self)
        AbstractFileSystem.put(expansion, lpath, rpath, recursive=recursive, maxdepth=maxdepth)
        pairs = [(os.fspath(source), target) for source, target in expansion.pairs if not os.path.isdir(source)]
        callback.set_size(len(pairs))
        self._upload(pairs, callback, **options)

    def _upload(
        self, pairs: Sequence[tuple[str, str]], callback: Callback, alone: bool = False, **options: Any
    ) -> None:
        for indices, places in self._grouped([target for _, target in pairs], write=True):
            items = [
                {"path": place.name, "local_path": pairs[index][0]}
                for index, place in zip(indices, places, strict=True)
            ]
            results = places[0].files.upload(
                items,
                overwrite="always",
                raise_errors=False,
                progress=cast(Any, False if alone else _bar(callback)),
                **options,
            )
            raise_first(results)
            if alone:
                callback.set_size(results[0]["size"])
                callback.absolute_update(results[0]["size"])
        self._changed(target for _, target in pairs)

    def touch(self, path: str, truncate: bool = True, **options: Any) -> None:
        """Store an empty file; without ``truncate`` only if there is none, and one that is there is left as it is."""
        if truncate:
            self.pipe_file(path, b"", **options)
        else:
            place = self._to_write(path)
            place.files.touch(place.name)
            self._changed([path])

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Nothing is written: a folder is there as soon as something is in it."""
        path = self._strip_protocol(path)
        if not self._is_above(path):
            self._enter(self._place(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """As ``mkdir``."""
        self.mkdir(path)

    def rmdir(self, path: str) -> None:
        """Nothing to remove: a folder with something in it is an ``OSError``."""
        if self.isdir(path):
            raise OSError(errno.ENOTEMPTY, "not empty: rm(recursive=True) removes it with all that is in it", path)

    def rm_file(self, path: str) -> None:
        """Remove one file, of this very name: no pattern."""
        path = self._strip_protocol(path)
        for name in self._not_there([path]):
            raise self._no_file(name)
        self._remove([path])

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, or folders with all that is in them (``recursive``), on Hypha in one commit."""
        expansion = Expansion(self)
        paths = expansion.expand_path(path, recursive=recursive, maxdepth=maxdepth)
        files = [name for name in paths if name not in expansion.folders]
        missing = {*self._not_there([name for name in files if name not in expansion.files])}
        for name in missing:
            if not recursive:
                raise self._no_file(name)
        if not recursive and not files and paths:
            raise self._no_file(paths[0])
        self._remove([name for name in files if name not in missing])  # folders with nothing in them any more
        self._changed(paths)

    def _no_file(self, path: str) -> OSError:
        if self.isdir(path):
            return IsADirectoryError(errno.EISDIR, "a folder: rm(recursive=True) removes it", path)
        return _missing(path)

    def _remove(self, files: Sequence[str]) -> None:
        for _, places in self._grouped(files, write=True):
            results = places[0].files.delete([place.name for place in places], raise_errors=False)
            raise_first(results or ())
        self._changed(files)

    def _not_there(self, paths: Sequence[str]) -> Iterator[str]:
        for _, places in self._grouped(paths):
            there = places[0].files.exists([place.name for place in places])
            yield from (place.path for place in places if not there[place.name])

    def cp_file(self, path1: str, path2: str) -> None:
        """Copy one file, by the store itself where it can."""
        self._copy_pairs([(path1, path2)])

    def copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: str | None = None,
    ) -> None:
        """Copy files, in one batch, by the rules of fsspec; by the store itself where it can."""
        pairs = self._pairs(path1, path2, recursive, maxdepth)
        ignore = on_error == "ignore" or (on_error is None and recursive)
        self._copy_pairs(pairs, (FileNotFoundError,) if ignore else ())

    def _pairs(self, path1: Any, path2: Any, recursive: bool, maxdepth: int | None) -> list[tuple[str, str]]:
        expansion = Expansion(self)
        AbstractFileSystem.copy(expansion, path1, path2, recursive=recursive, maxdepth=maxdepth)
        pairs = [(self._strip_protocol(source), self._strip_protocol(target)) for source, target in expansion.pairs]
        return [pair for pair in pairs if pair[0] not in expansion.folders]

    def _copy_pairs(self, pairs: Sequence[tuple[str, str]], ignored: tuple[type[Exception], ...] = ()) -> None:
        for source, target, named in self._between(pairs):
            raise_first(target.transfer_from(source, named, raise_errors=False), ignored)
        self._changed(target for _, target in pairs)

    def _between(
        self, pairs: Sequence[tuple[str, str]]
    ) -> list[tuple[ArtifactFiles, ArtifactFiles, list[tuple[str, str]]]]:
        """Pairs by where they lead from and to."""
        groups: dict[tuple[str, str], tuple[ArtifactFiles, ArtifactFiles, list[tuple[str, str]]]] = {}
        for path1, path2 in pairs:
            source, target = self._file(path1), self._to_write(path2)
            group = groups.setdefault((source.root, target.root), (source.files, target.files, []))
            group[2].append((source.name, target.name))
        return [*groups.values()]

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **options: Any) -> None:
        """Move files: each is removed when its copy is stored (on Hypha, committed), and only what was copied. What is
        moved to where it is stays."""
        if isinstance(path1, str) and self._strip_protocol(path1) == self._strip_protocol(path2):
            self.info(path1)  # it must be there all the same
            return
        pairs = self._pairs(path1, path2, recursive, maxdepth)
        if not pairs:
            raise _missing(str(path1))
        for source, target, named in self._between([pair for pair in pairs if pair[0] != pair[1]]):
            raise_first(source.moves(named, target, raise_errors=False))
        self._changed(path for pair in pairs for path in pair)

    def mv_file(self, path1: str, path2: str) -> None:
        """Move one file."""
        self.mv([path1], [path2])

    # -- awaited

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        place = self._file(path)
        if start is None and end is None:
            return cast(bytes, await content_of(partial(place.files._begin, place.name)))
        if _from_end(start, end) or _is_empty(start, end):
            info = await content_of(partial(place.files._begin_head, place.name))
            if _from_end(start, end):
                start, end = _from_start(info, start, end)
            if _is_empty(start, end):
                return b""
        try:
            return cast(
                bytes, await content_of(partial(place.files._begin, {"path": place.name, "start": start, "end": end}))
            )
        except RangeNotSatisfiable:
            return b""

    async def _info(self, path: str, refresh: bool = False) -> Entry:
        path = self._strip_protocol(path)
        if self._is_above(path) or self._kept(self._parent(path)) is not None:
            return self.info(path) if self._is_above(path) else await call(partial(self.info, path, refresh))
        place = self._place(path)
        if place.name:
            try:
                return self._entry(place.root, await content_of(partial(place.files._begin_head, place.name)))
            except (ArtifactNotFound, BucketNotFound):
                raise
            except (ObjectNotFound, IsADirectoryError):
                pass  # a folder, then, or nothing
        return await call(partial(self._as_folder, place))

    async def _isfile(self, path: str) -> bool:
        try:
            return bool((await self._info(path))["type"] == "file")
        except FileNotFoundError:
            return False

    async def _isdir(self, path: str) -> bool:
        try:
            return bool((await self._info(path))["type"] == "directory")
        except FileNotFoundError:
            return False

    _ls = _threaded(ls)
    _find = _threaded(find)
    _glob = _threaded(AbstractFileSystem.glob)
    _du = _threaded(du)
    _expand_path = _threaded(AbstractFileSystem.expand_path)
    _cat = _threaded(cat)
    _cat_ranges = _threaded(cat_ranges)
    _get_file = _threaded(get_file)
    _get = _threaded(get)
    _pipe_file = _threaded(pipe_file)
    _pipe = _threaded(pipe)
    _put_file = _threaded(put_file)
    _put = _threaded(put)
    _mkdir = _threaded(mkdir)
    _makedirs = _threaded(makedirs)
    _rm_file = _threaded(rm_file)
    _cp_file = _threaded(cp_file)
    _copy = _threaded(copy)
    _mv_file = _threaded(mv_file)

    async def _rm(
        self, path: Any, recursive: bool = False, batch_size: int | None = None, maxdepth: int | None = None
    ) -> None:
        await call(partial(self.rm, path, recursive, maxdepth))

    async def open_async(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """A file whose ``read``, ``write`` and ``close`` are awaited; binary only."""
        if "b" not in mode or options.get("compression"):
            raise ValueError(f"mode={mode!r}: files that are awaited are binary, and not compressed")
        path = self._strip_protocol(path)
        if mode == "rb":
            place = self._file(path)
            return await AsyncRangeFile(place.files, place.name, **options)
        return AsyncWriting(await call(partial(self._open, path, mode, autocommit=not self._intrans, **options)))


def _from_end(start: int | None, end: int | None) -> bool:
    return (start is not None and start < 0) or (end is not None and end < 0)


def _is_empty(start: int | None, end: int | None) -> bool:
    return end is not None and end <= (start or 0)


def _from_start(info: ObjectInfo, start: int | None, end: int | None) -> tuple[int, int]:
    if info.size is None or info.compress is not None:
        raise OSError(
            errno.EINVAL, "how long its content is, is not known, so nothing is counted from its end", info.path
        )
    first, last, _ = slice(start, end).indices(info.size)
    return first, last


class HyphaFileSystem(ArtifactFileSystem):
    """Hypha artifacts: ``hypha://workspace/alias[@version]/path``, several at once; the protocol is ``hypha``.

    ``options`` are those of ``ArtifactFiles``: ``token``, ``server_url``, ``create`` and others. A server can stand in
    the URL: ``hypha://https://host/workspace/alias/path``.
    """

    protocol = "hypha"

    def __init__(self, **options: Any) -> None:
        super().__init__("", **options)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        path = super()._strip_protocol(path)
        if path.startswith(("http://", "https://")):
            path = path.split("/", 3)[3] if path.count("/") > 2 else ""
        return path.strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        rest = path.removeprefix("hypha://")
        return {"server_url": "/".join(rest.split("/", 3)[:3])} if rest.startswith(("http://", "https://")) else {}

    def _is_above(self, path: str) -> bool:
        return "/" not in path

    def _place(self, path: str) -> Place:
        path = self._strip_protocol(path)
        workspace, slash, rest = path.partition("/")
        alias, _, name = rest.partition("/")
        if not slash or not alias:
            raise ValueError(f"{path!r}: name an artifact, hypha://workspace/alias/path; workspaces are not listed")
        root = f"{workspace}/{alias}"
        return Place(self._files_of(root, f"hypha://{root}"), root, name)
