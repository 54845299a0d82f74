"""libcurl's multi interface on an epoll of its own: many transfers in one thread.

libcurl says which sockets to watch and when to wake it (``curl_multi_socket_action`` in its documentation); a
``MultiLoop`` watches them. It knows nothing of who waits: ``gevent`` lets a hub watch the one descriptor that the epoll
is, carriers call ``turn`` in a loop. That costs half of what a watcher for each socket on gevent's own loop does
(measured: 65 against 135 us a request).

What a transfer wants to send is read between the turns, by whoever waits for it, so a reader that takes its time holds
up its own transfer only. What it brings goes to its sink at once: that is half of the work of waiting for it (measured:
0.85 against 1.25 s of CPU a GiB). So sinks are quick, and make no requests; a user's own code is none (``content``).
"""

from __future__ import annotations

import os
import select
import selectors
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import Any, Protocol

import pycurl

from .handle import CurlHandle, Outcome, keep_for_ever, made

READ, WRITE = 1, 4  # as epoll has them
# Seconds after which every transfer is looked at. libcurl (8.23, for one) does not always ask to be woken for a
# server that falls silent right after the request: its idle timeout would not even begin.
_LOOK = 1.0
_KEPT = 4096  # connections of one owner in one loop


class Carrier(Protocol):
    """Who runs a thread's transfers while their greenlets wait."""

    def perform(self, handle: CurlHandle) -> Outcome:
        """Run one transfer while other greenlets run (``MultiLoop.perform``); its libcurl code and message."""


class _Here(threading.local):
    carrier: Carrier | None = None


here = _Here()
"""``here.carrier`` is what requests of the current thread wait in; None lets the thread itself wait."""


