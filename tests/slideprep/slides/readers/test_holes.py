"""Tiles that a file does not store: glass where a coarser level shows glass, else a box on them is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fixtures.slides import APERIO, picture, set_tile_entry, slide_file
from slideprep.errors import SlideReadError
from slideprep.slides.overview import read_level, read_overview
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_reader

GLASS = 240
PICTURE = picture(256, 192)
PICTURE[:, 128:] = GLASS
"""Tiles of 64: colourful in columns 0 and 1, glass in 2 and 3."""

TISSUE, BARE = (1, 1), (2, 1)
"""Places, (column, row), of a tile of each."""


def _write(
    path: Path,
    *,
    compression: str | None,
    aperio: bool = False,
    steps: Sequence[int] = (1, 2, 4),
    **options: Any,
) -> Path:
    text = APERIO.format(width=256, height=192, objective=20, mpp=0.5) if aperio else None
    with tifffile.TiffWriter(path) as tif:
        for step in steps:
            tif.write(
                np.ascontiguousarray(PICTURE[::step, ::step]),
                **{"tile": (64, 64), "photometric": "rgb", "metadata": None, **options},
                compression=compression,
                description=text,
                subfiletype=0 if aperio else int(step > 1),
            )
    return path


def _without(path: Path, *places: tuple[int, int], page: int = 0, offsets: bool = False) -> Path:
    columns = 4 >> page
    for column, row in places:
        set_tile_entry(path, "TileByteCounts", row * columns + column, 0, page=page)
        if offsets:
            set_tile_entry(path, "TileOffsets", row * columns + column, 0, page=page)
    return path


def _box(slide: Slide, place: tuple[int, int]) -> np.ndarray:
    return np.concatenate(list(slide.strips(0, place[0] * 64, place[1] * 64, 64, 64)))


CODECS = {None: "openslide", "lzw": "openslide", "adobe_deflate": "tiff-deflate", "jpeg": "tiff-jpeg"}


@pytest.mark.parametrize("offsets", [False, True], ids=["counts", "counts and offsets"])
@pytest.mark.parametrize("compression", CODECS)
def test_lost_tissue_fails_its_box_alone(tmp_path: Path, compression: str | None, offsets: bool) -> None:
    """A box that touches the place is refused by name, whoever reads; every other box has the stored pixels."""
    path = _without(_write(tmp_path / "a.tif", compression=compression), TISSUE, offsets=offsets)
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == CODECS[compression]
        assert slide.warnings == [
            "1 of 12 tiles of level 0 are not stored in the file, and 1 of them are not known to be glass: a region "
            "that touches one of these fails."
        ]
        with pytest.raises(
            SlideReadError, match=r"'a.tif' level 0: the tile in column 1, row 1 is not stored"
        ):
            list(slide.strips(0, 0, 0, 65, 65))
        for place in ((0, 1), (1, 0), (2, 2)):
            truth = PICTURE[place[1] * 64 :, place[0] * 64 :][:64, :64]
            assert np.abs(_box(slide, place).astype(int) - truth).mean() < 2


@pytest.mark.parametrize("compression", CODECS)
def test_missing_glass_is_background(tmp_path: Path, compression: str | None) -> None:
    """Where a coarser level shows glass, the place is the slide's background and no box is refused."""
    path = _without(_write(tmp_path / "a.tif", compression=compression), BARE)
    with open_reader(slide_file(path)) as slide:
        assert slide.warnings == [
            "1 of 12 tiles of level 0 are not stored in the file; the other levels tell that they are glass, and they "
            "are shown as background."
        ]
        assert (_box(slide, BARE) == 255).all()
        assert len(read_level(slide, 0)) == 192


def test_without_a_coarser_level_a_missing_tile_is_lost(tmp_path: Path) -> None:
    """Nobody can tell what was there, glass or tissue; a pyramid kept below the first page is not asked."""
    path = _without(_write(tmp_path / "a.tif", compression="lzw", steps=(1,)), BARE)
    with open_reader(slide_file(path)) as slide, pytest.raises(SlideReadError, match="column 2, row 1"):
        _box(slide, BARE)


