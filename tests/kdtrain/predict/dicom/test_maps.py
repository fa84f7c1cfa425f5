"""A DICOM slide with a planted lesion to class maps, read back by highdicom and pydicom.

The network is made up: a cell is class 1 as far as its centre is red. The slide is 1,024 x 768 px of pale tissue with a
red lesion; two regions are seen at an eighth, in cells of 8 image pixels, 64 of level 0.
"""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.seg import Segmentation, segread
from highdicom.spatial import PixelToReferenceTransformer
from PIL import Image

from fixtures.dicom_slides import ORIENTATIONS, PATIENT, broken_rules, hospital_slide
from kdtrain.bundle.runtime import Inference, Pixels
from kdtrain.evaluation.temperature import softmax
from kdtrain.model.stain.normalise import Normalised
from kdtrain.predict.answers.classify import classify_region, slide_prediction
from kdtrain.predict.answers.prediction import SlideError
from kdtrain.predict.answers.slide_images import ReadRegion, SlideImages
from kdtrain.predict.dicom import objects
from kdtrain.predict.dicom.header import dicom_header
from kdtrain.predict.dicom.maps import write_class_maps

WIDTH, HEIGHT, FACTOR, STRIDE = 1024, 768, 8, 8
LESION = (700, 300)
"""Its centre, level-0 pixels; it reaches 40 of them to each side."""
GLASS = 188
"""Left edge of what is no tissue of the first region, level-0 pixels: a block's of the image."""
REGIONS = ((60, 100, 256, 320), (530, 150, 384, 448))
"""x, y, width and height, level-0 pixels; the lesion lies in the second."""
TISSUE, RED = (200, 120, 170), (200, 10, 10)
CLASSES = ("normal tissue of the colon", "tumour")
FILES = ("probability-normal-tissue-of-the-colon.dcm", "probability-tumour.dcm", "classes.dcm")


def slide_image() -> Pixels:
    """The slide's level 0."""
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = TISSUE
    image[:, GLASS:520] = 250
    x, y = LESION
    image[y - 40 : y + 40, x - 40 : x + 40] = RED
    return image


def network(images_BHWC: Pixels) -> Inference:
    """Feature 0 is what every place has; feature 1 is whether the pixel at the centre of a cell is red."""
    red = (images_BHWC[0, ::STRIDE, ::STRIDE, 1] < 60).astype(np.float32)
    features = np.stack([np.full_like(red, 0.5), red]).astype(np.float32)
    logits = (WEIGHTS @ features.mean(axis=(1, 2)))[None].astype(np.float32)
    return Inference(softmax(logits.astype(np.float64)).astype(np.float32), logits, features[None])


WEIGHTS = np.array([[2.0, 0.0], [0.0, 5.0]], np.float32)


def as_it_is(image_HWC: Any) -> Normalised:
    """What a network of no normalised stain sees."""
    return Normalised(image_HWC, left=False)


def paler(image_HWC: Any) -> Normalised:
    """In the stain of training nothing is as red as :func:`network` looks for."""
    return Normalised(np.maximum(image_HWC, 100), left=False)


def bundle(sha256: str = "ab" * 32, restained: Any = as_it_is) -> Any:
    """What class maps want of a bundle."""
    return SimpleNamespace(
        document=SimpleNamespace(architecture=SimpleNamespace(output_stride=STRIDE)),
        classes=CLASSES,
        fc_weight_KC=WEIGHTS,
        temperature=1.0,
        title="a network (trained on synthetic slides)",
        sha256=sha256,
        restained=restained,
        probability_words="calibrated on val, T = 1",
    )


