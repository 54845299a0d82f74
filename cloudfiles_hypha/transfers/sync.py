"""Making one place like another: two listings become a plan, and a plan is carried out. ``plan.sync`` decides.

A plan is on disk beyond a few MiB, and so is a listing that has to be sorted; neither is in memory as a whole. Nothing
is done before both listings are complete, and nothing is removed unless all that was to be copied has been.
"""

from __future__ import annotations

import heapq
import json
import os
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from ..backends.base import Backend
from ..errors import ObjectNotFound, TransferError
from ..models import ObjectInfo
from ..paths import check_name
from ..plan.sync import COMPARE, Compare, Entry, OutOfOrderError, Pair, Step, by_fold, decide, merge, merge_folded
from ..progress import Progress
from ..results import CopyResult
from .copies import Copies, Side, chunks
from .copy import Wanted

# Entries of a listing that are sorted in memory; more are sorted by way of temporary files.
_SORTED_TOGETHER = 100_000
# Bytes of a plan that are in memory.
_SPOOLED = 4 * 1024 * 1024
# Names that are compared together where that takes questions of their own.
_TOGETHER = 500
_VERSION = 1


class TooManyRemovalsError(ValueError):
    """More would be removed than was allowed; nothing has been done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    """What a plan is to do, and how it decides."""

    delete: bool = False
    compare: Compare = "auto"
    wanted: Callable[[str], bool] = lambda name: True
    max_delete: int | None = None
    allow_empty: bool = False

    def __post_init__(self) -> None:
        if self.compare not in COMPARE:
            raise ValueError(f"compare={self.compare!r}: choose one of {', '.join(map(repr, COMPARE))}")
        most = self.max_delete
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 0):
            raise ValueError(f"max_delete={most!r}: expected how many files may be removed")


class Steps:
    """The steps of a plan, in a file of lines of JSON; ``counts`` says how many of each kind there are."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self._file = file or cast(IO[bytes], tempfile.SpooledTemporaryFile(_SPOOLED))  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._begin = 0
        self._end: int | None = None
        self.counts: Counter[str] = Counter()
        self.bytes = 0

    def add(self, step: Step) -> None:
        """One more."""
        self._file.write(json.dumps(step).encode() + b"\n")
        self._count(step)

    def _count(self, step: Step) -> None:
        self.counts[step.do] += 1
        if step.do == "copy":
            self.bytes += step.size or 0

    def __iter__(self) -> Iterator[Step]:
        at, end = self._begin, self._end
        while end is None or at < end:
            self._file.seek(at)  # each time, since there may be several iterators
            lines = self._file.readlines(1 << 16)
            if not lines:
                return
            for line in lines:
                at += len(line)
                if end is not None and at > end:
                    return
                yield _step(line)

    def save(self, path: Path, head: Mapping[str, Any]) -> None:
        """Write all of it to a file, which is there as a whole or not at all."""
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps({"cloudfiles_hypha_sync": _VERSION, **head}).encode() + b"\n")
                for step in self:
                    file.write(json.dumps(step).encode() + b"\n")
                file.write(json.dumps({"end": dict(self.counts)}).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise

    @classmethod
    def load(cls, path: Path) -> tuple[Mapping[str, Any], Steps]:
        """What ``save`` wrote: the head and the steps, all of which are looked at; else ``ValueError``."""
        file = open(path, "rb")  # noqa: SIM115 -- as long as the steps are
        with ExitStack() as undo:
            undo.callback(file.close)
            try:
                head = json.loads(file.readline())
                if head.pop("cloudfiles_hypha_sync") != _VERSION:
                    raise ValueError("another version of this format")
                steps = cls(file)
                steps._begin = at = file.tell()
                counts = None
                for line in file:
                    if counts is not None:
                        raise ValueError("it goes on beyond its end")
                    if line.startswith(b"{"):
                        counts = json.loads(line)["end"]
                        steps._end = at
                    else:
                        steps._count(_step(line))
                    at += len(line)
                if counts != dict(steps.counts):
                    raise ValueError("it is not complete")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{str(path)!r} is no plan, or a damaged one: {error}") from None
            undo.pop_all()
        return head, steps

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _step(line: bytes) -> Step:
    step = Step(*json.loads(line))
    if step.do not in ("copy", "remove", "keep"):
        raise ValueError(f"there is no step {step.do!r}")
    check_name(step.path)
    return step


class Sync:
    """Plans and carries out what makes ``target`` like ``source``."""

    def __init__(self, source: Side, target: Side, copies: Copies, options: SyncOptions) -> None:
        self._source = source
        self._target = target
        self._copies = copies
        self._options = options
        if source.place == target.place and (
            source.path.startswith(target.path) or target.path.startswith(source.path)
        ):
            raise ValueError(f"{source.shown!r} and {target.shown!r}: one is within the other")
        if options.compare == "digest" and not copies.digests_compare:
            raise ValueError(
                f"compare='digest': {source.shown!r} and {target.shown!r} keep no digests that can be compared"
            )

    # -- planning ---------------------------------------------------------------------------------------------

    def plan(self) -> Steps:
        """The steps, once both listings are complete; raises rather than plan what must not be done."""
        try:
            steps = self._plan(trusting=True)
        except OutOfOrderError:  # a store does not keep the order that it usually keeps
            try:
                steps = self._plan(trusting=False)
            except OutOfOrderError as error:
                raise TransferError(f"a name is listed twice: {error}") from None
        try:
            self._check(steps)
        except BaseException:
            steps.close()
            raise
        return steps

    def _plan(self, *, trusting: bool) -> Steps:
        steps = Steps()
        options = self._options
        folds = self._target.backend.can.folds
        with ExitStack() as stack:
            undo = stack.enter_context(ExitStack())
            undo.callback(steps.close)
            listings = []
            for side in (self._source, self._target):
                listing = self._listing(side)
                if folds:
                    listing = sort_entries(listing, by_fold)
                elif not (trusting and side.backend.can.ordered):
                    listing = sort_entries(listing)
                listings.append(stack.enter_context(closing(listing)))
            merged = merge_folded(*listings, same=self._same) if folds else merge(*listings)
            for pair in self._told(merged):
                step = decide(pair, options.compare, digests=self._copies.digests_compare, delete=options.delete)
                if step is not None:
                    steps.add(step)
            undo.pop_all()
        return steps

    def _same(self, one: str, other: str) -> bool:
        prefix = self._target.prefix
        return self._target.backend.same(prefix + one, prefix + other)

    def _listing(self, side: Side) -> Generator[Entry, None, None]:
        control = side.batches.control(looking=True)
        skip = len(side.prefix)
        try:
            backend: Backend = side.backend
            if side is self._target:
                backend = backend.as_written(control)
            for info in backend.scan(side.prefix, control=control):
                name = info.path[skip:]
                if self._options.wanted(name):
                    encoding = (info.compress or "") if backend.can.lists_encodings else None
                    yield Entry(check_name(name), info.size, info.etag, info.last_modified, info.digest, encoding)
        except ObjectNotFound:  # an artifact or a folder that is yet to be made
            if side is self._source:
                raise
        finally:
            control.over = True

    def _told(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The pairs; where a listing tells no digests and they would decide, with those that its store tells."""
        if not self._copies.digests_compare or self._options.compare not in ("auto", "digest"):
            yield from pairs
            return
        for several in chunks(pairs, _TOGETHER):
            unsure = [
                here.path
                for here, there in several
                if here is not None and there is not None and self._unsure(here, there)
            ]
            here_too = self._copies.heads(self._source, unsure) if unsure else {}
            there_too = self._copies.heads(self._target, unsure) if unsure else {}
            for here, there in several:
                yield (_filled(here, here_too), _filled(there, there_too))

    def _unsure(self, here: Entry, there: Entry) -> bool:
        """Whether it is worth two questions to have digests to compare: less than to copy for nothing."""
        if here.size != there.size or (here.digest and there.digest):
            return False
        if self._options.compare == "digest":
            return True
        step = decide((here, there), "auto", digests=False, delete=False)
        return step is not None and step.do == "copy"

    def _check(self, steps: Steps) -> None:
        options, counts = self._options, steps.counts
        if counts["remove"] and not counts["copy"] and not counts["keep"] and not options.allow_empty:
            raise ValueError(
                f"{self._source.shown!r} is empty, so all {counts['remove']} files of {self._target.shown!r} would be "
                "removed; say allow_empty=True (--allow-empty) if that is meant"
            )
        if options.max_delete is not None and counts["remove"] > options.max_delete:
            raise TooManyRemovalsError(
                f"{counts['remove']} files of {self._target.shown!r} would be removed, and max_delete is "
                f"{options.max_delete}; nothing has been done"
            )

    # -- carrying out -----------------------------------------------------------------------------------------

    def carry_out(self, steps: Steps, bar: Progress) -> list[CopyResult]:
        """Copy, and if all of that went well remove; the results of what was not to be kept."""
        pins = self._copies.pins_listed
        wanted = (
            Wanted(step.path, step.path, step.size, step.etag if pins else None, compared=step.compared)
            for step in steps
            if step.do == "copy"
        )
        results = self._copies.run(wanted, bar, verb="sync")
        if any(result["error"] is not None for result in results) or not steps.counts["remove"]:
            return results
        for several in chunks((step for step in steps if step.do == "remove"), 10 * _TOGETHER):
            known = {step.path: ObjectInfo(step.path, step.size, step.etag, None, step.modified) for step in several}
            results += self._copies.remove_from_target(known)  # which looks first: copying may have taken hours
        return results


def _filled(entry: Entry | None, told: Mapping[str, ObjectInfo | Exception]) -> Entry | None:
    if entry is None or entry.path not in told:
        return entry
    info = told[entry.path]
    if isinstance(info, Exception):
        raise info
    return entry._replace(size=info.size, etag=info.etag, digest=info.digest, encoding=info.compress or "")


def _path(entry: Entry) -> str:
    return entry.path


def sort_entries(
    entries: Iterable[Entry], key: Callable[[Entry], Any] = _path, together: int = _SORTED_TOGETHER
) -> Generator[Entry, None, None]:
    """The entries in the order of their names; of many, most are in temporary files meanwhile."""
    source = iter(entries)
    first = sorted(islice(source, together), key=key)
    if len(first) < together:
        yield from first
        return
    with ExitStack() as files:
        runs = [_spilt(first, files)]
        while run := sorted(islice(source, together), key=key):
            runs.append(_spilt(run, files))
        yield from heapq.merge(*runs, key=key)


def _spilt(entries: list[Entry], files: ExitStack) -> Iterator[Entry]:
    """The same entries, from a temporary file, which is written now and closed with ``files``."""
    file = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 -- entered
    file.writelines(json.dumps(entry).encode() + b"\n" for entry in entries)
    file.seek(0)
    return (Entry(*json.loads(line)) for line in file)
