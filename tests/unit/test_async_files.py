"""``AsyncArtifactFiles`` and the bridge: nothing blocks the loop, what is cancelled ends, no loop is hidden."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import (
    ArtifactFiles,
    AsyncArtifactFiles,
    BatchError,
    Cancellation,
    Cancelled,
    NotStaged,
    ObjectNotFound,
)
from cloudfiles_hypha.bridge import call
from tests.support import object_server as faults
from tests.support.clients import QUICK, connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Always, ObjectServer

NAMES = [str(number) for number in range(100)]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(object_server: ObjectServer) -> ObjectServer:
    for name in NAMES:
        object_server.put(name, name.encode())
    return object_server


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {name: name.encode() for name in NAMES})
        yield hypha


def connected(hypha: FakeHypha, **options: Any) -> AsyncArtifactFiles:
    return AsyncArtifactFiles(connect(hypha, **options))


def own_threads() -> list[str]:
    """The threads that clients have started; servers have some, too."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("cloudfiles-hypha")]


async def eventually(true: Any) -> None:
    """Wait until something holds; the test's deadline bounds it."""
    while not true():  # noqa: ASYNC110 -- what is waited for happens in other threads
        await asyncio.sleep(0.005)


# --- What it is -----------------------------------------------------------------------------------------------------

# ``submit`` and ``submit_head`` give futures already; ``files`` is the synchronous object.
PLAIN = {"address", "submit", "submit_head"}
ITERATED = {"iget", "list", "scan", "uploads"}
SAME = {"open", "recording", "staged", "sep", "join", "dirname", "basename"}


def test_it_has_every_method_with_the_same_arguments() -> None:
    for name, method in vars(ArtifactFiles).items():
        if name.startswith("_") or name in PLAIN | SAME:
            continue
        own = inspect.getattr_static(AsyncArtifactFiles, name)
        assert inspect.signature(own) == inspect.signature(method), name
        assert own.__doc__ == method.__doc__, name
        kind = inspect.isasyncgenfunction if name in ITERATED else inspect.iscoroutinefunction
        assert kind(own), name
    for name in SAME - {"sep"}:
        assert inspect.signature(getattr(AsyncArtifactFiles, name)) is not None
        parameters = [*inspect.signature(getattr(AsyncArtifactFiles, name)).parameters]
        assert parameters == [*inspect.signature(getattr(ArtifactFiles, name)).parameters]


def test_each_verb_does_what_the_synchronous_one_does(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncArtifactFiles("mem://async-verbs") as cf, AsyncArtifactFiles("mem://async-there") as there:
            assert (await cf.put("a", b"A"))["error"] is None
            await cf.puts([("b", b"B"), ("c/d", b"D")])
            await cf.put_json("j", {"x": 1})
            assert await cf.get("a") == b"A"
            assert await cf.get({"path": "c/d", "start": 0, "end": 1}) == b"D"
            assert await cf.get(["b", "a"], return_dict=True) == {"b": b"B", "a": b"A"}
            assert await cf.get_json("j") == {"x": 1}
            assert sorted([name async for name in cf]) == ["a", "b", "c/d", "j"]
            assert [name async for name in cf.list("c/")] == ["c/d"]
            assert await cf.exists("a")
            assert await cf.exists(["a", "no"]) == {"a": True, "no": False}
            assert (await cf.head("a")).size == await cf.size("a") == 1
            assert (await cf.subtree_size()).files == 4
            assert await cf.isdir("c")
            await cf.download("", tmp_path / "down")
            assert (tmp_path / "down" / "c" / "d").read_bytes() == b"D"
            await there.upload(tmp_path / "down")
            assert [result["done"] for result in await there.transfer_from(cf, overwrite="always")] == ["copied"] * 4
            assert (await cf.move("a", "moved"))["done"] == "moved"
            await cf.delete(["b", "moved"])
            assert sorted([name async for name in cf]) == ["c/d", "j"]
            with cf.recording() as recording:
                await cf.get("j")
            assert len(recording) == 1
            _, own = await cf.get(["j", "c/d"], return_recording=True)
            assert len(own) == 2

    asyncio.run(main())


def test_errors_are_those_of_the_synchronous_calls(hypha: FakeHypha) -> None:
    async def main() -> None:
        async with connected(hypha) as cf:
            with pytest.raises(ObjectNotFound):
                await cf.get("none")
            with pytest.raises(ObjectNotFound):
                await cf.head("none")
            with pytest.raises(BatchError) as caught:
                await cf.get(["1", "none"])
            assert [result["content"] for result in caught.value.results] == [b"1", None]
            with pytest.raises(BatchError):
                _ = [result async for result in cf.iget(["1", "none"])]
            with pytest.raises(NotStaged):
                await cf.commit()
            with pytest.raises(TypeError, match="takes an iterable"):
                _ = [result async for result in cf.iget("1")]
            with pytest.raises(ValueError, match="'..'"):
                await cf.get("../x")

    asyncio.run(main())
    with pytest.raises(ValueError, match="gevent"):
        AsyncArtifactFiles("mem://async-green", green=True)
    with pytest.raises(TypeError, match="num_threads"):
        AsyncArtifactFiles(ArtifactFiles("mem://async-twice"), num_threads=2)


# --- The loop -------------------------------------------------------------------------------------------------------


def test_the_loop_goes_on_while_a_call_waits(store: ObjectServer) -> None:
    store.fault("1", faults.Delay(0.3))
    store.fault("2", faults.Delay(0.3))

    async def main() -> None:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.001)
                turns += 1

        async with AsyncArtifactFiles(store.url) as cf:
            turner = asyncio.ensure_future(turn())
            await cf.get("1")
            first = turns
            await cf.get(["2", "3"])
            turner.cancel()
        assert first >= 3
        assert turns - first >= 3

    asyncio.run(main())


