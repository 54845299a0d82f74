"""Bulk transfer for Hypha artifacts and HTTP: ``ArtifactFiles`` reads and writes many files at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .backends.aliases import add_alias, aliases, remove_alias
from .content.codecs import transcode
from .engine.pool import Cancellation
from .errors import (
    AccessDenied,
    ArtifactExists,
    ArtifactNotFound,
    BatchError,
    BucketNotFound,
    Cancelled,
    CertificateError,
    CommitError,
    ConnectionFailed,
    DecompressionError,
    IntegrityError,
    InvalidContent,
    InvalidRequest,
    LossyWarning,
    NotAwaited,
    NotModified,
    NotStaged,
    ObjectExists,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    RangesUnsupported,
    ReadOnly,
    ServerError,
    StagedWarning,
    StorageConfigError,
    StorageError,
    StorageNotFoundError,
    StoragePermissionError,
    TooManyRequests,
    TransferError,
    TransferTimeout,
    TruncatedBody,
    UntypedWarning,
    WithdrawnWarning,
)
from .files import ArtifactFiles
from .limit import RateLimit
from .models import ObjectInfo, Timeouts, Version
from .one import ArtifactFile
from .plan.sync import Step
from .progress import Item, Observer
from .results import Comparison, CopyResult, FileResult, Result, SubtreeSize, UnfinishedUpload
from .retry import RetryPolicy
from .shortcuts import SyncPlan, SyncReport, dl, sync

if TYPE_CHECKING:
    from .aio import AIOFile, LineReader, Reader, Writer, async_open
    from .async_files import AsyncArtifactFiles
    from .filesystem.artifact import HyphaArtifact
    from .filesystem.async_artifact import AsyncHyphaArtifact
    from .mounts.copying import SkipStrategy
    from .mounts.faces import AsyncNode, StorageNode
    from .mounts.manager import StorageManager
    from .mounts.node import SyncNode
    from .ranges import RangeCache, RangeFile
    from .remote import AsyncHttpFile, AsyncRangeFile, HttpFile

__version__ = "0.2.0"

# What is loaded when it is asked for: asyncio alone takes as long as all the rest.
_LATER = {
    "AIOFile": "aio",
    "LineReader": "aio",
    "Reader": "aio",
    "Writer": "aio",
    "async_open": "aio",
    "AsyncArtifactFiles": "async_files",
    "AsyncHttpFile": "remote",
    "AsyncRangeFile": "remote",
    "HttpFile": "remote",
    "AsyncHyphaArtifact": "filesystem.async_artifact",
    "HyphaArtifact": "filesystem.artifact",
    "RangeCache": "ranges",
    "RangeFile": "ranges",
    "AsyncNode": "mounts.faces",
    "SkipStrategy": "mounts.copying",
    "StorageManager": "mounts.manager",
    "StorageNode": "mounts.faces",
    "SyncNode": "mounts.node",
}

__all__ = [
    "AIOFile",
    "AccessDenied",
    "ArtifactExists",
    "ArtifactFile",
    "ArtifactFiles",
    "ArtifactNotFound",
    "AsyncArtifactFiles",
    "AsyncHttpFile",
    "AsyncHyphaArtifact",
    "AsyncNode",
    "AsyncRangeFile",
    "BatchError",
    "BucketNotFound",
    "Cancellation",
    "Cancelled",
    "CertificateError",
    "CommitError",
    "Comparison",
    "ConnectionFailed",
    "CopyResult",
    "DecompressionError",
    "FileResult",
    "HttpFile",
    "HyphaArtifact",
    "IntegrityError",
    "InvalidContent",
    "InvalidRequest",
    "Item",
    "LineReader",
    "LossyWarning",
    "NotAwaited",
    "NotModified",
    "NotStaged",
    "ObjectExists",
    "ObjectInfo",
    "ObjectNotFound",
    "Observer",
    "PreconditionFailed",
    "RangeCache",
    "RangeFile",
    "RangeNotSatisfiable",
    "RangesUnsupported",
    "RateLimit",
    "ReadOnly",
    "Reader",
    "Result",
    "RetryPolicy",
    "ServerError",
    "SkipStrategy",
    "StagedWarning",
    "Step",
    "StorageConfigError",
    "StorageError",
    "StorageManager",
    "StorageNode",
    "StorageNotFoundError",
    "StoragePermissionError",
    "SubtreeSize",
    "SyncNode",
    "SyncPlan",
    "SyncReport",
    "Timeouts",
    "TooManyRequests",
    "TransferError",
    "TransferTimeout",
    "TruncatedBody",
    "UnfinishedUpload",
    "UntypedWarning",
    "Version",
    "WithdrawnWarning",
    "Writer",
    "__version__",
    "add_alias",
    "aliases",
    "async_open",
    "dl",
    "remove_alias",
    "sync",
    "transcode",
]


def __getattr__(name: str) -> object:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
