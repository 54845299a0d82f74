"""``config``: what is configured, and by whom. Shows no token, and contacts nothing."""

from __future__ import annotations

import argparse

from ..credentials import ambient_server
from .commands import Commands
from .configuration import config_file, defaults, shown
from .report import OK, say, say_json
from .texts import COMMANDS


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.add("config", config, COMMANDS["config"].text, cloud=False)


def config(options: argparse.Namespace) -> int:
    """A line for each option: its name, what it is, and who says so; then the file, and whether it is there."""
    rows = [(name, *found) for name, found in defaults(Commands().shared).items()]
    for name, value, source, _ in rows:
        if name == "server_url" and value is None:
            value, source = ambient_server()
        if options.json:
            value = shown(value) if isinstance(value, str) else value
            say_json({"option": name, "value": value, "source": source})
        else:
            say(name, shown(value), source)
    if not options.json:
        file = config_file()
        say("file", str(file), "" if file.exists() else "not there")
    return OK
