"""``Blocks``: bytes of one answer, in pieces of the size that they are read in, so that none is copied then."""

from __future__ import annotations

from collections.abc import Iterator


class Blocks:
    """Bytes in blocks of ``step`` bytes each, the last one of what is left."""

    __slots__ = ("blocks", "step")

    def __init__(self, step: int, blocks: list[bytes]) -> None:
        self.step = step
        self.blocks = blocks

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def between(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes ``[start, end)``, as far as there are any; a whole block is given as it is."""
        step = self.step
        for number in range(start // step, min(-(-end // step), len(self.blocks))):
            at = number * step
            yield self.blocks[number][max(0, start - at) : end - at]
