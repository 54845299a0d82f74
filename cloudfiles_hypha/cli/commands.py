"""How commands are registered: their names, their help, and the options that many of them share.

Each module of commands has ``register(commands)``, which adds what it has. A new group of commands is a module of its
own, named in ``texts``, which also has the examples; a module is loaded when a command of it is asked for.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

from .. import __version__
from .report import NOT_BEGUN, PROGRAM, complain
from .texts import COMMANDS, MODULES

Run = Callable[..., int]

_INVALID = re.compile(r"argument (\S+): invalid (\w+) value: (.*)", re.DOTALL)
_NO_VALUE = re.compile(r"argument (\S+): ignored explicit argument (.*)", re.DOTALL)
_KINDS = {
    "age": "an age, as 90s, 30m, 12h or 7d",
    "byte_rate": "a rate, as 10M or 500K: bytes a second",
    "byte_size": "a size, as 500000, 64M or 2GiB",
    "codec_and_level": "a codec, as gzip, or zstd:19 with a level",
    "int": "a whole number",
}


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say it on standard error, with the command that tells more, and end."""
        if found := _INVALID.fullmatch(message):  # argparse names the function that did not take it
            message = f"{found[1]}: {found[3]} is not {_KINDS.get(found[2], 'what it takes')}"
        elif found := _NO_VALUE.fullmatch(message):  # nothing is ignored: this is an error
            message = f"{found[1]}: takes no value, and is given {found[2]}"
        words = self.prog.split()[1:]
        message += "" if message.endswith("?") else ";"
        complain(": ".join((*words[:1], f"{message} see: {shlex.join([PROGRAM, 'help', *words])}")))
        raise SystemExit(NOT_BEGUN)


def commands_for(words: Sequence[str]) -> Commands:
    """What it takes to understand these arguments: the module of the command, or for none of them only their names."""
    commands = Commands()
    first = next((word for word in words if not word.startswith("-")), None)
    if first is None:
        for name, about in COMMANDS.items():
            commands.name(name, about.text)
        return commands
    for module in (COMMANDS[first].module,) if first in COMMANDS else MODULES:
        importlib.import_module(f".{module}", __package__).register(commands)
    return commands


def all_commands() -> Commands:
    """Every command there is."""
    commands = Commands()
    for module in MODULES:
        importlib.import_module(f".{module}", __package__).register(commands)
    return commands


