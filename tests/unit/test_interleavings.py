"""Two clients write to one artifact, in every order of their calls: what may never happen, and the windows that the
server leaves open all the same (docs/hypha.md names them)."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import ServerError, StagedWarning, WithdrawnWarning
from cloudfiles_hypha.backends.hypha import commits, locate
from cloudfiles_hypha.backends.hypha.backend import HyphaBackend
from cloudfiles_hypha.backends.hypha.manager import ArtifactManager
from cloudfiles_hypha.credentials import Access, Routes
from cloudfiles_hypha.errors import TransferError
from cloudfiles_hypha.models import PutRequest
from cloudfiles_hypha.plan.batches import BatchSizes
from cloudfiles_hypha.transports import HttpRequest, HttpResponse
from tests.support.object_server import Request, Response
from tests.support.turns import DONE, Client, Direct, World, every_order

OLD = {"a": b"old a", "b": b"old b"}
CHANGING = ("edit", "put_file", "remove_file", "commit", "discard")


class Watched(World):
    """Notes whose names are staged and stored, and what a client does to another's."""

    def __init__(self) -> None:
        super().__init__()
        self.artifact = self.hypha.add_artifact("ws/a", OLD)
        self.registered: dict[str, set[str]] = {}  # who has staged which names, since the latest commit or discard
        self.stored: dict[str, tuple[str, bytes]] = {}  # by key: who uploaded it, and what
        self.broken: set[str] = set()  # uploads of these names fail
        self.at_the_end: Callable[[], None] = lambda: None
        self.published: dict[str, set[str]] = {}  # by version: whose files it was made of

    def answer(self, client: Client, call: str, request: Request) -> Response:
        if call == "PUT" and client.name == "ours" and request.path.rpartition("/")[2] in self.broken:
            self.log.append((client.name, call))
            return Response(500)
        artifact = self.hypha.artifacts.get("ws/a", self.artifact)
        before = len(artifact.versions)
        there = self._theirs(client)
        response: Response = super().answer(client, call, request)
        if response.status != 200:
            if call == "commit" and client.name == "theirs" and b"'a'" in bytes(response.body):
                self.wrong.add(("spoiled",))  # what they had uploaded is not where their commit looks for it
            return response
        if call == "PUT":
            self.stored[request.path] = (client.name, request.body)
        elif call in ("put_file", "remove_file"):
            paths = json.loads(request.body)["file_path"]
            self.registered.setdefault(client.name, set()).update([paths] if isinstance(paths, str) else paths)
        elif call == "commit" and client.name.startswith("ours"):
            theirs = set().union(*(names for name, names in self.registered.items() if name != client.name))
            if theirs - self.registered.get(client.name, set()):
                self.wrong.add(("published", self.meanwhile(client)))
        if call in ("commit", "discard"):
            if len(artifact.versions) > before:
                self.published[artifact.versions[-1]["version"]] = set(self.registered)
            self.registered.clear()
        if there - self._theirs(client):
            self.wrong.add(("deleted", self.meanwhile(client)))
        return response

    def _theirs(self, client: Client) -> set[str]:
        """What other clients have uploaded and is there, if this is one of ours."""
        held = self.hypha.store.objects
        return {
            key
            for key, (name, body) in self.stored.items()
            if client.name.startswith("ours") and name != client.name and key in held and held[key].body == body
        }


def ours(
    world: Watched,
    state: Path,
    *,
    create: bool = False,
    name: str = "ours",
    keep: bool = False,
    transport: type[Direct] = Direct,
) -> Callable[[Client], HyphaBackend]:
    """Opens the artifact as a client on a machine of its own."""

    def opened(client: Client) -> HyphaBackend:
        if not keep:
            shutil.rmtree(state / name, ignore_errors=True)  # of another order
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(state / name))
            sender: Any = transport(world, client)
            return HyphaBackend(
                locate("ws/a", "ws/a"), Access(world.hypha.url, None, "ws"), Routes(), sender, create=create
            )

    return opened


