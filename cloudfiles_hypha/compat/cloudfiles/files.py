"""``CloudFiles``, ``CloudFile`` and ``dl``: cloud-files' names and manners over ``ArtifactFiles``.

None for what is missing, its keys in results, ``get_json`` of several as plain values. Beyond upstream results are in
the order of the input, and everything is tried before an error is raised. What has no meaning here is refused, and
never ignored if that would change what is stored or read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ...arguments import is_scalar, to_json
from ...backends import locate, split_cloudpath
from ...content.codecs import codec_of, transcode
from ...errors import ArtifactNotFound, BatchError, BucketNotFound, DecompressionError, ObjectNotFound, TransferError
from ...files import ArtifactFiles
from ...models import ObjectInfo
from ...paths import join_names
from ...progress import ProgressOption
from ...redact import without_user
from ...results import CopyResult, Result
from ...transfers.copies import Transfer, chunks, wanted_of
from ...transfers.copy import Wanted
from . import paths as paths_of

_KEYS = ("path", "content", "byte_range", "error", "compress", "raw", "tags")


class CloudFiles:
    """Files at a cloudpath. The five arguments of cloud-files' documentation may be positional.

    ``use_https`` reads a public bucket by its web address, ``endpoint`` is the server of an ``s3://bucket``,
    ``no_sign_request`` and ``request_payer`` are S3's. ``parallel`` is how many processes share the work; what is in
    ``mem://`` is of one alone, which does it all. ``options`` are those of ``ArtifactFiles``, such as ``token`` and
    ``server_url``.
    """

    def __init__(
        self,
        cloudpath: str,
        progress: ProgressOption = False,
        green: bool | None = None,
        secrets: Any = None,
        num_threads: int = 20,
        *,
        use_https: bool = False,
        endpoint: str | None = None,
        parallel: int = 1,
        request_payer: str | None = None,
        locking: bool | None = None,
        composite_upload_threshold: int | None = None,
        no_sign_request: bool = False,
        **options: Any,
    ) -> None:
        _, cloudpath = paths_of.without_format(cloudpath)
        if endpoint is not None:
            cloudpath = _with_endpoint(paths_of.extract(cloudpath), endpoint)
        if use_https:
            cloudpath = paths_of.to_https_protocol(cloudpath)
        if composite_upload_threshold is not None:
            options["multipart_threshold"] = composite_upload_threshold
        self._location = locate(cloudpath)
        if no_sign_request or request_payer is not None:
            if self.protocol != "s3":
                raise ValueError(f"no_sign_request and request_payer are for s3://, not for {self.protocol}://")
            secrets = _s3_secrets(secrets, no_sign_request, request_payer)
        self.files = ArtifactFiles(
            cloudpath,
            progress=progress,
            green=green,
            secrets=secrets,
            num_threads=num_threads,
            locking=bool(locking),
            parallel=self._processes(parallel) or 1,
            **options,
        )
        self.cloudpath = self._location.root if self.protocol == "file" else cloudpath

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.files!r}>"

    @property
    def protocol(self) -> str:
        """The scheme."""
        return self._location.scheme

    def _processes(self, parallel: int | None) -> int | None:
        return 1 if self.protocol == "mem" else parallel

    def abspath(self, path: str) -> str:
        """The whole cloudpath of a file."""
        return join_names(self.cloudpath, path)

    # -- reading ----------------------------------------------------------------------------------------------

    def get(
        self,
        paths: Any,
        *,
        total: int | None = None,
        raw: bool = False,
        progress: ProgressOption = None,
        parallel: int | None = None,
        return_dict: bool = False,
        raise_errors: bool = True,
    ) -> Any:
        """Bytes of one file or range, None if it is missing; of several a list of dicts, or one by path."""
        results = self._get(paths, total, raw, progress, raise_errors or return_dict, parallel)
        if return_dict:
            ranges: dict[str, object] = {}
            for result in results:
                if ranges.setdefault(result["path"], result["byte_range"]) != result["byte_range"]:
                    raise ValueError(f"{result['path']!r}: several ranges of one path need the list, not return_dict")
            return {result["path"]: result["content"] for result in results}
        return results[0]["content"] if is_scalar(paths) else results

    def _is_missing(self, error: Exception | None) -> bool:
        """Whether this says that a file is not there; an artifact or a bucket that is not is another matter, unless
        the first write is to make it."""
        if isinstance(error, ArtifactNotFound):
            return self.files._settings.create
        return isinstance(error, ObjectNotFound) and not isinstance(error, BucketNotFound)

    def _get(
        self,
        paths: Any,
        total: int | None,
        raw: bool,
        progress: ProgressOption,
        raise_errors: bool,
        parallel: int | None = None,
    ) -> list[dict[str, Any]]:
        scalar = is_scalar(paths)
        options: dict[str, Any] = {"raw": True} if raw else {}
        if scalar:
            progress = False
        got = self.files.get(
            [paths] if scalar else paths,
            total=total,
            raise_errors=False,
            progress=progress,
            parallel=self._processes(parallel),
            **options,
        )
        results = [self._result(each) for each in got]
        failed = [result for result in results if result["error"] is not None]
        if failed and (raise_errors or scalar):
            raise failed[0]["error"]
        return results

    def _result(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """A result with upstream's keys; what is missing is no error."""
        kept = {key: result[key] for key in _KEYS}
        if self._is_missing(kept["error"]):
            kept["error"] = None
        return kept

    def get_json(self, paths: Any, total: int | None = None) -> Any:
        """The value in a file, None if it is missing; of several a list of values, in order."""
        scalar = is_scalar(paths)
        got = self.files.get_json([paths] if scalar else paths, total=total, raise_errors=False)
        values = [self._result(each) for each in got]
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
        raw: bool = False,
    ) -> int:
        """Store one file; how many were stored. ``raw`` says that the content is encoded already."""
        item = {"path": path, "content": content}
        return self.puts(
            [item],
            content_type=content_type,
            compress=compress,
            compression_level=compression_level,
            cache_control=cache_control,
            raw=raw,
            progress=False,
        )

    def puts(
        self,
        files: Any,
        *,
        content_type: str | None = None,
        compress: Any = None,
        compression_level: int | None = None,
        cache_control: str | None = None,
        total: int | None = None,
        raw: bool = False,
        progress: ProgressOption = None,
        parallel: int | None = None,
    ) -> int:
        """Store pairs or dicts (or one of them); how many were stored.

        With ``raw``, or a dict that says it of itself (as those of ``get(raw=True)`` and ``transcode`` do), content is
        encoded already, and ``compress`` says how.
        """
        for_all = {
            "content_type": content_type,
            "compress": compress,
            "compression_level": compression_level,
            "cache_control": cache_control,
        }
        items = _items(files)
        total = len(items) if total is None and hasattr(items, "__len__") else total
        wanted: Iterable[dict[str, Any]] = (_written(item, for_all, raw) for item in items)
        if hasattr(items, "__len__"):
            wanted = [*wanted]  # so that what is wrong with one is found before anything is sent
        return self._puts(wanted, total, progress, parallel)

    def _puts(
        self, items: Iterable[dict[str, Any]], total: int | None, progress: ProgressOption, parallel: int | None = None
    ) -> int:
        try:
            stored = self.files.puts(items, total=total, progress=progress, parallel=self._processes(parallel))
            return len(stored)
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
        return self.put_jsons([(path, content)], compress, compression_level, cache_control, progress=False)

    def put_jsons(
        self,
        files: Any,
        compress: Any = None,
        compression_level: int | None = None,
        cache_control: str | None = None,
        *,
        total: int | None = None,
        progress: ProgressOption = None,
        parallel: int | None = None,
    ) -> int:
        """Store values as JSON; how many were stored."""
        items = _items(files)

        def encoded() -> Iterator[dict[str, Any]]:
            for item in items:
                given = _fields(item)
                yield {**given, "content": to_json(given["content"], given["path"])}

        return self.puts(
            [*encoded()] if hasattr(items, "__len__") else encoded(),
            content_type="application/json",
            compress=compress,
            compression_level=compression_level,
            cache_control=cache_control,
            total=total,
            progress=progress,
            parallel=parallel,
        )

    def delete(
        self, paths: Any, total: int | None = None, progress: ProgressOption = None, parallel: int | None = None
    ) -> int:
        """Remove files; how many."""
        scalar = is_scalar(paths)
        try:
            gone = self.files.delete(
                [paths] if scalar else paths,
                total=total,
                progress=False if scalar else progress,
                parallel=self._processes(parallel),
            )
        except BatchError as error:
            if not error.errors:
                raise
            raise _first(error) from error
        return len(gone or ())

    def touch(self, paths: Any, progress: ProgressOption = None, total: int | None = None) -> None:
        """Make empty files where there are none; a file is a path, or a dict with a ``path``."""
        items = [paths] if is_scalar(paths) else paths
        names = [*dict.fromkeys(item["path"] if isinstance(item, Mapping) else item for item in items)]
        there = self.files.exists(names, progress=progress)
        self.files.touch([name for name in names if not there[name]])

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
            if result["error"] is not None and not self._is_missing(result["error"]):
                raise result["error"]
        return {result["path"]: result["content"] for result in results}

    def head(self, paths: Any, total: int | None = None, progress: ProgressOption = None) -> Any:
        """Headers of a file, None if it is missing; of several a dict by path."""
        found = {path: _headers(info) for path, info in self._heads(paths).items()}
        return found[paths] if is_scalar(paths) else found

    def size(
        self, paths: Any, total: int | None = None, progress: ProgressOption = None, return_sum: bool = False
    ) -> Any:
        """Bytes of a file, None if it is missing; of several a dict by path, or the sum of those that are there."""
        infos = self._heads(paths)
        for path, info in infos.items():
            if info is not None and info.size is None:
                raise TransferError("the server does not say how large this is", path=path)
        sizes = {path: None if info is None else info.size for path, info in infos.items()}
        if return_sum:
            return sum(size for size in sizes.values() if size is not None)
        return sizes[paths] if is_scalar(paths) else sizes

    def subtree_size(self, prefix: str | Iterable[str] = "") -> dict[str, int]:
        """How many files are below a prefix (or several), and their bytes."""
        found = [self.files.subtree_size(each) for each in ([prefix] if isinstance(prefix, str) else prefix)]
        return {"N": sum(one.files for one in found), "num_bytes": sum(one.bytes for one in found)}

    def isdir(self, prefix: str = "") -> bool:
        """Whether anything is in a folder."""
        return self.files.isdir(prefix)

    def list(
        self,
        prefix: str = "",
        flat: bool = False,
        size: bool = False,
        return_resume_token: bool = False,
        resume_token: str | None = None,
    ) -> Iterator[Any]:
        """Names that begin with ``prefix``; with ``size`` or ``return_resume_token`` tuples of a name and these.

        Whoever gives a token as ``resume_token`` gets what comes after the name that it came with.
        """
        if flat and return_resume_token:
            raise ValueError("return_resume_token is for a listing of all levels, not with flat=True")
        listed: Iterator[Any]
        if size:
            listed = self.files.list(prefix, flat, size=True, start_after=resume_token)
            return ((name, known, name) for name, known in listed) if return_resume_token else listed
        listed = self.files.list(prefix, flat, start_after=resume_token)
        return ((name, name) for name in listed) if return_resume_token else listed

    # -- moving -----------------------------------------------------------------------------------------------

    def transfer_to(
        self,
        cf_dest: CloudFiles | ArtifactFiles | str,
        paths: Any = None,
        block_size: int = 64,
        reencode: str | None = None,
        content_type: str | None = None,
        allow_missing: bool = False,
        progress: ProgressOption = None,
    ) -> None:
        """Copy files (all of them, if none are named) to another place; see ``transfer_from``."""
        with self.files._facing(_files(cf_dest)) as dest:
            _transfer(self.files, dest, paths, block_size, reencode, content_type, allow_missing, progress)

    def transfer_from(
        self,
        cf_src: CloudFiles | ArtifactFiles | str,
        paths: Any = None,
        block_size: int = 64,
        reencode: str | None = None,
        content_type: str | None = None,
        allow_missing: bool = False,
        progress: ProgressOption = None,
    ) -> None:
        """Copy files from another place; with ``allow_missing`` those that are not there are left out.

        With ``reencode`` (an encoding, or "" for none) or ``content_type`` they pass through memory, ``block_size`` at
        a time; else as ``ArtifactFiles`` copies them, which needs no blocks.
        """
        with self.files._facing(_files(cf_src)) as source:
            _transfer(source, self.files, paths, block_size, reencode, content_type, allow_missing, progress)

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
        try:
            self.files.moves(paths, _files(cf_dest), total=total, progress=progress)
        except BatchError as error:
            if not error.errors:
                raise
            raise _first(error) from error

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
            return self.get(_range(key[0], key[1]))
        return self.get(key)

    def __setitem__(self, key: str | slice, value: Any) -> None:
        if isinstance(value, CloudFiles | ArtifactFiles):
            if key != slice(None):
                raise KeyError(f"only cf[:] = other copies all files, not {key!r}")
            self.transfer_from(value)
        else:
            if isinstance(key, slice):
                raise KeyError(f"cf[:] takes files to copy, a CloudFiles, not {type(value).__name__}")
            self.put(key, value)

    def __delitem__(self, key: Any) -> None:
        self.delete(key)


