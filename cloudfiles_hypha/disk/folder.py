"""One folder as a store of files: reads and writes never leave it, and a file is what it was before or complete.

What is opened is looked at after it was opened, so that no link which somebody moves in between leads elsewhere; only
where the system cannot tell what was opened, links are resolved before. Raises what the system raises, and
``Outside``. Knows no requests: ``backends.local`` does.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from .tree import is_left_over

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_OPENED = "/proc/self/fd"
_TELLS = os.path.isdir(_OPENED) and hasattr(os, "O_PATH")  # whether the system says what a descriptor is of
_LOOK = getattr(os, "O_PATH", 0) | getattr(os, "O_CLOEXEC", 0)
# What kernels and file systems without unnamed files say.
_NO_UNNAMED = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS}
# Bytes that the system copies in one call, during which nothing can interrupt it.
_STRETCH = 64 * 1024 * 1024
_CANNOT_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_CANNOT_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}


class Outside(PermissionError):
    """A symbolic link leads out of the folder, or to where it must not."""


class Folder:
    """The files below ``root``, by their names with forward slashes. Safe to share between threads."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._real: str | None = None  # where ``root`` leads to

    def path(self, name: str) -> str:
        """Where the file of a name is."""
        return os.path.join(self.root, name)

    def _check(self, real: str, name: str) -> None:
        """Raise ``Outside`` unless what ``name`` has led to is below the root."""
        if self._real is None or not _below(real, self._real):
            self._real = os.path.realpath(self.root)  # it may be a link, which leads elsewhere by now
            if not _below(real, self._real):
                raise Outside(
                    errno.EACCES,
                    f"a symbolic link leads out of {self.root!r}, to {real!r}; "
                    "to use what is there, open a cloudpath that names it",
                )

    def _open(self, path: str, name: str, flags: int) -> int:
        if not _TELLS:
            self._check(os.path.realpath(path), name)
            return os.open(path, flags)
        descriptor = os.open(path, flags)
        try:
            self._check(os.readlink(f"{_OPENED}/{descriptor}"), name)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    # -- reading ------------------------------------------------------------------------------------------------

    def open(self, name: str) -> int:
        """A descriptor of a regular file, to read from; ``FileNotFoundError`` if there is none of this name."""
        descriptor = self._open(self.path(name), name, _READ)  # does not wait if it is a pipe
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, "not a regular file")
        return descriptor

    def look(self, name: str) -> int:
        """Like ``open``, for what may not be read: tells its status and attributes only, where there is such."""
        if not _TELLS:
            return self.open(name)
        descriptor = self._open(self.path(name), name, _LOOK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, "not a regular file")
        return descriptor

    # -- writing ------------------------------------------------------------------------------------------------

    def home(self, name: str, *, make: bool) -> Home:
        """The folder that the file of a name is in; with ``make``, made if need be. Close it."""
        above, _, last = name.rpartition("/")
        path = self.path(above) if above else self.root
        if make and not os.path.isdir(path):
            self._check(os.path.realpath(path), name)  # before anything is made
            _make_folders(path)
        if _TELLS:
            return Home(path, last, self._open(path, name, _LOOK | os.O_DIRECTORY))
        self._check(os.path.realpath(path), name)
        return Home(path, last, None)

    def own_home(self, name: str) -> Home:
        """Like ``home``, for a file to be removed: ``Outside`` if a link to a folder leads to it, for then it has a
        name of its own as well."""
        home = self.home(name, make=False)
        above = os.path.dirname(name)
        if os.path.realpath(self.path(above)) != os.path.normpath(os.path.join(os.path.realpath(self.root), above)):
            home.close()
            raise Outside(errno.EACCES, "a link to a folder leads to this file: remove it by its own name")
        return home

    # -- listing ------------------------------------------------------------------------------------------------

    def walk(self, prefix: str, *, flat: bool) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
        """The names of all regular files that begin with ``prefix``, sorted; with ``flat``, folders are not entered,
        but named, with a slash.

        Symbolic links are followed. One that leads nowhere, or to what is no regular file, does not count; one that
        leads out of here is ``Outside`` and one that leads back to a folder above it an ``OSError``, if it were to be
        entered. What is removed meanwhile may be missing.
        """
        if not stat.S_ISDIR(os.stat(self.root).st_mode):  # one that is not there is not one that is empty
            raise NotADirectoryError(errno.ENOTDIR, "a file, not a folder", self.root)
        base, slash, start = prefix.rpartition("/")
        if slash:
            with suppress(FileNotFoundError, NotADirectoryError):
                self._check(os.path.realpath(self.path(base)), base)
        levels = [(self._level(base + slash, start), _identity(self.path(base)))]
        while levels:
            found = next(levels[-1][0], None)
            if found is None:
                levels.pop()
                continue
            name, entry = found
            if not name.endswith("/"):
                yield name, entry
            elif flat:
                yield name, None
            else:
                identity = _identity(entry.path)
                if entry.is_symlink():
                    self._check(os.path.realpath(entry.path), name)
                    if identity in (above for _, above in levels):
                        raise OSError(errno.ELOOP, "a symbolic link leads back to a folder above it", entry.path)
                levels.append((self._level(name, ""), identity))

    def _level(self, base: str, start: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """What is in one folder and begins with ``start``, folders with a slash at the end; as full names, sorted."""
        try:
            with os.scandir(self.path(base) if base else self.root) as entries:
                found = [(_sortable(entry), entry) for entry in entries if entry.name.startswith(start)]
        except (FileNotFoundError, NotADirectoryError):
            return
        found.sort(key=lambda one: one[0])
        for name, entry in found:
            if name.endswith("/") or (_is_file(entry) and not is_left_over(name)):
                yield base + name, entry


class Home:
    """A folder that was looked at, and the name of one file in it. Close it."""

    def __init__(self, path: str, name: str, descriptor: int | None) -> None:
        self._path = path
        self._name = name
        self._descriptor = descriptor

    def _at(self, name: str) -> str:
        return name if self._descriptor is not None else os.path.join(self._path, name)

    def close(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def remove(self) -> None:
        """Remove the file, or the link, of that name; ``FileNotFoundError`` if there is none."""
        try:
            os.unlink(self._at(self._name), dir_fd=self._descriptor)
        except (IsADirectoryError, PermissionError):  # the latter is what macOS and Windows say of a folder
            if stat.S_ISDIR(os.lstat(self._at(self._name), dir_fd=self._descriptor).st_mode):
                raise FileNotFoundError(errno.ENOENT, "a folder, not a file") from None
            raise

    def taken(self) -> bool:
        """Whether there is anything of that name."""
        try:
            os.lstat(self._at(self._name), dir_fd=self._descriptor)
        except FileNotFoundError:
            return False
        return True

    def draft(self) -> Draft:
        """A new file, which is to take that name."""
        mode = None
        try:
            there = os.lstat(self._at(self._name), dir_fd=self._descriptor).st_mode
        except FileNotFoundError:
            pass
        else:
            if stat.S_ISDIR(there):
                raise IsADirectoryError(errno.EISDIR, "there is a folder of this name")
            if stat.S_ISREG(there):
                mode = stat.S_IMODE(there)  # a private file stays private, also while it is being written
        draft = self._unnamed(mode) or self._named(mode)
        try:
            if mode is not None and hasattr(os, "fchmod") and stat.S_IMODE(os.fstat(draft.descriptor).st_mode) != mode:
                os.fchmod(draft.descriptor, mode)
        except BaseException:
            draft.discard()
            raise
        return draft

    def _unnamed(self, mode: int | None) -> Draft | None:
        """A file that has no name yet, and is gone when this process is killed; None where there is no such."""
        if self._descriptor is None or not hasattr(os, "O_TMPFILE"):
            return None
        try:
            flags = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
            descriptor = os.open(".", flags, _mode(mode), dir_fd=self._descriptor)
        except OSError as error:
            if error.errno in _NO_UNNAMED:
                return None
            raise
        return Draft(descriptor, None, self._name, self._descriptor, new=mode is None)

    def _named(self, mode: int | None) -> Draft:
        temporary = self._at(_temporary_name())
        descriptor = os.open(temporary, _WRITE, _mode(mode), dir_fd=self._descriptor)
        return Draft(descriptor, temporary, self._at(self._name), self._descriptor, new=False)


class Draft:
    """A file that is being written beside the one whose place it is to take, perhaps without a name of its own."""

    def __init__(self, descriptor: int, temporary: str | None, target: str, folder: int | None, *, new: bool) -> None:
        self.descriptor = descriptor
        self.size = 0
        self._temporary = temporary
        self._target = target
        self._folder = folder
        self._new = new  # there was no file of that name

    def write(self, block: bytes | memoryview) -> None:
        """The next bytes."""
        written = os.write(self.descriptor, block)
        self.size += written
        while written < len(block):  # a disk that is nearly full takes what it can; the next call says why
            block = memoryview(block)[written:]
            written = os.write(self.descriptor, block)
            self.size += written

    def copy(self, source: int, size: int) -> None:
        """Up to ``size`` bytes of another file, from where that stands, without their passing through here; fewer if
        it ends, none where the system cannot."""
        if not hasattr(os, "copy_file_range"):
            return
        while self.size < size:
            try:
                copied = os.copy_file_range(source, self.descriptor, min(size - self.size, _STRETCH))
            except OSError as error:
                if error.errno in _CANNOT_COPY:
                    return
                raise
            if not copied:
                return
            self.size += copied

    def publish(self, *, replace: bool = True) -> os.stat_result:
        """Put it where it belongs, in place of what was there; its status from then on. Without ``replace``,
        ``FileExistsError`` if there is anything, which is left alone."""
        if os.name == "nt":  # where no open file is renamed
            self._close()
        if not replace:
            self._claim()
        elif not self._linked():
            if self._temporary is None:
                temporary = _temporary_name()
                self._link(temporary)
                self._temporary = temporary
            os.replace(self._temporary, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._temporary = None
        if self.descriptor < 0:
            return os.stat(self._target)
        try:
            return os.fstat(self.descriptor)
        finally:
            self._close()

    def _linked(self) -> bool:
        """Whether it could be given its name at once, since nothing else has that."""
        if self._temporary is not None or not self._new:
            return False
        try:
            self._link(self._target)
        except FileExistsError:  # by now
            return False
        return True

    def _claim(self) -> None:
        """Give it its name if nothing else has that."""
        try:
            if self._temporary is None:
                self._link(self._target)
            elif os.name == "nt":  # where a file that is there is not replaced by renaming
                os.rename(self._temporary, self._target)
                self._temporary = None
            else:
                os.link(self._temporary, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            if error.errno in _CANNOT_LINK:
                raise OSError(
                    errno.ENOTSUP, "it has no hard links, so nothing can be stored only where there is nothing yet"
                ) from error
            raise
        if self._temporary is not None:
            os.unlink(self._temporary, dir_fd=self._folder)
            self._temporary = None

    def _link(self, name: str) -> None:
        # with a folder's descriptor Python follows the link, which is what makes a name of it: see open(2), O_TMPFILE
        os.link(f"{_OPENED}/{self.descriptor}", name, dst_dir_fd=self._folder, follow_symlinks=True)

    def discard(self) -> None:
        """Remove it, unless it was published."""
        self._close()
        if self._temporary is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary, dir_fd=self._folder)

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _make_folders(path: str) -> None:
    """Like ``os.makedirs``, which calls itself once for each folder: too often for the longest paths there can be."""
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise


def _temporary_name() -> str:
    return f".cloudfiles-{os.urandom(8).hex()}.part"  # see ``tree.is_left_over``


def _mode(mode: int | None) -> int:
    """What to make a file with: like the one it replaces, or as the user's mask has it."""
    return 0o666 if mode is None else mode & 0o777


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root if root.endswith(os.sep) else root + os.sep)


def _identity(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return None


def _sortable(entry: os.DirEntry[str]) -> str:
    """Its name, of a folder with the slash that follows in the names of what it holds."""
    try:
        return f"{entry.name}/" if entry.is_dir() else entry.name
    except OSError as error:
        _check_gone(error)
        return entry.name


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:
        _check_gone(error)
        return False


def _check_gone(error: OSError) -> None:
    """Raise unless the error says that there is no file: a listing must not lack what cannot be looked at."""
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        raise error
