"""fsspec's own suites on ``hypha://``, and on ``s3://`` and a folder through the generic file system."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="the suites are fsspec's")

from fsspec.tests import abstract

from cloudfiles_hypha.filesystem.fsspec import ArtifactFileSystem, HyphaFileSystem
from tests.support.fake_hypha import FakeHypha
from tests.support.s3_servers import S3Server, moto, seaweed

_numbers = itertools.count()


class Fixtures(abstract.AbstractFixtures):
    """What all of our file systems have in common."""

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return posixpath.join

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class HyphaFixtures(Fixtures):
    @pytest.fixture
    def fs(self) -> Iterator[HyphaFileSystem]:
        with FakeHypha() as server:
            server.add_artifact("ws/data", {"there": b"0"})
            fs = HyphaFileSystem(server_url=server.url, token=server.token, skip_instance_cache=True)
            yield fs
            fs.close()

    @pytest.fixture
    def fs_path(self) -> str:
        return "ws/data/in"


@pytest.fixture(scope="module")
def seaweed_server() -> Iterator[S3Server]:
    with seaweed() as server:
        server.make_bucket("fsspec")
        yield server


@pytest.fixture(scope="module")
def moto_server() -> Iterator[S3Server]:
    with moto() as server:
        server.make_bucket("fsspec")
        yield server


class S3Fixtures(Fixtures):
    @pytest.fixture
    def server(self, seaweed_server: S3Server) -> S3Server:
        return seaweed_server

    @pytest.fixture(autouse=True)
    def not_what_needs_empty_folders_gone(self, request: pytest.FixtureRequest) -> None:
        if request.node.originalname in {name for names in LISTED_AFTER_REMOVAL.values() for name in names}:
            pytest.skip("SeaweedFS lists folders for some time after their last file has gone; moto is asked")

    @pytest.fixture
    def fs(self, server: S3Server) -> Iterator[ArtifactFileSystem]:
        fs = ArtifactFileSystem(server.cloudpath("fsspec"), secrets=server.secrets, skip_instance_cache=True)
        yield fs
        fs.close()

    @pytest.fixture
    def fs_path(self) -> str:
        return f"test-{next(_numbers)}"


class MotoFixtures(S3Fixtures):
    @pytest.fixture(autouse=True)
    def not_what_needs_empty_folders_gone(self) -> None:
        """It keeps none."""

    @pytest.fixture
    def server(self, moto_server: S3Server) -> S3Server:
        return moto_server


class FolderFixtures(Fixtures):
    @pytest.fixture
    def fs(self, tmp_path: Path) -> ArtifactFileSystem:
        (tmp_path / "remote").mkdir()
        return ArtifactFileSystem((tmp_path / "remote").as_uri(), skip_instance_cache=True)

    @pytest.fixture
    def fs_path(self) -> str:
        return "in"


SUITES = {
    "Copy": abstract.AbstractCopyTests,
    "Get": abstract.AbstractGetTests,
    "Open": abstract.AbstractOpenTests,
    "Pipe": abstract.AbstractPipeTests,
    "Put": abstract.AbstractPutTests,
}
STORES: dict[str, type[Fixtures]] = {
    "Hypha": HyphaFixtures,
    "S3": S3Fixtures,
    "Folder": FolderFixtures,
}
# They remove a folder and look whether the one above it lists nothing. SeaweedFS lists a folder for some time after
# its last file has gone; so of the buckets only those of moto, which keeps none, are looked at.
LISTED_AFTER_REMOVAL = {
    "Copy": (
        "test_copy_directory_to_existing_directory",
        "test_copy_directory_to_new_directory",
        "test_copy_glob_to_existing_directory",
        "test_copy_glob_to_new_directory",
    ),
    "Put": (
        "test_put_directory_to_existing_directory",
        "test_put_directory_to_new_directory",
        "test_put_glob_to_existing_directory",
        "test_put_glob_to_new_directory",
        "test_put_directory_recursive",
    ),
}


def _add(store: str, suite: str, tests: type, fixtures: type[Fixtures]) -> None:
    name = f"Test{store}{suite}"
    globals()[name] = type(name, (fixtures, tests), {"__module__": __name__})


for _suite, _tests in SUITES.items():
    for _store, _fixtures in STORES.items():
        _add(_store, _suite, _tests, _fixtures)
    if _names := LISTED_AFTER_REMOVAL.get(_suite):
        _add("Moto", _suite, type("_", (), {_name: getattr(_tests, _name) for _name in _names}), MotoFixtures)
