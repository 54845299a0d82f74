"""What the writing side of the client relies on, asked of the scripted server and of a real one alike."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from cloudfiles_hypha.backends.hypha.commits import Seen, seen_in
from cloudfiles_hypha.devserver.server import DevServer
from tests.support.fake_hypha import FakeHypha

_numbers = itertools.count()


class Manager:
    """The artifact manager of one server, and one artifact on it with the files ``a`` and ``b`` in ``v0``."""

    def __init__(self, url: str, token: str | None, workspace: str) -> None:
        self._url = url
        self._token = token
        self.artifact = f"{workspace}/contract-{next(_numbers)}"
        self.created = seen_in(
            self.call("create", alias=self.artifact, type="generic", manifest={"name": "contract"}, stage=True)
        )
        self.put("a", b"old a")
        self.put("b", b"old b")
        self.committed = seen_in(self("commit"))

    def call(self, method: str, **arguments: Any) -> Any:
        """The answer to a call; a refusal raises ``AssertionError`` with what the server said."""
        answer = requests.post(
            f"{self._url}/public/services/artifact-manager/{method}",
            json=arguments,
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    def __call__(self, method: str, **arguments: Any) -> Any:
        return self.call(method, artifact_id=self.artifact, **arguments)

    def put(self, path: str, body: bytes) -> None:
        """Register and upload a file."""
        url = self("put_file", file_path=[path])[path]
        assert requests.put(url, data=body, timeout=60).status_code == 200

    def get(self, path: str, **arguments: Any) -> bytes:
        """What is stored under a name."""
        return requests.get(self("get_file", file_path=path, **arguments), timeout=60).content

    def look(self) -> Seen:
        """What is staged."""
        return seen_in(self("read", version="stage", silent=True))


@pytest.fixture(scope="module", params=["fake", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str | None, str]]:
    if request.param == "fake":
        with FakeHypha(workspace="ws") as hypha:
            yield hypha.url, hypha.token, "ws"
    elif not os.environ.get("CLOUDFILES_HYPHA_SERVER_PYTHON"):
        pytest.skip("needs CLOUDFILES_HYPHA_SERVER_PYTHON, the Python that has Hypha")
    else:
        with DevServer(workspace="contract") as real:
            yield real.server_url, real.token, "contract"


@pytest.fixture
def manager(server: tuple[str, str | None, str]) -> Manager:
    return Manager(*server)


def test_an_artifact_that_is_created_staged_has_no_version_and_makes_one(manager: Manager) -> None:
    assert (manager.created.staged, manager.created.names, manager.created.versions) == (True, frozenset(), ())
    assert manager.created.new_version
    assert (manager.committed.versions, manager.committed.staged) == (("v0",), False)


def test_the_answers_to_read_and_edit_tell_the_same(manager: Manager) -> None:
    before = manager.look()
    opened = seen_in(manager("edit", stage=True))
    assert (before.staged, opened.staged, opened.new_version) == (False, True, False)
    assert opened == manager.look()
    assert (opened.key, opened.versions, opened.described) == (before.key, before.versions, before.described)
    assert opened.key
    assert opened.stamp is not None
    assert before.stamp is not None
    assert opened.stamp >= before.stamp


def test_staging_again_keeps_what_is_staged_and_tells_it(manager: Manager) -> None:
    manager("edit", stage=True, version="new")
    manager.put("x", b"x")
    again = seen_in(manager("edit", stage=True))
    assert (again.uploads, again.new_version) == ({"x"}, True)


def test_registering_names_leaves_the_time_of_staging_as_it_is(manager: Manager) -> None:
    opened = seen_in(manager("edit", stage=True))
    manager.put("x", b"x")
    manager("remove_file", file_path="a")
    now = manager.look()
    assert (now.stamp, now.uploads, now.removals) == (opened.stamp, {"x"}, {"a"})


def test_a_manifest_that_is_staged_is_told_before_it_is_committed(manager: Manager) -> None:
    opened = seen_in(manager("edit", stage=True))
    manager("edit", stage=True, manifest={"name": "another"})
    assert manager.look().described != opened.described


def test_a_name_without_an_object_stops_the_commit_and_all_stays_staged(manager: Manager) -> None:
    manager("edit", stage=True)
    manager.put("x", b"x")
    manager("put_file", file_path=["ghost"])
    with pytest.raises(AssertionError, match=r"FileNotFoundError.*ghost"):
        manager("commit")
    assert manager.look().uploads == {"x", "ghost"}
    manager("remove_file", file_path="ghost")
    assert seen_in(manager("commit")).staged is False
    assert manager.get("x") == b"x"


def test_a_name_that_has_a_committed_object_does_not(manager: Manager) -> None:
    manager("edit", stage=True)
    manager("put_file", file_path=["a"])
    manager("commit")
    assert manager.get("a") == b"old a"


def test_removing_a_file_twice_undoes_it_and_deletes_the_file(manager: Manager) -> None:
    manager("edit", stage=True)
    manager("remove_file", file_path="a")
    assert (manager.look().removals, manager.get("a")) == ({"a"}, b"old a")
    manager("remove_file", file_path="a")
    assert manager.look().names == frozenset()
    with pytest.raises(AssertionError, match="FileNotFoundError"):
        manager("get_file", file_path="a")


def test_a_version_name_is_ignored_by_an_edit_in_place_and_refused_when_it_is_taken(manager: Manager) -> None:
    manager("edit", stage=True)
    manager.put("x", b"x")
    assert seen_in(manager("commit", version="named")).versions == ("v0",)
    manager("edit", stage=True, version="new")
    manager.put("x", b"x")
    with pytest.raises(AssertionError, match="already exists"):
        manager("commit", version="v0")
    assert seen_in(manager("commit", version="named")).versions == ("v0", "named")


@pytest.mark.parametrize("method", ["commit", "put_file", "remove_file"])
def test_without_staging_a_write_is_refused(manager: Manager, method: str) -> None:
    arguments = {} if method == "commit" else {"file_path": "a"}
    with pytest.raises(AssertionError, match="staging mode"):
        manager(method, **arguments)


def test_discarding_an_edit_in_place_restores_files_and_drops_new_ones(manager: Manager) -> None:
    manager("edit", stage=True)
    manager.put("a", b"new a")
    manager.put("x", b"x")
    assert manager.get("a") == b"new a"
    manager("discard")
    assert (manager.get("a"), manager.look().staged) == (b"old a", False)
    with pytest.raises(AssertionError, match="FileNotFoundError"):
        manager("get_file", file_path="x")
    with pytest.raises(AssertionError, match="No staged changes"):
        manager("discard")
