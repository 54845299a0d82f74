"""``python -m tests.soak --seconds N --seed S``: mixed work for a long time, against servers that fail all along.

Three processes: this one watches; the servers (a fake Hypha with its store, a web server, proxies that reset and cut
connections, and a second client that commits) have one of their own, lest their memory be taken for the client's; the
client has the third. There, several threads do one task after the other, most with a new ``ArtifactFiles`` that is
never closed, while a further thread collects garbage. Every byte that arrives is compared; every file that was sent is
read back. Whatever the servers do would pass on another attempt, so any error is a violation but those that are meant.

Exit code 0 only if nothing crashed, hung, failed, was wrong, or grew beyond the limits below.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudfiles_hypha import ArtifactFiles, RetryPolicy
from cloudfiles_hypha.results import Result
from tests.support.fake_hypha import SERVICE, FakeHypha
from tests.support.object_server import Drop, NoAnswer, ObjectServer, Request, Status
from tests.support.proxies import CuttingProxy, ResettingProxy
from tests.support.threads import in_threads

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024

# -- the limits: of what is measured after the first minute, or the first quarter of a shorter run
WARM_UP = 60.0
MEMORY_SLACK = 24 * MIB  # what allocator and caches may still take, however long the run
MEMORY_SLOPE = 0.25 * MIB  # and what may be added to it each minute
MOST_DESCRIPTORS = 250
MORE_DESCRIPTORS = 60  # at the end than at the beginning, by the medians of the first and the last third
MOST_THREADS = 80
MORE_THREADS = 20
STUCK = 60.0  # seconds that one task may take

ACTORS = 4
SMALL = 200  # files on the web server and in the artifact that nobody writes to
LARGE = 3 * MIB
SHARED = 12  # files of the artifact that the second client writes to
PATIENT = RetryPolicy(attempts=200, first=0.01, longest=0.2, elapsed=STUCK - 10)


def body_of(name: str, size: int | None = None) -> bytes:
    """What a file of this name holds, everywhere."""
    chance = random.Random(name)
    return chance.randbytes(chance.choice((0, 1, 100, 4096, 40_000, 200_000)) if size is None else size)


def small_name(number: int) -> str:
    return f"small/{number:03d}.bin"


def generation(number: int, index: int) -> bytes:
    """A file of the shared artifact: says which commit it belongs to, and proves to be whole."""
    text = f"{number} {index} ".encode() + b"." * 3000
    return text + hashlib.sha256(text).digest()


# -- the servers ------------------------------------------------------------------------------------------------------


def serve(seed: int) -> None:
    """Run the servers until standard input ends; says where they are on standard output."""
    with contextlib.ExitStack() as stack:
        hypha = stack.enter_context(FakeHypha(url_lifetime=30))
        web = stack.enter_context(ObjectServer())
        files = {small_name(number): body_of(small_name(number)) for number in range(SMALL)}
        for name, body in {**files, "large.bin": body_of("large.bin", LARGE)}.items():
            web.put(name, body)
        hypha.add_artifact("ws/data", {**files, "large.bin": body_of("large.bin", LARGE)})
        for actor in range(ACTORS):
            hypha.add_artifact(f"ws/own{actor}")
        hypha.add_artifact("ws/shared", {f"{index}": generation(0, index) for index in range(SHARED)})
        for server in (web, hypha.store):
            server.every(53, Status(503, {"Retry-After": "0"}))
            server.every(61, NoAnswer(rst=True))
            server.every(67, Drop(after_bytes=50))
            server.every(71, Status(500))
        hypha.every(47, Status(503, {"Retry-After": "0"}))
        hypha.every(59, NoAnswer())
        resetting = stack.enter_context(ResettingProxy("127.0.0.1", web.port, reset_fraction=0.03, seed=seed))
        cutting = stack.enter_context(CuttingProxy("127.0.0.1", web.port, cut_after=(200_000, 8_000_000), seed=seed))
        print(json.dumps({"hypha": hypha.url, "token": hypha.token, "web": resetting.url, "cut": cutting.url}))
        sys.stdout.flush()
        over = threading.Event()
        others = [
            threading.Thread(target=_second_client, args=(hypha, over)),
            threading.Thread(target=_forget, args=(hypha, web, over)),
        ]
        for thread in others:
            thread.start()
        sys.stdin.read()
        over.set()
        for thread in others:
            thread.join()


def _second_client(hypha: FakeHypha, over: threading.Event) -> None:
    """Commits a new version of the shared artifact every few seconds; past the faults, which are the first client's."""

    def call(method: str, **arguments: Any) -> None:
        headers = {"authorization": f"Bearer {hypha.token}"}
        request = Request("POST", SERVICE + method, "", headers, json.dumps(arguments).encode())
        answer = hypha.respond(request)
        assert answer.status == 200, bytes(answer.body)

    number = 0
    while not over.wait(min(10.0, 2.0 + number / 5)):  # each stays there, and in every answer, for the rest of the run
        number += 1
        names = [f"{index}" for index in range(SHARED)]
        call("edit", artifact_id="ws/shared", stage=True, version="new")
        call("put_file", artifact_id="ws/shared", file_path=names)
        for index, name in enumerate(names):
            hypha.store.put(hypha.key("ws/shared", name), generation(number, index))
        call("commit", artifact_id="ws/shared")


