"""Batches start small, grow, and never run into the server's timeout twice with the same size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfiles_hypha.plan import BatchSizes, cheaper_to_list, halves


def sizes_for(count: int, *, per_call: float = 0.2, per_path: float = 0.003, **options: float) -> list[int]:
    """The batches that ``count`` paths are cut into by a server with these costs."""
    sizes = BatchSizes(**options)  # type: ignore[arg-type]
    taken = []
    while count:
        size = sizes.next(count)
        assert 1 <= size <= count
        taken.append(size)
        sizes.took(size, per_call + per_path * size)
        count -= size
    assert sizes.calls == len(taken)
    return taken


def test_the_first_batch_is_small_so_that_transfers_begin_early() -> None:
    assert sizes_for(5000)[0] == 64


def test_a_thousand_paths_take_few_calls() -> None:
    assert len(sizes_for(1000)) <= 4
    assert len(sizes_for(10_000)) <= 13


def test_a_handful_is_one_call() -> None:
    assert sizes_for(1) == [1]
    assert sizes_for(65) == [65]


def test_batches_stay_below_the_limit() -> None:
    assert max(sizes_for(20_000)) == 1000
    assert max(sizes_for(20_000, limit=300)) == 300


def test_a_slow_server_gets_batches_that_it_can_answer_in_time() -> None:
    assert max(sizes_for(2000, per_path=0.1)[1:]) * 0.1 <= 8.0
    assert set(sizes_for(10, per_call=0, per_path=60.0)[1:]) <= {1, 10}


def test_a_server_that_recovers_gets_large_batches_again() -> None:
    sizes = BatchSizes()
    sizes.took(64, 60.0)
    slow = sizes.next()
    for _ in range(5):
        sizes.took(sizes.next(), 0.1)
    assert slow < 64 < sizes.next()


def test_a_batch_that_timed_out_is_followed_by_one_of_half_its_size() -> None:
    sizes = BatchSizes()
    sizes.took(64, 0.1)
    size = sizes.next()
    sizes.failed(size)
    assert sizes.next() == size // 2
    for _ in range(20):
        sizes.failed(sizes.next())
    assert sizes.next() == 1


@pytest.mark.parametrize(("first", "limit"), [(0, 10), (-1, 10), (11, 10)])
def test_sizes_that_make_no_sense_are_refused(first: int, limit: int) -> None:
    with pytest.raises(ValueError, match=f"first={first}, limit={limit}"):
        BatchSizes(first=first, limit=limit)


@given(
    count=st.integers(1, 5000),
    per_call=st.floats(0, 5),
    per_path=st.floats(0, 1),
    limit=st.integers(64, 1000),
)
def test_every_path_is_in_one_batch_within_the_limit(count: int, per_call: float, per_path: float, limit: int) -> None:
    taken = sizes_for(count, per_call=per_call, per_path=per_path, limit=limit)
    assert sum(taken) == count
    assert max(taken) <= limit


@given(st.lists(st.text()))
def test_halves_lose_nothing_and_get_smaller(items: list[str]) -> None:
    first, second = halves(items)
    assert first + second == items
    assert 0 <= len(first) - len(second) <= 1


def test_listing_is_cheaper_for_many_paths_in_few_folders() -> None:
    assert cheaper_to_list(1000, 1, call=0.2, each=0.003)
    assert not cheaper_to_list(1000, 1000, call=0.2, each=0.003)
    assert not cheaper_to_list(2, 2, call=0.2, each=0.003)
