"""A recording as HTML: one page that is complete in itself (no scripts, nothing loaded), or a part of a notebook's.

Draws small SVGs by itself. However many items there are, what comes out is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice, pairwise
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Final

from ..redact import printable, scrub
from .flights import Row
from .measures import binned, flying, human, levels, percentiles, seconds_text

if TYPE_CHECKING:
    from .machine import Sample
    from .records import Recording

PAGE_MARK: Final = "<title>Transfer report</title>"  # by which a page is known to be one, near its beginning

_WIDTH: Final = 860
_HEIGHT: Final = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 14, 10, 30
_POINTS: Final = 240  # of a curve
_LINES: Final = 1500  # of the timeline
_LISTED: Final = 20
_NAME: Final = 120  # characters of a name that are shown

_STYLE: Final = """
.cfh { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; max-width: 900px; }
.cfh h1 { font-size: 1.5em; margin: 0 0 .1em } .cfh h2 { font-size: 1.1em; margin: 1.8em 0 .3em }
.cfh p { margin: .2em 0; color: #55606d } .cfh .why { color: #1c2733; font-size: 1.1em; border-left: 4px solid #2b6cb0;
 padding: .2em .8em; margin: 1em 0 }
.cfh table { border-collapse: collapse; margin: .4em 0; font-size: .93em; width: auto }
.cfh th { text-align: left; font-weight: 600; white-space: nowrap }
.cfh th, .cfh td { padding: .15em 1.2em .15em 0; vertical-align: top; text-align: left }
.cfh td.n, .cfh th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.cfh td.p { overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: .92em }
.cfh svg { display: block; width: 100%; height: auto } .cfh svg text { font-size: 11px; fill: #55606d }
.cfh .grid { stroke: #e3e8ee } .cfh .area { fill: #bcd4ee }
.cfh .line { fill: none; stroke: #2b6cb0; stroke-width: 1.5 }
.cfh .bar { fill: #2b6cb0 } .cfh .wait { fill: #f0b35b } .cfh .move { fill: #2b6cb0 } .cfh .bad { fill: #c53030 }
.cfh .second { stroke: #c05621 }
"""


def page(recording: Recording) -> str:
    """The whole page."""
    began = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(recording.began))
    rows = [*recording]
    rest = _charts(rows, recording.machine) + _tables(rows)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width">{PAGE_MARK}'
        f"<style>body {{ margin: 2em auto; padding: 0 1em; max-width: 900px }}{_STYLE}</style></head>"
        f'<body><div class="cfh"><h1>Transfer report</h1><p>cloudfiles_hypha, began {escape(began)}</p>'
        f"{_summary(recording)}{rest}</div></body></html>\n"
    )


def fragment(recording: Recording) -> str:
    """What a notebook shows: the summary and two charts."""
    rows = [*recording]
    return f'<div class="cfh"><style>{_STYLE}</style>{_summary(recording)}{_throughput(rows)}{_concurrency(rows)}</div>'


def _shown(text: str) -> str:
    """A name from elsewhere, fit for a page: bounded, escaped, and nothing in it that turns the direction of text."""
    text = printable(scrub(text))
    return escape(text if len(text) <= _NAME else text[: _NAME // 2] + "..." + text[-_NAME // 2 :])


def _summary(recording: Recording) -> str:
    summary = recording.summary()
    lines = summary.lines()[:-1]
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{_shown(text)}</td></tr>" for name, text in lines)
    return f'<p class="why">Held back by <b>{escape(summary.held_back)}</b>: {escape(summary.because)}</p>' + (
        f"<table>{cells}</table>"
    )


# -- charts -----------------------------------------------------------------------------------------------------------


def _charts(rows: Sequence[Row], machine: Sequence[Sample]) -> str:
    parts = [
        "<h2>Throughput</h2><p>Bytes a second; an item's bytes are spread from its first byte to its end.</p>",
        _throughput(rows),
        "<h2>At once</h2><p>How many items were under way.</p>",
        _concurrency(rows),
        "<h2>First byte</h2><p>How many items waited how long for their first byte, or for their answer.</p>",
        _latency(rows),
        "<h2>Timeline</h2>",
        _timeline(rows),
    ]
    if machine:
        parts += [
            "<h2>This machine</h2><p>All its programs: received bytes a second (blue), sent (orange); then the CPUs' "
            "percentage.</p>",
            _machine(machine),
        ]
    return "".join(parts)


class _Frame:
    """Axes of one chart: from values to places, with lines and labels at round numbers."""

    def __init__(self, until: float, most: float, label: str, unit: str = "", height: int = _HEIGHT) -> None:
        self.until = until or 1.0
        self.most = most or 1.0
        self.height = height
        self._label = label
        self._unit = unit
        self._parts: list[str] = []

    def x(self, value: float) -> float:
        """Where on the page."""
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, max(0.0, value / self.until))

    def y(self, value: float) -> float:
        """Where on the page."""
        return self.height - _BOTTOM - (self.height - _TOP - _BOTTOM) * min(1.0, max(0.0, value / self.most))

    def add(self, part: str) -> None:
        """Something drawn."""
        self._parts.append(part)

    def curve(self, points: Iterable[tuple[float, float]], kind: str = "line", *, area: bool = False) -> None:
        """A line through points, with what is below it filled."""
        placed = [(self.x(at), self.y(value)) for at, value in points]
        if not placed:
            return
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        if area:
            base = self.y(0)
            self.add(
                f'<polygon class="area" points="{placed[0][0]:.1f},{base:.1f} {path} {placed[-1][0]:.1f},{base:.1f}"/>'
            )
        self.add(f'<polyline class="{kind}" points="{path}"/>')

    def svg(self, *, grid: bool = True) -> str:
        """The chart."""
        lines = []
        ticks = _ticks(self.most, 0.0 if self._unit else 1.0) if self._unit != "B/s" else _ticks_of_bytes(self.most)
        for value in ticks if grid else ():
            y = self.y(value)
            text = f"{human(value)}/s" if self._unit == "B/s" else f"{value:g}{self._unit}"
            lines.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            lines.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
        below = self.height - _BOTTOM + 15
        lines += [
            f'<text x="{self.x(value):.1f}" y="{below}" text-anchor="middle">{value:g} s</text>'
            for value in _ticks(self.until)
        ]
        return _svg(self.height, self._label, "".join(lines + self._parts))


def _svg(height: int, label: str, inner: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{inner}</svg>'
    )


def _ticks(most: float, least: float = 0.0) -> list[float]:
    """A few round numbers from 0 to no more than ``most``, and no less than ``least`` apart."""
    if most <= 0:
        return [0.0]
    step = 10.0 ** floor(log10(most / 4))
    step = max(least, step * next(factor for factor in (1, 2, 5, 10) if most / (step * factor) <= 5))
    return [float(f"{number * step:.6g}") for number in range(int(most / step + 1e-9) + 1)]


def _ticks_of_bytes(most: float) -> list[float]:
    """Likewise, round in the unit that ``human`` shows them in."""
    unit = 1.0
    while most / unit >= 1024 and unit < 2**40:
        unit *= 1024
    return [value * unit for value in _ticks(most / unit)]


def _end(rows: Sequence[Row]) -> float:
    return max((row.end for row in rows), default=0.0)


def _throughput(rows: Sequence[Row]) -> str:
    until = _end(rows)
    rates = binned(rows, until, _POINTS)
    frame = _Frame(until, max(rates, default=0.0), "bytes a second over time", "B/s")
    frame.curve((((number + 0.5) * until / _POINTS, rate) for number, rate in enumerate(rates)), area=True)
    return frame.svg()


def _concurrency(rows: Sequence[Row]) -> str:
    until = _end(rows)
    steps = levels(flying(rows))
    frame = _Frame(until, max((level for _, level in steps), default=0), "items under way over time")
    frame.curve(_thinned(steps, until), area=True)
    return frame.svg()


def _thinned(steps: Sequence[tuple[float, int]], until: float) -> list[tuple[float, float]]:
    """Steps as points of a line; where there are many, the mean of each stretch of time."""
    if len(steps) <= _POINTS:
        points: list[tuple[float, float]] = []
        for (at, level), before in zip(steps, [0, *(level for _, level in steps)], strict=False):
            points += [(at, before), (at, level)]
        return points
    width = until / _POINTS
    sums = [0.0] * _POINTS
    for (at, level), (end, _) in pairwise(steps):
        for number in range(int(at / width), min(_POINTS - 1, int(end / width)) + 1):
            sums[number] += level * max(0.0, min(end, (number + 1) * width) - max(at, number * width))
    return [((number + 0.5) * width, total / width) for number, total in enumerate(sums)]


def latencies(rows: Iterable[Row]) -> list[float]:
    """Seconds until the first byte of each item that was asked a server for; else until its end."""
    return [
        (row.first_byte if row.first_byte >= 0 else row.end) - row.start for row in rows if 0 <= row.start <= row.end
    ]


def _latency(rows: Sequence[Row]) -> str:
    values = [max(value, 1e-6) for value in latencies(rows)]
    if not values:
        return "<p>No item was begun.</p>"
    low, high = floor(log10(min(values)) * 5) / 5, ceil(log10(max(values)) * 5 + 1e-9) / 5
    count = max(1, round((high - low) * 10))  # ten bars for a factor of ten
    bars = [0] * count
    for value in values:
        bars[min(count - 1, int((log10(value) - low) * 10))] += 1
    width = (_WIDTH - _LEFT - _RIGHT) / count
    frame = _Frame(1.0, max(bars), "how many items waited how long")
    parts = []
    for value in _ticks(frame.most, 1.0):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for number, bar in enumerate(bars):
        top = frame.y(bar)
        parts.append(
            f'<rect class="bar" x="{_LEFT + number * width + 1:.1f}" y="{top:.1f}" width="{max(1.0, width - 2):.1f}" '
            f'height="{_HEIGHT - _BOTTOM - top:.1f}"/>'
        )
    every = max(1, ceil(count / 8))
    for number in range(0, count + 1, every):
        x = _LEFT + number * width
        text = seconds_text(10 ** (low + number / 10))
        anchor = "end" if number == count else "middle"
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="{anchor}">{text}</text>')
    return _svg(_HEIGHT, "how many items waited how long", "".join(parts))


def of_timeline(rows: Sequence[Row]) -> list[Row]:
    """Those that are drawn: all of few, of many every so many."""
    begun = [row for row in rows if 0 <= row.start <= row.end]
    return begun[:: max(1, ceil(len(begun) / _LINES))]


def _timeline(rows: Sequence[Row]) -> str:
    drawn = of_timeline(rows)
    until = _end(rows)
    workers = 1 + max((row.worker for row in drawn), default=0)
    line = max(2.0, min(14.0, 420 / workers))
    height = int(_TOP + _BOTTOM + line * min(workers, 200))
    frame = _Frame(until, 1.0, "each item in its worker's row", height=height)
    for row in drawn:
        if row.worker >= 200:
            continue
        y = _TOP + row.worker * line
        first = row.first_byte if row.start <= row.first_byte <= row.end else row.start
        start, middle, end = frame.x(row.start), frame.x(first), frame.x(row.end)
        if middle - start >= 0.3:
            frame.add(_rect("wait", start, y, middle - start, line))
        kind = "bad" if row.error else "move"
        frame.add(_rect(kind, middle, y, max(0.6, end - middle), line))
    text = f"{len(drawn):,} of {len(rows):,} items: " if len(drawn) < len(rows) else "Each item in its worker's row: "
    return f"<p>{text}waiting for the first byte (yellow), then until its end (blue); failed (red).</p>" + frame.svg(
        grid=False
    )


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(1.0, height - 1):.1f}"/>'


def _machine(machine: Sequence[Sample]) -> str:
    every = max(1, ceil(len(machine) / _POINTS))
    samples = machine[::every]
    until = machine[-1].at
    net = _Frame(until, max(max(each.received, each.sent) for each in samples), "network", "B/s")
    net.curve(((each.at, each.received) for each in samples), area=True)
    net.curve(((each.at, each.sent) for each in samples), "line second")
    cpu = _Frame(until, 100.0, "CPU", " %", height=130)
    cpu.curve(((each.at, each.cpu) for each in samples), area=True)
    return net.svg() + cpu.svg()


# -- tables -----------------------------------------------------------------------------------------------------------


def _tables(rows: Sequence[Row]) -> str:
    parts = []
    failed = [*islice((row for row in rows if row.error), _LISTED)]
    if failed:
        cells = "".join(
            f'<tr><td class="p">{_shown(row.path)}</td><td>{_shown(row.error)}</td>'
            f'<td class="n">{row.attempts}</td></tr>'
            for row in failed
        )
        parts.append(
            f"<h2>Failed</h2><p>{len(failed)} of {sum(row.error != '' for row in rows):,}.</p>"
            "<table><tr><th>name</th><th>error</th>"
            f'<th class="n">attempts</th></tr>{cells}</table>'
        )
    longest = sorted((row for row in rows if 0 <= row.start <= row.end), key=lambda row: row.start - row.end)[:_LISTED]
    if longest:
        cells = "".join(
            f'<tr><td class="p">{_shown(row.path)}</td><td class="n">{seconds_text(row.end - row.start)}</td>'
            f'<td class="n">{human(row.bytes)}</td><td class="n">{row.attempts}</td><td>{_shown(row.host)}</td></tr>'
            for row in longest
        )
        parts.append(
            '<h2>Longest</h2><table><tr><th>name</th><th class="n">time</th><th class="n">bytes</th>'
            f'<th class="n">attempts</th><th>server</th></tr>{cells}</table>'
        )
    hosts = sorted({row.host for row in rows if row.host})[:_LISTED]
    if hosts:
        cells = ""
        for host in hosts:
            of_host = [row for row in rows if row.host == host]
            half = percentiles(latencies(of_host), (50, 99))
            cells += (
                f'<tr><td>{_shown(host)}</td><td class="n">{len(of_host):,}</td>'
                f'<td class="n">{human(sum(row.bytes for row in of_host))}</td>'
                f'<td class="n">{seconds_text(half.get(50, 0.0))}</td><td class="n">{seconds_text(half.get(99, 0.0))}'
                "</td></tr>"
            )
        parts.append(
            '<h2>Servers</h2><table><tr><th>server</th><th class="n">items</th><th class="n">bytes</th>'
            f'<th class="n">half after</th><th class="n">99 % after</th></tr>{cells}</table>'
        )
    return "".join(parts)
