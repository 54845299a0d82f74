"""The two other faces of a node: ``StorageNode``, for sync and async code alike, and ``AsyncNode``, which is awaited.

Neither does anything but call ``SyncNode``; a test keeps the three equal.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..async_files import check_not_green
from ..awaited import AsyncFile
from ..bridge import call, like
from ..either import EitherContext, Opening, either, in_loop
from ..errors import StorageError, storage_error
from ..ranges.awaited import AsyncRangeFile
from ..ranges.opening import at_version
from .mount import Capabilities, Mount, Verb
from .node import SyncNode
from .steps import Steps, do_awaited

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    from typing_extensions import Self

    from ..files import ArtifactFiles

    P = ParamSpec("P")

R = TypeVar("R")


class Face:
    """What both know of a node without asking anybody."""

    def __init__(self, sync: SyncNode) -> None:
        self.sync = sync

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fullpath!r})"

    def __str__(self) -> str:
        return str(self.sync)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self.sync == other.sync

    def __hash__(self) -> int:
        return hash(self.sync)

    @property
    def aio(self) -> AsyncNode:
        """The same, with methods to be awaited."""
        return AsyncNode(self.sync)

    @property
    def node(self) -> StorageNode:
        """The same, with methods that are awaited where a loop runs."""
        return StorageNode(self.sync)

    @property
    def mount(self) -> Mount:
        """The mount that it belongs to."""
        return self.sync.mount

    @property
    def version(self) -> int | str | None:
        """The version that it stands for; None for what is there now."""
        return self.sync.version

    @property
    def path(self) -> str:
        """Where it is in its mount."""
        return self.sync.path

    @property
    def fullpath(self) -> str:
        """``mount:path``."""
        return self.sync.fullpath

    @property
    def basename(self) -> str:
        """The last part of its path."""
        return self.sync.basename

    @property
    def stem(self) -> str:
        """``basename`` without what ``suffix`` is."""
        return self.sync.stem

    @property
    def suffix(self) -> str:
        """Its ending, with the dot; "" if there is none."""
        return self.sync.suffix

    @property
    def ext(self) -> str:
        """Its ending, without the dot."""
        return self.sync.ext

    @property
    def parent(self) -> Self:
        """The folder that it is in; the mount's own is the mount."""
        return type(self)(self.sync.parent)

    @property
    def dirname(self) -> str:
        """The full path of the folder that it is in."""
        return self.sync.dirname

    @property
    def mimetype(self) -> str:
        """The type that its ending stands for."""
        return self.sync.mimetype

    @property
    def capabilities(self) -> Capabilities:
        """What can be done with the files of its mount."""
        return self.sync.capabilities

    def splitext(self) -> tuple[str, str]:
        """Its path without the ending, and the ending with its dot."""
        return self.sync.splitext()

    def child(self, *parts: str) -> Self:
        """The node of a path below this one."""
        return type(self)(self.sync.child(*parts))

    def place(self, verb: Verb = "read") -> tuple[ArtifactFiles, str]:
        """The files of its mount, and what they call it, for what takes these; ``StoragePermissionError`` unless that
        may be done ("read", "write" or "delete")."""
        return self.sync.place(verb)

    @like(SyncNode.serve)
    def serve(self, *args: Any, **kwargs: Any) -> Any:
        return self.sync.serve(*args, **kwargs)

    @like(SyncNode.serve_asgi)
    async def serve_asgi(self, *args: Any, **kwargs: Any) -> None:
        check_not_green(self.mount.files)
        await self.sync.serve_asgi(*args, **kwargs)


def plain(value: Any) -> Any:
    """An argument as ``SyncNode`` takes it: nodes by their sync face."""
    if isinstance(value, Face):
        return value.sync
    if isinstance(value, list | tuple) and any(isinstance(item, Face) for item in value):
        return [plain(item) for item in value]
    return value


