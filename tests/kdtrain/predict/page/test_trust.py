"""What a page says before its answer: by what each check is decided, and in which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fixtures.slide_pages import one_cell, slide_page
from kdtrain.predict.answers.prediction import FastPrice, QualityNumber
from kdtrain.predict.page.tiles import RegionView, SlidePage
from kdtrain.predict.page.trust import DISAGREE, Check, checks, measures

GOOD: dict[QualityNumber, float | None] = {"focus": 0.7, "ink": 0.01, "folds": 0.0, "bubbles": 0.0}
TRAINING, LIKENESS, MAPS, QUALITY, FILE = range(5)


def page(*qualities: dict[QualityNumber, float | None], **changes: Any) -> SlidePage:
    """A slide whose regions, numbered from 0, lie inside the training data and have these qualities."""
    made = slide_page()
    one = replace(made.regions[0].prediction, outside=())
    regions = tuple(replace(one, index=i, quality=quality) for i, quality in enumerate(qualities))
    views = tuple(RegionView(prediction=region, agreement=0.9) for region in regions)
    return replace(made, prediction=replace(made.prediction, regions=regions, **changes), regions=views)


def found(number: int, given: SlidePage) -> Check:
    """One of a page's checks."""
    return checks(given)[number]


def test_all_is_well() -> None:
    """Every check that was passed is said to be, and nothing is said of the file."""
    assert [(check.state, check.title) for check in checks(page(GOOD, GOOD))] == [
        ("fine", "Trained on slides of tissue"),
        ("fine", "Like the slides it was trained on"),
        ("fine", "The maps agree"),
        ("fine", "Regions are good to see"),
    ]


def test_a_slide_without_regions_is_not_called_good() -> None:
    """Where nothing could be looked at, every check but that of the training says so."""
    assert [(check.state, check.title) for check in checks(page())][1:] == [
        ("unknown", "Not compared with the slides it was trained on"),
        ("unknown", "Maps not compared"),
        ("unknown", "Quality not measured"),
    ]


def test_synthetic_training_comes_first() -> None:
    """A network of drawn slides says so before all else."""
    first = found(TRAINING, replace(page(GOOD), synthetic=True))
    assert (first.state, first.title) == ("caution", "Trained on synthetic slides")
    assert "has seen no tissue" in first.said[0]


def test_what_lies_outside_is_named() -> None:
    """The slide's sentences, then those of up to three regions; of more, their numbers."""
    given = page(GOOD, GOOD, GOOD, GOOD, outside=("it was scanned at 40x", "it has no mpp."))
    odd = tuple(replace(region, outside=("its stain is darker",)) for region in given.prediction.regions)

    def of(regions: Any) -> tuple[str, ...]:
        check = found(LIKENESS, replace(given, prediction=replace(given.prediction, regions=regions)))
        assert (check.state, check.title) == ("caution", "Unlike the slides it was trained on")
        return check.said

    assert of(given.prediction.regions) == ("The slide: it was scanned at 40x; it has no mpp.",)
    assert of((*given.prediction.regions[:3], odd[3]))[1:] == ("Region 3: its stain is darker.",)
    assert of(odd)[1:] == ("Regions 0, 1, 2, 3: see the table of regions.",)


@pytest.mark.parametrize(
    ("values", "state", "words"),
    [
        ((0.9, 0.4), "fine", "agreement 0.40 to 0.90"),
        ((0.9, 0.9), "fine", "agreement 0.90;"),
        ((0.9, 0.39), "caution", "in region 1 (0.39);"),
        ((-0.001, None), "caution", "in region 0 (0.00);"),
        ((0.1, 0.1, 0.1, 0.1), "caution", "in regions 0, 1, 2, 3;"),
        ((None, None), "unknown", "No map was made."),
    ],
)
def test_maps_disagree_below_a_limit(values: tuple[float | None, ...], state: str, words: str) -> None:
    """A rank correlation under 0.4 in any region is told, with the region."""
    given = page(*[GOOD] * len(values))
    views = tuple(replace(view, agreement=a) for view, a in zip(given.regions, values, strict=True))
    check = found(MAPS, replace(given, regions=views))
    assert DISAGREE == 0.4
    assert (check.state, words in check.said[0]) == (state, True), check
    some = [value is not None for value in values]
    assert check.said[1:] == (("Not compared: region 1.",) if some == [True, False] else ())


def test_maps_that_cannot_be_compared_say_why() -> None:
    """One kind of map alone, or both without a number."""
    given = page(GOOD)
    cam, occlusion = one_cell("grad-cam", 1, (0, 0)), one_cell("occlusion", 1, (0, 0))
    for maps, words in [((cam,), "Only one of the two"), ((cam, occlusion), "too small")]:
        views = (replace(given.regions[0], maps=maps, agreement=None),)
        check = found(MAPS, replace(given, regions=views))
        assert check.state == "unknown" and words in check.said[0]


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        ({"focus": 0.29}, "Region 1: out of focus (0.29; sharp slides have 0.6 to 1)."),
        ({"ink": 0.18}, "Region 1: 18 % of it is under marker ink."),
        ({"folds": 0.1}, "Region 1: 10 % of its tissue lies in folds."),
        (
            {"ink": 0.05, "bubbles": 0.4},
            "Region 1: 5 % of it is under marker ink; 40 % of it is in air bubbles.",
        ),
    ],
)
def test_a_region_that_is_hard_to_see_is_named(quality: dict[Any, float], words: str) -> None:
    """With what is wrong with it and how much of it."""
    check = found(QUALITY, page(GOOD, {**GOOD, **quality}))
    assert (check.state, check.said) == ("caution", (words,))


def test_quality_that_nobody_measured_is_not_called_good() -> None:
    """Neither without numbers, nor without tissue to measure focus on."""
    assert found(QUALITY, page({})).title == "Quality not measured"
    glass = found(QUALITY, page({**GOOD, "focus": None}))
    assert glass.state == "unknown" and "no tissue to measure focus on" in glass.said[0]
    many = found(QUALITY, page(*[{**GOOD, "focus": 0.1}] * 4))
    assert many.said == ("Regions 0, 1, 2, 3: see the table of regions.",)


def test_the_table_says_what_was_measured() -> None:
    """Focus, and the shares that round to a per cent or more."""
    (region,) = page({"focus": 0.664, "ink": 0.184, "folds": 0.004, "bubbles": 0.0}).prediction.regions
    assert measures(region) == "focus 0.66, ink 18 %"
    assert measures(replace(region, quality={})) == ""
    assert measures(replace(region, quality={**GOOD, "focus": None})) == "no focus, ink 1 %"


def test_the_file_comes_last() -> None:
    """Regions that do not count, a coarser level and what is odd about the file, in this order."""
    fast = FastPrice(
        downsample=4.0, region=1, mean=4.9, bias=0.0, largest=30.0, probabilities_level0=(1.0,),
        probabilities_fast=(1.0,),
    )  # fmt: skip
    given = page(
        GOOD, failed=((4, "a tile is damaged"),), left_out=((5, "too small."),), fast=fast, level=2,
        warnings=("marker ink left out",),
    )  # fmt: skip
    check = found(FILE, given)
    assert (check.title, check.state) == ("What else to know of the file", "caution")
    assert check.said[:2] == (
        "Region 4 could not be read and does not count: a tile is damaged.",
        "Region 5 was left out: too small.",
    )
    assert "pyramid level 2" in check.said[2] and "4.9 grey levels" in check.said[2]
    assert check.said[3] == "marker ink left out."
