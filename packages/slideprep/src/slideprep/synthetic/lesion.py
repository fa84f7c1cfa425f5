"""A focal lesion: one patch of a piece whose cells are those of another class than the cells around it.

Glands, vessels, fibres, stain and thickness are the piece's own on both sides of the outline; each nucleus lies inside
or outside by its centre, and the diffuse stain, fitted on each side by itself, passes from one to the other over
:data:`SEAM_UM`. So nothing but the micro-architecture tells the lesion, and its outline is known: the truth of a
pointing game (Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018).

Lengths are micrometres from the piece's top left corner, y downwards, on the 1 µm grid of
:class:`~slideprep.synthetic.tissue.Structure`.

The outlines are written as GeoJSON, in level-0 pixels, as QuPath writes annotations.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from slideprep.errors import UsageError
from slideprep.synthetic.cells import Cells, Points
from slideprep.synthetic.noise import Field, ramp
from slideprep.synthetic.tissue import Structure, bumpy_outline

SEAM_UM = 16.0
"""Width over which the diffuse stain passes from one side to the other: about two cells."""

_IRREGULARITY = 0.13
_LARGEST_SHARE = 0.5

_COLOUR = (200, 0, 0)


@dataclass(frozen=True, kw_only=True)
class LesionSize:
    """How much of its piece of tissue a lesion takes; one is drawn for each piece, evenly in the range."""

    share: tuple[float, float] = (0.10, 0.25)
    """(least, most) of the piece's area."""

    def __post_init__(self) -> None:
        least, most = self.share
        if not 0 < least <= most <= _LARGEST_SHARE:
            raise UsageError(
                f"a lesion's share of its piece is a range (least, most) above 0 and up to {_LARGEST_SHARE}, so that "
                f"tissue is left around it; got {least:g} {most:g}"
            )


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """Where a lesion lies in its piece."""

    inside: Field
    """(rows, columns) at 1 µm per pixel: 1 inside, 0 outside, 0.5 on the outline."""
    outline_um: Points
    """(corners, 2): x and y of a closed line's corners, clockwise to the eye; the first is not repeated."""
    share: float
    """Share of the piece's area that the lesion covers."""

    def holds(self, cells: Cells) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which cells have their centre inside."""
        rows = np.clip(cells.y_um.astype(int), 0, self.inside.shape[0] - 1)
        columns = np.clip(cells.x_um.astype(int), 0, self.inside.shape[1] - 1)
        return np.asarray(self.inside[rows, columns] >= 0.5)


def place_lesion(rng: np.random.Generator, structure: Structure, size: LesionSize) -> Lesion:
    """Draw a lesion's area, outline and place: wholly in the tissue, among glands.

    Atypical cells are above all epithelial, so that without glands there would be little to see: of the places where
    the outline fits, the half with more epithelium around is drawn from, whatever the class. Where the outline fits
    nowhere, it shrinks until it fits in the piece's broadest part.

    Args:
        rng: Source of randomness.
        structure: The piece.
        size: The range of areas.
    """
    covered = structure.cover > 0.98
    area_um2 = rng.uniform(*size.share) * float(covered.sum())
    shape = bumpy_outline(rng, 1.0, _IRREGULARITY, rng.uniform(1.0, 1.4))
    radius_um = float(np.sqrt(area_um2 / (np.pi * np.mean(shape**2))))
    # One pixel of bare glass around: the distance to the border of the array counts as well.
    room_um = ndimage.distance_transform_edt(np.pad(covered, 1))[1:-1, 1:-1]
    radius_um = min(radius_um, float(room_um.max()) / float(shape.max()))
    fits = np.flatnonzero(room_um >= radius_um * float(shape.max()) - 1e-3)
    glandular = ndimage.gaussian_filter(structure.epithelium, radius_um / 2).ravel()[fits]
    places = fits[glandular >= np.median(glandular)]
    row, column = divmod(int(rng.choice(places)), covered.shape[1])
    return _lesion(covered, column + 0.5, row + 0.5, radius_um * shape)


def _lesion(
    covered: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], x_um: float, y_um: float, radii_um: Field
) -> Lesion:
    """A lesion around (x, y) with the outline's radius at equally spaced angles."""
    theta = np.arange(len(radii_um)) * 2 * np.pi / len(radii_um)
    y, x = np.mgrid[: covered.shape[0], : covered.shape[1]] + 0.5
    radius = np.interp(np.arctan2(y - y_um, x - x_um), theta, radii_um, period=2 * np.pi)
    depth_um = radius - np.hypot(x - x_um, y - y_um)
    corners = np.stack([x_um + radii_um * np.cos(theta), y_um + radii_um * np.sin(theta)], axis=1)
    return Lesion(
        inside=ramp(depth_um / SEAM_UM + 0.5),
        outline_um=corners,
        share=float((depth_um >= 0).sum() / covered.sum()),
    )


@dataclass(frozen=True, kw_only=True)
class OutlinedLesion:
    """A lesion on its slide."""

    class_name: str
    outline_l0: Points
    """(corners, 2): x and y in level-0 pixels; the first corner is not repeated."""
    share: float
    """Share of the area of its piece of tissue."""


def truth_geojson(lesions: Sequence[OutlinedLesion]) -> str:
    """A FeatureCollection with one annotation a lesion; a slide without lesions has an empty one.

    ``slideprep build-shards --annotations`` and QuPath read it. Corners are rounded to a tenth of a pixel.
    """
    features = [_feature(number, lesion) for number, lesion in enumerate(lesions, start=1)]
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1) + "\n"


def _feature(number: int, lesion: OutlinedLesion) -> dict[str, Any]:
    corners = [[round(float(x), 1), round(float(y), 1)] for x, y in lesion.outline_l0]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        "properties": {
            "objectType": "annotation",
            "name": f"synthetic lesion {number}",
            "classification": {"name": lesion.class_name, "color": list(_COLOUR)},
            "measurements": {"Share of its piece": round(lesion.share, 4)},
        },
    }
