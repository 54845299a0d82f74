"""What a recording amounts to: numbers, curves, and by which rule one thing is said to have held a transfer back.

No I/O, no clock: rows in, values out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from itertools import pairwise
from math import ceil
from typing import Final

from .flights import Log, Row, Span
from .machine import Sample

# From which share on something is what held a transfer back; docs/recording.md has the rule in words.
_WAITING: Final = 0.3
_SIGNING: Final = 0.4
_CPU: Final = 0.8
_HERE: Final = 0.3
_HALF: Final = 0.5
_DISK: Final = 0.8
_LATENCY: Final = 0.5
_BODY: Final = 0.5
# Below this many seconds nothing is said.
_LEAST: Final = 0.05
NOT_KNOWN: Final = "not known"


@dataclass(frozen=True)
class Summary:
    """Numbers of a recording. ``str`` is for people, ``_repr_html_`` for notebooks.

    ``latency`` and ``duration`` are percentiles in seconds (50, 90, 99, 100): from the first attempt to the first byte,
    and to the end. ``held_back`` is one of "signing", "latency", "bandwidth", "cpu", "disk", "refusals", "failures" or
    "not known", ``because`` says why, and ``shares`` has what that was decided by.
    """

    files: int
    failed: int
    bytes: int
    seconds: float
    retries: int
    refused: int
    most_at_once: int
    mean_at_once: float
    latency: dict[int, float]
    duration: dict[int, float]
    hosts: dict[str, int]
    errors: dict[str, int]
    held_back: str
    because: str
    shares: dict[str, float] = field(default_factory=dict)
    left_out: int = 0

    @property
    def files_per_second(self) -> float:
        """Those that ended well."""
        return (self.files - self.failed) / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Likewise."""
        return self.bytes / self.seconds if self.seconds else 0.0

    def lines(self) -> list[tuple[str, str]]:
        """What is to be read, each with what it is."""
        found = [
            ("files", f"{self.files:,}" + (f", {self.failed:,} of them failed" if self.failed else "")),
            ("bytes", human(self.bytes)),
            ("time", f"{self.seconds:.2f} s"),
            ("rate", f"{self.files_per_second:,.1f} files/s, {human(self.bytes_per_second)}/s"),
            ("at once", f"{self.mean_at_once:.1f} on average, {self.most_at_once} at most"),
        ]
        if self.latency:
            found.append(("first byte after", _percentiles(self.latency)))
        if self.duration:
            found.append(("done after", _percentiles(self.duration)))
        if self.retries:
            found.append(("retries", f"{self.retries:,}, {self.refused:,} of them as the server refused"))
        if self.errors:
            found.append(("errors", ", ".join(f"{name} x {count:,}" for name, count in self.errors.items())))
        if self.left_out:
            found.append(("left out", f"{self.left_out:,} more items, of which no more is known"))
        found.append(("held back by", f"{self.held_back}: {self.because}"))
        return found

    def __str__(self) -> str:
        return "\n".join(f"{name + ':':18}{text}" for name, text in self.lines())

    def to_dict(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self.lines())
        return f"<table>{rows}</table>"


