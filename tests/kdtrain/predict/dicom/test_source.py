"""A header understood: where the slide lies on the glass, and what is derived where the file is silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom.spatial import PixelToReferenceTransformer

from fixtures.dicom_slides import ORIENTATIONS, PATIENT, hospital_slide
from fixtures.slides import picture
from kdtrain.predict.answers.prediction import SlideError
from kdtrain.predict.dicom.header import dicom_header
from kdtrain.predict.dicom.source import SourceImage, source_image

WIDTH, HEIGHT = 96, 64


def source(folder: Path, *, mpp: float | None = None, width: int = WIDTH, **attributes: Any) -> SourceImage:
    """Of a slide of 96 x 64 px."""
    path = hospital_slide(folder / "a.dcm", picture(WIDTH, HEIGHT), **attributes)
    header = dicom_header(path)
    assert header is not None
    return source_image(header, "a.dcm", width, HEIGHT, mpp)


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_a_map_pixel_is_centred_on_the_level_0_pixels_that_it_covers(
    tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    """As highdicom places both, however the slide lies and with pixels that are no squares, to a thousandth of one."""
    found = source(tmp_path, orientation=orientation, spacing_um=(0.5, 0.25))
    step, (between_rows, between_columns) = 8, found.spacing_mm
    level_0 = PixelToReferenceTransformer(
        image_position=found.origin_mm,
        image_orientation=orientation,
        pixel_spacing=(between_rows, between_columns),
    )
    of_map = PixelToReferenceTransformer(
        image_position=found.map_origin_mm(step),
        image_orientation=orientation,
        pixel_spacing=(step * between_rows, step * between_columns),
    )
    column, row = 5, 3
    covered = np.stack(np.meshgrid(np.arange(40, 48), np.arange(24, 32)), -1).reshape(-1, 2)
    centre = level_0(covered).mean(axis=0)
    np.testing.assert_allclose(of_map(np.array([[column, row]]))[0], centre, atol=between_columns / 1000)


def test_what_is_missing_and_can_be_derived_is_said(tmp_path: Path) -> None:
    """Converters leave these out; viewers lay a map over its slide without them."""
    absent = dict.fromkeys((*PATIENT, "TotalPixelMatrixOriginSequence", "ImageOrientationSlide"))
    found = source(tmp_path, **absent)
    assert found.origin_mm == (0, 0, 0)
    assert found.orientation == ORIENTATIONS["label at the left"]
    assert found.header.PatientName == ""
    assert [text.split(" ")[0] for text in found.derived] == [
        "ImageOrientationSlide",
        "TotalPixelMatrixOriginSequence",
    ]


def test_a_slide_without_pixel_spacing_takes_the_mpp_that_is_known(tmp_path: Path) -> None:
    """Of --mpp or labels.csv; where that is unknown too, there is no map."""
    found = source(tmp_path, mpp=0.25, SharedFunctionalGroupsSequence=None)
    assert found.spacing_mm == (0.00025, 0.00025)
    assert found.derived == ("PixelSpacing is missing; class maps take 0.25 µm",)
    with pytest.raises(
        SlideError, match=r"slide 'a\.dcm': its DICOM header has no usable PixelSpacing.*--mpp"
    ):
        source(tmp_path, SharedFunctionalGroupsSequence=None)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "MALE"),
        ("PatientBirthDate", "1933/02"),
        ("StudyDate", "gestern"),
        ("StudyTime", "99:99"),
        ("ContentDate", "20240299"),
    ],
)
def test_a_value_that_dicom_does_not_allow_is_left_empty_and_not_shown(
    tmp_path: Path, keyword: str, value: str
) -> None:
    """De-identified slides have such; it is named, and what it was stays in the slide."""
    found = source(tmp_path, **{keyword: value})
    assert not found.header.get(keyword)
    assert found.derived == (f"{keyword} is none that DICOM allows, and is left out of the class maps",)


def test_a_value_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """It is no part of what a map needs: a number of four bytes that has two."""
    path = hospital_slide(tmp_path / "a.dcm", picture(WIDTH, HEIGHT), PregnancyStatus=4)
    path.write_bytes(path.read_bytes().replace(b"\x10\x00\xc0\x21US", b"\x10\x00\xc0\x21UL"))
    header = dicom_header(path)
    assert header is not None
    found = source_image(header, "a.dcm", WIDTH, HEIGHT, None)
    assert "PregnancyStatus" not in found.header
    assert found.derived == ("PregnancyStatus is none that DICOM allows, and is left out of the class maps",)


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ({"FrameOfReferenceUID": None}, "has no FrameOfReferenceUID"),
        ({"StudyInstanceUID": "", "SOPInstanceUID": None}, "has no StudyInstanceUID, SOPInstanceUID"),
        ({"ImageOrientationSlide": [1, 0, 0, 1, 0, 0]}, "no pair of directions at right angles"),
        ({"ImageOrientationSlide": [0, -1, 0]}, "no pair of directions at right angles"),
        ({"width": 95}, "speaks of 96 x 64 pixels where 95 x 64 were read"),
    ],
)
def test_what_a_map_must_refer_to_is_required(tmp_path: Path, edits: dict[str, Any], words: str) -> None:
    """The slide is named, and what to do; nothing of the patient is."""
    with pytest.raises(SlideError) as error:
        source(tmp_path, **edits)
    failure = error.value.failure
    assert (failure.slide, failure.region, failure.stage) == ("a.dcm", None, "dicom")
    assert words in failure.reason
    assert failure.reason.endswith("export the slide again")
    assert not [value for value in PATIENT.values() if len(value) > 1 and value in failure.reason]


def test_a_damaged_header_is_said_to_be_one() -> None:
    """Whatever pydicom raises, and without its words."""
    with pytest.raises(
        SlideError, match=r"^slide 'a': its DICOM header cannot be read \(\w+\); export the slide again$"
    ):
        source_image(b"", "a", 1, 1, None)
