"""``urls``: by which others can read; signed in bulk, refused where a store has none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from cloudfiles_hypha import ArtifactFiles, AsyncArtifactFiles, BatchError, InvalidRequest, ObjectNotFound
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import ObjectServer

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture
def hypha() -> Iterator[FakeHypha]:
    with FakeHypha(token=None) as server:
        server.add_artifact("ws/data", {f"{n:04}.bin": b"%d" % n for n in range(300)})
        yield server


@pytest.fixture
def cf(hypha: FakeHypha) -> Iterator[ArtifactFiles]:
    with ArtifactFiles("hypha://ws/data", server_url=hypha.url) as cf:
        yield cf


def read(url: str) -> bytes:
    with urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def test_a_path_gives_a_url_that_anybody_can_read_by(cf: ArtifactFiles) -> None:
    assert read(cf.urls("0007.bin")) == b"7"


def test_several_give_their_urls_in_order_or_by_path(cf: ArtifactFiles) -> None:
    names = ["0003.bin", "0001.bin", "0003.bin"]
    urls = cf.urls(names)
    assert [read(url) for url in urls] == [b"3", b"1", b"3"]
    assert list(cf.urls(iter(names), return_dict=True)) == ["0003.bin", "0001.bin"]
    assert cf.urls([]) == []


def test_many_are_signed_in_few_calls_which_are_no_downloads(cf: ArtifactFiles, hypha: FakeHypha) -> None:
    assert len(cf.urls(cf.list(), expires_in=60)) == 300
    calls = [call for call in hypha.calls if call.method == "get_file"]
    assert len(calls) < 10
    assert {(call.kwargs["silent"], call.kwargs["expires_in"]) for call in calls} == {(True, 60)}


def test_what_is_missing_does_not_keep_the_others_from_being_signed(cf: ArtifactFiles) -> None:
    with pytest.raises(ObjectNotFound, match="nothing"):
        cf.urls("nothing")
    with pytest.raises(BatchError) as caught:
        cf.urls(["0001.bin", "nothing", "0002.bin"])
    first, missing, last = caught.value.results
    assert (read(first["content"]), read(last["content"])) == (b"1", b"2")
    assert isinstance(missing["error"], ObjectNotFound)
    assert "://" not in str(caught.value)


def test_a_prefix_is_no_part_of_what_is_asked_for(hypha: FakeHypha) -> None:
    hypha.add_artifact("ws/deep", {"a/b c.txt": b"deep"})
    with ArtifactFiles("hypha://ws/deep/a", server_url=hypha.url) as cf:
        assert read(cf.urls("b c.txt")) == b"deep"


def test_a_bucket_signs_without_asking() -> None:
    with ArtifactFiles("s3://http://127.0.0.1:1/bucket/in", secrets=KEYS) as cf:
        (url,) = cf.urls(["a b"], expires_in=90)
    assert url.startswith("http://127.0.0.1:1/bucket/in/a%20b?")
    assert "X-Amz-Expires=90" in url


def test_a_web_server_has_its_files_where_they_are(object_server: ObjectServer) -> None:
    object_server.put("in/a b", b"web")
    with ArtifactFiles(f"{object_server.url}/in") as cf:
        assert read(cf.urls("a b")) == b"web"


def test_a_store_without_urls_says_so_once(tmp_path: Path) -> None:
    for place in (str(tmp_path), "mem://urls"):
        with ArtifactFiles(place) as cf, pytest.raises(InvalidRequest, match="gives no URLs"):
            cf.urls(["a", "b"])


@pytest.mark.parametrize("seconds", [0, -1, 7 * 86_400 + 1, 1.5])
def test_a_lifetime_that_nobody_signs_for_is_refused_at_once(cf: ArtifactFiles, hypha: FakeHypha, seconds: int) -> None:
    with pytest.raises(ValueError, match="expires_in"):
        cf.urls("0001.bin", seconds)
    assert not hypha.calls


def test_it_is_awaited_as_well(cf: ArtifactFiles) -> None:
    async def main() -> list[str]:
        return list(await AsyncArtifactFiles(cf).urls(["0001.bin", "0002.bin"]))

    assert [read(url) for url in asyncio.run(main())] == [b"1", b"2"]
