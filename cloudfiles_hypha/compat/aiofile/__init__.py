"""The interface of aiofile: ``from cloudfiles_hypha.compat.aiofile import async_open``; files of stores besides.

``aio`` and ``utils`` are modules of this package, as they are of aiofile, which has to be installed.
"""

from aiofile.version import (
    __author__,
    __version__,
    author_info,
    package_info,
    package_license,
    project_home,
    team_email,
    version_info,
)

from .aio import AIOFile
from .utils import (
    BinaryFileWrapper,
    FileIOCloner,
    FileIOWrapperBase,
    LineReader,
    Reader,
    TextFileWrapper,
    Writer,
    async_open,
    clone,
)

__all__ = [
    "AIOFile",
    "BinaryFileWrapper",
    "FileIOCloner",
    "FileIOWrapperBase",
    "LineReader",
    "Reader",
    "TextFileWrapper",
    "Writer",
    "__author__",
    "__version__",
    "async_open",
    "author_info",
    "clone",
    "package_info",
    "package_license",
    "project_home",
    "team_email",
    "version_info",
]