def _forget(hypha: FakeHypha, web: ObjectServer, over: threading.Event) -> None:
    """Drops records, and signatures that have been refused for a while."""
    while not over.wait(1.0):
        for server in (hypha, hypha.store, web):
            server.forget_requests()
        now = time.monotonic()
        for signature, grant in hypha.store.grants.copy().items():  # in one step, unlike a list of its items
            if grant.deadline < now - 60:
                hypha.store.grants.pop(signature, None)


# -- the client -------------------------------------------------------------------------------------------------------


class Wrong(Exception):
    """Something that must not happen has happened."""


@dataclass(frozen=True)
class Sample:
    """What the client's process holds at one moment."""

    seconds: float
    memory: int
    descriptors: int
    threads: int


def sample(began: float) -> Sample:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Sample(
        time.monotonic() - began,
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
    )


def slope_of(points: Sequence[tuple[float, float]]) -> float:
    """By how much y rises for each x: the straight line with the least squares."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def violations_in(samples: Sequence[Sample]) -> list[str]:
    """What of the limits was not kept. The samples are those after the warm-up."""
    found = []
    minutes = (samples[-1].seconds - samples[0].seconds) / 60
    rise = slope_of([(each.seconds / 60, each.memory) for each in samples])
    if rise * minutes > MEMORY_SLACK + MEMORY_SLOPE * minutes:
        found.append(f"memory rises by {rise / MIB:.2f} MiB a minute: {rise * minutes / MIB:.1f} MiB in all")
    third = max(1, len(samples) // 3)
    for what, most, more in (
        ("descriptors", MOST_DESCRIPTORS, MORE_DESCRIPTORS),
        ("threads", MOST_THREADS, MORE_THREADS),
    ):
        values = [getattr(each, what) for each in samples]
        before, after = statistics.median(values[:third]), statistics.median(values[-third:])
        if max(values) > most:
            found.append(f"{max(values)} {what} at once; at most {most} are allowed")
        if after - before > more:
            found.append(f"{what} rise from {before:.0f} to {after:.0f}")
    return found


class Client:
    """The work: tasks by name, each given its own source of chance."""

    def __init__(self, servers: dict[str, str], folder: Path) -> None:
        self.servers = servers
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.compared = Counter[str]()
        self._lasting = [self._data(), self._web()]
        self._lock = threading.Lock()  # guards the counters
        self.tasks: dict[str, Callable[[int, random.Random], None]] = {
            name.removeprefix("task_"): getattr(self, name) for name in dir(self) if name.startswith("task_")
        }

    # -- objects

    def _hypha(self, alias: str, **options: Any) -> ArtifactFiles:
        access = {"server_url": self.servers["hypha"], "token": self.servers["token"]}
        return ArtifactFiles(f"ws/{alias}", **{"retry": PATIENT, "num_threads": 6, **access, **options})

    def _data(self, **options: Any) -> ArtifactFiles:
        return self._hypha("data", **options)

    def _web(self, **options: Any) -> ArtifactFiles:
        return ArtifactFiles(self.servers["web"], **{"retry": PATIENT, "num_threads": 6, **options})

    def _some(self, chance: random.Random, *, threads_end: bool = False) -> ArtifactFiles:
        """A new object or one of those that last, of any kind."""
        kinds: tuple[dict[str, Any], ...] = (
            {}, {}, {}, {"num_threads": 0}, {"transport": "urllib3"}, {"num_threads": 16}, {"green": True},
        )  # fmt: skip
        if threads_end:  # gevent keeps a hub for each thread that had one, and what that has open, for ever
            kinds = kinds[:-1]
        if chance.random() < 0.3:
            return chance.choice(self._lasting)
        return chance.choice((self._data, self._web))(**chance.choice(kinds))

    # -- comparing

    def _compare(self, found: object, expected: bytes, what: str) -> None:
        if not isinstance(found, bytes | bytearray | memoryview) or bytes(found) != expected:
            size = len(found) if isinstance(found, bytes | bytearray | memoryview) else found
            raise Wrong(f"{what}: {size!r:.60} instead of the {len(expected)} bytes that it has")
        with self._lock:
            self.compared["files"] += 1
            self.compared["bytes"] += len(expected)

    def _compare_results(self, results: Sequence[Result], names: Sequence[str]) -> None:
        if [result["path"] for result in results] != list(names):
            raise Wrong("results that are missing, or not in order")
        for result in results:
            if result["path"].startswith("missing/"):
                if not isinstance(result["error"], FileNotFoundError):
                    raise Wrong(f"{result['path']} does not exist, but: {result['error']!r}")
            elif result["error"] is not None:
                raise result["error"]
            else:
                self._compare(result["content"], body_of(result["path"]), result["path"])

    def _names(self, chance: random.Random, most: int) -> list[str]:
        names = [small_name(number) for number in chance.sample(range(SMALL), chance.randint(1, most))]
        if chance.random() < 0.3:
            names.insert(chance.randint(0, len(names)), f"missing/{chance.random()}")
        return names

    # -- tasks

    def task_get(self, actor: int, chance: random.Random) -> None:
        names = self._names(chance, 40)
        self._compare_results(self._some(chance).get(names, raise_errors=False), names)

    def task_iget(self, actor: int, chance: random.Random) -> None:
        names = self._names(chance, 40)
        found = {result["path"]: result for result in self._some(chance).iget(iter(names), raise_errors=False)}
        self._compare_results([found[name] for name in names], names)

    def task_iget_left_early(self, actor: int, chance: random.Random) -> None:
        names = [small_name(number) for number in chance.sample(range(SMALL), 60)]
        leave_at = chance.randint(1, 50)
        for count, result in enumerate(self._some(chance).iget(iter(names))):
            self._compare(result["content"], body_of(result["path"]), result["path"])
            if count == leave_at:
                break

    def task_get_interrupted(self, actor: int, chance: random.Random) -> None:
        """The caller's bar raises; the object is used again at once."""

        class Bar:
            left = chance.randint(1, 30)

            def update(self, n: int) -> None:
                self.left -= 1
                if not self.left:
                    raise InterruptedError("the bar")

        cf, names = self._some(chance), [small_name(number) for number in chance.sample(range(SMALL), 40)]
        try:
            cf.get(names, progress=Bar())
        except InterruptedError:
            self._compare(cf.get(names[0]), body_of(names[0]), names[0])
        else:
            raise Wrong("what the bar raised did not arrive")

    def task_cancelled(self, actor: int, chance: random.Random) -> None:
        import cloudfiles_hypha

        if not hasattr(cloudfiles_hypha, "Cancellation"):
            return
        stop = cloudfiles_hypha.Cancellation()
        timer = threading.Timer(chance.random() * 0.05, stop.cancel)
        timer.start()
        cf, names = self._some(chance), [small_name(number) for number in chance.sample(range(SMALL), 60)]
        with contextlib.suppress(cloudfiles_hypha.Cancelled):
            self._compare_results(cf.get(names, cancel=stop), names)
        timer.join()
        self._compare(cf.get(names[0]), body_of(names[0]), names[0])

    def task_ranges(self, actor: int, chance: random.Random) -> None:
        whole = body_of("large.bin", LARGE)
        starts = [chance.randrange(LARGE) for _ in range(20)]
        ranges = [(start, min(LARGE, start + chance.choice((1, 1000, 100_000)))) for start in starts]
        wanted = [{"path": "large.bin", "start": start, "end": end} for start, end in ranges]
        for (start, end), result in zip(ranges, self._some(chance).get(wanted), strict=True):
            self._compare(result["content"], whole[start:end], f"large.bin {start}-{end}")

    def task_into(self, actor: int, chance: random.Random) -> None:
        names = [small_name(number) for number in chance.sample(range(SMALL), 8)]
        buffers = [bytearray(len(body_of(name))) for name in names]
        items = [{"path": name, "into": buffer} for name, buffer in zip(names, buffers, strict=True)]
        self._some(chance).get(items)
        for name, buffer in zip(names, buffers, strict=True):
            self._compare(buffer, body_of(name), name)

    def task_single_reads(self, actor: int, chance: random.Random) -> None:
        cf = self._some(chance, threads_end=True)
        names = [small_name(number) for number in chance.sample(range(SMALL), 24)]

        def read(mine: list[str]) -> None:
            for name in mine:
                self._compare(cf.get(name), body_of(name), name)

        in_threads(*(lambda mine=names[number::6]: read(mine) for number in range(6)))

    def task_fork(self, actor: int, chance: random.Random) -> None:
        name, cf = small_name(chance.randrange(SMALL)), chance.choice(self._lasting)
        child = os.fork()
        if not child:
            code = 3
            try:
                signal.alarm(int(STUCK / 2))  # says where it hangs, and ends it: see `work`
                code = 0 if cf.get(name) == body_of(name) and len(cf.get([name] * 5)) == 5 else 2
            except BaseException:  # noqa: BLE001 -- nothing may get out of here
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if status:
            raise Wrong(f"a forked child ended with status {status:#x}")

    def task_download(self, actor: int, chance: random.Random) -> None:
        target, names = self.folder / f"down{actor}", self._names(chance, 20)
        for result in self._some(chance).download(names, target, overwrite="always", raise_errors=False):
            if result["error"] is None:
                self._compare((target / result["path"]).read_bytes(), body_of(result["path"]), result["path"])
            elif not result["path"].startswith("missing/"):
                raise result["error"]
        left = [path for path in target.rglob("*") if path.is_file() and not path.name.endswith(".bin")]
        if left:
            raise Wrong(f"left behind by a download: {left[0].name}")
        shutil.rmtree(target, ignore_errors=True)

    def task_download_large(self, actor: int, chance: random.Random) -> None:
        target = self.folder / f"large{actor}.bin"
        cut = ArtifactFiles(self.servers["cut"], retry=PATIENT, num_threads=4)
        cf = cut if chance.random() < 0.5 else self._data()
        cf.download("large.bin", target, overwrite="always")
        self._compare(target.read_bytes(), body_of("large.bin", LARGE), "large.bin")
        target.unlink()

    def task_puts(self, actor: int, chance: random.Random) -> None:
        cf = self._hypha(f"own{actor}", num_threads=chance.choice((0, 4, 16)), multipart_threshold=5 * MIB)
        files = {f"{number}": chance.randbytes(chance.choice((0, 10, 50_000))) for number in range(12)}
        large = {"large": chance.randbytes(chance.choice((MIB, 6 * MIB)))} if chance.random() < 0.3 else {}
        cf.puts(iter({**files, **large}.items()))
        for name, content in cf.get([*files, *large], return_dict=True).items():
            self._compare(content, {**files, **large}[name], f"own{actor}/{name}")

    def task_put_singly(self, actor: int, chance: random.Random) -> None:
        cf, content = self._hypha(f"own{actor}"), chance.randbytes(1000)
        cf.put("single", content)
        self._compare(cf.get("single"), content, f"own{actor}/single")

    def task_put_singly_from_threads(self, actor: int, chance: random.Random) -> None:
        cf = self._hypha(f"own{actor}")
        files = {f"together/{number}": chance.randbytes(100) for number in range(4)}
        in_threads(*(lambda name=name, content=content: cf.put(name, content) for name, content in files.items()))
        for name, content in cf.get(list(files), return_dict=True).items():
            self._compare(content, files[name], f"own{actor}/{name}")

    def task_upload(self, actor: int, chance: random.Random) -> None:
        source = self.folder / f"up{actor}"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        files = {f"{number}": chance.randbytes(chance.choice((0, 10, 50_000))) for number in range(10)}
        for name, content in files.items():
            (source / name).write_bytes(content)
        cf = self._hypha(f"own{actor}")
        cf.upload(source, "folder", overwrite="always")
        for name, content in files.items():
            self._compare(cf.get(f"folder/{name}"), content, f"own{actor}/folder/{name}")

    def task_second_client(self, actor: int, chance: random.Random) -> None:
        """Files of which another client commits new versions: whole ones, and those of one batch of one version."""
        seen = set()
        for index, result in enumerate(self._hypha("shared").get([f"{index}" for index in range(SHARED)])):
            number = int(result["content"].split()[0])
            self._compare(result["content"], generation(number, index), f"shared/{index} of {number}")
            seen.add(number)
        if len(seen) > 1:
            raise Wrong(f"one batch has files of versions {sorted(seen)}")


