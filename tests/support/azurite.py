"""A real emulator of Azure's blob storage, azurite, in a process of its own."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.backends.az import AzureBackend
from cloudfiles_hypha.transports import HttpRequest, HttpResponse

ACCOUNT = "account"
# Where .ci/run installs it; tests change HOME.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloudfiles_hypha" / "azurite"


@dataclass(frozen=True)
class Azurite:
    """Where it is, and the account's key."""

    url: str
    key: str = field(repr=False)

    @property
    def secrets(self) -> dict[str, str]:
        """What ``secrets=`` wants."""
        return {"AZURE_STORAGE_KEY": self.key}

    def cloudpath(self, container: str) -> str:
        """A container's."""
        return f"az://{self.url}/{ACCOUNT}/{container}"

    def make_container(self, name: str, *, public: bool = False) -> None:
        """Make an empty one; a public one everybody may read and list."""
        headers = (("x-ms-blob-public-access", "container"),) if public else ()
        self.ask(name, HttpRequest("PUT", "?restype=container", (*headers, ("Content-Type", "text/plain")), b""))

    def ask(self, container: str, request: HttpRequest) -> HttpResponse:
        """The answer to a signed request."""
        with ArtifactFiles(self.cloudpath(container), secrets=self.secrets, num_threads=0) as cf:
            assert isinstance(cf._backend, AzureBackend)
            return cf._backend.sender.send(request)


@contextlib.contextmanager
def azurite() -> Iterator[Azurite]:
    """Start one without containers. Skips the test where the program is missing."""
    program = shutil.which("azurite-blob") or shutil.which("azurite-blob", path=str(CACHE / "node_modules" / ".bin"))
    if program is None:
        pytest.skip(f"azurite is not installed: npm install --prefix {CACHE} azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [program, "--inMemoryPersistence", "--silent", "--disableTelemetry", "--blobPort", str(port)],
            cwd=folder,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 30
            while True:
                try:
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                except urllib.error.HTTPError as error:
                    error.close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            yield Azurite(url, key)
        finally:
            process.terminate()
            process.wait()