def _with_endpoint(extracted: paths_of.ExtractedPath, endpoint: str) -> str:
    if extracted.protocol != "s3" or extracted.host is not None:
        raise ValueError("endpoint= is the server of an s3://bucket that names none")
    return paths_of.asprotocolpath(extracted._replace(host=endpoint.rstrip("/")))


def _s3_secrets(secrets: Any, no_sign_request: bool, request_payer: str | None) -> Mapping[str, object]:
    if secrets is not None and not isinstance(secrets, Mapping):
        raise ValueError("no_sign_request and request_payer go together with secrets= as a mapping; or put them there")
    given = {**(secrets or {})}
    if no_sign_request:
        given = {"no_sign_request": True}
    if request_payer is not None:
        given["request_payer"] = request_payer
    return given


class CloudFile:
    """One file, named by its whole cloudpath."""

    def __init__(self, path: str, *, cache_meta: bool = False, **options: Any) -> None:
        root, self.filename = _split(path)
        self.cf = CloudFiles(root, **options)
        self.cache_meta = cache_meta
        self._known: dict[str, Any] | None = None

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
        wanted = [_range(self.filename, each) if isinstance(each, slice) else each for each in ranges]
        return self.cf.get(wanted, raw=raw)

    def get_json(self) -> Any:
        """The value that it holds."""
        return self.cf.get_json(self.filename)

    def put(self, content: Any, *args: Any, **options: Any) -> int:
        """Store it."""
        self._known = None
        return self.cf.put(self.filename, content, *args, **options)

    def put_json(self, content: Any, *args: Any, **options: Any) -> int:
        """Store a value as JSON."""
        self._known = None
        return self.cf.put_json(self.filename, content, *args, **options)

    def head(self) -> dict[str, Any] | None:
        """Its headers, None if it is missing; with ``cache_meta`` as they were when they were first asked for."""
        if self._known is None or not self.cache_meta:
            self._known = self.cf.head(self.filename)
        return self._known

    def size(self) -> int | None:
        """Its bytes, None if it is missing."""
        if self.cache_meta:
            headers = self.head()
            return None if headers is None else headers["Content-Length"]
        size: int | None = self.cf.size(self.filename)
        return size

    def exists(self) -> bool:
        """Whether it is there."""
        return bool(self.cf.exists(self.filename))

    def delete(self) -> None:
        """Remove it."""
        self._known = None
        self.cf.delete(self.filename)

    def touch(self) -> None:
        """Make it, empty, if it is not there."""
        self._known = None
        self.cf.touch(self.filename)

    def move(self, dest: str) -> None:
        """Move it, to a name beside it or a whole cloudpath."""
        self.cf.move(self.filename, dest)

    def transfer_to(self, cloudpath: str, reencode: str | None = None) -> None:
        """Copy it to another cloudpath."""
        root, name = _split(cloudpath)
        self.cf.transfer_to(root, [(self.filename, name)], reencode=reencode)

    def transfer_from(self, cloudpath: str, reencode: str | None = None) -> None:
        """Copy what is at another cloudpath here."""
        self._known = None
        root, name = _split(cloudpath)
        self.cf.transfer_from(root, [(name, self.filename)], reencode=reencode)

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
        size = self.size()
        if size is None:
            raise ObjectNotFound("no such object", path=self.filename)
        return size

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, wanted: slice) -> Any:
        return self.cf[self.filename, wanted]


