"""Options by file and environment: which is stronger, and what is said of a file that makes no sense."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloudfiles_hypha
from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.backends import memory
from cloudfiles_hypha.cli import configuration
from cloudfiles_hypha.cli.commands import Commands
from cloudfiles_hypha.cli.configuration import unknown_variables
from cloudfiles_hypha.cli.main import main
from tests.support.fake_hypha import FakeHypha

Output = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file, not there yet."""
    monkeypatch.delenv("CLOUDFILES_HYPHA_CONFIG")
    monkeypatch.setattr(configuration, "CONFIG_FILE", tmp_path / "config.ini")
    return tmp_path / "config.ini"


@pytest.fixture
def bucket() -> Iterator[str]:
    name = f"config-{uuid.uuid4().hex}"
    with ArtifactFiles(f"mem://{name}") as cf:
        cf.put("a.txt", b"a")
    yield f"mem://{name}"
    memory._buckets.pop(name, None)


def rows(out: str) -> dict[str, tuple[str, str]]:
    found = (line.split("\t") for line in out.splitlines())
    return {name: (value, source) for name, value, source in found}


def test_an_option_is_stronger_than_the_environment_that_than_the_file_and_that_than_what_is_built_in(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(
        "cloudfiles_hypha.cli.places.Clients.__init__", lambda self, options: seen.append(options.num_threads)
    )
    monkeypatch.setattr("cloudfiles_hypha.cli.places.Clients.__enter__", lambda self: seen.append(-1))  # nothing else
    monkeypatch.setattr("cloudfiles_hypha.cli.places.Clients.__exit__", lambda self, *exc_info: True)
    main(["ls", "mem://x"])
    file.write_text("# ours\n[defaults]\nnum-threads = 3   # few\n")
    main(["ls", "mem://x"])
    monkeypatch.setenv("CLOUDFILES_HYPHA_NUM_THREADS", "4")
    main(["ls", "mem://x"])
    main(["ls", "--num-threads", "5", "mem://x"])
    assert [number for number in seen if number >= 0] == [20, 3, 4, 5]


def test_config_shows_each_value_and_who_says_so(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    file.write_text(
        "[defaults]\nretry_for: 60\nprogress = off\nserver_url = https://me:hunter2@file.example/?sig=hunter2\n"
    )
    monkeypatch.setenv("CLOUDFILES_HYPHA_NUM_THREADS", "4")
    monkeypatch.setenv("HYPHA_TOKEN", "hunter2-token")
    assert main(["config"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    found = rows(out)
    assert found["num_threads"] == ("4", "CLOUDFILES_HYPHA_NUM_THREADS")
    assert found["retry_for"] == ("60", f"{file}:2")
    assert found["progress"] == ("false", f"{file}:3")
    assert found["server_url"] == ("https://file.example/", f"{file}:4")
    assert found["json"] == ("false", "default")
    assert found["file"] == (str(file), "")
    assert main(["config", "--json"]) == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"option": "retry_for", "value": 60, "source": f"{file}:2"} in facts
    assert "hunter2" not in json.dumps(facts)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("num_threads = 3\n", 1, "[defaults] has to stand above"),
        ("[defaults]\n\nnonsense\n", 3, "expected a line NAME = VALUE"),
        ("[defaults]\n# x\nnum-thread = 3\n", 3, "num_thread: no such option; did you mean num_threads?"),
        ("[defaults]\nnum_threads = hunter2\n", 2, "not what --num-threads takes"),
        ("[defaults]\nretry_for = 1\nprogress = maybe\n", 3, "progress is true or false"),
        ("[defaults]\njson = 1\njson = 0\n", 3, "json is there twice"),
        ("[defaults]\n[cp]\nr = 1\n", 2, "there is one section only"),
        ("[defaults]\n\udcff", 2, "not a text in UTF-8"),
    ],
)
def test_a_file_that_makes_no_sense_is_exit_code_2_with_the_line(
    text: str, line: int, said: str, file: Path, bucket: str, capsys: Output
) -> None:
    file.write_bytes(text.encode(errors="surrogateescape"))
    for words in (["ls", bucket], ["config"]):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"cloudfiles-hypha: {file}:{line}: ")
        assert said in err
        assert err.count("\n") == 1
        assert "hunter2" not in err
    assert main(["help", "ls"]) == 0


