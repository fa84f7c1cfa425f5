"""Overview -> padding, bright background, and how much light the slide absorbs relative to it.

In: an overview as planes, (3, rows, columns) uint8 red, green, blue (three times faster here than
interleaved), and its pixel size in µm. Out: *absorbance*, the natural
logarithm of background over intensity per channel, so that 0.02 means 2 % darker than the glass at that
place. The background is modelled as a smooth surface, since illumination falls off towards the corners and
glass and mounting medium are rarely white. It does not decide what is tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.tissue.boxes import BoolArray, ByteArray
from slideprep.tissue.padding import black_padding, blank_areas, blank_padding

FloatArray = npt.NDArray[np.float32]

BLOCK_UM = 128.0
"""Side of the blocks whose means are fitted: large against nuclei, small against gaps in tissue."""

DIMMEST_BACKGROUND = 130
"""Glass is brighter than this in every channel, even in underexposed scans."""

FALLOFF = 0.15
"""Illumination varies by less than this (natural log) over a slide; darker blocks are no background."""

MIN_BLOCKS = 4
"""Fewer background blocks than this are chance: the image is then taken to be filled with tissue."""

MIN_BLOCKS_FOR_SURFACE = 40
"""A curved surface has 6 coefficients per channel; fewer blocks give a level instead."""


@dataclass(frozen=True, kw_only=True)
class Background:
    """What the glass looks like.

    Attributes:
        log_level: (3, rows, columns) or (3, 1, 1) float32, natural log of the background's intensity.
        pixels: (rows, columns) bool, pixels of blocks that are surely background.
        found: Whether any background was seen; where not, ``log_level`` is a nominal white.
    """

    log_level: FloatArray
    pixels: BoolArray
    found: bool


def find_padding(planes: ByteArray, *, mpp: float) -> BoolArray:
    """Areas at the border that no scanner saw, black or blank, (rows, columns) bool.

    Args:
        planes: (3, rows, columns) uint8.
        mpp: Microns per overview pixel.
    """
    black = black_padding(planes)
    areas = blank_areas(planes)
    if not areas.any():
        return black
    log_means, blocks = _glass_blocks(planes, black | (areas > 0), mpp=mpp)
    glass = np.median(log_means[blocks], axis=0) if blocks.sum() >= MIN_BLOCKS else None
    return black | blank_padding(planes, areas, glass)


def fit_background(planes: ByteArray, padding: BoolArray, *, mpp: float) -> Background:
    """Model the glass from blocks that are bright, smooth and not pink.

    Args:
        planes: (3, rows, columns) uint8.
        padding: (rows, columns) bool, pixels to ignore.
        mpp: Microns per overview pixel.
    """
    log_means, blocks = _glass_blocks(planes, padding, mpp=mpp)
    if blocks.sum() < MIN_BLOCKS:
        return _nominal(planes, padding)
    blocks, coefficients = _fit_surface(log_means, blocks)
    side, (rows, columns), (height, width) = _block_side(mpp), blocks.shape, padding.shape
    pixels = np.zeros(padding.shape, dtype=bool)
    pixels[: rows * side, : columns * side] = np.repeat(np.repeat(blocks, side, axis=0), side, axis=1)
    level = _surface(coefficients, height, width, side, rows, columns)
    return Background(log_level=level, pixels=pixels, found=True)


def _block_side(mpp: float) -> int:
    return max(2, round(BLOCK_UM / mpp))


def _glass_blocks(
    planes: ByteArray, ignored: BoolArray, *, mpp: float
) -> tuple[npt.NDArray[np.float64], BoolArray]:
    """Per block: log of the channels' means (rows, columns, 3), and whether it looks like glass."""
    side = _block_side(mpp)
    rows, columns = ignored.shape[0] // side, ignored.shape[1] // side
    if rows == 0 or columns == 0:
        return np.zeros((rows, columns, 3)), np.zeros((rows, columns), dtype=bool)
    log_means, spread, whole = _block_statistics(planes, ignored, side, rows, columns)
    return log_means, whole & _background_blocks(log_means, spread, whole)


def _nominal(planes: ByteArray, padding: BoolArray) -> Background:
    """White glass, as bright as the brightest pixels but within what scanners deliver."""
    seen = planes[:, ~padding]
    brightest = float(np.percentile(seen.max(axis=0), 99.5)) if seen.size else 245.0
    level = np.full((3, 1, 1), np.log(np.clip(brightest, 225.0, 250.0)), dtype=np.float32)
    return Background(log_level=level, pixels=np.zeros(padding.shape, dtype=bool), found=False)


def _block_statistics(
    planes: ByteArray, padding: BoolArray, side: int, rows: int, columns: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], BoolArray]:
    """Per block: log of the channels' means (rows, columns, 3), deviation in green, free of padding."""
    part = planes[:, : rows * side, : columns * side]
    cut = (rows, side, columns, side)
    sums = part.reshape(3, *cut).sum(axis=4, dtype=np.uint32).sum(axis=2, dtype=np.uint64)
    means = np.moveaxis(sums, 0, 2) / side**2
    spread = part[1].reshape(cut).astype(np.float32).std(axis=(1, 3), dtype=np.float64)
    whole = np.asarray(
        ~padding[: rows * side, : columns * side].reshape(cut).any(axis=(1, 3)), dtype=np.bool_
    )
    return np.log(np.maximum(means, 1.0)), spread, whole


