"""``alias``: names for endpoints and folders, kept in a file of the user's. Nothing is contacted."""

from __future__ import annotations

import argparse

from ..backends.aliases import add_alias, aliases, remove_alias
from .commands import Commands
from .report import OK, UsageError, say, say_json


def register(commands: Commands) -> None:
    """Add the command of this module."""
    verbs = commands.group(
        "alias",
        "Names for endpoints and folders: NAME://bucket/path.",
        {
            "add": (add, "Have NAME://rest mean TARGET followed by rest."),
            "ls": (ls, "List all aliases."),
            "rm": (rm, "Forget an alias."),
        },
    )
    for verb in ("add", "rm"):
        verbs[verb].add_argument("name", metavar="NAME")
    verbs["add"].add_argument("target", metavar="TARGET", help="how a cloudpath begins, as in s3://https://host/")


def add(options: argparse.Namespace) -> int:
    """Keep an alias."""
    add_alias(options.name, options.target, persistent=True)
    return OK


def ls(options: argparse.Namespace) -> int:
    """A line for each alias: its name, and what it stands for."""
    for name, target in sorted(aliases().items()):
        if options.json:
            say_json({"name": name, "target": target})
        else:
            say(f"{name}://", target)
    return OK


def rm(options: argparse.Namespace) -> int:
    """Forget an alias."""
    try:
        remove_alias(options.name, persistent=True)
    except KeyError as error:
        raise UsageError(str(error.args[0])) from None
    return OK
