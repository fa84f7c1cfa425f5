"""Files of TCGA slides and sheets about their cases in, labels.csv out: who, of what tissue, of which class.

Comes in: files (:mod:`slideprep.labels.public.tcga_files`) and sheets that know more of their cases. Goes out: a
:class:`~slideprep.labels.public.derived.Derived`, in which every file that came in is a row or is left out for a
reason. Patient, sample type and kind of slide come from the name alone; project and class from the sheets. Normal
tissue never gets the class of the tumour that it was taken beside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from slideprep.errors import UsageError
from slideprep.labels.alike import folded
from slideprep.labels.columns import name_list
from slideprep.labels.public.barcode import sample_words
from slideprep.labels.public.classes import (
    PROJECT_COLUMNS,
    SheetColumn,
    Value,
    one_spelling,
    project_of,
    wanted_classes,
)
from slideprep.labels.public.derived import Derived
from slideprep.labels.public.sheet import plain
from slideprep.labels.public.sheet_keys import KeyedSheet
from slideprep.labels.public.tcga_files import Choice, Listed, Slide, left_out, slides_of
from slideprep.text import count

COLUMNS = ("slide", "label", "patient", "project", "sample_type", "slide_kind")
NORMAL = "normal"
"""Class of normal tissue where the class is one of the tumour."""


def labels_of_tcga(listed: Sequence[Listed], sheets: Sequence[KeyedSheet], choice: Choice) -> Derived:
    """labels.csv of TCGA slides.

    Args:
        listed: The files, in the order of their sources.
        sheets: What knows more of them.
        choice: What is wanted.

    Raises:
        UsageError: The class cannot be had: its column is nowhere, or some sources have a class and others none.
    """
    slides, others = slides_of(listed, choice)
    projects = {slide.code.patient: project_of(sheets, slide.code.patient) for slide in slides}
    values = _values(slides, sheets, projects, choice)
    written, notes = one_spelling(value.text for value in values if value.text)
    wanted = wanted_classes(choice.classes, written.values()) if choice.classes else None
    rows = []
    for slide, value in zip(slides, values, strict=True):
        text = written.get(value.text, "")
        label = text if wanted is None else wanted.get(folded(text), "")
        if text and not label:
            others.append(left_out(slide.listed, f"class '{text}' is not taken (--class)", code=slide.code))
        elif not label and value.reason and not choice.keep_unlabelled:
            others.append(left_out(slide.listed, value.reason, value.detail, slide.code))
        else:
            rows.append(_row(slide, label, projects[slide.code.patient]))
    rows.sort(key=lambda row: row["slide"])
    position = {(file.given, file.name): number for number, file in enumerate(listed)}
    others.sort(key=lambda item: position[item.given, item.slide])
    notes += [*_several_files(slides), *_about_classes({row["label"] for row in rows} - {""}, values)]
    return Derived(columns=COLUMNS, rows=rows, left_out=others, notes=notes)


def _row(slide: Slide, label: str, project: str) -> dict[str, str]:
    code = slide.code
    tissue = sample_words(code.sample_type)
    cells = (slide.listed.name, label, code.patient, project, tissue, code.kind)
    return dict(zip(COLUMNS, cells, strict=True))


def _values(
    slides: Sequence[Slide], sheets: Sequence[KeyedSheet], projects: Mapping[str, str], choice: Choice
) -> list[Value]:
    """The class of each slide as its source, its name or the sheets have it; none at all where nothing says one."""
    label = choice.label
    if any(slide.listed.label for slide in slides):
        return [_of_tissue(slide, Value(text=slide.listed.label)) for slide in _all_named(slides, label)]
    if label is not None and plain(label) == "sample_type":
        return [Value(text=sample_words(slide.code.sample_type)) for slide in slides]
    if label is not None and plain(label) == "slide_kind":
        return [Value(text=slide.code.kind) for slide in slides]
    if (label is None and any(projects.values())) or (label is not None and plain(label) in PROJECT_COLUMNS):
        return [
            _of_tissue(slide, value) for slide, value in zip(slides, _projects(slides, projects), strict=True)
        ]
    if label is None:
        return [Value()] * len(slides)
    if not sheets:
        raise UsageError(
            f"--label {label}: there is no table to look in; give the GDC's clinical.tsv or sample sheet, or "
            "cBioPortal's clinical data, with --clinical"
        )
    column = SheetColumn(sheets, label)
    return [_of_tissue(slide, column.of(slide.code)) for slide in slides]


def _all_named(slides: Sequence[Slide], label: str | None) -> Sequence[Slide]:
    """The slides, every one with the class of its source."""
    if label is None and all(slide.listed.label for slide in slides):
        return slides
    other = f"--label {label} names a column" if label is not None else "other sources do not"
    raise UsageError(
        f"a source names its class (CLASS=SOURCE) and {other}; a slide has one class, so give every source its class "
        "and no --label, or none of them"
    )


def _projects(slides: Sequence[Slide], projects: Mapping[str, str]) -> list[Value]:
    if not any(projects.values()):
        raise UsageError(
            "no table says the project of a case (Project ID, project_id); give the GDC's sample sheet or clinical.tsv "
            "with --clinical, or the class of each source: LUAD=manifest.txt"
        )
    unknown = Value(reason="no table says its project")
    found = (projects[slide.code.patient] for slide in slides)
    return [Value(text=project) if project else unknown for project in found]


def _of_tissue(slide: Slide, value: Value) -> Value:
    """Normal tissue is normal, whatever its patient has."""
    return Value(text=NORMAL) if slide.code.is_normal else value


def _several_files(slides: Iterable[Slide]) -> list[str]:
    counts = Counter(slide.code.slide for slide in slides)
    several = sorted(slide for slide, number in counts.items() if number > 1)
    if not several:
        return []
    return [
        f"{count(len(several), 'slide is', 'slides are')} there as several files, each with a UUID of its own; all "
        f"are kept: {name_list(several, 5)}"
    ]


def _about_classes(classes: set[str], values: Sequence[Value]) -> list[str]:
    if not any(value.text or value.reason for value in values):
        return [
            "no class is known, so every slide is unlabelled; give a table with --clinical, or the class of each "
            "source: LUAD=manifest.txt"
        ]
    if len(classes) == 1:
        return [
            f"all labelled slides are of one class, '{classes.pop()}'; name another column with --label, or add "
            "sources"
        ]
    return []