def dl(cloudpaths: Any, raw: bool = False, progress: ProgressOption = False, **options: Any) -> Any:
    """Read files by their whole cloudpaths: a list of results with ``fullpath``; for one its result.

    A dict is a range of one: its ``path``, and its ``byte_range``, a pair.
    """
    scalar = is_scalar(cloudpaths)
    places: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    shown: list[str] = []
    for number, item in enumerate([cloudpaths] if scalar else cloudpaths):
        cloudpath, (start, end) = item, (None, None)
        if isinstance(item, Mapping):
            cloudpath, (start, end) = item["path"], item.get("byte_range") or (None, None)
        root, name = _split(cloudpath)
        places.setdefault(root, []).append((number, {"path": name, "start": start, "end": end}))
        shown.append(without_user(cloudpath))
    results: list[Any] = [None] * len(shown)
    for root, items in places.items():
        cf = CloudFiles(root, **options)
        with cf.files:
            got = cf.get([item for _, item in items], raw=raw, progress=progress)
        for (number, _), result in zip(items, got, strict=True):
            results[number] = {**result, "fullpath": shown[number]}
    return results[0] if scalar else results


def _split(cloudpath: str) -> tuple[str, str]:
    """The place of a file, and its name there, whatever format the cloudpath says."""
    return split_cloudpath(paths_of.without_format(cloudpath)[1])


