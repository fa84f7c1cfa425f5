"""Words in pictures: fonts, colours, and names cut to the room there is."""

from __future__ import annotations

from functools import cache

from PIL import ImageDraw, ImageFont

from kdtrain.pages import SERIES, light, visible

PAPER, INK, SOFT = light("paper"), light("ink"), light("soft")


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
