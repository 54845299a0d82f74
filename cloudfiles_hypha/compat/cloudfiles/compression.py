"""cloud-files' names for encoding and decoding; ``content.codecs`` does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from ...content import codecs
from ...progress import Progress, ProgressOption

COMPRESSION_TYPES = (None, False, True, "", "bz2", "bzip2", "gzip", "br", "zstd", "xz", "lzma")


def normalize_encoding(encoding: codecs.Compress) -> str | None:
    """The name of an encoding as results have it, None for none."""
    return codecs.codec_of(encoding)


def compress(content: bytes, method: codecs.Compress = "gzip", compress_level: int | None = None) -> bytes:
    """Encode content."""
    return codecs.compress(content, method, compress_level)


def decompress(content: bytes, encoding: codecs.Compress, filename: str = "N/A") -> bytes:
    """Decode content; ``DecompressionError`` if it is damaged, empty, or of an encoding that is not known."""
    return codecs.decompress(content, encoding, path=filename)


def transcode(
    files: Iterable[Mapping[str, Any] | tuple[str, Any]] | Mapping[str, Any] | tuple[str, Any],
    encoding: codecs.Compress,
    level: int | None = None,
    progress: ProgressOption = False,
    in_place: bool = False,
) -> Iterator[dict[str, Any]]:
    """Results of ``get``, or pairs of path and content, encoded otherwise, one after the other.

    What is stored so already is left as it is. With ``in_place`` the dicts that come are those that were given.
    """
    alone = isinstance(files, Mapping) or (isinstance(files, tuple) and bool(files) and isinstance(files[0], str))
    several: Any = [files] if alone else files
    with closing(Progress(progress, "transcode", total=len(several) if hasattr(several, "__len__") else None)) as bar:
        for file in several:
            (made,) = codecs.transcode([file], encoding, level)
            if in_place and isinstance(file, dict):
                file.update(made)
                made = file
            bar.add(len(made["content"]) if made["content"] is not None else None)
            yield made
