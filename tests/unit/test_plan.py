"""Batches start small, grow, and never run into the server's timeout twice with the same size; parts fit into S3's
limits; ranges are covered by few requests."""

from __future__ import annotations

import heapq
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfiles_hypha.plan.batches import BatchSizes, Costs, cheaper_to_list, halves
from cloudfiles_hypha.plan.parts import (
    LARGEST_OBJECT,
    LARGEST_PART,
    MIB,
    MOST_PARTS,
    SMALLEST_PART,
    growing_part_size,
    likely_part_sizes,
    part_count,
    upload_part_size,
)
from cloudfiles_hypha.plan.ranges import Fetch, Spans, coalesce


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


# --- Several calls at once --------------------------------------------------------------------------------------------


class Server:
    """A server with one CPU and its own clock, which waits for a store with each path: what it does takes no time."""

    def __init__(self, *, fixed: float = 0.2, cpu: float = 0.0028, wait: float = 0.0) -> None:
        self.fixed, self.cpu, self.wait = fixed, cpu, wait
        self.now = self._busy_until = 0.0
        self._waiting: list[tuple[float, int, int, int]] = []  # when it goes on, number, paths done, of how many
        self._begun: list[float] = []

    def raw(self, count: int) -> float:
        """Seconds for one call with all paths."""
        return self.fixed + count * (self.cpu + self.wait)

    def begin(self, count: int) -> int:
        """Begin a call; its number."""
        self._begun.append(self.now)
        heapq.heappush(self._waiting, (self.now, len(self._begun) - 1, -1, count))
        return len(self._begun) - 1

    def next_end(self) -> tuple[int, float]:
        """Run until a call ends: its number, and the seconds it took."""
        while True:
            at, number, done, count = heapq.heappop(self._waiting)
            if done == count:
                self.now = at
                return number, at - self._begun[number]
            self._busy_until = max(self._busy_until, at) + (self.fixed if done < 0 else self.cpu)
            wait = self.wait if done + 1 < count else 0.0
            heapq.heappush(self._waiting, (self._busy_until + wait, number, done + 1, count))


def signed(server: Server, count: int, costs: Costs) -> tuple[float, list[int]]:
    """Sign ``count`` paths: the seconds it takes, of those of one call with all of them, and the batches."""
    sizes = BatchSizes(costs=costs)
    began, taken, under_way = server.now, [], {}
    while count or under_way:
        while count and len(under_way) < sizes.at_once:
            size = sizes.next(count)
            assert 1 <= size <= min(count, sizes.limit)
            count -= size
            taken.append(size)
            call = sizes.call(size)
            under_way[server.begin(size)] = call, call.__enter__()
        number, seconds = server.next_end()
        call, timed = under_way.pop(number)
        timed.seconds = seconds
        call.__exit__(None, None, None)
    return (server.now - began) / server.raw(sum(taken)), taken


def test_a_store_at_a_distance_is_waited_for_by_several_calls_at_once() -> None:
    server, costs = Server(wait=0.012), Costs()
    first, taken = signed(server, 800, costs)
    assert taken[0] == 64  # to learn
    assert first <= 0.4
    for _ in range(3):
        later, taken = signed(server, 800, costs)
        assert later <= 0.3
        assert 4 <= len(taken) <= 8
        assert max(taken) - min(taken) <= 5  # so that they end together
    assert 4 <= costs.at_once <= 8


def test_the_farther_the_store_the_more_calls_are_made_at_once() -> None:
    assert signed(Server(wait=0.055), 800, Costs())[0] <= 0.25
    far, farther = Costs(each=0.015), Costs(each=0.058)
    assert 1 < far.at_once < farther.at_once == 8


@pytest.mark.parametrize("count", [1000, 10_000])
def test_with_the_store_on_the_same_machine_one_call_at_a_time_is_made(count: int) -> None:
    server, costs = Server(), Costs()
    first, taken = signed(server, count, costs)
    assert taken[0] == 64
    assert first <= 1.15
    for _ in range(3):
        later, taken = signed(server, count, costs)
        assert later <= 1.1
        assert costs.at_once == 1
    assert len(taken) <= 2 + count // 1000


def test_a_thousand_paths_of_a_near_store_are_three_calls_and_then_two() -> None:
    server, costs = Server(), Costs()
    assert [len(signed(server, 1000, costs)[1]) for _ in range(3)] == [3, 2, 2]


def test_a_slow_server_is_not_taken_for_a_store_at_a_distance_for_long() -> None:
    server, costs = Server(fixed=0.5, cpu=0.007), Costs()
    signed(server, 1000, costs)
    for _ in range(3):
        assert signed(server, 1000, costs)[0] <= 1.1
        assert costs.at_once == 1


