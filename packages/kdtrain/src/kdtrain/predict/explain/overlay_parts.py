"""What stands around the overlay's picture: the bar of colours with its numbers, the classes' names, fonts."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kdtrain.bundle.runtime import Pixels
from kdtrain.pages import SERIES, light
from kdtrain.predict.explain.colours import Scale
from kdtrain.predict.explain.picture import SlidePicture
from kdtrain.text import visible

LEGEND_HEIGHT = 92

_BAR_HEIGHT = 20
_BAR_WIDTH = 420
_TEXT = 17

PAPER, INK, SOFT = light("paper"), light("ink"), light("soft")


def draw_legend(
    page: Image.Image, picture: SlidePicture, *, opacity: float, left: int, top: int, width: int
) -> None:
    """Draw it.

    Args:
        page: Where.
        picture: What it explains.
        opacity: Opacity of the strongest colours in the picture; the bar shows colours as they look on white there.
        left: Left edge, pixels.
        top: Top edge, pixels.
        width: Pixels there are.
    """
    draw = ImageDraw.Draw(page)
    draw.text((left, top), fitted(draw, picture.meaning, font(_TEXT), width), fill=INK, font=font(_TEXT))
    bar_top = top + _TEXT + 10
    page.paste(Image.fromarray(bar(picture.scale, opacity)), (left, bar_top))
    draw.rectangle((left, bar_top, left + _BAR_WIDTH - 1, bar_top + _BAR_HEIGHT - 1), outline=SOFT)
    numbers_top = bar_top + _BAR_HEIGHT + 4
    for share, text in ticks(picture.scale):
        size = draw.textlength(text, font=font(_TEXT))
        x = left + share * (_BAR_WIDTH - size)
        draw.text((x, numbers_top), text, fill=INK, font=font(_TEXT))
    _classes(draw, picture, left + _BAR_WIDTH + 40, bar_top, width - _BAR_WIDTH - 40)


def bar(scale: Scale, opacity: float) -> Pixels:
    """(rows, columns, 3) uint8: the scale from left to right as it looks on white."""
    low = -scale.most if scale.signed else 0.0
    values = np.linspace(low, scale.most or 1, _BAR_WIDTH, dtype=np.float32)
    share = (opacity * scale.opacities(values))[:, None]
    row = np.rint(255 * (1 - share) + scale.colours(values) * share).astype(np.uint8)
    return np.repeat(row[None], _BAR_HEIGHT, axis=0)


def ticks(scale: Scale) -> list[tuple[float, str]]:
    """(place from 0 to 1, words) of the ends and the middle."""
    if not scale.most:
        return [(0.0, "0 everywhere")]
    if not scale.signed:
        return [(share, f"{share * scale.most:.3g}") for share in (0.0, 0.5, 1.0)]
    return [(0.0, f"{-scale.most:.3g} against"), (0.5, "0"), (1.0, f"for {scale.most:.3g}")]


def _classes(draw: ImageDraw.ImageDraw, picture: SlidePicture, left: int, top: int, width: int) -> None:
    """Classes that were said of regions, with the colours of their outlines; those with room, then dots."""
    x = float(left)
    for k in sorted({region.prediction.predicted for region in picture.regions}):
        name = fitted(draw, picture.prediction.classes[k], font(_TEXT), width / 2)
        size = draw.textlength(name, font=font(_TEXT))
        if x + 26 + size > left + width:
            draw.text((x, top), "...", fill=INK, font=font(_TEXT))
            return
        draw.rectangle((x, top + 2, x + 16, top + 16), outline=class_colour(k), width=3)
        draw.text((x + 22, top), name, fill=INK, font=font(_TEXT))
        x += 22 + size + 24


@cache
def font(size_px: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, so that pictures are the same on every machine."""
    return ImageFont.load_default(size=size_px)


def class_colour(class_index: int) -> str:
    """A class's colour as #rrggbb: those of the report, from the start again where there are more classes."""
    return light(SERIES[class_index % len(SERIES)])


def fitted(
    draw: ImageDraw.ImageDraw,
    text: str,
    used: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    room_px: float,
) -> str:
    """One line of text, its end cut off where there is no room.

    Args:
        draw: Where it is drawn.
        text: Any; control characters are made visible.
        used: The font.
        room_px: Width that it may take.
    """
    line = visible(text)
    if draw.textlength(line, font=used) <= room_px:
        return line
    while line and draw.textlength(line + "...", font=used) > room_px:
        line = line[:-1]
    return line + "..."
