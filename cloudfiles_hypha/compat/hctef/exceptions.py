"""hctef's errors. What went wrong underneath is the cause of each, ``path`` and ``status`` are those of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import RangesUnsupported, TransferError


class HctefError(Exception):
    """Base of all."""


class HctefNetworkError(HctefError, TransferError):
    """The bytes could not be had: the server is out of reach, refuses, or has no such file."""


class HctefUrlError(HctefError, ValueError):
    """The URL is none."""


class RangeRequestsUnsupportedError(HctefNetworkError):
    """Only the whole file can be had; ``reason`` is "ignored" (by the server) or "encoded"."""

    reason = "ignored"


@contextmanager
def translated() -> Iterator[None]:
    """Errors of this package as hctef's."""
    try:
        yield
    except HctefError:
        raise
    except TransferError as error:
        kind = RangeRequestsUnsupportedError if isinstance(error, RangesUnsupported) else HctefNetworkError
        ours = kind(str(error.args[0]), path=error.path, status=error.status, retry_after=error.retry_after)
        ours.attempts = error.attempts
        if isinstance(error, RangesUnsupported):
            ours.reason = error.reason  # type: ignore[attr-defined]  # by its kind
        raise ours from error


@contextmanager
def checked(url: object) -> Iterator[None]:
    """What is wrong with a URL, as hctef says it."""
    if not isinstance(url, str) or "://" not in url:
        raise HctefUrlError("expected a URL, such as https://host/file")
    try:
        yield
    except ValueError as error:
        raise HctefUrlError(str(error)) from error
