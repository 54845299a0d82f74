"""What is in an artifact's folders. One call lists one folder, so a walk is as many calls as folders, a few at a time.

A file and a folder may have the same name. Where the S3 lists both (SeaweedFS 4.48 does), both are told. One that lists
only the folder would hide the file, and to look for one behind each folder would take a call for each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from ...errors import ServerError
from ...models import ObjectInfo
from ..base import Control
from .manager import ArtifactManager

_PAGE = 10_000  # the most that the server gives at once
# A page this short, and not full, is taken for the last. A longer one that is not full may have been cut by a
# server with a smaller limit, or thinned by staged removals, and is followed by another look; unless a longer one
# still was found to be the last, and so not cut.
_SURELY_LAST = 100
# Folders that are listed side by side, and how many are taken in one go, in the order of their names: what comes after
# them is not listed before somebody wants it.
_AT_ONCE, _AHEAD = 4, 32


class Listing:
    """Reads folders of one artifact. Thread-safe."""

    def __init__(self, manager: ArtifactManager, artifact: str) -> None:
        self._manager = manager
        self._artifact = artifact
        self._whole = _SURELY_LAST  # no page shorter than this was cut by the server's limit

    def entries(self, folder: str, version: str | int | None, control: Control) -> list[dict[str, Any]]:
        """All entries of one folder ("" or ending in a slash), in the order of their full names, to which a folder's
        slash belongs: everything, or an error."""
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
        return [entry for entry in pages if entry["type"] == "directory" or folder + entry["name"] not in removed]

    def _all_pages(self, folder: str, version: str | int | None, control: Control) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        offset = first = 0
        while True:
            page = control.retry(partial(self._page, folder, version, offset))
            before = len(found)
            found.update((_full(entry), entry) for entry in page)
            first = first or len(page)
            if not page and offset == first < _PAGE and version != "stage":
                self._whole = max(self._whole, first)  # that was all, in one page
            # the server counts entries before it hides staged removals: from a full page the next one is exact,
            # from any other some names may come twice, and none is left out
            offset += len(page)
            surely = min(_SURELY_LAST if version == "stage" else self._whole, _PAGE)  # a full page is never the last
            if len(page) < surely or len(found) == before:
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

    def files(self, folder: str, version: str | int | None, control: Control) -> Iterator[str]:
        """Full names of the files directly in ``folder``."""
        for entry in self.entries(folder, version, control):
            if entry["type"] != "directory":
                yield folder + entry["name"]

    def walk(self, prefix: str, version: str | int | None, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, in order; with ``flat``, folders are named, not entered."""
        return (name for name, _ in self._walk(prefix, version, flat=flat, control=control))

    def scan(
        self, prefix: str, version: str | int | None, *, flat: bool = False, control: Control
    ) -> Iterator[ObjectInfo]:
        """Like ``walk``, with the sizes and times of files."""
        for name, entry in self._walk(prefix, version, flat=flat, control=control):
            if _is_folder(entry):
                yield ObjectInfo(name)
                continue
            size, modified = entry.get("size"), entry.get("last_modified")
            yield ObjectInfo(
                name,
                size if isinstance(size, int) else None,
                last_modified=modified if isinstance(modified, int | float) else None,
            )

    def _walk(
        self, prefix: str, version: str | int | None, *, flat: bool, control: Control
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and entries in order, by listing the folders that come next a few at a time."""
        todo = deque([prefix[: prefix.rfind("/") + 1]])  # folders to list, in the order in which they are needed
        listed: dict[str, list[dict[str, Any]]] = {}
        inside: list[tuple[str, Iterator[dict[str, Any]]]] = []  # the folders that are being walked

        def enter(folder: str) -> None:
            if folder not in listed:
                wave = [todo.popleft() for _ in range(min(_AHEAD, len(todo)))]
                found = list(control.map(lambda name: self.entries(name, version, control), wave, _AT_ONCE))
                for name, entries in zip(reversed(wave), reversed(found), strict=True):
                    listed[name] = entries = [entry for entry in entries if (name + _full(entry)).startswith(prefix)]
                    if not flat:
                        todo.extendleft(name + _full(entry) for entry in reversed(entries) if _is_folder(entry))
            inside.append((folder, iter(listed.pop(folder))))

        enter(todo[0])
        while inside:
            folder, rest = inside[-1]
            for entry in rest:
                name = folder + _full(entry)
                if flat or not _is_folder(entry):
                    yield name, entry
                else:
                    enter(name)
                    break
            else:
                inside.pop()


def _is_folder(entry: dict[str, Any]) -> bool:
    return bool(entry["type"] == "directory")


def _full(entry: dict[str, Any]) -> str:
    """The name of an entry within its folder; a folder's ends in a slash."""
    name: str = entry["name"].rstrip("/")
    return f"{name}/" if name and _is_folder(entry) else name


def staged_entries(data: object) -> list[dict[str, Any]] | None:
    """What is staged, from the answer to ``read``; None if the artifact is not staged."""
    staging = data.get("staging") if isinstance(data, dict) else None
    if isinstance(staging, dict):  # the form it is stored in; `read` gives a list
        return [*staging.get("files", []), {"_intent": staging.get("_intent")}]
    return staging if isinstance(staging, list) else None


def is_new_version(entries: Sequence[dict[str, Any]]) -> bool:
    """Whether what is staged begins a new version."""
    return any(entry.get("_intent") == "new_version" for entry in entries)
