"""Bulk transfer for Hypha artifacts and HTTP: ``ArtifactFiles`` reads and writes many files at once."""

from .errors import (
    AccessDenied,
    ArtifactExists,
    ArtifactNotFound,
    BatchError,
    Cancelled,
    CertificateError,
    CommitError,
    ConnectionFailed,
    IntegrityError,
    InvalidContent,
    InvalidRequest,
    NotStaged,
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
    WithdrawnWarning,
)
from .files import ArtifactFiles
from .models import ObjectInfo, Result, Timeouts
from .retry import RetryPolicy

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "ArtifactExists",
    "ArtifactFiles",
    "ArtifactNotFound",
    "BatchError",
    "Cancelled",
    "CertificateError",
    "CommitError",
    "ConnectionFailed",
    "IntegrityError",
    "InvalidContent",
    "InvalidRequest",
    "NotStaged",
    "ObjectInfo",
    "ObjectNotFound",
    "PreconditionFailed",
    "RangeNotSatisfiable",
    "ReadOnly",
    "Result",
    "RetryPolicy",
    "ServerError",
    "StagedWarning",
    "Timeouts",
    "TooManyRequests",
    "TransferError",
    "TransferTimeout",
    "TruncatedBody",
    "WithdrawnWarning",
    "__version__",
]
