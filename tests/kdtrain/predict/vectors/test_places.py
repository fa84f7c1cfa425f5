"""Feature maps to vectors with places: kdtrain/predict/vectors/places.py."""

from __future__ import annotations

import numpy as np

from kdtrain.predict.vectors.places import (
    SeenRegion,
    SeenSlide,
    cell_vectors,
    region_vectors,
    slide_vectors,
)

MAP = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
"""Two channels, two rows, three columns."""
REGION = SeenRegion(x=100, y=-40, width=640, height=520, factor=8.0, map_CHW=MAP)
"""Of an image of 80 x 65 px: at stride 32 the last row of cells would reach 520 < 512 + 8."""


def test_a_region_is_the_mean_of_its_map_and_its_own_box() -> None:
    """Channel 0 holds 0 to 5 and channel 1 holds 6 to 11."""
    vectors, boxes = region_vectors(REGION)
    assert vectors.tolist() == [[2.5, 8.5]]
    assert boxes.tolist() == [[100, -40, 740, 480]]


def test_cells_lie_row_by_row_at_the_stride_times_the_factor() -> None:
    """32 px at factor 8 are 256 level-0 pixels: columns at 100, 356, 612 and rows at -40, 216."""
    vectors, boxes = cell_vectors(REGION, 32)
    assert vectors.tolist() == [[0, 6], [1, 7], [2, 8], [3, 9], [4, 10], [5, 11]]
    assert boxes[:, 0].tolist() == [100, 356, 612] * 2
    assert boxes[:, 1].tolist() == [-40] * 3 + [216] * 3
    assert (boxes[:, 2:] - boxes[:, :2] == 256).all()


def test_a_slides_regions_follow_one_another() -> None:
    """Vectors of all regions, with the slide's facts and the patch's size only where cells are patches."""
    slide = SeenSlide(name="a.svs", width=4000, height=3000, mpp=0.5)
    other = SeenRegion(x=0, y=0, width=256, height=256, factor=8.0, map_CHW=MAP[:, :1, :1])
    settings = {"encoder": "e", "magnification": 2.5, "stride_px": 32}
    cells = slide_vectors(slide, [REGION, other], cells=True, **settings)
    assert cells.vectors_NC.shape == (7, 2)
    assert (cells.patch_px, cells.side_l0, cells.level0_size) == (32, 256, (4000, 3000))
    regions = slide_vectors(slide, [REGION, other], cells=False, **settings)
    assert regions.boxes_N4.tolist() == [[100, -40, 740, 480], [0, 0, 256, 256]]
    assert (regions.patch_px, regions.side_l0) == (None, None)