def work(servers: dict[str, str], seconds: float, seed: int, only: Sequence[str]) -> int:
    """Keep at it for so long, then judge; the exit code."""
    wrong: list[str] = []
    samples: list[Sample] = []
    began = time.monotonic()
    over = threading.Event()
    doing: dict[int, tuple[float, str]] = {}
    faulthandler.enable()
    # For forked children. Their own `dump_traceback_later` would wait for a thread that only the parent has.
    faulthandler.register(signal.SIGALRM, chain=True)

    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        client = Client(servers, Path(folder))

        def act(actor: int) -> None:
            order = sorted(only or client.tasks)
            for number in range(1 << 60):
                if number % len(order) == 0:
                    random.Random(f"{seed}/{actor}/{number}").shuffle(order)
                if over.is_set():
                    return
                name = order[number % len(order)]
                doing[actor] = (time.monotonic(), name)
                try:
                    client.tasks[name](actor, random.Random(f"{seed}/{actor}/{number}"))
                except Exception as error:  # noqa: BLE001 -- each is a violation
                    wrong.append(f"{name} (actor {actor}, number {number}): {type(error).__name__}: {error}")
                    print("".join(traceback.format_exception(error)), file=sys.stderr, flush=True)
                    over.set()
                    return
                client.counts[name] += 1

        def collect() -> None:
            while not over.wait(0.002):
                gc.collect()

        actors = [threading.Thread(target=act, args=(number,), daemon=True) for number in range(ACTORS)]
        threads = [*actors, threading.Thread(target=collect, daemon=True)]
        for thread in threads:
            thread.start()
        step = min(1.0, seconds / 30)
        while time.monotonic() - began < seconds and not over.wait(step):
            faulthandler.dump_traceback_later(STUCK + 30, exit=True)  # for when not even this thread gets to run
            samples.append(sample(began))
            _complain_if_stuck(doing)
        over.set()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.1)
            _complain_if_stuck(doing)
        faulthandler.cancel_dump_traceback_later()

    warm_up = min(WARM_UP, seconds / 4)
    settled = [each for each in samples if each.seconds >= warm_up]
    if len(settled) >= 6:
        wrong += violations_in(settled)
    elif not wrong:
        wrong.append("too short a run to say anything")
    idle = sorted(set(only or client.tasks) - set(client.counts))
    if idle and not wrong:
        wrong.append(f"never done, so the run was too short: {', '.join(idle)}")
    _summary(client, samples, settled, wrong)
    return 1 if wrong else 0


