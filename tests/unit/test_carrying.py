"""What the transports promise beyond their contract: within a process that forks, opens much, and calls back."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pycurl
import pytest
import requests
import responses

from cloudfiles_hypha import (
    ArtifactFiles,
    Cancelled,
    ConnectionFailed,
    ObjectNotFound,
    RetryPolicy,
    Timeouts,
    TransferError,
)
from cloudfiles_hypha.engine.carriers import Carrier, Crew, Fleet
from cloudfiles_hypha.models import Body
from cloudfiles_hypha.transports import HttpRequest, HttpResponse, Take, Transport, open_transport
from cloudfiles_hypha.transports.curl import loop as loops
from cloudfiles_hypha.transports.curl.loop import MultiLoop
from cloudfiles_hypha.transports.curl.transport import CurlTransport
from cloudfiles_hypha.transports.requests import RequestsTransport
from tests.support import object_server as faults
from tests.support.object_server import ObjectServer
from tests.support.transports import KINDS

BODY = bytes(range(256)) * 4 * 1024  # 1 MiB
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=KINDS)
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    transport = KINDS[request.param](Timeouts(5, 5))
    yield transport
    transport.close()


# --- What libcurl cannot make ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["curl", "carried", "green"])
@pytest.mark.parametrize("what", ["Curl", "CurlMulti"])
def test_a_process_that_has_run_out_of_descriptors_is_told_so(
    object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, kind: str, what: str
) -> None:
    object_server.put("a", BODY)
    transport = KINDS[kind](Timeouts(5, 5))

    def refused() -> Any:
        raise pycurl.error(f"initializing {what} failed")

    with monkeypatch.context() as patched:
        patched.setattr(pycurl, what, refused)
        with pytest.raises(TransferError, match="run out of file descriptors") as told:
            transport.send(HttpRequest("GET", object_server.url_for("a")))
        assert type(told.value) is TransferError
    assert transport.send(HttpRequest("GET", object_server.url_for("a"))).body == BODY
    transport.close()


SCARCE = """
import os, resource, sys
from cloudfiles_hypha import ArtifactFiles, RetryPolicy

