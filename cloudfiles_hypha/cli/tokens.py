"""Tokens that ``login`` keeps, and who a server takes them for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import credentials
from ..disk.kept import change_kept
from ..errors import ServerError
from ..models import Timeouts
from ..redact import scrub
from ..transports import HttpRequest, open_transport
from ..transports.answers import error_of
from .report import UsageError

_PATIENCE = 30.0  # seconds, for another process that is at the file


def ask(server: str, what: str, arguments: Mapping[str, object] | None = None, token: str | None = None) -> Any:
    """The JSON that a server answers; with ``arguments`` they are posted. Redirects are not followed."""
    headers = [("Accept", "application/json"), ("Content-Type", "application/json")]
    if token is not None:
        headers.append(("Authorization", f"Bearer {token}"))
    body = None if arguments is None else json.dumps(arguments).encode()
    transport = open_transport("auto", Timeouts(), green=False)
    try:
        request = HttpRequest("GET" if body is None else "POST", f"{server}/{what}", tuple(headers), body)
        response = transport.send(request)
    finally:
        transport.close()
    if response.status != 200:
        said = scrub(response.body[:200].decode("utf-8", "replace"), [token])
        raise error_of(response, server, said)
    try:
        return json.loads(response.body)
    except ValueError:
        raise ServerError("the answer is not JSON; is this a Hypha server?", path=server) from None


def identity(server: str, token: str) -> dict[str, object]:
    """``user``, ``email``, ``workspace``, ``expires_at`` of a token, as the server says, or ``AccessDenied``."""
    found = ask(server, "assets/config.json", token=token)
    user = found.get("user") if isinstance(found, dict) else None
    if not isinstance(user, dict) or not isinstance(user.get("id"), str):
        raise ServerError("the answer has no user in it; is this a Hypha server?", path=server)
    scope = user.get("scope")
    workspace = scope.get("current_workspace") if isinstance(scope, dict) else None
    return {
        "user": user["id"],
        "email": user.get("email"),
        "workspace": workspace or credentials.token_workspace(token),
        "expires_at": user.get("expires_at"),
    }


def keep_token(server: str, token: str, *, keyring: bool = False) -> None:
    """Keep a token in the user's secrets file, which nobody else can read; what else is in there stays.

    With ``keyring`` the system's keyring has it, and the file says so. It is never in both.
    """
    where: dict[str, object] = {"keyring": True} if keyring else {"token": token}
    was_in_keyring = False

    def keep(kept: dict[str, object]) -> bool:
        nonlocal was_in_keyring
        before = kept.get(server)
        others = dict(before) if isinstance(before, dict) else {}
        was_in_keyring = others.pop("keyring", None) is True
        others.pop("token", None)
        kept[server] = {**others, **where}
        return True

    if keyring:
        credentials.keep_in_keyring(server, token)  # first: what the file says is then true, whatever comes between
    _change(keep)
    if was_in_keyring and not keyring:
        credentials.remove_from_keyring(server)


def forget_token(server: str) -> bool:
    """Forget the token of a server, in the file and in the keyring; whether there was one."""
    removed = False
    try:
        removed = credentials.remove_from_keyring(server)
    except (ValueError, OSError):
        if credentials.kept_in_keyring(server):  # else there is nothing of ours to be expected in it
            raise
    return _change(lambda kept: kept.pop(server, None) is not None) or removed


def _change(change: Callable[[dict[str, object]], bool]) -> bool:
    """Change what is in the file, if ``change`` says so."""
    return change_kept(credentials.SECRETS_FILE, _read, change, _PATIENCE)


def _read(path: Path) -> dict[str, object]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return {}
    except ValueError:
        raise UsageError(f"{path}: not valid JSON, and so not changed") from None
    if not isinstance(kept, dict):
        raise UsageError(f"{path}: not a JSON object of servers and tokens, and so not changed")
    return kept