def faced(value: R, face: type[Face]) -> R:
    """A value as this face gives it: nodes by that face."""
    if isinstance(value, SyncNode | Face):
        return cast(R, face(value.sync))
    if isinstance(value, list) and value and isinstance(value[0], SyncNode | Face):
        return cast(R, [face(item.sync) for item in value])
    return value


def awaited(
    verb: Callable[Concatenate[SyncNode, P], R],
) -> Callable[Concatenate[AsyncNode, P], Coroutine[Any, Any, R]]:
    """The method of ``AsyncNode`` that calls this one in a thread."""

    @like(verb)
    async def method(self: AsyncNode, /, *args: P.args, **kwargs: P.kwargs) -> R:
        check_not_green(self.mount.files)
        given = {name: plain(value) for name, value in kwargs.items()}
        return faced(await call(partial(verb, self.sync, *map(plain, args), **given)), AsyncNode)

    return method


def in_steps(
    verb: Callable[Concatenate[SyncNode, P], R], steps: Callable[..., Steps[R]]
) -> Callable[Concatenate[Face, P], Coroutine[Any, Any, R]]:
    """The method of ``AsyncNode`` that takes the steps of this one, which needs no thread for single reads.

    What they come to is no node, so it is that of any face.
    """

    @like(verb)
    async def method(self: Face, /, *args: P.args, **kwargs: P.kwargs) -> R:
        check_not_green(self.mount.files)
        return await do_awaited(getattr(self.sync, steps.__name__)(*args, **kwargs))

    return method


class AsyncNode(Face):
    """A file or folder of a mount, awaited: each method is that of ``SyncNode``, with its arguments and errors.

    To cancel what is awaited gives up its transfers. Single reads (``read*``, ``exists``, ``is_file``, ``size``,
    ``mtime``, ``md5hash``) take no thread, and are signed together; any other method has one while it lasts.
    """

    exists = in_steps(SyncNode.exists, SyncNode._exists)
    is_file = in_steps(SyncNode.is_file, SyncNode._is_file)
    is_dir = in_steps(SyncNode.is_dir, SyncNode._is_dir)
    size = in_steps(SyncNode.size, SyncNode._size)
    mtime = in_steps(SyncNode.mtime, SyncNode._mtime)
    md5hash = in_steps(SyncNode.md5hash, SyncNode._md5hash)
    read = in_steps(SyncNode.read, SyncNode._read)
    read_bytes = in_steps(SyncNode.read_bytes, SyncNode._read_bytes)
    read_text = in_steps(SyncNode.read_text, SyncNode._read_text)
    write = awaited(SyncNode.write)
    write_bytes = awaited(SyncNode.write_bytes)
    write_text = awaited(SyncNode.write_text)
    append = awaited(SyncNode.append)
    delete = awaited(SyncNode.delete)
    mkdir = awaited(SyncNode.mkdir)
    versions = awaited(SyncNode.versions)
    get_metadata = in_steps(SyncNode.get_metadata, SyncNode._get_metadata)
    set_metadata = awaited(SyncNode.set_metadata)
    url = awaited(SyncNode.url)
    internal_url = awaited(SyncNode.internal_url)
    copy_to = awaited(SyncNode.copy_to)
    move_to = awaited(SyncNode.move_to)
    same_content = awaited(SyncNode.same_content)
    zip = awaited(SyncNode.zip)
    zip_to = awaited(SyncNode.zip_to)
    to_base64 = awaited(SyncNode.to_base64)
    fill_from_url = awaited(SyncNode.fill_from_url)

    @like(SyncNode.local_path)
    def local_path(self, *args: Any, **kwargs: Any) -> AbstractAsyncContextManager[str]:
        check_not_green(self.mount.files)
        return self.sync.local_path(*args, **kwargs)

    @like(SyncNode.call)
    async def call(self, *args: Any, async_mode: bool = False, **kwargs: Any) -> Any:
        check_not_green(self.mount.files)
        return await call(partial(self.sync.call, *map(plain, args), **kwargs))  # what is awaited waits for nobody

    async def children(self) -> list[AsyncNode]:
        """What is in the folder, files and folders, in the order of names; by one listing."""
        check_not_green(self.mount.files)
        return [AsyncNode(each) for each in await call(self.sync.children)]

    def open(
        self,
        mode: str = "rb",
        encoding: str | None = None,
        version: int | str | None = None,
        as_of: datetime | None = None,
        **options: Any,
    ) -> Opening[Any]:
        """A file whose ``read`` and ``write`` are awaited: ``async with node.open()``, or ``await node.open()``."""
        check_not_green(self.mount.files)
        plain = mode in ("rb", "br") and encoding is None and not options
        if plain:
            return Opening(self._open_to_read(version, as_of), "AsyncNode.open")
        opener = partial(self.sync.open, mode, encoding, version, as_of, **options)
        return Opening(AsyncFile(self.fullpath, mode, opener).__aenter__(), "AsyncNode.open")

    async def _open_to_read(self, version: int | str | None, as_of: datetime | None) -> AsyncRangeFile:
        node = self.sync
        node._check_file("read")
        which = await do_awaited(node._which(node._chosen(version, as_of)))
        try:
            reader = at_version(node.mount.files, node._name, which)
            return await AsyncRangeFile(reader, node._name).__aenter__()
        except StorageError:
            raise
        except OSError as error:
            raise storage_error(error, self.fullpath) from error


