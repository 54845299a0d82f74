"""``http(s)://host/prefix``: plain web servers, read-only. How answers are checked: ``transports.answers``.

Folders are listed where the server offers a page of what is in them: nginx's ``autoindex``, as HTML or JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from urllib.parse import unquote

from ..errors import ObjectNotFound, TransferError
from ..models import Fetched, GetRequest, ObjectInfo, Sink
from ..paths import Location, host_in, quote_path
from ..redact import without_credentials
from ..transports import HttpRequest, Transport
from ..transports.answers import error_of, fetch, fetch_into, first_byte, info_of
from . import Resources
from .base import Backend, Capabilities, Control, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLocation(Location):
    """A base URL, which ends in a slash."""

    base: str


def locate(text: str, rest: str) -> WebLocation:
    """Take a base URL apart."""
    shown = without_credentials(text)
    scheme = text.partition("://")[0]
    if not host_in(rest):
        raise ValueError(f"{shown!r}: a host is missing")
    if "?" in rest or "#" in rest:
        raise ValueError(f"{shown!r}: a base URL has no query and no fragment")
    base = f"{scheme}://{rest.rstrip('/')}/"
    return WebLocation(scheme=scheme, root=without_credentials(base), base=base)


def open_backend(location: WebLocation, resources: Resources) -> HttpBackend:
    """The backend for a base URL."""
    return HttpBackend(location.base, resources.transport())


class HttpBackend(Backend):
    """Objects below a base URL, read with GET and HEAD; redirects are followed."""

    scheme = "http"
    can = Capabilities(writable=False)

    def __init__(self, base: str, transport: Transport) -> None:
        self._base = base
        self._transport = transport

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        url = self._base + quote_path(request.path)
        if sink is not None:
            return fetch_into(self._transport, url, request, sink)
        return fetch(self._transport, url, request, md5=False)

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object without reading it; asks for one byte where HEAD is not allowed."""
        url = self._base + quote_path(path)
        response = self._transport.send(HttpRequest("HEAD", url, follow=True))
        if response.status in (403, 405, 501):
            return first_byte(url, path, self._transport)
        if response.status != 200:
            raise error_of(response, path)
        length = response.headers.get("content-length")
        return info_of(path, response, int(length) if length is not None and length.isdigit() else None)

    def list(self, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        """Names that begin with ``prefix``, in order, folder by folder; where the server has pages that tell them."""
        for info in self._walk(prefix, flat=flat, control=control):
            yield info.path

    def scan(self, prefix: str, *, control: Control) -> Iterator[ObjectInfo]:
        """Like ``list``, with sizes and times where the server tells them exactly: in JSON."""
        return self._walk(prefix, flat=False, control=control)

    def _walk(self, prefix: str, *, flat: bool, control: Control) -> Iterator[ObjectInfo]:
        base, slash, start = prefix.rpartition("/")
        levels = [iter(self._folder(base + slash, start, control, asked=True))]
        while levels:
            info = next(levels[-1], None)
            if info is None:
                levels.pop()
            elif info.path.endswith("/") and not flat:
                if len(levels) > _DEEPEST:
                    raise TransferError(
                        "folders within folders without an end: a link that leads back?", path=info.path
                    )
                levels.append(iter(self._folder(info.path, "", control, asked=False)))
            else:
                yield info

    def _folder(self, folder: str, start: str, control: Control, *, asked: bool) -> Sequence[ObjectInfo]:
        """What is in one folder and begins with ``start``; folders end in a slash. Sorted by name."""
        try:
            entries = control.retry(lambda: self._index(folder))
        except ObjectNotFound:
            if asked and folder:
                return []  # nothing has a name that begins so
            if asked:
                raise TransferError("the server has no such page, so it cannot be listed", path=folder) from None
            raise
        found = {info.path: info for info in entries if info.path.startswith(folder + start)}
        return [found[name] for name in sorted(found)]

    def _index(self, folder: str) -> Sequence[ObjectInfo]:
        url = self._base + quote_path(folder)
        response = self._transport.send(
            HttpRequest("GET", url, (("Accept", "application/json, text/html"),), follow=True)
        )
        if response.status != 200:
            raise error_of(response, folder)
        kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
        if kind == "application/json":
            return _from_json(response.body, folder)
        if kind == "text/html":
            return _from_html(response.body, folder)
        raise TransferError(f"cannot be listed: {kind or 'no content type'} is no page of a folder", path=folder)

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()


# Folders within each other, beyond which there must be a link that leads back to one above.
_DEEPEST = 200


def _from_json(body: bytes, folder: str) -> list[ObjectInfo]:
    """nginx's ``autoindex_format json``."""
    found = []
    try:
        for entry in json.loads(body):
            name, kind = entry["name"], entry["type"]
            if not isinstance(name, str) or not name or "/" in name:
                raise ValueError(f"the name {name!r:.60}")
            if kind == "directory":
                found.append(ObjectInfo(f"{folder}{name}/"))
            elif kind == "file":
                modified = parsedate_to_datetime(entry["mtime"]).timestamp() if "mtime" in entry else None
                size = entry.get("size")
                found.append(ObjectInfo(folder + name, size if isinstance(size, int) else None, last_modified=modified))
    except (ValueError, KeyError, TypeError) as error:
        raise TransferError(f"cannot be listed: its JSON is none of nginx's autoindex: {error}", path=folder) from None
    return found


def _from_html(body: bytes, folder: str) -> list[ObjectInfo]:
    """nginx's ``autoindex``, and pages like it: each entry a link to a name in the folder. Sizes there are rounded on
    some servers, so they do not count."""
    page = _Page()
    page.feed(body.decode("utf-8", "replace"))
    page.close()
    if not page.title.strip().lower().startswith("index of"):
        raise TransferError("cannot be listed: the page there is not one of what is in a folder", path=folder)
    found = []
    for link in page.links:
        name = link.removeprefix("./")
        if (name.startswith("/") or "://" in name) and not name.endswith("/") and "?" not in name and "#" not in name:
            raise TransferError(f"cannot be listed: a link leads to {name!r:.60}, wherever that is", path=folder)
        if "?" in name or "#" in name or name.startswith(("/", "../")) or "://" in name or name in ("", "."):
            continue  # the folder above, other orders of the page
        name = unquote(name, errors="surrogateescape")
        if "/" in name.removesuffix("/"):
            raise TransferError(
                f"cannot be listed: {name!r:.60} is not in the folder that it is listed in", path=folder
            )
        found.append(ObjectInfo(folder + name))
    return found


class _Page(HTMLParser):
    """The title of a page and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.links: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
