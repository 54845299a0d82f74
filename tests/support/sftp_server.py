"""An SFTP server on a free port of this machine, in threads: files of a folder, for one user."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko
from paramiko import SFTPAttributes, SFTPHandle, SFTPServer

USER, PASSWORD = "user", "pass-word"


class _Login(paramiko.ServerInterface):  # type: ignore[misc]
    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.AUTH_SUCCESSFUL if (username, password) == (USER, PASSWORD) else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Handle(SFTPHandle):  # type: ignore[misc]
    def __init__(self, flags: int, file: Any) -> None:
        super().__init__(flags)
        self.readfile = self.writefile = file

    def stat(self) -> SFTPAttributes:
        return SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


def _files_of(folder: Path) -> type[paramiko.SFTPServerInterface]:
    def answer(call: Callable[[], object]) -> Any:
        try:
            found = call()
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)
        return paramiko.SFTP_OK if found is None else found

    class Files(paramiko.SFTPServerInterface):  # type: ignore[misc]
        def _path(self, path: str) -> str:
            return f"{folder}{self.canonicalize(path)}"

        def list_folder(self, path: str) -> Any:
            def attributes() -> list[SFTPAttributes]:
                found = []
                for entry in os.scandir(self._path(path)):
                    each = SFTPAttributes.from_stat(entry.stat(follow_symlinks=False))
                    each.filename = entry.name
                    found.append(each)
                return found

            return answer(attributes)

        def stat(self, path: str) -> Any:
            return answer(lambda: SFTPAttributes.from_stat(os.stat(self._path(path))))

        def lstat(self, path: str) -> Any:
            return answer(lambda: SFTPAttributes.from_stat(os.lstat(self._path(path))))

        def open(self, path: str, flags: int, attr: SFTPAttributes) -> Any:
            mode = "rb" if not flags & (os.O_WRONLY | os.O_RDWR) else "r+b"

            def opened() -> _Handle:
                return _Handle(flags, os.fdopen(os.open(self._path(path), flags, 0o644), mode))

            return answer(opened)

        def remove(self, path: str) -> Any:
            return answer(lambda: os.remove(self._path(path)))

        def posix_rename(self, oldpath: str, newpath: str) -> Any:
            return answer(lambda: os.replace(self._path(oldpath), self._path(newpath)))

        def mkdir(self, path: str, attr: SFTPAttributes) -> Any:
            return answer(lambda: os.mkdir(self._path(path)))

        def rmdir(self, path: str) -> Any:
            return answer(lambda: os.rmdir(self._path(path)))

    return Files


@contextmanager
def sftp_server(folder: Path) -> Iterator[int]:
    """Its port."""
    key = paramiko.ECDSAKey.generate()
    files = _files_of(folder)
    transports: list[paramiko.Transport] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", SFTPServer, files)
            transport.start_server(threading.Event(), server=_Login())
            transports.append(transport)

    thread = threading.Thread(target=serve, name="sftp-server")
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for transport in transports:
            transport.close()
            transport.join()
