"""``ArtifactFiles``: the batch API. Turns what users write into requests, runs them, and gives results back.

Scalar in, scalar out; iterable in, list of result dicts out, in input order. How bytes move is the transports'
business, where they live the backends', who carries them the engine's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast, overload

from .backends.hypha.backend import HyphaBackend
from .content.sinks import IntoSink, check_into
from .content.sources import Content, as_body
from .engine.pool import AgainType, Run
from .errors import BatchError, InvalidContent, ObjectNotFound, RangeNotSatisfiable
from .models import Fetched, GetRequest, ObjectInfo, PutRequest, Result
from .paths import check_name
from .plan.ranges import coalesce
from .progress import Progress, ProgressOption
from .transfers.core import Job, Results, content_size, each_of, failure_of, raise_failures, result_of
from .transfers.folders import Folders

T = TypeVar("T")
Source = str | Mapping[str, Any]
"""One item to read: a path, or ``{"path": p, "start": 0, "end": 1024, "tags": ..., "into": ...}``."""

_GET_KEYS = frozenset({"path", "start", "end", "tags", "into"})
# Ranges of one object are fetched together across so many unwanted bytes: about what a request costs at 1 GB/s, and
# less than a round trip on any slower line. And how many bytes such a request may have: it is held in memory.
_GAP = 128 * 1024
_LARGEST_FETCH = 8 * 1024 * 1024
_PUT_KEYS = frozenset({"path", "content", "content_type", "cache_control", "content_encoding", "tags"})


class ArtifactFiles(Folders):
    """Read and write many files at once, at one cloudpath.

    ``cloudpath`` is ``hypha://workspace/alias[@version][/prefix]`` (or just ``workspace/alias``),
    ``mem://bucket[/prefix]``, or an ``http(s)://`` base URL (read-only); every path is relative to it.

    ``token``, ``secrets`` and ``server_url`` say how to reach a Hypha server; left out, they come from the
    environment (see ``credentials``). ``num_threads`` is how many transfers run at once; 0 runs them one by one in
    the caller. ``green`` runs them in greenlets instead of threads (no monkey-patching needed); None does so if
    gevent has patched sockets. ``progress`` is True, a description, or a bar of your own with ``update(n)``.
    ``retry`` is a ``RetryPolicy``; ``timeout`` is how many seconds a server may be silent, or a ``Timeouts``.
    ``transport`` is "auto", "curl" or "urllib3". ``create`` makes the artifact on the first write if there is none.
    Uploads of more than ``multipart_threshold`` bytes go in parts of ``part_size`` (16 MiB; more where S3's limits
    want it).

    Cheap to construct: nothing is contacted before the first call. Safe to share between threads, to pickle
    (a copy carries the token), and to use in a forked child. As a context manager it closes idle connections.
    """

    # -- reading ----------------------------------------------------------------------------------------------

    @overload
    def get(  # type: ignore[overload-overlap]  # a str is an Iterable[str] too, but is one path here
        self, paths: Source, total: int | None = ..., raise_errors: bool = ...
    ) -> bytes: ...
    @overload
    def get(self, paths: Iterable[Source], total: int | None = ..., raise_errors: bool = ...) -> Results: ...
    @overload
    def get(
        self,
        paths: Source | Iterable[Source],
        total: int | None = ...,
        raise_errors: bool = ...,
        return_dict: bool = ...,
        progress: ProgressOption = ...,
    ) -> Any: ...
    def get(
        self,
        paths: Source | Iterable[Source],
        total: int | None = None,
        raise_errors: bool = True,
        return_dict: bool = False,
        progress: ProgressOption = None,
    ) -> Any:
        """Read files or byte ranges.

        A path gives its bytes; ``{"path": p, "start": 0, "end": 1024}`` gives that half-open range. An iterable
        of either gives a list of ``Result`` dicts in input order, or with ``return_dict`` a dict of path to
        content. ``total`` sizes the progress bar of a generator. A dict may name an ``into``: a writable buffer, which
        gets the bytes (``content`` is then a memoryview of those that were written), or an open binary file, which
        gets them where it stands (``content`` is None); an error can leave part of them there.

        In a list (a tuple, a set) the ranges of one object are fetched together where they overlap or lie close to
        each other; each gets its own bytes.

        A scalar that fails raises. Of an iterable everything is tried; then, if anything failed, ``BatchError``
        carries every result, or with ``raise_errors=False`` the results are returned, each with its ``error``.
        An empty object, and the very end of any other, give ``b""``; a range that begins beyond is an error.
        """
        return self._get(paths, total, raise_errors, return_dict, progress, _as_is)

    def get_json(
        self,
        paths: Source | Iterable[Source],
        total: int | None = None,
        raise_errors: bool = True,
        return_dict: bool = False,
        progress: ProgressOption = None,
    ) -> Any:
        """Like ``get``, with each content parsed as UTF-8 JSON; what cannot be parsed is an ``InvalidContent``."""
        return self._get(paths, total, raise_errors, return_dict, progress, _parse_json)

    def _get(
        self,
        paths: Source | Iterable[Source],
        total: int | None,
        raise_errors: bool,
        return_dict: bool,
        progress: ProgressOption,
        decode: Callable[[bytes, str], Any],
    ) -> Any:
        if _is_scalar(paths):
            (result,) = self._collect(
                "get",
                self._get_jobs([self._read_request(cast(Source, paths))]),
                self._getter(decode),
                None,
                self._inline,
            )
            if result["error"] is not None:
                raise result["error"]
            return {result["path"]: result["content"]} if return_dict else result["content"]
        requests, total = self._read_requests(paths, total)
        bar = Progress(self._progress if progress is None else progress, "get", total=total)
        results = self._collect("get", self._jobs_for(requests), self._getter(decode), bar)
        if raise_errors:
            raise_failures("get", results)
        if return_dict:
            if len({result["path"] for result in results}) < len(results):
                raise ValueError("return_dict=True needs each path once; several ranges of one path need the list")
            return {result["path"]: result["content"] for result in results if result["error"] is None}
        return results

    def iget(
        self,
        paths: Iterable[Source],
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
    ) -> Iterator[Result]:
        """Like ``get`` on an iterable, but yields each result as soon as it is done, in any order.

        Memory stays bounded: ``paths`` is read about two batches ahead, and no more is fetched while 256 MiB of
        results wait to be taken. If anything failed, the end is a ``BatchError`` with the failed results only.
        Closing the iterator, as ``break`` in a loop does, stops what is under way.
        """
        if _is_scalar(paths):
            raise TypeError(f"iget takes an iterable of paths, not one path: {paths!r:.60}")
        requests, total = self._read_requests(paths, total)
        bar = Progress(self._progress if progress is None else progress, "get", total=total)
        return self._stream(requests, bar, raise_errors)

    def _stream(self, requests: Iterable[GetRequest], bar: Progress, raise_errors: bool) -> Iterator[Result]:
        failed: Results = []
        count = 0
        try:
            jobs = self._jobs_for(requests)
            for job, outcome in self._run("get", jobs, self._getter(_as_is), self._engine, eager=True):
                for _, result in each_of(job, outcome):
                    bar.add(content_size(result))
                    count += 1
                    if result["error"] is not None:
                        failed.append(result)
                    yield result
        finally:
            bar.close()
        if failed and raise_errors:
            raise BatchError.from_results("get", failed, of=count)

    def _read_requests(self, sources: Iterable[Source], total: int | None) -> tuple[Iterable[GetRequest], int | None]:
        """Requests and how many there are, if that is known; what is known whole is checked before any is sent."""
        if isinstance(sources, Sequence | Set | Mapping):
            requests = [self._read_request(source) for source in sources]
            return requests, len(requests)
        return map(self._read_request, sources), total

    def _jobs_for(self, requests: Iterable[GetRequest]) -> Iterable[Job]:
        """A job for each request, or for several that are served best together, if all of them are known."""
        jobs = self._get_jobs(requests)
        return _coalesced(list(jobs)) if isinstance(requests, Sequence) and len(requests) > 1 else jobs

    def _get_jobs(self, requests: Iterable[GetRequest]) -> Iterator[Job]:
        skip = len(self._prefix)
        for index, request in enumerate(requests):
            yield Job(index, request.path[skip:], request)

    def _read_request(self, source: Source) -> GetRequest:
        """The request that ``source`` means, or an error that names what is wrong with it."""
        if isinstance(source, str):
            return GetRequest(self._prefix + check_name(source))
        path = _path_in(source, "get", _GET_KEYS)
        start, end = source.get("start"), source.get("end")
        for name, value in (("start", start), ("end", end)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
                raise ValueError(f"{path!r}: {name}={value!r}: expected a whole number of bytes from the beginning")
        if end is not None and end < (start or 0):
            raise ValueError(f"{path!r}: the range ends ({end}) before it starts ({start or 0})")
        into = source.get("into")
        if into is not None:
            check_into(into, path)
        return GetRequest(self._prefix + path, start, end, source.get("tags"), into)

    def _getter(self, decode: Callable[[bytes, str], Any]) -> Callable[[Job, Run], Result | Results | AgainType]:
        backend_get = self._backend.get

        def work(job: Job, run: Run) -> Result | Results | AgainType:
            request = cast(GetRequest, job.request)
            if request.empty and request.into is None:
                return result_of(job, Fetched(b"", verified="length"), b"", 0)
            if request.into is not None:
                return self._get_into(job, run)
            outcome = self._attempt(job, run, partial(backend_get, request, job.ticket))
            if not isinstance(outcome, tuple):
                return outcome
            fetched, attempts = outcome
            if job.state is not None:
                return _cut(job, fetched, attempts, decode)
            return _decoded(job, fetched, fetched.content, attempts, decode)

        return work

    def _get_into(self, job: Job, run: Run) -> Result | AgainType:
        request = cast(GetRequest, job.request)
        sink = IntoSink(request, etag_is_md5=self._backend.can.s3_etags)

        def attempt() -> Fetched:
            if request.empty:
                return Fetched(b"", verified="length")
            fetched = self._backend.get(request, job.ticket, sink)
            view, verified = sink.end()
            return replace(fetched, content=cast(bytes, view), verified=verified)

        outcome = self._attempt(job, run, attempt)
        if not isinstance(outcome, tuple):
            return outcome
        fetched, attempts = outcome
        return result_of(job, fetched, fetched.content, attempts)

    # -- writing ----------------------------------------------------------------------------------------------

    def put(
        self,
        path: str,
        content: Content,
        content_type: str | None = None,
        cache_control: str | None = None,
        content_encoding: str | None = None,
    ) -> Result:
        """Store one file, and on Hypha commit it (unless the artifact is already staged).

        ``content`` is bytes or anything with a buffer, text (stored as UTF-8), an open binary file (from where
        it stands; also a pipe), or a ``Path``. Overwrites. Raises if it fails.
        """
        item = {"path": path, "content": content}
        options = _put_options(content_type, cache_control, content_encoding)
        jobs = list(self._put_jobs([item], options))
        engine = self._inline if jobs[0].state is None else self._engine
        (result,) = self._write("put", jobs, self._putter, None, engine)
        if result["error"] is not None:
            raise result["error"]
        return result

    def puts(
        self,
        files: Iterable[tuple[str, Content] | Mapping[str, Any]],
        content_type: str | None = None,
        cache_control: str | None = None,
        content_encoding: str | None = None,
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
    ) -> Results:
        """Store many files, and on Hypha commit them together at the end (unless the artifact is already staged).

        ``files`` gives ``(path, content)`` pairs or dicts with ``path`` and ``content`` (and ``content_type``,
        ``cache_control``, ``content_encoding``, ``tags``, which override the call's); results of ``get`` fit too.
        A path given twice is refused. Results are in input order; for errors see ``get``. Files that failed are
        left out of the commit, those that were stored are in it. When ``files`` itself raises, what was stored
        so far stays staged: ``commit()`` or ``discard()`` it.
        """
        if isinstance(files, str | bytes | Mapping):
            raise TypeError("puts takes an iterable of (path, content) pairs or dicts; for one file use put")
        options = _put_options(content_type, cache_control, content_encoding)
        return self._puts(files, options, None, total, raise_errors, progress)

    def put_json(self, path: str, content: Any, cache_control: str | None = None) -> Result:
        """Store one object as UTF-8 JSON, with content type application/json."""
        return self.put(path, _to_json(content, path), "application/json", cache_control)

    def put_jsons(
        self,
        files: Iterable[tuple[str, Any] | Mapping[str, Any]],
        cache_control: str | None = None,
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
    ) -> Results:
        """Store many objects as JSON; otherwise like ``puts``."""
        options = _put_options("application/json", cache_control, None)
        return self._puts(files, options, _to_json, total, raise_errors, progress)

    def _puts(
        self,
        files: Iterable[tuple[str, Any] | Mapping[str, Any]],
        options: dict[str, str | None],
        encode: Callable[[Any, str], bytes] | None,
        total: int | None,
        raise_errors: bool,
        progress: ProgressOption,
    ) -> Results:
        total_bytes = None
        if isinstance(files, Sequence):  # known whole: refuse what is wrong with it before anything is sent
            jobs = list(self._put_jobs(files, options, encode))
            total, total_bytes = len(jobs), sum(cast(PutRequest, job.request).size for job in jobs)
            source: Iterable[Job] = jobs
        else:
            source = self._put_jobs(files, options, encode)
        bar = Progress(self._progress if progress is None else progress, "put", total=total, total_bytes=total_bytes)
        results = self._write("puts", source, self._putter, bar, self._engine)
        if raise_errors:
            raise_failures("puts", results)
        return results

    def _put_jobs(
        self,
        files: Iterable[Any],
        options: Mapping[str, str | None],
        encode: Callable[[Any, str], bytes] | None = None,
    ) -> Iterator[Job]:
        seen: set[str] = set()
        for index, item in enumerate(files):
            fields = _put_fields(item)
            path = fields["path"]
            if path in seen:
                raise ValueError(f"{path!r}: given twice; which content should win?")
            seen.add(path)
            content = fields["content"]
            body = encode(content, path) if encode is not None else as_body(content, path)
            settings = {name: fields.get(name) or default for name, default in options.items()}
            request = PutRequest(self._prefix + path, body, tags=fields.get("tags"), **settings)
            yield self._put_job(index, path, request)

    def delete(
        self,
        paths: str | Iterable[str],
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
    ) -> Results | None:
        """Remove files, and on Hypha commit that; what is not there counts as removed.

        A path gives None or raises; an iterable gives results, with errors as for ``get``. A Hypha server
        removes one file a call, about five a second.
        """
        if _is_scalar(paths):
            (result,) = self._write(
                "delete", list(self._delete_jobs([cast(str, paths)])), self._deleter, None, self._inline
            )
            if result["error"] is not None:
                raise result["error"]
            return None
        names, total = _counted(paths, total, check_name)
        bar = Progress(self._progress if progress is None else progress, "delete", total=total)
        results = self._write("delete", self._delete_jobs(names), self._deleter, bar, self._engine)
        if raise_errors:
            raise_failures("delete", results)
        return results

    def _delete_jobs(self, paths: Iterable[str]) -> Iterator[Job]:
        for index, path in enumerate(paths):
            yield Job(index, path, GetRequest(self._prefix + check_name(path)))

    def _deleter(self, job: Job, run: Run) -> Result | AgainType:
        outcome = self._attempt(job, run, partial(self._writes.delete, job.request.path))
        return result_of(job, Fetched(b""), None, outcome[1]) if isinstance(outcome, tuple) else outcome

    def touch(self, paths: str | Iterable[str]) -> None:
        """Make empty files where there are none; what is there is left as it is."""
        names = [cast(str, paths)] if _is_scalar(paths) else list(dict.fromkeys(paths))
        there = self.exists(names)
        missing = [(name, b"") for name in names if not there[name]]
        if missing:
            self.puts(missing)

    # -- asking -----------------------------------------------------------------------------------------------

    @overload
    def exists(self, paths: str) -> bool: ...  # type: ignore[overload-overlap]
    @overload
    def exists(self, paths: Iterable[str]) -> dict[str, bool]: ...
    def exists(self, paths: str | Iterable[str]) -> bool | dict[str, bool]:
        """Whether files are there: a bool for a path, a dict of path to bool for an iterable.

        False means that the server said "not there"; being refused or out of reach raises.
        """
        scalar = _is_scalar(paths)
        names = [check_name(path) for path in ([cast(str, paths)] if scalar else dict.fromkeys(paths))]
        there = self._exists(names) if names else {}
        return there[cast(str, paths)] if scalar else there

    def _exists(self, names: list[str]) -> dict[str, bool]:
        full = [self._prefix + name for name in names]
        try:
            known = self._backend.exists(full, self._control())
        except ObjectNotFound:  # the artifact itself is not there, so nothing in it is
            return dict.fromkeys(names, False)
        if known is not None:
            return {name: known[path] for name, path in zip(names, full, strict=True)}
        results = self._collect("get", self._get_jobs(self._read_requests(names, None)[0]), self._header, None)
        failed = [r for r in results if r["error"] is not None and not isinstance(r["error"], ObjectNotFound)]
        if failed:
            raise (
                cast(Exception, failed[0]["error"]) if len(names) == 1 else BatchError.from_results("exists", failed)
            )
        return {result["path"]: result["error"] is None for result in results}

    @overload
    def head(self, paths: str) -> ObjectInfo: ...  # type: ignore[overload-overlap]
    @overload
    def head(self, paths: Iterable[str]) -> dict[str, ObjectInfo]: ...
    def head(self, paths: str | Iterable[str]) -> ObjectInfo | dict[str, ObjectInfo]:
        """Size, ETag, content type and headers of files, without their bytes; for an iterable a dict by path."""
        scalar = _is_scalar(paths)
        names = [cast(str, paths)] if scalar else list(dict.fromkeys(paths))
        engine = self._inline if scalar else self._engine
        results = self._collect("get", self._get_jobs(self._read_requests(names, None)[0]), self._header, None, engine)
        if scalar and results[0]["error"] is not None:
            raise results[0]["error"]
        raise_failures("head", results)
        infos: dict[str, ObjectInfo] = {result["path"]: result["content"] for result in results}
        return infos[cast(str, paths)] if scalar else infos

    @overload
    def size(self, paths: str) -> int: ...  # type: ignore[overload-overlap]
    @overload
    def size(self, paths: Iterable[str]) -> dict[str, int]: ...
    def size(self, paths: str | Iterable[str]) -> Any:
        """Size in bytes; for an iterable a dict by path."""
        if _is_scalar(paths):
            return self.head(cast(str, paths)).size
        return {path: info.size for path, info in self.head(paths).items()}

    def _header(self, job: Job, run: Run) -> Result | AgainType:
        outcome = self._attempt(job, run, partial(self._backend.head, job.request.path, job.ticket))
        if not isinstance(outcome, tuple):
            return outcome
        info, attempts = outcome
        return result_of(job, Fetched(b"", info.size, info.etag, info.content_type), info, attempts)

    def list(self, prefix: str = "", flat: bool = False) -> Iterator[str]:
        """Yield the paths that begin with ``prefix``, which need not be a folder.

        With ``flat`` only one level is listed, and folders appear once, with a slash at the end. Either
        everything is listed or an error is raised. A plain web server cannot be listed.
        """
        if not isinstance(prefix, str):
            raise TypeError(f"prefix is a string, not {type(prefix).__name__}")
        if prefix.startswith("/") or ".." in prefix.split("/"):
            raise ValueError(f"prefix={prefix!r}: must not begin with a slash or contain '..'")
        skip = len(self._prefix)
        for path in self._backend.list(self._prefix + prefix, flat=flat, control=self._control()):
            yield path[skip:]

    def isdir(self, prefix: str) -> bool:
        """Whether anything is in the folder ``prefix``."""
        folder = prefix.strip("/")
        return next(self.list(f"{folder}/" if folder else "", flat=True), None) is not None

    def __iter__(self) -> Iterator[str]:
        return self.list()

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.exists(path)

    def __getitem__(self, key: Any) -> Any:
        """``cf[path]``, ``cf[path, 0:30]``, or ``cf[[path, ...]]``."""
        if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], slice):
            path, wanted = key
            if wanted.step not in (None, 1):
                raise ValueError(f"{path!r}: a slice of bytes has no step")
            return self.get({"path": path, "start": wanted.start, "end": wanted.stop})
        return self.get(key)

    def __setitem__(self, path: str, content: Content) -> None:
        self.put(path, content)

    def __delitem__(self, path: str) -> None:
        self.delete(path)

    # -- staging ----------------------------------------------------------------------------------------------

    @contextmanager
    def staged(self, comment: str | None = None, version: str | None = None) -> Iterator[ArtifactFiles]:
        """Write several batches into one commit: stage now, commit when the block ends.

        ``version=None`` edits the latest version in place (readers see each file as soon as it is stored);
        ``version="new"`` begins the next version, which holds only what is uploaded to it; any other name does
        that too and gives it the name. If the block raises, what was stored stays staged, unpublished:
        ``commit()`` or ``discard()`` it. An artifact that was already staged is left for its owner to commit.
        """
        staging = self._hypha("staged").staging
        with staging.explicitly(self._control(), self._lock, version=version, comment=comment):
            yield self

    def commit(self, comment: str | None = None, version: str | None = None) -> str:
        """Publish what is staged; returns the version that holds it now. Raises ``NotStaged`` if nothing is.

        ``version`` names a new version. Names that were registered and never uploaded (by an upload that was
        interrupted) are left out, with a ``WithdrawnWarning``.
        """
        return self._hypha("commit").staging.commit(self._control(), version=version, comment=comment)

    def discard(self) -> bool:
        """Drop what is staged and restore what it had overwritten; False if nothing was staged."""
        return self._hypha("discard").staging.discard(self._control())

    def status(self) -> dict[str, Any]:
        """``artifact``, ``versions`` (names, oldest first), ``staged``, ``new_version``, and the ``files`` and
        ``removed`` that are staged."""
        return self._hypha("status").staging.status(self._control())

    def _hypha(self, verb: str) -> HyphaBackend:
        if not isinstance(self._backend, HyphaBackend):
            raise TypeError(f"{verb}() is for Hypha artifacts; {self.cloudpath!r} has no versions")
        return self._backend


def _is_scalar(paths: object) -> bool:
    """Whether one item was given; what is neither one nor an iterable of items is an error at once."""
    if isinstance(paths, str | Mapping):
        return True
    if isinstance(paths, bytes | bytearray | memoryview):
        raise TypeError(f"a path is a string, not {type(paths).__name__}: {bytes(paths[:60])!r}")
    if not isinstance(paths, Iterable):
        raise TypeError(f"expected a path, a dict with a 'path', or an iterable of them, not {type(paths).__name__}")
    return False


def _counted(items: Iterable[T], total: int | None, check: Callable[[T], object]) -> tuple[Iterable[T], int | None]:
    """Items and how many there are, if that is known; what is known whole is checked before anything is sent."""
    if isinstance(items, Sequence | Set | Mapping):
        for item in items:
            check(item)
        return items, len(items)
    return items, total


def _path_in(item: Mapping[str, Any], verb: str, allowed: frozenset[str]) -> str:
    if "path" not in item:
        keys = ", ".join(map(repr, [*item][:5])) + (", ..." if len(item) > 5 else "")
        raise ValueError(f"{verb}: a dict is one item and needs a 'path'; this one has {keys}; give a list for several")
    path = check_name(item["path"])
    if not allowed.issuperset(item):
        unknown = sorted(str(key) for key in item if key not in allowed)
        raise ValueError(f"{path!r}: {verb} knows no {', '.join(map(repr, unknown))}; it takes {sorted(allowed)}")
    return path


def _put_fields(item: Any) -> Mapping[str, Any]:
    """The fields of one item to store: a pair, a dict, or a result of ``get``."""
    if isinstance(item, Mapping):
        if Result.__required_keys__.issubset(item):
            if item["error"] is not None or item["byte_range"] != (None, None):
                raise ValueError(f"{item['path']!r}: a result that failed, or is only a range, cannot be stored")
            return {name: item[name] for name in ("path", "content", "content_type", "tags")}
        path = _path_in(item, "puts", _PUT_KEYS)
        if "content" not in item:
            raise ValueError(f"{path!r}: a dict to store needs a 'content'")
        return item
    if isinstance(item, tuple | list) and len(item) == 2:
        return {"path": check_name(item[0]), "content": item[1]}
    raise TypeError(f"puts takes (path, content) pairs or dicts, not {type(item).__name__}: {item!r:.60}")


def _put_options(
    content_type: str | None, cache_control: str | None, content_encoding: str | None
) -> dict[str, str | None]:
    options = {"content_type": content_type, "cache_control": cache_control, "content_encoding": content_encoding}
    for name, value in options.items():
        if value is not None and (not isinstance(value, str) or not value.isprintable() or not value.isascii()):
            raise ValueError(f"{name}={value!r}: expected printable ASCII text")
    return options


def _coalesced(jobs: Sequence[Job]) -> Iterator[Job]:
    """The same jobs, with those for close ranges of one object as the ``state`` of one for all of them."""
    ranges: dict[str, list[Job]] = {}
    for job in jobs:
        request = cast(GetRequest, job.request)
        if request.end is not None and not request.empty and request.into is None:
            ranges.setdefault(request.path, []).append(job)
    together: dict[int, Job | None] = {}  # by index: the job in this one's place, or None
    for path, members in ranges.items():
        if len(members) > 1:
            spans = [(job.request.start or 0, cast(int, job.request.end)) for job in cast("list[Any]", members)]
            for fetch in coalesce(spans, gap=_GAP, largest=_LARGEST_FETCH):
                if len(fetch.members) > 1:
                    parts = [members[number] for number in fetch.members]
                    whole = Job(parts[0].index, parts[0].name, GetRequest(path, fetch.start, fetch.end))
                    whole.state = parts
                    together.update(dict.fromkeys((part.index for part in parts), None))
                    together[parts[0].index] = whole
    for job in jobs:
        found = together.get(job.index, job)
        if found is not None:
            yield found


def _decoded(job: Job, fetched: Fetched, content: bytes, attempts: int, decode: Callable[[bytes, str], Any]) -> Result:
    try:
        return result_of(job, fetched, decode(content, job.name), attempts)
    except InvalidContent as error:
        return failure_of(job, error, attempts)


def _cut(job: Job, fetched: Fetched, attempts: int, decode: Callable[[bytes, str], Any]) -> Results:
    """The results of the ranges that were fetched together."""
    start = cast(GetRequest, job.request).start or 0
    results = []
    for part in job.state:
        request = cast(GetRequest, part.request)
        first, last = request.start or 0, cast(int, request.end)
        if fetched.size is not None and first > fetched.size > 0:
            error = RangeNotSatisfiable(
                f"no such bytes: the range starts at {first}, the object has {fetched.size}", path=part.name, status=416
            )
            results.append(failure_of(part, error, attempts))
        else:
            content = fetched.content[first - start : last - start]
            results.append(_decoded(part, fetched, content, attempts, decode))
    return results


def _as_is(content: bytes, path: str) -> bytes:
    return content


def _parse_json(content: bytes, path: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise InvalidContent(f"not JSON: {error}", path=path) from None


def _to_json(content: Any, path: str) -> bytes:
    try:
        return json.dumps(content, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path!r}: cannot be written as JSON: {error}") from None
