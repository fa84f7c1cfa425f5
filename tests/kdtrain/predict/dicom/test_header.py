"""A slide's file to the part of its header that class maps need."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import pydicom
import pytest

from fixtures.dicom_slides import PATIENT, hospital_slide
from fixtures.slides import picture, write_svs
from kdtrain.predict.dicom.header import dicom_header, quietly


def test_pixels_and_bulk_stay_behind(tmp_path: Path) -> None:
    """What crosses between processes is patient, study and place, whatever the size of the slide."""
    path = hospital_slide(tmp_path / "a.dcm", picture(320, 256))
    header = dicom_header(path)
    assert header is not None
    assert len(header) < 3000 < path.stat().st_size
    read = pydicom.dcmread(io.BytesIO(header))
    assert read.PatientName == PATIENT["PatientName"]
    assert read.TotalPixelMatrixColumns == 320
    assert "PixelData" not in read
    assert "OpticalPathSequence" not in read


def test_a_slide_of_another_format_has_none(tmp_path: Path) -> None:
    """It is told by its content, not by its name."""
    assert dicom_header(write_svs(tmp_path / "a.dcm", picture(64, 64))) is None


def test_a_header_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    """Whoever asked for class maps hears so later; the slide is predicted all the same."""
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM" + b"\xff" * 64)
    assert dicom_header(path) == b""


def test_what_libraries_remark_is_not_heard(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """They show the value that they dislike; afterwards they speak again."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom.base")]
    with quietly():
        warnings.warn("Zacharias", stacklevel=1)
        for logger in loggers:
            logger.error("Zacharias")
    assert (caplog.text, len(recwarn)) == ("", 0)
    for logger in loggers:
        logger.error("again")
    assert caplog.messages == ["again", "again"]
