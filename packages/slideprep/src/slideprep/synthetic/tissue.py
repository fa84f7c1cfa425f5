"""One piece of tissue without its cells: outline, glands, vessels, fibres, clefts, folds.

The grid is 10x (1 µm per pixel), so lengths in pixels and in micrometres are the same number; the origin is
the piece's top left corner, y downwards. Nothing here knows colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from slideprep.synthetic.noise import (
    Field,
    Flow,
    flow,
    fractal_noise,
    ramp,
    resized,
    scattered_points,
    smooth_noise,
)
from slideprep.synthetic.recipe import ClassRecipe, SlideStyle

_ANGLES = 256


@dataclass(frozen=True, kw_only=True)
class Ring:
    """A hollow round structure (gland or vessel): its outline around (x, y) and its wall's thickness."""

    x_um: float
    y_um: float
    outline_um: NDArray[np.float32]
    """Radius at 256 equally spaced angles."""
    wall_um: float


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The layout of a piece; every field is (rows, columns) at 1 µm per pixel, shares are 0..1."""

    cover: Field
    """Share of the pixel within the piece's outline."""
    tissue: Field
    """Share of the pixel covered by tissue; holes, lumens and clefts are 0."""
    epithelium: Field
    depth_um: Field
    """Distance inwards from the nearest gland's outline; negative outside."""
    muscle: Field
    """Share of dense smooth muscle, where no glands lie."""
    fold: Field
    fibres: Flow
    glands: list[Ring]
    vessels: list[Ring]


def build_structure(
    rng: np.random.Generator, shape: tuple[int, int], recipe: ClassRecipe, style: SlideStyle
) -> Structure:
    """Lay out one piece of tissue of ``shape`` (rows, columns) micrometres."""
    cover = outline(rng, shape)
    muscle = ramp(smooth_noise(rng, shape, 260.0) * 2.5 - 2.6)
    fibres = flow(rng, shape, wave_px=170.0, bend=0.19)
    glands = place_glands(rng, cover, muscle, recipe, style)
    depth_um, lumen_um = _depths(shape, glands)
    vessels = place_vessels(rng, cover, depth_um)
    _, vessel_um = _depths(shape, vessels)
    holes = np.maximum(ramp(lumen_um / 2 + 0.5), ramp(vessel_um / 2 + 0.5))
    epithelium = ramp(depth_um / 1.5 + 0.5) * (1 - ramp(lumen_um / 1.5 + 0.5))
    clefts = _clefts(rng, fibres, style) * (1 - ramp(depth_um / 4 + 1.2))
    return Structure(
        cover=cover,
        tissue=cover * (1 - holes) * (1 - clefts),
        epithelium=epithelium,
        depth_um=depth_um,
        muscle=muscle,
        fold=_fold(rng, shape),
        fibres=fibres,
        glands=glands,
        vessels=vessels,
    )


def outline(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Cover (0..1) of one connected, organic, ragged piece that fills most of ``shape``."""
    y = np.linspace(-1.08, 1.08, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1.08, 1.08, shape[1], dtype=np.float32)[None, :]
    power = np.float32(rng.uniform(2.0, 3.4))
    level = 0.82 - (np.abs(x) ** power + np.abs(y) ** power)
    level += 0.26 * fractal_noise(rng, shape, min(shape) / 3.0, 4) + 0.06 * fractal_noise(rng, shape, 14.0, 3)
    # The noise must not carry tissue to the box's border, where it would be cut straight.
    near_border = np.maximum(np.abs(x), np.abs(y)) / 1.08
    level -= 6 * np.clip(near_border - 0.86, 0, None)
    return ramp(level * 11 + 0.5) * _largest_part(level > 0)


def _largest_part(mask: NDArray[np.bool_]) -> Field:
    """1 near the mask's largest connected part and 0 elsewhere; found at a quarter of the resolution."""
    small = mask[::4, ::4]
    labels, count = ndimage.label(small)
    if count <= 1:
        return np.ones(mask.shape, dtype=np.float32)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    keep = ndimage.binary_dilation(labels == sizes.argmax(), iterations=3)
    return np.clip(resized(keep.astype(np.float32), mask.shape), 0, 1)


def bumpy_outline(rng: np.random.Generator, radius_um: float, irregularity: float, stretch: float) -> Field:
    """Radius at 256 angles of an ellipse-like outline: ``stretch`` is its axes' ratio."""
    theta = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    turn = rng.uniform(0, np.pi)
    axes = np.array([np.sqrt(stretch), 1 / np.sqrt(stretch)])
    radius = radius_um / np.hypot(np.cos(theta - turn) / axes[0], np.sin(theta - turn) / axes[1])
    bumps = sum(
        irregularity * rng.normal() * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) / np.sqrt(k / 2)
        for k in (2, 3, 4, 5)
    )
    return np.asarray(radius * np.clip(1 + bumps, 0.55, 1.5), dtype=np.float32)


