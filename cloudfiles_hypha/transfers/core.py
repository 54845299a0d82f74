"""What every call of ``ArtifactFiles`` stands on: settings, the run of a batch, its results.

``files`` turns what users write into jobs and gives their results back, ``folders`` does so for files on disk; both
let this run them: resolved in batches where the backend wants that, each within the retry policy, writes within a
session of the backend.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from ..backends.base import Backend, Control, Flag, Resolver, StaleTicket, Ticket, WriteSession
from ..backends.hypha.backend import LARGEST_PUT, HyphaBackend
from ..content.sources import LocalFile
from ..credentials import Secrets, resolve_access
from ..engine.locks import named_lock
from ..engine.pool import AGAIN, AgainType, Engine, Prepare, Run, Turns, sockets_are_patched
from ..errors import AccessDenied, BatchError, CommitError, ServerError, TransferError
from ..models import Body, Fetched, GetRequest, PutRequest, Result, Stored, Timeouts
from ..paths import parse_cloudpath
from ..plan.batches import BatchSizes
from ..plan.parts import upload_part_size
from ..progress import Progress, ProgressOption
from ..retry import RetryPolicy
from ..transports import Transport, open_transport
from .upload import THRESHOLD, Upload

T = TypeVar("T")
R = TypeVar("R")
C = TypeVar("C", bound="Core")
Results = list[Result]

Work = Callable[["Job", Run], "Result | Results | AgainType | Turns"]
"""What is done with one job, by a worker; a list is the results of several jobs that were done as one."""

# How often an item's URL is signed anew before the store's refusal is believed.
_FRESH_TICKETS = 2
# Bytes of an upload from which on it is worth a look for a core with more time.
_HEAVY = 1024 * 1024


class Job:
    """One item on its way through the engine."""

    __slots__ = ("index", "name", "refused", "request", "stale", "state", "ticket")

    def __init__(self, index: int, name: str, request: GetRequest | PutRequest) -> None:
        self.index = index
        self.name = name  # as the user wrote it, without the prefix
        self.request = request
        self.ticket: Ticket = None
        self.refused: Ticket = None  # the latest that the store refused
        self.stale = 0  # how many it has refused in a row
        self.state: Any = None  # of an item that goes on in parts


class _RunControl:
    """``Control`` over one run: the policy's retries, the run's pauses."""

    def __init__(self, policy: RetryPolicy, run: Run) -> None:
        self._policy = policy
        self._run = run

    def retry(self, attempt: Callable[[], T]) -> T:
        def checked() -> T:
            self._run.check()
            return attempt()

        return self._policy.run(checked, self._run.sleep, self._run.pace.complaint)[0]

    def check(self) -> None:
        self._run.check()

    def sleep(self, seconds: float) -> None:
        self._run.sleep(seconds)

    def lock(self, name: str) -> Any:
        return named_lock(self._run.engine, name)

    def flag(self) -> Flag:
        return cast(Flag, self._run.kit.flag())

    def map(self, function: Callable[[T], R], items: Sequence[T], at_once: int) -> Iterator[R]:
        return map(function, items)  # one after the other, for now


class Core:
    """One cloudpath, how to reach it, and the machinery that runs batches there."""

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
        create: bool = False,
        multipart_threshold: int = THRESHOLD,
        part_size: int | None = None,
    ) -> None:
        if not isinstance(num_threads, int) or isinstance(num_threads, bool) or num_threads < 0:
            raise ValueError(f"num_threads={num_threads!r}: expected 0 or a positive whole number")
        if transport not in ("auto", "curl", "urllib3"):
            raise ValueError(f"transport={transport!r}: choose 'auto', 'curl' or 'urllib3'")
        if not isinstance(multipart_threshold, int) or multipart_threshold < 0:
            raise ValueError(f"multipart_threshold={multipart_threshold!r}: expected a number of bytes")
        upload_part_size(0, *(() if part_size is None else (part_size,)))  # refuses what S3 would
        self._settings: dict[str, Any] = {
            "token": token,
            "secrets": secrets,
            "server_url": server_url,
            "num_threads": num_threads,
            "green": green,
            "progress": progress,
            "retry": retry,
            "timeout": timeout,
            "transport": transport,
            "create": create,
            "multipart_threshold": multipart_threshold,
            "part_size": part_size,
        }
        self.cloudpath = cloudpath
        self._path = parse_cloudpath(cloudpath)
        self._prefix = self._path.prefix
        self._progress = progress
        self._retry = retry or RetryPolicy()
        self._engine = Engine(num_threads, green=sockets_are_patched() if green is None else green)
        self._inline = Engine(0, green=self._engine.green)
        timeouts = timeout if isinstance(timeout, Timeouts) else _timeouts(timeout)
        self._transport: Transport = open_transport(transport, timeouts, green=self._engine.green)
        self._backend = self._open_backend()
        self._session: WriteSession | None = None

    def _open_backend(self) -> Backend:
        path, settings = self._path, self._settings
        if path.scheme == "mem":
            from ..backends.memory import MemoryBackend

            return MemoryBackend(path.bucket)
        if path.scheme in ("http", "https"):
            from ..backends.web import HttpBackend

            return HttpBackend(path.base, self._transport)
        access = resolve_access(
            path, token=settings["token"], secrets=settings["secrets"], server=settings["server_url"]
        )
        return HyphaBackend(
            path, access.workspace, access.server, access.token, self._transport, create=settings["create"]
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.cloudpath!r} {self._engine.name}={self._engine.width}>"

    def __getstate__(self) -> dict[str, Any]:
        progress = self._settings["progress"]
        kept = progress if isinstance(progress, bool | str | None) else None  # somebody's bar stays where it is
        return {"cloudpath": self.cloudpath, **self._settings, "progress": kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections. The object may be used again, and opens new ones."""
        self._transport.close()

    # -- running ----------------------------------------------------------------------------------------------

    def _control(self) -> Control:
        return _RunControl(self._retry, Run(self._inline, self._transport))

    def _lock(self, name: str) -> Any:
        return named_lock(self._engine, name)

    def _attempt(self, job: Job, run: Run, call: Callable[[], T]) -> tuple[T, int] | Result | AgainType:
        """Carry out one item within the retry policy: its value and the attempts, or what became of it instead."""
        if isinstance(job.ticket, Exception):
            return failure_of(job, job.ticket, 0)
        outcome = self._try(job, run, call)
        return failure_of(job, outcome, getattr(outcome, "attempts", 1)) if isinstance(outcome, Exception) else outcome

    def _try(self, job: Job, run: Run, call: Callable[[], T]) -> tuple[T, int] | Exception | AgainType:
        """Carry out one item, or part of one, within the retry policy: its value and the attempts, or the error."""
        ticket = job.ticket
        if isinstance(ticket, Exception):
            return ticket

        def attempt() -> T:
            run.check()
            return call()

        try:
            return self._retry.run(attempt, run.sleep, run.pace.complaint)
        except StaleTicket as error:
            if job.refused is not ticket:  # else another worker's part has met with the same refusal
                job.refused = ticket
                job.stale += 1
            if job.stale <= _FRESH_TICKETS:
                return AGAIN
            denied = AccessDenied(str(error.args[0]), status=error.status)
            denied.attempts = job.stale
            return denied
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is this item's, and is reported with it
            return error

    def _run(
        self,
        verb: str,
        jobs: Iterable[Job],
        work: Work,
        engine: Engine,
        *,
        eager: bool,
        heavy: Callable[[Job], bool] | None = None,
        noted: Callable[[int], None] | None = None,
        backend: Backend | None = None,
    ) -> Iterator[tuple[Job, Result | Results]]:
        """Each job with what ``work`` made of it, as they are done; ``backend`` is who prepares, if it is another."""
        prepare = None
        backend = backend or self._backend
        resolver: Resolver | WriteSession | None = None
        if backend.can.batched and verb in ("get", "put"):
            resolver = backend.reading() if verb == "get" else self._session
        if resolver is not None:
            signer = resolver
            policy = self._retry

            def resolve(batch: Sequence[Job], run: Run, sizes: BatchSizes) -> None:
                nonlocal policy
                control = _RunControl(policy, run)
                for job in batch:
                    if isinstance(job.state, Upload):
                        self._open_parts(job, control)
                plain = [job for job in batch if not isinstance(job.state, Upload)]
                if not plain:
                    return
                tickets = signer.resolve([job.request.path for job in plain], control, sizes)
                for job, ticket in zip(plain, tickets, strict=True):
                    job.ticket = ticket
                # A server that was out of reach for one batch's whole patience gets one try for each further one,
                # until it answers again: a long run must not wait as long for every batch.
                lost = all(isinstance(ticket, TransferError) and ticket.retryable for ticket in tickets)
                policy = replace(self._retry, attempts=1) if lost else self._retry

            prepare = Prepare(resolve, signer.sizes)
        return engine.run(
            jobs,
            work,
            transport=self._transport,
            blocking=verb == "delete" or self._backend.can.blocking,
            prepare=prepare,
            weigh_item=_job_size,
            weigh_result=_result_size,
            eager=eager,
            heavy=heavy,
            noted=noted,
        )

    def _collect(
        self,
        verb: str,
        jobs: Iterable[Job],
        work: Work,
        bar: Progress | None,
        engine: Engine | None = None,
    ) -> Results:
        """All results, in input order."""
        results: list[Result | None] = []
        try:
            watched = bar is not None and bar.shown
            noted = bar.moved if bar is not None and watched else None
            heavy = _is_heavy if verb == "put" and not self._backend.can.blocking else None
            outcomes = self._run(verb, jobs, work, engine or self._engine, eager=watched, heavy=heavy, noted=noted)
            for job, result in outcomes:
                for part, one in each_of(job, result):
                    if part.index >= len(results):
                        results.extend([None] * (part.index + 1 - len(results)))
                    results[part.index] = one
                    if bar is not None:
                        bar.add(0 if isinstance(job.state, Upload) else content_size(one))  # it was told of parts
        finally:
            if bar is not None:
                bar.close()
        return cast("Results", results)

    def _write(
        self,
        verb: str,
        jobs: Iterable[Job],
        work: Work,
        bar: Progress | None,
        engine: Engine,
    ) -> Results:
        """Carry out writes within a write session of the backend; all results, in input order."""
        results: Results = []
        ended = False
        try:
            with self._backend.writing(self._control()) as session:
                self._session = session
                results = self._collect("put" if verb.startswith("put") else verb, jobs, work, bar, engine)
                for result in results:
                    if result["error"] is None:
                        session.succeeded(self._prefix + result["path"])
                    else:
                        session.failed(self._prefix + result["path"])
                ended = True
            if session.lost:
                _report_lost(results, {path[len(self._prefix) :] for path in session.lost})
        except TransferError as error:
            if not ended:
                raise
            if any(result["error"] is None for result in results):
                raise CommitError(
                    f"{verb}: the files are uploaded and staged, but not committed: {error}", results
                ) from error
            raise
        return results

    @property
    def _writes(self) -> WriteSession:
        assert self._session is not None  # noqa: S101 -- within `_write`
        return self._session

    def _putter(self, job: Job, run: Run) -> Result | AgainType | Turns:
        request = cast(PutRequest, job.request)
        if isinstance(job.state, Upload):
            return self._put_part(job, job.state, run)
        outcome = self._attempt(job, run, partial(self._writes.put, request, job.ticket))
        if not isinstance(outcome, tuple):
            return outcome
        stored, attempts = outcome
        return result_of(job, stored, None, attempts)

    def _put_job(self, index: int, name: str, request: PutRequest) -> Job:
        """The job for one upload: in parts, where it is large and the backend can."""
        job = Job(index, name, request)
        if self._backend.can.multipart and request.size > self._settings["multipart_threshold"]:
            described = request.content_type or request.cache_control or request.content_encoding
            if described and request.size > LARGEST_PUT:
                raise ValueError(
                    f"{name!r}: an upload of more than 5 GiB goes in parts, and Hypha's carry no content type, cache "
                    "control or content encoding; leave them out"
                )
            if not described:
                width = max(1, self._engine.width)
                job.state = Upload(request, width=width, part_size=self._settings["part_size"])
        return job

    def _open_parts(self, job: Job, control: Control) -> None:
        """Begin a multipart upload, once a worker is ready for it: its URLs expire."""
        upload: Upload = job.state
        if not upload.wanted or upload.session is not None:
            return
        try:
            session = self._writes.open_parts(upload.request, upload.count, upload.lifetime, control)
        except TransferError as error:
            job.ticket = error
        else:
            job.ticket = session
            upload.open(session)

    def _put_part(self, job: Job, upload: Upload, run: Run) -> Result | AgainType | Turns:
        """One worker's turn at a large body: one part of it."""
        if isinstance(job.ticket, Exception):
            upload.error = job.ticket
            return self._end_upload(job, upload, run) if upload.drop(give_up=True) else Turns(0)
        if not upload.wanted:
            upload.wanted = True
            return AGAIN
        part = upload.claim()
        if part is None:
            return self._end_upload(job, upload, run) if upload.drop() else Turns(0)
        before = len(upload.digests)
        outcome = self._try(job, run, partial(self._writes.put_part, upload.body(part), part.session, part.number))
        if outcome is AGAIN:
            upload.expired(part.session)
            upload.release(part, keep_turn=True)
            return AGAIN
        again = False
        if isinstance(outcome, tuple):
            job.stale = 0
            upload.sent(part, outcome[0])
            upload.attempts += outcome[1]
            if run.note is not None:
                run.note(outcome[0].size)
        else:
            upload.attempts += getattr(outcome, "attempts", 1)
            # while other parts get through, the network is worth another round of patience
            again = getattr(outcome, "retryable", False) and len(upload.digests) > before
            if not again:
                upload.error = upload.error or cast(Exception, outcome)
        wanted = upload.release(part, again=again, give_up=upload.error is not None)
        return self._end_upload(job, upload, run) if wanted is None else Turns(wanted)

    def _end_upload(self, job: Job, upload: Upload, run: Run) -> Result | AgainType:
        """All parts are there, or one cannot be sent."""
        session = upload.session
        if upload.error is None and session is not None:
            try:
                if isinstance(upload.request.body, LocalFile):
                    upload.request.body.check()
                digests = [upload.digests[number] for number in range(upload.count)]
                stored = self._writes.close_parts(upload.request, session, digests, _RunControl(self._retry, run))
                return result_of(job, stored, None, upload.attempts)
            except StaleTicket as error:
                job.stale += 1
                upload.expired(session)
                if job.stale <= _FRESH_TICKETS:
                    upload.reopen()
                    return AGAIN
                upload.error = ServerError(f"the upload is lost each time: {error.args[0]}", status=error.status)
            except Exception as error:  # noqa: BLE001 -- this item's, and reported with it
                upload.error = error
        return failure_of(job, upload.error or ServerError("the upload was given up"), upload.attempts)


