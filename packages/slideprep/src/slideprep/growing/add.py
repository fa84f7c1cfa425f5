"""``add-slides``: new shards behind those of a finished set, which keep every byte.

The steps are those of a build: prepare, scan, look for copies (among old and new slides), plan, write. They run in a
folder of their own (:mod:`slideprep.shards.journal`), so an interrupted run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from slideprep.building.config import BuildConfig
from slideprep.building.finished import Finished
from slideprep.building.identity import identity
from slideprep.building.plan import Planned, estimated_bytes, planned_of
from slideprep.building.prepare import Prepared
from slideprep.building.scans import scan_slides
from slideprep.building.tasks.write import write_shards
from slideprep.building.workspace import Workspace
from slideprep.errors import InputError, UsageError
from slideprep.growing.assign import with_classes
from slideprep.growing.change import Changing, Outcome, changed_past, changing, digest_of, put_in_place
from slideprep.growing.current import CurrentSet, assemble, config_of
from slideprep.growing.incoming import is_nothing, prepare_added
from slideprep.growing.rewrite import Edits, rewrite_shards
from slideprep.labels.leaks import check_leaks
from slideprep.regions.layout import Layout
from slideprep.regions.scan import Scan
from slideprep.shards.format import shard_name
from slideprep.shards.grouped import failure_lines
from slideprep.shards.journal import discard
from slideprep.shards.records import Failure, ShardRecord
from slideprep.storage.places import Place
from slideprep.text import count, sayer
from slideprep.workers.executor import Executor, executor

OPERATION = "add-slides"
UPDATE = "update-statistics"
"""What the index calls an addition of nothing that only computes the statistics anew."""


@dataclass(frozen=True, kw_only=True)
class Addition:
    """What is to be added; all that is not here is as the set was built.

    Attributes:
        slides: Files, folders, globs or CSV files that name slides.
        labels: labels.csv, or None for unlabelled slides.
        annotations: Folder of annotations, for a set that was built with them.
        pseudonymise: The mapping of a pseudonymised set.
        to: Named set that takes all new slides, or None to assign them.
        add_classes: New classes, numbered on in this order.
        patients_differ: Patients whose names are nearly alike are different people.
        update_statistics: Compute the colour statistics over the whole of train.
        workers: As for a build.
        ray_address: As for a build.
        start_seconds: As for a build.
        slide_minutes: As for a build.
        scratch: Local folder for what grows, where the set is not a local one.
        abandon: Give up another change that was begun and not finished.
    """

    slides: tuple[str, ...]
    labels: Place | None = None
    annotations: Path | None = None
    pseudonymise: Path | None = None
    to: str | None = None
    add_classes: tuple[str, ...] = ()
    patients_differ: bool = False
    update_statistics: bool = False
    workers: int | None = None
    ray_address: str | None = None
    start_seconds: float | None = None
    slide_minutes: float | None = None
    scratch: Path | None = None
    abandon: bool = False


def add_slides(out: Place, wish: Addition, console: Console) -> Outcome:
    """Add slides to a finished set.

    Raises:
        UsageError: Something about the command, the labels or the set is wrong; the set is as it was.
        InputError: No region of the new slides is usable; the set is as it was.
        OutputError: The folder cannot be written to.
    """
    if not wish.slides and not wish.update_statistics:
        raise UsageError("no slides were given; name files, folders, globs or a CSV with a column 'path'")
    with changing(out, scratch=wish.scratch) as held:
        return _add(held, wish, console)


@dataclass(frozen=True, kw_only=True)
class _Added:
    """What an addition has written below ``next``.

    Attributes:
        prepared: The new slides.
        planned: Their scans and shards.
        records: Records of the new shards.
        classes: Classes of the set afterwards.
    """

    prepared: Prepared
    planned: Planned
    records: tuple[ShardRecord, ...]
    classes: tuple[str, ...]

    @property
    def shards(self) -> tuple[str, ...]:
        """Names of the new shards."""
        return tuple(shard_name(record.split, record.number) for record in self.records)

    @property
    def slides(self) -> frozenset[str]:
        """Slides of which a sample was written."""
        written = {key for record in self.records for key in record.keys}
        samples = (sample for shard in self.planned.shards for sample in shard.samples)
        return frozenset(sample.slide for sample in samples if sample.key in written)

    @property
    def tried(self) -> frozenset[str]:
        """Slides that were given, whatever became of them: what was said of them before is out of date."""
        return frozenset(self.prepared.plan.slides) | {failure.slide for failure in self.prepared.failures}

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What could not be added."""
        return (*self.planned.failures, *(f for record in self.records for f in record.failures))


def _add(held: Changing, wish: Addition, console: Console) -> Outcome:
    current = held.current
    classes = with_classes(current.index.classes, held.missing_classes(OPERATION, wish.add_classes))
    config = _config(current, wish)
    prepared, notes = prepare_added(current, config, classes, to=wish.to)
    if is_nothing(prepared) and not _statistics_follow(current, wish):
        if wish.update_statistics:
            notes = (*notes, "the colour statistics count all of train already")
        return Outcome(out=current.out, before=current.index, after=current.index, notes=notes)
    identities = identity(config, prepared)["slides"]
    base = [identities, wish.to, classes, wish.update_statistics]
    asked = digest_of([OPERATION, base])
    request, workspace = held.begin(OPERATION, asked, base, abandon=wish.abandon)
    made = _written(current, config.model_copy(update={"out": workspace.out}), prepared, workspace, console)
    if not is_nothing(prepared) and not made.slides:
        discard(held.store)
        raise InputError(
            f"none of {count(len(made.tried), 'slide')} has a usable region, and the set is as it was: "
            + ("; ".join(failure_lines(made.failures)[:5]) or "all were left out by rule")
        )
    forgotten = rewrite_shards(current, Edits(labels={}, forget=made.tried), held.store, workspace)
    index = put_in_place(
        held,
        _after(current, wish, made, forgotten),
        request,
        workspace,
        identities={**current.identity["slides"], **identities},
        tars=[file.path for record in made.records for file in record.files.values()],
        records=[*made.shards, *forgotten],
        scans=list(made.planned.scanned.scans),
    )
    return Outcome(
        out=current.out,
        before=current.index,
        after=index,
        shards=made.shards,
        failures=made.failures,
        notes=(*notes, *prepared.warnings, *made.planned.warnings),
    )


