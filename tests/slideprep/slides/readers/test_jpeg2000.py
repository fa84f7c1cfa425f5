"""The strict reader of JPEG 2000 tiles: OpenSlide's pixels where the file is whole, a refusal where it is not."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
import openslide
import pytest

from fixtures.slides import (
    half_zero_tile,
    jp2k,
    overwrite,
    picture,
    set_tile_entry,
    slide_file,
    subsampled_jp2k,
    tile_span,
    write_jp2k_svs,
)
from slideprep.errors import SlideReadError
from slideprep.slides.overview import read_level, read_overview
from slideprep.slides.readers.choose import open_reader
from slideprep.slides.readers.jpeg2000 import check_size, rgb_from_ycbcr

PICTURE = picture(150, 130)


def _openslide_level(path: Path, level: int) -> np.ndarray:
    with openslide.OpenSlide(path) as handle:
        return np.asarray(handle.read_region((0, 0), level, handle.level_dimensions[level]).convert("RGB"))


@pytest.mark.parametrize("colours", ["rgb", "ycbcr"])
@pytest.mark.parametrize("level_db", [None, 45])
def test_svs_equals_openslide(tmp_path: Path, colours: str, level_db: int | None) -> None:
    """Every level, RGB or YCbCr, lossless or not, is OpenSlide's pixel for pixel, at sizes no multiple of the tile."""
    encode = partial(jp2k, colours=colours, level=level_db)
    path = write_jp2k_svs(tmp_path / "a.svs", PICTURE, colours=colours, levels=2, encode=encode)  # type: ignore[arg-type]
    with open_reader(slide_file(path)) as slide:
        assert (slide.reader, slide.vendor, slide.mpp, slide.objective) == ("tiff-jp2k", "aperio", 0.5, 20)
        for level in range(2):
            assert np.array_equal(read_level(slide, level), _openslide_level(path, level))


def test_lossless_rgb_is_the_picture(tmp_path: Path) -> None:
    """Tiles stored without loss come back as they were."""
    with open_reader(slide_file(write_jp2k_svs(tmp_path / "a.svs", PICTURE))) as slide:
        assert np.array_equal(read_level(slide, 0), PICTURE)


def test_box_across_tiles(tmp_path: Path) -> None:
    """A box that begins and ends inside tiles is cut from them exactly."""
    with open_reader(slide_file(write_jp2k_svs(tmp_path / "a.svs", PICTURE))) as slide:
        box = np.concatenate(list(slide.strips(0, 50, 60, 30, 10)))
    assert np.array_equal(box, PICTURE[60:70, 50:80])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: half_zero_tile(path, 4), "Stream does not end with EOC"),
        (lambda path: overwrite(path, tile_span(path, 4)[0], bytes(4)), "no JPEG 2000 start marker"),
        (lambda path: set_tile_entry(path, "TileByteCounts", 4, 30), "header breaks off after 30 bytes"),
        (lambda path: set_tile_entry(path, "TileByteCounts", 4, 300), "Tile part length size inconsistent"),
        (lambda path: set_tile_entry(path, "TileOffsets", 4, 10**8), "beyond the end of the file"),
    ],
    ids=["half zeroed", "no start", "cut in its header", "cut", "outside the file"],
)
def test_damaged_tile_fails_its_region_only(tmp_path: Path, damage, words: str) -> None:  # type: ignore[no-untyped-def]
    """A damaged tile is refused by place and reason; boxes beside it can still be read, and an overview says so."""
    path = write_jp2k_svs(
        tmp_path / "a.svs", PICTURE, levels=2
    )  # OpenSlide reads the last level's bytes at opening
    damage(path)
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "tiff-jp2k"
        with pytest.raises(SlideReadError, match=rf"'a.svs' level 0: the tile in column 1, row 1 .*{words}"):
            list(slide.strips(0, 100, 100, 2, 2))
        assert np.array_equal(next(slide.strips(0, 0, 0, 150, 64)), PICTURE[:64])
        read_overview(slide, downsample=1.5)
        assert [words in warning for warning in slide.warnings] == [True]


def test_a_program_that_hides_warnings_does_not_hide_damage(tmp_path: Path) -> None:
    """Damage is heard of even where the program's logging is set to pass errors only."""
    path = write_jp2k_svs(tmp_path / "a.svs", PICTURE)
    half_zero_tile(path, 4)
    logger = logging.getLogger("imagecodecs")
    logger.setLevel(logging.CRITICAL)
    try:
        with open_reader(slide_file(path)) as slide, pytest.raises(SlideReadError, match="EOC"):
            read_level(slide, 0)
    finally:
        logger.setLevel(logging.NOTSET)


def test_subsampled_chroma_is_left_to_openslide(tmp_path: Path) -> None:
    """Tiles with half the chroma columns are OpenSlide's, and a damaged one is refused there as well."""
    path = write_jp2k_svs(tmp_path / "a.svs", PICTURE, colours="ycbcr", encode=subsampled_jp2k)
    half_zero_tile(path, 4)
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "openslide"
        top = next(slide.strips(0, 0, 0, 150, 64))
        assert np.abs(top.astype(int) - PICTURE[:64]).mean() < 1.5
        with pytest.raises(SlideReadError, match="Stream does not end with EOC"):
            read_level(slide, 0)


def test_tiles_that_are_all_complained_of_are_left_to_openslide(tmp_path: Path) -> None:
    """Where no tile decodes without a complaint it may be the writing program's way: OpenSlide judges."""
    path = write_jp2k_svs(tmp_path / "a.svs", PICTURE)
    for tile in range(9):
        half_zero_tile(path, tile)
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "openslide"


def test_a_size_that_is_not_the_tiles_takes_no_memory() -> None:
    """A header that claims 100 000 x 100 000 px is refused before anything is decoded."""
    data = bytearray(jp2k(PICTURE[:64, :64]))
    data[8:16] = (100_000).to_bytes(4, "big") * 2
    with pytest.raises(ValueError, match="it holds 100000 x 100000 px, not 64 x 64"):
        check_size(bytes(data), 64, 64)


def test_colours_by_hand() -> None:
    """Y 76, Cb 85, Cr 255 is pure red by JFIF: 76 + 1.402 x 127 = 254, 76 + 0.344 x 43 - 0.714 x 127 = 0, 0."""
    pixels = np.array([[[76, 85, 255], [128, 128, 128], [255, 128, 255]]], np.uint8)
    assert rgb_from_ycbcr(pixels).tolist() == [[[254, 0, 0], [128, 128, 128], [255, 164, 255]]]
