"""Whether a TIFF's tags say a picture that the readers give as it is: refusals and warnings, by reason and remedy.

In: what the pages say (:class:`~slideprep.slides.readers.tiff_facts.TiffFacts`). Out: why the file cannot be taken for
a stained slide, or what of it is not read. No reader looks at these tags: libtiff inside OpenSlide mirrors each tile in
itself, takes any fourth sample for opacity, signed numbers for unsigned ones and 12 bits for 16; libvips and the strict
tile readers give samples as they are stored; and all of them take the first page for the slide.

What the readers honour, and so passes here: RGB and YCbCr of 8 bits, with opacity that is marked as such; RGB of 16
bits; one grey sample, either way round; palettes; channels together or apart. Orientation is honoured by none, and a
file with another one than upright is refused rather than turned: OpenSlide and the programs that show slides by it do
not turn it, so annotations made there, and boxes and maps given back to them, would lie in the wrong place.
"""

from __future__ import annotations

from collections.abc import Sequence

from slideprep.slides.readers.tiff_facts import PageFacts, TiffFacts
from slideprep.slides.readers.tiff_page_list import AS_TILES, first_is_no_slide, not_read, one_channel_a_page

GREY = "The image is grey, one sample a pixel; red, green and blue are made equal."

_TO_RGB = "convert it to 8-bit RGB"
_GREY, _RGB, _PALETTE, _YCBCR = (0, 1), 2, 3, 6
_COLOURS = {
    4: "a mask", 5: "CMYK inks", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a colour filter array",
    32844: "LogL", 32845: "LogLuv", 34892: "linear raw data",
}  # fmt: skip
_FORMATS = {
    2: "signed integers", 3: "floating point numbers", 5: "complex integers", 6: "complex numbers",
}  # fmt: skip
_TURNS = {
    2: "mirrored left to right", 3: "turned by 180°", 4: "mirrored top to bottom", 5: "mirrored and turned by 90°",
    6: "turned by 90°", 7: "mirrored and turned by 90°", 8: "turned by 90°",
}  # fmt: skip
_OLD_JPEG, _JPEG = 6, 7
_OWN_COLOURS = frozenset({_JPEG, 33003, 33005, 34712})
"""Compressions that convert colours, and order bits, by rules of their own."""

_LARGEST_TILE_PX = 2**28
"""A gigabyte as OpenSlide holds it; asked for more than there is, its memory allocation ends the process."""

_COLOUR_SCANNERS = ("aperio", "hamamatsu", "leica", "philips", "trestle", "ventana")


def slide_pages(facts: TiffFacts, vendor: str | None) -> Sequence[PageFacts]:
    """The pages that a slide's pixels come from, largest and coarser ones, as OpenSlide chooses them.

    Args:
        facts: A TIFF's pages.
        vendor: OpenSlide's name of the format, or None for a plain image.
    """
    first, tiled = facts.pages[0], [page for page in facts.pages if page.tile]
    if vendor is None or (vendor != "hamamatsu" and not tiled):
        return [first]
    if vendor == "generic-tiff":
        levels = [first, *(page for page in tiled if page.is_reduced and page.index)]
        return sorted(levels, key=lambda page: -page.width)
    if vendor == "hamamatsu":
        return [page for page in facts.pages if (page.lens or 1) > 0 and not page.focus] or [first]
    if vendor == "aperio":
        return tiled
    if vendor == "ventana":
        return [page for page in tiled if "level=" in page.description] or tiled
    # of a Leica, OpenSlide reads the images in brightfield, which may stand beside fluorescence
    return [page for page in tiled if not page.is_grey] or tiled


def refusal(facts: TiffFacts, vendor: str | None) -> str | None:
    """Why the file is not read, and what to do; None where nothing speaks against it.

    Args:
        facts: A TIFF's pages.
        vendor: OpenSlide's name of the format, or None for a plain image.
    """
    pages = slide_pages(facts, vendor)
    found = [rule(page, vendor) for rule in _PAGE_RULES for page in pages]
    return next(
        filter(None, [*found, first_is_no_slide(facts, vendor), one_channel_a_page(facts, vendor)]), None
    )


def warnings(facts: TiffFacts, vendor: str | None) -> list[str]:
    """What a person should know of the file: how its samples are taken, and which of its images are not read.

    Args:
        facts: A TIFF's pages, with no reason for a refusal.
        vendor: OpenSlide's name of the format, or None for a plain image.
    """
    found = []
    first = slide_pages(facts, vendor)[0]
    if first.bits == 16 and vendor is not None:
        found.append("The image has 16 bits per channel; the upper 8 are used.")
    if first.is_grey:
        found.append(GREY)
    if vendor in (None, "generic-tiff") and first.index == 0 and first.is_reduced:
        found.append("The page that is read is marked as a reduced image, and the file holds no larger one.")
    return [*found, *not_read(facts, vendor)]


