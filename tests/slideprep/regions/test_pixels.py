"""A region's images are its level-0 pixels by Lanczos, with background where there is no slide or no annotation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fixtures.slides import half_zero_tile, picture, slide_file, write_jpeg_tiff
from slideprep.errors import SlideReadError
from slideprep.regions.layout import Grid, ImageGeometry, Layout
from slideprep.regions.pixels import read_region
from slideprep.slides.overview import read_level
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_reader
from slideprep.tissue.annotations import AnnotatedRegion, Polygon
from slideprep.units import Box, Scale

Pixels = NDArray[np.uint8]
Doubles = NDArray[np.float64]
MAGNIFICATIONS = (10.0, 5.0, 2.5)
ROUNDED = 0.501
"""Rounding to whole grey levels once costs half a level; float32 may add a thousandth."""


def _grid(mpp: float = 0.5) -> Grid:
    return Grid(
        Scale(mode="mpp", objective=None, objective_source=None, mpp=mpp, mpp_source="slide"), MAGNIFICATIONS
    )


def _lanczos_weights(count: int, factor: float, origin: float, size: int) -> Doubles:
    """(outputs, level-0 pixels) weights of a stretched Lanczos kernel (a = 3), written straight from its formula."""
    centres = origin + (np.arange(count)[:, None] + 0.5) * factor
    t = (np.arange(size)[None, :] + 0.5 - centres) / factor
    weights = np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)
    normalised: Doubles = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _expected(level0: Pixels, layout: Layout, image: ImageGeometry, background: Sequence[int]) -> Doubles:
    """The image in float64: every pixel that lies wholly on the slide by Lanczos, the rest background."""
    factor, (height, width) = float(image.factor), level0.shape[:2]
    columns = sum(layout.x + (i + 1) * image.factor <= width for i in range(image.width))
    rows = sum(layout.y + (i + 1) * image.factor <= height for i in range(image.height))
    made = np.empty((image.height, image.width, 3))
    made[:] = background
    across = _lanczos_weights(columns, factor, layout.x, width)
    down = _lanczos_weights(rows, factor, layout.y, height)
    along_y = np.tensordot(down, level0.astype(np.float64), axes=1)
    made[:rows, :columns] = np.tensordot(along_y, across, axes=(1, 1)).swapaxes(1, 2)
    return np.clip(made, 0, 255)


def _extract(
    slide: Slide, grid: Grid, layout: Layout, outline: AnnotatedRegion | None = None
) -> list[tuple[ImageGeometry, Pixels]]:
    images = grid.images(layout, slide_width=slide.levels[0].width, slide_height=slide.levels[0].height)
    rows: list[list[Pixels]] = [[] for _ in images]
    sinks: list[Callable[[Pixels], None]] = [kept.append for kept in rows]
    read_region(slide, layout, images, sinks, outline=outline)
    return [(image, np.concatenate(kept)) for image, kept in zip(images, rows, strict=True)]


def _png(folder: Path, pixels: Pixels) -> Path:
    Image.fromarray(pixels).save(folder / "a.png")
    return folder / "a.png"


@pytest.mark.parametrize("mpp", [0.5, 0.499], ids=["whole factors", "fractional factors"])
@pytest.mark.parametrize(
    "box",
    [
        Box(x=24, y=16, width=100, height=90),
        Box(x=0, y=0, width=211, height=173),
        Box(x=190, y=150, width=21, height=23),
    ],
    ids=["inside", "all", "at the corner"],
)
def test_images_are_lanczos_of_level_0(tmp_path: Path, box: Box, mpp: float) -> None:
    """Every magnification equals a direct float64 Lanczos of the slide, to the last rounding, background around it."""
    level0 = picture(211, 173)
    grid = _grid(mpp)
    with open_reader(slide_file(_png(tmp_path, level0))) as slide:
        layout = grid.lay_out(box, slide_width=211, slide_height=173)
        for image, made in _extract(slide, grid, layout):
            expected = _expected(level0, layout, image, slide.background)
            assert made.dtype == np.uint8
            assert made.shape == expected.shape == (image.height, image.width, 3)
            assert np.abs(made - expected).max() < ROUNDED


def test_padding_is_the_slides_background(tmp_path: Path) -> None:
    """A slide of 60 x 30 px in cells of 8: rows and columns beyond it are its background at every magnification."""
    grid = _grid()
    with open_reader(slide_file(_png(tmp_path, picture(60, 30)))) as slide:
        layout = grid.lay_out(Box(x=0, y=0, width=60, height=30), slide_width=60, slide_height=30)
        for image, made in _extract(slide, grid, layout):
            assert image.valid.width < image.width
            assert image.valid.height < image.height
            assert (made[image.valid.height :] == slide.background).all()
            assert (made[:, image.valid.width :] == slide.background).all()
            assert (made[: image.valid.height, : image.valid.width] != slide.background).any()


def _rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    return Polygon(exterior=((left, top), (right, top), (right, bottom), (left, bottom)))


def test_an_outline_blanks_what_is_outside_at_every_magnification(tmp_path: Path) -> None:
    """Pixels whose centre lies in the outline are the slide's, all others are background."""
    outline = AnnotatedRegion(
        class_name="a", name=None, polygons=(_rectangle(21.3, 40, 90, 99.5),), where="test"
    )
    grid = _grid()
    with open_reader(slide_file(_png(tmp_path, picture(160, 128)))) as slide:
        layout = Layout(x=8, y=16, columns=16, rows=12)
        plain = _extract(slide, grid, layout)
        for (image, masked), (_, whole) in zip(_extract(slide, grid, layout, outline), plain, strict=True):
            x = 8 + (np.arange(image.width) + 0.5) * float(image.factor)
            y = 16 + (np.arange(image.height) + 0.5) * float(image.factor)
            inside = ((y > 40) & (y < 99.5))[:, None] & ((x > 21.3) & (x < 90))[None, :]
            assert 0 < inside.sum() < inside.size
            assert np.array_equal(masked[inside], whole[inside])
            assert (masked[~inside] == slide.background).all()


