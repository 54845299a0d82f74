"""Where files live: one module for each kind of place, found by the scheme of a cloudpath and loaded when it is used.

A module is a backend's if it has ``locate(text, rest)``, which takes a cloudpath apart (all of it, and what follows
``://``) or raises ``ValueError``, and ``open_backend(location, resources)``. One of somebody else's is found by the
entry point group ``cloudfiles_hypha.backends``, whose names are schemes and whose objects are such modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from ..paths import Location, split_scheme
from ..redact import without_credentials

if TYPE_CHECKING:
    from ..settings import Settings
    from ..transports.base import Transport
    from .base import Backend

_OURS = {
    "hypha": ".hypha",
    "file": ".local",
    "gs": ".gcs",
    "mem": ".memory",
    "http": ".web",
    "https": ".web",
    "s3": ".s3",
}
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


def open_backend(location: Location, resources: Resources) -> Backend:
    """The backend for what is at a location."""
    return _module(location.scheme, location.root).open_backend(location, resources)


def _module(scheme: str, text: str) -> BackendModule:
    if scheme in _OURS:
        return cast(BackendModule, import_module(_OURS[scheme], __name__))
    from importlib.metadata import entry_points  # only here: importing it takes 20 ms

    for found in entry_points(group=_GROUP, name=scheme):
        return cast(BackendModule, found.load())
    raise ValueError(f"{without_credentials(text)!r}: unknown scheme {scheme!r}; supported are {', '.join(_OURS)}")