open_now = len(os.listdir("/dev/fd"))
ended = set()
for spare in range(24):
    with ArtifactFiles(sys.argv[1], num_threads=4, retry=RetryPolicy(attempts=1)) as cf:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + spare, 4096))
        try:
            ended.update(type(result["error"]) for result in cf.get(["a"] * 8, raise_errors=False))
            cf.get("a")
        except OSError as error:
            ended.add(type(error))
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        assert cf.get("a")
assert all(kind is type(None) or issubclass(kind, OSError) for kind in ended), ended
"""


def test_whatever_a_process_is_short_of_descriptors_for_is_an_error_of_the_system(object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    done = run(SCARCE, object_server.url)
    assert done.returncode == 0, done.stderr


# --- Readers and sinks that make requests of their own --------------------------------------------------------------


class Asking(Body):
    """A body that fetches each of its blocks from a server."""

    def __init__(self, transport: Transport, url: str, size: int) -> None:
        self._transport, self._url = transport, url
        self.size = size
        self._at = 0

    def open(self) -> Any:
        self._at = 0
        return self

    def read(self, count: int = -1) -> bytes:
        stop = min(self.size, self._at + min(count, 100_000))
        if stop == self._at:
            return b""
        headers = (("Range", f"bytes={self._at}-{stop - 1}"),)
        self._at = stop
        return self._transport.send(HttpRequest("GET", self._url, headers)).body

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset
        return offset

    def close(self) -> None:
        pass


def test_a_reader_may_make_requests_with_the_transport_that_sends_it(
    transport: Transport, object_server: ObjectServer
) -> None:
    object_server.put("a", BODY)
    body = Asking(transport, object_server.url_for("a"), len(BODY))
    assert transport.send(HttpRequest("PUT", object_server.url_for("b"), body=body)).status == 200  # type: ignore[arg-type]
    assert object_server.objects["b"].body == BODY


@pytest.mark.parametrize("where", ["begin", "take"])
def test_what_a_sink_raises_ends_the_transfer_and_is_raised_as_it_is(
    transport: Transport, object_server: ObjectServer, where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    object_server.put("a", BODY)

    def raising(_: object) -> Any:
        raise LookupError(where)

    sink = raising if where == "begin" else lambda response: raising
    for _ in range(2):
        with pytest.raises(LookupError, match=where):
            transport.send(HttpRequest("GET", object_server.url_for("a"), sink=sink))
    assert transport.send(HttpRequest("GET", object_server.url_for("a"))).body == BODY
    assert capfd.readouterr() == ("", "")


def test_what_fails_in_a_callback_of_libcurl_is_raised_and_not_printed(
    object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    object_server.put("a", BODY)
    transport = CurlTransport(Timeouts(5, 5))

    def failing(descriptor: int) -> Any:
        raise MemoryError("no room for it")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", failing)
        with pytest.raises(MemoryError, match="no room"):
            transport.send(HttpRequest("GET", object_server.url_for("a")))
    with monkeypatch.context() as patched:
        patched.setattr(MultiLoop, "_register", lambda *_: failing(0))
        with pytest.raises(MemoryError, match="no room"):
            transport.send(HttpRequest("GET", object_server.url_for("a")))
    assert transport.send(HttpRequest("GET", object_server.url_for("a"))).body == BODY
    transport.close()
    assert capfd.readouterr() == ("", "")


def test_a_failed_transfer_leaves_no_garbage_cycle(transport: Transport, object_server: ObjectServer) -> None:
    object_server.put("a", BODY, faults=[faults.Always(faults.Drop(after_bytes=5000))])
    if not isinstance(transport, CurlTransport):
        pytest.skip("exceptions of other libraries hold their own frames")

    class Marked(Exception):
        pass

    def sink(response: HttpResponse) -> Take:
        raise Marked

    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with pytest.raises(Marked):
                transport.send(HttpRequest("GET", object_server.url_for("a"), sink=sink))
        assert not [thing for thing in gc.get_objects() if type(thing) is Marked]
    finally:
        gc.enable()


# --- Owners ---------------------------------------------------------------------------------------------------------


def test_the_connections_of_one_owner_are_closed_and_those_of_another_are_kept(object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    loop = MultiLoop()
    first, second = CurlTransport(Timeouts(5, 5)), CurlTransport(Timeouts(5, 5))

    class Carrying:
        perform = staticmethod(loop.run)

    loops.here.carrier = Carrying()  # type: ignore[assignment]
    try:
        for transport in (first, second, first, second):
            assert transport.send(HttpRequest("GET", object_server.url_for("a"))).body == BODY
        assert object_server.connections == 2
        loop.drop(first._pool)
        object_server.wait_for_connections(1)
        second.send(HttpRequest("GET", object_server.url_for("a")))
        assert object_server.connections == 2
        first.send(HttpRequest("GET", object_server.url_for("a")))
        assert object_server.connections == 3
    finally:
        loops.here.carrier = None
        loop.close()
        first.close()
        second.close()


# --- Descriptors and forks ------------------------------------------------------------------------------------------

MANY = """
import os, resource, sys
from cloudfiles_hypha import ArtifactFiles
from cloudfiles_hypha.transports.curl.loop import MultiLoop

turns = 0
turn = MultiLoop.turn
def counted(self, timeout):
    global turns
    turns += 1
    return turn(self, timeout)
MultiLoop.turn = counted

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if hard != resource.RLIM_INFINITY and hard < 2100:
    sys.exit("few descriptors allowed")
resource.setrlimit(resource.RLIMIT_NOFILE, (2100, hard))
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1500)]
with ArtifactFiles(sys.argv[1], num_threads=int(sys.argv[2])) as files:
    assert files.get("a") == b"x" * 100
    assert [result["content"] for result in files.get(["a"] * 5)] == [b"x" * 100] * 5
print(turns)
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=40,
        env=environment,
    )


