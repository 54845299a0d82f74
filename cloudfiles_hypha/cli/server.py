"""``serve`` and ``demo``: a Hypha server on this machine."""

from __future__ import annotations

import argparse
import sys

from .report import PROGRAM, OutputError


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
