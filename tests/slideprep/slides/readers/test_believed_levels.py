"""Which images count as levels: those that are level 0 reduced, by their size and by their pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFilter

from fixtures.slides import Pixels, jpeg, slide_file, write_dicom
from slideprep.slides.overview import read_level, read_overview
from slideprep.slides.reader import Slide, levels_from_sizes
from slideprep.slides.readers.believed_levels import geometry_fault
from slideprep.slides.readers.choose import open_reader

WIDTH, HEIGHT = 640, 512


def _tissue(width: int = WIDTH, height: int = HEIGHT, *, seed: int = 1) -> Pixels:
    """A stained piece with nuclei on bright glass, on the left; the right is bare."""
    rng = np.random.default_rng(seed)
    grain = (rng.random((height // 8, width // 8)) > 0.6) * np.uint8(255)
    nuclei = np.asarray(Image.fromarray(grain).resize((width, height), Image.Resampling.BICUBIC)) / 255
    stained = np.array([205, 130, 180]) - nuclei[..., None] * np.array([110, 80, 50])
    y, x = np.mgrid[:height, :width]
    middle_y = height * (0.35 if seed == 1 else 0.6)
    inside = ((x - width * 0.4) / (width * 0.35)) ** 2 + ((y - middle_y) / (height * 0.3)) ** 2 < 1
    return np.where(inside[..., None], stained, 244).astype(np.uint8)


def _macro(width: int, height: int) -> Pixels:
    """A photograph of a whole slide: a label with text on the left, a pale piece in the middle."""
    image = np.full((height, width, 3), 246, np.uint8)
    image[height // 20 : -height // 20, : width // 4] = (235, 235, 215)
    for row in range(height // 10, height // 2, max(2, height // 25)):
        image[row : row + max(1, height // 50), width // 40 : width // 5] = 20
    image[height // 4 : -height // 4, width // 2 : width * 3 // 4] = (190, 120, 170)
    return image


def _reduced(image: Pixels, factor: int) -> Pixels:
    size = (image.shape[1] // factor, image.shape[0] // factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _tiff(path: Path, *pictures: Pixels, compression: str = "zlib") -> Path:
    """A tiled TIFF; deflate tiles are read strictly, LZW ones by OpenSlide."""
    with tifffile.TiffWriter(path) as tif:
        for number, image in enumerate(pictures):
            tif.write(
                image,
                tile=(64, 64),
                photometric="rgb",
                compression=compression,
                subfiletype=int(number > 0),
                metadata=None,
            )
    return path


def _dicom(path: Path, *pictures: Pixels, tag: str = "YBR_FULL_422") -> tuple[Path, ...]:
    return tuple(
        write_dicom(path.with_name(f"{number}.dcm"), image, tag=tag, frames="ycbcr", mpp=0.5 * 2**number)
        for number, image in enumerate(pictures)
    )


def _sizes(slide: Slide) -> list[tuple[int, int]]:
    return [(level.width, level.height) for level in slide.levels]


@pytest.mark.parametrize(
    ("size_l0", "size"),
    [
        ((2220, 2967), (277, 370)),
        ((2220, 2967), (17, 23)),
        ((2220, 2967), (2, 2)),
        ((2220, 2967), (1, 1)),
        ((1001, 999), (250, 250)),
        ((1001, 801), (251, 200)),
        ((1001, 801), (250, 201)),
        ((46000, 32914), (2875, 2057)),
        ((640, 512), (640, 512)),
        ((100_000, 7), (50_000, 4)),
    ],
)
def test_rounding_explains_a_size(size_l0: tuple[int, int], size: tuple[int, int]) -> None:
    """Sides rounded up or down, in one step or several, are of one reduction, however few pixels are left."""
    finest, level = levels_from_sizes([size_l0, size])
    assert geometry_fault(finest, level) is None


@pytest.mark.parametrize(
    ("size_l0", "size", "says"),
    [
        ((4096, 3072), (1200, 500), "reduced 3.41 times in x but 6.14 times in y"),
        ((4096, 3072), (512, 768), "reduced 8 times in x but 4 times in y"),
        ((1536, 1000), (512, 256), "or padded"),
        ((1000, 1000), (500, 470), "reduced 2 times in x but 2.13 times in y"),
        ((1000, 800), (2000, 1600), "is larger than level 0"),
    ],
)
def test_another_aspect_is_no_level(size_l0: tuple[int, int], size: tuple[int, int], says: str) -> None:
    """Sides of two reductions are another picture, or a level filled up to whole tiles, which would lie askew."""
    finest, level = levels_from_sizes([size_l0, size])
    assert says in str(geometry_fault(finest, level))


def _jpeg_20(image: Pixels) -> Pixels:
    import simplejpeg

    return np.asarray(simplejpeg.decode_jpeg(jpeg(image, quality=20)))


def _sharpened(image: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.UnsharpMask(2, 200, 0)))


def _shifted_colours(image: Pixels) -> Pixels:
    return np.clip(image + np.array([8, -6, 10]), 0, 255).astype(np.uint8)


def _with_hole(image: Pixels) -> Pixels:
    image = image.copy()
    image[64:128, 64:128] = 244
    return image


SOUND: dict[str, Callable[[Pixels], Pixels]] = {
    "averaged": lambda image: _reduced(image, 4),
    "every fourth pixel": lambda image: image[::4, ::4],
    "the middle pixels": lambda image: image[2::4, 2::4],
    "JPEG of quality 20": lambda image: _jpeg_20(_reduced(image, 4)),
    "sharpened": lambda image: _sharpened(_reduced(image, 4)),
    "colours a little off": lambda image: _shifted_colours(_reduced(image, 4)),
    "a hole": lambda image: _with_hole(_reduced(image, 4)),
    "rounded up": lambda image: np.pad(_reduced(image, 4), ((0, 1), (0, 1), (0, 0)), mode="edge"),
    "moved by a pixel": lambda image: np.roll(_reduced(image, 4), 1, axis=(0, 1)),
}


@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
def test_a_level_made_in_another_way_is_believed(tmp_path: Path, make: Callable[[Pixels], Pixels]) -> None:
    """However a scanner or a converter reduces, sharpens, codes or rounds, a level is kept, without a word."""
    image = _tissue()
    level = np.ascontiguousarray(make(image))
    with open_reader(slide_file(_tiff(tmp_path / "a.tif", image, level))) as slide:
        assert _sizes(slide) == [(WIDTH, HEIGHT), level.shape[1::-1]]
        assert slide.warnings == []


WRONG: dict[str, Callable[[Pixels], Pixels]] = {
    "a macro photograph": lambda image: _macro(160, 128),
    "bare": lambda image: np.full((128, 160, 3), 244, np.uint8),
    "black": lambda image: np.zeros((128, 160, 3), np.uint8),
    "mirrored": lambda image: _reduced(image, 4)[:, ::-1],
    "upside down": lambda image: _reduced(image, 4)[::-1],
    "moved": lambda image: np.roll(_reduced(image, 4), 12, axis=1),
    "another slide": lambda image: _reduced(_tissue(seed=2), 4),
    "smaller within it": lambda image: np.pad(
        _reduced(image, 5), ((0, 26), (0, 32), (0, 0)), constant_values=244
    ),
    "inverted": lambda image: 255 - _reduced(image, 4),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_a_picture_of_the_same_shape_is_no_level(tmp_path: Path, make: Callable[[Pixels], Pixels]) -> None:
    """Where size and aspect fit, the pixels tell: what is not level 0 reduced is taken away and named."""
    image = _tissue()
    path = _tiff(tmp_path / "a.tif", image, np.ascontiguousarray(make(image)))
    with open_reader(slide_file(path)) as slide:
        assert _sizes(slide) == [(WIDTH, HEIGHT)]
        assert [w.startswith("Level 1 of the file (160 x 128 px) does not show") for w in slide.warnings] == [
            True
        ]


def test_a_bare_slide_keeps_its_levels(tmp_path: Path) -> None:
    """Where nothing is to be seen nothing contradicts."""
    bare = np.full((HEIGHT, WIDTH, 3), 244, np.uint8)
    bare[::7, ::5] = 241
    with open_reader(slide_file(_tiff(tmp_path / "a.tif", bare, _reduced(bare, 4)))) as slide:
        assert len(slide.levels) == 2
        assert slide.warnings == []


def test_a_large_level_is_judged_where_a_small_one_shows_something(tmp_path: Path) -> None:
    """Of a level of 1.3 MP only some tiles are read, at places that the smallest level knows: here the one piece."""
    image = np.full((2048, 2560, 3), 244, np.uint8)
    image[1500:1900, 1900:2400] = _tissue(500, 400)
    wrong = np.full((1024, 1280, 3), 244, np.uint8)
    wrong[100:300, 100:350] = _tissue(250, 200)
    small = _reduced(image, 8)
    for name, level, count in (("sound", _reduced(image, 2), 3), ("wrong", wrong, 2)):
        with open_reader(slide_file(_tiff(tmp_path / f"{name}.tif", image, level, small))) as slide:
            assert (name, len(slide.levels)) == (name, count)


def _strict_jpeg(path: Path, *pictures: Pixels) -> tuple[Path, ...]:
    return (_tiff(path.with_suffix(".tif"), *pictures, compression="jpeg"),)


MAKERS: dict[str, tuple[str, Callable[..., tuple[Path, ...]]]] = {
    "strict tiles": ("tiff-deflate", lambda path, *p: (_tiff(path.with_suffix(".tif"), *p),)),
    "OpenSlide": ("openslide", lambda path, *p: (_tiff(path.with_suffix(".tif"), *p, compression="lzw"),)),
    "strict DICOM": ("dicom-jpeg", _dicom),
}


@pytest.mark.parametrize(("reader", "make"), MAKERS.values(), ids=MAKERS)
def test_every_reader_numbers_its_levels_anew(
    tmp_path: Path, reader: str, make: Callable[..., tuple[Path, ...]]
) -> None:
    """Level 1, a macro, is taken away; what is read as level 1 then is the file's level 2, to the last pixel."""
    image = _tissue()
    first, *others = make(tmp_path / "a", image, _macro(320, 256), _reduced(image, 4))
    with open_reader(slide_file(first, *others)) as slide:
        assert slide.reader == reader
        assert _sizes(slide) == [(640, 512), (160, 128)]
        assert [level.downsample_x for level in slide.levels] == [1, 4]
        assert "Level 1 of the file (320 x 256 px)" in slide.warnings[0]
        assert np.abs(read_level(slide, 1).astype(int) - _reduced(image, 4)).mean() < 4


