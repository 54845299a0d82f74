"""Where files live: one module for each kind of place, found by the scheme of a cloudpath and loaded when it is used.

A module is a backend's if it has ``locate(text, rest)``, which takes a cloudpath apart (all of it, and what follows
``://``) or raises ``ValueError``, and ``open_backend(location, resources)``. One that lies beside this file is found by
its name, which is its scheme; one of somebody else's by the entry point group ``cloudfiles_hypha.backends``, whose
names are schemes and whose objects are such modules. What is left, fsspec may know: ``foreign``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, cast

from ..paths import SEP, Location, last_of, parent_of, split_scheme
from ..redact import without_credentials

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ..settings import Settings
    from ..transports.base import Transport
    from .base import Backend

_NAMED_OTHERWISE = {"file": "local", "gs": "gcs", "mem": "memory", "http": "web", "https": "web"}
_NO_SCHEMES = {"aliases", "base", "conditions", "foreign", "metadata", "pages", *_NAMED_OTHERWISE.values()}
_GROUP = "cloudfiles_hypha.backends"


@dataclass(frozen=True, slots=True)
class Resources:
    """What a backend is made of besides its location; the transport is opened when it is first asked for."""

    settings: Settings
    transport: Callable[[], Transport]


class BackendModule(Protocol):
    """What a module has to have; see above."""

    def locate(self, text: str, rest: str) -> Location:
        """Take a cloudpath apart."""

    def open_backend(self, location: Location, resources: Resources) -> Backend:
        """The backend for what is there."""


def locate(text: str) -> Location:
    """Where the files of a cloudpath are, or ``ValueError`` that says what is wrong with it. No I/O but for aliases."""
    text = resolved(text)
    scheme, rest = split_scheme(text)
    return _module(scheme, text).locate(text, rest)


def resolved(text: str) -> str:
    """The cloudpath that is meant: of one that begins with an alias, what that stands for."""
    scheme, rest = split_scheme(text)
    if not has_scheme(scheme):
        from .aliases import stands_for  # only here: few programs have any

        target = stands_for(scheme)
        if target is not None:
            return target + rest.lstrip("/")
    return text


def has_scheme(name: str) -> bool:
    """Whether there is a backend of its own for this scheme; fsspec has many more, of which aliases come first."""
    return _ours(name) is not None or _theirs(name) is not None


def is_supported(name: str) -> bool:
    """Whether there is a backend for this scheme, or fsspec knows one."""
    return has_scheme(name) or _foreign(name) is not None


def split_cloudpath(cloudpath: str) -> tuple[str, str]:
    """The place of a file, and its name there; ``ValueError`` if the cloudpath names no file."""
    cloudpath = resolved(cloudpath)
    location = locate(cloudpath)
    root, name = parent_of(cloudpath), last_of(cloudpath)
    if location.scheme == "file":
        from .local import parent_and_name

        root, name = parent_and_name(location)
    elif location.scheme in ("http", "https"):
        from urllib.parse import unquote

        name = "" if root == cloudpath else unquote(name)
        if SEP in name:
            raise ValueError(f"{without_credentials(cloudpath)!r}: %2F in a name would be asked for as a slash")
    elif "::" in cloudpath and not has_scheme(location.scheme):  # a chain of fsspec's, whose names stand before it
        from . import foreign

        root, name = foreign.parent_and_name(location)
    elif not location.prefix:
        name = ""
    if not name or cloudpath.endswith("/"):
        raise ValueError(f"{without_credentials(cloudpath)!r}: names no file")
    return root, name


def open_backend(location: Location, resources: Resources) -> Backend:
    """The backend for what is at a location."""
    return _module(location.scheme, location.root).open_backend(location, resources)


def _module(scheme: str, text: str) -> BackendModule:
    ours = _ours(scheme)
    if ours is not None:
        return cast(BackendModule, import_module(ours))
    theirs = _theirs(scheme)
    if theirs is not None:
        return cast(BackendModule, theirs.load())
    foreign = _foreign(scheme)
    if foreign is not None:
        return cast(BackendModule, import_module(foreign))
    supported = ", ".join(_schemes())
    more = "and what fsspec knows (sftp, ftp, smb, webdav, zip, ...)"
    if find_spec("fsspec") is None:
        more = f"with fsspec installed (pip install 'cloudfiles_hypha[fsspec]') also {more.removeprefix('and ')}"
    raise ValueError(f"{without_credentials(text)!r}: unknown scheme {scheme!r}; supported are {supported}, {more}")


@lru_cache(maxsize=64)
def _ours(scheme: str) -> str | None:
    """The name of the module beside this one that is for a scheme."""
    if scheme in _NO_SCHEMES or re.fullmatch(r"[a-z][a-z0-9]*", scheme) is None:
        return None
    name = f"{__name__}.{_NAMED_OTHERWISE.get(scheme, scheme)}"
    return name if find_spec(name) is not None else None


@lru_cache(maxsize=64)
def _theirs(scheme: str) -> EntryPoint | None:
    """The entry point for a scheme that is somebody else's."""
    from importlib.metadata import entry_points  # only here: importing it takes 20 ms

    return next(iter(entry_points(group=_GROUP, name=scheme)), None)


def _foreign(scheme: str) -> str | None:
    """The name of the module for a scheme that nobody else has and fsspec knows."""
    if scheme.startswith("_") or find_spec("fsspec") is None:
        return None
    name = f"{__name__}.foreign"
    return name if import_module(name).knows(scheme) else None


def _schemes() -> list[str]:
    from pkgutil import iter_modules

    return sorted({*_NAMED_OTHERWISE, *(module.name for module in iter_modules(__path__))} - _NO_SCHEMES)
