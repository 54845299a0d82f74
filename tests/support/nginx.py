"""A real nginx that serves a folder."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_CONFIGURATION = """
worker_processes 1;
daemon off;
pid {state}/pid;
error_log {state}/error.log;
events {{}}
http {{
    access_log off;
    types {{ application/json json; }}
    default_type application/octet-stream;
    {temporary}
    server {{
        listen 127.0.0.1:{port};
        root {root};
        {server}
    }}
}}
"""
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextlib.contextmanager
def nginx(root: Path, state: Path, server: str = "") -> Iterator[str]:
    """Serve what is in ``root``; its URL. ``server`` is further configuration. Skips the test where there is none."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = " ".join(f"{name}_temp_path {state}/{name};" for name in _TEMPORARY)
    configuration = state / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(state=state, root=root, port=port, server=server, temporary=temporary)
    )
    user = ["-g", "user root;"] if Path("/root").owner() == Path(root).owner() else []
    process = subprocess.Popen([program, "-p", str(state), "-c", str(configuration), *user], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
