"""The workloads on buckets and folders; ``cases`` says how they are measured, ``bucket_clients`` has who does them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .bucket_clients import Place
from .cases import Bench, Target, at_least, ratios
from .clients import Figures
from .movers import md5_of_file, md5_of_folder
from .servers import SMALL_SIZE, file_name, payload, write_files, write_large


def _place(bench: Bench, name: str) -> Place:
    """A new prefix of a bucket of its own, on the S3 that the other cases use."""
    store = bench.store()
    place = Place(store["endpoint"], store["key"], store["secret"], "benchmarks", f"{name}-{uuid.uuid4().hex[:8]}")
    bench.made_bucket(place.bucket)
    return place


def _against(
    bench: Bench,
    case: str,
    way: str,
    found: Mapping[str, Sequence[Figures]],
    ours: str,
    targets: Mapping[str, float | None],
) -> None:
    """A row for each peer: its time by ours; and one for CPU seconds."""
    for peer, least in targets.items():
        target = None if least is None else at_least(least)
        bench.add(case, f"{way}: speed / that of {peer}", ratios(found[peer], found[ours]), target)
    for client, figures in found.items():
        bench.add(case, f"{way}: CPU seconds, {client}", [each["cpu_seconds"] for each in figures], unit="s")


def s3_small(bench: Bench) -> None:
    """Get and put 2,000 x 4 KiB on `s3://`: in memory, and (beside programs, which do nothing else) on disk."""
    case, count = "s3-small", bench.count(2000)
    place = _place(bench, case)
    place.ours().puts((file_name(index), payload(index, SMALL_SIZE)) for index in range(count))
    libraries = {"cloud-files": 5.0, "obstore, threads": 1.1}
    _in_memory(bench, case, lambda number, way: place, ("ours", *libraries), libraries, count)
    with bench.scratch() as folder:
        source = Path(folder, "source")
        write_files(source, count, SMALL_SIZE)
        _on_disk(bench, case, place, source, folder, ("s5cmd", "rclone"), at_least(1.0), 3)


def file_small(bench: Bench) -> None:
    """Get and put 2,000 x 4 KiB on `file://`, in memory at the other end."""
    case, count = "file-small", bench.count(2000)
    peers = {"cloud-files": 2.0, "open in a thread pool": 0.9}
    with bench.scratch() as folder:
        source = Path(folder, "source")
        write_files(source, count, SMALL_SIZE)

        def place(number: int, way: str) -> Place:
            return Place("", "", "", "", str(source) if way == "get" else f"{folder}/{uuid.uuid4().hex}")

        _in_memory(bench, case, place, ("ours", *peers), peers, count)


def _in_memory(
    bench: Bench,
    case: str,
    place: Callable[[int, str], Place],
    clients: Sequence[str],
    targets: Mapping[str, float],
    count: int,
) -> None:
    for way in ("get", "put"):

        def arguments(client: str, way: str = way) -> Callable[[int], dict[str, Any]]:
            def of(number: int) -> dict[str, Any]:
                there = place(number, way)
                if way == "put" and there.endpoint:
                    there = Place(**{**vars(there), "prefix": f"{there.prefix}-{uuid.uuid4().hex[:8]}"})
                return {"client": client, "place": vars(there), "count": count, "size": SMALL_SIZE}

            return of

        found = bench.interleave(f"{case}-{way}", bench.rounds(5), f"bucket-{way}", {c: arguments(c) for c in clients})
        _against(bench, case, way, found, "ours", targets)


def s3_large(bench: Bench) -> None:
    """Upload and download a file of 1 GiB, and 2,000 of 1 MiB, on `s3://`, from and to disk."""
    peers = ("s5cmd", "rclone", "boto3 with awscrt")
    with bench.scratch() as folder:
        source = bench.large()[1]
        place = _place(bench, "s3-large")
        place.ours().upload(source)
        _on_disk(bench, "s3-large", place, source, folder, peers, at_least(1.0), 3)
    with bench.scratch() as folder:
        files = Path(folder, "source")
        files.mkdir()
        for index in range(bench.count(2000)):
            write_large(files / file_name(index), 1024 * 1024)
        place = _place(bench, "s3-many")
        place.ours().upload(files)
        _on_disk(bench, "s3-many", place, files, folder, peers, at_least(1.0), 2)


def _on_disk(
    bench: Bench,
    case: str,
    place: Place,
    source: Path,
    folder: str,
    peers: Sequence[str],
    target: Target,
    rounds: int,
) -> None:
    """Both ways; the fastest peer of each round is what ours is compared with."""
    many = source.is_dir()
    md5 = md5_of_folder(source) if many else md5_of_file(source)
    scratch = Path(folder, "scratch")
    scratch.mkdir()

    def down(client: str) -> Callable[[int], dict[str, Any]]:
        return lambda number: {
            "client": client, "place": vars(place), "many": many, "md5": md5,
            "target": str(scratch / f"{client.replace(' ', '-')}-{number}"),
        }  # fmt: skip

    def up(client: str) -> Callable[[int], dict[str, Any]]:
        def of(number: int) -> dict[str, Any]:
            there = Place(**{**vars(place), "prefix": f"sent-{uuid.uuid4().hex[:8]}"})
            return {"client": client, "place": vars(there), "source": str(source), "scratch": str(scratch)}

        return of

    sent = bench.interleave(
        f"{case}-up", bench.rounds(rounds), "bucket-upload", {c: up(c) for c in ("ours", *peers)}, clean=str(scratch)
    )
    clients = ("ours", "ours, no digests", *peers)
    fetched = bench.interleave(
        f"{case}-down", bench.rounds(rounds), "bucket-download", {c: down(c) for c in clients}, clean=str(scratch)
    )
    for way, found, measured in (
        ("up, from disk", sent, ("ours",)),
        ("down, to disk", fetched, ("ours", "ours, no digests")),
    ):
        fastest = _fastest([found[peer] for peer in peers])
        for ours in measured:
            bench.add(case, f"{way}: speed of {ours} / that of the fastest peer", ratios(fastest, found[ours]), target)
        _against(bench, case, way, found, "ours", dict.fromkeys(peers))


def _fastest(found: Sequence[Sequence[Figures]]) -> list[Figures]:
    """Of each round the figures of whoever took the least time, of those that are installed."""
    there = [each for each in found if each]
    return [min(each, key=lambda figures: figures["seconds"]) for each in zip(*there, strict=True)]


def gzip_puts(bench: Bench) -> None:
    """Put 2,000 x 64 KiB with gzip on `s3://`: with each one's own default level, and with level 6."""
    case, count, size = "gzip", bench.count(2000), 64 * 1024
    place = _place(bench, case)
    clients: dict[str, int | None] = {"ours": None, "cloud-files": None, "ours, level 6": 6, "cloud-files, level 6": 6}

    def arguments(client: str, level: int | None) -> Callable[[int], dict[str, Any]]:
        return lambda number: {
            "client": client, "place": vars(place), "count": count, "size": size, "compress": "gzip", "level": level,
        }  # fmt: skip

    found = bench.interleave(case, bench.rounds(3), "bucket-put", {c: arguments(c, at) for c, at in clients.items()})
    bench.add(case, "speed / that of cloud-files", ratios(found["cloud-files"], found["ours"]), at_least(2.0))
    level = ratios(found["cloud-files, level 6"], found["ours, level 6"])
    bench.add(case, "speed / that of cloud-files, both at level 6", level)


