"""``to_base64`` and ``fill_from_url``: what comes from, and goes to, the web."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urldefrag, urlsplit

from ..errors import storage_error
from ..remote import files_of
from ..retry import RetryPolicy
from .node import SyncNode


def to_base64(node: SyncNode, mime: str | None, include_uri: bool) -> str:
    """The content of a file in base64; see ``SyncNode.to_base64``."""
    text = b64encode(node.read_bytes()).decode("ascii")
    return f"data:{mime or node.mimetype};base64,{text}" if include_uri else text


def fill_from_url(node: SyncNode, url: str, timeout: float) -> None:
    """Store what a URL gives; see ``SyncNode.fill_from_url``."""
    if not isinstance(url, str) or urlsplit(url).scheme.lower() not in ("http", "https"):
        raise ValueError("a URL that begins with http:// or https:// is expected here")
    node._check_file("write")
    # of its own: nothing that the mount is configured with goes to whoever has the URL
    web, name = files_of(urldefrag(url).url, {"timeout": timeout, "retry": RetryPolicy(elapsed=timeout)})
    with web:
        (result,) = web.transfer_to(node.mount.files, [(name, node._name)], raise_errors=False)
    error = result["error"]
    if isinstance(error, OSError):
        raise storage_error(error, node.fullpath) from error
    if error is not None:
        raise error
