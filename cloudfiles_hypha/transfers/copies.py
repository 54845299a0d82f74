"""Batches of copies from one place to another: what is copied, what is there already, and what is removed after it.

``copy`` knows how one object is copied; this lists, compares, resolves names on both sides, and gives results.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, TypeVar, cast

from ..backends.base import Backend, Resolver, WriteSession
from ..engine.outcomes import Prepare
from ..engine.outcomes import Task as AnyTask
from ..engine.pool import Cancellation
from ..engine.run import Run
from ..errors import CommitError, InvalidRequest, LossyWarning, ObjectNotFound, PreconditionFailed, ReadOnly
from ..models import ObjectInfo, PutRequest
from ..paths import Location, check_name
from ..plan.batches import BatchSizes
from ..plan.sync import Apart, same_digest
from ..progress import Progress
from ..results import CopyResult, Result, own_error
from .batch import Batches
from .control import RunControl
from .copy import Copy, Job, Origin, Wanted
from .head import Head
from .put import Remove

T = TypeVar("T")

Transfer = str | tuple[str, str] | Mapping[str, Any]
"""One file to copy: its path, a pair of its path and the target's, or a dict with ``path`` and ``dest_path``."""
_KEYS = frozenset({"path", "dest_path", "tags"})

Overwrite = Literal["always", "never", "newer", "different"]
OVERWRITE = ("always", "never", "newer", "different")

# Objects whose targets are asked for together.
_ASKED_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two places."""

    batches: Batches
    location: Location
    shown: str

    @property
    def backend(self) -> Backend:
        """Where its files are."""
        return self.batches.backend

    @property
    def prefix(self) -> str:
        """What all its names begin with."""
        return self.batches.prefix

    @property
    def place(self) -> object:
        """Equal for two sides with the same files, whatever their prefixes; an old version has files of its own."""
        return self.backend.place(self.location), self.location.version

    @property
    def path(self) -> str:
        """Where that is within the place."""
        return self.backend.path_at(self.location, self.prefix)


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How a call copies. ``in_parts`` tells whether the target wants an upload in parts, and ``part_size`` of which
    size."""

    in_parts: Callable[[PutRequest], bool]
    part_size: int | None
    overwrite: Overwrite = "always"
    cancel: Cancellation | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.overwrite not in OVERWRITE:
            raise ValueError(f"overwrite={self.overwrite!r}: choose one of {', '.join(map(repr, OVERWRITE))}")


class _Resolution:
    """Resolves the names of copies, batch by batch, on both sides: first the source's, then those to write to."""

    def __init__(self, job: Job, batches: Batches, session: WriteSession) -> None:
        self._policy = batches.policy
        self._reader: Resolver | None = job.source.reading() if job.source.can.batched else None
        self._read_sizes = self._reader.sizes() if self._reader is not None else None
        self._session = session
        self._writer = session if job.target.can.batched else None

    def sizes(self) -> BatchSizes:
        """Sizes of the calls of one run: the target's, if it has any, since those cost more."""
        return (self._writer or self._reader or self._session).sizes()

    def __call__(self, batch: Sequence[AnyTask[Any]], run: Run, sizes: BatchSizes) -> None:
        control = RunControl(self._policy, run, batch)
        copies = cast("list[Copy]", [*dict.fromkeys(batch)])  # several workers may have put the same one back
        if self._reader is not None and self._read_sizes is not None:
            unread = [copy for copy in copies if copy.source_ticket is None]
            if unread:
                paths = [copy.source_path for copy in unread]
                tickets = self._reader.resolve(paths, control, self._read_sizes)
                for copy, ticket in zip(unread, tickets, strict=True):
                    copy.source_ticket = ticket
        for copy in copies:
            if copy.inner is not None:
                copy.inner.resolve(control)
        if self._writer is not None:
            # a name is registered only when there is something to store under it
            ready = [copy for copy in copies if copy.inner is None and copy.ticket is None]
            ready = [copy for copy in ready if not isinstance(copy.source_ticket, Exception)]
            if ready:
                targets = self._writer.resolve([copy.path for copy in ready], control, sizes)
                for copy, ticket in zip(ready, targets, strict=True):
                    copy.ticket = ticket


