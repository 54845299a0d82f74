"""``copy_to`` and ``move_to`` between any two mounts, and ``same_content``.

What is to be copied is found by one listing of the source, what is there already by one of the destination; the rest is
one call of ``ArtifactFiles.transfer_to`` or ``moves``, which move many files at once and have the store make the copies
where it can. Nothing is done before all of that is known, and nothing at all where the two places overlap.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, cast

from ..content.digests import md5_told
from ..errors import ArtifactNotFound, BatchError, CommitError, StorageError, StorageNotFoundError, storage_error
from ..files import ArtifactFiles
from ..models import ObjectInfo
from ..plan.globs import compiled
from ..plan.sync import same_digest
from ..results import CopyResult
from .contents import blocks_of, contents, in_blocks, in_ranges, md5_of_blocks
from .mount import Mount
from .node import SyncNode
from .steps import Steps, do

if TYPE_CHECKING:
    from typing_extensions import Self


class SkipStrategy(str, Enum):
    """Which files that are there already are left alone: none, all, those of the same size, or of the same content, or
    as a function of the caller's says."""

    NEVER = "never"
    EXISTS = "exists"
    SIZE = "size"
    HASH = "hash"
    CUSTOM = "custom"


Skip = SkipStrategy | Literal["never", "exists", "size", "hash", "custom"]
Globs = str | Iterable[str] | None


@dataclass(slots=True)
class Choice:
    """What a caller said of what is to be copied, and whom to tell."""

    include: Globs = None
    exclude: Globs = None
    filter: Callable[[SyncNode, str], object] | None = None
    skip: Skip = "never"
    skip_fn: Callable[[SyncNode, SyncNode], object] | None = None
    progress: Callable[[int, int], object] | None = None
    on_file: Callable[[SyncNode], object] | None = None
    on_skip: Callable[[SyncNode, str], object] | None = None

    def __post_init__(self) -> None:
        try:
            self.skip = SkipStrategy(self.skip)
        except ValueError:
            names = ", ".join(repr(each.value) for each in SkipStrategy)
            raise ValueError(f"skip={self.skip!r}: choose one of {names}") from None
        if (self.skip is SkipStrategy.CUSTOM) != (self.skip_fn is not None):
            raise ValueError("skip='custom' and skip_fn go together: a function of the source's node and the other's")
        self._included, self._excluded = _patterns(self.include), _patterns(self.exclude)

    _included: list[Callable[[str], object]] | None = None
    _excluded: list[Callable[[str], object]] | None = None

    @property
    def narrow(self) -> bool:
        """Whether some files may be left out."""
        return not (self.include is None and self.exclude is None and self.filter is None)

    def left_out(self, item: _Item) -> str | None:
        """Why this file is not wanted; None if it is."""
        if self._included is not None and not any(match(item.relative) for match in self._included):
            return "not matched by include"
        if any(match(item.relative) for match in self._excluded or ()):
            return "matched by exclude"
        if self.filter is not None and not self.filter(item.node, item.relative):
            return "left out by filter"
        return None

    def tell_skipped(self, item: _Item, reason: str) -> None:
        """Tell the caller, who may want to know."""
        if self.on_skip is not None:
            self.on_skip(item.node, reason)


def _patterns(globs: Globs) -> list[Callable[[str], object]] | None:
    """Globs of the path below the source; one without a slash is of the last part of it."""
    if globs is None:
        return None
    return [_matcher(glob) for glob in ([globs] if isinstance(globs, str) else globs)]


def _matcher(glob: str) -> Callable[[str], object]:
    match = compiled(glob).fullmatch
    return match if "/" in glob else lambda name: match(name.rpartition("/")[2])


