"""Calls that block, in threads of their own or at once, as futures; and futures whose errors are in their results."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from itertools import count
from typing import TypeVar

from .kits import exiting
from .pool import AMBIENT, Cancellation, Waiter

R = TypeVar("R")

_numbers = count(1)


class Called(Future[R]):
    """What a function that was called in a thread returns or raises. ``cancel`` gives up the batches that it runs."""

    def __init__(self, stop: Cancellation) -> None:
        super().__init__()
        self._stop = stop

    def cancel(self) -> bool:
        """Have it end, most likely with ``Cancelled``; whether it had not yet."""
        if self.done():
            return False
        self._stop.cancel()
        return True


def in_thread(function: Callable[[], R], stop: Cancellation | None = None) -> Called[R]:
    """Call ``function`` in a thread of its own, with the caller's context variables; ``stop`` gives up what it runs.

    There is a thread for each call, as long as it lasts: none can wait for a place among others that wait for it. Where
    no thread can be started, the caller does it at once.
    """
    stop = stop or Cancellation()
    future = Called[R](stop)
    context = copy_context()
    context.run(AMBIENT.set, stop)

    def work() -> None:
        try:
            value = context.run(function)
        except BaseException as error:  # noqa: BLE001 -- raised where the future is waited for
            future.set_exception(error)
        else:
            future.set_result(value)

    if exiting.is_set():
        work()
        return future
    threading.Thread(target=work, name=f"cloudfiles-hypha-call-{next(_numbers)}", daemon=True).start()
    return future


def done(function: Callable[[], R], error_of: Callable[[R], BaseException | None]) -> Future[R]:
    """What a function returns, called at once; with what it raises, or is found in the result, as its exception."""
    future: Future[R] = Future()
    try:
        value = function()
        error = error_of(value)
    except Exception as raised:  # noqa: BLE001 -- raised where the future is waited for
        error = raised
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
    return future


def tell(waiter: Waiter[R], future: Future[R]) -> None:
    """Tell a waiter what a future has come to."""
    error = future.exception()
    if error is None:
        waiter.set_result(future.result())
    else:
        waiter.set_exception(error)


class Raising(Future[R]):
    """The result of another future, unless ``error_of`` finds an error in that: then this one's exception."""

    def __init__(self, inner: Future[R], error_of: Callable[[R], BaseException | None]) -> None:
        super().__init__()
        self._inner = inner
        self._error_of = error_of
        inner.add_done_callback(self._take)

    def _take(self, inner: Future[R]) -> None:
        error = inner.exception()
        if error is None:
            error = self._error_of(inner.result())
        if error is None:
            self.set_result(inner.result())
        else:
            self.set_exception(error)

    def cancel(self) -> bool:
        """Have it end with ``Cancelled`` if it has not ended yet; whether that is so."""
        return self._inner.cancel()
