"""``relabel``: slides of a set get another label; patients keep their split, images keep their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slideprep.building.plan import samples_of
from slideprep.errors import UsageError
from slideprep.growing.assign import check_classes, with_classes
from slideprep.growing.change import Changing, Outcome, changed_past, changing, digest_of, put_in_place
from slideprep.growing.current import CurrentSet, assemble, mapping_of
from slideprep.growing.rewrite import edits_between, rewrite_shards
from slideprep.labels.columns import name_list
from slideprep.labels.match import SlideEntry, match_labels
from slideprep.labels.split_plan import PlannedSlide, stored_split
from slideprep.labels.table import LabelFile, read_labels
from slideprep.shards.format import shard_name
from slideprep.storage.places import Place
from slideprep.text import count

OPERATION = "relabel"


@dataclass(frozen=True, kw_only=True)
class Relabelling:
    """What labels there are to be.

    Attributes:
        labels: labels.csv; slides of the set that it does not name keep their label.
        add_classes: New classes, numbered on in this order.
        pseudonymise: Mapping of a pseudonymised set, where the labels have real names.
        scratch: Local folder for what grows, where the set is not a local one.
        abandon: Give up another change that was begun and not finished.
    """

    labels: Place
    add_classes: tuple[str, ...] = ()
    pseudonymise: Path | None = None
    scratch: Path | None = None
    abandon: bool = False


def relabel(out: Place, wish: Relabelling) -> Outcome:
    """Give slides of a finished set the labels of a table.

    Raises:
        UsageError: A class is new, a slide would lose its label in a labelled split, or the table names another
            patient.
        InputError: A tar that has to be written again is damaged.
        OutputError: The folder cannot be written to.
    """
    labels = read_labels(wish.labels)
    with changing(out, scratch=wish.scratch) as held:
        return _relabel(held, wish, labels)


def _relabel(held: Changing, wish: Relabelling, labels: LabelFile) -> Outcome:
    current, before = held.current, held.current.finished
    add_classes = held.missing_classes(OPERATION, wish.add_classes)
    classes = with_classes(current.index.classes, add_classes)
    new, notes = new_labels(current, labels, wish.pseudonymise)
    check_classes({label for label in new.values() if label is not None}, classes)
    if not new and not add_classes:
        unchanged = "every slide has the label of the table already; nothing was changed"
        return Outcome(out=current.out, before=current.index, after=current.index, notes=(*notes, unchanged))
    slides = {
        name: replace(slide, label=new.get(name, slide.label)) for name, slide in current.plan.slides.items()
    }
    plan = replace(current.plan, slides=slides, classes=classes)
    samples = {s.key: s for s in samples_of(plan, before.scans, source=before.config.tissue)[0]}
    after_samples = {key: samples[key] for key in before.samples}
    asked = digest_of([OPERATION, sorted(new.items()), classes])
    request, workspace = held.begin(OPERATION, asked, None, abandon=wish.abandon)
    edits = edits_between(before.samples, after_samples, classes, ())
    made = rewrite_shards(current, edits, held.store, workspace)
    after = assemble(
        config=before.config.model_copy(update={"classes": before.config.classes and classes}),
        slides=slides,
        classes=classes,
        scans=before.scans,
        records=[made.get(shard_name(r.split, r.number), r) for r in before.records],
        failures=before.failures,
        pictures=before.pictures,
        **changed_past(current, OPERATION, slides=len(new), shards=made),
    )
    index = put_in_place(
        held,
        after,
        request,
        workspace,
        identities={n: _identity(known, slides[n]) for n, known in current.identity["slides"].items()},
        tars=[file.path for record in made.values() for file in record.files.values()],
        records=made,
    )
    return Outcome(
        out=current.out,
        before=current.index,
        after=index,
        shards=tuple(made),
        notes=(*notes, *_left_out(new, slides)),
    )


def _identity(known: list[object], slide: PlannedSlide) -> list[object]:
    """``build.json``'s entry of a slide: its label is the fourth of (size, patient, split, label, ...)."""
    return [*known[:3], slide.label, *known[4:]]


def _left_out(new: Mapping[str, str | None], slides: Mapping[str, PlannedSlide]) -> list[str]:
    waiting = [name for name in new if slides[name].split is None]
    if not waiting:
        return []
    return [
        f"{count(len(waiting), 'slide has', 'slides have')} "
        f"a label now and still no place in the set; add-slides gives one: " + name_list(waiting)
    ]


def new_labels(
    current: CurrentSet, labels: LabelFile, mapping: Path | None
) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """Labels that differ from those in the set, by slide, and plain sentences.

    Raises:
        UsageError: See :func:`relabel`.
    """
    real = {name: name for name in current.plan.slides}
    shown_patients: Mapping[str, str] = {}
    if mapping is not None:
        pseudonyms = mapping_of(current, mapping)
        shown_patients = pseudonyms.known("patient")
        real = {n: shown for n, shown in pseudonyms.known("slide").items() if shown in current.plan.slides}
    matched = match_labels(labels, sorted(real))
    named = {real[e.name]: e for e in matched.entries if e.name not in set(matched.without_row)}
    slides = current.plan.slides
    if any(row.patient is not None for row in labels.rows):
        _refuse_patients(named, slides, shown_patients)
    new = {name: e.label for name, e in sorted(named.items()) if e.label != slides[name].label}
    emptied = [name for name, label in new.items() if label is None and slides[name].keeps_label]
    if emptied:
        raise UsageError(
            f"{count(len(emptied), 'slide')} "
            f"would lose the label in a labelled split: {name_list(emptied)}; give them one, "
            "or remove them with remove-slides"
        )
    notes = [note for note in labels.notes if "column 'patient'" not in note]  # no patient moves here
    moved = [n for n, e in named.items() if e.split and slides[n].split not in (None, stored_split(e.split))]
    if moved:
        notes.append(
            f"{count(len(moved), 'slide has', 'slides have')} "
            f"another split in the table and will not move: {name_list(moved)}"
        )
    if matched.without_slide:
        notes.append(
            f"{count(len(matched.without_slide), 'row names a slide', 'rows name slides')} "
            f"that the set does not hold"
        )
    return new, tuple(notes)


def _refuse_patients(
    named: Mapping[str, SlideEntry], slides: Mapping[str, PlannedSlide], shown: Mapping[str, str]
) -> None:
    other = [
        f"'{name}' of '{slides[name].patient}'"
        for name, entry in named.items()
        if shown.get(entry.patient, entry.patient) != slides[name].patient
    ]
    if other:
        raise UsageError(
            f"{count(len(other), 'slide has', 'slides have')} "
            f"another patient in the table than in the set: {', '.join(other[:10])}; "
            "relabel changes labels alone. Remove such slides and add them again, so that leaks are looked for"
        )
