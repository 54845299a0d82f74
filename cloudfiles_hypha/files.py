"""``ArtifactFiles``: the batch API. Turns what users write into tasks, has them run, and gives results back.

Scalar in, scalar out; iterable in, list of result dicts out, in input order. A thin face: ``arguments`` knows what
users write, ``transfers`` what is done with an item, ``engine`` who does it, ``backends`` where files live.
"""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, nullcontext
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any, Literal, cast, overload

from . import backends
from .arguments import (
    Patterns,
    PutOptions,
    Reading,
    Replace,
    Source,
    counted,
    is_scalar,
    kind_of,
    name_filter,
    parse_json,
    put_options,
    read_request,
    read_requests,
    reading,
    to_json,
    write_requests,
)
from .backends import Resources
from .backends.base import Backend, Control, WriteSession
from .backends.metadata import metadata_of
from .content.codecs import Compress
from .content.sources import Content, Stream
from .engine.calls import Raising, done, in_thread, tell
from .engine.kits import sockets_are_patched
from .engine.pool import AMBIENT, Cancellation, Engine, Waiter
from .errors import (
    ArtifactNotFound,
    BatchError,
    InvalidContent,
    InvalidRequest,
    LossyWarning,
    ObjectExists,
    ObjectNotFound,
    ReadOnly,
    TransferError,
)
from .limit import RateLimit, rate_limit
from .models import GENERIC, Fetched, GetRequest, ObjectInfo, PutRequest, Timeouts, Version
from .paths import SEP, Location, check_name, join_names, last_of, parent_of
from .progress import Observer, Progress, ProgressOption
from .recording import Recording, record
from .recording.verbs import recordable
from .redact import without_credentials
from .results import (
    Comparison,
    CopyResult,
    FileResult,
    Result,
    SubtreeSize,
    UnfinishedUpload,
    content_size,
    failed,
    got,
    raise_failures,
)
from .retry import RetryPolicy
from .settings import THRESHOLD, Secrets, Settings, check_parallel, timeouts_of
from .transfers.batch import Batches
from .transfers.get import Decode, Get, GetInto, get_task, gets
from .transfers.head import Head
from .transfers.put import Put, Remove
from .transfers.task import attempts_of
from .transfers.writes import Writes

if TYPE_CHECKING:
    import requests

    from .backends.hypha.backend import HyphaBackend
    from .backends.hypha.staging import Staging
    from .disk.tree import Symlinks
    from .parallel import Named
    from .transfers.copies import Copies, Side, Transfer
    from .transfers.copies import Overwrite as Overwriting
    from .transfers.copy import Wanted
    from .transfers.save import Overwrite
    from .transfers.sync import Sync, SyncOptions
    from .transfers.tree import PathLike, Trees
    from .transports import Transport
    from .writing import TextWriter, Unpublished

Results = list[Result]
_Names = list[str]
# Names that are asked for together where not all of them can be, or somebody watches.
_ASKED_TOGETHER = 1000
# Folders that are listed at the same time.
_LISTED_SIDE_BY_SIDE = 4
# Seconds that a URL for others may be good for: version 4 of Amazon's scheme signs for no longer.
LONGEST_URL = 7 * 86_400


