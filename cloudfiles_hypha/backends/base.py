"""What a backend is: verbs for one item, and hooks for those whose names resolve in batches.

A backend turns names into transfers. It makes one attempt and raises a ``TransferError`` when that fails;
retries, pools and result dicts are made above it, bytes are moved below it. All backends pass one contract suite.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from ..errors import InvalidRequest, ReadOnly, TransferError
from ..models import Fetched, GetRequest, ObjectInfo, PutRequest, Session, Sink, Stored, Version
from ..paths import Location, check_version
from ..plan.batches import BatchSizes
from ..results import UnfinishedUpload

Ticket = object
"""What ``resolve`` found out about a name, such as a signed URL; handed back to the verb it was made for."""

T = TypeVar("T")
R = TypeVar("R")

# Folders within each other, beyond which there must be a link that leads back to one above.
_DEEPEST = 200


class StaleTicket(TransferError):
    """The ticket is no longer good, and a fresh one may be: resolve the item again (not a retry)."""


class CannotCopy(Exception):
    """This object has to pass through here."""


class Flag(Protocol):
    """Something to wait for."""

    def set(self) -> object:
        """From now on nobody waits."""

    def is_set(self) -> bool:
        """Whether it is set."""

    def wait(self, seconds: float) -> bool:
        """Wait, at most for so long; whether it is set."""


class Control(Protocol):
    """How a backend's own calls are repeated, spaced and kept apart; given by the layer above to all it starts."""

    over: bool
    """The verb that this was made for has ended: what it has not given back is nobody's. A plain attribute, set where
    nothing can come between, since Ctrl-C may keep any function from being called."""

    lingers: Callable[[], bool]
    """Whether the verb waits for somebody who has a file open for writing, so that nobody may wait for its end."""

    def retry(self, attempt: Callable[[], T]) -> T:
        """Make an attempt until it succeeds, within the caller's policy."""

    def check(self) -> None:
        """Raise ``Cancelled`` when the batch is given up."""

    def sleep(self, seconds: float) -> None:
        """Wait; raises ``Cancelled`` as soon as the batch is given up."""

    def lock(self, name: str) -> AbstractContextManager[object]:
        """The lock of this name, one in the process for each kind of worker; its holder may take it again."""

    def flag(self) -> Flag:
        """A flag for workers of this kind; waiting for it is not interrupted when the batch is given up."""

    def map(self, function: Callable[[T], R], items: Sequence[T], at_once: int) -> Iterator[R]:
        """``function`` of each item, in order, up to ``at_once`` of them side by side; raises the first error."""


