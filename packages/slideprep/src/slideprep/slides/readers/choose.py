"""Which reader opens which file: the strictest one that can read it.

In: a :class:`~slideprep.slides.files.SlideFile`. Out: a :class:`~slideprep.slides.reader.Slide`. Each reader is
imported when a slide needs it, so that a command that opens none starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slideprep.errors import SlideOpenError
from slideprep.slides.reader import Slide, _first_bytes

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile


_UNREAD = "which no reader here opens; "
_OTHER_FORMATS = {
    b"\0\0\0\x0cjP  ": f"a JPEG 2000 image, {_UNREAD}convert it to TIFF",
    b"\xff\x4f\xff\x51": f"a JPEG 2000 image, {_UNREAD}convert it to TIFF",
    b"BM": f"a BMP image, {_UNREAD}convert it to PNG or TIFF",
    b"GIF8": f"a GIF image, {_UNREAD}convert it to PNG or TIFF",
    b"RIFF": f"a WebP image, {_UNREAD}convert it to PNG or TIFF",
    b"PK\x03\x04": "an archive; unpack it",
    b"\x1f\x8b": "an archive; unpack it",
    b"7z\xbc\xaf": "an archive; unpack it",
}
"""What files begin with that OpenSlide does not know, and that are often among slides."""


def open_reader(file: SlideFile) -> Slide:
    """Open a slide with the strictest reader that can read it, and keep those of its levels that are level 0 reduced.

    TIFF, Aperio SVS and DICOM with tiles of JPEG, SVS with tiles of JPEG 2000 and TIFF with tiles of deflate go to the
    strict tile readers, everything else that OpenSlide knows to OpenSlide, plain JPEG to a strict JPEG decoder, other
    plain images to libvips.

    Args:
        file: As :func:`slideprep.slides.discover.find_slides` returns it.

    Raises:
        SlideOpenError: The file is missing, empty, truncated, damaged, too large or no image that can be read.
    """
    from slideprep.slides.readers.believed_levels import keep_believed_levels

    slide = _strictest(file)
    keep_believed_levels(slide)
    return slide


def _strictest(file: SlideFile) -> Slide:
    from slideprep.slides.readers.openslide import detect_vendor, open_openslide
    from slideprep.slides.readers.plain import open_jpeg, open_plain_tiff, open_vips
    from slideprep.slides.readers.tiff import open_tiff_tiles

    start = _first_bytes(file)
    if start.startswith(b"\xff\xd8\xff"):
        return open_jpeg(file)
    if start.startswith(b"\x89PNG"):
        return open_vips(file)
    vendor = detect_vendor(file)
    if vendor == "dicom":
        from slideprep.slides.readers.dicom import open_dicom_jpeg
        from slideprep.slides.readers.dicom_sparse import open_dicom_openslide

        return open_dicom_jpeg(file) or open_dicom_openslide(file)
    if vendor in ("aperio", "generic-tiff"):
        return open_tiff_tiles(file) or open_openslide(file)
    if vendor is not None:
        return open_openslide(file)
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return open_plain_tiff(file)
    known = next((what for mark, what in _OTHER_FORMATS.items() if start.startswith(mark)), None)
    if known is not None:
        raise SlideOpenError(f"slide '{file.name}' is {known} ({file.path})")
    raise SlideOpenError(
        f"slide '{file.name}' is no format that OpenSlide reads and no plain JPEG, PNG or TIFF image (its first bytes "
        f"are {start[:8]!r}); if it opens in another program, convert it there to a pyramidal TIFF ({file.path})"
    )
