"""Every script of ``examples/`` runs on a real Hypha server, as ``make examples`` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha.devserver import DevServer
from cloudfiles_hypha.devserver.processes import PYTHON_VARIABLE
from examples.run_all import HERE, scripts


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """What says to a script which server there is."""
    if not os.environ.get(PYTHON_VARIABLE):
        pytest.skip(f"the server is of the environment that {PYTHON_VARIABLE} names")
    with DevServer(workspace="examples") as server:
        yield server.env


@pytest.mark.slow
@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_an_example_runs(script: Path, environment: dict[str, str], tmp_path: Path) -> None:
    for package in ("aiofile", "fastapi", "httpx", "pandas", "uvicorn"):
        pytest.importorskip(package)
    env = {**os.environ, **environment, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run([sys.executable, script], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_each_script_is_described() -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    assert all(f"[{path.name}]({path.name})" in text for path in HERE.glob("*.py") if path.name != "run_all.py")
