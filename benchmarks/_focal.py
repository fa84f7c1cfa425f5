"""Regions with planted lesions, for the pointing game: pixels, where the lesion is, and what a blind guess would hit.

Frames: everything is in pixels of an image at one magnification; a pixel belongs to a lesion if its centre does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kdtrain.bundle.stain import densities, is_stained
from slideprep import ReadSettings, RegionImage, RegionImages, extract, open_slide
from slideprep.tissue.annotation_files import read_annotations
from slideprep.tissue.annotations import AnnotatedRegion, inside_mask

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A region's image at one magnification, and where its lesions are."""

    pixels: Pixels
    inside: Mask
    """(rows, columns): within a lesion's outline."""
    distance: NDArray[np.float64]
    """(rows, columns): pixels to the nearest pixel of a lesion; 0 inside."""
    tissue: Mask
    """(rows, columns): stained, holes included."""

    def distance_at(self, x: float, y: float) -> float:
        """Pixels from a point of the image to a lesion; points beyond the edge count as on it."""
        rows, columns = self.distance.shape
        return float(self.distance[min(max(int(y), 0), rows - 1), min(max(int(x), 0), columns - 1)])


@dataclass(frozen=True, kw_only=True)
class FocalRegion:
    """A region that holds one lesion or more, all of one class."""

    slide: str
    class_name: str
    targets: dict[float, Target]
    """By magnification."""


def focal_regions(folder: Path, truth: Path, magnifications: Sequence[float]) -> Iterator[FocalRegion]:
    """The regions of all slides of a folder that lesions lie wholly in.

    Args:
        folder: Slides. They may be others than those that ``truth`` tells of, if they have the same tissue: so one
            asks what is said where there is no lesion.
        truth: Outlines of lesions, GeoJSON files named like the slides.
        magnifications: Of the images; they decide the grid that regions lie on.
    """
    settings = ReadSettings(magnifications=tuple(magnifications))
    for path in sorted(folder.glob("*.tiff")):
        lesions = read_annotations(truth / f"{path.stem}.geojson").regions
        with open_slide(path) as slide:
            for region in extract(slide, settings):
                within = [lesion for lesion in lesions if _holds(region, lesion)]
                if within:
                    yield FocalRegion(
                        slide=path.stem,
                        class_name=str(within[0].class_name),
                        targets={m: _target(region, image, within) for m, image in region.images.items()},
                    )


def _holds(region: RegionImages, lesion: AnnotatedRegion) -> bool:
    left, top, right, bottom = lesion.bounds
    return (
        left >= region.x
        and top >= region.y
        and right <= region.x + region.width
        and bottom <= region.y + region.height
    )


def _target(region: RegionImages, image: RegionImage, lesions: Sequence[AnnotatedRegion]) -> Target:
    masks = [
        inside_mask(
            lesion, x_l0=region.x, y_l0=region.y, factor=image.factor, width=image.width, height=image.height
        )
        for lesion in lesions
    ]
    inside: Mask = np.logical_or.reduce(masks)
    pixels = image.pixels
    return Target(
        pixels=pixels,
        inside=inside,
        distance=ndimage.distance_transform_edt(~inside),
        tissue=_tissue(pixels),
    )


def _tissue(pixels: Pixels) -> Mask:
    filled: Mask = ndimage.binary_fill_holes(is_stained(densities(pixels)))
    return filled