def test_a_thousand_awaited_reads_take_a_handful_of_signing_calls_and_no_thread_each(hypha: FakeHypha) -> None:
    names = [f"dir/{number}" for number in range(1000)]
    hypha.add_artifact("ws/many", {name: name.encode() for name in names})
    most = 0

    async def read(cf: AsyncArtifactFiles, name: str) -> Any:
        nonlocal most
        content = await cf.get(name)
        most = max(most, len(own_threads()))
        return content

    async def main() -> None:
        async with connected(hypha, path="ws/many") as cf:
            contents = await asyncio.gather(*[read(cf, name) for name in names])
            assert contents == [name.encode() for name in names]
            assert most <= 4

    asyncio.run(main())
    assert hypha.count("get_file") <= 25


def test_several_loops_in_several_threads_share_one_object(store: ObjectServer) -> None:
    cf = AsyncArtifactFiles(store.url)
    seen: list[list[Any]] = []

    async def main() -> None:
        for _ in range(3):
            seen.append(await asyncio.gather(*[cf.get(name) for name in NAMES]))
            seen.append([result["content"] for result in await cf.get(NAMES)])

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(cf.close())
    assert seen == [[name.encode() for name in NAMES]] * 24


def test_context_variables_are_those_of_the_caller() -> None:
    variable: ContextVar[str] = ContextVar("variable")

    async def main() -> str:
        variable.set("mine")
        return await call(variable.get)

    assert asyncio.run(main()) == "mine"


# --- Asynchronous input ---------------------------------------------------------------------------------------------


