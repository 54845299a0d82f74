"""Where files live: one module for each kind of place, found by the scheme of a cloudpath and loaded when it is used.

A module is a backend's if it has ``locate(text, rest)``, which takes a cloudpath apart (all of it, and what follows
``://``) or raises ``ValueError``, and ``open_backend(location, resources)``. One that lies beside this file is found by
its name, which is its scheme; one of somebody else's by the entry point group ``cloudfiles_hypha.backends``, whose
names are schemes and whose objects are such modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from ..paths import Location, last_of, parent_of, split_scheme
from ..redact import without_credentials

if TYPE_CHECKING:
    from ..settings import Settings
    from ..transports.base import Transport
    from .base import Backend

_NAMED_OTHERWISE = {"file": "local", "gs": "gcs", "mem": "memory", "http": "web", "https": "web"}
_NO_SCHEMES = {"base", *_NAMED_OTHERWISE.values()}
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
    """Where the files of a cloudpath are, or ``ValueError`` that says what is wrong with it. No I/O."""
    scheme, rest = split_scheme(text)
    return _module(scheme, text).locate(text, rest)


def split_cloudpath(cloudpath: str) -> tuple[str, str]:
    """The place of a file, and its name there; ``ValueError`` if the cloudpath names no file."""
    location = locate(cloudpath)
    root, name = parent_of(cloudpath), last_of(cloudpath)
    if location.scheme == "file":
        from .local import parent_and_name

        root, name = parent_and_name(location)
    elif location.scheme in ("http", "https"):
        from urllib.parse import unquote

        name = "" if root == cloudpath else unquote(name)
    elif not location.prefix:
        name = ""
    if not name or cloudpath.endswith("/"):
        raise ValueError(f"{without_credentials(cloudpath)!r}: names no file")
    return root, name


def open_backend(location: Location, resources: Resources) -> Backend:
    """The backend for what is at a location."""
    return _module(location.scheme, location.root).open_backend(location, resources)


def _module(scheme: str, text: str) -> BackendModule:
    name = f"{__name__}.{_NAMED_OTHERWISE.get(scheme, scheme)}"
    if re.fullmatch(r"[a-z][a-z0-9]*", scheme) and scheme not in _NO_SCHEMES:
        try:
            return cast(BackendModule, import_module(name))
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    from importlib.metadata import entry_points  # only here: importing it takes 20 ms

    for found in entry_points(group=_GROUP, name=scheme):
        return cast(BackendModule, found.load())
    supported = ", ".join(_schemes())
    raise ValueError(f"{without_credentials(text)!r}: unknown scheme {scheme!r}; supported are {supported}")


def _schemes() -> list[str]:
    from pkgutil import iter_modules

    return sorted({*_NAMED_OTHERWISE, *(module.name for module in iter_modules(__path__))} - _NO_SCHEMES)
