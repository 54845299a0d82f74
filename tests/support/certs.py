"""Certificates for servers on localhost: good, from a stranger, or for another name; made afresh in each process."""

from __future__ import annotations

import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Authority:
    """An authority, whose certificate is the file ``ca_pem``, and a server context that it vouches for."""

    ca_pem: Path
    server_context: ssl.SSLContext


def make_ca(folder: Path, *, names: tuple[str, ...] = ("localhost", "127.0.0.1")) -> Authority:
    """Make an authority and, signed by it, a certificate for ``names``; only the authority's goes to ``folder``.

    For a server that is not to be trusted, call it twice and trust the other one's ``ca_pem``.
    For a certificate that does not match, give other ``names``.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    ca_pem = folder / f"ca-{secrets.token_hex(4)}.pem"
    authority.cert_pem.write_to_path(str(ca_pem))
    return Authority(ca_pem, context)
