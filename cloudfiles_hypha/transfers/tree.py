"""Files on disk, in bulk: download, upload, compare a folder with what a backend holds.

Finds out what belongs where and what need not be moved at all; ``disk.tree`` knows the local side, ``save`` and ``put``
how one file moves, ``batch`` runs them.
"""

from __future__ import annotations

import errno
import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from ..backends.base import Backend, WriteSession
from ..content.digests import digest_in, matches
from ..content.sources import LocalFile
from ..disk.tree import Landing, Symlinks, check_not_ours, check_targets, files_below, read_blocks
from ..engine.pool import Cancellation
from ..errors import ObjectNotFound, StagedWarning, TransferError
from ..models import ObjectInfo, PutRequest
from ..paths import check_name
from ..plan.sync import Apart
from ..progress import Progress
from ..results import Comparison, FileResult, Result, own_error
from .batch import Batches
from .download import Download
from .head import Compare, CompareContent, Verdict
from .put import Put, encoded_copy
from .save import Overwrite, Save, not_newer

PathLike = str | os.PathLike[str]
Wanted = Callable[[str], bool]
"""Whether the file of a name is to be moved."""

OVERWRITE = ("always", "never", "newer", "different")
_DOWNLOAD_KEYS = frozenset({"path", "local_path", "tags", "version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOptions:
    """How a call moves files, and who watches."""

    overwrite: Overwrite = "different"
    wanted: Wanted = lambda name: True
    part_size: int | None = None
    checksum: bool = True
    windows_names: bool = False
    symlinks: Symlinks = "follow"
    raw: bool = False
    max_size: int | None = None
    compress: str | None = None
    compression_level: int | None = None
    cancel: Cancellation | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.overwrite not in OVERWRITE:
            raise ValueError(f"overwrite={self.overwrite!r}: choose one of {', '.join(map(repr, OVERWRITE))}")
        part = self.part_size
        if part is not None and (not isinstance(part, int) or isinstance(part, bool) or part < 1):
            raise ValueError(f"part_size={part!r}: expected a positive number of bytes")
        if self.symlinks not in ("follow", "skip", "refuse"):
            raise ValueError(f"symlinks={self.symlinks!r}: choose 'follow', 'skip' or 'refuse'")


MakeBar = Callable[[int | None, int | None], Progress]
"""The progress bar for so many files of so many bytes, as far as known."""
MakePut = Callable[[WriteSession, int, str, PutRequest, Progress], Put]
"""The task for one upload."""


class Trees:
    """The verbs for files on disk. ``source`` names what the journals of downloads are of."""

    def __init__(self, batches: Batches, prefix: str, source: str) -> None:
        self._batches = batches
        self._backend = batches.backend
        self._prefix = prefix
        self._source = source

    # -- download -----------------------------------------------------------------------------------------------

    def download_one(self, path: str, dest: PathLike, options: TreeOptions, make_bar: MakeBar) -> FileResult:
        """One file; raises if it fails."""
        folder = Path(dest)
        target = folder / path.rpartition("/")[2] if folder.is_dir() or os.fspath(dest).endswith("/") else folder
        check_not_ours(target.name)
        check_targets([target])
        wanted = [_Wanted(check_name(path), target)]
        (result,) = self._download(wanted, make_bar(1, None), options)
        if result["error"] is not None:
            raise result["error"]
        return result

    def download_below(self, prefix: str, dest: PathLike, options: TreeOptions, make_bar: MakeBar) -> list[FileResult]:
        """Everything below a prefix ("" or ending in a slash), by its name without that."""
        found = [*self.scan(prefix)]
        if not found and (self._prefix or prefix):
            raise ObjectNotFound("there is no such folder, or nothing in it", path=prefix or self._prefix)
        landing = Landing(Path(dest), windows_names=options.windows_names)
        wanted = [
            _Wanted(info.path, landing.place(name), info=info)
            for info in found
            if options.wanted(name := info.path[len(prefix) :])
        ]
        check_targets([one.target for one in wanted])
        sizes = [one.info.size for one in wanted if one.info is not None and one.info.size is not None]
        total_bytes = sum(sizes) if len(sizes) == len(wanted) else None
        return self._download(wanted, make_bar(len(wanted), total_bytes), options)

    def download_named(
        self,
        paths: Iterable[str | Mapping[str, Any]],
        dest: PathLike,
        options: TreeOptions,
        total: int | None,
        make_bar: MakeBar,
    ) -> list[FileResult]:
        """Files by name, each below ``dest`` by its whole name or the ``local_path`` beside it."""
        wanted: Iterable[_Wanted] = _named(self._backend, paths, Path(dest), options)
        if isinstance(paths, Sequence | Set):
            wanted = list(wanted)
            check_targets([one.target for one in wanted])
            total = len(wanted)
        return self._download(wanted, make_bar(total, None), options)

    def scan(self, prefix: str) -> Iterator[ObjectInfo]:
        """What is below ``prefix`` ("" or ending in a slash), with names as the user knows them."""
        if prefix:
            check_name(prefix.rstrip("/"))
        skip = len(self._prefix)
        for info in self._backend.scan(self._prefix + prefix, control=self._batches.control(looking=True)):
            yield replace(info, path=info.path[skip:])

    def _download(self, wanted: Iterable[_Wanted], bar: Progress, options: TreeOptions) -> list[FileResult]:
        if options.dry_run:
            bar.close()
            return self._decided([*wanted], options)
        results: list[FileResult | None] = []
        begun: set[Download] = set()
        batches = self._batches
        context = batches.context(bar)

        def put(index: int, result: FileResult) -> None:
            if index >= len(results):
                results.extend([None] * (index + 1 - len(results)))
            results[index] = result
            bar.add(result["size"] if result["skipped"] else None)

        def needed() -> Iterator[Save]:
            for index, one in enumerate(wanted):
                path = self._prefix + one.name
                source = f"{self._source} {path}"
                task = Save(
                    context.at(one.version),
                    index,
                    one.name,
                    path,
                    one.target,
                    source=source if one.version is None else f"{source} version {one.version!r}",
                    begun=begun,
                    part_size=options.part_size,
                    checksum=options.checksum,
                    info=one.info,
                    tags=one.tags,
                    raw=options.raw,
                    max_size=options.max_size,
                    version=one.version,
                )
                try:
                    if task.decide(options.overwrite):
                        put(index, task.result(skipped=True))
                        continue
                except OSError as error:
                    put(index, task.result(error=error))
                    continue
                yield task

        resolver = self._backend.reading() if self._backend.can.batched else None
        try:
            stream = batches.stream(needed(), resolver, eager=bar.shown, cancel=options.cancel)
            with closing(stream):  # so that no worker is at a file any more when it is left
                for index, result in stream:
                    put(index, result)
        finally:
            for download in begun:
                download.leave()
            bar.close()
        return cast("list[FileResult]", results)

    def _decided(self, wanted: Sequence[_Wanted], options: TreeOptions) -> list[FileResult]:
        """What a download of these would skip, and what it would fetch; nothing is written."""
        context = self._batches.context()
        entries = [Entry(one.name, os.fspath(one.target)) for one in wanted]
        infos: dict[int, ObjectInfo] = {}

        def is_there(number: int, info: ObjectInfo) -> bool:
            infos[number] = info
            entry = entries[number]
            if entry.error is not None or options.overwrite == "always":
                return False
            if options.overwrite == "never":
                return True
            modified = info.last_modified if options.overwrite == "newer" else None
            if modified is not None and not_newer(modified, entry.modified):
                return True
            stored = replace(info, compress=None) if options.raw else info
            return bool(entry.has(stored, s3_etags=self._backend.can.s3_etags))

        tasks = [
            Compare(
                context,
                number,
                entry.name,
                self._prefix + entry.name,
                partial(is_there, number),
                entry.path,
                version=one.version,
            )
            for number, (entry, one) in enumerate(zip(entries, wanted, strict=True))
        ]
        resolver = self._backend.reading(silent=True) if self._backend.can.batched else None
        verdicts = self._batches.collect(tasks, resolver, cancel=options.cancel)
        results = []
        for number, (entry, verdict) in enumerate(zip(entries, verdicts, strict=True)):
            error = own_error(verdict, entry.name) if isinstance(verdict, Exception) else None
            result = entry.result(error=error, skipped=verdict is True)
            if error is None:
                result["size"], result["etag"] = infos[number].size, infos[number].etag
            results.append(result)
        return results

    # -- upload -------------------------------------------------------------------------------------------------

    def upload(
        self,
        files: PathLike | Iterable[PathLike | tuple[str, PathLike] | Mapping[str, Any]],
        prefix: str,
        options: TreeOptions,
        make_bar: MakeBar,
        make_put: MakePut,
    ) -> list[FileResult]:
        """Local files below ``prefix`` ("" or a folder), those that need be."""
        if prefix:
            prefix = check_name(prefix.rstrip("/")) + "/"
        alone = isinstance(files, str | os.PathLike) and not os.path.isdir(files)
        entries = [
            entry
            for entry in local_files(files, options.symlinks)
            if entry.error is not None or alone or options.wanted(entry.name)
        ]
        seen: dict[str, str] = {}
        apart = Apart(self._backend.same) if self._backend.can.folds else None
        for entry in entries:
            if entry.error is None:
                entry.name = check_name(prefix + entry.name)
                if seen.setdefault(entry.name, entry.path) is not entry.path:
                    raise ValueError(f"{seen[entry.name]!r} and {entry.path!r} would both become {entry.name!r}")
                if apart is not None:
                    apart.add(self._prefix + entry.name)
        results: list[FileResult] = [entry.result(error=entry.error) for entry in entries]
        todo = [number for number, entry in enumerate(entries) if entry.error is None]
        staged = False
        if options.overwrite != "always" and todo:
            try:
                backend = self._backend.as_written(self._batches.control(looking=True))
                staged = backend is not self._backend
                unneeded = self._unneeded(backend, prefix, [(number, entries[number]) for number in todo], options)
            except ObjectNotFound:  # nothing is there yet, not even the artifact or the folder
                unneeded = set()
            for number in unneeded:
                results[number] = entries[number].result(skipped=True)
            todo = [number for number in todo if number not in unneeded]
        if options.dry_run:
            return results
        requests: list[tuple[int, PutRequest]] = []
        for number in todo:
            entry = entries[number]
            try:
                requests.append((number, self._request(entry, options)))
            except OSError as error:  # it has gone since it was listed
                results[number] = entry.result(error=error)
        if requests:
            bar = make_bar(len(requests), sum(request.size for _, request in requests))

            def tasks(session: WriteSession) -> list[Put]:
                return [
                    make_put(session, index, entries[number].name, request, bar)
                    for index, (number, request) in enumerate(requests)
                ]

            stored = self._batches.write("upload", tasks, bar, cancel=options.cancel)
            for (number, _), put in zip(requests, stored, strict=True):
                results[number] = entries[number].result(put=put)
        elif staged and not todo and not self._batches.take_up():
            warnings.warn(
                "everything is there, and staged already: not published before commit()", StagedWarning, stacklevel=3
            )
        return results

    def _request(self, entry: Entry, options: TreeOptions) -> PutRequest:
        body = LocalFile(Path(entry.path))
        path, codec, level = self._prefix + entry.name, options.compress, options.compression_level
        return PutRequest(path, body, compress=codec, compression_level=level)

    def _unneeded(
        self, backend: Backend, prefix: str, entries: Sequence[tuple[int, Entry]], options: TreeOptions
    ) -> set[int]:
        """The numbers of the files that need not be uploaded, going by what is below ``prefix``."""
        skip = len(self._prefix)
        control = self._batches.control(looking=True)
        there = {info.path[skip:]: info for info in backend.scan(self._prefix + prefix, control=control)}
        found = [(number, entry) for number, entry in entries if entry.name in there]
        if options.overwrite == "never":
            return {number for number, _ in found}
        if options.overwrite == "newer":
            return {
                number
                for number, entry in found
                if (modified := there[entry.name].last_modified) is not None and entry.modified <= modified
            }
        # how large it would be once it is encoded is not known before it is
        alike = [
            (number, entry)
            for number, entry in found
            if options.compress is not None or there[entry.name].size in (None, entry.size)
        ]
        if not alike:
            return set()
        codec, level = options.compress, options.compression_level
        verdicts = self._compare([entry for _, entry in alike], backend, options.cancel, codec, level)
        return {number for (number, _), verdict in zip(alike, verdicts, strict=True) if verdict is True}

    def _compare(
        self,
        entries: Sequence[Entry],
        backend: Backend,
        cancel: Cancellation | None = None,
        codec: str | None = None,
        level: int | None = None,
    ) -> list[Verdict]:
        """Whether the file of each name has what the local file would be stored as, with this encoding."""
        context = self._batches.context(backend=backend)
        has = partial(Entry.has, s3_etags=backend.can.s3_etags, codec=codec, level=level)
        tasks = [
            Compare(context, number, entry.name, self._prefix + entry.name, partial(has, entry), entry.path)
            for number, entry in enumerate(entries)
        ]
        resolver = backend.reading(silent=True) if backend.can.batched else None
        return self._batches.collect(tasks, resolver, cancel=cancel)

    def _compare_content(self, entries: Sequence[Entry]) -> list[Verdict]:
        """Whether each local file has the content of the file of its name, decoded."""
        context, s3_etags = self._batches.context(), self._backend.can.s3_etags
        tasks = [
            CompareContent(
                context,
                number,
                entry.name,
                self._prefix + entry.name,
                partial(entry.has, s3_etags=s3_etags),
                entry.path,
            )
            for number, entry in enumerate(entries)
        ]
        resolver = self._backend.reading(silent=True) if self._backend.can.batched else None
        return self._batches.collect(tasks, resolver)

    # -- verify -------------------------------------------------------------------------------------------------

    def verify(self, local: PathLike, prefix: str, wanted: Wanted) -> Comparison:
        """Compare a folder on disk with what is below ``prefix`` ("" or a folder)."""
        folder = os.fspath(local)
        if not os.path.isdir(folder):
            raise NotADirectoryError(f"{folder!r} is not a folder")
        prefix = prefix.rstrip("/") + "/" if prefix else ""
        there = {info.path[len(prefix) :]: info for info in self.scan(prefix)}
        there = {name: info for name, info in there.items() if wanted(name)}
        here = {}
        errors: dict[str, Exception] = {}
        for entry in local_files(local, "follow"):
            if entry.error is not None:
                errors[entry.name] = entry.error
            elif wanted(entry.name):
                here[entry.name] = entry
        both = sorted(here.keys() & there.keys())
        for name in both:
            here[name].name = prefix + name
        verdicts = dict(zip(both, self._compare_content([here[name] for name in both]), strict=True))
        for name, verdict in verdicts.items():
            if isinstance(verdict, TransferError) and verdict.retryable:
                raise verdict
            if isinstance(verdict, Exception):
                errors[name] = verdict
        unread = tuple(f"{name}/" for name in errors)  # a folder among them keeps all that is in it from being seen
        unseen = {name for name in there if name in errors or name.startswith(unread)}
        return {
            "equal": [name for name in both if verdicts[name] is True],
            "same_size": [name for name in both if verdicts[name] is None],
            "different": [name for name in both if verdicts[name] is False],
            "missing": sorted(there.keys() - here.keys() - unseen),
            "extra": sorted(here.keys() - there.keys()),
            "errors": errors,
        }


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One file to download, and where to."""

    name: str
    target: Path
    info: ObjectInfo | None = None
    tags: object = None
    version: str | None = None


def _named(
    backend: Backend, paths: Iterable[str | Mapping[str, Any]], folder: Path, options: TreeOptions
) -> Iterator[_Wanted]:
    seen: set[Path] = set()
    landing = Landing(folder, windows_names=options.windows_names)
    for item in paths:
        if isinstance(item, Mapping):
            if "path" not in item or not _DOWNLOAD_KEYS.issuperset(item):
                raise ValueError(f"download takes dicts with {sorted(_DOWNLOAD_KEYS)}; this has {sorted(item)}")
            name, local, tags = check_name(item["path"]), item.get("local_path"), item.get("tags")
            version = item.get("version")
            backend.check_version(name, version)
        else:
            name, local, tags, version = check_name(item), None, None, None
        if options.wanted(name):
            place = name if local is None else local
            target = landing.place(place)
            if target in seen:
                raise ValueError(f"{str(target)!r}: two sources would be written to it")
            seen.add(target)
            yield _Wanted(name, target, tags=tags, version=version)


class Entry:
    """One local file to upload or compare."""

    def __init__(self, name: str, path: str, error: Exception | None = None) -> None:
        self.name = name
        self.path = path
        self.error = error
        self.size = 0
        self.modified = 0.0
        if error is None:
            try:
                there = os.stat(path)
                self.size, self.modified = there.st_size, there.st_mtime
                if not stat.S_ISREG(there.st_mode):
                    self.error = OSError(errno.EINVAL, "not a regular file", path)
            except OSError as failure:
                self.error = failure

    def has(
        self, info: ObjectInfo, *, s3_etags: bool, codec: str | None = None, level: int | None = None
    ) -> bool | None:
        """Whether an object is what this file is stored as with a codec; None where only sizes can be compared."""
        if info.compress != codec:
            return False
        header = info.headers.get if info.headers else {"etag": info.etag or ""}.get
        digest, parts = digest_in(header) if s3_etags else (None, 0)
        if codec is not None:
            return digest is not None and self._is_stored_as(info, digest, parts, codec, level)
        if info.size != self.size or not self.size:
            return info.size == self.size
        if digest is None:
            return None
        with open(self.path, "rb", buffering=0) as file:
            return matches(digest, parts, self.size, partial(read_blocks, file))

    def _is_stored_as(self, info: ObjectInfo, digest: str, parts: int, codec: str, level: int | None) -> bool | None:
        spool = encoded_copy(LocalFile(Path(self.path)), codec, level)
        try:
            return spool.size == info.size and matches(digest, parts, spool.size, spool.between)
        finally:
            spool.close()

    def result(self, *, error: Exception | None = None, skipped: bool = False, put: Result | None = None) -> FileResult:
        """What became of it."""
        if put is not None:
            error = put["error"]
        return {
            "path": self.name,
            "local_path": self.path,
            "size": self.size if error is None else None,
            "error": error,
            "skipped": skipped,
            "resumed": 0,
            "verified": put["verified"] if put is not None else None,
            "etag": put["etag"] if put is not None else None,
            "content_type": put["content_type"] if put is not None else None,
            "attempts": put["attempts"] if put is not None else 0,
            "compress": put["compress"] if put is not None else None,
            "raw": False,
            "tags": None,
        }


def local_files(
    files: PathLike | Iterable[PathLike | tuple[str, PathLike] | Mapping[str, Any]], symlinks: Symlinks
) -> list[Entry]:
    """What ``upload`` was given, as files with the names that they are to have."""
    if isinstance(files, str | os.PathLike):
        path = os.fspath(files)
        if not os.path.isdir(path):
            return [Entry(os.path.basename(path), path)]
        failed: list[Entry] = []

        def note(path: str, error: Exception) -> None:
            failed.append(Entry(os.path.relpath(path, files), path, error))

        found = [Entry(name, path) for name, path in files_below(path, note, symlinks)]
        return found + failed
    entries = []
    for item in files:
        if isinstance(item, Mapping):
            if set(item) != {"path", "local_path"}:
                raise ValueError(f"upload takes dicts with 'path' and 'local_path'; this has {sorted(item)}")
            name, path = item["path"], os.fspath(item["local_path"])
        elif isinstance(item, tuple):
            name, path = item[0], os.fspath(item[1])
        else:
            path = os.fspath(item)
            name = os.path.basename(path) if os.path.isabs(path) else Path(path).as_posix()
        entries.append(Entry(check_name(name), path))
    return entries


__all__ = ["OVERWRITE", "Overwrite", "TreeOptions", "Trees"]
