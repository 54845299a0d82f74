"""One folder as a store of files: reads and writes never leave it, and a file is what it was before or complete.

What is opened is looked at after it was opened, so that no link which somebody moves in between leads elsewhere; only
where the system cannot tell what was opened, links are resolved before. Raises what the system raises, and
``Outside``. Knows no requests: ``backends.local`` does.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from threading import Lock
from typing import NamedTuple

from .encoded import archive_names, is_kept_name, kept_name, kept_names, listed_name
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


_Others = dict[str, tuple[int, ...]]
"""Files by what they are called on disk, each with what tells its version from others."""

# Two writers of this process must not each make way for the other's file.
_giving_way = Lock()


def _forget() -> None:
    global _giving_way
    _giving_way = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Outside(PermissionError):
    """A symbolic link leads out of the folder, or to where it must not."""


class Archived(FileExistsError):
    """There is no file of a name, but an archive (``filename``) that is read by it."""

    def __init__(self, archive: str) -> None:
        super().__init__(errno.EEXIST, "only an archive of it is there", archive)


class Found(NamedTuple):
    """A file that was opened: its descriptor, the name that listings have of it, and what its name on disk says that it
    is encoded with."""

    descriptor: int
    name: str
    codec: str | None


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

    def open(self, name: str) -> Found:
        """A regular file, to read from; ``FileNotFoundError`` if there is none of this name."""
        return self._find(name, _READ)  # does not wait if it is a pipe

    def look(self, name: str) -> Found:
        """Like ``open``, for what may not be read: tells its status and attributes only, where there is such."""
        return self._find(name, _LOOK if _TELLS else _READ)

    def _find(self, name: str, flags: int) -> Found:
        missing = FileNotFoundError(errno.ENOENT, "no file, but how one that is encoded is kept", name)
        if is_kept_name(name):
            raise missing
        for kept, codec in self._ways(name):
            try:
                descriptor = self._open_regular(kept, name, flags)
            except FileNotFoundError as error:
                missing = error
            else:
                return Found(descriptor, listed_name(kept)[0], codec)
        raise missing

    def _ways(self, name: str) -> Iterator[tuple[str, str | None]]:
        """What the file of a name may be called on disk, and is encoded with then; the first that is there is it."""
        yield name, None
        kept = kept_names(name)
        yield from self._there(kept)
        yield name, None  # all of it once more: since the first look a writer may have kept it otherwise
        yield from self._there(kept)
        if not os.path.lexists(self.path(name)):  # else a folder, say, has the name
            yield from self._there(archive_names(name))

    def _there(self, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        return ((kept, codec) for kept, codec in names.items() if os.access(self.path(kept), os.F_OK))

    def lists(self, name: str) -> bool:
        """Whether a name is spelt as it is on disk; on some, other spellings lead to the same file."""
        above = self.root
        for part in name.split("/"):
            if part not in os.listdir(above):
                return False
            above = os.path.join(above, part)
        return True

    def _open_regular(self, kept: str, name: str, flags: int) -> int:
        descriptor = self._open(self.path(kept), name, flags)
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

    # -- folders ------------------------------------------------------------------------------------------------

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of this name ("" is all of it); a link that leads out of here is ``Outside``."""
        path = self.path(name)
        if not os.path.isdir(path):
            return False
        self._check(os.path.realpath(path), name)
        return True

    def make_folder(self, name: str) -> None:
        """Make a folder, and those it is in, where they are not there."""
        path = self.path(name)
        self._check(os.path.realpath(path), name)  # before anything is made
        _make_folders(path)

    def remove_folder(self, name: str) -> None:
        """Remove a folder and the folders in it that hold nothing else; never a file, and no link is followed. What it
        holds besides is an ``OSError``."""
        self.own_home(name).close()
        path = self.path(name)
        if os.path.islink(path):
            raise Outside(errno.EACCES, "a link to a folder: what it leads to is removed by its own name")
        for folder, _, _ in os.walk(path, topdown=False):
            if folder != path:
                with suppress(OSError):
                    os.rmdir(folder)
        os.rmdir(path)

    # -- listing ------------------------------------------------------------------------------------------------

    def walk(self, prefix: str, *, flat: bool) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
        """The names of all regular files that begin with ``prefix``, sorted; with ``flat``, folders are not entered,
        but named, with a slash. Files that are encoded have the names that they were given.

        Symbolic links are followed. One that leads nowhere, or to what is no regular file, does not count; one that
        leads out of here is ``Outside`` and one that leads back to a folder above it an ``OSError``, if it were to be
        entered. What is removed meanwhile may be missing.
        """
        if not stat.S_ISDIR(os.stat(self.root).st_mode):  # one that is not there is not one that is empty
            raise NotADirectoryError(errno.ENOTDIR, "a file, not a folder", self.root)
        base, slash, start = prefix.rpartition("/")
        if slash:
            if not {"", ".", ".."}.isdisjoint(base.split("/")):
                return  # no name begins so, whatever the system makes of it
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
                found = [one for entry in entries if (one := (*_sortable(entry), entry))[0].startswith(start)]
        except (FileNotFoundError, NotADirectoryError):
            return
        found.sort(key=lambda one: one[:2])
        before = ""  # of several files of one name the first counts
        for name, _, entry in found:
            if name != before and (name.endswith("/") or (_is_file(entry) and not is_left_over(name))):
                before = name
                yield base + name, entry


