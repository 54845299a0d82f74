"""Ways to carry out one HTTP request; ``open_transport`` chooses one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..limit import RateLimit
from ..models import Timeouts
from .base import HttpRequest, HttpResponse, Take, Transport

if TYPE_CHECKING:
    import requests

__all__ = ["HttpRequest", "HttpResponse", "Take", "Transport", "open_transport"]


NAMES = ("auto", "curl", "urllib3", "requests")


def open_transport(
    name: str,
    timeouts: Timeouts,
    *,
    green: bool,
    session: requests.Session | None = None,
    limit: RateLimit | None = None,
) -> Transport:
    """The transport called ``name`` (one of ``NAMES``), in the form that the engine needs.

    "auto" is libcurl, or urllib3 where pycurl is not installed; with a ``session`` it is requests. Each keeps to a
    ``limit``.
    """
    if name not in NAMES:
        raise ValueError(f"transport={name!r}: choose {', '.join(map(repr, NAMES[:-1]))} or {NAMES[-1]!r}")
    if session is not None and name not in ("auto", "requests"):
        raise ValueError(f"transport={name!r} cannot use a session of requests; leave one of the two out")
    if session is None and name in ("auto", "curl"):
        try:
            if green:
                from .curl.gevent import GreenTransport

                return GreenTransport(timeouts, limit)
            from .curl.transport import CurlTransport

            return CurlTransport(timeouts, limit)
        except ImportError:
            if name == "curl":
                raise
    if green:
        from gevent.monkey import is_module_patched

        if not is_module_patched("socket"):
            kind = "requests" if session is not None or name == "requests" else "urllib3"
            raise ValueError(
                f"{kind} cannot run in greenlets unless gevent has patched sockets: "
                "call gevent.monkey.patch_all() first, or use transport='curl'"
            )
    if session is not None or name == "requests":
        from .requests import RequestsTransport

        return RequestsTransport(timeouts, session, limit)
    from .urllib3 import Urllib3Transport

    return Urllib3Transport(timeouts, limit)
