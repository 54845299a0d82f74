"""What a recording costs: CPU seconds of this process for http-small with ``return_recording=True`` and without.

    python -m benchmarks.recording_cost [--rounds 25] [--count 10000] [--workers 16]

The wall clock of a busy machine says nothing of a few per cent; CPU seconds are less easily disturbed. Rounds
alternate, and each pair begins with the other one than the pair before. What the first look at a recording takes,
which packs the rows that are left, is told apart.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time

from cloudfiles_hypha import ArtifactFiles

from .servers import SMALL, file_name, nginx


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--count", type=int, default=SMALL)
    parser.add_argument("--workers", type=int, default=16)
    options = parser.parse_args()
    names = [file_name(index) for index in range(options.count)]
    spent: dict[bool, list[float]] = {False: [], True: []}
    looked: list[float] = []
    with nginx() as url, ArtifactFiles(f"{url}/small", num_threads=options.workers) as cf:
        for turn in range(options.rounds + 1):
            for recorded in (False, True) if turn % 2 else (True, False):
                transfer, look = _cpu_seconds(cf, names, recorded)
                if turn:  # the first one warms up
                    spent[recorded].append(transfer)
                    looked += [look] if recorded else []
    more = [100 * (with_it / without - 1) for without, with_it in zip(spent[False], spent[True], strict=True)]
    low, _, high = statistics.quantiles(more, n=4)
    for recorded, label in ((False, "without"), (True, "with")):
        least, median = min(spent[recorded]), statistics.median(spent[recorded])
        print(
            f"{label}: {median / options.count * 1e6:.1f} us of CPU an item (least {least / options.count * 1e6:.1f})"
        )
    print(f"summary(): {statistics.median(looked) / options.count * 1e6:.1f} us of CPU an item")
    least = 100 * (min(spent[True]) / min(spent[False]) - 1)
    middle = f"{statistics.median(more):+.1f} % (quartiles {low:+.1f}, {high:+.1f}; least {least:+.1f})"
    print(f"{options.rounds} pairs: {middle}")


def _cpu_seconds(cf: ArtifactFiles, names: list[str], recorded: bool) -> tuple[float, float]:
    """Of the transfer, and of looking at what was recorded."""
    gc.collect()
    began = time.process_time()
    if not recorded:
        cf.get(names)
        return time.process_time() - began, 0.0
    _, recording = cf.get(names, return_recording=True)
    ended = time.process_time()
    recording.summary()
    return ended - began, time.process_time() - ended


if __name__ == "__main__":
    main()
