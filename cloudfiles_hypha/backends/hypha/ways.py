"""By which way bytes travel: what is added to requests for the URLs that a server has signed.

URLs lead to the server's S3, or, for those who cannot reach it (``use_proxy``) and for artifacts that are kept in git,
to the server itself. Headers that a user has for the server go there and nowhere else, wherever a redirect leads.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from urllib.parse import urljoin

from ...credentials import Routes
from ...errors import InvalidRequest
from ...transports import HttpRequest, HttpResponse
from ...transports.base import Sender, check_url, host_of

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
# Hypha's proxy (0.21) decodes a path and does not encode it again. Not every store finds that it is not what was
# signed: SeaweedFS stores ``a%20b`` as ``a b``.
_NOT_PASSED_ON = re.compile(r"%(?:23|3F|25[0-9A-F]{2})", re.IGNORECASE)
_log = logging.getLogger("cloudfiles_hypha")


class Ways:
    """A ``Sender`` for the bytes of one artifact."""

    def __init__(self, server: str, artifact: str, routes: Routes, sender: Sender) -> None:
        self._host = host_of(server)
        self._artifact = artifact
        self._routes = routes
        self._sender = sender
        self._told = routes.use_proxy is not True  # one line is enough; two threads may write one each

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request to wherever its URL leads."""
        if not self._told or _NOT_PASSED_ON.search(request.url):
            self._look(request.url)
        if not self._routes.headers:
            return self._sender.send(request)
        sent = request
        for _ in range(_MOST_REDIRECTS + 1):
            ours = host_of(sent.url) == self._host
            headers = (*request.headers, *self._routes.headers) if ours else request.headers
            response = self._sender.send(replace(sent, headers=headers, follow=False))
            location = response.header("location")
            if not request.follow or location is None or response.status not in _REDIRECTS:
                break
            sent = replace(sent, url=check_url(urljoin(sent.url, location)))
        return response

    def _look(self, url: str) -> None:
        """Refuse what would come to another name; say where the server goes its own way, which nothing else tells
        whose store can be reached after all."""
        address, _, query = url.partition("?")
        signed = "X-Amz-" in query or "AWSAccessKeyId" in query  # by a store, so it is either that or passed on to it
        passed_on = host_of(url) == self._host or address[len(host_of(url)) :].startswith("/s3/")
        if signed and passed_on and _NOT_PASSED_ON.search(address):
            raise InvalidRequest(
                "a name with '#', '?' or what looks like '%20' becomes another one when a Hypha server passes it on to "
                "its S3; reach that directly, or give it another name"
            )
        if signed and not passed_on and not self._told:
            self._told = True
            _log.warning(
                "%s: use_proxy=True, but the server gives URLs of its store, %s: it passes nothing on (it would with "
                "--enable-s3-proxy), or the artifact has an S3 of its own",
                self._artifact,
                host_of(url),
            )
