"""What is done with more than one ``ArtifactFiles``: ``sync`` of two places, ``dl`` of files in any number of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .arguments import Patterns, is_scalar, name_filter
from .backends import locate, resolved, split_cloudpath
from .engine.pool import Cancellation
from .errors import BatchError
from .files import ArtifactFiles
from .paths import join_names
from .plan.sync import Compare, Step
from .progress import ProgressOption
from .redact import without_user
from .results import CopyResult, Result, raise_failures

if TYPE_CHECKING:
    from .transfers.sync import Steps

# Steps that a plan shows when it is printed.
_SHOWN = 100


def sync(
    source: str | ArtifactFiles,
    target: str | ArtifactFiles,
    *,
    delete: bool = False,
    dry_run: bool = False,
    compare: Compare = "auto",
    include: Patterns = None,
    exclude: Patterns = None,
    max_delete: int | None = None,
    allow_empty: bool = False,
    raise_errors: bool = True,
    progress: ProgressOption = None,
    cancel: Cancellation | None = None,
) -> SyncReport:
    """Make ``target`` like ``source``: copy what it has not or has otherwise, and with ``delete`` remove the rest.

    Both are cloudpaths, or ``ArtifactFiles`` where they need options of their own. Files are compared by their size,
    and then, with ``compare="auto"``, by their digests if both listings tell those in a form that can be compared, else
    by time: a file is copied if the source's is the later one. "size" and "time" do without digests; "digest" asks for
    those that the listings do not tell, and copies what cannot be compared.

    Nothing is done before both listings are complete, and nothing is removed if anything could not be copied. More than
    ``max_delete`` removals are refused, and so is a source with nothing in it unless ``allow_empty`` says that it is
    meant; both before anything is copied. ``include`` and ``exclude`` are as for ``download``; what they leave out is
    neither copied nor removed.

    The report has ``plan`` (which can be printed, saved, and carried out later) and ``results``; with ``dry_run`` only
    the former. If anything failed, ``BatchError`` carries the results.
    """
    with ExitStack() as stack:
        here, there = (_opened(each, stack) for each in (source, target))
        plan = SyncPlan(source, target, None, {"delete": delete, "compare": compare})
        plan._make(here, there, name_filter(include, exclude), max_delete, allow_empty, cancel)
        if dry_run:
            return SyncReport(plan)
        return plan._carry_out(here, there, raise_errors, progress, cancel)


def _opened(place: str | ArtifactFiles, stack: ExitStack) -> ArtifactFiles:
    return stack.enter_context(ArtifactFiles(place)) if isinstance(place, str) else place


class SyncPlan:
    """What a ``sync`` is to do. Iterating gives its ``Step``s, those that keep a file among them; printing shows the
    others. It lies in a temporary file, which goes with it."""

    def __init__(
        self, source: ArtifactFiles | str, target: ArtifactFiles | str, steps: Steps | None, options: dict[str, Any]
    ) -> None:
        self.source = _shown(source)
        self.target = _shown(target)
        self._sides = _fixed(source), _fixed(target)
        self._options = options
        self._known = steps

    @property
    def _steps(self) -> Steps:
        if self._known is None:
            raise ValueError("this plan is closed")
        return self._known

    def _make(
        self,
        source: ArtifactFiles,
        target: ArtifactFiles,
        wanted: Callable[[str], bool],
        max_delete: int | None,
        allow_empty: bool,
        cancel: Cancellation | None,
    ) -> None:
        from .transfers.sync import SyncOptions

        options = SyncOptions(wanted=wanted, max_delete=max_delete, allow_empty=allow_empty, **self._options)
        with target._syncing(source, options, cancel) as work:
            self._known = work.plan()

    @property
    def counts(self) -> Counter[str]:
        """How many files there are to "copy", to "remove", and to "keep"."""
        return self._steps.counts.copy()

    @property
    def bytes(self) -> int:
        """How many bytes are to be copied, as far as the listing of the source tells."""
        return self._steps.bytes

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    def __str__(self) -> str:
        counts = self.counts
        lines = [
            f"{self.source} -> {self.target}: copy {counts['copy']} files ({self.bytes} bytes), "
            f"remove {counts['remove']}, keep {counts['keep']}"
        ]
        shown = (
            f"{step.do} {step.path}" + (f" ({step.why})" if step.why else "") for step in self if step.do != "keep"
        )
        for number, line in enumerate(shown):
            if number == _SHOWN:
                lines.append("...")
                break
            lines.append(line)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<SyncPlan {self.source!r} -> {self.target!r} {dict(self._steps.counts)}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file, a line of JSON for each step. Secrets are not among them."""
        self._steps.save(Path(path), {"source": self.source, "target": self.target, **self._options})

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        source: ArtifactFiles | None = None,
        target: ArtifactFiles | None = None,
    ) -> SyncPlan:
        """The plan in a file, or ``ValueError`` if that is damaged or not complete.

        ``source`` and ``target`` are for places that need options of their own; they must be those that were planned.
        """
        from .transfers.sync import Steps

        head, steps = Steps.load(Path(path))
        try:
            for given, name in ((source, "source"), (target, "target")):
                if given is not None and _shown(given) != head[name]:
                    raise ValueError(f"the plan's {name} is {head[name]!r}, not {_shown(given)!r}")
            options = {"delete": head["delete"], "compare": head["compare"]}
            return cls(source or head["source"], target or head["target"], steps, options)
        except KeyError as missing:
            steps.close()
            raise ValueError(f"{os.fspath(path)!r} is no plan, or a damaged one: it does not say {missing}") from None
        except BaseException:
            steps.close()
            raise

    def carry_out(
        self,
        *,
        raise_errors: bool = True,
        progress: ProgressOption = None,
        cancel: Cancellation | None = None,
    ) -> SyncReport:
        """Do it. What has changed since it was planned is neither copied nor removed, as far as that can be told: such
        a file is an error of its own, and nothing is removed after one."""
        with ExitStack() as stack:
            here, there = (_opened(each, stack) for each in self._sides)
            return self._carry_out(here, there, raise_errors, progress, cancel)

    def _carry_out(
        self,
        source: ArtifactFiles,
        target: ArtifactFiles,
        raise_errors: bool,
        progress: ProgressOption,
        cancel: Cancellation | None,
    ) -> SyncReport:
        from .transfers.sync import SyncOptions

        steps = self._steps
        with target._syncing(source, SyncOptions(**self._options), cancel) as work:
            bar = target._bar(progress, "sync", steps.counts["copy"], steps.bytes)
            results = work.carry_out(steps, bar)
        if raise_errors:
            raise_failures("sync", results)
        return SyncReport(self, results)

    def close(self) -> None:
        """Let go of the file that it lies in."""
        if self._known is not None:
            self._known.close()
            self._known = None

    def __enter__(self) -> SyncPlan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _shown(place: ArtifactFiles | str) -> str:
    """The whole cloudpath of a place, which means it wherever the working directory is, and has no credentials."""
    location = locate(place) if isinstance(place, str) else place._location
    return join_names(location.root, location.prefix.rstrip("/"))


