"""Calls to the artifact manager of a Hypha server, and what its errors mean.

One method call is one HTTP request (``POST /public/services/artifact-manager/METHOD`` with JSON keyword
arguments). No retries, no batching, no state besides where the server is and who asks. The token goes to this
server only and is never followed anywhere else; nor are the headers that a user has for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ...credentials import Routes
from ...errors import (
    AccessDenied,
    ArtifactExists,
    ArtifactNotFound,
    InvalidRequest,
    NotStaged,
    ObjectNotFound,
    ServerError,
    TransferError,
    TransferTimeout,
)
from ...redact import scrub
from ...transports import HttpRequest, HttpResponse, Transport
from ...transports.answers import error_of
from ...transports.base import host_of

# Seconds a call may take without a sign of life: the server itself gives up on a call after about 35.
_PATIENCE = 90.0
_TYPE = re.compile(r"(?:RemoteException: )*(\w+): (.*)", re.DOTALL)
_ADVICE = re.compile(r" Note: When working with artifacts from other workspaces[^\"]*")  # of whom calls by alias only
_NO_VERSION = re.compile(r"version .* does not exist", re.IGNORECASE)
_NO_SERVICE = re.compile(r"service.*not (found|available|exist)|not ready", re.IGNORECASE | re.DOTALL)
# Methods that do something else when they are called again: never repeated by the transport of its own accord.
_ONCE = {"commit", "create", "discard", "put_file_complete_multipart", "remove_file"}
# Python exception names that a repeated call would only raise again.
_FINAL = {"AssertionError", "ValueError", "TypeError", "ValidationError", "AttributeError", "NotImplementedError"}
# Methods that give URLs for bytes, and are told by which way these are to lead.
_SIGNING = {"get_file", "put_file", "put_file_start_multipart"}
# What a store answers the server whose keys or bucket are not right; it was not our request that it refused.
_STORE_REFUSES = re.compile(
    r"ClientError: An error occurred "
    r"\((SignatureDoesNotMatch|InvalidAccessKeyId|AccessDenied|AllAccessDisabled|NoSuchBucket)\)"
)


class ArtifactManager:
    """The methods of the artifact manager, as ``call("read", artifact_id=...)``. Thread-safe; picklable."""

    def __init__(self, server: str, token: str | None, transport: Transport, routes: Routes | None = None) -> None:
        self.server = server.rstrip("/")
        self.routes = routes or Routes()
        self._token = token
        self._transport = transport
        # left out where nothing is said, so that a server may know nothing of them
        self._ways: dict[str, bool | str] = {}
        if self.routes.use_proxy is not None:
            self._ways["use_proxy"] = self.routes.use_proxy
        if self.routes.use_local_url:
            self._ways["use_local_url"] = self.routes.use_local_url

    def __repr__(self) -> str:
        return f"<ArtifactManager {host_of(self.server)}{' anonymous' if self.anonymous else ''}>"

    @property
    def anonymous(self) -> bool:
        """Whether it has no token to send."""
        return not self._token

    def call(self, method: str, **arguments: Any) -> Any:
        """The value that ``method`` returns, or the ``TransferError`` that its answer stands for."""
        headers = [("Content-Type", "application/json"), ("Accept", "application/json"), *self.routes.headers]
        if method in _SIGNING:
            arguments |= self._ways
        if self._token:
            headers.append(("Authorization", f"Bearer {self._token}"))
        request = HttpRequest(
            "POST",
            f"{self.server}/public/services/artifact-manager/{method}",
            tuple(headers),
            json.dumps(arguments).encode("utf-8"),
            idle=_PATIENCE,
            once=method in _ONCE,
        )
        response = self._transport.send(request)
        try:
            value = json.loads(response.body) if response.body else None
        except ValueError:
            value = response.body.decode("utf-8", "replace")[:200]
            if response.status == 200:
                raise ServerError(f"{method}: the answer is not JSON") from None
        if response.status == 200 and not (isinstance(value, dict) and value.get("success") is False):
            return value
        # what is shorter is no secret, and may stand anywhere
        secrets = (self._token, *(value for _, value in self.routes.headers if len(value) >= 8))
        raise remote_error(method, response, value, secrets, anonymous=self.anonymous).about(
            arguments.get("artifact_id") or arguments.get("alias") or ""
        )


def remote_error(
    method: str, response: HttpResponse, value: Any, secrets: Sequence[str | None] = (), *, anonymous: bool = False
) -> TransferError:
    """The exception for a failed call. Goes by the remote exception's type: its status varies by release."""
    status = response.status
    detail = value.get("detail", value) if isinstance(value, dict) else value
    said = scrub(detail if isinstance(detail, str) else json.dumps(detail), secrets)[:500]
    match = _TYPE.match(said)
    kind, message = (match[1], match[2]) if match else ("", said)
    message = f"{method}: {message.strip()}"
    if kind == "FileNotFoundError":
        return ObjectNotFound(message, status=status)
    if kind == "FileExistsError" or (kind == "ValueError" and "already exists" in said):
        return ArtifactExists(message, status=status)
    if (refused := _STORE_REFUSES.search(said)) is not None:
        return AccessDenied(
            f"{method}: the store of this artifact refuses the server ({refused[1]}). Where it has an S3 of its own, "
            "its owner has to correct the S3_... entries of its secrets (the server's method edit)",
            status=status,
        )
    if kind == "PermissionError" or status == 401:
        hint = " (no token was sent: HYPHA_TOKEN is not set, or not for this server)" if anonymous else ""
        return AccessDenied(message + hint, status=status)
    if _NO_SERVICE.search(said):
        return ServerError(f"{message} (the server is starting, or has no artifact manager)", status=status)
    if kind == "KeyError" or (kind == "ValueError" and _NO_VERSION.search(said)):
        return ArtifactNotFound(_ADVICE.sub("", message), status=status)
    if "staging mode" in said or "No staged changes" in said:
        return NotStaged(message, status=status)
    if status == 504 or kind == "TimeoutError":
        return TransferTimeout(message, status=504)
    if kind in _FINAL:
        return InvalidRequest(message, status=status)
    return error_of(response, "", message)
