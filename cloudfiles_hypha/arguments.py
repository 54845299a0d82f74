"""What users write, turned into requests, or into an error that names what is wrong with it. No I/O.

One item is a path, a dict, or a pair; several are an iterable of them. What is known whole (a list, a tuple, a set) is
checked before anything is sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar
from weakref import WeakValueDictionary

from .backends.metadata import Metadata, metadata_of
from .content.codecs import Compress, check_codec, codec_of
from .content.sources import Stream, as_body
from .errors import InvalidContent
from .models import GetRequest, PutRequest
from .paths import check_name, check_version
from .results import Result

T = TypeVar("T")

Source = str | Mapping[str, Any]
"""One item to read: a path, or ``{"path": p, "start": 0, "end": 1024, "raw": ..., "version": ..., "into": ...}``."""
Replace = Literal["always", "never"]
"""Whether a file that is there is replaced by what is put; see ``ArtifactFiles.put``."""
Patterns = str | Iterable[str] | None
"""Glob patterns, or one; None is no pattern."""

_KINDS = frozenset({"r", "w", "x", "a", "r+", "w+", "x+", "a+"})
_GET_KEYS = frozenset({"path", "start", "end", "raw", "tags", "into", "if_match", "part", "version", "cut"})
_PUT_KEYS = frozenset(
    {
        "path",
        "content",
        "content_type",
        "cache_control",
        "content_encoding",
        "compress",
        "compression_level",
        "overwrite",
        "if_match",
        "metadata",
        "tags",
    }
)


def is_scalar(paths: object) -> bool:
    """Whether one item was given; what is neither one nor an iterable of items is an error at once."""
    if isinstance(paths, str | Mapping):
        return True
    if isinstance(paths, bytes | bytearray | memoryview):
        raise TypeError(f"a path is a string, not {type(paths).__name__}: {bytes(paths[:60])!r}")
    if not isinstance(paths, Iterable):
        raise TypeError(f"expected a path, a dict with a 'path', or an iterable of them, not {type(paths).__name__}")
    return False


def counted(items: Iterable[T], total: int | None, make: Callable[[T], object]) -> tuple[Iterable[T], int | None]:
    """Items and how many there are, if that is known; what is known whole is checked before anything is sent."""
    if isinstance(items, Sequence | Set | Mapping):
        for item in items:
            make(item)
        return items, len(items)
    return items, total


class Reading(NamedTuple):
    """How a call reads all its items: the encoding left as it is, or undone within so many bytes."""

    raw: bool = False
    max_size: int | None = None


_AS_USUAL = Reading()


def reading(raw: object, max_size: object) -> Reading:
    """What a call says of all its items."""
    if not isinstance(raw, bool):
        raise TypeError(f"raw={raw!r}: expected True or False")
    if max_size is not None and (not isinstance(max_size, int) or isinstance(max_size, bool) or max_size < 0):
        raise ValueError(f"max_size={max_size!r}: expected a number of bytes, or None")
    return Reading(raw, max_size) if raw or max_size is not None else _AS_USUAL


def read_requests(
    sources: Iterable[Source], total: int | None, prefix: str, options: Reading
) -> tuple[Iterable[GetRequest], int | None]:
    """Requests and how many there are, if that is known."""
    if isinstance(sources, Sequence | Set | Mapping):
        requests = [read_request(source, prefix, options) for source in sources]
        return requests, len(requests)
    return (read_request(source, prefix, options) for source in sources), total


def read_request(source: Source, prefix: str, options: Reading = _AS_USUAL) -> GetRequest:
    """The request that ``source`` means."""
    if isinstance(source, str):
        if options is _AS_USUAL:
            return GetRequest(prefix + check_name(source))
        return GetRequest(prefix + check_name(source), raw=options.raw, max_size=options.max_size)
    path = _path_in(source, "get", _GET_KEYS)
    start, end, into = source.get("start"), source.get("end"), source.get("into")
    part, cut = source.get("part") or False, source.get("cut") or 0
    if part or cut:
        _check_part(path, part, cut, start, end, into)
    elif start is not None:
        _check_offset(path, "start", start)
    if end is not None:
        _check_offset(path, "end", end)
        if end < (start or 0):
            raise ValueError(f"{path!r}: the range ends ({end}) before it starts ({start or 0})")
    if into is not None:
        from .content.sinks import check_into  # only here: few programs give one

        check_into(into, path)
    own = source.get("raw")
    raw = options.raw if own is None else reading(own, None).raw
    pinned = source.get("if_match")
    if pinned is not None:
        _check_etag(path, pinned)
    return GetRequest(
        prefix + path,
        start,
        end,
        source.get("tags"),
        into,
        pinned,
        raw=raw,
        max_size=options.max_size,
        part=part,
        version=check_version(path, source.get("version")),
        cut=cut,
    )


def _check_part(path: str, part: object, cut: object, start: object, end: object, into: object) -> None:
    """A part is of the stored object, in memory, and may be counted from the end; ``cut`` into blocks of that size."""
    if part is not True:
        raise TypeError(f"{path!r}: part={part!r}: expected True or False")
    if not isinstance(cut, int) or isinstance(cut, bool) or cut < 0 or (cut and end is None):
        raise ValueError(f"{path!r}: cut={cut!r}: expected the size of the blocks that a part with an end is cut into")
    if into is not None:
        raise ValueError(f"{path!r}: part=True gives its bytes in the result, not to an into=")
    if not isinstance(start, int) or isinstance(start, bool):
        raise ValueError(f"{path!r}: start={start!r}: a part begins at a whole number of bytes")
    if start < 0 and end is not None:
        raise ValueError(f"{path!r}: start={start}: what is counted from the end goes to the end, without end={end!r}")


def _check_etag(path: str, etag: object) -> None:
    if not isinstance(etag, str) or not etag.isprintable() or not etag.isascii() or '"' in etag or not etag:
        raise ValueError(f"{path!r}: if_match={etag!r}: expected an ETag, as results have it")


def _check_offset(path: str, name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{path!r}: {name}={value!r}: expected a whole number of bytes from the beginning")


def _path_in(item: Mapping[str, object], verb: str, allowed: frozenset[str]) -> str:
    if "path" not in item:
        keys = ", ".join(map(repr, [*item][:5])) + (", ..." if len(item) > 5 else "")
        raise ValueError(f"{verb}: a dict is one item and needs a 'path'; this one has {keys}; give a list for several")
    path = check_name(item["path"])
    if not allowed.issuperset(item):
        unknown = sorted(str(key) for key in item if key not in allowed)
        raise ValueError(f"{path!r}: {verb} knows no {', '.join(map(repr, unknown))}; it takes {sorted(allowed)}")
    return path


class PutOptions(TypedDict):
    """What is said of a file besides its content."""

    content_type: str | None
    cache_control: str | None
    content_encoding: str | None
    compress: str | None
    compression_level: int | None
    new: bool
    pinned: str | None
    metadata: Metadata


def put_options(
    content_type: str | None = None,
    cache_control: str | None = None,
    content_encoding: str | None = None,
    compress: Compress = None,
    compression_level: int | None = None,
    overwrite: Replace = "always",
    if_match: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> PutOptions:
    """What a call says of all its files."""
    if overwrite not in ("always", "never"):
        raise ValueError(f"overwrite={overwrite!r}: choose 'always' or 'never'")
    if if_match is not None:
        if overwrite == "never":
            raise ValueError(f"overwrite='never' and if_match={if_match!r}: there cannot be nothing, and this")
        if not isinstance(if_match, str) or not if_match.isprintable() or not if_match.isascii() or '"' in if_match:
            raise ValueError(f"if_match={if_match!r}: expected an ETag, as results have it")
        if not if_match:
            raise ValueError("if_match='': an ETag is not empty; overwrite='never' is for where nothing is")
    texts = {"content_type": content_type, "cache_control": cache_control, "content_encoding": content_encoding}
    for name, value in texts.items():
        if value is not None and (not isinstance(value, str) or not value.isprintable() or not value.isascii()):
            raise ValueError(f"{name}={value!r}: expected printable ASCII text")
    codec = codec_of(compress)
    if codec is not None:
        if content_encoding is not None:
            raise ValueError(
                f"compress={compress!r} and content_encoding={content_encoding!r}: give compress to have the content "
                "encoded, or content_encoding for content that is encoded already"
            )
        check_codec(codec, compression_level)
    return {
        "content_type": content_type,
        "cache_control": cache_control,
        "content_encoding": content_encoding,
        "compress": codec,
        "compression_level": compression_level if codec is not None else None,
        "new": overwrite == "never",
        "pinned": if_match,
        "metadata": metadata_of(metadata),
    }


_OPTIONS = _PUT_KEYS - {"path", "content", "tags"}


def write_requests(
    files: Iterable[object],
    prefix: str,
    options: PutOptions,
    encode: Callable[[object, str], bytes] | None = None,
) -> Iterator[tuple[str, PutRequest]]:
    """The name and the request of each item to store; a name given twice is refused, and so is an iterator."""
    seen: set[str] = set()
    streams: WeakValueDictionary[int, Any] = WeakValueDictionary()
    for item in files:
        fields = _put_fields(item, options["compress"])
        path = fields["path"]
        if path in seen:
            raise ValueError(f"{path!r}: given twice; which content should win?")
        seen.add(path)
        own = _own_options(fields, options, path)
        content = fields["content"]
        body = as_body(content, path) if encode is None else encode(content, path)
        if isinstance(body, Stream):
            _refuse_shared(streams, content, path)
        yield path, PutRequest(prefix + path, body, **own, tags=fields.get("tags"))


def _refuse_shared(streams: WeakValueDictionary[int, Any], content: object, path: str) -> None:
    """Refuse an iterator whose blocks would be dealt out to several files. Some of Python's own cannot be noted."""
    if streams.get(id(content)) is content:
        raise ValueError(
            f"{path!r}: its content is an iterator that was given for another file, too; which one gets it?"
        )
    with suppress(TypeError):
        streams[id(content)] = content


