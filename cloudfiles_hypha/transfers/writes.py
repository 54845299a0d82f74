"""What a backend takes of a write, and which task that becomes: at once, in parts, encoded, or while it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..backends.base import Backend, WriteSession
from ..backends.metadata import Metadata
from ..backends.metadata import check_metadata as metadata_fits
from ..content.codecs import encoding_name
from ..content.sources import Stream
from ..models import Body, PutRequest
from ..redact import without_credentials
from ..settings import Settings
from .put import Put, PutEncoded, PutInParts
from .task import Context

_CONDITIONS = {"new": "overwrite='never'", "pinned": "if_match"}


@dataclass(frozen=True, slots=True)
class Writes:
    """Writes to one place, by its settings."""

    backend: Backend
    settings: Settings

    def task(self, context: Context, session: WriteSession, index: int, name: str, request: PutRequest) -> Put:
        """The task for one file: in parts, where it is large and the backend can."""
        self.check(name, request)
        if self._comes_as_stream(request):
            from .stream import PutStream  # loads what few programs need

            most, size = self._stored_at_once(request), self.settings.part_size
            return PutStream(context, session, index, name, request, most=most, part_size=size)
        if request.compress is not None:
            return PutEncoded(context, session, index, name, request)
        if self.goes_in_parts(request):
            return PutInParts(context, session, index, name, request, self.settings.part_size)
        return Put(context, session, index, name, request)

    @property
    def _threshold(self) -> int:
        largest = self.backend.can.largest_put
        threshold = self.settings.multipart_threshold
        return threshold if largest is None else min(threshold, largest)

    def is_one_request(self, request: PutRequest) -> bool:
        """Whether all of it goes by one."""
        return not (self.goes_in_parts(request) or (self._comes_as_stream(request) and self.backend.can.growing))

    def goes_in_parts(self, request: PutRequest) -> bool:
        """Whether it is large, of a known size, and the backend takes it in parts."""
        can = self.backend.can
        if not can.multipart or request.size <= self._threshold:
            return False
        return can.described_parts or not _is_described(request)

    def _comes_as_stream(self, request: PutRequest) -> bool:
        """Whether it is sent while it is read: nobody knows its size yet."""
        if request.compress is None or isinstance(request.body, Stream):
            return isinstance(request.body, Stream)
        most = self._stored_at_once(request)
        return isinstance(request.body, Body) or (most is not None and request.size > most)

    def _stored_at_once(self, request: PutRequest) -> int | None:
        """Bytes beyond which what comes as a stream goes in parts; None if it cannot."""
        can = self.backend.can
        described = request.compress is not None or _is_described(request)
        return self._threshold if can.growing and (can.described_parts or not described) else None

    def check_keeps(self, name: str, encoding: str | None) -> None:
        """``ValueError`` unless the place keeps this encoding."""
        can = self.backend.can
        if encoding is not None and can.writable and not can.keeps_encoding:
            raise ValueError(
                f"{without_credentials(name)!r}: {self.backend.scheme}:// keeps no Content-Encoding, so whoever reads "
                f"it would not know of {encoding}; leave out compress and content_encoding"
            )

    def check_metadata(self, name: str, metadata: Metadata) -> None:
        """``ValueError`` unless the place keeps such metadata."""
        try:
            metadata_fits(metadata, self.backend.can)
        except ValueError as error:
            raise ValueError(f"{name!r}: {self.backend.scheme}://: {error}") from None

    def _check_condition(self, name: str, request: PutRequest) -> None:
        can = self.backend.can
        for wanted, asked, condition in (
            (request.new, "overwrite='never'", "new"),
            (request.pinned is not None, "if_match", "pinned"),
        ):
            if wanted and can.writable and condition not in can.conditions:
                able = " and ".join(sorted(_CONDITIONS[each] for each in can.conditions))
                raise ValueError(
                    f"{name!r}: {self.backend.scheme}:// cannot look at what is there in the moment of a write, which "
                    f"{asked} needs ({f'it can for {able}' if able else 'nor for anything else'}); ask exists() or "
                    "head() first where no other writer may come in between"
                )

    def checked(self, requests: Iterable[tuple[str, PutRequest]]) -> Iterator[tuple[str, PutRequest]]:
        """These, each checked as it is asked for."""
        for name, request in requests:
            self.check(name, request)
            yield name, request

    def check(self, name: str, request: PutRequest) -> None:
        """``ValueError`` where the place does not take what is said of the file."""
        can = self.backend.can
        self._check_condition(name, request)
        self.check_keeps(name, request.compress or encoding_name(request.content_encoding))
        if request.metadata and can.writable:
            self.check_metadata(name, request.metadata)
        largest = None if can.described_parts else can.largest_put
        # of what is still to be encoded the size is not known yet
        if largest is not None and request.compress is None and request.size > largest and _is_described(request):
            raise ValueError(
                f"{name!r}: an upload of more than 5 GiB goes in parts, and Hypha's carry no content type, cache "
                "control or content encoding; leave them out"
            )


def _is_described(request: PutRequest) -> bool:
    return bool(request.content_type or request.cache_control or request.content_encoding or request.compress)
