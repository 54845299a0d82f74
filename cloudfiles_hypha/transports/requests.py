"""requests: the transport of those who bring a ``Session``, with its adapters, proxies, authentication and hooks.

What the session is set up to do it does: whom it trusts, its adapters' retries, its headers and cookies. Added is what
every transport promises: bodies as they were sent, whole or an error; sinks; timeouts; our errors. Tests that fake the
network below a session (``responses``) work as usual. The rest is as in ``urllib3``, which is what requests stands on.
"""

from __future__ import annotations

import logging
import os
from http.cookiejar import DefaultCookiePolicy
from threading import get_ident
from typing import Any

import requests
import urllib3
from requests import exceptions as failures

from ..errors import InvalidRequest, TransferError
from ..limit import RateLimit
from ..models import Body, Timeouts
from ..recording.flights import CURRENT
from ..redact import scrub
from .base import USER_AGENT, HttpRequest, HttpResponse, ca_bundle, host_of, split_user
from .urllib3 import POOLS, Source, Urllib3Transport, close_pools, note, translate

_MALFORMED = (failures.InvalidURL, failures.InvalidSchema, failures.MissingSchema, failures.InvalidHeader)
# The threads that are within ``send``.
_sending: set[int] = set()


def _without_secrets(record: logging.LogRecord) -> bool:
    """urllib3 logs whole URLs, and a query may be a signature; of requests that are ours it is cut out."""
    if record.thread in _sending and isinstance(record.args, tuple):
        record.args = tuple(arg if isinstance(arg, int | float | None) else scrub(str(arg)) for arg in record.args)
    return True


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_without_secrets)


def _as_it_is(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authentication that adds nothing; with none at all, requests would look one up in ``~/.netrc``."""
    return prepared


class RequestsTransport(Urllib3Transport):
    """Blocking requests through a ``requests.Session``: the user's, or one of its own.

    Threads share the session, which works as long as nobody changes it meanwhile. On a session of the user's
    ``aborting`` reaches a thread only once its answer has begun; before that, the request ends with its timeout.
    ``close`` leaves the user's session open.
    """

    def __init__(
        self, timeouts: Timeouts, session: requests.Session | None = None, limit: RateLimit | None = None
    ) -> None:
        super().__init__(timeouts, limit)
        self._given = session
        self._own: requests.Session | None = None

    def _session(self) -> requests.Session:
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None or self._pid != os.getpid():
                self._own, self._pid = requests.Session(), os.getpid()
                self._own.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
                for scheme in ("http://", "https://"):
                    adapter = requests.adapters.HTTPAdapter(pool_connections=32, pool_maxsize=512)
                    adapter.poolmanager.pool_classes_by_scheme = POOLS
                    self._own.mount(scheme, adapter)
            return self._own

    def _once(self, request: HttpRequest, url: str, headers: dict[str, str]) -> HttpResponse:
        url, user = split_user(url)
        given: dict[str, Any] = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **headers}
        if user is not None and "authorization" not in map(str.lower, given):
            given["Authorization"] = user
        redirected = host_of(url) != host_of(request.url)
        as_it_is = self._given is None or redirected or "authorization" in map(str.lower, given)
        if redirected and "Authorization" not in given:
            given["Authorization"] = None  # nor the session's own
        body: Any = request.body
        source: Source | None = None
        pace = self._pace(request)
        if isinstance(body, Body):
            body = source = Source(body, pace)
        elif body is not None:
            body = bytes(body)
        thread = get_ident()
        outermost = thread not in _sending
        _sending.add(thread)
        try:
            answer = self._session().request(
                request.method,
                url,
                data=b"" if source is not None and not source.len else body,
                headers=given,
                auth=_as_it_is if as_it_is else None,
                allow_redirects=False,
                stream=True,
                timeout=(self._timeouts.connect, request.idle or self._timeouts.idle),
                verify=ca_bundle() if self._given is None else None,
            )
        finally:
            if outermost:
                _sending.discard(thread)
            if source is not None:
                source.close()
        flight = CURRENT.get()
        if flight is not None:
            flight.answered(url)
        raw = answer.raw
        try:
            note(getattr(raw, "connection", None))
            content = b"" if request.method == "HEAD" else self._read(raw, request.sink, pace)
        except BaseException:
            answer.close()
            raise
        raw.release_conn()
        return HttpResponse(answer.status_code, content, [], {k.lower(): v for k, v in answer.headers.items()})

    def _translate(self, error: BaseException, url: str) -> TransferError:
        if isinstance(error, _MALFORMED):
            return InvalidRequest(f"not a request that can be sent: {scrub(str(error))} ({host_of(url)})")
        if isinstance(error, failures.RequestException):  # around what urllib3 has raised
            for inner in error.args:
                if isinstance(inner, urllib3.exceptions.HTTPError):
                    return translate(getattr(inner, "reason", None) or inner, url)
        return super()._translate(error, url)

    def close(self) -> None:
        """Close the connections of a session of its own."""
        with self._lock:
            own, self._own = self._own, None
            if own is None or self._pid != os.getpid():
                return
            for adapter in own.adapters.values():
                pools = getattr(adapter, "poolmanager", None)
                if pools is not None:
                    close_pools(pools)
            own.close()
