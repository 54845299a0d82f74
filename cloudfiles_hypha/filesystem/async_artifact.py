"""``AsyncHyphaArtifact``: each method is that of ``HyphaArtifact``, by way of the bridge; there is no hidden loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ..async_files import check_not_green
from ..awaited import AsyncFile
from ..bridge import call, content_of, iterate, like, within
from ..engine.pool import Cancellation
from ..files import ArtifactFiles
from ..ranges.awaited import AsyncRangeFile
from .artifact import HyphaArtifact, _name, text_of

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    from typing_extensions import Self

    P = ParamSpec("P")

R = TypeVar("R")


def _awaited(
    verb: Callable[Concatenate[HyphaArtifact, P], R],
) -> Callable[Concatenate[AsyncHyphaArtifact, P], Coroutine[Any, Any, R]]:
    @like(verb)
    async def method(self: AsyncHyphaArtifact, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await call(partial(verb, self.artifact, *args, **kwargs))

    return method


def _iterated(
    verb: Callable[Concatenate[HyphaArtifact, P], Iterator[R]],
) -> Callable[Concatenate[AsyncHyphaArtifact, P], AsyncGenerator[R, None]]:
    @like(verb)
    async def method(self: AsyncHyphaArtifact, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, None]:
        async with aclosing(iterate(partial(verb, self.artifact, *args, **kwargs), Cancellation())) as items:
            async for item in items:
                yield item

    return method


class AsyncHyphaArtifact:
    """``HyphaArtifact`` for asyncio: the same methods with the same arguments, results and errors, awaited.

    ``open`` and ``staged`` are for ``async with``, ``walk`` is an asynchronous generator. ``artifact`` is the same,
    synchronously. To cancel what is awaited gives up its transfers. Use it from any loop, and from tasks of any number:
    what they read at the same time is signed together, what they write is committed together. ``async with`` closes
    idle connections at its end, and can be entered again and again.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.artifact = HyphaArtifact(*args, **options)
        check_not_green(self.files)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.files!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def files(self) -> ArtifactFiles:
        """The ``ArtifactFiles`` that all of it is done by."""
        return self.artifact.files

    @property
    def artifact_id(self) -> str:
        """``workspace/alias``."""
        return self.artifact.artifact_id

    @property
    def artifact_alias(self) -> str:
        """Its name in the workspace."""
        return self.artifact.artifact_alias

    @like(HyphaArtifact.open)
    def open(self, urlpath: str, mode: str = "r", version: str | None = None, **options: Any) -> Any:
        if mode in ("rb", "br") and not options:
            return AsyncRangeFile(self.artifact._at(version), _name(urlpath))
        return AsyncFile(urlpath, mode, partial(self.artifact.open, urlpath, mode, version, **options))

    @like(HyphaArtifact.cat)
    async def cat(self, path: Any, *args: Any, **options: Any) -> Any:
        if args or options or not isinstance(path, str):
            return await call(partial(self.artifact.cat, path, *args, **options))
        name = _name(path)
        return text_of(await content_of(partial(self.files._begin, name)), name)

    @asynccontextmanager
    async def staged(self, comment: str | None = None, version: str | None = None) -> AsyncGenerator[Self, None]:
        """``HyphaArtifact.staged``, in an ``async with``."""
        async with within(self.artifact.staged(comment, version)):
            yield self

    head = _awaited(HyphaArtifact.head)
    size = _awaited(HyphaArtifact.size)
    sizes = _awaited(HyphaArtifact.sizes)
    ls = _awaited(HyphaArtifact.ls)
    listdir = _awaited(HyphaArtifact.listdir)
    find = _awaited(HyphaArtifact.find)
    glob = _awaited(HyphaArtifact.glob)
    walk = _iterated(HyphaArtifact.walk)
    info = _awaited(HyphaArtifact.info)
    exists = _awaited(HyphaArtifact.exists)
    isdir = _awaited(HyphaArtifact.isdir)
    isfile = _awaited(HyphaArtifact.isfile)
    modified = _awaited(HyphaArtifact.modified)
    get_file_url = _awaited(HyphaArtifact.get_file_url)
    copy = _awaited(HyphaArtifact.copy)
    cp = copy
    mv = _awaited(HyphaArtifact.mv)
    rm = _awaited(HyphaArtifact.rm)
    delete = _awaited(HyphaArtifact.delete)
    rm_file = _awaited(HyphaArtifact.rm_file)
    rmdir = _awaited(HyphaArtifact.rmdir)
    mkdir = _awaited(HyphaArtifact.mkdir)
    makedirs = _awaited(HyphaArtifact.makedirs)
    touch = _awaited(HyphaArtifact.touch)
    get = _awaited(HyphaArtifact.get)
    put = _awaited(HyphaArtifact.put)
    create = _awaited(HyphaArtifact.create)
    edit = _awaited(HyphaArtifact.edit)
    commit = _awaited(HyphaArtifact.commit)
    discard = _awaited(HyphaArtifact.discard)
    versions = _awaited(HyphaArtifact.versions)
    delete_artifact = _awaited(HyphaArtifact.delete_artifact)
    list_children = _awaited(HyphaArtifact.list_children)
    close = _awaited(HyphaArtifact.close)
    aclose = close