class Copies:
    """Copies from one place to another."""

    def __init__(self, source: Side, target: Side, options: CopyOptions) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._within = source.place == target.place
        self._copied: dict[str, ObjectInfo] = {}  # what was read, by the name of the target

    # -- what is to be copied ---------------------------------------------------------------------------------

    def below(self, prefix: str) -> Iterator[Wanted]:
        """Everything below a prefix of the source, under the same names."""
        if self._within and self._overlap(prefix):
            raise ValueError(
                f"{self._target.shown!r} and {self._source.shown!r}: one is within the other, so that what is copied "
                "would be copied again; name the files"
            )
        skip = len(self._source.prefix)
        control = self._source.batches.control(looking=True)
        for info in self._source.backend.scan(self._source.prefix + prefix, control=control):
            name = info.path[skip:]
            yield Wanted(name, check_name(name), info.size, info.etag if self._pins(info) else None)

    def _overlap(self, prefix: str) -> bool:
        read, write = self._source.path + prefix, self._target.path + prefix
        return read.startswith(write) or write.startswith(read)

    def _pins(self, info: ObjectInfo) -> bool:
        return self.pins_listed and info.etag is not None

    @property
    def pins_listed(self) -> bool:
        """Whether the ETag that the source's listing tells can be asked for when the object is read."""
        can = self._source.backend.can
        return can.s3_etags or can.pins_listed

    def checked(self, wanted: Iterable[Wanted]) -> Iterator[Wanted]:
        """Refuses names that cannot be written to, or would be written to twice, or are read in the same call."""
        seen: set[str] = set()
        read: set[str] = set()
        apart = Apart(self._target.backend.same) if self._target.backend.can.folds else None
        here, there = self._source.path, self._target.path
        for one in wanted:
            target = there + one.target
            source = here + one.path
            if target in seen:
                raise ValueError(f"{one.target!r}: given twice as a target; which content should win?")
            if self._within:
                if source == target:
                    raise ValueError(f"{one.path!r}: source and target are the same file")
                if target in read or source in seen:
                    raise ValueError(f"{one.target!r}: both read and written to in one call")
                read.add(source)
            seen.add(target)
            if apart is not None:
                apart.add(self._target.prefix + one.target)
            yield one

    def needed(
        self, wanted: Iterable[Wanted], skipped: Callable[[int, CopyResult], None]
    ) -> Iterator[tuple[int, Wanted]]:
        """What has to be copied, each with its number, going by what the target has; what need not be is told of."""
        policy = self._options.overwrite
        if policy == "always":
            yield from enumerate(wanted)
            return
        numbered = enumerate(wanted)
        for several in chunks(numbered, _ASKED_TOGETHER):
            there = self.heads(self._target, [one.target for _, one in several])
            common = [one.path for _, one in several if isinstance(there[one.target], ObjectInfo)]
            here = self.heads(self._source, common) if policy != "never" else {}
            for number, one in several:
                verdict = self._compare(here.get(one.path), self._own(there[one.target], one.target))
                if verdict is None:
                    yield number, one
                else:
                    skipped(number, nothing_done(one, verdict))

    def _own(self, there: ObjectInfo | Exception, name: str) -> ObjectInfo | Exception:
        """What is known of a file of the target; one that is read by this name and has another is not this one."""
        if isinstance(there, ObjectInfo) and there.path != self._target.prefix + name:
            return ObjectNotFound("only one of another name is there", path=name)
        return there

    def heads(self, side: Side, names: list[str]) -> dict[str, ObjectInfo | Exception]:
        """What is known of each file, or why nothing is; of the target's as the next write finds them."""
        batches, backend = side.batches, side.backend
        if backend is self._target.backend and backend.can.versioned:
            backend = backend.as_written(batches.control(looking=True))
        context = batches.context(backend=backend)
        tasks = [Head(context, index, name, side.prefix + name) for index, name in enumerate(names)]
        resolver = backend.reading(silent=True) if backend.can.batched else None
        results = batches.collect(tasks, resolver, cancel=self._options.cancel)
        return {result["path"]: result["error"] or result["content"] for result in results}

    def _compare(self, here: object, there: ObjectInfo | Exception) -> str | None:
        """What says that nothing need be copied, or None if it has to be."""
        if isinstance(there, ObjectNotFound):
            return None
        if isinstance(there, Exception):
            raise there
        policy = self._options.overwrite
        if policy == "never":
            return "name"
        if not isinstance(here, ObjectInfo):
            return None  # reading it will tell why
        times = here.last_modified, there.last_modified
        if policy == "newer" and times[0] is not None and times[1] is not None and times[0] <= times[1]:
            return "time"
        same = self.digests_compare and same_digest(here, there) and here.compress == there.compress
        return "digest" if same else None

    @property
    def digests_compare(self) -> bool:
        """Whether both sides have ETags that are made of the objects' bytes in the same way."""
        return self._source.backend.can.s3_etags and self._target.backend.can.s3_etags

    # -- copying ----------------------------------------------------------------------------------------------

    def run(self, wanted: Iterable[Wanted], bar: Progress, *, verb: str = "transfer") -> list[CopyResult]:
        """Copy these; the results in order. What is known whole is checked before anything is copied."""
        source, target = self._source, self._target
        if self._options.dry_run:
            bar.close()
            return self._decided(self.checked(wanted))
        wanted = [*self.checked(wanted)] if isinstance(wanted, Sequence) else self.checked(wanted)
        server_side = target.backend.can.copies and target.backend.copies_from(source.backend)
        if server_side and verb == "move":
            wanted = self._pinned(wanted)
        options = self._options
        job = Job(
            source.backend, target.backend, options.in_parts, options.part_size, server_side, source.batches.policy
        )
        results: list[CopyResult | None] = []
        numbers: list[tuple[int, Wanted]] = []  # of what is copied: its number among all, and what it is

        def skipped(number: int, result: CopyResult) -> None:
            results.extend([None] * (number + 1 - len(results)))
            results[number] = result
            bar.add(None)

        def tasks(session: WriteSession) -> Iterator[Copy]:
            context = target.batches.context()
            for index, (number, one) in enumerate(self.needed(wanted, skipped)):
                numbers.append((number, one))
                results.extend([None] * (number + 1 - len(results)))
                yield Copy(context, job, session, index, one, source.prefix + one.path, target.prefix + one.target)

        def prepare(session: WriteSession) -> Prepare[Any] | None:
            can = target.backend.can
            if not (source.backend.can.batched or can.batched or can.multipart):
                return None
            resolution = _Resolution(job, target.batches, session)
            return Prepare(resolution, resolution.sizes)

        def filled(copied: Sequence[Result]) -> list[CopyResult]:
            for index, ((number, one), result) in enumerate(zip(numbers, copied, strict=True)):
                results[number] = _result(one, result, job.origins.get(index))
                if index in job.origins:
                    self._copied[one.target] = job.origins[index].info
            return cast("list[CopyResult]", results)

        try:
            copied = target.batches.write(
                verb, tasks, bar, blocking=self._blocks(), cancel=self._options.cancel, prepare=prepare
            )
        except CommitError as error:
            error.results = cast("list[Result]", filled(error.results))
            raise
        if job.lost:
            lost = " and ".join(sorted(name.replace("_", " ") for name in job.lost))
            warnings.warn(f"{target.shown}: copied without the {lost}, which cannot be kept there", LossyWarning, 3)
        return filled(copied)

    def _decided(self, wanted: Iterable[Wanted]) -> list[CopyResult]:
        """What would be left alone, and what would be copied, which nothing was ``compared`` of; nothing is written."""
        results: list[CopyResult | None] = []

        def skipped(number: int, result: CopyResult) -> None:
            results.extend([None] * (number + 1 - len(results)))
            results[number] = result

        for several in chunks(self.needed(wanted, skipped), _ASKED_TOGETHER):
            here = self.heads(self._source, [one.path for _, one in several])
            for number, one in several:
                info = here[one.path]
                if isinstance(info, Exception):
                    skipped(number, nothing_done(one, error=own_error(info, one.path)))
                else:
                    skipped(number, nothing_done(replace(one, size=info.size)))
        return cast("list[CopyResult]", results)

    def _blocks(self) -> bool:
        """Whether reading from the source waits for other things than carriers can wait for."""
        transport = self._source.batches.engine.transport
        carried = transport is None or bool(getattr(transport, "carried", False))
        return self._source.backend.can.blocking or not carried

    # -- moving -----------------------------------------------------------------------------------------------

    def check_movable(self) -> None:
        """Raise unless files may be removed from the source."""
        source = self._source
        if not source.backend.can.writable:
            raise ReadOnly("nothing can be removed from there, so nothing can be moved", path=source.shown)
        if source.location.version is not None:
            raise ValueError(f"{source.shown!r}: an old version cannot be changed, so nothing can be moved from it")

    def _pinned(self, wanted: Iterable[Wanted]) -> Iterator[Wanted]:
        """Each with the ETag that it has now, so that a copy which the store makes is of a version that is known."""
        for several in chunks(wanted, _ASKED_TOGETHER):
            now = self.heads(self._source, [one.path for one in several])
            for one in several:
                info = now[one.path]
                yield one if isinstance(info, Exception) else replace(one, etag=info.etag, size=info.size)

    def remove_moved(self, results: list[CopyResult]) -> None:
        """Remove from the source what was copied, unless it has changed since; each result says what became of it.

        What was to go to several targets is removed only once it is at all of them.
        """
        copied = [result for result in results if result["done"] == "copied"]
        if copied and not self._within and self._unpublished():
            for result in copied:
                result["error"] = InvalidRequest(
                    "copied and staged, but not published, so the source is kept; commit() what is staged, then "
                    "delete it",
                    path=result["path"],
                )
            return
        copies: dict[str, list[CopyResult]] = {}  # of each source
        for result in results:
            copies.setdefault(result["path"], []).append(result)
        for several in chunks(copies.values(), _ASKED_TOGETHER):
            made = [result for one in several if _all_copied(one) for result in one]
            self._unchanged(
                self._source, [(result, self._copied[result["target"]]) for result in made], "copied", "moved"
            )
            unchanged = {one[0]["path"]: one for one in several if _all_copied(one)}
            self._remove(self._source, [one[0] for one in unchanged.values()], "moved", "move")
            for first, *others in unchanged.values():
                for other in others:
                    other["done"], other["error"] = first["done"], first["error"]
            for one in several:
                for result in one:
                    if result["done"] == "copied" and result["error"] is None:
                        result["error"] = PreconditionFailed(
                            "copied, but not to all of its targets, so the source is kept", path=result["path"]
                        )

    def remove_from_target(self, known: Mapping[str, ObjectInfo]) -> list[CopyResult]:
        """Remove files of the target, those that are still what is ``known`` of them."""
        results = [nothing_done(Wanted(name, name, info.size, compared="name")) for name, info in known.items()]
        for several in chunks(results, _ASKED_TOGETHER):
            still = self._unchanged(self._target, [(one, known[one["path"]]) for one in several], "listed", "removed")
            self._remove(self._target, still, "removed", "sync")
        return results

    def _unpublished(self) -> bool:
        backend = self._target.backend
        return backend.can.versioned and backend.as_written(self._target.batches.control(looking=True)) is not backend

    def _unchanged(
        self, side: Side, files: Sequence[tuple[CopyResult, ObjectInfo]], since: str, done: str
    ) -> list[CopyResult]:
        """Those of the files that are still what is known of them; the others' results say what they are."""
        now = self.heads(side, [*dict.fromkeys(result["path"] for result, _ in files)])
        unchanged = []
        for result, before in files:
            info = now[result["path"]]
            if isinstance(info, ObjectNotFound):
                result["done"] = done  # somebody else has removed it
            elif isinstance(info, Exception):
                result["error"] = info
            elif _differ(info.size, before.size) or _differ(info.etag, before.etag) or _later(info, before):
                result["error"] = PreconditionFailed(
                    f"it has changed since it was {since}, so it is kept", path=result["path"]
                )
            else:
                unchanged.append(result)
        return unchanged

    def _remove(self, side: Side, results: list[CopyResult], done: str, verb: str) -> None:
        def tasks(session: WriteSession) -> Iterator[Remove]:
            context = side.batches.context()
            for index, result in enumerate(results):
                yield Remove(context, session, index, result["path"], side.prefix + result["path"])

        removed = side.batches.write(verb, tasks, None, blocking=True, cancel=self._options.cancel) if results else []
        for result, gone in zip(results, removed, strict=True):
            result["error"] = gone["error"]
            result["attempts"] += gone["attempts"]
            if gone["error"] is None:
                result["done"] = done


