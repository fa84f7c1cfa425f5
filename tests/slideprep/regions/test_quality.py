"""A region's quality, measured on the rows of its images while they pass."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from slideprep.regions.layout import ImageGeometry
from slideprep.regions.quality import QualityMeter, cell_px, picture_bytes
from slideprep.shards.format import PixelBox
from slideprep.shards.records import Quality

Image = npt.NDArray[np.uint8]


def geometry(magnification: float, width: int, height: int, *, valid: int | None = None) -> ImageGeometry:
    """An image of a 40x scan, of which ``valid`` columns lie on the slide."""
    return ImageGeometry(
        magnification=magnification,
        factor=Fraction(40 / magnification),
        width=width,
        height=height,
        valid=PixelBox(x=0, y=0, width=width if valid is None else valid, height=height),
    )


def tissue(height: int = 480, width: int = 640, *, blur: float = 0.0) -> Image:
    """A textured piece of tissue at 10x, with a margin of glass."""
    rng = np.random.default_rng(3)
    noise = sum(
        np.kron(rng.standard_normal((height // size, width // size)), np.ones((size, size)))
        for size in (1, 2, 4, 8, 16)
    )
    amount = np.zeros((height, width))
    amount[32:-32, 64:-64] = (1 + 0.15 * noise)[32:-32, 64:-64].clip(0)
    if blur:
        amount = ndimage.gaussian_filter(amount, blur)
    light = 242 * np.exp(-amount[..., None] * np.array([0.35, 0.65, 0.3]))
    return np.rint(light).clip(1, 255).astype(np.uint8)


def averaged(image: Image, side: int) -> Image:
    """The image at a lower magnification."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    means = image[: rows * side, : columns * side].reshape(rows, side, columns, side, 3).mean(axis=(1, 3))
    return np.asarray(np.rint(means).astype(np.uint8))


def measured(*images: tuple[float, Image], rows: int = 50, mpp: float | None = 0.25) -> Quality:
    """What the meter says of images that pass in pieces of so many rows."""
    meter = QualityMeter([geometry(m, image.shape[1], image.shape[0]) for m, image in images], mpp=mpp)
    passed: list[list[Image]] = [[] for _ in images]
    sinks = meter.watch([part.append for part in passed])
    for sink, (_, image) in zip(sinks, images, strict=True):
        for top in range(0, len(image), rows):
            sink(image[top : top + rows])
    assert all(np.array_equal(np.concatenate(p), image) for p, (_, image) in zip(passed, images, strict=True))
    return meter.measured()


@pytest.mark.parametrize("rows", [1, 7, 480])
def test_how_rows_come_changes_nothing(rows: int) -> None:
    """One by one, in odd pieces or all at once: the same numbers, and the encoder sees every row."""
    image = tissue()
    pair = ((10.0, image), (0.625, averaged(image, 16)))
    assert measured(*pair, rows=rows) == measured(*pair)


def test_blur_is_seen_at_the_highest_magnification() -> None:
    """Out of focus by 2 µm, a region has less than half the focus."""
    sharp, blurred = (measured((10.0, tissue(blur=blur))).focus for blur in (0.0, 2.0))
    assert sharp is not None
    assert blurred is not None
    assert blurred < sharp / 2


def test_one_magnification_will_do() -> None:
    """Of a set of 10x alone, the picture for ink and folds is averaged from it: focus is nearly that of both."""
    image = tissue()
    alone, both = measured((10.0, image)), measured((10.0, image), (0.625, averaged(image, 16)))
    assert alone.focus == pytest.approx(both.focus, rel=0.03)
    assert (alone.ink, alone.folds, alone.bubbles) == (0, 0, 0)


def test_a_magnification_too_low_is_not_looked_at() -> None:
    """An image of 64 µm per pixel shows no strokes: the one of 16 µm above it is taken."""
    image = tissue()
    low = averaged(image, 16)
    assert measured((10.0, image), (0.625, low), (0.15625, averaged(low, 4))) == measured(
        (10.0, image), (0.625, low)
    )


def test_a_large_region_is_measured_on_a_part_of_its_rows() -> None:
    """Where every fourth row of blocks is enough, the focus is that of all within 10 %."""
    image = tissue(height=1120, width=320)
    whole = measured((10.0, image[:240])).focus
    assert measured((10.0, image)).focus == pytest.approx(whole, rel=0.1)


def test_unknown_microns_are_those_of_the_magnification() -> None:
    """Without mpp, 10x is 1 µm per pixel."""
    assert measured((10.0, tissue()), mpp=None) == measured((10.0, tissue()))


def test_glass_alone_has_no_focus() -> None:
    """Where there is no tissue, focus is unknown and everything else 0."""
    glass = np.full((480, 640, 3), 242, np.uint8)
    assert measured((10.0, glass)) == Quality(focus=None, ink=0, folds=0, bubbles=0)


def test_padding_is_no_part_of_a_region() -> None:
    """Half of the image lies beyond the slide: ink on 8 of the 30 rows of the rest is 8/30, not 4/30."""
    image = np.full((480, 640, 3), 242, np.uint8)
    image[96:224, :320] = (40, 70, 170)
    meter = QualityMeter([geometry(10.0, 640, 480, valid=320)], mpp=0.25)
    meter.watch([lambda _: None])[0](image)
    assert meter.measured().ink == pytest.approx(8 / 30, abs=0.04)


def test_a_picture_of_a_whole_slide_is_bounded() -> None:
    """A slide of 60 x 40 mm is looked at more coarsely, in less than 200 MB; a small region at 16 µm."""
    slide, small = geometry(10.0, 60_000, 40_000), geometry(10.0, 640, 480)
    assert cell_px(small, 0.25) == 16
    assert cell_px(slide, 0.25) == 36
    assert picture_bytes([small], 0.25) < picture_bytes([slide], 0.25) < 200_000_000
