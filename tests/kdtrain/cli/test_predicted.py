"""What a person sees of predictions."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from fixtures.predictions import REGION, SLIDE
from kdtrain.cli.predicted import SHOWN, print_outcome
from kdtrain.predict.answers.prediction import Failure, FastPrice, SlidePrediction
from kdtrain.predict.answers.request import ExplainOptions, Request
from kdtrain.predict.run import Outcome
from kdtrain.screen import console

ODD = replace(
    SLIDE, slide="[bold]a.svs", regions=(REGION, replace(REGION, index=1, outside=("too blue", "too large")))
)


def said(
    *slides: SlidePrediction,
    failures: tuple[Failure, ...] = (),
    request: Request,
    classes: tuple[str, ...] = ("gland", "stroma"),
) -> str:
    """The screen, every run of white space as one space."""
    outcome = Outcome(
        bundle="student",
        runtime="onnxruntime on cpu",
        classes=classes,
        magnification=2.5,
        probabilities="calibrated on val, T = 1.7",
        predictions=slides,
        failures=failures,
        identity={},
    )
    screen = io.StringIO()
    print_outcome(outcome, request, console(file=screen, width=160))
    return " ".join(screen.getvalue().split())


REQUEST = Request(bundle=Path("b"), slides=("a.svs",))


def test_names_are_shown_as_they_are() -> None:
    """Square brackets in a file's name are no mark-up."""
    assert "│ [bold]a.svs │ stroma │ 25.0 % │ 75.0 % │ 2 │" in said(ODD, request=REQUEST)


def test_class_names_are_no_mark_up() -> None:
    """A class may be called like a closing tag."""
    assert "│ [/b] │ [red] │" in said(
        replace(SLIDE, classes=("[/b]", "[red]")), request=REQUEST, classes=("[/b]", "[red]")
    ).replace("┃", "│")


def test_of_many_classes_the_predicted_one_is_shown() -> None:
    """Fifty columns fit no screen: the table keeps its width, and predictions.csv has them all."""
    classes = tuple(f"class {number}" for number in range(50))
    slide = replace(SLIDE, classes=classes, probabilities=(0.51, *[0.01] * 49))
    text = said(slide, request=REQUEST, classes=classes)
    assert "│ a.svs │ class 0 │ 51.0 % │ 1 │" in text
    assert "class 7" not in text


def test_a_path_that_is_not_utf_8_is_shown() -> None:
    """It is escaped: a screen that takes UTF-8 alone would refuse it after all work is done."""
    failure = Failure(slide="a.svs", region=None, stage="read", reason="see caf\udce9/a.svs")
    assert r"see caf\xe9/a.svs" in said(failures=(failure,), request=REQUEST)


def test_regions_outside_take_one_line_a_slide() -> None:
    """The first one is quoted, the rest counted."""
    text = said(ODD, request=REQUEST)
    assert (
        "1 of 2 regions lie outside the training data; region 1: too blue; the rest is in regions.csv" in text
    )
    assert "too large" not in text


def test_fast_is_told_in_pixels_and_in_the_answer() -> None:
    """The predicted class before and after, in the middle of the region."""
    price = FastPrice(
        downsample=8.0,
        region=1,
        mean=1.234,
        bias=-0.5,
        largest=17.0,
        probabilities_level0=(0.2, 0.8),
        probabilities_fast=(0.4, 0.6),
    )
    text = said(replace(SLIDE, level=3, fast=price), request=REQUEST)
    assert "level 3 (8 level-0 pixels a side)" in text
    assert "by 1.23 grey levels on average (bias -0.50, at most 17) and stroma from 80.0 % to 60.0 %" in text


def test_long_lists_are_cut_and_counted() -> None:
    """The screen shows so many slides; the files have all."""
    slides = [replace(SLIDE, slide=f"{number}.svs", regions=(REGION,)) for number in range(SHOWN + 7)]
    assert "and 7 more slides" in said(*slides, request=REQUEST)


def test_failures_and_pages_are_named() -> None:
    """Each failure with its region; the page of a single slide by its path, of many by a pattern."""
    failure = Failure(slide="b.svs", region=2, stage="read", reason="damaged")
    request = replace(REQUEST, out=Path("out"), explain=ExplainOptions())
    text = said(SLIDE, failures=(failure,), request=request)
    assert "failed b.svs, region 2: damaged" in text
    assert "page out/explanations/a-00000000/page.html" in text
    assert "page out/explanations/*/page.html" in said(*([SLIDE] * 9), request=request)
