"""Rows of labels.csv to slides, patients and classes.

Comes in: the rows (:mod:`slideprep.labels.table`), the names of the slides that exist, and the classes that
annotations give to regions. Goes out: one :class:`SlideEntry` per slide, the order of the classes, and each
patient's class. Which patient goes into which split is decided in :mod:`slideprep.labels.splits`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slideprep.errors import UsageError
from slideprep.labels.alike import folded, likeness
from slideprep.labels.columns import name_list
from slideprep.labels.table import LabelFile, LabelRow, merge_rows, read_labels
from slideprep.storage.places import Place
from slideprep.text import count, readable, revealed, slide_stem

RegionClasses = Mapping[str, Sequence[str]]
"""Class of each annotated region by slide name; a slide that is absent or has none goes by its label."""


@dataclass(frozen=True, kw_only=True)
class SlideEntry:
    """What labels.csv says about one slide.

    Attributes:
        name: The slide's name.
        patient: The patient's name; the slide's stem where nothing else is said.
        label: Class name, or None for an unlabelled slide.
        split: Split asked for by name (train, val, test, dev, aux1, ...), or None.
        mpp: Microns per level-0 pixel that correct the file's, or None.
        objective: Objective power that corrects the file's, or None.
        line: Line of labels.csv that says so, for messages; None where there is none. Entries that say the same are
            equal wherever they stand.
    """

    name: str
    patient: str
    label: str | None = None
    split: str | None = None
    mpp: float | None = None
    objective: float | None = None
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Slides joined with their rows.

    Attributes:
        entries: One per slide, in the order of the slides.
        without_slide: Rows whose slide does not exist.
        without_row: Slides that no row names; they are unlabelled and patients of their own.
        warnings: Plain sentences on both.
    """

    entries: tuple[SlideEntry, ...]
    without_slide: tuple[LabelRow, ...] = ()
    without_row: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def unlabelled_slides(slide_names: Sequence[str]) -> Matched:
    """What is known of slides where there is no labels.csv: each is unlabelled and a patient of its own."""
    return Matched(entries=tuple(_entry(name, None) for name in slide_names))


def match_labels(labels: LabelFile, slide_names: Sequence[str]) -> Matched:
    """Join rows to slides by file name, else by stem.

    Folders in a row's slide are passed over, since slide names are unique in a run. Upper and lower case
    differ, as they do in file names. Composed and decomposed accents are the same.

    Args:
        labels: The rows.
        slide_names: Names of the slides, each once.

    Raises:
        UsageError: A row's stem fits two slides, two rows for one slide differ, or no row fits any slide.
    """
    index = _SlideIndex(slide_names)
    found = [(index.find(row, labels), row) for row in labels.rows]
    rows = merge_rows(labels.path, ((name, row) for name, row in found if name is not None))
    without_slide = tuple(row for name, row in found if name is None)
    if not rows:
        raise UsageError(
            f"none of the {len(labels.rows)} rows of {labels.path} names a slide of this run: the file has "
            f"{name_list((row.slide for row in labels.rows), 3)}, the run has {name_list(slide_names, 3)}; "
            "write file "
            "names or stems in the column 'slide'" + index.hint(without_slide)
        )
    without_row = tuple(name for name in slide_names if name not in rows)
    return Matched(
        entries=tuple(_entry(name, rows.get(name)) for name in slide_names),
        without_slide=without_slide,
        without_row=without_row,
        warnings=_match_warnings(labels, without_slide, without_row, index),
    )


def slide_labels(labels: Place | str, slide_names: Sequence[str]) -> dict[str, SlideEntry]:
    """What labels.csv says of slides, by name; one that no row names is unlabelled and a patient of its own.

    Args:
        labels: The file or its address, as ``slideprep build-shards --labels`` takes it.
        slide_names: Names of the slides, each once.

    Raises:
        UsageError: The file cannot be used, or names none of the slides.
    """
    return {entry.name: entry for entry in match_labels(read_labels(labels), slide_names).entries}


def _entry(name: str, row: LabelRow | None) -> SlideEntry:
    if row is None:
        return SlideEntry(name=name, patient=slide_stem(name))
    return SlideEntry(
        name=name,
        patient=row.patient or slide_stem(name),
        label=row.label,
        split=row.split,
        mpp=row.mpp,
        objective=row.objective,
        line=row.line,
    )


