"""One scale for all maps of one method and class on a slide, so that regions compare: values to colours and opacities.

Where nothing speaks for the class the tissue stays as it is: opacity grows with the value, up to FULL_AT of the scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kdtrain.bundle.runtime import Floats, Pixels
from kdtrain.explain.colours import diverging, sequential
from kdtrain.explain.heat_map import HeatMap

FULL_AT = 0.4
"""Share of the scale's end at which a colour is as opaque as it gets."""


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
