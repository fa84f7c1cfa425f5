"""Settings in, a finished set out, whatever stood there before: what ``slideprep build-shards`` and a script both call.

Nothing is printed but to the console that is given; what reads slides is imported when there is something to read.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from slideprep.building.config import BuildConfig
from slideprep.building.prepare import Prepared, prepare
from slideprep.shards.format import INDEX_NAME, dump_index, magnification_name
from slideprep.shards.journal import refuse_unfinished
from slideprep.shards.records import Failure
from slideprep.storage.open import open_store
from slideprep.storage.places import Place
from slideprep.storage.store import Store
from slideprep.text import csv_value, sayer

if TYPE_CHECKING:
    from slideprep.building.build import Built


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A finished shard set, and what became of everything that was to go into it.

    Attributes:
        out: Its folder, or its address.
        index: The content of index.json (shards/SHARD_FORMAT.md): ``index["counts"]``, ``index["splits"]``, ...
        failures: Slides and regions that are not in the set because something is wrong with them; rows of failures.csv.
        left_out: Slides and regions that are not in the set by a rule; rows of left_out.csv.
        warnings: Plain sentences about the run as a whole. Where nothing was done, those that need no slide opened.
        already_finished: Whether an earlier call, or the command, had finished it, so that nothing was done.
    """

    out: Place
    index: dict[str, Any]
    failures: tuple[Failure, ...]
    left_out: tuple[Failure, ...]
    warnings: tuple[str, ...]
    already_finished: bool

    @property
    def complete(self) -> bool:
        """Whether no input failed: the command's exit code is then 0, else 3."""
        return not self.failures


def build(config: BuildConfig, *, progress: bool = False) -> BuildResult:
    """Build a shard set as ``slideprep build-shards`` does, byte for byte.

    A call that was interrupted is gone on with by the same call, or by the command; one that finds its set finished
    does nothing. Worker processes are started and ended (``workers=0`` for none); a Ray that this process started is
    used and left running.

    Args:
        config: The slides, the folder and the settings: the command's options under the same names.
        progress: Show on standard error what the command shows; else nothing is printed.

    Raises:
        UsageError: The inputs do not fit together, or the folder holds something else; nothing was written.
        InputError: Not one region can be used; the folder's failures.csv and left_out.csv say why.
        OutputError: The folder cannot be written to; finished shards are kept.
        ClusterError: Ray failed; finished shards are kept.
    """
    # a console that is quiet and a terminal would swallow what the caller prints meanwhile
    silent = Console(quiet=True, force_terminal=False, force_jupyter=False)
    done = build_or_find(config, Console(stderr=True) if progress else silent)
    if isinstance(done, EarlierBuild):
        return BuildResult(
            out=config.out,
            index=done.index,
            failures=done.failures,
            left_out=done.left_out,
            warnings=done.prepared.warnings,
            already_finished=True,
        )
    return BuildResult(
        out=config.out,
        index=json.loads(dump_index(done.index)),
        failures=tuple(done.finished.all_failures),
        left_out=tuple(done.finished.left_out),
        warnings=tuple(done.finished.warnings),
        already_finished=False,
    )


def build_or_find(config: BuildConfig, console: Console) -> Built | EarlierBuild:
    """Build a set, go on with it, or find that it is finished.

    Args:
        config: The settings.
        console: For progress.

    Raises:
        UsageError: The inputs do not fit together, or the folder holds something else.
        InputError: Not one region can be used.
        OutputError: The folder cannot be written to.
        ClusterError: Ray failed.
    """
    refuse_unfinished(config.out)
    prepared = prepare(config)
    sayer(console)(prepared.found_words)
    earlier = earlier_build(config, prepared)
    if earlier is not None:
        return earlier
    # Imported here, because it imports what reads slides, which takes a second.
    from slideprep.building.build import build_shards

    return build_shards(config, prepared, console)


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
    # Imported here, because it imports what reads slides, which takes a second.
    from slideprep.building.workspace import refuse_other_build

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
            slide=csv_value(row.get("slide") or ""),
            region=int(region) if (region := row.get("region") or "").isdecimal() else None,
            stage=row.get("stage") or "",
            reason=csv_value(row.get("reason") or ""),
        )
        for row in rows
    )
