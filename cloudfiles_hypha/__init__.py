"""Bulk transfer for Hypha artifacts and HTTP: ``ArtifactFiles`` reads and writes many files at once."""

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
    NotModified,
    NotStaged,
    ObjectExists,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    ReadOnly,
    ServerError,
    StagedWarning,
    TooManyRequests,
    TransferError,
    TransferTimeout,
    TruncatedBody,
    UntypedWarning,
    WithdrawnWarning,
)
from .files import ArtifactFiles
from .limit import RateLimit
from .models import ObjectInfo, Timeouts
from .one import ArtifactFile
from .plan.sync import Step
from .progress import Item, Observer
from .results import Comparison, CopyResult, FileResult, Result, SubtreeSize, UnfinishedUpload
from .retry import RetryPolicy
from .shortcuts import SyncPlan, SyncReport, dl, sync

__version__ = "0.2.0"

__all__ = [
    "AccessDenied",
    "ArtifactExists",
    "ArtifactFile",
    "ArtifactFiles",
    "ArtifactNotFound",
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
    "IntegrityError",
    "InvalidContent",
    "InvalidRequest",
    "Item",
    "LossyWarning",
    "NotModified",
    "NotStaged",
    "ObjectExists",
    "ObjectInfo",
    "ObjectNotFound",
    "Observer",
    "PreconditionFailed",
    "RangeNotSatisfiable",
    "RateLimit",
    "ReadOnly",
    "Result",
    "RetryPolicy",
    "ServerError",
    "StagedWarning",
    "Step",
    "SubtreeSize",
    "SyncPlan",
    "SyncReport",
    "Timeouts",
    "TooManyRequests",
    "TransferError",
    "TransferTimeout",
    "TruncatedBody",
    "UnfinishedUpload",
    "UntypedWarning",
    "WithdrawnWarning",
    "__version__",
    "add_alias",
    "aliases",
    "dl",
    "remove_alias",
    "sync",
    "transcode",
]
