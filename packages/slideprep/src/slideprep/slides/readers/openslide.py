"""Read through OpenSlide what the strict tile readers do not: NDPI, MRXS, SCN, BIF, VMS, Philips, DICOM and others.

In: a slide file that OpenSlide detects. Out: strips of RGB pixels, and what the file says of itself (:class:`Metadata`,
which the strict tile readers use as well). Bounds of the scanned area (``openslide.bounds-*``) are not applied: the
frame stays that of level 0. Transparent pixels are flattened on the slide's own background. What a decoder inside
OpenSlide warns of counts as damage, as its errors do.

OpenSlide addresses every level in whole level-0 pixels. At level 0 the strips are exact; at a coarser level a strip
that begins below the top can lie off by less than one level-0 pixel, so small levels are read in one piece.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from slideprep.errors import SlideOpenError, SlideReadError
from slideprep.slides.reader import STRIP_ROWS, ClosingSlide, grid_cells, levels_from_sizes
from slideprep.slides.readers.openslide_warnings import ask_for_warnings, decoder_warnings
from slideprep.slides.readers.stated_scale import stated_scale
from slideprep.units import Pixels

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile

ask_for_warnings()  # it looks only while it is loaded
import openslide  # noqa: E402

_BLOCK_COLUMNS = 4096
_ONE_PIECE_PX = 16_000_000
"""A coarse level up to this area is read in one piece (64 MB of RGBA), hence exactly."""

_TALLEST_STRIP = 2048

_DAMAGED = "it is probably truncated or damaged, copy it again from its source"
_OPENSLIDES_WORDS = {
    "concatenation": "one level is spread over several files and one of these is not there, copy the others beside it",
    "unexpected image": "its series holds two images of one size, as of two focal planes, so leave one of them out",
}
"""What is wrong where OpenSlide's words do not mean damage."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a slide says of itself, read through OpenSlide's properties.

    Attributes:
        vendor: OpenSlide's name of the format.
        mpp: Microns per level-0 pixel, mean of x and y, or None.
        objective: Objective power, or None.
        background: (red, green, blue), white where the slide names none.
        warnings: Plain sentences.
        scale_doubts: Those of them that say why mpp or objective is not what the file says.
    """

    vendor: str
    mpp: float | None
    objective: float | None
    background: tuple[int, int, int]
    warnings: tuple[str, ...]
    scale_doubts: tuple[str, ...]


def detect_vendor(file: SlideFile) -> str | None:
    """OpenSlide's name of the file's format, or None where it does not know it."""
    with decoder_warnings():
        vendor: str | None = openslide.OpenSlide.detect_format(file.path)
    return vendor


def open_handle(file: SlideFile) -> openslide.OpenSlide:
    """Open the file with OpenSlide.

    Raises:
        SlideOpenError: OpenSlide refuses it; the message carries OpenSlide's own words.
    """
    try:
        with decoder_warnings():  # of tags that libtiff does not know: no harm
            return openslide.OpenSlide(file.path)
    except openslide.OpenSlideError as error:
        if "nsupported" in str(error):
            raise SlideOpenError(
                f"slide '{file.name}' is coded in a way that OpenSlide does not read, or its pages do not go from the "
                f"largest to the smallest ('{error}'); convert it to a pyramidal TIFF with JPEG tiles ({file.path})"
            ) from error
        reason = next((why for words, why in _OPENSLIDES_WORDS.items() if words in str(error)), _DAMAGED)
        raise SlideOpenError(
            f"slide '{file.name}' cannot be opened: OpenSlide says '{error}'; {reason} ({file.path})"
        ) from error


def metadata_from_properties(properties: Mapping[str, str]) -> Metadata:
    """Take vendor, mpp, objective and background from OpenSlide's properties, distrusting what cannot be."""
    scale = stated_scale(properties)
    background = properties.get("openslide.background-color", "FFFFFF")
    return Metadata(
        vendor=properties.get("openslide.vendor", "unknown"),
        mpp=scale.mpp,
        objective=scale.objective,
        background=(int(background[0:2], 16), int(background[2:4], 16), int(background[4:6], 16)),
        warnings=(*scale.doubts, *_illumination(properties)),
        scale_doubts=scale.doubts,
    )


