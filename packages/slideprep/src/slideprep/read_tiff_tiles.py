"""Open a TIFF or SVS whose tiles can be decoded directly and strictly; leave every other one to OpenSlide.

Which pages are levels, and what the slide says of itself, is OpenSlide's judgement: the pages found here must be
OpenSlide's levels in number and size, and a well-filled tile of each must decode to OpenSlide's pixels. Where that
fails, or the layout is unusual, :func:`open_tiff_tiles` returns None and OpenSlide reads the slide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slideprep.read_openslide import metadata_from_properties, open_handle
from slideprep.tiff_pages import Codec, level_pages
from slideprep.tile_check import agrees_with_openslide
from slideprep.tiled_slide import TiledSlide

if TYPE_CHECKING:
    import openslide

    from slideprep.discover import SlideFile


def open_tiff_tiles(file: SlideFile) -> TiledSlide | None:
    """Open a tiled TIFF or SVS whose levels are all JPEG, JPEG 2000 or deflate in a plain layout, else return None.

    Args:
        file: A file that OpenSlide detects as "aperio" or "generic-tiff".

    Raises:
        SlideOpenError: OpenSlide cannot open the file.
    """
    with open_handle(file) as handle:
        metadata = metadata_from_properties(handle.properties)
        sizes = handle.level_dimensions
        pages = level_pages(file, metadata.vendor, sizes)
        if pages is None:
            return None
        slide = _reader(pages[0].codec)(file=file, metadata=metadata, pages=pages, sizes=list(sizes))
        if all(_agrees(slide, handle, level) for level in range(len(pages))):
            return slide
        slide.close()
        return None


def _reader(codec: Codec) -> type[TiledSlide]:
    if codec == "jpeg":
        from slideprep.read_tiff_jpeg import TiffJpegSlide

        return TiffJpegSlide
    if codec == "deflate":
        from slideprep.read_tiff_deflate import TiffDeflateSlide

        return TiffDeflateSlide
    from slideprep.read_tiff_jp2k import TiffJp2kSlide

    return TiffJp2kSlide


def _agrees(slide: TiledSlide, handle: openslide.OpenSlide, level: int) -> bool:
    agrees = agrees_with_openslide(slide, handle, level)
    # all tiles tried are damaged: most decoders' complaints mean just that, while OpenJPEG's may be about how some
    # program writes all its tiles
    return not slide.pages[level].codec.startswith("jp2k") if agrees is None else agrees
