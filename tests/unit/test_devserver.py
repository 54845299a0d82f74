"""The embedded server: its pure parts, and one run of the real thing."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha.devserver import processes
from cloudfiles_hypha.devserver import server as devserver
from cloudfiles_hypha.devserver.server import DevServer

SECRETS = {
    "token": "eyJhbGciOi.eyJzY29wZSI6.c2lnbmF0dXJl",
    "root_token": "r00t-t0ken",
    "access_key": "acc3ss-k3y",
    "secret_key": "s3cret-k3y",
    "_jwt_secret": "jwt-s3cret",
}


def has_server_packages() -> bool:
    if os.environ.get(processes.PYTHON_VARIABLE):
        return True  # then it is meant to work, and the test should fail if it does not
    return importlib.util.find_spec("hypha") is not None


@pytest.fixture
def server_with_secrets(tmp_path: Path) -> DevServer:
    """A DevServer that looks as if it had been started; no process belongs to it."""
    server = DevServer(tmp_path, workspace="w")
    for name, value in SECRETS.items():
        setattr(server, name, value)
    server._ports = dict(zip(devserver._PORT_NAMES, range(11_001, 11_100), strict=False))
    server._home = tmp_path
    return server


def test_ports_are_distinct_and_free_together_with_their_grpc_ports() -> None:
    ports = processes.choose_ports(6)
    everything = [*ports, *(port + processes.GRPC_OFFSET for port in ports)]
    assert len(set(everything)) == 12
    assert max(everything) < 65_536
    for port in everything:
        with socket.socket() as probe:
            probe.bind((processes.HOST, port))


def test_ports_avoid_those_of_outgoing_connections() -> None:
    first, last = processes._ephemeral_range()
    if first < 22_000:
        pytest.skip("this system leaves no other ports")
    for port in processes.choose_ports(50):
        assert not first <= port <= last
        assert not first <= port + processes.GRPC_OFFSET <= last


@pytest.mark.parametrize("offset", [0, processes.GRPC_OFFSET])
def test_a_port_is_not_free_when_it_or_its_grpc_port_has_a_listener(offset: int) -> None:
    (port,) = processes.choose_ports(1)
    assert processes.port_pair_is_free(port)
    with socket.create_server((processes.HOST, port + offset)):
        assert not processes.port_pair_is_free(port)


def test_no_free_ports_is_an_error_and_not_an_endless_search() -> None:
    with pytest.raises(RuntimeError, match="no 1 free ports"):
        processes.choose_ports(1, taken=range(65_536))


def test_env_names_server_token_and_workspace(server_with_secrets: DevServer) -> None:
    assert server_with_secrets.env == {
        "HYPHA_SERVER_URL": "http://127.0.0.1:11001",
        "HYPHA_TOKEN": SECRETS["token"],
        "HYPHA_WORKSPACE": "w",
    }


def test_addresses_before_the_start_are_an_error_that_says_so() -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        _ = DevServer().server_url
    with pytest.raises(RuntimeError, match="not been started"):
        DevServer().start_s3()


def test_repr_shows_state_and_no_secret(server_with_secrets: DevServer) -> None:
    assert "stopped" in repr(server_with_secrets)
    assert "'w'" in repr(server_with_secrets)
    assert not [value for value in SECRETS.values() if value in repr(server_with_secrets)]


def test_no_secret_is_on_a_command_line(server_with_secrets: DevServer) -> None:
    server_with_secrets._weed = "weed"
    words = " ".join(server_with_secrets._s3_command() + server_with_secrets._hypha_command())
    assert not [value for value in SECRETS.values() if value in words]
    assert "0.0.0.0" not in words


def test_failure_quotes_the_end_of_the_log_without_secrets(server_with_secrets: DevServer) -> None:
    log = "\n".join(f"line {number}" for number in range(100)) + "\n" + " ".join(SECRETS.values())
    message = server_with_secrets._failure("it ended", log)
    assert message.startswith("it ended")
    assert "line 81\n" in message
    assert "line 80\n" not in message
    assert message.endswith("\n*** *** *** *** ***")


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/false"])
def test_missing_packages_say_what_to_install_and_leave_nothing(python: str, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with pytest.raises(RuntimeError, match=r'pip install "cloudfiles_hypha\[server\]"'):
        DevServer(directory, python=python).start()
    assert not directory.exists()


def test_interpreter_comes_from_argument_then_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(processes.PYTHON_VARIABLE, "/from/environment")
    assert DevServer(python="/from/argument").python == "/from/argument"
    assert DevServer().python == "/from/environment"
    monkeypatch.delenv(processes.PYTHON_VARIABLE)
    assert DevServer().python == sys.executable


def test_stop_of_what_was_never_started_is_harmless() -> None:
    DevServer().stop()


class FakeServers(DevServer):
    """Starts ``script`` in place of both servers; they count as ready when they have made a file of their name."""

    def __init__(self, directory: Path, script: str) -> None:
        super().__init__(directory, startup_timeout=20, python=sys.executable)
        self.script = script
        self.ports_tried: list[int] = []

    def _s3_command(self) -> list[str]:
        self.ports_tried.append(self._ports["s3"])
        return [sys.executable, "-c", self.script, "s3"]

    def _hypha_command(self) -> list[str]:
        return [sys.executable, "-c", self.script, "hypha"]

    def _s3_is_ready(self) -> bool:
        return (self._home / "s3.up").exists()

    def _hypha_is_ready(self) -> bool:
        return (self._home / "hypha.up").exists()

    def _make_token(self) -> None:
        self.token = SECRETS["token"]


UP = "import os, sys, time; open(sys.argv[1] + '.up', 'w').write(str(os.getpid())); time.sleep(60)"


@pytest.fixture
def no_packages_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devserver, "find_weed", lambda python: "weed")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between the opening and the reading
        return False
    return state != "Z"  # a zombie that nobody has reaped yet is dead


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def pids(home: Path) -> list[int]:
    return [int((home / f"{name}.up").read_text()) for name in ("s3", "hypha")]


@pytest.mark.usefixtures("no_packages_needed")
def test_a_server_that_dies_while_starting_is_reported_and_the_other_stopped(tmp_path: Path) -> None:
    dies = "import sys; print('reason:', 'in the log'); sys.exit(7 if sys.argv[1] == 's3' else 0)"
    server = FakeServers(tmp_path, dies)
    with pytest.raises(RuntimeError, match=r"s3 server ended with exit code 7(?s:.*)reason: in the log"):
        server.start()
    assert not server.running
    assert len(server.ports_tried) == 1


@pytest.mark.usefixtures("no_packages_needed")
def test_a_port_taken_in_the_meantime_leads_to_other_ports(tmp_path: Path) -> None:
    taken_once = (
        "import os, sys\nif not os.path.exists('again'): open('again', 'w'); sys.exit('Address already in use')\n"
    )
    server = FakeServers(tmp_path, taken_once + UP)
    with server:
        assert server.running
        assert len(set(server.ports_tried)) == 2


@pytest.mark.usefixtures("no_packages_needed")
def test_secrets_and_ports_last_from_run_to_run_in_a_private_file(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        with FakeServers(tmp_path / "data", UP) as server:
            seen.append((server.server_url, server.s3_url, server.root_token, server.secret_key, server._jwt_secret))
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 5
    for name in ("devserver.json", "s3.json"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("no_packages_needed")
def test_a_directory_that_was_there_is_closed_to_others_or_refused(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    directory.chmod(0o755)
    for mode in (0o755, 0o750):  # an empty one, and one that the first run has used
        directory.chmod(mode)
        with FakeServers(directory, UP):
            assert directory.stat().st_mode & 0o777 == 0o700
    directory.chmod(0o777)  # what is in it now may be somebody else's: a token that they know, for one
    with pytest.raises(RuntimeError, match="open to others"):
        FakeServers(directory, UP).start()
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    (home / "notes").write_text("mine")
    with pytest.raises(RuntimeError, match=r"open to others \(mode 755\).*chmod 700"):
        FakeServers(home, UP).start()
    assert home.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in home.iterdir()] == ["notes"]
    home.chmod(0o700)
    with FakeServers(home, UP) as server:
        assert server.running


@pytest.mark.usefixtures("no_packages_needed")
def test_two_servers_do_not_share_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServers(tmp_path, UP) as first:
        monkeypatch.setattr(devserver, "_GRACE", {"hypha": 0.2, "s3": 0.2})
        with pytest.raises(RuntimeError, match="in use by another"):
            FakeServers(tmp_path, UP).start()
        assert first.running
        with pytest.raises(RuntimeError, match="started already"):
            first.start()


@pytest.mark.usefixtures("no_packages_needed")
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devserver, "_GRACE", {"hypha": 0.3, "s3": 0.3})
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    server = FakeServers(tmp_path, stubborn + UP).start()
    processes = pids(tmp_path)
    server.stop()
    assert not any(map(alive, processes))
    assert not server.running


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_servers_do_not_outlive_the_process_that_started_them(tmp_path: Path) -> None:
    program = (
        f"import os, sys, threading, time; sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from cloudfiles_hypha.devserver import server as devserver\n"
        "from tests.unit.test_devserver import FakeServers, UP\n"
        "devserver.find_weed = lambda python: 'weed'\n"
        f"server = FakeServers(Path({str(tmp_path)!r}), UP)\n"
        "thread = threading.Thread(target=server.start); thread.start(); thread.join(); time.sleep(0.5)\n"
        "print(server.running, flush=True)\n"  # the end of the thread that started them does not stop them
        "time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"True\n"
        processes = pids(tmp_path)
        assert all(map(alive, processes))
        parent.kill()
    assert eventually(lambda: not any(map(alive, processes)))


@pytest.mark.usefixtures("no_packages_needed")
def test_serve_prints_the_environment_and_stops_on_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Out(io.StringIO):
        def flush(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(devserver, "DevServer", lambda directory, workspace: FakeServers(directory, UP))
    before = signal.getsignal(signal.SIGTERM)
    out = Out()
    assert devserver.serve(tmp_path, out=out) == 0
    assert signal.getsignal(signal.SIGTERM) is before
    names = [line.split("=")[0] for line in out.getvalue().splitlines()]
    assert names == ["export HYPHA_SERVER_URL", "export HYPHA_TOKEN", "export HYPHA_WORKSPACE"]
    if sys.platform == "linux":
        assert not any(map(alive, pids(tmp_path)))


@pytest.mark.usefixtures("no_packages_needed")
def test_serve_ends_with_an_error_when_a_server_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brief = UP.replace("60", "0.5 if sys.argv[1] == 's3' else 60")
    monkeypatch.setattr(devserver, "DevServer", lambda directory, workspace: FakeServers(directory, brief))
    assert devserver.serve(tmp_path, out=io.StringIO()) == 1


# -- the real servers

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(server: DevServer, method: str, **arguments: object) -> Any:
    request = urllib.request.Request(
        f"{server.server_url}/public/services/artifact-manager/{method}",
        data=json.dumps(arguments).encode(),
        headers={"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"},
    )
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)


def put(server: DevServer, artifact: str, path: str, body: bytes) -> None:
    url = call(server, "put_file", artifact_id=artifact, file_path=path)
    with opener.open(urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": ""}), timeout=30):
        pass


def get(server: DevServer, artifact: str, path: str) -> bytes:
    url = call(server, "get_file", artifact_id=artifact, file_path=path)
    with opener.open(url, timeout=30) as answer:
        content: bytes = answer.read()
        return content


def processes_below(home: Path) -> list[str]:
    """Command lines of the processes whose working directory is ``home``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == home:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(not has_server_packages(), reason=f"no hypha here, and {processes.PYTHON_VARIABLE} is not set")