def _illumination(properties: Mapping[str, str]) -> Iterator[str]:
    """A warning of a DICOM slide that was not lit from behind."""
    said = properties.get(
        "dicom.OpticalPathSequence[0].IlluminationTypeCodeSequence[0].CodeMeaning", "Brightfield"
    )
    if re.search("fluoresc|dark", said, re.IGNORECASE):
        yield (
            f"The file's illumination is '{said[:60]}', and tissue is looked for as stain on bright glass; look at it "
            "in preview.html."
        )


def open_openslide(file: SlideFile) -> OpenSlideSlide:
    """Open a slide through OpenSlide; of a DICOM series, check the colour tag against the frames.

    Raises:
        SlideOpenError: OpenSlide refuses the file, or its colours cannot be trusted.
    """
    handle = open_handle(file)
    try:
        metadata = metadata_from_properties(handle.properties)
        ycbcr_levels: frozenset[int] = frozenset()
        if metadata.vendor == "dicom":
            from slideprep.slides.readers.dicom_colours import levels_wrongly_tagged_rgb

            _check_largest_level(file, handle.level_dimensions[0])
            ycbcr_levels = levels_wrongly_tagged_rgb(file, handle.level_dimensions)
    except SlideOpenError:
        handle.close()
        raise
    return OpenSlideSlide(file=file, handle=handle, metadata=metadata, ycbcr_levels=ycbcr_levels)


def _check_largest_level(file: SlideFile, found: tuple[int, int]) -> None:
    """OpenSlide passes over files of a series that it cannot read, without a word."""
    from slideprep.slides.dicom import largest_level

    largest = largest_level(file)
    if largest != found:
        raise SlideOpenError(
            f"slide '{file.name}': its largest level has {largest[0]} x {largest[1]} px, but OpenSlide can read none "
            f"larger than {found[0]} x {found[1]} px; copy the file of that level again from its source"
        )


def note_converted(warnings: list[str], ycbcr_levels: int, levels: int) -> None:
    """Add the warning about levels whose colour tag is wrong, if there are any."""
    if ycbcr_levels:
        warnings.append(
            f"The colour tag says RGB but the JPEG frames of {ycbcr_levels} of {levels} levels are YCbCr by their own "
            "headers; their colours were converted."
        )