@pytest.mark.parametrize("threads", ["0", "3"])
def test_more_than_a_thousand_open_descriptors_cause_neither_errors_nor_a_busy_loop(
    object_server: ObjectServer, threads: str
) -> None:
    object_server.put("a", b"x" * 100, faults=[faults.Delay(0.3)])
    done = run(MANY, object_server.url, threads)
    if "few descriptors allowed" in done.stderr:
        pytest.skip("the system allows too few descriptors")
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < 200


FORKING = """
import os, signal, sys, time
from cloudfiles_hypha import Timeouts
from cloudfiles_hypha.transports import HttpRequest
from cloudfiles_hypha.transports.curl.loop import MultiLoop
from cloudfiles_hypha.transports.curl.transport import CurlTransport

turns = 0
turn = MultiLoop.turn
def counted(self, timeout):
    global turns
    turns += 1
    return turn(self, timeout)
MultiLoop.turn = counted

url = sys.argv[1]
transport = CurlTransport(Timeouts(5, 5))
get = lambda path: transport.send(HttpRequest("GET", url + path)).status
assert get("/a") == 200
child = os.fork()
if not child:
    signal.pause()  # alive, and with the parent's sockets open
try:
    for _ in range(3):
        assert get("/close") == 200  # and the connection is closed by both
        assert get("/a") == 200
        time.sleep(0.05)
    before = turns
    assert get("/slow") == 200
    print(turns - before)
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_sockets_that_a_forked_child_has_too_do_not_keep_the_parent_busy(object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    object_server.put("close", BODY, faults=[faults.Always(faults.Unmeasured())])
    object_server.put("slow", b"x", faults=[faults.Delay(0.5)])
    object_server.latency = 0.02  # so that sockets are waited for, and lie in the epoll
    done = run(FORKING, object_server.url)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20


def test_a_number_used_again_is_not_taken_for_the_socket_that_a_child_still_has() -> None:
    """The fork comes between two turns: not yet noticed when the old socket is closed and a new one gets its number."""
    loop = MultiLoop()
    reading, writing = os.pipe()
    loop._register(reading, loops.READ)
    loops._note_fork()
    kept = os.dup(reading)  # what the child would have
    os.close(reading)
    os.write(writing, b"!")
    again = os.pipe()
    assert again[0] == reading
    loop._forget(reading)  # as libcurl opens it
    assert loop.rebuilt == 1
    loop.watch_descriptor(reading, lambda: pytest.fail("told of another one's bytes"))
    assert loop.turn(0) == []
    loop.close()
    for descriptor in (writing, kept, *again):
        os.close(descriptor)


class _Unclosable:
    """A loop that fails when it is closed, by when two files have been opened."""

    def __init__(self) -> None:
        self.closed = 0
        self.opened: tuple[int, ...] = ()

    def watch_descriptor(self, descriptor: int, readable: Callable[[], object]) -> None:
        pass

    def forget_descriptor(self, descriptor: int) -> None:
        pass

    def turn(self, timeout: float | None) -> list[Any]:
        return []

    def close(self) -> None:
        self.closed += 1
        if self.closed == 1:
            self.opened = os.pipe()
            raise OSError("it does not close")


def test_a_carrier_that_fails_in_ending_closes_its_descriptors_once() -> None:
    loop = _Unclosable()
    carrier = Carrier(cast(MultiLoop, loop), threading.RLock(), lambda carrier, loop: False)
    carrier.end()
    carrier.thread.join(20)
    assert (carrier.thread.is_alive(), loop.closed) == (False, 2)
    assert loop.opened == (carrier._wake_read, carrier._wake_write)  # the numbers are used again
    for descriptor in loop.opened:
        os.fstat(descriptor)
        os.close(descriptor)


def test_an_epoll_that_holds_what_cannot_be_taken_out_is_replaced(object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    loop = MultiLoop()
    loops._note_fork()  # as if a child had what follows
    loop.turn(0)
    pipe = os.pipe()
    reading, writing = os.pipe()
    kept = os.dup(reading)  # what the child would have
    loop._poll.register(reading, loops.READ)
    os.close(reading)
    os.write(writing, b"!")
    woken: list[bytes] = []
    loop.watch_descriptor(pipe[0], lambda: woken.append(os.read(pipe[0], 10)))
    number = loop.fileno()
    loop.turn(0)  # is told of a descriptor that is gone
    assert (loop.rebuilt, loop.fileno()) == (1, number)
    assert loop.turn(0) == []
    os.write(pipe[1], b"still watched")
    loop.turn(0)
    assert (loop.rebuilt, b"".join(woken)) == (1, b"still watc")
    loop.forget_descriptor(pipe[0])
    loop.close()
    for descriptor in (writing, kept, *pipe):
        os.close(descriptor)


@pytest.mark.parametrize("after", ["add", "remove"])
def test_ctrl_c_while_a_transfer_is_added_or_removed_leaves_the_transport_usable(
    object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    object_server.put("a", b"x")
    transport = CurlTransport(Timeouts(5, 5))
    url = object_server.url_for("b")
    body = Asking(transport, object_server.url_for("a"), 1)  # such a body is sent by a loop
    real = getattr(MultiLoop, after)

    def interrupted(loop: MultiLoop, handle: object) -> None:
        monkeypatch.undo()
        real(loop, handle)
        raise KeyboardInterrupt

    monkeypatch.setattr(MultiLoop, after, interrupted)
    with pytest.raises(KeyboardInterrupt):
        transport.send(HttpRequest("PUT", url, body=body))  # type: ignore[arg-type]
    for _ in range(3):
        assert transport.send(HttpRequest("PUT", url, body=body)).status == 200  # type: ignore[arg-type]
    transport.close()


# --- The threads that carry transfers ---------------------------------------------------------------------------------


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Carriers of the test's own, in use."""
    fleet = Fleet()
    fleet.lease()
    yield fleet
    fleet.release(wait=True)


