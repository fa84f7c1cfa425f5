"""What the rows of a sheet are about: slides, samples or patients, told by the barcodes that stand in them.

Columns of barcodes are found by what is in them, since every source calls them otherwise (``case_submitter_id``,
``Case ID``, ``PATIENT_ID``, ``bcr_patient_barcode``). A row is about the finest thing that it names. A slide is
answered by the finest rows that fit it, and never by rows about another slide or sample of its patient.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from slideprep.errors import UsageError
from slideprep.labels.columns import name_list
from slideprep.labels.public.barcode import Barcode, of_cell
from slideprep.labels.public.sheet import Sheet, SheetRow

_LEVELS = ("slide", "sample", "patient")


class KeyedSheet:
    """A sheet whose rows can be asked for by slide.

    Args:
        sheet: The table.

    Raises:
        UsageError: No column holds TCGA barcodes.
    """

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self._rows: defaultdict[str, list[SheetRow]] = defaultdict(list)
        self._of_patient: defaultdict[str, list[SheetRow]] = defaultdict(list)
        columns = _key_columns(sheet)
        if not columns:
            raise UsageError(
                f"{sheet.path} has no column of TCGA barcodes (TCGA-05-4244, or a sample's or slide's) among "
                f"{name_list(sheet.columns, 20)}, so its rows fit no slide; give the GDC's sample sheet, clinical.tsv "
                "or slide.tsv, or cBioPortal's clinical data"
            )
        for row in sheet.rows:
            found = next((code for n in columns if (code := of_cell(row.cells[n])) is not None), None)
            if found is not None:
                self._of_patient[found.patient].append(row)
                for key in _keys(found):
                    self._rows[key].append(row)

    def rows_of(self, slide: Barcode) -> Sequence[SheetRow]:
        """The rows that say something of a slide: about it, else its sample, else its sample type, else its patient."""
        keys = (
            f"{slide.slide}.{slide.uuid}" if slide.uuid else "",
            slide.slide,
            slide.sample,
            f"{slide.patient}-{slide.sample_type}",
            slide.patient,
        )
        return next((self._rows[key] for key in keys if key in self._rows), ())

    def rows_of_patient(self, patient: str) -> Sequence[SheetRow]:
        """All rows of a patient, whatever of the patient they are about."""
        return self._of_patient.get(patient, ())


def _level(code: Barcode) -> str:
    return "slide" if code.slide else "sample" if code.sample_type else "patient"


def _key_columns(sheet: Sheet) -> list[int]:
    """The column of slides, of samples and of patients, as far as there are such: each the one with most of them."""
    counts: dict[str, Counter[int]] = {level: Counter() for level in _LEVELS}
    for row in sheet.rows:
        for number, cell in enumerate(row.cells):
            if (code := of_cell(cell)) is not None:
                counts[_level(code)][number] += 1
    return [min(counts[level], key=lambda n: (-counts[level][n], n)) for level in _LEVELS if counts[level]]


def _keys(code: Barcode) -> Iterator[str]:
    """What a row is found by: a file of a slide as that slide too, a vial as its sample type too."""
    if code.slide:
        yield code.slide
        if code.uuid:
            yield f"{code.slide}.{code.uuid}"
    elif code.sample_type:
        yield f"{code.patient}-{code.sample_type}"
        if code.vial:
            yield code.sample
    else:
        yield code.patient
