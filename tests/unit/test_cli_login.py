"""Tokens on the command line: asked for, checked, kept for this user only, and never shown."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import credentials
from cloudfiles_hypha.cli import configuring, tokens
from cloudfiles_hypha.cli.main import main
from tests.support.fake_hypha import FakeHypha, json_response
from tests.support.object_server import Request, Response

TOKEN = "very-secret-token-0123456789"
OTHERS = {"https://other.example": {"token": "theirs"}, "https://old.example": "as text"}
Output = pytest.CaptureFixture[str]


class Hypha(FakeHypha):
    """One that knows whose the token is, and has a login page."""

    answers = 0  # how often the login page says that nobody has logged in yet

    def respond(self, request: Request) -> Response:
        if request.path == "assets/config.json":
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return json_response(
                    {"detail": f"no: {(request.headers.get('authorization') or '').split()[-1:]}"}, 401
                )
            scope = {"current_workspace": "ws"}
            user = {"id": "ada", "email": "ada@example.org", "scope": scope, "expires_at": 1767225600.0}
            return json_response({"user": user})
        if request.path == "public/services/hypha-login/start":
            return json_response({"login_url": "https://page.example/?key=k\x1b[31m", "key": "k"})
        if request.path == "public/services/hypha-login/check":
            assert json.loads(request.body)["key"] == "k"
            self.answers += 1
            return json_response(TOKEN if self.answers == 2 else None)
        return super().respond(request)


@pytest.fixture
def hypha(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hypha]:
    with Hypha(token=TOKEN) as server:
        monkeypatch.setenv("HYPHA_SERVER_URL", server.url)
        yield server


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's secrets file, with tokens for other servers in it, and too open."""
    path = tmp_path / "config" / "secrets.json"
    path.parent.mkdir()
    path.write_text(json.dumps(OTHERS))
    path.chmod(0o644)
    monkeypatch.setattr(credentials, "SECRETS_FILE", path)
    monkeypatch.setattr(configuring, "SECRETS_FILE", path)
    monkeypatch.chdir(tmp_path)
    return path


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_login_keeps_an_accepted_token_for_this_user_only(
    hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    hypha.add_artifact("ws/data", {"a.txt": b""})
    assert main(["ls", "hypha://ws/data"]) == 2
    type_in(monkeypatch, f"{TOKEN}\n")
    assert main(["login", "--stdin"]) == 0
    assert json.loads(secrets.read_text()) == {**OTHERS, hypha.url: {"token": TOKEN}}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert main(["ls", "hypha://ws/data"]) == 0
    out, err = capsys.readouterr()
    assert "user\tada\n" in out
    assert out.endswith("a.txt\n")
    assert TOKEN not in out + err


def test_a_token_that_the_server_refuses_is_not_kept(
    hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    type_in(monkeypatch, "another-secret-token\n")
    assert main(["login", "--stdin"]) == 2
    out, err = capsys.readouterr()
    assert "access denied" in err
    assert "another-secret-token" not in out + err
    assert json.loads(secrets.read_text()) == OTHERS


def test_on_a_terminal_login_asks_without_showing(
    hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    type_in(monkeypatch, "")
    assert main(["login"]) == 2  # no terminal, nobody to ask
    assert "--stdin" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(configuring.getpass, "getpass", lambda prompt: TOKEN)
    assert main(["login", f"{hypha.url}/"]) == 0
    assert json.loads(secrets.read_text())[hypha.url] == {"token": TOKEN}


def test_who_gives_no_token_changes_nothing(
    hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def end(prompt: str) -> str:
        raise EOFError

    type_in(monkeypatch, "")
    assert main(["login", "--stdin"]) == 2
    assert "the token is empty" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(configuring.getpass, "getpass", end)
    assert main(["login"]) == 2
    assert "no token was given" in capsys.readouterr().err
    assert json.loads(secrets.read_text()) == OTHERS


def test_login_in_a_browser_waits_for_the_token(
    hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(configuring, "_PAUSE", 0.0)
    assert main(["login", "--browser"]) == 0
    out, err = capsys.readouterr()
    assert r"https://page.example/?key=k\x1b[31m" in err
    assert TOKEN not in out + err
    assert json.loads(secrets.read_text())[hypha.url] == {"token": TOKEN}
    monkeypatch.setattr(configuring, "_LOGIN_TIME", 0.0)
    assert main(["login", "--browser"]) == 2
    assert "nobody has logged in" in capsys.readouterr().err


@pytest.mark.parametrize("given", [TOKEN, f"https://user:{TOKEN}@host", f"https://host/?token={TOKEN}"])
def test_a_token_given_as_an_argument_is_refused_and_not_repeated(given: str, capsys: Output) -> None:
    assert main(["login", given]) == 2
    assert TOKEN not in capsys.readouterr().err


def test_login_says_if_another_token_is_stronger(hypha: Hypha, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("HYPHA_TOKEN", "another-one")
    type_in(monkeypatch, TOKEN)
    assert main(["login", "--stdin"]) == 0
    assert "warning: HYPHA_TOKEN has another token" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", '"a token"'])
def test_a_secrets_file_that_makes_no_sense_is_left_as_it_is(
    content: str, hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    secrets.write_text(content)
    type_in(monkeypatch, TOKEN)
    assert main(["login", "--stdin"]) == 2
    assert "not changed" in capsys.readouterr().err
    assert secrets.read_text() == content
    assert [path.name for path in secrets.parent.glob(".secrets*")] == []


def test_whoami_says_who_until_when_and_where_the_token_was_found(
    hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert main(["whoami"]) == 1
    assert capsys.readouterr().err == f"cloudfiles-hypha: {hypha.url}: no token; cloudfiles-hypha login asks for one\n"
    monkeypatch.setenv("HYPHA_TOKEN", TOKEN)
    assert main(["whoami", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == {
        "server": hypha.url,
        "user": "ada",
        "email": "ada@example.org",
        "workspace": "ws",
        "token_ends": "2026-01-01T00:00:00Z",
        "token_from": "HYPHA_TOKEN",
    }
    monkeypatch.delenv("HYPHA_TOKEN")
    tokens.keep_token(hypha.url, TOKEN)
    assert main(["whoami"]) == 0
    out = capsys.readouterr().out
    assert f"token_from\t{secrets}\n" in out
    assert TOKEN not in out


def test_logout_forgets_this_server_only(hypha: Hypha, secrets: Path, capsys: Output) -> None:
    tokens.keep_token(hypha.url, TOKEN)
    assert main(["logout"]) == 0
    assert json.loads(secrets.read_text()) == OTHERS
    assert main(["logout"]) == 1
    assert "no token was kept" in capsys.readouterr().err


def test_logins_at_once_lose_none(secrets: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cloudfiles_hypha import credentials;"
        "from cloudfiles_hypha.cli.tokens import keep_token; credentials.SECRETS_FILE = Path(sys.argv[1]);"
        "[keep_token(f'https://{sys.argv[2]}-{n}', 't') for n in range(10)]"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(credentials.__file__).parents[1])}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(secrets), str(number)], env=environment)
        for number in range(3)
    ]
    assert [process.wait(30) for process in running] == [0, 0, 0]
    assert len(json.loads(secrets.read_text())) == 32
