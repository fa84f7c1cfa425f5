"""Annotated regions: boxes, files, classes, collisions, and which pixels lie inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slideprep.errors import InputError, UsageError
from slideprep.text import short_name
from slideprep.tissue.annotations import (
    AnnotatedRegion,
    Polygon,
    Ring,
    find_annotations,
    inside_mask,
    leave_out,
)
from slideprep.units import Box


def square(x: float, y: float, side: float) -> Ring:
    """Corners of a square with its top left at (x, y)."""
    return ((x, y), (x + side, y), (x + side, y + side), (x, y + side))


def region(*polygons: Polygon, class_name: str | None = None, name: str | None = None) -> AnnotatedRegion:
    """A region from a file of one feature."""
    return AnnotatedRegion(class_name=class_name, name=name, polygons=polygons, where="a.geojson, feature 1")


def test_box_rounds_outwards_and_clips() -> None:
    """A box covers every touched pixel and ends at the slide's border."""
    shape = region(Polygon(exterior=((-3.5, 2.2), (10.1, 2.2), (10.1, 50.0))))
    assert shape.box(width_l0=100, height_l0=40) == Box(x=0, y=2, width=11, height=38)


def test_box_covers_all_parts() -> None:
    """A region of two polygons has one box around both."""
    parts = region(Polygon(exterior=square(5, 5, 10)), Polygon(exterior=square(40, 60, 10)))
    assert parts.box(width_l0=100, height_l0=100) == Box(x=5, y=5, width=45, height=65)


@pytest.mark.parametrize("corner", [(100, 0), (0, 80), (-20, 0), (0, -10)])
def test_box_outside_the_slide_is_refused(corner: tuple[int, int]) -> None:
    """A region that lies beside the slide, or touches it only from outside, is refused by name, with both sizes."""
    outside = region(Polygon(exterior=square(*corner, 10)), name="spot 7")
    with pytest.raises(InputError, match=r"'spot 7' \(a.geojson, feature 1\) lies outside.*100 x 80"):
        outside.box(width_l0=100, height_l0=80)


@pytest.mark.parametrize(
    "file", ["case7.svs.geojson", "case7.svs.xml", "case7.geojson", "case7.json", "case7.xml"]
)
def test_finds_the_annotations_of_a_slide(tmp_path: Path, file: str) -> None:
    """The slide's name or its stem, with any of the three suffixes."""
    (tmp_path / file).touch()
    (tmp_path / "case77.geojson").touch()
    assert find_annotations(tmp_path, "case7.svs") == tmp_path / file


@pytest.mark.parametrize(
    ("slide", "file"),
    [
        ("case.ome.tif", "case.geojson"),
        ("case.ome.tiff", "case.ome.xml"),
        ("case.ome.tif", "case.ome.tif.json"),
        ("latin\\xe9.tif", "latin\udce9.geojson"),
        ("latin\\xe9.tif", "latin\\xe9.tif.geojson"),
        ("n\u00e9.svs", "ne\u0301.geojson"),
        ("ne\u0301.svs", "n\u00e9.svs.xml"),
    ],
)
def test_a_slide_and_its_annotations_may_be_named_in_two_ways(tmp_path: Path, slide: str, file: str) -> None:
    """Two suffixes, bytes that are no UTF-8, accents in two codings: what a person would take for one name is one."""
    (tmp_path / file).touch()
    assert find_annotations(tmp_path, slide) == tmp_path / file


def test_the_longest_name_of_a_slide_has_annotations_too(tmp_path: Path) -> None:
    """A name of 255 bytes has no room for a suffix; its stem has, and so has the shortened name that we write."""
    slide = "x" * 251 + ".svs"
    assert find_annotations(tmp_path, slide) is None
    (tmp_path / f"{short_name(slide)}.geojson").touch()
    assert find_annotations(tmp_path, slide) == tmp_path / f"{short_name(slide)}.geojson"


def test_finds_no_annotations_for_another_slide(tmp_path: Path) -> None:
    """Other slides' files are not taken."""
    (tmp_path / "case77.geojson").touch()
    assert find_annotations(tmp_path, "case7.svs") is None


