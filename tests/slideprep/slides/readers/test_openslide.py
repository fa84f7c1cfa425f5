"""Reading through OpenSlide: metadata that is distrusted where it should be, transparency, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from fixtures.slides import jp2k, picture, slide_file, tile_span, tiles_of, write_dicom, write_jpeg_tiff
from slideprep.errors import SlideOpenError, SlideReadError
from slideprep.slides.overview import read_level
from slideprep.slides.readers.openslide import (
    Metadata,
    OpenSlideSlide,
    flatten,
    metadata_from_properties,
    open_openslide,
)

PICTURE = picture(150, 130)


def _metadata(**properties: str) -> Metadata:
    return metadata_from_properties(
        {f"openslide.{key.replace('_', '-')}": value for key, value in properties.items()}
    )


def test_mpp_and_objective_are_the_files() -> None:
    """The mpp is the mean of x and y, the objective the tag's, and nothing is warned of."""
    found = _metadata(mpp_x="0.250", mpp_y="0.252", objective_power="40")
    assert (found.mpp, found.objective, found.warnings) == (0.251, 40.0, ())


@pytest.mark.parametrize("value", ["352.8", "0.001", "0", "-1", "nan", "abc"])
def test_impossible_mpp_counts_as_absent(value: str) -> None:
    """A pixel size that no microscope has (72 dpi is 352.8 µm) is never passed on."""
    assert _metadata(mpp_x=value, mpp_y=value).mpp is None


def test_impossible_mpp_is_said() -> None:
    """The value that was dropped is in the warning."""
    assert "352.8" in _metadata(mpp_x="352.8", mpp_y="352.8").warnings[0]


def test_absent_mpp_is_none_without_a_word() -> None:
    """No tag, no mpp, no objective, and no guess."""
    found = _metadata(vendor="hamamatsu")
    assert (found.mpp, found.objective, found.background, found.warnings) == (None, None, (255, 255, 255), ())


def test_oblong_pixels_are_warned_of() -> None:
    """An mpp that differs by over 2 % between x and y is averaged with a warning."""
    found = _metadata(mpp_x="0.50", mpp_y="0.52")
    assert found.mpp == pytest.approx(0.51)
    assert "not square" in found.warnings[0]


def test_background_colour_is_the_slides() -> None:
    """openslide.background-color is hexadecimal red, green, blue."""
    assert _metadata(background_color="FF8001").background == (255, 128, 1)


def test_transparency_lies_on_the_background() -> None:
    """Transparent black becomes the background, half-transparent the middle, opaque stays."""
    rgba = np.array([[[0, 0, 0, 0], [0, 0, 0, 128], [10, 20, 30, 255]]], np.uint8)
    assert flatten(rgba, (250, 100, 0)).tolist() == [[[250, 100, 0], [125, 50, 0], [10, 20, 30]]]


def test_ycbcr_is_converted_before_flattening() -> None:
    """Y 76, Cb 85, Cr 255 is JFIF's pure red, to within rounding; the background is not converted."""
    rgba = np.array([[[76, 85, 255, 255], [0, 0, 0, 0]]], np.uint8)
    red, background = flatten(rgba, (255, 255, 255), ycbcr=True)[0].astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 1
    assert background.tolist() == [255, 255, 255]


@pytest.mark.parametrize("box", [(0, 0, 150, 130), (3, 67, 101, 40)])
def test_strips_equal_read_region(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    """Strips along the tiles are what one call of read_region gives."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE)
    x, y, width, height = box
    with open_openslide(slide_file(path)) as slide, openslide.OpenSlide(path) as handle:
        strips = list(slide.strips(0, x, y, width, height))
        expected = np.asarray(handle.read_region((x, y), 0, (width, height)).convert("RGB"))
    assert [len(strip) for strip in strips] == ([64, 64, 2] if y == 0 else [40])
    assert np.array_equal(np.concatenate(strips), expected)


def test_coarse_levels_are_read_in_one_piece(tmp_path: Path) -> None:
    """A coarse level whose downsample is no whole number equals OpenSlide's own reading of the whole level."""
    path = write_jpeg_tiff(tmp_path / "a.tif", picture(301, 259), levels=3)
    with open_openslide(slide_file(path)) as slide, openslide.OpenSlide(path) as handle:
        for level in (1, 2):
            whole = handle.read_region((0, 0), level, handle.level_dimensions[level])
            assert np.array_equal(read_level(slide, level), np.asarray(whole.convert("RGB")))


class _Handle:
    """10 x 10 px with a level of 3 x 3 px; notes the places, in level-0 pixels, from which it is read."""

    level_dimensions = ((10, 10), (3, 3))

    def __init__(self) -> None:
        self.properties: dict[str, str] = {}
        self.places: list[tuple[int, int]] = []

    def read_region(self, place_l0: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        """Black, as OpenSlide would give it."""
        self.places.append(place_l0)
        return Image.new("RGBA", size, (0, 0, 0, 255))


def test_a_place_is_asked_for_at_the_nearest_level_0_pixel() -> None:
    """At 10/3 level-0 pixels each, column 2 of the level begins at 6.67, hence at 7, and row 1 at 3.33, hence at 3."""
    handle = _Handle()
    slide = OpenSlideSlide(
        file=slide_file(Path("a.svs")), handle=handle, metadata=_metadata(), ycbcr_levels=frozenset()
    )
    assert len(list(slide.strips(1, 2, 1, 1, 2))) == 1
    assert handle.places == [(7, 3)]


def test_an_error_does_not_stick(tmp_path: Path) -> None:
    """OpenSlide refuses everything after one error; here another box can still be read."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    data = bytearray(path.read_bytes())
    second_frame = data.index(b"\xff\xd8", data.index(b"\xff\xd8") + 2)
    data[second_frame : second_frame + 40] = bytes(40)
    path.write_bytes(data)
    with open_openslide(slide_file(path)) as slide:
        with pytest.raises(
            SlideReadError, match=r"'a.dcm' level 0, box of 10 x 10 px at \(70, 0\).*OpenSlide says"
        ):
            list(slide.strips(0, 70, 0, 10, 10))
        assert (
            np.abs(np.concatenate(list(slide.strips(0, 0, 0, 60, 60))).astype(int) - PICTURE[:60, :60]).mean()
            < 2
        )


def test_truncated_tiff_fails(tmp_path: Path) -> None:
    """Tiles cut off from the file are an error of reading, not grey."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE)
    offset, count = tile_span(path, 8)
    with open_openslide(slide_file(path)) as slide:
        with path.open("r+b") as stream:
            stream.truncate(offset + count // 2)
        with pytest.raises(SlideReadError, match="OpenSlide says"):
            read_level(slide, 0)


def test_a_coding_that_openslide_does_not_know_is_no_damage(tmp_path: Path) -> None:
    """JPEG 2000 tiles under TIFF's own tag are refused with what to do, not as a damaged file."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, iter([jp2k(tile) for tile in tiles_of(PICTURE, 64)]), shape=PICTURE.shape, dtype=np.uint8,
        tile=(64, 64), compression=34712, photometric="rgb", metadata=None,
    )  # fmt: skip
    with pytest.raises(SlideOpenError, match=r"Unsupported TIFF compression.*convert it to a pyramidal TIFF"):
        open_openslide(slide_file(path))
