"""The soak in short: a quarter of a minute of it, and that it does notice what it is there to notice."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from tests.soak import (
    MEMORY_SLACK,
    MIB,
    MORE_DESCRIPTORS,
    MORE_THREADS,
    MOST_DESCRIPTORS,
    ROOT,
    Sample,
    violations_in,
)

CHANCE = random.Random(1)
# Half an hour at rest, sampled each second.
STEADY = [
    Sample(60 + second, 100 * MIB + CHANCE.randrange(-MIB, MIB), 80 + CHANCE.randrange(30), 10 + CHANCE.randrange(10))
    for second in range(1740)
]


def _rising(**a_minute: float) -> list[Sample]:
    return [
        Sample(
            each.seconds,
            int(each.memory + a_minute.get("memory", 0) * each.seconds / 60),
            int(each.descriptors + a_minute.get("descriptors", 0) * each.seconds / 60),
            int(each.threads + a_minute.get("threads", 0) * each.seconds / 60),
        )
        for each in STEADY
    ]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_mixed_work_on_failing_servers_goes_well() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--seconds", "15", "--seed", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=190,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]


def test_what_stays_as_it_is_is_no_violation() -> None:
    assert violations_in(STEADY) == []


def test_memory_that_settles_late_is_no_violation() -> None:
    settling = [
        Sample(each.seconds, each.memory + min(index * 10_000, 10 * MIB), each.descriptors, each.threads)
        for index, each in enumerate(STEADY)
    ]
    assert violations_in(settling) == []


@pytest.mark.parametrize(
    ("a_minute", "said"),
    [
        ({"memory": 0.25 * MIB + 2 * MEMORY_SLACK / 29}, "memory rises"),
        ({"descriptors": 2 * MORE_DESCRIPTORS / 29}, "descriptors rise"),
        ({"threads": 3 * MORE_THREADS / 29}, "threads rise"),
    ],
)
def test_what_rises_slowly_is_a_violation(a_minute: dict[str, float], said: str) -> None:
    (found,) = violations_in(_rising(**a_minute))
    assert said in found


def test_what_is_too_much_for_a_moment_is_a_violation() -> None:
    peak = Sample(1000, 100 * MIB, MOST_DESCRIPTORS + 1, 30)
    (found,) = violations_in([*STEADY[:900], peak, *STEADY[900:]])
    assert str(MOST_DESCRIPTORS + 1) in found
