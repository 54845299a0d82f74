"""The examples of aiofile's documentation, run with only the import changed.

Some cannot run as they are printed: those that ask for a loop where there is none are run by ``asyncio.run``, and the
one that reads a file of mode "a", by contexts that know no loop, has "a+" and contexts of asyncio.
"""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_PAGE = Path(__file__).with_name("aiofile.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"^## (.*?)\n\n```python\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL))
_LOOP = re.compile(r"^loop = asyncio.get_event_loop\(\)\nloop.run_until_complete\((.*)\)$", re.MULTILINE)
_CORRECTED = {
    "Contexts by hand": {
        '"a"': '"a+"',
        "import linux_aio, thread_aio": "import linux_aio_asyncio, thread_aio_asyncio",
        "linux_aio.Context": "linux_aio_asyncio.AsyncioContext",
        "thread_aio.Context": "thread_aio_asyncio.AsyncioContext",
    }
}
_LEAVING_FILES_OPEN = {"Without context manager"}  # a plain one, to look at what was written


def run_example(title: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """Run an example in a folder, which is also where it finds temporary files; what its names are in the end."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(sys, "argv", ["example", *arguments])
    at_exit: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
    monkeypatch.setattr("atexit.register", lambda function, *given: at_exit.append((function, given)))
    code = EXAMPLES[title].replace("from aiofile import", "from cloudfiles_hypha.compat.aiofile import")
    code = _LOOP.sub(r"asyncio.run(\1)", code).replace('"/tmp/', f'"{folder}/')
    for printed, corrected in _CORRECTED.get(title, {}).items():
        assert printed in code
        code = code.replace(printed, corrected)
    names: dict[str, Any] = {"__name__": "example"}
    with warnings.catch_warnings():
        if title in _LEAVING_FILES_OPEN:
            warnings.filterwarnings("ignore", "unclosed file", ResourceWarning)
        exec(compile(code, f"<{title}>", "exec"), names)
    for function, given in at_exit:
        function(*given)
    return names
