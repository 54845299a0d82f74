"""``AsyncArtifactFiles``: the batch API, awaited. Each method is that of ``ArtifactFiles``, by way of the bridge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .arguments import kind_of
from .bridge import Feed, call, content_of, iterate, like, within
from .engine.pool import Cancellation, Waiter
from .files import ArtifactFiles
from .recording import Recording
from .results import Result

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    from typing_extensions import Self

    from .awaited import AsyncFile
    from .ranges.awaited import AsyncRangeFile

    P = ParamSpec("P")

R = TypeVar("R")

# Blocks of a file that are read from an asynchronous iterable before they can be sent.
_BLOCKS_AHEAD = 4


class _Inputs(AsyncExitStack):
    """Arguments as a thread takes them: asynchronous iterables, also as the content of a file, become plain ones."""

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.stop = Cancellation()
        cancel: Cancellation | None = kwargs.get("cancel")
        if cancel is not None:
            cancel.watch(self.stop.cancel)
            self.callback(cancel.forget, self.stop.cancel)
        self.args = [self._plain(value) for value in args]
        self.kwargs = {name: self._plain(value) for name, value in kwargs.items() if name != "cancel"}

    def _plain(self, value: Any) -> Any:
        if isinstance(value, AsyncArtifactFiles):
            return value.files
        if isinstance(value, AsyncIterable):
            return map(self._item, self._feed(value))
        if isinstance(value, Iterator):
            return map(self._item, value)
        if isinstance(value, list | tuple) and any(self._item(item) is not item for item in value):
            return [self._item(item) for item in value]
        return value

    def _item(self, item: Any) -> Any:
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], AsyncIterable):
            return item[0], self._feed(item[1], _BLOCKS_AHEAD)
        if isinstance(item, Mapping) and isinstance(item.get("content"), AsyncIterable):
            return {**item, "content": self._feed(item["content"], _BLOCKS_AHEAD)}
        return item

    def _feed(self, source: AsyncIterable[Any], ahead: int = 64) -> Feed[Any]:
        feed = Feed(source, self._loop, ahead)
        self.stop.watch(feed.give_up)
        self.push_async_callback(feed.close)
        return feed


def _awaited(
    verb: Callable[Concatenate[ArtifactFiles, P], R],
) -> Callable[Concatenate[AsyncArtifactFiles, P], Coroutine[Any, Any, R]]:
    @like(verb)
    async def method(self: AsyncArtifactFiles, /, *args: P.args, **kwargs: P.kwargs) -> R:
        async with _Inputs(args, kwargs) as inputs:
            return await call(partial(verb, self.files, *inputs.args, **inputs.kwargs), inputs.stop)

    return method


def _iterated(
    verb: Callable[Concatenate[ArtifactFiles, P], Iterator[R]],
) -> Callable[Concatenate[AsyncArtifactFiles, P], AsyncGenerator[R, None]]:
    @like(verb)
    async def method(self: AsyncArtifactFiles, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, None]:
        async with _Inputs(args, kwargs) as inputs:
            items = iterate(partial(verb, self.files, *inputs.args, **inputs.kwargs), inputs.stop)
            async with aclosing(items):
                async for item in items:
                    yield item

    return method


def _quickly(
    verb: Callable[Concatenate[ArtifactFiles, P], R],
    begin: Callable[[ArtifactFiles, Any, Waiter[Result]], Callable[[], object]],
) -> Any:
    """``_awaited``, and where it is one item without options, no thread is needed."""
    slowly = _awaited(verb)

    @like(verb)
    async def method(self: AsyncArtifactFiles, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        if kwargs or len(args) != 1 or not isinstance(args[0], str | Mapping):
            return await slowly(self, *args, **kwargs)
        return await content_of(partial(begin, self.files, args[0]))

    return method


def check_not_green(files: ArtifactFiles) -> None:
    """Refuse what would stop the loop."""
    if files._engine.green:
        raise ValueError("green=True has greenlets wait on gevent's hub, which a loop of asyncio would stop")


class AsyncArtifactFiles:
    """``ArtifactFiles`` for asyncio: the same methods with the same arguments, results and errors, awaited.

    The constructor takes what ``ArtifactFiles`` takes, or one of these, whose connections it shares; ``files`` is the
    same, synchronously. ``iget``, ``list``, ``scan`` and ``uploads`` are asynchronous generators; close one that is
    left early (``contextlib.aclosing``). Where an iterable goes, an asynchronous one does, too, and as content one of
    blocks.

    To cancel what is awaited gives up its transfers, and comes back when they have ended; what had been stored by then
    is as after any call that was interrupted. Use it from any loop, from several, and from tasks of any number: single
    reads that are awaited at the same time are signed together; any other call has a thread for as long as it lasts, in
    which your observers, bars and plain generators run.
    """

    def __init__(self, cloudpath: str | ArtifactFiles, **options: Any) -> None:
        if isinstance(cloudpath, ArtifactFiles):
            if options:
                raise TypeError(f"these are said when the ArtifactFiles is made: {', '.join(sorted(options))}")
            self.files = cloudpath
        else:
            self.files = ArtifactFiles(cloudpath, **options)
        check_not_green(self.files)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.files!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[str]:
        return self.list()

    @property
    def cloudpath(self) -> str:
        """Where the files are."""
        return self.files.cloudpath

    def recording(self, *, machine: bool = False) -> AbstractContextManager[Recording]:
        """``ArtifactFiles.recording``, in a plain ``with``."""
        return self.files.recording(machine=machine)

    def open(self, path: str, mode: str = "rb", **options: Any) -> AsyncRangeFile | AsyncFile:
        """``ArtifactFiles.open``, in an ``async with``: with "rb" an ``AsyncRangeFile``, else a file whose ``read`` and
        ``write`` are awaited, and which is published as it is there."""
        if mode not in ("rb", "br"):
            from .awaited import AsyncFile

            kind_of(mode)  # a wrong one is an error here, not when it is opened
            return AsyncFile(path, mode, partial(self.files.open, path, mode, **options))
        from .ranges.awaited import AsyncRangeFile  # only here: few programs need it
        from .ranges.opening import at_version

        return AsyncRangeFile(at_version(self.files, path, options.pop("version", None)), path, **options)

    @asynccontextmanager
    async def staged(self, comment: str | None = None, version: str | None = None) -> AsyncGenerator[Self, None]:
        """``ArtifactFiles.staged``, in an ``async with``."""
        async with within(self.files.staged(comment, version)):
            yield self

    get = _quickly(ArtifactFiles.get, ArtifactFiles._begin)
    get_json = _awaited(ArtifactFiles.get_json)
    iget = _iterated(ArtifactFiles.iget)
    put = _awaited(ArtifactFiles.put)
    puts = _awaited(ArtifactFiles.puts)
    put_json = _awaited(ArtifactFiles.put_json)
    put_jsons = _awaited(ArtifactFiles.put_jsons)
    delete = _awaited(ArtifactFiles.delete)
    touch = _awaited(ArtifactFiles.touch)
    uploads = _iterated(ArtifactFiles.uploads)
    abort_uploads = _awaited(ArtifactFiles.abort_uploads)
    download = _awaited(ArtifactFiles.download)
    upload = _awaited(ArtifactFiles.upload)
    verify = _awaited(ArtifactFiles.verify)
    transfer_to = _awaited(ArtifactFiles.transfer_to)
    transfer_from = _awaited(ArtifactFiles.transfer_from)
    move = _awaited(ArtifactFiles.move)
    moves = _awaited(ArtifactFiles.moves)
    exists = _awaited(ArtifactFiles.exists)
    head = _quickly(ArtifactFiles.head, ArtifactFiles._begin_head)
    size = _awaited(ArtifactFiles.size)
    subtree_size = _awaited(ArtifactFiles.subtree_size)
    list = _iterated(ArtifactFiles.list)
    scan = _iterated(ArtifactFiles.scan)
    urls = _awaited(ArtifactFiles.urls)
    versions = _awaited(ArtifactFiles.versions)
    set_metadata = _awaited(ArtifactFiles.set_metadata)
    isdir = _awaited(ArtifactFiles.isdir)
    create = _awaited(ArtifactFiles.create)
    stage = _awaited(ArtifactFiles.stage)
    commit = _awaited(ArtifactFiles.commit)
    discard = _awaited(ArtifactFiles.discard)
    status = _awaited(ArtifactFiles.status)
    close = _awaited(ArtifactFiles.close)

    sep = ArtifactFiles.sep
    join = staticmethod(ArtifactFiles.join)
    dirname = staticmethod(ArtifactFiles.dirname)
    basename = staticmethod(ArtifactFiles.basename)
