"""cloud-files' names for taking cloudpaths apart; ``backends.locate`` does it. No I/O.

What a cloudpath may say in front of its scheme or at its end of the format of its data (``precomputed://gs://...``,
``gs://...|zarr3:``) is cut off and told as ``format``; nothing else is made of it. Where none is said it is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from posixpath import basename, dirname
from typing import Any, NamedTuple

from ...arguments import is_scalar
from ...backends import locate, resolved, split_cloudpath
from ...backends.aliases import add_alias, aliases, remove_alias
from ...paths import SEP, join_names, quote_path

__all__ = [
    "ALLOWED_FORMATS",
    "ExtractedPath",
    "add_alias",
    "add_persistent_alias",
    "aliases",
    "asbucketpath",
    "ascloudpath",
    "asprotocolpath",
    "basename",
    "dirname",
    "extract",
    "find_common_buckets",
    "get_protocol",
    "normalize",
    "remove_alias",
    "remove_persistent_alias",
    "to_https_protocol",
    "without_format",
]

ALLOWED_FORMATS = (
    *("graphene", "precomputed", "boss", "n5", "zarr", "zarr2", "zarr3", "brainmaps", "deepzoom", "nggraph", "render"),
    *("vtk", "nifti", "dvid"),
)
_FRONT = re.compile(rf"({'|'.join(ALLOWED_FORMATS)})://(?=.)")
_END = re.compile(r"\|([\w-]+):\Z")
_NO_FORMAT = "neuroglancer-precomputed"
_PUBLIC = {"gs": "https://storage.googleapis.com", "s3": "https://s3.amazonaws.com"}


class ExtractedPath(NamedTuple):
    """A cloudpath taken apart. ``host`` is the URL of a server where one is named; of a Hypha artifact ``bucket`` is
    its workspace and alias; ``alias`` is None, since aliases are told as what they stand for."""

    format: str | None
    protocol: str
    bucket: str | None
    path: str
    host: str | None
    alias: str | None = None


def without_format(cloudpath: str) -> tuple[str | None, str]:
    """The format that a cloudpath says, and the cloudpath without it."""
    found = None
    if end := _END.search(cloudpath):
        cloudpath = cloudpath[: end.start()]
        found = None if end[1] == _NO_FORMAT else end[1]
    if front := _FRONT.match(cloudpath):
        cloudpath, found = cloudpath[front.end() :], front[1]
    return found, cloudpath


def extract(cloudpath: str) -> ExtractedPath:
    """Take a cloudpath apart; ``ValueError`` if it is none."""
    format_, cloudpath = without_format(cloudpath)
    cloudpath = resolved(cloudpath)
    location = locate(cloudpath)
    scheme = location.scheme
    if scheme == "file":
        return ExtractedPath(format_, scheme, None, location.root.removeprefix("file://"), None)
    if scheme in ("http", "https"):
        host, _, path = cloudpath.partition("://")[2].partition("/")
        return ExtractedPath(format_, scheme, None, path, f"{scheme}://{host}")
    path = location.prefix if cloudpath.endswith(SEP) else location.prefix.rstrip(SEP)
    rest = location.root.partition("://")[2]
    if rest.startswith(("http://", "https://")):  # a server is named
        web, _, rest = rest.partition("://")
        host, _, bucket = rest.partition("/")
        return ExtractedPath(format_, scheme, bucket, path, f"{web}://{host}")
    return ExtractedPath(format_, scheme, rest, path, None)


def asprotocolpath(extracted: ExtractedPath) -> str:
    """The cloudpath without a format."""
    if extracted.protocol in ("http", "https"):
        return f"{extracted.host}/{extracted.path}"
    parts = (part for part in (extracted.host, extracted.bucket, extracted.path) if part)
    return f"{extracted.protocol}://{join_names(*parts)}"


def ascloudpath(extracted: ExtractedPath) -> str:
    """The cloudpath."""
    return f"{extracted.format}://{asprotocolpath(extracted)}" if extracted.format else asprotocolpath(extracted)


def asbucketpath(cloudpath: str | ExtractedPath) -> str:
    """The cloudpath of the bucket (or the server, or the artifact) as a whole."""
    extracted = extract(cloudpath) if isinstance(cloudpath, str) else cloudpath
    return ascloudpath(extracted._replace(path=""))


def get_protocol(cloudpath: str) -> str:
    """The scheme."""
    return extract(cloudpath).protocol


def normalize(cloudpath: str) -> str:
    """The cloudpath with its format in front and, of a local folder, its whole path."""
    extracted = extract(cloudpath)
    if extracted.protocol == "file":
        return ascloudpath(extracted)
    format_, rest = without_format(cloudpath)
    return f"{format_}://{rest}" if format_ else rest


def to_https_protocol(cloudpath: Any) -> Any:
    """The address at which a web server gives what is in a public bucket; what is in none stays as it is."""
    extracted = extract(cloudpath) if isinstance(cloudpath, str) else cloudpath
    if extracted.protocol not in _PUBLIC:
        return cloudpath
    base = extracted.host or _PUBLIC[extracted.protocol]
    url = f"{base}/{join_names(extracted.bucket or '', quote_path(extracted.path))}"
    return url if isinstance(cloudpath, str) else extract(url)


def find_common_buckets(cloudpaths: str | Iterable[str | Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The files of each bucket, by the cloudpath of that: dicts with ``path``, ``start`` and ``end``.

    A dict is a range of a file: its ``path``, and its ``byte_range``, a pair.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for item in [cloudpaths] if is_scalar(cloudpaths) else cloudpaths:
        cloudpath, (start, end) = item, (None, None)
        if isinstance(item, Mapping):
            cloudpath, (start, end) = item["path"], item.get("byte_range") or (None, None)
        _, cloudpath = without_format(str(cloudpath))
        extracted = extract(cloudpath)
        root, path = asbucketpath(extracted), extracted.path
        if extracted.protocol == "file":
            root, path = split_cloudpath(cloudpath)
        found.setdefault(root, []).append({"path": path, "start": start, "end": end})
    return found


def add_persistent_alias(alias: str, host: str) -> None:
    """An alias that other processes know, too; see ``add_alias``."""
    add_alias(alias, host, persistent=True)


def remove_persistent_alias(alias: str) -> None:
    """Forget an alias that other processes know; see ``remove_alias``."""
    remove_alias(alias, persistent=True)
