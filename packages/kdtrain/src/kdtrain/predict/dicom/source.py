"""A slide's DICOM header in, the source image of its class maps out: identity, place on the glass, and what is missing.

What a viewer needs to find the slide and to lay a map over it (the UIDs, the size of the pixel matrix, a regular
orientation) is required. What a map can do without is derived, and said: a converter may leave out where on the glass
the matrix begins, and a de-identified slide has no patient. No message holds a value of the header.

Frames: *slide coordinates* are millimetres on the glass (PS3.3, C.8.12.2.1). The place of a matrix is that of the
centre of its first pixel, so the first pixel of a map, which is ``step`` level-0 pixels wide, is centred
``(step - 1) / 2`` of them to the right and below.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM

from kdtrain.predict.answers.prediction import Failure, SlideError
from kdtrain.predict.dicom.header import UNREADABLE, quietly

UPRIGHT = (0.0, -1.0, 0.0, -1.0, 0.0, 0.0)
"""Rows run towards smaller y and columns towards smaller x, as scanners lay a slide whose label is at its left."""
_DEPTH_MM = 0.001
"""Of the layer in focus, where the slide does not say."""
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator"),
)
"""Attributes of type 2: a file has to have them, and may leave them empty."""
_OF_CONTAINER = ("IssuerOfTheContainerIdentifierSequence", "ContainerTypeCodeSequence")
_OF_SPECIMEN = ("IssuerOfTheSpecimenIdentifierSequence", "SpecimenPreparationSequence")
"""The same of a slide that names its glass, and of each specimen on it."""
_SEXES = ("", "M", "F", "O")


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """The largest level of a DICOM slide, as a class map refers to it.

    Attributes:
        header: Its attributes, those of patient and study among them; what they lacked is filled in.
        origin_mm: (x, y, z) of the centre of its first pixel, slide coordinates.
        row_direction: (x, y, z), along which columns are counted.
        column_direction: (x, y, z), along which rows are counted.
        spacing_mm: (between rows, between columns).
        depth_mm: Of the layer in focus.
        derived: What the file does not say, and what was taken; plain sentences without its values.
    """

    header: Dataset
    origin_mm: tuple[float, float, float]
    row_direction: tuple[float, float, float]
    column_direction: tuple[float, float, float]
    spacing_mm: tuple[float, float]
    depth_mm: float
    derived: tuple[str, ...]

    def map_origin_mm(self, step_l0: int) -> tuple[float, float, float]:
        """Centre of the first pixel of a map whose pixels are ``step_l0`` level-0 pixels wide, slide coordinates."""
        beyond = (step_l0 - 1) / 2
        between_rows, between_columns = self.spacing_mm
        along = zip(self.origin_mm, self.row_direction, self.column_direction, strict=True)
        x, y, z = (o + beyond * (between_columns * r + between_rows * c) for o, r, c in along)
        return x, y, z

    @property
    def orientation(self) -> tuple[float, ...]:
        """Both directions, as ImageOrientationSlide has them."""
        return (*self.row_direction, *self.column_direction)


def source_image(header: bytes, slide: str, width: int, height: int, mpp: float | None) -> SourceImage:
    """Understand a slide's header.

    Args:
        header: As :func:`kdtrain.predict.dicom.header.dicom_header` gives it.
        slide: Name of the slide, for messages.
        width: Of the slide as it was read, level-0 pixels.
        height: Likewise.
        mpp: Microns per level-0 pixel, where the header has no pixel spacing.

    Raises:
        SlideError: The header cannot be read, or lacks what a class map has to refer to.
    """
    try:
        with quietly():
            return _understood(dcmread(io.BytesIO(header)), width, height, mpp)
    except _MissingError as error:
        raise refused(slide, str(error)) from None
    except UNREADABLE as error:
        reason = f"its DICOM header cannot be read ({type(error).__name__}); export the slide again"
        raise refused(slide, reason) from None


def refused(slide: str, reason: str) -> SlideError:
    """The error of a slide that no class map can be written for."""
    return SlideError(Failure(slide=slide, region=None, stage="dicom", reason=f"slide '{slide}': {reason}"))


class _MissingError(Exception):
    """What a header lacks, why that matters, and what to do."""


def _understood(header: Dataset, width: int, height: int, mpp: float | None) -> SourceImage:
    derived: list[str] = []
    _decode(header, derived)
    missing = [keyword for keyword in _UIDS if not header.get(keyword)]
    if missing:
        raise _MissingError(
            f"its DICOM header has no {', '.join(missing)}, by which viewers find the slide that a class map belongs "
            "to; export the slide again"
        )
    stated = header.get("TotalPixelMatrixColumns"), header.get("TotalPixelMatrixRows")
    if stated != (width, height):
        raise _MissingError(
            f"its DICOM header speaks of {stated[0]} x {stated[1]} pixels where {width:,} x {height:,} were read, so a "
            "class map would lie elsewhere; export the slide again"
        )
    _fill(header, derived)
    directions = _orientation(header, derived)
    origin = _origin(header, derived)
    spacing, depth = _measures(header, mpp, derived)
    item = Dataset()
    item.PixelMeasuresSequence = [Dataset()]
    item.PixelMeasuresSequence[0].PixelSpacing = [f"{value:.10g}" for value in spacing]
    item.PixelMeasuresSequence[0].SliceThickness = f"{depth:.10g}"
    header.SharedFunctionalGroupsSequence = [item]
    return SourceImage(
        header=header,
        origin_mm=origin,
        row_direction=directions[0],
        column_direction=directions[1],
        spacing_mm=spacing,
        depth_mm=depth,
        derived=tuple(derived),
    )


def _decode(header: Dataset, derived: list[str]) -> None:
    """Understand every value now: what is left for later would be copied in the character set that it was read in."""
    for tag in list(header.keys()):
        try:
            header[tag]
        except UNREADABLE:
            del header[tag]
            derived.append(_left_out(keyword_for_tag(tag) or "an attribute"))
    header.decode()


def _left_out(keyword: str) -> str:
    return f"{keyword} is none that DICOM allows, and is left out of the class maps"


def _fill(header: Dataset, derived: list[str]) -> None:
    """Make attributes that a map copies such that it may have them."""
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    if "ContainerIdentifier" in header:
        _fill_with_nothing(header, _OF_CONTAINER)
        for specimen in header.get("SpecimenDescriptionSequence") or []:
            _fill_with_nothing(specimen, _OF_SPECIMEN)
    checks: dict[str, Callable[[Any], object]] = {
        "PatientBirthDate": DA,
        "StudyDate": DA,
        "StudyTime": TM,
        "ContentDate": DA,
        "ContentTime": TM,
        "PatientSex": _SEXES.index,
    }
    for keyword, check in checks.items():
        try:
            check(header.get(keyword) or "")
        except UNREADABLE:
            setattr(header, keyword, "")
            derived.append(_left_out(keyword))


def _fill_with_nothing(item: Dataset, sequences: tuple[str, ...]) -> None:
    for keyword in sequences:
        if keyword not in item:
            setattr(item, keyword, [])


def _orientation(header: Dataset, derived: list[str]) -> tuple[Any, Any]:
    if not header.get("ImageOrientationSlide"):
        header.ImageOrientationSlide = list(UPRIGHT)
        derived.append("ImageOrientationSlide is missing; class maps take the usual one, label at the left")
    values = [float(value) for value in header.ImageOrientationSlide]
    directions = np.array(values).reshape(-1, 3) if len(values) == 6 else np.zeros((2, 3))
    if not np.allclose(directions @ directions.T, np.eye(2), atol=1e-3):
        raise _MissingError(
            "ImageOrientationSlide of its DICOM header is no pair of directions at right angles, so the place of a "
            "class map on the glass is unknown; export the slide again"
        )
    return tuple(values[:3]), tuple(values[3:])


def _origin(header: Dataset, derived: list[str]) -> tuple[float, float, float]:
    item = (header.get("TotalPixelMatrixOriginSequence") or [Dataset()])[0]
    if not {"XOffsetInSlideCoordinateSystem", "YOffsetInSlideCoordinateSystem"} <= set(item.dir()):
        item = Dataset()
        item.XOffsetInSlideCoordinateSystem = item.YOffsetInSlideCoordinateSystem = "0"
        header.TotalPixelMatrixOriginSequence = [item]
        derived.append(
            "TotalPixelMatrixOriginSequence is missing; class maps count from the slide's first pixel, over which "
            "viewers lay them all the same"
        )
    return (
        float(item.XOffsetInSlideCoordinateSystem),
        float(item.YOffsetInSlideCoordinateSystem),
        float(item.get("ZOffsetInSlideCoordinateSystem") or 0.0),
    )


def _measures(header: Dataset, mpp: float | None, derived: list[str]) -> tuple[tuple[float, float], float]:
    """((between rows, between columns), depth), millimetres."""
    groups = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    found = groups[0].get("PixelMeasuresSequence") or [Dataset()]
    depth = found[0].get("SliceThickness")
    depth_mm = float(depth) if depth else _DEPTH_MM
    stated = tuple(float(value) for value in found[0].get("PixelSpacing") or ())
    if len(stated) == 2 and np.isfinite(stated).all() and min(stated) > 0:
        return (stated[0], stated[1]), depth_mm
    if mpp is None:
        raise _MissingError(
            "its DICOM header has no usable PixelSpacing, so the size of a class map is unknown; give --mpp, or export "
            "the slide again"
        )
    derived.append(f"PixelSpacing is missing; class maps take {mpp:g} µm")
    return (mpp / 1000, mpp / 1000), depth_mm