def _timeouts(timeout: float | None) -> Timeouts:
    if timeout is None:
        return Timeouts()
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or timeout <= 0:
        raise ValueError(f"timeout={timeout!r}: expected a positive number of seconds")
    return Timeouts(connect=min(timeout, Timeouts().connect), idle=timeout)


def result_of(job: Job, done: Fetched | Stored, content: Any, attempts: int) -> Result:
    request = job.request
    return {
        "path": job.name,
        "content": content,
        "byte_range": (request.start, request.end) if isinstance(request, GetRequest) else (None, None),
        "error": None,
        "size": done.size,
        "etag": done.etag,
        "content_type": done.content_type if isinstance(done, Fetched) else cast(PutRequest, request).content_type,
        "attempts": attempts,
        "verified": done.verified,
        "compress": None,
        "raw": False,
        "tags": request.tags,
    }


def failure_of(job: Job, error: Exception, attempts: int) -> Result:
    request = job.request
    if isinstance(error, TransferError) and error.path != job.name:
        error = copy.copy(error)  # one answer can be the end of a whole batch: each item gets its own
        error.path = job.name
        error.__cause__ = None
    return {
        "path": job.name,
        "content": None,
        "byte_range": (request.start, request.end) if isinstance(request, GetRequest) else (None, None),
        "error": error,
        "size": None,
        "etag": None,
        "content_type": None,
        "attempts": attempts,
        "verified": None,
        "compress": None,
        "raw": False,
        "tags": request.tags,
    }


