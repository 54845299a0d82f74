"""What the command line says: lines on standard error, output, and what a run amounts to.

What comes from elsewhere (names, messages of servers) never reaches a terminal as it is, and a stream that is closed,
full or gone is not a reason to fail in another way than the tools beside this one do.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TextIO

from ..errors import StagedWarning, TransferError
from ..redact import printable, scrub
from ..results import FileResult, Result

PROGRAM = "cloudfiles-hypha"
OK, SOME_FAILED, NOT_BEGUN, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141

# Control characters, those that turn the direction of writing, line separators, and halves of characters.


class UsageError(ValueError):
    """What was asked for makes no sense; nothing has been done."""


class OutputError(OSError):
    """Standard output cannot be written to."""


def complain(text: str) -> None:
    """One line on standard error, with nothing secret in it."""
    try:
        print(f"{PROGRAM}: {scrub(text, [os.environ.get('HYPHA_TOKEN')])}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # closed, full or gone: there is nowhere to say that
        _give_up_on(sys.stderr)


def say(*fields: str) -> None:
    """One line on standard output, of fields separated by tabs."""
    try:
        print("\t".join(map(printable, fields)))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


def say_json(facts: Mapping[str, object]) -> None:
    """One line on standard output: a JSON object, in ASCII, so that nothing in it reaches a terminal as it is."""
    try:
        print(json.dumps(facts, default=str))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


def write_out(content: bytes) -> None:
    """Write all of it to standard output, which may take part of it at a time (it does with PYTHONUNBUFFERED)."""
    left = memoryview(content)
    try:
        while left and sys.stdout is not None:
            left = left[sys.stdout.buffer.write(left) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


def flush_out() -> None:
    """Let what was written to standard output arrive."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


def give_up_on_output() -> None:
    """Let what is still buffered, and has nobody to go to, go nowhere: else the interpreter tries again at its end."""
    _give_up_on(sys.stdout)


def _give_up_on(stream: TextIO | None) -> None:
    if stream is not None:
        with suppress(OSError, ValueError):  # it is no file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def stand_in_for_closed_streams() -> None:
    """Put something in the place of standard streams that were closed (``>&-``) before this program began.

    Else the next file or connection would get their numbers, and what is printed. Using them is an error, as it was.
    """
    for name, flags, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            stream = open(os.open(os.devnull, flags), mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names are in any script, terminals are not


def describe(error: BaseException, path: str = "") -> str:
    """``path: message``, with a path that the message may have already."""
    text = str(error)
    if isinstance(error, TransferError):
        return text if error.path or not path else f"{path}: {text}"
    if isinstance(error, OSError) and error.strerror:
        text, path = error.strerror, path or str(error.filename or "")
    return f"{path}: {text}" if path and not text.startswith((f"{path}:", f"{path!r}:")) else text


class Report:
    """What failed so far, and what is stored without being published."""

    def __init__(self, *, as_json: bool = False, verbose: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.verbose = verbose
        self.quiet = quiet
        self.failures = 0
        self.staged_warnings = 0
        self._unpublished: dict[str, str] = {}  # artifacts, each with the command that publishes it

    def tell(self, *fields: str, **facts: object) -> None:
        """One item on standard output: a line of fields, or with ``--json`` an object of facts. Names of facts, and
        what they mean, stay as they are from version to version; there may be more of them."""
        if self.as_json:
            say_json(facts)
        else:
            say(*fields)

    def failed(self, path: str, error: BaseException) -> None:
        """Say which item failed, and why."""
        self.failures += 1
        complain(describe(error, path))

    def results(self, results: Sequence[Result | FileResult]) -> None:
        """Say which of these failed."""
        for result in results:
            if result["error"] is not None:
                self.failed(result["path"], result["error"])

    def unpublished(self, artifact: str, server: str | None) -> None:
        """Remember that this run leaves something staged in an artifact."""
        option = ["--server-url", server] if server else []
        self._unpublished[artifact] = shlex.join([PROGRAM, "commit", *option, artifact])

    def warned(self, message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
        """Say a warning; in the place of ``warnings.showwarning``."""
        self.staged_warnings += issubclass(category, StagedWarning)
        complain(f"warning: {message}")

    def close(self) -> None:
        """Say how to publish what is not published."""
        for artifact, command in self._unpublished.items():
            complain(f"{artifact}: what was uploaded stays staged, unpublished; to publish it: {command}")

    @property
    def code(self) -> int:
        """The exit code that this amounts to."""
        return SOME_FAILED if self.failures or self._unpublished else OK


class LogLines(logging.Handler):
    """Log records of this package as lines like any other."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.lower()}: {record.getMessage()}")