def test_two_files_for_one_slide_are_refused(tmp_path: Path) -> None:
    """Two files that fit are named, none is preferred."""
    (tmp_path / "case7.geojson").touch()
    (tmp_path / "case7.svs.xml").touch()
    with pytest.raises(UsageError, match=r"case7\.svs\.xml, case7\.geojson"):
        find_annotations(tmp_path, "case7.svs")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A folder that does not exist is a usage error, not a slide without annotations."""
    with pytest.raises(UsageError, match="not a folder"):
        find_annotations(tmp_path / "nowhere", "case7.svs")


def test_leaves_classes_out_whatever_their_case() -> None:
    """'benign ' leaves Benign out; other classes and unclassed regions stay, in order."""
    regions = [region(class_name=name) for name in ("Benign", "Tumor", None, "BENIGN")]
    assert [r.class_name for r in leave_out(regions, ["benign "])] == ["Tumor", None]


def test_inside_a_square_by_hand() -> None:
    """Of 4 x 4 pixels, each 2 level-0 pixels wide, from (10, 20): centres at x 13 and 15 and y 23 are inside."""
    shape = region(Polygon(exterior=((12.5, 22.5), (15.5, 22.5), (15.5, 24.5), (12.5, 24.5))))
    mask = inside_mask(shape, x_l0=10, y_l0=20, factor=2, width=4, height=4)
    assert mask.astype(int).tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_holes_and_overlapping_parts() -> None:
    """A hole is outside; where two parts of one region overlap, it is still inside."""
    with_hole = Polygon(exterior=square(0, 0, 8), holes=(square(2, 2, 2),))
    second = Polygon(exterior=square(5, 5, 5))
    mask = inside_mask(region(with_hole, second), x_l0=0, y_l0=0, factor=1, width=10, height=10)
    assert not mask[2:4, 2:4].any()
    assert mask[5:8, 5:8].all()
    assert mask.sum() == 64 - 4 + 25 - 9


def test_a_bow_tie_is_filled_by_the_even_odd_rule() -> None:
    """An outline that crosses itself has both its wings inside and the gaps above and below outside."""
    bow_tie = Polygon(exterior=((0, 0), (10, 10), (10, 0), (0, 10)))
    mask = inside_mask(region(bow_tie), x_l0=0, y_l0=0, factor=1, width=10, height=10)
    assert mask[5, 1]
    assert mask[5, 8]
    assert not mask[1, 5]
    assert not mask[8, 5]


def _inside_one_by_one(ring: Ring, x: float, y: float) -> bool:
    """Even-odd rule for one point: how many edges are crossed on the way to the left."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        if (y0 < y) != (y1 < y):
            crossings += (x0 + (y - y0) * (x1 - x0) / (y1 - y0)) <= x
    return crossings % 2 == 1


_COORDINATE = st.integers(-30, 90).map(lambda n: n / 3)


@settings(max_examples=60)
@given(ring=st.lists(st.tuples(_COORDINATE, _COORDINATE), min_size=3, max_size=9))
def test_inside_equals_the_rule_point_by_point(ring: list[tuple[float, float]]) -> None:
    """For any outline, pixels are inside exactly where their centre is by the even-odd rule."""
    origin, factor = (1.0 / 7, -2.0 / 7), 1.1
    mask = inside_mask(
        region(Polygon(exterior=tuple(ring))),
        x_l0=origin[0],
        y_l0=origin[1],
        factor=factor,
        width=14,
        height=12,
    )
    expected = [
        [
            _inside_one_by_one(tuple(ring), origin[0] + (c + 0.5) * factor, origin[1] + (r + 0.5) * factor)
            for c in range(14)
        ]
        for r in range(12)
    ]
    assert mask.tolist() == expected


def test_strips_equal_the_whole() -> None:
    """A mask made in strips is the mask made at once."""
    shape = region(
        Polygon(exterior=((3, 1), (95, 20), (60, 88), (40, 30), (10, 70)), holes=(square(45, 22, 9),))
    )
    whole = inside_mask(shape, x_l0=0, y_l0=0, factor=2.5, width=40, height=40)
    strips = [
        inside_mask(shape, x_l0=0, y_l0=2.5 * y, factor=2.5, width=40, height=8) for y in range(0, 40, 8)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(strips))
    assert 300 < whole.sum() < 900


def test_area_of_a_circle() -> None:
    """A circle drawn with 1 000 corners covers pi r² pixels within 0.1 %."""
    angles = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    circle = tuple((500 + 400 * np.cos(a), 500 + 400 * np.sin(a)) for a in angles)
    mask = inside_mask(region(Polygon(exterior=circle)), x_l0=0, y_l0=0, factor=1, width=1000, height=1000)
    assert mask.sum() == pytest.approx(np.pi * 400**2, rel=1e-3)
