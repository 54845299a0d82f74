"""The servers that the cases run against, and the bytes they serve.

``nginx`` serves generated files from a temporary directory with one worker process. ``delaying``
starts a server that answers each request only after some time; it is this module, run as a process of its own.
A real Hypha with a real S3 is the package's own ``DevServer``; ``far_hypha`` starts one whose S3 is some way off.
All listen on 127.0.0.1 only.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import random
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cloudfiles_hypha.devserver.server import DevServer
from tests.support.proxies import DelayingProxy

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
NGINX_ADVICE = "nginx is not installed (Debian and Ubuntu: apt-get install nginx-light)"

SMALL, SMALL_SIZE = 10_000, 4096
TINY, TINY_SIZE = 1_000, 100

_NGINX = """
{user}
worker_processes 1;
daemon off;
pid {home}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    log_format bytes $body_bytes_sent;
    access_log {log};
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 100000000;
    keepalive_timeout 300s;
    open_file_cache max=20000 inactive=1h;
    open_file_cache_valid 1h;
    default_type application/octet-stream;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen {host}:{port} backlog=1024;
        {server}
    }}
}}
"""
_PASS_ON = """
        client_max_body_size 0;
        location / {{
            proxy_pass {target};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_read_timeout 300s;
        }}
"""


class Unavailable(RuntimeError):
    """A case cannot be measured here; the message says what is missing and how to get it."""


def payload(index: int, size: int) -> bytes:
    """The content of file ``index``: text, and different for each."""
    return hashlib.shake_128(str(index).encode()).hexdigest(size // 2).encode()


def file_name(index: int) -> str:
    """The name of file ``index``."""
    return f"{index:06d}.bin"


def find_nginx() -> str:
    """The nginx binary, also where it is not on an ordinary user's PATH."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if found is None:
        raise Unavailable(NGINX_ADVICE)
    return found


def nginx() -> contextlib.AbstractContextManager[str]:
    """Serve ``small/`` (10,000 x 4 KiB) and ``tiny/`` (1,000 x 100 bytes); yields the base URL."""

    def fill(folder: Path) -> None:
        write_files(folder / "small", SMALL, SMALL_SIZE)
        write_files(folder / "tiny", TINY, TINY_SIZE)

    return serve(fill)


@contextlib.contextmanager
def large(size: int, log: Path | None = None) -> Iterator[tuple[str, Path]]:
    """Serve ``big.bin``, of ``size`` bytes that cannot be compressed; yields the base URL and the file's path."""
    with tempfile.TemporaryDirectory(prefix="benchmark-large-") as directory:
        path = Path(directory, "big.bin")
        write_large(path, size)

        def fill(folder: Path) -> None:
            folder.mkdir()
            (folder / path.name).symlink_to(path)

        with serve(fill, log) as base:
            yield base, path


@contextlib.contextmanager
def serve(fill: Callable[[Path], None], log: Path | None = None) -> Iterator[str]:
    """Serve what ``fill`` puts into a folder with nginx; yields the base URL. ``log`` gets the bytes of each answer."""
    find_nginx()  # before much is written
    with tempfile.TemporaryDirectory(prefix="benchmark-nginx-") as directory:
        fill(Path(directory, "files"))
        with _nginx(Path(directory), f"root {directory}/files;", log) as base:
            yield base


@contextlib.contextmanager
def noting(target: str) -> Iterator[tuple[str, Path]]:
    """An nginx that passes all requests on to ``target``; yields its URL, and the file that gets a line for each."""
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-noting-") as directory,
        noted_in() as log,
        _nginx(Path(directory), _PASS_ON.format(target=target), log) as base,
    ):
        yield base, log


@contextlib.contextmanager
def noted_in() -> Iterator[Path]:
    """A file that nginx can write into, whoever it runs as."""
    with tempfile.TemporaryDirectory(prefix="benchmark-log-") as folder:
        log = Path(folder, "log")
        log.touch()
        log.chmod(0o666)
        yield log


