"""Locks by name, shared by everything in the process that writes to the same artifact."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock

from .pool import Engine

_named: dict[tuple[bool, str], AbstractContextManager[object]] = {}
_turns: dict[tuple[bool, str], tuple[AbstractContextManager[object], int]] = {}  # and how many want it
_guard = Lock()


def named_lock(engine: Engine, name: str) -> AbstractContextManager[object]:
    """The lock of this name for this kind of worker; always the same one."""
    with _guard:
        lock = _named.get((engine.green, name))
        if lock is None:
            lock = _named[engine.green, name] = engine.lock()
        return lock


@contextmanager
def turn_at(engine: Engine, name: str) -> Iterator[None]:
    """Hold a lock of this name, of which there may be any number: it is forgotten when nobody wants it any more."""
    key = (engine.green, name)
    with _guard:
        lock, wanted = _turns.get(key) or (engine.lock(), 0)
        _turns[key] = lock, wanted + 1
    try:
        with lock:
            yield
    finally:
        with _guard:
            _, wanted = _turns.pop(key, (lock, 1))
            if wanted > 1:
                _turns[key] = lock, wanted - 1


def _forget() -> None:
    global _guard
    _turns.clear()
    _named.clear()  # a lock that another thread held at the fork would never be released in the child
    _guard = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
