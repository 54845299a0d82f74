"""What workers have done, for the caller to take: several at a time, if it is in no hurry."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from .kits import GateLike, Kit

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Filled by any number of workers, emptied by one caller.

    Each time the caller wakes up it takes the interpreter lock from a worker, so it says how many results are
    worth that.
    """

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._items: deque[T] = deque()
        self._wanted = 0
        self._urgent = False  # what is there is worth taking, however little it is
        self._gate: GateLike[object] | None = None  # where the caller waits
        self._lock = threading.Lock()  # guards the four above; never held while waiting

    def put(self, item: T, *, urgent: bool = False) -> None:
        """Add an item; an urgent one is worth waking up for by itself."""
        with self._lock:
            self._items.append(item)
            self._urgent = self._urgent or urgent
            if not self._wanted or not (self._urgent or len(self._items) >= self._wanted):
                return
            gate, self._gate, self._wanted = self._gate, None, 0
        if gate is not None:
            gate.open(None)

    def hurry(self) -> None:
        """Have the caller take what there is, because somebody waits for that."""
        with self._lock:
            self._urgent = True  # also if it is not waiting yet
            if not self._wanted or not self._items:
                return
            gate, self._gate, self._wanted = self._gate, None, 0
        if gate is not None:
            gate.open(None)

    def take(self, enough: int) -> list[T]:
        """All there is; waits until that is ``enough`` (0: does not wait)."""
        with self._lock:
            if len(self._items) >= enough or (self._urgent and self._items):
                return self._empty()
            gate = self._gate = self._kit.gate()
            self._wanted = enough
        gate.wait()
        with self._lock:
            self._wanted = 0
            return self._empty()

    def _empty(self) -> list[T]:
        items = list(self._items)
        self._items.clear()
        if items:
            self._urgent = False
        return items