def test_a_store_that_moved_away_is_noticed() -> None:
    costs = Costs()
    signed(Server(), 1000, costs)
    signed(Server(wait=0.03), 1000, costs)
    assert signed(Server(wait=0.03), 1000, costs)[0] <= 0.3


def test_single_names_teach_what_a_call_costs_and_nothing_about_paths() -> None:
    costs = Costs()
    for _ in range(10):
        number = costs.begin()
        costs.end(number, 1, 0.05)
    assert costs.fixed == pytest.approx(0.05, abs=0.01)
    assert (costs.each, costs.at_once) == (None, 1)


def test_of_a_server_that_is_quick_to_take_a_call_less_is_taken_for_its_own_time() -> None:
    quick, usual, slow = Costs(0.05, each=0.008), Costs(each=0.008), Costs(0.4, each=0.008)
    assert quick.at_once > usual.at_once > slow.at_once == 1


def test_the_calls_of_others_at_the_same_server_leave_room_for_fewer() -> None:
    costs = Costs(each=0.06)
    mine, others = BatchSizes(costs=costs), BatchSizes(costs=costs)
    assert mine.at_once == 8
    with others.call(100), others.call(100), mine.call(100):
        assert (mine.at_once, others.at_once) == (6, 7)
    for _ in range(10):
        costs.begin()
    assert (mine.at_once, others.at_once) == (1, 1)


def test_a_call_that_fails_teaches_nothing_and_is_under_way_no_more() -> None:
    costs = Costs()
    sizes = BatchSizes(costs=costs)
    with pytest.raises(ValueError, match="no"), sizes.call(100):
        raise ValueError("no")
    assert (costs.each, costs.under_way) == (None, 0)


def test_without_costs_calls_are_made_one_at_a_time() -> None:
    sizes = BatchSizes()
    sizes.took(64, 30.0)
    assert sizes.at_once == 1


def test_what_was_learnt_is_handed_on_without_the_calls_under_way() -> None:
    costs = Costs(each=0.02)
    costs.begin()
    copy = costs.copy()
    assert (copy.each, copy.under_way, costs.under_way) == (0.02, 0, 1)


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 100)), max_size=30), st.integers(1, 3000))
def test_whatever_was_measured_sizes_and_numbers_stay_within_limits(
    measured: list[tuple[int, float]], remaining: int
) -> None:
    sizes = BatchSizes(costs=Costs())
    for count, seconds in measured:
        with sizes.call(count) as timed:
            timed.seconds = seconds
        assert 1 <= sizes.at_once <= 8
        assert 1 <= sizes.next() <= 1000
        assert 1 <= sizes.next(remaining) <= remaining


@given(st.lists(st.text()))
def test_halves_lose_nothing_and_get_smaller(items: list[str]) -> None:
    first, second = halves(items)
    assert first + second == items
    assert 0 <= len(first) - len(second) <= 1


def test_listing_is_cheaper_for_many_paths_in_few_folders() -> None:
    assert cheaper_to_list(1000, 1, call=0.2, each=0.003)
    assert not cheaper_to_list(1000, 1000, call=0.2, each=0.003)
    assert not cheaper_to_list(2, 2, call=0.2, each=0.003)


# --- Parts of large objects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (0, 1),
        (1, 1),
        (5 * MIB - 1, 1),
        (5 * MIB, 1),
        (5 * MIB + 1, 2),
        (5 * MIB * 10_000, 10_000),
        (5 * MIB * 10_000 + 1, 8334),
        (6 * MIB * 10_000 + 1, 8572),
        (LARGEST_OBJECT, 9987),
    ],
)
def test_sizes_up_to_five_tebibytes_fit_into_s3s_parts(size: int, parts: int) -> None:
    part = upload_part_size(size, 5 * MIB)
    assert part_count(size, part) == parts <= MOST_PARTS
    assert SMALLEST_PART <= part <= LARGEST_PART


@given(st.integers(0, LARGEST_OBJECT), st.integers(SMALLEST_PART, LARGEST_PART))
def test_no_size_needs_too_many_parts_or_parts_of_a_forbidden_size(size: int, preferred: int) -> None:
    part = upload_part_size(size, preferred)
    assert preferred <= part <= LARGEST_PART
    assert part_count(size, part) <= MOST_PARTS
    assert part_count(size, part) * part >= size > (part_count(size, part) - 1) * part or size == 0


def test_what_s3_cannot_hold_is_refused() -> None:
    for size, preferred in [(LARGEST_OBJECT + 1, 16 * MIB), (-1, 16 * MIB), (1, 5 * MIB - 1), (1, LARGEST_PART + 1)]:
        with pytest.raises(ValueError, match="5"):
            upload_part_size(size, preferred)


