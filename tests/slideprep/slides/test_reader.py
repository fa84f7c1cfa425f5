"""What is true of a slide whoever reads it, and of overviews."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from fixtures.slides import (
    half_zero_tile,
    picture,
    slide_file,
    write_dicom,
    write_jp2k_svs,
    write_jpeg_tiff,
    write_svs,
)
from slideprep.errors import SlideOpenError, SlideReadError, TissueError
from slideprep.slides.overview import area_average, read_level, read_overview
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_reader

WIDTH, HEIGHT = 150, 130
PICTURE = picture(WIDTH, HEIGHT)


def _png(folder: Path) -> Path:
    Image.fromarray(PICTURE).save(folder / "a.png")
    return folder / "a.png"


def _jpg(folder: Path) -> Path:
    Image.fromarray(PICTURE).save(folder / "a.jpg", quality=95, subsampling=0)
    return folder / "a.jpg"


def _plain_tiff(folder: Path) -> Path:
    Image.fromarray(PICTURE).save(folder / "a.tif")
    return folder / "a.tif"


def _tiled_tiff(path: Path) -> Path:
    tifffile.imwrite(path, PICTURE, tile=(64, 64), photometric="rgb", compression="lzw")
    return path


MAKERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "pyramidal TIFF, YCbCr": ("tiff-jpeg", lambda d: write_jpeg_tiff(d / "a.tif", PICTURE, levels=3)),
    "TIFF, RGB, BigTIFF": (
        "tiff-jpeg",
        lambda d: write_jpeg_tiff(d / "a.tif", PICTURE, colours="rgb", bigtiff=True),
    ),
    "SVS": ("tiff-jpeg", lambda d: write_svs(d / "a.svs", PICTURE, levels=2)),
    "SVS, JPEG 2000": ("tiff-jp2k", lambda d: write_jp2k_svs(d / "a.svs", PICTURE, levels=2)),
    "TIFF, LZW": ("openslide", lambda d: _tiled_tiff(d / "a.tif")),
    "DICOM": ("dicom-jpeg", lambda d: write_dicom(d / "a.dcm", PICTURE)),
    "DICOM, wrong colour tag": (
        "dicom-jpeg",
        lambda d: write_dicom(d / "a.dcm", PICTURE, frames="ycbcr", subsampling="420"),
    ),
    "PNG": ("libvips", _png),
    "JPEG": ("jpeg", _jpg),
    "plain TIFF": ("libvips", _plain_tiff),
}


@pytest.fixture(params=MAKERS, ids=str)
def slide(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Slide]:
    """The same picture through every reader."""
    reader, make = MAKERS[request.param]
    with open_reader(slide_file(make(tmp_path))) as opened:
        assert opened.reader == reader
        yield opened


def test_level_0_is_the_picture(slide: Slide) -> None:
    """Every reader gives the picture that was stored, at its size, up to what JPEG loses."""
    image = read_level(slide, 0)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - PICTURE).mean() < 1.5


def test_levels_state_exact_downsamples(slide: Slide) -> None:
    """A level's downsample is the quotient of the widths, and of the heights."""
    assert [(level.downsample_x, level.downsample_y) for level in slide.levels] == [
        (WIDTH / level.width, HEIGHT / level.height) for level in slide.levels
    ]


@pytest.mark.parametrize(
    "box", [(0, 0, WIDTH, HEIGHT), (63, 65, 1, 1), (7, 11, 100, 83), (149, 129, 1, 1), (64, 64, 64, 64)]
)
def test_strips_are_the_crop_of_the_level(slide: Slide, box: tuple[int, int, int, int]) -> None:
    """The strips of any box, laid below each other, are that box of level 0, pixel for pixel."""
    x, y, width, height = box
    strips = list(slide.strips(0, x, y, width, height))
    assert all(strip.shape[1:] == (width, 3) and strip.dtype == np.uint8 for strip in strips)
    assert np.array_equal(np.concatenate(strips), read_level(slide, 0)[y : y + height, x : x + width])


def test_strips_refuse_a_box_outside(slide: Slide) -> None:
    """A box that reaches over the level's edge is a mistake of the caller, found at once."""
    with pytest.raises(AssertionError, match="outside"):
        slide.strips(0, 0, 0, WIDTH + 1, HEIGHT)


def test_strips_may_be_kept_and_changed(slide: Slide) -> None:
    """Strips belong to the caller: writing in one changes neither another nor a later read."""
    before = read_level(slide, 0)
    for strip in slide.strips(0, 0, 0, WIDTH, HEIGHT):
        np.array(strip, copy=False)
        assert not np.shares_memory(strip, before)
    assert np.array_equal(read_level(slide, 0), before)


@pytest.mark.parametrize("downsample", [1, 2.7, 4, 16, 1000])
def test_overview_covers_the_slide(slide: Slide, downsample: float) -> None:
    """The overview has the rounded size, states its exact scale, and has the picture's mean colour."""
    overview = read_overview(slide, downsample=downsample)
    rows, columns = max(1, round(HEIGHT / downsample)), max(1, round(WIDTH / downsample))
    assert overview.image.shape == (rows, columns, 3)
    assert (overview.downsample_x, overview.downsample_y) == (WIDTH / columns, HEIGHT / rows)
    assert np.abs(overview.image.mean((0, 1)) - PICTURE.mean((0, 1))).max() < 4