def test_a_place_that_a_program_filled_with_one_colour_shows_no_tissue(tmp_path: Path) -> None:
    """A coarser level that is black there, in one value, was made without the tile as well."""
    path = tmp_path / "a.tif"
    black = PICTURE.copy()
    black[64:128, 64:128] = 0
    with tifffile.TiffWriter(path) as tif:
        for step, pixels in ((1, PICTURE), (2, black)):
            tif.write(
                np.ascontiguousarray(pixels[::step, ::step]), tile=(64, 64), photometric="rgb", compression="lzw",
                metadata=None, subfiletype=int(step > 1),
            )  # fmt: skip
    with open_reader(slide_file(_without(path, TISSUE))) as slide:
        assert (_box(slide, TISSUE) == 255).all()


def test_glass_left_out_at_every_level_is_background(tmp_path: Path) -> None:
    """A program that leaves glass out leaves out all tiles of the place, at both levels: nothing is lost."""
    path = _write(tmp_path / "a.tif", compression="lzw", steps=(1, 2))
    _without(_without(path, (2, 0), (3, 0), (2, 1), (3, 1)), (1, 0), page=1)
    with open_reader(slide_file(path)) as slide:
        assert len(slide.levels) == 2
        assert (read_level(slide, 0)[:128, 128:] == 255).all()
        assert (read_level(slide, 1)[:64, 64:] == 255).all()
        assert np.array_equal(_box(slide, TISSUE), PICTURE[64:128, 64:128])


def test_one_tile_missing_at_both_levels_is_lost(tmp_path: Path) -> None:
    """A coarser tile goes with all the finer ones under it; where those are stored, both were lost."""
    path = _without(
        _without(_write(tmp_path / "a.tif", compression="lzw", steps=(1, 2)), TISSUE), (0, 0), page=1
    )
    with open_reader(slide_file(path)) as slide:
        assert len(slide.levels) == 1
        with pytest.raises(SlideReadError, match="column 1, row 1"):
            _box(slide, TISSUE)


def test_channels_apart_lack_a_tile_where_one_of_them_does(tmp_path: Path) -> None:
    """With planes of red, green and blue a tile of blue alone leaves wrong colours, and fails."""
    planes = np.ascontiguousarray(np.moveaxis(PICTURE, -1, 0))
    tifffile.imwrite(
        tmp_path / "a.tif", planes, tile=(64, 64), photometric="rgb", planarconfig="separate", metadata=None
    )
    set_tile_entry(tmp_path / "a.tif", "TileByteCounts", 2 * 12 + 1 * 4 + 1, 0)
    with open_reader(slide_file(tmp_path / "a.tif")) as slide:
        with pytest.raises(SlideReadError, match="column 1, row 1"):
            _box(slide, TISSUE)
        assert np.array_equal(_box(slide, (0, 1)), PICTURE[64:128, :64])


def test_a_coarser_level_with_lost_tiles_is_left_out(tmp_path: Path) -> None:
    """No overview is made of it, so that no tissue is looked for where it is white."""
    path = _without(_write(tmp_path / "a.tif", compression="lzw", steps=(1, 2)), (0, 0), page=1)
    with open_reader(slide_file(path)) as slide:
        assert [(level.width, level.height) for level in slide.levels] == [(256, 192)]
        assert slide.warnings == [
            "1 of 4 tiles of level 1 are not stored in the file, and not known to be glass: this level is left out."
        ]
        overview = read_overview(slide, downsample=4).image
    assert np.abs(overview.astype(int) - PICTURE.reshape(48, 4, 64, 4, 3).mean((1, 3))).max() <= 1


def test_levels_keep_their_pixels_when_one_is_left_out(tmp_path: Path) -> None:
    """Of levels 1, 2 and 4 the middle one lacks a tile that level 4 shows as tissue: level 4 becomes the second."""
    path = _without(_write(tmp_path / "a.tif", compression="lzw"), (0, 0), page=1)
    with open_reader(slide_file(path)) as slide:
        assert [level.downsample_x for level in slide.levels] == [1, 4]
        assert np.array_equal(read_level(slide, 1), PICTURE[::4, ::4])
        assert read_overview(slide, downsample=8).level == 1


