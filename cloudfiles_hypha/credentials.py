"""Which server, which workspace, which token: from arguments, the environment, or files. Never logs a token.

A token is only for the server that stands beside it. The server is the one named in the cloudpath or by
``server_url=``, else that of ``HYPHA_SERVER_URL`` in the environment, else that of ``./.env``, else the public one.

=================================  ====================================================================================
this token                         goes to
=================================  ====================================================================================
``token=``, ``secrets=``           the server, whoever names it; but if only ``./.env`` does: ``ValueError``
``HYPHA_TOKEN`` (environment)      the ``HYPHA_SERVER_URL`` of the environment, without one the public server; not to
                                   another one that the caller names; if only ``./.env`` names one: ``ValueError``
``HYPHA_TOKEN`` in ``./.env``      the ``HYPHA_SERVER_URL`` of the same file, without one that of the environment,
                                   without both the public server; not to another one
the user's secrets file            the server that it is listed under; the token may be in the system's keyring, which
                                   is asked only where the file says so
=================================  ====================================================================================

The first of these that has a token for the server wins; without any, public artifacts can be read. A working directory
may belong to somebody else, so its ``.env`` never says where a token from elsewhere goes. Its ``HYPHA_WORKSPACE`` is
harmless: it names a place on a server that was chosen by these rules.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .redact import without_credentials
from .settings import Secrets, Settings, check_local_url

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

DEFAULT_SERVER = "https://hypha.aicell.io"

SECRETS_FILE = Path("~/.config/cloudfiles_hypha/secrets.json")
KEYRING = "the system's keyring"
_SERVICE = "cloudfiles_hypha"  # what our entries in a keyring are listed under
_log = logging.getLogger("cloudfiles_hypha")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a Hypha server: where everything came from is settled, so a copy of it leads to the same place."""

    server: str
    token: str | None = field(repr=False)
    workspace: str


@dataclass(frozen=True, slots=True)
class Routes:
    """How URLs for bytes are to be made, and what else a server wants to be sent: the network here decides, so a copy
    of an object that goes to another machine takes along only what was said by arguments."""

    use_proxy: bool | None = None
    use_local_url: bool | str = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def resolve_routes(settings: Settings) -> Routes:
    """From the arguments, else ``HYPHA_USE_PROXY`` and ``HYPHA_USE_LOCAL_URL`` of the environment.

    Never from ``./.env``: that is not to decide where signed URLs are sent.
    """
    proxy, local = settings.use_proxy, settings.use_local_url
    if proxy is None and (text := os.environ.get("HYPHA_USE_PROXY", "").strip()):
        proxy = _FLAGS.get(text.lower())
        if proxy is None:
            raise ValueError(f"HYPHA_USE_PROXY={text!r}: expected true or false")
    if local is None and (text := os.environ.get("HYPHA_USE_LOCAL_URL", "").strip()):
        local = local_url(text, "HYPHA_USE_LOCAL_URL")
    if isinstance(local, str):
        local = local.rstrip("/")
    return Routes(proxy, local or False, tuple((settings.headers or {}).items()))


def local_url(text: str, name: str) -> bool | str:
    """``use_local_url`` as it is written: a flag or a URL; ``name`` is how it was given."""
    return check_local_url(_FLAGS.get(text.lower(), text), name)


class Named(Protocol):
    """What a cloudpath says."""

    @property
    def server(self) -> str | None:
        """The server, if it names one."""

    @property
    def workspace(self) -> str | None:
        """The workspace, if it names one."""

    @property
    def alias(self) -> str:
        """The artifact."""


def resolve_access(path: Named, *, token: str | None, secrets: Secrets | None, server: str | None) -> Access:
    """Server, token and workspace for a ``hypha`` cloudpath, by the rules above.

    The workspace is the one in the path, ``HYPHA_WORKSPACE``, or the one that the token was made for.
    """
    dotenv = _dotenv()
    chosen, token, _ = _server_and_token(_named_server(path, server), dotenv, token, secrets)
    workspace = path.workspace or os.environ.get("HYPHA_WORKSPACE") or dotenv.get("HYPHA_WORKSPACE")
    workspace = workspace or (token_workspace(token) if token else None)
    if not workspace:
        raise ValueError(
            f"no workspace given for artifact {path.alias!r}: "
            "write workspace/alias, set HYPHA_WORKSPACE, or pass a token made for a workspace"
        )
    return Access(chosen, token, workspace)


def server_and_token(server: str | None) -> tuple[str, str | None, str]:
    """The server (of those who name none the one that the environment says), the token for it, and where that is."""
    return _server_and_token(server, _dotenv(), None, None)


def token_source(server: str | None) -> str | None:
    """Where the token for a server is, None if there is none. A keyring, which may ask its user, is not opened."""
    _, token, where = _server_and_token(server, _dotenv(), None, None, in_keyring=lambda server: "there")
    return None if token is None else where


def token_in_keyring(server: str) -> str | None:
    """The token that the system's keyring has for a server; an error if the keyring cannot be read."""
    with open_keyring() as keyring:
        token: str | None = keyring.get_password(_SERVICE, server)
        return token


def keep_in_keyring(server: str, token: str) -> None:
    """Have the system's keyring keep it."""
    with open_keyring() as keyring:
        keyring.set_password(_SERVICE, server, token)


def remove_from_keyring(server: str) -> bool:
    """Have the system's keyring forget the token of a server; whether there was one."""
    with open_keyring() as keyring:
        if keyring.get_password(_SERVICE, server) is None:
            return False
        keyring.delete_password(_SERVICE, server)
        return True


