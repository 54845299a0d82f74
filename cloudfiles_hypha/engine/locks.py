"""Locks by name, shared by everything in the process that writes to the same artifact."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from threading import Lock

from .pool import Engine

_named: dict[tuple[bool, str], AbstractContextManager[object]] = {}
_guard = Lock()


def named_lock(engine: Engine, name: str) -> AbstractContextManager[object]:
    """The lock of this name for this kind of worker; always the same one."""
    with _guard:
        lock = _named.get((engine.green, name))
        if lock is None:
            lock = _named[engine.green, name] = engine.lock()
        return lock


def _forget() -> None:
    global _guard
    _named.clear()  # a lock that another thread held at the fork would never be released in the child
    _guard = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
