"""The bytes of a range in memory: as they are, or in ``Blocks`` of the size that they are read in, so that none is
copied then.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from ..errors import IntegrityError, RangesUnsupported
from ..models import GetRequest, ObjectInfo


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


class PartSink:
    """Gathers the bytes of a range; breaks off where more than those are about to come, or encoded ones.

    They are put where they stay as they come: put together at the end they would be in memory twice, and memory that is
    new to the process costs more than what is copied into it. With ``cut`` those are blocks of that size.
    """

    def __init__(self, request: GetRequest) -> None:
        self._request = request
        self._full: list[bytes] = []
        self._place = io.BytesIO()
        self._room = self._length = self._got = 0

    def begin(self, info: ObjectInfo, start: int, end: int | None) -> None:
        """Bytes ``[start, end)`` are about to come."""
        request = self._request
        if info.compress is not None and not request.raw:
            raise RangesUnsupported.because("encoded", info.path, info.etag)
        wanted = request.start or 0
        if wanted < 0:
            wanted = max(0, wanted + (info.size or 0))
        if start != wanted or end is None or (request.end is not None and end > request.end):
            raise RangesUnsupported.because("ignored", info.path, info.etag)
        self._length, self._got, self._full = end - start, 0, []
        self._room = min(request.cut or self._length, self._length)  # of what is being filled
        # room for all of it, but not for what only the server says
        self._place = io.BytesIO(b"" if request.end is None else bytes(self._room))

    def write(self, block: bytes) -> None:
        """The next bytes."""
        self._got += len(block)
        if not self._request.cut:
            self._place.write(block)
        elif self._got <= self._length:  # what is too much is told of in the end
            self._cut(memoryview(block))

    def _cut(self, view: memoryview) -> None:
        while len(view) >= self._room > 0:
            self._place.write(view[: self._room])
            view = view[self._room :]
            self._full.append(self._place.getvalue())
            self._room = max(0, min(self._request.cut, self._length - len(self._full) * self._request.cut))
            self._place = io.BytesIO(bytes(self._room))
        self._place.write(view)
        self._room -= len(view)

    def content(self) -> bytes | Blocks:
        """All of them."""
        if self._got != self._length:
            raise IntegrityError(f"expected {self._length} bytes, got {self._got}", status=206)
        cut = self._request.cut
        return Blocks(cut, self._full) if cut else self._place.getvalue()
