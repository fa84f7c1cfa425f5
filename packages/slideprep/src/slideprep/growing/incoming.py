"""The slides that are to be added, before any of them is opened: which are new, where they go, what cannot be right.

Names are those that the set shows: file names, or the pseudonyms of its mapping.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from slideprep.building.config import BuildConfig
from slideprep.building.identity import created_by
from slideprep.building.prepare import Prepared, prepare
from slideprep.errors import UsageError
from slideprep.growing.assign import Present, assign_added
from slideprep.growing.current import NO_ANNOTATIONS, CurrentSet, is_hidden, mapping_of
from slideprep.labels.columns import name_list
from slideprep.labels.match import RegionClasses, SlideEntry, patient_classes
from slideprep.labels.split_plan import SplitPlan
from slideprep.slides.files import redacted
from slideprep.slides.fingerprint import fingerprint
from slideprep.text import count

ShownName = Callable[[str, str], str]
"""("slide" or "patient", real name) to the name as a set shows it."""


def prepare_added(
    current: CurrentSet, config: BuildConfig, classes: tuple[str, ...], *, to: str | None
) -> tuple[Prepared, tuple[str, ...]]:
    """Find the slides, pass over those that the set holds, and assign the others.

    Args:
        current: The set.
        config: Its settings, with the slides and labels that are to be added.
        classes: Its classes, with those that are being added.
        to: Named set that takes all new slides, or None.

    Returns:
        The new slides, and plain sentences.

    Raises:
        UsageError: Something about the slides, the labels or the options does not go with the set.
    """
    if not config.slides:
        return nothing(classes), ()
    shown = shown_names(current, config.pseudonymise)
    if config.tissue == "annotations" and config.annotations == NO_ANNOTATIONS:
        raise UsageError(
            "the set was built from annotations; add --annotations FOLDER with one GeoJSON or XML file per new slide"
        )
    prepared = prepare(config, _assigner(current, config, classes, shown, to))
    known = sorted(current.held & prepared.files.keys())
    _refuse_others(known, current, prepared)
    return prepared, tuple(_notes(known, current, prepared))


def nothing(classes: tuple[str, ...]) -> Prepared:
    """No slide at all."""
    plan = SplitPlan(slides={}, classes=classes, sets={}, warnings=())
    return Prepared(files={}, entries={}, annotations={}, plan=plan, failures=(), warnings=())


def is_nothing(prepared: Prepared) -> bool:
    """Whether no new slide was found, nor one that failed."""
    return not prepared.plan.slides and not prepared.failures


def _notes(known: Sequence[str], current: CurrentSet, prepared: Prepared) -> Iterable[str]:
    if known:
        yield f"{count(len(known), 'slide is', 'slides are')} in the set already, the same files: {name_list(known)}"
    if is_nothing(prepared):
        yield "there is nothing to add"
    elif current.identity.get("versions") != created_by().model_dump():
        yield (
            "the set was built with other versions of slideprep or its libraries; the index keeps which shard was made "
            "with which, and new pixels can differ by rounding"
        )


def _assigner(
    current: CurrentSet, config: BuildConfig, classes: tuple[str, ...], shown: ShownName, to: str | None
) -> Callable[[Sequence[SlideEntry], RegionClasses], SplitPlan]:
    present = present_in(current, classes, shown)
    known: Mapping[str, str] = {}
    if config.pseudonymise is not None:
        known = mapping_of(current, config.pseudonymise).known("patient")
        named = {name: present.split_of[other] for name, other in known.items() if other in present.split_of}
        present = replace(present, named=named)
    held = current.held

    def assign(entries: Sequence[SlideEntry], region_classes: RegionClasses) -> SplitPlan:
        new = [entry for entry in entries if shown("slide", entry.name) not in held]
        plan = assign_added(new, region_classes, present, config.splitting, seed=config.seed, to=to)
        # of the new patients' names the preparation takes care, which does not know those that the set holds
        return replace(plan, warnings=tuple(redacted(text, known, ()) for text in plan.warnings))

    return assign


def _refuse_others(known: Iterable[str], current: CurrentSet, prepared: Prepared) -> None:
    scans = current.finished.scans
    other = [name for name in known if fingerprint(prepared.files[name]) != scans[name].fingerprint]
    # Keys follow from the composed name, so accents in two codings would give two slides one key.
    composed = {unicodedata.normalize("NFC", name): name for name in current.plan.slides}
    other += [
        name
        for name in prepared.plan.slides
        if composed.get(unicodedata.normalize("NFC", name), name) != name
    ]
    if other:
        raise UsageError(
            f"{count(len(other), 'slide has', 'slides have')} "
            f"the name of a slide in the set and another content: {name_list(other)}; rename "
            "the new files, or take the old ones out with remove-slides first"
        )


def shown_names(current: CurrentSet, mapping: Path | None) -> ShownName:
    """Names as a set shows them.

    Args:
        current: The set.
        mapping: The mapping of a pseudonymised set; None where names are shown.

    Raises:
        UsageError: The set has pseudonyms and no mapping is given, or another one; see ``mapping_of``.
    """
    if mapping is not None:
        return mapping_of(current, mapping).of
    if is_hidden(current):
        raise UsageError(
            f"the slides of {current.out} have pseudonyms, and these would show their names; add --pseudonymise FILE "
            "with the mapping of the build"
        )
    return lambda kind, name: name


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
