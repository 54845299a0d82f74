"""What can go wrong with one item or one batch, as exceptions Python code already knows how to catch.

Nothing here touches the network. Transports and backends raise these; ``retry`` reads ``retryable`` and
``retry_after``; users catch ``TransferError`` or the builtin each leaf also is. No message ever holds a token
or a presigned query string: whoever raises names the path, never the URL it was reached by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .results import CopyResult, FileResult, Result


class TransferError(OSError):
    """Base of everything raised for an item: ``path`` names it, ``status`` is the HTTP code if there was one.

    ``retryable`` says whether the same request may succeed later; ``retry_after`` (seconds) is the pause the
    server asked for; ``attempts`` how many tries it took to give up. Survives pickling.
    """

    retryable = False
    connected = True
    """False: not even a connection was made, as far as that is known."""
    answered = True
    """False: nobody there has ever answered, and was given up for that."""

    def __init__(
        self, message: str, *, path: str = "", status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)  # one positional argument, so that the error survives pickling
        self.path = path
        self.status = status
        self.retry_after = retry_after
        self.attempts = 0

    def about(self, path: str) -> TransferError:
        """Name the item this error belongs to, where that was not yet known; returns itself."""
        if path and not self.path:
            self.path = path
        return self

    def __copy__(self) -> TransferError:
        """A copy with attributes of its own. Others (tblib, which dask loads) have copies of exceptions share them."""
        make, args, *state = cast("tuple[Any, ...]", self.__reduce__())
        made: TransferError = make(*args)
        for attributes in state:
            made.__dict__.update(attributes)
        return made

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.path}: {message}" if self.path else message


class ObjectNotFound(TransferError, FileNotFoundError):
    """The server answered, and there is no such object."""


class BucketNotFound(ObjectNotFound):
    """The server answered, and there is no such bucket or container. (An answer to a HEAD may not tell.)"""


class ArtifactNotFound(ObjectNotFound, KeyError):
    """The server answered, and there is no such artifact (or not the version that was named)."""


class AccessDenied(TransferError, PermissionError):
    """The server knows who asks and refuses, or wants to know who asks."""


class InvalidRequest(TransferError, ValueError):
    """The server understood the request and calls it wrong; trying again would not help."""


class NotStaged(InvalidRequest):
    """A write needs the artifact to be staged, and it is not."""


class ArtifactExists(TransferError, FileExistsError):
    """The artifact that was to be created is there already."""


class PreconditionFailed(TransferError):
    """The object is not the one the request was pinned to (its ETag has changed)."""


class ObjectExists(PreconditionFailed, FileExistsError):
    """There is an object of this name, which was not to be overwritten."""


class NotModified(TransferError):
    """The object is the one that is here already, so it was not sent."""


class RangeNotSatisfiable(TransferError, ValueError):
    """The requested bytes begin at or after the end of the object."""


class RangesUnsupported(TransferError):
    """Only all bytes of the object can be had, and not a range of them alone.

    ``reason`` is "ignored" (the server sends everything, whatever is asked for) or "encoded" (what is stored has to be
    decoded from its beginning).
    """

    reason = "ignored"
    etag: str | None = None

    @classmethod
    def because(cls, reason: str, path: str = "", etag: str | None = None) -> RangesUnsupported:
        """The error for one of the two reasons, of an object whose ETag may be known."""
        why = "the object is encoded" if reason == "encoded" else "the server does not do ranges"
        error = cls(f"no range of it can be read alone: {why}", path=path)
        error.reason, error.etag = reason, etag
        return error


class ReadOnly(TransferError, PermissionError):
    """The backend can be read from only."""


class IntegrityError(TransferError):
    """Bytes arrived that are not the bytes that were sent; fetching or sending them again may help."""

    retryable = True


class ConnectionFailed(TransferError, ConnectionError):
    """The server could not be reached, or the connection broke."""

    retryable = True


class TruncatedBody(ConnectionFailed, EOFError):
    """The connection ended before the body did."""


class TransferTimeout(TransferError, TimeoutError):
    """The server did not answer, or not fast enough."""

    retryable = True


class CertificateError(TransferError):
    """The server's TLS certificate is not to be trusted; no retry changes that."""


class ServerError(TransferError):
    """The server failed to do what it was asked (5xx)."""

    retryable = True


class TooManyRequests(ServerError):
    """The server asks for a slower pace (429, or 503); ``retry_after`` is how many seconds it wants."""


class Cancelled(TransferError, InterruptedError):
    """The batch this item belonged to was given up before the item was done."""


