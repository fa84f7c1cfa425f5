"""An explained slide as a pyramidal, tiled OME-TIFF, to lay beside or over the slide in QuPath and other viewers.

In: a :class:`~kdtrain.predict.explain.picture.SlidePicture`, the overview, and the regions' images if they are at hand.
Out: a file of the whole slide's extent at about the network's magnification, whose physical pixel size makes it line up
    with
the slide: its pixel (0, 0) starts where the slide's does. Format: OME-TIFF of the 2016-06 schema with the lower
resolutions in SubIFDs (OME-TIFF specification 6.0), tiles of JPEG without chroma subsampling.

The regions' places are held to whole pixels of the file; their maps lie exactly. tifffile is needed, which comes with
``kdtrain[slides]``.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from kdtrain.bundle.runtime import Pixels
from kdtrain.errors import UsageError
from kdtrain.files import open_atomically
from kdtrain.predict.answers.prediction import RegionPrediction
from kdtrain.predict.explain.picture import CAUTION, OPACITY, Place, SlidePicture, paint
from kdtrain.text import visible

MAX_PIXELS = 64_000_000
"""Above, the file is made at half the magnification, and so on: the picture is held in memory, 192 MB at this size."""

MIN_SIDE_PX = 2000
"""Below, at twice the magnification, and so on up to the slide's own: at 1.25x a biopsy is a hundred pixels wide."""

_TILE_PX = 512
_QUALITY = 90

Images = Callable[[int], Pixels]
"""A region's index to a picture of its box of any size, (rows, columns, 3) uint8."""


def write_ome_tiff(
    path: Path,
    picture: SlidePicture,
    overview: bytes,
    *,
    images: Images | None = None,
    opacity: float = OPACITY,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Write the file; the same input gives the same bytes.

    Args:
        path: Where; ``.ome.tif`` is what viewers expect.
        picture: What to draw; at least one region.
        overview: JPEG or PNG of the whole slide, which lies under and between the regions.
        images: The regions' pixels, which are sharper than the overview, such as the network's own; None leaves the
            overview.
        opacity: Opacity of the strongest colours, 0 to 1.
        max_pixels: Pixels of the largest resolution.

    Raises:
        UsageError: tifffile is not installed.
        OSError: The overview is damaged, or the file cannot be written.
    """
    factor = _factor(picture, max_pixels)
    canvas_HWC = painted_canvas(picture, overview, factor=factor, images=images, opacity=opacity)
    with open_atomically(path) as file:
        _write(file, canvas_HWC, _metadata(picture, canvas_HWC, factor))


def _factor(picture: SlidePicture, max_pixels: int) -> float:
    """Level-0 pixels per pixel of the file."""
    factor = picture.regions[0].level0_per_pixel[0]
    width, height = picture.prediction.width, picture.prediction.height
    while max(width, height) / factor < MIN_SIDE_PX and factor >= 2:
        factor /= 2
    while ceil(width / factor) * ceil(height / factor) > max_pixels:
        factor *= 2
    return factor


def painted_canvas(
    picture: SlidePicture, overview: bytes, *, factor: float, images: Images | None, opacity: float
) -> Pixels:
    """The whole slide with its maps, (rows, columns, 3) uint8.

    Args:
        picture: What to draw.
        overview: JPEG or PNG of the whole slide.
        factor: Level-0 pixels per pixel of the result.
        images: The regions' pixels, or None.
        opacity: Opacity of the strongest colours, 0 to 1.
    """
    slide = picture.prediction
    size = ceil(slide.width / factor), ceil(slide.height / factor)
    with Image.open(io.BytesIO(overview)) as image:
        canvas = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    if images is not None:
        for region in picture.regions:
            _lay(canvas, images(region.prediction.index), region.prediction, 1 / factor)
    canvas_HWC = np.array(canvas)
    for region, heat_map in picture.maps():
        place = Place.of(region.prediction, per_level0=1 / factor)
        paint(canvas_HWC, heat_map, region.prediction, place, picture.scale, opacity)
    return canvas_HWC


def _lay(canvas: Image.Image, image_HWC: Pixels, region: RegionPrediction, per_level0: float) -> None:
    """Put a region's picture in its place, to whole pixels."""
    place = Place.of(region, per_level0=per_level0)
    size = max(1, round(place.right - place.left)), max(1, round(place.bottom - place.top))
    picture = Image.fromarray(image_HWC).resize(size, Image.Resampling.LANCZOS)
    canvas.paste(picture, (round(place.left), round(place.top)))


def _metadata(picture: SlidePicture, canvas_HWC: Pixels, factor: float) -> dict[str, Any]:
    """What goes into the OME-XML."""
    most = picture.scale.most
    colours = (
        f"colours from {-most:.3g} to {most:.3g}" if picture.scale.signed else f"colours from 0 to {most:.3g}"
    )
    metadata: dict[str, Any] = {
        "axes": "YXS",
        # XML takes no control characters, not even escaped.
        "Name": visible(f"{picture.prediction.slide}: {picture.class_name}"),
        "Description": visible(f"{picture.meaning}; {colours}. {picture.bundle}. {CAUTION}"),
        "Creator": "kdtrain",
        # By content, since the library would draw one at random and no two files would be the same.
        "UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(canvas_HWC.tobytes()).hexdigest())}",
    }
    mpp = picture.prediction.mpp
    if mpp is not None:
        for axis in "XY":
            metadata[f"PhysicalSize{axis}"] = mpp * factor
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    return metadata


def _write(file: BinaryIO, canvas_HWC: Pixels, metadata: dict[str, Any]) -> None:
    try:
        import tifffile
    except ImportError:
        raise UsageError(
            "OME-TIFF files are written by tifffile, which is not installed; pip install 'kdtrain[slides]'"
        ) from None
    levels = _pyramid(canvas_HWC)
    common: dict[str, Any] = {
        "dtype": np.uint8,
        "tile": (_TILE_PX, _TILE_PX),
        "compression": "jpeg",
        "photometric": "ycbcr",
        "subsampling": (1, 1),
        "software": False,
    }
    if "PhysicalSizeX" in metadata:
        per_cm = 1e4 / metadata["PhysicalSizeX"]
        # The plain TIFF tags, for readers that know nothing of OME; of the largest resolution alone.
        first = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    else:
        first = {}
    with tifffile.TiffWriter(file, ome=True, bigtiff=True) as writer:
        for number, level in enumerate(levels):
            of_level = {"subfiletype": 1, "metadata": None} if number else {"metadata": metadata, **first}
            subifds = 0 if number else len(levels) - 1
            writer.write(_tiles(level), shape=level.shape, subifds=subifds, **common, **of_level)


def _pyramid(canvas_HWC: Pixels) -> list[Pixels]:
    """The canvas, and halves of it by means of 2 x 2 pixels down to a single tile."""
    levels = [canvas_HWC]
    while max(levels[-1].shape) > _TILE_PX:
        levels.append(np.asarray(Image.fromarray(levels[-1]).reduce(2)))
    return levels


def _tiles(level_HWC: Pixels) -> Iterator[bytes]:
    """JPEG of every tile in reading order, filled up with white."""
    height, width = level_HWC.shape[:2]
    for top in range(0, height, _TILE_PX):
        for left in range(0, width, _TILE_PX):
            part = level_HWC[top : top + _TILE_PX, left : left + _TILE_PX]
            tile = np.full((_TILE_PX, _TILE_PX, 3), 255, np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            buffer = io.BytesIO()
            Image.fromarray(tile).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
            yield buffer.getvalue()
