"""``ArtifactFile``: one file, named by its whole cloudpath. Everything is done by an ``ArtifactFiles`` beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .arguments import Replace
from .backends import split_cloudpath
from .content.codecs import Compress
from .content.sources import Content
from .files import ArtifactFiles
from .models import ObjectInfo, Version
from .paths import SEP, join_names, last_of, parent_of
from .results import CopyResult, Result


class ArtifactFile:
    """One file at ``cloudpath``; ``options`` are those of ``ArtifactFiles``.

    ``file[0:100]`` reads a range, ``len(file)`` is its size. As a context manager it closes idle connections.
    """

    def __init__(self, cloudpath: str, **options: Any) -> None:
        root, self.name = split_cloudpath(cloudpath)
        self.cloudpath = cloudpath
        self.files = ArtifactFiles(root, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self.files!r}>"

    def __enter__(self) -> ArtifactFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections. The object may be used again, and opens new ones."""
        self.files.close()

    def get(self, start: int | None = None, end: int | None = None, *, version: str | None = None) -> bytes:
        """Its bytes, or those of the half-open range; with the id of a ``Version`` as they were then."""
        content: bytes = self.files.get({"path": self.name, "start": start, "end": end, "version": version})
        return content

    def get_json(self) -> Any:
        """The value that it holds as JSON."""
        return self.files.get_json(self.name)

    def put(
        self,
        content: Content,
        content_type: str | None = None,
        cache_control: str | None = None,
        content_encoding: str | None = None,
        compress: Compress = None,
        compression_level: int | None = None,
        *,
        overwrite: Replace = "always",
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Result:
        """Store it; see ``ArtifactFiles.put``."""
        described = (content_type, cache_control, content_encoding, compress, compression_level)
        return self.files.put(self.name, content, *described, overwrite=overwrite, if_match=if_match, metadata=metadata)

    def put_json(
        self,
        content: Any,
        cache_control: str | None = None,
        compress: Compress = None,
        compression_level: int | None = None,
        *,
        overwrite: Replace = "always",
        if_match: str | None = None,
    ) -> Result:
        """Store a value as JSON; otherwise like ``put``."""
        described = (cache_control, compress, compression_level)
        return self.files.put_json(self.name, content, *described, overwrite=overwrite, if_match=if_match)

    def head(self, *, version: str | None = None) -> ObjectInfo:
        """Size, ETag, content type, metadata and headers; of a version as they were then."""
        return self.files.head(self.name, version=version)

    def versions(self) -> list[Version]:
        """The versions that the store still has, oldest first; see ``ArtifactFiles.versions``."""
        return self.files.versions(self.name)

    def set_metadata(self, metadata: Mapping[str, str]) -> None:
        """Replace what is said of it by names of your own; see ``ArtifactFiles.set_metadata``."""
        self.files.set_metadata(self.name, metadata)

    def size(self) -> int:
        """Its size in bytes."""
        return self.files.size(self.name)

    def exists(self) -> bool:
        """Whether it is there."""
        return self.files.exists(self.name)

    def delete(self) -> None:
        """Remove it; if it is not there it counts as removed."""
        self.files.delete(self.name)

    def touch(self) -> None:
        """Make it as an empty file if it is not there."""
        self.files.touch(self.name)

    def transfer_to(self, dest: str | ArtifactFile) -> CopyResult:
        """Copy it to another file, named by its whole cloudpath; see ``ArtifactFiles.transfer_to``."""
        target, name = _target(dest)
        results: list[CopyResult] = self.files.transfer_to(target, [(self.name, name)])
        return results[0]

    def transfer_from(self, source: str | ArtifactFile) -> CopyResult:
        """Copy another file here."""
        place, name = _target(source)
        results: list[CopyResult] = self.files.transfer_from(place, [(name, self.name)])
        return results[0]

    def move(self, dest: str | ArtifactFile) -> CopyResult:
        """Copy it to another file and remove it here; see ``ArtifactFiles.moves``."""
        target, name = _target(dest)
        (result,) = self.files.moves([(self.name, name)], target)
        return result

    def __len__(self) -> int:
        return self.size()

    def __bool__(self) -> bool:
        return True  # an empty file is a file, and asking for its size would be a request

    def __getitem__(self, wanted: slice) -> bytes:
        """``file[start:end]``; an end that counts from behind needs a request of its own."""
        if not isinstance(wanted, slice) or wanted.step not in (None, 1):
            raise TypeError("a file is read by file[start:end], without a step")
        start, end = wanted.start, wanted.stop
        if (start or 0) < 0 or (end or 0) < 0:
            start, end, _ = wanted.indices(self.size())
            end = max(start, end)
        return self.get(start, end)

    @property
    def sep(self) -> str:
        """What parts names into folders."""
        return SEP

    def join(self, *parts: str) -> str:
        """Names as one."""
        return join_names(*parts)

    @property
    def dirname(self) -> str:
        """The cloudpath of the folder that it is in."""
        return parent_of(self.cloudpath)

    @property
    def basename(self) -> str:
        """The last part of its name."""
        return last_of(self.cloudpath)


def _target(other: str | ArtifactFile) -> tuple[str | ArtifactFiles, str]:
    """Where another file is, and its name there."""
    return split_cloudpath(other) if isinstance(other, str) else (other.files, other.name)
