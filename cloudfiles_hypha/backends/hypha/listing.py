"""What is in an artifact's folders. One call lists one folder, so a walk is as many calls as folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from ...errors import ServerError
from ...models import ObjectInfo
from ..base import Control
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
        if version != "stage" or not folder:
            return self._all_pages(folder, version, control)
        # The server hides what is staged for removal by comparing names only: with the removal of ``x`` it hides
        # ``folder/x`` too. Asked for the same files by number, it hides nothing.
        data = control.retry(
            partial(self._manager.call, "read", artifact_id=self._artifact, version=version, silent=True)
        )
        staged = staged_entries(data) or []
        removed = {entry["path"] for entry in staged if entry.get("_remove")}
        if all("/" in path for path in removed):
            return self._all_pages(folder, version, control)
        versions = len(data.get("versions") or ())
        number = versions if is_new_version(staged) else max(0, versions - 1)
        pages = self._all_pages(folder, number, control)
        return [entry for entry in pages if folder + entry["name"] not in removed]

    def _all_pages(self, folder: str, version: str | int | None, control: Control) -> list[dict[str, Any]]:
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
        found.pop("", None)  # the folder's own marker, where the store keeps one
        return [found[name] for name in sorted(found)]

    def _page(self, folder: str, version: str | int | None, offset: int) -> list[dict[str, Any]]:
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
        return (name for name, _ in self._walk(prefix, version, flat=flat, control=control))

    def scan(self, prefix: str, version: str | None, *, control: Control) -> Iterator[ObjectInfo]:
        """Files whose names begin with ``prefix``, in order, with their sizes and times."""
        for name, entry in self._walk(prefix, version, flat=False, control=control):
            size, modified = entry.get("size"), entry.get("last_modified")
            yield ObjectInfo(
                name,
                size if isinstance(size, int) else None,
                last_modified=modified if isinstance(modified, int | float) else None,
            )

    def _walk(
        self, prefix: str, version: str | None, *, flat: bool, control: Control
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        folder = prefix[: prefix.rfind("/") + 1]
        for entry in self.entries(folder, version, control):
            name = folder + entry["name"].rstrip("/")
            if entry["type"] != "directory":
                if name.startswith(prefix):
                    yield name, entry
            elif not name.startswith(prefix):
                continue
            elif flat:
                yield name + "/", entry
            else:
                yield from self._walk(name + "/", version, flat=False, control=control)


def staged_entries(data: object) -> list[dict[str, Any]] | None:
    """What is staged, from the answer to ``read``; None if the artifact is not staged."""
    staging = data.get("staging") if isinstance(data, dict) else None
    if isinstance(staging, dict):  # the form it is stored in; `read` gives a list
        return [*staging.get("files", []), {"_intent": staging.get("_intent")}]
    return staging if isinstance(staging, list) else None


def is_new_version(entries: Sequence[dict[str, Any]]) -> bool:
    """Whether what is staged begins a new version."""
    return any(entry.get("_intent") == "new_version" for entry in entries)
