"""By which address a bucket is reached, and with whose keys: from arguments, files, and what botocore finds.

Keys are looked for in this order, and the first place that has any wins:

1. ``secrets=``: a mapping, or a JSON file, with ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and perhaps
   ``AWS_SESSION_TOKEN``; or with ``no_sign_request``, or a ``profile``
2. ``BUCKET-aws-secret.json`` and then ``aws-secret.json`` in ``~/.cloudfiles/secrets`` and ``~/.cloudvolume/secrets``
3. botocore: the environment, profiles, SSO, processes, and the roles of containers and instances; refreshed by it

Where there are none, requests go unsigned. botocore is not loaded where ``secrets=`` has the keys, or says that there
are none. A secret key is never sent anywhere: only signatures are.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, ConnectionFailed
from ...redact import scrub
from ...settings import Secrets
from .signing import Keys

if TYPE_CHECKING:
    from botocore.session import Session

_FOLDERS = ("~/.cloudfiles/secrets", "~/.cloudvolume/secrets")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_OPTIONS = ("profile", "region", "addressing_style", "no_sign_request", "request_payer", "storage_class")
_DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"[A-Za-z0-9_-]+")  # it becomes part of a host name
_STYLES = ("auto", "path", "virtual")


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests for a bucket go: ``base`` is the URL before the key, ``path`` the part of it after the host."""

    region: str
    base: str
    host: str
    path: str


