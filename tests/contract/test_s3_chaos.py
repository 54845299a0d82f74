"""``s3://`` where everything fails now and then: networks, stores, processes, other writers; against a real server."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cloudfiles_hypha import ArtifactFiles, ObjectExists, RetryPolicy
from cloudfiles_hypha.disk.tree import is_left_over
from cloudfiles_hypha.transports import HttpRequest, HttpResponse
from tests.support.child import ROOT
from tests.support.proxies import CuttingProxy, DelayingProxy, Proxy, ResettingProxy
from tests.support.s3_servers import S3Server, seaweed

MIB = 1024 * 1024
BIG = random.Random(1).randbytes(24 * MIB + 17)
IN_PARTS = {"multipart_threshold": 6 * MIB, "part_size": 5 * MIB}
PATIENT = RetryPolicy(first=0.01, longest=0.1, elapsed=40)
ENGINES: dict[str, dict[str, Any]] = {"threads": {"num_threads": 16}, "green": {"num_threads": 16, "green": True}}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with seaweed() as server:
        server.make_bucket("chaos")
        yield server


def opened(server: S3Server, folder: str, proxy: Proxy | None = None, **options: Any) -> ArtifactFiles:
    url = server.url if proxy is None else proxy.url
    settings = {"retry": PATIENT, **IN_PARTS, **options}
    return ArtifactFiles(f"s3://{url}/chaos/{folder}", secrets=server.secrets, **settings)


def target(server: S3Server) -> tuple[str, int]:
    host = urlsplit(server.url)
    assert host.hostname is not None
    assert host.port is not None
    return host.hostname, host.port


def numbered(count: int, size: int) -> list[tuple[str, bytes]]:
    return [(f"n/{number:03}", BIG[number : number + size]) for number in range(count)]


def forget_orphans(cf: ArtifactFiles) -> None:
    """Whatever was begun has been ended, but for what nobody could know of: where the answer that names an upload was
    lost, or its process was killed before it could note it."""
    found = [*cf.uploads()]
    assert not [each for each in found if each.ours]
    cf.abort_uploads(found)
    assert [*cf.uploads()] == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_that_resets_a_tenth_of_the_answers_damages_nothing(server: S3Server, engine: str) -> None:
    given = [*numbered(150, 3000), ("large", BIG[: 12 * MIB]), ("empty", b"")]
    names = [name for name, _ in given]
    with ResettingProxy(*target(server), reset_fraction=0.1, cut_after=(0, 3000), seed=1) as proxy:
        with opened(server, f"reset-{engine}", proxy, **ENGINES[engine]) as cf:
            results = cf.puts(given)
            assert [(result["path"], result["error"]) for result in results] == [(name, None) for name in names]
            assert [*cf.list()] == sorted(names)
            read = cf.get(names)
            assert [(result["path"], result["content"]) for result in read] == given
            assert max(result["attempts"] for result in [*results, *read]) > 1
            cf.transfer_to(cf, [(name, f"copy/{name}") for name in names])
            assert cf.get([f"copy/{name}" for name in names[:20]], return_dict=True) == {
                f"copy/{name}": content for name, content in given[:20]
            }
            cf.delete([*cf.list()])
            assert [*cf.list()] == []
        assert proxy.resets > 10


def test_a_network_that_cuts_every_connection_damages_no_large_file(server: S3Server, tmp_path: Path) -> None:
    body = BIG * 3
    with (
        CuttingProxy(*target(server), cut_after=(1000, 12 * MIB), seed=3) as proxy,
        opened(server, "cut", proxy, num_threads=6) as cf,
    ):
        assert cf.put("x", body)["verified"] == "etag-parts"
        cuts = proxy.cuts
        assert cuts > 2
        assert cf.download("x", tmp_path / "x", part_size=2 * MIB)["verified"] == "etag-parts"
        assert proxy.cuts > cuts + 2
    assert (tmp_path / "x").read_bytes() == body
    with opened(server, "cut") as cf:
        forget_orphans(cf)


def test_a_network_that_is_slow_damages_nothing(server: S3Server) -> None:
    given = numbered(60, 2000)
    with DelayingProxy(*target(server), delay=0.02) as proxy, opened(server, "slow", proxy) as cf:
        cf.puts(given)
        assert cf.get([name for name, _ in given], return_dict=True) == dict(given)


class Bursts:
    """A transport whose answers come in bursts: of every thirty requests six in a row fail, two of them although the
    store has done what it was asked for."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._count = self.failed = 0
        self.close = transport.close

    def send(self, request: HttpRequest) -> HttpResponse:
        with self._lock:
            self._count += 1
            at = self._count % 30
        if at >= 6:
            answer: HttpResponse = self._transport.send(request)
            return answer
        self.failed += 1
        if at >= 4 and request.sink is None:  # not where it says that it was too busy
            self._transport.send(request)
        code, status = (("SlowDown", 503), ("InternalError", 500), ("InternalError", 502))[at % 3]
        return HttpResponse(status, f"<Error><Code>{code}</Code></Error>".encode(), [], {})