def _complain_if_stuck(doing: dict[int, tuple[float, str]]) -> None:
    for actor, (since, name) in list(doing.items()):
        if time.monotonic() - since > STUCK and threading.active_count() > 1:
            print(f"{name} (actor {actor}) hangs", file=sys.stderr, flush=True)
            faulthandler.dump_traceback(all_threads=True)
            print(f"VIOLATION: {name} hangs", flush=True)
            os._exit(1)


def _summary(client: Client, samples: list[Sample], settled: list[Sample], wrong: list[str]) -> None:
    done = ", ".join(f"{name} {count}" for name, count in sorted(client.counts.items()))
    print(f"{sum(client.counts.values())} tasks: {done}")
    print(f"{client.compared['files']} contents compared, {client.compared['bytes'] / MIB:,.0f} MiB")
    if len(settled) > 1:
        rise = slope_of([(each.seconds / 60, each.memory) for each in settled]) / MIB
        print(
            f"memory {settled[0].memory / MIB:.1f} to {settled[-1].memory / MIB:.1f} MiB, {rise:+.2f} MiB a minute; "
            f"descriptors {settled[0].descriptors} to {settled[-1].descriptors}, most "
            f"{max(each.descriptors for each in samples)}; threads {settled[0].threads} to {settled[-1].threads}, most "
            f"{max(each.threads for each in samples)} (measured for {settled[-1].seconds - settled[0].seconds:.0f} s)"
        )
    for each in wrong:
        print(f"VIOLATION: {each}")


