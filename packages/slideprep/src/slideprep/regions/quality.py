"""The rows of a region's images, as they are written, in; four numbers that say how good its tissue is to see out.

Focus is measured on the highest magnification, in every sixteenth row of blocks of a large region; ink, folds and
bubbles on the lowest that has 16 µm per pixel or less, averaged to about that. Nothing is decoded or filtered for it.
In memory are a few megabytes of rows, two numbers for each block, and a picture of :data:`MOST_PX` at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt

from slideprep.regions.layout import ImageGeometry
from slideprep.regions.pixels import Sink
from slideprep.shards.records import Quality
from slideprep.tissue.auto import OVERVIEW_MPP
from slideprep.tissue.focus import BLOCK, FINE_UM, Structure, focus_of, structure_of
from slideprep.tissue.quality import Disturbances, disturbances
from slideprep.units import Pixels

MOST_PX = 2_000_000
"""A picture for ink and folds is coarser than 16 µm where it would have more pixels: from 512 mm² of glass on."""

PICTURE_BYTES_PER_PX = 80
"""What the picture takes while it is looked at, with the detector's arrays: measured 60."""

TOO_COARSE_UM = 1.25 * OVERVIEW_MPP
"""Scanners' objectives are not exact: images up to this are taken as they are."""

ENOUGH_BANDS, SPARSEST = 16, 16
"""A region that has more than so many rows of blocks is measured on some of them, at least on every sixteenth."""

SAMPLES = 4
"""A pixel of the picture is the mean of this many rows and columns, where an image has twice as many or more."""

_DIGITS = 4
_HELD_BYTES = 4_000_000
"""Rows are looked at together: on little, numpy is slow."""


