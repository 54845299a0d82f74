"""Files on disk, in bulk: download, upload, compare a folder with an artifact.

Finds out what belongs where and what need not be moved at all; ``localdisk`` knows the local side, ``download`` and
``upload`` how one large file moves in parts, ``core`` runs them.
"""

from __future__ import annotations

import errno
import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from random import uniform
from typing import Any, Literal, cast

from ..backends.base import Backend
from ..content.digests import digest_in, file_etags, matches
from ..content.sources import LocalFile
from ..disk.tree import Symlinks, check_targets, files_below, place_below, read_blocks
from ..engine.pool import AGAIN, AgainType, Run, Turns
from ..errors import ArtifactNotFound, NotModified, StagedWarning, TransferError
from ..models import Comparison, FileResult, GetRequest, ObjectInfo, PutRequest, Result
from ..paths import check_name, without_credentials
from ..plan.parts import upload_part_size
from ..progress import Progress, ProgressOption
from .core import Core, Job, Results, raise_failures
from .download import Download, Progressed

Overwrite = Literal["always", "never", "newer", "different"]
"""What becomes of a file that is there already; see ``ArtifactFiles.download``."""
Patterns = str | Iterable[str] | None
PathLike = str | os.PathLike[str]

OVERWRITE = ("always", "never", "newer", "different")
_DOWNLOAD_KEYS = frozenset({"path", "local_path", "tags"})


