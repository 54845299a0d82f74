"""``with fs.transaction:`` of ``filesystem.fsspec``: on Hypha one staging and one commit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from fsspec.transaction import Transaction

from ..errors import ArtifactNotFound, StagedWarning
from ..files import ArtifactFiles
from .places import Place, is_staged, raise_first
from .streams import Deferred, Writing

if TYPE_CHECKING:
    from .fsspec import ArtifactFileSystem


class StagedTransaction(Transaction):  # type: ignore[misc]
    """``with fs.transaction:``: on Hypha one staging, and one commit when it ends, of all that is written meanwhile.

    If it raises, what it has staged is discarded again; unless the artifact had been staged before, which then is left
    as it is, with a ``StagedWarning``. In stores without staging, files that are opened for writing are stored together
    when it ends, or not at all, and other writes take effect at once.
    """

    def __init__(self, fs: ArtifactFileSystem) -> None:
        super().__init__(fs)
        self.fs: Any = fs  # None once it has ended
        self._blocks: dict[str, tuple[ArtifactFiles, AbstractContextManager[ArtifactFiles], bool]] = {}
        self._lock = RLock()  # guards the one above

    def start(self) -> None:
        """Begin it; within another one that is a ``RuntimeError``, since the end of either would be that of both."""
        if self.fs._intrans:
            raise RuntimeError("a transaction of this file system is under way already; they cannot be nested")
        super().start()

    def enter(self, place: Place) -> None:
        """Have what is written there from now on belong to this."""
        with self._lock:
            if place.root not in self._blocks and is_staged(place):
                block = place.files.staged()
                before = bool(place.files.status()["staged"]) if _is_there(place) else False
                block.__enter__()
                self._blocks[place.root] = (place.files, block, before)

    def complete(self, commit: bool = True) -> None:
        """Publish all of it, or drop it."""
        fs, files = self.fs, [*self.files]
        self.files.clear()
        errors: list[Exception] = []
        try:
            try:
                if commit:
                    _store_deferred(fs, files)
            except Exception as error:  # noqa: BLE001 -- raised below, when everything has ended
                errors.append(error)
            for file in files:
                if commit and not file.closed:
                    _warn(
                        f"{file.path!r} was not closed before the transaction ended, so it is not stored",
                        ResourceWarning,
                    )
                file.discard()
            for artifact, block, before in self._blocks.values():
                try:
                    _end_block(artifact, block, before, commit=commit)
                except Exception as error:  # noqa: BLE001 -- raised below, when everything has ended
                    errors.append(error)
        finally:
            self._blocks.clear()
            fs._intrans, fs._transaction, self.fs = False, None, None
            for path in fs._invalidated_caches_in_transaction:
                fs.invalidate_cache(path)
            fs._invalidated_caches_in_transaction.clear()
        if errors:
            raise errors[0]


class _GivenUp(Exception):
    """Ends a ``staged()`` block whose transaction failed."""


def _is_there(place: Place) -> bool:
    try:
        next(place.files._infos("", flat=True), None)
    except ArtifactNotFound:
        return False
    return True


def _store_deferred(fs: ArtifactFileSystem, files: Iterable[Writing | Deferred]) -> None:
    ready = {file.path: file for file in files if isinstance(file, Deferred) and file.is_written}  # the last of a name
    for indices, places in fs._grouped([*ready]):
        waiting = [[*ready.values()][index] for index in indices]
        for file in waiting:
            file.content.seek(0)
        items = [(place.name, cast(BinaryIO, file.content)) for place, file in zip(places, waiting, strict=True)]
        raise_first(places[0].files.puts(items, raise_errors=False))


def _warn(message: str, kind: type[Warning]) -> None:
    warnings.warn(message, kind, stacklevel=5)


def _end_block(
    files: ArtifactFiles, block: AbstractContextManager[ArtifactFiles], before: bool, *, commit: bool
) -> None:
    if commit:
        block.__exit__(None, None, None)
        return
    error = _GivenUp()
    with suppress(_GivenUp):
        if not block.__exit__(_GivenUp, error, None):
            raise error
    if before:
        _warn(
            f"{files.cloudpath} was staged before the transaction that failed: what it has written is still staged",
            StagedWarning,
        )
    else:
        with suppress(ArtifactNotFound):  # nothing was written, and so it was not made either
            files.discard()
