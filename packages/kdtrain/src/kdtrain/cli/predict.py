"""``kdtrain predict``: its options to a request, one call, what a person sees of it, an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdtrain.cli.exit_codes import exit_codes
from kdtrain.predict.answers.prediction import FastPrice, SlidePrediction, slide_key
from kdtrain.predict.answers.request import (
    DISPLAY_MAGNIFICATION,
    OCCLUSION_PASSES,
    PAGE_FILE,
    PAGE_MB,
    ExplainOptions,
    ReadOptions,
    Request,
)
from kdtrain.predict.run import Outcome

SOME_FAILED = 3
_KEPT = "slides that were finished are kept in --out, and the same command goes on with the others"

SHOWN = 40
"""Slides in the table; all of them are in predictions.csv."""
COLUMNS = 6
"""Classes with a column of their own; of more, the predicted one's probability is shown."""
PAGES = 3
"""Pages that are named one by one."""


class _Positive(click.FloatRange):
    """A finite number above 0: click's own range lets "nan" pass."""

    def __init__(self) -> None:
        super().__init__(0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no number above 0; give a finite one", param, ctx)
        return number


_POSITIVE = _Positive()


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("slides", metavar="SLIDE...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for CSV, JSON and explanations.")
@click.option("--json", "as_json", is_flag=True, help="Print what predictions.json holds.")
@click.option("--objective", type=_POSITIVE, help="Objective power of slides that carry none.")
@click.option("--mpp", type=_POSITIVE, help="Microns per level-0 pixel of slides that carry none.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="labels.csv whose columns objective and mpp correct single slides.",
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
    type=click.IntRange(0),
    help=f"Forward passes for the occlusion map of a region; 0: none.  [default: {OCCLUSION_PASSES}]",
)
@click.option(
    "--display-magnification",
    "display",
    type=_POSITIVE,
    help=f"Of the pictures in the page.  [default: {DISPLAY_MAGNIFICATION:g}]",
)
@click.option("--page-mb", type=_POSITIVE, help=f"Size of a page at most, MB.  [default: {PAGE_MB:g}]")
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
    type=click.IntRange(0),
    help="Processes that read slides; 0: none.  [default: one per core, none for a single slide]",
)
@click.option(
    "--slide-minutes",
    type=click.FloatRange(0),
    default=120.0,
    show_default=True,
    help="Give a slide up that is read for longer; 0: never. Not with --workers 0.",
)
def predict_command(as_json: bool, **options: Any) -> None:
    """What the network of BUNDLE says of slides, files of any format that slideprep reads.

    SLIDE is a file, a folder, a glob, an address, or a CSV file with a column 'path'. With --out, the same command
    again goes on where it was stopped. Slides that cannot be predicted are listed, and the others completed (exit
    code 3).
    """
    with exit_codes(_KEPT):
        request = _request(**options)
        from rich.console import Console

        from kdtrain.predict.results import json_bytes
        from kdtrain.predict.run import predict_slides

        outcome = predict_slides(request, Console(stderr=True))
        if as_json:
            click.echo(json_bytes(outcome.document), nl=False)
        else:
            print_outcome(outcome, request, Console())
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


def print_outcome(outcome: Outcome, request: Request, console: Console) -> None:
    """The slides' table, what is odd about them, what failed, and where the files are."""
    if outcome.predictions:
        console.print(_table(outcome))
    for style, line in _lines(outcome):
        console.print(_shown(line, style))
    if request.out is not None:
        console.print(_shown(f"files    {request.out}"))
        for page in _pages(outcome, request, request.out):
            console.print(_shown(f"page     {page}"))


def _shown(text: str, style: str = "") -> Text:
    """As it is: brackets are no mark-up, and what in a path is no UTF-8 is escaped."""
    return Text(text.encode(errors="backslashreplace").decode(), style=style)


def _table(outcome: Outcome) -> Table:
    table = Table(
        title=_shown(f"{outcome.bundle} at {outcome.magnification:g}x, {outcome.runtime}"),
        title_justify="left",
    )
    table.add_column("slide", overflow="fold")
    table.add_column("predicted")
    narrow = len(outcome.classes) > COLUMNS
    for name in ("probability",) if narrow else outcome.classes:
        table.add_column(_shown(name), justify="right")
    table.add_column("regions", justify="right")
    for one in outcome.predictions[:SHOWN]:
        values = (max(one.probabilities),) if narrow else one.probabilities
        shares = (f"{100 * value:.1f} %" for value in values)
        table.add_row(_shown(one.slide), _shown(one.label), *shares, str(len(one.regions)))
    return table


def _lines(outcome: Outcome) -> Iterator[tuple[str, str]]:
    shown = outcome.predictions[:SHOWN]
    if len(outcome.predictions) > len(shown):
        yield "", f"and {len(outcome.predictions) - len(shown):,} more slides"
    for one in shown:
        yield from (("yellow", f"{one.slide}: {text}") for text in _odd(one))
        if one.fast is not None:
            yield "", f"{one.slide}: {fast_words(one, one.fast)}"
    for failure in outcome.failures[:SHOWN]:
        region = "" if failure.region is None else f", region {failure.region}"
        yield "red", f"failed   {failure.slide}{region}: {failure.reason}"


def _pages(outcome: Outcome, request: Request, out: Path) -> list[Path]:
    """The pages to open; of many slides, where they all are."""
    if request.explain is None:
        return []
    keys = [slide_key(one) for one in outcome.predictions]
    return [out / "explanations" / key / PAGE_FILE for key in (keys if len(keys) <= PAGES else ["*"])]


def _odd(one: SlidePrediction) -> Iterable[str]:
    yield from one.outside
    beyond = [region for region in one.regions if region.outside]
    if beyond:
        more = "" if len(beyond) == 1 == len(beyond[0].outside) else "; the rest is in regions.csv"
        yield (
            f"{len(beyond)} of {len(one.regions)} regions lie outside the training data; region {beyond[0].index}: "
            f"{beyond[0].outside[0]}{more}"
        )
    yield from one.warnings
    yield from (f"region {index} is left out: {reason}" for index, reason in one.left_out)


def fast_words(one: SlidePrediction, price: FastPrice) -> str:
    """What ``--fast`` changed on a slide, in words."""
    before, after = (
        values[one.predicted] for values in (price.probabilities_level0, price.probabilities_fast)
    )
    return (
        f"read from level {one.level} ({price.downsample:g} level-0 pixels a side) instead of level 0; in the middle "
        f"of region {price.region} that moves pixels by {price.mean:.2f} grey levels on average (bias "
        f"{price.bias:+.2f}, at most {price.largest:.0f}) and {one.label} from {100 * before:.1f} % to "
        f"{100 * after:.1f} %"
    )
