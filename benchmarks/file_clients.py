"""File objects over HTTP: what each client takes for reads here and there, and one after the other.

Each gives an open, seekable binary file of one URL, with its own defaults. Requests and bytes are those that nginx has
noted, and not what a client says.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from .clients import Figures, _timed, noted


def _ours(base: str, name: str) -> Any:
    from cloudfiles_hypha import ArtifactFiles

    return ArtifactFiles(base).open(name)


def _fsspec(base: str, name: str, **options: Any) -> Any:
    import fsspec

    return fsspec.filesystem("http").open(f"{base}/{name}", **options)


def _obstore(base: str, name: str) -> Any:
    import obstore
    from obstore.store import HTTPStore

    return obstore.open_reader(HTTPStore(base, client_options={"allow_http": True}), name)


def _smart_open(base: str, name: str) -> Any:
    import smart_open

    return smart_open.open(f"{base}/{name}", "rb")


def _hctef(base: str, name: str) -> Any:
    import hctef

    file = hctef.HttpFile(f"{base}/{name}")
    file.open()
    return file


FILES: dict[str, Callable[[str, str], Any]] = {
    "ours": _ours,
    "fsspec": _fsspec,
    "fsspec, no cache": lambda base, name: _fsspec(base, name, cache_type="none"),
    "obstore": _obstore,
    "smart_open": _smart_open,
    "hctef": _hctef,
}

MODULES = {
    "ours": "cloudfiles_hypha",
    "fsspec": "fsspec.implementations.http",
    "fsspec, no cache": "fsspec.implementations.http",
    "obstore": "obstore.store",
    "smart_open": "smart_open.http",
    "hctef": "hctef",
}
"""What is imported before the clock starts."""


def task_file(*, client: str, base: str, name: str, source: str, log: str, kind: str, count: int, size: int) -> Figures:
    """``count`` reads of ``size`` bytes, anywhere or one after the other; what came is compared afterwards."""
    importlib.import_module(MODULES[client])
    total = Path(source).stat().st_size
    chance = random.Random(1)
    offsets = [chance.randrange(total - size) if kind == "random" else n * size for n in range(count)]

    def read() -> list[bytes]:
        with closing(FILES[client](base, name)) as file:
            if kind == "random":
                return [_at(file, offset, size) for offset in offsets]
            return [bytes(file.read(size)) for _ in offsets]

    before = noted(log)
    found, figures = _timed(read)
    with open(source, "rb") as file:
        for offset, content in zip(offsets, found, strict=True):
            file.seek(offset)
            if file.read(size) != content:
                raise AssertionError(f"{client}: other bytes at {offset}")
    requests, moved = (after - then for after, then in zip(noted(log), before, strict=True))
    return {**figures, "items": count, "requests": requests, "moved": moved / (count * size)}


def _at(file: Any, offset: int, size: int) -> bytes:
    file.seek(offset)
    return bytes(file.read(size))


TASKS: dict[str, Callable[..., Figures]] = {"file": task_file}