def carry(fleet: Fleet, target: Callable[[], object]) -> Carrier:
    """Have ``target`` done by the first carrier, and wait for that; the carrier."""
    done = threading.Event()
    crew = Crew(lambda error: None)
    fleet.spawn(0, crew, lambda: (target(), done.set()))
    assert done.wait(5)
    carrier = fleet.first()
    assert carrier is not None
    return carrier


def test_a_carrier_that_wakes_without_anything_to_do_goes_on_waiting(fleet: Fleet) -> None:
    carrier = carry(fleet, lambda: None)
    for _ in range(5):
        woken = threading.Event()
        os.write(carrier._wake_write, b"!")  # as libcurl's own timers do: nothing is called
        time.sleep(0.02)
        carrier.call(woken.set)
        assert woken.wait(5)
    assert fleet.first() is carrier


def test_connections_are_dropped_also_while_their_carrier_ends(
    fleet: Fleet, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_server.put("a", b"content")
    transport = CurlTransport(Timeouts(5, 5))
    carrier = carry(fleet, lambda: transport.send(HttpRequest("GET", object_server.url_for("a"))))
    loop = carrier._loop
    assert transport.owner in loop._companies
    dropping = threading.Thread(target=fleet.drop, args=(transport.owner,), kwargs={"wait": False})
    forget = loop.forget_descriptor

    def forget_and_be_late(descriptor: int) -> None:
        forget(descriptor)
        dropping.start()
        dropping.join(0.2)  # which finds no carrier any more, and must find its loop

    monkeypatch.setattr(loop, "forget_descriptor", forget_and_be_late)
    fleet.retire(5)
    dropping.join(5)
    assert transport.owner not in loop._companies
    transport.close()


def test_a_loop_is_at_hand_for_the_next_carrier_as_soon_as_one_has_ended(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = carry(fleet, lambda: None)
    loop = carrier._loop
    found: list[MultiLoop] = []
    starting = threading.Thread(target=lambda: found.append(carry(fleet, lambda: None)._loop))
    forget = loop.forget_descriptor

    def forget_and_be_late(descriptor: int) -> None:
        monkeypatch.undo()
        forget(descriptor)
        starting.start()
        starting.join(0.2)

    monkeypatch.setattr(loop, "forget_descriptor", forget_and_be_late)
    fleet.retire(5)
    starting.join(5)
    assert found == [loop]


# --- A session of the user's ----------------------------------------------------------------------------------------

QUICK = RetryPolicy(attempts=2, first=0.001, longest=0.001)


@responses.activate
def test_a_session_sees_what_the_responses_library_fakes() -> None:
    responses.get("http://files.example/a", body=b"faked", headers={"ETag": '"x"', "Content-Length": "5"})
    responses.get("http://files.example/b", status=404)
    with ArtifactFiles("http://files.example", session=requests.Session(), retry=QUICK, num_threads=2) as files:
        (result,) = files.get(["a"])
        assert (result["content"], result["etag"], result["verified"]) == (b"faked", "x", "length")
        with pytest.raises(ObjectNotFound):
            files.get("b")
        with pytest.raises(ConnectionFailed):
            files.get("not registered")
        into = bytearray(5)
        files.get({"path": "a", "into": into})
        assert into == b"faked"


ANSWERED: list[int] = []


def note_answer(response: requests.Response, **_: object) -> None:
    ANSWERED.append(response.status_code)


def test_a_users_session_keeps_its_headers_its_hooks_and_stays_open(object_server: ObjectServer) -> None:
    object_server.put("a", BODY)
    ANSWERED.clear()
    with requests.Session() as session:
        session.headers["X-Odd"] = "1"
        session.hooks["response"].append(note_answer)
        with ArtifactFiles(object_server.url, session=session, retry=QUICK, num_threads=3) as files:
            assert [result["content"] for result in files.get(["a"] * 4)] == [BODY] * 4
            copy = pickle.loads(pickle.dumps(files))
            assert copy.get("a") == BODY
            copy.close()
            copy._transport._given.close()
        assert session.get(object_server.url_for("a")).content == BODY
        assert ANSWERED == [200] * 6
    assert {request.headers["x-odd"] for request in object_server.requests} == {"1"}


def test_a_sessions_own_authorization_goes_to_no_other_host(object_server: ObjectServer) -> None:
    with ObjectServer(reject_authorization=True) as other, requests.Session() as session:
        session.auth = ("user", "password")
        session.headers["Authorization"] = "Bearer x"
        other.put("b", BODY)
        object_server.fault("a", faults.Redirect(other.url_for("b")))
        transport = RequestsTransport(Timeouts(5, 5), session)
        assert transport.send(HttpRequest("GET", object_server.url_for("a"), follow=True)).body == BODY
        assert "authorization" in object_server.requests[0].headers


def test_nothing_is_looked_up_in_a_netrc_for_a_session_of_our_own(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    object_server.put("a", BODY)
    transport = RequestsTransport(Timeouts(5, 5))
    transport.send(HttpRequest("GET", object_server.url_for("a"), (("Authorization", "Bearer x"),)))
    transport.send(HttpRequest("GET", object_server.url_for("a")))
    transport.close()
    assert [request.headers.get("authorization") for request in object_server.requests] == ["Bearer x", None]


def test_an_answer_of_a_users_session_is_broken_off_while_it_is_read(object_server: ObjectServer) -> None:
    object_server.put("a", BODY, faults=[faults.Trickle(bytes_per_second=1000)])
    with requests.Session() as session:
        transport = RequestsTransport(Timeouts(5, 30), session)
        begun, ended = threading.Event(), []

        def sink(response: HttpResponse) -> Take:
            begun.set()
            return lambda block: None

        def work() -> None:
            with pytest.raises(Cancelled):
                transport.send(HttpRequest("GET", object_server.url_for("a"), sink=sink))
            ended.append(True)

        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(10)
        assert thread.ident is not None
        with transport.aborting([thread.ident]):
            thread.join(10)
    assert ended == [True]


def test_a_session_and_another_transport_are_refused_together() -> None:
    with requests.Session() as session:
        with pytest.raises(ValueError, match="session"):
            open_transport("curl", Timeouts(), green=False, session=session)
        assert isinstance(open_transport("auto", Timeouts(), green=False, session=session), RequestsTransport)
    with pytest.raises(ValueError, match="'requests'"):
        open_transport("telnet", Timeouts(), green=False)
