"""The interface of cloud-files: ``from cloudfiles_hypha.compat.cloudfiles import CloudFiles, CloudFile, dl``.

Its names and manners: None for what is missing, its keys in results, ``get_json`` of several as plain values. All the
rest, and every store, is ``ArtifactFiles``. Beyond upstream results are in the order of the input, and everything is
tried before an error is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ..arguments import is_scalar
from ..errors import BatchError, ObjectNotFound
from ..files import ArtifactFiles
from ..models import ObjectInfo
from ..paths import join_names
from ..progress import ProgressOption
from ..shortcuts import split_cloudpath

_KEYS = ("path", "content", "byte_range", "error", "compress", "raw", "tags")


class CloudFiles:
    """Files at a cloudpath. The arguments after the cloudpath may be positional, in this order.

    ``options`` are those of ``ArtifactFiles``, such as ``token`` and ``server_url``.
    """

    def __init__(
        self,
        cloudpath: str,
        progress: ProgressOption = False,
        green: bool | None = None,
        secrets: Any = None,
        num_threads: int = 20,
        **options: Any,
    ) -> None:
        given = {"progress": progress, "green": green, "secrets": secrets, "num_threads": num_threads}
        self.files = ArtifactFiles(cloudpath, **given, **options)
        self.cloudpath = cloudpath
        self._options = {**given, **options}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.files!r}>"

    @property
    def protocol(self) -> str:
        """The scheme."""
        return self.cloudpath.partition("://")[0] if "://" in self.cloudpath else "hypha"

    def abspath(self, path: str) -> str:
        """The whole cloudpath of a file."""
        return join_names(self.cloudpath, path)

    # -- reading ----------------------------------------------------------------------------------------------

    def get(
        self,
        paths: Any,
        total: int | None = None,
        raw: bool = False,
        progress: ProgressOption = None,
        return_dict: bool = False,
        raise_errors: bool = True,
    ) -> Any:
        """Bytes of one file or range, None if it is missing; of several a list of dicts, or one by path."""
        results = self._get(paths, total, raw, progress, raise_errors)
        if return_dict:
            return {result["path"]: result["content"] for result in results}
        return results[0]["content"] if is_scalar(paths) else results

    def _get(
        self, paths: Any, total: int | None, raw: bool, progress: ProgressOption, raise_errors: bool
    ) -> list[dict[str, Any]]:
        scalar = is_scalar(paths)
        options: dict[str, Any] = {"raw": True} if raw else {}
        if scalar:
            progress = False
        got = self.files.get(
            [paths] if scalar else paths, total=total, raise_errors=False, progress=progress, **options
        )
        results = [_result(each) for each in got]
        failed = [result for result in results if result["error"] is not None]
        if failed and (raise_errors or scalar):
            raise failed[0]["error"]
        return results

    def get_json(self, paths: Any, total: int | None = None) -> Any:
        """The value in a file, None if it is missing; of several a list of values, in order."""
        scalar = is_scalar(paths)
        got = self.files.get_json([paths] if scalar else paths, total=total, raise_errors=False)
        values = [_result(each) for each in got]
        for value in values:
            if value["error"] is not None:
                raise value["error"]
        return values[0]["content"] if scalar else [value["content"] for value in values]

    # -- writing ----------------------------------------------------------------------------------------------

    def put(
        self,
        path: str,
        content: Any,
        content_type: str | None = None,
        compress: Any = None,
        compression_level: int | None = None,
        cache_control: str | None = None,
    ) -> int:
        """Store one file; how many were stored."""
        given = {
            "content_type": content_type,
            "compress": compress or None,
            "compression_level": compression_level,
            "cache_control": cache_control,
        }
        return self.puts([{"path": path, "content": content, **given}], progress=False)

    def puts(
        self,
        files: Any,
        content_type: str | None = None,
        compress: Any = None,
        compression_level: int | None = None,
        cache_control: str | None = None,
        total: int | None = None,
        progress: ProgressOption = None,
    ) -> int:
        """Store pairs or dicts (or one of them); how many were stored."""
        for_all = {
            "content_type": content_type,
            "compress": compress or None,
            "compression_level": compression_level,
            "cache_control": cache_control,
        }
        items = [files] if isinstance(files, Mapping | tuple) else files
        total = len(items) if total is None and hasattr(items, "__len__") else total
        wanted = (_written(item, for_all) for item in items)
        if hasattr(items, "__len__"):
            wanted_known = [*wanted]  # so that what is wrong with one is found before anything is sent
            return self._puts(wanted_known, total, progress)
        return self._puts(wanted, total, progress)

    def _puts(self, items: Iterable[dict[str, Any]], total: int | None, progress: ProgressOption) -> int:
        try:
            return len(self.files.puts(items, total=total, progress=progress))
        except BatchError as error:
            if not error.errors:
                raise
            raise _first(error) from error

    def put_json(
        self,
        path: str,
        content: Any,
        compress: Any = None,
        compression_level: int | None = None,
        cache_control: str | None = None,
    ) -> int:
        """Store a value as JSON; how many were stored."""
        item = {"path": path, "content": content}
        return self.put_jsons([item], compress, compression_level, cache_control, progress=False)

    def put_jsons(
        self,
        files: Any,
        compress: Any = None,
        compression_level: int | None = None,
        cache_control: str | None = None,
        total: int | None = None,
        progress: ProgressOption = None,
    ) -> int:
        """Store values as JSON; how many were stored."""
        from ..arguments import to_json

        items = [files] if isinstance(files, Mapping | tuple) else files

        def encoded() -> Iterator[dict[str, Any]]:
            for item in items:
                given = _written(item, {})
                yield {**given, "content": to_json(given["content"], given["path"])}

        wanted = [*encoded()] if hasattr(items, "__len__") else encoded()
        return self.puts(
            wanted, "application/json", compress, compression_level, cache_control, total=total, progress=progress
        )

    def delete(self, paths: Any, total: int | None = None, progress: ProgressOption = None) -> int:
        """Remove files; how many."""
        scalar = is_scalar(paths)
        try:
            gone = self.files.delete([paths] if scalar else paths, total=total, progress=False if scalar else progress)
        except BatchError as error:
            if not error.errors:
                raise
            raise _first(error) from error
        return len(gone or ())

    def touch(self, paths: Any) -> None:
        """Make empty files where there are none."""
        self.files.touch(paths)

    # -- asking -----------------------------------------------------------------------------------------------

    def exists(self, paths: Any, total: int | None = None, progress: ProgressOption = None) -> Any:
        """Whether a file is there; for several a dict by path."""
        return self.files.exists(paths, progress=progress)

    def _heads(self, paths: Any) -> dict[str, ObjectInfo | None]:
        names = [paths] if is_scalar(paths) else [*paths]
        try:
            known: dict[str, ObjectInfo | None] = {**self.files.head(names)}
            return known
        except BatchError as error:
            results = error.results
        for result in results:
            if result["error"] is not None and not isinstance(result["error"], ObjectNotFound):
                raise result["error"]
        return {result["path"]: result["content"] for result in results}

    def head(self, paths: Any, total: int | None = None, progress: ProgressOption = None) -> Any:
        """Headers of a file, None if it is missing; of several a dict by path."""
        found = {path: _headers(info) for path, info in self._heads(paths).items()}
        return found[paths] if is_scalar(paths) else found

    def size(
        self, paths: Any, total: int | None = None, progress: ProgressOption = None, return_sum: bool = False
    ) -> Any:
        """Bytes of a file, None if it is missing; of several a dict by path, or their sum."""
        sizes = {path: None if info is None else info.size for path, info in self._heads(paths).items()}
        if return_sum:
            return sum(size or 0 for size in sizes.values())
        return sizes[paths] if is_scalar(paths) else sizes

    def subtree_size(self, prefix: str | Iterable[str] = "") -> dict[str, int]:
        """How many files are below a prefix (or several), and their bytes."""
        found = [self.files.subtree_size(each) for each in ([prefix] if isinstance(prefix, str) else prefix)]
        return {"N": sum(one.files for one in found), "num_bytes": sum(one.bytes for one in found)}

    def isdir(self, prefix: str = "") -> bool:
        """Whether anything is in a folder."""
        return self.files.isdir(prefix)

    def list(self, prefix: str = "", flat: bool = False, size: bool = False) -> Iterator[Any]:
        """Names that begin with ``prefix``; with ``size`` pairs of a name and its bytes."""
        return self.files.list(prefix, flat, size=True) if size else self.files.list(prefix, flat)

    # -- moving -----------------------------------------------------------------------------------------------

    def transfer_to(
        self,
        cf_dest: CloudFiles | ArtifactFiles | str,
        paths: Any = None,
        block_size: int = 64,
        allow_missing: bool = False,
        progress: ProgressOption = None,
    ) -> None:
        """Copy files (all of them, if none are named) to another place. ``block_size`` is not needed here."""
        dest = cf_dest.files if isinstance(cf_dest, CloudFiles) else cf_dest
        if paths is not None:
            paths = [paths] if is_scalar(paths) else paths
        results = self.files.transfer_to(dest, paths, raise_errors=False, progress=progress)
        for result in results:
            error = result["error"]
            if error is not None and not (allow_missing and isinstance(error, ObjectNotFound)):
                raise error

    def transfer_from(
        self,
        cf_src: CloudFiles | ArtifactFiles | str,
        paths: Any = None,
        block_size: int = 64,
        allow_missing: bool = False,
        progress: ProgressOption = None,
    ) -> None:
        """Copy files from another place."""
        source = CloudFiles(cf_src, **self._options) if isinstance(cf_src, str) else cf_src
        if isinstance(source, ArtifactFiles):
            source.transfer_to(self.files, paths, progress=progress)
        else:
            source.transfer_to(self, paths, block_size, allow_missing, progress)

    def move(self, src: str, dest: str) -> None:
        """Move one file, to a name here or a whole cloudpath."""
        self.files.move(src, dest)

    def moves(
        self,
        cf_dest: CloudFiles | ArtifactFiles | str,
        paths: Iterable[str | tuple[str, str]],
        block_size: int = 64,
        total: int | None = None,
        progress: ProgressOption = None,
    ) -> None:
        """Move files: names, which stay as they are, or pairs."""
        dest = cf_dest.files if isinstance(cf_dest, CloudFiles) else cf_dest
        self.files.moves(paths, dest, total=total, progress=progress)

    # -- names ------------------------------------------------------------------------------------------------

    sep = ArtifactFiles.sep
    join = staticmethod(ArtifactFiles.join)
    dirname = staticmethod(ArtifactFiles.dirname)
    basename = staticmethod(ArtifactFiles.basename)

    def __iter__(self) -> Iterator[str]:
        return self.files.list()

    def __contains__(self, path: object) -> bool:
        return path in self.files

    def __getitem__(self, key: Any) -> Any:
        """``cf[path]``, ``cf[path, 0:30]``, ``cf[[...]]``, ``cf[:100]``."""
        if isinstance(key, slice):
            return self.get(list(islice(self, key.start, key.stop, key.step)))
        if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], slice):
            return self.get({"path": key[0], "start": key[1].start, "end": key[1].stop})
        return self.get(key)

    def __setitem__(self, key: str | slice, value: Any) -> None:
        if isinstance(value, CloudFiles | ArtifactFiles):
            if key != slice(None):
                raise KeyError(f"only cf[:] = other copies all files, not {key!r}")
            self.transfer_from(value)
        else:
            self.put(str(key), value)

    def __delitem__(self, key: Any) -> None:
        self.delete(key)


class CloudFile:
    """One file, named by its whole cloudpath."""

    def __init__(self, path: str, **options: Any) -> None:
        root, self.filename = split_cloudpath(path)
        self.cf = CloudFiles(root, **options)

    @property
    def sep(self) -> str:
        """What parts names into folders."""
        return self.cf.sep

    @property
    def protocol(self) -> str:
        """The scheme."""
        return self.cf.protocol

    def get(self, ranges: Iterable[Any] | None = None, raw: bool = False) -> Any:
        """Its bytes, None if it is missing; with ``ranges`` (slices or dicts) a list of results."""
        if ranges is None:
            return self.cf.get(self.filename, raw=raw)
        wanted = [
            {"path": self.filename, "start": each.start, "end": each.stop} if isinstance(each, slice) else each
            for each in ranges
        ]
        return self.cf.get(wanted, raw=raw)

    def get_json(self) -> Any:
        """The value that it holds."""
        return self.cf.get_json(self.filename)

    def put(self, content: Any, *args: Any, **options: Any) -> int:
        """Store it."""
        return self.cf.put(self.filename, content, *args, **options)

    def put_json(self, content: Any, *args: Any, **options: Any) -> int:
        """Store a value as JSON."""
        return self.cf.put_json(self.filename, content, *args, **options)

    def head(self) -> dict[str, Any] | None:
        """Its headers, None if it is missing."""
        headers: dict[str, Any] | None = self.cf.head(self.filename)
        return headers

    def size(self) -> int | None:
        """Its bytes, None if it is missing."""
        size: int | None = self.cf.size(self.filename)
        return size

    def exists(self) -> bool:
        """Whether it is there."""
        return bool(self.cf.exists(self.filename))

    def delete(self) -> None:
        """Remove it."""
        self.cf.delete(self.filename)

    def touch(self) -> None:
        """Make it, empty, if it is not there."""
        self.cf.touch(self.filename)

    def move(self, dest: str) -> None:
        """Move it, to a name beside it or a whole cloudpath."""
        self.cf.move(self.filename, dest)

    def transfer_to(self, cloudpath: str) -> None:
        """Copy it to another cloudpath."""
        root, name = split_cloudpath(cloudpath)
        self.cf.transfer_to(root, [(self.filename, name)])

    def transfer_from(self, cloudpath: str) -> None:
        """Copy what is at another cloudpath here."""
        root, name = split_cloudpath(cloudpath)
        self.cf.transfer_from(root, [(name, self.filename)])

    def join(self, *parts: str) -> str:
        """Names as one."""
        return self.cf.join(*parts)

    def dirname(self, path: str) -> str:
        """The folder of a name."""
        return self.cf.dirname(path)

    def basename(self, path: str) -> str:
        """The last part of a name."""
        return self.cf.basename(path)

    def __len__(self) -> int:
        return self.size() or 0

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, wanted: slice) -> Any:
        return self.cf[self.filename, wanted]


def dl(cloudpaths: Any, raw: bool = False, progress: ProgressOption = False, **options: Any) -> Any:
    """Read files by their whole cloudpaths: a list of results with ``fullpath``; for one its result."""
    scalar = is_scalar(cloudpaths)
    places: dict[str, list[tuple[int, str]]] = {}
    count = 0
    for number, cloudpath in enumerate([cloudpaths] if scalar else cloudpaths):
        root, name = split_cloudpath(cloudpath)
        places.setdefault(root, []).append((number, name))
        count += 1
    results: list[Any] = [None] * count
    for root, items in places.items():
        got = CloudFiles(root, **options).get([name for _, name in items], raw=raw, progress=progress)
        for (number, name), result in zip(items, got, strict=True):
            results[number] = {**result, "fullpath": join_names(root, name)}
    return results[0] if scalar else results


def _result(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result with upstream's keys; what is missing is no error."""
    kept = {key: result[key] for key in _KEYS}
    if isinstance(kept["error"], ObjectNotFound):
        kept["error"] = None
    return kept


