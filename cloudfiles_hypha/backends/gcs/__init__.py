"""``gs://bucket/prefix``: Google Cloud Storage, and its emulators (``STORAGE_EMULATOR_HOST``); see ``docs/gcs.md``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ...paths import Location, as_prefix
from ...redact import without_credentials
from .. import Resources
from .auth import Tokens
from .backend import GcsBackend

HOST = "https://storage.googleapis.com"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsLocation(Location):
    """``gs://bucket[/prefix]``."""

    bucket: str


def locate(text: str, rest: str) -> GcsLocation:
    """Take a cloudpath apart."""
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"{without_credentials(text)!r}: expected gs://bucket/prefix, with a bucket as Google names them"
        )
    return GcsLocation(scheme="gs", root=f"gs://{bucket}", prefix=as_prefix(prefix, text), bucket=bucket)


def open_backend(location: GcsLocation, resources: Resources) -> GcsBackend:
    """The backend for a bucket."""
    settings, transport = resources.settings, resources.transport()
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "").strip().rstrip("/")
    if emulator and "://" not in emulator:
        emulator = f"http://{emulator}"
    ambient = not emulator  # what is found on this machine is for Google
    tokens = Tokens(location.bucket, settings.token, settings.secrets, transport, ambient=ambient)
    return GcsBackend(emulator or HOST, location.bucket, tokens, transport)
