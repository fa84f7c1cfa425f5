"""Values that no stained slide has, told from few tiles; ordinary ones pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fixtures.slides import overwrite, picture, tile_span
from slideprep.slides.readers.tiff_facts import read_facts
from slideprep.slides.readers.tiff_values import Values, look, refusal, warnings

GREY = picture(150, 130)[..., 0]


def _look(path: Path) -> Values | None:
    facts = read_facts(path)
    assert facts is not None
    return look(facts, facts.pages[0])


def _write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, **{"metadata": None, "photometric": "minisblack", **options})
    return path


def test_ordinary_slides_are_not_looked_at(tmp_path: Path) -> None:
    """RGB of 8 bits is told by its tags: no tile is decoded."""
    assert _look(_write(tmp_path / "a.tif", picture(64, 64), photometric="rgb")) is None


@pytest.mark.parametrize("options", [{"tile": (64, 64)}, {"rowsperstrip": 7}, {"compression": "lzw"}])
def test_values_are_those_of_the_picture_without_padding(tmp_path: Path, options: dict[str, Any]) -> None:
    """Middle, bright and brightest values are numpy's, though tiles reach beyond the edge."""
    seen = _look(_write(tmp_path / "a.tif", GREY, **options))
    assert seen is not None and seen.median is not None and seen.bright is not None
    assert seen.brightest == GREY.max()
    assert seen.median == pytest.approx(np.median(GREY) / 255, abs=0.03)
    assert seen.bright == pytest.approx(np.percentile(GREY, 95) / 255, abs=0.03)


def test_the_lightest_value_may_be_zero(tmp_path: Path) -> None:
    """With white as 0 the middle value is turned round."""
    seen = _look(_write(tmp_path / "a.tif", np.full((64, 64), 51, np.uint8), photometric="miniswhite"))
    assert seen is not None and seen.median == pytest.approx(0.8)


def test_opacity_of_channels_apart(tmp_path: Path) -> None:
    """The fourth plane alone is opacity: half of it is 0, and the colours' brightest is their own."""
    planes = np.full((4, 64, 64), 9 * 257, np.uint16)
    planes[3] = 65535
    planes[3, :32] = 0
    options = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
    seen = _look(_write(tmp_path / "a.tif", planes, **options))
    assert seen == Values(bits=16, brightest=9 * 257, clear=0.5, is_all=True)


def test_a_damaged_tile_is_passed_over(tmp_path: Path) -> None:
    """What cannot be decoded tells nothing; its reader will say that it is damaged."""
    path = _write(
        tmp_path / "a.tif", np.full((64, 128), 200, np.uint8), tile=(64, 64), compression="adobe_deflate"
    )
    overwrite(path, tile_span(path, 0)[0], bytes(4))
    seen = _look(path)
    assert seen is not None and seen.brightest == 200
    overwrite(path, tile_span(path, 1)[0], bytes(4))
    assert _look(path) is None


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        (Values(bits=16, brightest=65_000), False),
        (Values(bits=16, brightest=32_768), False),
        (Values(bits=16, brightest=16_383), True),
        (Values(bits=8, brightest=100), False),
        (Values(bits=8, brightest=255, median=0.9, bright=0.95), False),
        (Values(bits=8, brightest=255, median=0.5, bright=0.7), False),
        (Values(bits=8, brightest=255, median=0.1, bright=0.95), True),
        (Values(bits=8, brightest=255, median=0.3, bright=0.35), True),
        (Values(bits=8, brightest=255, clear=1.0), True),
        (Values(bits=8, brightest=255, clear=1.0, is_all=False), False),
        (Values(bits=8, brightest=255, clear=0.99), False),
    ],
)
def test_what_is_refused(values: Values, refused: bool) -> None:
    """Few of the bits used, a dark grey image, no opaque pixel at all; and just short of each."""
    assert (refusal(values) is not None) == refused


@pytest.mark.parametrize(("clear", "says"), [(None, ""), (0.5, ""), (0.6, "About 60%"), (1.0, "All")])
def test_mostly_transparent_is_warned_of(clear: float | None, says: str) -> None:
    """More than half."""
    found = warnings(Values(bits=8, brightest=255, clear=clear, is_all=False))
    assert [text[: len(says)] for text in found] == ([says] if says else [])


def test_the_remedy_uses_all_of_eight_bits() -> None:
    """12 bits are divided by 16, 14 by 64."""
    for bits, factor in ((12, " 0.0625 0 --uchar"), (14, " 0.015625 0 --uchar")):
        assert factor in (refusal(Values(bits=16, brightest=2**bits - 1)) or "")