class ArtifactFiles:
    """Read and write many files at once, at one cloudpath.

    ``cloudpath`` is ``hypha://workspace/alias[@version][/prefix]`` (or just ``workspace/alias``),
    ``s3://bucket[/prefix]``, ``gs://bucket[/prefix]``, ``mem://bucket[/prefix]``, a local folder (``file:///folder``,
    or what begins with ``./``, ``../``, ``/`` or ``~``), or an ``http(s)://`` base URL (read-only); every path is
    relative to it.

    ``token``, ``secrets`` and ``server_url`` say how to reach a Hypha server; left out, they come from the
    environment (see ``credentials``). For ``s3://``, ``secrets`` has the keys (see ``backends.s3.access``).
    ``num_threads`` is how many transfers run at once; 0 runs them one by one in the caller. ``green`` runs them in
    greenlets instead of threads (no monkey-patching needed); None does so if gevent has patched sockets.
    ``progress`` is True, a description, or a bar of your own with ``update(n)``. ``retry`` is a ``RetryPolicy``;
    ``timeout`` is how many seconds a server may be silent, or a ``Timeouts``.
    ``observer`` is told of each item's start, bytes, attempts and end. ``transport`` is "auto", "curl", "urllib3" or
    "requests"; ``session`` is a ``requests.Session`` of yours to send everything with. ``create`` makes the artifact
    on the first write if there is none. For Hypha servers whose store cannot be reached from here: ``use_proxy``
    has bytes go through the server, ``use_local_url`` has URLs as they are within its network (both from the
    environment if left out, see ``docs/hypha.md``); ``headers`` go to the Hypha server with each request. Uploads
    of more than ``multipart_threshold`` bytes go in parts of ``part_size`` (16 MiB; more where S3's limits want
    it). For local folders: ``locking`` has the processes that use it wait for each other, by locks in ``lock_dir``
    (which alone says so, too); ``windows_names`` allows names that Windows reserves. ``parallel`` is how many processes
    share the work of ``get``, ``get_json``, ``puts``, ``put_jsons`` and ``delete`` of several files (see
    ``docs/concurrency.md``). ``limit_rate`` is how many bytes a second all transfers together may move, up and down,
    by HTTP; a ``RateLimit`` may be given to several objects, which then share it.

    Cheap to construct: nothing is contacted before the first call. Safe to share between threads, to pickle
    (a copy carries the token), and to use in a forked child. As a context manager it closes idle connections.
    """

    def __init__(
        self,
        cloudpath: str,
        *,
        token: str | None = None,
        secrets: Secrets | None = None,
        server_url: str | None = None,
        num_threads: int = 20,
        green: bool | None = None,
        progress: ProgressOption = None,
        retry: RetryPolicy | None = None,
        timeout: float | Timeouts | None = None,
        transport: str = "auto",
        session: requests.Session | None = None,
        observer: Observer | None = None,
        create: bool = False,
        use_proxy: bool | None = None,
        use_local_url: bool | str | None = None,
        headers: Mapping[str, str] | None = None,
        multipart_threshold: int = THRESHOLD,
        part_size: int | None = None,
        locking: bool = False,
        lock_dir: PathLike | None = None,
        windows_names: bool = False,
        parallel: int = 1,
        limit_rate: int | RateLimit | None = None,
    ) -> None:
        settings = Settings(
            token=token,
            secrets=secrets,
            server_url=server_url,
            num_threads=num_threads,
            green=green,
            progress=progress,
            retry=RetryPolicy() if retry is None else retry,
            timeouts=timeouts_of(timeout),
            transport=transport,
            session=session,
            observer=observer,
            create=create,
            use_proxy=use_proxy,
            use_local_url=use_local_url,
            headers=headers,
            multipart_threshold=multipart_threshold,
            part_size=part_size,
            locking=locking,
            lock_dir=lock_dir,
            windows_names=windows_names,
            parallel=parallel,
            limit_rate=limit_rate,
        )
        cloudpath = backends.resolved(cloudpath)
        self._open(cloudpath, backends.locate(cloudpath), settings)

    def _open(self, cloudpath: str, location: Location, settings: Settings) -> None:
        self.cloudpath = cloudpath
        self._settings = settings
        self._prefix = location.prefix
        green = sockets_are_patched() if settings.green is None else settings.green
        self._transport: Transport | None = None

        def transport() -> Transport:
            if self._transport is None:
                from .transports import open_transport  # loads libcurl, which not every backend needs

                self._transport = open_transport(
                    settings.transport,
                    settings.timeouts,
                    green=green,
                    session=settings.session,
                    limit=rate_limit(settings.limit_rate),
                )
            return self._transport

        self._backend = backends.open_backend(location, Resources(settings, transport))
        self._location = location
        self._engine = Engine(settings.num_threads, green=green, transport=self._transport)
        self._batches = Batches(self._backend, self._engine, settings.retry, self._prefix, settings.observer)
        self._processes(None, None)

    def __repr__(self) -> str:
        shown = without_credentials(self.cloudpath)
        return f"<{type(self).__name__} {shown!r} {self._engine.name}={self._engine.width}>"

    def __getstate__(self) -> dict[str, Any]:
        settings = self._settings
        kept = settings.progress if isinstance(settings.progress, bool | str | None) else None  # a bar stays here
        state = {name: getattr(settings, name) for name in Settings.__slots__}
        state.update(progress=kept, observer=None)
        return {"cloudpath": self.cloudpath, "location": self._backend.settled(self._location), "settings": state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._open(state["cloudpath"], state["location"], Settings(**state["settings"]))

    def __enter__(self) -> ArtifactFiles:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections. The object may be used again, and opens new ones."""
        self._batches.close()
        self._backend.close()
        if self._transport is not None:
            self._transport.close()

    @contextmanager
    def recording(self, *, machine: bool = False) -> Iterator[Recording]:
        """Record what all threads do with this object: ``with cf.recording() as rec:``; see ``Recording``.

        ``machine`` has the rates of the whole machine recorded beside it, which needs psutil. Calls by several
        processes (``parallel``) are a ``ValueError`` here.
        """
        with record(machine=machine, here=False) as rec:
            batches, log = self._batches, rec.log
            batches.logs += (log,)
            try:
                yield rec
            finally:
                batches.logs = tuple(other for other in batches.logs if other is not log)

    def _control(self, *, looking: bool = False) -> Control:
        return self._batches.control(looking=looking)

    def _like(
        self, *, observer: Observer | None, part_size: int | None = None, threshold: int | None = None
    ) -> ArtifactFiles:
        """This object, with its connections and staging, and with other options; for a call or two."""
        like = ArtifactFiles.__new__(ArtifactFiles)
        like.__dict__.update(self.__dict__)
        settings = self._settings
        like._settings = replace(
            settings,
            part_size=part_size or settings.part_size,
            multipart_threshold=settings.multipart_threshold if threshold is None else threshold,
        )
        like._batches = copy(self._batches)
        like._batches.observer = observer
        return like

    def _bar(
        self, option: ProgressOption, verb: str, total: int | None = None, total_bytes: int | None = None
    ) -> Progress:
        option = self._settings.progress if option is None else option
        return Progress(option, verb, total=total, total_bytes=total_bytes)

    # -- reading ----------------------------------------------------------------------------------------------

    @overload
    def get(  # type: ignore[overload-overlap]  # a str is an Iterable[str] too, but is one path here
        self,
        paths: Source,
        total: int | None = ...,
        raise_errors: bool = ...,
        *,
        raw: bool = ...,
        max_size: int | None = ...,
        parallel: int | None = ...,
    ) -> bytes: ...
    @overload
    def get(
        self,
        paths: Iterable[Source],
        total: int | None = ...,
        raise_errors: bool = ...,
        *,
        raw: bool = ...,
        max_size: int | None = ...,
        parallel: int | None = ...,
    ) -> Results: ...
    @overload
    def get(
        self,
        paths: Source | Iterable[Source],
        total: int | None = ...,
        raise_errors: bool = ...,
        return_dict: bool = ...,
        progress: ProgressOption = ...,
        cancel: Cancellation | None = ...,
        raw: bool = ...,
        max_size: int | None = ...,
        parallel: int | None = ...,
        return_recording: bool = ...,
    ) -> Any: ...
    @recordable  # type: ignore[misc, operator]  # what overloads an object with __call__ confuses mypy
    def get(
        self,
        paths: Source | Iterable[Source],
        total: int | None = None,
        raise_errors: bool = True,
        return_dict: bool = False,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
        raw: bool = False,
        max_size: int | None = None,
        parallel: int | None = None,
    ) -> Any:
        """Read files or byte ranges.

        A path gives its bytes; ``{"path": p, "start": 0, "end": 1024}`` gives that half-open range. An iterable
        of either gives a list of ``Result`` dicts in input order, or with ``return_dict`` a dict of path to
        content. ``total`` sizes the progress bar of a generator. A dict may name an ``into``: a writable buffer, which
        gets the bytes (``content`` is then a memoryview of those that were written), or an open binary file, which
        gets them where it stands (``content`` is None); an error can leave part of them there. It may name an
        ``if_match``, the ETag that the object must have (else ``PreconditionFailed``), and say ``part``: rather
        ``RangesUnsupported`` than that more than the range is read; ``start`` may be negative then, without ``end``.
        Its ``version``, the id of a ``Version``, has it read as it was then (see ``versions``).

        In a list (a tuple, a set) the ranges of one object are fetched together where they overlap or lie close to
        each other; each gets its own bytes.

        A scalar that fails raises. Of an iterable everything is tried; then, if anything failed, ``BatchError``
        carries every result, or with ``raise_errors=False`` the results are returned, each with its ``error``.
        An empty object, and the very end of any other, give ``b""``; a range that begins beyond is an error.

        What is stored with a Content-Encoding is decoded, up to ``max_size`` bytes (1 GiB in memory, 64 GiB into a
        file); ranges are of decoded bytes, for which all stored ones are fetched. ``raw=True``, also in a dict, gives
        bytes as they are stored. What cannot be decoded is a ``DecompressionError``.

        ``parallel`` has several files read by so many processes, without ``into``; left out, it is the object's.

        With ``return_recording=True``, which all verbs take that are for many files, a pair comes back: that, and a
        ``Recording`` of the call (see ``recording``).
        """
        options = reading(raw, max_size)
        return self._get(paths, total, raise_errors, return_dict, progress, cancel, None, options, parallel)

    @recordable
    def get_json(
        self,
        paths: Source | Iterable[Source],
        total: int | None = None,
        raise_errors: bool = True,
        return_dict: bool = False,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
        raw: bool = False,
        max_size: int | None = None,
        parallel: int | None = None,
    ) -> Any:
        """Like ``get``, with each content parsed as UTF-8 JSON; what cannot be parsed is an ``InvalidContent``."""
        options = reading(raw, max_size)
        return self._get(paths, total, raise_errors, return_dict, progress, cancel, parse_json, options, parallel)

    def _get(
        self,
        paths: Source | Iterable[Source],
        total: int | None,
        raise_errors: bool,
        return_dict: bool,
        progress: ProgressOption,
        cancel: Cancellation | None,
        decode: Decode | None,
        options: Reading,
        parallel: int | None,
    ) -> Any:
        if is_scalar(paths):
            result = self._get_one(self._read_request(cast(Source, paths), options), cancel, decode)
            if result["error"] is not None:
                raise result["error"]
            return {result["path"]: result["content"]} if return_dict else result["content"]
        requests, total = self._read_requests(paths, total, options)
        count = self._processes(parallel, total)
        bar = self._bar(progress, "get", total)
        if count > 1:
            results = self._get_elsewhere(count, requests, decode, total, bar, cancel)
        else:
            results = self._batches.collect(
                self._get_tasks(requests, bar, decode), self._reading(), bar, cancel=cancel, noted=_adding(bar)
            )
        if raise_errors:
            raise_failures("get", results)
        if return_dict:
            if len({result["path"] for result in results}) < len(results):
                raise ValueError("return_dict=True needs each path once; several ranges of one path need the list")
            return {result["path"]: result["content"] for result in results if result["error"] is None}
        return results

    def submit(self, source: Source, *, raw: bool = False, max_size: int | None = None) -> Future[Result]:
        """Read one file or range in the background: the future of what ``get([source])[0]`` gives.

        An error of the read is the future's. ``cancel()`` breaks it off. Reads that are submitted at the same time
        are signed together, and share ``num_threads`` workers.
        """
        if not is_scalar(source):
            raise TypeError(f"submit takes one path or one dict, not several: {source!r:.60}")
        return self._submit(self._reading_task(source, reading(raw, max_size)), silent=False)

    def _begin(self, source: Source, waiter: Waiter[Result]) -> Callable[[], object]:
        """``submit`` for somebody who waits, who gets the result with its error, if it has one; what breaks it off."""
        return self._begin_task(self._reading_task(source, reading(False, None)), waiter, silent=False)

    def _reading_task(self, source: Source, options: Reading) -> Get | GetInto:
        request = self._read_request(source, options)
        task: Any = get_task(self._batches.context(), 0, request.path[len(self._prefix) :], request, None)
        return cast("Get | GetInto", task)

    def submit_head(self, path: str, *, version: str | None = None) -> Future[Result]:
        """Ask for one file's ``ObjectInfo`` in the background: it is the ``content`` of the future's result."""
        return self._submit(self._head_task(path, version), silent=True)

    def _begin_head(self, path: str, waiter: Waiter[Result], version: str | None = None) -> Callable[[], object]:
        """``submit_head`` for somebody who waits; see ``_begin``."""
        return self._begin_task(self._head_task(path, version), waiter, silent=True)

    def _head_task(self, path: str, version: str | None) -> Head:
        name = check_name(path)
        self._check_version(name, version)
        return Head(self._batches.context(), 0, name, self._prefix + name, version)

    def address(self, path: str) -> str:
        """The same text for the same file of the same store, whoever asks, from any process; there is no secret in it.

        Which version of the file is meant, it does not say. A file of ``mem://`` is this process's own.
        """
        place, base = self._backend.place(self._location), self._backend.path_at(self._location, self._prefix)
        own = f"{os.getpid()} " if self._backend.can.in_process else ""
        return f"{own}{self._backend.scheme} {place!r} {base + check_name(path)!r}"

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """A file object: with "rb" a ``RangeFile``, a seekable binary file of which what is read is fetched.

        ``options`` are ``version`` (the id of a ``Version``), those of ``RangeFile`` and, for text ("r", "rt"),
        ``encoding``, ``errors`` and ``newline``, which mean what they mean to the builtin ``open``; without an
        encoding, text is UTF-8.

        "wb" writes a file, "xb" one that must not be there yet, "ab" at the end of one, "r+b" changes it in places (as
        do "w+b", "x+b" and "a+b"); without the b, text. It is stored, and on Hypha committed together with what else
        this process writes at that moment, when it is closed: ``flush`` publishes nothing, nor does a ``with`` block
        that raises, nor a file that is forgotten (a ``ResourceWarning``). More than 8 MiB go out while they are
        written, in bounded memory; what others write to the same artifact meanwhile is published with it, at the
        latest (see ``docs/file-system.md``). ``options`` are those for text, ``content_type`` and ``cache_control``.
        What "a" and "+" fetch and change is stored as a whole, and only if nobody else has changed it meanwhile (else
        ``PreconditionFailed``). A store that cannot look in the moment of a write (Hypha) is asked directly before it.
        """
        if kind_of(mode) != "r":
            if options.pop("version", None) is not None:
                raise ValueError(f"{path!r}: mode={mode!r}: an old version can be read, and not be written to")
            return self._open_to_write(path, mode, **options)
        from .ranges.opening import open_file  # only here: few programs need it

        return open_file(self, path, mode, **options)

    def _read_in_caller(self, source: Source) -> Future[Result] | None:
        """Like ``submit``, but read by whoever calls this; None where reads are signed, which is done together."""
        if self._backend.can.batched:
            return None
        request = self._read_request(source, reading(False, None))
        task: Any = get_task(self._batches.context(), 0, request.path[len(self._prefix) :], request, None)
        return done(lambda: self._batches.collect([task], None, engine=self._batches.inline)[0], itemgetter("error"))

    @property
    def _reads_in_caller(self) -> bool:
        """Whether what is read is read in the thread (or greenlet) that wants it, and not in the background."""
        return self._engine.inline or self._engine.green or self._settings.observer is not None

    def _wait_in_caller(self, future: Future[Any]) -> None:
        """Wait until a future is done; a greenlet of gevent's lets the others go on."""
        self._batches.wait(future)

    def _submit(self, task: Get | GetInto | Head, *, silent: bool) -> Future[Result]:
        future = None if _at_once(task) else self._batches.submit(task, silent=silent)
        return Raising(self._in_thread(task, silent=silent) if future is None else future, itemgetter("error"))

    def _begin_task(self, task: Get | GetInto | Head, waiter: Waiter[Result], *, silent: bool) -> Callable[[], object]:
        stop = None if _at_once(task) else self._batches.begin(task, waiter, silent=silent)
        if stop is not None:
            return stop
        future = self._in_thread(task, silent=silent)
        future.add_done_callback(partial(tell, waiter))
        return future.cancel

    def _in_thread(self, task: Get | GetInto | Head, *, silent: bool) -> Future[Result]:
        def do() -> Result:
            resolver = self._backend.reading(silent=silent) if self._backend.can.batched else None
            return self._batches.collect([task], resolver)[0]

        return in_thread(do)

    def _read_request(self, source: Source, options: Reading) -> GetRequest:
        request = read_request(source, self._prefix, options)
        if request.version is not None:
            self._check_version(request.path[len(self._prefix) :], request.version)
        return request

    def _read_requests(
        self, sources: Iterable[Source], total: int | None, options: Reading
    ) -> tuple[Iterable[GetRequest], int | None]:
        requests, total = read_requests(sources, total, self._prefix, options)
        if self._backend.can.keeps_versions:
            return requests, total
        if isinstance(requests, Sequence):
            for request in requests:
                if request.version is not None:
                    self._check_version(request.path[len(self._prefix) :], request.version)
            return requests, total
        return (self._read_request(source, options) for source in sources), total

    def _check_version(self, path: str, version: str | None) -> None:
        """Raise ``ValueError`` unless that may be a version of a file here; if it is one, only reading it tells."""
        self._backend.check_version(path, version)

    def _get_one(self, request: GetRequest, cancel: Cancellation | None, decode: Decode | None) -> Result:
        task = get_task(self._batches.context(), 0, request.path[len(self._prefix) :], request, decode)
        if isinstance(task, Get) and cancel is None and not request.empty:
            return self._batches.one(task)
        # a file of the user's is written to here, in the caller's thread
        return self._batches.collect([task], self._reading(), cancel=cancel)[0]

    def _get_elsewhere(
        self,
        count: int,
        requests: Iterable[GetRequest],
        decode: Decode | None,
        total: int | None,
        bar: Progress,
        cancel: Cancellation | None,
    ) -> Results:
        named = ((request.path[len(self._prefix) :], request) for request in requests)
        items = self._prepared([*named] if isinstance(requests, Sequence) else named)
        try:
            location = self._backend.location_to_read(self._location, self._control(looking=True))
        except TransferError as error:  # as it would be for each of them
            bar.close()
            return [failed(name, request, error, max(1, error.attempts)) for (name, request), _ in items]
        return self._elsewhere(count, location, "get", items, total, bar, cancel, decode)

    def _reading(self) -> Any:
        return self._backend.reading() if self._backend.can.batched else None

    def iget(
        self,
        paths: Iterable[Source],
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
        raw: bool = False,
        max_size: int | None = None,
    ) -> Iterator[Result]:
        """Like ``get`` on an iterable, but yields each result as soon as it is done, in any order.

        Memory stays bounded: ``paths`` is read about two batches ahead, and no more is fetched while 256 MiB of
        results wait to be taken. If anything failed, the end is a ``BatchError`` with the failed results only.
        Closing the iterator, as ``break`` in a loop does, stops what is under way.
        """
        if is_scalar(paths):
            raise TypeError(f"iget takes an iterable of paths, not one path: {paths!r:.60}")
        requests, total = self._read_requests(paths, total, reading(raw, max_size))
        return self._iget(requests, self._bar(progress, "get", total), raise_errors, cancel)

    def _iget(
        self, requests: Iterable[GetRequest], bar: Progress, raise_errors: bool, cancel: Cancellation | None
    ) -> Iterator[Result]:
        failed: Results = []
        count = 0
        try:
            stream = self._batches.stream(self._get_tasks(requests, bar, None), self._reading(), cancel=cancel)
            with closing(stream):
                for _, result in stream:
                    bar.add(content_size(result))
                    count += 1
                    if raise_errors and result["error"] is not None:
                        failed.append(result)
                    yield result
        finally:
            bar.close()
        if failed:
            raise BatchError.from_results("get", failed, of=count)

    def _get_tasks(
        self, requests: Iterable[GetRequest], bar: Progress, decode: Decode | None
    ) -> Iterable[Get | GetInto]:
        return gets(self._batches.context(bar), requests, self._prefix, decode)

    # -- writing ----------------------------------------------------------------------------------------------

    def put(
        self,
        path: str,
        content: Content,
        content_type: str | None = None,
        cache_control: str | None = None,
        content_encoding: str | None = None,
        compress: Compress = None,
        compression_level: int | None = None,
        *,
        overwrite: Replace = "always",
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Result:
        """Store one file, and on Hypha commit it (unless the artifact is already staged).

        ``content`` is bytes or anything with a buffer, text (stored as UTF-8), an open binary file (from where
        it stands; also a pipe), a ``Path``, or an iterator (a generator, say) of blocks of bytes, which is read in this
        thread while it is sent. Overwrites. Raises if it fails; what an iterator raises is raised as it is, and then
        nothing is stored.

        ``overwrite="never"`` stores it only if there is nothing of this name, else it is an ``ObjectExists``, which is
        a ``FileExistsError``. ``if_match`` is an ETag, as results have it: it is stored only if what is there has that,
        else it is a ``PreconditionFailed``. The store decides in the moment of the write, so of several writers one
        wins; where it cannot, that is a ``ValueError`` before anything is sent (see ``docs/errors.md``).

        ``compress`` ("gzip", "br", "zstd", "xz" or "bz2") stores it encoded, with a Content-Encoding that says so, and
        reading decodes it; ``compression_level`` is the codec's. ``content_encoding`` is for content that is encoded
        already.

        ``metadata`` is what you say of it by names of your own, as ``head`` tells it (see ``set_metadata``). A store
        that keeps none is a ``ValueError``.
        """
        options = put_options(
            content_type, cache_control, content_encoding, compress, compression_level, overwrite, if_match, metadata
        )
        requests = [*write_requests([{"path": path, "content": content}], self._prefix, options)]
        (request,) = (request for _, request in requests)
        alone = self._writes.is_one_request(request)
        # where the call may be given up from outside, workers can be broken off
        engine = self._batches.inline if alone and AMBIENT.get() is None else self._engine
        (result,) = self._write("put", requests, None, engine, None)
        if result["error"] is not None:
            raise result["error"]
        return result

    @recordable
    def puts(
        self,
        files: Iterable[tuple[str, Content] | Mapping[str, Any]],
        content_type: str | None = None,
        cache_control: str | None = None,
        content_encoding: str | None = None,
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
        compress: Compress = None,
        compression_level: int | None = None,
        *,
        overwrite: Replace = "always",
        parallel: int | None = None,
    ) -> Results:
        """Store many files, and on Hypha commit them together at the end (unless the artifact is already staged).

        ``files`` gives ``(path, content)`` pairs or dicts with ``path`` and ``content`` (and ``content_type``,
        ``cache_control``, ``content_encoding``, ``compress``, ``compression_level``, ``overwrite``, ``if_match``,
        ``metadata``, ``tags``, which override the call's; ``if_match`` and ``metadata`` are ``put``'s); results of
        ``get`` fit too, and keep the encoding that they were stored with. Contents are what ``put`` takes; an iterator
        of blocks that raises fails its file only.
        A path given twice is refused. Results are in input order; for errors see ``get``. Files that failed are
        left out of the commit, those that were stored are in it. When ``files`` itself raises, what was stored
        so far stays staged: ``commit()`` or ``discard()`` it.

        ``parallel`` has so many processes encode and send them, into the same commit; contents are bytes, text or
        ``Path`` then. Left out, it is the object's. ``return_recording`` is as for ``get``.
        """
        if isinstance(files, str | bytes | Mapping):
            raise TypeError("puts takes an iterable of (path, content) pairs or dicts; for one file use put")
        options = put_options(content_type, cache_control, content_encoding, compress, compression_level, overwrite)
        return self._puts(files, options, None, total, raise_errors, progress, cancel, parallel)

    def put_json(
        self,
        path: str,
        content: Any,
        cache_control: str | None = None,
        compress: Compress = None,
        compression_level: int | None = None,
        *,
        overwrite: Replace = "always",
        if_match: str | None = None,
    ) -> Result:
        """Store one object as UTF-8 JSON, with content type application/json; otherwise like ``put``."""
        text, kind = to_json(content, path), "application/json"
        return self.put(
            path,
            text,
            kind,
            cache_control,
            None,
            compress,
            compression_level,
            overwrite=overwrite,
            if_match=if_match,
        )

    @recordable
    def put_jsons(
        self,
        files: Iterable[tuple[str, Any] | Mapping[str, Any]],
        cache_control: str | None = None,
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
        compress: Compress = None,
        compression_level: int | None = None,
        *,
        overwrite: Replace = "always",
        parallel: int | None = None,
    ) -> Results:
        """Store many objects as JSON; otherwise like ``puts``."""
        options = put_options("application/json", cache_control, None, compress, compression_level, overwrite)
        return self._puts(files, options, to_json, total, raise_errors, progress, cancel, parallel)

    def _puts(
        self,
        files: Iterable[object],
        options: PutOptions,
        encode: Callable[[object, str], bytes] | None,
        total: int | None,
        raise_errors: bool,
        progress: ProgressOption,
        cancel: Cancellation | None,
        parallel: int | None,
    ) -> Results:
        total_bytes = None
        requests: Iterable[tuple[str, PutRequest]] = write_requests(files, self._prefix, options, encode)
        if isinstance(files, Sequence):  # known whole: refuse what is wrong with it before anything is sent
            requests = [*requests]
            total = len(requests)
            if not any(isinstance(request.body, Stream) for _, request in requests):
                total_bytes = sum(request.size for _, request in requests)
            for name, request in requests:
                self._writes.check(name, request)
        count = self._processes(parallel, total)
        if count > 1:
            checked = requests if isinstance(requests, Sequence) else self._writes.checked(requests)
            items = self._prepared(checked)
            bar = self._bar(progress, "put", total, total_bytes)
            results = self._write_elsewhere("puts", count, "put", items, total, bar, cancel)
        else:
            bar = self._bar(progress, "put", total, total_bytes)
            results = self._write("puts", requests, bar, self._engine, cancel)
        if raise_errors:
            raise_failures("puts", results)
        return results

    @property
    def _writes(self) -> Writes:
        return Writes(self._backend, self._settings)

    def _write(
        self,
        verb: str,
        requests: Iterable[tuple[str, PutRequest]],
        bar: Progress | None,
        engine: Engine,
        cancel: Cancellation | None,
    ) -> Results:
        def tasks(session: WriteSession) -> Iterator[Put]:
            context, writes = self._batches.context(bar), self._writes
            for index, (name, request) in enumerate(requests):
                yield writes.task(context, session, index, name, request)

        return self._batches.write(verb, tasks, bar, engine=engine, cancel=cancel)

    @recordable
    def delete(
        self,
        paths: str | Iterable[str],
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
        parallel: int | None = None,
    ) -> Results | None:
        """Remove files, and on Hypha commit that; what is not there counts as removed.

        A path gives None or raises; an iterable gives results, with errors as for ``get``. A Hypha server
        removes one file a call, about five a second, so that ``parallel`` changes nothing there.
        """
        scalar = is_scalar(paths)
        names, total = ([cast(str, paths)], None) if scalar else counted(paths, total, check_name)
        count = 1 if scalar else self._processes(parallel, total)
        bar = None if scalar else self._bar(progress, "delete", total)
        for name in names if scalar else ():
            check_name(name)
        if count > 1 and not self._backend.can.one_by_one:
            named = ((name, GetRequest(self._prefix + check_name(name))) for name in names)
            results = self._write_elsewhere("delete", count, "delete", self._prepared(named), total, bar, cancel)
        else:
            results = self._delete(names, bar, self._batches.inline if scalar else self._engine, cancel)
        if scalar:
            if results[0]["error"] is not None:
                raise results[0]["error"]
            return None
        if raise_errors:
            raise_failures("delete", results)
        return results

    def _delete(
        self, names: Iterable[str], bar: Progress | None, engine: Engine, cancel: Cancellation | None
    ) -> Results:
        def tasks(session: WriteSession) -> Iterator[Remove]:
            context = self._batches.context(bar)
            for index, name in enumerate(names):
                yield Remove(context, session, index, name, self._prefix + check_name(name))

        return self._batches.write("delete", tasks, bar, engine=engine, blocking=True, cancel=cancel)

    def touch(self, paths: str | Iterable[str]) -> None:
        """Make empty files where there are none; what is there is left as it is."""
        names = [cast(str, paths)] if is_scalar(paths) else list(dict.fromkeys(paths))
        there = self._there_for_writes(names)
        missing = [(name, b"") for name in names if name not in there]
        if not missing:
            return
        if "new" not in self._backend.can.conditions:
            self.puts(missing)
            return
        made = self.puts(missing, overwrite="never", raise_errors=False)  # others may have been made meanwhile
        blind = [(result["path"], b"") for result in made if getattr(result["error"], "errno", None) == errno.ENOTSUP]
        made = [result for result in made if not isinstance(result["error"], ObjectExists)]
        raise_failures("touch", [result for result in made if (result["path"], b"") not in blind])
        if blind:  # on a file system without hard links, where nobody can look in the moment of a write
            self.puts(blind)

    def _open_to_write(
        self,
        path: str,
        mode: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> Unpublished | TextWriter:
        from .engine.locks import turn_at
        from .writing import Place, open_to_write  # loads what few programs need

        name = check_name(path)

        said = {"content_type": content_type, "cache_control": cache_control}
        kept: dict[str, Any] = {}  # of a file that is changed: what is not of its bytes

        def put(content: Content, asked: Mapping[str, Any]) -> None:
            given = {key: value for key, value in said.items() if value is not None}
            self.put(name, content, **{**kept, **given}, **asked)

        def head() -> str | None:
            backend = self._as_written()
            task = Head(self._batches.context(backend=backend), 0, name, self._prefix + name)
            return self._now(task, backend)["etag"]

        def fetch(file: IO[bytes]) -> str | None:
            backend = self._as_written()
            request = read_request({"path": name, "into": file}, self._prefix, reading(False, None))
            found = self._now(get_task(self._batches.context(backend=backend), 0, name, request, None), backend)
            kept.update(self._kept(name, found, backend))
            return found["etag"]

        can = self._backend.can
        streams = not (self._engine.green or self._engine.inline) and bool(can.growing or can.flows)

        @contextmanager
        def turn() -> Iterator[None]:
            full = self._prefix + name
            with turn_at(self._engine, f"{self._location.root}/{full}"), self._backend.turn(full):
                yield

        place = Place(put, head, fetch, turn, can.conditions, streams)
        return open_to_write(place, name, mode, encoding, errors, newline)

    def _kept(self, name: str, found: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
        """What ``put`` is to be told of a file that was read, so that another content of it has the same type, encoding
        and metadata, as far as they are kept here."""
        can = self._backend.can
        kept: dict[str, Any] = {"compress": found["compress"]}
        if "content_type" in can.keeps and found["content_type"] not in GENERIC:
            kept["content_type"] = found["content_type"]
        if can.metadata or "cache_control" in can.keeps:
            task = Head(self._batches.context(backend=backend), 0, name, self._prefix + name)
            info: ObjectInfo = self._now(task, backend)["content"]
            if "cache_control" in can.keeps:
                kept["cache_control"] = info.headers.get("cache-control")
            if can.metadata:
                try:
                    self._writes.check_metadata(name, metadata_of(info.metadata))
                    kept["metadata"] = info.metadata
                except ValueError:  # somebody else has written it, and it could not be sent as it is
                    lost = f"{name}: stored without the metadata that it had, which cannot be sent from here"
                    warnings.warn(lost, LossyWarning, stacklevel=2)
        return kept

    def _as_written(self) -> Backend:
        """What the next write finds."""
        return self._backend.as_written(self._control(looking=True)) if self._backend.can.versioned else self._backend

    def _there_for_writes(self, names: Sequence[str]) -> set[str]:
        """Which of these are there, what is staged included."""
        try:
            backend = self._as_written()
        except ArtifactNotFound:
            return set()  # it may be about to be made
        if backend is self._backend:
            return {name for name, known in self.exists(names).items() if known}
        context = self._batches.context(backend=backend)
        tasks = [Head(context, index, name, self._prefix + check_name(name)) for index, name in enumerate(names)]
        results = self._batches.collect(tasks, backend.reading(silent=True))
        raise_failures("touch", [each for each in results if not isinstance(each["error"], ObjectNotFound)])
        return {each["path"] for each in results if each["error"] is None}

    def _now(self, task: Get | GetInto | Head, backend: Backend) -> Result:
        resolver = backend.reading(silent=isinstance(task, Head)) if backend.can.batched else None
        (result,) = self._batches.collect([task], resolver)
        if result["error"] is not None:
            raise result["error"]
        return result

    # -- by several processes ---------------------------------------------------------------------------------

    def _processes(self, parallel: int | None, total: int | None) -> int:
        """How many processes a call is for; ``ValueError`` if it cannot be for several."""
        count = self._settings.parallel if parallel is None else check_parallel(parallel)
        if count > 1:
            settings, scheme = self._settings, self._backend.scheme
            reasons = {
                "session= is": settings.session is not None,
                "an observer is": settings.observer is not None,
                "a recording is": bool(self._batches.recording),
                "gevent's greenlets are": self._engine.green or sockets_are_patched(),
                f"what is in {scheme}:// is": self._backend.can.in_process,
            }
            for reason, holds in reasons.items():
                if holds:
                    raise ValueError(f"parallel={count} has other processes at work, and {reason} of this one alone")
        return 1 if total is not None and total < 2 else count

    def _prepared(self, items: Iterable[Named]) -> Iterable[tuple[Named, Named]]:
        from .parallel import prepared  # loads what few programs need

        return prepared(items)

    def _write_elsewhere(
        self,
        verb: str,
        count: int,
        work: str,
        items: Iterable[tuple[Named, Named]],
        total: int | None,
        bar: Progress | None,
        cancel: Cancellation | None,
    ) -> Results:
        def elsewhere(session: WriteSession) -> Results:
            source = iter(items)
            first = [*islice(source, 1)]
            if not first:
                return []
            location = self._backend.location_to_write(self._location, session)
            return self._elsewhere(count, location, work, chain(first, source), total, bar, cancel)

        return self._batches.write(verb, lambda session: (), bar, elsewhere=elsewhere)

    def _elsewhere(
        self,
        count: int,
        location: Location,
        work: str,
        items: Iterable[tuple[Named, Named]],
        total: int | None,
        bar: Progress | None,
        cancel: Cancellation | None,
        decode: Decode | None = None,
    ) -> Results:
        from .parallel import run

        state = self.__getstate__()
        state["location"] = location
        limit = rate_limit(self._settings.limit_rate)
        share = None if limit is None else limit.share(count)
        state["settings"].update(progress=None, parallel=1, limit_rate=share)

        def noted(item: Named, result: Result) -> Result:
            name, request = item
            if bar is not None:
                sent = isinstance(request, PutRequest) and result["error"] is None
                bar.add(cast(PutRequest, request).size if sent else content_size(result))
            if decode is not None and result["error"] is None:
                # here: parsing takes no longer than bringing a parsed value from one process to another
                try:
                    result["content"] = decode(result["content"], name)
                except InvalidContent as error:
                    return failed(name, request, error, result["attempts"])
            return result

        with closing(bar) if bar is not None else nullcontext():
            return run(
                count,
                (ArtifactFiles, state),
                work,
                items,
                total=total,
                again=work == "get",
                noted=noted,
                cancel=cancel or AMBIENT.get(),
            )

    def _do_part(self, work: str, items: Sequence[Named]) -> Results:
        """What a process does of what ``_elsewhere`` gives to several."""
        if work == "put":
            requests = cast("Sequence[tuple[str, PutRequest]]", items)
            return self._write("puts", requests, None, self._engine, None)
        if work == "delete":
            return self._delete([name for name, _ in items], None, self._engine, None)
        reads = [cast(GetRequest, request) for _, request in items]
        return self._batches.collect(gets(self._batches.context(), reads, self._prefix, None), self._reading())

    # -- uploads that were not completed ----------------------------------------------------------------------

    def uploads(self, prefix: str = "") -> Iterator[UnfinishedUpload]:
        """Yield the uploads in parts of names that begin with ``prefix`` which were neither completed nor aborted.

        Only buckets of ``s3://`` tell them, and keep (and charge for) their parts. One that is ``ours`` goes on when
        the same upload is made again.
        """
        self._check_tells_uploads("uploads")
        skip = len(self._prefix)
        for each in self._backend.uploads(self._prefix + prefix, control=self._control(looking=True)):
            yield each._replace(path=each.path[skip:])

    def abort_uploads(
        self,
        uploads: Iterable[UnfinishedUpload] | None = None,
        *,
        prefix: str = "",
        older_than: float | None = None,
        raise_errors: bool = True,
    ) -> Results:
        """Have the store forget unfinished uploads and their parts: those that are named, as ``uploads()`` yields them,
        or all of names that begin with ``prefix`` which were begun more than ``older_than`` seconds ago.

        One that a process of this machine is at is an error of that item; whether somebody elsewhere is at one, nobody
        knows, so mind its age. Results carry the ``UnfinishedUpload`` as ``tags``; for errors see ``get``.
        """
        self._check_tells_uploads("abort_uploads")
        if (uploads is None) == (older_than is None):
            raise ValueError("say which uploads are meant: uploads=, or older_than= (seconds)")
        if uploads is None:
            before = time.time() - cast(float, older_than)
            found = self.uploads(prefix)
            uploads = [each for each in found if each.initiated is not None and each.initiated < before]
        control, results = self._control(), []
        for each in uploads:
            request = GetRequest(each.path, tags=each)
            try:
                abort = partial(self._backend.abort_upload, self._prefix + check_name(each.path), each.id)
                control.retry(abort)
            except (TransferError, ValueError) as error:  # the latter: a name that others have given, and we could not
                results.append(failed(each.path, request, error, max(1, attempts_of(error))))
            else:
                results.append(got(each.path, request, Fetched(b""), None, 1))
        if raise_errors:
            raise_failures("abort_uploads", results)
        return results

    def _check_tells_uploads(self, verb: str) -> None:
        if not self._backend.can.tells_uploads:
            raise TypeError(
                f"{verb}() is for s3://; {without_credentials(self.cloudpath)!r} tells of no unfinished uploads"
            )

    # -- files on disk ----------------------------------------------------------------------------------------

    def _trees(self) -> Trees:
        from .transfers.tree import Trees  # only here: many programs move nothing from or to a disk

        return Trees(self._batches, self._prefix, without_credentials(self.cloudpath))

    @recordable
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
        windows_names: bool = False,
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
        raw: bool = False,
        max_size: int | None = None,
        dry_run: bool = False,
    ) -> Any:
        """Download files to disk, large ones in parts side by side, and verify them.

        ``paths`` is one path: a ``FileResult`` dict comes back, or an error is raised; ``dest`` is the file, or a
        folder that is there (or ends in a slash). Or it is a prefix, "" or ending in a slash: everything below it
        goes into the folder ``dest``, by its name without the prefix; a folder with nothing in it is an
        ``ObjectNotFound``. Or an iterable of paths, or of dicts with ``path`` and, if it is to be called otherwise
        below ``dest``, ``local_path``, and if it is to be an old one, ``version`` (see ``versions``): each goes below
        ``dest`` by its whole name. The latter two give a list of ``FileResult`` dicts in order; for errors see ``get``.

        A file that is there is replaced by default if its content is "different", by its size and the ETag that its
        bytes would have in an S3 (elsewhere nothing can be compared, and it counts as different); "never", "always",
        or "newer": if the object has been modified after it and is different. What is skipped is ``skipped`` in its
        result. A file that was downloaded has the time of its object.

        ``include`` and ``exclude`` are glob patterns (``*`` matches slashes as well); one without a slash is compared
        with the last part of a name. ``part_size`` is the bytes of each part; left out, it adapts to the speed.
        ``checksum=False`` does without the comparison with the ETag, and its time: about 1.5 s of a core for each GiB.

        A target is at all times what it was before or complete, and is not touched if its bytes are wrong. An
        interrupted download of more than one part leaves a hidden temporary file and a journal beside its target,
        and the next one goes on from there if the object still has the same ETag. Names that would land outside of
        ``dest``, or on each other on some system, are refused before anything is moved. So are names that Windows
        reserves (``CON``, ``aux.txt``, ``c:x``), unless ``windows_names`` says to write them where this system can, and
        names of such temporary files.

        What is stored with a Content-Encoding is decoded when all of it is there, up to ``max_size`` bytes (64 GiB);
        ``raw=True`` leaves it as it is stored. A file of decoded content counts as different from its object.

        ``dry_run`` finds out what would be fetched and writes nothing: results are those of files that are there and
        ``skipped``, of such as cannot be had (``error``), and of the others, which would be fetched (0 ``attempts``).
        """
        options_of_reading = reading(raw, max_size)
        from .transfers.tree import TreeOptions

        trees = self._trees()
        options = TreeOptions(
            overwrite=overwrite,
            wanted=name_filter(include, exclude),
            part_size=part_size,
            checksum=checksum,
            windows_names=windows_names,
            raw=options_of_reading.raw,
            max_size=options_of_reading.max_size,
            cancel=cancel,
            dry_run=dry_run,
        )

        def make_bar(count: int | None, size: int | None) -> Progress:
            return self._bar(progress, "download", count, size)

        if isinstance(paths, str):
            if paths and not paths.endswith("/"):
                return trees.download_one(paths, dest, options, make_bar)
            results = trees.download_below(paths, dest, options, make_bar)
        else:
            results = trees.download_named(paths, dest, options, total, make_bar)
        if raise_errors:
            raise_failures("download", results)
        return results

    @recordable
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
        cancel: Cancellation | None = None,
        compress: Compress = None,
        compression_level: int | None = None,
        dry_run: bool = False,
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

        ``compress`` and ``compression_level`` are as for ``put``. A file is then "different" if what it would be stored
        as is: its encoding, or the bytes that this codec of this level makes of it. ``dry_run`` is as for ``download``.
        """
        said = put_options(compress=compress, compression_level=compression_level)
        from .transfers.tree import TreeOptions

        options = TreeOptions(
            overwrite=overwrite,
            wanted=name_filter(include, exclude),
            symlinks=symlinks,
            compress=said["compress"],
            compression_level=said["compression_level"],
            cancel=cancel,
            dry_run=dry_run,
        )
        writes = self._writes
        writes.check_keeps(self.cloudpath, said["compress"])

        def make_bar(count: int | None, size: int | None) -> Progress:
            return self._bar(progress, "upload", count, size)

        def make_put(session: WriteSession, index: int, name: str, request: PutRequest, bar: Progress) -> Put:
            return writes.task(self._batches.context(bar), session, index, name, request)

        scalar = isinstance(files, str | os.PathLike) and not os.path.isdir(files)
        results: list[FileResult] = self._trees().upload(files, prefix, options, make_bar, make_put)
        if scalar:
            if results[0]["error"] is not None:
                raise results[0]["error"]
            return results[0]
        if raise_errors:
            raise_failures("upload", results)
        return results

    def verify(
        self,
        local: PathLike,
        prefix: str = "",
        *,
        include: Patterns = None,
        exclude: Patterns = None,
    ) -> Comparison:
        """Compare a folder on disk with what is below ``prefix`` ("" or a folder), by names, sizes and digests.

        Nothing is downloaded: digests are compared with ETags. See ``Comparison`` for what comes back; what keeps a
        single file from being compared is among it, under ``errors``. Raises if the server is out of reach.
        """
        return self._trees().verify(local, prefix, name_filter(include, exclude))

    # -- moving -----------------------------------------------------------------------------------------------

    @recordable
    def transfer_to(
        self,
        dest: str | ArtifactFiles,
        paths: str | Iterable[Transfer] | None = None,
        *,
        overwrite: Overwriting = "always",
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
        dry_run: bool = False,
    ) -> Any:
        """Copy files to another place, or within this one, as they are stored; names stay the same.

        ``dest`` is a cloudpath (whose credentials come from the environment, or from here if it is of the same
        server) or an ``ArtifactFiles``. ``paths`` is one path: a ``CopyResult`` comes back, or an error is raised. Or
        it is a prefix ending in a slash, or None for everything there is. Or an iterable (a generator, too) of paths,
        of ``(path, target)`` pairs, or of dicts with ``path`` and, if it is to be called otherwise there,
        ``dest_path``, and ``tags``. The latter three give a list of ``CopyResult`` dicts in order; for errors see
        ``get``.

        Where the store can, it makes the copies itself. Elsewhere the stored bytes pass through here, with content
        type, cache control and content encoding, and are verified as they are read and as they are written. What the
        target cannot keep of the former two is a ``LossyWarning``; a content encoding that it cannot keep is an error
        of that item, before it is read. On Hypha all is committed together at the end.

        ``overwrite`` is what to do with files that are there: "always", "never", "newer" (replace it if the source has
        been modified after it) or "different" (if its ETag says so, or nothing can be compared). ``dry_run`` copies
        nothing: what would be copied has neither an ``error`` nor anything that it was ``compared`` by.
        """
        with self._facing(dest) as target, target._reading_from(self) as source:
            return target._transfer(source, paths, overwrite, total, raise_errors, progress, cancel, dry_run)

    @recordable
    def transfer_from(
        self,
        source: str | ArtifactFiles,
        paths: str | Iterable[Transfer] | None = None,
        *,
        overwrite: Overwriting = "always",
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
        dry_run: bool = False,
    ) -> Any:
        """Copy files from another place to this one; otherwise like ``transfer_to``."""
        with self._facing(source) as found, self._reading_from(found) as reader:
            return self._transfer(reader, paths, overwrite, total, raise_errors, progress, cancel, dry_run)

    def _transfer(
        self,
        source: ArtifactFiles,
        paths: str | Iterable[Transfer] | None,
        overwrite: Overwriting,
        total: int | None,
        raise_errors: bool,
        progress: ProgressOption,
        cancel: Cancellation | None,
        dry_run: bool,
    ) -> Any:
        from .transfers.copies import wanted_of

        copies = self._copies(source, overwrite, cancel, dry_run)
        alone = isinstance(paths, str) and paths != "" and not paths.endswith("/")
        if paths is None or (isinstance(paths, str) and not alone):
            wanted: Iterable[Wanted] = copies.below(paths or "")
        else:
            items: Iterable[Transfer] = [paths] if isinstance(paths, str) else paths
            wanted, total = wanted_of(items, total)
        results = copies.run(wanted, self._bar(False if alone else progress, "transfer", total))
        if alone:
            if results[0]["error"] is not None:
                raise results[0]["error"]
            return results[0]
        if raise_errors:
            raise_failures("transfer", results)
        return results

    def move(self, src: str, dest: str, *, overwrite: Overwriting = "always") -> CopyResult:
        """Move one file: ``dest`` is a path here, or a whole cloudpath that ends in a name. See ``moves``."""
        target: ArtifactFiles | str | None = None
        if "://" in dest:
            target, dest = backends.split_cloudpath(dest)
        (result,) = self.moves([(src, dest)], target, overwrite=overwrite, raise_errors=False)
        if result["error"] is not None:
            raise result["error"]
        return result

    @recordable
    def moves(
        self,
        pairs: Iterable[Transfer],
        dest: str | ArtifactFiles | None = None,
        *,
        overwrite: Overwriting = "always",
        total: int | None = None,
        raise_errors: bool = True,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
    ) -> list[CopyResult]:
        """Move files, each to the path that stands beside it, here or at ``dest``; see ``transfer_to``.

        A source is removed only when its copy has been acknowledged by the target, on Hypha committed, and only if it
        still is the version that was copied; else it stays, and the result has an error although ``done`` says
        "copied". What was not copied since it was there (``overwrite``) stays as well. A name cannot be read and be
        written to in the same call.
        """
        from .transfers.copies import wanted_of

        with self._facing(self if dest is None else dest) as target, target._reading_from(self) as source:
            copies = target._copies(source, overwrite, cancel)
            copies.check_movable()
            wanted, total = wanted_of(pairs, total)
            results = copies.run(wanted, target._bar(progress, "move", total), verb="move")
            copies.remove_moved(results)
        if raise_errors:
            raise_failures("move", results)
        return results

    def _copies(
        self, source: ArtifactFiles, overwrite: Overwriting, cancel: Cancellation | None, dry_run: bool = False
    ) -> Copies:
        from .transfers.copies import Copies, CopyOptions  # only here: many programs copy nothing

        options = CopyOptions(self._writes.goes_in_parts, self._settings.part_size, overwrite, cancel, dry_run)
        return Copies(source._side(), self._side(), options)

    @contextmanager
    def _syncing(self, source: ArtifactFiles, options: SyncOptions, cancel: Cancellation | None) -> Iterator[Sync]:
        """What makes this place like another one; for ``shortcuts``."""
        from .transfers.sync import Sync

        with self._reading_from(source) as reader:
            copies = self._copies(reader, "always", cancel)
            yield Sync(reader._side(), self._side(), copies, options)

    def _side(self) -> Side:
        from .transfers.copies import Side

        return Side(self._batches, self._location, without_credentials(self.cloudpath))

    @contextmanager
    def _facing(self, other: str | ArtifactFiles) -> Iterator[ArtifactFiles]:
        """The files at the other end of a copy; what is opened for that is closed again."""
        if isinstance(other, ArtifactFiles):
            yield other
            return
        made = self._beside(other)
        try:
            yield made
        finally:
            made.close()

    def _beside(self, cloudpath: str) -> ArtifactFiles:
        """The files at another cloudpath, with the same options; secrets go where they are meant for only."""
        cloudpath = backends.resolved(cloudpath)
        location = backends.locate(cloudpath)
        settings = self._settings
        access = getattr(self._backend, "access", None)
        if location.scheme == self._location.scheme == "hypha" and getattr(location, "server", None) in (
            None,
            getattr(access, "server", None),
        ):  # also where none is named, and another one is the usual: the token is for this one
            settings = replace(settings, server_url=getattr(access, "server", None))
        elif location.root != self._location.root:
            transport = "auto" if settings.session is not None else settings.transport
            # a session may be logged in somewhere, too; and what a gateway wants, or a network has, is of that server
            settings = replace(settings, token=None, secrets=None, server_url=None, session=None, transport=transport)
            settings = replace(settings, headers=None, use_proxy=None, use_local_url=None)
        made = ArtifactFiles.__new__(ArtifactFiles)
        made._open(cloudpath, location, settings)
        return made

    @contextmanager
    def _reading_from(self, source: ArtifactFiles) -> Iterator[ArtifactFiles]:
        """``source`` itself, or its like whose transport this one's workers can wait for."""
        if source._transport is None or source._engine.green == self._engine.green:
            yield source
            return
        state = source.__getstate__()
        state["settings"]["green"] = self._engine.green
        if source._settings.session is None:
            state["settings"]["transport"] = "auto"  # not every one runs in greenlets
        like = ArtifactFiles.__new__(ArtifactFiles)
        like.__setstate__(state)
        try:
            yield like
        finally:
            like.close()

    # -- asking -----------------------------------------------------------------------------------------------

    @overload
    def exists(self, paths: str, progress: ProgressOption = ...) -> bool: ...  # type: ignore[overload-overlap]
    @overload
    def exists(self, paths: Iterable[str], progress: ProgressOption = ...) -> dict[str, bool]: ...
    def exists(self, paths: str | Iterable[str], progress: ProgressOption = None) -> bool | dict[str, bool]:
        """Whether files are there: a bool for a path, a dict of path to bool for an iterable.

        False means that the server said "not there"; being refused or out of reach raises.
        """
        scalar = is_scalar(paths)
        names = [check_name(path) for path in ([cast(str, paths)] if scalar else dict.fromkeys(paths))]
        bar = self._bar(False if scalar else progress, "exists", len(names))
        there = self._exists(names, bar) if names else {}
        return there[cast(str, paths)] if scalar else there

    def _exists(self, names: list[str], bar: Progress) -> dict[str, bool]:
        there: dict[str, bool] = {}
        # a backend that knows better asks for many at once; only a bar needs to hear of some before the others
        step = _ASKED_TOGETHER if bar.shown else max(1, len(names))
        with closing(bar):
            for start in range(0, len(names), step):
                asked = names[start : start + step]
                full = [self._prefix + name for name in asked]
                try:
                    known = self._backend.exists(full, self._control(looking=True))
                except ObjectNotFound:  # the artifact itself is not there, so nothing in it is
                    known = dict.fromkeys(full, False)
                if known is None:  # told one by one
                    return there | self._exist(names[start:], bar)
                there.update((name, known[path]) for name, path in zip(asked, full, strict=True))
                for _ in asked:
                    bar.add(None)
        return there

    def _exist(self, names: list[str], bar: Progress) -> dict[str, bool]:
        results = self._heads(names, bar)
        failed = [r for r in results if r["error"] is not None and not isinstance(r["error"], ObjectNotFound)]
        if failed:
            raise (
                cast(Exception, failed[0]["error"]) if len(names) == 1 else BatchError.from_results("exists", failed)
            )
        return {result["path"]: result["error"] is None for result in results}

    def _heads(self, names: Sequence[str], bar: Progress | None = None, version: str | None = None) -> Results:
        context = self._batches.context()
        prefix = self._prefix
        tasks = [Head(context, index, name, prefix + check_name(name), version) for index, name in enumerate(names)]
        resolver = self._backend.reading(silent=True) if self._backend.can.batched else None
        if bar is None:
            return self._batches.collect(tasks, resolver)

        def noted(index: int, result: Result) -> None:
            bar.add(None)

        return self._batches.collect(tasks, resolver, bar, noted=noted)

    @overload
    def head(self, paths: str, *, version: str | None = ...) -> ObjectInfo: ...  # type: ignore[overload-overlap]
    @overload
    def head(self, paths: Iterable[str], *, version: str | None = ...) -> dict[str, ObjectInfo]: ...
    def head(self, paths: str | Iterable[str], *, version: str | None = None) -> ObjectInfo | dict[str, ObjectInfo]:
        """Size, ETag, content type, metadata and headers of files, without their bytes; for an iterable a dict by path.

        ``version`` is the id of a ``Version``: what is told then is how it was in that (see ``versions``).
        """
        if is_scalar(paths):
            name = check_name(paths)
            self._check_version(name, version)
            task = Head(self._batches.context(), 0, name, self._prefix + name, version)
            result = self._batches.one(task, silent=True)
            if result["error"] is not None:
                raise result["error"]
            info: ObjectInfo = result["content"]
            return info
        names = list(dict.fromkeys(paths))
        self._check_version(names[0] if names else self.cloudpath, version)
        results = self._heads(names, version=version)
        raise_failures("head", results)
        return {result["path"]: result["content"] for result in results}

    def versions(self, path: str) -> list[Version]:
        """The versions of a file that the store still has, oldest first; what is read where none is named is the last,
        and says ``latest``. Where none says so, the file has been removed since: the removal itself is not listed.

        ``s3://`` has those of a bucket that keeps them (in any other there is the one that is there); that is one
        request, or more where many names begin with this one. ``hypha://`` has the artifact's versions that have the
        file, for two requests each and one more. All other stores keep none, and of a name of which nothing is known
        there are none either: that is ``[]``.

        A version's ``id`` goes into a request (``cf.get({"path": path, "version": id})``), to ``head`` and to ``open``.
        """
        name = check_name(path)
        if not self._backend.can.keeps_versions:
            return []
        return [*self._backend.versions(self._prefix + name, self._control(looking=True))]

    def set_metadata(self, path: str, metadata: Mapping[str, str]) -> None:
        """Replace what is said of a file by names of the user's own (see ``put``), all of it, and not its bytes.

        Names are those of HTTP headers, and told in lower case; values printable ASCII. S3 keeps 2 KiB of both, Google
        and Azure 8 KiB; names of Azure's are identifiers. A store that keeps none (Hypha, a folder, the web) is a
        ``ValueError``.

        S3 copies the object onto itself for that, up to 5 GiB of it, so its time is a new one, and so may its ETag be
        (and in a bucket that keeps versions, that is one). Where somebody replaces the object between the look at it
        and that, it is a ``PreconditionFailed``, and nothing is changed. Of two who set metadata at the same time the
        last one wins, with all of its own.
        """
        name = check_name(path)
        wanted = metadata_of(metadata)
        if metadata is None:
            raise TypeError("metadata is a dict of text to text; {} removes what there is")
        can = self._backend.can
        if can.writable and not can.metadata:
            raise ValueError(f"{name!r}: {self._backend.scheme}:// keeps no metadata")
        if not can.writable:
            raise ReadOnly(f"{self._backend.scheme}:// can only be read from", path=name)
        self._writes.check_metadata(name, wanted)
        self._control().retry(partial(self._backend.set_metadata, self._prefix + name, wanted))

    @overload
    def size(self, paths: str, return_sum: bool = ...) -> int: ...  # type: ignore[overload-overlap]
    @overload
    def size(self, paths: Iterable[str], return_sum: Literal[False] = ...) -> dict[str, int]: ...
    @overload
    def size(self, paths: Iterable[str], return_sum: Literal[True]) -> int: ...
    def size(self, paths: str | Iterable[str], return_sum: bool = False) -> Any:
        """Size in bytes; for an iterable a dict by path, or with ``return_sum`` the bytes of all of them together."""
        if is_scalar(paths):
            return self.head(cast(str, paths)).size
        sizes = {path: info.size for path, info in self.head(paths).items()}
        if not return_sum:
            return sizes
        unknown = [path for path, size in sizes.items() if size is None]
        if unknown:
            raise TransferError("the server does not say how large this is, so there is no sum", path=unknown[0])
        return sum(size for size in sizes.values() if size is not None)

    def subtree_size(self, prefix: str = "") -> SubtreeSize:
        """How many files there are below ``prefix``, and their bytes together, from one listing.

        Like ``list``, ``prefix`` need not be a folder. What a listing gives no size of is asked for by name.
        """
        files = size = 0
        for _, known in self.list(prefix, size=True):
            files += 1
            size += known or 0
        return SubtreeSize(files, size)

    @overload
    def list(
        self, prefix: str = ..., flat: bool = ..., *, size: Literal[False] = ..., start_after: str | None = ...
    ) -> Iterator[str]: ...
    @overload
    def list(
        self, prefix: str = ..., flat: bool = ..., *, size: Literal[True], start_after: str | None = ...
    ) -> Iterator[tuple[str, int | None]]: ...
    def list(
        self, prefix: str = "", flat: bool = False, *, size: bool = False, start_after: str | None = None
    ) -> Iterator[Any]:
        """Yield the paths that begin with ``prefix``, which need not be a folder.

        With ``flat`` only one level is listed, and folders appear once, with a slash at the end. With ``size`` it
        yields pairs of a path and its bytes (None for a folder), which most stores tell in the listing itself. Either
        everything is listed or an error is raised. A web server can be listed where it has pages of its folders (nginx,
        Apache, rclone).

        ``start_after`` goes on behind a path that was listed before, whether or not it is still there. That takes a
        store which lists in the order of names, as most do; another one is an error then, as soon as that shows.
        """
        _check_prefix(prefix)
        if start_after is None:
            return self._list_sizes(prefix, flat) if size else self._list(prefix, flat)
        if flat:
            raise ValueError("start_after= goes on with a listing of all levels, not with flat=True")
        if not isinstance(start_after, str):
            raise TypeError(f"start_after is a path, not {type(start_after).__name__}")
        listed = self._list_after(prefix, start_after, size)
        return self._with_sizes(listed) if size else (name for name, _ in listed)

    def scan(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Like ``list``, with all that the listing tells of each file: mostly size, time and ETag.

        Nothing more is asked for: what the store leaves out of its listing is None, and ``head`` knows it.
        """
        _check_prefix(prefix)
        return self._scan(prefix)

    def _scan(self, prefix: str) -> Iterator[ObjectInfo]:
        skip = len(self._prefix)
        for info in self._backend.scan(self._prefix + prefix, control=self._control(looking=True)):
            yield replace(info, path=info.path[skip:])

    def _list_after(self, prefix: str, start_after: str, size: bool) -> Iterator[tuple[str, int | None]]:
        skip, last, before = len(self._prefix), self._prefix + start_after, ""
        below, control = self._prefix + prefix, self._control(looking=True)
        asked = self._backend.scan_after(below, last, control=control)
        first = None if asked is None else next(asked, None)
        if first is not None and first.path < last:
            asked = None  # it goes by another order, or knows of no such thing: all of its listing tells which
        if asked is not None:
            found = ((info.path, info.size) for info in chain((first,) if first is not None else (), asked))
        elif size:
            found = ((info.path, info.size) for info in self._backend.scan(below, control=control))
        else:
            found = ((path, None) for path in self._backend.list(below, flat=False, control=control))
        for path, known in found:
            # what comes after start_after by another order may have been left out then, or be left out now
            if path <= before:
                raise TransferError("the store does not list in the order of names, so there is no going on", path=path)
            before = path
            if path > last:
                yield path[skip:], known

    def _list(self, prefix: str, flat: bool) -> Iterator[str]:
        skip = len(self._prefix)
        for path in self._backend.list(self._prefix + prefix, flat=flat, control=self._control(looking=True)):
            yield path[skip:]

    def _list_sizes(self, prefix: str, flat: bool) -> Iterator[tuple[str, int | None]]:
        listed: Iterator[tuple[str, int | None]]
        if flat:
            listed = ((name, None) for name in self._list(prefix, flat=True))
        else:
            listed = ((info.path, info.size) for info in self._scan(prefix))
        return self._with_sizes(listed)

    def _with_sizes(self, listed: Iterator[tuple[str, int | None]]) -> Iterator[tuple[str, int | None]]:
        """What a listing gives no size of is asked for."""
        while several := [*islice(listed, _ASKED_TOGETHER)]:
            unknown = [name for name, known in several if known is None and not name.endswith("/")]
            sizes = self.size(unknown) if unknown else {}
            for name, known in several:
                yield name, sizes.get(name, known)

    def urls(self, paths: str | Iterable[str], expires_in: int = 3600, *, return_dict: bool = False) -> Any:
        """URLs by which anybody can read these files, for ``expires_in`` seconds (at most seven days).

        A path gives its URL; an iterable a list of them in order, or with ``return_dict`` a dict by path. They are
        signed in bulk, and on Hypha are all of one version; that is not counted as a download. On Hypha, what is not
        there is an ``ObjectNotFound``, of several a ``BatchError`` whose results have the URLs of the others as
        ``content``; a bucket signs any name without looking. Of an ``http(s)://`` place they are just where the files
        are. A store that has no such URLs (a folder, memory) is an ``InvalidRequest``, which is a ``ValueError``.

        They are as good as a password for these files until they expire: keep them out of logs.
        """
        if not isinstance(expires_in, int) or isinstance(expires_in, bool) or not 1 <= expires_in <= LONGEST_URL:
            raise ValueError(f"expires_in={expires_in!r}: expected seconds, from 1 to {LONGEST_URL} (seven days)")
        scalar = is_scalar(paths)
        names = [check_name(path) for path in ([cast(str, paths)] if scalar else paths)]
        full = dict.fromkeys(self._prefix + name for name in names)
        found = (
            dict(zip(full, self._backend.links([*full], expires_in, self._control(looking=True)), strict=True))
            if full
            else {}
        )
        results: Results = []
        for name in names:
            request, url = GetRequest(self._prefix + name), found[self._prefix + name]
            if isinstance(url, Exception):
                results.append(failed(name, request, url, max(1, attempts_of(url))))
            else:
                results.append({**got(name, request, Fetched(b""), None, 1), "content": url})
        if scalar:
            if results[0]["error"] is not None:
                raise results[0]["error"]
            return results[0]["content"]
        for result in results:
            if isinstance(result["error"], InvalidRequest):
                raise result["error"]  # of the store, and so of all of them
        raise_failures("urls", results)
        if return_dict:
            return {result["path"]: result["content"] for result in results}
        return [result["content"] for result in results]

    def _infos(self, prefix: str, *, flat: bool = False) -> Iterator[ObjectInfo]:
        """Like ``list``, with all that is known of each file, and its size in any case; folders end in a slash."""
        look = self._backend.level if flat else self._backend.scan
        found = look(self._prefix + prefix, control=self._control(looking=True))
        while several := [*islice(found, _ASKED_TOGETHER)]:
            yield from self._as_named(several)

    def _levels(self, folders: Sequence[str]) -> Iterator[Sequence[ObjectInfo]]:
        """``_infos(flat=True)`` of each of several folders, in order, a few of which are listed side by side."""
        control, look = self._control(), self._backend.level
        levels = control.map(
            lambda folder: [*look(self._prefix + folder, control=control)], folders, _LISTED_SIDE_BY_SIDE
        )
        for level in levels:
            yield [*self._as_named(level)]

    def _infos_down_to(
        self, folder: str, levels: int, wanted: Callable[[ObjectInfo], bool] = lambda info: True
    ) -> Iterator[ObjectInfo]:
        """What is ``wanted`` of a folder and of those in it, so many levels down; folders end in a slash."""
        folders = [folder]
        for _ in range(levels):
            if not folders:
                return
            inside: list[str] = []
            for above, level in zip(folders, self._levels(folders), strict=True):
                for info in level:
                    if info.path != above and wanted(info):
                        if info.path.endswith("/"):
                            inside.append(info.path)
                        yield info
            folders = inside

    def _as_named(self, infos: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
        named = [replace(info, path=info.path[len(self._prefix) :]) for info in infos]
        unknown = [info.path for info in named if info.size is None and not info.path.endswith("/")]
        known = self.head(unknown) if unknown else {}
        for info in named:
            yield known.get(info.path, info)

    def isdir(self, prefix: str = "") -> bool:
        """Whether anything is in the folder ``prefix``."""
        folder = prefix.strip("/")
        return next(self.list(f"{folder}/" if folder else "", flat=True), None) is not None

    # -- names ------------------------------------------------------------------------------------------------

    sep = SEP
    join = staticmethod(join_names)
    dirname = staticmethod(parent_of)
    basename = staticmethod(last_of)

    def __iter__(self) -> Iterator[str]:
        return self.list()

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.exists(path)

    def __getitem__(self, key: Any) -> Any:
        """``cf[path]``, ``cf[path, 0:30]``, ``cf[[path, ...]]``; ``cf[:100]`` gets the first hundred of a listing."""
        if isinstance(key, slice):
            return self.get(self._listed(key))
        if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], slice):
            path, wanted = key
            if wanted.step not in (None, 1):
                raise ValueError(f"{path!r}: a slice of bytes has no step")
            return self.get({"path": path, "start": wanted.start, "end": wanted.stop})
        return self.get(key)

    def _listed(self, wanted: slice) -> _Names:
        for number in (wanted.start, wanted.stop, wanted.step):
            if number is not None and (not isinstance(number, int) or number < 0):
                raise ValueError(
                    f"[{wanted.start}:{wanted.stop}:{wanted.step}]: a listing is counted from its beginning"
                )
        return [*islice(self.list(), wanted.start, wanted.stop, wanted.step)]

    def __setitem__(self, key: str | slice, content: Any) -> None:
        """``cf[path] = content``; ``cf[:] = other`` copies all that is there, ``cf[:] = files`` is ``puts``."""
        if not isinstance(key, slice):
            self.put(key, content)
        elif (key.start, key.stop, key.step) != (None, None, None):
            raise ValueError("only cf[:] can be assigned to: the names come with what is assigned")
        elif isinstance(content, ArtifactFiles):
            self.transfer_from(content)
        else:
            self.puts(content)

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
        staging = self._staging("staged")
        control = self._control()
        try:
            with staging.explicitly(control, version=version, comment=comment):
                yield self
        finally:
            control.over = True

    def create(self) -> None:
        """Make the artifact, staged and without files, for ``commit()``; raises ``ArtifactExists`` if it is there."""
        self._staging("create").create(self._control())

    def stage(self) -> bool:
        """Stage the artifact and leave it so, for ``commit()`` or ``discard()``: what anybody writes until then
        is not published. False if it was staged already."""
        return self._staging("stage").begin(self._control())

    def commit(self, comment: str | None = None, version: str | None = None) -> str:
        """Publish what is staged; returns the version that holds it now. Raises ``NotStaged`` if nothing is.

        ``version`` names a new version. Names that were registered and never uploaded (by an upload that was
        interrupted) are left out, with a ``WithdrawnWarning``.
        """
        return self._staging("commit").commit(self._control(), version=version, comment=comment)

    def discard(self) -> bool:
        """Drop what is staged and restore what it had overwritten; False if nothing was staged."""
        return self._staging("discard").discard(self._control())

    def status(self) -> dict[str, Any]:
        """``artifact``, ``versions`` (names, oldest first), ``staged``, ``new_version``, and the ``files`` and
        ``removed`` that are staged; and who is known to own that, ``owner``."""
        return dict(self._staging("status").status(self._control(looking=True)))

    def _manage(self, method: str, **arguments: Any) -> Any:
        """What a method of the artifact manager says that is about the artifact, and not about its files."""
        self._staging(method)
        return cast("HyphaBackend", self._backend).manage(method, arguments, self._control())

    def _staging(self, verb: str) -> Staging:
        staging: Staging | None = getattr(self._backend, "staging", None)
        if staging is None:
            raise TypeError(f"{verb}() is for Hypha artifacts; {self.cloudpath!r} has no versions")
        return staging


def _at_once(task: Get | GetInto | Head) -> bool:
    """Whether nothing of it is for the background: it writes to something of the user's, or has nothing to wait for."""
    return isinstance(task, GetInto) or (isinstance(task, Get) and task.request.empty)


def _check_prefix(prefix: str) -> None:
    if not isinstance(prefix, str):
        raise TypeError(f"prefix is a string, not {type(prefix).__name__}")
    if prefix.startswith("/") or ".." in prefix.split("/"):
        raise ValueError(f"prefix={prefix!r}: must not begin with a slash or contain '..'")


def _adding(bar: Progress) -> Callable[[int, Result], None] | None:
    if not bar.shown:
        return None

    def add(index: int, result: Result) -> None:
        bar.add(content_size(result))

    return add
