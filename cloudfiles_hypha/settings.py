"""The options of an ``ArtifactFiles``: checked, frozen, picklable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING

from .limit import RateLimit, rate_limit
from .models import Timeouts
from .plan.parts import MIB, upload_part_size
from .progress import Observer, ProgressOption
from .retry import RetryPolicy

if TYPE_CHECKING:
    import requests

Secrets = Mapping[str, object] | str | PathLike[str]
"""A mapping with a ``token`` (or with one for each server URL), or a file that holds one, or holds the token."""

TRANSPORTS = ("auto", "curl", "urllib3", "requests")
# Bytes of a body from which on it is sent in parts.
THRESHOLD = 64 * MIB
# Headers whose values are ours to say, or would break a signature.
_OUR_HEADERS = re.compile(
    r"accept|accept-encoding|authorization|cache-control|connection|content-.*|expect|host|if-.*|range|te|"
    r"transfer-encoding|upgrade|x-amz-.*",
    re.IGNORECASE,
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """See ``ArtifactFiles`` for what each means."""

    token: str | None = field(default=None, repr=False)
    secrets: Secrets | None = field(default=None, repr=False)
    server_url: str | None = None
    num_threads: int = 20
    green: bool | None = None
    progress: ProgressOption = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    transport: str = "auto"
    session: requests.Session | None = field(default=None, repr=False)
    observer: Observer | None = field(default=None, repr=False)
    create: bool = False
    use_proxy: bool | None = None
    use_local_url: bool | str | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    multipart_threshold: int = THRESHOLD
    part_size: int | None = None
    locking: bool = False
    lock_dir: str | PathLike[str] | None = None
    windows_names: bool = False
    parallel: int = 1
    limit_rate: RateLimit | int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.num_threads, int) or isinstance(self.num_threads, bool) or self.num_threads < 0:
            raise ValueError(f"num_threads={self.num_threads!r}: expected 0 or a positive whole number")
        check_parallel(self.parallel)
        object.__setattr__(self, "limit_rate", rate_limit(self.limit_rate))
        if self.transport not in TRANSPORTS:
            raise ValueError(f"transport={self.transport!r}: choose one of {', '.join(map(repr, TRANSPORTS))}")
        if self.session is not None and self.transport not in ("auto", "requests"):
            raise ValueError(f"session= is for transport='requests', not {self.transport!r}")
        if not isinstance(self.multipart_threshold, int) or self.multipart_threshold < 0:
            raise ValueError(f"multipart_threshold={self.multipart_threshold!r}: expected a number of bytes")
        for name in ("create", "locking", "windows_names"):
            if not isinstance(getattr(self, name), bool):  # a text like "no" would count as yes
                raise ValueError(f"{name}={getattr(self, name)!r:.60}: expected True or False")
        for name in ("green", "use_proxy"):
            if not isinstance(getattr(self, name), bool | None):
                raise ValueError(f"{name}={getattr(self, name)!r:.60}: expected True, False or None")
        if not isinstance(self.retry, RetryPolicy):
            raise TypeError(f"retry={self.retry!r:.60}: expected a RetryPolicy")
        if self.use_local_url is not None:
            check_local_url(self.use_local_url, "use_local_url")
        if self.headers is not None:
            object.__setattr__(self, "headers", dict(self.headers))
            _check_headers(self.headers)
        upload_part_size(0, *(() if self.part_size is None else (self.part_size,)))  # refuses what S3 would


def check_parallel(parallel: object) -> int:
    """How many processes ``parallel=`` means."""
    if not isinstance(parallel, int) or isinstance(parallel, bool) or parallel < 1:
        raise ValueError(f"parallel={parallel!r}: expected 1, or a larger whole number of processes")
    return parallel


def timeouts_of(timeout: float | Timeouts | None) -> Timeouts:
    """What ``timeout=`` means; a number bounds how long a server may be silent."""
    if timeout is None or isinstance(timeout, Timeouts):
        return timeout or Timeouts()
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or timeout <= 0:
        raise ValueError(f"timeout={timeout!r}: expected a positive number of seconds")
    return Timeouts(connect=min(timeout, Timeouts().connect), idle=timeout)


def check_local_url(value: bool | str, name: str) -> bool | str:
    """``use_local_url``: a flag, or the URL that is to stand where the store's would; ``name`` is how it was given."""
    if isinstance(value, bool) or (isinstance(value, str) and re.fullmatch(r"https?://[^/?#@\s][^?#@\s]*", value)):
        return value
    raise ValueError(f"{name}: expected True, False or a URL that begins with http:// or https://, without a query")


def _check_headers(headers: Mapping[str, str]) -> None:
    """Refuse what cannot be sent, or is not the caller's to say. No value is named: it may be a secret."""
    for name, value in headers.items():
        if not isinstance(name, str) or _HEADER_NAME.fullmatch(name) is None:
            raise ValueError(f"headers={{{name!r}: ...}}: that is no name of a header")
        if not isinstance(value, str) or _HEADER_VALUE.fullmatch(value) is None:
            raise ValueError(f"headers={{{name!r}: ...}}: a value is a str of printable ASCII")
        if _OUR_HEADERS.fullmatch(name) is not None:
            raise ValueError(
                f"headers={{{name!r}: ...}}: this one is sent by the client itself; a token goes into token="
            )