def test_transparency_is_flattened_on_the_background_not_on_black(tmp_path: Path) -> None:
    """Where a slide is fully transparent, every magnification shows its background."""
    pixels = np.dstack([picture(96, 96), np.full((96, 96), 255, np.uint8)])
    pixels[:, 48:] = 0
    grid = _grid()
    with open_reader(slide_file(_png(tmp_path, pixels))) as slide:
        assert min(slide.background) > 200
        flat = read_level(slide, 0)
        layout = Layout(x=0, y=0, columns=12, rows=12)
        for image, made in _extract(slide, grid, layout):
            expected = _expected(flat, layout, image, slide.background)
            assert np.abs(made - expected).max() < ROUNDED
            assert (made[:, -1] == slide.background).all()


def test_a_damaged_tile_fails_the_region_that_needs_it(tmp_path: Path) -> None:
    """The strict reader's refusal comes through; a region away from the damage is read as before."""
    path = write_jpeg_tiff(tmp_path / "a.tif", picture(512, 64), tile=64)
    half_zero_tile(path, 7)
    grid = _grid()
    with open_reader(slide_file(path)) as slide:
        _extract(slide, grid, Layout(x=0, y=0, columns=16, rows=8))
        with pytest.raises(SlideReadError):
            _extract(slide, grid, Layout(x=384, y=0, columns=16, rows=8))


def test_what_was_read_is_the_field_and_the_kernels_reach(tmp_path: Path) -> None:
    """Three times the largest factor (8) around the centres of the outermost pixels, cut off at the slide's edge."""
    with open_reader(slide_file(_png(tmp_path, picture(200, 200)))) as slide:
        layout = Layout(x=80, y=0, columns=4, rows=4)
        images = _grid().images(layout, slide_width=200, slide_height=200)
        read = read_region(slide, layout, images, [lambda _rows: None] * 3)
    assert (read.y, read.bottom) == (0, 28 + 3 * 8)
    assert (read.x, read.right) == (84 - 3 * 8, 108 + 3 * 8)
