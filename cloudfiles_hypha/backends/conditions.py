"""Writes that are to take effect only if nothing has their name yet, or if the object is still the one that is known.

The store decides, in the moment of the write. Here is what is done about an answer that was lost: the next attempt is
refused because of what the one before has stored. Makes one attempt, and remembers what became of those before.
"""

from __future__ import annotations

from collections.abc import Callable

from ..content.digests import digest_in, md5_of
from ..errors import AccessDenied, ObjectExists, ObjectNotFound, PreconditionFailed, TransferError
from ..models import ObjectInfo, PutRequest, Stored


def lost(request: PutRequest, said: str = "") -> PreconditionFailed:
    """The error of a write whose condition does not hold."""
    more = f"; {said}" if said else ""
    if request.new:
        return ObjectExists(
            f"there is an object of this name already, and it was not to be overwritten{more}", path=request.path
        )
    return PreconditionFailed(
        f"the object is not the one that was to be overwritten: it has changed, or is gone{more}", path=request.path
    )


def may_have_been_done(error: TransferError) -> bool:
    """Whether the store may have done what it was asked for, although this is what came of it."""
    return error.retryable and (error.status is None or (error.status >= 500 and error.status != 503))


class Conditions:
    """The conditional writes of one batch. ``heeds`` says that the store is known to look at conditions; where that is
    not so, what is there is asked for first, as it would be overwritten by a store that does not."""

    def __init__(self, head: Callable[[str], ObjectInfo], *, heeds: bool) -> None:
        self._head = head
        self._heeds = heeds
        self._unsure: set[str] = set()  # paths of which an attempt may have been done, and nobody has said so

    def put(self, request: PutRequest, send: Callable[[PutRequest], Stored]) -> Stored:
        """One attempt to store an object."""
        path = request.path
        try:
            if not self._heeds:
                self.check(request)
            return self._sent(request, send)
        except PreconditionFailed:
            if path not in self._unsure:
                raise
        md5 = md5_of(request.body).hexdigest()
        try:
            there = self._head(path)
        except ObjectNotFound:
            there = ObjectInfo(path)
        if digest_in(there.headers.get) != (md5, 0):
            raise lost(request, "an earlier attempt to store it was not answered, and may have been successful")
        return Stored(request.size, there.etag, "md5", md5)

    def _sent(self, request: PutRequest, send: Callable[[PutRequest], Stored]) -> Stored:
        try:
            return send(request)
        except TransferError as error:
            if may_have_been_done(error):
                self._unsure.add(request.path)
            raise

    def check(self, request: PutRequest) -> None:
        """Raise if it can be seen already that the condition does not hold."""
        try:
            there = self._head(request.path).etag
        except ObjectNotFound:
            if not request.new:
                raise lost(request) from None
            return
        except AccessDenied:
            if self._heeds:  # who may write need not be allowed to look
                return
            raise
        if request.new or there != request.pinned:
            raise lost(request)