class Folders(Core):
    """The verbs for files on disk."""

    def download(
        self,
        paths: str | Iterable[str | Mapping[str, Any]],
        dest: PathLike,
        *,
        overwrite: Overwrite = "different",
        include: Patterns = None,
        exclude: Patterns = None,
        part_size: int | None = None,
        checksum: bool = True,
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
    ) -> Any:
        """Download files to disk, large ones in parts side by side, and verify them.

        ``paths`` is one path: a ``FileResult`` dict comes back, or an error is raised; ``dest`` is the file, or a
        folder that is there (or ends in a slash). Or it is a prefix, "" or ending in a slash: everything below it
        goes into the folder ``dest``, by its name without the prefix. Or an iterable of paths, or of dicts with
        ``path`` and, if it is to be called otherwise below ``dest``, ``local_path``: each goes below ``dest`` by its
        whole name. The latter two give a list of ``FileResult`` dicts in order; for errors see ``get``.

        A file that is there is replaced by default if its content is "different", by its size and the ETag that its
        bytes would have in an S3 (elsewhere nothing can be compared, and it counts as different); "never", "always",
        or "newer": if the object has been modified after it. What is skipped is ``skipped`` in its result.

        ``include`` and ``exclude`` are glob patterns (``*`` matches slashes as well); one without a slash is compared
        with the last part of a name. ``part_size`` is the bytes of each part; left out, it adapts to the speed.
        ``checksum=False`` does without the comparison with the ETag, and its time: about 1.5 s of a core for each GiB.

        A target is at all times what it was before or complete, and is not touched if its bytes are wrong. An
        interrupted download of more than one part leaves a hidden temporary file and a journal beside its target,
        and the next one goes on from there if the object still has the same ETag. Names that would land outside of
        ``dest``, or on each other on some system, are refused before anything is moved.
        """
        _check_options(overwrite, part_size)
        wanted = name_filter(include, exclude)
        folder = Path(dest)
        if isinstance(paths, str) and paths and not paths.endswith("/"):
            target = folder / paths.rpartition("/")[2] if folder.is_dir() or os.fspath(dest).endswith("/") else folder
            check_targets([target])
            jobs: Iterable[_FileJob] = [_FileJob(0, check_name(paths), self._prefix, target)]
            bar = Progress(self._progress if progress is None else progress, "download", total=1)
            (result,) = self._download(jobs, bar, overwrite, part_size, checksum)
            if result["error"] is not None:
                raise result["error"]
            return result
        total_bytes = None
        if isinstance(paths, str):
            infos = [info for info in self._scan(paths) if wanted(info.path[len(paths) :])]
            jobs = [
                _FileJob(index, info.path, self._prefix, place_below(folder, info.path[len(paths) :]), info=info)
                for index, info in enumerate(infos)
            ]
            sizes = [info.size for info in infos]
            total_bytes = sum(cast("list[int]", sizes)) if None not in sizes else None
        else:
            jobs = self._named_jobs(paths, folder, wanted)
            if isinstance(paths, Sequence | Set):
                jobs = list(jobs)
        if isinstance(jobs, list):
            check_targets([job.target for job in jobs])
            total = len(jobs)
        bar = Progress(
            self._progress if progress is None else progress, "download", total=total, total_bytes=total_bytes
        )
        results = self._download(jobs, bar, overwrite, part_size, checksum)
        if raise_errors:
            raise_failures("download", cast("Results", results))
        return results

    def _scan(self, prefix: str) -> Iterator[ObjectInfo]:
        """What is below ``prefix`` ("" or ending in a slash), with names as the user knows them."""
        if prefix:
            check_name(prefix.rstrip("/"))
        skip = len(self._prefix)
        for info in self._backend.scan(self._prefix + prefix, control=self._control()):
            yield ObjectInfo(info.path[skip:], info.size, info.etag, info.content_type, info.last_modified)

    def _named_jobs(
        self, paths: Iterable[str | Mapping[str, Any]], folder: Path, wanted: Callable[[str], bool]
    ) -> Iterator[_FileJob]:
        index = 0
        seen: set[Path] = set()
        for item in paths:
            if isinstance(item, Mapping):
                if "path" not in item or not _DOWNLOAD_KEYS.issuperset(item):
                    raise ValueError(f"download takes dicts with {sorted(_DOWNLOAD_KEYS)}; this has {sorted(item)}")
                name, local, tags = check_name(item["path"]), item.get("local_path"), item.get("tags")
            else:
                name, local, tags = check_name(item), None, None
            if wanted(name):
                target = place_below(folder, name if local is None else local)
                if target in seen:
                    raise ValueError(f"{str(target)!r}: two sources would be written to it")
                seen.add(target)
                yield _FileJob(index, name, self._prefix, target, tags=tags)
                index += 1

    def _download(
        self, jobs: Iterable[_FileJob], bar: Progress, overwrite: Overwrite, part_size: int | None, checksum: bool
    ) -> list[FileResult]:
        results: list[FileResult | None] = []
        begun: set[Download] = set()

        def put(job: _FileJob, result: FileResult) -> None:
            if job.index >= len(results):
                results.extend([None] * (job.index + 1 - len(results)))
            results[job.index] = result
            bar.add(result["size"] if result["skipped"] else None)

        def needed() -> Iterator[_FileJob]:
            for job in jobs:
                try:
                    skip = job.decide(overwrite)
                except OSError as error:
                    put(job, job.result(error=error))
                    continue
                if skip:
                    put(job, job.result(skipped=True))
                else:
                    yield job

        def work(job: Job, run: Run) -> Any:
            return self._download_turn(cast(_FileJob, job), run, begun, part_size, checksum)

        try:
            noted = bar.moved if bar.shown else None
            outcomes = self._run("get", needed(), work, self._engine, eager=bar.shown, heavy=_is_heavy, noted=noted)
            with closing(cast(Any, outcomes)):  # so that no worker is at a file any more when it is left
                for job, result in outcomes:
                    put(cast(_FileJob, job), cast(FileResult, result))
        finally:
            for download in begun:
                download.leave()
            bar.close()
        return cast("list[FileResult]", results)

    def _download_turn(
        self, job: _FileJob, run: Run, begun: set[Download], part_size: int | None, checksum: bool
    ) -> FileResult | AgainType | Turns:
        """One worker's turn at a file: one part of it."""
        if isinstance(job.ticket, Exception) and job.state is None:
            return job.result(error=job.ticket)
        if job.state is None:
            try:
                job.state = self._begin_download(job, part_size, checksum)
            except OSError as error:
                return job.result(error=error)
            begun.add(job.state)
        download: Download = job.state
        part = download.claim()
        if part is None:
            return self._end_download(job, download, run, begun) if download.drop() else Turns(0)
        fetch = partial(self._fetch_part, job)
        outcome = self._try(job, run, partial(download.fetch_part, part, fetch, run))
        if outcome is AGAIN:
            download.release(part, again=True, keep_turn=True)
            return AGAIN
        if isinstance(outcome, Progressed):
            try:
                run.sleep(uniform(0, self._retry.first))
            except TransferError as error:
                outcome = error
        if isinstance(outcome, tuple):
            job.stale = 0
            download.attempts += outcome[1]
        elif not isinstance(outcome, Progressed):
            download.attempts += getattr(outcome, "attempts", 1)
            download.error = download.error or cast(Exception, outcome)
        wanted = download.release(
            part, again=not isinstance(outcome, tuple) and download.error is None, give_up=download.error is not None
        )
        if wanted is not None:
            return Turns(wanted)
        return self._end_download(job, download, run, begun)

    def _fetch_part(self, job: _FileJob, request: GetRequest, sink: Any) -> Any:
        return self._backend.get(request, job.ticket, sink)

    def _begin_download(self, job: _FileJob, part_size: int | None, checksum: bool) -> Download:
        request = cast(GetRequest, job.request)
        download = Download(
            request if job.known is None else job.conditions(),
            job.target,
            f"{without_credentials(self.cloudpath)} {request.path}",
            width=max(1, self._engine.width),
            part=part_size,
            etag_is_md5=self._backend.can.s3_etags,
            checksum=checksum,
            size=job.info.size if job.info is not None else None,
            compare=job.known == "different",
        )
        download.take_up()
        return download

    def _end_download(self, job: _FileJob, download: Download, run: Run, begun: set[Download]) -> FileResult | Turns:
        error = download.error
        if error is None:
            try:
                if not download.finish():
                    return Turns(1)
            except (OSError, TransferError) as failure:
                error = failure
        elif download.start_over(error):
            download.error = None
            return Turns(1)
        begun.discard(download)
        download.note(run, 0, at_once=True)
        if error is not None:
            download.leave()
            if isinstance(error, NotModified):
                return job.result(skipped=True)
            return job.result(error=error, attempts=download.attempts)
        return job.result(download=download)

    # -- upload -------------------------------------------------------------------------------------------------

    def upload(
        self,
        files: PathLike | Iterable[PathLike | tuple[str, PathLike] | Mapping[str, Any]],
        prefix: str = "",
        *,
        overwrite: Overwrite = "different",
        include: Patterns = None,
        exclude: Patterns = None,
        symlinks: Symlinks = "follow",
        raise_errors: bool = True,
        progress: ProgressOption = None,
    ) -> Any:
        """Upload files from disk, large ones in parts side by side; on Hypha commit them together at the end.

        ``files`` is one local file: it goes below the folder ``prefix`` by its last name, and its ``FileResult`` dict
        comes back, or an error is raised. Or it is a local folder: everything in it goes below ``prefix`` with the
        structure kept. Or an iterable of local files (a relative path keeps its folders, an absolute one its last name)
        or of pairs or dicts of ``path`` (the name below ``prefix``) and ``local_path``. The latter two give a list of
        ``FileResult`` dicts in order; for errors see ``get``.

        A file that is there is overwritten by default if its content is "different", by its size and its ETag, so that
        what an interrupted upload has stored is not sent again (it stays staged: see ``commit``). Or "never", "always",
        or "newer": if the local file has been modified after it. ``include`` and ``exclude`` are as for ``download``.
        Symbolic links are followed, left out ("skip"), or an error each ("refuse"); one that leads nowhere or in a
        circle is an error for that item.
        """
        _check_options(overwrite, None)
        if symlinks not in ("follow", "skip", "refuse"):
            raise ValueError(f"symlinks={symlinks!r}: choose 'follow', 'skip' or 'refuse'")
        if prefix:
            check_name(prefix.rstrip("/"))
            prefix = prefix.rstrip("/") + "/"
        wanted = name_filter(include, exclude)
        scalar = isinstance(files, str | os.PathLike) and not os.path.isdir(files)
        entries = [
            entry for entry in _local_files(files, symlinks) if entry.error is not None or scalar or wanted(entry.name)
        ]
        seen: dict[str, str] = {}
        for entry in entries:
            if entry.error is None:
                entry.name = check_name(prefix + entry.name)
                if seen.setdefault(entry.name, entry.path) is not entry.path:
                    raise ValueError(f"{seen[entry.name]!r} and {entry.path!r} would both become {entry.name!r}")
        results: list[FileResult] = [entry.result(error=entry.error) for entry in entries]
        todo = [number for number, entry in enumerate(entries) if entry.error is None]
        staged = False
        if overwrite != "always" and todo:
            try:
                backend = self._backend.as_written(self._control())
                staged = backend is not self._backend
                unneeded = self._unneeded(backend, prefix, [(number, entries[number]) for number in todo], overwrite)
            except ArtifactNotFound:  # nothing is there yet
                unneeded = set()
            for number in unneeded:
                results[number] = entries[number].result(skipped=True)
            todo = [number for number in todo if number not in unneeded]
        if todo:
            jobs = [
                self._put_job(index, entries[number].name, self._request(entries[number]))
                for index, number in enumerate(todo)
            ]
            size = sum(job.request.size for job in jobs if isinstance(job.request, PutRequest))
            option = self._progress if progress is None else progress
            bar = Progress(option, "upload", total=len(jobs), total_bytes=size)
            stored = self._write("puts", jobs, self._putter, bar, self._engine)
            for number, put in zip(todo, stored, strict=True):
                results[number] = entries[number].result(put=put)
        elif staged:
            warnings.warn(
                "everything is there, and staged already: not published before commit()", StagedWarning, stacklevel=2
            )
        if scalar:
            (result,) = results
            if result["error"] is not None:
                raise result["error"]
            return result
        if raise_errors:
            raise_failures("upload", cast("Results", results))
        return results

    def _request(self, entry: _Entry) -> PutRequest:
        return PutRequest(self._prefix + entry.name, LocalFile(Path(entry.path)))

    def _unneeded(
        self, backend: Backend, prefix: str, entries: Sequence[tuple[int, _Entry]], overwrite: Overwrite
    ) -> set[int]:
        """The numbers of the files that need not be uploaded, going by what is below ``prefix``."""
        skip = len(self._prefix)
        there = {info.path[skip:]: info for info in backend.scan(self._prefix + prefix, control=self._control())}
        found = [(number, entry) for number, entry in entries if entry.name in there]
        if overwrite == "never":
            return {number for number, _ in found}
        if overwrite == "newer":
            return {
                number
                for number, entry in found
                if (modified := there[entry.name].last_modified) is not None and entry.modified <= modified
            }
        alike = [(number, entry) for number, entry in found if there[entry.name].size in (None, entry.size)]
        if not alike:
            return set()
        verdicts = self._compare([entry for _, entry in alike], backend)
        return {number for number, entry in alike if verdicts[entry.name] is True}

    def _compare(self, entries: Sequence[_Entry], backend: Backend) -> dict[str, bool | Exception | None]:
        """Whether each local file has the content of the file of its name; None: nothing but the size says so."""
        by_name = {entry.name: entry for entry in entries}

        def work(job: Job, run: Run) -> Any:
            outcome = self._try(job, run, partial(backend.head, job.request.path, job.ticket))
            if outcome is AGAIN:
                return AGAIN
            if not isinstance(outcome, tuple):
                return outcome
            info = outcome[0]
            try:
                return by_name[job.name].has(info, backend.can.s3_etags)
            except OSError as error:
                return error

        jobs = [Job(i, entry.name, GetRequest(self._prefix + entry.name)) for i, entry in enumerate(entries)]
        outcomes = self._run("get", jobs, work, self._engine, eager=False, heavy=lambda job: True, backend=backend)
        return {job.name: cast("bool | Exception | None", verdict) for job, verdict in outcomes}

    # -- verify -------------------------------------------------------------------------------------------------

    def verify(
        self,
        local: PathLike,
        prefix: str = "",
        *,
        include: Patterns = None,
        exclude: Patterns = None,
    ) -> Comparison:
        """Compare a folder on disk with what is below ``prefix`` ("" or a folder), by names, sizes and digests.

        Nothing is downloaded: digests are compared with ETags. Raises what keeps a file from being compared; see
        ``Comparison`` for what comes back.
        """
        folder = os.fspath(local)
        if not os.path.isdir(folder):
            raise NotADirectoryError(f"{folder!r} is not a folder")
        prefix = prefix.rstrip("/") + "/" if prefix else ""
        wanted = name_filter(include, exclude)
        there = {info.path[len(prefix) :]: info for info in self._scan(prefix)}
        there = {name: info for name, info in there.items() if wanted(name)}
        here = {}
        for entry in _local_files(local, "follow"):
            if entry.error is not None:
                raise entry.error
            if wanted(entry.name):
                here[entry.name] = entry
        both = sorted(here.keys() & there.keys())
        alike = [name for name in both if there[name].size in (None, here[name].size)]
        for name in alike:
            here[name].name = prefix + name
        found = self._compare([here[name] for name in alike], self._backend)
        verdicts = {name: found[prefix + name] for name in alike}
        for verdict in verdicts.values():
            if isinstance(verdict, Exception):
                raise verdict
        return {
            "equal": [name for name in alike if verdicts[name] is True],
            "same_size": [name for name in alike if verdicts[name] is None],
            "different": [name for name in both if name not in verdicts or verdicts[name] is False],
            "missing": sorted(there.keys() - here.keys()),
            "extra": sorted(here.keys() - there.keys()),
        }