@pytest.mark.parametrize("compression", ["zlib", "jpeg", "lzw"])
def test_the_overview_is_made_of_what_is_believed(tmp_path: Path, compression: str) -> None:
    """An overview of a slide that has a macro as its level is that of the slide without it."""
    image = _tissue()
    paths: Any = (
        _tiff(tmp_path / "with.tif", image, _macro(190, 80), compression=compression),
        _tiff(tmp_path / "without.tif", image, compression=compression),
    )
    with open_reader(slide_file(paths[0])) as slide, open_reader(slide_file(paths[1])) as alone:
        found, expected = (read_overview(s, downsample=8) for s in (slide, alone))
    assert found.level == 0
    assert np.array_equal(found.image, expected.image)


def test_damage_contradicts_nothing(tmp_path: Path) -> None:
    """A level whose tiles cannot be read is no other picture: it is refused where it is read."""
    image = _tissue()
    path = _tiff(tmp_path / "a.tif", image, _reduced(image, 4))
    with tifffile.TiffFile(path) as tif:
        spans = list(zip(tif.pages[1].dataoffsets, tif.pages[1].databytecounts, strict=True))
    with path.open("r+b") as stream:
        for offset, count in spans:
            stream.seek(offset + count // 2)
            stream.write(bytes(count - count // 2))
    with open_reader(slide_file(path)) as slide:
        assert len(slide.levels) == 2
