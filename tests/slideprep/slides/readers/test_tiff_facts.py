"""What is read of a TIFF's pages, and that damage ends in nothing rather than in an exception."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fixtures.slides import overwrite, picture, set_tile_entry, write_jpeg_tiff, write_svs
from slideprep.slides.readers.tiff_facts import read_facts

PICTURE = picture(150, 130)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_pages_are_told_by_their_tags(tmp_path: Path, order: str, big: bool) -> None:
    """Size, tiles, samples, meaning and orientation are those written, in every kind of TIFF."""
    pixels = np.dstack([PICTURE, PICTURE[..., 0]]).astype(np.int16)
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=order, bigtiff=big) as tif:  # type: ignore[arg-type]
        tif.write(
            pixels, tile=(64, 48), photometric="rgb", extrasamples=["assocalpha"], description="words", metadata=None,
            extratags=[(274, "H", 1, 5, True)], subifds=1,
        )  # fmt: skip
        tif.write(PICTURE[:20, :30], photometric="rgb", subfiletype=1, metadata=None)
        tif.write(PICTURE[..., 0], photometric="miniswhite", subfiletype=1, metadata=None)
    facts = read_facts(tmp_path / "a.tif")
    assert facts is not None
    first, second = facts.pages
    assert (first.size, first.tile, first.bits, first.sample_format) == ((150, 130), (48, 64), 16, 2)
    assert (first.samples, first.extra, first.photometric, first.orientation) == (4, (1,), 2, 5)
    assert (first.description, first.is_reduced, first.missing, first.has_opacity) == (
        "words",
        False,
        None,
        True,
    )
    assert (second.tile, second.photometric, second.is_grey, second.is_reduced) == (None, 0, True, True)
    assert facts.below_first == ((30, 20),)


def test_missing_tiles_are_where_they_are_missing(tmp_path: Path) -> None:
    """Of 3 x 3 tiles those without bytes, and those without a place in the file, are not stored."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE, levels=2)
    set_tile_entry(path, "TileByteCounts", 5, 0)
    set_tile_entry(path, "TileOffsets", 6, 0)
    facts = read_facts(path)
    assert facts is not None and facts.pages[0].missing is not None
    assert np.argwhere(facts.pages[0].missing).tolist() == [[1, 2], [2, 0]]
    assert facts.pages[1].missing is None


def test_a_tile_without_an_entry_is_missing(tmp_path: Path) -> None:
    """A page that is said to be a row of tiles higher lacks that row; one a thousand times as high is none."""
    path = write_jpeg_tiff(tmp_path / "a.tif", PICTURE[:128])
    for height, missing in ((192, [[2, 0], [2, 1], [2, 2]]), (100_000, None)):
        with tifffile.TiffFile(path) as tif:
            tag = tif.pages[0].tags[257]
        overwrite(path, tag.offset + 2, struct.pack("<HII", 4, 1, height))
        facts = read_facts(path)
        assert facts is not None
        assert facts.pages[0].lists_its_tiles == (missing is not None)
        assert (
            None if facts.pages[0].missing is None else np.argwhere(facts.pages[0].missing).tolist()
        ) == missing


def test_damage_is_nobodys_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two hundred files, cut anywhere or wrong in their directories, give facts or none, and print nothing."""
    whole = write_svs(tmp_path / "a.svs", PICTURE, levels=2).read_bytes()
    rng, path = random.Random(3), tmp_path / "b.svs"
    with tifffile.TiffFile(tmp_path / "a.svs") as tif:
        directories = [page.offset for page in tif.pages]
    found = []
    for number in range(200):
        data = bytearray(whole)
        if number % 4 == 0:
            del data[rng.randrange(len(data)) :]
        else:
            for _ in range(3):
                data[rng.choice(directories) + rng.randrange(180)] = rng.randrange(256)
        path.write_bytes(data)
        found.append(read_facts(path))
    assert any(facts is None for facts in found)
    assert any(facts is not None for facts in found)
    assert capfd.readouterr().err == ""
