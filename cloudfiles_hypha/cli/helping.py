"""``help``: how a command is used, with examples."""

from __future__ import annotations

import argparse

from .commands import Commands, commands_for
from .report import NOT_BEGUN, OK, say


def register(commands: Commands) -> None:
    """Add the command of this module."""
    command = commands.add("help", show, "Show how a command is used, with examples.", cloud=False)
    command.add_argument("words", nargs="*", metavar="COMMAND", help="a command, or nothing for a list of all")


def show(options: argparse.Namespace) -> int:
    """Print the help of the program, of a command, or of a verb of a command."""
    commands = commands_for(options.words[:1])
    parser = commands.find(options.words)
    if parser.prog.split()[1:] != options.words:
        try:
            commands.parse([*options.words, "--help"])
        except SystemExit:  # what is wrong with them has been said
            return NOT_BEGUN
    for line in parser.format_help().splitlines():
        say(line)
    return OK
