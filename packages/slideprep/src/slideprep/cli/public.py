"""``slideprep labels-from-tcga`` and ``labels-from-camelyon16``: labels.csv out of what a public data set says.

Nothing is downloaded; slides are found by their names and not opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slideprep.cli.exit_codes import exit_codes
from slideprep.cli.paths import PATH, PLACE
from slideprep.cli.public_sources import class_and_place, read_sources, reference_below, slides_in
from slideprep.storage.places import Place
from slideprep.text import count, for_terminal

if TYPE_CHECKING:
    from slideprep.labels.public.derived import Derived

_SHOWN = 20

_out = click.option(
    "--out",
    type=PATH,
    default=Path("labels.csv"),
    show_default=True,
    help="The file to write; never replaced unasked.",
)
_overwrite = click.option("--overwrite", is_flag=True, help="Replace --out, and what was left out beside it.")


@click.command("labels-from-tcga")
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--clinical",
    "clinical",
    type=PLACE,
    multiple=True,
    help="Table of cases, samples or slides: sample sheet, clinical.tsv, slide.tsv, cBioPortal's; may be repeated.",
)
@click.option(
    "--label",
    help="Column of the class; or project, sample_type, slide_kind.  [default: project, where a table has it]",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="[NAME=]VALUE",
    help="Take slides of this value of the column alone, as class NAME; may be repeated.",
)
@click.option(
    "--samples",
    default="01",
    show_default=True,
    help="Sample types taken: 01 primary tumour, 11 normal..., or all.",
)
@click.option(
    "--kinds",
    default="DX",
    show_default=True,
    help="Kinds of slides taken: DX diagnostic, TS, MS, BS frozen, or all.",
)
@click.option(
    "--keep-unlabelled", is_flag=True, help="Keep slides whose class no table says, for sets without labels."
)
@_out
@_overwrite
def labels_from_tcga_command(
    sources: tuple[str, ...],
    clinical: tuple[Place, ...],
    label: str | None,
    classes: tuple[str, ...],
    samples: str,
    kinds: str,
    keep_unlabelled: bool,
    out: Path,
    overwrite: bool,
) -> None:
    """Write labels.csv for TCGA slides that SOURCES name: GDC manifests, sample sheets, folders of slides.

    CLASS=SOURCE gives all slides of a source that class, such as LUAD=manifest.txt. Normal tissue is of the class
    'normal'. What is left out, and why, stands in a table beside labels.csv. Nothing is downloaded.
    """
    with exit_codes("nothing was written"):
        from slideprep.labels.public.derived import check_writable
        from slideprep.labels.public.sheet import read_sheet
        from slideprep.labels.public.sheet_keys import KeyedSheet
        from slideprep.labels.public.tcga import labels_of_tcga
        from slideprep.labels.public.tcga_files import (
            Choice,
            manifest_of,
            sample_types,
            says_more,
            slide_kinds,
        )

        choice = Choice(
            label=label,
            samples=sample_types(samples),
            kinds=slide_kinds(kinds),
            classes=classes,
            keep_unlabelled=keep_unlabelled,
        )
        named = [class_and_place(source) for source in sources]
        check_writable(out, overwrite=overwrite, read=[*(where for _, where in named), *clinical])
        sheets = [KeyedSheet(read_sheet(path)) for path in clinical]
        listed, tables, places = read_sources(named, out)
        sheets += [KeyedSheet(table) for table in tables if says_more(table)]
        derived = labels_of_tcga(listed, sheets, choice)
        manifest = manifest_of(tables, {row["slide"] for row in derived.rows} - places.keys())
        _finish(replace(derived.at(places), manifest=manifest), out, places)


@click.command("labels-from-camelyon16")
@click.argument("folder", type=PLACE)
@click.option(
    "--reference", type=PLACE, help="Classes of the test slides.  [default: reference.csv in FOLDER or below]"
)
@_out
@_overwrite
def labels_from_camelyon16_command(
    folder: Place, reference: Place | None, out: Path, overwrite: bool
) -> None:
    """Write labels.csv for the slides of CAMELYON16 in FOLDER: normal_001.tif, tumor_001.tif, test_001.tif...

    Slides that its publishers have taken out are left out, and annotations that are not exhaustive are marked.
    """
    with exit_codes("nothing was written"):
        from slideprep.labels.public.camelyon16 import SPLIT, labels_of_camelyon16
        from slideprep.labels.public.derived import check_writable
        from slideprep.labels.public.sheet import read_sheet

        reference = reference or reference_below(folder)
        check_writable(out, overwrite=overwrite, read=[folder, *([reference] if reference else [])])
        places = slides_in(folder, out)
        derived = labels_of_camelyon16(places, read_sheet(reference) if reference else None)
        _finish(derived.at(places), out, places, options=f" --split {SPLIT}")


def _finish(derived: Derived, out: Path, places: Mapping[str, str], options: str = "") -> None:
    from slideprep.labels.public.derived import left_out_path, manifest_path, write_labels

    write_labels(derived, out)
    patients = {row["patient"] for row in derived.rows}
    for line in (*_table(derived), *_reasons(derived)):
        _say(line)
    for note in derived.notes:
        _say(f"note: {note}")
    _say(f"labels    {out}: {count(len(derived.rows), 'slide')} of {count(len(patients), 'patient')}")
    _say(f"left out  {left_out_path(out)}: {count(len(derived.left_out), 'file')}")
    if derived.manifest:
        _say(f"download  gdc-client download -m {manifest_path(out)} -d slides")
    elif places:
        _say(f"build     slideprep build-shards {out} --labels {out}{options} --out shards/mine")


def _table(derived: Derived) -> Iterable[str]:
    rows = [("class", "patients", "slides")]
    rows += [
        (name or "unlabelled", f"{patients:,}", f"{slides:,}")
        for name, (patients, slides) in derived.classes.items()
    ]
    yield from _aligned(rows[: _SHOWN + 1])
    if len(rows) > _SHOWN + 1:
        yield f"and {len(rows) - _SHOWN - 1:,} more classes"


def _aligned(rows: Sequence[tuple[str, str, str]]) -> Iterable[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, patients, slides in rows:
        yield f"{name:<{widths[0]}}  {patients:>{widths[1]}}  {slides:>{widths[2]}}"


def _reasons(derived: Derived) -> Iterable[str]:
    if derived.reasons:
        yield "left out, because"
    for reason, number in derived.reasons:
        yield f"{number:>7,}  {reason}"


def _say(line: str) -> None:
    click.echo(for_terminal(line))
