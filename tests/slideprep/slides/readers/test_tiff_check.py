"""A TIFF whose tags say something else than a stained slide is refused, or warned of, whichever reader would get it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fixtures.slides import (
    APERIO,
    overwrite,
    picture,
    slide_file,
    write_jp2k_svs,
    write_jpeg_tiff,
    write_pages,
    write_svs,
)
from slideprep.errors import SlideOpenError
from slideprep.slides.overview import read_level
from slideprep.slides.readers import tiff_facts
from slideprep.slides.readers.choose import open_reader

PICTURE = picture(150, 130)
GREY = PICTURE[..., 1]
COLOURS = np.stack([np.arange(256) * step for step in (257, 128, 64)]).astype(np.uint16)
TEXT = APERIO.format(width=150, height=130, objective=20, mpp=0.5)
TILES: Mapping[str, Any] = {"tile": (64, 64)}
STRIPS: Mapping[str, Any] = {"rowsperstrip": 32}


def _set_tag(path: Path, code: int, value: int) -> Path:
    """Turn the tag ResolutionUnit of the first page into another one of a short number."""
    with tifffile.TiffFile(path) as tif:
        tag, order = tif.pages[0].tags[296], tif.byteorder
    overwrite(path, tag.offset, struct.pack(f"{order}HHIHH", code, 3, 1, value, 0))
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(SlideOpenError) as refused:
        open_reader(slide_file(path))
    assert f"slide '{path.name}' cannot be read as a stained slide: " in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("compression", [None, "lzw", "adobe_deflate", "jpeg"])
@pytest.mark.parametrize("orientation", [2, 6])
def test_another_orientation_is_refused(
    tmp_path: Path, layout: Mapping[str, Any], compression: str | None, orientation: int
) -> None:
    """Mirrored and turned pictures fail whatever their coding, with the two commands that help."""
    tag = [(274, "H", 1, orientation, True)]
    path = write_pages(tmp_path / "a.tif", PICTURE, compression=compression, extratags=tag, **layout)
    said = _refusal(path)
    assert f"its orientation tag ({orientation}) says that the picture is stored " in said
    assert "`vips autorot in.tif out.tif[tile,pyramid" in said
    assert "`tiffset -s 274 1 in.tif`" in said


@pytest.mark.parametrize("orientation", range(1, 9))
def test_only_upright_is_upright(tmp_path: Path, orientation: int) -> None:
    """Of the eight orientations the first alone is read, in Aperio's format too."""
    tag = [(274, "H", 1, orientation, True)]
    path = write_pages(
        tmp_path / "a.svs", PICTURE, compression="lzw", description=TEXT, extratags=tag, **TILES
    )
    if orientation > 1:
        assert f"orientation tag ({orientation})" in _refusal(path)
    else:
        with open_reader(slide_file(path)) as slide:
            assert (slide.vendor, slide.warnings) == ("aperio", [])
            assert np.array_equal(read_level(slide, 0), PICTURE)


