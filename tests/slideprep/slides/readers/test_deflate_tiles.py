"""The strict reader of deflate tiles: the stored pixels where the file is whole, a refusal where it is not."""

from __future__ import annotations

from pathlib import Path
from zlib import compress

import numpy as np
import pytest
import tifffile

from fixtures.slides import half_zero_tile, overwrite, picture, set_tile_entry, slide_file, tile_span
from slideprep.errors import SlideReadError
from slideprep.slides.overview import read_level
from slideprep.slides.readers.choose import open_reader

PICTURE = picture(150, 130)


def _write(path: Path, *, predictor: bool = False, levels: int = 1) -> Path:
    with tifffile.TiffWriter(path) as tif:
        for level in range(levels):
            tif.write(
                PICTURE[:: 2**level, :: 2**level],
                tile=(64, 64),
                photometric="rgb",
                compression="adobe_deflate",
                predictor=predictor,
                subfiletype=int(level > 0),
            )
    return path


@pytest.mark.parametrize("predictor", [False, True])
def test_pixels_are_those_stored(tmp_path: Path, predictor: bool) -> None:
    """Every level is the picture itself, whether values or their differences are stored."""
    with open_reader(slide_file(_write(tmp_path / "a.tif", predictor=predictor, levels=2))) as slide:
        assert slide.reader == "tiff-deflate"
        for level in range(2):
            assert np.array_equal(read_level(slide, level), PICTURE[:: 2**level, :: 2**level])


@pytest.mark.parametrize("byte", range(10, 200, 38))
def test_every_flipped_bit_is_refused(tmp_path: Path, byte: int) -> None:
    """A tile of which one bit is wrong fails by its checksum or before; the tiles beside it are read."""
    path = _write(tmp_path / "a.tif")
    offset, _ = tile_span(path, 4)
    overwrite(path, offset + byte, bytes([path.read_bytes()[offset + byte] ^ 4]))
    with open_reader(slide_file(path)) as slide:
        with pytest.raises(SlideReadError, match=r"column 1, row 1 .* is damaged: "):
            read_level(slide, 0)
        assert np.array_equal(next(slide.strips(0, 0, 0, 150, 64)), PICTURE[:64])


def test_half_zeroed_tile_is_refused(tmp_path: Path) -> None:
    """A tile that lost its second half is refused."""
    path = _write(tmp_path / "a.tif")
    half_zero_tile(path, 4)
    with open_reader(slide_file(path)) as slide, pytest.raises(SlideReadError, match="is damaged"):
        read_level(slide, 0)


@pytest.mark.parametrize(
    ("cut", "words"), [(1, "its checksum is missing"), (400, "bytes, not 12288")], ids=["checksum", "pixels"]
)
def test_cut_tile_is_refused(tmp_path: Path, cut: int, words: str) -> None:
    """A tile that is shorter than it was is refused, even by a byte of its checksum."""
    path = _write(tmp_path / "a.tif")
    set_tile_entry(path, "TileByteCounts", 4, tile_span(path, 4)[1] - cut)
    with open_reader(slide_file(path)) as slide, pytest.raises(SlideReadError, match=words):
        read_level(slide, 0)


def test_a_tile_that_swells_takes_no_memory(tmp_path: Path) -> None:
    """A tile that would grow to 10 MB is refused at its own size."""
    path = _write(tmp_path / "a.tif")
    offset, count = tile_span(path, 4)
    bomb = compress(bytes(10_000_000))
    path.write_bytes(path.read_bytes() + bomb)
    set_tile_entry(path, "TileOffsets", 4, path.stat().st_size - len(bomb))
    set_tile_entry(path, "TileByteCounts", 4, len(bomb))
    assert len(bomb) != count
    with open_reader(slide_file(path)) as slide, pytest.raises(SlideReadError, match="over 12288 bytes"):
        read_level(slide, 0)
    assert offset < path.stat().st_size
