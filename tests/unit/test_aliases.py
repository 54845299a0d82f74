"""Aliases: what stands for what, where it is kept, and that nothing goes anywhere else for it."""

from __future__ import annotations

import json
import pickle
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudfiles_hypha import ArtifactFile, ArtifactFiles, SyncPlan, add_alias, aliases, backends, dl, remove_alias, sync
from cloudfiles_hypha.backends.s3 import S3Location
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.compat.cloudfiles import CloudFiles, paths
from tests.support.object_server import ObjectServer


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user without any alias."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    yield tmp_path
    from cloudfiles_hypha.backends import aliases as module

    module._aliases.clear()


def kept(home: Path) -> Path:
    return home / ".config" / "cloudfiles_hypha" / "aliases.json"


def test_an_alias_stands_for_the_beginning_of_a_cloudpath() -> None:
    add_alias("lab", "s3://https://Host:9")
    location = backends.locate("lab://bucket/a/b")
    assert isinstance(location, S3Location)
    assert (location.endpoint, location.bucket, location.prefix) == ("https://host:9", "bucket", "a/b/")
    add_alias("data", "mem://alias-bucket/folder")
    ArtifactFiles("mem://alias-bucket/folder/x").put("a", b"A")
    assert ArtifactFiles("data://x").get("a") == ArtifactFile("data://x/a").get() == dl("data:///x/a") == b"A"
    assert ArtifactFiles("data://").cloudpath == "mem://alias-bucket/folder/"
    ArtifactFiles("data://x").move("a", "data://b")
    assert list(ArtifactFiles("mem://alias-bucket")) == ["folder/b"]
    assert aliases() == {"lab": "s3://https://Host:9/", "data": "mem://alias-bucket/folder/"}
    remove_alias("data")
    with pytest.raises(ValueError, match="unknown scheme"):
        ArtifactFiles("data://x")
    with pytest.raises(KeyError):
        remove_alias("data")


def test_an_alias_of_a_web_server_names_its_files(object_server: ObjectServer) -> None:
    object_server.put("a b", b"A")
    add_alias("web", object_server.url)
    with ArtifactFile("web://a%20b") as file:
        assert file.get() == b"A"
    with pytest.raises(ValueError, match="names no file"):
        ArtifactFile("web://")
    with pytest.raises(ValueError, match="%2F"):
        ArtifactFile("web://a%2Fb")  # a/b is another file


@pytest.mark.parametrize("name", ["s3", "hypha", "file", "https", "a", "", "S3", "A b", "x/y", "1x"])
def test_an_alias_is_no_scheme_and_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError):
        add_alias(name, "mem://bucket/")
    assert aliases() == {}


@pytest.mark.parametrize(
    "target",
    [
        "other://x/",
        "./x",
        "bucket",
        "file://./x",
        "s3://https://user:secret@host/",
        "https://user@host/",
        "https://h/?a=b",
    ],
)
def test_an_alias_stands_for_a_place_and_holds_no_secret(target: str) -> None:
    add_alias("other", "mem://x/")
    with pytest.raises(ValueError) as caught:
        add_alias("name", target)
    assert "secret" not in str(caught.value)
    assert aliases() == {"other": "mem://x/"}


def test_an_alias_means_one_thing() -> None:
    add_alias("lab", "mem://x")
    add_alias("lab", "mem://x/")
    for persistent in (False, True):
        with pytest.raises(ValueError, match="already"):
            add_alias("lab", "mem://y", persistent=persistent)
    assert aliases() == {"lab": "mem://x/"}


def test_a_persistent_alias_is_known_to_other_processes(home: Path) -> None:
    add_alias("lab", "mem://x", persistent=True)
    add_alias("two", "mem://y", persistent=True)
    script = "from cloudfiles_hypha import *; import cloudfiles_hypha as c; print(c.ArtifactFiles('lab://a').cloudpath)"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert child.stdout.strip() == "mem://x/a"
    assert kept(home).stat().st_mode & 0o077 == 0
    assert json.loads(kept(home).read_text()) == {"lab": "mem://x/", "two": "mem://y/"}
    remove_alias("lab", persistent=True)
    assert aliases() == {"two": "mem://y/"}
    with pytest.raises(KeyError):
        remove_alias("lab", persistent=True)


def test_a_change_that_fails_leaves_the_file_as_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_alias("lab", "mem://x", persistent=True)
    before = sorted(kept(home).parent.rglob("*"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="space"):
        add_alias("two", "mem://y", persistent=True)
    assert sorted(kept(home).parent.rglob("*")) == before
    assert aliases() == {"lab": "mem://x/"}


def test_processes_that_add_aliases_at_once_lose_none(home: Path) -> None:
    script = (
        "import sys; from cloudfiles_hypha import add_alias\n"
        "for n in range(15): add_alias(f'x{sys.argv[1]}-{n}', 'mem://x', persistent=True)"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, str(number)]) for number in range(3)]
    assert [child.wait(timeout=30) for child in children] == [0, 0, 0]
    assert len(aliases()) == 45