class Access:
    """How one bucket is reached. Safe to share between threads; keys are looked for when they are first needed."""

    def __init__(self, bucket: str, endpoint: str | None, secrets: Secrets | None) -> None:
        given, source = _given(secrets)
        self._bucket = bucket
        self._source = source
        self._given = _keys_in(given, source)
        ambient = os.environ.get("AWS_NO_SIGN_REQUEST", "") if self._given is None else ""
        self.anonymous = _flag(given, "no_sign_request", ambient)
        self.request_payer = _flag(given, "request_payer", "")
        self.storage_class = _text(given, "storage_class")
        self._profile = _text(given, "profile")
        self._session: Session | None = None
        self._lock = Lock()  # guards the two below while they are looked for
        self._find: Callable[[], Keys | None] | None = None
        self.described = "unsigned"
        region = _text(given, "region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        style = _text(given, "addressing_style")
        if self._given is None and not (self.anonymous and self._profile is None):
            self._session = _botocore(self._profile)
            endpoint = endpoint or _configured_endpoint(self._session)
            region = region or self._session.get_config_variable("region")
            style = style or (self._session.get_scoped_config().get("s3") or {}).get("addressing_style")
        else:
            names = () if _ignored() else ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
            endpoint = endpoint or next((os.environ[name] for name in names if os.environ.get(name)), None)
        style = style or "auto"
        if style not in _STYLES:
            raise ValueError(f"addressing_style={style!r}: choose one of {', '.join(map(repr, _STYLES))}")
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ValueError(f"the endpoint {scrub(endpoint)!r} is not an http:// or https:// URL")
        if endpoint is not None and "@" in endpoint:
            raise ValueError("the endpoint has a user in it; pass keys as secrets=")
        self.endpoint = None if endpoint is None else endpoint.rstrip("/")
        if region is not None and _REGION.fullmatch(region) is None:
            raise ValueError(f"region={region!r}: this is no name of a region")
        self._style = style
        self.place = self._at(region or _DEFAULT_REGION)

    # -- where ----------------------------------------------------------------------------------------------------

    def _at(self, region: str) -> Place:
        scheme, _, host = (self.endpoint or f"https://s3.{region}.{_domain(region)}").partition("://")
        host, _, path = host.partition("/")
        host = host.removesuffix(":443" if scheme == "https" else ":80")  # as all transports send it
        # a certificate for *.s3... is none for a bucket with dots in its name, nor is a host with capitals its own
        hostlike = self._bucket.replace("-", "").isalnum() and self._bucket == self._bucket.lower()
        if self._style == "virtual" or (self._style == "auto" and self.endpoint is None and hostlike):
            host = f"{self._bucket}.{host}"
            path = f"/{path}" if path else ""
        else:
            path = f"/{path}/{self._bucket}" if path else f"/{self._bucket}"
        return Place(region, f"{scheme}://{host}{path}", host, path)

    def moved(self, region: str, seen: Place) -> bool:
        """The bucket is in another region than that of ``seen``; whether this is news worth another request."""
        if _REGION.fullmatch(region) is None:
            return False
        if region != seen.region and self.place is seen:
            self.place = self._at(region)
        return self.place.region != seen.region

    # -- whose ----------------------------------------------------------------------------------------------------

    def keys(self) -> Keys | None:
        """What to sign the next request with; None to send it unsigned. May ask a server for new ones."""
        if self.anonymous:
            return None
        if self._find is None:
            with self._lock:
                if self._find is None:
                    self._find = self._look()
        return self._find()

    def renew(self, used: Keys | None) -> bool:
        """The store says that ``used`` is over; whether there are other keys now."""
        if self._given is not None or self.anonymous:
            return False
        with self._lock:
            if self._find is not None and self._find() != used:
                return True  # another worker has met with that before
            if self._session is not None:
                self._session = _botocore(self._profile)
            self._find = self._look()
        return self.keys() != used

    def _look(self) -> Callable[[], Keys | None]:
        found, source = self._given, self._source
        if found is None and self._profile is None:
            found, source = _in_files(self._bucket)
        if found is not None:
            keys = found
            self.described = f"with the access key ...{keys.access[-4:]} of {source}"
            return lambda: keys
        if self._session is None:
            raise AssertionError("without keys that were given there is a session")
        with _understood("no credentials could be had"):
            credentials = self._session.get_credentials()
        if credentials is None:
            self.described = "unsigned, as no credentials were found (no_sign_request says that this is meant)"
            return lambda: None

        def frozen() -> Keys:
            with _understood("the credentials could not be refreshed"):
                now = credentials.get_frozen_credentials()
            return Keys(now.access_key, now.secret_key, now.token)

        self.described = f"with the access key ...{frozen().access[-4:]} found by botocore ({credentials.method})"
        return frozen


@contextmanager
def _understood(failure: str) -> Iterator[None]:
    """What botocore raises, as errors of ours; a service that could not be reached may be there in a moment."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except (HTTPClientError, OSError) as error:
        raise ConnectionFailed(f"{failure}: {scrub(str(error))}") from error
    except (BotoCoreError, ClientError, RuntimeError, ValueError) as error:
        raise AccessDenied(f"{failure}: {scrub(str(error))}") from error


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def _given(secrets: Secrets | None) -> tuple[Mapping[str, object], str]:
    if secrets is None:
        return {}, ""
    if isinstance(secrets, Mapping):
        return secrets, "secrets="
    path = Path(secrets).expanduser()
    return _read(path), str(path)


def _read(path: Path) -> Mapping[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise type(error)(f"secrets: a file that cannot be read ({error.strerror})") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object with {_KEYS[0]} and {_KEYS[1]}")
    return found


def _keys_in(values: Mapping[str, object], source: str) -> Keys | None:
    known = {*_KEYS, *_OPTIONS}
    odd = sorted(str(name) for name in values if name not in known) if source == "secrets=" else []
    if odd:
        raise ValueError(f"secrets: for s3:// there is no {', '.join(map(repr, odd))}; there are {sorted(known)}")
    access, secret, token = (_text(values, name) for name in _KEYS)
    if access is None and secret is None:
        return None
    if not access or not secret:
        raise ValueError(f"{source}: {_KEYS[0]} and {_KEYS[1]} are needed together")
    for value in (access, secret, token or ""):
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError(f"{source}: a key contains white space, control or non-ASCII characters")
    return Keys(access, secret, token or None)


def _text(values: Mapping[str, object], name: str) -> str | None:
    value = values.get(name)
    if value is not None and (not isinstance(value, str) or not value.isprintable() or not value.isascii()):
        raise ValueError(f"secrets: {name} is not a text")
    return value.strip() or None if isinstance(value, str) else None


def _flag(values: Mapping[str, object], name: str, otherwise: str) -> bool:
    value = values.get(name, otherwise)
    if isinstance(value, str):
        return value.strip().lower() in ("1", "true", "yes", "on", "requester")
    if not isinstance(value, bool):
        raise ValueError(f"secrets: {name}={value!r} is neither true nor false")
    return value


def _in_files(bucket: str) -> tuple[Keys | None, str]:
    for name in (f"{bucket}-aws-secret.json", "aws-secret.json"):
        for folder in _FOLDERS:
            path = Path(folder).expanduser() / name
            if path.is_file() and (keys := _keys_in(_read(path), str(path))) is not None:
                return keys, str(path)
    return None, ""


def _ignored() -> bool:
    return os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"


def _botocore(profile: str | None) -> Session:
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        raise ImportError(
            "s3:// finds credentials by botocore, which is not installed: pip install 'cloudfiles_hypha[s3]', or pass "
            "secrets={'AWS_ACCESS_KEY_ID': ..., 'AWS_SECRET_ACCESS_KEY': ...} or {'no_sign_request': True}"
        ) from None
    try:
        session = Session(profile=profile)
        session.get_scoped_config()  # fails now where the profile is not there
    except BotoCoreError as error:
        raise ValueError(f"s3://: {scrub(str(error))}") from None
    return session


def _configured_endpoint(session: Session) -> str | None:
    from botocore.configprovider import ConfiguredEndpointProvider

    if _ignored() or session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    provider: Any = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "s3")
    found: str | None = provider.provide()
    return found
