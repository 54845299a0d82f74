"""Which file goes where, by fsspec's own rules; nothing is moved here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from fsspec.spec import AbstractFileSystem

if TYPE_CHECKING:
    from .fsspec import ArtifactFileSystem
    from .places import Entry


class Expansion:
    """Stands for a file system while fsspec's rules work out what goes where: pairs are noted, and nothing is moved.

    It remembers what turned out to be a folder, so that nothing is asked twice.
    """

    def __init__(self, fs: ArtifactFileSystem) -> None:
        self._fs = fs
        self.pairs: list[tuple[Any, Any]] = []
        self.folders: set[str] = set()
        self.files: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    def _noted(self, found: Mapping[str, Entry]) -> list[str]:
        for name, entry in found.items():
            (self.folders if entry["type"] == "directory" else self.files).add(name)
        return [*found]

    def find(self, path: str, **options: Any) -> list[str]:
        if not self._fs._strip_protocol(path):
            self.folders.add("")  # all of a place, which its own listing does not name
        return self._noted(self._fs.find(path, **{**options, "detail": True}))

    def glob(self, path: str, **options: Any) -> list[str]:
        return self._noted(self._fs.glob(path, **{**options, "detail": True}))

    def expand_path(self, path: Any, *args: Any, **options: Any) -> list[str]:
        return cast("list[str]", AbstractFileSystem.expand_path(self, path, *args, **options))

    def isdir(self, path: str) -> bool:
        path = self._fs._strip_protocol(path)
        if path not in self.folders | self.files:
            try:
                self._noted({path: self._fs.info(path)})
            except FileNotFoundError:
                return False
        return path in self.folders

    def _pair(self, source: Any, target: Any, **options: Any) -> None:
        self.pairs.append((source, target))

    cp_file = get_file = put_file = _pair