class OpenSlideSlide(ClosingSlide):
    """A slide read through OpenSlide; see :class:`slideprep.slides.reader.Slide`."""

    reader = "openslide"

    def __init__(
        self,
        *,
        file: SlideFile,
        handle: openslide.OpenSlide,
        metadata: Metadata,
        ycbcr_levels: frozenset[int],
    ) -> None:
        """Take over an open handle; ``ycbcr_levels`` are levels whose "RGB" is YCbCr in truth."""
        self.name = file.name
        self.vendor = metadata.vendor
        self.levels = levels_from_sizes(handle.level_dimensions)
        self.mpp = metadata.mpp
        self.objective = metadata.objective
        self.background = metadata.background
        self.warnings = list(metadata.warnings)
        self.scale_doubts = metadata.scale_doubts
        self._file = file
        self._handle: openslide.OpenSlide | None = handle
        self._ycbcr_levels = ycbcr_levels
        self._tiles = [_tile_size(handle.properties, level) for level in range(len(self.levels))]
        self._numbers = list(range(len(self.levels)))  # of the levels, as OpenSlide counts them
        note_converted(self.warnings, len(ycbcr_levels), len(self.levels))

    def keep_levels(self, indices: Sequence[int]) -> None:
        """Keep some levels only; see :meth:`slideprep.slides.reader.Slide.keep_levels`."""
        self.levels = tuple(self.levels[index] for index in indices)
        self._tiles = [self._tiles[index] for index in indices]
        self._numbers = [self._numbers[index] for index in indices]

    def strips(self, level: int, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        """Read a box of a level; see :meth:`slideprep.slides.reader.Slide.strips`."""
        size = self.levels[level]
        assert 0 <= x < x + width <= size.width, f"columns {x}+{width} outside level {level} of {size.width}"
        assert 0 <= y < y + height <= size.height, f"rows {y}+{height} outside level {level} of {size.height}"
        tile_width, tile_height = self._tiles[level]
        if level > 0 and size.width * size.height <= _ONE_PIECE_PX:
            tile_width, tile_height = size.width, size.height
        return self._strips(level, (x, y, width, height), tile_width, tile_height)

    def _strips(
        self, level: int, box: tuple[int, int, int, int], tile_width: int, tile_height: int
    ) -> Iterator[Pixels]:
        x, y, width, height = box
        # whole tiles side by side, so that no tile is decoded for two blocks
        block = tile_width * max(1, _BLOCK_COLUMNS // tile_width)
        for _, top, bottom in grid_cells(y, y + height, tile_height):
            strip = np.empty((bottom - top, width, 3), np.uint8)
            for _, left, right in grid_cells(x, x + width, block):
                strip[:, left - x : right - x] = self._block(level, left, top, right - left, bottom - top)
            yield strip
            del strip  # its memory can serve the next one

    def _block(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """One call of OpenSlide, flattened and with its colours set right; frame: level pixels."""
        size, number = self.levels[level], self._numbers[level]
        location_l0 = (round(x * size.downsample_x), round(y * size.downsample_y))
        if self._handle is None:
            self._handle = open_handle(self._file)
        try:
            with decoder_warnings() as heard:
                rgba = np.asarray(self._handle.read_region(location_l0, number, (width, height)))
        except openslide.OpenSlideError as error:
            # OpenSlide answers every later call with the same error; a new handle can still read other boxes
            self.close()
            raise self._refusal(level, x, y, width, height, str(error)) from error
        if heard:
            self.close()  # its cache holds the tile as it was decoded, and would give it without a word
            raise self._refusal(level, x, y, width, height, "; ".join(dict.fromkeys(heard)))
        return flatten(rgba, self.background, ycbcr=number in self._ycbcr_levels)

    def _refusal(self, level: int, x: int, y: int, width: int, height: int, words: str) -> SlideReadError:
        return SlideReadError(
            f"slide '{self.name}' level {level}, box of {width} x {height} px at ({x}, {y}) in level pixels, "
            f"cannot be read: OpenSlide says '{words}'; the file is damaged there, copy it again from its source"
        )

    def coarse_strips(self, level: int, reduction: float) -> tuple[int, Iterator[Pixels]]:
        """Strips of the whole level, not reduced: OpenSlide decodes in full whatever is asked."""
        size = self.levels[level]
        return 1, self.strips(level, 0, 0, size.width, size.height)

    def close(self) -> None:
        """Release the file."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def _tile_size(properties: Mapping[str, str], level: int) -> tuple[int, int]:
    """(width, height) of a level's tiles in level pixels; strips of 256 rows where it has none, or giant ones."""
    width = int(properties.get(f"openslide.level[{level}].tile-width", 0))
    height = int(properties.get(f"openslide.level[{level}].tile-height", 0))
    if width <= 0 or not 0 < height <= _TALLEST_STRIP:
        return _BLOCK_COLUMNS, STRIP_ROWS
    return width, height


def flatten(rgba: Pixels, background: tuple[int, int, int], *, ycbcr: bool = False) -> Pixels:
    """Lay (rows, columns, 4) uint8 with straight alpha on a background: (rows, columns, 3) uint8.

    Args:
        rgba: Pixels as openslide-python gives them.
        background: (red, green, blue).
        ycbcr: The three colours are really Y, Cb, Cr (full range, BT.601, as in JFIF) and are converted first.
    """
    colour, alpha = np.ascontiguousarray(rgba[..., :3]), rgba[..., 3]
    if ycbcr:
        colour = np.asarray(
            Image.frombuffer("YCbCr", colour.shape[1::-1], colour, "raw", "YCbCr", 0, 1).convert("RGB")
        )
    if alpha.min() == 255:
        return colour
    weight = alpha[..., None].astype(np.uint32)
    mixed = colour * weight + np.array(background, np.uint32) * (255 - weight)
    return ((mixed + 127) // 255).astype(np.uint8)
