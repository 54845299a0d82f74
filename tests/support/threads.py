"""Calls that are made at once, in a thread each."""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_threads(*calls: Callable[[], object]) -> None:
    """Make these calls at once; raise what the first one to fail raised."""
    errors: list[BaseException] = []
    ready = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        ready.wait()
        try:
            call()
        except BaseException as error:  # noqa: BLE001 -- raised in the calling thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