def _own_options(fields: Mapping[str, Any], options: PutOptions, path: str) -> PutOptions:
    """What is said of one file: what it says itself, and else what the call says."""
    if not fields.keys() & _OPTIONS:
        return options
    compress, level = fields.get("compress"), fields.get("compression_level")
    if fields.get("if_match", "") is None:
        raise ValueError(f"{path!r}: if_match=None: without an ETag nothing can be compared; leave it out to overwrite")
    if compress is None:
        compress, level = options["compress"], options["compression_level"] if level is None else level
    try:
        return put_options(
            fields.get("content_type") or options["content_type"],
            fields.get("cache_control") or options["cache_control"],
            fields.get("content_encoding") or options["content_encoding"],
            compress,
            level,
            fields.get("overwrite", "never" if options["new"] else "always"),
            options["pinned"] if fields.get("if_match") is None else fields["if_match"],
            dict(options["metadata"]) if fields.get("metadata") is None else fields["metadata"],
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path!r}: {error}") from None


def _put_fields(item: object, wanted: str | None) -> Mapping[str, Any]:
    """The fields of one item to store: a pair, a dict, or a result of ``get``; ``wanted`` is the call's encoding."""
    if isinstance(item, Mapping):
        if Result.__required_keys__.issubset(item):
            if item["error"] is not None or item["byte_range"] != (None, None):
                raise ValueError(f"{item['path']!r}: a result that failed, or is only a range, cannot be stored")
            fields = {name: item[name] for name in ("path", "content", "content_type", "tags")}
            # what was decoded is encoded again, what was not is stored as it is
            if not item["raw"]:
                fields["compress"] = None if wanted is not None else item["compress"]
            elif item["compress"] is not None:
                if wanted not in (None, item["compress"]):
                    raise ValueError(
                        f"{item['path']!r}: content is encoded with {item['compress']}, not {wanted}: see transcode"
                    )
                fields.update(content_encoding=item["compress"], compress=False)
            return fields
        path = _path_in(item, "puts", _PUT_KEYS)
        if "content" not in item:
            raise ValueError(f"{path!r}: a dict to store needs a 'content'")
        return item
    if isinstance(item, tuple | list) and len(item) == 2:
        return {"path": check_name(item[0]), "content": item[1]}
    raise TypeError(f"puts takes (path, content) pairs or dicts, not {type(item).__name__}: {item!r:.60}")


