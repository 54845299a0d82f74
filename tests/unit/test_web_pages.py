"""Pages of folders, as real servers have made them: what is in them, and what is not taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudfiles_hypha import TransferError
from cloudfiles_hypha.backends.pages import from_html, from_json

PAGES = Path(__file__).parent / "pages"
NAMES = [
    *(".dot", "?C=N;O=D", "Name", "Parent Directory", "README", "Size", "[br]", "a b/", "a=b", "am&p", "apo'"),
    *("back`tick", "co:lon", "equals=x;y", "ha#sh", "http:x", "https:", "long" + "n" * 60, "lt<gt>", "per%20cent"),
    *("per%cent", "plain.txt", "que?ry", 'quo"te', "semi;colon", "sp ace", "sub/", "tilde~", "x+y", "~til", "ünï"),
]


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.html")), ids=lambda page: page.stem)
def test_every_name_of_a_real_page_is_found(page: Path) -> None:
    found = from_html(page.read_bytes(), "base/")
    assert sorted(info.path for info in found) == sorted(f"base/{name}" for name in NAMES)
    sizes = {info.size for info in found if not info.path.endswith("/")}
    assert sizes == ({1500} if page.stem == "rclone" else {None})  # Apache says 1.5K
    assert {info.size for info in found if info.path.endswith("/")} == {None}


@pytest.mark.parametrize(
    "links",
    [
        '<a href="x">something else</a>',
        '<a href="x"><img alt="x"></a>',
        '<a href="/other/folder/">folder/</a>',
        '<a href="/other/file">file</a>',
        '<a href="https://host/file">file</a>',
        '<a href="x%2F..%2Fy">x/../y</a>',
        '<a href="%2e%2e">..</a>',
        '<a href="ab">x..></a>',
        '<a href="https://host/files/sub/">sub/</a>',
        '<a href="https://host/files/x?download">x</a>',
        '<a href="x?download">x</a>',
        '<a href="ha#sh">ha#sh</a>',
        '<a href="/files/x?download">x</a>',
        '<a href="../x">x</a>',
        '<a href="../sub/">sub/</a>',
        '<base href="/other/"><a href="b">b</a>',
    ],
)
def test_a_link_that_is_no_entry_makes_a_page_no_listing(links: str) -> None:
    page = f'<title>Index of /</title><pre><a href="a">a</a> {links}</pre></html>'
    with pytest.raises(TransferError, match="cannot be listed"):
        from_html(page.encode(), "")


def test_links_that_servers_add_are_no_entries() -> None:
    page = (
        '<title>Index of /a</title><a href="?C=N;O=D">Name</a><a href="/">Parent Directory</a><a href="/">Par..></a>'
        '<a href="../">../</a><a href="x"><img></a><a href="x">x</a><a href="d/">d</a><a href="%ff">\ufffd</a>'
        '<a href="../../">up</a><a href="#top">top</a><a href="/a/?C=S">Size</a><a href="https://httpd.example/">httpd</a>'
        '<a href="https://host.example/">host.example</a><a href="https://host.example/about/">who we are</a>'
        '<address>Apache at <a href="mailto:me@host">host</a></address></html>'
    )
    assert [info.path for info in from_html(page.encode(), "")] == ["x", "d/", "\udcff"]


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.html")), ids=lambda page: page.stem)
def test_a_page_that_is_cut_short_is_no_listing(page: Path) -> None:
    whole = page.read_bytes()
    for size in (len(whole) - 20, len(whole) // 2, len(whole) // 3):
        with pytest.raises(TransferError, match="cannot be listed"):
            from_html(whole[:size], "")
    with pytest.raises(TransferError, match="cut short"):
        from_html(whole.replace(b"</body>", b"<!-- "), "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('<span class="name"><a href="sub/">sub/</a></span>', ""),  # a row without a name
        ('<a href="plain.txt">plain.txt</a>', '<a href="plain.txt">other.txt</a>'),
        ("?sort=namedirfirst", "?sort=other"),  # some other page
        ("<title>/base</title>", "<title>base</title>"),
    ],
)
def test_a_page_that_is_not_rclones_is_no_listing(old: str, new: str) -> None:
    page = (PAGES / "rclone.html").read_text()
    assert old in page
    with pytest.raises(TransferError, match="cannot be listed"):
        from_html(page.replace(old, new).encode(), "")


def test_a_size_that_rclone_does_not_know_is_none() -> None:
    page = (PAGES / "rclone.html").read_text().replace('data-order="1500"', 'data-order="-1"')
    assert {info.size for info in from_html(page.encode(), "")} == {None}


@pytest.mark.parametrize(
    "page",
    [
        "{}",
        '""',
        "[" * 100_000,
        '[{"name": "..", "type": "directory"}]',
        '[{"name": ".", "type": "directory"}]',
        '[{"name": "a/b", "type": "file"}]',
        '[{"name": "a", "type": "file", "mtime": "yesterday"}]',
    ],
)
def test_json_that_is_no_list_of_what_is_in_a_folder_is_no_listing(page: str) -> None:
    with pytest.raises(TransferError, match="cannot be listed"):
        from_json(page.encode(), "")
    assert from_json(b"[]", "") == []
