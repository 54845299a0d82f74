"""The tour that ``cloudfiles-hypha demo`` gives: a few hundred files to a real Hypha on this machine and back.

Starts the embedded server in a temporary directory, uses nothing but the public API, compares every byte with what
was generated, and leaves nothing behind. Reaches no other machine.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from ..files import ArtifactFiles
from ..results import Result
from .server import DevServer

ALIAS = "tour"
_SEED = 20_240_229
_FOLDERS = ("", "images/", "images/2024/", "tables/", "notes on things/", "données/", "deep/er/still/")
_STEMS = ("scan", "cell #", "plate 50%", "größe", "細胞", "a+b&c", "Q&A?", "emoji 🧬", "it's", ".hidden", "v1..2")
_ENDINGS = (".bin", ".tif", ".csv", ".txt", "")


def generate_files(count: int, size: int) -> dict[str, bytes]:
    """``count`` files, the same in every run: names of all kinds, sizes from 0 to twice ``size``."""
    dice = random.Random(_SEED)
    files: dict[str, bytes] = {}
    for number in range(count):
        name = f"{dice.choice(_FOLDERS)}{dice.choice(_STEMS)}{number:04}{dice.choice(_ENDINGS)}"
        length = (0, 1, size)[number] if number < 3 else dice.randint(0, 2 * size)
        files[name] = dice.randbytes(length)
    return files


class _Tour:
    """Runs the stages one by one and remembers which promise was not kept."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.broken: list[str] = []

    def say(self, text: str = "") -> None:
        self._out.write(f"{text}\n")
        self._out.flush()  # in step with the progress bars, which go to another stream

    def check(self, promise: str, kept: bool) -> None:
        self.say(f"  {'ok    ' if kept else 'BROKEN'}  {promise}")
        if not kept:
            self.broken.append(promise)


@contextmanager
def _stopwatch() -> Iterator[Callable[[], float]]:
    began = time.perf_counter()
    ended: list[float] = []
    yield lambda: (ended[0] if ended else time.perf_counter()) - began
    ended.append(time.perf_counter())


def run_demo(*, count: int, size: int, out: TextIO) -> int:
    """Give the tour; 0 if every byte and every promise was verified, else 1."""
    tour = _Tour(out)
    files = generate_files(count, size)
    tour.say("Starting a Hypha server and its S3 on this machine ...")
    with _stopwatch() as seconds, DevServer() as server:
        tour.say(f"Ready after {seconds():.1f} s: {server.server_url}, workspace {server.workspace!r}")
        tour.say()
        cloudpath = f"hypha://{server.server_url}/{server.workspace}/{ALIAS}"
        with ArtifactFiles(cloudpath, token=server.token, create=True, progress=True) as cf:
            summary = _round_trip(tour, cf, files)
            _smaller_things(tour, cf, files)
            _versions(tour, cf, cloudpath, server.token)
        tour.say()
        tour.say("Stopping the servers ...")
    tour.say(f"Done in {seconds():.1f} s, everything included.")
    tour.say()
    for line in summary:
        tour.say(line)
    tour.say(f"  NOT VERIFIED: {'; '.join(tour.broken)}" if tour.broken else "  verified: every byte, every promise")
    return 1 if tour.broken else 0


def _round_trip(tour: _Tour, cf: ArtifactFiles, files: dict[str, bytes]) -> list[str]:
    """Everything up and everything down; the lines of the summary."""
    total = sum(map(len, files.values()))
    with _stopwatch() as putting:
        stored = cf.puts(list(files.items()))
    tour.check(f"put {len(stored)} files and committed them together", [r["path"] for r in stored] == list(files))
    with _stopwatch() as getting:
        fetched = cf.get(list(files))
    same = sum(result["content"] == files[result["path"]] for result in fetched)
    tour.check(f"got {len(fetched)} files back, {same} of them byte for byte the same", same == len(files))
    checked = sum(result["verified"] == "md5" for result in fetched)
    tour.check(f"the MD5 of {checked} was checked on arrival as well", checked == len(files))
    tour.check("listed the artifact: every name is there, none is new", sorted(cf.list()) == sorted(files))
    return [
        "Summary",
        f"  put {_rate(len(files), total, putting())}",
        f"  get {_rate(len(files), total, getting())}",
    ]


def _rate(count: int, total: int, seconds: float) -> str:
    return f"{count} files, {total:,} bytes in {seconds:.2f} s: {count / max(seconds, 1e-9):.0f} files/s"


def _smaller_things(tour: _Tour, cf: ArtifactFiles, files: dict[str, bytes]) -> None:
    longest = max(files, key=lambda name: len(files[name]))
    start, end = len(files[longest]) // 4, len(files[longest]) // 2
    part = cf.get({"path": longest, "start": start, "end": end})
    tour.check(f"bytes {start:,} to {end:,} of {longest!r}", part == files[longest][start:end])

    settings = {"pixels": [512, 512], "stain": "DAPI", "größe": 1.5, "nothing": None}
    cf.put_json("settings.json", settings)
    tour.check("JSON there and back", cf.get_json("settings.json") == settings)

    batch = [longest, "no such file.bin", "settings.json"]
    results: list[Result] = cf.get(batch, raise_errors=False)
    errors = [result["error"] for result in results]
    kept = isinstance(errors[1], FileNotFoundError) and errors[0] is None and errors[2] is None
    tour.check("a missing file is an error of its own; the rest of its batch arrives", kept)
    tour.say(f"            {errors[1]}")


def _versions(tour: _Tour, cf: ArtifactFiles, cloudpath: str, token: str) -> None:
    before = cf.get("settings.json")
    with cf.staged(comment="with other settings", version="new"):
        cf.put_json("settings.json", {"stain": "GFP"})
    versions = cf.status()["versions"]
    tour.check(f"a new version: {' -> '.join(map(str, versions))}", len(versions) == 2)
    tour.check("the new version has the new content", cf.get_json("settings.json") == {"stain": "GFP"})
    with ArtifactFiles(f"{cloudpath}@{versions[0]}", token=token) as old:
        tour.check("the version before is as it was", old.get("settings.json") == before)
