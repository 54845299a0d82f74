"""One large item that several workers carry in parts: what is left to do, who is at it, when it has ended.

Only counts and hands out; ``download`` and ``upload`` say what a part is and what is done with it.
"""

from __future__ import annotations

from threading import Lock
from typing import Generic, TypeVar

P = TypeVar("P")


class InParts(Generic[P]):
    """The parts of one item, for the workers that take turns at it. Thread-safe.

    A turn begins with ``claim`` and ends with ``release``, or with ``drop`` where there was nothing to claim. At first
    there is one turn; ``release`` says how many more to ask the engine for, so that at most ``width`` are queued or
    under way.
    """

    def __init__(self, width: int) -> None:
        self._width = max(1, width)
        self._lock = Lock()  # guards what follows; never held while anything is moved
        self._turns = 1  # queued or under way
        self._active = 0
        self._given_up = False
        self._ended = False

    def _next(self) -> P | None:
        """Take the next part that nobody is at; called with the lock held."""
        raise NotImplementedError

    def _return(self, part: P) -> None:
        """A part is to be done once more; called with the lock held."""
        raise NotImplementedError

    def _left(self) -> int:
        """How many parts nobody is at, about; 0 only if there are none. Called with the lock held."""
        raise NotImplementedError

    def claim(self) -> P | None:
        """A part for this turn, which ``release`` is to end; or None, and ``drop`` is to end it."""
        with self._lock:
            part = None if self._given_up else self._next()
            self._active += part is not None
            return part

    def release(self, part: P, *, again: bool = False, give_up: bool = False, keep_turn: bool = False) -> int | None:
        """End a turn: how many more are wanted, or None if this was the end of the whole item (told only once).

        ``again`` puts the part back; ``give_up`` hands out no more; ``keep_turn`` says that this turn goes on
        elsewhere and will come back: then no more are wanted.
        """
        with self._lock:
            self._active -= 1
            self._given_up = self._given_up or give_up
            if again:
                self._return(part)
            if keep_turn:
                return 0
            self._turns -= 1
            left = 0 if self._given_up else self._left()
            if not left and not self._active:
                self._ended, ended = True, self._ended
                return 0 if ended else None
            wanted = max(0, min(self._width, left + self._active) - self._turns)
            self._turns += wanted
            return wanted

    def drop(self, *, give_up: bool = False) -> bool:
        """End a turn that has claimed nothing; True if that is the end of the whole item (told only once).

        That can only be where it was given up: its last turn may have been elsewhere when it was.
        """
        with self._lock:
            self._given_up = self._given_up or give_up
            self._turns -= 1
            last = self._given_up and not self._active and not self._ended
            self._ended = self._ended or last
            return last

    def reopen(self) -> None:
        """Begin again, with one turn; only for whoever was told of the end."""
        with self._lock:
            self._turns, self._given_up, self._ended = 1, False, False
