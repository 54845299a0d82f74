"""``http(s)://host/prefix``: plain web servers, read-only. How answers are checked: ``transports.answers``.

Folders are listed where the server offers a page of what is in them: nginx's ``autoindex``, as HTML or JSON, Apache's
``mod_autoindex``, ``rclone serve http``. What is not surely such a page is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from urllib.parse import parse_qsl, unquote

from ..errors import ObjectNotFound, TransferError
from ..models import Fetched, GetRequest, ObjectInfo, Sink
from ..paths import Location, host_in, quote_path
from ..redact import without_credentials
from ..transports import HttpRequest, Transport
from ..transports.answers import error_of, fetch, fetch_into, first_byte, info_of
from . import Resources
from .base import ByFolder, Capabilities, Control, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLocation(Location):
    """A base URL, which ends in a slash. ``query`` goes with each request, and is for one file only."""

    base: str
    query: str = field(default="", repr=False)


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
    return HttpBackend(location.base, resources.transport(), location.query)


class HttpBackend(ByFolder):
    """Objects below a base URL, read with GET and HEAD; redirects are followed."""

    scheme = "http"
    can = Capabilities(writable=False, suffixes=True)

    def __init__(self, base: str, transport: Transport, query: str = "") -> None:
        self._base = base
        self._query = f"?{query}" if query else ""
        self._transport = transport

    def place(self, location: Location) -> object:
        """The host, and what of a query says which file is meant, and not who may read it until when."""
        named = parse_qsl(self._query[1:], keep_blank_values=True)
        return _parted(location.root)[0], tuple(pair for pair in named if _SIGNING.match(pair[0]) is None)

    def path_at(self, location: Location, prefix: str) -> str:
        """The path on the host."""
        return _parted(location.root)[1] + prefix

    def get(self, request: GetRequest, ticket: Ticket, sink: Sink | None = None) -> Fetched:
        """Read the bytes of one request."""
        url = self._base + quote_path(request.path) + self._query
        if sink is not None:
            return fetch_into(self._transport, url, request, sink)
        return fetch(self._transport, url, request, md5=False)

    def head(self, path: str, ticket: Ticket) -> ObjectInfo:
        """What is known of an object without reading it; asks for one byte where HEAD is not allowed."""
        url = self._base + quote_path(path) + self._query
        response = self._transport.send(HttpRequest("HEAD", url, follow=True))
        if response.status in (403, 405, 501):
            return first_byte(url, path, self._transport)
        if response.status != 200:
            raise error_of(response, path)
        length = response.headers.get("content-length")
        return info_of(path, response, int(length) if length is not None and length.isdigit() else None)

    def link(self, path: str, lifetime: int, control: Control) -> str:
        """Where the file is; nothing is asked, and nothing is signed."""
        return self._base + quote_path(path) + self._query

    def _folder(self, folder: str, start: str, control: Control, *, asked: bool) -> Sequence[ObjectInfo]:
        """What a page says, where the server has one; sizes and times as exactly as it does: nginx in JSON, rclone
        (sizes)."""
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


def _parted(root: str) -> tuple[str, str]:
    """The host of a base URL, and its path as names are; one that no name can stand for stays with the host."""
    scheme, _, rest = root.partition("://")
    host, _, path = rest.partition("/")
    return (root, "") if "%2f" in path.lower() else (f"{scheme}://{host}", unquote(path))


# Parameters of signed URLs: Amazon's, Google's, Azure's, CloudFront's, and what tokens are called.
_SIGNING = re.compile(
    r"(?i)(x-amz-.*|x-goog-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id|"
    r"sig|se|sp|st|sv|sr|spr|sip|sk\w+|.*token.*)$"
)


def _from_json(body: bytes, folder: str) -> list[ObjectInfo]:
    """nginx's ``autoindex_format json``."""
    found = []
    try:
        entries = json.loads(body)
        if not isinstance(entries, list):
            raise ValueError("no list")
        for entry in entries:
            name, kind = entry["name"], entry["type"]
            if not isinstance(name, str) or name in ("", ".", "..") or "/" in name:
                raise ValueError(f"the name {name!r:.60}")
            if kind == "directory":
                found.append(ObjectInfo(f"{folder}{name}/"))
            elif kind == "file":
                modified = parsedate_to_datetime(entry["mtime"]).timestamp() if "mtime" in entry else None
                size = entry.get("size")
                found.append(ObjectInfo(folder + name, size if isinstance(size, int) else None, last_modified=modified))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TransferError(f"cannot be listed: its JSON is none of nginx's autoindex: {error}", path=folder) from None
    return found


def _from_html(body: bytes, folder: str) -> list[ObjectInfo]:
    """A page of what is in a folder, in HTML: each entry a link that is called as the name that it leads to."""
    page = _Page()
    page.feed(body.decode("utf-8", "replace"))
    page.close()
    title = page.title.strip()
    try:
        if not page.ended:  # not every answer says how long it is
            raise ValueError("the page is cut short")
        if page.based:
            raise ValueError("links of the page are relative to another place")
        if title.lower().startswith("index of"):
            return _of_index(page.links, folder)
        if title.startswith("/") and any(link.href.startswith("?sort=namedirfirst") for link in page.links):
            return _of_rclone(page, folder)
    except ValueError as error:
        raise TransferError(f"cannot be listed: {error}", path=folder) from None
    raise TransferError("cannot be listed: the page there is not one of what is in a folder", path=folder)