def test_real_servers_keep_data_over_restarts_and_leave_no_process(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with DevServer(directory, workspace="lab") as server:
        assert server.running
        call(server, "create", workspace="lab", alias="a", type="dataset", manifest={"name": "a"}, stage=True)
        put(server, "lab/a", "one.txt", b"first")
        call(server, "commit", artifact_id="lab/a")
        assert get(server, "lab/a", "one.txt") == b"first"

        token = server.token
        server.restart_hypha()
        assert server.token == token
        assert get(server, "lab/a", "one.txt") == b"first"

        server.stop_s3()
        with pytest.raises(urllib.error.URLError):
            opener.open(server.s3_url, timeout=5)
        server.start_s3()
        call(server, "edit", artifact_id="lab/a", stage=True)
        put(server, "lab/a", "two.txt", b"second")
        call(server, "commit", artifact_id="lab/a")

        if sys.platform == "linux":
            assert len(processes_below(directory)) == 4  # two servers and their keepers
            assert not [line for line in processes_below(directory) if server.root_token in line]

    assert not server.running
    if sys.platform == "linux":
        assert processes_below(directory) == []

    state_file = directory / "devserver.json"
    state = json.loads(state_file.read_text())
    state["ports"] = {}  # as if they were taken: the data are found from other ports as well
    state_file.write_text(json.dumps(state))
    again = DevServer(directory, workspace="lab")
    with again:
        assert [get(again, "lab/a", name) for name in ("one.txt", "two.txt")] == [b"first", b"second"]
        assert not [value for value in (again.token, again.root_token, again.secret_key) if value in repr(again)]
    if sys.platform == "linux":
        assert processes_below(directory) == []


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(not has_server_packages(), reason=f"no hypha here, and {processes.PYTHON_VARIABLE} is not set")
def test_real_servers_leave_no_temporary_directory() -> None:
    with DevServer() as server:
        home = server._home
        assert home.is_dir()
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert not home.exists()
    if sys.platform == "linux":
        assert processes_below(home) == []
