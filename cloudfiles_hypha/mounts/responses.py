"""``FileAnswer``: a stored file as what an endpoint of FastAPI or Starlette returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from starlette.background import BackgroundTask
    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send
except ImportError as error:
    raise ImportError("this takes Starlette, which FastAPI brings: pip install fastapi") from error

from ..async_files import AsyncArtifactFiles
from ..files import ArtifactFiles
from .answering import Options
from .faces import AsyncNode, Face, StorageNode
from .node import SyncNode
from .serving import asgi


class FileAnswer(Response):
    """A stored file, streamed as ``serving.asgi`` does: ``return FileAnswer(cf, path)``, or ``FileAnswer(node)``.

    The options are those of ``serving.wsgi``; a node of a version sends that one. ``headers``, and what is set later
    (``answer.set_cookie``), are added to those of the file, or go in their place; ``background`` runs when it has been
    sent, or its client has gone.
    """

    def __init__(
        self,
        files: ArtifactFiles | AsyncArtifactFiles | StorageNode | AsyncNode | SyncNode,
        path: str | None = None,
        *,
        download: bool = False,
        download_name: str | None = None,
        cache_max_age: int | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        super().__init__(background=background)
        self.raw_headers = []  # no length: the file has its own
        self.headers.update(headers or {})
        self._node: SyncNode | None = None
        if isinstance(files, SyncNode | Face):
            if path is not None or version is not None:
                raise TypeError("a node says which file it is, and of which version; path and version are not given")
            self._node = files.sync
            files, path = files.place()
        elif path is None:
            raise TypeError("path is missing: which of these files is to be sent?")
        self._files = files
        self._path = path
        self._version = version
        Options(download=download, download_name=download_name, cache_max_age=cache_max_age)  # a wrong one ends here
        self._said: Any = {"download": download, "download_name": download_name, "cache_max_age": cache_max_age}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""

        async def with_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in self.raw_headers}
                message["headers"] = [each for each in message["headers"] if each[0] not in own] + self.raw_headers
            await send(message)

        if self._node is not None:
            await self._node.serve_asgi(scope, receive, with_more, **self._said)
        else:
            await asgi(self._files, self._path, scope, receive, with_more, version=self._version, **self._said)
        if self.background is not None:
            await self.background()