def _files(place: CloudFiles | ArtifactFiles | str) -> ArtifactFiles | str:
    return place.files if isinstance(place, CloudFiles) else place


def _transfer(
    source: ArtifactFiles,
    target: ArtifactFiles,
    paths: Any,
    block_size: int,
    reencode: str | None,
    content_type: str | None,
    allow_missing: bool,
    progress: ProgressOption,
) -> None:
    """Copy files, and raise the first error that is none of a missing file which may be."""
    items: Iterable[Transfer] | None = None
    if paths is not None:
        items = [paths] if is_scalar(paths) else paths
    failed: list[tuple[str, Exception]] = []
    if reencode is None and content_type is None:
        results: list[CopyResult] = target.transfer_from(source, items, raise_errors=False, progress=progress)
        failed = [(result["path"], result["error"]) for result in results if result["error"] is not None]
    else:
        wanted, total = wanted_of(source.list() if items is None else items, None)
        changed = _changed(source, wanted, block_size, reencode, content_type, failed)
        stored = target.puts(changed, total=total, raise_errors=False, progress=progress)
        failed += [(result["path"], result["error"]) for result in stored if result["error"] is not None]
    excused: set[str] = set()
    if allow_missing:  # an error that something is missing may speak of the target, too
        names = [
            path
            for path, error in failed
            if isinstance(error, ObjectNotFound) and not isinstance(error, ArtifactNotFound | BucketNotFound)
        ]
        excused = {path for path, there in source.exists(names).items() if not there} if names else set()
    for path, error in failed:
        if path not in excused:
            raise error