def _match_warnings(
    labels: LabelFile, without_slide: Sequence[LabelRow], without_row: Sequence[str], index: _SlideIndex
) -> tuple[str, ...]:
    warnings = []
    if without_slide:
        warnings.append(
            f"{labels.path.name}: {count(len(without_slide), 'row names a slide', 'rows name slides')} that "
            f"{'is' if len(without_slide) == 1 else 'are'} not in this run: "
            + name_list(row.slide for row in without_slide)
            + index.hint(without_slide)
        )
    if without_row:
        warnings.append(
            f"{count(len(without_row), 'slide has', 'slides have')} no row in {labels.path.name}; each counts as "
            f"unlabelled and as a patient of its own: {name_list(without_row)}"
        )
    return tuple(warnings)


class _SlideIndex:
    """Slides by file name and by stem."""

    def __init__(self, names: Iterable[str]) -> None:
        self.by_name: dict[str, str] = {}
        self.by_stem: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            key = _composed(name)
            self.by_name[key] = name
            self.by_stem[slide_stem(key)].append(name)

    def find(self, row: LabelRow, labels: LabelFile) -> str | None:
        """The slide that a row means, or None."""
        # A name that is shown with escapes (latin\\xe9) has backslashes of its own; one may begin with an apostrophe.
        key = _last_part(row.slide)
        keys = (_composed(row.slide.rstrip("/").rpartition("/")[2]), key, f"'{key}")
        if named := next((key for key in keys if key in self.by_name), None):
            return self.by_name[named]
        candidates = next((self.by_stem[key] for key in keys if key in self.by_stem), [])
        if len(candidates) > 1:
            raise UsageError(
                f"{labels.path} line {row.line}: '{row.slide}' fits {len(candidates)} slides, "
                f"{name_list(candidates)}; write the file name with its suffix"
            )
        return candidates[0] if candidates else None

    def hint(self, rows: Sequence[LabelRow]) -> str:
        """Says which rows would fit a slide but for case, spaces, signs or zeros in front; empty where none would."""
        if not rows:
            return ""
        by_likeness: dict[str, str] = {}
        for key, name in self.by_name.items():
            by_likeness.setdefault(likeness(key), name)
            by_likeness.setdefault(likeness(slide_stem(key)), name)
        hits = [(row.slide, by_likeness.get(likeness(_last_part(row.slide)))) for row in rows]
        pairs = [f"'{revealed(given)}' for '{revealed(name)}'" for given, name in hits if name is not None]
        if not pairs:
            return ""
        more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
        return (
            f" (nearly alike: {', '.join(pairs[:5])}{more}; upper and lower case, spaces and zeros in front matter, "
            "as they do in file names)"
        )


def _last_part(slide: str) -> str:
    return _composed(slide.replace("\\", "/").rstrip("/").rpartition("/")[2])


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", readable(name))


def slide_votes(entry: SlideEntry, region_classes: RegionClasses) -> Sequence[str]:
    """Classes that a slide stands for: those of its annotated regions, else its label, else none."""
    return region_classes.get(entry.name) or ((entry.label,) if entry.label else ())


def class_order(
    entries: Iterable[SlideEntry], region_classes: RegionClasses, classes: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The classes in the order of their indices: as given by ``--classes``, else sorted by name.

    Raises:
        UsageError: A label or region has a class that ``classes`` does not name, ``classes`` names one twice,
            or two classes differ only in case or spaces.
    """
    found = sorted({vote for entry in entries for vote in slide_votes(entry, region_classes)})
    if classes is None:
        _refuse_near_twins(found)
        return tuple(found)
    if len(set(classes)) < len(classes):
        raise UsageError(f"--classes names a class twice: {','.join(classes)}; name each once")
    unnamed = [name for name in found if name not in set(classes)]
    if unnamed:
        raise UsageError(
            f"--classes {','.join(classes)} does not name every class: the labels and annotations also have "
            f"{name_list(unnamed)}; add them, or leave them out of the labels (annotations: leave the class "
            "out)"
        )
    return tuple(classes)


def _refuse_near_twins(names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(folded(name), name)
        if first != name:
            raise UsageError(
                f"classes '{revealed(first)}' and '{revealed(name)}' differ only in case or spaces and are probably "
                "one; write one of them throughout, or name both in --classes"
            )


def patient_classes(
    entries: Iterable[SlideEntry], region_classes: RegionClasses, classes: Sequence[str]
) -> dict[str, str | None]:
    """Each patient's class: the most frequent over its slides and annotated regions; None where it has none.

    A region counts once, a slide without annotated regions counts once by its label. Ties go to the class
    that comes first in ``classes``.

    Args:
        entries: The slides.
        region_classes: Classes of annotated regions by slide.
        classes: All classes, in order (see :func:`class_order`).
    """
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        votes[entry.patient].update(slide_votes(entry, region_classes))
    rank = {name: position for position, name in enumerate(classes)}
    return {
        patient: max(counts, key=lambda name: (counts[name], -rank[name])) if counts else None
        for patient, counts in votes.items()
    }
