"""Thin adapters for each client, and the child process that measures one of them.

``measure_in_child`` starts ``python -m benchmarks.clients``, gives it one task as JSON on its standard input and
reads one JSON line back; so CPU time and peak memory are those of one client alone. Every body that a client
returns is compared with what was generated, after the clock has stopped.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import json
import os
import queue
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from .servers import ROOT, SMALL_SIZE, TINY, TINY_SIZE, Unavailable, file_name, payload

T = TypeVar("T")
Figures = dict[str, float]
Fetch = Callable[[Sequence[str]], Sequence[Any]]
"""Reads the files of these names, and returns bytes, or what ``bytes()`` accepts, in the same order."""

FOLDER = "data"  # of the files in a Hypha artifact


class MissingPeer(Unavailable):
    """The child has no such package."""


# -- HTTP: each takes the base URL and how many requests may be under way at once ---------------------------------


def _ours(base: str, workers: int, **options: Any) -> Fetch:
    from cloudfiles_hypha import ArtifactFiles

    files = ArtifactFiles(base, num_threads=workers, **options)
    return lambda names: [result["content"] for result in files.get(names)]


def ours_threads(base: str, workers: int) -> Fetch:
    return _ours(base, workers, green=False)


def ours_green(base: str, workers: int) -> Fetch:
    return _ours(base, workers, green=True)


def ours_inline(base: str, workers: int) -> Fetch:
    return _ours(base, 0, green=False)


def ours_urllib3(base: str, workers: int) -> Fetch:
    return _ours(base, workers, green=False, transport="urllib3")


def obstore_threads(base: str, workers: int) -> Fetch:
    import obstore
    from obstore.store import HTTPStore

    store = HTTPStore.from_url(base, client_options={"allow_http": True})

    def fetch(names: Sequence[str]) -> Sequence[Any]:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(lambda name: obstore.get(store, name).bytes(), names))

    return fetch


def urllib3_threads(base: str, workers: int) -> Fetch:
    import urllib3

    manager = urllib3.PoolManager(maxsize=workers)

    def fetch(names: Sequence[str]) -> Sequence[bytes]:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(lambda name: manager.request("GET", f"{base}/{name}").data, names))

    return fetch


def pycurl_threads(base: str, workers: int) -> Fetch:
    """The least that libcurl can be driven with: a handle for each thread, names pulled from a queue."""
    import pycurl

    handles = [pycurl.Curl() for _ in range(workers)]

    def fetch(names: Sequence[str]) -> Sequence[bytes]:
        bodies: list[bytes] = [b""] * len(names)
        todo: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()

        def work(handle: Any) -> None:
            chunks: list[bytes] = []
            handle.setopt(pycurl.NOSIGNAL, 1)
            handle.setopt(pycurl.WRITEFUNCTION, chunks.append)
            while (item := todo.get()) is not None:
                index, name = item
                chunks.clear()
                handle.setopt(pycurl.URL, f"{base}/{name}")
                handle.perform()
                bodies[index] = b"".join(chunks)

        for item in enumerate(names):
            todo.put(item)
        threads = [threading.Thread(target=work, args=(handle,)) for handle in handles]
        for thread in threads:
            todo.put(None)
            thread.start()
        for thread in threads:
            thread.join()
        return bodies

    return fetch


def aiohttp_tasks(base: str, workers: int) -> Fetch:
    import aiohttp

    loop = asyncio.new_event_loop()

    async def connect() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=workers))

    session = loop.run_until_complete(connect())

    async def fetch_all(names: Sequence[str]) -> list[bytes]:
        bodies: list[bytes] = [b""] * len(names)
        todo = iter(enumerate(names))

        async def work() -> None:
            for index, name in todo:
                async with session.get(f"{base}/{name}") as response:
                    bodies[index] = await response.read()

        await asyncio.gather(*(work() for _ in range(workers)))
        return bodies

    return lambda names: loop.run_until_complete(fetch_all(names))


def raw_sockets(base: str, workers: int) -> Fetch:
    """No HTTP client at all: shows what server and machine can do. Takes for granted how long every body is."""
    host, _, folder = base.removeprefix("http://").partition("/")
    address, _, port = host.partition(":")
    connections = [socket.create_connection((address, int(port))) for _ in range(workers)]

    def fetch(names: Sequence[str]) -> Sequence[bytes]:
        bodies: list[bytes] = [b""] * len(names)
        todo = iter(enumerate(names))
        asked: dict[socket.socket, int] = {}
        selector = selectors.DefaultSelector()

        def ask(connection: socket.socket) -> None:
            index, name = next(todo, (-1, ""))
            if index < 0:
                selector.unregister(connection)
            else:
                asked[connection] = index
                connection.sendall(f"GET /{folder}/{name} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, bytearray())
            ask(connection)
        while selector.get_map():
            for key, _ in selector.select():
                connection, received = cast(socket.socket, key.fileobj), key.data
                received += connection.recv(65536)
                body = received.find(b"\r\n\r\n") + 4
                if body > 3 and len(received) >= body + SMALL_SIZE:
                    bodies[asked[connection]] = bytes(received[body:])
                    received.clear()
                    ask(connection)
        return bodies

    return fetch


HTTP_CLIENTS: dict[str, Callable[[str, int], Fetch]] = {
    "ours, threads": ours_threads,
    "ours, green": ours_green,
    "ours, inline": ours_inline,
    "ours, urllib3 transport": ours_urllib3,
    "obstore, threads": obstore_threads,
    "urllib3, threads": urllib3_threads,
    "pycurl, bare threads": pycurl_threads,
    "aiohttp": aiohttp_tasks,
    "raw sockets": raw_sockets,
}


# -- Hypha ----------------------------------------------------------------------------------------------------------


class Access:
    """Where the Hypha server is, and one raw call to its artifact manager, by nothing but the standard library."""

    def __init__(self, server: str, token: str, workspace: str) -> None:
        self.server, self.token, self.workspace = server, token, workspace

    def call(self, method: str, **arguments: Any) -> Any:
        request = urllib.request.Request(
            f"{self.server}/public/services/artifact-manager/{method}",
            data=json.dumps(arguments).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def files(self, alias: str, **options: Any) -> Any:
        from cloudfiles_hypha import ArtifactFiles

        path = f"hypha://{self.workspace}/{alias}"
        return ArtifactFiles(path, server_url=self.server, token=self.token, **options)

    def hypha_artifact(self, alias: str, kind: str = "HyphaArtifact") -> Any:
        import hypha_artifact

        return getattr(hypha_artifact, kind)(alias, self.workspace, self.token, self.server)


def get_raw(access: Access, alias: str, names: list[str]) -> Any:
    """One ``get_file`` call: the URLs, which is the least that any client has to ask for."""
    return access.call("get_file", artifact_id=f"{access.workspace}/{alias}", file_path=names)


def get_ours(access: Access, alias: str, names: list[str]) -> list[bytes]:
    return [result["content"] for result in access.files(alias).get(names)]


def get_by_cat(access: Access, alias: str, names: list[str]) -> list[bytes]:
    """``HyphaArtifact.cat`` of a list: reads one file after the other, as text."""
    texts = access.hypha_artifact(alias).cat(names)
    return [texts[name].encode() for name in names]


def get_to_disk(access: Access, alias: str, names: list[str]) -> list[bytes]:
    """``HyphaArtifact.get`` of a list into local files."""
    with tempfile.TemporaryDirectory(prefix="benchmark-get-") as directory:
        targets = [f"{directory}/{name}" for name in names]
        access.hypha_artifact(alias).get(names, targets, callback=lambda event: None)
        return [Path(target).read_bytes() for target in targets]


def get_by_gather(access: Access, alias: str, names: list[str]) -> list[bytes]:
    """``AsyncHyphaArtifact.cat`` of each file, all at once: not what its guide shows, but what a user might try."""

    async def read_all() -> list[bytes]:
        async with access.hypha_artifact(alias, "AsyncHyphaArtifact") as artifact:
            return [text.encode() for text in await asyncio.gather(*map(artifact.cat, names))]

    return asyncio.run(read_all())


def put_raw(access: Access, alias: str, source: Path, names: list[str]) -> Figures:
    """One ``put_file`` and one ``commit``, which is the least that any client has to ask for; only they are timed."""
    artifact = f"{access.workspace}/{alias}"
    access.call("create", alias=alias, workspace=access.workspace, manifest={"name": alias}, stage=True)
    urls, signing = _timed(lambda: access.call("put_file", artifact_id=artifact, file_path=names))
    _exchange("PUT", [(urls[name], (source / Path(name).name).read_bytes()) for name in names])
    _, committing = _timed(lambda: access.call("commit", artifact_id=artifact))
    return {"seconds": signing["seconds"] + committing["seconds"], "signing": signing["seconds"]}


def put_ours(access: Access, alias: str, source: Path, names: list[str]) -> Figures:
    items = [(name, source / Path(name).name) for name in names]
    return _timed(lambda: access.files(alias, create=True).puts(items))[1]


def put_by_hypha_artifact(access: Access, alias: str, source: Path, names: list[str]) -> Figures:
    """Create, upload a local folder, commit: what its guide shows."""

    def put() -> None:
        artifact = access.hypha_artifact(alias)
        artifact.create(stage=True)
        artifact.put(str(source), FOLDER, recursive=True, callback=lambda event: None)
        artifact.commit()

    return _timed(put)[1]


HYPHA_READERS: dict[str, Callable[[Access, str, list[str]], Any]] = {
    "raw get_file": get_raw,
    "ours": get_ours,
    "hypha-artifact, cat": get_by_cat,
    "hypha-artifact, get to disk": get_to_disk,
    "hypha-artifact, async gather": get_by_gather,
}
HYPHA_WRITERS: dict[str, Callable[[Access, str, Path, list[str]], Figures]] = {
    "raw put_file + commit": put_raw,
    "ours": put_ours,
    "hypha-artifact": put_by_hypha_artifact,
}


# -- tasks: what the child is asked to do ---------------------------------------------------------------------------


def task_http(*, client: str, base: str, workers: int, count: int, size: int, warm_up: int) -> Figures:
    """Read ``count`` files by HTTP, on connections that ``warm_up`` requests have opened."""
    names = [file_name(index) for index in range(count)]
    fetch = HTTP_CLIENTS[client](base, workers)
    fetch(names[:warm_up])
    bodies, figures = _timed(lambda: fetch(names))
    _verify(bodies, size)
    return {**figures, "items": count}


def task_hypha_get(
    *, client: str, access: dict[str, str], alias: str, count: int, size: int, second: str | None = None
) -> Figures:
    """Read ``count`` files of an artifact, with no URL known beforehand; then as many of a ``second``, as ``later``."""
    names = [f"{FOLDER}/{file_name(index)}" for index in range(count)]
    reader = HYPHA_READERS[client]
    import_package(client)

    def read(which: str) -> Figures:
        answer, figures = _timed(lambda: reader(Access(**access), which, names))
        if reader is get_raw:
            assert sorted(answer) == names, "the server left out some URLs"
        else:
            _verify(answer, size)
        return figures

    figures = read(alias)
    if second is not None:
        figures["later"] = read(second)["seconds"]
    return {**figures, "items": count}


def task_hypha_single(*, client: str, access: dict[str, str], alias: str, count: int, size: int, log: str) -> Figures:
    """Read ``count`` files of an artifact: in one call, from 64 threads that each read one file after the other, or
    from as many coroutines; or by the file system."""
    names = [f"{FOLDER}/{file_name(index)}" for index in range(count)]
    import_package("ours")
    hypha = Access(**access)
    files = hypha.files(alias)
    before = noted(log)
    if client == "one batch":
        bodies, figures = _timed(lambda: [result["content"] for result in files.get(names)])
    elif client == "a coroutine each":
        from cloudfiles_hypha import AsyncArtifactFiles

        async def read() -> list[Any]:
            awaited = AsyncArtifactFiles(files)
            return await asyncio.gather(*[awaited.get(name) for name in names])

        bodies, figures = _timed(lambda: asyncio.run(read()))
    elif client == "fs.cat":
        from cloudfiles_hypha.filesystem.fsspec import HyphaFileSystem

        paths = [f"{hypha.workspace}/{alias}/{name}" for name in names]
        fs = HyphaFileSystem(server_url=hypha.server, token=hypha.token)
        found, figures = _timed(lambda: fs.cat(paths))
        bodies = [found[path] for path in paths]
    else:
        with ThreadPoolExecutor(64) as pool:
            bodies, figures = _timed(lambda: list(pool.map(files.get, names)))
    _verify(bodies, size)
    return {**figures, "items": count, "calls": noted(log)[0] - before[0]}


def task_hypha_put(*, client: str, access: dict[str, str], alias: str, source: str, count: int, size: int) -> Figures:
    """Make an artifact of ``count`` files; then read it back and compare, untimed."""
    names = [f"{FOLDER}/{file_name(index)}" for index in range(count)]
    hypha = Access(**access)
    import_package(client)
    figures = HYPHA_WRITERS[client](hypha, alias, Path(source), names)
    urls = get_raw(hypha, alias, names)
    _verify(_exchange("GET", [(urls[name], None) for name in names]), size)
    return {**figures, "items": count}


def task_two_items(*, base: str, calls: int) -> Figures:
    """The first call of a process with two items, and later ones (milliseconds)."""
    from cloudfiles_hypha import ArtifactFiles

    files = ArtifactFiles(base)
    took = []
    for _ in range(calls):
        results, figures = _timed(lambda: files.get([file_name(0), file_name(1)]), collect=False)
        _verify([result["content"] for result in results], SMALL_SIZE)
        took.append(figures["seconds"] * 1000)
    return {"first": took[0], "later": statistics.median(took[1:]), "slowest later": max(took[1:]), "items": 2}


def task_iget_memory(*, base: str, count: int) -> Figures:
    """How much the peak of memory grows while a generator of many items runs through ``iget`` (MB)."""
    from cloudfiles_hypha import ArtifactFiles

    expected = {file_name(index): payload(index, TINY_SIZE) for index in range(TINY)}
    files = ArtifactFiles(base, num_threads=16)

    def read(many: int) -> int:
        seen = 0
        for result in files.iget(file_name(index % TINY) for index in range(many)):
            assert result["content"] == expected[result["path"]]
            seen += 1
        return seen

    read(1000)
    before = peak_memory_mb()
    seen, figures = _timed(lambda: read(count))
    assert seen == count
    return {**figures, "growth": peak_memory_mb() - before, "items": count}


def task_puts_memory(*, count: int) -> Figures:
    """The same for ``puts`` to ``mem://``, which keeps what it is given and returns a result for each (MB)."""
    from cloudfiles_hypha import ArtifactFiles

    body = payload(0, TINY_SIZE)
    files = ArtifactFiles("mem://benchmark", num_threads=16)
    files.puts((file_name(index), body) for index in range(1000))
    before = peak_memory_mb()
    results, figures = _timed(lambda: files.puts((f"new/{file_name(index)}", body) for index in range(count)))
    growth = peak_memory_mb() - before
    assert len(results) == count
    assert all(result["content"] == body for result in files.get([f"new/{file_name(index)}" for index in range(100)]))
    return {**figures, "growth": growth, "items": count}


