"""What a backend is: verbs for one item, and a hook for those whose names resolve in batches.

A backend turns names into transfers. It makes one attempt and raises a ``TransferError`` when that fails;
retries, pools and result dicts are made above it, bytes are moved below it. All backends pass one contract suite.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from ..errors import RangeNotSatisfiable, ReadOnly, TransferError
from ..models import Fetched, GetRequest, ObjectInfo, PutRequest, Sink, Stored
from ..plan import BatchSizes

if TYPE_CHECKING:
    from ..upload import Session

Ticket = object
"""What ``prepare`` found out about a name, such as a signed URL; handed back to the verb it was made for."""

T = TypeVar("T")
Retry = Callable[[Callable[[], T]], T]


class StaleTicket(TransferError):
    """The ticket is no longer good, and a fresh one may be: prepare the item again (not a retry)."""


class Control(Protocol):
    """How a backend's own calls are repeated and spaced; given by the layer above to everything it starts."""

    def retry(self, attempt: Callable[[], T]) -> T:
        """Make an attempt until it succeeds, within the caller's policy."""

    def check(self) -> None:
        """Raise ``Cancelled`` when the batch is given up."""


class WriteSession(Protocol):
    """What surrounds a batch of writes."""

    @property
    def lost(self) -> Collection[str]:
        """Once it has ended: paths whose write went through, and whose object was not there all the same."""

    def failed(self, path: str) -> None:
        """A write to this path has failed for good."""

    def succeeded(self) -> None:
        """A write went through."""


class NoSession:
    """The session of a backend whose writes take effect one by one."""

    lost: Collection[str] = ()

    def failed(self, path: str) -> None:
        """Nothing to clean up."""

    def succeeded(self) -> None:
        """Nothing to note."""


class Backend:
    """The verbs, each for one item. Safe to share between threads; picklable.

    A subclass overrides what it can do; what it leaves alone refuses with ``ReadOnly`` or ``NotImplementedError``.
    """

    batched: ClassVar[bool] = False
    """Whether names are resolved by ``prepare`` before they are read or written."""
    in_parts: ClassVar[bool] = False
    """Whether large objects are stored in parts."""
    remote: ClassVar[bool] = True
    """Whether reading and writing wait for the network, and for nothing else."""
    etag_is_md5: ClassVar[bool] = False
    """Whether ETags are made as S3 makes them, so that content can be compared with them."""
    scheme: ClassVar[str] = ""

    def sizes(self, verb: str) -> BatchSizes:
        """Batch sizes for one run of ``prepare``."""
        raise NotImplementedError

    def prepare(self, verb: str, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """A ticket for each path, in order; an exception in its place where that path cannot be had."""
        raise NotImplementedError

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request; with a sink they go there, and are compared with nothing but the headers."""
        raise NotImplementedError

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object without reading it."""
        raise NotImplementedError

    def exists(self, paths: Sequence[str], control: Control) -> dict[str, bool] | None:
        """Whether each path is there, if that can be found out better than by asking for each; else None."""
        return None

    def list(self, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, in order; with ``flat``, folders are named with a slash, not entered."""
        raise TransferError(f"{self.scheme}:// cannot be listed", path=prefix)

    def scan(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``list``, with what else a listing tells of each file."""
        for path in self.list(prefix, flat=False, control=control):
            yield ObjectInfo(path)

    def as_written(self, control: Control) -> Backend:
        """The backend that reads what a write would overwrite."""
        return self

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one object."""
        raise ReadOnly(f"{self.scheme}:// can only be read from", path=request.path)

    def open_parts(self, request: PutRequest, count: int, lifetime: int, control: Control) -> Session:
        """Begin an upload in ``count`` parts, whose URLs are to live for so many seconds. Called by one at a time."""
        raise NotImplementedError

    def put_part(self, request: PutRequest, session: Session, number: int) -> Stored:
        """Store one part (numbered from 0). ``StaleTicket`` means that the whole session is over."""
        raise NotImplementedError

    def close_parts(self, request: PutRequest, session: Session, digests: Sequence[str], control: Control) -> Stored:
        """Make one object of the parts, given their MD5s in hex; raises ``StaleTicket`` like ``put_part``."""
        raise NotImplementedError

    def delete(self, path: str) -> None:
        """Remove one object; one that is not there counts as removed."""
        raise ReadOnly(f"{self.scheme}:// can only be read from", path=path)

    def writing(self, control: Control, lock: Callable[[str], AbstractContextManager[Any]]) -> Any:
        """A context manager that surrounds a batch of writes and gives a ``WriteSession``."""
        return nullcontext(NoSession())

    def close(self) -> None:
        """Let go of connections; the backend may be used again."""


def flat_listing(names: Iterable[str], prefix: str, *, flat: bool) -> Iterator[str]:
    """From sorted full names, those that begin with ``prefix``; with ``flat``, folders below it are named once."""
    seen = ""
    for name in names:
        if not name.startswith(prefix):
            continue
        if flat:
            folder, slash, _ = name[len(prefix) :].partition("/")
            if slash:
                folder = f"{prefix}{folder}/"
                if folder != seen:
                    seen = folder
                    yield folder
                continue
        yield name


def slice_of(content: bytes, start: int, end: int | None, size: int | None = None) -> bytes:
    """Bytes ``[start, end)`` of an object; past its end there is nothing to be had, and that is an error."""
    size = len(content) if size is None else size
    if start > size > 0:
        raise RangeNotSatisfiable(f"no such bytes: the range starts at {start}, the object has {size}", status=416)
    return content[start:end]