def _written(item: Any, for_all: Mapping[str, Any]) -> dict[str, Any]:
    """One item to store; what is not said of it is what is said of all."""
    given = {"path": item[0], "content": item[1]} if isinstance(item, tuple | list) else {**item}
    for key in ("byte_range", "error", "raw", "storage_class"):  # of a result, or upstream's and without a meaning here
        if given.get(key) in (None, False, (None, None)):
            given.pop(key, None)
    for key, value in for_all.items():
        given[key] = given.get(key) or value
    left_out = [key for key, value in given.items() if key != "content" and value in (None, "")]
    for key in left_out:
        del given[key]
    return given


def _first(error: BatchError) -> Exception:
    found = error.errors[0]["error"]
    return error if found is None else found


def _headers(info: ObjectInfo | None) -> dict[str, Any] | None:
    """What is known of a file, under upstream's names; None where its store does not say."""
    if info is None:
        return None
    from datetime import datetime, timezone

    modified = None if info.last_modified is None else datetime.fromtimestamp(info.last_modified, timezone.utc)
    known = info.headers.get
    return {
        "Cache-Control": known("cache-control"),
        "Content-Length": info.size,
        "Content-Type": info.content_type,
        "ETag": info.etag,
        "Last-Modified": modified,
        "Content-Md5": known("content-md5"),
        "Content-Encoding": known("content-encoding"),
        "Content-Disposition": known("content-disposition"),
        "Content-Language": known("content-language"),
        "Storage-Class": known("x-amz-storage-class"),
    }
