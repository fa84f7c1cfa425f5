"""Truths of the encoders: what is decoded is what was written, whatever the size, in bounded memory."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from slideprep.images.codec import encoder
from slideprep.images.jpeg_strips import JpegStrips, strip_rows
from slideprep.images.sums import PixelSums
from slideprep.shards.models import ImageFormat, StatisticsOf


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colour with some grain."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    image = (
        128
        + 90 * np.sin(np.stack([x / 31, y / 17, (x + y) / 23], axis=-1))
        + rng.normal(0, 6, (height, width, 3))
    )
    return np.clip(image, 0, 255).astype(np.uint8)


def encode(
    image: np.ndarray,
    image_format: str,
    folder: Path,
    *,
    step: int = 37,
    quality: int | None = 95,
    statistics_of: StatisticsOf = "unencoded",
):
    """Encode in pieces of ``step`` rows; returns the bytes and the sums."""
    height, width, _ = image.shape
    file = io.BytesIO(b"before")
    file.seek(0, io.SEEK_END)
    made = encoder(
        image_format,
        file,
        width=width,
        height=height,
        quality=quality,
        with_sums=True,
        folder=folder,
        statistics_of=statistics_of,
    )
    for top in range(0, height, step):
        made.write(image[top : top + step])
    made.finish()
    made.close()
    assert file.getvalue().startswith(b"before")
    return file.getvalue().removeprefix(b"before"), made.sums


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (300, 70), (257, 129), (1030, 50)])
def test_a_jpeg_in_strips_decodes_to_the_pixels_of_a_jpeg_in_one_piece(
    size: tuple[int, int], tmp_path: Path
) -> None:
    """Two independent decoders see the same pixels as in libjpeg's own encoding of the whole image."""
    image = picture(*size)
    data, _ = encode(image, "jpeg", tmp_path)
    whole = simplejpeg.encode_jpeg(image, quality=95, colorsubsampling="444")
    expected = simplejpeg.decode_jpeg(whole)
    assert np.array_equal(simplejpeg.decode_jpeg(data, strict=True), expected)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), expected)


def test_the_restart_interval_fits_its_field_at_every_width() -> None:
    """Blocks per strip never exceed 65 535, and a strip is a whole number of blocks high."""
    for width in (1, 8, 2048, 2049, 16_384, 65_500):
        rows = strip_rows(width)
        assert rows % 8 == 0
        assert 1 <= -(-width // 8) * (rows // 8) <= 65_535


def test_a_wide_jpeg_needs_more_than_eight_restart_markers() -> None:
    """Restart markers count modulo 8: an image of 20 strips decodes without a warning."""
    image = picture(20 * strip_rows(30_000), 1).repeat(30_000, axis=1)[: 10 * strip_rows(30_000)]
    file = io.BytesIO()
    strips = JpegStrips(file, width=30_000, height=len(image), quality=80)
    for top in range(0, len(image), strips.rows_per_strip):
        strips.write(image[top : top + strips.rows_per_strip])
    assert simplejpeg.decode_jpeg(file.getvalue(), strict=True).shape == image.shape


def test_the_bytes_do_not_depend_on_how_rows_arrive(tmp_path: Path) -> None:
    """Single rows, pieces that straddle JPEG's strips of 256 and one large piece make the same file."""
    image = picture(600, 60)
    for image_format, quality in (("jpeg", 95), ("png", None), ("webp", 95)):
        one = encode(image, image_format, tmp_path, step=1, quality=quality)
        straddling = encode(image, image_format, tmp_path, step=290, quality=quality)
        all_at_once = encode(image, image_format, tmp_path, step=600, quality=quality)
        assert one == straddling == all_at_once


@pytest.mark.parametrize(("image_format", "quality"), [("jpeg", 90), ("png", None), ("webp", 90)])
@pytest.mark.parametrize("statistics_of", ["unencoded", "decoded"])
def test_sums_are_of_the_pixels_asked_for(
    image_format: ImageFormat, quality: int | None, statistics_of: StatisticsOf, tmp_path: Path
) -> None:
    """Counts, sums and sums of squares equal those of the rows as they came, or of the file as Pillow decodes it."""
    image = picture(290, 61)
    data, sums = encode(image, image_format, tmp_path, quality=quality, statistics_of=statistics_of)
    decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.int64)
    assert np.array_equal(decoded, image) == (image_format == "png")
    pixels = decoded if statistics_of == "decoded" else image.astype(np.int64)
    assert sums.pixels == 290 * 61
    assert list(sums.sums) == pixels.sum(axis=(0, 1)).tolist()
    assert list(sums.squares) == (pixels**2).sum(axis=(0, 1)).tolist()


def test_sums_merge_like_one_image() -> None:
    """Two halves add up to the whole, in integers."""
    image = picture(64, 40)
    whole, left, right = PixelSums(), PixelSums(), PixelSums()
    whole.add(image)
    left.add(image[:30])
    right.add(image[30:])
    left.merge(right)
    assert left == whole


@pytest.mark.parametrize("side", [1, 15, 17, 2100])
def test_sums_of_the_brightest_image_do_not_overflow(side: int) -> None:
    """White adds up to 255 and 255 * 255 per pixel and channel, in images of any size."""
    sums = PixelSums()
    sums.add(np.full((side, side, 3), 255, dtype=np.uint8))
    assert sums.sums == (255 * side**2,) * 3
    assert sums.squares == (255**2 * side**2,) * 3


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    """After close() the folder of raw images is empty."""
    for image_format, quality in (("jpeg", 95), ("png", None), ("webp", 95)):
        encode(picture(50, 50), image_format, tmp_path, quality=quality)
    assert list(tmp_path.iterdir()) == []
