"""Where server, token and workspace come from, and to whom a token is never given."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import AccessDenied, ArtifactFiles, credentials
from cloudfiles_hypha.backends import locate
from cloudfiles_hypha.credentials import DEFAULT_SERVER, Access, resolve_access
from tests.support.fake_hypha import FakeHypha

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
        return resolve_access(locate(path), token=token, secrets=secrets, server=server)

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


@pytest.mark.parametrize("named", [{"server": OTHER}, {"path": f"hypha://{OTHER}/ws/alias"}])
def test_a_token_without_a_server_beside_it_goes_to_the_public_one_only(
    resolve: Resolve, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, named: Any
) -> None:
    monkeypatch.setenv("HYPHA_TOKEN", "s3cret")
    assert resolve() == Access(DEFAULT_SERVER, "s3cret", "ws")
    assert resolve(server=f"{DEFAULT_SERVER}/").token == "s3cret"
    assert resolve(**named) == Access(OTHER, None, "ws")
    assert "HYPHA_SERVER_URL" in caplog.text  # what to do about it
    assert "s3cret" not in caplog.text
    monkeypatch.delenv("HYPHA_TOKEN")
    (home / ".env").write_text("HYPHA_TOKEN=from-dotenv\n")
    assert resolve().token == "from-dotenv"
    assert resolve(**named).token is None
    monkeypatch.setenv("HYPHA_SERVER_URL", MINE)  # the user's own default, which is none of the file's doing
    assert resolve() == Access(MINE, "from-dotenv", "ws")
    assert resolve(**named).token is None


def test_a_dotenv_does_not_redirect_a_token_that_came_from_elsewhere(
    resolve: Resolve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("s3cret")
    for dotenv in (f"HYPHA_SERVER_URL={OTHER}\n", f"HYPHA_SERVER_URL={OTHER}\nHYPHA_TOKEN=bait\n"):
        (home / ".env").write_text(dotenv)
        with pytest.raises(ValueError, match=r"token=.*only ./.env names.*pass server_url=") as caught:
            resolve(token="s3cret")
        assert "s3cret" not in str(caught.value)
        for secrets in ({"token": "s3cret"}, {OTHER: {"token": "s3cret"}}, home / "file"):
            with pytest.raises(ValueError, match=r"secrets=.*only ./.env"):
                resolve(secrets=secrets)
        with monkeypatch.context() as environment:
            environment.setenv("HYPHA_TOKEN", "s3cret")
            with pytest.raises(ValueError, match=r"HYPHA_TOKEN in the environment.*only ./.env"):
                resolve()
            assert resolve(server=DEFAULT_SERVER).token == "s3cret"
            environment.setenv("HYPHA_SERVER_URL", MINE)
            assert resolve() == Access(MINE, "s3cret", "ws")
        assert resolve(token="s3cret", server=MINE) == Access(MINE, "s3cret", "ws")
        (home / "home.json").write_text(json.dumps({DEFAULT_SERVER: "s3cret", MINE: "s3cret"}))
        assert resolve().server == OTHER
        assert resolve().token in (None, "bait")


def test_a_dotenv_is_good_for_what_needs_no_token_and_for_its_own(resolve: Resolve, home: Path) -> None:
    (home / ".env").write_text(f"HYPHA_SERVER_URL={MINE}/\n")
    assert resolve() == Access(MINE, None, "ws")
    (home / "home.json").write_text(json.dumps({MINE: "for-mine"}))
    assert resolve() == Access(MINE, "for-mine", "ws")  # it goes where the user's own file says
    (home / ".env").write_text(f"HYPHA_SERVER_URL={DEFAULT_SERVER}/\n")
    assert resolve(token="given") == Access(DEFAULT_SERVER, "given", "ws")


def test_a_server_and_a_token_that_are_given_go_together(
    resolve: Resolve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").write_text(f"HYPHA_SERVER_URL={OTHER}\nHYPHA_TOKEN=bait\n")
    assert resolve(token="given", server=MINE).token == "given"
    assert resolve(f"hypha://{MINE}/ws/alias", token="given").token == "given"
    monkeypatch.setenv("HYPHA_SERVER_URL", MINE)
    assert resolve(token="given") == Access(MINE, "given", "ws")


@pytest.mark.parametrize("source", ["environment", "dotenv"])
def test_a_pickled_copy_goes_to_the_same_place_with_the_same_token(
    source: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeHypha(token="mine") as hypha:
        hypha.add_artifact("ws/alias", {"a": b"a"})
        settings = {"HYPHA_SERVER_URL": hypha.url, "HYPHA_TOKEN": "mine", "HYPHA_WORKSPACE": "ws"}
        if source == "dotenv":
            (home / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
            settings = {}
        with monkeypatch.context() as environment:
            for name, value in settings.items():
                environment.setenv(name, value)
            with ArtifactFiles("alias", num_threads=0) as original:
                pickled = pickle.dumps(original)
        (home / "elsewhere").mkdir()
        monkeypatch.chdir(home / "elsewhere")
        for name, value in (("SERVER_URL", "http://127.0.0.1:9"), ("TOKEN", "theirs"), ("WORKSPACE", "other")):
            monkeypatch.setenv(f"HYPHA_{name}", value)
        with pickle.loads(pickled) as copy, pickle.loads(pickle.dumps(copy)) as again:
            assert copy.get("a") == again.get("a") == b"a"


def test_a_copy_of_an_object_without_a_token_takes_none_from_its_new_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeHypha(token="mine") as hypha:
        hypha.add_artifact("ws/alias", {"a": b"a"})
        with ArtifactFiles("ws/alias", server_url=hypha.url, num_threads=0) as original:
            pickled = pickle.dumps(original)
        monkeypatch.setenv("HYPHA_SERVER_URL", hypha.url)
        monkeypatch.setenv("HYPHA_TOKEN", "mine")
        with pickle.loads(pickled) as copy, pytest.raises(AccessDenied):
            copy.get("a")


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
