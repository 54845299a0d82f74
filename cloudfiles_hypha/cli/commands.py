"""How commands are registered: their names, their help, and the options that many of them share.

Each module of commands has ``register(commands)``, which adds what it has. A new group of commands is a module of its
own, named in ``main``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from .report import PROGRAM

Run = Callable[..., int]


class Commands:
    """The commands of the program; ``parser`` takes arguments apart."""

    def __init__(self) -> None:
        self.parser = argparse.ArgumentParser(
            prog=PROGRAM,
            description="Bulk transfer for Hypha artifacts, buckets, folders and web servers.",
            epilog="A CLOUDPATH is hypha://workspace/alias[@version][/path], s3://bucket[/path], "
            "s3://https://host/bucket[/path], gs://, az://, file:///folder, mem://bucket[/path] or "
            "http(s)://host/path. The token is taken from the environment (HYPHA_TOKEN), and so is the server "
            "(HYPHA_SERVER_URL). Exit codes: 0 all went well, 1 some item failed or is not published, 2 not begun, "
            "130 interrupted.",
        )
        self._commands = self.parser.add_subparsers(metavar="COMMAND", required=True)
        self._says = _says()
        self._reach = _reach()
        self._bars = _bars()

    def add(
        self, name: str, run: Run, text: str, *, cloud: bool = True, bars: bool = False, sizes: bool = False
    ) -> argparse.ArgumentParser:
        """A command, whose ``run`` is given the options, and if it is of the ``cloud`` clients and a report as well.

        ``bars`` says that it shows progress, ``sizes`` that it shows sizes: then ``-h`` is how it does, as elsewhere.
        """
        shared = ((self._says, True), (self._reach, cloud), (self._bars, bars))
        parents = [parent for parent, wanted in shared if wanted]
        command: argparse.ArgumentParser = self._commands.add_parser(
            name, help=text, description=text, parents=parents, add_help=not sizes
        )
        if sizes:
            command.add_argument("--help", action="help", help="show this help message and exit")
            command.add_argument("-h", "--human", action="store_true", help="sizes as 1.5KiB")
        command.set_defaults(run=run, on_cloud=cloud)
        return command

    def group(self, name: str, text: str, verbs: dict[str, tuple[Run, str]]) -> dict[str, argparse.ArgumentParser]:
        """A command with verbs of its own, none of which needs a client."""
        made = self._commands.add_parser(name, help=text, description=text).add_subparsers(
            metavar="VERB", required=True
        )
        found: dict[str, argparse.ArgumentParser] = {}
        for verb, (run, what) in verbs.items():
            found[verb] = made.add_parser(verb, help=what, description=what, parents=[self._says])
            found[verb].set_defaults(run=run, on_cloud=False)
        return found


def whole_number(least: int) -> Callable[[str], int]:
    """A type of argument."""

    def whole_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise ValueError(text)
        return number

    return whole_number


def add_patterns(command: argparse.ArgumentParser) -> None:
    """Which names are meant."""
    for kind, text in (("include", "only names that match; may be given more than once"), ("exclude", "but these")):
        command.add_argument(f"--{kind}", action="append", metavar="GLOB", help=text)


def add_writing(command: argparse.ArgumentParser) -> None:
    """What a commit is to be."""
    command.add_argument("--create", action="store_true", help="make the artifact if there is none")
    command.add_argument("--comment", metavar="TEXT", help="what the commit says")


def _says() -> argparse.ArgumentParser:
    says = argparse.ArgumentParser(add_help=False)
    says.add_argument("--json", action="store_true", help="standard output is one JSON object a line, for programs")
    loud = says.add_mutually_exclusive_group()
    loud.add_argument("-v", "--verbose", action="store_true", help="say what is done with each item, and each retry")
    loud.add_argument("-q", "--quiet", action="store_true", help="say errors only, and show no progress")
    return says


def _reach() -> argparse.ArgumentParser:
    reach = argparse.ArgumentParser(add_help=False)
    reach.add_argument("--server-url", metavar="URL", help="the Hypha server, if not that of HYPHA_SERVER_URL")
    reach.add_argument(
        "--num-threads", type=whole_number(0), default=20, metavar="N", help="transfers at once (default: 20)"
    )
    reach.add_argument(
        "--retry-for",
        type=whole_number(0),
        default=300,
        metavar="SECONDS",
        help="how long a server may be out of reach before an item is given up (default: 300)",
    )
    return reach


def _bars() -> argparse.ArgumentParser:
    bars = argparse.ArgumentParser(add_help=False)
    bars.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")
    return bars
