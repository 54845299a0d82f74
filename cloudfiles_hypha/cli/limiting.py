"""``--limit-rate``: one account for all clients of a command, so that what it reads and writes counts together."""

from __future__ import annotations

import argparse

from ..backends import resolved
from ..limit import RateLimit
from ..paths import split_scheme
from .choosing import byte_size
from .places import is_cloudpath
from .report import UsageError

_HERE = ("file", "mem")


def add_limit(command: argparse.ArgumentParser) -> None:
    """How fast bytes may move."""
    command.add_argument(
        "--limit-rate",
        type=byte_rate,
        metavar="RATE",
        help="bytes a second, up and down together, as 10M or 500K; at least 16K",
    )


def byte_rate(text: str) -> RateLimit:
    """A type of argument: bytes a second, written as sizes are."""
    size = byte_size(text)
    try:
        return RateLimit(size)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: at least 16K bytes a second") from error


def check_limit(options: argparse.Namespace, *texts: str) -> None:
    """Refuse a limit where nothing goes over a network: what a disk is read and written by is not limited."""
    if options.limit_rate is not None and all(
        not is_cloudpath(text) or split_scheme(resolved(text))[0] in _HERE for text in texts
    ):
        raise UsageError("--limit-rate is for what goes over a network; a disk and memory are not limited")
