"""``Recording``: what a user has of a recording, and how one is made, kept in files and merged. Loads the rest late."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .flights import LOGS, UNKNOWN, Log, Row, Span

if TYPE_CHECKING:
    from .machine import Sample
    from .measures import Summary

_TIMES = ("queued", "signed", "start", "first_byte", "end")
_FORMAT, _VERSION = "cloudfiles_hypha recording", 1


class Recording:
    """What became of each item, and when; ``len`` of it and iteration give ``Row``s, in the order of their ends.

    Times are seconds since it began (``began``, since 1970). It keeps a million items at 47 bytes and a name each,
    and of more only the number (``left_out``). No queries of URLs, tokens or headers are in it. It can be read while
    it goes on.
    """

    def __init__(self) -> None:
        self.log = Log()
        self.machine: list[Sample] = []
        """Rates of the whole machine, where those were asked for."""

    def __len__(self) -> int:
        return len(self.log)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.log)

    def __repr__(self) -> str:
        more = f", {self.left_out} left out" if self.left_out else ""
        return f"<Recording of {len(self)} items{more}>"

    def close(self) -> None:
        """Nothing more is recorded."""
        self.log.close()

    @property
    def began(self) -> float:
        """When, in seconds since 1970."""
        return self.log.began

    @property
    def left_out(self) -> int:
        """Of how many items nothing was kept."""
        return self.log.left_out

    def summary(self) -> Summary:
        """How many, how fast, and what held it back."""
        from .measures import summarize

        return summarize(self.log, self.machine)

    # -- files --------------------------------------------------------------------------------------------------

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """As JSON, and written to ``path`` where that is given."""
        from ..redact import scrub

        log = self.log
        rows = [*log]
        busy, cpu = log.measured()
        columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in Row._fields}
        columns["path"] = [scrub(path) for path in columns["path"]]
        for name in (*_TIMES, "waited", "served"):
            columns[name] = [round(value, 6) for value in columns[name]]
        text = json.dumps(
            {
                "format": _FORMAT,
                "version": _VERSION,
                "began": log.began,
                "processes": log.processes,
                "busy": busy,
                "cpu": cpu,
                "failures": log.failures,
                "refused": log.refused,
                "left_out": log.left_out,
                "signings": log.signings,
                "machine": self.machine,
                "columns": columns,
            }
        )
        if path is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return text

    @classmethod
    def from_json(cls, source: str | os.PathLike[str]) -> Recording:
        """What ``to_json`` has made: its text, or (a path, or a text that does not begin with a brace) a file of it."""
        from .machine import Sample

        text = source
        if not isinstance(source, str) or not source.lstrip().startswith("{"):
            with open(source, encoding="utf-8") as file:
                text = file.read()
        found = json.loads(str(text))
        if not isinstance(found, dict) or found.get("format") != _FORMAT or found.get("version") != _VERSION:
            raise ValueError(f"not a recording of version {_VERSION}, as to_json writes it")
        recording = cls()
        log = recording.log
        log.began, log.processes = float(found["began"]), int(found["processes"])
        log.busy, log.cpu = float(found["busy"]), float(found["cpu"])
        log.failures, log.refused = int(found["failures"]), int(found["refused"])
        log.signings = [Span(*span) for span in found["signings"]]
        recording.machine = [Sample(*sample) for sample in found["machine"]]
        columns = found["columns"]
        for values in zip(*(columns[name] for name in Row._fields), strict=True):
            log.add(Row(*values))
        log.left_out += int(found["left_out"])
        log.close()
        return recording

    @classmethod
    def merge(cls, recordings: Iterable[Recording]) -> Recording:
        """One of several, of other processes perhaps: all on the clock of the one that began first."""
        given = [*recordings]
        if not given:
            raise ValueError("there is nothing to merge")
        merged = cls()
        log = merged.log
        log.began = min(each.log.began for each in given)
        log.most = max(log.most, sum(len(each) for each in given))
        log.processes = 0
        for each in given:
            other = each.log
            later = other.began - log.began
            for row in other:
                queued, *times = (_later(getattr(row, name), later) for name in _TIMES)
                signed, start, first, end = times
                log.add(row._replace(queued=queued, signed=signed, start=start, first_byte=first, end=end))
            busy, cpu = other.measured()
            log.busy += busy
            log.cpu += cpu
            log.processes += other.processes
            log.failures += other.failures
            log.refused += other.refused
            log.left_out += other.left_out
            log.signings += [Span(start + later, end + later, count) for start, end, count in other.signings]
            merged.machine += [sample._replace(at=sample.at + later) for sample in each.machine]
        merged.machine.sort()
        log.close()
        return merged

    def to_pandas(self) -> Any:
        """A ``DataFrame`` with a row for each item; what is not known is NaN."""
        try:
            import pandas  # type: ignore[import-untyped,unused-ignore]
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error
        frame = pandas.DataFrame([*self.log], columns=[*Row._fields])
        times = ["signed", "start", "first_byte", "end"]
        frame[times] = frame[times].where(frame[times] >= 0)
        return frame

    # -- pictures -----------------------------------------------------------------------------------------------

    def plot_timeline(self, ax: Any = None) -> Any:
        """Each item as a line in its worker's row; an ``Axes`` of matplotlib."""
        from .charts import timeline

        return timeline(self, ax)

    def plot_throughput(self, ax: Any = None) -> Any:
        """Bytes a second over time."""
        from .charts import throughput

        return throughput(self, ax)

    def plot_concurrency(self, ax: Any = None) -> Any:
        """How many items were under way over time."""
        from .charts import concurrency

        return concurrency(self, ax)

    def plot_latency(self, ax: Any = None) -> Any:
        """How long items waited for their first byte."""
        from .charts import latency

        return latency(self, ax)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """All four charts; written to ``path`` where that is given. A ``Figure`` of matplotlib."""
        from .charts import together

        return together(self, path)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write one HTML page with the summary, the charts, the slowest items and the errors: complete in itself."""
        from .report import page

        text = page(self)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def _repr_html_(self) -> str:
        from .report import fragment

        return fragment(self)


def _later(at: float, seconds: float) -> float:
    return at if at == UNKNOWN else at + seconds


@contextmanager
def record(*, machine: bool = False, here: bool = True) -> Iterator[Recording]:
    """Record every call that this thread makes meanwhile, at whatever place: ``with record() as rec:``.

    ``machine`` has the rates of the whole machine recorded beside it (needs psutil). Without ``here`` nothing is
    recorded but what the log of the recording is given to.
    """
    recording = Recording()
    log = recording.log
    sampler = None
    if machine:
        from .machine import Sampler

        sampler = Sampler(log.origin, recording.machine)
    token = LOGS.set((*LOGS.get(), log)) if here else None
    try:
        if sampler is not None:
            sampler.start()
        yield recording
    finally:
        if token is not None:
            LOGS.reset(token)
        if sampler is not None:
            sampler.stop()
        log.close()
