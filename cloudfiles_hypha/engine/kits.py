"""What threads and greenlets have in common, under one set of names; and plain threads."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..errors import TransferError
from .waiting import Flag, Gate

if TYPE_CHECKING:
    from ..transports.base import Transport

T = TypeVar("T")

# Seconds granted to broken-off workers. Only one that is looking up a host name can need longer.
GRACE = 5.0
# Seconds that a thread waits for more to do before it ends.
_IDLE = 1.0


exiting = threading.Event()
"""Set when the interpreter is about to end, and where there are none (WebAssembly): no thread is to be started."""
if sys.platform in ("emscripten", "wasi"):
    exiting.set()


class FlagLike(Protocol):
    """Something any number of workers may wait for."""

    def is_set(self) -> bool:
        """Whether it is set."""

    def set(self) -> object:
        """From now on nobody waits."""

    def wait(self, seconds: float) -> bool:
        """Wait, at most for so long; whether it is set."""


class GateLike(Protocol[T]):
    """One value, waited for once."""

    def open(self, value: T) -> None:
        """Let the waiting one go on."""

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is open, at most for so long; whether it is."""

    def value(self) -> T:
        """Wait for the value."""


class Kit(Protocol):
    """The workers of one run: how they are started, wait, and are broken off."""

    def flag(self) -> FlagLike:
        """Something to wait for."""

    def gate(self) -> GateLike[object]:
        """A gate for whoever calls this, be it a worker or the caller of the run."""

    def spawn(self, target: Callable[[], None], *, heavy: bool = False) -> None:
        """Start a worker; a heavy one where it has a core to itself, if there is such a place."""

    def spread(self, target: Callable[[], None]) -> bool:
        """Start a worker where it has more room than the calling one, which is then to end; False: there is none."""

    def let_others(self) -> None:
        """Let those go on who would wait, for all that the calling worker does, until it waits for something."""

    def abort(self, error: TransferError) -> None:
        """Break off what all workers wait for; they end by themselves."""

    def me(self) -> object:
        """The worker that asks, for ``interrupt``."""

    def interrupt(self, worker: object, still: Callable[[], bool], error: TransferError) -> None:
        """Break off what one worker waits for, if ``still`` says that it is at that."""

    def retire(self) -> None:
        """Somebody has given up (Ctrl-C, say): let threads end at once that have nothing to do."""

    def join(self, ended: FlagLike, *, abort: bool) -> None:
        """Wait until ``ended`` is set, as the last worker does, and nothing of the workers is left."""


class ThreadKit:
    """Preemptive threads."""

    def __init__(self, transport: Transport | None) -> None:
        self._transport = transport
        self._threads: set[threading.Thread] = set()
        self._idle: list[queue.SimpleQueue[Callable[[], None] | None]] = []  # where threads wait for more to do
        self._joining = False
        self._lock = threading.Lock()  # guards the three above

    def flag(self) -> Flag:
        """Something to wait for."""
        return Flag()

    def gate(self) -> Gate[object]:
        """A gate for the calling thread."""
        return Gate()

    def spawn(self, target: Callable[[], None], *, heavy: bool = False) -> None:
        """Start a thread."""

        with self._lock:
            if self._idle:
                self._idle.pop().put(target)
                return
            # daemons: a name look-up that hangs must not keep the interpreter from exiting
            thread = threading.Thread(target=self._life, args=(target,), name="cloudfiles-hypha", daemon=True)
            thread.start()  # within the lock: whoever finds it among the others finds it started
            self._threads.add(thread)

    def _life(self, target: Callable[[], None]) -> None:
        try:
            todo: Callable[[], None] | None = target
            del target  # nothing of it is kept while there is nothing to do
            while todo is not None:
                todo()
                todo = None
                todo = self._another()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
            if self._transport is not None:
                self._transport.forget(threading.get_ident())

    def _another(self) -> Callable[[], None] | None:
        """What a thread is to do next; it waits a moment for that, since starting one takes longer than most work."""
        mine: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        with self._lock:
            if self._joining:
                return None
            self._idle.append(mine)
        try:
            return mine.get(timeout=_IDLE)
        except queue.Empty:
            with self._lock:
                if mine in self._idle:
                    self._idle.remove(mine)
                    return None
            return mine.get()  # somebody was faster

    def spread(self, target: Callable[[], None]) -> bool:
        """Every thread has as much room as any other."""
        return False

    def let_others(self) -> None:
        """They need not be let."""

    def abort(self, error: TransferError) -> None:
        """Transfers are broken off by ``join``."""

    def me(self) -> object:
        """The calling thread."""
        return threading.get_ident()

    def interrupt(self, worker: object, still: Callable[[], bool], error: TransferError) -> None:
        """Break off its transfer; that it is to end it finds out by itself."""
        with self._lock:  # while it is at that, its number is its own
            if self._transport is not None and isinstance(worker, int) and still():
                with self._transport.aborting([worker]):
                    return

    def retire(self) -> None:
        """They end by themselves."""

    def join(self, ended: FlagLike, *, abort: bool) -> None:
        """Wait for the threads."""
        with ExitStack() as stack:
            with self._lock:  # a thread that ends is forgotten after this: its number may become another's
                self._joining = True
                while self._idle:
                    self._idle.pop().put(None)
                threads = [thread for thread in self._threads if thread is not threading.current_thread()]
                if abort and self._transport is not None:
                    idents = [thread.ident for thread in threads if thread.ident is not None]
                    stack.enter_context(self._transport.aborting(idents))
            if not abort:
                for thread in threads:
                    thread.join()
                return
            deadline = time.monotonic() + GRACE
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))


def sockets_are_patched() -> bool:
    """True when gevent has patched sockets, so that a blocking call would stop every greenlet."""
    monkey = sys.modules.get("gevent.monkey")
    is_patched = getattr(monkey, "is_module_patched", None)  # which is not there yet while another thread imports it
    return is_patched is not None and bool(is_patched("socket"))
