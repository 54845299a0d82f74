"""How the module for a scheme is found: beside the others by its name, or by an entry point of somebody else's."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from importlib.util import find_spec
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
    with pytest.raises(ValueError, match="unknown scheme 'gopher'.*newone"):
        backends.locate("gopher://host/a")


def test_a_module_that_lacks_what_it_needs_is_not_said_to_be_unknown(folder: Path) -> None:
    (folder / "newtwo.py").write_text("import a_library_that_is_not_there")
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_there"):
        backends.locate("newtwo://a")


@pytest.mark.parametrize("scheme", ["base", "foreign", "web", "__init__", "MEM", "hypha.backend", "x-y"])
def test_modules_that_are_no_schemes_are_not_taken_for_one(scheme: str) -> None:
    with pytest.raises(ValueError, match="unknown scheme") as caught:
        backends.locate(f"{scheme}://bucket/a")
    for known in ("hypha", "file", "gs", "mem", "http", "https", "s3"):
        assert f" {known}" in str(caught.value)
    assert " base," not in str(caught.value)


@pytest.mark.parametrize(("scheme", "ours"), [("gcs", "gs"), ("local", "file"), ("s3a", "s3")])
def test_what_fsspec_calls_otherwise_is_said_to_be_called_as_we_do(scheme: str, ours: str) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ValueError, match=f"unknown scheme '{scheme}'.*write {ours}://"):
        backends.locate(f"{scheme}://bucket/a")


def test_without_fsspec_a_scheme_of_its_own_is_unknown_and_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "fsspec" else find_spec(name))
    with pytest.raises(ValueError, match=r"unknown scheme 'sftp'.*pip install 'cloudfiles_hypha\[fsspec\]'"):
        ArtifactFiles("sftp://host/a")


def test_our_own_and_entry_points_come_before_what_fsspec_knows() -> None:
    pytest.importorskip("fsspec")
    for scheme in ("s3", "gs", "az", "http", "https", "file", "hypha"):
        assert backends._module(scheme, "").__name__ != f"{backends.__name__}.foreign"
    assert backends._module("ftp", "").__name__ == f"{backends.__name__}.foreign"


def test_an_alias_comes_before_what_fsspec_knows_and_may_stand_for_it() -> None:
    pytest.importorskip("fsspec")
    from cloudfiles_hypha.backends import aliases

    aliases.add_alias("dir", "ftp://host/folder")
    try:
        assert backends.locate("dir://a").root == "ftp://host"
    finally:
        aliases.remove_alias("dir")


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