def test_asynchronous_iterables_go_where_iterables_go(hypha: FakeHypha) -> None:
    async def names() -> AsyncIterator[str]:
        for name in NAMES:
            await asyncio.sleep(0)
            yield name

    async def blocks(letter: bytes, count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            await asyncio.sleep(0)
            yield letter * 1000

    async def files() -> AsyncIterator[Any]:
        yield "x", blocks(b"x", 100)
        yield {"path": "y", "content": blocks(b"y", 100)}

    async def main() -> None:
        async with connected(hypha) as cf:
            assert [result["path"] for result in await cf.get(names())] == NAMES
            assert sorted([result["path"] async for result in cf.iget(names())]) == sorted(NAMES)
            assert (await cf.put("p", blocks(b"p", 50)))["size"] == 50_000
            await cf.puts(files())
            await cf.puts([("z", blocks(b"z", 3)), ("plain", b"plain")])
            assert await cf.get("x") == b"x" * 100_000
            assert await cf.get("y") == b"y" * 100_000
            assert await cf.get("z") == b"z" * 3000
            assert await cf.get("plain") == b"plain"
            assert await cf.delete(names()) is not None
            assert sorted([name async for name in cf]) == ["p", "plain", "x", "y", "z"]

    asyncio.run(main())


def test_what_asynchronous_input_raises_is_raised_by_the_call(hypha: FakeHypha) -> None:
    async def names() -> AsyncIterator[str]:
        yield "1"
        raise LookupError("no more")

    async def blocks() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise LookupError("no more")

    async def main() -> None:
        async with connected(hypha) as cf:
            for awaited in (cf.get(names()), cf.put("x", blocks())):
                with pytest.raises(LookupError, match="no more"):
                    await awaited
            assert not await cf.exists("x")
            with pytest.raises(LookupError, match="no more"):
                _ = [result async for result in cf.iget(names())]

    asyncio.run(main())


def test_asynchronous_input_that_is_cancelled_ends_the_call(hypha: FakeHypha) -> None:
    async def cut_off() -> None:
        task = asyncio.ensure_future(asyncio.sleep(3600))
        task.cancel()
        await task

    async def names() -> AsyncIterator[str]:
        yield "1"
        await cut_off()

    async def blocks() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await cut_off()

    async def main() -> None:
        async with connected(hypha) as cf:
            for awaited in (cf.get(names()), cf.put("x", blocks())):
                with pytest.raises(Cancelled, match="input was cancelled"):
                    await asyncio.wait_for(awaited, 20)
            assert not await cf.exists("x")

    asyncio.run(main())


def test_input_is_read_no_further_than_results_are_taken(store: ObjectServer) -> None:
    asked = 0

    async def names() -> AsyncIterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield NAMES[asked % 100]

    async def main() -> None:
        async with AsyncArtifactFiles(store.url, num_threads=4) as cf, aclosing(cf.iget(names())) as results:
            await anext(results)
            before = -1
            while before != asked:
                before = asked
                await asyncio.sleep(0.2)
        assert asked < 1000

    asyncio.run(main())


# --- Being cancelled ------------------------------------------------------------------------------------------------


async def cancelled_in_the_middle(awaited: Coroutine[Any, Any, Any], store: ObjectServer) -> None:
    task = asyncio.ensure_future(awaited)
    await eventually(lambda: store.open_connections > 0)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_to_be_cancelled_breaks_off_what_is_under_way(store: ObjectServer) -> None:
    for name in NAMES:
        store.fault(name, Always(faults.Hang()))

    async def main() -> None:
        async with AsyncArtifactFiles(store.url, num_threads=8, retry=QUICK) as cf:

            async def iterate() -> None:
                async for _ in cf.iget(NAMES):
                    pass

            async def names() -> AsyncIterator[str]:
                yield "1"
                await asyncio.sleep(3600)

            begun = 0  # at most: the server may hear of a request only after the client has given it up
            for awaited, at_once in (
                (cf.get("1"), 1),
                (cf.get(NAMES), 8),
                (cf.head("1"), 1),
                (iterate(), 8),
                (cf.exists(NAMES), 8),
                (cf.get(names()), 1),
            ):
                begun += at_once
                await cancelled_in_the_middle(awaited, store)
                await eventually(lambda: store.open_connections == 0)
                assert store.count() <= begun < len(NAMES)

    asyncio.run(main())


def test_a_single_read_that_is_recorded_or_without_workers_is_the_same_in_a_thread(store: ObjectServer) -> None:
    async def read(cf: AsyncArtifactFiles) -> None:
        assert await cf.get("1") == b"1"
        assert (await cf.head("1")).size == 1
        with pytest.raises(FileNotFoundError, match="none"):
            await cf.get("none")

    async def main() -> None:
        async with AsyncArtifactFiles(store.url, retry=QUICK) as cf:
            with cf.recording():
                await read(cf)
                await cancelled_in_the_middle(cf.get("2"), store)
                await eventually(lambda: store.open_connections == 0)
        async with AsyncArtifactFiles(store.url, num_threads=0, retry=QUICK) as cf:
            await read(cf)

    store.fault("2", Always(faults.Hang()))
    asyncio.run(main())


def test_a_time_limit_is_kept(store: ObjectServer) -> None:
    store.fault("1", Always(faults.Hang()))

    async def main() -> None:
        async with AsyncArtifactFiles(store.url) as cf:
            for awaited in (cf.get("1"), cf.get(["1", "2"])):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(awaited, 0.2)

    asyncio.run(main())


def test_a_loop_over_results_that_is_left_ends_them(store: ObjectServer) -> None:
    store.fault("99", Always(faults.Hang()))

    async def main() -> None:
        async with AsyncArtifactFiles(store.url, num_threads=4) as cf:
            async with aclosing(cf.iget(NAMES)) as results:
                async for _ in results:
                    break
            seen = store.count()  # but for what it may hear of later: a request of each worker
            assert await asyncio.to_thread(store.settled) <= seen + 4
            async for _ in cf.iget(NAMES):  # not closed: the loop does it, when the generator goes
                break
            await eventually(lambda: not own_threads())

    asyncio.run(main())


def test_a_cancellation_of_the_users_ends_the_call_with_cancelled(store: ObjectServer) -> None:
    store.fault("1", Always(faults.Hang()))
    stop = Cancellation()

    async def main() -> None:
        async with AsyncArtifactFiles(store.url) as cf:
            task = asyncio.ensure_future(cf.get(["1", "2"], cancel=stop))
            await eventually(lambda: store.count() > 0)
            stop.cancel()
            with pytest.raises(Cancelled):
                await task
            assert not stop._stops

    asyncio.run(main())


def test_a_write_that_is_cancelled_is_over_when_the_await_is(hypha: FakeHypha, monkeypatch: pytest.MonkeyPatch) -> None:
    given, let_go = 0, threading.Event()
    write = ArtifactFiles._write

    def held_at_its_end(self: ArtifactFiles, *arguments: Any) -> Any:
        try:
            return write(self, *arguments)
        finally:
            let_go.wait(20)

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            await asyncio.sleep(0.001)
            given += 1
            yield b"x" * 100_000

    async def main() -> None:
        async with connected(hypha) as cf:
            monkeypatch.setattr(ArtifactFiles, "_write", held_at_its_end)
            task = asyncio.ensure_future(cf.put("x", endless()))
            await eventually(lambda: given > 100)
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
            assert not task.done()
            let_go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert hypha.count("commit") == 0
            assert not await cf.exists("x")
            await cf.put("x", b"y")
            assert await cf.get("x") == b"y"

    asyncio.run(main())


# --- Staging --------------------------------------------------------------------------------------------------------


def test_a_staged_block_is_one_commit(hypha: FakeHypha) -> None:
    async def main() -> None:
        async with connected(hypha) as cf:
            async with cf.staged(version="new") as same:
                assert same is cf
                await asyncio.gather(*[cf.put(f"new/{number}", b"x") for number in range(20)])
            assert hypha.count("commit") == 1
            assert len([name async for name in cf.list("new/")]) == 20

    asyncio.run(main())


def test_a_staged_block_that_raises_leaves_it_staged(hypha: FakeHypha) -> None:
    async def main() -> None:
        async with connected(hypha) as cf:

            async def fail() -> None:
                async with cf.staged():
                    await cf.put("new", b"x")
                    raise LookupError

            with pytest.raises(LookupError):
                await fail()
            assert hypha.count("commit") == 0
            assert (await cf.status())["staged"]
            assert await cf.discard()

    asyncio.run(main())


def test_puts_that_are_awaited_at_the_same_time_share_commits(hypha: FakeHypha) -> None:
    async def main() -> None:
        async with connected(hypha) as cf:
            await asyncio.gather(*[cf.put(f"new/{number}", b"x") for number in range(50)])
            assert len([name async for name in cf.list("new/")]) == 50

    asyncio.run(main())
    assert hypha.count("commit") <= 10


# --- The end of the program -----------------------------------------------------------------------------------------

ENDING = """
import asyncio, sys, threading
from cloudfiles_hypha import AsyncArtifactFiles

async def main():
    cf = AsyncArtifactFiles(sys.argv[1])
    names = ["1"] * 10
    tasks = [asyncio.ensure_future(cf.get("1")), asyncio.ensure_future(cf.get(names))]
    results = cf.iget(names)
    tasks.append(asyncio.ensure_future(anext(results)))
    await asyncio.sleep(0.3)
    print(sum(not task.done() for task in tasks))

if sys.argv[2] == "run":
    asyncio.run(main())
else:  # as a program that forgets its loop
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
"""


@pytest.mark.parametrize("how", ["run", "forget"])
def test_a_program_that_ends_with_reads_under_way_ends(store: ObjectServer, how: str) -> None:
    store.fault("1", Always(faults.Hang()))
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, store.url, how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=40,  # the server is silent for as long as it is asked
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "3\n"), ended.stderr
    if how == "run":
        assert ended.stderr == ""


