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
    from slideprep.slides.readers.tiff_facts import TiffFacts

_UNCHECKED = (
    "The file's list of pages is damaged or unusual: orientation, samples and pages could not be checked."
)
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
    from slideprep.slides.readers.plain import open_jpeg, open_vips
    from slideprep.slides.readers.tiff_facts import TIFF_STARTS

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
    if start[:4] in TIFF_STARTS:
        return _open_tiff(file, vendor)
    if vendor is not None:
        return open_openslide(file)
    known = next((what for mark, what in _OTHER_FORMATS.items() if start.startswith(mark)), None)
    if known is not None:
        raise SlideOpenError(f"slide '{file.name}' is {known} ({file.path})")
    raise SlideOpenError(
        f"slide '{file.name}' is no format that OpenSlide reads and no plain JPEG, PNG or TIFF image (its first bytes "
        f"are {start[:8]!r}); if it opens in another program, convert it there to a pyramidal TIFF ({file.path})"
    )


def _open_tiff(file: SlideFile, vendor: str | None) -> Slide:
    """A file whose tags no reader looks at: they are checked first, and what was found goes with the slide."""
    from slideprep.slides.readers.holes import without_holes
    from slideprep.slides.readers.openslide import open_openslide
    from slideprep.slides.readers.plain import open_plain_tiff
    from slideprep.slides.readers.tiff import open_tiff_tiles
    from slideprep.slides.readers.tiff_facts import read_facts

    facts = read_facts(file.path)
    found = [_UNCHECKED] if facts is None else _checked(file, facts, vendor)
    if vendor is None:
        slide: Slide = open_plain_tiff(file)
    elif vendor in ("aperio", "generic-tiff"):
        slide = open_tiff_tiles(file) or open_openslide(file)
    else:
        slide = open_openslide(file)
    slide.warnings += found
    return slide if facts is None or vendor is None else without_holes(slide, facts, vendor)


def _checked(file: SlideFile, facts: TiffFacts, vendor: str | None) -> list[str]:
    """Warnings about a TIFF's tags, and about a few of its samples where tags do not tell enough.

    Raises:
        SlideOpenError: It is not what any reader takes it for.
    """
    from slideprep.slides.readers import tiff_check, tiff_values

    reason = tiff_check.refusal(facts, vendor)
    values = None if reason else tiff_values.look(facts, tiff_check.slide_pages(facts, vendor)[0])
    if values is not None:
        reason = tiff_values.refusal(values)
    if reason:
        raise SlideOpenError(f"slide '{file.name}' cannot be read as a stained slide: {reason} ({file.path})")
    return [*tiff_check.warnings(facts, vendor), *(tiff_values.warnings(values) if values else ())]