def _changed(
    source: ArtifactFiles,
    wanted: Iterable[Wanted],
    block_size: int,
    reencode: str | None,
    content_type: str | None,
    failed: list[tuple[str, Exception]],
) -> Iterator[Mapping[str, Any]]:
    """What is to be stored in the place of files, some at a time; what could not be read is added to ``failed``."""
    for several in chunks(wanted, max(1, block_size)):
        read: list[Result] = source.get([one.path for one in several], raw=True, raise_errors=False, progress=False)
        for one, result in zip(several, read, strict=True):
            if result["error"] is not None:
                failed.append((one.path, result["error"]))
                continue
            made: Mapping[str, Any] = result
            if reencode is not None:
                try:
                    (made,) = transcode([result], reencode)
                except DecompressionError as error:
                    failed.append((one.path, error))
                    continue
            yield {**made, "path": one.target, "content_type": content_type or made["content_type"]}


def _range(path: str, wanted: slice) -> dict[str, Any]:
    if wanted.step not in (None, 1):
        raise ValueError(f"{path!r}: a slice of bytes has no step")
    return {"path": path, "start": wanted.start, "end": wanted.stop}


def _items(files: Any) -> Any:
    """What is to be stored: several, or the one pair or dict that was given."""
    one = isinstance(files, Mapping) or (isinstance(files, tuple) and bool(files) and isinstance(files[0], str))
    return [files] if one else files


def _fields(item: Any) -> dict[str, Any]:
    """One item to store as a dict; keys that say nothing, and those of results of ``get``, are left out."""
    if isinstance(item, Sequence) and not isinstance(item, str | bytes) and len(item) == 2:
        return {"path": item[0], "content": item[1]}
    if not isinstance(item, Mapping):
        raise TypeError(f"puts takes (path, content) pairs or dicts, not {type(item).__name__}")
    given = {**item}
    for key in ("byte_range", "error", "storage_class", "fullpath"):
        if key == "fullpath" or given.get(key) in (None, (None, None)):
            given.pop(key, None)
    return given


def _written(item: Any, for_all: Mapping[str, Any], raw: bool) -> dict[str, Any]:
    """One item to store; what it does not say of itself is what is said of all."""
    given = _fields(item)
    for key, value in for_all.items():
        given.setdefault(key, value)
    encoded = bool(given.pop("raw", False)) or raw
    if given["compress"] is None or given["compress"] == "":
        given["compress"] = False
    if encoded and given["compress"] is not False:
        given["content_encoding"] = codec_of(given.pop("compress"))
        del given["compression_level"]
    return {key: value for key, value in given.items() if value is not None}


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