def test_no_loop_and_no_thread_is_left_by_itself(store: ObjectServer) -> None:
    async def main() -> None:
        async with AsyncArtifactFiles(store.url) as cf:
            await cf.get(NAMES)
            assert len(asyncio.all_tasks()) == 1
            await eventually(lambda: not own_threads())

    asyncio.run(main())


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_file_that_was_being_opened_when_its_task_was_cancelled_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, free, made = threading.Event(), threading.Event(), list[Any]()

    def slowly(self: ArtifactFiles, *arguments: Any, **options: Any) -> Any:
        begun.set()
        free.wait(20)
        made.append(plainly(self, *arguments, **options))
        return made[0]

    plainly = ArtifactFiles.open
    monkeypatch.setattr(ArtifactFiles, "open", slowly)

    async def write(cf: AsyncArtifactFiles) -> None:
        async with cf.open("a", "wb"):
            raise AssertionError("it is not to be entered")

    async def main() -> None:
        async with AsyncArtifactFiles("mem://opened") as cf:
            writing = asyncio.create_task(write(cf))
            await asyncio.to_thread(begun.wait, 20)
            writing.cancel()
            asyncio.get_running_loop().call_later(0.05, free.set)
            with pytest.raises(asyncio.CancelledError):
                await writing

    asyncio.run(main())
    assert made[0].closed
    assert not ArtifactFiles("mem://opened").exists("a")
