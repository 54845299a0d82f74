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
        # Guards the four above; never held while waiting. A handler of signals may ``put`` while its own thread is in
        # ``take``: what is there is looked at once it is said what is wanted, and is urgent before it is there.
        self._lock = threading.RLock()

    def put(self, item: T, *, urgent: bool = False) -> None:
        """Add an item; an urgent one is worth waking up for by itself."""
        with self._lock:
            self._urgent = self._urgent or urgent
            self._items.append(item)
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
            if enough:
                gate = self._gate = self._kit.gate()
                self._wanted = enough
            if len(self._items) >= enough or (self._urgent and self._items):
                self._wanted = 0
                return self._empty()
        gate.wait()
        with self._lock:
            self._wanted = 0
            return self._empty()

    def _empty(self) -> list[T]:
        if self._items:
            self._urgent = False
        items: list[T] = []
        while self._items:
            items.append(self._items.popleft())
        return items
