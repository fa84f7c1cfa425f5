"""An image becomes tiles of several resolutions: every pixel at its place, and no more bytes than a page may take."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fixtures.slide_pages import jpeg
from kdtrain.predict.page.tiles import Level, Pyramid, cut, within


def ramp(width: int, height: int) -> NDArray[np.uint8]:
    """Red grows to the right, green downwards: every place has its own colour."""
    red = np.broadcast_to(np.linspace(0, 250, width), (height, width))
    green = np.broadcast_to(np.linspace(0, 250, height)[:, None], (height, width))
    return np.stack([red, green, np.full_like(red, 90)], axis=-1).astype(np.uint8)


def put_together(level: Level, tile_px: int) -> NDArray[np.int16]:
    """The level as one image, without what tiles share with their neighbours."""
    tiles = []
    for number, tile in enumerate(level.tiles):
        above, before = (int(place > 0) for place in divmod(number, level.columns))
        pixels = np.asarray(Image.open(BytesIO(tile)), dtype=np.int16)
        tiles.append(pixels[above : above + tile_px, before : before + tile_px])
    rows = [
        np.concatenate(tiles[start : start + level.columns], axis=1)
        for start in range(0, len(tiles), level.columns)
    ]
    return np.concatenate(rows, axis=0)


def test_each_level_is_the_image_at_half_the_resolution_of_the_one_before() -> None:
    """Put together, tiles are the image averaged over blocks of 1, 2, 4 and 8 pixels, down to one tile."""
    image = ramp(300, 170)
    pyramid = cut(jpeg(Image.fromarray(image)), tile_px=64)
    assert (pyramid.width, pyramid.height) == (300, 170)
    assert [level.reduction for level in pyramid.levels] == [1, 2, 4, 8]
    assert [len(level.tiles) for level in pyramid.levels] == [15, 6, 2, 1]
    for level in pyramid.levels:
        step = level.reduction
        whole = image[: 170 // step * step, : 300 // step * step].astype(float)
        blocks = whole.reshape(170 // step, step, 300 // step, step, 3).mean((1, 3))
        together = put_together(level, 64)
        assert together.shape == (-(-170 // step), -(-300 // step), 3)
        assert np.abs(together[: 170 // step, : 300 // step] - blocks).mean() < 2.5


def test_an_image_of_one_tile_has_one_level() -> None:
    """What fits a tile is a tile, whatever its shape."""
    pyramid = cut(jpeg(Image.new("L", (64, 3))), tile_px=64)
    assert [len(level.tiles) for level in pyramid.levels] == [1]


def test_a_damaged_image_is_refused() -> None:
    """Half a file raises, and no tile is made of it."""
    whole = jpeg(Image.fromarray(ramp(300, 170)))
    with pytest.raises(OSError, match="truncated"):
        cut(whole[: len(whole) // 2])


def pyramid_of(*sizes: int) -> Pyramid:
    """Levels of one tile with as many bytes each."""
    levels = [Level(reduction=2**place, columns=1, tiles=(b"x" * size,)) for place, size in enumerate(sizes)]
    return Pyramid(width=8, height=8, levels=tuple(levels))


@pytest.mark.parametrize(
    ("room", "kept"),
    [(2035, [3, 2]), (2034, [2, 2]), (831, [2, 1]), (428, [1, 1]), (100, [0, 1]), (0, [0, 0]), (-5, [0, 0])],
)
def test_the_largest_finest_level_goes_first(room: int, kept: list[int]) -> None:
    """Levels that take 1203, 303, 83 and 403, 43 bytes of a page: always the largest first one of a pyramid goes."""
    pyramids = [pyramid_of(900, 225, 60), pyramid_of(300, 30)]
    found = within(pyramids, room)
    assert [len(pyramid.levels) for pyramid in found] == kept
    for pyramid, before, count in zip(found, pyramids, kept, strict=True):
        assert pyramid.levels == before.levels[len(before.levels) - count :]
