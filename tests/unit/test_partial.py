"""A file being put together on disk: what is there at every moment, and what is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloudfiles_hypha.disk import partial
from cloudfiles_hypha.disk.partial import PartialFile

SIZE = 1000


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.write_bytes(b"old")
    return path


def begun(target: Path, source: str = "there") -> PartialFile:
    file = PartialFile(target, source)
    assert not file.resume()
    file.create(SIZE, "tag", resumable=True)
    file.write(100, [b"a" * 50, b"b" * 50])
    file.arrived(100, 200)
    return file


def hidden(target: Path) -> list[str]:
    return sorted(name for name in os.listdir(target.parent) if name != target.name)


@pytest.mark.parametrize("fallback", [None, "_GATHERS", "_POSITIONED"])
def test_the_target_is_what_it_was_until_it_is_complete(
    target: Path, monkeypatch: pytest.MonkeyPatch, fallback: str | None
) -> None:
    if fallback:
        monkeypatch.setattr(partial, "_GATHERS", False)
        monkeypatch.setattr(partial, fallback, False)
    file = begun(target)
    assert file.gaps() == [(0, 100), (200, SIZE)]
    assert (file.reach(100), file.reach(0), file.total) == (200, 0, 100)
    file.write(200, [b"c" * 800])
    file.write(0, [b"d" * 100])
    assert b"".join(file.read(90, 210)) == b"d" * 10 + b"a" * 50 + b"b" * 50 + b"c" * 10
    assert target.read_bytes() == b"old"
    file.publish()
    assert target.read_bytes() == b"d" * 100 + b"a" * 50 + b"b" * 50 + b"c" * 800
    assert hidden(target) == []


def test_what_was_left_is_taken_up_again(target: Path) -> None:
    begun(target).leave()
    assert len(hidden(target)) == 2
    again = PartialFile(target, "there")
    assert again.resume()
    assert (again.size, again.etag, again.resumed, again.gaps()) == (SIZE, "tag", 100, [(0, 100), (200, SIZE)])
    assert b"".join(again.read(100, 200)) == b"a" * 50 + b"b" * 50
    again.discard()
    assert hidden(target) == []
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("damage", ["source", "format", "journal", "no journal", "no part", "size", "boot", "no etag"])
def test_what_cannot_be_trusted_is_cleared_away(target: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    begun(target).leave()
    part, journal = (next(target.parent.glob(f".*.{kind}")) for kind in ("part", "journal"))
    if damage == "format":
        monkeypatch.setattr(partial, "_FORMAT", 2)
    elif damage == "journal":
        journal.write_bytes(b'{"form')
    elif damage == "no journal":
        journal.unlink()
    elif damage == "no part":
        part.unlink()
    elif damage == "size":
        os.truncate(part, SIZE - 1)
    elif damage == "boot":
        monkeypatch.setattr(partial, "_boot", lambda: "another")
    elif damage == "no etag":
        journal.write_bytes(journal.read_bytes().replace(b'"tag"', b"null"))
    file = PartialFile(target, "elsewhere" if damage == "source" else "there")
    assert not file.resume()
    assert hidden(target) == []
    file.create(SIZE, "tag", resumable=True)
    assert file.gaps() == [(0, SIZE)]
    file.discard()


def test_a_line_of_the_journal_that_was_cut_short_does_not_count(target: Path) -> None:
    begun(target).leave()
    journal = next(target.parent.glob(".*.journal"))
    journal.write_bytes(journal.read_bytes() + b"300 999")
    again = PartialFile(target, "there")
    assert again.resume()
    assert again.gaps() == [(0, 100), (200, SIZE)]
    again.discard()


def test_two_at_one_target_do_not_disturb_each_other(target: Path) -> None:
    first = begun(target)
    second = PartialFile(target, "there")
    assert not second.resume()
    second.create(3, "tag", resumable=True)
    second.write(0, [b"2nd"])
    second.publish()
    assert target.read_bytes() == b"2nd"
    first.write(0, [b"x" * SIZE])
    first.publish()
    assert target.read_bytes() == b"x" * SIZE
    assert hidden(target) == []


def test_what_cannot_be_taken_up_again_is_not_left(target: Path) -> None:
    file = PartialFile(target, "there")
    file.create(SIZE, None, resumable=False)
    file.write(0, [b"x"])
    file.arrived(0, 1)
    file.leave()
    empty = PartialFile(target, "there")
    empty.create(SIZE, "tag", resumable=True)
    empty.leave()
    assert hidden(target) == []


def test_a_target_that_cannot_be_replaced_leaves_only_what_is_of_use(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(part: str, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("cloudfiles_hypha.disk.partial.os.replace", refused)
    file = PartialFile(target, "there")
    file.create(SIZE, None, resumable=False)
    with pytest.raises(PermissionError):
        file.publish()
    assert hidden(target) == []
    with pytest.raises(PermissionError):
        begun(target).publish()
    assert len(hidden(target)) == 2


def test_the_longest_name_and_a_folder_that_is_not_there_will_do(tmp_path: Path) -> None:
    target = tmp_path / "a/b" / ("n" * 255)
    file = begun(target)
    file.publish()
    assert target.stat().st_size == SIZE


def test_a_private_file_stays_private(target: Path) -> None:
    target.chmod(0o600)
    file = begun(target)
    assert {path.stat().st_mode & 0o777 for path in target.parent.iterdir()} == {0o600}
    file.publish()
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_killed_process_has_promised_only_what_is_there(target: Path) -> None:
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from cloudfiles_hypha.disk.partial import PartialFile\n"
        f"file = PartialFile(Path({str(target)!r}), 'there'); file.create(100_000_000, 'tag', resumable=True)\n"
        "print('go', flush=True)\n"
        "for at in range(0, 100_000_000, 10_000):\n"
        "    file.write(at, [at.to_bytes(8, 'big') * 1250]); file.arrived(at, at + 10_000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        journal = next(target.parent.glob(".*.journal"))
        while journal.read_bytes().count(b"\n") < 20:
            time.sleep(0.001)
        process.kill()
    file = PartialFile(target, "there")
    assert file.resume()
    assert file.resumed > 0
    for at in range(0, file.reach(0), 10_000):
        assert b"".join(file.read(at, at + 10_000)) == at.to_bytes(8, "big") * 1250
    file.discard()
