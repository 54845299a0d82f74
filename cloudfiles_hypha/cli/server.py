"""``serve`` and ``demo``: a Hypha server on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .commands import Commands, whole_number
from .report import PROGRAM, OutputError


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    command = commands.add(
        "serve", serve, "Run a Hypha server on this machine and print the environment to use.", cloud=False
    )
    command.add_argument("--directory", type=Path, metavar="DIR", help="keep its data here (default: a temporary one)")
    command.add_argument("--workspace", default="demo", metavar="NAME", help="workspace to make (default: demo)")
    command = commands.add(
        "demo", demo, "Start a server, put and get generated files, verify them, stop it.", cloud=False
    )
    command.add_argument("--files", type=whole_number(3), default=300, metavar="N", help="how many (default: 300)")
    command.add_argument(
        "--size", type=whole_number(2), default=16_384, metavar="BYTES", help="mean size (default: 16384)"
    )


def serve(options: argparse.Namespace) -> int:
    """Run the embedded server until it is told to stop."""
    from ..devserver.server import serve as run_server

    if sys.stderr is not None:
        print(f"{PROGRAM}: starting; Ctrl-C stops. The environment to use follows.", file=sys.stderr, flush=True)
    if sys.stdout is None:
        raise OutputError("standard output is closed: there is nowhere to write the environment to")
    return run_server(options.directory, out=sys.stdout, workspace=options.workspace)


def demo(options: argparse.Namespace) -> int:
    """Give the tour."""
    from ..devserver.demo import run_demo

    if sys.stdout is None:
        raise OutputError("standard output is closed")
    return run_demo(count=options.files, size=options.size, out=sys.stdout)