def parse_json(content: bytes, path: str) -> object:
    """The value that is stored as JSON; raises ``InvalidContent``."""
    try:
        value: object = json.loads(content)
    except ValueError as error:
        raise InvalidContent(f"not JSON: {error}", path=path) from None
    return value


def to_json(content: object, path: str) -> bytes:
    """A value as UTF-8 JSON; raises what ``json`` raises, naming the path."""
    try:
        return json.dumps(content, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path!r}: cannot be written as JSON: {error}") from None


def name_filter(include: Patterns, exclude: Patterns) -> Callable[[str], bool]:
    """Whether a name is wanted: matched by a pattern of ``include``, if there are any, and by none of ``exclude``."""
    included, excluded = _patterns(include), _patterns(exclude)

    def wanted(name: str) -> bool:
        return (include is None or _matches(name, included)) and not _matches(name, excluded)

    return wanted


def _patterns(patterns: Patterns) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns or ())


def _matches(name: str, patterns: Iterable[str]) -> bool:
    last = name.rpartition("/")[2]
    return any(fnmatchcase(name if "/" in pattern else last, pattern) for pattern in patterns)


def kind_of(mode: str) -> str:
    """A mode without b and t, as "r" or "w+"; ``ValueError`` for one that there is not."""
    kind = "".join(letter for letter in "rwxa+" if letter in mode)
    if len(set(mode)) != len(mode) or not set(mode) <= set("rwxabt+") or {*"bt"} <= set(mode) or kind not in _KINDS:
        raise ValueError(f"mode={mode!r}: choose r, w, x or a, with b for bytes, and + to read and write")
    return kind