@contextlib.contextmanager
def _nginx(home: Path, server: str, log: Path | None) -> Iterator[str]:
    binary = find_nginx()
    port = _free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker could not enter the directory
    config = home / "nginx.conf"
    config.write_text(
        _NGINX.format(home=home, host=HOST, port=port, user=user, log=f"{log} bytes" if log else "off", server=server),
        encoding="ascii",
    )
    process = subprocess.Popen([binary, "-p", str(home), "-e", "stderr", "-c", str(config)])
    try:
        _wait_for(port, process)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def delaying(delay: float) -> Iterator[str]:
    """``serve_delayed`` in a process of its own; yields the base URL."""
    port = _free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.servers", str(port), str(delay)], cwd=ROOT)
    try:
        _wait_for(port, process)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def far_hypha(delay: float) -> Iterator[DevServer]:
    """A Hypha server that its S3 answers ``delay`` seconds late, as one in another building does.

    Only what the server itself asks the S3 is delayed, by a proxy in this process, which does nothing else while a
    client is measured. The URLs that it signs lead to the S3 directly: bodies move as fast as in the other cases.
    """
    with contextlib.ExitStack() as stack:

        class FarServer(DevServer):
            """Has Hypha reach its S3 by way of the proxy."""

            def _hypha_environment(self) -> dict[str, str]:
                proxy = stack.enter_context(DelayingProxy(HOST, self._port("s3"), delay=delay))
                return {**super()._hypha_environment(), "HYPHA_ENDPOINT_URL": proxy.url}

        yield stack.enter_context(FarServer())


@contextlib.contextmanager
def bucket(store: dict[str, str], name: str) -> Iterator[None]:
    """A new bucket; it goes with the server. The client has no verb for that, but signs whatever it sends."""
    from cloudfiles_hypha import ArtifactFiles
    from cloudfiles_hypha.transports import HttpRequest

    secrets = {"AWS_ACCESS_KEY_ID": store["key"], "AWS_SECRET_ACCESS_KEY": store["secret"]}
    with ArtifactFiles(f"s3://{store['endpoint']}/{name}", secrets=secrets, num_threads=0) as files:
        files._backend.sender.send(HttpRequest("PUT", ""))  # type: ignore[attr-defined]
    yield


def serve_delayed(port: int, delay: float) -> None:
    """Answer ``GET /later/NAME`` after ``delay`` seconds and ``GET /now/NAME`` at once; no more HTTP than that needs.

    Asks little of the processor, of which the client under test is to have the most: one loop over the sockets, and
    as all delays are the same, a plain queue of what is due.
    """
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % SMALL_SIZE
    answers = {file_name(index).encode(): head + payload(index, SMALL_SIZE) for index in range(SMALL)}
    due: collections.deque[tuple[float, socket.socket, bytes]] = collections.deque()
    selector = selectors.DefaultSelector()
    listener = socket.create_server((HOST, port), backlog=1024)
    selector.register(listener, selectors.EVENT_READ, None)

    def receive(connection: socket.socket, request: bytearray) -> None:
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            selector.unregister(connection)
            connection.close()
            return
        request += data
        if request.endswith(b"\r\n\r\n"):
            _, when, name = bytes(request).split(b" ", 2)[1].split(b"/", 2)
            request.clear()
            if when == b"later":
                due.append((time.monotonic() + delay, connection, answers[name]))
            else:
                send(connection, answers[name])

    def send(connection: socket.socket, answer: bytes) -> None:
        with contextlib.suppress(OSError):  # the client has gone
            connection.sendall(answer)

    while True:
        for key, _ in selector.select(max(0.0, due[0][0] - time.monotonic()) if due else None):
            if key.data is None:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ, bytearray())
            else:
                receive(key.fileobj, key.data)  # type: ignore[arg-type]
        while due and due[0][0] <= time.monotonic():
            _, connection, answer = due.popleft()
            send(connection, answer)


def write_large(path: Path, size: int) -> None:
    """A file of pseudo-random bytes, no two MiB of it alike."""
    chance = random.Random(size)
    with open(path, "wb") as file:
        for start in range(0, size, 1024 * 1024):
            file.write(chance.randbytes(min(1024 * 1024, size - start)))


def write_files(folder: Path, count: int, size: int) -> None:
    """Make ``folder`` with the generated files 0 to ``count`` in it."""
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / file_name(index)).write_bytes(payload(index, size))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with exit code {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen on its port after 20 s")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve_delayed(int(sys.argv[1]), float(sys.argv[2]))
