"""One method for sync and async code: where an event loop runs in this thread it gives something to await, else its
value.

There is no other rule: not who calls counts, but whether a loop runs in the thread. So in a callback of a loop, or in a
cell of a notebook, the value has to be awaited, too; and that this is forgotten is never taken for a value: what is to
be awaited (``Pending``) raises ``NotAwaited`` on whatever a value would be used for.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from .bridge import like, within
from .errors import NotAwaited

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    P = ParamSpec("P")

R = TypeVar("R")
S = TypeVar("S")


def in_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Pending(Coroutine[Any, Any, R], Generic[R]):
    """The value of a call, once it is awaited; nothing is done before. A coroutine to all of asyncio.

    Used as if it were the value, it raises ``NotAwaited``. Dropped without having been awaited, it warns.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, R], name: str | None = None) -> None:
        self._coroutine = coroutine
        self._begun = False
        self.__qualname__: str = name if name is not None else getattr(coroutine, "__qualname__", "a call")
        self.__name__: str = self.__qualname__.rpartition(".")[2]

    def __repr__(self) -> str:
        if self._begun:
            return f"<{self.__qualname__}(), awaited>"
        return f"<{self.__qualname__}(), not awaited: put `await` before it, or use `.sync`>"

    def _begin(self) -> Coroutine[Any, Any, R]:
        self._begun = True
        return self._coroutine

    def __await__(self) -> Generator[Any, Any, R]:
        return self._begin().__await__()

    def send(self, value: Any, /) -> Any:
        """As a coroutine has it."""
        return self._begin().send(value)

    def throw(self, *error: Any) -> Any:
        """As a coroutine has it."""
        return self._begin().throw(*error)

    def close(self) -> None:
        """As a coroutine has it; it need not be awaited then."""
        self._begin().close()

    def __del__(self) -> None:
        if not getattr(self, "_begun", True):
            self._coroutine.close()
            text = f"{self.__qualname__}() was never awaited, so it was not done: put `await` before it, or use `.sync`"
            warnings.warn(text, RuntimeWarning, stacklevel=2, source=self)

    def _refuse(self, use: str) -> NoReturn:
        name = self.__dict__.get("__qualname__", "this")
        raise NotAwaited(
            f"{name}() {use}, but an event loop runs in this thread, so it gives something to await: put "
            "`await` before it, or use `.sync`"
        )

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse(f"was asked for .{name}")

    def __iter__(self) -> NoReturn:
        self._refuse("was iterated over")

    def __enter__(self) -> NoReturn:
        self._refuse("stands in a `with`")

    def __exit__(self, *exc_info: object) -> None:
        """Never reached."""

    __hash__ = object.__hash__


def _refusing(use: str) -> Callable[..., NoReturn]:
    def refuse(self: Pending[Any], *others: object) -> NoReturn:
        self._refuse(use)

    return refuse


_USES = {
    "was used as true or false": ("bool",),
    "was asked for its length": ("len",),
    "was looked into": ("contains", "getitem", "setitem", "delitem", "reversed"),
    "was compared": ("eq", "ne", "lt", "le", "gt", "ge"),
    "was used as a number": ("int", "float", "complex", "index", "round", "neg", "abs"),
    "was used as bytes": ("bytes",),
    "was called": ("call",),
    "was made part of a text": ("format",),
    "was used as a path": ("fspath",),
    "was calculated with": tuple(
        side + name
        for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "and", "or", "xor")
        for side in ("", "r")
    ),
}
for _use, _names in _USES.items():
    for _name in _names:
        setattr(Pending, f"__{_name}__", _refusing(_use))


class Opening(Pending[R]):
    """What ``open`` gives inside a loop: awaited, or in an ``async with``, it is a file."""

    async def __aenter__(self) -> R:
        self._file = await self
        return self._file

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        file: AbstractAsyncContextManager[R] = self._file  # type: ignore[assignment]  # as its __aenter__ had it
        return await file.__aexit__(kind, error, traceback)


class EitherContext(AbstractContextManager[R], AbstractAsyncContextManager[R]):
    """A context manager whose beginning and end block, for ``with``, and inside a loop for ``async with``."""

    def __init__(self, block: AbstractContextManager[R]) -> None:
        self._block = block
        self._within: AbstractAsyncContextManager[R] | None = None

    def __enter__(self) -> R:
        if in_loop():
            raise NotAwaited("an event loop runs in this thread, which this would stop: use `async with`, or `.sync`")
        return self._block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._block.__exit__(kind, error, traceback)

    async def __aenter__(self) -> R:
        self._within = within(self._block)
        return await self._within.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if self._within is None:
            raise RuntimeError("this block was never entered")
        return await self._within.__aexit__(kind, error, traceback)


def either(
    plain: Callable[Concatenate[S, P], R], awaited: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]
) -> Callable[Concatenate[S, P], Any]:
    """The method that does what ``plain`` does, and inside a loop gives what ``awaited`` does, pending.

    ``R`` outside of a loop and an ``Awaitable[R]`` inside: no type of Python says that, so it is ``Any``; where types
    are to be checked, use the explicit faces.
    """

    @like(plain)
    def method(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        if in_loop():
            return Pending(awaited(self, *args, **kwargs))
        return plain(self, *args, **kwargs)

    return method
