"""What the processes of one user on one machine know of the staging of an artifact: who opened it, and which names
they registered in it.

The server keeps one list of staged names for each artifact and does not say whose they are. So they are noted here,
before the server is asked; a lock that the system drops with its process tells whether the writer still lives. Where
the folder cannot be written nothing fails: ownership is forgotten, and what is staged counts as somebody else's.
Neighbours: ``staging`` decides by it. Only paths, process numbers and times are kept, never a credential.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import platform
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ...disk.held import Held, created_private
from .commits import Seen

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger("cloudfiles_hypha")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One period of staging, as it was noted."""

    kind: str
    """"batch" or "block": the process writes, or was killed; "left" by a block that raised; "guest" of others."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=platform.node)
    began: float = field(default_factory=time.time)
    tried: bool = False  # the server was asked to stage, whatever it did
    versions: tuple[str, ...] | None = None  # these three as the server told them when it was opened
    key: str = ""
    stamp: float | None = None
    names: frozenset[str] = frozenset()

    def fits(self, seen: Seen) -> bool:
        """Whether what is staged now is, as far as can be told, what this was noted for."""
        if self.versions is None:  # the answer to the opening never came: then nothing was registered either
            return self.tried and not seen.names
        same = self.key == seen.key and self.versions == seen.versions
        return same and (None in (self.stamp, seen.stamp) or self.stamp == seen.stamp)

    def is_left_for(self, kind: str, seen: Seen, *, new_version: bool) -> bool:
        """Whether a batch, or a block that is to make a version or not, may go on with what is staged now, if the
        process that made the note has ended: all of it is known to be that one's."""
        if self.host != platform.node() or not self.fits(seen) or not seen.names <= self.names:
            return False  # on another machine (that shares the folder) it may still be writing
        if self.kind == "batch":
            return True
        # where nothing was stored, nothing was left on purpose, and nothing is missed by whoever does not expect it
        meant = self.kind == kind == "block" or (self.kind in ("block", "left") and not seen.names)
        return meant and (new_version == seen.new_version or not seen.versions)


class Journal:
    """The notes about one artifact's staging, and the lock of whoever writes there. Holds no state but its place.

    Where there are no locks, a process that was killed cannot be told from one that writes: nobody is kept waiting, and
    the notes of other processes count for nothing.
    """

    def __init__(self, server: str, artifact: str) -> None:
        self._artifact = artifact
        self._locks = fcntl is not None
        folder = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
        name = hashlib.sha256(f"{server}\0{artifact}".encode()).hexdigest()
        self._path = Path(folder) / "cloudfiles_hypha" / "stagings" / f"{name}.json"

    # -- who writes ---------------------------------------------------------------------------------------------

    def acquire(self, held: Held) -> bool:
        """Take the lock, for ``held``; False while another writer has it."""
        return self._take(held, ".lock")

    def take_turn(self, held: Held) -> bool:
        """Take the lock for one call of a writer that shares the staging with others; False while another has it."""
        return self._take(held, ".turn")

    def _take(self, held: Held, suffix: str) -> bool:
        held.release()
        if fcntl is not None:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                held.file = io.FileIO(self._path.with_suffix(suffix), "r+", opener=created_private)
                fcntl.flock(held.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.release()
                return False
            except OSError as error:  # a folder that cannot be written, or a file system without locks
                held.release()
                self._locks = False
                _log.info("%s: writers of this machine are not kept apart: %s", self._artifact, error)
        held.taken = True
        return True

    def is_held(self) -> bool:
        """Whether a living writer has the lock."""
        with Held() as held:
            return not self.acquire(held)

    # -- what is noted ------------------------------------------------------------------------------------------

    def begin(self, record: Record) -> None:
        """Note that a staging is being opened; what was noted before is forgotten."""
        head = {name: value for name, value in asdict(record).items() if name != "names"}
        lines = json.dumps(head) + "\n" + (_line(record.names) if record.names else "")
        beside = self._path.with_suffix(f".{record.id}.new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(lines)
            os.replace(beside, self._path)
        except OSError as error:
            _log.info("%s: not noted that it is staged here: %s", self._artifact, error)
            with suppress(OSError):
                beside.unlink()

    def add(self, names: Iterable[str]) -> None:
        """Note names that are about to be registered."""
        self._append(_line(names))

    def opened(self, seen: Seen) -> None:
        """Note what was staged by the opening that was noted last."""
        self._append(json.dumps({"versions": seen.versions, "key": seen.key, "stamp": seen.stamp}) + "\n")

    def trying(self) -> None:
        """Note that the server is about to be asked to stage."""
        self._append(json.dumps({"tried": True}) + "\n")

    def leave(self) -> None:
        """Note that what is staged is left so on purpose."""
        self._append(json.dumps({"kind": "left"}) + "\n")

    def _append(self, line: str) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        except OSError:
            return  # nothing is noted of this staging at all
        with suppress(OSError), os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(line.encode("utf-8"))

    def read(self) -> Record | None:
        """What is noted, or None."""
        try:
            head, *lines = self._path.read_text(encoding="utf-8").split("\n")
            values = json.loads(head)
            names: set[str] = set()
            for line in lines:
                with suppress(ValueError):  # the last is empty, or cut off
                    found = json.loads(line)
                    if isinstance(found, list):
                        names.update(found)
                    else:
                        values.update(found)
            versions = values.pop("versions")
            record = Record(
                **values, versions=None if versions is None else tuple(versions), names=frozenset(map(str, names))
            )
            return record if self._locks or record.pid == os.getpid() else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def end(self) -> None:
        """Nothing of ours is staged any more."""
        with suppress(OSError):
            self._path.unlink()


def _line(names: Iterable[str]) -> str:
    return json.dumps(sorted(names)) + "\n"
