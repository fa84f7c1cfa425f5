"""Overviews with marker ink whose tissue is known, for ``ink.py``: synthetic slides, as drawn and with harder strokes.

Every case comes with the same picture without ink and the mask of each piece. ``pens`` are the slides of ``slideprep
synthesize --slides 80 --unlabelled 72 --piece-px 560 680`` that bear its own pens. ``strokes`` are the same slides with
one harder stroke for each piece. ``large`` are painted pieces of 1.5 to 4 mm under pens of 0.3 to 3 mm. Strokes are
drawn at a quarter or half of the overview's pixel size, and absorb like a stain: tissue shows through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from slideprep.synthetic.dataset import PlannedSlide, plan_slides
from slideprep.synthetic.glass import draw_glass, draw_stains, transmitted
from slideprep.synthetic.noise import smooth_noise
from slideprep.synthetic.recipe import CLASSES, draw_style
from slideprep.synthetic.slide import MPP, SlideSize, draw_slide, lay_out

OVERVIEW_MPP = 16.0
DEMO = SlideSize(piece_px=(560, 680))
KINDS = ("ring", "line through", "dots", "along the edge", "half covered", "joining two")

INKS = {
    "blue": (0.90, 0.55, 0.14),
    "green": (0.80, 0.26, 0.50),
    "red": (0.08, 0.93, 0.80),
    "black": (0.76, 0.75, 0.70),
}
"""Optical density (base 10) of one stroke: between those of the synthesiser and those measured on scanned markers."""

LEAST_PIECE_PX = 200
"""0.051 mm²: smaller pieces are no regions on a clean slide either."""

Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One overview, (rows, columns, 3) uint8 at :data:`OVERVIEW_MPP`, and what is on it."""

    name: str
    group: str
    inked: Pixels
    clean: Pixels
    pieces: list[Mask]

    @property
    def tissue(self) -> Mask:
        """Whatever takes away 5 % of the green light without ink."""
        return _stained(self.clean)


def pens(seed: int) -> Iterator[Case]:
    """The inked slides of a demo, as the synthesiser draws them."""
    for slide in _planned(seed):
        if slide.pen:
            inked = draw_slide(class_name=slide.class_name, seed=slide.seed, pen=True, size=DEMO).pixels
            level0, pieces = _clean(slide)
            yield Case(
                name=slide.name,
                group="its own pens",
                inked=_averaged(inked, OVERVIEW_MPP / MPP),
                clean=_averaged(level0, OVERVIEW_MPP / MPP),
                pieces=pieces,
            )


