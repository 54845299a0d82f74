"""The names of genro-storage: that they are there, and that what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

import cloudfiles_hypha
from cloudfiles_hypha.compat import genro_storage


def test_its_names_are_ours() -> None:
    for name in genro_storage.__all__:
        assert getattr(genro_storage, name) is getattr(cloudfiles_hypha, name)


@pytest.mark.parametrize(("name", "instead"), [("StorageConfig", "list of dicts"), ("AsyncStorageManager", "awaited")])
def test_what_is_not_there_names_what_is(name: str, instead: str) -> None:
    module: Any = genro_storage
    with pytest.raises(AttributeError, match=instead):
        getattr(module, name)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        module.Nothing
