"""A small JSON file of the user's that several processes change: whoever reads it finds all of it, old or new."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

from .locks import AVAILABLE, FileLocks

T = TypeVar("T", bound=Mapping[str, object])


def change_kept(file: Path, read: Callable[[Path], T], change: Callable[[T], bool], patience: float) -> bool:
    """Write what ``change`` makes of what ``read`` finds, if that says so; whether it did.

    Only this user can read the file. A link to it stays one. Another process is waited for so many seconds.
    """
    path = Path(os.path.realpath(file.expanduser()))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    locks = FileLocks(str(path.parent / "locks"), patience) if AVAILABLE else None
    with locks.held(str(path), exclusive=True) if locks else nullcontext():
        kept = read(path)
        if not change(kept):
            return False
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.stem}-", dir=path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as out:
                json.dump(kept, out, indent=1, sort_keys=True)
                out.flush()
                os.fsync(out.fileno())
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    return True
