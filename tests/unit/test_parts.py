"""The parts of one item, and the workers that take turns at them."""

from __future__ import annotations

import random
import threading
from collections import deque

import pytest

from cloudfiles_hypha.transfers.parts import InParts


class Numbers(InParts[int]):
    """So many numbers, each to be done once."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__(width)
        self.todo = deque(range(count))
        self.done: list[int] = []

    def _next(self) -> int | None:
        return self.todo.popleft() if self.todo else None

    def _return(self, part: int) -> None:
        self.todo.append(part)

    def _left(self) -> int:
        return len(self.todo)


@pytest.mark.parametrize("given_up", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_every_part_is_done_once_and_the_end_is_told_once(seed: int, given_up: bool) -> None:
    chance = random.Random(seed)
    count, width = chance.randint(1, 30), chance.randint(1, 6)
    item = Numbers(count, width)
    queued, active, ends = 1, [], 0
    while queued or active:
        if queued and (not active or chance.random() < 0.6):
            queued -= 1
            part = item.claim()
            if part is not None:
                active.append(part)
            else:
                ends += item.drop()
        else:
            part = active.pop(chance.randrange(len(active)))
            fate = chance.random()
            again, keep = fate < 0.2, fate < 0.1
            if not again:
                item.done.append(part)
            wanted = item.release(part, again=again, keep_turn=keep, give_up=given_up and not keep and fate > 0.8)
            queued += keep
            assert wanted == 0 or not keep
            if wanted is None:
                ends += 1
            else:
                queued += wanted
        assert len(active) <= width + 1
    assert given_up or sorted(item.done) == list(range(count))
    assert ends == 1


def test_given_up_it_hands_out_nothing_and_ends_with_the_last_at_work() -> None:
    item = Numbers(10, 3)
    first = item.claim()
    assert first is not None
    assert item.release(first) == 3
    one, other = item.claim(), item.claim()
    assert one is not None
    assert other is not None
    assert item.release(one, give_up=True) == 0
    assert item.claim() is None
    assert not item.drop()
    assert item.release(other) is None
    assert not item.drop()


def test_given_up_while_its_last_turn_is_elsewhere_it_ends_when_that_comes_back() -> None:
    item = Numbers(10, 2)
    first = item.claim()
    assert first is not None
    assert item.release(first) == 2
    one, other = item.claim(), item.claim()
    assert one is not None
    assert other is not None
    assert item.release(one, give_up=True) == 0
    assert item.release(other, again=True, keep_turn=True) == 0
    assert item.claim() is None
    assert item.drop()
    assert not item.drop()


def test_a_turn_that_claims_nothing_can_be_the_end() -> None:
    item = Numbers(3, 2)
    assert item.drop(give_up=True)
    assert not item.drop(give_up=True)
    item.reopen()
    assert item.claim() == 0


def test_threads_do_every_part_once() -> None:
    item = Numbers(3000, 4)
    ends: list[None] = []
    first = item.claim()
    assert first is not None
    item.done.append(first)
    turns = item.release(first)
    assert turns == 4

    def work() -> None:
        owed = 1
        while owed:
            owed -= 1
            part = item.claim()
            if part is None:
                assert not item.drop()
                continue
            item.done.append(part)
            wanted = item.release(part)
            if wanted is None:
                ends.append(None)
            else:
                owed += wanted

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item.done) == list(range(3000))
    assert len(ends) == 1
