"""What an image is, in every room: RGB pixels as an array (rows, columns, 3) of uint8, origin at the top left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(rows, columns, 3) uint8, red, green, blue."""
