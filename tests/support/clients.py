"""Clients of the scripted servers: what most tests that talk to one want to be the same."""

from __future__ import annotations

from typing import Any

from cloudfiles_hypha import ArtifactFiles, RetryPolicy

from .fake_hypha import FakeHypha

# Every way of doing the work.
CLIENTS: dict[str, dict[str, Any]] = {
    "inline": {"num_threads": 0},
    "threads": {"num_threads": 4},
    "green": {"num_threads": 4, "green": True},
    "urllib3": {"num_threads": 4, "transport": "urllib3"},
}
QUICK = RetryPolicy(attempts=4, first=0.01, longest=0.05, elapsed=10)
# For servers that go away and come back: many short pauses, and time enough for a slow machine.
PATIENT = RetryPolicy(attempts=200, first=0.05, longest=0.1, elapsed=30)


def connect(hypha: FakeHypha, path: str = "ws/a", **options: Any) -> ArtifactFiles:
    """The files of an artifact on ``hypha``, with its token and quick retries unless told otherwise."""
    return ArtifactFiles(path, **{"server_url": hypha.url, "token": hypha.token, "retry": QUICK, **options})
