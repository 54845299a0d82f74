"""The examples of hypha-artifact's documentation, run with only the import changed."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudfiles_hypha.compat.hypha_artifact import AsyncHyphaArtifact, HyphaArtifact

_PAGE = Path(__file__).with_name("hypha_artifact.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"^## (.*?)\n\n```python\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL))
# What the examples find there.
FILES = {
    "path/to/file.txt": b"This is a test file",
    "path/to/large_file.txt": bytes(range(48, 58)) * 2000,
    "large_file.txt": bytes(range(48, 58)) * 2000,
    "path/to/source.txt": b"source",
    "path/to/dir/one.txt": b"1",
    "path/to/dir/deep/two.txt": b"22",
    "file1.txt": b"1",
    "file2.txt": b"22",
}


def run_example(
    title: str, alias: str, workspace: str, token: str | None, server: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Run an example on an artifact that holds ``FILES``; what its names are in the end."""
    monkeypatch.setenv("HYPHA_SERVER_URL", server)
    monkeypatch.setitem(sys.modules, "dotenv", SimpleNamespace(load_dotenv=lambda: None))
    code = EXAMPLES[title].replace("from hypha_artifact import", "from cloudfiles_hypha.compat.hypha_artifact import")
    code = code.replace('"example_artifact"', repr(alias)).replace('"your-workspace-id"', repr(workspace))
    code = code.replace('"your-workspace-token"', repr(token))
    # those that are shown without names
    code = code.replace(f'({alias!r}, "workspace", "token")', f"({alias!r}, {workspace!r}, {token!r})")
    names: dict[str, Any] = {
        "__name__": "example",
        "asyncio": asyncio,
        "artifact": HyphaArtifact(alias, workspace, token),
        "async_artifact": AsyncHyphaArtifact(alias, workspace, token),
    }
    made = [names["artifact"], names["async_artifact"].artifact]
    compiled = compile(code, f"<{title}>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    try:
        if compiled.co_flags & inspect.CO_COROUTINE:

            async def run() -> None:
                await eval(compiled, names)

            asyncio.run(run())
        else:
            exec(compiled, names)
        if "safe_file_operation" in names:  # an example that only says what it would do
            asyncio.run(names["safe_file_operation"]())
    finally:
        for artifact in made:
            artifact.close()
    return names
