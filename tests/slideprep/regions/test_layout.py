"""Boxes are laid out so that every magnification shows exactly the same field."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slideprep.errors import MagnificationError
from slideprep.regions.layout import MIN_SIDE_PX, Grid, Layout, sizes_px
from slideprep.shards.models import ImageFormat
from slideprep.units import Box, Scale

FIVE = (10.0, 5.0, 2.5, 1.25, 0.625)
MAGNIFICATIONS = st.lists(st.sampled_from([20.0, *FIVE, 4.0, 8.0, 3.0]), min_size=1, max_size=5, unique=True)
MPPS = st.sampled_from([0.5, 0.25, 0.2525, 0.499, 0.46])


def _scale(mpp: float = 0.5) -> Scale:
    return Scale(mode="mpp", objective=None, objective_source=None, mpp=mpp, mpp_source="slide")


@st.composite
def _placed(draw: st.DrawFn) -> tuple[Box, int, int]:
    """A tissue box on a slide, and the slide's size."""
    width, height = draw(st.integers(1, 5000)), draw(st.integers(1, 5000))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = Box(x=x, y=y, width=draw(st.integers(1, width - x)), height=draw(st.integers(1, height - y)))
    return box, width, height


@given(_placed(), MAGNIFICATIONS, MPPS)
def test_every_magnification_shows_the_same_field(
    placed: tuple[Box, int, int], magnifications: list[float], mpp: float
) -> None:
    """Image size times factor is one and the same level-0 size at every magnification, to the last fraction."""
    box, width, height = placed
    if min(magnifications) > 10 / mpp or max(magnifications) > 10 / mpp:
        magnifications = [m for m in magnifications if m <= 10 / mpp] or [1.0]
    grid = Grid(_scale(mpp), magnifications)
    layout = grid.lay_out(box, slide_width=width, slide_height=height)
    fields = {
        (px[0] * _scale(mpp).factor(m), px[1] * _scale(mpp).factor(m))
        for m, px in sizes_px(layout, magnifications).items()
    }
    assert fields == {(layout.columns * grid.cell_l0, layout.rows * grid.cell_l0)}


@given(_placed(), MPPS)
def test_the_box_covers_the_tissue_and_stays_on_the_slide(placed: tuple[Box, int, int], mpp: float) -> None:
    """The box holds the tissue, to within a level-0 pixel at a fractional scale, and leaves only a small slide."""
    box, width, height = placed
    grid = Grid(_scale(mpp), FIVE)
    layout = grid.lay_out(box, slide_width=width, slide_height=height)
    slack = 0 if grid.cell_l0.denominator == 1 else 1
    for first, cells, start, stop, limit in (
        (layout.x, layout.columns, box.x, box.right, width),
        (layout.y, layout.rows, box.y, box.bottom, height),
    ):
        end = first + cells * grid.cell_l0
        assert 0 <= first <= start
        assert end >= stop - slack
        assert end <= limit or first == 0


@given(_placed())
def test_no_cell_is_wasted(placed: tuple[Box, int, int]) -> None:
    """A box one cell narrower would not cover the tissue from the box's place on the grid."""
    box, width, height = placed
    layout = Grid(_scale(), FIVE).lay_out(box, slide_width=width, slide_height=height)
    start = box.x - box.x % 32
    assert (layout.columns - 1) * 32 < box.right - start <= layout.columns * 32


def test_the_box_starts_on_the_grid_of_the_lowest_magnification() -> None:
    """At 20x, 0.625x has pixels of 32 level-0 pixels: tissue at x 70 to 300 is laid out from 64 to 320."""
    layout = Grid(_scale(), FIVE).lay_out(
        Box(x=70, y=32, width=230, height=32), slide_width=1000, slide_height=1000
    )
    assert layout == Layout(x=64, y=32, columns=8, rows=1)


def test_at_the_edge_the_box_is_shifted_inwards() -> None:
    """Tissue up to the right edge of a slide of 1000 px: 4 cells of 32 px start at 872, not at 896."""
    layout = Grid(_scale(), FIVE).lay_out(
        Box(x=900, y=0, width=100, height=32), slide_width=1000, slide_height=64
    )
    assert (layout.x, layout.columns) == (872, 4)


