"""Read labels.csv: one row per slide, every field checked and every complaint with its line.

Comes in: a CSV file in UTF-8 with the columns ``slide``, ``label``, ``patient`` and optionally ``split``,
``mpp`` (µm per level-0 pixel) and ``objective``; comma, semicolon or tab between fields. Goes out: a
:class:`LabelFile`. Which slides the rows mean is not decided here (see :mod:`slideprep.labels.match`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slideprep.errors import UsageError
from slideprep.labels.alike import is_nobody
from slideprep.labels.columns import COLUMNS, MPP_RANGE, OBJECTIVE_RANGE, read_header, read_number, read_split
from slideprep.storage.places import Place, Url, place
from slideprep.storage.remote import read_bytes
from slideprep.text import count, csv_value, readable, unbroken


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """One row of labels.csv.

    Attributes:
        line: Line of the file that the row starts at, from 1.
        slide: The slide's file name, stem, or a path that ends in either, as written.
        label: Class name, or None for an unlabelled slide.
        patient: Patient name, or None where the file has no such column.
        split: One of train, val, test, dev, aux1, aux2, ..., or None.
        mpp: Microns per level-0 pixel, or None.
        objective: Objective power of the scan, or None.
    """

    line: int
    slide: str
    label: str | None = None
    patient: str | None = None
    split: str | None = None
    mpp: float | None = None
    objective: float | None = None


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """The rows of labels.csv, each slide named once, and what the person should know about the file.

    Attributes:
        path: The file.
        rows: Rows in the order of the file.
        notes: Plain sentences, such as columns that were not read.
    """

    path: Place
    rows: tuple[LabelRow, ...]
    notes: tuple[str, ...] = ()


def read_labels(path: Place | str) -> LabelFile:
    """Read labels.csv.

    A byte-order mark, CRLF, quoted fields, empty lines and spaces around values are accepted, column names in any
    case, and the apostrophe that our own tables put before what would be a formula; a line break in a value is a
    space. Rows that repeat each other are read once.

    Raises:
        UsageError: The file or one of its lines cannot be used; the message names the line, the rule, what
            was given and what to do.
    """
    path = place(path)
    text = _text(path)
    if not text.strip():
        raise UsageError(f"{path} is empty; its first line must name the columns: slide,label,patient")
    lines = _lines(path, text)
    header_line, names = next(lines)
    header, notes = read_header(path, header_line, names)
    rows = [
        _row(path, line, dict(zip(header, fields, strict=False)))
        for line, fields in _even(path, lines, header)
    ]
    _refuse_nobody(path, rows)
    if not rows:
        raise UsageError(f"{path} names its columns but has no row below them; write one row per slide")
    unique = merge_rows(path, ((row.slide, row) for row in rows))
    if len(unique) < len(rows):
        notes.append(
            f"{path.name}: {count(len(rows) - len(unique), 'row repeats another', 'rows repeat others')} word for "
            "word and were read once"
        )
    notes += _doubtful_labels(path, unique.values())
    return LabelFile(path=path, rows=tuple(unique.values()), notes=tuple(notes))


def merge_rows(path: Place, named_rows: Iterable[tuple[str, LabelRow]]) -> dict[str, LabelRow]:
    """The one row of each name.

    Raises:
        UsageError: Two rows of one name say different things.
    """
    merged: dict[str, LabelRow] = {}
    for name, row in named_rows:
        first = merged.setdefault(name, row)
        if first is not row and replace(row, line=first.line, slide=first.slide) != first:
            raise UsageError(
                f"{path} lines {first.line} and {row.line}: slide '{name}' has two rows that differ "
                f"({_differences(first, row)}); a slide has one row, so delete the wrong one"
            )
    return merged


def _differences(a: LabelRow, b: LabelRow) -> str:
    fields = [f for f in COLUMNS[1:] if getattr(a, f) != getattr(b, f)]
    return "; ".join(f"{f} '{_shown(getattr(a, f))}' and '{_shown(getattr(b, f))}'" for f in fields)


def _shown(value: str | float | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else value


def _text(path: Place) -> str:
    try:
        data = read_bytes(path) if isinstance(path, Url) else path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the labels {path}: {error.strerror}; check --labels") from error
    if data.startswith(b"PK\x03\x04"):
        raise UsageError(
            f"{path} is a spreadsheet workbook, not text; save it as 'CSV UTF-8 (comma delimited)'"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path} line {line}: byte 0x{data[error.start]:02x} is not UTF-8, so names in it could be "
            "misread; save the file as UTF-8 (in a spreadsheet program: Save as, 'CSV UTF-8')"
        ) from error


def _lines(path: Place, text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and trimmed fields of each line that is not blank."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True, skipinitialspace=True
    )
    start = 1
    try:
        for fields in reader:
            trimmed = [unbroken(csv_value(field.strip())) for field in fields]
            if any(trimmed):
                yield start, trimmed
            start = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(
            f"{path} line {start}: not a CSV row ({error}); close every quote, and double the quotes inside "
            "a value"
        ) from error


def _delimiter(text: str) -> str:
    """The delimiter that splits the first line into most of our columns."""
    first = next(line for line in text.splitlines() if line.strip())

    def known(delimiter: str) -> int:
        return sum(name.strip().strip('"').casefold() in COLUMNS for name in first.split(delimiter))

    return max(",;\t", key=known)


def _even(
    path: Place, lines: Iterable[tuple[int, list[str]]], header: Sequence[str]
) -> Iterator[tuple[int, list[str]]]:
    """The rows, refused where they have another number of fields than the header."""
    for line, fields in lines:
        if len(fields) < len(header) or any(fields[len(header) :]):
            raise UsageError(
                f"{path} line {line}: {len(fields)} fields where the first line names {len(header)} columns; "
                "put values that contain the delimiter in quotes, and keep the delimiters of empty values"
            )
        yield line, fields


def _row(path: Place, line: int, values: Mapping[str, str]) -> LabelRow:
    if not values["slide"]:
        raise UsageError(f"{path} line {line}: the column 'slide' is empty; write the slide's file name")
    for column in ("label", "patient"):
        _refuse_unseen(path, line, column, values.get(column, ""))
    return LabelRow(
        line=line,
        slide=values["slide"],
        label=values.get("label") or None,
        patient=values.get("patient"),
        split=read_split(path, line, values.get("split", "")),
        mpp=read_number(path, line, "mpp", values.get("mpp", ""), MPP_RANGE, "0.25"),
        objective=read_number(path, line, "objective", values.get("objective", ""), OBJECTIVE_RANGE, "40"),
    )


def _refuse_unseen(path: Place, line: int, column: str, value: str) -> None:
    if readable(value) != value:
        raise UsageError(
            f"{path} line {line}: {column} '{readable(value)}' holds a control character or an override of the "
            "direction of writing, shown here as an escape; write it without"
        )


def _refuse_nobody(path: Place, rows: Sequence[LabelRow]) -> None:
    """A patient ``NA`` in many rows is not one person, and none of them may be taken for a person of its own."""
    nobody = [row for row in rows if row.patient is not None and is_nobody(row.patient)]
    if not nobody:
        return
    several = len(nobody) > 1
    lines = ", ".join(str(row.line) for row in nobody[:10])
    slides = ", ".join(
        f"'{row.slide}'{f' (patient {row.patient!r})' if row.patient else ''}" for row in nobody[:10]
    )
    more = f" and {len(nobody) - 10} more" if len(nobody) > 10 else ""
    raise UsageError(
        f"{path} line{'s' * several} {lines}{more}: slide{'s' * several} {slides}{more} "
        + ("have no patient, so they" if several else "has no patient, so it")
        + " could share one with a slide in another split; fill the column 'patient' (with the slide's name if no "
        "other slide is of that patient)"
    )


def _doubtful_labels(path: Place, rows: Iterable[LabelRow]) -> list[str]:
    words = sorted({row.label for row in rows if row.label and is_nobody(row.label)})
    return [
        f"{path.name}: label '{word}' is taken as a class; leave the cell empty to mean an unlabelled slide"
        for word in words
    ]