def task_import(*, statement: str, times: int) -> Figures:
    """How long a fresh interpreter takes for a statement: the median of several (milliseconds).

    Modules are compiled beforehand, as an installer leaves them, whatever the environment says of bytecode.
    """
    command = [sys.executable, "-c", statement]
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def run() -> None:
            subprocess.run(command, check=True, env=environment)

        run()
        took = [_timed(run, collect=False)[1]["seconds"] for _ in range(times)]
    return {"milliseconds": statistics.median(took) * 1000, "items": 1}


TASKS: dict[str, Callable[..., Figures]] = {
    "http": task_http,
    "hypha-get": task_hypha_get,
    "hypha-single": task_hypha_single,
    "import": task_import,
    "hypha-put": task_hypha_put,
    "two-items": task_two_items,
    "iget-memory": task_iget_memory,
    "puts-memory": task_puts_memory,
}


def import_package(client: str) -> None:
    """Load what ``client`` needs: importing is not part of any measure."""
    if client.startswith("ours"):
        import cloudfiles_hypha  # noqa: F401
    elif client.startswith("hypha-artifact"):
        import hypha_artifact  # noqa: F401


def peak_memory_mb() -> float:
    """The most memory this process has had. Linux hands ru_maxrss down from the parent, but not VmHWM."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _timed(call: Callable[[], T], *, collect: bool = True) -> tuple[T, Figures]:
    if collect:
        gc.collect()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    value = call()
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime - usage.ru_utime + used.ru_stime - usage.ru_stime
    return value, {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak_memory_mb()}


def noted(log: str) -> tuple[int, int]:
    """How many requests nginx has noted so far, and how many bytes of bodies; once it notes no more."""
    seen = -1
    while True:
        lines = Path(log).read_text(encoding="ascii").splitlines()
        if len(lines) == seen:
            return seen, sum(map(int, lines))
        seen = len(lines)
        time.sleep(0.3)


def _verify(bodies: Sequence[Any], size: int) -> None:
    for index, body in enumerate(bodies):
        if bytes(body) != payload(index, size):
            raise AssertionError(f"file {index}: {len(body)} bytes, which are not what was generated")


def _exchange(method: str, requests: list[tuple[str, bytes | None]]) -> list[bytes]:
    """Send these requests with urllib3, for what is not measured."""
    import urllib3

    manager = urllib3.PoolManager(maxsize=16)

    def send(request: tuple[str, bytes | None]) -> bytes:
        answer = manager.request(method, request[0], body=request[1])
        assert answer.status == 200, f"{method} answered {answer.status}"
        return answer.data

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(send, requests))


# -- the two ends of the pipe ---------------------------------------------------------------------------------------


def measure_in_child(task: str, **arguments: Any) -> Figures:
    """Run one task in a fresh process; raises ``MissingPeer`` where its client is not installed."""
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is imported late is compiled, as an installer leaves it
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.clients"],
        input=json.dumps({"task": task, **arguments}),  # not on the command line: there may be a token in it
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=600,
        check=False,
    )
    if child.returncode != 0:
        raise RuntimeError(f"{task} failed:\n{child.stderr[-3000:]}")
    answer = json.loads(child.stdout.splitlines()[-1])
    if "missing" in answer:
        raise MissingPeer(f"{answer['missing']} is not installed (the extra [bench])")
    figures: Figures = answer
    return figures


def version_of(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    arguments = json.load(sys.stdin)
    from . import async_clients, bucket_clients, file_clients, library_clients, mount_clients, movers

    modules = (movers, bucket_clients, file_clients, library_clients, async_clients, mount_clients)
    task = dict(TASKS, **{name: each for module in modules for name, each in module.TASKS.items()})[
        arguments.pop("task")
    ]
    try:
        answer: dict[str, Any] = task(**arguments)
    except ModuleNotFoundError as error:
        answer = {"missing": error.name}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
