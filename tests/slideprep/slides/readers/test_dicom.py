"""The strict reader of DICOM's JPEG frames: OpenSlide's pixels where the series is whole, a refusal where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest

from fixtures.slides import overwrite, picture, slide_file, write_dicom
from slideprep.errors import SlideOpenError, SlideReadError
from slideprep.slides.overview import read_level
from slideprep.slides.readers.choose import open_reader

PICTURE = picture(150, 130)


def _frames(path: Path) -> list[tuple[int, int]]:
    """(offset, bytes) of each frame."""
    data, item = path.read_bytes(), b"\xfe\xff\x00\xe0"
    at = data.index(item, data.index(b"\xe0\x7f\x10\x00"))
    found = []
    while data[at : at + 4] == item:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((at + 8, length))
        at += 8 + length
    return found[1:]


def _openslide_level(path: Path, level: int) -> np.ndarray:
    with openslide.OpenSlide(path) as handle:
        return np.asarray(handle.read_region((0, 0), level, handle.level_dimensions[level]).convert("RGB"))


@pytest.mark.parametrize(
    "options",
    [
        {"tag": "RGB", "frames": "rgb"},
        {"tag": "RGB", "frames": "rgb", "adobe": False},
        {"tag": "YBR_FULL_422", "frames": "ycbcr"},
        {"tag": "YBR_FULL_422", "frames": "ycbcr", "subsampling": "420"},
    ],
)
def test_series_equals_openslide(tmp_path: Path, options: dict[str, object]) -> None:
    """Every level, RGB or YCbCr, is OpenSlide's pixel for pixel, at sizes no multiple of the frame."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE, **options)  # type: ignore[arg-type]
    half = write_dicom(tmp_path / "b.dcm", PICTURE[::2, ::2], **options)  # type: ignore[arg-type]
    with open_reader(slide_file(path, half)) as slide:
        assert (slide.reader, slide.vendor, slide.mpp) == ("dicom-jpeg", "dicom", 0.5)
        for level in range(2):
            assert np.array_equal(read_level(slide, level), _openslide_level(path, level))


def test_frames_without_a_table_of_offsets(tmp_path: Path) -> None:
    """Where the file has no table the frames are found one after the other."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    (first, _), *_ = _frames(path)
    data = path.read_bytes()
    table = data.index(b"\xfe\xff\x00\xe0", data.index(b"\xe0\x7f\x10\x00"))
    path.write_bytes(data[: table + 4] + bytes(4) + data[first - 8 :])
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "dicom-jpeg"
        assert np.array_equal(read_level(slide, 0), _openslide_level(path, 0))


def test_half_zeroed_frame_is_refused(tmp_path: Path) -> None:
    """A frame that lost its end is refused, which OpenSlide does not do; frames beside it can be read."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    offset, count = _frames(path)[4]
    overwrite(path, offset + count // 2, bytes(count - count // 2))
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "dicom-jpeg"
        with pytest.raises(SlideReadError, match=r"the tile in column 1, row 1 .* is damaged"):
            read_level(slide, 0)
        assert len(next(slide.strips(0, 0, 0, 150, 64))) == 64


@pytest.mark.parametrize(
    ("entry", "value"), [(3, 2**31 + 7), (3, 1), (0, 8)], ids=["outside the file", "backwards", "first not 0"]
)
def test_damaged_table_of_offsets_is_refused_at_opening(tmp_path: Path, entry: int, value: int) -> None:
    """A table at which libdicom would end the process is refused before libdicom sees a pixel."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    table = _frames(path)[0][0] - 8 - 4 * 9
    overwrite(path, table + 4 * entry, value.to_bytes(4, "little"))
    with pytest.raises(SlideOpenError, match=r"'a\.dcm': the list of frames in a\.dcm is damaged"):
        open_reader(slide_file(path))


def test_cut_file_is_refused_at_opening(tmp_path: Path) -> None:
    """Frames that lie beyond the end of the file are found missing before the first one is decoded."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    path.write_bytes(path.read_bytes()[: _frames(path)[5][0]])
    with pytest.raises(SlideOpenError):
        open_reader(slide_file(path))


@pytest.mark.parametrize(
    ("tag", "value"), [("NumberOfFrames", 8), ("TotalPixelMatrixRows", 0)], ids=["fewer frames", "no rows"]
)
def test_contradicting_numbers_are_refused(tmp_path: Path, tag: str, value: int) -> None:
    """A file that says two things of its own size is refused."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    file = pydicom.dcmread(path)
    setattr(file, tag, value)
    file.save_as(path)
    with pytest.raises(SlideOpenError):
        open_reader(slide_file(path))


def test_other_layouts_are_left_to_openslide(tmp_path: Path) -> None:
    """A file of two optical paths is no plain layout; OpenSlide decides about it."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    file = pydicom.dcmread(path)
    file.NumberOfOpticalPaths = 2
    file.save_as(path)
    with open_reader(slide_file(path)) as slide:
        assert slide.reader == "openslide"
        assert np.array_equal(read_level(slide, 0), _openslide_level(path, 0))