# -- watching ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def servers_in_a_process(seed: int) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    process = _start("--serve", "--seed", str(seed))
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise RuntimeError("the servers did not start")
        yield process, json.loads(said)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _start(*arguments: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        # glibc gives short-lived threads memory of their own, and keeps it: tens of MiB that come and go by chance, in
        # which a leak would be lost.
        "MALLOC_ARENA_MAX": "1",
    }
    command = [sys.executable, "-m", "tests.soak", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def watch(seconds: float, seed: int, only: Sequence[str]) -> int:
    """Run it all; the exit code."""
    with servers_in_a_process(seed) as (servers, where):
        client = _start("--work", "--seconds", str(seconds), "--seed", str(seed), "--only", *only)
        try:
            said, _ = client.communicate(json.dumps(where), timeout=seconds + 2 * STUCK + 60)
        except subprocess.TimeoutExpired:
            client.kill()
            said, _ = client.communicate()
            print(said, end="")
            print("VIOLATION: the client did not end")
            return 1
        print(said, end="")
        if client.returncode < 0:
            print(f"VIOLATION: the client was killed by signal {-client.returncode}")
        elif client.returncode and "VIOLATION" not in said:
            print(f"VIOLATION: the client ended with exit code {client.returncode}")
        if servers.poll() is not None:
            print("the servers have ended by themselves: this run says nothing")
            return 2
        return 1 if client.returncode else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0, help="how long to work (1800)")
    parser.add_argument("--seed", type=int, default=None, help="of all that is left to chance; else a new one")
    parser.add_argument("--only", nargs="*", default=[], metavar="TASK", help="to narrow down what was found")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    if options.serve:
        serve(seed)
        return 0
    if options.work:
        return work(json.loads(sys.stdin.read()), options.seconds, seed, options.only)
    print(f"seed {seed}, {options.seconds:g} s, Python {sys.version.split()[0]}", flush=True)
    return watch(options.seconds, seed, options.only)


if __name__ == "__main__":
    sys.exit(main())
