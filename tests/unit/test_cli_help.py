"""The command line says how it is used: help, examples, the version, and what is wrong with a command line."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cloudfiles_hypha
from cloudfiles_hypha.cli.commands import all_commands, commands_for, options_of, verbs_of
from cloudfiles_hypha.cli.helping import manual
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.cli.report import NAMES, PROGRAM, name_of
from cloudfiles_hypha.cli.texts import COMMANDS

REGISTERED = verbs_of(all_commands().parser)


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert capsys.readouterr().out == f"{PROGRAM} {cloudfiles_hypha.__version__}\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_program_calls_itself_as_it_was_called(name: str, tmp_path: Path) -> None:
    program = tmp_path / name
    program.write_text("from cloudfiles_hypha.cli.main import main\nraise SystemExit(main())\n")

    def say(*words: str) -> str:
        command = [sys.executable, str(program), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        return done.stdout + done.stderr

    assert say("--version") == f"{name} {cloudfiles_hypha.__version__}\n"
    assert say("help", "touch").startswith(f"usage: {name} touch")
    assert f"  {name} touch s3://bucket/done\n" in say("touch", "--help")
    assert say("synk") == f"{name}: 'synk': no such command; did you mean sync? see: {name} help\n"


def test_whatever_else_starts_it_has_the_long_name() -> None:
    assert [name_of(typed) for typed in ("", "/a/b/__main__.py", "pytest", "/usr/bin/cfh", "cfh.exe")] == [
        *[NAMES[0]] * 3,
        *[NAMES[1]] * 2,
    ]


def test_what_is_known_of_commands_without_loading_them_is_true() -> None:
    assert {name: about.text for name, about in COMMANDS.items()} == {
        name: parser.description for name, parser in REGISTERED.items()
    }
    for name in REGISTERED:  # in the module that is said to have it
        assert name in verbs_of(commands_for([name]).parser)


@pytest.mark.parametrize("name", REGISTERED)
def test_help_of_a_command_has_its_options_and_examples_that_parse(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["help", name]) == 0
    shown = capsys.readouterr().out
    for option in options_of(REGISTERED[name]):
        assert option in shown
    examples = [line.strip() for line in shown.partition("\nexamples:\n")[2].splitlines()]
    assert examples, "a command without examples; they are in texts.py"
    for example in examples:
        program, *words = shlex.split(example, comments=False)
        assert (program, words[0]) == (PROGRAM, name)
        words = next(
            (words[:at] for at, word in enumerate(words) if word in ("<", ">")), words
        )  # the rest is the shell's
        assert callable(all_commands().parse(words).run)


def test_help_of_a_verb_has_its_own_examples_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "alias", "add"]) == 0
    shown = capsys.readouterr().out
    assert "NAME TARGET" in shown
    assert "alias add lab" in shown
    assert "alias rm" not in shown


def test_help_alone_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    listed = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == listed
    assert {*REGISTERED} <= {line.split()[0] for line in listed.splitlines() if line.startswith("    ")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "the following arguments are required: COMMAND; see: cloudfiles-hypha help"),
        ("synk a b", "'synk': no such command; did you mean sync? see: cloudfiles-hypha help"),
        ("qqqqq", "'qqqqq': no such command; see: cloudfiles-hypha help"),
        ("help synk", "'synk': no such command; did you mean sync? see: cloudfiles-hypha help"),
        ("alias lss", "alias: 'lss': no such command; did you mean ls? see: cloudfiles-hypha help alias"),
        # what is missing as well would not help with it
        ("cp --inclde=x a", "cp: --inclde: no such option; did you mean --include? see: cloudfiles-hypha help cp"),
        ("--num-threads 3 ls x", "--num-threads: belongs behind the command; see: cloudfiles-hypha help"),
        ("-v ls mem://x", "-v: belongs behind the command; see: cloudfiles-hypha help"),
        ("cp -z a b", "cp: -z: no such option; see: cloudfiles-hypha help cp"),
        ("status a b", "status: 'b': one argument too many; see: cloudfiles-hypha help status"),
        ("cp a", "cp: the following arguments are required: DST; see: cloudfiles-hypha help cp"),
        ("completion", "completion: the following arguments are required: SHELL; "
         "see: cloudfiles-hypha help completion"),
        ("alias", "alias: the following arguments are required: {add,ls,rm}; see: cloudfiles-hypha help alias"),
        # of letters that stand together, the one that is wrong; argparse speaks of the one before it, as ignored
        ("rm -rf a", "rm: -f: no such option; see: cloudfiles-hypha help rm"),
        ("ls -lr a", "ls: -r: no such option; did you mean -R? see: cloudfiles-hypha help ls"),
        ("cp -R a b", "cp: -R: no such option; did you mean -r? see: cloudfiles-hypha help cp"),
        ("ls --flat=yes a", "ls: -1/--flat: takes no value, and is given 'yes'; see: cloudfiles-hypha help ls"),
        # what a value should have been, and not the name of the function that reads it
        ("cp --part-size 64X a b", "cp: --part-size: '64X' is not a size, as 500000, 64M or 2GiB; "
         "see: cloudfiles-hypha help cp"),
        ("cp --compress gzip:x a b", "cp: --compress: 'gzip:x' is not a codec, as gzip, or zstd:19 with a level; "
         "see: cloudfiles-hypha help cp"),
        ("sign --expires soon a", "sign: --expires: 'soon' is not an age, as 90s, 30m, 12h or 7d; "
         "see: cloudfiles-hypha help sign"),
        ("ls --retry-for 10s a", "ls: argument --retry-for: '10s' is not a whole number of 0 or more; "
         "see: cloudfiles-hypha help ls"),
    ],
)  # fmt: skip
def test_a_usage_error_is_one_line_that_names_the_nearest(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr() == ("", f"{PROGRAM}: {said}\n")


def test_letters_of_options_may_stand_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "-lh", "mem://nobody"]) == 0
    assert main(["cat", "-r0-4", "mem://nobody/x"]) == 1  # what follows -r is its value, and no letters
    assert "no such option" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["cp", "mv", "rm", "transcode"])
def test_folders_are_asked_for_alike(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", command]) == 0
    assert "-r, --recursive" in capsys.readouterr().out


def test_the_page_of_the_manual_has_every_command_option_and_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "--man"]) == 0
    page = capsys.readouterr().out
    plain = page.replace("\\-", "-").replace("\\(dq", '"')
    assert page.startswith('.TH CLOUDFILES\\-HYPHA 1 ""')
    for name, parser in REGISTERED.items():
        section = plain.partition(f'\n.SS "{name}"\n')[2].partition("\n.SS ")[0]
        for option in options_of(parser):
            assert option in section or option in ("-h", "--help")
        assert all(f"{PROGRAM} {example}\n" in f"{section}\n" for example in COMMANDS[name].examples)
    assert '\n.SS "alias add"\n' in plain
    assert main(["help", "--man", "cp"]) == 2


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_page_of_the_manual_is_roff(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "--man"]) == 0
    page = capsys.readouterr().out
    command = ["groff", "-man", "-ww", "-T", "ascii", "-P", "-c"]
    done = subprocess.run(command, input=page, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cloudfiles-hypha cp - s3://bucket/notes.txt" in done.stdout


def test_nothing_in_a_text_is_a_command_of_roff() -> None:
    parser = argparse.ArgumentParser(prog="x", description="D.", epilog=r".so \etc\x-y")
    assert r"\&.so \eetc\ex\-y" in manual(parser)


def test_what_comes_after_two_dashes_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands_for(["cat"]).parse(["cat", "--", "--help", "--no-such"]).cloudpaths == ["--help", "--no-such"]


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["help"], ["alias", "ls"]])
def test_what_needs_no_store_loads_none(words: list[str]) -> None:
    code = (
        "import sys; from cloudfiles_hypha.cli.main import main; code = main(sys.argv[1:]);"
        "loaded = {'cloudfiles_hypha.cli.places', 'cloudfiles_hypha.backends.hypha', 'urllib3'} & {*sys.modules};"
        "sys.exit(str(loaded) if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