class Listed(SyncNode):
    """A node of which a listing has told, so that its size and time need not be asked for."""

    def __init__(self, mount: Mount, path: str, info: ObjectInfo, version: int | str | None = None) -> None:
        super().__init__(mount, path, version)
        self.listed = info

    def _at(self, path: str) -> Self:
        return cast("Self", SyncNode(self._mount, path))

    def _info(self) -> Steps[ObjectInfo | None]:
        if self.listed.size is not None and self.listed.last_modified is not None:
            self._check("read")
            return self.listed
        return (yield from super()._info())


@dataclass(slots=True)
class _Item:
    """One file: its path below the source, its node, and the node that it is copied to."""

    relative: str
    node: Listed
    target: SyncNode


class _Bar:
    """Tells a caller how many are done, and how many there are."""

    def __init__(self, tell: Callable[[int, int], object] | None, total: int) -> None:
        self._tell = tell
        self._total = total
        self._done = 0

    def update(self, count: int, /) -> None:
        """So many more."""
        for _ in range(count):
            self._done += 1
            if self._tell is not None:
                self._tell(self._done, self._total)


# -- copying and moving -------------------------------------------------------------------------------------------


def carry(source: SyncNode, dest: SyncNode, choice: Choice, *, moving: bool) -> SyncNode:
    """Copy or move a file or folder; the node of what it is then."""
    if not isinstance(dest, SyncNode):
        raise TypeError(f"the destination is a node, as manager.node('mount:path') gives it, not {dest!r:.60}")
    source._check("read")
    if moving:
        source._check("delete")
    dest._check("write")
    info = do(source._info())
    if info is None and source.version is not None:
        raise StorageNotFoundError("there is no such version", path=source.fullpath)
    if info is None:
        _carry_folder(source, dest, choice, moving)
        return dest
    if not dest.path or _is_folder(dest):
        dest = dest.child(source.basename)
    if source.version is None:  # else it is not what is there now, which it may take the place of
        _check_apart(source, dest, within=False)
    item = _Item(source.basename, Listed(source.mount, source.path, info, source.version), dest)
    if reason := choice.left_out(item):
        choice.tell_skipped(item, reason)
    elif source.version is not None:
        _copy_version(item, choice)
    else:
        _carry_items([item], choice, source, dest, moving, _there_alone)
    return dest


def _is_folder(dest: SyncNode) -> bool:
    with _about(dest):
        try:
            return dest._is_folder()
        except ArtifactNotFound:
            return False  # it may be about to be made


