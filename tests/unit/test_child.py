"""The helper that runs a function in a process of its own notices how that ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from tests.support.child import in_child


def says(word: str) -> None:
    print(word)


def crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs() -> None:
    threading.Event().wait()


def fails() -> None:
    raise AssertionError("not as it should be")


def leaves_early() -> None:
    os._exit(0)


def test_what_ends_well_passes_and_is_heard() -> None:
    assert in_child(says, "hello").startswith("hello\n")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (crashes, "killed by signal 11"),
        (hangs, r"hangs:\n(.|\n)*in hangs"),
        (fails, r"exit code 1:\n(.|\n)*not as it should be"),
        (leaves_early, "exit code 0"),
    ],
)
def test_what_does_not_end_well_fails_the_test(function: Callable[[], None], said: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=said):
        in_child(function, seconds=1)