def test_a_variable_that_makes_no_sense_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, bucket: str, capsys: Output
) -> None:
    monkeypatch.setenv("CLOUDFILES_HYPHA_JSON", "perhaps")
    assert main(["ls", bucket]) == 2
    assert capsys.readouterr().err == "cloudfiles-hypha: CLOUDFILES_HYPHA_JSON: json is true or false\n"


@pytest.mark.parametrize(
    ("variable", "near"),
    [("CLOUDFILES_HYPHA_NUM_TREADS", "CLOUDFILES_HYPHA_NUM_THREADS"), ("CLOUDFILES_HYPHA_ZZZ", None)],
)
def test_a_variable_that_nothing_reads_is_named_once_with_the_nearest_and_nothing_else_changes(
    variable: str, near: str | None, monkeypatch: pytest.MonkeyPatch, bucket: str, capsys: Output
) -> None:
    assert main(["ls", bucket]) == 0
    before = capsys.readouterr()
    monkeypatch.setenv(variable, "hunter2")
    hint = f"; did you mean {near}?" if near else ""
    assert main(["ls", bucket]) == 0
    assert capsys.readouterr() == (
        before.out,
        f"cloudfiles-hypha: warning: {variable}: nothing reads this variable{hint}\n",
    )
    assert main(["config"]) == 0
    assert f"{variable}\t-\tnothing reads it{hint}\n" in capsys.readouterr().out
    assert main(["config", "--json"]) == 0
    out = capsys.readouterr().out
    assert [fact for fact in map(json.loads, out.splitlines()) if fact["source"] == variable] == [
        {"option": None, "value": None, "source": variable, "nearest": near}
    ]
    assert "hunter2" not in out


