"""Which unfinished multipart uploads are this user's, on this machine: only those are gone on with, or aborted.

One file for each object that is being uploaded, locked by whoever is at it, and gone when the upload has ended. What
a bucket lists as unfinished may be anybody's, and is never touched. Where the folder cannot be written, or there are
no locks, nothing is noted, and an interrupted upload begins anew. Kept are names, sizes and ids, never a credential.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ...disk.held import Held, created_private

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger("cloudfiles_hypha")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """An upload that was begun."""

    upload: str
    size: int
    count: int
    described: str
    """What the object is to be besides its bytes: the headers that it was begun with, as JSON."""

    def fits(self, other: Note) -> bool:
        """Whether both are uploads of the same thing, as far as can be told before its bytes are compared."""
        return (self.size, self.count, self.described) == (other.size, other.count, other.described)


class Journal:
    """The note about one object's upload; holds its lock from ``acquire`` on."""

    def __init__(self, store: str, bucket: str, path: str) -> None:
        folder = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
        name = hashlib.sha256(f"{store}\0{bucket}\0{path}".encode("utf-8", "surrogatepass")).hexdigest()
        self._file = Path(folder) / "cloudfiles_hypha" / "uploads" / f"{name}.json"
        self._held = Held()

    @property
    def exists(self) -> bool:
        """Whether an upload to this name is noted, or is about to be."""
        return os.path.exists(self._file)

    def acquire(self) -> bool:
        """Take the lock; False while another upload to this name has it, or where nothing can be noted."""
        held = self._held
        if held.taken:
            return True
        if fcntl is None:
            return False
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            while not held.taken:
                held.file = io.FileIO(self._file, "r+", opener=created_private)
                fcntl.flock(held.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with suppress(FileNotFoundError):  # whoever had it before has ended well, and the name is free
                    held.taken = os.path.samestat(os.fstat(held.file.fileno()), os.stat(self._file))
                if not held.taken:
                    held.release()
        except OSError as error:
            held.release()
            if not isinstance(error, BlockingIOError):
                _log.info("uploads in parts are not noted, and begin anew when interrupted: %s", error)
            return False
        return True

    def read(self) -> Note | None:
        """What is noted; None if nothing is, or it was cut off."""
        try:
            return Note(**json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def knows(self, upload: str) -> tuple[bool, bool]:
        """Whether this upload is noted, and if so whether somebody is at it now."""
        note = self.read()
        if note is None or note.upload != upload:
            return False, False
        free = self.acquire()
        self.leave()
        return True, not free

    def write(self, note: Note) -> None:
        """Note an upload that was begun."""
        file = self._held.file
        if file is None or not self._held.taken:
            return
        try:
            file.seek(0)
            file.truncate()
            file.write(json.dumps(asdict(note)).encode("utf-8"))
        except OSError as error:
            _log.info("an upload in parts could not be noted, and begins anew when interrupted: %s", error)

    def end(self) -> None:
        """Nothing is left of the upload that was noted."""
        if self._held.taken:
            with suppress(OSError):
                self._file.unlink()
        self.leave()

    def leave(self) -> None:
        """Let go of the lock; what is noted stays."""
        self._held.release()
