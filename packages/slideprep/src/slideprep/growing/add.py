"""``add-slides``: new shards behind those of a finished set, which keep every byte.

The steps are those of a build: prepare, scan, look for copies (among old and new slides), plan, write. They run in a
folder of their own (:mod:`slideprep.growing.staging`), so an interrupted run goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from slideprep.build import Planned, identity, samples_of, scan_slides, write_shards
from slideprep.config import BuildConfig
from slideprep.errors import InputError, UsageError
from slideprep.fingerprint import fingerprint
from slideprep.growing.assign import Present, assign_added, with_classes
from slideprep.growing.change import Changing, Outcome, changed_past, changing, digest_of, put_in_place
from slideprep.growing.current import CurrentSet, assemble, config_of
from slideprep.growing.rewrite import Edits, rewrite_shards
from slideprep.growing.staging import discard
from slideprep.label_columns import name_list
from slideprep.labels import RegionClasses, SlideEntry, patient_classes
from slideprep.layout import Layout
from slideprep.leaks import check_leaks
from slideprep.pipeline import executor
from slideprep.places import Place
from slideprep.plan import estimated_bytes, plan_shards
from slideprep.prepare import Prepared, prepare
from slideprep.pseudonyms import Pseudonyms
from slideprep.records import ShardRecord
from slideprep.scan import Scan
from slideprep.set_index import created_by
from slideprep.shard_format import shard_name
from slideprep.split_plan import SplitPlan
from slideprep.workspace import Workspace

OPERATION = "add-slides"
UPDATE = "update-statistics"
"""What the index calls an addition of nothing that only recomputes the statistics."""

ShownName = Callable[[str, str], str]

_PSEUDONYM = re.compile(r"slide-[0-9a-f]{12}")


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
        update_statistics: Compute the colour statistics over the whole of train.
        workers: As for a build.
        ray_address: As for a build.
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
    update_statistics: bool = False
    workers: int | None = None
    ray_address: str | None = None
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
        return _Addition(held, wish, console).run()


class _Addition:
    """One run of the command on a set that is held."""

    def __init__(self, held: Changing, wish: Addition, console: Console) -> None:
        self._held = held
        self._current = held.current
        self._wish = wish
        self._console = console
        self._config = config_of(
            self._current.index,
            self._current.out,
            slides=wish.slides,
            labels=wish.labels,
            annotations=wish.annotations,
            pseudonymise=wish.pseudonymise,
            workers=wish.workers,
            ray_address=wish.ray_address,
            slide_minutes=wish.slide_minutes,
            scratch=wish.scratch,
        )
        self._classes = with_classes(self._current.index.classes, wish.add_classes)

    def run(self) -> Outcome:
        wish, current = self._wish, self._current
        prepared, notes = self._prepare()
        if not prepared.plan.slides and not prepared.failures and not wish.update_statistics:
            return Outcome(out=current.out, before=current.index, after=current.index, notes=notes)
        made = identity(self._config, prepared)["slides"]
        base = [made, wish.to, self._classes, wish.update_statistics]
        request, workspace = self._held.begin(
            OPERATION, digest_of([OPERATION, base]), base, abandon=wish.abandon
        )
        config = self._config.model_copy(update={"out": workspace.out})
        planned, records = self._written(config, prepared, workspace)
        failures = (*planned.failures, *(failure for record in records for failure in record.failures))
        if wish.slides and not any(record.keys for record in records):
            discard(self._held.store)
            raise InputError(
                f"none of {len(prepared.plan.slides) + len(prepared.failures)} slides has a usable region, and the "
                f"set is as it was: {'; '.join(f.reason for f in failures[:5]) or 'all were left out by rule'}"
            )
        scans = planned.scanned.scans
        again = frozenset(prepared.plan.slides) | {failure.slide for failure in prepared.failures}
        forgotten = rewrite_shards(current, Edits(labels={}, forget=again), self._held.store, workspace)
        before = current.finished
        old = [forgotten.get(shard_name(r.split, r.number), r) for r in before.records]
        names = [shard_name(record.split, record.number) for record in records]
        written = {key for record in records for key in record.keys}
        added = {s.slide for shard in planned.shards for s in shard.samples if s.key in written}
        after = assemble(
            config=before.config.model_copy(update={"classes": before.config.classes and self._classes}),
            slides={**current.plan.slides, **prepared.plan.slides},
            classes=self._classes,
            scans={**before.scans, **scans},
            records=[*old, *records],
            failures=[*(f for f in before.failures if f.slide not in again), *planned.failures],
            pictures={**before.pictures, **planned.scanned.pictures},
            **changed_past(
                current,
                OPERATION if wish.slides else UPDATE,
                slides=len(added),
                shards=names,
                statistics_shards=counted_after(current, records, update=wish.update_statistics),
                synthetic=self._synthetic(prepared),
            ),
        )
        index = put_in_place(
            self._held,
            after,
            request,
            workspace,
            identities={**current.identity["slides"], **made},
            tars=[file.path for record in records for file in record.files.values()],
            records=[*names, *forgotten],
            scans=list(scans),
        )
        return Outcome(
            out=current.out,
            before=current.index,
            after=index,
            shards=tuple(names),
            failures=failures,
            notes=(*notes, *prepared.warnings, *planned.warnings),
        )

    # Before a slide is opened

    def _prepare(self) -> tuple[Prepared, tuple[str, ...]]:
        """The new slides and where they go, and what is to be said of the others."""
        if not self._wish.slides:
            plan = SplitPlan(slides={}, classes=self._classes, sets={}, warnings=())
            empty = Prepared(files={}, entries={}, annotations={}, plan=plan, failures=(), warnings=())
            return empty, ()
        self._check_pseudonyms()
        self._check_annotations()
        prepared = prepare(self._config, self._assign)
        known = sorted(self._current.held & prepared.files.keys())
        self._refuse_others(known, prepared)
        notes = []
        if known:
            notes.append(f"{len(known)} slides are in the set already, the same files: {name_list(known)}")
        if known and not prepared.plan.slides and not prepared.failures:
            notes.append("there is nothing to add")
        if self._current.identity.get("versions") != created_by().model_dump():
            notes.append(
                "the set was built with other versions of slideprep or its libraries; the index keeps which shard was "
                "made with which, and new pixels can differ by rounding"
            )
        return prepared, tuple(notes)

    def _assign(self, entries: Sequence[SlideEntry], region_classes: RegionClasses) -> SplitPlan:
        config = self._config
        shown = shown_names(config.pseudonymise)
        held = self._current.held
        return assign_added(
            [entry for entry in entries if shown("slide", entry.name) not in held],
            region_classes,
            present_in(self._current, self._classes, shown),
            config.splitting,
            seed=config.seed,
            to=self._wish.to,
        )

    def _check_pseudonyms(self) -> None:
        names = list(self._current.plan.slides)
        hidden = bool(names) and all(_PSEUDONYM.fullmatch(name) for name in names)
        if hidden and self._wish.pseudonymise is None:
            raise UsageError(
                f"the slides of {self._current.out} have pseudonyms, and these would show their names; add "
                "--pseudonymise FILE with the mapping of the build"
            )
        if self._wish.pseudonymise is not None and names and not hidden:
            raise UsageError(
                f"the slides of {self._current.out} are shown by name, so --pseudonymise would mix names and "
                "pseudonyms; leave it out"
            )

    def _check_annotations(self) -> None:
        if self._config.tissue == "annotations" and self._wish.annotations is None:
            raise UsageError(
                "the set was built from annotations; add --annotations FOLDER with one GeoJSON or XML file per new "
                "slide"
            )

    def _refuse_others(self, known: Iterable[str], prepared: Prepared) -> None:
        scans = self._current.finished.scans
        other = [name for name in known if fingerprint(prepared.files[name]) != scans[name].fingerprint]
        if other:
            raise UsageError(
                f"{len(other)} slides have the name of a slide in the set and another content: {name_list(other)}; "
                "rename the new files, or take the old ones out with remove-slides first"
            )

    # The steps of a build

    def _written(
        self, config: BuildConfig, prepared: Prepared, workspace: Workspace
    ) -> tuple[Planned, list[ShardRecord]]:
        with ExitStack() as stack:
            workers = config.workers if prepared.wanted else 0
            with self._console.status("Starting workers"):
                pool = stack.enter_context(executor(workers=workers, ray_address=config.ray_address))
            scanned = scan_slides(config, prepared, pool, self._console, workspace)
            copies = self._copies(prepared, scanned.scans)
            samples, unlabelled = samples_of(prepared.plan, scanned.scans, source=config.tissue)
            index = self._current.index
            shards = plan_shards(
                samples,
                {
                    name: slide.split
                    for name, slide in prepared.plan.slides.items()
                    if slide.split is not None
                },
                magnifications=config.magnifications,
                image_format=config.image_format,
                shard_mb=config.shard_mb,
                seed=config.seed,
                first={name: entry.shards for name, entry in index.splits.items()},
                present_bytes=present_bytes(self._current),
            )
            planned = Planned(
                prepared=prepared,
                scanned=scanned,
                shards=shards,
                failures=(*scanned.failures, *unlabelled),
                warnings=copies,
            )
            return planned, write_shards(config, planned, pool, self._console, workspace)

    def _copies(self, prepared: Prepared, scans: Mapping[str, Scan]) -> tuple[str, ...]:
        """Refuse files that are in two splits, old and new ones together; warnings that the new ones bring."""
        old = self._current.finished
        marks = {name: scan.fingerprint for name, scan in old.scans.items()}
        before = check_leaks(old.prepared.plan, marks)
        together = replace(prepared.plan, slides={**old.prepared.plan.slides, **prepared.plan.slides})
        marks |= {name: scan.fingerprint for name, scan in scans.items()}
        return tuple(warning for warning in check_leaks(together, marks) if warning not in before)

    def _synthetic(self, prepared: Prepared) -> bool:
        past = self._current.finished.past
        names = [prepared.files[name].name for name in prepared.plan.slides]
        return past is not None and past.synthetic and all(name.startswith("synthetic-") for name in names)


def shown_names(mapping: Path | None) -> ShownName:
    """("slide" or "patient", real name) to the name as a set shows it.

    Args:
        mapping: The mapping of a pseudonymised set; None where names are shown.
    """
    if mapping is None:
        return lambda kind, name: name
    return Pseudonyms(mapping).of


def present_in(current: CurrentSet, classes: tuple[str, ...], shown: ShownName) -> Present:
    """Patients, their splits and their classes in a set.

    Args:
        current: The set.
        classes: Its classes, with those that are being added.
        shown: Names as the set shows them.
    """
    slides = [slide for slide in current.plan.slides.values() if slide.split is not None]
    entries = [SlideEntry(name=s.name, patient=s.patient, label=s.label) for s in slides]
    regions = {
        name: [region.class_name for region in scan.regions if region.class_name is not None]
        for name, scan in current.finished.scans.items()
    }
    return Present(
        split_of={s.patient: s.split for s in slides if s.split is not None},
        class_of=patient_classes(entries, regions, classes),
        classes=classes,
        shown=partial(shown, "patient"),
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
