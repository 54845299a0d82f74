"""What the modules of ``filesystem.fsspec`` share: where a path leads, what is told of it, whose error counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..files import ArtifactFiles

Entry = dict[str, Any]
"""What fsspec tells of a file or folder: ``name``, ``type`` and ``size``, and of a file what else is known."""


class Place(NamedTuple):
    """A path, taken apart: whose file it is, what that is called here, and the name in it ("" for all of it)."""

    files: ArtifactFiles
    root: str
    name: str

    @property
    def folder(self) -> str:
        """The name as the beginning of others."""
        return f"{self.name}/" if self.name else ""

    @property
    def path(self) -> str:
        """What was taken apart."""
        return f"{self.root}/{self.name}".strip("/") if self.root else self.name


def raise_first(results: Iterable[Mapping[str, Any]], ignored: tuple[type[Exception], ...] = ()) -> None:
    """Raise what went wrong with the first that failed, as whoever calls fsspec expects it."""
    for result in results:
        if result["error"] is not None and not isinstance(result["error"], ignored):
            raise result["error"]


def is_staged(place: Place) -> bool:
    """Whether writes there are staged and committed."""
    return getattr(place.files._backend, "staging", None) is not None
