"""Tables as people download them: GDC manifests, sample sheets, clinical and biospecimen files, cBioPortal's, a CSV.

Comes in: a file with tabs, commas or semicolons, whose first line names the columns; lines before it that begin with
``#``, as cBioPortal writes them, are passed over. Goes out: a :class:`Sheet`, every cell a text. What its rows are
about is found in :mod:`slideprep.labels.public.sheet_keys`.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from slideprep.errors import UsageError
from slideprep.labels.alike import is_nobody
from slideprep.labels.columns import name_list
from slideprep.storage.places import Place, Url
from slideprep.storage.remote import read_bytes
from slideprep.text import csv_value, readable, unbroken

_NOT_SAID = frozenset({"notreported", "notevaluated", "notallowedtocollect", "discrepancy", "pending"})
"""What the GDC and its sources write where nothing is known, letters only, besides what nobody's patient is called."""


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """A row: the line that it starts at, from 1, and its cells, one for each column."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table.

    Attributes:
        path: The file.
        columns: Names as written.
        rows: In the order of the file.
    """

    path: Place
    columns: tuple[str, ...]
    rows: tuple[SheetRow, ...]

    def column(self, name: str) -> int | None:
        """The number of the column that a name means; None where there is none.

        A name means the column that is called so, else the one that is but for case, spaces and signs, else the one
        whose last part is: ``primary_diagnosis`` means ``diagnoses.primary_diagnosis``.

        Raises:
            UsageError: Several columns have that name, or that last part.
        """
        for same in (lambda c: c == name, lambda c: plain(c) == plain(name), lambda c: _ends(c, name)):
            found = [number for number, column in enumerate(self.columns) if same(column)]
            if len(found) > 1:
                raise UsageError(
                    f"'{name}' may be any of {name_list(self.columns[n] for n in found)} in {self.path}; give the "
                    "whole name, and if two columns have the same one, rename one of them in the file"
                )
            if found:
                return found[0]
        return None

    def first_column(self, *names: str) -> int | None:
        """The number of the first column whose plain name is one of ``names``; None where there is none."""
        plains = [plain(column) for column in self.columns]
        return next((plains.index(name) for name in names if name in plains), None)


def plain(column: str) -> str:
    """A column's name in small letters with ``_`` between words, without the numbers of the GDC API's lists.

    ``cases.0.project.project_id`` and ``Cases.Project.Project ID`` are both ``cases.project.project_id``.
    """
    parts = re.sub(r"[\s-]+", "_", column.strip().casefold()).split(".")
    return ".".join(part for part in parts if not part.isdecimal())


def _ends(column: str, name: str) -> bool:
    return plain(column).rpartition(".")[2] == plain(name)


def is_said(value: str) -> bool:
    """Whether a cell says something: not empty, ``'--``, ``Not Reported``, ``[Not Available]``, ``Unknown``, ``NA``."""
    letters = "".join(sign for sign in value.casefold() if sign.isalpha())
    return not is_nobody(value) and letters not in _NOT_SAID


def closest(sheets: Sequence[Sheet], name: str) -> str:
    """The columns of some sheets for a message: those that are called alike first."""
    columns = list(dict.fromkeys(column for sheet in sheets for column in sheet.columns))
    short = {column: plain(column).rpartition(".")[2] for column in columns}
    alike = difflib.get_close_matches(plain(name), short.values(), n=5, cutoff=0.6)
    first = [column for column in columns if short[column] in alike]
    return name_list([*first, *(column for column in columns if column not in first)], 20)


def read_sheet(path: Place) -> Sheet:
    """Read a table.

    Raises:
        UsageError: It is no table of text; the message says what it seems to be, and what to do.
    """
    lines = _lines(path, _text(path))
    header = next(lines, None)
    if header is None:
        raise UsageError(f"{path} is empty; its first line must name the columns")
    width = len(header.cells)
    rows = tuple(_even(path, row, width) for row in lines)
    return Sheet(path=path, columns=header.cells, rows=rows)


def _even(path: Place, row: SheetRow, width: int) -> SheetRow:
    if len(row.cells) < width or any(row.cells[width:]):
        raise UsageError(
            f"{path} line {row.line}: {len(row.cells)} cells where the first line names {width} columns; download the "
            "file anew, or correct that line"
        )
    return SheetRow(line=row.line, cells=row.cells[:width])


def _text(path: Place) -> str:
    try:
        data = read_bytes(path) if isinstance(path, Url) else path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; check the path") from error
    for start, what, remedy in (
        (
            b"\x1f\x8b",
            "a compressed archive",
            "unpack it (tar -xzf, gunzip) and give the table that is in it",
        ),
        (b"PK\x03\x04", "a zip file or a spreadsheet workbook", "unpack it, or save it as text with tabs"),
        (b"{", "JSON", "download the table (TSV) in its place"),
        (b"[{", "JSON", "download the table (TSV) in its place"),
        (b"[\n", "JSON", "download the table (TSV) in its place"),
        (b"<", "XML or a web page", "download the table (TSV) in its place"),
    ):
        if data.removeprefix(b"\xef\xbb\xbf").startswith(start):
            raise UsageError(f"{path} is {what}, not a table of text; {remedy}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path} line {line}: byte 0x{data[error.start]:02x} is not UTF-8, so names could be misread; save the "
            "file as UTF-8"
        ) from error


def _lines(path: Place, text: str) -> Iterator[SheetRow]:
    """Line number and trimmed cells of the header and of each row that is not blank."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    if start == len(lines):
        return
    delimiter = max("\t,;", key=lines[start].count)
    if (
        delimiter == "\t"
    ):  # the GDC and cBioPortal quote nothing, and a quotation mark in a remark stands for itself
        yield from _of_cells((n, line.split("\t")) for n, line in enumerate(lines[start:], start + 1))
        return
    reader = csv.reader(
        (f"{line}\n" for line in lines[start:]), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    first = start + 1
    try:
        for cells in reader:
            yield from _of_cells([(first, cells)])
            first = start + 1 + reader.line_num
    except csv.Error as error:
        raise UsageError(
            f"{path} line {first}: not a row of a CSV file ({error}); close every quote"
        ) from error


def _of_cells(rows: Iterator[tuple[int, list[str]]] | list[tuple[int, list[str]]]) -> Iterator[SheetRow]:
    for line, cells in rows:
        trimmed = tuple(map(_cell, cells))
        if any(trimmed):
            yield SheetRow(line=line, cells=trimmed)


@lru_cache(maxsize=2**16)  # clinical tables have millions of cells, and nearly all of them say the same
def _cell(cell: str) -> str:
    text = cell.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    return readable(unbroken(csv_value(text)))
