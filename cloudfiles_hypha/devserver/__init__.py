"""A real Hypha server and S3 on this machine, for demonstrations and tests."""

from .server import DevServer

__all__ = ["DevServer"]
