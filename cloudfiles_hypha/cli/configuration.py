"""Defaults of the options that commands share: from a file, and from the environment.

An option on the command line is stronger than the environment, that than the file, and that than what is built in.
The file is INI: people write it by hand, and want comments in it, which JSON has not; TOML needs a newer Python than
this package does. No secret belongs in it: tokens have a file of their own.
"""

from __future__ import annotations

import argparse
import configparser
import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ..redact import without_credentials
from .report import UsageError

CONFIG_FILE = Path("~/.config/cloudfiles_hypha/config.ini")
SECTION = "defaults"
_PREFIX = "CLOUDFILES_HYPHA_"
# Variables that are no defaults of options: the file, an authority of our own, the Python that has a Hypha server.
_OTHERS = ("CONFIG", "CA_BUNDLE", "SERVER_PYTHON")
# What the library reads by itself, where no argument says it.
_LIBRARY = {
    "server_url": "HYPHA_SERVER_URL",
    "use_proxy": "HYPHA_USE_PROXY",
    "use_local_url": "HYPHA_USE_LOCAL_URL",
}
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Default(NamedTuple):
    """What an option is, if it is not given on the command line."""

    value: object
    source: str  # "default", the name of a variable, or FILE:LINE
    rank: int  # 0 built in, 1 of the file, 2 of the environment


class _Given(NamedTuple):
    text: str
    source: str


def config_file() -> Path:
    """The file that is read, whether it is there or not; ``CLOUDFILES_HYPHA_CONFIG`` names another one."""
    named = os.environ.get(f"{_PREFIX}CONFIG")
    try:
        return Path(named or CONFIG_FILE).expanduser()
    except RuntimeError:  # who has no home has no file there
        return Path(os.devnull)


def defaults(options: Iterable[argparse.Action]) -> dict[str, Default]:
    """What each of these options is by default; ``UsageError`` says where something is that makes no sense."""
    actions = {action.dest: action for action in options if action.const is not False}
    in_file = _read(config_file(), actions)
    found = {}
    for name, action in actions.items():
        variable = f"{_PREFIX}{name.upper()}"
        if text := os.environ.get(variable, "").strip():
            found[name] = Default(_value(action, _Given(text, variable)), variable, 2)
        elif name in _LIBRARY and os.environ.get(_LIBRARY[name], "").strip():
            # not made an option: the library has rules of its own, as for a server that stands beside a token
            found[name] = Default(None, _LIBRARY[name], 2)
        elif name in in_file:
            found[name] = Default(_value(action, in_file[name]), in_file[name].source, 1)
        else:
            found[name] = Default(action.default, "default", 0)
    return found


def unknown_variables(options: Iterable[argparse.Action]) -> dict[str, str]:
    """Variables that begin as ours do and that nothing reads, each with the known one that is nearest, or ""."""
    known = [*_OTHERS, *sorted({action.dest.upper() for action in options})]
    strange = {}
    for variable in sorted(os.environ):
        name = variable.removeprefix(_PREFIX)
        if variable != name and name not in known and os.environ[variable]:
            near = difflib.get_close_matches(name, known, 1)
            strange[variable] = f"{_PREFIX}{near[0]}" if near else ""
    return strange


def _value(action: argparse.Action, given: _Given) -> object:
    """The text as the option would take it; without the text in what is raised, which may have a password in it."""
    if action.const is True:  # a flag
        if given.text.lower() not in _WORDS:
            raise UsageError(f"{given.source}: {action.dest} is true or false")
        return _WORDS[given.text.lower()]
    try:
        value: object = action.type(given.text) if callable(action.type) else given.text
    except (ValueError, TypeError, argparse.ArgumentTypeError):
        raise UsageError(f"{given.source}: not what {action.option_strings[-1]} takes: {action.help}") from None
    if action.choices is not None and value not in action.choices:
        raise UsageError(f"{given.source}: {action.dest} is one of {', '.join(map(str, action.choices))}")
    return value


def _read(path: Path, known: Mapping[str, object]) -> dict[str, _Given]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if f"{_PREFIX}CONFIG" in os.environ:
            raise UsageError(f"{path}: no such file, and {_PREFIX}CONFIG names it") from None
        return {}
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: not a text in UTF-8") from None
    parser = configparser.ConfigParser(interpolation=None, default_section="", inline_comment_prefixes=("#", ";"))
    parser.optionxform = _plain  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise UsageError(f"{path}:{_line_of(error)}: {_reason(error)}") from None
    found = {}
    for section in parser.sections():
        if section != SECTION:
            line = _line(text, rf"\s*\[{re.escape(section)}\]")
            raise UsageError(f"{path}:{line}: there is one section only, [{SECTION}]")
        for name, value in parser[section].items():
            line = _line(text, re.escape(name).replace("_", "[-_]") + r"\s*[=:]")
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
                raise UsageError(f"{path}:{line}: {name}: no such option{hint}")
            found[name] = _Given(value, f"{path}:{line}")
    return found


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _line(text: str, pattern: str) -> int:
    found = (number for number, line in enumerate(text.splitlines(), 1) if re.match(pattern, line, re.IGNORECASE))
    return next(found, 1)


def _line_of(error: configparser.Error) -> int:
    number = getattr(error, "lineno", None)
    if number is None and isinstance(error, configparser.ParsingError) and error.errors:
        number = error.errors[0][0]
    return int(number or 1)


def _reason(error: configparser.Error) -> str:
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"[{SECTION}] has to stand above the first option"
    if isinstance(error, configparser.DuplicateOptionError):
        return f"{error.option} is there twice"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"[{error.section}] is there twice"
    return "expected a line NAME = VALUE"


def shown(value: object) -> str:
    """A value as the file would have it, without what is secret."""
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else without_credentials(str(value))
