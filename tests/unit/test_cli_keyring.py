"""Tokens in the system's keyring: kept there and nowhere else, asked for only where one is, and never shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keyring.core
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import KeyringLocked

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.cli.main import main
from tests.unit.test_cli_login import OTHERS, TOKEN, Hypha, Output, hypha, secrets, type_in

__all__ = ["hypha", "secrets"]  # fixtures


class InMemory(KeyringBackend):
    """What a desktop has, without the desktop."""

    priority = 5.0  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class Locked(InMemory):
    """One whose user does not open it; what it says is its own business."""

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked(f"cannot unlock for {TOKEN}")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked(f"cannot unlock for {password}")


class PlainFile(InMemory):
    """One that the package itself does not recommend."""

    priority = 0.5  # type: ignore[assignment]


def use(backend: KeyringBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring.core, "_keyring_backend", backend)


@pytest.fixture(autouse=True)
def ring(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    """The keyring of this machine."""
    found = InMemory()
    use(found, monkeypatch)
    return found


def log_in(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    type_in(monkeypatch, TOKEN)
    return main(["login", "--stdin", *words])


def test_a_token_in_the_keyring_is_nowhere_else_and_is_used(
    hypha: Hypha, secrets: Path, ring: InMemory, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    hypha.add_artifact("ws/data", {"a.txt": b"text"})
    assert log_in(monkeypatch, "--keyring") == 0
    assert ring.kept == {("cloudfiles_hypha", hypha.url): TOKEN}
    assert json.loads(secrets.read_text()) == {**OTHERS, hypha.url: {"keyring": True}}
    assert main(["ls", "hypha://ws/data"]) == 0
    with ArtifactFiles("hypha://ws/data") as cf:
        assert cf.get("a.txt") == b"text"
    assert main(["whoami", "--json"]) == 0
    assert main(["config"]) == 0
    assert main(["config", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "kept\tthe system's keyring\n" in out
    assert '"token_from": "the system\'s keyring"' in out
    assert "token\tkept secret\tthe system's keyring\n" in out
    assert '"source": "the system\'s keyring"' in out
    assert TOKEN not in out + err


def test_a_token_is_in_the_keyring_or_in_the_file_but_not_in_both(
    hypha: Hypha, secrets: Path, ring: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert log_in(monkeypatch) == 0
    assert log_in(monkeypatch, "--keyring") == 0
    assert TOKEN not in secrets.read_text()
    assert log_in(monkeypatch) == 0
    assert ring.kept == {}
    assert json.loads(secrets.read_text())[hypha.url] == {"token": TOKEN}


def test_logout_removes_a_token_from_both(
    hypha: Hypha, secrets: Path, ring: InMemory, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    ring.kept["cloudfiles_hypha", "https://other.example"] = "theirs"
    assert log_in(monkeypatch, "--keyring") == 0
    assert main(["logout"]) == 0
    assert json.loads(secrets.read_text()) == OTHERS
    assert ring.kept == {("cloudfiles_hypha", "https://other.example"): "theirs"}
    assert main(["logout"]) == 1
    ring.kept["cloudfiles_hypha", hypha.url] = TOKEN  # of a login that was killed before it could note it
    assert main(["logout"]) == 0
    assert ("cloudfiles_hypha", hypha.url) not in ring.kept


@pytest.mark.parametrize("backend", [NoKeyring(), PlainFile()])
def test_without_a_keyring_that_keeps_secrets_nothing_is_asked_for_and_nothing_kept(
    backend: KeyringBackend, hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    use(backend, monkeypatch)
    assert log_in(monkeypatch, "--keyring") == 2
    assert sys.stdin.read() == TOKEN
    assert "there is none on this machine" in capsys.readouterr().err
    assert json.loads(secrets.read_text()) == OTHERS
    assert main(["logout"]) == 1
    assert log_in(monkeypatch) == 0


def test_without_the_package_login_says_what_to_install(
    hypha: Hypha, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert log_in(monkeypatch, "--keyring") == 2
    assert "pip install 'cloudfiles_hypha[keyring]'" in capsys.readouterr().err
    assert log_in(monkeypatch) == 0
    assert main(["logout"]) == 0


def test_a_locked_keyring_is_an_error_that_repeats_nothing_of_what_it_says(
    hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    use(Locked(), monkeypatch)
    assert log_in(monkeypatch, "--keyring") == 2
    assert json.loads(secrets.read_text()) == OTHERS
    secrets.write_text(json.dumps({hypha.url: {"keyring": True}}))
    for words in (["whoami"], ["ls", "hypha://ws/data"], ["logout"]):
        assert main(words) == 2
    assert json.loads(secrets.read_text()) == {hypha.url: {"keyring": True}}
    assert main(["config"]) == 0  # which only says that one is there
    out, err = capsys.readouterr()
    assert err.count("the system's keyring refuses (KeyringLocked)") == 4
    assert TOKEN not in out + err


def test_the_keyring_is_not_opened_for_a_token_that_is_elsewhere(
    hypha: Hypha, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Locked(), monkeypatch)
    hypha.add_artifact("ws/data", {"a.txt": b""})
    secrets.write_text(json.dumps({hypha.url: {"token": TOKEN}, "https://other.example": {"keyring": True}}))
    assert main(["ls", "hypha://ws/data"]) == 0
    secrets.write_text(json.dumps({hypha.url: {"keyring": True}}))
    monkeypatch.setenv("HYPHA_TOKEN", TOKEN)
    assert main(["ls", "hypha://ws/data"]) == 0


def test_a_token_that_is_gone_from_the_keyring_is_missed(
    hypha: Hypha, ring: InMemory, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert log_in(monkeypatch, "--keyring") == 0
    ring.kept.clear()
    assert main(["whoami"]) == 2
    assert "log in again" in capsys.readouterr().err
    assert log_in(monkeypatch, "--keyring") == 0
    assert main(["whoami"]) == 0
