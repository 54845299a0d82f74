"""Single reads that are awaited, by thousands: how they begin, how their results come, and what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, cast

import pytest

from cloudfiles_hypha import StorageManager, bridge
from cloudfiles_hypha.bridge import content_of
from cloudfiles_hypha.engine.pool import Waiter
from cloudfiles_hypha.results import Result

MOST = bridge._AT_ONCE
variable: ContextVar[str] = ContextVar("variable")


def result(content: object, error: Exception | None = None) -> Result:
    return cast(Result, {"path": "p", "content": content, "error": error})


class Pool:
    """Begins what it is asked to, and ends it when the test says so."""

    def __init__(self) -> None:
        self.waiters: list[Waiter[Result]] = []
        self.given_up: list[int] = []

    def begin(self, waiter: Waiter[Result]) -> Callable[[], object]:
        number = len(self.waiters)
        self.waiters.append(waiter)
        return lambda: self.given_up.append(number)

    def end(self, *numbers: int) -> None:
        for number in numbers:
            self.waiters[number].set_result(result(number))


async def until(holds: Callable[[], object]) -> None:
    """Let the loop go round until that is so."""
    while not holds():  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0)


async def begun(pool: Pool, count: int) -> list[asyncio.Task[Any]]:
    """So many reads more, all of them begun."""
    wanted = len(pool.waiters) + count
    tasks = [asyncio.ensure_future(content_of(pool.begin)) for _ in range(count)]
    await until(lambda: len(pool.waiters) == wanted)
    return tasks


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_reads_begin_a_few_at_a_time_and_in_order(pool: Pool) -> None:
    order: list[int] = []

    async def read(number: int) -> Any:
        def begin(waiter: Waiter[Result]) -> Callable[[], object]:
            order.append(number)
            return pool.begin(waiter)

        return await content_of(begin)

    async def main() -> list[int]:
        tasks = [asyncio.ensure_future(read(number)) for number in range(5 * MOST)]
        each_time = [0]
        while len(order) < len(tasks):
            await asyncio.sleep(0)
            each_time.append(len(order))
        pool.end(*range(len(tasks)))
        assert await asyncio.gather(*tasks) == [*range(len(tasks))]
        return each_time

    each_time = asyncio.run(main())
    assert order == [*range(5 * MOST)]
    assert max(after - before for before, after in itertools.pairwise(each_time)) == MOST


def test_a_single_read_begins_and_comes_at_once(pool: Pool) -> None:
    async def main() -> None:
        for number in range(3 * MOST):
            task = asyncio.ensure_future(content_of(pool.begin))
            await asyncio.sleep(0)
            assert len(pool.waiters) == number + 1
            pool.end(number)
            for _ in range(2):  # it is handed out, and the task goes on
                await asyncio.sleep(0)
            assert task.result() == number

    asyncio.run(main())


def test_results_that_come_together_wake_the_loop_once(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    woken = 0

    async def main() -> None:
        nonlocal woken
        loop = asyncio.get_running_loop()
        tasks = await begun(pool, MOST)
        call = loop.call_soon_threadsafe

        def counted(*args: Any, **options: Any) -> Any:
            nonlocal woken
            woken += 1
            return call(*args, **options)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        ended = MOST // 2
        pool.end(*range(ended))
        await asyncio.wait(tasks[:ended])
        assert woken == 1
        assert sum(task.done() for task in tasks) == ended
        pool.end(*range(ended, MOST))  # and the next ones wake it again
        await asyncio.wait(tasks)
        assert woken == 2

    asyncio.run(main())


def test_results_are_handed_out_a_few_at_a_time(pool: Pool) -> None:
    async def main() -> list[int]:
        tasks = await begun(pool, 5 * MOST)
        pool.end(*range(len(tasks)))
        each_time = [0]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            each_time.append(sum(task.done() for task in tasks))
        assert await asyncio.gather(*tasks) == [*range(len(tasks))]
        return each_time

    each_time = asyncio.run(main())
    assert max(after - before for before, after in itertools.pairwise(each_time)) == MOST


def test_where_many_wait_results_gather_for_a_moment_and_nobody_looks_where_none_come(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, looks = 0, 0

    async def main() -> None:
        nonlocal told, looks
        loop = asyncio.get_running_loop()
        call, later = loop.call_soon_threadsafe, loop.call_later

        def call_soon_threadsafe(*args: Any, **options: Any) -> Any:
            nonlocal told
            told += 1
            return call(*args, **options)

        def call_later(*args: Any, **options: Any) -> Any:
            nonlocal looks
            looks += 1
            return later(*args, **options)

        tasks = await begun(pool, bridge._MANY + 9)
        monkeypatch.setattr(loop, "call_soon_threadsafe", call_soon_threadsafe)
        monkeypatch.setattr(loop, "call_later", call_later)
        traffic = bridge._here.traffic
        assert traffic is not None
        pool.end(0)
        assert await tasks[0] == 0
        assert (told, looks) == (1, 1)
        pool.end(1)  # nobody is told, since it will be looked for
        assert await tasks[1] == 1
        assert (told, looks) == (1, 2)
        await until(lambda: not traffic._called)  # nothing has come
        assert (told, looks) == (1, 2)
        pool.end(2)  # and from then on the loop is told again
        assert await tasks[2] == 2
        assert (told, looks) == (2, 3)
        pool.end(*range(3, len(tasks)))
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_what_is_cancelled_before_its_turn_never_begins_and_later_is_broken_off(pool: Pool) -> None:
    async def main() -> None:
        tasks = [asyncio.ensure_future(content_of(pool.begin)) for _ in range(MOST + 10)]
        await asyncio.sleep(0)
        assert len(pool.waiters) == MOST
        for task in (tasks[0], *tasks[MOST : MOST + 9]):
            task.cancel()
        await asyncio.wait([tasks[0], *tasks[MOST : MOST + 9]])
        assert pool.given_up == [0]
        pool.end(0)  # it comes nevertheless, too late
        await until(lambda: len(pool.waiters) > MOST)
        pool.end(*range(1, MOST + 1))
        assert await tasks[-1] == MOST
        assert await asyncio.gather(*tasks[1:MOST]) == [*range(1, MOST)]
        assert len(pool.waiters) == MOST + 1
        assert pool.given_up == [0]

    asyncio.run(main())


def test_what_begins_later_has_its_own_tasks_context(pool: Pool) -> None:
    seen: list[str] = []

    async def read(number: int) -> Any:
        variable.set(f"of {number}")

        def begin(waiter: Waiter[Result]) -> Callable[[], object]:
            seen.append(variable.get())
            return pool.begin(waiter)

        return await content_of(begin)

    async def main() -> None:
        tasks = [asyncio.ensure_future(read(number)) for number in range(2 * MOST)]
        await until(lambda: len(seen) == len(tasks))
        pool.end(*range(len(tasks)))
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert seen == [f"of {number}" for number in range(2 * MOST)]


def test_what_cannot_begin_is_an_error_of_its_own_task_only(pool: Pool) -> None:
    def refuse(waiter: Waiter[Result]) -> Callable[[], object]:
        raise ValueError("not this one")

    async def main() -> None:
        begins = [refuse, *[pool.begin] * MOST, refuse, pool.begin]
        tasks = [asyncio.ensure_future(content_of(begin)) for begin in begins]
        await until(lambda: len(pool.waiters) == MOST + 1)
        pool.end(*range(MOST + 1))
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(each) for each in found if isinstance(each, ValueError)] == ["not this one"] * 2
        assert [each for each in found if isinstance(each, int)] == [*range(MOST + 1)]

    asyncio.run(main())


def test_errors_are_raised_whether_they_are_in_the_result_or_instead_of_it(pool: Pool) -> None:
    async def main() -> None:
        tasks = await begun(pool, 2)
        pool.waiters[0].set_result(result(None, FileNotFoundError("gone")))
        with pytest.raises(FileNotFoundError, match="gone"):
            await tasks[0]
        pool.waiters[1].set_exception(ConnectionError("the worker has ended"))
        with pytest.raises(ConnectionError, match="the worker has ended"):
            await tasks[1]
        assert not pool.given_up

    asyncio.run(main())


def test_a_result_that_comes_when_its_loop_has_gone_is_nobodys(pool: Pool) -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(content_of(pool.begin))
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    waiting = loop.create_task(content_of(pool.begin))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    pool.end(0, 1)
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]  # it is what this is about
    assert not waiting.done()


def test_a_loop_that_stops_and_runs_again_has_its_results(pool: Pool) -> None:
    loop = asyncio.new_event_loop()
    try:
        tasks = loop.run_until_complete(begun(pool, 2 * bridge._MANY))
        pool.end(*range(len(tasks)))
        assert loop.run_until_complete(asyncio.gather(*tasks)) == [*range(len(tasks))]
    finally:
        loop.close()


def test_one_thread_may_run_one_loop_after_another(pool: Pool) -> None:
    first = asyncio.new_event_loop()
    try:
        waiting = first.run_until_complete(begun(pool, 1))

        async def main() -> None:
            tasks = await begun(pool, 3)
            pool.end(1, 2)
            assert await asyncio.gather(*tasks[:2]) == [1, 2]

        asyncio.run(main())
        pool.end(0)
        assert first.run_until_complete(waiting[0]) == 0
    finally:
        first.close()


def test_nothing_is_kept_of_a_loop_where_nobody_waits_nor_of_an_error_that_was_raised(pool: Pool) -> None:
    class Gone(FileNotFoundError):
        pass

    def fail() -> weakref.ref[Gone]:
        error = Gone("gone")
        pool.waiters.pop().set_result(result(None, error))
        return weakref.ref(error)

    async def main() -> weakref.ref[Gone]:
        tasks = await begun(pool, 1)
        known = fail()
        with suppress(Gone):
            await tasks.pop()
        return known

    loop = asyncio.new_event_loop()
    gc.collect()
    gc.disable()
    try:
        known = loop.run_until_complete(main())
        assert bridge._here.traffic is None
        assert known() is None
    finally:
        gc.enable()
        loop.close()


@pytest.mark.parametrize("verb", ["is_dir", "children", "versions", "delete", "zip", "append", "joined", "text"])
def test_to_be_cancelled_waits_for_no_server_that_does_not_answer(verb: str) -> None:
    async def main() -> None:
        asked, over = asyncio.Event(), asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await over.wait()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        keys: dict[str, Any] = {"access_key": "K", "secret_key": "S", "retry": {"attempts": 1}, "timeout": 50}
        async with StorageManager() as storage:
            place = {"protocol": "s3", "endpoint_url": f"http://127.0.0.1:{port}", "bucket": "bkt", **keys}
            storage.configure({"s": place})
            node = storage.node("s:file")
            calls: dict[str, Callable[[], Any]] = {
                "append": lambda: node.append("x"),
                "joined": lambda: storage.iternode(node).read(),
                "text": lambda: node.open("r"),
            }
            task = asyncio.ensure_future(calls.get(verb, getattr(node, verb, node.read))())
            await asked.wait()
            task.cancel()
            ended, _ = await asyncio.wait([task], timeout=20)
            over.set()
            assert ended
            assert task.cancelled()
        server.close()
        await server.wait_closed()

    asyncio.run(main())
