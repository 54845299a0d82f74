"""How many calls each verb makes to the server: what the table in ``docs/hypha.md`` says, counted.

Each call costs the server 0.2 s, so one more is a defect.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import ArtifactFiles, ObjectNotFound
from cloudfiles_hypha.backends.hypha import signing
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha

DOCUMENT = Path(__file__).parents[2] / "docs" / "hypha.md"
SMALL = [f"f{n % 10}/n{n:03}" for n in range(40)]
FOLDERS = 11  # of them: ten, and the one that these are in
LARGE = [f"n{n:04}" for n in range(1000)]
NUMBER = re.compile(r"(\d+|F)(?: to (\d+))? `(\w+)`")


def read_table() -> dict[str, dict[str, tuple[int, int]]]:
    """The table of calls: for what is done, the methods called, each with how often at least and at most."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("| what is done | calls |")[2].partition("\n\n")[0]
    rows = {}
    for what, calls in re.findall(r"^\| ([^-].*?) \| (.+?) \|$", text, re.MULTILINE):
        found = NUMBER.findall(calls)
        assert found, f"no calls in the row of {what}"
        numbers = [(FOLDERS if low == "F" else int(low), high, method) for low, high, method in found]
        rows[what] = {method: (low, int(high or low)) for low, high, method in numbers}
    return rows


def get_missing(cf: ArtifactFiles) -> None:
    with pytest.raises(ObjectNotFound):
        cf.get("none")


Act = Callable[[ArtifactFiles, Path], Any]
# Row of the table: the artifact, what is done before anything is counted, what is done then.
CASES: dict[str, tuple[str, Act | None, Act]] = {
    "`get` of a file": ("small", None, lambda cf, _: cf.get("f0/n000")),
    "the same again": ("small", lambda cf, _: cf.get("f0/n000"), lambda cf, _: cf.get("f0/n000")),
    "`get` of a file that is not there": ("small", None, lambda cf, _: get_missing(cf)),
    "`get` of 1,000 files": ("large", None, lambda cf, _: cf.get(LARGE)),
    "the same 1,000 again": ("large", lambda cf, _: cf.get(LARGE), lambda cf, _: cf.get(LARGE)),
    "`get` of 40 files of which 30 were read before": (
        "small",
        lambda cf, _: cf.get(SMALL[:30]),
        lambda cf, _: cf.get(SMALL),
    ),
    "`exists` of a file, `in`": ("small", None, lambda cf, _: cf.exists("f0/n000")),
    "`exists` of 40 files in F folders": ("small", None, lambda cf, _: cf.exists(SMALL)),
    "`exists` of 1,000 files in a folder": ("large", None, lambda cf, _: cf.exists(LARGE)),
    "`head`, `size` of a file": ("small", None, lambda cf, _: cf.size("f0/n000")),
    "`head`, `size` of 40 files": ("small", None, lambda cf, _: cf.head(SMALL)),
    "`list` of F folders": ("small", None, lambda cf, _: list(cf.list())),
    "`list(flat=True)`, `isdir`": ("small", None, lambda cf, _: cf.isdir("f0")),
    "`download` of F folders with 40 files": ("small", None, lambda cf, tmp: cf.download("", tmp)),
    "`verify` of F folders with 40 files": (
        "small",
        lambda cf, tmp: cf.download("", tmp),
        lambda cf, tmp: cf.verify(tmp),
    ),
}


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    signing._costs.clear()  # a server of another test may have had the same port
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/small", {name: name.encode() for name in SMALL})
        hypha.add_artifact("ws/large", {name: name.encode() for name in LARGE})
        yield hypha


@pytest.mark.parametrize("engine", [{"num_threads": 0}, {"num_threads": 8}], ids=["inline", "threads"])
@pytest.mark.parametrize("row", CASES)
def test_a_verb_makes_the_calls_that_the_document_says(
    hypha: FakeHypha, tmp_path: Path, row: str, engine: dict[str, Any]
) -> None:
    artifact, before, act = CASES[row]
    with connect(hypha, f"ws/{artifact}", **engine) as cf:
        if before is not None:
            before(cf, tmp_path)
        hypha.forget_requests()
        act(cf, tmp_path)
    made = Counter(call.method for call in hypha.calls)
    said = read_table()[row]
    assert made.keys() == said.keys()
    for method, (low, high) in said.items():
        assert low <= made[method] <= high, method


def test_every_row_of_the_document_is_counted() -> None:
    assert list(read_table()) == list(CASES)
