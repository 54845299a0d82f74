"""Clients that move files between a disk and a server, as tasks for a child process (see ``clients``).

Programs are run as a user would run them, with their own defaults but for how much they do at once, which is set to the
same as ours. Times are those of the whole program; what arrived is compared by its MD5 after the clock has stopped.

A program that talks to the S3 directly has no control plane. So ``data_seconds`` of ours are, for an upload, for how
long at least one body was moving; for the download of one file, all but what came before its first byte; for that of
many, those of a second one in the same process, whose URLs are known: signing them keeps one of the two cores busy.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .clients import Access, Figures, MissingPeer, _timed, import_package

AT_ONCE = 20
RANGE = 4096


def md5_of_file(path: Path) -> str:
    """The MD5 of a file, in hex."""
    with open(path, "rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while block := file.read(1024 * 1024):
            digest.update(block)
    return digest.hexdigest()


def md5_of_folder(folder: Path) -> str:
    """A digest of all files below a folder, with their names."""
    digest = hashlib.md5(usedforsecurity=False)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)} {md5_of_file(path)}\n".encode())
    return digest.hexdigest()


class Store:
    """The S3 behind the Hypha server, for programs that talk to it directly."""

    def __init__(self, endpoint: str, key: str, secret: str) -> None:
        self.endpoint, self.key, self.secret = endpoint, key, secret

    def s5cmd(self, *arguments: str) -> None:
        self._run("s5cmd", "--endpoint-url", self.endpoint, "--numworkers", str(AT_ONCE), *arguments)

    def rclone(self, *arguments: str) -> None:
        many = str(AT_ONCE)
        self._run(
            "rclone", *arguments, "--transfers", many, "--checkers", many, "--multi-thread-streams", many,
            "--s3-upload-concurrency", many, "--s3-no-check-bucket", "--config", "/dev/null",
        )  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        if shutil.which(program) is None:
            raise MissingPeer(program)
        environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "RCLONE_CONFIG_S_TYPE": "s3",
            "RCLONE_CONFIG_S_PROVIDER": "SeaweedFS",
            "RCLONE_CONFIG_S_ENDPOINT": self.endpoint,
            "RCLONE_CONFIG_S_ACCESS_KEY_ID": self.key,
            "RCLONE_CONFIG_S_SECRET_ACCESS_KEY": self.secret,
        }
        subprocess.run([program, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)


def place_of(access: Access, alias: str, path: str) -> str:
    """``bucket/key`` of an artifact's file (or, without its last part, of its folder)."""
    url = access.call("get_file", artifact_id=f"{access.workspace}/{alias}", file_path=path)
    return unquote(urlsplit(url).path).lstrip("/")