def each_of(job: Job, result: Result | Results) -> Iterable[tuple[Job, Result]]:
    """The jobs that were done as one, each with its result; of any other job itself."""
    if not isinstance(job.state, list):
        return ((job, cast(Result, result)),)
    if not isinstance(result, list):  # all of it has failed
        error = cast(Exception, result["error"])
        result = [failure_of(part, error, result["attempts"]) for part in job.state]
    return zip(job.state, result, strict=True)


def _report_lost(results: Results, lost: Set[str]) -> None:
    """Make failures of the results of what the store acknowledged and then did not have."""
    for result in results:
        if result["path"] in lost and result["error"] is None:
            result["error"] = ServerError(
                "the store acknowledged the upload and did not have it at the commit; upload it again",
                path=result["path"],
            )
            result["size"] = result["etag"] = result["verified"] = None


def raise_failures(verb: str, results: Sequence[Result]) -> None:
    if any(result["error"] is not None for result in results):
        raise BatchError.from_results(verb, results)


def _is_heavy(job: Job) -> bool:
    """Whether an upload goes in parts, or is large enough for its digest to keep a core busy."""
    return job.state is not None or cast(PutRequest, job.request).size >= _HEAVY


def _job_size(job: Job) -> int:
    return job.request.size if isinstance(job.request, PutRequest) and not isinstance(job.request.body, Body) else 0


def _result_size(result: Result | Results | AgainType) -> int:
    """What an untaken result keeps in memory; small ones are bounded by their number already."""
    if isinstance(result, list):
        return sum(map(_result_size, result))
    content = result.get("content") if isinstance(result, dict) else None
    return len(content) if isinstance(content, bytes) and len(content) > 65536 else 0


def content_size(result: Result) -> int | None:
    content = result["content"]
    return len(content) if isinstance(content, bytes) else result["size"]
