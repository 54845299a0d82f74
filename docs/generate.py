"""What of the site is made when it is built: parts of the README, every command's help, the tables of benchmarks.

A page has ``<!-- generated: NAME ARGUMENT -->`` on a line of its own where ``fill`` is to put what a function of
``MAKERS`` gives. Nothing that is made here is kept in the repository, so nothing can go out of date.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from cloudfiles_hypha.cli.commands import all_commands, verbs_of

ROOT = Path(__file__).resolve().parents[1]
WIDTH = "96"  # columns of the helps

_MARK = re.compile(r"^<!-- generated: (?P<maker>[a-z]+) ?(?P<argument>.*?) -->$", re.MULTILINE)
_NAMED_FOR_ITS_FILE = re.compile(r"\[(?:docs/)?[\w-]+\.md\]\((?=[\w-]+\.md)")
_SECTION = re.compile(r"^## ", re.MULTILINE)


def fill(text: str) -> str:
    """A page with everything in it; a mark of something else is a KeyError. Links show titles, not names of files."""
    filled = _MARK.sub(lambda mark: MAKERS[mark["maker"]](mark["argument"]), text)
    return _NAMED_FOR_ITS_FILE.sub("[](", filled)


def readme(section: str) -> str:
    """A section of the README without its heading, or what stands before the first one; links lead to pages here."""
    title, *sections = _SECTION.split((ROOT / "README.md").read_text(encoding="utf-8"))
    named = dict(each.split("\n", 1) for each in sections)
    text = named[section] if section else title.split("\n", 1)[1]
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\]\(benchmarks/results/([\w-]+)\.md\)", r"](performance.md#\1)", text).strip()


def commands(_: str) -> str:
    """What ``--help`` says of each command, under a heading of its own."""

    with mock.patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"}):
        return "\n\n".join(_helps("", all_commands().parser))


def _helps(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    heading = f"## `{name}`\n\n" if name else ""
    yield f"{heading}```text\n{parser.format_help().strip()}\n```"
    for verb, child in verbs_of(parser).items():
        yield from _helps(f"{name} {verb}".strip(), child)


def benchmarks(_: str) -> str:
    """Each result of ``benchmarks/results`` that has measures: what was measured with, and they with their targets."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    }
    return "\n\n".join(_result(name, result) for name, result in found.items() if "rows" in result)


def tables(name: str) -> str:
    """A page of ``benchmarks/results`` without its heading."""
    text = (ROOT / "benchmarks" / "results" / f"{name}.md").read_text(encoding="utf-8")
    return text.split("\n", 1)[1].strip()


def _result(name: str, result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    lines = [
        f"## {name}",
        "",
        f"{result['date'][:10]}, {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, "
        f"{machine['kernel']}; load before: {machine['load_before']}.",
        "",
        ", ".join(f"{package} {version}" for package, version in result["versions"].items() if version) + ".",
        "",
    ]
    if result["settings"].get("quick"):
        lines += ["**A quick run, of few rounds with few items.**", ""]
    if machine["load_before"] > machine["cores"] / 2:
        lines += ["**The machine was busy with other things.**", ""]
    lines += ["| case | measure | target | measured | spread | |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *map(_row, result["rows"])])


def _row(row: Mapping[str, Any]) -> str:
    target, values = row["target"], row["values"]
    cells = [row["case"], row["measure"], _in_a_line(f"{target['sense']} {_number(target['bound'])}") if target else ""]
    if values:
        hit = "" if row["hit"] is None else "hit" if row["hit"] else "**missed**"
        spread = _in_a_line(f"{_number(min(values))} to {_number(max(values))}")
        cells += [_in_a_line(f"{_number(row['value'])} {row['unit']}".strip()), spread, hit]
    else:
        cells += ["", "", f"not measured: {row['note']}"]
    return "| " + " | ".join(cells) + " |"


def _in_a_line(text: str) -> str:
    return text.replace(" ", "&nbsp;")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


MAKERS: Mapping[str, Callable[[str], str]] = {
    "readme": readme,
    "commands": commands,
    "benchmarks": benchmarks,
    "tables": tables,
}
