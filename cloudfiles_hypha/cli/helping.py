"""``help``: how a command is used, with examples; and the same of all commands as a page of the manual."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from .. import __version__
from .commands import Commands, all_commands, commands_for, verbs_of
from .report import NOT_BEGUN, OK, PROGRAM, UsageError, say
from .texts import COMMANDS


def register(commands: Commands) -> None:
    """Add the command of this module."""
    command = commands.add("help", show, "Show how a command is used, with examples.", cloud=False)
    command.add_argument("words", nargs="*", metavar="COMMAND", help="a command, or nothing for a list of all")
    command.add_argument("--man", action="store_true", help="all of it as a page of the manual, in roff")


def show(options: argparse.Namespace) -> int:
    """Print the help of the program, of a command, or of a verb of a command."""
    if options.man:
        if options.words:
            raise UsageError("--man: there is one page for all commands")
        for line in manual(all_commands().parser):
            say(line)
        return OK
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


def manual(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The page of the manual, in roff; without a date, so that it is the same whenever it is made."""
    yield f'.TH {_roff(PROGRAM.upper())} 1 "" "{PROGRAM} {__version__}" "User Commands"'
    yield ".SH NAME"
    yield f"{_roff(PROGRAM)} \\- {_roff((parser.description or '').rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield from (f".B {_roff(PROGRAM)}", _roff("[-h] [-V] COMMAND ..."))
    yield ".SH DESCRIPTION"
    yield _roff(parser.epilog or "")
    yield ".SH COMMANDS"
    for name, command in verbs_of(parser).items():
        yield from _of_command(name, command)
        for verb, below in verbs_of(command).items():
            yield from _of_command(f"{name} {verb}", below)


def _of_command(words: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield f'.SS "{_roff(words)}"'
    yield _roff(command.description or "")
    formatter = argparse.HelpFormatter(command.prog)
    for action in command._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        yield ".TP"
        yield f".B {_roff(formatter._format_action_invocation(action))}"
        yield _roff(formatter._expand_help(action) if action.help else "") or "\\&"
    about = COMMANDS.get(words)
    if about is not None and about.examples:
        yield from (".PP", "Examples:", ".PP", ".nf")
        yield from (_roff(f"{PROGRAM} {example}") for example in about.examples)
        yield ".fi"


def _roff(text: str) -> str:
    """Text as roff has it: nothing in it is a command or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith((".", "'")) else text
