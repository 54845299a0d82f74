"""Globs of names: ``*`` and ``?`` stay within a folder, ``[ab]`` and ``[!ab]`` are one character that is no slash, and
two stars or more are anything, slashes too. Where they are a whole part of the name with a slash behind it (``**/x``)
that is any number of folders, also none.
"""

from __future__ import annotations

import re

_STARS = re.compile(r"\*+")


def compiled(glob: str, more: str = "") -> re.Pattern[str]:
    """A glob as a regular expression, and what may follow; ``ValueError`` if it is none."""
    made, at = "", 0
    while at < len(glob):
        character = glob[at]
        if stars := _STARS.match(glob, at):
            begins, at = at == 0 or glob[at - 1] == "/", stars.end()
            if len(stars[0]) == 1:
                made += "[^/]*"
            elif begins and glob.startswith("/", at):
                made, at = made + "(?:.*/)?", at + 1
            else:
                made += ".*"
        elif character == "[" and (end := glob.find("]", at + 3 if glob[at + 1 : at + 2] == "!" else at + 2)) > 0:
            negated, members = glob[at + 1] == "!", glob[at + 1 : end]
            made += f"(?!/)[{'^' if negated else ''}{_members(members[negated:])}]"
            at = end + 1
        else:
            made, at = made + ("[^/]" if character == "?" else re.escape(character)), at + 1
    try:
        return re.compile(made + more, re.DOTALL)
    except re.error:
        raise ValueError(f"{glob}: this is no glob: what is between [ and ] makes no sense") from None


def _members(text: str) -> str:
    return re.sub(r"([\\\[\]^&|~])", r"\\\1", text)
