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
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TextIO

from ..errors import StagedWarning, TransferError
from ..paths import join_names
from ..progress import human
from ..redact import printable, scrub, without_user
from ..results import FileResult, Result

NAMES = ("cloudfiles-hypha", "cfh")


def name_of(typed: str) -> str:
    """What the program calls itself: the short name for those who typed that, else the long one."""
    return NAMES[1] if os.path.splitext(os.path.basename(typed))[0] == NAMES[1] else NAMES[0]


PROGRAM = name_of(sys.argv[0] if sys.argv else "")
OK, SOME_FAILED, NOT_BEGUN, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141

# Control characters, those that turn the direction of writing, line separators, and halves of characters.


THERE = "there already"


class UsageError(ValueError):
    """What was asked for makes no sense; nothing has been done."""


class OutputError(OSError):
    """Standard output cannot be written to."""


apart: Callable[[], AbstractContextManager[object]] = nullcontext
"""Keeps bars, while they are shown, out of the way of a line."""


def complain(text: str) -> None:
    """One line on standard error, with nothing secret in it."""
    try:
        with apart():
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
        if not error.path or path.endswith(f"/{error.path}"):  # named from another folder: as much as is known of it
            text, path = OSError.__str__(error), path or error.path
        else:
            return text
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
        self.counts = False  # whether this run is about files that are copied, moved or removed, and has a summary
        self._began = time.monotonic()
        self._done: Counter[str] = Counter()
        self._would: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._bytes = self._resumed = 0

    def tell(self, *fields: str, **facts: object) -> None:
        """One item on standard output: a line of fields, or with ``--json`` an object of facts. Names of facts, and
        what they mean, stay as they are from version to version; there may be more of them."""
        if self.as_json:
            say_json(facts)
        else:
            say(*fields)

    def failed(self, path: str, error: BaseException, *, target: str | None = None) -> None:
        """Say which item failed, and why."""
        self.failures += 1
        complain(describe(error, path))
        if self.as_json and self.counts:
            self._item(None, path, target, None, False, None, error)

    def done(
        self,
        what: str,
        source: str,
        target: str | None = None,
        *,
        size: int | None = None,
        verified: str | None = None,
        resumed: int = 0,
    ) -> None:
        """One item is "copied", "moved" or "removed"."""
        self._done[what] += 1
        self._bytes += size or 0 if what != "removed" else 0
        self._resumed += resumed
        self._item(what, source, target, size, False, verified, None)

    def skipped(self, why: str, source: str, target: str | None = None, *, size: int | None = None) -> None:
        """With one item there was nothing to do."""
        self._skipped[why] += 1
        self._item(None, source, target, size, True, None, None)

    def kept(self, why: str, count: int) -> None:
        """With so many items there was nothing to do; of these nothing else is said."""
        if count:
            self._skipped[why] += count

    def would(self, what: str, size: int | None, why: str) -> None:
        """In a dry run: what would be done with one item."""
        if what == "keep":
            self._skipped[why] += 1
        else:
            self._would[what] += 1
            self._bytes += size or 0 if what != "remove" else 0

    def _item(
        self,
        what: str | None,
        source: str,
        target: str | None,
        size: int | None,
        skipped: bool,
        verified: str | None,
        error: BaseException | None,
    ) -> None:
        source = without_user(source)  # as it was typed, it may have them
        if self.as_json:
            self.tell(
                done=what,
                source=source,
                target=target,
                size=size,
                skipped=skipped,
                verified=verified,
                error=None if error is None else scrub(describe(error, source), [os.environ.get("HYPHA_TOKEN")]),
            )
        elif self.verbose:
            self.tell("skipped" if skipped else what or "", source, target or "", str(size or 0), verified or "")

    def results(self, results: Sequence[Result | FileResult], source: str = "", target: str = "") -> None:
        """What became of these, named below their folders; results without a file on disk are of removals."""
        for result in results:
            path, size = result["path"], result["size"]
            local = result.get("local_path")
            new = join_names(target, path) if target else path
            if result["error"] is not None:
                self.failed(path, result["error"])
            elif local is None:
                self.done("removed", join_names(source, path) if source else path)
            elif result.get("skipped"):
                self.skipped(THERE, str(local), new, size=size)
            else:
                self.done("copied", str(local), new, size=size, verified=result["verified"])

    def summarise(self, files: int, done: int, moved: int, retries: int, *, stopped: bool) -> None:
        """Say what the run amounts to. If it was ``stopped`` no results came: what was counted is said."""
        seconds = time.monotonic() - self._began
        if self.as_json:
            facts = {
                "files": sum(self._done.values()) or (done if stopped else 0),
                "bytes": self._bytes or (moved if stopped else 0),
                "seconds": round(seconds, 3),
                **{what: self._done[what] for what in ("copied", "moved", "removed")},
                "skipped": dict(self._skipped),
                "failed": self.failures,
                "retries": retries,
                "resumed_bytes": self._resumed,
                "stopped": stopped,
            }
            if self._would:
                facts["would"] = dict(self._would)
            say_json({"summary": facts})
            return
        said = []
        if stopped:
            rest = f"; not done: {files - done}, which the same command goes on with" if files > done else ""
            said.append(f"stopped: {done} of {_files(files)} are done, {human(moved)} moved{rest}")
        for what, count in self._done.items():
            said.append(f"{what} {_files(count)}{'' if what == 'removed' else self._speed(seconds)}")
        for what, count in self._would.items():
            said.append(f"would {what} {_files(count)}{'' if what == 'remove' else f', {human(self._bytes)}'}")
        if not said and not self.failures:
            why = [f"{_files(count)} {'is' if count == 1 else 'are'} {why}" for why, count in self._skipped.items()]
            said.append(f"nothing to do: {', '.join(why) or 'there are no such files'}")
        else:
            said += [f"skipped {count} ({why})" for why, count in self._skipped.items() if count]
        if self.failures:
            said.append(f"{self.failures} failed")
        if retries:
            said.append(f"{retries} {'retry' if retries == 1 else 'retries'}")
        complain("; ".join(said))

    def _speed(self, seconds: float) -> str:
        rate = f"{human((self._bytes - self._resumed) / seconds)}/s" if seconds > 0 else "at once"
        before = f", {human(self._resumed)} of it from before" if self._resumed else ""
        return f", {human(self._bytes)} in {seconds:.1f} s ({rate}{before})"

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


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


class LogLines(logging.Handler):
    """Log records of this package as lines like any other."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.lower()}: {record.getMessage()}")
