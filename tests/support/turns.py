"""Clients of one scripted server that take turns call by call, in every order that there is.

Each client is a greenlet that stops before each of its requests; ``every_order`` runs them again and again, each time
in another order, and may let one answer, or one request, get lost. No sockets, threads or pauses: each run is a plain
function of its order, so one that fails can be run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import greenlet

from cloudfiles_hypha.errors import ConnectionFailed, TransferError
from cloudfiles_hypha.transports import HttpRequest, HttpResponse

from .fake_hypha import BUCKET, SERVICE, FakeHypha
from .object_server import Request

T = TypeVar("T")

ATTEMPTS = 3
# What may happen to a call: it goes well; its answer is lost; it never arrives.
DONE, ANSWER_LOST, REQUEST_LOST = "done", "answer lost", "request lost"


@dataclass(eq=False)
class Client:
    """One client: what it runs, where it stands, and how it has ended."""

    name: str
    runs: Callable[[Client], object]
    losing: tuple[str, ...] = ()  # methods whose answers and requests may get lost
    pending: str = ""  # the call it stops before
    last: str = ""  # the call it made last
    error: Exception | None = None
    done: bool = False
    body: greenlet.greenlet | None = None
    locks: dict[str, Any] = field(default_factory=dict)

    def stop(self, call: str) -> str:
        """Let others go first; what is to become of the call."""
        self.pending = call
        assert self.body is not None
        fate: str = self.body.parent.switch()
        self.last = call
        return fate

    # -- ``Control``

    over = False

    def lingers(self) -> bool:
        """Nobody has a file open."""
        return False

    def retry(self, attempt: Callable[[], T]) -> T:
        """A few attempts, without a pause but for others' turns."""
        for left in reversed(range(ATTEMPTS)):
            try:
                return attempt()
            except TransferError as error:
                if not error.retryable or not left:
                    raise
            self.stop("pause")
        raise AssertionError

    def check(self) -> None:
        """Never given up."""

    def sleep(self, seconds: float) -> None:
        """Others' turn."""
        self.stop("pause")

    def lock(self, name: str) -> AbstractContextManager[object]:
        """Its own: each client is a process."""
        return self.locks.setdefault(name, threading.RLock())

    def flag(self) -> threading.Event:
        """Nobody waits for it."""
        return threading.Event()

    def map(self, function: Callable[[T], Any], items: Sequence[T], at_once: int) -> Iterator[Any]:
        """One after the other."""
        return map(function, items)


class Direct:
    """A transport without a network: each request is a turn of its client, and a call of the server's methods."""

    def __init__(self, world: World, client: Client) -> None:
        self._world = world
        self._client = client

    def send(self, request: HttpRequest) -> HttpResponse:
        parts = urlsplit(request.url)
        path = unquote(parts.path).removeprefix("/")
        call = path.removeprefix(SERVICE) if path.startswith(SERVICE) else request.method
        fate = self._client.stop(call)
        headers = {name.lower(): value for name, value in request.headers}
        body = bytes(request.body) if isinstance(request.body, bytes | memoryview) else b""
        headers["content-length"] = str(len(body))
        asked = Request(request.method, path, parts.query, headers, body)
        if fate == REQUEST_LOST:
            raise ConnectionFailed(f"{call}: the request was lost")
        answer = self._world.answer(self._client, call, asked)
        if fate == ANSWER_LOST:
            raise ConnectionFailed(f"{call}: the answer was lost")
        lines = [f"{name}: {value}\r\n".encode() for name, value in answer.headers.items()]
        return HttpResponse(answer.status, bytes(answer.body), lines)

    def aborting(self, threads: object) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        pass


class World:
    """One server, its clients, and a note of what went wrong between them."""

    def __init__(self) -> None:
        self.hypha = FakeHypha(token=None)
        self.hypha.now = lambda: 0  # type: ignore[method-assign] -- all within one second: what helps least
        self.clients: list[Client] = []
        self.wrong: set[tuple[str, ...]] = set()
        self.log: list[tuple[str, str]] = []

    def answer(self, client: Client, call: str, request: Request) -> Any:
        """Carry out one request; subclasses look at what it changes."""
        self.log.append((client.name, call))
        if request.path.startswith(BUCKET):
            return self.hypha.store.respond(request)
        return self.hypha.respond(request)

    def meanwhile(self, client: Client) -> str:
        """The window: the latest two calls of ``client``, with dots between them if others changed something then."""
        between = ""
        for name, call in reversed(self.log[:-1]):
            if name == client.name:
                return f"{call} {between}{self.log[-1][1]}"
            if call not in ("read", "list_files", "get_file"):
                between = "... "
        return self.log[-1][1]


Option = tuple[int, str]


def run(world: World, order: Sequence[Option]) -> list[tuple[Option, list[Option]]]:
    """Run the clients in this order, and after its end each as far as it goes: each choice, with what it was among."""
    lost = False
    chosen: list[tuple[Option, list[Option]]] = []
    for client in world.clients:
        _start(client)
    last = 0
    while True:
        waiting = [number for number, client in enumerate(world.clients) if not client.done]
        if not waiting:
            return chosen
        options = [(number, DONE) for number in sorted(waiting, key=lambda number: number != last)]
        if not lost:
            options += [
                (number, fate)
                for number in waiting
                for fate in (ANSWER_LOST, REQUEST_LOST)
                if world.clients[number].pending in world.clients[number].losing
            ]
        option = order[len(chosen)] if len(chosen) < len(order) else options[0]
        chosen.append((option, options))
        last, fate = option
        lost = lost or fate != DONE
        body = world.clients[last].body
        assert body is not None
        body.switch(fate)


def _start(client: Client) -> None:
    def body() -> None:
        try:
            client.runs(client)
        except Exception as error:  # noqa: BLE001 -- how it ended
            client.error = error
        client.done = True

    client.body = greenlet.greenlet(body)
    client.body.switch()


def every_order(make: Callable[[], World], *, switches: int) -> Iterator[tuple[World, list[Option]]]:
    """Each world that ``make`` gives, run to its end in another order: all those in which the turn goes to another
    client, while the one whose turn it is could go on, at most so many times."""
    todo: list[list[Option]] = [[]]
    while todo:
        order = todo.pop()
        world = make()
        chosen = run(world, order)
        options = [option for option, _ in chosen]
        yield world, options
        for at in range(len(order), len(chosen)):
            option, among = chosen[at]
            todo += [
                [*options[:at], other]
                for other in among
                if other != option and _switches(chosen[:at], other, among) <= switches
            ]


def _switches(chosen: Sequence[tuple[Option, list[Option]]], following: Option, among: list[Option]) -> int:
    """How often the turn went to another client that did not have to."""
    count, last = 0, None
    for (number, _), options in [*chosen, (following, among)]:
        count += last is not None and number != last and any(other == last for other, _ in options)
        last = number
    return count
