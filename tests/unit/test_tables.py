"""Results and listings as tables: bounded, escaped, and without what is in the files."""

from __future__ import annotations

import pytest

from cloudfiles_hypha import ArtifactFiles, ObjectNotFound
from cloudfiles_hypha.recording import Table


@pytest.fixture
def cf() -> ArtifactFiles:
    files = ArtifactFiles("mem://tables")
    files.puts([(f"n/{n:03}", b"secret content" * n) for n in range(120)])
    return files


def test_results_are_a_row_each_up_to_a_bound_and_never_show_content(cf: ArtifactFiles) -> None:
    html = Table(cf.get(list(cf.list("n/"))))._repr_html_()
    assert html.count("<tr>") == 51
    assert "<td>n/003</td><td>42</td>" in html
    assert "120 items; the first 50 are shown" in html
    assert "secret" not in html


def test_failures_are_counted_also_where_they_are_not_shown(cf: ArtifactFiles) -> None:
    results = cf.get(["n/001", "gone"], raise_errors=False)
    text = str(Table(results))
    assert text.splitlines()[-1] == "2 items; 1 failed"
    assert "ObjectNotFound: gone: no such object" in text
    assert str(Table(results, most=1)).splitlines()[-1] == "2 items; the first 1 are shown; 1 failed"


def test_listings_are_tables_with_and_without_sizes(cf: ArtifactFiles) -> None:
    assert str(Table(cf.list("n/11"), most=2)).splitlines() == [
        "path",
        "n/110",
        "n/111",
        "10 items; the first 2 are shown",
    ]
    assert str(Table(cf.list("n/119", size=True))).splitlines() == ["path\tsize", "n/119\t1666", "1 item"]
    assert str(Table([])).splitlines() == ["path", "0 items"]
    assert "<td>n/001</td><td>14</td>" in Table([cf.head("n/001")])._repr_html_()


def test_names_and_messages_are_text_and_no_markup_and_no_secret() -> None:
    error = ObjectNotFound("see https://host/x?X-Amz-Signature=0123456789abcdef")
    html = Table([{"path": "<script>\x1b[31m", "error": error}, {"path": "x" * 1000, "error": None}])._repr_html_()
    assert "&lt;script&gt;\\x1b[31m" in html
    assert "0123456789abcdef" not in html
    assert "x" * 201 not in html


def test_a_number_of_rows_is_no_less_than_none() -> None:
    with pytest.raises(ValueError, match="most=-1"):
        Table([], most=-1)