def _background_blocks(
    log_means: npt.NDArray[np.float64], spread: npt.NDArray[np.float64], whole: BoolArray
) -> BoolArray:
    """Blocks that look like glass by themselves.

    Stained tissue absorbs green most, glass with a cast (yellowish, greyish) does not: so a green deficit
    says tissue where darkness alone cannot.
    """
    red, green, blue = np.moveaxis(log_means, 2, 0)
    green_deficit = (red + blue) / 2 - green
    colour = log_means.max(axis=2) - log_means.min(axis=2)
    uncoloured = (green_deficit < 0.04) & (colour < 0.2)
    plain: BoolArray = whole & uncoloured & (log_means.min(axis=2) > np.log(DIMMEST_BACKGROUND))
    if not plain.any():
        return plain
    plain &= np.less_equal(spread, min(6.0, 2.0 * float(np.percentile(spread[plain], 10)) + 1.5))
    if not plain.any():
        return plain
    brightness = log_means.mean(axis=2)
    bright: BoolArray = plain & (brightness > np.percentile(brightness[plain], 95) - FALLOFF)
    return bright


def _fit_surface(
    log_means: npt.NDArray[np.float64], blocks: BoolArray
) -> tuple[BoolArray, npt.NDArray[np.float64]]:
    """Least squares, repeated without blocks that stand out, darker ones sooner: pale tissue is darker."""
    terms = _terms(*blocks.shape)
    spans = [np.ptp(np.flatnonzero(blocks.any(axis=1 - axis))) + 1 for axis in (0, 1)]
    spread_out = all(2 * span >= size for span, size in zip(spans, blocks.shape, strict=True))
    curved = spread_out and blocks.sum() >= MIN_BLOCKS_FOR_SURFACE
    used = terms if curved else terms[..., :1]
    for _ in range(5):
        solution = np.linalg.lstsq(used[blocks], log_means[blocks], rcond=None)[0]
        coefficients: npt.NDArray[np.float64] = solution.astype(np.float64)
        residual = (log_means - used @ coefficients).mean(axis=2)
        centre = np.median(residual[blocks])
        deviation = max(1.4826 * np.median(np.abs(residual[blocks] - centre)), 0.001)
        kept = blocks & (residual > centre - 2.5 * deviation) & (residual < centre + 4 * deviation)
        if kept.sum() < max(MIN_BLOCKS, used.shape[2]) or (kept == blocks).all():
            break
        blocks = kept
    return blocks, coefficients


def _terms(rows: int, columns: int) -> npt.NDArray[np.float64]:
    """1, y, x, y², xy, x² at the blocks' centres, -1 to 1 over the grid of blocks."""
    y = ((np.arange(rows) + 0.5) / rows * 2 - 1)[:, None]
    x = ((np.arange(columns) + 0.5) / columns * 2 - 1)[None, :]
    flat = np.zeros((rows, columns))
    return np.stack([flat + 1, flat + y, flat + x, flat + y * y, y * x, flat + x * x], axis=2)


def _surface(
    coefficients: npt.NDArray[np.float64],
    rows: int,
    columns: int,
    side: int,
    block_rows: int,
    block_columns: int,
) -> FloatArray:
    """The fitted log level at every pixel, kept within the fall-off of its value amid the image."""
    if len(coefficients) == 1:
        return coefficients[0, :, None, None].astype(np.float32)
    y = ((np.arange(rows, dtype=np.float32) + 0.5) / (side * block_rows) * 2 - 1)[:, None]
    x = ((np.arange(columns, dtype=np.float32) + 0.5) / (side * block_columns) * 2 - 1)[None, :]
    level = np.empty((3, rows, columns), dtype=np.float32)
    for plane, (c0, cy, cx, cyy, cxy, cxx) in zip(level, coefficients.T.astype(np.float32), strict=True):
        np.multiply(cx + cxy * y, x, out=plane)
        plane += c0 + cy * y + cyy * y * y
        plane += cxx * x * x
        np.clip(plane, c0 - FALLOFF, min(c0 + FALLOFF, np.log(np.float32(255.0))), out=plane)
    return level


def absorbance(planes: ByteArray, background: Background, *, sigma_px: float) -> FloatArray:
    """Natural log of background over smoothed intensity, (3, rows, columns) float32; 0.02 is 2 % darker.

    Args:
        planes: (3, rows, columns) uint8.
        background: The glass.
        sigma_px: Standard deviation of the Gaussian that smooths the image first, in overview pixels.
    """
    smooth = planes.astype(np.float32)
    for plane in smooth:
        ndimage.gaussian_filter(plane, sigma_px, mode="nearest", truncate=3.0, output=plane)
    np.log(np.maximum(smooth, 1.0, out=smooth), out=smooth)
    return np.subtract(background.log_level, smooth, out=smooth)
