"""One synthetic slide: pieces laid out on glass, rendered, marked, and written as a pyramidal TIFF.

Out comes a tiled JPEG pyramid whose description is Aperio's, so that OpenSlide reads its µm per pixel and its objective
from it, and which says that it is synthetic. It is drawn at 20x; at 40x it is enlarged.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from slideprep.errors import UsageError
from slideprep.synthetic.glass import draw_dust, draw_glass, draw_pen, draw_stains, transmitted
from slideprep.synthetic.lesion import LesionSize, OutlinedLesion
from slideprep.synthetic.piece import LesionKind, draw_libraries, stain_piece
from slideprep.synthetic.recipe import SlideStyle, class_recipe, draw_style
from slideprep.units import Box

MPP = 0.5
"""Micrometres per pixel drawn."""

OBJECTIVE = 20
"""At which slides are drawn."""

OBJECTIVES = (20, 40)
MOST_SHIFT = 2.0
"""Of the stains; further on, eosin absorbs hardly anything."""
BACKGROUND_CLASS = "normal"
"""Class of the tissue around a lesion."""

_LESION_STREAM = 1
_TILE_PX = 256
_QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class SlideSize:
    """How large a slide and its pieces are, in level-0 pixels (0.5 µm); ranges are (least, most)."""

    pieces: tuple[int, int] = (2, 4)
    piece_px: tuple[int, int] = (1500, 2200)
    """Side of the box that a piece is made in; the tissue fills most of it."""
    margin_px: tuple[int, int] = (200, 500)
    """Bare glass around each box."""

    def __post_init__(self) -> None:
        for name in ("pieces", "piece_px", "margin_px"):
            least, most = getattr(self, name)
            if not 0 < least <= most:
                raise UsageError(
                    f"{name} of a synthetic slide is a range (least, most) above 0, not ({least}, {most})"
                )
        if self.piece_px[0] < 256:
            raise UsageError(
                "pieces of a synthetic slide are at least 256 px a side, or no gland fits in; "
                f"got {self.piece_px[0]}"
            )


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where slides come from: what is alike on all of a laboratory and its scanner."""

    objective: int = OBJECTIVE
    """Of the scan. At 40x a slide is the same, enlarged: twice the pixels a side, of half the size, and no finer."""
    stain_shift: float = 0.0
    """How far the stains are from the usual ones, towards another laboratory's: 0 not at all, 1 as far, 2 twice."""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UsageError(f"synthetic slides are scanned at 20x or 40x, and not at {self.objective}x")
        if not 0 <= self.stain_shift <= MOST_SHIFT:
            raise UsageError(
                f"the stain shift of synthetic slides is from 0 to {MOST_SHIFT:g}, and not {self.stain_shift:g}"
            )

    @property
    def enlarged(self) -> int:
        """Level-0 pixels a side for each one drawn."""
        return self.objective // OBJECTIVE

    @property
    def mpp(self) -> float:
        """Micrometres per level-0 pixel."""
        return MPP / self.enlarged


def make_slide(
    path: Path,
    *,
    class_name: str,
    seed: int | tuple[int, ...],
    pen: bool = False,
    size: SlideSize | None = None,
) -> Path:
    """Write one synthetic slide; the same arguments give the same bytes.

    Args:
        path: The file to write; replaced as a whole, by rename, when it is complete.
        class_name: One of :data:`slideprep.synthetic.recipe.CLASSES`.
        seed: Seed, or a tuple of them, such as (seed of the set, number of the slide).
        pen: Whether marker pen is drawn on it.
        size: How large; default 2 to 4 pieces of 1500 to 2200 px.

    Returns:
        ``path``.

    Raises:
        UsageError: The class does not exist.
    """
    pixels = render_slide(class_name=class_name, seed=seed, pen=pen, size=size)
    write_pyramid(path, pixels, title=path.stem)
    return path


def render_slide(
    *, class_name: str, seed: int | tuple[int, ...], pen: bool = False, size: SlideSize | None = None
) -> NDArray[np.uint8]:
    """Level 0 of one synthetic slide, (rows, columns, 3) uint8, 0.5 µm per pixel; see :func:`make_slide`."""
    return draw_slide(class_name=class_name, seed=seed, pen=pen, size=size).pixels


@dataclass(frozen=True, kw_only=True)
class DrawnSlide:
    """Level 0 of a slide, and what is planted in it."""

    pixels: NDArray[np.uint8]
    """(rows, columns, 3), 0.5 µm per pixel."""
    lesions: tuple[OutlinedLesion, ...]


