"""A JPEG written strip by strip, so that an image of any height needs the memory of one strip.

Every strip is encoded on its own by libjpeg-turbo. Its entropy-coded data then becomes one restart interval of the
final file (ITU-T T.81, sections B.2.4.4 and F.1.2.3: at a restart marker the DC predictions start from zero and the
bits are padded to a whole byte, which is how a JPEG's data begins and ends). Without chroma subsampling no pixel
depends on a neighbouring strip, so the file decodes to exactly the pixels of its strips, in every baseline decoder.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import simplejpeg

from slideprep.shards.format import MAX_SIDE_PX
from slideprep.units import Pixels

_BLOCK = 8
_MAX_INTERVAL = 65_535
_MAX_STRIP_ROWS = 256
_SOF0, _SOS, _DRI, _RST0, _EOI = 0xC0, 0xDA, 0xDD, 0xD0, 0xD9


def strip_rows(width: int) -> int:
    """Rows per strip: as many blocks as a restart interval can count, at most 256 rows."""
    blocks_across = -(-width // _BLOCK)
    return _BLOCK * max(1, min(_MAX_INTERVAL // blocks_across, _MAX_STRIP_ROWS // _BLOCK))


class JpegStrips:
    """Writes one baseline 4:4:4 JPEG to a file, strip by strip.

    Args:
        file: Where the bytes go.
        width: Image width in pixels, at most MAX_SIDE_PX.
        height: Image height in pixels, at most MAX_SIDE_PX.
        quality: libjpeg's quality, 1 to 100.
    """

    def __init__(self, file: BinaryIO, *, width: int, height: int, quality: int) -> None:
        assert max(width, height) <= MAX_SIDE_PX, f"{width} x {height} px exceed JPEG's limit"
        self.rows_per_strip = strip_rows(width)
        self._file = file
        self._width = width
        self._height = height
        self._quality = quality
        self._rows = 0
        self._strips = 0

    def write(self, strip: Pixels) -> bytes:
        """Append a strip of ``rows_per_strip`` rows (fewer only at the end); returns it as a JPEG of its own."""
        expected = min(self.rows_per_strip, self._height - self._rows)
        assert strip.shape == (expected, self._width, 3), (
            f"a strip of {strip.shape}, expected {expected} rows"
        )
        jpeg: bytes = simplejpeg.encode_jpeg(
            np.ascontiguousarray(strip), quality=self._quality, colorspace="RGB", colorsubsampling="444"
        )
        scan = _scan_start(jpeg)
        if self._strips == 0:
            self._file.write(self._header(jpeg[:scan]))
        else:
            self._file.write(bytes([0xFF, _RST0 + (self._strips - 1) % 8]))
        assert jpeg[-2:] == bytes([0xFF, _EOI])
        self._file.write(memoryview(jpeg)[scan:-2])
        self._rows += expected
        self._strips += 1
        if self._rows == self._height:
            self._file.write(bytes([0xFF, _EOI]))
        return jpeg

    def _header(self, strip_header: bytes) -> bytes:
        """The first strip's header with the whole image's height and the restart interval."""
        parts = [strip_header[:2]]
        for marker, start, stop in _segments(strip_header):
            segment = bytearray(strip_header[start:stop])
            if marker == _SOF0:  # marker (2), length (2), precision (1), then the height
                segment[5:7] = self._height.to_bytes(2, "big")
            if marker == _SOS:
                interval = -(-self._width // _BLOCK) * (self.rows_per_strip // _BLOCK)
                parts.append(bytes([0xFF, _DRI, 0, 4]) + interval.to_bytes(2, "big"))
            parts.append(bytes(segment))
        return b"".join(parts)


def _segments(jpeg: bytes) -> list[tuple[int, int, int]]:
    """(marker, first byte, one past the last) of every header segment up to and including the scan's."""
    found: list[tuple[int, int, int]] = []
    position = 2
    while not found or found[-1][0] != _SOS:
        assert jpeg[position] == 0xFF, "an encoder's header has markers only"
        stop = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        found.append((jpeg[position + 1], position, stop))
        position = stop
    return found


def _scan_start(jpeg: bytes) -> int:
    return _segments(jpeg)[-1][2]
