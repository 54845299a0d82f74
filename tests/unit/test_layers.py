"""Which module may know which other: dependencies point downwards, and importing the package loads little.

Every import counts: at the top of a module, inside a function, and for type checking only. A module that is new at the
top of the package has to be given its layer here before anything else passes.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cloudfiles_hypha
from tests.support.object_server import ObjectServer

PACKAGE = Path(cloudfiles_hypha.__file__).parent
NAME = PACKAGE.name

# Lowest first. What shares a layer may know each other.
LAYERS = (
    ("errors", "models", "results"),
    ("plan", "redact", "paths", "retry", "progress", "limit"),
    ("recording",),
    ("settings", "credentials"),
    ("content", "disk"),
    ("transports",),
    ("engine",),
    ("bridge", "awaited", "either"),
    ("backends",),
    ("transfers",),
    ("arguments",),
    ("parallel",),
    ("ranges", "writing"),
    ("files",),
    ("async_files",),
    ("shortcuts",),
    ("one",),
    ("remote", "filesystem", "zarr", "aio", "mounts"),
    ("compat",),
    ("cli", "devserver", "__init__", "__main__"),
)
RANK = {unit: rank for rank, units in enumerate(LAYERS) for unit in units}
# Not to be known although it is lower: backends say what is to be done, and whoever runs them how.
APART = {("backends", "engine")}
# Imports for type checking only that may point upwards: (importer, imported) -> why.
EXCEPTIONS: dict[tuple[str, str], str] = {}


@dataclass(frozen=True)
class Import:
    """One import of a module of the package by another; both dotted, without the name of the package."""

    importer: str
    imported: str
    line: int
    kind: str  # "", "in a function" or "for type checking"

    @property
    def violates(self) -> bool:
        """Whether it points upwards, or to what is to be kept apart."""
        here, there = self.importer.partition(".")[0], self.imported.partition(".")[0]
        return here != there and (RANK[there] > RANK[here] or (here, there) in APART)

    def __str__(self) -> str:
        kind = f" ({self.kind})" if self.kind else ""
        return f"{self.importer}:{self.line} imports {self.imported}{kind}"


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, that of a package being its ``__init__``."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def is_for_types(test: ast.expr) -> bool:
    """Whether ``if test:`` is never true when the program runs."""
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports_in(tree: ast.AST, kind: str = "") -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Every import statement, with where it stands."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, kind
        elif isinstance(node, ast.If) and is_for_types(node.test):
            for child in node.body:
                yield from imports_in(ast.Module([child], []), "for type checking")
            for child in node.orelse:
                yield from imports_in(ast.Module([child], []), kind)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports_in(node, kind or ("in a function" if inside else ""))


def targets(
    node: ast.Import | ast.ImportFrom, importer: str, is_package: bool, known: dict[str, Path]
) -> Iterator[str]:
    """The modules of the package that a statement names."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.partition(".")[0] == NAME:
                yield alias.name.partition(".")[2] or "__init__"
        return
    if node.level:
        here = [] if importer == "__init__" else importer.split(".")
        if importer != "__init__" and not is_package:
            here = here[:-1]
        base = here[: len(here) - (node.level - 1)]
        base += node.module.split(".") if node.module else []
    elif node.module and node.module.partition(".")[0] == NAME:
        base = node.module.split(".")[1:]
    else:
        return
    for alias in node.names:
        inner = ".".join([*base, alias.name])
        yield inner if inner in known else ".".join(base) or "__init__"


def every_import() -> list[Import]:
    known = modules()
    found = []
    for importer, path in sorted(known.items()):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node, kind in imports_in(tree):
            named = sorted(set(targets(node, importer, path.name == "__init__.py", known)))
            found.extend(Import(importer, imported, node.lineno, kind) for imported in named)
    return found


def test_every_module_has_its_layer() -> None:
    unknown = {name.partition(".")[0] for name in modules()} - set(RANK)
    assert not unknown, f"say in LAYERS where these belong: {sorted(unknown)}"


def test_dependencies_point_downwards() -> None:
    violations = [each for each in every_import() if each.violates]
    excused = [each for each in violations if each.kind == "for type checking" and _pair(each) in EXCEPTIONS]
    wrong = [str(each) for each in violations if each not in excused]
    assert not wrong, "imports against the layers:\n" + "\n".join(wrong)
    stale = set(EXCEPTIONS) - {_pair(each) for each in excused}
    assert not stale, f"exceptions that nothing needs any more: {sorted(stale)}"