def _program(call: Callable[[], None]) -> Figures:
    """Seconds, and what a child process of ours used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _, figures = _timed(call)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"seconds": figures["seconds"], "cpu_seconds": cpu, "peak_mb": after.ru_maxrss / 1024}


@contextmanager
def moving() -> Iterator[dict[str, float]]:
    """Measures how long at least one body is moving to or from the S3: ``data_seconds``, and the ``lead`` before it."""
    from cloudfiles_hypha.backends.hypha.backend import HyphaBackend

    found = {"data_seconds": 0.0, "lead": 0.0}
    began = time.perf_counter()
    lock = threading.Lock()
    state = {"active": 0, "since": 0.0}

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with lock:
                if not state["active"]:
                    state["since"] = time.perf_counter()
                    found["lead"] = found["lead"] or state["since"] - began
                state["active"] += 1
            try:
                return method(*arguments, **options)
            finally:
                with lock:
                    state["active"] -= 1
                    if not state["active"]:
                        found["data_seconds"] += time.perf_counter() - state["since"]

        return call

    class Timed:
        """A write session, of whose verbs those that move a body are timed."""

        def __init__(self, session: Any) -> None:
            self._session = session

        def __getattr__(self, name: str) -> Any:
            found = getattr(self._session, name)
            return timed(found) if name in ("put", "put_part") else found

    get, writing = HyphaBackend.get, HyphaBackend.writing

    @contextmanager
    def timed_writing(*arguments: Any, **options: Any) -> Iterator[Timed]:
        with writing(*arguments, **options) as session:
            yield Timed(session)

    HyphaBackend.get = timed(get)  # type: ignore[method-assign]
    HyphaBackend.writing = timed_writing  # type: ignore[assignment,method-assign]
    try:
        yield found
    finally:
        HyphaBackend.get = get  # type: ignore[method-assign]
        HyphaBackend.writing = writing  # type: ignore[method-assign]


# -- tasks ------------------------------------------------------------------------------------------------------------


def task_download_http(*, client: str, base: str, name: str, target: str, md5: str) -> Figures:
    """One large file from a web server to disk."""

    def ours() -> Figures:
        from cloudfiles_hypha import ArtifactFiles

        files = ArtifactFiles(base, num_threads=AT_ONCE)
        return _timed(lambda: files.download(name, target, overwrite="always"))[1]

    def obstore() -> Figures:
        import obstore
        from obstore.store import HTTPStore

        store = HTTPStore.from_url(base, client_options={"allow_http": True})

        def fetch() -> None:
            with open(target, "wb") as file:
                for block in obstore.get(store, name).stream(min_chunk_size=1024 * 1024):
                    file.write(block)

        return _timed(fetch)[1]

    def curl() -> Figures:
        if shutil.which("curl") is None:
            raise MissingPeer("curl")
        return _program(
            lambda: void(subprocess.run(["curl", "--silent", "--fail", "-o", target, f"{base}/{name}"], check=True))
        )

    figures = {"ours": ours, "obstore": obstore, "curl": curl}[client]()
    assert md5_of_file(Path(target)) == md5, f"{client}: the file is damaged"
    return {**figures, "items": 1}


def void(value: object) -> None:
    """Nothing."""


def task_download_s3(
    *, client: str, access: dict[str, str], store: dict[str, str], alias: str, path: str, target: str, md5: str
) -> Figures:
    """One large file, or (with a slash at the end) a folder of many, from the S3 behind a Hypha server to disk."""
    hypha, s3 = Access(**access), Store(**store)
    many = path.endswith("/")
    import_package(client)
    if client.startswith("ours"):
        files = hypha.files(alias, num_threads=AT_ONCE)
        options = {"checksum": client == "ours"}
        with moving() as found:
            results, figures = _timed(lambda: files.download(path, target, **options))
        figures["data_seconds"] = figures["seconds"] - found["lead"]
        if many:
            names = [result["path"] for result in results]
            again = _timed(lambda: files.download(names, f"{target}-again", **options))[1]
            figures["data_seconds"] = again["seconds"]
    elif client == "hypha-artifact":
        names = sorted(name for name in hypha.files(alias).list(path))[:AT_ONCE]
        targets = [str(Path(target, Path(name).name)) for name in names]
        Path(target).mkdir()
        artifact = hypha.hypha_artifact(alias)
        figures = _timed(lambda: artifact.get(names, targets, callback=lambda event: None))[1]
        return {**figures, "items": len(names)}
    else:
        place = place_of(hypha, alias, path + "000000.bin" if many else path)
        if many:
            place = place.rpartition("/")[0] + "/"
        if client == "s5cmd":
            source = f"s3://{place}*" if many else f"s3://{place}"
            options = () if many else ("--concurrency", str(AT_ONCE))
            Path(target).parent.mkdir(exist_ok=True)
            figures = _program(lambda: s3.s5cmd("cp", *options, source, f"{target}/" if many else target))
        else:
            verb = "copy" if many else "copyto"
            figures = _program(lambda: s3.rclone(verb, f"s:{place}", target))
        figures["data_seconds"] = figures["seconds"]
    found_md5 = md5_of_folder(Path(target)) if many else md5_of_file(Path(target))
    assert found_md5 == md5, f"{client}: what arrived is damaged"
    return {**figures, "items": 1}


def task_upload_s3(
    *, client: str, access: dict[str, str], store: dict[str, str], alias: str, source: str, bucket: str
) -> Figures:
    """A large file, or a folder of many, from disk into an artifact, or into the S3 behind the server."""
    hypha, s3 = Access(**access), Store(**store)
    import_package(client)
    folder = os.path.isdir(source)
    count = len(os.listdir(source)) if folder else 1
    if client == "ours":
        with moving() as found:
            files = hypha.files(alias, create=True, num_threads=AT_ONCE)
            figures = _timed(lambda: files.upload(source, "data" if folder else "", overwrite="always"))[1]
        compared = files.verify(source, "data") if folder else None
        assert compared is None or len(compared["equal"]) == count, "what was stored is damaged"
        return {**figures, **found, "items": 1}
    if client == "hypha-artifact":

        def put() -> None:
            artifact = hypha.hypha_artifact(alias)
            artifact.create(stage=True)
            artifact.put(source, "data", recursive=True, callback=lambda event: None)
            artifact.commit()

        return {**_timed(put)[1], "items": count}
    place = f"{bucket}/benchmark/{alias}"
    if client == "s5cmd":
        options = () if folder else ("--concurrency", str(AT_ONCE))
        target = f"s3://{place}/" if folder else f"s3://{place}"
        figures = _program(lambda: s3.s5cmd("cp", *options, f"{source}/" if folder else source, target))
    else:
        figures = _program(lambda: s3.rclone("copy" if folder else "copyto", source, f"s:{place}"))
    if shutil.which("s5cmd"):
        s3.s5cmd("rm", f"s3://{place}*")
    return {**figures, "data_seconds": figures["seconds"], "items": 1}


def task_ranges(*, client: str, base: str, name: str, source: str, kind: str, count: int) -> Figures:
    """Many ranges of 4 KiB of one large file on a web server, in hundred clusters or anywhere."""
    size = os.path.getsize(source)
    chance = random.Random(kind)
    if kind == "random":
        starts = [chance.randrange(size - RANGE) for _ in range(count)]
    else:
        clusters = [chance.randrange(size - 1024 * 1024) for _ in range(count // 100)]
        starts = [start + chance.randrange(1024 * 1024 - RANGE) for start in clusters for _ in range(100)]
        chance.shuffle(starts)
    if client == "obstore":
        import obstore
        from obstore.store import HTTPStore

        store = HTTPStore.from_url(base, client_options={"allow_http": True})
        ends = [start + RANGE for start in starts]
        bodies, figures = _timed(lambda: obstore.get_ranges(store, name, starts=starts, ends=ends))
    else:
        from cloudfiles_hypha import ArtifactFiles

        files = ArtifactFiles(base, num_threads=AT_ONCE)
        items = [{"path": name, "start": start, "end": start + RANGE, "tags": i} for i, start in enumerate(starts)]
        if client == "ours":
            results, figures = _timed(lambda: files.get(items))
        else:  # a generator is not looked through for what lies close together
            results, figures = _timed(lambda: list(files.iget(item for item in items)))
        bodies = [result["content"] for result in sorted(results, key=lambda result: result["tags"])]
    with open(source, "rb") as file:
        for start, body in zip(starts, bodies, strict=True):
            file.seek(start)
            assert file.read(RANGE) == bytes(body), f"{client}: wrong bytes"
    return {**figures, "items": count}


TASKS: dict[str, Callable[..., Figures]] = {
    "download-http": task_download_http,
    "download-s3": task_download_s3,
    "upload-s3": task_upload_s3,
    "ranges": task_ranges,
}
