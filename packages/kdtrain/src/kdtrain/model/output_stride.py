"""The output stride that fits the images: so fine that a feature map has something to say, and no finer.

Sizes of images in, a stride out. Pure.

A student learns the teacher's feature map place by place (eq. 3 of the paper), and at stride 32 an image of 97 x 66 px
leaves 4 x 3 places: nothing to learn from. The large tissues of the paper leave dozens, and keep 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from kdtrain.model.resnet import OUTPUT_STRIDES

ENOUGH_CELLS = 8
"""On the shorter side of the median training image: what "auto" leaves."""
FEW_CELLS = 6
"""With fewer a run is warned of."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """An output stride that "auto" chose, and what it was chosen by.

    Attributes:
        stride: Image pixels per cell of the feature map.
        cells: That it leaves on that side.
        median_shorter_side_px: Of the training images.
    """

    stride: int
    cells: int
    median_shorter_side_px: int

    @property
    def record(self) -> dict[str, int]:
        """JSON-able."""
        return asdict(self)


def chosen_for(shorter_side_px: int) -> Chosen:
    """What "auto" makes of a side of so many pixels."""
    stride = stride_for(shorter_side_px)
    return Chosen(
        stride=stride, cells=cells_of(shorter_side_px, stride), median_shorter_side_px=shorter_side_px
    )


def cells_sentence(stride: int, shorter_side_px: int) -> str:
    """What a stride leaves of the median training image."""
    cells = cells_of(shorter_side_px, stride)
    return (
        f"output stride {stride} leaves {cells} {'cell' if cells == 1 else 'cells'} on the {shorter_side_px} px of the "
        "median training image's shorter side"
    )


def stride_for(shorter_side_px: int) -> int:
    """The largest output stride that leaves ENOUGH_CELLS on a side of so many pixels, else the smallest."""
    enough = (stride for stride in OUTPUT_STRIDES if cells_of(shorter_side_px, stride) >= ENOUGH_CELLS)
    return next(enough, min(OUTPUT_STRIDES))


def median_shorter_side(sizes: Sequence[tuple[int, int]]) -> int:
    """Shorter side of the median image in pixels: of the images by shorter side, the one in the middle.

    Args:
        sizes: Two sides of every training image, in pixels; at least one image.
    """
    return int(np.sort([min(size) for size in sizes])[(len(sizes) - 1) // 2])


def cells_of(side_px: int, output_stride: int) -> int:
    """Cells along a side, rounded up, as every layer with a stride rounds."""
    return -(-side_px // output_stride)
