"""Numbers to colours, so that more looks like more to every eye.

Both ramps run through a few points of the Oklab space (Ottosson 2020, "A perceptual color space for image processing"),
where equal distances look about equally far apart, and are turned into sRGB (IEC 61966-2-1). Along ``sequential`` the
lightness only rises, so that it reads in grey and in every form of colour blindness; its hues (indigo, green, yellow)
are not those of eosin and haematoxylin. ``diverging`` goes from blue through white to orange, which stay apart in the
common forms of colour blindness, and darkens evenly on both sides. The points are our own.

All maps of one method and class on a slide share one :class:`Scale`, so that regions compare. Where nothing speaks for
the class the tissue stays as it is: opacity grows with the value, up to FULL_AT of the scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.runtime import Floats, Pixels
from kdtrain.predict.explain.heat_map import HeatMap

_SEQUENTIAL_LCH = (
    (0.28, 0.11, 290.0),
    (0.42, 0.11, 255.0),
    (0.56, 0.09, 205.0),
    (0.71, 0.15, 155.0),
    (0.84, 0.18, 118.0),
    (0.94, 0.14, 104.0),
)
"""Lightness 0 to 1, chroma, hue in degrees; evenly spaced along the ramp."""

_DIVERGING_LCH = (
    (0.42, 0.15, 258.0),
    (0.70, 0.11, 250.0),
    (0.97, 0.00, 250.0),
    (0.75, 0.14, 65.0),
    (0.47, 0.13, 47.0),
)

# From Ottosson 2020: the inverse of the matrices from linear sRGB to cone responses and from their cube roots to Oklab.
_CONES_OF_LAB = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_RGB_OF_CONES = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)

Positions = NDArray[np.floating[Any]]

FULL_AT = 0.4
"""Share of the scale's end at which a colour is as opaque as it gets."""


def sequential(positions: Positions) -> Pixels:
    """Colours of amounts.

    Args:
        positions: Any shape, 0 (none) to 1 (most); beyond, the end's colour.

    Returns:
        The same shape with a last axis of 3, uint8 sRGB.
    """
    return _ramp(_SEQUENTIAL_LCH, positions)


def diverging(positions: Positions) -> Pixels:
    """Colours of amounts with a sign.

    Args:
        positions: Any shape, 0 (most against) to 1 (most for), 0.5 being nought; beyond, the end's colour.

    Returns:
        The same shape with a last axis of 3, uint8 sRGB.
    """
    return _ramp(_DIVERGING_LCH, positions)


def _ramp(points_lch: tuple[tuple[float, float, float], ...], positions: Positions) -> Pixels:
    points = np.array([_lab(*point) for point in points_lch])
    places = np.linspace(0, 1, len(points))
    lab = np.stack([np.interp(positions, places, points[:, axis]) for axis in range(3)], axis=-1)
    linear = np.clip((lab @ _CONES_OF_LAB.T) ** 3 @ _RGB_OF_CONES.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), dtype=np.uint8)


def _lab(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    angle = np.deg2rad(hue)
    return lightness, float(chroma * np.cos(angle)), float(chroma * np.sin(angle))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What colours mean.

    Attributes:
        most: Value of the strongest colour; 0 where all maps are nought.
        signed: Whether the scale goes down to ``-most``; else to 0.
    """

    most: float
    signed: bool

    @classmethod
    def of(cls, maps: Iterable[HeatMap]) -> Scale:
        """The scale on which the largest absolute value of all maps is the end."""
        values = [m.values for m in maps]
        most = max((float(np.abs(v).max()) for v in values), default=0.0)
        return cls(most=most, signed=any(bool((v < 0).any()) for v in values))

    def colours(self, values: Floats) -> Pixels:
        """(..., 3) uint8 sRGB of (...) values."""
        share = self._share(values)
        return diverging((share + 1) / 2) if self.signed else sequential(share)

    def opacities(self, values: Floats) -> Floats:
        """0 (not to be seen) to 1, of (...) values."""
        return np.asarray(np.minimum(np.abs(self._share(values)) / FULL_AT, 1), dtype=np.float32)

    def _share(self, values: Floats) -> Floats:
        """Values over the end of the scale, held to it."""
        low = -1.0 if self.signed else 0.0
        return np.asarray(np.clip(values / (self.most or 1), low, 1), dtype=np.float32)
