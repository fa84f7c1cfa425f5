"""A folder of CAMELYON16 and its reference.csv in, labels.csv out, with what is published about single slides.

``normal_###`` and ``tumor_###`` are the training set, ``test_###`` the test set, whose classes are in
``testing/reference.csv``. Source of what is known of single slides: the data set's README.md, "Notes about the data".
Patients are not published: each slide counts as one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from slideprep.errors import UsageError
from slideprep.labels.public.derived import Derived, LeftOut
from slideprep.labels.public.sheet import Sheet, SheetRow
from slideprep.text import count, slide_stem

COLUMNS = ("slide", "label", "patient", "split", "annotations")

SPLIT = "0.85,0.15,0"
"""For a build: the test set is the published one, and the others are shared out."""

REMOVED = {
    "normal_086": "misclassified, and in the set as tumor_111 since",
    "test_049": "a duplicate of another slide",
}
"""Slides that the publishers have taken out, which early downloads still have."""

NOT_EXHAUSTIVE = frozenset(
    [
        f"tumor_{n:03}"
        for n in (10, 15, 18, 20, 25, 29, 33, 34, 44, 46, 51, 54, 55, 56, 67, 79, 85, 92, 95, 110)
    ]
    + ["test_114"]
)
"""Slides in whose annotations tumour may be missing; their class stands."""

_NAME = re.compile(r"(normal|tumor|test)_(\d{1,3})", re.IGNORECASE)
_CLASSES = {"normal": "normal", "tumor": "tumor", "tumour": "tumor"}


def labels_of_camelyon16(names: Iterable[str], reference: Sheet | None) -> Derived:
    """labels.csv of a folder of CAMELYON16.

    Args:
        names: Names of the slides' files.
        reference: ``reference.csv``, with or without a line of column names; None where there is none.

    Raises:
        UsageError: A row of ``reference`` does not name a test slide and its class.
    """
    told = {} if reference is None else classes_of_tests(reference)
    rows: list[dict[str, str]] = []
    left_out: list[LeftOut] = []
    for name in sorted(names):
        stem = canonical(slide_stem(name))
        kind = stem.partition("_")[0]
        label = told.get(stem, "") if kind == "test" else kind
        if reason := _reason(stem, label, reference):
            left_out.append(LeftOut(slide=name, reason=reason, detail=REMOVED.get(stem, "")))
        else:
            split = "test" if kind == "test" else ""
            annotated = (
                "" if label == "normal" else "not exhaustive" if stem in NOT_EXHAUSTIVE else "exhaustive"
            )
            rows.append(dict(zip(COLUMNS, (name, label, stem, split, annotated), strict=True)))
    return Derived(columns=COLUMNS, rows=rows, left_out=left_out, notes=_notes(rows, told))


def canonical(stem: str) -> str:
    """``normal_86`` and ``Normal_086`` as the data set's files are called: normal_086; other names as they are."""
    match = _NAME.fullmatch(stem)
    return f"{match[1].lower()}_{int(match[2]):03}" if match else stem


def _reason(stem: str, label: str, reference: Sheet | None) -> str:
    if _NAME.fullmatch(stem) is None:
        return "its name is not that of a CAMELYON16 slide"
    if stem in REMOVED:
        return "the publishers have taken it out of the data set"
    if not label:
        missing = "there is no reference.csv" if reference is None else f"no row in {reference.path.name}"
        return f"the class of a test slide is not known: {missing}"
    return ""


def classes_of_tests(reference: Sheet) -> dict[str, str]:
    """Class of each test slide that reference.csv names.

    Raises:
        UsageError: A row does not name a test slide and one of the two classes, or names one twice with both.
    """
    first = SheetRow(line=1, cells=reference.columns)
    has_names = _NAME.fullmatch(slide_stem(first.cells[0])) is None
    told: dict[str, str] = {}
    for row in reference.rows if has_names else (first, *reference.rows):
        stem = canonical(slide_stem(row.cells[0]))
        label = _CLASSES.get(row.cells[1].casefold() if len(row.cells) > 1 else "")
        if not stem.startswith("test_") or label is None:
            raise UsageError(
                f"{reference.path} line {row.line}: '{', '.join(row.cells)}' does not name a test slide and Normal or "
                "Tumor, as in test_001,Tumor; give the file testing/reference.csv of CAMELYON16"
            )
        if told.setdefault(stem, label) != label:
            raise UsageError(
                f"{reference.path} line {row.line}: {stem} is Normal and Tumor; download the file anew"
            )
    return told


def _notes(rows: Sequence[Mapping[str, str]], told: Mapping[str, str]) -> list[str]:
    notes = ["patients are not published, so each slide counts as a patient of its own"]
    missing = sorted(set(told) - {row["patient"] for row in rows} - set(REMOVED))
    if missing:
        notes.append(
            f"{count(len(missing), 'test slide')} of reference.csv not in the folder: {', '.join(missing[:5])}"
        )
    unsure = [row["patient"] for row in rows if row["annotations"] == "not exhaustive"]
    if unsure:
        notes.append(
            f"{count(len(unsure), 'slide has', 'slides have')} annotations that are not exhaustive; by class they may "
            "be used, for regions (--tissue annotations) they miss tumour"
        )
    if any(row["split"] for row in rows) and not all(row["split"] for row in rows):
        notes.append(
            f"test slides are in the split test; with --split {SPLIT} val is drawn from the others, and test stays as "
            "it was published"
        )
    return notes
