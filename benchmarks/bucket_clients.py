"""Clients of buckets and folders, as tasks for a child process (see ``clients``).

Libraries are given the same number of threads as ours; programs are run as in ``movers``. What was stored is read back
by another client than the one that stored it, and what was read is compared with what was generated, after the clock
has stopped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .clients import Figures, MissingPeer, _timed, _verify, import_package
from .movers import AT_ONCE, Store, _program, md5_of_file, md5_of_folder
from .servers import file_name, payload


@dataclass(frozen=True)
class Place:
    """A prefix of a bucket, with what is needed to get there; or a folder, whose endpoint is empty."""

    endpoint: str
    key: str
    secret: str
    bucket: str
    prefix: str

    @property
    def cloudpath(self) -> str:
        return f"s3://{self.endpoint}/{self.bucket}/{self.prefix}" if self.endpoint else f"file://{self.prefix}"

    @property
    def url(self) -> str:
        """As programs name it that are told the endpoint otherwise."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def secrets(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}

    @property
    def programs(self) -> Store:
        return Store(self.endpoint, self.key, self.secret)

    def ours(self, **options: Any) -> Any:
        from cloudfiles_hypha import ArtifactFiles

        secrets = self.secrets if self.endpoint else None
        return ArtifactFiles(self.cloudpath, secrets=secrets, num_threads=AT_ONCE, **options)

    def cloud_files(self) -> Any:
        from cloudfiles import CloudFiles

        secrets = self.secrets if self.endpoint else None
        return CloudFiles(self.cloudpath, secrets=secrets, num_threads=AT_ONCE, progress=False)

    def obstore(self) -> Any:
        from obstore.store import S3Store

        return S3Store(
            self.bucket, prefix=self.prefix, endpoint=self.endpoint, region="us-east-1", access_key_id=self.key,
            secret_access_key=self.secret, virtual_hosted_style_request=False, client_options={"allow_http": True},
        )  # fmt: skip

    @contextlib.contextmanager
    def crt(self) -> Any:
        """boto3's transfers with awscrt. It is put together by hand, since boto3's own way takes no endpoint."""
        import awscrt.auth
        import boto3.session
        from s3transfer.crt import BotocoreCRTRequestSerializer, CRTTransferManager, create_s3_crt_client

        session = boto3.session.Session(self.key, self.secret, region_name="us-east-1")._session
        provider = awscrt.auth.AwsCredentialsProvider.new_static(self.key, self.secret)
        serializer = BotocoreCRTRequestSerializer(
            session, {"region_name": "us-east-1", "endpoint_url": self.endpoint, "use_ssl": False}
        )
        client = create_s3_crt_client("us-east-1", crt_credentials_provider=provider, use_ssl=False)
        with CRTTransferManager(client, serializer) as manager:
            yield manager


def _names(count: int) -> list[str]:
    return [file_name(index) for index in range(count)]


def _pooled(function: Callable[[str], Any], names: Iterable[str]) -> list[Any]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, names))


# -- many small files, in memory --------------------------------------------------------------------------------------


def task_bucket_get(*, client: str, place: dict[str, str], count: int, size: int) -> Figures:
    """Read ``count`` small objects into memory."""
    there, names = Place(**place), _names(count)
    import_package(client)
    if client.startswith("ours"):
        files = there.ours()
        bodies, figures = _timed(lambda: [result["content"] for result in files.get(names)])
    elif client == "cloud-files":
        theirs = there.cloud_files()
        found, figures = _timed(lambda: theirs.get(names))
        by_name = {each["path"]: each["content"] for each in found}  # which are in any order
        bodies = [by_name[name] for name in names]
    elif client == "obstore, threads":
        import obstore

        store = there.obstore()
        bodies, figures = _timed(lambda: _pooled(lambda name: obstore.get(store, name).bytes(), names))
    else:
        bodies, figures = _timed(lambda: _pooled(lambda name: Path(there.prefix, name).read_bytes(), names))
    _verify(bodies, size)
    return {**figures, "items": count}


def task_bucket_put(
    *, client: str, place: dict[str, str], count: int, size: int, compress: str | None = None, level: int | None = None
) -> Figures:
    """Store ``count`` small objects from memory."""
    there, names = Place(**place), _names(count)
    items = [(name, payload(index, size)) for index, name in enumerate(names)]
    import_package(client)
    if client.startswith("ours"):
        files = there.ours()
        figures = _timed(lambda: files.puts(items, compress=compress, compression_level=level))[1]
    elif client.startswith("cloud-files"):
        theirs = there.cloud_files()
        figures = _timed(lambda: theirs.puts(items, compress=compress, compression_level=level))[1]
    elif client == "obstore, threads":
        import obstore

        store, bodies = there.obstore(), dict(items)
        figures = _timed(lambda: _pooled(lambda name: obstore.put(store, name, bodies[name]), names))[1]
    else:
        Path(there.prefix).mkdir(parents=True)
        bodies = dict(items)
        figures = _timed(lambda: _pooled(lambda name: Path(there.prefix, name).write_bytes(bodies[name]), names))[1]
    _verify(_read_back(there, names, client), size)
    return {**figures, "items": count}


def _read_back(there: Place, names: Sequence[str], client: str) -> list[bytes]:
    """Decoded contents, by another client than the one that stored them, where there is one that can."""
    if not there.endpoint and not client.startswith("cloud-files"):
        return [Path(there.prefix, name).read_bytes() for name in names]
    if client.startswith("ours"):
        found = {each["path"]: each["content"] for each in there.cloud_files().get(names)}
        return [found[name] for name in names]
    return [result["content"] for result in there.ours().get(names)]


