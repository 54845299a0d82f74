"""The interface of cloud-files: ``from cloudfiles_hypha.compat.cloudfiles import CloudFiles, CloudFile, dl``.

``compression``, ``exceptions`` and ``paths`` are modules of this package, as they are of cloud-files.
"""

from ...backends.memory import clear_memory
from . import compression, exceptions, paths
from .files import CloudFile, CloudFiles, dl

__all__ = ["CloudFile", "CloudFiles", "clear_memory", "compression", "dl", "exceptions", "paths"]
