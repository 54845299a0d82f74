"""Where server, token and workspace come from, and to whom a token is never given."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import credentials
from cloudfiles_hypha.credentials import Access, resolve_access
from cloudfiles_hypha.paths import DEFAULT_SERVER, parse_cloudpath

Resolve = Callable[..., Access]
MINE = "https://mine.example"
OTHER = "https://other.example"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a secrets file of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(credentials, "SECRETS_FILE", tmp_path / "home.json")
    return tmp_path


@pytest.fixture
def resolve() -> Resolve:
    def resolve(
        path: str = "ws/alias", *, token: str | None = None, secrets: Any = None, server: str | None = None
    ) -> Access:
        return resolve_access(parse_cloudpath(path), token=token, secrets=secrets, server=server)

    return resolve


def jwt(**claims: Any) -> str:
    """A token that says this of itself; nobody checks its signature here."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2ln"])


# --- Where things come from -----------------------------------------------------------------------------------------


def test_nothing_given_means_the_public_server_and_no_token(resolve: Resolve) -> None:
    assert resolve() == Access(DEFAULT_SERVER, None, "ws")


def test_the_server_is_the_paths_then_the_arguments_then_the_environments(
    resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPHA_SERVER_URL", "https://env.example/")
    assert resolve().server == "https://env.example"
    assert resolve(server=f"{MINE}/").server == MINE
    assert resolve(f"hypha://{OTHER}/ws/alias").server == OTHER
    assert resolve(f"hypha://{OTHER}/ws/alias", server=f"{OTHER}/").server == OTHER


def test_two_servers_that_contradict_each_other_are_refused(resolve: Resolve) -> None:
    with pytest.raises(ValueError, match="contradicts"):
        resolve(f"hypha://{OTHER}/ws/alias", server=MINE)


@pytest.mark.parametrize("server", ["mine.example", "ftp://mine.example", "ws://mine.example"])
def test_a_server_is_an_http_url(resolve: Resolve, server: str) -> None:
    with pytest.raises(ValueError, match="http"):
        resolve(server=server)


def test_the_token_is_the_arguments_then_the_secrets_then_the_environments_then_the_files(
    resolve: Resolve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "home.json").write_text(json.dumps({DEFAULT_SERVER: {"token": "from-home"}}))
    assert resolve().token == "from-home"
    (home / ".env").write_text("HYPHA_TOKEN=from-dotenv\n")
    assert resolve().token == "from-dotenv"
    monkeypatch.setenv("HYPHA_TOKEN", "from-environment")
    assert resolve().token == "from-environment"
    assert resolve(secrets={"token": "from-secrets"}).token == "from-secrets"
    assert resolve(token="given", secrets={"token": "from-secrets"}).token == "given"


@pytest.mark.parametrize(
    "text",
    [
        "the-token",
        "the-token\n",
        '"the-token"',
        '{"token": "the-token"}',
        json.dumps({DEFAULT_SERVER: "the-token"}),
        json.dumps({DEFAULT_SERVER: {"token": "the-token"}, OTHER: {"token": "another"}}),
    ],
)
def test_a_secrets_file_holds_a_token_in_several_forms(resolve: Resolve, home: Path, text: str) -> None:
    (home / "secrets").write_text(text)
    assert resolve(secrets=home / "secrets").token == "the-token"
    assert resolve(secrets=str(home / "secrets")).token == "the-token"


@pytest.mark.parametrize("secrets", [{}, {"token": 7}, {OTHER: {"token": "s3cret"}}, {"token": None}])
def test_secrets_without_a_token_for_this_server_are_refused_unread(resolve: Resolve, secrets: Any) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        resolve(secrets=secrets)
    assert "s3cret" not in str(caught.value)


def test_the_workspace_is_the_paths_then_the_environments_then_the_tokens(
    resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = jwt(scope="ws:from-token#rw wid:from-token")
    assert resolve("alias", token=token).workspace == "from-token"
    monkeypatch.setenv("HYPHA_WORKSPACE", "from-environment")
    assert resolve("alias", token=token).workspace == "from-environment"
    assert resolve("ws/alias", token=token).workspace == "ws"


def test_no_workspace_at_all_says_what_to_do(resolve: Resolve) -> None:
    for token in (None, "opaque", "a.b.c"):
        with pytest.raises(ValueError, match="workspace/alias, set HYPHA_WORKSPACE"):
            resolve("alias", token=token)


def test_a_dotenv_may_quote_and_export_and_says_nothing_of_others(
    resolve: Resolve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").write_text(
        "# HYPHA_TOKEN=commented\n\nexport HYPHA_TOKEN='quoted'\nHYPHA_WORKSPACE = \"w\"\nOTHER=1\nnonsense\n"
    )
    assert resolve("alias") == Access(DEFAULT_SERVER, "quoted", "w")


def test_a_dotenv_that_is_not_utf8_or_no_file_does_no_harm(resolve: Resolve, home: Path) -> None:
    (home / ".env").write_bytes("NAME=Grüße\n".encode("latin-1") + b"HYPHA_TOKEN=the-token\n")
    assert resolve().token == "the-token"
    (home / ".env").unlink()
    (home / ".env").mkdir()
    assert resolve().token is None


def test_a_broken_secrets_file_of_the_user_is_an_error_that_names_it(resolve: Resolve, home: Path) -> None:
    (home / "home.json").write_text("{")
    with pytest.raises(ValueError, match=r"home\.json"):
        resolve()


# --- To whom a token is not given -----------------------------------------------------------------------------------


def test_a_token_of_the_environment_is_for_the_server_beside_it_only(
    resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPHA_TOKEN", "mine")
    monkeypatch.setenv("HYPHA_SERVER_URL", MINE)
    assert resolve().token == "mine"
    assert resolve(server=f"{MINE}/").token == "mine"
    assert resolve(server=OTHER).token is None
    assert resolve(f"hypha://{OTHER}/ws/alias").token is None


def test_a_token_of_a_dotenv_is_for_the_server_beside_it_only(
    resolve: Resolve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").write_text(f"HYPHA_TOKEN=mine\nHYPHA_SERVER_URL={MINE}\n")
    assert resolve().token == "mine"
    assert resolve(server=OTHER).token is None
    monkeypatch.setenv("HYPHA_SERVER_URL", OTHER)
    assert resolve() == Access(OTHER, None, "ws")


def test_the_users_secrets_file_gives_each_server_its_own(resolve: Resolve, home: Path) -> None:
    (home / "home.json").write_text(json.dumps({MINE: {"token": "mine"}, OTHER: "others"}))
    assert resolve(server=MINE).token == "mine"
    assert resolve(server=OTHER).token == "others"
    assert resolve().token is None


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "töken", "nul\x00", "esc\x1b", "del\x7f"])
def test_a_token_that_cannot_be_one_is_refused_and_not_repeated(resolve: Resolve, token: str) -> None:
    with pytest.raises(ValueError, match="the token is empty or contains") as caught:
        resolve(token=token)
    assert not token.strip() or token not in str(caught.value)


def test_space_around_a_token_is_taken_off(resolve: Resolve) -> None:
    assert resolve(token="  the-token\n").token == "the-token"


def test_access_does_not_show_its_token() -> None:
    assert "s3cret" not in repr(Access(MINE, "s3cret", "ws"))


def test_a_token_given_as_the_name_of_a_secrets_file_is_not_repeated(resolve: Resolve) -> None:
    token = jwt(scope="ws:w#rw")
    with pytest.raises(FileNotFoundError, match="token=") as caught:
        resolve(secrets=token)
    assert token not in str(caught.value)
    assert token not in repr(caught.value)
    with pytest.raises(FileNotFoundError, match=r"missing/secrets"):
        resolve(secrets=Path("missing/secrets"))
