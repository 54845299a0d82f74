"""What is said holds no secret, and shows every character that is there."""

from __future__ import annotations

import base64
import unicodedata

import pytest

from cloudfiles_hypha.redact import printable, scrub, without_credentials


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("GET /a?X-Amz-Signature=5ec2e7&x=1 failed", "GET /a?*** failed"),
        ("url: 'http://h/a?5ec2e7' (x)", "url: 'http://h/a?***' (x)"),
        ("Authorization: Bearer 5ec2e7.a-b_c", "Authorization: Bearer ***"),
        ("{'Authorization': 'Basic 5ec2e7='}", "{'Authorization': 'Basic ***'}"),
        ("bearer  5ec2e7", "bearer  ***"),
        ("http://user:5ec2e7@h:1/a and https://5ec2e7@h/b", "http://***@h:1/a and https://***@h/b"),
        ("socks5://user:5ec2e7@proxy", "socks5://***@proxy"),
        ("the token eyJhbGci.eyJzY29w.5ec2e7-_ has expired", "the token *** has expired"),
        ("a=1&X-Amz-Security-Token=5ec2e7&b=2", "a=1&X-Amz-Security-Token=***&b=2"),
        ("hypha://alias@v1/a/b: is that so? yes", "hypha://alias@v1/a/b: is that so? yes"),
        ("write to me@example.org", "write to me@example.org"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_messages_of_others_are_quoted_without_secrets(said: str, kept: str) -> None:
    assert scrub(said) == kept
    assert scrub(kept) == kept


@pytest.mark.parametrize("secret", ["t0ken+of/mine", "ü&=", "plain", "a" * 200])
def test_a_secret_that_is_known_is_cut_out_in_every_form(secret: str) -> None:
    encoded = "".join(f"%{byte:02X}" if byte > 126 or chr(byte) in "+/&=" else chr(byte) for byte in secret.encode())
    forms = [secret, encoded, base64.b64encode(secret.encode()).decode().rstrip("=")]
    for form in forms:
        assert form not in scrub(f"it said <{form}>, and [{form}]", ["", None, "other", secret])
    assert scrub("it said nothing", ["", None]) == "it said nothing"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert scrub("abcdef", ["abc", "abcdef"]) == "***"


def test_what_a_terminal_would_obey_or_not_show_is_shown() -> None:
    assert printable("a\x1b[2Jb\rc\nd\x9be\u202ef\u200bg\ud800h") == (r"a\x1b[2Jb\rc\nd\x9be\u202ef\u200bg\ud800h")
    assert scrub("Bearer x\x1b]0;me\x07") == r"Bearer ***"
    assert printable("naïve 🦆 日本語 '\"\\") == "naïve 🦆 日本語 '\"\\"


def test_no_character_of_control_format_or_line_breaking_gets_through() -> None:
    for number in range(0x110000):
        if unicodedata.category(chr(number)) in ("Cc", "Zl", "Zp", "Cs"):
            assert printable(chr(number)).startswith("\\"), hex(number)
    marks = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200c\u200d\u2060\ufeff\xad"
    assert printable(marks).isascii()


@pytest.mark.parametrize(
    ("cloudpath", "shown"),
    [
        ("http://user:5ec2e7@h/a", "http://h/a"),
        ("http://5ec2e7@h/a?5ec2e7#5ec2e7", "http://h/a"),
        ("hypha://https://u:5ec2e7@h/ws/alias@v1", "hypha://https://h/ws/alias@v1"),
        ("hypha://ws/alias@v1", "hypha://ws/alias@v1"),
        ("alias@v1", "alias@v1"),
    ],
)
def test_a_cloudpath_is_named_without_its_user(cloudpath: str, shown: str) -> None:
    assert without_credentials(cloudpath) == shown
