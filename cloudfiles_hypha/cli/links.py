"""``sign``: URLs by which others can read files for a while. Printed on request only, and nowhere else."""

from __future__ import annotations

import argparse

from ..errors import TransferError
from ..files import LONGEST_URL
from .commands import Commands
from .globs import files_named, full_name, locate_glob
from .places import Clients
from .report import Report, UsageError
from .uploads import age


def register(commands: Commands) -> None:
    """Add the command of this module."""
    command = commands.add("sign", sign, "Print URLs by which anybody can read files for a while.")
    command.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH", help="a file, or a glob in quotes")
    command.add_argument(
        "--expires", type=age, default=3600.0, metavar="AGE", help="how long: 90s, 30m, 12h, at most 7d (default: 1h)"
    )


def sign(options: argparse.Namespace, clients: Clients, report: Report) -> int:
    """A URL a line, in order."""
    lifetime = int(options.expires)
    if not 1 <= lifetime <= LONGEST_URL:
        raise UsageError("--expires: from 1s to 7d")
    places = [locate_glob(text) for text in options.cloudpaths]
    for place in places:
        if place.scheme not in ("s3", "hypha"):
            raise UsageError(f"{place.text}: only s3:// and hypha:// give URLs that others can read by")
    for place, name in files_named(places, clients, report):
        cf = clients(place)
        try:
            cf.head(name)  # a bucket signs any name
            url = cf.urls(name, lifetime)
        except TransferError as error:
            report.failed(full_name(place, name), error)
            continue
        report.tell(url, path=name, cloudpath=full_name(place, name), url=url, expires=lifetime)
    return report.code
