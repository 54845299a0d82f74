"""The workloads: what is measured, in which order, and what is claimed of it.

A case runs its clients one after the other, round after round (A B C A B C ...), so that whatever else the machine
does falls on all of them alike. A ratio is taken within each round; the median of the rounds is what counts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import servers
from .clients import FOLDER, Access, Figures, MissingPeer, measure_in_child
from .movers import md5_of_file, md5_of_folder, place_of
from .servers import SMALL, SMALL_SIZE, file_name, write_files, write_large

# Seconds between a Hypha server and its S3, in the cases where there are any.
FAR = 0.01


@dataclass(frozen=True)
class Target:
    """What a measure has to be."""

    sense: Literal["at most", "at least"]
    bound: float

    def missed_by(self, value: float) -> float:
        """The part of the bound by which ``value`` misses it; 0 or less if it does not."""
        return (value / self.bound - 1) * (1 if self.sense == "at most" else -1)


@dataclass(frozen=True)
class Row:
    """One line of the table: a measure in each round, or why there is none."""

    case: str
    measure: str
    values: Sequence[float]
    target: Target | None = None
    unit: str = ""
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True)
class Measurement:
    """What one client took in one round."""

    case: str
    client: str
    round: int
    figures: Figures


@dataclass
class Bench:
    """One run: its settings, the servers it has started so far, and everything measured."""

    repeat: int | None
    quick: bool
    stack: contextlib.ExitStack
    measurements: list[Measurement] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    _started: dict[str, Any] = field(default_factory=dict)

    def nginx(self) -> str:
        return str(self._start("nginx", servers.nginx))

    def delaying(self, delay: float) -> str:
        return str(self._start(f"a server with {delay} s of delay", lambda: servers.delaying(delay)))

    def hypha(self, delay: float = 0.0) -> Access:
        """A Hypha server, which its S3 answers at once, or ``delay`` seconds late."""
        from cloudfiles_hypha.devserver.server import DevServer

        try:
            if delay:
                name = f"Hypha, {delay * 1000:g} ms from its S3"
                server = self._start(name, lambda: servers.far_hypha(delay))
            else:
                server = self._start("Hypha", DevServer)
        except RuntimeError as error:
            raise servers.Unavailable(str(error)) from error
        return Access(server.server_url, server.token, server.workspace)

    def noted_hypha(self) -> tuple[Access, Path]:
        """The same by way of an nginx, and the file in which that notes each call."""
        access = self.hypha()
        base, log = self._start("nginx before Hypha", lambda: servers.noting(access.server))
        return Access(base, access.token, access.workspace), log

    def store(self) -> dict[str, str]:
        """Where the S3 behind the Hypha server is, and its keys."""
        self.hypha()
        server = self._started["Hypha"]
        return {"endpoint": server.s3_url, "key": server.access_key, "secret": server.secret_key}

    def bucket(self, access: Access, alias: str, path: str) -> str:
        """The bucket that the Hypha server keeps artifacts in."""
        return place_of(access, alias, path if not path.endswith("/") else path + file_name(0)).partition("/")[0]

    def made_bucket(self, name: str) -> None:
        """Make a bucket on the S3 behind the Hypha server, if it is not there yet."""
        store = self.store()
        self._start(f"the bucket {name}", lambda: servers.bucket(store, name))

    def large(self) -> tuple[str, Path]:
        """The URL of an nginx that serves a large file, and where that file is."""
        size = (128 if self.quick else 1024) * 1024 * 1024
        found: tuple[str, Path] = self._start("nginx with a large file", lambda: servers.large(size))
        return found

    @contextlib.contextmanager
    def scratch(self) -> Iterator[str]:
        """A folder for what is downloaded."""
        with tempfile.TemporaryDirectory(prefix="benchmark-scratch-") as folder:
            yield folder

    def _start(self, name: str, opener: Callable[[], Any]) -> Any:
        if name not in self._started:
            log(f"starting {name}")
            self._started[name] = self.stack.enter_context(opener())
        return self._started[name]

    def rounds(self, ordinary: int) -> int:
        """How many rounds to measure, of a case that is ``ordinary``-ly measured so often."""
        return self.repeat or min(ordinary, 2 if self.quick else ordinary)

    def count(self, ordinary: int) -> int:
        """How many items to use; a quick run takes a fifth."""
        return ordinary // 5 if self.quick else ordinary

    def interleave(
        self,
        case: str,
        rounds: int,
        task: str,
        clients: Mapping[str, Callable[[int], dict[str, Any]]],
        *,
        clean: str | None = None,
    ) -> dict[str, list[Figures]]:
        """Measure each client once a round. ``clients`` gives the task's arguments for a round's number; what it leaves
        in the folder ``clean`` is removed."""
        found: dict[str, list[Figures]] = {name: [] for name in clients}
        missing: set[str] = set()
        for number in range(rounds):
            for name, arguments in clients.items():
                if name in missing:
                    continue
                try:
                    figures = measure_in_child(task, **arguments(number))
                except MissingPeer as error:
                    log(f"{case}: {name} is left out: {error}")
                    missing.add(name)
                    continue
                finally:
                    for left in Path(clean).iterdir() if clean else ():
                        if left.is_dir():
                            shutil.rmtree(left)
                        else:
                            left.unlink()
                log(f"{case} {number + 1}/{rounds} {name}: " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items()))
                found[name].append(figures)
                self.measurements.append(Measurement(case, name, number, figures))
        return found

    def add(
        self, case: str, measure: str, values: Sequence[float], target: Target | None = None, unit: str = ""
    ) -> None:
        """Put a row into the table; no values means that a peer was missing."""
        self.rows.append(Row(case, measure, values, target, unit, "" if values else "a peer is not installed"))


def log(text: str) -> None:
    """Tell whoever waits how far it is; the table alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def at_most(bound: float) -> Target:
    return Target("at most", bound)


