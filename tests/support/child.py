"""Runs a function of a test module in a process of its own: for what may crash, hang, or end the interpreter.

A process that does not end in time is killed and counts as a failure, with the stacks of its threads; so is one that
ends by a signal. The child inherits nothing but the environment, and is gone when ``in_child`` returns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_PROGRAM = """
import faulthandler, importlib, json, sys
faulthandler.enable()
module, function, seconds, arguments = json.loads(sys.argv[1])
faulthandler.dump_traceback_later(seconds, exit=True)
getattr(importlib.import_module(module), function)(*arguments)
faulthandler.cancel_dump_traceback_later()
print("ended well")
"""


def in_child(function: Callable[..., None], *arguments: object, seconds: float = 45) -> str:
    """Call ``function``, a module's, with plain ``arguments``; what it printed. The test fails if that fails."""
    path = Path(sys.modules[function.__module__].__file__ or "").resolve().relative_to(ROOT).with_suffix("")
    task = json.dumps([".".join(path.parts), function.__name__, seconds, arguments])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    child = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, task],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, complained = child.communicate(timeout=seconds + 5)
    except subprocess.TimeoutExpired:
        child.kill()
        said, complained = child.communicate()
        pytest.fail(f"{function.__name__} hangs, and cannot even be made to say where:\n{complained[-4000:]}")
    if child.returncode < 0:
        pytest.fail(f"{function.__name__} was killed by signal {-child.returncode}:\n{complained[-4000:]}")
    if child.returncode or not said.endswith("ended well\n"):
        reason = "hangs" if "Timeout (" in complained else f"ended with exit code {child.returncode}"
        pytest.fail(f"{function.__name__} {reason}:\n{complained[-4000:]}")
    return said
