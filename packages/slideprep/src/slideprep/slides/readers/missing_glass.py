"""Which of the tiles that a level does not store are bare glass, as the other levels of the pyramid tell.

A tile is glass where a coarser level that stores the place shows glass there, bright and even, or one colour that was
filled in; or where the coarser level lacks the whole place as well, as in files of programs that leave glass out at
every level. Where a coarser level shows more, or none tells, nothing is known of the tile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slideprep.errors import SlideReadError
from slideprep.slides.reader import Level, Slide
from slideprep.slides.readers.tiff_facts import PageFacts
from slideprep.units import Pixels

Spans = NDArray[np.int_]
"""(cells, 2): first pixel and end of each, half open."""

_LEAST_PX = 8
"""Sides that a tile must have on the level that it is judged by."""

_INSET_PX = 2
"""Left out at each side of a tile there: resampling draws on its neighbours."""

_SAME_SHAPE = 0.02
"""Relative difference of a level's two downsamples beyond which it is another picture."""

_LARGEST_LOOK_PX = 100_000_000
"""Largest part of a level that is read to judge tiles: under a second."""

_GLASS_LEAST, _GLASS_RANGE, _GLASS_TINT, _FILLED_RANGE = 190, 24, 20, 2
"""Grey levels. Glass is at least so bright, varies at most so much, and its channels differ at most so much; what
varies less than the last was filled in by a program, whatever its colour."""


def not_glass(
    slide: Slide, pages: Sequence[PageFacts], level: int, *, unstored_is_glass: bool
) -> NDArray[np.bool_]:
    """Tiles that a level lacks and that no other level shows to be glass, the coarsest asked first.

    Args:
        slide: An opened slide; its coarser levels are read where they are asked.
        pages: The page of each of its levels.
        level: One that lacks tiles.
        unstored_is_glass: A place that no coarser level stores is glass.

    Returns:
        (rows, columns) bool, True for a tile that is lost.
    """
    page, of = pages[level], slide.levels[level]
    assert page.missing is not None and page.tile is not None, "only pages with holes are asked about"
    lost = page.missing.copy()
    if level:
        lost &= ~_bare(pages[level - 1], page, slide.levels[level - 1], of)
    stored_somewhere = np.zeros_like(lost)
    for coarser in range(len(pages) - 1, level, -1):
        other, missing = slide.levels[coarser], pages[coarser].missing
        across, down = _scale(of, other)
        too_small = min(page.tile[0] * across, page.tile[1] * down) < _LEAST_PX
        if too_small or abs(across / down - 1) > _SAME_SHAPE or not lost.any():
            continue
        columns = _spans(lost.shape[1], page.tile[0] * across, other.width)
        rows = _spans(lost.shape[0], page.tile[1] * down, other.height)
        asked = lost
        if missing is not None:
            asked = lost & _off(missing, pages[coarser], rows, columns)
            lost &= asked | ~_off(
                missing & ~_bare(page, pages[coarser], of, other), pages[coarser], rows, columns
            )
        stored_somewhere |= asked
        lost &= ~(asked & _glass(slide, coarser, rows, columns, asked))
    return lost & stored_somewhere if unstored_is_glass else lost


def _scale(of: Level, other: Level) -> tuple[float, float]:
    """Pixels of another level per pixel of a level, along x and y."""
    return of.downsample_x / other.downsample_x, of.downsample_y / other.downsample_y


def _bare(finer: PageFacts, page: PageFacts, of: Level, other: Level) -> NDArray[np.bool_]:
    """Tiles that a page lacks where the finer one lacks every tile too: a program that leaves glass out does so.

    Args:
        finer: The page of the finer level.
        page: The page, which lacks tiles.
        of: The finer level.
        other: The page's level.
    """
    assert page.missing is not None and page.tile is not None, "only pages with holes are asked about"
    if finer.missing is None or finer.tile is None:
        return np.zeros_like(page.missing)
    across, down = _scale(of, other)
    rows = _cells(page.missing.shape[0], page.tile[1] / (finer.tile[1] * down), finer.missing.shape[0])
    columns = _cells(page.missing.shape[1], page.tile[0] / (finer.tile[0] * across), finer.missing.shape[1])
    bare: NDArray[np.bool_] = page.missing & (_counts(~finer.missing, rows, columns) == 0)
    return bare


