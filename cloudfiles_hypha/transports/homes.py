"""Which real thread it is, also where gevent has patched what a thread is. Needs gevent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.monkey import get_original

_native_local: Callable[[], Any] = get_original("_thread", "_local")


class _Home:
    """Stands for one thread, as long as that lives."""


_here = _native_local()


def home() -> object:
    """What stands for the calling thread, and for nobody after it: it goes with the thread."""
    mine = getattr(_here, "home", None)
    if mine is None:
        mine = _here.home = _Home()
    return mine
