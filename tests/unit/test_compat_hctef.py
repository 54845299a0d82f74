"""``compat.hctef``: the examples of hctef's documentation with only the import changed, and what else users have."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import RangeCache, TransferError
from cloudfiles_hypha.compat import hctef
from cloudfiles_hypha.compat.hctef import HttpFile, aio, exceptions
from cloudfiles_hypha.compat.hctef.aio import AsyncHttpFile
from tests.support.nginx import nginx
from tests.support.object_server import Always, IgnoreRange, ObjectServer, Status

CONTENT = b"".join(b"%05d\n" % number for number in range(30_000))

# As they are printed, but for the import; ``https://example.com`` is put in their place by ``run``.
QUICK_START = """
from cloudfiles_hypha.compat.hctef import HttpFile

url = "https://example.com/large-file.bin"

with HttpFile(url) as f:
    # Read first 100 bytes
    data = f.read(100)

    # Seek to a specific position
    f.seek(1000)

    # Read from current position
    more_data = f.read(50)

    # Get current position
    position = f.tell()

    # Seek relative to end of file
    f.seek(-100, 2)
"""
ASYNC = """
import asyncio
from cloudfiles_hypha.compat.hctef.aio import AsyncHttpFile

url = "https://example.com/large-file.bin"

async with AsyncHttpFile(url) as f:
    # Read first 100 bytes
    data = await f.read(100)

    # Seek to a specific position (synchronous - no I/O)
    f.seek(1000)

    # Read from current position
    more_data = await f.read(50)
"""
CURSORS = """
import asyncio
from cloudfiles_hypha.compat.hctef.aio import AsyncHttpFile

url = "https://example.com/large-file.bin"

async with AsyncHttpFile(url) as f:
    # Create independent cursors for parallel reading
    cursor1 = f.clone()
    cursor2 = f.clone()

    # Position each cursor at different locations
    f.seek(0)
    cursor1.seek(1000)
    cursor2.seek(2000)

    # Read from all three positions in parallel
    # All cursors share the same cache and HTTP session
    results = await asyncio.gather(
        f.read(100),        # Read bytes 0-100
        cursor1.read(100),  # Read bytes 1000-1100
        cursor2.read(100),  # Read bytes 2000-2100
    )

    # Each cursor maintains independent position
    print(f.tell())        # 100
    print(cursor1.tell())  # 1100
    print(cursor2.tell())  # 2100
"""
OPTIONS = """
f = HttpFile(
    url,
    minimum_range_request_bytes=8192,  # Minimum bytes per request (default: 8KB)
    prefetch_bytes=1048576,             # Bytes to prefetch on open (default: 1MB)
    prefetch_direction='END'            # 'START' or 'END' (default: 'END')
)
"""
ERRORS = """
from cloudfiles_hypha.compat.hctef import HttpFile
from cloudfiles_hypha.compat.hctef.exceptions import HctefNetworkError, HctefUrlError

try:
    with HttpFile("https://example.com/file.bin") as f:
        data = f.read(100)
except HctefNetworkError as e:
    print(f"Network error: {e}")
except HctefUrlError as e:
    print(f"Invalid URL: {e}")
"""


@pytest.fixture(autouse=True)
def cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has read is not there for another; nor is what the developer's shell says."""
    from cloudfiles_hypha.ranges import cache

    monkeypatch.setattr(cache, "_default", RangeCache())
    for name in ("DIR", "BLOCK_BYTES", "MAX_BYTES", "IMMUTABLE"):
        monkeypatch.delenv(f"HCTEF_CACHE_{name}", raising=False)


