"""The strict tile reader: OpenSlide's pixels where the file is whole, a refusal where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest

from fixtures.real_data import DATA
from fixtures.slides import (
    half_zero_tile,
    overwrite,
    picture,
    set_tile_entry,
    slide_file,
    tile_span,
    write_jpeg_tiff,
    write_svs,
)
from slideprep.errors import SlideReadError
from slideprep.slides.overview import read_level
from slideprep.slides.readers.choose import open_reader
from slideprep.slides.readers.tiff import open_tiff_tiles

PICTURE = picture(150, 130)


def _openslide_level(path: Path, level: int) -> np.ndarray:
    with openslide.OpenSlide(path) as handle:
        region = handle.read_region((0, 0), level, handle.level_dimensions[level])
        return np.asarray(region.convert("RGB"))


@pytest.mark.parametrize(
    "options",
    [
        {"colours": "ycbcr", "levels": 3},
        {"colours": "ycbcr", "subsampling": "420", "levels": 2},
        {"colours": "rgb", "levels": 2},
        {"colours": "rgb", "bigtiff": True},
        {"colours": "ycbcr", "tile": 256},
    ],
)
def test_pyramidal_tiff_equals_openslide(tmp_path: Path, options: dict[str, object]) -> None:
    """Every level of a tiled TIFF, RGB or YCbCr, is OpenSlide's pixel for pixel, at sizes no multiple of the tile."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE, **options)  # type: ignore[arg-type]
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "tiff-jpeg"
        assert len(slide.levels) == options.get("levels", 1)
        for level in range(len(slide.levels)):
            assert np.array_equal(read_level(slide, level), _openslide_level(path, level))


def test_svs_equals_openslide(tmp_path: Path) -> None:
    """RGB tiles without an Adobe marker keep their colours; label, macro and thumbnail are no levels."""
    path = write_svs(tmp_path / "a.svs", PICTURE, levels=2, mpp=0.25, objective=40)
    with open_reader(slide_file(path)) as slide:
        assert (slide.reader, slide.vendor, slide.mpp, slide.objective) == ("tiff-jpeg", "aperio", 0.25, 40)
        assert [(level.width, level.height) for level in slide.levels] == [(150, 130), (75, 65)]
        for level in range(2):
            assert np.array_equal(read_level(slide, level), _openslide_level(path, level))


def test_real_svs_equals_openslide() -> None:
    """The real Aperio slide, 6.6 megapixels, is OpenSlide's pixel for pixel."""
    path = DATA / "slides" / "CMU-1-Small-Region.svs"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set SLIDEPREP_DATA to the folder of real slides")
    with open_reader(slide_file(path)) as slide:
        assert (slide.reader, slide.mpp, slide.objective) == ("tiff-jpeg", 0.499, 20)
        assert np.array_equal(read_level(slide, 0), _openslide_level(path, 0))


def test_damaged_tile_fails_its_region_only(tmp_path: Path) -> None:
    """A half-zeroed tile is refused by name, place and decoder's words; boxes beside it can still be read."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE)
    half_zero_tile(path, 4)
    offset, _ = tile_span(path, 4)
    with open_reader(slide_file(path)) as slide:
        with pytest.raises(
            SlideReadError,
            match=rf"'a.tif' level 0: the tile in column 1, row 1 \(byte offset {offset}\) is damaged: \w+",
        ):
            list(slide.strips(0, 100, 100, 2, 2))
        assert len(next(slide.strips(0, 0, 0, 150, 64))) == 64


def test_a_tile_that_claims_to_be_huge_takes_no_memory(tmp_path: Path) -> None:
    """A header of 65 500 x 65 500 px (12 GB) in a tile of 64 px is refused before anything is decoded, overview too."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE)
    offset, count = tile_span(path, 4)
    frame = path.read_bytes().index(b"\xff\xc0", offset, offset + count)
    overwrite(path, frame + 5, (65_500).to_bytes(2, "big") * 2)
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "tiff-jpeg"
        with pytest.raises(SlideReadError, match="it holds 65500 x 65500 px, not 64 x 64"):
            read_level(slide, 0)
        _, strips = slide.coarse_strips(0, 1)
        assert sum(map(len, strips)) == 130


def test_damage_found_in_every_page(tmp_path: Path) -> None:
    """A tile that is no JPEG at all, in a coarser level, is refused there."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE, levels=2)
    overwrite(path, tile_span(path, 1, page=1)[0], bytes(4))
    with open_reader(slide_file(path)) as slide, pytest.raises(SlideReadError, match="no JPEG start marker"):
        read_level(slide, 1)


def test_tile_beyond_the_end_is_truncation(tmp_path: Path) -> None:
    """A tile whose offset lies past the end of the file is reported as truncation, not as an empty tile."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE, levels=2)
    set_tile_entry(path, "TileOffsets", 4, 10_000_000)
    with (
        open_reader(slide_file(path)) as slide,
        pytest.raises(SlideReadError, match="beyond the end of the file"),
    ):
        read_level(slide, 0)


def test_other_compressions_are_left_to_openslide(tmp_path: Path) -> None:
    """A tiled TIFF that is not JPEG is no case for this reader; OpenSlide gives its pixels unchanged."""
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PICTURE, tile=(64, 64), photometric="rgb", compression="lzw")
    assert open_tiff_tiles(slide_file(path)) is None
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "openslide"
        assert np.array_equal(read_level(slide, 0), PICTURE)


def test_contradicting_tile_headers_are_left_to_openslide(tmp_path: Path) -> None:
    """Tiles whose own JFIF marker contradicts the RGB tag would come out green here, and do not."""
    import simplejpeg
    import tifffile

    from fixtures.slides import tiles_of

    path = tmp_path / "a.tif"
    data = [
        simplejpeg.encode_jpeg_yuv_planes(*np.ascontiguousarray(t.transpose(2, 0, 1)))
        for t in tiles_of(PICTURE, 64)
    ]
    tifffile.imwrite(
        path, iter(data), shape=PICTURE.shape, dtype=np.uint8, tile=(64, 64), photometric="rgb", compression="jpeg",
        compressionargs={"outcolorspace": "rgb"},
    )  # fmt: skip
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "openslide"
        assert np.abs(read_level(slide, 0).astype(int) - PICTURE).mean() < 3


def test_each_tile_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box that touches 2 x 3 tiles costs six decodings, at any offset."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE)
    slide = open_tiff_tiles(slide_file(path))
    assert slide is not None
    seen: list[tuple[int, int]] = []
    decode = slide.tile

    def counting(level: int, column: int, row: int, step: int = 1) -> np.ndarray:
        seen.append((column, row))
        return decode(level, column, row, step)

    monkeypatch.setattr(slide, "tile", counting)
    list(slide.strips(0, 10, 10, 100, 119))
    assert sorted(seen) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    slide.close()
