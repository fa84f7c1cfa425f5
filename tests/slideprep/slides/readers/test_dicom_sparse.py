"""Frames that a DICOM file leaves out: glass is background, tissue is refused, never white."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from fixtures.slides import Pixels, picture, slide_file, write_dicom
from slideprep.errors import SlideOpenError, SlideReadError
from slideprep.slides.overview import read_level, read_overview
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_reader

PICTURE = picture(150, 130)
ALL = tuple(range(9))


def _sparse(path: Path, image: Pixels, kept: Sequence[int], *, mpp: float = 0.5, shift: int = 0) -> Path:
    """A level of the kind TILED_SPARSE that stores some of its frames of 64 px, which are counted row by row."""
    write_dicom(path, image, tag="YBR_FULL_422", frames="ycbcr", mpp=mpp)
    file = pydicom.dcmread(path)
    frames = list(generate_frames(file.PixelData, number_of_frames=int(file.NumberOfFrames)))
    columns = -(-image.shape[1] // 64)
    groups = []
    for index in kept:
        position, group = Dataset(), Dataset()
        position.ColumnPositionInTotalImagePixelMatrix = index % columns * 64 + 1 + shift
        position.RowPositionInTotalImagePixelMatrix = index // columns * 64 + 1
        group.PlanePositionSlideSequence = [position]
        groups.append(group)
    file.DimensionOrganizationType = "TILED_SPARSE"
    file.PerFrameFunctionalGroupsSequence = groups
    file.PixelData, file.NumberOfFrames = encapsulate([frames[index] for index in kept]), len(kept)
    file["PixelData"].is_undefined_length = True
    file.save_as(path)
    return path


def _box(slide: Slide, x: int, y: int, width: int, height: int) -> Pixels:
    return np.concatenate(list(slide.strips(0, x, y, width, height)))


def test_all_frames_in_any_order_are_the_picture(tmp_path: Path) -> None:
    """A file that lists every frame is read without a word, whatever their order."""
    with open_reader(slide_file(_sparse(tmp_path / "a.dcm", PICTURE, ALL))) as slide:
        assert slide.warnings == []
        assert np.abs(read_level(slide, 0).astype(int) - PICTURE).mean() < 1.5


@pytest.mark.parametrize("levels", [1, 2])
def test_a_missing_frame_with_tissue_is_refused(tmp_path: Path, levels: int) -> None:
    """A box that touches the frame in the middle fails by its place; boxes beside it are read; an overview is made."""
    paths = [_sparse(tmp_path / "0.dcm", PICTURE, [0, 1, 2, 3, 5, 6, 7, 8])]
    if levels == 2:
        paths.append(_sparse(tmp_path / "1.dcm", PICTURE[::2, ::2], range(4), mpp=1.0))
    with open_reader(slide_file(*paths)) as slide:
        assert len(slide.levels) == levels
        assert [w.startswith("1 of 9 frames of level 0 are not stored") for w in slide.warnings] == [True]
        with pytest.raises(SlideReadError, match="the frame in column 1, row 1 is not stored"):
            _box(slide, 60, 60, 10, 10)
        assert np.abs(_box(slide, 0, 0, 150, 64).astype(int) - PICTURE[:64]).mean() < 1.5
        assert read_overview(slide, downsample=4).image.shape == (32, 38, 3)


def test_missing_glass_is_background(tmp_path: Path) -> None:
    """Where the coarser level shows bare glass, or leaves the place out as well, a frame is the background's white."""
    image = PICTURE.copy()
    image[64:128, 64:128] = 243
    kept = [0, 1, 2, 3, 5, 6, 7, 8]
    paths = (
        _sparse(tmp_path / "0.dcm", image, kept),
        _sparse(tmp_path / "1.dcm", image[::2, ::2], range(4), mpp=1.0),
    )
    with open_reader(slide_file(*paths)) as slide:
        assert _box(slide, 64, 64, 64, 64).min() == 255
    large = picture(256, 64)
    folder = tmp_path / "both"
    folder.mkdir()
    paths = (
        _sparse(folder / "0.dcm", large, [0, 1]),
        _sparse(folder / "1.dcm", large[::2, ::2], [0], mpp=1.0),
    )
    with open_reader(slide_file(*paths)) as slide:
        assert _box(slide, 128, 0, 128, 64).min() == 255


def test_a_level_that_lacks_what_level_0_stores_is_not_used(tmp_path: Path) -> None:
    """Tissue is not looked for on a coarser level whose frames were lost."""
    large = picture(256, 64)
    paths = (
        _sparse(tmp_path / "0.dcm", large, range(4)),
        _sparse(tmp_path / "1.dcm", large[::2, ::2], [0], mpp=1.0),
    )
    with open_reader(slide_file(*paths)) as slide:
        assert len(slide.levels) == 1
        assert slide.warnings == ["Level 1 of the file lacks frames that level 0 stores, and is not used."]


def test_frames_on_each_other_are_refused(tmp_path: Path) -> None:
    """Two frames at one place are two planes or paths; OpenSlide would show the last."""
    path = _sparse(tmp_path / "a.dcm", PICTURE, [*ALL, *ALL])
    with pytest.raises(SlideOpenError, match="several frames at one place"):
        open_reader(slide_file(path))


def test_frames_off_the_grid_are_refused(tmp_path: Path) -> None:
    """Frames that begin between others would be shown elsewhere."""
    path = _sparse(tmp_path / "a.dcm", PICTURE, [0, 1], shift=10)
    with pytest.raises(SlideOpenError, match=r"lie on no grid|frame alignment"):
        open_reader(slide_file(path))
