"""A file being put together on disk: what is there at every moment, and what is left of it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("fallback", [None, "_GATHERS", "_POSITIONED", "_REMOVES_OPEN"])
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


def test_another_that_comes_before_a_new_file_is_locked_gets_a_file_of_its_own(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = partial.lock
    others: list[PartialFile] = []

    def lock_late(descriptor: int) -> bool:
        if not others:
            others.append(PartialFile(target, "there"))
            assert not others[0].resume()
            others[0].create(SIZE, "tag", resumable=True)
        return lock(descriptor)

    monkeypatch.setattr(partial, "lock", lock_late)
    first = begun(target)
    (second,) = others
    second.write(0, [b"2"])
    first.write(0, [b"1" * SIZE])
    first.publish()
    assert target.read_bytes() == b"1" * SIZE
    second.write(0, [b"2" * SIZE])
    second.publish()
    assert target.read_bytes() == b"2" * SIZE
    assert hidden(target) == []


def test_another_that_comes_while_a_file_is_published_takes_nothing_of_it(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begun(target)
    replace = os.replace
    late = PartialFile(target, "there")

    def replace_slowly(part: str, target: Path) -> None:
        assert not PartialFile(target, "there").resume()
        replace(part, target)
        assert not late.resume()
        late.create(SIZE, "tag", resumable=True)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace_slowly)
        first.publish()
    late.write(0, [b"2" * SIZE])
    late.arrived(0, SIZE)
    late.leave()  # with what can be taken up again, or with nothing
    assert len(hidden(target)) in (0, 2)
    assert target.read_bytes()[100:200] == b"a" * 50 + b"b" * 50


def test_the_later_of_two_that_fails_leaves_nothing_that_nobody_would_find(target: Path) -> None:
    first, second = begun(target), begun(target)
    second.leave()
    first.leave()
    assert len(hidden(target)) == 2
    again = PartialFile(target, "there")
    assert again.resume()
    again.discard()


@pytest.mark.parametrize("instead", [None, b"?" * SIZE])
def test_a_temporary_file_that_somebody_else_removes_is_not_published(target: Path, instead: bytes | None) -> None:
    file = begun(target)
    (part,) = target.parent.glob(".*.part")
    part.rename(target.parent / "moved")
    if instead:
        part.write_bytes(instead)
    with pytest.raises(FileNotFoundError, match="temporary"):
        file.publish()
    assert target.read_bytes() == b"old"
    assert hidden(target) == ["moved"]


def test_a_disk_without_locks_will_do(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(descriptor: int) -> bool:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(partial, "lock", refused)
    for end in (PartialFile.publish, PartialFile.leave):
        end(begun(target))
        assert hidden(target) == []
    assert target.read_bytes()[100:200] == b"a" * 50 + b"b" * 50


def test_what_cannot_be_opened_just_now_stays(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(target).leave()
    really = os.open

    def refused(path: str, *arguments: Any) -> int:
        if path.endswith(".part"):
            raise OSError(errno.EMFILE, "too many open files")
        return really(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refused)
        with pytest.raises(OSError, match="too many"):
            PartialFile(target, "there").resume()
        with pytest.raises(OSError, match="too many"):
            begun(target.with_name("other"))
    again = PartialFile(target, "there")
    assert again.resume()
    again.discard()


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
