"""Stand-ins for an ``ArtifactFiles`` in the processes of ``cloudfiles_hypha.parallel``: they do what names tell them.

Children import this module, so it needs nothing but the package.
"""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloudfiles_hypha.errors import ObjectNotFound
from cloudfiles_hypha.models import Fetched, GetRequest
from cloudfiles_hypha.parallel import Named
from cloudfiles_hypha.results import Result, failed, got


class Unsendable(Exception):
    """An error that can be pickled, and not unpickled."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


class Obedient:
    """Does what the first part of each name says; ``state["folder"]`` is where it leaves notes."""

    folder: Path

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.folder = Path(state["folder"])
        (self.folder / f"pid-{os.getpid()}").touch()

    def _do_part(self, work: str, items: Sequence[Named]) -> list[Result]:
        return [self._do(name, request) for name, request in items]

    def _do(self, name: str, request: Any) -> Result:
        word = name.partition("-")[0]
        content: object = name.encode()
        if word == "die" or (word == "once" and not self._was_here(name)):
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "wait":
            (self.folder / "waiting").touch()
            time.sleep(60)
        elif word == "print":
            print("a line that is no answer", flush=True)
            os.write(1, b"\x80\x05")
        elif word == "warn":
            warnings.warn(f"{name} is odd", UserWarning, stacklevel=1)
        elif word == "raise":
            raise ObjectNotFound("nothing at all", path=name, status=404)
        elif word == "fail":
            return failed(name, request, _error(name), 3)
        elif word == "show":
            content = Path("/proc/self/cmdline").read_bytes() + Path("/proc/self/environ").read_bytes()
        return got(name, request if isinstance(request, GetRequest) else GetRequest(name), Fetched(b""), content, 1)

    def _was_here(self, name: str) -> bool:
        try:
            (self.folder / name).touch(exist_ok=False)
        except FileExistsError:
            return True
        return False


def _error(name: str) -> Exception:
    if name == "fail-unsendable":
        return Unsendable("it", "is broken")
    error = ObjectNotFound("gone", path=name, status=410, retry_after=1.5)
    error.attempts = 3
    error.__cause__ = Unsendable("the", "cause") if name == "fail-cause" else KeyError("the cause")
    return error
