"""Whether a TIFF's first page is the slide, and whether what is not read beside it is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fixtures.slides import APERIO, picture, set_tile_entry, slide_file, write_pages
from slideprep.errors import SlideOpenError
from slideprep.slides.overview import read_level
from slideprep.slides.readers.choose import open_reader

PICTURE = picture(150, 130)
SMALL = np.ascontiguousarray(PICTURE[::4, ::4])
TEXT = APERIO.format(width=150, height=130, objective=20, mpp=0.5)
TILES: Mapping[str, Any] = {"tile": (64, 64)}
STRIPS: Mapping[str, Any] = {"rowsperstrip": 32}


def _refusal(path: Path) -> str:
    with pytest.raises(SlideOpenError) as refused:
        open_reader(slide_file(path))
    assert f"slide '{path.name}' cannot be read as a stained slide: " in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("marked", [0, 1])
def test_a_thumbnail_as_the_first_page_is_refused(
    tmp_path: Path, marked: int, layout: Mapping[str, Any]
) -> None:
    """The larger page is named, with the command that takes it out of the file."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(SMALL, photometric="rgb", metadata=None, subfiletype=marked, **layout)
        tif.write(PICTURE, photometric="rgb", metadata=None, **layout)
    said = _refusal(path)
    assert ("marked as a reduced one" in said) == bool(marked)
    assert "has 38 x 33 px, but page 2 is larger, 150 x 130 px" in said
    assert "`vips copy in.tif[page=1] out.tif[" in said


def test_a_slide_below_a_thumbnail_is_refused(tmp_path: Path) -> None:
    """Cameras keep the picture in a page below that of the thumbnail."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(SMALL, photometric="rgb", metadata=None, subifds=1, subfiletype=1)
        tif.write(PICTURE, photometric="rgb", metadata=None)
    assert "but one listed below it is larger, 150 x 130 px" in _refusal(path)


def test_a_thumbnail_as_the_first_page_of_an_svs_is_refused_as_such(tmp_path: Path) -> None:
    """OpenSlide only calls such a file unsupported or without an image."""
    path = write_pages(tmp_path / "a.svs", SMALL, PICTURE, description=TEXT, **TILES)
    assert "page 2 is larger" in _refusal(path)


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
def test_channels_as_pages_are_refused(tmp_path: Path, layout: Mapping[str, Any]) -> None:
    """Three grey pages of one size are no grey slide; OME-XML's and ImageJ's channels are named or counted."""
    channels = [np.ascontiguousarray(PICTURE[..., i]) for i in range(3)]
    assert "one of 3 of the same size, as channels" in _refusal(
        write_pages(tmp_path / "a.tif", *channels, photometric="minisblack", **layout)
    )
    tifffile.imwrite(
        tmp_path / "b.ome.tif", np.stack(channels), photometric="minisblack", **layout,
        metadata={"axes": "CYX", "Channel": {"Name": ["R", "G", "B"]}},
    )  # fmt: skip
    assert "one of 3 of the same size (R, G, B)" in _refusal(tmp_path / "b.ome.tif")
    tifffile.imwrite(tmp_path / "c.tif", np.stack(channels), imagej=True, metadata={"axes": "CYX"})
    assert "one of 3 of the same size" in _refusal(tmp_path / "c.tif")


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
def test_what_is_not_read_is_said(tmp_path: Path, layout: Mapping[str, Any]) -> None:
    """Scenes, focal planes, time points and pictures of other shapes are named; reduced pages are not."""
    other = np.ascontiguousarray(PICTURE[::-1])
    expected = {
        "pages": "The file has 2 pages of 150 x 130 px, such as scenes, focal planes or time points; only the first is "
        "read.",
        "shapes": "The file has other pages than reduced ones (150 x 60 px); only the first, 150 x 130 px, is read.",
        "scenes": "The file holds 2 images (Image0: 150 x 130 px, Image1: 150 x 130 px); only the first is read.",
        "planes": "The image has 3 focal planes; only the first is read.",
        "times": "The image has 3 time points; only the first is read.",
        "pyramid": None,
    }  # fmt: skip
    write_pages(tmp_path / "pages.tif", PICTURE, other, **layout)
    write_pages(tmp_path / "shapes.tif", PICTURE, other[:60], **layout)
    write_pages(tmp_path / "pyramid.tif", PICTURE, np.ascontiguousarray(PICTURE[::2, ::2]), **layout)
    with tifffile.TiffWriter(tmp_path / "scenes.tif", ome=True) as tif:
        for page in (PICTURE, other):
            tif.write(page, photometric="rgb", metadata={"axes": "YXS"}, **layout)
    for name, axes in (("planes", "ZYXS"), ("times", "TYXS")):
        stack = np.stack([PICTURE, other, PICTURE])
        tifffile.imwrite(
            tmp_path / f"{name}.tif", stack, ome=True, photometric="rgb", metadata={"axes": axes}, **layout
        )
    for name, sentence in expected.items():
        with open_reader(slide_file(tmp_path / f"{name}.tif")) as slide:
            assert slide.warnings == ([sentence] if sentence else [])
            assert np.array_equal(read_level(slide, 0), PICTURE)


def test_a_page_that_is_marked_as_reduced_and_alone_is_said(tmp_path: Path) -> None:
    """The slide may be an export of a thumbnail: it is read, and the record says what it is marked as."""
    with open_reader(slide_file(write_pages(tmp_path / "a.tif", PICTURE, subfiletype=1, **TILES))) as slide:
        assert slide.warnings == [
            "The page that is read is marked as a reduced image, and the file holds no larger one."
        ]


def test_tiles_that_would_end_openslide_never_reach_it(tmp_path: Path) -> None:
    """Level 0 lacks one of 2 x 2 tiles, and level 1 has 5 x 5: OpenSlide would divide by 0."""
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as tif:
        for step, tile in ((1, 128), (2, 16)):
            part = np.ascontiguousarray(PICTURE[::step, ::step])
            tif.write(part, tile=(tile, tile), photometric="rgb", metadata=None, description=TEXT)
    with open_reader(slide_file(path)) as slide:
        assert len(slide.levels) == 2
    set_tile_entry(path, "TileByteCounts", 1, 0)
    assert "a coarser level of it has more tiles than a finer one" in _refusal(path)
