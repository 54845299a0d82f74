"""The contract for what can be read and listed, on a real Apache and on ``rclone serve http``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.devserver.processes import HOST, choose_ports
from tests.contract.test_backends import ODD_NAMES, TEN, Place
from tests.contract.test_nginx import Nginx
from tests.support.apache import apache
from tests.support.s3_servers import serving, status_of


@pytest.fixture(scope="module")
def plain_apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with apache(tmp_path_factory.mktemp("apache")) as served:
        yield served


@pytest.fixture(scope="module")
def fancy_apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    options = "IndexOptions FancyIndexing FoldersFirst IconsAreLinks NameWidth=12"
    with apache(tmp_path_factory.mktemp("apache"), options) as served:
        yield served


@pytest.fixture(scope="module")
def table_apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    options = "IndexOptions FancyIndexing HTMLTable VersionSort NameWidth=* Charset=UTF-8"
    with apache(tmp_path_factory.mktemp("apache"), options) as served:
        yield served


@pytest.fixture(scope="module")
def rclone_http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    program = shutil.which("rclone") or shutil.which("rclone", path=os.path.dirname(sys.executable))
    if program is None:
        pytest.skip("rclone is not installed")
    root = tmp_path_factory.mktemp("rclone")
    (port,) = choose_ports(1)
    url = f"http://{HOST}:{port}"
    # without its memory of folders, since tests change them behind its back
    command = [program, "serve", "http", f"--addr={HOST}:{port}", "--dir-cache-time=0", str(root)]
    with serving(command, tmp_path_factory.mktemp("home"), lambda: status_of(f"{url}/") == 200):
        yield url, root


class Apache(Nginx):
    odd_names: ClassVar[list[str]] = ODD_NAMES

    @pytest.mark.skip(reason="Apache does not say how large a file is when a range begins at its end")
    def test_a_range_is_half_open_and_may_end_beyond_the_end(self) -> None:
        raise NotImplementedError

    @pytest.mark.skip(reason="Apache does not say how large an empty file is when it is asked by HEAD")
    def test_head_and_size_know_an_object_without_reading_it(self) -> None:
        raise NotImplementedError


@pytest.mark.usefixtures("plain_apache")
class TestApachePlain(Apache):
    site = "plain_apache"


@pytest.mark.usefixtures("fancy_apache")
class TestApacheFancy(Apache):
    site = "fancy_apache"


@pytest.mark.usefixtures("table_apache")
class TestApacheTable(Apache):
    site = "table_apache"


@pytest.mark.usefixtures("rclone_http")
class TestRclone(Nginx):
    site = "rclone_http"
    odd_names: ClassVar[list[str]] = ODD_NAMES

    def test_sizes_are_told(self, place: Place, cf: ArtifactFiles) -> None:
        place.fill({"a": TEN, "d/b": b""})
        assert [(info.path, info.size) for info in cf._backend.scan("", control=cf._control())] == [
            ("a", 10),
            ("d/b", 0),
        ]
