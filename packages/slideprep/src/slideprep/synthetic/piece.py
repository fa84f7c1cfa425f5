"""One stained piece of tissue: its structure and its cells become the concentrations of two stains at 20x.

The diffuse stain is fitted here: in epithelium and in stroma apart, it makes up what the nuclei leave to the
light that the slide's style asks for. That is what keeps the classes alike where nuclei are not resolved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from slideprep.synthetic.cells import Cells, disc_library, stamp, stamp_library
from slideprep.synthetic.noise import Field, ramp, resized, smooth_noise
from slideprep.synthetic.population import epithelial_cells, lymphoid_cells, red_cells, spindle_cells
from slideprep.synthetic.recipe import ClassRecipe, SlideStyle
from slideprep.synthetic.tissue import Structure, build_structure

_RED = 0.62
"""Optical density per unit of hematoxylin in red light, where eosin hardly absorbs."""

_GIVE_WAY = np.float32(0.5)
"""Share of the nuclei's own density that diffuse hematoxylin yields around them: it sets how fast classes fade."""


@dataclass(frozen=True, kw_only=True)
class StampLibraries:
    """The slide's cells, drawn once: each (variants, side, side)."""

    epithelial: Field
    lymphoid: Field
    spindle: Field
    red: Field


def draw_libraries(rng: np.random.Generator, recipe: ClassRecipe, style: SlideStyle) -> StampLibraries:
    """Draw the stamps of every kind of cell of one slide."""
    return StampLibraries(
        epithelial=stamp_library(rng, recipe.epithelial, style.focus_um),
        lymphoid=stamp_library(rng, recipe.lymphoid, style.focus_um),
        spindle=stamp_library(rng, recipe.spindle, style.focus_um),
        red=disc_library(rng, 3.3, style.focus_um),
    )


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Stain of one piece at 20x: (rows, columns) concentrations, 0 where there is bare glass."""

    hematoxylin: Field
    eosin: Field


def stain_piece(
    rng: np.random.Generator,
    shape_um: tuple[int, int],
    recipe: ClassRecipe,
    style: SlideStyle,
    libraries: StampLibraries,
) -> Piece:
    """Make one piece of ``shape_um`` (rows, columns) µm; its fields have twice as many pixels a side."""
    structure = build_structure(rng, shape_um, recipe, style)
    nuclei, red = _stamped(rng, structure, recipe, style, libraries)
    epithelium = structure.epithelium * structure.tissue
    stroma = structure.tissue - epithelium
    nuclei_1um = _halved(nuclei)
    eosin = _eosin(rng, structure, style) * (1 - 0.55 * np.clip(nuclei_1um, 0, 1))
    diffuse = _diffuse(nuclei_1um, epithelium, style.epithelium_hematoxylin)
    diffuse += _diffuse(nuclei_1um, stroma, style.stroma_hematoxylin)
    diffuse *= 1 + np.float32(style.mottle) * smooth_noise(rng, shape_um, style.mottle_um)
    np.maximum(diffuse, 0, out=diffuse)
    mean = style.epithelium_eosin * epithelium + style.stroma_eosin * stroma
    scale = mean.sum() / max(float((eosin * structure.tissue).sum()), 1e-6)
    return _at_20x(rng, structure, diffuse, eosin * structure.tissue * np.float32(scale), nuclei, red)


def _stamped(
    rng: np.random.Generator,
    structure: Structure,
    recipe: ClassRecipe,
    style: SlideStyle,
    libraries: StampLibraries,
) -> tuple[Field, Field]:
    rows, columns = structure.tissue.shape
    nuclei = np.zeros((2 * rows, 2 * columns), dtype=np.float32)
    red = np.zeros_like(nuclei)
    stamped: list[tuple[Field, Field, Cells]] = [
        (nuclei, libraries.spindle, spindle_cells(rng, structure, recipe)),
        (nuclei, libraries.lymphoid, lymphoid_cells(rng, structure, recipe)),
        (nuclei, libraries.epithelial, epithelial_cells(rng, structure, recipe, style)),
        (red, libraries.red, red_cells(rng, structure)),
    ]
    for canvas, library, cells in stamped:
        stamp(canvas, library, cells, rng)
    return nuclei, red


def _halved(field: Field) -> Field:
    """Mean of each 2 x 2 block: 20x to 10x."""
    return 0.25 * (field[::2, ::2] + field[1::2, ::2] + field[::2, 1::2] + field[1::2, 1::2])


def _diffuse(nuclei: Field, where: Field, wanted: float) -> Field:
    """Diffuse hematoxylin that, with the nuclei, passes the red light that ``wanted`` alone would pass.

    It gives way around nuclei, as cytoplasm clears around them, so that not only the whole but also a neighbourhood
    of a few cells comes near ``wanted``.
    """
    passed = np.exp(np.float32(-np.log(10) * _RED) * nuclei)
    around = -np.log10(np.maximum(_blurred(passed), 1e-3)) / np.float32(_RED)
    local = np.maximum(np.float32(wanted) - _GIVE_WAY * around, 0.02)
    total = max(float(where.sum()), 1.0)
    mean = float((passed * np.exp(np.float32(-np.log(10) * _RED) * local) * where).sum()) / total
    excess = np.float32(wanted + np.log10(max(mean, 1e-3)) / _RED)
    return np.maximum(local + excess, 0.02) * where


def _blurred(field: Field) -> Field:
    """Mean over about 12 µm, computed at a quarter of the resolution for speed."""
    shape = (field.shape[0], field.shape[1])
    coarse = resized(field, (max(1, shape[0] // 4), max(1, shape[1] // 4)))
    return resized(ndimage.gaussian_filter(coarse, 1.2), shape)


def _eosin(rng: np.random.Generator, structure: Structure, style: SlideStyle) -> Field:
    """Relative eosin: fibrous stroma, dense muscle, granular epithelium with pale mucus at its apex."""
    shape = (structure.tissue.shape[0], structure.tissue.shape[1])
    fine = structure.fibres.texture(rng, length_px=45.0, width_px=2.6 * style.fibre_width)
    coarse = structure.fibres.texture(rng, length_px=120.0, width_px=11.0 * style.fibre_width)
    fibrous = 1 + np.float32(style.fibre_contrast) * (0.26 * fine + 0.24 * coarse)
    stroma = np.clip(fibrous, 0.12, 2.4) * (1 + 0.5 * structure.muscle)
    apical = ramp((structure.depth_um - 9) / 3)
    mucus = ramp(smooth_noise(rng, shape, 8.0) * 1.6 + np.float32(3.2 * style.goblet - 1.6)) * apical
    cells = (0.85 + 0.12 * smooth_noise(rng, shape, 2.5)) * (1 - 0.75 * mucus)
    membrane = np.exp(-((structure.depth_um + 0.8) ** 2))
    relative = stroma * (1 - structure.epithelium) + cells * structure.epithelium + 0.4 * membrane
    return np.asarray(relative, dtype=np.float32)


def _at_20x(
    rng: np.random.Generator,
    structure: Structure,
    hematoxylin: Field,
    eosin: Field,
    nuclei: Field,
    red: Field,
) -> Piece:
    """Bring the diffuse stains to 20x, add the cells, thicken folds, and give the section its unevenness."""
    shape_um = (structure.tissue.shape[0], structure.tissue.shape[1])
    shape = (nuclei.shape[0], nuclei.shape[1])
    thickness = (1 + 0.08 * smooth_noise(rng, shape_um, 150.0)) * (1 + 0.8 * structure.fold)
    total_h = resized(hematoxylin * thickness, shape)
    total_e = resized(eosin * thickness, shape)
    grain = smooth_noise(rng, (512, 512), 1.8)
    grain = np.tile(grain, (-(-shape[0] // 512), -(-shape[1] // 512)))[: shape[0], : shape[1]]
    total_e *= 1 + 0.10 * grain
    blocks = nuclei.reshape(shape_um[0], 2, shape_um[1], 2)
    blocks *= thickness[:, None, :, None]
    total_h += nuclei
    np.maximum(total_e, red * np.float32(0.62), out=total_e)
    return Piece(hematoxylin=np.maximum(total_h, 0), eosin=np.maximum(total_e, 0))