def _orientation(page: PageFacts, vendor: str | None) -> str | None:
    if page.orientation not in _TURNS:
        if page.orientation == 1 or vendor is not None:
            return None  # OpenSlide passes over a tag that has no meaning
        return (
            f"its orientation tag ({page.orientation}) is none of 1 to 8, and libvips stops at it; correct it by "
            "`tiffset -s 274 1 in.tif`"
        )
    return (
        f"its orientation tag ({page.orientation}) says that the picture is stored {_TURNS[page.orientation]}, and no "
        "reader here turns it, nor does OpenSlide, by which annotations are made; turn it by `vips autorot in.tif "
        f"{AS_TILES}`, or, where it is upright as it is stored, say so by `tiffset -s 274 1 in.tif`"
    )


def _number_format(page: PageFacts, vendor: str | None) -> str | None:
    if page.bits is None:
        return f"its samples differ in their number of bits; {_TO_RGB}"
    if page.sample_format not in (1, 4):  # 4: unstated, to be taken as though the tag were absent
        kind = _FORMATS.get(page.sample_format, f"of unknown kind {page.sample_format}")
        return (
            f"its samples are {page.bits}-bit {kind}, not whole numbers from 0 on, so that no value is known to be "
            f"white; {_TO_RGB}, with the glass bright (`vips linear in.tif {AS_TILES} FACTOR OFFSET --uchar`)"
        )
    if page.bits not in (8, 16):
        return f"its samples have {page.bits} bit{'s' * (page.bits > 1)}, and 8 or 16 are read; {_TO_RGB}"
    if page.has_reversed_bits and (vendor is None or page.compression not in _OWN_COLOURS):
        return f"the bits of its bytes are stored in reverse (FillOrder 2); {_TO_RGB} with the program that wrote it"
    return None


def _coding(page: PageFacts, vendor: str | None) -> str | None:
    if page.compression == _OLD_JPEG:
        return f"it is coded as JPEG in the way that TIFF gave up in 1995 (compression 6); {_TO_RGB} in another coding"
    if page.tile and page.tile[0] * page.tile[1] > _LARGEST_TILE_PX:
        size = f"{page.tile[0]:,} x {page.tile[1]:,} px"
        return f"its tiles are said to have {size}, for which there is no memory: the file is damaged, copy it again"
    if not page.lists_its_tiles:
        return "its lists of tiles are far shorter than its size asks for: the file is damaged, copy it again"
    if page.depth > 1:
        return f"a page of it is a volume of {page.depth} slices; save one slice as a TIFF of its own"
    return None


def _colours(page: PageFacts, vendor: str | None) -> str | None:
    if page.photometric is None:
        return None
    if page.photometric not in (*_GREY, _RGB, _PALETTE, _YCBCR):
        kind = _COLOURS.get(page.photometric, f"of kind {page.photometric}")
        return f"its colours are {kind}, not RGB; {_TO_RGB} with the program that wrote it"
    if vendor is None and page.photometric == _YCBCR and page.compression not in _OWN_COLOURS:
        return f"its colours are YCbCr outside of JPEG, which libvips does not convert; {_TO_RGB}"
    return None


def _samples(page: PageFacts, vendor: str | None) -> str | None:
    colours = 3 if page.photometric in (_RGB, _YCBCR) else 1
    beyond = page.samples - colours
    if page.photometric is None or beyond == 0 or (beyond == 1 and page.has_opacity):
        return None
    if beyond < 0:
        return f"it has {page.samples} samples a pixel for {colours} colours; {_TO_RGB}"
    way = (
        f"`vips extract_band in.tif {AS_TILES} 0 --n 3` keeps the first three, where these are red, green and blue"
        if page.samples > 3
        else _TO_RGB
    )
    return (
        f"it has {page.samples} samples a pixel: beyond its {'red, green and blue' if colours == 3 else 'grey'} there "
        f"{'is one' if beyond == 1 else f'are {beyond}'} of unstated meaning, such as a channel of fluorescence, which "
        f"would be taken for opacity or left out; {way}"
    )


def _grey(page: PageFacts, vendor: str | None) -> str | None:
    if not page.is_grey:
        return None
    if vendor in _COLOUR_SCANNERS:
        return (
            "it has one grey sample a pixel, as scanners store fluorescence; what is trained here are stained slides "
            f"in colour ({_TO_RGB}, with bright glass, if it is one)"
        )
    if vendor is not None and (page.bits == 16 or page.has_opacity):
        what = "of 16 bits" if page.bits == 16 else "with opacity"
        return f"it is grey, {what}, in tiles, whose values OpenSlide changes; {_TO_RGB}"
    return None


_PAGE_RULES = (_orientation, _number_format, _coding, _colours, _samples, _grey)
