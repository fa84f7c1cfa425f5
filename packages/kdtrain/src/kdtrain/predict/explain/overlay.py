"""A slide as one picture: its overview, the heat maps of its regions, what the colours mean, and what they do not.

In: a :class:`~kdtrain.predict.explain.picture.SlidePicture` and the overview. Out: a PNG, the same bytes for the same
input. Top to bottom: title, picture, legend, caption. Lengths are in pixels of the PNG unless said otherwise.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from kdtrain.bundle.runtime import Pixels
from kdtrain.predict.answers.prediction import RegionPrediction
from kdtrain.predict.explain.overlay_parts import (
    INK,
    LEGEND_HEIGHT,
    PAPER,
    SOFT,
    class_colour,
    draw_legend,
    fitted,
    font,
)
from kdtrain.predict.explain.picture import CAUTION, OPACITY, Place, SlidePicture, paint
from kdtrain.text import visible

SIDE_PX = 1600
"""Longest side of the slide in the picture: a screen's width, and still readable in a document."""

_MIN_WIDTH = 1000
_MARGIN = 28
_TITLE, _BODY, _TAG = 30, 19, 17


def overlay_png(
    picture: SlidePicture, overview: bytes, *, side_px: int = SIDE_PX, opacity: float = OPACITY
) -> bytes:
    """Draw the picture.

    Args:
        picture: What to draw.
        overview: JPEG or PNG of the whole slide, from corner to corner, of any size.
        side_px: Longest side of the slide.
        opacity: Opacity of the strongest colours, 0 to 1.

    Returns:
        PNG.

    Raises:
        OSError: The overview is damaged.
    """
    slide = painted_overview(picture, overview, side_px=side_px, opacity=opacity)
    page, draw, top = _titled(picture, slide)
    left = (page.width - slide.width) // 2
    page.paste(slide, (left, top))
    draw.rectangle((left - 1, top - 1, left + slide.width, top + slide.height), outline=SOFT)
    bottom = top + slide.height + _MARGIN // 2
    draw_legend(page, picture, opacity=opacity, left=_MARGIN, top=bottom, width=page.width - 2 * _MARGIN)
    draw.text((_MARGIN, bottom + LEGEND_HEIGHT + 6), CAUTION, fill=INK, font=font(_BODY))
    return _png(page)


def painted_overview(
    picture: SlidePicture, overview: bytes, *, side_px: int, opacity: float = OPACITY
) -> Image.Image:
    """The slide with maps, boxes and what was said of each region, without title and legend.

    Args:
        picture: What to draw.
        overview: JPEG or PNG of the whole slide.
        side_px: Longest side of the result.
        opacity: Opacity of the strongest colours, 0 to 1.
    """
    canvas_HWC = _scaled(overview, picture, side_px)
    per_level0 = canvas_HWC.shape[1] / picture.prediction.width
    for explained, heat_map in picture.maps():
        place = Place.of(explained.prediction, per_level0=per_level0)
        paint(canvas_HWC, heat_map, explained.prediction, place, picture.scale, opacity)
    slide = Image.fromarray(canvas_HWC)
    draw = ImageDraw.Draw(slide)
    boxes = [(r.prediction, Place.of(r.prediction, per_level0=per_level0)) for r in picture.regions]
    for region, place in boxes:
        box = (place.left, place.top, place.right - 1, place.bottom - 1)
        draw.rectangle(box, outline=class_colour(region.predicted), width=3)
    for region, place in boxes:
        _tag(draw, slide, region, picture.prediction.classes, place)
    return slide


def _scaled(overview: bytes, picture: SlidePicture, side_px: int) -> Pixels:
    """The overview at the size wanted, with the slide's own proportions."""
    width, height = picture.prediction.width, picture.prediction.height
    scale = side_px / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    with Image.open(io.BytesIO(overview)) as image:
        return np.array(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def _tag(
    draw: ImageDraw.ImageDraw,
    slide: Image.Image,
    region: RegionPrediction,
    classes: tuple[str, ...],
    place: Place,
) -> None:
    """The region's number, class and probability above its box, or in it where the slide ends."""
    full = f"{region.index} {visible(classes[region.predicted])} {region.probabilities[region.predicted]:.2f}"
    used = font(_TAG)
    room = max(place.right - place.left, draw.textlength("00", font=used) + 8)
    # Of a box too narrow for all, the number is what the table of regions calls it by.
    text = full if draw.textlength(full, font=used) + 8 <= room else str(region.index)
    width, height = draw.textlength(text, font=used) + 8, _TAG + 6
    left = max(0.0, min(place.left, slide.width - width))
    top = place.top - height if place.top >= height else place.top
    draw.rectangle((left, top, left + width, top + height), fill=class_colour(region.predicted))
    draw.text((left + 4, top + 2), text, fill=PAPER, font=used)


def _titled(picture: SlidePicture, slide: Image.Image) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    """An empty page with its title, and the height at which the slide goes."""
    width = max(slide.width, _MIN_WIDTH) + 2 * _MARGIN
    top = _MARGIN + _TITLE + _BODY + 26
    height = top + slide.height + _MARGIN // 2 + LEGEND_HEIGHT + 6 + _BODY + _MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    room = width - 2 * _MARGIN
    title = fitted(draw, picture.prediction.slide, font(_TITLE), room)
    draw.text((_MARGIN, _MARGIN - 6), title, fill=INK, font=font(_TITLE))
    said = f"{picture.verdict}   |   {picture.bundle}, {picture.prediction.magnification:g}x"
    draw.text(
        (_MARGIN, _MARGIN + _TITLE + 8), fitted(draw, said, font(_BODY), room), fill=SOFT, font=font(_BODY)
    )
    return page, draw, top


def _png(page: Image.Image) -> bytes:
    buffer = io.BytesIO()
    page.save(buffer, format="PNG")
    return buffer.getvalue()
