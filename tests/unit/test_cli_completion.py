"""A shell completes commands, options and cloudpaths: what the program offers, and what shells make of it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloudfiles_hypha
from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.backends import memory
from cloudfiles_hypha.cli.completing import candidates
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.cli.report import NAMES as NAMES_OF_THE_PROGRAM
from cloudfiles_hypha.cli.texts import COMMANDS
from tests.support.object_server import Always, Hang, ObjectServer

Output = pytest.CaptureFixture[str]
NAMES = ("images/a b.png", "images/b.png", "images/sub/c.png", "info.txt")


@pytest.fixture
def bucket() -> Iterator[str]:
    name = f"completion-{uuid.uuid4().hex}"
    with ArtifactFiles(f"mem://{name}") as cf:
        cf.puts([(name, b"") for name in NAMES])
    yield f"mem://{name}"
    memory._buckets.pop(name, None)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("", list(COMMANDS)),
        ("ver", ["verify"]),
        ("alias ", ["add", "ls", "rm"]),
        ("help al", ["alias"]),
        ("help alias r", ["rm"]),
        ("completion z", ["zsh"]),
        ("cp --over", ["--overwrite"]),
        ("cp --overwrite n", ["never", "newer"]),
        ("cp --comment x", []),
        ("cp a", []),  # a file of this machine, which the shell knows
        ("cp s3:", ["s3://"]),
        ("login https://x/", []),
    ],
)
def test_what_is_offered(line: str, offered: list[str]) -> None:
    assert sorted(candidates(line.split(" "))) == sorted(offered)


def test_remote_names_are_offered_level_by_level(bucket: str) -> None:
    assert sorted(candidates(["ls", f"{bucket}/i"])) == [f"{bucket}/images/", f"{bucket}/info.txt"]
    assert sorted(candidates(["cp", "-r", f"{bucket}/images/"])) == [
        f"{bucket}/images/a b.png", f"{bucket}/images/b.png", f"{bucket}/images/sub/",
    ]  # fmt: skip
    assert candidates(["ls", f"{bucket}/none"]) == []
    assert candidates(["ls", "s3://"]) == []
    assert candidates(["ls", "mem://none-such/"]) == []


def test_names_that_a_shell_would_take_for_others_are_left_out(bucket: str, capsys: Output) -> None:
    memory._buckets[bucket.removeprefix("mem://")]["info\n-r\x1b[31m"] = memory._Object(b"", "", None, 0.0)
    assert main(["completion", "words", "--", "rm", f"{bucket}/inf"]) == 0
    assert capsys.readouterr().out == f"{bucket}/info.txt\n"


def test_a_server_that_hangs_completes_nothing(object_server: ObjectServer) -> None:
    object_server.fault("", Always(Hang()))
    code = (
        "import sys; from cloudfiles_hypha.cli import completing, main;"
        "completing._PATIENCE = 0.3; sys.exit(main.main(sys.argv[1:]))"
    )
    url = f"hypha://{object_server.url}/ws/alias/a"
    command = [sys.executable, "-c", code, "completion", "words", "--", "ls", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- real shells


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with the program, a folder of files, and what completion would take from the machine."""
    program = tmp_path / "bin" / "cloudfiles-hypha"
    program.parent.mkdir()
    root = Path(cloudfiles_hypha.__file__).parents[1]
    program.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {shlex.quote(sys.executable)} -m cloudfiles_hypha "$@"\n')
    program.chmod(0o755)
    for name in NAMES:
        (tmp_path / "store" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / name).touch()
    (tmp_path / "local.txt").touch()
    return tmp_path


def run(place: Path, shell: list[str], script: str) -> list[str]:
    environment = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "HOME": str(place)}
    done = subprocess.run(
        [*shell, "-c", script], cwd=place, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@needs("bash")
def test_bash_completes(place: Path) -> None:
    store = f"file://{place}/store"
    lines = ["ver", "cp --overwrite ne", f"ls {store}/i", f"ls {store}/images/a", rf"ls {store}/images/a\ b", "cp lo"]
    ask = "".join(
        f"COMP_LINE={shlex.quote('cloudfiles-hypha ' + line)}; COMP_POINT=${{#COMP_LINE}}; _cloudfiles_hypha;"
        'printf "%s\\n" "${COMPREPLY[@]}" --;'
        for line in lines
    )
    out = run(
        place, ["bash", "--norc"], f'eval "$(cloudfiles-hypha completion bash)"; {ask} complete -p cloudfiles-hypha cfh'
    )
    below = f"//{place}/store"  # what is before the colon is a word of its own to bash
    assert out == [
        "verify", "--", "never", "newer", "--", f"{below}/images/", f"{below}/info.txt", "--",
        rf"{below}/images/a\ b.png", "--", rf"{below}/images/a\ b.png", "--",
        "--",  # nothing, so that bash looks for files itself
        *(f"complete -o bashdefault -o default -F _cloudfiles_hypha {name}" for name in NAMES_OF_THE_PROGRAM),
    ]  # fmt: skip


@needs("zsh")
def test_zsh_takes_the_script(place: Path) -> None:
    names = " ".join(f"$_comps[{name}]" for name in NAMES_OF_THE_PROGRAM)
    script = f'autoload -U compinit; compinit -u; eval "$(cloudfiles-hypha completion zsh)"; print {names}'
    assert run(place, ["zsh", "-f"], script) == ["_cloudfiles_hypha _cloudfiles_hypha"]


@needs("fish")
def test_fish_completes(place: Path) -> None:
    for name in NAMES_OF_THE_PROGRAM:
        script = f"cloudfiles-hypha completion fish | source; complete -C '{name} ver'"
        assert run(place, ["fish", "--no-config"], script) == ["verify"]