def _config(current: CurrentSet, wish: Addition) -> BuildConfig:
    return config_of(
        current.index,
        current.out,
        slides=wish.slides,
        labels=wish.labels,
        annotations=wish.annotations,
        pseudonymise=wish.pseudonymise,
        patients_differ=wish.patients_differ,
        workers=wish.workers,
        ray_address=wish.ray_address,
        start_seconds=wish.start_seconds,
        slide_minutes=wish.slide_minutes,
        scratch=wish.scratch,
    )


def _statistics_follow(current: CurrentSet, wish: Addition) -> bool:
    """Whether the statistics are asked to count shards that they do not count yet."""
    return wish.update_statistics and current.index.statistics_shards is not None


# The steps of a build


def _written(
    current: CurrentSet, config: BuildConfig, prepared: Prepared, workspace: Workspace, console: Console
) -> _Added:
    with ExitStack() as stack:
        with console.status("Starting workers"):
            workers = config.workers if prepared.wanted else 0
            pool = stack.enter_context(
                executor(
                    workers=workers,
                    ray_address=config.ray_address,
                    start_seconds=config.start_seconds,
                    say=sayer(console),
                )
            )
        planned = _planned(current, config, prepared, workspace, pool, console)
        past = current.finished.past
        assert past is not None, "a set that was read has a past"
        records = write_shards(config, planned, pool, console, workspace, statistics_of=past.statistics_of)
    classes = prepared.plan.classes
    return _Added(prepared=prepared, planned=planned, records=tuple(records), classes=classes)


def _planned(
    current: CurrentSet,
    config: BuildConfig,
    prepared: Prepared,
    workspace: Workspace,
    pool: Executor,
    console: Console,
) -> Planned:
    scanned = scan_slides(config, prepared, pool, console, workspace)
    return planned_of(
        config,
        prepared,
        scanned,
        warnings=_copies(current, prepared, scanned.scans),
        first={name: entry.shards for name, entry in current.index.splits.items()},
        present_bytes=present_bytes(current),
    )


def _copies(current: CurrentSet, prepared: Prepared, scans: Mapping[str, Scan]) -> tuple[str, ...]:
    """Refuse files that are in two splits, old and new ones together; warnings that the new ones bring."""
    plan = current.plan
    old = {name: scan.fingerprint for name, scan in current.finished.scans.items()}
    new = {name: scan.fingerprint for name, scan in scans.items()}
    before = check_leaks(plan, old)
    together = replace(plan, slides={**plan.slides, **prepared.plan.slides})
    return tuple(warning for warning in check_leaks(together, {**old, **new}) if warning not in before)


# The set afterwards


def _after(
    current: CurrentSet, wish: Addition, made: _Added, forgotten: Mapping[str, ShardRecord]
) -> Finished:
    before, scanned = current.finished, made.planned.scanned
    assert before.past is not None, "a set that was read has a past"
    names = [made.prepared.files[name].name for name in made.prepared.plan.slides]
    old = [forgotten.get(shard_name(r.split, r.number), r) for r in before.records]
    return assemble(
        config=before.config.model_copy(update={"classes": before.config.classes and made.classes}),
        slides={**current.plan.slides, **made.prepared.plan.slides},
        classes=made.classes,
        scans={**before.scans, **scanned.scans},
        records=[*old, *made.records],
        failures=[*(f for f in before.failures if f.slide not in made.tried), *made.planned.failures],
        pictures={**before.pictures, **scanned.pictures},
        **changed_past(
            current,
            OPERATION if made.tried else UPDATE,
            slides=len(made.slides),
            shards=made.shards,
            statistics_shards=counted_after(current, made.records, update=wish.update_statistics),
            synthetic=before.past.synthetic and all(name.startswith("synthetic-") for name in names),
        ),
    )


def present_bytes(current: CurrentSet) -> float:
    """Expected size of the images of a set at its highest magnification, bytes."""
    config = current.finished.config
    return sum(
        estimated_bytes(
            Layout(x=0, y=0, columns=columns, rows=rows), config.magnifications, config.image_format
        )
        for shard in current.index.shards
        for columns, rows in shard.cells
    )


def counted_after(
    current: CurrentSet, added: Iterable[ShardRecord], *, update: bool
) -> tuple[int, ...] | None:
    """Numbers of the shards of train that the statistics count once slides are added; None for all of them.

    Args:
        current: The set before.
        added: The new shards.
        update: Whether the statistics are to follow.
    """
    index = current.index
    if update or index.statistics is None:
        return None
    if index.statistics_shards is not None or all(record.split != "train" for record in added):
        return index.statistics_shards
    return tuple(shard.number for shard in index.shards if shard.split == "train")
