"""``StorageManager``: mounts by their names, and nodes by ``mount:path``."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

from ..bridge import call
from ..either import EitherContext
from ..errors import StorageConfigError, StorageNotFoundError
from ..files import ArtifactFiles
from .configuration import Options, Source, mounts_of
from .faces import AsyncNode, StorageNode
from .mount import Mount
from .node import SyncNode

if TYPE_CHECKING:
    from typing_extensions import Self

    from .virtual import DiffNode, IterNode, VirtualNode


class StorageManager:
    """Files of any store as nodes of named mounts, for sync and async code alike; see ``docs/mounts.md``.

    ``configure`` says which mounts there are, ``node("mount:path")`` names a file or folder. Whatever is said of the
    mounts is a plain call, in async code too, as nothing is contacted by it. Safe to share between threads, and to use
    from any loop, and from several.
    """

    def __init__(self) -> None:
        self._mounts: Mapping[str, Mount] = {}
        self._lock = Lock()  # held by who replaces the one above, which itself never changes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self._mounts) or 'no mounts yet'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await call(self.close)

    # -- mounts -----------------------------------------------------------------------------------------------

    def configure(self, source: Source) -> None:
        """Add mounts: a list of dicts, a dict of options by name, or the path of a YAML or JSON file of either.

        All of them or, if one is wrong, none (``StorageConfigError``). One of a name that is there takes its place;
        nodes of that go on with what it was.
        """
        with self._lock:
            mounts = dict(self._mounts)
            for mount in mounts_of(source, self._mounts):
                mounts[mount.name] = mount
            self._mounts = mounts

    def add_mount(self, config: Options) -> None:
        """``configure`` for one mount."""
        if not isinstance(config, Mapping) or not isinstance(config.get("name"), str):
            raise StorageConfigError("a mount is a dict with a 'name'")
        self.configure([config])

    def delete_mount(self, name: str) -> None:
        """Forget a mount, not its files; its nodes cannot be used any more. What lies in it is mounted still."""
        with self._lock:
            mount = self.mount(name)
            self._mounts = {other: each for other, each in self._mounts.items() if other != name}
            mount.closed = True

    def get_mount_names(self) -> list[str]:
        """The names of all mounts, in the order in which they were configured."""
        return [*self._mounts]

    def has_mount(self, name: str) -> bool:
        """Whether there is a mount of this name."""
        return name in self._mounts

    def mount(self, name: str) -> Mount:
        """The mount of a name."""
        mount = self._mounts.get(name)
        if mount is None:
            there = ", ".join(map(repr, self._mounts)) or "none yet"
            raise StorageNotFoundError(f"no mount of this name; configured: {there}", path=f"{name}:")
        return mount

    def close(self) -> None:
        """Close all mounts and idle connections. Nodes cannot be used any more; the manager can be configured anew."""
        with self._lock:
            mounts, self._mounts = self._mounts, {}
        for mount in mounts.values():
            mount.closed = True
        for files in {id(mount.files): mount.files for mount in mounts.values()}.values():
            files.close()

    # -- nodes ------------------------------------------------------------------------------------------------

    def node(self, mount_or_path: str, *parts: str, version: int | str | None = None) -> StorageNode:
        """The node of a file or folder: ``node("mount:path/file")``, or ``node("mount", "path", "file")``.

        Nothing is looked at; what is not there can be written. A path that leads out of its mount (``..``, a slash at
        its beginning) is a ``ValueError``, a mount that is not configured a ``StorageNotFoundError``. ``version`` is
        which one is read: its name, or its place among all of them (-1 is the latest); such a node cannot be written.
        """
        if not isinstance(mount_or_path, str):
            raise TypeError(f"a node is named by 'mount:path', not by {type(mount_or_path).__name__}")
        name, _, path = mount_or_path.partition(":")
        mount = self.mount(name)
        clean = mount.clean("/".join([*([path] if path else []), *(mount.clean(part) for part in parts)]))
        return StorageNode(SyncNode(mount, clean, version))

    def iternode(self, *nodes: StorageNode | AsyncNode | SyncNode | VirtualNode) -> IterNode:
        """Files one after the other, as one that can be read, copied to a node, or put into a zip archive, in which
        each is by itself. Nothing is read before; more are put at its end by ``append`` and ``extend``."""
        from .virtual import IterNode

        return IterNode(*nodes)

    def diffnode(
        self,
        one: StorageNode | AsyncNode | SyncNode | VirtualNode,
        other: StorageNode | AsyncNode | SyncNode | VirtualNode,
    ) -> DiffNode:
        """How the text of one file differs from another's, as a unified diff that can be read, or copied to a node;
        what is no UTF-8 is a ``ValueError`` then."""
        from .virtual import DiffNode

        return DiffNode(one, other)

    def staged(self, name: str, comment: str | None = None) -> EitherContext[ArtifactFiles]:
        """What is written to a mount of a Hypha artifact in this block is one commit: ``with``, or in a coroutine
        ``async with``. A block that raises leaves it staged, and unpublished; see ``ArtifactFiles.staged``."""
        mount = self.mount(name)
        mount.check("write", "")
        return EitherContext(mount.files.staged(comment))