def draw_slide(
    *,
    class_name: str,
    seed: int | tuple[int, ...],
    pen: bool = False,
    size: SlideSize | None = None,
    lesion_size: LesionSize | None = None,
    stain_shift: float = 0.0,
) -> DrawnSlide:
    """Draw one synthetic slide, of its class everywhere or in lesions alone; see :func:`make_slide`.

    Args:
        class_name: Of the whole slide or, with ``lesion_size``, of a lesion in each piece of normal tissue; a normal
            slide has none and is the same either way.
        seed: As in :func:`make_slide`. Around its lesions, a slide is the normal slide of the same seed, but for a
            few grey levels of diffuse stain.
        pen: Whether marker pen is drawn on it.
        size: How large it is.
        lesion_size: How large its lesions are; None for a slide without.
        stain_shift: As in :class:`Origin`; it moves no cell.

    Raises:
        UsageError: The class does not exist.
    """
    focal = lesion_size is not None and class_name != BACKGROUND_CLASS
    recipe = class_recipe(BACKGROUND_CLASS if focal else class_name)
    rng = np.random.default_rng(seed)
    style, stains, glass = draw_style(rng), draw_stains(rng, stain_shift), draw_glass(rng)
    slide_px, boxes = lay_out(rng, size or SlideSize())
    libraries = draw_libraries(rng, recipe, style)
    kind = _lesion_kind(class_name, seed, style, lesion_size) if focal and lesion_size else None
    lesions = []
    pixels = glass.image(slide_px)
    for box in boxes:
        piece = stain_piece(rng, (box.height // 2, box.width // 2), recipe, style, libraries, kind)
        if piece.lesion:
            outline_l0 = np.array([box.x, box.y]) + piece.lesion.outline_um / MPP
            lesions.append(
                OutlinedLesion(class_name=class_name, outline_l0=outline_l0, share=piece.lesion.share)
            )
        window = pixels[box.y : box.bottom, box.x : box.right]
        window[...] = transmitted(window, piece.hematoxylin, piece.eosin, stains)
    if pen:
        draw_pen(rng, pixels, boxes)
    draw_dust(rng, pixels, int(rng.integers(3, 15)))
    glass.add_grain(pixels)
    return DrawnSlide(pixels=pixels, lesions=tuple(lesions))


def _lesion_kind(
    class_name: str, seed: int | tuple[int, ...], style: SlideStyle, size: LesionSize
) -> LesionKind:
    entropy = (seed,) if isinstance(seed, int) else seed
    rng = np.random.default_rng((*entropy, _LESION_STREAM))
    recipe = class_recipe(class_name)
    return LesionKind(rng=rng, recipe=recipe, libraries=draw_libraries(rng, recipe, style), size=size)


def lay_out(rng: np.random.Generator, size: SlideSize) -> tuple[tuple[int, int], list[Box]]:
    """Place pieces in rows of at most two.

    Returns:
        The slide's (rows, columns), multiples of 64 so that five halvings are exact, and one box per piece in
        level-0 pixels, of even sides, none touching another.
    """
    count = int(rng.integers(size.pieces[0], size.pieces[1] + 1))
    boxes: list[Box] = []
    bottom, right = 0, 0
    for first in range(0, count, 2):
        row_bottom, x = bottom, 0
        for _ in range(first, min(first + 2, count)):
            width, height = (
                2 * (int(side) // 2) for side in rng.integers(size.piece_px[0], size.piece_px[1] + 1, 2)
            )
            gap_x, gap_y = (int(gap) for gap in rng.integers(size.margin_px[0], size.margin_px[1] + 1, 2))
            boxes.append(Box(x=x + gap_x, y=bottom + gap_y, width=width, height=height))
            x = boxes[-1].right
            row_bottom = max(row_bottom, boxes[-1].bottom)
        bottom, right = row_bottom, max(right, x)
    rows, columns = (64 * -(-(side + size.margin_px[1]) // 64) for side in (bottom, right))
    return (rows, columns), boxes


def write_pyramid(path: Path, pixels: NDArray[np.uint8], *, title: str, origin: Origin | None = None) -> None:
    """Write level 0 and its reductions by 2 as a tiled JPEG TIFF, through a temporary name beside ``path``.

    Args:
        path: The file to write.
        pixels: As drawn, (rows, columns, 3) uint8, 0.5 µm per pixel: level 0 of a scan at 20x.
        title: Goes into the description as the slide's name.
        origin: Whose scan it is; at 20x where None.
    """
    origin = origin or Origin()
    rows, columns = pixels.shape[:2]
    image = pyvips.Image.new_from_memory(pixels.data, columns, rows, 3, "uchar").copy(interpretation="srgb")
    if origin.enlarged > 1:
        image = image.resize(origin.enlarged, kernel="lanczos3")
    description = (
        f"Aperio-style description of a SYNTHETIC slide made by slideprep, not a patient's tissue\n"
        f"{image.width}x{image.height} ({_TILE_PX}x{_TILE_PX}) JPEG/YCbCr Q={_QUALITY}"
        f"|AppMag = {origin.objective}|MPP = {origin.mpp}|Title = {title} SYNTHETIC"
    )
    image.set_type(pyvips.GValue.gstr_type, "image-description", description)
    partial = path.with_name(path.name + ".partial")
    image.tiffsave(
        str(partial),
        compression="jpeg",
        Q=_QUALITY,
        tile=True,
        tile_width=_TILE_PX,
        tile_height=_TILE_PX,
        pyramid=True,
        xres=1000 / origin.mpp,
        yres=1000 / origin.mpp,
    )
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(path)
