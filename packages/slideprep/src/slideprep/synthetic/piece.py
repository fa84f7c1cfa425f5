"""One stained piece of tissue: its structure and its cells become the concentrations of two stains at 20x.

The diffuse stain is fitted here: in epithelium and in stroma apart, it makes up what the nuclei leave to the
light that the slide's style asks for. That is what keeps the classes alike where nuclei are not resolved. In a piece
with a lesion, inside and outside are fitted apart as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from slideprep.synthetic.cells import Cells, disc_library, stamp, stamp_library
from slideprep.synthetic.lesion import Lesion, LesionSize, place_lesion
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
    lesion: Lesion | None = None


@dataclass(frozen=True, kw_only=True)
class LesionKind:
    """What the lesions of a slide are like."""

    rng: np.random.Generator
    """Draws nothing but lesions, so that around them a slide is as it would be without them."""
    recipe: ClassRecipe
    libraries: StampLibraries
    """Cells of ``recipe``."""
    size: LesionSize


def stain_piece(
    rng: np.random.Generator,
    shape_um: tuple[int, int],
    recipe: ClassRecipe,
    style: SlideStyle,
    libraries: StampLibraries,
    kind: LesionKind | None = None,
) -> Piece:
    """Make one piece of ``shape_um`` (rows, columns) µm; its fields have twice as many pixels a side.

    Args:
        rng: Source of randomness.
        shape_um: Rows and columns.
        recipe: Recipe of the piece, outside a lesion.
        style: The slide's.
        libraries: Cells of ``recipe``.
        kind: Plants one lesion; None for a piece that is the same everywhere.
    """
    structure = build_structure(rng, shape_um, recipe, style)
    lesion = place_lesion(kind.rng, structure, kind.size) if kind else None
    nuclei, red = _stamped(rng, structure, recipe, style, libraries, lesion)
    if kind and lesion:
        _stamp_lesion(nuclei, structure, style, kind, lesion)
    zones = _zones(lesion)
    epithelium = structure.epithelium * structure.tissue
    stroma = structure.tissue - epithelium
    nuclei_1um = _halved(nuclei)
    eosin = _eosin(rng, structure, style) * (1 - 0.55 * np.clip(nuclei_1um, 0, 1))
    diffuse = np.zeros(shape_um, dtype=np.float32)
    for zone in zones:
        diffuse += _diffuse(nuclei_1um, epithelium * zone, style.epithelium_hematoxylin)
        diffuse += _diffuse(nuclei_1um, stroma * zone, style.stroma_hematoxylin)
    diffuse *= 1 + np.float32(style.mottle) * smooth_noise(rng, shape_um, style.mottle_um)
    np.maximum(diffuse, 0, out=diffuse)
    mean = style.epithelium_eosin * epithelium + style.stroma_eosin * stroma
    eosin = _fitted(eosin * structure.tissue, mean, zones)
    hematoxylin, eosin = _at_20x(rng, structure, diffuse, eosin, nuclei, red)
    return Piece(hematoxylin=hematoxylin, eosin=eosin, lesion=lesion)


def _zones(lesion: Lesion | None) -> list[Field]:
    """Shares, adding up to 1, of the parts whose diffuse stain is fitted by itself."""
    return [np.ones((1, 1), dtype=np.float32)] if lesion is None else [1 - lesion.inside, lesion.inside]


def _fitted(stain: Field, mean: NDArray[np.floating], zones: list[Field]) -> Field:
    """``stain``, scaled in each zone to the sum of ``mean`` there."""
    fitted = np.zeros_like(stain)
    for zone in zones:
        part = stain * zone
        fitted += part * np.float32((mean * zone).sum() / max(float(part.sum()), 1e-6))
    return fitted


def _stamped(
    rng: np.random.Generator,
    structure: Structure,
    recipe: ClassRecipe,
    style: SlideStyle,
    libraries: StampLibraries,
    lesion: Lesion | None,
) -> tuple[Field, Field]:
    """Nuclei, those of a lesion left out, and red blood cells."""
    rows, columns = structure.tissue.shape
    nuclei = np.zeros((2 * rows, 2 * columns), dtype=np.float32)
    red = np.zeros_like(nuclei)
    nuclear = _nuclear_cells(rng, structure, recipe, style, libraries)
    blood = red_cells(rng, structure)
    for library, cells in nuclear:
        stamp(nuclei, library, cells, rng, wanted=~lesion.holds(cells) if lesion else None)
    stamp(red, libraries.red, blood, rng)
    return nuclei, red


def _stamp_lesion(
    nuclei: Field, structure: Structure, style: SlideStyle, kind: LesionKind, lesion: Lesion
) -> None:
    """Add the lesion's own nuclei, in place: those of a piece that is like it everywhere, cut out."""
    for library, cells in _nuclear_cells(kind.rng, structure, kind.recipe, style, kind.libraries):
        stamp(nuclei, library, cells, kind.rng, wanted=lesion.holds(cells))


def _nuclear_cells(
    rng: np.random.Generator,
    structure: Structure,
    recipe: ClassRecipe,
    style: SlideStyle,
    libraries: StampLibraries,
) -> list[tuple[Field, Cells]]:
    """Every kind of nucleus: its stamps, and where its cells lie."""
    return [
        (libraries.spindle, spindle_cells(rng, structure, recipe)),
        (libraries.lymphoid, lymphoid_cells(rng, structure, recipe)),
        (libraries.epithelial, epithelial_cells(rng, structure, recipe, style)),
    ]


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
) -> tuple[Field, Field]:
    """Both stains, hematoxylin first: bring what is diffuse to 20x, add cells, thicken folds, make it uneven."""
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
    return np.maximum(total_h, 0), np.maximum(total_e, 0)
