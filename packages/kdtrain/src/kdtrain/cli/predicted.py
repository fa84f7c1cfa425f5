"""What a person sees of predictions at the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdtrain.cli.measured import print_validation
from kdtrain.predict.answers.prediction import FastPrice, SlidePrediction, slide_key
from kdtrain.predict.answers.request import CLASSES_FILE, PAGE_FILE, Request
from kdtrain.predict.results import ResultsFolder
from kdtrain.predict.run import Outcome
from kdtrain.text import plural, visible

SHOWN = 40
"""Slides in the table; all of them are in predictions.csv."""
COLUMNS = 6
"""Classes with a column of their own; of more, the predicted one's probability is shown."""
PAGES = 3
"""Pages that are named one by one."""


def print_outcome(outcome: Outcome, request: Request, console: Console) -> None:
    """The slides' table, what is odd about them, what failed, and where the files are."""
    if outcome.predictions:
        console.print(_table(outcome))
        console.print(_shown(f"probabilities: {outcome.probabilities}"))
    for style, line in _lines(outcome):
        console.print(_shown(line, style))
    if outcome.measured is not None:
        _print_measured(outcome.measured, request, console)
    if request.out is not None:
        console.print(_shown(f"files    {request.out}"))
        for page in _pages(outcome, request, request.out):
            console.print(_shown(f"page     {page}"))
        for folder in _class_maps(outcome, request.out):
            console.print(_shown(f"DICOM    {folder}, with the patient's name where the slide has it"))


def _print_measured(measured: Mapping[str, Any], request: Request, console: Console) -> None:
    """How often it is right, of the slides whose class is known."""
    folder = None if request.out is None else ResultsFolder(request.out).evaluation
    print_validation(measured, folder, console)
    slides = measured["slides"]
    if slides["without_label"]:
        console.print(_shown(f"{plural(slides['without_label'], 'slide')} without a label not measured"))
    if failed := slides["labelled_but_failed"]:
        console.print(_shown(f"{plural(failed, 'labelled slide')} failed, so not in these numbers", "red"))


def _shown(text: str, style: str = "") -> Text:
    """As it is: brackets are no mark-up, and what in a path is no UTF-8 is spelled out."""
    return Text(visible(text), style=style)


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


def _class_maps(outcome: Outcome, out: Path) -> list[Path]:
    """The folders with class maps; of many, where they all are."""
    results = ResultsFolder(out)
    folders = [results.class_maps(slide_key(one)) for one in outcome.predictions]
    found = [folder for folder in folders if (folder / CLASSES_FILE).exists()]
    return found if len(found) <= PAGES else [results.class_maps("*")]


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
