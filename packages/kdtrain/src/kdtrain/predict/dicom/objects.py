"""A map and its source image in, DICOM files out, by highdicom; the same input gives the same bytes.

Of each class ``probability-<class>.dcm``, a parametric map (PS3.3, A.75): float32, real-world values from 0 to 1. And
``classes.dcm``, a binary segmentation (PS3.3, A.51) of one segment a class. All are TILED_FULL, and each is a series of
its own: that layout knows a single mapping (PS3.3, C.7.6.17.3), and viewers take the maps of a series for the levels of
one pyramid. What they say of the slide and its patient is copied from the source image, and nothing else that a person
wrote is in them.

Times would differ between runs: the content's are those of the slide, and what else highdicom states by the clock is
left out. UIDs are the map's (:mod:`kdtrain.predict.dicom.slide_map`).

Every file is read back by highdicom before anyone sees it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdtrain import __version__
from kdtrain.predict.answers.request import CLASSES_FILE
from kdtrain.predict.answers.slugs import class_slugs
from kdtrain.predict.dicom.header import quietly
from kdtrain.predict.dicom.labels import SCHEME, SCHEME_NAME, long_text, short_texts
from kdtrain.predict.dicom.slide_map import CAUTION, SlideMap
from kdtrain.predict.explain.overlay_parts import class_colour

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FIRST_SERIES = 9001
"""Number of the segmentation's series, beyond those that scanners count to; the classes' follow."""
TILE_PX = 256
"""Side of a tile. Its pixels are a multiple of eight, so every frame of one bit a pixel begins at a byte."""
_NO_DATE, _NO_TIME = "19700101", "000000"


def file_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of the files: of each class its map, and the segmentation last."""
    return (*(f"probability-{slug}.dcm" for slug in class_slugs(classes)), CLASSES_FILE)


def dicom_files(made: SlideMap) -> Iterator[tuple[str, bytes]]:
    """The files of a class map, one by one: name and content.

    Raises:
        Exception: highdicom refuses the source image, by errors of many types that may hold values of its header.
        ReadBackError: highdicom reads another map than it wrote.
    """
    *maps, segmentation = file_names(made.classes)
    with quietly():
        for index, name in enumerate(maps):
            content = _bytes(_finished(_parametric_map(made, index, name), made, name))
            _same(_read(content).get_total_pixel_matrix(dtype=np.float32), made.probabilities_hwK[..., index])
            yield name, content
        content = _bytes(_finished(_segmentation(made, segmentation), made, segmentation))
        _same(_read(content).get_total_pixel_matrix(combine_segments=True), made.labels_hw)
        yield segmentation, content


class ReadBackError(Exception):
    """What was written is not what is read."""


def _read(content: bytes) -> Any:
    from highdicom import imread
    from highdicom.seg import segread

    read = imread(io.BytesIO(content))
    return segread(io.BytesIO(content)) if "SegmentSequence" in read else read


def _same(read: NDArray[Any], written: NDArray[Any]) -> None:
    if not np.array_equal(read, written):
        raise ReadBackError


def _parametric_map(made: SlideMap, index: int, file: str) -> Dataset:
    from highdicom import VOILUTTransformation
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from pydicom.sr.codedict import codes

    name, label = made.classes[index], short_texts(made.classes)[index]
    mapping = RealWorldValueMapping(
        lut_label=label,
        lut_explanation=long_text(f"probability of {name}"),
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=_class_code(name, label),
    )
    return ParametricMap(
        pixel_array=made.probabilities_hwK[None, ..., index],
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        contains_recognizable_visual_features=False,
        content_label="PROBABILITY",
        **_common(made, file, FIRST_SERIES + 1 + index, f"probability of {name}"),
    )


