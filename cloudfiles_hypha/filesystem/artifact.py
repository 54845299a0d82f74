"""``HyphaArtifact``: an artifact as a file system, with the names that its users know.

A thin face over ``ArtifactFiles``: what is about several files is one batch, never one file after the other.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict, TypeVar, cast

from ..disk.tree import files_below
from ..errors import AccessDenied, ArtifactNotFound, BatchError, InvalidContent, ObjectNotFound, TransferError
from ..files import ArtifactFiles
from ..models import ObjectInfo
from ..paths import check_name, parent_of
from ..plan.globs import compiled
from ..progress import Item

if TYPE_CHECKING:
    from ..backends.hypha.backend import HyphaBackend

OnError = Literal["raise", "ignore"]
Paths = str | Sequence[str]
LocalPath = str | os.PathLike[str]
Event = dict[str, Any]
R = TypeVar("R", bound=Mapping[str, Any])

# What other clients put into a folder to have it.
_KEEP = ".keep"


class ArtifactItem(TypedDict):
    """What is known of a file or a folder; ``name`` is its whole path. A folder has the size 0, and nothing else. A
    listing tells no ETags."""

    name: str
    type: Literal["file", "directory"]
    size: int | None
    last_modified: float | None
    etag: str | None


class HyphaArtifact:
    """An artifact as a file system; its verbs are those of fsspec and of hypha-artifact.

    ``artifact_alias`` (or ``artifact_id``) is "alias" or "workspace/alias"; workspace, token and server are found in
    the environment where they are not given, as for ``ArtifactFiles``, which takes the other options, and is ``files``.

    Paths may begin with a slash. ``version`` reads an older version ("v0"), or what is staged ("stage"). What is
    written is committed by itself, together with what else this process writes at that moment; after
    ``edit(stage=True)``, or within ``staged()``, it is left for ``commit()``.

    Of several files everything is tried; if anything fails the error of the first is raised, from a ``BatchError`` that
    has all results. ``on_error="ignore"`` leaves out what failed. A file that is missing is a ``FileNotFoundError``, an
    artifact that is missing a ``KeyError`` as well, a refusal a ``PermissionError``, anything else an ``OSError``.

    Safe to share between threads, and to pickle. As a context manager it closes idle connections.
    """

    def __init__(
        self,
        artifact_alias: str | None = None,
        workspace: str | None = None,
        token: str | None = None,
        server_url: str | None = None,
        *,
        artifact_id: str | None = None,
        use_proxy: bool | None = None,
        use_local_url: bool | str | None = None,
        disable_ssl: bool = False,
        additional_headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        if (artifact_alias is None) == (artifact_id is None):
            raise TypeError("say which artifact it is: artifact_alias, or artifact_id")
        if disable_ssl:
            raise ValueError(
                "disable_ssl=True would send the token to whoever answers; name the certificate authority that the "
                "server's certificate is from in CLOUDFILES_HYPHA_CA_BUNDLE"
            )
        named = cast(str, artifact_alias if artifact_id is None else artifact_id)
        first, slash, _ = named.partition("/")
        if slash and workspace not in (None, first):
            raise ValueError(f"{named!r} is not in workspace {workspace!r}")
        place = named if slash or workspace is None else f"{workspace}/{named}"
        self.files = ArtifactFiles(
            f"hypha://{place}",
            token=token,
            server_url=server_url,
            use_proxy=use_proxy,
            use_local_url=use_local_url,
            headers=additional_headers,
            **options,
        )
        self._versions: dict[str, ArtifactFiles] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.files!r}>"

    def __enter__(self) -> HyphaArtifact:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections. The object may be used again, and opens new ones."""
        for files in (self.files, *self._versions.values()):
            files.close()

    @property
    def artifact_id(self) -> str:
        """``workspace/alias``."""
        return cast("HyphaBackend", self.files._backend).artifact

    @property
    def artifact_alias(self) -> str:
        """Its name in the workspace."""
        return self.artifact_id.partition("/")[2]

    def _at(self, version: str | None) -> ArtifactFiles:
        """Its files, of the latest version or of another one."""
        if version is None:
            return self.files
        found = self._versions.get(version)
        if found is None:
            found = self._versions.setdefault(version, self.files._beside(f"{self.files.cloudpath}@{version}"))
        return found

    # -- reading ----------------------------------------------------------------------------------------------

    def open(
        self,
        urlpath: str,
        mode: str = "r",
        version: str | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        content_type: str | None = None,
    ) -> Any:
        """A file object; see ``ArtifactFiles.open``. What is read is fetched when it is read, by ranges; what is
        written is stored and committed when it is closed, and not at all if its ``with`` block raises."""
        said = _said(encoding=encoding, errors=errors, newline=newline, content_type=content_type)
        return self._at(version).open(_name(urlpath), mode, **said)

    def cat(
        self,
        path: Paths,
        on_error: OnError = "raise",
        version: str | None = None,
        *,
        recursive: bool = False,
        start: int | None = None,
        end: int | None = None,
    ) -> Any:
        """The text of a file (UTF-8, else ``InvalidContent``), or of its bytes from ``start`` to ``end``.

        Of a list, or with ``recursive`` of all files below a folder, a dict by path.
        """
        files = self._at(version)
        if isinstance(path, str) and not recursive:
            name = _name(path)
            try:
                return text_of(files.get({"path": name, "start": start, "end": end}), name)
            except (TransferError, ValueError) as error:
                if on_error == "ignore" and isinstance(error, TransferError):
                    return None
                raise
        named: dict[str, str] = {}  # by what is asked for, what it is called in the result
        for each in [path] if isinstance(path, str) else path:
            below = [*files._infos(_below(each))] if recursive else []
            named.update((info.path, info.path) for info in below if not _is_kept(info.path))
            if not below:
                named[_name(each)] = each
        wanted = [{"path": name, "start": start, "end": end} for name in named]
        texts: dict[str, str] = {}
        results = files.get(wanted, raise_errors=False) if wanted else []
        for result in results:
            if result["error"] is None:
                try:
                    texts[named[result["path"]]] = text_of(result["content"], result["path"])
                except InvalidContent as error:
                    result["error"] = error
        return _done("cat", results, on_error, texts)

    def head(self, path: str, size: int = 1024, version: str | None = None) -> bytes:
        """The first bytes of a file, or all of it if it has fewer."""
        content: bytes = self._at(version).get({"path": _name(path), "start": 0, "end": size})
        return content

    def size(self, path: str, version: str | None = None) -> int | None:
        """Bytes of a file; 0 of a folder."""
        return self.info(path, version)["size"]

    def sizes(self, paths: Sequence[str], version: str | None = None) -> list[int | None]:
        """Bytes of files, in order, from one batch."""
        names = [_name(path) for path in paths]
        infos = _first_of(lambda: self._at(version).head(names)) if names else {}
        return [infos[name].size for name in names]

    # -- looking ----------------------------------------------------------------------------------------------

    def ls(
        self, path: str = ".", version: str | None = None, *, detail: bool = True, limit: int | None = None
    ) -> list[Any]:
        """What is in a folder, in order and at most ``limit`` of it: an ``ArtifactItem`` each, or with ``detail=False``
        the paths. Of a file, itself."""
        files, folder = self._at(version), _folder(path)
        found = [*files._infos(_below(path), flat=True)]
        if not found and folder:
            found = [files.head(folder)]
            found[0] = ObjectInfo(folder, found[0].size, found[0].etag, last_modified=found[0].last_modified)
        items = [_item(info) for info in found if not _is_kept(info.path)][:limit]
        return items if detail else [item["name"] for item in items]

    def listdir(self, path: str = ".", version: str | None = None) -> list[str]:
        """The names of what is in a folder, without the folder's."""
        return [posixpath.basename(name) for name in self.ls(path, version, detail=False)]

    def find(
        self,
        path: str = "",
        maxdepth: int | None = None,
        version: str | None = None,
        *,
        withdirs: bool = False,
        detail: bool = False,
        hide_keep: bool = True,
    ) -> Any:
        """All files below a folder, in order, or with ``detail`` a dict by path; of a file, itself.

        ``maxdepth`` counts levels, ``withdirs`` names the folders, too. Nothing there is nothing found.
        """
        items = self._tree(path, maxdepth, version, withdirs=withdirs, hide_keep=hide_keep)
        return items if detail else [*items]

    def _tree(
        self, path: str, maxdepth: int | None, version: str | None, *, withdirs: bool, hide_keep: bool = True
    ) -> dict[str, ArtifactItem]:
        if maxdepth is not None and maxdepth < 1:
            raise ValueError(f"maxdepth={maxdepth}: at least 1")
        files, below = self._at(version), _below(path)
        infos = files._infos(below) if maxdepth is None else files._infos_down_to(below, maxdepth)
        listed = {info.path: _item(info) for info in infos}
        found = {name: item for name, item in listed.items() if not name.endswith("/")}
        if not listed and below and self.isfile(path, version):
            found = {_folder(path): self.info(path, version)}
        folders: dict[str, ArtifactItem] = {}
        if withdirs:
            folders = {name.rstrip("/"): item for name, item in listed.items() if name.endswith("/")}
        for name in found if withdirs else ():
            above = parent_of(name)
            while len(above) >= len(below) and above and above not in folders:
                folders[above] = _item(ObjectInfo(f"{above}/"))
                above = parent_of(above)
        items = {name: item for name, item in found.items() if not (hide_keep and _is_kept(name))} | folders
        if maxdepth is not None:
            items = {name: item for name, item in items.items() if name[len(below) :].count("/") < maxdepth}
        return dict(sorted(items.items()))

    def glob(self, path: str, version: str | None = None, *, detail: bool = False) -> Any:
        """The files and folders that a pattern matches, in order, or with ``detail`` a dict by path: ``*`` and ``?``
        stay within a folder, ``**`` does not."""
        wanted = _folder(path)
        pattern = compiled(wanted)
        magic = min((wanted.find(letter) for letter in "*?[" if letter in wanted), default=len(wanted))
        fixed = wanted[: wanted.rfind("/", 0, magic) + 1]
        deep = None if "**" in wanted else wanted.count("/") - fixed.count("/") + 1
        items = self._tree(fixed, deep, version, withdirs=True)
        matched = {name: item for name, item in items.items() if pattern.fullmatch(name)}
        return matched if detail else [*matched]

    def walk(
        self, path: str = "", maxdepth: int | None = None, version: str | None = None, *, topdown: bool = True
    ) -> Iterator[tuple[str, list[str], list[str]]]:
        """``(folder, names of the folders in it, names of the files in it)`` of each folder, from one listing."""
        top = _folder(path)
        inside: dict[str, tuple[list[str], list[str]]] = {top: ([], [])}
        for name, item in self._tree(path, maxdepth, version, withdirs=True).items():
            folder = item["type"] == "directory"
            if name == top:
                continue
            inside.setdefault(parent_of(name), ([], []))[not folder].append(posixpath.basename(name))
            if folder:
                inside.setdefault(name, ([], []))
        for folder_name in sorted(inside, reverse=not topdown):
            yield (folder_name, *inside[folder_name])

    def info(self, path: str, version: str | None = None) -> ArtifactItem:
        """What is known of a file or a folder; ``FileNotFoundError`` if there is neither."""
        files, name = self._at(version), _folder(path)
        if name and not path.endswith("/"):
            try:
                info = files.head(name)
            except ArtifactNotFound:
                raise
            except ObjectNotFound:
                if not files.isdir(name):
                    raise
            else:
                return _item(ObjectInfo(name, info.size, info.etag, last_modified=info.last_modified))
        elif not files.isdir(name) and name:
            raise ObjectNotFound("there is no such folder", path=name)
        return _item(ObjectInfo(f"{name}/"))

    def exists(self, path: str, version: str | None = None) -> bool:
        """Whether there is such a file or folder. To be refused, or out of reach, is an error."""
        try:
            self.info(path, version)
        except ObjectNotFound:
            return False
        return True

    def isdir(self, path: str, version: str | None = None) -> bool:
        """Whether it is a folder: one with something in it, or the artifact itself."""
        try:
            return self._at(version).isdir(_folder(path)) or not _folder(path)
        except ArtifactNotFound:
            return False

    def isfile(self, path: str, version: str | None = None) -> bool:
        """Whether it is a file."""
        name = _folder(path)
        return bool(name) and not path.endswith("/") and self._at(version).exists(name)

    def modified(self, path: str, version: str | None = None) -> datetime | None:
        """When a file was stored, where that is known."""
        seconds = self.info(path, version)["last_modified"]
        return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)

    def get_file_url(self, urlpath: str, mode: str = "r", version: str | None = None, *, expires_in: int = 3600) -> str:
        """A URL by which anybody can read the file for so many seconds; of mode "w", by which anybody can store it with
        a PUT, which takes an artifact that is staged, and is published by ``commit()``."""
        name = _name(urlpath)
        if mode.startswith("r"):
            return str(self._at(version).urls(name, expires_in))
        if mode not in ("w", "wb"):
            raise ValueError(f"mode={mode!r}: a URL is for reading (r) or for writing (w)")
        return str(self.files._manage("put_file", file_path=check_name(name), expires_in=expires_in))

    # -- changing ---------------------------------------------------------------------------------------------

    def copy(
        self,
        path1: str,
        path2: str,
        maxdepth: int | None = None,
        on_error: OnError | None = "raise",
        version: str | None = None,
        *,
        recursive: bool = False,
    ) -> None:
        """Copy a file within the artifact, or with ``recursive`` what is in a folder to another folder, as one commit.

        A target that ends in a slash is a folder, into which the file goes. ``version`` is what it is copied from.
        """
        source = self._at(version)
        pairs = self._pairs(path1, path2, maxdepth, version, recursive=recursive)
        results = self.files.transfer_from(source, pairs, raise_errors=False) if pairs else []
        self._finish("copy", results, on_error or "raise", version)

    cp = copy

    def mv(
        self,
        path1: str,
        path2: str,
        maxdepth: int | None = None,
        on_error: OnError | None = "raise",
        *,
        recursive: bool = False,
    ) -> None:
        """Move a file, or with ``recursive`` what is in a folder; otherwise like ``copy``. What could not be copied
        stays."""
        pairs = self._pairs(path1, path2, maxdepth, None, recursive=recursive)
        results = self.files.moves(pairs, raise_errors=False) if pairs else []
        self._finish("mv", results, on_error or "raise", None)

    def _pairs(
        self, source: str, target: str, maxdepth: int | None, version: str | None, *, recursive: bool
    ) -> list[tuple[str, str]]:
        name = _folder(source)
        if not recursive:
            return [(_file(source), _into(target, name))]
        below = _below(source)
        found = self._tree(source, maxdepth, version, withdirs=False, hide_keep=False)
        if not found:
            self._missing(name)
        if [*found] == [name]:
            return [(name, _into(target, name))]
        return [(each, _below(target) + each[len(below) :]) for each in found]

    def _finish(self, verb: str, results: Sequence[Mapping[str, Any]], on_error: OnError, version: str | None) -> None:
        """Raise what went wrong; a folder where a file is meant is told as that."""
        if on_error == "raise" and len(results) == 1 and isinstance(results[0]["error"], ObjectNotFound):
            path = str(results[0]["path"])
            if not isinstance(results[0]["error"], ArtifactNotFound) and self._at(version).isdir(path):
                raise _is_folder(path) from results[0]["error"]
        _done(verb, results, on_error, None)

    def rm(self, path: Paths, maxdepth: int | None = None, *, recursive: bool = False) -> None:
        """Remove files, and with ``recursive`` folders with all that is in them; as one commit.

        What is not there counts as removed; a folder without ``recursive`` is an ``IsADirectoryError``.
        """
        given = [path] if isinstance(path, str) else [*path]
        names: list[str] = []
        for each in given if recursive else ():
            names += self._tree(each, maxdepth, None, withdirs=False, hide_keep=False)
        if not recursive:
            names = [_file(each) for each in given]
            there = self.files.exists(names)
            for name in names:
                if not there[name] and self.files.isdir(name):
                    raise _is_folder(name)
            names = [name for name in names if there[name]]
        results = self.files.delete([*dict.fromkeys(names)], raise_errors=False) if names else None
        _done("rm", results or [], "raise", None)

    def delete(
        self,
        path: Paths | None = None,
        maxdepth: int | None = None,
        *,
        recursive: bool = False,
        delete_files: None = None,
        version: None = None,
    ) -> None:
        """``rm``: it removes files, and never the artifact, which is ``delete_artifact()``."""
        if path is None or delete_files is not None or version is not None:
            raise TypeError(
                "delete(path) removes a file of the artifact; to delete the artifact itself, or a version of it, call "
                "delete_artifact()"
            )
        self.rm(path, maxdepth, recursive=recursive)

    def rm_file(self, path: str) -> None:
        """Remove one file."""
        self.rm(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder. Folders are there by what is in them, so that one is either not there
        (``FileNotFoundError``), or not empty (``OSError``), or has nothing but another client's ``.keep``."""
        folder = _folder(path)
        inside = [info.path for info in self.files._infos(_below(path), flat=True)]
        if not inside:
            if self.isfile(path):
                raise NotADirectoryError(errno.ENOTDIR, "this is a file", folder)
            self._missing(folder)
        if not all(map(_is_kept, inside)):
            raise OSError(
                errno.ENOTEMPTY, "the folder is not empty; rm(path, recursive=True) removes all of it", folder
            )
        self.rm(inside)

    def mkdir(self, path: str, *, create_parents: bool = True) -> None:
        """Nothing is written: a folder is there as soon as something is in it. ``FileExistsError`` if it is a file."""
        folder = _folder(path)
        if self.isfile(folder):
            raise FileExistsError(errno.EEXIST, "there is a file of this name", folder)
        if not create_parents and parent_of(folder) and not self.isdir(parent_of(folder)):
            self._missing(parent_of(folder))

    def makedirs(self, path: str, *, exist_ok: bool = True) -> None:
        """``mkdir``; with ``exist_ok=False`` a folder that is there is a ``FileExistsError``."""
        self.mkdir(path)
        if not exist_ok and self.isdir(path):
            raise FileExistsError(errno.EEXIST, "this folder is there already", _folder(path))

    def touch(self, path: str, *, truncate: bool = True) -> None:
        """Make an empty file; with ``truncate=False`` what is there is left as it is."""
        name = _file(path)
        if truncate:
            self.files.put(name, b"")
        else:
            self.files.touch(name)

    # -- from and to the disk ---------------------------------------------------------------------------------

    def get(
        self,
        rpath: Paths,
        lpath: LocalPath | Sequence[LocalPath] | None = None,
        callback: Callable[[Event], object] | None = None,
        maxdepth: int | None = None,
        on_error: OnError = "raise",
        version: str | None = None,
        *,
        recursive: bool = False,
    ) -> None:
        """Download a file to ``lpath`` (a file, or a folder that is there or ends in a slash; left out, the working
        directory), or with ``recursive`` all that is in a folder into the folder ``lpath``.

        Of a list, each to the ``lpath`` beside it, or into the folder ``lpath``. What is there and the same is not
        fetched again. ``callback`` is told of each file: dicts with ``type`` ("info", "success", "error"), ``message``,
        ``file``, ``total_files`` and ``current_file``.
        """
        wanted: list[tuple[str, str]] = []
        if isinstance(rpath, str):
            if lpath is not None and not isinstance(lpath, str | os.PathLike):
                raise TypeError("lpath is a list only where rpath is one")
            pairs: Iterable[tuple[str, LocalPath, bool]] = [(rpath, "." if lpath is None else lpath, False)]
        elif lpath is None or isinstance(lpath, str | os.PathLike):
            pairs = [(each, "." if lpath is None else lpath, True) for each in rpath]
        else:
            pairs = [(each, local, False) for each, local in zip(rpath, lpath, strict=True)]
        for remote, local, into in pairs:
            target, name = os.fspath(local), _folder(remote)
            found = self._tree(remote, maxdepth, version, withdirs=False) if recursive else {}
            if found and [*found] != [name]:
                skip = len(_below(remote))
                wanted += [(each, os.path.join(target, *each[skip:].split("/"))) for each in found]
                continue
            if recursive and not found:
                self._missing(name)
            if into or os.path.isdir(target) or target.endswith(("/", os.sep)):
                target = os.path.join(target, posixpath.basename(name))
            wanted.append((_file(remote), target))
        if not wanted:
            return
        absolute = [os.path.abspath(local) for _, local in wanted]
        top = os.path.commonpath([os.path.dirname(local) for local in absolute])
        items = [
            {"path": name, "local_path": os.path.relpath(local, top).replace(os.sep, "/")}
            for (name, _), local in zip(wanted, absolute, strict=True)
        ]
        files = self._at(version)
        watching = files if callback is None else files._like(observer=_Telling(callback, "download", len(items)))
        results = watching.download(items, top, raise_errors=False)
        self._finish("get", results, on_error, version)

    def put(
        self,
        lpath: LocalPath | Sequence[LocalPath],
        rpath: Paths | None = None,
        callback: Callable[[Event], object] | None = None,
        maxdepth: int | None = None,
        on_error: OnError = "raise",
        *,
        recursive: bool = False,
        multipart_config: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Upload a file to ``rpath`` (left out, its own name; one that ends in a slash is a folder), or with
        ``recursive`` all that is in a local folder into the folder ``rpath``; of a list, each to the ``rpath`` beside
        it, or into the folder ``rpath``. All of it is one commit, and what is there and the same is not sent again.

        ``callback`` is as for ``get``. ``multipart_config`` may have ``chunk_size``, ``threshold`` and ``enable``;
        ``batch_size`` is not needed: how many names go into a call follows from what calls take.
        """
        if isinstance(lpath, str | os.PathLike):
            several, locals_ = False, [os.fspath(lpath)]
        else:
            several, locals_ = True, [os.fspath(each) for each in lpath]
        if rpath is None or isinstance(rpath, str):
            given = rpath or ""
            into = several and not recursive and given and not given.endswith("/")
            remotes = [f"{given}/" if into else given] * len(locals_)
        else:
            remotes = [*rpath]
        wanted: list[tuple[str, str]] = []
        for local, remote in zip(locals_, remotes, strict=True):
            if not os.path.isdir(local):
                wanted.append((_into(remote or "/", os.path.basename(local)), local))
            elif not recursive:
                raise IsADirectoryError(errno.EISDIR, "this is a folder; recursive=True puts all that is in it", local)
            else:
                wanted += [(_below(remote) + name, path) for name, path in _files_in(local, maxdepth, on_error)]
        if not wanted:
            return
        config = dict(multipart_config or {})
        threshold = config.get("threshold") if config.get("enable", True) else 1 << 62
        observer = None if callback is None else _Telling(callback, "upload", len(wanted))
        files = self.files
        if callback is not None or config:
            files = files._like(observer=observer, part_size=config.get("chunk_size"), threshold=threshold)
        results = files.upload(wanted, raise_errors=False)
        _done("put", results, on_error, None)

    # -- the artifact itself ----------------------------------------------------------------------------------

    def create(
        self,
        manifest: Mapping[str, object] | None = None,
        parent_id: str | None = None,
        type: str | None = None,
        config: Mapping[str, object] | None = None,
        version: str | None = None,
        comment: str | None = None,
        secrets: Mapping[str, str] | None = None,
        *,
        overwrite: bool | None = None,
        stage: bool | None = None,
    ) -> None:
        """Make the artifact; one that is there is an ``ArtifactExists``, which is a ``FileExistsError``.

        ``secrets`` and ``config`` are sent to the server as they are; ``manifest`` is ``{"name": alias}`` if left out.
        With ``stage`` it is left staged, for ``commit()``.
        """
        said = _said(
            manifest=manifest or {"name": self.artifact_alias},
            parent_id=parent_id,
            type=type or "generic",
            config=config,
            version=version,
            comment=comment,
            secrets=secrets,
            overwrite=overwrite,
            stage=stage,
        )
        self.files._manage("create", **said)
        self.files._staging("create").announced = bool(stage)

    def edit(
        self,
        manifest: Mapping[str, object] | None = None,
        type: str | None = None,
        config: Mapping[str, object] | None = None,
        secrets: Mapping[str, str] | None = None,
        version: str | None = None,
        comment: str | None = None,
        *,
        stage: bool = False,
    ) -> None:
        """Change what is said of the artifact. With ``stage``, that and all that is written from then on is published
        by ``commit()``; ``version="new"`` makes that a new version, which holds only what is written to it."""
        said = _said(
            manifest=manifest,
            type=type,
            config=config,
            secrets=secrets,
            version=version,
            comment=comment,
            stage=stage or None,
        )
        self.files._manage("edit", **said)
        self.files._staging("edit").announced = stage

    def commit(self, version: str | None = None, comment: str | None = None) -> str:
        """Publish what is staged; see ``ArtifactFiles.commit``."""
        return self.files.commit(comment, version)

    def discard(self) -> bool:
        """Drop what is staged; see ``ArtifactFiles.discard``."""
        return self.files.discard()

    def staged(self, comment: str | None = None, version: str | None = None) -> AbstractContextManager[ArtifactFiles]:
        """What is written in a ``with`` block as one commit; see ``ArtifactFiles.staged``."""
        return self.files.staged(comment, version)

    def versions(self) -> list[str]:
        """The names of its versions, oldest first."""
        return [*self.files.status()["versions"]]

    def delete_artifact(
        self, *, delete_files: bool | None = None, recursive: bool | None = None, version: str | None = None
    ) -> None:
        """Delete the artifact, or one version of it. Its files stay in the store unless ``delete_files``; ``recursive``
        deletes what is in a collection. There is no way back."""
        self.files._manage("delete", **_said(delete_files=delete_files, recursive=recursive, version=version))

    def list_children(
        self,
        keywords: list[str] | None = None,
        filters: Mapping[str, object] | None = None,
        mode: Literal["AND", "OR"] = "AND",
        offset: int = 0,
        limit: int = 100,
        order_by: str | None = None,
        *,
        silent: bool = False,
        stage: bool = False,
    ) -> list[dict[str, Any]]:
        """What is in a collection, as the server describes it."""
        found = self.files._manage(
            "list",
            **_said(keywords=keywords, filters=filters, order_by=order_by, silent=silent or None, stage=stage or None),
            mode=mode,
            offset=offset,
            limit=limit,
        )
        return [*found]

    def _missing(self, name: str) -> NoReturn:
        raise ObjectNotFound("there is no such file or folder", path=name)


class _Telling:
    """An observer that tells a callback of files, in the words of hypha-artifact."""

    def __init__(self, callback: Callable[[Event], object], verb: str, total: int) -> None:
        self._callback = callback
        self._verb = verb
        self._total = total
        self._begun = 0

    def started(self, item: Item) -> None:
        """A file is begun."""
        self._begun += 1
        self._tell("info", item, f"{self._verb} of {item.path}", self._begun)

    def moved(self, item: Item, size: int) -> None:
        """Nothing is said of its bytes."""

    def failed(self, item: Item, attempt: int, error: Exception) -> None:
        """Nothing is said of attempts that others follow."""

    def ended(self, item: Item, error: Exception | None) -> None:
        """A file has come, or has failed."""
        if error is None:
            self._tell("success", item, f"{self._verb} of {item.path} is done", self._begun)
        else:
            self._tell("error", item, f"{self._verb} of {item.path} failed: {error}", self._begun)

    def _tell(self, kind: str, item: Item, message: str, number: int) -> None:
        event = {"type": kind, "message": message, "file": item.path}
        self._callback({**event, "total_files": self._total, "current_file": number})


def text_of(content: bytes, name: str) -> str:
    """The text that is stored; ``InvalidContent`` if it is none."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidContent(
            f"not UTF-8 text ({error.reason} at byte {error.start}); read its bytes with open(path, 'rb')", path=name
        ) from None


def _done(verb: str, results: Sequence[Mapping[str, Any]], on_error: OnError, value: Any) -> Any:
    """The value of a batch, or the error of the first item that failed."""
    if on_error not in ("raise", "ignore"):
        raise ValueError(f"on_error={on_error!r}: choose 'raise' or 'ignore'")
    failed = [result["error"] for result in results if result["error"] is not None]
    if failed and on_error == "raise":
        raise failed[0] from BatchError.from_results(verb, cast(Any, results))
    refused = [error for error in failed if isinstance(error, ArtifactNotFound | AccessDenied)]
    if refused and len(failed) == len(results):
        raise refused[0]  # of the artifact, and not of any file
    return value


def _first_of(batch: Callable[[], R]) -> R:
    """What a batch gives, or the error of its first item that failed."""
    try:
        return batch()
    except BatchError as error:
        raise cast(Exception, error.errors[0]["error"]) from error


def _said(**arguments: object) -> dict[str, Any]:
    """The arguments that were given."""
    return {name: value for name, value in arguments.items() if value is not None}


def _item(info: ObjectInfo) -> ArtifactItem:
    folder = info.path.endswith("/") or not info.path
    return {
        "name": info.path.rstrip("/"),
        "type": "directory" if folder else "file",
        "size": 0 if folder else info.size,
        "last_modified": info.last_modified,
        "etag": info.etag,
    }


def _is_kept(name: str) -> bool:
    return posixpath.basename(name) == _KEEP


def _name(path: str) -> str:
    """A path as a name in the artifact; what is wrong with it otherwise, whoever uses it says."""
    if not isinstance(path, str):
        raise TypeError(f"a path is a string, not {type(path).__name__}: {path!r:.60}")
    path = path.lstrip("/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return "" if path == "." else path


def _folder(path: str) -> str:
    """A path that may be a folder's: without a slash at its end, empty for the artifact itself."""
    name = _name(path).rstrip("/")
    return check_name(name) if name else ""


def _below(path: str) -> str:
    """What the names in a folder begin with."""
    folder = _folder(path)
    return f"{folder}/" if folder else ""


def _file(path: str) -> str:
    """A path that must be a file's."""
    name = _name(path)
    if not name or name.endswith("/"):
        raise _is_folder(name.rstrip("/") or "/")
    return check_name(name)


def _is_folder(path: str) -> IsADirectoryError:
    return IsADirectoryError(errno.EISDIR, "this is a folder; recursive=True means all that is in it", path)


def _into(target: str, name: str) -> str:
    """Where a file goes: a target that is a folder keeps its last name."""
    name_there = _name(target)
    if not name_there or name_there.endswith("/"):
        return _below(target) + posixpath.basename(name)
    return _file(target)


def _files_in(folder: str, maxdepth: int | None, on_error: OnError) -> Iterator[tuple[str, str]]:
    """Names and paths of the files in a local folder, and in those that links lead to."""
    if maxdepth is not None and maxdepth < 1:
        raise ValueError(f"maxdepth={maxdepth}: at least 1")

    def failed(path: str, error: Exception) -> None:
        if on_error == "raise":
            raise error if getattr(error, "errno", None) is not None else OSError(f"{path}: {error}")

    for name, path in files_below(folder, failed):
        if maxdepth is None or name.count("/") < maxdepth:
            yield name, path
