"""Looks over the shoulder of the control plane: counts its calls, and can spoil what they bring back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from cloudfiles_hypha.backends.hypha.manager import ArtifactManager
from cloudfiles_hypha.errors import TransferError


@dataclass(frozen=True)
class Call:
    """One call that has ended; ``error`` is what it raised."""

    method: str
    arguments: dict[str, Any] = field(repr=False)
    error: Exception | None = None


Spoil = Callable[[str, dict[str, Any], Any], Any]
"""Given method, arguments and answer: the answer to give instead, or an exception to raise as if it had been lost."""


class Recorder:
    """Every call to an artifact manager in this process, in the order in which they ended.

    ``spoil``, when set, sees each answer before the client does. Safe to use from many threads.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.spoil: Spoil | None = None
        self._lock = threading.Lock()  # guards calls

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Recorder:
        """Begin to record, until ``monkeypatch`` is undone."""
        call = ArtifactManager.call

        def recorded(manager: ArtifactManager, method: str, **arguments: Any) -> Any:
            error: Exception | None = None
            try:
                answer = call(manager, method, **arguments)
                return self.spoil(method, arguments, answer) if self.spoil else answer
            except TransferError as raised:
                error = raised
                raise
            finally:
                with self._lock:
                    self.calls.append(Call(method, arguments, error))

        monkeypatch.setattr(ArtifactManager, "call", recorded)
        return self

    def forget(self) -> None:
        """Count from zero again."""
        self.calls.clear()

    @property
    def counts(self) -> Counter[str]:
        """How often each method was called."""
        return Counter(call.method for call in self.calls)

    def of(self, method: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.method == method]

    @property
    def expensive(self) -> int:
        """How many calls cost the server more than a look into its database."""
        return len(self.calls) - self.counts["read"]
