"""The parser, the exit codes, and the way out.

Refuses to take a token as an argument (other users of a machine can read the arguments of a process).

Exit codes: 0 all went well; 1 some item failed (each is named on standard error, the others are done), or something is
stored and not published (the command that publishes it is named); 2 what was asked for makes no sense or could not
begin; 130 interrupted, 143 terminated, 141 the reader of the output has gone away.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from ..errors import BatchError, LossyWarning, StagedWarning, UntypedWarning, WithdrawnWarning
from .commands import commands_for
from .configuration import defaults, unknown_variables
from .helping import show as show_help
from .report import (
    BROKEN_PIPE,
    INTERRUPTED,
    NOT_BEGUN,
    PROGRAM,
    SOME_FAILED,
    LogLines,
    OutputError,
    Report,
    UsageError,
    complain,
    describe,
    flush_out,
    give_up_on_output,
    stand_in_for_closed_streams,
)
from .watching import Told, Watch


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Prints no traceback and no token, whatever happens."""
    if argv is None:  # a program of our own, so what happens to its streams and signals is ours to decide
        stand_in_for_closed_streams()
    try:
        words = sys.argv[1:] if argv is None else argv
        options = _options(words)
    except KeyboardInterrupt:  # while modules are loaded
        complain("interrupted")
        return INTERRUPTED
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else NOT_BEGUN
    except (OSError, ValueError) as error:  # of the configuration
        complain(describe(error))
        return NOT_BEGUN
    if argv is None:
        signal.signal(signal.SIGTERM, _terminated)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it was started not to hear it
            signal.signal(signal.SIGINT, _interrupted)
    report = Report(as_json=options.json, verbose=options.verbose, quiet=options.quiet)
    log, lines = (
        logging.getLogger("cloudfiles_hypha"),
        LogLines(logging.ERROR if options.quiet else logging.INFO if options.verbose else logging.WARNING),
    )
    log.addHandler(lines)
    level = log.level
    if options.verbose:
        log.setLevel(logging.INFO)
    counts = hasattr(options, "progress") and not options.quiet  # it is about files, one by one
    watch = Watch(getattr(options, "command", ""), shown=counts and options.progress, verbose=options.verbose)
    report.counts = counts
    options.progress = watch if counts else False
    try:
        with warnings.catch_warnings():
            for category in (LossyWarning, StagedWarning, UntypedWarning, WithdrawnWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = report.warned
            code = _run(options, report, watch)
    finally:
        watch.close()
        report.close()  # also when it is terminated
        log.removeHandler(lines)
        log.setLevel(level)
    return code


def _options(words: Sequence[str]) -> argparse.Namespace:
    """The arguments, where they say nothing what is configured, and else what is built in."""
    commands = commands_for(words)
    options = commands.parse(words)
    if options.run is show_help:  # which is to be had whatever is configured
        return options
    for variable, near in unknown_variables(commands.shared).items():  # no error: it may be another program's
        complain(f"warning: {variable}: nothing reads this variable{f'; did you mean {near}?' if near else ''}")
    configured = defaults(commands.shared)
    server = configured.pop("server_url")  # no option: a cloudpath may name another one
    loud, quiet = configured["verbose"], configured["quiet"]
    if loud.value and quiet.value:
        if loud.rank == quiet.rank:
            raise UsageError(f"{loud.source} and {quiet.source}: verbose and quiet contradict each other")
        weaker = "verbose" if loud.rank < quiet.rank else "quiet"
        configured[weaker] = configured[weaker]._replace(value=False)
    if options.verbose or options.quiet:  # the option says both
        for name in ("verbose", "quiet"):
            configured[name] = configured[name]._replace(value=False)
    commands.configure(dict.fromkeys(configured))
    said = commands.parse(words)  # what the words say, as against what is configured or built in
    commands.configure({name: default.value for name, default in configured.items()})
    options = commands.parse(words)
    options.json_said = bool(getattr(said, "json", None))
    options.patient = bool(configured["retry_for"].rank) or getattr(said, "retry_for", None) is not None
    options.configured_server = server
    return options


def _run(options: argparse.Namespace, report: Report, watch: Watch) -> int:
    ended = False
    try:
        if options.on_cloud:
            from .places import Clients  # only here: it loads what transfers take

            with Clients(options) as clients:
                clients.observer = Told(watch) if report.counts else None
                code = options.run(options, clients, report)
        else:
            code = options.run(options)
        ended = True
        _summarise(report, watch)
        flush_out()
        return int(code) or report.code
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        give_up_on_output()
        report.counts = False
        return BROKEN_PIPE
    except OutputError as error:
        complain(f"standard output: {describe(error)}")
        give_up_on_output()
        return SOME_FAILED
    except BatchError as error:  # a commit that failed, say: the files are there, but not published
        complain(describe(error))
        return SOME_FAILED
    except UsageError as error:
        complain(describe(error))
        ended = True  # nothing has been done, so there is nothing to sum up
        return NOT_BEGUN
    except (OSError, ValueError, RuntimeError, ImportError) as error:  # of an import: an extra that is not installed
        complain(describe(error))
        return NOT_BEGUN
    except Exception as error:  # noqa: BLE001 -- a defect; a user is not to be shown a traceback all the same
        complain(f"internal error: {type(error).__name__}: {error}")
        return NOT_BEGUN
    finally:
        if not ended and (watch.files or report.failures):
            with suppress(OSError):
                _summarise(report, watch, stopped=True)


def _summarise(report: Report, watch: Watch, *, stopped: bool = False) -> None:
    watch.close()
    if report.counts:
        report.summarise(watch.files, watch.done, watch.moved, watch.retries, stopped=stopped)


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, _leave)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Ctrl-C for the second time: nothing more is waited for, not even what would clear up."""
    with suppress(OSError):
        os.write(2, f"\n{PROGRAM}: left at once; on Hypha, see with status what is staged\n".encode())
    os._exit(INTERRUPTED)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # so that temporary files and servers go the ordinary way
