"""What users write of mounts, made into mounts: lists, dicts, files of YAML or JSON, and what each protocol is told.

All that is wrong with a configuration is a ``StorageConfigError`` that names the mount, and no value of it: one may be
a secret. Nothing is contacted; of a local mount it is looked at whether the folder is there.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from ..backends import is_supported
from ..errors import StorageConfigError
from ..files import ArtifactFiles
from ..retry import RetryPolicy
from .mount import LEVELS, Mount, Permissions, folder_of

Options = Mapping[str, Any]
"""What is said of one mount: ``name``, ``protocol``, and what that takes."""

Source = str | os.PathLike[str] | Options | Sequence[Options]

_NAME = re.compile(r"[^\W_][\w.-]*")
_ENCRYPTION = {"encrypted", "default_encrypted", "storage_key", "encryption_key", "encryption_keys"}
_FILES = frozenset(inspect.signature(ArtifactFiles).parameters) - {"cloudpath"}


def options_of(source: Source) -> list[Options]:
    """What a source says of each mount, in order."""
    if isinstance(source, str | os.PathLike):
        return options_of(_read(Path(source)))
    if isinstance(source, Mapping):
        if isinstance(source.get("name"), str):
            return [source]
        return [_named(name, _mapping(options, f"mount {name!r}")) for name, options in source.items()]
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        return [_mapping(options, f"mount number {number}") for number, options in enumerate(source, 1)]
    raise TypeError(
        "mounts are configured by a list of dicts, a dict of options by name, or the path of a .yaml or .json file, "
        f"not by {type(source).__name__}"
    )


def _mapping(options: object, whose: str) -> Options:
    if not isinstance(options, Mapping):
        raise StorageConfigError(f"{whose}: expected a dict of its options, not {type(options).__name__}")
    if not all(isinstance(key, str) for key in options):
        raise StorageConfigError(f"{whose}: the names of its options are to be texts")
    return options


def _named(name: object, options: Options) -> Options:
    if options.get("name", name) != name:
        raise StorageConfigError(f"mount {name!r}: its options give it another name")
    return {**options, "name": name}


def _all_different(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dict of a file, in which nothing takes the place of anything."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise StorageConfigError(f"{key!r:.60} is said twice")
        found[key] = value
    return found


def _read(path: Path) -> Source:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise StorageConfigError("this is no text in UTF-8", path=str(path)) from None
    suffix = path.suffix.lower()
    if suffix == ".json":
        try:
            found = json.loads(text, object_pairs_hook=_all_different)
        except StorageConfigError as error:
            raise StorageConfigError(error.args[0], path=str(path)) from None
        except ValueError as error:
            raise StorageConfigError(f"this is no JSON: {error}", path=str(path)) from None
    elif suffix in (".yaml", ".yml"):
        try:
            import yaml
        except ImportError:
            raise ImportError("to read YAML, PyYAML is needed: pip install 'cloudfiles_hypha[mounts]'") from None

        class Loader(yaml.SafeLoader):
            """As PyYAML has it, but no key twice."""

            def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
                its_own = [(self.construct_object(key, deep=True), None) for key, _ in node.value if key.tag != _MERGED]
                _all_different((key, None) for key, _ in its_own if isinstance(key, str))
                return cast("dict[Any, Any]", super().construct_mapping(node, deep))

        try:
            found = yaml.load(text, Loader)  # noqa: S506 -- it is a safe one
        except StorageConfigError as error:
            raise StorageConfigError(error.args[0], path=str(path)) from None
        except yaml.YAMLError as error:
            where = getattr(error, "problem_mark", None)
            line = f" (line {where.line + 1})" if where is not None else ""
            raise StorageConfigError(f"this is no YAML{line}", path=str(path)) from None
    else:
        raise StorageConfigError("a configuration is a file that ends in .yaml, .yml or .json", path=str(path))
    if not isinstance(found, list | dict):
        raise StorageConfigError("expected a list of mounts, or a dict of options by name", path=str(path))
    return cast(Source, found)


_MERGED = "tag:yaml.org,2002:merge"


def mount_of(options: Options, mounts: Mapping[str, Mount]) -> Mount:
    """The mount that is described; ``mounts`` are those that are there, which it may lie in."""
    name = options.get("name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise StorageConfigError(
            f"name={name!r:.60}: a mount's name is letters, digits, '_', '.' and '-', and begins with one of the former"
        )
    try:
        return _Reading(name, options).mount(mounts)
    except StorageConfigError:
        raise
    except (ValueError, TypeError, OSError) as error:
        raise StorageConfigError(f"mount {name!r}: {error}") from error


class _Reading:
    """The options of one mount, each of which is to be taken once."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self._left = {key: value for key, value in options.items() if key not in ("name",)}
        self._protocol = ""

    def wrong(self, text: str) -> StorageConfigError:
        """The error that says so of this mount."""
        return StorageConfigError(f"mount {self.name!r}: {text}")

    def take(self, *names: str, needed: bool = False) -> Any:
        """The value of the first of these names that is given; None if none is."""
        given = [name for name in names if self._left.get(name) is not None]
        for name in names:
            if name not in given[:1] and name in given:
                raise self.wrong(f"{given[0]!r} and {name!r} mean the same: give one of them")
        if needed and not given:
            raise self.wrong(f"protocol {self._protocol!r} needs {names[0]!r}")
        value = self._left[given[0]] if given else None
        for name in names:
            self._left.pop(name, None)
        return value

    def text(self, *names: str, needed: bool = False) -> str | None:
        """Likewise, and it has to be a text."""
        value = self.take(*names, needed=needed)
        if value is not None and not isinstance(value, str):
            raise self.wrong(f"{names[0]!r} is a text, not {type(value).__name__}")
        return value

    def put_back(self, name: str, value: Any) -> None:
        """Have it taken with the rest."""
        self._left[name] = value

    def rest(self, but: frozenset[str]) -> dict[str, Any]:
        """All that is left, but for these."""
        return {name: self._left.pop(name) for name in [*self._left] if name not in but}

    def mount(self, mounts: Mapping[str, Mount]) -> Mount:
        """All of it."""
        refused = sorted(_ENCRYPTION & {*self._left})
        if refused:
            named = ", ".join(map(repr, refused))
            raise self.wrong(f"{named}: there is no encryption at rest yet, so nothing is stored as if there were")
        permissions = self.take("permissions")
        if permissions not in (None, *LEVELS):
            raise self.wrong(f"permissions are one of {', '.join(map(repr, LEVELS))}")
        protocol = self.text("protocol", "type")
        path = self._left.get("path")
        if protocol is None and isinstance(path, str) and ":" in path and "://" not in path:
            return self._relative(mounts, permissions)
        cloudpath = self.text("cloudpath")
        extra: dict[str, Any] = {}
        base_url = None
        if cloudpath is None:
            if protocol is None:
                raise self.wrong("say which 'protocol' it has, or its 'cloudpath'")
            protocol = self._protocol = _ALSO_CALLED.get(protocol, protocol)
            if protocol in _PROTOCOLS:
                cloudpath, extra = _PROTOCOLS[protocol](self)
            elif is_supported(protocol):
                cloudpath, extra = _foreign(self, protocol)
            else:
                raise self.wrong(f"unknown protocol {protocol!r}; there are {', '.join(_PROTOCOLS)}, and fsspec's")
            base_url = extra.pop("base_url", None)
        elif protocol is not None:
            raise self.wrong("'cloudpath' says the protocol already: give one of them")
        chosen = {name: self._left.pop(name) for name in [*self._left] if name in _FILES and name not in extra}
        if isinstance(chosen.get("retry"), Mapping):  # as a file can say it
            chosen["retry"] = self._retry(chosen["retry"])
        if self._left:
            raise self.wrong(f"unknown: {', '.join(map(repr, sorted(self._left)))}")
        files = ArtifactFiles(cloudpath, **extra, **chosen)
        return self._allowed(Mount(name=self.name, files=files, cloudpath=cloudpath, base_url=base_url), permissions)

    def _retry(self, told: Mapping[str, Any]) -> RetryPolicy:
        known = ("attempts", "first", "longest", "elapsed")
        unknown = [name for name in told if name not in known]
        if unknown:
            raise self.wrong(f"unknown in 'retry': {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
        return RetryPolicy(**told)

    def _allowed(self, mount: Mount, permissions: Permissions | None) -> Mount:
        writable = mount.backend.can.writable
        if permissions not in (None, "readonly") and not writable:
            raise self.wrong(f"permissions={permissions!r}, but {mount.scheme}:// can only be read from")
        mount.permissions = permissions or ("delete" if writable else "readonly")
        if mount.backend.can.folders and not mount.backend.is_folder(mount.full("")):
            raise self.wrong("the folder is not there; make it first")
        return mount

    def _relative(self, mounts: Mapping[str, Mount], permissions: Permissions | None) -> Mount:
        above, _, below = cast(str, self.take("path")).partition(":")
        parent = mounts.get(above)
        if parent is None:
            raise self.wrong(f"it lies in {above!r}, which is not configured; there are {[*mounts]}")
        if self._left:
            raise self.wrong(f"unknown: {', '.join(map(repr, sorted(self._left)))}; all else is as {above!r} has it")
        if permissions is not None and LEVELS.index(permissions) > LEVELS.index(parent.permissions):
            raise self.wrong(f"permissions={permissions!r} are more than those of {above!r}, {parent.permissions!r}")
        if parent.inline:
            raise self.wrong(f"{above!r} has no folders")
        folder = parent.clean(below)
        if folder and parent.scheme == "file":
            return _local_part(parent, self.name, folder, permissions or parent.permissions)
        prefix = f"{parent.prefix}{folder}/" if folder else parent.prefix
        return replace(parent, name=self.name, prefix=prefix, permissions=permissions or parent.permissions)


def _local_part(parent: Mount, name: str, folder: str, permissions: Permissions) -> Mount:
    """A part of a local mount, whose files never leave it, as those of the other never leave that."""
    from ..backends.local import FileLocation, as_cloudpath

    above = folder_of(parent.files)
    path = os.path.join(above, *folder.split("/"))
    state = parent.files.__getstate__()
    state["cloudpath"] = as_cloudpath(path)
    state["location"] = FileLocation(scheme="file", root=state["cloudpath"], folder=path)
    files = ArtifactFiles.__new__(ArtifactFiles)
    files.__setstate__(state)
    url = None if parent.base_url is None else f"{parent.base_url.rstrip('/')}/{quote(folder)}"
    return Mount(
        name=name,
        files=files,
        cloudpath=state["cloudpath"],
        permissions=permissions,
        base_url=url,
        within=(*parent.within, above),
    )


def _below(place: str, prefix: str | None) -> str:
    return f"{place}/{prefix.strip('/')}" if prefix and prefix.strip("/") else place


def _local(given: _Reading) -> tuple[str, dict[str, Any]]:
    folder = given.take("base_path", "path", needed=True)
    if not isinstance(folder, str | os.PathLike) or not isinstance(os.fspath(folder), str):
        raise given.wrong(f"'base_path' is a text or a Path, not {type(folder).__name__}")
    folder = os.path.expanduser(os.fspath(folder))
    if not os.path.isabs(folder):
        raise given.wrong("'base_path' is to be absolute")
    if not os.path.isdir(folder):
        raise given.wrong(f"there is no folder {folder!r}; make it first")
    from ..backends.local import as_cloudpath

    return as_cloudpath(os.path.abspath(folder)), {"base_url": given.text("base_url")}


def _memory(given: _Reading) -> tuple[str, dict[str, Any]]:
    return _below(f"mem://{given.text('bucket') or given.name}", given.text("base_path", "prefix")), {}


def _endpoint(given: _Reading, scheme: str) -> str:
    endpoint = given.text("endpoint_url")
    return f"{scheme}://{endpoint.rstrip('/')}/" if endpoint else f"{scheme}://"


def _s3(given: _Reading) -> tuple[str, dict[str, Any]]:
    bucket, prefix = given.text("bucket", needed=True), given.text("base_path", "prefix")
    keys = {
        "AWS_ACCESS_KEY_ID": given.text("access_key", "key"),
        "AWS_SECRET_ACCESS_KEY": given.text("secret_key", "secret"),
        "AWS_SESSION_TOKEN": given.text("session_token", "token"),
        "region": given.text("region"),
        "profile": given.text("profile"),
        "no_sign_request": given.take("anon"),
    }
    given.take("version_aware")  # versions are asked for when they are wanted
    secrets = {name: value for name, value in keys.items() if value is not None}
    return _below(f"{_endpoint(given, 's3')}{bucket}", prefix), _with_secrets(given, secrets)


def _gcs(given: _Reading) -> tuple[str, dict[str, Any]]:
    bucket, prefix = given.text("bucket", needed=True), given.text("base_path", "prefix")
    token = given.take("token")
    given.take("project")  # which is asked for where buckets are made
    extra: dict[str, Any] = {}
    if token == "anon":  # noqa: S105 -- a word of gcsfs's
        extra["secrets"] = {}
    elif isinstance(token, str) and not token.endswith(".json"):
        extra["token"] = token
    elif token is not None:
        extra["secrets"] = token
    return _below(f"{_endpoint(given, 'gs')}{bucket}", prefix), extra


def _azure(given: _Reading) -> tuple[str, dict[str, Any]]:
    container, prefix = given.text("container", needed=True), given.text("base_path", "prefix")
    keys = {
        "AZURE_STORAGE_ACCOUNT": given.text("account_name"),
        "AZURE_STORAGE_KEY": given.text("account_key"),
        "AZURE_STORAGE_SAS_TOKEN": given.text("sas_token"),
        "AZURE_STORAGE_CONNECTION_STRING": given.text("connection_string"),
    }
    secrets = {name: value for name, value in keys.items() if value is not None}
    return _below(f"{_endpoint(given, 'az')}{container}", prefix), _with_secrets(given, secrets)


def _with_secrets(given: _Reading, secrets: dict[str, Any]) -> dict[str, Any]:
    if not secrets:
        return {}
    if given.take("secrets") is not None:
        raise given.wrong(f"'secrets' has these already: {', '.join(map(repr, secrets))}; give one of them")
    return {"secrets": secrets}


def _http(given: _Reading) -> tuple[str, dict[str, Any]]:
    url = cast(str, given.text("base_url", "base_path", needed=True))
    if not url.startswith(("http://", "https://")):
        raise given.wrong("'base_url' begins with http:// or https://")
    return url, {}


def _hypha(given: _Reading) -> tuple[str, dict[str, Any]]:
    artifact = cast(str, given.text("artifact", "artifact_id", needed=True)).removeprefix("hypha://").strip("/")
    version = given.text("version")
    if version is not None:
        if not version or "/" in version or "@" in version or "@" in artifact:
            raise given.wrong(f"version={version!r:.60} of {artifact!r:.60}: name one version, and only once")
        root, slash, below = artifact.partition("/")
        alias, more, below = below.partition("/")
        artifact = f"{root}{slash}{alias}@{version}{more}{below}"
    return _below(f"hypha://{artifact}", given.text("base_path", "prefix")), {}


def _base64(given: _Reading) -> tuple[str, dict[str, Any]]:
    return "base64://", {}


# Options of ``ArtifactFiles`` that are fsspec's here, where its file systems have such.
_OF_FSSPEC = {"token", "secrets", "timeout", "headers"}
_ARCHIVES = {"zip", "tar", "libarchive"}
# What is known by an option of another name to fsspec's.
_CALLED = {"git": {"base_path": "path"}, "github": {}, "webdav": {"url": "base_url"}}


def _foreign(given: _Reading, protocol: str) -> tuple[str, dict[str, Any]]:
    """Any protocol that fsspec knows: where it is makes the cloudpath, all else are its storage options."""
    if protocol in _ARCHIVES:
        target = given.text("file", "fo", needed=True)
        place = f"{protocol}://{(given.text('base_path') or '').strip('/')}::{target}"
    elif protocol in _CALLED:
        for ours, its in _CALLED[protocol].items():
            given.put_back(its, given.take(ours, its, needed=True))
        place = f"{protocol}://{(given.text('base_path') or '').strip('/')}"
        user, password = (given.take("username"), given.take("password")) if protocol == "webdav" else (None, None)
        if user is not None:
            given.put_back("auth", (user, password))
    else:
        host, share = given.text("host", needed=True), given.text("share")
        port = given.take("port")
        place = f"{protocol}://{host}" + (f":{port}" if port is not None else "")
        place = _below(_below(place, share), given.text("base_path", "path"))
    return place, {"secrets": given.rest(_FILES - _OF_FSSPEC)}


_PROTOCOLS: dict[str, Callable[[_Reading], tuple[str, dict[str, Any]]]] = {
    "local": _local,
    "memory": _memory,
    "s3": _s3,
    "gcs": _gcs,
    "azure": _azure,
    "http": _http,
    "hypha": _hypha,
    "base64": _base64,
}

# What the same places are called in cloudpaths, and by fsspec.
_ALSO_CALLED = {"file": "local", "mem": "memory", "gs": "gcs", "az": "azure", "abfs": "azure", "https": "http"}


def mounts_of(source: Source, there: Mapping[str, Mount]) -> Iterator[Mount]:
    """The mounts that a source describes, in order; one may lie in those before it, and in those that are there."""
    known = dict(there)
    names: set[str] = set()
    for options in options_of(source):
        mount = mount_of(options, known)
        if mount.name in names:
            raise StorageConfigError(f"mount {mount.name!r}: it is configured twice here; which one is meant?")
        names.add(mount.name)
        known[mount.name] = mount
        yield mount