def test_where_the_slide_is_too_small_the_valid_part_is_told() -> None:
    """A slide of 70 px in boxes of 32: three cells from 0, of which 35 px at 10x and 2 px at 0.625x are slide."""
    grid = Grid(_scale(), FIVE)
    layout = grid.lay_out(Box(x=0, y=0, width=70, height=64), slide_width=70, slide_height=64)
    images = grid.images(layout, slide_width=70, slide_height=64)
    assert (layout.x, layout.columns, layout.rows) == (0, 3, 2)
    assert [(image.width, image.valid.width, image.valid.height) for image in images] == [
        (48, 35, 32), (24, 17, 16), (12, 8, 8), (6, 4, 4), (3, 2, 2)
    ]  # fmt: skip


def test_images_come_in_the_order_of_the_magnifications() -> None:
    """Factors at 20x are 2 and 16 for 10x and 1.25x, in the order given."""
    grid = Grid(_scale(), (10.0, 1.25))
    layout = Layout(x=0, y=0, columns=40, rows=50)
    images = grid.images(layout, slide_width=1000, slide_height=1000)
    assert [(i.magnification, i.factor, i.width, i.height) for i in images] == [
        (10.0, 2, 320, 400),
        (1.25, 16, 40, 50),
    ]


def test_fractional_factors_stay_exact() -> None:
    """0.499 µm/px is a factor of 1000/499 to 10x, kept as a fraction."""
    grid = Grid(_scale(0.499), (10.0,))
    assert grid.images(Layout(x=0, y=0, columns=2, rows=2), slide_width=9, slide_height=9)[
        0
    ].factor == Fraction(1000, 499)


def _refusal(
    columns: int, rows: int, *, image_format: ImageFormat = "jpeg", slide: int = 10**7
) -> str | None:
    layout = Layout(x=0, y=0, columns=columns, rows=rows)
    return Grid(_scale(), FIVE).refusal(layout, image_format, slide_width=slide, slide_height=slide)


def test_a_region_under_32_px_at_the_lowest_magnification_is_refused() -> None:
    """31 px at 0.625x are too few, 32 are enough; the reason names number, magnification and remedy."""
    assert _refusal(MIN_SIDE_PX, MIN_SIDE_PX) is None
    assert _refusal(400, 31) == (
        "only 31 px on its shorter side at 0.625x, where 32 px are the least; to keep it, leave the lowest "
        "magnifications out"
    )


def test_padding_does_not_make_a_region_large_enough() -> None:
    """10x and 6.3x have cells of 63 px at 6.3x; a slide of 10 px fills 4 of them and is refused."""
    grid = Grid(_scale(), (10.0, 6.3))
    layout = grid.lay_out(Box(x=0, y=0, width=10, height=10), slide_width=10, slide_height=10)
    reason = grid.refusal(layout, "jpeg", slide_width=10, slide_height=10)
    assert reason is not None
    assert reason.startswith("only 4 px")


@pytest.mark.parametrize(
    ("image_format", "columns", "limit", "remedy"),
    [("jpeg", 4094, 65_500, "--image-format png"), ("webp", 1024, 16_383, "--image-format jpeg or png")],
)
def test_a_format_limit_is_named_with_its_remedy(
    image_format: ImageFormat, columns: int, limit: int, remedy: str
) -> None:
    """One cell more than the format's longest side is refused, one cell less is not, and PNG takes both."""
    reason = _refusal(40, columns, image_format=image_format)
    assert reason is not None
    assert f"{limit} px of {image_format}" in reason
    assert remedy in reason
    assert _refusal(40, columns - 1, image_format=image_format) is None
    assert _refusal(40, columns, image_format="png") is None


def test_a_magnification_beyond_the_scan_is_refused() -> None:
    """A grid with 40x cannot be laid on a 20x scan."""
    with pytest.raises(MagnificationError, match="never upsampled"):
        Grid(_scale(), (40.0, 10.0))
