"""Objects as files that are read: which of their bytes are here, which are on their way, and what is asked for next.

``cache`` keeps bytes and knows what is on its way, ``kept`` keeps them on disk for other processes, ``reading`` decides
what to ask for, in steps that do not wait, and ``file`` is the file, which does. Nothing here knows a store: bytes come
by whatever has the two methods of ``Reader``.
"""

from __future__ import annotations

from .cache import RangeCache
from .file import RangeFile
from .reading import Reader

__all__ = ["RangeCache", "RangeFile", "Reader"]