def test_a_turned_coarser_level_is_refused(tmp_path: Path) -> None:
    """A pyramid is upright at every level, or it is refused."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for step, turned in ((1, 1), (2, 3)):
            tif.write(
                PICTURE[::step, ::step], tile=(64, 64), photometric="rgb", compression="lzw", metadata=None,
                subfiletype=int(step > 1), extratags=[(274, "H", 1, turned, True)],
            )  # fmt: skip
    assert "turned by 180°" in _refusal(path)


def test_an_orientation_without_meaning(tmp_path: Path) -> None:
    """OpenSlide passes over an orientation of 0 and its pixels are right; libvips would call the file damaged."""
    tag = [(274, "H", 1, 0, True)]
    with open_reader(slide_file(write_pages(tmp_path / "t.tif", PICTURE, extratags=tag, **TILES))) as slide:
        assert np.array_equal(read_level(slide, 0), PICTURE)
    said = _refusal(write_pages(tmp_path / "s.tif", PICTURE, extratags=tag, **STRIPS))
    assert "its orientation tag (0) is none of 1 to 8" in said


SAMPLES: Mapping[str, tuple[np.ndarray, Mapping[str, Any], str]] = {
    "float32": (PICTURE / np.float32(255), {}, "its samples are 32-bit floating point numbers"),
    "float16": ((PICTURE / 255).astype(np.float16), {}, "its samples are 16-bit floating point numbers"),
    "int8": ((PICTURE.astype(np.int16) - 128).astype(np.int8), {}, "its samples are 8-bit signed integers"),
    "int16": (PICTURE.astype(np.int16), {}, "its samples are 16-bit signed integers"),
    "uint32": (PICTURE.astype(np.uint32), {}, "its samples have 32 bits, and 8 or 16 are read"),
    "one bit": (GREY > 99, {"photometric": "minisblack"}, "its samples have 1 bit, and 8 or 16 are read"),
    "12 bits in 16": (PICTURE.astype(np.uint16) << 4, {}, "above 4080 of 65,535, as where 12 bits are kept in 16"),
    "10 bits in 16, channels apart": (
        np.ascontiguousarray(np.moveaxis(PICTURE.astype(np.uint16) << 2, -1, 0)), {"planarconfig": "separate"},
        "above 1020 of 65,535, as where 10 bits are kept in 16",
    ),
    "a fourth sample": (
        np.dstack([PICTURE, GREY]), {"extrasamples": ["unspecified"]},
        "4 samples a pixel: beyond its red, green and blue there is one of unstated meaning",
    ),
    "a fifth sample": (
        np.dstack([PICTURE, GREY, GREY]), {"extrasamples": ["unassalpha", "unspecified"]},
        "5 samples a pixel: beyond its red, green and blue there are 2 of unstated meaning",
    ),
    "three greys": (
        PICTURE, {"photometric": "minisblack", "planarconfig": "contig"},
        "3 samples a pixel: beyond its grey there are 2 of unstated meaning",
    ),
    "CMYK": (np.dstack([PICTURE, GREY]), {"photometric": "separated"}, "its colours are CMYK inks, not RGB"),
    "L*a*b*": (PICTURE, {"photometric": "cielab"}, "its colours are CIE L*a*b*, not RGB"),
    "fluorescence": (GREY // 4, {"photometric": "minisblack"}, "it is grey and dark"),
    "all transparent": (
        np.dstack([PICTURE, GREY * 0]), {"extrasamples": ["unassalpha"]}, "every pixel of it is transparent",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("kind", SAMPLES)
def test_samples_that_are_no_brightfield_colours_are_refused(
    tmp_path: Path, kind: str, layout: Mapping[str, Any]
) -> None:
    """What no reader takes for what it is fails by its kind and with what to do, in tiles and in strips."""
    pixels, options, words = SAMPLES[kind]
    said = _refusal(write_pages(tmp_path / "a.tif", pixels, **{**layout, **options}))
    assert words in said
    assert "damaged" not in said


READ: Mapping[str, tuple[np.ndarray, Mapping[str, Any], np.ndarray, list[str]]] = {
    "16 bits in full": (
        PICTURE.astype(np.uint16) * 257, {}, PICTURE, ["The image has 16 bits per channel; the upper 8 are used."],
    ),
    "grey": (
        GREY, {"photometric": "minisblack"}, np.dstack([GREY] * 3),
        ["The image is grey, one sample a pixel; red, green and blue are made equal."],
    ),
    "grey, white as 0": (
        255 - GREY, {"photometric": "miniswhite"}, np.dstack([GREY] * 3),
        ["The image is grey, one sample a pixel; red, green and blue are made equal."],
    ),
    "palette": (
        GREY, {"photometric": "palette", "colormap": COLOURS},
        np.dstack([GREY, GREY // 2, GREY // 4]), [],
    ),
    "opacity": (
        np.dstack([PICTURE, np.where(np.arange(150) < 40, 0, 255)[None].repeat(130, 0).astype(np.uint8)]),
        {"extrasamples": ["unassalpha"]}, np.where(np.arange(150)[:, None] < 40, 255, PICTURE), [],
    ),
    "channels apart": (np.ascontiguousarray(np.moveaxis(PICTURE, -1, 0)), {"planarconfig": "separate"}, PICTURE, []),
}  # fmt: skip


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("kind", READ)
def test_what_every_reader_honours_is_read_alike(
    tmp_path: Path, kind: str, layout: Mapping[str, Any]
) -> None:
    """These kinds have the pixels that were stored and the same warnings in tiles (OpenSlide) and strips (libvips)."""
    pixels, options, truth, warnings = READ[kind]
    path = write_pages(tmp_path / "a.tif", pixels, **{"compression": "lzw", **layout, **options})
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == ("openslide" if "tile" in layout else "libvips")
        assert np.abs(read_level(slide, 0).astype(int) - truth).max() <= 1
        assert slide.warnings == warnings


def test_a_mostly_transparent_slide_is_warned_of(tmp_path: Path) -> None:
    """Four fifths of the pixels are transparent, and the record says so."""
    opacity = np.where(np.arange(150) < 30, 255, 0)[None].repeat(130, 0).astype(np.uint8)
    path = write_pages(
        tmp_path / "a.tif", np.dstack([PICTURE, opacity]), extrasamples=["unassalpha"], **STRIPS
    )
    with open_reader(slide_file(path)) as slide:
        assert slide.warnings == [
            "About 80% of the pixels looked at are transparent; they are shown as background."
        ]


def test_reversed_bits_are_refused_where_they_count(tmp_path: Path) -> None:
    """FillOrder 2 means other bytes in LZW, and nothing in JPEG."""
    plain = write_pages(tmp_path / "a.tif", PICTURE, compression="lzw", resolution=(1, 1), **TILES)
    assert "the bits of its bytes are stored in reverse (FillOrder 2)" in _refusal(_set_tag(plain, 266, 2))
    with open_reader(
        slide_file(_set_tag(write_jpeg_tiff(tmp_path / "b.tif", PICTURE, mpp=0.5), 266, 2))
    ) as slide:
        assert np.abs(read_level(slide, 0).astype(int) - PICTURE).mean() < 1.5


def test_codings_and_colours_that_only_one_reader_knows(tmp_path: Path) -> None:
    """YCbCr outside of JPEG is RGB by OpenSlide, and refused where libvips would read; JPEG of 1992 is refused."""
    from PIL import Image

    ycbcr = np.asarray(Image.fromarray(PICTURE).convert("YCbCr"))
    options: dict[str, Any] = {"photometric": "ycbcr", "subsampling": (1, 1), "compression": "lzw"}
    with open_reader(slide_file(write_pages(tmp_path / "t.tif", ycbcr, **options, **TILES))) as slide:
        assert np.abs(read_level(slide, 0).astype(int) - PICTURE).max() <= 3
    assert "YCbCr outside of JPEG" in _refusal(write_pages(tmp_path / "s.tif", ycbcr, **options, **STRIPS))
    old = write_pages(tmp_path / "o.tif", PICTURE, **STRIPS)
    with tifffile.TiffFile(old) as tif:
        entry = tif.pages[0].tags[259].valueoffset
    overwrite(old, entry, struct.pack("<H", 6))
    assert "(compression 6)" in _refusal(old)


def test_a_tile_that_claims_to_be_huge_never_reaches_openslide(tmp_path: Path) -> None:
    """OpenSlide would end the process over a tile of 2 000 000 000 x 64 px."""
    path = write_pages(tmp_path / "a.tif", PICTURE, compression="lzw", **TILES)
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages[0].tags[322]
    overwrite(path, tag.offset + 2, struct.pack("<HII", 4, 1, 2_000_000_000))
    assert "its tiles are said to have 2,000,000,000 x 64 px" in _refusal(path)


def test_tiled_greys_that_openslide_changes_are_refused(tmp_path: Path) -> None:
    """16-bit grey comes out of OpenSlide 25 levels off, and grey with opacity 6; from strips both are right."""
    deep = GREY.astype(np.uint16) * 257
    with_opacity = np.dstack([GREY, np.full_like(GREY, 255)])
    for pixels, extra, words in (
        (deep, {}, "of 16 bits"),
        (with_opacity, {"extrasamples": ["unassalpha"]}, "with opacity"),
    ):
        options: dict[str, Any] = {"photometric": "minisblack", **extra}
        assert f"it is grey, {words}, in tiles" in _refusal(
            write_pages(tmp_path / "t.tif", pixels, **options, **TILES)
        )
        with open_reader(slide_file(write_pages(tmp_path / "s.tif", pixels, **options, **STRIPS))) as slide:
            assert np.array_equal(read_level(slide, 0)[..., 1], GREY)


def test_grey_from_a_scanner_is_fluorescence(tmp_path: Path) -> None:
    """A grey SVS is refused, bright or not: Aperio's brightfield scans are in colour."""
    path = write_pages(tmp_path / "a.svs", GREY, photometric="minisblack", description=TEXT, **TILES)
    assert "as scanners store fluorescence" in _refusal(path)


