"""What a build remembers: failures, and finished shards."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from slideprep.shard_models import ShardFile


class Failure(BaseModel):
    """Something of the input that is not in the shards, and why."""

    model_config = ConfigDict(frozen=True)

    slide: str
    region: int | None
    stage: str
    reason: str


class Sums(BaseModel):
    """Integer sums over the decoded pixels of a shard's images at one magnification."""

    model_config = ConfigDict(frozen=True)

    pixels: int
    sums: tuple[int, int, int]
    squares: tuple[int, int, int]


class ShardRecord(BaseModel):
    """A finished shard: what index.json needs of it, and what tells whether it is still the one planned."""

    model_config = ConfigDict(frozen=True)

    digest: str
    split: str
    number: int
    keys: tuple[str, ...]
    cells: tuple[tuple[int, int], ...]
    files: dict[str, ShardFile]
    failures: tuple[Failure, ...]
    sums: dict[str, Sums] | None
    tags: dict[str, str] = {}
    """The store's mark of each tar's content, by magnification; empty where the store has none, as a file system."""
