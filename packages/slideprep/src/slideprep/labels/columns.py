"""Columns of labels.csv: what they are called, and what their values may be.

Every refusal names the file, the line, the rule, what was given and what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from slideprep.errors import UsageError
from slideprep.storage.places import Place
from slideprep.text import number, readable, revealed

COLUMNS = ("slide", "label", "patient", "split", "mpp", "objective")
"""Columns that are read; any other is kept out with a note."""

FOR_PEOPLE = ("project", "sample_type", "slide_kind", "annotations")
"""Columns of :mod:`slideprep.labels.public`, which say where a row comes from: neither read nor noted."""

SYNONYMS = {
    "slide": ("file", "filename", "file_name", "slide_id", "slide_name", "image", "image_id", "wsi", "path"),
    "label": ("class", "class_name", "diagnosis", "category", "target"),
    "patient": ("patient_id", "patient_name", "case", "case_id", "subject", "subject_id", "pid"),
    "split": ("set", "subset", "partition"),
    "mpp": ("pixel_size", "microns_per_pixel", "um_per_px"),
    "objective": ("objective_power", "magnification"),
}
"""What people call a column of ours: asked about, since passing over it would lose labels or patients."""

SPLIT_NAMES = "train, val, test, dev, aux1, aux2, ..."
_SPLIT = re.compile(r"train|val|test|dev|aux[1-9][0-9]?")
_MEANT_SPLITS = {
    "training": "train",
    "validation": "val",
    "valid": "val",
    "testing": "test",
    "holdout": "test",
    "development": "dev",
    "aux": "aux1",
    "auxiliary": "aux1",
    "unlabelled": "aux1",
    "unlabeled": "aux1",
    "adv1": "aux1",
    "adv2": "aux2",
}

MPP_RANGE = (0.05, 20.0)
"""µm per level-0 pixel that a microscope slide can have; beyond it lies a wrong unit."""

OBJECTIVE_RANGE = (0.5, 200.0)
"""Objective powers that exist."""


def name_list(names: Iterable[str], limit: int = 10) -> str:
    """Names for a sentence, in quotes: all of them up to ``limit``, then how many more."""
    quoted = [f"'{readable(name)}'" for name in names]
    more = f" and {len(quoted) - limit} more" if len(quoted) > limit else ""
    return ", ".join(quoted[:limit]) + more


def read_header(path: Place, line: int, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our names of the columns, and notes on columns that are not read.

    Args:
        path: The file, for messages.
        line: Line of the header.
        given: The columns as written.

    Raises:
        UsageError: A column occurs twice, ``slide`` is missing, or a column of ours is missing while another
            looks like it misspelt.
    """
    names = [name.casefold() for name in given]
    absent = [column for column in COLUMNS if column not in names]
    for name in names:
        if name and names.count(name) > 1:
            raise UsageError(
                f"{path} line {line}: two columns are named '{name}'; delete or rename one of them"
            )
        meant = None if name in COLUMNS else _meant_column(name, absent)
        if meant:
            raise UsageError(
                f"{path} line {line}: column '{name}' is not known and '{meant}' is missing; rename it to "
                f"'{meant}', or, if it is something else, add a column '{meant}' beside it"
            )
    if "slide" in absent:
        raise UsageError(
            f"{path} line {line}: no column 'slide' among {name_list(given)}; the first line must name the "
            "columns, with commas, semicolons or tabs between them: slide,label,patient"
        )
    return names, _header_notes(
        path, [name for name in names if name and name not in (*COLUMNS, *FOR_PEOPLE)], absent
    )


def _meant_column(name: str, absent: Sequence[str]) -> str | None:
    plain = re.sub(r"[\s.-]+", "_", name)
    for column in absent:
        if plain in SYNONYMS[column]:
            return column
    # 0.8 catches 'lable', 'patients' and 'splt' and lets 'patient_age' through as a column of its own.
    return next(iter(difflib.get_close_matches(plain, absent, n=1, cutoff=0.8)), None)


def _header_notes(path: Place, extra: Sequence[str], absent: Sequence[str]) -> list[str]:
    notes = []
    if extra:
        notes.append(f"{path.name}: columns not read: {name_list(extra)} (read are {', '.join(COLUMNS)})")
    if "label" in absent:
        notes.append(f"{path.name} has no column 'label': every slide in it is unlabelled")
    if "patient" in absent:
        notes.append(
            f"{path.name} has no column 'patient': every slide counts as a patient of its own; add the "
            "column if patients have several slides, else their slides can land in two splits"
        )
    return notes


def read_split(path: Place, line: int, value: str) -> str | None:
    """The split that a cell names, or None where it is empty.

    Raises:
        UsageError: The name is not a split's; the message says which was probably meant.
    """
    if not value or _SPLIT.fullmatch(value):
        return value or None
    plain = value.casefold()
    meant = plain if _SPLIT.fullmatch(plain) else _MEANT_SPLITS.get(plain)
    meant = meant or next(iter(difflib.get_close_matches(plain, ("train", "val", "test", "dev"), n=1)), None)
    remedy = f"write '{meant}'" if meant else f"use one of {SPLIT_NAMES}, or leave it empty"
    raise UsageError(f"{path} line {line}: split '{value}' is not one of {SPLIT_NAMES}; {remedy}")


def read_number(
    path: Place, line: int, column: str, value: str, allowed: tuple[float, float], example: str
) -> float | None:
    """The number in a cell, or None where it is empty.

    Raises:
        UsageError: It is no number, or outside ``allowed`` (lowest, highest).
    """
    if not value:
        return None
    low, high = allowed
    with suppress(ValueError):
        if low <= (found := number(value)) <= high:
            return found
    unit = " µm per pixel" if column == "mpp" else ""
    if value.count(",") == 1 and value.replace(",", "").isdecimal():
        example = value.replace(",", ".")
    raise UsageError(
        f"{path} line {line}: {column} '{revealed(value)}' is not a number between {low:g} and {high:g}{unit}; write "
        f"it like {example}, with a point and without a unit, or leave it empty"
    )
