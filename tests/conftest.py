"""Fixtures for every test, and the rule that a test leaves nothing running behind."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import RetryPolicy
from cloudfiles_hypha.backends.memory import clear_memory
from cloudfiles_hypha.mounts.manager import StorageManager
from tests.support.object_server import ObjectServer

SETTLING = 5.0  # seconds granted to what is on its way out

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_AUTHORITIES = ("CLOUDFILES_HYPHA_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_STORES = ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "CLOUD_FILES_LOCK_DIR")
_HYPHA = ("HYPHA_TOKEN", "HYPHA_SERVER_URL", "HYPHA_WORKSPACE")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxies, authorities, tokens and keys the developer's shell names, a test meets none it did not set."""
    for name in (*_PROXIES, *map(str.upper, _PROXIES), *_AUTHORITIES, *_HYPHA, *_STORES):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "HYPHA_USE_"))]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("CLOUDFILES_HYPHA_CONFIG", os.devnull)


@pytest.fixture(autouse=True)
def state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is noted of stagings is noted for one test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def object_server() -> Iterator[ObjectServer]:
    """A threaded HTTP server on a free port; each test scripts its objects and its faults."""
    with ObjectServer() as server:
        yield server


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[StorageManager]:
    """Two mounts in memory, one of a folder ("home", as it is called there, too), and one of names that are content."""
    (tmp_path / "home").mkdir()
    clear_memory()
    with StorageManager() as manager:
        manager.configure(
            [
                {"name": "mem", "protocol": "memory"},
                {"name": "home", "protocol": "local", "base_path": str(tmp_path / "home")},
                {"name": "b64", "protocol": "base64"},
                {"name": "other", "protocol": "memory"},
            ]
        )
        yield manager
    clear_memory()


@pytest.fixture
def quick() -> RetryPolicy:
    """A few attempts, hardly any pause."""
    return RetryPolicy(attempts=4, first=0.01, longest=0.05, elapsed=10)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a socket or a child process which was not there when it began."""
    threads, sockets, children = _threads(), _sockets(), _children()
    yield
    deadline = time.monotonic() + SETTLING
    while left := [*(_threads() - threads), *(_sockets() - sockets), *(_children() - children)]:
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {', '.join(map(str, left))}")
        gc.collect()  # a client that was dropped, not closed, may be waiting for this
        time.sleep(0.01)


def _threads() -> set[threading.Thread]:
    """Threads alive, but for those that belong to the process: tqdm's monitor, and gevent's helpers."""
    return {
        thread
        for thread in threading.enumerate()
        if type(thread).__name__ not in ("TMonitor", "_DummyThread")
        and not type(thread).__module__.startswith("gevent")
    }


def _sockets() -> set[str]:
    """The sockets this process has open, by inode; nothing where the system does not tell."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/self/fd/{name}")
                if target.startswith("socket:"):
                    found.add(target)
    return found


def _children() -> set[str]:
    """The processes this one has started and not waited for."""
    found = set()
    for tasks in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(f"process {number}" for number in tasks.read_text().split())
    return found
