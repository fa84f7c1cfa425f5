"""Where the cells of a piece lie: along the glands, scattered in the stroma, inside vessels.

Positions are micrometres from the piece's top left corner, y downwards; directions are radians from the x
axis.
"""

from __future__ import annotations

import numpy as np

from slideprep.synthetic.cells import Cells, Points
from slideprep.synthetic.noise import Field, scattered_points, smooth_noise
from slideprep.synthetic.recipe import ClassRecipe, SlideStyle
from slideprep.synthetic.tissue import Ring, Structure


def epithelial_cells(
    rng: np.random.Generator, structure: Structure, recipe: ClassRecipe, style: SlideStyle
) -> Cells:
    """Nuclei that line the glands near their base, long axis towards the lumen, in one layer or more."""
    return _kept(
        _joined([_lining(rng, gland, recipe, style.basal_um) for gland in structure.glands]), structure.tissue
    )


def _lining(rng: np.random.Generator, gland: Ring, recipe: ClassRecipe, basal_um: float) -> Cells:
    nucleus = recipe.epithelial
    mean_radius = float(gland.outline_um.mean())
    count = max(3, int(2 * np.pi * mean_radius / recipe.epithelial_spacing_um))
    theta = (np.arange(count) + rng.uniform(-0.22, 0.22, count)) * 2 * np.pi / count
    in_second = rng.random(count) < recipe.layers - 1
    theta = np.concatenate([theta, theta[in_second] + np.pi / count])
    layer = np.repeat([0.0, 1.0], [count, int(in_second.sum())])
    step = min(1.5 * nucleus.length_um, gland.wall_um - 2.2 * nucleus.length_um)
    scatter = nucleus.length_um * (0.18 + 0.5 * (recipe.layers - 1))
    depth = basal_um + nucleus.length_um + layer * max(step, 2.0) + np.abs(rng.normal(0, scatter, len(theta)))
    outline = gland.outline_um[
        (theta / (2 * np.pi) * len(gland.outline_um)).astype(int) % len(gland.outline_um)
    ]
    depth = np.minimum(depth, gland.wall_um - 0.85 * nucleus.length_um)
    radius = np.maximum(outline - depth, 0.0)
    tilt = rng.normal(0, 0.12 + 0.8 * (recipe.layers - 1), len(theta))
    return Cells(
        x_um=gland.x_um + radius * np.cos(theta), y_um=gland.y_um + radius * np.sin(theta), angle=theta + tilt
    )


def lymphoid_cells(rng: np.random.Generator, structure: Structure, recipe: ClassRecipe) -> Cells:
    """Small round nuclei scattered in the stroma, in drifts, few of them in muscle."""
    shape = structure.tissue.shape
    crowd = np.clip(1 + 0.55 * smooth_noise(rng, (shape[0], shape[1]), 90.0), 0.15, 2.0)
    density = recipe.lymphoid_per_mm2 * crowd * (1 - 0.6 * structure.muscle)
    cells = _scattered(rng, structure, density, spacing_um=6.3)
    return Cells(x_um=cells.x_um, y_um=cells.y_um, angle=rng.uniform(0, np.pi, len(cells.x_um)))


def spindle_cells(rng: np.random.Generator, structure: Structure, recipe: ClassRecipe) -> Cells:
    """Thin nuclei that lie along the fibres of stroma and muscle, and around vessels."""
    density = recipe.spindle_per_mm2 * (1 + structure.muscle)
    cells = _scattered(rng, structure, density, spacing_um=11.0)
    angle = structure.fibres.angle_at(cells.x_um, cells.y_um) + rng.normal(0, 0.2, len(cells.x_um))
    walls = _kept(
        _joined([_endothelium(rng, vessel) for vessel in structure.vessels]), structure.tissue, least=0.1
    )
    return _joined([Cells(x_um=cells.x_um, y_um=cells.y_um, angle=angle), walls])


def _endothelium(rng: np.random.Generator, vessel: Ring) -> Cells:
    outline = vessel.outline_um
    theta = rng.uniform(0, 2 * np.pi, max(2, int(float(outline.mean()) * 0.35)))
    radius = outline[(theta / (2 * np.pi) * len(outline)).astype(int)] + 0.6
    return Cells(
        x_um=vessel.x_um + radius * np.cos(theta),
        y_um=vessel.y_um + radius * np.sin(theta),
        angle=theta + np.pi / 2,
    )


def red_cells(rng: np.random.Generator, structure: Structure) -> Cells:
    """Red blood cells that fill some of the vessels."""
    groups = []
    for vessel in structure.vessels:
        if rng.random() < 0.5:
            continue
        inner = float(vessel.outline_um.min()) - 2.0
        count = int(max(inner, 0) ** 2 * 0.05)
        theta, radius = rng.uniform(0, 2 * np.pi, count), inner * np.sqrt(rng.random(count))
        groups.append(
            Cells(
                x_um=vessel.x_um + radius * np.cos(theta),
                y_um=vessel.y_um + radius * np.sin(theta),
                angle=theta,
            )
        )
    return _joined(groups)


def _scattered(
    rng: np.random.Generator, structure: Structure, density_per_mm2: Field, *, spacing_um: float
) -> Cells:
    """Stroma cells at a local density, at most one per grid node of ``spacing_um``."""
    shape = (structure.tissue.shape[0], structure.tissue.shape[1])
    x, y = scattered_points(rng, shape, spacing_um)
    rows, columns = y.astype(int), x.astype(int)
    chance = density_per_mm2[rows, columns] * spacing_um**2 / 1e6
    keep = (rng.random(len(x)) < chance) & (structure.depth_um[rows, columns] < -2.0)
    return _kept(Cells(x_um=x[keep], y_um=y[keep], angle=np.zeros(int(keep.sum()))), structure.tissue)


def _kept(cells: Cells, tissue: Field, *, least: float = 0.7) -> Cells:
    """The cells whose centre is covered by tissue."""
    rows = np.clip(cells.y_um.astype(int), 0, tissue.shape[0] - 1)
    columns = np.clip(cells.x_um.astype(int), 0, tissue.shape[1] - 1)
    keep = tissue[rows, columns] > least
    return Cells(x_um=cells.x_um[keep], y_um=cells.y_um[keep], angle=cells.angle[keep])


def _joined(groups: list[Cells]) -> Cells:
    def join(parts: list[Points]) -> Points:
        return np.concatenate([np.zeros(0), *parts])

    return Cells(
        x_um=join([g.x_um for g in groups]),
        y_um=join([g.y_um for g in groups]),
        angle=join([g.angle for g in groups]),
    )
