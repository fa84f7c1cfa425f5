"""What the page of a slide shows, and its images cut into tiles, so that a browser decodes only what is in view.

Frames: boxes of regions are in level-0 pixels. A region's heat maps are in pixels of the image that the network saw,
``image_width`` x ``image_height`` of its prediction, whatever the size of the image shown. *Display pixels* are those
of the image given to be cut; a pixel of one of its levels covers ``reduction`` x ``reduction`` of them, counted from
the image's top left corner; the last of a row or column may cover fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import Image

from kdtrain.predict.answers.prediction import RegionPrediction, SlidePrediction
from kdtrain.predict.explain.heat_map import HeatMap

TILE_PX = 512
"""A side of a tile, pixels of its level: large enough that a screen needs a few dozen, small enough to decode in a
few milliseconds."""

OVERLAP_PX = 1
"""Pixels that a tile shares with each neighbour, so that it can be enlarged smoothly up to its edge."""

QUALITY = 82
"""JPEG quality of a tile, colours at half resolution: for looking, not for measuring."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """An image at one resolution.

    Attributes:
        reduction: Display pixels per pixel of the level, a power of two.
        columns: Tiles in a row.
        tiles: JPEG, row by row; those at the right and lower edge are smaller. Where a tile has a neighbour, it goes
            on by :data:`OVERLAP_PX`.
    """

    reduction: int
    columns: int
    tiles: tuple[bytes, ...]

    @property
    def page_bytes(self) -> int:
        """What its tiles take in a page, as quoted base64 with a comma."""
        return sum(4 * -(-len(tile) // 3) + 3 for tile in self.tiles)


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """An image at several resolutions.

    Attributes:
        width: Width of the image given, display pixels.
        height: Likewise.
        levels: From the finest to one of a single tile, each of half the resolution; the finest ones, even all, may
            be left out.
    """

    width: int
    height: int
    levels: tuple[Level, ...]


def cut(jpeg: bytes, *, tile_px: int = TILE_PX) -> Pyramid:
    """Cut an image into tiles at every resolution down to one tile.

    Args:
        jpeg: The image, in any format that Pillow reads.
        tile_px: A side of a tile.

    Raises:
        OSError: The image is damaged.
    """
    image: Image.Image = Image.open(BytesIO(jpeg))
    if image.mode != "RGB":
        image = image.convert("RGB")
    width, height = image.size
    levels = [_level(image, 1, tile_px)]
    while len(levels[-1].tiles) > 1:
        image = image.reduce(2)
        levels.append(_level(image, 2 * levels[-1].reduction, tile_px))
    return Pyramid(width=width, height=height, levels=tuple(levels))


def within(pyramids: Sequence[Pyramid], room_bytes: int) -> tuple[Pyramid, ...]:
    """Leave out finest levels, always the largest next, until tiles take no more than ``room_bytes`` of a page."""
    kept = list(pyramids)
    total = sum(level.page_bytes for pyramid in kept for level in pyramid.levels)
    while total > max(room_bytes, 0):
        finest = [pyramid.levels[0].page_bytes if pyramid.levels else 0 for pyramid in kept]
        largest = finest.index(max(finest))
        kept[largest] = replace(kept[largest], levels=kept[largest].levels[1:])
        total -= finest[largest]
    return tuple(kept)


def _level(image: Image.Image, reduction: int, tile_px: int) -> Level:
    corners = [(x, y) for y in range(0, image.height, tile_px) for x in range(0, image.width, tile_px)]
    return Level(
        reduction=reduction,
        columns=-(-image.width // tile_px),
        tiles=tuple(_tile(image, x, y, tile_px) for x, y in corners),
    )


def _tile(image: Image.Image, x: int, y: int, tile_px: int) -> bytes:
    first = (max(x - OVERLAP_PX, 0), max(y - OVERLAP_PX, 0))
    last = (min(x + tile_px + OVERLAP_PX, image.width), min(y + tile_px + OVERLAP_PX, image.height))
    file = BytesIO()
    image.crop((*first, *last)).save(file, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return file.getvalue()


@dataclass(frozen=True, kw_only=True)
class RegionView:
    """A region with its picture and its maps.

    Attributes:
        prediction: What the network said of it, and where it lies.
        display: JPEG of the region's box at any resolution, often finer than what the network saw; None shows the
            slide's overview alone.
        maps: At most one for each method and class; none where nothing was explained.
        agreement: Rank correlation of the Grad-CAM and the occlusion map of the region's predicted class, -1 to 1,
            or None where it was not computed.
    """

    prediction: RegionPrediction
    display: bytes | None = None
    maps: tuple[HeatMap, ...] = ()
    agreement: float | None = None


@dataclass(frozen=True, kw_only=True)
class SlidePage:
    """All that a page shows.

    Attributes:
        prediction: What the network said of the slide.
        regions: One for each region of the prediction, in its order.
        overview: JPEG of the whole slide, from corner to corner.
        bundle: Name of the bundle.
        backend: What computed the network, as a runtime is named: "onnxruntime on cpu".
        probabilities: Whether they are calibrated, in words; "" where that is not known.
        calibrated: Whether they are; None where that is not known.
        synthetic: Whether the network was trained on slides that a program drew.

    Raises:
        ValueError: ``regions`` are not those of the prediction.
    """

    prediction: SlidePrediction
    regions: tuple[RegionView, ...]
    overview: bytes
    bundle: str
    backend: str
    probabilities: str = ""
    calibrated: bool | None = None
    synthetic: bool = False

    def __post_init__(self) -> None:
        shown, predicted = [view.prediction.index for view in self.regions], self.prediction.regions
        if shown != [region.index for region in predicted]:
            raise ValueError(
                f"a page needs one view for each region of its prediction, in its order: it has views of {shown} "
                f"for regions {[region.index for region in predicted]}"
            )