def test_ordinary_slides_are_neither_refused_nor_warned_of(tmp_path: Path) -> None:
    """Label, macro and thumbnail pages, pyramids and either kind of JPEG 2000 pass without a word."""
    made = (
        write_svs(tmp_path / "a.svs", PICTURE, levels=3),
        write_jp2k_svs(tmp_path / "b.svs", PICTURE, colours="ycbcr", levels=2),
        write_jpeg_tiff(tmp_path / "c.tif", PICTURE, levels=3, subsampling="420"),
        write_pages(tmp_path / "d.tif", PICTURE, **STRIPS),
    )
    for path in made:
        with open_reader(slide_file(path)) as slide:
            assert slide.warnings == []


def test_what_cannot_be_checked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that OpenSlide opens and tifffile does not is read, and the record says that nobody looked at its tags."""
    monkeypatch.setattr(tiff_facts, "read_facts", lambda path: None)
    with open_reader(slide_file(write_pages(tmp_path / "a.tif", PICTURE, **TILES))) as slide:
        assert slide.warnings == [
            "The file's list of pages is damaged or unusual: orientation, samples and pages could not be checked."
        ]


def _stored_as(kind: str) -> tuple[np.ndarray, Mapping[str, Any]]:
    """A way of storing the picture that is refused."""
    turned = {f"orientation {o}": (PICTURE, {"extratags": [(274, "H", 1, o, True)]}) for o in (2, 6)}
    return {
        **turned,
        "12 bits": (PICTURE.astype(np.uint16) << 4, {}),
        "floats": (PICTURE / np.float32(255), {}),
        "a fourth sample": (np.dstack([PICTURE, GREY]), {"extrasamples": ["unspecified"]}),
    }[kind]


REMEDIES: Mapping[str, Callable[[Any], Any]] = {
    "orientation 2": lambda image: image.autorot(),
    "orientation 6": lambda image: image.autorot(),
    "12 bits": lambda image: image.linear(0.0625, 0, uchar=True),
    "floats": lambda image: image.linear(255, 0, uchar=True),
    "a fourth sample": lambda image: image.extract_band(0, n=3),
}
"""libvips' operations by the names that its command has for them."""


@pytest.mark.parametrize("kind", REMEDIES)
def test_the_remedy_makes_the_picture_upright_and_readable(tmp_path: Path, kind: str) -> None:
    """What the message advises turns a file that is refused into one that is read, within JPEG's loss."""
    import pyvips

    pixels, options = _stored_as(kind)
    path = write_pages(tmp_path / "in.tif", pixels, compression="lzw", **options, **TILES)
    _refusal(path)
    remedied = REMEDIES[kind](pyvips.Image.new_from_file(str(path)))
    remedied.tiffsave(str(tmp_path / "out.tif"), tile=True, pyramid=True, compression="jpeg", Q=95)
    upright = {"orientation 2": PICTURE[:, ::-1], "orientation 6": np.rot90(PICTURE, -1)}.get(kind, PICTURE)
    with open_reader(slide_file(tmp_path / "out.tif")) as slide:
        assert np.abs(read_level(slide, 0).astype(int) - upright).mean() < 1.5
