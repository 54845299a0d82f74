"""``hypha://workspace/alias[@version][/prefix]``: artifacts, through the URLs that a Hypha server signs for its S3.

The scheme may be left out; ``hypha://https://host:port/workspace/alias`` names a server of one's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...credentials import Access, resolve_access, resolve_routes
from ...paths import Location, as_prefix, host_in
from ...redact import without_credentials
from .. import Resources
from .backend import HyphaBackend
from .signing import Edition

_NAME = re.compile(r"[^/@\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HyphaLocation(Location):
    """An artifact: ``server`` None is the default one, ``workspace`` None the token's."""

    server: str | None = None
    workspace: str | None = None
    alias: str
    access: Access | None = field(default=None, repr=False)
    """How to reach it, once that has been found out."""
    joined: str | None = field(default=None, repr=False)
    """The ``staged()`` block, or the batch, that a copy of its object writes into."""
    edition: Edition | None = None
    """Which one the latest version is to a copy of its object that reads a part of a batch."""


def locate(text: str, rest: str) -> HyphaLocation:
    """Take a cloudpath apart."""
    server, shown = None, without_credentials(text)
    if rest.startswith(("http://", "https://")):
        scheme, _, rest = rest.partition("://")
        host, _, rest = rest.partition("/")
        if not host_in(host):
            raise ValueError(f"{shown!r}: a host is missing after {scheme}://")
        server = f"{scheme}://{host}"
    first, _, after = rest.strip("/").partition("/")
    workspace: str | None = first
    second, _, prefix = after.partition("/")
    if not second or "@" in first:  # no workspace: it comes from the environment or the token
        workspace, second, prefix = None, first, after
    if workspace is not None and ":" in workspace:  # s3:/bucket, or host:port/workspace
        raise ValueError(
            f"{shown!r}: {workspace!r} is no workspace; write hypha://workspace/alias, and a server in front of it as "
            "hypha://https://host:port/workspace/alias"
        )
    alias, at, version = second.partition("@")
    if not _NAME.fullmatch(alias) or (workspace is not None and not _NAME.fullmatch(workspace)) or (at and not version):
        raise ValueError(f"{shown!r}: expected hypha://workspace/alias[@version][/prefix]")
    parts = (without_credentials(server) if server else None, workspace, f"{alias}@{version}" if version else alias)
    return HyphaLocation(
        scheme="hypha",
        root=f"hypha://{'/'.join(part for part in parts if part)}",
        prefix=as_prefix(prefix, text),
        version=version or None,
        server=server,
        workspace=workspace,
        alias=alias,
    )


def open_backend(location: HyphaLocation, resources: Resources) -> HyphaBackend:
    """The backend for an artifact; finds out the server, the workspace and the token."""
    settings = resources.settings
    access = location.access or resolve_access(
        location, token=settings.token, secrets=settings.secrets, server=settings.server_url
    )
    routes = resolve_routes(settings)
    return HyphaBackend(location, access, routes, resources.transport(), create=settings.create)
