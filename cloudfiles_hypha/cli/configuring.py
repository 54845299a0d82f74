"""``config``, ``login``, ``logout``, ``whoami``: what is configured, by whom, and who one is to a server.

No token is taken as an argument, shown, or kept before the server has accepted it.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from datetime import datetime, timezone

from ..credentials import (
    KEYRING,
    SECRETS_FILE,
    ambient_server,
    checked_token,
    open_keyring,
    resolve_routes,
    server_and_token,
    token_source,
)
from ..redact import printable, without_credentials
from ..settings import Settings
from .commands import Commands
from .configuration import config_file, defaults, shown, unknown_variables
from .report import OK, PROGRAM, SOME_FAILED, UsageError, complain, say, say_json
from .texts import COMMANDS

_LOGIN_TIME = 300.0  # seconds that a login in a browser may take; the server forgets it after about as long
_PAUSE = 2.0


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    commands.add("config", config, COMMANDS["config"].text, cloud=False)
    for name, run in (("login", login), ("logout", logout), ("whoami", whoami)):
        command = commands.add(name, run, COMMANDS[name].text, cloud=False)
        command.add_argument(
            "server", nargs="?", metavar="SERVER_URL", help="as https://host (default: the one that config shows)"
        )
        if name == "login":
            ways = command.add_mutually_exclusive_group()
            ways.add_argument("--stdin", action="store_true", help="read the token from standard input")
            ways.add_argument("--browser", action="store_true", help="have the server's own page make a token")
            command.add_argument(
                "--keyring", action="store_true", help="keep it in the system's keyring, not in a file"
            )


def config(options: argparse.Namespace) -> int:
    """A line for each option: its name, what it is, who says so; then variables that nothing reads, and the file."""
    shared = Commands().shared
    rows = [(name, *found) for name, found in defaults(shared).items()]
    for name, value, source, _ in rows:
        if name == "server_url" and value is None:
            value, source = ambient_server()
        elif source == "HYPHA_USE_PROXY":
            value = resolve_routes(Settings()).use_proxy
        elif source == "HYPHA_USE_LOCAL_URL":
            value = resolve_routes(Settings()).use_local_url
        if options.json:
            value = shown(value) if isinstance(value, str) else value
            say_json({"option": name, "value": value, "source": source})
        else:
            say(name, shown(value), source)
    for variable, near in unknown_variables(shared).items():  # what it is may be secret, and matters to nobody
        if options.json:
            say_json({"option": None, "value": None, "source": variable, "nearest": near or None})
        else:
            say(variable, "-", f"nothing reads it{f'; did you mean {near}?' if near else ''}")
    try:
        where = token_source(_configured())
    except ValueError as error:  # the rest is to be seen all the same
        complain(str(error))
        where = None
    if options.json:
        say_json({"option": "token", "value": None if where is None else "kept secret", "source": where})
    else:
        say("token", "-" if where is None else "kept secret", where or "nobody")
        file = config_file()
        say("file", str(file), "" if file.exists() else "not there")
    return OK


def login(options: argparse.Namespace) -> int:
    """Ask for a token, or have the server make one, and keep it if the server accepts it."""
    from .tokens import identity, keep_token  # only here: these load what requests take

    server = _server(options)
    if server.startswith("http://") and server.split("/")[2].partition(":")[0] not in ("localhost", "127.0.0.1"):
        complain(f"warning: {server}: the token is sent unencrypted; is there no https:// address?")
    if options.keyring:
        with open_keyring():  # or nobody need type anything
            pass
    if options.browser:
        token = _made_in_browser(server)
    elif options.stdin:
        token = sys.stdin.readline()
    elif sys.stdin.isatty():
        try:
            token = getpass.getpass(f"Token for {server} (not shown): ")
        except EOFError:
            raise UsageError("no token was given, and nothing is changed") from None
    else:
        raise UsageError("standard input is no terminal: --stdin reads the token from it, --browser needs none")
    token = checked_token(token)
    who = identity(server, token)
    keep_token(server, token, keyring=options.keyring)
    _tell_who(options, who, server=server, kept=KEYRING if options.keyring else str(SECRETS_FILE))
    _, found, where = server_and_token(server)
    if found != token:
        complain(f"warning: {where} has another token for {server}, and is stronger")
    return OK


def logout(options: argparse.Namespace) -> int:
    """Forget the token that is kept for a server."""
    from .tokens import forget_token

    server = _server(options)
    if not forget_token(server):
        complain(f"{server}: no token was kept for it in {SECRETS_FILE} or {KEYRING}")
        return SOME_FAILED
    say(f"{server}: its token is forgotten; on the server it is valid as long as it was")
    if server_and_token(server)[1] is not None:
        complain(f"warning: {server_and_token(server)[2]} still has a token for {server}")
    return OK


def whoami(options: argparse.Namespace) -> int:
    """Say who the server takes us for, with the token that transfers would use."""
    from .tokens import identity

    server, token, where = server_and_token(_server(options) if options.server or _configured() else None)
    if token is None:
        complain(f"{server}: no token; {PROGRAM} login asks for one")
        return SOME_FAILED
    _tell_who(options, identity(server, token), server=server, token_from=where)
    return OK


def _configured() -> str | None:
    server = defaults(Commands().shared)["server_url"].value
    return None if server is None else str(server)


def _server(options: argparse.Namespace) -> str:
    """The server that is meant. What does not look like one is not repeated: it may be the token."""
    server: str = options.server or _configured() or ambient_server()[0]
    server = server.strip().rstrip("/")
    if not server.startswith(("http://", "https://")) or without_credentials(server) != server:
        raise UsageError(
            "SERVER_URL is as in https://host, without user and query; the token is no argument, it is asked for"
        )
    return server


def _tell_who(options: argparse.Namespace, who: dict[str, object], **more: str) -> None:
    ends = who["expires_at"]
    if isinstance(ends, int | float):
        when = datetime.fromtimestamp(ends, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    else:
        when = None
    facts = {"server": more.pop("server"), "user": who["user"], "email": who["email"], "workspace": who["workspace"]}
    facts |= {"token_ends": when, **more}
    if options.json:
        say_json(facts)
        return
    for name, value in facts.items():
        say(name, str(value or "-"))


def _made_in_browser(server: str) -> str:
    from .tokens import ask

    begun = ask(server, "public/services/hypha-login/start", {})
    if not isinstance(begun, dict) or not isinstance(begun.get("login_url"), str):
        raise UsageError(f"{server}: has no login page; without --browser a token is asked for")
    page, key = str(begun["login_url"]), begun.get("key")
    if not page.startswith(("https://", "http://")):
        raise UsageError(f"{server}: its login page is no web address")
    # not by complain, which hides queries: this one is to be opened
    print(f"Open this page, log in, and come back: {printable(page)}", file=sys.stderr, flush=True)
    until = time.monotonic() + _LOGIN_TIME
    while time.monotonic() < until:
        token = ask(server, "public/services/hypha-login/check", {"key": key, "timeout": 0})
        if isinstance(token, str) and token:
            return token
        time.sleep(_PAUSE)
    raise TimeoutError(f"{server}: nobody has logged in within {_LOGIN_TIME:.0f} seconds")
