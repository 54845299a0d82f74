"""One method for sync and async code: its value, or something to await that is never taken for a value."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cloudfiles_hypha.either import EitherContext, Pending, either
from cloudfiles_hypha.errors import NotAwaited


class Thing:
    """What an object with such a method may be."""

    def plain(self, value: int) -> int:
        """The value and one."""
        return value + 1

    async def later(self, value: int) -> int:
        await asyncio.sleep(0)
        return value + 1

    either = either(plain, later)


def test_without_a_loop_it_is_the_value_and_in_one_something_to_await() -> None:
    assert Thing().either(1) == 2

    async def main() -> tuple[Any, ...]:
        thing = Thing()
        task = asyncio.create_task(thing.either(10))
        return (
            await thing.either(1),
            await asyncio.gather(thing.either(2), thing.either(3)),
            await asyncio.wait_for(thing.either(4), 5),
            await asyncio.ensure_future(thing.either(5)),
            await task,
        )

    assert asyncio.run(main()) == (2, [3, 4], 5, 6, 11)


def test_it_is_the_thread_that_counts_and_not_the_program() -> None:
    async def main() -> int:
        return await asyncio.to_thread(Thing().either, 1)

    assert asyncio.run(main()) == 2


USES: dict[str, Callable[[Any], object]] = {
    "bool": bool,
    "not": lambda value: not value,
    "len": len,
    "iter": list,
    "in": lambda value: 1 in value,
    "item": lambda value: value[0],
    "equal": lambda value: value == 2,
    "different": lambda value: value != 2,
    "less": lambda value: value < 3,
    "more": lambda value: value > 3,
    "more, the other way round": lambda value: value < 3,
    "int": int,
    "float": float,
    "bytes": bytes,
    "range": range,
    "call": lambda value: value(),
    "sum": lambda value: value + 1,
    "sum, the other way round": lambda value: 1 + value,
    "text": lambda value: f"{value}",
    "attribute": lambda value: value.name,
    "method": lambda value: value.decode(),
    "with": lambda value: value.__enter__(),
    "path": open,
}


@pytest.mark.parametrize("use", USES)
def test_used_as_a_value_it_says_what_is_missing(use: str) -> None:
    async def main() -> None:
        pending = Thing().either(1)
        with pytest.raises(NotAwaited, match=r"put `await` before it, or use `\.sync`") as caught:
            USES[use](pending)
        assert isinstance(caught.value, TypeError)
        pending.close()

    asyncio.run(main())


def test_an_attribute_that_is_only_looked_for_is_not_there() -> None:
    async def main() -> None:
        pending = Thing().either(1)
        assert not hasattr(pending, "_repr_html_")
        assert "not awaited" in repr(pending)
        assert await pending == 2
        assert "not awaited" not in repr(pending)

    asyncio.run(main())


def test_in_a_callback_of_a_loop_a_comparison_is_an_error_and_not_a_wrong_answer() -> None:
    async def main() -> BaseException | None:
        loop = asyncio.get_running_loop()
        seen: asyncio.Future[BaseException | None] = loop.create_future()

        def callback() -> None:
            pending = Thing().either(1)
            try:
                bool(pending > 3)
            except NotAwaited as error:
                pending.close()
                seen.set_result(error)
            else:
                seen.set_result(None)

        loop.call_soon(callback)
        return await seen

    assert isinstance(asyncio.run(main()), NotAwaited)


def drop(value: object) -> None:
    """Be the last who knows of it."""
    del value
    gc.collect()


def test_what_is_never_awaited_warns_and_was_not_done() -> None:
    done: list[int] = []

    async def later(thing: object) -> None:
        done.append(1)

    async def main() -> None:
        with pytest.warns(RuntimeWarning, match=r"later\(\) was never awaited, so it was not done"):
            drop(Pending(later(None)))

    asyncio.run(main())
    assert not done


def test_it_cannot_be_awaited_twice() -> None:
    async def main() -> None:
        pending = Thing().either(1)
        await pending
        with pytest.raises(RuntimeError, match="already awaited"):
            await pending

    asyncio.run(main())


def test_wrong_arguments_are_an_error_of_the_call() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="missing 1 required"):
            Thing().either(*[])

    asyncio.run(main())
    with pytest.raises(TypeError, match="missing 1 required"):
        Thing().either(*[])


def test_to_be_cancelled_cancels_what_is_awaited() -> None:
    async def main() -> str:
        ended = asyncio.Event()

        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(Pending(forever()), 0.01)
        return "ended" if ended.is_set() else "goes on"

    assert asyncio.run(main()) == "ended"


def test_it_is_not_pickled() -> None:
    async def main() -> None:
        pending = Thing().either(1)
        with pytest.raises(TypeError):
            pickle.dumps(pending)
        pending.close()

    asyncio.run(main())


class Block:
    """A block that notes where it is entered and left."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def __enter__(self) -> str:
        self.seen.append(threading.current_thread() is threading.main_thread())
        return "inside"

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.seen.append(kind)


def test_a_block_is_entered_by_with_and_in_a_loop_by_async_with() -> None:
    block = Block()
    with EitherContext(block) as value:
        assert value == "inside"
    assert block.seen == [True, None]

    async def enter(block: Block) -> None:
        async with EitherContext(block) as value:
            assert value == "inside"
            raise KeyError("a")

    async def main() -> None:
        with pytest.raises(NotAwaited, match="async with"), EitherContext(Block()):
            raise AssertionError("a block that blocks was entered in a loop")
        other = Block()
        with pytest.raises(KeyError):
            await enter(other)
        assert other.seen == [False, KeyError]

    asyncio.run(main())
