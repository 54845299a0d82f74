"""From asyncio to the pool: what blocks, or is a future, is awaited; from any loop, and there is no hidden one.

Single reads are tasks of the pool already, and cost a future (``content_of``). A call that blocks gets a thread for as
long as it lasts (``call``, ``iterate``), so that nothing can wait for a place among others which wait for it. A thread
calls into a loop by ``call_soon_threadsafe`` only, and waits for one in a ``Feed`` only, which ends with its call.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, nullcontext, suppress
from contextvars import Context, copy_context
from functools import partial, wraps
from typing import Any, Generic, TypeVar, cast

from .engine.calls import in_thread
from .engine.pool import Cancellation, Waiter
from .engine.run import GIVEN_UP
from .errors import Cancelled
from .results import Result

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F", bound="Callable[..., Any]")

# Items that one side of a thread and a loop may be ahead of the other. Each handing over costs about 20 us.
_AHEAD = 64


def like(verb: Callable[..., object]) -> Callable[[F], F]:
    """The decorator that gives a method the name, the docstring and the signature of the one that it awaits."""

    def decorate(method: F) -> F:
        return cast(F, wraps(verb)(method))

    return decorate


class _Awaited:
    """Where a task of a loop waits for the result of a single read, which any thread may bring."""

    __slots__ = ("_error", "_traffic", "_value", "future", "stop")

    def __init__(self, traffic: _Traffic) -> None:
        self._traffic = traffic
        self.future: asyncio.Future[Result] = traffic.loop.create_future()
        self.stop: Callable[[], object] | None = None  # breaks it off, once it has begun

    def set_result(self, result: Result, /) -> None:
        """This is it; from any thread."""
        self._value = result
        self._error: BaseException | None = None
        self._traffic.bring(self)

    def set_exception(self, exception: BaseException | None, /) -> None:
        """It has failed; from any thread."""
        self._error = exception
        self._traffic.bring(self)

    def land(self) -> None:
        """In the loop: let the task go on, if it still waits."""
        if self.future.done():
            return
        if self._error is None:
            self.future.set_result(self._value)
        else:
            self.future.set_exception(self._error)


Begin = Callable[[Waiter[Result]], Callable[[], object]]
"""Begins a single read for a waiter, and gives what breaks it off."""


class _Traffic:
    """Between one loop and the pool: what tasks begin there goes a few each time around, and so comes what has ended.

    So a thousand tasks that want something at the same moment keep nobody else from the loop. Where more wait than
    there are workers, results are handed out in batches: to wake the loop for each costs more than the rest of it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting = 0
        self._room = _AT_ONCE
        self._queue: deque[tuple[Begin, _Awaited, Context]] = deque()
        self._brought: deque[_Awaited] = deque()
        # Whether the loop is about to look there; without a lock: whoever brings looks at it afterwards, and the loop
        # looks into ``_brought`` after it has taken it back.
        self._called = False

    def begin(self, begin: Begin) -> _Awaited:
        """Begin it now, or when it is its turn."""
        awaited = _Awaited(self)
        if self._room:
            self._begin(begin, awaited)
        else:
            self._queue.append((begin, awaited, copy_context()))
        return awaited

    def _begin(self, begin: Begin, awaited: _Awaited) -> None:
        if self._room == _AT_ONCE:
            self.loop.call_soon(self._next)
        self._room -= 1
        try:
            awaited.stop = begin(awaited)
        except Exception as error:  # noqa: BLE001 -- raised where it is waited for
            awaited.future.set_exception(error)

    def _next(self) -> None:
        """Once each time around, until nothing is begun any more."""
        self._room = _AT_ONCE
        while self._queue and self._room:
            begin, awaited, context = self._queue.popleft()
            if not awaited.future.done():  # else it was given up
                context.run(self._begin, begin, awaited)

    def bring(self, awaited: _Awaited) -> None:
        """From any thread: it has ended."""
        self._brought.append(awaited)
        if not self._called:
            self._called = True
            with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
                self.loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        brought = self._brought
        some = [brought.popleft() for _ in range(min(len(brought), _AT_ONCE))]
        for awaited in some:
            awaited.land()
        if some and len(brought) < _AT_ONCE and self.waiting > _MANY:
            self.loop.call_later(_GATHER, self._hand_out)
            return
        self._called = False
        if brought:  # more than that, or they came just now
            self._called = True
            self.loop.call_soon(self._hand_out)


class _Here(threading.local):
    """What the loop that runs in this thread has, while anybody waits."""

    traffic: _Traffic | None = None


_here = _Here()
# Single reads that a loop begins, and hands out, each time around; to begin one takes some 10 us.
_AT_ONCE = 32
# While so many tasks wait (more than there are workers, mostly) the loop looks only so often, in seconds, for results.
_MANY, _GATHER = 64, 0.002


async def content_of(begin: Begin) -> Any:
    """The content of the single read that ``begin`` begins; its error is raised. To be cancelled breaks it off."""
    loop = asyncio.get_running_loop()
    traffic = _here.traffic
    if traffic is None or traffic.loop is not loop:
        traffic = _here.traffic = _Traffic(loop)
    awaited = traffic.begin(begin)
    traffic.waiting += 1
    try:
        result = await awaited.future
        error = result["error"]
        if error is not None:
            raise error
        return result["content"]
    except asyncio.CancelledError:
        if awaited.stop is not None:
            awaited.stop()
        raise
    finally:
        awaited = result = error = None  # type: ignore[assignment]  # which an error's traceback would keep, and it them
        traffic.waiting -= 1
        if not traffic.waiting and _here.traffic is traffic:
            _here.traffic = None


