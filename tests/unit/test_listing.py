"""Going on with a listing: nothing is left out without a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from cloudfiles_hypha import ArtifactFiles, ObjectInfo, TransferError
from cloudfiles_hypha.backends.base import Control
from cloudfiles_hypha.backends.memory import MemoryBackend


@pytest.fixture
def cf() -> ArtifactFiles:
    return ArtifactFiles("mem://listing/folder")


def lists(names: Sequence[str], monkeypatch: pytest.MonkeyPatch, *, after: Sequence[str] | None = None) -> None:
    """A store that lists these, and behind a name those."""

    def listed(self: MemoryBackend, prefix: str, *, flat: bool, control: Control) -> Iterator[str]:
        return (f"folder/{name}" for name in names)

    def scan_after(self: MemoryBackend, prefix: str, name: str, *, control: Control) -> Iterator[ObjectInfo] | None:
        return None if after is None else (ObjectInfo(f"folder/{each}", 1) for each in after)

    monkeypatch.setattr(MemoryBackend, "list", listed)
    monkeypatch.setattr(MemoryBackend, "scan_after", scan_after)


def test_it_goes_on_behind_a_name_that_is_gone(cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    lists(["a", "c", "d"], monkeypatch)
    assert [*cf.list(start_after="b")] == ["c", "d"]


def test_a_store_in_another_order_is_an_error(cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    lists(["b", "a", "c"], monkeypatch)
    with pytest.raises(TransferError, match="order of names"):
        list(cf.list(start_after="b"))


@pytest.mark.parametrize("after", [["a", "c"], ["d", "c"], ["c", "a"]])
def test_a_store_that_goes_on_elsewhere_is_an_error(
    cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch, after: list[str]
) -> None:
    lists(["b", "a", "c"], monkeypatch, after=after)
    with pytest.raises(TransferError, match="order of names"):
        list(cf.list(start_after="b"))


def test_a_store_that_knows_no_going_on_is_listed_from_its_beginning(
    cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists(["a", "b", "c"], monkeypatch, after=["a", "b", "c"])
    assert [*cf.list(start_after="b")] == ["c"]


def test_the_name_itself_does_not_come_again(cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    lists([], monkeypatch, after=["b", "c"])
    assert [*cf.list(start_after="b", size=True)] == [("c", 1)]


def test_one_level_has_no_going_on(cf: ArtifactFiles) -> None:
    with pytest.raises(ValueError, match="flat"):
        cf.list(flat=True, start_after="a")


def test_a_scan_tells_what_the_listing_knows_by_names_below_the_cloudpath(cf: ArtifactFiles) -> None:
    with cf:
        cf.puts([("d/a", b"A"), ("d/bb", b"BB"), ("e", b"")])
        found = [*cf.scan("d/")]
        assert [(info.path, info.size, info.etag) for info in found] == [
            (name, info.size, info.etag) for name, info in cf.head(["d/a", "d/bb"]).items()
        ]
        assert all(info.last_modified for info in found)
        cf.delete(["d/a", "d/bb", "e"])


@pytest.mark.parametrize("prefix", ["/a", "../a"])
def test_a_scan_refuses_what_a_listing_refuses_before_it_is_begun(cf: ArtifactFiles, prefix: str) -> None:
    with pytest.raises(ValueError, match="must not begin"):
        cf.scan(prefix)
