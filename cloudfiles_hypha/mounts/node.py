"""``SyncNode``: one file or folder of a mount, and all that can be done with it, blocking. What other faces there are
(``faces``) call this one.

What takes more than a few lines lives beside this module, as functions over nodes, and is a method of one line here:
``copying`` (``copy_to``, ``move_to``, ``same_content``), ``virtual`` (``iternode``, ``diffnode``, ``zip``),
``programs`` (``local_path``, ``call``), ``serving`` (``serve``). Copies between mounts go through the batch engine.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import datetime, timezone
from functools import wraps
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from ..arguments import kind_of
from ..content.digests import md5_told
from ..errors import (
    ArtifactNotFound,
    ObjectNotFound,
    StorageError,
    StorageNotFoundError,
    StoragePermissionError,
    storage_error,
)
from ..models import ObjectInfo, Version
from .contents import blocks_of, md5_of_blocks
from .mount import Capabilities, Mount, Verb, folder_of
from .steps import Get, Head, Steps, do, do_awaited

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from typing_extensions import Self

    from ..either import EitherContext
    from ..files import ArtifactFiles
    from .copying import Globs, Skip
    from .faces import AsyncNode, StorageNode
    from .programs import PathMode
    from .serving import Receive, Send

    P = ParamSpec("P")

R = TypeVar("R")
_OCTETS = "application/octet-stream"


def told(verb: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """A method whose errors are about the node: ``StorageError``, with its full path."""

    @wraps(verb)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return verb(self, *args, **kwargs)
        except StorageError:
            raise
        except OSError as error:
            raise storage_error(error, self.fullpath) from error

    return method


class SyncNode:
    """A file or folder of a mount. Every method does what it says before it returns, and blocks meanwhile.

    ``node`` is the same for sync and async code, ``aio`` the same to be awaited. Nodes are values: equal where they
    name the same place (``same_content`` compares what is in them), hashable, safe to share between threads.
    """

    def __init__(self, mount: Mount, path: str, version: int | str | None = None) -> None:
        self._mount = mount
        self._path = path
        self._version = version

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fullpath!r})"

    def __str__(self) -> str:
        return self.fullpath

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SyncNode):
            return NotImplemented
        return self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, ...]:
        files, name = self._mount.files, self._name
        if self._mount.scheme == "file":
            return "file", os.path.join(folder_of(files), name), self._version
        return id(files), name, self._version

    # -- faces ------------------------------------------------------------------------------------------------

    @property
    def sync(self) -> SyncNode:
        """The same, with methods that block."""
        return self

    @property
    def aio(self) -> AsyncNode:
        """The same, with methods to be awaited."""
        from .faces import AsyncNode

        return AsyncNode(self)

    @property
    def node(self) -> StorageNode:
        """The same, with methods that are awaited where a loop runs."""
        from .faces import StorageNode

        return StorageNode(self)

    # -- what it is called: no I/O ----------------------------------------------------------------------------

    @property
    def mount(self) -> Mount:
        """The mount that it belongs to."""
        return self._mount

    @property
    def version(self) -> int | str | None:
        """The version that it stands for; None for what is there now."""
        return self._version

    @property
    def path(self) -> str:
        """Where it is in its mount."""
        return self._path

    @property
    def fullpath(self) -> str:
        """``mount:path``."""
        return f"{self._mount.name}:{self._path}"

    @property
    def basename(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self._path).name

    @property
    def stem(self) -> str:
        """``basename`` without what ``suffix`` is."""
        return PurePosixPath(self._path).stem

    @property
    def suffix(self) -> str:
        """Its ending, with the dot; "" if there is none."""
        return PurePosixPath(self._path).suffix

    @property
    def ext(self) -> str:
        """Its ending, without the dot."""
        return self.suffix.removeprefix(".")

    @property
    def parent(self) -> Self:
        """The folder that it is in; the mount's own is the mount."""
        return self._at(self._path.rpartition("/")[0])

    @property
    def dirname(self) -> str:
        """The full path of the folder that it is in."""
        return self.parent.fullpath

    @property
    def mimetype(self) -> str:
        """The type that its ending stands for."""
        return mimetypes.guess_type(self._path)[0] or _OCTETS

    @property
    def capabilities(self) -> Capabilities:
        """What can be done with the files of its mount."""
        return self._mount.capabilities

    def splitext(self) -> tuple[str, str]:
        """Its path without the ending, and the ending with its dot."""
        return self._path.removesuffix(self.suffix), self.suffix

    def child(self, *parts: str) -> Self:
        """The node of a path below this one."""
        clean = [self._mount.clean(part) for part in parts]
        return self._at("/".join(part for part in (self._path, *clean) if part))

    def _at(self, path: str) -> Self:
        return type(self)(self._mount, path)

    def place(self, verb: Verb = "read") -> tuple[ArtifactFiles, str]:
        """The files of its mount, and what they call it, for what takes these; ``StoragePermissionError`` unless that
        may be done ("read", "write" or "delete")."""
        self._check_file(verb)
        return self._mount.files, self._name

    # -- for the methods --------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        """What the files of the mount call it."""
        return self._mount.full(self._path)

    @property
    def _folder(self) -> str:
        """What names below it begin with."""
        return f"{self._name}/" if self._name else ""

    def _check(self, verb: Verb) -> None:
        """Whether that may be done here."""
        self._mount.check(verb, self._path)
        if verb != "read" and self._version is not None:
            raise StoragePermissionError("a version that is past cannot be written", path=self.fullpath)

    def _check_file(self, verb: Verb) -> None:
        self._check(verb)
        if not self._path:
            raise StorageError("this is the mount itself, and no file", path=self.fullpath)

    def _is_folder(self) -> bool:
        if self._version is not None:
            return False  # versions are of files
        known = self._mount.backend.is_folder(self._name)
        if known is not None:
            return known
        try:
            return self._mount.backend.can.listable and self._mount.files.isdir(self._name)
        except ArtifactNotFound:
            if self._mount.files._settings.create:
                return False  # it is made by the first write
            raise

    # -- asking -----------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        return do(self._exists())

    def _exists(self) -> Steps[bool]:
        return (yield from self._is_file()) or (yield from self._is_dir())

    def is_file(self) -> bool:
        """Whether it is a file."""
        return do(self._is_file())

    def _is_file(self) -> Steps[bool]:
        return (yield from self._info()) is not None

    def is_dir(self) -> bool:
        """Whether it is a folder. Where there are no empty ones, something has to be in it."""
        return do(self._is_dir())

    def _is_dir(self) -> Steps[bool]:
        self._check("read")
        try:
            return bool((yield self._is_folder))
        except OSError as error:
            raise storage_error(error, self.fullpath) from error

    def size(self) -> int:
        """Its size in bytes."""
        return do(self._size())

    def _size(self) -> Steps[int]:
        info = yield from self._known()
        if info.size is None:
            raise StorageError("the store does not say how large this is", path=self.fullpath)
        return info.size

    def mtime(self) -> float:
        """When it was last modified, in seconds since 1970."""
        return do(self._mtime())

    def _mtime(self) -> Steps[float]:
        info = yield from self._known()
        if info.last_modified is None:
            raise StorageError("the store does not say when this was modified", path=self.fullpath)
        return info.last_modified

    def md5hash(self) -> str:
        """The MD5 of its content, in hex: as the store knows it, else of what is read."""
        return do(self._md5hash())

    def _md5hash(self) -> Steps[str]:
        info = yield from self._known()
        known = self._digest_in(info)
        if known is None:
            known = yield self._digest
        return str(known)

    def _digest_in(self, info: ObjectInfo) -> str | None:
        """The MD5 of the content, where the store's ETag is that."""
        return md5_told(info) if info.compress is None and self._mount.backend.can.s3_etags else None

    def _digest(self) -> str:
        with self._mount.files.open(self._name, version=do(self._which(self._version))) as file:
            return md5_of_blocks(blocks_of(file))

    def _info(self) -> Steps[ObjectInfo | None]:
        """What is known of the file; None if there is none."""
        self._check("read")
        if not self._path:
            return None
        try:
            version = yield from self._which(self._version)
            info: ObjectInfo = yield Head(self._mount.files, self._name, version)
        except ObjectNotFound:
            return None
        except OSError as error:
            raise storage_error(error, self.fullpath) from error
        return info

    def _known(self) -> Steps[ObjectInfo]:
        """What is known of the file, which has to be there."""
        info = yield from self._info()
        if info is None:
            raise StorageNotFoundError("no such file", path=self.fullpath)
        return info

    @told
    def children(self) -> list[Self]:
        """What is in the folder, files and folders, in the order of names; by one listing."""
        self._check("read")
        if self._version is not None:
            raise StorageError("a version is one of a file, and has no children", path=self.fullpath)
        skip = len(self._mount.prefix)
        listed = {name.rstrip("/") for name in self._mount.files.list(self._folder, flat=True) if name != self._folder}
        if not listed and self._path and not self._is_folder():
            raise StorageNotFoundError("no such folder", path=self.fullpath)
        return [self._at(name[skip:]) for name in sorted(listed)]

    # -- reading ----------------------------------------------------------------------------------------------

    def read(self, mode: str = "rb", encoding: str = "utf-8") -> Any:
        """All of it: bytes, or with ``mode="r"`` text."""
        return do(self._read(mode, encoding))

    def _read(self, mode: str = "rb", encoding: str = "utf-8") -> Steps[Any]:
        if mode not in ("r", "rt", "rb", "br"):
            raise ValueError(f"mode={mode!r}: a file is read with 'rb' (bytes) or 'r' (text)")
        content = yield from self._read_bytes()
        return content if "b" in mode else content.decode(encoding)

    def read_bytes(self) -> bytes:
        """All of it, as bytes."""
        return do(self._read_bytes())

    def _read_bytes(self) -> Steps[bytes]:
        self._check_file("read")
        try:
            version = yield from self._which(self._version)
            content: bytes = yield Get(self._mount.files, self._name, version)
        except OSError as error:
            raise storage_error(error, self.fullpath) from error
        return content

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of it, as text."""
        return do(self._read_text(encoding))

    def _read_text(self, encoding: str = "utf-8") -> Steps[str]:
        return (yield from self._read_bytes()).decode(encoding)

    # -- writing ----------------------------------------------------------------------------------------------

    def write(
        self,
        data: bytes | bytearray | memoryview | str,
        mode: str | None = None,
        encoding: str = "utf-8",
        skip_if_unchanged: bool = False,
    ) -> bool:
        """Store it as the whole content of the file; see ``write_bytes``.

        Bytes or text: ``mode`` ("wb" or "w") says which it has to be, and another one is a ``TypeError``.
        """
        if mode not in (None, "w", "wt", "wb", "bw"):
            raise ValueError(f"mode={mode!r}: a file is written with 'wb' (bytes) or 'w' (text)")
        text = isinstance(data, str)
        if mode is not None and text == ("b" in mode):
            raise TypeError(f"mode={mode!r} takes {'bytes' if 'b' in mode else 'a text'}, not {type(data).__name__}")
        if isinstance(data, str):
            return self.write_text(data, encoding, skip_if_unchanged)
        return self.write_bytes(data, skip_if_unchanged)

    @told
    def write_bytes(self, data: bytes | bytearray | memoryview, skip_if_unchanged: bool = False) -> bool:
        """Store these bytes as the whole content of the file, on Hypha by a commit of its own; whether it was written.

        With ``skip_if_unchanged`` it is not, if that is its content already: by its size and the MD5 that the store
        knows, and only where it knows none by what is read.
        """
        self._check_file("write")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"bytes are written here, not {type(data).__name__}; for text there is write_text")
        content = bytes(data)
        if skip_if_unchanged and self._has(content):
            return False
        self._mount.files.put(self._name, content)
        return True

    def write_text(self, text: str, encoding: str = "utf-8", skip_if_unchanged: bool = False) -> bool:
        """Store a text; otherwise like ``write_bytes``."""
        if not isinstance(text, str):
            raise TypeError(f"a text is written here, not {type(text).__name__}; for bytes there is write_bytes")
        return self.write_bytes(text.encode(encoding), skip_if_unchanged)

    def _has(self, content: bytes) -> bool:
        """Whether that is the content of the file."""
        info = do(self._info())
        if info is None:
            return False
        if info.compress is None and info.size is not None and info.size != len(content):
            return False
        known = self._digest_in(info)
        if known is not None:
            return known == hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self._mount.files.get(self._name) == content

    @told
    def append(self, data: bytes | bytearray | memoryview | str, encoding: str = "utf-8") -> None:
        """Store this at the end of the file, which is made if it is not there. All of it is stored anew."""
        self._check_file("write")
        content = data.encode(encoding) if isinstance(data, str) else data
        if not isinstance(content, bytes | bytearray | memoryview):
            raise TypeError(f"bytes or a text are appended, not {type(data).__name__}")
        with self._mount.files.open(self._name, "ab") as file:
            file.write(content)

    @told
    def delete(self) -> None:
        """Remove the file, or the folder with all that is in it; what is not there counts as removed."""
        self._check_file("delete")
        files = self._mount.files
        try:
            below = [*files.list(self._folder)] if self._mount.backend.can.listable else []
        except ArtifactNotFound:
            if files._settings.create:
                return  # it is made by the first write
            raise
        if below:
            files.delete([*below, *([self._name] if files.exists(self._name) else [])])
        else:
            files.delete(self._name)
        if self._mount.backend.is_folder(self._name):
            self._mount.backend.remove_folder(self._name)

    @told
    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the folder. Where there are no empty ones, nothing is written: it is there as soon as something is in
        it. ``FileExistsError`` if a file has the name, or without ``exist_ok`` a folder."""
        self._check("write")
        if do(self._is_file()):
            raise storage_error(FileExistsError("there is a file of this name"), self.fullpath)
        if not exist_ok and self._is_folder():
            raise storage_error(FileExistsError("this folder is there already"), self.fullpath)
        if not parents and self.capabilities.mkdir and self._path and not self.parent._is_folder():
            raise StorageNotFoundError("its folder is not there; parents=True makes it", path=self.fullpath)
        self._mount.backend.make_folder(self._name)

    # -- file objects -----------------------------------------------------------------------------------------

    @told
    def open(
        self,
        /,
        mode: str = "rb",
        encoding: str | None = None,
        version: int | str | None = None,
        as_of: datetime | None = None,
        **options: Any,
    ) -> Any:
        """A file object; see ``ArtifactFiles.open``. What is written is published when it is closed.

        ``version`` is which one is read: its id, or its place among all of them (-1 is the latest, 0 the oldest);
        ``as_of`` reads what was there at that time (without a time zone, of UTC). Neither can be written.
        """
        writes = kind_of(mode) != "r"
        self._check_file("write" if writes else "read")
        if encoding is not None:
            options["encoding"] = encoding
        chosen = self._chosen(version, as_of)
        if writes and chosen is not None:
            raise StoragePermissionError("a version that is past cannot be written", path=self.fullpath)
        which = do(self._which(chosen))
        if which is not None:
            options["version"] = which
        return self._mount.files.open(self._name, mode, **options)

    # -- versions, and what is said of a file -----------------------------------------------------------------

    @told
    def versions(self) -> list[Version]:
        """The versions of the file that the store still has, oldest first; ``[]`` where it keeps none. The ``id`` of
        one, or its place in this list, goes to ``open(version=)`` and to ``StorageManager.node(version=)``."""
        self._check_file("read")
        return self._mount.files.versions(self._name)

    def _chosen(self, version: int | str | None, as_of: datetime | None) -> int | str | datetime | None:
        """The one that is meant."""
        given = [each for each in (self._version, version, as_of) if each is not None]
        if len(given) > 1:
            raise ValueError(f"{self.fullpath!r}: several versions are named; give one of version= and as_of=")
        return given[0] if given else None

    def _which(self, version: int | str | datetime | None) -> Steps[str | None]:
        """The id of a version; None for what is there now."""
        if version is None:
            return None
        if not self._mount.backend.can.keeps_versions:
            raise StoragePermissionError(f"{self._mount.scheme}:// keeps no versions", path=self.fullpath)
        if isinstance(version, str):
            return version
        known: list[Version] = yield self.versions
        if isinstance(version, int):
            if not -len(known) <= version < len(known):
                raise IndexError(f"{self.fullpath!r}: version {version} of {len(known)}")
            return known[version].id
        time = (version if version.tzinfo is not None else version.replace(tzinfo=timezone.utc)).timestamp()
        then = [each for each in known if each.last_modified is not None and each.last_modified <= time]
        if not then:
            raise StorageNotFoundError(f"no version of it is as old as {version.isoformat()}", path=self.fullpath)
        return then[-1].id

    def get_metadata(self) -> dict[str, str]:
        """What its writer has said of it, by names in lower case; ``{}`` where the store keeps no such thing."""
        return do(self._get_metadata())

    def _get_metadata(self) -> Steps[dict[str, str]]:
        return (yield from self._known()).metadata

    @told
    def set_metadata(self, metadata: Mapping[str, str]) -> None:
        """Replace all that is said of it; see ``ArtifactFiles.set_metadata``. Its content stays."""
        self._check_file("write")
        if not self.capabilities.metadata:
            raise StoragePermissionError(f"{self._mount.scheme}:// keeps no metadata", path=self.fullpath)
        self._mount.files.set_metadata(self._name, metadata)

    # -- for others -------------------------------------------------------------------------------------------

    def serve(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        download: bool = False,
        download_name: str | None = None,
        cache_max_age: int | None = None,
    ) -> Iterable[bytes]:
        """Answer a WSGI request for it; see ``serving.wsgi``. Never to be awaited: a WSGI server has no loop."""
        from .serving import wsgi

        files, name = self.place()
        said: Any = {"download": download, "download_name": download_name, "cache_max_age": cache_max_age}
        try:
            version = do(self._which(self._version))
        except (FileNotFoundError, IndexError):
            name, version = "", None  # which names no file, so that is what is answered
        return wsgi(files, name, environ, start_response, version=version, **said)

    async def serve_asgi(
        self,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
        download: bool = False,
        download_name: str | None = None,
        cache_max_age: int | None = None,
    ) -> None:
        """Answer an ASGI request for it; see ``serving.asgi``. Always to be awaited."""
        from .serving import asgi

        files, name = self.place()
        said: Any = {"download": download, "download_name": download_name, "cache_max_age": cache_max_age}
        try:
            version = await do_awaited(self._which(self._version))
        except (FileNotFoundError, IndexError):
            name, version = "", None
        await asgi(files, name, scope, receive, send, version=version, **said)

    @told
    def url(self, expires_in: int = 3600) -> str | None:
        """A URL by which anybody can read it for so many seconds; None where the store has none (``capabilities``).

        Of a web server it is just where the file is, of a local folder it is made with the mount's ``base_url``.
        """
        self._check_file("read")
        address = self._mount.web_address(self._path)
        if address is not None or not self.capabilities.presigned_urls:
            return address
        if self._mount.inline:
            from ..backends.base64 import standard

            return f"data:{_OCTETS};base64,{standard(self._name)}"
        return str(self._mount.files.urls(self._name, expires_in))

    def internal_url(self, nocache: bool = False) -> str | None:
        """Where it is to be had within the web application, by the mount's ``base_url``; None where that has none.

        With ``nocache`` its time is part of it, so that nobody keeps an older one.
        """
        self._check_file("read")
        address = self._mount.web_address(self._path)
        return f"{address}?mtime={int(self.mtime())}" if address is not None and nocache else address

    # -- with other nodes, and programs -----------------------------------------------------------------------

    @told
    def copy_to(
        self,
        dest: SyncNode,
        include: Globs = None,
        exclude: Globs = None,
        filter: Callable[[SyncNode, str], object] | None = None,
        skip: Skip = "never",
        skip_fn: Callable[[SyncNode, SyncNode], object] | None = None,
        progress: Callable[[int, int], object] | None = None,
        on_file: Callable[[SyncNode], object] | None = None,
        on_skip: Callable[[SyncNode, str], object] | None = None,
    ) -> SyncNode:
        """Copy a file, or all that is in a folder, to another node of any mount, all at once; the node of the copy.

        A file goes into a folder that is there by its own name; what is in a folder goes into ``dest``. ``include`` and
        ``exclude`` are globs of the path below the folder (one without a slash: of its last part), ``filter(node,
        path)`` says for each file whether it is wanted. ``skip`` leaves alone what is there already: "exists", of the
        same "size", of the same content ("hash"), or as ``skip_fn(node, other)`` says ("custom").

        ``progress(done, of)`` is called for each file as it is done, ``on_file(node)`` once all are surely there,
        ``on_skip(node, reason)`` before anything is copied: all in the thread that copies, which in code that awaits is
        not the loop's; their nodes block. What fails is raised when all others are done: of a folder it is a
        ``BatchError``, too. Places that overlap are a ``ValueError`` before anything is done.
        """
        from .copying import Choice, carry

        chosen = Choice(include, exclude, filter, skip, skip_fn, progress, on_file, on_skip)
        return carry(self, dest, chosen, moving=False)

    @told
    def move_to(
        self,
        dest: SyncNode,
        include: Globs = None,
        exclude: Globs = None,
        filter: Callable[[SyncNode, str], object] | None = None,
        skip: Skip = "never",
        skip_fn: Callable[[SyncNode, SyncNode], object] | None = None,
        progress: Callable[[int, int], object] | None = None,
        on_file: Callable[[SyncNode], object] | None = None,
        on_skip: Callable[[SyncNode, str], object] | None = None,
    ) -> SyncNode:
        """Move a file or folder; the node of where it is then, while this one goes on to stand for where it was.

        As ``copy_to``; a file is removed only once its copy is surely there (on Hypha: committed), and only if it still
        is what was copied, else that is an error of this file. What was left out or skipped stays.
        """
        from .copying import Choice, carry

        chosen = Choice(include, exclude, filter, skip, skip_fn, progress, on_file, on_skip)
        return carry(self, dest, chosen, moving=True)

    @told
    def same_content(self, other: SyncNode) -> bool:
        """Whether another file has the same content: by sizes, by digests that both stores know, else by the bytes."""
        from .copying import same_content

        return same_content(self, other)

    @told
    def zip(self) -> bytes:
        """A zip archive of the file, or of all that is in the folder, in memory."""
        from .virtual import zipped

        return zipped([self])

    @told
    def zip_to(self, dest: SyncNode) -> SyncNode:
        """Write such an archive to another node, while what is in it is read; that node."""
        from .virtual import zip_into

        return zip_into([self], dest)

    def local_path(self, mode: PathMode = "r") -> EitherContext[str]:
        """A path on the disk for the time of a ``with`` block, for programs that need one: to read ("r"), to write
        ("w"), or both ("rw", where the file need not be there yet).

        Of a local file it is the file itself. Else it is a temporary one, and what the block has written, or with "rw"
        changed, is stored when it ends: not if it raises, and with "rw" not over what somebody else has stored
        meanwhile (``PreconditionFailed``). What could not be stored is kept on the disk, and the error says where.
        """
        from ..either import EitherContext
        from .programs import local_path

        return EitherContext(local_path(self, mode))

    def call(
        self,
        *args: Any,
        callback: Callable[[], object] | None = None,
        async_mode: bool = False,
        return_output: bool = False,
        **subprocess_kwargs: Any,
    ) -> Any:
        """Run a program; nodes among its arguments become local paths ("rw"; "r" where nothing can be written), and
        what it changes of them is stored when it ends well. Options are those of ``subprocess.run``.

        A status other than 0 is a ``CalledProcessError``, and then nothing is stored. With ``return_output`` its
        standard output comes back as text. ``callback()`` is called at its good end. ``async_mode`` does not wait: it
        gives a ``Future``, and where nobody asks that for its result, a failure is a ``RuntimeWarning``; code that
        awaits needs no such thing.
        """
        from .programs import run

        return run(args, callback, async_mode, return_output, subprocess_kwargs)

    @told
    def to_base64(self, mime: str | None = None, include_uri: bool = True) -> str:
        """Its content in base64, as a ``data:`` URI of this or its own type, or with ``include_uri=False`` alone."""
        from .exchange import to_base64

        return to_base64(self, mime, include_uri)

    @told
    def fill_from_url(self, url: str, timeout: float = 30) -> None:
        """Store what a web address gives, by a request that has nothing of the mount's configuration; a file that the
        address names. ``timeout`` is how many seconds nothing may come, and how long what fails is tried again."""
        from .exchange import fill_from_url

        fill_from_url(self, url, timeout)
