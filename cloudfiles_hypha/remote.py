"""Files that are read by their URL or cloudpath alone: ``HttpFile``, ``AsyncHttpFile``. How is ``ranges``' business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from .async_files import check_not_green
from .backends import split_cloudpath
from .bridge import call
from .files import ArtifactFiles
from .ranges import RangeFile
from .ranges.awaited import AsyncRangeFile
from .ranges.file import Cursor
from .ranges.opening import reader_of
from .ranges.reading import ReadOptions

if TYPE_CHECKING:
    from .backends.web import WebLocation

__all__ = ["AsyncHttpFile", "AsyncRangeFile", "HttpFile", "files_of"]

# What is said of one file; other options are those of what reads it.
RANGE_OPTIONS = frozenset(ReadOptions.__slots__) | {"cache"}


def files_of(url: str, options: Mapping[str, Any]) -> tuple[ArtifactFiles, str]:
    """What reads the file of a URL or cloudpath, and its name there; ``ValueError`` if it names none.

    A web address may have a query, which goes with each request.
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is a string, not {type(url).__name__}")
    place, mark, query = url.partition("?")
    of_the_web = place.startswith(("http://", "https://"))
    if not mark or not of_the_web:
        root, name = split_cloudpath(url)
        return ArtifactFiles(root, **options), name
    root, name = split_cloudpath(place)
    files = ArtifactFiles(root, **options)
    location: WebLocation = files._location  # type: ignore[assignment]  # by its scheme
    files._open(root, replace(location, query=query.partition("#")[0]), files._settings)
    return files, name


def _parted(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the file, and of what reads it."""
    own = {name: value for name, value in options.items() if name in RANGE_OPTIONS}
    return own, {name: value for name, value in options.items() if name not in RANGE_OPTIONS}


class HttpFile(RangeFile):
    """The object of one URL, or of one cloudpath of any store, as a ``RangeFile``.

    ``options`` are those of ``RangeFile`` and of ``ArtifactFiles``. Its end is fetched when it is opened, since there
    most formats (zip, parquet) say what is in them.
    """

    def __init__(
        self,
        url: str,
        minimum_range_request_bytes: int = 8192,
        prefetch_bytes: int = 1048576,
        prefetch_direction: Literal["START", "END"] = "END",
        **options: Any,
    ) -> None:
        own, others = _parted(options)
        files, name = files_of(url, others)
        super().__init__(
            reader_of(files),
            name,
            minimum_range_request_bytes=minimum_range_request_bytes,
            prefetch_bytes=prefetch_bytes,
            prefetch_direction=prefetch_direction,
            **own,
        )

    def _begin(self, cursor: Cursor) -> None:
        super()._begin(cursor)
        reader: Any = cursor.remote.reader
        self.files: ArtifactFiles = getattr(reader, "files", reader)  # which it was made of

    def close(self) -> None:
        """Close it, and its idle connections; other cursors can be read on, with new ones."""
        if not self.closed:
            super().close()
            self.files.close()


class AsyncHttpFile(AsyncRangeFile):
    """The object of one URL, or of one cloudpath of any store, as an ``AsyncRangeFile``; options are ``HttpFile``'s."""

    def __init__(
        self,
        url: str,
        minimum_range_request_bytes: int = 8192,
        prefetch_bytes: int = 1048576,
        prefetch_direction: Literal["START", "END"] = "END",
        **options: Any,
    ) -> None:
        own, others = _parted(options)
        files, name = files_of(url, others)
        check_not_green(files)
        self.files = files
        super().__init__(
            files,
            name,
            minimum_range_request_bytes=minimum_range_request_bytes,
            prefetch_bytes=prefetch_bytes,
            prefetch_direction=prefetch_direction,
            **own,
        )

    async def close(self) -> None:
        """Close it, and its idle connections; other cursors can be read on, with new ones."""
        if not self._closed:
            self._closed = True
            await call(self.files.close)
