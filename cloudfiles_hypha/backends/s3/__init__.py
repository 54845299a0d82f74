"""``s3://bucket[/prefix]``: Amazon's S3, and with ``s3://https://host[:port]/bucket[/prefix]`` any that speaks it.

``locate`` takes the cloudpath apart, ``access`` finds out with whose keys and by which address a bucket is reached.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...paths import Location, as_prefix, host_in
from ...redact import without_credentials
from .. import Resources
from .access import Access
from .backend import S3Backend

# What Amazon allows, and the capitals and underscores that other stores do; none of it needs quoting.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location(Location):
    """A bucket; ``endpoint`` is None where the environment or the profile says, and else Amazon's."""

    bucket: str
    endpoint: str | None = None


def locate(text: str, rest: str) -> S3Location:
    """Take a cloudpath apart."""
    endpoint, shown = None, "s3://..." if "@" in rest else without_credentials(text)  # a secret key may have slashes
    if rest.startswith(("http://", "https://")):
        scheme, _, rest = rest.partition("://")
        host, _, rest = rest.partition("/")
        if not host_in(host):
            raise ValueError(f"{shown!r}: a host is missing after {scheme}://")
        if "@" in host:
            raise ValueError(f"{shown!r}: keys do not belong into a cloudpath; pass them as secrets=")
        endpoint = f"{scheme}://{host.lower()}"
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise ValueError(f"{shown!r}: a bucket is missing, as in s3://bucket/prefix")
    if _BUCKET.fullmatch(bucket) is None:
        raise ValueError(f"{shown!r}: this cannot be the name of a bucket (nor are there keys in a cloudpath)")
    return S3Location(
        scheme="s3",
        root=f"s3://{endpoint}/{bucket}" if endpoint else f"s3://{bucket}",
        prefix=as_prefix(prefix, text),
        bucket=bucket,
        endpoint=endpoint,
    )


def open_backend(location: S3Location, resources: Resources) -> S3Backend:
    """The backend for a bucket; looks for settings now, for credentials with the first request."""
    access = Access(location.bucket, location.endpoint, resources.settings.secrets)
    return S3Backend(location.bucket, access, resources.transport())