def test_a_damaged_file_is_an_error_only_where_an_alias_may_be_meant(home: Path) -> None:
    kept(home).parent.mkdir(parents=True)
    for content in ("{", "[]", '{"lab": 1}'):
        kept(home).write_text(content)
        with pytest.raises(ValueError, match=r"aliases\.json"):
            ArtifactFiles("lab://x")
        ArtifactFiles("mem://x")


def test_a_scheme_in_the_file_does_not_count(home: Path) -> None:
    kept(home).parent.mkdir(parents=True)
    kept(home).write_text('{"s3": "https://elsewhere/", "lab": "two://x/", "two": "mem://x/"}')
    assert backends.locate("s3://bucket").scheme == "s3"
    with pytest.raises(ValueError, match="unknown scheme 'two'"):  # and none stands for another alias
        backends.locate("lab://x")


def test_who_has_no_home_has_no_aliases(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(ValueError, match="unknown scheme"):
        ArtifactFiles("data://x")


def test_a_link_to_the_file_stays_one(home: Path) -> None:
    (home / "dotfiles").mkdir()
    (home / "dotfiles" / "aliases.json").write_text("")
    kept(home).parent.mkdir(parents=True)
    kept(home).symlink_to(home / "dotfiles" / "aliases.json")
    add_alias("lab", "mem://x", persistent=True)
    assert kept(home).is_symlink()
    assert json.loads((home / "dotfiles" / "aliases.json").read_text()) == {"lab": "mem://x/"}
    assert aliases() == {"lab": "mem://x/"}


def test_aliases_of_cloud_files_are_read(home: Path) -> None:
    (home / ".cloudfiles").mkdir()
    (home / ".cloudfiles" / "aliases.json").write_text('{"lab": {"host": "s3://https://host"}}')
    assert ArtifactFiles("lab://bucket/x", secrets={"no_sign_request": True}).cloudpath == "s3://https://host/bucket/x"


def test_copies_by_pickle_and_plans_know_the_place_itself(tmp_path: Path) -> None:
    add_alias("lab", "mem://alias-pickled")
    cf = ArtifactFiles("lab://x")
    cf.put("a", b"A")
    state = pickle.dumps(cf)
    report = sync("lab://x", "lab://y", dry_run=True)
    report.plan.save(tmp_path / "plan")
    report.plan.close()
    remove_alias("lab")
    add_alias("lab", "mem://alias-elsewhere")
    assert pickle.loads(state).get("a") == b"A"
    with SyncPlan.load(tmp_path / "plan") as plan:
        plan.carry_out()
    assert list(ArtifactFiles("mem://alias-pickled")) == ["x/a", "y/a"]


def test_secrets_are_those_of_the_real_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPHA_TOKEN", "t")
    monkeypatch.setenv("HYPHA_SERVER_URL", "https://mine")
    add_alias("mine", "hypha://https://mine/")
    add_alias("other", "hypha://https://other/")
    tokens = [ArtifactFiles(f"{name}://ws/data")._backend.access.token for name in ("mine", "other")]
    assert tokens == ["t", None]
    with ArtifactFiles("mem://alias-secret", secrets={"a": "b"})._beside("other://ws/data") as beside:
        assert beside._settings.secrets is None


def test_names_of_cloud_files(home: Path) -> None:
    paths.add_alias("lab", "s3://https://host/")
    paths.add_persistent_alias("two", "mem://x/")
    assert paths.extract("lab://bucket/a") == paths.extract("s3://https://host/bucket/a")
    assert paths.to_https_protocol("lab://bucket/a") == "https://host/bucket/a"
    assert CloudFiles("two://b").protocol == "mem"
    paths.remove_alias("lab")
    paths.remove_persistent_alias("two")
    assert aliases() == {}


def test_the_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alias", "add", "lab", "mem://alias-command/x"]) == 0
    assert main(["alias", "ls"]) == 0
    assert capsys.readouterr().out == "lab://\tmem://alias-command/x/\n"
    ArtifactFiles("mem://alias-command/x").put("d/a", b"A")
    assert main(["cp", "--no-progress", "lab://d/a", "lab://d/b"]) == 0
    assert main(["ls", "lab://d"]) == 0
    assert capsys.readouterr().out == "a\nb\n"
    assert main(["alias", "add", "s3", "mem://x"]) == 2
    assert main(["alias", "rm", "lab"]) == 0
    assert main(["alias", "rm", "lab"]) == 2
    assert "no alias 'lab'" in capsys.readouterr().err