def strokes(seed: int) -> Iterator[Case]:
    """Every eighth slide of a demo, with each kind of stroke in one colour: all four colours take turns."""
    for number, slide in enumerate(s for s in _planned(seed) if s.pen):
        if number % 2:
            continue
        level0, pieces = _clean(slide)
        fine = _averaged(level0, 4 / MPP)
        for kind in KINDS:
            rng = np.random.default_rng((seed, number, KINDS.index(kind)))
            ink = list(INKS)[(number // 2 + KINDS.index(kind)) % 4]
            drawn = _with_strokes(rng, fine, pieces, kind, ink, fine_mpp=4.0, width_um=(40, 120))
            yield Case(
                name=f"{slide.name}, {kind}, {ink}",
                group=kind,
                inked=_averaged(drawn, OVERVIEW_MPP / 4),
                clean=_averaged(fine, OVERVIEW_MPP / 4),
                pieces=pieces,
            )


def large(seed: int) -> Iterator[Case]:
    """Painted pieces of 1.5 to 4 mm, each kind of stroke in each colour, pens of 0.3 to 3 mm."""
    for kind in KINDS:
        for ink in INKS:
            rng = np.random.default_rng((seed, 99, KINDS.index(kind), list(INKS).index(ink)))
            fine, pieces = _painted(rng)
            drawn = _with_strokes(rng, fine, pieces, kind, ink, fine_mpp=8.0, width_um=(300, 3000))
            yield Case(
                name=f"large, {kind}, {ink}",
                group=f"large, {kind}",
                inked=_averaged(drawn, OVERVIEW_MPP / 8),
                clean=_averaged(fine, OVERVIEW_MPP / 8),
                pieces=pieces,
            )


def _planned(seed: int) -> list[PlannedSlide]:
    return plan_slides(n_slides=80, unlabelled=72, classes=tuple(CLASSES), seed=seed)


def _clean(slide: PlannedSlide) -> tuple[Pixels, list[Mask]]:
    """Level 0 without ink, and the mask of each piece at overview size: what takes away 5 % of the green light."""
    pixels = draw_slide(class_name=slide.class_name, seed=slide.seed, pen=False, size=DEMO).pixels
    rng = np.random.default_rng(slide.seed)
    draw_style(rng), draw_stains(rng), draw_glass(rng)
    _, boxes = lay_out(rng, DEMO)
    overview = _averaged(pixels, OVERVIEW_MPP / MPP)
    stained = _stained(overview)
    pieces, step = [], OVERVIEW_MPP / MPP
    for box in boxes:
        inside = np.zeros_like(stained)
        rows = slice(int(box.y / step), int(box.bottom / step) + 1)
        inside[rows, int(box.x / step) : int(box.right / step) + 1] = True
        piece = _largest(stained & inside)
        if piece.sum() >= LEAST_PIECE_PX:
            pieces.append(piece)
    return pixels, pieces


def _stained(overview: Pixels) -> Mask:
    mask: Mask = np.log(243 / np.maximum(overview[..., 1], 1)) > 0.05
    return mask


def _largest(mask: Mask) -> Mask:
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    filled: Mask = ndimage.binary_fill_holes(labels == sizes.argmax())
    return filled


def _averaged(pixels: Pixels, factor: float) -> Pixels:
    step = int(factor)
    rows, columns = pixels.shape[0] // step, pixels.shape[1] // step
    blocks = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _painted(rng: np.random.Generator) -> tuple[Pixels, list[Mask]]:
    """Two or three pieces with uneven outlines and texture on 14 x 11 mm of glass, 8 µm per pixel."""
    shape = (1376, 1760)
    style, stains, glass = draw_style(rng), draw_stains(rng), draw_glass(rng)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    haematoxylin, eosin = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    pieces = []
    for column in range(int(rng.integers(2, 4))):
        centre = rng.uniform(0.35, 0.65) * shape[0], (column + 0.5) / 3 * shape[1]
        half = rng.uniform(95, 230, 2)
        outline = np.hypot((y - centre[0]) / half[0], (x - centre[1]) / half[1])
        inside = outline + 0.12 * smooth_noise(rng, shape, 60.0) < 1
        haematoxylin[inside] = style.stroma_hematoxylin
        eosin[inside] = style.stroma_eosin
        pieces.append(inside)
    for stain, cell in ((haematoxylin, 5.0), (eosin, 9.0)):
        stain *= np.clip(1 + 0.4 * smooth_noise(rng, shape, cell), 0.2, 2.5)
    pixels = transmitted(glass.image(shape), haematoxylin, eosin, stains)
    glass.add_grain(pixels)
    return pixels, [_largest(piece.reshape(688, 2, 880, 2).mean(axis=(1, 3)) > 0.5) for piece in pieces]


def _with_strokes(
    rng: np.random.Generator,
    fine: Pixels,
    pieces: list[Mask],
    kind: str,
    ink: str,
    *,
    fine_mpp: float,
    width_um: tuple[float, float],
) -> Pixels:
    """The picture with a stroke of one kind for each piece: pale to dark, thin to thick, its hue a little off."""
    zoom = OVERVIEW_MPP / fine_mpp
    where = np.zeros(fine.shape[:2], dtype=np.float32)
    for number, piece in enumerate(pieces):
        rows, columns = np.nonzero(piece)
        centre = np.array([rows.mean(), columns.mean()]) * zoom
        half = np.array([np.ptp(rows), np.ptp(columns)]) / 2 * zoom
        width = np.exp(rng.uniform(*np.log(width_um))) / fine_mpp
        other = pieces[(number + 1) % len(pieces)]
        beyond = np.array([axis.mean() for axis in np.nonzero(other)]) * zoom
        path, thickest = _path(rng, kind, centre, half, beyond)
        width = min(width, thickest)
        for points in path:
            where = np.maximum(where, _stroke(where.shape, points, width))
    where = ndimage.gaussian_filter(where, 12 / fine_mpp)
    streaks = np.clip(1 + 0.2 * smooth_noise(rng, where.shape, (20 / fine_mpp, 100 / fine_mpp)), 0.3, 1.6)
    hue = np.array(INKS[ink]) * np.exp(rng.normal(0, 0.08, 3))
    density = (where * streaks * rng.uniform(0.6, 1.6))[..., None] * hue
    return np.clip(np.rint(fine * 10.0**-density), 3, 255).astype(np.uint8)


def _path(
    rng: np.random.Generator, kind: str, centre: Floats, half: Floats, beyond: Floats
) -> tuple[list[Floats], float]:
    """Polylines of (row, column) points, and the widest pen that this kind is drawn with; pixels."""
    turn = rng.uniform(0, np.pi)
    along = np.array([np.sin(turn), np.cos(turn)])
    across, least = along[::-1] * [1, -1], float(half.min())
    if kind == "ring":
        theta = np.linspace(0, 2 * np.pi, 60)
        circle = np.stack([np.sin(theta), np.cos(theta)], axis=1) * half
        return [centre + rng.uniform(1.0, 1.25) * circle], 0.5 * least
    if kind == "line through":
        shift = rng.uniform(-0.5, 0.5) * least * across
        return [
            centre + shift + along * 1.6 * half.max() * t for t in [np.linspace(-1, 1, 9)[:, None]]
        ], least
    if kind == "dots":
        spots = centre + rng.uniform(-0.6, 0.6, (3, 2)) * half
        return [np.stack([spot, spot + 0.1]) for spot in spots], 0.7 * least
    if kind == "along the edge":
        side = centre + across * least
        return [side + along * 1.2 * half.max() * np.linspace(-1, 1, 9)[:, None]], 0.6 * least
    if kind == "half covered":
        side = centre + across * rng.uniform(0.4, 0.6) * least
        return [side + along * 1.2 * half.max() * np.linspace(-1, 1, 9)[:, None]], 1.0 * least
    return [centre + (beyond - centre) * np.linspace(0.0, 1.0, 9)[:, None]], 0.7 * least


def _stroke(shape: tuple[int, int], points: Floats, width_px: float) -> Floats:
    """1 within half of ``width_px`` of a polyline of (row, column) points, 0 elsewhere."""
    canvas = Image.new("L", (shape[1], shape[0]))
    draw = ImageDraw.Draw(canvas)
    flat = [(float(x), float(y)) for y, x in points]
    draw.line(flat, fill=1, width=max(1, round(width_px)), joint="curve")
    for x, y in flat:
        draw.ellipse([x - width_px / 2, y - width_px / 2, x + width_px / 2, y + width_px / 2], fill=1)
    return np.asarray(canvas, dtype=np.float32)
