"""What may be said: texts without secrets, and without characters that make them look like something else.

The one module that knows what a secret looks like. It keeps none: who knows one by name (a token, a key) passes it.
Whatever comes from elsewhere, a server's answer or an exception of a library, goes through ``scrub`` before it is part
of a message; names that are shown as they are go through ``printable``.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote

_HIDDEN = "***"
_PATTERNS = [
    # user and password of a URL; in a cloudpath what stands before an "@" can be an alias, and after it a version
    (re.compile(r"(?i)\b(https?://)[^/?#\s'\"]*@|(://)[^/?#@\s'\"]*:[^/?#\s'\"]*@"), rf"\1\2{_HIDDEN}@"),
    (re.compile(r"\?[^\s'\"]+"), f"?{_HIDDEN}"),  # a query, in which a signature is
    (
        re.compile(r"(?i)\b([\w-]*(?:signature|credential|token|secret|password)=)[^\s&'\"]+"),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:\w+\s+)?|\bbearer\s+)[^\s'\"]+"), rf"\1{_HIDDEN}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), _HIDDEN),  # what a JSON web token begins with
]
# Control characters (a terminal obeys them), lone surrogates (it cannot show them), and what has no width or turns the
# direction of the text (two names look alike).
_ODD = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_USER = re.compile(r"(https?://)[^/?#]*@|(://)[^/?#@]*:[^/?#]*@")  # not the "@" before an alias's version
_QUERY = re.compile(r"[?#].*", re.DOTALL)


def scrub(text: str, secrets: Iterable[str | None] = ()) -> str:
    """``text`` fit for a message, on one line: no query strings, passwords, bearer tokens, and none of ``secrets``."""
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, _HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return printable(text)


def _forms(secret: str) -> Iterator[str]:
    """How a secret may stand in a text: as it is, in a URL, in base64."""
    yield secret
    yield quote(secret, safe="")
    raw = secret.encode("utf-8", "surrogatepass")
    yield b64encode(raw).decode("ascii").rstrip("=")
    yield urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def printable(text: str) -> str:
    r"""``text`` on one line, with control and invisible characters as escapes (``\x1b``, ``\u202e``)."""
    return _ODD.sub(lambda found: repr(found[0])[1:-1], text)


def without_credentials(text: str) -> str:
    """A cloudpath or URL without user, password, query and fragment, fit for a message; it may mean another place."""
    return _QUERY.sub("", without_user(text))


def without_user(text: str) -> str:
    """A cloudpath that was taken apart, and so has no query, without user and password; what follows may be a name."""
    return _USER.sub(r"\1\2", text)
