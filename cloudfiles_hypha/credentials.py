"""Which server, which workspace, which token: from arguments, the environment, or files. Never logs a token."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .paths import DEFAULT_SERVER, CloudPath

SECRETS_FILE = Path("~/.config/cloudfiles_hypha/secrets.json")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a Hypha server."""

    server: str
    token: str | None = field(repr=False)
    workspace: str


Secrets = Mapping[str, Any] | str | os.PathLike[str]
"""A mapping with a ``token`` (or with one for each server URL), or a file that holds one, or holds the token."""


def resolve_access(path: CloudPath, *, token: str | None, secrets: Secrets | None, server: str | None) -> Access:
    """Server, token and workspace for a ``hypha`` cloudpath.

    The server: the one in the path, ``server``, ``HYPHA_SERVER_URL``, or the public one. The token: ``token``,
    ``secrets`` (a mapping with a ``token``, or a file that holds one), ``HYPHA_TOKEN``, a ``.env`` file in the
    working directory, the user's secrets file; or none, which is enough for public artifacts. A token from the
    environment is not sent to another server than the ``HYPHA_SERVER_URL`` beside it. The workspace: the one in
    the path, ``HYPHA_WORKSPACE``, or the one that the token was made for.
    """
    from .backends.hypha.manager import token_workspace

    if path.server and server and path.server.rstrip("/") != server.rstrip("/"):
        raise ValueError(f"server_url={server!r} contradicts the server in the cloudpath, {path.server!r}")
    dotenv = _dotenv()
    environment = {**dotenv, **os.environ}
    ambient = environment.get("HYPHA_SERVER_URL") or None
    chosen = (path.server or server or ambient or DEFAULT_SERVER).rstrip("/")
    if not chosen.startswith(("http://", "https://")):
        raise ValueError(f"server_url={chosen!r} is not an http:// or https:// URL")
    if token is None and secrets is not None:
        token = _token_in(secrets, chosen)
    for source in (os.environ, dotenv):
        beside = source.get("HYPHA_SERVER_URL") or ambient
        if token is None and (not beside or beside.rstrip("/") == chosen):
            token = source.get("HYPHA_TOKEN") or None
    if token is None:
        token = _token_in_home(chosen)
    if token is not None:
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("the token is empty or contains white space, control or non-ASCII characters")
    workspace = path.workspace or environment.get("HYPHA_WORKSPACE") or (token_workspace(token) if token else None)
    if not workspace:
        raise ValueError(
            f"no workspace given for artifact {path.alias!r}: "
            "write workspace/alias, set HYPHA_WORKSPACE, or pass a token made for a workspace"
        )
    return Access(chosen, token, workspace)


def _token_in(secrets: Secrets, server: str) -> str:
    if isinstance(secrets, Mapping):
        data: Any = secrets
        source = "secrets"
    else:
        source = os.fspath(secrets)
        try:
            text = Path(secrets).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            # named only if it looks like a path: it may be the token itself, given by mistake
            name = f"{source!r}: " if os.sep in source or not isinstance(secrets, str) else ""
            raise type(error)(
                f"{name}secrets is not a file that can be read ({error.strerror}); a token itself goes into token="
            ) from None
        try:
            data = json.loads(text)
        except ValueError:
            return text  # the file is the token
    if isinstance(data, str):
        return data
    found = data.get(server, data) if isinstance(data, Mapping) else None
    found = found.get("token") if isinstance(found, Mapping) else found
    if not isinstance(found, str):
        raise ValueError(f"{source}: expected {{'token': ...}}, or {{server: {{'token': ...}}}} with {server!r} in it")
    return found


def _token_in_home(server: str) -> str | None:
    path = SECRETS_FILE.expanduser()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise ValueError(f"{path}: not valid JSON") from None
    found = data.get(server) if isinstance(data, dict) else None  # by server: a token is for one server only
    found = found.get("token") if isinstance(found, dict) else found
    return found if isinstance(found, str) else None


def _dotenv() -> dict[str, str]:
    """The ``HYPHA_*`` lines of ``.env`` in the working directory: ``NAME=value``, quotes and ``export`` allowed."""
    try:
        text = Path(".env").read_text(encoding="utf-8", errors="replace")  # the rest of it is others' business
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        return {}
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and name.strip().startswith("HYPHA_"):
            found[name.strip()] = value.strip().strip("'\"")
    return found
