"""Workers on demand: started when there is something to do, gone when there is not.

A worker holds a task only while the task takes its turn, so nothing is ever stuck with one that waits: where fewer
are to be at work (a server asks for it, results pile up) a worker ends after its turn, and is started anew when more
may. New items and further turns of large ones are taken one by one in turn, so neither a large item nor many small ones
make the other wait; and when as many turns are waiting as there are workers, no new item is begun: what is begun, and
so half on disk, is bounded. Names are resolved in batches by workers of their own. Where tasks are most likely over in
less time than threads take to pass the interpreter lock to each other, one worker begins alone, and the others follow
if it turns out to wait for something.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from ..errors import Cancelled
from .kits import Kit, ThreadKit
from .outcomes import Done, More, Prepare, Task, Unresolved
from .run import GIVEN_UP, Run

R = TypeVar("R")

# Bytes of a result from which on a worker looks for a thread with more room.
_LARGE = 1024 * 1024
# Seconds for which a resolver lets names gather before it settles for fewer than it may take: at first, after each
# that has come meanwhile, and in all.
_LINGER = 0.01
_MOMENT = 0.004
_MOMENTS = 12
# A worker that is alone is watched: so many seconds at a time, and in so many such times that follow each other it has
# to end so many tasks. Twenty threads took four times as long as one for 2,000 files of 4 KiB in the page cache; from
# half a millisecond a task on, more of them win.
_LOOK = 0.005
_LOOKS = 2
_QUICK = 10

Deliver = Callable[[Task[R], Done[R]], None]


class Workers(Generic[R]):
    """The workers of one run, and what they have to do. Thread-safe.

    ``deliver`` is called by a worker with each task that has ended, ``crashed`` when a worker fails, which is a defect
    or the interpreter's own trouble: the run is over then. ``full`` says that no task should be begun for the time
    being (``wake`` says that this is over). ``standing`` is for tasks that come one by one from anywhere: whatever is
    pending is resolved together. ``quick`` says that a task most likely waits for nothing.
    """

    def __init__(
        self,
        run: Run,
        width: int,
        deliver: Deliver[R],
        crashed: Callable[[BaseException], None],
        *,
        prepare: Prepare[R] | None = None,
        full: Callable[[], bool] | None = None,
        standing: bool = False,
        quick: bool = False,
    ) -> None:
        self._run = run
        self._width = width
        self._quick = quick
        # greenlets of one thread do not stand in each other's way
        alone = quick and isinstance(run.kit, ThreadKit)
        self._limit = 1 if alone else width  # of workers, for the time being
        self._watched = not alone  # that one is looked after by another thread
        self._ended = 0  # tasks, since that has looked
        self._deliver = deliver
        self._crashed = crashed
        self._prepare = prepare
        self._full = full
        self._standing = standing
        self.sizes = prepare.sizes() if prepare else None
        self.complete = False  # no new tasks are going to come
        self.idle = run.kit.flag()  # set once: the run is over, and the last worker has gone
        self._new: deque[Task[R]] = deque()
        self._turns: deque[Task[R]] = deque()
        self._pending: deque[Task[R]] = deque()  # to be resolved
        self._doing: dict[Task[R], object] = {}  # who is at which task, where that may be asked for
        self._asking: dict[object, set[Task[R]]] = {}  # who resolves names, and for which tasks still
        self._turn_next = False
        self._active = 0  # workers that were started and have not ended
        self._busy = 0  # those of them that hold a task
        self._resolving = 0
        self._left_alone = 0  # those of them for whose names nobody waits any more: about to end, whenever that is
        self._over = False
        self._lock = threading.Lock()  # guards the above from ``_new`` on; never held while anything waits

    def put(self, task: Task[R]) -> None:
        """Have one more task done."""
        with self._lock:
            (self._pending if task.unresolved and self._prepare else self._new).append(task)
        self.wake()

    def wake(self) -> None:
        """Start as many workers as there may be and are needed."""
        kit = self._run.kit
        while True:
            resolver, heavy, begun, watch = False, None, [False], False
            try:
                with self._lock:
                    resolver = self._needs_resolver()
                    heavy = self._needs_worker() if not resolver else None
                    if resolver:
                        self._resolving += 1
                    elif heavy is not None:
                        self._active += 1
                    elif not self._watched and self._active and (self._new or self._turns) and not self._over:
                        self._watched = watch = True
                    else:
                        return
                if watch:
                    kit.spawn(self._watch)
                elif resolver:
                    kit.spawn(partial(self._begin, begun, self._resolve))
                else:
                    kit.spawn(partial(self._begin, begun, partial(self._work, None)), heavy=bool(heavy))
            except BaseException:  # Ctrl-C may come at any moment; whoever takes it back, it is done once
                with self._lock:
                    if not begun[0]:
                        begun[0] = True
                        self._resolving -= resolver
                        self._active -= heavy is not None
                raise

    def _begin(self, begun: list[bool], target: Callable[[], None]) -> None:
        with self._lock:
            if begun[0]:
                return
            begun[0] = True
        target()

    def _needs_resolver(self) -> bool:
        at_once = 1 if self._standing or self.sizes is None else max(1, self.sizes.at_once)
        return bool(self._pending) and self._resolving - self._left_alone < at_once and not self._over

    def _needs_worker(self) -> bool | None:
        """None if no further one is needed; else whether it is for a heavy task."""
        if self._over or self._active >= min(self._limit, self._run.pace.allowed):
            return None
        if not (self._new or self._turns) or (self._full is not None and self._full()):
            return None
        # those that were started and have not taken their task yet are on their way to it
        if self._active and self._starting >= len(self._new) + len(self._turns):
            return None
        return (self._turns[0] if self._turns else self._new[0]).heavy

    def _watch(self) -> None:
        """Let the other workers in once tasks are waiting, and the only worker is, too; gone when that is gone."""
        slow = 0
        while slow < _LOOKS:
            if self.idle.wait(_LOOK):
                return
            with self._lock:
                if self._over or not self._active:  # the next one is watched again
                    self._watched = False
                    return
                ended, self._ended = self._ended, 0
                slow = slow + 1 if ended < _QUICK and (self._new or self._turns) else 0
        self._limit = self._width
        self.wake()

    @property
    def _starting(self) -> int:
        return self._active - self._busy

    def _next(self, ended: int = 0) -> Task[R] | None:
        """The next task for a worker that has none, or has just ended one; None if it is to end."""
        with self._lock:
            self._busy -= ended
            self._ended += ended
            task = None
            if (
                not self._over
                and (self._new or self._turns)
                and self._active <= self._run.pace.allowed
                and not (self._full is not None and self._full())
            ):
                turn = self._turns and (self._turn_next or not self._new or len(self._turns) >= self._width)
                self._turn_next = not turn
                task = (self._turns if turn else self._new).popleft()
                self._busy += 1
            else:
                self._active -= 1
            last = self._over and self._has_ended()
        if last:
            self.idle.set()
        return task

    def _has_ended(self) -> bool:
        return self._over and not self._active and not self._resolving

    def _work(self, task: Task[R] | None) -> None:
        run = self._run
        pace, kit, deliver, standing, quick = run.pace, run.kit, self._deliver, self._standing, self._quick
        ended = 0
        try:
            while True:
                if task is None:
                    task = self._next(ended)
                    ended = 0
                    if task is None:
                        return
                    if task.heavy and kit.spread(partial(self._work, task)):
                        return
                if standing:
                    self._doing[task] = kit.me()
                outcome = task.turn(run)
                if standing:
                    del self._doing[task]
                if isinstance(outcome, Done):
                    deliver(task, outcome)
                    if quick:
                        kit.let_others()
                    task, ended = None, 1
                    if pace.grown:
                        pace.grown = False
                        self.wake()
                    if outcome.weight >= _LARGE and self._spread(kit):
                        return
                else:
                    self._goes_on(task, outcome)
                    task = None
        except BaseException as error:  # noqa: BLE001 -- raised in the calling thread
            with self._lock:
                self._busy -= ended or task is not None
                self._active -= 1
            self.crash(error)

    def _goes_on(self, task: Task[R], outcome: More | Unresolved) -> None:
        with self._lock:
            self._busy -= 1
            if isinstance(outcome, More):
                self._turns.extend([task] * outcome.turns)
            else:
                self._pending.append(task)
        self.wake()

    def _spread(self, kit: Kit) -> bool:
        """Have the worker that asks, which has just ended a task, go on elsewhere."""
        with self._lock:
            self._busy -= 1
        if kit.spread(partial(self._work, None)):
            return True
        with self._lock:
            self._busy += 1
        return False

    def _resolve(self) -> None:
        me = self._run.kit.me()
        alone = False
        try:
            while not alone and (batch := self._take_pending(me)):
                prepare = self._prepare
                if prepare is None or self.sizes is None:
                    raise AssertionError("there is nothing to resolve with")
                prepare.resolve(batch, self._run, self.sizes)
                with self._lock:
                    wanted = self._asking.pop(me)
                    alone = not wanted  # then another one has been let in for the next
                    self._new.extend(task for task in batch if task in wanted)
                self.wake()
        except BaseException as error:  # noqa: BLE001 -- raised in the calling thread
            with self._lock:
                alone = not self._asking.pop(me, True)
            if not (alone and isinstance(error, Cancelled)):
                self.crash(error)
        with self._lock:
            self._resolving -= 1
            self._left_alone -= alone
            ended = self._has_ended()
        if ended:
            self.idle.set()
        self.wake()  # what came while this one was about to end

    def _take_pending(self, me: object) -> list[Task[R]]:
        sizes = self.sizes
        if sizes is None:
            return []
        self._let_gather()
        with self._lock:
            if self._over or not self._pending:
                return []
            left = len(self._pending)
            count = min(left, sizes.limit) if self._standing else sizes.next(left if self.complete else None)
            batch = [self._pending.popleft() for _ in range(min(count, left))]
            self._asking[me] = set(batch)
        self.wake()  # others may resolve the rest at the same time
        return batch

    def _let_gather(self) -> None:
        """Wait a moment for names that are about to come."""
        sizes, cancelled = self.sizes, self._run.cancelled
        if sizes is None or self.complete:
            return
        if not self._standing:
            if len(self._pending) < sizes.next(None):
                cancelled.wait(_LINGER)
            return
        seen = 0
        for _ in range(_MOMENTS):
            if len(self._pending) == seen or cancelled.is_set():
                return
            seen = len(self._pending)
            cancelled.wait(_MOMENT)

    def give_up(self, task: Task[R]) -> None:
        """Nobody waits for a task any more: forget it, or break it off; so, too, the call that resolves its name, if
        nobody waits for another name in it. Then the next names need not wait until that has ended."""
        interrupt, given_up = self._run.kit.interrupt, Cancelled(GIVEN_UP)
        with self._lock:
            for queue in (self._new, self._turns, self._pending):
                if task in queue:
                    queue.remove(task)
                    return
            resolver, wanted = next((item for item in self._asking.items() if task in item[1]), (None, {task}))
            wanted.remove(task)
            self._left_alone += not wanted and resolver is not None
        worker = self._doing.get(task)
        if worker is not None:
            interrupt(worker, lambda: self._doing.get(task) is worker, given_up)
        elif resolver is not None and not wanted:
            interrupt(resolver, lambda: self._asking.get(resolver) is wanted, given_up)
            self.wake()

    def crash(self, error: BaseException) -> None:
        """A worker has failed: nothing more is begun, and whoever waits for results is told."""
        with self._lock:
            over, self._over = self._over, True
            ended = self._has_ended()
        if ended:
            self.idle.set()
        if not over:
            self._crashed(error)

    def abandon(self) -> None:
        """Like ``end`` with ``abort``, without waiting, and without a lock that the calling thread may hold."""
        self._over = True
        self._run.give_up()
        self._run.kit.abort(Cancelled(GIVEN_UP))

    def end(self, *, abort: bool) -> None:
        """The run is over; with ``abort`` what is under way is broken off. Waits until the workers have gone."""
        with self._lock:
            self._over = True
            self._new.clear()
            self._turns.clear()
            self._pending.clear()
            ended = self._has_ended()
        if ended:
            self.idle.set()
        elif abort:
            self._run.give_up()
            self._run.kit.abort(Cancelled(GIVEN_UP))
        self._run.kit.join(self.idle, abort=abort)
