"""``Mount``: a name for a place, and what may be done there. Paths within it are checked here, before any I/O.

It knows the ``ArtifactFiles`` of its place, and no nodes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import quote

from ..backends.base import Backend
from ..errors import StorageConfigError, StoragePermissionError
from ..files import ArtifactFiles
from ..paths import check_name
from ..redact import without_credentials

if TYPE_CHECKING:
    from ..backends.local import FileLocation

Permissions = Literal["readonly", "readwrite", "delete"]
Verb = Literal["read", "write", "delete"]

LEVELS: tuple[Permissions, ...] = ("readonly", "readwrite", "delete")
_NEEDED: dict[Verb, Permissions] = {"read": "readonly", "write": "readwrite", "delete": "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What can be done with the files of a mount."""

    read: bool = True
    write: bool
    """Files can be written here: the store takes them, and the mount's permissions allow it."""
    delete: bool
    readonly: bool
    list_dir: bool
    """What is in a folder can be listed."""
    mkdir: bool
    """Folders are there without files in them; elsewhere one is there as soon as something is in it."""
    versioning: bool
    """Earlier versions of a file can be had."""
    metadata: bool
    """Texts by names can be kept with a file."""
    presigned_urls: bool
    """There are URLs for others, good for a time."""
    hash_on_metadata: bool
    """The MD5 of most files is known without reading them."""
    temporary: bool
    """What is written is gone with this process."""

    def __str__(self) -> str:
        return ", ".join(name for name in self.__slots__ if getattr(self, name))


def folder_of(files: ArtifactFiles) -> str:
    """Where local files are."""
    return cast("FileLocation", files._location).folder


@dataclass(slots=True, eq=False, repr=False)
class Mount:
    """A place by its name: the files below ``prefix`` of ``files``."""

    name: str
    files: ArtifactFiles
    cloudpath: str
    prefix: str = ""
    permissions: Permissions = "delete"
    base_url: str | None = None
    """Where the files of a local folder are to be had by HTTP, if its owner said so."""
    within: tuple[str, ...] = ()
    """Of a part of a local mount, which has files of its own: the folders of those that it lies in."""
    closed: bool = False

    def __repr__(self) -> str:
        place = without_credentials(self.cloudpath) + (f" {self.prefix}" if self.prefix else "")
        return f"<Mount {self.name!r}: {place}, {'closed' if self.closed else self.permissions}>"

    @property
    def backend(self) -> Backend:
        """What its store can do."""
        return self.files._backend

    @property
    def scheme(self) -> str:
        """The scheme of its cloudpath."""
        return self.backend.scheme

    @property
    def inline(self) -> bool:
        """Whether paths are the content of files (``base64``), and not where they are."""
        return self.scheme == "base64"

    @property
    def capabilities(self) -> Capabilities:
        """What can be done with its files."""
        can, backend = self.backend.can, type(self.backend)
        write = can.writable and self.permissions != "readonly"
        signs = backend.link is not Backend.link or backend.links is not Backend.links
        return Capabilities(
            write=write,
            delete=can.writable and self.permissions == "delete",
            readonly=not write,
            list_dir=can.listable,
            mkdir=can.folders,
            versioning=can.keeps_versions,
            metadata=can.metadata > 0,
            presigned_urls=signs or self.base_url is not None or self.inline,
            hash_on_metadata=can.s3_etags,
            temporary=can.in_process,
        )

    def clean(self, path: object) -> str:
        """A path within the mount as nodes have it: no slash at its end, and none twice; ``ValueError`` if it leads
        elsewhere."""
        if not isinstance(path, str):
            raise TypeError(f"a path is a string, not {type(path).__name__}: {path!r:.60}")
        if self.inline:
            return path
        shown = f"{self.name}:{path}"
        if path.startswith("/"):
            raise ValueError(f"{shown!r}: a path within a mount does not begin with a slash")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise ValueError(f"{shown!r}: '..' would lead out of where it stands; name the folder itself")
        if parts:
            try:
                check_name("/".join(parts))
            except ValueError as error:
                raise ValueError(f"{shown!r}: {error}") from None
        return "/".join(parts)

    def full(self, path: str) -> str:
        """What the store's files call it; for the mount itself its prefix, without the slash."""
        if self.inline:
            from ..backends.base64 import name_of

            return name_of(path)
        return f"{self.prefix}{path}" if path else self.prefix.rstrip("/")

    def check(self, verb: Verb, path: str) -> None:
        """``StoragePermissionError`` if that is not to be done here; ``StorageConfigError`` once it is closed."""
        shown = f"{self.name}:{path}"
        if self.closed:
            raise StorageConfigError("this mount was closed, or deleted; configure it anew", path=shown)
        if self.within:
            real = os.path.realpath(folder_of(self.files))
            if not all(os.path.commonpath((real, outer)) == outer for outer in map(os.path.realpath, self.within)):
                raise StoragePermissionError("a symbolic link has its folder lie out of its mount", path=shown)
        if verb != "read" and not self.backend.can.writable:
            raise StoragePermissionError(f"cannot {verb}: {self.scheme}:// can only be read from", path=shown)
        if LEVELS.index(_NEEDED[verb]) > LEVELS.index(self.permissions):
            raise StoragePermissionError(
                f"cannot {verb}: the mount {self.name!r} is configured with permissions {self.permissions!r}",
                path=shown,
            )

    def web_address(self, path: str) -> str | None:
        """Where a file is to be had by HTTP, where the mount's ``base_url`` says so."""
        return None if self.base_url is None else f"{self.base_url.rstrip('/')}/{quote(self.prefix + path)}"