def at_least(bound: float) -> Target:
    return Target("at least", bound)


def ratios(one: Sequence[Figures], other: Sequence[Figures], figure: str = "seconds") -> list[float]:
    """``one`` / ``other``, for each item, in each round."""
    return [a[figure] / a["items"] / (b[figure] / b["items"]) for a, b in zip(one, other, strict=False)]


# -- the cases --------------------------------------------------------------------------------------------------------


def hypha_get(bench: Bench) -> None:
    """Get 1,000 x 4 KiB from a Hypha artifact: first batch of a process, then one from another artifact."""
    few = 6 if bench.quick else 30
    peers = {"hypha-artifact, cat": few, "hypha-artifact, get to disk": few, "hypha-artifact, async gather": few // 3}
    found = _first_and_later(bench, "hypha-get", bench.hypha(), bench.count(1000), at_most(1.25), at_most(1.15), peers)
    for client, many in peers.items():
        bench.add(
            "hypha-get",
            f"seconds a file ({many} files), {client} / ours",
            ratios(found[client], found["ours"]),
            None if client.endswith("gather") else at_least(100),
        )


def hypha_get_far(bench: Bench) -> None:
    """Get 800 x 4 KiB from a Hypha artifact whose server has its S3 10 ms away; otherwise as before."""
    access = bench.hypha(FAR)
    _first_and_later(bench, "hypha-get-far", access, bench.count(800), at_most(0.5), at_most(0.35), {})


def _first_and_later(
    bench: Bench, case: str, access: Access, count: int, first: Target, later: Target, peers: Mapping[str, int]
) -> dict[str, list[Figures]]:
    names = [(f"{FOLDER}/{file_name(index)}", servers.payload(index, SMALL_SIZE)) for index in range(count)]
    aliases = [f"read-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for alias in aliases:
        access.files(alias, create=True).puts(names)

    def reading(client: str, many: int) -> Callable[[int], dict[str, Any]]:
        return lambda number: {
            "client": client, "access": vars(access), "alias": aliases[0], "count": many, "size": SMALL_SIZE,
            "second": None if client in peers else aliases[1],
        }  # fmt: skip

    counts = {"raw get_file": count, "ours": count, **peers}
    found = bench.interleave(
        case, bench.rounds(3), "hypha-get", {client: reading(client, many) for client, many in counts.items()}
    )
    ours, raw = found["ours"], found["raw get_file"]
    measure = "wall time / that of one raw `get_file` call"
    bench.add(case, f"{measure}, first batch of a process", ratios(ours, raw), first)
    bench.add(case, f"{measure}, later ones", ratios(ours, raw, "later"), later)
    return found


def hypha_single(bench: Bench) -> None:
    """Get 1,000 x 4 KiB from a Hypha artifact with a scalar `get` each: from 64 threads, and from 1,000 coroutines."""
    case, count = "hypha-single", bench.count(1000)
    access, noted = bench.noted_hypha()
    alias = artifact_of(access, count)

    def reading(client: str) -> Callable[[int], dict[str, Any]]:
        return lambda number: {
            "client": client, "access": vars(access), "alias": alias, "count": count, "size": SMALL_SIZE,
            "log": str(noted),
        }  # fmt: skip

    clients = ("one batch", "64 threads, a file at a time", "a coroutine each")
    found = bench.interleave(case, bench.rounds(3), "hypha-single", {client: reading(client) for client in clients})
    for client, most in zip(clients[1:], (2.5, 1.5), strict=True):
        measure = f"wall time, {client} / that of one batch"
        bench.add(case, measure, ratios(found[client], found[clients[0]]), at_most(most))
    for client, most_calls in zip(clients, (None, None, at_most(25)), strict=True):
        bench.add(case, f"control calls, {client}", [each["calls"] for each in found[client]], most_calls)


def artifact_of(access: Access, count: int) -> str:
    """A new artifact of ``count`` small files; its alias."""
    alias = f"read-{uuid.uuid4().hex[:8]}"
    names = [(f"{FOLDER}/{file_name(index)}", servers.payload(index, SMALL_SIZE)) for index in range(count)]
    access.files(alias, create=True).puts(names)
    return alias


def hypha_put(bench: Bench) -> None:
    """Make a Hypha artifact of 1,000 local files of 4 KiB: create, upload, commit."""
    case = "hypha-put"
    found = _puts(bench, case, bench.hypha(), at_most(1.0), ("hypha-artifact",))
    ratio = ratios(found["hypha-artifact"], found["ours"])
    bench.add(case, "wall time, `hypha-artifact` / ours", ratio, at_least(1.4))


def hypha_put_far(bench: Bench) -> None:
    """The same with the S3 10 ms from the server."""
    _puts(bench, "hypha-put-far", bench.hypha(FAR), at_most(1.2), ())


def _puts(bench: Bench, case: str, access: Access, target: Target, peers: Sequence[str]) -> dict[str, list[Figures]]:
    count = bench.count(1000)
    with tempfile.TemporaryDirectory(prefix="benchmark-put-") as directory:
        source = Path(directory) / "files"
        write_files(source, count, SMALL_SIZE)

        def writing(client: str) -> Callable[[int], dict[str, Any]]:
            return lambda number: {
                "client": client, "access": vars(access), "alias": f"written-{uuid.uuid4().hex[:8]}",
                "source": str(source), "count": count, "size": SMALL_SIZE,
            }  # fmt: skip

        clients = ("raw put_file + commit", "ours", *peers)
        found = bench.interleave(case, bench.rounds(3), "hypha-put", {client: writing(client) for client in clients})
    measure = "wall time / that of one raw `put_file` and one raw `commit`"
    bench.add(case, measure, ratios(found["ours"], found["raw put_file + commit"]), target)
    return found


def http_small(bench: Bench) -> None:
    """Get 10,000 x 4 KiB from nginx, 16 and 64 at a time."""
    case, count = "http-small", bench.count(SMALL)
    both = ("ours, threads", "obstore, threads")
    others = (
        "ours, green",
        "urllib3, threads",
        "pycurl, bare threads",
        "aiohttp",
        "ours, inline",
        "ours, urllib3 transport",
    )
    found: dict[str, list[Figures]] = {}
    for workers, least, clients in ((64, 1.25, both), (16, 1.15, (*both, *others))):
        name = case if workers == 16 else f"{case}-{workers}"
        found = _http(bench, name, f"{bench.nginx()}/small", clients, count, workers, warm_up=count // 10)
        ours, obstore = found["ours, threads"], found["obstore, threads"]
        bench.add(case, f"requests/s / those of obstore, {workers} threads", ratios(obstore, ours), at_least(least))
        cpu = ratios(ours, obstore, "cpu_seconds")
        bench.add(case, f"client CPU per item / that of obstore, {workers} threads", cpu, at_most(0.65))
    ours, urllib3 = found["ours, threads"], found["urllib3, threads"]
    bench.add(case, "requests/s / those of urllib3, 16 threads", ratios(urllib3, ours), at_least(4.0))
    bench.add(case, "requests/s, green / threads", ratios(ours, found["ours, green"]), at_least(0.8))
    bench.add(case, "requests/s / those of bare pycurl threads", ratios(found["pycurl, bare threads"], ours))
    bench.add(case, "requests/s / those of aiohttp", ratios(found["aiohttp"], ours))
    bench.add(case, "requests/s, inline / threads", ratios(ours, found["ours, inline"]))
    bench.add(
        case, "requests/s, our urllib3 transport / bare urllib3", ratios(urllib3, found["ours, urllib3 transport"])
    )


def latency(bench: Bench) -> None:
    """Get 5,120 x 4 KiB from a server that takes 50 ms for each, 256 at a time."""
    case, count, workers, delay = "latency", 5120, 256, 0.05
    base = bench.delaying(delay)
    clients = (
        "ours, threads",
        "ours, green",
        "raw sockets",
        "pycurl, bare threads",
        "obstore, threads",
        "aiohttp",
        "urllib3, threads",
    )
    found = _http(bench, case, f"{base}/later", clients, count, workers, warm_up=2 * workers)
    ideal = count / workers * delay
    for client in ("ours, threads", "ours, green"):
        speeds = ratios(found["raw sockets"], found[client])
        target = at_least(0.97) if client == "ours, threads" else None
        bench.add(case, f"speed / that of raw sockets, {client}", speeds, target)
    for client, figures in found.items():
        bench.add(case, f"part of the ideal speed, {client}", [ideal / each["seconds"] for each in figures])
    ceiling = _http(bench, "latency-server", f"{base}/now", ("raw sockets",), count, workers, warm_up=workers)
    speeds = [each["items"] / each["seconds"] for each in ceiling["raw sockets"]]
    bench.add(case, f"what the server can do without delay (needed: {workers / delay:,.0f})", speeds, unit="requests/s")


def importing(bench: Bench) -> None:
    """Import the package in a fresh interpreter."""
    case, package = "import", "import cloudfiles_hypha"
    clients = {statement: lambda number, s=statement: {"statement": s, "times": 11} for statement in ("pass", package)}
    found = bench.interleave(case, bench.rounds(5), case, clients)
    more = [
        ours["milliseconds"] - bare["milliseconds"] for ours, bare in zip(found[package], found["pass"], strict=True)
    ]
    bench.add(case, "over what a bare interpreter takes, median of 11", more, at_most(100), unit="ms")


def two_items(bench: Bench) -> None:
    """Get two files of 4 KiB from nginx in one call."""
    case, base = "two-items", f"{bench.nginx()}/small"
    found = bench.interleave(case, bench.rounds(5), case, {"ours, threads": lambda number: {"base": base, "calls": 51}})
    ours = found["ours, threads"]
    bench.add(case, "first call of a process", [each["first"] for each in ours], unit="ms")
    bench.add(case, "later calls, median of 50", [each["later"] for each in ours], at_most(20), unit="ms")
    bench.add(case, "later calls, slowest of 50", [each["slowest later"] for each in ours], unit="ms")


def memory(bench: Bench) -> None:
    """A generator of 200,000 items: through `iget` from nginx (100 bytes each), and through `puts` to `mem://`."""
    case, count = "memory", bench.count(200_000)
    base = f"{bench.nginx()}/tiny"
    rounds = bench.rounds(1)
    read = bench.interleave(case, rounds, "iget-memory", {"ours, iget": lambda number: {"base": base, "count": count}})
    written = bench.interleave(case, rounds, "puts-memory", {"ours, puts to mem": lambda number: {"count": count}})
    measure = f"growth of peak memory, `{{}}` of {count:,} items"
    bench.add(case, measure.format("iget"), [each["growth"] for each in read["ours, iget"]], at_most(100), unit="MB")
    bench.add(
        case,
        measure.format("puts to mem:// (which keeps them)"),
        [each["growth"] for each in written["ours, puts to mem"]],
        unit="MB",
    )


def large_http(bench: Bench) -> None:
    """Download a file of 1 GiB from nginx to disk."""
    case = "large-http"
    base, source = bench.large()
    md5 = md5_of_file(source)

    def fetching(client: str, folder: str) -> Callable[[int], dict[str, Any]]:
        return lambda number: {
            "client": client, "base": base, "name": source.name, "md5": md5,
            "target": f"{folder}/{client}-{number}",
        }  # fmt: skip

    with bench.scratch() as folder:
        clients = ("ours", "curl", "obstore")
        found = bench.interleave(
            case, bench.rounds(3), "download-http", {c: fetching(c, folder) for c in clients}, clean=folder
        )
    ours = found["ours"]
    bench.add(case, "speed / that of curl, one stream", ratios(found["curl"], ours), at_least(1.0))
    bench.add(case, "speed / that of obstore to a file", ratios(found["obstore"], ours), at_least(1.5))
    bench.add(case, "peak memory", [each["peak_mb"] for each in ours], at_most(100), unit="MB")


def large_s3(bench: Bench) -> None:
    """Upload a file of 1 GiB to a Hypha artifact, and download it; the peers to and from the S3 behind the server."""
    case = "large-s3"
    access, store = bench.hypha(), bench.store()
    _, source = bench.large()
    alias = f"large-{uuid.uuid4().hex[:8]}"
    access.files(alias, create=True).upload(source)
    md5 = md5_of_file(source)
    _both_ways(
        bench, case, access, store, alias, source, source.name, md5, rounds=3, verified=None, unverified=at_least(1.0)
    )


def many_s3(bench: Bench) -> None:
    """Upload 2,000 files of 256 KiB to a Hypha artifact, and download them; the peers likewise."""
    case, count = "many-s3", bench.count(2000)
    access, store = bench.hypha(), bench.store()
    alias = f"many-{uuid.uuid4().hex[:8]}"
    with bench.scratch() as folder:
        source = Path(folder, "source")
        source.mkdir()
        for index in range(count):
            write_large(source / file_name(index), 256 * 1024)
        access.files(alias, create=True).upload(source, FOLDER)
        part = Path(folder, "part")
        part.mkdir()
        for index in range(count // 10):
            (part / file_name(index)).hardlink_to(source / file_name(index))
        found = _both_ways(
            bench, case, access, store, alias, source, f"{FOLDER}/", md5_of_folder(source), rounds=2, theirs=part,
            verified=at_least(0.9), unverified=at_least(1.1),
        )  # fmt: skip
    for way, least in (("up", 1.4), ("down", 20)):
        theirs = found[way]["hypha-artifact"]
        ours = [{**each, "items": count} for each in found[way]["ours"]]
        bench.add(case, f"{way}: seconds a file, `hypha-artifact` / ours", ratios(theirs, ours), at_least(least))


def _both_ways(
    bench: Bench,
    case: str,
    access: Access,
    store: dict[str, str],
    alias: str,
    source: Path,
    path: str,
    md5: str,
    *,
    rounds: int,
    verified: Target | None,
    unverified: Target,
    theirs: Path | None = None,
) -> dict[str, dict[str, list[Figures]]]:
    clients = ["ours", "s5cmd", "rclone", *(["hypha-artifact"] if theirs else [])]
    readers = ["ours", "ours, no digests", *clients[1:]]  # s5cmd compares none either
    bucket = bench.bucket(access, alias, path)

    def sending(client: str) -> Callable[[int], dict[str, Any]]:
        return lambda number: {
            "client": client, "access": vars(access), "store": store, "bucket": bucket,
            "alias": f"sent-{uuid.uuid4().hex[:8]}", "source": str(theirs if client == "hypha-artifact" else source),
        }  # fmt: skip

    with bench.scratch() as folder:

        def fetching(client: str) -> Callable[[int], dict[str, Any]]:
            return lambda number: {
                "client": client, "access": vars(access), "store": store, "alias": alias, "path": path, "md5": md5,
                "target": f"{folder}/{client}-{number}",
            }  # fmt: skip

        up = bench.interleave(f"{case}-up", bench.rounds(rounds), "upload-s3", {c: sending(c) for c in clients})
        down = bench.interleave(
            f"{case}-down", bench.rounds(rounds), "download-s3", {c: fetching(c) for c in readers}, clean=folder
        )
    for way, found in (("up", up), ("down", down)):
        ours = found["ours"]
        for peer in ("s5cmd", "rclone"):
            data = ratios(found[peer], ours, "data_seconds")
            bench.add(
                case, f"{way}: speed while bodies move / that of {peer}", data, at_least(1.0) if way == "up" else None
            )
            bench.add(case, f"{way}: the same with the control plane", ratios(found[peer], ours))
        if way == "down":
            faster = _faster(found["s5cmd"], found["rclone"])
            measure = "down: speed while bodies move / that of the faster of the two"
            bench.add(case, measure, ratios(faster, ours, "data_seconds"), verified)
            bare = ratios(faster, found["ours, no digests"], "data_seconds")
            bench.add(case, "down: the same without comparing digests, as s5cmd does", bare, unverified)
        bench.add(case, f"{way}: peak memory", [each["peak_mb"] for each in ours], at_most(100), unit="MB")
    return {"up": up, "down": down}


def _faster(one: Sequence[Figures], other: Sequence[Figures]) -> list[Figures]:
    """Of each round the figures of whoever took less time; of one alone, if the other is not installed."""
    if not (one and other):
        return [*(one or other)]
    return [min(pair, key=lambda figures: figures["data_seconds"]) for pair in zip(one, other, strict=False)]


def many_ranges(bench: Bench) -> None:
    """Get 10,000 ranges of 4 KiB of one file of 1 GiB on nginx: in a hundred clusters of 1 MiB, and anywhere."""
    case, count = "ranges", bench.count(10_000)
    base, source = bench.large()
    for kind in ("clustered", "random"):

        def reading(client: str, kind: str) -> Callable[[int], dict[str, Any]]:
            return lambda number: {
                "client": client, "base": base, "name": source.name, "source": str(source), "kind": kind,
                "count": count,
            }  # fmt: skip

        clients = ("ours", "ours, one request each", "obstore")
        found = bench.interleave(f"{case}-{kind}", bench.rounds(3), "ranges", {c: reading(c, kind) for c in clients})
        ours = found["ours"]
        each = ratios(found["ours, one request each"], ours)
        bench.add(case, f"{kind}: speed / one request each", each, at_least(5.0) if kind == "clustered" else None)
        theirs = ratios(found["obstore"], ours)
        bench.add(
            case,
            f"{kind}: speed / that of obstore's `get_ranges`",
            theirs,
            at_least(0.8 if kind == "clustered" else 1.0),
        )


def _http(
    bench: Bench, case: str, base: str, clients: Sequence[str], count: int, workers: int, *, warm_up: int
) -> dict[str, list[Figures]]:
    def reading(client: str) -> Callable[[int], dict[str, Any]]:
        return lambda number: {
            "client": client, "base": base, "workers": workers, "count": count, "size": SMALL_SIZE, "warm_up": warm_up,
        }  # fmt: skip

    return bench.interleave(case, bench.rounds(5), "http", {client: reading(client) for client in clients})


CASES: dict[str, Callable[[Bench], None]] = {
    "hypha-get": hypha_get,
    "hypha-get-far": hypha_get_far,
    "hypha-single": hypha_single,
    "hypha-put": hypha_put,
    "hypha-put-far": hypha_put_far,
    "http-small": http_small,
    "latency": latency,
    "import": importing,
    "two-items": two_items,
    "memory": memory,
    "large-http": large_http,
    "large-s3": large_s3,
    "many-s3": many_s3,
    "ranges": many_ranges,
}


def allow_many_sockets() -> None:
    """256 connections at both ends fit into no soft limit of 256; children inherit ours."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if os.name == "posix" and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
