"""An FTP server on a free port of this machine, in a thread: files of a folder, for one user."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD = "user", "pass-word"


@contextmanager
def ftp_server(folder: Path, *, may: str = "elradfmwMT") -> Iterator[int]:
    """Its port. ``may`` are the permissions that pyftpdlib knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of asyncore, in Python before 3.12
        from pyftpdlib.authorizers import DummyAuthorizer
        from pyftpdlib.handlers import FTPHandler
        from pyftpdlib.ioloop import IOLoop
        from pyftpdlib.servers import FTPServer

    logging.getLogger("pyftpdlib").setLevel(logging.ERROR)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(folder), perm=may)

    class Handler(FTPHandler):  # type: ignore[misc]
        auth_failed_timeout = 0

    Handler.authorizer = authorizer
    loop = IOLoop()
    server = FTPServer(("127.0.0.1", 0), Handler, ioloop=loop)
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            loop.loop(timeout=0.05, blocking=False)
        server.close_all()
        loop.close()

    thread = threading.Thread(target=serve, name="ftp-server")
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        stopped.set()
        thread.join()