def _all_copied(copies: Iterable[CopyResult]) -> bool:
    return all(result["done"] == "copied" and result["error"] is None for result in copies)


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other


def _later(now: ObjectInfo, before: ObjectInfo) -> bool:
    """Whether it has been written since, going by whole seconds: a listing may tell more of them than an answer."""
    if now.last_modified is None or before.last_modified is None:
        return False
    return int(now.last_modified) > int(before.last_modified)


def wanted_of(items: Iterable[Transfer], total: int | None) -> tuple[Iterable[Wanted], int | None]:
    """What a caller's items mean, and how many there are, if that is known; those are checked at once."""
    if isinstance(items, Mapping | bytes):
        raise TypeError("give an iterable of paths, pairs or dicts; for one file give its path")
    wanted = map(_wanted, items)
    if isinstance(items, Sequence | Set):
        known = [*wanted]
        return known, len(known)
    return wanted, total


def _wanted(item: Transfer) -> Wanted:
    if isinstance(item, str):
        return Wanted(check_name(item), item)
    if isinstance(item, Mapping):
        if "path" not in item or not _KEYS.issuperset(item):
            raise ValueError(f"a dict to copy has {sorted(_KEYS)}; this has {sorted(map(str, item))}")
        path = check_name(item["path"])
        given = item.get("dest_path")
        return Wanted(path, path if given is None else check_name(given), tags=item.get("tags"))
    if isinstance(item, tuple | list) and len(item) == 2:
        return Wanted(check_name(item[0]), check_name(item[1]))
    raise TypeError(f"expected a path, a (path, target) pair or a dict, not {item!r:.60}")


def nothing_done(wanted: Wanted, compared: str | None = None, error: Exception | None = None) -> CopyResult:
    """The result of what was not copied: it is there already, or there is an error."""
    return {
        "path": wanted.path,
        "target": wanted.target,
        "done": "nothing",
        "error": error,
        "size": wanted.size,
        "etag": None,
        "content_type": None,
        "content_encoding": None,
        "how": None,
        "read": None,
        "verified": None,
        "compared": wanted.compared or compared,
        "attempts": 0,
        "tags": wanted.tags,
    }


def _result(wanted: Wanted, result: Result, origin: Origin | None) -> CopyResult:
    error = result["error"]
    shown = nothing_done(wanted, error=None if error is None else own_error(error, wanted.path))
    shown["attempts"] = result["attempts"]
    if error is None and origin is not None:
        shown["done"] = "copied"
        shown["size"], shown["etag"], shown["verified"] = result["size"], result["etag"], result["verified"]
        shown["content_type"] = result["content_type"]
        shown["content_encoding"] = origin.info.headers.get("content-encoding")
        shown["how"], shown["read"] = origin.how, origin.read
    return shown


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of so many."""
    source = iter(items)
    while several := [*islice(source, size)]:
        yield several
