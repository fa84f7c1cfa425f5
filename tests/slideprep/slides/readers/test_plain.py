"""Plain images: what is converted, what is refused, and what damage does."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import tifffile
from PIL import Image

from fixtures.slides import picture, slide_file
from slideprep.errors import SlideOpenError, SlideReadError
from slideprep.slides.overview import read_level
from slideprep.slides.readers import plain as read_plain
from slideprep.slides.readers.choose import open_reader

PICTURE = picture(90, 300)


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    """A grey PNG and a grey JPEG give three equal channels."""
    grey = PICTURE[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    (tmp_path / "a.jpg").write_bytes(
        simplejpeg.encode_jpeg(grey[..., None].copy(), colorspace="GRAY", quality=98)
    )
    for name, tolerance in (("a.png", 0), ("a.jpg", 4)):
        with open_reader(slide_file(tmp_path / name)) as slide:
            image = read_level(slide, 0).astype(int)
        assert np.abs(image - grey[..., None]).max() <= tolerance


def test_transparency_is_white(tmp_path: Path) -> None:
    """Transparent pixels of a PNG are white whatever colour hides below them; opaque ones stay."""
    alpha = np.full((300, 90, 1), 255, np.uint8)
    alpha[:100] = 0
    Image.fromarray(np.concatenate([PICTURE, alpha], axis=2)).save(tmp_path / "a.png")
    with open_reader(slide_file(tmp_path / "a.png")) as slide:
        image = read_level(slide, 0)
    assert (image[:100] == 255).all()
    assert np.array_equal(image[100:], PICTURE[100:])


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    """The upper byte of a 16-bit image is used, and a warning says so."""
    tifffile.imwrite(tmp_path / "a.tif", PICTURE.astype(np.uint16) * 256 + 77, photometric="rgb")
    with open_reader(slide_file(tmp_path / "a.tif")) as slide:
        assert np.array_equal(read_level(slide, 0), PICTURE)
        assert slide.warnings == ["The image has 16 bits per channel; the upper 8 are used."]


def test_cmyk_and_floats_are_refused(tmp_path: Path) -> None:
    """Images whose colours are not defined without a profile, or have no range, are refused with the remedy."""
    Image.fromarray(PICTURE).convert("CMYK").save(tmp_path / "c.jpg")
    Image.fromarray(PICTURE).convert("CMYK").save(tmp_path / "c.tif")
    tifffile.imwrite(tmp_path / "f.tif", PICTURE.astype(np.float32), photometric="rgb")
    for name in ("c.jpg", "c.tif", "f.tif"):
        with pytest.raises(SlideOpenError, match=f"'{name}'.*convert it to 8-bit RGB"):
            open_reader(slide_file(tmp_path / name))


def test_exif_orientation_is_not_followed(tmp_path: Path) -> None:
    """Pixels are as stored, so that annotations made on the stored pixels fit."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=exif)
    with open_reader(slide_file(tmp_path / "a.jpg")) as slide:
        assert (slide.levels[0].width, slide.levels[0].height) == (90, 300)


def test_damaged_jpeg_is_refused(tmp_path: Path) -> None:
    """Zeros in the middle of a plain JPEG fail the read; other decoders fill them with grey."""
    data = bytearray(simplejpeg.encode_jpeg(PICTURE, quality=90))
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (tmp_path / "a.jpg").write_bytes(data)
    with (
        open_reader(slide_file(tmp_path / "a.jpg")) as slide,
        pytest.raises(SlideReadError, match="damaged JPEG"),
    ):
        list(slide.strips(0, 0, 0, 1, 1))


def test_large_jpegs_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit for decoding in memory a JPEG goes to libvips, and has the same pixels."""
    (tmp_path / "a.jpg").write_bytes(simplejpeg.encode_jpeg(PICTURE, quality=90))
    with open_reader(slide_file(tmp_path / "a.jpg")) as slide:
        strict = read_level(slide, 0)
    monkeypatch.setattr(read_plain, "JPEG_LIMIT_PX", 1000)
    with open_reader(slide_file(tmp_path / "a.jpg")) as slide:
        assert slide.reader == "libvips"
        assert np.abs(read_level(slide, 0).astype(int) - strict).max() <= 1


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk
        + struct.pack(">I", len(data) - 4)
        + data
        + struct.pack(">I", zlib.crc32(data))
    )


def test_absurd_size_is_refused_from_the_header(tmp_path: Path) -> None:
    """A plain image that says 200 000 x 200 000 px is refused unread, with the format to convert to."""
    (tmp_path / "a.png").write_bytes(_png_header(200_000, 200_000))
    with pytest.raises(
        SlideOpenError, match=r"200000 x 200000 px, over the limit of 2 gigapixels.*pyramidal TIFF"
    ):
        open_reader(slide_file(tmp_path / "a.png"))


def test_pillows_bomb_limit_is_not_hit(tmp_path: Path) -> None:
    """A plain image over Pillow's limit of 179 megapixels opens and reads."""
    image = np.full((13_500, 13_500), 200, np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", image, photometric="minisblack", compression="adobe_deflate", rowsperstrip=64
    )
    with open_reader(slide_file(tmp_path / "a.tif")) as slide:
        assert next(slide.strips(0, 13_400, 0, 100, 256)).tolist() == [[[200] * 3] * 100] * 256


@pytest.mark.parametrize(
    ("per_cm", "unit", "mpp"),
    [(20_000, "CENTIMETER", 0.5), (28.35, "CENTIMETER", None), (25_400, "INCH", 1.0)],
)
def test_tiff_resolution_counts_where_it_is_a_microscopes(
    tmp_path: Path, per_cm: float, unit: str, mpp: float | None
) -> None:
    """20 000 px per cm are 0.5 µm; 72 dpi says nothing of a slide."""
    tifffile.imwrite(
        tmp_path / "a.tif",
        PICTURE,
        photometric="rgb",
        resolution=(per_cm, per_cm),
        resolutionunit=unit,
        metadata=None,
    )
    with open_reader(slide_file(tmp_path / "a.tif")) as slide:
        assert slide.mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-4))
        assert slide.objective is None
