"""Charts of a recording by matplotlib, for those who want to change them; ``report`` draws without it."""

from __future__ import annotations

import os
from math import floor, log10
from typing import TYPE_CHECKING, Any

from .measures import binned, flying, levels
from .report import latencies, of_timeline

if TYPE_CHECKING:
    from .records import Recording

_BINS = 200


def _figure(rows: int = 1) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'charts need matplotlib: pip install "cloudfiles_hypha[plot]"; report(path) does without it'
        ) from error
    figure = Figure(figsize=(9, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(ax: Any) -> Any:
    return _figure().subplots() if ax is None else ax


def throughput(recording: Recording, ax: Any = None) -> Any:
    """Bytes a second over time."""
    ax = _axes(ax)
    rows = [*recording]
    until = max((row.end for row in rows), default=1.0)
    rates = binned(rows, until, _BINS)
    ax.fill_between([(number + 0.5) * until / _BINS for number in range(_BINS)], [rate / 2**20 for rate in rates])
    ax.set(title="Throughput", xlabel="seconds", ylabel="MiB/s", xlim=(0, until))
    ax.set_ylim(bottom=0)
    return ax


def concurrency(recording: Recording, ax: Any = None) -> Any:
    """How many items were under way over time."""
    ax = _axes(ax)
    steps = [(0.0, 0), *levels(flying(recording))]
    ax.step([at for at, _ in steps], [level for _, level in steps], where="post")
    ax.set(title="At once", xlabel="seconds", ylabel="items")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    return ax


def latency(recording: Recording, ax: Any = None) -> Any:
    """How many items waited how long for their first byte."""
    ax = _axes(ax)
    values = [max(1e-3, 1000 * value) for value in latencies(recording)]
    if values:
        low, high = (10.0**end for end in (floor(log10(min(values))), floor(log10(max(values))) + 1))
        ax.hist(values, bins=[low * (high / low) ** (number / 40) for number in range(41)])
        ax.set_xscale("log")
    ax.set(title="First byte", xlabel="milliseconds", ylabel="items")
    ax.yaxis.get_major_locator().set_params(integer=True)
    return ax


def timeline(recording: Recording, ax: Any = None) -> Any:
    """Each item, or every so many of many, as a line in its worker's row; failed ones are red."""
    ax = _axes(ax)
    rows = of_timeline([*recording])
    for colour, chosen in (("tab:blue", [r for r in rows if not r.error]), ("tab:red", [r for r in rows if r.error])):
        ax.hlines([r.worker for r in chosen], [r.start for r in chosen], [r.end for r in chosen], colour, linewidth=3)
    ax.set(title="Timeline", xlabel="seconds", ylabel="worker")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set_xlim(left=0)
    ax.set_ylim(-1, 1 + max((row.worker for row in rows), default=0))
    return ax


def together(recording: Recording, path: str | os.PathLike[str] | None = None) -> Any:
    """All four, below each other."""
    figure = _figure(4)
    for draw, ax in zip((throughput, concurrency, latency, timeline), figure.subplots(4), strict=True):
        draw(recording, ax)
    if path is not None:
        figure.savefig(path)
    return figure