def _segmentation(made: SlideMap, file: str) -> Dataset:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    algorithm = AlgorithmIdentificationSequence(
        name=long_text(made.algorithm.name),
        family=codes.DCM.ArtificialIntelligence,
        version=made.algorithm.sha256,
        source=f"kdtrain {__version__}",
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=long_text(name),
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=_class_code(name, label),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            display_color=CIELabColor.from_string(class_colour(number - 1)),
        )
        for number, (name, label) in enumerate(zip(made.classes, short_texts(made.classes), strict=True), 1)
    ]
    return Segmentation(
        pixel_array=made.labels_hw[None],
        segmentation_type="BINARY",
        segment_descriptions=segments,
        content_label="CLASSES",
        omit_empty_frames=False,
        **_common(made, file, FIRST_SERIES, "most probable class"),
    )


def _class_code(name: str, label: str) -> Any:
    from pydicom.sr.coding import Code

    return Code(label, SCHEME, long_text(name))


def _common(made: SlideMap, file: str, series_number: int, what: str) -> dict[str, Any]:
    """What all files say of themselves and of where they lie."""
    from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    source, step = made.source, made.grid.step_l0
    date, time = _content_time(source.header)
    spacing = [step * value for value in source.spacing_mm]
    return {
        "source_images": [source.header],
        "series_instance_uid": made.uid(f"series {file}"),
        "series_number": series_number,
        "series_description": long_text(f"Not for diagnosis: {what}"),
        "sop_instance_uid": made.uid(file),
        "instance_number": 1,
        "manufacturer": "kdtrain",
        "manufacturer_model_name": "kdtrain predict",
        "software_versions": __version__,
        "device_serial_number": made.algorithm.sha256,
        "content_description": long_text(f"{CAUTION} {what}"),
        "content_creator_name": "kdtrain^predict",
        "content_date": date,
        "content_time": time,
        "specific_character_set": "ISO_IR 192",
        "coding_schemes": [CodingSchemeIdentificationItem(designator=SCHEME, name=SCHEME_NAME)],
        # As which highdicom writes every frame's place: readers and validators of before 2023 know of no TILED_FULL
        # but that of slides, and others may leave the places aside.
        "dimension_organization_type": "TILED_SPARSE",
        "tile_pixel_array": True,
        "tile_size": (TILE_PX, TILE_PX),
        "pixel_measures": PixelMeasuresSequence(pixel_spacing=spacing, slice_thickness=source.depth_mm),
        "plane_orientation": PlaneOrientationSequence("SLIDE", image_orientation=source.orientation),
        "plane_positions": [
            PlanePositionSequence(
                "SLIDE", image_position=source.map_origin_mm(step), pixel_matrix_position=(1, 1)
            )
        ],
    }


def _content_time(header: Dataset) -> tuple[str, str]:
    """Date and time of the slide's content, else of its study."""
    for date in (header.get("ContentDate"), header.get("StudyDate")):
        if date:
            return str(date), str(header.get("ContentTime") or header.get("StudyTime") or _NO_TIME)
    return _NO_DATE, _NO_TIME


def _finished(file: Dataset, made: SlideMap, name: str) -> Dataset:
    """The file without what highdicom draws or reads from the clock, with words about it, and TILED_FULL."""
    file.ImageComments = made.words
    if "SegmentSequence" in file:
        file.PatientOrientation = ""  # type 2C, which validators ask for and highdicom leaves out
    # Every tile is there, row by row and segment by segment, so it is, and viewers may count frames.
    file.DimensionOrganizationType = "TILED_FULL"
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in file:
            del file[keyword]
    for item in file.get("ContributingEquipmentSequence", []):
        if item.get("ManufacturerModelName") == "highdicom" and "ContributionDateTime" in item:
            del item.ContributionDateTime
    organization = made.uid(f"dimensions {name}")
    for item in (*file.DimensionOrganizationSequence, *file.get("DimensionIndexSequence", [])):
        item.DimensionOrganizationUID = organization
    return file


def _bytes(file: Dataset) -> bytes:
    buffer = io.BytesIO()
    file.save_as(buffer)
    return buffer.getvalue()
