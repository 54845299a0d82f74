"""What is in an artifact's folders. One call lists one folder, so a walk is as many calls as folders."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from ..errors import ServerError
from .base import Control
from .manager import ArtifactManager

_PAGE = 10_000  # the most that the server gives at once
# A page this short, and not full, is taken for the last. A longer one that is not full may have been cut by a
# server with a smaller limit, or thinned by staged removals, and is followed by another look.
_SURELY_LAST = 100


class Listing:
    """Reads folders of one artifact; holds no state."""

    def __init__(self, manager: ArtifactManager, artifact: str) -> None:
        self._manager = manager
        self._artifact = artifact

    def entries(self, folder: str, version: str | None, control: Control) -> list[dict[str, Any]]:
        """All entries of one folder ("" or ending in a slash), sorted by name: everything, or an error."""
        found: dict[str, dict[str, Any]] = {}
        offset = 0
        while True:
            page = control.retry(partial(self._page, folder, version, offset))
            new = 0
            for entry in page:
                new += entry["name"] not in found
                found[entry["name"]] = entry
            if len(page) < _SURELY_LAST:
                break
            # the server counts entries before it hides staged removals: from a full page the next one is exact,
            # from any other some names may come twice, and none is left out
            offset += len(page)
            if not new:
                break
        return [found[name] for name in sorted(found)]

    def _page(self, folder: str, version: str | None, offset: int) -> list[dict[str, Any]]:
        arguments: dict[str, Any] = {"artifact_id": self._artifact, "limit": _PAGE, "offset": offset}
        if folder:
            arguments["dir_path"] = folder.rstrip("/")
        if version is not None:
            arguments["version"] = version
        page = self._manager.call("list_files", **arguments)
        if not isinstance(page, list) or not all(
            isinstance(entry, dict) and isinstance(entry.get("name"), str) and entry.get("type") for entry in page
        ):
            raise ServerError(f"list_files: the answer for folder {folder or '/'!r} is not a list of entries")
        return page

    def files(self, folder: str, version: str | None, control: Control) -> Iterator[str]:
        """Full names of the files directly in ``folder``."""
        for entry in self.entries(folder, version, control):
            if entry["type"] != "directory":
                yield folder + entry["name"]

    def walk(self, prefix: str, version: str | None, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, in order; with ``flat``, folders are named, not entered."""
        folder = prefix[: prefix.rfind("/") + 1]
        for entry in self.entries(folder, version, control):
            name = folder + entry["name"].rstrip("/")
            if entry["type"] != "directory":
                if name.startswith(prefix):
                    yield name
            elif not name.startswith(prefix):
                continue
            elif flat:
                yield name + "/"
            else:
                yield from self.walk(name + "/", version, flat=False, control=control)
