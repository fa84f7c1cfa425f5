"""What the classes of synthetic tissue differ in, and what every slide draws at random whatever its class.

The classes differ in their nuclei (size, density, arrangement) and in how regular their glands are. All else,
stain, thickness, size and spacing of the glands, fibres, holes, folds, focus, is drawn for each slide from
the same distributions for every class. The diffuse stain between the nuclei is then set so that epithelium
and stroma each transmit the light that the *slide* asks for, not the class: what tells the classes apart is a
few micrometres wide, and fades as the magnification falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slideprep.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class NucleusRecipe:
    """One kind of nucleus: lengths are half-axes in micrometres."""

    length_um: float
    width_um: float
    size_spread: float
    """Standard deviation of the size, relative to the mean (anisokaryosis)."""
    irregularity: float
    """Amplitude of the outline's bumps, relative to the radius."""
    hematoxylin: float
    """Stain in the nucleus, in units of optical density."""
    vesicular: float
    """How far the chromatin withdraws to the rim: 0 is a uniformly dark nucleus, 1 a ring with nucleoli."""


@dataclass(frozen=True, kw_only=True)
class ClassRecipe:
    """The micro-architecture of one class."""

    epithelial: NucleusRecipe
    lymphoid: NucleusRecipe
    spindle: NucleusRecipe
    epithelial_spacing_um: float
    """Distance between neighbouring nuclei along the basement membrane."""
    layers: float
    """Mean number of layers of nuclei in the epithelium; above 1 is pseudo-stratified."""
    lymphoid_per_mm2: float
    spindle_per_mm2: float
    gland_irregularity: float
    """Amplitude of the gland outline's bumps, relative to its radius."""


_LYMPHOID = NucleusRecipe(
    length_um=2.7, width_um=2.5, size_spread=0.08, irregularity=0.03, hematoxylin=0.95, vesicular=0.0
)
_SPINDLE = NucleusRecipe(
    length_um=6.0, width_um=1.5, size_spread=0.2, irregularity=0.05, hematoxylin=0.70, vesicular=0.0
)
_COLUMNAR = NucleusRecipe(
    length_um=4.2, width_um=2.5, size_spread=0.10, irregularity=0.03, hematoxylin=0.80, vesicular=0.15
)

CLASSES: dict[str, ClassRecipe] = {
    "normal": ClassRecipe(
        epithelial=_COLUMNAR,
        lymphoid=_LYMPHOID,
        spindle=_SPINDLE,
        epithelial_spacing_um=6.0,
        layers=1.0,
        lymphoid_per_mm2=1500,
        spindle_per_mm2=2000,
        gland_irregularity=0.05,
    ),
    "inflamed": ClassRecipe(
        epithelial=_COLUMNAR,
        lymphoid=_LYMPHOID,
        spindle=_SPINDLE,
        epithelial_spacing_um=6.0,
        layers=1.0,
        lymphoid_per_mm2=10000,
        spindle_per_mm2=1600,
        gland_irregularity=0.05,
    ),
    "atypical": ClassRecipe(
        epithelial=NucleusRecipe(
            length_um=6.6, width_um=4.5, size_spread=0.25, irregularity=0.10, hematoxylin=0.72, vesicular=0.7
        ),
        lymphoid=_LYMPHOID,
        spindle=NucleusRecipe(
            length_um=7.0, width_um=2.6, size_spread=0.25, irregularity=0.08, hematoxylin=0.65, vesicular=0.3
        ),
        epithelial_spacing_um=9.6,
        layers=1.35,
        lymphoid_per_mm2=1500,
        spindle_per_mm2=1600,
        gland_irregularity=0.08,
    ),
}
"""The classes by name: regular glands; the same glands among dense lymphocytes; crowded large nuclei."""


def class_recipe(name: str) -> ClassRecipe:
    """The recipe of a class.

    Raises:
        UsageError: There is no such class.
    """
    if name not in CLASSES:
        raise UsageError(f"there is no class '{name}' of synthetic tissue; choose from {', '.join(CLASSES)}")
    return CLASSES[name]


@dataclass(frozen=True, kw_only=True)
class SlideStyle:
    """What a slide draws at random whatever its class: preparation, stain and scanner."""

    epithelium_hematoxylin: float
    """Mean diffuse-equivalent hematoxylin of the epithelium, nuclei included (optical density)."""
    stroma_hematoxylin: float
    """Mean diffuse-equivalent hematoxylin of the stroma (optical density)."""
    epithelium_eosin: float
    stroma_eosin: float
    gland_radius_um: float
    gland_gap_um: float
    goblet: float
    """Share of the epithelium's apical half that is taken by mucus."""
    fibre_contrast: float
    cleft: float
    """How readily the stroma splits into white slits: 0 rarely, 1 often."""
    fibre_width: float
    """Width of fibres, relative to the usual."""
    gland_irregularity: float
    """Irregularity of glands, relative to what the class asks for."""
    cell_height_um: float
    """Height of the epithelium."""
    basal_um: float
    """Clear cytoplasm between the basement membrane and the nuclei."""
    mottle: float
    """Strength of uneven diffuse hematoxylin, relative to its mean."""
    mottle_um: float
    """Width of its patches."""
    focus_um: float
    """Width of the blur at edges of nuclei."""


def draw_style(rng: np.random.Generator) -> SlideStyle:
    """Draw one slide's style; the class is not an argument on purpose."""
    pale_or_dark = rng.uniform(0.8, 1.25)
    return SlideStyle(
        epithelium_hematoxylin=pale_or_dark * rng.uniform(0.24, 0.36),
        stroma_hematoxylin=pale_or_dark * rng.uniform(0.13, 0.22),
        epithelium_eosin=pale_or_dark * rng.uniform(0.16, 0.26),
        stroma_eosin=pale_or_dark * rng.uniform(0.22, 0.34),
        gland_radius_um=rng.uniform(34, 50),
        gland_gap_um=rng.uniform(8, 30),
        goblet=rng.uniform(0.1, 0.8),
        fibre_contrast=rng.uniform(0.7, 1.2),
        cleft=rng.uniform(0.0, 0.9),
        fibre_width=rng.uniform(0.7, 1.6),
        gland_irregularity=rng.uniform(0.5, 1.6),
        cell_height_um=rng.uniform(20, 27),
        basal_um=rng.uniform(0.5, 6.0),
        mottle=rng.uniform(0.1, 0.4),
        mottle_um=rng.uniform(6, 14),
        focus_um=rng.uniform(0.35, 0.7),
    )
