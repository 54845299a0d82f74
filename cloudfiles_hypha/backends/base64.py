"""``base64://``: files whose names are their content, in base64. Read-only; nothing is kept anywhere.

Names are in the alphabet that is safe in paths ("-" and "_"), which ``name_of`` makes of either.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from ..errors import NotModified, ObjectNotFound, PreconditionFailed
from ..models import Fetched, GetRequest, ObjectInfo, Sink
from ..paths import Location
from ..redact import without_credentials
from ..transports.answers import slice_of
from . import Resources
from .base import Backend, Capabilities, Ticket


def name_of(text: str) -> str:
    """The name of the file whose content this is, in either alphabet, with white space and with or without padding."""
    return "".join(text.split()).replace("+", "-").replace("/", "_").rstrip("=")


def standard(name: str) -> str:
    """A name in the alphabet that others expect, with its padding."""
    return name.replace("-", "+").replace("_", "/") + "=" * (-len(name) % 4)


def locate(text: str, rest: str) -> Location:
    """There is one place of this kind."""
    if rest:
        raise ValueError(f"{without_credentials(text)!r}: base64:// has no folders; the content is a file's name")
    return Location(scheme="base64", root="base64://")


def open_backend(location: Location, resources: Resources) -> Base64Backend:
    """The backend."""
    return Base64Backend()


class Base64Backend(Backend):
    """Content by its name."""

    scheme = "base64"
    can = Capabilities(blocking=True, listable=False, writable=False, s3_etags=True, keeps=frozenset())

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        content = _content(request.path)
        info = self.head(request.path, ticket)
        if request.pinned not in (None, info.etag):
            raise PreconditionFailed("a name stands for one content only", path=request.path)
        if info.etag in request.known or request.since is not None:
            raise NotModified("not sent: it is here already", path=request.path)
        size = len(content)
        if not request.whole:
            content = slice_of(content, request.start or 0, request.end)
        if sink is not None:
            start = request.start or 0
            sink.begin(info, start, start + len(content))
            sink.write(content)
            content = b""
        return Fetched(content, size, info.etag, None, "length")

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of a file."""
        content = _content(path)
        return ObjectInfo(path, len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())


def _content(name: str) -> bytes:
    try:
        return base64.b64decode(name + "=" * (-len(name) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ObjectNotFound("this name is no base64, so it has no content", path=name) from None
