"""The parser, the exit codes, and the way out.

Refuses to take a token as an argument (other users of a machine can read the arguments of a process).

Exit codes: 0 all went well; 1 some item failed (each is named on standard error, the others are done), or something is
stored and not published (the command that publishes it is named); 2 what was asked for makes no sense or could not
begin; 130 interrupted, 143 terminated, 141 the reader of the output has gone away.
"""

from __future__ import annotations

import argparse
import logging
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from ..errors import BatchError, LossyWarning, StagedWarning, UntypedWarning, WithdrawnWarning
from ..plan.sync import COMPARE
from ..transfers.tree import OVERWRITE
from . import alias, copying, moving, reading, server, uploads, writing
from .places import Clients
from .report import (
    BROKEN_PIPE,
    INTERRUPTED,
    NOT_BEGUN,
    PROGRAM,
    SOME_FAILED,
    LogLines,
    OutputError,
    Report,
    complain,
    describe,
    flush_out,
    give_up_on_output,
    stand_in_for_closed_streams,
)


def _whole_number(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise ValueError(text)
        return number

    return whole_number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Bulk transfer for Hypha artifacts and S3 buckets.",
        epilog="A CLOUDPATH is hypha://workspace/alias[@version][/path], s3://bucket[/path], "
        "s3://https://host/bucket[/path], mem://bucket[/path] or http(s)://host/path. "
        "The token is taken from the environment (HYPHA_TOKEN), and so is the server (HYPHA_SERVER_URL). "
        "Exit codes: 0 all went well, 1 some item failed or is not published, 2 not begun, 130 interrupted.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    reach = argparse.ArgumentParser(add_help=False)
    reach.add_argument("--server-url", metavar="URL", help="the Hypha server, if not that of HYPHA_SERVER_URL")
    reach.add_argument(
        "--num-threads", type=_whole_number(0), default=20, metavar="N", help="transfers at once (default: 20)"
    )
    reach.add_argument(
        "--retry-for",
        type=_whole_number(0),
        default=300,
        metavar="SECONDS",
        help="how long a server may be out of reach before an item is given up (default: 300)",
    )
    bars = argparse.ArgumentParser(add_help=False)
    bars.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")

    def add(name: str, run: Callable[..., int], text: str, *parents: argparse.ArgumentParser) -> Any:
        command = commands.add_parser(name, help=text, description=text, parents=parents)
        command.set_defaults(run=run, on_cloud=bool(parents))
        return command

    ls = add("ls", reading.ls, "List what is in a folder; names are relative to it.", reach)
    ls.add_argument("cloudpath", metavar="CLOUDPATH")
    ls.add_argument("--flat", action="store_true", help="one level only; folders end in a slash")
    ls.add_argument("-l", dest="long", action="store_true", help="with size in bytes and time")

    cp = add("cp", copying.cp, "Copy files and folders to and from artifacts.", reach, bars)
    cp.add_argument("sources", nargs="+", metavar="SRC", help="file, folder, or CLOUDPATH; - is standard input")
    cp.add_argument("destination", metavar="DST", help="likewise; ends in a slash to be a folder; - is standard output")
    cp.add_argument(
        "-r", dest="recursive", action="store_true", help="folders as well: what is in SRC goes directly below DST"
    )
    cp.add_argument(
        "--overwrite",
        choices=OVERWRITE,
        help="which files that are there to replace: those with other content (default; between cloudpaths: all), "
        "none, or older ones",
    )
    for kind, text in (("include", "only names that match; may be given more than once"), ("exclude", "but these")):
        cp.add_argument(f"--{kind}", action="append", metavar="GLOB", help=text)
    links = "below a local folder: copy what they lead to (default), nothing, or fail"
    cp.add_argument("--symlinks", choices=("follow", "skip", "refuse"), help=links)
    cp.add_argument(
        "--windows-names",
        action="store_true",
        help="to a disk: also names that Windows reserves (CON, aux.txt), where this system can hold them",
    )
    cp.add_argument("--create", action="store_true", help="make the artifact if there is none")
    cp.add_argument("--comment", metavar="TEXT", help="what the commit says")
    cp.add_argument("--version", metavar="NAME", help="begin a new version of that name, or just 'new'")

    sync = add("sync", moving.sync, "Make a folder like another one: copy what differs.", reach, bars)
    sync.add_argument("source", metavar="SOURCE", help="CLOUDPATH or local folder")
    sync.add_argument("target", metavar="TARGET", help="likewise")
    sync.add_argument("--delete", action="store_true", help="remove from TARGET what is not in SOURCE")
    sync.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    sync.add_argument("--max-delete", type=_whole_number(0), metavar="N", help="do nothing if more would be removed")
    sync.add_argument("--allow-empty", action="store_true", help="an empty SOURCE is meant: remove everything")
    sync.add_argument("--compare", choices=COMPARE, default="auto", help="sizes, and then what (default: auto)")
    for kind, text in (("include", "only names that match; may be given more than once"), ("exclude", "but these")):
        sync.add_argument(f"--{kind}", action="append", metavar="GLOB", help=text)
    sync.add_argument("--create", action="store_true", help="make the artifact if there is none")
    sync.add_argument("--comment", metavar="TEXT", help="what the commit says")

    mv = add("mv", moving.mv, "Move files and folders; a file is removed only when it has arrived.", reach, bars)
    mv.add_argument("sources", nargs="+", metavar="SRC", help="CLOUDPATH of a file, with -r of a folder")
    mv.add_argument("destination", metavar="DST", help="likewise; ends in a slash to be a folder")
    mv.add_argument("-r", dest="recursive", action="store_true", help="folders: what is in SRC goes directly below DST")
    mv.add_argument("--overwrite", choices=OVERWRITE, default="always", help="which files to replace (default: always)")
    mv.add_argument("--create", action="store_true", help="make the artifact if there is none")

    unfinished = add("uploads", uploads.uploads, "List uploads in parts that were not completed.", reach)
    unfinished.add_argument("cloudpath", metavar="CLOUDPATH", help="a bucket, or what names in it begin with")
    unfinished.add_argument("--abort", action="store_true", help="have the bucket forget them")
    unfinished.add_argument("--older-than", type=uploads.age, metavar="AGE", help="begun before: 90s, 30m, 12h, 7d")

    verify = add("verify", reading.verify, "Compare a local folder with an artifact; prints what differs.", reach)
    verify.add_argument("folder", metavar="DIR")
    verify.add_argument("cloudpath", metavar="CLOUDPATH")

    cat = add("cat", reading.cat, "Write files to standard output.", reach)
    cat.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH")

    rm = add("rm", writing.rm, "Remove files.", reach, bars)
    rm.add_argument("cloudpaths", nargs="+", metavar="CLOUDPATH")
    rm.add_argument("-r", dest="recursive", action="store_true", help="folders, with everything in them")

    commit = add("commit", writing.commit, "Publish what is staged in an artifact.", reach)
    commit.add_argument("--comment", metavar="TEXT", help="what the commit says")
    commit.add_argument("--version", metavar="NAME", help="what the new version is called")
    discard = add("discard", writing.discard, "Drop what is staged, restore what it had overwritten.", reach)
    status = add("status", writing.status, "Show the versions of an artifact, and what is staged.", reach)
    for command in (commit, discard, status):
        command.add_argument("cloudpath", metavar="CLOUDPATH", help="the artifact: hypha://workspace/alias")

    exists = add("exists", reading.exists, "Exit with 0 if there is such a file, 1 if not, 2 if unknown.", reach)
    exists.add_argument("cloudpath", metavar="CLOUDPATH", help="with a slash at the end: is anything in that folder?")

    named = commands.add_parser("alias", help="Names for endpoints and folders: NAME://bucket/path.")
    verbs = named.add_subparsers(metavar="VERB", required=True)
    for verb, run, text in (
        ("add", alias.add, "Have NAME://rest mean TARGET followed by rest."),
        ("ls", alias.ls, "List all aliases."),
        ("rm", alias.rm, "Forget an alias."),
    ):
        command = verbs.add_parser(verb, help=text, description=text)
        command.set_defaults(run=run, on_cloud=False)
        if verb != "ls":
            command.add_argument("name", metavar="NAME")
        if verb == "add":
            command.add_argument("target", metavar="TARGET", help="how a cloudpath begins, as in s3://https://host/")

    serve = add("serve", server.serve, "Run a Hypha server on this machine and print the environment to use.")
    serve.add_argument("--directory", type=Path, metavar="DIR", help="keep its data here (default: a temporary one)")
    serve.add_argument("--workspace", default="demo", metavar="NAME", help="workspace to make (default: demo)")

    demo = add("demo", server.demo, "Start a server, put and get generated files, verify them, stop it.")
    demo.add_argument("--files", type=_whole_number(3), default=300, metavar="N", help="how many (default: 300)")
    demo.add_argument(
        "--size", type=_whole_number(2), default=16_384, metavar="BYTES", help="mean size (default: 16384)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Prints no traceback and no token, whatever happens."""
    if argv is None:  # a program of our own, so what happens to its streams and signals is ours to decide
        stand_in_for_closed_streams()
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else NOT_BEGUN
    if argv is None:
        signal.signal(signal.SIGTERM, _terminated)
    report = Report()
    log, lines = logging.getLogger("cloudfiles_hypha"), LogLines(logging.WARNING)
    log.addHandler(lines)
    try:
        with warnings.catch_warnings():
            for category in (LossyWarning, StagedWarning, UntypedWarning, WithdrawnWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = report.warned
            code = _run(options, report)
    finally:
        report.close()  # also when it is terminated
        log.removeHandler(lines)
    return code


def _run(options: argparse.Namespace, report: Report) -> int:
    try:
        if options.on_cloud:
            with Clients(options) as clients:
                code = options.run(options, clients, report)
        else:
            code = options.run(options)
        flush_out()
        return int(code) or report.code
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        give_up_on_output()
        return BROKEN_PIPE
    except OutputError as error:
        complain(f"standard output: {describe(error)}")
        give_up_on_output()
        return SOME_FAILED
    except BatchError as error:  # a commit that failed, say: the files are there, but not published
        complain(describe(error))
        return SOME_FAILED
    except (OSError, ValueError, RuntimeError) as error:
        complain(describe(error))
        return NOT_BEGUN
    except Exception as error:  # noqa: BLE001 -- a defect; a user is not to be shown a traceback all the same
        complain(f"internal error: {type(error).__name__}: {error}")
        return NOT_BEGUN


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # so that temporary files and servers go the ordinary way
