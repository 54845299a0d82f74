"""Bytes of which nobody knows how many there will be, taken piece by piece by workers.

That is what is encoded while it is read, or a user's ``Stream``. Whoever makes a ``Flow`` loads ``spool`` first, so
that no worker has to.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import chain
from typing import IO, TYPE_CHECKING

from ..models import Body

if TYPE_CHECKING:
    from .spool import Spool


class Flow(Body):
    """Blocks of bytes that come once, in order. As a ``Body`` it cannot be opened; ``size`` is what was taken so far.

    Whoever takes a piece owns it. Several workers may take pieces; ``lock`` has them wait for each other.
    """

    def __init__(self, blocks: Iterator[bytes | memoryview], lock: AbstractContextManager[object]) -> None:
        self._blocks = blocks
        self._left = memoryview(b"")  # of the latest block
        self._error: BaseException | None = None
        self.lock = lock  # guards the above and ``size``; held while blocks are made
        self.size = 0
        self.ended = False

    @property
    def broken(self) -> bool:
        """Whether reading it has raised."""
        return self._error is not None

    def take(self, size: int | None = None) -> Spool:
        """The next ``size`` bytes, or all; fewer only at the end. After an error there is nothing but that error."""
        from .spool import Spool

        with self.lock:
            spool = Spool()
            try:
                while size is None or spool.size < size:
                    block = self._next(None if size is None else size - spool.size)
                    if block is None:
                        break
                    spool.write(block)
            except BaseException:
                spool.close()
                raise
            self.size += spool.size
            return spool

    def give_back(self, spool: Spool) -> None:
        """What was taken last comes once more."""
        with self.lock:
            self.size -= spool.size
            self.ended = False
            self._blocks = chain(_closing(spool), (self._left,), self._blocks)
            self._left = memoryview(b"")

    def rest(self) -> Iterator[bytes | memoryview]:
        """All blocks that are left, without a copy."""
        while (block := self._next(None)) is not None:
            self.size += len(block)
            yield block

    def _next(self, most: int | None) -> memoryview | None:
        if self._error is not None:
            raise self._error
        try:
            while not self._left:
                block = next(self._blocks, None)
                if block is None:
                    self.ended = True
                    return None
                self._left = memoryview(block)
        except BaseException as error:
            self._error = error  # else what comes after a failed generator would look like its end
            raise
        cut = self._left[:most]
        self._left = self._left[len(cut) :]
        return cut

    def open(self) -> IO[bytes]:
        """Refused: it can be read once only, by ``take`` or ``rest``."""
        raise io.UnsupportedOperation("what comes as a stream can be read once only")


def _closing(spool: Spool) -> Iterator[bytes]:
    try:
        yield from spool.blocks()
    finally:
        spool.close()