def now(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The method that calls this one of ``sync``, for what sync and async code have alike; nodes by its face."""

    @like(verb)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        given = {name: plain(value) for name, value in kwargs.items()}
        return faced(getattr(self.sync, verb.__name__)(*map(plain, args), **given), StorageNode)

    return method


def one(name: str) -> Any:
    """The method of ``StorageNode`` that is that of ``SyncNode``, and where a loop runs that of ``AsyncNode``."""
    verb: Callable[..., Any] = getattr(SyncNode, name)
    later: Callable[..., Coroutine[Any, Any, Any]] = getattr(AsyncNode, name)
    steps = getattr(SyncNode, f"_{name}", None)

    @like(verb)
    async def pending(self: StorageNode, /, *args: Any, **kwargs: Any) -> Any:
        return faced(await later(self.aio, *args, **kwargs), StorageNode)

    through = pending if steps is None else in_steps(verb, steps)  # with nothing between, as there are thousands
    through.__qualname__ = f"StorageNode.{name}"
    return either(now(verb), through)


class StorageNode(Face):
    """A file or folder of a mount, for sync and async code alike: where an event loop runs in this thread, a method
    gives something to await, elsewhere its value.

    ``sync`` and ``aio`` are the same node for code that has to be sure of one of these.
    """

    exists = one("exists")
    is_file = one("is_file")
    is_dir = one("is_dir")
    size = one("size")
    mtime = one("mtime")
    md5hash = one("md5hash")
    children = one("children")
    read = one("read")
    read_bytes = one("read_bytes")
    read_text = one("read_text")
    write = one("write")
    write_bytes = one("write_bytes")
    write_text = one("write_text")
    append = one("append")
    delete = one("delete")
    mkdir = one("mkdir")
    versions = one("versions")
    get_metadata = one("get_metadata")
    set_metadata = one("set_metadata")
    url = one("url")
    internal_url = one("internal_url")
    copy_to = one("copy_to")
    move_to = one("move_to")
    same_content = one("same_content")
    zip = one("zip")
    zip_to = one("zip_to")
    call = one("call")
    to_base64 = one("to_base64")
    fill_from_url = one("fill_from_url")

    @like(SyncNode.local_path)
    def local_path(self, *args: Any, **kwargs: Any) -> EitherContext[str]:
        return self.sync.local_path(*args, **kwargs)

    @like(SyncNode.open)
    def open(self, *args: Any, **kwargs: Any) -> Any:
        return self.aio.open(*args, **kwargs) if in_loop() else self.sync.open(*args, **kwargs)