class Resolver(Protocol):
    """Resolves the names of one batch. What it has promised for one name (a version, say) holds for the others."""

    def sizes(self) -> BatchSizes:
        """Sizes of the calls of one run, and how many are made at once."""

    def resolve(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """A ticket for each path, in order; an exception in its place where that path cannot be had."""


class WriteSession(Protocol):
    """What surrounds a batch of writes, and the verbs within it, each for one item."""

    @property
    def lost(self) -> Collection[str]:
        """Once it has ended: paths whose write went through, and whose object was not there all the same."""

    def sizes(self) -> BatchSizes:
        """As for a ``Resolver``; asked only of backends that are ``batched``."""

    def resolve(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """As for a ``Resolver``."""

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one object."""

    def open_parts(self, request: PutRequest, count: int, lifetime: int, control: Control) -> Session:
        """Begin an upload in ``count`` parts, whose URLs are to live for so many seconds. Called by one at a time."""

    def open_stream(self, request: PutRequest, most: int, lifetime: int, control: Control) -> Session:
        """Begin an upload in at most so many parts, of which nobody knows how many there will be, for ``put_part`` and
        ``close_parts``; where it is ``failed``, or this session ends before, it is abandoned as far as that can be."""

    def put_part(self, request: PutRequest, session: Session, number: int) -> Stored:
        """Store one part (numbered from 0). ``StaleTicket`` means that the whole session is over."""

    def close_parts(self, request: PutRequest, session: Session, digests: Sequence[str], control: Control) -> Stored:
        """Make one object of the parts, given their MD5s in hex; raises ``StaleTicket`` like ``put_part``."""

    def delete(self, path: str) -> None:
        """Remove one object; one that is not there counts as removed."""

    def written_elsewhere(self, paths: Iterable[str]) -> None:
        """Other processes have written, or tried to write, to these paths on behalf of this session; what became of
        each follows."""

    def failed(self, path: str) -> None:
        """A write to this path has failed for good."""

    def succeeded(self, path: str) -> None:
        """A write to this path went through."""


class DirectWrites:
    """The session of a backend whose writes take effect one by one, in a single request each."""

    lost: Collection[str] = ()

    def __init__(self, backend: Backend) -> None:
        self.put = backend.put
        self.delete = backend.delete

    def sizes(self) -> BatchSizes:
        """Not asked for."""
        raise NotImplementedError

    def resolve(self, paths: Sequence[str], control: Control, sizes: BatchSizes) -> list[Ticket]:
        """Not asked for."""
        raise NotImplementedError

    def open_parts(self, request: PutRequest, count: int, lifetime: int, control: Control) -> Session:
        """Not asked for."""
        raise NotImplementedError

    def open_stream(self, request: PutRequest, most: int, lifetime: int, control: Control) -> Session:
        """Not asked for."""
        raise NotImplementedError

    def put_part(self, request: PutRequest, session: Session, number: int) -> Stored:
        """Not asked for."""
        raise NotImplementedError

    def close_parts(self, request: PutRequest, session: Session, digests: Sequence[str], control: Control) -> Stored:
        """Not asked for."""
        raise NotImplementedError

    def written_elsewhere(self, paths: Iterable[str]) -> None:
        """Nothing to note."""

    def failed(self, path: str) -> None:
        """Nothing to clean up."""

    def succeeded(self, path: str) -> None:
        """Nothing to note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do, for the layers above to decide by."""

    batched: bool = False
    """Names are resolved (``Resolver``) before they are read or written."""
    multipart: bool = False
    """Large objects may be stored in parts."""
    described_parts: bool = False
    """What is stored in parts can have a content type, cache control and content encoding."""
    growing: int = 0
    """In so many parts at most an upload may go of which nobody knows the size (``WriteSession.open_stream``); 0: what
    comes as a stream is gathered, and stored at once."""
    ordered_parts: bool = False
    """Those parts have to come one after the other."""
    flows: bool = False
    """``put`` takes a ``content.flow.Flow`` as a body, and reads it while it writes."""
    deletes_many: bool = False
    """Names that are to be removed go to ``WriteSession.resolve`` before ``delete`` is called for each."""
    blocking: bool = False
    """Reading and writing wait for other things than the transport (a disk, a lock)."""
    listable: bool = True
    writable: bool = True
    versioned: bool = False
    s3_etags: bool = False
    """ETags are made as S3 makes them, so that content can be compared with them."""
    ordered: bool = False
    """``list`` and ``scan`` give names in the order of their code points, whatever folders they are in."""
    copies: bool = False
    """Objects may be copied without their bytes passing through here; see ``Backend.copy``."""
    reads_cheaply: bool = False
    """An object is read as fast as a file, so that it can be compared with one where digests cannot be."""
    lists_encodings: bool = False
    """``scan`` tells what an object is encoded with."""
    folds: bool = False
    """Names that differ in case, or in how characters are composed, may be of one file; ``Backend.same`` tells."""
    pins_listed: bool = False
    """The ETag that a listing tells may be asked for when an object is read (as all may that are made as S3's)."""
    keeps: frozenset[str] = frozenset({"content_type", "cache_control", "content_encoding"})
    """What is kept of an object besides its bytes, and told to whoever reads it."""
    largest_put: int | None = None
    """Bytes that one request can store, where that is limited."""
    in_process: bool = False
    """Its files are this process's own: no other one sees them."""
    one_by_one: bool = False
    """Removals are made one after the other, however many there are to make them."""
    suffixes: bool = False
    """``get`` may be asked for the last bytes of an object by a negative ``start``."""
    tells_uploads: bool = False
    """Uploads in parts that were not completed can be listed and aborted."""
    folders: bool = False
    """Folders are there without files in them, and have to be made and removed: ``Backend.make_folder``."""
    keeps_versions: bool = False
    """What a name had before can be listed (``Backend.versions``) and read (``Backend.at``)."""
    metadata: int = 0
    """Bytes of metadata of the user's that are kept of an object, names and values together; 0: none is."""
    metadata_names: str = r"[a-z0-9!#$%&'*+.^_`|~-]+"
    """What their names look like, in lower case."""
    conditions: frozenset[str] = frozenset()
    """Which of ``PutRequest``'s conditions hold at the moment a write takes effect: "new", "pinned"."""

    @property
    def keeps_encoding(self) -> bool:
        """Whether a Content-Encoding that content is stored with is told to whoever reads it."""
        return "content_encoding" in self.keeps


class Backend:
    """The verbs, each for one item. Safe to share between threads.

    A subclass overrides what it can do; what it leaves alone refuses with ``ReadOnly`` or ``NotImplementedError``.
    """

    can: ClassVar[Capabilities] = Capabilities()
    scheme: ClassVar[str] = ""

    def settled(self, location: Location) -> Location:
        """``location`` with all that was found out when this was opened: where a pickled copy is to go to."""
        return location

    def location_to_read(self, location: Location, control: Control) -> Location:
        """Where other processes go to that read one batch together, all of one version."""
        return self.settled(location)

    def location_to_write(self, location: Location, session: WriteSession) -> Location:
        """Where other processes go to whose writes belong to this session, which publishes them."""
        return self.settled(location)

    def reading(self, *, silent: bool = False) -> Resolver:
        """What resolves the names of one batch of reads; ``silent`` ones are not counted as downloads."""
        raise NotImplementedError

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request; with a sink they go there, and are compared with nothing but the headers."""
        raise NotImplementedError

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object without reading it."""
        raise NotImplementedError

    def versions(self, path: str, control: Control) -> Sequence[Version]:
        """The versions that the store has of a file, oldest first; only where ``keeps_versions`` says so."""
        raise NotImplementedError

    def check_version(self, path: str, version: object) -> None:
        """Raise ``ValueError`` unless that may be the version of a file, or None."""
        if check_version(path, version) is not None and not self.can.keeps_versions:
            raise ValueError(
                f"{path!r}: {self.scheme}:// keeps no versions, so {version!r} cannot be read; leave it out"
            )

    def at(self, version: str) -> Backend:
        """What ``reading``, ``get`` and ``head`` are asked of for another version; only where ``keeps_versions`` says
        so."""
        raise NotImplementedError

    def set_metadata(self, path: str, metadata: tuple[tuple[str, str], ...]) -> None:
        """Replace the metadata of an object, whose bytes stay; one attempt. Only where ``metadata`` is kept."""
        raise NotImplementedError

    def link(self, path: str, lifetime: int, control: Control) -> str:
        """A URL by which anybody can read the object for so many seconds. Whether it is there may not be looked at."""
        raise InvalidRequest(f"{self.scheme}:// gives no URLs that others can read by", path=path)

    def links(self, paths: Sequence[str], lifetime: int, control: Control) -> list[str | Exception]:
        """``link`` for each path, in order; an exception in its place where that path cannot be had."""
        found: list[str | Exception] = []
        for path in paths:
            try:
                found.append(self.link(path, lifetime, control))
            except TransferError as error:
                found.append(error)
        return found

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

    def level(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """``list`` with ``flat``, with what else a listing tells of each file; folders have a slash at their end."""
        for path in self.list(prefix, flat=True, control=control):
            yield ObjectInfo(path)

    def scan_after(self, prefix: str, name: str, *, control: Control) -> Iterator[ObjectInfo] | None:
        """Like ``scan``, without names that come before ``name``, where the store can be asked so; else None."""
        return None

    def as_written(self, control: Control) -> Backend:
        """The backend that reads what a write would overwrite."""
        return self

    def put(self, request: PutRequest, ticket: Ticket) -> Stored:
        """Store one object."""
        raise ReadOnly(f"{self.scheme}:// can only be read from", path=request.path)

    def turn(self, path: str) -> AbstractContextManager[None]:
        """Keeps other processes from changing a file meanwhile, as far as they ask for a turn as well."""
        return nullcontext()

    def place(self, location: Location) -> object:
        """What two locations have in common, however they are written, if their files are the same; hashable."""
        return location.root

    def path_at(self, location: Location, prefix: str) -> str:
        """Where names with this prefix are within the ``place``: what is below it begins with it."""
        return prefix

    def same(self, one: str, other: str) -> bool:
        """Whether two names that are spelt differently are of one file, or would be if they were written to."""
        return False

    def copies_from(self, source: Backend) -> bool:
        """Whether ``copy`` can be asked for objects of that backend."""
        return False

    def copy(self, source: Backend, request: GetRequest, path: str, control: Control) -> Stored:
        """Make ``path`` a copy of the object that ``request`` names (of its version, if that is pinned), with all that
        is stored of it, without its bytes passing through here. Only where ``copies_from`` says so; raises
        ``CannotCopy`` for an object of which that cannot be had."""
        raise NotImplementedError

    def delete(self, path: str) -> None:
        """Remove one object; one that is not there counts as removed."""
        raise ReadOnly(f"{self.scheme}:// can only be read from", path=path)

    def is_folder(self, path: str) -> bool | None:
        """Whether there is a folder of this name, empty or not; None where only what is in it can tell."""
        return None

    def make_folder(self, path: str) -> None:
        """Make a folder, and those it is in; where there are no empty ones, nothing is to be made."""

    def remove_folder(self, path: str) -> None:
        """Remove a folder and the folders in it as far as no files are left in them, where there are empty ones."""

    def writing(self, control: Control) -> AbstractContextManager[WriteSession]:
        """A context manager that surrounds a batch of writes and gives its session."""
        return nullcontext(DirectWrites(self))

    def uploads(self, prefix: str, *, control: Control) -> Iterator[UnfinishedUpload]:
        """The unfinished uploads of names that begin with ``prefix``; only where ``tells_uploads`` says so."""
        raise NotImplementedError

    def abort_upload(self, path: str, upload: str) -> None:
        """Have the store forget an unfinished upload, by its id; raises if a process of this machine is at it."""
        raise NotImplementedError

    def take_up(self, control: Control) -> bool:
        """Publish what an earlier write of this user has left unpublished when it was killed; whether there was any."""
        return False

    def close(self) -> None:
        """Let go of what is open; the backend may be used again."""


class ByFolder(Backend):
    """A backend whose places are listed folder by folder: names within each are in order."""

    def list(self, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``."""
        for info in self._walk(prefix, flat=flat, control=control):
            yield info.path

    def scan(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``list``, with what the listing of a folder tells."""
        return self._walk(prefix, flat=False, control=control)

    def level(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``scan``, of one level, with its folders."""
        return self._walk(prefix, flat=True, control=control)

    def _walk(self, prefix: str, *, flat: bool, control: Control) -> Iterator[ObjectInfo]:
        base, slash, start = prefix.rpartition("/")
        if slash and not {"", ".", ".."}.isdisjoint(base.split("/")):
            return  # no name begins so, whatever the store makes of it
        levels = [iter(self._folder(base + slash, start, control, asked=True))]
        while levels:
            info = next(levels[-1], None)
            if info is None:
                levels.pop()
            elif info.path.endswith("/") and not flat:
                if len(levels) > _DEEPEST:
                    raise TransferError(
                        "folders within folders without an end: a link that leads back?", path=info.path
                    )
                levels.append(iter(self._folder(info.path, "", control, asked=False)))
            else:
                yield info

    def _folder(self, folder: str, start: str, control: Control, *, asked: bool) -> Sequence[ObjectInfo]:
        """What is in one folder and begins with ``start``, sorted by name; folders end in a slash. ``asked`` says that
        it is the one a caller has named, which need not be there."""
        raise NotImplementedError


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
