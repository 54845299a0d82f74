"""Rates of the whole machine beside a recording: network, disks, CPU. Needs psutil; a thread while it lasts."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any, Final, NamedTuple

_EVERY: Final = 0.5
_MOST: Final = 4096


class Sample(NamedTuple):
    """What the machine did until ``at`` (seconds since the recording began), since the sample before; bytes a second,
    and the CPUs' percentage. ``disk_busy`` is the busiest disk's share of that time, -1 where no system tells."""

    at: float
    received: float
    sent: float
    disk_read: float
    disk_written: float
    cpu: float
    disk_busy: float


class Sampler:
    """A thread that takes samples into a list until it is stopped. Of a long time they lie farther apart."""

    def __init__(self, origin: float, samples: list[Sample]) -> None:
        try:
            import psutil
        except ImportError as error:
            raise ImportError("machine=True needs psutil: pip install psutil") from error
        self._psutil: Any = psutil
        self._origin = origin
        self._samples = samples
        self._every = _EVERY
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cloudfiles-hypha-machine", daemon=True)
        self._before: tuple[float, Any, Any, dict[str, Any]] | None = None

    def start(self) -> None:
        """Begin."""
        self._psutil.cpu_percent(None)  # the first is of no time
        self._before = self._counters()
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample; the thread has ended."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _counters(self) -> tuple[float, Any, Any, dict[str, Any]]:
        psutil = self._psutil
        return (
            perf_counter(),
            psutil.net_io_counters(),
            psutil.disk_io_counters(),
            psutil.disk_io_counters(perdisk=True) or {},
        )

    def _run(self) -> None:
        over = False
        while not over:
            over = self._over.wait(self._every)
            self._sample()
            if len(self._samples) >= _MOST:
                del self._samples[::2]
                self._every *= 2

    def _sample(self) -> None:
        before, after = self._before, self._counters()
        self._before = after
        if before is None:
            return
        seconds = max(after[0] - before[0], 1e-3)

        def rate(kind: int, name: str) -> float:  # a machine without network or disks has no counters
            new, old = getattr(after[kind], name, 0), getattr(before[kind], name, 0)
            return max(0.0, float(new - old) / seconds)

        busy = [
            (disk.busy_time - before[3][name].busy_time) / 1000 / seconds
            for name, disk in after[3].items()
            if name in before[3] and hasattr(disk, "busy_time")
        ]
        self._samples.append(
            Sample(
                after[0] - self._origin,
                rate(1, "bytes_recv"),
                rate(1, "bytes_sent"),
                rate(2, "read_bytes"),
                rate(2, "write_bytes"),
                float(self._psutil.cpu_percent(None)),
                min(1.0, max(busy)) if busy else -1.0,
            )
        )
