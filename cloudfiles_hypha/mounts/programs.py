"""``local_path`` and ``call``: files of any store for programs that know only files on the disk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..engine.calls import in_thread
from ..engine.pool import AMBIENT, Cancellation
from ..errors import (
    Cancelled,
    ObjectNotFound,
    PreconditionFailed,
    StorageError,
    StorageNotFoundError,
    StoragePermissionError,
    TransferError,
    storage_error,
)
from .node import SyncNode
from .steps import do

PathMode = Literal["r", "w", "rw"]

# Bytes up to which a file is compared by its content to tell whether it was changed; a larger one by its times.
_COMPARED = 8 * 1024 * 1024
_BLOCK = 1024 * 1024
# Seconds after which a call that reads what a program writes looks whether it was given up.
_LOOK_AGAIN = 0.2
_GIVEN_UP = "the program was ended, as the call was given up"


# -- a path for a program -----------------------------------------------------------------------------------------


@contextmanager
def local_path(node: SyncNode, mode: PathMode) -> Iterator[str]:
    """Where a file is on the disk, or stands for the time of the block; see ``SyncNode.local_path``."""
    with _local(node, mode) as (path, store):
        yield path
        store()


@contextmanager
def _local(node: SyncNode, mode: PathMode) -> Iterator[tuple[str, Callable[[], None]]]:
    """Likewise, with what stores the changes."""
    if mode not in ("r", "w", "rw"):
        raise ValueError(f"mode={mode!r}: choose 'r' (read), 'w' (write) or 'rw' (both)")
    if "r" in mode:
        node._check_file("read")
    if "w" in mode:
        node._check_file("write")
    own = _own_path(node, mode)
    if own is not None:
        yield own, _nothing
        return
    with tempfile.TemporaryDirectory(prefix="cloudfiles-hypha-path-") as folder:
        path = Path(folder, node.basename)
        before = _fetch(node, path, mode) if "r" in mode else None
        seen = _signature(path)

        def store() -> None:
            try:
                _store(node, path, mode, before, seen)
            except Cancelled:
                raise
            except Exception as error:
                if path.exists():
                    _kept(error, path)
                raise

        yield str(path), store if "w" in mode else _nothing


def _nothing() -> None:
    """What was read only, or is in its place already."""


def _kept(error: Exception, path: Path) -> None:
    """Keep what could not be stored, for somebody may have worked on it for days; the error says where."""
    kept = Path(tempfile.mkdtemp(prefix="cloudfiles-hypha-kept-"), path.name)
    os.replace(path, kept)
    message = error.args[0] if isinstance(error, TransferError) and error.args else error
    error.args = (f"{message}; what was to be stored is kept as {str(kept)!r}",)


def _own_path(node: SyncNode, mode: PathMode) -> str | None:
    """The path of a local file itself; None where it is none, or its bytes are not its content."""
    mount = node.mount
    if mount.scheme != "file" or node.version is not None:
        return None
    info = do(node._info())  # also refuses links that lead out, if there is something
    path = mount.files._side().path + node._name
    if info is None:
        if mode == "r":
            if not node._is_folder():
                raise StorageNotFoundError("no such file", path=node.fullpath)
        elif not node._is_folder():
            try:
                mount.backend.make_folder(node.parent._name)
            except OSError as error:
                raise storage_error(error, node.fullpath) from error
            if os.path.islink(path):
                raise StoragePermissionError(
                    "a symbolic link has this name and leads to nothing, or out; remove it first", path=node.fullpath
                )
    elif info.compress is not None or not info.path.endswith(node._name):
        return None
    return path


Before = dict[str, Any]


def _fetch(node: SyncNode, path: Path, mode: PathMode) -> Before | None:
    """Download the file; what is known of it, None if it is not there, and need not be."""
    if node.version is not None:
        with node.open("rb") as file, open(path, "xb") as local:
            while block := file.read(_BLOCK):
                local.write(block)
        return None
    try:
        return dict(node.mount.files.download(node._name, path))
    except ObjectNotFound as error:
        if mode == "r":
            raise StorageNotFoundError("no such file", path=node.fullpath) from error
        return None
    except OSError as error:
        raise storage_error(error, node.fullpath) from error


def _signature(path: Path) -> tuple[object, ...] | None:
    """What changes when the file does; None if it is not there."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    if about.st_size <= _COMPARED:
        return about.st_size, hashlib.blake2b(path.read_bytes()).digest()
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino


def _store(node: SyncNode, path: Path, mode: PathMode, before: Before | None, seen: tuple[object, ...] | None) -> None:
    """Upload what the block has left, if it has changed it, and nobody else has changed the file."""
    now = _signature(path)
    if now is None:
        if mode == "w":
            raise StorageError("nothing was written to its local path, so nothing is stored", path=node.fullpath)
        if seen is not None:
            raise StorageError("its local path was removed; the file is kept as it was", path=node.fullpath)
        return
    if mode == "rw" and now == seen:
        return
    files = node.mount.files
    can = files._backend.can.conditions
    kept: dict[str, Any] = {}
    if mode == "rw":
        if before is None:
            if "new" in can:
                kept["overwrite"] = "never"
            else:
                _check_same(node, None)
        else:
            if "pinned" in can and before["etag"]:
                kept["if_match"] = before["etag"]
            else:
                _check_same(node, before["etag"])
            kept.update(files._kept(node._name, before, files._backend))
    try:
        files.put(node._name, path, **kept)
    except OSError as error:
        raise storage_error(error, node.fullpath) from error


