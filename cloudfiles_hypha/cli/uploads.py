"""``uploads``: what a bucket keeps of uploads in parts that were never completed; and having it forget that.

Aborts nothing without being told from which age on: whether somebody on another machine is at an upload, nobody knows.
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime, timezone

from ..results import UnfinishedUpload
from .commands import Commands
from .places import Clients, locate
from .report import Report, UsageError


def register(commands: Commands) -> None:
    """Add the command of this module."""
    command = commands.add("uploads", uploads, "List uploads in parts that were not completed.")
    command.add_argument("cloudpath", metavar="CLOUDPATH", help="a bucket, or what names in it begin with")
    command.add_argument("--abort", action="store_true", help="have the bucket forget them")
    command.add_argument("--older-than", type=age, metavar="AGE", help="begun before: 90s, 30m, 12h, 7d")


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def age(text: str) -> float:
    """Seconds: ``90s``, ``30m``, ``12h``, ``7d``, or a number of them."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    if not number.isdecimal():
        raise ValueError(text)
    return float(int(number) * _UNITS[unit])


def uploads(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """List unfinished uploads, a line each, fields separated by tabs; or abort them."""
    place = locate(options.cloudpath)
    if place.scheme != "s3":
        raise UsageError(f"{options.cloudpath}: only buckets (s3://) tell of unfinished uploads")
    if options.abort and options.older_than is None:
        raise UsageError("--abort needs --older-than, such as 7d; 0s means all that are not being made on this machine")
    cf = clients(place)
    before = time.time() - (options.older_than or 0)
    prefix = place.prefix if place.folder else place.name
    found = [each for each in cf.uploads(prefix) if options.older_than is None or (each.initiated or before) < before]
    if not options.abort:
        for each in found:
            when, whose = _when(each), _whose(each)
            report.tell(when or "-", whose, each.id, each.path, path=each.path, initiated=when, whose=whose, id=each.id)
        return report.code
    for result in cf.abort_uploads(found, raise_errors=False):
        if result["error"] is not None:
            report.failed(result["path"], result["error"])
        else:
            upload: str = result["tags"].id  # type: ignore[attr-defined]
            report.tell("aborted", upload, result["path"], path=result["path"], id=upload, aborted=True)
    return report.code


def _when(upload: UnfinishedUpload) -> str | None:
    if upload.initiated is None:
        return None
    return datetime.fromtimestamp(upload.initiated, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _whose(upload: UnfinishedUpload) -> str:
    return "running" if upload.running else "ours" if upload.ours else "unknown"
