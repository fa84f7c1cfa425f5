"""Scanners' formats that are TIFF inside pass the checks of tags, and are warned of where something is not read."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fixtures.slides import jpeg, picture, set_tile_entry, slide_file
from slideprep.errors import SlideOpenError
from slideprep.slides.overview import read_level
from slideprep.slides.readers.choose import open_reader

PICTURE = picture(256, 192)
HALF, SMALL = PICTURE[::2, ::2].copy(), PICTURE[::4, ::4].copy()


def _ndpi(path: Path, pages: Sequence[tuple[np.ndarray, float, int]]) -> Path:
    """An NDPI of (pixels, lens, focus): one strip a page, 64-bit links, high words after each directory."""
    out, link = bytearray(b"II*\0" + bytes(8)), 4
    for pixels, lens, focus in pages:
        colours = 1 if pixels.ndim == 2 else 3
        data = jpeg(pixels) if colours == 3 else pixels.tobytes()
        out += bytes(len(out) % 2)
        at, bits = len(out), len(out) + len(data) + len(data) % 2
        out += data + bytes(len(data) % 2) + struct.pack("<3H", 8, 8, 8)
        words, resolution = len(out), len(out) + 10
        out += b"Hamamatsu\0" + struct.pack("<2I", 20_000, 1)
        height, width = pixels.shape[:2]
        coding, meaning = (7, 6) if colours == 3 else (1, 1)
        entries = [
            (256, 4, 1, width), (257, 4, 1, height), (258, 3, colours, bits if colours == 3 else 8),
            (259, 3, 1, coding), (262, 3, 1, meaning), (271, 2, 10, words), (273, 4, 1, at), (277, 3, 1, colours),
            (278, 4, 1, height), (279, 4, 1, len(data)), (282, 5, 1, resolution), (283, 5, 1, resolution),
            (296, 3, 1, 3), (530, 3, 2, 0x10001), (65420, 4, 1, 1),
            (65421, 11, 1, int.from_bytes(struct.pack("<f", lens), "little")), (65424, 9, 1, focus & 0xFFFFFFFF),
        ]  # fmt: skip
        out[link : link + 8] = struct.pack("<Q", len(out))
        out += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        link = len(out)
        out += bytes(8) + bytes(4 * len(entries))
    path.write_bytes(out)
    return path


def test_an_ndpi_with_macro_and_map_passes(tmp_path: Path) -> None:
    """Lens -1 is the macro, -2 a grey map: neither is the slide, and nothing is said of them."""
    pages = [(PICTURE, 20.0, 0), (HALF, 10.0, 0), (SMALL, -1.0, 0), (SMALL[..., 0].copy(), -2.0, 0)]
    with open_reader(slide_file(_ndpi(tmp_path / "a.ndpi", pages))) as slide:
        assert (slide.vendor, slide.warnings) == ("hamamatsu", [])
        assert np.abs(read_level(slide, 0).astype(int) - PICTURE).mean() < 1.5


def test_focal_planes_of_an_ndpi_are_counted(tmp_path: Path) -> None:
    """Of three planes the middle one is read, wherever it stands."""
    blurred = np.roll(PICTURE, 40, axis=1)
    pages = [(blurred, 20.0, -90), (PICTURE, 20.0, 0), (blurred, 20.0, 90), (SMALL, -1.0, 0)]
    with open_reader(slide_file(_ndpi(tmp_path / "a.ndpi", pages))) as slide:
        assert slide.warnings == ["The slide has 3 focal planes; the middle one is read."]
        assert np.abs(read_level(slide, 0).astype(int) - PICTURE).mean() < 1.5


def test_a_grey_ndpi_is_fluorescence(tmp_path: Path) -> None:
    """A brightfield scan is in colour."""
    path = _ndpi(tmp_path / "a.ndpi", [(PICTURE[..., 1].copy(), 20.0, 0)])
    with pytest.raises(SlideOpenError, match="one grey sample a pixel, as scanners store fluorescence"):
        open_reader(slide_file(path))


def _scn(path: Path) -> Path:
    """A Leica slide: a macro image, two scanned areas of two levels each, and one of them in fluorescence too."""
    step_nm, pages = 250, [SMALL, PICTURE, HALF, PICTURE, HALF, PICTURE[..., 0].copy()]

    def image(
        size: tuple[int, int], x: int, y: int, directories: Sequence[int], light: str, objective: float
    ) -> str:
        levels = "".join(
            f'<dimension sizeX="{pages[i].shape[1]}" sizeY="{pages[i].shape[0]}" r="{r}" ifd="{i}"/>'
            for r, i in enumerate(directories)
        )
        width, height, left, top = (step_nm * px for px in (*size, x, y))
        place = f'sizeX="{width}" sizeY="{height}" offsetX="{left}" offsetY="{top}"'
        return (
            f"<image><pixels>{levels}</pixels><view {place}/><scanSettings><objectiveSettings><objective>{objective}"
            "</objective></objectiveSettings><illuminationSettings><illuminationSource>"
            f"{light}</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    area = (256, 192)
    images = image((800, 600), 0, 0, [0], "brightfield", 0.6)
    images += image(area, 50, 50, [1, 2], "brightfield", 20) + image(
        area, 500, 350, [3, 4], "brightfield", 20
    )
    images += image(area, 500, 350, [5], "fluorescence", 20)
    whole = f'sizeX="{800 * step_nm}" sizeY="{600 * step_nm}"'
    xml = '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
    xml += f"<collection {whole}>{images}</collection></scn>"
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for number, page in enumerate(pages):
            tif.write(
                page, tile=(64, 64), photometric="rgb" if page.ndim == 3 else "minisblack", compression="jpeg",
                description=None if number else xml, metadata=None,
            )  # fmt: skip
    return path


def test_a_leica_with_several_areas_passes(tmp_path: Path) -> None:
    """Two areas of one size are one slide, and fluorescence beside them is passed over as OpenSlide does."""
    with open_reader(slide_file(_scn(tmp_path / "a.scn"))) as slide:
        assert (slide.vendor, slide.warnings) == ("leica", [])
        assert np.abs(read_level(slide, 0)[50:242, 50:306].astype(int) - PICTURE).mean() < 2


def test_what_a_leica_leaves_out_is_counted(tmp_path: Path) -> None:
    """Its tiles are placed by metadata, so that nobody can tell here where they would lie."""
    set_tile_entry(_scn(tmp_path / "a.scn"), "TileByteCounts", 3, 0, page=1)
    with open_reader(slide_file(tmp_path / "a.scn")) as slide:
        assert slide.warnings == ["Tiles that are not stored in the file (1) are shown as background."]