def _fixed(place: ArtifactFiles | str) -> ArtifactFiles | str:
    """The same place, also where the working directory or an alias is another one by then."""
    if isinstance(place, ArtifactFiles):
        return place
    return _shown(place) if locate(place).scheme == "file" else resolved(place)


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a ``sync`` has done: its plan, and a result for each file that was to be copied or removed (of which there
    are none if that was a dry run)."""

    plan: SyncPlan
    results: tuple[CopyResult, ...] | list[CopyResult] = ()

    def names(self, done: str) -> list[str]:
        """The files with which this was done: "copied", "removed", or "nothing" because of an error."""
        return [result["path"] for result in self.results if result["done"] == done]


def dl(
    cloudpaths: str | Iterable[str],
    *,
    raise_errors: bool = True,
    progress: ProgressOption = None,
    cancel: Cancellation | None = None,
    **options: Any,
) -> Any:
    """Read files by their whole cloudpaths, wherever each is: for one its bytes, for an iterable a list of results.

    The results are in order, and have ``fullpath`` besides what ``get`` gives. Files of one place are read together;
    ``options`` are those of ``ArtifactFiles``, for every place.
    """
    scalar = is_scalar(cloudpaths)
    wanted = [str(cloudpaths)] if scalar else [*cloudpaths]
    places: dict[str, list[tuple[int, str]]] = {}
    for number, cloudpath in enumerate(wanted):
        root, name = split_cloudpath(cloudpath)
        places.setdefault(root, []).append((number, name))
    results: list[Any] = [None] * len(wanted)
    for root, items in places.items():
        with ArtifactFiles(root, **options) as cf:
            got: list[Result] = cf.get(
                [name for _, name in items], raise_errors=False, progress=False if scalar else progress, cancel=cancel
            )
        for (number, _), result in zip(items, got, strict=True):
            results[number] = {**result, "fullpath": without_user(wanted[number])}
    if scalar:
        if results[0]["error"] is not None:
            raise results[0]["error"]
        return results[0]["content"]
    if raise_errors and any(result["error"] is not None for result in results):
        raise BatchError.from_results("dl", results)
    return results
