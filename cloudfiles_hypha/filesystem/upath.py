"""``UPath("hypha://workspace/alias/path")``: paths of universal_pathlib over ``HyphaFileSystem``."""

from __future__ import annotations

from upath.core import UPath


class HyphaPath(UPath):  # type: ignore[misc, unused-ignore]  # upath may not be installed
    """A path in an artifact."""

    __slots__ = ()
