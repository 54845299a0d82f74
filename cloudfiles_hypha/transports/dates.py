"""Times as HTTP writes them (RFC 9110, 5.6.7)."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(rf"(?:{'|'.join(_DAYS)}), (\d\d) ({'|'.join(_MONTHS)}) (\d{{4}}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)


@lru_cache(maxsize=1024)
def seconds_of(date: str | None) -> float | None:
    """A time in seconds since 1970, None for what is no time. Files that were stored together have few of them.

    The two forms that are obsolete are read as well; the one without a zone is in UTC, as they all are.
    """
    if date is None:
        return None
    found = _DATE.fullmatch(date)
    try:
        if found is not None:
            day, month, year, hour, minute, second = found.groups()
            numbers = (int(day), int(hour), int(minute), int(second))
            told = datetime(int(year), _MONTHS.index(month) + 1, *numbers, tzinfo=timezone.utc)
        else:
            from email.utils import parsedate_to_datetime  # only here: no server in use needs it, and it loads much

            told = parsedate_to_datetime(date)
            told = told if told.tzinfo is not None else told.replace(tzinfo=timezone.utc)
        return told.timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def date_of(seconds: float) -> str:
    """Seconds since 1970 in the form that is to be sent; whole seconds, which have begun."""
    told = time.gmtime(seconds)
    return (
        f"{_DAYS[told.tm_wday]}, {told.tm_mday:02} {_MONTHS[told.tm_mon - 1]} {told.tm_year:04} "
        f"{told.tm_hour:02}:{told.tm_min:02}:{told.tm_sec:02} GMT"
    )
