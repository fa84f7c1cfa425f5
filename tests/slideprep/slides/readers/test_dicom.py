"""The strict reader of DICOM's JPEG frames: OpenSlide's pixels where the series is whole, a refusal where it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

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
    """A level that is spread over two files is no plain layout; OpenSlide puts it together."""
    parts = []
    for number, kept in enumerate((slice(0, 5), slice(5, 9))):
        path = write_dicom(tmp_path / f"{number}.dcm", PICTURE)
        file = pydicom.dcmread(path)
        _set_frames(file, _frame_data(file)[kept])
        file.ConcatenationUID, file.SOPInstanceUIDOfConcatenationSource = "1.2.3", "1.2.4"
        file.InConcatenationNumber, file.InConcatenationTotalNumber = number + 1, 2
        file.ConcatenationFrameOffsetNumber = kept.start
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = f"1.2.5.{number}"
        file.save_as(path)
        parts.append(path)
    with open_reader(slide_file(*parts)) as slide:
        assert slide.reader == "openslide"
        assert np.abs(read_level(slide, 0).astype(int) - PICTURE).mean() < 1.5
    parts[1].unlink()
    with pytest.raises(SlideOpenError, match="spread over several files and one of these is not there"):
        open_reader(slide_file(parts[0]))


def _frame_data(file: pydicom.FileDataset) -> list[bytes]:
    return list(generate_frames(file.PixelData, number_of_frames=int(file.NumberOfFrames)))


def _set_frames(file: pydicom.FileDataset, frames: list[bytes]) -> None:
    file.PixelData, file.NumberOfFrames = encapsulate(frames), len(frames)
    file["PixelData"].is_undefined_length = True


def _second_path(file: pydicom.FileDataset) -> None:
    frames = _frame_data(file)
    _set_frames(file, [*frames, *frames[::-1]])
    file.NumberOfOpticalPaths = 2
    file.OpticalPathSequence.append(Dataset())
    file.OpticalPathSequence[1].OpticalPathDescription = "DAPI"


def _second_path_unsaid(file: pydicom.FileDataset) -> None:
    _second_path(file)
    del file.NumberOfOpticalPaths


def _two_planes(file: pydicom.FileDataset) -> None:
    _set_frames(file, _frame_data(file) * 2)
    file.TotalPixelMatrixFocalPlanes = 2


def _grey(file: pydicom.FileDataset) -> None:
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"


def _palette(file: pydicom.FileDataset) -> None:
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "PALETTE COLOR"


def _deep(file: pydicom.FileDataset) -> None:
    file.BitsAllocated = file.BitsStored = 16


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_second_path, r"holds 2 optical paths \(0, DAPI\), and nothing says which one is the slide"),
        (_second_path_unsaid, "holds 2 optical paths"),
        (_two_planes, "holds 2 focal planes, and nothing says which one is the slide"),
        (_grey, r"has 1 sample a pixel \(MONOCHROME2\).*export it in RGB"),
        (_palette, "has palette colours; export it in RGB"),
        (_deep, "has 16 bits a sample; export it with 8"),
    ],
)
@pytest.mark.parametrize("native", [False, True], ids=["JPEG", "native"])
def test_another_kind_of_file_is_refused_by_what_it_is(
    tmp_path: Path, change: Callable[[pydicom.FileDataset], None], says: str, native: bool
) -> None:
    """Several paths or planes, grey, palette and 16 bits are named, however they are coded; none is called damaged."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    file = pydicom.dcmread(path)
    change(file)
    if native:
        file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        file["PixelData"].is_undefined_length = False
        file["PixelData"].value = bytes(9 * 64 * 64 * 6)
    file.save_as(path)
    with pytest.raises(SlideOpenError, match=says) as refused:
        open_reader(slide_file(path))
    assert "damaged" not in str(refused.value)


def test_two_images_of_one_size_are_refused(tmp_path: Path) -> None:
    """A second image of level 0, as of another focal plane in a file of its own, is named."""
    path, other = (write_dicom(tmp_path / name, PICTURE) for name in ("a.dcm", "b.dcm"))
    file = pydicom.dcmread(other)
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    file.save_as(other)
    with pytest.raises(SlideOpenError, match="two images of one size"):
        open_reader(slide_file(path, other))


def test_fluorescence_in_colour_is_warned_of(tmp_path: Path) -> None:
    """A slide that was not lit from behind is read, with a word about what tissue is looked for as."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    file = pydicom.dcmread(path)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = (
        "111743",
        "DCM",
        "Epifluorescence illumination",
    )
    file.OpticalPathSequence[0].IlluminationTypeCodeSequence = [code]
    file.save_as(path)
    with open_reader(slide_file(path)) as slide:
        assert [w.startswith("The file's illumination is 'Epifluorescence") for w in slide.warnings] == [True]
