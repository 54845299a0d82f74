"""One large object on its way into an S3, in parts that several workers send at once (a multipart upload).

The parts are read from their places in the source, each attempt afresh, and each is sent with its MD5, so that the S3
refuses a damaged one. The URLs of all parts come at once and expire together; they cannot be signed again. When they
do, the upload begins anew under another id, and says so: what was sent before stays in the S3 as an incomplete upload
that nobody but the S3's own lifecycle rules can remove.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from ..content.sources import PartOf
from ..errors import InvalidRequest
from ..models import PutRequest, Session, Stored
from ..plan.parts import LARGEST_OBJECT, MIB, growing_part_size, part_count, upload_part_size
from .parts import InParts

if TYPE_CHECKING:
    from ..content.flow import Flow
    from ..content.spool import Spool

# Seconds for which URLs are asked to live: at least, and at most (the longest that S3 signs for).
_SHORTEST, _LONGEST = 3600, 7 * 24 * 3600
# Bytes a second that an upload is expected to reach, before anything is known of it; and how much slower than what
# was measured it may become.
_EXPECTED = 1 * MIB
_MARGIN = 4
# Bytes of parts that may be kept until the store has them, where they cannot be read again; but two parts always may,
# and a part for each worker is the most.
_KEPT = 256 * MIB
# The number of a part of which nothing is known yet.
_UNTAKEN = -1
_log = logging.getLogger("cloudfiles_hypha")


@dataclass(frozen=True, slots=True)
class SentPart:
    """One part to send, in one session."""

    number: int
    session: Session


class Upload(InParts[SentPart]):
    """The state of one upload in parts."""

    def __init__(self, request: PutRequest, *, width: int, part_size: int | None = None) -> None:
        super().__init__(width)
        self.request = request
        self.part_size = upload_part_size(request.size, *(() if part_size is None else (part_size,)))
        self.count = part_count(request.size, self.part_size)
        self.session: Session | None = None
        self.attempts = 0
        self.error: Exception | None = None  # the first that ended a turn for good
        self.digests: dict[int, str] = {}  # of the parts that are there, by number
        self._todo: deque[int] = deque()
        self._restarts = 0
        self._speed = 0.0  # bytes a second, of all workers together
        self._began = 0.0
        self._sent = 0

    # -- what is left to do; called with the lock held ----------------------------------------------------------

    def _next(self) -> SentPart | None:
        return SentPart(self._todo.popleft(), self.session) if self._todo and self.session is not None else None

    def _return(self, part: SentPart) -> None:
        if part.session is self.session:
            self._todo.append(part.number)

    def _left(self) -> int:
        return len(self._todo) if self.session is not None else self.count

    # -- the session --------------------------------------------------------------------------------------------

    @property
    def lifetime(self) -> int:
        """Seconds for which the URLs should live, going by the size and the speed so far."""
        speed = self._speed / _MARGIN if self._speed else _EXPECTED
        return int(min(_LONGEST, max(_SHORTEST, self.request.size / speed * 2**self._restarts)))

    def open(self, session: Session) -> None:
        """The server has opened a session: all parts are to be sent in it."""
        with self._lock:
            self.session = session
            self.digests = {}
            self._todo = deque(range(self.count))
            self._began, self._sent = monotonic(), 0

    def expired(self, session: Session) -> int:
        """The S3 does not accept this session's URLs any more, or the server has forgotten it; how many bytes had been
        ``sent`` in it for nothing."""
        with self._lock:
            if self.session is not session:
                return 0  # another worker has met with that before
            self.session = None
            self._todo.clear()
            self._restarts += 1
            lost, self._sent = self._sent, 0
        _log.warning(
            "%s: the multipart upload %s has expired or is lost after %d of %d parts; starting over, what was sent "
            "stays in the store as an incomplete upload",
            self.request.path,
            session.id,
            len(self.digests),
            self.count,
        )
        return lost

    # -- a part -------------------------------------------------------------------------------------------------

    def place(self, part: SentPart) -> tuple[int, int]:
        """Where one part begins, and its size."""
        start = part.number * self.part_size
        return start, min(self.part_size, self.request.size - start)

    def body(self, part: SentPart) -> PutRequest:
        """The request for one part of a body that may be read anywhere."""
        return replace(self.request, body=PartOf.cut(self.request.body, *self.place(part)))

    def sent(self, part: SentPart, stored: Stored) -> int:
        """A part is in the store; how many bytes of the object that makes more."""
        with self._lock:
            if part.session is not self.session or stored.md5 is None:
                return 0
            self.digests[part.number] = stored.md5
            self._sent += stored.size
            self._speed = self._sent / max(1e-3, monotonic() - self._began)
            return stored.size


class GrowingUpload(Upload):
    """The state of an upload whose parts are taken from a flow until it ends, and kept until they are in the store."""

    def __init__(self, request: PutRequest, flow: Flow, *, width: int, most: int, part_size: int | None) -> None:
        super().__init__(request, width=width, part_size=part_size)
        self.most = most
        self.count = 0  # of those that were taken
        self._flow = flow
        self._kept: dict[int, Spool] = {}

    @property
    def lifetime(self) -> int:
        """As long as can be: nobody knows when it ends, and it cannot begin anew."""
        return _LONGEST

    def _next(self) -> SentPart | None:
        if self.session is None or not (self._todo or not self._flow.ended):
            return None
        return SentPart(self._todo.popleft() if self._todo else _UNTAKEN, self.session)

    def _return(self, part: SentPart) -> None:
        self._todo.append(part.number)

    def _left(self) -> int:
        if self._flow.ended:
            return len(self._todo)
        size = growing_part_size(min(self.count, self.most - 1), self.part_size, self.most)
        return max(1, len(self._todo), max(2, _KEPT // size) - self._active)

    def take(self, part: SentPart) -> SentPart | None:
        """The part that was claimed with its bytes, which are taken now if it is a new one; None at the end."""
        if part.number != _UNTAKEN:
            return part
        flow = self._flow
        with flow.lock:  # so that the numbers are in the order of the bytes
            number = self.count
            left = LARGEST_OBJECT - flow.size
            room = growing_part_size(number, self.part_size, self.most) if number < self.most else 0
            spool = flow.take(min(room, left) or 1)  # where there is no room, to see whether that is the end
            if not spool.size:
                spool.close()
                return None
            if not (room and left):
                spool.close()
                raise InvalidRequest("it has more than the 5 TiB that an object can hold", path=self.request.path)
            self.count += 1
            self._kept[number] = spool
        return SentPart(number, part.session)

    def body(self, part: SentPart) -> PutRequest:
        """The request for one part that was taken."""
        return replace(self.request, body=self._kept[part.number])

    def sent(self, part: SentPart, stored: Stored) -> int:
        """A part is in the store, and need not be kept any more."""
        size = super().sent(part, stored)
        if part.number in self.digests:
            self._kept.pop(part.number).close()
        return size

    def close(self) -> None:
        """Let go of what is kept."""
        while self._kept:
            self._kept.popitem()[1].close()
