"""Cloudpaths say where; names are refused where a server or a disk would read another one."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfiles_hypha import paths
from cloudfiles_hypha.backends import locate
from cloudfiles_hypha.backends.gcs import GcsLocation
from cloudfiles_hypha.backends.hypha import HyphaLocation
from cloudfiles_hypha.backends.memory import MemoryLocation
from cloudfiles_hypha.backends.web import WebLocation
from cloudfiles_hypha.paths import Location, check_local_name, check_name, quote_path

GOOD = [
    ("ws/alias", HyphaLocation(scheme="hypha", root="hypha://ws/alias", workspace="ws", alias="alias")),
    ("hypha://ws/alias", HyphaLocation(scheme="hypha", root="hypha://ws/alias", workspace="ws", alias="alias")),
    ("hypha://ws/alias/", HyphaLocation(scheme="hypha", root="hypha://ws/alias", workspace="ws", alias="alias")),
    (
        "hypha://ws/alias@v1/a/b/",
        HyphaLocation(
            scheme="hypha", root="hypha://ws/alias@v1", workspace="ws", alias="alias", version="v1", prefix="a/b/"
        ),
    ),
    (
        "hypha://ws|user-1/alias",
        HyphaLocation(scheme="hypha", root="hypha://ws|user-1/alias", workspace="ws|user-1", alias="alias"),
    ),
    ("alias", HyphaLocation(scheme="hypha", root="hypha://alias", alias="alias")),
    ("hypha://alias@v2", HyphaLocation(scheme="hypha", root="hypha://alias@v2", alias="alias", version="v2")),
    (
        "hypha://https://host:9527/ws/alias/x",
        HyphaLocation(
            scheme="hypha",
            root="hypha://https://host:9527/ws/alias",
            server="https://host:9527",
            workspace="ws",
            alias="alias",
            prefix="x/",
        ),
    ),
    (
        "hypha://http://host/alias",
        HyphaLocation(scheme="hypha", root="hypha://http://host/alias", server="http://host", alias="alias"),
    ),
    ("gs://bucket", GcsLocation(scheme="gs", root="gs://bucket", bucket="bucket")),
    ("gs://a.b-c_1/x/y/", GcsLocation(scheme="gs", root="gs://a.b-c_1", prefix="x/y/", bucket="a.b-c_1")),
    ("mem://bucket", MemoryLocation(scheme="mem", root="mem://bucket", bucket="bucket")),
    ("mem://bucket/a/b//", MemoryLocation(scheme="mem", root="mem://bucket", prefix="a/b/", bucket="bucket")),
    ("http://host", WebLocation(scheme="http", root="http://host/", base="http://host/")),
    ("https://host:1/a%20b//", WebLocation(scheme="https", root="https://host:1/a%20b/", base="https://host:1/a%20b/")),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_a_cloudpath_says_where(text: str, expected: Location) -> None:
    assert locate(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected hypha"),
        ("hypha://", "expected hypha"),
        ("hypha:///", "expected hypha"),
        ("ws/@v1", "expected hypha"),
        ("ws/alias@", "expected hypha"),
        ("ws/two words", "expected hypha"),
        ("hypha://https:///ws/alias", "host is missing"),
        ("ws/alias/../other", "'..'"),
        ("mem://", "bucket name is missing"),
        ("mem://b/a/../c", "'..'"),
        ("http://", "host is missing"),
        ("https:///", "host is missing"),
        ("https://host/a?b", "no query"),
        ("https://host/a#b", "no fragment"),
        ("gs://", "expected gs://bucket"),
        ("gs://Bucket?x", "expected gs://bucket"),
        ("gs://bucket/../a", "'..'"),
        ("gopher://host/a", "unknown scheme 'gopher'"),
        ("s3://", "bucket is missing"),
        ("s3:///a", "bucket is missing"),
        ("s3://b@d/a", "name of a bucket"),
        ("s3://bucket/a/../c", "'..'"),
        ("s3://https://host", "bucket is missing"),
        ("s3://https:///bucket", "host is missing"),
        ("s3://https://key:word@host/bucket", "secrets="),
    ],
)
def test_what_is_no_cloudpath_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="(?i)" + says.replace(".", r"\.")):
        locate(text)


@pytest.mark.parametrize("path", [None, b"ws/alias", 7, ["ws/alias"]])
def test_a_cloudpath_is_a_string(path: object) -> None:
    with pytest.raises(TypeError, match="string"):
        locate(path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "https://host/a?X-Amz-Signature=5ec2e7",
        "https://host/a#5ec2e7",
        "https://user:5ec2e7@/",
        "https://user:5ec2e7@host/?q",
        "htps://user:5ec2e7@host/?X-Amz-Signature=5ec2e7",
        "s3://key:5ec2e7@bucket/x",
        "s3://https://key:5ec2e7@host/bucket/x",
        "s3://bucket?X-Amz-Signature=5ec2e7",
        "hypha://https://user:5ec2e7@/ws/alias",
        "hypha://https://user:5ec2e7@host/ws/alias@",
    ],
)
def test_what_is_refused_is_named_without_its_secrets(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        locate(text)
    assert "5ec2e7" not in str(caught.value)


def test_a_version_is_no_password() -> None:
    with pytest.raises(ValueError, match=r"'hypha://alias@': expected"):
        locate("hypha://alias@")


def test_a_url_given_as_a_path_is_refused_without_its_signature() -> None:
    with pytest.raises(ValueError, match="a path is relative") as caught:
        check_name("https://bucket.s3.example/a?X-Amz-Signature=5ec2e7")
    assert "5ec2e7" not in str(caught.value)


REFUSED = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/..",
    "a/../b",
    "./a",
    "a/./b",
    "a/.",
    "a\\b",
    "..\\a",
    "C:\\a",
    "a\x00b",
    "a\nb",
    "a\rb",
    "\x7f",
    "\x1b[31m",
    "a\ud800b",
]
ACCEPTED = [
    "a",
    "a..b",
    "a/b..c/..d/e..",
    "...",
    ".hidden/...x",
    "a b",
    " a ",
    "#",
    "?x=1",
    "100%",
    "%2e%2e/x",
    "a+b&c",
    "C:",
    "nul",
    "日本/🦆",
    unicodedata.normalize("NFD", "é"),
    "\u202e",
]


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_names_that_could_be_read_as_others_are_refused(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_name(name)
    assert name == "" or repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ACCEPTED, ids=ascii)
def test_names_that_are_merely_odd_are_accepted_and_left_as_they_are(name: str) -> None:
    assert check_name(name) is name


@pytest.mark.parametrize("name", [None, b"a", 7, ["a"]])
def test_a_name_is_a_string(name: object) -> None:
    with pytest.raises(TypeError, match="string"):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["C:", "c:a", "x/D:/y", "NUL", "nul", "a/CON/b", "con.txt", "Aux.tar.gz", "COM1", "lpt9.x", "nul .txt"]
)
def test_names_that_windows_would_read_as_others_are_not_written_to_disk(name: str) -> None:
    with pytest.raises(ValueError, match="not written to disk"):
        check_local_name(name)


@pytest.mark.parametrize("name", ["C:", "c:a", "a/CON/b", "aux.txt", "COM¹", "conin$"])
def test_such_names_are_written_on_request_where_the_system_can_hold_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ON_WINDOWS", False)
    with pytest.raises(ValueError, match="windows_names=True"):
        check_local_name(name)
    assert check_local_name(name, windows_names=True) == name
    monkeypatch.setattr(paths, "ON_WINDOWS", True)
    with pytest.raises(ValueError, match="not written to disk"):
        check_local_name(name, windows_names=True)


@pytest.mark.parametrize("name", ["a.", "a ", "d./x", "ab:c", "what?", 'a"b', "a|b"])
def test_names_that_windows_cannot_hold_are_refused_there_and_fine_elsewhere(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ON_WINDOWS", False)
    assert check_local_name(name) == name
    monkeypatch.setattr(paths, "ON_WINDOWS", True)
    with pytest.raises(ValueError, match="Windows"):
        check_local_name(name)


@pytest.mark.parametrize("name", [name for name in REFUSED if name])
def test_windows_names_open_no_way_out_of_the_folder(name: str) -> None:
    with pytest.raises(ValueError):
        check_local_name(name, windows_names=True)


@pytest.mark.parametrize("name", ["console", "a..b", "COM", "COM10", "nulx.txt", "a/null"])
def test_names_like_those_are_written(name: str) -> None:
    assert check_local_name(name) == name


@pytest.mark.parametrize("name", [name for name in REFUSED if name])
def test_a_local_name_is_a_name(name: str) -> None:
    with pytest.raises(ValueError):
        check_local_name(name)


def test_quoting_leaves_no_character_that_means_something_in_a_url() -> None:
    assert quote_path("a b/#?%+&=;,:@!$'()*[]é\u0301") == (
        "a%20b/%23%3F%25%2B%26%3D%3B%2C%3A%40%21%24%27%28%29%2A%5B%5D%C3%A9%CC%81"
    )
    assert quote_path("plain/name-1_2.tar~") == "plain/name-1_2.tar~"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_quoted_name_reads_back_exactly(name: str) -> None:
    quoted = quote_path(name)
    assert quoted.isascii()
    parts = urlsplit(f"http://host/{quoted}")
    assert (unquote(parts.path.removeprefix("/")), parts.query, parts.fragment) == (name, "", "")


@given(st.text())
def test_a_name_that_is_accepted_stays_below_its_folder(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    assert not name.startswith("/")
    assert not {"", ".", ".."} & set(name.split("/"))
    assert "\\" not in name
