"""Whose token Google Cloud Storage is shown: found where Google's own tools look for it, by ``google-auth``.

In this order: ``token=`` and ``secrets=``; ``GOOGLE_APPLICATION_CREDENTIALS``; ``BUCKET-google-secret.json`` and
``google-secret.json`` in ``~/.cloudfiles/secrets`` and ``~/.cloudvolume/secrets``; the login of gcloud; the metadata
server of the machine. Without any, only what is public can be had. Knows no objects and no buckets' contents.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from ...errors import AccessDenied, ConnectionFailed, TransferError
from ...redact import scrub
from ...settings import Secrets
from ...transports import HttpRequest, HttpResponse, Transport

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_FOLDERS = ("~/.cloudfiles/secrets", "~/.cloudvolume/secrets")
_ADC = "GOOGLE_APPLICATION_CREDENTIALS"


class Tokens:
    """The token of one bucket's user, fresh. Thread-safe; nothing is looked for before the first request.

    Without ``ambient`` only what was given counts.
    """

    def __init__(
        self, bucket: str, token: str | None, secrets: Secrets | None, transport: Transport, *, ambient: bool
    ) -> None:
        self._bucket = bucket
        self._token = token  # one that was given, and is never refreshed
        self._secrets = secrets
        self._transport = transport
        self._ambient = ambient
        self._credentials: Any = None
        self._looked = False
        self._lock = Lock()  # guards the two above; nothing that yields to another greenlet happens under it

    @property
    def anonymous(self) -> bool:
        """Whether there is nobody to be."""
        return self.current() is None

    def current(self) -> str | None:
        """The token to send now; None to send none. Raises ``AccessDenied`` if it cannot be had."""
        with self._lock:
            if not self._looked:
                self._find()
                self._looked = True
        if self._credentials is None:
            return self._token
        if not self._credentials.valid:
            self._refresh()  # several workers may do that at once at the beginning: each gets a good one
        return str(self._credentials.token)

    def renew(self) -> bool:
        """The server has refused the token: whether there is another one to try."""
        if self._credentials is None:
            return False
        self._refresh()
        return True

    def _refresh(self) -> None:
        exceptions: Any = import_module("google.auth.exceptions")
        try:
            self._credentials.refresh(_Requests(self._transport, exceptions.TransportError))
        except exceptions.TransportError as error:
            raise ConnectionFailed(f"Google's token server could not be asked: {scrub(str(error))}") from None
        except exceptions.GoogleAuthError as error:
            raise AccessDenied(f"the Google credentials are refused: {scrub(str(error))}") from None

    # -- where they are -----------------------------------------------------------------------------------------

    def _find(self) -> None:
        if self._token is not None:
            return
        if self._secrets is not None:
            self._use(*_read(self._secrets))
        elif self._ambient:
            files = [Path(folder).expanduser() / name for folder in _FOLDERS for name in self._names()]
            found = next((file for file in files if file.is_file()), None)
            if found is not None and not os.environ.get(_ADC):
                self._use(*_read(found))
            else:
                self._credentials = _default()

    def _names(self) -> tuple[str, str]:
        return f"{self._bucket}-google-secret.json", "google-secret.json"

    def _use(self, info: Mapping[str, object], source: str) -> None:
        """Take what a file or a mapping says; an empty one is nobody."""
        token, kind = info.get("token"), info.get("type")
        if not info:
            return
        if kind is None and isinstance(token, str):
            self._token = token.strip()
        elif kind == "service_account":
            service: Any = _google("google.oauth2.service_account")
            self._credentials = service.Credentials.from_service_account_info(info, scopes=[_SCOPE])
        elif kind == "authorized_user":
            user: Any = _google("google.oauth2.credentials")
            self._credentials = user.Credentials.from_authorized_user_info(info, scopes=[_SCOPE])
        else:
            raise ValueError(
                f"{source}: expected the JSON of a service account or of a user's login, or a 'token'; "
                f"for other kinds set {_ADC}"
            )


def _read(secrets: Secrets) -> tuple[Mapping[str, object], str]:
    """What is in a mapping or a file, and how to call it."""
    if isinstance(secrets, Mapping):
        return secrets, "secrets"
    name = os.fspath(secrets)
    try:
        data = json.loads(Path(name).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        # named only if it looks like a path: it may be the token itself, given by mistake
        shown = f"{name!r}: " if os.sep in name or not isinstance(secrets, str) else ""
        raise type(error)(f"{shown}secrets is not a file that can be read ({error.strerror})") from None
    except ValueError:
        raise ValueError(f"{name!r}: not valid JSON") from None
    if not isinstance(data, dict):
        raise ValueError(f"{name!r}: expected a JSON object")
    return data, repr(name)


def _default() -> Any:
    """The credentials of ``GOOGLE_APPLICATION_CREDENTIALS``, gcloud or the machine; None if there are none."""
    try:
        auth: Any = import_module("google.auth")
    except ImportError:
        if os.environ.get(_ADC):
            _google("google.auth")
        return None
    exceptions: Any = import_module("google.auth.exceptions")
    try:
        return auth.default(scopes=[_SCOPE])[0]
    except exceptions.DefaultCredentialsError as error:
        if os.environ.get(_ADC):
            raise AccessDenied(f"{_ADC} names no credentials: {scrub(str(error))}") from None
        return None


def _google(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise ImportError("credentials of Google's need google-auth: pip install 'cloudfiles_hypha[gcs]'") from None


class _Requests:
    """What ``google.auth`` sends its requests with: ours."""

    def __init__(self, transport: Transport, error: type[Exception]) -> None:
        self._transport = transport
        self._error = error

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: object = None,
        **options: object,
    ) -> _Answer:
        content = body.encode() if isinstance(body, str) else body
        try:
            return _Answer(self._transport.send(HttpRequest(method, url, tuple((headers or {}).items()), content)))
        except TransferError as error:
            raise self._error(str(error)) from error


class _Answer:
    def __init__(self, response: HttpResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.data = response.body