class _PortablePoll:
    """What is used of ``select.epoll``, where there is none."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        return self._selector.fileno()

    def register(self, descriptor: int, mask: int) -> None:
        self._selector.register(descriptor, _to_events(mask))

    def modify(self, descriptor: int, mask: int) -> None:
        try:
            self._selector.modify(descriptor, _to_events(mask))
        except KeyError:
            raise FileNotFoundError(descriptor) from None

    def unregister(self, descriptor: int) -> None:
        try:
            self._selector.unregister(descriptor)
        except KeyError:
            raise FileNotFoundError(descriptor) from None

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        return [
            (key.fd, (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0))
            for key, events in self._selector.select(timeout)
        ]

    def close(self) -> None:
        self._selector.close()


def _to_events(mask: int) -> int:
    return (selectors.EVENT_READ if mask & READ else 0) | (selectors.EVENT_WRITE if mask & WRITE else 0)


def _open_poll() -> Any:
    """An epoll, also where gevent has hidden it from the program: what is asked of it here never blocks a hub."""
    monkey = sys.modules.get("gevent.monkey")
    try:
        return (select.epoll if monkey is None else monkey.get_original("select", "epoll"))()
    except AttributeError:
        return _PortablePoll()


_forks = 0  # of this process, since this was imported


def _note_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_note_fork)


class Company:
    """The transfers of one owner: a multi handle, and so connections, of their own."""

    __slots__ = ("handles", "multi", "owner", "wanted")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.multi = made(pycurl.CurlMulti)
        # Without a number libcurl keeps four for each transfer under way: those of a batch would be closed while the
        # next one begins with a few. What has been idle for two minutes is not used again in any case.
        self.multi.setopt(pycurl.M_MAXCONNECTS, _KEPT)
        self.handles: set[CurlHandle] = set()  # of the transfers that are under way
        self.wanted = True  # until it has been dropped


class MultiLoop:
    """The transfers of one thread, and the epoll that their sockets are in. Only ever used by one thread at a time.

    Each owner's transfers (``CurlHandle.owner``) keep their connections apart from those of the others, so that they
    can be closed by themselves.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.rebuilt = 0  # how often the epoll had to be replaced; ``fileno`` stays the same
        self._poll = _open_poll()
        self._companies: dict[object, Company] = {}
        self._forks = _forks
        self._watched: dict[int, Company] = {}  # descriptors that libcurl wants watched, and whose they are
        # What is in the epoll. A socket stays there when its transfer has ended, for the next one on the same
        # connection, which saves 2 us of 55 a request; closing it takes it out. But not once the process has forked:
        # as long as the child has the socket too, it stays in the epoll when we close it. So from then on it is taken
        # out at the end of each transfer.
        self._registered: dict[int, int] = {}  # descriptor -> mask
        self._lasting = True
        self._others: dict[int, Callable[[], object]] = {}
        self._asked: dict[Company, float] = {}  # when libcurl wants to be called
        self._streams: dict[pycurl.Curl, CurlHandle] = {}  # transfers that hand over bytes as they go
        self._under_way: set[CurlHandle] = set()  # a set, as all that an interruption may cut short is to be repeatable
        self._look = 0.0  # when all transfers are to be looked at again
        self._held: list[tuple[float, int, CurlHandle]] = []  # those that a limit has wait, and until when
        self._order = count()
        self._failure: BaseException | None = None  # what a callback has raised
        keep_for_ever(self)

    @property
    def due(self) -> float | None:
        """When (``time.monotonic``) ``turn`` is to be called at the latest; 0 for at once, None for whenever."""
        asked = min(self._asked.values()) if self._asked else None
        if self._held and (asked is None or self._held[0][0] < asked):
            asked = self._held[0][0]
        if not self._under_way:
            return asked
        return self._look if asked is None else min(asked, self._look)

    def fileno(self) -> int:
        """Readable when ``turn`` has something to do."""
        return int(self._poll.fileno())

    def watch_descriptor(self, descriptor: int, readable: Callable[[], object]) -> None:
        """Have ``turn`` call ``readable``, and return, when this one becomes readable."""
        self._others[descriptor] = readable
        self._poll.register(descriptor, READ)

    def forget_descriptor(self, descriptor: int) -> None:
        """Undo ``watch_descriptor``."""
        del self._others[descriptor]
        self._unregister(descriptor)

    # -- transfers --------------------------------------------------------------------------------------------

    def perform(self, handle: CurlHandle, wait: Callable[[], Outcome | None]) -> Outcome:
        """Run one transfer; its libcurl code and message.

        ``wait`` lets others go on until ``turn`` has named this transfer, and gives what it said. Readers and sinks are
        called here, between the waits; what they raise ends the transfer.
        """
        try:
            self.add(handle)
            if not handle.streams:
                outcome = wait()
            else:
                self._streams[handle.curl] = handle
                while True:
                    handle.exchange()
                    outcome = handle.outcome
                    if outcome is not None:
                        break
                    handle.parked = True
                    try:
                        wait()
                    finally:
                        handle.parked = False
            assert outcome is not None  # noqa: S101 -- of a transfer that streams nothing, only the end is told
            return outcome
        finally:
            self._streams.pop(handle.curl, None)
            self.remove(handle)

    def run(self, handle: CurlHandle) -> Outcome:
        """Run one transfer in a thread that carries nothing else; Ctrl-C comes through at once."""

        def wait() -> Outcome | None:
            while True:
                for curl, outcome in self.turn(None):
                    if curl is handle.curl:
                        return outcome

        return self.perform(handle, wait)

    def add(self, handle: CurlHandle) -> None:
        """Begin a transfer; ``turn`` will report its end."""
        company = self._companies.get(handle.owner)
        if company is None:
            company = self._companies[handle.owner] = self._found(handle.owner)
        if not self._under_way:
            self._look = monotonic() + _LOOK
        handle.company = company
        handle.opened = self._forget
        handle.hold = partial(self._hold, handle)
        company.handles.add(handle)
        self._under_way.add(handle)
        company.multi.add_handle(handle.curl)

    def remove(self, handle: CurlHandle) -> None:
        """Let go of a transfer, ended or not."""
        company = handle.company
        if company is None or self.pid != os.getpid():
            return
        company.handles.discard(handle)
        self._under_way.discard(handle)
        handle.opened = handle.hold = None
        with suppress(pycurl.error):  # whoever was interrupted had not added it yet; then it is not used again
            company.multi.remove_handle(handle.curl)
            handle.company = None
        if not company.wanted and not company.handles:
            self._close(company)

    def _hold(self, handle: CurlHandle, seconds: float) -> None:
        """Have a transfer go on later; within a moment if it is to be broken off."""
        heappush(self._held, (monotonic() + min(seconds, _LOOK), next(self._order), handle))

    def _release(self, now: float, moved: list[Company]) -> list[tuple[pycurl.Curl, Outcome]]:
        """Let those go on that have waited; what has ended by that."""
        ended: list[tuple[pycurl.Curl, Outcome]] = []
        while self._held and self._held[0][0] <= now:
            handle = heappop(self._held)[2]
            if handle.held and handle.company is not None and handle in self._under_way:
                outcome = handle.go_on()
                moved.append(handle.company)
                if outcome is not None:
                    ended.append((handle.curl, outcome))
        return ended

    def drop(self, owner: object) -> None:
        """Close the connections that transfers of this owner have left; those under way close theirs at their end."""
        company = self._companies.pop(owner, None)
        if company is not None and self.pid == os.getpid():
            company.wanted = False
            if not company.handles:
                self._close(company)

    def _found(self, owner: object) -> Company:
        company = Company(owner)

        watched, registered = self._watched, self._registered

        def watch(what: int, descriptor: int, multi: object, data: object) -> None:
            try:
                if what == pycurl.POLL_REMOVE:
                    watched.pop(descriptor, None)
                    if not self._lasting:
                        self._forget(descriptor)
                    return
                watched[descriptor] = company
                mask = (READ if what & pycurl.POLL_IN else 0) | (WRITE if what & pycurl.POLL_OUT else 0)
                if registered.get(descriptor) != mask:
                    self._register(descriptor, mask)
            except BaseException as error:  # noqa: BLE001 -- libcurl cannot pass it on: raised by ``turn``
                self._failure = error

        def wake_in(milliseconds: int) -> None:
            if milliseconds < 0:
                self._asked.pop(company, None)
            else:
                self._asked[company] = monotonic() + milliseconds / 1000 if milliseconds else 0.0

        company.multi.setopt(pycurl.M_SOCKETFUNCTION, watch)
        company.multi.setopt(pycurl.M_TIMERFUNCTION, wake_in)
        return company

    def _close(self, company: Company) -> None:
        company.multi.close()
        self._asked.pop(company, None)
        for descriptor in [descriptor for descriptor, whose in self._watched.items() if whose is company]:
            del self._watched[descriptor]
            self._forget(descriptor)

    # -- turns ------------------------------------------------------------------------------------------------

    def turn(self, timeout: float | None) -> list[tuple[pycurl.Curl, Outcome | None]]:
        """Wait for something to happen, at most for so long, and carry it out.

        Each transfer that ended comes with its libcurl code and message; one that has brought bytes, or wants some,
        comes with None, if somebody waits for that.
        """
        if self._forks != _forks:
            self._after_fork()
        due = self.due
        if due is not None:
            left = max(0.0, due - monotonic()) if due else 0.0
            timeout = left if timeout is None else min(timeout, left)
        events = self._poll.poll(timeout)
        watched = self._watched
        moved: list[Company] = []
        last: Company | None = None
        for descriptor, mask in events:
            if (company := watched.get(descriptor)) is not None:
                wanted = (pycurl.CSELECT_IN if mask & READ else 0) | (pycurl.CSELECT_OUT if mask & WRITE else 0)
                company.multi.socket_action(descriptor, wanted or pycurl.CSELECT_ERR)
                if company is not last:
                    moved.append(company)
                    last = company
            elif descriptor in self._others:
                self._others[descriptor]()
            else:
                self._registered.pop(descriptor, None)
                self._unregister(descriptor)
        due = self.due
        ended: list[tuple[pycurl.Curl, Outcome]] = []
        if due is not None and due <= (now := monotonic()):
            ended = self._release(now, moved)
            for company in [company for company, asked in self._asked.items() if asked <= now]:
                del self._asked[company]
                company.multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
                moved.append(company)
            if self._under_way and self._look <= now:
                self._look = now + _LOOK
                for descriptor, company in [*watched.items()]:
                    if descriptor in watched:
                        company.multi.socket_action(descriptor, 0)  # whatever there is to do for it
                        moved.append(company)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return self._reports(moved, ended)

    def _reports(
        self, moved: list[Company], ended: list[tuple[pycurl.Curl, Outcome]]
    ) -> list[tuple[pycurl.Curl, Outcome | None]]:
        reports: list[tuple[pycurl.Curl, Outcome | None]] = [*ended]
        for company in moved:
            left_over = len(company.handles)
            while left_over:
                left_over, done, failed = company.multi.info_read()
                reports += [(curl, (0, "")) for curl in done]
                reports += [(curl, (code, message)) for curl, code, message in failed]
        if streams := self._streams:
            told, reports = reports, []
            for curl, outcome in told:
                stream = streams.get(curl)
                if stream is None:
                    reports.append((curl, outcome))
                else:
                    stream.outcome = outcome
            for curl, stream in streams.items():
                if stream.parked and (stream.outcome is not None or stream.has_news):
                    reports.append((curl, stream.outcome))
                    stream.parked = False
        return reports

    def _register(self, descriptor: int, mask: int) -> None:
        known = self._registered.get(descriptor)
        self._registered[descriptor] = mask
        if known is not None:
            try:
                self._poll.modify(descriptor, mask)
                return
            except FileNotFoundError:
                pass  # that was an earlier socket of this number, and went from the epoll when it was closed
        self._poll.register(descriptor, mask)

    def _forget(self, descriptor: int) -> None:
        """What is known of this number is known of a socket that is gone, or is not to stay in the epoll."""
        if self._registered.pop(descriptor, None) is not None:
            self._unregister(descriptor)

    def _unregister(self, descriptor: int) -> None:
        try:
            self._poll.unregister(descriptor)
        except OSError:  # it was closed before
            if not self._lasting or self._forks != _forks:
                self._rebuild()  # a child may have it, and the epoll go on about it for as long

    def _after_fork(self) -> None:
        self._forks = _forks
        self._lasting = False
        for descriptor in [*self._registered]:
            if descriptor not in self._watched:
                self._forget(descriptor)

    def _rebuild(self) -> None:
        """Put another epoll in the place of one that holds what cannot be taken out."""
        if isinstance(self._poll, _PortablePoll):
            return  # kqueue is not inherited, and the others forget what is closed
        self.rebuilt += 1
        fresh = _open_poll()
        for descriptor, mask in [*self._registered.items()]:
            if descriptor in self._watched:
                fresh.register(descriptor, mask)
            else:
                del self._registered[descriptor]
        for descriptor in self._others:
            fresh.register(descriptor, READ)
        os.dup2(fresh.fileno(), self._poll.fileno(), inheritable=False)
        fresh.close()

    def close(self) -> None:
        """Close the connections."""
        if self.pid == os.getpid():
            for company in self._companies.values():
                company.multi.close()
            self._companies.clear()
            self._poll.close()
