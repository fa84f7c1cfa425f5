"""Annotated regions: polygons drawn by a pathologist, in level-0 pixels, and what a build asks of them.

In: an :class:`AnnotatedRegion` per polygon, read by ``annotation_files``. Out: its box, which regions to leave out,
and which pixels of an output image lie inside. The rules that every outline must keep, whatever its format, stand
here too. No file and no slide is read.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slideprep.errors import InputError, UsageError
from slideprep.text import as_on_disk, number, short_name, slide_stem
from slideprep.units import Box

Ring = tuple[tuple[float, float], ...]
"""Corners (x, y) of a closed line in level-0 pixels; the first corner is not repeated at the end."""

ANNOTATION_SUFFIXES = (".geojson", ".json", ".xml")
"""Files that may hold a slide's annotations."""

FARTHEST_PX = 1_000_000_000
"""No slide is larger, and the square of such a number can still be computed exactly enough."""

_NAME_BYTES = 255
"""A file system takes no longer name, and says so where one asks for it."""


@dataclass(frozen=True, kw_only=True)
class Polygon:
    """A filled outline with holes, in level-0 pixels.

    Attributes:
        exterior: The outline.
        holes: Outlines of what does not belong to it.
    """

    exterior: Ring
    holes: tuple[Ring, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AnnotatedRegion:
    """One annotation: one or more polygons that together are one region, hence one sample.

    Attributes:
        class_name: What the region shows, or None where the annotation has no class.
        name: The annotation's own name, or None.
        polygons: Its parts, in level-0 pixels.
        where: The file and the place in it, for messages: "case7.geojson, feature 3".
    """

    class_name: str | None
    name: str | None
    polygons: tuple[Polygon, ...]
    where: str

    @property
    def label(self) -> str:
        """How messages call this annotation: its name or class, and where it stands."""
        title = self.name or self.class_name
        return f"annotation '{title}' ({self.where})" if title else f"annotation ({self.where})"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of its outlines, level-0 pixels, not clipped to any slide."""
        corners = [corner for polygon in self.polygons for corner in polygon.exterior]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)

    def box(self, *, width_l0: int, height_l0: int) -> Box:
        """The region's bounding box, rounded outwards to whole pixels and clipped to the slide.

        Args:
            width_l0: Width of the slide, level-0 pixels.
            height_l0: Height of the slide, level-0 pixels.

        Raises:
            InputError: The region lies outside the slide.
        """
        left, top, right, bottom = self.bounds
        x, y = max(floor(left), 0), max(floor(top), 0)
        x_end, y_end = min(ceil(right), width_l0), min(ceil(bottom), height_l0)
        if x_end <= x or y_end <= y:
            raise InputError(
                f"{self.label} lies outside the slide: it spans x {left:g} to {right:g} and y {top:g} to "
                f"{bottom:g}, the slide is {width_l0} x {height_l0} level-0 pixels; check that the "
                "annotations belong to this slide and are in pixels of its full-resolution image"
            )
        return Box(x=x, y=y, width=x_end - x, height=y_end - y)


def find_annotations(folder: Path, slide_name: str) -> Path | None:
    """The annotation file of a slide: ``case7.svs.geojson`` or ``case7.geojson`` for ``case7.svs``, or None.

    For ``case.ome.tif`` it may be ``case.geojson`` as well.

    Raises:
        UsageError: The folder does not exist, or several files fit.
    """
    if not folder.is_dir():
        raise UsageError(
            f"--annotations {folder} is not a folder; give the folder that holds the annotation files"
        )
    names = (slide_name, Path(slide_name).stem, slide_stem(slide_name))
    # As the slide's file has it, and as people and programs write it: other bytes, accents coded otherwise, cut short.
    written = (as_on_disk(name) for name in names)
    coded = (unicodedata.normalize(form, name) for form in ("NFC", "NFD") for name in names)
    stems = dict.fromkeys([*names, *written, *coded, short_name(slide_name)])
    found = [
        path
        for stem in stems
        for suffix in ANNOTATION_SUFFIXES
        if len(os.fsencode(f"{stem}{suffix}")) <= _NAME_BYTES
        and (path := folder / f"{stem}{suffix}").is_file()
    ]
    if len(found) > 1:
        raise UsageError(
            f"slide '{slide_name}' has {len(found)} annotation files, {', '.join(p.name for p in found)} in "
            f"{folder}, and they may differ; keep one"
        )
    return found[0] if found else None


def leave_out(regions: Iterable[AnnotatedRegion], classes: Iterable[str]) -> list[AnnotatedRegion]:
    """The regions whose class is none of ``classes``, in upper or lower case; unclassed regions stay."""
    unwanted = {_folded(name) for name in classes}
    return [r for r in regions if r.class_name is None or _folded(r.class_name) not in unwanted]


def _folded(name: str) -> str:
    return name.strip().casefold()


def inside_mask(
    region: AnnotatedRegion,
    *,
    x_l0: float | Fraction,
    y_l0: float | Fraction,
    factor: float | Fraction,
    width: int,
    height: int,
) -> npt.NDArray[np.bool_]:
    """Which pixels of an output image have their centre inside the region.

    The centre of the pixel in column c and row r is ``(x_l0 + (c + 1/2) * factor, y_l0 + (r + 1/2) *
    factor)`` in level-0 pixels. A point is inside a ring by the even-odd rule, inside a polygon if inside its
    exterior and no hole, and inside the region if inside any of its polygons. So an image gives the same mask
    whole or in strips.

    Args:
        region: The annotation.
        x_l0: Left edge of the image, level-0 pixels.
        y_l0: Top edge of the image (or strip of it), level-0 pixels.
        factor: Level-0 pixels per image pixel.
        width: Columns of the image.
        height: Rows of the image.

    Returns:
        (height, width) bool.
    """
    frame = (float(x_l0), float(y_l0), float(factor), width, height)
    inside = np.zeros((height, width), dtype=bool)
    for polygon in region.polygons:
        filled = _inside_ring(polygon.exterior, *frame)
        for hole in polygon.holes:
            filled &= ~_inside_ring(hole, *frame)
        inside |= filled
    return inside


def _inside_ring(
    ring: Ring, x_l0: float, y_l0: float, factor: float, width: int, height: int
) -> npt.NDArray[np.bool_]:
    """Even-odd membership of pixel centres: an edge flips, on every row it crosses, what is to its right."""
    # In this frame pixel centres are whole numbers.
    corners = (np.asarray(ring, dtype=np.float64) - (x_l0, y_l0)) / factor - 0.5
    start, end = corners, np.roll(corners, -1, axis=0)
    upper = np.minimum(start[:, 1], end[:, 1])
    lower = np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(upper), 0, height).astype(np.int64)
    stop = np.clip(np.ceil(lower), 0, height).astype(np.int64)  # half-open: a corner belongs to one edge only
    counts = stop - first
    edge = np.repeat(np.arange(len(ring)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    crossing = start[edge, 0] + (row - start[edge, 1]) * slope
    column = np.clip(np.ceil(crossing), 0, width).astype(np.int64)
    flips = np.zeros((height, width + 1), dtype=np.uint8)
    np.add.at(flips, (row, column), 1)  # wraps at 256, which keeps the parity
    parity: npt.NDArray[np.bool_] = (np.cumsum(flips[:, :width], axis=1, dtype=np.uint8) & 1).astype(bool)
    return parity


def checked_number(value: Any, where: str) -> float:
    """A coordinate as a finite number.

    Args:
        value: What the file holds: a number, or in XML a string.
        where: File and place in it, for the message.

    Raises:
        InputError: It is none.
    """
    try:
        found = _plain_number(value)
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if not isfinite(found) or abs(found) > FARTHEST_PX:
        raise InputError(
            f"{where}: coordinates must be finite numbers in level-0 pixels, at most {FARTHEST_PX:,}, and one is "
            f"{str(value)[:40]!r}; correct or remove this annotation"
        )
    return found


def _plain_number(value: Any) -> float:
    if isinstance(value, str):
        return number(value)
    return float("nan") if isinstance(value, bool) or value is None else float(value)


def checked_ring(corners: list[tuple[float, float]], where: str) -> Ring:
    """A ring without repeated corners in a row, at least a triangle, with an area of pixels.

    Args:
        corners: The outline, level-0 pixels; the last corner may repeat the first.
        where: File and place in it, for the message.

    Raises:
        InputError: Fewer than 3 corners, no area, or smaller than one pixel.
    """
    kept = [c for i, c in enumerate(corners) if i == 0 or c != corners[i - 1]]
    if len(kept) > 1 and kept[0] == kept[-1]:
        kept.pop()
    if len(kept) < 3:
        raise InputError(
            f"{where}: an outline needs at least 3 different corners, and this one has {len(kept)}; remove it"
        )
    points = np.array(kept)
    relative = points - points[0]
    far = relative[np.argmax((relative**2).sum(axis=1))]
    if not np.any(relative[:, 0] * far[1] != relative[:, 1] * far[0]):
        raise InputError(f"{where}: the outline has no area, all its corners lie on one line; remove it")
    if np.ptp(points, axis=0).max() < 1:
        raise InputError(
            f"{where}: the outline is smaller than one level-0 pixel ({_extent(points)}), so its "
            "coordinates are probably fractions, mm or degrees; export it in pixels of the full-resolution "
            "image"
        )
    return tuple(kept)


def _extent(points: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    width, height = np.ptp(points, axis=0)
    return f"{width:.3g} x {height:.3g}"
