"""The class of a slide out of sheets, or why it has none; and classes as the person wants them named.

Comes in: sheets, the name of a column, slides by their barcodes. Goes out: a value as it stands in the sheet, or the
reason why there is none. Cases have several rows in the GDC's clinical.tsv, one for each diagnosis and treatment: where
they differ, those of the primary disease count, and where these differ too, nobody guesses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slideprep.errors import UsageError
from slideprep.labels.alike import folded
from slideprep.labels.columns import name_list
from slideprep.labels.public.barcode import Barcode
from slideprep.labels.public.sheet import Sheet, SheetRow, closest, is_said
from slideprep.labels.public.sheet_keys import KeyedSheet

_PRIMARY = (("diagnosis_is_primary_disease", "true"), ("classification_of_tumor", "primary"))
"""Columns of clinical.tsv, and what they hold in the rows of the disease that the slides were taken for."""

PROJECT_COLUMNS = (
    "project_id",
    "project.project_id",
    "cases.project.project_id",
    "project",
    "cases.project",
)
"""Plain names of the column that holds TCGA-LUAD."""


_Answer = tuple[Sheet, int, SheetRow]
"""A sheet, the number of its column, and a row that is about the slide."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """What the sheets say of a slide.

    Attributes:
        text: The value, empty where there is none.
        reason: Why there is none, in words that are the same for all slides that it concerns.
        detail: What else is known of this slide's case.
    """

    text: str = ""
    reason: str = ""
    detail: str = ""


class SheetColumn:
    """One column of some sheets, to be asked for by slide.

    Args:
        sheets: The sheets.
        name: The column.

    Raises:
        UsageError: No sheet has it, or one has several that it may mean.
    """

    def __init__(self, sheets: Sequence[KeyedSheet], name: str) -> None:
        found = [(keyed, keyed.sheet.column(name)) for keyed in sheets]
        self._columns = [(keyed, number) for keyed, number in found if number is not None]
        if not self._columns:
            given = [keyed.sheet for keyed in sheets]
            raise UsageError(
                f"--label {name}: no such column in {name_list(str(sheet.path) for sheet in given)}; there are "
                f"{closest(given, name)}"
            )
        self.name = next(keyed.sheet.columns[number] for keyed, number in self._columns)

    def of(self, slide: Barcode) -> Value:
        """The value of a slide, or why there is none."""
        answers = [
            (keyed.sheet, number, row) for keyed, number in self._columns for row in keyed.rows_of(slide)
        ]
        if not answers:
            names = name_list(keyed.sheet.path.name for keyed, _ in self._columns)
            return Value(reason=f"no row in {names} is about the slide, its sample or its patient")
        said = _said(row.cells[number] for _, number, row in answers)
        if len(said) > 1:
            rows = _of_primary_disease(answers)
            said = _said(row.cells[number] for _, number, row in rows) or said
        if len(said) == 1:
            return Value(text=next(iter(said.values())))
        if said:
            return Value(reason=f"'{self.name}' has several values", detail=" | ".join(sorted(said.values())))
        cells = sorted({row.cells[number] for _, number, row in answers if row.cells[number]})
        return Value(reason=f"'{self.name}' is empty or not reported", detail=" | ".join(cells))


def _said(cells: Iterable[str]) -> dict[str, str]:
    """Values that say something, by what they are but for case and spaces; of each the first spelling."""
    found: dict[str, str] = {}
    for cell in cells:
        if is_said(cell):
            found.setdefault(folded(cell), cell)
    return found


def _of_primary_disease(answers: Sequence[_Answer]) -> Sequence[_Answer]:
    """The rows of the disease that the slides were taken for; all where none is marked so."""
    for name, value in _PRIMARY:
        marked = []
        for sheet, number, row in answers:
            column = sheet.first_column(name, f"diagnoses.{name}", f"cases.diagnoses.{name}")
            if column is not None and folded(row.cells[column]) == value:
                marked.append((sheet, number, row))
        if marked:
            return marked
    return answers


def project_of(sheets: Sequence[KeyedSheet], patient: str) -> str:
    """The project of a patient, in capitals; empty where no sheet says it, or two say different things."""
    found = set()
    for keyed in sheets:
        number = keyed.sheet.first_column(*PROJECT_COLUMNS)
        if number is not None:
            found |= {row.cells[number].upper() for row in keyed.rows_of_patient(patient)}
    found = {name for text in found for part in text.split(",") if is_said(name := part.strip())}
    return found.pop() if len(found) == 1 else ""


def one_spelling(values: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What each value is to be written as, and a note for each class that is spelt in several ways.

    Values that differ in case or spaces alone are one class, by its most frequent spelling.
    """
    spellings: dict[str, Counter[str]] = {}
    for value in values:
        spellings.setdefault(folded(value), Counter())[value] += 1
    written: dict[str, str] = {}
    notes = []
    for counts in spellings.values():
        best = min(counts, key=lambda value: (-counts[value], value))
        written |= dict.fromkeys(counts, best)
        if len(counts) > 1:
            others = name_list(sorted(set(counts) - {best}))
            notes.append(f"class '{best}' is also spelt {others}: taken for one")
    return written, notes


def wanted_classes(wishes: Sequence[str], values: Iterable[str]) -> Mapping[str, str]:
    """Class by folded value, for the classes that were asked for.

    Args:
        wishes: Of ``--class``: a value of the column, or NAME=VALUE for a class of another name.
        values: The values that there are.

    Raises:
        UsageError: A wish fits no value, or two wishes name one value differently.
    """
    known = {folded(value): value for value in values}
    wanted: dict[str, str] = {}
    for wish in wishes:
        name, _, value = wish.partition("=")
        if folded(wish) in known or not (name.strip() and value.strip()):
            name, value = known.get(folded(wish), ""), wish
        key = folded(value)
        if key not in known:
            raise UsageError(
                f"--class {wish}: no slide has the value '{value.strip()}'; there are "
                f"{name_list(sorted(known.values()), 20) or 'none: see --label and --clinical'}"
            )
        if wanted.setdefault(key, name.strip()) != name.strip():
            raise UsageError(
                f"--class gives the value '{known[key]}' two names, '{wanted[key]}' and '{name.strip()}'; give it one"
            )
    return wanted