class Commands:
    """The commands of the program; ``parser`` takes arguments apart."""

    def __init__(self) -> None:
        self.parser = Parser(
            prog=PROGRAM,
            description="Bulk transfer for Hypha artifacts, buckets, folders and web servers.",
            epilog="A CLOUDPATH is hypha://workspace/alias[@version][/path], s3://bucket[/path], "
            "s3://https://host/bucket[/path], gs://, az://, file:///folder, mem://bucket[/path] or "
            "http(s)://host/path. The token is that of the environment (HYPHA_TOKEN), or the one that login has kept; "
            "the server is that of the environment (HYPHA_SERVER_URL), or the one that config shows. Exit codes: 0 all "
            "went well, 1 some item failed or is not published, 2 not begun, 130 interrupted. cfh is short for "
            "cloudfiles-hypha.",
        )
        self.parser.add_argument("-V", "--version", action="version", version=f"{PROGRAM} {__version__}")
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
        command = self._add(self._commands, name, text, parents, name, add_help=not sizes)
        if sizes:
            command.add_argument("--help", action="help", help="show this help message and exit")
            command.add_argument("-h", "--human", action="store_true", help="sizes as 1.5KiB")
        command.set_defaults(run=run, on_cloud=cloud, command=name)
        return command

    @property
    def shared(self) -> list[argparse.Action]:
        """The options that more than one command has, which have defaults in the configuration."""
        return [action for parent in (self._says, self._reach, self._bars) for action in parent._actions]

    def configure(self, values: Mapping[str, object]) -> None:
        """Change what shared options are by default."""
        for action in self.shared:
            action.default = values.get(action.dest, action.default)

    def name(self, name: str, text: str) -> None:
        """A command that is only to be listed."""
        self._commands.add_parser(name, help=text, add_help=False)

    def group(self, name: str, text: str, verbs: dict[str, tuple[Run, str]]) -> dict[str, argparse.ArgumentParser]:
        """A command with verbs of its own, none of which needs a client."""
        made = self._add(self._commands, name, text, [], name).add_subparsers(
            metavar=f"{{{','.join(verbs)}}}", required=True
        )
        found: dict[str, argparse.ArgumentParser] = {}
        for verb, (run, what) in verbs.items():
            found[verb] = self._add(made, verb, what, [self._says], f"{name} {verb}")
            found[verb].set_defaults(run=run, on_cloud=False)
        return found

    @staticmethod
    def _add(
        where: argparse._SubParsersAction[Parser],
        name: str,
        text: str,
        parents: list[Parser],
        words: str,
        *,
        add_help: bool = True,
    ) -> Parser:
        return where.add_parser(
            name,
            add_help=add_help,
            help=text,
            description=text,
            parents=parents,
            epilog=_epilog(words),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Take arguments apart, or say what is wrong with them and raise ``SystemExit``."""
        self._refuse_typos(words)
        options, unknown = self.parser.parse_known_args(words)
        if unknown:
            parser, word = self.find(words), unknown[0]
            if word.startswith("-"):
                self._refuse(parser, word)
            parser.error(f"{word!r}: one argument too many")
        return options

    def find(self, words: Sequence[str]) -> argparse.ArgumentParser:
        """The parser of the command, or of the verb of a command, that these words begin with."""
        parser: argparse.ArgumentParser = self.parser
        for word in words:
            if word not in (below := verbs_of(parser)):
                break
            parser = below[word]
        return parser

    def _refuse(self, parser: argparse.ArgumentParser, option: str) -> NoReturn:
        if parser is self.parser and any(option in action.option_strings for action in self.shared):
            parser.error(f"{option}: belongs behind the command")
        known, other = options_of(parser), option.swapcase()
        if option.startswith("--"):
            near = _nearest(option, [name for name in known if name.startswith("--")])
        else:
            near = f"; did you mean {other}?" if other in known else ""
        parser.error(f"{option}: no such option{near}")

    def _refuse_typos(self, words: Sequence[str]) -> None:
        """Before argparse looks, which would first complain of what is missing because of it."""
        parser: argparse.ArgumentParser = self.parser
        for word in words:
            if word == "--":
                return
            name, below = word.partition("=")[0], verbs_of(parser)
            if word.startswith("--") and " " not in word:
                known = options_of(parser)
                if not any(option.startswith(name) for option in known):
                    self._refuse(parser, name)
            elif word.startswith("-") and len(word) > 2 and " " not in word:
                self._refuse_letters(parser, word)
            elif below and not word.startswith("-"):
                if word not in below:
                    names = below if parser is not self.parser else {**COMMANDS, **below}
                    parser.error(f"{word!r}: no such command{_nearest(word, names)}")
                parser = below[word]

    def _refuse_letters(self, parser: argparse.ArgumentParser, word: str) -> None:
        """Of ``-rf``, the letter that is no option; before Python 3.13 argparse complained of the one before it."""
        known = parser._option_string_actions
        for number, letter in enumerate(word[1:]):
            action = known.get(f"-{letter}")
            if action is None and number:
                self._refuse(parser, f"-{letter}")
            if action is None or action.nargs != 0:  # a word of another kind, or what follows is a value
                return


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of the program, or the verbs of a command; of most commands none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    """The options of a command, as they are written."""
    return list(parser._option_string_actions)


def _nearest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {found[0]}?" if found else ""


def _epilog(words: str) -> str | None:
    about = COMMANDS.get(words.split()[0])
    examples = [line for line in (about.examples if about else ()) if f"{line} ".startswith(f"{words} ")]
    return "\n".join(("examples:", *(f"  {PROGRAM} {line}" for line in examples))) if examples else None


def whole_number(least: int) -> Callable[[str], int]:
    """A type of argument."""

    def whole_number(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
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


def _says() -> Parser:
    says = Parser(add_help=False)
    _flag(says, "json", False, "standard output is one JSON object a line, for programs")
    loud = says.add_mutually_exclusive_group()
    loud.add_argument("-v", "--verbose", action="store_true", help="say what is done with each item, and each retry")
    loud.add_argument("-q", "--quiet", action="store_true", help="say errors only, and show no progress")
    return says


def _reach() -> Parser:
    reach = Parser(add_help=False)
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
    _flag(reach, "use-proxy", None, "bytes pass through the Hypha server, for a store that cannot be reached from here")
    reach.add_argument(
        "--use-local-url",
        type=_local_url,
        metavar="URL",
        help="true: the URLs of the store are as in the network of the Hypha server; a URL: it stands in their place",
    )
    return reach


def _local_url(text: str) -> bool | str:
    from ..credentials import local_url  # only here: most do without it

    return local_url(text, "--use-local-url")


def _bars() -> Parser:
    bars = Parser(add_help=False)
    _flag(bars, "progress", True, "a progress bar")
    return bars


def _flag(parser: Parser, name: str, default: bool | None, text: str) -> None:
    """``--name`` and ``--no-name``: the one that is the default is for those whose configuration says otherwise."""
    for option, value in ((name, True), (f"no-{name}", False)):
        kind = "store_true" if value else "store_false"
        about = (text if value else f"the opposite of --{name}") + (" (default)" if value is default else "")
        parser.add_argument(f"--{option}", dest=name.replace("-", "_"), action=kind, default=default, help=about)