class Home:
    """A folder that was looked at, and the name of one file in it. Close it."""

    def __init__(self, path: str, name: str, descriptor: int | None) -> None:
        self._path = path
        self.name = name
        self.descriptor = descriptor

    def at(self, name: str) -> str:
        """What to call a file of it together with ``descriptor``."""
        return name if self.descriptor is not None else os.path.join(self._path, name)

    def close(self) -> None:
        """Let go of it."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def remove(self) -> None:
        """Remove the file, or the link, of that name, also if it is kept as an encoded one; ``FileNotFoundError`` if
        there is none, or ``Archived``."""
        if is_kept_name(self.name):
            raise FileNotFoundError(errno.ENOENT, "no file, but how one that is encoded is kept")
        removed = False
        for name in (*reversed(kept_names(self.name)), self.name):  # those that another one hides go before it
            if name == self.name or self._there(name):
                with suppress(FileNotFoundError):
                    self.unlink(name)
                    removed = True
        if not removed:
            if self._status(self.name) is None and (there := [*filter(self._there, archive_names(self.name))]):
                raise Archived(there[0])
            raise FileNotFoundError(errno.ENOENT, "no such file")

    def unlink(self, name: str) -> None:
        """Remove what is called so on disk."""
        try:
            os.unlink(self.at(name), dir_fd=self.descriptor)
        except (IsADirectoryError, PermissionError):  # the latter is what macOS and Windows say of a folder
            if stat.S_ISDIR(os.lstat(self.at(name), dir_fd=self.descriptor).st_mode):
                raise FileNotFoundError(errno.ENOENT, "a folder, not a file") from None
            raise

    def taken(self) -> bool:
        """Whether there is anything of that name, however it is kept."""
        return self._status(self.name) is not None or bool(self.others(self.name))

    def _there(self, name: str) -> bool:
        return os.access(self.at(name), os.F_OK, dir_fd=self.descriptor, follow_symlinks=True)

    def others(self, kept: str) -> _Others:
        """The files on disk that have the same name for their users as ``kept``, which is one way to keep it."""
        found = {}
        for name in (self.name, *kept_names(self.name)):
            if name != kept and self._there(name) and (there := self._status(name)) is not None:
                found[name] = _version(there)
        return found

    def give_way(self, others: _Others) -> None:
        """Remove these, as far as they are still what they were."""
        for name, version in others.items():
            there = self._status(name)
            if there is not None and _version(there) == version:
                with suppress(FileNotFoundError):
                    self.unlink(name)

    def draft(self) -> Draft:
        """A new file, which is to take that name."""
        there = self._status(self.name)
        others: _Others = {}
        if there is None and not keeps_attributes(self._path):  # else what is called otherwise was made elsewhere, and
            others = self.others(self.name)  # is hidden from now on, or already
        if others:
            there = self._status(next(iter(others)))
        mode = None
        if there is not None:
            if stat.S_ISDIR(there.st_mode):
                raise IsADirectoryError(errno.EISDIR, "there is a folder of this name")
            if stat.S_ISREG(there.st_mode):
                mode = stat.S_IMODE(there.st_mode)  # a private file stays private, also while it is being written
        draft = self._unnamed(mode, others) or self._named(mode, others)
        try:
            if mode is not None and hasattr(os, "fchmod") and stat.S_IMODE(os.fstat(draft.descriptor).st_mode) != mode:
                os.fchmod(draft.descriptor, mode)
        except BaseException:
            draft.discard()
            raise
        return draft

    def _status(self, name: str) -> os.stat_result | None:
        with suppress(FileNotFoundError):
            return os.lstat(self.at(name), dir_fd=self.descriptor)
        return None

    def _unnamed(self, mode: int | None, others: _Others) -> Draft | None:
        """A file that has no name yet, and is gone when this process is killed; None where there is no such."""
        if self.descriptor is None or not hasattr(os, "O_TMPFILE"):
            return None
        try:
            flags = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
            descriptor = os.open(".", flags, _mode(mode), dir_fd=self.descriptor)
        except OSError as error:
            if error.errno in _NO_UNNAMED:
                return None
            raise
        return Draft(self, descriptor, None, others, new=mode is None)

    def _named(self, mode: int | None, others: _Others) -> Draft:
        temporary = self.at(_temporary_name())
        descriptor = os.open(temporary, _WRITE, _mode(mode), dir_fd=self.descriptor)
        return Draft(self, descriptor, temporary, others, new=False)


class Draft:
    """A file that is being written beside the one whose place it is to take, perhaps without a name of its own."""

    def __init__(self, home: Home, descriptor: int, temporary: str | None, others: _Others, *, new: bool) -> None:
        self.descriptor = descriptor
        self.size = 0
        self._home = home
        self._temporary = temporary
        self._name = home.name  # on disk
        self._others: _Others | None = others  # that it takes the place of as well
        self._new = new  # there was no file of that name

    def keep_codec(self, codec: str) -> None:
        """Have it tell by its name on disk that it is encoded."""
        self._name = kept_name(self._home.name, codec)
        self._others = None  # to be looked for
        self._new = False

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
        if not replace:
            with _giving_way:
                if self._home.others(self._name):
                    raise FileExistsError(errno.EEXIST, "there is a file of that name, which is kept otherwise")
                return self._publish(replace=False)
        others = self._home.others(self._name) if self._others is None else self._others
        if not others:
            return self._publish(replace=True)
        with _giving_way:
            # There are two files of one name for a moment, of which readers take the old or the new one.
            published = self._publish(replace=True)
            self._home.give_way(others)
        return published

    def _publish(self, *, replace: bool) -> os.stat_result:
        folder, target = self._home.descriptor, self._home.at(self._name)
        if os.name == "nt":  # where no open file is renamed
            self._close()
        if not replace:
            self._claim()
        elif not self._linked():
            if self._temporary is None:
                temporary = _temporary_name()
                self._link(temporary)
                self._temporary = temporary
            os.replace(self._temporary, target, src_dir_fd=folder, dst_dir_fd=folder)
            self._temporary = None
        if self.descriptor < 0:
            return os.stat(target)
        try:
            return os.fstat(self.descriptor)
        finally:
            self._close()

    def _linked(self) -> bool:
        """Whether it could be given its name at once, since nothing else has that."""
        if self._temporary is not None or not self._new:
            return False
        try:
            self._link(self._home.at(self._name))
        except FileExistsError:  # by now
            return False
        return True

    def _claim(self) -> None:
        """Give it its name if nothing else has that."""
        folder, target = self._home.descriptor, self._home.at(self._name)
        try:
            if self._temporary is None:
                self._link(target)
            elif os.name == "nt":  # where a file that is there is not replaced by renaming
                os.rename(self._temporary, target)
                self._temporary = None
            else:
                os.link(self._temporary, target, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            if error.errno in _CANNOT_LINK:
                raise OSError(
                    errno.ENOTSUP, "it has no hard links, so nothing can be stored only where there is nothing yet"
                ) from error
            raise
        if self._temporary is not None:
            os.unlink(self._temporary, dir_fd=folder)
            self._temporary = None

    def _link(self, name: str) -> None:
        # with a folder's descriptor Python follows the link, which is what makes a name of it: see open(2), O_TMPFILE
        os.link(f"{_OPENED}/{self.descriptor}", name, dst_dir_fd=self._home.descriptor, follow_symlinks=True)

    def discard(self) -> None:
        """Remove it, unless it was published."""
        self._close()
        if self._temporary is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary, dir_fd=self._home.descriptor)

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def keeps_attributes(path: str) -> bool:
    """Whether the file system keeps attributes of a file or folder, so that no name has to tell an encoding."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        os.getxattr(path, "user.content-encoding")
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


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


def _sortable(entry: os.DirEntry[str]) -> tuple[str, int]:
    """Its name, of a folder with the slash that follows in the names of what it holds; and its place among those of the
    same name."""
    try:
        return (f"{entry.name}/", 0) if entry.is_dir() else listed_name(entry.name)
    except OSError as error:
        _check_gone(error)
        return listed_name(entry.name)


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