def human(size: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def seconds_text(seconds: float) -> str:
    """A short time as people read it."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _percentiles(values: dict[int, float]) -> str:
    texts = {seconds_text(value) for value in values.values()}
    if len(texts) == 1:
        return texts.pop()
    return ", ".join(
        f"{'half' if percent == 50 else 'longest' if percent == 100 else f'{percent} %'} {seconds_text(value)}"
        for percent, value in values.items()
    )


def percentiles(values: Iterable[float], wanted: Sequence[int] = (50, 90, 99, 100)) -> dict[int, float]:
    """Each the smallest value that so many per cent are no larger than; none of nothing."""
    ordered = sorted(values)
    return {percent: ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)] for percent in wanted if ordered}


def levels(spans: Iterable[tuple[float, float]]) -> list[tuple[float, int]]:
    """How many spans there are from each moment on at which that changes."""
    changes: Counter[float] = Counter()
    for start, end in spans:
        changes[start] += 1
        changes[end] -= 1
    found: list[tuple[float, int]] = []
    level = 0
    for at in sorted(changes):
        level += changes[at]
        found.append((at, level))
    return found


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How long there is any span."""
    return _covered(levels(spans))


def _covered(steps: Sequence[tuple[float, int]]) -> float:
    return sum(after[0] - before[0] for before, after in pairwise(steps) if before[1])


def binned(rows: Iterable[Row], until: float, bins: int) -> list[float]:
    """Bytes a second in each of ``bins`` equal stretches of time; an item's bytes are spread from its first byte to
    its end, evenly."""
    width = until / bins if until > 0 else 1.0
    found = [0.0] * bins
    for row in rows:
        if not row.bytes or row.end < 0:
            continue
        start = row.first_byte if row.first_byte >= 0 else row.start if row.start >= 0 else row.queued
        start = min(start, row.end)
        low, high = (min(bins - 1, max(0, int(at / width))) for at in (start, row.end))
        if low == high:
            found[low] += row.bytes / width
            continue
        rate = row.bytes / (row.end - start)
        for number in range(low, high + 1):
            part = min(row.end, (number + 1) * width) - max(start, number * width)
            found[number] += rate * max(0.0, part) / width
    return found


def flying(rows: Iterable[Row]) -> list[tuple[float, float]]:
    """From its first attempt to its end, of each item that had one."""
    # those that came with one request are one
    each = {(row.worker, row.start, row.end) for row in rows if 0 <= row.start <= row.end}
    return [(start, end) for _, start, end in each]


def summarize(log: Log, machine: Sequence[Sample] = ()) -> Summary:
    """All of it."""
    rows = [*log]
    busy, cpu = log.measured()
    spans = flying(rows)
    steps = levels(spans)
    in_flight = sum(end - start for start, end in spans)
    seconds = busy if log.processes == 1 else covered([(row.queued, row.end) for row in rows])
    any_in_flight = _covered(steps)
    shares = _shares(rows, log.signings, spans, any_in_flight, cpu / busy if busy > 0 else 0.0, seconds, machine)
    held_back, because = judge(shares, seconds, log.refused, log.failures)
    return Summary(
        files=len(rows),
        failed=sum(row.error != "" for row in rows),
        bytes=sum(row.bytes for row in rows),
        seconds=seconds,
        retries=log.failures,
        refused=log.refused,
        most_at_once=max((level for _, level in steps), default=0),
        mean_at_once=in_flight / any_in_flight if any_in_flight else 0.0,
        latency=percentiles(row.first_byte - row.start for row in rows if row.first_byte >= row.start >= 0),
        duration=percentiles(end - start for start, end in spans),
        hosts=dict(Counter(row.host for row in rows if row.host).most_common(10)),
        errors=dict(Counter(row.error for row in rows if row.error).most_common(10)),
        held_back=held_back,
        because=because,
        shares=shares,
        left_out=log.left_out,
    )


def _shares(
    rows: Sequence[Row],
    signings: Sequence[Span],
    spans: Sequence[tuple[float, float]],
    any_in_flight: float,
    cpu: float,
    seconds: float,
    machine: Sequence[Sample],
) -> dict[str, float]:
    """What is known of where the time went; what is not is not among it."""
    shares = {"cpu": cpu, "under way": min(1.0, any_in_flight / seconds) if seconds else 0.0}
    rows = [*{(row.start, row.end): row for row in rows}.values()]  # those that came with one request are one
    total = sum(end - start for start, end in spans)
    if total > 0:
        shares["waiting"] = min(1.0, sum(row.waited for row in rows) / total)
        asked = [row for row in rows if row.host and 0 <= row.start <= row.first_byte <= row.end]
        first = sum(max(0.0, row.first_byte - row.start - row.waited) for row in asked)
        if asked:
            shares["latency"] = first / total
            shares["body"] = sum(_body(row) for row in asked) / total
            timed = [row for row in asked if row.served > 0]
            if timed:
                shares["here"] = sum(max(0.0, row.end - row.start - row.waited - row.served) for row in timed) / total
        shares["local"] = sum(row.end - row.start for row in rows if not row.host and 0 <= row.start <= row.end) / total
    if signings and seconds > 0:
        alone = covered([(span.start, span.end) for span in signings] + [*spans]) - any_in_flight
        shares["signing"] = min(1.0, max(0.0, alone) / seconds)
    if machine:
        long = sum(sample.disk_busy for sample in machine)
        if all(sample.disk_busy >= 0 for sample in machine):
            shares["disk"] = long / len(machine)
        shares["machine cpu"] = sum(sample.cpu for sample in machine) / len(machine) / 100
    return shares


def _body(row: Row) -> float:
    """Seconds in which its bytes came, or its upload was answered; without the time in which nobody here looked."""
    body = row.end - row.first_byte
    return max(0.0, min(body, row.start + row.served - row.first_byte)) if row.served > 0 else body


def judge(shares: dict[str, float], seconds: float, refused: int, failures: int) -> tuple[str, str]:
    """What held a transfer back, and why that is said; the first rule that holds. See docs/recording.md."""

    def share(name: str) -> float:
        return shares.get(name, 0.0)

    def of(name: str) -> str:
        return f"{100 * share(name):.0f} %"

    if seconds < _LEAST:
        return NOT_KNOWN, f"less than {_LEAST} s is too short to tell"
    if share("waiting") >= _WAITING:
        if refused * 2 >= failures and refused:
            return "refusals", f"{of('waiting')} of the time was waited as the server asked ({refused} refusals)"
        return "failures", f"{of('waiting')} of the time was waited between attempts ({failures} failures)"
    if share("signing") >= _SIGNING:
        return "signing", f"{of('signing')} of the time nothing moved, as names were being resolved"
    if share("cpu") >= _CPU:
        return "cpu", f"this process kept {share('cpu'):.2f} cores busy, and Python has little use for more than one"
    if share("here") >= _HERE and share("cpu") >= _HALF:
        return (
            "cpu",
            f"{of('here')} of the time answers waited for this process, which kept {share('cpu'):.2f} cores busy",
        )
    if share("machine cpu") >= _CPU:
        return "cpu", f"the CPUs of this machine were {of('machine cpu')} busy"
    if share("disk") >= _DISK:
        return "disk", f"the busiest disk was {of('disk')} busy"
    if share("under way") < _BODY:
        return NOT_KNOWN, f"only {of('under way')} of the time anything was under way at all"
    if share("local") >= _LATENCY:
        return "disk", f"{of('local')} of the time was spent on files here, with {share('cpu'):.2f} cores busy"
    if share("latency") >= _LATENCY:
        return "latency", f"{of('latency')} of the time items waited for their first byte; more at once may help"
    if share("body") >= _BODY:
        return "bandwidth", f"{of('body')} of the time bytes were on their way: the line, or the server"
    return NOT_KNOWN, "no single thing took most of the time"
