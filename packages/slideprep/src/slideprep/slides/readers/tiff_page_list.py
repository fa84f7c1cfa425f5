"""Whether the first page of a TIFF is the slide, and what the file holds beside it.

In: what the pages say, OME-XML and ImageJ's words in the first one's description included. Out: a reason for a refusal,
or warnings. Every reader takes the first page for the slide, and reduced pages for its coarser levels; what else there
is, nobody reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from slideprep.slides.readers.ome import OmeImage, ome_images
from slideprep.slides.readers.tiff_facts import PageFacts, TiffFacts

AS_TILES = "out.tif[tile,pyramid,compression=jpeg,Q=95]"
"""What libvips' command writes a slide into."""

_SAME_SHAPE = 0.02
"""Relative difference of two aspect ratios up to which a smaller page can be a reduced one."""


def first_is_no_slide(facts: TiffFacts, vendor: str | None) -> str | None:
    """Why the first page is not the slide: another one is larger, or it is a mask; None where it can be."""
    if vendor not in (None, "generic-tiff", "aperio"):
        return None  # their levels are listed in metadata, wherever the pages stand
    first = facts.pages[0]
    if first.is_mask:
        return "its first page is marked as a mask; save the picture as the first page"
    for size in facts.below_first:
        if _area(size) > _area(first.size):
            return _larger(first, size, "one listed below it", "in.tif[subifd=0]")
    for page in facts.pages[1:]:
        if _area(page.size) > _area(first.size) and (page.tile or vendor != "aperio"):
            return _larger(first, page.size, f"page {page.index + 1}", f"in.tif[page={page.index}]")
    return _growing_grid(facts) if vendor == "aperio" else None


def _growing_grid(facts: TiffFacts) -> str | None:
    """Where tiles are missing, OpenSlide divides by the ratio of two levels' tiles, and ends the process at 0."""
    tiled = [page for page in facts.pages if page.tile]
    grids = [_grid(page) for page in tiled]
    grows = any(
        2 * fine < coarse
        for finer, coarser in pairwise(grids)
        for fine, coarse in zip(finer, coarser, strict=True)
    )
    if not grows or all(page.missing is None for page in tiled):
        return None
    return "a coarser level of it has more tiles than a finer one: the file is damaged, copy it again from its source"


def _grid(page: PageFacts) -> tuple[int, int]:
    """(across, down), in tiles."""
    assert page.tile is not None, "only tiled pages have a grid"
    return -(-page.width // page.tile[0]), -(-page.height // page.tile[1])


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _larger(first: PageFacts, size: tuple[int, int], where: str, source: str) -> str:
    marked = ", marked as a reduced one," if first.is_reduced else ""
    return (
        f"its first page{marked} has {_px(first.size)}, but {where} is larger, {_px(size)}: readers take the "
        f"first page for the slide, and it may be a thumbnail; write the right one alone by `vips copy {source} "
        f"{AS_TILES}`"
    )


def _px(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,} px"


def one_channel_a_page(facts: TiffFacts, vendor: str | None) -> str | None:
    """Why a grey first page is not the whole picture: others of its size follow; None where it can be."""
    first = facts.pages[0]
    if vendor not in (None, "generic-tiff") or not first.is_grey:
        return None
    images = ome_images(first.description)
    channels = images[0].channels if images else ()
    count = max(len(channels), _imagej_images(first.description), 1 + len(_full_size(facts, vendor)))
    if count < 2:
        return None
    named = f" ({', '.join(channels[:8])})" if len(channels) > 1 and all(channels) else ""
    return (
        f"its first page is grey and one of {count} of the same size{named}, as channels, focal planes or time points "
        "are stored; the first alone is not the picture. Three that are red, green and blue are joined by `vips "
        'bandjoin "in.tif[page=0] in.tif[page=1] in.tif[page=2]" rgb.v` and `vips copy rgb.v '
        f"{AS_TILES} --interpretation srgb`; fluorescence is not read"
    )


def _imagej_images(description: str) -> int:
    """How many images an ImageJ stack says that it has: a large one lists its first alone in the directory."""
    lines = description.splitlines()
    if not lines or not lines[0].startswith("ImageJ="):
        return 1
    counts = [line.removeprefix("images=") for line in lines if line.startswith("images=")]
    return int(counts[0]) if counts and counts[0].isdecimal() else 1


def _full_size(facts: TiffFacts, vendor: str | None) -> list[PageFacts]:
    """Pages beside the first that are as large as it and no reduced ones; of vendors' formats, the tiled ones."""
    first = facts.pages[0]
    return [
        page
        for page in facts.pages[1:]
        if page.size == first.size and not page.is_reduced and (page.tile or vendor in (None, "generic-tiff"))
    ]


def not_read(facts: TiffFacts, vendor: str | None) -> list[str]:
    """Warnings about pages that belong to no level: scenes, focal planes, time points, pictures of other shapes."""
    if vendor == "hamamatsu":
        planes = {page.focus for page in facts.pages if page.focus and (page.lens or 1) > 0}
        return [f"The slide has {len(planes) + 1} focal planes; the middle one is read."] if planes else []
    if vendor not in (None, "generic-tiff", "aperio"):
        return []
    told = _ome_not_read(ome_images(facts.pages[0].description))
    if told:
        return told
    count = max(_imagej_images(facts.pages[0].description), 1 + len(_full_size(facts, vendor)))
    if count > 1:
        return [
            f"The file has {count} pages of {_px(facts.pages[0].size)}, such as scenes, focal planes or time points; "
            "only the first is read."
        ]
    others = [] if vendor == "aperio" else _other_pictures(facts)
    if not others:
        return []
    sizes = ", ".join(_px(page.size) for page in others[:8]) + (", ..." if len(others) > 8 else "")
    return [
        f"The file has other pages than reduced ones ({sizes}); only the first, {_px(facts.pages[0].size)}, is read."
    ]


def _other_pictures(facts: TiffFacts) -> list[PageFacts]:
    """Smaller pages that are neither marked as reduced nor of the first one's shape."""
    first = facts.pages[0]
    return [
        page
        for page in facts.pages[1:]
        if not (page.is_reduced or page.is_mask or not page.height)
        and abs(page.width * first.height / (page.height * first.width) - 1) > _SAME_SHAPE
    ]


def _ome_not_read(images: Sequence[OmeImage]) -> list[str]:
    found: list[str] = []
    if not images:
        return found
    first, others = images[0], [image for image in images[1:] if not image.is_aside]
    if others:
        named = ", ".join(_called(image) for image in (first, *others[:7])) + (
            ", ..." if len(others) > 7 else ""
        )
        found.append(f"The file holds {len(others) + 1} images ({named}); only the first is read.")
    for count, what in ((first.planes, "focal planes"), (first.times, "time points")):
        if count > 1:
            found.append(f"The image has {count} {what}; only the first is read.")
    return found


def _called(image: OmeImage) -> str:
    return f"{image.name or f'image {image.number}'}: {_px((image.width, image.height))}"