@pytest.fixture(params=["in memory", "nginx"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a server that has the large file."""
    if request.param == "nginx":
        if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin") is None:
            pytest.skip("nginx is not installed")
        (tmp_path / "root").mkdir()
        (tmp_path / "state").mkdir()
        (tmp_path / "root/large-file.bin").write_bytes(CONTENT)
        with nginx(tmp_path / "root", tmp_path / "state") as url:
            yield url
        return
    with ObjectServer() as server:
        server.put("large-file.bin", CONTENT)
        yield server.url


def run(example: str, host: str, **names: Any) -> dict[str, Any]:
    """What an example leaves, run against a server."""
    code = example.replace("https://example.com", host)
    if "await" in code:
        body = "".join(f"    {line}\n" for line in code.splitlines())
        code = f"import asyncio\nasync def main():\n{body}\n    return locals()\nfound = asyncio.run(main())\n"
    exec(code, names)
    return names | names.get("found", {})


def test_quick_start(host: str) -> None:
    names = run(QUICK_START, host)
    assert (names["data"], names["more_data"], names["position"]) == (CONTENT[:100], CONTENT[1000:1050], 1050)
    assert names["f"].closed


def test_asynchronous_usage(host: str) -> None:
    names = run(ASYNC, host)
    assert (names["data"], names["more_data"]) == (CONTENT[:100], CONTENT[1000:1050])


def test_parallel_reads_with_several_cursors(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(CURSORS, host)
    assert names["results"] == [CONTENT[:100], CONTENT[1000:1100], CONTENT[2000:2100]]
    assert capsys.readouterr().out == "100\n1100\n2100\n"


def test_configuration_options(host: str) -> None:
    with run(OPTIONS, host, HttpFile=HttpFile, url=f"{host}/large-file.bin")["f"] as file:
        assert file.read() == CONTENT
    for kind in (HttpFile, AsyncHttpFile):
        defaults = {name: each.default for name, each in inspect.signature(kind).parameters.items()}
        assert [*defaults][:4] == ["url", "minimum_range_request_bytes", "prefetch_bytes", "prefetch_direction"]
        assert [*defaults.values()][1:4] == [8192, 1048576, "END"]


def test_error_handling(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(ERRORS, host)
    assert capsys.readouterr().out == "Network error: file.bin: not found: HTTP 404\n"
    run(ERRORS.replace("https://example.com/file.bin", "example.com/file.bin"), host)
    assert capsys.readouterr().out.startswith("Invalid URL: ")


def test_the_errors_are_those_of_the_documentation_and_at_the_root_too() -> None:
    assert issubclass(exceptions.HctefNetworkError, exceptions.HctefError)
    assert issubclass(exceptions.HctefNetworkError, IOError)
    assert issubclass(exceptions.HctefUrlError, exceptions.HctefError)
    assert issubclass(exceptions.HctefUrlError, ValueError)
    assert issubclass(exceptions.RangeRequestsUnsupportedError, exceptions.HctefNetworkError)
    for name in ("HctefError", "HctefNetworkError", "HctefUrlError", "RangeRequestsUnsupportedError"):
        assert getattr(hctef, name) is getattr(exceptions, name)
    assert aio.__all__ == ["AsyncHttpFile"]


@pytest.mark.parametrize("wrong", ["", "file.bin", "host/file.bin", "https://host/", "gopher://host/a", 5])
def test_what_is_no_url_is_told_when_the_file_is_made(wrong: Any) -> None:
    for kind in (HttpFile, AsyncHttpFile):
        with pytest.raises(exceptions.HctefUrlError):
            kind(wrong)


def test_a_server_without_ranges_is_an_error_with_a_reason(object_server: ObjectServer) -> None:
    object_server.put("a", CONTENT, faults=[Always(IgnoreRange())])

    async def awaited() -> None:
        await AsyncHttpFile(f"{object_server.url}/a", prefetch_bytes=100).open()

    for use in (lambda: HttpFile(f"{object_server.url}/a", prefetch_bytes=100).open(), lambda: asyncio.run(awaited())):
        with pytest.raises(hctef.RangeRequestsUnsupportedError) as told:
            use()
        assert told.value.reason == "ignored"
        assert isinstance(told.value.__cause__, TransferError)
    with HttpFile(f"{object_server.url}/a") as file:  # all of which is what was to be fetched in opening it
        assert file.read() == CONTENT


def test_nothing_is_asked_before_it_is_opened_and_once_then(object_server: ObjectServer) -> None:
    object_server.put("a", CONTENT)
    url = f"{object_server.url}/a"
    for use in (
        lambda f: f.open(),
        lambda f: f.size,
        lambda f: f.read(1),
        lambda f: f.seek(0, 2),
        lambda f: f.clone().read(1),
        lambda f: f.__enter__().__enter__(),
    ):
        file = HttpFile(url)
        before = len(object_server.requests)
        assert "not open" in repr(file)
        use(file)
        use(file)
        assert len(object_server.requests) - before == 1
        file.close()
        assert file.closed
    with HttpFile(url) as file:
        assert pickle.loads(pickle.dumps(file)).size == len(CONTENT)
    with pytest.raises(hctef.HctefNetworkError) as told:
        HttpFile(f"{object_server.url}/missing").open()
    assert (told.value.path, told.value.status) == ("missing", 404)


def test_no_prefetch_is_a_request_for_what_it_is(object_server: ObjectServer) -> None:
    object_server.put("a", CONTENT)
    with HttpFile(f"{object_server.url}/a", prefetch_bytes=0) as file:
        assert [record.method for record in object_server.requests] == ["HEAD"]
        file.read(10)
    assert object_server.requests[-1].range == "bytes=0-8191"


def test_prefetch_gives_what_was_newly_asked_for(object_server: ObjectServer) -> None:
    object_server.put("a", CONTENT)

    async def awaited() -> int:
        async with AsyncHttpFile(f"{object_server.url}/a", 0, 0) as file:
            return await file.prefetch([(0, 100), (50_000, 100)])

    with HttpFile(f"{object_server.url}/a", 0, 0) as file:
        assert (file.prefetch([(0, 100), (500, 100)]), file.prefetch([(50, 100)])) == (200, 50)
        assert asyncio.run(awaited()) == 100  # the others are here already


def test_the_cache_is_where_options_or_the_environment_say(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_server.put("a", CONTENT)
    for name in ("DIR", "BLOCK_BYTES", "MAX_BYTES", "IMMUTABLE"):
        value = str(tmp_path / "environment") if name == "DIR" else "65536"
        monkeypatch.setenv(f"HCTEF_CACHE_{name}", value)
    with HttpFile(f"{object_server.url}/a", prefetch_bytes=0) as file:
        file.read(10)
        assert object_server.requests[-1].range == "bytes=0-65535"
        assert file._cursor.remote.options.cache_dir_bytes == 65536
    assert [*(tmp_path / "environment").iterdir()]
    with HttpFile(
        f"{object_server.url}/a", cache_dir=tmp_path / "own", block_size=10, max_bytes=10**6, immutable=True
    ) as file:
        file.read(10)
        assert file._cursor.remote.options.cache_dir_bytes == 10**6
    assert [*(tmp_path / "own").iterdir()]
    monkeypatch.setenv("HCTEF_CACHE_MAX_BYTES", "much")
    with pytest.raises(ValueError, match="HCTEF_CACHE_MAX_BYTES"):
        HttpFile(f"{object_server.url}/a")


def test_options_of_another_http_client_are_refused(object_server: ObjectServer) -> None:
    url = f"{object_server.url}/a"
    assert (
        AsyncHttpFile(url, transport="aiohttp", session_kwargs={}, max_concurrency=3).files._settings.num_threads == 3
    )
    for options in ({"transport": "pyfetch"}, {"transport": object()}, {"session_kwargs": {"trust_env": True}}):
        with pytest.raises(ValueError, match=next(iter(options))):
            AsyncHttpFile(url, **options)  # type: ignore[arg-type]


def test_what_a_busy_server_says_is_obeyed_in_both(object_server: ObjectServer) -> None:
    object_server.put("a", CONTENT, faults=[Status(429, {"Retry-After": "0"}), Status(503, {"Retry-After": "0"})])
    with HttpFile(f"{object_server.url}/a") as file:
        assert file.read(10) == CONTENT[:10]