def put(backend: HyphaBackend, client: Client, items: dict[str, bytes]) -> None:
    """A batch, as the layer above makes it; raises what is wrong with any of it."""
    failure: Exception | None = None
    with backend.writing(client) as session:
        tickets = session.resolve(list(items), client, BatchSizes())
        for (path, body), ticket in zip(items.items(), tickets, strict=True):
            try:
                if isinstance(ticket, Exception):
                    raise ticket
                session.put(PutRequest(path, body), ticket)
            except TransferError as error:
                failure = error
                session.failed(path)
            else:
                session.succeeded(path)
    if session.lost:
        raise ServerError("lost", path=str(session.lost))
    if failure is not None:
        raise failure


class Raw:
    """Another kind of client: it looks at nothing, and does what it came for."""

    def __init__(self, world: Watched, client: Client) -> None:
        self._transport = Direct(world, client)
        self._client = client

    def __call__(self, method: str, **arguments: Any) -> Any:
        transport: Any = self._transport
        return ArtifactManager("http://127.0.0.1:0", None, transport).call(method, artifact_id="ws/a", **arguments)

    def put(self, path: str, body: bytes) -> None:
        url = self("put_file", file_path=path)
        self._transport.send(HttpRequest("PUT", url, (), body))


def explore(make: Callable[[], Watched], *, switches: int = 3) -> tuple[int, set[tuple[str, ...]]]:
    """Runs them all: how many there were, and what went wrong."""
    count = 0
    wrong: set[tuple[str, ...]] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error", StagedWarning)  # who is told that nothing is published has been told the truth
        for world, order in every_order(make, switches=switches):
            count += 1
            world.at_the_end()
            for what in world.wrong - wrong:
                print(what, order, world.log, *(client.error for client in world.clients), sep="\n  ")
            wrong |= world.wrong
    return count, wrong


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_COMMIT_PAUSE", 0.0)
    monkeypatch.setattr("cloudfiles_hypha.backends.hypha.opening._LOOKS", 2)
    monkeypatch.setattr(logging.getLogger("cloudfiles_hypha"), "disabled", True)


def check_readable(world: Watched, client: Client, version: str | None, items: dict[str, bytes]) -> None:
    """Note it if what was acknowledged to a client is not where readers find it."""
    try:
        files = world.hypha.files("ws/a", version)
    except Exception:  # noqa: BLE001 -- no such version
        files = {}
    if any(files.get(path) != body for path, body in items.items()):
        world.wrong.add(("not readable",))


# Another client's name that comes between our last look and the commit is published with ours: the server takes no
# expected state.
LAST_LOOK = {("published", "read ... commit")}


def raw_writer(world: Watched, *items: tuple[str, bytes], commits: bool = True) -> Callable[[Client], None]:
    """Stages, uploads, and commits."""

    def they(client: Client) -> None:
        raw = Raw(world, client)
        raw("edit", stage=True)
        for path, body in items:
            raw.put(path, body)
        if commits:
            raw("commit")

    return they


def our_writer(world: Watched, state: Path, items: dict[str, bytes], name: str = "ours") -> Callable[[Client], None]:
    """Puts, and looks whether that can be read."""

    def us(client: Client) -> None:
        put(ours(world, state, name=name)(client), client, items)
        check_readable(world, client, None, items)

    return us


def test_an_edit_in_place_publishes_nothing_of_another_client(tmp_path: Path) -> None:
    def make() -> Watched:
        world = Watched()
        us, they = our_writer(world, tmp_path, {"x": b"x"}), raw_writer(world, ("a", b"their a"))
        world.clients = [Client("ours", us, losing=CHANGING), Client("theirs", they)]
        return world

    count, wrong = explore(make)
    assert count > 500
    assert wrong == LAST_LOOK


def test_a_new_version_holds_nothing_of_another_client_and_its_name_never_goes_to_that(tmp_path: Path) -> None:
    def make() -> Watched:
        world = Watched()

        def us(client: Client) -> None:
            backend = ours(world, tmp_path)(client)
            with backend.staging.explicitly(client, version="mine", comment=None):
                put(backend, client, {"x": b"x"})
            check_readable(world, client, "mine", {"x": b"x"})

        they = raw_writer(world, ("a", b"their a"))
        world.clients = [Client("ours", us, losing=CHANGING), Client("theirs", they)]
        world.at_the_end = lambda: check_name(world)
        return world

    def check_name(world: Watched) -> None:
        if "ours" not in world.published.get("mine", {"ours"}):
            world.wrong.add(("named",))

    count, wrong = explore(make)
    assert count > 400
    # staged in place between our look and our call that begins a version, which then is what all that is staged is for
    assert wrong == LAST_LOOK | {("spoiled",)}