class InvalidContent(TransferError, ValueError):
    """The bytes arrived as they are stored, and are not what they should be (not JSON, say)."""


class DecompressionError(InvalidContent):
    """The bytes arrived as they are stored, and cannot be decoded from the encoding that they are said to have."""


class BatchError(TransferError):
    """Some items of a batch failed; the others are done.

    ``results`` holds every result in input order, ``errors`` those that have an error. Raised after the whole
    batch has run, so nothing that succeeded is lost.
    """

    def __init__(
        self, message: str, results: Sequence[Result] | Sequence[FileResult] | Sequence[CopyResult] = ()
    ) -> None:
        super().__init__(message)
        self.results: list[Result] = cast("list[Result]", list(results))

    @property
    def errors(self) -> list[Result]:
        """The results that have an error, in input order."""
        return [result for result in self.results if result["error"] is not None]

    @classmethod
    def from_results(
        cls,
        verb: str,
        results: Sequence[Result] | Sequence[FileResult] | Sequence[CopyResult],
        *,
        of: int | None = None,
    ) -> BatchError:
        """Describe what failed: how many (of ``of`` items, or of these), and the first few by name."""
        failed = [result for result in results if result["error"] is not None]
        shown = "; ".join(str(result["error"]) for result in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        error = cls(
            f"{verb}: {len(failed)} of {len(results) if of is None else of} items failed: {shown}{more}", results
        )
        statuses = {getattr(result["error"], "status", None) for result in failed}
        error.status = statuses.pop() if len(statuses) == 1 else None
        return error


class CommitError(BatchError):
    """The files of a batch were uploaded, but the commit that would publish them failed.

    They are kept staged: ``commit()`` publishes them, ``discard()`` drops them. The reason is ``__cause__``.
    """


class StagedWarning(UserWarning):
    """Files went into a staging that was already open, so they are not published before somebody commits; or into one
    that a large file is part of which is still being written (``ArtifactFiles.open``), and are published with it."""


class LossyWarning(UserWarning):
    """Objects were copied to a place that cannot keep all that was stored of them besides their bytes."""


class WithdrawnWarning(UserWarning):
    """Names that had been registered for upload, but whose bytes never arrived, were dropped by a commit."""


class UntypedWarning(UserWarning):
    """Objects were stored without the content type that was asked for: the store's URLs allow none to be sent."""


class NotAwaited(TypeError, AttributeError):
    """What is to be awaited was used as if it were the value already: ``await`` is missing, or ``.sync``.

    An ``AttributeError`` as well, so that whoever only looks whether there is such an attribute is told that there is
    none.
    """


class StorageError(TransferError):
    """What went wrong at a node of a mount; ``path`` is the node's full path. It is the error of ours, too, that it is
    made of: one that says ``ConnectionFailed`` is both."""


class StorageNotFoundError(StorageError, ObjectNotFound):
    """There is no such file, folder or mount."""


class StoragePermissionError(StorageError, PermissionError):
    """The mount does not allow it, or the store refuses it."""


class StorageConfigError(StorageError, ValueError):
    """A mount cannot be configured so; or it is used after it was closed."""


_TRANSLATED: dict[type[OSError], type[StorageError]] = {}


def storage_error(error: OSError, path: str) -> StorageError:
    """The same error about the node with this full path: a ``StorageError`` as well as what it was."""
    message = str(error.args[0]) if isinstance(error, TransferError) and error.args else str(error)
    made = _made_as(type(error), message)
    made.__dict__.update(error.__dict__)
    made.path, made.errno = path, error.errno
    return made


def _made_as(kind: type[OSError], message: str) -> StorageError:
    made_as = _TRANSLATED.get(kind)
    if made_as is None:
        base: type[StorageError] = StorageError
        if issubclass(kind, FileNotFoundError):
            base = StorageNotFoundError
        elif issubclass(kind, PermissionError):
            base = StoragePermissionError
        if issubclass(kind, base):
            made_as = kind
        elif issubclass(base, kind):
            made_as = base
        else:
            made_as = type(
                kind.__name__, (base, kind), {"__reduce__": _reduced, "_kind": kind, "__doc__": kind.__doc__}
            )
        _TRANSLATED[kind] = made_as
    made = made_as.__new__(made_as, message)
    TransferError.__init__(made, message)
    return made


def _reduced(error: Any) -> tuple[Any, ...]:
    """Its class was made here, and is made again where it is unpickled."""
    return _made_as, (error._kind, error.args[0]), error.__dict__
