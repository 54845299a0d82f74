"""A file that is locked for as long as somebody holds it, and free once its process has ended, however it ends."""

from __future__ import annotations

import io
import os
import weakref
from contextlib import suppress


class Held:
    """A place for the lock of a file. It is there before the lock is taken: whoever made it can let go of that,
    and lets go by being dropped, wherever the taking is interrupted."""

    taken = False
    file: io.FileIO | None = None  # whose closing unlocks it

    def __init__(self) -> None:
        _all.add(self)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Let others write; harmless when repeated, and in a forked child."""
        self.taken = False
        if self.file is not None:
            self.file.close()


_all: weakref.WeakSet[Held] = weakref.WeakSet()


def created_private(path: str, flags: int) -> int:
    """An ``opener`` of files that only their owner may read."""
    return os.open(path, flags | os.O_CREAT, 0o600)


def _forget() -> None:
    """In a forked child: the locks are the parent's. A descriptor left open would keep them after its end."""
    for held in [*_all]:
        with suppress(OSError):
            held.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