def place_glands(
    rng: np.random.Generator, cover: Field, muscle: Field, recipe: ClassRecipe, style: SlideStyle
) -> list[Ring]:
    """Glands on a shaken grid wherever there is tissue enough around and no muscle."""
    irregularity = recipe.gland_irregularity * style.gland_irregularity
    pitch = 2 * style.gland_radius_um + style.gland_gap_um
    x, y = scattered_points(rng, cover.shape, pitch, shake=0.17)
    solid = ndimage.uniform_filter(cover[::4, ::4], size=max(1, int(pitch / 6)))
    rings = []
    for gland_x, gland_y in zip(x, y, strict=True):
        row, column = int(gland_y) // 4, int(gland_x) // 4
        if solid[row, column] < 0.93 or muscle[int(gland_y), int(gland_x)] > 0.3 or rng.random() < 0.07:
            continue
        radius = style.gland_radius_um * rng.uniform(0.78, 1.08)
        rings.append(
            Ring(
                x_um=gland_x,
                y_um=gland_y,
                outline_um=bumpy_outline(rng, radius, irregularity, rng.uniform(1.0, 1.5)),
                wall_um=style.cell_height_um * rng.uniform(0.85, 1.15),
            )
        )
    return rings


def place_vessels(rng: np.random.Generator, cover: Field, gland_depth_um: Field) -> list[Ring]:
    """Vessels and fat cells between the glands: open rings with a thin wall."""
    x, y = scattered_points(rng, cover.shape, 70.0)
    rows, columns = y.astype(int), x.astype(int)
    free = (gland_depth_um[rows, columns] < -9) & (cover[rows, columns] > 0.95) & (rng.random(len(x)) < 0.5)
    rings = []
    for vessel_x, vessel_y, depth in zip(
        x[free], y[free], gland_depth_um[rows[free], columns[free]], strict=True
    ):
        radius = min(rng.uniform(4, 16), -0.8 * depth)
        rings.append(
            Ring(
                x_um=vessel_x,
                y_um=vessel_y,
                outline_um=bumpy_outline(rng, radius, 0.08, rng.uniform(1.0, 2.6)),
                wall_um=1.5,
            )
        )
    return rings


def _depths(shape: tuple[int, int], rings: list[Ring]) -> tuple[Field, Field]:
    """Distance inwards from the outlines and the inner walls of rings, the largest where they overlap."""
    depth = np.full(shape, -40, dtype=np.float32)
    lumen = np.full(shape, -40, dtype=np.float32)
    for ring in rings:
        reach = int(ring.outline_um.max()) + 16
        top, left = max(0, int(ring.y_um) - reach), max(0, int(ring.x_um) - reach)
        window = np.s_[top : int(ring.y_um) + reach, left : int(ring.x_um) + reach]
        rows, columns = depth[window].shape
        dy = np.arange(top, top + rows, dtype=np.float32)[:, None] - np.float32(ring.y_um)
        dx = np.arange(left, left + columns, dtype=np.float32)[None, :] - np.float32(ring.x_um)
        sector = (np.arctan2(dy, dx) * np.float32(_ANGLES / (2 * np.pi))).astype(np.int32) % _ANGLES
        inward = ring.outline_um[sector] - np.hypot(dx, dy)
        np.maximum(depth[window], inward, out=depth[window])
        np.maximum(lumen[window], inward - np.float32(ring.wall_um), out=lumen[window])
    return depth, lumen


def _clefts(rng: np.random.Generator, fibres: Flow, style: SlideStyle) -> Field:
    """White slits along the fibres, where the stroma has shrunk apart."""
    slits = fibres.texture(rng, length_px=60.0, width_px=9.0)
    return ramp((slits - np.float32(2.3 - 0.9 * style.cleft)) * 2.2)


def _fold(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """A band where the section lies double, on one piece in six; 1 in its middle."""
    if rng.random() > 1 / 6:
        return np.zeros(shape, dtype=np.float32)
    bent = flow(rng, shape, wave_px=260.0, bend=0.12)
    offset = (
        bent.across
        - bent.across[shape[0] // 2, shape[1] // 2]
        - np.float32(rng.uniform(-0.2, 0.2) * min(shape))
    )
    return ramp(1.6 - np.abs(offset) / np.float32(rng.uniform(8, 20)))
