"""``ArtifactFile``, one file by its cloudpath, and ``dl``, files of several places in one call."""

from __future__ import annotations

import inspect

import pytest

from cloudfiles_hypha import (
    ArtifactFile,
    ArtifactFiles,
    BatchError,
    ObjectExists,
    ObjectNotFound,
    PreconditionFailed,
    dl,
)
from tests.support.clients import QUICK
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import ObjectServer


def test_one_file_does_what_files_do() -> None:
    with ArtifactFile("mem://one/dir/a.bin") as file:
        assert not file.exists()
        file.touch()
        assert len(file) == 0
        assert file
        file.put(b"0123456789", content_type="text/plain")
        assert file.get() == b"0123456789"
        assert (file.get(2, 4), file[2:4], file[-3:], file[:-8], file[4:-8]) == (b"23", b"23", b"789", b"01", b"")
        assert (file.size(), file.head().content_type) == (10, "text/plain")
        assert (file.basename, file.dirname, file.join(file.dirname, "x")) == (
            "a.bin",
            "mem://one/dir",
            "mem://one/dir/x",
        )
        assert file.transfer_to("mem://one/b")["done"] == "copied"
        other = ArtifactFile("mem://one-other/c")
        assert other.transfer_from(file)["target"] == "c"
        assert other.move("mem://one/d")["done"] == "moved"
        assert not other.exists()
        file.delete()
        assert sorted(ArtifactFiles("mem://one")) == ["b", "d"]
        file.put_json({"a": 1})
        assert file.get_json() == {"a": 1}
        with pytest.raises(TypeError):
            file[::2]
        with pytest.raises(TypeError):
            file[3]  # type: ignore[index]


@pytest.mark.parametrize("verb", ["put", "put_json"])
def test_one_file_takes_all_that_many_take_but_a_name(verb: str) -> None:
    def taken(of: type) -> list[tuple[str, object, object]]:
        found = inspect.signature(getattr(of, verb)).parameters.values()
        return [(each.name, each.default, each.kind) for each in found if each.name != "path"]

    assert taken(ArtifactFile) == taken(ArtifactFiles)


def test_one_file_is_stored_only_if_nothing_has_come_in_between() -> None:
    with ArtifactFile("mem://one-condition/a") as file:
        etag = file.put("old", overwrite="never", compress="gzip")["etag"]
        assert (file.get(), file.head().compress) == (b"old", "gzip")
        with pytest.raises(ObjectExists):
            file.put("new", overwrite="never")
        assert file.put_json("new", if_match=etag)["error"] is None
        for store in (file.put, file.put_json):
            with pytest.raises(PreconditionFailed):
                store("newer", if_match=etag)
        with pytest.raises(ObjectExists):
            file.put_json("newer", overwrite="never")
        assert file.get_json() == "new"
        file.delete()


@pytest.mark.parametrize("wrong", ["mem://bucket", "mem://bucket/a/", "ws/alias", "https://host", "https://host/"])
def test_what_names_no_file_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="names no file|host"):
        ArtifactFile(wrong)


def test_an_artifact_and_a_web_server_have_single_files_too(object_server: ObjectServer) -> None:
    object_server.put("dir/a b", b"AB")
    with ArtifactFile(f"{object_server.url}/dir/a%20b") as file:
        assert (file.name, file.get()) == ("a b", b"AB")
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"x/y": b"Y"})
        with ArtifactFile("ws/a/x/y", server_url=hypha.url, token=hypha.token) as file:
            assert file[:] == b"Y"
        with ArtifactFile("hypha://ws/a@v0/x/y", server_url=hypha.url, token=hypha.token) as file:
            assert file.get() == b"Y"


def test_files_of_several_places_come_in_order(object_server: ObjectServer) -> None:
    for number in range(20):
        object_server.put(f"dir/{number}", b"%d" % number)
    ArtifactFiles("mem://dl").puts([("a", b"A"), ("b/c", b"C"), ("c#1?", b"#")])
    wanted = ["mem://dl/b/c", f"{object_server.url}/dir/7", "mem://dl/a", f"{object_server.url}/dir/3", "mem://dl/c#1?"]
    results = dl(iter(wanted), retry=QUICK)
    assert [(result["fullpath"], result["content"]) for result in results] == list(
        zip(wanted, [b"C", b"7", b"A", b"3", b"#"], strict=True)
    )
    assert dl(wanted[0]) == b"C"
    with pytest.raises(ObjectNotFound):
        dl("mem://dl/none")
    with pytest.raises(BatchError) as caught:
        dl([*wanted, "mem://dl/none"])
    assert len(caught.value.results) == 6
    missing = dl(["mem://dl/none"], raise_errors=False)[0]
    assert isinstance(missing["error"], ObjectNotFound)