def _pair(each: Import) -> tuple[str, str]:
    return each.importer, each.imported


@pytest.mark.parametrize("verb", ["get", "put", "delete", "download", "upload", "head", "sign", "stage", "commit"])
def test_the_engine_knows_no_verbs(verb: str) -> None:
    for name, path in modules().items():
        if name.partition(".")[0] == "engine":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            assert verb not in texts, f"{name} speaks of {verb!r}"


def test_the_embedded_server_needs_nothing_of_the_package_but_to_keep_secrets() -> None:
    servers = {each.imported for each in every_import() if each.importer == "devserver.server"}
    assert servers <= {"devserver.processes", "redact"}


def test_the_analysis_sees_every_kind_of_import() -> None:
    source = """
import typing
from typing import TYPE_CHECKING
from . import errors
from .engine.pool import Engine
import cloudfiles_hypha.files
if TYPE_CHECKING:
    from .transfers import core
def late():
    from cloudfiles_hypha.backends import hypha
"""
    known = dict.fromkeys(
        ["errors", "engine", "engine.pool", "files", "transfers", "transfers.core", "backends"], PACKAGE
    )
    found = [
        (imported, kind)
        for node, kind in imports_in(ast.parse(source))
        for imported in targets(node, "settings", False, known)
    ]
    assert found == [
        ("errors", ""),
        ("engine.pool", ""),
        ("files", ""),
        ("transfers.core", "for type checking"),
        ("backends", "in a function"),
    ]
    assert Import("engine.pool", "transfers.core", 1, "").violates
    assert Import("backends.web", "engine.pool", 1, "").violates
    assert not Import("engine.pool", "engine.locks", 1, "").violates
    assert not Import("files", "errors", 1, "").violates


# Each costs milliseconds that a program which does not use it would pay for.
HEAVY = {
    *("requests", "pycurl", "gevent", "greenlet", "urllib3", "tenacity", "tqdm", "botocore"),
    *("asyncio", "email", "hashlib", "http.client", "importlib.metadata", "shutil", "socket", "ssl", "tempfile"),
    *("urllib.request", "uuid", "mimetypes", "google.auth", "google_crc32c"),
    *(f"{NAME}.{each}" for each in ("backends.hypha", "backends.web", "backends.memory", "backends.local")),
    *(f"{NAME}.{each}" for each in ("parallel", "backends.gcs", "backends.s3", "credentials", "cli")),
    *(f"{NAME}.{each}" for each in ("transports", "content.digests", "content.sinks", "content.spool", "disk")),
    *(f"{NAME}.{each}" for each in ("engine.carriers", "transfers.tree", "transfers.save", "transfers.download")),
    f"{NAME}.writing",
}


def loaded_by(statement: str) -> set[str]:
    """What a fresh interpreter loads for a statement, beyond what it has loaded for itself."""
    script = f"import sys; before = {{*sys.modules}}; {statement}; print(*({{*sys.modules}} - before))"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return set(child.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by(f"import {NAME}")
    assert f"{NAME}.files" in loaded
    assert not HEAVY & loaded


def test_the_first_read_of_a_file_object_loads_little() -> None:
    with ObjectServer() as server:
        server.put("a", b"some bytes")
        loaded = loaded_by(f"import {NAME}; {NAME}.ArtifactFiles({server.url!r}).open('a').read()")
    assert f"{NAME}.transports.answers" in loaded
    heavy = {"asyncio", "email", "greenlet", "html.parser", "requests", "ssl", f"{NAME}.engine.carriers"}
    assert heavy & loaded == set()


def test_what_is_heavy_is_called_by_its_name() -> None:
    known = {f"{NAME}.{name}" for name in modules()}
    assert {name for name in HEAVY if name.startswith(f"{NAME}.")} <= known


# argparse has no other way to ask a parser what it takes; the others are public in spite of their names.
NOT_OURS = {
    "_actions",
    "_option_string_actions",
    "_format_action_invocation",
    "_expand_help",
    "_SubParsersAction",
    "_HelpAction",
    "_exit",
    "_replace",
}


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda path: path.stem)
def test_the_command_line_does_what_any_program_could(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
    private = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in used
        if not node.attr.startswith("__")
        and node.attr not in NOT_OURS
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]
    assert private == []
