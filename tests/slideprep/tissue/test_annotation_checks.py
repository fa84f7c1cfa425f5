"""What is said of annotations drawn twice, overlapping, outside or on glass, and of classes left out in vain."""

from __future__ import annotations

import time

import numpy as np
import pytest

from slideprep.tissue.annotation_checks import (
    annotation_notes,
    glass_of,
    is_on_glass,
    overlapping,
    unmatched_classes,
)
from slideprep.tissue.annotations import AnnotatedRegion, Polygon

SIZE = {"width_l0": 1000, "height_l0": 800}


def region(x: float, y: float, side: float, class_name: str | None = "A", number: int = 1) -> AnnotatedRegion:
    """A square with its top left at (x, y)."""
    corners = ((x, y), (x + side, y), (x + side, y + side), (x, y + side))
    return AnnotatedRegion(
        class_name=class_name,
        name=None,
        polygons=(Polygon(exterior=corners),),
        where=f"a.geojson, feature {number}",
    )


def overview() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A tenth of a slide of 1000 x 800 px: glass on the left, tissue in the right half."""
    picture = np.full((80, 100, 3), 240, np.uint8)
    picture[:, 50:] = (190, 120, 180)
    return picture


def notes(*regions: AnnotatedRegion) -> list[str]:
    """What is said of regions on that slide."""
    return annotation_notes(regions, overview(), **SIZE)


def test_pairs_of_overlapping_boxes() -> None:
    """Boxes that share area are a pair, in the order given; touching is not sharing."""
    first, same, other, touching = (
        region(0, 0, 10),
        region(5, 5, 10),
        region(8, 8, 10, "B"),
        region(18, 8, 5, "C"),
    )
    assert overlapping([first, same, other, touching]) == [(first, same), (first, other), (same, other)]
    assert overlapping([]) == []


def test_overlapping_boxes_of_different_classes_are_told() -> None:
    """The same tissue under two labels; within a class it is only seen twice."""
    (told,) = notes(region(600, 0, 90), region(650, 50, 100), region(700, 100, 99, "B"), region(900, 0, 50))
    assert "overlap although their classes differ" in told


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_an_outline_drawn_twice_is_told(shift: int) -> None:
    """The same polygon, exactly or by a pixel or two, makes the same sample twice."""
    (told,) = notes(region(600, 100, 200, number=2), region(600 + shift, 100, 200, number=5))
    assert told == (
        "annotation 'A' (a.geojson, feature 5) has the outline of annotation 'A' (a.geojson, feature 2) and is a "
        "sample once more; delete one of them"
    )


def test_an_outline_with_two_classes_is_told_as_a_contradiction() -> None:
    """One of two classes of one outline is wrong; that the boxes overlap need not be said as well."""
    (told,) = notes(region(600, 100, 200), region(601, 100, 200, "B", number=5))
    assert "another class ('B', 'A'), so one of them is wrong" in told


def test_outlines_inside_each_other_are_no_repetition() -> None:
    """A gland within a lesion of the same class is drawn on purpose."""
    assert notes(region(600, 100, 200), region(640, 140, 100)) == []


def test_an_outline_mostly_beside_the_slide_is_told() -> None:
    """A tenth on the slide is probably another slide's annotation; one that only crosses the edge is not."""
    (told,) = notes(region(980, 100, 200))
    assert "lies on the slide with 10% of its box only" in told
    assert notes(region(800, 700, 190)) == []


def test_an_outline_on_bare_glass_is_told() -> None:
    """Where nothing is stained the annotation belongs elsewhere; tissue, and what is too small to tell, is passed."""
    (told,) = notes(region(100, 100, 200))
    assert "shows bare glass alone" in told
    assert notes(region(700, 100, 200)) == []
    assert notes(region(100, 100, 15)) == []
    assert not is_on_glass(
        region(460, 100, 100), overview(), glass_of(overview()), **SIZE
    )  # half of it is tissue


def test_a_slide_full_of_tissue_has_no_glass() -> None:
    """Nuclei and fibres differ by more than glass does."""
    rng = np.random.default_rng(0)
    picture = rng.integers(90, 210, (80, 100, 3)).astype(np.uint8)
    assert not is_on_glass(region(100, 100, 300), picture, glass_of(picture), **SIZE)


def test_thousands_of_outlines_say_a_few_sentences_in_a_moment() -> None:
    """Of 1 000 outlines on one place in two classes eight are told, then how many more."""
    began = time.monotonic()
    told = notes(*(region(600 + n % 7, 100, 200 + n % 90, "AB"[n % 2], n) for n in range(1000)))
    assert len(told) <= 2 * 9
    assert any("more of the kind" in text for text in told)
    assert time.monotonic() - began < 10


def test_classes_left_out_in_vain() -> None:
    """Case does not matter, near names are given, and what QuPath ignores is left out anyway."""
    found = ["Tumor", "Benign", "Stroma"]
    assert unmatched_classes(["benign ", "Tumour", "Ignore*", "Necrosis"], found) == [
        ("Tumour", ["Tumor"]),
        ("Necrosis", []),
    ]
