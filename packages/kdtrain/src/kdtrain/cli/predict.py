"""``kdtrain predict``: its options to a request, one call, an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kdtrain.cli.exit_codes import exit_codes
from kdtrain.cli.numbers import Number
from kdtrain.predict.answers.request import (
    DISPLAY_MAGNIFICATION,
    OCCLUSION_PASSES,
    PAGE_MB,
    ExplainOptions,
    ReadOptions,
    Request,
)

SOME_FAILED = 3
_KEPT = "slides that were finished are kept in --out, and the same command goes on with the others"


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("slides", metavar="SLIDE...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for CSV, JSON and explanations.")
@click.option("--json", "as_json", is_flag=True, help="Print what predictions.json holds.")
@click.option("--objective", type=Number(200), help="Objective power of slides that carry none.")
@click.option("--mpp", type=Number(100), help="Microns per level-0 pixel of slides that carry none.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="labels.csv: slides that it gives a class are measured, and its columns objective and mpp correct single "
    "slides.",
)
@click.option(
    "--tissue",
    type=click.Choice(["auto", "tissueloc", "whole", "annotations"]),
    help="How regions are found.  [default: as in the set that the network was trained on]",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    help="Folder of GeoJSON (QuPath) or XML (ImageScope) files, for a network of annotated regions.",
)
@click.option(
    "--fast",
    is_flag=True,
    help="Read the nearest finer pyramid level instead of level 0, and say what that changes.",
)
@click.option(
    "--outside",
    type=click.Choice(["auto", "warn", "refuse"]),
    default="auto",
    show_default=True,
    help="What becomes of slides unlike the training data; auto refuses another magnification and warns of the rest.",
)
@click.option(
    "--explain", is_flag=True, help="Draw where the network looked: pictures, QuPath files, a page."
)
@click.option(
    "--explain-class",
    "explain_classes",
    multiple=True,
    help="Class to draw maps for; may be repeated.  [default: those predicted]",
)
@click.option(
    "--occlusion-passes",
    type=click.IntRange(0, 100_000),
    help=f"Forward passes for the occlusion map of a region; 0: none.  [default: {OCCLUSION_PASSES}]",
)
@click.option(
    "--display-magnification",
    "display",
    type=Number(200),
    help=f"Of the pictures in the page.  [default: {DISPLAY_MAGNIFICATION:g}]",
)
@click.option(
    "--dicom/--no-dicom",
    default=None,
    help="Write class maps as DICOM of slides that are DICOM; they name the patient as the slide does.  "
    "[default: with --explain, where kdtrain[dicom] is installed]",
)
@click.option("--page-mb", type=Number(10_000), help=f"Size of a page at most, MB.  [default: {PAGE_MB:g}]")
@click.option(
    "--backend",
    type=click.Choice(["auto", "onnx", "pytorch"]),
    default="auto",
    show_default=True,
    help="auto: ONNX Runtime on a CPU, PyTorch on a GPU.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where."
)
@click.option(
    "--workers",
    type=click.IntRange(0, 1024),
    help="Processes that read slides; 0: none.  [default: one per core, none for a single slide]",
)
@click.option(
    "--start-seconds",
    type=Number(86_400),
    default=120.0,
    show_default=True,
    help="How long these processes may take to start, seconds.",
)
@click.option(
    "--slide-minutes",
    type=Number(1_000_000, zero=True),
    default=120.0,
    show_default=True,
    help="Give a slide up that is read for longer; 0: never. Not with --workers 0.",
)
def predict_command(as_json: bool, **options: Any) -> None:
    """What the network of BUNDLE says of slides, files of any format that slideprep reads.

    SLIDE is a file, a folder, a glob, an address, or a CSV file with a column 'path'. With --out, the same command
    again goes on where it was stopped. Slides that cannot be predicted are listed, and the others completed (exit
    code 3). With --labels it is also said how often the network is right, and how the slides differ from those that it
    was trained on.
    """
    with exit_codes(_KEPT):
        request = _request(**options)
        from kdtrain.cli.predicted import print_outcome
        from kdtrain.predict.results import json_bytes
        from kdtrain.predict.run import predict_slides
        from kdtrain.screen import console, say

        outcome = predict_slides(request, console(stderr=True))
        if outcome.measured is not None and request.out is not None:
            from kdtrain.predict.results import ResultsFolder
            from kdtrain.report.validation.page import write_validation_page

            write_validation_page(ResultsFolder(request.out).evaluation)
        if as_json:
            say(json_bytes(outcome.document).decode(), nl=False)
        else:
            print_outcome(outcome, request, console())
        if outcome.failures:
            sys.exit(SOME_FAILED)


def _request(
    *,
    slides: tuple[str, ...],
    objective: float | None,
    mpp: float | None,
    labels: Path | None,
    tissue: str | None,
    annotations: Path | None,
    fast: bool,
    explain: bool,
    explain_classes: tuple[str, ...],
    occlusion_passes: int | None,
    display: float | None,
    page_mb: float | None,
    **rest: Any,
) -> Request:
    return Request(
        slides=slides,
        read=ReadOptions(
            objective=objective, mpp=mpp, labels=labels, tissue=tissue, annotations=annotations, fast=fast
        ),
        explain=_explain(
            explain,
            classes=explain_classes,
            occlusion_passes=occlusion_passes,
            display=display,
            page_mb=page_mb,
        ),
        **rest,
    )


def _explain(wanted: bool, **given: Any) -> ExplainOptions | None:
    """Any of its options asks for explanations too."""
    set_ones = {name: value for name, value in given.items() if value not in (None, ())}
    return ExplainOptions(**set_ones) if wanted or set_ones else None
