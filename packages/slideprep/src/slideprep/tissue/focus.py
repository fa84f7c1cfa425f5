"""Rows of an image in, how much fine and how much coarse structure each block of them holds out: a focus measure.

Defocus takes fine structure away and leaves coarse structure: so the ratio of the two tells how sharp an image is, as
the ratio of the high-pass to the low-pass norm of a wavelet transform does in Kautsky, Flusser, Zitová and Šimberová,
"A new wavelet-based measure of image focus", Pattern Recognition Letters 23 (2002) 1785-1794. The wavelet here is
Haar's.

With x_s the mean optical density (green, natural logarithm) of squares of s µm, and D(s) the mean square of x_s - x_2s
over the tissue, ``focus`` is the square root of D(1) / D(8): a number without unit. Sharp H&E has 0.6 to 1, a Gaussian
blur of 1 µm brings it to 0.4, of 2 µm to 0.26, of 4 µm to 0.18, and nothing goes much below 0.125, which a slope has.
A stronger stain multiplies every density, and glass beside tissue is not counted: neither changes the ratio.

It cannot tell blur from tissue without fine structure (mucus, necrosis, fat), and noise of a camera passes for
structure. Where pixels are larger than 1 µm the scales grow with them: compare slides at one magnification.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FINE_UM = 1.0
"""The finest squares: 10x. Finer ones show the lens and the camera more than the focus."""

BLOCK = 16
"""Sides of a block in the finest squares: both scales fit, and D is known for 16 µm of tissue or glass."""

_DENSITY = -np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Structure of blocks, (rows, columns) float32 each: mean squares of optical density."""

    fine: FloatArray
    coarse: FloatArray


def structure_of(green: npt.NDArray[np.uint8], *, square_px: int) -> Structure:
    """D(1) and D(8) of every whole block.

    Args:
        green: (rows, columns) uint8, of as many rows of blocks as are whole.
        square_px: Sides of the finest squares, pixels.
    """
    down, across = (side // (BLOCK * square_px) for side in green.shape)
    density = _DENSITY.take(green[: down * BLOCK * square_px, : across * BLOCK * square_px])
    if square_px > 1:
        density = density.reshape(down * BLOCK, square_px, -1, square_px).mean(axis=(1, 3))
    means, fine = _halved(density)
    for _ in range(2):
        means, _ = _halved(means)
    _, coarse = _halved(means)
    half = BLOCK // 2
    fine_sums = np.einsum("rhcw->rc", fine.reshape(down, half, across, half))
    return Structure(fine=fine_sums * np.float32(1 / half**2), coarse=coarse)


def _halved(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means of 2 x 2 values, and the mean square of what the values differ from them by: Haar's three details."""
    sums, differences = values[0::2] + values[1::2], values[0::2] - values[1::2]
    left, right = sums[:, 0::2], sums[:, 1::2]
    upright = left - right
    np.square(differences, out=differences)
    # of p and q, the two columns' differences: (p + q)² + (p - q)² = 2 (p² + q²)
    details = upright * upright + np.float32(2) * (differences[:, 0::2] + differences[:, 1::2])
    return (left + right) * np.float32(1 / 4), details * np.float32(1 / 16)


def focus_of(structure: Structure, tissue: npt.NDArray[np.bool_]) -> float | None:
    """The focus measure of the blocks that are tissue; None where none of them holds any structure.

    Args:
        structure: Of blocks.
        tissue: Which of them count.
    """
    fine, coarse = (float(part[tissue].sum(dtype=np.float64)) for part in (structure.fine, structure.coarse))
    return float(np.sqrt(fine / coarse)) if coarse > 0 else None