def test_overview_of_a_pyramid_reads_a_coarse_level(tmp_path: Path) -> None:
    """The coarsest level not coarser than the target is read: of 1, 2 and 4, level 1 for 3 and level 2 for 5."""
    path = write_jpeg_tiff(tmp_path / "a.tif", picture(256, 256), levels=3)
    with open_reader(slide_file(path)) as slide:
        assert [read_overview(slide, downsample=d).level for d in (1, 3, 5)] == [0, 1, 2]


def test_overview_reduced_while_decoding_is_the_area_average(tmp_path: Path) -> None:
    """Letting the JPEG decoder reduce a single-level slide changes the overview by a few grey levels at most."""
    path = write_jpeg_tiff(tmp_path / "a.tif", picture(1024, 512), tile=128)
    with open_reader(slide_file(path)) as slide:
        assert slide.coarse_strips(0, 20)[0] == 8
        exact = area_average(iter([read_level(slide, 0)]), (1024, 512), (51, 26))
        fast = read_overview(slide, downsample=20).image
    difference = np.abs(fast.astype(int) - exact)
    assert difference.mean() < 1
    assert difference.max() <= 5


def test_area_average_by_hand() -> None:
    """3 x 2 pixels averaged to 2 x 1: each result covers one and a half columns of both rows."""
    image = np.repeat(np.array([[0, 30, 90], [60, 30, 150]], np.uint8)[..., None], 3, axis=2)
    # left: (0 + 60 + (30 + 30) / 2) / 3 = 30; right: (90 + 150 + (30 + 30) / 2) / 3 = 90
    assert area_average(iter([image[:1], image[1:]]), (3, 2), (2, 1))[..., 0].tolist() == [[30, 90]]


def test_area_average_rounds_to_the_nearest_grey_level() -> None:
    """Thirds: of 0, 1, 1 the mean of 2/3 is 1, and of 0, 0, 1 that of 1/3 is 0."""
    image = np.repeat(np.array([[0, 1, 1, 0, 0, 1]], np.uint8)[..., None], 3, axis=2)
    assert area_average(iter([image]), (6, 1), (2, 1))[..., 0].tolist() == [[1, 0]]


def test_overview_of_a_damaged_slide_warns_and_goes_on(tmp_path: Path) -> None:
    """One damaged tile does not keep the rest from being looked at, and the warning names the tile once."""
    path = write_jpeg_tiff(tmp_path / "a.tif", picture(256, 256))
    half_zero_tile(path, 5)
    with open_reader(slide_file(path)) as slide:
        for _ in range(2):
            overview = read_overview(slide, downsample=16).image
        assert [w for w in slide.warnings if "column 1, row 1" in w] == slide.warnings != []
        truth = area_average(iter([picture(256, 256)]), (256, 256), (16, 16))
    assert np.abs(overview[8:].astype(int) - truth[8:]).max() <= 3
    with open_reader(slide_file(path)) as slide, pytest.raises(SlideReadError, match="column 1, row 1"):
        list(slide.strips(0, 0, 0, 256, 256))


def test_read_level_refuses_what_does_not_fit(tmp_path: Path) -> None:
    """A level over the limit is refused with its size and the option that works without it."""
    with (
        open_reader(slide_file(write_svs(tmp_path / "a.svs", PICTURE))) as slide,
        pytest.raises(TissueError, match=r"150 x 130 px exceed .* --tissue auto"),
    ):
        read_level(slide, 0, limit_px=100)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.svs", b"patient,label\n", "no format that OpenSlide reads"),
        ("a.bmp", b"BM" + bytes(100), "is a BMP image"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), "is a JPEG 2000 image"),
        ("zipped.svs", b"PK\x03\x04" + bytes(100), "is an archive; unpack it"),
        ("empty.tif", b"", "0 bytes"),
        ("cut.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF", "damaged JPEG"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\x00\x00", "libvips says"),
        ("cut.tif", b"II*\0\x08\0\0\0", "list of pages breaks off"),
    ],
)
def test_files_that_are_no_slides_say_why(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """Wrong type, empty and cut-off files each fail at opening, with the slide's name and the reason."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideOpenError, match=f"(?s)slide '{name}'.*{says}"):
        open_reader(slide_file(tmp_path / name))


def test_missing_file_and_folder_say_so(tmp_path: Path) -> None:
    """A file that vanished and a folder in place of a file are named as such."""
    with pytest.raises(SlideOpenError, match="does not exist any more"):
        open_reader(slide_file(tmp_path / "gone.svs"))
    with pytest.raises(SlideOpenError, match="is a folder"):
        open_reader(slide_file(tmp_path))


@pytest.mark.parametrize("make", ["pyramidal TIFF, YCbCr", "SVS", "DICOM", "PNG", "JPEG", "plain TIFF"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.95])
def test_truncated_slides_fail_and_never_give_pixels(tmp_path: Path, make: str, kept: float) -> None:
    """A slide cut off anywhere fails at opening or at reading; no half picture is passed on."""
    path = MAKERS[make][1](tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises((SlideOpenError, SlideReadError), match=path.name):
        read_level(open_reader(slide_file(path)), 0)
