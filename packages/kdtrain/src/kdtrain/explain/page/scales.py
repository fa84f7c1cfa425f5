"""Numbers of heat maps to colours: tables of 256 rows that the page's script looks up.

A table is computed by a function, so that the page can wear the colours of other pictures of the same maps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Colours = Callable[[NDArray[np.float64]], NDArray[np.uint8]]
"""Positions (N,) from 0 to 1 to (N, 3) uint8 RGB."""

ROWS = 256
"""Of a colour table."""

_FOR = ((255, 237, 160), (254, 178, 76), (240, 59, 32), (128, 0, 38))
_AGAINST = ((8, 48, 107), (33, 113, 181), (107, 174, 214), (222, 235, 247))


def sequential(positions: NDArray[np.float64]) -> NDArray[np.uint8]:
    """From pale yellow through orange to dark red: lightness falls all the way, so it reads without hue."""
    return _between(_FOR, positions)


def diverging(positions: NDArray[np.float64]) -> NDArray[np.uint8]:
    """From dark blue (0) over near white (0.5) to dark red (1)."""
    return _between((*_AGAINST, *_FOR), positions)


def table(colours: Colours) -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB, position 0 first."""
    return np.asarray(colours(np.linspace(0, 1, ROWS)), dtype=np.uint8)


def _between(stops: tuple[tuple[int, int, int], ...], positions: NDArray[np.float64]) -> NDArray[np.uint8]:
    places = np.linspace(0, 1, len(stops))
    channels = [np.interp(positions, places, channel) for channel in np.array(stops, dtype=np.float64).T]
    return np.asarray(np.rint(np.stack(channels, axis=-1)), dtype=np.uint8)
