"""``sign``: URLs that anybody can read by; and what is said where no token was."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from cloudfiles_hypha import ArtifactFiles, InvalidRequest
from cloudfiles_hypha.cli.main import main
from tests.support.fake_hypha import FakeHypha
from tests.support.s3_servers import S3Server, seaweed

Run = Callable[..., tuple[int, str, str]]
FILES = {"d/a é+#.txt": b"A", "d/b.txt": b"B"}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with seaweed() as server:
        server.make_bucket("links")
        with ArtifactFiles(server.cloudpath("links"), secrets=server.secrets) as cf:
            cf.puts([*FILES.items()])
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def read(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        content: bytes = answer.read()
        return content


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.secrets.items():
        monkeypatch.setenv(name, value)
    return server.cloudpath("links")


def test_anybody_can_read_by_a_signed_url_and_only_by_that(run: Run, bucket: str) -> None:
    code, out, said = run("sign", "--expires", "5m", f"{bucket}/d/*")
    assert (code, said) == (0, "")
    urls = out.splitlines()
    assert [read(url) for url in urls] == [*FILES.values()]
    for wrong in (urls[0].partition("?")[0], urls[0].replace("Expires=300", "Expires=301")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            read(wrong)
        assert refused.value.code == 403
        refused.value.close()


def test_what_is_not_there_is_not_signed(run: Run, bucket: str) -> None:
    code, out, said = run("sign", "--json", f"{bucket}/none", f"{bucket}/d/b.txt")
    assert (code, read(json.loads(out)["url"]), "none" in said, "X-Amz" in said) == (1, b"B", True, False)


@pytest.mark.parametrize(
    "arguments", [["mem://bucket/a"], ["--expires", "8d", "s3://bucket/a"], ["--expires", "0s", "s3://bucket/a"]]
)
def test_what_cannot_be_signed_is_2(run: Run, arguments: list[str]) -> None:
    code, out, said = run("sign", *arguments)
    assert (code, out, said.count("\n")) == (2, "", 1)


def test_hypha_signs_and_a_missing_token_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/data", FILES)
        monkeypatch.setenv("HYPHA_SERVER_URL", hypha.url)
        monkeypatch.setenv("HYPHA_TOKEN", hypha.token or "")
        code, out, _ = run("sign", "hypha://ws/data/d/b.txt")
        assert (code, read(out.strip())) == (0, b"B")
        code, _, said = run("sign", "hypha://ws/data/none")
        assert (code, "hypha://ws/data/none: " in said) == (1, True)
        monkeypatch.delenv("HYPHA_TOKEN")
        code, _, said = run("touch", "hypha://ws/data/x")
        assert (code, "(no token was sent: HYPHA_TOKEN is not set, or not for this server)" in said) == (2, True)


def test_a_program_has_such_urls_too(server: S3Server) -> None:
    with ArtifactFiles(f"{server.cloudpath('links')}/d", secrets=server.secrets) as cf:
        assert read(cf.urls("b.txt", expires_in=60)) == b"B"
        for wrong in (0, 7 * 86_400 + 1, 1.5, True):
            with pytest.raises(ValueError, match="expires_in"):
                cf.urls("b.txt", expires_in=wrong)  # type: ignore[arg-type]
    with ArtifactFiles("mem://links") as cf:
        cf.put("a", b"A")
        with pytest.raises(InvalidRequest, match="gives no URLs"):
            cf.urls("a")
        cf.delete("a")