# -- to and from disk -------------------------------------------------------------------------------------------------


def task_bucket_download(*, client: str, place: dict[str, str], many: bool, target: str, md5: str) -> Figures:
    """One object, or all below a prefix, to disk."""
    there = Place(**place)
    import_package(client)
    name = "" if many else "big.bin"
    if client.startswith("ours"):
        files, checksum = there.ours(), client == "ours"
        figures = _timed(lambda: files.download(name, target, checksum=checksum, overwrite="always"))[1]
    elif client == "s5cmd":
        if many:
            figures = _program(lambda: there.programs.s5cmd("cp", f"{there.url}/*", f"{target}/"))
        else:
            source = f"{there.url}/{name}"
            figures = _program(lambda: there.programs.s5cmd("cp", "--concurrency", str(AT_ONCE), source, target))
    elif client == "rclone":
        source = f"s:{there.bucket}/{there.prefix}"
        verb, source = ("copy", source) if many else ("copyto", f"{source}/{name}")
        figures = _program(lambda: there.programs.rclone(verb, source, target))
    else:
        keys = _keys(there) if many else [name]

        def fetch() -> None:
            if many:
                os.mkdir(target)
            with there.crt() as manager:
                pending = [
                    manager.download(there.bucket, f"{there.prefix}/{key}", f"{target}/{key}" if many else target)
                    for key in keys
                ]
                for each in pending:
                    each.result()

        figures = _timed(fetch)[1]
    found = md5_of_folder(Path(target)) if many else md5_of_file(Path(target))
    assert found == md5, f"{client}: what arrived is damaged"
    return {**figures, "items": 1}


def _keys(there: Place) -> list[str]:
    return list(there.ours().list())


def task_bucket_upload(*, client: str, place: dict[str, str], source: str, scratch: str) -> Figures:
    """One file, or a folder of them, from disk."""
    there = Place(**place)
    import_package(client)
    many = os.path.isdir(source)
    if client == "ours":
        files = there.ours()
        figures = _timed(lambda: files.upload(source, overwrite="always"))[1]
    elif client == "s5cmd":
        options = () if many else ("--concurrency", str(AT_ONCE))
        what = (f"{source}/", f"{there.url}/") if many else (source, f"{there.url}/big.bin")
        figures = _program(lambda: there.programs.s5cmd("cp", *options, *what))
    elif client == "rclone":
        target = f"s:{there.bucket}/{there.prefix}"
        verb, target = ("copy", target) if many else ("copyto", f"{target}/big.bin")
        figures = _program(lambda: there.programs.rclone(verb, source, target))
    else:

        def send() -> None:
            with there.crt() as manager:
                pairs = [(f"{source}/{name}", name) for name in os.listdir(source)] if many else [(source, "big.bin")]
                for each in [manager.upload(path, there.bucket, f"{there.prefix}/{key}") for path, key in pairs]:
                    each.result()

        figures = _timed(send)[1]
    back = Path(scratch, "back")
    there.ours().download("" if many else "big.bin", back, overwrite="always")
    before = md5_of_folder(Path(source)) if many else md5_of_file(Path(source))
    assert before == (md5_of_folder(back) if many else md5_of_file(back)), f"{client}: what was stored is damaged"
    shutil.rmtree(back) if many else back.unlink()
    there.ours().delete(_keys(there))
    return {**figures, "items": 1}


# -- listings ---------------------------------------------------------------------------------------------------------


def task_bucket_list(*, client: str, place: dict[str, str], count: int) -> Figures:
    """List all names below a prefix."""
    there = Place(**place)
    import_package(client)
    if client == "ours":
        found, figures = _timed(lambda: list(there.ours().list()))
    elif client == "obstore":
        import obstore

        store = there.obstore()
        found, figures = _timed(lambda: [each["path"] for page in obstore.list(store) for each in page])
    else:
        command = [_installed("s5cmd"), "--endpoint-url", there.endpoint, "ls", f"{there.url}/*"]
        printed: list[str] = []
        environment = {**os.environ, **there.secrets, "AWS_REGION": "us-east-1"}
        figures = _program(
            lambda: printed.extend(
                subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
            )
        )
        found = [line.split()[-1].removeprefix(f"{there.prefix}/") for line in printed]
    assert sorted(found) == _names(count), f"{client}: {len(found)} names"
    return {**figures, "items": count}


def task_bucket_sync(*, client: str, place: dict[str, str], source: str, count: int) -> Figures:
    """Find out that nothing is to be done for a folder of which the bucket has all."""
    there = Place(**place)
    if client == "ours":
        command = [shutil.which("cloudfiles-hypha") or "", "sync", f"file://{source}", there.cloudpath]
        environment = {**os.environ, **there.secrets}
        figures = _program(lambda: _run(command, environment))
    elif client == "s5cmd":
        figures = _program(lambda: there.programs.s5cmd("sync", f"{source}/", f"{there.url}/"))
    else:
        figures = _program(lambda: there.programs.rclone("sync", source, f"s:{there.bucket}/{there.prefix}"))
    return {**figures, "items": count}


def _run(command: Sequence[str], environment: dict[str, str]) -> None:
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _installed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise MissingPeer(program)
    return found


TASKS: dict[str, Callable[..., Figures]] = {
    "bucket-get": task_bucket_get,
    "bucket-put": task_bucket_put,
    "bucket-download": task_bucket_download,
    "bucket-upload": task_bucket_upload,
    "bucket-list": task_bucket_list,
    "bucket-sync": task_bucket_sync,
}