@pytest.mark.parametrize("overwrite", ["always", "never"])
def test_a_store_that_fails_in_bursts_loses_nothing_and_takes_nothing_twice(
    server: S3Server, tmp_path: Path, overwrite: Any
) -> None:
    given = [*numbered(120, 3000), ("large", BIG)]
    with opened(server, f"bursts-{overwrite}", num_threads=4) as cf:
        sender = cf._backend.sender  # type: ignore[attr-defined]
        bursts = sender._transport = Bursts(sender._transport)
        results = cf.puts(given, overwrite=overwrite)
        assert [(result["path"], result["error"]) for result in results] == [(name, None) for name, _ in given]
        assert bursts.failed > 10
        assert cf.get([name for name, _ in given], return_dict=True) == dict(given)
        forget_orphans(cf)
        if overwrite == "never":
            again = cf.puts([(name, content[::-1]) for name, content in given], overwrite="never", raise_errors=False)
            assert {type(result["error"]) for result in again} == {ObjectExists}
            assert cf.get([name for name, _ in given], return_dict=True) == dict(given)


# Runs until it is killed, after some seconds.
_VICTIM = """
import json, os, sys, threading, time
from cloudfiles_hypha import ArtifactFiles
what, seconds, cloudpath, secrets, source, target, options = json.loads(sys.argv[1])
cf = ArtifactFiles(cloudpath, secrets=secrets, num_threads=4, **options)
cf.exists("warm")
threading.Thread(target=lambda: (time.sleep(seconds), os.kill(os.getpid(), 9)), daemon=True).start()
if what == "up":
    cf.upload(source, "k")
else:
    cf.download("k/", target, part_size=1 << 20)
"""


def test_kill_minus_nine_in_uploads_and_downloads_damages_nothing(server: S3Server, tmp_path: Path) -> None:
    source, copied = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name, content in [*numbered(30, 200_000), ("n/big", BIG)]:
        (source / name.removeprefix("n/")).write_bytes(content)

    def run(what: str, seconds: float) -> int:
        arguments = [what, seconds, f"{server.cloudpath('chaos')}/kill", server.secrets, str(source), str(copied)]
        done = subprocess.run(
            [sys.executable, "-c", _VICTIM, json.dumps([*arguments, IN_PARTS])],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=False,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode

    with opened(server, "kill") as cf:
        assert -signal.SIGKILL in [run("up", seconds) for seconds in (0.05, 0.1, 0.15)]
        cf.upload(source, "k")
        contents = {f"k/{path.name}": path.read_bytes() for path in source.iterdir()}
        assert cf.get([*contents], return_dict=True) == contents
        assert -signal.SIGKILL in [run("down", seconds) for seconds in (0.02, 0.05, 0.1)]
        cf.download("k/", copied)
        forget_orphans(cf)
    # of a small file that was being written when its process was killed the hidden draft stays
    arrived = [path for path in copied.iterdir() if not is_left_over(path.name)]
    assert {f"k/{path.name}": path.read_bytes() for path in arrived} == contents


def test_an_object_replaced_between_two_parts_comes_unmixed(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = BIG[::-1]
    with opened(server, "replaced", num_threads=2) as cf, opened(server, "replaced") as other:
        cf.put("x", BIG)
        sender = cf._backend.sender  # type: ignore[attr-defined]
        send, parts = sender.send, iter(range(1000))

        def replacing(request: HttpRequest) -> HttpResponse:
            if request.sink is not None and next(parts) == 3:
                other.put("x", new)
            answer: HttpResponse = send(request)
            return answer

        monkeypatch.setattr(sender, "send", replacing)
        cf.download("x", tmp_path / "x", part_size=2 * MIB)
    assert (tmp_path / "x").read_bytes() == new
    assert os.listdir(tmp_path) == ["x"]


def test_of_several_writers_on_a_condition_one_wins(server: S3Server) -> None:
    start = threading.Barrier(6)
    won: list[int] = []
    told: list[Exception] = []

    def write(number: int) -> None:
        with opened(server, "winner", num_threads=0) as cf:
            for turn in range(3):
                start.wait()
                try:
                    cf.put(f"{turn}", b"%d" % number, overwrite="never")
                    won.append(number)
                except ObjectExists as error:
                    told.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(told)) == (3, 15)