def _cells(count: int, step: float, most: int) -> Spans:
    """The cells (first, end) of a finer grid under each of ``count`` cells, which are ``step`` of them wide."""
    start = np.arange(count) * step
    first, end = np.floor(start + _SAME_SHAPE).astype(int), np.ceil(start + step - _SAME_SHAPE).astype(int)
    return np.stack([np.minimum(first, most - 1), np.clip(end, 1, most)], axis=1)


def _spans(count: int, step: float, size: int) -> Spans:
    """The pixels (first, end) inside each of ``count`` cells of a grid, less those next to its sides; at least one."""
    start = np.arange(count) * step
    stop = np.minimum(start + step, size)
    first, end = np.ceil(start).astype(int) + _INSET_PX, np.floor(stop).astype(int) - _INSET_PX
    middle = np.minimum((start + stop) / 2, size - 1).astype(int)
    thin = first >= end
    return np.stack([np.where(thin, middle, first), np.where(thin, middle + 1, end)], axis=1)


def _off(tiles: NDArray[np.bool_], page: PageFacts, rows: Spans, columns: Spans) -> NDArray[np.bool_]:
    """(rows, columns) bool: a cell, in pixels of a page, touches none of some tiles of that page."""
    assert page.tile is not None, "a page with missing tiles has tiles"
    up, down = rows[:, 0] // page.tile[1], -(-rows[:, 1] // page.tile[1])
    left, right = columns[:, 0] // page.tile[0], -(-columns[:, 1] // page.tile[0])
    off: NDArray[np.bool_] = _counts(tiles, np.stack([up, down], 1), np.stack([left, right], 1)) == 0
    return off


def _counts(tiles: NDArray[np.bool_], rows: Spans, columns: Spans) -> NDArray[np.int_]:
    """(rows, columns) int: how many of some tiles lie within each pair of ranges (first, end) of the grid."""
    total = np.zeros(np.add(tiles.shape, 1), int)
    total[1:, 1:] = tiles.cumsum(axis=0).cumsum(axis=1)
    top, bottom, left, right = rows[:, :1], rows[:, 1:], columns[:, 0], columns[:, 1]
    counts: NDArray[np.int_] = (
        total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    )
    return counts


def _glass(
    slide: Slide, level: int, rows: Spans, columns: Spans, asked: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(rows, columns) bool: a level shows glass in a cell. Only the part that holds the cells asked for is read."""
    glass = np.zeros_like(asked)
    of_rows, of_columns = np.flatnonzero(asked.any(axis=1)), np.flatnonzero(asked.any(axis=0))
    if not len(of_rows):
        return glass
    left, right = int(columns[of_columns[0], 0]), int(columns[of_columns[-1], 1])
    top, bottom = int(rows[of_rows[0], 0]), int(rows[of_rows[-1], 1])
    if (right - left) * (bottom - top) > _LARGEST_LOOK_PX:
        return glass
    edges = columns[of_columns].ravel() - left
    least = np.full((len(of_rows), len(of_columns), 3), 255)
    most = np.zeros_like(least)
    row = top
    try:
        for strip in slide.strips(level, left, top, right - left, bottom - top):
            for index, (first, end) in enumerate(rows[of_rows] - row):
                part = strip[max(0, first) : max(0, end)]
                if len(part):
                    least[index] = np.minimum(least[index], _by_cell(np.minimum, part, edges))
                    most[index] = np.maximum(most[index], _by_cell(np.maximum, part, edges))
            row += len(strip)
    except SlideReadError:
        return glass  # a damaged level tells nothing
    glass[np.ix_(of_rows, of_columns)] = _is_glass(least, most)
    return glass


def _by_cell(extreme: np.ufunc, part: Pixels, edges: NDArray[np.int_]) -> NDArray[np.int_]:
    """The least or the largest of each cell's columns; ``edges`` are (first, end) of each cell, laid in a row."""
    line = extreme.reduce(part, axis=0)
    line = np.concatenate([line, line[-1:]])  # an end may lie beyond the last column
    of_cells: NDArray[np.int_] = extreme.reduceat(line, edges, axis=0)[::2]
    return of_cells


def _is_glass(least: NDArray[np.int_], most: NDArray[np.int_]) -> NDArray[np.bool_]:
    """Of the extremes (..., 3) of cells."""
    spread, middle = (most - least).max(axis=-1), (most + least) / 2
    bright = (least.min(axis=-1) >= _GLASS_LEAST) & (np.ptp(middle, axis=-1) <= _GLASS_TINT)
    glass: NDArray[np.bool_] = (spread <= _FILLED_RANGE) | (bright & (spread <= _GLASS_RANGE))
    return glass