def test_what_another_client_uploads_under_the_name_of_our_failed_upload_is_not_deleted(tmp_path: Path) -> None:
    def make() -> Watched:
        world = Watched()
        world.broken = {"x"}
        us, they = our_writer(world, tmp_path, {"x": b"x", "z": b"z"}), raw_writer(world, ("x", b"their x"))
        world.clients = [Client("ours", us, losing=CHANGING), Client("theirs", they)]
        return world

    count, wrong = explore(make)
    assert count > 500
    # between the look that found nothing under the name and the call that drops it
    assert wrong == {("deleted", "get_file ... remove_file")}


def test_two_clients_on_two_machines_never_publish_a_mixture(tmp_path: Path) -> None:
    def make() -> Watched:
        world = Watched()
        us = our_writer(world, tmp_path, {"x": b"x"})
        others = our_writer(world, tmp_path, {"y": b"y"}, "ours too")
        world.clients = [Client("ours", us, losing=("edit", "commit")), Client("ours too", others)]
        return world

    count, wrong = explore(make)
    assert count > 500
    assert wrong == LAST_LOOK


def test_an_artifact_that_two_clients_create_is_published_by_one_of_them_at_a_time(tmp_path: Path) -> None:
    def make() -> Watched:
        world = Watched()
        del world.hypha.artifacts["ws/a"]
        clients = [("ours", {"x": b"x"}), ("ours too", {"y": b"y"})]

        def writer(name: str, items: dict[str, bytes]) -> Callable[[Client], None]:
            return lambda client: put(ours(world, tmp_path, create=True, name=name)(client), client, items)

        world.clients = [Client(name, writer(name, items), losing=("create",)) for name, items in clients]
        return world

    count, wrong = explore(make)
    assert count > 200
    assert wrong == LAST_LOOK


@pytest.mark.parametrize(
    ("path", "windows"),
    [
        ("x", set()),
        # an old file is there again: nothing is staged, as after our commit, of which no answer came
        ("a", {("not readable",)}),
    ],
)
def test_what_another_client_discards_is_not_reported_as_published(
    tmp_path: Path, path: str, windows: set[tuple[str, ...]]
) -> None:
    def make() -> Watched:
        world = Watched()
        us = our_writer(world, tmp_path, {path: b"new"})
        world.clients = [
            Client("ours", us, losing=CHANGING),
            Client("theirs", lambda client: Raw(world, client)("discard")),
        ]
        return world

    count, wrong = explore(make)
    assert count > 50
    assert wrong == windows


# --- A process that is killed ----------------------------------------------------------------------------------------


class Alone(Client):
    """Takes all its turns at once."""

    def stop(self, call: str) -> str:
        return DONE


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("create", [False, True], ids=["in place", "new artifact"])
@pytest.mark.parametrize("arrives", [False, True], ids=["before the call", "after the call"])
def test_a_writer_killed_at_any_call_leaves_nothing_that_keeps_its_rerun_from_being_published(
    tmp_path: Path, arrives: bool, create: bool
) -> None:
    class Fatal(Direct):
        """Kills the client at one of its calls."""

        def send(self, request: HttpRequest) -> HttpResponse:
            if len(self._world.log) == fatal:
                if arrives:
                    super().send(request)
                raise Killed
            return super().send(request)

    for fatal in range(20):
        world = Watched()
        if create:
            del world.hypha.artifacts["ws/a"]
        client = Alone("ours", lambda client: None)
        killed, ended = ours(world, tmp_path, create=create, transport=Fatal)(client), False
        try:
            put(killed, client, {"a": b"new a", "x": b"x"})
            ended = True
        except Killed:
            pass
        rerun = Alone("ours", lambda client: None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WithdrawnWarning)  # of "a", where that had not been uploaded
            put(ours(world, tmp_path, create=create, keep=True)(rerun), rerun, {"x": b"x", "y": b"y"})
        artifact = world.hypha.artifacts["ws/a"]
        assert (artifact.staging, len(artifact.versions)) == (None, 1)
        files = world.hypha.files("ws/a")
        assert (files["x"], files["y"]) == (b"x", b"y")
        assert artifact.file_count == len(files)
        if ended:
            assert fatal > 5
            return
    pytest.fail("it was never finished")
