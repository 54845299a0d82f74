"""How the module for a scheme is found: beside the others by its name, or by an entry point of somebody else's."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFiles, backends

MODULE = """
from cloudfiles_hypha.backends.memory import open_backend
from cloudfiles_hypha.backends import memory

def locate(text, rest):
    return memory.locate("mem://" + rest, rest)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One that the package's backends are looked for in, too."""
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(f"{backends.__name__}.new"):
            del sys.modules[name]


def test_a_backend_is_one_file_that_no_other_one_has_to_know_of(folder: Path) -> None:
    (folder / "newone.py").write_text(MODULE)
    with ArtifactFiles("newone://registry-1/folder", num_threads=0) as cf:
        cf.put("a", b"a")
        assert cf.get("a") == b"a"
    with pytest.raises(ValueError, match="unknown scheme 'ftp'.*newone"):
        backends.locate("ftp://host/a")


def test_a_module_that_lacks_what_it_needs_is_not_said_to_be_unknown(folder: Path) -> None:
    (folder / "newtwo.py").write_text("import a_library_that_is_not_there")
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_there"):
        backends.locate("newtwo://a")


@pytest.mark.parametrize("scheme", ["base", "gcs", "local", "memory", "web", "__init__", "MEM", "hypha.backend", "x-y"])
def test_modules_that_are_no_schemes_are_not_taken_for_one(scheme: str) -> None:
    with pytest.raises(ValueError, match="unknown scheme") as caught:
        backends.locate(f"{scheme}://bucket/a")
    for known in ("hypha", "file", "gs", "mem", "http", "https", "s3"):
        assert f" {known}" in str(caught.value)
    assert " base," not in str(caught.value)


def test_a_backend_of_somebody_elses_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "somebody_elses.py").write_text(MODULE)
    described = tmp_path / "somebody-1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1\n")
    (described / "entry_points.txt").write_text("[cloudfiles_hypha.backends]\nx-y = somebody_elses\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    backends._theirs.cache_clear()
    assert importlib.metadata.version("somebody") == "1"
    with ArtifactFiles("x-y://registry-2", num_threads=0) as cf:
        cf.put("a", b"a")
        assert cf.get("a") == b"a"
    del sys.modules["somebody_elses"]
    backends._theirs.cache_clear()


def test_every_scheme_that_is_said_to_be_supported_is() -> None:
    for scheme in backends._schemes():
        module = backends._module(scheme, "")
        assert callable(module.locate), scheme
        assert callable(module.open_backend), scheme