def _check_same(node: SyncNode, etag: str | None) -> None:
    """Where the store cannot look in the moment of the write, directly before it."""
    info = do(node._info())
    if (None if info is None else info.etag) != etag:
        changed = PreconditionFailed("somebody else has changed it meanwhile, so what was made of it is not stored")
        raise storage_error(changed, node.fullpath)


# -- programs -----------------------------------------------------------------------------------------------------


class Running(Future[str | None]):
    """A program that runs: ``result()`` waits for its end, and raises what went wrong. Where nobody asks, a failure is
    a ``RuntimeWarning``."""

    _asked = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def result(self, timeout: float | None = None) -> str | None:
        """What it wrote, if that was asked for; see ``call``."""
        self._asked = True
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What went wrong, None if nothing did."""
        self._asked = True
        return super().exception(timeout)

    def __await__(self) -> Generator[Any, None, str | None]:
        import asyncio

        self._asked = True
        return asyncio.wrap_future(self).__await__()

    def __del__(self) -> None:
        if not self._asked and self.done() and not self.cancelled() and (error := super().exception()) is not None:
            warnings.warn(f"{self._name}: failed, and nobody asked: {error}", RuntimeWarning, stacklevel=2, source=self)


def run(
    args: tuple[Any, ...],
    callback: Callable[[], object] | None,
    async_mode: bool,
    return_output: bool,
    options: dict[str, Any],
) -> Any:
    """Run a program on local files; see ``SyncNode.call``."""
    if not args:
        raise TypeError("which program? Its name comes first")
    if options.get("shell") and (len(args) > 1 or not isinstance(args[0], str)):
        raise ValueError(
            "shell=True takes one string, which the shell takes apart; with nodes, or several arguments, leave it out"
        )
    work = partial(_run, args, callback, return_output, options)
    if not async_mode:
        return work()
    running = Running(str(args[0]))
    future = in_thread(work)

    def told(ended: Future[str | None]) -> None:
        error = ended.exception()
        if error is not None:
            running.set_exception(error)
        else:
            running.set_result(ended.result())

    future.add_done_callback(told)
    return running


def _run(
    args: tuple[Any, ...], callback: Callable[[], object] | None, return_output: bool, options: dict[str, Any]
) -> str | None:
    with ExitStack() as stack:
        paths: dict[SyncNode, str] = {}  # of a node that is named twice there is one
        stores: list[Callable[[], None]] = []
        for arg in args:
            if isinstance(arg, SyncNode) and arg not in paths:
                several = [other for other in args if other == arg]  # of mounts that may allow more, or less
                node = next(filter(_writes, several), arg)
                paths[arg], store = stack.enter_context(_local(node, "rw" if _writes(node) else "r"))
                stores.append(store)
        command: Any = [paths[arg] if isinstance(arg, SyncNode) else os.fspath(_text(arg)) for arg in args]
        output = _program(command[0] if options.get("shell") else command, return_output, dict(options))
        _store_all(stores)
    if callback is not None:
        callback()
    return output


def _store_all(stores: Iterable[Callable[[], None]]) -> None:
    """Each, though others fail; raises what they fail with."""
    errors: list[Exception] = []
    for store in stores:
        try:
            store()
        except Exception as error:  # noqa: BLE001 -- raised below
            errors.append(error)
    if len(errors) > 1:
        raise StorageError(f"{len(errors)} files were not stored: {'; '.join(map(str, errors))}") from errors[0]
    if errors:
        raise errors[0]


def _writes(node: SyncNode) -> bool:
    return node.version is None and node.capabilities.write


def _text(arg: Any) -> str | bytes | os.PathLike[str]:
    if arg is None or isinstance(arg, list | tuple | dict | set):
        raise TypeError(f"{arg!r:.60}: a program's arguments are nodes, texts and numbers, each by itself")
    return arg if isinstance(arg, str | bytes | os.PathLike) else str(arg)


def _program(command: Any, return_output: bool, options: dict[str, Any]) -> str | None:
    """Run it to its end, which comes early where the call is given up; a status that is not 0 is a
    ``CalledProcessError``."""
    timeout, data, check = options.pop("timeout", None), options.pop("input", None), options.pop("check", True)
    if data is not None:
        options["stdin"] = subprocess.PIPE
    if return_output:
        options["stdout"] = subprocess.PIPE
    stop = AMBIENT.get()
    with subprocess.Popen(command, **options) as process:  # noqa: S603 -- what is to be run is the caller's business
        if stop is not None:
            stop.watch(process.kill)
        try:
            output, errors = _ended(process, data, timeout, stop)
        except BaseException:  # as subprocess.run has it: nothing goes on behind an error
            process.kill()
            raise
        finally:
            if stop is not None:
                stop.forget(process.kill)
    if stop is not None and stop.cancelled:
        raise Cancelled(_GIVEN_UP)
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, output, errors)
    if not return_output:
        return None
    return output.decode("utf-8", "surrogateescape") if isinstance(output, bytes) else str(output)


def _ended(process: subprocess.Popen[Any], data: Any, timeout: float | None, stop: Cancellation | None) -> Any:
    """What it has written, once it has ended. What it has started may outlive it and keep its output open, which a call
    that is given up does not wait for."""
    if stop is None or (process.stdout is None and process.stderr is None):
        return process.communicate(data, timeout)
    latest = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _LOOK_AGAIN if latest is None else min(_LOOK_AGAIN, max(latest - time.monotonic(), 0))
        try:
            return process.communicate(data, left)
        except subprocess.TimeoutExpired as error:
            if stop.cancelled:
                raise Cancelled(_GIVEN_UP) from None
            if timeout is not None and latest is not None and time.monotonic() >= latest:
                error.timeout = timeout
                raise
        data = None  # which the first call goes on with
