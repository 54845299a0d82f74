"""Locks between processes, by name: files in a folder that all of them know.

There are at most 4,096 such files, however many names there are; names that share one wait for each other.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import TransferTimeout

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
except ImportError:  # Windows
    AVAILABLE = False
else:
    AVAILABLE = True

# Seconds between two looks at a lock that is taken, at first and at most: flock itself cannot be called off.
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.05


def lock(descriptor: int, *, exclusive: bool = True) -> bool:
    """Lock an open file until it is closed, without waiting; False if somebody else has it. Only where locks are
    ``AVAILABLE``; ``OSError`` on a file system without."""
    try:
        flock(descriptor, (LOCK_EX if exclusive else LOCK_SH) | LOCK_NB)
    except BlockingIOError:
        return False
    return True


class FileLocks:
    """Locks in one folder; ``patience`` is how many seconds to wait for one."""

    def __init__(self, folder: str, patience: float) -> None:
        if not AVAILABLE:
            raise ValueError("locking=True: this system has no flock(); leave out locking= and lock_dir=")
        self._folder = folder
        self._patience = patience

    @contextmanager
    def held(self, name: str, *, exclusive: bool) -> Iterator[None]:
        """Hold the lock of a name, alone or together with others who do not want it alone."""
        stripe = hashlib.sha256(os.fsencode(name)).hexdigest()[:3]
        path = os.path.join(self._folder, f"{stripe}.lock")
        os.makedirs(self._folder, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            wait_for(descriptor, self._patience, self._folder, exclusive=exclusive)
            yield
        finally:
            os.close(descriptor)


def wait_for(descriptor: int, patience: float, folder: str, *, exclusive: bool = True) -> None:
    """Lock an open file, or folder, until it is closed; ``TransferTimeout`` after so many seconds."""
    deadline = time.monotonic() + patience
    pause = _FIRST_LOOK
    while not lock(descriptor, exclusive=exclusive):
        if time.monotonic() > deadline:
            raise TransferTimeout(f"another process has had the lock in {folder!r} for {patience:g} s")
        time.sleep(pause)
        pause = min(2 * pause, _LAST_LOOK)
