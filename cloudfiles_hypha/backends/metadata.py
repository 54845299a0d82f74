"""What users say of their objects by names of their own: how it is written, and what a store takes of it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .base import Capabilities

Metadata = tuple[tuple[str, str], ...]
"""Names, in lower case, with their values."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def metadata_of(metadata: object) -> Metadata:
    """Names and values as they are sent: HTTP headers, whose names are in no case and whose values are trimmed."""
    if metadata is None:
        return ()
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata is a dict of text to text, not {type(metadata).__name__}")
    found: dict[str, str] = {}
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"metadata is a dict of text to text, not {name!r}: {value!r:.60}")
        if _TOKEN.fullmatch(name) is None:
            raise ValueError(f"metadata: {name!r} is no name that a header can have: ASCII letters, digits, - and _")
        if not value.isascii() or not value.isprintable() or not value or value != " ".join(value.split()):
            raise ValueError(
                f"metadata: {name!r}: {value!r:.60} is no value that a header can have: printable ASCII text that is "
                "not empty, with single spaces within"
            )
        if name.lower() in found:
            raise ValueError(f"metadata: {name!r} is there twice, as headers know no case")
        found[name.lower()] = value
    return tuple(found.items())


def check_metadata(metadata: Metadata, can: Capabilities) -> None:
    """Raise ``ValueError`` unless that is what a store takes."""
    if not metadata:
        return
    if not can.metadata:
        raise ValueError("no metadata is kept there; leave it out")
    size = sum(len(name) + len(value) for name, value in metadata)
    if size > can.metadata:
        raise ValueError(f"metadata of {size} bytes, and at most {can.metadata} are kept there")
    for name, _ in metadata:
        if re.fullmatch(can.metadata_names, name) is None:
            raise ValueError(f"metadata: {name!r} is no name there, which looks like {can.metadata_names}")