class QualityMeter:
    """Watches the rows of one region's images.

    Args:
        images: The region's images, highest magnification first.
        mpp: Microns per level-0 pixel; None to take 10x as 1 µm per pixel.

    Attributes:
        images: As given.
    """

    def __init__(self, images: Sequence[ImageGeometry], *, mpp: float | None) -> None:
        self.images = tuple(images)
        self._fine, self._shown = images[0], _picture_of(images, mpp)
        self._coarse = images[self._shown]
        self._square = max(1, round(FINE_UM / _um_per_px(self._fine, mpp)))
        self._block = BLOCK * self._square
        self._every = min(SPARSEST, max(1, self._fine.height // self._block // ENOUGH_BANDS))
        self._cell = cell_px(self._coarse, mpp)
        self._apart = max(1, self._cell // SAMPLES)
        self._picture_um = _um_per_px(self._coarse, mpp) * self._cell
        self._structure: list[Structure] = []
        self._picture: list[Pixels] = []
        self._bands = _Held(self._of_bands, self._block, self._add_blocks)
        self._cells = _Held(self._of_cells, self._cell // self._apart, self._add_picture)

    def watch(self, sinks: Sequence[Sink]) -> list[Sink]:
        """The sinks of the images; they get the same rows as before.

        Args:
            sinks: One per image, in the order of ``images``.
        """
        watched = list(sinks)
        for place, held in ((0, self._bands), (self._shown, self._cells)):
            watched[place] = _both(watched[place], held.add)
        return watched

    def measured(self) -> Quality:
        """The numbers, once all rows were seen."""
        self._bands.finish()
        self._cells.finish()
        valid = self._coarse.valid
        picture = np.concatenate(self._picture)[: valid.height // self._cell, : valid.width // self._cell]
        if not picture.size:  # less than a pixel of it lies on the slide
            return Quality(focus=None, ink=0, folds=0, bubbles=0)
        found = disturbances(picture, mpp=self._picture_um)
        return Quality(
            focus=self._focus(found),
            ink=_share(found.ink, found.ink.size),
            folds=_share(found.folds, int(np.count_nonzero(found.tissue))),
            bubbles=_share(found.bubbles, found.bubbles.size),
        )

    def _of_bands(self, rows: Pixels, first: int) -> npt.NDArray[np.uint8]:
        """Green of the rows that are in a band to measure."""
        bands = np.arange(first, first + len(rows)) // self._block
        return rows[bands % self._every == 0, :, 1]

    def _of_cells(self, rows: Pixels, first: int) -> Pixels:
        return rows[-first % self._apart :: self._apart, :: self._apart].copy()

    def _add_blocks(self, green: npt.NDArray[np.uint8]) -> None:
        self._structure.append(structure_of(green, square_px=self._square))

    def _add_picture(self, rows: Pixels) -> None:
        self._picture.append(_averaged(rows, self._cell // self._apart))

    def _focus(self, found: Disturbances) -> float | None:
        """Of the blocks whose middle is tissue in the picture: both images show the same field."""
        if not self._structure:
            return None
        seen = Structure(
            fine=np.concatenate([part.fine for part in self._structure]),
            coarse=np.concatenate([part.coarse for part in self._structure]),
        )
        blocks_in_px = self._block * self._coarse.height / (self._fine.height * self._cell)
        rows, columns = (
            np.minimum((np.arange(count) * every + 0.5) * blocks_in_px, side).astype(np.int64)
            for count, every, side in zip(seen.fine.shape, (self._every, 1), found.tissue.shape, strict=True)
        )
        tissue = np.pad(found.tissue, ((0, 1), (0, 1)))[np.ix_(rows, columns)]
        focus = focus_of(seen, tissue)
        return None if focus is None else round(focus, _DIGITS)


class _Held:
    """Some of an image's rows as they come in; those that belong together out, many at a time.

    Args:
        pick: What to keep of rows, of which the first has that number; a copy, since whoever made them may use their
            memory again.
        unit: Kept rows that belong together; a last few that are fewer are dropped.
        use: Called with whole units.
    """

    def __init__(
        self,
        pick: Callable[[Pixels, int], npt.NDArray[np.uint8]],
        unit: int,
        use: Callable[[npt.NDArray[np.uint8]], None],
    ) -> None:
        self._pick, self._unit, self._use = pick, unit, use
        self._parts: list[npt.NDArray[np.uint8]] = []
        self._row = self._kept = self._bytes = 0

    def add(self, rows: Pixels) -> None:
        part = self._pick(rows, self._row)
        self._row += len(rows)
        self._parts.append(part)
        self._kept += len(part)
        self._bytes += part.nbytes
        if self._bytes >= _HELD_BYTES:
            self.finish()

    def finish(self) -> None:
        whole = self._kept - self._kept % self._unit
        if whole:
            held = np.concatenate(self._parts)
            self._use(held[:whole])
            rest = held[whole:].copy()
            self._parts, self._kept, self._bytes = [rest], len(rest), rest.nbytes


def _both(first: Sink, second: Sink) -> Sink:
    def sink(rows: Pixels) -> None:
        first(rows)
        second(rows)

    return sink


def _um_per_px(image: ImageGeometry, mpp: float | None) -> float:
    return 10 / image.magnification if mpp is None else float(mpp * image.factor)


def looked_at(images: Sequence[ImageGeometry], *, mpp: float | None) -> list[ImageGeometry]:
    """Those of a region's images that a meter looks at; of these alone it says the same as of all.

    Args:
        images: The region's images, highest magnification first.
        mpp: Microns per level-0 pixel, or None.
    """
    shown = _picture_of(images, mpp)
    return [images[0], images[shown]] if shown else [images[0]]


def _picture_of(images: Sequence[ImageGeometry], mpp: float | None) -> int:
    """Which image ink and folds are looked for in."""
    return max((i for i, image in enumerate(images) if _um_per_px(image, mpp) <= TOO_COARSE_UM), default=0)


def cell_px(image: ImageGeometry, mpp: float | None) -> int:
    """Sides of what becomes one pixel of the picture, in pixels of the image.

    Args:
        image: The image that the picture is made of.
        mpp: Microns per level-0 pixel, or None.
    """
    side = max(
        1, round(OVERVIEW_MPP / _um_per_px(image, mpp)), ceil(sqrt(image.width * image.height / MOST_PX))
    )
    if side >= 2 * SAMPLES:
        side = SAMPLES * ceil(side / SAMPLES - 0.5)
    return min(side, image.width, image.height)


def picture_bytes(images: Sequence[ImageGeometry], mpp: float | None) -> int:
    """Memory that measuring takes.

    Args:
        images: The region's images, highest magnification first.
        mpp: Microns per level-0 pixel, or None.
    """
    image = images[_picture_of(images, mpp)]
    pixels = image.width * image.height // cell_px(image, mpp) ** 2
    return 2 * _HELD_BYTES + PICTURE_BYTES_PER_PX * pixels


def _averaged(rows: Pixels, cell_px: int) -> Pixels:
    """Means of whole cells."""
    if cell_px == 1:
        return rows
    height, width = (side // cell_px for side in rows.shape[:2])
    whole = rows[: height * cell_px, : width * cell_px]
    down = whole.reshape(height, cell_px, -1).sum(axis=1, dtype=np.uint32)
    sums = down.reshape(height, width, cell_px, 3).sum(axis=2)
    means: Pixels = ((sums + cell_px**2 // 2) // cell_px**2).astype(np.uint8)
    return means


def _share(part: npt.NDArray[np.bool_], whole: int) -> float:
    return round(np.count_nonzero(part) / whole, _DIGITS) if whole else 0.0
