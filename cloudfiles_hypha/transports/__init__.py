"""Ways to carry out one HTTP request; ``open_transport`` chooses one."""

from __future__ import annotations

from ..models import Timeouts
from .base import HttpRequest, HttpResponse, Take, Transport

__all__ = ["HttpRequest", "HttpResponse", "Take", "Transport", "open_transport"]


def open_transport(name: str, timeouts: Timeouts, *, green: bool) -> Transport:
    """The transport called ``name`` ("auto", "curl" or "urllib3"), in the form that the engine needs.

    "auto" is libcurl, or urllib3 where pycurl is not installed.
    """
    if name not in ("auto", "curl", "urllib3"):
        raise ValueError(f"transport={name!r}: choose 'auto', 'curl' or 'urllib3'")
    if name != "urllib3":
        try:
            if green:
                from .curl.gevent import GreenTransport

                return GreenTransport(timeouts)
            from .curl.transport import CurlTransport

            return CurlTransport(timeouts)
        except ImportError:
            if name == "curl":
                raise
    if green:
        from gevent.monkey import is_module_patched

        if not is_module_patched("socket"):
            raise ValueError(
                "urllib3 cannot run in greenlets unless gevent has patched sockets: "
                "call gevent.monkey.patch_all() first, or use transport='curl'"
            )
    from .urllib3 import Urllib3Transport

    return Urllib3Transport(timeouts)
