"""What may pass is tried again, not forever, with growing pauses; what may not is raised at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from cloudfiles_hypha import ConnectionFailed, ObjectNotFound, RetryPolicy, TooManyRequests, TransferError
from cloudfiles_hypha.errors import CertificateError
from cloudfiles_hypha.retry import FirstContact

POLICY = RetryPolicy(attempts=5, first=1.0, longest=3.0, elapsed=1000.0)


@dataclass
class World:
    """An attempt that fails as told, and a clock that only pauses move."""

    failures: list[BaseException]
    now: float = 100.0
    each: float = 0.0  # what an attempt takes
    calls: int = 0
    pauses: list[float] = field(default_factory=list)
    told: list[TransferError] = field(default_factory=list)

    def attempt(self) -> str:
        self.calls += 1
        self.now += self.each
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def run(self, policy: RetryPolicy = POLICY) -> tuple[str, int]:
        return policy.run(self.attempt, self.sleep, self.told.append)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    def build(failures: list[BaseException], **options: Any) -> World:
        made = World(failures, **options)
        monkeypatch.setattr("time.monotonic", lambda: made.now)
        return made

    return build


def broken(number: int) -> list[BaseException]:
    return [ConnectionFailed(str(n)) for n in range(number)]


def test_what_succeeds_is_tried_once_and_pauses_never(world: Callable[..., World]) -> None:
    one = world([])
    assert one.run() == ("done", 1)
    assert (one.calls, one.pauses, one.told) == (1, [], [])


def test_what_may_pass_is_tried_again(world: Callable[..., World]) -> None:
    one = world(broken(3))
    assert one.run() == ("done", 4)
    assert (one.calls, len(one.pauses)) == (4, 3)
    assert [str(error) for error in one.told] == ["0", "1", "2"]


def test_attempts_are_capped_and_the_last_error_is_raised(world: Callable[..., World]) -> None:
    one = world(broken(100))
    with pytest.raises(ConnectionFailed, match="4") as caught:
        one.run()
    assert (one.calls, caught.value.attempts, len(one.pauses)) == (5, 5, 4)
    assert len(one.told) == 4  # the last one is raised instead


def test_one_attempt_means_one(world: Callable[..., World]) -> None:
    one = world(broken(1))
    with pytest.raises(ConnectionFailed) as caught:
        one.run(RetryPolicy(attempts=1))
    assert (one.calls, caught.value.attempts) == (1, 1)


@pytest.mark.parametrize("error", [ObjectNotFound("x"), CertificateError("x"), ValueError("x"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [0, 2])
def test_what_cannot_pass_is_raised_at_once(world: Callable[..., World], error: BaseException, before: int) -> None:
    one = world([*broken(before), error])
    with pytest.raises(type(error)) as caught:
        one.run()
    assert caught.value is error
    assert one.calls == before + 1
    if isinstance(error, TransferError):
        assert error.attempts == before + 1


def test_pauses_are_drawn_from_ranges_that_double_up_to_the_longest(world: Callable[..., World]) -> None:
    columns: list[list[float]] = [[], [], [], []]
    for _ in range(200):
        one = world(broken(4))
        one.run()
        for column, pause in zip(columns, one.pauses, strict=True):
            column.append(pause)
    for column, most in zip(columns, (1.0, 2.0, 3.0, 3.0), strict=True):
        assert min(column) >= 0
        assert max(column) <= most
        assert max(column) > most * 0.8  # the whole range is used
        assert min(column) < most * 0.2


def test_the_servers_wish_makes_a_pause_longer_and_never_shorter(world: Callable[..., World]) -> None:
    one = world([TooManyRequests("busy", status=429, retry_after=50.0), TooManyRequests("x", retry_after=0.0)])
    assert one.run() == ("done", 3)
    assert one.pauses[0] == 50.0
    assert 0 <= one.pauses[1] <= 2.0


def test_the_total_time_is_capped_before_the_pause_that_would_exceed_it(world: Callable[..., World]) -> None:
    policy = RetryPolicy(attempts=1000, first=1.0, longest=1.0, elapsed=10.0)
    for _ in range(20):
        one = world(broken(10_000))
        with pytest.raises(ConnectionFailed):
            one.run(policy)
        assert sum(one.pauses) <= 10.0
        assert 8.0 < one.now - 100.0 <= 10.0


def unconnected(number: int) -> list[BaseException]:
    errors = [ConnectionFailed("refused", path="a") for _ in range(number)]
    for error in errors:
        error.connected = False
    return [*errors]


def test_a_server_that_has_never_answered_is_given_up_soon_and_what_to_do_is_said(world: Callable[..., World]) -> None:
    contact = FirstContact(15.0, "look at HYPHA_SERVER_URL")
    policy = RetryPolicy(first=1.0, longest=1.0, elapsed=300.0, contact=contact)
    one = world(unconnected(10_000))
    with pytest.raises(
        ConnectionFailed, match="^a: refused; it has never answered; look at HYPHA_SERVER_URL"
    ) as caught:
        one.run(policy)
    assert not caught.value.answered
    assert 13.0 < one.now - 100.0 <= 15.0
    assert caught.value.attempts == one.calls


@pytest.mark.parametrize("answer", [None, TooManyRequests("busy", status=429), ConnectionFailed("broken off")])
def test_one_answer_is_enough_for_all_of_the_patience(world: Callable[..., World], answer: Exception | None) -> None:
    policy = RetryPolicy(first=1.0, longest=1.0, elapsed=300.0, contact=FirstContact(15.0, "never said"))
    one = world([answer] if answer is not None else [])
    assert one.run(policy)[0] == "done"
    one = world(unconnected(10_000))
    with pytest.raises(ConnectionFailed, match="refused$"):
        one.run(policy)
    assert 298.0 < one.now - 100.0 <= 300.0


def test_a_server_that_comes_in_time_is_waited_for(world: Callable[..., World]) -> None:
    policy = RetryPolicy(first=1.0, longest=1.0, elapsed=300.0, contact=FirstContact(15.0, ""))
    assert world(unconnected(10)).run(policy) == ("done", 11)


def test_the_time_of_the_first_attempt_counts(world: Callable[..., World]) -> None:
    one = world(broken(10_000), each=60.0)
    with pytest.raises(ConnectionFailed):
        one.run(RetryPolicy(attempts=1000, first=0.0, longest=0.0, elapsed=100.0))
    assert one.calls == 2  # a third could not begin before 120 s


def test_a_wish_beyond_the_total_time_ends_it_at_once(world: Callable[..., World]) -> None:
    one = world([TooManyRequests("busy", status=503, retry_after=3600.0) for _ in range(9)])
    with pytest.raises(TooManyRequests):
        one.run()
    assert (one.calls, one.pauses) == (1, [])


def test_a_pause_that_is_broken_off_ends_it(world: Callable[..., World]) -> None:
    one = world(broken(9))

    class GivenUp(Exception):
        pass

    def sleep(seconds: float) -> None:
        raise GivenUp

    with pytest.raises(GivenUp):
        POLICY.run(one.attempt, sleep, one.told.append)
    assert one.calls == 1


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"attempts": -1}, {"first": -1}, {"longest": -0.1}, {"elapsed": -1}]
)
def test_policies_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="attempts must be at least 1"):
        RetryPolicy(**wrong)


def test_the_defaults_outlast_a_restart_and_end_within_minutes(world: Callable[..., World]) -> None:
    for _ in count():
        one = world(broken(10_000))
        with pytest.raises(ConnectionFailed):
            one.run(RetryPolicy())
        assert one.now - 100.0 <= 300.0
        if one.now - 100.0 > 30.0:
            break


def test_without_a_number_of_attempts_the_time_alone_ends_it(world: Callable[..., World]) -> None:
    one = world(broken(10_000))
    with pytest.raises(ConnectionFailed) as caught:
        one.run(RetryPolicy(attempts=None, elapsed=600))
    assert 600 - RetryPolicy().longest <= one.now - 100 <= 600
    assert caught.value.attempts == one.calls > 12
    assert world([]).run(RetryPolicy(attempts=None)) == ("done", 1)
    with pytest.raises(ConnectionFailed):
        world(broken(1)).run(RetryPolicy(attempts=None, elapsed=0))
