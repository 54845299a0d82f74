"""Times as HTTP writes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate, parsedate_to_datetime
from random import Random

import pytest

from cloudfiles_hypha.transports.dates import date_of, seconds_of


def test_times_are_written_and_read_as_the_standard_library_does() -> None:
    chance = Random(1)
    for _ in range(1000):
        seconds = chance.uniform(0, 2**32)
        written = date_of(seconds)
        assert written == formatdate(seconds, usegmt=True)
        assert seconds_of(written) == parsedate_to_datetime(written).timestamp() == int(seconds)


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/New_York"])
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        seconds_of.cache_clear()
        yield
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    "date", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_all_three_forms_are_in_utc_wherever_they_are_read(date: str) -> None:
    assert seconds_of(date) == 784111777


@pytest.mark.parametrize(
    "date", [None, "", "0", "never", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", "1994-11-06"]
)
def test_what_is_no_time_is_none(date: str | None) -> None:
    assert seconds_of(date) is None
