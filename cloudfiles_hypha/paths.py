"""Cloudpaths and names inside them: what all backends have in common of parsing, checking, quoting. No I/O."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote

from .redact import without_credentials

DEFAULT_SERVER = "https://hypha.aicell.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a set of files is. A backend's own adds what it needs to know.

    ``root`` is the cloudpath without the prefix, free of credentials; ``prefix`` is empty or ends in a slash;
    ``version`` is the one that is asked for, where there are versions.
    """

    scheme: str
    root: str
    prefix: str = ""
    version: str | None = None


def split_scheme(text: str) -> tuple[str, str]:
    """The scheme of a cloudpath, and what follows ``://``.

    Without a scheme, what begins with ``./``, ``../``, ``/`` or ``~`` is a local folder; the rest is Hypha's.
    """
    if not isinstance(text, str):
        raise TypeError(f"a cloudpath is a string such as 'hypha://workspace/alias', not {type(text).__name__}")
    if _LOCAL.match(text) or (ON_WINDOWS and _LOCAL_ON_WINDOWS.match(text)):
        return "file", text
    if _LOCAL_ON_WINDOWS.match(text):
        raise ValueError(f"{text!r}: a path of Windows, which this system does not know; write file:///folder")
    scheme, separator, rest = text.partition("://")
    return (scheme, rest) if separator else ("hypha", text)


_LOCAL = re.compile(r"\.{0,2}/|~|\.{1,2}\Z")
_LOCAL_ON_WINDOWS = re.compile(r"[A-Za-z]:(?:\\|/(?!/))|\.{0,2}\\")


def host_in(rest: str) -> str:
    """The host of a URL whose scheme is cut off, perhaps with a port; empty if there is none."""
    return re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]


def as_prefix(prefix: str, text: str) -> str:
    """``prefix`` as names begin with it: empty, or ending in a slash. ``text`` is the cloudpath, for a message."""
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


SEP = "/"
"""What parts a name into folders, on every store."""


def join_names(*parts: str) -> str:
    """Names, or a cloudpath and names, as one: a slash between them and nowhere twice; empty ones are left out."""
    given = [part for part in parts if part]
    if len(given) > 1 and given[0].endswith("//") and given[0].rstrip("/").endswith(":"):
        return given[0] + join_names(*given[1:]).lstrip("/")  # file:/// and s3:// end in slashes that mean something
    joined = [part.lstrip("/") if number else part for number, part in enumerate(given)]
    return "/".join([*(part.rstrip("/") for part in joined[:-1] if part.rstrip("/")), *joined[-1:]])


def parent_of(path: str) -> str:
    """The folder that a name or a cloudpath is in, without a slash at its end; "" for what is in none."""
    scheme, separator, rest = path.rpartition("://")
    folder = rest.rstrip("/").rpartition("/")[0]
    return f"{scheme}{separator}{folder}" if folder or not separator else path


def last_of(path: str) -> str:
    """The last part of a name or a cloudpath; a slash at its end does not count."""
    return path.rstrip("/").rpartition("/")[2]


_NUMBERED = (f"{name}{number}" for name in ("COM", "LPT") for number in "123456789¹²³")
_RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", *_NUMBERED}
_DRIVE = re.compile(r"[A-Za-z]:")
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]|[. ]\Z')
ON_WINDOWS = os.name == "nt"


def check_local_name(path: str, *, windows_names: bool = False) -> str:
    """``path`` itself if it can be a file below a folder on any system; else ``ValueError`` that names it.

    Beyond ``check_name``: no drive letters and no names that Windows reserves, unless ``windows_names`` asks for them
    and this is another system, where they are names like any other. On Windows also nothing that it would read as
    another name (a dot or a space at the end) or as no name of a file (a colon).
    """
    check_name(path)
    if windows_names and not ON_WINDOWS:
        return path
    way_out = "not written to disk" if ON_WINDOWS else "not written to disk unless windows_names=True"
    for segment in path.split("/"):
        if _DRIVE.match(segment):
            raise ValueError(f"{path!r}: {segment!r} begins with a drive letter; {way_out}")
        if segment.split(".")[0].rstrip(" ").upper() in _RESERVED:
            raise ValueError(f"{path!r}: {segment!r} is a name that Windows reserves; {way_out}")
        if ON_WINDOWS and _NOT_ON_WINDOWS.search(segment):
            raise ValueError(f"{path!r}: {segment!r} cannot be a name on Windows; {way_out}")
    return path


def folded(name: str) -> str:
    """The same text for names that some disk takes for the same: macOS and Windows ignore case, macOS composition."""
    return unicodedata.normalize("NFC", name.casefold())


def check_version(path: str, version: object) -> str | None:
    """A version's id as ``versions`` tells it, or None for what is there now."""
    if version is None or (isinstance(version, str) and version and version.isascii() and version.isprintable()):
        return version
    raise ValueError(f"{path!r}: version={version!r}: expected the id of a Version, as versions() tells it")
