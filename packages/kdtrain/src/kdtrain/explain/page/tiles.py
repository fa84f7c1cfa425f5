"""An image cut into tiles at several resolutions, so that a browser decodes only what is in view.

Frames: *display pixels* are those of the image given. A level's pixel covers ``reduction`` x ``reduction`` of them,
counted from the image's top left corner; the last of a row or column may cover fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import Image

TILE_PX = 512
"""A side of a tile, pixels of its level: large enough that a screen needs a few dozen, small enough to decode in a
few milliseconds."""

OVERLAP_PX = 1
"""Of a tile with each neighbour, further pixels of its level: so that it can be enlarged smoothly up to its edge."""

QUALITY = 82
"""Of a tile's JPEG, colours at half resolution: for looking, not for measuring."""


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
        width: Of the image given, display pixels.
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
