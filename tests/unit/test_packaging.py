"""A source distribution is all that is needed to install the package, and says what else it needs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha.cli.report import NAMES

ROOT = Path(__file__).parents[2]
SAFELY: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not run from a clone")
def test_a_source_distribution_installs_by_itself(tmp_path: Path) -> None:
    build = [sys.executable, "setup.py", "-q"]
    run(*build, "egg_info", "-e", str(tmp_path), "sdist", "-d", str(tmp_path), cwd=ROOT)  # nothing is left in the clone
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        assert not [name for name in packed.getnames() if "/tests/" in name or "/.venv" in name]
        packed.extractall(tmp_path / "unpacked", **SAFELY)
    (source,) = (tmp_path / "unpacked").iterdir()
    target = tmp_path / "installed"
    target.mkdir()
    run(
        *build,
        "egg_info",
        "-e",
        str(target),
        "build",
        "-b",
        str(tmp_path / "build"),
        "install_lib",
        "-d",
        str(target),
        cwd=source,
    )
    (found,) = importlib.metadata.distributions(path=[str(target)])
    needed = {line.replace(" ", "") for line in found.requires or () if "extra ==" not in line}
    assert needed == set((ROOT / "requirements.txt").read_text().split())
    programs = {point.name: point.value for point in found.entry_points if point.group == "console_scripts"}
    assert programs == dict.fromkeys(NAMES, "cloudfiles_hypha.cli.main:main")
    program = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import cloudfiles_hypha; print(cloudfiles_hypha.__file__)"
    )
    shown = run(sys.executable, "-c", program, cwd=tmp_path)
    assert shown.strip() == str(target / "cloudfiles_hypha" / "__init__.py")
    assert (target / "cloudfiles_hypha" / "py.typed").exists()
