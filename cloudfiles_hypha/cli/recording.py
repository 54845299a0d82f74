"""``--report`` and ``--chart``: a recording of what a command transfers, as a page or a picture."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec

from ..recording import record
from .commands import Run
from .report import Report, UsageError

_CHART_MARK = "atplotlib"  # its files say early on what wrote them, with a capital letter or without
_BEGINNING = 4096


def add_recording(command: argparse.ArgumentParser) -> None:
    """Let a command, whose ``run`` is set, be recorded."""
    command.add_argument("--report", metavar="FILE.html", help="write a page that shows how it went, and why so fast")
    command.add_argument("--chart", metavar="FILE.png", help="write the charts of it (needs matplotlib)")
    command.set_defaults(run=partial(_recorded, command.get_default("run")))


def _recorded(run: Run, options: argparse.Namespace, *given: object) -> int:
    report = next(each for each in given if isinstance(each, Report))
    with recording(options, report):
        return run(options, *given)


@contextmanager
def recording(options: argparse.Namespace, report: Report) -> Iterator[None]:
    """What is done meanwhile is recorded, where the options say so; also if it fails."""
    if options.report is None and options.chart is None:
        yield
        return
    from ..recording.report import PAGE_MARK  # only here: most do without it

    wanted = [
        (path, mark) for path, mark in ((options.report, PAGE_MARK), (options.chart, _CHART_MARK)) if path is not None
    ]
    for path, mark in wanted:  # before the first byte moves
        if path in ("", "-"):
            raise UsageError(f"{path!r}: reports and charts are written to files; name one")
        if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
            is_folder = os.path.isdir(path)
            raise UsageError(f"{path}: {'is a folder' if is_folder else 'there is no such folder to write it into'}")
        if not _may_replace(path, mark):  # the name was forgotten, say, so that it is a file to be copied
            raise UsageError(f"{path}: is there, and was not written by --report or --chart; name another file")
    if options.chart is not None and find_spec("matplotlib") is None:
        raise UsageError('--chart needs matplotlib: pip install "cloudfiles_hypha[plot]"; --report does without it')
    if options.chart is not None:
        _check_ending(options.chart)
    with record(machine=find_spec("psutil") is not None) as rec:
        try:
            yield
        finally:
            rec.close()
            _write(options.report, rec.report, report)
            _write(options.chart, rec.plot, report)


def _check_ending(path: str) -> None:
    """Refuse a name by which matplotlib cannot tell what to write; of one without an ending it makes another name."""
    from matplotlib.backend_bases import FigureCanvasBase  # only here: it takes long to load

    if os.path.splitext(path)[1].lower().removeprefix(".") not in FigureCanvasBase.get_supported_filetypes():
        raise UsageError(f"{path}: a chart's name says by its ending what it is: .png, .svg or .pdf")


def _may_replace(path: str, mark: str) -> bool:
    """Whether there is nothing to be lost at a path: no file, nothing in it, or what an earlier run has written."""
    if not os.path.isfile(path):
        return True
    with open(path, "rb") as file:
        begin = file.read(_BEGINNING)
    return not begin or mark.encode() in begin


def _write(path: str | None, write: Callable[[str], object], report: Report) -> None:
    if path is not None:
        try:
            write(path)
        except (OSError, ValueError) as error:
            report.failed(path, error)