class _Entry:
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

    def has(self, info: ObjectInfo, etag_is_md5: bool) -> bool | None:
        """Whether this file has the content of an object; None where only the sizes can be compared."""
        if info.size != self.size or not self.size:
            return info.size == self.size
        header = info.headers.get if info.headers else {"etag": info.etag or ""}.get
        digest, parts = digest_in(header) if etag_is_md5 else (None, 0)
        if digest is None:
            return None
        with open(self.path, "rb", buffering=0) as file:
            return matches(digest, parts, self.size, partial(read_blocks, file))

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
            "tags": None,
        }


def _local_files(files: Any, symlinks: Symlinks) -> list[_Entry]:
    """What ``upload`` was given, as files with the names that they are to have."""
    if isinstance(files, str | os.PathLike):
        path = os.fspath(files)
        if not os.path.isdir(path):
            return [_Entry(os.path.basename(path), path)]
        failed: list[_Entry] = []

        def note(path: str, error: Exception) -> None:
            failed.append(_Entry(os.path.relpath(path, files), path, error))

        found = [_Entry(name, path) for name, path in files_below(path, note, symlinks)]
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
        entries.append(_Entry(check_name(name), path))
    return entries


class _FileJob(Job):
    """One file to download."""

    __slots__ = ("info", "known", "tags", "target")

    def __init__(
        self,
        index: int,
        name: str,
        prefix: str,
        target: Path,
        *,
        info: ObjectInfo | None = None,
        tags: object = None,
    ) -> None:
        super().__init__(index, name, GetRequest(prefix + name, tags=tags))
        self.target = target
        self.info = info
        self.known: Overwrite | None = None  # what to compare the file that is there by

    def decide(self, overwrite: Overwrite) -> bool:
        """Whether the file that is there makes this one unnecessary, as far as that can be told without asking."""
        try:
            there = self.target.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if overwrite == "never":
            return True
        if overwrite == "always":
            return False
        size, modified = (self.info.size, self.info.last_modified) if self.info is not None else (None, None)
        if overwrite == "newer" and modified is not None:
            return modified <= there.st_mtime
        if overwrite == "newer" or size in (None, there.st_size):
            self.known = overwrite
        return False

    def conditions(self) -> GetRequest:
        """The request, so that nothing is sent if the file that is there will do."""
        request = cast(GetRequest, self.request)
        there = self.target.stat()
        if self.known == "newer":
            return GetRequest(request.path, since=there.st_mtime)
        with open(self.target, "rb", buffering=0) as file:
            etags = file_etags(there.st_size, partial(read_blocks, file), upload_part_size(there.st_size))
        return GetRequest(request.path, known=etags)

    def result(
        self,
        *,
        error: Exception | None = None,
        skipped: bool = False,
        attempts: int = 0,
        download: Download | None = None,
    ) -> FileResult:
        """What became of it."""
        size = download.size if download is not None else None
        if skipped:
            size = self.target.stat().st_size
        if isinstance(error, TransferError):
            error = error.about(self.name)
            error.path = self.name
        return {
            "path": self.name,
            "local_path": str(self.target),
            "size": size,
            "error": error,
            "skipped": skipped,
            "resumed": download.resumed if download is not None else 0,
            "verified": download.verified if download is not None else None,
            "etag": download.etag if download is not None else None,
            "content_type": download.content_type if download is not None else None,
            "attempts": download.attempts if download is not None else attempts,
            "tags": cast(GetRequest, self.request).tags,
        }


def _is_heavy(job: Job) -> bool:
    """Every file: making one on disk takes the kernel longer than fetching a small one, and needs no interpreter."""
    return True


def _check_options(overwrite: object, part_size: object) -> None:
    if overwrite not in OVERWRITE:
        raise ValueError(f"overwrite={overwrite!r}: choose one of {', '.join(map(repr, OVERWRITE))}")
    if part_size is not None and (not isinstance(part_size, int) or isinstance(part_size, bool) or part_size < 1):
        raise ValueError(f"part_size={part_size!r}: expected a positive number of bytes")


def name_filter(include: Patterns, exclude: Patterns) -> Callable[[str], bool]:
    """Whether a name is wanted: matched by a pattern of ``include``, if there are any, and by none of ``exclude``."""
    included, excluded = _patterns(include), _patterns(exclude)

    def wanted(name: str) -> bool:
        return (include is None or _matches(name, included)) and not _matches(name, excluded)

    return wanted


def _patterns(patterns: Patterns) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns or ())


def _matches(name: str, patterns: Iterable[str]) -> bool:
    last = name.rpartition("/")[2]
    return any(fnmatchcase(name if "/" in pattern else last, pattern) for pattern in patterns)
