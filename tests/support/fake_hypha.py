"""A Hypha artifact manager in this process, with an object store behind it, which fails exactly as it is told to.

It answers ``POST /public/services/artifact-manager/METHOD`` as Hypha 0.21.137 does for artifacts that are not kept in
git, quirks included: what it says, what it stores, and what it forgets. It knows no users, and hardly any search.
Costs are not modelled unless ``slow`` says so. For anything but faults, a real server is the better witness.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import secrets
import ssl
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs

from .object_server import (
    Exchange,
    Fault,
    HttpServer,
    ObjectServer,
    Request,
    Response,
    StoredObject,
    md5_hex,
    refuse_upload,
    s3_error,
)

SERVICE = "public/services/artifact-manager/"
BUCKET = "bucket"
READING = ("read", "list_files", "get_file", "get_status")
S3_PAGE = 1000
STATUS_OF = {
    "KeyError": 404,
    "FileNotFoundError": 404,
    "PermissionError": 403,
    "TypeError": 400,
    "ValueError": 400,
    "AssertionError": 400,
    "TimeoutError": 504,
}


class Refused(Exception):
    """An exception inside the server: ``kind`` is the name of its class."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def remote_error(kind: str, message: str, status: int | None = None) -> Response:
    """How an exception inside the server reaches the client."""
    if status is None:
        status = 404 if "not found" in message.lower() else STATUS_OF.get(kind, 500)
    said = json.dumps(message) if kind == "KeyError" else message  # str(KeyError) has quotes
    detail = f"{kind}: {said}" if kind == "TimeoutError" else f"RemoteException: {kind}: {said}"
    return json_response({"success": False, "detail": detail}, status)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``value`` as an answer."""
    return Response(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode())


# --- Faults of the control plane; those of ``object_server`` work as well -------------------------------------------


@dataclass(frozen=True)
class Timeout504(Fault):
    """The call times out inside the server, after or before its work was done."""

    after_doing: bool = True
    times: int = 1

    def answer(self, exchange: Exchange) -> None:
        if self.after_doing:
            exchange.respond()
        exchange.send(remote_error("TimeoutError", "Method call timed out: artifact-manager"))


@dataclass(frozen=True)
class Status429(Fault):
    """Too many requests; nothing is done."""

    retry_after: float | str | None = 1
    times: int = 1

    def answer(self, exchange: Exchange) -> None:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        exchange.send(json_response({"detail": "Rate limit exceeded. Please slow down."}, 429, headers))


@dataclass(frozen=True)
class RemoteError(Fault):
    """An exception inside the server; nothing is done, unless ``after_doing``."""

    kind: str
    message: str
    status: int | None = None
    after_doing: bool = False
    times: int = 1

    def answer(self, exchange: Exchange) -> None:
        if self.after_doing:
            exchange.respond()
        exchange.send(remote_error(self.kind, self.message, self.status))


@dataclass(frozen=True)
class Answer(Fault):
    """Answer 200 with ``value``, whatever was asked; nothing is done."""

    value: Any

    def answer(self, exchange: Exchange) -> None:
        exchange.send(json_response(self.value))


@dataclass(frozen=True)
class OmitPaths(Fault):
    """Do the work, but leave these paths (or part numbers, of a multipart upload) out of the answer."""

    paths: Collection[str | int]

    def alter(self, exchange: Exchange, response: Response) -> Response:
        value = json.loads(bytes(response.body))
        if "parts" in value and "upload_id" in value:
            value["parts"] = [part for part in value["parts"] if part["part_number"] not in self.paths]
        else:
            value = {path: url for path, url in value.items() if path not in self.paths}
        return json_response(value, response.status)


@dataclass(frozen=True)
class ShortPage(Fault):
    """Answer with only the first ``keep`` entries of a listing."""

    keep: int

    def alter(self, exchange: Exchange, response: Response) -> Response:
        return json_response(json.loads(bytes(response.body))[: self.keep], response.status)


# --- The store ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grant:
    """What one signature allows."""

    method: str
    key: str
    deadline: float  # of time.monotonic()
    upload: str = ""
    part: int = 0


@dataclass(slots=True)
class Upload:
    """A multipart upload in progress."""

    key: str
    parts: dict[int, StoredObject] = field(default_factory=dict)


class SignedStore(ObjectServer):
    """An object store which wants every request signed, for its very method and key.

    ``signature`` is the version of Amazon's scheme. Version 2 signs Content-MD5, Content-Type and every ``x-amz-*``.
    """

    def __init__(self, *, latency: float = 0.0, tls: ssl.SSLContext | None = None, signature: int = 4) -> None:
        super().__init__(latency=latency, tls=tls, reject_authorization=True)
        self.signature = signature
        self.grants: dict[str, Grant] = {}
        self.uploads: dict[str, Upload] = {}

    def sign(self, grant: Grant, *, expires_in: int, clock_offset: float) -> str:
        """A URL that is good for ``grant``."""
        signature = secrets.token_hex(32)
        self.grants[signature] = grant
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + clock_offset))
        multipart = f"partNumber={grant.part}&uploadId={grant.upload}&" if grant.part else ""
        if self.signature == 2:
            query = f"AWSAccessKeyId=key&Signature={signature}&Expires={int(time.time() + clock_offset) + expires_in}"
            return f"{self.url_for(grant.key)}?{multipart}{query}"
        query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={date}&X-Amz-Expires={expires_in}"
        return f"{self.url_for(grant.key)}?{multipart}{query}&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"

    def respond(self, request: Request) -> Response:
        if "authorization" in request.headers:
            return super().respond(request)
        query = parse_qs(request.query)
        signature = query.get("Signature" if self.signature == 2 else "X-Amz-Signature", [""])[0]
        grant = self.grants.get(signature)
        if grant is None or (grant.method, grant.key) != (request.method, request.path):
            return s3_error(403, "SignatureDoesNotMatch")
        if time.monotonic() >= grant.deadline:
            return s3_error(403, "AccessDenied", "Request has expired")
        if self.signature == 2 and any(
            name in ("content-md5", "content-type") or name.startswith("x-amz-") for name in request.headers
        ):
            return s3_error(403, "SignatureDoesNotMatch")
        if any(name.startswith("x-amz-") for name in request.headers):
            return s3_error(403, "AccessDenied", "There were headers present in the request which were not signed")
        if grant.part:
            return self._put_part(grant, request)
        return super().respond(request)

    def _put_part(self, grant: Grant, request: Request) -> Response:
        refusal = refuse_upload(request)
        if refusal is not None:
            return refusal
        upload = self.uploads.get(grant.upload)
        if upload is None:
            return s3_error(404, "NoSuchUpload")
        part = StoredObject(request.body, md5_hex(request.body))
        upload.parts[grant.part] = part
        return Response(200, {"ETag": f'"{part.etag}"'})


# --- The artifact manager -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Artifact:
    """One artifact; ``folder`` is where its objects are, one folder per version in it."""

    id: str
    folder: str
    manifest: dict[str, Any]
    config: dict[str, Any]
    type: str = "generic"
    parent: str | None = None
    versions: list[dict[str, Any]] = field(default_factory=list)
    staging: dict[str, Any] | None = None
    modified: int = field(default_factory=lambda: int(time.time()))  # by anything but the registering of files
    file_count: int = 0  # as of the latest commit, or by anything that makes a version without one: 0
    backups: dict[str, StoredObject] = field(default_factory=dict)  # committed files that staging has overwritten

    @property
    def latest(self) -> int:
        """The index of the folder that readers see."""
        return max(0, len(self.versions) - 1)

    @property
    def starts_new_version(self) -> bool:
        """Whether what is staged is to become a version of its own."""
        return self.staging is not None and self.staging["_intent"] == "new_version"

    @property
    def target(self) -> int:
        """The index of the folder that staged files go to."""
        return len(self.versions) if self.starts_new_version else self.latest

    def index_of(self, version: str | int | None) -> int:
        """The index of the folder of ``version``."""
        if version in (None, "latest"):
            return self.latest
        if version == "stage":
            return self.target
        if isinstance(version, int):
            return version
        for index, entry in enumerate(self.versions):
            if entry["version"] == version:
                return index
        raise Refused("ValueError", f"Artifact version '{version}' does not exist.")

    def key(self, index: int, path: str) -> str:
        """The object that holds ``path`` in the folder with that index."""
        joined = posixpath.normpath(f"{self.folder}/v{index}/{path}")
        return f"{BUCKET}/{joined}"

    def as_json(self, *, staged: bool) -> dict[str, Any]:
        """The artifact as the server describes it."""
        workspace, alias = self.id.split("/")
        staging: list[dict[str, Any]] | None = None
        if staged and self.staging is not None:
            staging = [*self.staging["files"], {"_intent": self.staging["_intent"]}]
        return {
            "id": self.id,
            "_id": self.folder,
            "workspace": workspace,
            "alias": alias,
            "type": self.type,
            "manifest": (self.staging or {}).get("manifest", self.manifest) if staged else self.manifest,
            "config": self.config,
            "last_modified": self.modified,
            "versions": self.versions,
            "staging": staging,
        }


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as it arrived."""

    method: str
    kwargs: dict[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Slowness:
    """How long a method takes, and when the server gives up on it."""

    per_call: float
    per_path: float
    timeout: float | None
    does_the_work: bool

    def seconds(self, kwargs: Mapping[str, Any]) -> float:
        """What a call with these arguments would take."""
        paths = kwargs.get("file_path", ())
        return self.per_call + self.per_path * (len(paths) if isinstance(paths, list) else 1)

    def gives_up(self, kwargs: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments would time out."""
        return self.timeout is not None and self.seconds(kwargs) > self.timeout


class FakeHypha(HttpServer):
    """The control plane; ``store`` is the data plane. With ``token=None`` it asks nobody who they are."""

    def __init__(
        self,
        *,
        token: str | None = "test-token",
        workspace: str = "ws",
        latency: float = 0.0,
        store_latency: float = 0.0,
        tls: ssl.SSLContext | None = None,
        url_lifetime: float | None = None,
        clock_offset: float = 0.0,
        minimum_part_size: int = 0,
        signature: int = 4,
        s3_proxy: bool = True,
    ) -> None:
        super().__init__(latency=latency, tls=tls)
        self.s3_proxy = s3_proxy  # whether it passes requests on to its store
        self.store = SignedStore(latency=store_latency, tls=tls, signature=signature)
        self.token = token
        self.workspace = workspace
        self.url_lifetime = url_lifetime  # seconds; None: as long as expires_in says
        self.clock_offset = clock_offset  # seconds by which X-Amz-Date is ahead of this machine's clock
        self.minimum_part_size = minimum_part_size
        self.artifacts: dict[str, Artifact] = {}
        self._calls: list[Call] = []
        self._slow: dict[str, Slowness] = {}
        self._created: Counter[str] = Counter()
        self._working = threading.RLock()  # guards artifacts and the store's contents: one call at a time

    # -- life: the store comes and goes with it

    def start(self) -> None:
        self.store.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self.store.stop()

    # -- for tests

    def fault(self, path: str, *faults: Fault, method: str | None = None) -> None:
        """Queue ``faults`` for calls of the method named ``path``: each is used up by one call."""
        super().fault(SERVICE + path, *faults, method=method)

    def fault_file(self, artifact_id: str, path: str, *faults: Fault, method: str | None = None) -> None:
        """Queue ``faults`` for the object behind a file; the artifact may be created later."""
        self.store.fault(self.key(artifact_id, path), *faults, method=method)

    def slow(
        self,
        method: str,
        *,
        per_call: float = 0.0,
        per_path: float = 0.0,
        timeout: float | None = None,
        does_the_work: bool = True,
    ) -> None:
        """Make a method take its time; 504 after ``timeout`` seconds, its work done all the same, or not."""
        self._slow[method] = Slowness(per_call, per_path, timeout, does_the_work)

    def expire_urls(self, *, uploads: bool = False) -> None:
        """Expire every URL given so far; with ``uploads``, forget the multipart uploads begun so far too."""
        with self._working:
            self.store.grants = {
                signature: Grant(grant.method, grant.key, 0.0, grant.upload, grant.part)
                for signature, grant in self.store.grants.items()
            }
            if uploads:
                self.store.uploads.clear()

    @property
    def calls(self) -> list[Call]:
        """The calls that arrived so far, whatever came of them, in order."""
        with self._changed:
            return list(self._calls)

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """How many calls there were of a method, or of all."""
        return sum(method in (None, call.method) for call in self.calls)

    def add_artifact(
        self,
        artifact_id: str,
        files: Mapping[str, bytes] | None = None,
        *,
        version: str | None = "v0",
        staged: str | None = None,
        public: bool = False,
    ) -> Artifact:
        """Make an artifact with these committed files, or with no version for ``version=None``.

        ``staged`` opens staging: "edit_version" (in place) or "new_version".
        """
        with self._working:
            artifact = self._make(artifact_id, {"name": artifact_id}, {"permissions": {"*": "r"}} if public else {})
            if version is not None:
                artifact.versions.append({"version": version, "comment": None, "created_at": int(time.time())})
            for path, body in (files or {}).items():
                self.store.put(artifact.key(artifact.latest, path), body)
            if staged is not None:
                artifact.staging = {"files": [], "_intent": staged}
            return artifact

    def key(self, artifact_id: str, path: str, version: str | None = None) -> str:
        """The path in ``store`` of a file; where it would be put, if ``version`` is None and the artifact is staged."""
        artifact = self.artifacts.get(artifact_id) or Artifact(artifact_id, self._folder(artifact_id, 1), {}, {})
        return artifact.key(artifact.target if version is None else artifact.index_of(version), path)

    def files(self, artifact_id: str, version: str | None = None) -> dict[str, bytes]:
        """The contents of what is in the store for a version; None is the one that readers see."""
        artifact = self.artifacts[artifact_id]
        prefix = artifact.key(artifact.index_of(version), "") + "/"
        return {
            key.removeprefix(prefix): stored.body
            for key, stored in sorted(self.store.objects.items())
            if key.startswith(prefix)
        }

    def call(self, method: str, **kwargs: Any) -> Any:
        """What another client's call does and gives, without the network; raises ``Refused``."""
        with self._working:
            return getattr(self, f"_do_{method}")(**kwargs)

    # -- answering

    def record(self, exchange: Exchange, *, complete: bool) -> None:
        super().record(exchange, complete=complete)
        if exchange.request.path.startswith(SERVICE):
            name = exchange.request.path.removeprefix(SERVICE)
            call = Call(name, self._kwargs(exchange.request), exchange.request.headers)
            with self._changed:
                self._calls.append(call)

    def forget_requests(self) -> None:
        super().forget_requests()
        with self._changed:
            self._calls.clear()

    def cost(self, request: Request) -> float:
        slowness = self._slow.get(request.path.removeprefix(SERVICE))
        if slowness is None:
            return self.latency
        seconds = slowness.seconds(self._kwargs(request))
        return self.latency + (seconds if slowness.timeout is None else min(seconds, slowness.timeout))

    def respond(self, request: Request) -> Response:
        if request.path.startswith("s3/"):
            return self.store.respond(replace(request, path=request.path.removeprefix("s3/")))
        if request.path == "health/readiness":
            return json_response({"status": "OK"})
        method = request.path.removeprefix(SERVICE)
        act = getattr(self, f"_do_{method}", None)
        if request.method != "POST" or act is None:
            return json_response({"success": False, "detail": f"{method} not found."}, 404)
        kwargs = self._kwargs(request)
        slowness = self._slow.get(method)
        gives_up = slowness is not None and slowness.gives_up(kwargs)
        sent = request.headers.get("authorization")
        if self.token is not None and sent not in (None, f"Bearer {self.token}"):
            return json_response({"detail": "Invalid token"}, 401)  # even where none would do
        try:
            if self.token is not None and sent is None:
                self._admit_anonymous(method, kwargs)
            if slowness is None or not gives_up or slowness.does_the_work:
                with self._working:
                    result = act(**kwargs)
        except Refused as refusal:
            return remote_error(refusal.kind, refusal.message)
        except TypeError as error:
            return remote_error("TypeError", str(error))
        if gives_up:
            return remote_error("TimeoutError", "Method call timed out: artifact-manager")
        return json_response(result)

    @staticmethod
    def _kwargs(request: Request) -> dict[str, Any]:
        try:
            value = json.loads(request.body or b"{}")
        except ValueError:  # cut short
            return {}
        return value if isinstance(value, dict) else {}

    def _admit_anonymous(self, method: str, kwargs: Mapping[str, Any]) -> None:
        """Let those in who only read what is public."""
        if method in READING and "artifact_id" in kwargs:
            permissions = self._find(kwargs["artifact_id"]).config.get("permissions", {})
            if permissions.get("*", "").startswith(("r", "*")):
                return
        raise Refused("PermissionError", f"User does not have permission '{method}' on the artifact.")

    # -- what the methods share

    @staticmethod
    def now() -> int:
        """The time as the server notes it."""
        return int(time.time())

    def _folder(self, artifact_id: str, number: int) -> str:
        return f"{artifact_id.replace('/', '.')}-{number}"

    def _make(self, artifact_id: str, manifest: dict[str, Any], config: dict[str, Any]) -> Artifact:
        self._created[artifact_id] += 1
        folder = self._folder(artifact_id, self._created[artifact_id])
        artifact = self.artifacts[artifact_id] = Artifact(artifact_id, folder, manifest, config)
        return artifact

    def _full_id(self, artifact_id: str) -> str:
        return artifact_id if "/" in artifact_id else f"{self.workspace}/{artifact_id}"

    def _find(self, artifact_id: str) -> Artifact:
        artifact = self.artifacts.get(self._full_id(artifact_id))
        if artifact is None:
            raise Refused("KeyError", f"Artifact with ID '{self._full_id(artifact_id)}' does not exist.")
        return artifact

    def _find_staged(self, artifact_id: str, message: str = "Artifact must be in staging mode.") -> Artifact:
        artifact = self._find(artifact_id)
        if artifact.staging is None:
            raise Refused("AssertionError", message)
        return artifact

    def _sign(self, method: str, key: str, expires_in: int, way: str, *, upload: str = "", part: int = 0) -> str:
        lifetime = expires_in if self.url_lifetime is None else self.url_lifetime
        grant = Grant(method, key, time.monotonic() + lifetime, upload, part)
        url = self.store.sign(grant, expires_in=expires_in, clock_offset=self.clock_offset)
        return way + url.removeprefix(self.store.url)

    def _way(self, use_proxy: bool | None, use_local_url: bool | str) -> str:
        """What stands where the store's address would."""
        if use_proxy and self.s3_proxy:
            return f"{use_local_url if isinstance(use_local_url, str) else self.url}/s3"
        return use_local_url if isinstance(use_local_url, str) else self.store.url

    @staticmethod
    def _new_version(artifact: Artifact, version: str | None, comment: str | None) -> None:
        name = f"v{len(artifact.versions)}" if version is None else version
        artifact.versions.append({"version": name, "comment": comment, "created_at": int(time.time())})

    # -- the methods

    def _do_create(
        self,
        *,
        alias: str | None = None,
        artifact_id: str | None = None,
        workspace: str | None = None,
        manifest: dict[str, Any] | None = None,
        type: str = "generic",
        config: dict[str, Any] | None = None,
        version: str | None = None,
        comment: str | None = None,
        parent_id: str | None = None,
        overwrite: bool = False,
        stage: bool = False,
    ) -> dict[str, Any]:
        name = artifact_id or alias or f"artifact-{secrets.token_hex(4)}"
        # the HTTP route of the real server drops the argument "workspace", too
        full_id = name if "/" in name else f"{self.workspace}/{name}"
        old = self.artifacts.get(full_id)
        if old is not None and not overwrite:
            raise Refused("FileExistsError", f"Artifact with alias '{full_id.split('/')[1]}' already exists, ...")
        if not manifest:
            raise Refused("AssertionError", "Manifest must be provided.")
        artifact = self._make(full_id, manifest, config or {})
        artifact.type, artifact.parent = type, parent_id
        if old is not None:
            artifact.folder = old.folder  # and so the files of the old one show up in the new one
        if stage:
            artifact.staging = {"files": [], "_intent": "new_version"}
        else:
            self._new_version(artifact, "v0" if version in (None, "new", "stage") else version, comment)
        return artifact.as_json(staged=True)

    def _do_list(
        self,
        *,
        parent_id: str,
        keywords: list[str] | None = None,
        mode: str = "AND",
        offset: int = 0,
        limit: int = 100,
        silent: bool = False,
    ) -> list[dict[str, Any]]:
        """Children whose manifests have the keywords in them; no filters, and no order but that of their making."""
        self._find(parent_id)
        enough = {"AND": all, "OR": any}[mode]
        found = [artifact for artifact in self.artifacts.values() if artifact.parent == parent_id]
        found = [each for each in found if enough(word in str(each.manifest) for word in keywords or [""])]
        return [artifact.as_json(staged=False) for artifact in found[offset : offset + limit]]

    def _do_read(
        self, *, artifact_id: str, silent: bool = False, version: str | None = None, stage: bool = False
    ) -> dict[str, Any]:
        artifact = self._find(artifact_id)
        staged = stage or version == "stage"
        if not staged and artifact.staging is None:
            artifact.index_of(version)  # while staged, any version will do
        return artifact.as_json(staged=staged)

    def _do_edit(
        self,
        *,
        artifact_id: str,
        manifest: dict[str, Any] | None = None,
        type: str | None = None,
        config: dict[str, Any] | None = None,
        version: str | None = None,
        comment: str | None = None,
        stage: bool = False,
    ) -> dict[str, Any]:
        artifact = self._find(artifact_id)
        if version not in (None, "new", "stage"):
            raise Refused("ValueError", f"Invalid version '{version}'. Edit operation only supports: ...")
        artifact.modified = self.now()
        changes = {"manifest": manifest, "config": config, "type": type}
        given = {name: value for name, value in changes.items() if value is not None}
        if stage:
            intent = "new_version" if version == "new" else "edit_version"
            if artifact.staging is None:
                artifact.staging = {"files": [], "_intent": intent}
            elif version is not None:
                artifact.staging["_intent"] = intent
            artifact.staging.update(given)
            return artifact.as_json(staged=True)
        if artifact.starts_new_version and version is None:
            version = "new"
        given = {**{name: value for name, value in (artifact.staging or {}).items() if name in changes}, **given}
        artifact.staging = None  # the staged files are neither checked nor removed
        if version == "new" or not artifact.versions:
            self._new_version(artifact, None, comment)
        self._apply(artifact, given)
        return artifact.as_json(staged=True)

    @staticmethod
    def _apply(artifact: Artifact, changes: Mapping[str, Any]) -> None:
        artifact.manifest = changes.get("manifest", artifact.manifest)
        artifact.config = changes.get("config", artifact.config)
        artifact.type = changes.get("type", artifact.type)

    def _do_commit(self, *, artifact_id: str, version: str | None = None, comment: str | None = None) -> dict[str, Any]:
        artifact = self._find_staged(artifact_id, "Artifact must be in staging mode to commit.")
        assert artifact.staging is not None
        if version == "stage":
            raise Refused("AssertionError", "Version cannot be 'stage' when committing.")
        files = artifact.staging["files"]
        for entry in files:  # first, and before anything is checked; always from the latest version, even for a new one
            if entry.get("_remove"):
                self.store.objects.pop(artifact.key(artifact.latest, entry["path"]), None)
        for entry in files:
            if "_remove" not in entry and artifact.key(artifact.target, entry["path"]) not in self.store.objects:
                raise Refused("FileNotFoundError", f"File '{entry['path']}' does not exist in the artifact.")
        if artifact.starts_new_version or not artifact.versions:
            taken = [entry["version"] for entry in artifact.versions]
            if version in taken:
                raise Refused("ValueError", f"Version '{version}' already exists. Existing versions: {taken}")
            self._new_version(artifact, version, comment)
        elif comment:
            artifact.versions[-1]["comment"] = comment
        self._apply(artifact, artifact.staging)
        artifact.staging = None
        artifact.modified = self.now()
        artifact.file_count = len(self.files(artifact.id))
        artifact.backups.clear()
        return artifact.as_json(staged=True)

    def _do_get_status(self, *, artifact_id: str) -> dict[str, Any]:
        staging = self._find(artifact_id).staging
        return {"staged": False} if staging is None else {"staged": True, "files": staging["files"]}

    def _do_discard_changes(self, *, artifact_id: str) -> dict[str, Any]:
        artifact = self._find(artifact_id)
        if artifact.staging is None:
            return {"status": "nothing_to_discard"}
        artifact.staging = None  # and nothing else: files put in place of committed ones stay
        return {"status": "discarded", "branch": "all"}

    def _do_discard(self, *, artifact_id: str) -> dict[str, Any]:
        artifact = self._find(artifact_id)
        if artifact.staging is None:
            raise Refused("ValueError", "No staged changes to discard. Artifact is not in staging mode.")
        if artifact.starts_new_version:
            self._delete_folder(artifact, artifact.target)
        elif artifact.versions:
            for entry in artifact.staging["files"]:
                if "_remove" not in entry and entry["path"] not in artifact.backups:
                    self.store.objects.pop(artifact.key(artifact.latest, entry["path"]), None)
            for path, stored in artifact.backups.items():
                self.store.objects[artifact.key(artifact.latest, path)] = stored
        artifact.staging = None
        artifact.modified = self.now()
        artifact.backups.clear()
        return artifact.as_json(staged=True)

    def _delete_folder(self, artifact: Artifact, index: int) -> None:
        prefix = artifact.key(index, "") + "/"
        for key in [key for key in self.store.objects if key.startswith(prefix)]:
            del self.store.objects[key]

    def _do_list_files(
        self,
        *,
        artifact_id: str,
        dir_path: str | None = None,
        limit: int = 1000,
        version: str | int | None = None,
        stage: bool = False,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        artifact = self._find(artifact_id)
        version = "stage" if stage else version
        items = self._list_folder(artifact.key(artifact.index_of(version), dir_path or "") + "/")
        items = items[offset : offset + limit]
        if version == "stage" and artifact.staging is not None:  # after the page was cut: it may come back short
            parent = f"{dir_path}/" if dir_path else ""
            removed = {entry["path"].removeprefix(parent) for entry in artifact.staging["files"] if "_remove" in entry}
            items = [item for item in items if item["name"] not in removed]
        return items

    def _list_folder(self, prefix: str) -> list[dict[str, Any]]:
        """One level, in pages as S3 makes them: within each, first the files and then the directories."""
        entries: dict[str, dict[str, Any]] = {}
        for key, stored in self.store.objects.items():
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                file = {"type": "file", "name": name, "size": len(stored.body), "last_modified": time.time()}
                entries[name + slash] = {"type": "directory", "name": name} if slash else file
        ordered = [entries[name] for name in sorted(entries, key=lambda name: name.encode(errors="surrogateescape"))]
        items: list[dict[str, Any]] = []
        for start in range(0, len(ordered), S3_PAGE):
            items += sorted(ordered[start : start + S3_PAGE], key=lambda item: item["type"] == "directory")
        return items

    def _do_get_file(
        self,
        *,
        artifact_id: str,
        file_path: str | list[str],
        silent: bool = False,
        version: str | int | None = None,
        stage: bool = False,
        use_proxy: bool | None = None,
        use_local_url: bool | str = False,
        expires_in: int = 3600,
    ) -> str | dict[str, str]:
        paths = file_path if isinstance(file_path, list) else [file_path]
        if not paths:
            raise Refused("ValueError", "file_path list must contain at least one path")
        artifact = self._find(artifact_id)
        index = artifact.index_of("stage" if stage else version)
        way = self._way(use_proxy, use_local_url)
        urls: dict[str, str] = {}
        for path in paths:
            key = artifact.key(index, path)
            if key not in self.store.objects:
                raise Refused("FileNotFoundError", f"File '{path}' does not exist in the artifact.")
            urls[path] = self._sign("GET", key, expires_in, way)
        return urls if isinstance(file_path, list) else urls[file_path]

    def _do_put_file(
        self,
        *,
        artifact_id: str,
        file_path: str | list[str],
        download_weight: float | list[float] = 0,
        use_proxy: bool | None = None,
        use_local_url: bool | str = False,
        expires_in: int = 3600,
    ) -> str | dict[str, str]:
        paths = file_path if isinstance(file_path, list) else [file_path]
        if not paths:
            raise Refused("ValueError", "file_path list must contain at least one path")
        artifact = self._find_staged(artifact_id)
        way = self._way(use_proxy, use_local_url)
        urls = {path: self._sign("PUT", key, expires_in, way) for path, key in self._stage(artifact, paths)}
        return urls if isinstance(file_path, list) else urls[file_path]

    def _stage(self, artifact: Artifact, paths: list[str]) -> list[tuple[str, str]]:
        """Register ``paths``, back up what a write in place would destroy, and say where each goes."""
        assert artifact.staging is not None
        files = artifact.staging["files"]
        known = {entry["path"] for entry in files}  # removal markers count, and so stay in force
        in_place = bool(artifact.versions) and not artifact.starts_new_version
        placed = []
        for path in paths:
            key = artifact.key(artifact.target, path)
            if in_place and key in self.store.objects:
                artifact.backups.setdefault(path, self.store.objects[key])
            if path not in known:
                known.add(path)
                files.append({"path": path})
            placed.append((path, key))
        return placed

    def _do_remove_file(self, *, artifact_id: str, file_path: str) -> None:
        artifact = self._find_staged(artifact_id)
        assert artifact.staging is not None
        files = artifact.staging["files"]
        if any(entry["path"] == file_path for entry in files):  # again, a removal marker counts
            artifact.staging["files"] = [entry for entry in files if entry["path"] != file_path]
            self.store.objects.pop(artifact.key(artifact.target, file_path), None)
        else:
            files.append({"path": file_path, "_remove": True})

    def _do_put_file_start_multipart(
        self,
        *,
        artifact_id: str,
        file_path: str,
        part_count: int,
        download_weight: float = 0,
        expires_in: int = 3600,
        use_proxy: bool | None = None,
        use_local_url: bool | str = False,
    ) -> dict[str, Any]:
        if part_count <= 0:
            raise Refused("ValueError", "Part count must be greater than 0")
        if part_count > 10_000:
            raise Refused("ValueError", "The maximum number of parts is 10,000.")
        ((_, key),) = self._stage(self._find_staged(artifact_id), [file_path])
        upload = secrets.token_hex(16)
        self.store.uploads[upload] = Upload(key)
        numbers = range(1, part_count + 1)
        way = self._way(use_proxy, use_local_url)
        signed = [
            {"part_number": part, "url": self._sign("PUT", key, expires_in, way, upload=upload, part=part)}
            for part in numbers
        ]
        return {"upload_id": upload, "parts": signed}

    def _do_put_file_complete_multipart(
        self, *, artifact_id: str, upload_id: str, parts: list[dict[str, Any]]
    ) -> dict[str, Any]:
        self._find(artifact_id)
        upload = self.store.uploads.get(upload_id)
        if upload is None:
            raise Refused("ValueError", "Upload session expired or not found")
        pieces = []
        for part in sorted(parts, key=lambda part: part["part_number"]):
            piece = upload.parts.get(part["part_number"])
            if piece is None or piece.etag != part["etag"].strip('"'):
                raise _client_error("InvalidPart", "One or more of the specified parts could not be found.")
            pieces.append(piece)
        if any(len(piece.body) < self.minimum_part_size for piece in pieces[:-1]):
            raise _client_error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        if not pieces:
            raise _client_error("MalformedXML", "You must specify at least one part")
        digests = b"".join(bytes.fromhex(piece.etag) for piece in pieces)
        etag = f"{hashlib.md5(digests).hexdigest()}-{len(pieces)}"
        self.store.put(upload.key, b"".join(piece.body for piece in pieces), etag=etag)
        del self.store.uploads[upload_id]
        return {"success": True, "message": "File uploaded successfully"}

    def _do_delete(
        self, *, artifact_id: str, delete_files: bool = False, recursive: bool = False, version: str | None = None
    ) -> None:
        artifact = self._find(artifact_id)
        if version == "stage":
            raise Refused("ValueError", "Cannot delete staged version. ...")
        if version is None:
            del self.artifacts[artifact.id]
            if delete_files:
                prefix = f"{BUCKET}/{artifact.folder}/"
                for key in [key for key in self.store.objects if key.startswith(prefix)]:
                    del self.store.objects[key]
            return
        index = artifact.index_of(version)
        artifact.versions.pop(index)
        if delete_files:
            self._delete_folder(artifact, index)


def _client_error(code: str, message: str) -> Refused:
    return Refused("ClientError", f"An error occurred ({code}) when calling the CompleteMultipartUpload: {message}")