def listings(bench: Bench) -> None:
    """List 20,000 keys of `s3://`; and find out that 20,000 files of a folder are all there, by its command line."""
    count = bench.count(20_000)
    with bench.scratch() as folder:
        source = Path(folder, "source")
        write_files(source, count, 100)
        place = _place(bench, "list")
        place.ours().upload(source)
        for case, task, peers, least in (
            ("list", "bucket-list", ("obstore", "s5cmd"), 0.8),
            ("sync", "bucket-sync", ("s5cmd", "rclone"), 1.0),
        ):

            def arguments(client: str, task: str = task) -> Callable[[int], dict[str, Any]]:
                more = {"source": str(source)} if task == "bucket-sync" else {}
                return lambda number: {"client": client, "place": vars(place), "count": count, **more}

            found = bench.interleave(case, bench.rounds(5), task, {c: arguments(c) for c in ("ours", *peers)})
            fastest = _fastest([found[peer] for peer in peers])
            bench.add(case, "speed / that of the fastest peer", ratios(fastest, found["ours"]), at_least(least))
            _against(bench, case, case, found, "ours", dict.fromkeys(peers))


CASES: dict[str, Callable[[Bench], None]] = {
    "s3-small": s3_small,
    "s3-large": s3_large,
    "file-small": file_small,
    "gzip": gzip_puts,
    "list": listings,
}
