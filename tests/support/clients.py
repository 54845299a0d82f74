"""Clients of the scripted servers: what most tests that talk to one want to be the same."""

from __future__ import annotations

from typing import Any

from cloudfiles_hypha import ArtifactFiles, RetryPolicy

from .fake_hypha import FakeHypha

QUICK = RetryPolicy(attempts=4, first=0.01, longest=0.05, elapsed=10)
# For servers that go away and come back: many short pauses, and time enough for a slow machine.
PATIENT = RetryPolicy(attempts=200, first=0.05, longest=0.1, elapsed=30)


def connect(hypha: FakeHypha, path: str = "ws/a", **options: Any) -> ArtifactFiles:
    """The files of an artifact on ``hypha``, with its token and quick retries unless told otherwise."""
    return ArtifactFiles(path, **{"server_url": hypha.url, "token": hypha.token, "retry": QUICK, **options})
