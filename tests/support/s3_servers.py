"""Real servers that speak S3, for tests: SeaweedFS (from the environment of the embedded server), moto and rclone."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.backends.s3.backend import S3Backend
from cloudfiles_hypha.devserver.processes import (
    HOST,
    PYTHON_VARIABLE,
    ServerProcess,
    choose_ports,
    find_weed,
    inherited_environment,
)
from cloudfiles_hypha.transports import HttpRequest

KEY, SECRET = "AKIATESTTESTTEST", "a/secret+for-tests-0123456789"
GUEST, GUESTS = "AKIAGUESTGUEST", "guests"  # whose key it is that opens one bucket only, with the same secret
READY = 60.0


@dataclass(frozen=True)
class S3Server:
    """A server and the keys for it."""

    url: str
    copies_parts: bool = True

    @property
    def secrets(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    @property
    def guest_secrets(self) -> dict[str, str]:
        """Of somebody who may use the bucket GUESTS and no other one; SeaweedFS only."""
        return {**self.secrets, "AWS_ACCESS_KEY_ID": GUEST}

    def cloudpath(self, bucket: str) -> str:
        return f"s3://{self.url}/{bucket}"

    def make_bucket(self, bucket: str) -> None:
        """A new one; the client has no verb for that, but signs whatever it sends."""
        with ArtifactFiles(self.cloudpath(bucket), secrets=self.secrets, num_threads=0) as cf:
            backend = cf._backend
            assert isinstance(backend, S3Backend)
            assert backend.sender.send(HttpRequest("PUT", "")).status == 200


def status_of(url: str) -> int | None:
    """The status of a GET without any proxy; None if nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)
    except OSError:
        return None


@contextmanager
def serving(command: Sequence[str], home: Path, is_ready: Callable[[], bool]) -> Iterator[None]:
    """Run a server until the block ends; a test that needs one that does not come up fails, and says why."""
    own = {"HOME": str(home), "TMPDIR": str(home / "tmp")}
    (home / "tmp").mkdir(exist_ok=True)
    with (home / "lock").open("ab") as kept:
        server = ServerProcess(
            command,
            python=sys.executable,
            grace=1.0,
            home=home,
            log=home / "server.log",
            environment={**inherited_environment(), **own},
            kept_open=kept.fileno(),
        )
        try:
            deadline = time.monotonic() + READY
            while not is_ready():
                if server.exit_code() is not None or time.monotonic() > deadline:
                    pytest.fail(f"{command[0]} does not serve:\n{server.log_text()[-4000:]}")
                time.sleep(0.05)
            yield
        finally:
            server.ask_to_stop(gently=False)
            server.join()


@contextmanager
def seaweed() -> Iterator[S3Server]:
    """SeaweedFS; skips where it is not installed."""
    python = os.environ.get(PYTHON_VARIABLE)
    if not python:
        pytest.skip(f"SeaweedFS is of the environment that {PYTHON_VARIABLE} names")
    weed = find_weed(python)
    names = ("master", "volume", "filer", "s3", "admin")
    ports = dict(zip(names, choose_ports(len(names)), strict=True))
    with tempfile.TemporaryDirectory(prefix="s3-") as folder:
        home = Path(folder)
        (home / "data").mkdir()
        identity = {
            "name": "admin",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        guest = {
            "name": "guest",
            "credentials": [{"accessKey": GUEST, "secretKey": SECRET}],
            "actions": [f"{action}:{GUESTS}" for action in ("Read", "Write", "List")],
        }
        (home / "s3.json").write_text(json.dumps({"identities": [identity, guest]}))
        command = [
            weed,
            "-logtostderr",
            "mini",
            f"-dir={home / 'data'}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            *(f"-{name}.port={port}" for name, port in ports.items()),
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={home / 's3.json'}",
            "-s3.localSocket=tmp/s3.sock",
            "-filer.localSocket=tmp/filer.sock",
            "-master.volumeSizeLimitMB=256",
            "-volume.max=100",
            "-volume.preStopSeconds=0",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
        ]
        url = f"http://{HOST}:{ports['s3']}"
        assign = f"http://{HOST}:{ports['master']}/dir/assign"
        try:
            with serving(command, home, lambda: status_of(url) == 403 and status_of(assign) == 200):
                yield S3Server(url)
        finally:
            for port in ports.values():  # SeaweedFS makes these beside its gRPC ports, and leaves them when killed
                for name in ("master", "volume", "filer"):
                    Path(f"/tmp/seaweedfs-{name}-grpc-{port + 10_000}.sock").unlink(missing_ok=True)


@contextmanager
def moto() -> Iterator[S3Server]:
    """moto's server, which checks no signatures; skips where it is not installed."""
    pytest.importorskip("moto.server")
    (port,) = choose_ports(1)
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with (
        tempfile.TemporaryDirectory(prefix="moto-") as folder,
        serving(command, Path(folder), lambda: status_of(f"{url}/moto-api/") == 200),
    ):
        yield S3Server(url)


@contextmanager
def rclone() -> Iterator[S3Server]:
    """``rclone serve s3`` on a folder; skips where it is not installed."""
    program = shutil.which("rclone") or shutil.which("rclone", path=os.path.dirname(sys.executable))
    if program is None:
        pytest.skip("rclone is not installed")
    (port,) = choose_ports(1)
    url = f"http://{HOST}:{port}"
    with tempfile.TemporaryDirectory(prefix="rclone-") as folder:
        home = Path(folder)
        (home / "data").mkdir()
        command = [program, "serve", "s3", f"--addr={HOST}:{port}", f"--auth-key={KEY},{SECRET}", str(home / "data")]
        with serving(command, home, lambda: status_of(url) is not None):
            yield S3Server(url, copies_parts=False)