def read(slide: Path) -> SlideImages:
    """The slide as the process that reads it hands it over."""
    image, regions = slide_image(), []
    for index, (x, y, width, height) in enumerate(REGIONS):
        small = (
            image[y : y + height, x : x + width].reshape(height // 8, 8, width // 8, 8, 3).mean(axis=(1, 3))
        )
        file = io.BytesIO()
        Image.fromarray(small.round().astype(np.uint8)).save(file, "PNG")
        regions.append(
            ReadRegion(
                index=index, key=f"a-r{index}", x=x, y=y, width=float(width), height=float(height),
                image=file.getvalue(), image_format="png", image_width=width // 8, image_height=height // 8,
                display=None,
            )
        )  # fmt: skip
    return SlideImages(
        name="a.dcm", fingerprint="0", width=WIDTH, height=HEIGHT, mpp=0.5, objective=None, reader="r", level=0,
        fast=None, regions=tuple(regions), left_out=(), failed=(), warnings=(), overview=None,
        header=dicom_header(slide),
    )  # fmt: skip


def write(images: SlideImages, folder: Path, by: Any = None) -> tuple[str, ...]:
    """The class maps, and what was derived."""
    runtime = SimpleNamespace(name="made up", infer=network)
    by = by or bundle()
    said = tuple(classify_region(region, runtime, lambda *_: (), by.restained) for region in images.regions)
    prediction = slide_prediction(images, said, None, CLASSES, 2.5, ())
    return write_class_maps(images, prediction, by, runtime, folder, lambda _: None)


def of_image(file: Any) -> PixelToReferenceTransformer:
    """(column, row) of the whole matrix to slide coordinates."""
    return PixelToReferenceTransformer.for_image(file, for_total_pixel_matrix=True)


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_a_lesion_is_found_at_its_place_on_the_glass(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    """The middle of what the maps call tumour is the lesion's, to half a map pixel and half a cell.

    So it is in the slide's own frame of reference, however the slide lies, and so seen from the corner of the matrix,
    as viewers do.
    """
    slide = hospital_slide(tmp_path / "a.dcm", slide_image(), orientation=orientation)
    write(read(slide), tmp_path / "out")
    source = pydicom.dcmread(slide)
    tumour = highdicom.imread(tmp_path / "out" / "probability-tumour.dcm")
    classes = segread(tmp_path / "out" / "classes.dcm")
    probable = tumour.get_total_pixel_matrix()
    called = classes.get_total_pixel_matrix(combine_segments=True) == 2
    assert probable.shape == called.shape == (48, 64)  # map pixels of 16 level-0 pixels, cells of 64
    np.testing.assert_array_equal(called, probable > 0.5)
    expected_mm = of_image(source)(np.array([LESION]))[0]
    for file in (tumour, classes):
        assert expected_mm.shape == (3,)
        assert file.FrameOfReferenceUID == source.FrameOfReferenceUID
        places_mm = of_image(file)(np.argwhere(called)[:, ::-1])
        assert np.abs(places_mm.mean(axis=0) - expected_mm).max() < (64 / 2 + 16 / 2) * 0.0005
    corner_l0 = (np.argwhere(called)[:, ::-1].mean(axis=0) + 0.5) * 16
    assert np.abs(corner_l0 - LESION).max() < 64 / 2 + 16 / 2
    spacing = tumour.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert spacing == [0.008, 0.008]


def test_outside_the_regions_nothing_is_said(tmp_path: Path) -> None:
    """All maps are nought there; the classes' probabilities sum to 1 where a region lies, and tissue has a class."""
    slide = hospital_slide(tmp_path / "a.dcm", slide_image())
    write(read(slide), tmp_path)
    asked = np.zeros((HEIGHT // 16, WIDTH // 16), bool)
    centres_x, centres_y = np.arange(WIDTH // 16) * 16 + 8, np.arange(HEIGHT // 16) * 16 + 8
    for x, y, width, height in REGIONS:
        inside_x = (centres_x >= x) & (centres_x < x + width)
        asked |= ((centres_y >= y) & (centres_y < y + height))[:, None] & inside_x
    sums = sum(highdicom.imread(tmp_path / name).get_total_pixel_matrix() for name in FILES[:2])
    np.testing.assert_allclose(sums, asked, atol=1e-6)
    labels = segread(tmp_path / "classes.dcm").get_total_pixel_matrix(combine_segments=True)
    # Glass begins at image pixel 16 of the first region. The cell centred on 16.5 touches tissue and reaches to 20.5,
    # which is level-0 pixel 224.
    glass = (centres_x > 224) & (centres_x < 520)
    np.testing.assert_array_equal(labels > 0, asked & ~glass)


def test_the_network_is_asked_about_the_stain_of_training(tmp_path: Path) -> None:
    """Of a network with a normalised stain the maps are of the images that it sees, in which no lesion is left."""
    slide = hospital_slide(tmp_path / "a.dcm", slide_image())
    surest = []
    for restained in (as_it_is, paler):
        write(read(slide), tmp_path, by=bundle(restained=restained))
        surest.append(highdicom.imread(tmp_path / FILES[1]).get_total_pixel_matrix().max())
    assert surest[0] > 0.9
    assert surest[1] < 0.5


def test_the_files_obey_the_standard(tmp_path: Path) -> None:
    """No mandatory attribute is missing or empty, none is unknown to its kind.

    Each map is a series of its own in the slide's study, refers to the slide's largest level, and says what it is not
    for.
    """
    slide = hospital_slide(tmp_path / "a.dcm", slide_image())
    assert write(read(slide), tmp_path) == ()
    source, files = pydicom.dcmread(slide), [pydicom.dcmread(tmp_path / name) for name in FILES]
    assert [broken_rules(file) for file in files] == [[], [], []]
    uids = {file.SeriesInstanceUID for file in files} | {file.SOPInstanceUID for file in files}
    assert len(uids) == 6
    assert all(uid.is_valid and uid.startswith("2.25.") and int(uid[5:]) < 2**128 for uid in uids)
    for file in files:
        assert file.StudyInstanceUID == source.StudyInstanceUID
        series = file.ReferencedSeriesSequence[0]
        assert series.SeriesInstanceUID == source.SeriesInstanceUID
        assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert file.DimensionOrganizationType == "TILED_FULL"
        assert file.ImageOrientationSlide == source.ImageOrientationSlide
        assert "not for diagnosis" in file.ImageComments
        assert file.SeriesDescription.startswith("Not for diagnosis: ")
        assert bundle().sha256 in file.ImageComments
        assert file.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99KDTRAIN"
    assert {file.Modality for file in files} == {"OT", "SEG"}
    segments = files[2].SegmentSequence
    assert [item.SegmentLabel for item in segments] == list(CLASSES)
    code = segments[0].SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodingSchemeDesignator, code.CodeMeaning) == ("99KDTRAIN", CLASSES[0])
    algorithm = segments[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmVersion == bundle().sha256
    mapping = files[1].SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (mapping.LUTLabel, mapping.LUTExplanation) == ("tumour", "probability of tumour")


def test_frames_are_in_the_order_that_tiled_full_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles row by row, segment by segment; who counts frames and who reads their places finds the same tile."""
    monkeypatch.setattr(objects, "TILE_PX", 16)  # 4 x 3 tiles of the map's 64 x 48 pixels
    write(read(hospital_slide(tmp_path / "a.dcm", slide_image())), tmp_path)
    tiles = [(column, row) for row in (1, 17, 33) for column in (1, 17, 33, 49)]
    for name, segments in (("probability-tumour.dcm", 1), ("classes.dcm", 2)):
        file = pydicom.dcmread(tmp_path / name)
        places = [frame.PlanePositionSlideSequence[0] for frame in file.PerFrameFunctionalGroupsSequence]
        assert [
            (p.ColumnPositionInTotalImagePixelMatrix, p.RowPositionInTotalImagePixelMatrix) for p in places
        ] == tiles * segments
    numbers = [
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for frame in file.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == [1] * 12 + [2] * 12


def test_the_patient_is_the_slides(tmp_path: Path) -> None:
    """Copied letter by letter, from a slide that spells them in another character set."""
    slide = hospital_slide(tmp_path / "a.dcm", slide_image())
    write(read(slide), tmp_path)
    for name in FILES:
        file = pydicom.dcmread(tmp_path / name)
        assert {keyword: str(file.get(keyword)) for keyword in PATIENT} == PATIENT
        assert file.SpecimenDescriptionSequence[0].SpecimenIdentifier == "Größe-7"


def test_the_same_slide_and_network_give_the_same_bytes(tmp_path: Path) -> None:
    """Nothing is drawn or read from the clock; another network's map has other UIDs."""
    images = read(hospital_slide(tmp_path / "a.dcm", slide_image()))
    for number in (1, 2):
        write(images, tmp_path / str(number))
    contents = [[(tmp_path / str(number) / name).read_bytes() for name in FILES] for number in (1, 2)]
    assert contents[0] == contents[1]
    write(images, tmp_path / "3", bundle(sha256="0" * 64))
    assert _uids(tmp_path / "3").isdisjoint(_uids(tmp_path / "1"))


def _uids(folder: Path) -> set[str]:
    return {pydicom.dcmread(folder / name).SOPInstanceUID for name in FILES}


def test_what_a_patient_is_called_is_heard_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """A library complains of a name without a caret, and shows it; it may not."""
    caplog.set_level(logging.DEBUG)
    images = read(hospital_slide(tmp_path / "a.dcm", slide_image(), PatientName="Zacharias", PatientSex="X"))
    recwarn.clear()
    derived = write(images, tmp_path)
    assert "Zacharias" not in caplog.text + repr(images) + "".join(derived)
    assert not recwarn.list
    assert pydicom.dcmread(tmp_path / "classes.dcm").PatientName == "Zacharias"


def test_a_slide_of_another_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """And maps of an earlier slide of that name do not stay."""
    images = read(hospital_slide(tmp_path / "a.dcm", slide_image()))
    write(images, tmp_path / "out")
    with pytest.raises(SlideError, match=r"it is no DICOM slide.*wsidicomizer -i 'a b\.svs' -o 'a b-dicom'"):
        write(replace(images, name="a b.svs", header=None), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("fault", ["refuses", "misreads"])
def test_a_map_that_does_not_read_back_is_not_written(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that highdicom refuses, whose words are not shown."""

    def refuse(*_: object, **__: object) -> None:
        raise ValueError(PATIENT["PatientName"])

    images = read(hospital_slide(tmp_path / "a.dcm", slide_image()))
    if fault == "refuses":
        monkeypatch.setattr(Segmentation, "__init__", refuse)
    else:
        monkeypatch.setattr(Segmentation, "get_total_pixel_matrix", lambda *_, **__: np.zeros((48, 64)))
    with pytest.raises(SlideError) as error:
        write(images, tmp_path / "out")
    words = {
        "refuses": "writes no class map that refers to it (ValueError)",
        "misreads": "does not read the class map",
    }
    assert words[fault] in error.value.failure.reason
    assert PATIENT["PatientName"] not in error.value.failure.reason
    assert not list(tmp_path.glob("out/*"))
