"""A folder that may hold a finished set in, what an earlier run of the same build left there out."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from slideprep.building.config import BuildConfig
from slideprep.building.prepare import Prepared
from slideprep.shards.format import INDEX_NAME, magnification_name
from slideprep.shards.records import Failure
from slideprep.storage.open import open_store
from slideprep.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class EarlierBuild:
    """A set that an earlier run of the same build finished.

    Attributes:
        index: The content of index.json.
        failures: Rows of failures.csv.
        left_out: Rows of left_out.csv; empty where the table is gone.
        prepared: What the build that asks starts from.
    """

    index: dict[str, Any]
    failures: tuple[Failure, ...]
    left_out: tuple[Failure, ...]
    prepared: Prepared


def earlier_build(config: BuildConfig, prepared: Prepared) -> EarlierBuild | None:
    """The finished set in ``config.out``, if there is one of the same settings and slides.

    Raises:
        UsageError: There is one of other settings or slides.
    """
    store = open_store(config.out, scratch=config.scratch)
    if store.stat(INDEX_NAME) is None:
        return None
    from slideprep.building.workspace import (
        refuse_other_build,
    )  # imports what reads slides, which takes a second

    refuse_other_build(config, prepared)
    try:
        index = json.loads(store.read(INDEX_NAME))
        files = [
            (file["path"], file["bytes"]) for shard in index["shards"] for file in shard["files"].values()
        ]
        failures = _rows(store, "failures.csv")
        folders = [magnification_name(magnification) for magnification in index["magnifications"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # damaged or incomplete: finish it again
    there = {path: stored.bytes for folder in folders for path, stored in store.list(folder).items()}
    if any(there.get(path) != size for path, size in files):
        return None  # tars are missing or cut short: build them again
    try:
        left_out = _rows(store, "left_out.csv")
    except (OSError, ValueError):
        left_out = ()
    return EarlierBuild(index=index, failures=failures, left_out=left_out, prepared=prepared)


def _rows(store: Store, table: str) -> tuple[Failure, ...]:
    """Rows of a table as they stand; a person may have edited it, so no cell has to be there."""
    rows = csv.DictReader(io.StringIO(store.read(table).decode(), newline=""))
    return tuple(
        Failure(
            slide=row.get("slide") or "",
            region=int(region) if (region := row.get("region") or "").isdecimal() else None,
            stage=row.get("stage") or "",
            reason=row.get("reason") or "",
        )
        for row in rows
    )