@dataclass(slots=True)
class _Link:
    href: str
    text: str = ""
    named: bool = False  # in rclone's pages: this is the name of an entry
    size: int | None = None


def _of_index(links: Sequence[_Link], folder: str) -> list[ObjectInfo]:
    """nginx's ``autoindex``, Apache's ``mod_autoindex``, and pages like them. Sizes there are rounded on some servers,
    so they do not count."""
    found: dict[str, ObjectInfo] = {}
    icons: set[str] = set()
    for link in links:
        href = link.href.removeprefix("./")
        if _is_added(href):
            continue
        if _ELSEWHERE.search(href):
            if not _may_lead_elsewhere(href, link.text):
                raise ValueError(f"a link leads to {href!r:.60}, wherever that is")
            continue
        name = _name_in(href)
        if not link.text.strip():
            icons.add(name)
        elif _calls(link.text, name):
            found[name] = ObjectInfo(folder + name)
        else:
            raise ValueError(f"a link to {name!r:.60} is called {link.text.strip()!r:.60}")
    if icons - found.keys():
        raise ValueError(f"a link to {min(icons - found.keys())!r:.60} has no name")
    return [*found.values()]


def _of_rclone(page: _Page, folder: str) -> list[ObjectInfo]:
    """``rclone serve http``: a row for each entry, with its bytes."""
    found = []
    for link in page.links:
        if link.named:
            name = _name_in(link.href.removeprefix("./"))
            if not _calls(link.text, name):
                raise ValueError(f"a link to {name!r:.60} is called {link.text.strip()!r:.60}")
            found.append(ObjectInfo(folder + name, None if name.endswith("/") else link.size))
    if len(found) != page.rows:
        raise ValueError(f"there are {page.rows} rows and {len(found)} names")
    return found


_ELSEWHERE = re.compile(r"\A/|://|[?#]")


def _is_added(href: str) -> bool:
    """Whether a link is none to an entry: to the folders above, to other orders of the page, to who runs the server."""
    return href == "." or href.startswith(("?", "#", "mailto:")) or re.fullmatch(r"(\.\./)*(\.\.)?", href) is not None


def _may_lead_elsewhere(href: str, text: str) -> bool:
    """Whether a link with a whole path, a host or a query is surely none to an entry of the page."""
    place = re.split(r"[?#]", href, maxsplit=1)[0]
    if "://" in href:  # the site of whoever runs the server, but not one that is called as what it leads to
        last = place.partition("://")[2].partition("/")[2].rstrip("/").rpartition("/")[2]
        return (place.endswith("/") or place != href) and not (last and _calls(text, unquote(last)))
    if not place.startswith("/") or not place.endswith("/"):
        return False
    return place != href or _leads_up(text)  # an order of a page, or the folder above


def _name_in(href: str) -> str:
    name = unquote(href, errors="surrogateescape")
    if "/" in name.removesuffix("/") or name.strip("/") in ("", ".", ".."):
        raise ValueError(f"{name!r:.60} is not in the folder that it is listed in")
    return name


def _leads_up(text: str) -> bool:
    shown = " ".join(text.split()).lower()
    cut = shown.endswith("..>") and "parent directory".startswith(shown[:-3].rstrip())
    return cut or shown in ("", "parent directory", "..", "../")


def _calls(text: str, name: str) -> bool:
    """Whether the text of a link is the name that it leads to, which servers cut short (``na..>``)."""
    shown, name = (" ".join(each.split()).removesuffix("/").rstrip() for each in (text, name))
    if "\ufffd" in shown or not name.isprintable():
        return True  # a text that is not UTF-8 cannot be compared
    return shown == name or (shown.endswith("..>") and name.startswith(shown[:-3].rstrip()))


class _Page(HTMLParser):
    """What is told of a page: its title, its links, and the rows of rclone's table."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.links: list[_Link] = []
        self.rows = 0
        self.ended = self.based = False
        self._in_title = self._in_link = self._in_name = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "title":
            self._in_title = True
        elif tag == "tr" and given.get("class") == "file":
            self.rows += 1
        elif tag == "base":
            self.based = True
        elif tag == "span":
            self._in_name = given.get("class") == "name"
        elif tag == "a" and given.get("href") is not None:
            self.links.append(_Link(given["href"] or "", named=self._in_name))
            self._in_link = True
        elif tag == "td" and self.links and (given.get("data-order") or "").isdecimal():
            row = next((link for link in reversed(self.links) if link.named), None)
            if row is not None:
                row.size = int(given["data-order"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag == "a":
            self._in_link = False
        elif tag == "span":
            self._in_name = False
        elif tag == "html":
            self.ended = True

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif self._in_link:
            self.links[-1].text += data
