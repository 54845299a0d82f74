"""The contract for what can be read and listed, on a real nginx with its ``autoindex``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from cloudfiles_hypha import ArtifactFiles, ObjectNotFound, TransferError
from tests.contract.test_backends import ODD_NAMES, TEN, ListingContract, Place
from tests.support.nginx import nginx


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    root = tmp_path_factory.mktemp("html")
    with nginx(root, tmp_path_factory.mktemp("nginx"), "autoindex on;") as url:
        yield url, root


@pytest.fixture(scope="module")
def in_json(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    root = tmp_path_factory.mktemp("json")
    with nginx(root, tmp_path_factory.mktemp("nginx"), "autoindex on; autoindex_format json;") as url:
        yield url, root


class Nginx(ListingContract):
    site: ClassVar[str]  # the fixture of that name
    # nginx names no file that begins with a dot
    odd_names: ClassVar[list[str]] = [name.replace("/.", "/") for name in ODD_NAMES]

    @pytest.mark.skip(reason="to a web server the page of a folder is a page like any other, and is there")
    def test_exists_says_whether_each_is_there(self) -> None:
        raise NotImplementedError

    @pytest.fixture
    def place(self, request: pytest.FixtureRequest) -> Place:
        url, root = request.getfixturevalue(self.site)

        def fill(files: Mapping[str, bytes]) -> None:
            shutil.rmtree(root / "base", ignore_errors=True)
            (root / "base").mkdir()
            for name, content in files.items():
                (root / "base" / name).parent.mkdir(parents=True, exist_ok=True)
                (root / "base" / name).write_bytes(content)

        fill({})
        return Place(f"{url}/base", fill)

    def test_a_folder_is_downloaded(self, place: Place, cf: ArtifactFiles, tmp_path: Path) -> None:
        files = {"a": TEN, "d/b": b"", "d/e/c": b"1"}
        place.fill(files)
        cf.download("", tmp_path / "down")
        down = tmp_path / "down"
        found = {str(path.relative_to(down)): path.read_bytes() for path in down.rglob("*") if path.is_file()}
        assert found == files

    def test_names_are_in_order(self, place: Place, cf: ArtifactFiles) -> None:
        names = ["b!", "b-/y", "b/1", "b/2/x", "b0", "a"]
        place.fill(dict.fromkeys(names, b"1"))
        assert list(cf) == sorted(names)


@pytest.mark.usefixtures("html")
class TestNginxHtml(Nginx):
    site = "html"


@pytest.mark.usefixtures("in_json")
class TestNginxJson(Nginx):
    site = "in_json"

    def test_sizes_and_times_are_told(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN})
        (info,) = cf._backend.scan("", control=cf._control())
        assert info.size == 10
        assert info.last_modified == int(cf.head("a").last_modified or 0)


def test_what_is_no_page_of_a_folder_is_not_taken_for_one(tmp_path: Path) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    root.mkdir()
    state.mkdir()
    pages = {
        "site": ("index.html", b"<title>Welcome</title><a href='a'>a</a>"),
        "json": ("index.json", b'{"a": 1}'),
        "binary": ("index.bin", b"a"),
        "outside": ("index.html", b"<title>Index of /</title><a href='x%2F..%2F..%2Fy'>a</a></html>"),
    }
    for folder, (name, content) in pages.items():
        (root / folder).mkdir()
        (root / folder / name).write_bytes(content)
    server = "index index.html index.json index.bin; types { text/html html; application/json json; }"
    with nginx(root, state, server) as url:
        for folder in pages:
            with ArtifactFiles(f"{url}/{folder}") as cf, pytest.raises(TransferError, match="cannot be listed"):
                list(cf)
        with ArtifactFiles(url) as cf:
            with pytest.raises(TransferError):  # 403, since nginx has no page for it
                list(cf)
            assert list(cf.list("missing/")) == []
            with pytest.raises(ObjectNotFound):
                cf.get("missing/a")
