"""Names for places: what ``NAME://bucket/path`` stands for, in this process or in the user's files.

An alias is the beginning of a cloudpath: ``s3://https://host/`` for an endpoint, or with a bucket and a folder. It is
put in the place of ``NAME://`` before anything else is made of a cloudpath (``resolved``, in the package), so secrets
are found by the real host, and nothing but a cloudpath ever knows of it. A scheme always comes before an alias, and an
alias stands for a scheme, never for another alias. No alias holds a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock

from ..paths import split_scheme
from ..redact import without_credentials
from . import has_scheme, is_supported, locate

ALIASES_FILE = Path("~/.config/cloudfiles_hypha/aliases.json")
# cloud-files' own, which is only read: {"name": {"host": "s3://https://host/"}}
_THEIR_FILE = Path("~/.cloudfiles/aliases.json")
_NAME = re.compile(r"[a-z][a-z0-9_-]+")  # one letter is a drive on some systems
# Seconds to wait for another process that is changing the file.
_PATIENCE = 10.0

_aliases: dict[str, str] = {}
_lock = Lock()  # held by whoever changes them; who reads takes none, since it may be in a forked child


def aliases() -> dict[str, str]:
    """What each alias stands for: those of this process, of the user's file, and of cloud-files' own file."""
    return {**_in_file(_THEIR_FILE), **_in_file(ALIASES_FILE), **_aliases}


def add_alias(name: str, target: str, *, persistent: bool = False) -> None:
    """From now on ``name://rest`` means ``target`` followed by ``rest``.

    ``target`` is the beginning of a cloudpath, such as ``s3://https://host/`` or ``gs://bucket/folder``. Other
    processes know of it only if it is ``persistent``; then it is kept in ``~/.config/cloudfiles_hypha/aliases.json``.
    A name that is a scheme, or stands for something else already, is a ``ValueError``.
    """
    target = _checked(name, target)

    def add(kept: dict[str, str]) -> None:
        present = {**_in_file(_THEIR_FILE), **_in_file(ALIASES_FILE), **kept, **_aliases}.get(name, target)
        if present != target:
            raise ValueError(f"the alias {name!r} stands for {present!r} already; remove it first")
        kept[name] = target

    if persistent:
        _change(add)
        return
    with _lock:
        add(_aliases)


def remove_alias(name: str, *, persistent: bool = False) -> None:
    """Forget an alias of this process, or with ``persistent`` that of the user's file.

    ``KeyError`` if there is none.
    """

    def remove(kept: dict[str, str]) -> None:
        if kept.pop(name, None) is None:
            where = f"in {ALIASES_FILE}" if persistent else "in this process"
            raise KeyError(f"there is no alias {name!r} {where}")

    if persistent:
        _change(remove)
        return
    with _lock:
        remove(_aliases)


def stands_for(name: str) -> str | None:
    """What is to be put in the place of ``name://``; None if that is no alias."""
    mine = _aliases.get(name)
    return aliases().get(name) if mine is None else mine


def _checked(name: object, target: object) -> str:
    if not isinstance(name, str) or not isinstance(target, str):
        raise TypeError("an alias is a name and what it stands for, both texts")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r}: the name of an alias has two or more of a-z, 0-9, '-' and '_', a letter first")
    if has_scheme(name):
        raise ValueError(f"{name!r}: this is a scheme, and cannot be an alias")
    shown = without_credentials(target)
    if shown != target or re.search(r"https?://[^/]*@", target):
        raise ValueError(f"the alias {name!r}: what it stands for has a user, a password or a query in it")
    scheme, _ = split_scheme(target)
    if "://" not in target or not is_supported(scheme):
        raise ValueError(f"the alias {name!r}: {target!r} does not begin with a scheme")
    if scheme == "file" and not target.startswith("file:///"):
        raise ValueError(f"the alias {name!r}: {target!r} is not the whole path of a folder")
    target = f"{target.rstrip('/')}/" if target.partition("://")[2].strip("/") else target
    locate(f"{target}name/name")  # it has to make sense with something behind it
    return target


def _in_file(file: Path) -> dict[str, str]:
    try:
        path = file.expanduser()
    except RuntimeError:  # who has no home has no file there
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8") or "{}")  # as cloud-files reads an empty file
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ValueError(f"{path}: not valid JSON") from None
    kept = {}
    for name, value in found.items() if isinstance(found, Mapping) else [("", None)]:
        target = value.get("host") if isinstance(value, Mapping) else value
        if not isinstance(target, str):
            raise ValueError(f"{path}: expected a JSON object of names and cloudpaths")
        kept[name] = target if target.endswith("/") else f"{target}/"
    return kept


def _change(change: Callable[[dict[str, str]], None]) -> None:
    """Change what is in the user's file."""
    from ..disk.kept import change_kept  # only here: few programs change it

    def changed(kept: dict[str, str]) -> bool:
        change(kept)
        return True

    change_kept(ALIASES_FILE, lambda path: _in_file(ALIASES_FILE), changed, _PATIENCE)
