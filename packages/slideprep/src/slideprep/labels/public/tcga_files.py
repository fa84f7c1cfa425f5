"""The files of a TCGA data set that are asked for: named by a manifest or a folder, each once, of the tissue wanted.

Comes in: sheets with names of files, or the names in a folder, and a :class:`Choice`. Goes out: slides with what their
names say, and why the other files are left out. What class they are of is decided in
:mod:`slideprep.labels.public.tcga`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slideprep.errors import UsageError
from slideprep.labels.columns import name_list
from slideprep.labels.public.barcode import (
    KINDS,
    SAMPLE_TYPES,
    SUFFIXES,
    Barcode,
    kind_words,
    of_slide,
    sample_words,
)
from slideprep.labels.public.derived import LeftOut
from slideprep.labels.public.sheet import Sheet, plain
from slideprep.text import slide_stem

_OF_A_MANIFEST = ("id", "filename", "md5", "size", "state")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file that a manifest or a folder names.

    Attributes:
        name: The file's name.
        given: Where it was named: a file and line, or a folder.
        md5: Digest of its content, empty where it is not known.
        label: Class of all files of its source, as in ``LUAD=manifest.txt``; empty where the sheets decide.
    """

    name: str
    given: str = ""
    md5: str = ""
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Slide:
    """A file that is a slide by its name, and what that name says."""

    listed: Listed
    code: Barcode


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is wanted of the files.

    Attributes:
        label: The column of the class, ``project``, ``sample_type``, ``slide_kind``, or None for the project where one
            is known.
        samples: Sample types that are taken, two digits each; None for all.
        kinds: Kinds of slides that are taken; None for all.
        classes: Values of the column that are taken, or NAME=VALUE; none for all.
        keep_unlabelled: Whether slides whose class is not known are kept without a label.
    """

    label: str | None = None
    samples: Collection[str] | None = ("01",)
    kinds: Collection[str] | None = ("DX",)
    classes: Sequence[str] = ()
    keep_unlabelled: bool = False


def sample_types(text: str) -> tuple[str, ...] | None:
    """The codes that ``--samples`` names: two digits, or short letter codes such as TP; None for ``all``.

    Raises:
        UsageError: One of them is no sample type of TCGA.
    """
    letters = {short: code for code, (short, _) in SAMPLE_TYPES.items()}
    table = ", ".join(map(sample_words, ("01", "02", "06", "11")))
    known = {code: code for code in SAMPLE_TYPES} | letters
    return _chosen(
        "--samples", text, known, f"codes such as 01,11 or TP,NT, or all; for slides there are {table}"
    )


def slide_kinds(text: str) -> tuple[str, ...] | None:
    """The kinds that ``--kinds`` names; None for ``all``.

    Raises:
        UsageError: One of them is no kind of slide of TCGA.
    """
    table = "; ".join(map(kind_words, KINDS))
    return _chosen("--kinds", text, {kind: kind for kind in KINDS}, f"some of {table}; or all")


def _chosen(option: str, text: str, known: Mapping[str, str], use: str) -> tuple[str, ...] | None:
    given = [part.strip().upper() for part in text.split(",") if part.strip()]
    if given == ["ALL"]:
        return None
    unknown = [part for part in given if part not in known]
    if unknown or not given:
        raise UsageError(f"{option}: {name_list(unknown) or 'nothing'} is none that TCGA has; give {use}")
    return tuple(dict.fromkeys(known[part] for part in given))


def says_more(manifest: Sheet) -> bool:
    """Whether a table of files says more of them than a manifest does, so that classes may be looked for in it."""
    return not {plain(column) for column in manifest.columns} <= {*_OF_A_MANIFEST}


def manifest_of(tables: Sequence[Sheet], kept: Collection[str]) -> str:
    """A GDC manifest of the files that were kept, for gdc-client; empty where no table is a manifest.

    Args:
        tables: The tables of files; those with other columns than a manifest's are passed over.
        kept: Names of files, each of one content.
    """
    lines: dict[str, str] = {}
    for table in tables:
        columns = [table.first_column(name) for name in _OF_A_MANIFEST]
        numbers = [column for column in columns if column is not None]
        if len(numbers) < len(columns):
            continue
        for row in table.rows:
            cells = [row.cells[number] for number in numbers]
            if cells[1] in kept:
                lines.setdefault(cells[1], "\t".join(cells))
    return "\n".join(["\t".join(_OF_A_MANIFEST), *lines.values(), ""]) if lines else ""


def listed_in(sheet: Sheet, label: str = "") -> list[Listed]:
    """The files that a manifest, or a sheet with names of files, lists.

    Args:
        sheet: The table.
        label: Class of all its files, empty where the sheets decide.

    Raises:
        UsageError: It has no column of names of files, or no row.
    """
    names = sheet.first_column("filename", "file_name", "files.file_name")
    if names is None:
        raise UsageError(
            f"{sheet.path} is no GDC manifest: no column 'filename' (or 'File Name') among "
            f"{name_list(sheet.columns, 20)}; a manifest has id, filename, md5, size and state. A table that says "
            "something of cases or samples is given with --clinical"
        )
    if not sheet.rows:
        raise UsageError(f"{sheet.path} names its columns but no file below them; download it anew")
    md5 = sheet.first_column("md5", "md5sum", "files.md5sum")
    return [
        Listed(
            name=row.cells[names],
            given=f"{sheet.path.name} line {row.line}",
            md5="" if md5 is None else row.cells[md5].lower(),
            label=label,
        )
        for row in sheet.rows
    ]


def left_out(listed: Listed, reason: str, detail: str = "", code: Barcode | None = None) -> LeftOut:
    """A file as one that is left out."""
    patient = "" if code is None else code.patient
    return LeftOut(slide=listed.name, patient=patient, reason=reason, detail=detail, given=listed.given)


def slides_of(listed: Sequence[Listed], choice: Choice) -> tuple[list[Slide], list[LeftOut]]:
    """The files that are wanted, each once, and why the others are left out.

    A file is left out for the first of these that is true: its name is no TCGA slide's; a file of its name has another
    content; another source gives it another class; it was named before; its content (md5) was; its sample type, or its
    kind of slide, is not wanted.
    """
    slides, others = [], []
    for found in _once(listed):
        reason = "" if isinstance(found, LeftOut) else _unwanted(found.code, choice)
        if isinstance(found, LeftOut):
            others.append(found)
        elif reason:
            others.append(left_out(found.listed, reason, code=found.code))
        else:
            slides.append(found)
    return slides, others


def _once(listed: Sequence[Listed]) -> Iterator[Slide | LeftOut]:
    contents: defaultdict[str, set[str]] = defaultdict(set)
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for file in listed:
        contents[file.name.casefold()] |= {file.md5} - {""}
        classes[file.name.casefold()].add(file.label)
    by_name: dict[str, Listed] = {}
    by_md5: dict[str, Listed] = {}
    for file in listed:
        name = file.name.casefold()
        code = of_slide(file.name)
        if code is None or name.removeprefix(slide_stem(name)) not in SUFFIXES:
            yield left_out(file, "its name is not that of a TCGA slide")
        elif len(contents[name]) > 1:
            detail = "which of them labels.csv would mean cannot be told: keep one"
            yield left_out(file, "files of its name have different contents (md5)", detail, code)
        elif len(classes[name]) > 1:
            yield left_out(
                file, "its sources are of different classes", " | ".join(sorted(classes[name])), code
            )
        elif name in by_name:
            yield left_out(file, "it was named before", by_name[name].given, code)
        elif file.md5 and file.md5 in by_md5:
            yield left_out(file, "a file before it has the same content (md5)", by_md5[file.md5].name, code)
        else:
            by_name[name] = by_md5[file.md5] = file
            yield Slide(listed=file, code=code)


def _unwanted(code: Barcode, choice: Choice) -> str:
    if choice.samples is not None and code.sample_type not in choice.samples:
        return f"sample type {sample_words(code.sample_type)} is not taken (--samples)"
    if choice.kinds is not None and code.kind not in choice.kinds:
        return f"slide kind {kind_words(code.kind)} is not taken (--kinds)"
    return ""
