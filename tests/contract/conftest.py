"""The contract's files, for every test that holds a writer or a reader against them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from fixtures.repository import SHARDS


@pytest.fixture
def golden() -> Path:
    """The valid set beside SHARD_FORMAT.md."""
    return SHARDS / "golden"


@pytest.fixture
def sets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The builders of small sets beside SHARD_FORMAT.md, which import neither package."""
    monkeypatch.syspath_prepend(str(SHARDS))
    return importlib.import_module("invalid_sets")


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Writes a set's files into a folder of its own and returns it."""

    def write(files: dict[str, bytes]) -> Path:
        for path, data in files.items():
            target = tmp_path / "set" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return tmp_path / "set"

    return write