@pytest.mark.parametrize("steps", [(1,), (1, 2)])
@pytest.mark.parametrize("compression", ["lzw", "jpeg"])
def test_every_tile_that_an_svs_lacks_is_lost(tmp_path: Path, compression: str, steps: Sequence[int]) -> None:
    """Aperio's encoder leaves tiles out by mistake, glass or not; OpenSlide shows the place white at every level."""
    path = _without(_write(tmp_path / "a.svs", compression=compression, aperio=True, steps=steps), BARE)
    with open_reader(slide_file(path)) as slide:
        assert slide.vendor == "aperio"
        for level in range(len(steps)):
            with pytest.raises(SlideReadError, match="column 2, row 1"):
                read_level(slide, level)
        assert np.abs(_box(slide, TISSUE).astype(int) - PICTURE[64:128, 64:128]).mean() < 2


def test_a_coarser_level_of_an_svs_is_painted_from_the_finer_one(tmp_path: Path) -> None:
    """What level 1 lacks, level 0 has, and OpenSlide shows that: nothing is lost, nothing is said."""
    path = _without(_write(tmp_path / "a.svs", compression="lzw", aperio=True, steps=(1, 2)), (0, 0), page=1)
    with open_reader(slide_file(path)) as slide:
        assert len(slide.levels) == 2
        assert slide.warnings == []
        assert np.abs(read_level(slide, 1)[:60, :60].astype(int) - PICTURE[:120:2, :120:2]).mean() < 4


Holes = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("holes", "lost"),
    [
        (lambda path: _without(path, BARE), False),
        (lambda path: _without(_without(path, BARE), (1, 0), page=1), False),
        (lambda path: _without(path, TISSUE), True),
    ],
    ids=["glass", "glass at both levels", "tissue"],
)
def test_philips_leaves_glass_out(tmp_path: Path, holes: Holes, lost: bool) -> None:
    """A Philips slide without its glass has no warning; without tissue that its coarser level has, its box fails."""
    path = holes(_philips(tmp_path / "a.tiff"))
    with open_reader(slide_file(path)) as slide:
        assert (slide.vendor, len(slide.levels)) == ("philips", 2)
        assert bool(slide.warnings) == lost
        assert (_box(slide, BARE) >= GLASS - 2).all()
        if lost:
            with pytest.raises(SlideReadError, match="column 1, row 1"):
                _box(slide, TISSUE)


def _philips(path: Path) -> Path:
    def attribute(name: str, group: str, element: str, kind: str, value: str) -> str:
        tag = f'Group="0x{group}" Element="0x{element}" PMSVR="{kind}"'
        return f'<Attribute Name="{name}" {tag}>{value}</Attribute>'

    def levels() -> str:
        one = '<DataObject ObjectType="PixelDataRepresentation">{}</DataObject>'
        spacing = "&quot;{0}&quot; &quot;{0}&quot;"
        return "".join(
            one.format(
                attribute(
                    "DICOM_PIXEL_SPACING", "0028", "0030", "IDoubleArray", spacing.format(0.00025 * step)
                )
            )
            for step in (1, 2)
        )

    sequence = f"<Array>{levels()}</Array>"
    image = attribute("PIM_DP_IMAGE_TYPE", "301D", "1004", "IString", "WSI") + attribute(
        "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "1001", "8B01", "IDataObjectArray", sequence
    )
    images = f'<Array><DataObject ObjectType="DPScannedImage">{image}</DataObject></Array>'
    xml = '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
    xml += attribute("PIM_DP_SCANNED_IMAGES", "301D", "1003", "IDataObjectArray", images) + "</DataObject>"
    with tifffile.TiffWriter(path) as tif:
        for step in (1, 2):
            tif.write(
                np.ascontiguousarray(PICTURE[::step, ::step]), tile=(64, 64), photometric="rgb", compression="jpeg",
                metadata=None, software="Philips DP v1.0", description=xml if step == 1 else "level=1",
                subfiletype=int(step > 1),
            )  # fmt: skip
    return path