@contextmanager
def _about(node: SyncNode) -> Iterator[None]:
    """Have errors name this node."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(error, node.fullpath) from error


def _carry_folder(source: SyncNode, dest: SyncNode, choice: Choice, moving: bool) -> None:
    if dest.path and do(dest._is_file()):
        raise storage_error(FileExistsError("this is a file, which a folder cannot take the place of"), dest.fullpath)
    _check_apart(source, dest, within=True)
    items = [_Item(relative, node, dest.child(relative)) for relative, node in listed(source)]
    if not items and not source._is_folder():
        raise StorageNotFoundError("no such file or folder", path=source.fullpath)
    _check_links(source, dest, items)
    wanted = []
    for item in items:
        if reason := choice.left_out(item):
            choice.tell_skipped(item, reason)
        else:
            wanted.append(item)
    complete = _carry_items(wanted, choice, source, dest, moving, _there_below) if wanted else True
    if not choice.narrow:
        with _about(dest):
            _carry_empty_folders(source, dest, items)
        if moving and complete and source.path and source.mount.backend.can.folders:
            source.mount.backend.remove_folder(source._name)


def listed(folder: SyncNode) -> list[tuple[str, Listed]]:
    """All files of a folder, by one listing; each with its path below it."""
    skip, below = len(folder._folder), len(folder.mount.prefix)
    return [
        (info.path[skip:], Listed(folder.mount, info.path[below:], info))
        for info in folder.mount.files.scan(folder._folder)
        if not info.path.endswith("/")  # what some programs leave in a bucket for a folder
    ]


def _carry_items(
    items: list[_Item],
    choice: Choice,
    source: SyncNode,
    dest: SyncNode,
    moving: bool,
    look: Callable[[SyncNode, _Item], dict[str, ObjectInfo]],
) -> bool:
    """Copy what is not skipped, all at once; whether none was skipped. Raises what failed, after all others."""
    bar = _Bar(choice.progress, len(items))
    reasons: dict[int, str] = {}
    if choice.skip is not SkipStrategy.NEVER:
        with _about(dest):
            there = look(dest, items[0])
        reasons = _skipped(items, choice, source.mount.files, dest.mount.files, there)
        for number in sorted(reasons):
            choice.tell_skipped(items[number], reasons[number])
            bar.update(1)
    wanted = [item for number, item in enumerate(items) if number not in reasons]
    if not wanted:
        return False
    pairs = [(item.node._name, item.target._name) for item in wanted]
    files, others = source.mount.files, dest.mount.files
    shown = bar if choice.progress is not None else None
    try:
        if moving:
            results = files.moves(pairs, others, raise_errors=False, progress=shown)
        else:
            results = files.transfer_to(others, pairs, raise_errors=False, progress=shown)
    except CommitError as error:
        _name(wanted, cast("list[CopyResult]", error.results))
        raise storage_error(error, dest.fullpath) from error
    failed = _name(wanted, results)
    problem: Exception | None = None
    if failed:
        problem = failed[0]
        if len(items) > 1:
            problem = storage_error(BatchError.from_results("move" if moving else "copy", results), source.fullpath)
    try:
        if choice.on_file is not None:
            for item, result in zip(wanted, results, strict=True):
                if result["error"] is None:
                    choice.on_file(item.node)
    except Exception as raised:
        if problem is not None:  # which is not to be lost
            raise problem from raised
        raise
    if problem is not None:
        raise problem
    return not reasons


def _name(items: list[_Item], results: list[CopyResult]) -> list[Exception]:
    """Have results, and their errors, speak of nodes; the errors."""
    failed: list[Exception] = []
    for item, result in zip(items, results, strict=True):
        result["path"], result["target"] = item.node.fullpath, item.target.fullpath
        error = result["error"]
        if isinstance(error, OSError):
            named = storage_error(error, item.node.fullpath)
            named.args = (f"{named.args[0]} (it was to go to {item.target.fullpath})",)
            named.__cause__ = error
            result["error"] = error = named
        if error is not None:
            failed.append(error)
    return failed


def _carry_empty_folders(source: SyncNode, dest: SyncNode, items: list[_Item]) -> None:
    """Make those folders that hold no file, where both places have such."""
    if not (source.mount.backend.can.folders and dest.mount.backend.can.folders):
        return
    filled = {""}
    for item in items:
        folder = item.relative.rpartition("/")[0]
        while folder not in filled:
            filled.add(folder)
            folder = folder.rpartition("/")[0]
    if not items:
        dest.mount.backend.make_folder(dest._name)
    folders = [""]
    for above in folders:  # grows meanwhile
        for name in source.mount.files.list(source._folder + (above and f"{above}/"), flat=True):
            if name.endswith("/"):
                folder = name[len(source._folder) :].rstrip("/")
                folders.append(folder)
                if folder not in filled:
                    dest.mount.backend.make_folder(dest.child(folder)._name)


def _copy_version(item: _Item, choice: Choice) -> None:
    """Copy a version that may be past, which is read as a stream."""
    if choice.skip not in (SkipStrategy.NEVER, SkipStrategy.EXISTS):
        raise ValueError(f"skip={SkipStrategy(choice.skip).value!r}: a version is copied, or left if a file is there")
    bar = _Bar(choice.progress, 1)
    if choice.skip is SkipStrategy.EXISTS and _there_alone(item.target, item):
        choice.tell_skipped(item, "destination exists")
        bar.update(1)
        return
    with item.node.open("rb") as file:
        item.target.mount.files.put(item.target._name, blocks_of(file))
    bar.update(1)
    if choice.on_file is not None:
        choice.on_file(item.node)


# -- places that overlap ------------------------------------------------------------------------------------------


def _place(node: SyncNode) -> tuple[object, str]:
    """What two nodes have in common that are of the same files, and where in that it is."""
    side = node.mount.files._side()
    path = side.path + node._name
    return side.place, os.path.realpath(path) if node.mount.scheme == "file" else path


def _check_apart(source: SyncNode, dest: SyncNode, *, within: bool) -> None:
    """Refuse a copy of a place onto itself and, of folders, into one another."""
    (place, here), (other, there) = _place(source), _place(dest)
    if place != other:
        return
    inside = _is_inside if source.mount.scheme == "file" else _begins
    if inside(here, there) and inside(there, here):
        raise ValueError(f"{source.fullpath} and {dest.fullpath}: these are the same place")
    if within and (inside(here, there) or inside(there, here)):
        raise ValueError(f"{source.fullpath} and {dest.fullpath}: one of them is inside of the other")


def _begins(inner: str, outer: str) -> bool:
    return not outer or inner == outer or inner.startswith(f"{outer.rstrip('/')}/")


def _is_inside(inner: str, outer: str) -> bool:
    """Whether a path is another one, or below it, however they are written."""
    while True:
        if inner == outer:
            return True
        try:
            if os.path.samefile(inner, outer):
                return True
        except OSError:  # one of them is not there yet
            pass
        above = os.path.dirname(inner)
        if above == inner:
            return False
        inner = above


def _check_links(source: SyncNode, dest: SyncNode, items: list[_Item]) -> None:
    """Refuse folders that symbolic links in one of the two places have lie in the other."""
    (place, here), (other, there) = _place(source), _place(dest)
    if place != other or source.mount.scheme != "file":
        return
    for folder in {item.relative.rpartition("/")[0] for item in items}:
        read, written = (os.path.realpath(os.path.join(root, folder)) for root in (here, there))
        if _is_inside(written, here) or _is_inside(read, there):
            raise ValueError(
                f"{source.fullpath} and {dest.fullpath}: a symbolic link has {folder!r} of one lie inside of the other"
            )


# -- what is there already ----------------------------------------------------------------------------------------


def _there_below(dest: SyncNode, item: _Item) -> dict[str, ObjectInfo]:
    """What the destination has, as the next write finds it, by name; by one listing."""
    files = dest.mount.files
    try:
        backend = files._as_written()
    except ArtifactNotFound:
        return {}  # it may be about to be made
    skip = len(files._prefix)
    found = backend.scan(files._prefix + dest._folder, control=files._control(looking=True))
    return {info.path[skip:]: info for info in found}


def _there_alone(dest: SyncNode, item: _Item) -> dict[str, ObjectInfo]:
    """The same of one file."""
    files, name = dest.mount.files, item.target._name
    if _is_staged(files):
        return {path: info for path, info in _there_below(dest.parent, item).items() if path == name}
    info = do(item.target._info())
    return {} if info is None or not info.path.endswith(name) else {name: info}


def _is_staged(files: ArtifactFiles) -> bool:
    try:
        return files._as_written() is not files._backend
    except ArtifactNotFound:
        return False


def _skipped(
    items: list[_Item], choice: Choice, files: ArtifactFiles, others: ArtifactFiles, there: dict[str, ObjectInfo]
) -> dict[int, str]:
    """Why each of those that are to be left alone is, by its number."""
    both = [(number, item, there[item.target._name]) for number, item in enumerate(items) if item.target._name in there]
    if choice.skip is SkipStrategy.EXISTS:
        return {number: "destination exists" for number, _, _ in both}
    if choice.skip is SkipStrategy.CUSTOM and choice.skip_fn is not None:
        skip = choice.skip_fn
        return {
            number: "custom skip function"
            for number, item, info in both
            if skip(item.node, Listed(item.target.mount, item.target.path, info))
        }
    known = _with_sizes(files, [(item.node._name, item.node.listed) for _, item, _ in both])
    their = _with_sizes(others, [(item.target._name, info) for _, item, info in both])
    of_size = [
        (number, one, other)
        for (number, _, _), one, other in zip(both, known, their, strict=True)
        if one[1].size is not None and one[1].size == other[1].size
    ]
    if choice.skip is SkipStrategy.SIZE:
        return {number: f"same size ({one[1].size} bytes)" for number, one, _ in of_size}
    same = _of_same_content(files, others, [(one, other) for _, one, other in of_size])
    return {number: "same content" for (number, _, _), equal in zip(of_size, same, strict=True) if equal}


Known = tuple[str, ObjectInfo]


def _with_sizes(files: ArtifactFiles, several: list[Known]) -> list[Known]:
    """What a listing gave no size of is asked for, all at once."""
    unknown = [name for name, info in several if info.size is None]
    found = files.head(unknown) if unknown else {}
    return [(name, found.get(name, info)) for name, info in several]


def _of_same_content(
    files: ArtifactFiles, others: ArtifactFiles, pairs: list[tuple[Known, Known]]
) -> list[bool | None]:
    """Whether what is stored of each two, which are of the same size, is the same: by digests that are known, else by
    those of what is read; None where it cannot be read as the next write finds it."""
    verdicts = [_by_digests(files, others, one[1], other[1]) for one, other in pairs]
    if _is_staged(others):
        return verdicts
    undecided = [number for number, verdict in enumerate(verdicts) if verdict is None]
    mine = _md5s(files, [pairs[number][0] for number in undecided])
    theirs = _md5s(others, [pairs[number][1] for number in undecided])
    for number, one, other in zip(undecided, mine, theirs, strict=True):
        verdicts[number] = one == other
    return verdicts


def _by_digests(files: ArtifactFiles, others: ArtifactFiles, one: ObjectInfo, other: ObjectInfo) -> bool | None:
    if one.compress != other.compress:
        return False  # also where only one listing tells: it is copied once more than needed
    compare = files._backend.can.s3_etags and others._backend.can.s3_etags
    return same_digest(one, other) if compare else None


def _md5s(files: ArtifactFiles, several: list[Known]) -> list[str]:
    """The MD5 of each as it is stored: by its ETag where that is it, else of what is read, in batches."""
    known = files._backend.can.s3_etags
    found = [md5_told(info) if known else None for _, info in several]
    missing = [number for number, digest in enumerate(found) if digest is None]
    read = contents(files, (several[number] for number in missing), raw=True)
    for number, (_, blocks) in zip(missing, read, strict=True):
        found[number] = md5_of_blocks(blocks)
    return cast("list[str]", found)


def same_content(one: SyncNode, other: SyncNode) -> bool:
    """Whether two files have the same content."""
    if not isinstance(other, SyncNode):
        raise TypeError(f"content is compared with that of a node, not with {other!r:.60}")
    here, there = do(one._known()), do(other._known())
    files, others = one.mount.files, other.mount.files
    plain = here.compress is None and there.compress is None
    if plain and None not in (here.size, there.size) and here.size != there.size:
        return False
    if one.version is None and other.version is None:
        verdict = _by_digests(files, others, here, there)
        if verdict or (verdict is False and plain):
            return verdict
        if plain and here.size is not None and there.size is not None:
            return _same_blocks(in_ranges(files, one._name, here), in_ranges(others, other._name, there))
        return _same_blocks(in_blocks(files, one._name), in_blocks(others, other._name))
    with one.open("rb") as mine, other.open("rb") as theirs:
        return _same_blocks(blocks_of(mine), blocks_of(theirs))


def _same_blocks(one: Iterator[bytes], other: Iterator[bytes]) -> bool:
    return all(mine == theirs for mine, theirs in zip_longest(one, other))
