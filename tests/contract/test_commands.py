"""Every command of the command line, on real stores: what it does, what becomes of the rest where one item fails, and
what it says to misuse.

A row of the table is a command line, and all that is to be so after it: on standard output, on standard error, in the
store and on the disk. The stores are a server that speaks S3, and a folder. What no row can say has a function; what
takes a Hypha server is in ``automated_test.py``. Both are marked with their command and their kind, so that
``test_every_command_has_a_test_of_each_kind`` finds them.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.backends.s3.backend import S3Backend
from cloudfiles_hypha.backends.s3.journal import Note
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.cli.texts import COMMANDS
from cloudfiles_hypha.transports import HttpRequest
from tests.support.child import ROOT
from tests.support.s3_servers import GUESTS, S3Server, seaweed

SUCCESS, PARTIAL, MISUSE = "success", "partial failure", "misuse"
STORES = ("s3", "folder")
CODES = {SUCCESS: 0, PARTIAL: 1, MISUSE: 2}

# What is there before each row. Where a content cannot be decoded it is None, here and in rows.
STORE: dict[str, bytes | None] = {"a.txt": b"aaa", "b.txt": b"b", "d/c.txt": b"cc", "d/e.txt": b"e", "z.txt": None}
DISK = {
    "n.txt": b"new",
    "same/c.txt": b"cc",
    "same/e.txt": b"e",
    "other/c.txt": b"CCC",
    "other/f.txt": b"f",
    "busy/d": b"where a folder would have to be",
}


class Row(NamedTuple):
    """One command line. ``{at}`` is the store, ``{disk}`` a folder of the disk, ``{closed}`` a bucket to which this
    user has no access. Lines are patterns of ``fnmatch``; of files None means gone, and what is not named unchanged."""

    words: str
    out: Sequence[str] | None = ()  # lines of standard output; None: some
    said: Sequence[str] = ()  # and of standard error
    store: Mapping[str, bytes | None] = {}
    disk: Mapping[str, bytes | None] = {}
    only: str = ""  # on this kind of store
    code: int | None = None


TABLE: dict[str, list[Row]] = {
    SUCCESS: [
        Row("ls {at}", ["a.txt", "b.txt", "d/c.txt", "d/e.txt", "z.txt"]),
        Row("ls --flat {at}", ["a.txt", "b.txt", "d/", "z.txt"]),
        Row("ls {at}/d/*", ["c.txt", "e.txt"]),
        Row("du {at}/d", ["3\t2\t{at}/d"]),
        Row("head --json {at}/a.txt", ['{{"path": "*a.txt", "cloudpath": "{at}/a.txt", "size": 3, *']),
        Row("cat {at}/a.txt {at}/b.txt", ["aaab"]),
        Row("cat --range 1- {at}/a.txt", ["aa"]),
        Row("exists {at}/a.txt {at}/d/", ["there\t{at}/a.txt", "there\t{at}/d/"]),
        Row("verify {disk}/same {at}/d", (), ["2 files: 2 alike"]),
        Row("cp {disk}/n.txt {at}/d/", (), ["copied 1 file, 3 B in *"], {"d/n.txt": b"new"}),
        Row("cp -r {disk}/other {at}/d", (), ["copied 2 files, *"], {"d/c.txt": b"CCC", "d/f.txt": b"f"}),
        Row("cp -r {at}/d {disk}/to", (), ["copied 2 files, *"], {}, {"to/c.txt": b"cc", "to/e.txt": b"e"}),
        Row("cp {at}/a.txt {at}/copy", (), ["copied 1 file, *"], {"copy": b"aaa"}),
        Row(
            "sync --delete {disk}/other {at}/d",
            (),
            ["copied 2 files, *; removed 1 file"],
            {"d/c.txt": b"CCC", "d/e.txt": None, "d/f.txt": b"f"},
        ),
        Row(
            "sync {at}/d {disk}/other",
            (),
            ["copied 2 files, *"],
            {},
            {"other/c.txt": b"cc", "other/e.txt": b"e"},
        ),
        Row("mv {at}/a.txt {at}/moved", (), ["moved 1 file, *"], {"a.txt": None, "moved": b"aaa"}),
        Row(
            "mv -r {at}/d {disk}/to/",
            (),
            ["moved 2 files, *"],
            {"d/c.txt": None, "d/e.txt": None},
            {"to/c.txt": b"cc", "to/e.txt": b"e"},
        ),
        Row("rm {at}/a.txt", (), ["removed 1 file"], {"a.txt": None}),
        Row("rm -r {at}/d", (), ["removed 2 files"], {"d/c.txt": None, "d/e.txt": None}),
        Row("touch {at}/a.txt {at}/done", (), (), {"done": b""}),
        Row("mkdir {disk}/one/two {disk}/same", (), (), {}, {"one/two/": b""}, only="folder"),
        Row("mkdir {at}/d/made", (), (), {}, {}, only="folder"),
        Row("transcode -v --to gzip {at}/a.txt {at}/t", ["stored\t*t\tgzip"], (), {"t": b"aaa"}),
        Row("completion words -- cat {at}/", ["{at}/a.txt", "{at}/b.txt", "{at}/d/", "{at}/z.txt"]),
        Row("completion bash", None),
        Row("help cp", None),
        Row("help --man", None),
        Row("config --json", None),
    ],
    PARTIAL: [
        Row("ls {at}/d {at}/none", ["{at}/d/c.txt", "{at}/d/e.txt"], ["{at}/none: no such file or folder"]),
        Row("ls {closed} {at}/d", ["{at}/d/c.txt", "{at}/d/e.txt"], ["*closed*: access denied: *"], only="s3"),
        Row("du {at}/none {at}/d", ["3\t2\t{at}/d"], ["{at}/none: no such file or folder"]),
        Row("du -c {closed} {at}/d", ["3\t2\t{at}/d", "3\t2\ttotal"], ["*closed*: access denied: *"], only="s3"),
        Row("head --json {at}/none {at}/a.txt", ['*"{at}/a.txt"*'], ["*none: no*"]),
        Row("head --json {closed}/x {at}/a.txt", ['*"{at}/a.txt"*'], ["*/x: access denied: *"], only="s3"),
        Row("cat {at}/a.txt {at}/none {at}/b.txt", ["aaab"], ["*none: no*"]),
        Row("cat {at}/a.txt {at}/z.txt {at}/b.txt", ["aaab"], ["*z.txt: it cannot be decoded from gzip: *"]),
        Row("cat {at}/a.txt {closed}/x {at}/b.txt", ["aaab"], ["*/x: access denied: *"], only="s3"),
        Row("exists {at}/none {at}/a.txt", ["missing\t{at}/none", "there\t{at}/a.txt"]),
        Row(
            "exists {closed}/x {at}/a.txt",
            ["unknown\t{closed}/x", "there\t{at}/a.txt"],
            ["*/x: access denied: *"],
            only="s3",
            code=2,
        ),
        Row(
            "verify {disk}/other {at}/d",
            ["different\tc.txt", "missing\te.txt", "extra\tf.txt"],
            ["3 files: 1 different, 1 only in {at}/d, 1 only in {disk}/other"],
        ),
        Row(
            "cp {at}/a.txt {at}/none {at}/b.txt {disk}/to/",
            (),
            ["*none: no*", "copied 2 files, *; 1 failed"],
            {},
            {"to/a.txt": b"aaa", "to/b.txt": b"b"},
        ),
        Row(
            "cp {at}/z.txt {at}/b.txt {disk}/to/",
            (),
            ["*z.txt: it cannot be decoded *", "copied 1 file, *; 1 failed"],
            {},
            {"to/b.txt": b"b"},
        ),
        Row(
            "cp {closed}/x {at}/b.txt {disk}/to/",
            (),
            ["*/x: access denied: *", "copied 1 file, *; 1 failed"],
            {},
            {"to/b.txt": b"b"},
            only="s3",
        ),
        Row(
            "cp {disk}/none {disk}/n.txt {at}/to/",
            (),
            ["{disk}/none: no such file or folder", "copied 1 file, *; 1 failed"],
            {"to/n.txt": b"new"},
        ),
        Row("cp {at}/none {at}/a.txt {at}/to/", (), ["*none: no*", "copied 1 file, *; 1 failed"], {"to/a.txt": b"aaa"}),
        Row(
            "sync --exclude z.txt {at} {disk}/busy",
            (),
            ["*d/c.txt: *", "*d/e.txt: *", "copied 2 files, *; 2 failed"],
            {},
            {"busy/a.txt": b"aaa", "busy/b.txt": b"b"},
        ),
        Row(
            "mv {at}/none {at}/a.txt {at}/to/",
            (),
            ["*none: no*", "moved 1 file, *; 1 failed"],
            {"a.txt": None, "to/a.txt": b"aaa"},
        ),
        Row(
            "mv {closed}/x {at}/a.txt {at}/to/",
            (),
            ["*/x: access denied: *", "moved 1 file, *; 1 failed"],
            {"a.txt": None, "to/a.txt": b"aaa"},
            only="s3",
        ),
        Row("rm {at}/none {at}/a.txt", (), ["{at}/none: no such file *", "removed 1 file; 1 failed"], {"a.txt": None}),
        Row("touch {closed}/x {at}/done", (), ["*/x: access denied: *"], {"done": b""}, only="s3"),
        Row(
            "touch {at}/one {at}/a.txt/x {at}/two",
            (),
            ["*x: a part of this path is a file*"],
            {"one": b"", "two": b""},
            only="folder",
        ),
        Row("mkdir {disk}/n.txt/x {disk}/one", (), ["{disk}/n.txt/x: Not a directory"], {}, {"one/": b""}),
        Row("transcode --to gzip {at}/none {at}/a.txt {at}/t/", (), ["*none: no*"], {"t/a.txt": b"aaa"}),
        Row("transcode --to gzip {at}/z.txt {at}/a.txt {at}/t/", (), ["*z.txt: it cannot *"], {"t/a.txt": b"aaa"}),
        Row(
            "transcode --to gzip {closed}/x {at}/a.txt {at}/t/",
            (),
            ["*/x: access denied: *"],
            {"t/a.txt": b"aaa"},
            only="s3",
        ),
        Row("sign {at}/none {at}/a.txt", ["http://*/a.txt[?]*"], ["*none: no*"], only="s3"),
        Row("sign {closed}/x {at}/a.txt", ["http://*/a.txt[?]*"], ["*/x: access denied: *"], only="s3"),
    ],
    MISUSE: [
        Row("ls", (), ["ls: *required: CLOUDPATH; see: cloudfiles-hypha help ls"]),
        Row("ls --flat -R {at}", (), ["*--flat*--recursive*; give one of both"]),
        Row("ls {at}/none", (), ["{at}/none: no such file or folder"]),
        Row("ls {closed}", (), ["closed/*: access denied: *"], only="s3"),
        Row("du {at}/none", (), ["{at}/none: no such file or folder"]),
        Row("du --huge {at}", (), ["du: --huge: no such option*see: cloudfiles-hypha help du"]),
        Row("head {at}/d/", (), ["{at}/d/: names a folder, not a file*"]),
        Row("cat {at}/d/", (), ["{at}/d/: names a folder, not a file*"]),
        Row("cat --json {at}/a.txt", (), ["*leave out --json"]),
        Row("cat --range 5-2 {at}/a.txt", (), ["*START-END*"]),
        Row("exists", (), ["exists: *required: CLOUDPATH; *"]),
        Row("verify {disk}/same", (), ["verify: *required: CLOUDPATH; *"]),
        Row("verify --json --combined - {disk}/same {at}/d", (), ["*name a file for one of them"]),
        Row("verify {disk}/same {closed}", (), ["closed/*: access denied: *"], only="s3"),
        Row("cp {at}/a.txt", (), ["cp: *required: DST; *"]),
        Row("cp {disk}/n.txt {disk}/m.txt", (), ["neither side is a cloudpath*"]),
        Row("cp {disk}/same {at}/", (), ["{disk}/same: is a folder; copy it with -r"]),
        Row("cp {disk}/n.txt {at}/a.txt {disk}/to/", (), ["*cannot be copied together; do one after the other"]),
        Row("cp {at}/a.txt {at}/to/a.txt {disk}/to/", (), ["two sources *nothing was copied"]),
        Row("cp --compress gzip {at}/a.txt {disk}/to", (), ["--compress is for uploads; *"]),
        Row("sync {at} {at}/d", (), ["*one is within the other"]),
        Row("sync --delete {disk}/none {at}", (), ["*"]),
        Row("mv {at}/a.txt {at}/b.txt {at}/moved", (), ["*add a slash at the end"]),
        Row("mv {at}/d/ {at}/to/", (), ["{at}/d/: names a folder, not a file; move it with -r"]),
        Row("rm {at}/d/", (), ["{at}/d/: names a folder, not a file; remove it with -r"]),
        Row("rm {closed}/x {at}/a.txt", (), ["*/x: access denied: *"], only="s3"),
        Row("rm -r {closed} {at}/d", (), ["closed/*: access denied: *"], only="s3"),
        Row("touch {at}/d/", (), ["{at}/d/: names a folder, not a file; *"]),
        Row("touch --comment x {at}/done", (), ["{at}/done: has no versions, so no --comment"]),
        Row("mkdir {at}/one", (), ["{at}/one: folders exist here by the files in them*"], only="s3"),
        Row("mkdir", (), ["mkdir: *required: FOLDER; *"]),
        Row("transcode --to gzip {disk}/n.txt {at}/", (), ["{disk}/n.txt: is no cloudpath*"]),
        Row("transcode {at}/a.txt {at}/t", (), ["transcode: *required: --to; *"]),
        Row("transcode --to gzip {at}/d/ {at}/t/", (), ["{at}/d/: names a folder, not a file; give -r as well"]),
        Row("create {at}", (), ["{at}: only Hypha artifacts are made, staged and committed"]),
        Row("stage {at}", (), ["{at}: only Hypha artifacts are made, staged and committed"]),
        Row("stage hypha://ws/a/file", (), ["*name it without 'file'"]),
        Row("status", (), ["status: *required: CLOUDPATH; *"]),
        Row("commit hypha://ws/a@v1", (), ["*leave out '@v1'"]),
        Row("discard {at}", (), ["{at}: only Hypha artifacts are made, staged and committed"]),
        Row("sign {at}/a.txt", (), ["{at}/a.txt: only s3:// and hypha:// *"], only="folder"),
        Row("sign --expires 8d {at}/a.txt", (), ["--expires: from 1s to 7d"]),
        Row("uploads {at}", (), ["{at}: only buckets (s3://) *"], only="folder"),
        Row("uploads {closed}", (), ["closed/*: access denied: *"], only="s3"),
        Row("uploads --abort {at}", (), ["--abort needs --older-than, such as 7d; *"], only="s3"),
        Row("alias", (), ["alias: *required: {{add,ls,rm}}; *"]),
        Row("alias rm nobody", (), ["*nobody*"]),
        Row("alias add s3 {at}", (), ["*s3*"]),
        Row("alias add nowhere nonsense", (), ["*nonsense*"]),
        Row("serve --port 1", (), ["serve: --port: no such option*"]),
        Row("demo --files 1", (), ["demo: argument --files: *'1'*"]),
        Row("config num_threads", (), ["config: 'num_threads': one argument too many; *"]),
        Row("login --stdin --browser", (), ["login: *--browser: not allowed with argument --stdin; *"]),
        Row("login not-an-address", (), ["SERVER_URL is as in https://host*"]),
        Row("logout not-an-address", (), ["SERVER_URL is as in https://host*"]),
        Row("whoami not-an-address", (), ["SERVER_URL is as in https://host*"]),
        Row("completion tcsh", (), ["completion: *'tcsh'*"]),
        Row("help copy", (), ["'copy': no such command*"]),
    ],
}

# Why there is no partial failure.
WHOLE = {
    **dict.fromkeys(("create", "stage", "status", "discard"), "one artifact: either it is so, or it is not"),
    **dict.fromkeys(("login", "logout", "whoami"), "one token, of one server"),
    "alias": "one alias at a time",
    "config": "a configuration that makes no sense ends every command before it begins",
    "completion": "what cannot be completed is left out in silence, as a shell needs it",
    "help": "the text of one command, or an error",
    "commit": "an artifact is published as a whole, or not",
    "serve": "a server of which a part has ended is stopped as a whole",
}


class Place(NamedTuple):
    """Where a test is."""

    at: str
    closed: str
    disk: Path

    def store(self) -> dict[str, bytes | None]:
        """What is in the store, by its name."""
        with ArtifactFiles(self.at) as cf:
            results = cf.get([*cf.list()], raise_errors=False)
        return {result["path"]: None if result["error"] else result["content"] for result in results}

    def files(self) -> dict[str, bytes | None]:
        """What is on the disk; folders with nothing in them end in a slash."""
        paths = {path.relative_to(self.disk).as_posix(): path for path in self.disk.rglob("*")}
        found: dict[str, bytes | None] = {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
        return found | {f"{name}/": b"" for name, path in paths.items() if path.is_dir() and not any(path.iterdir())}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with seaweed() as server:
        for bucket in (GUESTS, "closed"):
            server.make_bucket(bucket)
        yield server


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest) -> S3Server | None:
    """Where the files are; None: in a folder."""
    return request.getfixturevalue("server") if request.param == "s3" else None


@pytest.fixture
def place(store: S3Server | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A store that holds STORE, and a disk that holds DISK."""
    monkeypatch.setenv("HOME", str(tmp_path))
    at, closed = f"file://{tmp_path}/store", "s3://closed/folder"
    if store is not None:
        for name, value in store.guest_secrets.items():
            monkeypatch.setenv(name, value)
        at, closed = store.cloudpath(f"{GUESTS}/{uuid.uuid4().hex}"), store.cloudpath("closed/folder")
    for name, content in DISK.items():
        (tmp_path / "disk" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "disk" / name).write_bytes(content)
    with ArtifactFiles(at) as cf:
        cf.puts([(name, content) for name, content in STORE.items() if content is not None])
        cf.puts([(name, b"no gzip") for name, content in STORE.items() if content is None], content_encoding="gzip")
    return Place(at, closed, tmp_path / "disk")


