"""Rows of an image in, its encoded file out (and back), with the sums that the set's colour statistics are made of.

Sums are of the rows as they come. A set of an earlier version has sums of its images as they decode, and new images of
it are summed up alike: decoded again, which takes as long as encoding.

JPEG is written strip by strip (and decoded strip by strip), so it needs the memory of a strip. PNG and
WebP go through libvips from a raw file on disk; WebP itself holds the whole image in memory (at most 16 383 px a side).
The image is appended to a file that is given, and no other byte of that file is touched.

The other way, :func:`decode`: strict decoders that refuse a damaged image.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import pyvips
import simplejpeg

from slideprep.images.jpeg_strips import JpegStrips
from slideprep.images.sums import PixelSums
from slideprep.shards.models import ImageFormat, StatisticsOf
from slideprep.units import Pixels

# libvips keeps its last hundred files open, and with them the disk space of raw images that are long deleted.
pyvips.cache_set_max(0)

_COPIED_BYTES = 1024 * 1024


class Encoder(Protocol):
    """Takes an image's rows from top to bottom and appends its encoded bytes to a file."""

    sums: PixelSums

    def write(self, rows: Pixels) -> None:
        """The next rows (any number, width, 3) uint8."""

    def finish(self) -> None:
        """Encode what is left. File and ``sums`` are then complete."""

    def close(self) -> None:
        """Remove the temporary files."""


def encoder(
    image_format: ImageFormat,
    file: BinaryIO,
    *,
    width: int,
    height: int,
    quality: int | None,
    with_sums: bool,
    folder: Path,
    statistics_of: StatisticsOf = "unencoded",
) -> Encoder:
    """The encoder for one image.

    Args:
        image_format: What to encode as.
        file: Takes the encoded bytes.
        width: Image width in pixels.
        height: Image height in pixels.
        quality: 1 to 100; None for PNG.
        with_sums: Whether to sum up the pixels (for the training split only).
        folder: Where raw images wait for PNG and WebP, on the shards' own file system.
        statistics_of: Which pixels to sum up.
    """
    summed = statistics_of if with_sums else None
    if image_format == "jpeg":
        assert quality is not None
        return _JpegEncoder(file, width, height, quality, summed)
    return _VipsEncoder(image_format, file, width, height, quality, summed, folder)


class _JpegEncoder:
    def __init__(
        self, file: BinaryIO, width: int, height: int, quality: int, summed: StatisticsOf | None
    ) -> None:
        self.sums = PixelSums()
        self._strips = JpegStrips(file, width=width, height=height, quality=quality)
        self._summed = summed
        self._left = height
        self._waiting = np.empty((self._strips.rows_per_strip, width, 3), dtype=np.uint8)
        self._filled = 0
        self._decoded = np.empty(self._waiting.size if summed == "decoded" else 0, dtype=np.uint8)

    def write(self, rows: Pixels) -> None:
        while len(rows):
            if self._filled == 0 and len(rows) >= self._next_strip:
                taken = rows[: self._next_strip]  # a whole strip need not wait, nor be copied
                self._encode(taken)
            else:
                taken = rows[: self._next_strip - self._filled]
                self._waiting[self._filled : self._filled + len(taken)] = taken
                self._filled += len(taken)
                if self._filled == self._next_strip:
                    self._encode(self._waiting[: self._filled])
                    self._filled = 0
            rows = rows[len(taken) :]

    @property
    def _next_strip(self) -> int:
        return min(len(self._waiting), self._left)

    def _encode(self, strip: Pixels) -> None:
        jpeg = self._strips.write(strip)
        if self._summed == "unencoded":
            self.sums.add(strip)
        elif self._summed == "decoded":
            self.sums.add(simplejpeg.decode_jpeg(jpeg, buffer=self._decoded, strict=True))
        self._left -= len(strip)

    def finish(self) -> None:
        assert self._left == 0, f"{self._left} rows are missing"

    def close(self) -> None:
        pass


class _VipsEncoder:
    def __init__(
        self,
        image_format: ImageFormat,
        file: BinaryIO,
        width: int,
        height: int,
        quality: int | None,
        summed: StatisticsOf | None,
        folder: Path,
    ) -> None:
        self.sums = PixelSums()
        self._file = file
        self._size = (width, height)
        self._lossless = image_format == "png"
        self._sums_rows = summed == "unencoded" or (summed == "decoded" and self._lossless)
        self._sums_decoded = summed == "decoded" and not self._lossless
        self._folder = tempfile.TemporaryDirectory(dir=folder, prefix="encode-")
        self._raw = Path(self._folder.name) / "image.raw"
        self._encoded = Path(self._folder.name) / f"image.{image_format}"
        self._raw_file = self._raw.open("wb")
        self._save: Callable[[pyvips.Image], None] = (
            (lambda image: image.pngsave(str(self._encoded), keep="none"))
            if self._lossless
            else (lambda image: image.webpsave(str(self._encoded), Q=quality, keep="none"))
        )

    def write(self, rows: Pixels) -> None:
        self._raw_file.write(np.ascontiguousarray(rows).data)
        if self._sums_rows:
            self.sums.add(np.ascontiguousarray(rows))

    def finish(self) -> None:
        self._raw_file.close()
        width, height = self._size
        try:
            self._save(pyvips.Image.rawload(str(self._raw), width, height, 3).copy(interpretation="srgb"))
        except pyvips.Error as error:
            raise OSError(f"libvips cannot write an image: {' '.join(str(error).split())}") from error
        self._raw.unlink()
        if self._sums_decoded:
            self._sum_decoded()
        with self._encoded.open("rb") as encoded:
            shutil.copyfileobj(encoded, self._file, _COPIED_BYTES)

    def _sum_decoded(self) -> None:
        image = pyvips.Image.new_from_file(str(self._encoded), access="sequential", fail_on="warning")
        for top in range(0, image.height, 512):
            rows = min(512, image.height - top)
            pixels = image.crop(0, top, image.width, rows).write_to_memory()
            self.sums.add(np.frombuffer(pixels, dtype=np.uint8).reshape(rows, image.width, 3))

    def close(self) -> None:
        self._raw_file.close()
        self._folder.cleanup()


def decode(encoded: bytes, image_format: ImageFormat) -> Pixels:
    """Decode an image of a shard set.

    Args:
        encoded: The whole file.
        image_format: What it is encoded as.

    Returns:
        (rows, columns, 3) uint8 RGB.

    Raises:
        ValueError: It is damaged, cut off, or of another format.
    """
    if image_format == "jpeg":
        pixels: Pixels = simplejpeg.decode_jpeg(encoded, colorspace="RGB", strict=True)
        return pixels
    load = {"png": pyvips.Image.pngload_buffer, "webp": pyvips.Image.webpload_buffer}[image_format]
    try:
        image = load(encoded, access="sequential", fail_on="warning")
        return np.frombuffer(image.write_to_memory(), np.uint8).reshape(image.height, image.width, 3)
    except pyvips.Error as error:
        raise ValueError(" ".join(str(error).split())) from error
