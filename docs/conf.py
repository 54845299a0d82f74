"""How Sphinx builds the site (``make docs``): from these pages, the README, the docstrings and the command line.

Warnings are errors there, so a link that leads nowhere ends the build. The pages load nothing from other sites.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import generate  # noqa: E402 -- found by the line above

import cloudfiles_hypha  # noqa: E402

project = "cloudfiles_hypha"
version = release = cloudfiles_hypha.__version__
language = "en"
extensions = ["myst_parser", "sphinx.ext.autodoc"]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = html_show_sphinx = False

_LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=['\"](?:https?:)?//[^>]*>")
_PAGE = re.compile(r"``docs/([\w-]+)\.md``")
_LITERAL = re.compile(r"``[^`\n]+``(?P<more>\w?)")


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = generate.fill(source[0])


def _mend(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings say ``Step``s, where reStructuredText wants to see the literal end, and name pages by file."""
    lines[:] = [_LITERAL.sub(_ended, _PAGE.sub(r":doc:`\1`", line)) for line in lines]


def _stands_alone(app: Sphinx, failed: Exception | None) -> None:
    """A page that would load something from another site ends the build."""
    for page in Path(app.outdir).rglob("*.html"):
        if loaded := _LOADED.search(page.read_text(encoding="utf-8")):
            raise SphinxError(f"{page.name} loads something from elsewhere: {loaded[0]}")


def _ended(literal: re.Match[str]) -> str:
    text, more = literal[0], literal["more"]
    return f"{text[: -len(more)]}\\ {more}" if more else text


def setup(app: Sphinx) -> None:
    app.connect("source-read", _fill)
    app.connect("build-finished", _stands_alone)
    app.connect("autodoc-process-docstring", _mend)