Run = Callable[[Place, str], tuple[int, list[str], list[str]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The program in this process: its exit code, and the lines that it wrote and said."""

    def run(place: Place, words: str) -> tuple[int, list[str], list[str]]:
        code = main([word.format(**place._asdict()) for word in words.split()])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


def changed(before: Mapping[str, bytes | None], changes: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    after = {**before, **changes}
    return {name: content for name, content in after.items() if name not in changes or content is not None}


def alike(lines: Sequence[str], patterns: Sequence[str], place: Place) -> bool:
    """Whether there is a line for each pattern, in this order, and no other one."""
    wanted = [pattern.format(**place._asdict()) if "{" in pattern else pattern for pattern in patterns]
    return len(lines) == len(wanted) and all(map(fnmatchcase, lines, wanted))


def _cases() -> Iterator[object]:
    for kind, rows in TABLE.items():
        for row in rows:
            for store in STORES if not row.only else (row.only,):
                yield pytest.param(kind, row, store, id=f"{kind}: {row.words} ({store})")


@pytest.mark.parametrize(("kind", "row", "store"), [*_cases()], indirect=["store"])
def test_a_command_does_what_its_row_says_and_nothing_else(kind: str, row: Row, place: Place, run: Run) -> None:
    code, out, said = run(place, row.words)
    assert code == (CODES[kind] if row.code is None else row.code), said
    assert out if row.out is None else alike(out, row.out, place), out
    assert all(line.startswith("cloudfiles-hypha: ") for line in said)
    assert alike([line.partition(": ")[2] for line in said], row.said, place), said
    assert place.files() == changed(DISK, row.disk)
    assert place.store() == changed(STORE, row.store)


def test_every_command_has_a_test_of_each_kind() -> None:
    tested = {(row.words.split()[0], kind) for kind, rows in TABLE.items() for row in rows}
    for file in (Path(__file__), ROOT / "automated_test.py", ROOT / "tests/unit/test_cli.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.command":
                command, kind = map(ast.literal_eval, node.args)
                assert command in COMMANDS, f"{file.name}: there is no command {command}"
                assert kind in CODES, f"{file.name}: {kind}"
                tested.add((command, kind))
    wanted = {(command, kind) for command in COMMANDS for kind in CODES}
    assert wanted - tested == {(command, PARTIAL) for command in WHOLE}
    assert WHOLE.keys() <= COMMANDS.keys()


# -- what no row can say


@pytest.mark.command("alias", "success")
@pytest.mark.parametrize("store", STORES, indirect=True)
def test_an_alias_is_a_name_for_a_place_until_it_is_forgotten(place: Place, run: Run) -> None:
    assert run(place, "alias add lab {at}/") == (0, [], [])
    assert run(place, "alias ls") == (0, [f"lab://\t{place.at}/"], [])
    assert [json.loads(line) for line in run(place, "alias ls --json")[1]] == [
        {"name": "lab", "target": f"{place.at}/"}
    ]
    assert run(place, "cat lab://d/c.txt") == (0, ["cc"], [])
    assert run(place, "alias rm lab") == (0, [], [])
    assert run(place, "alias ls") == (0, [], [])
    assert run(place, "cat lab://d/c.txt")[0] == 2


@pytest.mark.command("sign", "success")
@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_anybody_reads_by_a_signed_url(place: Place, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, urls, said = run(place, "sign --expires 60s {at}/a.txt {at}/d/c.txt")
    assert (code, said) == (0, [])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    bodies = []
    for url in urls:
        with opener.open(url, timeout=30) as answer:
            bodies.append(answer.read())
    assert bodies == [b"aaa", b"cc"]
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        opener.open(urls[0].partition("?")[0], timeout=30)
    refused.value.close()


@pytest.mark.command("uploads", "success")
@pytest.mark.command("uploads", "partial failure")
@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_unfinished_uploads_are_listed_and_aborted_but_for_those_under_way(place: Place, run: Run) -> None:
    ids = {}
    with ArtifactFiles(place.at) as cf:
        backend = cf._backend
        assert isinstance(backend, S3Backend)
        folder = cf._prefix  # the command tells names from the bucket on
        for name in ("left", "busy"):
            body = backend.sender.send(HttpRequest("POST", f"/{folder}{name}?uploads=", (), b"")).body.decode()
            ids[name] = body.partition("<UploadId>")[2].partition("</UploadId>")[0]
        journal = backend.journal(f"{folder}busy")
        assert journal.acquire()
        try:
            journal.write(Note(upload=ids["busy"], size=0, count=0, described=""))
            code, lines, said = run(place, "uploads {at}")
            assert (code, said) == (0, [])
            assert {tuple(line.split("\t")[1:]) for line in lines} == {
                ("unknown", ids["left"], f"{folder}left"),
                ("running", ids["busy"], f"{folder}busy"),
            }
            found = [json.loads(line) for line in run(place, "uploads --json {at}")[1]]
            assert {(each["path"], each["whose"], each["id"]) for each in found} == {
                (f"{folder}left", "unknown", ids["left"]),
                (f"{folder}busy", "running", ids["busy"]),
            }
            assert run(place, "uploads --older-than 1d {at}") == (0, [], [])
            code, lines, said = run(place, "uploads --abort --older-than 0s {at}")
            assert (code, lines) == (1, [f"aborted\t{ids['left']}\t{folder}left"])
            assert alike(said, ["cloudfiles-hypha: *busy: not aborted: a process of this machine is at this*"], place)
        finally:
            journal.end()
        assert run(place, "uploads --abort --older-than 0s {at}") == (0, [f"aborted\t{ids['busy']}\t{folder}busy"], [])
        assert run(place, "uploads {at}") == (0, [], [])


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_transcode_changes_what_is_stored_and_not_what_is_read(place: Place, run: Run) -> None:
    assert run(place, "transcode --to gzip {at}/a.txt {at}/a.txt") == (0, [], [])
    assert run(place, "cat {at}/a.txt") == (0, ["aaa"], [])
    with ArtifactFiles(place.at) as cf:
        assert cf.get("a.txt", raw=True)[:2] == b"\x1f\x8b"


# -- as other programs of Unix behave

READING = {
    "ls": "ls -l {at}",
    "du": "du {at}",
    "cat": "cat {at}/a.txt",
    "head": "head {at}/a.txt",
    "verify": "verify -q {disk}/other {at}/d",
    "config": "config",
    "help": "help ls",
}


class Program(NamedTuple):
    """The program in a process of its own, without a terminal unless it is given one."""

    words: list[str]

    def run(self, stdout: int, stderr: int = subprocess.PIPE, **variables: str) -> tuple[int, str]:
        """Its exit code, and what it says."""
        plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        done = subprocess.run(
            [sys.executable, "-m", "cloudfiles_hypha", *self.words],
            env={**plain, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "TERM": "xterm-256color", **variables},
            stdin=subprocess.DEVNULL if stderr == subprocess.PIPE else stdout,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            timeout=30,
        )
        return done.returncode, (done.stderr or b"").decode()


@pytest.fixture
def program(request: pytest.FixtureRequest, place: Place) -> Program:
    """A command that reads."""
    return Program([word.format(**place._asdict()) for word in READING[request.param].split()])


reads = pytest.mark.parametrize(("program", "store"), [(name, "folder") for name in READING], indirect=True)


@reads
def test_a_reader_that_has_gone_away_ends_a_command_quietly(program: Program) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert program.run(writer) == (141, "")
    finally:
        os.close(writer)


@reads
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_1_and_one_line(program: Program) -> None:
    with open("/dev/full", "wb") as full:
        assert program.run(full.fileno()) == (
            1,
            "cloudfiles-hypha: standard output: No space left on device\n",
        )


@reads
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_what_is_written_is_the_same_with_and_without_a_terminal_and_has_no_colours(
    program: Program, tmp_path: Path
) -> None:
    with open(tmp_path / "piped", "w+b") as piped:
        code, said = program.run(piped.fileno())
        piped.seek(0)
        wanted = piped.read().decode()
    assert (code, said) == (1 if program.words[0] == "verify" else 0, "")
    assert wanted
    assert "\x1b" not in wanted
    for variables in ({}, {"NO_COLOR": "1"}):
        terminal, inner = os.openpty()
        try:
            assert program.run(inner, inner, **variables) == (code, "")
        finally:
            os.close(inner)
        assert shown(terminal).replace("\r\n", "\n") == wanted


def shown(terminal: int) -> str:
    """All that a terminal was sent, which nobody has open any more."""
    found = b""
    try:
        while block := os.read(terminal, 65536):
            found += block
    except OSError:  # how Linux says that it has ended
        pass
    finally:
        os.close(terminal)
    return found.decode()
