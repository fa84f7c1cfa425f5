"""Decode JPEG frames of DICOM whole-slide files directly, and refuse damaged ones, as of TIFF.

OpenSlide decodes a frame until its pixels are there, and takes zeros for coded pixels: of 19 frames whose second half
was zeroed it refused none. Here the frame must also end as a JPEG does. Colours are those of the frames' own headers,
whatever the file's colour tag says (see :mod:`slideprep.slides.readers.dicom_colours`).

What a slide says of itself is OpenSlide's judgement, and a frame of every level must be OpenSlide's. Where that fails,
or the series is not the plain one (one file a level, frames in rows, a single focal plane), OpenSlide reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slideprep.slides.dicom import largest_level
from slideprep.slides.readers.dicom_colours import JPEG_SYNTAXES, levels_wrongly_tagged_rgb, stated_colours
from slideprep.slides.readers.dicom_frames import Frames, read_frames
from slideprep.slides.readers.openslide import metadata_from_properties, note_converted, open_handle
from slideprep.slides.readers.tiff import agrees_with_openslide
from slideprep.slides.readers.tiff_pages import ADOBE_RGB, START_OF_IMAGE, TiledPage
from slideprep.slides.readers.tile_codecs import TiffJpegSlide

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile

_HEADER_BYTES = 65_536


class DicomJpegSlide(TiffJpegSlide):
    """A DICOM series of JPEG frames; see :class:`slideprep.slides.readers.tiled.TiledSlide`."""

    reader = "dicom-jpeg"


def open_dicom_jpeg(file: SlideFile) -> DicomJpegSlide | None:
    """Open a DICOM series whose levels are all JPEG frames in a plain layout, else return None.

    Raises:
        SlideOpenError: OpenSlide cannot open the file, a file of the series or a list of frames is damaged, or the
            colours cannot be trusted.
    """
    largest_level(file)
    # before OpenSlide looks at them: a damaged list of frames ends the process inside libdicom
    found = [read_frames(file, path) for path in file.files]
    with open_handle(file) as handle:
        sizes = list(handle.level_dimensions)
        pages = _pages(found, sizes)
        if pages is None:
            return None
        ycbcr_levels = levels_wrongly_tagged_rgb(file, sizes)
        metadata = metadata_from_properties(handle.properties)
        slide = DicomJpegSlide(file=file, metadata=metadata, pages=pages, sizes=sizes)
        if all(
            agrees_with_openslide(slide, handle, level, ycbcr=level in ycbcr_levels)
            for level in range(len(sizes))
        ):
            note_converted(slide.warnings, len(ycbcr_levels), len(sizes))
            _note_empty(slide.warnings, pages[0])
            return slide
        slide.close()
        return None


def _note_empty(warnings: list[str], page: TiledPage) -> None:
    empty = int((page.byte_counts == 0).sum())
    if empty:
        warnings.append(
            f"{empty} of {len(page.byte_counts)} tiles of level 0 are not stored in the file; they are shown as "
            "background."
        )


def _pages(found: Sequence[Frames | None], sizes: Sequence[tuple[int, int]]) -> list[TiledPage] | None:
    """One page per level, or None where a level is not one file of plain frames."""
    by_size: dict[tuple[int, int], TiledPage] = {}
    for frames in found:
        page = None if frames is None else _page(frames)
        if frames is None or page is None:
            return None
        by_size[frames.size] = page
    if len(by_size) != len(found) or set(by_size) != set(sizes):
        return None
    return [by_size[size] for size in sizes]


def _page(frames: Frames) -> TiledPage | None:
    tags, (width, height), (tile_width, tile_height) = frames.tags, frames.size, frames.tile
    columns, rows = -(-width // tile_width), -(-height // tile_height)
    plain = (
        tags["TransferSyntaxUID"] in JPEG_SYNTAXES
        and tags["DimensionOrganizationType"] == "TILED_FULL"
        and (tags["TotalPixelMatrixFocalPlanes"] or 1) == 1
        and (tags["NumberOfOpticalPaths"] or 1) == 1
        and (tags["SamplesPerPixel"], tags["BitsAllocated"]) == (3, 8)
        and len(frames.offsets) == columns * rows
    )
    if not plain:
        return None
    return TiledPage(
        path=frames.path,
        codec="jpeg",
        tile_width=tile_width,
        tile_height=tile_height,
        columns=columns,
        offsets=frames.offsets,
        byte_counts=frames.byte_counts,
        header=_header(frames),
    )


def _header(frames: Frames) -> bytes:
    """A start marker, and where frames say nothing of their colours an Adobe marker of what the tag says."""
    with frames.path.open("rb") as stream:
        stream.seek(int(frames.offsets[0]))
        stated = stated_colours(stream.read(min(_HEADER_BYTES, int(frames.byte_counts[0]))))
    is_rgb = stated is None and frames.tags["PhotometricInterpretation"] == "RGB"
    return START_OF_IMAGE + (ADOBE_RGB if is_rgb else b"")
