"""Cloudpaths and names inside them: parsing, checking, quoting. No I/O.

``hypha://workspace/alias[@version][/prefix]`` (or without the scheme), ``hypha://https://host:port/workspace/...``
for a server of one's own, ``mem://bucket[/prefix]``, ``http(s)://host/prefix``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

DEFAULT_SERVER = "https://hypha.aicell.io"
SCHEMES = ("hypha", "mem", "http", "https")
_LATER = ("s3", "gs", "file")
_NAME = re.compile(r"[^/@\s]+")


@dataclass(frozen=True, slots=True)
class CloudPath:
    """Where a set of files is. ``prefix`` is empty or ends in a slash.

    For ``hypha`` the ``server`` (None: the default), ``workspace`` (None: from the token), ``alias`` and
    ``version`` are set; for ``mem`` the ``bucket``; for ``http`` and ``https`` the ``base`` URL.
    """

    scheme: str
    prefix: str = ""
    server: str | None = None
    workspace: str | None = None
    alias: str = ""
    version: str | None = None
    bucket: str = ""
    base: str = ""


def parse_cloudpath(text: str) -> CloudPath:
    """Read a cloudpath, or raise ``ValueError`` that says what is wrong with it."""
    if not isinstance(text, str):
        raise TypeError(f"a cloudpath is a string such as 'hypha://workspace/alias', not {type(text).__name__}")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "hypha", text
    shown = without_credentials(text)
    if scheme in _LATER:
        raise ValueError(f"{shown!r}: {scheme}:// is not supported yet; supported are {', '.join(SCHEMES)}")
    if scheme not in SCHEMES:
        raise ValueError(f"{shown!r}: unknown scheme {scheme!r}; supported are {', '.join(SCHEMES)}")
    if scheme in ("http", "https"):
        if not _host_in(rest):
            raise ValueError(f"{shown!r}: a host is missing")
        if "?" in rest or "#" in rest:
            raise ValueError(f"{shown!r}: a base URL has no query and no fragment")
        return CloudPath(scheme, base=f"{scheme}://{rest.rstrip('/')}/")
    if scheme == "mem":
        bucket, _, prefix = rest.partition("/")
        if not bucket:
            raise ValueError(f"{shown!r}: a bucket name is missing, as in mem://bucket/prefix")
        return CloudPath("mem", prefix=_as_prefix(prefix, text), bucket=bucket)
    return _parse_hypha(text, rest)


def _parse_hypha(text: str, rest: str) -> CloudPath:
    server, shown = None, without_credentials(text)
    if rest.startswith(("http://", "https://")):
        scheme, _, rest = rest.partition("://")
        host, _, rest = rest.partition("/")
        if not _host_in(host):
            raise ValueError(f"{shown!r}: a host is missing after {scheme}://")
        server = f"{scheme}://{host}"
    first, _, after = rest.strip("/").partition("/")
    workspace: str | None = first
    second, _, prefix = after.partition("/")
    if not second or "@" in first:  # no workspace: it comes from the environment or the token
        workspace, second, prefix = None, first, after
    alias, at, version = second.partition("@")
    if not _NAME.fullmatch(alias) or (workspace is not None and not _NAME.fullmatch(workspace)) or (at and not version):
        raise ValueError(f"{shown!r}: expected hypha://workspace/alias[@version][/prefix]")
    return CloudPath(
        "hypha",
        prefix=_as_prefix(prefix, text),
        server=server,
        workspace=workspace,
        alias=alias,
        version=version or None,
    )


def _host_in(rest: str) -> str:
    """The host of a URL whose scheme is cut off, perhaps with a port; empty if there is none."""
    return re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]


_USER = re.compile(r"(https?://)[^/?#]*@|(://)[^/?#@]*:[^/?#]*@")  # not the "@" before an alias's version
_QUERY = re.compile(r"[?#].*", re.DOTALL)


def without_credentials(text: str) -> str:
    """A cloudpath or URL without user, password, query and fragment, fit for a message."""
    return _QUERY.sub("", _USER.sub(r"\1\2", text))


def _as_prefix(prefix: str, text: str) -> str:
    prefix = prefix.strip("/")
    if prefix:
        try:
            check_name(prefix)
        except ValueError as error:
            raise ValueError(f"{without_credentials(text)!r}: {error}") from None
    return f"{prefix}/" if prefix else ""


def check_name(path: object) -> str:
    """``path`` itself if it can name an object; else ``TypeError`` or ``ValueError`` that names it.

    Refused are names that a server or a disk would read as another one: ``..`` and ``.`` and empty segments, a
    leading slash, NUL and other control characters, backslashes (Hypha lists them as folders).
    """
    if not isinstance(path, str):
        raise TypeError(f"a path is a string, not {type(path).__name__}: {path!r:.60}")
    if not path:
        raise ValueError("a path is empty")
    # the common case first: one C-level search tells that there is nothing to look at closely
    if _SUSPECT.search(path) is None:
        return path
    if "://" in path:
        raise ValueError(f"{without_credentials(path)!r}: a path is relative to the cloudpath, not a URL")
    if path.startswith("/"):
        raise ValueError(f"{path!r}: a path must not begin with a slash")
    if path.endswith("/"):
        raise ValueError(f"{path!r}: a path must not end in a slash: it names a file, not a folder")
    if "\\" in path:
        raise ValueError(f"{path!r}: a path must not contain a backslash; use forward slashes")
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        raise ValueError(f"{path!r}: a path must not contain control characters")
    if any("\ud800" <= character <= "\udfff" for character in path):
        raise ValueError(f"{path!r}: a path must be valid Unicode text")
    raise ValueError(f"{path!r}: a path must not contain '.', '..' or empty segments")


_SUSPECT = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]|\A/|/\Z|//|(?:\A|/)\.\.?(?:/|\Z)")

_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")


def quote_path(path: str) -> str:
    """Percent-encode a path for a URL, byte for byte as given (no Unicode normalisation); slashes stay."""
    return path if _PLAIN.fullmatch(path) else quote(path, safe="/~")


_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{name}{n}" for name in ("COM", "LPT") for n in range(1, 10))}
_DRIVE = re.compile(r"[A-Za-z]:")


def check_local_name(path: str) -> str:
    """``path`` itself if it can be a file below a folder on any system; else ``ValueError`` that names it.

    Beyond ``check_name``: no drive letters and no names that Windows reserves.
    """
    check_name(path)
    for segment in path.split("/"):
        if _DRIVE.match(segment):
            raise ValueError(f"{path!r}: {segment!r} begins with a drive letter; not written to disk")
        if segment.split(".")[0].rstrip(" ").upper() in _RESERVED:
            raise ValueError(f"{path!r}: {segment!r} is a name that Windows reserves; not written to disk")
    return path
