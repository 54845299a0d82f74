"""One object to a file on disk: what a worker's turn at it is, and what becomes of the file that is there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import uniform
from typing import Literal

from ..backends.base import StaleTicket
from ..content.codecs import looks_encoded
from ..content.digests import file_etags
from ..disk.tree import read_blocks
from ..engine.outcomes import UNRESOLVED, Done, More, Unresolved
from ..engine.run import Run
from ..errors import NotModified, TransferError
from ..models import Fetched, GetRequest, ObjectInfo, Sink
from ..plan.parts import upload_part_size
from ..results import FileResult, own_error
from .download import Download, Part, Progressed
from .task import Context, Task, attempts_of

Overwrite = Literal["always", "never", "newer", "different"]
"""What becomes of a file that is there already; see ``ArtifactFiles.download``."""


class Save(Task[FileResult]):
    """One file to download; each turn fetches one part of it, and whoever ends the last one has the result.

    ``source`` names the object for the journal, ``begun`` keeps the downloads that are to be left in order however the
    batch ends.
    """

    __slots__ = (
        "begun",
        "checksum",
        "download",
        "info",
        "known",
        "looked",
        "part_size",
        "reading",
        "source",
        "target",
        "there",
        "told_size",
        "user_tags",
    )

    # making a file on disk takes the kernel longer than fetching a small one, and needs no interpreter
    heavy = True

    def __init__(
        self,
        context: Context,
        index: int,
        name: str,
        path: str,
        target: Path,
        *,
        source: str,
        begun: set[Download],
        part_size: int | None,
        checksum: bool,
        info: ObjectInfo | None = None,
        tags: object = None,
        raw: bool = False,
        max_size: int | None = None,
        version: str | None = None,
    ) -> None:
        super().__init__(context, index, name, path)
        self.target = target
        self.source = source
        self.begun = begun
        self.part_size = part_size
        self.checksum = checksum
        self.info = info
        self.user_tags = tags
        self.reading = GetRequest(path, raw=raw, max_size=max_size, version=version)
        self.known: Overwrite | None = None  # what to compare the file that is there by
        self.looked = raw  # whether the object is encoded, where the file that is there might be what is stored
        self.download: Download | None = None
        self.told_size: int | None = info.size if info is not None else None
        self.there = 0  # bytes of an earlier run that a bar was told of

    @property
    def tags(self) -> object:
        return self.user_tags

    @property
    def version(self) -> str | None:
        return self.reading.version

    # -- the file that is there -----------------------------------------------------------------------------------

    def decide(self, overwrite: Overwrite) -> bool:
        """Whether the file that is there makes this one unnecessary, as far as that can be told without asking."""
        try:
            there = self.target.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if overwrite == "never":
            return True
        if overwrite == "always":
            return False
        size, modified = (self.info.size, self.info.last_modified) if self.info is not None else (None, None)
        if overwrite == "newer" and modified is not None:
            if not_newer(modified, there.st_mtime):
                return True
            overwrite = "different"  # the store's time is that of an upload, perhaps of these very bytes
        if overwrite == "newer" or size in (None, there.st_size):
            self.known = overwrite
        return False

    def _request(self) -> GetRequest:
        """The request, so that nothing is sent if the file that is there will do."""
        if self.known is None:
            return self.reading
        there = self.target.stat()
        if self.known == "newer":
            return self.reading._replace(since=there.st_mtime)
        with open(self.target, "rb", buffering=0) as file:
            etags = file_etags(there.st_size, partial(read_blocks, file), upload_part_size(there.st_size))
        return self.reading._replace(known=etags)

    def _look(self, run: Run) -> None:
        """See to it that a file with the stored bytes of an encoded object does not pass for one with its content."""
        if not self.looked and self.known == "different" and _may_be_encoded(self.target):
            info = self.attempt_counted(run, partial(self.context.backend.head, self.path, self.ticket))[0]
            if info.compress is not None:
                self.known = None
        self.looked = True

    # -- a turn ---------------------------------------------------------------------------------------------------

    def turn(self, run: Run) -> Done[FileResult] | More | Unresolved:
        """Fetch one part; what goes wrong with the file is part of its result."""
        try:
            return self._take_turn(run)
        except OSError as error:  # of the disk, where nothing else was expected of it
            return self.end(run, self.give_up(error), error)

    def _take_turn(self, run: Run) -> Done[FileResult] | More | Unresolved:
        download = self.download
        if download is None:
            if isinstance(self.ticket, Exception):
                return self.end(run, self.give_up(self.ticket), self.ticket)
            if self.context.observer is not None:
                self.observe_start(run)
            try:
                self._look(run)
                download = self.download = self._begin()
            except StaleTicket as stale:
                denied = self.went_stale(stale, self.ticket)
                return UNRESOLVED if denied is None else self.end(run, self.give_up(denied), denied)
            except OSError as error:
                return self.end(run, self.give_up(error), error)
            self.begun.add(download)
            self._tell_resumed(run, download.resumed)
        part = download.claim()
        if part is None:
            return self._finish(run, download) if download.drop() else More(0)
        return self._fetch(run, download, part)

    def _begin(self) -> Download:
        watched = self.context.moved is not None or self.context.observer is not None
        download = Download(
            self._request(),
            self.target,
            self.source,
            width=self.context.width,
            part=self.part_size,
            etag_is_md5=self.context.backend.can.s3_etags,
            checksum=self.checksum,
            size=self.info.size if self.info is not None else None,
            compare=self.known == "different",
            watched=self._noted if watched else None,
        )
        download.take_up()
        return download

    def _fetch(self, run: Run, download: Download, part: Part) -> Done[FileResult] | More | Unresolved:
        ticket = self.ticket
        again = False
        try:
            if isinstance(ticket, Exception):
                raise ticket
            fetch = partial(download.fetch_part, part, partial(self._get, ticket), run)
            download.attempts += self.attempt_counted(run, fetch)[1]
            self.stale = 0
        except StaleTicket as stale:
            denied = self.went_stale(stale, ticket)
            if denied is None:
                download.release(part, again=True, keep_turn=True)
                return UNRESOLVED
            download.error = download.error or denied
        except Progressed:
            again = True
            try:
                run.sleep(uniform(0, self.context.policy.first))
            except TransferError as error:
                download.error = download.error or error
        except Exception as error:  # noqa: BLE001 -- this item's, and reported with it
            download.attempts += attempts_of(error)
            download.error = download.error or error
        given_up = download.error is not None
        wanted = download.release(part, again=again and not given_up, give_up=given_up)
        return self._finish(run, download) if wanted is None else More(wanted)

    def _get(self, ticket: object, request: GetRequest, sink: Sink) -> Fetched:
        return self.context.backend.get(request, ticket, sink)

    def _finish(self, run: Run, download: Download) -> Done[FileResult] | More:
        error = download.error
        if error is None:
            try:
                if not download.finish(run.check):
                    self._tell_resumed(run, -self.there)
                    return More(1)
            except (OSError, TransferError) as failure:
                error = failure
        elif download.start_over(error):
            download.error = None
            self._tell_resumed(run, -self.there)
            return More(1)
        self.begun.discard(download)
        download.note(run, 0, at_once=True)
        if error is not None:
            download.leave()
            if isinstance(error, NotModified):
                return self.end(run, Done(((self.index, self.result(skipped=True)),)))
            return self.end(run, self.give_up(error), error)
        return self.end(run, Done(((self.index, self.result()),)))

    def _noted(self, run: Run, size: int) -> None:
        told, download = self.context.sized, self.download
        if told is not None and download is not None and download.size not in (None, self.told_size):
            self.told_size = download.size
            run.tell(partial(told, self.name, download.size))
        self.moved(run, size)

    def _tell_resumed(self, run: Run, size: int) -> None:
        told = self.context.resumed
        if told is not None and size:
            self.there += size
            run.tell(partial(told, size))

    def give_up(self, error: Exception) -> Done[FileResult]:
        return Done(((self.index, self.result(error=error)),))

    def result(self, *, error: Exception | None = None, skipped: bool = False) -> FileResult:
        """What became of it."""
        download = self.download
        done = download if error is None and not skipped else None
        return {
            "path": self.name,
            "local_path": str(self.target),
            "size": _size_of(self.target) if skipped else done.written if done is not None else None,
            "error": None if error is None else own_error(error, self.name),
            "skipped": skipped,
            "resumed": done.resumed if done is not None else 0,
            "verified": done.verified if done is not None else None,
            "etag": done.etag if done is not None else None,
            "content_type": done.content_type if done is not None else None,
            "attempts": download.attempts if download is not None and not skipped else 0,
            "compress": done.compress if done is not None else None,
            "raw": self.reading.raw,
            "tags": self.tags,
        }


def _may_be_encoded(path: Path) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            return looks_encoded(iter(partial(file.read, 1024 * 1024), b""))
    except FileNotFoundError:
        return False


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # it was there a moment ago, and has gone
        return None


def not_newer(modified: float, known: float) -> bool:
    """Whether an object is no newer than a file; the file may have its time from a header, which has whole seconds."""
    return modified <= known or (known.is_integer() and modified < known + 1)
