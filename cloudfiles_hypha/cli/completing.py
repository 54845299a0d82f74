"""``completion``: what a shell needs to complete commands, options and cloudpaths.

The scripts are small: they ask the program itself, whose parser knows best (so there is nothing that could be out of
date), and names of files are somewhere else anyway. What takes too long, or fails, completes nothing, in silence: a
person who types is not to wait, nor to find messages in the line.
"""

from __future__ import annotations

import argparse
import logging
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from ..redact import printable
from .commands import Commands, commands_for, options_of, verbs_of
from .report import OK, say
from .texts import COMMANDS

_SHELLS = ("bash", "zsh", "fish")
_PATIENCE = 2.0  # seconds
_MANY = 500  # names; more than that nobody reads
_SCHEMES = ("az://", "file:///", "gs://", "http://", "https://", "hypha://", "s3://")

_SCRIPTS = {
    # bash takes a colon for the end of a word, so words are taken from the line, and what is before it is cut off
    "bash": r"""
_cloudfiles_hypha() {
    local line=${COMP_LINE:0:COMP_POINT} word before="" found
    local -a words
    read -a words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]} - 1]}
    [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && before=${word%"${word##*:}"}
    COMPREPLY=()
    while IFS= read -r found; do
        found=${found#"$before"}
        COMPREPLY+=("$(printf '%q' "$found")")
    done < <(cloudfiles-hypha completion words -- "${words[@]:1}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o bashdefault -o default -F _cloudfiles_hypha cloudfiles-hypha cfh
""",
    "zsh": r"""
#compdef cloudfiles-hypha cfh
_cloudfiles_hypha() {
    local -a found
    found=("${(@f)$(cloudfiles-hypha completion words -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( $#found )); then
        compadd -S '' -- "${(@M)found:#*/}"
        compadd -- "${(@)found:#*/}"
    else
        _files
    fi
}
if [[ $funcstack[1] == _cloudfiles_hypha ]]; then
    _cloudfiles_hypha "$@"
else
    compdef _cloudfiles_hypha cloudfiles-hypha cfh
fi
""",
    "fish": r"""
function __cloudfiles_hypha
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    cloudfiles-hypha completion words -- $before[2..-1] "$word" 2>/dev/null
end
complete -c cloudfiles-hypha -a '(__cloudfiles_hypha)'
complete -c cfh -a '(__cloudfiles_hypha)'
""",
}


def register(commands: Commands) -> None:
    """Add the command of this module."""
    command = commands.add("completion", completion, COMMANDS["completion"].text, cloud=False)
    command.add_argument(
        "shell",
        choices=(*_SHELLS, "words"),
        metavar="SHELL",
        help="bash, zsh or fish; words is what their scripts ask for",
    )
    command.add_argument(
        "words", nargs="*", default=[], metavar="WORD", help="of the command line so far; the last one is complete"
    )


def completion(options: argparse.Namespace) -> int:
    """Print the script for a shell, or how the last word could go on, a line each."""
    if options.shell != "words":
        for line in _SCRIPTS[options.shell].strip().splitlines():
            say(line)
        return OK
    for text in sorted(set(candidates(options.words))):
        if printable(text) == text:  # anything else would be another name in the shell
            say(text)
    return OK


def candidates(words: Sequence[str]) -> list[str]:
    """How the last of these words, which may be empty, could go on; none of where files of this machine are meant."""
    *before, last = words or [""]
    commands = commands_for(before)
    parser = commands.find(before)
    if before[:1] == ["help"]:
        parser = commands_for(before[1:]).find(before[1:])
        return [name for name in verbs_of(parser) if name.startswith(last)]
    previous = parser._option_string_actions.get(before[-1]) if before else None
    if previous is not None and previous.nargs is None:  # it takes a value
        return [str(choice) for choice in previous.choices or () if str(choice).startswith(last)]
    if last.startswith("-") and last != "-":
        return [option for option in options_of(parser) if option.startswith(last)]
    if below := verbs_of(parser):
        return [name for name in below if name.startswith(last)]
    if not parser.get_default("on_cloud"):
        choices = [str(choice) for action in parser._actions for choice in _choices(action)]
        return [choice for choice in choices if choice.startswith(last)] if len(before) == 1 else []
    if "://" in last:
        with _in_time():
            return _remote(last)
    if ":" in last:  # until there is one it may be the name of a file
        from ..backends.aliases import aliases

        return [name for name in (*_SCHEMES, *(f"{alias}://" for alias in aliases())) if name.startswith(last)]
    return []


def _choices(action: argparse.Action) -> Sequence[object]:
    return () if action.option_strings or action.choices is None else tuple(action.choices)


def _remote(text: str) -> list[str]:
    from .configuration import defaults
    from .places import Clients, locate

    folder = text[: text.rindex("/") + 1]
    try:
        configured = defaults(Commands().shared)
        options = argparse.Namespace(**{name: known.value for name, known in configured.items()})
        options.configured_server, options.server_url = configured["server_url"], None
        options.num_threads, options.retry_for, options.patient = 2, 0, True
        place = locate(folder)
        with Clients(options) as clients:
            names = clients(place).list(place.prefix + text[len(folder) :], flat=True)
            return [folder + name[len(place.prefix) :] for name in islice(names, _MANY)]
    except (OSError, ValueError, RuntimeError):
        return []


@contextmanager
def _in_time() -> Iterator[None]:
    """Ends the program, in silence, if what is within takes too long, wherever it hangs."""
    timer = threading.Timer(_PATIENCE, os._exit, (OK,))
    timer.daemon = True
    log = logging.getLogger("cloudfiles_hypha")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    timer.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        timer.cancel()
        timer.join()
        log.setLevel(level)