@pytest.mark.parametrize("most", [MOST_PARTS, 2_500])
@pytest.mark.parametrize("first", [SMALLEST_PART, 16 * MIB, 16 * MIB + 1, 4 * 1024 * MIB, LARGEST_PART])
def test_parts_of_what_has_no_known_length_grow_until_they_can_hold_the_largest_object(first: int, most: int) -> None:
    sizes = [growing_part_size(number, first, most) for number in range(most)]
    assert sizes == sorted(sizes)
    assert first <= sizes[0] < first + MIB
    assert sizes[-1] <= LARGEST_PART
    assert all(size % MIB == 0 for size in sizes)  # as Google's store wants them
    assert sum(sizes) >= LARGEST_OBJECT


def test_the_first_parts_are_about_as_small_as_asked_and_the_last_ones_no_larger_than_they_have_to_be() -> None:
    sizes = [growing_part_size(number) for number in range(MOST_PARTS)]
    assert sizes[0] == 16 * MIB
    assert sizes[100] <= 27 * MIB
    assert sizes[-1] <= 1.1 * 1024 * MIB


@pytest.mark.parametrize("number", [-1, MOST_PARTS])
def test_a_part_too_many_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="at most 10000"):
        growing_part_size(number)


@given(st.integers(1, 200), st.integers(2, 10_000), st.integers(1, MIB))
def test_the_size_of_an_uploaders_parts_is_among_those_inferred(mebibytes: int, count: int, last: int) -> None:
    size = (count - 1) * mebibytes * MIB + last
    found = likely_part_sizes(size, count)
    assert 1 <= len(found) <= 8
    assert all(part_count(size, part) == count for part in found)
    possible = [n for n in range(1, 202) if part_count(size, n * MIB) == count]
    if len(possible) <= 8 and possible[-1] < 201:
        assert mebibytes * MIB in found


def test_our_own_part_size_is_thought_of_first() -> None:
    assert likely_part_sizes(40 * MIB, 3)[0] == 16 * MIB
    assert likely_part_sizes(100, 1) == [100]
    assert likely_part_sizes(0, 0) == likely_part_sizes(1, 2) == []


SPAN = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple)


@given(st.lists(SPAN, max_size=12), st.integers(0, 60))
def test_spans_are_the_set_of_their_bytes(spans: list[tuple[int, int]], at: int) -> None:
    bytes_there = {byte for start, end in spans for byte in range(start, end)}
    found = Spans(spans)
    merged = list(found)
    assert {byte for start, end in merged for byte in range(start, end)} == bytes_there
    assert all(one[1] < other[0] for one, other in pairwise(merged))
    assert found.total == len(bytes_there)
    assert {byte for start, end in found.gaps(60) for byte in range(start, end)} == set(range(60)) - bytes_there
    end = at
    while end in bytes_there:
        end += 1
    assert found.reach(at) == end


# --- Ranges -----------------------------------------------------------------------------------------------------------

RANGE = st.tuples(st.integers(0, 500), st.integers(1, 60)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def numbered(ranges: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    return [(start, end, number) for number, (start, end) in enumerate(ranges)]


@given(st.lists(RANGE, max_size=40), st.integers(0, 50), st.integers(1, 100))
def test_ranges_are_covered_by_few_requests(ranges: list[tuple[int, int]], gap: int, largest: int) -> None:
    fetches = coalesce(numbered(ranges), gap=gap, largest=largest)
    assert sorted(number for fetch in fetches for number in fetch.members) == list(range(len(ranges)))
    assert [fetch.start for fetch in fetches] == sorted(fetch.start for fetch in fetches)
    for fetch in fetches:
        members = [ranges[number] for number in fetch.members]
        assert (fetch.start, fetch.end) == (min(m[0] for m in members), max(m[1] for m in members))
        assert fetch.end - fetch.start <= max(largest, *(end - start for start, end in members))
        covered = Spans(members)
        assert all(end - start <= gap for start, end in covered.gaps(fetch.end) if start >= fetch.start)


@given(st.lists(RANGE, min_size=1, max_size=40), st.integers(0, 50))
def test_without_a_limit_no_two_requests_are_closer_than_the_gap(ranges: list[tuple[int, int]], gap: int) -> None:
    fetches = coalesce(numbered(ranges), gap=gap, largest=10_000)
    assert all(other.start - one.end > gap for one, other in pairwise(fetches))


def test_duplicates_and_overlaps_cost_nothing() -> None:
    assert coalesce(numbered([(5, 9), (0, 4), (5, 9), (7, 12)]), gap=0, largest=100) == [
        Fetch(0, 4, (1,)),
        Fetch(5, 12, (0, 2, 3)),
    ]
    assert coalesce(numbered([(0, 1000), (10, 20)]), gap=0, largest=5) == [Fetch(0, 1000, (0, 1))]
    assert coalesce([], gap=0, largest=1) == []