async def call(function: Callable[[], R], stop: Cancellation | None = None) -> R:
    """What ``function`` returns or raises, called in a thread of its own, where ``stop`` gives up the batches it runs.

    To be cancelled cancels ``stop``, and waits until the function has ended, so that nothing is moved afterwards; to be
    cancelled once more does not wait. Context variables are the caller's.
    """
    stop = stop or Cancellation()
    waiter = asyncio.wrap_future(in_thread(function, stop))
    try:
        return await asyncio.shield(waiter)
    except asyncio.CancelledError:
        stop.cancel()
        waiter.add_done_callback(_seen)
        await asyncio.wait([waiter])
        raise


def _seen(waiter: asyncio.Future[Any]) -> None:
    """An error of what was given up is nobody's any more."""
    if not waiter.cancelled():
        waiter.exception()


class Feed(Generic[T]):
    """The items of an asynchronous iterable, for a thread to iterate over; read up to ``ahead`` ahead, in ``loop``.

    Reading begins when the thread asks. What the iterable raises is raised in the thread. ``close`` ends both sides.
    """

    def __init__(self, source: AsyncIterable[T], loop: asyncio.AbstractEventLoop, ahead: int = _AHEAD) -> None:
        self._source = source
        self._loop = loop
        self._ahead = ahead
        self._items: deque[T] = deque()
        self._error: BaseException | None = None
        self._ended = self._begun = False
        self._room = asyncio.Event()
        self._changed = threading.Condition()  # guards the four above
        self._pump: asyncio.Task[None] | None = None

    def _begin(self) -> None:
        if not self._ended:
            self._pump = self._loop.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for item in self._source:
                with self._changed:
                    if self._ended:
                        return
                    self._items.append(item)
                    self._changed.notify()
                    full = len(self._items) >= self._ahead
                    if full:
                        self._room.clear()
                if full:
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001 -- raised in the thread
            self._end(error)
        except BaseException:  # what it waited for was cancelled, or the loop ends: the thread must not wait for more
            self._end(Cancelled("the asynchronous input was cancelled"))
            raise
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
                self._changed.notify()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            if not self._begun:
                self._begun = True
                self._call(self._begin)
            while not self._items and not self._ended:
                self._changed.wait()
            if not self._items:
                if self._error is not None:
                    raise self._error
                raise StopIteration
            item = self._items.popleft()
            if len(self._items) == self._ahead // 2:
                self._call(self._room.set)
        return item

    def _call(self, function: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed, so nobody reads any more
            self._end(Cancelled(GIVEN_UP))

    def give_up(self) -> None:
        """Tell the thread ``Cancelled``; from any thread."""
        self._end(Cancelled(GIVEN_UP))

    async def close(self) -> None:
        """Read no further."""
        self.give_up()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])


class _Channel(Generic[R]):
    """What the thread and the loop of ``iterate`` share; the thread holds nothing else of it."""

    def __init__(self, stop: Cancellation) -> None:
        self.loop = asyncio.get_running_loop()
        self.news = asyncio.Event()
        self.stop = stop
        stop.watch(self._let_go)
        self._items: deque[R] = deque()
        # Guards the one above. The collector may close it wherever this is held.
        self._changed = threading.Condition(threading.RLock())

    def fill(self, make: Callable[[], Iterator[R]]) -> None:
        """In the thread: read to the end, or until it is given up."""
        items = make()
        with closing(items) if isinstance(items, Generator) else nullcontext():
            for item in items:
                with self._changed:
                    while len(self._items) >= _AHEAD and not self.stop.cancelled:
                        self._changed.wait()
                    if self.stop.cancelled:
                        return
                    self._items.append(item)
                    alone = len(self._items) == 1
                if alone:
                    self.tell()

    def tell(self, ended: object = None) -> None:
        """Have the loop look again."""
        with suppress(RuntimeError):  # it is closed, so nobody waits any more
            self.loop.call_soon_threadsafe(self.news.set)

    def take(self) -> list[R]:
        """All that is there."""
        with self._changed:
            items = [*self._items]
            self._items.clear()
            self._changed.notify()
        return items

    def _let_go(self) -> None:
        with self._changed:
            self._changed.notify()


async def iterate(make: Callable[[], Iterator[R]], stop: Cancellation) -> AsyncGenerator[R, None]:
    """The items of a blocking iterator, which a thread of its own reads about 64 ahead.

    Whoever leaves early closes it (``aclose``), as any asynchronous generator; that, or being cancelled, gives up what
    is under way, and waits until it has ended.
    """
    channel: _Channel[R] = _Channel(stop)
    future = in_thread(partial(channel.fill, make), channel.stop)
    future.add_done_callback(channel.tell)
    try:
        while True:
            channel.news.clear()
            ended = future.done()  # asked first, since it may bring items and end in between
            items = channel.take()
            for item in items:
                yield item
            if ended:
                future.result()
                return
            if not items:
                await channel.news.wait()
    finally:
        channel.stop.cancel()
        waiter = asyncio.wrap_future(future)
        waiter.add_done_callback(_seen)
        await asyncio.wait([waiter])


@asynccontextmanager
async def within(block: AbstractContextManager[R]) -> AsyncGenerator[R, None]:
    """A context manager whose beginning and end block, for ``async with``."""
    entered = await call(block.__enter__)
    try:
        yield entered
    except BaseException as error:
        # not to be cancelled: else nobody would note what is left staged
        if not await asyncio.shield(call(partial(block.__exit__, type(error), error, error.__traceback__))):
            raise
    else:
        await call(partial(block.__exit__, None, None, None))