@contextmanager
def open_keyring() -> Iterator[KeyringBackend]:
    """The system's keyring, which must be one that keeps secrets; ``ValueError`` if there is none.

    What it raises is an ``OSError``, without what it says: that is another program's, and nobody knows what is in it.
    """
    try:
        import keyring  # takes 100 ms, and is an extra
        from keyring.errors import KeyringError
    except ImportError:
        raise ValueError(f"{KEYRING}: needs a package: pip install 'cloudfiles_hypha[keyring]'") from None
    try:
        found = keyring.get_keyring()
        if found.priority < 1:  # as keyring has it: one that fails, that forgets, or that is a plain file
            raise ValueError(f"{KEYRING}: there is none on this machine that keeps secrets")
        yield found
    except KeyringError as error:
        raise OSError(f"{KEYRING} refuses ({type(error).__name__}); is it locked?") from None


def _server_and_token(
    named: str | None,
    dotenv: Mapping[str, str],
    token: str | None,
    secrets: Secrets | None,
    *,
    in_keyring: Callable[[str], str | None] = token_in_keyring,
) -> tuple[str, str | None, str]:
    ambient = os.environ.get("HYPHA_SERVER_URL")
    chosen = _url(named or ambient or dotenv.get("HYPHA_SERVER_URL") or DEFAULT_SERVER)
    if not chosen.startswith(("http://", "https://")):
        raise ValueError(f"server_url={without_credentials(chosen)!r} is not an http:// or https:// URL")
    if not named and not ambient and chosen != DEFAULT_SERVER:
        _refuse_redirect(chosen, token, secrets)
    where = "token="
    if token is None and secrets is not None:
        token, where = _token_in(secrets, chosen), "secrets="
    if token is None:
        token, where = _token_beside(os.environ, "the environment", DEFAULT_SERVER, chosen), "HYPHA_TOKEN"
    if token is None:
        token, where = _token_beside(dotenv, "./.env", ambient or DEFAULT_SERVER, chosen), "./.env"
    if token is None:
        token, where = _token_in_home(chosen), str(SECRETS_FILE)
    if token is None and kept_in_keyring(chosen):
        token, where = in_keyring(chosen), KEYRING
        if token is None:
            raise ValueError(
                f"{SECRETS_FILE}: the token for {chosen} is said to be in {KEYRING}, and is not; log in again"
            )
    return chosen, None if token is None else checked_token(token), where


def checked_token(text: str) -> str:
    """A token as it is sent, or ``ValueError``, without the text, if it cannot be one."""
    if not isinstance(text, str):
        raise TypeError(f"a token is a text, not {type(text).__name__}")
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("the token is empty or contains white space, control or non-ASCII characters")
    return token


def ambient_server() -> tuple[str, str]:
    """The server of those who name none, and who says so."""
    for source, where in ((os.environ, "HYPHA_SERVER_URL"), (_dotenv(), "./.env")):
        if url := source.get("HYPHA_SERVER_URL"):
            return _url(url), where
    return DEFAULT_SERVER, "default"


def _named_server(path: Named, server: str | None) -> str | None:
    """The server that the caller has named."""
    if path.server and server and _url(path.server) != _url(server):
        raise ValueError(
            f"server_url={without_credentials(server)!r} contradicts the server in the cloudpath, {path.server!r}"
        )
    return path.server or server


def _url(text: str) -> str:
    return text.strip().rstrip("/")


def _refuse_redirect(server: str, token: str | None, secrets: Secrets | None) -> None:
    """Raise ``ValueError`` if a token that is not from ``./.env`` would go, or not go, where only that file says."""
    given = "token=" if token is not None else "secrets=" if secrets is not None else ""
    if given or os.environ.get("HYPHA_TOKEN"):
        raise ValueError(
            f"the token comes from {given or 'HYPHA_TOKEN in the environment'}, and only ./.env names the server, "
            f"{without_credentials(server)!r}: a file of the working directory does not decide who gets a token; "
            "pass server_url=, or set HYPHA_SERVER_URL in the environment"
        )


def _token_beside(source: Mapping[str, str], where: str, default: str, server: str) -> str | None:
    """The ``HYPHA_TOKEN`` of one source, if it is for this server; ``default`` is whose it is if that says nothing."""
    token = source.get("HYPHA_TOKEN") or None
    beside = source.get("HYPHA_SERVER_URL") or ""
    if token is None or _url(beside or default) == server:
        return token
    if not beside:
        _log.warning(
            "HYPHA_TOKEN of %s stands without a HYPHA_SERVER_URL, so it is for %s, and is not sent to %s",
            where,
            without_credentials(_url(default)),
            without_credentials(server),
        )
    return None


def token_workspace(token: str) -> str | None:
    """The workspace that a Hypha token was made for, read from its claims (not verified), or None."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        scope = claims.get("scope", "")
    except (IndexError, ValueError, AttributeError):  # of which binascii.Error is one
        return None
    found = re.search(r"(?:^|\s)wid:(\S+)", scope) if isinstance(scope, str) else None
    return found[1] if found else None


def _token_in(secrets: Mapping[str, object] | str | os.PathLike[str], server: str) -> str:
    if isinstance(secrets, Mapping):
        data: object = secrets
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


def kept_in_keyring(server: str) -> bool:
    """Whether the user's secrets file says that the token of a server is in the keyring."""
    found = _kept_at_home(server)
    return isinstance(found, dict) and found.get("keyring") is True


def _token_in_home(server: str) -> str | None:
    found = _kept_at_home(server)
    found = found.get("token") if isinstance(found, dict) else found
    return found if isinstance(found, str) else None


def _kept_at_home(server: str) -> object:
    path = SECRETS_FILE.expanduser()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise ValueError(f"{path}: not valid JSON") from None
    return data.get(server) if isinstance(data, dict) else None  # by server: a token is for one server only


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