def test_json_that_is_only_configured_keeps_nobody_from_what_cannot_be_json(
    monkeypatch: pytest.MonkeyPatch, bucket: str, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("CLOUDFILES_HYPHA_JSON", "1")
    for words, code, out in (
        (["cat", f"{bucket}/a.txt"], 0, "a"),
        (["cat", f"{bucket}/none"], 1, ""),
        (["cp", f"{bucket}/a.txt", "-"], 0, "a"),
        (["verify", "--combined", "-", str(tmp_path / "here"), f"{bucket}/"], 1, "- a.txt\n"),
    ):
        assert main(words) == code
        assert capsys.readouterr().out == out
        assert main([words[0], "--json", *words[1:]]) == 2
        assert "--json" in capsys.readouterr().err
    assert main(["ls", bucket]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == "a.txt"


def test_every_variable_that_is_read_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(cloudfiles_hypha.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    read = set(re.findall(r"CLOUDFILES_HYPHA_[A-Z_]+[A-Z]", text))
    assert len(read) > 2
    for name in (*read, "CLOUDFILES_HYPHA_RETRY_FOR"):
        monkeypatch.setenv(name, "1")
    assert unknown_variables(Commands().shared) == {}


def test_a_file_that_the_environment_names_has_to_be_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bucket: str, capsys: Output
) -> None:
    monkeypatch.setenv("CLOUDFILES_HYPHA_CONFIG", str(tmp_path / "none.ini"))
    assert main(["ls", bucket]) == 2
    assert "none.ini: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("in_file", "variable", "option", "loud", "quiet"),
    [
        ("quiet = yes", None, [], False, True),
        ("quiet = yes", None, ["-v"], True, False),
        ("quiet = yes", ("VERBOSE", "1"), [], True, False),
        ("verbose = yes", ("QUIET", "1"), [], False, True),
        ("verbose = yes", ("VERBOSE", "0"), ["-q"], False, True),
    ],
)  # fmt: skip
def test_of_verbose_and_quiet_the_stronger_one_is_meant(
    in_file: str, variable: tuple[str, str] | None, option: list[str], loud: bool, quiet: bool,
    file: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from cloudfiles_hypha.cli.main import _options

    file.write_text(f"[defaults]\n{in_file}\n")
    if variable:
        monkeypatch.setenv(f"CLOUDFILES_HYPHA_{variable[0]}", variable[1])
    options = _options(["ls", *option, "mem://x"])
    assert (options.verbose, options.quiet) == (loud, quiet)


def test_a_configured_flag_can_be_taken_back(file: Path) -> None:
    from cloudfiles_hypha.cli.main import _options

    file.write_text("[defaults]\njson = true\nprogress = false\n")
    options = _options(["rm", "mem://x"])
    assert (options.json, options.progress) == (True, False)
    options = _options(["rm", "--no-json", "--progress", "mem://x"])
    assert (options.json, options.progress) == (False, True)


def test_the_configured_server_is_for_cloudpaths_that_name_none(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with FakeHypha(token=None) as ours, FakeHypha(token=None) as theirs:
        ours.add_artifact("ws/data", {"ours.txt": b""})
        theirs.add_artifact("ws/data", {"theirs.txt": b""})
        file.write_text(f"[defaults]\nserver_url = {ours.url}\n")
        assert main(["ls", "hypha://ws/data"]) == 0
        assert main(["ls", f"hypha://{theirs.url}/ws/data"]) == 0
        monkeypatch.setenv("HYPHA_SERVER_URL", theirs.url)  # the environment is stronger than the file
        assert main(["ls", "hypha://ws/data"]) == 0
        monkeypatch.setenv("CLOUDFILES_HYPHA_SERVER_URL", ours.url)
        assert main(["ls", "hypha://ws/data"]) == 0
        assert main(["ls", "--server-url", theirs.url, "hypha://ws/data"]) == 0
    assert capsys.readouterr().out.split() == ["ours.txt", "theirs.txt", "theirs.txt", "ours.txt", "theirs.txt"]


def test_the_way_that_bytes_take_is_said_by_option_environment_and_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def proxied(*options: str) -> bool:
        before = len(hypha.store.requests)
        assert main(["cat", *options, "hypha://ws/data/a"]) == 0
        return len(hypha.store.requests) == before

    def shown() -> tuple[str, str]:
        capsys.readouterr()
        assert main(["config"]) == 0
        return rows(capsys.readouterr().out)["use_proxy"]

    with FakeHypha(token=None) as hypha:
        hypha.add_artifact("ws/data", {"a": b"A"})
        monkeypatch.setenv("HYPHA_SERVER_URL", hypha.url)
        assert (proxied(), proxied("--use-proxy")) == (False, True)
        assert shown() == ("-", "default")
        file.write_text("[defaults]\nuse_proxy = yes\n")
        assert (proxied(), proxied("--no-use-proxy")) == (True, False)
        assert shown() == ("true", f"{file}:2")
        monkeypatch.setenv("HYPHA_USE_PROXY", "no")
        assert (proxied(), shown()) == (False, ("false", "HYPHA_USE_PROXY"))
        monkeypatch.setenv("CLOUDFILES_HYPHA_USE_PROXY", "1")
        assert (proxied(), shown()) == (True, ("true", "CLOUDFILES_HYPHA_USE_PROXY"))
        assert proxied("--no-use-proxy") is False


def test_urls_of_the_store_may_be_said_by_the_file(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    with FakeHypha(token=None) as hypha:
        hypha.add_artifact("ws/data", {"a": b"A"})
        monkeypatch.setenv("HYPHA_SERVER_URL", hypha.url)
        for text, said in (("true", True), (hypha.store.url, hypha.store.url)):
            file.write_text(f"[defaults]\nuse_local_url = {text}\n")
            assert main(["cat", "hypha://ws/data/a"]) == 0
            (call,) = [call for call in hypha.calls if call.method == "get_file"][-1:]
            assert call.kwargs["use_local_url"] == said
        assert main(["cat", "--use-local-url", "false", "hypha://ws/data/a"]) == 0
        assert not [call for call in hypha.calls if call.method == "get_file"][-1].kwargs.get("use_local_url")
        file.write_text("[defaults]\nuse_local_url = ftp://hunter2\n")
        capsys.readouterr()
        assert main(["cat", "hypha://ws/data/a"]) == 2
        err = capsys.readouterr().err
        assert (f"{file}:2: not what --use-local-url takes" in err, "hunter2" in err) == (True, False)
