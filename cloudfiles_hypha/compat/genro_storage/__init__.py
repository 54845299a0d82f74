"""The names of genro-storage, by our mounts: ``from cloudfiles_hypha.compat.genro_storage import StorageManager``.

Where its manners and ours differ, ``docs/genro-storage.md`` says which these are: ``read()`` gives bytes unless
``mode="r"``, nodes are equal by place and ``same_content()`` compares content, ``move_to`` gives the node of the new
place and leaves the one that it is called on as it is, and there is no encryption at rest.
"""

from __future__ import annotations

from ...errors import StorageConfigError, StorageError, StorageNotFoundError, StoragePermissionError
from ...mounts.copying import SkipStrategy
from ...mounts.faces import StorageNode
from ...mounts.manager import StorageManager

__all__ = [
    "SkipStrategy",
    "StorageConfigError",
    "StorageError",
    "StorageManager",
    "StorageNode",
    "StorageNotFoundError",
    "StoragePermissionError",
]

_INSTEAD = {
    "StorageConfig": "a list of dicts, a dict by name, or a YAML or JSON file: StorageManager.configure takes each",
    "AsyncStorageManager": "StorageManager, whose nodes are awaited where a loop runs",
}


def __getattr__(name: str) -> object:
    if name in _INSTEAD:
        raise AttributeError(f"{__name__} has no {name}; use {_INSTEAD[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
