"""What a web server's page of a folder says: nginx's ``autoindex``, as HTML or JSON, Apache's ``mod_autoindex``,
``rclone serve http``. What is not surely such a page is an error. No I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote

from ..errors import TransferError
from ..models import ObjectInfo
from ..transports.dates import seconds_of


def from_json(body: bytes, folder: str) -> list[ObjectInfo]:
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
                modified = seconds_of(entry.get("mtime"))
                if modified is None and "mtime" in entry:
                    raise ValueError(f"the time {entry['mtime']!r:.60}")
                size = entry.get("size")
                found.append(ObjectInfo(folder + name, size if isinstance(size, int) else None, last_modified=modified))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TransferError(f"cannot be listed: its JSON is none of nginx's autoindex: {error}", path=folder) from None
    return found


def from_html(body: bytes, folder: str) -> list[ObjectInfo]:
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
