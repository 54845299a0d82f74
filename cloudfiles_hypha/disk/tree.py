"""Local files: what a folder holds, and where downloads land.

Refuses names that would leave the folder they are meant for, by themselves or through a symbolic link, and finds
names that cannot all be written before any is. Transfers nothing: ``transfers.tree`` does. ``paths`` knows the names.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

from ..paths import check_local_name, folded

_BLOCK = 1024 * 1024
_LEFT_OVER = re.compile(r"\.cloudfiles-[0-9a-f]{16}\.(part|journal)")  # see ``partial``

Failed = Callable[[str, Exception], None]
"""Told the path and the error of an item that is left out."""


Symlinks = Literal["follow", "skip", "refuse"]
"""What becomes of symbolic links: the file they lead to, nothing, or an error for each."""


def files_below(folder: str, failed: Failed, symlinks: Symlinks = "follow") -> Iterator[tuple[str, str]]:
    """``(name, path)`` of every regular file below ``folder``, names with forward slashes, in order.

    A symbolic link that leads back to a folder above it, one that leads nowhere, what cannot be read, and what is no
    regular file (reading a pipe might never end) goes to ``failed``. What an interrupted download has left does not
    count as a file: known by its name, which ``check_not_ours`` keeps downloads from giving to anything else.
    """
    return _walk(folder, "", frozenset(), failed, symlinks)


def _walk(
    folder: str, prefix: str, above: frozenset[tuple[int, int]], failed: Failed, symlinks: Symlinks
) -> Iterator[tuple[str, str]]:
    try:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise OSError("a symbolic link leads back to a folder above it")
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        failed(folder, error)
        return
    for entry in entries:
        if entry.is_symlink() and symlinks != "follow":
            if symlinks == "refuse":
                failed(entry.path, OSError("a symbolic link"))
            continue
        if is_left_over(entry.name) and not entry.is_dir():
            continue
        try:
            mode = entry.stat().st_mode  # of what a link leads to
        except OSError as error:
            failed(entry.path, error)
            continue
        if stat.S_ISDIR(mode):
            yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {identity}, failed, symlinks)
        elif stat.S_ISREG(mode):
            yield prefix + entry.name, entry.path
        else:
            failed(entry.path, OSError("not a regular file"))


def is_left_over(name: str) -> bool:
    """Whether a file is called as our temporary ones are."""
    return _LEFT_OVER.fullmatch(name) is not None


def check_not_ours(name: str) -> None:
    """Raise ``ValueError`` if a file called so would be taken for a temporary one, and silently left out of uploads."""
    if is_left_over(name):
        raise ValueError(
            f"{name!r} is a name of the temporary files that downloads make; exclude it, or choose another name"
        )


class Landing:
    """Where files land below ``folder``. ``windows_names`` is as for ``check_local_name``."""

    def __init__(self, folder: Path, *, windows_names: bool = False) -> None:
        self._folder = folder
        self._windows_names = windows_names
        self._root = os.path.realpath(folder)
        self._looked_at: Path | None = None  # the folder of the latest file; most share theirs with the next

    def place(self, name: str) -> Path:
        """Where the file called ``name`` lands; ``ValueError`` if that would be outside of the folder, or if it is
        called as our temporary files are."""
        target = self._folder / check_local_name(name, windows_names=self._windows_names)
        check_not_ours(target.name)
        if target.parent != self._looked_at:
            home = os.path.realpath(target.parent)
            if home != self._root and not home.startswith(os.path.join(self._root, "")):
                raise ValueError(
                    f"{name!r}: a symbolic link in {str(self._folder)!r} leads out of it; not written to disk"
                )
            self._looked_at = target.parent
        return target


_DESCRIPTOR = re.compile(r"/dev/fd/(\d+)|/proc/(?:self|thread-self|\d+)/fd/(\d+)")
_DEVICES = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_MOST_LINKS = 40


def descriptor_named(path: str | os.PathLike[str]) -> int | None:
    """The file descriptor that a path such as ``/dev/stdout`` means, perhaps through links; None for any other."""
    text = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        if text in _DEVICES:
            return _DEVICES[text]
        if found := _DESCRIPTOR.fullmatch(text):
            return int(found[1] or found[2])
        try:
            text = os.path.normpath(os.path.join(os.path.dirname(text), os.readlink(text)))
        except (OSError, ValueError):
            return None
    return None


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether what is there can only be written to, not replaced: a pipe, a device, an open file by its number."""
    if descriptor_named(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_targets(targets: Sequence[Path]) -> None:
    """Raise ``ValueError`` if these cannot all be written: two are the same file here, or something is in the way."""
    clash = _clash(targets, _folded)
    if clash and tells_apart(clash[0].parent):
        clash = _clash(targets, str)
    if clash:
        first, second = map(str, clash)
        what = f"two sources would be written to {first!r}" if first == second else f"{first!r} and {second!r} collide"
        raise ValueError(f"{what}; nothing was copied")
    for target in targets:
        try:
            mode = os.lstat(target).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISLNK(mode) and is_stream(target):
            raise ValueError(f"{str(target)!r} leads to a pipe or a device and is not replaced; nothing was copied")
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):  # a link is replaced, not followed
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise ValueError(f"{str(target)!r} is {kind}; nothing was copied")
    for folder in {target.parent for target in targets}:
        if not (there := _existing(folder)).is_dir():
            raise ValueError(f"{str(there)!r} is a file, and is to be a folder; nothing was copied")


def _clash(targets: Iterable[Path], alike: Callable[[Path], str]) -> tuple[Path, Path] | None:
    """The first two of ``targets`` that are the same, or of which one is to be a folder that holds the other."""
    seen: dict[str, Path] = {}
    for target in targets:
        other = seen.setdefault(alike(target), target)
        if other is not target:
            return other, target
    clear: set[Path] = set()
    for target in seen.values():
        for folder in target.parents:
            if folder in clear:
                break
            if file := seen.get(alike(folder)):
                return file, target
            clear.add(folder)
    return None


def _folded(path: Path) -> str:
    return folded(str(path))


def tells_apart(folder: Path) -> bool:
    """Whether a disk tells names apart that differ in case only; of a folder that is there, or is to be made."""
    folder = _existing(folder)
    with tempfile.NamedTemporaryFile(prefix=".cloudfiles-case-", dir=folder) as probe:
        return not os.path.lexists(os.path.join(folder, os.path.basename(probe.name).swapcase()))


def _existing(path: Path) -> Path:
    """``path``, or the nearest of the folders above it, that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def read_blocks(file: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """Bytes ``[start, end)`` of a file, block by block; moves its position."""
    file.seek(start)
    while start < end:
        block = file.read(min(_BLOCK, end - start))
        if not block:
            raise OSError(f"{file.name}: it has become shorter while it was read")
        yield block
        start += len(block)
